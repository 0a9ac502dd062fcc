//! A wall clock that a test sets while Envoy runs. The clock that only moves forward stays the machine's, as it does
//! when somebody sets a machine's time.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::scratch::Scratch;

/// The clock of the processes that [`Clock::environment`] is given to.
#[derive(Debug)]
pub struct Clock {
    folder: Scratch,
    library: PathBuf,
}

impl Clock {
    /// A clock that is off by so many seconds.
    ///
    /// # Errors
    /// The library that does it cannot be built, which takes rustc.
    pub fn off_by(seconds: i64) -> Result<Self> {
        let folder = Scratch::new()?;
        let source = folder.write("shim.rs", include_str!("clock/shim.rs"))?;
        let library = folder.path().join("clock.so");
        let built = Command::new("rustc")
            .args(["--edition", "2024", "--crate-type", "cdylib", "-O", "-o"])
            .args([&library, &source])
            .output()
            .context("cannot run rustc")?;
        let log = String::from_utf8_lossy(&built.stderr);
        ensure!(built.status.success(), "the clock cannot be built:\n{log}");
        let clock = Self { folder, library };
        clock.set(seconds)?;
        Ok(clock)
    }

    /// Sets the clock, which processes see at their next look.
    pub fn set(&self, seconds: i64) -> Result<()> {
        let fresh = self.folder.write("fresh", seconds.to_le_bytes())?;
        std::fs::rename(fresh, self.file()).context("cannot set the clock")
    }

    /// What makes a process see the clock.
    pub fn environment(&self) -> Vec<(String, OsString)> {
        let variable = |name: &str, value: &Path| (name.to_owned(), value.as_os_str().to_owned());
        vec![
            variable("LD_PRELOAD", &self.library),
            variable("PORTCULLIS_CLOCK", &self.file()),
        ]
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("clock")
    }
}
