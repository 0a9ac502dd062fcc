//! A request as it is sent over and over: its bytes are made once.

use crate::client::Exchange;
use crate::client::crowd::field_block;
use crate::corpus::Sent;
use crate::fuzz::random::Random;

/// Where connections come from and what they call: source, destination and port. A connection has one, so every
/// request has, and is only sent over such connections.
pub(super) const CONNECTIONS: [(&str, &str, u16); 4] = [
    ("127.0.0.1", "10.0.0.2", 8080),
    ("127.0.0.2", "10.0.0.2", 80),
    ("127.0.1.1", "10.0.0.3", 8081),
    ("127.1.2.3", "10.0.0.2", 443),
];

/// A request that is sent again and again.
#[derive(Debug, Clone)]
pub(super) struct Load {
    /// What it is, for the table.
    pub(super) kind: &'static str,
    pub(super) sent: Sent,
    /// An index into [`CONNECTIONS`].
    pub(super) connection: usize,
    /// The HTTP/1.1 message.
    pub(super) bytes: Vec<u8>,
    /// The HTTP/2 field block, where the request has one that means the same.
    pub(super) fields: Option<Vec<u8>>,
    /// How often it is sent, compared with others.
    pub(super) weight: usize,
    /// Whether its answer depends on which keys the changing key set has.
    pub(super) rotates: bool,
}

/// Some requests and the order in which they are sent.
#[derive(Debug, Default)]
pub(super) struct Pool {
    pub(super) loads: Vec<Load>,
    /// For each of [`CONNECTIONS`], indices of its requests, each as often as it weighs.
    pub(super) order: [Vec<usize>; CONNECTIONS.len()],
    /// The same for HTTP/2, over a connection of the first kind.
    pub(super) order_http2: Vec<usize>,
}

/// The largest field block: it fits one frame (RFC 9113 section 4.2).
const LARGEST_BLOCK: usize = 16_000;

impl Load {
    pub(super) fn new(kind: &'static str, sent: Sent, connection: usize) -> Self {
        let exchange = Exchange {
            method: sent.method.clone(),
            host: Some(sent.host.clone().into_bytes()),
            path: sent.path.clone(),
            headers: sent.headers.clone(),
            ..Exchange::default()
        };
        let block = field_block(&exchange);
        let is_plain = sent.method != "HEAD"
            && kind != RANDOM
            && block.len() < LARGEST_BLOCK
            && sent.headers.iter().all(|(name, _)| name != b"content-type");
        Self {
            kind,
            connection,
            bytes: exchange.message(),
            fields: is_plain.then_some(block),
            weight: 4,
            rotates: false,
            sent,
        }
    }

    pub(super) fn is_head(&self) -> bool {
        self.sent.method == "HEAD"
    }

    /// The request as a person reads it, cut to what fits some lines.
    pub(super) fn text(&self) -> String {
        const SHOWN: usize = 1_500;
        let text = String::from_utf8_lossy(&self.bytes);
        let cut: String = text.chars().take(SHOWN).collect();
        let (source, destination, port) = CONNECTIONS[self.connection];
        let rest = text.len().saturating_sub(cut.len());
        let rest = if rest == 0 {
            String::new()
        } else {
            format!("… and {rest} bytes\n")
        };
        format!(
            "from {source} to {destination}:{port}\n{}\n{rest}",
            cut.trim_end()
        )
    }
}

/// The kind of the requests that are made for random policies.
pub(super) const RANDOM: &str = "aimed at the random policies";

impl Pool {
    pub(super) fn new(loads: Vec<Load>, random: &mut Random) -> Self {
        let mut pool = Self::default();
        for (index, load) in loads.iter().enumerate() {
            let copies = std::iter::repeat_n(index, load.weight);
            pool.order[load.connection].extend(copies.clone());
            if load.connection == 0 && load.fields.is_some() {
                pool.order_http2.extend(copies);
            }
        }
        for order in pool.order.iter_mut().chain([&mut pool.order_http2]) {
            for last in (1..order.len()).rev() {
                order.swap(last, random.below(last + 1));
            }
        }
        pool.loads = loads;
        pool
    }
}
