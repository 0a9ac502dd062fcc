//! The plugin beside Istio's own filters: which policies may be given to which of the two. The judge is Envoy with
//! Istio's filters alone.

use portcullis_tests::oracle::{self, KeySets, Mesh, Workload};

use crate::*;

/// What Istio configures for these policies by itself.
pub(crate) fn native(policies: &[Value]) -> Vec<Value> {
    let mesh = Mesh {
        root_namespace: "istio-system".to_owned(),
        trust_domain: "cluster.local".to_owned(),
        trust_domain_aliases: Vec::new(),
    };
    let workload = Workload {
        namespace: "default".to_owned(),
        labels: BTreeMap::new(),
    };
    oracle::http_filters(policies, &mesh, &workload, &KeySets::new()).unwrap()
}

fn keeping_tokens(policies: &[Value]) -> String {
    let mut settings: Value = serde_json::from_str(&settings(policies)).unwrap();
    settings["keepTokens"] = true.into();
    settings.to_string()
}

/// A rule for tokens everywhere, which writes headers.
fn token_rule(forward: bool) -> Value {
    tokens(&json!({
        "fromHeaders": [{ "name": "Authorization", "prefix": "Bearer " }, { "name": "x-token" }],
        "fromParams": ["access_token"],
        "fromCookies": ["session"],
        "outputPayloadToHeader": "x-payload",
        "outputClaimToHeaders": [{ "header": "x-user", "claim": "sub" }],
        "forwardOriginalToken": forward,
    }))
}

/// Refuses a token of bob's.
fn deny_bob() -> Value {
    let rule = json!({ "when": [{ "key": "request.auth.claims[sub]", "values": ["bob"] }] });
    policy("bob", &json!({ "action": "DENY", "rules": [rule] }))
}

/// Lets anybody to `/open`, and a good token anywhere.
fn allow() -> Value {
    policy(
        "allow",
        &json!({ "rules": [
            { "from": [{ "source": { "requestPrincipals": [format!("{ISSUER}/*")] } }] },
            { "to": [{ "operation": { "paths": ["/open*"] } }] },
        ] }),
    )
}

/// Refuses by what token rules leave of a request: a header that they write, and one that they take away.
fn deny_by_headers() -> Value {
    let header = |name: &str, value: &str| json!({ "when": [{ "key": format!("request.headers[{name}]"), "values": [value] }] });
    let rules = [header("x-user", "carol"), header("x-token", "*")];
    policy("headers", &json!({ "action": "DENY", "rules": rules }))
}

/// What asks for no token and nothing that a token rule changes.
fn deny_paths() -> Value {
    paths("paths", "DENY", &["/open/secret*", "/secret*"])
}

fn all(forward: bool) -> Vec<Value> {
    vec![
        token_rule(forward),
        deny_bob(),
        allow(),
        deny_by_headers(),
        deny_paths(),
    ]
}

/// Requests with every kind of token in every place, and with headers that only the proxy may write.
fn requests() -> Vec<Exchange> {
    let mut tokens: Vec<String> = ["alice", "bob", "carol"]
        .map(|name| token(&json!({ "sub": name })))
        .into();
    tokens.push(tokens[0].replacen('.', "..x", 1));
    tokens.push(forge_signature(&tokens[0]));
    tokens.push("nonsense".into());
    let mut requests = Vec::new();
    for path in ["/open", "/secret", "/open/secret", "/closed"] {
        requests.push(get(path));
        requests.push(with(path, &[("x-user", b"alice"), ("x-payload", b"e30")]));
        requests.push(with(path, &[("authorization", b"Basic YTpi")]));
        for token in &tokens {
            requests.push(with(path, &[("authorization", &bearer(token))]));
            requests.push(with(
                path,
                &[("x-token", token.as_bytes()), ("x-user", b"carol")],
            ));
            requests.push(get(&format!("{path}?access_token={token}")));
            let cookie = format!("a=b; session={token}");
            requests.push(with(path, &[("cookie", cookie.as_bytes())]));
        }
    }
    requests
}

/// The token with another signature.
fn forge_signature(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let other: String = signature.chars().rev().collect();
    format!("{signed}.{other}")
}

/// Status, and what the upstream saw but for what the proxy makes up for each request.
fn told(envoy: &Envoy, listener: &str, exchange: &Exchange) -> (u16, Option<Seen>) {
    let response = envoy.send(listener, exchange).unwrap();
    let mut seen = Seen::read(&response).ok();
    if let Some(seen) = &mut seen {
        seen.headers.retain(|(name, _)| name != "x-request-id");
        seen.headers.sort();
    }
    (response.status, seen)
}

/// How close to Istio alone a chain is to come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closeness {
    Same,
    /// A request that is refused for two reasons may get the other answer.
    SameButWhichRefusal,
}

/// Holds the chain to Istio's filters with all these policies.
#[track_caller]
fn check_chain(policies: &[Value], chain: Vec<Value>, closeness: Closeness) {
    let upstream = echo().unwrap();
    let listeners = vec![
        Listener::new("istio", native(policies)),
        Listener::new("chain", chain),
    ];
    let envoy = start(&upstream, listeners);
    let mut passed = 0;
    let requests = requests();
    for exchange in &requests {
        let expected = told(&envoy, "istio", exchange);
        let mut found = told(&envoy, "chain", exchange);
        passed += usize::from(expected.1.is_some());
        if closeness == Closeness::SameButWhichRefusal
            && [401, 403].contains(&expected.0)
            && [401, 403].contains(&found.0)
        {
            found.0 = expected.0;
        }
        assert_eq!(
            found,
            expected,
            "{}",
            String::from_utf8_lossy(&exchange.path)
        );
    }
    assert!(passed > 5 && passed < requests.len(), "{passed} passed");
    assert_sound(&envoy);
}

fn chain(plugin: Value, policies: &[Value]) -> Vec<Value> {
    let mut filters = native(policies);
    filters.insert(0, plugin);
    filters
}

#[test]
fn the_plugin_may_have_all_policies() {
    for forward in [false, true] {
        let policies = all(forward);
        let filters = chain(plugin(&settings(&policies)), &[]);
        check_chain(&policies, filters, Closeness::Same);
    }
}

#[test]
fn the_plugin_may_have_the_token_policies_alone() {
    for forward in [false, true] {
        let policies = all(forward);
        let own = [token_rule(forward), deny_bob(), allow()];
        let others = [deny_by_headers(), deny_paths()];
        let filters = chain(plugin(&settings(&own)), &others);
        check_chain(&policies, filters, Closeness::Same);
    }
}

#[test]
fn istio_may_have_all_but_policies_without_tokens() {
    for forward in [false, true] {
        let policies = all(forward);
        let others = [token_rule(forward), deny_bob(), allow(), deny_by_headers()];
        let filters = chain(plugin(&settings(&[deny_paths()])), &others);
        check_chain(&policies, filters, Closeness::SameButWhichRefusal);
    }
}

#[test]
fn both_may_have_all_policies_where_tokens_are_kept() {
    for forward in [false, true] {
        let policies = all(forward);
        let filters = chain(plugin(&keeping_tokens(&policies)), &policies);
        check_chain(&policies, filters, Closeness::Same);
    }
}

#[test]
fn behind_istio_both_may_have_all_policies_where_its_rules_forward_tokens() {
    let policies = all(true);
    let mut filters = native(&policies);
    filters.push(plugin(&settings(&policies)));
    check_chain(&policies, filters, Closeness::Same);
}

#[test]
fn certificates_are_judged_in_front_of_istios_token_rules() {
    let folder = Scratch::new().unwrap();
    let authority = Authority::shared();
    let server = authority.server(&[]).unwrap();
    let files = authority
        .write_identity(&folder, "server", &server)
        .unwrap();
    let certificates = json!({
        "apiVersion": "portcullis.dev/v1alpha1",
        "kind": "CertificateAuthentication",
        "metadata": { "name": "partners", "namespace": "default" },
        "spec": {
            "required": true,
            "certificateRules": [{ "from": { "connection": {} }, "uris": ["spiffe://partner/*"] }],
        },
    });
    let rule = json!({ "when": [{
        "key": "request.auth.certificate.uri", "values": ["spiffe://partner/mallory"],
    }] });
    let mallory = policy("mallory", &json!({ "action": "DENY", "rules": [rule] }));
    let filters = chain(
        plugin(&settings(&[certificates, mallory])),
        &[token_rule(false), deny_bob(), allow()],
    );
    let listener = Listener {
        tls: Some(files),
        ..Listener::new("gate", filters)
    };
    let upstream = echo().unwrap();
    let envoy = start(&upstream, vec![listener]);
    let sent = |name: Option<&str>, user: &str| {
        let spec = name.map(|name| Spec {
            uri: vec![format!("spiffe://partner/{name}")],
            ..Spec::default()
        });
        let tls = Tls {
            identity: spec.map(|spec| authority.client(&spec).unwrap()),
            sni: None,
        };
        let token = token(&json!({ "sub": user }));
        let exchange = with("/closed", &[("authorization", &bearer(&token))]);
        let exchange = Exchange {
            tls: Some(tls),
            ..exchange
        };
        envoy.send("gate", &exchange).unwrap().status
    };
    assert_eq!(sent(Some("orders"), "alice"), 200);
    assert_eq!(sent(Some("orders"), "bob"), 403);
    assert_eq!(sent(Some("mallory"), "alice"), 403);
    assert_eq!(sent(None, "alice"), 403);
}

/// Policies of the plugin see the request without tokens all the same.
#[test]
fn kept_tokens_reach_the_upstream_where_nothing_behind_takes_them_out() {
    let upstream = echo().unwrap();
    let envoy = gate(&upstream, &keeping_tokens(&all(false)));
    let token = alice();
    let seen = |exchange: &Exchange| Seen::read(&check(&envoy, exchange, 200)).unwrap();
    let found = seen(&with("/closed", &[("x-token", token.as_bytes())]));
    assert_eq!(found.values("x-token"), [&token]);
    assert_eq!(found.values("x-user"), ["alice"]);
    let path = format!("/closed?a=b&access_token={token}");
    assert_eq!(seen(&get(&path)).path, path);
    check(&envoy, &with("/open", &[("x-token", b"nonsense")]), 401);
}

/// What the reference says of splits that are not safe, so that nobody finds it out by himself.
#[test]
fn unsafe_splits_do_what_the_reference_says() {
    let upstream = echo().unwrap();
    let rule = token_rule(false);
    let own = |policies: &[Value]| plugin(&settings(policies));
    let behind = |policies: &[Value], plugin: Value| {
        let mut filters = native(policies);
        filters.push(plugin);
        filters
    };
    let principals = json!({ "from": [{ "source": { "requestPrincipals": ["*"] } }] });
    let any_token = policy("any-token", &json!({ "rules": [principals] }));
    let open = paths("open", "ALLOW", &["/open*"]);
    let everything = [rule.clone(), deny_bob(), any_token.clone()];
    let rules = std::slice::from_ref(&rule);
    // Name, filters, and what becomes of alice, of bob, whom a policy is to refuse, and of a request without a token to
    // `/open`.
    let cases = [
        // Both, and the plugin takes the token away.
        (
            "both",
            chain(own(&everything), &everything),
            [403, 403, 403],
        ),
        // Rules here, claims there: no claim is known there.
        (
            "rules|allow",
            chain(own(rules), std::slice::from_ref(&any_token)),
            [403, 403, 403],
        ),
        (
            "rules|deny",
            chain(own(rules), &[deny_bob()]),
            [200, 200, 200],
        ),
        (
            "allow|rules",
            chain(own(std::slice::from_ref(&any_token)), rules),
            [403, 403, 403],
        ),
        (
            "deny|rules",
            chain(own(&[deny_bob()]), rules),
            [200, 200, 200],
        ),
        // One ALLOW policy on each side: both must match.
        (
            "allow|allow",
            chain(
                own(&[rule.clone(), any_token.clone()]),
                std::slice::from_ref(&open),
            ),
            [200, 200, 403],
        ),
        // The plugin behind Istio's filters, which take the token away.
        (
            "istio both",
            behind(&everything, own(&everything)),
            [403, 403, 403],
        ),
        (
            "istio rules|deny",
            behind(rules, own(&[rule.clone(), deny_bob()])),
            [200, 200, 200],
        ),
    ];
    let names = cases.clone().map(|(name, ..)| name);
    let listeners = cases
        .clone()
        .map(|(name, filters, _)| Listener::new(name, filters));
    let envoy = start(&upstream, listeners.into());
    let sent = |listener: &str, user: Option<&str>| {
        let token = user.map(|user| token(&json!({ "sub": user })));
        let value = token.map(|token| bearer(&token));
        let header = value
            .iter()
            .map(|value| ("authorization", value.as_slice()));
        let exchange = with("/open", &header.collect::<Vec<_>>());
        envoy.send(listener, &exchange).unwrap().status
    };
    let found = names.map(|name| {
        let users = [Some("alice"), Some("bob"), None];
        (name, users.map(|user| sent(name, user)))
    });
    assert_eq!(found, cases.map(|(name, _, expected)| (name, expected)));
}

#[test]
fn the_log_says_what_becomes_of_tokens() {
    let upstream = echo().unwrap();
    let removed = "good tokens are removed from requests, unless";
    let kept = "good tokens stay in requests";
    for (settings, expected) in [
        (settings(&all(false)), [true, false]),
        (keeping_tokens(&all(false)), [false, true]),
        (settings(&all(true)), [false, true]),
        (settings(&[deny_paths()]), [false, false]),
    ] {
        let log = gate(&upstream, &settings).log();
        assert_eq!([removed, kept].map(|line| log.contains(line)), expected);
    }
}
