use super::decode::{Decoder, Field, Object};
use crate::diagnostic::{Code, Location, ResourceId, Severity};

/// What identifies a resource, and when it was made.
#[derive(Debug, Clone)]
pub struct Metadata {
    /// Kind, namespace and name.
    pub id: ResourceId,
    /// `creationTimestamp` as text; RFC 3339 in UTC sorts as text. Empty when the resource was not read from a cluster.
    pub created: String,
    /// Annotations.
    pub annotations: Vec<(String, String)>,
    /// Where the resource stands.
    pub at: Location,
}

/// Which workloads a resource is for (`selector`, `targetRef`, `targetRefs`).
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// `selector.matchLabels`; empty selects all workloads of the namespace.
    pub match_labels: Vec<(String, String)>,
    /// `targetRefs`, or the single `targetRef` when that list is empty.
    pub target_refs: Vec<PolicyTargetReference>,
}

/// A `targetRefs` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyTargetReference {
    /// API group; empty is the core group.
    pub group: String,
    /// `Gateway`, `GatewayClass`, `Service` or `ServiceEntry`.
    pub kind: String,
    /// The object's name.
    pub name: String,
}

/// The API's limit on `targetRefs`.
const MAX_TARGET_REFS: usize = 16;

impl Metadata {
    /// Reads `metadata`. Fields that only a cluster fills are allowed and left aside.
    pub(super) fn decode(decoder: &mut Decoder, resource: &Object<'_>) -> Option<Self> {
        let id = decoder.location().resource.clone()?;
        let at = decoder.location().clone();
        let Some(field) = resource.field("metadata") else {
            decoder.missing(resource, "metadata");
            return None;
        };
        let object = decoder.object(&field)?;
        let name = decoder.required_string(&object, "name")?;
        if name.text.is_empty() {
            decoder.error(
                Code::EmptyValue,
                &name.at,
                "`name` is empty",
                "name the resource",
            );
        }
        if let Some(namespace) = decoder.string(&object, "namespace")
            && namespace.text.is_empty()
        {
            decoder.error(
                Code::EmptyValue,
                &namespace.at,
                "`namespace` is empty",
                "name the namespace or remove the field",
            );
        }
        let created = decoder
            .string(&object, "creationTimestamp")
            .map(|text| text.text)
            .unwrap_or_default();
        let annotations = decoder
            .string_map(&object, "annotations")
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (key, value.text))
            .collect();
        Some(Self {
            id,
            created,
            annotations,
            at,
        })
    }
}

impl Scope {
    /// Reads the fields of `spec` that select workloads.
    pub(super) fn decode(decoder: &mut Decoder, spec: &Object<'_>) -> Self {
        let mut scope = Self::default();
        let selector = spec.field("selector");
        if let Some(field) = &selector {
            scope.match_labels = selector_labels(decoder, field);
        }
        if let Some(fields) = decoder.list(spec, "targetRefs") {
            if fields.len() > MAX_TARGET_REFS {
                decoder.error(
                    Code::TooMany,
                    &spec.at().key("targetRefs"),
                    format!(
                        "{} targets, and the API allows {MAX_TARGET_REFS}",
                        fields.len()
                    ),
                    "split the policy",
                );
            }
            for field in fields {
                scope.target_refs.extend(target(decoder, &field));
            }
        }
        let single = spec.field("targetRef");
        if let Some(field) = &single {
            let target = target(decoder, field);
            if scope.target_refs.is_empty() {
                scope.target_refs.extend(target);
            }
        }
        let ways = [
            selector.is_some(),
            single.is_some(),
            !scope.target_refs.is_empty() && single.is_none(),
        ];
        if ways.iter().filter(|way| **way).count() > 1 {
            decoder.error(
                Code::ConflictingFields,
                &spec.at().key(if single.is_some() {
                    "targetRef"
                } else {
                    "targetRefs"
                }),
                "`selector`, `targetRef` and `targetRefs` exclude each other",
                "keep one of them",
            );
        }
        scope
    }
}

fn selector_labels(decoder: &mut Decoder, field: &Field<'_>) -> Vec<(String, String)> {
    let Some(object) = decoder.object(field) else {
        return Vec::new();
    };
    decoder.known_fields(&object, &["matchLabels"]);
    let labels = decoder
        .string_map(&object, "matchLabels")
        .unwrap_or_default();
    if labels.is_empty() {
        decoder.report(
            Code::EmptySelector,
            Severity::Warning,
            object.at(),
            "the selector names no label, so it selects every workload of the namespace",
            Some("remove `selector` to say so"),
        );
    }
    let mut pairs = Vec::new();
    for (key, value) in labels {
        let reject = |decoder: &mut Decoder, message: &str| {
            decoder.error(
                Code::InvalidSelector,
                &value.at,
                message,
                "labels match whole and exactly",
            );
        };
        if key.is_empty() {
            reject(decoder, "a label has no name");
        } else if key.contains('*') || value.text.contains('*') {
            reject(
                decoder,
                "a label holds a `*`, and selectors know no wildcards",
            );
        } else if value.text.len() > 63 {
            reject(decoder, "a label's value is longer than 63 characters");
        }
        pairs.push((key, value.text));
    }
    pairs
}

fn target(decoder: &mut Decoder, field: &Field<'_>) -> Option<PolicyTargetReference> {
    const KINDS: &[(&str, &str)] = &[
        ("", "Service"),
        ("core", "Service"),
        ("networking.istio.io", "ServiceEntry"),
        ("gateway.networking.k8s.io", "Gateway"),
        ("gateway.networking.k8s.io", "GatewayClass"),
    ];
    let object = decoder.object(field)?;
    decoder.known_fields(&object, &["group", "kind", "name", "namespace"]);
    let group = decoder
        .string(&object, "group")
        .map(|text| text.text)
        .unwrap_or_default();
    let kind = decoder.required_string(&object, "kind")?;
    let name = decoder.required_string(&object, "name")?;
    if name.text.is_empty() {
        decoder.error(
            Code::EmptyValue,
            &name.at,
            "`name` is empty",
            "name the target",
        );
    }
    if let Some(namespace) = decoder
        .string(&object, "namespace")
        .filter(|text| !text.text.is_empty())
    {
        decoder.error(
            Code::InvalidTargetReference,
            &namespace.at,
            "a target in another namespace is not supported",
            "remove `namespace`: the target is looked up in the policy's own",
        );
    }
    if !KINDS.contains(&(group.as_str(), kind.text.as_str())) {
        decoder.error(
            Code::InvalidTargetReference,
            &kind.at,
            format!("`{}` of group `{group}` cannot be a target", kind.text),
            "use Gateway or GatewayClass (gateway.networking.k8s.io), Service (core) or ServiceEntry (networking.istio.io)",
        );
    } else if kind.text != "Gateway" {
        decoder.error(
            Code::NotEnforced,
            &kind.at,
            format!(
                "a `{}` target takes effect on waypoints, which are not supported yet",
                kind.text
            ),
            "use a selector, or a Gateway target",
        );
    }
    Some(PolicyTargetReference {
        group,
        kind: kind.text,
        name: name.text,
    })
}

/// Reads `spec`; a resource without one has an empty one. `status` is what a cluster adds.
pub(super) fn spec<'n>(decoder: &mut Decoder, resource: &Object<'n>) -> Option<Object<'n>> {
    decoder.known_fields(
        resource,
        &["apiVersion", "kind", "metadata", "spec", "status"],
    );
    match resource.field("spec") {
        Some(field) => decoder.object(&field),
        None => Some(Object::new(&[], resource.at().key("spec"), None)),
    }
}
