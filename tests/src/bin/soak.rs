//! A long run under load: `soak [--requests N] [--minutes M] [--workers W] [--seed S]`.
//!
//! Ends after N requests or M minutes and prints a table. Fails at a wrong answer, a crash, a reload, and when
//! Envoy's memory grows by more than 5 %.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use portcullis_tests::soak::{Options, run};

fn main() -> Result<ExitCode> {
    let mut options = Options {
        progress: true,
        ..Options::default()
    };
    let (mut minutes, mut words) = (None, std::env::args().skip(1));
    while let Some(word) = words.next() {
        let number = words.next().and_then(|number| number.parse::<u64>().ok());
        let number = number.with_context(|| format!("{word} needs a number"))?;
        match word.as_str() {
            "--requests" => options.requests = number,
            "--minutes" => minutes = Some(number),
            "--workers" => {
                options.workers = u32::try_from(number).context("--workers is too large")?;
            }
            "--seed" => options.seed = number,
            _ => bail!(
                "unknown argument {word}; usage: soak [--requests N] [--minutes M] [--workers W] [--seed S]"
            ),
        }
    }
    // A number of requests alone may take as long as it takes.
    let minutes = minutes.unwrap_or(if options.requests == 0 { 5 } else { 24 * 60 });
    options.time = Duration::from_mins(minutes);
    let summary = run(&options)?;
    println!(
        "{summary}\nseed {}, {} workers",
        options.seed, options.workers
    );
    Ok(if summary.failures().is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
