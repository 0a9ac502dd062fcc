//! `security.istio.io` `RequestAuthentication` (istio/api `security/v1/request_authentication.proto`).

use super::decode::{Decoder, Field, Object, Text};
use super::metadata::{Metadata, Scope, spec};
use super::reserved_header::reserved_header;
use crate::diagnostic::{Code, Severity};
use crate::source::FieldPath;

/// Which tokens a workload accepts, and where it looks for them.
#[derive(Debug, Clone)]
pub struct RequestAuthentication {
    /// Name and place.
    pub metadata: Metadata,
    /// The workloads it is for.
    pub scope: Scope,
    /// `jwtRules`
    pub jwt_rules: Vec<JwtRule>,
}

/// One issuer's tokens.
#[derive(Debug, Clone)]
pub struct JwtRule {
    /// The rule's place.
    pub at: FieldPath,
    /// `issuer`; empty accepts any.
    pub issuer: String,
    /// `audiences`; empty does not check.
    pub audiences: Vec<String>,
    /// `jwks` and `jwksUri`
    pub keys: KeySource,
    /// `fromHeaders`
    pub from_headers: Vec<JwtHeader>,
    /// `fromParams`
    pub from_params: Vec<String>,
    /// `fromCookies`
    pub from_cookies: Vec<String>,
    /// `outputPayloadToHeader`
    pub output_payload_to_header: Option<String>,
    /// `outputClaimToHeaders`
    pub output_claim_to_headers: Vec<ClaimToHeader>,
    /// `forwardOriginalToken`
    pub forward_original_token: bool,
    /// `spaceDelimitedClaims`, to which Istio adds `permission` and `scope`.
    pub space_delimited_claims: Vec<String>,
}

/// Where the keys of a rule come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// `jwks`: the key set as text.
    Inline(Text),
    /// `jwksUri`: where the key set is.
    Uri(Text),
    /// Neither: the issuer tells, by discovery (OIDC).
    Discovery,
    /// What is written was refused.
    Refused,
}

/// `fromHeaders` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtHeader {
    /// The header's name, as written.
    pub name: String,
    /// What comes before the token; empty means that the whole value is the token.
    pub prefix: String,
}

/// `outputClaimToHeaders` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimToHeader {
    /// The header's name, as written.
    pub header: String,
    /// The claim, nested ones by dots.
    pub claim: String,
}

const RULE_FIELDS: &[&str] = &[
    "issuer",
    "audiences",
    "jwks",
    "jwksUri",
    "jwks_uri",
    "fromHeaders",
    "fromParams",
    "fromCookies",
    "outputPayloadToHeader",
    "outputClaimToHeaders",
    "forwardOriginalToken",
    "timeout",
    "spaceDelimitedClaims",
    "presence",
];

impl RequestAuthentication {
    pub(super) fn decode(decoder: &mut Decoder, resource: &Object<'_>) -> Option<Self> {
        let metadata = Metadata::decode(decoder, resource)?;
        let spec = spec(decoder, resource)?;
        decoder.known_fields(&spec, &["selector", "targetRef", "targetRefs", "jwtRules"]);
        let scope = Scope::decode(decoder, &spec);
        if metadata
            .annotations
            .iter()
            .any(|(key, _)| key == super::authorization_policy::DRY_RUN)
        {
            decoder.error(
                Code::InvalidDryRun,
                &metadata
                    .at
                    .path
                    .key("metadata")
                    .key("annotations")
                    .key(super::authorization_policy::DRY_RUN),
                "a RequestAuthentication cannot be a dry run",
                "remove the annotation",
            );
        }
        let mut jwt_rules = Vec::new();
        for field in decoder.list(&spec, "jwtRules").unwrap_or_default() {
            jwt_rules.extend(JwtRule::decode(decoder, &field));
        }
        Some(Self {
            metadata,
            scope,
            jwt_rules,
        })
    }
}

impl JwtRule {
    fn decode(decoder: &mut Decoder, field: &Field<'_>) -> Option<Self> {
        let object = decoder.object(field)?;
        decoder.known_fields(&object, RULE_FIELDS);
        let issuer = decoder.string(&object, "issuer");
        let keys = key_source(decoder, &object, issuer.as_ref());
        check_timeout(decoder, &object);
        if let Some(presence) = decoder.string(&object, "presence")
            && !matches!(
                presence.text.as_str(),
                "OPTIONAL" | "REQUIRED" | "PRESENCE_UNSPECIFIED"
            )
        {
            decoder.refuse(
                Code::UnknownEnumValue,
                &presence.at,
                &presence.text,
                "a presence",
                "use OPTIONAL or REQUIRED",
            );
        } else if object.field("presence").is_some() {
            decoder.report(
                Code::NotEnforced,
                Severity::Warning,
                &object.at().key("presence"),
                "Istio accepts `presence` and does nothing with it, and so do we",
                Some("require a token with an AuthorizationPolicy on requestPrincipals"),
            );
        }
        let mut from_headers = Vec::new();
        for field in decoder.list(&object, "fromHeaders").unwrap_or_default() {
            from_headers.extend(jwt_header(decoder, &field));
        }
        let mut output_claim_to_headers = Vec::new();
        for field in decoder
            .list(&object, "outputClaimToHeaders")
            .unwrap_or_default()
        {
            output_claim_to_headers.extend(claim_to_header(decoder, &field));
        }
        Some(Self {
            at: field.at.clone(),
            issuer: issuer.map(|text| text.text).unwrap_or_default(),
            audiences: decoder.plain_strings(&object, "audiences"),
            keys,
            from_headers,
            from_params: decoder.plain_strings(&object, "fromParams"),
            from_cookies: decoder.plain_strings(&object, "fromCookies"),
            output_payload_to_header: decoder
                .string(&object, "outputPayloadToHeader")
                .and_then(|text| output_header(decoder, text)),
            output_claim_to_headers,
            forward_original_token: decoder
                .boolean(&object, "forwardOriginalToken")
                .unwrap_or(false),
            space_delimited_claims: decoder.plain_strings(&object, "spaceDelimitedClaims"),
        })
    }
}

fn key_source(decoder: &mut Decoder, object: &Object<'_>, issuer: Option<&Text>) -> KeySource {
    let filled = |text: &Text| !text.text.is_empty();
    let jwks = decoder.string(object, "jwks").filter(filled);
    let uri = decoder
        .string(object, "jwksUri")
        .or_else(|| decoder.string(object, "jwks_uri"))
        .filter(filled);
    if !issuer.is_some_and(filled) && uri.is_none() {
        decoder.error(
            Code::MissingField,
            &object.at().key("issuer"),
            "a rule needs an `issuer` or a `jwksUri`",
            "add the issuer of the tokens",
        );
        return KeySource::Refused;
    }
    match (jwks, uri) {
        (Some(jwks), None) => KeySource::Inline(jwks),
        (None, Some(uri)) if is_web_url(&uri.text) => KeySource::Uri(uri),
        (None, None) => KeySource::Discovery,
        (None, Some(uri)) => {
            decoder.refuse(
                Code::InvalidUrl,
                &uri.at,
                &uri.text,
                "an http or https URL of at most 2048 characters",
                "give the URL of the key set",
            );
            KeySource::Refused
        }
        (Some(jwks), Some(_)) => {
            decoder.error(
                Code::ConflictingFields,
                &jwks.at,
                "`jwks` and `jwksUri` exclude each other",
                "keep one of them",
            );
            KeySource::Refused
        }
    }
}

fn is_web_url(url: &str) -> bool {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let authority = rest
        .and_then(|rest| rest.split(['/', '?', '#']).next())
        .unwrap_or_default();
    let port_is_right = match authority.rsplit_once(':') {
        Some((_, port)) if !authority.ends_with(']') => {
            port.parse::<u16>().is_ok_and(|port| port > 0)
        }
        _ => true,
    };
    !authority.is_empty() && port_is_right && url.len() <= 2048
}

/// A protobuf duration in JSON: seconds with an `s`; Istio wants at least 1 ms in whole milliseconds.
fn check_timeout(decoder: &mut Decoder, object: &Object<'_>) {
    let Some(timeout) = decoder.string(object, "timeout") else {
        return;
    };
    let is_right = timeout.text.strip_suffix('s').is_some_and(|seconds| {
        let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        !whole.is_empty()
            && digits(whole)
            && digits(fraction)
            && fraction.trim_end_matches('0').len() <= 3
            && (whole.bytes().any(|byte| byte != b'0') || fraction.bytes().any(|byte| byte != b'0'))
    });
    if !is_right {
        decoder.refuse(
            Code::InvalidValue,
            &timeout.at,
            &timeout.text,
            "a duration of whole milliseconds, at least 1 ms",
            "write seconds, such as `5s` or `0.5s`",
        );
    }
}

fn jwt_header(decoder: &mut Decoder, field: &Field<'_>) -> Option<JwtHeader> {
    let object = decoder.object(field)?;
    decoder.known_fields(&object, &["name", "prefix"]);
    let name = decoder.required_string(&object, "name")?;
    let prefix = decoder.plain_string(&object, "prefix").unwrap_or_default();
    header_name(decoder, name).map(|name| JwtHeader { name, prefix })
}

fn claim_to_header(decoder: &mut Decoder, field: &Field<'_>) -> Option<ClaimToHeader> {
    let object = decoder.object(field)?;
    decoder.known_fields(&object, &["header", "claim"]);
    let header = decoder.required_string(&object, "header")?;
    let claim = decoder.required_string(&object, "claim")?;
    if claim.text.is_empty() {
        decoder.error(
            Code::EmptyValue,
            &claim.at,
            "`claim` is empty",
            "name the claim",
        );
        return None;
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !header.text.is_empty() && !header.text.bytes().all(is_plain) {
        decoder.refuse(
            Code::InvalidHeaderName,
            &header.at,
            &header.text,
            "a header name of letters, digits, `-` and `_`",
            "choose another name",
        );
        return None;
    }
    output_header(decoder, header).map(|header| ClaimToHeader {
        header,
        claim: claim.text,
    })
}

/// The name of a header that a token may write.
fn output_header(decoder: &mut Decoder, name: Text) -> Option<String> {
    let at = name.at.clone();
    let name = header_name(decoder, name)?;
    let Some(reserved) = reserved_header(&name) else {
        return Some(name);
    };
    decoder.report(
        Code::ReservedHeader,
        reserved.severity,
        &at,
        format!(
            "`{name}` is no header for a token to write: {}",
            reserved.reason
        ),
        Some("choose another name, such as one that begins with `x-jwt-`"),
    );
    (reserved.severity != Severity::Error).then_some(name)
}

/// RFC 9110 section 5.1: a field name is a token. Envoy refuses the whole configuration otherwise.
fn header_name(decoder: &mut Decoder, name: Text) -> Option<String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.text.is_empty() {
        decoder.error(
            Code::EmptyValue,
            &name.at,
            "the header has no name",
            "name the header",
        );
        None
    } else if name.text.bytes().all(is_token) {
        Some(name.text)
    } else {
        decoder.refuse(
            Code::InvalidHeaderName,
            &name.at,
            &name.text,
            "a header name",
            "use letters, digits and `-`",
        );
        None
    }
}
