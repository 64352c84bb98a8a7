//! Steps without padding: the new tokens of some rows of a cache one after the other, `[1, tokens, …]`, so that a layer that looks at
//! each token by itself computes nothing in vain, whatever the rows have: a chunk of a prompt here, the next token there.
//!
//! Only attention looks at more than one token. Rows with one new token each, which is what most have, attend together, as one
//! batch over the rows from the first to the last of them; of the others each by itself.

use cairn_autograd::Var;
use cairn_tensor::{AttentionOptions, Tensor};

use super::KeyValueCache;
use super::cache::{Move, Pair, first_steps, misfit, write};
use super::lengths;
use super::rotary::Positions;
use crate::{Error, Result};

/// The new tokens of a row in a packed step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    row: usize,
    /// Of its tokens in the step, the place of the first.
    first: usize,
    count: usize,
}

impl KeyValueCache {
    /// Begins a packed step with the tokens that follow in some of the rows, at least one each: their ids one after the other, and the
    /// position of each in its text, both `[1, tokens]`. The layers' result is `[1, tokens, features]`; [`end`](Self::end) ends the step.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for no rows, for a row that is not there, comes twice or has no room for its tokens, and for one
    /// without a token.
    #[doc(alias("ragged", "varlen", "continuous batching"))]
    pub fn read_packed(&mut self, parts: &[(usize, &[u32])]) -> Result<(Tensor<u32>, Tensor<u32>)> {
        let bad = |what, value: usize, must| Err(Error::BadSetting { what, value: value as f64, must });
        let mut new = vec![0; self.rows()];
        let (mut spans, mut ids, mut places) = (Vec::with_capacity(parts.len()), Vec::new(), Vec::new());
        for &(row, tokens) in parts {
            match new.get_mut(row) {
                _ if tokens.is_empty() => {
                    return bad("the number of tokens of a row", 0, "at least 1");
                }
                Some(new @ 0) => *new = tokens.len(),
                Some(_) => return bad("a row", row, "named once in a step"),
                None => return bad("a row", row, "below the number of rows of the cache"),
            }
            let start = self.lengths[row];
            if tokens.len() > self.capacity - start {
                return bad(
                    "the length of a text",
                    start.saturating_add(tokens.len()),
                    "at most the capacity of the cache",
                );
            }
            spans.push(Span { row, first: ids.len(), count: tokens.len() });
            ids.extend_from_slice(tokens);
            places.extend((start..start + tokens.len()).map(|place| place as u32));
        }
        if spans.is_empty() {
            return bad("the number of rows of a step", 0, "at least 1");
        }
        let count = places.iter().max().map_or(0, |&last| last as usize + 1);
        let ids = Tensor::from_slice(&ids, [1, ids.len()])?;
        let places = Tensor::from_slice(&places, [1, places.len()])?;
        self.positions = Positions::Each(places.clone(), count);
        (self.new, self.spans, self.begun) = (new, spans, true);
        Ok((ids, places))
    }

    /// Forgets all but the first tokens of a row.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for a row that is not there, and one that has fewer tokens.
    #[doc(alias = "crop")]
    pub fn truncate(&mut self, row: usize, length: usize) -> Result<()> {
        match self.lengths.get_mut(row) {
            Some(now) if *now >= length => {
                *now = length;
                self.give_up();
            }
            Some(now) => {
                let must = "at most what is in the cache";
                return Err(Error::BadSetting {
                    what: "the length to keep",
                    value: length.max(*now) as f64,
                    must,
                });
            }
            None => return Err(no_row(row)),
        }
        Ok(())
    }

    /// Makes a row begin, and end, with the first tokens of another.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for rows that are not there, and for more tokens than the other has.
    pub fn copy_row(&mut self, from: usize, to: usize, length: usize) -> Result<()> {
        if from.max(to) >= self.rows() {
            return Err(no_row(from.max(to)));
        }
        if length > self.lengths[from] {
            let must = "at most what is in the cache";
            return Err(Error::BadSetting { what: "the length to copy", value: length as f64, must });
        }
        let capacity = self.capacity;
        for pair in &mut self.layers {
            for tensor in [&mut pair.keys, &mut pair.values] {
                let (heads, size) = (tensor.shape()[1], tensor.shape()[3]);
                let place = |row: usize, head: usize| (row * heads + head) * capacity * size;
                let all = tensor.as_mut_slice()?;
                for head in 0..heads {
                    let begin = place(from, head);
                    all.copy_within(begin..begin + length * size, place(to, head));
                }
            }
        }
        self.lengths[to] = length;
        self.give_up();
        Ok(())
    }

    /// Makes room for longer texts. What is in the cache stays.
    ///
    /// # Errors
    /// When memory does not hold it.
    #[doc(alias = "resize")]
    pub fn grow(&mut self, capacity: usize) -> Result<()> {
        if capacity <= self.capacity {
            return Ok(());
        }
        let mut grown = Vec::with_capacity(self.layers.len());
        for pair in &self.layers {
            let larger = |old: &Tensor| self.larger(old, capacity);
            grown.push(Pair { keys: larger(&pair.keys)?, values: larger(&pair.values)? });
        }
        (self.layers, self.capacity) = (grown, capacity);
        self.give_up();
        Ok(())
    }

    fn larger(&self, old: &Tensor, capacity: usize) -> Result<Tensor> {
        let &[rows, heads, before, size] = old.shape() else { return Err(misfit(old)) };
        let mut new = Tensor::zeros([rows, heads, capacity, size])?;
        let (from, to) = (old.row_major()?, new.as_mut_slice()?);
        for (row, length) in self.lengths.iter().enumerate() {
            for head in row * heads..(row + 1) * heads {
                let kept = length * size;
                to[head * capacity * size..][..kept].copy_from_slice(&from[head * before * size..][..kept]);
            }
        }
        Ok(new)
    }

    pub(super) fn is_packed(&self) -> bool {
        !self.spans.is_empty()
    }

    /// Adds a layer's new keys and values, and attends to all that are there: each `[1, tokens, heads, size]`, as the result.
    pub(super) fn attended(
        &mut self,
        layer: usize,
        [q, k, v]: [&Var; 3],
        options: &AttentionOptions,
    ) -> Result<Var> {
        let total: usize = self.spans.iter().map(|span| span.count).sum();
        if [q, k, v].iter().any(|x| x.shape().len() != 4 || x.shape()[..2] != [1, total]) {
            return Err(misfit(k.value()));
        }
        let Some(pair) = self.layers.get_mut(layer) else {
            let (what, must) = ("the place of a layer", "below the number of layers of the cache");
            return Err(Error::BadSetting { what, value: layer as f64, must });
        };
        let lengths = &self.lengths;
        let moves = self.spans.iter().map(|span| Move {
            row: span.row,
            to: lengths[span.row],
            from: span.first,
            count: span.count,
        });
        write(&mut pair.keys, k.value(), moves.clone())?;
        write(&mut pair.values, v.value(), moves)?;
        let (singles, others): (Vec<Span>, Vec<Span>) = self.spans.iter().partition(|span| span.count == 1);
        let mut parts = Vec::with_capacity(others.len() + 1);
        let mut order: Vec<u32> = Vec::with_capacity(total);
        if !singles.is_empty() {
            parts.push(self.together(layer, q, &singles, options)?);
            order.extend(singles.iter().map(|span| span.first as u32));
        }
        for span in &others {
            let q = q.narrow(1, span.first, span.count)?;
            parts.push(self.over(layer, &q, span.row..span.row + 1, &[span.count], options)?);
            order.extend((span.first..span.first + span.count).map(|place| place as u32));
        }
        let y = match &parts[..] {
            [one] => one.clone(),
            _ => Var::cat(&parts.iter().collect::<Vec<_>>(), 1)?,
        };
        if order.is_sorted() {
            return Ok(y);
        }
        let mut back = vec![0; total];
        (0..).zip(&order).for_each(|(at, &place)| back[place as usize] = at);
        Ok(y.index_select(1, &back)?)
    }

    /// Rows with one new token each.
    fn together(&self, layer: usize, q: &Var, spans: &[Span], options: &AttentionOptions) -> Result<Var> {
        let rows = spans.iter().map(|span| span.row);
        let first = rows.clone().min().unwrap_or(0);
        let count = rows.clone().max().unwrap_or(0) + 1 - first;
        // Rows between them that have no token are given any, of which nothing is computed.
        let (mut places, mut new) = (vec![0; count], vec![0; count]);
        for span in spans {
            places[span.row - first] = span.first as u32;
            new[span.row - first] = 1;
        }
        let (heads, size) = (q.shape()[2], q.shape()[3]);
        let q = q.index_select(1, &places)?.reshape([count, 1, heads, size])?;
        let y = self.over(layer, &q, first..first + count, &new, options)?;
        let y = y.reshape([1, count, heads, y.shape()[3]])?;
        let wanted: Vec<u32> = rows.map(|row| (row - first) as u32).collect();
        if wanted.len() == count && wanted.is_sorted() {
            return Ok(y);
        }
        Ok(y.index_select(1, &wanted)?)
    }

    /// Attention of queries `[rows, time, heads, size]`, of which each row has so many, to these rows of the cache.
    fn over(
        &self,
        layer: usize,
        q: &Var,
        rows: std::ops::Range<usize>,
        new: &[usize],
        options: &AttentionOptions,
    ) -> Result<Var> {
        let keys =
            rows.clone().zip(new).map(|(row, &new)| if new == 0 { 0 } else { self.lengths[row] + new });
        let most = keys.clone().max().unwrap_or(0);
        let options =
            options.clone().key_lengths(&lengths(keys)?).query_lengths(&lengths(new.iter().copied())?);
        let of = |all: &Tensor| {
            Ok::<_, Error>(Var::constant(first_steps(&all.narrow(0, rows.start, rows.len())?, most)?))
        };
        let pair = &self.layers[layer];
        Ok(q.attention(&of(&pair.keys)?, &of(&pair.values)?, None, &options)?)
    }
}

fn no_row(row: usize) -> Error {
    Error::BadSetting { what: "a row", value: row as f64, must: "below the number of rows of the cache" }
}
