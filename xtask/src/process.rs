//! Child processes: their output streams through, and a failure names the command.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::root;
use crate::tally::Tally;

/// Starts commands in the project's root, with the tools that set-up found in their environment.
#[derive(Debug, Default)]
pub(crate) struct Runner {
    /// Handed on as `ENVOY`.
    pub(crate) envoy: Option<PathBuf>,
    /// Handed on as `CHROMIUM`.
    pub(crate) chromium: Option<PathBuf>,
}

impl Runner {
    /// No tools known: a child inherits what the environment says.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A command that runs in the project's root.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(root()).stdin(Stdio::null());
        if let Some(envoy) = &self.envoy {
            command.env("ENVOY", envoy);
        }
        if let Some(chromium) = &self.chromium {
            command.env("CHROMIUM", chromium);
        }
        command
    }

    /// The cargo that runs this program, with arguments separated by spaces.
    pub(crate) fn cargo(&self, arguments: &str) -> Command {
        let mut command = self.command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // What cargo told this program about its own package is not meant for the next cargo: build
        // scripts that watch these variables would run anew each time.
        let own = [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_BIN_",
            "CARGO_CRATE_",
        ];
        for (name, _) in std::env::vars_os() {
            if own
                .iter()
                .any(|prefix| name.to_string_lossy().starts_with(prefix))
            {
                command.env_remove(name);
            }
        }
        command.args(arguments.split(' '));
        command
    }

    /// Runs a command to its end.
    #[expect(clippy::unused_self, reason = "commands of this runner are run by it")]
    pub(crate) fn run(&self, command: &mut Command) -> Result<()> {
        println!("$ {}", line(command));
        let status = command.status().with_context(|| missing(command))?;
        if !status.success() {
            bail!("`{}` failed ({status})", line(command));
        }
        Ok(())
    }

    /// Runs a test runner to its end and adds what it counted.
    #[expect(clippy::unused_self, reason = "commands of this runner are run by it")]
    pub(crate) fn run_counted(&self, command: &mut Command, tally: &mut Tally) -> Result<()> {
        println!("$ {}", line(command));
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| missing(command))?;
        let output = child.stdout.take().context("a piped output is gone")?;
        let mut output = BufReader::new(output);
        let mut bytes = Vec::new();
        while output
            .read_until(b'\n', &mut bytes)
            .context("cannot read a command's output")?
            > 0
        {
            let mut stdout = std::io::stdout().lock();
            stdout
                .write_all(&bytes)
                .and_then(|()| stdout.flush())
                .context("cannot write")?;
            tally.read_line(&String::from_utf8_lossy(&bytes));
            bytes.clear();
        }
        let status = child.wait().context("cannot wait for a command")?;
        if !status.success() {
            bail!("`{}` failed ({status})", line(command));
        }
        Ok(())
    }

    /// What a command prints, trimmed; `None` when it fails or is not there.
    pub(crate) fn output(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Option<String> {
        let output = self
            .command(program)
            .args(arguments)
            .stderr(Stdio::null())
            .output()
            .ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

/// The file that a program's name stands for, looked up on the path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

fn missing(command: &Command) -> String {
    format!("cannot run {}", command.get_program().display())
}

/// A command as a user would type it.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program());
    let words = std::iter::once(program)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy());
    words.collect::<Vec<_>>().join(" ")
}
