//! The answer that the core says a request gets, and the one that came over the wire.

use portcullis_policy::crypto::RustVerifier;
use portcullis_policy::{PolicySet, authenticate, decide};

use crate::corpus::{Entry, Sent};
use crate::drivers::incoming;

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    status: u16,
    /// Envoy's response code details; `None` where Envoy itself refuses, before any policy.
    details: Option<String>,
    /// `None` where the policies let the request pass: the body is not theirs.
    body: Option<String>,
}

/// What stands in the details of a route that answers by itself: the policies let the request pass.
const PASSED: &str = "direct_response";

impl Answer {
    /// The core's own decision about a request at `now`.
    pub(super) fn of_core(policies: &PolicySet, entry: &Entry, sent: &Sent, now: u64) -> Self {
        let decided = incoming(sent, now).with_request(entry.scenario.proxy, |request| {
            let who = authenticate(policies, request, &RustVerifier);
            let decision = decide(policies, request, &who);
            let Some(reply) = decision.reply(policies, request, &who) else {
                return Self {
                    status: 200,
                    details: Some(PASSED.to_owned()),
                    body: None,
                };
            };
            let shown = reply.sent(request);
            Self {
                status: shown.status,
                details: Some(reply.details),
                body: Some(shown.body.into_owned()),
            }
        });
        decided.unwrap_or_else(|refused| Self {
            status: refused.status(),
            details: None,
            body: None,
        })
    }

    /// Whether that is what came.
    pub(super) fn is(&self, got: &Got<'_>) -> bool {
        let same = |wanted: &Option<String>, got: Option<&[u8]>| match (wanted, got) {
            (Some(wanted), Some(got)) => wanted.as_bytes() == got,
            _ => true,
        };
        // Only a request that no policy has seen ends without either; over HTTP/2 the details are not looked at.
        let is_decided = got.details != Some(b"") || self.details.is_none();
        self.status == got.status
            && is_decided
            && same(&self.details, got.details)
            && same(&self.body, Some(got.body))
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let details = self.details.as_deref().unwrap_or("refused by Envoy");
        write!(f, "{} {details}", self.status)?;
        self.body
            .as_ref()
            .map_or(Ok(()), |body| write!(f, " {body:?}"))
    }
}

/// What came over the wire.
#[derive(Debug, Clone, Copy)]
pub(super) struct Got<'g> {
    pub(super) status: u16,
    /// `None` where they were not looked at, empty where there were none.
    pub(super) details: Option<&'g [u8]>,
    pub(super) body: &'g [u8],
}

impl std::fmt::Display for Got<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let details = String::from_utf8_lossy(self.details.unwrap_or_default());
        let body = String::from_utf8_lossy(self.body);
        write!(f, "{} {details} {body:?}", self.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(answer: &Answer, status: u16, details: Option<&str>, body: &str, expected: bool) {
        let got = Got {
            status,
            details: details.map(str::as_bytes),
            body: body.as_bytes(),
        };
        assert_eq!(answer.is(&got), expected, "{got}");
    }

    #[test]
    fn an_answer_is_its_status_its_details_and_its_body() {
        let answer = |status, details: Option<&str>, body: Option<&str>| Answer {
            status,
            details: details.map(str::to_owned),
            body: body.map(str::to_owned),
        };
        let denied = answer(403, Some("rule[0]"), Some("no"));
        check(&denied, 403, Some("rule[0]"), "no", true);
        check(&denied, 403, None, "no", true);
        check(&denied, 401, Some("rule[0]"), "no", false);
        check(&denied, 403, Some("rule[1]"), "no", false);
        check(&denied, 403, Some(""), "no", false);
        check(&denied, 403, None, "yes", false);
        let passed = answer(200, Some(PASSED), None);
        check(&passed, 200, Some(PASSED), "ok", true);
        check(&passed, 200, Some("rule[0]"), "", false);
        let refused = answer(400, None, None);
        check(&refused, 400, Some(""), "", true);
        check(&refused, 200, Some(PASSED), "ok", false);
    }
}
