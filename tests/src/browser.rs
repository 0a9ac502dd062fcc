//! Chromium with the built page: the corpus goes through the page's own engine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::scratch::Scratch;
use crate::static_files;

/// Runs cases in the page's engine and returns one result per case, in order.
///
/// A case is `{"setting": Setting, "requests": [RequestInput]}`; its result is
/// `{"load": LoadReport, "reports": [Report]}`, or `{"error": text}` when the engine stopped. `dist`
/// is the built page, with `driver.html` in it. One browser serves all cases.
///
/// # Errors
/// No page, Node.js, playwright-core or Chromium; an exception in the page; a request that leaves
/// the page's own origin.
pub fn run(dist: &Path, cases: &[Value]) -> Result<Vec<Value>> {
    let server = static_files::serve(dist, 0)?;
    ensure!(
        dist.join("driver.html").is_file(),
        "{} has no driver.html; `cargo xtask wasm` builds it",
        dist.display()
    );
    let folder = Scratch::new()?;
    let input = folder.write("cases.json", serde_json::to_vec(cases)?)?;
    let output = folder.path().join("results.json");
    let process = Command::new("node")
        .arg(crate::root().join("tests/browser/run.mjs"))
        .arg(format!("http://{}/driver.html", server.address()))
        .args([&input, &output])
        .env("CHROMIUM", chromium())
        .stdin(Stdio::null())
        .stdout(Stdio::inherit())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run node; install Node.js 20 or newer")?;
    let process = process.wait_with_output().context("cannot wait for node")?;
    if !process.status.success() {
        bail!(
            "the browser run failed:\n{}",
            String::from_utf8_lossy(&process.stderr).trim_end()
        );
    }
    let results = std::fs::read(&output).context("the browser run left no results")?;
    let results: Vec<Value> =
        serde_json::from_slice(&results).context("the browser's results are no JSON")?;
    ensure!(
        results.len() == cases.len(),
        "{} cases gave {} results",
        cases.len(),
        results.len()
    );
    Ok(results)
}

/// The browser to run: `CHROMIUM`, or Debian's.
fn chromium() -> PathBuf {
    std::env::var_os("CHROMIUM").map_or_else(|| PathBuf::from("/usr/bin/chromium"), PathBuf::from)
}
