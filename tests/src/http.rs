//! HTTP/1.1 messages as bytes, for the raw client and the small server.
//!
//! Scenarios send what a library would refuse to send (bytes that are not UTF-8, repeated or missing
//! `Host` lines), so head and body are read and written here, and nothing is normalised.

use std::io::{self, BufRead, Read};

/// Header lines in wire order, repeated names included.
pub type Headers = Vec<(Vec<u8>, Vec<u8>)>;

/// The start line and the header lines of a message.
#[derive(Debug)]
pub struct Head {
    /// The request line or the status line, without its line end.
    pub start: Vec<u8>,
    /// Values are trimmed of spaces and tabs.
    pub headers: Headers,
}

/// How the end of a body is found (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// `Content-Length`.
    Length(usize),
    /// Neither: nothing for a request, all until the peer closes for a response.
    Absent,
}

impl Head {
    /// Reads up to and including the empty line. `None`: the peer closed before it sent a byte.
    pub fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(start) = read_line(reader)? else {
            return Ok(None);
        };
        let mut headers = Vec::new();
        loop {
            let line = read_line(reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if line.is_empty() {
                return Ok(Some(Self { start, headers }));
            }
            let colon = line.iter().position(|&byte| byte == b':');
            let colon = colon.ok_or_else(|| malformed("a header line without a colon"))?;
            headers.push((
                line[..colon].to_vec(),
                line[colon + 1..].trim_ascii().to_vec(),
            ));
        }
    }

    /// The framing that the headers announce.
    pub fn framing(&self) -> io::Result<Framing> {
        if header(&self.headers, "transfer-encoding")
            .is_some_and(|value| value.eq_ignore_ascii_case(b"chunked"))
        {
            return Ok(Framing::Chunked);
        }
        let Some(length) = header(&self.headers, "content-length") else {
            return Ok(Framing::Absent);
        };
        let length = std::str::from_utf8(length)
            .ok()
            .and_then(|text| text.parse().ok());
        Ok(Framing::Length(length.ok_or_else(|| {
            malformed("a content-length that is no number")
        })?))
    }
}

/// Reads a body whose end is known by itself; `Framing::Absent` reads nothing.
pub fn read_body(reader: &mut impl BufRead, framing: Framing) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    match framing {
        Framing::Absent => {}
        Framing::Length(length) => {
            body.resize(length, 0);
            reader.read_exact(&mut body)?;
        }
        Framing::Chunked => loop {
            let line = read_line(reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let digits = line
                .split(|&byte| byte == b';')
                .next()
                .unwrap_or_default()
                .trim_ascii();
            let size = std::str::from_utf8(digits)
                .ok()
                .and_then(|text| u64::from_str_radix(text, 16).ok());
            let size =
                size.ok_or_else(|| malformed("a chunk size that is no hexadecimal number"))?;
            if reader.by_ref().take(size).read_to_end(&mut body)? as u64 != size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            // The line end after the data; for the last chunk the end of the (empty) trailer section.
            while read_line(reader)?.is_some_and(|line| size == 0 && !line.is_empty()) {}
            if size == 0 {
                break;
            }
        },
    }
    Ok(body)
}

/// The first value under a name, compared without regard to ASCII case.
pub fn header<'a>(headers: &'a Headers, name: &str) -> Option<&'a [u8]> {
    let found = headers
        .iter()
        .find(|(candidate, _)| candidate.eq_ignore_ascii_case(name.as_bytes()));
    found.map(|(_, value)| value.as_slice())
}

/// A line without its `\r\n` or `\n`. `None`: the peer closed before it sent a byte.
fn read_line(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    if reader.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(line))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &[u8], expected: &str) {
        let mut reader = message;
        let head = Head::read(&mut reader).unwrap().unwrap();
        let body = read_body(&mut reader, head.framing().unwrap()).unwrap();
        assert_eq!(String::from_utf8(body).unwrap(), expected);
        assert_eq!(reader, b"next", "the reader stands behind the body");
    }

    #[test]
    fn a_body_ends_where_its_headers_say() {
        check(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhinext", "hi");
        check(b"HTTP/1.1 200 OK\r\n\r\nnext", "");
        check(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\nnext", "abc0123456789");
    }

    #[test]
    fn a_message_cut_short_is_an_error() {
        for message in [
            "GET / HTTP/1.1\r\nHost: a",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        ] {
            assert!(Head::read(&mut message.as_bytes()).is_err(), "{message}");
        }
        assert!(
            Head::read(&mut &b""[..]).unwrap().is_none(),
            "a close before the message is no error"
        );
        assert!(read_body(&mut &b"5\r\nab"[..], Framing::Chunked).is_err());
        assert!(read_body(&mut &b"ab"[..], Framing::Length(3)).is_err());
    }
}
