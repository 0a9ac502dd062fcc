//! One version of the policies: its configuration, the requests aimed at it, and what the core answers.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use portcullis_policy::compile;
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::load::{CONNECTIONS, Load, Pool, RANDOM};
use crate::corpus::Entry;
use crate::drivers::{plugin_config, real_now, wasm_filter};
use crate::fuzz::case::{Case, is_sendable};
use crate::fuzz::random::Random;

/// The issuer of most tokens.
pub(super) const ISSUER: &str = "https://stable.example";
/// An issuer whose keys change.
pub(super) const ISSUER_OF_ROTATING: &str = "https://rotating.example";
/// An issuer of tokens that stand elsewhere than in `authorization`.
pub(super) const ISSUER_OF_PLACES: &str = "https://places.example";
/// An issuer of tokens for an audience.
pub(super) const ISSUER_OF_AUDIENCE: &str = "https://audience.example";

/// The key sets that are fetched, with the names of their keys; the last one's keys change.
pub(super) const FETCHED: [(&str, &[&str]); 3] = [
    (
        "https://keys.example/all.json",
        &["rsa-1", "ec-1", "ed-1", "hs-1"],
    ),
    ("https://keys.example/two.json", &["hs-1", "ed-1"]),
    (ROTATING, &[]),
];
const ROTATING: &str = "https://keys.example/rotating.json";

/// The keys that the changing set has in turn.
pub(super) const RING: [&str; 4] = ["rsa-1", "ec-1", "ed-1", "rsa-2"];

/// The keys of a generation of the changing set: each shares one with the generation before.
pub(super) fn keys_of(generation: usize) -> [&'static str; 2] {
    [0, 1].map(|place| RING[(generation + place) % RING.len()])
}

/// The cluster of the key server.
pub(super) const KEY_CLUSTER: &str = "idp";

/// How many requests are made for each version.
const REQUESTS: usize = 60;

/// Some policies and what the core decides with them.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) number: usize,
    /// The filter with these policies.
    pub(super) filter: Value,
    /// The requests that are aimed at them.
    pub(super) own: Arc<Pool>,
    /// For each request that always comes, its answer by generation of the changing keys; one if it is always the
    /// same.
    standing: Vec<Vec<Answer>>,
    own_answers: Vec<Answer>,
    /// For the requests that were aimed at the version before.
    previous_answers: Vec<Answer>,
}

/// Which requests an index is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// Those that always come.
    Standing,
    /// Those of a version.
    Version(usize),
}

impl Version {
    /// The version of a seed and a number: the same policies at every call, with tokens of this time.
    ///
    /// # Errors
    /// The core refuses what it should take.
    pub(super) fn make(
        seed: u64,
        number: usize,
        module: &Path,
        standing: &Pool,
        previous: &Pool,
    ) -> Result<Self> {
        let stream = u64::try_from(number)?;
        let mut case = Case::generate(seed, stream, REQUESTS);
        adapt(&mut case.0, number);
        let entries: Vec<Entry> = (0..RING.len())
            .map(|generation| at_generation(&case, generation).entry())
            .collect::<Result<_>>()?;
        let sets = entries.iter().map(|entry| {
            let compiled = compile(&entry.resources(), &entry.setting);
            let found = compiled.diagnostics;
            compiled.set.with_context(|| format!("{found:?}"))
        });
        let sets = sets.collect::<Result<Vec<_>>>()?;
        let (first, set) = entries.first().zip(sets.first()).context("a generation")?;
        let now = real_now();
        let own = own_requests(first, now)?;
        let answer = |load: &Load| Answer::of_core(set, first, &load.sent, now);
        let standing = standing.loads.iter().map(|load| {
            let states = entries.iter().zip(&sets);
            let states = states.take(if load.rotates { RING.len() } else { 1 });
            let answers = states.map(|(entry, set)| Answer::of_core(set, entry, &load.sent, now));
            answers.collect()
        });
        Ok(Self {
            number,
            filter: wasm_filter(module, &configuration(first)),
            standing: standing.collect(),
            own_answers: own.iter().map(answer).collect(),
            previous_answers: previous.loads.iter().map(answer).collect(),
            own: Arc::new(Pool::new(own, &mut Random::new(seed, stream))),
        })
    }

    /// The answer of this version to a request, at a generation of the changing keys; `None` if it was not asked for.
    pub(super) fn answer(&self, whose: Whose, index: usize, generation: usize) -> Option<&Answer> {
        match whose {
            Whose::Standing => {
                let answers = self.standing.get(index)?;
                answers.get(generation % answers.len())
            }
            Whose::Version(number) if number == self.number => self.own_answers.get(index),
            Whose::Version(number) if number + 1 == self.number => self.previous_answers.get(index),
            Whose::Version(_) => None,
        }
    }
}

/// Puts a case behind one listener: its addresses and its proxy, no TLS, tokens whose times do not pass during a run.
fn adapt(case: &mut Value, number: usize) {
    case["proxy"] = json!({ "kind": "sidecar" });
    if let Some(labels) = case["workload"]["labels"].as_object_mut() {
        labels.remove("gateway.networking.k8s.io/gateway-name");
    }
    let requests = case["requests"].as_array_mut();
    for (index, request) in requests.into_iter().flatten().enumerate() {
        let (source, destination, port) = CONNECTIONS[index % CONNECTIONS.len()];
        let request = &mut request["request"];
        request["sourceIp"] = json!(source);
        request["destinationIp"] = json!(destination);
        request["destinationPort"] = json!(port);
        if let Some(request) = request.as_object_mut() {
            request.remove("certificate");
            request.remove("sni");
        }
        let tokens = request.get_mut("token").and_then(Value::as_array_mut);
        for token in tokens.into_iter().flatten() {
            if let Some(claims) = token["claims"].as_object_mut() {
                settle_times(claims);
            }
        }
        // What changes or ends a connection is not for one that others share.
        if let Some(headers) = request["headers"].as_object_mut() {
            headers.retain(|name, _| !["connection", "upgrade", "expect"].contains(&name.as_str()));
        }
    }
    if let Some(policies) = case["policies"].as_array_mut() {
        policies.extend(standing_policies(number));
    }
    if let Some(sets) = case["jwks"].as_array_mut() {
        sets.push(json!({ "uri": ROTATING, "keys": keys_of(0) }));
    }
}

/// Times near enough to pass become far ones on the same side.
fn settle_times(claims: &mut Map<String, Value>) {
    for name in ["exp", "nbf", "iat"] {
        let Some(value) = claims.get_mut(name) else {
            continue;
        };
        let far = match value.as_str() {
            Some("+1h" | "+10m") => "+2d",
            Some("-20s") => "-1h",
            Some("+20s") => "-1m",
            _ => continue,
        };
        *value = json!(far);
    }
}

fn at_generation(case: &Case, generation: usize) -> Case {
    let mut case = case.clone();
    let sets = case.0["jwks"].as_array_mut();
    for set in sets.into_iter().flatten() {
        if set["uri"] == ROTATING {
            set["keys"] = json!(keys_of(generation));
        }
    }
    case
}

/// What every version has, so that the keys stay wanted; every other version lets some requests through, and some of
/// these change what they let through.
fn standing_policies(number: usize) -> Vec<Value> {
    let resource = |kind: &str, name: &str, spec: Value| {
        json!({
            "apiVersion": "security.istio.io/v1",
            "kind": kind,
            "metadata": { "name": name, "namespace": "foo" },
            "spec": spec,
        })
    };
    let [all, two, rotating] = FETCHED.map(|(uri, _)| uri);
    let rules = json!([
        {
            "issuer": ISSUER,
            "jwksUri": all,
            "forwardOriginalToken": true,
            "outputClaimToHeaders": [{ "header": "x-note", "claim": "note" }],
        },
        { "issuer": ISSUER_OF_ROTATING, "jwksUri": rotating },
        { "issuer": ISSUER_OF_AUDIENCE, "jwksUri": two, "audiences": ["soak"] },
        {
            "issuer": ISSUER_OF_PLACES,
            "jwksUri": two,
            "fromHeaders": [{ "name": "x-soak", "prefix": "Token " }],
            "fromParams": ["at"],
            "fromCookies": ["st"],
        },
    ]);
    let paths = |paths: &[&str]| json!([{ "operation": { "paths": paths } }]);
    let mut resources = vec![resource(
        "RequestAuthentication",
        "soak-tokens",
        json!({ "jwtRules": rules }),
    )];
    if !number.is_multiple_of(2) {
        return resources;
    }
    let anyone = json!({ "source": { "requestPrincipals": ["*"] } });
    let mut rules = vec![
        json!({ "to": paths(&["/soak/open*", "/SOAK/*", "*/passwd"]) }),
        json!({ "from": [anyone], "to": paths(&["/soak/token", "/a*"]) }),
        json!({ "from": [{ "source": { "principals": ["*"] } }], "to": paths(&["/soak/mesh"]) }),
    ];
    if number.is_multiple_of(4) {
        rules.push(json!({ "to": paths(&["/soak/flip", "/"]) }));
    }
    resources.push(resource(
        "AuthorizationPolicy",
        "soak-allow",
        json!({ "rules": rules }),
    ));
    let shut = json!([
        { "to": paths(&["/soak/shut"]) },
        { "when": [{ "key": "request.auth.claims[sub]", "values": ["bob"] }] },
        { "when": [{ "key": "request.headers[x-line-89]", "values": ["v"] }], "to": paths(&["/soak/open"]) },
    ]);
    resources.push(resource(
        "AuthorizationPolicy",
        "soak-deny",
        json!({ "action": "DENY", "rules": shut }),
    ));
    resources
}

/// The plugin's configuration, which fetches some of the key sets.
fn configuration(entry: &Entry) -> Value {
    let mut configuration = plugin_config(entry);
    let sets = configuration["jwks"].as_array_mut();
    for set in sets.into_iter().flatten() {
        if FETCHED.iter().any(|(uri, _)| set["uri"] == *uri) {
            *set = json!({ "uri": set["uri"], "cluster": KEY_CLUSTER });
        }
    }
    configuration
}

fn own_requests(entry: &Entry, now: u64) -> Result<Vec<Load>> {
    let sent = entry.requests(now)?;
    let loads = sent
        .into_iter()
        .enumerate()
        .filter(|(_, sent)| is_sendable(sent));
    let loads = loads.map(|(index, sent)| Load::new(RANDOM, sent, index % CONNECTIONS.len()));
    Ok(loads.collect())
}
