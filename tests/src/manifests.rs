//! The deployment manifests of the examples: a WasmPlugin and its TrafficExtension twin for each scenario
//! file, with the policies verbatim.

use std::fmt::Write;

use anyhow::{Context, Result};
use portcullis_policy::compile::TokenMode;
use portcullis_policy::normalize::ProxyKind;

use crate::corpus::Entry;

/// The two kinds that deploy a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `extensions.istio.io` `WasmPlugin`, in every Istio.
    WasmPlugin,
    /// `extensions.istio.io` `TrafficExtension`, from Istio 1.30 on.
    TrafficExtension,
}

impl Kind {
    /// The file beside the scenario file, which is `scenarios.yaml` or `scenarios-SUFFIX.yaml`.
    pub fn file(self, scenario_file: &str) -> String {
        let stem = match self {
            Self::WasmPlugin => "wasmplugin",
            Self::TrafficExtension => "trafficextension",
        };
        scenario_file.replacen("scenarios", stem, 1)
    }
}

/// The manifest that deploys the filter with a scenario's policies, for the workload that it names.
///
/// # Errors
/// When a text has a form that cannot be indented.
pub fn manifest(kind: Kind, entry: &Entry) -> Result<String> {
    let workload = &entry.setting.workload;
    let mut text = String::from(
        "# Made from the policies and scenarios beside it; see tests/tests/generated.rs.\n",
    );
    text += "apiVersion: extensions.istio.io/v1alpha1\n";
    writeln!(
        text,
        "kind: {}",
        if kind == Kind::WasmPlugin {
            "WasmPlugin"
        } else {
            "TrafficExtension"
        }
    )?;
    writeln!(
        text,
        "metadata:\n  name: portcullis\n  namespace: {}\nspec:",
        workload.namespace
    )?;
    if !workload.labels.is_empty() {
        text += "  selector:\n    matchLabels:\n";
        for (key, value) in &workload.labels {
            writeln!(text, "      {key}: {value}")?;
        }
    }
    text += "  phase: AUTHN\n";
    if entry.scenario.proxy.kind == ProxyKind::Sidecar {
        text += "  # Without it, the workload's own outgoing requests would be judged too.\n";
        text += "  match:\n  - mode: SERVER\n";
    }
    let wasm = module(entry)?;
    if kind == Kind::WasmPlugin {
        text += &indent(&wasm, 2);
    } else {
        text += "  wasm:\n";
        text += &indent(&wasm, 4);
    }
    Ok(text)
}

/// The fields that name the module and configure it.
fn module(entry: &Entry) -> Result<String> {
    let mut text = String::from("# Your registry, and the digest of the image that you pushed.\n");
    text += "url: oci://registry.example/portcullis:0.1.0\n";
    text += "# A trap in the plugin answers 503 and starts it anew; FAIL_OPEN would let every request pass.\n";
    text += "failStrategy: FAIL_RELOAD\n";
    text += "pluginConfig:\n  policies:\n";
    for document in entry.policies.split("\n---\n") {
        let mut lines = document.trim_end().lines();
        let first = lines.next().context("an empty document")?;
        writeln!(text, "  - {first}")?;
        for line in lines {
            writeln!(text, "    {line}")?;
        }
    }
    if !entry.setting.key_sets.is_empty() {
        text += "  # Demonstration keys: their private halves are published in examples/keys. Put the key set of\n";
        text += "  # your issuer here.\n  jwks:\n";
        for source in &entry.setting.key_sets {
            writeln!(text, "  - uri: {}\n    jwks: '{}'", source.uri, source.jwks)?;
        }
    }
    match &entry.setting.tokens.mode {
        TokenMode::Envoy if entry.setting.tokens.removes_twins => {
            text += "  tokens: {mode: envoy, removeTwins: true}\n";
        }
        TokenMode::Envoy => {}
        TokenMode::Strict { token_type: None } => text += "  tokens: strict\n",
        TokenMode::Strict {
            token_type: Some(typ),
        } => writeln!(text, "  tokens: {{mode: strict, typ: '{typ}'}}")?,
    }
    Ok(text)
}

fn indent(text: &str, width: usize) -> String {
    let mut indented = String::new();
    for line in text.lines() {
        indented += &" ".repeat(if line.is_empty() { 0 } else { width });
        indented += line;
        indented.push('\n');
    }
    indented
}
