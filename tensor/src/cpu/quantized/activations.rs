//! Activations in 11 bits (10 for weights of five): blocks of 32 with a scale each.
//!
//! `d = max |x| / (127 · 2ˢ)` and `q = x / d`, rounded to the nearest, halves to even, with `s` = 3 (or 2). Instructions multiply bytes, so `q`
//! is kept as two of them: `q = 2ˢ coarse + fine`. Bytes alone, as in ggml, change the likeliest token of a small language model in one
//! position of thirty; a few bits more do not, and what they take is little where memory or scales are waited for.
//!
//! A block with a number that is not finite has a scale that is not finite, so that the products it takes part in say so.
//!
//! Rows are laid down as the product goes through them: in tiles of 16, of 4 and of one row, within a tile block by block,
//! within those row by row.

use crate::Result;
use crate::cpu::buffer::Buffer;
use crate::cpu::{Isa, Kernel, dispatch, threads};

/// The words of a block: 32 coarse bytes, 32 fine ones, the scale, the scaled sum of the quants, and where sums of products with the first and
/// with the second half of the fine bytes begin, which make up for what is taken from weights.
pub(super) const WORDS: usize = 20;
pub(super) type Block = [u32; WORDS];
pub(super) const FINE: usize = 8;
pub(super) const SCALE: usize = 16;
pub(super) const SUM: usize = 17;
pub(super) const START: usize = 18;

/// The tiles of rows, the largest first.
pub(super) const TILES: [usize; 3] = [16, 4, 1];

/// What activations are made for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    /// Sums begin with `-offset` times the sum of the quants …
    pub(super) offset: i32,
    /// … or of either half of them.
    pub(super) halves: bool,
    /// A coarse step is so many powers of two.
    pub(super) shift: u32,
}

/// Rows of activations.
pub(crate) struct Activations {
    words: Buffer<u32>,
    pub(super) rows: usize,
}

impl Activations {
    /// Rows of `columns` floats, a multiple of 32.
    pub(super) fn new(x: &[f32], columns: usize, form: Form) -> Result<Self> {
        let (rows, blocks) = (x.len() / columns.max(1), columns / 32);
        let mut words = Buffer::unspecified("linear", rows * blocks * WORDS)?;
        let tile = TILES[0];
        threads::split_units(&mut words, tile * blocks * WORDS, tile * columns, |first, words| {
            let first_row = first * tile;
            let rows = words.len() / (blocks * WORDS);
            let x = &x[first_row * columns..][..rows * columns];
            dispatch(Quantize { x, columns, form, words });
            false
        });
        Ok(Activations { words, rows })
    }

    /// At most `most` rows from `first` on, both a multiple of the largest tile.
    pub(super) fn part(&self, first: usize, most: usize) -> Rows<'_> {
        let all: &[Block] = self.words.as_chunks().0;
        let (count, blocks) = (most.min(self.rows - first), all.len() / self.rows.max(1));
        Rows { blocks: &all[first * blocks..][..count * blocks], count }
    }
}

/// Some of the rows, laid down as all are.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) blocks: &'a [Block],
    pub(super) count: usize,
}

/// The tiles that so many rows are cut into: the first row of each, and how many it has.
pub(super) fn tiles(rows: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let size = TILES.into_iter().find(|&size| at + size <= rows)?;
        at += size;
        Some((at - size, size))
    })
}

struct Quantize<'a> {
    x: &'a [f32],
    columns: usize,
    form: Form,
    words: &'a mut [u32],
}

impl Kernel for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Isa>(self) {
        let blocks = self.columns / 32;
        let out = self.words.as_chunks_mut::<WORDS>().0;
        for (first, size) in tiles(self.x.len() / self.columns) {
            for row in 0..size {
                let x = self.x[(first + row) * self.columns..][..self.columns].as_chunks::<32>().0;
                for (b, x) in x.iter().enumerate() {
                    block(x, self.form, &mut out[first * blocks + b * size + row]);
                }
            }
        }
    }
}

#[inline(always)]
fn block(x: &[f32; 32], Form { offset, halves, shift }: Form, out: &mut Block) {
    // Bits of magnitudes are in the order of the magnitudes; those of NaN are above all others.
    let mut largest = 0;
    for x in x {
        largest = largest.max(x.to_bits() & 0x7fff_ffff);
    }
    let scale = f32::from_bits(largest) / (127 << shift) as f32;
    // A scale too small to divide by is none.
    let (scale, inverse) = if scale < f32::MIN_POSITIVE { (0.0, 0.0) } else { (scale, 1.0 / scale) };
    let mut quants = [0i32; 32];
    for (q, x) in quants.iter_mut().zip(x) {
        // Added to 1.5 · 2²³, a number is rounded to a whole one, which stands in the last bits.
        *q = i32::from((x * inverse + 12_582_912.0).to_bits() as i16);
    }
    let (mut first, mut second) = (0, 0);
    for i in 0..16 {
        first += quants[i];
        second += quants[i + 16];
    }
    let (mut coarse, mut fine) = ([0i8; 32], [0i8; 32]);
    for i in 0..32 {
        let step = (quants[i] + (1 << shift >> 1)) >> shift;
        coarse[i] = step as i8;
        fine[i] = (quants[i] - (step << shift)) as i8;
    }
    words(&coarse, &mut out[..FINE]);
    words(&fine, &mut out[FINE..SCALE]);
    out[SCALE] = scale.to_bits();
    out[SUM] = (scale * (first + second) as f32).to_bits();
    let starts = if halves { [first, second] } else { [first + second, 0] };
    out[START] = (-offset * starts[0]) as u32;
    out[START + 1] = (-offset * starts[1]) as u32;
}

/// Bytes as the words that they are loaded as, four at a time.
#[inline(always)]
fn words(bytes: &[i8; 32], out: &mut [u32]) {
    for (word, four) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(four.map(|byte| byte as u8));
    }
}
