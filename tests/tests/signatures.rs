//! No bit of a token may change without it being refused.

use std::net::{IpAddr, Ipv4Addr};

use portcullis_mint::{Order, mint, public_jwks};
use portcullis_policy::authenticate::{TokenMode, TokenSettings};
use portcullis_policy::compile::Setting;
use portcullis_policy::crypto::RustVerifier;
use portcullis_policy::normalize::{Incoming, Proxy};
use portcullis_policy::resource::Resources;
use portcullis_policy::{Attribute, Metadata, PolicySet, Tls, authenticate, compile};
use serde_json::json;

const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A rule that takes tokens of one key.
fn rule(key: &str, tokens: TokenMode) -> PolicySet {
    let policy = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "RequestAuthentication",
        "metadata": { "name": "tokens", "namespace": "default" },
        "spec": { "jwtRules": [{ "issuer": "idp", "jwks": public_jwks(&[key]).unwrap() }] },
    });
    let setting = Setting {
        tokens: TokenSettings {
            mode: tokens,
            accepts_published_keys: true,
            ..TokenSettings::default()
        },
        ..Setting::default()
    };
    compile(&Resources::read_text(&policy.to_string()).0, &setting)
        .set
        .unwrap()
}

fn is_taken(set: &PolicySet, token: &[u8]) -> bool {
    let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let incoming = Incoming {
        method: b"GET".to_vec(),
        scheme: b"http".to_vec(),
        authority: Some(b"example.com".to_vec()),
        path: b"/".to_vec(),
        headers: vec![(
            b"authorization".to_vec(),
            [b"Bearer ".as_slice(), token].concat(),
        )],
        source_ip: localhost,
        destination_ip: localhost,
        destination_port: 80,
        server_name: Vec::new(),
        peer_names: Vec::new(),
        certificate: Attribute::Known(None),
        tls: Tls::None,
        server_uri: Vec::new(),
        metadata: Metadata::default(),
        now: 1_800_000_000,
    };
    incoming
        .with_request(Proxy::default(), |request| {
            authenticate(set, request, &RustVerifier)
                .failure()
                .is_none()
        })
        .unwrap()
}

/// The token with one of the six bits of the digit at `index` turned over.
fn turned(token: &[u8], index: usize, bit: usize) -> Vec<u8> {
    let mut token = token.to_vec();
    let value = DIGITS
        .iter()
        .position(|digit| *digit == token[index])
        .unwrap();
    token[index] = DIGITS[value ^ 1 << bit];
    token
}

/// Whether the bit lies behind the last byte of its part.
fn is_unused(token: &[u8], index: usize, bit: usize) -> bool {
    let ends = index + 1 == token.len() || token[index + 1] == b'.';
    let start = token[..index]
        .iter()
        .rposition(|byte| *byte == b'.')
        .map_or(0, |dot| dot + 1);
    ends && match (index + 1 - start) % 4 {
        2 => bit < 4,
        3 => bit < 2,
        _ => false,
    }
}

#[track_caller]
fn check(key: &str) {
    let order = Order {
        key,
        key_id: Some(key),
        claims: r#"{"iss":"idp","sub":"alice","exp":1900000000}"#,
        now: 0,
    };
    let token = mint(&order).unwrap().into_bytes();
    let set = rule(key, TokenMode::Envoy);
    let strict = rule(key, TokenMode::Strict { token_type: None });
    assert!(is_taken(&set, &token) && is_taken(&strict, &token));
    let signature = token.iter().rposition(|byte| *byte == b'.').unwrap();
    let digits = (0..token.len()).filter(|index| token[*index] != b'.');
    for (index, bit) in digits.flat_map(|index| (0..6).map(move |bit| (index, bit))) {
        let turned = turned(&token, index, bit);
        // Those of header and payload are signed as they are written.
        let expected = index > signature && is_unused(&token, index, bit);
        assert_eq!(is_taken(&set, &turned), expected, "{index} {bit}");
        assert!(!is_taken(&strict, &turned), "strict: {index} {bit}");
    }
    for length in 1..token.len() {
        assert!(!is_taken(&set, &token[..length]), "{length} characters");
    }
}

#[test]
fn no_bit_of_an_rsa_token_may_change() {
    check("rsa-1");
}

#[test]
fn no_bit_of_an_ecdsa_token_may_change() {
    check("ec-1");
}

#[test]
fn no_bit_of_an_ed25519_token_may_change() {
    check("ed-1");
}

#[test]
fn no_bit_of_an_hmac_token_may_change() {
    check("hs-1");
}
