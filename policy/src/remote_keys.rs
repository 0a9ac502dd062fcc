//! Key sets that are fetched: where they are. A host asks for them.

use crate::policy_set::PolicySet;
use crate::source::{Node, from_json};

/// Where a rule's key set is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyLocation {
    /// `jwksUri`
    Uri(String),
    /// The document by which an issuer tells its `jwks_uri` (`OpenID` Connect Discovery 1.0 section 4).
    Discovery(String),
}

/// What to ask whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The value of `:authority`.
    pub authority: String,
    /// The value of `:path`.
    pub path: String,
    /// The name that istiod gives the cluster of that host: `outbound|PORT||HOST`.
    pub cluster: String,
}

/// A larger answer is none.
pub const MAX_BODY: usize = 1024 * 1024;

impl KeyLocation {
    /// The URI that is asked.
    pub fn uri(&self) -> String {
        match self {
            Self::Uri(uri) => uri.clone(),
            Self::Discovery(issuer) => {
                let base = issuer.strip_suffix('/').unwrap_or(issuer);
                format!("{base}/.well-known/openid-configuration")
            }
        }
    }
}

/// The `jwks_uri` of the document that an issuer answered under `asked`; `None` if there is none that may be
/// followed: who asked over TLS gets no keys without it.
pub fn discovered(asked: &str, document: &[u8]) -> Option<String> {
    let node = from_json(document).ok()?;
    let uri = node.get("jwks_uri").and_then(Node::as_str)?;
    (uri.starts_with("https://") || !asked.starts_with("https://")).then(|| uri.to_owned())
}

impl Endpoint {
    /// Splits an http or https URI.
    pub fn parse(uri: &str) -> Option<Self> {
        let (scheme, rest) = uri.split_once("://")?;
        let usual = match scheme {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        let path = path.split('#').next().unwrap_or_default();
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, usual),
        };
        let is_plain = uri.bytes().all(|byte| byte.is_ascii_graphic());
        if host.is_empty() || authority.contains('@') || !is_plain {
            return None;
        }
        Some(Self {
            authority: authority.to_owned(),
            path: if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("/{path}")
            },
            cluster: format!("outbound|{port}||{host}"),
        })
    }
}

impl PolicySet {
    /// Whether no rule lacks its keys.
    pub fn has_all_keys(&self) -> bool {
        self.providers
            .iter()
            .all(|provider| provider.keys.is_some())
    }

    /// The key sets that have to be fetched, each once.
    pub fn key_locations(&self) -> Vec<KeyLocation> {
        let mut locations: Vec<KeyLocation> = Vec::new();
        for location in self
            .providers
            .iter()
            .filter_map(|one| one.location.as_ref())
        {
            if !locations.contains(location) {
                locations.push(location.clone());
            }
        }
        locations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(uri: &str, expected: Option<(&str, &str, &str)>) {
        let endpoint = Endpoint::parse(uri);
        let parts = endpoint.as_ref().map(|endpoint| {
            (
                endpoint.authority.as_str(),
                endpoint.path.as_str(),
                endpoint.cluster.as_str(),
            )
        });
        assert_eq!(parts, expected, "{uri}");
    }

    #[test]
    fn uris_are_split() {
        check(
            "https://idp.example/keys?a=b#c",
            Some(("idp.example", "/keys?a=b", "outbound|443||idp.example")),
        );
        check(
            "http://idp.example:8080",
            Some(("idp.example:8080", "/", "outbound|8080||idp.example")),
        );
        check(
            "https://[::1]/k",
            Some(("[::1]", "/k", "outbound|443||[::1]")),
        );
        check("ftp://a/", None);
        check("https:///keys", None);
        check("https://user@idp.example/", None);
        check("https://idp.example:x/", None);
        check("https://idp.example/a b", None);
        check("https://idp.example/\r\nx", None);
    }

    #[test]
    fn an_issuer_tells_by_discovery() {
        for issuer in ["https://idp.example", "https://idp.example/"] {
            assert_eq!(
                KeyLocation::Discovery(issuer.into()).uri(),
                "https://idp.example/.well-known/openid-configuration"
            );
        }
    }

    #[test]
    fn a_document_leads_to_keys_but_not_away_from_tls() {
        let document = |uri: &str| format!(r#"{{"issuer":"x","jwks_uri":"{uri}"}}"#).into_bytes();
        let (plain, secure) = ("http://idp.example/keys", "https://idp.example/keys");
        for (asked, uri, follows) in [
            (plain, plain, true),
            (plain, secure, true),
            (secure, secure, true),
            (secure, plain, false),
        ] {
            let found = discovered(asked, &document(uri));
            assert_eq!(found, follows.then(|| uri.to_owned()), "{asked} {uri}");
        }
        for document in [&b"{"[..], b"[]", b"{}", br#"{"jwks_uri":5}"#] {
            assert_eq!(discovered(plain, document), None);
        }
    }
}
