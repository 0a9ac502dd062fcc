//! What is decided about a request, and what the client is told.

use std::borrow::Cow;

use crate::authenticate::{Authenticated, TokenFailure};
use crate::identify::CertificateFailure;
use crate::policy_set::{PolicySet, RuleId};
use crate::printable;
use crate::request::Request;
use crate::resource::MutualTlsMode;

/// Whether the request goes on. There is no default: every path to a verdict says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The request goes to the upstream.
    Allow,
    /// The client gets a reply instead.
    Deny,
}

/// What brought the verdict about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No ALLOW policy is there, and no DENY rule matched.
    AllowedNoPolicy,
    /// This ALLOW rule matched.
    MatchedAllow(RuleId),
    /// This DENY rule matched.
    MatchedDeny(RuleId),
    /// ALLOW policies are there and none of their rules matched.
    NoAllowMatched,
    /// A `PeerAuthentication` of this mode refuses the connection. Istio's proxy closes it; a filter inside
    /// a connection can only answer.
    PeerAuthentication(MutualTlsMode),
    /// The client has no certificate that is accepted.
    Certificate(CertificateFailure),
    /// A token is bad.
    Token(TokenFailure),
    /// The policies let it pass, and a header of its token's claims cannot be written.
    UnwritableHeader,
}

/// A verdict and its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decision {
    /// Whether the request goes on.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
}

/// The reply to a request that does not go on. The body is `text/plain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalReply {
    /// 401, 403, or 503 for what cannot go upstream.
    pub status: u16,
    /// The whole body.
    pub body: Cow<'static, str>,
    /// The value of `www-authenticate`, if the reply has one.
    pub www_authenticate: Option<Vec<u8>>,
    /// Envoy's response code details, which name the policy and the rule: [`printable`], without spaces.
    pub details: String,
}

/// A reply as Envoy sends it: gRPC calls get a gRPC status, `HEAD` no body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentReply {
    /// The HTTP status.
    pub status: u16,
    /// The headers that matter, in order.
    pub headers: Vec<(&'static str, Vec<u8>)>,
    /// The body.
    pub body: Cow<'static, str>,
}

/// What Envoy's RBAC filter says.
const ACCESS_DENIED: &str = "RBAC: access denied";
/// Envoy shows this much of a path in `www-authenticate`.
const MAX_REALM_PATH: usize = 256;

impl Reason {
    /// The stable name that scenarios, metrics and the page use.
    pub fn code(self) -> &'static str {
        match self {
            Self::AllowedNoPolicy => "allowed-no-policy",
            Self::MatchedAllow(_) => "matched-allow",
            Self::MatchedDeny(_) => "matched-deny",
            Self::NoAllowMatched => "no-allow-matched",
            Self::PeerAuthentication(_) => "peer-authentication",
            Self::Certificate(_) => "client-certificate",
            Self::Token(_) => "jwt",
            Self::UnwritableHeader => "unwritable-header",
        }
    }

    /// The rule that decided, if it was one.
    pub fn rule(self) -> Option<RuleId> {
        match self {
            Self::MatchedAllow(rule) | Self::MatchedDeny(rule) => Some(rule),
            Self::AllowedNoPolicy
            | Self::NoAllowMatched
            | Self::PeerAuthentication(_)
            | Self::Certificate(_)
            | Self::Token(_)
            | Self::UnwritableHeader => None,
        }
    }

    /// The verdict that goes with it.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::AllowedNoPolicy | Self::MatchedAllow(_) => Verdict::Allow,
            Self::MatchedDeny(_)
            | Self::NoAllowMatched
            | Self::PeerAuthentication(_)
            | Self::Certificate(_)
            | Self::Token(_)
            | Self::UnwritableHeader => Verdict::Deny,
        }
    }
}

impl From<Reason> for Decision {
    fn from(reason: Reason) -> Self {
        Self {
            verdict: reason.verdict(),
            reason,
        }
    }
}

impl Decision {
    /// What the client is told; `None` when the request goes on.
    pub fn reply(
        &self,
        set: &PolicySet,
        request: &Request<'_>,
        who: &Authenticated,
    ) -> Option<LocalReply> {
        let denied = |policy: String| LocalReply {
            status: 403,
            body: ACCESS_DENIED.into(),
            www_authenticate: None,
            details: details(&format!("rbac_access_denied_matched_policy[{policy}]")),
        };
        match self.reason {
            Reason::AllowedNoPolicy | Reason::MatchedAllow(_) => None,
            Reason::NoAllowMatched => Some(denied("none".into())),
            Reason::MatchedDeny(rule) => Some(denied(set.identity(rule))),
            Reason::PeerAuthentication(mode) => {
                let asked = match mode {
                    MutualTlsMode::Disable => "plain text",
                    _ => "mutual TLS",
                };
                Some(LocalReply {
                    status: 403,
                    body: format!("PeerAuthentication {}: {asked} required", mode.as_str()).into(),
                    www_authenticate: None,
                    details: details(&format!(
                        "portcullis_peer_authentication[{}]",
                        mode.as_str()
                    )),
                })
            }
            Reason::Certificate(failure) => Some(LocalReply {
                status: 403,
                body: failure.message().into(),
                www_authenticate: None,
                details: details(&format!(
                    "portcullis_client_certificate{{{}}}",
                    failure.message()
                )),
            }),
            Reason::Token(failure) => Some(LocalReply {
                status: failure.status(),
                body: failure.message().into(),
                www_authenticate: Some(challenge(request, failure)),
                details: details(&format!("jwt_authn_access_denied{{{}}}", failure.message())),
            }),
            Reason::UnwritableHeader => {
                let (name, _) = who.edits.unwritable(&set.tokens).unzip();
                let name = String::from_utf8_lossy(name.unwrap_or_default());
                Some(LocalReply {
                    status: 503,
                    body: format!("invalid header value for: {name}").into(),
                    www_authenticate: None,
                    details: details(&format!("portcullis_unwritable_header{{{name}}}")),
                })
            }
        }
    }
}

/// Response code details are one word, printable, with `_` for a space, as Envoy's are.
fn details(text: &str) -> String {
    printable::write(text.as_bytes()).replace(' ', "_")
}

impl LocalReply {
    /// What the client of `request` gets.
    pub fn sent(&self, request: &Request<'_>) -> SentReply {
        let content_type = request
            .headers
            .iter()
            .find(|(name, _)| *name == b"content-type")
            .map(|(_, value)| *value);
        let is_grpc = content_type.is_some_and(|value| {
            value
                .strip_prefix(b"application/grpc")
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"+"))
        });
        let is_head = request.method == b"HEAD";
        let mut headers: Vec<(&'static str, Vec<u8>)> = Vec::new();
        headers.extend(
            self.www_authenticate
                .clone()
                .map(|value| ("www-authenticate", value)),
        );
        if is_grpc {
            let code = match self.status {
                401 => UNAUTHENTICATED,
                403 => PERMISSION_DENIED,
                _ => UNAVAILABLE,
            };
            headers.push(("content-type", b"application/grpc".to_vec()));
            headers.push(("grpc-status", code.to_vec()));
            if !is_head {
                headers.push(("grpc-message", self.body.as_bytes().to_vec()));
            }
            return SentReply {
                status: 200,
                headers,
                body: "".into(),
            };
        }
        headers.push(("content-type", b"text/plain".to_vec()));
        let body = if is_head {
            "".into()
        } else {
            self.body.clone()
        };
        SentReply {
            status: self.status,
            headers,
            body,
        }
    }
}

/// gRPC's status codes for 401, 403 and 503, as Envoy maps them.
const UNAUTHENTICATED: &[u8] = b"16";
const PERMISSION_DENIED: &[u8] = b"7";
const UNAVAILABLE: &[u8] = b"14";

/// RFC 6750 section 3. Unlike Envoy's, the realm has no query, where tokens travel, escapes quotes, and does
/// not show an `x-envoy-original-path`, which a client of a sidecar can set.
fn challenge(request: &Request<'_>, failure: TokenFailure) -> Vec<u8> {
    let path = request
        .path
        .split(|byte| matches!(byte, b'?' | b'#'))
        .next()
        .unwrap_or_default();
    let shown = path.get(..MAX_REALM_PATH).unwrap_or(path);
    let mut header = b"Bearer realm=\"".to_vec();
    let realm = [
        request.scheme,
        b"://",
        request.authority.unwrap_or_default(),
        shown,
    ]
    .concat();
    for byte in realm {
        if matches!(byte, b'"' | b'\\') {
            header.push(b'\\');
        }
        header.push(byte);
    }
    header.push(b'"');
    if failure != TokenFailure::Missing {
        header.extend_from_slice(b", error=\"invalid_token\"");
    }
    header
}
