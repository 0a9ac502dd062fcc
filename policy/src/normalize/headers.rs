//! Headers: what belongs to one hop is taken away, repeated lines are joined, and the proxy adds its own.

use std::net::IpAddr;

use super::{Header, Incoming, ProxyKind, Refused};

/// The headers that Envoy keeps once: repeated lines become one, joined with a comma.
const JOINED: &[&str] = &[
    "accept",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-type",
    "expect",
    "grpc-accept-encoding",
    "grpc-timeout",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "origin",
    "pragma",
    "referer",
    "te",
    "user-agent",
    "via",
    "x-client-trace-id",
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-external-address",
    "x-envoy-original-path",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-request-id",
];

/// Removed from what strangers send, and every client is one.
const INTERNAL: &[&str] = &[
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-force-trace",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-internal",
    "x-envoy-ip-tags",
    "x-envoy-max-retries",
    "x-envoy-original-url",
    "x-envoy-retriable-header-names",
    "x-envoy-retriable-status-codes",
    "x-envoy-retry-grpc-on",
    "x-envoy-retry-on",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-stream-duration-ms",
];

/// Removed by a gateway as well.
const INTERNAL_AT_THE_EDGE: &[&str] = &[
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-downstream-service-node",
    "x-envoy-original-host",
    "x-envoy-original-path",
];

/// Envoy refuses a `connection` that names more headers than this.
const MAX_NAMED: usize = 9;
/// Envoy makes a random one, so no policy can ask for a certain value.
const REQUEST_ID: &[u8] = b"00000000-0000-4000-8000-000000000000";

/// Names are tokens (RFC 9110 section 5.6.2); white space around values belongs to the line.
pub(super) fn check(headers: &mut [Header]) -> Result<(), Refused> {
    for (name, value) in headers {
        *value = value.trim_ascii().to_vec();
        let is_text = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
        if !name.iter().all(|byte| is_token(*byte)) || !value.iter().all(is_text) {
            return Err(Refused::Syntax);
        }
    }
    Ok(())
}

pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Takes away the headers that `connection` names (RFC 9110 section 7.6.1).
pub(super) fn of_this_hop(headers: &mut Vec<Header>) -> Result<(), Refused> {
    let named: Vec<Vec<u8>> = headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"connection"))
        .flat_map(|(_, value)| tokens(value))
        .map(<[u8]>::to_ascii_lowercase)
        .collect();
    let is_forbidden = |name: &[u8]| {
        let forwarded: [&[u8]; 3] = [
            b"x-forwarded-for",
            b"x-forwarded-host",
            b"x-forwarded-proto",
        ];
        name.starts_with(b":") || forwarded.contains(&name)
    };
    if named.len() > MAX_NAMED || named.iter().any(|name| is_forbidden(name)) {
        return Err(Refused::Connection);
    }
    headers.retain(|(name, value)| {
        let name = name.to_ascii_lowercase();
        let stays = name == b"te" && asks_for_trailers(value);
        stays || HOP_TOKENS.contains(&name.as_slice()) || !named.contains(&name)
    });
    Ok(())
}

/// What `connection` says of the connection itself.
const HOP_TOKENS: [&[u8]; 5] = [
    b"close",
    b"connection",
    b"http2-settings",
    b"keep-alive",
    b"upgrade",
];

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
}

fn asks_for_trailers(value: &[u8]) -> bool {
    tokens(value).any(|token| token == b"trailers")
}

/// Names in lower case, and the lines of headers that Envoy keeps once joined. Empty lines vanish in joining.
pub(super) fn joined(lines: &[Header]) -> Vec<Header> {
    let mut headers: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for (name, value) in lines {
        let name = name.to_ascii_lowercase();
        let earlier = headers.iter_mut().find(|(known, _)| {
            *known == name && JOINED.iter().any(|joined| joined.as_bytes() == name)
        });
        match earlier {
            None => headers.push((name, value.clone())),
            Some(_) if value.is_empty() => {}
            Some((_, first)) => {
                if !first.is_empty() {
                    first.push(b',');
                }
                first.extend_from_slice(value);
            }
        }
    }
    headers.retain(|(name, value)| name != b"referer" || is_referer(value));
    headers
}

/// What the connection manager removes, rewrites and adds.
pub(super) fn edit(
    request: &mut Incoming,
    remote_ip: IpAddr,
    proxy: ProxyKind,
) -> Result<(), Refused> {
    let upgrades = upgrades(&request.headers)?;
    request.headers.retain_mut(|(name, value)| {
        let is = |list: &[&str]| list.iter().any(|listed| listed.as_bytes() == name);
        match name.as_slice() {
            b"connection" | b"upgrade" => upgrades,
            b"expect" => !value.eq_ignore_ascii_case(b"100-continue"),
            b"te" if asks_for_trailers(value) => {
                *value = b"trailers".to_vec();
                true
            }
            b"te" => value.is_empty(),
            _ if proxy == ProxyKind::Sidecar => !is(INTERNAL),
            _ => !is(INTERNAL) && !is(INTERNAL_AT_THE_EDGE),
        }
    });
    let headers = &mut request.headers;
    if proxy != ProxyKind::Sidecar {
        let peer = request.source_ip.to_string().into_bytes();
        match get(headers, b"x-forwarded-for") {
            Some(value) if !value.is_empty() => {
                value.push(b',');
                value.extend(peer);
            }
            _ => set(headers, b"x-forwarded-for", peer),
        }
        let client = remote_ip.to_string().into_bytes();
        set(headers, b"x-envoy-external-address", client);
        set(headers, b"x-request-id", REQUEST_ID.to_vec());
    } else if get(headers, b"x-request-id").is_none() {
        set(headers, b"x-request-id", REQUEST_ID.to_vec());
    }
    let believes = proxy != ProxyKind::Gateway { trusted_proxies: 0 };
    match get(headers, b"x-forwarded-proto") {
        Some(scheme) if believes => {
            let scheme = scheme.to_ascii_lowercase();
            if scheme == b"http" || scheme == b"https" {
                request.scheme = scheme;
            }
        }
        _ => set(headers, b"x-forwarded-proto", request.scheme.clone()),
    }
    Ok(())
}

/// Whether the request asks for a protocol that Istio's proxies let through. HTTP/2 in plain text is ignored.
fn upgrades(headers: &[Header]) -> Result<bool, Refused> {
    let values = |wanted: &'static [u8]| {
        let lines = headers.iter().filter(move |(name, _)| name == wanted);
        lines.map(|(_, value)| value.as_slice())
    };
    let asks = values(b"connection")
        .flat_map(tokens)
        .any(|token| token.eq_ignore_ascii_case(b"upgrade"));
    let protocols: Vec<&[u8]> = values(b"upgrade").collect();
    match protocols.as_slice() {
        [] => Ok(false),
        _ if !asks => Ok(false),
        [protocol] if protocol.eq_ignore_ascii_case(b"websocket") => Ok(true),
        [protocol] if protocol.eq_ignore_ascii_case(b"h2c") => Ok(false),
        _ => Err(Refused::Upgrade),
    }
}

fn get<'h>(headers: &'h mut [Header], wanted: &[u8]) -> Option<&'h mut Vec<u8>> {
    let header = headers.iter_mut().find(|(name, _)| name == wanted);
    header.map(|(_, value)| value)
}

fn set(headers: &mut Vec<Header>, name: &[u8], value: Vec<u8>) {
    match get(headers, name) {
        Some(old) => *old = value,
        None => headers.push((name.to_vec(), value)),
    }
}

/// Whether Envoy keeps a `referer`: an absolute URL without user and fragment, or a relative reference whose
/// first segment has no colon (RFC 9110 section 10.1.3).
fn is_referer(value: &[u8]) -> bool {
    let text = String::from_utf8_lossy(value);
    if let Some(rest) = after_scheme(&text)
        && let Some((user, fragment)) = user_and_fragment(rest)
    {
        return user.is_empty() && fragment.is_empty();
    }
    let is_query =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:@/?".contains(byte);
    let first_segment = value.split(|byte| *byte == b'/').next().unwrap_or_default();
    !first_segment.contains(&b':') && value.iter().all(is_query)
}

/// What follows the `://` of an absolute URL.
fn after_scheme(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    (scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(is_scheme))
        .then_some(rest)
}

/// User and fragment of what follows a scheme; `None` if it is no authority, path and query.
fn user_and_fragment(rest: &str) -> Option<(&str, &str)> {
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let authority = rest.split(['/', '?']).next()?;
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (host, port) = match host.strip_prefix('[') {
        Some(literal) => {
            let (address, port) = literal.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            (address, port.strip_prefix(':'))
        }
        None => match host.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (host, None),
        },
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte);
    let is_right = !host.is_empty()
        && host.bytes().all(is_host)
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
        && rest.bytes().all(|byte| byte.is_ascii_graphic());
    is_right.then_some((user, fragment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_some_headers_are_joined() {
        let lines = [
            ("Authorization", "a"),
            ("X-Foo", "1"),
            ("authorization", ""),
            ("authorization", "b"),
            ("x-foo", "2"),
            ("cookie", "c=1"),
        ];
        let lines =
            lines.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        let joined = joined(&lines);
        let text: Vec<String> = joined
            .iter()
            .map(|(name, value)| {
                format!(
                    "{}={}",
                    String::from_utf8_lossy(name),
                    String::from_utf8_lossy(value)
                )
            })
            .collect();
        assert_eq!(
            text,
            ["authorization=a,b", "x-foo=1", "x-foo=2", "cookie=c=1"]
        );
    }

    #[test]
    fn a_referer_that_is_none_is_dropped() {
        for (value, kept) in [
            ("", true),
            ("https://example.com/a?b=c", true),
            ("android-app://x.y/", true),
            ("git+ssh://h/", true),
            ("http://[::1]/", true),
            ("http://a/<b>", true),
            ("http://@a/#", true),
            ("/a/b:c?d", true),
            ("a%", true),
            ("e t", false),
            ("a:b/c", false),
            ("1http://a/", false),
            ("https://example.com/a#b", false),
            ("https://user@example.com/", false),
            ("https://exa mple.com/", false),
            ("http://a/\u{e9}", false),
            ("http://a_b/", false),
            ("http://h:65536/", false),
            ("http://h:/", false),
            ("http://[zz]/", false),
            ("http:///x", false),
            ("?:", false),
            ("/a#b", false),
            ("a|b", false),
        ] {
            assert_eq!(is_referer(value.as_bytes()), kept, "{value}");
        }
    }
}
