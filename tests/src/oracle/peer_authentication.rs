//! `PeerAuthentication`: which connections the inbound listener takes (4).

use anyhow::{Result, bail};
use serde_json::Value;

use super::resource::{self, Fields, Kind, Resource};
use super::{Mesh, Workload, attaches};

/// What a listener does about TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PeerMode {
    /// It terminates no TLS.
    Disable,
    /// It takes plain text, and TLS with or without a client certificate.
    Permissive,
    /// It takes TLS with a client certificate only.
    Strict,
}

/// The modes of a workload's ports.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PeerModes {
    /// Of the ports that are not listed.
    pub default: PeerMode,
    /// By the port of the workload.
    pub ports: Vec<(u16, PeerMode)>,
}

/// The modes that hold for `workload`.
///
/// # Errors
///
/// A resource has a shape or a mode that is unknown here.
pub fn peer_modes(resources: &[Value], mesh: &Mesh, workload: &Workload) -> Result<PeerModes> {
    let mut attached = Vec::new();
    for resource in resource::security_resources(resources)? {
        if resource.kind == Kind::PeerAuthentication && attaches(&resource, mesh, workload)? {
            attached.push(resource);
        }
    }
    attached.sort_by_key(|resource| (resource.created, resource.name, resource.namespace));
    let oldest = |root: bool, selects: bool| -> Option<&Resource<'_>> {
        attached.iter().find(|resource| {
            let has_labels = resource
                .spec
                .child("selector")
                .and_then(|selector| Ok(!selector.child("matchLabels")?.all_texts()?.is_empty()));
            (resource.namespace == mesh.root_namespace) == root
                && has_labels.unwrap_or(false) == selects
        })
    };
    let own = oldest(false, true);
    let mut modes = PeerModes {
        default: PeerMode::Permissive,
        ports: Vec::new(),
    };
    // From the widest scope to the narrowest.
    for resource in [oldest(true, false), oldest(false, false), own]
        .into_iter()
        .flatten()
    {
        if let Some(mode) = mode(&resource.spec.child("mtls")?)? {
            modes.default = mode;
        }
    }
    if let Some(resource) = own {
        for (port, level) in resource.spec.child("portLevelMtls")?.all_children()? {
            if let Some(mode) = mode(&level)? {
                modes.ports.push((port.parse()?, mode));
            }
        }
    }
    Ok(modes)
}

fn mode(mutual_tls: &Fields<'_>) -> Result<Option<PeerMode>> {
    mutual_tls.expect_only(&["mode"])?;
    Ok(match mutual_tls.text("mode")? {
        None | Some("UNSET") => None,
        Some("DISABLE") => Some(PeerMode::Disable),
        Some("PERMISSIVE") => Some(PeerMode::Permissive),
        Some("STRICT") => Some(PeerMode::Strict),
        Some(other) => bail!("{}: unknown mode `{other}`", mutual_tls.at),
    })
}
