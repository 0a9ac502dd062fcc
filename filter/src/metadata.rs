//! The stream's dynamic metadata. Envoy gives it whole as a protobuf message: its single values come without
//! their type, and a policy is about strings and lists only.

use std::collections::BTreeMap;

use portcullis_policy::{Metadata, MetadataValue};
use prost::Message;

use crate::host;

/// `envoy.config.core.v3.Metadata`
#[derive(PartialEq, Message)]
struct Filters {
    #[prost(btree_map = "string, message", tag = "1")]
    filter_metadata: BTreeMap<String, Struct>,
}

/// `google.protobuf.Struct`
#[derive(PartialEq, Message)]
struct Struct {
    #[prost(btree_map = "string, message", tag = "1")]
    fields: BTreeMap<String, Value>,
}

/// `google.protobuf.Value`, of which the other kinds are skipped.
#[derive(PartialEq, Message)]
struct Value {
    #[prost(string, optional, tag = "3")]
    string_value: Option<String>,
    #[prost(message, optional, tag = "6")]
    list_value: Option<List>,
}

/// `google.protobuf.ListValue`
#[derive(PartialEq, Message)]
struct List {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Value>,
}

/// `None` when Envoy does not tell, or in a form that we do not know.
pub(crate) fn read() -> Option<Metadata> {
    let bytes = host::property(&["metadata"]).ok()?.unwrap_or_default();
    let filters = Filters::decode(bytes.as_slice()).ok()?;
    let mut metadata = Metadata::default();
    for (filter, entries) in filters.filter_metadata {
        for (key, value) in entries.fields {
            metadata.add(filter.clone(), key, convert(value));
        }
    }
    Some(metadata)
}

fn convert(value: Value) -> MetadataValue {
    match (value.string_value, value.list_value) {
        (Some(text), _) => MetadataValue::Text(text),
        (None, Some(list)) => MetadataValue::Texts(
            list.values
                .into_iter()
                .filter_map(|value| value.string_value)
                .collect(),
        ),
        (None, None) => MetadataValue::Other,
    }
}
