//! Every operation's derivative against central differences, over random shapes, strides and broadcasts.

use cairn_autograd::{Gradient, Result, Var, gradcheck};
use cairn_tensor::{Axes, Rng, Tensor, rng};
use proptest::prelude::*;

/// Values laid out in one of several ways: in order, transposed, or a slice of a larger tensor.
fn laid_out(shape: &[usize], layout: usize, values: impl FnOnce(Vec<usize>) -> Tensor<f64>) -> Tensor<f64> {
    let mut stored = shape.to_vec();
    let last = stored.len().wrapping_sub(1);
    match (layout % 3, shape.len()) {
        (1, 2..) => {
            stored.swap(last - 1, last);
            values(stored).t().unwrap()
        }
        (2, 1..) => {
            stored[last] += 2;
            values(stored).narrow(last, 1, shape[last]).unwrap()
        }
        _ => values(stored),
    }
}

/// Values from a uniform distribution.
fn tensor(shape: &[usize], low: f64, high: f64, rng: &mut Rng, layout: usize) -> Tensor<f64> {
    laid_out(shape, layout, |shape| Tensor::uniform(shape, low, high, rng).unwrap())
}

/// Values at which no two elements are so near each other that differences straddle a tie: the interval is cut into
/// `count` parts, and each element stands in a part of its own, at `place` of its width. Two such tensors with one `count` and other
/// places share no value either.
fn apart(
    shape: &[usize],
    (low, high): (f64, f64),
    (place, count): (f64, usize),
    rng: &mut Rng,
    layout: usize,
) -> Tensor<f64> {
    laid_out(shape, layout, |shape| {
        let order = Tensor::<u32>::permutation(shape.iter().product(), rng).unwrap();
        let values =
            order.iter().map(|k| low + (high - low) * (f64::from(k) + place) / count as f64).collect();
        Tensor::from_vec(values, shape).unwrap()
    })
}

/// As many elements as the largest tensor of these laws has, with what a slice leaves out.
const ELEMENTS: usize = 3 * 3 * (3 + 2);

fn shape() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1..4usize, 0..4)
}

/// Two shapes that broadcast to one.
fn broadcast_pair() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
    prop::collection::vec((1..4usize, 0..4u8), 0..4).prop_flat_map(|axes| {
        let a: Vec<usize> = axes.iter().map(|&(n, kind)| if kind == 1 { 1 } else { n }).collect();
        let b: Vec<usize> = axes.iter().map(|&(n, kind)| if kind == 2 { 1 } else { n }).collect();
        let (missing_a, missing_b) = (0..=a.len(), 0..=b.len());
        (Just(a), Just(b), missing_a, missing_b, any::<bool>()).prop_map(|(a, b, i, j, left)| {
            // Only one side may lose leading axes.
            if left { (a[i..].to_vec(), b) } else { (a, b[j..].to_vec()) }
        })
    })
}

type Function = fn(&Var<f64>) -> Result<Var<f64>>;

/// Name, function, and an interval free of kinks.
const FUNCTIONS: &[(&str, Function, f64, f64)] = &[
    ("neg", Var::neg, -2.0, 2.0),
    ("relu above", Var::relu, 0.1, 2.0),
    ("relu below", Var::relu, -2.0, -0.1),
    ("exp", Var::exp, -2.0, 2.0),
    ("expm1", Var::expm1, -2.0, 2.0),
    ("sqrt", Var::sqrt, 0.5, 3.0),
    ("rsqrt", Var::rsqrt, 0.5, 3.0),
    ("recip", Var::recip, 0.5, 3.0),
    ("tanh", Var::tanh, -2.0, 2.0),
    ("sigmoid", Var::sigmoid, -3.0, 3.0),
    ("abs above", Var::abs, 0.1, 2.0),
    ("abs below", Var::abs, -2.0, -0.1),
    ("square", Var::square, -2.0, 2.0),
    ("log", Var::log, 0.5, 3.0),
    ("log1p", Var::log1p, -0.5, 3.0),
    ("sin", Var::sin, -3.0, 3.0),
    ("cos", Var::cos, -3.0, 3.0),
    ("erf", Var::erf, -2.0, 2.0),
    ("softplus", Var::softplus, -4.0, 4.0),
    ("silu", Var::silu, -3.0, 3.0),
    ("gelu", Var::gelu, -3.0, 3.0),
    ("gelu_tanh", Var::gelu_tanh, -3.0, 3.0),
    ("selu above", Var::selu, 0.1, 2.0),
    ("selu below", Var::selu, -2.0, -0.1),
    ("leaky_relu above", |x| x.leaky_relu(0.2), 0.1, 2.0),
    ("leaky_relu below", |x| x.leaky_relu(0.2), -2.0, -0.1),
    ("elu above", |x| x.elu(0.7), 0.1, 2.0),
    ("elu below", |x| x.elu(0.7), -2.0, -0.1),
    ("clamp inside", |x| x.clamp(-1.0, 1.0), -0.9, 0.9),
    ("clamp outside", |x| x.clamp(-1.0, 1.0), 1.1, 2.0),
    ("powf", |x| x.powf(2.5), 0.5, 2.0),
    ("floor", Var::floor, 0.1, 0.9),
    ("round", Var::round, 0.6, 1.4),
    ("sign above", Var::sign, 0.1, 2.0),
    ("sign below", Var::sign, -2.0, -0.1),
    ("scale", |x| x.scale(-1.5), -2.0, 2.0),
];

type Pair = fn(&Var<f64>, &Var<f64>) -> Result<Var<f64>>;
const PAIRS: &[(&str, Pair)] = &[
    ("add", Var::add),
    ("sub", Var::sub),
    ("mul", Var::mul),
    ("div", Var::div),
    ("pow", Var::pow),
    ("maximum", Var::maximum),
    ("minimum", Var::minimum),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn functions(shape in shape(), seed: u64, layout: usize) {
        for (name, function, low, high) in FUNCTIONS {
            let x = tensor(&shape, *low, *high, &mut rng(seed), layout);
            gradcheck(&[x], |x| function(&x[0])).map_err(|error| TestCaseError::fail(format!("{name}: {error}")))?;
        }
    }

    #[test]
    fn pairs((a, b) in broadcast_pair(), seed: u64, layout: usize) {
        let mut rng = rng(seed);
        // The larger and the smaller of two have their kinks where both are equal.
        let inputs = [
            apart(&a, (0.5, 2.0), (0.25, ELEMENTS), &mut rng, layout),
            apart(&b, (0.5, 2.0), (0.75, ELEMENTS), &mut rng, layout / 3),
        ];
        for (name, function) in PAIRS {
            gradcheck(&inputs, |x| function(&x[0], &x[1])).map_err(|error| TestCaseError::fail(format!("{name}: {error}")))?;
        }
        // The same variable on both sides collects both gradients.
        gradcheck(&inputs[..1], |x| x[0].mul(&x[0])?.add(&x[0]))?;
    }

    #[test]
    fn select((a, b) in broadcast_pair(), seed: u64) {
        let mut rng = rng(seed);
        let inputs = [tensor(&a, -1.0, 1.0, &mut rng, 0), tensor(&b, -1.0, 1.0, &mut rng, 0)];
        let condition = inputs[0].gt(&Tensor::scalar(0.0)).unwrap();
        gradcheck(&inputs, |x| Var::select(&condition, &x[0], &x[1]))?;
    }

    #[test]
    fn reductions(shape in prop::collection::vec(1..4usize, 1..4), axis: prop::sample::Index, seed: u64, layout: usize) {
        // Maxima and minima have their kinks where two elements are equal.
        let x = [apart(&shape, (0.5, 2.0), (0.5, ELEMENTS), &mut rng(seed), layout)];
        let axis = axis.index(shape.len());
        gradcheck(&x, |x| x[0].sum(axis))?;
        gradcheck(&x, |x| x[0].sum_keepdim(axis))?;
        gradcheck(&x, |x| x[0].mean(axis))?;
        gradcheck(&x, |x| x[0].mean_keepdim([0]))?;
        gradcheck(&x, |x| x[0].max(axis))?;
        gradcheck(&x, |x| x[0].min(axis))?;
        gradcheck(&x, |x| x[0].prod(axis))?;
        gradcheck(&x, |x| x[0].sum(..))?;
        gradcheck(&x, |x| x[0].mean(..))?;
        gradcheck(&x, |x| x[0].max(..))?;
        gradcheck(&x, |x| x[0].softmax(axis))?;
        gradcheck(&x, |x| x[0].log_softmax(axis))?;
        gradcheck(&x, |x| x[0].logsumexp(axis))?;
        gradcheck(&x, |x| x[0].logsumexp(..)?.square())?;
        gradcheck(&x, |x| x[0].logsumexp_keepdim(axis)?.square())?;
        // Over the first and the last axis at once.
        let ends = if shape.len() == 1 { Axes::from(0) } else { Axes::from([0, -1]) };
        gradcheck(&x, |x| x[0].sum(&ends)?.square())?;
        gradcheck(&x, |x| x[0].mean(&ends)?.square())?;
        gradcheck(&x, |x| x[0].prod(&ends))?;
        gradcheck(&x, |x| x[0].max(&ends)?.square())?;
        gradcheck(&x, |x| x[0].min(&ends)?.square())?;
        gradcheck(&x, |x| x[0].norm(&ends))?;
        gradcheck(&x, |x| x[0].var(&ends, 0))?;
        gradcheck(&x, |x| x[0].logsumexp(&ends)?.square())?;
        gradcheck(&x, |x| x[0].softmax(-1)?.t_or_self()?.log())?;
    }

    #[test]
    fn views(shape in prop::collection::vec(1..4usize, 2..4), seed: u64, layout: usize) {
        let x = [tensor(&shape, -1.0, 1.0, &mut rng(seed), layout)];
        let last = shape[shape.len() - 1];
        let count: usize = shape.iter().product();
        gradcheck(&x, |x| x[0].reshape([count]))?;
        gradcheck(&x, |x| x[0].flatten(1))?;
        gradcheck(&x, |x| x[0].t())?;
        gradcheck(&x, |x| x[0].transpose(0, -1)?.square())?;
        gradcheck(&x, |x| x[0].unsqueeze(1)?.square()?.squeeze(1))?;
        gradcheck(&x, |x| x[0].broadcast_to([&[2][..], &shape].concat()))?;
        gradcheck(&x, |x| x[0].narrow(-1, last - 1, 1))?;
        gradcheck(&x, |x| x[0].narrow(0, 0, shape[0])?.square())?;
        gradcheck(&x, |x| x[0].index(-1, last / 2))?;
        gradcheck(&x, |x| x[0].index(0, shape[0] - 1))?;
        if shape.len() == 3 {
            gradcheck(&x, |x| x[0].permute([2, 0, 1])?.square())?;
            gradcheck(&x, |x| x[0].permute([-1, 1, 0]))?;
        }
    }

    #[test]
    fn joins(rows in prop::collection::vec(1..4usize, 1..4), columns in 1..4usize, seed: u64) {
        let mut rng = rng(seed);
        let parts: Vec<_> = rows.iter().map(|&n| tensor(&[n, columns], -1.0, 1.0, &mut rng, n)).collect();
        gradcheck(&parts, |x| Var::cat(&x.iter().collect::<Vec<_>>(), 0)?.square())?;
        let alike: Vec<_> = rows.iter().map(|_| tensor(&[2, columns], -1.0, 1.0, &mut rng, 1)).collect();
        gradcheck(&alike, |x| Var::cat(&x.iter().collect::<Vec<_>>(), -1))?;
        gradcheck(&alike, |x| Var::stack(&x.iter().collect::<Vec<_>>(), 1)?.square())?;
    }

    #[test]
    fn products(m in 1..4usize, k in 1..4usize, n in 1..4usize, batch in 1..3usize, seed: u64, layout: usize) {
        let mut rng = rng(seed);
        let mut pair = |a: &[usize], b: &[usize]| {
            [tensor(a, -1.0, 1.0, &mut rng, layout), tensor(b, -1.0, 1.0, &mut rng, layout / 3)]
        };
        for (a, b) in [
            (vec![m, k], vec![k, n]),
            (vec![batch, m, k], vec![k, n]),
            (vec![batch, m, k], vec![batch, k, n]),
            (vec![m, k], vec![batch, k, n]),
            (vec![2, 1, m, k], vec![batch, k, n]),
            (vec![k], vec![k, n]),
            (vec![m, k], vec![k]),
            (vec![k], vec![k]),
            (vec![batch, m, k], vec![k]),
            (vec![k], vec![batch, k, n]),
        ] {
            gradcheck(&pair(&a, &b), |x| x[0].matmul(&x[1]))
                .map_err(|error| TestCaseError::fail(format!("{a:?} by {b:?}: {error}")))?;
        }
    }

    #[test]
    fn linear(batch in 1..4usize, k in 1..4usize, n in 1..4usize, seed: u64, layout: usize) {
        let mut rng = rng(seed);
        for x in [vec![batch, k], vec![batch, 2, k], vec![k]] {
            let inputs = [
                tensor(&x, -1.0, 1.0, &mut rng, layout),
                tensor(&[k, n], -1.0, 1.0, &mut rng, layout / 3),
                tensor(&[n], -1.0, 1.0, &mut rng, layout / 9),
            ];
            gradcheck(&inputs, |x| x[0].linear(&x[1], Some(&x[2]), false))?;
            gradcheck(&inputs[..2], |x| x[0].linear(&x[1], None, false))?;
            // With a ReLU, unless an element is so near the kink that differences straddle it.
            let before = inputs[0].linear(&inputs[1], Some(&inputs[2]), false).unwrap();
            if before.iter().all(|y| y.abs() > 1e-3) {
                gradcheck(&inputs, |x| x[0].linear(&x[1], Some(&x[2]), true))?;
            }
        }
    }

    #[test]
    fn cross_entropy(rows in 1..5usize, classes in 1..5usize, seed: u64, layout: usize) {
        let mut rng = rng(seed);
        let logits = [tensor(&[rows, classes], -3.0, 3.0, &mut rng, layout)];
        let labels = Tensor::<f64>::uniform([rows], 0.0, classes as f64, &mut rng).unwrap().cast::<u32>().unwrap();
        gradcheck(&logits, |x| x[0].cross_entropy(&labels))?;
        gradcheck(&logits, |x| x[0].softmax(-1)?.cross_entropy(&labels)?.mean(..))?;
    }

    /// The sparse gradient is the dense one of the same lookup as a product with one-hot rows.
    #[test]
    fn lookup(ids in prop::collection::vec(0..5u32, 1..12), seed: u64) {
        let table = tensor(&[5, 3], -1.0, 1.0, &mut rng(seed), 0);
        let n = ids.len();
        let ids = Tensor::from_vec(ids, [n]).unwrap();
        gradcheck(std::slice::from_ref(&table), |x| x[0].lookup(&ids)?.square())?;
        gradcheck(std::slice::from_ref(&table), |x| x[0].lookup(&ids)?.sum(0)?.add(&x[0].sum(0)?))?;
        gradcheck(&[table], |x| Ok(x[0].lookup(&ids)?.sum(..)? + x[0].lookup(&ids)?.square()?.sum(..)?))?;
    }
}

trait Transposed: Sized {
    fn t_or_self(&self) -> Result<Self>;
}
impl Transposed for Var<f64> {
    fn t_or_self(&self) -> Result<Self> {
        if self.shape().len() < 2 { Ok(self.clone()) } else { self.t() }
    }
}

#[test]
fn equal_maxima_share_the_gradient() {
    let x = Var::parameter(Tensor::from_vec(vec![1.0, 3.0, 3.0, 2.0], [4]).unwrap());
    let gradients = x.max(..).unwrap().backward().unwrap();
    assert_eq!(gradients.of(&x).unwrap().to_vec(), [0.0, 0.5, 0.5, 0.0]);
    let y = Var::parameter(x.value().clone());
    let gradients = x.maximum(&y).unwrap().sum(..).unwrap().backward().unwrap();
    assert_eq!(gradients.of(&y).unwrap().to_vec(), [0.5; 4]);
}

#[test]
fn a_power_of_nought_is_constant_at_zero_too() {
    let (x, nought) = (Var::parameter(Tensor::<f64>::zeros([2]).unwrap()), Tensor::zeros([2]).unwrap());
    for y in [x.powf(0.0).unwrap(), x.pow(&Var::constant(nought)).unwrap()] {
        assert_eq!(y.value().to_vec(), [1.0; 2]);
        assert_eq!(y.sum(..).unwrap().backward().unwrap().of(&x).unwrap().to_vec(), [0.0; 2]);
    }
}

#[test]
fn products_with_zeros_are_differentiated_exactly() {
    for (values, expected) in [
        (vec![2.0, 3.0, 4.0], vec![12.0, 8.0, 6.0]),
        (vec![2.0, 0.0, 4.0], vec![0.0, 8.0, 0.0]),
        (vec![0.0, 0.0, 4.0], vec![0.0, 0.0, 0.0]),
    ] {
        let x = Var::parameter(Tensor::from_vec(values, [3]).unwrap());
        assert_eq!(x.prod(0).unwrap().backward().unwrap().of(&x).unwrap().to_vec(), expected);
    }
}

#[test]
fn a_lookup_gradient_meets_a_dense_one() {
    let table = Var::parameter(Tensor::<f64>::ones([4, 2]).unwrap());
    let ids = Tensor::from_vec(vec![3, 1, 3], [3]).unwrap();
    let sparse = table.lookup(&ids).unwrap().sum(..).unwrap();
    let loss = sparse.add(&table.square().unwrap().sum(..).unwrap()).unwrap();
    let gradients = loss.backward().unwrap();
    assert!(matches!(gradients.get(&table), Some(Gradient::Dense(_))));
    assert_eq!(gradients.of(&table).unwrap().to_vec(), [2.0, 2.0, 3.0, 3.0, 2.0, 2.0, 4.0, 4.0]);
}

#[test]
fn a_wrong_derivative_is_found() {
    let wrong = |x: &Var<f64>| {
        let value = x.value().square()?;
        Ok(Var::from_op("wrong", value, [x], |g, [_]| Ok([Some(Gradient::Dense(g.clone()))])))
    };
    let x = Tensor::from_vec(vec![0.5, 2.0], [2]).unwrap();
    let error = gradcheck(&[x], |x| wrong(&x[0])).unwrap_err();
    assert!(matches!(error, cairn_autograd::Error::GradientMismatch { input: 0, element: 1, .. }), "{error}");
}
