//! `PeerAuthentication`s become one mode for the workload, and one for each port that has its own.

use super::{Diagnostics, Setting};
use crate::diagnostic::{Code, Severity};
use crate::policy_set::{PeerMode, PeerModes};
use crate::resource::{MutualTlsMode, PeerAuthentication};
use crate::sorted::sorted;

/// The modes that hold, from the mesh's down to the workload's: each that is set overrides the wider one.
/// Within one scope the oldest wins and the others are ignored.
pub(super) fn modes(
    resources: &[&PeerAuthentication],
    setting: &Setting,
    diagnostics: &mut Diagnostics,
) -> Option<PeerModes> {
    let by_age = sorted(resources.to_vec(), |left, right| {
        let key = |resource: &PeerAuthentication| {
            let metadata = &resource.metadata;
            (
                metadata.created.clone(),
                metadata.id.name.clone(),
                metadata.id.namespace.clone(),
            )
        };
        key(left).cmp(&key(right))
    });
    let mut scopes: [Option<&PeerAuthentication>; 3] = [None; 3];
    for resource in by_age {
        let is_root = resource.metadata.id.namespace == setting.mesh.root_namespace;
        let has_labels = !resource.scope.match_labels.is_empty();
        let [mesh, namespace, workload] = &mut scopes;
        let scope = match (is_root, has_labels) {
            (true, false) => mesh,
            (false, false) => namespace,
            (false, true) => workload,
            (true, true) => {
                ignored(
                    resource,
                    "in the root namespace, one with a selector is for no workload",
                    diagnostics,
                );
                continue;
            }
        };
        match scope {
            None => *scope = Some(resource),
            Some(older) => {
                let message = format!(
                    "`{}` is older and of the same scope: this one is ignored",
                    older.metadata.id
                );
                ignored(resource, &message, diagnostics);
            }
        }
    }
    let mut default: Option<PeerMode> = None;
    for resource in scopes.into_iter().flatten() {
        if resource.mode != MutualTlsMode::Unset {
            default = Some(mode(resource, resource.mode));
        }
    }
    let [_, _, workload] = scopes;
    let levels = workload.into_iter().flat_map(|resource| {
        let set = resource
            .ports
            .iter()
            .filter(|(_, level)| *level != MutualTlsMode::Unset);
        set.map(|(port, level)| (*port, mode(resource, *level)))
    });
    let ports: Box<[(u16, PeerMode)]> = levels.collect();
    (default.is_some() || !ports.is_empty()).then_some(PeerModes { default, ports })
}

fn mode(resource: &PeerAuthentication, mode: MutualTlsMode) -> PeerMode {
    PeerMode {
        mode,
        at: resource.metadata.at.clone(),
    }
}

fn ignored(resource: &PeerAuthentication, message: &str, diagnostics: &mut Diagnostics) {
    diagnostics.push(
        resource,
        Code::IgnoredPolicy,
        Severity::Warning,
        &resource.metadata.at.path.key("metadata").key("name"),
        message,
        "remove it, or merge the two",
    );
}
