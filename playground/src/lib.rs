//! The browser engine of Portcullis: the same core as the filter's, behind plain JavaScript values.
//!
//! It translates. What decides and explains is `portcullis-policy`; the shapes of the values are in `wire`,
//! from which the TypeScript declarations are made.

// It is nothing without a browser around it.
#![cfg(target_arch = "wasm32")]

mod certificate;
mod engine;
mod report;
#[cfg(feature = "scenarios")]
mod scenario;
pub mod wire;

pub use engine::Engine;

use wasm_bindgen::prelude::wasm_bindgen;

/// A panic is a bug of ours: it goes to the console with its place before the instance stops.
#[wasm_bindgen(start)]
pub fn start() {
    std::panic::set_hook(Box::new(|panic| {
        web_sys::console::error_1(&panic.to_string().into());
    }));
}

/// The version of Portcullis.
#[wasm_bindgen]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// What is in a certificate, PEM, or in the value of `x-forwarded-client-cert`, as the core reads them.
#[wasm_bindgen(js_name = readCertificate)]
pub fn read_certificate(
    text: &str,
    is_header: bool,
) -> Result<tsify::Ts<wire::CertificateRead>, wasm_bindgen::prelude::JsError> {
    use tsify::Tsify;
    Ok(certificate::read(text, is_header).into_ts()?)
}

/// A scenario file as data, or what is wrong with it.
#[cfg(feature = "scenarios")]
#[wasm_bindgen(js_name = readScenario)]
pub fn read_scenario(
    text: &str,
) -> Result<tsify::Ts<wire::ScenarioRead>, wasm_bindgen::prelude::JsError> {
    use tsify::Tsify;
    Ok(scenario::read(text).into_ts()?)
}
