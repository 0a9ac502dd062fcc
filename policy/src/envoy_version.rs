//! What an older Envoy does not tell a plugin. Attributes of streams cannot be asked for when a configuration comes,
//! so Envoy's version has to say which there are.

use std::fmt;

use crate::diagnostic::{Code, Diagnostic, Location, Severity};
use crate::policy_set::{IdentitySource, Policy, PolicySet, Test};

/// Envoy's version, without what fixes only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EnvoyVersion {
    /// The first number.
    pub major: u64,
    /// The second.
    pub minor: u64,
}

/// The first Envoy that has `connection.peer_certificate`.
pub const PEER_CERTIFICATE: EnvoyVersion = EnvoyVersion {
    major: 1,
    minor: 38,
};

impl fmt::Display for EnvoyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl PolicySet {
    /// What the policies read and this Envoy does not tell. An error: they cannot be enforced.
    pub fn report_version(&self, version: EnvoyVersion) -> Vec<Diagnostic> {
        if version >= PEER_CERTIFICATE {
            return Vec::new();
        }
        let rules = self.certificates.iter().flat_map(|all| &all.rules);
        let (connection, told): (Vec<_>, Vec<_>) =
            rules.partition(|rule| matches!(rule.source, IdentitySource::Connection));
        let connection = connection.into_iter().map(|rule| Diagnostic {
            code: Code::NeedsNewerEnvoy,
            severity: Severity::Error,
            message: format!(
                "the certificate is the attribute `connection.peer_certificate`, which Envoy has from {PEER_CERTIFICATE} on, and this is {version}"
            ),
            help: Some("run a newer Envoy, or have a gateway tell of the certificate in a header".into()),
            at: Location {
                path: rule.at.path.key("from").key("connection"),
                ..rule.at.clone()
            },
            span: None,
        });
        let senders = told.into_iter();
        let senders = senders.filter(|rule| !rule.senders.principals.is_empty());
        let senders = senders.map(|rule| Location {
            path: rule.at.path.key("trustedSenders").key("principals"),
            ..rule.at.clone()
        });
        let names = self.policies.iter().flat_map(peer_name_clauses);
        let names = names.chain(senders).map(|at| Diagnostic {
            code: Code::NeedsNewerEnvoy,
            severity: Severity::Warning,
            message: format!(
                "all names of a certificate are in the attribute `connection.peer_certificate`, which Envoy has from {PEER_CERTIFICATE} on, and this is {version}: a client whose first URI is no SPIFFE ID has names that cannot be read, which never allows"
            ),
            help: Some("certificates of a mesh have one URI, a SPIFFE ID; for others run a newer Envoy".into()),
            at,
            span: None,
        });
        connection.chain(names).collect()
    }
}

/// The names of a certificate by the attributes that older Envoys have: its first URI, its first DNS name and its
/// subject. `None` if it may have further names that count. One whose URI is a SPIFFE ID has no other URI (SPIFFE
/// X509-SVID, section 2), and no DNS name is taken for an ID.
pub fn first_names(
    uri: Option<Vec<u8>>,
    dns: Option<Vec<u8>>,
    subject: Vec<u8>,
) -> Option<Vec<Vec<u8>>> {
    let is_all = match (&uri, &dns) {
        (Some(uri), _) => is_spiffe_id(uri),
        (None, dns) => dns.is_none(),
    };
    is_all.then(|| uri.into_iter().chain(dns).chain([subject]).collect())
}

/// A trust domain and a path (SPIFFE-ID, section 2), without judging more than what could hide another name.
fn is_spiffe_id(uri: &[u8]) -> bool {
    let Some(rest) = uri.strip_prefix(b"spiffe://") else {
        return false;
    };
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._/".contains(byte);
    rest.first().is_some_and(u8::is_ascii_alphanumeric) && rest.iter().all(is_part)
}

/// Where a policy asks for the peer's names.
fn peer_name_clauses(policy: &Policy) -> impl Iterator<Item = Location> {
    let clauses = policy.clauses();
    let clauses = clauses.filter(|clause| matches!(clause.test, Test::PeerName(_)));
    clauses.map(|clause| Location {
        path: clause.at.clone(),
        ..policy.at.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{Setting, compile};
    use crate::resource::Resources;

    #[test]
    fn first_names_are_all_names_of_a_workload_of_a_mesh() {
        let check = |uri: &str, dns: &str, expected: Option<&[&str]>| {
            let given = |text: &str| (!text.is_empty()).then(|| text.as_bytes().to_vec());
            let names = first_names(given(uri), given(dns), b"CN=a".to_vec());
            let expected = expected.map(|names| {
                let names = names.iter();
                names.map(|name| name.as_bytes().to_vec()).collect()
            });
            assert_eq!(names, expected, "{uri} {dns}");
        };
        let id = "spiffe://cluster.local/ns/a/sa/b";
        check(id, "", Some(&[id, "CN=a"]));
        check(id, "a.example", Some(&[id, "a.example", "CN=a"]));
        check("", "", Some(&["CN=a"]));
        check("", "a.example", None);
        check("https://a.example", "", None);
        check("spiffe://", "", None);
        check("spiffe:///a", "", None);
        check("spiffe://a/b,spiffe://c/d", "", None);
    }

    #[test]
    fn an_older_envoy_is_told_what_it_lacks() {
        let set = |spec: &str| {
            let text = format!("metadata: {{name: a, namespace: default}}\n{spec}");
            let compiled = compile(&Resources::read_text(&text).0, &Setting::default());
            compiled.set.unwrap()
        };
        let check = |spec: &str, expected: &[&str]| {
            let report = |minor| set(spec).report_version(EnvoyVersion { major: 1, minor });
            assert_eq!(report(38), []);
            let lines = report(37).into_iter();
            let lines = lines.map(|one| format!("{} {}", one.severity.as_str(), one.at.path));
            assert_eq!(lines.collect::<Vec<_>>(), expected);
        };
        let policy = "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy}";
        let policy = policy.trim_matches(['{', '}']).replace(", ", "\n");
        check(&format!("{policy}\nspec: {{rules: [{{}}]}}"), &[]);
        check(
            &format!("{policy}\nspec: {{rules: [{{from: [{{source: {{notNamespaces: [a]}}}}]}}]}}"),
            &["warning spec.rules[0].from[0].source.notNamespaces"],
        );
        let own = "apiVersion: portcullis.dev/v1alpha1\nkind: CertificateAuthentication";
        check(
            &format!("{own}\nspec: {{certificateRules: [{{from: {{connection: {{}}}}}}]}}"),
            &["error spec.certificateRules[0].from.connection"],
        );
        check(
            &format!(
                "{own}\nspec: {{certificateRules: [{{from: {{clientCert: {{}}}}, trustedSenders: {{principals: [a/b]}}}}]}}"
            ),
            &["warning spec.certificateRules[0].trustedSenders.principals"],
        );
    }
}
