//! The bootstrap configuration, as close to what Istio gives its proxies as the tests need.

use std::ffi::OsString;
use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use crate::certificates::TlsFiles;
use crate::oracle::PeerMode;

/// What one Envoy process runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// One entry per setting under test; names are unique.
    pub listeners: Vec<Listener>,
    /// Where requests go that pass the filters.
    pub upstream: SocketAddr,
    /// Further clusters, such as those of key sets; see [`cluster`].
    pub clusters: Vec<Value>,
    /// `node.metadata`, where Istio writes `NAMESPACE` and `LABELS`.
    pub node_metadata: Value,
    /// Worker threads; 0 counts as 1.
    pub concurrency: u32,
    /// Variables of the process.
    pub environment: Vec<(String, OsString)>,
}

/// A listener on a free port of 127.0.0.1. It expects a PROXY protocol header.
#[derive(Debug, Clone, Default)]
pub struct Listener {
    /// The name by which its address is found.
    pub name: String,
    /// The filters before the router, in order.
    pub http_filters: Vec<Value>,
    /// TLS that asks for a client certificate and does not insist; `None` is plaintext.
    pub tls: Option<TlsFiles>,
    /// The port to listen on; 0 is one that the system chooses.
    pub port: u16,
    /// How the client's address is found.
    pub proxy: Proxy,
    /// The filters of a listener that does not speak HTTP, in order; `None` is one that does.
    pub network_filters: Option<Vec<Value>>,
    /// How connections are taken, by the port that is called; `None` is every other port.
    pub peers: Vec<(Option<u16>, PeerMode)>,
    /// Fields of the HTTP connection manager that replace the harness's own.
    pub connection_manager: Map<String, Value>,
}

/// The two ways in which Istio sets up whom addresses and certificates that clients tell of are believed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Proxy {
    /// A sidecar believes `x-forwarded-for`, `use_remote_address: false`, and adds to `x-forwarded-client-cert`.
    #[default]
    Sidecar,
    /// A gateway trusts as many hops as `gatewayTopology.numTrustedProxies` says, and believes nobody's
    /// `x-forwarded-client-cert`.
    Gateway {
        /// `xff_num_trusted_hops`.
        num_trusted_proxies: u32,
    },
}

impl Config {
    /// One worker, no further clusters, empty node metadata.
    pub fn new(upstream: SocketAddr, listeners: Vec<Listener>) -> Self {
        Self {
            listeners,
            upstream,
            clusters: Vec::new(),
            node_metadata: json!({}),
            concurrency: 1,
            environment: Vec::new(),
        }
    }

    pub(super) fn bootstrap(&self) -> Value {
        let mut clusters = vec![cluster("upstream", self.upstream)];
        clusters.extend(self.clusters.iter().cloned());
        json!({
            "node": { "id": "portcullis-tests", "cluster": "portcullis-tests", "metadata": self.node_metadata },
            "admin": { "address": loopback(0) },
            // What Istio's own bootstrap sets.
            "layered_runtime": { "layers": [{ "name": "static", "static_layer": {
                "envoy.reloadable_features.http_reject_path_with_fragment": false,
                "re2.max_program_size.error_level": 32768,
            } }] },
            "static_resources": {
                "listeners": self.listeners.iter().map(Listener::config).collect::<Vec<_>>(),
                "clusters": clusters,
            },
        })
    }
}

impl Listener {
    /// A plaintext sidecar listener.
    pub fn new(name: impl Into<String>, http_filters: Vec<Value>) -> Self {
        Self {
            name: name.into(),
            http_filters,
            ..Self::default()
        }
    }

    fn config(&self) -> Value {
        let peers = match self.peers.as_slice() {
            [] => &[(None, PeerMode::Permissive)],
            peers => peers,
        };
        let chains: Vec<Value> = peers
            .iter()
            .map(|(port, mode)| self.chain(*port, *mode))
            .collect();
        // The PROXY header comes first on the wire, before TLS.
        let mut proxy_protocol = listener_filter("proxy_protocol", "ProxyProtocol");
        // A person's curl sends none.
        proxy_protocol["typed_config"]["allow_requests_without_proxy_protocol"] = json!(true);
        let mut listener_filters = vec![proxy_protocol];
        if self.tls.is_some() || !self.peers.is_empty() {
            listener_filters.push(listener_filter("tls_inspector", "TlsInspector"));
        }
        json!({
            "name": self.name,
            "address": loopback(self.port),
            "listener_filters": listener_filters,
            "filter_chains": chains,
        })
    }

    /// What happens to the connections to a port.
    fn chain(&self, port: Option<u16>, mode: PeerMode) -> Value {
        let mut filters = self.network_filters.clone().unwrap_or_default();
        filters.push(if self.network_filters.is_none() {
            json!({
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": self.connection_manager(),
            })
        } else {
            json!({
                "name": "envoy.filters.network.tcp_proxy",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                    "stat_prefix": "tcp",
                    "cluster": "upstream",
                },
            })
        });
        let mut chain = json!({ "filters": filters });
        if let Some(port) = port {
            chain["filter_chain_match"]["destination_port"] = json!(port);
        }
        if mode == PeerMode::Strict {
            // Plain text finds no chain, and is closed.
            chain["filter_chain_match"]["transport_protocol"] = json!("tls");
        }
        if let Some(tls) = self.tls.as_ref().filter(|_| mode != PeerMode::Disable) {
            let must_show = mode == PeerMode::Strict;
            chain["transport_socket"] = transport_socket(tls, must_show);
        }
        chain
    }

    fn connection_manager(&self) -> Value {
        let mut filters: Vec<_> = self.http_filters.clone();
        filters.push(json!({
            "name": "envoy.filters.http.router",
            "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
        }));
        let (use_remote_address, hops) = match self.proxy {
            Proxy::Sidecar => (false, 0),
            Proxy::Gateway {
                num_trusted_proxies,
            } => (true, num_trusted_proxies),
        };
        let (forward, details) = match self.proxy {
            Proxy::Sidecar => (
                "APPEND_FORWARD",
                json!({ "subject": true, "uri": true, "dns": true }),
            ),
            Proxy::Gateway { .. } => (
                "SANITIZE_SET",
                json!({ "subject": true, "cert": true, "uri": true, "dns": true }),
            ),
        };
        let mut manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "test",
            // Istio's path normalisation BASE, its default.
            "normalize_path": true,
            "merge_slashes": false,
            "use_remote_address": use_remote_address,
            "xff_num_trusted_hops": hops,
            "server_header_transformation": "PASS_THROUGH",
            "upgrade_configs": [{ "upgrade_type": "websocket" }],
            "forward_client_cert_details": forward,
            "set_current_client_cert_details": details,
            "http_filters": filters,
            "route_config": { "virtual_hosts": [{
                "name": "all",
                "domains": ["*"],
                "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "upstream" } }],
            }] },
            "local_reply_config": { "mappers": [{
                "filter": { "status_code_filter": { "comparison": {
                    "op": "GE",
                    "value": { "default_value": 0, "runtime_key": "portcullis.tests.unset" },
                } } },
                "headers_to_add": [{
                    "header": { "key": "x-test-details", "value": "%RESPONSE_CODE_DETAILS%" },
                    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                }],
            }] },
        });
        for (field, value) in &self.connection_manager {
            manager[field] = value.clone();
        }
        manager
    }
}

/// A cluster of one plaintext HTTP/1.1 server.
pub fn cluster(name: &str, address: SocketAddr) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": { "socket_address": {
                "address": address.ip().to_string(),
                "port_value": address.port(),
            } } } }] }],
        },
    })
}

/// A cluster of one workload, called by mutual TLS: `identity` is the caller's, and `name_of_workload` the URI that the
/// workload's certificate must have.
pub fn workload_cluster(
    name: &str,
    address: SocketAddr,
    identity: &TlsFiles,
    name_of_workload: &str,
) -> Value {
    let mut cluster = cluster(name, address);
    cluster["transport_socket"] = json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "common_tls_context": {
                "tls_certificates": [{
                    "certificate_chain": { "filename": identity.certificate },
                    "private_key": { "filename": identity.key },
                }],
                "validation_context": {
                    "trusted_ca": { "filename": identity.trusted_ca },
                    "match_typed_subject_alt_names": [
                        { "san_type": "URI", "matcher": { "exact": name_of_workload } },
                    ],
                },
            },
        },
    });
    cluster
}

fn loopback(port: u16) -> Value {
    json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } })
}

fn listener_filter(name: &str, message: &str) -> Value {
    json!({
        "name": format!("envoy.filters.listener.{name}"),
        "typed_config": { "@type": format!("type.googleapis.com/envoy.extensions.filters.listener.{name}.v3.{message}") },
    })
}

fn transport_socket(tls: &TlsFiles, must_show_certificate: bool) -> Value {
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": must_show_certificate,
            "common_tls_context": {
                "tls_certificates": [{
                    "certificate_chain": { "filename": tls.certificate },
                    "private_key": { "filename": tls.key },
                }],
                "validation_context": { "trusted_ca": { "filename": tls.trusted_ca } },
            },
        },
    })
}
