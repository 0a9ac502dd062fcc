//! Key sets over the network. Every worker looks at a record that all share; the one that finds it due asks
//! for all, and the others take what it got.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use portcullis_plugin::schedule::{MAX_AGE, Schedule, TIMEOUT};
use portcullis_plugin::seal::Seal;
use portcullis_policy::authenticate::{KeyRules, KeySet};
use portcullis_policy::remote_keys::{Endpoint, KeyLocation, MAX_BODY, discovered};
use proxy_wasm::types::LogLevel;

use crate::host;
use crate::metrics::Metrics;

/// One key set that is fetched.
pub(crate) struct Source {
    pub(crate) location: KeyLocation,
    /// The `uri` that was configured, and the clusters that were named for URIs.
    uri: String,
    clusters: Vec<(String, String)>,
    rules: KeyRules,
    seal: Seal,
    /// The names of the two shared entries.
    record: String,
    body: String,
    /// The record when this worker last took what it brings.
    seen: Cell<Schedule>,
    /// The last record that this worker read or wrote: what holds while somebody else spoils the shared one.
    known: Cell<Schedule>,
    /// The keys that this worker took.
    keys: RefCell<Option<Arc<KeySet>>>,
    /// The question that is under way.
    asking: RefCell<Option<Question>>,
    is_too_old: Cell<bool>,
    /// When a shared key set was last found not to be the record's.
    distrusted: Cell<u64>,
    /// The shared keys are those of a configuration that has gone, and not used.
    is_abandoned: Cell<bool>,
}

/// Milliseconds between two questions for a shared key set that cannot be trusted.
const DISTRUST: u64 = 1_000;

struct Question {
    token: u32,
    /// Its number in the record.
    number: u64,
    since: u64,
    uri: String,
    cluster: String,
    /// Whether the answer tells where the keys are, and is not the keys.
    is_discovery: bool,
}

/// What a look at the record brought.
pub(crate) enum News {
    /// Nothing that matters to requests.
    None,
    /// An answer came, and the keys are what they were.
    Answer,
    /// These keys hold from now on.
    Keys(Option<Arc<KeySet>>),
}

impl Source {
    pub(crate) fn new(
        location: KeyLocation,
        clusters: &[(String, String)],
        rules: KeyRules,
        seal: &Seal,
    ) -> Self {
        // INVARIANT: two plugins share an entry only if their configurations are the same, byte for byte: the seal's
        // label stands for it.
        let entry = |what: &str| format!("portcullis.keys.{what}|{}|{location:?}", seal.label());
        Self {
            uri: location.uri(),
            record: entry("record"),
            body: entry("body"),
            location,
            clusters: clusters.to_vec(),
            rules,
            seal: seal.clone(),
            seen: Cell::default(),
            known: Cell::default(),
            keys: RefCell::default(),
            asking: RefCell::default(),
            is_too_old: Cell::default(),
            distrusted: Cell::default(),
            is_abandoned: Cell::default(),
        }
    }

    /// The record, and the number that guards its change. Where nothing is shared that this configuration wrote, or
    /// something older than what this worker knows, it is what the worker knows.
    fn record(&self, now: u64) -> (Schedule, u32) {
        let known = self.known.get();
        let (record, guard) = match host::shared_data(&self.record) {
            Ok((bytes, guard)) => {
                let content = self.seal.open(&self.record, &bytes);
                let record = content.and_then(Schedule::from_bytes);
                let is_older = |record: &Schedule| {
                    record.version < known.version || record.answered < known.answered
                };
                let record = record.filter(|record| !is_older(record));
                (record.unwrap_or(known), guard)
            }
            // An absent record is made by whoever comes first: no number guards it but this.
            Err(_) => (known, u32::MAX),
        };
        let record = record.at(now);
        self.known.set(record);
        (record, guard)
    }

    /// Changes the record unless another worker did.
    fn change(&self, record: Schedule, guard: u32) -> bool {
        let entry = self.seal.close(&self.record, &record.to_bytes());
        let is_changed = host::set_shared_data(&self.record, &entry, guard).is_ok();
        if is_changed {
            self.known.set(record);
        }
        is_changed
    }

    /// The shared key set of a version. Two workers may answer questions at once, so an entry of another version
    /// may stand in its place.
    fn shared_body(&self, version: u64) -> Option<Vec<u8>> {
        let (bytes, _) = host::shared_data(&self.body).ok()?;
        let content = self.seal.open(&self.body, &bytes)?;
        let (of, body) = content.split_first_chunk::<8>()?;
        (u64::from_le_bytes(*of) == version).then(|| body.to_vec())
    }

    fn share_body(&self, version: u64, body: &[u8]) -> bool {
        let content = [&version.to_le_bytes(), body].concat();
        let entry = self.seal.close(&self.body, &content);
        host::set_shared_data(&self.body, &entry, 0).is_ok()
    }

    /// Whether both would fetch and read the same. Any of the clusters may be that of a URI which a document names.
    fn is_like(&self, other: &Self) -> bool {
        self.location == other.location
            && self.clusters == other.clusters
            && self.rules == other.rules
    }

    /// Goes on from what the configuration before had fetched, so that an update does not make requests wait.
    pub(crate) fn adopt(&self, sources: &[Self], now: u64) {
        let Some(old) = sources.iter().find(|old| old.is_like(self)) else {
            return;
        };
        let (record, _) = old.record(now);
        if record.is_abandoned(now) {
            return;
        }
        // A question of the old configuration is not answered here.
        let record = Schedule {
            answered: record.asked,
            wanted: 0,
            ..record
        };
        let record = if old.asking.borrow().is_some() || record.version == 0 {
            record.released(now)
        } else {
            record
        };
        let is_there = host::shared_data(&self.record)
            .is_ok_and(|(entry, _)| self.seal.open(&self.record, &entry).is_some());
        if is_there {
            return;
        }
        let has_body = record.version == 0
            || old
                .shared_body(record.version)
                .is_some_and(|body| self.share_body(record.version, &body));
        if has_body {
            let (_, guard) = self.record(now);
            let _first = self.change(record, guard);
        }
    }

    /// Lets another worker ask at once in place of this one.
    pub(crate) fn release(&self, now: u64) {
        if self.asking.borrow_mut().take().is_some() {
            let (record, guard) = self.record(now);
            let _released = self.change(record.released(now), guard);
        }
    }

    /// Frees what is shared: nobody uses this configuration any more.
    pub(crate) fn forget(&self) {
        for entry in [&self.record, &self.body] {
            if host::shared_data(entry).is_ok() {
                let _freed = host::set_shared_data(entry, &[], 0);
            }
        }
    }

    /// Asks if it is time; whether it did. A question whose answer never came is given up.
    pub(crate) fn ask_if_due(&self, now: u64, metrics: &Metrics) -> bool {
        let (record, guard) = self.record(now);
        let since = self.asking.borrow().as_ref().map(|question| question.since);
        if let Some(since) = since {
            if now < since.saturating_add(2 * TIMEOUT + 2_000) {
                let _renewed = self.change(record.renewed(now), guard);
                return false;
            }
            *self.asking.borrow_mut() = None;
        }
        let asking = record.asking(now);
        if !record.is_due(now) || !self.change(asking, guard) {
            return false;
        }
        metrics.key_fetch();
        let is_discovery = matches!(self.location, KeyLocation::Discovery(_));
        self.ask(self.uri.clone(), is_discovery, asking.asked, now, metrics);
        true
    }

    /// Takes what this worker or another one got.
    pub(crate) fn take(&self, now: u64) -> News {
        let (record, _) = self.record(now);
        let seen = self.seen.replace(record);
        if seen.version == 0 && record.is_abandoned(now) {
            self.is_abandoned.set(true);
            return News::None;
        }
        if record.is_too_old(now) {
            if self.is_too_old.replace(true) {
                return News::None;
            }
            self.log(
                &format!(
                    "its keys are older than {} s and no longer used",
                    MAX_AGE / 1000
                ),
                "",
            );
            return self.hold(None);
        }
        if record.version != seen.version {
            let keys = self
                .shared_body(record.version)
                .and_then(|body| KeySet::parse(&body, self.rules).ok());
            let Some(keys) = keys else {
                self.distrust(seen, record, now);
                return News::None;
            };
            self.is_too_old.set(false);
            self.is_abandoned.set(false);
            return self.hold(Some(Arc::new(keys)));
        }
        if record.answered == seen.answered {
            News::None
        } else {
            News::Answer
        }
    }

    /// The shared key set is not the one that the record speaks of: somebody else wrote it, or two workers at once.
    /// It is asked for anew, and what this worker has stays in use.
    fn distrust(&self, seen: Schedule, record: Schedule, now: u64) {
        self.seen.set(Schedule {
            version: seen.version,
            ..record
        });
        if now >= self.distrusted.get().saturating_add(DISTRUST) {
            self.distrusted.set(now);
            let (record, guard) = self.record(now);
            let _asks = self.change(record.released(now), guard);
        }
    }

    fn hold(&self, keys: Option<Arc<KeySet>>) -> News {
        self.keys.borrow_mut().clone_from(&keys);
        News::Keys(keys)
    }

    /// Whether there are keys that this worker has not taken yet.
    pub(crate) fn is_behind(&self, now: u64) -> bool {
        self.record(now).0.version != self.seen.get().version
    }

    /// Whether this worker has no keys of it.
    pub(crate) fn has_no_keys(&self) -> bool {
        self.keys.borrow().is_none()
    }

    /// Whether a request that has no keys at all may wait for the next answer.
    pub(crate) fn is_hopeful(&self, now: u64) -> bool {
        self.record(now).0.is_hopeful()
    }

    /// Asks for newer keys before it is time; whether a request may wait for them.
    pub(crate) fn early(&self, now: u64) -> bool {
        let (record, guard) = self.record(now);
        record.is_early()
            || record
                .early(now)
                .is_some_and(|early| self.change(early, guard))
    }

    /// Milliseconds since its keys came; `None` without any.
    pub(crate) fn age(&self, now: u64) -> Option<u64> {
        let seen = self.seen.get();
        (seen.version > 0).then(|| now.saturating_sub(seen.fetched))
    }

    fn ask(&self, uri: String, is_discovery: bool, number: u64, now: u64, metrics: &Metrics) {
        let Some(endpoint) = Endpoint::parse(&uri) else {
            let what = format!("`{uri}` is no http or https URI");
            self.fail(number, now, metrics, &what, "");
            return;
        };
        let named = self.clusters.iter().find(|(of, _)| *of == uri);
        let cluster = named.map_or(endpoint.cluster, |(_, cluster)| cluster.clone());
        let headers = vec![
            (":method", "GET"),
            (":authority", endpoint.authority.as_str()),
            (":path", endpoint.path.as_str()),
            ("accept", "application/json"),
        ];
        let timeout = Duration::from_millis(TIMEOUT);
        let call =
            proxy_wasm::hostcalls::dispatch_http_call(&cluster, headers, None, vec![], timeout);
        if let Ok(token) = call {
            *self.asking.borrow_mut() = Some(Question {
                token,
                number,
                since: now,
                uri,
                cluster,
                is_discovery,
            });
        } else {
            let what = format!("Envoy has no cluster `{cluster}` with a host");
            let help = format!(
                "add a ServiceEntry for {}, or name the cluster under `jwks`",
                endpoint.authority
            );
            self.fail(number, now, metrics, &what, &help);
        }
    }

    /// Takes an answer; `false` if the question was another source's.
    pub(crate) fn answered(
        &self,
        token: u32,
        body_size: usize,
        now: u64,
        metrics: &Metrics,
    ) -> bool {
        let is_mine = |question: &mut Question| question.token == token;
        let Some(question) = self.asking.borrow_mut().take_if(is_mine) else {
            return false;
        };
        let number = question.number;
        match read_answer(body_size) {
            Err(what) => {
                let help = format!(
                    "see cluster `{}`; an https URI needs a DestinationRule that originates TLS",
                    question.cluster
                );
                self.fail(number, now, metrics, &what, &help);
            }
            Ok(body) if question.is_discovery => {
                if let Some(uri) = discovered(&question.uri, &body) {
                    self.ask(uri, false, number, now, metrics);
                } else {
                    let what = format!(
                        "`{}` names no `jwks_uri` that can be followed",
                        question.uri
                    );
                    self.fail(number, now, metrics, &what, "give `jwksUri` in the rule");
                }
            }
            Ok(body) => match KeySet::parse(&body, self.rules) {
                Err(error) => self.fail(number, now, metrics, &error.to_string(), ""),
                Ok(set) => {
                    if self.keep(number, &body, now, metrics) {
                        self.warn(&set);
                    }
                }
            },
        }
        true
    }

    /// Keeps a key set; whether it is a new one.
    fn keep(&self, number: u64, body: &[u8], now: u64, metrics: &Metrics) -> bool {
        let (record, guard) = self.record(now);
        let is_new = self
            .shared_body(record.version)
            .is_none_or(|old| old != body);
        let is_new = is_new || self.is_abandoned.get();
        let Some(next) = record.succeeded(number, is_new, now, host::random()) else {
            return false;
        };
        // The body first: whoever sees the new version must find it.
        if next.version != record.version && !self.share_body(next.version, body) {
            self.fail(number, now, metrics, "Envoy does not keep it", "");
            return false;
        }
        let is_new = next.version != record.version;
        if self.change(next, guard) {
            return is_new;
        }
        // Another worker wished for an early question meanwhile; the wish must not be lost.
        let (record, _) = self.record(now);
        if let Some(next) = record.succeeded(number, is_new, now, host::random()) {
            let _kept = self.change(next, 0);
        }
        is_new
    }

    /// Says what speaks against the keys of a new set, though they are used.
    fn warn(&self, set: &KeySet) {
        let doubts = set
            .examples_of_doubts()
            .map(|(index, doubt)| format!("key {index} of it {doubt}"));
        let limit = set.trial_limit().map(|limit| limit.to_string());
        for what in doubts.chain(limit) {
            host::log(
                LogLevel::Warn,
                &format!("the key set of {}: {what}", self.uri),
            );
        }
    }

    fn fail(&self, number: u64, now: u64, metrics: &Metrics, what: &str, help: &str) {
        metrics.key_fetch_failed();
        let (record, _) = self.record(now);
        if let Some(record) = record.failed(number, now, host::random()) {
            let _kept = self.change(record, 0);
        }
        self.log(what, help);
    }

    fn log(&self, what: &str, help: &str) {
        let separator = if help.is_empty() { "" } else { "; " };
        host::log(
            LogLevel::Warn,
            &format!(
                "the key set of {} cannot be fetched: {what}{separator}{help}",
                self.uri
            ),
        );
    }
}

fn read_answer(body_size: usize) -> Result<Vec<u8>, String> {
    let status = host::call_status().unwrap_or_default();
    match status.as_slice() {
        b"200" => {}
        b"" => return Err("the connection was reset".into()),
        other => return Err(format!("the answer is {}", String::from_utf8_lossy(other))),
    }
    if body_size > MAX_BODY {
        return Err(format!(
            "the answer has {body_size} bytes, more than {MAX_BODY}"
        ));
    }
    Ok(host::call_body(body_size))
}
