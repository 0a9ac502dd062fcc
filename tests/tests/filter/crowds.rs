//! Many requests at once that wait for keys, on each protocol and with one and two workers.

use portcullis_tests::client::crowd::{over_http1, over_http2, start_http2};
use portcullis_tests::envoy::cluster;

use crate::keys::{Answer, FETCH_FAILED, Keys, URI, good, signed_with};
use crate::*;

/// More than V8's stack has room for, were each of them answered inside the answer of the one before.
const CROWD: usize = 1200;

/// What becomes of a request that the plugin lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// Envoy answers by itself.
    DirectResponse,
    /// A cluster without a host.
    NoHost,
}

impl Behind {
    fn route(self) -> Value {
        let mut route = json!({ "match": { "prefix": "/" } });
        match self {
            Self::DirectResponse => {
                route["direct_response"] =
                    json!({ "status": 200, "body": { "inline_string": "direct" } });
            }
            Self::NoHost => route["route"] = json!({ "cluster": "nowhere" }),
        }
        json!({ "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] })
    }

    fn answer(self) -> (u16, &'static str) {
        match self {
            Self::DirectResponse => (200, "direct"),
            Self::NoHost => (503, "no healthy upstream"),
        }
    }
}

fn envoy(key_server: &Server, workers: u32, behind: Behind) -> Envoy {
    let rule = json!({ "issuer": ISSUER, "jwksUri": URI });
    let settings = json!({
        "policies": [resource("RequestAuthentication", "tokens", &json!({ "jwtRules": [rule] }))],
        "workload": { "namespace": "default" },
        "jwks": [{ "uri": URI, "cluster": "idp" }],
    });
    let mut listener = Listener::new("gate", vec![plugin(&settings.to_string())]);
    listener
        .connection_manager
        .insert("route_config".into(), behind.route());
    let mut config = Config::new(key_server.address(), vec![listener]);
    config.concurrency = workers;
    config.clusters.push(cluster("idp", key_server.address()));
    let mut nowhere = cluster("nowhere", key_server.address());
    nowhere["load_assignment"]["endpoints"] = json!([]);
    config.clusters.push(nowhere);
    Envoy::start(&config).unwrap()
}

/// Sends the request as often as it takes over both protocols; each must get this answer.
#[track_caller]
fn check_crowd(envoy: &Envoy, is_http2: bool, request: &Exchange, expected: (u16, &str)) {
    let address = envoy.address("gate").unwrap();
    let requests = vec![request.clone(); CROWD];
    let wrong: Vec<String> = if is_http2 {
        let bodies = over_http2(address, &requests).unwrap().into_iter();
        bodies.filter(|body| body != expected.1).collect()
    } else {
        let answers = over_http1(address, &requests).unwrap().into_iter();
        answers
            .filter(|(status, body)| (*status, body.as_str()) != expected)
            .map(|(status, body)| format!("{status} {body}"))
            .collect()
    };
    assert!(
        wrong.is_empty(),
        "{} of {CROWD} got another answer, such as {:?}",
        wrong.len(),
        wrong[0]
    );
}

const UNKNOWN_KEY: &str = "Jwks doesn't have key to match kid or alg from Jwt";

/// A token of the issuer that names a key which the set lacks, with a signature of rubbish.
fn junk() -> Exchange {
    let good = signed_with("rsa-1");
    let (name, value) = &good.headers[0];
    let token = String::from_utf8(value.clone()).unwrap();
    let signed = token.rsplit_once('.').unwrap().0;
    let value = format!("{signed}.c2ln").into_bytes();
    Exchange {
        headers: vec![(name.clone(), value)],
        ..good
    }
}

#[test]
fn a_crowd_with_an_unknown_key_is_answered_and_the_worker_lives() {
    for (is_http2, workers) in [(false, 1), (true, 1), (false, 2), (true, 2)] {
        let body = public_jwks(&["ec-1"]).unwrap().into_bytes();
        let keys = Keys::new(Answer::Slow(Duration::from_millis(300), body));
        let server = keys.serve(0);
        let envoy = envoy(&server, workers, Behind::DirectResponse);
        check(&envoy, &signed_with("ec-1"), 200);
        check_crowd(&envoy, is_http2, &junk(), (401, UNKNOWN_KEY));
        assert_alive(&envoy);
    }
}

#[test]
fn a_crowd_at_boot_is_let_through_when_the_keys_come() {
    for behind in [Behind::DirectResponse, Behind::NoHost] {
        for (is_http2, workers) in [(false, 1), (true, 1), (false, 2), (true, 2)] {
            let body = public_jwks(&["ec-1"]).unwrap().into_bytes();
            let keys = Keys::new(Answer::Slow(Duration::from_millis(1500), body));
            let server = keys.serve(0);
            let envoy = envoy(&server, workers, behind);
            check_crowd(&envoy, is_http2, &signed_with("ec-1"), behind.answer());
            let (status, _) = behind.answer();
            for _ in 0..8 {
                check(&envoy, &signed_with("ec-1"), status);
            }
            assert_sound(&envoy);
        }
    }
}

#[test]
fn a_crowd_whose_keys_never_come_is_answered_when_its_time_is_over() {
    let keys = Keys::new(Answer::Slow(Duration::from_secs(20), Vec::new()));
    let server = keys.serve(0);
    let envoy = envoy(&server, 1, Behind::DirectResponse);
    check_crowd(&envoy, true, &signed_with("ec-1"), (401, FETCH_FAILED));
    check(&envoy, &get("/"), 200);
    assert_sound(&envoy);
}

/// Streams of one connection that need not wait. (Over HTTP/1, Envoy closes a connection after two pipelined requests
/// that it answers by itself.)
#[test]
fn a_crowd_that_is_refused_at_once_stops_no_worker() {
    let keys = Keys::new(good(&["ec-1"]));
    let server = keys.serve(0);
    let envoy = envoy(&server, 1, Behind::DirectResponse);
    check(&envoy, &signed_with("ec-1"), 200);
    let bad = with("/", &[("authorization", b"Bearer x.y.z")]);
    let address = envoy.address("gate").unwrap();
    let bodies = over_http2(address, &vec![bad; CROWD]).unwrap();
    assert!(bodies.iter().all(|body| body.starts_with("Jwt header is")));
    assert_alive(&envoy);
}

/// Clients that go away while they wait.
#[test]
fn a_crowd_that_hangs_up_is_forgotten() {
    let keys = Keys::new(Answer::Slow(
        Duration::from_secs(3),
        public_jwks(&["ec-1"]).unwrap().into_bytes(),
    ));
    let server = keys.serve(0);
    let envoy = envoy(&server, 1, Behind::DirectResponse);
    let address = envoy.address("gate").unwrap();
    let waiting = || {
        envoy
            .stat("wasmcustom.portcullis_requests_waiting")
            .unwrap()
    };
    let requests = vec![signed_with("ec-1"); CROWD];
    let connections = start_http2(address, &requests).unwrap();
    eventually("the waiting", || waiting() == u64::try_from(CROWD).unwrap());
    drop(connections);
    eventually("the end of the waiting", || waiting() == 0);
    check(&envoy, &signed_with("ec-1"), 200);
    assert_alive(&envoy);
}

/// New connections, so that each worker gets some.
#[track_caller]
fn assert_alive(envoy: &Envoy) {
    for _ in 0..8 {
        check(envoy, &signed_with("ec-1"), 200);
        check(envoy, &get("/"), 200);
    }
    assert_sound(envoy);
}
