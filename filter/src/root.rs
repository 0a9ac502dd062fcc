//! The root context: Envoy's calls that are of no stream.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use crate::host;
use crate::plugin::Plugin;
use crate::request::Stream;

/// One plugin configuration of one listener.
pub(crate) struct Root {
    plugin: Rc<Plugin>,
}

impl Root {
    pub(crate) fn new(id: u32) -> Self {
        Self {
            plugin: Plugin::new(id),
        }
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, _: usize, body_size: usize, _: usize) {
        self.plugin.answered(token, body_size);
    }
}

/// Envoy has given the context up. (`proxy_on_done` would say so earlier, and be called for each stream, too.)
impl Drop for Root {
    fn drop(&mut self) {
        self.plugin.end();
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        self.plugin.configure(&host::plugin_configuration(size))
    }

    fn on_tick(&mut self) {
        self.plugin.tick();
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream::new(id, self.plugin.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
