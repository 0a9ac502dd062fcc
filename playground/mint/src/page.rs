//! What the page calls.

use serde::{Deserialize, Serialize};
use tsify::{Ts, Tsify};
use wasm_bindgen::prelude::{JsError, wasm_bindgen};

use crate::{Order, mint};

/// A token to mint.
#[derive(Debug, Clone, Deserialize, Tsify)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MintSpec {
    /// The name of a demonstration key.
    pub key: String,
    /// `kid` of the header; absent or null leaves it out.
    #[serde(default)]
    #[tsify(optional, type = "string | null")]
    pub kid: Option<String>,
    /// The text of a JSON object; `exp`, `nbf` and `iat` may be `"+1h"`.
    pub claims: String,
    /// Seconds since the epoch.
    pub now: f64,
}

/// A token, or why there is none.
#[derive(Debug, Clone, Serialize, Tsify)]
#[serde(untagged)]
pub enum MintResult {
    /// The token.
    Token {
        /// Always true.
        #[tsify(type = "true")]
        ok: bool,
        /// JWS compact form.
        token: String,
    },
    /// The reason.
    Failure {
        /// Always false.
        #[tsify(type = "false")]
        ok: bool,
        /// In words.
        error: String,
    },
}

/// The names of the demonstration keys.
#[wasm_bindgen(js_name = keyNames)]
pub fn key_names() -> Vec<String> {
    crate::key_names().into_iter().map(str::to_owned).collect()
}

/// A JSON Web Key Set of the public halves of the named keys; empty names and unknown ones give no key.
#[wasm_bindgen(js_name = publicJwks)]
#[expect(
    clippy::needless_pass_by_value,
    reason = "JavaScript gives values, not references"
)]
pub fn public_jwks(names: Vec<String>) -> String {
    let known: Vec<&str> = crate::key_names()
        .into_iter()
        .filter(|name| names.iter().any(|wanted| wanted == name))
        .collect();
    crate::public_jwks(&known).unwrap_or_default()
}

/// Mints a token.
#[wasm_bindgen(js_name = mint)]
pub fn mint_token(spec: &Ts<MintSpec>) -> Result<Ts<MintResult>, JsError> {
    let result = spec
        .to_rust()
        .map_err(|error| error.to_string())
        .and_then(|spec| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a cast from a double saturates"
            )]
            let now = spec.now as u64;
            let order = Order {
                key: &spec.key,
                key_id: spec.kid.as_deref(),
                claims: &spec.claims,
                now,
            };
            mint(&order).map_err(|error| error.to_string())
        });
    let result = match result {
        Ok(token) => MintResult::Token { ok: true, token },
        Err(error) => MintResult::Failure { ok: false, error },
    };
    Ok(result.into_ts()?)
}
