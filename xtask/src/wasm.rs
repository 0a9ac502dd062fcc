//! Builds the filter, the page's modules and the page.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use wasm_bindgen_cli_support::Bindgen;

use crate::process::Runner;
use crate::root;
use crate::strip::{strip, without_target_features};

/// The page's modules: how cargo builds it, its file's name and its folder below `www/src/generated`. The one
/// for scenarios is for the page's build and not for its visitors.
const MODULES: [(&str, &str, &str); 3] = [
    (
        "--package portcullis-playground --features scenarios",
        "portcullis_playground",
        "scenarios",
    ),
    (
        "--package portcullis-playground",
        "portcullis_playground",
        "engine",
    ),
    ("--package portcullis-mint", "portcullis_mint", "mint"),
];

/// The filter, ready to load.
pub(crate) fn filter() -> PathBuf {
    target().join("wasm32-wasip1/release/portcullis_filter.wasm")
}

/// Where the page's build expects the modules.
pub(crate) fn generated() -> PathBuf {
    root().join("www/src/generated")
}

/// Builds everything, in the order of its dependencies.
pub(crate) fn run(runner: &Runner) -> Result<()> {
    filter_alone(runner)?;
    let target = "wasm32-unknown-unknown";
    for (what, file, folder) in MODULES {
        // One by one: built together, the engine would get the features that the mint's crates ask of theirs.
        let mut build = runner.cargo(&format!(
            "build --profile release-web --target {target} {what}"
        ));
        runner.run(build.args(["--config", &without_paths(target)?]))?;
        let module = self::target()
            .join(target)
            .join("release-web")
            .join(format!("{file}.wasm"));
        bind(&module, &generated().join(folder))?;
    }
    runner.run(
        runner
            .command("npm")
            .args(["run", "build"])
            .current_dir(root().join("www")),
    )
}

/// A setting that keeps the folders of this machine out of a module: each panic names its source file.
fn without_paths(target: &str) -> Result<String> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let sources = home.context("cargo has no home")?.join("registry/src");
    let mut folders = vec![root()];
    for entry in std::fs::read_dir(&sources).with_context(|| sources.display().to_string())? {
        folders.push(entry?.path());
    }
    let flags: Vec<String> = folders
        .iter()
        .map(|folder| format!("'--remap-path-prefix={}='", folder.display()))
        .collect();
    Ok(format!("target.{target}.rustflags=[{}]", flags.join(",")))
}

/// Builds the filter.
pub(crate) fn filter_alone(runner: &Runner) -> Result<()> {
    runner.run(
        &mut runner.cargo("build --release --target wasm32-wasip1 --package portcullis-filter"),
    )?;
    strip(&filter())
}

/// Writes a module with its JavaScript and its TypeScript declarations, for `--target web`.
fn bind(module: &Path, folder: &Path) -> Result<()> {
    println!("  bindings of {}", module.display());
    // A file of an earlier build must not stay importable.
    if folder.exists() {
        std::fs::remove_dir_all(folder)
            .with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    let mut bindgen = Bindgen::new();
    bindgen
        .input_path(module)
        .typescript(true)
        .reset_state_function(true)
        .remove_name_section(true)
        .remove_producers_section(true);
    let generated = bindgen
        .omit_default_module_path(false)
        .web(true)
        .and_then(|bindgen| bindgen.generate(folder));
    generated.map_err(|error| anyhow!("cannot bind {}: {error:#}", module.display()))?;
    let name = module.file_stem().context("a module has a name")?;
    let bound = folder.join(format!("{}_bg.wasm", name.display()));
    let bytes = std::fs::read(&bound).with_context(|| bound.display().to_string())?;
    let fewer = without_target_features(&bytes)?;
    std::fs::write(&bound, fewer).with_context(|| bound.display().to_string())
}

/// Cargo's target folder.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), |folder| root().join(folder))
}
