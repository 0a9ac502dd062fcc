//! How a foreign text is written where people read lines: in logs, filter state, response code details and
//! explanations.
//!
//! A claim, a header or a name in a resource may hold a line feed, which would start a line that nobody wrote,
//! or marks that turn the reading direction, which would show another text than the one that was judged.
//! [`write`] leaves printable characters alone and writes the others so that [`read`] finds them again:
//!
//! | written | is |
//! |---|---|
//! | `\\` | a backslash |
//! | `\u{a}` | the character with this number: hexadecimal, lower case, no leading zero |
//! | `\xff` | a byte that belongs to no UTF-8 character: two lower case digits |
//! | `\…` | the end of a text that was longer, where a limit is set |
//!
//! Printable is what shows as itself: neither a control, a format character or a line end, nor a blank other
//! than the space, nor a character for private use. Quotes stand for themselves: what puts a value between quotes
//! has rules of its own.

use std::borrow::Cow;
use std::fmt::Write;

/// What follows a text that [`write_within`] has cut.
const CUT: &str = "\\…";

/// Ranges of characters that do not show as themselves, ascending: the general categories Cc, Cf, Co, Zl, Zp and
/// Zs, but for the space, and whatever else has the property `Default_Ignorable_Code_Point`, a blank as its
/// picture, or no meaning ever (noncharacters), as of Unicode 15.
const UNPRINTABLE: [(char, char); 33] = [
    ('\0', '\u{1f}'),
    ('\u{7f}', '\u{a0}'),
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{1680}', '\u{1680}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{2000}', '\u{200f}'),
    ('\u{2028}', '\u{202f}'),
    ('\u{205f}', '\u{206f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3000}', '\u{3000}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{e000}', '\u{f8ff}'),
    ('\u{fdd0}', '\u{fdef}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{fffe}', '\u{ffff}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{10ffff}'),
];

/// The bytes as one line of printable text.
pub fn write(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(stands_for_itself) => Cow::Borrowed(text),
        _ => Cow::Owned(write_within(bytes, usize::MAX)),
    }
}

/// The bytes as one line of printable text of at most `limit` bytes, the mark of a cut not counted.
pub fn write_within(bytes: &[u8], limit: usize) -> String {
    let mut line = String::new();
    for chunk in bytes.utf8_chunks() {
        let characters = chunk.valid().chars().map(written);
        let stray = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}"));
        for piece in characters.chain(stray) {
            if line.len() + piece.len() > limit {
                line.push_str(CUT);
                return line;
            }
            line.push_str(&piece);
        }
    }
    line
}

/// A sentence whose foreign parts [`write`] has written. What slipped through is written so too; backslashes
/// stay, since they are of `write`.
pub fn sentence(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_printable) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if is_printable(character) {
            line.push(character);
        } else {
            line.push_str(&written(character));
        }
    }
    Cow::Owned(line)
}

/// The bytes of which [`write`] made this line; `None` if it made no such line, or a limit cut it.
pub fn read(line: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = line;
    while let Some(character) = rest.chars().next() {
        let after = rest.get(character.len_utf8()..)?;
        if character != '\\' {
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            rest = after;
        } else if let Some(after) = after.strip_prefix('\\') {
            bytes.push(b'\\');
            rest = after;
        } else if let Some(number) = after.strip_prefix("u{") {
            let (digits, after) = number.split_once('}')?;
            let character = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            rest = after;
        } else {
            let (digits, after) = after.strip_prefix('x')?.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after;
        }
    }
    // Another spelling of the same bytes is none of `write`.
    (write(&bytes) == line).then_some(bytes)
}

/// Whether a character shows as itself.
fn is_printable(character: char) -> bool {
    let at = UNPRINTABLE.partition_point(|(_, last)| *last < character);
    UNPRINTABLE
        .get(at)
        .is_none_or(|(first, _)| character < *first)
}

fn stands_for_itself(character: char) -> bool {
    character != '\\' && is_printable(character)
}

fn written(character: char) -> String {
    if character == '\\' {
        return "\\\\".into();
    }
    let mut text = String::new();
    if is_printable(character) {
        text.push(character);
    } else {
        // Writing to a string does not fail.
        let _never = write!(text, "\\u{{{:x}}}", u32::from(character));
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        assert_eq!(write(bytes), expected);
        assert_eq!(read(expected).as_deref(), Some(bytes));
    }

    #[test]
    fn what_shows_as_itself_stays() {
        for text in [
            "",
            "alice",
            "Jürgen Groß",
            "山田 太郎",
            "e\u{301}",
            "नमस्ते",
            "🦀",
            "\"' %0a <&>",
        ] {
            check(text.as_bytes(), text);
            assert!(matches!(write(text.as_bytes()), Cow::Borrowed(_)));
        }
    }

    #[test]
    fn what_does_not_is_written_by_its_number() {
        check(b"a\nb\r\t\0", r"a\u{a}b\u{d}\u{9}\u{0}");
        check(b"\x1b[2J\x7f", r"\u{1b}[2J\u{7f}");
        check(
            "\u{85}\u{2028}\u{2029}".as_bytes(),
            r"\u{85}\u{2028}\u{2029}",
        );
        check("\u{202e}nimda\u{2069}".as_bytes(), r"\u{202e}nimda\u{2069}");
        check(
            "admin\u{a0}\u{200b}\u{feff}\u{e0041}".as_bytes(),
            r"admin\u{a0}\u{200b}\u{feff}\u{e0041}",
        );
        check(br"C:\new \u{a}", r"C:\\new \\u{a}");
        check(b"\xff\xc3(\xed\xa0\x80", r"\xff\xc3(\xed\xa0\x80");
    }

    #[test]
    fn every_control_and_blank_is_written_by_its_number() {
        for character in (0..=0x10_ffff).filter_map(char::from_u32) {
            let is_blank = character.is_whitespace() && character != ' ';
            if character.is_control() || is_blank {
                assert!(!is_printable(character), "{character:?}");
            }
        }
        assert!(UNPRINTABLE.iter().all(|(first, last)| first <= last));
        assert!(UNPRINTABLE.is_sorted_by(|left, right| left.1 < right.0));
    }

    #[test]
    fn other_spellings_are_not_read() {
        for line in [
            "a\n",
            "\\",
            "\\u",
            "\\u{",
            "\\u{}",
            "\\u{61}",
            "\\u{0a}",
            "\\u{A}",
            "\\u{+a}",
            "\\u{d800}",
            "\\u{110000}",
            "\\x",
            "\\xf",
            "\\xFF",
            "\\x61",
            "\\xc3\\xa9",
            "\\x+f",
            "\\n",
            "a\\…",
        ] {
            assert_eq!(read(line), None, "{line:?}");
        }
    }

    #[test]
    fn a_cut_is_shown_and_halves_nothing() {
        assert_eq!(write_within(b"alice", 5), "alice");
        assert_eq!(write_within(b"alice!", 5), r"alice\…");
        assert_eq!(write_within("ééé".as_bytes(), 5), r"éé\…");
        assert_eq!(write_within(b"abc\n", 5), r"abc\…");
        assert_eq!(read(r"alice\…"), None);
    }

    proptest! {
        #[test]
        fn every_text_comes_back(bytes in any::<Vec<u8>>(), text in any::<String>(), marks in "[\\\\ux{}0a…\n]*") {
            for bytes in [bytes.as_slice(), text.as_bytes(), marks.as_bytes()] {
                let line = write(bytes);
                prop_assert!(line.chars().all(is_printable), "{line:?}");
                prop_assert_eq!(sentence(&line), &*line);
                prop_assert_eq!(read(&line), Some(bytes.to_vec()));
            }
        }

        #[test]
        fn a_sentence_has_one_line(text in any::<String>(), limit in 0_usize..40) {
            prop_assert!(sentence(&text).chars().all(is_printable));
            let cut = write_within(text.as_bytes(), limit);
            prop_assert!(cut.len() <= limit + CUT.len());
            prop_assert!(cut.chars().all(is_printable));
        }

        #[test]
        fn what_is_read_was_written(line in any::<String>(), marks in "[\\\\ux{}0a…\n]*") {
            for line in [line, marks] {
                if let Some(bytes) = read(&line) {
                    prop_assert_eq!(write(&bytes), line);
                }
            }
        }
    }
}
