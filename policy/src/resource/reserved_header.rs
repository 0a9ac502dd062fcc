//! Headers that belong to somebody else than a token. Istio's webhook takes any name, and Envoy removes the
//! client's own header of that name from every request, token or not.

use crate::diagnostic::Severity;
use crate::request::is_twin;

/// A header that a rule had better not write, or must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReservedHeader {
    /// Lower case; a `*` at the end stands for any end.
    pub name: &'static str,
    /// An error where the header frames the message or says whom to believe, else a warning.
    pub severity: Severity,
    /// What others take it for.
    pub reason: &'static str,
}

const fn refused(name: &'static str, reason: &'static str) -> ReservedHeader {
    ReservedHeader {
        name,
        severity: Severity::Error,
        reason,
    }
}

const fn doubtful(name: &'static str, reason: &'static str) -> ReservedHeader {
    ReservedHeader {
        name,
        severity: Severity::Warning,
        reason,
    }
}

const ROUTE: &str = "it becomes the authority, by which the request is routed (RFC 9112, 3.2)";
const BODY: &str = "it says where the body ends (RFC 9112, 6)";
const HOP: &str = "it is about one connection, and not about the request (RFC 9110, 7.6.1)";
const ORIGIN: &str = "it tells where the request comes from, and proxies alone know";
const CERTIFICATE: &str = "it tells of the client's certificate, and proxies alone know";
const CREDENTIALS: &str = "the client's own credentials in it are lost";
const CONTENT: &str = "it says how the body is to be read, and the client's own is lost";
const TRACE: &str = "it ties together what belongs to one request, and not to one subject";
const ADDRESS: &str = "servers take it for the client's address";
const TARGET: &str =
    "servers take it for what is asked for, which the policies have judged by then";
const PREFIX: &str = "servers take it for a part of their own URL";

/// Every such header.
pub const RESERVED_HEADERS: [ReservedHeader; 47] = [
    refused("host", ROUTE),
    refused("content-length", BODY),
    refused("transfer-encoding", BODY),
    refused(
        "trailer",
        "it announces what follows the body (RFC 9110, 6.6.2)",
    ),
    refused(
        "expect",
        "it makes the server keep the client waiting with the body (RFC 9110, 10.1.1)",
    ),
    refused("connection", HOP),
    refused("keep-alive", HOP),
    refused("te", HOP),
    refused("upgrade", HOP),
    refused("http2-settings", HOP),
    refused(
        "proxy",
        "CGI makes it `HTTP_PROXY`, through which a server's own calls go (CVE-2016-5385)",
    ),
    refused("proxy-*", "it is for the next proxy (RFC 9110, 11.7)"),
    refused(
        "x-envoy-*",
        "Envoy obeys it: routes, retries, limits of time",
    ),
    refused("x-forwarded-for", ORIGIN),
    refused("x-forwarded-host", ORIGIN),
    refused("x-forwarded-port", ORIGIN),
    refused("x-forwarded-proto", ORIGIN),
    refused("forwarded", ORIGIN),
    refused("x-forwarded-client-cert", CERTIFICATE),
    refused("client-cert", CERTIFICATE),
    refused("client-cert-chain", CERTIFICATE),
    doubtful("authorization", CREDENTIALS),
    doubtful("cookie", CREDENTIALS),
    doubtful("content-encoding", CONTENT),
    doubtful("content-type", CONTENT),
    doubtful("x-request-id", TRACE),
    doubtful("traceparent", TRACE),
    doubtful("tracestate", TRACE),
    doubtful("b3", TRACE),
    doubtful("x-b3-*", TRACE),
    doubtful("x-ot-span-context", TRACE),
    doubtful("x-cloud-trace-context", TRACE),
    doubtful("via", "proxies find loops by it (RFC 9110, 7.6.3)"),
    doubtful("x-real-ip", ADDRESS),
    doubtful("x-client-ip", ADDRESS),
    doubtful("x-cluster-client-ip", ADDRESS),
    doubtful("true-client-ip", ADDRESS),
    doubtful("cf-connecting-ip", ADDRESS),
    doubtful("x-forwarded-prefix", PREFIX),
    doubtful("x-forwarded-scheme", PREFIX),
    doubtful("x-forwarded-server", PREFIX),
    doubtful("x-forwarded-ssl", PREFIX),
    doubtful("x-original-url", TARGET),
    doubtful("x-rewrite-url", TARGET),
    doubtful("x-http-method", TARGET),
    doubtful("x-http-method-override", TARGET),
    doubtful("x-method-override", TARGET),
];

/// The entry for a header's name in any case. A name that servers may take for a reserved one is reserved too.
pub(super) fn reserved_header(name: &str) -> Option<&'static ReservedHeader> {
    let name = name.to_ascii_lowercase();
    RESERVED_HEADERS
        .iter()
        .find(|one| match one.name.strip_suffix('*') {
            Some(prefix) => {
                let start = name.as_bytes().get(..prefix.len());
                start.is_some_and(|start| is_twin(start, prefix.as_bytes()))
            }
            None => is_twin(name.as_bytes(), one.name.as_bytes()),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: Option<(&str, Severity)>) {
        let found = reserved_header(name).map(|one| (one.name, one.severity));
        assert_eq!(found, expected, "{name}");
    }

    #[test]
    fn names_and_beginnings_are_reserved() {
        let refused = |name| Some((name, Severity::Error));
        let doubtful = |name| Some((name, Severity::Warning));
        check("host", refused("host"));
        check("Transfer-Encoding", refused("transfer-encoding"));
        check("content_length", refused("content-length"));
        check("proxy", refused("proxy"));
        check("Proxy-Connection", refused("proxy-*"));
        check("x-envoy-original-dst-host", refused("x-envoy-*"));
        check("X_ENVOY_retry_on", refused("x-envoy-*"));
        check("x-forwarded-for", refused("x-forwarded-for"));
        check("x-b3-traceid", doubtful("x-b3-*"));
        check("authorization", doubtful("authorization"));
    }

    #[test]
    fn other_names_are_free() {
        for name in [
            "",
            "x-sub",
            "x-forwarded-user",
            "x-forwarded-email",
            "x-forwarded-groups",
            "x-host",
            "hosts",
            "proxyx",
            "x-envoy",
            "x-envoyx-a",
            "connections",
            "x-client-name",
        ] {
            check(name, None);
        }
    }
}
