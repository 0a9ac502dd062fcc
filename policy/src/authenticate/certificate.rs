//! The RSA key in an X.509 certificate, for key sets that map a `kid` to a certificate. A certificate is looked
//! through, not judged: who signed it and until when it is valid is nothing that Envoy asks.

use super::base64url;
use crate::crypto::PublicKey;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----\n";
const END: &str = "\n-----END CERTIFICATE-----\n";

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;
/// `[0]`, where a certificate says its version.
const VERSION: u8 = 0xa0;
/// rsaEncryption (RFC 8017 appendix A.1)
const RSA: &[u8] = &[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01,
];

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
    let der = base64url::decode(&digits, false)?;
    let (certificate, _) = element(SEQUENCE, &der)?;
    let (mut fields, _) = element(SEQUENCE, certificate)?;
    if let Some((_, rest)) = element(VERSION, fields) {
        fields = rest;
    }
    // Serial number, signature, issuer, validity and subject.
    for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE] {
        (_, fields) = element(tag, fields)?;
    }
    let (key, _) = element(SEQUENCE, fields)?;
    let (algorithm, key) = element(SEQUENCE, key)?;
    let (bits, _) = element(BIT_STRING, key)?;
    let (numbers, _) = element(SEQUENCE, bits.strip_prefix(&[0])?)?;
    let (modulus, numbers) = element(INTEGER, numbers)?;
    let (exponent, _) = element(INTEGER, numbers)?;
    if !algorithm.starts_with(RSA) {
        return None;
    }
    PublicKey::rsa(modulus, exponent)
}

/// The content of an element with this tag, and what follows it (X.690 section 8.1).
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let [found, length, rest @ ..] = der else {
        return None;
    };
    let (length, rest) = match *length {
        short @ 0..=0x7f => (usize::from(short), rest),
        // Longer than four bytes is no length of anything here.
        long @ 0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            let number = digits
                .iter()
                .fold(0_usize, |number, digit| number << 8 | usize::from(*digit));
            (number, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    (*found == tag).then_some((content, rest))
}

#[cfg(test)]
mod tests {
    use base64::Engine;

    use super::*;

    #[test]
    fn lengths_may_take_several_bytes() {
        assert_eq!(
            element(4, &[4, 1, 7, 9]),
            Some(([7].as_slice(), [9].as_slice()))
        );
        assert_eq!(
            element(4, &[4, 0x81, 1, 7]),
            Some(([7].as_slice(), [].as_slice()))
        );
        assert_eq!(element(4, &[5, 1, 7]), None);
        assert_eq!(element(4, &[4, 2, 7]), None);
        assert_eq!(element(4, &[4, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(element(4, &[4, 0x80, 0, 0]), None);
        assert_eq!(element(4, &[4]), None);
    }

    proptest::proptest! {
        #[test]
        fn takes_any_text(text: String, bytes: Vec<u8>) {
            let _ = rsa_key(&text);
            let _ = rsa_key(&base64::engine::general_purpose::STANDARD.encode(bytes));
        }
    }
}
