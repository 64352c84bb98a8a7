//! Transcendental functions for `f32` without branches, so that loops over them vectorise.
//!
//! Each reduces its argument exactly or nearly so (Cody and Waite's two-part constants) to a small interval, evaluates a
//! short polynomial there, and puts the exponent back with integer arithmetic on the bits. Polynomials are Taylor series
//! cut where the next term is below half a unit in the last place on the interval, unless it is said that they were fitted. Stated errors are
//! the largest seen against `f64` over all finite arguments sampled in this file's tests; without a fused multiply-add
//! (on processors before AVX2) they may be one more.
//!
//! | function | largest error | at the ends |
//! |---|---|---|
//! | [`exp`] | 1 ULP | 0 below -103.98, infinity above 88.73, denormal results included |
//! | [`exp_nonpositive`] | 3 ULP | 0 below -103.98, denormal results included |
//! | [`exp_or_zero`] | 2 ULP | 0 below -87; for arguments to 88 |
//! | [`sigmoid`] | 4 ULP | 0, 1; denormal results included |
//! | [`expm1`] | 2 ULP | -1, infinity |
//! | [`ln`] | 1 ULP | -infinity at 0, NaN below; denormal arguments included |
//! | [`ln_1p`] | 3 ULP | -infinity at -1, NaN below |
//! | [`tanh`] | 3 ULP | -1, 1 |
//! | [`erf`] | 2 ULP | -1, 1 |
//! | [`sin`], [`cos`] | 1 ULP | NaN at infinity; angles above 2²⁰ one by one, in `f64` |
//! | [`pow`] | 1 ULP | as C's `pow` |

use crate::Float;
use crate::cpu::{Isa, math64};

/// 1.5 · 2²³: adding it rounds a number below 2²² to an integer, which then stands in the low bits.
const ROUND: f32 = 12_582_912.0;

/// Below it [`exp_or_zero`] is 0; its exponential, 1.6e-38, is not yet denormal.
const LEAST_POWER: f32 = -87.0;

const LN2_HI: f32 = 0.693_359_4; // 355/512, so that products with small integers are exact
const LN2_LO: f32 = -2.121_944_4e-4;

/// x = n ln 2 + r with |r| <= ln 2 / 2; returns (n as an integer, n, r).
#[inline(always)]
fn reduce<S: Isa>(x: f32) -> (i32, f32, f32) {
    let shifted = x.fma::<S>(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.fma::<S>(-LN2_LO, n.fma::<S>(-LN2_HI, x));
    // Wrapping: for NaN the integer is meaningless, and the result NaN all the same.
    ((shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32), n, r)
}

/// exp(r) - 1 for |r| <= ln 2 / 2: r + r² (1/2 + r/6 + …), whose last factor, of degree 4, was fitted by reweighted least
/// squares so that the whole is within 1.4e-8 of its value.
#[inline(always)]
fn expm1_small<S: Isa>(r: f32) -> f32 {
    let mut p = 1.388_251_4e-3;
    p = r.fma::<S>(p, 8.366_519e-3);
    p = r.fma::<S>(p, 4.166_72e-2);
    p = r.fma::<S>(p, 1.666_654_3e-1);
    p = r.fma::<S>(p, 4.999_999_7e-1);
    (r * r).fma::<S>(p, r)
}

/// 2ⁿ for -126 <= n <= 127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) << 23) as u32)
}

/// Holds `x` within `[low, high]` and lets NaN through, which `f32::clamp` and `min` do not vectorise as well.
#[inline(always)]
fn hold(x: f32, low: f32, high: f32) -> f32 {
    let x = if x > high { high } else { x };
    if x < low { low } else { x }
}

/// exp(r) for |r| <= ln 2 / 2: 1 + r (1 + r/2 + …), of degree 6, fitted to be within 2e-9 by reweighted least squares.
#[inline(always)]
fn exp_small<S: Isa>(r: f32) -> f32 {
    let mut p = 1.384_355_3e-3;
    p = r.fma::<S>(p, 8.374_158e-3);
    p = r.fma::<S>(p, 4.166_800_5e-2);
    p = r.fma::<S>(p, 1.666_643_1e-1);
    p = r.fma::<S>(p, 4.999_999_4e-1);
    p = r.fma::<S>(p, 1.0);
    r.fma::<S>(p, 1.0)
}

/// e to the power `x`.
#[inline(always)]
pub(crate) fn exp<S: Isa>(x: f32) -> f32 {
    // Beyond these the result is 0 or infinity all the same.
    let (n, _, r) = reduce::<S>(hold(x, -104.0, 89.0));
    // 2ⁿ in two factors, since n can leave the exponent's range on both sides.
    let half = n >> 1;
    exp_small::<S>(r) * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// e to the power `x <= 0`, as the square of exp(x / 2): down there one factor 2ⁿ is enough, and the square reaches the
/// denormals. A fifth less work than [`exp`], for which it is within 3 ULP.
#[inline(always)]
pub(crate) fn exp_nonpositive<S: Isa>(x: f32) -> f32 {
    let x = if x < -104.0 { -104.0 } else { x };
    // x = n 2 ln 2 + 2 r
    let shifted = x.fma::<S>(0.5 * std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.fma::<S>(-2.0 * LN2_LO, n.fma::<S>(-2.0 * LN2_HI, x)) * 0.5;
    // The constant's low bits are zero and its high ones are shifted out.
    let scale = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    let root = exp_small::<S>(r) * scale;
    root * root
}

/// e to the power `x`, about 0 or below, and 0 where `x` is below -87: what is left of [`exp`] where neither denormals nor an overflow
/// need care. What the steps make of a smaller `x` is not looked at.
#[inline(always)]
pub(crate) fn exp_or_zero<S: Isa>(x: f32) -> f32 {
    let shifted = x.fma::<S>(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.fma::<S>(-LN2_LO, n.fma::<S>(-LN2_HI, x));
    // As above.
    let scale = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    let power = exp_small::<S>(r) * scale;
    if x < LEAST_POWER { 0.0 } else { power }
}

/// Logistic function, from e = exp(-|x|), which cannot overflow.
#[inline(always)]
pub(crate) fn sigmoid<S: Isa>(x: f32) -> f32 {
    let e = exp_nonpositive::<S>(-x.abs());
    (if x >= 0.0 { 1.0 } else { e }) / (1.0 + e)
}

/// e to the power `x`, less 1, exact for small `x` too.
#[inline(always)]
pub(crate) fn expm1<S: Isa>(x: f32) -> f32 {
    let (n, _, r) = reduce::<S>(hold(x, -20.0, 89.0));
    let half = n >> 1;
    let (a, b) = (power_of_two(half), power_of_two(n.wrapping_sub(half)));
    // 2ⁿ (e^r - 1) + (2ⁿ - 1), in an order in which 2ⁿ = 2¹²⁸ overflows only when the result does.
    let result = (expm1_small::<S>(r) * a + (a - 1.0 / b)) * b;
    // Zero keeps its sign.
    if x == 0.0 { x } else { result }
}

/// Natural logarithm.
#[inline(always)]
pub(crate) fn ln<S: Isa>(x: f32) -> f32 {
    // Denormals are scaled into the normal range.
    let tiny = x < f32::MIN_POSITIVE;
    let scaled = if tiny { x * 8_388_608.0 } else { x };
    // m in [sqrt(1/2), sqrt(2)): the exponent that makes it so is found on the bits.
    let bits = scaled.to_bits() as i32;
    let exponent = bits.wrapping_sub(0x3f35_04f3) >> 23;
    let m = f32::from_bits(bits.wrapping_sub(exponent << 23) as u32);
    let n = (exponent - if tiny { 23 } else { 0 }) as f32;
    // ln m = 2 artanh s with s = (m - 1) / (m + 1), |s| <= 0.1716. With f = m - 1: 2s = f - s f, so that
    // ln m = f - s (f - R) with R = 2 (s²/3 + s⁴/5 + …): the large part, f, is exact.
    let f = m - 1.0;
    let s = f / (m + 1.0);
    let z = s * s;
    let mut series = 2.0 / 11.0;
    series = z.fma::<S>(series, 2.0 / 9.0);
    series = z.fma::<S>(series, 2.0 / 7.0);
    series = z.fma::<S>(series, 2.0 / 5.0);
    series = z.fma::<S>(series, 2.0 / 3.0);
    let ln_m = f - s * (f - z * series);
    let result = n.fma::<S>(LN2_HI, n.fma::<S>(LN2_LO, ln_m));
    let result = if x == f32::INFINITY { x } else { result };
    let result = if x == 0.0 { f32::NEG_INFINITY } else { result };
    if x >= 0.0 { result } else { f32::NAN }
}

/// ln(1 + x): ln u of the rounded sum u, and what rounding took away, x - (u - 1), as a first-order correction.
#[inline(always)]
pub(crate) fn ln_1p<S: Isa>(x: f32) -> f32 {
    let u = 1.0 + x;
    let lost = x - (u - 1.0);
    let result = ln::<S>(u) + lost / u;
    // At -1 and infinity the correction is 0/0 and ∞ - ∞; zero keeps its sign.
    let result = if x == -1.0 { f32::NEG_INFINITY } else { result };
    if x == f32::INFINITY || x == 0.0 { x } else { result }
}

/// Gauss error function: the Maclaurin series below 1, and 1 - exp(x q(x)) above, where x q(x) = ln erfc(x). `q` was
/// fitted to mpmath's values on [0.85, 4] by reweighted least squares; its error there moves erf by 1.2e-9 at most.
#[inline(always)]
pub(crate) fn erf<S: Isa>(x: f32) -> f32 {
    let a = x.abs();
    // Σ (-1)ⁿ 2/√π x²ⁿ / (n! (2n + 1)), ten terms, of which the first is added last and split in two.
    let z = hold(a * a, 0.0, 1.0);
    let mut s = -1.644_672_7e-7; // n = 9 … 1
    s = z.fma::<S>(s, 1.646_211_5e-6);
    s = z.fma::<S>(s, -1.492_565e-5);
    s = z.fma::<S>(s, 1.205_533_3e-4);
    s = z.fma::<S>(s, -8.548_327e-4);
    s = z.fma::<S>(s, 5.223_977_6e-3);
    s = z.fma::<S>(s, -2.686_617e-2);
    s = z.fma::<S>(s, 1.128_379_2e-1);
    s = z.fma::<S>(s, -3.761_264e-1);
    let near = a.fma::<S>(std::f32::consts::FRAC_2_SQRT_PI, (a * z) * s);
    let b = hold(a, 0.0, 4.0);
    let mut q = -8.664_04e-6;
    q = b.fma::<S>(q, 2.973_897_9e-4);
    q = b.fma::<S>(q, -3.540_365_4e-3);
    q = b.fma::<S>(q, 2.354_896_2e-2);
    q = b.fma::<S>(q, -1.059_93e-1);
    q = b.fma::<S>(q, -6.352_965e-1);
    q = b.fma::<S>(q, -1.128_613_4);
    let far = 1.0 - exp::<S>(b * q);
    let result = if a < 1.0 { near } else { far };
    // NaN compares false, and `hold` lets it through to `far`.
    result.copysign(x)
}

/// Cumulative normal distribution: 1/2 + x p(x²) / q(x²), of degrees 5 and 5, fitted to mpmath's values on [0, 4 √2] by
/// reweighted least squares; 0 and 1 beyond. Off by 3e-7 at most, which is what 1/2 + erf(x / √2) / 2 loses as well for
/// negative `x`, and cheaper.
#[inline(always)]
pub(crate) fn normal_cdf<S: Isa>(x: f32) -> f32 {
    const END: f32 = 5.656_854;
    let z = x * x;
    let mut p = 2.203_797_9e-8;
    p = z.fma::<S>(p, 6.287_654_3e-6);
    p = z.fma::<S>(p, 1.708_948_3e-4);
    p = z.fma::<S>(p, 4.689_178e-3);
    p = z.fma::<S>(p, 3.413_821_4e-2);
    p = z.fma::<S>(p, 3.989_422_6e-1);
    let mut q = 1.171_899_2e-6;
    q = z.fma::<S>(q, 7.389_024_5e-5);
    q = z.fma::<S>(q, 1.896_747_2e-3);
    q = z.fma::<S>(q, 2.879_467_4e-2);
    q = z.fma::<S>(q, 2.522_381e-1);
    q = z.fma::<S>(q, 1.0);
    // Rounding takes it below 0 near the end.
    let inside = x.fma::<S>(p / q, 0.5);
    let inside = if inside < 0.0 { 0.0 } else { inside };
    let result = if x > END { 1.0 } else { inside };
    if x < -END { 0.0 } else { result }
}

/// Hyperbolic tangent: t / (t + 2) with t = exp(2|x|) - 1, and the sign put back. With 2|x| = n ln 2 + r,
/// t = 2ⁿ (exp(r) - 1) + (2ⁿ - 1), whose last term is exact as far as it matters; one factor 2ⁿ is enough up to 20, where the
/// result has long been 1.
#[inline(always)]
pub(crate) fn tanh<S: Isa>(x: f32) -> f32 {
    let (n, _, r) = reduce::<S>(hold(2.0 * x.abs(), 0.0, 20.0));
    let power = power_of_two(n);
    let t = power.fma::<S>(expm1_small::<S>(r), power - 1.0);
    (t / (t + 2.0)).copysign(x)
}

/// Angles beyond this are reduced by the platform's `f64` functions.
const LARGE_ANGLE: f32 = 1_048_576.0;

/// Whether [`sin`] and [`cos`] leave their straight path: above 2²⁰, and for NaN.
#[inline(always)]
pub(crate) fn is_large_angle(x: f32) -> bool {
    x.is_nan() || x.abs() > LARGE_ANGLE
}

/// (sine or cosine of r, quadrant) with x = k π/2 + r, |r| <= π/4, in double precision: k has 20 bits and the first part of
/// π/2 has 33, so that their product is exact.
#[inline(always)]
fn wave<S: Isa>(x: f32, turn: i64) -> f32 {
    const HIGH: f64 = 1.570_796_326_734_125_6;
    const LOW: f64 = 6.077_100_506_506_192e-11;
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let x = f64::from(x);
    let shifted = x.fma::<S>(std::f64::consts::FRAC_2_PI, ROUND);
    let k = shifted - ROUND;
    let quadrant = (shifted.to_bits() as i64).wrapping_add(turn);
    let r = k.fma::<S>(-LOW, k.fma::<S>(-HIGH, x));
    let z = r * r;
    // Taylor series, cut where the next term is below 3e-9.
    let mut sine = 1.0 / 362_880.0;
    sine = z.fma::<S>(sine, -1.0 / 5040.0);
    sine = z.fma::<S>(sine, 1.0 / 120.0);
    sine = z.fma::<S>(sine, -1.0 / 6.0);
    let sine = (r * z).fma::<S>(sine, r);
    let mut cosine = -1.0 / 3_628_800.0;
    cosine = z.fma::<S>(cosine, 1.0 / 40_320.0);
    cosine = z.fma::<S>(cosine, -1.0 / 720.0);
    cosine = z.fma::<S>(cosine, 1.0 / 24.0);
    cosine = z.fma::<S>(cosine, -0.5);
    let cosine = z.fma::<S>(cosine, 1.0);
    let value = if quadrant & 1 == 0 { sine } else { cosine };
    (if quadrant & 2 == 0 { value } else { -value }) as f32
}

/// Sine.
#[inline(always)]
pub(crate) fn sin<S: Isa>(x: f32) -> f32 {
    if is_large_angle(x) { f64::from(x).sin() as f32 } else { small_sin::<S>(x) }
}

/// Cosine.
#[inline(always)]
pub(crate) fn cos<S: Isa>(x: f32) -> f32 {
    if is_large_angle(x) { f64::from(x).cos() as f32 } else { small_cos::<S>(x) }
}

/// Sine of an angle that is not large, without a branch. Zero keeps its sign.
#[inline(always)]
pub(crate) fn small_sin<S: Isa>(x: f32) -> f32 {
    let result = wave::<S>(x, 0);
    if x == 0.0 { x } else { result }
}

/// Cosine of an angle that is not large, without a branch.
#[inline(always)]
pub(crate) fn small_cos<S: Isa>(x: f32) -> f32 {
    wave::<S>(x, 1)
}

/// `x` to the power `y`: exp(y ln |x|) in double precision, and the cases that C's `pow` lists put right.
#[inline(always)]
pub(crate) fn pow<S: Isa>(x: f32, y: f32) -> f32 {
    let (a, b) = (f64::from(x), f64::from(y));
    let size = math64::exp::<S>(b * math64::ln::<S>(a.abs())) as f32;
    let half = 0.5 * b;
    let whole = b.floor() == b;
    let odd = whole && half.floor() != half;
    // -0 counts as negative: its odd powers do so too.
    let result = if odd && x.is_sign_negative() { -size } else { size };
    let result = if !whole && x < 0.0 && x > f32::NEG_INFINITY { f32::NAN } else { result };
    // 1 to any power and any number to the power 0, be the other one NaN; -1 to an infinite power.
    let one = x == 1.0 || y == 0.0 || x == -1.0 && y.abs() == f32::INFINITY;
    if one { 1.0 } else { result }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{Kernel, dispatch};

    /// The distance in units in the last place of the exact value, and which argument gave it.
    fn worst(function: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64) -> (f64, f32) {
        let mut worst = (0.0, 0.0);
        // Every 997th bit pattern: both signs, all exponents, denormals.
        for bits in (0..=u32::MAX).step_by(997) {
            let x = f32::from_bits(bits);
            if !x.is_finite() {
                continue;
            }
            let (got, want) = (function(x), exact(f64::from(x)));
            if want.is_nan() || (want as f32).is_infinite() || want.abs() < 1e-300 && want != 0.0 {
                let ok = if want.is_nan() { got.is_nan() } else { got == want as f32 };
                assert!(ok, "{x:e}: {got} for {want}");
                continue;
            }
            let nearest = want as f32;
            let ulp = f64::from(f32::from_bits(nearest.abs().to_bits() + 1)) - f64::from(nearest.abs());
            let ulp = if ulp.is_finite() { ulp } else { f64::from(f32::MAX) * 2f64.powi(-24) };
            let error = (f64::from(got) - want).abs() / ulp;
            if error > worst.0 || error.is_nan() {
                worst = (error, x);
            }
        }
        worst
    }

    macro_rules! compiled_for_this_machine {
        ($($name:ident),*) => {$(
            pub(super) fn $name(x: f32) -> f32 {
                struct One(f32);
                impl Kernel for One {
                    type Output = f32;
                    #[inline(always)]
                    fn run<S: Isa>(self) -> f32 {
                        super::$name::<S>(self.0)
                    }
                }
                dispatch(One(x))
            }
        )*};
    }
    mod native {
        use super::*;
        compiled_for_this_machine!(
            exp,
            expm1,
            ln,
            ln_1p,
            tanh,
            erf,
            normal_cdf,
            exp_nonpositive,
            exp_or_zero,
            sigmoid,
            sin,
            cos
        );
        fn exact_sigmoid(x: f64) -> f64 {
            if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
        }
        fn not_above_zero(x: f32) -> f32 {
            exp_nonpositive(if x > 0.0 { -x } else { x })
        }
        fn or_zero(x: f32) -> f32 {
            exp_or_zero(if x > 0.0 { -x } else { x })
        }
        fn exact_or_zero(x: f64) -> f64 {
            if x.abs() > 87.0 { 0.0 } else { (-x.abs()).exp() }
        }
        /// Name, kernel, exact function, stated error in ULP.
        type Case = (&'static str, fn(f32) -> f32, fn(f64) -> f64, f64);
        pub(super) const ALL: [Case; 11] = [
            ("exp", exp, f64::exp, 1.0),
            ("expm1", expm1, f64::exp_m1, 2.0),
            ("ln", ln, f64::ln, 1.0),
            ("ln_1p", ln_1p, f64::ln_1p, 3.0),
            ("tanh", tanh, f64::tanh, 3.0),
            ("erf", erf, libm::erf, 2.0),
            ("sigmoid", sigmoid, exact_sigmoid, 4.0),
            ("sin", sin, f64::sin, 1.0),
            ("cos", cos, f64::cos, 1.0),
            ("exp_nonpositive", not_above_zero, |x| (-x.abs()).exp(), 3.0),
            ("exp_or_zero", or_zero, exact_or_zero, 2.0),
        ];
    }

    #[test]
    fn errors_stay_below_what_is_stated() {
        for (name, function, exact, bound) in native::ALL {
            // Without a fused multiply-add intermediate results are rounded once more.
            let slack = if cfg!(target_arch = "x86_64") && crate::instruction_set() == "baseline" {
                1.0
            } else {
                0.0
            };
            let (error, x) = worst(function, exact);
            assert!(error <= bound + slack, "{name}({x:e}) is off by {error} ULP");
        }
    }

    #[test]
    fn powers_are_within_their_bound() {
        struct Pow(f32, f32);
        impl Kernel for Pow {
            type Output = f32;
            #[inline(always)]
            fn run<S: Isa>(self) -> f32 {
                pow::<S>(self.0, self.1)
            }
        }
        let special = [0.0, -0.0, 1.0, -1.0, 2.0, -3.0, 0.5, -0.5, 1e-45, 3e38, 16_777_216.0, f32::INFINITY];
        let special: Vec<f32> = special.into_iter().chain([f32::NEG_INFINITY, f32::NAN]).collect();
        let pairs = special.iter().flat_map(|&x| special.iter().map(move |&y| (x, y)));
        // And all sizes, spread over bit patterns, to powers that lead to all sizes.
        let spread = (0..400_000u32).map(|i| {
            let x = f32::from_bits(i.wrapping_mul(0x9e37_79b9));
            (x, (i as f32 * 0.618_034).fract() * 40.0 / x.abs().log2().abs().max(0.1) * 4.0 - 10.0)
        });
        for (x, y) in pairs.chain(spread) {
            let (got, want) = (dispatch(Pow(x, y)), f64::from(x).powf(f64::from(y)) as f32);
            let place = |x: f32| i64::from(x.abs().to_bits());
            let same = got.is_nan() && want.is_nan()
                || got.is_sign_negative() == want.is_sign_negative() && (place(got) - place(want)).abs() <= 1;
            assert!(same, "{x:e} to the power {y:e}: {got:e} for {want:e}");
        }
    }

    #[test]
    fn a_nan_with_a_payload_stays_nan() {
        for bits in [0x7fc0_0001u32, 0x7fff_ffff, 0xffc0_1234, 0xffff_fe00] {
            for (name, function, ..) in native::ALL {
                assert!(function(f32::from_bits(bits)).is_nan(), "{name} of {bits:x}");
            }
        }
    }

    #[test]
    fn normal_cdf_is_within_its_bound() {
        for i in -700_000..700_000 {
            let x = i as f32 / 100_000.0;
            let exact = 0.5 * libm::erfc(-f64::from(x) / std::f64::consts::SQRT_2);
            assert!((f64::from(native::normal_cdf(x)) - exact).abs() <= 3e-7, "{x}");
        }
        assert_eq!((native::normal_cdf(f32::INFINITY), native::normal_cdf(f32::NEG_INFINITY)), (1.0, 0.0));
        assert!(native::normal_cdf(f32::NAN).is_nan());
    }

    #[test]
    fn special_values() {
        for (name, function, exact, _) in native::ALL {
            for x in [0.0, -0.0, 1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MIN_POSITIVE, 1e-45] {
                let (got, want) = (function(x), exact(f64::from(x)) as f32);
                let same = got == want && got.is_sign_negative() == want.is_sign_negative();
                assert!(
                    same || got.is_nan() && want.is_nan() || (got - want).abs() <= 1e-6 && want != 0.0,
                    "{name}({x}): {got} for {want}"
                );
            }
        }
    }
}
