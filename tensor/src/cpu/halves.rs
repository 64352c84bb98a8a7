//! Conversions between single precision and the 16-bit floats, without branches, so that loops over them vectorise.
//!
//! The `half` crate's own are exact as well, but go one by one. Rounding is to the nearest, ties to even; NaN stays NaN with
//! the upper bits of its payload, made quiet.

use half::{bf16, f16};

/// Exact: a bfloat16 is the upper half of an `f32`.
#[inline(always)]
pub(crate) fn from_bf16(x: bf16) -> f32 {
    f32::from_bits(u32::from(x.to_bits()) << 16)
}

/// The nearest bfloat16.
#[inline(always)]
pub(crate) fn to_bf16(x: f32) -> bf16 {
    let bits = x.to_bits();
    // Half a unit less one, and one more where the last bit that stays is odd: ties carry to even.
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    let quiet = bits | 0x0040_0000;
    bf16::from_bits(((if x.is_nan() { quiet } else { rounded }) >> 16) as u16)
}

/// Exact. Moved up by 13 bits, a half reads as an `f32` with an exponent too small by 127 - 15, which one product puts right,
/// for denormals too.
#[inline(always)]
pub(crate) fn from_f16(x: f16) -> f32 {
    let bits = u32::from(x.to_bits());
    let magnitude = bits << 13 & 0x0fff_e000;
    let finite = f32::from_bits(magnitude) * f32::from_bits((127 + 127 - 15) << 23);
    // The largest exponent stands for infinity and NaN; a NaN is made quiet.
    let special = 0x7f80_0000 | magnitude | u32::from(bits & 0x3ff != 0) << 22;
    let magnitude = if bits & 0x7c00 == 0x7c00 { special } else { finite.to_bits() };
    f32::from_bits(magnitude | (bits & 0x8000) << 16)
}

/// The nearest half; infinity from 65,520 on.
#[inline(always)]
pub(crate) fn to_f16(x: f32) -> f16 {
    let bits = x.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    // The exponent moved down by 127 - 15, and rounded as in `to_bf16`; a carry reaches infinity by itself.
    let normal = magnitude.wrapping_sub((127 - 15) << 23).wrapping_add(0xfff + (magnitude >> 13 & 1)) >> 13;
    // Below 2⁻¹⁴ the units are those of 0.5 in `f32`, 2⁻²⁴: adding it rounds to them.
    let denormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits());
    let special = if magnitude > 0x7f80_0000 { 0x7e00 | magnitude >> 13 & 0x3ff } else { 0x7c00 };
    let half = if magnitude < 0x3880_0000 { denormal } else { normal };
    let half = if magnitude >= 0x4780_0000 { special } else { half };
    f16::from_bits((half | bits >> 16 & 0x8000) as u16)
}

/// `x` in single precision, cut towards zero, with the last bit set if anything was cut: rounded once more, to fewer bits, the
/// result is the nearest to `x`, which it need not be by way of the nearest `f32` (Boldo and Melquiond 2008: round to odd).
#[inline(always)]
pub(crate) fn to_odd(x: f64) -> f32 {
    let nearest = x as f32;
    let back = f64::from(nearest);
    let bits = nearest.to_bits() - u32::from(back.abs() > x.abs());
    let odd = if back == x || x.is_nan() { bits } else { bits | 1 };
    f32::from_bits(odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_becomes_its_value() {
        for bits in 0..=u16::MAX {
            let (half, brain) = (f16::from_bits(bits), bf16::from_bits(bits));
            let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
            assert!(same(from_f16(half), half.to_f32()), "{bits:x}");
            assert!(same(from_bf16(brain), brain.to_f32()), "{bits:x}");
        }
    }

    #[test]
    fn the_nearest_half_is_taken() {
        // Every upper half of an f32, with lower halves at and around ties.
        let lower = [0, 1, 0x0fff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x7fff, 0x8000, 0x8001, 0xf000, 0xffff];
        for upper in 0..=u16::MAX {
            for lower in lower {
                let x = f32::from_bits(u32::from(upper) << 16 | lower);
                let (half, brain) = (f16::from_f32(x), bf16::from_f32(x));
                if x.is_nan() {
                    assert!(to_f16(x).is_nan() && to_bf16(x).is_nan(), "{:x}", x.to_bits());
                } else {
                    assert_eq!(to_f16(x).to_bits(), half.to_bits(), "{x:e}");
                    assert_eq!(to_bf16(x).to_bits(), brain.to_bits(), "{x:e}");
                }
            }
        }
    }

    #[test]
    fn a_double_is_rounded_once() {
        // Just beside a tie of f16 and of bf16, where rounding to f32 first ends on the tie.
        for (tie, below, above) in [
            (1.0 + 2f64.powi(-11), f16::from_f32(1.0), f16::from_bits(0x3c01)),
            (2f64.powi(-25), f16::ZERO, f16::from_bits(1)),
            (65_520.0, f16::MAX, f16::INFINITY),
        ] {
            assert_eq!(to_f16(to_odd(tie * (1.0 - 1e-15))), below, "{tie}");
            assert_eq!(to_f16(to_odd(tie * (1.0 + 1e-15))), above, "{tie}");
            assert_eq!(to_f16(to_odd(-tie * (1.0 + 1e-15))), -above, "-{tie}");
        }
        let tie = 1.0 + 2f64.powi(-8);
        assert_eq!(to_bf16(to_odd(tie * (1.0 - 1e-15))), bf16::ONE);
        assert_eq!(to_bf16(to_odd(tie * (1.0 + 1e-15))), bf16::from_bits(0x3f81));
        assert_eq!(to_bf16(to_odd(tie)), bf16::ONE);
        assert_eq!(to_bf16(to_odd(1e300)), bf16::INFINITY);
        assert!(to_odd(f64::NAN).is_nan());
        assert_eq!(to_odd(f64::NEG_INFINITY), f32::NEG_INFINITY);
        assert_eq!(to_odd(-0.0).to_bits(), 0x8000_0000);
        // What an f32 holds stays as it is.
        for bits in (0..0x7f80_0000u32).step_by(65_537) {
            assert_eq!(to_odd(f32::from_bits(bits).into()).to_bits(), bits);
        }
    }
}
