//! One plugin configuration of one listener: what decides, the key sets it fetches, the requests that wait for
//! them, and what becomes of it when a newer configuration takes its place.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use portcullis_plugin::log_limit::{Line, LogLimit};
use portcullis_plugin::schedule::TIMEOUT;
use portcullis_plugin::seal::Seal;
use portcullis_plugin::waiting::{Called, Waiter, Waiting};
use portcullis_policy::authenticate::{KeySet, TokenFailure};
use portcullis_policy::config::WaitingConfig;
use portcullis_policy::crypto::{CacheLimits, CachedVerifier};
use portcullis_policy::remote_keys::KeyLocation;
use portcullis_policy::{Authenticated, PolicySet};
use proxy_wasm::types::LogLevel;

use crate::attributes;
use crate::configuration::{self, Accepted, Report};
use crate::host;
use crate::keys::{News, Source};
use crate::metrics::Metrics;
use crate::request::{Outcome, handle};
use crate::signature::{Verifier, Whose};

/// What keys could still do for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hope {
    /// Nothing.
    None,
    /// They may come soon, and too many requests wait already.
    NoPlace,
    /// They may come soon.
    Soon,
}

/// What a root context and its streams share.
pub(crate) struct Plugin {
    /// The root's context.
    root: u32,
    /// What its configuration is called in Envoy.
    name: RefCell<Vec<u8>>,
    /// The configuration as it came, compressed.
    text: RefCell<Vec<u8>>,
    /// `None` until a configuration was accepted, and once its policies were given back.
    gate: RefCell<Option<Rc<Gate>>>,
    sources: RefCell<Vec<Source>>,
    /// The source that the next call begins with: not all of them ask in one call.
    next_source: Cell<usize>,
    waiting: RefCell<Waiting<Rc<Cell<bool>>>>,
    succession: Cell<Succession>,
    successor: RefCell<Weak<Plugin>>,
    log_limit: Cell<LogLimit>,
    has_warned_of_another: Cell<bool>,
}

/// Whether a newer configuration took this one's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Succession {
    /// None did.
    Current,
    /// One did, at this time.
    Replaced(u64),
    /// A newer one of the same name is another listener's, since this one goes on getting streams.
    Sibling,
}

/// What decides for one configuration and its keys. The signatures that were verified go with the keys.
pub(crate) struct Gate {
    pub(crate) set: PolicySet,
    pub(crate) verifier: CachedVerifier<Verifier>,
    pub(crate) metrics: Metrics,
    pub(crate) waiting: WaitingConfig,
    whose: Whose,
    cache: CacheLimits,
}

/// Requests that one call completes at most. Envoy ends each of them inside the call for the one before, and a
/// few hundred fill V8's stack.
const CALLED: usize = 16;
/// Milliseconds after which one call answers no further request that waited, so that others get their turn.
const BUSY: u64 = 10;
/// Key sets that one call asks for at most, for the same reason: an answer may come at once.
const ASKED: usize = 16;
/// How long a request waits at most, in milliseconds.
const PATIENCE: u64 = TIMEOUT + 1_000;
/// How long Envoy may still give streams to a configuration that was replaced, in milliseconds.
const HANDOVER: u64 = 2_000;
/// Milliseconds until the next tick while there is something to do.
const AT_ONCE: u32 = 1;
/// While keys are missing.
const SOON: u32 = 50;
/// While they are there.
const LATER: u32 = 1_000;
/// No tick.
const NEVER: u32 = 0;

thread_local! {
    /// The plugins of this VM: for what passes from a configuration to the one that replaces it.
    static PLUGINS: RefCell<Vec<Weak<Plugin>>> = const { RefCell::new(Vec::new()) };
}

impl Gate {
    fn new(accepted: Accepted) -> Self {
        let Accepted {
            set,
            whose,
            metrics,
            config,
        } = accepted;
        Self {
            set,
            verifier: CachedVerifier::new(Verifier { whose, metrics }, config.signature_cache),
            metrics,
            waiting: config.waiting,
            whose,
            cache: config.signature_cache,
        }
    }

    fn with_keys(&self, location: &KeyLocation, keys: Option<&Arc<KeySet>>) -> Self {
        let verifier = Verifier {
            whose: self.whose,
            metrics: self.metrics,
        };
        Self {
            set: self.set.with_keys(location, keys),
            verifier: CachedVerifier::new(verifier, self.cache),
            ..*self
        }
    }
}

impl Plugin {
    pub(crate) fn new(root: u32) -> Rc<Self> {
        let plugin = Rc::new(Self {
            root,
            name: RefCell::default(),
            text: RefCell::default(),
            gate: RefCell::default(),
            sources: RefCell::default(),
            next_source: Cell::default(),
            waiting: RefCell::new(Waiting::new(0)),
            succession: Cell::new(Succession::Current),
            successor: RefCell::default(),
            log_limit: Cell::default(),
            has_warned_of_another: Cell::default(),
        });
        PLUGINS.with_borrow_mut(|plugins| {
            plugins.retain(|plugin| plugin.strong_count() > 0);
            plugins.push(Rc::downgrade(&plugin));
        });
        plugin
    }

    /// Takes a configuration; `false` makes Envoy keep the one before, or refuse traffic if there is none.
    pub(crate) fn configure(self: &Rc<Self>, text: &[u8]) -> bool {
        *self.name.borrow_mut() = attributes::plugin_name();
        if !self.compile(text, Report::Log) {
            return false;
        }
        *self.text.borrow_mut() = lz4_flex::compress_prepend_size(text);
        let now = host::milliseconds();
        if let Some(old) = self.predecessor() {
            for source in &*self.sources.borrow() {
                source.adopt(&old.sources.borrow(), now);
            }
            old.give_way_to(self, now);
        }
        // What an earlier configuration fetched is there already.
        self.take_keys(now);
        self.set_tick(now);
        true
    }

    fn compile(&self, text: &[u8], report: Report) -> bool {
        let Some(accepted) = configuration::accept(text, report) else {
            return false;
        };
        let config = &accepted.config;
        let seal = Seal::of(text);
        let sources = accepted
            .set
            .key_locations()
            .into_iter()
            .map(|location| {
                Source::new(location, &config.clusters, config.tokens.key_rules(), &seal)
            })
            .collect();
        *self.sources.borrow_mut() = sources;
        self.waiting
            .borrow_mut()
            .set_places(config.waiting.requests);
        *self.gate.borrow_mut() = Some(Rc::new(Gate::new(accepted)));
        true
    }

    /// What decides about requests; `None` while there is nothing that could.
    pub(crate) fn gate(&self) -> Option<Rc<Gate>> {
        self.gate.borrow().clone()
    }

    /// A stream has come in. Where it comes to a configuration that was replaced a while ago, the newer one of its name
    /// was another listener's: policies that were given back are compiled anew.
    pub(crate) fn receive(&self, stream: u32) {
        if let Succession::Replaced(since) = self.succession.get()
            && host::milliseconds() > since.saturating_add(HANDOVER)
        {
            self.succession.set(Succession::Sibling);
            if self.gate.borrow().is_none() {
                self.revive(stream);
            }
        }
    }

    fn revive(&self, stream: u32) {
        let text = lz4_flex::decompress_size_prepended(&self.text.borrow());
        if text.is_ok_and(|text| self.compile(&text, Report::Silent)) {
            self.take_keys(host::milliseconds());
            self.tick_in(SOON, stream);
        }
    }

    /// The configuration that this one replaces: the only other one of its name. Envoy does not say which it is;
    /// with two listeners that give their plugins one name there are several, and each is left alone.
    fn predecessor(&self) -> Option<Rc<Self>> {
        PLUGINS.with_borrow(|plugins| {
            let mut same = plugins.iter().filter_map(Weak::upgrade).filter(|plugin| {
                plugin.root != self.root
                    && *plugin.name.borrow() == *self.name.borrow()
                    && !plugin.text.borrow().is_empty()
                    && !matches!(plugin.succession.get(), Succession::Replaced(_))
            });
            let first = same.next()?;
            same.next().is_none().then_some(first)
        })
    }

    /// Hands over to a newer configuration. Whoever waits is decided by the policies that are in force then.
    fn give_way_to(&self, successor: &Rc<Self>, now: u64) {
        self.succession.set(Succession::Replaced(now));
        *self.successor.borrow_mut() = Rc::downgrade(successor);
        successor
            .waiting
            .borrow_mut()
            .adopt(&mut self.waiting.borrow_mut());
        for source in &*self.sources.borrow() {
            source.release(now);
        }
        if let Some(gate) = &*self.gate.borrow() {
            gate.verifier.clear();
        }
        // It may have had no reason to tick, and its end takes one.
        self.tick_in(LATER, successor.root);
    }

    /// Gives the policies of a configuration back that was replaced: Envoy keeps it as long as its longest stream.
    fn retire(&self, now: u64) {
        if let Succession::Replaced(since) = self.succession.get()
            && now > since.saturating_add(HANDOVER)
            && self.waiting.borrow().is_empty()
        {
            *self.gate.borrow_mut() = None;
            self.forget_sources(now);
        }
    }

    fn forget_sources(&self, now: u64) {
        for source in self.sources.borrow_mut().drain(..) {
            source.release(now);
            source.forget();
        }
    }

    /// The root context has gone.
    pub(crate) fn end(&self) {
        self.forget_sources(host::milliseconds());
    }

    /// Lets a request wait, with what tells its stream that it may go on. [`Self::hope`] said that it may.
    pub(crate) fn wait(&self, stream: u32, passed: &Rc<Cell<bool>>) {
        let waiter = Waiter {
            stream,
            client: attributes::client(),
            until: host::milliseconds().saturating_add(PATIENCE),
            with: passed.clone(),
        };
        let is_first = self.waiting.borrow().is_empty();
        self.count_waiting(|waiting| drop(waiting.admit(waiter)));
        // Every setting starts the time anew, so that a stream of requests would keep the tick away.
        if is_first {
            self.tick_in(SOON, stream);
        }
    }

    /// Sets the tick from within another context.
    fn tick_in(&self, milliseconds: u32, context: u32) {
        if host::speak_of(self.root).is_ok() {
            host::set_tick_period(milliseconds);
        }
        // It is there: Envoy is calling it.
        let _there = host::speak_of(context);
    }

    /// Changes who waits, and the statistic with it.
    fn count_waiting<R>(&self, change: impl FnOnce(&mut Waiting<Rc<Cell<bool>>>) -> R) -> R {
        let mut waiting = self.waiting.borrow_mut();
        let before = waiting.len();
        let result = change(&mut waiting);
        if let Some(gate) = &*self.gate.borrow() {
            gate.metrics.waiting(before, waiting.len());
        }
        result
    }

    /// Forgets a stream that has gone.
    pub(crate) fn forget(&self, stream: u32) {
        let waited = self.count_waiting(|waiting| waiting.forget(stream));
        if !waited && let Some(successor) = self.successor.borrow().upgrade() {
            successor.forget(stream);
        }
    }

    /// What keys could still do for a request that is refused for lack of one.
    pub(crate) fn hope(&self, who: &Authenticated, gate: &Gate) -> Hope {
        let is_unavailable = who.failure() == Some(TokenFailure::KeysUnavailable);
        let is_missing = who.failure() == Some(TokenFailure::NoMatchingKey);
        let sources = self.sources.borrow();
        if !(is_unavailable || is_missing) || sources.is_empty() {
            return Hope::None;
        }
        let now = host::milliseconds();
        let may_come = match who.misses_key(&gate.set) {
            None => {
                is_unavailable
                    && sources
                        .iter()
                        .any(|source| source.has_no_keys() && source.is_hopeful(now))
            }
            Some(location) => sources
                .iter()
                .any(|source| source.location == location && source.early(now)),
        };
        if !may_come {
            Hope::None
        } else if self.waiting.borrow().has_place(&attributes::client()) {
            Hope::Soon
        } else {
            gate.metrics.no_place();
            Hope::NoPlace
        }
    }

    /// Takes keys that another worker got and that a request lacks; whether there were any.
    pub(crate) fn catch_up(&self, stream: u32, who: &Authenticated, set: &PolicySet) -> bool {
        let now = host::milliseconds();
        let missing = who.misses_key(set);
        let is_behind = self.sources.borrow().iter().any(|source| {
            let matters = match &missing {
                Some(location) => source.location == *location,
                None => source.has_no_keys(),
            };
            matters && source.is_behind(now)
        });
        let has_news = is_behind && self.take_keys(now);
        if has_news && !self.waiting.borrow().is_empty() {
            self.tick_in(AT_ONCE, stream);
        }
        has_news
    }

    /// Takes new keys, and calls those who wait for them; whether there was anything new.
    fn take_keys(&self, now: u64) -> bool {
        let mut happened = false;
        for source in &*self.sources.borrow() {
            match source.take(now) {
                News::None => continue,
                News::Answer => {}
                News::Keys(keys) => {
                    let mut gate = self.gate.borrow_mut();
                    let next = gate
                        .as_ref()
                        .map(|gate| Rc::new(gate.with_keys(&source.location, keys.as_ref())));
                    *gate = next;
                }
            }
            happened = true;
        }
        if happened {
            self.waiting.borrow_mut().wake();
        }
        happened
    }

    /// Asks for the key sets that are due, so many of them at a time; whether more may be.
    fn ask(&self, now: u64) -> bool {
        let Some(metrics) = self.gate.borrow().as_ref().map(|gate| gate.metrics) else {
            return false;
        };
        let sources = self.sources.borrow();
        let first = self.next_source.get() % sources.len().max(1);
        let in_turn = (first..sources.len()).chain(0..first);
        let mut asked = 0;
        for place in in_turn {
            let Some(source) = sources.get(place) else {
                break;
            };
            asked += usize::from(source.ask_if_due(now, &metrics));
            if asked == ASKED {
                self.next_source.set(place + 1);
                break;
            }
        }
        if let Some(oldest) = sources.iter().filter_map(|source| source.age(now)).max() {
            metrics.key_set_age(oldest);
        }
        asked == ASKED
    }

    /// An answer to a question for keys.
    pub(crate) fn answered(&self, token: u32, body_size: usize) {
        let Some(metrics) = self.gate.borrow().as_ref().map(|gate| gate.metrics) else {
            return;
        };
        let now = host::milliseconds();
        let sources = self.sources.borrow();
        if sources
            .iter()
            .any(|source| source.answered(token, body_size, now, &metrics))
        {
            host::set_tick_period(AT_ONCE);
        }
    }

    pub(crate) fn tick(&self) {
        let now = host::milliseconds();
        let has_more = self.ask(now);
        self.take_keys(now);
        self.serve(now);
        self.retire(now);
        if has_more {
            host::set_tick_period(AT_ONCE);
        } else {
            self.set_tick(now);
        }
    }

    /// Decides again about some of those who wait and may have waited long enough.
    fn serve(&self, now: u64) {
        for _ in 0..CALLED {
            let Some(called) = self.count_waiting(|waiting| waiting.call(now)) else {
                break;
            };
            let Called { waiter, may_wait } = called;
            // A stream that has gone needs no answer.
            if host::speak_of(waiter.stream).is_err() {
                continue;
            }
            match handle(self, waiter.stream, may_wait) {
                Outcome::Wait => {
                    self.count_waiting(|waiting| waiting.insert(waiter));
                    continue;
                }
                Outcome::Answered => {}
                Outcome::Forward => {
                    waiter.with.set(true);
                    if host::continue_request().is_err() {
                        host::log(LogLevel::Error, "a request that waited cannot go on");
                    }
                }
            }
            if let Some(gate) = &*self.gate.borrow() {
                gate.metrics.waited();
            }
            if host::milliseconds() > now.saturating_add(BUSY) {
                break;
            }
        }
        if host::speak_of(self.root).is_err() {
            host::log(LogLevel::Error, "the plugin's own context is gone");
        }
    }

    fn set_tick(&self, now: u64) {
        let waiting = self.waiting.borrow();
        let gate = self.gate.borrow();
        let is_replaced = matches!(self.succession.get(), Succession::Replaced(_));
        let period = match &*gate {
            _ if waiting.has_called(now) => AT_ONCE,
            None => NEVER,
            Some(_) if is_replaced && waiting.is_empty() => LATER,
            Some(_) if self.sources.borrow().is_empty() && waiting.is_empty() => NEVER,
            Some(gate) if waiting.is_empty() && gate.set.has_all_keys() => LATER,
            Some(_) => SOON,
        };
        host::set_tick_period(period);
    }

    /// Writes a line that clients can provoke, or counts it.
    pub(crate) fn log(&self, metrics: &Metrics, line: impl FnOnce() -> String) {
        let mut limit = self.log_limit.get();
        let outcome = limit.line(host::milliseconds());
        self.log_limit.set(limit);
        match outcome {
            Line::LeaveOut => metrics.line_left_out(),
            Line::Write { left_out } => {
                if left_out > 0 {
                    let rest = format!("{left_out} lines about other requests were left out");
                    host::log(LogLevel::Info, &rest);
                }
                host::log(LogLevel::Info, &line());
            }
        }
    }

    /// Says once that another plugin has judged a request before this one.
    pub(crate) fn warn_of_another(&self, name: &[u8]) {
        if !self.has_warned_of_another.replace(true) {
            let name = String::from_utf8_lossy(name);
            host::log(
                LogLevel::Warn,
                &format!(
                    "the plugin `{name}` has judged this request before: each of the two must let it pass, where Istio joins all ALLOW policies; give all policies of a workload to one plugin"
                ),
            );
        }
    }

    /// What its configuration is called in Envoy.
    pub(crate) fn name(&self) -> Vec<u8> {
        self.name.borrow().clone()
    }
}
