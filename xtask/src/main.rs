//! Every build step that cargo cannot express: `cargo xtask <command>`.

mod arguments;
mod budgets;
mod process;
mod setup;
mod strip;
mod suite;
mod tally;
mod versions;
mod wasm;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;

use arguments::{Command, USAGE};
use process::Runner;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let command = match arguments::parse(&words) {
        Ok(command) => command,
        Err(message) => {
            eprintln!("{message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the command did what it was asked to.
fn run(command: &Command) -> Result<bool> {
    let mut runner = Runner::new();
    match command {
        Command::Help => println!("{USAGE}"),
        Command::Setup => setup::run(&mut runner)?,
        Command::Wasm => {
            setup::run(&mut runner)?;
            wasm::run(&runner)?;
        }
        Command::Budgets => budgets::run()?,
        Command::Test => return Ok(suite::run(&mut runner)),
        Command::Demo(demo) => {
            setup::run(&mut runner)?;
            wasm::run(&runner)?;
            let demo_line = "run --package portcullis-tests --bin demo --";
            runner.run(runner.cargo(demo_line).args(demo.words()))?;
        }
        Command::FuzzDecisions(flags) => {
            setup::run(&mut runner)?;
            wasm::filter_alone(&runner)?;
            let fuzz_line = "run --package portcullis-tests --bin fuzz-decisions --";
            runner.run(runner.cargo(fuzz_line).args(flags))?;
        }
        Command::Companion(words) => {
            let line = "run --quiet --package portcullis-tests --bin companion --";
            let mut command = runner.cargo(line);
            // Its output is a file, and its files are named from where the user is.
            let status = command
                .args(words)
                .current_dir(std::env::current_dir()?)
                .status()?;
            return Ok(status.success());
        }
        Command::Soak(words) | Command::Costs(words) => {
            setup::run(&mut runner)?;
            wasm::filter_alone(&runner)?;
            let program = if matches!(command, Command::Soak(_)) {
                "soak"
            } else {
                "costs"
            };
            // What sends and judges must not be what is slow.
            let line = format!("run --release --package portcullis-tests --bin {program} --");
            runner.run(runner.cargo(&line).args(words))?;
        }
        Command::Versions => {
            setup::run(&mut runner)?;
            wasm::filter_alone(&runner)?;
            versions::run(&runner)?;
        }
    }
    Ok(true)
}

/// The project's root folder.
fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}
