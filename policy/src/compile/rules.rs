//! `AuthorizationPolicy` rules become clauses: one for each field and each `when` list.

use super::condition;
use super::{Diagnostics, HasLocation, Setting, identity};
use crate::diagnostic::{Code, Severity};
use crate::matcher::{Cidr, PathTemplate, PeerNameMatcher, RequestPrincipalMatcher, StringMatcher};
use crate::policy_set::{Clause, PathMatcher, Policy, Rule, Test};
use crate::resource::{Action, AuthorizationPolicy, Group, Text};

/// Reports and compiles; a policy with errors compiles to something that nobody uses.
pub(super) fn compile(
    resource: &AuthorizationPolicy,
    setting: &Setting,
    diagnostics: &mut Diagnostics,
) -> Policy {
    let mut values = Values {
        resource,
        setting,
        diagnostics,
        has_bad_value: false,
        has_unknown_key: false,
    };
    let rules = resource.rules.iter().map(|rule| {
        warn_without_ports(&mut values, rule);
        values.has_bad_value = false;
        values.has_unknown_key = false;
        Rule {
            from: rule
                .from
                .iter()
                .map(|group| group_clauses(&mut values, group))
                .collect(),
            to: rule
                .to
                .iter()
                .map(|group| group_clauses(&mut values, group))
                .collect(),
            when: rule
                .when
                .iter()
                .flat_map(|one| condition::clauses(&mut values, one))
                .collect(),
            is_dropped: values.has_unknown_key
                || (values.has_bad_value && resource.action == Action::Allow),
        }
    });
    let rules = rules.collect();
    Policy {
        at: resource.metadata.at.clone(),
        action: resource.action,
        rules,
    }
}

/// Turns texts into matchers and says what is wrong with them.
pub(super) struct Values<'a> {
    pub(super) resource: &'a AuthorizationPolicy,
    pub(super) setting: &'a Setting,
    pub(super) diagnostics: &'a mut Diagnostics,
    /// Whether the rule at hand has a value that was left out.
    pub(super) has_bad_value: bool,
    /// Whether it has a `when` key that nobody knows.
    pub(super) has_unknown_key: bool,
}

fn group_clauses(values: &mut Values<'_>, group: &Group) -> Box<[Clause]> {
    check_service_accounts(values, group);
    group
        .fields
        .iter()
        .filter_map(|(name, texts)| {
            if values.setting.is_tcp && HTTP_FIELDS.contains(name) {
                values.has_bad_value = true;
                return None;
            }
            let positive = positive_name(name);
            let test = values.field(positive.as_deref().unwrap_or(name), texts);
            test.has_values().then(|| Clause {
                at: group.at.key(name),
                negated: positive.is_some(),
                test,
            })
        })
        .collect()
}

/// `notIpBlocks` is the negation of `ipBlocks`; `None` for a field that is no negation.
fn positive_name(name: &str) -> Option<String> {
    let rest = name.strip_prefix("not")?;
    let first = rest.chars().next()?.to_ascii_lowercase();
    Some(
        rest.chars()
            .skip(1)
            .fold(String::from(first), |mut name, character| {
                name.push(character);
                name
            }),
    )
}

impl Values<'_> {
    fn field(&mut self, name: &str, texts: &[Text]) -> Test {
        match name {
            "principals" => self.principals(texts),
            "requestPrincipals" => self.request_principals(texts),
            "namespaces" => namespaces(texts),
            "serviceAccounts" => self.service_accounts(texts),
            "trustDomains" => self.trust_domains(texts),
            "ipBlocks" => Test::SourceIp(self.ranges(texts)),
            "remoteIpBlocks" => Test::RemoteIp(self.ranges(texts)),
            "hosts" => Test::Host(strings(texts, &StringMatcher::Present)),
            "ports" => Test::DestinationPort(self.ports(texts)),
            "methods" => Test::Method(strings(texts, &StringMatcher::Present)),
            _ => Test::Path(self.paths(texts)),
        }
    }

    pub(super) fn error(
        &mut self,
        code: Code,
        text: &Text,
        message: impl Into<String>,
        help: &str,
    ) {
        self.diagnostics.push(
            self.resource,
            code,
            Severity::Error,
            &text.at,
            message,
            help,
        );
    }

    /// Refuses a value, or leaves it out where no webhook would refuse it.
    fn bad_value(&mut self, code: Code, text: &Text, message: String, help: &str) {
        self.has_bad_value = true;
        let effect = match self.resource.action {
            Action::Allow => "istiod drops the whole rule for it",
            _ => "istiod drops it, and the field with its last value",
        };
        self.refuse_or_drop(code, text, message, effect, help);
    }

    /// An error where the webhook guards the cluster, and a warning with its effect where it does not.
    pub(super) fn refuse_or_drop(
        &mut self,
        code: Code,
        text: &Text,
        message: String,
        effect: &str,
        help: &str,
    ) {
        if self.setting.mesh.validating_webhook {
            self.error(code, text, message, help);
        } else {
            self.warn(code, text, format!("{message}: {effect}"), help);
        }
    }

    fn warn(&mut self, code: Code, text: &Text, message: impl Into<String>, help: &str) {
        self.diagnostics.push(
            self.resource,
            code,
            Severity::Warning,
            &text.at,
            message,
            help,
        );
    }

    pub(super) fn principals(&mut self, texts: &[Text]) -> Test {
        for text in texts {
            if text.text.starts_with("spiffe://") {
                self.warn(
                    Code::PrincipalNeverMatches,
                    text,
                    "Istio puts `spiffe://` in front of every principal, so this never matches",
                    "remove `spiffe://`",
                );
            }
        }
        let expanded = texts
            .iter()
            .flat_map(|text| identity::principals(&text.text, &self.setting.mesh));
        Test::PeerName(
            expanded
                .map(|value| PeerNameMatcher::principal(&value))
                .collect(),
        )
    }

    pub(super) fn request_principals(&mut self, texts: &[Text]) -> Test {
        for text in texts {
            let value = text.text.as_str();
            let is_url_prefix = value
                .strip_suffix('*')
                .is_some_and(|rest| rest.contains("://") && !rest.ends_with('/'));
            if is_url_prefix {
                self.warn(
                    Code::PrincipalNeverMatches,
                    text,
                    format!("`{value}` is split at its last slash into issuer and subject, so it matches no issuer that starts so"),
                    "write the whole issuer and `/*`",
                );
            } else if !value.contains(['/', '*']) {
                self.warn(
                    Code::PrincipalNeverMatches,
                    text,
                    format!(
                        "`{value}` has no subject, so it matches only tokens whose `sub` is empty"
                    ),
                    "write `ISSUER/SUBJECT`, or `ISSUER/*` for every subject",
                );
            }
        }
        Test::RequestPrincipal(
            texts
                .iter()
                .map(|text| RequestPrincipalMatcher::new(&text.text))
                .collect(),
        )
    }

    /// At most 16, each `name` or `namespace/name`, without wildcards.
    pub(super) fn service_accounts(&mut self, texts: &[Text]) -> Test {
        if let (Some(first), true) = (texts.first(), texts.len() > 16) {
            self.error(
                Code::TooMany,
                first,
                format!("{} service accounts, and the API allows 16", texts.len()),
                "split the rule",
            );
        }
        for text in texts {
            let value = &text.text;
            let halves: Vec<&str> = value.split('/').collect();
            if value.contains('*') || halves.len() > 2 || halves.contains(&"") || value.len() > 320
            {
                self.error(
                    Code::InvalidServiceAccount,
                    text,
                    format!("`{value}` is not a service account"),
                    "write `name` or `namespace/name`, without wildcards",
                );
            }
        }
        let namespace = &self.resource.metadata.id.namespace;
        let matchers = texts
            .iter()
            .map(|text| PeerNameMatcher::service_account(&text.text, namespace));
        Test::PeerName(matchers.collect())
    }

    pub(super) fn trust_domains(&mut self, texts: &[Text]) -> Test {
        for text in texts {
            let value = text.text.as_str();
            let stars = value.matches('*').count();
            let is_inner = stars == 1 && !value.starts_with('*') && !value.ends_with('*');
            if value.contains('/') || stars > 1 || is_inner {
                self.error(
                    Code::InvalidTrustDomain,
                    text,
                    format!("`{value}` is not a trust domain"),
                    "write the part between `spiffe://` and the next slash, with at most one `*` at an end",
                );
            }
        }
        let expanded = texts
            .iter()
            .flat_map(|text| identity::trust_domains(&text.text, &self.setting.mesh));
        Test::PeerName(
            expanded
                .map(|value| PeerNameMatcher::trust_domain(&value))
                .collect(),
        )
    }

    pub(super) fn ranges(&mut self, texts: &[Text]) -> Box<[Cidr]> {
        let mut ranges = Vec::new();
        for text in texts {
            match Cidr::parse(&text.text) {
                Some(range) => ranges.push(range),
                None => self.bad_value(
                    Code::InvalidCidr,
                    text,
                    format!("`{}` is not an IP address or CIDR range", text.text),
                    "write `10.1.2.3`, `10.1.0.0/16` or `2001:db8::/32`",
                ),
            }
        }
        ranges.into()
    }

    pub(super) fn ports(&mut self, texts: &[Text]) -> Box<[u16]> {
        let mut ports = Vec::new();
        for text in texts {
            match text
                .text
                .parse()
                .ok()
                .filter(|_| text.text.bytes().all(|byte| byte.is_ascii_digit()))
            {
                Some(port) => ports.push(port),
                None => self.bad_value(
                    Code::InvalidPort,
                    text,
                    format!("`{}` is not a port", text.text),
                    "write a number from 0 to 65535, in quotes",
                ),
            }
        }
        ports.into()
    }

    fn paths(&mut self, texts: &[Text]) -> Box<[PathMatcher]> {
        let mut paths = Vec::new();
        for text in texts {
            let value = text.text.as_str();
            if PathTemplate::is_template(value) {
                match PathTemplate::parse(value) {
                    Ok(template) => paths.push(PathMatcher::Template(template)),
                    Err(error) => self.error(
                        Code::InvalidPathTemplate,
                        text,
                        format!("`{value}` is not a path template: {}", error.message()),
                        "write segments between slashes, such as `/orders/{*}/items/{**}`",
                    ),
                }
                continue;
            }
            let inner = value
                .get(1..value.len().saturating_sub(1))
                .unwrap_or_default();
            if inner.contains('*') {
                self.warn(
                    Code::InnerWildcard,
                    text,
                    format!("the `*` inside `{value}` stands for itself"),
                    "use `{*}` for one segment or `{**}` for any number",
                );
            } else if value.contains('?') {
                self.warn(
                    Code::NeverMatches,
                    text,
                    "paths are compared without their query, so this never matches",
                    "remove the part from `?`",
                );
            }
            paths.push(PathMatcher::String(StringMatcher::new(
                value,
                StringMatcher::NonEmpty,
            )));
        }
        paths.into()
    }
}

pub(super) fn namespaces(texts: &[Text]) -> Test {
    Test::PeerName(
        texts
            .iter()
            .map(|text| PeerNameMatcher::namespace(&text.text))
            .collect(),
    )
}

pub(super) fn strings(texts: &[Text], lone_star: &StringMatcher) -> Box<[StringMatcher]> {
    texts
        .iter()
        .map(|text| StringMatcher::new(&text.text, lone_star.clone()))
        .collect()
}

/// `serviceAccounts` says namespace and account at once, so the API refuses `principals` and `namespaces`
/// beside it.
fn check_service_accounts(values: &mut Values<'_>, group: &Group) {
    let find = |names: &[&str]| {
        group
            .fields
            .iter()
            .map(|(name, _)| *name)
            .find(|name| names.contains(name))
    };
    if let Some(accounts) = find(&["serviceAccounts", "notServiceAccounts"])
        && find(&["principals", "notPrincipals", "namespaces", "notNamespaces"]).is_some()
    {
        values.diagnostics.push(
            values.resource,
            Code::ConflictingFields,
            Severity::Error,
            &group.at.key(accounts),
            "`serviceAccounts` excludes `principals` and `namespaces` in one source",
            "use two sources, or name the service accounts only",
        );
    }
}

/// The fields that only HTTP has.
const HTTP_FIELDS: [&str; 8] = [
    "hosts",
    "notHosts",
    "methods",
    "notMethods",
    "paths",
    "notPaths",
    "requestPrincipals",
    "notRequestPrincipals",
];

/// On a port that does not speak HTTP, Istio drops the HTTP conditions of a DENY rule and keeps the rest.
fn warn_without_ports(values: &mut Values<'_>, rule: &crate::resource::Rule) {
    let fields = rule
        .from
        .iter()
        .chain(&rule.to)
        .flat_map(|group| group.fields.iter().map(|(name, _)| *name));
    let keys = rule
        .when
        .iter()
        .map(|condition| condition.key.text.as_str());
    let mut is_http = fields
        .map(|name| HTTP_FIELDS.contains(&name))
        .chain(keys.map(|key| key.starts_with("request.")))
        .peekable();
    if values.resource.action == Action::Deny
        && is_http.peek().is_some()
        && is_http.all(|is_http| is_http)
    {
        values.diagnostics.push(
            values.resource,
            Code::DenyWithoutPorts,
            Severity::Warning,
            &rule.at,
            "without `ports`, this rule closes every TCP port of the workload that is not declared as HTTP",
            "add `ports` to limit it to the HTTP ports",
        );
    }
}

impl<T: HasLocation + ?Sized> HasLocation for &T {
    fn location(&self) -> &crate::diagnostic::Location {
        (*self).location()
    }
}
