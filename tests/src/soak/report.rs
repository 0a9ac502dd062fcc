//! What was counted, and the table of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What one sender counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Requests by kind and status.
    pub(super) by_kind: BTreeMap<(&'static str, u16), u64>,
    /// Requests over HTTP/2; the others went over HTTP/1.1.
    pub(super) over_http2: u64,
    /// Answers that came so late that the versions they may be of were forgotten.
    pub(super) unjudged: u64,
    pub(super) wrong: Vec<String>,
    /// Connections that ended without an answer.
    pub(super) lost: Vec<String>,
    pub(super) latency: Latency,
}

/// How many wrong answers are shown in full.
const SHOWN: usize = 20;

impl Tally {
    pub(super) fn count(&mut self, kind: &'static str, status: u16) {
        *self.by_kind.entry((kind, status)).or_default() += 1;
    }

    pub(super) fn wrong(&mut self, text: impl FnOnce() -> String) {
        let text = if self.wrong.len() < SHOWN {
            text()
        } else {
            String::new()
        };
        self.wrong.push(text);
    }

    pub(super) fn add(&mut self, other: Self) {
        for (what, count) in other.by_kind {
            *self.by_kind.entry(what).or_default() += count;
        }
        self.over_http2 += other.over_http2;
        self.unjudged += other.unjudged;
        self.wrong.extend(other.wrong);
        self.lost.extend(other.lost);
        self.latency.add(&other.latency);
    }

    pub(super) fn requests(&self) -> u64 {
        self.by_kind.values().sum()
    }
}

/// Durations, by buckets that are a sixteenth of a power of two wide.
#[derive(Debug, Clone, Default)]
pub(super) struct Latency(BTreeMap<u32, u64>);

impl Latency {
    pub(super) fn count(&mut self, microseconds: u128) {
        let microseconds = u64::try_from(microseconds).unwrap_or(u64::MAX).max(1);
        let power = microseconds.ilog2();
        let part = (microseconds << 4 >> power) & 15;
        let bucket = power * 16 + u32::try_from(part).unwrap_or_default();
        *self.0.entry(bucket).or_default() += 1;
    }

    fn add(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            *self.0.entry(*bucket).or_default() += count;
        }
    }

    /// What so many thousandths of all do not exceed, in microseconds; 0 without any.
    pub(super) fn at(&self, thousandth: u64) -> u64 {
        let all: u64 = self.0.values().sum();
        let mut left = (all * thousandth).div_ceil(1000);
        for (bucket, count) in &self.0 {
            if *count >= left {
                let (power, part) = (bucket / 16, u64::from(bucket % 16));
                return ((16 + part + 1) << power) >> 4;
            }
            left -= count;
        }
        0
    }

    fn len(&self) -> u64 {
        self.0.values().sum()
    }
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Summary {
    pub(super) tally: Tally,
    pub(super) took: Duration,
    /// Updates of the policies.
    pub updates: u64,
    /// Changes of the changing key set, and how many of them every worker surely took before the next one.
    pub(super) rotations: (usize, usize),
    /// Envoy's memory in KiB: before the load, the highest in the first tenth, the last, the highest.
    pub(super) memory: [u64; 4],
    /// Questions that reached the key server, and those that it answered badly.
    pub(super) asked: (u64, u64),
    /// Fetches that the plugin counted, and those that failed.
    pub(super) fetches: (u64, u64),
    /// What else must not happen: a crash, a reload, an update that Envoy did not take.
    pub(super) faults: Vec<String>,
    pub(super) growth_limit: u64,
}

impl Summary {
    /// Requests that were answered.
    pub fn requests(&self) -> u64 {
        self.tally.requests()
    }

    /// Answers with a status.
    pub fn answers(&self, status: u16) -> u64 {
        let all = self.tally.by_kind.iter();
        all.filter(|((_, of), _)| *of == status)
            .map(|(_, count)| count)
            .sum()
    }

    /// By how many percent the memory grew from the first tenth to the end.
    pub fn growth(&self) -> f64 {
        let [_, early, late, _] = self.memory;
        let whole = |number: u64| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
        (whole(late) / whole(early.max(1)) - 1.0) * 100.0
    }

    /// What was not as it must be; empty is a good run.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        if !self.tally.wrong.is_empty() {
            failures.push(format!("{} wrong answers", self.tally.wrong.len()));
        }
        if self.tally.unjudged > self.requests() / 1_000 {
            failures.push(format!("{} answers not judged", self.tally.unjudged));
        }
        if !self.tally.lost.is_empty() {
            let first = &self.tally.lost[0];
            let lost = self.tally.lost.len();
            failures.push(format!(
                "{lost} connections without an answer, the first: {first}"
            ));
        }
        failures.extend(self.faults.iter().cloned());
        let limit = f64::from(u32::try_from(self.growth_limit).unwrap_or(u32::MAX));
        if self.growth() > limit {
            failures.push(format!("memory grew by {:.1} %", self.growth()));
        }
        failures
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for wrong in self.tally.wrong.iter().filter(|text| !text.is_empty()) {
            writeln!(f, "{wrong}")?;
        }
        let statuses: std::collections::BTreeSet<u16> = self
            .tally
            .by_kind
            .keys()
            .map(|(_, status)| *status)
            .collect();
        write!(f, "{:<32}", "requests")?;
        for status in &statuses {
            write!(f, "{status:>11}")?;
        }
        writeln!(f)?;
        let kinds: std::collections::BTreeSet<&str> =
            self.tally.by_kind.keys().map(|(kind, _)| *kind).collect();
        for kind in kinds {
            write!(f, "{kind:<32}")?;
            for status in &statuses {
                let count = self.tally.by_kind.get(&(kind, *status)).copied();
                write!(f, "{:>11}", count.unwrap_or_default())?;
            }
            writeln!(f)?;
        }
        write!(f, "{:<32}", "all")?;
        for status in &statuses {
            write!(f, "{:>11}", self.answers(*status))?;
        }
        writeln!(f)?;
        let requests = self.requests();
        let seconds = self.took.as_secs().max(1);
        writeln!(
            f,
            "\nrequests            {requests} in {seconds} s, {} a second; {} of them over HTTP/2",
            requests / seconds,
            self.tally.over_http2
        )?;
        writeln!(f, "wrong answers       {}", self.tally.wrong.len())?;
        writeln!(f, "answers not judged  {}", self.tally.unjudged)?;
        writeln!(f, "lost connections    {}", self.tally.lost.len())?;
        writeln!(f, "crashes and reloads {}", self.faults.len())?;
        let [start, early, late, highest] = self.memory;
        writeln!(
            f,
            "memory in KiB       {start} at the start, {early} in the first tenth, {late} at the end ({:+.1} %), {highest} at most",
            self.growth()
        )?;
        let latency = &self.tally.latency;
        writeln!(
            f,
            "latency in us       p50 {}, p99 {}, p99.9 {} ({} requests sent one at a time, beside the load)",
            latency.at(500),
            latency.at(990),
            latency.at(999),
            latency.len()
        )?;
        writeln!(f, "updates             {}", self.updates)?;
        let (rotations, settled) = self.rotations;
        writeln!(
            f,
            "key rotations       {rotations}, {settled} of them surely taken by all workers"
        )?;
        let ((asked, bad), (fetches, failed)) = (self.asked, self.fetches);
        writeln!(
            f,
            "key sets            fetched {fetches} times, {failed} in vain; the server was asked {asked} times and answered {bad} badly"
        )?;
        for failure in self.failures() {
            writeln!(f, "FAILED: {failure}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_ranked() {
        let mut latency = Latency::default();
        for microseconds in 1..=1000 {
            latency.count(microseconds);
        }
        let near = |thousandth: u64| {
            let found = latency.at(thousandth);
            found >= thousandth && found <= thousandth + thousandth / 8 + 1
        };
        assert!(near(500) && near(990) && near(999), "{latency:?}");
        assert_eq!(Latency::default().at(500), 0);
    }
}
