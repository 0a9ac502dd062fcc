use super::request::values;
use super::whole;
use crate::diagnostic::Code;
use crate::resource::{Decoder, Field, Object};
use crate::source::Value;

/// What is to come of a request. `None` and empty lists are not looked at.
#[derive(Debug, Clone, Default)]
pub struct Expectation {
    /// Whether the connection is closed without an answer; the rest is not looked at then.
    pub closed: bool,
    /// 200 when the request reaches the upstream.
    pub status: u16,
    /// `namespace/name` of the policy that decided.
    pub policy: Option<String>,
    /// The rule of that policy that decided.
    pub rule: Option<u32>,
    /// [`Reason::code`](crate::Reason::code)
    pub reason: Option<String>,
    /// The whole body of the reply.
    pub body: Option<String>,
    /// Headers of the reply; `None` is absent.
    pub headers: Vec<(String, Option<String>)>,
    /// What the upstream sees.
    pub upstream: Upstream,
}

/// What the upstream sees.
#[derive(Debug, Clone, Default)]
pub struct Upstream {
    /// The path with its query.
    pub path: Option<String>,
    /// The values of each header; none is absent.
    pub headers: Vec<(String, Vec<String>)>,
}

/// A diagnostic that the policies are to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedDiagnostic {
    /// [`Code::as_str`]
    pub code: String,
    /// `error`, `warning` or `info`; notes are looked at only in scenarios that name one.
    pub severity: String,
    /// The resource, as `Kind namespace/name`; empty is not looked at.
    pub resource: String,
    /// The field; empty is not looked at.
    pub path: String,
}

impl Expectation {
    pub(super) fn decode(decoder: &mut Decoder, field: &Field<'_>) -> Option<Self> {
        let object = decoder.object(field)?;
        decoder.known_fields(
            &object,
            &[
                "closed", "status", "policy", "rule", "reason", "body", "headers", "upstream",
            ],
        );
        if decoder.boolean(&object, "closed") == Some(true) {
            return Some(Self {
                closed: true,
                ..Self::default()
            });
        }
        if object.field("status").is_none() {
            decoder.missing(&object, "status");
        }
        let status = number(decoder, &object, "status")?;
        let text = |decoder: &mut Decoder, key: &str| decoder.plain_string(&object, key);
        let mut headers = Vec::new();
        if let Some(map) = decoder.inner(&object, "headers") {
            for (name, field) in map.fields() {
                let value = match field.node.value {
                    Value::Null => None,
                    _ => decoder.text(&field).map(|text| text.text),
                };
                headers.push((name.to_owned(), value));
            }
        }
        Some(Self {
            closed: false,
            status,
            policy: text(decoder, "policy"),
            rule: number(decoder, &object, "rule").map(u32::from),
            reason: text(decoder, "reason"),
            body: text(decoder, "body"),
            headers,
            upstream: object
                .field("upstream")
                .map(|field| Upstream::decode(decoder, &field))
                .unwrap_or_default(),
        })
    }
}

fn number(decoder: &mut Decoder, object: &Object<'_>, key: &str) -> Option<u16> {
    let number = decoder.number(object, key)?;
    let value = whole(number);
    if value.is_none() {
        decoder.refuse(
            Code::InvalidValue,
            &object.at().key(key),
            &number,
            "a whole number",
            "write a whole number",
        );
    }
    value
}

impl Upstream {
    fn decode(decoder: &mut Decoder, field: &Field<'_>) -> Self {
        let Some(object) = decoder.object(field) else {
            return Self::default();
        };
        decoder.known_fields(&object, &["path", "headers"]);
        let mut headers = Vec::new();
        if let Some(map) = decoder.inner(&object, "headers") {
            for (name, field) in map.fields() {
                let lines = match field.node.value {
                    Value::Null => Vec::new(),
                    _ => values(decoder, &field),
                };
                headers.push((name.to_owned(), lines));
            }
        }
        Self {
            path: decoder.plain_string(&object, "path"),
            headers,
        }
    }
}

impl ExpectedDiagnostic {
    pub(super) fn decode(decoder: &mut Decoder, field: &Field<'_>) -> Option<Self> {
        let object = decoder.object(field)?;
        decoder.known_fields(&object, &["code", "severity", "resource", "path"]);
        let code = decoder.required_string(&object, "code")?.text;
        let text = |decoder: &mut Decoder, key: &str| decoder.plain_string(&object, key);
        Some(Self {
            code,
            severity: text(decoder, "severity").unwrap_or_else(|| "error".into()),
            resource: text(decoder, "resource").unwrap_or_default(),
            path: text(decoder, "path").unwrap_or_default(),
        })
    }
}
