//! What a verified token writes into the request: `outputPayloadToHeader` and `outputClaimToHeaders`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::json::{Json, member};
use super::jws::Jws;
use crate::policy_set::Provider;
use crate::request::HeaderEdits;

/// The headers that the rule writes.
pub(crate) fn headers(provider: &Provider) -> impl Iterator<Item = &[u8]> {
    let claims = provider
        .claim_headers
        .iter()
        .map(|(header, _)| header.as_ref());
    provider.payload_header.as_deref().into_iter().chain(claims)
}

/// Adds the headers for a verified token.
pub(super) fn add(provider: &Provider, jws: &Jws, edits: &mut HeaderEdits) {
    if let Some(header) = &provider.payload_header {
        edits.add(header, &jws.payload_segment);
    }
    for (header, claim) in &provider.claim_headers {
        if let Some(value) = nested(&jws.payload, claim).and_then(header_value) {
            edits.add(header, value.as_bytes());
        }
    }
}

/// A dot in the name goes one object deeper, so a claim whose own name has a dot is out of reach.
fn nested<'j>(payload: &'j [(String, Json)], claim: &str) -> Option<&'j Json> {
    let mut names = claim.split('.');
    let first = member(payload, names.next()?)?;
    names.try_fold(first, Json::get)
}

/// A claim as text; `None` when there is nothing to write. It may hold what no header can:
/// [`HeaderEdits::unwritable`].
fn header_value(claim: &Json) -> Option<String> {
    const TWO_TO_THE_64: f64 = 18_446_744_073_709_551_616.0;
    let value = match claim {
        Json::Null => return None,
        Json::Bool(value) => value.to_string(),
        Json::Number(value) if value.fract() == 0.0 && (0.0..TWO_TO_THE_64).contains(value) => {
            // Minus zero has no sign.
            format!("{:.0}", value.abs())
        }
        Json::Number(value) => format!("{value:.6}"),
        Json::String(text) => text.clone(),
        Json::Array(_) | Json::Object(_) => STANDARD.encode(claim.to_compact()),
    };
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: Option<&str>) {
        let payload = Json::parse_object(format!("{{\"c\":{json}}}").as_bytes(), false).unwrap();
        assert_eq!(
            nested(&payload, "c").and_then(header_value).as_deref(),
            expected,
            "{json}"
        );
    }

    #[test]
    fn claims_are_written_as_envoy_writes_them() {
        check("\"text\"", Some("text"));
        check("\"\"", None);
        check("null", None);
        check("true", Some("true"));
        check("7", Some("7"));
        check("-7", Some("-7.000000"));
        check("1.5", Some("1.500000"));
        check("12345678901234567890", Some("12345678901234567168"));
        check("[\"a\", 1]", Some("WyJhIiwxXQ=="));
        check("-0.0", Some("0"));
    }

    #[test]
    fn dots_go_deeper() {
        let payload = Json::parse_object(br#"{"a":{"b":"inner"},"a.b":"outer"}"#, false).unwrap();
        assert_eq!(
            nested(&payload, "a.b").and_then(Json::as_str),
            Some("inner")
        );
        assert_eq!(nested(&payload, "a.c"), None);
    }
}
