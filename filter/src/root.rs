//! Configuration: once per version and VM.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use portcullis_policy::authenticate::{KeySet, TokenFailure};
use portcullis_policy::config::{Config, Signatures};
use portcullis_policy::crypto::{CacheLimits, CachedVerifier};
use portcullis_policy::diagnostic::Severity;
use portcullis_policy::remote_keys::{KeyLocation, TIMEOUT};
use portcullis_policy::source::from_json;
use portcullis_policy::{Authenticated, PolicySet, compile};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{ContextType, LogLevel};

use crate::attributes;
use crate::host;
use crate::keys::{News, Source};
use crate::metrics::Metrics;
use crate::request::{Outcome, Stream, handle};
use crate::signature::{Verifier, Whose};

/// One plugin configuration of one listener.
pub(crate) struct Root {
    plugin: Rc<Plugin>,
}

impl Root {
    pub(crate) fn new(id: u32) -> Self {
        let plugin = Plugin {
            root: id,
            ..Plugin::default()
        };
        Self {
            plugin: Rc::new(plugin),
        }
    }
}

/// What a root and its streams share.
#[derive(Default)]
pub(crate) struct Plugin {
    /// The root's context.
    root: u32,
    /// `None` until a configuration was accepted.
    gate: RefCell<Option<Rc<Gate>>>,
    sources: RefCell<Vec<Source>>,
    waiters: RefCell<Vec<Waiter>>,
}

/// What decides for one configuration and its keys. The signatures that were verified go with the keys.
pub(crate) struct Gate {
    pub(crate) set: PolicySet,
    pub(crate) verifier: CachedVerifier<Verifier>,
    pub(crate) metrics: Metrics,
    whose: Whose,
    cache: CacheLimits,
}

/// What keys could still do for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hope {
    /// Nothing.
    None,
    /// They are there, and this worker has not taken them.
    NewKeys,
    /// They may come soon.
    Soon,
}

/// A request that waits for keys.
struct Waiter {
    stream: u32,
    /// Seconds since the epoch.
    until: u64,
    passed: Rc<Cell<bool>>,
}

/// More requests than these do not wait.
const MAX_WAITERS: usize = 1000;
/// Milliseconds between two looks at the shared record while keys are missing.
const SOON: u32 = 50;
/// And while they are there.
const LATER: u32 = 1000;

impl Gate {
    fn new(set: PolicySet, whose: Whose, metrics: Metrics, cache: CacheLimits) -> Self {
        Self {
            set,
            verifier: CachedVerifier::new(Verifier { whose, metrics }, cache),
            metrics,
            whose,
            cache,
        }
    }

    fn with_keys(&self, location: &KeyLocation, keys: Option<&Arc<KeySet>>) -> Self {
        let set = self.set.with_keys(location, keys);
        Self::new(set, self.whose, self.metrics, self.cache)
    }
}

impl Plugin {
    pub(crate) fn gate(&self) -> Option<Rc<Gate>> {
        self.gate.borrow().clone()
    }

    /// Lets a request wait; its time is bounded.
    pub(crate) fn wait(&self, stream: u32, passed: &Rc<Cell<bool>>) {
        let until = now() + TIMEOUT + 1;
        let waiter = Waiter {
            stream,
            until,
            passed: passed.clone(),
        };
        let is_first = self.waiters.borrow().is_empty();
        self.waiters.borrow_mut().push(waiter);
        // Every setting starts the time anew, so that a stream of requests would keep the tick away.
        if is_first && host::speak_of(self.root).is_ok() {
            host::set_tick_period(SOON);
            // The stream is there: its request is being handled.
            let _there = host::speak_of(stream);
        }
    }

    /// Forgets a stream that has gone.
    pub(crate) fn forget(&self, stream: u32) {
        if let Ok(mut waiters) = self.waiters.try_borrow_mut() {
            waiters.retain(|waiter| waiter.stream != stream);
        }
    }

    /// What keys could still do for a request that is refused for lack of one.
    pub(crate) fn hope(&self, who: &Authenticated, set: &PolicySet, now: u64) -> Hope {
        let is_unavailable = who.failure() == Some(TokenFailure::KeysUnavailable);
        let is_missing = who.failure() == Some(TokenFailure::NoMatchingKey);
        let sources = self.sources.borrow();
        if !(is_unavailable || is_missing) || sources.is_empty() {
            return Hope::None;
        }
        if sources.iter().any(Source::is_behind) {
            return Hope::NewKeys;
        }
        let may_come = match who.misses_key(set) {
            None => is_unavailable && sources.iter().any(Source::is_first),
            Some(location) => sources
                .iter()
                .any(|source| source.location == location && source.early(now)),
        };
        if may_come && self.waiters.borrow().len() < MAX_WAITERS {
            Hope::Soon
        } else {
            Hope::None
        }
    }

    /// Takes new keys; whether anything happened that requests may wait for.
    pub(crate) fn take_keys(&self) -> bool {
        let now = now();
        let mut happened = false;
        for source in &*self.sources.borrow() {
            let Some(gate) = self.gate() else { break };
            match source.take(now) {
                News::None => {}
                News::Answer => happened = true,
                News::Keys(keys) => {
                    happened = true;
                    let gate = gate.with_keys(&source.location, keys.as_ref());
                    *self.gate.borrow_mut() = Some(Rc::new(gate));
                }
            }
        }
        happened
    }

    fn ask(&self) {
        if let Some(gate) = self.gate() {
            for source in &*self.sources.borrow() {
                source.ask_if_due(now(), &gate.metrics);
            }
        }
    }

    /// Decides again about those who wait, if something happened or their time is over.
    fn serve_waiters(&self, happened: bool) {
        let now = now();
        let waiters = std::mem::take(&mut *self.waiters.borrow_mut());
        for waiter in waiters {
            let is_over = now >= waiter.until;
            if !happened && !is_over {
                self.waiters.borrow_mut().push(waiter);
                continue;
            }
            // A stream that has gone needs no answer.
            if host::speak_of(waiter.stream).is_err() {
                continue;
            }
            match handle(self, !is_over) {
                Outcome::Wait => self.waiters.borrow_mut().push(waiter),
                Outcome::Answered => {}
                Outcome::Forward => {
                    waiter.passed.set(true);
                    if host::continue_request().is_err() {
                        host::log(LogLevel::Error, "a request that waited cannot go on");
                    }
                }
            }
        }
        if host::speak_of(self.root).is_err() {
            host::log(LogLevel::Error, "the plugin's own context is gone");
        }
    }

    /// When to look again.
    fn pause(&self) -> u32 {
        let has_keys = self.gate().is_some_and(|gate| gate.set.has_all_keys());
        if has_keys && self.waiters.borrow().is_empty() {
            LATER
        } else {
            SOON
        }
    }
}

/// Seconds since the epoch; 0 when Envoy does not tell.
fn now() -> u64 {
    host::seconds().unwrap_or_default()
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, _: usize, body_size: usize, _: usize) {
        let Some(gate) = self.plugin.gate() else {
            return;
        };
        let now = now();
        for source in &*self.plugin.sources.borrow() {
            if source.answered(token, body_size, now, &gate.metrics) {
                return;
            }
        }
    }
}

impl RootContext for Root {
    /// `false` makes Envoy keep the previous configuration, or refuse traffic if there is none.
    fn on_configure(&mut self, size: usize) -> bool {
        let text = host::plugin_configuration(size);
        let config = match from_json(&text) {
            Ok(node) => Config::read(&node),
            Err(error) => {
                Config::not_json(format!("the plugin's configuration is not JSON: {error}"))
            }
        };
        let proxy = attributes::workload();
        let is_known = config.workload.is_some() || proxy.is_some();
        let mut setting = config.setting(proxy.unwrap_or_default());
        setting.workload.is_gateway |= attributes::is_gateway();
        let compiled = compile(&config.resources, &setting);
        for diagnostic in &compiled.diagnostics {
            let level = match diagnostic.severity {
                Severity::Error => LogLevel::Error,
                Severity::Warning => LogLevel::Warn,
                Severity::Info => LogLevel::Info,
            };
            host::log(level, &diagnostic.to_string());
        }
        if !is_known {
            host::log(
                LogLevel::Error,
                "error[missing-field]: workload: the proxy's node metadata names no namespace that can be read; give `workload`",
            );
            return false;
        }
        let Some(set) = compiled.set else {
            return false;
        };
        let Ok(metrics) = Metrics::define() else {
            host::log(
                LogLevel::Error,
                "Envoy does not take the plugin's statistics",
            );
            return false;
        };
        let whose = match config.signatures {
            Signatures::Auto => Whose::choose(),
            Signatures::BuiltIn => Whose::BuiltIn,
        };
        host::log(
            LogLevel::Info,
            &format!(
                "RSA PKCS #1 and ECDSA signatures are verified by {}",
                whose.as_str()
            ),
        );
        let locations = set.key_locations();
        let sources = locations
            .into_iter()
            .map(|location| Source::new(location, &config.clusters, config.tokens.is_strict()));
        *self.plugin.sources.borrow_mut() = sources.collect();
        let gate = Gate::new(set, whose, metrics, config.signature_cache);
        *self.plugin.gate.borrow_mut() = Some(Rc::new(gate));
        // What an earlier configuration fetched is there already.
        self.plugin.take_keys();
        if !self.plugin.sources.borrow().is_empty() {
            host::set_tick_period(SOON);
        }
        true
    }

    fn on_tick(&mut self) {
        self.plugin.ask();
        let happened = self.plugin.take_keys();
        self.plugin.serve_waiters(happened);
        host::set_tick_period(self.plugin.pause());
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            id,
            plugin: self.plugin.clone(),
            passed: Rc::default(),
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
