//! A case: policies, their setting and requests, as the JSON of a scenario file.

use anyhow::{Result, anyhow, bail};
use portcullis_mint::public_jwks;
use portcullis_policy::compile;
use portcullis_policy::compile::{Enforcer, KeySetSource, Setting};
use portcullis_policy::diagnostic::Location;
use portcullis_policy::scenario::Scenario;
use serde_json::{Value, json};

use super::generate_authentication::{authentications, key_sets};
use super::generate_policy::policies;
use super::generate_request::request;
use super::random::Random;
use super::render::scenario_text;
use super::words::{NAMESPACE, Words};
use crate::corpus::{Entry, Sent};

/// The scenario as JSON, except that `policies` is the list of them and not their text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Case(pub(crate) Value);

/// A moment late enough for every `-10m`.
const SOME_TIME: u64 = 1_767_225_600;

impl Case {
    /// The case of a seed and a number: the same at every call.
    pub(crate) fn generate(seed: u64, number: u64, requests: usize) -> Self {
        let mut random = Random::new(seed, number);
        let words = Words::choose(&mut random);
        let mut case = Self(setting(&mut random, &words));
        case.fill(&mut random, |random| authentications(random, &words));
        case.fill(&mut random, |random| policies(random, &words));
        let rules: Vec<Value> = case.resources().iter().flat_map(jwt_rules).collect();
        let rules: Vec<&Value> = rules.iter().collect();
        let requests: Vec<Value> = (0..requests)
            .map(|index| {
                let request = request(&mut random, &words, &rules);
                json!({ "name": format!("request {index}"), "request": request, "expect": { "status": 200 } })
            })
            .collect();
        case.0["requests"] = json!(requests);
        case.drop_unsendable();
        case
    }

    fn drop_unsendable(&mut self) {
        let sent = self.entry().and_then(|entry| entry.requests(SOME_TIME));
        let mut sendable = sent
            .unwrap_or_default()
            .into_iter()
            .map(|sent| is_sendable(&sent));
        if let Some(requests) = self.0["requests"].as_array_mut() {
            requests.retain(|_| sendable.next().unwrap_or(false));
        }
    }

    /// Adds what the core takes; a resource that it refuses is made anew.
    fn fill(&mut self, random: &mut Random, make: impl Fn(&mut Random) -> Vec<Value>) {
        let mut taken: Vec<Value> = self.resources().to_vec();
        for slot in 0..make(random).len() {
            for _ in 0..50 {
                let Some(resource) = make(random).get(slot).cloned() else {
                    continue;
                };
                let mut with = self.clone();
                let mut resources = taken.clone();
                resources.push(resource.clone());
                with.0["policies"] = json!(resources);
                if with.is_taken() {
                    taken.push(resource);
                    break;
                }
            }
        }
        self.0["policies"] = json!(taken);
    }

    pub(crate) fn resources(&self) -> &[Value] {
        self.0["policies"].as_array().map_or(&[], Vec::as_slice)
    }

    /// Whether the core compiles the policies, and every request can be made.
    pub(super) fn is_taken(&self) -> bool {
        self.entry().is_ok_and(|entry| {
            let taken = compile(&entry.resources(), &entry.setting).set.is_some();
            let requests = entry.requests(SOME_TIME);
            taken && requests.is_ok_and(|requests| requests.iter().all(is_sendable))
        })
    }

    /// The scenario file.
    pub(super) fn text(&self) -> String {
        scenario_text(&self.0)
    }

    /// The case as drivers take it.
    ///
    /// # Errors
    /// What is written is no scenario.
    pub(crate) fn entry(&self) -> Result<Entry> {
        let scenario = Scenario::read(&self.text()).map_err(|diagnostics| {
            let lines: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
            anyhow!("{}\n{}", lines.join("\n"), self.text())
        })?;
        let mut key_sets = Vec::new();
        for spec in &scenario.key_sets {
            let names: Vec<&str> = spec.keys.iter().map(String::as_str).collect();
            let jwks = match &spec.jwks {
                Some(jwks) => jwks.clone(),
                None if names.is_empty() => bail!("a key set without keys"),
                None => public_jwks(&names)?,
            };
            key_sets.push(KeySetSource {
                uri: spec.uri.clone(),
                jwks,
                at: Location::default(),
            });
        }
        Ok(Entry {
            gateway: None,
            name: "random".to_owned(),
            policies: scenario.policies.clone(),
            setting: Setting {
                mesh: scenario.mesh.clone(),
                workload: scenario.workload.clone(),
                key_sets,
                is_tcp: false,
                fetches_keys: false,
                tokens: scenario.tokens.clone(),
                enforcer: Enforcer::Core,
                ..Setting::default()
            },
            scenario,
        })
    }
}

/// Whether a request arrives as it is meant: what ends a request line early, and what the codec trims, is not
/// about policies.
pub(crate) fn is_sendable(sent: &Sent) -> bool {
    let is_trimmed = |value: &[u8]| value.trim_ascii() == value;
    sent.path.starts_with(b"/")
        && sent.path.iter().all(|byte| *byte > b' ')
        && is_trimmed(sent.host.as_bytes())
        && !sent.method.is_empty()
        && sent.headers.iter().all(|(_, value)| is_trimmed(value))
}

fn setting(random: &mut Random, words: &Words) -> Value {
    let proxy = match random.weighted(&[70, 12, 12, 6]) {
        0 => json!({ "kind": "sidecar" }),
        hops => json!({ "kind": "gateway", "numTrustedProxies": hops - 1 }),
    };
    let mut labels = json!({ "app": "a", "tier": random.pick(&["web", "db"]) });
    if words.gateway {
        labels["gateway.networking.k8s.io/gateway-name"] = json!("gw");
    }
    json!({
        "description": "found by random testing",
        "policies": [],
        "mesh": {
            "rootNamespace": words.root,
            "trustDomain": words.trust_domain,
            "trustDomainAliases": words.trust_domain_aliases,
        },
        "workload": { "namespace": NAMESPACE, "labels": labels },
        "proxy": proxy,
        "jwks": key_sets(),
        "requests": [],
    })
}

fn jwt_rules(resource: &Value) -> Vec<Value> {
    resource["spec"]["jwtRules"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_a_scenario_that_the_core_takes() {
        for number in 0..50 {
            let case = Case::generate(7, number, 5);
            assert!(case.is_taken(), "{}", case.text());
            assert_eq!(case, Case::generate(7, number, 5));
        }
    }
}
