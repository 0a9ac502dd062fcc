/// A stretch of text, in characters (Unicode scalar values) from the start of the text; `end` is exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The first character.
    pub start: usize,
    /// The character after the last.
    pub end: usize,
}

impl Span {
    /// The stretch from the start of `first` to the end of `last`.
    pub(crate) fn join(first: Option<Self>, last: Option<Self>) -> Option<Self> {
        match (first, last) {
            (Some(first), Some(last)) => Some(Self {
                start: first.start,
                end: last.end.max(first.end),
            }),
            (one, other) => one.or(other),
        }
    }
}

/// A place as editors count it: JavaScript strings are UTF-16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// UTF-16 code units from the start of the text, from 0.
    pub offset: usize,
    /// From 1.
    pub line: usize,
    /// UTF-16 code units from the start of the line, from 1.
    pub column: usize,
}

/// Turns character offsets of one text into [`Position`]s.
#[derive(Debug, Clone)]
pub struct LineIndex {
    /// Where each line starts, in characters and in UTF-16 code units. Never empty.
    lines: Vec<(usize, usize)>,
    /// Characters outside the basic plane, which take two UTF-16 code units each.
    wide: Vec<usize>,
    characters: usize,
}

impl LineIndex {
    /// Reads `text` once.
    pub fn new(text: &str) -> Self {
        let mut lines = vec![(0, 0)];
        let mut wide = Vec::new();
        let mut units = 0;
        let mut characters = 0;
        for character in text.chars() {
            if character.len_utf16() == 2 {
                wide.push(characters);
            }
            units += character.len_utf16();
            characters += 1;
            if character == '\n' {
                lines.push((characters, units));
            }
        }
        Self {
            lines,
            wide,
            characters,
        }
    }

    /// The place of the character at `offset`; past the end, the end.
    pub fn position(&self, offset: usize) -> Position {
        let offset = offset.min(self.characters);
        let units = offset + self.wide.partition_point(|wide| *wide < offset);
        let line = self.lines.partition_point(|(start, _)| *start <= offset);
        let line_start = self
            .lines
            .get(line.saturating_sub(1))
            .map_or(0, |(_, units)| *units);
        Position {
            offset: units,
            line,
            column: units - line_start + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, character: usize, offset: usize, line: usize, column: usize) {
        assert_eq!(
            LineIndex::new(text).position(character),
            Position {
                offset,
                line,
                column
            }
        );
    }

    #[test]
    fn counts_utf16_code_units() {
        check("a\nbc", 0, 0, 1, 1);
        check("a\nbc", 3, 3, 2, 2);
        check("é\n𝒳x", 3, 4, 2, 3);
        check("a", 99, 1, 1, 2);
        check("a\n", 2, 2, 2, 1);
    }
}
