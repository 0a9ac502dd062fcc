//! The Envoy filter of Portcullis, a proxy-wasm plugin.
//!
//! It translates: Envoy's attributes into a request, a decision into a reply or header edits. What decides
//! is `portcullis-policy`.
//!
//! INVARIANT: no static decides about a request. Envoy runs plugins with the same code in one VM, so a static would
//! let one listener's policies rule another's: all that decides hangs on the root context. What a VM has once are
//! the ids of Envoy's statistics, whose code verifies signatures, and the list of plugins by which a configuration
//! takes over from the one before.

// The plugin's entry points and host calls exist only there.
#![cfg(target_arch = "wasm32")]

mod attributes;
mod configuration;
mod host;
mod keys;
mod metadata;
mod metrics;
mod plugin;
mod request;
mod root;
mod signature;

use proxy_wasm::traits::RootContext;
use proxy_wasm::types::LogLevel;

/// Called by Envoy when it loads the module.
mod start {
    use super::{LogLevel, RootContext, root};

    proxy_wasm::main! {{
        proxy_wasm::set_log_level(LogLevel::Trace);
        proxy_wasm::set_root_context(|id| -> Box<dyn RootContext> { Box::new(root::Root::new(id)) });
    }}
}
