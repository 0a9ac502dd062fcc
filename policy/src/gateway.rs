//! What a workload gets of a request that comes through an ingress gateway: the hop in front of the one that
//! decides.
//!
//! A gateway ends the client's TLS, does to the request what every proxy does
//! ([`normalize`](crate::normalize)), edits headers as its `VirtualService` says, and calls the workload's sidecar by
//! mutual TLS with a certificate of its own. The server name by which Istio's gateways call is not modelled: sidecars
//! see none.

use std::net::IpAddr;

use crate::certificate::forwarded::percent_encoded;
use crate::certificate::{Certificate, Identity, hex};
use crate::normalize::{Incoming, Normalized, Proxy, ProxyKind};
use crate::request::{Attribute, HeaderEdits, Tls};
use crate::resource::{HttpRoute, Part, PeerField, VirtualService};

/// The service account of Istio's ingress gateway, as policies write it.
pub const PRINCIPAL: &str = "cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account";

/// An ingress gateway.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// Its name in the mesh, without `spiffe://`.
    pub principal: String,
    /// The certificate by which it calls workloads; without its DER the sidecar's part of `x-forwarded-client-cert`
    /// cannot be computed.
    pub certificate: Option<Identity>,
    /// The address from which it calls workloads.
    pub address: IpAddr,
    /// How it treats what comes.
    pub proxy: Proxy,
    /// Where requests go; `None` sends each to the workload, as it is.
    pub virtual_service: Option<VirtualService>,
}

impl Gateway {
    /// A gateway that trusts no proxy in front of it. Paths are the mesh's business.
    pub fn proxy(workload: Proxy) -> Proxy {
        Proxy {
            kind: ProxyKind::Gateway { trusted_proxies: 0 },
            path_normalization: workload.path_normalization,
            is_tcp: false,
        }
    }

    /// What the workload's sidecar gets of a request that passed the gateway's filters, which changed it by `edits`.
    /// `server_uri` are the names of the sidecar's own certificate.
    ///
    /// `None` when no route matches: Envoy answers 404.
    pub fn forward(
        &self,
        seen: Normalized,
        edits: &HeaderEdits,
        server_uri: Vec<String>,
    ) -> Option<Incoming> {
        let mut request = seen.incoming;
        let route = match &self.virtual_service {
            None => None,
            Some(service) => {
                let host = request.authority.as_deref().unwrap_or_default();
                Some(service.route(host, &request.method, &request.path, &request.headers)?)
            }
        };
        let certificate = request.whole_certificate();
        let headers = &mut request.headers;
        if let Some(edited) = edits.path() {
            request.path = edited.to_vec();
        }
        headers.retain(|(name, _)| !edits.removed().any(|removed| removed == name));
        headers.extend(
            edits
                .added()
                .map(|(name, value)| (name.to_vec(), value.to_vec())),
        );
        if let Some(route) = route {
            edit(&mut request.headers, route, certificate.as_ref());
        }
        request.scheme = b"https".to_vec();
        request.source_ip = self.address;
        request.server_name.clear();
        request.peer_names = vec![format!("spiffe://{}", self.principal).into_bytes()];
        request.certificate = Attribute::Known(self.certificate.clone());
        request.tls = Tls::Mutual;
        request.server_uri = server_uri;
        Some(request)
    }
}

/// Removes, sets and adds, in Envoy's order. An empty value is not written: then a header of the client's own stays,
/// whoever was meant to set it.
fn edit(
    headers: &mut Vec<(Vec<u8>, Vec<u8>)>,
    route: &HttpRoute,
    certificate: Option<&Certificate>,
) {
    let values = |pairs: &[(String, Vec<Part>)]| -> Vec<(Vec<u8>, Vec<u8>)> {
        let formatted = pairs.iter().map(|(name, parts)| {
            let value: String = parts.iter().map(|part| format(part, certificate)).collect();
            (name.clone().into_bytes(), value.into_bytes())
        });
        formatted.filter(|(_, value)| !value.is_empty()).collect()
    };
    let is_removed = |name: &[u8]| {
        route
            .remove
            .iter()
            .any(|removed| removed.as_bytes() == name)
    };
    headers.retain(|(name, _)| !is_removed(name));
    for (name, value) in values(&route.set) {
        headers.retain(|(known, _)| *known != name);
        headers.push((name, value));
    }
    headers.extend(values(&route.add));
}

fn format(part: &Part, certificate: Option<&Certificate>) -> String {
    let (field, certificate) = match (part, certificate) {
        (Part::Text(text), _) => return text.clone(),
        (Part::Peer(_), None) => return String::new(),
        (Part::Peer(field), Some(certificate)) => (field, certificate),
    };
    match field {
        PeerField::Subject => certificate.subject.to_string(),
        PeerField::Issuer => certificate.issuer.to_string(),
        PeerField::Uri => certificate.uri.join(","),
        PeerField::Dns => certificate.dns.join(","),
        PeerField::Serial => hex::encode(&certificate.serial),
        PeerField::Fingerprint => hex::encode(&certificate.sha256()),
        PeerField::Certificate => percent_encoded(&certificate.to_pem()),
    }
}
