//! `security.istio.io` `PeerAuthentication` (istio/api `security/v1/peer_authentication.proto`).

use super::decode::{Decoder, Field, Object};
use super::metadata::{Metadata, Scope, spec};
use crate::diagnostic::Code;

/// Whether clients of a workload must show a certificate of the mesh.
#[derive(Debug, Clone)]
pub struct PeerAuthentication {
    /// Name and place.
    pub metadata: Metadata,
    /// The workloads it is for.
    pub scope: Scope,
    /// `mtls.mode`
    pub mode: MutualTlsMode,
    /// `portLevelMtls` by the workload's port.
    pub ports: Vec<(u16, MutualTlsMode)>,
}

/// `MutualTLS.Mode`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum MutualTlsMode {
    /// As the next wider scope says.
    #[default]
    Unset,
    /// Plain text only.
    Disable,
    /// Plain text and mutual TLS.
    Permissive,
    /// Mutual TLS only.
    Strict,
}

impl MutualTlsMode {
    /// Istio's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unset => "UNSET",
            Self::Disable => "DISABLE",
            Self::Permissive => "PERMISSIVE",
            Self::Strict => "STRICT",
        }
    }

    fn decode(decoder: &mut Decoder, mutual_tls: &Object<'_>) -> Self {
        const ALL: [MutualTlsMode; 4] = [
            MutualTlsMode::Unset,
            MutualTlsMode::Disable,
            MutualTlsMode::Permissive,
            MutualTlsMode::Strict,
        ];
        decoder.known_fields(mutual_tls, &["mode"]);
        let Some(text) = decoder.string(mutual_tls, "mode") else {
            return Self::Unset;
        };
        let found = ALL.into_iter().find(|mode| mode.as_str() == text.text);
        if found.is_none() {
            decoder.refuse(
                Code::UnknownEnumValue,
                &text.at,
                &text.text,
                "a mode",
                "use UNSET, DISABLE, PERMISSIVE or STRICT",
            );
        }
        found.unwrap_or_default()
    }
}

impl PeerAuthentication {
    pub(super) fn decode(decoder: &mut Decoder, resource: &Object<'_>) -> Option<Self> {
        let metadata = Metadata::decode(decoder, resource)?;
        let spec = spec(decoder, resource)?;
        decoder.known_fields(&spec, &["selector", "mtls", "portLevelMtls"]);
        let scope = Scope::decode(decoder, &spec);
        let object = |decoder: &mut Decoder, key: &str| {
            let field = spec.field(key)?;
            decoder.object(&field)
        };
        let mode = object(decoder, "mtls")
            .map(|mutual_tls| MutualTlsMode::decode(decoder, &mutual_tls))
            .unwrap_or_default();
        let mut ports = Vec::new();
        if let Some(levels) = object(decoder, "portLevelMtls") {
            if scope.match_labels.is_empty() {
                decoder.error(
                    Code::ConflictingFields,
                    levels.at(),
                    "`portLevelMtls` needs a selector with labels",
                    "add `selector.matchLabels`, or remove `portLevelMtls`",
                );
            }
            if levels.is_empty() {
                decoder.error(
                    Code::EmptyList,
                    levels.at(),
                    "`portLevelMtls` names no port",
                    "name a port or remove the field",
                );
            }
            for (port, field) in levels.fields() {
                ports.extend(port_level(decoder, port, &field));
            }
        }
        Some(Self {
            metadata,
            scope,
            mode,
            ports,
        })
    }
}

fn port_level(
    decoder: &mut Decoder,
    port: &str,
    field: &Field<'_>,
) -> Option<(u16, MutualTlsMode)> {
    let mutual_tls = decoder.object(field)?;
    let mode = MutualTlsMode::decode(decoder, &mutual_tls);
    match port.parse() {
        Ok(0) | Err(_) => {
            decoder.refuse(
                Code::InvalidPort,
                &field.at,
                &port,
                "a port",
                "write the workload's port, from 1 to 65535",
            );
            None
        }
        Ok(number) => Some((number, mode)),
    }
}
