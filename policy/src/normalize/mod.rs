//! What Envoy's connection manager does to a request before any filter runs, for callers that are not
//! behind one: paths (Istio's default mode BASE), the client's address, headers.

mod client_certificate;
mod headers;
mod path;

use std::net::IpAddr;

use crate::certificate::{Certificate, Identity};
use crate::request::{Attribute, Metadata, Request, Tls};

/// The proxy in front of the workload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Proxy {
    /// Whom `x-forwarded-for` and `x-forwarded-client-cert` are believed.
    pub kind: ProxyKind,
    /// What is done to paths.
    pub path_normalization: PathNormalization,
    /// Whether the port is not declared as HTTP: policies see connections only.
    pub is_tcp: bool,
}

/// Who stands in front of the workload, which decides whom `x-forwarded-for` and `x-forwarded-client-cert` are
/// believed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProxyKind {
    /// A sidecar believes the last forwarded address, and what every client with a certificate says of others.
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

/// Envoy answers by itself, with an empty body, before any filter sees the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The path holds spaces, control characters or bytes outside ASCII, or does not begin with a slash.
    Path,
    /// The host, the method or a header holds what HTTP does not allow there.
    Syntax,
    /// `connection` names too many headers, or one that says where the request comes from.
    Connection,
    /// `upgrade` asks for another protocol than WebSocket.
    Upgrade,
}

impl Refused {
    /// What the client gets.
    pub fn status(self) -> u16 {
        match self {
            Self::Path | Self::Syntax | Self::Connection => 400,
            Self::Upgrade => 403,
        }
    }

    /// Why, in one sentence.
    pub fn message(self) -> &'static str {
        match self {
            Self::Path => "the path is no path of visible ASCII characters",
            Self::Syntax => "host, method or a header holds what HTTP forbids there",
            Self::Connection => "`connection` names too many headers, or one that it may not",
            Self::Upgrade => "`upgrade` asks for another protocol than WebSocket",
        }
    }
}

/// A name and a value.
type Header = (Vec<u8>, Vec<u8>);

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
    /// [`Request::certificate`]. Nobody can compute `x-forwarded-client-cert` without its DER, so the header is left
    /// out for a client that is known by its names only.
    pub certificate: Attribute<Option<Identity>>,
    /// [`Request::tls`]
    pub tls: Tls,
    /// The URI names of the certificate that the proxy itself shows.
    pub server_uri: Vec<String>,
    /// [`Request::metadata`]
    pub metadata: Metadata,
    /// Seconds since the epoch.
    pub now: u64,
}

impl Incoming {
    /// The client's whole certificate, as far as it is known.
    pub(crate) fn whole_certificate(&self) -> Option<Certificate> {
        match &self.certificate {
            Attribute::Known(Some(known)) => Certificate::from_der(known.der.as_deref()?),
            Attribute::Known(None) | Attribute::Unreadable => None,
        }
    }

    /// The request as filters find it, with names of headers in lower case.
    ///
    /// # Errors
    /// When Envoy answers before any filter.
    pub fn normalized(mut self, proxy: Proxy) -> Result<Normalized, Refused> {
        headers::check(&mut self.headers)?;
        headers::of_this_hop(&mut self.headers)?;
        self.check_first_line()?;
        self.path = path::normalize(&self.path, proxy.path_normalization)?;
        self.server_name.make_ascii_lowercase();
        self.headers = headers::joined(&self.headers);
        let remote_ip = remote_address(self.source_ip, &self.headers, proxy.kind);
        headers::edit(&mut self, remote_ip, proxy.kind)?;
        client_certificate::forward(&mut self, proxy.kind);
        Ok(Normalized {
            incoming: self,
            remote_ip,
        })
    }

    /// Host and method are of the characters that HTTP has for them. A target in absolute form brings its own
    /// host (RFC 9112 section 3.2.2).
    fn check_first_line(&mut self) -> Result<(), Refused> {
        if let Some(rest) = self
            .path
            .strip_prefix(b"http://")
            .or_else(|| self.path.strip_prefix(b"https://"))
        {
            let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
            let (host, path) = rest.split_at(end.unwrap_or(rest.len()));
            let slash: &[u8] = if path.starts_with(b"/") { b"" } else { b"/" };
            let path = [slash, path].concat();
            self.authority = Some(host.to_vec());
            self.path = path;
        }
        if self.path == b"*" && self.method != b"OPTIONS" {
            return Err(Refused::Path);
        }
        let is_host =
            |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:@[]".contains(byte);
        let host = self.authority.as_deref().unwrap_or_default();
        let method_is_token = self.method.iter().all(|byte| headers::is_token(*byte));
        if method_is_token && host.iter().all(is_host) {
            Ok(())
        } else {
            Err(Refused::Syntax)
        }
    }

    /// Calls `then` with what a filter would see.
    ///
    /// # Errors
    /// When Envoy answers before any filter.
    pub fn with_request<R>(
        self,
        proxy: Proxy,
        then: impl FnOnce(&Request<'_>) -> R,
    ) -> Result<R, Refused> {
        Ok(self.normalized(proxy)?.with_request(then))
    }
}

/// A request behind the connection manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Normalized {
    /// Everything that came, as it is now.
    pub incoming: Incoming,
    /// The client behind trusted hops.
    pub remote_ip: IpAddr,
}

impl Normalized {
    /// Calls `then` with what a filter sees.
    pub fn with_request<R>(&self, then: impl FnOnce(&Request<'_>) -> R) -> R {
        let incoming = &self.incoming;
        let headers: Vec<(&[u8], &[u8])> = incoming
            .headers
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_slice()))
            .collect();
        let peer_names: Vec<&[u8]> = incoming.peer_names.iter().map(Vec::as_slice).collect();
        then(&Request {
            method: &incoming.method,
            scheme: &incoming.scheme,
            authority: incoming.authority.as_deref(),
            path: &incoming.path,
            headers: &headers,
            source_ip: Attribute::Known(incoming.source_ip),
            remote_ip: Attribute::Known(self.remote_ip),
            destination_ip: Attribute::Known(incoming.destination_ip),
            destination_port: Attribute::Known(incoming.destination_port),
            server_name: Attribute::Known(&incoming.server_name),
            peer_names: Attribute::Known(&peer_names),
            certificate: incoming.certificate.as_ref().map(Option::as_ref),
            tls: Attribute::Known(incoming.tls),
            metadata: Attribute::Known(&incoming.metadata),
            now: incoming.now,
        })
    }
}

/// The client's address behind trusted hops. Lines of `headers` are joined.
fn remote_address(peer: IpAddr, headers: &[Header], proxy: ProxyKind) -> IpAddr {
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
        .and_then(|text| without_zone(text).parse().ok());
    parsed.unwrap_or(peer)
}
/// An IPv6 address without the number of its zone (RFC 4007 section 11.2).
fn without_zone(text: &str) -> &str {
    match text.split_once('%') {
        Some((address, zone))
            if address.contains(':')
                && !zone.is_empty()
                && zone.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            address
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_are_counted_from_the_right() {
        let peer: IpAddr = "127.0.0.1".parse().unwrap();
        let check = |forwarded: &str, proxy: ProxyKind, expected: &str| {
            let headers = [(b"x-forwarded-for".to_vec(), forwarded.as_bytes().to_vec())];
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
