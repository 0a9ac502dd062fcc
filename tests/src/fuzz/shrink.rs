//! Makes a disagreement small: leaves out whatever it does not need.

use anyhow::Result;
use serde_json::{Value, json};

use super::case::Case;
use super::judge::{Verdicts, judge};

/// How many smaller cases are tried in one pair of Envoys.
const BATCH: usize = 50;

/// A disagreement and the one request that shows it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) case: Case,
    pub(super) verdicts: Verdicts,
}

/// Shrinks a case to one request and to as little else as keeps the signature of its disagreement; `None` if
/// the disagreement does not come again. Starts at most about `rounds` pairs of Envoys.
///
/// # Errors
/// The drivers do not run.
pub(super) fn shrink(
    case: &Case,
    request: usize,
    signature: &str,
    rounds: usize,
) -> Result<Option<Found>> {
    let mut only = case.clone();
    only.0["requests"] = json!([case.0["requests"][request]]);
    let Some(mut found) = alike(vec![only], signature)?.pop().map(|(_, found)| found) else {
        return Ok(None);
    };
    let mut skip = 0;
    for _ in 0..rounds {
        let edits = edits(&found.case.0);
        let mut tried = skip;
        let mut batch: Vec<(Edit, Case)> = Vec::new();
        while let Some(edit) = edits.get(tried)
            && batch.len() < BATCH
        {
            tried += 1;
            let case = edit.apply(&found.case.0).map(Case).filter(Case::is_taken);
            batch.extend(case.map(|case| (edit.clone(), case)));
        }
        if batch.is_empty() {
            break;
        }
        let (kept, cases): (Vec<Edit>, Vec<Case>) = batch.into_iter().unzip();
        let good = alike(cases, signature)?;
        let indices: Vec<usize> = good.iter().map(|(index, _)| *index).collect();
        let together = combined(&found.case, &kept, &indices);
        let mut good: Vec<Found> = good.into_iter().map(|(_, found)| found).collect();
        if good.len() > 1 {
            good.extend(
                alike(together, signature)?
                    .into_iter()
                    .map(|(_, found)| found),
            );
        }
        match good.into_iter().min_by_key(|found| found.case.text().len()) {
            Some(next) => {
                found = next;
                skip = 0;
            }
            None => skip = tried,
        }
    }
    Ok(Some(found))
}

/// Those of the cases that disagree as the signature says, with their indices.
fn alike(cases: Vec<Case>, signature: &str) -> Result<Vec<(usize, Found)>> {
    let judged = judge(&cases)?;
    let alike = cases.into_iter().zip(judged).enumerate();
    let alike = alike.filter_map(|(index, (case, mut verdicts))| {
        let verdicts = verdicts.pop()?;
        (verdicts.signature() == signature).then_some((index, Found { case, verdicts }))
    });
    Ok(alike.collect())
}

/// Cases with many of the good edits at once: all, and each half, quarter and eighth of them.
fn combined(case: &Case, edits: &[Edit], good: &[usize]) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut size = good.len();
    while size > 1 && cases.len() < 15 {
        for part in good.chunks(size) {
            // From the back, so that indices stay right.
            let mut part: Vec<&Edit> = part.iter().map(|index| &edits[*index]).collect();
            part.sort_by_key(|edit| std::cmp::Reverse(edit.position));
            let edited = part.into_iter().fold(case.0.clone(), |value, edit| {
                edit.apply(&value).unwrap_or(value)
            });
            cases.push(Case(edited));
        }
        size = size.div_ceil(2);
    }
    cases.retain(Case::is_taken);
    cases
}

/// One thing less.
#[derive(Debug, Clone)]
struct Edit {
    path: Vec<Step>,
    /// Where in the order of the text it is.
    position: usize,
    /// `None` removes it.
    shorter: Option<String>,
}

impl Edit {
    fn apply(&self, whole: &Value) -> Option<Value> {
        let mut copy = whole.clone();
        match &self.shorter {
            None => remove(&mut copy, &self.path).then_some(copy),
            Some(text) => {
                *find(&mut copy, &self.path)? = Value::String(text.clone());
                Some(copy)
            }
        }
    }
}

/// Every way to have one thing less: the biggest first, and texts last.
fn edits(whole: &Value) -> Vec<Edit> {
    let mut paths = Vec::new();
    collect(whole, &mut Vec::new(), &mut paths);
    let edit = |position: usize, path: &Vec<Step>, shorter| Edit {
        path: path.clone(),
        position,
        shorter,
    };
    let removals = paths
        .iter()
        .enumerate()
        .map(|(position, path)| edit(position, path, None));
    let mut edits: Vec<(usize, Edit)> = removals
        .filter_map(|edit| {
            edit.apply(whole)
                .map(|value| (value.to_string().len(), edit))
        })
        .collect();
    edits.sort_by_key(|(length, _)| *length);
    let mut edits: Vec<Edit> = edits.into_iter().map(|(_, edit)| edit).collect();
    for (position, path) in paths.iter().enumerate() {
        edits.extend(
            shorter(whole, path)
                .into_iter()
                .map(|text| edit(position, path, Some(text))),
        );
    }
    edits
}

/// One step into a value.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    Key(String),
    Index(usize),
}

/// The members without which a case is none.
const KEPT: [&str; 11] = [
    "description",
    "policies",
    "requests",
    "request",
    "expect",
    "apiVersion",
    "kind",
    "metadata",
    "spec",
    "status",
    "key",
];

fn collect(value: &Value, at: &mut Vec<Step>, into: &mut Vec<Vec<Step>>) {
    let steps: Vec<(Step, &Value)> = match value {
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| (Step::Key(key.clone()), value))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, value)| (Step::Index(index), value))
            .collect(),
        _ => Vec::new(),
    };
    for (step, inner) in steps {
        at.push(step);
        into.push(at.clone());
        collect(inner, at, into);
        at.pop();
    }
}

fn remove(value: &mut Value, path: &[Step]) -> bool {
    let Some((last, parents)) = path.split_last() else {
        return false;
    };
    if matches!(last, Step::Key(key) if KEPT.contains(&key.as_str()))
        || parents == [Step::Key("requests".into())]
    {
        return false;
    }
    match (find(value, parents), last) {
        (Some(Value::Object(members)), Step::Key(key)) => members.remove(key).is_some(),
        (Some(Value::Array(items)), Step::Index(index)) if *index < items.len() => {
            items.remove(*index);
            true
        }
        _ => false,
    }
}

fn find<'v>(value: &'v mut Value, path: &[Step]) -> Option<&'v mut Value> {
    path.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index(index) => value.get_mut(index),
    })
}

/// Shorter forms of a text that carries data: without a half, a quarter, a character.
fn shorter(whole: &Value, path: &[Step]) -> Vec<String> {
    const FIXED: [&str; 8] = [
        "kind",
        "apiVersion",
        "description",
        "uri",
        "jwksUri",
        "name",
        "namespace",
        "jwks",
    ];
    let is_fixed = path
        .iter()
        .any(|step| matches!(step, Step::Key(key) if FIXED.contains(&key.as_str())));
    let text = path.iter().try_fold(whole, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Index(index) => value.get(index),
    });
    let Some(text) = text.and_then(Value::as_str).filter(|_| !is_fixed) else {
        return Vec::new();
    };
    let characters: Vec<char> = text.chars().collect();
    let mut texts = Vec::new();
    let mut size = characters.len() / 2;
    while size > 0 {
        let mut start = 0;
        while start < characters.len() {
            let end = characters.len().min(start + size);
            let kept = characters[..start].iter().chain(&characters[end..]);
            texts.push(kept.collect());
            start = end;
        }
        size /= 2;
        if characters.len() > 60 && size < 4 {
            break;
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_the_frame_can_go() {
        let whole = json!({
            "description": "d",
            "policies": [{ "kind": "K", "spec": { "rules": [{}, {}] } }],
            "requests": [{ "request": { "path": "/ab" } }],
        });
        let all: Vec<Value> = edits(&whole)
            .iter()
            .filter_map(|edit| edit.apply(&whole))
            .collect();
        assert!(all.contains(&json!({
            "description": "d",
            "policies": [],
            "requests": [{ "request": { "path": "/ab" } }],
        })));
        assert!(all.contains(&json!({
            "description": "d",
            "policies": [{ "kind": "K", "spec": { "rules": [{}] } }],
            "requests": [{ "request": { "path": "/ab" } }],
        })));
        assert!(
            all.iter()
                .any(|value| value["requests"][0]["request"]["path"] == "/a")
        );
        assert!(
            all.iter()
                .all(|value| value["requests"].as_array().map(Vec::len) == Some(1))
        );
    }
}
