//! A limit for log lines that clients can provoke, with a count of those that were left out.

/// Lines a second at most.
const LINES_PER_SECOND: u32 = 20;

/// How many lines were written in the current second.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogLimit {
    second: u64,
    written: u32,
    left_out: u64,
}

/// What to do about a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Write it, and say how many were left out since the last one that was written.
    Write {
        /// Lines; 0 is nothing to say.
        left_out: u64,
    },
    /// Leave it out.
    LeaveOut,
}

impl LogLimit {
    /// Asks for a line at `now`, in milliseconds of a clock that only moves forward.
    pub fn line(&mut self, now: u64) -> Line {
        let second = now / 1000;
        if second != self.second {
            self.second = second;
            self.written = 0;
        }
        if self.written >= LINES_PER_SECOND {
            self.left_out += 1;
            return Line::LeaveOut;
        }
        self.written += 1;
        Line::Write {
            left_out: std::mem::take(&mut self.left_out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let mut limit = LogLimit::default();
        let written = (0..500)
            .filter(|millisecond| limit.line(5_000 + millisecond) != Line::LeaveOut)
            .count();
        assert_eq!(written, 20);
        assert_eq!(limit.line(6_000), Line::Write { left_out: 480 });
        assert_eq!(limit.line(6_001), Line::Write { left_out: 0 });
    }
}
