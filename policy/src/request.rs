//! A request as a filter sees it: borrowed bytes and parsed values, never a host's handles.

use std::net::IpAddr;

use crate::authenticate::TokenMode;
use crate::certificate::Identity;
use crate::source::{Node, Value};

/// An attribute that a host may fail to read. What cannot be read never allows: a condition on it fails in
/// an ALLOW rule and holds in a DENY rule, negated or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute<T> {
    /// The host answered.
    Known(T),
    /// The host cannot tell.
    Unreadable,
}

impl<T> Attribute<T> {
    /// The attribute converted, where it is known.
    pub fn map<U>(self, convert: impl FnOnce(T) -> U) -> Attribute<U> {
        match self {
            Self::Known(value) => Attribute::Known(convert(value)),
            Self::Unreadable => Attribute::Unreadable,
        }
    }

    /// The attribute, borrowed.
    pub fn as_ref(&self) -> Attribute<&T> {
        match self {
            Self::Known(value) => Attribute::Known(value),
            Self::Unreadable => Attribute::Unreadable,
        }
    }
}

/// One request. All text is bytes as the peer sent them, after the connection manager's normalisation
/// ([`crate::normalize`] for callers that are not behind Envoy).
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `:method`
    pub method: &'a [u8],
    /// `:scheme`; empty if unknown.
    pub scheme: &'a [u8],
    /// `:authority`, port included; `None` if the request has none.
    pub authority: Option<&'a [u8]>,
    /// `:path`, query included.
    pub path: &'a [u8],
    /// The other headers in order, a repeated one as often as it was sent.
    ///
    // INVARIANT: names are lower case, and headers that Envoy keeps once are joined already.
    pub headers: &'a [(&'a [u8], &'a [u8])],
    /// The TCP peer, or what the PROXY protocol says it is (Istio's `source.ip`).
    pub source_ip: Attribute<IpAddr>,
    /// The client behind trusted hops (Istio's `remote.ip`).
    pub remote_ip: Attribute<IpAddr>,
    /// The address that was connected to (`destination.ip`).
    pub destination_ip: Attribute<IpAddr>,
    /// The port that was connected to (`destination.port`).
    pub destination_port: Attribute<u16>,
    /// The server name of the TLS handshake, lower case; empty without one (`connection.sni`).
    pub server_name: Attribute<&'a [u8]>,
    /// The names of a validated client certificate: URI SANs, then DNS SANs, then the subject in RFC 2253
    /// form. Empty without such a certificate.
    pub peer_names: Attribute<&'a [&'a [u8]]>,
    /// The validated client certificate of the connection, if there is one.
    pub certificate: Attribute<Option<&'a Identity>>,
    /// How the connection is secured.
    pub tls: Attribute<Tls>,
    /// What filters in front wrote into the stream's dynamic metadata (`experimental.envoy.filters.*`).
    pub metadata: Attribute<&'a Metadata>,
    /// Seconds since the epoch.
    pub now: u64,
}

/// How a connection is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Plain text.
    None,
    /// TLS, and the client showed no certificate.
    Server,
    /// TLS, and the client showed a certificate that the proxy trusts.
    Mutual,
}

/// Dynamic metadata: each filter's keys with their values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata(Vec<Entry>);

/// A value under a key of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    filter: String,
    key: String,
    value: MetadataValue,
}

/// A value as far as policies can ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataValue {
    /// A string.
    Text(String),
    /// The strings of a list.
    Texts(Vec<String>),
    /// Anything else, which never matches.
    Other,
}

impl Metadata {
    /// The value under a key of a filter.
    pub fn get(&self, filter: &str, key: &str) -> Option<&MetadataValue> {
        let mut entries = self.0.iter();
        entries
            .find(|entry| entry.filter == filter && entry.key == key)
            .map(|entry| &entry.value)
    }

    /// Adds the value under a key of a filter; a second one for the same key is not looked at.
    pub fn add(&mut self, filter: String, key: String, value: MetadataValue) {
        self.0.push(Entry { filter, key, value });
    }

    /// Reads `{filter: {key: value}}`; whatever else is there can not match.
    pub fn from_node(node: &Node) -> Self {
        let mut metadata = Self::default();
        let Value::Mapping(filters) = &node.value else {
            return metadata;
        };
        for filter in filters {
            let Value::Mapping(entries) = &filter.value.value else {
                continue;
            };
            for entry in entries {
                let value = match &entry.value.value {
                    Value::String(text) => MetadataValue::Text(text.clone()),
                    Value::Sequence(items) => MetadataValue::Texts(
                        items
                            .iter()
                            .filter_map(|item| item.as_str().map(str::to_owned))
                            .collect(),
                    ),
                    _ => MetadataValue::Other,
                };
                metadata.add(filter.key.clone(), entry.key.clone(), value);
            }
        }
        metadata
    }
}

/// Name and value.
type AddedHeader = (Box<[u8]>, Box<[u8]>);

/// Why a value is no header's (RFC 9110 section 5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unwritable {
    /// A control character in it could end it and start another.
    Control,
    /// A space or tab at an end is none of the value, so servers cut it off, and read another value than the one
    /// that policies were asked about. Envoy writes it, strict mode does not.
    Padded,
}

impl Unwritable {
    fn of(value: &[u8], mode: &TokenMode) -> Option<Self> {
        let is_forbidden = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
        let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        if value.iter().any(is_forbidden) {
            Some(Self::Control)
        } else if mode.is_strict() && (is_blank(value.first()) || is_blank(value.last())) {
            Some(Self::Padded)
        } else {
            None
        }
    }

    /// In words, after "a claim with".
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Control => "control characters",
            Self::Padded => "spaces around it",
        }
    }
}

/// Whether two headers are one to a server that hands them on as variables (RFC 3875 section 4.1.18): CGI and WSGI
/// write `_` for `-`, PHP for a dot too, and older servers for whatever is neither letter nor digit. Names are lower
/// case.
pub(crate) fn is_twin(name: &[u8], other: &[u8]) -> bool {
    let folded = |byte: &u8| {
        if byte.is_ascii_alphanumeric() {
            *byte
        } else {
            b'_'
        }
    };
    name.iter().map(folded).eq(other.iter().map(folded))
}

/// What authentication changes about a request before authorization and the upstream see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    removed: Vec<Box<[u8]>>,
    added: Vec<AddedHeader>,
    /// Headers of tokens and the path without them, which policies see where the upstream gets them as they came.
    hidden: Vec<Box<[u8]>>,
    path: Option<Vec<u8>>,
    keeps_tokens: bool,
}

impl HeaderEdits {
    /// Removes these headers, each named once. Where tokens are kept, taking one out is for the eyes of policies only.
    pub(crate) fn removing(names: &[Box<[u8]>], keeps_tokens: bool) -> Self {
        Self {
            removed: names.to_vec(),
            keeps_tokens,
            ..Self::default()
        }
    }

    /// Takes back what was added to a header; whether there was anything.
    pub(crate) fn take_back(&mut self, name: &[u8]) -> bool {
        let before = self.added.len();
        self.added.retain(|(added, _)| added.as_ref() != name);
        before != self.added.len()
    }

    /// Removes all values of a header, those added before included.
    pub(crate) fn remove(&mut self, name: &[u8]) {
        self.take_back(name);
        if !self.removed.iter().any(|removed| removed.as_ref() == name) {
            self.removed.push(name.into());
        }
    }

    /// Removes what a client sent under these names; they may repeat, and be as many as a request has headers.
    pub(crate) fn remove_sent<'n>(&mut self, names: impl Iterator<Item = &'n [u8]>) {
        let mut names: Vec<&[u8]> = names.collect();
        names.sort_unstable();
        names.dedup();
        names.retain(|name| !self.removed.iter().any(|removed| **removed == **name));
        self.removed.extend(names.into_iter().map(Into::into));
    }

    /// Adds one value to a header.
    pub(crate) fn add(&mut self, name: &[u8], value: &[u8]) {
        self.added.push((name.into(), value.into()));
    }

    /// Takes out the header of a token.
    pub(crate) fn strip(&mut self, name: &[u8]) {
        if self.keeps_tokens {
            self.take_back(name);
            self.hidden.push(name.into());
        } else {
            self.remove(name);
        }
    }

    /// Takes a token out of the path.
    pub(crate) fn strip_path(&mut self, path: Vec<u8>) {
        self.path = Some(path);
    }

    /// The headers to remove, before any is added.
    pub fn removed(&self) -> impl Iterator<Item = &[u8]> {
        self.removed.iter().map(AsRef::as_ref)
    }

    /// The values to add, in order.
    pub fn added(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.added
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// The first header that cannot go upstream, and why.
    pub(crate) fn unwritable(&self, mode: &TokenMode) -> Option<(&[u8], Unwritable)> {
        self.added()
            .find_map(|(name, value)| Some((name, Unwritable::of(value, mode)?)))
    }

    /// The new `:path`, if it changes.
    pub fn path(&self) -> Option<&[u8]> {
        self.path.as_deref().filter(|_| !self.keeps_tokens)
    }

    /// Whether policies do not see what the client sent under this name.
    fn hides(&self, name: &[u8]) -> bool {
        let mut gone = self.removed.iter().chain(&self.hidden);
        gone.any(|gone| gone.as_ref() == name)
    }
}

/// A request with the edits applied, without copying it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) request: &'a Request<'a>,
    pub(crate) edits: &'a HeaderEdits,
}

impl<'a> View<'a> {
    /// `:path`, query included.
    pub(crate) fn path(self) -> &'a [u8] {
        self.edits.path.as_deref().unwrap_or(self.request.path)
    }

    /// The path without query and fragment.
    pub(crate) fn path_only(self) -> &'a [u8] {
        let path = self.path();
        let end = path.iter().position(|byte| matches!(byte, b'?' | b'#'));
        end.and_then(|end| path.get(..end)).unwrap_or(path)
    }

    /// All values of a header; `name` is lower case. Pseudo headers are headers here, and `host` is
    /// `:authority`.
    pub(crate) fn values(self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let pseudo = match name {
            b":method" => Some(self.request.method),
            b":path" => Some(self.path()),
            b":scheme" => Some(self.request.scheme),
            b":authority" | b"host" => self.request.authority,
            _ => None,
        };
        let is_removed = self.edits.hides(name);
        let original = self
            .request
            .headers
            .iter()
            .filter(move |(key, _)| !is_removed && *key == name);
        let added = self
            .edits
            .added
            .iter()
            .filter(move |(key, _)| key.as_ref() == name);
        pseudo
            .into_iter()
            .chain(original.map(|(_, value)| *value))
            .chain(added.map(|(_, value)| value.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, envoy: Option<Unwritable>, strict: Option<Unwritable>) {
        let mode = TokenMode::Strict { token_type: None };
        assert_eq!(
            Unwritable::of(value.as_bytes(), &TokenMode::Envoy),
            envoy,
            "{value:?}"
        );
        assert_eq!(Unwritable::of(value.as_bytes(), &mode), strict, "{value:?}");
    }

    #[test]
    fn values_that_no_header_has() {
        use Unwritable::{Control, Padded};
        check("", None, None);
        check("a b\tc", None, None);
        check("Jürgen", None, None);
        for value in [" ", "\t", " a", "a ", "\ta", "a\t", " a\t"] {
            check(value, None, Some(Padded));
        }
        for value in ["a\n", "\0", "\r\n a", "\u{1b}", "\u{7f}", " a\u{1}"] {
            check(value, Some(Control), Some(Control));
        }
        // Unicode has more blanks, which HTTP does not cut off.
        check("\u{a0}a\u{3000}", None, None);
    }

    #[test]
    fn twins_differ_in_what_is_neither_letter_nor_digit() {
        for (name, other, expected) in [
            ("x-sub", "x-sub", true),
            ("x_sub", "x-sub", true),
            ("x.sub", "x-sub", true),
            ("x-a-b", "x_a_b", true),
            ("xsub", "x-sub", false),
            ("x--sub", "x-sub", false),
            ("x-sub", "x-su", false),
            ("x-sub1", "x-sub2", false),
        ] {
            assert_eq!(
                is_twin(name.as_bytes(), other.as_bytes()),
                expected,
                "{name} {other}"
            );
        }
    }
}
