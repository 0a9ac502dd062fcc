//! From the configuration's text to policies that decide, with all that there is to say about it in the log.

use std::cell::OnceCell;

use portcullis_policy::config::{Config, Signatures};
use portcullis_policy::diagnostic::{Diagnostic, Severity};
use portcullis_policy::source::from_json;
use portcullis_policy::{PolicySet, TokenHandling, compile};
use proxy_wasm::types::LogLevel;

use crate::attributes;
use crate::host;
use crate::metrics::Metrics;
use crate::signature::Whose;

/// A configuration that can be used.
pub(crate) struct Accepted {
    pub(crate) set: PolicySet,
    pub(crate) config: Config,
    pub(crate) metrics: Metrics,
    pub(crate) whose: Whose,
}

/// Whether findings are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    Log,
    /// They were logged before.
    Silent,
}

impl Report {
    fn line(self, level: LogLevel, line: &str) {
        if self == Self::Log {
            host::log(level, line);
        }
    }

    fn diagnostics(self, diagnostics: &[Diagnostic]) {
        for diagnostic in diagnostics {
            let level = match diagnostic.severity {
                Severity::Error => LogLevel::Error,
                Severity::Warning => LogLevel::Warn,
                Severity::Info => LogLevel::Info,
            };
            self.line(level, &diagnostic.to_string());
        }
    }
}

thread_local! {
    /// Envoy keeps each definition as long as the VM, so there is one for all configurations.
    static METRICS: OnceCell<Metrics> = const { OnceCell::new() };
    /// Whose code is right about known signatures does not change while the VM lives.
    static CHOSEN: OnceCell<Whose> = const { OnceCell::new() };
}

/// Reads and compiles; `None` if it cannot be used.
pub(crate) fn accept(text: &[u8], report: Report) -> Option<Accepted> {
    let proxy = attributes::workload();
    let config = match from_json(text) {
        Ok(node) => Config::read(&node, proxy.as_ref().map(|proxy| proxy.namespace.as_str())),
        Err(error) => Config::not_json(format!("the plugin's configuration is not JSON: {error}")),
    };
    let has_labels = proxy.as_ref().is_some_and(|proxy| proxy.has_labels);
    let is_known = config.workload.is_some() || proxy.is_some();
    let mut setting = config.setting(proxy.unwrap_or_default().into());
    setting.workload.is_gateway |= attributes::is_gateway();
    let compiled = compile(&config.resources, &setting);
    report.diagnostics(&compiled.diagnostics);
    if !is_known {
        report.line(
            LogLevel::Error,
            "error[missing-field]: workload: the proxy's node metadata names no namespace that can be read; give `workload`",
        );
        return None;
    }
    let set = compiled.set?;
    if let Some(version) = attributes::envoy_version() {
        let lacking = set.report_version(version);
        report.diagnostics(&lacking);
        if lacking.iter().any(|one| one.severity == Severity::Error) {
            return None;
        }
    }
    let selector = config.resources.selects_by_labels();
    if let Some(resource) = selector
        && config.workload.is_none()
        && !has_labels
    {
        report.line(
            LogLevel::Error,
            &format!(
                "error[missing-field]: workload: {resource} selects workloads by labels, and the proxy's node metadata has no LABELS; give `workload.labels`"
            ),
        );
        return None;
    }
    let Some(metrics) = metrics() else {
        report.line(
            LogLevel::Error,
            "Envoy does not take the plugin's statistics",
        );
        return None;
    };
    let whose = match config.signatures {
        Signatures::Auto => CHOSEN.with(|chosen| *chosen.get_or_init(Whose::choose)),
        Signatures::BuiltIn => Whose::BuiltIn,
    };
    report.line(
        LogLevel::Info,
        &format!(
            "RSA PKCS #1 and ECDSA signatures are verified by {}",
            whose.as_str()
        ),
    );
    if let Some(handling) = set.token_handling() {
        report.line(LogLevel::Info, tokens_line(handling));
    }
    Some(Accepted {
        set,
        config,
        metrics,
        whose,
    })
}

/// What filters behind the plugin get of tokens: it must fit what they are to do.
fn tokens_line(handling: TokenHandling) -> &'static str {
    match handling {
        TokenHandling::Kept => {
            "good tokens stay in requests, and filters behind the plugin see them"
        }
        TokenHandling::Removed => {
            "good tokens are removed from requests, unless their rule has `forwardOriginalToken`, and filters behind the plugin do not see them; `keepTokens: true` lets them stay"
        }
    }
}

fn metrics() -> Option<Metrics> {
    METRICS.with(|metrics| {
        if let Some(metrics) = metrics.get() {
            return Some(*metrics);
        }
        let defined = Metrics::define().ok()?;
        Some(*metrics.get_or_init(|| defined))
    })
}
