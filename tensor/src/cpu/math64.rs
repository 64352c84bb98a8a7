//! Transcendental functions for `f64` without branches, so that loops over them vectorise: the double-precision side of
//! [`math`](super::math), with the same reductions and longer polynomials. Those that are no Taylor series were fitted to
//! values of 60 digits by reweighted least squares.
//!
//! | function | largest error | at the ends |
//! |---|---|---|
//! | [`exp`] | 1 ULP | 0 below -745.14, infinity above 709.79, denormal results included |
//! | [`expm1`] | 2 ULP | -1, infinity |
//! | [`ln`] | 1 ULP | -infinity at 0, NaN below; denormal arguments included |
//! | [`ln_1p`] | 3 ULP | -infinity at -1, NaN below |
//! | [`tanh`] | 3 ULP | -1, 1 |
//! | [`sigmoid`] | 3 ULP | 0, 1; denormal results included |
//! | [`erf`] | 2 ULP | -1, 1 |
//! | [`sin`], [`cos`] | 1 ULP | NaN at infinity; angles above 2²⁰ one by one, by the platform's |
//!
//! The errors are the largest seen against correctly rounded values (`tests/golden/functions_f64.py` makes them) and, with
//! one unit more for those, against the platform's own functions over a million arguments of all sizes. [`pow`] is the
//! platform's, a value at a time: to take a power exactly takes more than double precision.

// Functions of the platform have the instruction set as a parameter too, so that all are called alike.
#![allow(clippy::extra_unused_type_parameters)]

use crate::Float;
use crate::cpu::Isa;

/// 1.5 · 2⁵²: adding it rounds a number below 2⁵¹ to an integer, which then stands in the low bits.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// As in [`math`](super::math).
const LEAST_POWER: f64 = -87.0;

/// The first 33 bits of ln 2, so that products with integers of 11 bits are exact.
const LN2_HI: f64 = 0.693_147_180_369_123_8;
const LN2_LO: f64 = 1.908_214_929_270_587_7e-10;

/// (e^r - 1 - r) / r² for |r| <= ln 2 / 2, the highest power first.
const EXP: [f64; 10] = [
    2.499_988_807_227_723_5e-08,
    2.763_025_005_470_779_6e-07,
    2.755_758_695_899_590_6e-06,
    2.480_149_309_185_551e-05,
    0.000_198_412_695_058_733_22,
    0.001_388_888_894_363_930_4,
    0.008_333_333_333_494_82,
    0.041_666_666_666_530_114,
    0.166_666_666_666_664_13,
    0.500_000_000_000_001_1,
];

/// erf(x) / x in powers of x², the highest first: (-1)ⁿ 2/√π / (n! (2n + 1)), n = 18 … 1.
const ERF_NEAR: [f64; 18] = [
    4.763_348_040_515_068e-18,
    -9.063_970_842_808_673e-17,
    1.634_261_409_536_715_2e-15,
    -2.783_516_207_210_921_5e-14,
    4.463_224_263_286_477_5e-13,
    -6.711_366_855_164_110_5e-12,
    9.422_759_064_650_411e-11,
    -1.229_055_530_171_792_6e-09,
    1.480_719_281_587_921_8e-08,
    -1.636_584_469_123_492_4e-07,
    1.646_211_436_588_924_6e-06,
    -1.492_565_035_840_625e-05,
    0.000_120_553_329_817_896_64,
    -0.000_854_832_702_345_085_3,
    0.005_223_977_625_442_188,
    -0.026_866_170_645_131_252,
    0.112_837_916_709_551_26,
    -0.376_126_389_031_837_54,
];

/// ln erfc(x) / x on [0.95, 6] in powers of (2x - 6.95) / 5.05, the highest first.
const ERF_FAR: [f64; 20] = [
    2.446_675_662_444_286_6e-07,
    -1.503_904_028_351_723_4e-06,
    -1.090_981_174_336_583_5e-05,
    -2.794_668_197_396_769e-05,
    -4.040_012_739_363_222e-05,
    -2.881_967_293_648_975_5e-05,
    -1.335_981_498_876_888_2e-05,
    1.548_634_156_678_831_2e-05,
    -4.112_820_977_317_570_4e-06,
    1.295_810_706_373_741_1e-05,
    2.790_537_745_323_401_7e-05,
    -0.000_175_973_651_617_598_9,
    0.000_636_593_948_477_125_6,
    -0.001_915_250_157_351_607_5,
    0.005_209_699_135_104_909,
    -0.013_308_008_852_751_626,
    0.032_680_123_116_219_754,
    -0.078_855_400_608_288_91,
    -2.331_529_753_851_887_3,
    -4.009_032_820_461_808,
];

#[inline(always)]
fn horner<S: Isa, const N: usize>(x: f64, coefficients: &[f64; N]) -> f64 {
    let mut sum = coefficients[0];
    for &c in &coefficients[1..] {
        sum = x.fma::<S>(sum, c);
    }
    sum
}

/// x = n ln 2 + r with |r| <= ln 2 / 2; returns (n, r).
#[inline(always)]
fn reduce<S: Isa>(x: f64) -> (i64, f64) {
    let shifted = x.fma::<S>(std::f64::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.fma::<S>(-LN2_LO, n.fma::<S>(-LN2_HI, x));
    // Wrapping: for NaN the integer is meaningless, and the result NaN all the same.
    ((shifted.to_bits() as i64).wrapping_sub(ROUND.to_bits() as i64), r)
}

/// exp(r) - 1 for |r| <= ln 2 / 2.
#[inline(always)]
fn expm1_small<S: Isa>(r: f64) -> f64 {
    (r * r).fma::<S>(horner::<S, _>(r, &EXP), r)
}

/// 2ⁿ for -1022 <= n <= 1023.
#[inline(always)]
fn power_of_two(n: i64) -> f64 {
    f64::from_bits((n.wrapping_add(1023) << 52) as u64)
}

/// Holds `x` within `[low, high]` and lets NaN through.
#[inline(always)]
fn hold(x: f64, low: f64, high: f64) -> f64 {
    let x = if x > high { high } else { x };
    if x < low { low } else { x }
}

/// e to the power `x`.
#[inline(always)]
pub(crate) fn exp<S: Isa>(x: f64) -> f64 {
    let (n, r) = reduce::<S>(hold(x, -746.0, 710.0));
    // Half of n, rounded down by a shift of the non-negative n + 2048: 64-bit signed shifts are rare among instructions.
    let half = ((n.wrapping_add(2048) as u64 >> 1) as i64).wrapping_sub(1024);
    (expm1_small::<S>(r) + 1.0) * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// As [`exp`]: nothing is gained in double precision from knowing the argument's sign.
#[inline(always)]
pub(crate) fn exp_nonpositive<S: Isa>(x: f64) -> f64 {
    exp::<S>(x)
}

/// e to the power `x`, and 0 below -87, as in single precision.
#[inline(always)]
pub(crate) fn exp_or_zero<S: Isa>(x: f64) -> f64 {
    let power = exp::<S>(x);
    if x < LEAST_POWER { 0.0 } else { power }
}

/// e to the power `x`, less 1, exact for small `x` too.
#[inline(always)]
pub(crate) fn expm1<S: Isa>(x: f64) -> f64 {
    let (n, r) = reduce::<S>(hold(x, -40.0, 710.0));
    let half = ((n.wrapping_add(2048) as u64 >> 1) as i64).wrapping_sub(1024);
    let (a, b) = (power_of_two(half), power_of_two(n.wrapping_sub(half)));
    // 2ⁿ (e^r - 1) + (2ⁿ - 1), in an order in which 2ⁿ = 2¹⁰²⁴ overflows only when the result does.
    let result = (expm1_small::<S>(r) * a + (a - 1.0 / b)) * b;
    if x == 0.0 { x } else { result }
}

/// Natural logarithm, as the one for `f32` with five more terms.
#[inline(always)]
pub(crate) fn ln<S: Isa>(x: f64) -> f64 {
    let tiny = x < f64::MIN_POSITIVE;
    let scaled = if tiny { x * 18_014_398_509_481_984.0 } else { x };
    // m in [sqrt(1/2), sqrt(2)): the exponent that makes it so is found on the bits.
    let bits = scaled.to_bits() as i64;
    let exponent = bits.wrapping_sub(0x3fe6_a09e_667f_3bcd) >> 52;
    let m = f64::from_bits(bits.wrapping_sub(exponent << 52) as u64);
    let n = exponent as f64 - if tiny { 54.0 } else { 0.0 };
    // ln m = f - s (f - R), see `math::ln`; R = 2 (s²/3 + s⁴/5 + … + s²⁰/21).
    let f = m - 1.0;
    let s = f / (m + 1.0);
    let z = s * s;
    let mut series = 2.0 / 21.0;
    series = z.fma::<S>(series, 2.0 / 19.0);
    series = z.fma::<S>(series, 2.0 / 17.0);
    series = z.fma::<S>(series, 2.0 / 15.0);
    series = z.fma::<S>(series, 2.0 / 13.0);
    series = z.fma::<S>(series, 2.0 / 11.0);
    series = z.fma::<S>(series, 2.0 / 9.0);
    series = z.fma::<S>(series, 2.0 / 7.0);
    series = z.fma::<S>(series, 2.0 / 5.0);
    series = z.fma::<S>(series, 2.0 / 3.0);
    let ln_m = f - s * (f - z * series);
    let result = n.fma::<S>(LN2_HI, n.fma::<S>(LN2_LO, ln_m));
    let result = if x == f64::INFINITY { x } else { result };
    let result = if x == 0.0 { f64::NEG_INFINITY } else { result };
    if x >= 0.0 { result } else { f64::NAN }
}

/// ln(1 + x): ln u of the rounded sum u, and what rounding took away, x - (u - 1), as a first-order correction.
#[inline(always)]
pub(crate) fn ln_1p<S: Isa>(x: f64) -> f64 {
    let u = 1.0 + x;
    let lost = x - (u - 1.0);
    let result = ln::<S>(u) + lost / u;
    let result = if x == -1.0 { f64::NEG_INFINITY } else { result };
    if x == f64::INFINITY || x == 0.0 { x } else { result }
}

/// Hyperbolic tangent: t / (t + 2) with t = exp(2|x|) - 1, and the sign put back.
#[inline(always)]
pub(crate) fn tanh<S: Isa>(x: f64) -> f64 {
    let t = expm1::<S>(hold(2.0 * x.abs(), 0.0, 44.0));
    (t / (t + 2.0)).copysign(x)
}

/// Logistic function, from e = exp(-|x|), which cannot overflow.
#[inline(always)]
pub(crate) fn sigmoid<S: Isa>(x: f64) -> f64 {
    let e = exp::<S>(-x.abs());
    (if x >= 0.0 { 1.0 } else { e }) / (1.0 + e)
}

/// Gauss error function: the Maclaurin series below 1, and 1 - exp(x q(x)) above, where x q(x) = ln erfc(x).
#[inline(always)]
pub(crate) fn erf<S: Isa>(x: f64) -> f64 {
    let a = x.abs();
    let z = hold(a * a, 0.0, 1.0);
    let near = a.fma::<S>(std::f64::consts::FRAC_2_SQRT_PI, (a * z) * horner::<S, _>(z, &ERF_NEAR));
    let b = hold(a, 0.0, 6.0);
    let u = (2.0 * b - 6.95) * (1.0 / 5.05);
    let far = 1.0 - exp::<S>(b * horner::<S, _>(u, &ERF_FAR));
    let result = if a < 1.0 { near } else { far };
    result.copysign(x)
}

/// Cumulative normal distribution: with y = |x| / √2, 1/2 ± erf(y) / 2 below y = 1, and erfc(y) / 2 or 1 less that above,
/// from the two forms of [`erf`]; 0 and 1 beyond y = 6. Off by 3e-16 at most.
#[inline(always)]
pub(crate) fn normal_cdf<S: Isa>(x: f64) -> f64 {
    let y = x.abs() * std::f64::consts::FRAC_1_SQRT_2;
    let z = hold(y * y, 0.0, 1.0);
    let near = y.fma::<S>(std::f64::consts::FRAC_2_SQRT_PI, (y * z) * horner::<S, _>(z, &ERF_NEAR));
    let near = 0.5f64.fma::<S>(near.copysign(x), 0.5);
    let b = hold(y, 0.0, 6.0);
    let u = (2.0 * b - 6.95) * (1.0 / 5.05);
    let tail = 0.5 * exp::<S>(b * horner::<S, _>(u, &ERF_FAR));
    let tail = if y > 6.0 { 0.0 } else { tail };
    let far = if x < 0.0 { tail } else { 1.0 - tail };
    if y < 1.0 { near } else { far }
}

/// Angles beyond this are reduced by the platform's functions.
const LARGE_ANGLE: f64 = 1_048_576.0;

/// Whether [`sin`] and [`cos`] leave their straight path: above 2²⁰, and for NaN.
#[inline(always)]
pub(crate) fn is_large_angle(x: f64) -> bool {
    x.is_nan() || x.abs() > LARGE_ANGLE
}

/// a - b, rounded, and what rounding took away (Knuth).
#[inline(always)]
fn two_diff(a: f64, b: f64) -> (f64, f64) {
    let d = a - b;
    let t = d - a;
    (d, (a - (d - t)) - (b + t))
}

/// (sine or cosine of r, quadrant) with x = k π/2 + r, |r| <= π/4. The first three parts of π/2 have 33 bits and k has 20, so
/// that their products are exact; what is lost in taking them off is kept and joins r as its low part: among numbers up
/// to 2²⁰ some come within 2⁻⁵⁸ of a multiple of π/2.
#[inline(always)]
fn wave<S: Isa>(x: f64, turn: i64) -> f64 {
    const PARTS: [f64; 4] = [
        1.570_796_326_734_125_6,
        6.077_100_506_303_966e-11,
        2.022_266_248_711_166_5e-21,
        8.478_427_660_368_9e-32,
    ];
    let shifted = x.fma::<S>(std::f64::consts::FRAC_2_PI, ROUND);
    let k = shifted - ROUND;
    let quadrant = (shifted.to_bits() as i64).wrapping_add(turn);
    let first = x - k * PARTS[0]; // exact
    let (second, lost) = two_diff(first, k * PARTS[1]);
    let (third, more) = two_diff(second, k * PARTS[2]);
    let low = (lost + more) - k * PARTS[3];
    let r = third + low;
    let low = (third - r) + low;
    let z = r * r;
    // Taylor series, cut where the next term is below 2e-18; of the low part the first order.
    let s = horner::<S, _>(z, &SINE);
    let sine = r + (r * z).fma::<S>(s, z.fma::<S>(-0.5 * low, low));
    let c = horner::<S, _>(z, &COSINE);
    let half = 0.5 * z;
    let one = 1.0 - half;
    let cosine = one + (((1.0 - one) - half) + (z * z).fma::<S>(c, -(r * low)));
    let value = if quadrant & 1 == 0 { sine } else { cosine };
    if quadrant & 2 == 0 { value } else { -value }
}

/// (-1)ⁿ / (2n + 1)!, n = 8 … 1.
const SINE: [f64; 8] = [
    1.0 / 355_687_428_096_000.0,
    -1.0 / 1_307_674_368_000.0,
    1.0 / 6_227_020_800.0,
    -1.0 / 39_916_800.0,
    1.0 / 362_880.0,
    -1.0 / 5040.0,
    1.0 / 120.0,
    -1.0 / 6.0,
];

/// (-1)ⁿ / (2n)!, n = 8 … 2.
const COSINE: [f64; 7] = [
    1.0 / 20_922_789_888_000.0,
    -1.0 / 87_178_291_200.0,
    1.0 / 479_001_600.0,
    -1.0 / 3_628_800.0,
    1.0 / 40_320.0,
    -1.0 / 720.0,
    1.0 / 24.0,
];

/// Sine.
#[inline(always)]
pub(crate) fn sin<S: Isa>(x: f64) -> f64 {
    if is_large_angle(x) { x.sin() } else { small_sin::<S>(x) }
}

/// Cosine.
#[inline(always)]
pub(crate) fn cos<S: Isa>(x: f64) -> f64 {
    if is_large_angle(x) { x.cos() } else { small_cos::<S>(x) }
}

/// Sine of an angle that is not large, without a branch. Zero keeps its sign.
#[inline(always)]
pub(crate) fn small_sin<S: Isa>(x: f64) -> f64 {
    let result = wave::<S>(x, 0);
    if x == 0.0 { x } else { result }
}

/// Cosine of an angle that is not large, without a branch.
#[inline(always)]
pub(crate) fn small_cos<S: Isa>(x: f64) -> f64 {
    wave::<S>(x, 1)
}

/// Power, the platform's.
#[inline(always)]
pub(crate) fn pow<S: Isa>(x: f64, y: f64) -> f64 {
    x.powf(y)
}

/// `x` truncated towards zero and held within the type's range, NaN as 0: what `x as i64` says, which does not vectorise.
#[inline(always)]
pub(crate) fn to_i64(x: f64) -> i64 {
    const END: f64 = (1u64 << 63) as f64;
    let held = if (-END..END).contains(&x) { x } else { 0.0 };
    // SAFETY: a finite number within the type's range.
    let whole: i64 = unsafe { held.to_int_unchecked() };
    let whole = if x >= END { i64::MAX } else { whole };
    if x < -END { i64::MIN } else { whole }
}

/// As [`to_i64`]. Held to 0 first and to the end after, a NaN came out as the end on Arm: the compiler had changed the order.
#[inline(always)]
pub(crate) fn to_u32(x: f64) -> u32 {
    const END: f64 = (1u64 << 32) as f64;
    let held = if (0.0..END).contains(&x) { x } else { 0.0 };
    // SAFETY: between 0 and 2³².
    let whole = unsafe { held.to_int_unchecked::<i64>() as u32 };
    if x >= END { u32::MAX } else { whole }
}

/// As [`to_u32`].
#[inline(always)]
pub(crate) fn to_u8(x: f64) -> u8 {
    let held = if (0.0..256.0).contains(&x) { x } else { 0.0 };
    // SAFETY: between 0 and 256.
    let whole = unsafe { held.to_int_unchecked::<i32>() as u8 };
    if x >= 256.0 { u8::MAX } else { whole }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{Kernel, dispatch};

    macro_rules! compiled_for_this_machine {
        ($($name:ident),*) => {$(
            pub(super) fn $name(x: f64) -> f64 {
                struct One(f64);
                impl Kernel for One {
                    type Output = f64;
                    #[inline(always)]
                    fn run<S: Isa>(self) -> f64 {
                        super::super::$name::<S>(self.0)
                    }
                }
                dispatch(One(x))
            }
        )*};
    }
    mod native {
        use super::*;
        compiled_for_this_machine!(exp, expm1, ln, ln_1p, tanh, sigmoid, erf, sin, cos, normal_cdf);
        fn exact_sigmoid(x: f64) -> f64 {
            if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
        }
        /// Name, kernel, the platform's function, stated error in ULP.
        type Case = (&'static str, fn(f64) -> f64, fn(f64) -> f64, i64);
        pub(super) const ALL: [Case; 9] = [
            ("exp", exp, f64::exp, 1),
            ("expm1", expm1, f64::exp_m1, 2),
            ("ln", ln, f64::ln, 1),
            ("ln_1p", ln_1p, f64::ln_1p, 3),
            ("tanh", tanh, f64::tanh, 3),
            ("sigmoid", sigmoid, exact_sigmoid, 3),
            ("erf", erf, libm::erf, 2),
            ("sin", sin, f64::sin, 1),
            ("cos", cos, f64::cos, 1),
        ];
    }

    /// Steps from one number to the other; NaN is nowhere near a number.
    fn distance(a: f64, b: f64) -> i64 {
        let place = |x: f64| {
            let bits = x.to_bits() as i64;
            if bits < 0 { i64::MIN.wrapping_sub(bits) } else { bits }
        };
        match (a.is_nan(), b.is_nan()) {
            (true, true) => 0,
            (false, false) => place(a).saturating_sub(place(b)).saturating_abs(),
            _ => i64::MAX,
        }
    }

    #[test]
    fn errors_against_correctly_rounded_values_stay_below_what_is_stated() {
        let golden = include_str!("../../tests/golden/functions_f64.txt");
        let mut count = 0;
        for line in golden.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |word: &str| f64::from_bits(u64::from_str_radix(word, 16).unwrap());
            let (x, want) = (number(words[1]), number(words[2]));
            let (_, function, _, bound) = native::ALL.into_iter().find(|case| case.0 == words[0]).unwrap();
            let got = function(x);
            assert!(distance(got, want) <= bound, "{}({x:e}) is {got:e}, exactly {want:e}", words[0]);
            count += 1;
        }
        assert!(count > 2000);
    }

    #[test]
    fn every_size_and_sign_agrees_with_the_platform() {
        for (name, function, platform, bound) in native::ALL {
            // Bit patterns at regular distances: both signs, all exponents, denormals, infinities and NaN.
            for step in 0..1_000_000u64 {
                let x = f64::from_bits(step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let (got, want) = (function(x), platform(x));
                // The platform's are within one unit themselves (sigmoid, of three roundings, within two).
                let slack = if name == "sigmoid" { 2 } else { 1 };
                assert!(distance(got, want) <= bound + slack, "{name}({x:e}) is {got:e}, not {want:e}");
            }
        }
    }

    #[test]
    fn conversions_are_those_of_the_language() {
        let ends = [0.0, 0.5, 1.0, 255.0, 256.0, 4_294_967_295.0, 4_294_967_296.0, 9.223_372_036_854_775e18];
        let special =
            ends.into_iter().chain([2f64.powi(63), f64::INFINITY, f64::NAN, f64::MIN_POSITIVE, 5e-324]);
        let near = special.flat_map(|x| [x, x.next_down(), x.next_up()]).flat_map(|x| [x, -x]);
        let spread = (0..1_000_000u64).map(|i| f64::from_bits(i.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let small = (0..100_000).map(|i| f64::from(i) * 0.01 - 500.0);
        for x in near.chain(spread).chain(small) {
            assert_eq!((to_i64(x), to_u32(x), to_u8(x)), (x as i64, x as u32, x as u8), "{x:e}");
        }
    }

    #[test]
    fn normal_cdf_is_within_its_bound() {
        for i in -1_000_000..1_000_000 {
            let x = f64::from(i) * 1e-5;
            let exact = 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2);
            assert!((native::normal_cdf(x) - exact).abs() <= 3e-16, "{x}");
        }
        assert_eq!((native::normal_cdf(f64::INFINITY), native::normal_cdf(f64::NEG_INFINITY)), (1.0, 0.0));
        assert!(native::normal_cdf(f64::NAN).is_nan());
    }

    #[test]
    fn special_values() {
        for (name, function, platform, bound) in native::ALL {
            for x in
                [0.0, -0.0, 1.0, -1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, f64::MIN_POSITIVE, 5e-324]
            {
                let (got, want) = (function(x), platform(x));
                assert!(distance(got, want) <= bound, "{name}({x}) is {got}, not {want}");
                assert!(got.is_nan() || got.is_sign_negative() == want.is_sign_negative(), "{name}({x})");
            }
        }
    }
}
