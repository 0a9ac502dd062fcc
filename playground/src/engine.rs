use std::net::{IpAddr, Ipv4Addr};

use portcullis_policy::certificate::{Certificate, Identity};
use portcullis_policy::compile::{self as core, KeySetSource, TokenMode, TokenSettings};
use portcullis_policy::crypto::RustVerifier;
use portcullis_policy::diagnostic::Location;
use portcullis_policy::gateway::{self, Gateway};
use portcullis_policy::normalize::{Incoming, Proxy, ProxyKind};
use portcullis_policy::resource::{Resource, Resources, VirtualService};
use portcullis_policy::source::{LineIndex, Node, from_yaml};
use portcullis_policy::{
    Attribute, Compiled, HeaderEdits, Metadata, PolicySet, Tls, authenticate, compile, explain,
};
use tsify::{Ts, Tsify};
use wasm_bindgen::prelude::{JsError, wasm_bindgen};

use crate::certificate;
use crate::report;
use crate::wire::{self, LoadReport, PolicySummary, Report, RequestInput, Setting};

/// Decides requests by the last policies that compiled.
#[wasm_bindgen]
#[derive(Default)]
pub struct Engine {
    loaded: Option<Loaded>,
}

/// A set and the text that it came from.
pub(crate) struct Loaded {
    pub(crate) set: PolicySet,
    pub(crate) text: Text,
    pub(crate) proxy: Proxy,
    gateway: Option<Gateway>,
    server_uri: Vec<String>,
}

/// A text whose places can be shown.
pub(crate) struct Text {
    documents: Vec<Node>,
    lines: LineIndex,
}

#[wasm_bindgen]
impl Engine {
    /// An engine without policies.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads and compiles policies. If that fails, those of before stay.
    pub fn load(&mut self, setting: &Ts<Setting>) -> Result<Ts<LoadReport>, JsError> {
        let setting = setting.to_rust()?;
        let (resources, documents) = Resources::read_text(&setting.policies);
        let text = Text {
            documents,
            lines: LineIndex::new(&setting.policies),
        };
        let compiled = compile(&resources, &core_setting(&setting));
        let mut report = load_report(&resources, &compiled, &text);
        let proxy = report::proxy(setting.proxy.as_ref());
        let gateway = setting.gateway.as_ref().map(|one| gateway(one, proxy));
        match (compiled.set, gateway.transpose()) {
            (_, Err(diagnostics)) => {
                report.ok = false;
                report.gateway = Some(diagnostics);
            }
            (Some(set), Ok(gateway)) => {
                let server_uri = setting.server_uri;
                self.loaded = Some(Loaded {
                    set,
                    text,
                    proxy,
                    gateway,
                    server_uri,
                });
            }
            (None, Ok(_)) => {}
        }
        Ok(report.into_ts()?)
    }

    /// Decides a request and tells how.
    pub fn explain(&self, request: &Ts<RequestInput>) -> Result<Ts<Report>, JsError> {
        let request = request.to_rust()?;
        let report = match &self.loaded {
            None => report::cannot_decide("there are no policies that could be read"),
            Some(loaded) => decide(loaded, &request),
        };
        Ok(report.into_ts()?)
    }
}

fn decide(loaded: &Loaded, input: &RequestInput) -> Report {
    let mut incoming = match incoming(input) {
        Ok(incoming) => incoming,
        Err(error) => return report::cannot_decide(&error),
    };
    let raw_path = incoming.path.clone();
    let server_uri = loaded.server_uri.clone();
    match &loaded.gateway {
        None => incoming.server_uri = server_uri,
        Some(gateway) => {
            let seen = match incoming.normalized(gateway.proxy) {
                Ok(seen) => seen,
                Err(refused) => return report::refused(refused),
            };
            match gateway.forward(seen, &HeaderEdits::default(), server_uri) {
                Some(forwarded) => incoming = forwarded,
                None => return report::not_routed(),
            }
        }
    }
    let outcome = incoming.with_request(loaded.proxy, |request| {
        let who = authenticate(&loaded.set, request, &RustVerifier);
        let explanation = explain(&loaded.set, request, &who);
        report::report(loaded, request, &who, &explanation, &raw_path)
    });
    outcome.unwrap_or_else(report::refused)
}

fn gateway(input: &wire::Gateway, proxy: Proxy) -> Result<Gateway, Vec<wire::Diagnostic>> {
    let service = input.virtual_service.as_deref();
    let virtual_service = service.map(|service| {
        VirtualService::read_text(service).map_err(|diagnostics| {
            let text = Text {
                documents: from_yaml(service).0,
                lines: LineIndex::new(service),
            };
            report::diagnostics(&diagnostics, &text)
        })
    });
    let principal = input
        .principal
        .clone()
        .unwrap_or_else(|| gateway::PRINCIPAL.into());
    let certificate = match &input.pem {
        Some(pem) => Certificate::from_pem(pem.as_bytes()),
        None => Certificate::made_up(&format!("spiffe://{principal}")),
    };
    Ok(Gateway {
        principal,
        certificate: certificate.as_ref().and_then(Identity::of),
        address: Ipv4Addr::LOCALHOST.into(),
        proxy: Gateway::proxy(proxy),
        virtual_service: virtual_service.transpose()?,
    })
}

fn metadata(text: Option<&str>) -> Result<Metadata, String> {
    // YAML reads JSON as well, and its parser is here anyway.
    match from_yaml(text.unwrap_or_default()) {
        (_, Some(error)) => Err(format!("the metadata cannot be read: {}", error.message)),
        (documents, None) => Ok(documents
            .first()
            .map(Metadata::from_node)
            .unwrap_or_default()),
    }
}

fn incoming(input: &RequestInput) -> Result<Incoming, String> {
    let address = |text: &Option<String>, what: &str| -> Result<IpAddr, String> {
        let text = text.as_deref().unwrap_or("127.0.0.1");
        text.parse()
            .map_err(|_| format!("the {what} `{text}` is not an IP address"))
    };
    let known = input.certificate.as_ref();
    let pem = known.and_then(|known| known.pem.as_deref());
    let whole = pem
        .map(|pem| {
            certificate::from_pem(pem)
                .map_err(|why| format!("the client's certificate cannot be read: {why}"))
        })
        .transpose()?;
    let names = match (&whole, known) {
        (None, None) => Vec::new(),
        (Some(whole), _) => names(&whole.uri, &whole.dns, &whole.subject.to_string()),
        (None, Some(known)) => names(&known.uri, &known.dns, &known.subject),
    };
    let identity = match (&whole, known) {
        (None, None) => Attribute::Known(None),
        (Some(whole), _) => found(Identity::of(whole)),
        (None, Some(known)) => found(Identity::of_names(&known.uri, &known.dns, &known.subject)),
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast from a double saturates"
    )]
    let now = input.now as u64;
    Ok(Incoming {
        method: input.method.clone().into_bytes(),
        scheme: input
            .scheme
            .as_deref()
            .unwrap_or("http")
            .as_bytes()
            .to_vec(),
        authority: Some(input.authority.clone().into_bytes()),
        path: input.path.clone().into_bytes(),
        headers: input
            .headers
            .iter()
            .map(|header| {
                (
                    header.name.clone().into_bytes(),
                    header.value.clone().into_bytes(),
                )
            })
            .collect(),
        source_ip: address(&input.source_ip, "source IP")?,
        destination_ip: address(&input.destination_ip, "destination IP")?,
        destination_port: input.destination_port.unwrap_or(80),
        server_name: input.server_name.clone().unwrap_or_default().into_bytes(),
        peer_names: names,
        certificate: identity,
        tls: match (known, input.scheme.as_deref()) {
            (Some(_), _) => Tls::Mutual,
            (None, Some("https")) => Tls::Server,
            (None, _) => Tls::None,
        },
        server_uri: Vec::new(),
        metadata: metadata(input.metadata.as_deref())?,
        now,
    })
}

/// What is known of a certificate that is there: taken for none, it would escape the rules that deny it.
fn found(identity: Option<Identity>) -> Attribute<Option<Identity>> {
    identity.map_or(Attribute::Unreadable, |identity| {
        Attribute::Known(Some(identity))
    })
}

/// The names by which policies know a client.
fn names(uri: &[String], dns: &[String], subject: &str) -> Vec<Vec<u8>> {
    let subject = Some(subject).filter(|subject| !subject.is_empty());
    let alternative = uri.iter().chain(dns).map(String::as_str);
    alternative
        .chain(subject)
        .map(|name| name.as_bytes().to_vec())
        .collect()
}

fn core_setting(setting: &Setting) -> core::Setting {
    let defaults = core::Mesh::default();
    let mesh = setting.mesh.as_ref().map(|mesh| core::Mesh {
        root_namespace: mesh
            .root_namespace
            .clone()
            .unwrap_or(defaults.root_namespace),
        trust_domain: mesh.trust_domain.clone().unwrap_or(defaults.trust_domain),
        trust_domain_aliases: mesh.trust_domain_aliases.clone(),
        validating_webhook: mesh.validating_webhook.unwrap_or(true),
    });
    let workload = setting.workload.as_ref().map(|workload| core::Workload {
        namespace: workload.namespace.clone(),
        labels: workload.labels.clone(),
        is_gateway: report::proxy(setting.proxy.as_ref()).kind != ProxyKind::Sidecar,
    });
    let key_sets = setting.jwks.iter().map(|source| KeySetSource {
        uri: source.uri.clone(),
        jwks: source.jwks.clone(),
        at: Location::default(),
    });
    core::Setting {
        mesh: mesh.unwrap_or_default(),
        workload: workload.unwrap_or_default(),
        key_sets: key_sets.collect(),
        is_tcp: setting.proxy.as_ref().is_some_and(|proxy| proxy.tcp),
        fetches_keys: false,
        tokens: TokenSettings {
            mode: match setting.tokens.as_deref() {
                None | Some("envoy") => TokenMode::Envoy,
                Some(_) => TokenMode::Strict {
                    token_type: setting.token_type.clone(),
                },
            },
            removes_twins: setting.remove_twins,
            accepts_published_keys: !setting.doubt_published_keys,
        },
        enforcer: match setting.enforced_by.as_deref() {
            Some("istio") => core::Enforcer::Istio,
            _ => core::Enforcer::Core,
        },
        ..core::Setting::default()
    }
}

fn load_report(resources: &Resources, compiled: &Compiled, text: &Text) -> LoadReport {
    let policies = resources
        .items
        .iter()
        .zip(&compiled.selected)
        .map(|(resource, selected)| {
            let metadata = resource.metadata();
            let (action, rules) = match resource {
                Resource::CertificateAuthentication(resource) => (None, resource.rules.len()),
                Resource::RequestAuthentication(resource) => (None, resource.jwt_rules.len()),
                Resource::AuthorizationPolicy(resource) => (
                    Some(resource.action.as_str().to_owned()),
                    resource.rules.len(),
                ),
                Resource::PeerAuthentication(resource) => {
                    (Some(resource.mode.as_str().to_owned()), 0)
                }
            };
            PolicySummary {
                kind: metadata.id.kind.clone(),
                namespace: metadata.id.namespace.clone(),
                name: metadata.id.name.clone(),
                action,
                rules,
                selected: *selected,
                range: text.range(&metadata.at, None),
            }
        });
    LoadReport {
        ok: compiled.set.is_some(),
        diagnostics: report::diagnostics(&compiled.diagnostics, text),
        gateway: None,
        policies: policies.collect(),
    }
}

impl Text {
    /// A text without documents, for findings that carry their own place.
    #[cfg(feature = "scenarios")]
    pub(crate) fn bare(text: &str) -> Self {
        Self {
            documents: Vec::new(),
            lines: LineIndex::new(text),
        }
    }

    /// The place of a location; `span` if that is known better.
    pub(crate) fn range(
        &self,
        at: &Location,
        span: Option<portcullis_policy::source::Span>,
    ) -> Option<crate::wire::Range> {
        let span = span.or_else(|| self.documents.get(at.document?)?.span_at(&at.path))?;
        Some(crate::wire::Range {
            start: report::position(self.lines.position(span.start)),
            end: report::position(self.lines.position(span.end)),
        })
    }
}
