use std::fmt;

use super::string::{Case, StringMatcher};

/// A request principal `iss/sub`. Istio splits the policy's value at its **last** slash and matches the
/// token's `iss` and `sub` apart; a token that lacks either never matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestPrincipalMatcher {
    issuer: StringMatcher,
    subject: StringMatcher,
    text: Box<str>,
}

impl RequestPrincipalMatcher {
    /// Reads a policy's value.
    pub fn new(value: &str) -> Self {
        let any = || StringMatcher::NonEmpty;
        let exact = |text: &str| StringMatcher::Exact(text.as_bytes().into());
        let (issuer, subject) = if value == "*" {
            (any(), any())
        } else if let Some(rest) = value.strip_prefix('*') {
            match rest.rsplit_once('/') {
                None => (any(), StringMatcher::Suffix(rest.as_bytes().into())),
                Some(("", subject)) => (any(), exact(subject)),
                Some((issuer, subject)) => (
                    StringMatcher::Suffix(issuer.as_bytes().into()),
                    exact(subject),
                ),
            }
        } else if let Some(rest) = value.strip_suffix('*') {
            match rest.rsplit_once('/') {
                None => (StringMatcher::Prefix(rest.as_bytes().into()), any()),
                Some((issuer, "")) => (exact(issuer), any()),
                Some((issuer, subject)) => (
                    exact(issuer),
                    StringMatcher::Prefix(subject.as_bytes().into()),
                ),
            }
        } else {
            let (issuer, subject) = value.rsplit_once('/').unwrap_or((value, ""));
            (exact(issuer), exact(subject))
        };
        Self {
            issuer,
            subject,
            text: value.into(),
        }
    }

    /// Whether a verified token with this `iss` and `sub` matches.
    pub fn matches(&self, issuer: &str, subject: &str) -> bool {
        self.issuer.matches(issuer.as_bytes(), Case::Sensitive)
            && self.subject.matches(subject.as_bytes(), Case::Sensitive)
    }
}

impl fmt::Display for RequestPrincipalMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, issuer: &str, subject: &str, expected: bool) {
        let matcher = RequestPrincipalMatcher::new(value);
        assert_eq!(
            matcher.matches(issuer, subject),
            expected,
            "{value} on {issuer} / {subject}"
        );
    }

    #[test]
    fn splits_at_the_last_slash() {
        check("*", "i", "s", true);
        check("*", "i", "", false);
        check("*x", "i", "sx", true);
        check("*x", "ix", "s", false);
        check("*/s", "i", "s", true);
        check("*/s", "i", "xs", false);
        check("*i/s", "xi", "s", true);
        check("*i/s", "xi", "xs", false);
        check("x*", "xi", "s", true);
        check("i/*", "i", "s", true);
        check("i/*", "ii", "s", false);
        check("i/s*", "i", "sub", true);
        check("i/s", "i", "s", true);
        check("i", "i", "", true);
        check("i", "i", "s", false);
        check("a/b/c", "a/b", "c", true);
        check("a/b/c", "a", "b/c", false);
        check("https://idp/*", "https://idp", "s", true);
        check("https://idp.*", "https://idp.example", "s", false);
    }
}
