//! A certificate for a proxy of which only the name is known, so that what others write about it can be shown.

use super::Certificate;
use super::der::{BIT_STRING, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, UTC_TIME};
use super::x509::{ED25519, EXTENSIONS, SUBJECT_ALTERNATIVE_NAME, URI, VERSION};

impl Certificate {
    /// A certificate with nothing but this URI name, as istiod issues them. It has no key and no signature, so
    /// nobody can connect by it and no authority accepts it. `None` for what is no URI name.
    pub fn made_up(uri: &str) -> Option<Self> {
        let algorithm = element(SEQUENCE, &[&element(OBJECT_IDENTIFIER, &[ED25519])]);
        let nobody = element(SEQUENCE, &[]);
        let time = |text: &[u8]| element(UTC_TIME, &[text]);
        let validity = [time(b"200101000000Z"), time(b"491231235959Z")].concat();
        let no_bits = element(BIT_STRING, &[&[0]]);
        let no_key = element(BIT_STRING, &[&[0; 33]]);
        let names = element(SEQUENCE, &[&element(URI, &[uri.as_bytes()])]);
        let extension = [
            element(OBJECT_IDENTIFIER, &[SUBJECT_ALTERNATIVE_NAME]),
            element(OCTET_STRING, &[&names]),
        ];
        let extensions = element(SEQUENCE, &[&element(SEQUENCE, &[&extension.concat()])]);
        let fields: &[&[u8]] = &[
            &element(VERSION, &[&element(INTEGER, &[&[2]])]),
            &element(INTEGER, &[&[1]]),
            &algorithm,
            &nobody,
            &element(SEQUENCE, &[&validity]),
            &nobody,
            &element(SEQUENCE, &[&algorithm, &no_key]),
            &element(EXTENSIONS, &[&extensions]),
        ];
        let signed = element(SEQUENCE, fields);
        Self::from_der(&element(SEQUENCE, &[&signed, &algorithm, &no_bits]))
    }
}

/// An element with this content.
fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut whole = vec![tag];
    let digits = content.len().to_be_bytes();
    let digits: Vec<u8> = digits.into_iter().skip_while(|digit| *digit == 0).collect();
    if content.len() > 0x7f {
        whole.push(0x80 | u8::try_from(digits.len()).unwrap_or_default());
    }
    whole.extend(if digits.is_empty() { vec![0] } else { digits });
    whole.extend(content);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_name_and_nothing_else() {
        for length in [0, 90, 100, 120, 200, 300, 70_000] {
            let uri = format!("spiffe://td/{}", "a".repeat(length));
            let certificate = Certificate::made_up(&uri).unwrap();
            assert_eq!(certificate.uri, [uri]);
            assert_eq!(certificate.subject.to_string(), "");
            assert!(certificate.dns.is_empty() && certificate.email.is_empty());
            assert!(certificate.is_valid_at(1_800_000_000));
        }
        assert!(Certificate::made_up("spiffe://\u{e9}").is_none());
    }
}
