//! Paths, in Istio's four modes.

use super::{PathNormalization, Refused};

/// The path as filters see it.
///
/// # Errors
/// When Envoy refuses it: a byte outside ASCII, and an escaped NUL unless paths stay as they are.
pub(super) fn normalize(raw: &[u8], mode: PathNormalization) -> Result<Vec<u8>, Refused> {
    let is_special = raw == b"*";
    let is_target = |byte: &u8| byte.is_ascii_graphic();
    if !raw.iter().all(is_target) || !(raw.starts_with(b"/") || is_special) {
        return Err(Refused::Path);
    }
    let without_fragment = raw.split(|byte| *byte == b'#').next().unwrap_or_default();
    let mark = without_fragment
        .iter()
        .position(|byte| *byte == b'?')
        .unwrap_or(without_fragment.len());
    let (path, query) = without_fragment.split_at(mark);
    if mode == PathNormalization::None || is_special {
        return Ok(without_fragment.to_vec());
    }
    let unescaped = match mode {
        PathNormalization::DecodeAndMergeSlashes => decode_slashes(path),
        PathNormalization::None | PathNormalization::Base | PathNormalization::MergeSlashes => {
            path.to_vec()
        }
    };
    let decoded = decode_unreserved(&without_dot_parameters(&unescaped))?;
    let mut normal = escape(&resolve_dots(&decoded));
    if mode != PathNormalization::Base {
        normal = merge_slashes(&normal);
    }
    normal.extend_from_slice(query);
    Ok(normal)
}

/// `%2F` and `%5C` as the characters that they stand for.
fn decode_slashes(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        let (byte, next) = match rest {
            [b'%', b'2', b'F' | b'f', after @ ..] => (b'/', after),
            [b'%', b'5', b'C' | b'c', after @ ..] => (b'\\', after),
            _ => (*first, tail),
        };
        decoded.push(byte);
        rest = next;
    }
    decoded
}

/// Runs of slashes as one. A path of nothing else keeps two: Envoy puts back the first and the last.
fn merge_slashes(path: &[u8]) -> Vec<u8> {
    if !path.windows(2).any(|pair| pair == b"//") {
        return path.to_vec();
    }
    let segments: Vec<&[u8]> = path
        .split(|byte| *byte == b'/')
        .filter(|segment| !segment.is_empty())
        .collect();
    let end: &[u8] = if path.ends_with(b"/") { b"/" } else { b"" };
    [b"/", segments.join(&b'/').as_slice(), end].concat()
}

/// `.` and `..` with parameters (`..;x`) are dot segments.
fn without_dot_parameters(path: &[u8]) -> Vec<u8> {
    let segments: Vec<&[u8]> = path
        .split(|byte| *byte == b'/')
        .map(|segment| {
            let end = segment
                .iter()
                .position(|byte| *byte == b';')
                .unwrap_or(segment.len());
            match segment.get(..end) {
                Some(dots @ (b"." | b"..")) => dots,
                _ => segment,
            }
        })
        .collect();
    segments.join(&b'/')
}

/// Backslashes become slashes, escapes of unreserved characters (RFC 3986 section 2.3) the character. A `%`
/// that starts no escape stays, unless what is decoded behind it would make it one: then it is escaped.
fn decode_unreserved(path: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut stray = None;
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => hex(*high, *low),
            _ => None,
        };
        match escaped {
            Some(0) => return Err(Refused::Path),
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                decoded.push(byte);
                rest = tail.get(2..).unwrap_or_default();
                if let Some(at) = stray
                    && starts_escape(&decoded, at, rest)
                {
                    decoded.splice(at..=at, *b"%25");
                    stray = None;
                }
            }
            _ => {
                if *first == b'%' && escaped.is_none() {
                    stray = Some(decoded.len());
                }
                decoded.push(if *first == b'\\' { b'/' } else { *first });
                rest = tail;
            }
        }
    }
    Ok(decoded)
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    digit(high)
        .zip(digit(low))
        .map(|(high, low)| high << 4 | low)
}

/// Whether the `%` at `at`, with what was just decoded and what comes next, reads as an escape.
fn starts_escape(decoded: &[u8], at: usize, next: &[u8]) -> bool {
    match (decoded.get(at + 1..), next) {
        (Some([high]), [low, ..]) | (Some([high, low]), _) => hex(*high, *low).is_some(),
        _ => false,
    }
}

/// RFC 3986 section 5.2.4; empty segments are kept.
fn resolve_dots(path: &[u8]) -> Vec<u8> {
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut ends_open = false;
    for segment in path.split(|byte| *byte == b'/').skip(1) {
        ends_open = matches!(segment, b"." | b"..");
        match segment {
            b"." => {}
            b".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    if ends_open {
        segments.push(b"");
    }
    [b"/".as_slice(), &segments.join(&b'/')].concat()
}

fn escape(path: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(path.len());
    for byte in path {
        if b"\"<>^`{|}".contains(byte) {
            escaped.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            escaped.push(*byte);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, expected: &str) {
        check_in(PathNormalization::Base, raw, expected);
    }

    #[track_caller]
    fn check_in(mode: PathNormalization, raw: &str, expected: &str) {
        let normal = normalize(raw.as_bytes(), mode).map(|path| String::from_utf8(path).unwrap());
        assert_eq!(normal.as_deref(), Ok(expected), "{raw}");
    }

    #[test]
    fn paths_follow_the_mode_base() {
        check("/app/../admin", "/admin");
        check("/app/%2E./admin", "/admin");
        check("/a/..;x/b", "/b");
        check("/a/%2e%2e;/b", "/a/..;/b");
        check("/app\\admin", "/app/admin");
        check("/a//b", "/a//b");
        check("/app/%2f", "/app/%2f");
        check("/a/%2f../b", "/a/%2f../b");
        check("/a%5c..%5cb", "/a%5c..%5cb");
        check(
            "/%5Capp%2f%5c%2F%2e%2e%2fadmin%5c\\abc",
            "/%5Capp%2f%5c%2F..%2fadmin%5c/abc",
        );
        check("/xyz%30..//abc", "/xyz0..//abc");
        check("/a%252e", "/a%252e");
        check("/Admin;a=b", "/Admin;a=b");
        check("/..", "/");
        check("/a/b/..", "/a/");
        check("/a/.", "/a/");
        check("/a{b}?c={d}/../e", "/a%7Bb%7D?c={d}/../e");
        check("/a#b", "/a");
        check("*", "*");
        check("/%%361", "/%2561");
        check("/%6%31", "/%2561");
        check("/x%%32fy", "/x%252fy");
        check("/%%30%30", "/%2500");
        check("/%%36x", "/%6x");
        check("/%6x%31", "/%6x1");
        check("/%", "/%");
    }

    #[test]
    fn the_other_modes_do_less_or_more() {
        for raw in ["/app/../admin", "/a//b", "/a\\b", "/a%00b", "/a%2f../b"] {
            check_in(PathNormalization::None, raw, raw);
        }
        let merge = |raw, expected| check_in(PathNormalization::MergeSlashes, raw, expected);
        merge("/a//b///c?d//e", "/a/b/c?d//e");
        merge("/xyz%30..//abc", "/xyz0../abc");
        merge("/app/%2f", "/app/%2f");
        merge("//", "//");
        merge("///", "//");
        merge("/", "/");
        let decode =
            |raw, expected| check_in(PathNormalization::DecodeAndMergeSlashes, raw, expected);
        decode("/app/%2f", "/app/");
        decode("/a/%2f../b", "/a/b");
        decode("/a%5c..%5cb", "/b");
        decode("/%5Capp%2f%5c%2F%2e%2e%2fadmin%5c\\abc", "/app/admin/abc");
        decode("/a%252e", "/a%252e");
    }

    #[test]
    fn some_paths_are_refused() {
        assert_eq!(
            normalize(b"/a%00b", PathNormalization::Base),
            Err(Refused::Path)
        );
        assert_eq!(
            normalize(b"/a\xffb", PathNormalization::None),
            Err(Refused::Path)
        );
    }
}
