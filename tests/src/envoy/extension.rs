//! An HTTP filter whose configuration Envoy reads from a file and takes up again when the file is
//! replaced: what Istio does over ECDS for a WasmPlugin, without a control plane.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{Envoy, POLL, RELOAD_LIMIT, tail};
use crate::scratch::Scratch;

/// The file behind one such filter.
#[derive(Debug)]
pub struct ExtensionFile {
    folder: Scratch,
    path: PathBuf,
    name: String,
    type_url: String,
    version: u32,
}

/// What Envoy did with a new configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// It is in force.
    Accepted,
    /// It was refused, and the one before stays in force. Holds the end of Envoy's log.
    Rejected(String),
}

impl ExtensionFile {
    /// Writes the first configuration.
    ///
    /// `filter` is an entry of `http_filters`, `{"name", "typed_config"}`; later ones keep its name
    /// and type.
    pub fn new(filter: &Value) -> Result<Self> {
        let name = filter["name"]
            .as_str()
            .context("a filter needs a name")?
            .to_owned();
        let type_url = filter["typed_config"]["@type"]
            .as_str()
            .context("a filter needs a typed_config")?
            .to_owned();
        let folder = Scratch::new()?;
        let path = folder.path().join("filter.json");
        let mut file = Self {
            folder,
            path,
            name,
            type_url,
            version: 0,
        };
        file.write(filter)?;
        Ok(file)
    }

    /// The entry for [`Listener::http_filters`](super::Listener::http_filters) that points at the file.
    pub fn http_filter(&self) -> Value {
        json!({
            "name": self.name,
            "config_discovery": {
                "config_source": { "resource_api_version": "V3", "path_config_source": { "path": self.path } },
                "type_urls": [self.type_url],
            },
        })
    }

    fn statistic(&self, name: &str) -> String {
        format!(
            "extension_config_discovery.http_filter.{}.{name}",
            self.name
        )
    }

    /// Replaces the file by a rename, the only change that Envoy watches for.
    fn write(&mut self, filter: &Value) -> Result<()> {
        self.version += 1;
        let response = json!({
            "version_info": self.version.to_string(),
            "resources": [{
                "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
                "name": self.name,
                "typed_config": filter["typed_config"],
            }],
        });
        let fresh = self.folder.write("fresh.json", response.to_string())?;
        std::fs::rename(fresh, &self.path).context("cannot replace the filter's file")
    }
}

impl Envoy {
    /// Replaces the configuration behind `file` and waits until Envoy has taken or refused it.
    pub fn replace_extension(&self, file: &mut ExtensionFile, filter: &Value) -> Result<Applied> {
        let rejected = self.rejections(file)?;
        file.write(filter)?;
        let wanted = format!("{}: \"{}\"", file.statistic("version_text"), file.version);
        let deadline = Instant::now() + RELOAD_LIMIT;
        while Instant::now() < deadline {
            if self
                .admin("/stats")?
                .text()
                .lines()
                .any(|line| line == wanted)
            {
                return Ok(Applied::Accepted);
            }
            if self.rejections(file)? > rejected {
                return Ok(Applied::Rejected(tail(&self.log())));
            }
            std::thread::sleep(POLL);
        }
        bail!(
            "Envoy did not take up {} within {RELOAD_LIMIT:?}:\n{}",
            file.path.display(),
            tail(&self.log())
        )
    }

    fn rejections(&self, file: &ExtensionFile) -> Result<u64> {
        Ok(self.stat(&file.statistic("update_rejected"))?
            + self.stat(&file.statistic("update_failure"))?)
    }
}
