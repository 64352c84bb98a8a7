//! What was read, and what was not.

use std::fmt;

/// Reasons kept in full; later rejected rows are only counted.
const KEPT: usize = 1000;

/// A row that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its line, from 1.
    pub line: u64,
    /// Why.
    pub reason: String,
}

/// Counts of rows, and why the rejected ones were.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadReport {
    accepted: usize,
    rejections: usize,
    rejected: Vec<Rejected>,
    pub(super) repeated: usize,
    pub(super) unfinished: bool,
}

impl ReadReport {
    pub(super) fn accept(&mut self) {
        self.accepted += 1;
    }

    pub(super) fn reject(&mut self, line: u64, reason: String) {
        self.rejections += 1;
        if self.rejected.len() < KEPT {
            self.rejected.push(Rejected { line, reason });
        }
    }

    /// Rows that read.
    pub fn accepted(&self) -> usize {
        self.accepted
    }

    /// Rows that did not.
    pub fn rejections(&self) -> usize {
        self.rejections
    }

    /// The first thousand rejected rows.
    pub fn rejected(&self) -> &[Rejected] {
        &self.rejected
    }

    /// Accepted rows that the policy for repeats then merged into others.
    pub fn repeated(&self) -> usize {
        self.repeated
    }

    /// Whether the text ends without a line end. Most such files are whole, but one that was cut in the middle of a number reads as
    /// another number.
    pub fn unfinished(&self) -> bool {
        self.unfinished
    }
}

impl fmt::Display for ReadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows read, {} rejected, {} repeated", self.accepted, self.rejections, self.repeated)?;
        for row in self.rejected.iter().take(5) {
            write!(f, "\n  line {}: {}", row.line, row.reason)?;
        }
        if self.rejections > 5 {
            write!(f, "\n  and {} more", self.rejections - 5)?;
        }
        if self.unfinished {
            write!(f, "\n  the last line has no end: if the file was cut, its last number may be, too")?;
        }
        Ok(())
    }
}
