//! Many requests at once: all are sent before the first answer is read.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::{Error, Exchange, connect, proxy_header, read_response};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends each request over an HTTP/1.1 connection of its own and reads the answers: status and body.
///
/// # Errors
/// A connection that cannot be made, or no answer in time: with how many answers there were.
pub fn over_http1(address: SocketAddr, requests: &[Exchange]) -> Result<Vec<(u16, String)>, Error> {
    let mut connections = Vec::with_capacity(requests.len());
    for request in requests {
        let mut connection = connect(request.source.ip(), address, PATIENCE)?;
        connection.set_nodelay(true)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        let proxy = proxy_header(request.source, request.destination)?;
        connection.write_all(&[proxy, request.message()].concat())?;
        connections.push(connection);
    }
    let mut answers = Vec::with_capacity(connections.len());
    for connection in connections {
        let response = read_response(&mut BufReader::new(connection), false)
            .map_err(|error| Error::Other(format!("{error} after {} answers", answers.len())))?;
        answers.push((response.status, response.text()));
    }
    Ok(answers)
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GO_AWAY: u8 = 7;
/// As many streams as a connection may have with most servers.
const STREAMS: usize = 100;

/// Sends the requests over HTTP/2 with prior knowledge (RFC 9113 section 3.3), a hundred on each connection, and reads
/// the answers' bodies. A body of a request is not sent.
///
/// # Errors
/// As [`over_http1`]; and a stream that is reset.
pub fn over_http2(address: SocketAddr, requests: &[Exchange]) -> Result<Vec<String>, Error> {
    let mut answers = Vec::new();
    let connections = start_http2(address, requests)?.into_iter();
    for (mut connection, some) in connections.zip(requests.chunks(STREAMS)) {
        answers.extend(read_bodies(&mut connection, some.len())?);
    }
    Ok(answers)
}

/// The connections of [`over_http2`] after the requests were sent.
///
/// # Errors
/// A connection that cannot be made.
pub fn start_http2(address: SocketAddr, requests: &[Exchange]) -> Result<Vec<TcpStream>, Error> {
    let mut connections = Vec::new();
    for some in requests.chunks(STREAMS) {
        let Some(first) = some.first() else { continue };
        let mut message = proxy_header(first.source, first.destination)?;
        message.extend_from_slice(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        message.extend(frame(SETTINGS, 0, 0, b""));
        for (request, stream) in some.iter().zip((1..).step_by(2)) {
            message.extend(frame(HEADERS, 0x5, stream, &field_block(request)));
        }
        let mut connection = connect(first.source.ip(), address, PATIENCE)?;
        connection.set_nodelay(true)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.write_all(&message)?;
        connections.push(connection);
    }
    Ok(connections)
}

/// The header fields of a request as literals (RFC 7541 section 6.2.2).
pub(crate) fn field_block(request: &Exchange) -> Vec<u8> {
    let host = request.host.as_deref().unwrap_or_default();
    let mut block = Vec::new();
    let pseudo: [(&[u8], &[u8]); 4] = [
        (b":method", request.method.as_bytes()),
        (b":scheme", b"http"),
        (b":authority", host),
        (b":path", &request.path),
    ];
    let others = request.headers.iter();
    let others = others.map(|(name, value)| (name.as_slice(), value.as_slice()));
    for (name, value) in pseudo.into_iter().chain(others) {
        block.push(0);
        literal(&mut block, &name.to_ascii_lowercase());
        literal(&mut block, value);
    }
    block
}

fn literal(block: &mut Vec<u8>, text: &[u8]) {
    // An integer with a prefix of seven bits (RFC 7541 section 5.1).
    let mut rest = text.len();
    if let Some(small) = u8::try_from(rest).ok().filter(|small| *small < 127) {
        block.push(small);
    } else {
        block.push(127);
        rest -= 127;
        while rest >= 128 {
            block.push(u8::try_from(rest % 128).unwrap_or_default() | 128);
            rest /= 128;
        }
        block.push(u8::try_from(rest).unwrap_or_default());
    }
    block.extend_from_slice(text);
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .unwrap_or_default()
        .to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Reads until `count` streams have ended.
fn read_bodies(connection: &mut TcpStream, count: usize) -> Result<Vec<String>, Error> {
    let mut bodies: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    let mut ended = 0;
    while ended < count {
        let (kind, flags, stream, payload) = read_frame(connection)
            .map_err(|error| Error::Other(format!("{error} after {ended} of {count} answers")))?;
        match kind {
            RESET | GO_AWAY => {
                return Err(Error::Other(format!(
                    "stream {stream} was reset after {ended} of {count} answers"
                )));
            }
            DATA => bodies.entry(stream).or_default().extend(payload),
            HEADERS => drop(bodies.entry(stream).or_default()),
            _ => continue,
        }
        ended += usize::from(flags & 1 == 1);
    }
    let text = |body: Vec<u8>| String::from_utf8_lossy(&body).into_owned();
    Ok(bodies.into_values().map(text).collect())
}

pub(crate) fn read_frame(connection: &mut impl Read) -> io::Result<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    connection.read_exact(&mut head)?;
    let [a, b, c, kind, flags, s0, s1, s2, s3] = head;
    let mut payload = vec![0; usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)];
    connection.read_exact(&mut payload)?;
    Ok((kind, flags, u32::from_be_bytes([s0, s1, s2, s3]), payload))
}
