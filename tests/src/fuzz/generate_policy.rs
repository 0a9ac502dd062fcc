//! Random `AuthorizationPolicy` objects, as JSON.

use serde_json::{Map, Value, json};

use super::random::Random;
use super::words::{NAMESPACE, PRINCIPALS, SERVER_NAMES, TRUST_DOMAINS, Words};

/// Names that sort differently by themselves than inside `ns[..]-policy[..]-rule[..]`.
const NAMES: [&str; 8] = ["a", "a-b", "a.b", "ab", "b", "a-b-c", "a1", "z"];

/// Some policies, no two of one name.
pub(super) fn policies(random: &mut Random, words: &Words) -> Vec<Value> {
    let count = random.weighted(&[1, 3, 4, 3, 1]);
    random
        .some(count, &NAMES)
        .into_iter()
        .map(|name| policy(random, words, &name))
        .collect()
}

fn policy(random: &mut Random, words: &Words, name: &str) -> Value {
    let mut metadata = metadata(random, words, name);
    let mut spec = Map::new();
    scope(random, words, &mut spec);
    match random.weighted(&[40, 40, 8, 6, 6]) {
        0 => {
            if random.chance(30) {
                spec.insert("action".into(), json!("ALLOW"));
            }
        }
        1 => drop(spec.insert("action".into(), json!("DENY"))),
        2 => drop(spec.insert("action".into(), json!("AUDIT"))),
        action => {
            spec.insert(
                "action".into(),
                json!(if action == 3 { "DENY" } else { "ALLOW" }),
            );
            let text = random.pick(&["true", "true", "false", "1"]);
            metadata["annotations"] = json!({ "istio.io/dry-run": text });
        }
    }
    // Twelve rules are enough for `rule[10]` to come before `rule[2]`.
    let count = match random.weighted(&[4, 50, 30, 12, 4]) {
        4 => 12,
        count => count,
    };
    let rules: Vec<Value> = (0..count).map(|_| rule(random, words)).collect();
    if !rules.is_empty() || random.chance(50) {
        spec.insert("rules".into(), json!(rules));
    }
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": metadata,
        "spec": spec,
    })
}

/// `metadata` of a resource in the workload's namespace, the root namespace, or one that does not count.
pub(super) fn metadata(random: &mut Random, words: &Words, name: &str) -> Value {
    let namespace = match random.weighted(&[65, 28, 7]) {
        0 => NAMESPACE,
        1 => &words.root,
        _ => "bar",
    };
    json!({ "name": name, "namespace": namespace })
}

/// A selector or a target reference, more often than not neither.
pub(super) fn scope(random: &mut Random, words: &Words, spec: &mut Map<String, Value>) {
    if random.chance(75) {
        return;
    }
    if words.gateway && random.chance(70) {
        let target = json!({
            "group": "gateway.networking.k8s.io",
            "kind": "Gateway",
            "name": random.pick(&["gw", "gw", "other"]),
        });
        spec.insert("targetRefs".into(), json!([target]));
        return;
    }
    let labels = match random.weighted(&[60, 15, 15, 10]) {
        0 => json!({ "app": "a" }),
        1 => json!({ "app": "a", "tier": "web" }),
        2 => json!({ "app": "b" }),
        _ => json!({ "App": "a" }),
    };
    spec.insert("selector".into(), json!({ "matchLabels": labels }));
}

fn rule(random: &mut Random, words: &Words) -> Value {
    let mut rule = Map::new();
    let mut list =
        |random: &mut Random, name: &str, chance, make: fn(&mut Random, &Words) -> Value| {
            if random.chance(chance) {
                let count = 1 + random.weighted(&[75, 25]);
                let items: Vec<Value> = (0..count).map(|_| make(random, words)).collect();
                rule.insert(name.into(), json!(items));
            }
        };
    list(
        random,
        "from",
        45,
        |random, words| json!({ "source": fields(random, words, &SOURCE) }),
    );
    list(
        random,
        "to",
        60,
        |random, words| json!({ "operation": fields(random, words, &OPERATION) }),
    );
    list(random, "when", 35, condition);
    Value::Object(rule)
}

/// A field, its negation, the key of `when` that means the same (empty: there is none), and its weight.
type Field = (&'static str, &'static str, usize);

const SOURCE: [Field; 7] = [
    ("principals", "notPrincipals", 15),
    ("requestPrincipals", "notRequestPrincipals", 30),
    ("namespaces", "notNamespaces", 8),
    ("serviceAccounts", "notServiceAccounts", 8),
    ("trustDomains", "notTrustDomains", 6),
    ("ipBlocks", "notIpBlocks", 15),
    ("remoteIpBlocks", "notRemoteIpBlocks", 18),
];

const OPERATION: [Field; 4] = [
    ("hosts", "notHosts", 25),
    ("paths", "notPaths", 45),
    ("methods", "notMethods", 20),
    ("ports", "notPorts", 10),
];

fn fields(random: &mut Random, words: &Words, from: &[Field]) -> Map<String, Value> {
    let weights: Vec<usize> = from.iter().map(|(_, _, weight)| *weight).collect();
    let mut fields = Map::new();
    for _ in 0..=random.weighted(&[65, 30, 5]) {
        let (name, not_name, _) = from[random.weighted(&weights)];
        let chosen = if random.chance(72) { name } else { not_name };
        fields.insert(chosen.into(), values(random, words, name));
        if random.chance(6) {
            fields.insert(not_name.into(), values(random, words, name));
        }
    }
    fields
}

/// Keys of `when` and the field whose values they take, by weight.
const CONDITIONS: [(&str, &str, usize); 13] = [
    ("request.headers", "header", 26),
    ("request.auth.claims", "claim", 34),
    ("request.auth.principal", "requestPrincipals", 6),
    ("request.auth.audiences", "audiences", 8),
    ("request.auth.presenter", "claim", 3),
    ("source.ip", "ipBlocks", 4),
    ("remote.ip", "remoteIpBlocks", 5),
    ("source.namespace", "namespaces", 3),
    ("source.principal", "principals", 3),
    ("source.serviceAccount", "serviceAccounts", 2),
    ("source.trustDomain", "trustDomains", 2),
    ("destination.ip", "destination", 2),
    ("connection.sni", "sni", 2),
];

fn condition(random: &mut Random, words: &Words) -> Value {
    let weights: Vec<usize> = CONDITIONS.iter().map(|(_, _, weight)| *weight).collect();
    let (key, field, _) = CONDITIONS[random.weighted(&weights)];
    let mut condition = Map::new();
    let key = match field {
        "header" if random.chance(12) => {
            let name = random.pick(&[":path", ":method", ":authority", "host", ":scheme"]);
            format!("{key}[{name}]")
        }
        "header" => format!("{key}[{}]", random.of(&words.headers)),
        "claim" if key.ends_with("claims") => format!("{key}{}", random.of(&words.claims)),
        _ => key.to_owned(),
    };
    let is_path = key.ends_with("[:path]");
    condition.insert("key".into(), json!(key));
    let list = if random.chance(70) {
        "values"
    } else {
        "notValues"
    };
    let field = if is_path { "paths" } else { field };
    condition.insert(list.into(), values(random, words, field));
    if random.chance(6) {
        condition.insert("notValues".into(), values(random, words, field));
    }
    Value::Object(condition)
}

fn values(random: &mut Random, words: &Words, field: &str) -> Value {
    let count = 1 + random.weighted(&[60, 30, 10]);
    let values = (0..count).map(|_| value(random, words, field));
    // Istio refuses empty values.
    let values: Vec<String> = values
        .map(|value| if value.is_empty() { "*".into() } else { value })
        .collect();
    json!(values)
}

fn value(random: &mut Random, words: &Words, field: &str) -> String {
    match field {
        "principals" => {
            let word = random.pick(&PRINCIPALS);
            random.pattern(word)
        }
        "requestPrincipals" => {
            let issuer = random.of(&words.issuers).clone();
            let subject = random.of(&words.subjects).clone();
            let whole = format!("{issuer}/{subject}");
            match random.weighted(&[45, 15, 15, 10, 10, 5]) {
                0 => random.pattern(&whole),
                1 => format!("{issuer}/*"),
                2 => format!("*/{subject}"),
                3 => "*".to_owned(),
                4 => whole,
                _ => issuer,
            }
        }
        "namespaces" => {
            let word = random.pick(&["foo", "bar", "istio-system", "f*o", "fo", "foo/sa/a"]);
            random.pattern(word)
        }
        "serviceAccounts" => random
            .pick(&["a", "b", "foo/a", "bar/a", "foo/b", "A", "a/y", "foo/istio"])
            .to_owned(),
        "trustDomains" => {
            let word = random.pick(&TRUST_DOMAINS);
            random.pattern(word)
        }
        "ipBlocks" => block(random, &words.sources),
        "remoteIpBlocks" => {
            let pool = if random.chance(70) {
                &words.forwarded
            } else {
                &words.sources
            };
            block(random, pool)
        }
        "destination" => block(random, &["10.0.0.2".into(), "10.0.0.3".into()]),
        "hosts" => {
            let word = random.of(&words.hosts).clone();
            random.pattern(&word)
        }
        "ports" => random.of(&words.ports).clone(),
        "methods" => {
            let word = random.of(&words.methods).clone();
            random.pattern(&word)
        }
        "paths" => path(random, words),
        "header" => {
            let word = random.of(&words.header_values).clone();
            random.pattern(&word)
        }
        "audiences" => {
            let word = random.of(&words.audiences).clone();
            random.pattern(&word)
        }
        "sni" => {
            let word = random.pick(&SERVER_NAMES);
            random.pattern(word)
        }
        _ => {
            let pool = match random.below(6) {
                0 => &words.subjects,
                1 => &words.audiences,
                _ => &words.claim_values,
            };
            let word = random.of(pool).clone();
            random.pattern(&word)
        }
    }
}

fn block(random: &mut Random, pool: &[String]) -> String {
    let address = random.of(pool).clone();
    let lengths: &[&str] = if address.contains(':') {
        &["", "/128", "/127", "/48", "/33", "/32", "/0", "/64"]
    } else {
        &[
            "", "/32", "/31", "/30", "/24", "/17", "/16", "/8", "/0", "/9",
        ]
    };
    match random.below(20) {
        0 if !address.contains(':') => format!("::ffff:{address}"),
        1 => random
            .pick(&["::/0", "2001:db8::/32", "127.9.9.9/8", "0.0.0.0/0"])
            .to_owned(),
        _ => format!("{address}{}", random.pick(lengths)),
    }
}

/// A path, a pattern of one, or a template made of one.
fn path(random: &mut Random, words: &Words) -> String {
    let word = random.of(&words.paths).clone();
    if random.chance(65) {
        return random.pattern(&word);
    }
    let mut pieces: Vec<String> = word.split('/').skip(1).map(str::to_owned).collect();
    let at = random.below(pieces.len());
    if random.chance(50) {
        pieces[at] = "{*}".into();
    } else {
        pieces[at] = "{**}".into();
        if random.chance(50) {
            pieces.truncate(at + 1);
        }
    }
    if random.chance(15) {
        pieces.insert(random.below(at + 1), "{*}".into());
    }
    if random.chance(10) {
        pieces.push(random.pick(&["", "c", "b"]).to_owned());
    }
    format!("/{}", pieces.join("/"))
}
