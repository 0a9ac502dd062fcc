//! Random tokens, most of them aimed at a rule: its issuer, its keys, a place where it looks.

use portcullis_mint::forge;
use serde_json::{Map, Value, json};

use super::generate_authentication::signers;
use super::random::Random;
use super::words::Words;

/// Some tokens for one request, as a scenario states them.
pub(super) fn tokens(random: &mut Random, words: &Words, rules: &[&Value]) -> Vec<Value> {
    let weights = if rules.is_empty() {
        [90, 9, 1, 0]
    } else {
        [25, 55, 15, 5]
    };
    let count = random.weighted(&weights);
    (0..count).map(|_| token(random, words, rules)).collect()
}

fn token(random: &mut Random, words: &Words, rules: &[&Value]) -> Value {
    let aimed = (!rules.is_empty() && random.chance(92)).then(|| *random.of(rules));
    let mut token = match random.weighted(&[76, 12, 8, 4]) {
        0 => minted(random, words, aimed),
        1 => forged(random, words, aimed),
        2 => scrambled(random, words, aimed),
        _ => {
            json!({ "raw": random.pick(&["", "a.b.c", "..", "abc", "e30.e30.e30", "a.b", "e30.e30.AA", "null"]) })
        }
    };
    place(random, aimed, &mut token);
    token
}

/// Puts the token where the rule looks, or elsewhere.
fn place(random: &mut Random, aimed: Option<&Value>, token: &mut Value) {
    let mut places: Vec<Value> = Vec::new();
    if let Some(rule) = aimed {
        let list = |name: &str| rule[name].as_array().cloned().unwrap_or_default();
        places.extend(list("fromHeaders").iter().map(|header| {
            let prefix = header["prefix"].as_str().unwrap_or_default();
            json!({ "header": header["name"], "prefix": prefix })
        }));
        places.extend(
            list("fromParams")
                .iter()
                .map(|name| json!({ "param": name })),
        );
        places.extend(
            list("fromCookies")
                .iter()
                .map(|name| json!({ "cookie": name })),
        );
        if places.is_empty() {
            places.extend([
                json!({}),
                json!({}),
                json!({}),
                json!({ "param": "access_token" }),
            ]);
        }
    }
    if places.is_empty() || random.chance(6) {
        places = vec![
            json!({}),
            json!({ "header": "authorization", "prefix": "bearer " }),
            json!({ "header": "authorization", "prefix": "xBearer  " }),
            json!({ "header": "authorization", "prefix": "Basic abc, Bearer ,, " }),
            json!({ "header": "x-jwt", "prefix": "" }),
            json!({ "header": "X-JWT", "prefix": "a Token " }),
            json!({ "param": "access_token" }),
            json!({ "param": "token" }),
            json!({ "cookie": "session" }),
            json!({ "header": "cookie", "prefix": "a=1; session=" }),
        ];
    }
    let chosen = random.of(&places).clone();
    for (name, value) in chosen.as_object().into_iter().flatten() {
        token[name] = value.clone();
    }
}

fn minted(random: &mut Random, words: &Words, aimed: Option<&Value>) -> Value {
    let key = signer(random, aimed);
    let mut claims = claims(random, words, aimed);
    if random.chance(55) {
        // Both within and beyond the minute of clock skew, and far from its edge.
        let time = random.pick(&["+1h", "+1h", "+1h", "-20s", "-10m", "+2d"]);
        claims.insert("exp".into(), json!(time));
    }
    if random.chance(12) {
        let time = random.pick(&["-1h", "+20s", "+10m"]);
        claims.insert("nbf".into(), json!(time));
    }
    if random.chance(8) {
        let time = random.pick(&["-1h", "+1h"]);
        claims.insert("iat".into(), json!(time));
    }
    let mut token = json!({ "key": key, "claims": claims });
    match random.weighted(&[84, 6, 6, 4]) {
        1 => token["kid"] = Value::Null,
        2 => token["kid"] = json!(random.pick(&["other", "hs-1", "ed-1", "", "HS-1"])),
        3 => token["signature"] = json!(random.pick(&["AAAA", "", "A", "!", "AAAA=", "A A A A"])),
        _ => {}
    }
    token
}

fn signer(random: &mut Random, aimed: Option<&Value>) -> &'static str {
    match aimed.and_then(|rule| rule["jwksUri"].as_str()) {
        Some(uri) if random.chance(90) => random.pick(signers(uri)),
        _ => random.pick(&["hs-1", "ed-1", "hs-1", "ed-1", "ec-1"]),
    }
}

/// Claims without times.
fn claims(random: &mut Random, words: &Words, aimed: Option<&Value>) -> Map<String, Value> {
    let mut claims = Map::new();
    let wanted = aimed.and_then(|rule| rule["issuer"].as_str());
    match wanted {
        Some(issuer) if random.chance(88) => drop(claims.insert("iss".into(), json!(issuer))),
        _ if random.chance(80) => {
            let issuer = random.of(&words.issuers).clone();
            claims.insert("iss".into(), json!(random.near(&issuer)));
        }
        _ => {}
    }
    if random.chance(85) {
        let subject = random.of(&words.subjects).clone();
        claims.insert("sub".into(), json!(random.near(&subject)));
    }
    let audiences = aimed.and_then(|rule| rule["audiences"].as_array());
    if audiences.is_some() && random.chance(85) || random.chance(30) {
        let pool: Vec<String> = match audiences {
            Some(wanted) if random.chance(70) => wanted
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            _ => words.audiences.clone(),
        };
        let audience = random.of(&pool).clone();
        let audience = random.near(&audience);
        let list = random.chance(45);
        claims.insert(
            "aud".into(),
            if list {
                json!([audience, random.of(&words.audiences)])
            } else {
                json!(audience)
            },
        );
    }
    if random.chance(15) {
        let word = random.of(&words.claim_values).clone();
        claims.insert("azp".into(), json!(word));
    }
    for _ in 0..random.below(4) {
        let path = random.of(&words.claims).clone();
        put(random, words, &mut claims, &path);
    }
    if random.chance(2) {
        let name = random.pick(&["iss", "sub", "aud", "jti", "iat", "nbf", "exp"]);
        let value = anything(random, words, 2);
        if !value.is_string() || !matches!(name, "iat" | "nbf" | "exp") {
            claims.insert(name.into(), value);
        }
    }
    claims
}

/// Puts a value where a path such as `[realm][roles]` leads.
fn put(random: &mut Random, words: &Words, claims: &mut Map<String, Value>, path: &str) {
    let names: Vec<&str> = match path {
        "[k[0]]" => vec!["k[0]"],
        _ => path.trim_matches(['[', ']']).split("][").collect(),
    };
    let standard = matches!(names[0], "iss" | "sub" | "aud" | "exp");
    if standard {
        return;
    }
    let mut value = anything(random, words, 2);
    for name in names.iter().skip(1).rev() {
        value = json!({ *name: value });
    }
    claims.insert(names[0].to_owned(), value);
}

/// A value of any JSON type, mostly texts and lists of texts.
fn anything(random: &mut Random, words: &Words, depth: usize) -> Value {
    let text = |random: &mut Random| {
        let word = random.of(&words.claim_values).clone();
        match random.below(8) {
            0 => format!("{word} {}", random.of(&words.claim_values)),
            1 => format!(" {word}  {} ", random.of(&words.claim_values)),
            2 => format!("{word}\t{}", random.of(&words.claim_values)),
            3 => random.mutant(&word),
            _ => word,
        }
    };
    match random.weighted(&[45, 30, 5, 4, 3, 6, 4, 3]) {
        0 => json!(text(random)),
        1 => {
            let count = random.below(4);
            json!((0..count).map(|_| text(random)).collect::<Vec<_>>())
        }
        2 => random
            .of(&[
                json!(0),
                json!(1),
                json!(-7),
                json!(1.5),
                json!(1e20),
                json!(12_345_678_901_234_567_890_u64),
            ])
            .clone(),
        3 => json!(random.chance(50)),
        4 => Value::Null,
        5 if depth > 0 => {
            json!({ random.pick(&["roles", "a", "b", "x"]): anything(random, words, depth - 1) })
        }
        6 if depth > 0 => json!([text(random), anything(random, words, depth - 1), 1]),
        7 => json!(random.pick(&["", " ", "é", "\"quoted\\\"", "\u{1f600}", "a/b"])),
        _ => json!(""),
    }
}

/// A token whose header and payload are texts that no library writes; only HMAC keys sign these.
fn forged(random: &mut Random, words: &Words, aimed: Option<&Value>) -> Value {
    let (header, payload) = forged_parts(random, words, aimed);
    let mut token = json!({ "key": "hs-1", "rawHeader": header, "rawPayload": payload });
    if random.chance(5) {
        token["signature"] = json!("AAAA");
    }
    token
}

fn forged_parts(random: &mut Random, words: &Words, aimed: Option<&Value>) -> (String, String) {
    const JSON: [char; 26] = [
        '{', '}', '[', ']', ',', ':', '"', '\'', '\\', '/', ' ', '0', '1', '-', '+', '.', 'e', 'E',
        'u', 'n', '\t', '\n', '\u{1}', 'é', '_', '$',
    ];
    let headers = [
        r#"{"alg":"HS256"}"#,
        r#"{"alg":"HS256","kid":"hs-1"}"#,
        r#"{"alg":"HS256","kid":"hs-1"}"#,
        r#"{"typ":"JWT","alg":"HS256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"none"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"alg":"HS512"}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":"EdDSA","kid":"ed-1"}"#,
        r#"{"alg":"ES384"}"#,
        r#"{"alg":1}"#,
        r#"{"alg":"HS256","kid":1}"#,
        r#"{"alg":"HS256","kid":null}"#,
        r"{'alg':'HS256',}",
        r#"{alg:"HS256"}"#,
        r"null",
        r"[]",
    ];
    let good = random.chance(65);
    let mut header = if good {
        headers[random.below(4)]
    } else {
        random.pick(&headers)
    }
    .to_owned();
    let mut claims = claims(random, words, aimed);
    if random.chance(30) {
        let times = [
            json!(4_102_444_800_u64),
            json!(1_000_000_000),
            json!(0),
            json!(0.9),
            json!(-1),
            json!(-0.5),
            json!("1"),
            json!(true),
            json!(null),
            json!(1e30),
            json!(18_446_744_073_709_549_568_u64),
            json!(4_102_444_800.7),
        ];
        let name = random.pick(&["exp", "nbf", "iat", "exp"]);
        claims.insert(name.into(), random.of(&times).clone());
    }
    if random.chance(10) {
        let name = random.pick(&["iss", "sub", "aud", "jti"]);
        claims.insert(name.into(), anything(random, words, 2));
    }
    let mut payload = Value::Object(claims).to_string();
    if random.chance(45) {
        payload = random.scrambled(&payload, &JSON);
    }
    if random.chance(8) {
        header = random.scrambled(&header, &JSON);
    }
    (header, payload)
}

/// A token with the right signature for its text, then changed as text.
fn scrambled(random: &mut Random, words: &Words, aimed: Option<&Value>) -> Value {
    const BASE64: [char; 12] = ['.', '=', '-', '_', '+', '/', 'A', 'Q', 'z', ' ', '%', ','];
    let (header, payload) = forged_parts(random, words, aimed);
    let text = forge("hs-1", header.as_bytes(), payload.as_bytes()).expect("hs-1 is an HMAC key");
    let text = match random.below(5) {
        0 => format!(
            "{text}{}",
            random.pick(&["=", ".", "..", "==", " x", ",", "\"", "A", ";"])
        ),
        1 => format!(
            "{}{text}",
            random.pick(&["=", ".", "..", " ", ",", "\"", "A"])
        ),
        2 => format!("\"{text}\""),
        3 => text.replace('.', random.pick(&["..", ". .", ".=."])),
        _ => random.scrambled(&text, &BASE64),
    };
    json!({ "raw": text })
}
