//! The client certificate in words.

use super::show::clip;
use super::{Item, Outcome, Stage, Step};
use crate::authenticate::Authenticated;
use crate::diagnostic::Location;
use crate::identify::{self, CertificateFailure};
use crate::policy_set::{IdentitySource, PolicySet};

/// `None` without any `CertificateAuthentication`.
pub(super) fn step(set: &PolicySet, who: &Authenticated) -> Option<Step> {
    let certificates = set.certificates.as_ref()?;
    let items = who.certificate_attempts.iter().filter_map(|attempt| {
        let rule = certificates.rules.get(attempt.rule)?;
        let (outcome, text) = outcome(&attempt.outcome);
        Some(Item {
            title: clip(title(&rule.source)),
            outcome,
            text,
            at: rule.at.clone(),
            conditions: Vec::new(),
        })
    });
    let (outcome, text) = match (who.certificate_failure, &who.certificate) {
        (Some(failure), _) => (Outcome::Fail, failure.message().to_owned()),
        (None, Some(identity)) => (
            Outcome::Pass,
            clip(format!("the client is {}", identity.shown())),
        ),
        (None, None) => (
            Outcome::Pass,
            "no certificate is shown, so the request goes on without that identity".into(),
        ),
    };
    Some(Step {
        stage: Stage::Certificate,
        outcome,
        text,
        items: items.collect(),
    })
}

fn title(source: &IdentitySource) -> String {
    match source {
        IdentitySource::Forwarded { trusted_hops, .. } if *trusted_hops > 1 => {
            format!("certificate from {source}, the first of {trusted_hops} elements")
        }
        _ => format!("certificate from {source}"),
    }
}

fn outcome(outcome: &identify::Outcome) -> (Outcome, String) {
    match outcome {
        identify::Outcome::Absent => (Outcome::Skip, "there is none".into()),
        identify::Outcome::UntrustedSender(header) => (
            Outcome::Skip,
            format!("{} is removed: its sender is not trusted", clip(header)),
        ),
        identify::Outcome::Doubtful(doubt) => (Outcome::Fail, (*doubt).to_owned()),
        identify::Outcome::Refused(name, refusal) => {
            (Outcome::Fail, clip(format!("{name}: {refusal}")))
        }
        identify::Outcome::Accepted(name) => (Outcome::Pass, clip(format!("accepted: {name}"))),
    }
}

pub(super) fn conclusion(
    set: &PolicySet,
    who: &Authenticated,
    failure: CertificateFailure,
) -> (String, Option<Location>) {
    let rules = set.certificates.as_ref();
    let attempts = || who.certificate_attempts.iter().rev();
    let failed = attempts().find(|attempt| outcome(&attempt.outcome).0 == Outcome::Fail);
    // A certificate is missing, too, where nobody believes the header that tells of it.
    let last = failed.or_else(|| {
        attempts().find(|attempt| matches!(attempt.outcome, identify::Outcome::UntrustedSender(_)))
    });
    let at = match last {
        Some(attempt) => rules.and_then(|rules| Some(rules.rules.get(attempt.rule)?.at.clone())),
        None => rules.and_then(|rules| rules.required.clone()),
    };
    let why = last.map(|attempt| format!(": {}", outcome(&attempt.outcome).1));
    let place = at.as_ref().and_then(|at| {
        let resource = at.resource.as_ref()?;
        Some(format!(" ({} {})", clip(resource.to_string()), at.path))
    });
    let [why, place] = [why, place].map(Option::unwrap_or_default);
    (format!("{}{why}{place}", failure.message()), at)
}
