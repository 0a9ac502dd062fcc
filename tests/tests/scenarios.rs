//! Every scenario on every driver, each as a test of its own name: `native::paths/prefix-matches`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock};

use libtest_mimic::{Arguments, Failed, Trial};
use portcullis_tests::corpus::{Entry, load};
use portcullis_tests::drivers::{
    Answer, Browser, Driver, EnvoyBuiltIn, EnvoyFilter, EnvoyNative, Findings, Native, Run, Support,
};
use portcullis_tests::outcome::Outcome;

/// How many scenarios and requests a driver may leave out. These numbers may only fall.
const MAX_SKIPPED: [(&str, usize); 5] = [
    ("native", 0),
    ("envoy-filter", 14),
    // What it adds to envoy-filter is the other way to verify signatures.
    ("envoy-builtin", 175),
    // Istio has no CertificateAuthentication to compare with.
    ("envoy-native", 94),
    // Its set of policies is the workload's, and two scenarios have policies on the gateway too.
    ("browser", 4),
];

/// Why Istio's answer to a refused peer is none.
const CLOSES: &str = "Istio's listener closes such a connection before HTTP, and a filter inside it can only answer 403";

/// A driver and the results of its one run over the corpus.
struct Judge {
    driver: Box<dyn Driver + Send + Sync>,
    runs: OnceLock<Result<BTreeMap<String, Run>, String>>,
}

impl Judge {
    fn new(driver: impl Driver + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            driver: Box::new(driver),
            runs: OnceLock::new(),
        })
    }

    /// Why the driver does not run the scenario, if it does not.
    fn skip(&self, entry: &Entry) -> Option<String> {
        let stated = entry
            .scenario
            .skip
            .iter()
            .find(|(name, _)| name == self.driver.name());
        match (stated, self.driver.supports(entry)) {
            (Some((_, reason)), _) => Some(reason.clone()),
            (None, Support::No(reason)) => Some(reason.to_owned()),
            (None, Support::Yes) => None,
        }
    }

    /// Runs the whole corpus at the first call.
    fn run(&self, corpus: &[Entry], name: &str) -> Result<Run, String> {
        let runs = self.runs.get_or_init(|| {
            let entries: Vec<&Entry> = corpus
                .iter()
                .filter(|entry| self.skip(entry).is_none())
                .collect();
            let runs = self
                .driver
                .run(&entries)
                .map_err(|error| format!("{error:#}"))?;
            Ok(entries
                .iter()
                .map(|entry| entry.name.clone())
                .zip(runs)
                .collect())
        });
        let runs = runs.as_ref().map_err(Clone::clone)?;
        runs.get(name)
            .cloned()
            .ok_or_else(|| "the driver gave no result".to_owned())
    }
}

/// What ran and what did not, for the end of the report.
#[derive(Default)]
struct Tally {
    scenarios: BTreeMap<&'static str, usize>,
    requests: BTreeMap<&'static str, usize>,
    skipped: BTreeMap<(&'static str, String), usize>,
    different: BTreeMap<(&'static str, String), usize>,
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let corpus = match load() {
        Ok(corpus) => Arc::new(corpus),
        Err(error) => {
            eprintln!("the corpus cannot be read: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let native = Judge::new(Native);
    let judges = [
        native.clone(),
        Judge::new(EnvoyFilter),
        Judge::new(EnvoyBuiltIn),
        Judge::new(EnvoyNative),
        Judge::new(Browser),
    ];
    let tally = Arc::new(Mutex::new(Tally::default()));
    let mut trials = Vec::new();
    for judge in judges {
        for entry in corpus.iter() {
            let name = judge.driver.name();
            if let Some(reason) = judge.skip(entry) {
                *tally
                    .lock()
                    .unwrap()
                    .skipped
                    .entry((name, reason))
                    .or_default() += 1;
                continue;
            }
            let (judge, native, corpus, tally, entry) = (
                judge.clone(),
                native.clone(),
                corpus.clone(),
                tally.clone(),
                entry.clone(),
            );
            let title = format!("{name}::{}", entry.name);
            trials.push(Trial::test(title, move || {
                let run = judge.run(&corpus, &entry.name)?;
                let reference = native.run(&corpus, &entry.name)?;
                check(name, &entry, run, reference, &tally)
            }));
        }
    }
    let is_whole = arguments.filter.is_none() && arguments.skip.is_empty();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let tally = tally.lock().unwrap();
    let grew = report(&tally) && is_whole;
    if grew || conclusion.has_failed() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Prints the tally; true if more was skipped than is allowed.
fn report(tally: &Tally) -> bool {
    let mut grew = false;
    for (driver, most) in MAX_SKIPPED {
        let count = |counts: &BTreeMap<&'static str, usize>| {
            counts.get(driver).copied().unwrap_or_default()
        };
        let skipped: usize = tally
            .skipped
            .iter()
            .filter(|((name, _), _)| *name == driver)
            .map(|(_, count)| count)
            .sum();
        println!(
            "{driver}: {} scenarios with {} requests ran, {skipped} skipped",
            count(&tally.scenarios),
            count(&tally.requests)
        );
        if skipped > most {
            println!(
                "  {driver} may skip {most} at most: express more, or explain the number in the commit that raises it"
            );
            grew = true;
        }
    }
    for ((driver, reason), count) in &tally.skipped {
        println!("  {driver} skips {count}: {reason}");
    }
    for ((driver, reason), count) in &tally.different {
        println!("  {driver} differs {count}: {reason}");
    }
    grew
}

fn check(
    driver: &'static str,
    entry: &Entry,
    run: Run,
    reference: Run,
    tally: &Mutex<Tally>,
) -> Result<(), Failed> {
    let mut problems = String::new();
    let differs = entry
        .scenario
        .differs
        .iter()
        .find(|(name, _)| name == driver);
    match run {
        Run::Failed(error) => problems = error,
        Run::Refused(findings) => check_findings(entry, &findings, true, &mut problems),
        Run::Requests(findings, answers) => {
            check_findings(entry, &findings, false, &mut problems);
            let Run::Requests(_, references) = reference else {
                return Err("native refuses the policies".into());
            };
            for ((case, answer), reference) in
                entry.scenario.requests.iter().zip(answers).zip(references)
            {
                let found = match (answer, reference) {
                    (Answer::Closed, Answer::Closed) if case.expect.closed => {
                        *tally.lock().unwrap().requests.entry(driver).or_default() += 1;
                        Vec::new()
                    }
                    (Answer::Got(_), _) if case.expect.closed => {
                        vec!["the connection is open".to_owned()]
                    }
                    (Answer::Skipped(reason), _) => {
                        *tally
                            .lock()
                            .unwrap()
                            .skipped
                            .entry((driver, reason.to_owned()))
                            .or_default() += 1;
                        continue;
                    }
                    (Answer::Got(outcome), Answer::Got(reference)) => {
                        *tally.lock().unwrap().requests.entry(driver).or_default() += 1;
                        let mut found = outcome.unlike(&case.expect);
                        found.extend(unlike_native(driver, *outcome, &reference));
                        found
                    }
                    (Answer::Closed, Answer::Got(reference))
                        if driver == "envoy-native"
                            && reference.reason.as_deref() == Some("peer-authentication") =>
                    {
                        let mut tally = tally.lock().unwrap();
                        *tally.requests.entry(driver).or_default() += 1;
                        *tally
                            .different
                            .entry((driver, CLOSES.to_owned()))
                            .or_default() += 1;
                        Vec::new()
                    }
                    (Answer::Closed, _) | (_, Answer::Closed) => {
                        vec!["the connection was closed".to_owned()]
                    }
                    (Answer::Failed(error), _) | (_, Answer::Failed(error)) => vec![error],
                    (Answer::Got(_), Answer::Skipped(reason)) => {
                        vec![format!("native skips it: {reason}")]
                    }
                };
                for problem in found {
                    writeln!(problems, "{}: {problem}", case.name).unwrap();
                }
            }
        }
    }
    *tally.lock().unwrap().scenarios.entry(driver).or_default() += 1;
    match (problems.is_empty(), differs) {
        (true, None) => Ok(()),
        (false, Some((_, reason))) => {
            let mut tally = tally.lock().unwrap();
            *tally.different.entry((driver, reason.clone())).or_default() += 1;
            Ok(())
        }
        (false, None) => Err(problems.into()),
        (true, Some(_)) => {
            Err("the difference that the scenario records is gone: remove it there".into())
        }
    }
}

fn unlike_native(driver: &str, outcome: Outcome, native: &Outcome) -> Vec<String> {
    if driver == "envoy-native" {
        return outcome.without_query_in_realm().unlike_other(native);
    }
    outcome.unlike_other(native)
}

fn check_findings(entry: &Entry, findings: &Findings, refused: bool, problems: &mut String) {
    let expected = entry.expected_diagnostics();
    let errors = expected
        .iter()
        .flatten()
        .filter(|line| line.starts_with("error "))
        .count();
    if refused != (errors > 0) {
        let what = if refused { "refused" } else { "taken" };
        writeln!(problems, "the policies are {what}: {findings:?}").unwrap();
    }
    match (findings, expected) {
        (Findings::Lines(lines), Some(expected)) => {
            // Notes are looked at where the scenario names one.
            let is_note = |line: &&String| line.starts_with("info ");
            let names_notes = expected.iter().any(|line| is_note(&line));
            let lines: Vec<&String> = lines
                .iter()
                .filter(|line| names_notes || !is_note(line))
                .collect();
            for line in lines.iter().filter(|line| !expected.contains(line)) {
                writeln!(problems, "not expected: {line}").unwrap();
            }
            for line in expected.iter().filter(|line| !lines.contains(line)) {
                writeln!(problems, "expected and missing: {line}").unwrap();
            }
        }
        (Findings::Log(log), Some(expected)) => {
            for line in expected.iter().filter(|line| line.starts_with("error ")) {
                let mut words = line.split(' ');
                let code = words.nth(1).unwrap_or_default();
                let path = words.next_back().unwrap_or_default();
                if !log
                    .lines()
                    .any(|line| line.contains(&format!("error[{code}]")) && line.contains(path))
                {
                    writeln!(problems, "the log names no {code} at {path}").unwrap();
                }
            }
        }
        _ => {}
    }
}
