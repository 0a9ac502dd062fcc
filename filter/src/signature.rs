//! Signatures: Envoy's own code where it offers it, ours for the rest.

use portcullis_policy::crypto::{
    Algorithm, NativeCheck, PublicKey, RustVerifier, SignatureVerifier, native_check,
};
use prost::Message;

use crate::host;
use crate::metrics::Metrics;

/// Whose code checks RSA PKCS #1 and ECDSA signatures, chosen when the plugin is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Envoy's foreign function `verify_signature` (Envoy 1.30 and later).
    Envoy,
    /// The plugin's own.
    BuiltIn,
}

/// Checks signatures, and measures how long that takes.
#[derive(Debug)]
pub(crate) struct Verifier {
    pub(crate) whose: Whose,
    pub(crate) metrics: Metrics,
}

/// The function's argument, `envoy.extensions.filters.http.wasm` `VerifySignatureArguments`.
#[derive(PartialEq, Message)]
struct Arguments {
    #[prost(string, tag = "1")]
    hash_function: String,
    #[prost(bytes = "vec", tag = "2")]
    public_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    signature: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    text: Vec<u8>,
}

/// What the function answers, in whole, for a signature that verifies.
const VERIFIED: &[u8] = &[0x08, 0x01];

impl Whose {
    /// Whose code it is, for the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Envoy => "Envoy's verify_signature",
            Self::BuiltIn => "the plugin's own code",
        }
    }

    /// Envoy's code if it tells right from wrong on what we know, else ours.
    pub(crate) fn choose() -> Self {
        let message = include_bytes!("vectors/message");
        let vectors: [(&[u8], &[u8]); 2] = [
            (
                include_bytes!("vectors/rsa-key.der"),
                include_bytes!("vectors/rsa-signature"),
            ),
            (
                include_bytes!("vectors/p256-key.der"),
                include_bytes!("vectors/p256-signature"),
            ),
        ];
        let is_right = vectors.into_iter().all(|(key, signature)| {
            let check = NativeCheck {
                hash: "sha256",
                key: key.to_vec(),
                signature: signature.to_vec(),
            };
            ask(check.clone(), message) && !ask(check, b"another message")
        });
        if is_right { Self::Envoy } else { Self::BuiltIn }
    }
}

impl SignatureVerifier for Verifier {
    fn verify(
        &self,
        key: &PublicKey,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        let native = match self.whose {
            Whose::Envoy => native_check(key, algorithm, signature),
            Whose::BuiltIn => None,
        };
        let start = host::now();
        let is_right = match native {
            Some(check) => ask(check, message),
            None => RustVerifier.verify(key, algorithm, message, signature),
        };
        if let (Ok(start), Ok(end)) = (start, host::now()) {
            self.metrics.verification(end.saturating_sub(start));
        }
        is_right
    }
}

fn ask(check: NativeCheck, message: &[u8]) -> bool {
    let arguments = Arguments {
        hash_function: check.hash.to_owned(),
        public_key: check.key,
        signature: check.signature,
        text: message.to_vec(),
    };
    host::call_foreign_function("verify_signature", &arguments.encode_to_vec())
        .is_ok_and(|answer| answer == VERIFIED)
}
