//! Which keys a query attends to, as far as positions and lengths say: a range. Masks, which may hide any of them, are applied to
//! the scores.

use std::ops::Range;

use super::scores::Row;
use super::{Corner, Job, KEYS, PAD};

impl<T> Job<'_, T> {
    /// The keys that sequence `b` has.
    pub(super) fn key_length(&self, b: usize) -> usize {
        self.key_lengths.map_or(self.sizes.keys, |lengths| lengths[b] as usize)
    }

    /// The queries that sequence `b` has.
    pub(super) fn query_length(&self, b: usize) -> usize {
        self.query_lengths.map_or(self.sizes.queries, |lengths| lengths[b] as usize)
    }

    /// Where query `q` of sequence `b` stands among its keys; before the first, if there are more queries than keys.
    pub(super) fn position(&self, b: usize, q: usize) -> isize {
        match self.rules.corner {
            Corner::TopLeft => q as isize,
            Corner::BottomRight => q as isize + self.key_length(b) as isize - self.query_length(b) as isize,
        }
    }

    /// The keys that query `q` of sequence `b` attends to.
    #[inline]
    pub(super) fn keys_seen(&self, b: usize, q: usize) -> Range<usize> {
        let (keys, at) = (self.key_length(b) as isize, self.position(b, q));
        let window = self.rules.window.map(|window| window.min(isize::MAX as usize / 4) as isize);
        let start = window.map_or(0, |window| (at - window + 1).clamp(0, keys));
        let end = match (self.rules.causal, window) {
            (true, _) => (at + 1).clamp(0, keys),
            (false, Some(window)) => at.saturating_add(window).clamp(0, keys),
            (false, None) => keys,
        };
        if start < end { start as usize..end as usize } else { 0..0 }
    }
}

/// The part of a range that lies in a block of keys, counted from the block's start.
#[inline(always)]
fn within(seen: &Range<usize>, block: usize) -> Range<usize> {
    let first = block * KEYS;
    let start = seen.start.saturating_sub(first).min(KEYS);
    start..seen.end.saturating_sub(first).min(KEYS).max(start)
}

/// The keys of the whole registers that hold those of a span.
#[inline(always)]
pub(super) fn registers(span: &Range<usize>) -> Range<usize> {
    if span.is_empty() { 0..0 } else { span.start / PAD * PAD..span.end.next_multiple_of(PAD) }
}

/// The parts of a block that rows attend to, counted from the block's start.
pub(super) fn spans(rows: &[Row], block: usize) -> Vec<Range<usize>> {
    rows.iter().map(|row| within(&row.seen, block)).collect()
}

/// The blocks of keys that any of these rows reaches into.
pub(super) fn blocks(rows: &[Row]) -> Range<usize> {
    let some = || rows.iter().map(|row| &row.seen).filter(|seen| !seen.is_empty());
    let start = some().map(|seen| seen.start / KEYS).min().unwrap_or(0);
    start..some().map(|seen| seen.end.div_ceil(KEYS)).max().unwrap_or(0)
}

/// Whether all rows attend to the same, as they mostly do.
pub(super) fn is_even(spans: &[Range<usize>]) -> bool {
    spans.iter().all(|span| *span == spans[0])
}

/// The range from the first start to the last end of those that are not empty.
pub(super) fn hull(spans: &[Range<usize>]) -> Range<usize> {
    if is_even(spans) {
        return spans.first().cloned().unwrap_or(0..0);
    }
    let some = spans.iter().filter(|span| !span.is_empty());
    let (start, end) = some.fold((KEYS, 0), |(start, end), span| (start.min(span.start), end.max(span.end)));
    start..end
}

/// The range that is part of all of them, empty if there is none.
pub(super) fn common(spans: &[Range<usize>]) -> Range<usize> {
    let all = spans.iter().fold(0..KEYS, |all, span| all.start.max(span.start)..all.end.min(span.end));
    all.start..all.end.max(all.start)
}
