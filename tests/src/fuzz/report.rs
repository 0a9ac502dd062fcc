//! What is printed: outcomes in a line, disagreements as scenario files.

use std::fmt::Write;

use serde_json::{Value, json};

use super::Summary;
use super::judge::Verdicts;
use super::shrink::Found;
use crate::outcome::{DecidedBy, Outcome};

/// An outcome in a few words: `403 matched-deny`, `401 jwt: Jwt is expired`.
pub(super) fn outcome(outcome: &Result<Outcome, String>) -> String {
    let Ok(outcome) = outcome else {
        return "failed".to_owned();
    };
    let reason = outcome.reason.as_deref().unwrap_or("before any filter");
    let body = if reason == "jwt" {
        format!(": {}", outcome.body)
    } else {
        String::new()
    };
    format!("{} {reason}{body}", outcome.status)
}

/// The scenario file of a disagreement. It expects what Envoy's own filters did.
pub(super) fn scenario(found: &Found) -> String {
    let mut text = String::new();
    for (name, outcome) in [
        ("native", &found.verdicts.native),
        ("envoy-filter", &found.verdicts.filter),
        ("envoy-native", &found.verdicts.oracle),
    ] {
        let _ = writeln!(text, "# {name}: {}", in_full(outcome));
    }
    for line in found.verdicts.differences() {
        let _ = writeln!(text, "# {}", line.replace('\n', "\n#   "));
    }
    let mut case = found.case.clone();
    if let Ok(outcome) = &found.verdicts.oracle {
        case.0["requests"][0]["expect"] = expectation(outcome);
    }
    text + &case.text()
}

/// What is said of a disagreement that a request alone does not show.
pub(super) fn gone(signature: &str, verdicts: &Verdicts) -> String {
    let mut text = format!("# {signature}: did not come again alone. What it was:\n");
    for line in verdicts.differences() {
        let _ = writeln!(text, "#   {line}");
    }
    text
}

fn in_full(outcome: &Result<Outcome, String>) -> String {
    match outcome {
        Ok(outcome) => format!(
            "{} {:?} by {:?}, {:?}",
            outcome.status, outcome.reason, outcome.decided_by, outcome.body
        ),
        Err(error) => error.replace('\n', "\n#   "),
    }
}

fn expectation(outcome: &Outcome) -> Value {
    let mut expect = json!({ "status": outcome.status });
    if let DecidedBy::Rule(policy, rule) = &outcome.decided_by {
        expect["policy"] = json!(policy);
        expect["rule"] = json!(rule);
    }
    if let Some(reason) = &outcome.reason {
        expect["reason"] = json!(reason);
    }
    if outcome.reason.as_deref() == Some("jwt") {
        expect["body"] = json!(outcome.body);
    }
    expect
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{} decisions on {} sets of policies, each by native, envoy-filter and envoy-native",
            self.decisions, self.sets
        )?;
        for (outcome, count) in &self.by_outcome {
            writeln!(f, "  {count:>8}  {outcome}")?;
        }
        let disagreements: usize = self.disagreements.values().sum();
        write!(f, "{disagreements} disagreements")?;
        for (signature, count) in &self.disagreements {
            write!(f, "\n  {count:>8}  {signature}")?;
        }
        Ok(())
    }
}
