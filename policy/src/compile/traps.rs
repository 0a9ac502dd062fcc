//! Policies that are right by themselves and together probably not what their author wants.

use super::{Diagnostics, HasLocation, TokenSettings, condition};
use crate::diagnostic::{Code, Severity};
use crate::resource::{
    Action, AuthorizationPolicy, JwtRule, RequestAuthentication, Resource, Resources, Rule,
};
use crate::source::FieldPath;

/// Looks at the resources that are for the workload.
pub(super) fn report(
    resources: &Resources,
    selected: &[bool],
    tokens: &TokenSettings,
    diagnostics: &mut Diagnostics,
) {
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
            Resource::PeerAuthentication(_) | Resource::CertificateAuthentication(_) => {}
        }
    }
    let rules: Vec<&JwtRule> = authentications
        .iter()
        .flat_map(|resource| &resource.jwt_rules)
        .collect();
    let verifies = !rules.is_empty();
    token_rules(&authentications, &rules, diagnostics);
    written_headers(&authentications, &rules, tokens, diagnostics);
    shadowed(&policies, diagnostics);
    for policy in &policies {
        split_rules(policy, diagnostics);
        for rule in &policy.rules {
            hosts(policy, rule, diagnostics);
            claims(policy, rule, diagnostics);
            if !tokens.is_strict() {
                padded_claims(policy, rule, &rules, diagnostics);
            }
            issuers(policy, rule, &rules, diagnostics);
        }
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
    preflight(&policies, verifies, diagnostics);
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
                "this dash starts a second rule: the sources above may do everything, and everybody may do this",
                "to ask for both, make it one rule with `from` and `to`",
            );
        }
    }
}

/// Rules of several issuers are alternatives, and a bearer token has a prefix.
fn token_rules(
    authentications: &[&RequestAuthentication],
    rules: &[&JwtRule],
    diagnostics: &mut Diagnostics,
) {
    for resource in authentications {
        for rule in &resource.jwt_rules {
            for (index, header) in rule.from_headers.iter().enumerate() {
                if header.name.eq_ignore_ascii_case("authorization") && header.prefix.is_empty() {
                    diagnostics.push(
                        resource,
                        Code::MissingPrefix,
                        Severity::Warning,
                        &rule.at.key("fromHeaders").index(index),
                        "without a prefix, `Bearer TOKEN` as a whole is the token",
                        "add `prefix: \"Bearer \"`",
                    );
                }
            }
        }
    }
    if let ([_, _, ..], Some(last)) = (rules, authentications.last()) {
        diagnostics.push(
            last,
            Code::AnyTokenIsEnough,
            Severity::Info,
            &last.location().path.key("spec").key("jwtRules"),
            format!(
                "{} token rules are for this workload, and a good token of any is enough",
                rules.len()
            ),
            "tell issuers apart by `requestPrincipals` in an AuthorizationPolicy",
        );
    }
}

/// Headers that are lost to whoever else looks at them, and headers that look like others.
fn written_headers(
    authentications: &[&RequestAuthentication],
    rules: &[&JwtRule],
    tokens: &TokenSettings,
    diagnostics: &mut Diagnostics,
) {
    let is_read = |name: &str| {
        rules.iter().any(|rule| {
            let mut headers = rule.from_headers.iter();
            headers.any(|header| header.name.eq_ignore_ascii_case(name))
        })
    };
    for resource in authentications {
        for rule in &resource.jwt_rules {
            let payload = rule.output_payload_to_header.iter();
            let payload = payload.map(|name| (name, rule.at.key("outputPayloadToHeader")));
            let claims = rule.output_claim_to_headers.iter().enumerate();
            let claims = claims.map(|(index, output)| {
                let at = rule.at.key("outputClaimToHeaders").index(index);
                (&output.header, at.key("header"))
            });
            let headers: Vec<(&String, FieldPath)> = payload.chain(claims).collect();
            for (name, at) in headers.iter().filter(|(name, _)| is_read(name)) {
                diagnostics.push(
                    *resource,
                    Code::NoTokenIsRead,
                    Severity::Warning,
                    at,
                    format!("`{name}` is written here, so what clients send there is removed, and no token is ever read from it"),
                    "write another header",
                );
            }
            let is_plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let twin = headers.iter().find(|(name, _)| !is_plain(name));
            // One of a rule says enough.
            if let Some((name, at)) = twin
                && !tokens.removes_twins()
            {
                let fold = |letter: char| match letter {
                    '-' => '_',
                    letter if letter.is_ascii_alphanumeric() => letter.to_ascii_lowercase(),
                    _ => '-',
                };
                let twin: String = name.chars().map(fold).collect();
                diagnostics.push(
                    *resource,
                    Code::HeaderHasTwins,
                    Severity::Info,
                    at,
                    format!("a client's own `{twin}` goes on beside it, and CGI, WSGI and PHP servers take the two for one"),
                    "write `tokens: {mode: envoy, removeTwins: true}`, which strict mode does too, or let Envoy refuse such headers (`headers_with_underscores_action`)",
                );
            }
        }
    }
}

/// A claim that is denied by its text may come with a space, which is another text, and which servers cut off the
/// header that the claim becomes.
fn padded_claims(
    policy: &AuthorizationPolicy,
    rule: &Rule,
    rules: &[&JwtRule],
    diagnostics: &mut Diagnostics,
) {
    for condition in &rule.when {
        let (field, values) = match policy.action {
            Action::Deny => ("values", &condition.values),
            Action::Allow => ("notValues", &condition.not_values),
            Action::Audit => continue,
        };
        let Some(path) = condition::claim_path(
            condition
                .key
                .text
                .strip_prefix("request.auth.claims")
                .unwrap_or_default(),
        ) else {
            continue;
        };
        let claim = path.join(".");
        let mut outputs = rules.iter().flat_map(|rule| &rule.output_claim_to_headers);
        if let Some(output) = outputs.find(|output| output.claim == claim)
            && values.iter().any(|value| value.text != "*")
        {
            diagnostics.push(
                policy,
                Code::ClaimMayBePadded,
                Severity::Info,
                &condition.at.key(field),
                format!(
                    "a space before or behind the text makes another claim, and servers cut it off the header `{}`",
                    output.header
                ),
                "write `tokens: strict`, which refuses such headers, or allow what is right instead of denying what is wrong",
            );
        }
    }
}

/// An empty rule matches every request.
fn shadowed(policies: &[&AuthorizationPolicy], diagnostics: &mut Diagnostics) {
    for action in [Action::Allow, Action::Deny] {
        let of_action = || {
            let enforced = policies
                .iter()
                .filter(|policy| policy.action == action && !policy.dry_run);
            enforced.flat_map(|policy| policy.rules.iter().map(move |rule| (*policy, rule)))
        };
        let is_empty =
            |rule: &Rule| rule.from.is_empty() && rule.to.is_empty() && rule.when.is_empty();
        let empty = of_action().find(|(_, rule)| is_empty(rule));
        if let Some((policy, rule)) = empty
            && of_action().any(|(_, other)| !is_empty(other))
        {
            diagnostics.push(
                policy,
                Code::ShadowedRule,
                Severity::Warning,
                &rule.at,
                format!(
                    "an empty rule matches every request, so no other {} rule matters",
                    action.as_str()
                ),
                "remove this rule or the others",
            );
        }
    }
}

/// `example.com:443` is another host, and slips past a DENY rule.
fn hosts(policy: &AuthorizationPolicy, rule: &Rule, diagnostics: &mut Diagnostics) {
    if policy.action != Action::Deny {
        return;
    }
    for (_, hosts) in rule
        .to
        .iter()
        .flat_map(|group| &group.fields)
        .filter(|(name, _)| *name == "hosts")
    {
        for host in hosts {
            let with_port = format!("{}:*", host.text);
            let is_open = host.text.ends_with('*') || host.text.contains(':');
            if !is_open && !hosts.iter().any(|other| other.text == with_port) {
                diagnostics.push(
                    policy,
                    Code::HostWithoutPort,
                    Severity::Warning,
                    &host.at,
                    format!(
                        "`{}` with a port is another host and is not denied",
                        host.text
                    ),
                    &format!("add `{with_port}`"),
                );
            }
        }
    }
}

/// Claims are compared as text, by names that walk with brackets.
fn claims(policy: &AuthorizationPolicy, rule: &Rule, diagnostics: &mut Diagnostics) {
    for condition in &rule.when {
        let Some(name) = condition.key.text.strip_prefix("request.auth.claims[") else {
            continue;
        };
        let name = name.strip_suffix(']').unwrap_or(name);
        if name.contains('.') && !name.contains(['/', '[']) {
            diagnostics.push(
                policy,
                Code::ClaimNameWithDot,
                Severity::Warning,
                &condition.key.at,
                format!("`{name}` is the name of one claim, dot included"),
                &format!(
                    "to go into an object, write `[{}]`",
                    name.replace('.', "][")
                ),
            );
        }
        let is_time = matches!(name, "exp" | "iat" | "nbf" | "auth_time" | "updated_at");
        for value in condition.values.iter().chain(&condition.not_values) {
            if is_time || matches!(value.text.as_str(), "true" | "false") {
                diagnostics.push(
                    policy,
                    Code::ClaimIsNoText,
                    Severity::Warning,
                    &value.at,
                    format!("`{name}` as a number or boolean matches nothing, not even `*`"),
                    "ask for a claim that is a string or a list of strings",
                );
            }
        }
        if condition.values.len() > 1 && policy.action == Action::Allow {
            diagnostics.push(
                policy,
                Code::ValuesAreAlternatives,
                Severity::Info,
                &condition.at.key("values"),
                "one of these values is enough",
                "to ask for all, write a `when` entry for each",
            );
        }
    }
}

/// A principal's issuer that no rule accepts, often by a slash or a scheme.
fn issuers(
    policy: &AuthorizationPolicy,
    rule: &Rule,
    rules: &[&JwtRule],
    diagnostics: &mut Diagnostics,
) {
    if rules.is_empty() || rules.iter().any(|rule| rule.issuer.is_empty()) {
        return;
    }
    let fields = rule.from.iter().flat_map(|group| &group.fields);
    let of_fields = fields
        .filter(|(name, _)| *name == "requestPrincipals")
        .flat_map(|(_, values)| values);
    let conditions = rule.when.iter();
    let of_conditions = conditions
        .filter(|condition| condition.key.text == "request.auth.principal")
        .flat_map(|condition| &condition.values);
    for value in of_fields.chain(of_conditions) {
        let Some((issuer, _)) = value.text.rsplit_once('/') else {
            continue;
        };
        if issuer.starts_with('*') || rules.iter().any(|rule| rule.issuer == issuer) {
            continue;
        }
        let bare = |text: &str| {
            let text = text.rsplit("://").next().unwrap_or(text);
            text.trim_end_matches('/').to_ascii_lowercase()
        };
        let near = rules.iter().find(|rule| bare(&rule.issuer) == bare(issuer));
        let help = near.map_or_else(
            || "add a rule for this issuer, or correct its name".to_owned(),
            |rule| format!("the rule's issuer is `{}`: write it so", rule.issuer),
        );
        diagnostics.push(
            policy,
            Code::UnknownIssuer,
            Severity::Warning,
            &value.at,
            format!("no RequestAuthentication for this workload accepts tokens of `{issuer}`"),
            &help,
        );
    }
}

/// The request before the request of a browser has no token.
fn preflight(policies: &[&AuthorizationPolicy], verifies: bool, diagnostics: &mut Diagnostics) {
    let mut allowing = policies
        .iter()
        .filter(|policy| policy.action == Action::Allow && !policy.dry_run)
        .peekable();
    let Some(first) = allowing.peek().copied() else {
        return;
    };
    let asks = |rule: &Rule| token_field(rule).is_some();
    if verifies && allowing.all(|policy| !policy.rules.is_empty() && policy.rules.iter().all(asks))
    {
        diagnostics.push(
            first,
            Code::PreflightIsDenied,
            Severity::Info,
            &first.location().path.key("spec").key("rules"),
            "every rule asks for a token, and a CORS preflight has none",
            "allow the method OPTIONS without a token, where pages of other origins call",
        );
    }
}

/// The first field that only a verified token can satisfy.
fn first_token_field(policy: &AuthorizationPolicy) -> Option<FieldPath> {
    policy.rules.iter().find_map(token_field)
}

fn token_field(rule: &Rule) -> Option<FieldPath> {
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
