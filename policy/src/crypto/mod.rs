//! Signatures over raw bytes. What a key may verify is decided in [`crate::authenticate`]; here the key's
//! type alone chooses the primitive and the token's algorithm the hash, which is Envoy's rule.

mod cache;
mod cost;
mod montgomery;
mod native;
mod rsa;

pub use cache::{CacheCounts, CacheLimits, CachedVerifier};
pub(crate) use cost::Work;
pub use native::{NativeCheck, native_check};
pub use rsa::RsaPublicKey;

use ed25519_dalek::Verifier as _;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha384, Sha512};

/// The thirteen algorithms that Envoy knows (RFC 7518 section 3.1, RFC 8037 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// ECDSA
    Es(Hash),
    /// HMAC
    Hs(Hash),
    /// RSASSA-PKCS1-v1_5
    Rs(Hash),
    /// RSASSA-PSS with a salt as long as the hash
    Ps(Hash),
    /// Ed25519
    EdDsa,
}

/// SHA-2 by its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hash {
    /// SHA-256
    Sha256,
    /// SHA-384
    Sha384,
    /// SHA-512
    Sha512,
}

impl Algorithm {
    /// All of them.
    pub(crate) const ALL: [Self; 13] = [
        Self::Rs(Hash::Sha256),
        Self::Rs(Hash::Sha384),
        Self::Rs(Hash::Sha512),
        Self::Ps(Hash::Sha256),
        Self::Ps(Hash::Sha384),
        Self::Ps(Hash::Sha512),
        Self::Es(Hash::Sha256),
        Self::Es(Hash::Sha384),
        Self::Es(Hash::Sha512),
        Self::EdDsa,
        Self::Hs(Hash::Sha256),
        Self::Hs(Hash::Sha384),
        Self::Hs(Hash::Sha512),
    ];

    /// Reads a header's `alg`; case counts.
    pub fn parse(name: &str) -> Option<Self> {
        let family: fn(Hash) -> Self = match name.get(..2)? {
            "ES" => Self::Es,
            "HS" => Self::Hs,
            "RS" => Self::Rs,
            "PS" => Self::Ps,
            "Ed" if name == "EdDSA" => return Some(Self::EdDsa),
            _ => return None,
        };
        Some(family(match name.get(2..)? {
            "256" => Hash::Sha256,
            "384" => Hash::Sha384,
            "512" => Hash::Sha512,
            _ => return None,
        }))
    }

    /// The name that headers and key sets use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Es(Hash::Sha256) => "ES256",
            Self::Es(Hash::Sha384) => "ES384",
            Self::Es(Hash::Sha512) => "ES512",
            Self::Hs(Hash::Sha256) => "HS256",
            Self::Hs(Hash::Sha384) => "HS384",
            Self::Hs(Hash::Sha512) => "HS512",
            Self::Rs(Hash::Sha256) => "RS256",
            Self::Rs(Hash::Sha384) => "RS384",
            Self::Rs(Hash::Sha512) => "RS512",
            Self::Ps(Hash::Sha256) => "PS256",
            Self::Ps(Hash::Sha384) => "PS384",
            Self::Ps(Hash::Sha512) => "PS512",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The hash for ECDSA and HMAC: SHA-256 unless the algorithm's own family says otherwise.
    fn hash_within(self, family: fn(Hash) -> Self) -> Hash {
        [Hash::Sha384, Hash::Sha512]
            .into_iter()
            .find(|hash| family(*hash) == self)
            .unwrap_or(Hash::Sha256)
    }
}

impl Hash {
    /// In bytes.
    fn len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The digest of what the parts are together.
    fn digest(self, parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Sha256 => digest::<Sha256>(parts),
            Self::Sha384 => digest::<Sha384>(parts),
            Self::Sha512 => digest::<Sha512>(parts),
        }
    }
}

fn digest<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
    let digest = parts.iter().fold(D::new(), D::chain_update);
    digest.finalize().to_vec()
}

/// A key that verifies, checked when it was made.
#[derive(Debug, Clone)]
pub enum PublicKey {
    /// P-256
    P256(Box<p256::ecdsa::VerifyingKey>),
    /// P-384
    P384(Box<p384::ecdsa::VerifyingKey>),
    /// P-521
    P521(Box<p521::ecdsa::VerifyingKey>),
    /// RSA
    Rsa(RsaPublicKey),
    /// Ed25519, as sent: a point that is no point fails each signature, not the key set.
    Ed25519([u8; 32]),
    /// A secret for HMAC, never empty.
    Hmac(Box<[u8]>),
}

/// A curve of JSON Web Keys (RFC 7518 section 6.2.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

/// The three curves have types of their own with the same methods. Coordinates, unlike the encodings of
/// SEC 1, bring no code for compressed points.
macro_rules! ecdsa_key {
    ($curve:ident, $x:expr, $y:expr, $width:literal) => {{
        use $curve::elliptic_curve::point::AffineCoordinates;
        let coordinate = |number| {
            pad_to(number, $width)
                .and_then(|bytes| $curve::FieldBytes::try_from(bytes.as_slice()).ok())
        };
        coordinate($x)
            .zip(coordinate($y))
            .and_then(|(x, y)| Option::from($curve::AffinePoint::from_coordinates(&x, &y)))
            .and_then(|point| $curve::ecdsa::VerifyingKey::from_affine(point).ok())
    }};
}

impl PublicKey {
    /// An RSA key from big-endian numbers; the exponent must be 3 or 65537, the modulus odd.
    pub(crate) fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        RsaPublicKey::new(modulus, exponent).map(Self::Rsa)
    }

    /// An ECDSA key from big-endian coordinates of any length; the point must be on the curve.
    pub(crate) fn ec(curve: Curve, x: &[u8], y: &[u8]) -> Option<Self> {
        match curve {
            Curve::P256 => ecdsa_key!(p256, x, y, 32).map(|key| Self::P256(Box::new(key))),
            Curve::P384 => ecdsa_key!(p384, x, y, 48).map(|key| Self::P384(Box::new(key))),
            Curve::P521 => ecdsa_key!(p521, x, y, 66).map(|key| Self::P521(Box::new(key))),
        }
    }
}

/// What strict mode asks; Envoy does not.
impl PublicKey {
    /// How long a signature of this key is by `algorithm`; `None` if they do not go together (RFC 7518 section
    /// 3.1; 3.2 for the length of a secret).
    pub(crate) fn signature_len(&self, algorithm: Algorithm) -> Option<usize> {
        match (self, algorithm) {
            (Self::P256(_), Algorithm::Es(Hash::Sha256)) | (Self::Ed25519(_), Algorithm::EdDsa) => {
                Some(64)
            }
            (Self::P384(_), Algorithm::Es(Hash::Sha384)) => Some(96),
            (Self::P521(_), Algorithm::Es(Hash::Sha512)) => Some(132),
            (Self::Rsa(key), Algorithm::Rs(_) | Algorithm::Ps(_)) => Some(key.modulus().len()),
            (Self::Hmac(secret), Algorithm::Hs(hash)) => {
                Some(hash.len()).filter(|len| secret.len() >= *len)
            }
            _ => None,
        }
    }

    /// Whether it must not be relied on: an RSA key under 2048 bits (RFC 7518 section 3.3) or with an exponent
    /// other than 65537, a secret shorter than the hash of its own algorithm or SHA-256 (section 3.2), an
    /// Ed25519 point of small order, for which anyone can sign (RFC 8725 section 3.4).
    pub(crate) fn is_weak(&self, own: Option<Algorithm>) -> bool {
        match self {
            Self::Rsa(key) => key.bits() < 2048 || key.exponent() != [1, 0, 1],
            Self::Hmac(_) => self
                .signature_len(own.unwrap_or(Algorithm::Hs(Hash::Sha256)))
                .is_none(),
            Self::Ed25519(point) => {
                ed25519_dalek::VerifyingKey::from_bytes(point).is_ok_and(|key| key.is_weak())
            }
            Self::P256(_) | Self::P384(_) | Self::P521(_) => false,
        }
    }
}

/// A big-endian number at exactly `width` bytes; `None` if it is larger.
fn pad_to(number: &[u8], width: usize) -> Option<Vec<u8>> {
    let digits = without_leading_zeros(number);
    let mut padded = vec![0; width.checked_sub(digits.len())?];
    padded.extend_from_slice(digits);
    Some(padded)
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let start = number.iter().position(|byte| *byte != 0);
    start
        .and_then(|start| number.get(start..))
        .unwrap_or_default()
}

/// Verifies one signature with one key. Hosts with native code of their own put it in front of
/// [`RustVerifier`].
pub trait SignatureVerifier {
    /// Whether `signature` over `message` is the key's. `algorithm` is the token's.
    fn verify(
        &self,
        key: &PublicKey,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool;

    /// Whether [`Self::verify`] said yes to this before and remembers it. Costs little.
    fn remembers(
        &self,
        _key: &PublicKey,
        _algorithm: Algorithm,
        _message: &[u8],
        _signature: &[u8],
    ) -> bool {
        false
    }
}

/// RSA of our own, and the implementations of the `RustCrypto` crates.
#[derive(Debug, Clone, Copy, Default)]
pub struct RustVerifier;

macro_rules! verify_ecdsa {
    ($curve:ident, $key:expr, $digest:expr, $signature:expr, $width:literal) => {{
        use $curve::ecdsa::signature::hazmat::PrehashVerifier;
        // Short digests are numbers below the order; the curve's code wants them at full width.
        let digest = if $digest.len() < $width {
            pad_to($digest, $width)
        } else {
            Some($digest.to_vec())
        };
        halves($signature, $width)
            .zip(digest)
            .and_then(|(pair, digest)| {
                Some(($curve::ecdsa::Signature::from_slice(&pair).ok()?, digest))
            })
            .is_some_and(|(signature, digest)| $key.verify_prehash(&digest, &signature).is_ok())
    }};
}

impl SignatureVerifier for RustVerifier {
    fn verify(
        &self,
        key: &PublicKey,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        let ecdsa_digest = || algorithm.hash_within(Algorithm::Es).digest(&[message]);
        match key {
            PublicKey::P256(key) => verify_ecdsa!(p256, key, &ecdsa_digest(), signature, 32),
            PublicKey::P384(key) => verify_ecdsa!(p384, key, &ecdsa_digest(), signature, 48),
            PublicKey::P521(key) => verify_ecdsa!(p521, key, &ecdsa_digest(), signature, 66),
            PublicKey::Rsa(key) => match algorithm {
                Algorithm::Rs(hash) => key.verify_pkcs1(hash, message, signature),
                Algorithm::Ps(hash) => key.verify_pss(hash, message, signature),
                Algorithm::Es(_) | Algorithm::Hs(_) | Algorithm::EdDsa => false,
            },
            PublicKey::Ed25519(point) => {
                let signature = ed25519_dalek::Signature::from_slice(signature);
                let key = ed25519_dalek::VerifyingKey::from_bytes(point);
                matches!((key, signature), (Ok(key), Ok(signature)) if key.verify(message, &signature).is_ok())
            }
            PublicKey::Hmac(secret) => match algorithm.hash_within(Algorithm::Hs) {
                Hash::Sha256 => verify_hmac::<Hmac<Sha256>>(secret, message, signature),
                Hash::Sha384 => verify_hmac::<Hmac<Sha384>>(secret, message, signature),
                Hash::Sha512 => verify_hmac::<Hmac<Sha512>>(secret, message, signature),
            },
        }
    }
}

/// `r` and `s` at the width of the curve's numbers: two halves of any length, an odd last byte left aside.
fn halves(signature: &[u8], width: usize) -> Option<Vec<u8>> {
    let half = signature.len() / 2;
    let mut pair = pad_to(signature.get(..half)?, width)?;
    pair.extend(pad_to(signature.get(half..half * 2)?, width)?);
    Some(pair)
}

fn verify_hmac<M: Mac + KeyInit>(secret: &[u8], message: &[u8], tag: &[u8]) -> bool {
    // `verify_slice` takes the whole tag only, and compares in constant time.
    <M as KeyInit>::new_from_slice(secret)
        .is_ok_and(|mac| mac.chain_update(message).verify_slice(tag).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirteen_names_and_no_other() {
        let names = [
            "ES256", "ES384", "ES512", "HS256", "HS384", "HS512", "RS256", "RS384", "RS512",
            "PS256", "PS384", "PS512", "EdDSA",
        ];
        for name in names {
            assert_eq!(Algorithm::parse(name).map(Algorithm::as_str), Some(name));
        }
        for name in [
            "", "none", "rs256", "RS256 ", "ES256K", "Ed25519", "EdDSA2", "RS", "R", "RSé",
        ] {
            assert_eq!(Algorithm::parse(name), None, "{name}");
        }
    }

    #[test]
    fn halves_may_be_padded() {
        assert_eq!(halves(&[1, 2], 2), Some(vec![0, 1, 0, 2]));
        assert_eq!(halves(&[0, 0, 1, 0, 0, 2, 9], 2), Some(vec![0, 1, 0, 2]));
        assert_eq!(halves(&[1, 0, 0, 2], 1), None);
        assert_eq!(halves(&[], 1), Some(vec![0, 0]));
    }
}
