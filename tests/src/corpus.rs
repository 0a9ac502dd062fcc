//! The scenario files: those of `tests/scenarios` and those of the examples.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use portcullis_mint::{Order, forge, mint, public_jwks};
use portcullis_policy::Metadata;
use portcullis_policy::compile::{KeySetSource, Setting, Workload};
use portcullis_policy::diagnostic::Location;
use portcullis_policy::gateway::Gateway as CoreGateway;
use portcullis_policy::normalize::ProxyKind;
use portcullis_policy::resource::Resources;
use portcullis_policy::scenario::{
    Certificate, Expectation, GatewaySpec, RequestSpec, Scenario, Token, TokenPlace, TokenSource,
};
use portcullis_policy::source::from_yaml;

use crate::certificates::{Authority, Identity, Spec};
use crate::http::Headers;

/// A scenario and where it stands.
#[derive(Debug, Clone)]
pub struct Entry {
    /// `paths/prefix-matches` or `examples/kyma-istio-jwt/scenarios`.
    pub name: String,
    /// The file as data.
    pub scenario: Scenario,
    /// The text of the policies.
    pub policies: String,
    /// What compiling needs.
    pub setting: Setting,
    /// The gateway to which requests go first.
    pub gateway: Option<Gateway>,
}

/// An ingress gateway in front of the workload.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// Its name in the mesh.
    pub principal: String,
    /// What it shows to workloads.
    pub identity: Identity,
    /// The text of its `VirtualService`.
    pub virtual_service: Option<String>,
    /// The text of the policies that it enforces itself.
    pub policies: Option<String>,
}

/// A request as it goes over the wire.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The request's name in its file.
    pub name: String,
    /// The method.
    pub method: String,
    /// The `host` line.
    pub host: String,
    /// The path with its query.
    pub path: Vec<u8>,
    /// Header lines in order, without `host`.
    pub headers: Headers,
    /// The TCP peer.
    pub source_ip: std::net::IpAddr,
    /// The address that is called.
    pub destination_ip: std::net::IpAddr,
    /// The port that is called.
    pub destination_port: u16,
    /// The server name of the TLS handshake.
    pub sni: Option<String>,
    /// `None` is plaintext, `Some(None)` is TLS without a client certificate.
    pub tls: Option<Option<Spec>>,
    /// The URI names of the certificate that the proxy shows.
    pub server_uri: Vec<String>,
    /// What filters in front write into the stream's dynamic metadata.
    pub metadata: Metadata,
    /// Seconds after the start of the scenario.
    pub at: u64,
    /// What is to come of it.
    pub expect: Expectation,
}

/// Reads every scenario file, in the order of their names.
///
/// # Errors
/// A file that is no scenario, with everything that is wrong with it.
pub fn load() -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (folder, prefix) in [("tests/scenarios", ""), ("examples", "examples/")] {
        let folder = crate::root().join(folder);
        for path in files(&folder)? {
            let is_scenario = prefix.is_empty()
                || path
                    .file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with("scenarios"));
            if is_scenario {
                let inner = path.strip_prefix(&folder)?.with_extension("");
                let name = format!("{prefix}{}", inner.display());
                entries.push(entry(name, &path).with_context(|| path.display().to_string())?);
            }
        }
    }
    Ok(entries)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            found.push(path);
        }
    }
    found.sort_by_key(|path| path.with_extension(""));
    Ok(found)
}

fn entry(name: String, path: &Path) -> Result<Entry> {
    let scenario = Scenario::read(&std::fs::read_to_string(path)?).map_err(|diagnostics| {
        let lines: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
        anyhow!(lines.join("\n"))
    })?;
    let policies = text(&scenario.policies, path)?;
    let gateway = scenario
        .gateway
        .as_ref()
        .map(|spec| gateway(spec, path))
        .transpose()?;
    let given = scenario.key_sets.iter().filter(|spec| !spec.unreachable);
    let key_sets = given.map(|spec| {
        let jwks = match &spec.jwks {
            Some(jwks) => jwks.clone(),
            None => public_jwks(&spec.keys.iter().map(String::as_str).collect::<Vec<_>>())?,
        };
        Ok(KeySetSource {
            uri: spec.uri.clone(),
            jwks,
            at: Location::default(),
        })
    });
    let setting = Setting {
        mesh: scenario.mesh.clone(),
        workload: Workload {
            is_gateway: scenario.proxy.kind != ProxyKind::Sidecar,
            ..scenario.workload.clone()
        },
        key_sets: key_sets.collect::<Result<_>>()?,
        is_tcp: scenario.proxy.is_tcp,
        fetches_keys: scenario.key_sets.iter().any(|spec| spec.unreachable),
        tokens: scenario.tokens.clone(),
        enforcer: scenario.enforcer,
        ..Setting::default()
    };
    Ok(Entry {
        name,
        scenario,
        policies,
        setting,
        gateway,
    })
}

/// A text of a scenario, or the file beside it that it names.
fn text(given: &str, path: &Path) -> Result<String> {
    let is_path = !given.contains('\n')
        && Path::new(given)
            .extension()
            .is_some_and(|end| end == "yaml");
    if !is_path {
        return Ok(given.to_owned());
    }
    std::fs::read_to_string(path.with_file_name(given)).context(given.to_owned())
}

fn gateway(spec: &GatewaySpec, path: &Path) -> Result<Gateway> {
    let read = |given: &Option<String>| given.as_ref().map(|given| text(given, path)).transpose();
    Ok(Gateway {
        principal: spec.principal.clone(),
        identity: Authority::shared().client(&Spec {
            uri: vec![format!("spiffe://{}", spec.principal)],
            ..Spec::default()
        })?,
        virtual_service: read(&spec.virtual_service)?,
        policies: read(&spec.policies)?,
    })
}

impl Entry {
    /// The gateway as a scenario of its own: what it enforces itself. `None` without a gateway in front.
    pub fn at_gateway(&self) -> Option<Self> {
        let mut entry = self.clone();
        entry.policies = self.gateway.as_ref()?.policies.clone().unwrap_or_default();
        entry.scenario.proxy = CoreGateway::proxy(self.scenario.proxy);
        entry.scenario.metadata = None;
        entry.setting.workload = Workload {
            namespace: "istio-system".into(),
            labels: [("istio".to_owned(), "ingressgateway".to_owned())].into(),
            is_gateway: true,
        };
        Some(entry)
    }

    /// The policies as the core reads them.
    pub fn resources(&self) -> Resources {
        Resources::read_text(&self.policies).0
    }

    /// The policies as JSON, as they stand in a plugin's configuration. `None` when the text is not YAML,
    /// so that it cannot become JSON.
    pub fn policies_json(&self) -> Option<Vec<serde_json::Value>> {
        json_documents(&self.policies)
    }

    /// The requests, their tokens minted at `now`.
    ///
    /// # Errors
    /// An unknown key, certificate or address.
    pub fn requests(&self, now: u64) -> Result<Vec<Sent>> {
        let fixtures = Spec::fixtures()?;
        let requests = self.scenario.requests.iter();
        requests
            .map(|case| {
                sent(&case.request, now, &fixtures)
                    .map(|sent| Sent {
                        name: case.name.clone(),
                        metadata: self
                            .scenario
                            .metadata
                            .as_ref()
                            .map(Metadata::from_node)
                            .unwrap_or_default(),
                        server_uri: self.server_uri(),
                        expect: case.expect.clone(),
                        ..sent
                    })
                    .with_context(|| case.name.clone())
            })
            .collect()
    }

    /// The URI names of the certificate that the proxy shows: a sidecar's is the workload's, of the service account
    /// that Kubernetes gives to whoever names none; a gateway shows one for its hosts.
    pub fn server_uri(&self) -> Vec<String> {
        if self.scenario.proxy.kind != ProxyKind::Sidecar {
            return Vec::new();
        }
        let domain = &self.setting.mesh.trust_domain;
        let namespace = &self.setting.workload.namespace;
        vec![format!("spiffe://{domain}/ns/{namespace}/sa/default")]
    }

    /// The diagnostics that the scenario asks for, as `code severity resource path` lines in order.
    pub fn expected_diagnostics(&self) -> Option<Vec<String>> {
        self.scenario.diagnostics.as_ref().map(|expected| {
            let mut lines: Vec<String> = expected
                .iter()
                .map(|one| {
                    format!(
                        "{} {} {} {}",
                        one.severity, one.code, one.resource, one.path
                    )
                })
                .collect();
            lines.sort();
            lines
        })
    }
}

/// The documents of a YAML text as JSON. `None` when it is no YAML.
pub fn json_documents(text: &str) -> Option<Vec<serde_json::Value>> {
    let (documents, error) = from_yaml(text);
    let values = documents
        .iter()
        .map(|document| serde_json::from_str(&document.to_json()).ok());
    error.is_none().then(|| values.collect()).flatten()
}

fn sent(request: &RequestSpec, now: u64, fixtures: &BTreeMap<String, Spec>) -> Result<Sent> {
    let mut path = request.path.clone().into_bytes();
    let mut headers: Headers = request
        .headers
        .iter()
        .map(|(name, value)| (name.clone().into_bytes(), value.clone().into_bytes()))
        .collect();
    for token in &request.tokens {
        let text = token_text(token, now)?;
        match &token.place {
            TokenPlace::Header { name, prefix } => {
                headers.push((
                    name.clone().into_bytes(),
                    format!("{prefix}{text}").into_bytes(),
                ));
            }
            TokenPlace::Param(name) => {
                let separator = if path.contains(&b'?') { '&' } else { '?' };
                path.extend(format!("{separator}{name}={text}").into_bytes());
            }
            TokenPlace::Cookie(name) => {
                headers.push((b"cookie".to_vec(), format!("{name}={text}").into_bytes()));
            }
        }
    }
    let tls = match &request.certificate {
        None => None,
        Some(Certificate::None) => Some(None),
        Some(Certificate::Named(name)) => {
            let known = fixtures
                .get(name)
                .with_context(|| format!("no certificate `{name}`"))?;
            Some(Some(known.clone()))
        }
        Some(Certificate::Inline {
            uri,
            dns,
            email,
            subject,
        }) => Some(Some(Spec {
            uri: uri.clone(),
            dns: dns.clone(),
            email: email.clone(),
            subject: subject.clone(),
            published: None,
        })),
    };
    Ok(Sent {
        name: String::new(),
        method: request.method.clone(),
        host: request.host.clone(),
        path,
        headers,
        source_ip: request.source_ip.parse().context("sourceIp")?,
        destination_ip: request.destination_ip.parse().context("destinationIp")?,
        destination_port: request.destination_port,
        sni: request.sni.clone(),
        tls,
        server_uri: Vec::new(),
        metadata: Metadata::default(),
        at: request.at,
        expect: Expectation::default(),
    })
}

fn token_text(token: &Token, now: u64) -> Result<String> {
    let (text, signature) = match &token.source {
        TokenSource::Raw(raw) => return Ok(raw.clone()),
        TokenSource::Minted {
            key,
            key_id,
            claims,
            signature,
        } => (
            mint(&Order {
                key,
                key_id: key_id.as_deref(),
                claims,
                now,
            })?,
            signature,
        ),
        TokenSource::Forged {
            key,
            header,
            payload,
            signature,
        } => (
            forge(key, header.as_bytes(), payload.as_bytes())?,
            signature,
        ),
    };
    match signature {
        None => Ok(text),
        Some(signature) => match text.rsplit_once('.') {
            Some((signed, _)) => Ok(format!("{signed}.{signature}")),
            None => bail!("a token without a dot"),
        },
    }
}
