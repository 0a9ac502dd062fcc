//! The Envoy filter of Portcullis, a proxy-wasm plugin.
//!
//! It translates: Envoy's attributes into a request, a decision into a reply or header edits. What decides
//! is `portcullis-policy`.
//!
//! INVARIANT: no statics. Envoy runs plugins with the same code in one VM, so a static would let one
//! listener's policies rule another's. All state hangs on the root context.

// The plugin's entry points and host calls exist only there.
#![cfg(target_arch = "wasm32")]

mod attributes;
mod host;
mod keys;
mod metadata;
mod metrics;
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
