//! `cargo xtask test`: every check in one run. A failure stops only what depends on it.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::process::Runner;
use crate::tally::Tally;
use crate::{budgets, setup, wasm};

/// The steps in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    SetUp,
    Format,
    ClippyNative,
    ClippyFilter,
    ClippyPage,
    Build,
    Budgets,
    CargoTest,
    PageTest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    /// A step that it needs did not pass.
    Blocked(Step),
}

impl Step {
    const ALL: [Self; 9] = [
        Self::SetUp,
        Self::Format,
        Self::ClippyNative,
        Self::ClippyFilter,
        Self::ClippyPage,
        Self::Build,
        Self::Budgets,
        Self::CargoTest,
        Self::PageTest,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::SetUp => "set up",
            Self::Format => "format",
            Self::ClippyNative => "clippy, native",
            Self::ClippyFilter => "clippy, filter",
            Self::ClippyPage => "clippy, page modules",
            Self::Build => "build filter and page",
            Self::Budgets => "size budgets",
            Self::CargoTest => "cargo test",
            Self::PageTest => "page tests",
        }
    }

    /// The step without which this one says nothing. Cargo's tests run in any case: most need no
    /// build, and the drivers that do say so themselves.
    fn needs(self) -> Option<Self> {
        match self {
            Self::ClippyFilter | Self::ClippyPage | Self::Build => Some(Self::SetUp),
            Self::Budgets | Self::PageTest => Some(Self::Build),
            Self::SetUp | Self::Format | Self::ClippyNative | Self::CargoTest => None,
        }
    }

    fn run(self, runner: &mut Runner, tally: &mut Tally) -> Result<()> {
        match self {
            Self::SetUp => setup::run(runner),
            Self::Format => runner.run(&mut runner.cargo("fmt --all --check")),
            Self::ClippyNative => clippy(runner, "--workspace --all-targets"),
            Self::ClippyFilter => {
                clippy(runner, "--target wasm32-wasip1 --package portcullis-filter")
            }
            Self::ClippyPage => {
                let modules =
                    "--package portcullis-playground --package portcullis-mint --all-features";
                clippy(
                    runner,
                    &format!("--target wasm32-unknown-unknown {modules}"),
                )
            }
            Self::Build => wasm::run(runner),
            Self::Budgets => budgets::run(),
            Self::CargoTest => {
                runner.run_counted(&mut runner.cargo("test --workspace --no-fail-fast"), tally)
            }
            Self::PageTest => {
                let serve = "run --quiet --package portcullis-tests --bin serve";
                let test = "node --test-reporter=spec www/tests/page.mjs {url}";
                runner.run_counted(&mut runner.cargo(&format!("{serve} -- -- {test}")), tally)
            }
        }
    }
}

/// Runs all steps and prints the summary; whether all passed.
pub(crate) fn run(runner: &mut Runner) -> bool {
    let mut tally = Tally::default();
    let mut ended: Vec<(Step, Outcome, Duration)> = Vec::new();
    for step in Step::ALL {
        println!("\n== {} ==", step.name());
        let started = Instant::now();
        let outcome = match blocked(step, &ended) {
            Some(missing) => Outcome::Blocked(missing),
            None => attempt(step, runner, &mut tally),
        };
        let elapsed = started.elapsed();
        println!(
            "-- {}: {} ({:.1} s)",
            step.name(),
            describe(outcome),
            elapsed.as_secs_f64()
        );
        ended.push((step, outcome, elapsed));
    }
    println!("\n== summary ==");
    for (step, outcome, elapsed) in &ended {
        println!(
            "  {:<24} {:>7.1} s  {}",
            step.name(),
            elapsed.as_secs_f64(),
            describe(*outcome)
        );
    }
    println!("\n{tally}");
    ended
        .iter()
        .all(|(_, outcome, _)| *outcome == Outcome::Passed)
}

fn attempt(step: Step, runner: &mut Runner, tally: &mut Tally) -> Outcome {
    let before = tally.failed;
    match step.run(runner, tally) {
        Ok(()) => Outcome::Passed,
        Err(error) => {
            println!("error: {error:#}");
            // A failure that no test runner counted: the closing line must not read as a success.
            if tally.failed == before {
                tally.failed += 1;
            }
            Outcome::Failed
        }
    }
}

/// The step that this one needs and that did not pass.
fn blocked(step: Step, ended: &[(Step, Outcome, Duration)]) -> Option<Step> {
    let needed = step.needs()?;
    let passed = ended
        .iter()
        .any(|(step, outcome, _)| *step == needed && *outcome == Outcome::Passed);
    (!passed).then_some(needed)
}

fn describe(outcome: Outcome) -> String {
    match outcome {
        Outcome::Passed => "passed".to_owned(),
        Outcome::Failed => "FAILED".to_owned(),
        Outcome::Blocked(step) => format!("not run, it needs: {}", step.name()),
    }
}

fn clippy(runner: &Runner, arguments: &str) -> Result<()> {
    runner.run(&mut runner.cargo(&format!("clippy {arguments} -- --deny warnings")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_runs_after_what_it_needs() {
        for (index, step) in Step::ALL.into_iter().enumerate() {
            let needed = step.needs();
            assert!(
                needed.is_none_or(|needed| Step::ALL[..index].contains(&needed)),
                "{step:?}"
            );
        }
    }

    #[test]
    fn a_failure_blocks_what_needs_it_and_nothing_else() {
        let ended = |outcome| vec![(Step::SetUp, outcome, Duration::ZERO)];
        assert_eq!(
            blocked(Step::Build, &ended(Outcome::Failed)),
            Some(Step::SetUp)
        );
        assert_eq!(blocked(Step::Build, &ended(Outcome::Passed)), None);
        assert_eq!(blocked(Step::Format, &ended(Outcome::Failed)), None);
        assert_eq!(blocked(Step::CargoTest, &ended(Outcome::Failed)), None);
        let further = [
            ended(Outcome::Failed),
            vec![(Step::Build, Outcome::Blocked(Step::SetUp), Duration::ZERO)],
        ]
        .concat();
        assert_eq!(blocked(Step::PageTest, &further), Some(Step::Build));
    }
}
