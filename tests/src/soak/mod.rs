//! A long run: one Envoy with the filter under load, while its policies change and its key server has bad days.
//! Every answer is compared with what the core decides natively.
//!
//! A *version* is one set of policies; the core's answers to all requests are made before it comes into force. During
//! a change, the answer of either version is right. A *generation* is what the changing key set holds; until every
//! worker has surely taken the newest, the answer of each of those since is right.

mod answer;
mod hostile;
mod http1;
mod http2;
mod key_server;
mod load;
mod report;
mod sender;
mod version;
mod window;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::drivers::{filter_module, real_now, source_ip_state};
use crate::envoy::{Applied, Config, Envoy, ExtensionFile, Listener, cluster};
use crate::fuzz::random::Random;
use key_server::{KeyServer, Mood};
use load::Pool;
pub use report::Summary;
use sender::{Manner, Shared, send};
use version::{KEY_CLUSTER, Version};
use window::Window;

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The run ends after so many requests, or after `time`, whichever comes first; 0 is no limit.
    pub requests: u64,
    /// The longest time.
    pub time: Duration,
    /// Envoy's worker threads.
    pub workers: u32,
    /// The same seed gives the same policies and requests.
    pub seed: u64,
    /// The time between two changes of the policies.
    pub pause: Duration,
    /// By how many percent the memory may grow from the first tenth of the run to its end.
    pub growth_limit: u64,
    /// Whether each ten seconds are reported on standard output.
    pub progress: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            requests: 0,
            time: Duration::from_mins(5),
            workers: 2,
            seed: 1,
            pause: Duration::from_secs(2),
            growth_limit: 5,
            progress: false,
        }
    }
}

/// The senders beside each other.
const SENDERS: [Manner; 4] = [
    Manner::OneByOne,
    Manner::Crowd,
    Manner::Crowd,
    Manner::Http2,
];

/// How long after Envoy's main thread took a version a worker may go on with the one before.
const GRACE: Duration = Duration::from_secs(1);
/// How long after the answer of the key server a worker may go on with the keys before: its tick, and as much again.
const KEYS_TAKEN: Duration = Duration::from_secs(3);
/// The time between two changes of the key server's mood.
const MOOD: Duration = Duration::from_secs(5);
/// The shortest time between two rotations, and before the first.
const ROTATION: Duration = Duration::from_secs(45);
const FIRST_ROTATION: Duration = Duration::from_secs(5);
/// How long a good start may take.
const START: Duration = Duration::from_secs(30);
/// A run with so many wrong answers ends.
const ENOUGH: u64 = 100;
/// The time between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// What stands in Envoy's log when a plugin was stopped by a panic or a trap.
const TRAPS: [&str; 4] = [
    "Proxy-Wasm plugin in-VM backtrace",
    "wasm_fail_stream",
    "panicked at",
    "Function: proxy_on_",
];

/// Runs until the requests are answered or the time is over.
///
/// # Errors
/// Envoy does not start, or the core refuses its own policies. A wrong answer is no error; it is in the summary.
pub fn run(options: &Options) -> Result<Summary> {
    let module = filter_module()?;
    let mut random = Random::new(options.seed, u64::MAX);
    let standing = Pool::new(hostile::requests(real_now())?, &mut random);
    let none = Pool::default();
    let first = Version::make(options.seed, 0, &module, &standing, &none)?;
    let mut keys = KeyServer::start()?;
    let mut file = ExtensionFile::new(&first.filter)?;
    let envoy = start(options, &file, keys.port())?;
    let first = Arc::new(first);
    let shared = Shared {
        address: envoy.address("gate")?,
        window: Window::new(Arc::clone(&first)),
        standing,
        sent: AtomicU64::new(0),
        wrong: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    };
    wait_for_keys(&shared)?;
    let began = Instant::now();
    let mut summary = Summary {
        growth_limit: options.growth_limit,
        ..Summary::default()
    };
    summary.memory[0] = envoy.resident_memory()?;
    let result = thread::scope(|scope| {
        let (made, versions) = sync_channel(2);
        let (shared, module) = (&shared, &module);
        scope.spawn(move || make_versions(options, module, shared, &first, &made));
        let senders: Vec<_> = SENDERS
            .iter()
            .zip(1..)
            .map(|(manner, stream)| {
                let random = Random::new(options.seed, u64::MAX - stream);
                scope.spawn(move || send(shared, *manner, random))
            })
            .collect();
        let mut driver = Driver {
            options,
            shared,
            envoy: &envoy,
            file: &mut file,
            keys: &mut keys,
            versions,
            random,
            summary: &mut summary,
        };
        let result = driver.drive(began);
        shared.stop.store(true, Ordering::Relaxed);
        // The maker of versions waits for somebody to take one.
        drop(driver);
        let tallies: Vec<_> = senders
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect();
        for tally in tallies {
            match tally {
                Ok(tally) => summary.tally.add(tally),
                Err(_) => summary.faults.push("a sender panicked".to_owned()),
            }
        }
        result
    });
    summary.took = began.elapsed();
    result?;
    summary.faults.extend(faults(&envoy)?);
    let count = |name: &str| envoy.stat(&format!("wasmcustom.portcullis_key_set_{name}_total"));
    summary.fetches = (count("fetches")?, count("fetch_failures")?);
    summary.asked = keys.counts();
    Ok(summary)
}

fn start(options: &Options, file: &ExtensionFile, port: u16) -> Result<Envoy> {
    let mut listener = Listener::new("gate", vec![source_ip_state()?, file.http_filter()]);
    // The proxy itself answers what passes, so that no upstream is in the figures.
    let routes = json!({ "virtual_hosts": [{
        "name": "all",
        "domains": ["*"],
        "routes": [{
            "match": { "prefix": "/" },
            "direct_response": { "status": 200, "body": { "inline_string": "ok" } },
        }],
    }] });
    listener
        .connection_manager
        .insert("route_config".to_owned(), routes);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut config = Config::new(address, vec![listener]);
    config.concurrency = options.workers;
    config.clusters.push(cluster(KEY_CLUSTER, address));
    Envoy::start(&config)
}

/// Sends every request until all answers are right: the keys are there.
fn wait_for_keys(shared: &Shared) -> Result<()> {
    let deadline = Instant::now() + START;
    let moment = shared.window.now();
    loop {
        let mut wrong = String::new();
        for (index, load) in shared.standing.loads.iter().enumerate() {
            let mut connection = http1::Connection::open(shared.address, load.connection)?;
            connection.send(load)?;
            let received = connection.receive(load, |got| {
                let whose = version::Whose::Standing;
                for (_, _, answer) in moment.right(&moment, whose, index) {
                    if let Some(answer) = answer.filter(|answer| !answer.is(got)) {
                        wrong = format!("{}\nwanted {answer}\ngot {got}", load.text());
                    }
                }
            });
            received.with_context(|| load.text())?;
        }
        if wrong.is_empty() {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "a wrong answer before the run:\n{wrong}"
        );
        thread::sleep(LOOK);
    }
}

fn make_versions(
    options: &Options,
    module: &Path,
    shared: &Shared,
    first: &Arc<Version>,
    made: &SyncSender<Result<Arc<Version>>>,
) {
    let mut previous = Arc::clone(&first.own);
    for number in 1.. {
        let version = Version::make(options.seed, number, module, &shared.standing, &previous);
        let version = version.map(Arc::new);
        if let Ok(version) = &version {
            previous = Arc::clone(&version.own);
        }
        let is_last = version.is_err();
        if made.send(version).is_err() || is_last {
            return;
        }
    }
}

/// The one that changes what is in force, and watches.
struct Driver<'d> {
    options: &'d Options,
    shared: &'d Shared,
    envoy: &'d Envoy,
    file: &'d mut ExtensionFile,
    keys: &'d mut KeyServer,
    versions: Receiver<Result<Arc<Version>>>,
    random: Random,
    summary: &'d mut Summary,
}

impl Driver<'_> {
    fn drive(&mut self, began: Instant) -> Result<()> {
        let mut updated = began;
        let mut mood = began;
        let mut next_rotation = began + FIRST_ROTATION;
        let mut measured = began;
        let mut reported = began;
        let mut is_settled = true;
        let mut late: Vec<u64> = Vec::new();
        loop {
            thread::sleep(LOOK);
            let done = self.done(began);
            if self.shared.wrong.load(Ordering::Relaxed) >= ENOUGH {
                break;
            }
            // No update while the newest keys are on their way from the worker that asked to the others.
            let is_taking = !is_settled && self.keys.served().is_some_and(|at| at > updated);
            if !is_taking && updated.elapsed() >= self.options.pause && self.update()? {
                updated = Instant::now();
            }
            if is_settled && mood.elapsed() >= MOOD {
                mood = Instant::now();
                self.keys.change(&mut self.random)?;
            }
            if is_settled && Instant::now() >= next_rotation {
                next_rotation = Instant::now() + ROTATION;
                is_settled = false;
                self.keys.set(Mood::Good)?;
                self.keys.rotate(self.shared.window.rotate());
                self.summary.rotations.0 += 1;
            }
            // An answer for a configuration that was replaced meanwhile may have been thrown away.
            if !is_settled
                && let Some(served) = self.keys.served()
                && served > updated
                && served.elapsed() > KEYS_TAKEN
            {
                is_settled = true;
                self.shared.window.settle();
                self.summary.rotations.1 += 1;
            }
            if measured.elapsed() >= Duration::from_secs(1) {
                measured = Instant::now();
                let memory = self.envoy.resident_memory()?;
                let [_, early, last, highest] = &mut self.summary.memory;
                *highest = memory.max(*highest);
                if done < 0.1 {
                    *early = memory.max(*early);
                }
                // The middle one of the last five, so that one update under way does not count.
                late.push(memory);
                let mut last_five: Vec<u64> = late.iter().rev().take(5).copied().collect();
                last_five.sort_unstable();
                *last = last_five[last_five.len() / 2];
            }
            if self.options.progress && reported.elapsed() >= Duration::from_secs(10) {
                reported = Instant::now();
                println!(
                    "{:.0} s: {} requests, {} wrong, {} updates, {} KiB",
                    began.elapsed().as_secs_f64(),
                    self.shared.sent.load(Ordering::Relaxed),
                    self.shared.wrong.load(Ordering::Relaxed),
                    self.summary.updates,
                    self.summary.memory[2],
                );
            }
            if done >= 1.0 {
                break;
            }
        }
        Ok(())
    }

    /// Which part of the run is over, from 0 to 1.
    fn done(&self, began: Instant) -> f64 {
        let of_time = began.elapsed().as_secs_f64() / self.options.time.as_secs_f64();
        let sent = self.shared.sent.load(Ordering::Relaxed);
        let share = sent
            .saturating_mul(10_000)
            .checked_div(self.options.requests);
        let share = share.unwrap_or_default().min(10_000);
        of_time.max(f64::from(u32::try_from(share).unwrap_or_default()) / 10_000.0)
    }

    /// Brings the next version into force, if it is made.
    fn update(&mut self) -> Result<bool> {
        let version = match self.versions.try_recv() {
            Ok(version) => version?,
            Err(TryRecvError::Empty) => return Ok(false),
            Err(TryRecvError::Disconnected) => anyhow::bail!("nobody makes versions"),
        };
        self.shared.window.begin(Arc::clone(&version));
        match self.envoy.replace_extension(self.file, &version.filter)? {
            Applied::Accepted => self.summary.updates += 1,
            Applied::Rejected(log) => {
                let what = format!("Envoy refused version {}:\n{log}", version.number);
                self.summary.faults.push(what);
            }
        }
        thread::sleep(GRACE);
        self.shared.window.complete();
        Ok(true)
    }
}

/// The signs of a plugin that was stopped.
fn faults(envoy: &Envoy) -> Result<Vec<String>> {
    let log = envoy.log();
    let traps = TRAPS.iter().filter_map(|trap| {
        let line = log.lines().find(|line| line.contains(trap))?;
        Some(format!("in Envoy's log: {line}"))
    });
    let stats = envoy.admin("/stats")?.text();
    let reloads = stats
        .lines()
        .filter(|line| line.contains("vm_reload") && !line.ends_with(": 0"))
        .map(str::to_owned);
    Ok(traps.chain(reloads).collect())
}
