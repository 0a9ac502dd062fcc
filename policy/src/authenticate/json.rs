//! JSON as Envoy reads tokens and key sets: protobuf's parser in its lenient mode.
//!
//! Beyond RFC 8259 it takes single quotes, bare identifiers as keys, one trailing comma, raw control
//! characters in strings, and white space between the halves of a surrogate pair. It refuses duplicate
//! keys at any depth, numbers beyond a double, and more than 100 levels. Strict mode takes RFC 8259 only, and
//! `null` is no object there.

use crate::sorted::sorted;
use std::fmt::Write;

/// A JSON value. Keys of objects are unique and keep their order.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// Every number is a double.
    Number(f64),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object.
    Object(Vec<(String, Json)>),
}

/// The text is not JSON in this sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidJson;

/// Objects and arrays within each other, the outermost included.
const MAX_DEPTH: usize = 100;

impl Json {
    /// Reads a document whose top level is an object; `null` counts as an empty one.
    pub(crate) fn parse_object(
        text: &[u8],
        strict: bool,
    ) -> Result<Vec<(String, Self)>, InvalidJson> {
        let mut parser = Parser { rest: text, strict };
        let value = parser.value(0)?;
        parser.skip_space();
        match value {
            _ if !parser.rest.is_empty() => Err(InvalidJson),
            Self::Object(members) => Ok(members),
            Self::Null if !strict => Ok(Vec::new()),
            _ => Err(InvalidJson),
        }
    }

    /// The member of an object.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => member(members, key),
            _ => None,
        }
    }

    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Compact JSON as protobuf prints it, with the keys of objects in byte order: there it is a hash map's.
    pub fn to_compact(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    fn write(&self, into: &mut String) {
        match self {
            Self::Null => into.push_str("null"),
            Self::Bool(value) => into.push_str(if *value { "true" } else { "false" }),
            Self::Number(value) => write_number(*value, into),
            Self::String(text) => write_string(text, into),
            Self::Array(items) => {
                for (position, item) in items.iter().enumerate() {
                    into.push(if position == 0 { '[' } else { ',' });
                    item.write(into);
                }
                into.push_str(if items.is_empty() { "[]" } else { "]" });
            }
            Self::Object(members) => {
                let members = sorted(members.iter().collect(), |left, right| left.0.cmp(&right.0));
                into.push('{');
                for (position, (key, value)) in members.into_iter().enumerate() {
                    if position > 0 {
                        into.push(',');
                    }
                    write_string(key, into);
                    into.push(':');
                    value.write(into);
                }
                into.push('}');
            }
        }
    }
}

/// The value of `key` among an object's members.
pub(crate) fn member<'j>(members: &'j [(String, Json)], key: &str) -> Option<&'j Json> {
    members
        .iter()
        .find(|(name, _)| name == key)
        .map(|(_, value)| value)
}

/// As C's `%g` with 15 digits, or with 17 if the number needs them to be read back: protobuf's way.
fn write_number(value: f64, into: &mut String) {
    let short = format!("{value:.14e}");
    let is_exact = short.parse() == Ok(value);
    let (text, digits) = if is_exact {
        (short, 15)
    } else {
        (format!("{value:.16e}"), 17)
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..digits).contains(&exponent) {
        let decimals = usize::try_from(digits - 1 - exponent).unwrap_or_default();
        into.push_str(without_zeros(&format!("{value:.decimals$}")));
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        into.push_str(without_zeros(mantissa));
        let written = write!(into, "e{sign}{:02}", exponent.unsigned_abs());
        debug_assert!(written.is_ok(), "writing to a String cannot fail");
    }
}

/// A decimal number without the zeros that end its fraction.
fn without_zeros(number: &str) -> &str {
    if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    }
}

fn write_string(text: &str, into: &mut String) {
    into.push('"');
    for character in text.chars() {
        match character {
            '"' => into.push_str("\\\""),
            '\\' => into.push_str("\\\\"),
            '\n' => into.push_str("\\n"),
            '\r' => into.push_str("\\r"),
            '\t' => into.push_str("\\t"),
            '\u{8}' => into.push_str("\\b"),
            '\u{c}' => into.push_str("\\f"),
            _ if is_escaped(character) => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let written = write!(into, "\\u{unit:04x}");
                    debug_assert!(written.is_ok(), "writing to a String cannot fail");
                }
            }
            _ => into.push(character),
        }
    }
    into.push('"');
}

/// What protobuf does not print as it is: control characters, what is invisible, and what HTML reads as markup.
fn is_escaped(character: char) -> bool {
    matches!(character,
        '<' | '>' | '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{600}'..='\u{603}' | '\u{6dd}'
        | '\u{70f}' | '\u{17b4}'..='\u{17b5}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}' | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

struct Parser<'t> {
    rest: &'t [u8],
    strict: bool,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn bump(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.bump();
        }
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), InvalidJson> {
        if self.eat(byte) {
            Ok(())
        } else {
            Err(InvalidJson)
        }
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.bump();
        }
    }

    /// The longest run of bytes that `wanted` holds for.
    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'t [u8] {
        let end = self
            .rest
            .iter()
            .position(|byte| !wanted(*byte))
            .unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at(end);
        self.rest = rest;
        run
    }

    fn value(&mut self, depth: usize) -> Result<Json, InvalidJson> {
        self.skip_space();
        match self.peek().ok_or(InvalidJson)? {
            b'{' => self.object(depth + 1),
            b'[' => self.array(depth + 1),
            b'"' | b'\'' => self.string().map(Json::String),
            b'-' | b'0'..=b'9' => self.number().map(Json::Number),
            _ => match self.take_while(is_identifier) {
                b"true" => Ok(Json::Bool(true)),
                b"false" => Ok(Json::Bool(false)),
                b"null" => Ok(Json::Null),
                _ => Err(InvalidJson),
            },
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, InvalidJson> {
        if depth > MAX_DEPTH {
            return Err(InvalidJson);
        }
        self.expect(b'{')?;
        let mut members: Vec<(String, Json)> = Vec::new();
        let mut names = Names::default();
        self.skip_space();
        while !self.eat(b'}') {
            let key = self.key()?;
            if !names.insert(&key, &members) {
                return Err(InvalidJson);
            }
            self.skip_space();
            self.expect(b':')?;
            let value = self.value(depth)?;
            members.push((key, value));
            self.separator(b'}')?;
        }
        Ok(Json::Object(members))
    }

    fn array(&mut self, depth: usize) -> Result<Json, InvalidJson> {
        if depth > MAX_DEPTH {
            return Err(InvalidJson);
        }
        self.expect(b'[')?;
        let mut items = Vec::new();
        self.skip_space();
        while !self.eat(b']') {
            items.push(self.value(depth)?);
            self.separator(b']')?;
        }
        Ok(Json::Array(items))
    }

    /// A comma, which may be the last unless strict, or the end, which is left for the caller.
    fn separator(&mut self, end: u8) -> Result<(), InvalidJson> {
        self.skip_space();
        if self.eat(b',') {
            self.skip_space();
            if self.strict && self.peek() == Some(end) {
                return Err(InvalidJson);
            }
            Ok(())
        } else if self.peek() == Some(end) {
            Ok(())
        } else {
            Err(InvalidJson)
        }
    }

    fn key(&mut self) -> Result<String, InvalidJson> {
        match self.peek().ok_or(InvalidJson)? {
            b'"' | b'\'' => self.string(),
            b'0'..=b'9' => Err(InvalidJson),
            _ if self.strict => Err(InvalidJson),
            _ => match self.take_while(is_identifier) {
                b"" | b"true" | b"false" | b"null" => Err(InvalidJson),
                name => String::from_utf8(name.to_vec()).map_err(|_| InvalidJson),
            },
        }
    }

    fn string(&mut self) -> Result<String, InvalidJson> {
        let strict = self.strict;
        let quote = self.bump().ok_or(InvalidJson)?;
        if strict && quote != b'"' {
            return Err(InvalidJson);
        }
        let mut bytes = Vec::new();
        loop {
            let plain = self.take_while(|byte| byte != quote && byte != b'\\');
            if strict && plain.iter().any(|byte| *byte < b' ') {
                return Err(InvalidJson);
            }
            bytes.extend_from_slice(plain);
            if self.bump().ok_or(InvalidJson)? == quote {
                return String::from_utf8(bytes).map_err(|_| InvalidJson);
            }
            let character = self.escape()?;
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<char, InvalidJson> {
        Ok(match self.bump().ok_or(InvalidJson)? {
            b'\'' | b'U' if self.strict => return Err(InvalidJson),
            plain @ (b'"' | b'\\' | b'/' | b'\'') => char::from(plain),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' | b'U' => {
                let unit = self.hex4()?;
                if (0xd800..0xdc00).contains(&unit) {
                    if !self.strict {
                        self.skip_space();
                    }
                    self.expect(b'\\')?;
                    self.expect(b'u')?;
                    let low = self.hex4()?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return Err(InvalidJson);
                    }
                    char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00))
                        .ok_or(InvalidJson)?
                } else {
                    char::from_u32(unit).ok_or(InvalidJson)?
                }
            }
            _ => return Err(InvalidJson),
        })
    }

    fn hex4(&mut self) -> Result<u32, InvalidJson> {
        let mut value = 0;
        for _ in 0..4 {
            let byte = self.bump().ok_or(InvalidJson)?;
            value = value * 16 + char::from(byte).to_digit(16).ok_or(InvalidJson)?;
        }
        Ok(value)
    }

    fn number(&mut self) -> Result<f64, InvalidJson> {
        let run = self.take_while(|byte| {
            byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E')
        });
        let text = std::str::from_utf8(run).map_err(|_| InvalidJson)?;
        if !is_json_number(text) {
            return Err(InvalidJson);
        }
        text.parse()
            .ok()
            .filter(|value: &f64| value.is_finite())
            .ok_or(InvalidJson)
    }
}

/// RFC 8259 section 6.
fn is_json_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (
            mantissa,
            Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)),
        ),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(digits)
}

fn is_identifier(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Finds duplicate keys: by looking at small objects, with a set for large ones, so that an object with many
/// keys costs no more than its length.
#[derive(Default)]
struct Names {
    seen: std::collections::BTreeSet<String>,
}

impl Names {
    const SMALL: usize = 16;

    /// Notes `key`, or says that it is there already.
    fn insert(&mut self, key: &str, members: &[(String, Json)]) -> bool {
        if members.len() < Self::SMALL {
            return member(members, key).is_none();
        }
        if self.seen.is_empty() {
            self.seen
                .extend(members.iter().map(|(name, _)| name.clone()));
        }
        self.seen.insert(key.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn accepts(text: &str, compact: &str) {
        let members = Json::parse_object(text.as_bytes(), false);
        assert_eq!(
            members
                .map(|members| Json::Object(members).to_compact())
                .as_deref(),
            Ok(compact),
            "{text}"
        );
    }

    #[track_caller]
    fn refuses(text: &[u8]) {
        assert_eq!(
            Json::parse_object(text, false),
            Err(InvalidJson),
            "{}",
            String::from_utf8_lossy(text)
        );
    }

    #[test]
    fn takes_what_protobuf_takes() {
        accepts(
            r#"{"b":1,"a":[true,null,"x"]}"#,
            r#"{"a":[true,null,"x"],"b":1}"#,
        );
        accepts("null", "{}");
        accepts(
            " {'a' : 'it\\'s', b_1: -1.5e1 , } \r\n",
            r#"{"a":"it's","b_1":-15}"#,
        );
        accepts(
            "{\"a\":[1,],\"b\":\"x\ny\0\"}",
            r#"{"a":[1],"b":"x\ny\u0000"}"#,
        );
        accepts(
            "{\"a\":\"\\ud83d \n\\ude00\\U0041\\/\"}",
            "{\"a\":\"\u{1f600}A/\"}",
        );
        accepts(
            r#"{"a":12345678901234567890,"b":1e-400,"c":1e21}"#,
            r#"{"a":1.2345678901234567e+19,"b":0,"c":1e+21}"#,
        );
    }

    #[test]
    fn prints_numbers_as_protobuf_prints_them() {
        for (json, printed) in [
            ("7", "7"),
            ("-1.5", "-1.5"),
            ("0.1", "0.1"),
            ("100000000000000", "100000000000000"),
            ("1e15", "1e+15"),
            ("12345678901234568", "12345678901234568"),
            ("123456789012345680", "1.2345678901234568e+17"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1e300", "1e+300"),
            ("0.30000000000000004", "0.30000000000000004"),
        ] {
            accepts(
                &format!("{{\"a\":{json}}}"),
                &format!("{{\"a\":{printed}}}"),
            );
        }
    }

    #[test]
    fn refuses_what_protobuf_refuses() {
        for text in [
            "",
            "[]",
            "1",
            "\"a\"",
            "true",
            "{",
            "{}x",
            "{,}",
            "{\"a\":1,,}",
            "{\"a\" 1}",
            "{\"a\":}",
            "{a-b:1}",
            "{true:1}",
            "{null:1}",
            "{1:1}",
            "{$a:1}",
            "{\"a\":01}",
            "{\"a\":+1}",
            "{\"a\":.5}",
            "{\"a\":5.}",
            "{\"a\":0x1}",
            "{\"a\":NaN}",
            "{\"a\":Infinity}",
            "{\"a\":1e309}",
            "{\"a\":1,\"a\":2}",
            "{\"a\":1,\"\\u0061\":2}",
            "{\"x\":{\"a\":1,\"a\":2}}",
            "{\"a\":\"\\v\"}",
            "{\"a\":\"\\0\"}",
            "{\"a\":\"\\ud83d\"}",
            "{\"a\":\"\\ude00\"}",
            "{\"a\":\"\\ud83d\\Ude00\"}",
            "{\"a\":\"\\ud83dx\\ude00\"}",
            "\u{feff}{}",
            "{\"a\":1}//",
            "{\"a\":tru}",
            "\u{b}{}",
        ] {
            refuses(text.as_bytes());
        }
        refuses(b"{\"a\":\"\xff\"}");
        refuses(b"{\"a\":\"\xed\xa0\x80\"}");
    }

    #[test]
    fn strict_mode_takes_rfc_8259_only() {
        for text in [
            "null",
            "{'a':1}",
            "{\"a\":'b'}",
            "{a:1}",
            "{\"a\":1,}",
            "{\"a\":[1, ]}",
            "{\"a\":\"\\'\"}",
            "{\"a\":\"\\U0041\"}",
            "{\"a\":\"x\ny\"}",
            "{\"a\":\"\0\"}",
            "{\"a\n\":1}",
            "{\"a\":\"\\ud83d \\ude00\"}",
        ] {
            assert!(Json::parse_object(text.as_bytes(), false).is_ok(), "{text}");
            assert!(Json::parse_object(text.as_bytes(), true).is_err(), "{text}");
        }
        for text in [
            "{}",
            " \t\r\n{ \"a\" : [ ] , \"\" : [ {} , -0.5e-3 , true , false , null ] } ",
            "{\"a\":\"it's \\\" \\\\ \\/ \\b\\f\\n\\r\\t \\u0041\\ud83d\\ude00 \u{7f}\u{e9}\"}",
        ] {
            let strict = Json::parse_object(text.as_bytes(), true);
            assert!(strict.is_ok(), "{text}");
            assert_eq!(strict, Json::parse_object(text.as_bytes(), false), "{text}");
        }
    }

    #[test]
    fn a_hundred_levels_and_no_more() {
        let nested = |levels: usize| {
            format!(
                "{{\"a\":{}{}}}",
                "[".repeat(levels - 1),
                "]".repeat(levels - 1)
            )
        };
        assert!(Json::parse_object(nested(100).as_bytes(), false).is_ok());
        refuses(nested(101).as_bytes());
        refuses(nested(5000).as_bytes());
    }

    #[test]
    fn duplicates_are_found_among_many_keys() {
        let many: Vec<String> = (0..50)
            .map(|number| format!("\"k{number}\":{number}"))
            .collect();
        assert!(Json::parse_object(format!("{{{}}}", many.join(",")).as_bytes(), false).is_ok());
        refuses(format!("{{{},\"k3\":1}}", many.join(",")).as_bytes());
        refuses(format!("{{{},\"k49\":1}}", many.join(",")).as_bytes());
    }

    proptest::proptest! {
        #[test]
        fn takes_any_bytes(bytes: Vec<u8>) {
            let _ = Json::parse_object(&bytes, false);
        }

        #[test]
        fn prints_what_it_reads(text in r#"\{"a":("[ -~&&[^"\\]]{0,9}"|-?[1-9][0-9]{0,3}|true|null|\[\]|\{"b":\[1,"c"\]\})\}"#) {
            let compact = Json::Object(Json::parse_object(text.as_bytes(), true).unwrap()).to_compact();
            let again = Json::Object(Json::parse_object(compact.as_bytes(), true).unwrap()).to_compact();
            proptest::prop_assert_eq!(compact, again);
        }
    }
}
