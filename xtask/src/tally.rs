//! Adds up what test runners print about themselves.

use std::fmt;

/// How many tests ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    /// Adds the counts of a runner's closing line; other lines change nothing.
    ///
    /// Known are the lines of cargo's test harness and of libtest-mimic
    /// (`test result: ok. 3 passed; 0 failed; 1 ignored; …`) and of node's reporters
    /// (`ℹ pass 3` or `# pass 3`, one count per line; a cancelled test failed).
    pub(crate) fn read_line(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(counts) = line.strip_prefix("test result: ") {
            let counts = counts.split_once(". ").map_or("", |(_, counts)| counts);
            for count in counts.split("; ") {
                self.add(count.split_once(' ').map(|(number, kind)| (kind, number)));
            }
        } else if let Some(count) = line.strip_prefix("ℹ ").or_else(|| line.strip_prefix("# ")) {
            self.add(count.split_once(' '));
        }
    }

    fn add(&mut self, count: Option<(&str, &str)>) {
        let Some((kind, number)) = count else { return };
        let Ok(number) = number.parse::<u64>() else {
            return;
        };
        match kind {
            "passed" | "pass" => self.passed += number,
            "failed" | "fail" | "cancelled" => self.failed += number,
            "ignored" | "skipped" | "todo" => self.skipped += number,
            _ => {}
        }
    }
}

/// The plain closing line.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(output: &str, expected: &str) {
        let mut tally = Tally::default();
        for line in output.lines() {
            tally.read_line(line);
        }
        assert_eq!(tally.to_string(), expected);
    }

    #[test]
    fn cargo_test_runs_are_summed() {
        let output = "\
running 2 tests
test a ... ok
test 9 passed; 9 failed ... ok

test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.00s

test result: FAILED. 120 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 5.00s
";
        check(output, "122 passed, 3 failed, 1 skipped");
    }

    #[test]
    fn both_reporters_of_node_are_read() {
        let counts =
            "tests 9\nsuites 1\npass 3\nfail 1\ncancelled 2\nskipped 1\ntodo 2\nduration_ms 12.5";
        for mark in ["ℹ", "#"] {
            let lines: Vec<_> = counts
                .lines()
                .map(|line| format!("{mark} {line}"))
                .collect();
            check(&lines.join("\n"), "3 passed, 3 failed, 3 skipped");
        }
    }

    #[test]
    fn no_runner_is_no_test() {
        check(
            "    Finished `dev` profile\n# pass\nℹ pass many\ntest result: unknown",
            "0 passed, 0 failed, 0 skipped",
        );
    }
}
