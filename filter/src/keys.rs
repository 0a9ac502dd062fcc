//! Key sets over the network. Every worker looks at a record that all share; the one that finds it due asks
//! for all, and the others take what it got.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use portcullis_policy::authenticate::KeySet;
use portcullis_policy::remote_keys::{
    Endpoint, KeyLocation, MAX_BODY, MAX_STALE, Schedule, TIMEOUT, discovered,
};
use proxy_wasm::types::LogLevel;

use crate::host;
use crate::metrics::Metrics;

/// One key set that is fetched.
pub(crate) struct Source {
    pub(crate) location: KeyLocation,
    /// The `uri` that was configured, and the clusters that were named for URIs.
    uri: String,
    clusters: Vec<(String, String)>,
    /// What this worker knows of the shared record.
    seen: Cell<Schedule>,
    /// The question that is under way.
    asking: RefCell<Option<Question>>,
    is_stale: Cell<bool>,
    /// The shared keys are those of a configuration that has gone, and not used.
    is_abandoned: Cell<bool>,
    strict: bool,
}

struct Question {
    token: u32,
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
    pub(crate) fn new(location: KeyLocation, clusters: &[(String, String)], strict: bool) -> Self {
        Self {
            uri: location.uri(),
            location,
            clusters: clusters.to_vec(),
            seen: Cell::default(),
            asking: RefCell::default(),
            is_stale: Cell::default(),
            is_abandoned: Cell::default(),
            strict,
        }
    }

    /// INVARIANT: two plugins share an entry only if they would fetch and read the same. Any of the clusters may
    /// be that of a URI which a document names.
    fn entry(&self, what: &str) -> String {
        let (location, clusters, strict) = (&self.location, &self.clusters, self.strict);
        format!("portcullis.keys.{what}|{strict}|{clusters:?}|{location:?}")
    }

    /// The record, and the number that guards its change.
    fn record(&self) -> (Schedule, u32) {
        match host::shared_data(&self.entry("record")) {
            Ok((bytes, guard)) => (Schedule::from_bytes(&bytes).unwrap_or_default(), guard),
            // An absent record is made by whoever comes first: no number guards it but this.
            Err(_) => (Schedule::default(), u32::MAX),
        }
    }

    /// Changes the record unless another worker did.
    fn change(&self, record: Schedule, guard: u32) -> bool {
        host::set_shared_data(&self.entry("record"), &record.to_bytes(), guard).is_ok()
    }

    /// Asks if it is time. A question whose answer never came is given up.
    pub(crate) fn ask_if_due(&self, now: u64, metrics: &Metrics) {
        let (record, guard) = self.record();
        let since = self.asking.borrow().as_ref().map(|question| question.since);
        if let Some(since) = since {
            if now < since + 2 * TIMEOUT + 2 {
                let _renewed = self.change(record.asking(now), guard);
                return;
            }
            *self.asking.borrow_mut() = None;
        }
        if record.is_due(now) && self.change(record.asking(now), guard) {
            metrics.key_fetch();
            let is_discovery = matches!(self.location, KeyLocation::Discovery(_));
            self.ask(self.uri.clone(), is_discovery, now, metrics);
        }
    }

    /// Takes what this worker or another one got.
    pub(crate) fn take(&self, now: u64) -> News {
        let (record, _) = self.record();
        let seen = self.seen.replace(record);
        if seen.version == 0 && record.is_abandoned(now) {
            self.is_abandoned.set(true);
            return News::None;
        }
        if record.is_stale(now) {
            if self.is_stale.replace(true) {
                return News::None;
            }
            self.log(
                &format!("its keys are older than {MAX_STALE} s and no longer used"),
                "",
            );
            return News::Keys(None);
        }
        if record.version != seen.version {
            self.is_stale.set(false);
            self.is_abandoned.set(false);
            let keys = host::shared_data(&self.entry("body"))
                .ok()
                .and_then(|(body, _)| KeySet::parse(&body, self.strict).ok());
            return match keys {
                Some(keys) => News::Keys(Some(Arc::new(keys))),
                None => News::Answer,
            };
        }
        if record.failures == seen.failures && record.fetched == seen.fetched {
            News::None
        } else {
            News::Answer
        }
    }

    /// Whether there are keys that this worker has not taken yet.
    pub(crate) fn is_behind(&self) -> bool {
        self.record().0.version != self.seen.get().version
    }

    /// Whether an answer is under way that a request may wait for.
    pub(crate) fn is_first(&self) -> bool {
        let (record, _) = self.record();
        record.is_first() || (self.is_abandoned.get() && record.failures == 0)
    }

    /// Asks for newer keys before it is time; whether a request may wait for them.
    pub(crate) fn early(&self, now: u64) -> bool {
        let (record, guard) = self.record();
        let asks = |early| self.change(early, guard);
        record.is_early(now) || record.early(now).is_some_and(asks)
    }

    fn ask(&self, uri: String, is_discovery: bool, now: u64, metrics: &Metrics) {
        let Some(endpoint) = Endpoint::parse(&uri) else {
            self.fail(
                now,
                metrics,
                &format!("`{uri}` is no http or https URI"),
                "",
            );
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
        let timeout = Duration::from_secs(TIMEOUT);
        let call =
            proxy_wasm::hostcalls::dispatch_http_call(&cluster, headers, None, vec![], timeout);
        if let Ok(token) = call {
            *self.asking.borrow_mut() = Some(Question {
                token,
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
            self.fail(now, metrics, &what, &help);
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
        match read_answer(body_size) {
            Err(what) => {
                let help = format!(
                    "see cluster `{}`; an https URI needs a DestinationRule that originates TLS",
                    question.cluster
                );
                self.fail(now, metrics, &what, &help);
            }
            Ok(body) if question.is_discovery => {
                if let Some(uri) = discovered(&question.uri, &body) {
                    self.ask(uri, false, now, metrics);
                } else {
                    let what = format!(
                        "`{}` names no `jwks_uri` that can be followed",
                        question.uri
                    );
                    self.fail(now, metrics, &what, "give `jwksUri` in the rule");
                }
            }
            Ok(body) => match KeySet::parse(&body, self.strict) {
                Err(error) => self.fail(now, metrics, &error.to_string(), ""),
                Ok(_) => self.keep(&body, now, metrics),
            },
        }
        true
    }

    fn keep(&self, body: &[u8], now: u64, metrics: &Metrics) {
        let is_new = host::shared_data(&self.entry("body")).map_or(true, |(old, _)| old != body);
        // The body first: whoever sees the new version must find it.
        if is_new && host::set_shared_data(&self.entry("body"), body, 0).is_err() {
            self.fail(now, metrics, "Envoy does not keep it", "");
            return;
        }
        let (record, _) = self.record();
        let record = record.succeeded(is_new || self.is_abandoned.get(), now, host::random());
        // This worker holds the lease, so nobody else has changed the record; an early wish may be lost.
        let _kept = self.change(record, 0);
    }

    fn fail(&self, now: u64, metrics: &Metrics, what: &str, help: &str) {
        metrics.key_fetch_failed();
        let (record, _) = self.record();
        let _kept = self.change(record.failed(now, host::random()), 0);
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
