//! What must hold for every byte string at the places where a peer's bytes come in. `policy/fuzz` calls these
//! functions with coverage feedback, the tests below with random bytes and mutated seeds.

use std::net::Ipv4Addr;
use std::sync::OnceLock;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, URL_SAFE_NO_PAD};
use num_bigint::BigUint;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::authenticate::base64url;
use crate::authenticate::jws::Jws;
use crate::authenticate::{Json, KeySet};
use crate::certificate::forwarded::{self, Details, ForwardedForm};
use crate::certificate::{Certificate, DistinguishedName, Identity, NameOrder};
use crate::compile::{Setting, TokenMode};
use crate::crypto::{Algorithm, Hash, RsaPublicKey, RustVerifier, SignatureVerifier};
use crate::normalize::{Incoming, Proxy};
use crate::resource::Resources;
use crate::{Attribute, Metadata, PolicySet, Tls, Verdict, authenticate, compile, decide, explain};

/// Tokens that the key of [`policies`] signed; nothing else may be accepted.
const GENUINE: [&str; 2] = [
    include_str!("../fuzz/seeds/token/plain"),
    include_str!("../fuzz/seeds/token/with-key-id"),
];

/// Base64url against the base64 crate, told to be as lenient as Envoy.
pub fn base64url(text: &[u8]) {
    let strict = base64url::decode(text, true);
    assert_eq!(strict, URL_SAFE_NO_PAD.decode(text).ok());
    let lenient = base64url::decode(text, false);
    assert!(strict.is_none() || strict == lenient);
    let dense: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b' ' | 9..=13))
        .collect();
    let padding = dense
        .iter()
        .rev()
        .take_while(|byte| matches!(byte, b'=' | b'.'))
        .count();
    let digits = dense.get(..dense.len() - padding).unwrap_or_default();
    let is_padded = padding == 0 || (padding <= 2 && dense.len().is_multiple_of(4));
    let config = NO_PAD.with_decode_allow_trailing_bits(true);
    let model = GeneralPurpose::new(&alphabet::URL_SAFE, config);
    let expected = model.decode(digits).ok().filter(|_| is_padded);
    assert_eq!(lenient, expected);
}

/// JSON against `serde_json`: strict mode takes the same objects, and Envoy's leniency takes those too.
pub fn json(text: &[u8]) {
    let strict = Json::parse_object(text, true);
    let lenient = Json::parse_object(text, false);
    assert!(strict.is_err() || strict == lenient);
    let expected = serde_json::from_slice::<Plain>(text)
        .ok()
        .filter(|plain| matches!(plain.0, Json::Object(_)) && depth(&plain.0) <= 100);
    assert_eq!(strict.is_ok(), expected.is_some());
    if let (Ok(members), Some(Plain(expected))) = (strict, expected) {
        assert_eq!(Json::Object(members), expected);
    }
    if let Ok(members) = lenient {
        let compact = Json::Object(members).to_compact();
        let again = Json::parse_object(compact.as_bytes(), true).map(Json::Object);
        assert_eq!(again.map(|value| value.to_compact()), Ok(compact));
    }
}

/// Key sets: what is strict is a part of what Envoy takes, and no key makes a verifier stumble.
pub fn key_set(text: &[u8]) {
    let lenient = KeySet::parse(text, false);
    if let Ok(strict) = KeySet::parse(text, true) {
        let lenient = lenient.as_ref().map(|set| set.ids().count());
        assert!(lenient.is_ok_and(|count| strict.ids().count() <= count));
    }
    let Ok(set) = lenient else {
        return;
    };
    assert!(set.ids().count() + set.skipped().len() <= KeySet::MAX_KEYS);
    for algorithm in [Algorithm::Es(Hash::Sha384), Algorithm::Ps(Hash::Sha256)] {
        for one in set.candidates("", algorithm).take(2) {
            let length = one.key.signature_len(algorithm).unwrap_or(64);
            for length in [length, length + 1] {
                for signature in [vec![0; length], vec![0xff; length]] {
                    let is_right = RustVerifier.verify(one.key, algorithm, text, &signature);
                    assert!(!is_right || one.key.cost(algorithm, text.len(), length).is_some());
                }
            }
        }
    }
}

/// RSA against num-bigint: a signature and, from its middle on, a modulus.
pub fn rsa(bytes: &[u8]) {
    let (signature, modulus) = bytes.split_at(bytes.len() / 2);
    for exponent in [3_u32, 65537] {
        let Some(key) = RsaPublicKey::new(modulus, &exponent.to_be_bytes()) else {
            continue;
        };
        let number = BigUint::from_bytes_be(modulus);
        let base = BigUint::from_bytes_be(signature);
        let is_fitting = base < number && signature.len() == number.to_bytes_be().len();
        let recovered = key.recover(signature);
        let expected = is_fitting.then(|| base.modpow(&exponent.into(), &number));
        assert_eq!(
            recovered.as_deref().map(BigUint::from_bytes_be),
            expected,
            "{exponent}"
        );
        assert!(recovered.is_none_or(|recovered| recovered.len() == signature.len()));
    }
}

/// Tokens in a header, a parameter and a cookie: only those that were signed are accepted.
pub fn token(text: &[u8]) {
    for mode in [TokenMode::Envoy, TokenMode::Strict { token_type: None }] {
        let strict = Jws::parse(text, &mode);
        assert!(strict.is_err() || strict == Jws::parse(text, &TokenMode::Envoy));
    }
    let accepted = accepted(text);
    let is_genuine = |claims: &Vec<(String, Json)>| {
        GENUINE.iter().any(|token| {
            Jws::parse(token.as_bytes(), &TokenMode::Envoy).is_ok_and(|jws| *jws.payload == *claims)
        })
    };
    assert!(accepted.iter().all(is_genuine));
}

/// The claims by which each of [`policies`] lets a request with this token in.
fn accepted(text: &[u8]) -> Vec<Vec<(String, Json)>> {
    let incoming = Incoming {
        method: b"GET".to_vec(),
        scheme: b"http".to_vec(),
        authority: Some(b"example.com".to_vec()),
        path: [b"/?access_token=", text].concat(),
        headers: vec![
            (b"authorization".to_vec(), [b"Bearer ", text].concat()),
            (b"cookie".to_vec(), [b"session=", text].concat()),
        ],
        source_ip: Ipv4Addr::LOCALHOST.into(),
        destination_ip: Ipv4Addr::LOCALHOST.into(),
        destination_port: 80,
        server_name: Vec::new(),
        peer_names: Vec::new(),
        certificate: Attribute::Known(None),
        tls: Tls::None,
        server_uri: Vec::new(),
        metadata: Metadata::default(),
        now: 1_767_225_600,
    };
    let mut accepted = Vec::new();
    let _ = incoming.with_request(Proxy::default(), |request| {
        for set in policies() {
            let who = authenticate(set, request, &RustVerifier);
            let decision = decide(set, request, &who);
            assert_eq!(explain(set, request, &who).decision, decision);
            if decision.verdict == Verdict::Allow {
                accepted.extend(who.payload().map(|payload| payload.claims.to_vec()));
            }
        }
    });
    accepted
}

/// Distinguished names: what is printed is read again as the same name.
pub fn distinguished_name(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    for order in [NameOrder::Reverse, NameOrder::Certificate] {
        if let Some(name) = DistinguishedName::parse(text, order) {
            let printed = name.to_string();
            assert_eq!(
                DistinguishedName::parse(&printed, NameOrder::Reverse),
                Some(name)
            );
        }
    }
}

/// Certificates: what is read can be written and read again, and its names can be printed.
pub fn certificate(der: &[u8]) {
    let _ = Certificate::all_from_pem(der);
    let Some(certificate) = Certificate::from_der(der) else {
        return;
    };
    let again = Certificate::from_pem(certificate.to_pem().as_bytes());
    assert_eq!(again.map(|again| again.der), Some(certificate.der.clone()));
    for name in [&certificate.subject, &certificate.issuer] {
        let printed = name.to_string();
        assert_eq!(
            DistinguishedName::parse(&printed, NameOrder::Reverse).as_ref(),
            Some(name)
        );
    }
    let _ = certificate.is_signed_by(&certificate, &RustVerifier);
    let element = forwarded::write_element(
        &certificate,
        Details {
            by: &[],
            with_certificate: true,
        },
    );
    if let Ok(Some(identity)) = forwarded::read(element.as_bytes(), ForwardedForm::Text, 1) {
        assert_eq!(Some(identity), Identity::of(&certificate));
    }
}

/// `x-forwarded-client-cert`: any text is taken or refused; within a name of a certificate it forges nothing.
pub fn forwarded_client_cert(text: &[u8]) {
    for hops in 1..3 {
        let _ = forwarded::read(text, ForwardedForm::Text, hops);
        let _ = forwarded::read(text, ForwardedForm::Json, hops);
    }
    let Ok(name) = std::str::from_utf8(text) else {
        return;
    };
    let gateway = include_str!("../../examples/certificates/partner-b-orders.pem");
    let Some(gateway) = Certificate::from_pem(gateway.as_bytes()) else {
        return;
    };
    let mut client = gateway.clone();
    client.uri = vec![name.to_owned()];
    client.dns = Vec::new();
    let element = |certificate| {
        let details = Details {
            by: &[],
            with_certificate: false,
        };
        forwarded::write_element(certificate, details)
    };
    let value = [element(&client), element(&gateway)].join(",");
    if let Ok(identity) = forwarded::read(value.as_bytes(), ForwardedForm::Text, 2) {
        let identity = identity.unwrap_or_default();
        assert_eq!(identity.subject, Some(client.subject));
        assert_eq!(identity.issuer, None);
        let uri = identity.uri.unwrap_or_default();
        let names = uri.iter().chain(identity.dns.iter().flatten());
        assert!(names.into_iter().all(|found| found == name));
    }
}

/// One token rule that looks everywhere, in both modes.
fn policies() -> &'static [PolicySet] {
    static POLICIES: OnceLock<Vec<PolicySet>> = OnceLock::new();
    POLICIES.get_or_init(|| {
        let modes = [TokenMode::Envoy, TokenMode::Strict { token_type: None }];
        let (resources, _) = Resources::read_text(include_str!("../fuzz/policies.yaml"));
        let sets = modes.into_iter().filter_map(|tokens| {
            let setting = Setting {
                tokens: tokens.into(),
                ..Setting::default()
            };
            compile(&resources, &setting).set
        });
        sets.collect()
    })
}

/// JSON as `serde_json` reads it, duplicate keys refused.
struct Plain(Json);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainVisitor).map(Self)
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Json;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "JSON numbers are doubles here")]
    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "JSON numbers are doubles here")]
    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value as f64))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut array = Vec::new();
        while let Some(Plain(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut members: Vec<(String, Json)> = Vec::new();
        let mut keys = std::collections::BTreeSet::new();
        while let Some((key, Plain(value))) = entries.next_entry::<String, Plain>()? {
            if !keys.insert(key.clone()) {
                return Err(A::Error::custom("duplicate key"));
            }
            members.push((key, value));
        }
        Ok(Json::Object(members))
    }
}

/// Objects and arrays within each other.
fn depth(value: &Json) -> usize {
    match value {
        Json::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Json::Object(members) => {
            let inner = members.iter().map(|(_, value)| depth(value)).max();
            1 + inner.unwrap_or_default()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    /// The seeds of a target, and what few changes make of them.
    fn inputs(target: &str) -> impl Strategy<Value = Vec<u8>> {
        let seeds = seeds(target);
        let edits = proptest::collection::vec((any::<Index>(), any::<u8>(), 0..5_u8), 0..4);
        let mutated = (any::<Index>(), edits).prop_map(move |(seed, edits)| {
            let mut bytes = seed.get(&seeds).clone();
            for (at, byte, edit) in edits {
                change(&mut bytes, at, byte, edit);
            }
            bytes
        });
        prop_oneof![1 => any::<Vec<u8>>(), 4 => mutated]
    }

    fn seeds(target: &str) -> Vec<Vec<u8>> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds");
        let files = std::fs::read_dir(format!("{folder}/{target}")).unwrap();
        files
            .map(|file| std::fs::read(file.unwrap().path()).unwrap())
            .collect()
    }

    fn change(bytes: &mut Vec<u8>, at: Index, byte: u8, edit: u8) {
        let at = at.index(bytes.len() + 1);
        match (edit, bytes.get(at).copied()) {
            (0, Some(_)) => drop(bytes.remove(at)),
            (1, Some(_)) => bytes.truncate(at),
            (2, Some(old)) => bytes
                .splice(at..=at, [old ^ (1 << (byte & 7))])
                .for_each(drop),
            (3, Some(_)) => bytes.extend_from_within(at..),
            _ => bytes.insert(at, byte),
        }
    }

    #[test]
    fn genuine_tokens_are_accepted() {
        for token in GENUINE {
            assert_eq!(accepted(token.as_bytes()).len(), 2, "{token}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn base64url_holds(text in inputs("base64url")) {
            base64url(&text);
        }

        #[test]
        fn json_holds(text in inputs("json")) {
            json(&text);
        }

        #[test]
        fn key_set_holds(text in inputs("key_set")) {
            key_set(&text);
        }

        #[test]
        fn distinguished_name_holds(text in inputs("distinguished_name")) {
            distinguished_name(&text);
        }

        #[test]
        fn certificate_holds(text in inputs("certificate")) {
            certificate(&text);
        }

        #[test]
        fn forwarded_client_cert_holds(text in inputs("forwarded_client_cert")) {
            forwarded_client_cert(&text);
        }

        #[test]
        fn rsa_holds(bytes in inputs("rsa")) {
            rsa(&bytes);
        }

        #[test]
        fn token_holds(text in inputs("token")) {
            token(&text);
        }
    }
}
