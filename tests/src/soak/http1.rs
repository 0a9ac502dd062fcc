//! Requests over HTTP/1.1 connections that stay open, one at a time on each: Envoy writes a second answer only when
//! the first is acknowledged, which takes a client 40 ms that has nothing to send.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::answer::Got;
use super::load::{CONNECTIONS, Load};
use crate::client::{connect, proxy_header};

/// How long an answer may take: longer than a request waits for keys.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A connection and what was read ahead.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Where in the buffer the next answer begins.
    start: usize,
}

impl Connection {
    /// Opens one of [`CONNECTIONS`].
    pub(super) fn open(address: SocketAddr, which: usize) -> io::Result<Self> {
        Ok(Self {
            stream: open(address, which)?,
            buffer: Vec::new(),
            start: 0,
        })
    }

    /// Sends a request.
    ///
    /// # Errors
    /// The connection was closed.
    pub(super) fn send(&mut self, load: &Load) -> io::Result<()> {
        self.stream.write_all(&load.bytes)
    }

    /// Takes the answer to the request that was sent last. Returns whether the proxy closes the connection after it.
    ///
    /// # Errors
    /// No answer in time, or none that is HTTP.
    pub(super) fn receive(&mut self, load: &Load, take: impl FnOnce(&Got<'_>)) -> io::Result<bool> {
        let head = self.head()?;
        let has_body = !load.is_head() && !matches!(head.status, 204 | 304);
        if has_body && head.is_chunked {
            return Err(io::Error::other("an answer without a length"));
        }
        let length = if has_body { head.length } else { 0 };
        self.fill(head.end + length)?;
        let text = &self.buffer[self.start..];
        let got = Got {
            status: head.status,
            details: Some(&text[head.details.0..head.details.1]),
            body: &text[head.end..head.end + length],
        };
        take(&got);
        self.start += head.end + length;
        Ok(head.closes)
    }

    /// Reads until so many bytes of the answer are there.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        while self.buffer.len() - self.start < wanted {
            if self.start > 0 {
                self.buffer.drain(..self.start);
                self.start = 0;
            }
            let end = self.buffer.len();
            self.buffer.resize(end + 64 * 1024, 0);
            let read = self.stream.read(&mut self.buffer[end..]);
            self.buffer.truncate(end + *read.as_ref().unwrap_or(&0));
            if read? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    fn head(&mut self) -> io::Result<Head> {
        let mut seen: usize = 0;
        loop {
            let text = &self.buffer[self.start..];
            let from = seen.saturating_sub(3);
            if let Some(at) = text[from..].windows(4).position(|four| four == b"\r\n\r\n") {
                let end = from + at + 4;
                let head = Head::read(&text[..end]).ok_or_else(|| {
                    let text = String::from_utf8_lossy(&text[..end]);
                    io::Error::other(format!("no head of an answer: {text:?}"))
                })?;
                if head.status / 100 != 1 {
                    return Ok(head);
                }
                self.start += end;
                seen = 0;
                continue;
            }
            seen = text.len();
            self.fill(seen + 1)?;
        }
    }
}

/// Opens a connection as one of [`CONNECTIONS`], its PROXY header written.
pub(super) fn open(address: SocketAddr, which: usize) -> io::Result<TcpStream> {
    let (source, destination, port) = CONNECTIONS[which];
    let source: SocketAddr = SocketAddr::new(source.parse().map_err(io::Error::other)?, 40_000);
    let destination = SocketAddr::new(destination.parse().map_err(io::Error::other)?, port);
    let mut stream = connect(source.ip(), address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let header = proxy_header(source, destination).map_err(io::Error::other)?;
    stream.write_all(&header)?;
    Ok(stream)
}

/// What matters of a response's head.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Bytes, with the empty line.
    end: usize,
    length: usize,
    /// Where the value of `x-test-details` stands.
    details: (usize, usize),
    closes: bool,
    is_chunked: bool,
}

impl Head {
    fn read(text: &[u8]) -> Option<Self> {
        let mut head = Self {
            status: std::str::from_utf8(text.strip_prefix(b"HTTP/1.1 ")?.get(..3)?)
                .ok()?
                .parse()
                .ok()?,
            end: text.len(),
            length: 0,
            details: (0, 0),
            closes: false,
            is_chunked: false,
        };
        let mut at = 0;
        while let Some(length) = text[at..].iter().position(|byte| *byte == b'\n') {
            let line = text[at..at + length].trim_ascii_end();
            // Envoy writes names in lower case.
            if let Some(value) = line.strip_prefix(b"content-length: ") {
                head.length = std::str::from_utf8(value).ok()?.parse().ok()?;
            } else if let Some(value) = line.strip_prefix(b"x-test-details: ") {
                let end = at + line.len();
                head.details = (end - value.len(), end);
            } else if line == b"connection: close" {
                head.closes = true;
            } else if line == b"transfer-encoding: chunked" {
                head.is_chunked = true;
            }
            at += length + 1;
        }
        Some(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read() {
        let text = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 19\r\nx-test-details: a[b]\r\nconnection: close\r\n\r\n";
        let head = Head::read(text).unwrap();
        assert_eq!(
            (head.status, head.length, head.end, head.closes),
            (403, 19, text.len(), true)
        );
        assert_eq!(&text[head.details.0..head.details.1], b"a[b]");
        let chunked = Head::read(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        assert!(chunked.unwrap().is_chunked);
        assert_eq!(Head::read(b"SSH-2.0\r\n\r\n"), None);
    }
}
