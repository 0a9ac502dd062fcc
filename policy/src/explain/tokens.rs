//! The token step in words.

use super::show::clip;
use super::{Item, Outcome, Stage, Step};
use crate::authenticate::{Attempt, Authenticated, Payload, TokenFailure};
use crate::diagnostic::Location;
use crate::policy_set::{PolicySet, Provider, TokenPlace};

pub(super) fn step(set: &PolicySet, who: &Authenticated, now: u64) -> Step {
    // The requirement of several rules looks at a token again when the first round failed.
    let mut seen = vec![Vec::new(); set.providers.len()];
    let items: Vec<Item> = who
        .attempts
        .iter()
        .filter(|attempt| is_new(attempt, &mut seen))
        .filter_map(|attempt| item(set, attempt))
        .collect();
    let (outcome, text) = match (&who.failure, &who.payload) {
        _ if set.providers.is_empty() => (
            Outcome::Skip,
            "no RequestAuthentication is for this workload, so tokens are not looked at".into(),
        ),
        _ if who.is_preflight => (
            Outcome::Skip,
            "a CORS preflight is not asked for a token".into(),
        ),
        (Some(failure), _) => (Outcome::Fail, failure.message().to_owned()),
        (None, None) => (
            Outcome::Pass,
            "no token is sent, so the request goes on without a principal".into(),
        ),
        (None, Some(payload)) => {
            let principal = match (payload.text("iss"), payload.text("sub")) {
                (Some(issuer), Some(subject)) => clip(format!("principal {issuer}/{subject}")),
                _ => "no principal: the token lacks `iss` or `sub`".into(),
            };
            let tolerance = tolerance(payload, now);
            (
                Outcome::Pass,
                format!("a token is accepted; {principal}{tolerance}"),
            )
        }
    };
    Step {
        stage: Stage::Token,
        outcome,
        text,
        items,
    }
}

/// Whether nothing was said of the like: `seen` has what was, by rule.
fn is_new<'w>(attempt: &'w Attempt, seen: &mut [Vec<&'w Attempt>]) -> bool {
    let Some(others) = seen.get_mut(attempt.provider) else {
        return false;
    };
    let features = |attempt: &'w Attempt| {
        let token = attempt.token.as_ref();
        let names = token.map(|token| (&token.issuer, &token.key_id));
        (attempt.place, attempt.outcome, names)
    };
    let is_new = others
        .iter()
        .all(|other| features(other) != features(attempt));
    if is_new {
        others.push(attempt);
    }
    is_new
}

/// Says when a token is good only for the minute of tolerance.
fn tolerance(payload: &Payload, now: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "seconds of this age fit")]
    let now = now as f64;
    let late = payload.number("exp").filter(|exp| *exp > 0.0 && *exp < now);
    let early = payload.number("nbf").filter(|nbf| *nbf > now);
    match (late, early) {
        (Some(exp), _) => format!(
            "; it expired {} s ago, within the minute of tolerance",
            (now - exp).trunc()
        ),
        (None, Some(nbf)) => format!(
            "; it is valid in {} s, within the minute of tolerance",
            (nbf - now).trunc()
        ),
        (None, None) => String::new(),
    }
}

pub(super) fn conclusion(
    set: &PolicySet,
    who: &Authenticated,
    failure: TokenFailure,
) -> (String, Option<Location>) {
    let attempt = who
        .attempts
        .iter()
        .rev()
        .find(|attempt| attempt.outcome == Err(failure));
    let provider = attempt.and_then(|attempt| set.providers.get(attempt.provider));
    let place = attempt
        .zip(provider)
        .and_then(|(attempt, provider)| provider.places.get(attempt.place));
    let found = place.map_or_else(String::new, |place| {
        format!(" (the token in {})", place_text(place))
    });
    let all: Vec<&Provider> = set.providers.iter().collect();
    let hint = attempt
        .zip(provider)
        .map_or_else(String::new, |(attempt, provider)| {
            hint(attempt, provider, &all)
        });
    let text = format!("{}{found}{hint}", failure.message());
    let at = provider.map(|provider| {
        // No single rule is to blame when none of several knows the issuer.
        let is_about_all = failure == TokenFailure::UnknownIssuer && all.len() > 1;
        if is_about_all {
            rules_of(&provider.at)
        } else {
            provider.at.clone()
        }
    });
    (text, at)
}

/// The list that a rule stands in.
fn rules_of(rule: &Location) -> Location {
    Location {
        path: rule.path.parent(),
        ..rule.clone()
    }
}

fn item(set: &PolicySet, attempt: &Attempt) -> Option<Item> {
    let provider = set.providers.get(attempt.provider)?;
    let place = provider.places.get(attempt.place)?;
    let resource = provider.at.resource.as_ref()?;
    let text = match attempt.outcome {
        Ok(()) => "accepted".to_owned(),
        Err(failure) => failure.message().to_owned() + &hint(attempt, provider, &[provider]),
    };
    let issuer = if provider.issuer.is_empty() {
        "any issuer"
    } else {
        &provider.issuer
    };
    Some(Item {
        title: format!(
            "{} against {} of {}",
            place_text(place),
            clip(issuer),
            clip(format!("{}/{}", resource.namespace, resource.name))
        ),
        outcome: Outcome::of(attempt.outcome.is_ok()),
        text,
        at: provider.at.clone(),
        conditions: Vec::new(),
    })
}

fn place_text(place: &TokenPlace) -> String {
    match place {
        TokenPlace::Header { name, .. } => format!("header {}", clip(name)),
        TokenPlace::Param(name) => format!("parameter {}", clip(name)),
        TokenPlace::Cookie(name) => format!("cookie {}", clip(name)),
    }
}

/// What a reader needs to mend the failure: the two values that do not agree. `asked` are the rules whose
/// issuers count.
fn hint(attempt: &Attempt, provider: &Provider, asked: &[&Provider]) -> String {
    match attempt.outcome {
        Err(TokenFailure::UnknownIssuer) => {
            let issuer = clip(attempt.token.as_ref().map_or("", |token| &token.issuer));
            let known = quoted(asked.iter().map(|provider| provider.issuer.as_str()));
            let verb = if asked.len() == 1 {
                "the rule knows"
            } else {
                "the rules know"
            };
            format!(": the token says `{issuer}`, {verb} {known}")
        }
        Err(TokenFailure::AudienceNotAllowed) => {
            format!(
                ": the rule wants {}",
                quoted(provider.audiences.iter().map(String::as_str))
            )
        }
        Err(TokenFailure::NoMatchingKey) => {
            let key_id = clip(attempt.token.as_ref().map_or("", |token| &token.key_id));
            format!(
                ": the token names key `{key_id}`, the set has {}",
                quoted(provider.keys.iter().flat_map(|keys| keys.ids()))
            )
        }
        Err(TokenFailure::TooManyTrials) => {
            ": too many keys may be the token's to try them all; let it name its key by `kid`"
                .into()
        }
        _ => String::new(),
    }
}

fn quoted<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    let quoted: Vec<String> = texts
        .take(8)
        .map(|text| format!("`{}`", clip(text)))
        .collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::authenticate::Json;

    #[track_caller]
    fn check(claim: &str, at: f64, expected: &str) {
        let payload = Payload {
            claims: Arc::new(vec![(claim.into(), Json::Number(at))]),
            split: Vec::new(),
        };
        assert_eq!(tolerance(&payload, 100), expected, "{claim} {at}");
    }

    #[test]
    fn a_token_on_the_edge_is_called_so() {
        check(
            "exp",
            70.0,
            "; it expired 30 s ago, within the minute of tolerance",
        );
        check(
            "nbf",
            159.0,
            "; it is valid in 59 s, within the minute of tolerance",
        );
        check("exp", 100.0, "");
        check("exp", 0.0, "");
        check("nbf", 100.0, "");
    }
}
