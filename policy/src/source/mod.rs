//! Text that people wrote, as a tree that remembers where each part stands.
//!
//! Policies arrive as YAML (page, scenarios) or as JSON (the filter's configuration). Both become the
//! same [`Node`] tree, so everything after this module is written once. A node knows its [`Span`] when
//! the text was YAML; lines and columns are looked up only when something is shown ([`LineIndex`]).

mod json;
mod path;
mod position;
#[cfg(feature = "yaml")]
mod yaml;

pub use json::{JsonError, from_json};
pub use path::{FieldPath, Segment};
pub use position::{LineIndex, Position, Span};
#[cfg(feature = "yaml")]
pub use yaml::{SyntaxError, from_yaml};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What is written there.
    pub value: Value,
    /// Where; `None` when the text was JSON without positions.
    pub span: Option<Span>,
}

/// What is written at a node, in JSON's terms.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// A boolean. Plain YAML 1.1 words such as `yes` and `off` are booleans too, as Kubernetes reads them.
    Bool(bool),
    /// A number; integers beyond 2^53 lose precision, as they do in a protobuf `Struct`.
    Number(f64),
    /// Text.
    String(String),
    /// A list.
    Sequence(Vec<Node>),
    /// An object; keys are unique and keep their order.
    Mapping(Vec<Entry>),
}

/// One key of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub key_span: Option<Span>,
    /// Its value.
    pub value: Node,
}

impl Node {
    /// The value under `key`, if this is an object that has it. `null` counts as absent, as in proto3 JSON.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Mapping(entries) => entries
                .iter()
                .find(|entry| entry.key == key)
                .map(|entry| &entry.value)
                .filter(|node| node.value != Value::Null),
            _ => None,
        }
    }

    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The place of `path` below this node: the deepest part of the path that exists.
    pub fn span_at(&self, path: &FieldPath) -> Option<Span> {
        let mut node = self;
        let mut span = self.span;
        for segment in path.segments() {
            let next = match (segment, &node.value) {
                (Segment::Key(key), Value::Mapping(entries)) => entries
                    .iter()
                    .find(|entry| entry.key == *key)
                    .map(|entry| (&entry.value, Span::join(entry.key_span, entry.value.span))),
                (Segment::Index(index), Value::Sequence(items)) => {
                    items.get(*index).map(|item| (item, item.span))
                }
                _ => None,
            };
            let Some((child, place)) = next else { break };
            node = child;
            span = place.or(span);
        }
        span
    }

    /// A word for the kind of value, for messages.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "an object",
        }
    }
}
