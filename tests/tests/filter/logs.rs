//! What a denial says in the response code details and in the log, and what it never says.

use crate::*;

/// The lines that one request adds to the log.
#[track_caller]
fn log_of(envoy: &Envoy, exchange: &Exchange, expected: u16) -> String {
    let before = envoy.log().len();
    check(envoy, exchange, expected);
    let mut log = String::new();
    eventually("a log line", || {
        log = envoy.log().split_off(before);
        log.contains(&format!("portcullis: {expected} ")) && log.ends_with('\n')
    });
    log
}

#[test]
fn a_denial_names_its_rule_to_operators_and_says_why_in_words() {
    let upstream = echo().unwrap();
    let envoy = gate(&upstream, &gatekeeper());
    let good = alice();
    let details = |exchange: &Exchange, status: u16| {
        check(&envoy, exchange, status)
            .header("x-test-details")
            .unwrap()
    };

    let secret = get("/open/secret?q=hidden-query");
    assert_eq!(
        details(&secret, 403),
        "rbac_access_denied_matched_policy[ns[default]-policy[secret]-rule[0]]"
    );
    let evil = with("/open", &[("x-evil", b"yes")]);
    assert_eq!(
        details(&evil, 403),
        "rbac_access_denied_matched_policy[ns[default]-policy[evil]-rule[0]]"
    );
    let closed = with("/closed", &[("authorization", &bearer(&good))]);
    assert_eq!(
        details(&closed, 403),
        "rbac_access_denied_matched_policy[none]"
    );
    let bad = with("/open", &[("authorization", b"Bearer abc")]);
    assert!(
        details(&bad, 401).starts_with("jwt_authn_access_denied{Jwt_is_not_in_the_form"),
        "{}",
        details(&bad, 401)
    );

    let log = log_of(&envoy, &secret, 403);
    assert!(
        log.contains("portcullis: 403 rule 0 of default/secret denies it (path /open/secret)"),
        "{log}"
    );
    assert!(!log.contains("hidden-query"), "{log}");
    let log = log_of(&envoy, &evil, 403);
    assert!(
        log.contains("portcullis: 403 rule 0 of default/evil denies it (header x-evil yes)"),
        "{log}"
    );
    let log = log_of(&envoy, &closed, 403);
    assert!(
        log.contains("portcullis: 403 no ALLOW rule matched; closest: rule "),
        "{log}"
    );
    assert!(log.contains("needs path "), "{log}");
    assert!(log.contains("got /closed"), "{log}");
    let log = log_of(&envoy, &bad, 401);
    assert!(
        log.contains("portcullis: 401 Jwt is not in the form"),
        "{log}"
    );
    assert!(log.contains("(the token in header authorization)"), "{log}");
    for line in envoy
        .log()
        .lines()
        .filter(|line| line.contains("portcullis: 4"))
    {
        assert!(line.contains("[info]"), "{line}");
    }
}

/// Policies that ask about the very things that must not be shown, in rules that match and rules that miss.
fn curious(keys: &[&str], jwt_rule: &Value) -> String {
    let conditions = |field: &str| -> Vec<Value> {
        keys.iter()
            .map(|key| json!({ "key": key, field: ["no-such-value"] }))
            .collect()
    };
    settings(&[
        tokens(jwt_rule),
        policy(
            "matches",
            &json!({ "action": "DENY", "rules": [{
            "to": [{ "operation": { "paths": ["/deny"] } }],
            "when": conditions("notValues"),
        }] }),
        ),
        policy(
            "misses",
            &json!({ "rules": [{ "when": conditions("values") }] }),
        ),
    ])
}

/// Nothing of the token beyond its header, which every token of the key has, and no other secret.
#[track_caller]
fn assert_secret(envoy: &Envoy, secrets: &[&str]) {
    let log = envoy.log();
    for secret in secrets {
        let line = log.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "`{secret}` is in the log: {line:?}");
    }
}

#[test]
fn credentials_in_the_usual_headers_are_not_logged() {
    let upstream = echo().unwrap();
    let keys = [
        "request.headers[authorization]",
        "request.headers[Cookie]",
        "request.headers[x-api-key]",
        "request.headers[proxy-authorization]",
    ];
    let envoy = gate(
        &upstream,
        &curious(&keys, &json!({ "forwardOriginalToken": true })),
    );
    let good = alice();
    let broken = good.replacen('.', "..x", 1);
    for token in [&good, &broken] {
        for path in ["/deny", "/miss"] {
            let exchange = with(
                path,
                &[
                    ("authorization", &bearer(token)),
                    ("cookie", b"session=crumbly-secret"),
                    ("x-api-key", b"api-secret"),
                    ("proxy-authorization", b"Basic proxy-secret"),
                ],
            );
            log_of(&envoy, &exchange, if token == &good { 403 } else { 401 });
        }
    }
    assert_secret(
        &envoy,
        &[
            &payload_of(&good),
            &payload_of(&good)[..20],
            "crumbly-secret",
            "api-secret",
            "proxy-secret",
            "Bearer ",
        ],
    );
}

#[test]
fn a_token_in_a_header_of_its_own_is_not_logged() {
    let upstream = echo().unwrap();
    let rule =
        json!({ "fromHeaders": [{ "name": "x-session-token" }], "forwardOriginalToken": true });
    let envoy = gate(
        &upstream,
        &curious(&["request.headers[x-session-token]"], &rule),
    );
    let good = alice();
    for path in ["/deny", "/miss"] {
        log_of(
            &envoy,
            &with(path, &[("x-session-token", good.as_bytes())]),
            403,
        );
    }
    assert_secret(&envoy, &[&payload_of(&good)[..20]]);
}

#[test]
fn a_token_in_the_query_is_not_logged() {
    let upstream = echo().unwrap();
    let rule = json!({ "fromParams": ["access_token"], "forwardOriginalToken": true });
    let envoy = gate(&upstream, &curious(&["request.headers[:path]"], &rule));
    let good = alice();
    for path in ["/deny", "/miss"] {
        log_of(&envoy, &get(&format!("{path}?access_token={good}")), 403);
    }
    assert_secret(&envoy, &[&payload_of(&good)[..20], "access_token="]);
}

/// A client's words in the log are one line and of a sensible length.
#[test]
fn a_token_writes_no_lines_into_the_log() {
    let upstream = echo().unwrap();
    let mut keys = tokens(&json!({}));
    keys["spec"]["jwtRules"][0]["jwks"] = public_jwks(&["hs-1"]).unwrap().into();
    let envoy = gate(&upstream, &settings(&[keys]));
    let endless = "k".repeat(30_000);
    let header = |id: &str| json!({ "alg": "HS256", "kid": id }).to_string();
    let payload = |issuer: &str| json!({ "iss": issuer, "sub": "s" }).to_string();
    for (header, payload) in [
        (
            header("x\n[2026-01-01 00:00:00.000][1][critical][forged] by key"),
            payload(ISSUER),
        ),
        (
            header("hs-1"),
            payload("x\r\n[2026-01-01 00:00:00.000][1][critical][forged] by issuer"),
        ),
        (header(&endless), payload(ISSUER)),
        (header("hs-1"), payload(&endless)),
    ] {
        let token = forge("hs-1", header.as_bytes(), payload.as_bytes()).unwrap();
        let log = log_of(
            &envoy,
            &with("/", &[("authorization", &bearer(&token))]),
            401,
        );
        assert!(
            !log.lines().any(|line| line.starts_with("[2026-01-01")),
            "a forged line in\n{log}"
        );
        assert!(
            log.len() < 2_000,
            "one request wrote {} bytes to the log",
            log.len()
        );
    }
}

/// Anybody without a token can ask for a denial, so its line is limited in cost and number.
#[test]
fn a_flood_of_denials_writes_few_lines_that_look_at_few_rules() {
    let upstream = echo().unwrap();
    let rules: Vec<Value> = (0..100)
        .map(|number| json!({ "to": [{ "operation": { "paths": [format!("/{number}")] } }] }))
        .collect();
    let envoy = gate(
        &upstream,
        &settings(&[policy("many", &json!({ "rules": rules }))]),
    );
    let log = log_of(&envoy, &get("/closed"), 403);
    assert!(log.contains("got /closed (of the first 32 rules)"), "{log}");
    let start = Instant::now();
    for _ in 0..300 {
        check(&envoy, &get("/closed"), 403);
    }
    let seconds = start.elapsed().as_secs() + 2;
    let lines = envoy.log().matches("portcullis: 403 ").count();
    assert!(
        u64::try_from(lines).unwrap() <= 1 + 20 * seconds,
        "{lines} lines in {seconds} s"
    );
    let left_out = envoy
        .stat("wasmcustom.portcullis_log_lines_left_out_total")
        .unwrap();
    assert_eq!(u64::try_from(lines).unwrap() + left_out, 301);
    std::thread::sleep(Duration::from_millis(1100));
    log_of(&envoy, &get("/closed"), 403);
    let log = envoy.log();
    let said = log.lines().filter_map(|line| {
        let (before, _) = line.split_once(" lines about other requests were left out")?;
        before.rsplit(' ').next()?.parse::<u64>().ok()
    });
    assert_eq!(
        said.sum::<u64>(),
        left_out,
        "the log says how many it lacks"
    );
}

/// What a verified token says in an access log: the principal, and the details of a refusal.
#[test]
fn a_principal_is_one_line_of_an_access_log() {
    const LOG_FORMAT: &str = "entry=[%FILTER_STATE(wasm.portcullis.principal:PLAIN)%]\n";
    let upstream = echo().unwrap();
    let settings = settings(&[tokens(&json!({}))]);
    let mut listener = Listener::new("gate", vec![plugin(&settings)]);
    listener.connection_manager.insert(
        "access_log".into(),
        json!([{
            "name": "envoy.access_loggers.stdout",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
                "log_format": { "text_format_source": { "inline_string": LOG_FORMAT } },
            },
        }]),
    );
    let envoy = start(&upstream, vec![listener]);
    let endless = "s".repeat(40_000);
    let cut = format!("{}\\…", "s".repeat(1024 - ISSUER.len() - 1));
    let subjects = [
        ("alice", "alice"),
        ("Jürgen", "Jürgen"),
        ("x\nentry=[forged]", r"x\u{a}entry=[forged]"),
        ("y\r\nentry=[forged]", r"y\u{d}\u{a}entry=[forged]"),
        ("x\u{2028}y\u{85}z\u{0}", r"x\u{2028}y\u{85}z\u{0}"),
        ("\u{1b}[2K\u{7f}", r"\u{1b}[2K\u{7f}"),
        ("\u{202e}nimda", r"\u{202e}nimda"),
        (r"x\u{a}", r"x\\u{a}"),
        (endless.as_str(), &cut),
    ];
    for (subject, _) in subjects {
        let token = token(&json!({ "sub": subject }));
        let exchange = with("/", &[("authorization", &bearer(&token))]);
        check(&envoy, &exchange, 200);
    }
    // Envoy writes its entries every few seconds.
    let entries = || -> Vec<String> {
        let log = envoy.log();
        let lines = log.lines().filter(|line| line.starts_with("entry="));
        lines.map(str::to_owned).collect()
    };
    eventually("the access log", || entries().len() >= subjects.len());
    let expected: Vec<String> = subjects
        .iter()
        .map(|(_, shown)| format!("entry=[{ISSUER}/{shown}]"))
        .collect();
    assert_eq!(entries(), expected);
    assert_sound(&envoy);
}

/// What a client sends is told apart from what only looks like it.
#[test]
fn a_denial_shows_invisible_characters_by_their_numbers() {
    let upstream = echo().unwrap();
    let envoy = gate(&upstream, &gatekeeper());
    let evil = with("/open", &[("x-evil", b"a\\u{a}b\xe2\x80\xa8c\xc2\xa0\xff")]);
    let log = log_of(&envoy, &evil, 403);
    assert!(
        log.contains(r"(header x-evil a\\u{a}b\u{2028}c\u{a0}\xff)"),
        "{log}"
    );
}
