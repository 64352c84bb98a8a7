//! The keys and values of the tokens so far, which every later token attends to.
//!
//! Room for a fixed number of tokens is taken at once: what a text costs is known before it begins, nothing is copied as it grows, and
//! a text that is too long is an error, not a slow one. Rows (texts) have lengths of their own, so that texts of a batch need not be
//! padded. A step is begun for all layers at once, since each has to add its keys at the same places; whoever changes rows before it
//! has ended gives it up.
//!
//! A step is either padded, a row of it for each row of the cache, or packed ([`packed`](super::packed)): the new tokens of some rows
//! one after the other, as where texts come and go.

use cairn_autograd::Var;
use cairn_tensor::Tensor;

use super::lengths;
use super::packed::Span;
use super::rotary::Positions;
use crate::{Error, Result};

/// Keys and values of all attention layers of a decoder, for several texts (rows). The one type of cache there is.
///
/// A model that reads new tokens says [`read`](Self::read), runs its layers
/// ([`MultiHeadAttention::forward_cached`](crate::MultiHeadAttention::forward_cached)), and says [`last`](Self::last).
#[derive(Debug, Clone)]
#[doc(alias("KvCache", "past_key_values", "DynamicCache", "StaticCache"))]
pub struct KeyValueCache {
    pub(super) layers: Vec<Pair>,
    pub(super) capacity: usize,
    /// Tokens of each row that are in.
    pub(super) lengths: Vec<usize>,
    /// Tokens of each row in the step under way, and what the kernels are told of them.
    pub(super) new: Vec<usize>,
    new_lengths: Tensor<u32>,
    key_lengths: Tensor<u32>,
    pub(super) positions: Positions,
    /// Whether a step is under way.
    pub(super) begun: bool,
    /// Where the rows' tokens stand in a step that is packed; empty in one that is padded.
    pub(super) spans: Vec<Span>,
}

/// Keys and values of a layer, each `[rows, key heads, capacity, its size]`: those of a head one after the other, since a step of writing
/// reads them all, and memory is quick in order.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) keys: Tensor,
    pub(super) values: Tensor,
}

fn reserve<T>(list: &mut Vec<T>, count: usize, what: &'static str) -> Result<()> {
    let refused = |_| Error::BadSetting { what, value: count as f64, must: "one that memory holds" };
    list.try_reserve_exact(count).map_err(refused)
}

impl KeyValueCache {
    pub(super) fn new(
        layers: usize,
        rows: usize,
        capacity: usize,
        heads: usize,
        [size, value_size]: [usize; 2],
    ) -> Result<Self> {
        // Of numbers that no memory holds, these are refused first.
        let [new_lengths, key_lengths] = [Tensor::zeros([rows])?, Tensor::zeros([rows])?];
        let (mut pairs, mut zeros) = (Vec::new(), Vec::new());
        reserve(&mut pairs, layers, "the number of layers")?;
        reserve(&mut zeros, rows, "the number of rows")?;
        zeros.resize(rows, 0);
        let room = |size| Tensor::zeros([rows, heads, capacity, size]);
        for _ in 0..layers {
            pairs.push(Pair { keys: room(size)?, values: room(value_size)? });
        }
        Ok(KeyValueCache {
            layers: pairs,
            capacity,
            lengths: zeros.clone(),
            new: zeros,
            new_lengths,
            key_lengths,
            positions: Positions::From(0),
            begun: false,
            spans: Vec::new(),
        })
    }

    /// Of a decoder without attention.
    pub(in super::super) fn without_layers(rows: usize, capacity: usize) -> Result<Self> {
        Self::new(0, rows, capacity, 1, [1, 1])
    }

    /// The number of texts.
    pub fn rows(&self) -> usize {
        self.lengths.len()
    }

    /// How many tokens a text can have.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many tokens each text has: the position of its next.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Begins a step with so many new tokens in each row.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for another number of rows, and for a row that has no room for its tokens.
    pub fn begin(&mut self, new: &[usize]) -> Result<()> {
        let bad = |what, value: usize, must| Err(Error::BadSetting { what, value: value as f64, must });
        if new.len() != self.rows() {
            return bad("the number of rows of tokens", new.len(), "that of the cache");
        }
        if let Some(over) =
            self.lengths.iter().zip(new).map(|(a, b)| a.saturating_add(*b)).find(|&n| n > self.capacity)
        {
            return bad("the length of a text", over, "at most the capacity of the cache");
        }
        self.give_up();
        self.new_lengths = lengths(new.iter().copied())?;
        self.key_lengths = lengths(self.lengths.iter().zip(new).map(|(a, b)| a + b))?;
        self.positions = self.places(new.iter().copied().max().unwrap_or(0))?;
        (self.new, self.begun) = (new.to_vec(), true);
        Ok(())
    }

    /// The positions of so many steps from each row's end on; those of a row's padding mean nothing.
    fn places(&self, time: usize) -> Result<Positions> {
        let first = self.lengths.first().copied().unwrap_or(0);
        if self.lengths.iter().all(|&length| length == first) {
            return Ok(Positions::From(first));
        }
        let all: Vec<u32> =
            self.lengths.iter().flat_map(|&start| (start..start + time).map(|at| at as u32)).collect();
        let count = self.lengths.iter().max().map_or(0, |most| most + time);
        Ok(Positions::Each(Tensor::from_vec(all, [self.rows(), time])?, count))
    }

    /// Ends a step: its tokens are in. Nothing where none was begun, or rows were changed since.
    pub fn end(&mut self) {
        self.lengths.iter_mut().zip(&self.new).for_each(|(length, new)| *length += new);
        self.give_up();
    }

    /// No step is under way any more, whatever was begun.
    pub(super) fn give_up(&mut self) {
        self.begun = false;
        self.new.fill(0);
        self.spans.clear();
    }

    /// Begins a step with the tokens that follow in each row, at least one each: their ids, and the position of each in its text, both
    /// `[rows, time]`, where shorter rows are filled up with id and position 0.
    ///
    /// # Errors
    /// As [`begin`](Self::begin); [`Error::BadSetting`] for a row without a token.
    pub fn read(&mut self, tokens: &[&[u32]]) -> Result<(Tensor<u32>, Tensor<u32>)> {
        let new: Vec<usize> = tokens.iter().map(|row| row.len()).collect();
        if new.contains(&0) {
            return Err(Error::BadSetting {
                what: "the number of tokens of a row",
                value: 0.0,
                must: "at least 1",
            });
        }
        self.begin(&new)?;
        let time = new.iter().copied().max().unwrap_or(0);
        let padded = |row: Vec<u32>| row.into_iter().chain(std::iter::repeat(0)).take(time);
        let ids: Vec<u32> = tokens.iter().flat_map(|row| padded(row.to_vec())).collect();
        let positions = self.lengths.iter().zip(&new);
        let positions =
            positions.flat_map(|(&start, new)| padded((start..start + new).map(|n| n as u32).collect()));
        let shape = [tokens.len(), time];
        Ok((Tensor::from_vec(ids, shape)?, Tensor::from_vec(positions.collect(), shape)?))
    }

    /// Ends a step, whose result is `y` `[rows, time, features]`: that of each row's last token, `[rows, features]`.
    ///
    /// # Errors
    /// When the result has fewer rows or steps than were read.
    pub fn last(&mut self, y: &Var) -> Result<Var> {
        let &[rows, time, features] = y.shape() else { return Err(misfit(y.value())) };
        if rows != self.rows() || self.new.iter().any(|&new| new == 0 || new > time) {
            return Err(misfit(y.value()));
        }
        let last: Vec<u32> =
            self.new.iter().enumerate().map(|(row, new)| (row * time + new - 1) as u32).collect();
        self.end();
        Ok(y.reshape([rows * time, features])?.index_select(0, &last)?)
    }

    /// Makes row `i` what row `rows[i]` was; see [`Decoder::pick`](crate::generate::Decoder::pick).
    ///
    /// # Errors
    /// For a row that is not there; when memory does not hold the rows.
    pub fn pick(&mut self, rows: &[usize]) -> Result<()> {
        if rows.iter().copied().eq(0..self.rows()) {
            return Ok(());
        }
        if let Some(&bad) = rows.iter().find(|&&row| row >= self.rows()) {
            return Err(Error::BadSetting {
                what: "a row",
                value: bad as f64,
                must: "below the number of rows of the cache",
            });
        }
        let picked: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
        for Pair { keys, values } in &mut self.layers {
            for tensor in [keys, values] {
                *tensor = tensor.index_select(0, &picked)?;
            }
        }
        self.lengths = rows.iter().map(|&row| self.lengths[row]).collect();
        self.new = vec![0; rows.len()];
        self.give_up();
        Ok(())
    }

    pub(super) fn new_lengths(&self) -> &Tensor<u32> {
        &self.new_lengths
    }

    pub(super) fn positions(&self) -> &Positions {
        &self.positions
    }

    pub(super) fn key_lengths(&self) -> &Tensor<u32> {
        &self.key_lengths
    }

    /// Adds a layer's new keys and values, `[rows, time, key heads, size]`, and gives all of them, up to the longest row.
    pub(super) fn extended(
        &mut self,
        layer: usize,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let Some(pair) = self.layers.get_mut(layer) else {
            let (what, must) = ("the place of a layer", "below the number of layers of the cache");
            return Err(Error::BadSetting { what, value: layer as f64, must });
        };
        let &[rows, time, ..] = keys.shape() else { return Err(misfit(keys)) };
        if !self.begun || rows != self.lengths.len() || self.new.iter().any(|&new| new > time) {
            return Err(misfit(keys));
        }
        let places = self.lengths.iter().zip(&self.new).enumerate();
        let moves = places.map(|(row, (&length, &count))| Move { row, to: length, from: row * time, count });
        write(&mut pair.keys, keys, moves.clone())?;
        write(&mut pair.values, values, moves)?;
        let most = self.lengths.iter().zip(&self.new).map(|(length, new)| length + new).max().unwrap_or(0);
        Ok((first_steps(&pair.keys, most)?, first_steps(&pair.values, most)?))
    }
}

/// The first steps of what is laid out as in a [`Pair`], as attention takes them: `[rows, steps, key heads, size]`.
pub(super) fn first_steps(all: &Tensor, steps: usize) -> Result<Tensor> {
    Ok(all.narrow(2, 0, steps)?.transpose(1, 2)?)
}

/// So many steps that go to a row, from place `to` on; `from` is counted over all rows of what is new.
#[derive(Debug, Clone, Copy)]
pub(super) struct Move {
    pub(super) row: usize,
    pub(super) to: usize,
    pub(super) from: usize,
    pub(super) count: usize,
}

/// Writes steps of `new` `[…, …, key heads, size]` into `all`, laid out as in a [`Pair`].
pub(super) fn write(all: &mut Tensor, new: &Tensor, moves: impl Iterator<Item = Move> + Clone) -> Result<()> {
    let (&[_, heads, capacity, size], &[.., new_heads, new_size]) = (all.shape(), new.shape()) else {
        return Err(misfit(new));
    };
    if [heads, size] != [new_heads, new_size] {
        return Err(misfit(new));
    }
    if moves.clone().any(|Move { to, count, .. }| to.saturating_add(count) > capacity) {
        return Err(misfit(new));
    }
    let new = new.row_major()?;
    let all = all.as_mut_slice()?;
    for Move { row, to, from, count } in moves {
        for head in 0..heads {
            let all = &mut all[((row * heads + head) * capacity + to) * size..][..count * size];
            let new = new[from * heads * size..].chunks_exact(size).skip(head).step_by(heads);
            all.chunks_exact_mut(size).zip(new).for_each(|(all, new)| all.copy_from_slice(new));
        }
    }
    Ok(())
}

pub(super) fn misfit(new: &Tensor) -> Error {
    Error::BadInput {
        input: new.dims().clone(),
        why: "the keys do not fit the cache or the step begun".into(),
    }
}
