//! Configuration: once per version and VM.

use std::rc::Rc;

use portcullis_policy::config::{Config, Signatures};
use portcullis_policy::crypto::CachedVerifier;
use portcullis_policy::diagnostic::Severity;
use portcullis_policy::source::from_json;
use portcullis_policy::{PolicySet, compile};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{ContextType, LogLevel};

use crate::attributes;
use crate::host;
use crate::metrics::Metrics;
use crate::request::Stream;
use crate::signature::{Verifier, Whose};

/// One plugin configuration of one listener.
#[derive(Default)]
pub(crate) struct Root {
    /// `None` until a configuration was accepted.
    gate: Option<Rc<Gate>>,
}

/// What decides for one configuration. The signatures that were verified go with its keys.
pub(crate) struct Gate {
    pub(crate) set: PolicySet,
    pub(crate) verifier: CachedVerifier<Verifier>,
    pub(crate) metrics: Metrics,
}

impl Context for Root {}

impl RootContext for Root {
    /// `false` makes Envoy keep the previous configuration, or refuse traffic if there is none.
    fn on_configure(&mut self, size: usize) -> bool {
        let text = host::plugin_configuration(size);
        let config = match from_json(&text) {
            Ok(node) => Config::read(&node),
            Err(error) => {
                Config::not_json(format!("the plugin's configuration is not JSON: {error}"))
            }
        };
        let proxy = attributes::workload();
        let is_known = config.workload.is_some() || proxy.is_some();
        let mut setting = config.setting(proxy.unwrap_or_default());
        setting.workload.is_gateway |= attributes::is_gateway();
        let compiled = compile(&config.resources, &setting);
        for diagnostic in &compiled.diagnostics {
            let level = match diagnostic.severity {
                Severity::Error => LogLevel::Error,
                Severity::Warning => LogLevel::Warn,
                Severity::Info => LogLevel::Info,
            };
            host::log(level, &diagnostic.to_string());
        }
        if !is_known {
            host::log(
                LogLevel::Error,
                "error[missing-field]: workload: the proxy's node metadata names no namespace that can be read; give `workload`",
            );
            return false;
        }
        let Some(set) = compiled.set else {
            return false;
        };
        let Ok(metrics) = Metrics::define() else {
            host::log(
                LogLevel::Error,
                "Envoy does not take the plugin's statistics",
            );
            return false;
        };
        let whose = match config.signatures {
            Signatures::Auto => Whose::choose(),
            Signatures::BuiltIn => Whose::BuiltIn,
        };
        host::log(
            LogLevel::Info,
            &format!(
                "RSA PKCS #1 and ECDSA signatures are verified by {}",
                whose.as_str()
            ),
        );
        self.gate = Some(Rc::new(Gate {
            set,
            verifier: CachedVerifier::new(Verifier { whose, metrics }, config.signature_cache),
            metrics,
        }));
        true
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            gate: self.gate.clone(),
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
