//! What a condition of a rule is about, and one value of it as a permission or a principal (2.2).

use anyhow::Result;
use serde_json::{Value, json};

use super::identity::{self, TrustDomains};
use super::matcher;

/// The half of an RBAC policy that a condition goes to.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Half {
    Permission,
    Principal,
}

impl Half {
    pub(super) fn all_of(self, conditions: Vec<Value>) -> Value {
        // An empty set is not valid, and no condition is a condition that holds.
        let conditions = if conditions.is_empty() {
            vec![json!({"any": true})]
        } else {
            conditions
        };
        match self {
            Self::Permission => json!({"and_rules": {"rules": conditions}}),
            Self::Principal => json!({"and_ids": {"ids": conditions}}),
        }
    }

    pub(super) fn any_of(self, conditions: &[Value]) -> Value {
        match self {
            Self::Permission => json!({"or_rules": {"rules": conditions}}),
            Self::Principal => json!({"or_ids": {"ids": conditions}}),
        }
    }

    pub(super) fn not(self, condition: &Value) -> Value {
        match self {
            Self::Permission => json!({"not_rule": condition}),
            Self::Principal => json!({"not_id": condition}),
        }
    }
}

#[derive(Clone, Copy)]
pub(super) enum Attribute<'a> {
    DestinationIp,
    DestinationPort,
    ServerName,
    /// The key of `when` after `experimental.`.
    Metadata(&'a str),
    Host,
    Method,
    Path,
    SourceIp,
    RemoteIp,
    Namespace,
    ServiceAccount,
    Principal,
    TrustDomain,
    RequestPrincipal,
    Audiences,
    Presenter,
    /// The key of `when` after `request.headers`.
    Header(&'a str),
    /// The key of `when` after `request.auth.claims`.
    Claim(&'a str),
}

impl<'a> Attribute<'a> {
    /// The attribute that a key of `when` names, if it names one.
    pub(super) fn of_key(key: &'a str) -> Option<Self> {
        Some(match key {
            "destination.ip" => Self::DestinationIp,
            "destination.port" => Self::DestinationPort,
            "connection.sni" => Self::ServerName,
            "source.ip" => Self::SourceIp,
            "remote.ip" => Self::RemoteIp,
            "source.namespace" => Self::Namespace,
            "source.serviceAccount" => Self::ServiceAccount,
            "source.principal" => Self::Principal,
            "source.trustDomain" => Self::TrustDomain,
            "request.auth.principal" => Self::RequestPrincipal,
            "request.auth.audiences" => Self::Audiences,
            "request.auth.presenter" => Self::Presenter,
            _ if key.starts_with("experimental.envoy.filters.") => {
                Self::Metadata(key.strip_prefix("experimental.")?)
            }
            _ => {
                let header = key.strip_prefix("request.headers").map(Self::Header);
                return header.or_else(|| key.strip_prefix("request.auth.claims").map(Self::Claim));
            }
        })
    }

    /// Whether only HTTP has it.
    pub(super) fn is_http(self) -> bool {
        matches!(
            self,
            Self::Host
                | Self::Method
                | Self::Path
                | Self::RequestPrincipal
                | Self::Audiences
                | Self::Presenter
                | Self::Header(_)
                | Self::Claim(_)
        )
    }

    pub(super) fn half(self) -> Half {
        match self {
            Self::DestinationIp
            | Self::DestinationPort
            | Self::ServerName
            | Self::Metadata(_)
            | Self::Host
            | Self::Method
            | Self::Path => Half::Permission,
            Self::SourceIp
            | Self::RemoteIp
            | Self::Namespace
            | Self::ServiceAccount
            | Self::Principal
            | Self::TrustDomain
            | Self::RequestPrincipal
            | Self::Audiences
            | Self::Presenter
            | Self::Header(_)
            | Self::Claim(_) => Half::Principal,
        }
    }

    /// Permissions or principals one of which holds iff `value` matches, or `None` if istiod
    /// refuses `value`.
    pub(super) fn matchers(
        self,
        value: &str,
        policy_namespace: &str,
        domains: &TrustDomains,
    ) -> Result<Option<Vec<Value>>> {
        let about = |name: &str, matcher: Value| json!({name: matcher});
        let ip =
            |name| Ok::<_, anyhow::Error>(matcher::range(value)?.map(|range| about(name, range)));
        let one = match self {
            Self::DestinationIp => ip("destination_ip")?,
            Self::SourceIp => ip("direct_remote_ip")?,
            Self::RemoteIp => ip("remote_ip")?,
            Self::DestinationPort => {
                matcher::decimal::<u16>(value).map(|port| about("destination_port", json!(port)))
            }
            Self::ServerName => Some(about(
                "requested_server_name",
                matcher::Pattern::of(value).string(),
            )),
            Self::Metadata(key) => {
                let split = key.strip_suffix(']').unwrap_or(key).split_once('[');
                split.map(|(filter, key)| matcher::metadata(filter, key, value))
            }
            Self::Host => Some(matcher::header(":authority", value, true)),
            Self::Method => Some(matcher::header(":method", value, false)),
            Self::Path => Some(matcher::path(value)?),
            Self::Namespace => Some(identity::namespace(value)),
            Self::ServiceAccount => Some(identity::service_account(value, policy_namespace)),
            Self::Principal => {
                return Ok(Some(
                    domains
                        .principals(value)
                        .iter()
                        .map(|value| identity::principal(value))
                        .collect(),
                ));
            }
            Self::TrustDomain => {
                return Ok(Some(
                    domains
                        .domains(value)
                        .iter()
                        .map(|value| identity::trust_domain(value))
                        .collect(),
                ));
            }
            Self::RequestPrincipal => Some(identity::request_principal(value)),
            Self::Audiences => Some(matcher::claim(&["aud"], value)),
            Self::Presenter => Some(matcher::claim(&["azp"], value)),
            Self::Header(key) => in_brackets(key).map(|name| matcher::header(name, value, false)),
            Self::Claim(key) => claim_path(key).map(|path| matcher::claim(&path, value)),
        };
        Ok(one.map(|matcher| vec![matcher]))
    }
}

fn in_brackets(key: &str) -> Option<&str> {
    key.strip_suffix(']')?.strip_prefix('[')
}

/// `[a][b]` is the claim `b` of the claim `a`. What is no such chain is one name between the
/// outermost brackets (3.4).
fn claim_path(key: &str) -> Option<Vec<&str>> {
    let mut path = Vec::new();
    let mut rest = key;
    while !rest.is_empty() {
        let link = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let Some((name, after)) = link.filter(|(name, _)| !name.contains('[')) else {
            return in_brackets(key).map(|name| vec![name]);
        };
        path.push(name);
        rest = after;
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: &str, expected: Option<&[&str]>) {
        assert_eq!(claim_path(key).as_deref(), expected, "{key}");
    }

    #[test]
    fn a_malformed_chain_of_brackets_is_one_name() {
        check("[a]", Some(&["a"]));
        check("[a][b c][d.e]", Some(&["a", "b c", "d.e"]));
        check("[k[0]]", Some(&["k[0]"]));
        check("[a]b[c]", Some(&["a]b[c"]));
        check("a[b]", None);
        check("[a]b", None);
        check("[a", None);
    }
}
