//! The demonstration keys. They are published, so nothing may ever trust them.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jwt_simple::algorithms::{
    ECDSAP256KeyPairLike, ES256KeyPair, Ed25519KeyPair, EdDSAKeyPairLike, HS256Key, MACLike,
    RS256KeyPair, RSAKeyPairLike,
};
use jwt_simple::claims::JWTClaims;
use serde_json::{Map, Value};

use crate::MintError;

/// A key by its name, with its text.
#[derive(Debug, Clone, Copy)]
enum Key {
    Rsa(&'static str),
    Ec(&'static str),
    Ed(&'static str),
    Hmac(&'static str),
}

const KEYS: [(&str, Key); 5] = [
    (
        "rsa-1",
        Key::Rsa(include_str!("../../../examples/keys/rsa-1.pem")),
    ),
    (
        "rsa-2",
        Key::Rsa(include_str!("../../../examples/keys/rsa-2.pem")),
    ),
    (
        "ec-1",
        Key::Ec(include_str!("../../../examples/keys/ec-1.pem")),
    ),
    (
        "ed-1",
        Key::Ed(include_str!("../../../examples/keys/ed-1.pem")),
    ),
    (
        "hs-1",
        Key::Hmac(include_str!("../../../examples/keys/hs-1.base64")),
    ),
];

/// The names of the keys.
pub fn key_names() -> Vec<&'static str> {
    KEYS.iter().map(|(name, _)| *name).collect()
}

fn find(name: &str) -> Result<Key, MintError> {
    let known = KEYS.iter().find(|(known, _)| *known == name);
    known
        .map(|(_, key)| *key)
        .ok_or_else(|| MintError::UnknownKey(name.to_owned()))
}

/// A JSON Web Key Set of the public halves of the named keys; an HMAC key has only the one.
///
/// # Errors
/// When a name is unknown.
pub fn public_jwks(names: &[&str]) -> Result<String, MintError> {
    let keys = names
        .iter()
        .map(|name| public_jwk(name))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(serde_json::json!({ "keys": keys }).to_string())
}

fn public_jwk(name: &str) -> Result<Value, MintError> {
    let text = match find(name)? {
        Key::Rsa(pem) => RS256KeyPair::from_pem(pem)
            .map_err(key_error)?
            .with_key_id(name)
            .public_key()
            .to_jwk(),
        Key::Ec(pem) => ES256KeyPair::from_pem(pem)
            .map_err(key_error)?
            .with_key_id(name)
            .public_key()
            .to_jwk(),
        Key::Ed(pem) => Ed25519KeyPair::from_pem(pem)
            .map_err(key_error)?
            .with_key_id(name)
            .public_key()
            .to_jwk(),
        Key::Hmac(text) => {
            let secret = URL_SAFE_NO_PAD.encode(secret(text)?);
            return Ok(
                serde_json::json!({ "kty": "oct", "alg": "HS256", "kid": name, "k": secret }),
            );
        }
    };
    let mut jwk: Value =
        serde_json::from_str(&text).map_err(|error| MintError::Key(error.to_string()))?;
    if let Some(members) = jwk.as_object_mut() {
        // `use` and `key_ops` say nothing that `alg` does not.
        members.retain(|member, _| !matches!(member.as_str(), "use" | "key_ops"));
        members.insert("kid".to_owned(), name.into());
    }
    Ok(jwk)
}

pub(crate) fn sign(
    name: &str,
    key_id: Option<&str>,
    claims: Map<String, Value>,
) -> Result<String, MintError> {
    let claims = JWTClaims {
        issued_at: None,
        expires_at: None,
        invalid_before: None,
        issuer: None,
        subject: None,
        audiences: None,
        jwt_id: None,
        nonce: None,
        custom: Value::Object(claims),
    };
    match find(name)? {
        Key::Rsa(pem) => {
            let key = RS256KeyPair::from_pem(pem).map_err(key_error)?;
            match key_id {
                Some(key_id) => key.with_key_id(key_id).sign(claims),
                None => key.sign(claims),
            }
        }
        Key::Ec(pem) => {
            let key = ES256KeyPair::from_pem(pem).map_err(key_error)?;
            match key_id {
                Some(key_id) => key.with_key_id(key_id).sign(claims),
                None => key.sign(claims),
            }
        }
        Key::Ed(pem) => {
            let key = Ed25519KeyPair::from_pem(pem).map_err(key_error)?;
            match key_id {
                Some(key_id) => key.with_key_id(key_id).sign(claims),
                None => key.sign(claims),
            }
        }
        Key::Hmac(text) => {
            let key = HS256Key::from_bytes(&secret(text)?);
            match key_id {
                Some(key_id) => key.with_key_id(key_id).authenticate(claims),
                None => key.authenticate(claims),
            }
        }
    }
    .map_err(key_error)
}

pub(crate) fn forge(name: &str, header: &[u8], payload: &[u8]) -> Result<String, MintError> {
    let Key::Hmac(text) = find(name)? else {
        return Err(MintError::Key(format!("`{name}` is not an HMAC key")));
    };
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let tag = HS256Key::from_bytes(&secret(text)?).authentication_tag(signed.as_bytes());
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag)))
}

fn secret(text: &str) -> Result<Vec<u8>, MintError> {
    STANDARD
        .decode(text.trim())
        .map_err(|error| MintError::Key(error.to_string()))
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn key_error(error: jwt_simple::Error) -> MintError {
    MintError::Key(error.to_string())
}

#[cfg(test)]
mod tests {
    use jwt_simple::algorithms::{ECDSAP256PublicKeyLike, EdDSAPublicKeyLike, RSAPublicKeyLike};
    use jwt_simple::prelude::{NoCustomClaims, VerificationOptions};

    use super::*;

    #[test]
    fn every_key_signs_what_jwt_simple_accepts() {
        let options = || VerificationOptions {
            artificial_time: Some(jwt_simple::prelude::UnixTimeStamp::from_secs(1000)),
            ..VerificationOptions::default()
        };
        let token = |key: &str| {
            let order = crate::Order {
                key,
                key_id: Some(key),
                claims: r#"{"sub":"alice","exp":"+1h"}"#,
                now: 1000,
            };
            crate::mint(&order).unwrap()
        };
        for name in key_names() {
            let token = token(name);
            let claims = match find(name).unwrap() {
                Key::Rsa(pem) => RS256KeyPair::from_pem(pem)
                    .unwrap()
                    .public_key()
                    .verify_token::<NoCustomClaims>(&token, Some(options())),
                Key::Ec(pem) => ES256KeyPair::from_pem(pem)
                    .unwrap()
                    .public_key()
                    .verify_token::<NoCustomClaims>(&token, Some(options())),
                Key::Ed(pem) => Ed25519KeyPair::from_pem(pem)
                    .unwrap()
                    .public_key()
                    .verify_token::<NoCustomClaims>(&token, Some(options())),
                Key::Hmac(text) => HS256Key::from_bytes(&secret(text).unwrap())
                    .verify_token::<NoCustomClaims>(&token, Some(options())),
            };
            assert_eq!(claims.unwrap().subject.as_deref(), Some("alice"), "{name}");
        }
    }

    #[test]
    fn no_private_member_leaves() {
        let jwks = public_jwks(&["rsa-1", "ec-1", "ed-1"]).unwrap();
        let jwks: Value = serde_json::from_str(&jwks).unwrap();
        for key in jwks["keys"].as_array().unwrap() {
            let members: Vec<&String> = key.as_object().unwrap().keys().collect();
            let allowed = ["alg", "crv", "e", "kid", "kty", "n", "x", "y"];
            assert!(
                members
                    .iter()
                    .all(|member| allowed.contains(&member.as_str())),
                "{members:?}"
            );
        }
        assert_eq!(
            public_jwks(&["rsa-9"]),
            Err(MintError::UnknownKey("rsa-9".into()))
        );
    }
}
