//! A JSON Web Key Set (RFC 7517), read as Envoy reads it: bad keys are skipped, a set without a good one is
//! refused.

use std::fmt;

use super::base64url;
use super::certificate;
use super::json::{Json, member};
use super::published;
use crate::crypto::{Algorithm, Curve, PublicKey, Work};

/// The usable keys of a set, in its order. Never empty.
#[derive(Debug, Clone)]
pub struct KeySet {
    keys: Box<[Key]>,
    skipped: Box<[SkippedKey]>,
    doubts: Box<[(usize, KeyDoubt)]>,
    trial_limit: Option<TrialLimit>,
}

/// How far a set is tried for a token that names no key. One request may only cost so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrialLimit {
    /// The algorithm of the token.
    pub algorithm: Algorithm,
    /// The keys that fit it.
    pub fitting: usize,
    /// How many of them are tried at most, in their order.
    pub tried: usize,
}

/// A key that a token may be verified with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'k> {
    pub(crate) key: &'k PublicKey,
    /// Whether the token names it; one without `kid` fits without being named.
    pub(crate) is_named: bool,
}

/// Which keys of a set are left out, beyond those that Envoy leaves out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyRules {
    /// Whether keys are left out that the specifications forbid, and weak ones.
    pub strict: bool,
    /// Whether keys are taken, and not doubted, whose private half is published. Without it, they are doubted,
    /// and left out in strict mode.
    pub published: bool,
}

impl From<bool> for KeyRules {
    /// Strictness alone.
    fn from(strict: bool) -> Self {
        Self {
            strict,
            published: false,
        }
    }
}

/// What speaks against a key that is used, as Envoy uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyDoubt {
    /// [`PublicKey::is_weak`]
    Weak,
    /// It has the members of a private key (RFC 7518 sections 6.2.2 and 6.3.2).
    Private,
    /// A key before it has the same `kid`.
    SameId,
    /// Its private half is published, here.
    Published(&'static str),
}

/// One key.
#[derive(Debug, Clone)]
struct Key {
    /// `kid`; empty if absent.
    id: String,
    /// `alg`; empty if absent.
    algorithm: String,
    public: PublicKey,
}

/// A key of the set that is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedKey {
    /// Its place in `keys`, from 0.
    pub index: usize,
    /// Its `kid`; empty if absent.
    pub id: String,
    /// Why it is not used.
    pub reason: KeyError,
}

/// What is wrong with one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// Not an object.
    NotAnObject,
    /// No `kty` string.
    TypeMissing,
    /// `kty` is not EC, RSA, oct or OKP.
    TypeUnknown,
    /// `alg` does not go with `kty` or `crv`.
    AlgorithmUnfit,
    /// `crv` is unknown or does not go with `alg`.
    CurveUnfit,
    /// A member that makes up the key is missing or not base64url.
    MemberInvalid,
    /// The numbers are no key: a point off the curve, an even modulus, an exponent other than 3 and 65537.
    NotAKey,
    /// `use` is not `sig`, or `key_ops` are without `verify`; in strict mode.
    NotForSignatures,
    /// [`PublicKey::is_weak`]; in strict mode.
    TooWeak,
    /// Its private half is published, here; in strict mode.
    Published(&'static str),
}

/// Why a text is no key set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySetError {
    /// Not JSON, in the sense of [`super::json`].
    NotJson,
    /// No `keys`.
    NoKeys,
    /// `keys` is not an array.
    KeysNotAnArray,
    /// No key can be used; the first one because of this.
    NoneUsable(Option<KeyError>),
    /// More keys than [`KeySet::MAX_KEYS`].
    TooManyKeys,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Published(place) => {
                return write!(
                    f,
                    "everybody has its private half, which is published in {place}"
                );
            }
            Self::NotAnObject => "it is not an object",
            Self::TypeMissing => "`kty` is missing",
            Self::TypeUnknown => "`kty` is not EC, RSA, oct or OKP",
            Self::AlgorithmUnfit => "`alg` does not go with `kty` and `crv`",
            Self::CurveUnfit => "`crv` is not a curve for this `kty` and `alg`",
            Self::MemberInvalid => "a member that makes up the key is missing or not base64url",
            Self::NotAKey => "its numbers do not make a key",
            Self::NotForSignatures => "`use` or `key_ops` says that it is not for verifying",
            Self::TooWeak => "it is too weak for strict mode",
        };
        f.write_str(text)
    }
}

impl fmt::Display for KeyDoubt {
    /// After the name of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weak => f.write_str("is weak, so others may be able to sign tokens"),
            Self::Private => f.write_str("is a private one, so whoever reads it can sign tokens"),
            Self::SameId => {
                f.write_str("has the `kid` of a key before it, so tokens are tried with both")
            }
            Self::Published(place) => write!(
                f,
                "is published with its private half in {place}, so everybody can sign tokens"
            ),
        }
    }
}

impl fmt::Display for TrialLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} keys of the set fit {}, and a token that names none is tried with the first {}",
            self.fitting,
            self.algorithm.as_str(),
            self.tried
        )
    }
}

impl fmt::Display for KeySetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson => f.write_str("the key set is not JSON"),
            Self::NoKeys => f.write_str("the key set has no `keys`"),
            Self::KeysNotAnArray => f.write_str("`keys` of the key set is not an array"),
            Self::NoneUsable(None) => f.write_str("the key set is empty"),
            Self::NoneUsable(Some(reason)) => {
                write!(f, "no key of the set can be used; the first: {reason}")
            }
            Self::TooManyKeys => write!(f, "the key set has more than {} keys", KeySet::MAX_KEYS),
        }
    }
}

impl KeySet {
    /// Bounds the memory that a set takes, and the keys that an explanation has to tell apart.
    pub const MAX_KEYS: usize = 256;

    /// Reads a key set; strict rules, or `true` for them, leave out more keys than Envoy does.
    ///
    /// # Errors
    /// When the text is not a key set with at least one usable key.
    pub fn parse(text: &[u8], rules: impl Into<KeyRules>) -> Result<Self, KeySetError> {
        let rules = rules.into();
        let strict = rules.strict;
        let document = Json::parse_object(text, strict).map_err(|_| KeySetError::NotJson)?;
        let entries = match member(&document, "keys") {
            None if document.len() > Self::MAX_KEYS => return Err(KeySetError::TooManyKeys),
            None => return Self::of_certificates(&document, rules),
            Some(Json::Array(entries)) => entries,
            Some(_) => return Err(KeySetError::KeysNotAnArray),
        };
        if entries.len() > Self::MAX_KEYS {
            return Err(KeySetError::TooManyKeys);
        }
        let mut keys = Vec::new();
        let mut skipped = Vec::new();
        let mut doubts = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            match Key::read(entry, rules) {
                Ok(key) => {
                    let found = key.doubts(entry, &keys, rules).into_iter().flatten();
                    doubts.extend(found.map(|doubt| (index, doubt)));
                    keys.push(key);
                }
                Err(reason) => skipped.push(SkippedKey {
                    index,
                    id: text_member(entry, "kid"),
                    reason,
                }),
            }
        }
        if keys.is_empty() {
            return Err(KeySetError::NoneUsable(
                skipped.first().map(|key| key.reason),
            ));
        }
        Ok(Self {
            trial_limit: trial_limit(&keys, strict),
            keys: keys.into(),
            skipped: skipped.into(),
            doubts: doubts.into(),
        })
    }

    /// A key set of the other form: certificates by `kid`. All of them must be RSA keys.
    fn of_certificates(document: &[(String, Json)], rules: KeyRules) -> Result<Self, KeySetError> {
        let mut keys = Vec::new();
        let mut doubts = Vec::new();
        for (index, (id, value)) in document.iter().enumerate() {
            let body = value.as_str().and_then(certificate::pem_body);
            let public = certificate::rsa_key(body.ok_or(KeySetError::NoKeys)?);
            let key = Key {
                id: id.clone(),
                algorithm: String::new(),
                public: public.ok_or(KeySetError::NoneUsable(Some(KeyError::NotAKey)))?,
            };
            if let Some(place) = key.published(rules) {
                if rules.strict {
                    return Err(KeySetError::NoneUsable(Some(KeyError::Published(place))));
                }
                doubts.push((index, KeyDoubt::Published(place)));
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(KeySetError::NoKeys);
        }
        Ok(Self {
            trial_limit: trial_limit(&keys, rules.strict),
            keys: keys.into(),
            skipped: Box::default(),
            doubts: doubts.into(),
        })
    }

    /// The keys that were left out.
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }

    /// What speaks against keys that are used, with their places in `keys`, from 0.
    pub fn doubts(&self) -> &[(usize, KeyDoubt)] {
        &self.doubts
    }

    /// Where a token without `kid` is not tried with all keys that fit it: the algorithm with the fewest trials.
    pub fn trial_limit(&self) -> Option<TrialLimit> {
        self.trial_limit
    }

    /// The first of each kind of [`Self::doubts`].
    pub fn examples_of_doubts(&self) -> impl Iterator<Item = (usize, KeyDoubt)> {
        let kind = |(_, doubt): &(usize, KeyDoubt)| std::mem::discriminant(doubt);
        let doubts = self.doubts.iter().enumerate();
        doubts.filter_map(move |(place, one)| {
            let mut earlier = self.doubts.iter().take(place);
            (!earlier.any(|other| kind(other) == kind(one))).then_some(*one)
        })
    }

    /// The keys that a token may be verified with: `kid` and `alg` agree where both sides name one.
    pub(crate) fn candidates<'k>(
        &'k self,
        key_id: &'k str,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = Candidate<'k>> {
        self.keys
            .iter()
            .filter(move |key| key_id.is_empty() || key.id.is_empty() || key.id == key_id)
            .filter(move |key| key.is_for(algorithm))
            .map(move |key| Candidate {
                key: &key.public,
                is_named: !key_id.is_empty() && !key.id.is_empty(),
            })
    }

    /// The `kid` of each key, for explanations.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }
}

fn trial_limit(keys: &[Key], strict: bool) -> Option<TrialLimit> {
    // Algorithms that no key of the set is made for are left aside.
    let is_meant = |algorithm: &Algorithm| {
        let mut own = keys.iter().filter(|key| key.is_for(*algorithm));
        own.any(|key| key.public.signature_len(*algorithm).is_some())
    };
    let algorithms = Algorithm::ALL.into_iter().filter(is_meant);
    let limits = algorithms.filter_map(|algorithm| {
        let is_usable = |key: &PublicKey| !strict || key.signature_len(algorithm).is_some();
        let costs = keys
            .iter()
            .filter(|key| key.is_for(algorithm) && is_usable(&key.public))
            .filter_map(|key| key.public.cost_of_key(algorithm));
        let mut work = Work::new();
        let tried = costs.clone().take_while(|cost| work.spend(*cost)).count();
        let fitting = costs.count();
        (tried < fitting).then_some(TrialLimit {
            algorithm,
            fitting,
            tried,
        })
    });
    limits.min_by_key(|limit| limit.tried)
}

impl Key {
    /// Whether a token by the algorithm may be the key's.
    fn is_for(&self, algorithm: Algorithm) -> bool {
        self.algorithm.is_empty() || self.algorithm == algorithm.as_str()
    }

    fn doubts(&self, entry: &Json, earlier: &[Self], rules: KeyRules) -> [Option<KeyDoubt>; 4] {
        let is_weak = self.public.is_weak(Algorithm::parse(&self.algorithm));
        let is_private = entry.get("d").is_some();
        let is_same = !self.id.is_empty() && earlier.iter().any(|key| key.id == self.id);
        [
            is_weak.then_some(KeyDoubt::Weak),
            is_private.then_some(KeyDoubt::Private),
            is_same.then_some(KeyDoubt::SameId),
            self.published(rules).map(KeyDoubt::Published),
        ]
    }

    /// Where its private half is published; `None` too where that does not matter.
    fn published(&self, rules: KeyRules) -> Option<&'static str> {
        if rules.published {
            None
        } else {
            published::place(&self.public)
        }
    }

    fn read(entry: &Json, rules: KeyRules) -> Result<Self, KeyError> {
        let strict = rules.strict;
        if !matches!(entry, Json::Object(_)) {
            return Err(KeyError::NotAnObject);
        }
        let algorithm = text_member(entry, "alg");
        let public = match entry
            .get("kty")
            .and_then(Json::as_str)
            .ok_or(KeyError::TypeMissing)?
        {
            "EC" => ec(entry, &algorithm, strict)?,
            "RSA" => rsa(entry, &algorithm, strict)?,
            "oct" => oct(entry, &algorithm, strict)?,
            "OKP" => okp(entry, &algorithm, strict)?,
            _ => return Err(KeyError::TypeUnknown),
        };
        if strict && !is_for_verifying(entry) {
            return Err(KeyError::NotForSignatures);
        }
        if strict && public.is_weak(Algorithm::parse(&algorithm)) {
            return Err(KeyError::TooWeak);
        }
        let key = Self {
            id: text_member(entry, "kid"),
            algorithm,
            public,
        };
        match key.published(rules) {
            Some(place) if strict => Err(KeyError::Published(place)),
            _ => Ok(key),
        }
    }
}

/// RFC 7517 sections 4.2 and 4.3: each of `use` and `key_ops` that is there.
fn is_for_verifying(entry: &Json) -> bool {
    let is = |value: &Json, word| value.as_str() == Some(word);
    let has_verify = |operations: &Json| match operations {
        Json::Array(items) => items.iter().any(|item| is(item, "verify")),
        _ => false,
    };
    entry.get("use").is_none_or(|value| is(value, "sig"))
        && entry.get("key_ops").is_none_or(has_verify)
}

/// A member that counts as absent when it is not a string.
fn text_member(entry: &Json, name: &str) -> String {
    entry
        .get(name)
        .and_then(Json::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn bytes_member(entry: &Json, name: &str, strict: bool) -> Result<Vec<u8>, KeyError> {
    let text = entry
        .get(name)
        .and_then(Json::as_str)
        .ok_or(KeyError::MemberInvalid)?;
    base64url::decode(text.as_bytes(), strict).ok_or(KeyError::MemberInvalid)
}

fn ec(entry: &Json, algorithm: &str, strict: bool) -> Result<PublicKey, KeyError> {
    let by_algorithm = match algorithm {
        "" => None,
        "ES256" => Some(Curve::P256),
        "ES384" => Some(Curve::P384),
        "ES512" => Some(Curve::P521),
        _ => return Err(KeyError::AlgorithmUnfit),
    };
    // Unlike `alg` and `kid`, a curve that is not a string is not absent.
    let by_name = match entry.get("crv").map(Json::as_str) {
        None | Some(Some("")) => None,
        Some(Some("P-256")) => Some(Curve::P256),
        Some(Some("P-384")) => Some(Curve::P384),
        Some(Some("P-521")) => Some(Curve::P521),
        Some(_) => return Err(KeyError::CurveUnfit),
    };
    if by_algorithm.is_some() && by_name.is_some() && by_algorithm != by_name {
        return Err(KeyError::CurveUnfit);
    }
    let curve = by_name.or(by_algorithm).unwrap_or(Curve::P256);
    let (x, y) = (
        bytes_member(entry, "x", strict)?,
        bytes_member(entry, "y", strict)?,
    );
    PublicKey::ec(curve, &x, &y).ok_or(KeyError::NotAKey)
}

fn rsa(entry: &Json, algorithm: &str, strict: bool) -> Result<PublicKey, KeyError> {
    if !algorithm.is_empty() && !algorithm.starts_with("RS") && !algorithm.starts_with("PS") {
        return Err(KeyError::AlgorithmUnfit);
    }
    let (modulus, exponent) = (
        bytes_member(entry, "n", strict)?,
        bytes_member(entry, "e", strict)?,
    );
    PublicKey::rsa(&modulus, &exponent).ok_or(KeyError::NotAKey)
}

fn oct(entry: &Json, algorithm: &str, strict: bool) -> Result<PublicKey, KeyError> {
    if !matches!(algorithm, "" | "HS256" | "HS384" | "HS512") {
        return Err(KeyError::AlgorithmUnfit);
    }
    let secret = bytes_member(entry, "k", strict)?;
    if secret.is_empty() {
        return Err(KeyError::MemberInvalid);
    }
    Ok(PublicKey::Hmac(secret.into()))
}

fn okp(entry: &Json, algorithm: &str, strict: bool) -> Result<PublicKey, KeyError> {
    if !matches!(algorithm, "" | "EdDSA") {
        return Err(KeyError::AlgorithmUnfit);
    }
    if text_member(entry, "crv") != "Ed25519" {
        return Err(KeyError::CurveUnfit);
    }
    let point = bytes_member(entry, "x", strict)?;
    point
        .try_into()
        .map(PublicKey::Ed25519)
        .map_err(|_| KeyError::NotAKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EC: &str = r#"{"kty":"EC","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","kid":"e"}"#;

    #[track_caller]
    fn refused(text: &str, error: KeySetError) {
        assert_eq!(
            KeySet::parse(text.as_bytes(), false).map(|_| ()),
            Err(error),
            "{text}"
        );
    }

    #[test]
    fn a_set_needs_a_usable_key() {
        refused("x", KeySetError::NotJson);
        refused("{}", KeySetError::NoKeys);
        refused(EC, KeySetError::NoKeys);
        refused(r#"{"keys":{}}"#, KeySetError::KeysNotAnArray);
        refused(r#"{"keys":[]}"#, KeySetError::NoneUsable(None));
        refused(
            r#"{"keys":[{"kty":"RSA"},5]}"#,
            KeySetError::NoneUsable(Some(KeyError::MemberInvalid)),
        );
        refused(
            r#"{"keys":[{"kty":"oct","k":""}]}"#,
            KeySetError::NoneUsable(Some(KeyError::MemberInvalid)),
        );
        refused(
            r#"{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"Ed25519","x":"AA"}]}"#,
            KeySetError::NoneUsable(Some(KeyError::AlgorithmUnfit)),
        );
        refused(
            &format!(r#"{{"keys":[{}]}}"#, EC.replace("x_FE", "x_FF")),
            KeySetError::NoneUsable(Some(KeyError::NotAKey)),
        );
    }

    #[test]
    fn junk_beside_a_good_key_is_skipped() {
        let set = KeySet::parse(
            format!(r#"{{"keys":[5,null,{{"kty":"x","kid":"k"}},{EC}]}}"#).as_bytes(),
            false,
        )
        .unwrap();
        let reasons: Vec<KeyError> = set.skipped().iter().map(|key| key.reason).collect();
        assert_eq!(
            reasons,
            [
                KeyError::NotAnObject,
                KeyError::NotAnObject,
                KeyError::TypeUnknown
            ]
        );
        assert_eq!(set.ids().collect::<Vec<_>>(), ["e"]);
    }

    #[test]
    fn curve_and_algorithm_must_agree() {
        let with = |member: &str| {
            KeySet::parse(
                format!(
                    r#"{{"keys":[{}]}}"#,
                    EC.replace("\"kid\"", &format!("{member},\"kid\""))
                )
                .as_bytes(),
                false,
            )
        };
        assert!(with(r#""alg":"ES256""#).is_ok());
        assert!(with(r#""alg":"ES256","crv":"P-256""#).is_ok());
        assert!(with(r#""alg":"ES384","crv":"P-256""#).is_err());
        assert!(with(r#""crv":"P-384""#).is_err());
        assert!(with(r#""alg":"RS256""#).is_err());
    }

    proptest::proptest! {
        #[test]
        fn takes_any_bytes(bytes: Vec<u8>) {
            let _ = KeySet::parse(&bytes, false);
            let _ = KeySet::parse(&bytes, true);
        }
    }
}
