use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::{Entry, Node, Value};

/// Text that is not JSON, or an object that names a key twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError(String);

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for JsonError {}

/// Reads one JSON document (RFC 8259), without positions.
///
/// # Errors
/// When the text is not JSON, or when an object has the same key twice: which of the two values was
/// meant is not ours to guess.
pub fn from_json(text: &[u8]) -> Result<Node, JsonError> {
    serde_json::from_slice(text).map_err(|error| JsonError(error.to_string()))
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

impl Node {
    /// Compact JSON of the value.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.value {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
            Value::Number(value) if value.fract() == 0.0 && value.abs() < 9e15 => {
                serializer.serialize_i64(*value as i64)
            }
            Value::Number(value) => serializer.serialize_f64(*value),
            Value::String(text) => serializer.serialize_str(text),
            Value::Sequence(items) => serializer.collect_seq(items),
            Value::Mapping(entries) => {
                serializer.collect_map(entries.iter().map(|entry| (&entry.key, &entry.value)))
            }
        }
    }
}

struct NodeVisitor;

fn node(value: Value) -> Node {
    Node { value, span: None }
}

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(node(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(node(Value::Bool(value)))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "every number is a double, as in a protobuf Struct"
    )]
    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(node(Value::Number(value as f64)))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "every number is a double, as in a protobuf Struct"
    )]
    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(node(Value::Number(value as f64)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(node(Value::Number(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(node(Value::String(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(node(Value::String(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut sequence = Vec::new();
        while let Some(item) = items.next_element()? {
            sequence.push(item);
        }
        Ok(node(Value::Sequence(sequence)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Node, A::Error> {
        let mut entries: Vec<Entry> = Vec::new();
        while let Some((key, value)) = pairs.next_entry::<String, Node>()? {
            if entries.iter().any(|entry| entry.key == key) {
                return Err(de::Error::custom(format_args!(
                    "the key `{key}` is given twice"
                )));
            }
            entries.push(Entry {
                key,
                key_span: None,
                value,
            });
        }
        Ok(node(Value::Mapping(entries)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_given_twice_is_refused() {
        let error = from_json(br#"{"a": 1, "b": {"c": 1, "c": 2}}"#).unwrap_err();
        assert!(
            error.to_string().contains("the key `c` is given twice"),
            "{error}"
        );
    }

    #[test]
    fn every_number_is_a_double() {
        let node = from_json(b"[5, 5.0, 5e0]").unwrap();
        let five = || Node {
            value: Value::Number(5.0),
            span: None,
        };
        assert_eq!(node.value, Value::Sequence(vec![five(), five(), five()]));
    }
}
