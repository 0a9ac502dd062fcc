//! The requests that cost most, each with the policies that make it so.

use anyhow::Result;
use portcullis_mint::{Order, mint, public_jwks};
use serde_json::{Value, json};

use super::keys::{Kind, key_set, token};
use crate::drivers::real_now;
use crate::fuzz::random::Random;
use crate::http::Headers;

/// What is measured.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) name: String,
    /// Why it costs.
    pub(super) why: &'static str,
    pub(super) policies: Vec<Value>,
    pub(super) path: String,
    pub(super) headers: Headers,
    /// Whether Istio has these policies, so that Envoy's own filters can enforce them.
    pub(super) is_istios: bool,
    /// Envoy's log level.
    pub(super) log_level: &'static str,
}

const ISSUER: &str = "https://issuer.example";

/// All rows.
///
/// # Errors
/// A key that cannot be made.
pub(super) fn rows() -> Result<Vec<Row>> {
    let mut rows = rules();
    rows.extend(signatures()?);
    rows.extend(sizes()?);
    Ok(rows)
}

fn row(name: impl Into<String>, why: &'static str, policies: Vec<Value>) -> Row {
    Row {
        name: name.into(),
        why,
        policies,
        path: "/".to_owned(),
        headers: Headers::new(),
        is_istios: true,
        log_level: "warning",
    }
}

fn resource(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": kind,
        "metadata": { "name": name, "namespace": "default" },
        "spec": spec,
    })
}

/// Policies with so many rules in all.
fn rules_of(action: &str, count: usize, rule: impl Fn(usize) -> Value) -> Vec<Value> {
    // Kubernetes takes no more in one resource.
    const MOST: usize = 512;
    let rules: Vec<Value> = (0..count).map(rule).collect();
    let policies = rules.chunks(MOST).enumerate().map(|(number, rules)| {
        let spec = json!({ "action": action, "rules": rules });
        resource("AuthorizationPolicy", &format!("rules-{number}"), &spec)
    });
    policies.collect()
}

fn authentication(rules: &[Value]) -> Value {
    resource(
        "RequestAuthentication",
        "tokens",
        &json!({ "jwtRules": rules }),
    )
}

fn bearer(token: &str) -> Headers {
    vec![header("authorization", format!("Bearer {token}"))]
}

fn header(name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> (Vec<u8>, Vec<u8>) {
    (name.into(), value.into())
}

fn rules() -> Vec<Row> {
    let paths = || {
        rules_of(
            "ALLOW",
            10_000,
            |number| json!({ "to": [{ "operation": { "methods": ["GET"], "paths": [format!("/p/{number}")] } }] }),
        )
    };
    let denial = "no rule matches; at level info the line in the log names the closest rule";
    let misses = rules_of(
        "DENY",
        10_000,
        |number| json!({ "when": [{ "key": "request.headers[x-a]", "values": [format!("*{number}x"), format!("y{number}*")] }] }),
    );
    let hosts = rules_of(
        "DENY",
        10_000,
        |number| json!({ "to": [{ "operation": { "hosts": [format!("*.h{number}.example")], "paths": [format!("*/{number}")] } }] }),
    );
    vec![
        Row {
            log_level: "info",
            ..row(
                "denial by 10,000 ALLOW rules, log level info",
                denial,
                paths(),
            )
        },
        row(
            "denial by 10,000 ALLOW rules, log level warning",
            denial,
            paths(),
        ),
        Row {
            headers: vec![header("x-a", "abcdefgh".repeat(100))],
            ..row(
                "10,000 DENY rules that all miss, by a header",
                "20,000 prefixes and suffixes are compared with one header",
                misses,
            )
        },
        Row {
            path: format!("/{}", "a/".repeat(500)),
            ..row(
                "10,000 DENY rules that all miss, by host and path",
                "10,000 suffixes are compared with the host",
                hosts,
            )
        },
    ]
}

const WITHOUT_ALG: &str = "the key may be for any algorithm of RSA";
const BY_ENVOY: &str = "one verification for each key, by Envoy's own code";
const BY_PLUGIN: &str =
    "one verification for each key, by the plugin's own code: Envoy offers none of this kind";

/// Key sets and tokens: the name, the keys and how many there are, their `alg`, the token's.
const SIGNATURES: [(&str, Kind, usize, Option<&str>, &str); 13] = [
    (
        "one RSA-2048 key without alg, RS256",
        Kind::Rsa(2048),
        1,
        None,
        "RS256",
    ),
    (
        "one RSA-2048 key without alg, PS256",
        Kind::Rsa(2048),
        1,
        None,
        "PS256",
    ),
    (
        "8 RSA-2048 keys, no kid, RS256",
        Kind::Rsa(2048),
        8,
        Some("RS256"),
        "RS256",
    ),
    (
        "8 RSA-2048 keys, no kid, PS256",
        Kind::Rsa(2048),
        8,
        Some("PS256"),
        "PS256",
    ),
    (
        "256 RSA-2048 keys, no kid, RS256",
        Kind::Rsa(2048),
        256,
        Some("RS256"),
        "RS256",
    ),
    (
        "256 RSA-2048 keys, no kid, PS256",
        Kind::Rsa(2048),
        256,
        Some("PS256"),
        "PS256",
    ),
    (
        "256 RSA-4096 keys, no kid, RS256",
        Kind::Rsa(4096),
        256,
        Some("RS256"),
        "RS256",
    ),
    (
        "256 RSA-4096 keys, no kid, PS256",
        Kind::Rsa(4096),
        256,
        Some("PS256"),
        "PS256",
    ),
    (
        "4 RSA-16384 keys, no kid, RS256",
        Kind::Rsa(16_384),
        4,
        Some("RS256"),
        "RS256",
    ),
    (
        "4 RSA-16384 keys, no kid, PS256",
        Kind::Rsa(16_384),
        4,
        Some("PS256"),
        "PS256",
    ),
    (
        "256 P-256 keys, no kid, ES256",
        Kind::P256,
        256,
        Some("ES256"),
        "ES256",
    ),
    (
        "256 P-384 keys, no kid, ES384",
        Kind::P384,
        256,
        Some("ES384"),
        "ES384",
    ),
    (
        "8 Ed25519 keys, no kid, EdDSA",
        Kind::Ed25519,
        8,
        Some("EdDSA"),
        "EdDSA",
    ),
];

fn signatures() -> Result<Vec<Row>> {
    let mut random = Random::new(1, 1);
    let mut rows = Vec::new();
    for (name, kind, count, of_key, algorithm) in SIGNATURES {
        let why = match (count, algorithm) {
            (1, _) => WITHOUT_ALG,
            (_, "PS256" | "EdDSA") => BY_PLUGIN,
            _ => BY_ENVOY,
        };
        let jwks = key_set(kind, count, of_key, &mut random)?;
        let mut header = json!({ "alg": algorithm });
        if count == 1 {
            header["kid"] = json!("k0");
        }
        let claims = json!({ "iss": ISSUER, "sub": "alice" });
        let token = token(kind, &header, &claims, &mut random);
        let policies = vec![authentication(&[json!({ "issuer": ISSUER, "jwks": jwks })])];
        rows.push(Row {
            headers: bearer(&token),
            ..row(name, why, policies)
        });
    }
    Ok(rows)
}

/// A good token with so many bytes of claims.
fn large_token(bytes: usize) -> Result<String> {
    let groups = vec!["group-of-some-length"; bytes / 23];
    let claims = json!({ "iss": ISSUER, "sub": "alice", "groups": groups }).to_string();
    let order = Order {
        key: "hs-1",
        key_id: Some("hs-1"),
        claims: &claims,
        now: real_now(),
    };
    Ok(mint(&order)?)
}

fn sizes() -> Result<Vec<Row>> {
    let jwks = public_jwks(&["hs-1"])?;
    let rule = |issuer: &str| json!({ "issuer": issuer, "jwks": jwks });
    let fifty = |place: &str| {
        let rules = (0..50).map(|number| {
            let mut rule = rule(&format!("{ISSUER}/{number}"));
            match place {
                "cookie" => rule["fromCookies"] = json!([format!("s{number}")]),
                "param" => rule["fromParams"] = json!([format!("t{number}")]),
                _ => {}
            }
            rule
        });
        vec![authentication(&rules.collect::<Vec<Value>>())]
    };
    let by_header = rules_of(
        "DENY",
        10_000,
        |number| json!({ "when": [{ "key": format!("request.headers[x-h-{number}]"), "values": ["v"] }] }),
    );
    let lines = (0..1_900).map(|number| header(format!("x-line-{number}"), "v"));
    let cookies = (0..6_000).map(|number| format!("c{number}=v; "));
    let cookies = cookies.collect::<Vec<_>>().concat();
    let query = (0..6_500).map(|number| format!("q{number}=%41&"));
    let query = query.collect::<Vec<_>>().concat();
    let element = "Hash=171e0601289a2d0621c7a29cc3589e041ce585cd4cf818020f098da7ca1e0c52;\
        Subject=\"CN=client,O=Partner A\";URI=spiffe://cluster.local/ns/a/sa/b";
    let certificates: Vec<Value> = (0..20)
        .map(|number| {
            json!({
                "from": { "forwardedClientCert": { "trustedHops": 2 } },
                "trustedSenders": { "ipBlocks": ["127.0.0.0/8"] },
                "subjects": [{ "attributes": { "O": format!("Partner {number}") } }],
            })
        })
        .collect();
    let certificates = json!({
        "apiVersion": "portcullis.dev/v1alpha1",
        "kind": "CertificateAuthentication",
        "metadata": { "name": "partners", "namespace": "default" },
        "spec": { "required": true, "certificateRules": certificates },
    });
    Ok(vec![
        Row {
            headers: bearer(&large_token(45_000)?),
            ..row(
                "one good token of 60 KB",
                "its claims are read at every request, its signature is remembered",
                vec![authentication(&[rule(ISSUER)])],
            )
        },
        Row {
            headers: bearer(&large_token(37_500)?),
            ..row(
                "50 token rules, one token of 50 KB",
                "each rule looks for its token in the same header",
                fifty("header"),
            )
        },
        Row {
            headers: lines.collect(),
            ..row(
                "1,900 header lines, 10,000 header rules",
                "each rule asks for a header of its own",
                by_header,
            )
        },
        Row {
            headers: vec![header(
                "x-forwarded-client-cert",
                vec![element; 400].join(","),
            )],
            is_istios: false,
            ..row(
                "60 KB x-forwarded-client-cert, 20 certificate rules",
                "each rule reads the header",
                vec![certificates],
            )
        },
        Row {
            headers: vec![header("cookie", cookies)],
            ..row(
                "60 KB of cookies, 50 token rules",
                "each rule looks for a cookie of its own",
                fifty("cookie"),
            )
        },
        Row {
            path: format!("/?{query}"),
            ..row(
                "60 KB of query, 50 token rules",
                "each rule looks for a parameter of its own",
                fifty("param"),
            )
        },
    ])
}
