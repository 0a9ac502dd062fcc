//! Counters in Envoy's stats, `/stats/prometheus` among them.

use portcullis_policy::crypto::CacheCounts;
use portcullis_policy::{Reason, Verdict};

use crate::host::{HostError, Metric};

/// What the filter counts, under the prefix `portcullis_`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metrics {
    allowed: Metric,
    denied_by_policy: Metric,
    denied_by_token: Metric,
    denied_by_peer: Metric,
    denied_by_certificate: Metric,
    refused_in_doubt: Metric,
    cache_hits: Metric,
    cache_misses: Metric,
    cache_evictions: Metric,
    verification: Metric,
    key_fetches: Metric,
    key_fetch_failures: Metric,
    waiting: Metric,
    waited: Metric,
    no_place: Metric,
    key_set_age: Metric,
    lines_left_out: Metric,
}

impl Metrics {
    /// Makes Envoy know them; a configuration that comes anew finds the same ones.
    pub(crate) fn define() -> Result<Self, HostError> {
        let counter = |name: &str| Metric::counter(&format!("portcullis_{name}_total"));
        Ok(Self {
            allowed: counter("requests_allowed")?,
            denied_by_policy: counter("requests_denied_by_policy")?,
            denied_by_token: counter("requests_denied_by_token")?,
            denied_by_peer: counter("requests_denied_by_peer")?,
            denied_by_certificate: counter("requests_denied_by_certificate")?,
            refused_in_doubt: counter("requests_refused_in_doubt")?,
            cache_hits: counter("signature_cache_hits")?,
            cache_misses: counter("signature_cache_misses")?,
            cache_evictions: counter("signature_cache_evictions")?,
            key_fetches: counter("key_set_fetches")?,
            key_fetch_failures: counter("key_set_fetch_failures")?,
            waiting: Metric::gauge("portcullis_requests_waiting")?,
            waited: counter("requests_waited")?,
            no_place: counter("requests_refused_for_lack_of_places")?,
            key_set_age: Metric::gauge("portcullis_key_set_age_seconds")?,
            lines_left_out: counter("log_lines_left_out")?,
            verification: Metric::histogram("portcullis_signature_verification_microseconds")?,
        })
    }

    /// Counts a request that was decided.
    pub(crate) fn decided(&self, verdict: Verdict, reason: Reason) {
        let metric = match (verdict, reason) {
            (Verdict::Allow, _) => self.allowed,
            (Verdict::Deny, Reason::Token(_)) => self.denied_by_token,
            (Verdict::Deny, Reason::PeerAuthentication(_)) => self.denied_by_peer,
            (Verdict::Deny, Reason::Certificate(_)) => self.denied_by_certificate,
            (Verdict::Deny, _) => self.denied_by_policy,
        };
        metric.add(1);
    }

    /// Counts a request that could not be read or changed.
    pub(crate) fn in_doubt(&self) {
        self.refused_in_doubt.add(1);
    }

    /// Counts what the cache did.
    pub(crate) fn cache(&self, counts: CacheCounts) {
        for (metric, count) in [
            (self.cache_hits, counts.hits),
            (self.cache_misses, counts.misses),
            (self.cache_evictions, counts.evictions),
        ] {
            if count > 0 {
                metric.add(count);
            }
        }
    }

    /// Counts a question for a key set.
    pub(crate) fn key_fetch(&self) {
        self.key_fetches.add(1);
    }

    /// Counts one without a good answer.
    pub(crate) fn key_fetch_failed(&self) {
        self.key_fetch_failures.add(1);
    }

    /// Records how long one signature took.
    pub(crate) fn verification(&self, nanoseconds: u64) {
        self.verification.record(nanoseconds / 1000);
    }

    /// Follows how many requests wait for keys, all workers together.
    pub(crate) fn waiting(&self, before: usize, after: usize) {
        let [before, after] =
            [before, after].map(|number| i64::try_from(number).unwrap_or(i64::MAX));
        if before != after {
            self.waiting.change(after - before);
        }
    }

    /// Counts a request that waited and got its answer.
    pub(crate) fn waited(&self) {
        self.waited.add(1);
    }

    /// Counts a request that could have waited, had there been a place.
    pub(crate) fn no_place(&self) {
        self.no_place.add(1);
    }

    /// Records how old the oldest key set is that was fetched.
    pub(crate) fn key_set_age(&self, milliseconds: u64) {
        self.key_set_age.record(milliseconds / 1000);
    }

    /// Counts a line that was left out of the log.
    pub(crate) fn line_left_out(&self) {
        self.lines_left_out.add(1);
    }
}
