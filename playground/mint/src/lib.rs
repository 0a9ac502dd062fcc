//! Mints tokens with the demonstration keys of `examples/keys`, for the page, the examples and the tests.
//!
//! This is where jwt-simple works: it makes tokens, it does not judge them. In the browser it is a module of
//! its own, which a page that never mints does not load.

mod claims;
mod keys;
#[cfg(target_arch = "wasm32")]
pub mod page;

use std::fmt;

pub use keys::{key_names, public_jwks};

/// A token to mint.
#[derive(Debug, Clone)]
pub struct Order<'o> {
    /// The name of a demonstration key.
    pub key: &'o str,
    /// `kid` of the header; `None` leaves it out.
    pub key_id: Option<&'o str>,
    /// A JSON object. `exp`, `nbf` and `iat` may be relative to `now`: `+1h`, `-30s`.
    pub claims: &'o str,
    /// Seconds since the epoch.
    pub now: u64,
}

/// Why a token cannot be minted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MintError {
    /// No demonstration key has this name.
    UnknownKey(String),
    /// The claims are not a JSON object.
    Claims(String),
    /// A time is neither a number nor relative.
    Time(String),
    /// The key does not sign.
    Key(String),
}

impl fmt::Display for MintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey(name) => write!(
                f,
                "`{name}` is not one of the keys {}",
                key_names().join(", ")
            ),
            Self::Claims(reason) => write!(f, "the claims are not a JSON object: {reason}"),
            Self::Time(text) => write!(
                f,
                "`{text}` is not a time: write seconds, or `+1h`, `-30s`, `+5m`, `+2d`"
            ),
            Self::Key(reason) => write!(f, "the key does not sign: {reason}"),
        }
    }
}

impl std::error::Error for MintError {}

/// Mints a token in JWS compact form. Claims are taken as they are; none is added.
///
/// # Errors
/// When the key is unknown or the claims are not usable.
pub fn mint(order: &Order<'_>) -> Result<String, MintError> {
    let claims = claims::resolve(order.claims, order.now)?;
    keys::sign(order.key, order.key_id, claims)
}

/// A token with the bytes of its header and payload as given, signed by HMAC-SHA256: for texts that no
/// library writes.
///
/// # Errors
/// When the key is not an HMAC key.
pub fn forge(key: &str, header: &[u8], payload: &[u8]) -> Result<String, MintError> {
    keys::forge(key, header, payload)
}
