//! A token in JWS compact form (RFC 7515 section 7.1), read as Envoy reads it and in its order.

use std::sync::Arc;

use super::base64url;
use super::failure::{TextClaim, TimeClaim, TokenFailure};
use super::json::{Json, member};
use super::mode::TokenMode;
use crate::crypto::Algorithm;

/// A token whose form and claim types are right. Nothing of it is trusted yet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Jws {
    pub(crate) algorithm: Algorithm,
    /// `kid`; empty if absent.
    pub(crate) key_id: String,
    /// `iss`; empty if absent.
    pub(crate) issuer: String,
    /// `aud` as a list.
    pub(crate) audiences: Vec<String>,
    /// `nbf` and `exp`; 0 if absent.
    pub(crate) not_before: u64,
    pub(crate) expiration: u64,
    /// All claims.
    pub(crate) payload: Arc<Vec<(String, Json)>>,
    /// The middle part as it was sent.
    pub(crate) payload_segment: Vec<u8>,
    /// `header.payload` as they were sent, rebuilt with one dot.
    pub(crate) signed: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

impl Jws {
    /// # Errors
    /// The first check that fails, in Envoy's order.
    pub(crate) fn parse(token: &[u8], mode: &TokenMode) -> Result<Self, TokenFailure> {
        let strict = mode.is_strict();
        let pieces = || token.split(|byte| *byte == b'.');
        if strict && pieces().count() != 3 {
            return Err(TokenFailure::Form);
        }
        let mut parts = pieces().filter(|part| !part.is_empty());
        let (Some(header), Some(payload_segment), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenFailure::Form);
        };
        let (algorithm, key_id) = parse_header(header, mode)?;
        let payload =
            base64url::decode(payload_segment, strict).ok_or(TokenFailure::PayloadBase64)?;
        let payload =
            Json::parse_object(&payload, strict).map_err(|_| TokenFailure::PayloadJson)?;
        let issuer = text(&payload, "iss", TextClaim::Issuer)?;
        text(&payload, "sub", TextClaim::Subject)?;
        time(&payload, "iat", TimeClaim::IssuedAt)?;
        let not_before = time(&payload, "nbf", TimeClaim::NotBefore)?;
        let expiration = time(&payload, "exp", TimeClaim::Expiration)?;
        text(&payload, "jti", TextClaim::TokenId)?;
        let audiences = audiences(&payload)?;
        let signature =
            base64url::decode(signature, strict).ok_or(TokenFailure::SignatureBase64)?;
        Ok(Self {
            algorithm,
            key_id,
            issuer,
            audiences,
            not_before,
            expiration,
            payload: Arc::new(payload),
            payload_segment: payload_segment.to_vec(),
            signed: [header, payload_segment].join(&b'.'),
            signature,
        })
    }
}

fn parse_header(segment: &[u8], mode: &TokenMode) -> Result<(Algorithm, String), TokenFailure> {
    let strict = mode.is_strict();
    let header = base64url::decode(segment, strict).ok_or(TokenFailure::HeaderBase64)?;
    let header = Json::parse_object(&header, strict).map_err(|_| TokenFailure::HeaderJson)?;
    let name = member(&header, "alg")
        .and_then(Json::as_str)
        .ok_or(TokenFailure::AlgorithmMissing)?;
    let algorithm = Algorithm::parse(name).ok_or(TokenFailure::AlgorithmUnsupported)?;
    let key_id = match member(&header, "kid") {
        None => String::new(),
        Some(Json::String(key_id)) => key_id.clone(),
        Some(_) => return Err(TokenFailure::KeyIdType),
    };
    if !mode.takes_header(&header) {
        return Err(TokenFailure::Verification);
    }
    Ok((algorithm, key_id))
}

fn text(payload: &[(String, Json)], name: &str, claim: TextClaim) -> Result<String, TokenFailure> {
    match member(payload, name) {
        None => Ok(String::new()),
        Some(Json::String(text)) => Ok(text.clone()),
        Some(_) => Err(TokenFailure::ClaimNotString(claim)),
    }
}

/// Seconds since the epoch, fractions cut off.
fn time(payload: &[(String, Json)], name: &str, claim: TimeClaim) -> Result<u64, TokenFailure> {
    const TWO_TO_THE_64: f64 = 18_446_744_073_709_551_616.0;
    match member(payload, name) {
        None => Ok(0),
        Some(Json::Number(seconds)) if (0.0..TWO_TO_THE_64).contains(seconds) =>
        {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the range is checked, and cutting the fraction off is the rule"
            )]
            Ok(*seconds as u64)
        }
        Some(Json::Number(_)) => Err(TokenFailure::ClaimNotPositive(claim)),
        Some(_) => Err(TokenFailure::ClaimNotInteger(claim)),
    }
}

fn audiences(payload: &[(String, Json)]) -> Result<Vec<String>, TokenFailure> {
    match member(payload, "aud") {
        None => Ok(Vec::new()),
        Some(Json::String(audience)) => Ok(vec![audience.clone()]),
        Some(Json::Array(items)) => items
            .iter()
            .map(|item| {
                item.as_str()
                    .map(str::to_owned)
                    .ok_or(TokenFailure::AudienceType)
            })
            .collect(),
        Some(_) => Err(TokenFailure::AudienceType),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn token(header: &str, payload: &str) -> String {
        format!(
            "{}.{}.c2ln",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(payload)
        )
    }

    #[track_caller]
    fn check(header: &str, payload: &str, expected: Result<(), TokenFailure>) {
        let result = Jws::parse(token(header, payload).as_bytes(), &TokenMode::Envoy).map(|_| ());
        assert_eq!(result, expected, "{header} {payload}");
    }

    const HEADER: &str = r#"{"alg":"RS256"}"#;

    #[test]
    fn three_parts_however_many_dots() {
        let token = token(HEADER, "{}");
        let parse =
            |text: String| Jws::parse(text.as_bytes(), &TokenMode::Envoy).map(|jws| jws.signed);
        let signed = parse(token.clone()).unwrap();
        assert_eq!(parse(format!(".{token}.")), Ok(signed.clone()));
        assert_eq!(
            parse(format!("...{}..", token.replace('.', "...."))),
            Ok(signed)
        );
        assert_eq!(parse(format!("{token}.x")), Err(TokenFailure::Form));
        assert_eq!(parse(String::from("a..b")), Err(TokenFailure::Form));
        assert_eq!(parse(String::new()), Err(TokenFailure::Form));
    }

    #[test]
    fn the_header_comes_first() {
        check("x", "x", Err(TokenFailure::HeaderJson));
        check("[]", "{}", Err(TokenFailure::HeaderJson));
        check("{}", "{}", Err(TokenFailure::AlgorithmMissing));
        check(r#"{"alg":5}"#, "{}", Err(TokenFailure::AlgorithmMissing));
        check(r#"{"al\u0067":"RS256"}"#, "{}", Ok(()));
        check(
            r#"{"alg":"rs256"}"#,
            "{}",
            Err(TokenFailure::AlgorithmUnsupported),
        );
        check(
            r#"{"alg":"RS256","kid":null}"#,
            "x",
            Err(TokenFailure::KeyIdType),
        );
    }

    #[test]
    fn claims_are_checked_for_their_types() {
        let text = TokenFailure::ClaimNotString;
        let integer = TokenFailure::ClaimNotInteger;
        let positive = TokenFailure::ClaimNotPositive;
        check(HEADER, "x", Err(TokenFailure::PayloadJson));
        check(HEADER, "null", Ok(()));
        check(HEADER, r#"{"iss":1,"sub":1}"#, Err(text(TextClaim::Issuer)));
        check(HEADER, r#"{"sub":null}"#, Err(text(TextClaim::Subject)));
        check(
            HEADER,
            r#"{"jti":1,"exp":"1"}"#,
            Err(integer(TimeClaim::Expiration)),
        );
        check(HEADER, r#"{"jti":1}"#, Err(text(TextClaim::TokenId)));
        check(
            HEADER,
            r#"{"exp":-0.5}"#,
            Err(positive(TimeClaim::Expiration)),
        );
        check(
            HEADER,
            r#"{"nbf":18446744073709551616}"#,
            Err(positive(TimeClaim::NotBefore)),
        );
        check(HEADER, r#"{"nbf":18446744073709549568}"#, Ok(()));
        check(HEADER, r#"{"iat":null}"#, Err(integer(TimeClaim::IssuedAt)));
        check(
            HEADER,
            r#"{"aud":["a",1]}"#,
            Err(TokenFailure::AudienceType),
        );
        check(HEADER, r#"{"aud":[]}"#, Ok(()));
    }

    #[test]
    fn a_fraction_is_cut_off() {
        let token = token(HEADER, r#"{"exp":0.9,"nbf":7.9}"#);
        let jws = Jws::parse(token.as_bytes(), &TokenMode::Envoy).unwrap();
        assert_eq!((jws.expiration, jws.not_before), (0, 7));
    }

    #[test]
    fn strict_mode_drops_no_part() {
        let strict = TokenMode::Strict { token_type: None };
        let token = token(HEADER, "{}");
        let (header, rest) = token.split_once('.').unwrap();
        assert!(Jws::parse(token.as_bytes(), &strict).is_ok());
        for text in [
            format!(".{token}"),
            format!("{token}."),
            format!("{header}..{rest}"),
            format!("{header}..c2ln"),
        ] {
            assert_eq!(
                Jws::parse(text.as_bytes(), &strict),
                Err(TokenFailure::Form)
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn strict_mode_takes_nothing_that_envoy_refuses(
            header in r#"\{"alg":"(RS256|none)"(,|,"(kid|crit|b64|typ)":("x"|'x'|\[\]))?\}"#,
            payload in r#"\{("(iss|exp|aud)":(1|"x"|\["x",?\]),?)?\}|null"#,
            signature in "[.AB_= ]{0,5}",
        ) {
            let token = token(&header, &payload).replace(".c2ln", &format!(".{signature}"));
            let strict = Jws::parse(token.as_bytes(), &TokenMode::Strict { token_type: None });
            let envoy = Jws::parse(token.as_bytes(), &TokenMode::Envoy);
            proptest::prop_assert!(strict.is_err() || strict == envoy, "{token}");
        }

        #[test]
        fn takes_any_bytes(bytes: Vec<u8>) {
            let _ = Jws::parse(&bytes, &TokenMode::Envoy);
        }
    }
}
