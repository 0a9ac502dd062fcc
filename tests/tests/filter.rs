//! The filter in a real Envoy, as an attacker and as an operator meet it. What policies mean is the corpus'
//! matter (`scenarios.rs`); here it is what a hostile client, a broken configuration or a dead upstream do.

#[path = "filter/companion.rs"]
mod companion;
#[path = "filter/connections.rs"]
mod connections;
#[path = "filter/crowds.rs"]
mod crowds;
#[path = "filter/handover.rs"]
mod handover;
#[path = "filter/hostile.rs"]
mod hostile;
#[path = "filter/http2.rs"]
mod http2;
#[path = "filter/keys.rs"]
mod keys;
#[path = "filter/logs.rs"]
mod logs;
#[path = "filter/neighbours.rs"]
mod neighbours;
#[path = "filter/operation.rs"]
mod operation;
#[path = "filter/split.rs"]
mod split;
#[path = "filter/wire.rs"]
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use portcullis_mint::{Order, forge, mint, public_jwks};
use portcullis_tests::certificates::{Authority, Spec};
use portcullis_tests::client::{Exchange, Response, Tls};
use portcullis_tests::drivers::{filter_module, real_now, source_ip_state, wasm_filter};
use portcullis_tests::envoy::{Applied, Config, Envoy, ExtensionFile, Listener};
use portcullis_tests::http::{Headers, header};
use portcullis_tests::scratch::Scratch;
use portcullis_tests::server::{Reply, Request, Server};
use portcullis_tests::upstream::{Seen, echo};
use serde_json::{Value, json};

const ISSUER: &str = "https://issuer.example";

/// What stands in Envoy's log when a plugin was stopped by a panic or a trap.
const TRAPS: [&str; 4] = [
    "Proxy-Wasm plugin in-VM backtrace",
    "wasm_fail_stream",
    "panicked at",
    "Function: proxy_on_",
];

/// The filter with a configuration, as text: it need not be JSON.
fn plugin(configuration: &str) -> Value {
    let mut filter = wasm_filter(&filter_module().unwrap(), &json!({}));
    filter["typed_config"]["config"]["configuration"]["value"] = configuration.into();
    filter
}

/// A configuration for a workload of the namespace `default`.
fn settings(policies: &[Value]) -> String {
    json!({ "policies": policies, "workload": { "namespace": "default" } }).to_string()
}

fn resource(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": kind,
        "metadata": { "name": name, "namespace": "default" },
        "spec": spec,
    })
}

fn policy(name: &str, spec: &Value) -> Value {
    resource("AuthorizationPolicy", name, spec)
}

fn paths(name: &str, action: &str, paths: &[&str]) -> Value {
    let rule = json!({ "to": [{ "operation": { "paths": paths } }] });
    policy(name, &json!({ "action": action, "rules": [rule] }))
}

fn tokens(rule: &Value) -> Value {
    let mut rule = rule.clone();
    rule["issuer"] = ISSUER.into();
    rule["jwks"] = public_jwks(&["ec-1"]).unwrap().into();
    resource(
        "RequestAuthentication",
        "tokens",
        &json!({ "jwtRules": [rule] }),
    )
}

fn token(claims: &Value) -> String {
    let mut claims = claims.clone();
    claims["iss"] = ISSUER.into();
    let claims = claims.to_string();
    let order = Order {
        key: "ec-1",
        key_id: Some("ec-1"),
        claims: &claims,
        now: real_now(),
    };
    mint(&order).unwrap()
}

fn alice() -> String {
    token(&json!({ "sub": "alice" }))
}

/// The second part of a token.
fn payload_of(token: &str) -> String {
    token.split('.').nth(1).unwrap().to_owned()
}

/// Policies that read much of a request: tokens in all places, open paths, forbidden ones, a forbidden header.
fn gatekeeper() -> String {
    settings(&[
        tokens(&json!({
            "fromHeaders": [{ "name": "Authorization", "prefix": "Bearer " }, { "name": "x-token" }],
            "fromParams": ["access_token"],
            "fromCookies": ["session"],
            "outputPayloadToHeader": "x-payload",
        })),
        policy(
            "open",
            &json!({ "rules": [
            { "to": [{ "operation": { "paths": ["/open", "/open/*"], "methods": ["GET", "POST"] } }] },
            {
                "from": [{ "source": { "requestPrincipals": [format!("{ISSUER}/alice")] } }],
                "to": [{ "operation": { "paths": ["/token"], "methods": ["GET", "POST"] } }],
            },
        ] }),
        ),
        paths("secret", "DENY", &["/open/secret*"]),
        policy(
            "evil",
            &json!({ "action": "DENY", "rules": [
            { "when": [{ "key": "request.headers[x-evil]", "values": ["*"] }] },
        ] }),
        ),
    ])
}

/// Whether the policies of [`gatekeeper`] let through what the upstream saw. Written apart from the product.
fn is_let_through(request: &Request, good: &str) -> bool {
    let path = request.path.split('?').next().unwrap_or_default();
    let payload = header(&request.headers, "x-payload");
    let has_good_token = payload == Some(good.as_bytes());
    let is_open = path == "/open" || path.starts_with("/open/");
    ["GET", "POST"].contains(&request.method.as_str())
        && (is_open || (path == "/token" && has_good_token))
        && !path.starts_with("/open/secret")
        && header(&request.headers, "x-evil").is_none()
        && (payload.is_none() || has_good_token)
        && header(&request.headers, "authorization")
            .is_none_or(|value| !value.windows(7).any(|window| window == b"Bearer "))
}

fn start(upstream: &Server, listeners: Vec<Listener>) -> Envoy {
    Envoy::start(&Config::new(upstream.address(), listeners)).unwrap()
}

/// An Envoy with one listener `gate`.
fn gate(upstream: &Server, configuration: &str) -> Envoy {
    start(
        upstream,
        vec![Listener::new("gate", vec![plugin(configuration)])],
    )
}

fn get(path: &str) -> Exchange {
    Exchange {
        path: path.as_bytes().to_vec(),
        ..Exchange::default()
    }
}

fn with(path: &str, headers: &[(&str, &[u8])]) -> Exchange {
    let headers = headers
        .iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec()))
        .collect();
    Exchange {
        headers,
        ..get(path)
    }
}

#[track_caller]
fn check(envoy: &Envoy, exchange: &Exchange, expected: u16) -> Response {
    let response = envoy.send("gate", exchange).unwrap();
    let path = String::from_utf8_lossy(&exchange.path[..exchange.path.len().min(80)]).into_owned();
    assert_eq!(
        response.status,
        expected,
        "{path}: {:?}",
        response.header("x-test-details")
    );
    response
}

fn bearer(token: &str) -> Vec<u8> {
    format!("Bearer {token}").into_bytes()
}

/// Envoy and the plugin never stopped.
#[track_caller]
fn assert_sound(envoy: &Envoy) {
    let log = envoy.log();
    for trap in TRAPS {
        assert!(!log.contains(trap), "`{trap}` in\n{log}");
    }
    let stats = envoy.admin("/stats").unwrap().text();
    let reloads: Vec<&str> = stats
        .lines()
        .filter(|line| line.contains("vm_reload") && !line.ends_with(": 0"))
        .collect();
    assert!(reloads.is_empty(), "{reloads:?}");
}

/// Waits until something holds that is about to happen.
#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The status of the answer to these bytes, if there is one within `patience`.
fn send_bytes(address: SocketAddr, bytes: &[u8], patience: Duration) -> Option<u16> {
    // A PROXY header that says nothing: the connection speaks for itself (section 2.2, command LOCAL).
    const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    let mut connection = TcpStream::connect(address).expect("Envoy accepts connections");
    connection.set_nodelay(true).unwrap();
    // Envoy may hang up before it has read all; its answer, if any, is what counts.
    drop(connection.write_all(&[LOCAL, bytes].concat()));
    connection.set_read_timeout(Some(patience)).ok()?;
    let mut answer = [0; 64];
    let length = connection.read(&mut answer).ok()?;
    let line = String::from_utf8_lossy(&answer[..length]).into_owned();
    line.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()
}

/// An upstream that remembers every request.
fn witness() -> (Server, Arc<Mutex<Vec<Request>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let server = Server::start(0, {
        let seen = Arc::clone(&seen);
        move |request| {
            seen.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(request.clone());
            Reply::new(200, "text/plain", "upstream")
        }
    });
    (server.unwrap(), seen)
}
