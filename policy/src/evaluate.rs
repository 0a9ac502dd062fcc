//! The one walk over the rules. It decides silently and at once, or, for an observer that wants to see
//! everything, goes on looking after the decision is made.

use crate::authenticate::{Authenticated, Json, Payload};
use crate::certificate::Identity;
use crate::decision::{Decision, Reason, Verdict};
use crate::matcher::{Case, StringMatcher};
use crate::policy_set::{Clause, MetadataMatcher, PathMatcher, PolicySet, Rule, RuleId, Test};
use crate::request::{Attribute, MetadataValue, Request, View};
use crate::resource::Action;

/// Decides about a request whose tokens were looked at by [`crate::authenticate`]. Allocates nothing.
pub fn decide(set: &PolicySet, request: &Request<'_>, who: &Authenticated) -> Decision {
    evaluate(set, request, who, &mut Silent)
}

/// Sees what the walk sees.
pub(crate) trait Observer {
    /// Whether the walk goes on when the outcome is clear already.
    const EXHAUSTIVE: bool;

    /// A clause was looked at.
    fn clause(&mut self, part: Part, clause: &Clause, holds: bool);

    /// All clauses of a rule that matter were looked at.
    fn rule(&mut self, id: RuleId, matched: bool);
}

/// The part of a rule that a clause belongs to, with the number of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    From(usize),
    To(usize),
    When,
}

struct Silent;

impl Observer for Silent {
    const EXHAUSTIVE: bool = false;

    #[inline]
    fn clause(&mut self, _: Part, _: &Clause, _: bool) {}

    #[inline]
    fn rule(&mut self, _: RuleId, _: bool) {}
}

pub(crate) fn evaluate<O: Observer>(
    set: &PolicySet,
    request: &Request<'_>,
    who: &Authenticated,
    observer: &mut O,
) -> Decision {
    let refusal = set.peer.as_ref().and_then(|peer| peer.refusal(request));
    if let Some(refusal) = refusal {
        return Reason::PeerAuthentication(refusal.mode).into();
    }
    if let Some(failure) = who.certificate_failure {
        return Reason::Certificate(failure).into();
    }
    if let Some(failure) = who.failure {
        return Reason::Token(failure).into();
    }
    let walk = Walk {
        view: View {
            request,
            edits: &who.edits,
        },
        payload: who.payload.as_ref(),
        certificate: who.certificate.as_ref(),
    };
    if O::EXHAUSTIVE {
        walk.first_match(set, &set.audit, Action::Audit, observer);
    }
    let denied = walk.first_match(set, &set.deny, Action::Deny, observer);
    if let Some(rule) = denied
        && !O::EXHAUSTIVE
    {
        return Reason::MatchedDeny(rule).into();
    }
    let allowed = walk.first_match(set, &set.allow, Action::Allow, observer);
    let reason = match (denied, allowed) {
        (Some(rule), _) => Reason::MatchedDeny(rule),
        (None, Some(rule)) => Reason::MatchedAllow(rule),
        (None, None) if set.has_allow => Reason::NoAllowMatched,
        (None, None) => Reason::AllowedNoPolicy,
    };
    let decision = Decision::from(reason);
    match decision.verdict {
        Verdict::Allow if who.edits.unwritable(&set.tokens).is_some() => {
            Reason::UnwritableHeader.into()
        }
        _ => decision,
    }
}

/// What the clauses of one request are tested on.
#[derive(Clone, Copy)]
pub(crate) struct Walk<'a> {
    pub(crate) view: View<'a>,
    pub(crate) payload: Option<&'a Payload>,
    pub(crate) certificate: Option<&'a Identity>,
}

impl Walk<'_> {
    fn first_match<O: Observer>(
        self,
        set: &PolicySet,
        rules: &[RuleId],
        action: Action,
        observer: &mut O,
    ) -> Option<RuleId> {
        let mut first = None;
        for id in rules {
            let Some(rule) = set.rule(*id) else { continue };
            let matched = self.matches(rule, action, observer);
            observer.rule(*id, matched);
            if matched {
                first = first.or(Some(*id));
                if !O::EXHAUSTIVE {
                    break;
                }
            }
        }
        first
    }

    /// Whether a rule of that action matches.
    pub(crate) fn matches<O: Observer>(
        self,
        rule: &Rule,
        action: Action,
        observer: &mut O,
    ) -> bool {
        let mut any = |groups: &[Box<[Clause]>], part: fn(usize) -> Part| {
            let mut found = groups.is_empty();
            for (index, group) in groups.iter().enumerate() {
                let holds = self.all(group, part(index), action, observer);
                found |= holds;
                if found && !O::EXHAUSTIVE {
                    break;
                }
            }
            found
        };
        let from = any(&rule.from, Part::From);
        if !from && !O::EXHAUSTIVE {
            return false;
        }
        let to = any(&rule.to, Part::To);
        if !to && !O::EXHAUSTIVE {
            return false;
        }
        let when = self.all(&rule.when, Part::When, action, observer);
        from && to && when
    }

    fn all<O: Observer>(
        self,
        clauses: &[Clause],
        part: Part,
        action: Action,
        observer: &mut O,
    ) -> bool {
        let mut all = true;
        for clause in clauses {
            let holds = self.holds(clause, action);
            observer.clause(part, clause, holds);
            all &= holds;
            if !all && !O::EXHAUSTIVE {
                break;
            }
        }
        all
    }

    /// An attribute that is missing matches no value, so its negation holds. One that cannot be read never
    /// lets a request through: neither form holds for ALLOW, both hold for DENY and AUDIT.
    pub(crate) fn holds(self, clause: &Clause, action: Action) -> bool {
        match self.matches_any(&clause.test) {
            Attribute::Known(matched) => matched != clause.negated,
            Attribute::Unreadable => action != Action::Allow,
        }
    }

    fn matches_any(self, test: &Test) -> Attribute<bool> {
        let request = self.view.request;
        let known = Attribute::Known;
        match test {
            Test::PeerName(matchers) => request.peer_names.map(|names| {
                names
                    .iter()
                    .any(|name| matchers.iter().any(|matcher| matcher.matches(name)))
            }),
            Test::SourceIp(ranges) => request
                .source_ip
                .map(|ip| ranges.iter().any(|range| range.contains(ip))),
            Test::RemoteIp(ranges) => request
                .remote_ip
                .map(|ip| ranges.iter().any(|range| range.contains(ip))),
            Test::DestinationIp(ranges) => request
                .destination_ip
                .map(|ip| ranges.iter().any(|range| range.contains(ip))),
            Test::DestinationPort(ports) => {
                request.destination_port.map(|port| ports.contains(&port))
            }
            Test::ServerName(values) => request
                .server_name
                .map(|name| any(values, name, Case::Sensitive)),
            Test::Host(values) => known(
                request
                    .authority
                    .is_some_and(|host| any(values, host, Case::AsciiInsensitive)),
            ),
            Test::Method(values) => known(any(values, request.method, Case::Sensitive)),
            Test::Path(values) => {
                let path = self.view.path_only();
                known(values.iter().any(|value| match value {
                    PathMatcher::String(matcher) => matcher.matches(path, Case::Sensitive),
                    PathMatcher::Template(template) => template.matches(path),
                }))
            }
            Test::Header { name, values } => known(
                self.view
                    .values(name)
                    .any(|value| any(values, value, Case::Sensitive)),
            ),
            Test::RequestPrincipal(matchers) => known(self.payload.is_some_and(|payload| {
                payload
                    .text("iss")
                    .zip(payload.text("sub"))
                    .is_some_and(|(issuer, subject)| {
                        matchers
                            .iter()
                            .any(|matcher| matcher.matches(issuer, subject))
                    })
            })),
            Test::Claim { path, values } => known(
                self.payload
                    .and_then(|payload| payload.claim(path))
                    .is_some_and(|claim| claim_matches(claim, values)),
            ),
            Test::Certificate { test, .. } => test.matches(self.certificate),
            Test::Metadata {
                filter,
                key,
                values,
            } => request.metadata.map(|metadata| {
                let found = metadata.get(filter, key);
                values.iter().any(|value| metadata_matches(found, value))
            }),
        }
    }
}

fn metadata_matches(found: Option<&MetadataValue>, wanted: &MetadataMatcher) -> bool {
    let is =
        |matcher: &StringMatcher, text: &str| matcher.matches(text.as_bytes(), Case::Sensitive);
    match (wanted, found) {
        (MetadataMatcher::Text(matcher), Some(MetadataValue::Text(text))) => is(matcher, text),
        (MetadataMatcher::InList(matcher), Some(MetadataValue::Texts(texts))) => {
            texts.iter().any(|text| is(matcher, text))
        }
        _ => false,
    }
}

fn any(values: &[StringMatcher], text: &[u8], case: Case) -> bool {
    values.iter().any(|value| value.matches(text, case))
}

/// Strings, and strings in lists. Numbers, booleans and objects never match, not even `*`.
fn claim_matches(claim: &Json, values: &[StringMatcher]) -> bool {
    let one = |claim: &Json| {
        claim
            .as_str()
            .is_some_and(|text| any(values, text.as_bytes(), Case::Sensitive))
    };
    match claim {
        Json::Array(items) => items.iter().any(one),
        claim => one(claim),
    }
}
