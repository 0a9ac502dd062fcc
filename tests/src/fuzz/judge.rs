//! Cases on three drivers, and where these disagree.

use std::thread;

use anyhow::{Context, Result};

use super::case::Case;
use crate::corpus::Entry;
use crate::drivers::{Answer, Driver, EnvoyFilter, EnvoyNative, Native, Run};
use crate::outcome::Outcome;

/// What the three drivers got for one request.
#[derive(Debug)]
pub(super) struct Verdicts {
    pub(super) native: Result<Outcome, String>,
    pub(super) filter: Result<Outcome, String>,
    pub(super) oracle: Result<Outcome, String>,
}

/// Runs cases, all in one Envoy of each kind. For each case, the verdicts of its requests in order.
///
/// Where an Envoy does not start with all of them, it is started with fewer, so that one bad case is on its own.
///
/// # Errors
/// What is no scenario.
pub(super) fn judge(cases: &[Case]) -> Result<Vec<Vec<Verdicts>>> {
    let entries: Vec<Entry> = cases.iter().map(Case::entry).collect::<Result<_>>()?;
    let entries: Vec<&Entry> = entries.iter().collect();
    let (native, filter, oracle) = thread::scope(|scope| {
        let filter = scope.spawn(|| run(&EnvoyFilter, &entries));
        let oracle = scope.spawn(|| run(&EnvoyNative, &entries));
        let native = run(&Native, &entries);
        (native, filter.join(), oracle.join())
    });
    let filter = filter.ok().context("a driver's thread panicked")?;
    let oracle = oracle.ok().context("a driver's thread panicked")?;
    let verdicts = native
        .into_iter()
        .zip(filter)
        .zip(oracle)
        .map(|((native, filter), oracle)| {
            let three = native.into_iter().zip(filter).zip(oracle);
            three
                .map(|((native, filter), oracle)| Verdicts {
                    native,
                    filter,
                    oracle,
                })
                .collect()
        });
    Ok(verdicts.collect())
}

type Answers = Vec<Result<Outcome, String>>;

fn run(driver: &impl Driver, entries: &[&Entry]) -> Vec<Answers> {
    match driver.run(entries) {
        Ok(runs) => runs
            .into_iter()
            .zip(entries)
            .map(|(run, entry)| answers(run, entry))
            .collect(),
        Err(_) if entries.len() > 1 => {
            let (first, second) = entries.split_at(entries.len() / 2);
            [run(driver, first), run(driver, second)].concat()
        }
        Err(error) => entries
            .iter()
            .map(|entry| vec![Err(format!("{error:#}")); entry.scenario.requests.len()])
            .collect(),
    }
}

fn answers(run: Run, entry: &Entry) -> Answers {
    let all = |text: String| vec![Err(text); entry.scenario.requests.len()];
    match run {
        Run::Refused(findings) => all(format!("refused: {findings:?}")),
        Run::Failed(error) => all(error),
        Run::Requests(_, answers) => answers
            .into_iter()
            .map(|answer| match answer {
                Answer::Got(outcome) => Ok(*outcome),
                Answer::Skipped(reason) => Err(format!("skipped: {reason}")),
                Answer::Closed => Err("the connection was closed".to_owned()),
                Answer::Failed(error) => Err(error),
            })
            .collect(),
    }
}

impl Verdicts {
    /// How the drivers disagree, a line for each difference; empty when they agree.
    pub(super) fn differences(&self) -> Vec<String> {
        let oracle = self.oracle.clone().map(Outcome::without_query_in_realm);
        let mut found = compare("native", &self.native, "envoy-native", &oracle);
        found.extend(compare(
            "envoy-filter",
            &self.filter,
            "envoy-native",
            &oracle,
        ));
        if let (Ok(filter), Ok(oracle)) = (&self.filter, &oracle) {
            found.extend(compare_upstream(filter, oracle));
        }
        found
    }

    /// What makes two disagreements likely to have one cause.
    pub(super) fn signature(&self) -> String {
        let status = |outcome: &Result<Outcome, String>| {
            outcome.as_ref().map_or_else(
                |_| "failed".to_owned(),
                |outcome| outcome.status.to_string(),
            )
        };
        let kinds: Vec<String> = self
            .differences()
            .iter()
            .map(|line| line.split(": wanted").next().unwrap_or_default().to_owned())
            .collect();
        format!(
            "{}/{}/{} {}",
            status(&self.native),
            status(&self.filter),
            status(&self.oracle),
            kinds.join(", ")
        )
    }
}

fn compare(
    name: &str,
    outcome: &Result<Outcome, String>,
    other_name: &str,
    other: &Result<Outcome, String>,
) -> Vec<String> {
    match (outcome, other) {
        (Ok(outcome), Ok(other)) => outcome
            .unlike_other(other)
            .into_iter()
            .map(|line| format!("{name}: {line}"))
            .collect(),
        (Err(error), Ok(_)) => vec![format!("{name} failed: {error}")],
        (_, Err(error)) => vec![format!("{other_name} failed: {error}")],
    }
}

/// Headers that Envoy makes new for every request.
const OF_THE_MOMENT: [&str; 1] = ["x-request-id"];

/// What reached the upstream, behind our filter and behind Envoy's own.
fn compare_upstream(filter: &Outcome, oracle: &Outcome) -> Vec<String> {
    let (Some(ours), Some(theirs)) = (&filter.upstream, &oracle.upstream) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    if comparable(&ours.path) != comparable(&theirs.path) {
        found.push(format!(
            "the upstream's path: wanted {:?}, got {:?}",
            theirs.path, ours.path
        ));
    }
    let sorted = |headers: &[(String, String)]| {
        let mut lines: Vec<(String, String)> = headers.to_vec();
        lines.retain(|(name, _)| !OF_THE_MOMENT.contains(&name.as_str()));
        for (_, value) in &mut lines {
            *value = without_tokens(value);
        }
        // Lines of one name keep their order.
        lines.sort_by(|left, right| left.0.cmp(&right.0));
        lines
    };
    let (ours, theirs) = (sorted(&ours.headers), sorted(&theirs.headers));
    if ours != theirs {
        let only =
            |these: &[(String, String)], those: &[(String, String)]| -> Vec<(String, String)> {
                these
                    .iter()
                    .filter(|line| !those.contains(line))
                    .cloned()
                    .collect()
            };
        found.push(format!(
            "the upstream's headers: wanted {:?}, got {:?}",
            only(&theirs, &ours),
            only(&ours, &theirs)
        ));
    }
    found
}

/// The path, and the parameters without regard to their order and escapes: where a token is taken out of the
/// query, Envoy decodes and sorts the others, and ours leaves them as they are, on purpose.
fn comparable(path: &str) -> (String, Vec<String>) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let pieces = query
        .split('&')
        .map(|piece| without_tokens(&decoded(piece)));
    let mut pieces: Vec<String> = pieces.collect();
    pieces.retain(|piece| !piece.is_empty());
    pieces.sort();
    (path.to_owned(), pieces)
}

/// A parameter without escapes, up to a space, and without the `=` of one that is empty.
fn decoded(piece: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = piece.as_bytes();
    while let [first, tail @ ..] = rest {
        let escape = tail.get(..2).filter(|_| *first == b'%');
        let escape = escape.and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    // Envoy writes a decoded space as it is, which ends the request line there.
    let whole = text.trim().split(' ').next().unwrap_or_default();
    whole.trim_end_matches('=').to_owned()
}

/// The text with every run of characters that may be a token as `TOKEN`: each driver mints its own, at its own
/// time.
fn without_tokens(text: &str) -> String {
    const SHORTEST: usize = 40;
    let is_of_token =
        |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let mut left = String::new();
    for run in text.split_inclusive(|character| !is_of_token(character)) {
        let inner = run.trim_end_matches(|character| !is_of_token(character));
        if inner.len() < SHORTEST {
            left.push_str(run);
        } else {
            left.push_str("TOKEN");
            left.push_str(&run[inner.len()..]);
        }
    }
    left
}
