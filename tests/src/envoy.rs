//! A real Envoy, started from a list of listeners and killed when its handle is dropped.
//!
//! All ports are chosen by the system and read from the admin endpoint, which also tells when Envoy
//! is ready.

mod bootstrap;
mod extension;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;

pub use crate::certificates::TlsFiles;
use crate::client::{Exchange, Response};
use crate::scratch::Scratch;
pub use bootstrap::{Config, Listener, Proxy, cluster, workload_cluster};
pub use extension::{Applied, ExtensionFile};

/// The version that the tests are written for.
const VERSION: &str = "1.40";

/// How long Envoy may take to compile its modules and listen; a slow machine needs seconds.
const START_LIMIT: Duration = Duration::from_mins(2);

/// How long Envoy may take to take up a changed file.
const RELOAD_LIMIT: Duration = Duration::from_secs(30);

/// The pause between two looks at something that is about to happen.
const POLL: Duration = Duration::from_millis(10);

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    process: Child,
    folder: Scratch,
    admin: SocketAddr,
    listeners: BTreeMap<String, SocketAddr>,
}

impl Envoy {
    /// Starts Envoy and waits until every listener accepts connections.
    ///
    /// # Errors
    /// No Envoy of the right version; a configuration that Envoy refuses (the error ends with its log).
    pub fn start(config: &Config) -> Result<Self> {
        Self::start_as(&binary()?, config)
    }

    /// The same with an Envoy of any version.
    ///
    /// # Errors
    /// A configuration that this Envoy refuses, or no Envoy.
    pub fn start_as(binary: &Path, config: &Config) -> Result<Self> {
        let folder = Scratch::new()?;
        let path = folder.write("bootstrap.json", config.bootstrap().to_string())?;
        let output = std::fs::File::create(folder.path().join("output.log"))
            .context("cannot create a log file")?;
        let process = Command::new(binary)
            .arg("--config-path")
            .arg(path)
            .arg("--admin-address-path")
            .arg(folder.path().join("admin"))
            .args(["--concurrency", &config.concurrency.max(1).to_string()])
            .args(["--disable-hot-restart", "--log-level", "info"])
            .envs(config.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("cannot share a log file")?)
            .stderr(output)
            .spawn()
            .context("cannot start Envoy")?;
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut envoy = Self {
            process,
            folder,
            admin: unknown,
            listeners: BTreeMap::new(),
        };
        envoy.wait_until_ready()?;
        envoy.listeners = envoy.read_listeners()?;
        for listener in &config.listeners {
            ensure!(
                envoy.listeners.contains_key(&listener.name),
                "listener {} did not start",
                listener.name
            );
        }
        Ok(envoy)
    }

    /// Where the named listener accepts connections.
    pub fn address(&self, listener: &str) -> Result<SocketAddr> {
        self.listeners
            .get(listener)
            .copied()
            .ok_or_else(|| anyhow!("there is no listener {listener}"))
    }

    /// Sends a request to the named listener.
    pub fn send(&self, listener: &str, exchange: &Exchange) -> Result<Response> {
        Ok(exchange.send(self.address(listener)?)?)
    }

    /// All that Envoy and its filters logged so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.folder.path().join("output.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The answer of an admin path such as `/stats?format=json`.
    pub fn admin(&self, path: &str) -> Result<Response> {
        let exchange = Exchange {
            path: path.as_bytes().to_vec(),
            ..Exchange::default()
        };
        Ok(exchange.send_directly(self.admin)?)
    }

    /// How much memory the process holds, in KiB: V8's counts, which Envoy's own statistics do not.
    pub fn resident_memory(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(&path).context(path)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.context("no VmRSS")
    }

    /// The CPU time that the process and all its threads used so far.
    pub fn cpu_time(&self) -> Result<Duration> {
        let mut nanoseconds = 0;
        let path = format!("/proc/{}/task", self.process.id());
        for thread in std::fs::read_dir(&path).context(path)? {
            // A thread may end between the two looks.
            let text = std::fs::read_to_string(thread?.path().join("schedstat"));
            let text = text.unwrap_or_default();
            let first = text.split(' ').next().and_then(|word| word.parse().ok());
            nanoseconds += first.unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// Sets what Envoy and its filters log from here on: `info`, `warning` and so on.
    pub fn set_log_level(&self, level: &str) -> Result<()> {
        let exchange = Exchange {
            method: "POST".to_owned(),
            path: format!("/logging?level={level}").into_bytes(),
            // Envoy refuses a POST without a length.
            headers: vec![(b"content-length".to_vec(), b"0".to_vec())],
            ..Exchange::default()
        };
        let answer = exchange.send_directly(self.admin)?;
        ensure!(answer.status == 200, "Envoy sets no log level {level}");
        Ok(())
    }

    /// The value of a counter or gauge; 0 when Envoy has no statistic of that name.
    pub fn stat(&self, name: &str) -> Result<u64> {
        let text = self.admin("/stats")?.text();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        Ok(line.and_then(|value| value.parse().ok()).unwrap_or(0))
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(status) = self.process.try_wait().context("cannot watch Envoy")? {
                bail!(
                    "Envoy stopped at its start ({status}):\n{}",
                    tail(&self.log())
                );
            }
            let address =
                std::fs::read_to_string(self.folder.path().join("admin")).unwrap_or_default();
            if let Ok(address) = address.trim().parse() {
                self.admin = address;
                if self
                    .admin("/ready")
                    .is_ok_and(|response| response.status == 200)
                {
                    return Ok(());
                }
            }
            ensure!(
                Instant::now() < deadline,
                "Envoy is not ready after {START_LIMIT:?}:\n{}",
                tail(&self.log())
            );
            std::thread::sleep(POLL);
        }
    }

    fn read_listeners(&self) -> Result<BTreeMap<String, SocketAddr>> {
        let answer: Value = serde_json::from_slice(&self.admin("/listeners?format=json")?.body)
            .context("the admin endpoint's listeners are no JSON")?;
        let statuses = answer["listener_statuses"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let address = |status: &Value| {
            let socket = &status["local_address"]["socket_address"];
            let address = format!("{}:{}", socket["address"].as_str()?, socket["port_value"])
                .parse()
                .ok()?;
            Some((status["name"].as_str()?.to_owned(), address))
        };
        statuses
            .iter()
            .map(|status| address(status).with_context(|| format!("no listener: {status}")))
            .collect()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // It may have stopped by itself; either way nothing is left behind.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Asks Envoy whether it would accept a configuration; `Err` inside holds its complaint.
pub fn validate(config: &Config) -> Result<std::result::Result<(), String>> {
    let folder = Scratch::new()?;
    let path = folder.write("bootstrap.json", config.bootstrap().to_string())?;
    let output = Command::new(binary()?)
        .args([
            "--mode",
            "validate",
            "--log-level",
            "error",
            "--config-path",
        ])
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .context("cannot start Envoy")?;
    let text = [output.stderr, output.stdout].concat();
    Ok(if output.status.success() {
        Ok(())
    } else {
        Err(tail(&String::from_utf8_lossy(&text)))
    })
}

/// The Envoy to run: `ENVOY`, or the one that set-up installed, or `envoy` on the path. Its version
/// is looked at once per process.
fn binary() -> Result<PathBuf> {
    static FOUND: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    let find = || {
        let installed = crate::root().join("target/tools/envoy/envoy/_bin/envoy");
        let binary = match std::env::var_os("ENVOY") {
            Some(named) => PathBuf::from(named),
            None if installed.is_file() => installed,
            None => PathBuf::from("envoy"),
        };
        let output = Command::new(&binary)
            .arg("--version")
            .stdin(Stdio::null())
            .output();
        let answer = match &output {
            Ok(output) => String::from_utf8_lossy(&output.stdout)
                .trim()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
            Err(error) => error.to_string(),
        };
        if answer.contains(&format!("/{VERSION}.")) {
            return Ok(binary);
        }
        let binary = binary.display();
        Err(format!(
            "the tests need Envoy {VERSION}; `{binary} --version` gave `{answer}`; run `cargo xtask setup` or set ENVOY"
        ))
    };
    FOUND.get_or_init(find).clone().map_err(anyhow::Error::msg)
}

/// The end of a log, where the reason stands.
fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
