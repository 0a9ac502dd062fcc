//! JSON as the text of a scenario file, written as a person would.

use std::fmt::Write;

use serde_json::Value;

/// What comes first in a file.
const ORDER: [&str; 7] = [
    "description",
    "policies",
    "mesh",
    "workload",
    "proxy",
    "jwks",
    "requests",
];

/// A flow collection longer than this is written as a block.
const WIDTH: usize = 110;

/// The scenario file of a case.
pub(super) fn scenario_text(case: &Value) -> String {
    let mut text = String::new();
    for key in ORDER {
        let value = &case[key];
        if key == "policies" {
            let documents = value.as_array().map_or(&[][..], Vec::as_slice);
            let documents: Vec<String> = documents
                .iter()
                .map(|document| block(document, 2))
                .collect();
            let documents = if documents.is_empty() {
                "  # none\n".to_owned()
            } else {
                documents.join("  ---\n")
            };
            let _ = write!(text, "policies: |\n{documents}");
        } else if !value.is_null() {
            let _ = write!(text, "{key}:{}", member(value, 0));
        }
    }
    text
}

/// A value as the lines of a block.
fn block(value: &Value, indent: usize) -> String {
    let spaces = " ".repeat(indent);
    let mut text = String::new();
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let _ = write!(text, "{spaces}{}:{}", scalar(key), member(value, indent));
            }
        }
        Value::Array(items) => {
            for item in items {
                let short = flow(item);
                let is_short = item.get("request").is_none() && short.len() <= WIDTH;
                if is_short || !is_collection(item) {
                    let _ = writeln!(text, "{spaces}- {short}");
                } else {
                    let lines = block(item, indent + 2);
                    let _ = write!(text, "{spaces}- {}", lines.trim_start());
                }
            }
        }
        other => {
            let _ = writeln!(text, "{spaces}{}", scalar_of(other));
        }
    }
    text
}

/// What follows a key: a short value on its line, a long one below.
fn member(value: &Value, indent: usize) -> String {
    let short = flow(value);
    let is_top = indent == 0 && value.is_array();
    if !is_collection(value) || (short.len() <= WIDTH && !is_top) {
        return format!(" {short}\n");
    }
    let deeper = if value.is_array() { indent } else { indent + 2 };
    format!("\n{}", block(value, deeper))
}

fn is_collection(value: &Value) -> bool {
    match value {
        Value::Object(members) => !members.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}

fn flow(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: Vec<String> = members
                .iter()
                .map(|(key, value)| format!("{}: {}", scalar(key), flow(value)))
                .collect();
            format!("{{{}}}", members.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(flow).collect();
            format!("[{}]", items.join(", "))
        }
        other => scalar_of(other),
    }
}

fn scalar_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), scalar)
}

/// A text bare if nobody can take it for something else.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 10] = [
        "true", "false", "null", "yes", "no", "on", "off", "y", "n", "~",
    ];
    let starts = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/');
    let is_plain =
        |character: char| character.is_ascii_alphanumeric() || "/._-".contains(character);
    if starts && text.chars().all(is_plain) && !WORDS.contains(&text.to_ascii_lowercase().as_str())
    {
        return text.to_owned();
    }
    if text
        .chars()
        .all(|character| is_plain(character) || "*{}:;,@ %?=".contains(character))
    {
        return format!("\"{text}\"");
    }
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_policy::source::from_yaml;
    use serde_json::json;

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let long = "x".repeat(WIDTH);
        let value = json!({
            "a": ["yes", "8080", "*", "", "é\n\u{1}\"\\", "a: b", "#", "{*}"],
            "b": [{ "c": [long, { "d": {} }], "e": [] }, [long, [1, null, true, 1.5]], "z"],
            ":path": { "long": long, "Other": "n" },
        });
        let (documents, error) = from_yaml(&block(&value, 0));
        assert_eq!(error, None, "{}", block(&value, 0));
        let read: Value = serde_json::from_str(&documents[0].to_json()).unwrap();
        assert_eq!(read, value, "{}", block(&value, 0));
    }
}
