//! Keys and signatures in the forms that OpenSSL-like libraries take, for hosts that verify with their own
//! code: `SubjectPublicKeyInfo` (RFC 5280 section 4.1.2.7) and, for ECDSA, `Ecdsa-Sig-Value` (RFC 3279 section
//! 2.2.3).

use super::{Algorithm, Hash, PublicKey, halves};

/// One signature check for such a library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NativeCheck {
    /// The hash of the message: `sha256`, `sha384` or `sha512`.
    pub hash: &'static str,
    /// DER of a `SubjectPublicKeyInfo`.
    pub key: Vec<u8>,
    /// PKCS #1 v1.5 as it is, ECDSA as DER.
    pub signature: Vec<u8>,
}

/// The check in native form; `None` for what Envoy's `verify_signature` does not do: PSS, Ed25519, HMAC, and
/// pairs of key and algorithm that never verify.
pub fn native_check(
    key: &PublicKey,
    algorithm: Algorithm,
    signature: &[u8],
) -> Option<NativeCheck> {
    let ecdsa = |header: &[u8], x: &[u8], y: &[u8]| {
        let (r, s) = halves_of(signature, x.len())?;
        Some(NativeCheck {
            hash: name(algorithm.hash_within(Algorithm::Es)),
            key: [header, &[4], x, y].concat(),
            signature: tagged(SEQUENCE, &[integer(&r), integer(&s)].concat()),
        })
    };
    macro_rules! coordinates {
        ($curve:ident, $key:expr, $header:expr) => {{
            use $curve::elliptic_curve::point::AffineCoordinates;
            let point = $key.as_affine();
            ecdsa($header, &point.x(), &point.y())
        }};
    }
    match (key, algorithm) {
        (PublicKey::Rsa(key), Algorithm::Rs(hash)) => Some(NativeCheck {
            hash: name(hash),
            key: rsa_key(key.modulus(), key.exponent()),
            signature: signature.to_vec(),
        }),
        (PublicKey::P256(key), _) => coordinates!(p256, key, P256_HEADER),
        (PublicKey::P384(key), _) => coordinates!(p384, key, P384_HEADER),
        (PublicKey::P521(key), _) => coordinates!(p521, key, P521_HEADER),
        _ => None,
    }
}

fn name(hash: Hash) -> &'static str {
    match hash {
        Hash::Sha256 => "sha256",
        Hash::Sha384 => "sha384",
        Hash::Sha512 => "sha512",
    }
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// Everything before the point of a key on P-256: id-ecPublicKey, prime256v1, and a BIT STRING's beginning.
const P256_HEADER: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// The same with secp384r1.
const P384_HEADER: &[u8] = &[
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
    0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
];
/// The same with secp521r1.
const P521_HEADER: &[u8] = &[
    0x30, 0x81, 0x9b, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05,
    0x2b, 0x81, 0x04, 0x00, 0x23, 0x03, 0x81, 0x86, 0x00,
];
/// rsaEncryption with its NULL.
const RSA_ALGORITHM: &[u8] = &[
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

fn rsa_key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let key = tagged(SEQUENCE, &[integer(modulus), integer(exponent)].concat());
    let bits = tagged(BIT_STRING, &[[0].as_slice(), &key].concat());
    tagged(SEQUENCE, &[RSA_ALGORITHM, &bits].concat())
}

fn halves_of(signature: &[u8], width: usize) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut pair = halves(signature, width)?;
    let second = pair.split_off(width);
    Some((pair, second))
}

/// A positive INTEGER in its shortest form (X.690 section 8.3).
fn integer(number: &[u8]) -> Vec<u8> {
    let start = number.iter().position(|byte| *byte != 0);
    let digits = start.and_then(|start| number.get(start..)).unwrap_or(&[0]);
    let sign: &[u8] = if digits.first().is_some_and(|byte| *byte > 0x7f) {
        &[0]
    } else {
        &[]
    };
    tagged(INTEGER, &[sign, digits].concat())
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let digits: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut der = vec![tag];
    match digits.as_slice() {
        [] => der.push(0),
        [short] if *short < 0x80 => der.push(*short),
        long => {
            // A length has eight bytes at most.
            der.push(0x80 | u8::try_from(long.len()).unwrap_or_default());
            der.extend_from_slice(long);
        }
    }
    der.extend_from_slice(content);
    der
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_positive_and_short() {
        assert_eq!(integer(&[0, 0, 1]), [2, 1, 1]);
        assert_eq!(integer(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(integer(&[0, 0]), [2, 1, 0]);
        assert_eq!(integer(&[]), [2, 1, 0]);
    }

    #[test]
    fn lengths_take_as_many_bytes_as_they_need() {
        assert_eq!(tagged(4, &[]), [4, 0]);
        assert_eq!(tagged(4, &[7; 0x7f]).get(..2), Some([4, 0x7f].as_slice()));
        assert_eq!(
            tagged(4, &[7; 0x80]).get(..3),
            Some([4, 0x81, 0x80].as_slice())
        );
        assert_eq!(
            tagged(4, &[7; 0x100]).get(..4),
            Some([4, 0x82, 1, 0].as_slice())
        );
    }
}
