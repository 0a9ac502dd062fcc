//! The same decision with its story: every token and rule that was looked at, what was wanted, what was
//! found and where it stands, and for a denied request the rule that came closest.
//!
//! Texts are short, one line each ([`crate::printable`]), and carry no secret: values of credential headers are
//! never shown, nor is any token.

mod certificates;
mod miss;
mod show;
mod tokens;

use crate::authenticate::Authenticated;
use crate::decision::{Decision, Reason};
use crate::diagnostic::Location;
use crate::evaluate::{Observer, Part, Walk, evaluate};
use crate::policy_set::{Clause, PolicySet, RuleId};
use crate::request::{Attribute, Request, Tls, Unwritable, View};
use crate::resource::{Action, MutualTlsMode};

/// A decision and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What [`crate::decide`] says.
    pub decision: Decision,
    /// One plain sentence: what decided.
    pub summary: String,
    /// Where the rule or condition stands that decided, or that came closest.
    pub decided: Option<Location>,
    /// What was looked at, in the order of Envoy's filters.
    pub steps: Vec<Step>,
}

/// One of Envoy's filters at work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub stage: Stage,
    /// What came of it.
    pub outcome: Outcome,
    /// In words.
    pub text: String,
    /// The tokens or rules that were looked at.
    pub items: Vec<Item>,
}

/// A stage of the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Client certificates (`CertificateAuthentication`).
    Certificate,
    /// Tokens (`jwt_authn`).
    Token,
    /// AUDIT policies, which decide nothing.
    Audit,
    /// DENY policies.
    Deny,
    /// ALLOW policies.
    Allow,
}

/// What came of a step or an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It let the request go on, or it matched.
    Pass,
    /// It refused the request, or it did not match.
    Fail,
    /// It was not looked at, or had nothing to say.
    Skip,
}

/// One token or one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its name.
    pub title: String,
    /// Whether the token is good or the rule matches.
    pub outcome: Outcome,
    /// In words.
    pub text: String,
    /// Where it stands.
    pub at: Location,
    /// The conditions of a rule.
    pub conditions: Vec<Condition>,
}

/// One condition of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The policy's field, from the rule down: `to[0].operation.hosts`.
    pub field: String,
    /// The attribute in words: `host`, `header x-team`.
    pub attribute: String,
    /// The values that would satisfy it.
    pub wanted: String,
    /// The value of the request.
    pub got: String,
    /// Whether it holds.
    pub holds: bool,
    /// Where it stands.
    pub at: Location,
    pub(crate) part: Part,
}

impl Stage {
    /// Whether it is where rules of the action are looked at.
    fn is_of(self, action: Action) -> bool {
        match action {
            Action::Allow => self == Self::Allow,
            Action::Deny => self == Self::Deny,
            Action::Audit => self == Self::Audit,
        }
    }
}

impl Outcome {
    fn of(matched: bool) -> Self {
        if matched { Self::Pass } else { Self::Fail }
    }
}

/// Decides as [`crate::decide`] does, and tells how.
pub fn explain(set: &PolicySet, request: &Request<'_>, who: &Authenticated) -> Explanation {
    let mut trace = Trace::new(set, request, who);
    let decision = evaluate(set, request, who, &mut trace);
    let mut steps: Vec<Step> = certificates::step(set, who).into_iter().collect();
    steps.push(tokens::step(set, who, request.now));
    let not_reached = match decision.reason {
        Reason::PeerAuthentication(_) => Some("not reached: the connection was refused"),
        Reason::Certificate(_) => Some("not reached: the client certificate was refused"),
        Reason::Token(_) => Some("not reached: the token was refused"),
        _ => None,
    };
    for (stage, ids) in [
        (Stage::Audit, &set.audit),
        (Stage::Deny, &set.deny),
        (Stage::Allow, &set.allow),
    ] {
        if stage != Stage::Audit || !ids.is_empty() {
            let rules = trace.rules.iter().filter(|rule| stage.is_of(rule.action));
            steps.push(stage_step(stage, set, decision, not_reached, rules));
        }
    }
    let (summary, decided) = conclusion(set, request, who, decision, &trace.rules);
    Explanation {
        decision,
        summary,
        decided,
        steps,
    }
}

/// How many ALLOW rules [`summary`] looks at for the closest one.
const SUMMARISED: usize = 32;

/// The sentence of [`Explanation::summary`] for a decision that was made, at a cost that the number of rules does not
/// change: of many ALLOW rules of which none matched, the closest of the first [`SUMMARISED`].
pub fn summary(
    set: &PolicySet,
    request: &Request<'_>,
    who: &Authenticated,
    decision: Decision,
) -> String {
    let mut trace = Trace::new(set, request, who);
    let ids = match decision.reason {
        Reason::MatchedDeny(id) | Reason::MatchedAllow(id) => vec![id],
        Reason::NoAllowMatched => set.allow.iter().copied().take(SUMMARISED).collect(),
        _ => Vec::new(),
    };
    for id in ids {
        let action = set.policy(id).map(|policy| policy.action);
        if let Some((rule, action)) = set.rule(id).zip(action) {
            let walk = trace.walk;
            let matched = walk.matches(rule, action, &mut trace);
            trace.rule(id, matched);
        }
    }
    let (summary, _) = conclusion(set, request, who, decision, &trace.rules);
    if decision.reason == Reason::NoAllowMatched && set.allow.len() > SUMMARISED {
        format!("{summary} (of the first {SUMMARISED} rules)")
    } else {
        summary
    }
}

/// What was seen of one rule.
struct RuleTrace {
    id: RuleId,
    action: Action,
    matched: bool,
    title: String,
    at: Location,
    conditions: Vec<Condition>,
}

struct Trace<'a> {
    set: &'a PolicySet,
    walk: Walk<'a>,
    rules: Vec<RuleTrace>,
    /// Of the rule that is being looked at.
    conditions: Vec<Condition>,
}

impl<'a> Trace<'a> {
    fn new(set: &'a PolicySet, request: &'a Request<'a>, who: &'a Authenticated) -> Self {
        let view = View {
            request,
            edits: &who.edits,
        };
        Self {
            set,
            walk: Walk {
                view,
                payload: who.payload.as_ref(),
                certificate: who.certificate.as_ref(),
            },
            rules: Vec::new(),
            conditions: Vec::new(),
        }
    }
}

impl Observer for Trace<'_> {
    const EXHAUSTIVE: bool = true;

    fn clause(&mut self, part: Part, clause: &Clause, holds: bool) {
        self.conditions
            .push(show::condition(self.set, self.walk, part, clause, holds));
    }

    fn rule(&mut self, id: RuleId, matched: bool) {
        let mut conditions = std::mem::take(&mut self.conditions);
        let Some(policy) = self.set.policy(id) else {
            return;
        };
        let index = usize::try_from(id.rule).unwrap_or_default();
        let path = policy.at.path.key("spec").key("rules").index(index);
        let prefix = format!("{path}.");
        for condition in &mut conditions {
            let whole = condition.at.path.to_string();
            whole
                .strip_prefix(&prefix)
                .unwrap_or(&whole)
                .clone_into(&mut condition.field);
            condition.at = Location {
                path: condition.at.path.clone(),
                ..policy.at.clone()
            };
        }
        let name = policy.at.resource.as_ref();
        let title = name.map_or_else(String::new, |id| format!("{}/{}", id.namespace, id.name));
        self.rules.push(RuleTrace {
            id,
            action: policy.action,
            matched,
            title: format!("rule {index} of {}", show::clip(title)),
            at: Location {
                path,
                ..policy.at.clone()
            },
            conditions,
        });
    }
}

fn stage_step<'t>(
    stage: Stage,
    set: &PolicySet,
    decision: Decision,
    not_reached: Option<&str>,
    rules: impl Iterator<Item = &'t RuleTrace>,
) -> Step {
    let items: Vec<Item> = rules
        .map(|rule| Item {
            title: rule.title.clone(),
            outcome: Outcome::of(rule.matched),
            text: rule_text(rule),
            at: rule.at.clone(),
            conditions: rule.conditions.clone(),
        })
        .collect();
    let matched = items
        .iter()
        .filter(|item| item.outcome == Outcome::Pass)
        .count();
    let is_denied = matches!(decision.reason, Reason::MatchedDeny(_));
    let (outcome, text) = match stage {
        _ if let Some(text) = not_reached => (Outcome::Skip, text.to_owned()),
        Stage::Certificate | Stage::Token | Stage::Audit => (
            Outcome::Skip,
            format!(
                "{matched} of {} AUDIT rules match; they decide nothing",
                items.len()
            ),
        ),
        Stage::Deny if items.is_empty() => (
            Outcome::Skip,
            "no DENY rule is for this workload".to_owned(),
        ),
        Stage::Deny => (
            Outcome::of(matched == 0),
            format!("{matched} of {} DENY rules match", items.len()),
        ),
        Stage::Allow if is_denied => (Outcome::Skip, "not reached: a DENY rule matched".to_owned()),
        Stage::Allow if !set.has_allow => (
            Outcome::Skip,
            "no ALLOW policy is for this workload, so every request may pass".to_owned(),
        ),
        Stage::Allow => (
            Outcome::of(matched > 0),
            format!("{matched} of {} ALLOW rules match", items.len()),
        ),
    };
    Step {
        stage,
        outcome,
        text,
        items,
    }
}

fn rule_text(rule: &RuleTrace) -> String {
    let missing = miss::missing(&rule.conditions);
    match missing.as_slice() {
        _ if rule.matched && rule.conditions.is_empty() => "matches every request".into(),
        _ if rule.matched => "matches".into(),
        [] => "matches no request".into(),
        [only] => show::needs(only),
        [first, rest @ ..] => format!("{} (and {} more)", show::needs(first), rest.len()),
    }
}

fn refused_peer(
    set: &PolicySet,
    request: &Request<'_>,
    mode: MutualTlsMode,
) -> (String, Option<Location>) {
    let refusal = set.peer.as_ref().and_then(|peer| peer.refusal(request));
    let at = refusal
        .map(|refusal| refusal.at.clone())
        .unwrap_or_default();
    let name = at.resource.as_ref().map(ToString::to_string);
    let got = match request.tls {
        Attribute::Known(Tls::None) => "plain text",
        Attribute::Known(Tls::Server) => "TLS without a client certificate",
        Attribute::Known(Tls::Mutual) => "mutual TLS",
        Attribute::Unreadable => "a connection that cannot be read here",
    };
    let summary = format!(
        "{} is {} and got {got}; Istio closes such a connection",
        show::clip(name.unwrap_or_default()),
        mode.as_str()
    );
    let path = at.path.key("spec");
    (summary, Some(Location { path, ..at }))
}

fn conclusion(
    set: &PolicySet,
    request: &Request<'_>,
    who: &Authenticated,
    decision: Decision,
    rules: &[RuleTrace],
) -> (String, Option<Location>) {
    let decided_by = |id: RuleId| rules.iter().find(|rule| rule.id == id);
    match decision.reason {
        Reason::PeerAuthentication(mode) => refused_peer(set, request, mode),
        Reason::Certificate(failure) => certificates::conclusion(set, who, failure),
        Reason::Token(failure) => tokens::conclusion(set, who, failure),
        Reason::UnwritableHeader => {
            let (name, why) = who.edits.unwritable(&set.tokens).unzip();
            (
                format!(
                    "a claim with {} cannot become the header {}",
                    why.map_or("such characters", Unwritable::what),
                    show::clip(name.unwrap_or_default())
                ),
                None,
            )
        }
        Reason::AllowedNoPolicy => (
            "no policy denies it, and no ALLOW policy is there".into(),
            None,
        ),
        Reason::MatchedAllow(id) => (
            decided_by(id).map_or_else(String::new, |rule| format!("{} allows it", rule.title)),
            decided_by(id).map(|rule| rule.at.clone()),
        ),
        Reason::MatchedDeny(id) => (
            decided_by(id).map_or_else(String::new, |rule| {
                format!(
                    "{} denies it{}",
                    rule.title,
                    miss::because(&rule.conditions)
                )
            }),
            decided_by(id).map(|rule| rule.at.clone()),
        ),
        Reason::NoAllowMatched => {
            let closest = miss::closest(rules.iter().filter(|rule| rule.action == Action::Allow));
            match closest {
                Some((rule, missing)) => (
                    format!(
                        "no ALLOW rule matched; closest: {} {}",
                        rule.title,
                        rule_text(rule)
                    ),
                    missing
                        .first()
                        .map(|condition| condition.at.clone())
                        .or_else(|| Some(rule.at.clone())),
                ),
                None => (
                    "an ALLOW policy without rules denies every request".into(),
                    set.policies
                        .iter()
                        .find(|policy| policy.action == Action::Allow)
                        .map(|policy| Location {
                            path: policy.at.path.key("spec"),
                            ..policy.at.clone()
                        }),
                ),
            }
        }
    }
}
