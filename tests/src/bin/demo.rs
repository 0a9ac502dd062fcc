//! Shows an example in a real Envoy: `demo [--example NAME] [--once] [--slow] [--port N]`.
//!
//! Sends the example's requests, prints what came of them and why, and stays up with the page until Ctrl-C.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use portcullis_policy::crypto::RustVerifier;
use portcullis_policy::scenario::Case;
use portcullis_policy::{authenticate, compile, explain};
use portcullis_tests::certificates::Authority;
use portcullis_tests::corpus::{Entry, Sent, load};
use portcullis_tests::drivers::{
    Answer, Driver, EnvoyFilter, Run, exchange, filter_module, incoming, listener, outcome,
    plugin_config, real_now, wasm_filter,
};
use portcullis_tests::envoy::{Config, Envoy, Listener};
use portcullis_tests::static_files;
use portcullis_tests::upstream::echo;

/// What the command line asks for.
struct Wish {
    example: String,
    once: bool,
    slow: bool,
    port: u16,
}

fn main() -> Result<ExitCode> {
    let wish = Wish::read(std::env::args().skip(1))?;
    let prefix = format!("examples/{}/", wish.example);
    let corpus = load()?;
    let entries: Vec<&Entry> = corpus
        .iter()
        .filter(|entry| entry.name.starts_with(&prefix))
        .collect();
    let (secured, entries): (Vec<&Entry>, Vec<&Entry>) =
        entries.into_iter().partition(|entry| needs_tls(entry));
    if entries.is_empty() && secured.is_empty() {
        let mut names: Vec<&str> = corpus
            .iter()
            .filter_map(|entry| entry.name.strip_prefix("examples/")?.split('/').next())
            .collect();
        names.dedup();
        bail!(
            "there is no example `{}`; there are {}",
            wish.example,
            names.join(", ")
        );
    }
    let (stop, stopped) = mpsc::channel();
    ctrlc::set_handler(move || {
        // The receiver is gone when the demonstration ends by itself.
        let _ended = stop.send(());
    })?;

    let upstream = echo()?;
    let module = filter_module()?;
    let mut listeners = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let filter = wasm_filter(&module, &plugin_config(entry));
        let port = if index == 0 { wish.port } else { 0 };
        listeners.push(Listener {
            port,
            ..listener(entry, index.to_string(), vec![filter], None)
        });
    }
    let envoy = Envoy::start(&Config::new(upstream.address(), listeners))
        .context("Envoy does not start")?;
    println!("Envoy with the filter runs, in front of an upstream that echoes.\n");
    let mut wrong = 0;
    for (index, entry) in entries.iter().enumerate() {
        println!("{}", entry.scenario.description);
        wrong += show(entry, &envoy, &index.to_string(), wish.slow, &stopped)?;
        println!();
    }
    wrong += show_secured(&secured)?;
    if wrong > 0 {
        println!("{wrong} of the requests did not come out as expected");
        return Ok(ExitCode::FAILURE);
    }
    println!("All requests came out as expected.");
    if !wish.once {
        let page = static_files::serve(&portcullis_tests::root().join("www/dist"), 0)?;
        println!("\nPage:  http://{}/", page.address());
        for (index, entry) in entries.iter().enumerate() {
            try_it(entry, envoy.address(&index.to_string())?)?;
        }
        println!("\nCtrl-C ends it.");
        stopped.recv().context("nobody waits for Ctrl-C")?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Wish {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut wish = Self {
            example: "kyma-istio-jwt".into(),
            once: false,
            slow: false,
            port: 0,
        };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--once" => wish.once = true,
                "--slow" => wish.slow = true,
                "--example" => wish.example = words.next().context("--example needs a name")?,
                "--port" => {
                    let number = words.next().and_then(|number| number.parse().ok());
                    wish.port = number.context("--port needs a number up to 65535")?;
                }
                _ => bail!(
                    "unknown argument {word}; usage: demo [--example NAME] [--once] [--slow] [--port N]"
                ),
            }
        }
        Ok(wish)
    }
}

/// Whether a scenario is about certificates: then it has no plain listener that a person could try.
fn needs_tls(entry: &Entry) -> bool {
    let has_certificate = |case: &Case| case.request.certificate.is_some();
    entry.gateway.is_some() || entry.scenario.requests.iter().any(has_certificate)
}

/// Runs scenarios about certificates, through a gateway where they have one; returns how many requests were wrong.
fn show_secured(entries: &[&Entry]) -> Result<usize> {
    let mut wrong = 0;
    for (entry, run) in entries.iter().zip(EnvoyFilter.run(entries)?) {
        println!("{}", entry.scenario.description);
        let Run::Requests(_, answers) = run else {
            bail!("the filter refuses the policies of {}", entry.name);
        };
        let cases = &entry.scenario.requests;
        let width = cases.iter().map(|case| case.name.chars().count()).max();
        let width = width.unwrap_or(0).max("request".len());
        println!("  {:width$}  expected  got  answer", "request");
        for (case, answer) in cases.iter().zip(answers) {
            let (got, text) = match answer {
                Answer::Got(outcome) => {
                    let unlike = outcome.unlike(&case.expect);
                    wrong += usize::from(!unlike.is_empty());
                    let text = if outcome.reached {
                        "reaches the workload".to_owned()
                    } else {
                        outcome.body.clone()
                    };
                    let shown = if unlike.is_empty() {
                        text
                    } else {
                        unlike.join("; ")
                    };
                    (outcome.status.to_string(), shown)
                }
                Answer::Closed => ("-".into(), "the connection is closed".into()),
                Answer::Skipped(reason) => ("-".into(), reason.to_owned()),
                Answer::Failed(error) => {
                    wrong += 1;
                    ("-".into(), error)
                }
            };
            println!(
                "  {:width$}  {:<8}  {got}  {text}",
                case.name, case.expect.status
            );
        }
        println!();
    }
    Ok(wrong)
}

/// Sends the requests of one scenario and prints a line for each; returns how many were wrong.
fn show(
    entry: &Entry,
    envoy: &Envoy,
    listener: &str,
    slow: bool,
    stopped: &mpsc::Receiver<()>,
) -> Result<usize> {
    let authority = Authority::new()?;
    let start = real_now();
    let requests = entry.requests(start)?;
    let width = requests
        .iter()
        .map(|sent| sent.name.chars().count())
        .max()
        .unwrap_or(0)
        .max("request".len());
    println!("  {:width$}  expected  got  why", "request");
    let mut wrong = 0;
    for sent in &requests {
        if sent.at > 0 && !slow {
            println!(
                "  {:width$}  {:<8}  -    waits {} s: run with --slow",
                sent.name, sent.expect.status, sent.at
            );
            continue;
        }
        wait_until(start + sent.at, stopped)?;
        let response = envoy.send(listener, &exchange(sent, &authority)?)?;
        let got = outcome(&response);
        let unlike = got.unlike(&sent.expect);
        let why = if unlike.is_empty() {
            why(entry, sent, start + sent.at)?
        } else {
            unlike.join("; ")
        };
        println!(
            "  {:width$}  {:<8}  {}  {why}",
            sent.name, sent.expect.status, got.status
        );
        wrong += usize::from(!unlike.is_empty());
    }
    Ok(wrong)
}

/// Waits in real time, a fifth of a second into the second that is meant.
fn wait_until(second: u64, stopped: &mpsc::Receiver<()>) -> Result<()> {
    let now = real_now();
    if second > now {
        println!("  … {} s", second - now);
        let pause = Duration::from_secs(second - now) + Duration::from_millis(200);
        if stopped.recv_timeout(pause).is_ok() {
            bail!("stopped");
        }
    }
    Ok(())
}

/// The core's own words about the request.
fn why(entry: &Entry, sent: &Sent, now: u64) -> Result<String> {
    let policies = compile(&entry.resources(), &entry.setting)
        .set
        .context("the policies do not compile")?;
    let summary = incoming(sent, now).with_request(entry.scenario.proxy, |request| {
        let who = authenticate(&policies, request, &RustVerifier);
        explain(&policies, request, &who).summary
    });
    Ok(summary.unwrap_or_else(|refused| refused.message().into()))
}

/// A request that passes, as a curl line.
fn try_it(entry: &Entry, address: SocketAddr) -> Result<()> {
    println!(
        "\nEnvoy: http://{address}/  ({})",
        entry.scenario.description
    );
    let requests = entry.requests(real_now())?;
    let good = requests
        .iter()
        .rfind(|sent| sent.expect.status == 200 && sent.at == 0);
    if let Some(sent) = good.or(requests.first()) {
        println!("Try:   {}", curl(sent, address));
    }
    Ok(())
}

fn curl(sent: &Sent, address: SocketAddr) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\'', "'\\''");
    let mut line = format!(
        "curl -i 'http://{address}{}' -H 'Host: {}'",
        text(&sent.path),
        sent.host
    );
    for (name, value) in &sent.headers {
        for part in [" -H '", &text(name), ": ", &text(value), "'"] {
            line += part;
        }
    }
    line
}
