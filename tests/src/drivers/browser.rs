//! The page's engine in Chromium.

use anyhow::{Context, Result};
use portcullis_policy::compile::{Enforcer, TokenMode};
use portcullis_policy::normalize::ProxyKind;
use portcullis_policy::source::Node;
use serde_json::{Value, json};

use super::{Answer, Driver, Findings, Run, Support, real_now};
use crate::certificates::Authority;
use crate::corpus::{Entry, Sent};
use crate::outcome::{DecidedBy, Outcome, Upstream};

/// The page's engine in Chromium.
#[derive(Debug, Clone, Copy, Default)]
pub struct Browser;

impl Driver for Browser {
    fn name(&self) -> &'static str {
        "browser"
    }

    fn supports(&self, entry: &Entry) -> Support {
        if entry.setting.fetches_keys {
            return Support::No("the page fetches nothing");
        }
        if entry
            .gateway
            .as_ref()
            .is_some_and(|gateway| gateway.policies.is_some())
        {
            return Support::No("the page has one set of policies, the workload's");
        }
        Support::Yes
    }

    fn run(&self, entries: &[&Entry]) -> Result<Vec<Run>> {
        let mut cases = Vec::new();
        for entry in entries {
            let now = entry.scenario.now.unwrap_or_else(real_now);
            let sent = entry.requests(now).with_context(|| entry.name.clone())?;
            let metadata = entry.scenario.metadata.as_ref().map(Node::to_json);
            let inputs: Vec<Value> = sent
                .iter()
                .map(|sent| {
                    let mut input = input(sent, now + sent.at);
                    if let Some(metadata) = &metadata {
                        input["metadata"] = json!(metadata);
                    }
                    input
                })
                .collect();
            cases.push(json!({ "setting": setting(entry), "requests": inputs }));
        }
        let results = crate::browser::run(&crate::root().join("www/dist"), &cases)?;
        Ok(results.iter().map(read).collect())
    }
}

fn setting(entry: &Entry) -> Value {
    let setting = &entry.setting;
    let mut proxy = match entry.scenario.proxy.kind {
        ProxyKind::Sidecar => json!({ "kind": "sidecar" }),
        ProxyKind::Gateway { trusted_proxies } => {
            json!({ "kind": "gateway", "numTrustedProxies": trusted_proxies })
        }
    };
    proxy["tcp"] = json!(entry.scenario.proxy.is_tcp);
    proxy["pathNormalization"] = json!(entry.scenario.proxy.path_normalization.as_str());
    let key_sets: Vec<Value> = setting
        .key_sets
        .iter()
        .map(|source| json!({ "uri": source.uri, "jwks": source.jwks }))
        .collect();
    let mut value = json!({
        "policies": entry.policies,
        "mesh": {
            "rootNamespace": setting.mesh.root_namespace,
            "trustDomain": setting.mesh.trust_domain,
            "trustDomainAliases": setting.mesh.trust_domain_aliases,
            "validatingWebhook": setting.mesh.validating_webhook,
        },
        "workload": { "namespace": setting.workload.namespace, "labels": setting.workload.labels },
        "proxy": proxy,
        "serverUri": entry.server_uri(),
        "jwks": key_sets,
    });
    if setting.enforcer == Enforcer::Istio {
        value["enforcedBy"] = json!("istio");
    }
    if let Some(gateway) = &entry.gateway {
        value["gateway"] =
            json!({ "principal": gateway.principal, "pem": gateway.identity.certificate_pem });
        if let Some(service) = &gateway.virtual_service {
            value["gateway"]["virtualService"] = json!(service);
        }
    }
    if let TokenMode::Strict { token_type } = &setting.tokens.mode {
        value["tokens"] = json!("strict");
        if let Some(token_type) = token_type {
            value["tokenType"] = json!(token_type);
        }
    }
    value["removeTwins"] = json!(setting.tokens.removes_twins);
    value["doubtPublishedKeys"] = json!(!setting.tokens.accepts_published_keys);
    value
}

fn input(sent: &Sent, now: u64) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers: Vec<Value> = sent
        .headers
        .iter()
        .map(|(name, value)| json!({ "name": text(name), "value": text(value) }))
        .collect();
    let mut input = json!({
        "method": sent.method,
        "scheme": if sent.tls.is_some() { "https" } else { "http" },
        "authority": sent.host,
        "path": text(&sent.path),
        "headers": headers,
        "sourceIp": sent.source_ip.to_string(),
        "destinationIp": sent.destination_ip.to_string(),
        "destinationPort": sent.destination_port,
        "now": now,
    });
    if let Some(sni) = &sent.sni {
        input["serverName"] = json!(sni);
    }
    if let Some(Some(spec)) = &sent.tls {
        let identity = Authority::shared().client(spec).unwrap_or_default();
        input["certificate"] =
            json!({ "uri": [], "dns": [], "subject": "", "pem": identity.certificate_pem });
    }
    input
}

fn read(result: &Value) -> Run {
    if let Some(error) = result["error"].as_str() {
        return Run::Failed(error.to_owned());
    }
    let mut lines: Vec<String> = items(&result["load"]["diagnostics"])
        .map(|diagnostic| {
            let text = |key: &str| diagnostic[key].as_str().unwrap_or_default();
            format!(
                "{} {} {} {}",
                text("severity"),
                text("code"),
                text("resource"),
                text("path")
            )
        })
        .collect();
    lines.sort();
    if result["load"]["ok"] == false {
        return Run::Refused(Findings::Lines(lines));
    }
    let answers = items(&result["reports"]).map(answer).collect();
    Run::Requests(Findings::Lines(lines), answers)
}

fn answer(report: &Value) -> Answer {
    if let Some(error) = report["error"].as_str() {
        return Answer::Failed(error.to_owned());
    }
    if report["status"] == 0 && report["outcome"] == "deny" {
        return Answer::Closed;
    }
    let reached = report["outcome"] == "allow";
    let policy = report["policy"].as_str().zip(report["rule"].as_u64());
    let is_refused = report["outcome"] == "refused";
    Answer::Got(Box::new(Outcome {
        status: report["status"]
            .as_u64()
            .and_then(|status| status.try_into().ok())
            .unwrap_or_default(),
        body: text(report, "body"),
        headers: headers(&report["headers"]),
        upstream: reached.then(|| upstream(report)),
        reached,
        decided_by: match policy {
            _ if is_refused => DecidedBy::Unseen,
            None => DecidedBy::Nobody,
            Some((policy, rule)) => {
                DecidedBy::Rule(policy.to_owned(), u32::try_from(rule).unwrap_or_default())
            }
        },
        reason: (!is_refused).then(|| text(report, "reason")),
    }))
}

/// The request with the edits that the page shows.
fn upstream(report: &Value) -> Upstream {
    let (request, edits) = (&report["request"], &report["upstream"]);
    let removed: Vec<&str> = items(&edits["remove"]).filter_map(Value::as_str).collect();
    let kept = headers(&request["headers"])
        .into_iter()
        .filter(|(name, _)| !removed.contains(&name.as_str()));
    let path = edits["path"].as_str().map(str::to_owned);
    Upstream {
        path: path.unwrap_or_else(|| text(request, "path")),
        headers: kept.chain(headers(&edits["add"])).collect(),
    }
}

fn headers(list: &Value) -> Vec<(String, String)> {
    items(list)
        .map(|header| {
            (
                text(header, "name").to_ascii_lowercase(),
                text(header, "value"),
            )
        })
        .collect()
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}
