//! Signatures that were verified before. Whether a signature is right depends on key, algorithm, message and
//! signature alone, so a right one stays right: times, issuers and audiences are checked at every use by
//! [`crate::authenticate`], before the signature is asked for.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::{Algorithm, PublicKey, SignatureVerifier};

/// How much is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// Signatures; 0 remembers none.
    pub entries: usize,
    /// Bytes of tokens and signatures.
    pub bytes: usize,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self {
            entries: 1024,
            bytes: 2 * 1024 * 1024,
        }
    }
}

/// What came of the questions since the last look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Found.
    pub hits: u64,
    /// Not found, and verified.
    pub misses: u64,
    /// Forgotten for room.
    pub evictions: u64,
}

/// A verifier that remembers what verified, for one set of keys.
///
// INVARIANT: keys are told apart by their place in memory, so a cache lives no longer than the set of policies
// that holds them.
#[derive(Debug)]
pub struct CachedVerifier<V> {
    inner: V,
    limits: CacheLimits,
    state: RefCell<State>,
}

/// Two generations: what is used moves to the young one, and when that is full, the old one goes.
#[derive(Debug, Default)]
struct State {
    young: Generation,
    old: Generation,
    counts: CacheCounts,
}

/// Entries by their signature.
#[derive(Debug, Default)]
struct Generation {
    entries: BTreeMap<Box<[u8]>, Verified>,
    bytes: usize,
}

/// What a signature was verified with.
#[derive(Debug, PartialEq, Eq)]
struct Verified {
    key: usize,
    algorithm: Algorithm,
    message: Box<[u8]>,
}

impl<V> CachedVerifier<V> {
    /// Remembers what `inner` says, within limits.
    pub fn new(inner: V, limits: CacheLimits) -> Self {
        Self {
            inner,
            limits,
            state: RefCell::default(),
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        *self.state.borrow_mut() = State::default();
    }

    /// Whether signatures of the key are remembered. An HMAC costs no more than looking it up.
    fn takes(&self, key: &PublicKey) -> bool {
        self.limits.entries > 0 && !matches!(key, PublicKey::Hmac(_))
    }

    /// The counts since the last call.
    pub fn take_counts(&self) -> CacheCounts {
        std::mem::take(&mut self.state.borrow_mut().counts)
    }
}

impl<V: SignatureVerifier> SignatureVerifier for CachedVerifier<V> {
    fn verify(
        &self,
        key: &PublicKey,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        if self.remembers(key, algorithm, message, signature) {
            return true;
        }
        let is_right = self.inner.verify(key, algorithm, message, signature);
        if !self.takes(key) {
            return is_right;
        }
        let mut state = self.state.borrow_mut();
        state.counts.misses += 1;
        if is_right {
            let verified = Verified {
                key: place(key),
                algorithm,
                message: message.into(),
            };
            state.remember(signature, verified, self.limits);
        }
        is_right
    }

    fn remembers(
        &self,
        key: &PublicKey,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        let is_same = |known: &Verified| {
            known.key == place(key) && known.algorithm == algorithm && *known.message == *message
        };
        let mut state = self.state.borrow_mut();
        self.takes(key) && state.find(signature, is_same, self.limits)
    }
}

fn place(key: &PublicKey) -> usize {
    std::ptr::from_ref(key).addr()
}

impl State {
    fn find(
        &mut self,
        signature: &[u8],
        is_same: impl Fn(&Verified) -> bool,
        limits: CacheLimits,
    ) -> bool {
        let in_young = self.young.entries.get(signature).is_some_and(&is_same);
        let in_old = || self.old.entries.get(signature).is_some_and(&is_same);
        if !in_young && !in_old() {
            return false;
        }
        self.counts.hits += 1;
        if !in_young && let Some(verified) = self.old.take(signature) {
            self.remember(signature, verified, limits);
        }
        true
    }

    fn remember(&mut self, signature: &[u8], verified: Verified, limits: CacheLimits) {
        let size = cost(signature, &verified);
        // Each generation has half of the room.
        if size > limits.bytes / 2 {
            return;
        }
        let is_full = self.young.entries.len() >= (limits.entries / 2).max(1)
            || self.young.bytes + size > limits.bytes / 2;
        if is_full {
            let forgotten = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
            self.counts.evictions += u64::try_from(forgotten.entries.len()).unwrap_or_default();
        }
        self.young.take(signature);
        self.young.bytes += size;
        self.young.entries.insert(signature.into(), verified);
    }
}

impl Generation {
    fn take(&mut self, signature: &[u8]) -> Option<Verified> {
        let verified = self.entries.remove(signature)?;
        self.bytes -= cost(signature, &verified);
        Some(verified)
    }
}

fn cost(signature: &[u8], verified: &Verified) -> usize {
    signature.len() + verified.message.len()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Says yes to messages that begin with the signature, and counts.
    #[derive(Default)]
    struct Counting(Cell<u32>);

    impl SignatureVerifier for Counting {
        fn verify(&self, _: &PublicKey, _: Algorithm, message: &[u8], signature: &[u8]) -> bool {
            self.0.set(self.0.get() + 1);
            message.starts_with(signature)
        }
    }

    fn verifier(entries: usize, bytes: usize) -> CachedVerifier<Counting> {
        CachedVerifier::new(Counting::default(), CacheLimits { entries, bytes })
    }

    const KEY: PublicKey = PublicKey::Ed25519([1; 32]);

    #[test]
    fn what_verified_is_not_verified_again() {
        let cached = verifier(8, 1000);
        for _ in 0..3 {
            assert!(cached.verify(&KEY, Algorithm::EdDsa, b"ab", b"a"));
            assert!(!cached.verify(&KEY, Algorithm::EdDsa, b"ab", b"x"));
        }
        assert_eq!(
            cached.inner.0.get(),
            4,
            "once the right one, each time the wrong one"
        );
        let counts = CacheCounts {
            hits: 2,
            misses: 4,
            evictions: 0,
        };
        assert_eq!(cached.take_counts(), counts);
        assert_eq!(cached.take_counts(), CacheCounts::default());
    }

    #[test]
    fn only_what_verified_is_remembered() {
        let cached = verifier(8, 1000);
        let key = KEY;
        let remembers =
            |signature: &[u8]| cached.remembers(&key, Algorithm::EdDsa, b"ab", signature);
        assert!(!remembers(b"a"));
        cached.verify(&key, Algorithm::EdDsa, b"ab", b"a");
        cached.verify(&key, Algorithm::EdDsa, b"ab", b"x");
        assert!(remembers(b"a") && !remembers(b"x"));
        assert_eq!(cached.inner.0.get(), 2, "asking costs no verification");
    }

    #[test]
    fn nothing_stands_in_for_another() {
        let (one, other) = (KEY, KEY);
        let cached = verifier(8, 1000);
        assert!(cached.verify(&one, Algorithm::EdDsa, b"ab", b"a"));
        for (key, algorithm, message) in [
            (&other, Algorithm::EdDsa, b"ab"),
            (&one, Algorithm::Es(crate::crypto::Hash::Sha256), b"ab"),
            (&one, Algorithm::EdDsa, b"xb"),
        ] {
            let before = cached.inner.0.get();
            let _ = cached.verify(key, algorithm, message, b"a");
            assert_eq!(cached.inner.0.get(), before + 1, "asked anew");
        }
    }

    #[test]
    fn room_is_bounded_and_what_is_used_stays() {
        let cached = verifier(4, 1000);
        let verify = |byte: u8| cached.verify(&KEY, Algorithm::EdDsa, &[byte, 0], &[byte]);
        for byte in 1..50 {
            assert!(verify(byte));
            assert!(verify(1));
            let state = cached.state.borrow();
            assert!(state.young.entries.len() + state.old.entries.len() <= 4);
        }
        assert_eq!(
            cached.inner.0.get(),
            49,
            "the first one was never asked again"
        );
        assert!(cached.take_counts().evictions > 20);
    }

    #[test]
    fn bytes_are_bounded() {
        let cached = verifier(1000, 100);
        for byte in 1..50 {
            assert!(cached.verify(&KEY, Algorithm::EdDsa, &[byte; 20], &[byte]));
            let state = cached.state.borrow();
            assert!(state.young.bytes + state.old.bytes <= 100);
            let sum = |generation: &Generation| {
                let entries = generation.entries.iter();
                entries
                    .map(|(signature, one)| cost(signature, one))
                    .sum::<usize>()
            };
            assert_eq!(state.young.bytes, sum(&state.young));
            assert_eq!(state.old.bytes, sum(&state.old));
        }
        assert!(
            cached.verify(&KEY, Algorithm::EdDsa, &[7; 60], &[7]),
            "too large to remember"
        );
        assert_eq!(cached.inner.0.get(), 50);
    }

    #[test]
    fn no_room_remembers_nothing() {
        let cached = verifier(0, 1000);
        assert!(cached.verify(&KEY, Algorithm::EdDsa, b"ab", b"a"));
        assert!(cached.verify(&KEY, Algorithm::EdDsa, b"ab", b"a"));
        assert_eq!(cached.inner.0.get(), 2);
    }
}
