//! The plugin's configuration (`pluginConfig` of a WasmPlugin): policies and what they need to be understood.

use std::collections::BTreeMap;

use crate::compile::{
    Enforcer, KeySetSource, Mesh, Setting, TokenMode, TokenSettings, Unselected, Workload,
};
use crate::crypto::CacheLimits;
use crate::diagnostic::{Code, Diagnostic, Location, Severity};
use crate::resource::{Decoder, Field, Object, Resources};
use crate::source::{Node, Value};

/// A configuration as it was read.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// `policies`
    pub resources: Resources,
    /// `mesh`
    pub mesh: Mesh,
    /// `workload`; `None` leaves it to the proxy's own metadata.
    pub workload: Option<Workload>,
    /// `jwks`
    pub key_sets: Vec<KeySetSource>,
    /// `jwks[].cluster` by `jwks[].uri`
    pub clusters: Clusters,
    /// `signatures`
    pub signatures: Signatures,
    /// `signatureCache`
    pub signature_cache: CacheLimits,
    /// `tokens`
    pub tokens: TokenSettings,
    /// `waiting`
    pub waiting: WaitingConfig,
    /// `unselectedPolicies`
    pub unselected: Unselected,
    /// `keepTokens`: whether tokens stay in the request, whatever the rules say, for the filters behind.
    pub keeps_tokens: bool,
}

/// What becomes of requests whose keys were not fetched yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingConfig {
    /// How many requests of a worker may wait for keys at a time; 0 lets none wait.
    pub requests: usize,
    /// Whether a request that got no keys is answered 503 with `retry-after`, in place of Envoy's 401.
    pub answers_unavailable: bool,
}

impl Default for WaitingConfig {
    fn default() -> Self {
        Self {
            requests: 4096,
            answers_unavailable: false,
        }
    }
}

/// Whose code verifies signatures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Signatures {
    /// Envoy's, where it offers some that tells right from wrong.
    #[default]
    Auto,
    /// The plugin's own.
    BuiltIn,
}

impl Config {
    /// Reads the whole configuration; its own errors are among those of the resources. A resource that names no
    /// namespace is in the workload's, which is in `namespace` where the configuration names none.
    pub fn read(node: &Node, namespace: Option<&str>) -> Self {
        let mut decoder = Decoder::new(Location::default());
        let mut config = Self::default();
        let root = decoder.root(node);
        if let Some(object) = decoder.object(&root) {
            decoder.known_fields(
                &object,
                &[
                    "policies",
                    "mesh",
                    "workload",
                    "jwks",
                    "signatures",
                    "signatureCache",
                    "tokens",
                    "waiting",
                    "unselectedPolicies",
                    "keepTokens",
                    "extensionProviders",
                ],
            );
            let policies = decoder.list(&object, "policies").unwrap_or_default();
            if object.field("policies").is_none() {
                decoder.missing(&object, "policies");
            }
            config.workload = workload(&mut decoder, &object);
            let own = config.workload.as_ref().map(|own| own.namespace.as_str());
            let policies = policies.into_iter().map(|field| (field.at, field.node));
            config.resources = Resources::read_list(policies, own.or(namespace));
            config.mesh = mesh(&mut decoder, &object);
            config.key_sets = key_sets(&mut decoder, &object, &mut config.clusters);
            config.signatures = signatures(&mut decoder, &object);
            config.signature_cache = signature_cache(&mut decoder, &object);
            config.tokens = tokens(&mut decoder, &object, TokenSettings::default());
            config.waiting = waiting(&mut decoder, &object);
            config.keeps_tokens = decoder.boolean(&object, "keepTokens").unwrap_or_default();
            config.unselected = one_of(
                &mut decoder,
                &object,
                "unselectedPolicies",
                "what to do about policies of other workloads",
                [
                    ("refuse", Unselected::Refuse),
                    ("ignore", Unselected::Ignore),
                ],
            );
            if let Some(field) = object.field("extensionProviders")
                && !matches!(&field.node.value, Value::Sequence(items) if items.is_empty())
            {
                decoder.error(
                    Code::NotEnforced,
                    &field.at,
                    "external authorizers are not enforced yet",
                    "remove `extensionProviders`",
                );
            }
        }
        let mut diagnostics = decoder.into_diagnostics();
        diagnostics.append(&mut config.resources.diagnostics);
        config.resources.diagnostics = diagnostics;
        config
    }

    /// The configuration of a text that is not even JSON.
    pub fn not_json(message: String) -> Self {
        let diagnostic = Diagnostic {
            code: Code::Syntax,
            severity: Severity::Error,
            message,
            help: Some("pluginConfig is an object with the key `policies`".into()),
            at: Location::default(),
            span: None,
        };
        Self {
            resources: Resources {
                items: Vec::new(),
                diagnostics: vec![diagnostic],
            },
            ..Self::default()
        }
    }

    /// What compiling needs, with `workload` where the configuration names none.
    pub fn setting(&self, workload: Workload) -> Setting {
        Setting {
            mesh: self.mesh.clone(),
            workload: self.workload.clone().unwrap_or(workload),
            key_sets: self.key_sets.clone(),
            is_tcp: false,
            fetches_keys: true,
            tokens: self.tokens.clone(),
            enforcer: Enforcer::Plugin,
            unselected: self.unselected,
            keeps_tokens: self.keeps_tokens,
        }
    }
}

/// `mesh`, each field with Istio's default.
pub(crate) fn mesh(decoder: &mut Decoder, object: &Object<'_>) -> Mesh {
    let mut mesh = Mesh::default();
    let Some(object) = decoder.inner(object, "mesh") else {
        return mesh;
    };
    decoder.known_fields(
        &object,
        &[
            "rootNamespace",
            "trustDomain",
            "trustDomainAliases",
            "validatingWebhook",
        ],
    );
    if let Some(text) = decoder.filled_string(&object, "rootNamespace") {
        mesh.root_namespace = text.text;
    }
    if let Some(text) = decoder.filled_string(&object, "trustDomain") {
        mesh.trust_domain = text.text;
    }
    if let Some(is_there) = decoder.boolean(&object, "validatingWebhook") {
        mesh.validating_webhook = is_there;
    }
    mesh.trust_domain_aliases = decoder.plain_strings(&object, "trustDomainAliases");
    mesh
}

/// `workload`; `None` if it is absent.
pub(crate) fn workload(decoder: &mut Decoder, object: &Object<'_>) -> Option<Workload> {
    let object = decoder.inner(object, "workload")?;
    decoder.known_fields(&object, &["namespace", "labels", "gateway"]);
    if object.field("namespace").is_none() {
        decoder.missing(&object, "namespace");
    }
    let namespace = decoder.filled_string(&object, "namespace")?.text;
    let labels: BTreeMap<String, String> = decoder
        .string_map(&object, "labels")
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key, value.text))
        .collect();
    let is_gateway = decoder.boolean(&object, "gateway").unwrap_or_default();
    Some(Workload {
        namespace,
        labels,
        is_gateway,
    })
}

/// `tokens`: the mode alone, or an object with it. What is absent or refused is as in `settings`.
pub(crate) fn tokens(
    decoder: &mut Decoder,
    object: &Object<'_>,
    mut settings: TokenSettings,
) -> TokenSettings {
    let Some(field) = object.field("tokens") else {
        return settings;
    };
    let mode = if let Value::Mapping(_) = field.node.value {
        decoder
            .object(&field)
            .and_then(|object| Some((decoder.required_string(&object, "mode")?, Some(object))))
    } else {
        decoder.text(&field).map(|mode| (mode, None))
    };
    let Some((mode, object)) = mode else {
        return settings;
    };
    let own = match mode.text.as_str() {
        "envoy" => "removeTwins",
        "strict" => "typ",
        other => {
            decoder.refuse(
                Code::UnknownEnumValue,
                &mode.at,
                &other,
                "a way to read tokens",
                "use envoy or strict",
            );
            return settings;
        }
    };
    if let Some(object) = &object {
        decoder.known_fields(object, &["mode", own, "acceptPublishedKeys"]);
        settings.removes_twins = decoder
            .boolean(object, "removeTwins")
            .unwrap_or(settings.removes_twins);
        settings.accepts_published_keys = decoder
            .boolean(object, "acceptPublishedKeys")
            .unwrap_or(settings.accepts_published_keys);
    }
    if own == "typ" {
        let token_type = object.and_then(|object| decoder.filled_string(&object, "typ"));
        settings.mode = TokenMode::Strict {
            token_type: token_type.map(|typ| typ.text),
        };
    }
    settings
}

/// The value of a field that knows two words; the first one's if it is absent or neither.
fn one_of<T>(
    decoder: &mut Decoder,
    object: &Object<'_>,
    key: &str,
    what: &str,
    words: [(&str, T); 2],
) -> T {
    let [(first, usual), (second, other)] = words;
    match decoder.string(object, key) {
        Some(text) if text.text == second => return other,
        Some(text) if text.text != first => decoder.refuse(
            Code::UnknownEnumValue,
            &text.at,
            &text.text,
            what,
            &format!("use {first} or {second}"),
        ),
        _ => {}
    }
    usual
}

fn signatures(decoder: &mut Decoder, object: &Object<'_>) -> Signatures {
    one_of(
        decoder,
        object,
        "signatures",
        "a way to verify signatures",
        [("auto", Signatures::Auto), ("builtIn", Signatures::BuiltIn)],
    )
}

fn waiting(decoder: &mut Decoder, object: &Object<'_>) -> WaitingConfig {
    let mut waiting = WaitingConfig::default();
    let Some(object) = decoder.inner(object, "waiting") else {
        return waiting;
    };
    decoder.known_fields(&object, &["requests", "withoutKeys"]);
    if let Some(number) = whole_number(decoder, &object, "requests", 65_536.0, "0 lets none wait") {
        waiting.requests = number;
    }
    waiting.answers_unavailable = one_of(
        decoder,
        &object,
        "withoutKeys",
        "an answer to requests whose keys did not come",
        [("unauthorized", false), ("unavailable", true)],
    );
    waiting
}

/// A whole number from 0 to `most`; `None` if it is absent or refused.
fn whole_number(
    decoder: &mut Decoder,
    object: &Object<'_>,
    key: &str,
    most: f64,
    help: &str,
) -> Option<usize> {
    let number = decoder.number(object, key)?;
    if number.fract() == 0.0 && (0.0..=most).contains(&number) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the range is checked"
        )]
        return Some(number as usize);
    }
    decoder.error(
        Code::InvalidValue,
        &object.at().key(key),
        format!("`{number}` is not a whole number from 0 to {most}"),
        help,
    );
    None
}

fn signature_cache(decoder: &mut Decoder, object: &Object<'_>) -> CacheLimits {
    let mut limits = CacheLimits::default();
    let Some(object) = decoder.inner(object, "signatureCache") else {
        return limits;
    };
    decoder.known_fields(&object, &["entries", "bytes"]);
    for (key, limit, most) in [
        ("entries", &mut limits.entries, 100_000.0),
        ("bytes", &mut limits.bytes, 64.0 * 1024.0 * 1024.0),
    ] {
        let help = "0 entries turn the cache off";
        if let Some(number) = whole_number(decoder, &object, key, most, help) {
            *limit = number;
        }
    }
    limits
}

/// The cluster of each URI that has one of its own.
pub type Clusters = Vec<(String, String)>;

fn key_sets(
    decoder: &mut Decoder,
    object: &Object<'_>,
    clusters: &mut Clusters,
) -> Vec<KeySetSource> {
    let fields = decoder.list(object, "jwks").unwrap_or_default();
    let mut sources: Vec<KeySetSource> = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    for field in fields {
        let uri = field.node.get("uri").and_then(Node::as_str);
        if let Some(uri) = uri {
            if seen.iter().any(|earlier| earlier == uri) {
                decoder.error(
                    Code::DuplicateKey,
                    &field.at.key("uri"),
                    format!("`{uri}` has a key set already"),
                    "keep one entry for each uri",
                );
            }
            seen.push(uri.to_owned());
        }
        sources.extend(key_set(decoder, &field, clusters));
    }
    sources
}

/// A key set as text, or the cluster through which its `uri` is asked.
fn key_set(
    decoder: &mut Decoder,
    field: &Field<'_>,
    clusters: &mut Clusters,
) -> Option<KeySetSource> {
    let object = decoder.object(field)?;
    decoder.known_fields(&object, &["uri", "jwks", "cluster"]);
    let uri = decoder.required_string(&object, "uri")?.text;
    let cluster = decoder.filled_string(&object, "cluster");
    let Some(jwks) = decoder.string(&object, "jwks") else {
        match cluster {
            Some(cluster) => clusters.push((uri, cluster.text)),
            None => decoder.missing(&object, "jwks"),
        }
        return None;
    };
    if let Some(cluster) = cluster {
        decoder.error(
            Code::ConflictingFields,
            &cluster.at,
            "`jwks` and `cluster` exclude each other",
            "keep `jwks` to give the key set, `cluster` to have it fetched",
        );
    }
    Some(KeySetSource {
        uri,
        jwks: jwks.text,
        at: Location {
            path: field.at.clone(),
            ..Location::default()
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::from_json;

    #[track_caller]
    fn check(json: &str, expected: &[&str]) {
        let config = Config::read(&from_json(json.as_bytes()).unwrap(), None);
        let found: Vec<String> = config
            .resources
            .diagnostics
            .iter()
            .map(ToString::to_string)
            .collect();
        let heads: Vec<&str> = found
            .iter()
            .map(|line| line.split(';').next().unwrap())
            .collect();
        assert_eq!(heads, expected);
    }

    #[test]
    fn a_plugin_is_told_what_it_cannot_see() {
        let json = r#"{"policies":[{"apiVersion":"security.istio.io/v1","kind":"AuthorizationPolicy","metadata":{"name":"x"},"spec":{"rules":[{"from":[{"source":{"notIpBlocks":["10.0.0.0/8"]}}]}]}}]}"#;
        let config = Config::read(&from_json(json.as_bytes()).unwrap(), None);
        let compiled = crate::compile(&config.resources, &config.setting(Workload::default()));
        let found: Vec<String> = compiled
            .diagnostics
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(compiled.set.is_some());
        let place =
            "AuthorizationPolicy default/x policies[0].spec.rules[0].from[0].source.notIpBlocks";
        assert!(
            found[0].starts_with(&format!("warning[needs-companion]: {place}: ")),
            "{found:?}"
        );
    }

    #[test]
    fn a_note_says_that_requests_without_a_token_pass() {
        let authentication = r#"{"apiVersion":"security.istio.io/v1","kind":"RequestAuthentication","metadata":{"name":"x"},"spec":{"jwtRules":[{"issuer":"i","jwks":"{\"keys\":[{\"kty\":\"oct\",\"k\":\"bm90IGEgc2VjcmV0LCBidXQgbG9uZyBlbm91Z2ggZm9yIEhTMjU2\"}]}"}]}}"#;
        let policy = r#"{"apiVersion":"security.istio.io/v1","kind":"AuthorizationPolicy","metadata":{"name":"x"},"spec":{"rules":[{"from":[{"source":{"requestPrincipals":["*"]}}]}]}}"#;
        let codes = |policies: &str| -> Vec<&str> {
            let config = Config::read(
                &from_json(format!("{{\"policies\":[{policies}]}}").as_bytes()).unwrap(),
                None,
            );
            let compiled = crate::compile(&config.resources, &config.setting(Workload::default()));
            compiled
                .diagnostics
                .iter()
                .map(|diagnostic| diagnostic.code.as_str())
                .collect()
        };
        assert_eq!(codes(authentication), ["tokenless-requests-pass"]);
        assert_eq!(
            codes(&format!("{authentication},{policy}")),
            ["preflight-is-denied"]
        );
        assert_eq!(codes(policy), ["no-authentication"]);
    }

    #[test]
    fn tokens_are_read_in_one_of_two_ways() {
        let mode = |tokens: &str| {
            let json = format!(r#"{{"policies":[],"tokens":{tokens}}}"#);
            let config = Config::read(&from_json(json.as_bytes()).unwrap(), None);
            assert!(config.resources.diagnostics.is_empty(), "{tokens}");
            config.setting(Workload::default()).tokens
        };
        let strict = |token_type: Option<&str>| {
            TokenSettings::from(TokenMode::Strict {
                token_type: token_type.map(str::to_owned),
            })
        };
        for tokens in ["null", r#""envoy""#, r#"{"mode":"envoy"}"#] {
            assert_eq!(mode(tokens), TokenMode::Envoy.into(), "{tokens}");
        }
        assert_eq!(mode(r#""strict""#), strict(None));
        assert_eq!(mode(r#"{"mode":"strict"}"#), strict(None));
        assert_eq!(
            mode(r#"{"mode":"strict","typ":"at+jwt"}"#),
            strict(Some("at+jwt"))
        );
        let settings = mode(r#"{"mode":"envoy","removeTwins":true}"#);
        assert!(settings.removes_twins() && !settings.is_strict());
        assert!(strict(None).removes_twins());
        let settings = mode(r#"{"mode":"strict","acceptPublishedKeys":true}"#);
        assert!(settings.key_rules().published && settings.is_strict());
        assert!(!strict(None).key_rules().published);
        for (tokens, expected) in [
            (
                r#"{"mode":"strict","removeTwins":true}"#,
                "error[unknown-field]: tokens.removeTwins: `removeTwins` is not a field here",
            ),
            (
                r#""Strict""#,
                "error[unknown-enum-value]: tokens: `Strict` is not a way to read tokens",
            ),
            (
                r#"{"mode":"lax"}"#,
                "error[unknown-enum-value]: tokens.mode: `lax` is not a way to read tokens",
            ),
            (
                "true",
                "error[wrong-type]: tokens: expected a string, found a boolean",
            ),
            (
                r#"{"typ":"at+jwt"}"#,
                "error[missing-field]: tokens.mode: `mode` is missing",
            ),
            (
                r#"{"mode":"envoy","typ":"at+jwt"}"#,
                "error[unknown-field]: tokens.typ: `typ` is not a field here",
            ),
            (
                r#"{"mode":"strict","type":"at+jwt"}"#,
                "error[unknown-field]: tokens.type: `type` is not a field here",
            ),
            (
                r#"{"mode":"strict","typ":""}"#,
                "error[empty-value]: tokens.typ: `typ` is empty",
            ),
        ] {
            check(
                &format!(r#"{{"policies":[],"tokens":{tokens}}}"#),
                &[expected],
            );
        }
    }

    #[test]
    fn errors_name_their_place() {
        check(
            "[]",
            &["error[wrong-type]: expected an object, found a list"],
        );
        check(
            "{}",
            &["error[missing-field]: policies: `policies` is missing"],
        );
        check(
            r#"{"policies":[],"polices":1}"#,
            &["error[unknown-field]: polices: `polices` is not a field here"],
        );
        check(
            r#"{"policies":[{"apiVersion":"security.istio.io/v1","kind":"AuthorizationPolicy","metadata":{"name":"x"},"spec":{"rules":[{"to":[{"operation":{"ports":[80]}}]}]}}]}"#,
            &[
                "error[wrong-type]: AuthorizationPolicy default/x policies[0].spec.rules[0].to[0].operation.ports[0]: expected a string, found a number",
            ],
        );
        check(
            r#"{"policies":[],"jwks":[{"uri":"u","cluster":"c","jwks":"x"},{"uri":"u","jwks":"x"}]}"#,
            &[
                "error[conflicting-fields]: jwks[0].cluster: `jwks` and `cluster` exclude each other",
                "error[duplicate-key]: jwks[1].uri: `u` has a key set already",
            ],
        );
        check(
            r#"{"policies":[],"jwks":[{"uri":"u","cluster":"c"},{"uri":"u","cluster":"d"}]}"#,
            &["error[duplicate-key]: jwks[1].uri: `u` has a key set already"],
        );
    }
}
