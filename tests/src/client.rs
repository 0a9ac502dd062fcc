//! A raw HTTP/1.1 client over TCP or TLS.
//!
//! It writes a PROXY protocol v2 header, so that the proxy sees the addresses a scenario names, and
//! then exactly the bytes it was given. One exchange per connection.

pub mod crowd;
mod tls;

use std::io::{self, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::http::{Framing, Head, Headers, header, read_body};
pub use tls::Tls;

/// One request and how it travels.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The TCP peer. The PROXY header names it; from an address in 127.0.0.0/8 the connection really comes,
    /// which matters to whoever looks at the socket itself.
    pub source: SocketAddr,
    /// The address and port the client is said to have called.
    pub destination: SocketAddr,
    /// The method, written as it is.
    pub method: String,
    /// The `host` line, written first; `None` sends none.
    pub host: Option<Vec<u8>>,
    /// The request target: path and query, written as it is.
    pub path: Vec<u8>,
    /// Further header lines in wire order.
    pub headers: Headers,
    /// The body. When there is one, its `content-length` is added.
    pub body: Vec<u8>,
    /// `None` is plaintext.
    pub tls: Option<Tls>,
    /// The limit for the whole exchange.
    pub timeout: Duration,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code of the final response; informational ones are skipped.
    pub status: u16,
    /// Header lines in wire order.
    pub headers: Headers,
    /// The body, without chunk framing.
    pub body: Vec<u8>,
}

/// Why an exchange gave no response.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The peer closed or reset the connection before a response was complete.
    Closed,
    /// The time limit passed.
    Timeout,
    /// The TLS session failed, by the peer's alert or on this side.
    Tls(String),
    /// Anything else: a refused connection, a malformed response.
    Other(String),
}

impl Default for Exchange {
    /// `GET /` of `example.com` in plaintext, from 127.0.0.1 to 10.0.0.2:8080: a scenario's defaults.
    fn default() -> Self {
        Self {
            source: SocketAddr::from(([127, 0, 0, 1], 40_000)),
            destination: SocketAddr::from(([10, 0, 0, 2], 8080)),
            method: "GET".to_owned(),
            host: Some(b"example.com".to_vec()),
            path: b"/".to_vec(),
            headers: Headers::new(),
            body: Vec::new(),
            tls: None,
            timeout: Duration::from_secs(10),
        }
    }
}

impl Exchange {
    /// Connects to `address`, writes the PROXY header and the request, and reads the response.
    ///
    /// # Errors
    /// [`Error::Closed`] when the peer hangs up without an answer, as a proxy does for a connection
    /// that it refuses as a whole; the other cases as they are named.
    pub fn send(&self, address: SocketAddr) -> Result<Response, Error> {
        let proxy = proxy_header(self.source, self.destination)?;
        self.run(address, &proxy)
    }

    /// Like [`Exchange::send`], without the PROXY header: for peers that do not speak it.
    pub fn send_directly(&self, address: SocketAddr) -> Result<Response, Error> {
        self.run(address, &[])
    }

    fn run(&self, address: SocketAddr, preamble: &[u8]) -> Result<Response, Error> {
        let deadline = Instant::now() + self.timeout;
        let connection = connect(self.source.ip(), address, self.timeout)?;
        connection.set_nodelay(true)?;
        let mut connection = Bounded {
            connection,
            deadline,
        };
        connection.write_all(preamble)?;
        let head_only = self.method == "HEAD";
        match &self.tls {
            None => talk(&mut connection, &self.message(), head_only),
            Some(tls) => {
                let mut session = tls.session()?;
                talk(
                    &mut rustls::Stream::new(&mut session, &mut connection),
                    &self.message(),
                    head_only,
                )
            }
        }
    }

    pub(crate) fn message(&self) -> Vec<u8> {
        let mut message = self.method.clone().into_bytes();
        message.push(b' ');
        message.extend_from_slice(&self.path);
        message.extend_from_slice(b" HTTP/1.1\r\n");
        let mut line = |name: &[u8], value: &[u8]| {
            message.extend_from_slice(&[name, b": ", value, b"\r\n"].concat());
        };
        if let Some(host) = &self.host {
            line(b"host", host);
        }
        for (name, value) in &self.headers {
            line(name, value);
        }
        if !self.body.is_empty() {
            line(b"content-length", self.body.len().to_string().as_bytes());
        }
        message.extend_from_slice(b"\r\n");
        message.extend_from_slice(&self.body);
        message
    }
}

impl Response {
    /// The first value under a name, compared without regard to ASCII case.
    pub fn header(&self, name: &str) -> Option<String> {
        header(&self.headers, name).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// The body as text, bytes that are not UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection was closed without a response"),
            Self::Timeout => f.write_str("no response within the time limit"),
            Self::Tls(what) => write!(f, "tls: {what}"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}

impl From<rustls::Error> for Error {
    fn from(error: rustls::Error) -> Self {
        Self::Tls(error.to_string())
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock,
        };
        if let Some(tls) = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            return Self::Tls(tls.to_string());
        }
        match error.kind() {
            UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe => Self::Closed,
            TimedOut | WouldBlock => Self::Timeout,
            _ => Self::Other(error.to_string()),
        }
    }
}

/// Connects, from `source` if that is a loopback address.
pub(crate) fn connect(
    source: IpAddr,
    address: SocketAddr,
    timeout: Duration,
) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if source.is_loopback() && source.is_ipv4() == address.is_ipv4() {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.connect_timeout(&address.into(), timeout)?;
    Ok(socket.into())
}

/// A connection whose every read and write ends at one deadline.
struct Bounded {
    connection: TcpStream,
    deadline: Instant,
}

impl Bounded {
    fn remaining(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            Ok(Some(left))
        }
    }
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.connection.set_read_timeout(self.remaining()?)?;
        self.connection.read(buffer)
    }
}

impl Write for Bounded {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.connection.set_write_timeout(self.remaining()?)?;
        self.connection.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.connection.flush()
    }
}

fn talk(
    stream: &mut (impl Read + Write),
    message: &[u8],
    head_only: bool,
) -> Result<Response, Error> {
    // A proxy may answer and close before it has read all; the answer is what counts.
    let written = stream.write_all(message).and_then(|()| stream.flush());
    match read_response(&mut BufReader::new(stream), head_only) {
        Err(Error::Closed) => Err(written.err().map_or(Error::Closed, Error::from)),
        other => other,
    }
}

fn read_response(reader: &mut BufReader<impl Read>, head_only: bool) -> Result<Response, Error> {
    loop {
        let head = Head::read(reader)?.ok_or(Error::Closed)?;
        let status = status(&head.start)?;
        if status / 100 == 1 {
            continue;
        }
        let body = match head.framing()? {
            _ if head_only || status == 204 || status == 304 => Vec::new(),
            Framing::Absent => {
                let mut body = Vec::new();
                reader.read_to_end(&mut body)?;
                body
            }
            framing => read_body(reader, framing)?,
        };
        return Ok(Response {
            status,
            headers: head.headers,
            body,
        });
    }
}

fn status(line: &[u8]) -> Result<u16, Error> {
    let line = String::from_utf8_lossy(line);
    let code = line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|code| code.parse().ok());
    code.ok_or_else(|| Error::Other(format!("`{line}` is no status line")))
}

/// The PROXY protocol header, version 2 (section 2.2 of its specification): TCP over IPv4 or IPv6.
pub(crate) fn proxy_header(source: SocketAddr, destination: SocketAddr) -> Result<Vec<u8>, Error> {
    let (family, addresses) = match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => (0x11, [from.octets(), to.octets()].concat()),
        (IpAddr::V6(from), IpAddr::V6(to)) => (0x21, [from.octets(), to.octets()].concat()),
        _ => {
            return Err(Error::Other(format!(
                "{source} and {destination} are of different families"
            )));
        }
    };
    let ports = [
        source.port().to_be_bytes(),
        destination.port().to_be_bytes(),
    ]
    .concat();
    let length = if family == 0x11 { [0, 12] } else { [0, 36] };
    Ok([
        b"\r\n\r\n\0\r\nQUIT\n\x21",
        &[family][..],
        &length,
        &addresses,
        &ports,
    ]
    .concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_written_byte_by_byte() {
        let exchange = Exchange {
            method: "POST".to_owned(),
            path: b"/\xff?a".to_vec(),
            headers: vec![
                (b"X-A".to_vec(), b"\xfe".to_vec()),
                (b"x-a".to_vec(), Vec::new()),
            ],
            body: b"hi".to_vec(),
            ..Exchange::default()
        };
        let expected = b"POST /\xff?a HTTP/1.1\r\nhost: example.com\r\nX-A: \xfe\r\nx-a: \r\ncontent-length: 2\r\n\r\nhi";
        assert_eq!(exchange.message(), expected);
        let bare = Exchange {
            host: None,
            ..Exchange::default()
        };
        assert_eq!(bare.message(), b"GET / HTTP/1.1\r\n\r\n");
    }

    #[test]
    fn a_proxy_header_holds_both_addresses() {
        let v4 = proxy_header(
            "1.2.3.4:258".parse().unwrap(),
            "5.6.7.8:80".parse().unwrap(),
        )
        .unwrap();
        assert_eq!(
            v4,
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x01\x02\x00\x50"
        );
        let v6 = proxy_header("[::1]:1".parse().unwrap(), "[::2]:2".parse().unwrap()).unwrap();
        assert_eq!(v6.len(), 16 + 36);
        assert!(proxy_header("1.2.3.4:1".parse().unwrap(), "[::2]:2".parse().unwrap()).is_err());
    }

    #[track_caller]
    fn check(bytes: &[u8], head_only: bool, status: u16, body: &str) {
        let response = read_response(&mut BufReader::new(bytes), head_only).unwrap();
        assert_eq!((response.status, response.text().as_str()), (status, body));
    }

    #[test]
    fn a_response_is_read_by_its_framing() {
        check(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi...",
            false,
            200,
            "hi",
        );
        check(
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n",
            true,
            200,
            "",
        );
        check(
            b"HTTP/1.0 404 \r\n\r\nuntil the end",
            false,
            404,
            "until the end",
        );
        check(b"HTTP/1.1 204 No Content\r\n\r\n", false, 204, "");
        assert!(matches!(
            read_response(&mut BufReader::new(&b""[..]), false),
            Err(Error::Closed)
        ));
        assert!(matches!(
            read_response(&mut BufReader::new(&b"HTTP/1.1 200"[..]), false),
            Err(Error::Closed)
        ));
        assert!(matches!(
            read_response(&mut BufReader::new(&b"SSH-2.0\r\n\r\n"[..]), false),
            Err(Error::Other(_))
        ));
    }
}
