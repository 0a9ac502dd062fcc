//! `AuthorizationPolicy`: an RBAC filter for each action, a policy in it for each rule.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use super::attribute::{Attribute, Half};
use super::identity::TrustDomains;
use super::resource::{Fields, Resource};

/// Where a filter stands: among those of HTTP, or of a connection that is not HTTP. A connection has no
/// attributes of requests: istiod treats conditions on them as values that it refuses (2.9).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Layer {
    Http,
    Network,
}

impl Layer {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Network => "network",
        }
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Action {
    Audit,
    Deny,
    Allow,
}

impl Action {
    fn of(spec: &Fields<'_>) -> Result<Self> {
        Ok(match spec.text("action")? {
            None | Some("ALLOW") => Self::Allow,
            Some("DENY") => Self::Deny,
            Some("AUDIT") => Self::Audit,
            Some(other) => bail!("{}.action: `{other}` is not translated", spec.at),
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Audit => "LOG",
            Self::Deny => "DENY",
            Self::Allow => "ALLOW",
        }
    }

    /// Begins the metadata keys under which the outcome of a dry run appears (2.11).
    fn dry_run_prefix(self) -> &'static str {
        match self {
            Self::Audit => "",
            Self::Deny => "istio_dry_run_deny_",
            Self::Allow => "istio_dry_run_allow_",
        }
    }
}

/// The RBAC filters for `policies`: AUDIT, DENY, ALLOW, each only if a policy has that action.
///
/// # Errors
///
/// A policy is misshapen, is CUSTOM, or holds a value that is not translated.
pub(super) fn filters(
    policies: &[Resource<'_>],
    domains: &TrustDomains,
    layer: Layer,
) -> Result<Vec<Value>> {
    let mut filters = Vec::new();
    let mut with_action = Vec::new();
    for policy in policies {
        policy.spec.expect_only(&[
            "selector",
            "targetRef",
            "targetRefs",
            "action",
            "provider",
            "rules",
        ])?;
        with_action.push((Action::of(&policy.spec)?, policy));
    }
    for action in [Action::Audit, Action::Deny, Action::Allow] {
        let policies = with_action
            .iter()
            .filter(|(its, _)| *its == action)
            .map(|(_, policy)| *policy);
        filters.extend(filter(action, policies, domains, layer)?);
    }
    Ok(filters)
}

/// `rules` without a policy in it is not the same as no `rules`: an ALLOW filter with the first
/// denies everything.
fn filter<'a>(
    action: Action,
    policies: impl Iterator<Item = &'a Resource<'a>>,
    domains: &TrustDomains,
    layer: Layer,
) -> Result<Option<Value>> {
    let (mut enforced, mut dry_run) = (None, None);
    for policy in policies {
        let rules = if is_dry_run(policy) {
            &mut dry_run
        } else {
            &mut enforced
        };
        rules
            .get_or_insert_with(Map::new)
            .extend(rbac_policies(policy, action, domains, layer)?);
    }
    if enforced.is_none() && dry_run.is_none() {
        return Ok(None);
    }
    let mut config = json!({
        "@type": format!("type.googleapis.com/envoy.extensions.filters.{}.rbac.v3.RBAC", layer.name()),
    });
    if layer == Layer::Network {
        config["stat_prefix"] = json!("tcp.");
    }
    if let Some(policies) = enforced {
        config["rules"] = json!({"action": action.name(), "policies": policies});
    }
    if let Some(policies) = dry_run {
        config["shadow_rules"] = json!({"action": action.name(), "policies": policies});
        config["shadow_rules_stat_prefix"] = json!(action.dry_run_prefix());
    }
    Ok(Some(
        json!({"name": format!("envoy.filters.{}.rbac", layer.name()), "typed_config": config}),
    ))
}

/// The annotation as Go reads a boolean; what is none is false.
fn is_dry_run(policy: &Resource<'_>) -> bool {
    matches!(
        policy.dry_run,
        Some("1" | "t" | "T" | "true" | "TRUE" | "True")
    )
}

/// The RBAC policies of all rules that istiod keeps, by name. Envoy tries them in the byte order of
/// the names.
fn rbac_policies(
    policy: &Resource<'_>,
    action: Action,
    domains: &TrustDomains,
    layer: Layer,
) -> Result<Map<String, Value>> {
    let name = |index| {
        format!(
            "ns[{}]-policy[{}]-rule[{index}]",
            policy.namespace, policy.name
        )
    };
    let mut policies = Map::new();
    let rules = policy.spec.children("rules")?;
    if rules.is_empty() {
        let (nothing, nobody) = (
            json!({"not_rule": {"any": true}}),
            json!({"not_id": {"any": true}}),
        );
        policies.insert(
            name(0),
            json!({"permissions": [nothing], "principals": [nobody]}),
        );
    }
    for (index, rule) in rules.iter().enumerate() {
        let scope = Scope {
            action,
            namespace: policy.namespace,
            domains,
            layer,
        };
        if let Some(rbac_policy) = scope.rbac_policy(rule)? {
            policies.insert(name(index), rbac_policy);
        }
    }
    Ok(policies)
}

/// What the meaning of a rule depends on beside its own text.
struct Scope<'a> {
    action: Action,
    namespace: &'a str,
    domains: &'a TrustDomains,
    layer: Layer,
}

/// A list of values and one of values to exclude, of one attribute. Both must hold; one that is
/// empty does.
struct Condition<'a> {
    at: String,
    attribute: Attribute<'a>,
    values: Vec<&'a str>,
    not_values: Vec<&'a str>,
}

const SOURCE: [(&str, &str, Attribute<'_>); 7] = [
    ("principals", "notPrincipals", Attribute::Principal),
    (
        "requestPrincipals",
        "notRequestPrincipals",
        Attribute::RequestPrincipal,
    ),
    (
        "serviceAccounts",
        "notServiceAccounts",
        Attribute::ServiceAccount,
    ),
    ("namespaces", "notNamespaces", Attribute::Namespace),
    ("trustDomains", "notTrustDomains", Attribute::TrustDomain),
    ("remoteIpBlocks", "notRemoteIpBlocks", Attribute::RemoteIp),
    ("ipBlocks", "notIpBlocks", Attribute::SourceIp),
];

const OPERATION: [(&str, &str, Attribute<'_>); 4] = [
    ("hosts", "notHosts", Attribute::Host),
    ("methods", "notMethods", Attribute::Method),
    ("paths", "notPaths", Attribute::Path),
    ("ports", "notPorts", Attribute::DestinationPort),
];

impl Scope<'_> {
    /// The RBAC policy for `rule`, or `None` if istiod drops the rule (2.8).
    fn rbac_policy(&self, rule: &Fields<'_>) -> Result<Option<Value>> {
        rule.expect_only(&["from", "to", "when"])?;
        let mut when = Vec::new();
        for condition in rule.children("when")? {
            condition.expect_only(&["key", "values", "notValues"])?;
            let key = condition.text("key")?.unwrap_or_default();
            if key.starts_with("request.experimental.inline.headers") {
                bail!("{}.key: `{key}` is not translated", condition.at);
            }
            let Some(attribute) = Attribute::of_key(key) else {
                return Ok(None);
            };
            let (values, not_values) = (condition.texts("values")?, condition.texts("notValues")?);
            when.push(Condition {
                at: condition.at,
                attribute,
                values,
                not_values,
            });
        }
        let Some(permissions) = self.half(rule, Half::Permission, &when)? else {
            return Ok(None);
        };
        let principals = self.half(rule, Half::Principal, &when)?;
        Ok(principals
            .map(|principals| json!({"permissions": permissions, "principals": principals})))
    }

    /// One permission for each of `to`, or one principal for each of `from`, with the conditions of
    /// `when` in each.
    fn half(
        &self,
        rule: &Fields<'_>,
        half: Half,
        when: &[Condition<'_>],
    ) -> Result<Option<Vec<Value>>> {
        let (list, member, fields) = match half {
            Half::Permission => ("to", "operation", &OPERATION[..]),
            Half::Principal => ("from", "source", &SOURCE[..]),
        };
        let mut alternatives = Vec::new();
        for entry in rule.children(list)? {
            entry.expect_only(&[member])?;
            alternatives.push(conditions(&entry.child(member)?, fields)?);
        }
        if alternatives.is_empty() {
            alternatives.push(Vec::new());
        }
        let mut translated = Vec::new();
        for alternative in &alternatives {
            let mut all = Vec::new();
            for condition in alternative
                .iter()
                .chain(when.iter().filter(|when| when.attribute.half() == half))
            {
                let Some(matchers) = self.condition(condition)? else {
                    return Ok(None);
                };
                all.extend(matchers);
            }
            translated.push(half.all_of(all));
        }
        Ok(Some(translated))
    }

    /// What must hold for `condition` to hold, or `None` if its rule is to be dropped. A value that
    /// istiod refuses takes the whole rule with it under ALLOW, which narrows it, and only itself
    /// otherwise, which widens it (2.8).
    fn condition(&self, condition: &Condition<'_>) -> Result<Option<Vec<Value>>> {
        let half = condition.attribute.half();
        let mut all = Vec::new();
        for (values, negate) in [(&condition.values, false), (&condition.not_values, true)] {
            let mut any = Vec::new();
            for value in values {
                let is_unknown = self.layer == Layer::Network && condition.attribute.is_http();
                let matchers = if is_unknown {
                    Ok(None)
                } else {
                    let attribute = condition.attribute;
                    attribute.matchers(value, self.namespace, self.domains)
                };
                match matchers.with_context(|| condition.at.clone())? {
                    Some(matchers) => any.extend(matchers),
                    None if self.action == Action::Allow => return Ok(None),
                    None => {}
                }
            }
            if !any.is_empty() {
                let any = half.any_of(&any);
                all.push(if negate { half.not(&any) } else { any });
            }
        }
        Ok(Some(all))
    }
}

/// The conditions that an operation or a source holds, one for each pair of fields.
fn conditions<'a>(
    entry: &Fields<'a>,
    fields: &'static [(&'static str, &'static str, Attribute<'static>)],
) -> Result<Vec<Condition<'a>>> {
    let names: Vec<&str> = fields
        .iter()
        .flat_map(|(values, not_values, _)| [*values, *not_values])
        .collect();
    entry.expect_only(&names)?;
    let mut conditions = Vec::new();
    for (name, not_name, attribute) in fields {
        let (values, not_values) = (entry.texts(name)?, entry.texts(not_name)?);
        let at = format!(
            "{}.{}",
            entry.at,
            if values.is_empty() { not_name } else { name }
        );
        conditions.push(Condition {
            at,
            attribute: *attribute,
            values,
            not_values,
        });
    }
    Ok(conditions)
}
