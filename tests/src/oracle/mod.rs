//! The oracle: Istio's security resources as the filters that istiod would configure in Envoy.
//!
//! A real Envoy with these filters is what every other driver is compared against, so nothing here
//! is shared with `portcullis-policy`: a rule misread there must not be misread here by
//! construction. Sections (2.3) in comments are those of `istio-semantics.md`, the contract of the
//! project.
//!
//! Words: *resource* is one Kubernetes object as JSON; *to attach* is to apply to the workload in
//! question; a *permission* and a *principal* are the two halves of an Envoy RBAC policy, what is
//! asked for and who asks.

mod attribute;
mod authorization_policy;
mod identity;
mod matcher;
mod peer_authentication;
mod request_authentication;
mod resource;
mod virtual_service;

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde_json::Value;

use authorization_policy::Layer;
use identity::TrustDomains;
pub use peer_authentication::{PeerMode, PeerModes, peer_modes};
use resource::{Kind, Resource};
pub use virtual_service::route_configuration;

/// The settings of the mesh that change what a resource means.
#[derive(Clone, Debug)]
pub struct Mesh {
    /// Resources of this namespace attach to workloads of every namespace.
    pub root_namespace: String,
    /// The trust domain of the mesh's own certificates.
    pub trust_domain: String,
    /// Former or other names of `trust_domain`.
    pub trust_domain_aliases: Vec<String>,
}

/// The workload whose inbound listener the filters are for.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The namespace of the workload.
    pub namespace: String,
    /// The labels of its pod.
    pub labels: BTreeMap<String, String>,
}

/// Key sets (JSON text) by `jwksUri`. A URI that is absent stands for an endpoint that istiod
/// cannot reach, and one without a text for an endpoint that Envoy is to ask, and cannot reach.
pub type KeySets = BTreeMap<String, Option<String>>;

/// The HTTP filters for `workload`, as JSON of Envoy's `HttpFilter`, in filter order and without
/// the router: `jwt_authn`, then RBAC for AUDIT, DENY and ALLOW, each only if a resource asks for
/// it.
///
/// Resources other than `RequestAuthentication` and `AuthorizationPolicy` of `security.istio.io`
/// are ignored; for `PeerAuthentication` see [`peer_modes`]. Values that Istio's validation refuses are handled as istiod handles them when they
/// reach it nevertheless (2.8).
///
/// # Errors
///
/// A resource has a shape or a field that is unknown here; two resources share kind, namespace and
/// name; the workload is a waypoint; or an attached resource needs what is not translated: the
/// CUSTOM action, OIDC discovery, a path template or an address that Envoy does not survive.
pub fn http_filters(
    resources: &[Value],
    mesh: &Mesh,
    workload: &Workload,
    keys: &KeySets,
) -> Result<Vec<Value>> {
    let attached = attached(resources, mesh, workload)?;
    let (mut authentications, policies): (Vec<_>, Vec<_>) = attached
        .into_iter()
        .partition(|resource| resource.kind == Kind::RequestAuthentication);
    // The workload's namespace comes before the root namespace; age decides within one (1.1).
    authentications.sort_by_key(|resource| {
        (
            resource.namespace != workload.namespace,
            resource.created,
            resource.name,
            resource.namespace,
        )
    });

    let gateway = workload.labels.contains_key(GATEWAY_NAME);
    let mut filters = Vec::new();
    filters.extend(request_authentication::filter(
        &authentications,
        keys,
        gateway,
    )?);
    filters.extend(authorization_policy::filters(
        &policies,
        &TrustDomains::of(mesh),
        Layer::Http,
    )?);
    Ok(filters)
}

/// The network filters for a port of `workload` that is not declared as HTTP, without what passes the
/// connection on: RBAC as above, where conditions on requests are dropped.
///
/// # Errors
///
/// As above.
pub fn network_filters(
    resources: &[Value],
    mesh: &Mesh,
    workload: &Workload,
) -> Result<Vec<Value>> {
    let mut policies = attached(resources, mesh, workload)?;
    policies.retain(|resource| resource.kind == Kind::AuthorizationPolicy);
    authorization_policy::filters(&policies, &TrustDomains::of(mesh), Layer::Network)
}

/// The resources that attach to the workload, but those about its peers.
fn attached<'r>(
    resources: &'r [Value],
    mesh: &Mesh,
    workload: &Workload,
) -> Result<Vec<Resource<'r>>> {
    if workload
        .labels
        .get("gateway.istio.io/managed")
        .is_some_and(|by| by == "istio.io-mesh-controller")
    {
        bail!(
            "waypoints are not translated: the workload has the label `gateway.istio.io/managed`"
        );
    }
    let mut attached = Vec::new();
    for resource in resource::security_resources(resources)? {
        if attaches(&resource, mesh, workload)? {
            attached.push(resource);
        }
    }
    attached.retain(|resource| resource.kind != Kind::PeerAuthentication);
    Ok(attached)
}

const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// Whether `resource` applies to `workload` (2.10).
fn attaches(resource: &Resource<'_>, mesh: &Mesh, workload: &Workload) -> Result<bool> {
    if resource.namespace != workload.namespace && resource.namespace != mesh.root_namespace {
        return Ok(false);
    }
    let mut targets = resource.spec.children("targetRefs")?;
    if targets.is_empty() && resource.spec.has("targetRef") {
        targets.push(resource.spec.child("targetRef")?);
    }
    if targets.is_empty() {
        let selector = resource.spec.child("selector")?;
        selector.expect_only(&["matchLabels"])?;
        let wanted = selector.child("matchLabels")?.all_texts()?;
        return Ok(wanted.iter().all(|(label, value)| {
            workload
                .labels
                .get(*label)
                .is_some_and(|have| have == value)
        }));
    }
    let Some(gateway) = workload.labels.get(GATEWAY_NAME) else {
        return Ok(false);
    };
    for target in targets {
        target.expect_only(&["group", "kind", "name", "namespace"])?;
        let namespace = target.text("namespace")?.unwrap_or_default();
        if target.text("group")? == Some("gateway.networking.k8s.io")
            && target.text("kind")? == Some("Gateway")
            && target.text("name")? == Some(gateway)
            && resource.namespace == workload.namespace
            && (namespace.is_empty() || namespace == workload.namespace)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn mesh() -> Mesh {
        Mesh {
            root_namespace: "istio-system".to_owned(),
            trust_domain: "cluster.local".to_owned(),
            trust_domain_aliases: vec!["old-td".to_owned()],
        }
    }

    fn workload(labels: &[(&str, &str)]) -> Workload {
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Workload {
            namespace: "foo".to_owned(),
            labels,
        }
    }

    fn policy(namespace: &str, spec: &Value) -> Value {
        json!({
            "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "metadata": {"name": "x", "namespace": namespace}, "spec": spec,
        })
    }

    #[track_caller]
    fn check_attaches(namespace: &str, spec: &Value, labels: &[(&str, &str)], expected: bool) {
        let filters = http_filters(
            &[policy(namespace, spec)],
            &mesh(),
            &workload(labels),
            &KeySets::new(),
        )
        .unwrap();
        assert_eq!(
            !filters.is_empty(),
            expected,
            "{namespace} {spec} {labels:?}"
        );
    }

    #[test]
    fn a_resource_attaches_by_namespace_labels_and_gateway() {
        let app = json!({"selector": {"matchLabels": {"app": "a", "tier": "b"}}});
        check_attaches("foo", &json!({}), &[], true);
        check_attaches("istio-system", &json!({}), &[], true);
        check_attaches("bar", &json!({}), &[], false);
        check_attaches(
            "foo",
            &app,
            &[("app", "a"), ("tier", "b"), ("more", "c")],
            true,
        );
        check_attaches("istio-system", &app, &[("app", "a")], false);

        let gateway =
            json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gw"});
        let service = json!({"group": "", "kind": "Service", "name": "gw"});
        let labels = [(GATEWAY_NAME, "gw")];
        check_attaches(
            "foo",
            &json!({"targetRefs": [service, gateway]}),
            &labels,
            true,
        );
        check_attaches("foo", &json!({"targetRef": gateway}), &labels, true);
        check_attaches(
            "foo",
            &json!({"targetRef": gateway, "targetRefs": [service]}),
            &labels,
            false,
        );
        check_attaches(
            "istio-system",
            &json!({"targetRefs": [gateway]}),
            &labels,
            false,
        );
        check_attaches("foo", &json!({"targetRefs": [gateway]}), &[], false);
        check_attaches(
            "foo",
            &json!({"selector": {"matchLabels": {GATEWAY_NAME: "gw"}}}),
            &labels,
            true,
        );
    }

    #[track_caller]
    fn check_error(spec: &Value, expected: &str) {
        let error = http_filters(
            &[policy("foo", spec)],
            &mesh(),
            &workload(&[]),
            &KeySets::new(),
        )
        .unwrap_err();
        assert_eq!(format!("{error:#}"), expected);
    }

    #[test]
    fn what_is_not_translated_is_an_error_that_names_it() {
        check_error(
            &json!({"action": "CUSTOM", "provider": {"name": "p"}, "rules": [{}]}),
            "AuthorizationPolicy foo/x: spec.action: `CUSTOM` is not translated",
        );
        check_error(
            &json!({"rules": [{"to": [{"operation": {"path": ["/a"]}}]}]}),
            "AuthorizationPolicy foo/x: spec.rules[0].to[0].operation: unknown field `path`",
        );
        check_error(
            &json!({"rules": [{"to": [{"operation": {"ports": [80]}}]}]}),
            "AuthorizationPolicy foo/x: spec.rules[0].to[0].operation.ports[0] must be a string",
        );
        check_error(
            &json!({"rules": [{"to": [{"operation": {"notPaths": ["foo/{*}"]}}]}]}),
            "AuthorizationPolicy foo/x: spec.rules[0].to[0].operation.notPaths: `foo/{*}` is not a path template",
        );
    }

    #[test]
    fn resources_of_other_kinds_and_groups_are_ignored() {
        let mut foreign = policy("foo", &json!({"anything": 1}));
        foreign["apiVersion"] = json!("example.com/v1");
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}});
        assert!(
            http_filters(
                &[foreign, service],
                &mesh(),
                &workload(&[]),
                &KeySets::new()
            )
            .unwrap()
            .is_empty()
        );
    }

    #[test]
    fn filters_come_in_order_and_each_once() {
        let mut resources = Vec::new();
        for (index, action) in ["ALLOW", "DENY", "AUDIT", "DENY"].into_iter().enumerate() {
            let mut resource = policy("foo", &json!({"action": action, "rules": [{}]}));
            resource["metadata"]["name"] = json!(format!("p{index}"));
            resources.push(resource);
        }
        resources.push(json!({
            "apiVersion": "security.istio.io/v1", "kind": "RequestAuthentication",
            "metadata": {"name": "r", "namespace": "foo"},
            "spec": {"jwtRules": [{"issuer": "a", "jwksUri": "https://a.example/keys"}]},
        }));
        let filters = http_filters(&resources, &mesh(), &workload(&[]), &KeySets::new()).unwrap();
        let seen: Vec<_> = filters
            .iter()
            .map(|filter| {
                (
                    filter["name"].as_str().unwrap(),
                    filter["typed_config"]["rules"]["action"].as_str(),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("envoy.filters.http.jwt_authn", None),
                ("envoy.filters.http.rbac", Some("LOG")),
                ("envoy.filters.http.rbac", Some("DENY")),
                ("envoy.filters.http.rbac", Some("ALLOW")),
            ]
        );
        assert_eq!(
            filters[2]["typed_config"]["rules"]["policies"]
                .as_object()
                .unwrap()
                .len(),
            2
        );
    }
}
