//! Headers that a client cannot be believed, for whoever looks at a request before the policies do.

use crate::certificate::forwarded;
use crate::policy_set::PolicySet;

/// A header that a set of policies does not take from anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservedHeader {
    /// Lower case.
    pub name: String,
    /// What of it is removed.
    pub removed: Removed,
}

/// Which spellings of a header are removed. `_` and `-` are one character to some servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// The name as it is: a token rule writes it.
    Name,
    /// Every spelling: this proxy alone says something of a certificate in it.
    AllSpellings,
    /// Every spelling but the name itself, by which trusted senders tell of a certificate.
    OtherSpellings,
}

impl PolicySet {
    /// The headers, by name.
    pub fn reserved_headers(&self) -> Vec<ReservedHeader> {
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let certificates = self.certificates.as_ref();
        let written = certificates.map(|rules| &*rules.written);
        let sources = certificates.map(|rules| &*rules.rules).unwrap_or_default();
        let sources = sources.iter().flat_map(|rule| rule.source.headers());
        let kinds = [
            (
                Removed::AllSpellings,
                written
                    .unwrap_or_default()
                    .iter()
                    .map(|name| text(name))
                    .collect(),
            ),
            (
                Removed::Name,
                self.output_headers.iter().map(|name| text(name)).collect(),
            ),
            (
                Removed::OtherSpellings,
                sources.map(text).collect::<Vec<String>>(),
            ),
        ];
        let mut headers: Vec<ReservedHeader> = Vec::new();
        for (removed, names) in kinds {
            for name in names {
                if !headers.iter().any(|known| known.name == name) {
                    headers.push(ReservedHeader { name, removed });
                }
            }
        }
        crate::sorted::sorted(headers, |left, right| left.name.cmp(&right.name))
    }
}

impl ReservedHeader {
    /// A regular expression in RE2's syntax which the whole of a removed name matches, and no other; `None` if there
    /// are no other spellings.
    pub fn pattern(&self) -> Option<String> {
        let characters: Vec<char> = self.name.chars().collect();
        let either =
            |rest: &[char]| -> String { rest.iter().map(|one| any_spelling(*one)).collect() };
        match self.removed {
            Removed::Name => Some(characters.iter().map(|one| escaped(*one)).collect()),
            Removed::AllSpellings => Some(either(&characters)),
            Removed::OtherSpellings => {
                // RE2 has no look-ahead: one alternative for each place where a spelling may first differ.
                let mut alternatives = Vec::new();
                let mut before = String::new();
                for (place, one) in characters.iter().enumerate() {
                    let other = match one {
                        '-' => Some('_'),
                        '_' => Some('-'),
                        _ => None,
                    };
                    let rest = characters.get(place + 1..).unwrap_or_default();
                    if let Some(other) = other {
                        alternatives.push(format!("{before}{other}{}", either(rest)));
                    }
                    before += &escaped(*one);
                }
                (!alternatives.is_empty()).then(|| alternatives.join("|"))
            }
        }
    }

    /// Whether it is Envoy's own header about the client's certificate.
    pub fn is_forwarded_client_cert(&self) -> bool {
        self.name.as_bytes() == forwarded::NAME
    }
}

fn any_spelling(character: char) -> String {
    match character {
        '-' | '_' => "[-_]".into(),
        other => escaped(other),
    }
}

fn escaped(character: char) -> String {
    if character.is_ascii_alphanumeric() || "-_".contains(character) {
        character.into()
    } else {
        format!("\\{character}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_of_the_removed_spellings() {
        let check = |name: &str, removed, expected: Option<&str>| {
            let header = ReservedHeader {
                name: name.into(),
                removed,
            };
            assert_eq!(header.pattern().as_deref(), expected, "{name}");
        };
        check("x-user", Removed::Name, Some("x-user"));
        check("x.user+", Removed::Name, Some("x\\.user\\+"));
        check("x-a_b", Removed::AllSpellings, Some("x[-_]a[-_]b"));
        check("x-a_b", Removed::OtherSpellings, Some("x_a[-_]b|x-a-b"));
        check("subject", Removed::OtherSpellings, None);
    }
}
