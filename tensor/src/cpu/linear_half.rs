//! Products with weights in 16-bit floats: converted in registers as they are read, summed in single precision.
//!
//! Weights lie as files have them, a row for each output, and both operands are read along the inputs. A sum is kept in as many
//! parts as a register has lanes; those are added at the end, and the inputs left over after them, in order. So the bits of a
//! result do not depend on the rows beside it, nor on the tile that it is computed in.

use half::{bf16, f16};

use crate::Element;
use crate::cpu::threads::{self, Columns};
use crate::cpu::{Isa, Kernel, Vector, dispatch, halves};

/// A 16-bit float.
pub(crate) trait Half: Element {
    fn wide(self) -> f32;
}

impl Half for bf16 {
    #[inline(always)]
    fn wide(self) -> f32 {
        halves::from_bf16(self)
    }
}

impl Half for f16 {
    #[inline(always)]
    fn wide(self) -> f32 {
        halves::from_f16(self)
    }
}

/// Rows and outputs of a tile.
const TILE: usize = 4;
/// Multiply-adds that are worth a thread's time.
const PIECE: usize = 1 << 16;

/// `out = x Wᵀ`, then plus a bias and max(·, 0) if they are asked for: rows of `x` and of `weight` have `inputs` elements.
///
/// `inputs` is not 0.
pub(crate) fn product<H: Half>(
    x: &[f32],
    weight: &[H],
    inputs: usize,
    bias: Option<&[f32]>,
    relu: bool,
    out: &mut [f32],
) {
    let outputs = weight.len() / inputs;
    if out.is_empty() {
        return;
    }
    let work = TILE * x.len();
    let pieces = (outputs.div_ceil(TILE) * work / PIECE).clamp(1, 4 * threads::num_threads());
    let width = outputs.div_ceil(pieces).next_multiple_of(TILE);
    threads::split_columns(out, outputs, width, |first, out| {
        let weight = &weight[first * inputs..][..out.width() * inputs];
        let bias = bias.map(|bias| &bias[first..][..out.width()]);
        dispatch(Product { x, weight, inputs, bias, relu, out });
        false
    });
}

struct Product<'a, H> {
    x: &'a [f32],
    weight: &'a [H],
    inputs: usize,
    bias: Option<&'a [f32]>,
    relu: bool,
    out: Columns<'a, f32>,
}

impl<H: Half> Kernel for Product<'_, H> {
    type Output = ();

    #[inline(always)]
    fn run<S: Isa>(mut self) {
        let rows = self.x.len() / self.inputs;
        let outputs = self.out.width();
        let mut output = 0;
        while output < outputs {
            let wide = output + TILE <= outputs;
            let mut row = 0;
            while row < rows {
                let tall = row + TILE <= rows;
                match (wide, tall) {
                    (true, true) => self.tile::<S, TILE, TILE>(output, row),
                    (true, false) => self.tile::<S, TILE, 1>(output, row),
                    (false, true) => self.tile::<S, 1, TILE>(output, row),
                    (false, false) => self.tile::<S, 1, 1>(output, row),
                }
                row += if tall { TILE } else { 1 };
            }
            output += if wide { TILE } else { 1 };
        }
    }
}

impl<H: Half> Product<'_, H> {
    #[inline(always)]
    fn tile<S: Isa, const O: usize, const M: usize>(&mut self, output: usize, row: usize) {
        let n = self.inputs;
        let lanes = <S::F32 as Vector<f32>>::LANES;
        let mut sums = [[S::F32::splat(0.0); M]; O];
        for at in (0..n / lanes * lanes).step_by(lanes) {
            for o in 0..O {
                let w = load::<S, H>(&self.weight[(output + o) * n + at..][..lanes]);
                for m in 0..M {
                    let x = &S::F32::chunks(&self.x[(row + m) * n + at..][..lanes]).0[0];
                    sums[o][m] = w.mul_add(S::F32::load(x), sums[o][m]);
                }
            }
        }
        for o in 0..O {
            for m in 0..M {
                let mut sum = sums[o][m].sum();
                for i in n / lanes * lanes..n {
                    sum += self.weight[(output + o) * n + i].wide() * self.x[(row + m) * n + i];
                }
                let sum = sum + self.bias.map_or(0.0, |bias| bias[output + o]);
                *self.out.at(row + m, output + o) = if self.relu && sum < 0.0 { 0.0 } else { sum };
            }
        }
    }
}

/// A register of weights.
#[inline(always)]
fn load<S: Isa, H: Half>(from: &[H]) -> S::F32 {
    let mut wide = <S::F32 as Vector<f32>>::Array::default();
    for (wide, from) in wide.as_mut().iter_mut().zip(from) {
        *wide = from.wide();
    }
    S::F32::load(&wide)
}
