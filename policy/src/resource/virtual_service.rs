//! `networking.istio.io` `VirtualService` (istio/api `networking/v1/virtual_service.proto`): what a gateway does to
//! the headers of a request. It takes no part in decisions, so it is read by itself.

use super::decode::{Decoder, Field, Object};
use super::metadata::{Metadata, spec};
use crate::diagnostic::{Code, ResourceId};
use crate::source::{Node, Value};

/// Which requests of a gateway go on, and with which headers.
#[derive(Debug, Clone)]
pub struct VirtualService {
    /// Name and place.
    pub metadata: Metadata,
    /// Exact, `*.suffix` or `*`.
    pub hosts: Vec<String>,
    /// `http`, in order: the first that matches.
    pub http: Vec<HttpRoute>,
}

/// An `http` entry.
#[derive(Debug, Clone, Default)]
pub struct HttpRoute {
    /// One of them is enough; none matches every request.
    pub matches: Vec<HttpMatch>,
    /// `headers.request.remove`, of the route and then of its only destination; lower case.
    pub remove: Vec<String>,
    /// `headers.request.set`, in the same order.
    pub set: Vec<(String, Vec<Part>)>,
    /// `headers.request.add`, in the same order.
    pub add: Vec<(String, Vec<Part>)>,
}

/// A `match` entry: all of its conditions hold.
#[derive(Debug, Clone, Default)]
pub struct HttpMatch {
    /// Of the path without its query.
    pub uri: Option<TextMatch>,
    /// Of the method.
    pub method: Option<TextMatch>,
    /// Of headers, by their names in lower case.
    pub headers: Vec<(String, TextMatch)>,
}

/// `StringMatch`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextMatch {
    /// Anything that is there.
    Present,
    /// The whole text.
    Exact(String),
    /// Its start.
    Prefix(String),
}

/// A part of a header's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// As it stands there.
    Text(String),
    /// What Envoy knows of the client's certificate; nothing without one.
    Peer(PeerField),
}

/// Envoy's command operators on the client's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerField {
    /// `%DOWNSTREAM_PEER_SUBJECT%`
    Subject,
    /// `%DOWNSTREAM_PEER_ISSUER%`
    Issuer,
    /// `%DOWNSTREAM_PEER_URI_SAN%`, joined with commas.
    Uri,
    /// `%DOWNSTREAM_PEER_DNS_SAN%`, joined with commas.
    Dns,
    /// `%DOWNSTREAM_PEER_SERIAL%`, in hexadecimal digits.
    Serial,
    /// `%DOWNSTREAM_PEER_FINGERPRINT_256%`, in hexadecimal digits.
    Fingerprint,
    /// `%DOWNSTREAM_PEER_CERT%`, PEM with the escapes of a URL.
    Certificate,
}

const OPERATORS: [(&str, PeerField); 7] = [
    ("DOWNSTREAM_PEER_SUBJECT", PeerField::Subject),
    ("DOWNSTREAM_PEER_ISSUER", PeerField::Issuer),
    ("DOWNSTREAM_PEER_URI_SAN", PeerField::Uri),
    ("DOWNSTREAM_PEER_DNS_SAN", PeerField::Dns),
    ("DOWNSTREAM_PEER_SERIAL", PeerField::Serial),
    ("DOWNSTREAM_PEER_FINGERPRINT_256", PeerField::Fingerprint),
    ("DOWNSTREAM_PEER_CERT", PeerField::Certificate),
];

const ROUTE: &[&str] = &[
    "name",
    "match",
    "route",
    "timeout",
    "retries",
    "mirror",
    "mirrors",
    "mirrorPercent",
    "mirrorPercentage",
    "corsPolicy",
    "headers",
];
/// Further ones, that answer, send elsewhere or change more than headers.
const ROUTE_NOT_FOLLOWED: &[&str] = &["redirect", "directResponse", "delegate", "rewrite", "fault"];
const MATCH: &[&str] = &["name", "statPrefix", "uri", "method", "headers"];
/// Further ones, that are not looked at.
const MATCH_NOT_FOLLOWED: &[&str] = &[
    "scheme",
    "authority",
    "port",
    "sourceLabels",
    "sourceNamespace",
    "gateways",
    "queryParams",
    "withoutHeaders",
    "ignoreUriCase",
];
/// What both regular expressions say of a path: it is one.
const ANY_PATH: [&str; 2] = [".*", "/.*"];

impl VirtualService {
    /// Reads a document of a text. `None` when it is of another kind, or not understood.
    pub fn read(decoder: &mut Decoder, node: &Node) -> Option<Self> {
        let root = decoder.root(node);
        let object = decoder.object(&root)?;
        let kind = decoder.required_string(&object, "kind")?;
        let api_version = decoder.required_string(&object, "apiVersion")?;
        let metadata = node.get("metadata");
        let name = |key: &str| metadata.and_then(|metadata| metadata.get(key)?.as_str());
        decoder.name_resource(ResourceId {
            kind: kind.text.clone(),
            namespace: name("namespace").unwrap_or("default").to_owned(),
            name: name("name").unwrap_or_default().to_owned(),
        });
        let version = api_version.text.strip_prefix("networking.istio.io/");
        if kind.text != "VirtualService" || !matches!(version, Some("v1" | "v1beta1" | "v1alpha3"))
        {
            decoder.error(
                Code::UnknownKind,
                &kind.at,
                format!(
                    "`{}` of `{}` is no VirtualService",
                    kind.text, api_version.text
                ),
                "write a VirtualService of networking.istio.io/v1",
            );
            return None;
        }
        let metadata = Metadata::decode(decoder, &object)?;
        let spec = spec(decoder, &object)?;
        decoder.known_fields(
            &spec,
            &["hosts", "gateways", "http", "tls", "tcp", "exportTo"],
        );
        let hosts = decoder.plain_strings(&spec, "hosts");
        if hosts.is_empty() {
            decoder.missing(&spec, "hosts");
        }
        let mut http = Vec::new();
        for field in decoder.list(&spec, "http").unwrap_or_default() {
            http.extend(HttpRoute::decode(decoder, &field));
        }
        Some(Self {
            metadata,
            hosts,
            http,
        })
    }

    /// Reads a text of one document.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    #[cfg(feature = "yaml")]
    pub fn read_text(text: &str) -> Result<Self, Vec<crate::diagnostic::Diagnostic>> {
        let (documents, error) = crate::source::from_yaml(text);
        let mut decoder = Decoder::new(crate::diagnostic::Location {
            document: Some(0),
            ..Default::default()
        });
        let read = match (documents.as_slice(), error) {
            (_, Some(error)) => return Err(vec![error.into()]),
            ([document], None) => Self::read(&mut decoder, document),
            _ => {
                decoder.error(
                    Code::Syntax,
                    &crate::source::FieldPath::root(),
                    "a gateway has one VirtualService here",
                    "write one document",
                );
                None
            }
        };
        let diagnostics = decoder.into_diagnostics();
        read.filter(|_| diagnostics.is_empty()).ok_or(diagnostics)
    }

    /// Where a request goes; `None` is nowhere. The authority may have a port, and the path its query.
    pub fn route(
        &self,
        authority: &[u8],
        method: &[u8],
        path: &[u8],
        headers: &[(Vec<u8>, Vec<u8>)],
    ) -> Option<&HttpRoute> {
        let host = without_port(authority);
        if !self.hosts.iter().any(|pattern| is_host(pattern, host)) {
            return None;
        }
        let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
        self.http.iter().find(|route| {
            route.matches.is_empty()
                || route
                    .matches
                    .iter()
                    .any(|one| one.holds(method, path, headers))
        })
    }
}

impl HttpMatch {
    fn holds(&self, method: &[u8], path: &[u8], headers: &[(Vec<u8>, Vec<u8>)]) -> bool {
        let fits = |wanted: &Option<TextMatch>, text: &[u8]| {
            wanted.as_ref().is_none_or(|wanted| wanted.fits(text))
        };
        // Envoy compares each line of a header by itself.
        let has = |(name, wanted): &(String, TextMatch)| {
            let mut lines = headers.iter().filter(|(known, _)| known == name.as_bytes());
            lines.any(|(_, value)| wanted.fits(value))
        };
        fits(&self.uri, path) && fits(&self.method, method) && self.headers.iter().all(has)
    }

    fn decode(decoder: &mut Decoder, field: &Field<'_>) -> Option<Self> {
        let object = decoder.object(field)?;
        decoder.known_fields(&object, &[MATCH, MATCH_NOT_FOLLOWED].concat());
        not_followed(decoder, &object, MATCH_NOT_FOLLOWED);
        let text = |decoder: &mut Decoder, key: &str| {
            let field = object.field(key)?;
            TextMatch::decode(decoder, &field, key == "uri")
        };
        let mut headers = Vec::new();
        if let Some(map) = decoder.inner(&object, "headers") {
            for (name, field) in map.fields() {
                let wanted = match field.node.value {
                    Value::Null => Some(TextMatch::Present),
                    _ => TextMatch::decode(decoder, &field, false),
                };
                headers.extend(wanted.map(|wanted| (name.to_ascii_lowercase(), wanted)));
            }
        }
        Some(Self {
            uri: text(decoder, "uri"),
            method: text(decoder, "method"),
            headers,
        })
    }
}

impl TextMatch {
    fn fits(&self, text: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(exact) => text == exact.as_bytes(),
            Self::Prefix(prefix) => text.starts_with(prefix.as_bytes()),
        }
    }

    fn decode(decoder: &mut Decoder, field: &Field<'_>, is_path: bool) -> Option<Self> {
        let object = decoder.object(field)?;
        decoder.known_fields(&object, &["exact", "prefix", "regex"]);
        if let Some(exact) = decoder.string(&object, "exact") {
            return Some(Self::Exact(exact.text));
        }
        if let Some(prefix) = decoder.string(&object, "prefix") {
            return Some(Self::Prefix(prefix.text));
        }
        let Some(regex) = decoder.string(&object, "regex") else {
            return Some(Self::Present);
        };
        if is_path && ANY_PATH.contains(&regex.text.as_str()) {
            return Some(Self::Present);
        }
        decoder.error(
            Code::NotEnforced,
            &regex.at,
            "regular expressions are not followed here",
            "use `exact` or `prefix`",
        );
        None
    }
}

impl HttpRoute {
    fn decode(decoder: &mut Decoder, field: &Field<'_>) -> Option<Self> {
        let object = decoder.object(field)?;
        decoder.known_fields(&object, &[ROUTE, ROUTE_NOT_FOLLOWED].concat());
        not_followed(decoder, &object, ROUTE_NOT_FOLLOWED);
        let mut route = Self::default();
        for field in decoder.list(&object, "match").unwrap_or_default() {
            route.matches.extend(HttpMatch::decode(decoder, &field));
        }
        route.read_headers(decoder, &object);
        let destinations = decoder.list(&object, "route").unwrap_or_default();
        for field in &destinations {
            let destination = decoder.object(field)?;
            decoder.known_fields(&destination, &["destination", "weight", "headers"]);
            if destinations.len() > 1 {
                not_followed(decoder, &destination, &["headers"]);
            } else {
                route.read_headers(decoder, &destination);
            }
        }
        Some(route)
    }

    fn read_headers(&mut self, decoder: &mut Decoder, object: &Object<'_>) {
        let Some(headers) = decoder.inner(object, "headers") else {
            return;
        };
        decoder.known_fields(&headers, &["request", "response"]);
        let Some(request) = decoder.inner(&headers, "request") else {
            return;
        };
        decoder.known_fields(&request, &["set", "add", "remove"]);
        for (key, list) in [("set", &mut self.set), ("add", &mut self.add)] {
            let mut pairs: Vec<(String, super::Text)> = Vec::new();
            for pair in decoder.string_map(&request, key).unwrap_or_default() {
                // istiod writes them in the order of their names.
                let place = pairs.partition_point(|(name, _)| *name < pair.0);
                pairs.insert(place, pair);
            }
            for (mut name, value) in pairs {
                name.make_ascii_lowercase();
                if name == "host" || name.starts_with(':') {
                    decoder.error(
                        Code::NotEnforced,
                        &value.at,
                        "a rewritten host is not followed here",
                        "remove it",
                    );
                }
                list.extend(parts(decoder, &value).map(|parts| (name, parts)));
            }
        }
        for name in decoder.plain_strings(&request, "remove") {
            self.remove.push(name.to_ascii_lowercase());
        }
    }
}

fn not_followed(decoder: &mut Decoder, object: &Object<'_>, keys: &[&str]) {
    for key in keys {
        if let Some(field) = object.field(key) {
            decoder.error(
                Code::NotEnforced,
                &field.at,
                format!("`{key}` is not followed here"),
                "remove it; leaving it out silently would show other requests than the gateway sends",
            );
        }
    }
}

/// A header's value, `%COMMAND%`s taken apart (Envoy's "command operators").
fn parts(decoder: &mut Decoder, value: &super::Text) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = value.text.as_str();
    while let Some((text, behind)) = rest.split_once('%') {
        if !text.is_empty() {
            parts.push(Part::Text(text.to_owned()));
        }
        let Some((command, behind)) = behind.split_once('%') else {
            decoder.error(
                Code::InvalidValue,
                &value.at,
                "a `%` begins a command operator that does not end",
                "close it with `%`, or write `%%` for the character",
            );
            return None;
        };
        rest = behind;
        if command.is_empty() {
            parts.push(Part::Text("%".into()));
            continue;
        }
        let Some((_, field)) = OPERATORS.iter().find(|(name, _)| *name == command) else {
            decoder.error(
                Code::NotEnforced,
                &value.at,
                format!("`%{command}%` is not followed here"),
                "only operators on the client's certificate are, such as %DOWNSTREAM_PEER_SUBJECT%",
            );
            return None;
        };
        parts.push(Part::Peer(*field));
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Some(parts)
}

/// The host of an authority: gateways ignore the port.
fn without_port(authority: &[u8]) -> &[u8] {
    let colon = authority.iter().rposition(|byte| *byte == b':');
    match colon.and_then(|colon| authority.split_at_checked(colon)) {
        Some((host, port))
            if port.iter().skip(1).all(u8::is_ascii_digit)
                && (!host.contains(&b':') || host.ends_with(b"]")) =>
        {
            host
        }
        _ => authority,
    }
}

fn is_host(pattern: &str, host: &[u8]) -> bool {
    match pattern.strip_prefix('*') {
        Some("") => true,
        Some(suffix) => host
            .len()
            .checked_sub(suffix.len())
            .filter(|start| *start > 0)
            .and_then(|start| host.get(start..))
            .is_some_and(|end| end.eq_ignore_ascii_case(suffix.as_bytes())),
        None => host.eq_ignore_ascii_case(pattern.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(spec: &str) -> String {
        format!(
            "apiVersion: networking.istio.io/v1alpha3\nkind: VirtualService\nmetadata: {{name: a, namespace: b}}\nspec: {spec}"
        )
    }

    #[track_caller]
    fn refuses(spec: &str, expected: &[&str]) {
        let found: Vec<String> = VirtualService::read_text(&with(spec))
            .err()
            .unwrap_or_default()
            .iter()
            .map(|diagnostic| format!("{} {}", diagnostic.code, diagnostic.at.path))
            .collect();
        assert_eq!(found, expected, "{spec}");
    }

    #[test]
    fn what_is_not_followed_is_said() {
        refuses(
            "{hosts: [a], gateways: [b], exportTo: ['*'], tls: [], tcp: []}",
            &[],
        );
        refuses("{}", &["missing-field spec.hosts"]);
        refuses("{hosts: [a], htp: []}", &["unknown-field spec.htp"]);
        refuses(
            "{hosts: [a], http: [{redirect: {uri: /x}}]}",
            &["not-enforced spec.http[0].redirect"],
        );
        refuses(
            "{hosts: [a], http: [{match: [{uri: {regex: '/a|b'}}]}]}",
            &["not-enforced spec.http[0].match[0].uri.regex"],
        );
        refuses(
            "{hosts: [a], http: [{match: [{uri: {regex: '/.*'}}]}]}",
            &[],
        );
        refuses(
            "{hosts: [a], http: [{match: [{port: 80}]}]}",
            &["not-enforced spec.http[0].match[0].port"],
        );
        refuses(
            "{hosts: [a], http: [{headers: {request: {set: {a: '%REQ(b)%', b: '%', c: '%%', host: d}}}}]}",
            &[
                "not-enforced spec.http[0].headers.request.set.a",
                "invalid-value spec.http[0].headers.request.set.b",
                "not-enforced spec.http[0].headers.request.set.host",
            ],
        );
        refuses(
            "{hosts: [a], http: [{route: [{destination: {host: x}, headers: {}}, {destination: {host: y}}]}]}",
            &["not-enforced spec.http[0].route[0].headers"],
        );
        let policy = with("{hosts: [a]}").replace("VirtualService", "Gateway");
        assert!(VirtualService::read_text(&policy).is_err());
    }

    #[test]
    fn a_value_is_text_and_operators() {
        let read = VirtualService::read_text(&with(
            "{hosts: [a], http: [{headers: {request: {set: {X: 'a%%b%DOWNSTREAM_PEER_SERIAL%c'}}}}]}",
        ))
        .unwrap();
        let text = |text: &str| Part::Text(text.into());
        let expected = vec![
            text("a"),
            text("%"),
            text("b"),
            Part::Peer(PeerField::Serial),
            text("c"),
        ];
        assert_eq!(read.http[0].set, [("x".to_owned(), expected)]);
    }

    #[test]
    fn hosts_are_exact_or_suffixes_and_ports_are_ignored() {
        for (pattern, host, holds) in [
            ("*", "a", true),
            ("a.b", "A.b:80", true),
            ("a.b", "a.b.", false),
            ("*.b", "a.b", true),
            ("*.b", ".b", false),
            ("*.b", "b", false),
            ("[::1]", "[::1]:80", true),
            ("a.b", "a.b:x", false),
        ] {
            assert_eq!(
                is_host(pattern, without_port(host.as_bytes())),
                holds,
                "{pattern} {host}"
            );
        }
    }
}
