//! Key sets from a server behind a real cluster, with two workers: late, slow, broken, rotated.

use portcullis_tests::client::crowd::over_http1;
use portcullis_tests::clock::Clock;
use portcullis_tests::envoy::cluster;

use crate::*;

pub(crate) const URI: &str = "http://idp.example/keys";
/// The same, over TLS as far as the filter can tell: the cluster decides.
const SECURE_URI: &str = "https://idp.example/keys";

/// What the key server answers, to be changed while Envoy runs, and how often it was asked.
#[derive(Clone)]
pub(crate) struct Keys {
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicU64>,
}

#[derive(Clone)]
pub(crate) enum Answer {
    Body(u16, Vec<u8>),
    Slow(Duration, Vec<u8>),
    /// An issuer's document, and the keys that it leads to.
    Discovery(&'static str, Vec<u8>),
}

pub(crate) fn good(names: &[&str]) -> Answer {
    Answer::Body(200, public_jwks(names).unwrap().into_bytes())
}

impl Keys {
    pub(crate) fn new(answer: Answer) -> Self {
        Self {
            answer: Arc::new(Mutex::new(answer)),
            asked: Arc::default(),
        }
    }

    pub(crate) fn set(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn serve(&self, port: u16) -> Server {
        let keys = self.clone();
        Server::start(port, move |request| {
            keys.asked.fetch_add(1, Ordering::SeqCst);
            let answer = keys.answer.lock().unwrap().clone();
            let body = match answer {
                Answer::Body(status, body) => {
                    return Reply {
                        status,
                        body,
                        ..Reply::new(status, "application/json", "")
                    };
                }
                Answer::Slow(time, body) => {
                    std::thread::sleep(time);
                    body
                }
                Answer::Discovery(uri, _)
                    if request.path == "/.well-known/openid-configuration" =>
                {
                    json!({ "issuer": ISSUER, "jwks_uri": uri })
                        .to_string()
                        .into_bytes()
                }
                Answer::Discovery(_, body) => body,
            };
            Reply {
                body,
                ..Reply::new(200, "application/json", "")
            }
        })
        .unwrap()
    }
}

/// An Envoy with two workers whose rule fetches its keys from a server on `port`.
fn envoy(upstream: &Server, port: u16, rule: &Value) -> Envoy {
    Envoy::start(&config(upstream, port, rule)).unwrap()
}

fn config(upstream: &Server, port: u16, rule: &Value) -> Config {
    let listener = Listener::new("gate", vec![plugin(&fetching(rule))]);
    let mut config = Config::new(upstream.address(), vec![listener]);
    config.concurrency = 2;
    config
        .clusters
        .push(cluster("idp", SocketAddr::from(([127, 0, 0, 1], port))));
    config
}

/// A configuration with a rule whose keys come through the cluster `idp`.
fn fetching(rule: &Value) -> String {
    let mut rule = rule.clone();
    rule["issuer"] = ISSUER.into();
    let uris = [
        URI,
        SECURE_URI,
        "https://issuer.example/.well-known/openid-configuration",
    ];
    json!({
        "policies": [resource("RequestAuthentication", "tokens", &json!({ "jwtRules": [rule] }))],
        "workload": { "namespace": "default" },
        "jwks": uris.map(|uri| json!({ "uri": uri, "cluster": "idp" })),
    })
    .to_string()
}

fn by_uri() -> Value {
    json!({ "jwksUri": URI })
}

pub(crate) fn signed_with(key: &str) -> Exchange {
    let order = Order {
        key,
        key_id: Some(key),
        claims: &json!({ "iss": ISSUER, "sub": "alice" }).to_string(),
        now: real_now(),
    };
    let bearer = format!("Bearer {}", mint(&order).unwrap());
    with("/", &[("authorization", bearer.as_bytes())])
}

fn status(envoy: &Envoy, exchange: &Exchange) -> u16 {
    envoy.send("gate", exchange).unwrap().status
}

/// A port where nobody listens.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

pub(crate) const FETCH_FAILED: &str = "Jwks remote fetch is failed";

#[test]
fn keys_are_fetched_once_for_all_workers_and_the_first_request_waits() {
    let upstream = echo().unwrap();
    let keys = Keys::new(good(&["ec-1"]));
    let server = keys.serve(0);
    let envoy = envoy(&upstream, server.address().port(), &by_uri());
    for _ in 0..20 {
        check(&envoy, &signed_with("ec-1"), 200);
        check(&envoy, &get("/"), 200);
    }
    check(&envoy, &signed_with("rsa-1"), 401);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(
        keys.asked() <= 2,
        "asked {} times: once, and once for the unknown key",
        keys.asked()
    );
    assert_sound(&envoy);
}

#[test]
fn a_slow_server_holds_up_tokens_only() {
    let upstream = echo().unwrap();
    let body = public_jwks(&["ec-1"]).unwrap().into_bytes();
    let keys = Keys::new(Answer::Slow(Duration::from_secs(2), body));
    let server = keys.serve(0);
    let envoy = envoy(&upstream, server.address().port(), &by_uri());
    let start = Instant::now();
    check(&envoy, &get("/"), 200);
    assert!(
        start.elapsed() < Duration::from_millis(1500),
        "{:?}",
        start.elapsed()
    );
    check(&envoy, &signed_with("ec-1"), 200);
    assert!(
        start.elapsed() > Duration::from_millis(1500),
        "it waited for the keys"
    );
    assert_sound(&envoy);
}

#[test]
fn a_server_that_never_answers_is_waited_for_a_bounded_time() {
    let upstream = echo().unwrap();
    let keys = Keys::new(Answer::Slow(Duration::from_secs(20), Vec::new()));
    let server = keys.serve(0);
    let envoy = envoy(&upstream, server.address().port(), &by_uri());
    let start = Instant::now();
    let refused = check(&envoy, &signed_with("ec-1"), 401);
    assert_eq!(refused.text(), FETCH_FAILED);
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    // The failure is known now, so nobody waits for the next try.
    let start = Instant::now();
    check(&envoy, &signed_with("ec-1"), 401);
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    assert_sound(&envoy);
}

#[test]
fn a_server_that_comes_late_is_found() {
    let upstream = echo().unwrap();
    let port = free_port();
    let envoy = envoy(&upstream, port, &by_uri());
    check(&envoy, &get("/"), 200);
    let refused = check(&envoy, &signed_with("ec-1"), 401);
    assert_eq!(refused.text(), FETCH_FAILED);
    let line = format!("the key set of {URI} cannot be fetched: the answer is 503");
    eventually("the line in the log", || envoy.log().contains(&line));
    let keys = Keys::new(good(&["ec-1"]));
    let _server = keys.serve(port);
    eventually("the keys", || status(&envoy, &signed_with("ec-1")) == 200);
    assert_sound(&envoy);
}

#[test]
fn no_bad_answer_is_a_key_set_and_each_is_named() {
    let upstream = echo().unwrap();
    let huge = format!("{{\"keys\":[{{\"kty\":\"{}\"}}]}}", "x".repeat(20_000_000));
    for (answer, what) in [
        (Answer::Body(500, b"no".to_vec()), "the answer is 500"),
        (
            Answer::Body(200, b"<html>".to_vec()),
            "the key set is not JSON",
        ),
        (
            Answer::Body(200, b"{\"keys\":[]}".to_vec()),
            "the key set is empty",
        ),
        (
            Answer::Body(200, huge.into_bytes()),
            "the answer has 200000",
        ),
    ] {
        let keys = Keys::new(answer);
        let server = keys.serve(0);
        let envoy = envoy(&upstream, server.address().port(), &by_uri());
        let refused = check(&envoy, &signed_with("ec-1"), 401);
        assert_eq!(refused.text(), FETCH_FAILED, "{what}");
        check(&envoy, &get("/"), 200);
        let line = format!("the key set of {URI} cannot be fetched: {what}");
        assert!(envoy.log().contains(&line), "{line}:\n{}", envoy.log());
        keys.set(good(&["ec-1"]));
        eventually("the keys", || status(&envoy, &signed_with("ec-1")) == 200);
        assert_sound(&envoy);
    }
}

#[test]
fn a_rotated_set_is_fetched_when_a_token_names_a_new_key() {
    let upstream = echo().unwrap();
    let keys = Keys::new(good(&["ec-1"]));
    let server = keys.serve(0);
    let envoy = envoy(&upstream, server.address().port(), &by_uri());
    check(&envoy, &signed_with("ec-1"), 200);
    keys.set(good(&["rsa-1"]));
    check(&envoy, &signed_with("rsa-1"), 200);
    // The old key has gone with the old set, on both workers.
    eventually("the end of the old key", || {
        (0..10).all(|_| status(&envoy, &signed_with("ec-1")) == 401)
    });
    for _ in 0..10 {
        check(&envoy, &signed_with("rsa-1"), 200);
    }
    let asked = keys.asked();
    for _ in 0..20 {
        check(&envoy, &signed_with("ed-1"), 401);
    }
    assert_eq!(
        keys.asked(),
        asked,
        "unknown keys ask once in half a minute"
    );
    assert_sound(&envoy);
}

/// Many tokens of the new key at once, right after the old keys came.
#[test]
fn a_rotation_right_after_a_fetch_refuses_no_good_token() {
    let upstream = echo().unwrap();
    for workers in [1, 2] {
        let keys = Keys::new(good(&["ec-1"]));
        let server = keys.serve(0);
        let mut config = config(&upstream, server.address().port(), &by_uri());
        config.concurrency = workers;
        let envoy = Envoy::start(&config).unwrap();
        eventually("the first keys", || keys.asked() == 1);
        keys.set(good(&["rsa-1"]));
        let address = envoy.address("gate").unwrap();
        let answers = over_http1(address, &vec![signed_with("rsa-1"); 250]).unwrap();
        let refused = answers.iter().filter(|(status, _)| *status != 200).count();
        assert_eq!(refused, 0, "{workers} workers");
        assert!(keys.asked() <= 3, "asked {} times", keys.asked());
        assert_sound(&envoy);
    }
}

#[test]
fn a_clock_that_was_ahead_delays_no_key() {
    let upstream = echo().unwrap();
    let clock = Clock::off_by(2 * 86_400).unwrap();
    let keys = Keys::new(good(&["ec-1"]));
    let server = keys.serve(0);
    let mut config = config(&upstream, server.address().port(), &by_uri());
    config.environment = clock.environment();
    let envoy = Envoy::start(&config).unwrap();
    check(&envoy, &signed_with("ec-1"), 200);
    // The clock is really ahead: what expires tomorrow has expired.
    let order = Order {
        key: "ec-1",
        key_id: Some("ec-1"),
        claims: &json!({ "iss": ISSUER, "exp": real_now() + 86_400 }).to_string(),
        now: real_now(),
    };
    let tomorrow = bearer(&mint(&order).unwrap());
    let tomorrow = with("/", &[("authorization", &tomorrow)]);
    check(&envoy, &tomorrow, 401);
    // An unknown key asks early, for the last time in half a minute, or in two days by that clock.
    check(&envoy, &signed_with("rsa-1"), 401);
    clock.set(0).unwrap();
    eventually("the clock", || status(&envoy, &tomorrow) == 200);
    keys.set(good(&["rsa-1"]));
    std::thread::sleep(Duration::from_secs(31));
    check(&envoy, &signed_with("rsa-1"), 200);
    eventually("the end of the old key", || {
        (0..10).all(|_| status(&envoy, &signed_with("ec-1")) == 401)
    });
    assert_sound(&envoy);
}

/// One client's rubbish takes no place from another's tokens.
#[test]
fn rubbish_of_one_client_makes_no_other_client_go() {
    let upstream = echo().unwrap();
    let body = public_jwks(&["ec-1"]).unwrap().into_bytes();
    let keys = Keys::new(Answer::Slow(Duration::from_secs(3), body));
    let server = keys.serve(0);
    for without_keys in ["unauthorized", "unavailable"] {
        let mut settings: Value = serde_json::from_str(&fetching(&by_uri())).unwrap();
        settings["waiting"] = json!({ "requests": 300, "withoutKeys": without_keys });
        let listener = Listener::new("gate", vec![plugin(&settings.to_string())]);
        let mut config = Config::new(upstream.address(), vec![listener]);
        config.clusters.push(cluster("idp", server.address()));
        let envoy = Envoy::start(&config).unwrap();
        let address = envoy.address("gate").unwrap();
        let from = |host: u8, exchange: Exchange| Exchange {
            source: SocketAddr::from(([127, 0, 0, host], 40_000)),
            ..exchange
        };
        let mut rubbish = signed_with("ec-1");
        rubbish.headers[0].1.extend_from_slice(b"AAAA");
        let rubbish = from(9, rubbish);
        let refused = if without_keys == "unavailable" {
            503
        } else {
            401
        };
        std::thread::scope(|scope| {
            let flood = scope.spawn(|| over_http1(address, &vec![rubbish.clone(); 1000]).unwrap());
            let waiting = "wasmcustom.portcullis_requests_waiting";
            eventually("the flood", || envoy.stat(waiting).unwrap() >= 300);
            let good = over_http1(address, &vec![from(1, signed_with("ec-1")); 100]).unwrap();
            let wrong: Vec<_> = good.iter().filter(|(status, _)| *status != 200).collect();
            assert!(wrong.is_empty(), "{} of 100: {:?}", wrong.len(), wrong[0]);
            let flood = flood.join().unwrap();
            let statuses: BTreeSet<u16> = flood.iter().map(|(status, _)| *status).collect();
            assert_eq!(statuses, BTreeSet::from([401, refused]));
            assert!(
                flood
                    .iter()
                    .filter(|(status, _)| *status == refused)
                    .count()
                    >= 700
            );
        });
        let stat = |name: &str| {
            envoy
                .stat(&format!("wasmcustom.portcullis_{name}"))
                .unwrap()
        };
        assert!(stat("requests_refused_for_lack_of_places_total") >= 600);
        assert!(stat("requests_waited_total") >= 400);
        assert_eq!(stat("requests_waiting"), 0);
        assert_sound(&envoy);
    }
}

/// An answer may come while Envoy is still inside the call that asked, so that hundreds of them would nest.
#[test]
fn many_key_sets_that_fail_at_once_stop_no_worker() {
    let upstream = echo().unwrap();
    let uris: Vec<String> = (0..600)
        .map(|number| format!("http://idp-{number}.example/keys"))
        .collect();
    let rules: Vec<Value> = uris
        .iter()
        .map(|uri| json!({ "issuer": uri, "jwksUri": uri }))
        .collect();
    for cluster_name in ["idp", "nowhere"] {
        let jwks: Vec<Value> = uris
            .iter()
            .map(|uri| json!({ "uri": uri, "cluster": cluster_name }))
            .collect();
        let settings = json!({
            "policies": [resource("RequestAuthentication", "tokens", &json!({ "jwtRules": rules }))],
            "workload": { "namespace": "default" },
            "jwks": jwks,
        });
        let listener = Listener::new("gate", vec![plugin(&settings.to_string())]);
        let mut config = Config::new(upstream.address(), vec![listener]);
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        config.clusters.push(cluster("idp", address));
        // Requests beyond the first are answered at once: the circuit is open.
        config.clusters[0]["circuit_breakers"] = json!({ "thresholds": [
            { "max_connections": 1, "max_pending_requests": 1, "max_requests": 1 },
        ] });
        let envoy = Envoy::start(&config).unwrap();
        for _ in 0..10 {
            check(&envoy, &get("/"), 200);
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(
            envoy
                .stat("wasmcustom.portcullis_key_set_fetch_failures_total")
                .unwrap()
                >= 600,
            "{cluster_name}"
        );
        assert_sound(&envoy);
    }
}

#[test]
fn keys_outlive_a_source_that_breaks() {
    let upstream = echo().unwrap();
    let keys = Keys::new(good(&["ec-1"]));
    let server = keys.serve(0);
    let envoy = envoy(&upstream, server.address().port(), &by_uri());
    check(&envoy, &signed_with("ec-1"), 200);
    keys.set(Answer::Body(500, Vec::new()));
    // This asks early, in vain.
    check(&envoy, &signed_with("rsa-1"), 401);
    eventually("the failure", || envoy.log().contains("the answer is 500"));
    for _ in 0..20 {
        check(&envoy, &signed_with("ec-1"), 200);
    }
    keys.set(good(&["ec-1", "rsa-1"]));
    eventually("the new key", || {
        status(&envoy, &signed_with("rsa-1")) == 200
    });
    assert_sound(&envoy);
}

#[test]
fn an_issuer_tells_where_its_keys_are() {
    let upstream = echo().unwrap();
    let body = public_jwks(&["ec-1"]).unwrap().into_bytes();
    let keys = Keys::new(Answer::Discovery(SECURE_URI, body));
    let server = keys.serve(0);
    let envoy = envoy(&upstream, server.address().port(), &json!({}));
    check(&envoy, &signed_with("ec-1"), 200);
    check(&envoy, &signed_with("rsa-1"), 401);
    assert_sound(&envoy);
}

#[test]
fn an_issuer_over_tls_leads_to_no_keys_without_it() {
    let upstream = echo().unwrap();
    let body = public_jwks(&["ec-1"]).unwrap().into_bytes();
    let keys = Keys::new(Answer::Discovery(URI, body));
    let server = keys.serve(0);
    let envoy = envoy(&upstream, server.address().port(), &json!({}));
    check(&envoy, &signed_with("ec-1"), 401);
    let line = "names no `jwks_uri` that can be followed; give `jwksUri` in the rule";
    assert!(envoy.log().contains(line), "{}", envoy.log());
    assert_sound(&envoy);
}

#[test]
fn a_cluster_that_is_not_there_is_named_with_its_remedy() {
    let upstream = echo().unwrap();
    let settings = json!({
        "policies": [resource("RequestAuthentication", "tokens", &json!({ "jwtRules": [
            { "issuer": ISSUER, "jwksUri": "https://idp.example:8443/keys" },
        ] }))],
        "workload": { "namespace": "default" },
    });
    let envoy = gate(&upstream, &settings.to_string());
    let refused = check(&envoy, &signed_with("ec-1"), 401);
    assert_eq!(refused.text(), FETCH_FAILED);
    check(&envoy, &get("/"), 200);
    let line = "Envoy has no cluster `outbound|8443||idp.example` with a host; add a ServiceEntry for idp.example:8443";
    assert!(envoy.log().contains(line), "{}", envoy.log());
    assert_sound(&envoy);
}

#[test]
fn a_body_does_not_take_a_waiting_request_along() {
    let upstream = echo().unwrap();
    let body = public_jwks(&["ec-1"]).unwrap().into_bytes();
    let keys = Keys::new(Answer::Slow(Duration::from_millis(700), body));
    let server = keys.serve(0);
    let settings = json!({
        "policies": [
            resource("RequestAuthentication", "tokens", &json!({ "jwtRules": [
                { "issuer": ISSUER, "jwksUri": URI },
            ] })),
            policy("only-alice", &json!({ "rules": [
                { "from": [{ "source": { "requestPrincipals": [format!("{ISSUER}/alice")] } }] },
            ] })),
        ],
        "workload": { "namespace": "default" },
        "jwks": [{ "uri": URI, "cluster": "idp" }],
    });
    for stops_at_headers_alone in [false, true] {
        let mut filter = plugin(&settings.to_string());
        filter["typed_config"]["config"]["allow_on_headers_stop_iteration"] =
            stops_at_headers_alone.into();
        let mut config = Config::new(
            upstream.address(),
            vec![Listener::new("gate", vec![filter])],
        );
        config.clusters.push(cluster("idp", server.address()));
        let envoy = Envoy::start(&config).unwrap();
        let post = |key: &str, size: usize| Exchange {
            method: "POST".into(),
            body: vec![b'x'; size],
            ..signed_with(key)
        };
        check(&envoy, &post("ec-1", 3000), 200);
        check(&envoy, &post("ec-1", 300_000), 200);
        // This one waits as well, for a key that does not come.
        check(&envoy, &post("rsa-1", 3000), 401);
        check(&envoy, &post("rsa-1", 3000), 401);
        assert_sound(&envoy);
    }
}

#[test]
fn plugins_with_other_clusters_have_other_keys() {
    let upstream = echo().unwrap();
    let (one, other) = (Keys::new(good(&["ec-1"])), Keys::new(good(&["rsa-1"])));
    let servers = [one.serve(0), other.serve(0)];
    let listener = |name: &str, cluster: &str| {
        let settings = json!({
            "policies": [resource("RequestAuthentication", "tokens", &json!({ "jwtRules": [
                { "issuer": ISSUER, "jwksUri": URI },
            ] }))],
            "workload": { "namespace": "default" },
            "jwks": [{ "uri": URI, "cluster": cluster }],
        });
        Listener::new(name, vec![plugin(&settings.to_string())])
    };
    let listeners = vec![listener("one", "idp-one"), listener("other", "idp-other")];
    let mut config = Config::new(upstream.address(), listeners);
    config.clusters.extend(
        ["idp-one", "idp-other"]
            .into_iter()
            .zip(&servers)
            .map(|(name, server)| cluster(name, server.address())),
    );
    let envoy = Envoy::start(&config).unwrap();
    for (listener, key, expected) in [
        ("one", "ec-1", 200),
        ("other", "rsa-1", 200),
        ("one", "rsa-1", 401),
        ("other", "ec-1", 401),
    ] {
        let status = envoy.send(listener, &signed_with(key)).unwrap().status;
        assert_eq!(status, expected, "{listener} {key}");
    }
    assert_sound(&envoy);
}

#[test]
fn no_decision_is_wrong_while_the_configuration_changes_every_second() {
    const REQUESTS: u64 = 10_000;
    let upstream = echo().unwrap();
    let keys = Keys::new(good(&["ec-1"]));
    let server = keys.serve(0);
    // Two versions of one meaning, so that every request has one right answer at any time.
    let version = |entries: u32| {
        let settings = json!({
            "policies": [
                resource("RequestAuthentication", "tokens", &json!({ "jwtRules": [
                    { "issuer": ISSUER, "jwksUri": URI },
                ] })),
                paths("shut", "DENY", &["/never"]),
            ],
            "workload": { "namespace": "default" },
            "jwks": [{ "uri": URI, "cluster": "idp" }],
            "signatureCache": { "entries": entries },
        });
        plugin(&settings.to_string())
    };
    let mut file = ExtensionFile::new(&version(100)).unwrap();
    let listener = Listener::new("gate", vec![file.http_filter()]);
    let mut config = Config::new(upstream.address(), vec![listener]);
    config.concurrency = 2;
    config.clusters.push(cluster("idp", server.address()));
    let envoy = Envoy::start(&config).unwrap();
    check(&envoy, &signed_with("ec-1"), 200);

    let bearer = |text: &str| {
        with(
            "/",
            &[("authorization", format!("Bearer {text}").as_bytes())],
        )
    };
    let good = token(&json!({ "sub": "alice" }));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let other = token(&json!({ "sub": "mallory" }));
    let forged = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
    let mix = [
        (bearer(&good), 200),
        (get("/"), 200),
        (get("/never"), 403),
        (bearer(&forged), 401),
        (bearer(&format!("{signed}.")), 401),
        (bearer(&token(&json!({ "exp": 1 }))), 401),
        (signed_with("ed-1"), 401),
        (bearer("a.b.c"), 401),
        (bearer(&"x".repeat(50_000)), 401),
        (with("/", &[("authorization", b"Bearer \xff\xfe")]), 401),
    ];
    let memory = || envoy.resident_memory().unwrap();
    let sent = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        for (index, (exchange, expected)) in mix.iter().enumerate() {
                            assert_eq!(status(&envoy, exchange), *expected, "request {index}");
                            sent.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        let failed = || load.iter().any(std::thread::ScopedJoinHandle::is_finished);
        let mut before = 0;
        for switch in 1_u32.. {
            let applied = envoy.replace_extension(&mut file, &version(100 + switch % 2));
            std::thread::sleep(Duration::from_secs(1));
            assert_eq!(applied.unwrap(), Applied::Accepted);
            if switch == 4 {
                before = memory();
            }
            if failed() || (switch >= 10 && sent.load(Ordering::Relaxed) >= REQUESTS) {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        let after = memory();
        assert!(
            after < before + before / 5,
            "memory grew from {before} to {after} KiB"
        );
    });
    assert_sound(&envoy);
}
