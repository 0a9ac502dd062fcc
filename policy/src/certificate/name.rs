//! Distinguished names (X.501). They are compared by their attributes: each tool prints them in an order and
//! with escapes of its own.

use std::fmt;

use super::der::{Element, OBJECT_IDENTIFIER, Reader, SEQUENCE, SET};
use super::hex;

const UTF8_STRING: u8 = 12;
const NUMERIC_STRING: u8 = 18;
const PRINTABLE_STRING: u8 = 19;
const T61_STRING: u8 = 20;
const IA5_STRING: u8 = 22;
const VISIBLE_STRING: u8 = 26;
const UNIVERSAL_STRING: u8 = 28;
const BMP_STRING: u8 = 30;
const TEXTS: [u8; 8] = [
    UTF8_STRING,
    NUMERIC_STRING,
    PRINTABLE_STRING,
    T61_STRING,
    IA5_STRING,
    VISIBLE_STRING,
    UNIVERSAL_STRING,
    BMP_STRING,
];

/// A name: its relative names in the order of the certificate, the most general first as a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DistinguishedName(Vec<RelativeName>);

/// Attributes that stand side by side; their order means nothing.
#[derive(Debug, Clone, Eq)]
struct RelativeName(Vec<Attribute>);

/// One attribute of a name.
#[derive(Debug, Clone, Eq)]
struct Attribute {
    kind: AttributeType,
    /// `None` if the value is no text.
    text: Option<String>,
    /// The value's DER; empty if the attribute was read from a text.
    der: Box<[u8]>,
}

/// The type of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeType(Box<[u8]>);

/// How a text lists the relative names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameOrder {
    /// The last of the certificate first: RFC 2253, RFC 4514, Envoy.
    Reverse,
    /// As in the certificate: `openssl x509 -subject`.
    Certificate,
}

/// What OpenSSL, and so Envoy, calls the attributes, what else they are called, and their OIDs in DER.
const TYPES: &[(&str, &[&str], &[u8])] = &[
    ("CN", &["commonName"], &[0x55, 4, 3]),
    ("SN", &["surname"], &[0x55, 4, 4]),
    ("serialNumber", &[], &[0x55, 4, 5]),
    ("C", &["countryName"], &[0x55, 4, 6]),
    ("L", &["localityName"], &[0x55, 4, 7]),
    ("ST", &["S", "stateOrProvinceName"], &[0x55, 4, 8]),
    ("street", &["streetAddress"], &[0x55, 4, 9]),
    ("O", &["organizationName"], &[0x55, 4, 10]),
    ("OU", &["organizationalUnitName"], &[0x55, 4, 11]),
    ("title", &["T"], &[0x55, 4, 12]),
    ("description", &[], &[0x55, 4, 13]),
    ("businessCategory", &[], &[0x55, 4, 15]),
    ("postalCode", &[], &[0x55, 4, 17]),
    ("name", &[], &[0x55, 4, 41]),
    ("GN", &["givenName", "G"], &[0x55, 4, 42]),
    ("initials", &["I"], &[0x55, 4, 43]),
    ("generationQualifier", &[], &[0x55, 4, 44]),
    ("dnQualifier", &["DNQ"], &[0x55, 4, 46]),
    ("pseudonym", &[], &[0x55, 4, 65]),
    (
        "UID",
        &["userId"],
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1],
    ),
    (
        "DC",
        &["domainComponent"],
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25],
    ),
    (
        "emailAddress",
        &["E", "email", "EMAILADDRESS"],
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1],
    ),
];

impl AttributeType {
    /// Reads a name of the table above, in any case, or an OID: `CN`, `emailAddress`, `2.5.4.3`,
    /// `OID.2.5.4.3`.
    pub fn parse(text: &str) -> Option<Self> {
        let known = TYPES.iter().find(|(name, others, _)| {
            let mut names = others.iter().chain([name]);
            names.any(|name| name.eq_ignore_ascii_case(text))
        });
        if let Some((_, _, oid)) = known {
            return Some(Self((*oid).into()));
        }
        let digits = text
            .strip_prefix("OID.")
            .or_else(|| text.strip_prefix("oid."))
            .unwrap_or(text);
        let mut arcs = digits.split('.').map(|arc| {
            let is_number = !arc.is_empty() && arc.bytes().all(|byte| byte.is_ascii_digit());
            let number: u64 = is_number.then(|| arc.parse().ok()).flatten()?;
            (arc == number.to_string()).then_some(number)
        });
        let (first, second) = (arcs.next()??, arcs.next()??);
        if first > 2 || (first < 2 && second > 39) {
            return None;
        }
        let mut oid = Vec::new();
        base128(first.checked_mul(40)?.checked_add(second)?, &mut oid);
        for arc in arcs {
            base128(arc?, &mut oid);
        }
        Some(Self(oid.into()))
    }
}

impl AttributeType {
    fn name(&self) -> Option<&'static str> {
        let known = TYPES.iter().find(|(.., oid)| **oid == *self.0);
        known.map(|(name, ..)| *name)
    }
}

/// Seven bits a byte, the highest bit of all but the last set (X.690 section 8.19.2).
fn base128(number: u64, into: &mut Vec<u8>) {
    let groups = (1..9).rev().map(|group| number >> (7 * group));
    for group in groups.filter(|group| *group > 0) {
        let [.., byte] = group.to_be_bytes();
        into.push(byte | 0x80);
    }
    let [.., byte] = number.to_be_bytes();
    into.push(byte & 0x7f);
}

impl fmt::Display for AttributeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.name() {
            return f.write_str(name);
        }
        let mut arc = 0_u64;
        let mut is_first = true;
        for byte in &self.0 {
            arc = arc << 7 | u64::from(byte & 0x7f);
            if byte & 0x80 != 0 {
                continue;
            }
            if is_first {
                let first = (arc / 40).min(2);
                write!(f, "{first}.{}", arc - first * 40)?;
            } else {
                write!(f, ".{arc}")?;
            }
            is_first = false;
            arc = 0;
        }
        Ok(())
    }
}

impl PartialEq for RelativeName {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().all(|attribute| other.0.contains(attribute))
            && other.0.iter().all(|attribute| self.0.contains(attribute))
    }
}

impl DistinguishedName {
    /// Reads the content of a `Name` (RFC 5280 section 4.1.2.4).
    pub(super) fn from_der(mut names: Reader<'_>) -> Option<Self> {
        let mut relative = Vec::new();
        while !names.is_empty() {
            let mut set = names.enter(SET)?;
            let mut attributes = Vec::new();
            while !set.is_empty() {
                let mut pair = set.enter(SEQUENCE)?;
                let kind = pair.take(OBJECT_IDENTIFIER)?;
                let value = pair.next()?;
                // Seven bits a byte must fit the numbers that are printed, and a number has one form.
                let is_short = kind
                    .split_inclusive(|byte| byte & 0x80 == 0)
                    .all(|arc| arc.len() < 10 && arc.first() != Some(&0x80));
                let text = text_of(value);
                // A text that is none after all would differ from every name that somebody denies.
                let is_garbled = text.is_none() && TEXTS.contains(&value.tag);
                if !pair.is_empty() || kind.last()? & 0x80 != 0 || !is_short || is_garbled {
                    return None;
                }
                attributes.push(Attribute {
                    kind: AttributeType(kind.into()),
                    text,
                    der: value.whole.into(),
                });
            }
            if attributes.is_empty() {
                return None;
            }
            relative.push(RelativeName(attributes));
        }
        Some(Self(relative))
    }

    /// Reads a text: `CN=a\,b+OU=x,O=c`, or with slashes in front, `/C=DE/O=c`, in the certificate's order
    /// only. Nothing is guessed: an unknown attribute or escape gives `None`.
    pub fn parse(text: &str, order: NameOrder) -> Option<Self> {
        let mut relative = Vec::new();
        let slashed = text.strip_prefix('/');
        if order == NameOrder::Certificate
            && let Some(text) = slashed
        {
            for piece in split(text, b'/')? {
                relative.push(RelativeName(vec![Attribute::parse(piece)?]));
            }
            return Some(Self(relative));
        }
        if text.trim().is_empty() {
            return Some(Self::default());
        }
        for piece in split(text, b',')? {
            let attributes: Option<Vec<_>> = split(piece, b'+')?
                .into_iter()
                .map(Attribute::parse)
                .collect();
            relative.push(RelativeName(attributes?));
        }
        if order == NameOrder::Reverse {
            relative.reverse();
        }
        Some(Self(relative))
    }

    /// Whether it has no attribute at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `base` is the general end of the name: `O=c` is that of `CN=a,O=c`.
    pub fn is_below(&self, base: &Self) -> bool {
        self.0.starts_with(&base.0)
    }

    /// Whether `leaf` is the specific end of the name: `CN=a` is that of `CN=a,O=c`.
    pub fn ends_with(&self, leaf: &Self) -> bool {
        self.0.ends_with(&leaf.0)
    }

    /// The value of an attribute; `None` if the name has it not, more than once, or not as a text.
    pub fn attribute(&self, kind: &AttributeType) -> Option<&str> {
        let mut found = self
            .0
            .iter()
            .flat_map(|relative| &relative.0)
            .filter(|attribute| attribute.kind == *kind);
        match (found.next(), found.next()) {
            (Some(attribute), None) => attribute.text.as_deref(),
            _ => None,
        }
    }

    /// Whether the name has the attribute, and yet not one value of it: more than one, or one that is no text.
    pub fn is_in_doubt(&self, kind: &AttributeType) -> bool {
        let mut attributes = self.0.iter().flat_map(|relative| &relative.0);
        attributes.any(|attribute| attribute.kind == *kind) && self.attribute(kind).is_none()
    }
}

/// A value as a text; `None` if it is of another type, or of no text after all.
fn text_of(value: Element<'_>) -> Option<String> {
    let latin = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect();
    match value.tag {
        UTF8_STRING => String::from_utf8(value.content.into()).ok(),
        NUMERIC_STRING | PRINTABLE_STRING | IA5_STRING | VISIBLE_STRING => {
            value.content.is_ascii().then(|| latin(value.content))
        }
        // Envoy takes it for Latin-1.
        T61_STRING => Some(latin(value.content)),
        UNIVERSAL_STRING => {
            let units = value.content.chunks(4);
            let characters =
                units.map(|unit| char::from_u32(u32::from_be_bytes(unit.try_into().ok()?)));
            characters.collect()
        }
        BMP_STRING => {
            let units = value.content.chunks_exact(2);
            let is_whole = units.remainder().is_empty();
            let units = units.filter_map(|unit| Some(u16::from_be_bytes(unit.try_into().ok()?)));
            let text: Result<String, _> = char::decode_utf16(units).collect();
            text.ok().filter(|_| is_whole)
        }
        _ => None,
    }
}

impl PartialEq for Attribute {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
            && match (&self.text, &other.text) {
                (Some(text), Some(other)) => text == other,
                (None, None) => self.der == other.der,
                _ => false,
            }
    }
}

impl Attribute {
    /// Reads `CN=value`, escapes and all.
    fn parse(text: &str) -> Option<Self> {
        let (kind, value) = text.split_once('=')?;
        let kind = AttributeType::parse(kind.trim())?;
        let value = value.trim_start_matches(' ');
        if let Some(digits) = value.strip_prefix('#') {
            let der = hex::decode(digits.trim_end_matches(' '))?;
            let mut reader = Reader(&der);
            let element = reader.next().filter(|_| reader.is_empty())?;
            return Some(Self {
                kind,
                text: text_of(element),
                der: der.as_slice().into(),
            });
        }
        Some(Self {
            kind,
            text: Some(unescape(value)?),
            der: Box::default(),
        })
    }
}

/// The pieces between separators that are not escaped or quoted; `None` if an escape or a quote is open.
fn split(text: &str, separator: u8) -> Option<Vec<&str>> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut is_quoted = false;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next()?;
            }
            b'"' => is_quoted = !is_quoted,
            _ if byte == separator && !is_quoted => {
                pieces.push(text.get(start..at)?);
                start = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(text.get(start..)?);
    (!is_quoted).then_some(pieces)
}

/// Characters that RFC 4514 section 2.4 escapes by a backslash alone.
const SPECIAL: &[u8] = b" \"#+,;<=>\\";

/// A value without its escapes (RFC 4514 section 3), or without its quotes (RFC 2253 section 4).
fn unescape(text: &str) -> Option<String> {
    let inner = text
        .trim_end_matches(' ')
        .strip_prefix('"')
        .map(|rest| rest.strip_suffix('"'));
    let (text, is_quoted) = match inner {
        Some(inner) => (inner?, true),
        None => (text, false),
    };
    let mut value = Vec::new();
    // Spaces at the end are none of the value's, unless they are escaped.
    let mut kept = 0;
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                let next = bytes.next()?;
                if SPECIAL.contains(&next) {
                    value.push(next);
                } else {
                    value.push(hex::byte(next, bytes.next()?)?);
                }
                kept = value.len();
            }
            // What RFC 4514 asks to escape leaves a doubt about where the value ends.
            b'"' | b';' | b'<' | b'>' if !is_quoted => return None,
            b'"' => return None,
            b' ' if !is_quoted => value.push(byte),
            _ => {
                value.push(byte);
                kept = value.len();
            }
        }
    }
    value.truncate(kept);
    String::from_utf8(value).ok()
}

/// RFC 2253 as Envoy prints it: what is not ASCII is escaped byte by byte, and what has no name is shown as its
/// bytes.
impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, relative) in self.0.iter().rev().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            for (place, attribute) in relative.0.iter().rev().enumerate() {
                if place > 0 {
                    f.write_str("+")?;
                }
                attribute.fmt(f)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=", self.kind)?;
        match &self.text {
            Some(text) if self.kind.name().is_some() || self.der.is_empty() => escape(text, f),
            _ => {
                f.write_str("#")?;
                self.der.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
            }
        }
    }
}

fn escape(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let last = text.len().saturating_sub(1);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => write!(f, "\\{}", char::from(byte))?,
            b'#' if at == 0 => f.write_str("\\#")?,
            b' ' if at == 0 || at == last => f.write_str("\\ ")?,
            0x20..=0x7e => write!(f, "{}", char::from(byte))?,
            _ => write!(f, "\\{byte:02X}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reverse(text: &str) -> Option<DistinguishedName> {
        DistinguishedName::parse(text, NameOrder::Reverse)
    }

    #[test]
    fn names_are_equal_by_their_attributes() {
        let name = reverse("CN=client2.example.com,OU=a+UID=b,O=example").unwrap();
        for (text, order) in [
            (
                "cn = client2.example.com , uid=b + ou=a , O=example",
                NameOrder::Reverse,
            ),
            (
                "O = example, UID = b + OU = a, CN = client2.example.com",
                NameOrder::Certificate,
            ),
            (
                "2.5.4.3=client2.example.com,OID.2.5.4.11=a+UID=b,organizationName=\"example\"",
                NameOrder::Reverse,
            ),
            ("CN=client2\\.example.com", NameOrder::Reverse),
            (
                "CN=#0c13636c69656e74322e6578616d706c652e636f6d,OU=a+UID=b,O=\\65xample",
                NameOrder::Reverse,
            ),
        ] {
            let read = DistinguishedName::parse(text, order);
            assert_eq!(
                read.as_ref() == Some(&name),
                !text.contains("\\."),
                "{text}: {read:?}"
            );
        }
        assert_ne!(
            reverse("O=example,OU=a+UID=b,CN=client2.example.com"),
            Some(name)
        );
        assert_eq!(
            DistinguishedName::parse("/C=DE/O=a, b/CN=c", NameOrder::Certificate),
            reverse("CN=c,O=a\\, b,C=DE")
        );
    }

    #[test]
    fn names_are_printed_as_envoy_prints_them() {
        for (text, printed) in [
            (r"CN=a\,O\=evil,O=b", r"CN=a\,O=evil,O=b"),
            (r"CN=\#a\ ", r"CN=\#a\ "),
            (r#"CN="a+b",E=x@y"#, r"CN=a\+b,emailAddress=x@y"),
            ("CN=\u{e9}", r"CN=\C3\A9"),
            (r"CN=a\00b\0A", r"CN=a\00b\0A"),
            ("1.2.3.4.5=#0C03616263", "1.2.3.4.5=#0C03616263"),
            ("", ""),
        ] {
            let name = reverse(text).unwrap();
            assert_eq!(name.to_string(), printed);
            assert_eq!(reverse(printed), Some(name));
        }
    }

    #[test]
    fn what_leaves_a_doubt_is_no_name() {
        for text in [
            "a",
            "CN",
            "=a",
            "XX=a",
            "CN=a,",
            ",CN=a",
            "CN=a;O=b",
            "CN=a\"b",
            "CN=\"a",
            "CN=a\\",
            "CN=a\\x",
            "CN=a\\e9",
            "CN=#0c",
            "CN=#0c0361",
            "CN=#zz",
            "CN=a,,O=b",
            "CN=a<b",
            "3.1=a",
            "1.40=a",
            "2.05=a",
            "2=a",
        ] {
            assert_eq!(reverse(text), None, "{text}");
        }
    }

    /// What the DER of a name with one attribute is read as.
    fn of_one(oid: &[u8], tag: u8, value: &[u8]) -> Option<DistinguishedName> {
        let element = |tag: u8, content: &[u8]| {
            [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
        };
        let pair = [element(OBJECT_IDENTIFIER, oid), element(tag, value)].concat();
        let set = element(SET, &element(SEQUENCE, &pair));
        DistinguishedName::from_der(Reader(&set))
    }

    #[test]
    fn every_type_of_text_is_read() {
        let read = |tag: u8, content: &[u8]| of_one(&[0x55, 4, 3], tag, content);
        for (tag, content) in [
            (UTF8_STRING, &b"ab"[..]),
            (PRINTABLE_STRING, b"ab"),
            (T61_STRING, b"ab"),
            (BMP_STRING, b"\0a\0b"),
            (UNIVERSAL_STRING, b"\0\0\0a\0\0\0b"),
        ] {
            assert_eq!(read(tag, content), reverse("CN=ab"), "{tag}");
        }
        for (tag, content) in [
            (UTF8_STRING, &b"\xff"[..]),
            (PRINTABLE_STRING, b"\xff"),
            (BMP_STRING, b"\0a\0"),
            (UNIVERSAL_STRING, b"\0\0\0a\0"),
            (UNIVERSAL_STRING, b"\0\xff\0\0"),
        ] {
            assert_eq!(read(tag, content), None, "{tag}");
        }
        let number = read(2, &[5]).unwrap();
        assert!(number.is_in_doubt(&AttributeType::parse("CN").unwrap()));
    }

    #[test]
    fn a_type_has_one_form() {
        let read = |oid: &[u8]| of_one(oid, UTF8_STRING, b"a");
        for oid in [
            &[0x80, 4, 3][..],
            &[0x55, 0x80, 3],
            &[0x55, 0x84],
            &[],
            &[0xff; 10],
        ] {
            assert_eq!(read(oid), None, "{oid:?}");
        }
        let largest = [0x55, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        let name = read(&largest).unwrap();
        assert_eq!(reverse(&name.to_string()), Some(name));
    }

    #[test]
    fn an_attribute_counts_if_it_is_there_once() {
        let name = reverse("CN=a,CN=b,O=c").unwrap();
        let get = |kind| name.attribute(&AttributeType::parse(kind).unwrap());
        assert_eq!(get("O"), Some("c"));
        assert_eq!(get("CN"), None);
        assert_eq!(get("L"), None);
    }

    #[test]
    fn names_have_two_ends() {
        let name = reverse("CN=a,OU=b,O=c").unwrap();
        assert!(name.is_below(&reverse("OU=b,O=c").unwrap()));
        assert!(!name.is_below(&reverse("O=b,O=c").unwrap()));
        assert!(name.ends_with(&reverse("CN=a,OU=b").unwrap()));
        assert!(!name.ends_with(&reverse("CN=a,O=c").unwrap()));
    }
}
