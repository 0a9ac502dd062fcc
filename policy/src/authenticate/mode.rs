//! How strictly tokens and keys are read: `tokens` of the configuration.
//!
//! Strict mode asks, on top of all that Envoy asks, for what the specifications do. Where each rule stands:
//!
//! - [`super::base64url`]: no padding, white space or unused bits (RFC 7515 section 2, RFC 4648 section 3.5)
//! - [`super::json`]: RFC 8259 only
//! - [`super::jws`]: two dots (RFC 7515 section 7.1); no `crit` (section 4.1.11), no `b64` (RFC 7797), `typ` if
//!   one is asked for (RFC 8725 section 3.11)
//! - [`super::jwks`]: no key whose `use` or `key_ops` is not for it (RFC 7517 sections 4.2 and 4.3), no weak key,
//!   none whose private half is published
//! - [`super::check`]: `exp` (RFC 7519 section 4.1.4 leaves it out at will, RFC 9068 section 2.2 does not); an
//!   algorithm that fits the key, and a signature of its length (RFC 7518 section 3)
//! - [`crate::request::Unwritable`]: no spaces around a claim that becomes a header (RFC 9110 section 5.5)

use super::json::{Json, member};
use super::jwks::KeyRules;

/// What `tokens` of the configuration says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenSettings {
    /// How strictly tokens and keys are read.
    pub mode: TokenMode,
    /// Whether a client's headers are removed that some servers take for those of a token. Strict mode removes
    /// them in any case.
    pub removes_twins: bool,
    /// Whether keys are taken whose private half is published: for tests and demonstrations.
    pub accepts_published_keys: bool,
}

impl TokenSettings {
    /// Whether tokens and keys are read strictly.
    pub fn is_strict(&self) -> bool {
        self.mode.is_strict()
    }

    /// Whether headers that some servers take for those of a token are removed.
    pub fn removes_twins(&self) -> bool {
        self.removes_twins || self.is_strict()
    }

    /// How key sets are read.
    pub fn key_rules(&self) -> KeyRules {
        KeyRules {
            strict: self.is_strict(),
            published: self.accepts_published_keys,
        }
    }
}

impl From<TokenMode> for TokenSettings {
    /// The mode, and nothing else set.
    fn from(mode: TokenMode) -> Self {
        Self {
            mode,
            ..Self::default()
        }
    }
}

/// How strictly tokens and keys are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TokenMode {
    /// As Envoy reads them.
    #[default]
    Envoy,
    /// As Envoy reads them, and as the specifications ask.
    Strict {
        /// What the header's `typ` must be: `at+jwt`, with or without `application/`, whatever its case. `None`
        /// does not look at it.
        token_type: Option<String>,
    },
}

impl TokenMode {
    /// Whether it is strict.
    pub fn is_strict(&self) -> bool {
        matches!(self, Self::Strict { .. })
    }

    /// Whether the members of a header that Envoy ignores are as they must be. No extension is understood, so
    /// each `crit` names one that is not.
    pub(super) fn takes_header(&self, header: &[(String, Json)]) -> bool {
        let Self::Strict { token_type } = self else {
            return true;
        };
        let is_wanted = |wanted: &String| {
            let found = member(header, "typ").and_then(Json::as_str);
            found.is_some_and(|found| bare_type(found).eq_ignore_ascii_case(bare_type(wanted)))
        };
        ["crit", "b64"]
            .iter()
            .all(|name| member(header, name).is_none())
            && token_type.as_ref().is_none_or(is_wanted)
    }
}

/// A media type without `application/`, which `typ` may leave out (RFC 7515 section 4.1.9).
fn bare_type(name: &str) -> &str {
    const PREFIX: &str = "application/";
    match name.split_at_checked(PREFIX.len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case(PREFIX) => rest,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wanted: Option<&str>, header: &str, expected: bool) {
        let mode = TokenMode::Strict {
            token_type: wanted.map(str::to_owned),
        };
        let members = Json::parse_object(header.as_bytes(), true).unwrap();
        assert_eq!(mode.takes_header(&members), expected, "{wanted:?} {header}");
        assert!(TokenMode::Envoy.takes_header(&members));
    }

    #[test]
    fn no_extension_is_understood() {
        check(None, r#"{"alg":"RS256","typ":5,"cty":"x"}"#, true);
        for member in ["crit", "b64"] {
            for value in ["[]", "[\"b64\"]", "[\"exp\"]", "null", "true", "\"x\""] {
                check(None, &format!("{{\"{member}\":{value}}}"), false);
            }
        }
        check(None, r#"{"Crit":["x"]}"#, true);
    }

    #[test]
    fn the_type_is_a_media_type() {
        for wanted in ["at+jwt", "application/at+jwt", "AT+JWT"] {
            for found in [
                "at+jwt",
                "aT+jwt",
                "application/at+jwt",
                "Application/AT+JWT",
            ] {
                check(Some(wanted), &format!("{{\"typ\":\"{found}\"}}"), true);
            }
            for found in [
                "jwt",
                "text/at+jwt",
                "at+jwt ",
                "/at+jwt",
                "application/application/at+jwt",
                "épplication/at+jwt",
            ] {
                check(Some(wanted), &format!("{{\"typ\":\"{found}\"}}"), false);
            }
            check(Some(wanted), "{}", false);
            check(Some(wanted), r#"{"typ":["at+jwt"]}"#, false);
        }
    }
}
