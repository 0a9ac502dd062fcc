//! The scenario format: policies, requests and what is to come of them. Tests, examples and the page read it.
//!
//! A scenario states behaviour once; drivers (this crate alone, a real Envoy with the filter, a browser)
//! each run it. What is under `policies` is the user's own text, verbatim.

mod expectation;
mod request;

pub use expectation::{Expectation, ExpectedDiagnostic, Upstream};
pub use request::{Certificate, RequestSpec, Token, TokenPlace, TokenSource};

use crate::compile::{Enforcer, Mesh, TokenSettings, Workload};
use crate::config;
use crate::diagnostic::{Code, Diagnostic, Location};
use crate::gateway;
use crate::normalize::{PathNormalization, Proxy, ProxyKind};
use crate::resource::{Decoder, Field};
use crate::source::{Node, from_yaml};
pub use crate::time::parse_time;

/// One scenario file.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The behaviour in one sentence.
    pub description: String,
    /// Multi-document YAML, or a path beside the file that ends in `.yaml`.
    pub policies: String,
    /// The mesh.
    pub mesh: Mesh,
    /// The workload; namespace `default` without labels if the file names none.
    pub workload: Workload,
    /// What stands in front.
    pub proxy: Proxy,
    /// The ingress gateway to which requests go first; `None` is that they come straight to the proxy.
    pub gateway: Option<GatewaySpec>,
    /// Key sets by URI.
    pub key_sets: Vec<KeySetSpec>,
    /// How tokens and keys are read, as in the plugin's configuration. Published keys are accepted unless the file
    /// says otherwise: the tokens of scenarios are signed with such keys.
    pub tokens: TokenSettings,
    /// Who enforces the policies: this crate, or Istio itself.
    pub enforcer: Enforcer,
    /// What filters in front of the policies wrote into every request's dynamic metadata.
    pub metadata: Option<Node>,
    /// Seconds since the epoch; `None` is the real time.
    pub now: Option<u64>,
    /// The requests.
    pub requests: Vec<Case>,
    /// Exactly the errors and warnings that the policies give; `None` asks for no error and allows warnings.
    pub diagnostics: Option<Vec<ExpectedDiagnostic>>,
    /// Drivers whose outcome differs, with the reason.
    pub differs: Vec<(String, String)>,
    /// Drivers that cannot express the scenario, with the reason.
    pub skip: Vec<(String, String)>,
}

/// An ingress gateway, and the workload behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewaySpec {
    /// Its name in the mesh.
    pub principal: String,
    /// A `VirtualService`, or a path beside the file that ends in `.yaml`; `None` sends every request on as it is.
    pub virtual_service: Option<String>,
    /// What is enforced on the gateway itself: multi-document YAML, or a path as above.
    pub policies: Option<String>,
}

/// The key set behind a URI: fixture keys by name, or a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySetSpec {
    /// The `jwksUri`.
    pub uri: String,
    /// Names of fixture keys.
    pub keys: Vec<String>,
    /// The key set as text; `None` makes it of `keys`.
    pub jwks: Option<String>,
    /// Whether the proxy fetches the key set and nobody answers.
    pub unreachable: bool,
}

/// A request and what is to come of it.
#[derive(Debug, Clone)]
pub struct Case {
    /// Unique in its file.
    pub name: String,
    /// What is sent.
    pub request: RequestSpec,
    /// What is to come of it.
    pub expect: Expectation,
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    /// Everything that is wrong with it, each finding with its place.
    pub fn read(text: &str) -> Result<Self, Vec<Diagnostic>> {
        let (documents, error) = from_yaml(text);
        let mut decoder = Decoder::new(Location {
            document: Some(0),
            ..Location::default()
        });
        if let Some(error) = error {
            return Err(vec![error.into()]);
        }
        let [document] = documents.as_slice() else {
            decoder.error(
                Code::Syntax,
                &crate::source::FieldPath::root(),
                "a scenario file holds one document",
                "put policies of several documents under `policies: |`",
            );
            return Err(decoder.into_diagnostics());
        };
        let root = decoder.root(document);
        let scenario = Self::decode(&mut decoder, &root);
        let diagnostics = decoder.into_diagnostics();
        match scenario {
            Some(scenario) if diagnostics.is_empty() => Ok(scenario),
            _ => Err(diagnostics),
        }
    }

    fn decode(decoder: &mut Decoder, root: &Field<'_>) -> Option<Self> {
        let object = decoder.object(root)?;
        decoder.known_fields(
            &object,
            &[
                "description",
                "policies",
                "mesh",
                "workload",
                "proxy",
                "gateway",
                "jwks",
                "tokens",
                "enforcedBy",
                "metadata",
                "now",
                "requests",
                "diagnostics",
                "differs",
                "skip",
            ],
        );
        let description = decoder.required_string(&object, "description")?.text;
        let policies = decoder.required_string(&object, "policies")?.text;
        let now = match decoder.string(&object, "now") {
            None => None,
            Some(text) => {
                let time = parse_time(&text.text);
                if time.is_none() {
                    decoder.refuse(
                        Code::InvalidValue,
                        &text.at,
                        &text.text,
                        "a time",
                        "write it as 2026-01-01T00:00:00Z",
                    );
                }
                time
            }
        };
        let mut requests: Vec<Case> = Vec::new();
        for field in decoder.list(&object, "requests").unwrap_or_default() {
            let Some(case) = case(decoder, &field) else {
                continue;
            };
            if requests.iter().any(|earlier| earlier.name == case.name) {
                decoder.error(
                    Code::DuplicateKey,
                    &field.at.key("name"),
                    format!("`{}` is the name of two requests", case.name),
                    "rename one",
                );
            }
            requests.push(case);
        }
        let diagnostics = decoder.list(&object, "diagnostics").map(|fields| {
            fields
                .iter()
                .filter_map(|field| ExpectedDiagnostic::decode(decoder, field))
                .collect()
        });
        let reasons = |decoder: &mut Decoder, key: &str| -> Vec<(String, String)> {
            let pairs = decoder.string_map(&object, key).unwrap_or_default();
            pairs
                .into_iter()
                .map(|(driver, reason)| (driver, reason.text))
                .collect()
        };
        let token_settings = TokenSettings {
            accepts_published_keys: true,
            ..TokenSettings::default()
        };
        Some(Self {
            description,
            policies,
            mesh: config::mesh(decoder, &object),
            workload: config::workload(decoder, &object).unwrap_or_default(),
            proxy: proxy(decoder, &object),
            gateway: gateway(decoder, &object),
            key_sets: key_sets(decoder, &object),
            tokens: config::tokens(decoder, &object, token_settings),
            enforcer: enforcer(decoder, &object),
            metadata: object.field("metadata").map(|field| field.node.clone()),
            now,
            requests,
            diagnostics,
            differs: reasons(decoder, "differs"),
            skip: reasons(decoder, "skip"),
        })
    }
}

fn case(decoder: &mut Decoder, field: &Field<'_>) -> Option<Case> {
    let object = decoder.object(field)?;
    decoder.known_fields(&object, &["name", "request", "expect"]);
    let name = decoder.required_string(&object, "name")?.text;
    let request = match object.field("request") {
        Some(field) => RequestSpec::decode(decoder, &field)?,
        None => RequestSpec::default(),
    };
    let Some(expect) = object.field("expect") else {
        decoder.missing(&object, "expect");
        return None;
    };
    let expect = Expectation::decode(decoder, &expect)?;
    Some(Case {
        name,
        request,
        expect,
    })
}

fn proxy(decoder: &mut Decoder, object: &crate::resource::Object<'_>) -> Proxy {
    let Some(object) = decoder.inner(object, "proxy") else {
        return Proxy::default();
    };
    decoder.known_fields(
        &object,
        &["kind", "numTrustedProxies", "pathNormalization", "tcp"],
    );
    let kind = decoder
        .string(&object, "kind")
        .map_or_else(|| "sidecar".into(), |text| text.text);
    let trusted = decoder
        .number(&object, "numTrustedProxies")
        .unwrap_or_default();
    let mut proxy = Proxy::default();
    match kind.as_str() {
        "sidecar" => {}
        "gateway" => {
            proxy.kind = ProxyKind::Gateway {
                trusted_proxies: whole(trusted).unwrap_or_default(),
            };
        }
        _ => decoder.refuse(
            Code::UnknownEnumValue,
            &object.at().key("kind"),
            &kind,
            "a kind of proxy",
            "use sidecar or gateway",
        ),
    }
    proxy.is_tcp = decoder.boolean(&object, "tcp").unwrap_or_default();
    if let Some(text) = decoder.string(&object, "pathNormalization") {
        match PathNormalization::parse(&text.text) {
            Some(mode) => proxy.path_normalization = mode,
            None => decoder.refuse(
                Code::UnknownEnumValue,
                &text.at,
                &text.text,
                "a path normalization",
                "use NONE, BASE, MERGE_SLASHES or DECODE_AND_MERGE_SLASHES",
            ),
        }
    }
    proxy
}

fn enforcer(decoder: &mut Decoder, object: &crate::resource::Object<'_>) -> Enforcer {
    let Some(text) = decoder.string(object, "enforcedBy") else {
        return Enforcer::Core;
    };
    match text.text.as_str() {
        "portcullis" => Enforcer::Core,
        "istio" => Enforcer::Istio,
        other => {
            let help = "use portcullis or istio";
            decoder.refuse(
                Code::UnknownEnumValue,
                &text.at,
                &other,
                "who enforces policies",
                help,
            );
            Enforcer::Core
        }
    }
}

fn gateway(decoder: &mut Decoder, object: &crate::resource::Object<'_>) -> Option<GatewaySpec> {
    let object = decoder.inner(object, "gateway")?;
    decoder.known_fields(&object, &["principal", "virtualService", "policies"]);
    Some(GatewaySpec {
        principal: decoder
            .plain_string(&object, "principal")
            .unwrap_or_else(|| gateway::PRINCIPAL.into()),
        virtual_service: decoder.plain_string(&object, "virtualService"),
        policies: decoder.plain_string(&object, "policies"),
    })
}

fn key_sets(decoder: &mut Decoder, object: &crate::resource::Object<'_>) -> Vec<KeySetSpec> {
    let mut specs = Vec::new();
    for field in decoder.list(object, "jwks").unwrap_or_default() {
        let Some(object) = decoder.object(&field) else {
            continue;
        };
        decoder.known_fields(&object, &["uri", "keys", "jwks", "unreachable"]);
        let Some(uri) = decoder.required_string(&object, "uri") else {
            continue;
        };
        specs.push(KeySetSpec {
            uri: uri.text,
            keys: decoder.plain_strings(&object, "keys"),
            jwks: decoder.plain_string(&object, "jwks"),
            unreachable: decoder.boolean(&object, "unreachable").unwrap_or_default(),
        });
    }
    specs
}

/// A number without a fraction, from 0 to 65535.
fn whole<T: From<u16>>(number: f64) -> Option<T> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is checked"
    )]
    let whole =
        (number.fract() == 0.0 && (0.0..65536.0).contains(&number)).then_some(number as u16);
    whole.map(T::from)
}
