//! Random `RequestAuthentication` objects, as JSON, and the key sets behind their URIs.

use serde_json::{Map, Value, json};

use super::generate_policy::{metadata, scope};
use super::random::Random;
use super::words::Words;

const NAMES: [&str; 4] = ["jwt", "jwt-a", "a", "z"];

/// Headers that rules take tokens from, with prefixes.
const FROM_HEADERS: [(&str, &str); 9] = [
    ("x-jwt", ""),
    ("X-Jwt", ""),
    ("x-jwt", "Token "),
    ("x-jwt", "Tok"),
    ("authorization", "Bearer "),
    ("authorization", ""),
    ("x-a", "jwt="),
    ("cookie", "session="),
    ("x-auth", ""),
];

/// Parameters that rules take tokens from.
const FROM_PARAMS: [&str; 4] = ["access_token", "token", "Token", "t%6f"];

/// Cookies that rules take tokens from.
const FROM_COOKIES: [&str; 3] = ["session", "Session", "s"];

/// Headers that rules write into.
const OUTPUTS: [&str; 5] = ["x-sub", "X-Payload", "x-a", "x-groups", "x-jwt"];

/// The key sets of every case: by URI, the names of fixture keys, or a text.
pub(super) fn key_sets() -> Value {
    // The secret of `hs-1` without `alg` and `kid`, beside keys that cannot be used.
    let bare = bare_hmac_set();
    json!([
        { "uri": "https://keys.example/hs.json", "keys": ["hs-1"] },
        { "uri": "https://keys.example/ed.json", "keys": ["ed-1"] },
        { "uri": "https://keys.example/two.json", "keys": ["hs-1", "ed-1"] },
        { "uri": "https://keys.example/all.json", "keys": ["rsa-1", "ec-1", "ed-1", "hs-1"] },
        { "uri": "https://keys.example/rsa.json", "keys": ["rsa-1"] },
        { "uri": "https://keys.example/ec.json", "keys": ["ec-1"] },
        { "uri": "https://keys.example/bare.json", "jwks": bare },
    ])
}

/// The keys whose tokens a key set takes.
pub(super) fn signers(uri: &str) -> &'static [&'static str] {
    match uri {
        "https://keys.example/ed.json" => &["ed-1"],
        "https://keys.example/two.json" => &["hs-1", "ed-1"],
        "https://keys.example/all.json" => &["hs-1", "ed-1", "ec-1", "hs-1", "ed-1", "rsa-1"],
        "https://keys.example/rsa.json" => &["rsa-1"],
        "https://keys.example/ec.json" => &["ec-1"],
        _ => &["hs-1"],
    }
}

fn bare_hmac_set() -> String {
    let set = portcullis_mint::public_jwks(&["hs-1"]).expect("hs-1 is a fixture key");
    let mut set: Value = serde_json::from_str(&set).expect("a key set is JSON");
    let key = set["keys"][0].as_object_mut().expect("it has a key");
    key.remove("alg");
    key.remove("kid");
    set.to_string()
}

/// Some resources with their rules.
pub(super) fn authentications(random: &mut Random, words: &Words) -> Vec<Value> {
    let count = random.weighted(&[25, 45, 25, 5]);
    random
        .some(count, &NAMES)
        .into_iter()
        .map(|name| authentication(random, words, &name))
        .collect()
}

fn authentication(random: &mut Random, words: &Words, name: &str) -> Value {
    let mut metadata = metadata(random, words, name);
    if random.chance(15) {
        let year = random.pick(&["2024", "2025"]);
        metadata["creationTimestamp"] = json!(format!("{year}-01-01T00:00:00Z"));
    }
    let mut spec = Map::new();
    scope(random, words, &mut spec);
    let count = 1 + random.weighted(&[60, 30, 10]);
    let rules: Vec<Value> = (0..count).map(|_| jwt_rule(random, words)).collect();
    spec.insert("jwtRules".into(), json!(rules));
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "RequestAuthentication",
        "metadata": metadata,
        "spec": spec,
    })
}

fn jwt_rule(random: &mut Random, words: &Words) -> Value {
    let mut rule = Map::new();
    if random.chance(92) {
        rule.insert("issuer".into(), json!(random.of(&words.issuers)));
    }
    let set = random.weighted(&[34, 20, 20, 6, 4, 6, 10]);
    rule.insert("jwksUri".into(), key_sets()[set]["uri"].clone());
    if random.chance(30) {
        let count = 1 + random.below(2);
        let audiences: Vec<&String> = (0..count).map(|_| random.of(&words.audiences)).collect();
        rule.insert("audiences".into(), json!(audiences));
    }
    if random.chance(45) {
        places(random, &mut rule);
    }
    if random.chance(40) {
        rule.insert("forwardOriginalToken".into(), json!(random.chance(85)));
    }
    if random.chance(12) {
        let header = random.pick(&OUTPUTS);
        rule.insert("outputPayloadToHeader".into(), json!(header));
    }
    if random.chance(22) {
        let count = 1 + random.below(2);
        let outputs = (0..count).map(|_| {
            let claim = random.pick(&[
                "sub",
                "groups",
                "realm.roles",
                "scope",
                "realm",
                "exp",
                "n",
                "a.b",
                "azp",
            ]);
            json!({ "header": random.pick(&OUTPUTS), "claim": claim })
        });
        let outputs: Vec<Value> = outputs.collect();
        rule.insert("outputClaimToHeaders".into(), json!(outputs));
    }
    if random.chance(15) {
        let claims = random.some(1, &["custom", "groups", "realm", "sub", "aud"]);
        rule.insert("spaceDelimitedClaims".into(), json!(claims));
    }
    Value::Object(rule)
}

fn places(random: &mut Random, rule: &mut Map<String, Value>) {
    if random.chance(65) {
        let count = 1 + random.weighted(&[70, 30]);
        let headers = (0..count).map(|_| match *random.of(&FROM_HEADERS) {
            (name, "") => json!({ "name": name }),
            (name, prefix) => json!({ "name": name, "prefix": prefix }),
        });
        let headers: Vec<Value> = headers.collect();
        rule.insert("fromHeaders".into(), json!(headers));
    }
    if random.chance(35) {
        let params = random.some(1, &FROM_PARAMS);
        rule.insert("fromParams".into(), json!(params));
    }
    if random.chance(35) {
        let cookies = random.some(1, &FROM_COOKIES);
        rule.insert("fromCookies".into(), json!(cookies));
    }
}
