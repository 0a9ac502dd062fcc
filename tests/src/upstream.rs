//! The workload behind Envoy: answers 200 and says what reached it.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::client::Response;
use crate::server::{Reply, Request, Server};

/// Starts the echo server on a free port.
///
/// Its body is JSON: `{"method", "path", "headers": [[name, value], …]}`, headers in the order in
/// which they arrived, bytes that are not UTF-8 replaced by U+FFFD. It keeps connections alive.
pub fn echo() -> Result<Server> {
    Server::start(0, |request| {
        Reply::new(200, "application/json", describe(request).to_string())
    })
}

/// The request that the upstream saw, read from a response that came through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Header lines in order.
    pub headers: Vec<(String, String)>,
}

impl Seen {
    /// Reads the echo server's answer.
    pub fn read(response: &Response) -> Result<Self> {
        let value: Value = serde_json::from_slice(&response.body)
            .context("the response is not the upstream's JSON")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let lines = value["headers"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        Ok(Self {
            method: text(&value["method"]),
            path: text(&value["path"]),
            headers: lines
                .iter()
                .map(|line| (text(&line[0]), text(&line[1])))
                .collect(),
        })
    }

    /// All values under a lower-case name, in order. Empty: the header is absent.
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(candidate, _)| candidate == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }
}

fn describe(request: &Request) -> Value {
    let lines = request
        .headers
        .iter()
        .map(|(name, value)| json!([text(name).to_ascii_lowercase(), text(value)]));
    json!({ "method": request.method, "path": request.path, "headers": lines.collect::<Vec<_>>() })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
