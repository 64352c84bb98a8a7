//! Functions of one, two and three operands.

use cairn_tensor::{Error, Tensor};
use proptest::prelude::*;
use rand::RngExt;

use crate::naive::{Naive, broadcasting, close, real, same, shapes, small, view};

/// The error function by its Maclaurin series and its continued fraction: independent of any library. The terms of the series alternate,
/// and further out their sum is much smaller than they are; the fraction is exact long before.
fn erf(x: f64) -> f64 {
    let a = x.abs();
    let value = if a < 2.0 {
        let (mut term, mut sum) = (a, a);
        for n in 1..200 {
            term *= -a * a / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    } else {
        let mut fraction = 0.0;
        for n in (1..200).rev() {
            fraction = f64::from(n) / 2.0 / (a + fraction);
        }
        1.0 - (-a * a).exp() / ((a + fraction) * std::f64::consts::PI.sqrt())
    };
    value.copysign(x)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Name, method in f32 and f64, reference.
type Function =
    (&'static str, fn(&Tensor<f32>) -> Tensor<f32>, fn(&Tensor<f64>) -> Tensor<f64>, fn(f64) -> f64);

macro_rules! functions {
    ($($name:ident: $reference:expr;)*) => {
        vec![$((
            stringify!($name),
            |x: &Tensor<f32>| x.$name().unwrap(),
            |x: &Tensor<f64>| x.$name().unwrap(),
            $reference,
        )),*]
    };
}

fn all_functions() -> Vec<Function> {
    functions! {
        neg: |x| -x;
        abs: f64::abs;
        sign: |x| if x == 0.0 || x.is_nan() { x } else { x.signum() };
        square: |x| x * x;
        relu: |x| if x < 0.0 { 0.0 } else { x };
        exp: f64::exp;
        expm1: f64::exp_m1;
        log: f64::ln;
        log1p: f64::ln_1p;
        sqrt: f64::sqrt;
        rsqrt: |x| 1.0 / x.sqrt();
        recip: |x| 1.0 / x;
        sin: f64::sin;
        cos: f64::cos;
        tanh: f64::tanh;
        erf: erf;
        floor: f64::floor;
        round: f64::round_ties_even;
        sigmoid: sigmoid;
        softplus: |x| if x > 0.0 { x + (-x).exp().ln_1p() } else { x.exp().ln_1p() };
        silu: |x| x * sigmoid(x);
        gelu: |x| x / 2.0 * (1.0 + erf(x / 2f64.sqrt()));
        gelu_tanh: |x| x / 2.0 * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh());
        selu: |x| 1.0507009873554805 * if x > 0.0 { x } else { 1.6732632423543772 * x.exp_m1() };
    }
}

proptest! {
    #[test]
    fn functions_match_the_reference(shape in shapes(), seed: u64) {
        for (name, narrow, wide, reference) in all_functions() {
            let (x, n) = view(&shape, seed, real);
            close(&wide(&x), &n.map(reference), 1e-13);
            // In f32 the reference sees the rounded argument. 1 ulp of the argument moves log near 1 by as much.
            let (x, n) = view(&shape, seed, |rng| real(rng) as f32);
            let got = narrow(&x);
            let want = n.map(|x| reference(f64::from(x)));
            prop_assert_eq!(got.shape(), &want.shape[..], "{}", name);
            close(&got, &want, 6e-7);
        }
    }

    #[test]
    fn functions_with_arguments_match_the_reference(shape in shapes(), seed: u64, a in -2.0..2.0f64, b in 0.0..2.0f64) {
        let (x, n) = view(&shape, seed, real);
        close(&x.leaky_relu(a).unwrap(), &n.map(|x| if x > 0.0 { x } else { a * x }), 1e-14);
        close(&x.elu(a).unwrap(), &n.map(|x| if x > 0.0 { x } else { a * x.exp_m1() }), 1e-14);
        close(&x.clamp(a, a + b).unwrap(), &n.map(|x| x.max(a).min(a + b)), 0.0);
        close(&x.powf(a).unwrap(), &n.map(|x| x.powf(a)), 1e-12);
        close(&x.scale(a).unwrap(), &n.map(|x| x * a), 0.0);
        same(&x.map(|x| x > a).unwrap(), &n.map(|x| x > a));
    }

    #[test]
    fn arithmetic_matches_the_reference((parts, result) in broadcasting(2), seed: u64) {
        let (x, nx) = view(&parts[0], seed, real);
        let (y, ny) = view(&parts[1], seed ^ 1, real);
        let zip = |f: fn(f64, f64) -> f64| Naive::from_fn(&result, |i| f(nx.at_broadcast(i), ny.at_broadcast(i)));
        same(&x.add(&y).unwrap(), &zip(|a, b| a + b));
        same(&x.sub(&y).unwrap(), &zip(|a, b| a - b));
        same(&x.mul(&y).unwrap(), &zip(|a, b| a * b));
        same(&x.div(&y).unwrap(), &zip(|a, b| a / b));
        same(&x.maximum(&y).unwrap(), &zip(f64::max));
        same(&x.minimum(&y).unwrap(), &zip(f64::min));
        same(&(&x + &y), &zip(|a, b| a + b));
        same(&(x.clone() - &y), &zip(|a, b| a - b));
        same(&(&x * y.clone()), &zip(|a, b| a * b));
        same(&(x.clone() / y.clone()), &zip(|a, b| a / b));
        let positive = x.abs().unwrap();
        close(&positive.pow(&y).unwrap(), &zip(|a, b| a.abs().powf(b)), 1e-12);
    }

    #[test]
    fn integers_match_the_reference((parts, result) in broadcasting(2), seed: u64) {
        let (x, nx) = view(&parts[0], seed, small);
        let (y, ny) = view(&parts[1], seed ^ 1, small);
        let zip = |f: fn(i64, i64) -> i64| Naive::from_fn(&result, |i| f(nx.at_broadcast(i), ny.at_broadcast(i)));
        same(&x.add(&y).unwrap(), &zip(|a, b| a + b));
        same(&x.sub(&y).unwrap(), &zip(|a, b| a - b));
        same(&x.mul(&y).unwrap(), &zip(|a, b| a * b));
        same(&x.maximum(&y).unwrap(), &zip(i64::max));
        same(&x.minimum(&y).unwrap(), &zip(i64::min));
        if ny.data.contains(&0) && !result.contains(&0) {
            let refused = matches!(x.div(&y), Err(Error::IntegerOverflow { op: "div", .. }));
            prop_assert!(refused);
        } else {
            same(&x.div(&y).unwrap(), &zip(|a, b| a / b));
        }
        let compare = |f: fn(i64, i64) -> bool| Naive::from_fn(&result, |i| f(nx.at_broadcast(i), ny.at_broadcast(i)));
        same(&x.eq(&y).unwrap(), &compare(|a, b| a == b));
        same(&x.ne(&y).unwrap(), &compare(|a, b| a != b));
        same(&x.lt(&y).unwrap(), &compare(|a, b| a < b));
        same(&x.le(&y).unwrap(), &compare(|a, b| a <= b));
        same(&x.gt(&y).unwrap(), &compare(|a, b| a > b));
        same(&x.ge(&y).unwrap(), &compare(|a, b| a >= b));
        same(&x.lt(&y).unwrap().not().unwrap(), &compare(|a, b| a >= b));
        same(&x.neg().unwrap(), &nx.map(|a| -a));
        same(&x.abs().unwrap(), &nx.map(i64::abs));
        same(&x.sign().unwrap(), &nx.map(i64::signum));
        same(&x.square().unwrap(), &nx.map(|a| a * a));
        same(&x.clamp(-3, 4).unwrap(), &nx.map(|a| a.clamp(-3, 4)));
    }

    #[test]
    fn select_matches_the_reference((parts, result) in broadcasting(3), seed: u64) {
        let (c, nc) = view(&parts[0], seed, RngExt::random::<bool>);
        let (x, nx) = view(&parts[1], seed ^ 1, small);
        let (y, ny) = view(&parts[2], seed ^ 2, small);
        let want = Naive::from_fn(&result, |i| {
            if nc.at_broadcast(i) { nx.at_broadcast(i) } else { ny.at_broadcast(i) }
        });
        same(&c.select(&x, &y).unwrap(), &want);
    }

    #[test]
    fn adding_in_place_matches_adding((parts, result) in broadcasting(1), seed: u64) {
        let (mut x, nx) = view(&result, seed, small);
        let (y, ny) = view(&parts[0], seed ^ 1, small);
        let kept = x.clone();
        x.add_assign(&y).unwrap();
        same(&x, &Naive::from_fn(&result, |i| nx.at(i) + ny.at_broadcast(i)));
        same(&kept, &nx);
        // To itself, which is then shared for a moment.
        let itself = x.clone();
        x += &itself;
        same(&x, &Naive::from_fn(&result, |i| 2 * (nx.at(i) + ny.at_broadcast(i))));
    }

    /// Casts agree with Rust's `as`, through every integer exactly, where the value fits; where it does not they are errors.
    #[test]
    fn casts_are_exact(values in prop::collection::vec(prop_oneof![any::<i64>(), -300..300i64, Just(i64::MAX), Just(i64::MIN)], 0..20)) {
        let n = values.len();
        let x = Tensor::from_vec(values.clone(), [n]).unwrap();
        prop_assert_eq!(x.cast::<i64>().unwrap().to_vec(), values.clone());
        prop_assert_eq!(x.cast::<f64>().unwrap().to_vec(), values.iter().map(|&v| v as f64).collect::<Vec<_>>());
        prop_assert_eq!(x.cast::<f32>().unwrap().to_vec(), values.iter().map(|&v| v as f32).collect::<Vec<_>>());
        let within = |high: i64| values.iter().all(|&v| (0..=high).contains(&v));
        prop_assert_eq!(x.cast::<u8>().map(|x| x.to_vec()).ok(), within(255).then(|| values.iter().map(|&v| v as u8).collect::<Vec<_>>()));
        prop_assert_eq!(x.cast::<u32>().map(|x| x.to_vec()).ok(), within(u32::MAX.into()).then(|| values.iter().map(|&v| v as u32).collect::<Vec<_>>()));
        prop_assert_eq!(x.cast::<bool>().unwrap().to_vec(), values.iter().map(|&v| v != 0).collect::<Vec<_>>());
        let floats = x.cast::<f64>().unwrap();
        // The largest become 2⁶³, which does not fit.
        let fits = values.iter().all(|&v| (v as f64) < 9.223_372_036_854_776e18);
        prop_assert_eq!(floats.cast::<i64>().map(|x| x.to_vec()).ok(), fits.then(|| values.iter().map(|&v| v as f64 as i64).collect::<Vec<_>>()));
    }
}

#[test]
fn special_values_follow_ieee() {
    let nan = f64::NAN;
    for x in [nan, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1e-310, -1e-310, 1e300, -1e300] {
        for (name, narrow, wide, reference) in all_functions() {
            let want = reference(x);
            // Where the textbook formula itself is ∞/∞ or 0·∞, the limit is what counts.
            let want = match (name, x) {
                ("silu" | "gelu" | "gelu_tanh", x) if x == f64::NEG_INFINITY => f64::NAN_OR_ZERO,
                _ => want,
            };
            for got in [
                wide(&Tensor::scalar(x)).item().unwrap(),
                f64::from(narrow(&Tensor::scalar(x as f32)).item().unwrap()),
            ] {
                let want32 = f64::from(reference(f64::from(x as f32)) as f32);
                let fits = |want: f64| {
                    got == want || got.is_nan() && want.is_nan() || (got - want).abs() <= 1e-6 * want.abs()
                };
                let limit = want == f64::NAN_OR_ZERO && (got.is_nan() || got == 0.0);
                assert!(fits(want) || fits(want32) || limit, "{name}({x}): {got} for {want}");
            }
        }
    }
    let (a, b) = (
        Tensor::from_vec(vec![nan, 1.0, nan], [3]).unwrap(),
        Tensor::from_vec(vec![1.0, nan, nan], [3]).unwrap(),
    );
    assert!(a.maximum(&b).unwrap().iter().all(f64::is_nan));
    assert!(a.minimum(&b).unwrap().iter().all(f64::is_nan));
    assert_ne!(a, a.clone(), "NaN equals nothing");
    assert_eq!(a.eq(&a).unwrap().to_vec(), [false, true, false]);
    assert!(Tensor::scalar(nan).clamp(0.0, 1.0).unwrap().item().unwrap().is_nan());
    assert!(Tensor::scalar(nan).relu().unwrap().item().unwrap().is_nan());
}

trait NanOrZero {
    /// A marker that no function gives.
    const NAN_OR_ZERO: f64 = -12_345.678;
}
impl NanOrZero for f64 {}

#[test]
fn bounds_that_make_no_sense() {
    let x = Tensor::from_vec(vec![1.0, 5.0], [2]).unwrap();
    for (low, high) in [(3.0, 2.0), (f64::NAN, 1.0), (0.0, f64::NAN), (f64::INFINITY, 0.0)] {
        assert!(matches!(x.clamp(low, high), Err(Error::BadSetting { op: "clamp", .. })), "{low} {high}");
    }
    assert_eq!(x.clamp(2.0, 2.0).unwrap().to_vec(), [2.0; 2]);
    assert_eq!(x.clamp(f64::NEG_INFINITY, f64::INFINITY).unwrap(), x);
}

#[test]
fn integers_neither_wrap_nor_panic() {
    let overflow = |result: Result<Tensor<i64>, Error>, name: &str| match result {
        Err(Error::IntegerOverflow { op, .. }) => assert_eq!(op, name),
        other => panic!("{name}: {other:?}"),
    };
    let (max, min) = (Tensor::scalar(i64::MAX), Tensor::scalar(i64::MIN));
    let (one, minus) = (Tensor::scalar(1), Tensor::scalar(-1));
    overflow(max.add(&one), "add");
    overflow(min.sub(&one), "sub");
    overflow(max.mul(&max), "mul");
    overflow(min.div(&minus), "div");
    overflow(one.div(&Tensor::scalar(0)), "div");
    overflow(min.neg(), "neg");
    overflow(min.abs(), "abs");
    overflow(max.square(), "square");
    overflow(max.scale(2), "scale");
    overflow(Tensor::from_vec(vec![i64::MAX, 1], [2]).unwrap().sum(0), "sum");
    overflow(Tensor::from_vec(vec![i64::MAX, 2], [2]).unwrap().prod(0), "prod");
    overflow(max.clone().add_assign(&one).map(|()| max.clone()), "add_assign");
    let mut row = max.reshape([1]).unwrap();
    overflow(row.index_add(&[0], &one.reshape([1]).unwrap()).map(|()| max.clone()), "index_add");
    let byte = |x: u8| Tensor::scalar(x);
    assert_eq!(byte(200).add(&byte(55)).unwrap().item().unwrap(), 255);
    assert!(byte(200).add(&byte(56)).is_err());
    assert!(byte(1).sub(&byte(2)).is_err());
    assert!(byte(1).neg().is_err());
    assert_eq!(byte(0).neg().unwrap().item().unwrap(), 0);
    assert!(Tensor::scalar(u32::MAX).add(&Tensor::scalar(1)).is_err());
    // Deep in a long tensor, over several threads.
    let mut long = vec![1i64; 300_000];
    long[299_999] = i64::MAX;
    let long = Tensor::from_vec(long, [300_000]).unwrap();
    overflow(long.add(&one), "add");
    overflow(long.sum(..), "sum");
}

#[test]
fn long_tensors_take_every_path() {
    // Longer than a task, with a remainder, plain, strided and repeated.
    let n = 100_003;
    let x = Tensor::build([n, 2], |out: &mut [f32]| {
        for (i, x) in out.iter_mut().enumerate() {
            *x = (i % 1000) as f32;
        }
    })
    .unwrap();
    let column = x.index(1, 1).unwrap();
    let doubled = column.add(&column).unwrap();
    let scaled = column.scale(2.0).unwrap();
    let row = x.mul(&Tensor::from_vec(vec![1.0, 2.0], [2]).unwrap()).unwrap().index(1, 1).unwrap();
    for i in (0..n).step_by(977).chain([n - 1]) {
        let want = 2.0 * ((2 * i + 1) % 1000) as f32;
        assert_eq!(doubled.get(&[i]).unwrap(), want);
        assert_eq!(scaled.get(&[i]).unwrap(), want);
        assert_eq!(row.get(&[i]).unwrap(), want);
    }
    let big = column.gt(&Tensor::scalar(500.0)).unwrap();
    let chosen = big.select(&column, &Tensor::scalar(-1.0)).unwrap();
    for i in 0..n {
        let v = ((2 * i + 1) % 1000) as f32;
        assert_eq!(chosen.get(&[i]).unwrap(), if v > 500.0 { v } else { -1.0 });
    }
}

/// Angles of all sizes, in order and strided: both paths, and blocks that hold a large one, give the same.
#[test]
fn waves_of_every_angle() {
    let angles: Vec<f32> = (0..3000u32)
        .map(|i| match i {
            700 => f32::INFINITY,
            701 => f32::NAN,
            _ if i < 1000 => (i as f32 - 500.0) * 37.3,
            _ => f32::from_bits(i.wrapping_mul(0x9e37_79b9)),
        })
        .collect();
    let x = Tensor::from_vec(angles.clone(), [3000]).unwrap();
    let spread = Tensor::stack(&[&x, &x], 1).unwrap().narrow(1, 0, 1).unwrap();
    type Case = (fn(&Tensor<f32>) -> cairn_tensor::Result<Tensor<f32>>, fn(f64) -> f64);
    let cases: [Case; 2] = [(|x| x.sin(), f64::sin), (|x| x.cos(), f64::cos)];
    for (function, exact) in cases {
        let (y, strided) = (function(&x).unwrap(), function(&spread).unwrap());
        for ((&x, y), z) in angles.iter().zip(y.iter()).zip(strided.iter()) {
            let want = exact(f64::from(x));
            assert!(
                (f64::from(y) - want).abs() <= 6e-8 || want.is_nan() && y.is_nan(),
                "{x}: {y} for {want}"
            );
            assert_eq!(y.to_bits(), z.to_bits(), "{x}");
        }
    }
}

proptest! {
    #[test]
    fn truth_values_combine(shape in shapes(), seed: u64) {
        let (a, na) = view(&shape, seed, RngExt::random::<bool>);
        let (b, nb) = view(&shape, seed ^ 1, RngExt::random::<bool>);
        let zip = |f: fn(bool, bool) -> bool| Naive::from_fn(&shape, |i| f(na.at(i), nb.at(i)));
        same(&a.and(&b).unwrap(), &zip(|a, b| a && b));
        same(&a.or(&b).unwrap(), &zip(|a, b| a || b));
        same(&a.xor(&b).unwrap(), &zip(|a, b| a != b));
    }
}
