//! Reading typed fields out of a [`Node`] while collecting everything there is to say about it.

use crate::diagnostic::{Code, Diagnostic, Location, ResourceId, Severity};
use crate::source::{Entry, FieldPath, Node, Span, Value};

/// Collects diagnostics for one resource.
#[derive(Debug)]
pub struct Decoder {
    at: Location,
    diagnostics: Vec<Diagnostic>,
}

/// A node and the way to it.
#[derive(Debug, Clone)]
pub struct Field<'n> {
    /// The value.
    pub node: &'n Node,
    /// Its path from the document's root.
    pub at: FieldPath,
}

/// An object whose fields are asked for by name; what nobody asked for is unknown.
#[derive(Debug)]
pub struct Object<'n> {
    entries: &'n [Entry],
    at: FieldPath,
    span: Option<Span>,
}

/// A string and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The string.
    pub text: String,
    /// Its place.
    pub at: FieldPath,
}

impl Decoder {
    /// Starts on the resource at `at`, whose identity may still be unknown.
    pub fn new(at: Location) -> Self {
        Self {
            at,
            diagnostics: Vec::new(),
        }
    }

    /// The root of the resource.
    pub fn root<'n>(&self, node: &'n Node) -> Field<'n> {
        Field {
            node,
            at: self.at.path.clone(),
        }
    }

    /// Where the resource stands.
    pub fn location(&self) -> &Location {
        &self.at
    }

    /// Names the resource in all diagnostics from here on.
    pub fn name_resource(&mut self, id: ResourceId) {
        self.at.resource = Some(id);
    }

    /// What was found.
    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.diagnostics
    }

    /// Adds a finding.
    pub fn report(
        &mut self,
        code: Code,
        severity: Severity,
        path: &FieldPath,
        message: impl Into<String>,
        help: Option<&str>,
    ) {
        self.report_at(code, severity, path, None, message.into(), help);
    }

    /// Adds an error with its remedy.
    pub fn error(&mut self, code: Code, path: &FieldPath, message: impl Into<String>, help: &str) {
        self.report(code, Severity::Error, path, message, Some(help));
    }

    /// Reports that `text` is not `what`, such as `a port`.
    pub fn refuse(
        &mut self,
        code: Code,
        at: &FieldPath,
        text: &dyn std::fmt::Display,
        what: &str,
        help: &str,
    ) {
        self.error(code, at, format!("`{text}` is not {what}"), help);
    }

    fn report_at(
        &mut self,
        code: Code,
        severity: Severity,
        path: &FieldPath,
        span: Option<Span>,
        message: String,
        help: Option<&str>,
    ) {
        self.diagnostics.push(Diagnostic {
            code,
            severity,
            message,
            help: help.map(str::to_owned),
            at: Location {
                path: path.clone(),
                ..self.at.clone()
            },
            span,
        });
    }

    /// Reports a value of another type than the field's.
    pub fn wrong_type(&mut self, field: &Field<'_>, wanted: &str) {
        let help = match (&field.node.value, wanted) {
            (Value::Bool(_) | Value::Number(_), "a string") => Some("put it in quotes"),
            _ => None,
        };
        let message = format!("expected {wanted}, found {}", field.node.kind());
        self.report(Code::WrongType, Severity::Error, &field.at, message, help);
    }

    /// The field as an object.
    pub fn object<'n>(&mut self, field: &Field<'n>) -> Option<Object<'n>> {
        if let Value::Mapping(entries) = &field.node.value {
            Some(Object::new(entries, field.at.clone(), field.node.span))
        } else {
            self.wrong_type(field, "an object");
            None
        }
    }

    /// The object under `key`; `None` if it is absent.
    pub fn inner<'n>(&mut self, object: &Object<'n>, key: &str) -> Option<Object<'n>> {
        let field = object.field(key)?;
        self.object(&field)
    }

    /// Reports every field of `object` that is not in `known`.
    pub fn known_fields(&mut self, object: &Object<'_>, known: &[&str]) {
        for entry in object.entries {
            if !known.contains(&entry.key.as_str()) {
                let near = nearest(&entry.key, known);
                let help = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known here: {}", known.join(", ")),
                };
                self.report_at(
                    Code::UnknownField,
                    Severity::Error,
                    &object.at.key(&entry.key),
                    entry.key_span,
                    format!("`{}` is not a field here", entry.key),
                    Some(&help),
                );
            }
        }
    }

    /// A string that must be there.
    pub fn required_string(&mut self, object: &Object<'_>, key: &str) -> Option<Text> {
        if object.field(key).is_none() {
            self.missing(object, key);
        }
        self.string(object, key)
    }

    /// The string under `key`, which is not empty; `None` if it is absent.
    pub fn filled_string(&mut self, object: &Object<'_>, key: &str) -> Option<Text> {
        let text = self.string(object, key)?;
        if text.text.is_empty() {
            self.error(
                Code::EmptyValue,
                &text.at,
                format!("`{key}` is empty"),
                "fill it or remove it",
            );
        }
        Some(text)
    }

    /// Reports a field that must be there and is not.
    pub fn missing(&mut self, object: &Object<'_>, key: &str) {
        self.report_at(
            Code::MissingField,
            Severity::Error,
            &object.at.key(key),
            object.span.map(|span| Span {
                start: span.start,
                end: span.start + 1,
            }),
            format!("`{key}` is missing"),
            Some(&format!("add `{key}`")),
        );
    }

    /// The string under `key`; `None` if it is absent.
    pub fn string(&mut self, object: &Object<'_>, key: &str) -> Option<Text> {
        let field = object.field(key)?;
        self.text(&field)
    }

    /// [`Self::string`] without its place.
    pub fn plain_string(&mut self, object: &Object<'_>, key: &str) -> Option<String> {
        self.string(object, key).map(|text| text.text)
    }

    /// The field as a string.
    pub fn text(&mut self, field: &Field<'_>) -> Option<Text> {
        if let Value::String(text) = &field.node.value {
            Some(Text {
                text: text.clone(),
                at: field.at.clone(),
            })
        } else {
            self.wrong_type(field, "a string");
            None
        }
    }

    /// The boolean under `key`; `None` if it is absent.
    pub fn boolean(&mut self, object: &Object<'_>, key: &str) -> Option<bool> {
        let field = object.field(key)?;
        if let Value::Bool(value) = field.node.value {
            Some(value)
        } else {
            self.wrong_type(&field, "a boolean");
            None
        }
    }

    /// The number under `key`; `None` if it is absent.
    pub fn number(&mut self, object: &Object<'_>, key: &str) -> Option<f64> {
        let field = object.field(key)?;
        if let Value::Number(value) = field.node.value {
            Some(value)
        } else {
            self.wrong_type(&field, "a number");
            None
        }
    }

    /// The items of the list under `key`; `None` if it is absent. `null` items are reported and left out.
    pub fn list<'n>(&mut self, object: &Object<'n>, key: &str) -> Option<Vec<Field<'n>>> {
        let field = object.field(key)?;
        let Value::Sequence(items) = &field.node.value else {
            self.wrong_type(&field, "a list");
            return None;
        };
        let mut fields = Vec::with_capacity(items.len());
        for (index, node) in items.iter().enumerate() {
            let item = Field {
                node,
                at: field.at.index(index),
            };
            if node.value == Value::Null {
                self.error(
                    Code::EmptyValue,
                    &item.at,
                    "an entry of the list is null",
                    "fill it or remove it",
                );
            } else {
                fields.push(item);
            }
        }
        Some(fields)
    }

    /// The strings of the list under `key`, none of them empty; an absent list has none.
    pub fn strings(&mut self, object: &Object<'_>, key: &str) -> Vec<Text> {
        let mut texts = Vec::new();
        for field in self.list(object, key).unwrap_or_default() {
            if let Some(text) = self.text(&field) {
                if text.text.is_empty() {
                    self.error(
                        Code::EmptyValue,
                        &text.at,
                        format!("an entry of `{key}` is empty"),
                        "fill it or remove it",
                    );
                } else {
                    texts.push(text);
                }
            }
        }
        texts
    }

    /// [`Self::strings`] without their places.
    pub fn plain_strings(&mut self, object: &Object<'_>, key: &str) -> Vec<String> {
        let texts = self.strings(object, key);
        texts.into_iter().map(|text| text.text).collect()
    }

    /// The object of strings under `key`; `None` if it is absent.
    pub fn string_map(&mut self, object: &Object<'_>, key: &str) -> Option<Vec<(String, Text)>> {
        let field = object.field(key)?;
        let object = self.object(&field)?;
        let mut pairs = Vec::new();
        for entry in object.entries {
            let field = Field {
                node: &entry.value,
                at: object.at.key(&entry.key),
            };
            if let Some(text) = self.text(&field) {
                pairs.push((entry.key.clone(), text));
            }
        }
        Some(pairs)
    }
}

impl<'n> Object<'n> {
    pub(super) fn new(entries: &'n [Entry], at: FieldPath, span: Option<Span>) -> Self {
        Self { entries, at, span }
    }

    /// The value under `key`; `null` counts as absent, as in proto3 JSON.
    pub fn field(&self, key: &str) -> Option<Field<'n>> {
        self.entries
            .iter()
            .find(|entry| entry.key == key && entry.value.value != Value::Null)
            .map(|entry| Field {
                node: &entry.value,
                at: self.at.key(key),
            })
    }

    /// All fields, `null` ones too.
    pub fn fields(&self) -> impl Iterator<Item = (&'n str, Field<'n>)> {
        self.entries.iter().map(|entry| {
            (
                entry.key.as_str(),
                Field {
                    node: &entry.value,
                    at: self.at.key(&entry.key),
                },
            )
        })
    }

    /// Whether the object names `key`, be it as `null`.
    pub fn names(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// The way to this object.
    pub fn at(&self) -> &FieldPath {
        &self.at
    }

    /// Whether the object has no field at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// The known name that a typing mistake most likely meant: the same letters in another case, or one edit away.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .copied()
        .find(|candidate| candidate.eq_ignore_ascii_case(name))
        .or_else(|| {
            known
                .iter()
                .copied()
                .find(|candidate| is_one_edit_away(name, candidate))
        })
}

fn is_one_edit_away(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let common = left.iter().zip(right).take_while(|(l, r)| l == r).count();
    let (left, right) = (
        left.get(common..).unwrap_or_default(),
        right.get(common..).unwrap_or_default(),
    );
    let without_first = |text: &'_ [u8]| text.get(1..).unwrap_or_default().to_vec();
    match (left, right) {
        ([a, b, left @ ..], [c, d, right @ ..]) if a == d && b == c && left == right => true,
        ([], [_]) | ([_], []) => true,
        _ => {
            without_first(left) == right
                || left == without_first(right)
                || without_first(left) == without_first(right)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_field_that_was_meant() {
        let known = &["requestPrincipals", "principals", "ipBlocks"];
        assert_eq!(
            nearest("requestprincipals", known),
            Some("requestPrincipals")
        );
        assert_eq!(nearest("principal", known), Some("principals"));
        assert_eq!(nearest("ipBlokcs", known), Some("ipBlocks"));
        assert_eq!(nearest("hosts", known), None);
    }
}
