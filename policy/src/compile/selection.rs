//! Which resources are for the workload.

use super::{Diagnostics, Setting, Unselected};
use crate::diagnostic::{Code, Severity};
use crate::resource::{Resource, Resources, Scope};

/// The label that Gateway API gateways carry; it names the Gateway.
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// Whether the resource is for the workload.
pub(super) fn selects(resource: &Resource, setting: &Setting) -> bool {
    let metadata = resource.metadata();
    let scope = resource.scope();
    let workload = &setting.workload;
    let own_namespace = metadata.id.namespace == workload.namespace;
    if matches!(resource, Resource::PeerAuthentication(_)) && setting.workload.is_gateway {
        return false;
    }
    if scope.target_refs.is_empty() {
        (own_namespace || metadata.id.namespace == setting.mesh.root_namespace)
            && missing_label(scope, setting).is_none()
    } else {
        let gateway = workload.labels.get(GATEWAY_NAME);
        own_namespace
            && scope
                .target_refs
                .iter()
                .any(|target| target.kind == "Gateway" && Some(&target.name) == gateway)
    }
}

/// The first label of the selector that the workload does not have.
fn missing_label<'s>(scope: &'s Scope, setting: &Setting) -> Option<&'s (String, String)> {
    scope
        .match_labels
        .iter()
        .find(|(key, value)| setting.workload.labels.get(key) != Some(value))
}

/// Says of each resource that it is not for the workload, and warns if none is: the usual reason why
/// "nothing happens".
pub(super) fn report(
    resources: &Resources,
    selected: &[bool],
    setting: &Setting,
    diagnostics: &mut Diagnostics,
) {
    let usual = if setting.unselected == Unselected::Refuse {
        Severity::Error
    } else if selected.contains(&true) {
        Severity::Info
    } else {
        Severity::Warning
    };
    for (resource, selected) in resources.items.iter().zip(selected) {
        if *selected {
            continue;
        }
        let metadata = resource.metadata();
        let scope = resource.scope();
        let root = metadata.at.path.clone();
        let is_for_sidecars =
            matches!(resource, Resource::PeerAuthentication(_)) && setting.workload.is_gateway;
        // A gateway's namespace may have them for its other workloads.
        let severity = if is_for_sidecars && usual == Severity::Error {
            Severity::Warning
        } else {
            usual
        };
        let (path, message) = if is_for_sidecars {
            (
                root.key("kind"),
                "a gateway's servers set their own TLS".to_owned(),
            )
        } else if !scope.target_refs.is_empty() {
            (
                root.key("spec"),
                "the workload is not the gateway that this policy targets".to_owned(),
            )
        } else if let Some((key, value)) = missing_label(scope, setting)
            && (metadata.id.namespace == setting.workload.namespace
                || metadata.id.namespace == setting.mesh.root_namespace)
        {
            (
                root.key("spec").key("selector").key("matchLabels").key(key),
                format!("the workload has no label `{key}: {value}`, so this is not for it"),
            )
        } else {
            (
                root.key("metadata").key("namespace"),
                format!(
                    "this is for namespace `{}`, and the workload is in `{}`",
                    metadata.id.namespace, setting.workload.namespace
                ),
            )
        };
        diagnostics.push(
            resource,
            Code::PolicyNotSelected,
            severity,
            &path,
            message,
            if severity == Severity::Error {
                "remove it from this plugin, change it, or set `unselectedPolicies: ignore` where workloads share one configuration"
            } else {
                "change the workload's namespace or labels, or the policy"
            },
        );
    }
}
