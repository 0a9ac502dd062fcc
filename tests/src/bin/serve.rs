//! Serves the built page: `serve [--port N] [-- COMMAND …]`.
//!
//! With a command it runs that, each word `{url}` replaced by the page's address, and ends with its
//! exit code; without one it prints the address and serves until it is stopped.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use portcullis_tests::{root, static_files};

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let mut port = 0;
    while let Some(argument) = arguments.next_if(|argument| argument != "--") {
        match argument.to_str() {
            Some("--port") => {
                let value = arguments
                    .next()
                    .and_then(|value| value.to_str()?.parse().ok());
                port = value.context("--port needs a number")?;
            }
            _ => bail!(
                "unknown argument {}; usage: serve [--port N] [-- COMMAND …]",
                argument.display()
            ),
        }
    }
    let server = static_files::serve(&root().join("www/dist"), port)?;
    let url = format!("http://{}/", server.address());
    let mut command = arguments.skip(1);
    let Some(program) = command.next() else {
        println!("{url}");
        loop {
            std::thread::park();
        }
    };
    let words = command.map(|word| {
        if word == "{url}" {
            url.clone().into()
        } else {
            word
        }
    });
    let status = Command::new(&program).args(words).status();
    let status = status.with_context(|| format!("cannot run {}", program.display()))?;
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}
