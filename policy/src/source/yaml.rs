use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Tag};

use super::{Entry, Node, Span, Value};

/// Where the text stops being YAML, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// What is wrong, in words.
    pub message: String,
    /// Where.
    pub span: Span,
    /// Whether it is a key that the same object has already.
    pub duplicate_key: bool,
}

/// More nodes than any policy text has; a text that expands beyond it through aliases is refused.
const MAX_NODES: usize = 200_000;
/// Deeper than any policy text nests.
const MAX_DEPTH: usize = 64;

/// Reads a stream of YAML documents with the scalars that Kubernetes knows (YAML 1.1 booleans, merge keys).
///
/// Returns the documents up to the first error, and that error: a page goes on showing what it understood.
/// Empty documents are left out.
pub fn from_yaml(text: &str) -> (Vec<Node>, Option<SyntaxError>) {
    let mut documents = Vec::new();
    let mut builder = Builder {
        events: Parser::new_from_str(text),
        anchors: HashMap::new(),
        nodes: 0,
    };
    let error = builder.documents(&mut documents).err();
    (documents, error)
}

struct Builder<'input, I: Iterator<Item = Result<(Event<'input>, saphyr_parser::Span), ScanError>>>
{
    events: I,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'input, I> Builder<'input, I>
where
    I: Iterator<Item = Result<(Event<'input>, saphyr_parser::Span), ScanError>>,
{
    fn next(&mut self) -> Result<Option<(Event<'input>, Span)>, SyntaxError> {
        match self.events.next() {
            None => Ok(None),
            Some(Ok((event, span))) => Ok(Some((
                event,
                Span {
                    start: span.start.index(),
                    end: span.end.index(),
                },
            ))),
            Some(Err(error)) => {
                let start = error.marker().index();
                Err(syntax(
                    error.info(),
                    Span {
                        start,
                        end: start + 1,
                    },
                ))
            }
        }
    }

    fn documents(&mut self, into: &mut Vec<Node>) -> Result<(), SyntaxError> {
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamStart
                | Event::DocumentStart(_)
                | Event::DocumentEnd
                | Event::Nothing
                | Event::StreamEnd => {}
                event => {
                    let node = self.node(event, span, 0)?;
                    if node.value != Value::Null {
                        into.push(node);
                    }
                }
            }
        }
        Ok(())
    }

    fn node(
        &mut self,
        event: Event<'input>,
        span: Span,
        depth: usize,
    ) -> Result<Node, SyntaxError> {
        if depth > MAX_DEPTH {
            return Err(syntax("the text nests too deeply", span));
        }
        self.count(1, span)?;
        let (anchor, node) = match event {
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(syntax(
                        "the alias names an anchor that is not complete here",
                        span,
                    ));
                };
                self.count(size(&node), span)?;
                return Ok(Node {
                    span: Some(span),
                    ..node
                });
            }
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref());
                (
                    anchor,
                    Node {
                        value,
                        span: Some(span),
                    },
                )
            }
            Event::SequenceStart(anchor, _) => (anchor, self.sequence(span, depth)?),
            Event::MappingStart(anchor, _) => (anchor, self.mapping(span, depth)?),
            _ => return Err(syntax("a value is missing here", span)),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn sequence(&mut self, start: Span, depth: usize) -> Result<Node, SyntaxError> {
        let mut items: Vec<Node> = Vec::new();
        let mut end = start;
        while let Some((event, span)) = self.next()? {
            if event == Event::SequenceEnd {
                end = span;
                break;
            }
            items.push(self.node(event, span, depth + 1)?);
        }
        let last = items.last().and_then(|item| item.span);
        Ok(Node {
            value: Value::Sequence(items),
            span: Some(extent(start, last, end)),
        })
    }

    fn mapping(&mut self, start: Span, depth: usize) -> Result<Node, SyntaxError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut merged: Vec<Entry> = Vec::new();
        let mut end = start;
        while let Some((event, key_span)) = self.next()? {
            if event == Event::MappingEnd {
                end = key_span;
                break;
            }
            let (key, is_merge) = match event {
                Event::Scalar(text, style, ..) => {
                    let is_merge = style == ScalarStyle::Plain && text == "<<";
                    (text.into_owned(), is_merge)
                }
                _ => return Err(syntax("a key must be plain text", key_span)),
            };
            let Some((event, span)) = self.next()? else {
                return Err(syntax("a value is missing here", key_span));
            };
            let value = self.node(event, span, depth + 1)?;
            if is_merge {
                merge(&mut merged, value, key_span)?;
            } else if entries.iter().any(|entry| entry.key == key) {
                return Err(SyntaxError {
                    message: format!("the key `{key}` is given twice"),
                    span: key_span,
                    duplicate_key: true,
                });
            } else {
                entries.push(Entry {
                    key,
                    key_span: Some(key_span),
                    value,
                });
            }
        }
        for entry in merged {
            if !entries.iter().any(|own| own.key == entry.key) {
                entries.push(entry);
            }
        }
        let last = entries
            .last()
            .and_then(|entry| Span::join(entry.key_span, entry.value.span));
        Ok(Node {
            value: Value::Mapping(entries),
            span: Some(extent(start, last, end)),
        })
    }

    fn count(&mut self, nodes: usize, span: Span) -> Result<(), SyntaxError> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return Err(syntax(
                "the text is too large, or its aliases repeat too much",
                span,
            ));
        }
        Ok(())
    }
}

/// Block collections end where the parser notices, which is at the next token; they reach to their last part.
fn extent(start: Span, last: Option<Span>, end: Span) -> Span {
    let end = match last {
        Some(last) if end.start == end.end => last.end,
        _ => end.end,
    };
    Span {
        start: start.start,
        end: end.max(start.end),
    }
}

fn merge(into: &mut Vec<Entry>, value: Node, span: Span) -> Result<(), SyntaxError> {
    match value.value {
        Value::Mapping(entries) => {
            for entry in entries {
                if !into.iter().any(|own| own.key == entry.key) {
                    into.push(entry);
                }
            }
            Ok(())
        }
        Value::Sequence(items) => items.into_iter().try_for_each(|item| match item.value {
            Value::Mapping(_) => merge(into, item, span),
            _ => Err(syntax("`<<` merges objects only", span)),
        }),
        _ => Err(syntax("`<<` merges objects only", span)),
    }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::Sequence(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Mapping(entries) => {
            1 + entries
                .iter()
                .map(|entry| size(&entry.value))
                .sum::<usize>()
        }
        _ => 1,
    }
}

fn syntax(message: &str, span: Span) -> SyntaxError {
    SyntaxError {
        message: message.to_owned(),
        span,
        duplicate_key: false,
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
    if style != ScalarStyle::Plain || is_text {
        return Value::String(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
            Value::Bool(true)
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
            Value::Bool(false)
        }
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "every number is a double, as in a protobuf Struct"
)]
fn number(text: &str) -> Option<f64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let plain = digits.replace('_', "");
    let radix = |prefix: &str, radix| {
        plain
            .strip_prefix(prefix)
            .and_then(|digits| u64::from_str_radix(digits, radix).ok())
    };
    let whole = radix("0x", 16)
        .or_else(|| radix("0b", 2))
        .or_else(|| radix("0o", 8))
        .or_else(|| {
            let octal = plain.len() > 1 && plain.starts_with('0');
            u64::from_str_radix(&plain, if octal { 8 } else { 10 }).ok()
        });
    let value = match whole {
        Some(whole) => whole as f64,
        None if plain
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-')) =>
        {
            plain.parse::<f64>().ok()?
        }
        None => return None,
    };
    Some(sign * value)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    fn one(text: &str) -> Node {
        let (mut documents, error) = from_yaml(text);
        assert_eq!(error, None);
        documents.pop().unwrap()
    }

    #[test]
    fn plain_words_are_read_as_kubernetes_reads_them() {
        for (text, value) in [
            ("on", Value::Bool(true)),
            ("no", Value::Bool(false)),
            ("'on'", Value::String("on".into())),
            ("!!str on", Value::String("on".into())),
            ("80", Value::Number(80.0)),
            ("0x10", Value::Number(16.0)),
            ("010", Value::Number(8.0)),
            ("1_000", Value::Number(1000.0)),
            ("-1.5e3", Value::Number(-1500.0)),
            ("10.0.0.1", Value::String("10.0.0.1".into())),
            ("1.2.3", Value::String("1.2.3".into())),
            ("abc", Value::String("abc".into())),
        ] {
            assert_eq!(
                one(&format!("[{text}]")).value,
                Value::Sequence(vec![Node {
                    value,
                    span: Some(Span {
                        start: 1,
                        end: 1 + text.len()
                    }),
                }]),
                "{text}"
            );
        }
    }

    #[test]
    fn nodes_know_their_place() {
        let node = one("a:\n- b: é\n  c: 1\n- d\n");
        let span = |path: &crate::source::FieldPath| node.span_at(path).unwrap();
        let root = crate::source::FieldPath::root();
        assert_eq!(
            span(&root.key("a").index(0).key("c")),
            Span { start: 12, end: 16 }
        );
        assert_eq!(span(&root.key("a").index(1)), Span { start: 19, end: 20 });
        assert_eq!(
            span(&root.key("a").index(0).key("nothing")),
            Span { start: 5, end: 16 }
        );
    }

    #[test]
    fn documents_before_an_error_are_kept() {
        let (documents, error) = from_yaml("a: 1\n---\nb: [1\n");
        assert_eq!(documents.len(), 1);
        assert!(error.is_some());
    }

    #[test]
    fn a_key_given_twice_is_an_error_at_the_second() {
        let (_, error) = from_yaml("a: 1\nb: 2\na: 3\n");
        let error = error.unwrap();
        assert!(error.duplicate_key);
        assert_eq!(error.span, Span { start: 10, end: 11 });
    }

    #[test]
    fn aliases_and_merge_keys_are_expanded_within_bounds() {
        let node = one("base: &b {x: 1, y: 2}\nuse: {<<: *b, y: 3}\n");
        let used = node.get("use").unwrap();
        assert_eq!(used.get("x").unwrap().value, Value::Number(1.0));
        assert_eq!(used.get("y").unwrap().value, Value::Number(3.0));

        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let aliases = vec![format!("*a{}", level - 1); 8].join(", ");
            writeln!(bomb, "a{level}: &a{level} [{aliases}]").unwrap();
        }
        let (_, error) = from_yaml(&bomb);
        assert!(error.unwrap().message.contains("aliases"));
    }
}
