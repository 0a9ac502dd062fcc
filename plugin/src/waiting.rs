//! Requests that wait for keys: each for a bounded time, so many of them at a time, and no client can take all
//! places from the others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The order in which requests began to wait.
type Turn = u64;

/// Requests that wait, each with what its host keeps for it.
#[derive(Debug)]
pub struct Waiting<T> {
    places: usize,
    turn: Turn,
    /// Turns before this one are to be decided again.
    woken: Turn,
    waiters: BTreeMap<Turn, Waiter<T>>,
    /// The turn of each stream.
    streams: BTreeMap<u32, Turn>,
    /// The turns of each client.
    clients: BTreeMap<Box<[u8]>, BTreeSet<Turn>>,
    /// Those who lost their place, and get their answer next.
    displaced: VecDeque<Waiter<T>>,
}

/// A request that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiter<T> {
    /// The host's number for it.
    pub stream: u32,
    /// Whom it is from, in a form that tells clients apart.
    pub client: Box<[u8]>,
    /// When its time is over, in milliseconds.
    pub until: u64,
    /// What the host keeps for it.
    pub with: T,
}

/// A request whose turn it is to be decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called<T> {
    /// The request.
    pub waiter: Waiter<T>,
    /// Whether it may wait again.
    pub may_wait: bool,
}

impl<T> Waiting<T> {
    /// Nobody waits; `places` is how many requests may.
    pub fn new(places: usize) -> Self {
        Self {
            places,
            turn: 0,
            woken: 0,
            waiters: BTreeMap::new(),
            streams: BTreeMap::new(),
            clients: BTreeMap::new(),
            displaced: VecDeque::new(),
        }
    }

    /// Changes how many requests may wait. Those who wait already go on.
    pub fn set_places(&mut self, places: usize) {
        self.places = places;
    }

    /// How many wait, those that lost their place included.
    pub fn len(&self) -> usize {
        self.waiters.len() + self.displaced.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether [`Self::admit`] would take in a request of this client.
    pub fn has_place(&self, client: &[u8]) -> bool {
        self.waiters.len() < self.places || self.to_displace(client).is_some()
    }

    /// Takes a request in. Where all places are taken, it gets that of the client that has the most, if that client
    /// has more than its own would have then.
    ///
    /// # Errors
    /// There is no place for it.
    pub fn admit(&mut self, waiter: Waiter<T>) -> Result<(), Waiter<T>> {
        if self.waiters.len() >= self.places {
            let last = self.to_displace(&waiter.client);
            match last.and_then(|turn| self.take(turn)) {
                Some(displaced) => self.displaced.push_back(displaced),
                None => return Err(waiter),
            }
        }
        self.insert(waiter);
        Ok(())
    }

    /// Whose place a request of this client gets where all are taken: the last one to come of the client that has the
    /// most, since the others have waited longer.
    fn to_displace(&self, client: &[u8]) -> Option<Turn> {
        let own = self.clients.get(client).map_or(0, BTreeSet::len);
        let most = self.clients.values().max_by_key(|turns| turns.len())?;
        let gives_way = most.len() > own + 1 && self.displaced.len() < self.places;
        most.last().copied().filter(|_| gives_way)
    }

    /// Takes a request back that was called and has to wait on, at its old deadline.
    pub fn insert(&mut self, waiter: Waiter<T>) {
        let turn = self.turn;
        self.turn += 1;
        self.streams.insert(waiter.stream, turn);
        let turns = self.clients.entry(waiter.client.clone()).or_default();
        turns.insert(turn);
        self.waiters.insert(turn, waiter);
    }

    /// Forgets a stream that has gone; whether it waited.
    pub fn forget(&mut self, stream: u32) -> bool {
        let turn = self.streams.get(&stream).copied();
        if turn.and_then(|turn| self.take(turn)).is_some() {
            return true;
        }
        let before = self.displaced.len();
        self.displaced.retain(|waiter| waiter.stream != stream);
        self.displaced.len() < before
    }

    /// Something happened that all who wait by now have waited for.
    pub fn wake(&mut self) {
        self.woken = self.turn;
    }

    /// Takes out a request that is to be decided at `now`: one that lost its place, one that was woken, or one whose
    /// time is over.
    pub fn call(&mut self, now: u64) -> Option<Called<T>> {
        if let Some(waiter) = self.displaced.pop_front() {
            let may_wait = false;
            return Some(Called { waiter, may_wait });
        }
        let turn = self.next_turn(now)?;
        let waiter = self.take(turn)?;
        let may_wait = now < waiter.until;
        Some(Called { waiter, may_wait })
    }

    fn next_turn(&self, now: u64) -> Option<Turn> {
        let is_called = |turn: Turn, waiter: &Waiter<T>| turn < self.woken || now >= waiter.until;
        let mut waiters = self.waiters.iter();
        let (turn, _) = waiters.find(|(turn, waiter)| is_called(**turn, waiter))?;
        Some(*turn)
    }

    /// Whether [`Self::call`] would call somebody at `now`.
    pub fn has_called(&self, now: u64) -> bool {
        !self.displaced.is_empty() || self.next_turn(now).is_some()
    }

    /// Takes all of `other`'s over, to be decided at once: what they waited for may be different here. They keep
    /// their deadlines, and count even beyond the places.
    pub fn adopt(&mut self, other: &mut Self) {
        let waiters = std::mem::take(&mut other.waiters);
        other.streams.clear();
        other.clients.clear();
        for waiter in waiters.into_values() {
            self.insert(waiter);
        }
        self.displaced.append(&mut other.displaced);
        self.wake();
    }

    fn take(&mut self, turn: Turn) -> Option<Waiter<T>> {
        let waiter = self.waiters.remove(&turn)?;
        self.streams.remove(&waiter.stream);
        if let Some(turns) = self.clients.get_mut(&waiter.client) {
            turns.remove(&turn);
            if turns.is_empty() {
                self.clients.remove(&waiter.client);
            }
        }
        Some(waiter)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn waiter(stream: u32, client: &str) -> Waiter<()> {
        Waiter {
            stream,
            client: client.as_bytes().into(),
            until: 6_000,
            with: (),
        }
    }

    /// Up to `most` that are called, each with whether it may wait again.
    fn call(waiting: &mut Waiting<()>, most: usize, now: u64) -> Vec<(u32, bool)> {
        std::iter::from_fn(|| waiting.call(now))
            .map(|called| (called.waiter.stream, called.may_wait))
            .take(most)
            .collect()
    }

    #[test]
    fn nobody_is_called_before_something_happens() {
        let mut waiting = Waiting::new(10);
        for stream in 0..3 {
            waiting.admit(waiter(stream, "a")).unwrap();
        }
        assert!(!waiting.has_called(5_999));
        assert_eq!(waiting.call(5_999), None);
        waiting.wake();
        waiting.admit(waiter(3, "a")).unwrap();
        assert_eq!(call(&mut waiting, 2, 0), [(0, true), (1, true)]);
        assert!(waiting.has_called(0));
        assert_eq!(call(&mut waiting, 2, 0), [(2, true)]);
        assert!(
            !waiting.has_called(0),
            "the one that came after it waits on"
        );
        assert_eq!(call(&mut waiting, 2, 6_000), [(3, false)]);
        assert!(waiting.is_empty());
    }

    #[test]
    fn one_client_cannot_take_all_places() {
        let mut waiting = Waiting::new(100);
        for stream in 0..100 {
            waiting.admit(waiter(stream, "junk")).unwrap();
        }
        assert!(waiting.admit(waiter(100, "junk")).is_err(), "all are taken");
        for stream in 200..250 {
            assert!(waiting.admit(waiter(stream, "good")).is_ok(), "{stream}");
        }
        assert!(
            waiting.admit(waiter(250, "good")).is_err(),
            "each has half of the places"
        );
        assert!(waiting.admit(waiter(300, "third")).is_ok());
        assert_eq!(waiting.len(), 151);
        let called = call(&mut waiting, 1000, 0);
        assert_eq!(called.len(), 51, "those who gave way, and nobody else");
        assert!(called.iter().all(|(_, may_wait)| !may_wait));
        assert!(!called.iter().any(|(stream, _)| (201..250).contains(stream)));
    }

    #[test]
    fn who_has_gone_is_forgotten() {
        let mut waiting = Waiting::new(2);
        for (stream, client) in [(1, "a"), (2, "a"), (3, "b")] {
            waiting.admit(waiter(stream, client)).unwrap();
        }
        assert!(waiting.forget(1) && !waiting.forget(1) && !waiting.forget(9));
        assert!(waiting.forget(2), "it had lost its place");
        waiting.wake();
        assert_eq!(call(&mut waiting, 16, 0), [(3, true)]);
    }

    #[test]
    fn a_successor_takes_all_over() {
        let (mut old, mut new) = (Waiting::new(2), Waiting::new(2));
        for (stream, client) in [(1, "a"), (2, "a"), (3, "b")] {
            old.admit(waiter(stream, client)).unwrap();
        }
        new.admit(waiter(4, "c")).unwrap();
        new.adopt(&mut old);
        assert!(old.is_empty() && !old.forget(1));
        assert_eq!(
            call(&mut new, 16, 0),
            [(2, false), (4, true), (1, true), (3, true)]
        );
    }

    proptest! {
        #[test]
        fn nobody_is_lost(steps in prop::collection::vec((0_u8..5, 0_u8..4, 1_usize..5), 1..200)) {
            let mut waiting = Waiting::new(7);
            let mut there = BTreeSet::new();
            for (stream, (what, client, many)) in (0_u32..).zip(steps) {
                match what {
                    0 | 1 => {
                        if waiting.admit(waiter(stream, &client.to_string())).is_ok() {
                            there.insert(stream);
                        }
                    }
                    2 => waiting.wake(),
                    3 => {
                        if let Some(gone) = there.pop_first() {
                            prop_assert!(waiting.forget(gone));
                        }
                    }
                    _ => {
                        for (stream, _) in call(&mut waiting, many, 0) {
                            prop_assert!(there.remove(&stream));
                        }
                    }
                }
                prop_assert_eq!(waiting.len(), there.len());
                prop_assert!(waiting.waiters.len() <= 7);
                prop_assert_eq!(waiting.streams.len(), waiting.waiters.len());
                prop_assert_eq!(
                    waiting.clients.values().map(BTreeSet::len).sum::<usize>(),
                    waiting.waiters.len()
                );
            }
        }
    }
}
