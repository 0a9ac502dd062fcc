//! Keys whose private half everybody has: those of our examples, of Istio's, and of the specifications. People
//! apply an example as it is, and then everybody can sign tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::crypto::PublicKey;

/// A key that everybody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedKey {
    /// Where it is published.
    pub place: &'static str,
    /// What it is known by: SHA-256 in base64url (RFC 7638 section 3).
    pub thumbprint: &'static str,
}

const fn key(place: &'static str, thumbprint: &'static str) -> PublishedKey {
    PublishedKey { place, thumbprint }
}

const OURS: &str = "examples/keys of Portcullis";
const ISTIO: &str = "security/tools/jwt/samples of Istio";
const JWT_IO: &str = "the examples of jwt.io";

/// Every such key that is known here.
pub const PUBLISHED_KEYS: [PublishedKey; 26] = [
    key(OURS, "JgrycWEhKZePzM8mX97N-fXWWD3ktHShT0zqX6faOJU"), // rsa-1
    key(OURS, "EoZALdQbUoDa5S5DROLJfnz9zW937f_AM7xLHUqXlUY"), // rsa-2
    key(OURS, "TzSk-vWsHd1ZfFTGLgyyKeJcXoPO1tvKSxCM64XS0ds"), // ec-1
    key(OURS, "MJIEoP9AeWoA9_RKAmSSRm2zGi6I3NfizyjmxBuf92E"), // ed-1
    key(OURS, "2-evTZJilZjNQEDrm5n7T9rMCLXU7i-qvEjeMcIqJl8"), // hs-1
    key(ISTIO, "DHFbpoIUqrY8t2zpA2qXfCmr5VO5ZEr4RzHU_-envvQ"),
    key(
        "the example of RFC 7515, A.1",
        "y_x3gCJnL6oKGBBIXScabduwxTVy2Wd2bzRVEUbdUzc",
    ),
    key(
        "the example of RFC 7515, A.2",
        "IsUn6_e04MaShXFIISMp4kG62LWzMIPy_MvSA5pJgX8",
    ),
    key(
        "the example of RFC 7515, A.3",
        "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U",
    ),
    key(
        "the example of RFC 7515, A.4",
        "u5YUSjQ2-2chBi51NSk3t3g7IM4o2KYcnPqPtCNGd3U",
    ),
    key(
        "the example of RFC 7517, A.2",
        "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s",
    ),
    key(
        "the example of RFC 7517, A.2",
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
    ),
    key(
        "the example of RFC 7520, 3.2",
        "dHri3SADZkrush5HU_50AoRhcKFryN-PI6jPBtPL55M",
    ),
    key(
        "the example of RFC 7520, 3.4",
        "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI",
    ),
    key(
        "the example of RFC 7520, 3.5",
        "RtoRur_1Dir5M4wuOfqNkDYOf9O_4RJ-aHkTA75RLA8",
    ),
    key(
        "the example of RFC 8037, A.1",
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
    ),
    key(JWT_IO, "DWBh0SEIAPYh1x5uvot4z3AhaikHkxNJa3Ada2fT-Cg"), // secret
    key(JWT_IO, "i_utKExAKNc_-awqDRAUbahMgyDaKDG_M75KMBwlAvA"), // your-256-bit-secret
    key(JWT_IO, "A8etQ2W1pb95iQdryf3JZcoanBR1EywzSsRVzrX8soc"), // your-384-bit-secret
    key(JWT_IO, "JPgHNKVpXamS5yySHkpU5wDMnd5GJXLAnn7sAQM8j9o"), // your-512-bit-secret
    key(JWT_IO, "LXkAyqcFEoI5pkMzfWjsAWbChzHfxtqD4Te31pAwA1s"), // a-string-secret-at-least-256-bits-long
    key(JWT_IO, "pdmN_UI10XD6wy44jm-JkHmJOFxevse_2jio8cH1lRw"), // RS256, 1024 bits
    key(JWT_IO, "oGDmHqCJ7yzMkWEkrlZVHkvrHIyQwtlDmeq5ForUHeY"), // RS256
    key(JWT_IO, "19J8y7Zprt2-QKLjF2I5pVk0OELX6cY2AfaAv1LC_w8"), // ES256
    key(JWT_IO, "iTqXXI0zbAnJCKDaobfhkM1f-6rMSpTfyZMRp_2tKI8"), // ES384
    key(JWT_IO, "xZDfZpry4P9vZPZyG2fNBRj-7Lz5omVdm7tHoCgSNfY"), // ES512
];

/// Where the private half of a key is published, if it is known to be.
pub(super) fn place(key: &PublicKey) -> Option<&'static str> {
    let thumbprint = thumbprint(key);
    let known = PUBLISHED_KEYS
        .iter()
        .find(|one| one.thumbprint == thumbprint);
    known.map(|one| one.place)
}

/// RFC 7638 section 3: the members that make up the key, sorted by name, without white space.
fn thumbprint(key: &PublicKey) -> String {
    macro_rules! point {
        ($curve:ident, $key:expr, $name:literal) => {{
            use $curve::elliptic_curve::point::AffineCoordinates;
            let point = $key.as_affine();
            let (x, y) = (encode(&point.x()), encode(&point.y()));
            format!(r#"{{"crv":"{}","kty":"EC","x":"{x}","y":"{y}"}}"#, $name)
        }};
    }
    let members = match key {
        PublicKey::P256(key) => point!(p256, key, "P-256"),
        PublicKey::P384(key) => point!(p384, key, "P-384"),
        PublicKey::P521(key) => point!(p521, key, "P-521"),
        PublicKey::Rsa(key) => {
            let (n, e) = (encode(key.modulus()), encode(key.exponent()));
            format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#)
        }
        PublicKey::Ed25519(point) => {
            let x = encode(point);
            format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)
        }
        PublicKey::Hmac(secret) => {
            let k = encode(secret);
            format!(r#"{{"k":"{k}","kty":"oct"}}"#)
        }
    };
    encode(&Sha256::digest(members.as_bytes()))
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Curve;

    fn decode(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    #[test]
    fn keys_are_known_by_their_numbers() {
        let (x, y) = (
            decode("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"),
            decode("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"),
        );
        let known = PublicKey::ec(Curve::P256, &x, &y).unwrap();
        assert_eq!(place(&known), Some("the example of RFC 7515, A.3"));
        // Zeros before a number change nothing about it.
        let padded = PublicKey::ec(Curve::P256, &[vec![0; 3], x].concat(), &y).unwrap();
        assert_eq!(place(&padded), Some("the example of RFC 7515, A.3"));
        let known = PublicKey::Hmac((*b"your-256-bit-secret").into());
        assert_eq!(place(&known), Some(JWT_IO));
        let other = PublicKey::Hmac((*b"Your-256-bit-secret").into());
        assert_eq!(place(&other), None);
    }

    /// RFC 8037 appendix A.3 and RFC 7638 section 3.1 give these.
    #[test]
    fn thumbprints_are_those_of_the_specifications() {
        let point = decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        let key = PublicKey::Ed25519(point.try_into().unwrap());
        assert_eq!(
            thumbprint(&key),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
        let modulus = decode(
            "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        );
        let key = PublicKey::rsa(&[vec![0], modulus].concat(), &[1, 0, 1]).unwrap();
        assert_eq!(
            thumbprint(&key),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
    }

    #[test]
    fn no_key_is_listed_twice() {
        for (index, one) in PUBLISHED_KEYS.iter().enumerate() {
            let mut earlier = PUBLISHED_KEYS.iter().take(index);
            assert!(
                !earlier.any(|other| other.thumbprint == one.thumbprint),
                "{one:?}"
            );
            assert_eq!(decode(one.thumbprint).len(), 32, "{one:?}");
        }
    }
}
