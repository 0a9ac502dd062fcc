//! Building blocks of the scenario drivers: a real Envoy, a client that sends any bytes, an upstream
//! that says what it saw, certificates, and a browser with the built page.

pub mod browser;
pub mod certificates;
pub mod client;
pub mod clock;
pub mod companion;
pub mod corpus;
pub mod costs;
pub mod drivers;
pub mod envoy;
pub mod fuzz;
pub mod http;
pub mod manifests;
pub mod oracle;
pub mod outcome;
pub mod scratch;
pub mod server;
pub mod soak;
pub mod static_files;
pub mod upstream;

use std::path::{Path, PathBuf};

/// The project's root folder.
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}
