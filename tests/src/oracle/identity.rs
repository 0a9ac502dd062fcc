//! Identities: trust domains and their aliases, peer principals, request principals.

use serde_json::{Value, json};

use super::Mesh;
use super::matcher::{Pattern, payload, quoted, regex};

/// The trust domain of the mesh and its aliases.
pub(super) struct TrustDomains(Vec<String>);

impl TrustDomains {
    pub(super) fn of(mesh: &Mesh) -> Self {
        let mut domains = vec![mesh.trust_domain.clone()];
        domains.extend(mesh.trust_domain_aliases.iter().cloned());
        Self(domains)
    }

    /// The values of `principals` that stand for `value` (2.5): one for each trust domain of the
    /// mesh if its own is one of them, or is the placeholder `cluster.local`; otherwise itself
    /// alone.
    pub(super) fn principals(&self, value: &str) -> Vec<String> {
        let Some((domain, rest)) = value
            .split_once('/')
            .filter(|_| value.split('/').count() == 5)
        else {
            return vec![value.to_owned()];
        };
        let ours = self
            .0
            .iter()
            .any(|ours| ours == domain || covers(ours, domain) || covers(domain, ours));
        if domain == "*" || !ours && domain != "cluster.local" {
            return vec![value.to_owned()];
        }
        let mut principals = Vec::new();
        for ours in &self.0 {
            let covered = domain
                .strip_prefix('*')
                .is_some_and(|suffix| ours.ends_with(suffix));
            let principal = if covered {
                value.to_owned()
            } else {
                format!("{ours}/{rest}")
            };
            if !principals.contains(&principal) {
                principals.push(principal);
            }
        }
        principals
    }

    /// The values of `trustDomains` that stand for `value`: all of the mesh's if it is one of them.
    pub(super) fn domains(&self, value: &str) -> Vec<String> {
        if self.0.iter().any(|ours| ours == value) {
            self.0.clone()
        } else {
            vec![value.to_owned()]
        }
    }
}

/// Whether `pattern`, if it has a star at its end or beginning, matches `text`.
fn covers(pattern: &str, text: &str) -> bool {
    pattern
        .strip_suffix('*')
        .is_some_and(|prefix| text.starts_with(prefix))
        || pattern
            .strip_prefix('*')
            .is_some_and(|suffix| text.ends_with(suffix))
}

fn authenticated(name: &Value) -> Value {
    json!({"authenticated": {"principal_name": name}})
}

/// A value of `principals`. It is compared with the certificate's name behind `spiffe://`, except a
/// lone `*`, which takes any name that is not empty.
pub(super) fn principal(value: &str) -> Value {
    authenticated(&match Pattern::of(value) {
        Pattern::Any => regex(".+"),
        Pattern::Suffix(rest) => regex(&format!("spiffe://.*{}", quoted(rest))),
        Pattern::Prefix(rest) => json!({"prefix": format!("spiffe://{rest}")}),
        Pattern::Exact(rest) => json!({"exact": format!("spiffe://{rest}")}),
    })
}

/// A value of `namespaces`; every star in it is a wildcard.
pub(super) fn namespace(value: &str) -> Value {
    authenticated(&regex(&format!(".*/ns/{}/.*", with_stars(value, ".*"))))
}

/// A value of `serviceAccounts`: `account`, which is one of the policy's own namespace, or
/// `namespace/account`.
pub(super) fn service_account(value: &str, policy_namespace: &str) -> Value {
    let (namespace, account) = value.split_once('/').unwrap_or((policy_namespace, value));
    let (namespace, account) = (quoted(namespace), quoted(account));
    authenticated(&regex(&format!(
        "spiffe://.+/ns/{namespace}/(.+/|)sa/{account}(/.+)?"
    )))
}

/// A value of `trustDomains`.
pub(super) fn trust_domain(value: &str) -> Value {
    authenticated(&match value {
        "*" => json!({"prefix": "spiffe://"}),
        _ if value.contains('*') => regex(&format!("spiffe://{}/.*", with_stars(value, "[^/]*"))),
        _ => json!({"prefix": format!("spiffe://{value}/")}),
    })
}

fn with_stars(value: &str, star: &str) -> String {
    let parts: Vec<String> = value.split('*').map(quoted).collect();
    parts.join(star)
}

/// A value of `requestPrincipals` (3.3): conditions on `iss` and on `sub`, which part at the last
/// slash. A star counts at one end of the whole value only.
pub(super) fn request_principal(value: &str) -> Value {
    let split = value.rsplit_once('/');
    let (issuer, subject) = match (Pattern::of(value), split) {
        (Pattern::Any, _) => (Pattern::Any, Pattern::Any),
        (Pattern::Suffix(_), Some((issuer, subject))) => {
            (Pattern::of_suffix(issuer), Pattern::Exact(subject))
        }
        (Pattern::Suffix(subject), None) => (Pattern::Any, Pattern::Suffix(subject)),
        (Pattern::Prefix(_), Some((issuer, subject))) => {
            (Pattern::Exact(issuer), Pattern::of_prefix(subject))
        }
        (Pattern::Prefix(issuer), None) => (Pattern::Prefix(issuer), Pattern::Any),
        (Pattern::Exact(_), Some((issuer, subject))) => {
            (Pattern::Exact(issuer), Pattern::Exact(subject))
        }
        (Pattern::Exact(issuer), None) => (Pattern::Exact(issuer), Pattern::Exact("")),
    };
    let claim =
        |name, pattern: &Pattern<'_>| payload(&[name], &json!({"string_match": pattern.string()}));
    json!({"and_ids": {"ids": [claim("iss", &issuer), claim("sub", &subject)]}})
}

impl<'a> Pattern<'a> {
    /// `part` begins with the star that makes it a suffix.
    fn of_suffix(part: &'a str) -> Self {
        part.strip_prefix('*')
            .filter(|rest| !rest.is_empty())
            .map_or(Self::Any, Self::Suffix)
    }

    /// `part` ends with the star that makes it a prefix.
    fn of_prefix(part: &'a str) -> Self {
        part.strip_suffix('*')
            .filter(|rest| !rest.is_empty())
            .map_or(Self::Any, Self::Prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_replace_the_trust_domain_of_a_principal() {
        let domains = TrustDomains(vec![
            "td1".to_owned(),
            "td2".to_owned(),
            "old-td".to_owned(),
        ]);
        for (value, expected) in [
            (
                "td2/ns/a/sa/b",
                &["td1/ns/a/sa/b", "td2/ns/a/sa/b", "old-td/ns/a/sa/b"][..],
            ),
            // The placeholder is replaced, not kept.
            (
                "cluster.local/ns/a/sa/b",
                &["td1/ns/a/sa/b", "td2/ns/a/sa/b", "old-td/ns/a/sa/b"],
            ),
            ("other/ns/a/sa/b", &["other/ns/a/sa/b"]),
            ("*/ns/a/sa/b", &["*/ns/a/sa/b"]),
            // A star is kept where it covers the domain in question.
            (
                "*-td/ns/a/sa/b",
                &["td1/ns/a/sa/b", "td2/ns/a/sa/b", "*-td/ns/a/sa/b"],
            ),
            (
                "td*/ns/a/sa/b",
                &["td1/ns/a/sa/b", "td2/ns/a/sa/b", "old-td/ns/a/sa/b"],
            ),
            // Not the form of an Istio identity.
            ("td1/sa/b", &["td1/sa/b"]),
            ("td1/ns/a/sa/b/c", &["td1/ns/a/sa/b/c"]),
            ("*", &["*"]),
        ] {
            assert_eq!(domains.principals(value), expected, "{value}");
        }
    }

    #[test]
    fn aliases_stand_for_a_trust_domain_that_is_spelled_out() {
        let domains = TrustDomains(vec!["td1".to_owned(), "old-td".to_owned()]);
        assert_eq!(domains.domains("old-td"), ["td1", "old-td"]);
        assert_eq!(domains.domains("cluster.local"), ["cluster.local"]);
        assert_eq!(domains.domains("td*"), ["td*"]);
    }
}
