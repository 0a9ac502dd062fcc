//! Finding tokens in a request, and taking them out of its query.

use crate::policy_set::TokenPlace;
use crate::request::View;

impl TokenPlace {
    /// The tokens at this place: each line of a header, the first parameter or cookie of the name.
    pub(crate) fn tokens(&self, view: View<'_>) -> Vec<Vec<u8>> {
        match self {
            Self::Header { name, prefix } => view
                .values(name)
                .filter_map(|value| after_prefix(value, prefix))
                .map(<[u8]>::to_vec)
                .collect(),
            Self::Param(name) => parameters(view.path())
                .find(|(key, _)| is_named(key, name))
                .map(|(_, value)| percent_decode(value).collect())
                .into_iter()
                .collect(),
            Self::Cookie(name) => view
                .values(b"cookie")
                .flat_map(cookies)
                .find(|(key, _)| *key == name.as_ref())
                .map(|(_, value)| value.to_vec())
                .into_iter()
                .collect(),
        }
    }
}

/// What follows `prefix`, wherever it stands in `value`, from the first character that a token can have. If
/// there is none, the whole value, which then fails as a token.
fn after_prefix<'v>(value: &'v [u8], prefix: &[u8]) -> Option<&'v [u8]> {
    if prefix.is_empty() {
        return Some(value);
    }
    let at = value
        .windows(prefix.len())
        .position(|window| window == prefix)?;
    let rest = value.get(at + prefix.len()..)?;
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let start = rest.iter().position(is_token);
    Some(start.and_then(|start| rest.get(start..)).unwrap_or(value))
}

fn split_query(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    match path.iter().position(|byte| *byte == b'?') {
        Some(mark) => (path.get(..mark).unwrap_or_default(), path.get(mark + 1..)),
        None => (path, None),
    }
}

fn parameters(path: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let query = split_query(path).1.unwrap_or_default();
    query
        .split(|byte| *byte == b'&')
        .filter(|piece| !piece.is_empty())
        .map(split_pair)
}

fn split_pair(piece: &[u8]) -> (&[u8], &[u8]) {
    match piece.iter().position(|byte| *byte == b'=') {
        Some(equals) => (
            piece.get(..equals).unwrap_or_default(),
            piece.get(equals + 1..).unwrap_or_default(),
        ),
        None => (piece, b""),
    }
}

/// The path without the parameter. The other parameters keep their bytes and their order: Envoy decodes and
/// re-sorts them, which turns `%26` into a separator.
pub(super) fn without_parameter(path: &[u8], name: &[u8]) -> Vec<u8> {
    let (head, query) = split_query(path);
    let mut rest = head.to_vec();
    let kept = query
        .unwrap_or_default()
        .split(|byte| *byte == b'&')
        .filter(|piece| !piece.is_empty() && !is_named(split_pair(piece).0, name));
    for (position, piece) in kept.enumerate() {
        rest.push(if position == 0 { b'?' } else { b'&' });
        rest.extend_from_slice(piece);
    }
    rest
}

/// `%XX` by its byte; anything else as it is, `+` too.
fn percent_decode(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (first, tail) = rest.split_first()?;
        let decoded = match rest {
            [b'%', high, low, ..] => hex(*high).zip(hex(*low)),
            _ => None,
        };
        rest = match decoded {
            Some(_) => tail.get(2..).unwrap_or_default(),
            None => tail,
        };
        Some(decoded.map_or(*first, |(high, low)| high << 4 | low))
    })
}

fn is_named(parameter: &[u8], name: &[u8]) -> bool {
    percent_decode(parameter).eq(name.iter().copied())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// The pairs of one `cookie` line, surrounding quotes removed.
fn cookies(line: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    line.split(|byte| *byte == b';').filter_map(|crumb| {
        let start = crumb.iter().position(|byte| *byte != b' ')?;
        let crumb = crumb.get(start..)?;
        let equals = crumb.iter().position(|byte| *byte == b'=')?;
        let value = match crumb.get(equals + 1..)? {
            [b'"', inner @ .., b'"'] => inner,
            value => value,
        };
        Some((crumb.get(..equals)?, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_may_stand_anywhere() {
        let check = |value: &str, token: Option<&str>| {
            assert_eq!(
                after_prefix(value.as_bytes(), b"Bearer "),
                token.map(str::as_bytes),
                "{value}"
            );
        };
        check("Bearer T", Some("T"));
        check("Bearer ,,, T", Some("T"));
        check("xBearer T", Some("T"));
        check("Basic abc, Bearer T", Some("T"));
        check("Bearer T, Basic x", Some("T, Basic x"));
        check("bearer T", None);
        check("Bearer", None);
        check("Bearer !", Some("Bearer !"));
    }

    #[test]
    fn the_other_parameters_keep_their_bytes() {
        let check = |path: &str, expected: &str| {
            let rest = without_parameter(path.as_bytes(), b"t");
            assert_eq!(String::from_utf8_lossy(&rest), expected);
        };
        check("/a?t=1", "/a");
        check("/a?t", "/a");
        check("/a?x=1&t=2&y=%26admin&t=3", "/a?x=1&y=%26admin");
        check("/a?%74=1&T=2", "/a?T=2");
        check("/a", "/a");
        check("/a?t=1&", "/a");
    }

    #[test]
    fn cookies_are_split_as_envoy_splits_them() {
        let pairs: Vec<_> = cookies(b"a=1; b=\"2\";c = 3; d= 4;e").collect();
        let expected: [(&[u8], &[u8]); 4] =
            [(b"a", b"1"), (b"b", b"2"), (b"c ", b" 3"), (b"d", b" 4")];
        assert_eq!(pairs, expected);
    }

    #[test]
    fn percent_decoding_leaves_the_rest() {
        let decoded: Vec<u8> = percent_decode(b"a%2fb%zz%4+%").collect();
        assert_eq!(decoded, b"a/b%zz%4+%");
    }
}
