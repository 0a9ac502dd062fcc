//! The RSA key in an X.509 certificate, for key sets that map a `kid` to a certificate. A certificate is looked
//! through, not judged: who signed it and until when it is valid is nothing that Envoy asks.

use super::base64url;
use crate::certificate::public_key;
use crate::crypto::PublicKey;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----\n";
const END: &str = "\n-----END CERTIFICATE-----\n";

/// What stands between the lines of a PEM certificate; `None` for any other text.
pub(super) fn pem_body(text: &str) -> Option<&str> {
    text.strip_prefix(BEGIN)?.strip_suffix(END)
}

/// The key of a certificate (RFC 5280 section 4.1), if it is one for RSA.
pub(super) fn rsa_key(pem_body: &str) -> Option<PublicKey> {
    // White space is skipped there.
    let digits: Vec<u8> = pem_body
        .bytes()
        .map(|digit| match digit {
            b'+' => b'-',
            b'/' => b'_',
            digit => digit,
        })
        .collect();
    let key = public_key(&base64url::decode(&digits, false)?);
    key.filter(|key| matches!(key, PublicKey::Rsa(_)))
}

#[cfg(test)]
mod tests {
    use base64::Engine;

    use super::*;

    proptest::proptest! {
        #[test]
        fn takes_any_text(text: String, bytes: Vec<u8>) {
            let _ = rsa_key(&text);
            let _ = rsa_key(&base64::engine::general_purpose::STANDARD.encode(bytes));
        }
    }
}
