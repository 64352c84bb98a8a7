//! [`Lanes`] of 64-bit Arm: four registers of everything, with what every such processor has.

use std::arch::aarch64::*;

use half::f16;

use crate::cpu::halves;

use super::lanes::Lanes;
use super::panels::{QUAD, ROWS};

/// NEON.
#[derive(Debug, Clone, Copy)]
pub(super) struct Neon;

impl Lanes for Neon {
    type Quads = [uint8x16_t; 4];
    type Sums = [int32x4_t; 4];
    type Floats = [float32x4_t; 4];
    const SIGNED_OFFSET: i32 = 0;

    #[inline(always)]
    fn load(bytes: &[u8; QUAD]) -> Self::Quads {
        // SAFETY: every processor of this target has NEON, and the slice has the 16 bytes that are read.
        std::array::from_fn(|k| unsafe { vld1q_u8(bytes[16 * k..][..16].as_ptr()) })
    }
    #[inline(always)]
    fn bits(bytes: Self::Quads, left: u32, right: u32, mask: u8) -> Self::Quads {
        // A shift by a register goes left for positive counts and right for negative ones, byte by byte.
        // SAFETY: every processor of this target has NEON.
        bytes.map(|bytes| unsafe {
            let shifted = vshlq_u8(bytes, vdupq_n_s8(left as i8 - right as i8));
            vandq_u8(shifted, vdupq_n_u8(mask))
        })
    }
    #[inline(always)]
    fn or(a: Self::Quads, b: Self::Quads) -> Self::Quads {
        // SAFETY: every processor of this target has NEON.
        std::array::from_fn(|k| unsafe { vorrq_u8(a[k], b[k]) })
    }
    #[inline(always)]
    fn signed(bytes: Self::Quads) -> Self::Quads {
        bytes
    }
    #[inline(always)]
    fn start(all: i32) -> Self::Sums {
        // SAFETY: every processor of this target has NEON.
        [unsafe { vdupq_n_s32(all) }; 4]
    }
    #[inline(always)]
    fn dot<const SIGNED: bool>(sums: Self::Sums, weights: Self::Quads, x: u32) -> Self::Sums {
        // Products fit 16 bits, as 128 · 127 does; pairs of them are added in 32, and pairs of those.
        // SAFETY: every processor of this target has NEON.
        std::array::from_fn(|k| unsafe {
            let x = vreinterpretq_s8_u32(vdupq_n_u32(x));
            let weights = vreinterpretq_s8_u8(weights[k]);
            let low = vpaddlq_s16(vmull_s8(vget_low_s8(weights), vget_low_s8(x)));
            let high = vpaddlq_s16(vmull_high_s8(weights, x));
            vaddq_s32(sums[k], vpaddq_s32(low, high))
        })
    }
    #[inline(always)]
    fn twofold(coarse: Self::Sums, fine: Self::Sums, shift: u32) -> Self::Sums {
        // SAFETY: every processor of this target has NEON.
        std::array::from_fn(|k| unsafe {
            vaddq_s32(vshlq_s32(coarse[k], vdupq_n_s32(shift as i32)), fine[k])
        })
    }
    #[inline(always)]
    fn floats(sums: Self::Sums) -> Self::Floats {
        // SAFETY: every processor of this target has NEON.
        sums.map(|sums| unsafe { vcvtq_f32_s32(sums) })
    }
    #[inline(always)]
    fn splat(x: f32) -> Self::Floats {
        // SAFETY: every processor of this target has NEON.
        [unsafe { vdupq_n_f32(x) }; 4]
    }
    #[inline(always)]
    fn halves(bits: &[u8; 2 * ROWS]) -> Self::Floats {
        let all: [f32; ROWS] = std::array::from_fn(|row| {
            halves::from_f16(f16::from_le_bytes([bits[2 * row], bits[2 * row + 1]]))
        });
        four(&all)
    }
    #[inline(always)]
    fn unsigned_bytes(bytes: &[u8; ROWS]) -> Self::Floats {
        four(&bytes.map(f32::from))
    }
    #[inline(always)]
    fn signed_bytes(bytes: &[u8; ROWS]) -> Self::Floats {
        four(&bytes.map(|byte| f32::from(byte as i8)))
    }
    #[inline(always)]
    fn mul(a: Self::Floats, b: Self::Floats) -> Self::Floats {
        // SAFETY: every processor of this target has NEON.
        std::array::from_fn(|k| unsafe { vmulq_f32(a[k], b[k]) })
    }
    #[inline(always)]
    fn mul_add(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        // SAFETY: every processor of this target has NEON.
        std::array::from_fn(|k| unsafe { vfmaq_f32(c[k], a[k], b[k]) })
    }
    #[inline(always)]
    fn store(x: Self::Floats, out: &mut [f32; ROWS]) {
        for (k, x) in x.into_iter().enumerate() {
            // SAFETY: every processor of this target has NEON, and the slice has room for the four floats that are written.
            unsafe { vst1q_f32(out[4 * k..][..4].as_mut_ptr(), x) };
        }
    }
}

#[inline(always)]
fn four(all: &[f32; ROWS]) -> [float32x4_t; 4] {
    // SAFETY: every processor of this target has NEON, and the slice has the four floats that are read.
    std::array::from_fn(|k| unsafe { vld1q_f32(all[4 * k..][..4].as_ptr()) })
}
