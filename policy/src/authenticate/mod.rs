//! Who a request's token says it is from: what Envoy's `jwt_authn` does with the configuration that Istio
//! gives it. A bad token is data, not an error.

pub(crate) mod base64url;
mod certificate;
mod extract;
mod failure;
pub(crate) mod json;
mod jwks;
pub(crate) mod jws;
mod mode;
pub(crate) mod output;
mod published;
mod tokens;

pub use failure::{TextClaim, TimeClaim, TokenFailure};
pub use json::Json;
pub use jwks::{KeyDoubt, KeyError, KeyRules, KeySet, KeySetError, SkippedKey, TrialLimit};
pub use mode::{TokenMode, TokenSettings};
pub use published::{PUBLISHED_KEYS, PublishedKey};

use std::sync::Arc;

use crate::certificate::Identity;
use crate::crypto::{PublicKey, SignatureVerifier, Work};
use crate::identify::{self, CertificateFailure};
use crate::policy_set::{PolicySet, Provider, TokenPlace};
use crate::remote_keys::KeyLocation;
use crate::request::{HeaderEdits, Request, View};
use json::member;
use jwks::Candidate;
use jws::Jws;
use tokens::Tokens;

/// Seconds by which clocks may differ, both ways (Envoy's default, which Istio keeps).
const CLOCK_SKEW: u64 = 60;

/// The outcome of looking at a request's tokens.
#[derive(Debug, Clone, Default)]
pub struct Authenticated {
    pub(crate) failure: Option<TokenFailure>,
    pub(crate) edits: HeaderEdits,
    pub(crate) payload: Option<Payload>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) is_preflight: bool,
    pub(crate) certificate: Option<Identity>,
    pub(crate) certificate_failure: Option<CertificateFailure>,
    pub(crate) certificate_attempts: Vec<identify::Attempt>,
}

/// The claims of the token that authenticated the request, space-delimited ones split.
#[derive(Debug, Clone, PartialEq)]
pub struct Payload {
    /// As the token has them.
    pub(crate) claims: Arc<Vec<(String, Json)>>,
    /// Those that are split, which hide the others of the name.
    pub(crate) split: Vec<(String, Json)>,
}

/// One token that was looked at for one rule.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) provider: usize,
    pub(crate) place: usize,
    /// `None` if its form is wrong.
    pub(crate) token: Option<Arc<Jws>>,
    pub(crate) outcome: Result<(), TokenFailure>,
}

impl Authenticated {
    /// Whether a key set that was fetched lacks the key that a token names, so that a newer one may have it.
    pub fn misses_key(&self, set: &PolicySet) -> Option<KeyLocation> {
        let mut missing = self
            .attempts
            .iter()
            .filter(|attempt| attempt.outcome == Err(TokenFailure::NoMatchingKey));
        missing.find_map(|attempt| set.providers.get(attempt.provider)?.location.clone())
    }

    /// The verified principal, `ISSUER/SUBJECT`; `None` if the token lacks either.
    pub fn principal(&self) -> Option<String> {
        let payload = self.payload.as_ref()?;
        Some(format!("{}/{}", payload.text("iss")?, payload.text("sub")?))
    }

    /// The client's certificate, if a rule accepted one.
    pub fn certificate(&self) -> Option<&Identity> {
        self.certificate.as_ref()
    }

    /// Why the request is refused, if a token of it is bad.
    pub fn failure(&self) -> Option<TokenFailure> {
        self.failure
    }

    /// What changes before the upstream sees the request; meaningful when it is let through.
    pub fn edits(&self) -> &HeaderEdits {
        &self.edits
    }

    /// The verified claims, if there are any.
    pub fn payload(&self) -> Option<&Payload> {
        self.payload.as_ref()
    }
}

impl Payload {
    /// The claim at a path of object members.
    pub fn claim(&self, path: &[String]) -> Option<&Json> {
        let (first, rest) = path.split_first()?;
        rest.iter()
            .try_fold(self.member(first)?, |value, key| value.get(key))
    }

    /// A top-level claim that is a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        match self.member(name)? {
            Json::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// A top-level claim that is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.member(name).and_then(Json::as_str)
    }

    fn member(&self, name: &str) -> Option<&Json> {
        member(&self.split, name).or_else(|| member(&self.claims, name))
    }
}

/// Looks at the tokens of a request.
///
/// The result holds no verdict yet: [`crate::decide`] turns a failure into one.
pub fn authenticate(
    set: &PolicySet,
    request: &Request<'_>,
    verifier: &impl SignatureVerifier,
) -> Authenticated {
    let mut run = Run {
        set,
        request,
        verifier,
        result: Authenticated {
            edits: HeaderEdits::removing(&set.output_headers, set.keeps_tokens),
            ..Authenticated::default()
        },
        tokens: Tokens::default(),
        work: Work::new(),
    };
    let names = request.headers.iter().map(|(name, _)| *name);
    let twins = names.filter(|name| set.is_twin_of_token_header(name));
    run.result.edits.remove_sent(twins);
    identify::identify(set, request, verifier, &mut run.result);
    run.result.is_preflight = run.is_preflight();
    if !run.result.is_preflight {
        run.result.failure = run.requirement().err();
    }
    run.result
}

struct Run<'a, V> {
    set: &'a PolicySet,
    request: &'a Request<'a>,
    verifier: &'a V,
    result: Authenticated,
    tokens: Tokens<'a>,
    /// What is left for signatures, of all tokens and rules.
    work: Work,
}

impl<'a, V: SignatureVerifier> Run<'a, V> {
    fn view(&self) -> View<'_> {
        View {
            request: self.request,
            edits: &self.result.edits,
        }
    }

    /// A CORS preflight carries no credentials (Fetch standard, "CORS-preflight fetch"), so it passes.
    fn is_preflight(&self) -> bool {
        let is_filled = |name: &'static [u8]| {
            self.view()
                .values(name)
                .next()
                .is_some_and(|value| !value.is_empty())
        };
        !self.set.providers.is_empty()
            && self.request.method == b"OPTIONS"
            && is_filled(b"origin")
            && is_filled(b"access-control-request-method")
    }

    /// The requirement that Istio generates: any rule, or else each of them unless its token is missing.
    fn requirement(&mut self) -> Result<(), TokenFailure> {
        let count = self.set.providers.len();
        match count {
            0 => Ok(()),
            1 => self.optional(0),
            _ => {
                let mut failure = TokenFailure::Missing;
                for provider in 0..count {
                    match self.verify(provider) {
                        Ok(()) => return Ok(()),
                        Err(next) => failure = combine(failure, next),
                    }
                }
                match (0..count).try_for_each(|provider| self.optional(provider)) {
                    Ok(()) => Ok(()),
                    Err(next) => Err(combine(failure, next)),
                }
            }
        }
    }

    fn optional(&mut self, provider: usize) -> Result<(), TokenFailure> {
        match self.verify(provider) {
            Err(TokenFailure::Missing) => Ok(()),
            outcome => outcome,
        }
    }

    /// Verifies the tokens of one rule, the last first; each must be good. What a good one changes stays
    /// changed, even if the request is refused after all.
    fn verify(&mut self, index: usize) -> Result<(), TokenFailure> {
        let set: &'a PolicySet = self.set;
        let Some(provider) = set.providers.get(index) else {
            return Ok(());
        };
        // What clients send in these headers was removed at the beginning, for all rules.
        for header in output::headers(provider) {
            if self.result.edits.take_back(header) {
                self.tokens.header_changed(header);
            }
        }
        let mut found = Vec::new();
        for (place, location) in provider.places.iter().enumerate() {
            let view = View {
                request: self.request,
                edits: &self.result.edits,
            };
            let tokens = self.tokens.at(location, view);
            found.extend(tokens.iter().map(|token| (place, location, *token)));
        }
        if found.is_empty() {
            return Err(TokenFailure::Missing);
        }
        for (place, location, token) in found.into_iter().rev() {
            let parsed = self.tokens.parse(token, &set.tokens);
            let outcome = match &parsed {
                Ok(jws) => self
                    .judge(index, provider, token, jws)
                    .and_then(|()| self.binding(jws)),
                Err(failure) => Err(*failure),
            };
            self.result.attempts.push(Attempt {
                provider: index,
                place,
                token: parsed.as_ref().ok().cloned(),
                outcome,
            });
            let jws = parsed?;
            outcome?;
            self.accept(provider, location, &jws);
        }
        Ok(())
    }

    /// What a good token changes.
    fn accept(&mut self, provider: &Provider, location: &TokenPlace, jws: &Jws) {
        output::add(provider, jws, &mut self.result.edits);
        for header in output::headers(provider) {
            self.tokens.header_changed(header);
        }
        if !provider.forward {
            match location {
                TokenPlace::Header { name, .. } => {
                    self.result.edits.strip(name);
                    self.tokens.header_changed(name);
                }
                TokenPlace::Param(name) => {
                    let path = extract::without_parameter(self.view().path(), name);
                    self.result.edits.strip_path(path);
                    self.tokens.path_changed();
                }
                TokenPlace::Cookie(_) => {}
            }
        }
        self.result.payload = Some(Payload {
            claims: Arc::clone(&jws.payload),
            split: split_claims(&jws.payload, &provider.space_delimited),
        });
    }

    /// Whether the client may use a good token: it may be bound to a certificate.
    fn binding(&self, jws: &Jws) -> Result<(), TokenFailure> {
        let binding = self.set.certificates.as_ref().map(|rules| rules.binding);
        let certificate = self.result.certificate.as_ref();
        identify::check_binding(binding.unwrap_or_default(), &jws.payload, certificate)
    }

    /// The rule's word on a token, which is the same at every look within one request. Several rules ask twice,
    /// and a signature costs too much to be checked again.
    fn judge(
        &mut self,
        index: usize,
        provider: &Provider,
        token: usize,
        jws: &Jws,
    ) -> Result<(), TokenFailure> {
        if let Some(outcome) = self.tokens.judged(token, index) {
            return outcome;
        }
        let outcome = self.check(provider, jws);
        self.tokens.judge(token, index, outcome);
        outcome
    }

    /// Everything about a token but its form, in Envoy's order: audiences before the signature.
    fn check(&mut self, provider: &Provider, jws: &Jws) -> Result<(), TokenFailure> {
        let now = self.request.now;
        if !provider.issuer.is_empty() && provider.issuer != jws.issuer {
            return Err(TokenFailure::UnknownIssuer);
        }
        if now.saturating_add(CLOCK_SKEW) < jws.not_before {
            return Err(TokenFailure::NotYetValid);
        }
        if jws.expiration != 0 && now > jws.expiration.saturating_add(CLOCK_SKEW) {
            return Err(TokenFailure::Expired);
        }
        let is_allowed = |audience: &String| {
            provider
                .audiences
                .iter()
                .any(|one| one == bare_audience(audience))
        };
        if !provider.audiences.is_empty() && !jws.audiences.iter().any(is_allowed) {
            return Err(TokenFailure::AudienceNotAllowed);
        }
        let Some(keys) = &provider.keys else {
            return Err(TokenFailure::KeysUnavailable);
        };
        if self.set.tokens.is_strict() && jws.expiration == 0 {
            return Err(TokenFailure::Verification);
        }
        self.check_signature(keys, jws)
    }

    /// Tries the keys that fit. The order shows only where not all of them can be tried: those that the token
    /// names come first.
    fn check_signature(&mut self, keys: &KeySet, jws: &Jws) -> Result<(), TokenFailure> {
        let strict = self.set.tokens.is_strict();
        let length = jws.signature.len();
        let candidates = || {
            keys.candidates(&jws.key_id, jws.algorithm)
                .filter(|one| !strict || one.key.signature_len(jws.algorithm).is_some())
        };
        if candidates().next().is_none() {
            return Err(TokenFailure::NoMatchingKey);
        }
        // The one that fitted before is asked for first.
        let is_known = |one: Candidate<'_>| {
            let verifier = self.verifier;
            verifier.remembers(one.key, jws.algorithm, &jws.signed, &jws.signature)
        };
        if candidates().any(is_known) {
            return Ok(());
        }
        // Envoy looks at no key behind an Ed25519 key that cannot have made the signature.
        let stops = |one: &Candidate<'_>| matches!(one.key, PublicKey::Ed25519(_)) && length != 64;
        for is_named in [true, false] {
            let reached = candidates().take_while(|one| !stops(one));
            for one in reached.filter(|one| one.is_named == is_named) {
                if strict && one.key.signature_len(jws.algorithm) != Some(length) {
                    continue;
                }
                let Some(cost) = one.key.cost(jws.algorithm, jws.signed.len(), length) else {
                    continue;
                };
                if !self.work.spend(cost) {
                    return Err(TokenFailure::TooManyTrials);
                }
                let verifier = self.verifier;
                if verifier.verify(one.key, jws.algorithm, &jws.signed, &jws.signature) {
                    return Ok(());
                }
            }
        }
        if candidates().any(|one| stops(&one)) {
            return Err(TokenFailure::Ed25519Length);
        }
        Err(TokenFailure::Verification)
    }
}

/// Which failure of several is reported: a real one over an unknown issuer, that one over a missing token,
/// and otherwise the later one.
fn combine(earlier: TokenFailure, later: TokenFailure) -> TokenFailure {
    let is_real = !matches!(later, TokenFailure::Missing | TokenFailure::UnknownIssuer);
    if is_real || earlier == TokenFailure::Missing {
        later
    } else {
        earlier
    }
}

/// An audience without its `http://` or `https://` and without one slash at its end: Envoy compares so.
pub(crate) fn bare_audience(audience: &str) -> &str {
    let bare = audience
        .strip_prefix("http://")
        .or_else(|| audience.strip_prefix("https://"))
        .unwrap_or(audience);
    bare.strip_suffix('/').unwrap_or(bare)
}

/// The named top-level string claims, split at spaces; one without any word stays as it is.
fn split_claims(payload: &[(String, Json)], names: &[String]) -> Vec<(String, Json)> {
    let texts = names
        .iter()
        .filter_map(|name| Some((name, member(payload, name)?.as_str()?)));
    let lists = texts.map(|(name, text)| {
        let words = text.split(' ').filter(|word| !word.is_empty());
        let words: Vec<Json> = words.map(|word| Json::String(word.to_owned())).collect();
        (name.clone(), words)
    });
    lists
        .filter(|(_, words)| !words.is_empty())
        .map(|(name, words)| (name, Json::Array(words)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_failure_beats_an_unknown_issuer() {
        use TokenFailure::{Expired, Missing, UnknownIssuer, Verification};
        assert_eq!(combine(Missing, Missing), Missing);
        assert_eq!(combine(Missing, UnknownIssuer), UnknownIssuer);
        assert_eq!(combine(UnknownIssuer, Missing), UnknownIssuer);
        assert_eq!(combine(UnknownIssuer, Expired), Expired);
        assert_eq!(combine(Expired, UnknownIssuer), Expired);
        assert_eq!(combine(Expired, Verification), Verification);
    }

    #[test]
    fn audiences_lose_scheme_and_slash() {
        for (audience, bare) in [
            ("svc", "svc"),
            ("https://svc/", "svc"),
            ("http://svc", "svc"),
            ("HTTPS://svc", "HTTPS://svc"),
            ("svc//", "svc/"),
            ("https://", ""),
        ] {
            assert_eq!(bare_audience(audience), bare);
        }
    }

    #[test]
    fn only_spaces_split_claims() {
        let claims = |text: &str| vec![(String::from("scope"), Json::String(text.into()))];
        let list = |words: &[&str]| {
            let words = words
                .iter()
                .map(|word| Json::String((*word).into()))
                .collect();
            vec![(String::from("scope"), Json::Array(words))]
        };
        let names = [String::from("scope")];
        assert_eq!(split_claims(&claims("a  b"), &names), list(&["a", "b"]));
        assert_eq!(split_claims(&claims("a\tb"), &names), list(&["a\tb"]));
        assert_eq!(split_claims(&claims(" "), &names), []);
        assert_eq!(split_claims(&claims("a b"), &[]), []);
    }
}
