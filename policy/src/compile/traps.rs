//! Policies that are right by themselves and together probably not what their author wants.

use super::{Diagnostics, HasLocation};
use crate::diagnostic::{Code, Severity};
use crate::resource::{Action, AuthorizationPolicy, RequestAuthentication, Resource, Resources};
use crate::source::FieldPath;

/// Looks at the resources that are for the workload.
pub(super) fn report(resources: &Resources, selected: &[bool], diagnostics: &mut Diagnostics) {
    let mut authentications: Vec<&RequestAuthentication> = Vec::new();
    let mut policies: Vec<&AuthorizationPolicy> = Vec::new();
    for (resource, _) in resources
        .items
        .iter()
        .zip(selected)
        .filter(|(_, selected)| **selected)
    {
        match resource {
            Resource::RequestAuthentication(resource) => authentications.push(resource),
            Resource::AuthorizationPolicy(resource) => policies.push(resource),
            Resource::PeerAuthentication(_) => {}
        }
    }
    let verifies = authentications
        .iter()
        .any(|resource| !resource.jwt_rules.is_empty());
    for policy in &policies {
        split_rules(policy, diagnostics);
        if !verifies && let Some(path) = first_token_field(policy) {
            diagnostics.push(
                policy,
                Code::NoAuthentication,
                Severity::Warning,
                &path,
                "this asks about a token, and no RequestAuthentication selects the workload to verify one",
                "add a RequestAuthentication for the same workload",
            );
        }
    }
    if !policies
        .iter()
        .any(|policy| !policy.dry_run && asks_for_token(policy))
    {
        for resource in authentications
            .iter()
            .filter(|resource| !resource.jwt_rules.is_empty())
        {
            diagnostics.push(
                resource,
                Code::TokenlessRequestsPass,
                Severity::Info,
                &resource.location().path.key("spec").key("jwtRules"),
                "a request without a token passes: only tokens that come are verified",
                "to require one, add an AuthorizationPolicy with `requestPrincipals`",
            );
        }
    }
}

/// One dash too many: `from` and `to` of one thought, as two rules of which either is enough.
fn split_rules(policy: &AuthorizationPolicy, diagnostics: &mut Diagnostics) {
    for pair in policy.rules.windows(2) {
        let [first, second] = pair else { continue };
        let only_from = !first.from.is_empty() && first.to.is_empty() && first.when.is_empty();
        let only_to = second.from.is_empty() && !second.to.is_empty() && second.when.is_empty();
        if policy.action == Action::Allow && only_from && only_to {
            diagnostics.push(
                policy,
                Code::SplitRule,
                Severity::Warning,
                &second.at,
                "this dash starts a second rule, and either rule is enough: the sources above may do everything, and everybody may do this",
                "to ask for both, make it one rule with `from` and `to`",
            );
        }
    }
}

/// The first field that only a verified token can satisfy.
fn first_token_field(policy: &AuthorizationPolicy) -> Option<FieldPath> {
    policy.rules.iter().find_map(|rule| {
        let source = rule.from.iter().find_map(|group| {
            let (name, _) = group
                .fields
                .iter()
                .find(|(name, _)| *name == "requestPrincipals")?;
            Some(group.at.key(name))
        });
        let condition = || {
            let condition = rule.when.iter().find(|condition| {
                condition.key.text.starts_with("request.auth.") && !condition.values.is_empty()
            });
            condition.map(|condition| condition.at.key("key"))
        };
        source.or_else(condition)
    })
}

/// Whether the policy can refuse a request for having no token.
fn asks_for_token(policy: &AuthorizationPolicy) -> bool {
    let denies_without = |policy: &AuthorizationPolicy| {
        policy.rules.iter().any(|rule| {
            rule.from
                .iter()
                .flat_map(|group| &group.fields)
                .any(|(name, _)| *name == "notRequestPrincipals")
                || rule.when.iter().any(|condition| {
                    condition.key.text.starts_with("request.auth.")
                        && !condition.not_values.is_empty()
                })
        })
    };
    match policy.action {
        Action::Allow => policy.rules.is_empty() || first_token_field(policy).is_some(),
        Action::Deny => denies_without(policy),
        Action::Audit => false,
    }
}
