//! Keys and tokens that cost as much as real ones: nobody has their private halves, and a wrong signature takes as
//! long to refuse as a right one to take.

use anyhow::{Context, Result};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use serde_json::{Value, json};

use crate::fuzz::random::Random;

/// A key type with what its signatures look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A modulus of so many bits, the exponent 65537.
    Rsa(usize),
    P256,
    P384,
    Ed25519,
}

/// A key set of so many keys, with `alg` if there is one.
///
/// # Errors
/// No curve key can be made.
pub(super) fn key_set(
    kind: Kind,
    count: usize,
    algorithm: Option<&str>,
    random: &mut Random,
) -> Result<String> {
    let keys = (0..count).map(|number| {
        let mut key = key(kind, random)?;
        key["kid"] = json!(format!("k{number}"));
        if let Some(algorithm) = algorithm {
            key["alg"] = json!(algorithm);
        }
        Ok(key)
    });
    let keys = keys.collect::<Result<Vec<Value>>>()?;
    Ok(json!({ "keys": keys }).to_string())
}

fn key(kind: Kind, random: &mut Random) -> Result<Value> {
    let curve = |name: &str, algorithm| -> Result<Value> {
        let raw = KeyPair::generate_for(algorithm)?.public_key_raw().to_vec();
        let (x, y) = raw
            .get(1..)
            .map(|point| point.split_at(point.len() / 2))
            .context("an uncompressed point")?;
        Ok(json!({ "kty": "EC", "crv": name, "x": base64url(x), "y": base64url(y) }))
    };
    Ok(match kind {
        Kind::Rsa(bits) => {
            let mut modulus = bytes(bits / 8, random);
            modulus[0] |= 0x80;
            modulus[bits / 8 - 1] |= 1;
            json!({ "kty": "RSA", "n": base64url(&modulus), "e": "AQAB" })
        }
        Kind::P256 => curve("P-256", &PKCS_ECDSA_P256_SHA256)?,
        Kind::P384 => curve("P-384", &PKCS_ECDSA_P384_SHA384)?,
        Kind::Ed25519 => {
            let key = KeyPair::generate_for(&PKCS_ED25519)?;
            json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(key.public_key_raw()) })
        }
    })
}

/// A token with a signature that has the right form and is wrong.
pub(super) fn token(kind: Kind, header: &Value, claims: &Value, random: &mut Random) -> String {
    let length = match kind {
        Kind::Rsa(bits) => bits / 8,
        Kind::P256 | Kind::Ed25519 => 64,
        Kind::P384 => 96,
    };
    let mut signature = bytes(length, random);
    // Numbers below the modulus or the order.
    signature[0] &= 0x3f;
    signature[length / 2] &= 0x3f;
    signature[length - 1] &= 0x0f;
    let part = |value: &Value| base64url(value.to_string().as_bytes());
    format!(
        "{}.{}.{}",
        part(header),
        part(claims),
        base64url(&signature)
    )
}

fn bytes(count: usize, random: &mut Random) -> Vec<u8> {
    let byte = |_| u8::try_from(random.below(256)).unwrap_or_default();
    (0..count).map(byte).collect()
}

/// RFC 4648 section 5, without padding.
pub(super) fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let [a, b, c] = [0, 1, 2].map(|at| u32::from(chunk.get(at).copied().unwrap_or_default()));
        let bits = a << 16 | b << 8 | c;
        for place in 0..=chunk.len() {
            let index = bits >> (18 - 6 * place) & 63;
            text.push(char::from(ALPHABET[index as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64url;

    #[test]
    fn bytes_become_base64url() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg"),
            (b"fo", "Zm8"),
            (b"foo", "Zm9v"),
            (b"\xfb\xff", "-_8"),
        ] {
            assert_eq!(base64url(bytes), text);
        }
    }
}
