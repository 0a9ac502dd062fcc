use std::fmt;

use super::string::{Case, StringMatcher};

/// What every SPIFFE ID starts with.
const SCHEME: &[u8] = b"spiffe://";

/// A condition on the names of a peer certificate: its URI SANs, its DNS SANs and its subject. It holds if
/// it holds for any of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerNameMatcher {
    /// `principals`: the value with `spiffe://` in front; `*` is any name that is not empty.
    Principal(StringMatcher),
    /// `principals: ["*x"]`: a SPIFFE ID that ends so.
    PrincipalSuffix(Box<[u8]>),
    /// `namespaces`: `/ns/NAMESPACE/` somewhere; every `*` of the value stands for any text, so these are
    /// the pieces between the stars.
    Namespace(Box<[Box<[u8]>]>),
    /// `serviceAccounts`: one service account of one namespace.
    ServiceAccount {
        /// `/ns/NAMESPACE/`
        namespace: Box<[u8]>,
        /// `sa/NAME`
        account: Box<[u8]>,
    },
    /// `trustDomains`: the part between `spiffe://` and the next slash.
    TrustDomain(StringMatcher),
}

impl PeerNameMatcher {
    /// Reads a value of `principals`, after trust domain aliases were applied.
    pub fn principal(value: &str) -> Self {
        let with_scheme = |rest: &str| [SCHEME, rest.as_bytes()].concat().into_boxed_slice();
        if value == "*" {
            Self::Principal(StringMatcher::NonEmpty)
        } else if let Some(suffix) = value.strip_prefix('*') {
            Self::PrincipalSuffix(suffix.as_bytes().into())
        } else if let Some(prefix) = value.strip_suffix('*') {
            Self::Principal(StringMatcher::Prefix(with_scheme(prefix)))
        } else {
            Self::Principal(StringMatcher::Exact(with_scheme(value)))
        }
    }

    /// Reads a value of `namespaces`.
    pub fn namespace(value: &str) -> Self {
        Self::Namespace(
            format!("/ns/{value}/")
                .split('*')
                .map(|piece| piece.as_bytes().into())
                .collect(),
        )
    }

    /// Reads a value of `serviceAccounts`: `name` in the policy's own namespace, or `namespace/name`.
    pub fn service_account(value: &str, policy_namespace: &str) -> Self {
        let (namespace, name) = value.split_once('/').unwrap_or((policy_namespace, value));
        Self::ServiceAccount {
            namespace: format!("/ns/{namespace}/").into_bytes().into(),
            account: format!("sa/{name}").into_bytes().into(),
        }
    }

    /// Reads a value of `trustDomains`.
    pub fn trust_domain(value: &str) -> Self {
        Self::TrustDomain(StringMatcher::new(value, StringMatcher::Present))
    }

    /// Whether one name of the certificate matches.
    pub fn matches(&self, name: &[u8]) -> bool {
        match self {
            Self::Principal(matcher) => matcher.matches(name, Case::Sensitive),
            Self::PrincipalSuffix(suffix) => name
                .strip_prefix(SCHEME)
                .and_then(|rest| rest.strip_suffix(suffix.as_ref()))
                .is_some_and(is_one_line),
            Self::Namespace(pieces) => is_one_line(name) && has_in_order(name, pieces),
            Self::ServiceAccount { namespace, account } => {
                has_service_account(name, namespace, account)
            }
            Self::TrustDomain(StringMatcher::Present) => name.starts_with(SCHEME),
            Self::TrustDomain(matcher) => name.strip_prefix(SCHEME).is_some_and(|rest| {
                let slash = rest.iter().position(|byte| *byte == b'/');
                slash
                    .and_then(|slash| rest.get(..slash))
                    .is_some_and(|domain| matcher.matches(domain, Case::Sensitive))
            }),
        }
    }
}

impl fmt::Display for PeerNameMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy;
        match self {
            Self::Principal(matcher) => {
                let value = matcher.to_string();
                f.write_str(value.strip_prefix("spiffe://").unwrap_or(&value))
            }
            Self::PrincipalSuffix(suffix) => write!(f, "*{}", text(suffix)),
            Self::Namespace(pieces) => {
                let value = text(&pieces.join(b"*".as_slice())).into_owned();
                let inner = value
                    .strip_prefix("/ns/")
                    .and_then(|value| value.strip_suffix('/'));
                f.write_str(inner.unwrap_or(&value))
            }
            Self::ServiceAccount { namespace, account } => {
                let namespace = namespace.strip_prefix(b"/ns/").unwrap_or(namespace);
                let account = account.strip_prefix(b"sa/").unwrap_or(account);
                write!(f, "{}{}", text(namespace), text(account))
            }
            Self::TrustDomain(matcher) => matcher.fmt(f),
        }
    }
}

/// The dot of Istio's expressions matches anything but a line feed.
fn is_one_line(text: &[u8]) -> bool {
    !text.contains(&b'\n')
}

fn find(text: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    let tail = text.get(from..)?;
    if needle.is_empty() {
        return Some(from);
    }
    tail.windows(needle.len())
        .position(|window| window == needle)
        .map(|at| from + at)
}

/// Whether the pieces occur in order. Nothing is anchored, so the leftmost place is always a good one.
fn has_in_order(text: &[u8], pieces: &[Box<[u8]>]) -> bool {
    let mut from = 0;
    for piece in pieces {
        match find(text, piece, from) {
            Some(at) => from = at + piece.len(),
            None => return false,
        }
    }
    true
}

/// `spiffe://.+/ns/NS/(.+/|)sa/SA(/.+)?` as a full match.
fn has_service_account(name: &[u8], namespace: &[u8], account: &[u8]) -> bool {
    let Some(rest) = name.strip_prefix(SCHEME).filter(|rest| is_one_line(rest)) else {
        return false;
    };
    let mut from = 1;
    while let Some(at) = find(rest, namespace, from) {
        let tail = rest.get(at + namespace.len()..).unwrap_or_default();
        let mut start = 0;
        while let Some(place) = find(tail, account, start) {
            let begins = place == 0 || (place >= 2 && tail.get(place - 1) == Some(&b'/'));
            let ends = match tail.get(place + account.len()..) {
                None | Some([]) => true,
                Some([first, more @ ..]) => *first == b'/' && !more.is_empty(),
            };
            if begins && ends {
                return true;
            }
            start = place + 1;
        }
        from = at + 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(matcher: &PeerNameMatcher, name: &str, expected: bool) {
        assert_eq!(
            matcher.matches(name.as_bytes()),
            expected,
            "{matcher} on {name}"
        );
    }

    #[test]
    fn principals_get_the_scheme() {
        let exact = PeerNameMatcher::principal("td/ns/foo/sa/a");
        check(&exact, "spiffe://td/ns/foo/sa/a", true);
        check(&exact, "td/ns/foo/sa/a", false);
        check(
            &PeerNameMatcher::principal("spiffe://td/x"),
            "spiffe://td/x",
            false,
        );
        check(&PeerNameMatcher::principal("*"), "CN=x", true);
        check(&PeerNameMatcher::principal("*"), "", false);
        check(
            &PeerNameMatcher::principal("*/sa/a"),
            "spiffe://td/ns/foo/sa/a",
            true,
        );
        check(&PeerNameMatcher::principal("*/sa/a"), "x/sa/a", false);
        check(
            &PeerNameMatcher::principal("td/*"),
            "spiffe://td/ns/foo",
            true,
        );
    }

    #[test]
    fn a_namespace_ends_with_a_slash() {
        let foo = PeerNameMatcher::namespace("foo");
        check(&foo, "spiffe://td/ns/foo/sa/a", true);
        check(&foo, "spiffe://td/ns/foo", false);
        check(&foo, "spiffe://td/ns/foobar/sa/a", false);
        check(&foo, "spiffe://td/ns/x/ns/foo/sa/a", true);
        check(
            &PeerNameMatcher::namespace("f*o"),
            "spiffe://td/ns/foo/sa/a",
            true,
        );
        check(
            &PeerNameMatcher::namespace("f*o"),
            "spiffe://td/ns/fxo/y/zo/sa/a",
            true,
        );
        check(
            &PeerNameMatcher::namespace("f*"),
            "spiffe://td/ns/f/sa",
            true,
        );
        check(&PeerNameMatcher::namespace("f*"), "spiffe://td/ns/f", false);
        check(
            &PeerNameMatcher::namespace("*r"),
            "spiffe://td/ns/bar/sa",
            true,
        );
        check(&PeerNameMatcher::namespace("*"), "spiffe://td/ns//", true);
        check(&PeerNameMatcher::namespace("*"), "CN=x", false);
    }

    #[test]
    fn service_accounts_are_exact() {
        let own = PeerNameMatcher::service_account("a", "foo");
        check(&own, "spiffe://td/ns/foo/sa/a", true);
        check(&own, "spiffe://td/ns/bar/sa/a", false);
        check(&own, "spiffe://td/ns/foo/sa/ab", false);
        check(&own, "spiffe://td/ns/foo/x/sa/a/y", true);
        check(&own, "spiffe://td/ns/foo/sa/a/", false);
        check(&own, "spiffe:///ns/foo/sa/a", false);
        check(
            &PeerNameMatcher::service_account("bar/a", "foo"),
            "spiffe://td/ns/bar/sa/a",
            true,
        );
    }

    #[test]
    fn a_trust_domain_is_the_first_part() {
        let exact = PeerNameMatcher::trust_domain("td");
        check(&exact, "spiffe://td/x", true);
        check(&exact, "spiffe://td2/x", false);
        check(&exact, "spiffe://td", false);
        check(&PeerNameMatcher::trust_domain("*"), "spiffe://", true);
        check(&PeerNameMatcher::trust_domain("*"), "CN=x", false);
        check(&PeerNameMatcher::trust_domain("t*"), "spiffe://td/x", true);
        check(&PeerNameMatcher::trust_domain("*d"), "spiffe://td/x", true);
        check(
            &PeerNameMatcher::trust_domain("*d"),
            "spiffe://te/d/x",
            false,
        );
    }
}
