//! Quantised weights: their bytes, their making, and products with them.
//!
//! | file | what |
//! |---|---|
//! | [`blocks`] | the bytes of a block |
//! | [`encode`], [`search`] | weights to blocks |
//! | [`panels`] | blocks of 16 rows interleaved, for products |
//! | [`activations`] | activations in 11 bits, as two bytes |
//! | [`lanes`], `x86`, `neon` | registers of 16 rows |
//! | [`product`] | the product, once for every format and instruction set |
//! | `amx` | tiles of 16 rows on Intel's matrix unit |
//! | [`engine`] | the instruction set, chosen at run time |

mod activations;
#[cfg(target_arch = "x86_64")]
mod amx;
mod blocks;
mod encode;
mod engine;
mod lanes;
#[cfg(target_arch = "aarch64")]
mod neon;
mod panels;
mod product;
mod search;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::cpu::buffer::Buffer;
use crate::cpu::threads;
use crate::{BlockFormat, Result};

use activations::Activations;
pub(crate) use engine::Engine;
use panels::ROWS;

/// The bytes of a matrix of blocks.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) format: BlockFormat,
    /// Rows of weights: the outputs of a layer.
    pub(crate) rows: usize,
    /// Blocks in a row.
    pub(crate) blocks: usize,
    /// Whether the bytes are panels, and not one row of blocks after the other.
    pub(crate) packed: bool,
    pub(crate) bytes: &'a [u8],
}

/// Multiply-adds that are worth a thread's time.
const PIECE: usize = 1 << 16;
/// The results that a piece holds at a time, in floats.
const HELD: usize = 1 << 14;
/// Rows of activations that a run of panels is multiplied with before it goes on to the next: they stay in the cache of the second
/// level meanwhile. A multiple of the largest tile.
const CHUNK: usize = 128;

impl<'a> Matrix<'a> {
    fn columns(&self) -> usize {
        self.blocks * self.format.weights()
    }

    fn panel_bytes(&self) -> usize {
        self.blocks * panels::unit_bytes(self.format)
    }

    fn row_bytes(&self) -> usize {
        self.blocks * self.format.bytes()
    }

    /// The bytes of the panels of the matrix.
    pub(crate) fn packed_bytes(&self) -> usize {
        self.rows.div_ceil(ROWS) * self.panel_bytes()
    }

    /// A row's blocks, one after the other.
    fn row(&self, row: usize, out: &mut [u8]) {
        let size = self.format.bytes();
        if !self.packed {
            return out.copy_from_slice(&self.bytes[row * self.row_bytes()..][..self.row_bytes()]);
        }
        let (panel, lane) = panels::place(self.format, self.blocks, row);
        let units = self.bytes[panel].chunks_exact(panels::unit_bytes(self.format));
        for (unit, block) in units.zip(out.chunks_exact_mut(size)) {
            panels::take(self.format, lane, unit, block);
        }
    }

    /// The weights of one row.
    fn row_weights(&self, row: usize, scratch: &mut [u8], out: &mut [f32]) {
        self.row(row, scratch);
        let blocks = scratch.chunks_exact(self.format.bytes());
        for (block, out) in blocks.zip(out.chunks_exact_mut(self.format.weights())) {
            blocks::dequantize(self.format, block, out);
        }
    }

    /// The weights of rows, which must be below [`rows`](Self::rows).
    pub(crate) fn weights(&self, rows: impl Fn(usize) -> usize + Sync, out: &mut [f32]) {
        let columns = self.columns();
        threads::split_units(out, columns, 4 * columns, |first, out| {
            let mut scratch = vec![0; self.row_bytes()];
            for (i, out) in (first..).zip(out.chunks_exact_mut(columns)) {
                self.row_weights(rows(i), &mut scratch, out);
            }
            false
        });
    }

    /// The blocks row by row.
    pub(crate) fn unpack(&self, out: &mut [u8]) {
        threads::split_units(out, self.row_bytes(), 8 * self.columns(), |first, out| {
            for (row, out) in (first..).zip(out.chunks_exact_mut(self.row_bytes())) {
                self.row(row, out);
            }
            false
        });
    }

    /// The panels of rows of blocks.
    pub(crate) fn pack(&self, out: &mut [u8]) {
        threads::split_units(out, self.panel_bytes(), ROWS * self.columns(), |first, out| {
            for (panel, out) in (first..).zip(out.chunks_exact_mut(self.panel_bytes())) {
                self.pack_one(panel, out);
            }
            false
        });
    }

    fn pack_one(&self, panel: usize, out: &mut [u8]) {
        let (start, end) = (panel * ROWS, (panel * ROWS + ROWS).min(self.rows));
        panels::pack(
            self.format,
            self.blocks,
            &self.bytes[start * self.row_bytes()..end * self.row_bytes()],
            out,
        );
    }

    /// `out = x Wᵀ`, then plus a bias and max(·, 0) if they are asked for: rows of `x` have as many floats as the matrix columns, and
    /// those of `out` as many as it has rows.
    pub(crate) fn product(&self, x: &[f32], bias: Option<&[f32]>, relu: bool, out: &mut [f32]) -> Result<()> {
        self.product_by(Engine::best(), x, bias, relu, out)
    }

    fn product_by(
        &self,
        engine: Engine,
        x: &[f32],
        bias: Option<&[f32]>,
        relu: bool,
        out: &mut [f32],
    ) -> Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        let x = &Activations::new(x, self.columns(), engine.form(self.format))?;
        let work = ROWS * self.columns() * x.rows;
        let count = self.rows.div_ceil(ROWS);
        let pieces = (count * work / PIECE).clamp(1, 4 * threads::num_threads()).min(count.max(1));
        let each = count.div_ceil(pieces);
        threads::split_columns(out, self.rows, each * ROWS, |first, mut columns| {
            let most = CHUNK.min(x.rows);
            let together = (HELD / (ROWS * most)).clamp(1, each);
            let mut results = vec![[0.0; ROWS]; together * most];
            let mut scratch = vec![0; if self.packed { 0 } else { together * self.panel_bytes() }];
            let (start, end) = (first / ROWS, (first + columns.width()).div_ceil(ROWS));
            for panel in (start..end).step_by(together) {
                let some = together.min(end - panel);
                let bytes = if self.packed {
                    &self.bytes[panel * self.panel_bytes()..][..some * self.panel_bytes()]
                } else {
                    for (i, out) in scratch.chunks_exact_mut(self.panel_bytes()).take(some).enumerate() {
                        self.pack_one(panel + i, out);
                    }
                    &scratch[..some * self.panel_bytes()]
                };
                for row in (0..x.rows).step_by(CHUNK) {
                    let part = x.part(row, CHUNK);
                    engine.run(self.format, bytes, part, &mut results);
                    for (i, results) in results.chunks_exact(part.count).take(some).enumerate() {
                        let at = (panel + i) * ROWS - first;
                        let width = ROWS.min(columns.width() - at);
                        for (row, result) in (row..).zip(results) {
                            let out = &mut columns.row(row)[at..at + width];
                            finish(result, bias.map(|bias| &bias[first + at..]), relu, out);
                        }
                    }
                }
            }
            false
        });
        Ok(())
    }
}

/// Results with their biases, and max(·, 0).
#[inline(always)]
fn finish(results: &[f32; ROWS], bias: Option<&[f32]>, relu: bool, out: &mut [f32]) {
    match out.first_chunk_mut() {
        Some(all) => *all = *results,
        None => out.copy_from_slice(&results[..out.len()]),
    }
    if let Some(bias) = bias {
        out.iter_mut().zip(bias).for_each(|(out, bias)| *out += bias);
    }
    if relu {
        out.iter_mut().for_each(|out| *out = if *out < 0.0 { 0.0 } else { *out });
    }
}

/// Rows of weights, each a multiple of a block, to blocks.
pub(crate) fn quantize(format: BlockFormat, x: &[f32], out: &mut [u8]) {
    let (weights, bytes) = (format.weights(), format.bytes());
    threads::split_units(out, bytes, 50 * weights, |first, out| {
        let x = x[first * weights..].chunks_exact(weights);
        out.chunks_exact_mut(bytes).zip(x).for_each(|(block, x)| encode::quantize(format, x, block));
        false
    });
}

/// Memory for packed panels.
pub(crate) fn memory(bytes: usize) -> Result<Buffer<u8>> {
    Buffer::unspecified("pack", bytes)
}
