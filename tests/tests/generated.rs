//! Files that are made from the code are committed, and fresh. `PORTCULLIS_UPDATE=1 cargo test -p
//! portcullis-tests --test generated` writes them.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use portcullis_policy::compile;
use portcullis_policy::config::Config;
use portcullis_policy::diagnostic::{Code, Severity};
use portcullis_policy::source::from_yaml;
use portcullis_tests::corpus::{Entry, load};
use portcullis_tests::manifests::{Kind, manifest};
use portcullis_tests::root;

#[track_caller]
fn fresh(path: &Path, text: &str) {
    if std::env::var_os("PORTCULLIS_UPDATE").is_some() {
        std::fs::write(path, text).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == text,
        "{} is stale: PORTCULLIS_UPDATE=1 cargo test -p portcullis-tests --test generated",
        path.display()
    );
}

/// The scenario files of the examples that have policies of their own.
fn examples() -> Vec<(Entry, std::path::PathBuf)> {
    let entries = load()
        .unwrap()
        .into_iter()
        .filter(|entry| entry.name.starts_with("examples/"));
    let with_path = entries.map(|entry| {
        let path = root().join(format!("{}.yaml", entry.name));
        (entry, path)
    });
    let mut seen = BTreeSet::new();
    with_path
        .filter(|(entry, path)| {
            seen.insert((path.parent().map(Path::to_path_buf), entry.policies.clone()))
        })
        .collect()
}

#[test]
fn manifests_of_the_examples() {
    for (entry, path) in examples() {
        let file = path.file_name().unwrap().to_str().unwrap();
        for kind in [Kind::WasmPlugin, Kind::TrafficExtension] {
            fresh(
                &path.with_file_name(kind.file(file)),
                &manifest(kind, &entry).unwrap(),
            );
        }
    }
}

#[test]
fn manifests_configure_what_the_scenarios_test() {
    for (entry, _) in examples() {
        for kind in [Kind::WasmPlugin, Kind::TrafficExtension] {
            let (documents, error) = from_yaml(&manifest(kind, &entry).unwrap());
            assert_eq!(error, None);
            let spec = documents[0].get("spec").unwrap();
            let wasm = if kind == Kind::WasmPlugin {
                spec
            } else {
                spec.get("wasm").unwrap()
            };
            let config = Config::read(wasm.get("pluginConfig").unwrap());
            let compiled = compile(
                &config.resources,
                &config.setting(entry.setting.workload.clone()),
            );
            let wrong: Vec<String> = compiled
                .diagnostics
                .iter()
                .filter(|diagnostic| diagnostic.severity != Severity::Info)
                .map(ToString::to_string)
                .collect();
            assert_eq!(wrong, Vec::<String>::new(), "{}", entry.name);
            assert!(
                compiled.selected.iter().all(|selected| *selected),
                "{}",
                entry.name
            );
            assert_eq!(config.resources.items.len(), entry.resources().items.len());
        }
    }
}

#[test]
fn reference_of_the_diagnostics() {
    let mut table = String::from(
        "# Diagnostics\n\nWhat Portcullis says about policies. Errors stop a configuration; warnings and notes do not. The\ncodes are stable.\n\n| code | meaning |\n|---|---|\n",
    );
    for code in Code::ALL {
        writeln!(table, "| `{code}` | {} |", code.meaning()).unwrap();
    }
    fresh(&root().join("docs/diagnostics.md"), &table);
}

#[test]
fn every_diagnostic_has_a_scenario() {
    let corpus = load().unwrap();
    let provoked: BTreeSet<&str> = corpus
        .iter()
        .flat_map(|entry| entry.scenario.diagnostics.iter().flatten())
        .map(|diagnostic| diagnostic.code.as_str())
        .collect();
    // What only a plugin is told is tested with the plugin.
    let of_plugin = Code::NeedsCompanion.as_str();
    let missing: Vec<&str> = Code::ALL
        .iter()
        .map(|code| code.as_str())
        .filter(|code| !provoked.contains(code) && *code != of_plugin)
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}
