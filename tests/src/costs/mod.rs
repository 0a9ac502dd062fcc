//! What one request costs at worst: Envoy's CPU time with policies, minus that of the same request without any.
//!
//! CPU time and not the clock's: it is what a worker is kept from other requests, and neighbours on the machine do
//! not count.

mod keys;
mod rows;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use crate::client::{Exchange, proxy_header};
use crate::drivers::{filter_module, real_now, source_ip_state, wasm_filter};
use crate::envoy::{Config, Envoy, Listener};
use crate::oracle;
use rows::Row;

/// How often each request is measured.
const ROUNDS: usize = 30;
/// How often it is sent before.
const WARM_UP: usize = 3;
/// The pause after an answer, for Envoy to clean up and for its log not to be cut.
const PAUSE: Duration = Duration::from_millis(15);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Microseconds of one row: median and maximum.
type Cost = (f64, f64);

/// Measures every row whose name holds `word`, and calls `print` with each line of the table.
///
/// # Errors
/// Envoy does not start, or does not answer.
pub fn run(word: &str, mut print: impl FnMut(&str)) -> Result<()> {
    for line in head()? {
        print(&line);
    }
    for row in rows::rows()?.iter().filter(|row| row.name.contains(word)) {
        print(&measure(row).with_context(|| row.name.clone())?);
    }
    Ok(())
}

fn head() -> Result<Vec<String>> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown", |rest| rest.trim_start_matches([':', ' ', '\t']));
    let envoy = Envoy::start(&config(vec![Listener::new("none", Vec::new())]))?;
    let info: Value = serde_json::from_slice(&envoy.admin("/server_info")?.body)?;
    let version = info["version"].as_str().unwrap_or_default();
    let version = version.split('/').nth(1).unwrap_or("unknown");
    Ok(vec![
        "# What one request costs at worst".to_owned(),
        String::new(),
        format!(
            "{}, {cpu}, Envoy {version}, by `cargo xtask costs`.",
            date(real_now())
        ),
        String::new(),
        format!(
            "Microseconds of Envoy's CPU time for one request, more than the same request takes with a plugin without policies, or \
             without any filter: median and maximum of {ROUNDS} requests after {WARM_UP}, on one worker, with a route that answers \
             by itself. Both columns are measured in turn in one Envoy. Envoy's own filters are `jwt_authn` and `rbac` as istiod \
             configures them; `-` is what Istio does not have. Limits of Envoy are raised beyond Istio's where a row needs it: 96 KiB and 4,000 \
             lines of headers."
        ),
        String::new(),
        "| request | answer | median | max | Envoy's own: median | max | what costs |".to_owned(),
        "|---|---|---|---|---|---|---|".to_owned(),
    ])
}

fn measure(row: &Row) -> Result<String> {
    let module = filter_module()?;
    let plugin = |policies: &[Value]| -> Result<Vec<Value>> {
        let configuration = json!({
            "policies": policies,
            "workload": { "namespace": "default" },
        });
        Ok(vec![
            source_ip_state()?,
            wasm_filter(&module, &configuration),
        ])
    };
    let mut listeners = vec![
        listener("empty", plugin(&[])?),
        listener("ours", plugin(&row.policies)?),
    ];
    if row.is_istios {
        listeners.push(listener("none", Vec::new()));
        listeners.push(listener("own", native(&row.policies)?));
    }
    let envoy = Envoy::start(&config(listeners.clone()))?;
    envoy.set_log_level(row.log_level)?;
    let mut connections = listeners
        .iter()
        .map(|listener| Connection::open(envoy.address(&listener.name)?, row))
        .collect::<Result<Vec<_>>>()?;
    let mut times = vec![Vec::new(); connections.len()];
    let mut status = 0;
    for round in 0..WARM_UP + ROUNDS {
        for (place, connection) in connections.iter_mut().enumerate() {
            let before = envoy.cpu_time()?;
            let got = connection.exchange()?;
            std::thread::sleep(PAUSE);
            let took = envoy.cpu_time()?.saturating_sub(before);
            if place == 1 {
                status = got;
            }
            if round >= WARM_UP {
                times[place].push(took.as_secs_f64() * 1e6);
            }
        }
    }
    let mut costs = times.chunks(2).map(|pair| match pair {
        [without, with] => cost(without, with),
        _ => (0.0, 0.0),
    });
    let (median, max) = costs.next().context("a measurement")?;
    let own = costs.next().map_or("- | -".to_owned(), |(median, max)| {
        format!("{median:.0} | {max:.0}")
    });
    Ok(format!(
        "| {} | {status} | {median:.0} | {max:.0} | {own} | {} |",
        row.name, row.why
    ))
}

/// The medians' difference, and that of the maximum from the median without policies.
fn cost(without: &[f64], with: &[f64]) -> Cost {
    let sorted = |times: &[f64]| {
        let mut times = times.to_vec();
        times.sort_by(f64::total_cmp);
        times
    };
    let (without, with) = (sorted(without), sorted(with));
    let base = without[without.len() / 2];
    (with[with.len() / 2] - base, with[with.len() - 1] - base)
}

fn native(policies: &[Value]) -> Result<Vec<Value>> {
    let mesh = oracle::Mesh {
        root_namespace: "istio-system".to_owned(),
        trust_domain: "cluster.local".to_owned(),
        trust_domain_aliases: Vec::new(),
    };
    let workload = oracle::Workload {
        namespace: "default".to_owned(),
        labels: std::collections::BTreeMap::new(),
    };
    oracle::http_filters(policies, &mesh, &workload, &oracle::KeySets::new())
}

fn config(listeners: Vec<Listener>) -> Config {
    Config::new(SocketAddr::from(([127, 0, 0, 1], 9)), listeners)
}

fn listener(name: &str, filters: Vec<Value>) -> Listener {
    let mut fields = Map::new();
    fields.insert("max_request_headers_kb".to_owned(), json!(96));
    fields.insert(
        "common_http_protocol_options".to_owned(),
        json!({ "max_headers_count": 4000 }),
    );
    // A plain-text listener would take the header away.
    fields.insert(
        "forward_client_cert_details".to_owned(),
        json!("ALWAYS_FORWARD_ONLY"),
    );
    fields.insert(
        "route_config".to_owned(),
        json!({ "virtual_hosts": [{
            "name": "all",
            "domains": ["*"],
            "routes": [{
                "match": { "prefix": "/" },
                "direct_response": { "status": 200, "body": { "inline_string": "ok" } },
            }],
        }] }),
    );
    Listener {
        connection_manager: fields,
        ..Listener::new(name, filters)
    }
}

/// A connection that stays open, with the request.
struct Connection {
    stream: TcpStream,
    message: Vec<u8>,
}

impl Connection {
    fn open(address: SocketAddr, row: &Row) -> Result<Self> {
        let exchange = Exchange {
            path: row.path.clone().into_bytes(),
            headers: row.headers.clone(),
            ..Exchange::default()
        };
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&proxy_header(exchange.source, exchange.destination)?)?;
        Ok(Self {
            stream,
            message: exchange.message(),
        })
    }

    /// Sends the request; the status of its answer.
    fn exchange(&mut self) -> Result<u16> {
        self.stream.write_all(&self.message)?;
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let read = self.stream.read(&mut buffer)?;
            ensure!(read > 0, "the connection was closed");
            answer.extend_from_slice(&buffer[..read]);
            // A short body comes in one piece with its head.
            if answer.windows(4).any(|four| four == b"\r\n\r\n") {
                let text = String::from_utf8_lossy(&answer);
                let status = text.get(9..12).and_then(|text| text.parse().ok());
                return status.context("a status");
            }
        }
    }
}

/// The day of a time, as in RFC 3339.
fn date(seconds: u64) -> String {
    let mut days = seconds / 86_400;
    let mut year = 1970;
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [
        31,
        28 + u64::from(is_leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written() {
        for (seconds, expected) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_767_225_599, "2025-12-31"),
        ] {
            assert_eq!(date(seconds), expected);
        }
    }

    #[test]
    fn a_cost_is_what_policies_add() {
        assert_eq!(cost(&[1.0, 9.0, 2.0], &[12.0, 40.0, 10.0]), (10.0, 38.0));
    }
}
