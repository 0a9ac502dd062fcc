//! `security.istio.io` `AuthorizationPolicy` (istio/api `security/v1/authorization_policy.proto`).

use super::decode::{Decoder, Field, Object, Text};
use super::metadata::{Metadata, Scope, spec};
use crate::diagnostic::{Code, Severity};
use crate::source::{FieldPath, Value};

/// The annotation that keeps a policy from being enforced.
pub(super) const DRY_RUN: &str = "istio.io/dry-run";

/// Who may do what.
#[derive(Debug, Clone)]
pub struct AuthorizationPolicy {
    /// Name and place.
    pub metadata: Metadata,
    /// The workloads it is for.
    pub scope: Scope,
    /// `action`
    pub action: Action,
    /// `rules`; absent and empty both match nothing.
    pub rules: Vec<Rule>,
    /// Whether the policy is only tried out.
    pub dry_run: bool,
}

/// What a matching rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Let the request through, unless a DENY policy matches.
    Allow,
    /// Refuse it.
    Deny,
    /// Mark it for audit; never refuses.
    Audit,
}

impl Action {
    /// The word that policies use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "ALLOW",
            Self::Deny => "DENY",
            Self::Audit => "AUDIT",
        }
    }
}

/// `rules` entry: any `from`, and any `to`, and every `when`.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The rule's place.
    pub at: FieldPath,
    /// `from`; empty matches every source.
    pub from: Vec<Group>,
    /// `to`; empty matches every operation.
    pub to: Vec<Group>,
    /// `when`
    pub when: Vec<Condition>,
}

/// A `source` or an `operation`: every field must hold, one value of a field is enough.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its place.
    pub at: FieldPath,
    /// The values of each field that has some, in the order of the API.
    pub fields: Vec<(&'static str, Vec<Text>)>,
}

/// `when` entry.
#[derive(Debug, Clone)]
pub struct Condition {
    /// Its place.
    pub at: FieldPath,
    /// `key`: the attribute.
    pub key: Text,
    /// `values`
    pub values: Vec<Text>,
    /// `notValues`
    pub not_values: Vec<Text>,
}

/// The fields of `source`.
const SOURCE_FIELDS: &[&str] = &[
    "principals",
    "notPrincipals",
    "requestPrincipals",
    "notRequestPrincipals",
    "namespaces",
    "notNamespaces",
    "serviceAccounts",
    "notServiceAccounts",
    "trustDomains",
    "notTrustDomains",
    "ipBlocks",
    "notIpBlocks",
    "remoteIpBlocks",
    "notRemoteIpBlocks",
];

/// The fields of `operation`.
const OPERATION_FIELDS: &[&str] = &[
    "hosts",
    "notHosts",
    "ports",
    "notPorts",
    "methods",
    "notMethods",
    "paths",
    "notPaths",
];

/// The API's limit on `rules`, `from` and `to`.
const MAX_ENTRIES: usize = 512;

impl AuthorizationPolicy {
    pub(super) fn decode(decoder: &mut Decoder, resource: &Object<'_>) -> Option<Self> {
        let metadata = Metadata::decode(decoder, resource)?;
        let spec = spec(decoder, resource)?;
        decoder.known_fields(
            &spec,
            &[
                "selector",
                "targetRef",
                "targetRefs",
                "action",
                "provider",
                "rules",
            ],
        );
        let scope = Scope::decode(decoder, &spec);
        let action = action(decoder, &spec)?;
        let dry_run = dry_run(decoder, &metadata, action);
        if action == Action::Deny && spec.field("rules").is_none() {
            decoder.error(
                Code::MissingField,
                &spec.at().key("rules"),
                "a DENY policy without `rules` would never take effect",
                "add rules; `rules: [{}]` denies every request",
            );
        }
        let mut rules = Vec::new();
        for field in entries(decoder, &spec, "rules") {
            rules.extend(Rule::decode(decoder, &field));
        }
        Some(Self {
            metadata,
            scope,
            action,
            rules,
            dry_run,
        })
    }
}

fn action(decoder: &mut Decoder, spec: &Object<'_>) -> Option<Action> {
    let text = decoder.string(spec, "action");
    let action = match text.as_ref().map(|text| text.text.as_str()) {
        None | Some("ALLOW") => Action::Allow,
        Some("DENY") => Action::Deny,
        Some("AUDIT") => {
            decoder.report(
                Code::NotEnforced,
                Severity::Warning,
                &spec.at().key("action"),
                "an AUDIT policy never changes a decision, and a plugin cannot set Envoy's `access_log_hint`",
                Some("read the plugin's own log instead"),
            );
            Action::Audit
        }
        Some("CUSTOM") => {
            decoder.error(
                Code::NotEnforced,
                &spec.at().key("action"),
                "the action CUSTOM is not enforced yet",
                "remove it here; leaving it out silently would decide differently from the cluster",
            );
            return None;
        }
        Some(other) => {
            decoder.refuse(
                Code::UnknownEnumValue,
                &spec.at().key("action"),
                &other,
                "an action",
                "use ALLOW, DENY or AUDIT",
            );
            return None;
        }
    };
    if spec.field("provider").is_some() {
        decoder.error(
            Code::ConflictingFields,
            &spec.at().key("provider"),
            "`provider` belongs to the action CUSTOM only",
            "remove it",
        );
    }
    Some(action)
}

/// A Go boolean, as Istio reads the annotation.
fn dry_run(decoder: &mut Decoder, metadata: &Metadata, action: Action) -> bool {
    let Some((_, value)) = metadata.annotations.iter().find(|(key, _)| key == DRY_RUN) else {
        return false;
    };
    let at = metadata
        .at
        .path
        .key("metadata")
        .key("annotations")
        .key(DRY_RUN);
    if action == Action::Audit {
        decoder.error(
            Code::InvalidDryRun,
            &at,
            "only ALLOW and DENY can be a dry run",
            "remove the annotation",
        );
    }
    match value.as_str() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => {
            decoder.report(
                Code::NotEnforced,
                Severity::Info,
                &at,
                "a dry run: it changes no decision, and does not count as an ALLOW policy",
                None,
            );
            true
        }
        "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
        other => {
            decoder.refuse(
                Code::InvalidDryRun,
                &at,
                &other,
                "a boolean",
                "use \"true\" or \"false\"",
            );
            false
        }
    }
}

/// The entries of a list whose length the API limits.
fn entries<'n>(decoder: &mut Decoder, object: &Object<'n>, key: &str) -> Vec<Field<'n>> {
    let fields = decoder.list(object, key).unwrap_or_default();
    if fields.len() > MAX_ENTRIES {
        decoder.error(
            Code::TooMany,
            &object.at().key(key),
            format!("{} entries, and the API allows {MAX_ENTRIES}", fields.len()),
            "split the policy",
        );
    }
    fields
}

impl Rule {
    fn decode(decoder: &mut Decoder, field: &Field<'_>) -> Option<Self> {
        let object = decoder.object(field)?;
        decoder.known_fields(&object, &["from", "to", "when"]);
        let from = Group::decode_list(decoder, &object, "from", "source", SOURCE_FIELDS);
        let to = Group::decode_list(decoder, &object, "to", "operation", OPERATION_FIELDS);
        let mut when = Vec::new();
        for field in decoder.list(&object, "when").unwrap_or_default() {
            when.extend(Condition::decode(decoder, &field));
        }
        Some(Self {
            at: field.at.clone(),
            from,
            to,
            when,
        })
    }
}

impl Group {
    fn decode_list(
        decoder: &mut Decoder,
        rule: &Object<'_>,
        key: &str,
        inner: &str,
        known: &[&'static str],
    ) -> Vec<Self> {
        let fields = entries(decoder, rule, key);
        if fields.is_empty() && rule.field(key).is_some() {
            decoder.error(
                Code::EmptyList,
                &rule.at().key(key),
                format!("`{key}` is an empty list"),
                "fill it or remove the field",
            );
        }
        fields
            .iter()
            .filter_map(|field| Self::decode(decoder, field, inner, known))
            .collect()
    }

    fn decode(
        decoder: &mut Decoder,
        entry: &Field<'_>,
        inner: &str,
        known: &[&'static str],
    ) -> Option<Self> {
        let object = decoder.object(entry)?;
        decoder.known_fields(&object, &[inner]);
        let Some(field) = object.field(inner) else {
            decoder.missing(&object, inner);
            return None;
        };
        let object = decoder.object(&field)?;
        decoder.known_fields(&object, known);
        let mut fields = Vec::new();
        for name in known {
            let values = decoder.strings(&object, name);
            if !values.is_empty() {
                fields.push((*name, values));
            }
        }
        if object.is_empty() || known.iter().all(|name| is_empty_list(&object, name)) {
            decoder.error(
                Code::EmptyValue,
                &field.at,
                format!("`{inner}` names nothing"),
                "fill it, or remove it to match everything",
            );
        }
        Some(Self {
            at: field.at,
            fields,
        })
    }
}

/// Absent or `[]`: a list that holds a bad value is reported for that, not for being empty.
fn is_empty_list(object: &Object<'_>, name: &str) -> bool {
    object
        .field(name)
        .is_none_or(|field| matches!(&field.node.value, Value::Sequence(items) if items.is_empty()))
}

impl Condition {
    fn decode(decoder: &mut Decoder, field: &Field<'_>) -> Option<Self> {
        let object = decoder.object(field)?;
        decoder.known_fields(&object, &["key", "values", "notValues"]);
        let key = decoder.required_string(&object, "key")?;
        let values = decoder.strings(&object, "values");
        let not_values = decoder.strings(&object, "notValues");
        if is_empty_list(&object, "values") && is_empty_list(&object, "notValues") {
            decoder.error(
                Code::MissingField,
                &field.at.key("values"),
                "a condition needs `values` or `notValues`",
                "add the values to compare with",
            );
        }
        Some(Self {
            at: field.at.clone(),
            key,
            values,
            not_values,
        })
    }
}
