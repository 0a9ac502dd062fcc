use std::fmt;

/// Istio's string values: `*`, `*suffix`, `prefix*` or an exact text; a `*` elsewhere stands for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StringMatcher {
    /// `*` on an attribute that is present, even if it is empty (hosts, methods, headers).
    Present,
    /// `*` on a text (paths, claims, names): Istio makes it the expression `.+`, so at least one byte and no
    /// line feed.
    NonEmpty,
    /// The whole text.
    Exact(Box<[u8]>),
    /// The start of the text; the bare prefix matches too.
    Prefix(Box<[u8]>),
    /// The end of the text; the bare suffix matches too.
    Suffix(Box<[u8]>),
}

/// Whether letters of either case are the same letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// They differ.
    Sensitive,
    /// ASCII letters are the same: host names (RFC 4343).
    AsciiInsensitive,
}

impl StringMatcher {
    /// Reads a policy's value. `lone_star` is what `*` alone means for the attribute.
    pub fn new(value: &str, lone_star: Self) -> Self {
        if value == "*" {
            lone_star
        } else if let Some(suffix) = value.strip_prefix('*') {
            Self::Suffix(suffix.as_bytes().into())
        } else if let Some(prefix) = value.strip_suffix('*') {
            Self::Prefix(prefix.as_bytes().into())
        } else {
            Self::Exact(value.as_bytes().into())
        }
    }

    /// Whether a present `text` matches.
    #[inline]
    pub fn matches(&self, text: &[u8], case: Case) -> bool {
        let same = |left: &[u8], right: &[u8]| match case {
            Case::Sensitive => left == right,
            Case::AsciiInsensitive => left.eq_ignore_ascii_case(right),
        };
        match self {
            Self::Present => true,
            Self::NonEmpty => !text.is_empty() && !text.contains(&b'\n'),
            Self::Exact(exact) => same(text, exact),
            Self::Prefix(prefix) => text
                .get(..prefix.len())
                .is_some_and(|start| same(start, prefix)),
            Self::Suffix(suffix) => text
                .len()
                .checked_sub(suffix.len())
                .and_then(|start| text.get(start..))
                .is_some_and(|end| same(end, suffix)),
        }
    }
}

impl fmt::Display for StringMatcher {
    /// The value as the policy writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy;
        match self {
            Self::Present | Self::NonEmpty => f.write_str("*"),
            Self::Exact(exact) => f.write_str(&text(exact)),
            Self::Prefix(prefix) => write!(f, "{}*", text(prefix)),
            Self::Suffix(suffix) => write!(f, "*{}", text(suffix)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, text: &str, expected: bool) {
        let matcher = StringMatcher::new(value, StringMatcher::NonEmpty);
        assert_eq!(
            matcher.matches(text.as_bytes(), Case::Sensitive),
            expected,
            "{value} on {text}"
        );
        assert_eq!(matcher.to_string(), value);
    }

    #[test]
    fn star_is_a_wildcard_only_at_one_end() {
        check("abc", "abc", true);
        check("abc", "abcd", false);
        check("abc*", "abc", true);
        check("abc*", "ab", false);
        check("*abc", "xabc", true);
        check("*abc", "bc", false);
        check("*", "x", true);
        check("*", "", false);
        check("*", "a\nb", false);
        check("*foo*", "xfoox", false);
        check("*foo*", "xfoo*", true);
        check("/a/*/b", "/a/x/b", false);
        check("/a/*/b", "/a/*/b", true);
        check("abc", "ABC", false);
    }

    #[test]
    fn case_is_folded_for_ascii_only() {
        let matcher = StringMatcher::new("*.Example.com", StringMatcher::Present);
        assert!(matcher.matches(b"A.eXAMPLE.COM", Case::AsciiInsensitive));
        let matcher = StringMatcher::new("é", StringMatcher::Present);
        assert!(!matcher.matches("É".as_bytes(), Case::AsciiInsensitive));
    }
}
