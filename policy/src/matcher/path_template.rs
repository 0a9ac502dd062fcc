use std::fmt;

/// A path with `{*}` (one segment, at least one character) and `{**}` (any number of characters and `/`),
/// as Envoy's URI template matcher reads it: a full match on the path without its query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    parts: Box<[Part]>,
    text: Box<str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// These very bytes, slashes included.
    Literal(Box<[u8]>),
    /// `{*}`
    Segment,
    /// `{**}`
    Rest,
}

/// Why a text is not a template that Envoy loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateError {
    /// It does not start with `/`.
    NotAbsolute,
    /// Two slashes follow each other.
    EmptySegment,
    /// A segment mixes braces with other characters.
    MixedSegment,
    /// A literal segment has a character that a path segment cannot hold, or a `*`.
    InvalidCharacter,
    /// `{*}` or `{**}` follows `{**}`.
    AfterRest,
}

impl TemplateError {
    /// What is wrong, in words.
    pub fn message(self) -> &'static str {
        match self {
            Self::NotAbsolute => "a path template starts with `/`",
            Self::EmptySegment => "a path template has no empty segment",
            Self::MixedSegment => "a segment of a path template is `{*}`, `{**}` or free of braces",
            Self::InvalidCharacter => {
                "a literal segment of a path template holds a character that is not allowed there"
            }
            Self::AfterRest => "no `{*}` or `{**}` may follow `{**}`",
        }
    }
}

impl PathTemplate {
    /// Whether Istio reads `value` as a template rather than as a string.
    pub fn is_template(value: &str) -> bool {
        value.contains("{*}") || value.contains("{**}")
    }

    /// Reads a template. Stricter than Istio's webhook in one point: it admits `foo/{*}` and `//{*}`, on
    /// which Envoy 1.40 aborts.
    ///
    /// # Errors
    /// The first rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let inner = text.strip_prefix('/').ok_or(TemplateError::NotAbsolute)?;
        let mut parts: Vec<Part> = Vec::new();
        let mut literal = vec![b'/'];
        let mut has_rest = false;
        let segments = inner.split('/').count();
        for (position, segment) in inner.split('/').enumerate() {
            if position > 0 {
                literal.push(b'/');
            }
            let variable = match segment {
                "{*}" => Some(Part::Segment),
                "{**}" => Some(Part::Rest),
                _ => None,
            };
            if let Some(part) = variable {
                if has_rest {
                    return Err(TemplateError::AfterRest);
                }
                has_rest = part == Part::Rest;
                parts.push(Part::Literal(std::mem::take(&mut literal).into()));
                parts.push(part);
            } else if segment.contains(['{', '}']) {
                return Err(TemplateError::MixedSegment);
            } else if segment.is_empty() && position + 1 < segments {
                return Err(TemplateError::EmptySegment);
            } else if !segment
                .bytes()
                .all(|byte| is_path_character(byte) && byte != b'*')
            {
                return Err(TemplateError::InvalidCharacter);
            } else {
                literal.extend_from_slice(segment.as_bytes());
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into()));
        }
        Ok(Self {
            parts: parts.into(),
            text: text.into(),
        })
    }

    /// Whether the whole of `path` (without query) fits.
    pub fn matches(&self, path: &[u8]) -> bool {
        fits(&self.parts, path)
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `{*}` is greedy and stops at the first `/`; only `{**}` leaves a choice, and there is at most one, with
/// literals behind it. So no backtracking: what follows `{**}` is matched from the end.
fn fits(parts: &[Part], path: &[u8]) -> bool {
    match parts {
        [] => path.is_empty(),
        [Part::Literal(literal), rest @ ..] => path
            .strip_prefix(literal.as_ref())
            .is_some_and(|path| fits(rest, path)),
        [Part::Segment, rest @ ..] => {
            let length = path
                .iter()
                .position(|byte| *byte == b'/')
                .unwrap_or(path.len());
            let (segment, path) = path.split_at(length);
            !segment.is_empty()
                && segment.iter().copied().all(is_path_character)
                && fits(rest, path)
        }
        [Part::Rest] => path
            .iter()
            .copied()
            .all(|byte| byte == b'/' || is_path_character(byte)),
        [Part::Rest, Part::Literal(end), ..] => path
            .strip_suffix(end.as_ref())
            .is_some_and(|path| fits(&[Part::Rest], path)),
        [Part::Rest, ..] => false,
    }
}

/// RFC 3986 `pchar` as Envoy lists it, `*` included.
fn is_path_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:@".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, path: &str, expected: bool) {
        let template = PathTemplate::parse(template).unwrap();
        assert_eq!(
            template.matches(path.as_bytes()),
            expected,
            "{template} on {path}"
        );
    }

    #[test]
    fn one_segment() {
        check("/foo/{*}", "/foo/bar", true);
        check("/foo/{*}", "/foo/", false);
        check("/foo/{*}", "/foo", false);
        check("/foo/{*}", "/foo/bar/", false);
        check("/foo/{*}", "/foo/a%2Fb", true);
        check("/foo/{*}", "/foo/b[r", false);
        check("/foo/{*}", "/foo/b\u{e9}r", false);
        check("/{*}", "/", false);
        check("/{*}", "/a", true);
        check("/{*}/x/{*}", "/a/x/b", true);
        check("/{*}/x/{*}", "/a/y/b", false);
    }

    #[test]
    fn any_number_of_segments() {
        check("/foo/{**}", "/foo/", true);
        check("/foo/{**}", "/foo", false);
        check("/foo/{**}", "/foo/a/b/", true);
        check("/store/{**}/cart", "/store/cart", false);
        check("/store/{**}/cart", "/store//cart", true);
        check("/store/{**}/cart", "/store/a/b/cart", true);
        check("/foo/{**}/", "/foo/x/", true);
        check("/foo/{**}/", "/foo//", true);
        check("/foo/{**}/", "/foo/", false);
        check("/foo/{**}/", "/foo/bar/baz.txt", false);
        check("/{*}/{**}/x", "/a/b/c/x", true);
        check("/a/{**}/b", "/a/b", false);
    }

    #[test]
    fn refuses_what_envoy_cannot_load() {
        for (text, error) in [
            ("foo/{*}", TemplateError::NotAbsolute),
            ("//{*}", TemplateError::EmptySegment),
            ("/a//{*}", TemplateError::EmptySegment),
            ("/a{*}", TemplateError::MixedSegment),
            ("/{a}/{*}", TemplateError::MixedSegment),
            ("/*/{*}", TemplateError::InvalidCharacter),
            ("/a b/{*}", TemplateError::InvalidCharacter),
            ("/{**}/{*}", TemplateError::AfterRest),
            ("/{**}/{**}", TemplateError::AfterRest),
        ] {
            assert_eq!(PathTemplate::parse(text), Err(error), "{text}");
        }
        assert!(PathTemplate::parse("/{*}/{**}/").is_ok());
    }
}
