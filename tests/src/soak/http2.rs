//! Requests over HTTP/2 with prior knowledge, many streams at a time. Of an answer, status and body are read.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use super::answer::Got;
use super::http1::open;
use super::load::Load;
use crate::client::crowd::{frame, read_frame};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACKNOWLEDGED: u8 = 1;

/// A connection and the number of its next stream.
#[derive(Debug)]
pub(super) struct Connection {
    reader: BufReader<TcpStream>,
    stream: u32,
}

#[derive(Default)]
struct Answered {
    status: u16,
    body: Vec<u8>,
}

impl Connection {
    /// Opens the first of the connections.
    pub(super) fn open(address: SocketAddr) -> io::Result<Self> {
        let mut stream = open(address, 0)?;
        // SETTINGS_HEADER_TABLE_SIZE 0, so that each field block can be read by itself.
        let settings = [0, 1, 0, 0, 0, 0];
        let window = 0x7fff_0000_u32.to_be_bytes();
        let message = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(SETTINGS, 0, 0, &settings),
            frame(WINDOW_UPDATE, 0, 0, &window),
        ];
        stream.write_all(&message.concat())?;
        Ok(Self {
            reader: BufReader::new(stream),
            stream: 1,
        })
    }

    /// Whether it has been used enough: windows and numbers of streams are far from their ends.
    pub(super) fn is_old(&self) -> bool {
        self.stream > 20_000
    }

    /// Sends the requests at once and takes the answers as they come.
    ///
    /// # Errors
    /// No answer in time; a stream that is reset; a status that is none.
    pub(super) fn exchange(
        &mut self,
        loads: &[&Load],
        mut take: impl FnMut(usize, &Got<'_>),
    ) -> io::Result<()> {
        let mut message = Vec::new();
        let mut open: BTreeMap<u32, (usize, Answered)> = BTreeMap::new();
        for (index, load) in loads.iter().enumerate() {
            let block = load.fields.as_deref().unwrap_or_default();
            message.extend(frame(HEADERS, 0x5, self.stream, block));
            open.insert(self.stream, (index, Answered::default()));
            self.stream += 2;
        }
        self.reader.get_mut().write_all(&message)?;
        while !open.is_empty() {
            let (kind, flags, stream, payload) = read_frame(&mut self.reader)?;
            let answer = open.get_mut(&stream);
            match (kind, answer) {
                (HEADERS, Some((_, answer))) => {
                    answer.status = status(&payload).ok_or(io::ErrorKind::InvalidData)?;
                }
                (DATA, Some((_, answer))) => answer.body.extend(payload),
                (SETTINGS | PING, _) if flags & ACKNOWLEDGED == 0 => {
                    let echo = if kind == PING { payload } else { Vec::new() };
                    let reply = frame(kind, ACKNOWLEDGED, 0, &echo);
                    self.reader.get_mut().write_all(&reply)?;
                    continue;
                }
                (SETTINGS | PING | WINDOW_UPDATE, _) => continue,
                _ => return Err(io::Error::other(format!("a frame of type {kind}"))),
            }
            if flags & END_STREAM == END_STREAM
                && let Some((index, answer)) = open.remove(&stream)
            {
                let got = Got {
                    status: answer.status,
                    details: None,
                    body: &answer.body,
                };
                take(index, &got);
            }
        }
        Ok(())
    }
}

/// The `:status` at the start of a field block that uses no dynamic table (RFC 7541 sections 6.1 and 6.2, entries 8
/// to 14 of appendix A).
fn status(block: &[u8]) -> Option<u16> {
    const STATIC: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    let block = match block {
        // A change of the table's size comes first.
        [first, rest @ ..] if *first >> 5 == 1 => rest,
        _ => block,
    };
    let (first, rest) = block.split_first()?;
    if first & 0x80 != 0 {
        let index = usize::from(first & 0x7f).checked_sub(8)?;
        return STATIC.get(index).copied();
    }
    let named = matches!(first, 0x08..=0x0e | 0x18..=0x1e | 0x48..=0x4e);
    let (length, value) = rest.split_first().filter(|_| named)?;
    let value = value.get(..usize::from(length & 0x7f))?;
    if length & 0x80 == 0 {
        return std::str::from_utf8(value).ok()?.parse().ok();
    }
    digits(value)
}

/// Three digits in the Huffman code of RFC 7541 appendix B: 0, 1 and 2 have five bits, the others six.
fn digits(code: &[u8]) -> Option<u16> {
    let bits = code
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| u16::from(byte >> bit & 1)));
    let mut bits = bits;
    let mut number = 0;
    for _ in 0..3 {
        let mut read = 0;
        for _ in 0..5 {
            read = read << 1 | bits.next()?;
        }
        let digit = match read {
            0..=2 => read,
            0b01100..=0b01111 => (read << 1 | bits.next()?).checked_sub(0b01_1001)? + 3,
            _ => return None,
        };
        number = number * 10 + digit;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_in_each_of_its_forms() {
        assert_eq!(status(b"\x88\x76"), Some(200));
        assert_eq!(status(b"\x20\x8d"), Some(404));
        assert_eq!(status(b"\x08\x03401"), Some(401));
        // RFC 7541 appendix C.6.1: "302".
        assert_eq!(status(b"\x48\x82\x64\x02"), Some(302));
        // 403: 011010 00000 011001, filled up with ones.
        assert_eq!(status(b"\x08\x83\x68\x0c\xff"), Some(403));
        assert_eq!(status(b"\x40\x01a\x01b"), None);
        assert_eq!(status(b""), None);
    }
}
