//! Lines before the first row that seem to be comments. Taken for rows they would add a user `#` and an item `FromNodeId`, taken
//! for comments in silence they might lose a row whose id begins so. They are rejected, which the report says.

/// Why such a line is rejected.
pub(super) const REASON: &str = "it seems to be a comment: `comment(\"#\")` passes over those that begin so, `comment(\"\")` reads them as rows";

/// Whether the caller said what begins a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comments {
    /// Lines may be comments.
    Suspected,
    /// The caller said which lines are.
    Told,
}

impl Comments {
    /// Whether a line before the first row seems to be a comment. Where a header is expected, `columns` is its last position:
    /// a line with so many fields is the header, even if it begins like a comment.
    pub(super) fn suspects(self, fields: &[&str], columns: Option<usize>) -> bool {
        let begins = fields.first().is_some_and(|first| first.trim_start().starts_with(['#', '%']));
        let header = columns.is_some_and(|last| fields.len() > last.max(1));
        self == Comments::Suspected && begins && !header
    }
}
