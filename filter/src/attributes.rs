//! Envoy's attributes as the values that policies read. What Envoy does not answer, or answers in a form
//! that we do not know, is [`Attribute::Unreadable`], which never allows.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use portcullis_policy::certificate::{Certificate, Identity};
use portcullis_policy::compile::Workload;
use portcullis_policy::envoy_version::{EnvoyVersion, first_names};
use portcullis_policy::{Attribute, Metadata, Needs, Tls};

use crate::{host, metadata};

/// The filter state in which a companion filter of the listener leaves the TCP peer's address: Envoy has no
/// attribute for it.
const SOURCE_IP_STATE: &str = "portcullis.source.ip";

/// The attributes of a connection that a set of policies reads; the others keep what matches nothing.
pub(crate) struct Connection {
    pub(crate) source_ip: Attribute<IpAddr>,
    pub(crate) remote_ip: Attribute<IpAddr>,
    pub(crate) destination_ip: Attribute<IpAddr>,
    pub(crate) destination_port: Attribute<u16>,
    pub(crate) server_name: Attribute<Vec<u8>>,
    pub(crate) peer_names: Attribute<Vec<Vec<u8>>>,
    pub(crate) certificate: Attribute<Option<Identity>>,
    pub(crate) tls: Attribute<Tls>,
    pub(crate) metadata: Attribute<Metadata>,
}

impl Connection {
    /// Asks Envoy for what `needs` names, and for nothing else.
    pub(crate) fn read(needs: Needs) -> Self {
        fn when<T>(needed: bool, read: impl FnOnce() -> Option<T>) -> Attribute<T> {
            if !needed {
                return Attribute::Unreadable;
            }
            read().map_or(Attribute::Unreadable, Attribute::Known)
        }
        let peer = if needs.peer_names || needs.certificate {
            peer_certificate()
        } else {
            Attribute::Unreadable
        };
        Self {
            source_ip: when(needs.source_ip, || {
                let text = host::property(&["filter_state", SOURCE_IP_STATE]).ok()??;
                std::str::from_utf8(&text).ok()?.parse().ok()
            }),
            remote_ip: when(needs.remote_ip, || {
                address("source").map(|address| address.ip())
            }),
            destination_ip: when(needs.destination_ip, || {
                address("destination").map(|address| address.ip())
            }),
            destination_port: when(needs.destination_port, || {
                address("destination").map(|address| address.port())
            }),
            server_name: when(needs.server_name, server_name),
            peer_names: when(needs.peer_names, || {
                peer_names(&peer).or_else(older_peer_names)
            }),
            certificate: if needs.certificate {
                identity(&peer)
            } else {
                Attribute::Unreadable
            },
            tls: when(needs.tls, tls),
            metadata: when(needs.metadata, metadata::read),
        }
    }
}

/// `source.address` and `destination.address`: an IP address and a port. The source is the client behind
/// trusted hops.
fn address(side: &str) -> Option<SocketAddr> {
    let text = host::property(&[side, "address"]).ok()??;
    std::str::from_utf8(&text).ok()?.parse().ok()
}

fn server_name() -> Option<Vec<u8>> {
    Some(
        host::property(&["connection", "requested_server_name"])
            .ok()?
            .unwrap_or_default(),
    )
}

/// Whether there is TLS, and whether the client showed a certificate.
fn tls() -> Option<Tls> {
    if is_mutual()? {
        return Some(Tls::Mutual);
    }
    let version = host::property(&["connection", "tls_version"]).ok()?;
    Some(match version {
        Some(version) if !version.is_empty() => Tls::Server,
        _ => Tls::None,
    })
}

/// Whether the client showed a certificate. Envoy always says so, of a connection without TLS too.
fn is_mutual() -> Option<bool> {
    match host::property(&["connection", "mtls"]).ok()??.as_slice() {
        [1] => Some(true),
        [0] => Some(false),
        _ => None,
    }
}

/// The client's certificate, if it shows one.
fn peer_certificate() -> Attribute<Option<Certificate>> {
    let read = || {
        let pem = host::property(&["connection", "peer_certificate"]).ok()??;
        Certificate::from_pem(&pem)
    };
    match is_mutual() {
        Some(false) => Attribute::Known(None),
        Some(true) => read().map_or(Attribute::Unreadable, |found| Attribute::Known(Some(found))),
        None => Attribute::Unreadable,
    }
}

/// URI SANs, DNS SANs and the subject of the client's certificate; none without one.
fn peer_names(peer: &Attribute<Option<Certificate>>) -> Option<Vec<Vec<u8>>> {
    let names = match peer {
        Attribute::Known(None) => return Some(Vec::new()),
        Attribute::Known(Some(names)) => names,
        Attribute::Unreadable => return None,
    };
    let subject = host::property(&["connection", "subject_peer_certificate"]).ok()??;
    let names = names.uri.iter().chain(&names.dns);
    let mut peer_names: Vec<Vec<u8>> = names.map(|name| name.clone().into_bytes()).collect();
    peer_names.push(subject);
    Some(peer_names)
}

/// The names of a client's certificate where Envoy does not give the certificate itself, if they are all.
fn older_peer_names() -> Option<Vec<Vec<u8>>> {
    let part = |name: &str| host::property(&["connection", name]).ok();
    if !is_mutual()? || part("peer_certificate")?.is_some() {
        return None;
    }
    let is_there = |name: &Vec<u8>| !name.is_empty();
    first_names(
        part("uri_san_peer_certificate")?.filter(is_there),
        part("dns_san_peer_certificate")?.filter(is_there),
        part("subject_peer_certificate")??,
    )
}

/// What policies read of the client's certificate.
fn identity(peer: &Attribute<Option<Certificate>>) -> Attribute<Option<Identity>> {
    match peer {
        Attribute::Known(None) => Attribute::Known(None),
        Attribute::Known(Some(found)) => {
            Identity::of(found).map_or(Attribute::Unreadable, |found| Attribute::Known(Some(found)))
        }
        Attribute::Unreadable => Attribute::Unreadable,
    }
}

/// Whether the proxy is a gateway, as Istio's node ids say: `router~ADDRESS~NAME~DOMAIN`.
pub(crate) fn is_gateway() -> bool {
    node(&["id"])
        .ok()
        .flatten()
        .is_some_and(|id| id.starts_with(b"router~"))
}

/// What the plugin is called in Envoy: its `name`, and its `root_id`, which tells plugins of one name apart.
pub(crate) fn plugin_name() -> Vec<u8> {
    let part = |name: &str| host::property(&[name]).ok().flatten().unwrap_or_default();
    let root_id = part("plugin_root_id");
    let mut name = part("plugin_name");
    if !root_id.is_empty() {
        name.push(b'/');
        name.extend(root_id);
    }
    name
}

/// What tells a request's client from others: its address behind trusted hops, without the port.
pub(crate) fn client() -> Box<[u8]> {
    let address = host::property(&["source", "address"])
        .ok()
        .flatten()
        .unwrap_or_default();
    let end = address.iter().rposition(|byte| *byte == b':');
    end.and_then(|end| address.get(..end))
        .unwrap_or(&address)
        .into()
}

/// The workload that a proxy is beside.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProxyWorkload {
    pub(crate) namespace: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// Whether the proxy names labels at all.
    pub(crate) has_labels: bool,
}

impl From<ProxyWorkload> for Workload {
    fn from(proxy: ProxyWorkload) -> Self {
        Self {
            namespace: proxy.namespace,
            labels: proxy.labels,
            is_gateway: false,
        }
    }
}

/// The workload as Istio describes it in the proxy's node metadata; `None` if it does not, or not in a form
/// that we know: labels taken as missing would unselect policies that deny.
pub(crate) fn workload() -> Option<ProxyWorkload> {
    let namespace = String::from_utf8(node(&["metadata", "NAMESPACE"]).ok()??).ok()?;
    let is_label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if namespace.is_empty() || !namespace.bytes().all(is_label) {
        return None;
    }
    let found = node(&["metadata", "LABELS"]).ok()?;
    let has_labels = found.is_some();
    let bytes = found.unwrap_or_default();
    let mut labels = BTreeMap::new();
    let mut size = 4;
    for (key, value) in pairs(&bytes)? {
        size += 10 + key.len() + value.len();
        labels.insert(
            String::from_utf8(key.to_vec()).ok()?,
            String::from_utf8(value.to_vec()).ok()?,
        );
    }
    // A number or a text may start like a map.
    (bytes.is_empty() || bytes.len() == size).then_some(ProxyWorkload {
        namespace,
        labels,
        has_labels,
    })
}

/// Envoy's version; `None` if it does not say.
pub(crate) fn envoy_version() -> Option<EnvoyVersion> {
    let number = |name: &str| {
        let bytes = node(&["user_agent_build_version", "version", name]).ok()??;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    };
    Some(EnvoyVersion {
        major: number("major_number")?,
        minor: number("minor_number")?,
    })
}

/// What Envoy says of itself; `None` if it does not.
fn node(path: &[&str]) -> Result<Option<Vec<u8>>, host::HostError> {
    match host::property(&[&["xds", "node"], path].concat())? {
        // Envoy before 1.33 knows the node without `xds`.
        None => host::property(&[&["node"], path].concat()),
        found => Ok(found),
    }
}

/// Reads the ABI's form of a map: a count, the sizes of all keys and values, then these, each with a NUL.
pub(crate) fn pairs(bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let (count, rest) = number(bytes)?;
    // Each pair takes ten bytes at least, so a count that lies cannot make us reserve much.
    let mut sizes = rest.get(..count.checked_mul(8)?)?;
    let mut texts = rest.get(count.checked_mul(8)?..)?;
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        let (key_size, more) = number(sizes)?;
        let (value_size, more) = number(more)?;
        sizes = more;
        let (key, more) = text(texts, key_size)?;
        let (value, more) = text(more, value_size)?;
        texts = more;
        pairs.push((key, value));
    }
    Some(pairs)
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

fn text(bytes: &[u8], size: usize) -> Option<(&[u8], &[u8])> {
    Some((bytes.get(..size)?, bytes.get(size.checked_add(1)?..)?))
}
