//! The shapes of the values that cross into JavaScript.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tsify::Tsify;

macro_rules! wire {
    ($($(#[$attribute:meta])* $name:ident [$($direction:ident),+] { $($(#[$field_attribute:meta])* $field:ident: $type:ty,)* })+) => {$(
        $(#[$attribute])*
        #[derive(Debug, Clone, Tsify, $($direction),+)]
        #[serde(rename_all = "camelCase")]
        #[tsify(hashmap_as_object)]
        pub struct $name { $($(#[$field_attribute])* pub(crate) $field: $type,)* }
    )+};
}

wire! {
    /// Policies and what they need to be understood.
    Setting [Deserialize] {
        /// Multi-document YAML, or JSON.
        policies: String,
        /// The mesh; absent fields have Istio's defaults.
        #[serde(default)]
        mesh: Option<Mesh>,
        /// The workload; absent is namespace `default` without labels.
        #[serde(default)]
        workload: Option<Workload>,
        /// What stands in front; absent is a sidecar.
        #[serde(default)]
        proxy: Option<Proxy>,
        /// The URI names of the certificate that the proxy shows; it is told in `x-forwarded-client-cert`.
        #[serde(default)]
        server_uri: Vec<String>,
        /// The ingress gateway to which requests go first; absent is none.
        #[serde(default)]
        gateway: Option<Gateway>,
        /// The key set behind each `jwksUri`.
        #[serde(default)]
        jwks: Vec<KeySetSource>,
        /// How strictly tokens and keys are read; absent is `envoy`.
        #[serde(default)]
        #[tsify(type = "\"envoy\" | \"strict\"")]
        tokens: Option<String>,
        /// What a token's `typ` must be in strict mode; absent does not look at it.
        #[serde(default)]
        token_type: Option<String>,
        /// Whether a client's headers are removed that some servers take for those of a token. Strict mode removes
        /// them in any case.
        #[serde(default)]
        #[tsify(optional)]
        remove_twins: bool,
        /// Whether keys are refused or warned of whose private half is published: the page's own are.
        #[serde(default)]
        #[tsify(optional)]
        doubt_published_keys: bool,
        /// Who enforces the policies; absent is `portcullis`.
        #[serde(default)]
        #[tsify(type = "\"portcullis\" | \"istio\"")]
        enforced_by: Option<String>,
    }

    /// What holds for the whole mesh.
    Mesh [Serialize, Deserialize] {
        /// Absent is `istio-system`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        root_namespace: Option<String>,
        /// Absent is `cluster.local`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trust_domain: Option<String>,
        /// Other names of the trust domain.
        #[serde(default)]
        trust_domain_aliases: Vec<String>,
        /// Whether istiod's validating webhook guards the cluster; absent is that it does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        validating_webhook: Option<bool>,
    }

    /// The workload whose requests are decided.
    Workload [Serialize, Deserialize] {
        /// Its namespace.
        namespace: String,
        /// Its labels.
        #[tsify(type = "Record<string, string>")]
        labels: BTreeMap<String, String>,
    }

    /// What stands in front of the workload.
    Proxy [Serialize, Deserialize] {
        /// Which.
        #[tsify(type = "\"sidecar\" | \"gateway\"")]
        kind: String,
        /// How many hops a gateway trusts; absent is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        num_trusted_proxies: Option<u16>,
        /// Istio's `pathNormalization`; absent is `BASE`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[tsify(type = "\"NONE\" | \"BASE\" | \"MERGE_SLASHES\" | \"DECODE_AND_MERGE_SLASHES\"")]
        path_normalization: Option<String>,
        /// Whether the port is not declared as HTTP.
        #[serde(default)]
        tcp: bool,
    }

    /// An ingress gateway.
    Gateway [Deserialize] {
        /// Its name in the mesh; absent is that of Istio's.
        #[serde(default)]
        principal: Option<String>,
        /// The certificate by which it calls workloads, PEM; absent makes one up.
        #[serde(default)]
        pem: Option<String>,
        /// A `VirtualService`; absent sends every request on as it is.
        #[serde(default)]
        virtual_service: Option<String>,
    }

    /// A key set.
    KeySetSource [Deserialize] {
        /// The `jwksUri`.
        uri: String,
        /// A JSON Web Key Set.
        jwks: String,
    }

    /// What came of reading policies.
    LoadReport [Serialize] {
        /// Whether requests are decided by this text from here on.
        ok: bool,
        /// Everything there is to say, in the order of the text.
        diagnostics: Vec<Diagnostic>,
        /// What there is to say about the gateway's `VirtualService`; absent is nothing.
        #[serde(skip_serializing_if = "Option::is_none")]
        gateway: Option<Vec<Diagnostic>>,
        /// The resources that take part in decisions.
        policies: Vec<PolicySummary>,
    }

    /// One resource.
    PolicySummary [Serialize] {
        /// Its kind.
        kind: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// `ALLOW`, `DENY` or `AUDIT`, if it is an `AuthorizationPolicy`.
        #[serde(skip_serializing_if = "Option::is_none")]
        action: Option<String>,
        /// How many rules it has.
        rules: usize,
        /// Whether it is for the workload.
        selected: bool,
        /// Where it stands.
        #[serde(skip_serializing_if = "Option::is_none")]
        range: Option<Range>,
    }

    /// One finding about a text.
    Diagnostic [Serialize] {
        /// Its stable name.
        code: String,
        /// How much it matters.
        #[tsify(type = "\"error\" | \"warning\" | \"info\"")]
        severity: String,
        /// What is wrong.
        message: String,
        /// What to do.
        #[serde(skip_serializing_if = "Option::is_none")]
        help: Option<String>,
        /// `Kind namespace/name`
        #[serde(skip_serializing_if = "Option::is_none")]
        resource: Option<String>,
        /// The field.
        path: String,
        /// Where.
        #[serde(skip_serializing_if = "Option::is_none")]
        range: Option<Range>,
    }

    /// A stretch of text; the end is exclusive.
    Range [Serialize] {
        /// The first character.
        start: Position,
        /// The character after the last.
        end: Position,
    }

    /// A place in a text, in UTF-16 code units.
    Position [Serialize] {
        /// From the start of the text, from 0.
        offset: usize,
        /// From 1.
        line: usize,
        /// From the start of the line, from 1.
        column: usize,
    }

    /// A request as a client sends it.
    RequestInput [Deserialize] {
        /// The method.
        method: String,
        /// Absent is `http`.
        #[serde(default)]
        scheme: Option<String>,
        /// The `:authority`.
        authority: String,
        /// The path with its query.
        path: String,
        /// Header lines in order.
        headers: Vec<Header>,
        /// The TCP peer; absent is 127.0.0.1.
        #[serde(default)]
        source_ip: Option<String>,
        /// The address that is connected to; absent is 127.0.0.1.
        #[serde(default)]
        destination_ip: Option<String>,
        /// The port that is connected to; absent is 80.
        #[serde(default)]
        destination_port: Option<u16>,
        /// The server name of the TLS handshake; absent is none.
        #[serde(default)]
        server_name: Option<String>,
        /// The client's certificate; absent is none.
        #[serde(default)]
        certificate: Option<Certificate>,
        /// What filters in front wrote into the dynamic metadata, as JSON: `{filter: {key: value}}`; absent is
        /// nothing.
        #[serde(default)]
        metadata: Option<String>,
        /// Seconds since the epoch.
        now: f64,
    }

    /// One header line.
    Header [Serialize, Deserialize] {
        /// The name.
        name: String,
        /// The value.
        value: String,
    }

    /// The names in a client certificate that the proxy has validated.
    Certificate [Serialize, Deserialize] {
        /// URI SANs.
        uri: Vec<String>,
        /// DNS SANs.
        dns: Vec<String>,
        /// The subject as Envoy prints it, in RFC 2253 form.
        subject: String,
        /// The certificate itself, PEM. Its names count then, and the proxy tells of it in
        /// `x-forwarded-client-cert`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pem: Option<String>,
    }

    /// What a text tells of client certificates.
    CertificateRead [Serialize] {
        /// That of the outermost proxy's client first.
        certificates: Vec<ToldCertificate>,
        /// Why the text tells nothing.
        #[serde(skip_serializing_if = "Option::is_none")]
        doubt: Option<String>,
    }

    /// One certificate, as far as it is told of.
    ToldCertificate [Serialize] {
        /// Its fields by the names that conditions give them, one entry for each value.
        fields: Vec<Header>,
        /// Why nothing is believed of it.
        #[serde(skip_serializing_if = "Option::is_none")]
        doubt: Option<String>,
    }

    /// A decision and how it came about.
    Report [Serialize] {
        /// What came of it: `refused` by the proxy before any filter, `cannot-decide` without policies.
        #[tsify(type = "\"allow\" | \"deny\" | \"unauthenticated\" | \"refused\" | \"cannot-decide\"")]
        outcome: String,
        /// 200 when the request goes on; 0 when nothing could be decided, or the connection is closed.
        status: u16,
        /// The reply's body.
        body: String,
        /// The reply's headers.
        headers: Vec<Header>,
        /// The stable name of the reason.
        reason: String,
        /// One plain sentence: what decided.
        summary: String,
        /// `namespace/name` of the policy that decided.
        #[serde(skip_serializing_if = "Option::is_none")]
        policy: Option<String>,
        /// The rule of that policy, from 0.
        #[serde(skip_serializing_if = "Option::is_none")]
        rule: Option<u32>,
        /// Envoy's response code details; empty when the request goes on.
        details: String,
        /// The lines that decided, or that came closest.
        #[serde(skip_serializing_if = "Option::is_none")]
        decided: Option<Range>,
        /// The request as the policies see it; absent when none was asked.
        #[serde(skip_serializing_if = "Option::is_none")]
        request: Option<SeenRequest>,
        /// What was looked at, in the order of the filters.
        steps: Vec<Step>,
        /// What changes before the upstream sees the request.
        upstream: HeaderEdits,
        /// Why nothing could be decided.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    }

    /// A request behind all proxies in front of the workload.
    SeenRequest [Serialize] {
        /// The path with its query.
        path: String,
        /// Header lines in order.
        headers: Vec<Header>,
    }

    /// One filter at work.
    Step [Serialize] {
        /// Which.
        #[tsify(type = "\"normalize\" | \"certificate\" | \"token\" | \"deny\" | \"allow\" | \"audit\"")]
        id: String,
        /// Its name.
        title: String,
        /// What came of it.
        #[tsify(type = "\"pass\" | \"fail\" | \"skip\"")]
        outcome: String,
        /// In words.
        text: String,
        /// The tokens or rules that were looked at.
        items: Vec<Item>,
    }

    /// One token or one rule.
    Item [Serialize] {
        /// Its name.
        title: String,
        /// Whether the token is good or the rule matches.
        #[tsify(type = "\"pass\" | \"fail\" | \"skip\"")]
        outcome: String,
        /// In words.
        text: String,
        /// Where it stands.
        #[serde(skip_serializing_if = "Option::is_none")]
        range: Option<Range>,
        /// The conditions of a rule.
        conditions: Vec<Condition>,
    }

    /// One condition of a rule.
    Condition [Serialize] {
        /// The policy's field, from the rule down.
        field: String,
        /// The attribute that it is about, in words.
        attribute: String,
        /// The values that would satisfy it.
        wanted: String,
        /// The value of the request.
        got: String,
        /// Whether it holds.
        holds: bool,
        /// Where it stands.
        #[serde(skip_serializing_if = "Option::is_none")]
        range: Option<Range>,
    }

    /// Changes of a request, removals first.
    HeaderEdits [Serialize] {
        /// The new path, if it changes.
        #[serde(skip_serializing_if = "Option::is_none")]
        path: Option<String>,
        /// Headers of the request that are removed.
        remove: Vec<String>,
        /// Headers that are added.
        add: Vec<Header>,
    }

    /// A scenario file.
    ScenarioFile [Serialize] {
        /// The behaviour in one sentence.
        description: String,
        /// YAML, or a path beside the file.
        policies: String,
        /// The mesh.
        mesh: Mesh,
        /// The workload.
        workload: Workload,
        /// What stands in front.
        proxy: Proxy,
        /// The ingress gateway to which requests go first; absent is none.
        #[serde(skip_serializing_if = "Option::is_none")]
        gateway: Option<ScenarioGateway>,
        /// The key set behind each `jwksUri`.
        jwks: Vec<ScenarioKeySet>,
        /// How strictly tokens and keys are read.
        #[tsify(type = "\"envoy\" | \"strict\"")]
        tokens: String,
        /// What a token's `typ` must be in strict mode; absent does not look at it.
        #[serde(skip_serializing_if = "Option::is_none")]
        token_type: Option<String>,
        /// Whether a client's headers are removed that some servers take for those of a token.
        remove_twins: bool,
        /// Whether keys are refused or warned of whose private half is published.
        doubt_published_keys: bool,
        /// Who enforces the policies.
        #[tsify(type = "\"portcullis\" | \"istio\"")]
        enforced_by: String,
        /// Seconds since the epoch; absent is the real time.
        #[serde(skip_serializing_if = "Option::is_none")]
        now: Option<u64>,
        /// The requests.
        requests: Vec<ScenarioRequest>,
    }

    /// An ingress gateway of a scenario.
    ScenarioGateway [Serialize] {
        /// Its name in the mesh.
        principal: String,
        /// YAML, or a path beside the file; absent sends every request on as it is.
        #[serde(skip_serializing_if = "Option::is_none")]
        virtual_service: Option<String>,
        /// Whether it enforces policies of its own, which the page does not.
        has_policies: bool,
    }

    /// A key set: demonstration keys by name, or a text.
    ScenarioKeySet [Serialize] {
        /// The `jwksUri`.
        uri: String,
        /// Names of demonstration keys.
        keys: Vec<String>,
        /// A JSON Web Key Set in place of `keys`.
        #[serde(skip_serializing_if = "Option::is_none")]
        jwks: Option<String>,
    }

    /// A request and what is to come of it.
    ScenarioRequest [Serialize] {
        /// Its name.
        name: String,
        /// What is sent.
        request: ScenarioInput,
        /// What is to come of it.
        expect: ScenarioExpectation,
    }

    /// A request of a scenario.
    ScenarioInput [Serialize] {
        /// The method.
        method: String,
        /// The `:authority`.
        host: String,
        /// The path with its query.
        path: String,
        /// Header lines in order.
        headers: Vec<Header>,
        /// Tokens to mint and place.
        tokens: Vec<TokenSpec>,
        /// The TCP peer.
        source_ip: String,
        /// The address that is connected to.
        destination_ip: String,
        /// The port that is connected to.
        destination_port: u16,
        /// The client's certificate.
        #[serde(skip_serializing_if = "Option::is_none")]
        certificate: Option<Certificate>,
        /// The client's certificate by its name, in place of `certificate`.
        #[serde(skip_serializing_if = "Option::is_none")]
        named_certificate: Option<String>,
        /// Seconds after the scenario's `now`.
        at: u64,
    }

    /// What is to come of a request.
    ScenarioExpectation [Serialize] {
        /// 200 when it reaches the upstream.
        status: u16,
    }

    /// A token to mint and place.
    TokenSpec [Serialize] {
        /// Where it goes.
        place: TokenPlace,
        /// The token as it is; absent mints one.
        #[serde(skip_serializing_if = "Option::is_none")]
        raw: Option<String>,
        /// The demonstration key.
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// `kid` of the header; absent leaves it out.
        #[serde(skip_serializing_if = "Option::is_none")]
        kid: Option<String>,
        /// The text of a JSON object.
        #[serde(skip_serializing_if = "Option::is_none")]
        claims: Option<String>,
    }
}

/// Where a token goes.
#[derive(Debug, Clone, Serialize, Tsify)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum TokenPlace {
    /// A header line: the prefix, then the token.
    Header {
        /// The header.
        name: String,
        /// What comes before the token.
        prefix: String,
    },
    /// A query parameter.
    Param {
        /// Its name.
        name: String,
    },
    /// A cookie.
    Cookie {
        /// Its name.
        name: String,
    },
}

/// What came of reading a scenario file.
#[derive(Debug, Clone, Serialize, Tsify)]
#[serde(untagged)]
#[tsify(hashmap_as_object)]
pub enum ScenarioRead {
    /// It is one.
    Scenario {
        /// Always true.
        #[tsify(type = "true")]
        ok: bool,
        /// The file as data.
        scenario: Box<ScenarioFile>,
    },
    /// It is none.
    Failure {
        /// Always false.
        #[tsify(type = "false")]
        ok: bool,
        /// What is wrong.
        diagnostics: Vec<Diagnostic>,
    },
}
