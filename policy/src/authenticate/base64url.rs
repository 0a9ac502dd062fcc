//! Base64url as Envoy decodes it (`contract`: what Envoy 1.40 was seen to do). Looser than RFC 4648
//! section 5: white space is skipped, padding may be there, unused low bits may be set. Strict mode takes
//! none of it (RFC 7515 section 2, RFC 4648 section 3.5).

/// Decodes `text`, or says that it is not base64url.
///
/// Padding, if there is any, must have the right length; `.` counts as padding too, which only members of
/// a key set can contain.
pub(crate) fn decode(text: &[u8], strict: bool) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let mut bits: u32 = 0;
    let mut digits = 0_usize;
    let mut padding = 0_usize;
    for byte in text.iter().copied() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ if strict => return None,
            b'=' | b'.' => {
                padding += 1;
                continue;
            }
            b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r' => continue,
            _ => return None,
        };
        if padding > 0 {
            return None;
        }
        bits = (bits << 6) | u32::from(digit);
        digits += 1;
        if digits.is_multiple_of(4) {
            let [_, group @ ..] = bits.to_be_bytes();
            bytes.extend_from_slice(&group);
            bits = 0;
        }
    }
    let mut unused = 0;
    let wanted_padding = match digits % 4 {
        0 => 0,
        2 => {
            let [.., byte] = (bits >> 4).to_be_bytes();
            unused = bits & 0xf;
            bytes.push(byte);
            2
        }
        3 => {
            let [.., high, low] = (bits >> 2).to_be_bytes();
            unused = bits & 3;
            bytes.extend_from_slice(&[high, low]);
            1
        }
        _ => return None,
    };
    let is_right = padding == 0 || padding == wanted_padding;
    (is_right && !(strict && unused != 0)).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_envoy_decodes() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("AA", b"\0"),
            ("AB", b"\0"),
            ("AA==", b"\0"),
            ("AAA", b"\0\0"),
            ("AAA=", b"\0\0"),
            ("AAA.", b"\0\0"),
            ("_-8", b"\xff\xef"),
            ("A A\nA\x0bA", b"\0\0\0"),
            ("AA= =", b"\0"),
        ] {
            assert_eq!(
                decode(text.as_bytes(), false).as_deref(),
                Some(bytes),
                "{text:?}"
            );
        }
    }

    #[test]
    fn refuses_what_envoy_refuses() {
        for text in [
            "A", "AAAAA", "AA=", "AA===", "AAAA=", "A=A", "AA+A", "AA/A", "AA%A", "AA\0A",
            "AA\u{e9}",
        ] {
            assert_eq!(decode(text.as_bytes(), false), None, "{text:?}");
        }
    }

    #[test]
    fn strict_mode_takes_the_canonical_form_only() {
        for text in [
            "AB",
            "AA==",
            "AAB",
            "AAA=",
            "AAA.",
            "A A\nA\x0bA",
            "AA= =",
            " AAAA",
            "AAAA\r",
        ] {
            assert_eq!(decode(text.as_bytes(), true), None, "{text:?}");
        }
        for (text, bytes) in [
            ("", &b""[..]),
            ("AA", b"\0"),
            ("AAE", b"\0\x01"),
            ("_-8", b"\xff\xef"),
        ] {
            assert_eq!(
                decode(text.as_bytes(), true).as_deref(),
                Some(bytes),
                "{text:?}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn decodes_canonical_text(bytes: Vec<u8>) {
            use base64::Engine;
            let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&bytes);
            proptest::prop_assert_eq!(decode(text.as_bytes(), false), Some(bytes.clone()));
            proptest::prop_assert_eq!(decode(text.as_bytes(), true), Some(bytes));
        }

        #[test]
        fn takes_any_bytes(bytes: Vec<u8>) {
            let _ = decode(&bytes, false);
        }

        #[test]
        fn bytes_have_one_strict_form(text in "[AB_=. ]{0,9}") {
            use base64::Engine;
            if let Some(bytes) = decode(text.as_bytes(), true) {
                let only = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
                proptest::prop_assert_eq!(only, text);
            }
        }
    }
}
