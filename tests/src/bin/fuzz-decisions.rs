//! Random differential testing: `fuzz-decisions [--cases N] [--seed S]`.
//!
//! Makes at least N requests with their policies, asks the core, our filter in a real Envoy and Envoy's own
//! filters, and prints each disagreement as a minimal scenario file. Fails if there is one.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use portcullis_tests::fuzz::{Options, run};

fn main() -> Result<ExitCode> {
    let mut options = Options {
        requests: 24_000,
        progress: true,
        ..Options::default()
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let number = words.next().and_then(|number| number.parse::<u64>().ok());
        let number = number.with_context(|| format!("{word} needs a number"))?;
        match word.as_str() {
            "--cases" => {
                options.requests = usize::try_from(number).context("--cases is too large")?;
            }
            "--seed" => options.seed = number,
            "--shrink" => {
                options.shrunk = usize::try_from(number).context("--shrink is too large")?;
            }
            _ => bail!(
                "unknown argument {word}; usage: fuzz-decisions [--cases N] [--seed S] [--shrink N]"
            ),
        }
    }
    let started = Instant::now();
    let summary = run(&options)?;
    println!(
        "{summary}\nseed {}, {:.0} s",
        options.seed,
        started.elapsed().as_secs_f64()
    );
    Ok(if summary.disagreements.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
