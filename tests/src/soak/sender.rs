//! Those who send: each on its own thread, with connections of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use super::answer::Got;
use super::http1;
use super::http2;
use super::load::{CONNECTIONS, Load, Pool};
use super::report::Tally;
use super::version::{Version, Whose};
use super::window::{Moment, Window};
use crate::fuzz::random::Random;

/// What all senders share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) address: SocketAddr,
    pub(super) window: Window,
    pub(super) standing: Pool,
    pub(super) sent: AtomicU64,
    pub(super) wrong: AtomicU64,
    pub(super) stop: AtomicBool,
}

/// How somebody sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// One request at a time over HTTP/1.1; its latency is measured.
    OneByOne,
    /// Many connections of HTTP/1.1 at a time.
    Crowd,
    /// Many streams of HTTP/2 at a time.
    Http2,
}

/// Requests at a time.
const DEPTH: usize = 16;
/// Requests over one connection before it is closed.
const LIFE: u32 = 10_000;

/// A request with its place.
struct Chosen<'c> {
    load: &'c Load,
    whose: Whose,
    index: usize,
}

/// A connection of HTTP/1.1, if it is open, and how many requests it had.
struct Lane {
    which: usize,
    open: Option<http1::Connection>,
    used: u32,
}

/// Sends until the run stops.
pub(super) fn send(shared: &Shared, manner: Manner, mut random: Random) -> Tally {
    let mut tally = Tally::default();
    let lanes = if manner == Manner::OneByOne {
        CONNECTIONS.len()
    } else {
        DEPTH
    };
    let mut lanes: Vec<Lane> = (0..lanes)
        .map(|number| Lane {
            which: number % CONNECTIONS.len(),
            open: None,
            used: 0,
        })
        .collect();
    let mut http2 = None;
    while !shared.stop.load(Ordering::Relaxed) {
        let begin = shared.window.now();
        let own = begin.oldest();
        match manner {
            Manner::Http2 => {
                let chosen: Vec<Chosen<'_>> = (0..DEPTH)
                    .map(|_| choose(shared, own, |pool| &pool.order_http2, &mut random))
                    .collect();
                over_http2(shared, &mut http2, &chosen, &begin, &mut tally);
            }
            Manner::OneByOne => {
                for lane in &mut lanes {
                    let begin = shared.window.now();
                    let own = begin.oldest();
                    let chosen = choose(shared, own, |pool| &pool.order[lane.which], &mut random);
                    let sent = Instant::now();
                    let is_sent = lane.send(shared.address, chosen.load);
                    lane.receive(shared, is_sent, &chosen, &begin, &mut tally);
                    tally.latency.count(sent.elapsed().as_micros());
                }
            }
            Manner::Crowd => {
                let mut under_way = Vec::with_capacity(DEPTH);
                for lane in &mut lanes {
                    let chosen = choose(shared, own, |pool| &pool.order[lane.which], &mut random);
                    let is_sent = lane.send(shared.address, chosen.load);
                    under_way.push((lane, is_sent, chosen));
                }
                for (lane, is_sent, chosen) in under_way {
                    lane.receive(shared, is_sent, &chosen, &begin, &mut tally);
                }
            }
        }
    }
    tally
}

/// A request by chance: a third is aimed at the policies in force.
fn choose<'c>(
    shared: &'c Shared,
    own: Option<&'c Arc<Version>>,
    order: impl Fn(&Pool) -> &Vec<usize>,
    random: &mut Random,
) -> Chosen<'c> {
    let is_aimed = random.below(3) == 0;
    let aimed = own.filter(|version| is_aimed && !order(&version.own).is_empty());
    let (pool, whose) = match aimed {
        Some(version) => (&*version.own, Whose::Version(version.number)),
        None => (&shared.standing, Whose::Standing),
    };
    let index = *random.of(order(pool));
    Chosen {
        load: &pool.loads[index],
        whose,
        index,
    }
}

impl Lane {
    fn send(&mut self, address: SocketAddr, load: &Load) -> io::Result<()> {
        if self.used >= LIFE {
            self.open = None;
        }
        if self.open.is_none() {
            self.used = 0;
            self.open = Some(http1::Connection::open(address, self.which)?);
        }
        let closed = || io::Error::from(io::ErrorKind::NotConnected);
        let connection = self.open.as_mut().ok_or_else(closed)?;
        self.used += 1;
        connection.send(load)
    }

    fn receive(
        &mut self,
        shared: &Shared,
        mut is_sent: io::Result<()>,
        chosen: &Chosen<'_>,
        begin: &Moment,
        tally: &mut Tally,
    ) {
        loop {
            // The proxy may answer and close before it has read all; its answer counts.
            let received = match &mut self.open {
                Some(open) => open.receive(chosen.load, |got| {
                    let end = shared.window.now();
                    judge(shared, chosen, got, (begin, &end), tally);
                }),
                None => Err(io::ErrorKind::NotConnected.into()),
            };
            let error = match received {
                Ok(closes) => {
                    if closes {
                        self.open = None;
                    }
                    return;
                }
                Err(error) => is_sent.err().unwrap_or(error),
            };
            let is_first = self.used <= 1;
            self.open = None;
            // The proxy closed the connection after the answer before, without a word.
            if is_first || error.kind() == io::ErrorKind::WouldBlock {
                return lose(shared, tally, chosen.load, &error);
            }
            is_sent = self.send(shared.address, chosen.load);
        }
    }
}

fn over_http2(
    shared: &Shared,
    connection: &mut Option<http2::Connection>,
    chosen: &[Chosen<'_>],
    begin: &Moment,
    tally: &mut Tally,
) {
    if connection.as_ref().is_none_or(http2::Connection::is_old) {
        match http2::Connection::open(shared.address) {
            Ok(open) => *connection = Some(open),
            Err(error) => return lose(shared, tally, chosen[0].load, &error),
        }
    }
    let Some(open) = connection else { return };
    let loads: Vec<&Load> = chosen.iter().map(|chosen| chosen.load).collect();
    let answered = open.exchange(&loads, |index, got| {
        let end = shared.window.now();
        judge(shared, &chosen[index], got, (begin, &end), tally);
    });
    if let Err(error) = answered {
        *connection = None;
        lose(shared, tally, chosen[0].load, &error);
    }
}

/// Looks whether the answer is one that is right at a moment between those two.
fn judge(
    shared: &Shared,
    chosen: &Chosen<'_>,
    got: &Got<'_>,
    (begin, end): (&Moment, &Moment),
    tally: &mut Tally,
) {
    let Chosen { load, whose, index } = *chosen;
    shared.sent.fetch_add(1, Ordering::Relaxed);
    tally.count(load.kind, got.status);
    tally.over_http2 += u64::from(got.details.is_none());
    let mut is_known = true;
    for (_, _, answer) in begin.right(end, whose, index) {
        match answer {
            Some(answer) if answer.is(got) => return,
            Some(_) => {}
            None => is_known = false,
        }
    }
    if !is_known {
        tally.unjudged += 1;
        return;
    }
    shared.wrong.fetch_add(1, Ordering::Relaxed);
    tally.wrong(|| {
        let mut text = format!("WRONG: {}\n{}", load.kind, load.text());
        for (version, generation, answer) in begin.right(end, whose, index) {
            let answer = answer.map(ToString::to_string).unwrap_or_default();
            let number = version.number;
            let line = format!("  version {number}, keys {generation}: wanted {answer}\n");
            text.push_str(&line);
        }
        let over = if got.details.is_some() {
            "HTTP/1.1"
        } else {
            "HTTP/2"
        };
        text + &format!("  got {got} over {over}\n")
    });
}

fn lose(shared: &Shared, tally: &mut Tally, load: &Load, error: &dyn std::fmt::Display) {
    shared.wrong.fetch_add(1, Ordering::Relaxed);
    tally.lost.push(format!("{error}: {}", load.kind));
    // A proxy that is gone is not asked a million times.
    std::thread::sleep(std::time::Duration::from_millis(100));
}
