//! Random differential testing: policies and requests made by chance, judged by the core, by our filter in a
//! real Envoy, and by Envoy's own filters as istiod would configure them. They must agree on every request.
//!
//! A *case* is one set of policies with its requests; a *disagreement* is a request on which the drivers differ,
//! shrunk to a scenario file of a few lines.

pub(crate) mod case;
mod generate_authentication;
mod generate_policy;
mod generate_request;
mod generate_token;
mod judge;
pub(crate) mod random;
mod render;
mod report;
mod shrink;
mod words;

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;

use case::Case;
use judge::{Verdicts, judge};
use shrink::shrink;

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many requests each driver decides, at least.
    pub requests: usize,
    /// The same seed makes the same cases.
    pub seed: u64,
    /// How many sets of policies share an Envoy.
    pub sets_in_batch: usize,
    /// How many requests each set of policies gets.
    pub requests_in_set: usize,
    /// How many disagreements are shrunk; the others are counted.
    pub shrunk: usize,
    /// Whether each batch is reported on standard output.
    pub progress: bool,
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Summary {
    /// Requests that all three drivers decided.
    pub decisions: usize,
    /// Sets of policies.
    pub sets: usize,
    /// Decisions by status and reason, and by body where a token was refused.
    pub by_outcome: BTreeMap<String, usize>,
    /// Disagreements by signature.
    pub disagreements: BTreeMap<String, usize>,
    /// Minimal scenario files, with what each driver got as comments.
    pub scenarios: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            requests: 2400,
            seed: 1,
            sets_in_batch: 60,
            requests_in_set: 40,
            shrunk: 8,
            progress: false,
        }
    }
}

/// The most pairs of Envoys that shrinking one disagreement may start.
const ROUNDS: usize = 60;

/// Runs cases until enough requests are decided.
///
/// # Errors
/// The drivers do not run. A disagreement is no error; it is in the summary.
pub fn run(options: &Options) -> Result<Summary> {
    let started = Instant::now();
    let mut summary = Summary::default();
    while summary.decisions < options.requests {
        let missing = (options.requests - summary.decisions).div_ceil(options.requests_in_set);
        let numbers = summary.sets..summary.sets + missing.min(options.sets_in_batch);
        let cases: Vec<Case> = numbers
            .map(|number| Case::generate(options.seed, number as u64, options.requests_in_set))
            .collect();
        for (case, verdicts) in cases.iter().zip(judge(&cases)?) {
            summary.count(options, case, &verdicts)?;
        }
        if options.progress {
            println!(
                "{} sets, {} decisions, {} disagreements, {:.0} s",
                summary.sets,
                summary.decisions,
                summary.disagreements.values().sum::<usize>(),
                started.elapsed().as_secs_f64()
            );
        }
    }
    Ok(summary)
}

impl Summary {
    fn count(&mut self, options: &Options, case: &Case, verdicts: &[Verdicts]) -> Result<()> {
        self.sets += 1;
        self.decisions += verdicts.len();
        for (request, verdicts) in verdicts.iter().enumerate() {
            let outcome = report::outcome(&verdicts.native);
            *self.by_outcome.entry(outcome).or_default() += 1;
            if verdicts.differences().is_empty() {
                continue;
            }
            let signature = verdicts.signature();
            let seen = self.disagreements.entry(signature.clone()).or_default();
            *seen += 1;
            if *seen == 1 && self.scenarios.len() < options.shrunk {
                let found = shrink(case, request, &signature, ROUNDS)?;
                let text = match &found {
                    Some(found) => report::scenario(found),
                    None => report::gone(&signature, verdicts),
                };
                if options.progress {
                    println!("\n{text}");
                }
                self.scenarios.push(text);
            }
        }
        Ok(())
    }
}
