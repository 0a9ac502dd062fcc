//! Values of a policy as Envoy's matchers, without the wildcards that are particular to identities.

use std::net::IpAddr;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::request_authentication::{METADATA_NAMESPACE, PAYLOAD_KEY};

/// How a value with at most one wildcard is compared (2.3).
pub(super) enum Pattern<'a> {
    /// A lone `*`.
    Any,
    Suffix(&'a str),
    Prefix(&'a str),
    Exact(&'a str),
}

impl<'a> Pattern<'a> {
    /// Only the first applicable star counts; any other is literal: `*a*` is the suffix `a*`.
    pub(super) fn of(value: &'a str) -> Self {
        if value == "*" {
            Self::Any
        } else if let Some(rest) = value.strip_prefix('*') {
            Self::Suffix(rest)
        } else if let Some(rest) = value.strip_suffix('*') {
            Self::Prefix(rest)
        } else {
            Self::Exact(value)
        }
    }

    /// A `StringMatcher`, in which `*` means one or more characters.
    pub(super) fn string(&self) -> Value {
        match self {
            Self::Any => regex(".+"),
            Self::Suffix(text) => json!({"suffix": text}),
            Self::Prefix(text) => json!({"prefix": text}),
            Self::Exact(text) => json!({"exact": text}),
        }
    }
}

/// A `StringMatcher` that must match the whole input.
pub(super) fn regex(pattern: &str) -> Value {
    json!({"safe_regex": {"regex": pattern}})
}

/// `text` as a regular expression of RE2 that matches only itself.
pub(super) fn quoted(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

/// A permission or principal about a header, in which `*` means that the header is present.
pub(super) fn header(name: &str, value: &str, ignore_case: bool) -> Value {
    let mut matcher = match Pattern::of(value) {
        Pattern::Any => return json!({"header": {"name": name, "present_match": true}}),
        pattern => pattern.string(),
    };
    if ignore_case {
        matcher["ignore_case"] = json!(true);
    }
    json!({"header": {"name": name, "string_match": matcher}})
}

/// A permission about the path without its query.
///
/// # Errors
///
/// `value` is a template that Istio's validation refuses, or admits although Envoy aborts on it
/// (2.4).
pub(super) fn path(value: &str) -> Result<Value> {
    if !value.contains("{*}") && !value.contains("{**}") {
        return Ok(json!({"url_path": {"path": Pattern::of(value).string()}}));
    }
    let pieces: Vec<&str> = value.split('/').collect();
    // The text before the leading slash is empty, and so may be the text after a trailing one.
    let inner = match pieces.as_slice() {
        ["", inner @ .., ""] | ["", inner @ ..] => inner,
        _ => &[],
    };
    let literal = |piece: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()+,;=:@".contains(&byte);
        !piece.is_empty() && piece.bytes().all(plain)
    };
    let well_formed = inner
        .iter()
        .all(|piece| matches!(*piece, "{*}" | "{**}") || literal(piece));
    let after_many = inner.iter().skip_while(|piece| **piece != "{**}").skip(1);
    if inner.is_empty()
        || !well_formed
        || after_many
            .copied()
            .any(|piece| matches!(piece, "{*}" | "{**}"))
    {
        bail!("`{value}` is not a path template");
    }
    Ok(json!({"uri_template": {
        "name": "uri-template",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig",
            "path_template": value.replace("{*}", "*").replace("{**}", "**"),
        },
    }}))
}

/// A `CidrRange`, or `None` if istiod refuses `value`. A bare address is a range of one; host bits
/// are kept (2.6).
///
/// # Errors
///
/// `value` is an address with a zone, which istiod passes on and Envoy refuses.
pub(super) fn range(value: &str) -> Result<Option<Value>> {
    // Go's netip and Rust agree on addresses, except that Go takes a zone after a bare IPv6
    // address.
    if let Some((address, zone)) = value.split_once('%')
        && address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_ipv6())
        && !zone.is_empty()
        && !zone.contains('/')
    {
        bail!("an address with a zone is not translated: `{value}`");
    }
    let (address, length) = value
        .rsplit_once('/')
        .map_or((value, None), |(address, length)| (address, Some(length)));
    let Ok(address) = address.parse::<IpAddr>() else {
        return Ok(None);
    };
    let longest: u8 = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => Some(longest),
        Some(digits) => decimal(digits).filter(|_| digits == "0" || !digits.starts_with('0')),
    };
    let range = length.filter(|length| *length <= longest);
    Ok(range.map(|length| json!({"address_prefix": address.to_string(), "prefix_len": length})))
}

/// Digits only: no sign, as in Go's `strconv.ParseUint`.
pub(super) fn decimal<T: std::str::FromStr>(digits: &str) -> Option<T> {
    digits
        .parse()
        .ok()
        .filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A principal about the claim at `path`: a string that `value` matches, or a list with such an
/// element (3.4).
pub(super) fn claim(path: &[&str], value: &str) -> Value {
    let string = json!({"string_match": Pattern::of(value).string()});
    let list = json!({"list_match": {"one_of": string}});
    payload(
        path,
        &json!({"or_match": {"value_matchers": [list, string]}}),
    )
}

/// A principal about the value at `path` of the payload.
pub(super) fn payload(path: &[&str], value: &Value) -> Value {
    let keys: Vec<Value> = std::iter::once(&PAYLOAD_KEY)
        .chain(path)
        .map(|key| json!({"key": key}))
        .collect();
    json!({"metadata": {"filter": METADATA_NAMESPACE, "path": keys, "value": value}})
}

/// A permission about dynamic metadata of any filter; a value `[v]` asks for a list with the
/// element `v`.
pub(super) fn metadata(filter: &str, key: &str, value: &str) -> Value {
    let inner = value.trim_matches(['[', ']']);
    let value = if value.starts_with('[') && value.ends_with(']') {
        json!({"list_match": {"one_of": {"string_match": Pattern::of(inner).string()}}})
    } else {
        json!({"string_match": Pattern::of(value).string()})
    };
    json!({"metadata": {"filter": filter, "path": [{"key": key}], "value": value}})
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Envoy is more lenient with addresses than istiod, so what istiod refuses must not reach it.
    #[test]
    fn ranges_follow_the_rules_of_go() {
        let length = |value: &str| {
            range(value)
                .unwrap()
                .map(|range| range["prefix_len"].as_u64().unwrap())
        };
        for value in [
            "1.2.3",
            "01.2.3.4",
            "1.2.3.4/33",
            "1.2.3.4/+8",
            "1.2.3.4/08",
            "1.2.3.4/",
            "::1/129",
            "a",
            "",
            "/8",
            "::1%e/64",
        ] {
            assert_eq!(length(value), None, "{value}");
        }
        assert_eq!(length("1.2.3.4"), Some(32));
        assert_eq!(length("1.2.3.4/0"), Some(0));
        assert_eq!(length("::ffff:1.2.3.4"), Some(128));
        assert_eq!(
            range("::ffff:1.2.3.4").unwrap().unwrap()["address_prefix"],
            "::ffff:1.2.3.4"
        );
        assert!(range("fe80::1%eth0").is_err());
    }

    #[test]
    fn templates_that_istio_or_envoy_refuses_are_errors() {
        for value in [
            "foo/{*}",
            "//{*}",
            "/a//{*}",
            "/{*}b",
            "/a*/{*}",
            "/{**}/{*}",
            "/{**}/{**}",
            "{*}",
            "/{a}/{*}",
            "/{*}//",
            "/a b/{*}",
            "/é/{*}",
            "/[/{*}",
        ] {
            assert!(path(value).is_err(), "{value}");
        }
        for value in ["/{*}", "/{**}", "/a/{*}/b/{**}/c", "/a/{**}/"] {
            assert!(path(value).is_ok(), "{value}");
        }
    }
}
