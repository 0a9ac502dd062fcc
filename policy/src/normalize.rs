//! What Envoy's connection manager does to a request before any filter runs, for callers that are not
//! behind one: paths (Istio's default mode BASE), the client's address, repeated headers.

use std::net::IpAddr;

use crate::request::{Attribute, Request};

/// The proxy in front of the workload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Proxy {
    /// Whom `x-forwarded-for` is believed.
    pub kind: ProxyKind,
    /// What is done to paths.
    pub path_normalization: PathNormalization,
}

/// Who stands in front of the workload, which decides whom `x-forwarded-for` is believed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProxyKind {
    /// A sidecar believes the last entry.
    #[default]
    Sidecar,
    /// A gateway believes as many hops as it trusts (`gatewayTopology.numTrustedProxies`).
    Gateway {
        /// 0 believes nobody: the TCP peer is the client.
        trusted_proxies: usize,
    },
}

/// Istio's `MeshConfig.pathNormalization`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PathNormalization {
    /// Paths stay as they are sent.
    None,
    /// Dot segments, backslashes and escapes of unreserved characters are resolved (RFC 3986 section 6.2.2).
    #[default]
    Base,
    /// As [`Self::Base`], and runs of slashes become one.
    MergeSlashes,
    /// Escaped slashes and backslashes become plain, then as [`Self::MergeSlashes`].
    DecodeAndMergeSlashes,
}

impl PathNormalization {
    /// Istio's names.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("NONE", Self::None),
        ("BASE", Self::Base),
        ("MERGE_SLASHES", Self::MergeSlashes),
        ("DECODE_AND_MERGE_SLASHES", Self::DecodeAndMergeSlashes),
    ];

    /// Reads Istio's name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, mode)| *mode)
    }

    /// Istio's name.
    pub fn as_str(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(_, mode)| *mode == self)
            .map_or("BASE", |(name, _)| name)
    }
}

/// Envoy answers 400 to such a path before any filter sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedPath;

/// A request as a client sends it, with what the connection tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// The method.
    pub method: Vec<u8>,
    /// `http` or `https`.
    pub scheme: Vec<u8>,
    /// The `Host` or `:authority`.
    pub authority: Option<Vec<u8>>,
    /// The path with its query.
    pub path: Vec<u8>,
    /// Header lines in order, names in any case.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The TCP peer.
    pub source_ip: IpAddr,
    /// The address that was connected to.
    pub destination_ip: IpAddr,
    /// The port that was connected to.
    pub destination_port: u16,
    /// The server name of the TLS handshake; empty without one.
    pub server_name: Vec<u8>,
    /// [`Request::peer_names`]
    pub peer_names: Vec<Vec<u8>>,
    /// Seconds since the epoch.
    pub now: u64,
}

impl Incoming {
    /// Normalises the request in place, and calls `then` with what a filter would see.
    ///
    /// # Errors
    /// When Envoy answers 400 before any filter.
    pub fn with_request<R>(
        mut self,
        proxy: Proxy,
        then: impl FnOnce(&Request<'_>) -> R,
    ) -> Result<R, RefusedPath> {
        self.path = path(&self.path, proxy.path_normalization)?;
        self.headers = headers(
            self.headers
                .iter()
                .map(|(name, value)| (name.as_slice(), value.as_slice())),
        );
        self.server_name.make_ascii_lowercase();
        let headers: Vec<(&[u8], &[u8])> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_slice()))
            .collect();
        let peer_names: Vec<&[u8]> = self.peer_names.iter().map(Vec::as_slice).collect();
        Ok(then(&Request {
            method: &self.method,
            scheme: &self.scheme,
            authority: self.authority.as_deref(),
            path: &self.path,
            headers: &headers,
            source_ip: Attribute::Known(self.source_ip),
            remote_ip: Attribute::Known(remote_address(self.source_ip, &self.headers, proxy.kind)),
            destination_ip: Attribute::Known(self.destination_ip),
            destination_port: Attribute::Known(self.destination_port),
            server_name: Attribute::Known(&self.server_name),
            peer_names: Attribute::Known(&peer_names),
            now: self.now,
        }))
    }
}

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
    "user-agent",
    "via",
    "x-client-trace-id",
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-external-address",
    "x-envoy-original-path",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-request-id",
];

/// Names in lower case, and the lines of headers that Envoy keeps once joined. Empty lines vanish in joining.
pub fn headers<'h>(
    lines: impl IntoIterator<Item = (&'h [u8], &'h [u8])>,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut headers: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for (name, value) in lines {
        let name = name.to_ascii_lowercase();
        let earlier = headers.iter_mut().find(|(known, _)| {
            *known == name && JOINED.iter().any(|joined| joined.as_bytes() == name)
        });
        match earlier {
            None => headers.push((name, value.to_vec())),
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

/// The client's address behind trusted hops. `headers` are those of [`headers`].
pub fn remote_address(peer: IpAddr, headers: &[(Vec<u8>, Vec<u8>)], proxy: ProxyKind) -> IpAddr {
    let forwarded = headers
        .iter()
        .find(|(name, _)| name == b"x-forwarded-for")
        .map(|(_, value)| value.as_slice());
    let from_end = match proxy {
        ProxyKind::Sidecar => 1,
        ProxyKind::Gateway { trusted_proxies: 0 } => return peer,
        ProxyKind::Gateway { trusted_proxies } => trusted_proxies,
    };
    let entry = forwarded.and_then(|value| value.rsplit(|byte| *byte == b',').nth(from_end - 1));
    let parsed = entry
        .and_then(|entry| std::str::from_utf8(entry.trim_ascii()).ok())
        .and_then(|text| text.parse().ok());
    parsed.unwrap_or(peer)
}

/// The path as filters see it.
///
/// # Errors
/// When Envoy refuses it: a byte outside ASCII, and an escaped NUL unless paths stay as they are.
pub fn path(raw: &[u8], mode: PathNormalization) -> Result<Vec<u8>, RefusedPath> {
    if !raw.is_ascii() || raw.contains(&0) {
        return Err(RefusedPath);
    }
    let without_fragment = raw.split(|byte| *byte == b'#').next().unwrap_or_default();
    let mark = without_fragment
        .iter()
        .position(|byte| *byte == b'?')
        .unwrap_or(without_fragment.len());
    let (path, query) = without_fragment.split_at(mark);
    if mode == PathNormalization::None || !path.starts_with(b"/") {
        return Ok(without_fragment.to_vec());
    }
    let unescaped = match mode {
        PathNormalization::DecodeAndMergeSlashes => decode_slashes(path),
        PathNormalization::None | PathNormalization::Base | PathNormalization::MergeSlashes => {
            path.to_vec()
        }
    };
    let decoded = decode_unreserved(&without_dot_parameters(&unescaped))?;
    let mut normal = escape(&resolve_dots(&decoded));
    if mode != PathNormalization::Base {
        normal = merge_slashes(&normal);
    }
    normal.extend_from_slice(query);
    Ok(normal)
}

/// `%2F` and `%5C` as the characters that they stand for.
fn decode_slashes(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        let (byte, next) = match rest {
            [b'%', b'2', b'F' | b'f', after @ ..] => (b'/', after),
            [b'%', b'5', b'C' | b'c', after @ ..] => (b'\\', after),
            _ => (*first, tail),
        };
        decoded.push(byte);
        rest = next;
    }
    decoded
}

/// Runs of slashes as one. A path of nothing else keeps two: Envoy puts back the first and the last.
fn merge_slashes(path: &[u8]) -> Vec<u8> {
    if !path.windows(2).any(|pair| pair == b"//") {
        return path.to_vec();
    }
    let segments: Vec<&[u8]> = path
        .split(|byte| *byte == b'/')
        .filter(|segment| !segment.is_empty())
        .collect();
    let end: &[u8] = if path.ends_with(b"/") { b"/" } else { b"" };
    [b"/", segments.join(&b'/').as_slice(), end].concat()
}

/// `.` and `..` with parameters (`..;x`) are dot segments.
fn without_dot_parameters(path: &[u8]) -> Vec<u8> {
    let segments: Vec<&[u8]> = path
        .split(|byte| *byte == b'/')
        .map(|segment| {
            let end = segment
                .iter()
                .position(|byte| *byte == b';')
                .unwrap_or(segment.len());
            match segment.get(..end) {
                Some(dots @ (b"." | b"..")) => dots,
                _ => segment,
            }
        })
        .collect();
    segments.join(&b'/')
}

/// Backslashes become slashes, escapes of unreserved characters (RFC 3986 section 2.3) the character. A `%`
/// that starts no escape stays, unless what is decoded behind it would make it one: then it is escaped.
fn decode_unreserved(path: &[u8]) -> Result<Vec<u8>, RefusedPath> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut stray = None;
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => hex(*high, *low),
            _ => None,
        };
        match escaped {
            Some(0) => return Err(RefusedPath),
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                decoded.push(byte);
                rest = tail.get(2..).unwrap_or_default();
                if let Some(at) = stray
                    && starts_escape(&decoded, at, rest)
                {
                    decoded.splice(at..=at, *b"%25");
                    stray = None;
                }
            }
            _ => {
                if *first == b'%' && escaped.is_none() {
                    stray = Some(decoded.len());
                }
                decoded.push(if *first == b'\\' { b'/' } else { *first });
                rest = tail;
            }
        }
    }
    Ok(decoded)
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    digit(high)
        .zip(digit(low))
        .map(|(high, low)| high << 4 | low)
}

/// Whether the `%` at `at`, with what was just decoded and what comes next, reads as an escape.
fn starts_escape(decoded: &[u8], at: usize, next: &[u8]) -> bool {
    match (decoded.get(at + 1..), next) {
        (Some([high]), [low, ..]) | (Some([high, low]), _) => hex(*high, *low).is_some(),
        _ => false,
    }
}

/// RFC 3986 section 5.2.4; empty segments are kept.
fn resolve_dots(path: &[u8]) -> Vec<u8> {
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut ends_open = false;
    for segment in path.split(|byte| *byte == b'/').skip(1) {
        ends_open = matches!(segment, b"." | b"..");
        match segment {
            b"." => {}
            b".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    if ends_open {
        segments.push(b"");
    }
    [b"/".as_slice(), &segments.join(&b'/')].concat()
}

fn escape(path: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(path.len());
    for byte in path {
        if b"\"<>^`{|}".contains(byte) {
            escaped.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            escaped.push(*byte);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, expected: &str) {
        check_in(PathNormalization::Base, raw, expected);
    }

    #[track_caller]
    fn check_in(mode: PathNormalization, raw: &str, expected: &str) {
        let normal = path(raw.as_bytes(), mode).map(|path| String::from_utf8(path).unwrap());
        assert_eq!(normal.as_deref(), Ok(expected), "{raw}");
    }

    #[test]
    fn paths_follow_the_mode_base() {
        check("/app/../admin", "/admin");
        check("/app/%2E./admin", "/admin");
        check("/a/..;x/b", "/b");
        check("/a/%2e%2e;/b", "/a/..;/b");
        check("/app\\admin", "/app/admin");
        check("/a//b", "/a//b");
        check("/app/%2f", "/app/%2f");
        check("/a/%2f../b", "/a/%2f../b");
        check("/a%5c..%5cb", "/a%5c..%5cb");
        check(
            "/%5Capp%2f%5c%2F%2e%2e%2fadmin%5c\\abc",
            "/%5Capp%2f%5c%2F..%2fadmin%5c/abc",
        );
        check("/xyz%30..//abc", "/xyz0..//abc");
        check("/a%252e", "/a%252e");
        check("/Admin;a=b", "/Admin;a=b");
        check("/..", "/");
        check("/a/b/..", "/a/");
        check("/a/.", "/a/");
        check("/a{b}?c={d}/../e", "/a%7Bb%7D?c={d}/../e");
        check("/a#b", "/a");
        check("*", "*");
        check("/%%361", "/%2561");
        check("/%6%31", "/%2561");
        check("/x%%32fy", "/x%252fy");
        check("/%%30%30", "/%2500");
        check("/%%36x", "/%6x");
        check("/%6x%31", "/%6x1");
        check("/%", "/%");
    }

    #[test]
    fn the_other_modes_do_less_or_more() {
        for raw in ["/app/../admin", "/a//b", "/a\\b", "/a%00b", "/a%2f../b"] {
            check_in(PathNormalization::None, raw, raw);
        }
        let merge = |raw, expected| check_in(PathNormalization::MergeSlashes, raw, expected);
        merge("/a//b///c?d//e", "/a/b/c?d//e");
        merge("/xyz%30..//abc", "/xyz0../abc");
        merge("/app/%2f", "/app/%2f");
        merge("//", "//");
        merge("///", "//");
        merge("/", "/");
        let decode =
            |raw, expected| check_in(PathNormalization::DecodeAndMergeSlashes, raw, expected);
        decode("/app/%2f", "/app/");
        decode("/a/%2f../b", "/a/b");
        decode("/a%5c..%5cb", "/b");
        decode("/%5Capp%2f%5c%2F%2e%2e%2fadmin%5c\\abc", "/app/admin/abc");
        decode("/a%252e", "/a%252e");
    }

    #[test]
    fn some_paths_are_refused() {
        assert_eq!(path(b"/a%00b", PathNormalization::Base), Err(RefusedPath));
        assert_eq!(path(b"/a\xffb", PathNormalization::None), Err(RefusedPath));
    }

    #[test]
    fn only_some_headers_are_joined() {
        let lines: [(&[u8], &[u8]); 6] = [
            (b"Authorization", b"a"),
            (b"X-Foo", b"1"),
            (b"authorization", b""),
            (b"authorization", b"b"),
            (b"x-foo", b"2"),
            (b"cookie", b"c=1"),
        ];
        let joined = headers(lines);
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

    #[test]
    fn hops_are_counted_from_the_right() {
        let peer: IpAddr = "127.0.0.1".parse().unwrap();
        let check = |forwarded: &str, proxy: ProxyKind, expected: &str| {
            let headers = headers([(b"x-forwarded-for".as_slice(), forwarded.as_bytes())]);
            assert_eq!(
                remote_address(peer, &headers, proxy).to_string(),
                expected,
                "{forwarded}"
            );
        };
        check("9.9.9.9, 1.2.3.4", ProxyKind::Sidecar, "1.2.3.4");
        check("1.2.3.4, x", ProxyKind::Sidecar, "127.0.0.1");
        check("1.2.3.4:80", ProxyKind::Sidecar, "127.0.0.1");
        check(
            "1.2.3.4",
            ProxyKind::Gateway { trusted_proxies: 0 },
            "127.0.0.1",
        );
        check(
            "1.1.1.1, 2.2.2.2",
            ProxyKind::Gateway { trusted_proxies: 2 },
            "1.1.1.1",
        );
        check(
            "1.1.1.1",
            ProxyKind::Gateway { trusted_proxies: 2 },
            "127.0.0.1",
        );
        check("2001:db8::1", ProxyKind::Sidecar, "2001:db8::1");
    }
}
