//! The drivers: each runs the corpus on one thing that decides.

mod browser;
mod envoy;
mod native;

pub use browser::Browser;
pub use envoy::{
    EnvoyBuiltIn, EnvoyFilter, EnvoyNative, exchange, filter_module, listener, outcome,
    plugin_config, source_ip_state, wasm_filter,
};
pub use native::{Native, incoming};

use anyhow::Result;

use crate::corpus::{Entry, Sent};
use crate::outcome::Outcome;

/// Something that decides requests.
pub trait Driver {
    /// Its name in scenario files and reports.
    fn name(&self) -> &'static str;

    /// Whether the driver can express the scenario at all.
    fn supports(&self, entry: &Entry) -> Support;

    /// Runs the scenarios that it supports. One result for each, in order.
    ///
    /// # Errors
    /// When the driver cannot run at all.
    fn run(&self, entries: &[&Entry]) -> Result<Vec<Run>>;
}

/// Whether a driver can express something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Support {
    /// It can.
    Yes,
    /// It cannot, and why.
    No(&'static str),
}

/// What came of one scenario.
#[derive(Debug, Clone)]
pub enum Run {
    /// The policies were refused, with these lines: `severity code resource path`, sorted. A driver that
    /// sees the text only gives one line with all of it.
    Refused(Findings),
    /// Each request in order.
    Requests(Findings, Vec<Answer>),
    /// The driver failed at it.
    Failed(String),
}

/// What a driver says about policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Findings {
    /// Errors and warnings as sorted lines, `severity code resource path`.
    Lines(Vec<String>),
    /// A log in which they stand somewhere.
    Log(String),
    /// The driver cannot see any.
    Unseen,
}

/// What came of one request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A response.
    Got(Box<Outcome>),
    /// The connection was closed without a response.
    Closed,
    /// The driver cannot express the request, and why.
    Skipped(&'static str),
    /// The driver failed at it.
    Failed(String),
}

/// Why a driver whose clock is the machine's leaves a request out.
const NO_CLOCK: &str =
    "the request is sent later than its token is minted, and this driver's clock cannot be moved";

fn needs_clock(entry: &Entry, sent: &Sent) -> bool {
    entry.scenario.now.is_some() && sent.at > 0
}

/// Seconds since the epoch.
///
/// # Panics
/// When the machine's clock stands before 1970.
pub fn real_now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("the clock is past 1970").as_secs()
}
