//! When a key set is asked for. One record for all workers of a proxy, so that one of them asks for all. The clock,
//! the network and the memory that workers share are a host's; this module knows the times.
//!
//! Times are milliseconds of a clock that nobody sets (`CLOCK_MONOTONIC`), the same for all workers. What must be
//! in order is counted, not timed: two events may fall into one millisecond.

/// When a key set was and will be asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Schedule {
    /// The question that brought the key set; 0 is none yet. Another number is another key set.
    pub version: u64,
    /// Counts the questions that were begun.
    pub asked: u64,
    /// The newest question that has its answer, good or bad; 0 is none yet.
    pub answered: u64,
    /// The question whose answer must be awaited before an unknown key is given up; 0 is none.
    pub wanted: u64,
    /// How often asking failed since the last success.
    pub failures: u64,
    /// When the last key set came.
    pub fetched: u64,
    /// When to ask next.
    pub next: u64,
    /// When an unknown key may trigger another question.
    pub early_after: u64,
}

/// A key set is asked for again after this, like Envoy's own cache.
pub const REFRESH: u64 = 300_000;
/// So much earlier at most, so that not everybody asks at once.
const JITTER: u64 = 60_000;
/// Nobody else asks for so long, unless the one who asks renews it.
pub const LEASE: u64 = 3_000;
/// An answer takes so long at most.
pub const TIMEOUT: u64 = 5_000;
/// The longest pause between two failures.
const MAX_PAUSE: u64 = 60_000;
/// The shortest time between two early questions for an unknown key.
pub const EARLY: u64 = 30_000;
/// Keys that cannot be refreshed are used for so long: a day.
pub const MAX_AGE: u64 = 24 * 3_600_000;

impl Schedule {
    /// The record as far as it may be trusted at `now`: times that lie further ahead than this module sets them are
    /// of another clock, or forged. Such keys are asked for at once, and their age counts from now.
    #[must_use]
    pub fn at(self, now: u64) -> Self {
        let is_ahead = self.fetched > now || self.next > now.saturating_add(REFRESH);
        let answered = self.answered.min(self.asked);
        Self {
            answered,
            wanted: self.wanted.min(self.asked.saturating_add(1)),
            fetched: self.fetched.min(now),
            next: if is_ahead { now } else { self.next },
            early_after: if self.early_after > now.saturating_add(EARLY) {
                now
            } else {
                self.early_after
            },
            ..self
        }
    }

    /// Whether it is time to ask.
    pub fn is_due(&self, now: u64) -> bool {
        now >= self.next
    }

    /// The record once a worker begins to ask. The number of its question is [`Self::asked`].
    #[must_use]
    pub fn asking(self, now: u64) -> Self {
        Self {
            asked: self.asked.saturating_add(1),
            ..self.renewed(now)
        }
    }

    /// The record while the worker that asks is there: it renews its lease until the answer comes, so that another
    /// one takes over from a worker that stopped.
    #[must_use]
    pub fn renewed(self, now: u64) -> Self {
        Self {
            next: now.saturating_add(LEASE),
            ..self
        }
    }

    /// The record after the worker that asked gave its question up: another one asks at once.
    #[must_use]
    pub fn released(self, now: u64) -> Self {
        Self { next: now, ..self }
    }

    /// The record after a key set came in answer to `question`. One that was there already is no new version, unless
    /// workers had given it up for its age. `None` if a later question was answered before.
    #[must_use]
    pub fn succeeded(self, question: u64, is_new: bool, now: u64, random: u64) -> Option<Self> {
        let is_version = is_new || self.version == 0 || self.is_too_old(now);
        let record = Self {
            version: if is_version { question } else { self.version },
            fetched: now,
            next: now.saturating_add(REFRESH - random % JITTER),
            failures: 0,
            ..self.answered(question)?
        };
        Some(record.with_wish(now))
    }

    /// The record after `question` failed: the pause doubles, up to a minute. `None` if a later question was answered
    /// before.
    #[must_use]
    pub fn failed(self, question: u64, now: u64, random: u64) -> Option<Self> {
        let failures = self.failures.saturating_add(1);
        let doubled = 1_000_u64.checked_shl(u32::try_from(failures).unwrap_or(u32::MAX));
        let pause = doubled
            .filter(|pause| *pause >= 1_000)
            .unwrap_or(MAX_PAUSE)
            .min(MAX_PAUSE);
        Some(Self {
            next: now.saturating_add(pause / 2 + random % (pause / 2 + 1)),
            failures,
            ..self.answered(question)?
        })
    }

    fn answered(self, question: u64) -> Option<Self> {
        (question > self.answered).then_some(Self {
            answered: question,
            asked: self.asked.max(question),
            ..self
        })
    }

    /// An unknown key came while the question that was just answered was under way: that answer may be older than
    /// the key, so another question follows.
    fn with_wish(self, now: u64) -> Self {
        if self.wanted > self.answered {
            self.released(now)
        } else {
            self
        }
    }

    /// The record when a token names a key that is not in the set: a question that begins from now on is wanted.
    /// `None` if that was asked lately.
    pub fn early(self, now: u64) -> Option<Self> {
        (now >= self.early_after && self.version > 0).then_some(Self {
            wanted: self.asked.saturating_add(1),
            next: now,
            early_after: now.saturating_add(EARLY),
            ..self
        })
    }

    /// Whether the answer to such an early question is still to come.
    pub fn is_early(&self) -> bool {
        self.wanted > self.answered
    }

    /// Whether no worker has cared for the record lately, so that its keys may have been withdrawn since.
    pub fn is_abandoned(&self, now: u64) -> bool {
        self.version > 0 && now > self.next.saturating_add(2 * TIMEOUT)
    }

    /// Whether the keys are too old to be used.
    pub fn is_too_old(&self, now: u64) -> bool {
        self.version > 0 && now > self.fetched.saturating_add(MAX_AGE)
    }

    /// Whether waiting for the next answer may help a request for which there are no keys at all: no question has
    /// failed since there were some.
    pub fn is_hopeful(&self) -> bool {
        self.failures == 0
    }

    /// As bytes, for memory that workers share.
    pub fn to_bytes(self) -> Vec<u8> {
        [
            self.version,
            self.asked,
            self.answered,
            self.wanted,
            self.failures,
            self.fetched,
            self.next,
            self.early_after,
        ]
        .into_iter()
        .flat_map(u64::to_le_bytes)
        .collect()
    }

    /// Reads them; `None` for a record of another shape.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut numbers = bytes
            .chunks_exact(8)
            .filter_map(|chunk| Some(u64::from_le_bytes(chunk.try_into().ok()?)));
        let record = Self {
            version: numbers.next()?,
            asked: numbers.next()?,
            answered: numbers.next()?,
            wanted: numbers.next()?,
            failures: numbers.next()?,
            fetched: numbers.next()?,
            next: numbers.next()?,
            early_after: numbers.next()?,
        };
        (bytes.len() == 64).then_some(record)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fetched(now: u64) -> Schedule {
        let asking = Schedule::default().asking(now);
        asking.succeeded(1, true, now, 0).unwrap()
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        let mut schedule = Schedule::default();
        assert!(schedule.is_due(1000), "the first time at once");
        let mut pauses = Vec::new();
        for question in 1..=70 {
            schedule = schedule.asking(1000);
            schedule = schedule.failed(question, 1000, u64::MAX).unwrap();
            pauses.push(schedule.next - 1000);
            assert!(schedule.next > 1000);
        }
        assert!(pauses.iter().all(|pause| *pause <= MAX_PAUSE), "{pauses:?}");
        assert!(pauses.is_sorted_by_key(|pause| pause.min(&30_000)));
        assert!(*pauses.last().unwrap() >= 30_000, "{pauses:?}");
        assert!(!schedule.is_hopeful());
    }

    #[test]
    fn an_answer_is_good_for_minutes() {
        let failed = Schedule::default().asking(1000).failed(1, 1000, 0).unwrap();
        let schedule = failed
            .asking(3000)
            .succeeded(2, true, 3010, 59_000)
            .unwrap();
        assert_eq!((schedule.version, schedule.failures), (2, 0));
        assert!(
            !schedule.is_due(3009 + REFRESH - 59_000) && schedule.is_due(3010 + REFRESH - 59_000)
        );
        assert!(!schedule.is_too_old(3010 + MAX_AGE) && schedule.is_too_old(3011 + MAX_AGE));
    }

    #[test]
    fn an_unknown_key_asks_early_once() {
        let schedule = fetched(1000);
        let early = schedule.early(1000).expect("in the same millisecond, too");
        assert!(early.is_due(1000) && early.is_early());
        let answered = early.asking(1000).succeeded(2, false, 1000, 0).unwrap();
        assert!(!answered.is_early(), "answered");
        assert_eq!(answered.early(1000 + EARLY - 1), None);
        assert!(answered.early(1000 + EARLY).is_some());
        assert_eq!(
            Schedule::default().early(1000),
            None,
            "nothing was fetched yet"
        );
    }

    #[test]
    fn a_question_that_began_before_the_wish_does_not_answer_it() {
        let asking = fetched(1000).asking(400_000);
        let early = asking.early(400_010).unwrap();
        assert_eq!(early.wanted, 3);
        let answered = early.succeeded(2, false, 400_020, 0).unwrap();
        assert!(
            answered.is_early() && answered.is_due(400_020),
            "it asks again at once"
        );
        let again = answered
            .asking(400_020)
            .succeeded(3, true, 400_040, 0)
            .unwrap();
        assert!(!again.is_early() && !again.is_due(400_040));
    }

    #[test]
    fn a_late_answer_does_not_replace_a_newer_one() {
        let two = fetched(1000).asking(400_000).asking(404_000);
        let newer = two.succeeded(3, true, 404_100, 0).unwrap();
        assert_eq!(newer.succeeded(2, true, 404_200, 0), None);
        assert_eq!(newer.failed(2, 404_200, 0), None);
    }

    #[test]
    fn one_worker_asks_and_another_takes_over() {
        let asking = Schedule::default().asking(1000);
        assert!(!asking.is_due(1000 + LEASE - 1) && asking.is_due(1000 + LEASE));
        assert!(!asking.renewed(2000).is_due(1000 + LEASE), "renewed");
        assert!(asking.released(1500).is_due(1500), "given up");
    }

    #[test]
    fn keys_that_nobody_looks_after_are_abandoned() {
        let schedule = fetched(1000);
        let end = 1000 + REFRESH + 2 * TIMEOUT;
        assert!(!schedule.is_abandoned(end) && schedule.is_abandoned(end + 1));
        assert!(!Schedule::default().is_abandoned(1000), "there are none");
        let same = schedule.asking(2000).succeeded(2, false, 2000, 0).unwrap();
        assert_eq!((same.version, same.fetched), (1, 2000));
        let back = schedule.asking(2000).succeeded(2, false, 1001 + MAX_AGE, 0);
        assert_eq!(back.unwrap().version, 2, "workers had dropped the keys");
    }

    #[test]
    fn the_record_survives_its_bytes() {
        let schedule = fetched(5).asking(9).failed(2, 9, 1).unwrap();
        assert_eq!(Schedule::from_bytes(&schedule.to_bytes()), Some(schedule));
        assert_eq!(Schedule::from_bytes(b"x"), None);
        assert_eq!(Schedule::from_bytes(&[0; 72]), None);
    }

    prop_compose! {
        fn any_schedule()(numbers: [u64; 8], small: [bool; 8], now in 0..u64::MAX / 4) -> (Schedule, u64) {
            let near = |index: usize| {
                let number: u64 = numbers[index];
                // Half of the numbers lie near the clock, the others anywhere.
                if small[index] { now.saturating_add(number % 600_000).saturating_sub(300_000) } else { number }
            };
            let schedule = Schedule {
                version: numbers[0],
                asked: numbers[1],
                answered: numbers[2],
                wanted: numbers[3],
                failures: numbers[4] % 100,
                fetched: near(5),
                next: near(6),
                early_after: near(7),
            };
            (schedule, now)
        }
    }

    proptest! {
        /// Whatever a record says and whatever the clock says: the key set is asked for within one interval.
        #[test]
        fn any_record_is_due_within_one_interval((record, now) in any_schedule()) {
            prop_assert!(record.at(now).is_due(now + REFRESH), "{record:?} at {now}");
        }

        /// While all questions fail, keys of any record are given up within a day and one interval, and questions
        /// go on.
        #[test]
        fn keys_of_any_record_are_given_up_within_a_day((record, start) in any_schedule(), random: u64) {
            let mut record = Schedule { version: record.version.max(1), asked: record.asked % 1000, ..record };
            let mut now = start;
            let mut gaps = 0;
            let end = start + MAX_AGE + REFRESH + 1;
            while now < end {
                record = record.at(now);
                if !record.is_due(now) {
                    let pause = record.next - now;
                    prop_assert!(pause <= REFRESH);
                    now += pause.max(1);
                    continue;
                }
                record = record.asking(now);
                record = record.failed(record.asked, now, random).unwrap();
                gaps += 1;
            }
            prop_assert!(record.at(now).is_too_old(now), "{record:?} at {now}");
            prop_assert!(gaps > 1000, "asked {gaps} times in a day");
        }

        /// Reading twice says the same, and what is plausible stays as it is.
        #[test]
        fn trust_changes_nothing_twice((record, now) in any_schedule()) {
            let once = record.at(now);
            prop_assert_eq!(once.at(now), once);
            let own = fetched(now).asking(now + 5);
            prop_assert_eq!(own.at(now + 5), own);
        }
    }
}
