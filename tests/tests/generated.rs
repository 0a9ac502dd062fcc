//! Files that are made from the code are committed, and fresh. `PORTCULLIS_UPDATE=1 cargo test -p
//! portcullis-tests --test generated` writes them.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use portcullis_policy::authenticate::PUBLISHED_KEYS;
use portcullis_policy::compile;
use portcullis_policy::config::Config;
use portcullis_policy::diagnostic::{Code, Severity};
use portcullis_policy::resource::{RESERVED_HEADERS, Resources};
use portcullis_policy::source::from_yaml;
use portcullis_tests::companion;
use portcullis_tests::corpus::{Entry, load};
use portcullis_tests::manifests::{Kind, manifest};
use portcullis_tests::root;
use serde_json::{Value, json};

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

/// The schema of a `CertificateAuthentication`: the one in its definition for Kubernetes, which refuses unknown fields
/// by itself.
fn certificate_authentication_schema() -> Value {
    let text =
        std::fs::read_to_string(root().join("docs/certificateauthentication-crd.yaml")).unwrap();
    let (documents, error) = from_yaml(&text);
    assert_eq!(error, None);
    let definition: Value = serde_json::from_str(&documents[0].to_json()).unwrap();
    let mut schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    schema["properties"]["apiVersion"] = json!({ "const": "portcullis.dev/v1alpha1" });
    schema["properties"]["kind"] = json!({ "const": "CertificateAuthentication" });
    schema["required"] = json!(["apiVersion", "kind", "metadata", "spec"]);
    close(&mut schema["properties"]["spec"]);
    let about = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "CertificateAuthentication",
    });
    let members = about.as_object().unwrap().clone().into_iter();
    Value::Object(members.chain(schema.as_object().unwrap().clone()).collect())
}

/// Lets an object have the named members only, and so for all within it.
fn close(schema: &mut Value) {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(close);
        schema["additionalProperties"] = json!(false);
    }
    if let Some(items) = schema.get_mut("items") {
        close(items);
    }
}

#[test]
fn schema_of_certificate_authentication() {
    let schema = serde_json::to_string_pretty(&certificate_authentication_schema()).unwrap();
    let path = root().join("docs/certificateauthentication.schema.json");
    fresh(&path, &format!("{schema}\n"));
}

#[test]
fn the_schema_takes_what_the_core_takes() {
    let schema = jsonschema::validator_for(&certificate_authentication_schema()).unwrap();
    let mut taken = 0;
    let mut refused = 0;
    for entry in load().unwrap() {
        let own = |value: &Value| value["kind"] == "CertificateAuthentication";
        for value in entry
            .policies_json()
            .unwrap_or_default()
            .iter()
            .filter(|value| own(value))
        {
            let text = value.to_string();
            let is_taken = Resources::read_text(&text).0.diagnostics.is_empty();
            let finding = schema
                .iter_errors(value)
                .next()
                .map(|error| error.to_string());
            if is_taken {
                taken += 1;
                assert_eq!(finding, None, "{}: {text}", entry.name);
            } else {
                refused += usize::from(finding.is_some());
            }
        }
    }
    assert!(
        taken > 10 && refused > 2,
        "{taken} taken, {refused} refused"
    );
}

/// Each block that begins with the name of a scenario holds its policies.
#[test]
fn examples_of_the_reference_are_scenarios() {
    let path = root().join("docs/certificate-authentication.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let corpus = load().unwrap();
    let mut fresh_text = String::new();
    let mut shown = BTreeSet::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        writeln!(fresh_text, "{line}").unwrap();
        let name = line
            .strip_prefix("# tests/scenarios/")
            .and_then(|rest| rest.strip_suffix(".yaml"));
        if let Some(name) = name {
            let entry = corpus.iter().find(|entry| entry.name == name);
            let entry = entry.unwrap_or_else(|| panic!("no scenario {name}"));
            fresh_text.push_str(entry.policies.trim_end());
            fresh_text.push_str("\n```\n");
            shown.insert(name.to_owned());
            lines.find(|line| *line == "```");
        }
    }
    fresh(&path, &fresh_text);
    let certificates = corpus.iter().map(|entry| &entry.name);
    let all: BTreeSet<String> = certificates
        .filter(|name| name.starts_with("certificates/"))
        .cloned()
        .collect();
    assert_eq!(
        all.difference(&shown).collect::<Vec<_>>(),
        Vec::<&String>::new()
    );
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
            let config = Config::read(wasm.get("pluginConfig").unwrap(), None);
            let compiled = compile(
                &config.resources,
                &config.setting(entry.setting.workload.clone()),
            );
            let wrong: Vec<String> = compiled
                .diagnostics
                .iter()
                .filter(|diagnostic| diagnostic.severity != Severity::Info)
                // Who applies a manifest with its demonstration keys is told of them.
                .filter(|diagnostic| diagnostic.code != Code::PublishedKey)
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
fn companion_of_the_partners() {
    let folder = root().join("examples/partner-certificates");
    let policies = std::fs::read_to_string(folder.join("policies.yaml")).unwrap();
    let text = companion::manifest(&policies, &companion::Target::default()).unwrap();
    fresh(&folder.join("companion.yaml"), &text);
}

#[test]
fn reference_of_the_diagnostics() {
    let mut table = String::from(
        "# Diagnostics\n\nWhat Portcullis says about policies. Errors stop a configuration; warnings and notes do not. The\ncodes are stable.\n\n| code | meaning |\n|---|---|\n",
    );
    for code in Code::ALL {
        writeln!(table, "| `{code}` | {} |", code.meaning()).unwrap();
    }
    table.push_str(RESERVED);
    for header in RESERVED_HEADERS {
        let (severity, reason) = (header.severity.as_str(), header.reason);
        writeln!(table, "| `{}` | {severity} | {reason} |", header.name).unwrap();
    }
    table.push_str(PUBLISHED);
    for key in PUBLISHED_KEYS {
        writeln!(table, "| `{}` | {} |", key.thumbprint, key.place).unwrap();
    }
    fresh(&root().join("docs/diagnostics.md"), &table);
}

/// Before the headers of `reserved-header`.
const RESERVED: &str = "
## Headers that are no token's

`reserved-header` speaks of these in `outputClaimToHeaders` and `outputPayloadToHeader`, whatever stands in their
names for `-`. Istio and Envoy take them all. An error is what frames the message or tells a server whom to believe;
a rule that writes such a header also removes the client's own from every request, with a token or without one.

| header | | why |
|---|---|---|
";

/// Before the keys of `published-key`.
const PUBLISHED: &str = "
## Keys that everybody has

`published-key` knows these by their thumbprints (RFC 7638, SHA-256), however they are written. It is a warning, and
in [strict mode](plugin.md#strict-tokens) an error; `acceptPublishedKeys` turns it off.

| thumbprint | published in |
|---|---|
";

#[test]
fn every_diagnostic_has_a_scenario() {
    let corpus = load().unwrap();
    let provoked: BTreeSet<&str> = corpus
        .iter()
        .flat_map(|entry| entry.scenario.diagnostics.iter().flatten())
        .map(|diagnostic| diagnostic.code.as_str())
        .collect();
    // What only a plugin is told is tested with the plugin.
    let of_plugin = [Code::NeedsCompanion, Code::NeedsNewerEnvoy].map(Code::as_str);
    let missing: Vec<&str> = Code::ALL
        .iter()
        .map(|code| code.as_str())
        .filter(|code| !provoked.contains(code) && !of_plugin.contains(code))
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}
