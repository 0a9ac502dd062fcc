//! A real Envoy: with our filter, and with its own filters as Istio configures them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use portcullis_policy::compile::{Enforcer, TokenMode, TokenSettings};
use portcullis_policy::normalize::{self, PathNormalization};
use portcullis_policy::resource::Resource;
use portcullis_policy::source::{Node, from_yaml};
use serde_json::{Map, Value, json};

use super::{Answer, Driver, Findings, NO_CLOCK, Run, Support, needs_clock, real_now};
use crate::certificates::{Authority, Identity, TlsFiles};
use crate::client::{self, Exchange, Response, Tls};
use crate::corpus::{Entry, Sent, json_documents};
use crate::envoy::{Applied, Config, Envoy, ExtensionFile, Listener, Proxy, workload_cluster};
use crate::oracle::{self, PeerMode};
use crate::outcome::{DecidedBy, Outcome, Upstream};
use crate::scratch::Scratch;
use crate::upstream::{Seen, echo};

/// Envoy with our filter.
#[derive(Debug, Clone, Copy, Default)]
pub struct EnvoyFilter;

/// The same, with signatures verified by the plugin's own code in place of Envoy's.
#[derive(Debug, Clone, Copy, Default)]
pub struct EnvoyBuiltIn;

/// Envoy with `jwt_authn` and `rbac`, as istiod would configure them.
#[derive(Debug, Clone, Copy, Default)]
pub struct EnvoyNative;

/// The header in which the test's Envoy shows the details of its own replies.
const DETAILS: &str = "x-test-details";

impl Driver for EnvoyFilter {
    fn name(&self) -> &'static str {
        "envoy-filter"
    }

    fn supports(&self, entry: &Entry) -> Support {
        if entry.policies_json().is_none() {
            return Support::No("the text is no YAML, so it cannot become a plugin's JSON");
        }
        if entry.scenario.proxy.is_tcp {
            return Support::No("a port that is not HTTP has no HTTP filters");
        }
        if entry.scenario.enforcer == Enforcer::Istio {
            return Support::No("the policies are for Istio itself");
        }
        Support::Yes
    }

    fn run(&self, entries: &[&Entry]) -> Result<Vec<Run>> {
        run_filter(entries, "auto")
    }
}

impl Driver for EnvoyBuiltIn {
    fn name(&self) -> &'static str {
        "envoy-builtin"
    }

    fn supports(&self, entry: &Entry) -> Support {
        let reads_tokens = entry
            .resources()
            .items
            .iter()
            .any(|resource| matches!(resource, Resource::RequestAuthentication(_)));
        if has_errors(entry) || !reads_tokens {
            return Support::No("nothing is verified, so it does not matter by whom");
        }
        EnvoyFilter.supports(entry)
    }

    fn run(&self, entries: &[&Entry]) -> Result<Vec<Run>> {
        run_filter(entries, "builtIn")
    }
}

fn run_filter(entries: &[&Entry], signatures: &str) -> Result<Vec<Run>> {
    let module = filter_module()?;
    let refused = |entry: &&&Entry| has_errors(entry);
    let accepted: Vec<&Entry> = entries
        .iter()
        .filter(|entry| !refused(entry))
        .copied()
        .collect();
    let filters = |entry: &Entry| -> Result<Vec<Value>> {
        let mut config = plugin_config(entry);
        config["signatures"] = json!(signatures);
        Ok(vec![source_ip_state()?, wasm_filter(&module, &config)])
    };
    let mut runs = run_corpus(&accepted, filters, |_| Ok(Vec::new()))?.into_iter();
    let rejections: Vec<&Entry> = entries.iter().filter(refused).copied().collect();
    let mut rejected = rejections_by_reload(&rejections, &module)?.into_iter();
    let in_order = entries.iter().map(|entry| {
        if has_errors(entry) {
            rejected.next()
        } else {
            runs.next()
        }
    });
    in_order
        .map(|run| run.context("one result for each scenario"))
        .collect()
}

impl Driver for EnvoyNative {
    fn name(&self) -> &'static str {
        "envoy-native"
    }

    fn supports(&self, entry: &Entry) -> Support {
        if has_errors(entry) {
            return Support::No(
                "Istio's webhook refuses these resources, so Envoy never sees them",
            );
        }
        let is_own =
            |resource: &Resource| matches!(resource, Resource::CertificateAuthentication(_));
        if entry.resources().items.iter().any(is_own) {
            return Support::No("Istio has no CertificateAuthentication");
        }
        if entry.setting.tokens.is_strict() {
            return Support::No("Envoy's own filters have no strict mode");
        }
        if entry.setting.tokens.removes_twins {
            return Support::No("Envoy's own filters remove no twins of headers");
        }
        Support::Yes
    }

    fn run(&self, entries: &[&Entry]) -> Result<Vec<Run>> {
        let filters = |entry: &Entry| {
            let (policies, mesh, workload) = for_oracle(entry)?;
            if entry.scenario.proxy.is_tcp {
                return oracle::network_filters(&policies, &mesh, &workload);
            }
            let sources = entry.setting.key_sets.iter();
            let keys = sources
                .map(|source| (source.uri.clone(), Some(source.jwks.clone())))
                .chain(
                    entry
                        .scenario
                        .key_sets
                        .iter()
                        .filter(|spec| spec.unreachable)
                        .map(|spec| (spec.uri.clone(), None)),
                )
                .collect();
            oracle::http_filters(&policies, &mesh, &workload, &keys)
        };
        run_corpus(entries, filters, peers)
    }
}

fn for_oracle(entry: &Entry) -> Result<(Vec<Value>, oracle::Mesh, oracle::Workload)> {
    let mesh = &entry.setting.mesh;
    let mesh = oracle::Mesh {
        root_namespace: mesh.root_namespace.clone(),
        trust_domain: mesh.trust_domain.clone(),
        trust_domain_aliases: mesh.trust_domain_aliases.clone(),
    };
    let workload = oracle::Workload {
        namespace: entry.setting.workload.namespace.clone(),
        labels: entry.setting.workload.labels.clone(),
    };
    let policies = entry.policies_json().context("the policies are no YAML")?;
    Ok((policies, mesh, workload))
}

/// How a sidecar's listener takes connections; empty for one without wishes, and for gateways, whose servers
/// set their own TLS.
fn peers(entry: &Entry) -> Result<Vec<(Option<u16>, PeerMode)>> {
    let (policies, mesh, workload) = for_oracle(entry)?;
    let modes = oracle::peer_modes(&policies, &mesh, &workload)?;
    let is_gateway = entry.scenario.proxy.kind != normalize::ProxyKind::Sidecar;
    if is_gateway || (modes.ports.is_empty() && modes.default == PeerMode::Permissive) {
        return Ok(Vec::new());
    }
    let ports = modes.ports.iter().map(|(port, mode)| (Some(*port), *mode));
    Ok(ports.chain([(None, modes.default)]).collect())
}

fn has_errors(entry: &Entry) -> bool {
    entry
        .scenario
        .diagnostics
        .iter()
        .flatten()
        .any(|diagnostic| diagnostic.severity == "error")
}

/// The built filter.
///
/// # Errors
/// When it was not built.
pub fn filter_module() -> Result<PathBuf> {
    let path = crate::root().join("target/wasm32-wasip1/release/portcullis_filter.wasm");
    if !path.is_file() {
        bail!(
            "{} is not there; `cargo xtask wasm` builds it",
            path.display()
        );
    }
    Ok(path)
}

/// The `pluginConfig` of a scenario.
pub fn plugin_config(entry: &Entry) -> Value {
    let setting = &entry.setting;
    let key_sets: Vec<Value> = setting
        .key_sets
        .iter()
        .map(|source| json!({ "uri": source.uri, "jwks": source.jwks }))
        .collect();
    let mut policies = entry.policies_json().unwrap_or_default();
    policies.iter_mut().for_each(in_default_namespace);
    json!({
        "policies": policies,
        "unselectedPolicies": "ignore",
        "mesh": {
            "rootNamespace": setting.mesh.root_namespace,
            "trustDomain": setting.mesh.trust_domain,
            "trustDomainAliases": setting.mesh.trust_domain_aliases,
            "validatingWebhook": setting.mesh.validating_webhook,
        },
        "workload": {
            "namespace": setting.workload.namespace,
            "labels": setting.workload.labels,
            "gateway": setting.workload.is_gateway,
        },
        "jwks": key_sets,
        "tokens": tokens(&setting.tokens),
    })
}

/// A scenario's resource that names no namespace is in `default`, as in a cluster; one in a plugin's configuration
/// would be in the workload's.
fn in_default_namespace(resource: &mut Value) {
    if resource["kind"] == "List" {
        let items = resource["items"].as_array_mut();
        items.into_iter().flatten().for_each(in_default_namespace);
    } else if let Some(metadata) = resource.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata
            .entry("namespace")
            .or_insert_with(|| "default".into());
    }
}

fn tokens(settings: &TokenSettings) -> Value {
    let mut tokens = json!({ "acceptPublishedKeys": settings.accepts_published_keys });
    match &settings.mode {
        TokenMode::Envoy => {
            tokens["mode"] = json!("envoy");
            tokens["removeTwins"] = json!(settings.removes_twins);
        }
        TokenMode::Strict { token_type } => {
            tokens["mode"] = json!("strict");
            if let Some(token_type) = token_type {
                tokens["typ"] = json!(token_type);
            }
        }
    }
    tokens
}

/// The HTTP filter that runs a module with a configuration, as a WasmPlugin becomes it.
pub fn wasm_filter(module: &std::path::Path, configuration: &Value) -> Value {
    json!({
        "name": "portcullis",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "portcullis",
                "failure_policy": "FAIL_RELOAD",
                "vm_config": {
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": { "local": { "filename": module } },
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": configuration.to_string(),
                },
            },
        },
    })
}

/// A filter in front that writes the scenario's dynamic metadata.
fn dynamic_metadata(entry: &Entry) -> Option<Value> {
    let text = entry.scenario.metadata.as_ref()?.to_json();
    let filters: Map<String, Value> = serde_json::from_str(&text).ok()?;
    let metadata: Vec<Value> = filters
        .iter()
        .map(|(filter, value)| json!({ "metadata_namespace": filter, "value": value, "allow_overwrite": true }))
        .collect();
    Some(json!({
        "name": "envoy.filters.http.set_metadata",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config",
            "metadata": metadata,
        },
    }))
}

/// The companion filter that leaves the TCP peer's address where a plugin can read it: the one that people
/// apply.
///
/// # Errors
/// When the manifest is broken.
pub fn source_ip_state() -> Result<Value> {
    let manifest = include_str!("../../../docs/source-ip-envoyfilter.yaml");
    let (documents, error) = from_yaml(manifest);
    let text = documents.first().map(Node::to_json);
    let mut manifest: Value = serde_json::from_str(&text.unwrap_or_default())
        .with_context(|| format!("source-ip-envoyfilter.yaml: {error:?}"))?;
    Ok(manifest["spec"]["configPatches"][0]["patch"]["value"].take())
}

/// One Envoy for all scenarios, with a plaintext and, where needed, a TLS listener for each; and another one for the
/// gateways in front of some, which are given the addresses of the first.
fn run_corpus(
    entries: &[&Entry],
    filters: impl Fn(&Entry) -> Result<Vec<Value>>,
    peers: impl Fn(&Entry) -> Result<Vec<(Option<u16>, PeerMode)>>,
) -> Result<Vec<Run>> {
    let folder = Scratch::new()?;
    let mut files = Files {
        folder: &folder,
        known: BTreeMap::new(),
    };
    let now = real_now();
    let mut listeners = Vec::new();
    let mut gateways = Vec::new();
    let mut prepared = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let requests = entry.requests(now).with_context(|| entry.name.clone())?;
        let workload = Listener {
            peers: peers(entry).with_context(|| entry.name.clone())?,
            ..http_listener(entry, &filters)?
        };
        let ways = [false, true].into_iter();
        let ways = ways.filter(|tls| requests.iter().any(|sent| sent.tls.is_some() == *tls));
        let ways: Vec<bool> = ways.collect();
        if entry.gateway.is_some() {
            listeners.push(Listener {
                name: index.to_string(),
                tls: Some(files.server(&entry.server_uri())?),
                ..workload
            });
            let own = entry.at_gateway().context("a gateway")?;
            let gateway = if own.policies.is_empty() {
                http_listener(&own, &|_: &Entry| Ok(Vec::new()))?
            } else {
                http_listener(&own, &filters)?
            };
            for tls in ways {
                gateways.push(Listener {
                    name: listener_name(index, tls),
                    tls: tls.then(|| files.server(&[])).transpose()?,
                    ..gateway.clone()
                });
            }
        } else {
            for tls in ways {
                listeners.push(Listener {
                    name: listener_name(index, tls),
                    tls: tls.then(|| files.server(&entry.server_uri())).transpose()?,
                    ..workload.clone()
                });
            }
        }
        prepared.push(requests);
    }
    let upstream = echo()?;
    let envoy = Envoy::start(&Config::new(upstream.address(), listeners))?;
    let gateways = if gateways.is_empty() {
        None
    } else {
        let mut config = Config::new(upstream.address(), gateways);
        for (index, entry) in entries.iter().enumerate() {
            config
                .clusters
                .extend(behind(entry, index, &envoy, &mut files)?);
        }
        Some(Envoy::start(&config)?)
    };
    let mut runs = Vec::new();
    for (index, (entry, requests)) in entries.iter().zip(prepared).enumerate() {
        let first = gateways.as_ref().filter(|_| entry.gateway.is_some());
        let first = first.unwrap_or(&envoy);
        let answers = requests.iter().map(|sent| {
            if needs_clock(entry, sent) {
                return Answer::Skipped(NO_CLOCK);
            }
            let name = listener_name(index, sent.tls.is_some());
            let exchange = exchange(sent, Authority::shared());
            match exchange.and_then(|exchange| first.send(&name, &exchange)) {
                Ok(response) => Answer::Got(Box::new(outcome(&response))),
                Err(error) if is_closed(&error) => Answer::Closed,
                Err(error) => Answer::Failed(format!("{error:#}")),
            }
        });
        runs.push(Run::Requests(Findings::Unseen, answers.collect()));
    }
    Ok(runs)
}

/// The cluster behind a scenario's gateway: its workload.
fn behind(
    entry: &Entry,
    index: usize,
    envoy: &Envoy,
    files: &mut Files<'_>,
) -> Result<Option<Value>> {
    let Some(gateway) = &entry.gateway else {
        return Ok(None);
    };
    let name = entry.server_uri().concat();
    let identity = files.of(&gateway.principal, &gateway.identity)?;
    let address = envoy.address(&index.to_string())?;
    Ok(Some(workload_cluster(
        &cluster_name(&entry.name),
        address,
        &identity,
        &name,
    )))
}

/// The name of the cluster of a gateway's workload.
fn cluster_name(scenario: &str) -> String {
    format!("workload-of-{}", scenario.replace('/', "-"))
}

/// The listener of a scenario without its name, TLS and peers.
fn http_listener(
    entry: &Entry,
    filters: &impl Fn(&Entry) -> Result<Vec<Value>>,
) -> Result<Listener> {
    let mut filters = filters(entry).with_context(|| entry.name.clone())?;
    filters.splice(0..0, dynamic_metadata(entry));
    let mut made = Listener {
        network_filters: entry.scenario.proxy.is_tcp.then(|| filters.clone()),
        ..listener(entry, String::new(), filters, None)
    };
    if let Some(gateway) = entry.gateway.as_ref().filter(|_| is_gateway(entry)) {
        let cluster = cluster_name(&entry.name);
        let routes = match &gateway.virtual_service {
            Some(text) => {
                let documents = json_documents(text).context("the VirtualService is no YAML")?;
                oracle::route_configuration(
                    documents.first().context("no VirtualService")?,
                    &cluster,
                )?
            }
            None => json!({ "virtual_hosts": [{
                "name": "all",
                "domains": ["*"],
                "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": cluster } }],
            }] }),
        };
        made.connection_manager
            .insert("route_config".into(), routes);
    }
    Ok(made)
}

fn is_gateway(entry: &Entry) -> bool {
    entry.scenario.proxy.kind != normalize::ProxyKind::Sidecar
}

/// The certificates that Envoy shows, by whose they are.
struct Files<'f> {
    folder: &'f Scratch,
    known: BTreeMap<String, TlsFiles>,
}

impl Files<'_> {
    /// A server's with these URI names.
    fn server(&mut self, uri: &[String]) -> Result<TlsFiles> {
        let whose = format!("server {}", uri.concat());
        match self.known.get(&whose) {
            Some(known) => Ok(known.clone()),
            None => self.of(&whose, &Authority::shared().server(uri)?),
        }
    }

    fn of(&mut self, whose: &str, identity: &Identity) -> Result<TlsFiles> {
        let name = self.known.len().to_string();
        let files = Authority::shared().write_identity(self.folder, &name, identity)?;
        Ok(self.known.entry(whose.to_owned()).or_insert(files).clone())
    }
}

/// Whether the connection was refused, before TLS was done or after.
fn is_closed(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(client::Error::Closed | client::Error::Tls(_))
    )
}

fn listener_name(index: usize, tls: bool) -> String {
    format!("{index}-{}", if tls { "tls" } else { "plain" })
}

/// A listener for a scenario.
pub fn listener(
    entry: &Entry,
    name: String,
    http_filters: Vec<Value>,
    tls: Option<TlsFiles>,
) -> Listener {
    let proxy = match entry.scenario.proxy.kind {
        normalize::ProxyKind::Sidecar => Proxy::Sidecar,
        normalize::ProxyKind::Gateway { trusted_proxies } => Proxy::Gateway {
            num_trusted_proxies: u32::try_from(trusted_proxies).unwrap_or_default(),
        },
    };
    Listener {
        tls,
        proxy,
        connection_manager: path_normalization(entry.scenario.proxy.path_normalization),
        ..Listener::new(name, http_filters)
    }
}

/// What istiod sets in the connection manager for `MeshConfig.pathNormalization`.
fn path_normalization(mode: PathNormalization) -> Map<String, Value> {
    let (normalize, merge, unescape) = match mode {
        PathNormalization::None => (false, false, false),
        PathNormalization::Base => (true, false, false),
        PathNormalization::MergeSlashes => (true, true, false),
        PathNormalization::DecodeAndMergeSlashes => (true, true, true),
    };
    let mut fields = Map::new();
    fields.insert("normalize_path".into(), json!(normalize));
    fields.insert("merge_slashes".into(), json!(merge));
    if unescape {
        fields.insert(
            "path_with_escaped_slashes_action".into(),
            json!("UNESCAPE_AND_FORWARD"),
        );
    }
    fields
}

/// The request as it goes over the wire.
///
/// # Errors
/// A client certificate that cannot be made.
pub fn exchange(sent: &Sent, authority: &Authority) -> Result<Exchange> {
    let tls = match &sent.tls {
        None => None,
        Some(None) => Some(Tls {
            identity: None,
            sni: sent.sni.clone(),
        }),
        Some(Some(spec)) => Some(Tls {
            identity: Some(authority.client(spec)?),
            sni: sent.sni.clone(),
        }),
    };
    Ok(Exchange {
        source: SocketAddr::new(sent.source_ip, 40_000),
        destination: SocketAddr::new(sent.destination_ip, sent.destination_port),
        method: sent.method.clone(),
        host: Some(sent.host.clone().into_bytes()),
        path: sent.path.clone(),
        headers: sent.headers.clone(),
        tls,
        ..Exchange::default()
    })
}

/// What a response of the test's Envoy says.
pub fn outcome(response: &Response) -> Outcome {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers: Vec<(String, String)> = response
        .headers
        .iter()
        .map(|(name, value)| (text(name).to_ascii_lowercase(), text(value)))
        .collect();
    let details = response.header(DETAILS);
    let seen = Seen::read(response).ok();
    let (reason, decided_by) = details.as_deref().map_or((None, DecidedBy::Unseen), reason);
    Outcome {
        status: response.status,
        body: if details.is_some() {
            response.text()
        } else {
            String::new()
        },
        headers,
        reached: details.is_none() && response.status != 400,
        upstream: seen.map(|seen| Upstream {
            path: seen.path,
            headers: seen.headers,
        }),
        decided_by,
        reason,
    }
}

/// The reason, and the policy and rule, that Envoy's response code details name.
fn reason(details: &str) -> (Option<String>, DecidedBy) {
    if details.starts_with("jwt_authn_access_denied{") {
        return (Some("jwt".into()), DecidedBy::Nobody);
    }
    let policy = details
        .strip_prefix("rbac_access_denied_matched_policy[")
        .and_then(|rest| rest.strip_suffix(']'));
    match policy {
        None => (None, DecidedBy::Unseen),
        Some("none") => (Some("no-allow-matched".into()), DecidedBy::Nobody),
        Some(identity) => (
            Some("matched-deny".into()),
            parse_identity(identity).unwrap_or_default(),
        ),
    }
}

/// `ns[NAMESPACE]-policy[NAME]-rule[INDEX]`
fn parse_identity(identity: &str) -> Option<DecidedBy> {
    let rest = identity.strip_prefix("ns[")?;
    let (namespace, rest) = rest.split_once("]-policy[")?;
    let (name, rest) = rest.split_once("]-rule[")?;
    Some(DecidedBy::Rule(
        format!("{namespace}/{name}"),
        rest.strip_suffix(']')?.parse().ok()?,
    ))
}

/// Offers each configuration to a filter that runs, as Istio does over ECDS; Envoy is to refuse it and to go
/// on with the one before.
fn rejections_by_reload(entries: &[&Entry], module: &std::path::Path) -> Result<Vec<Run>> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let deny_all = json!({ "policies": [{
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": { "name": "deny-all", "namespace": "default" },
        "spec": {},
    }], "workload": { "namespace": "default" } });
    let upstream = echo()?;
    let mut file = ExtensionFile::new(&wasm_filter(module, &deny_all))?;
    let listener = Listener::new("reload", vec![file.http_filter()]);
    let envoy = Envoy::start(&Config::new(upstream.address(), vec![listener]))?;
    let mut runs = Vec::new();
    for entry in entries {
        let before = envoy.log().len();
        let run = match envoy
            .replace_extension(&mut file, &wasm_filter(module, &plugin_config(entry)))?
        {
            Applied::Accepted => Run::Failed("Envoy took the configuration".into()),
            Applied::Rejected(_) => match envoy.send("reload", &Exchange::default())?.status {
                403 => Run::Refused(Findings::Log(
                    envoy.log().get(before..).unwrap_or_default().to_owned(),
                )),
                status => Run::Failed(format!(
                    "the configuration before is not in force: got {status}"
                )),
            },
        };
        runs.push(run);
    }
    Ok(runs)
}
