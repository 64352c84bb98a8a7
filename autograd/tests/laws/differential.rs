//! Values and gradients of operations on random cases against PyTorch's, which `tests/golden/differential.py` made and says how.
//!
//! One case of each is stored and always compared. Many more, from another seed, are compared by
//! `CAIRN_DIFFERENTIAL=FILE cargo test --release -p cairn-autograd --test laws differential -- --nocapture`, which prints a table.
//! Every input is also given as a view of another order in memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cairn_autograd::{RecurrentVars, Result, Var};
use cairn_tensor::{
    AttentionOptions, Causal, NpzReader, Pool, Recurrence, RecurrentOptions, Returns, Tensor, Window,
};

/// An operation on the inputs of a case and its whole numbers.
type Operation = fn(&[Var<f64>], &[i64]) -> Result<Var<f64>>;

const OPERATIONS: &[(&str, Operation)] = &[
    ("exp", |x, _| x[0].exp()),
    ("expm1", |x, _| x[0].expm1()),
    ("tanh", |x, _| x[0].tanh()),
    ("sigmoid", |x, _| x[0].sigmoid()),
    ("abs", |x, _| x[0].abs()),
    ("square", |x, _| x[0].square()),
    ("sin", |x, _| x[0].sin()),
    ("cos", |x, _| x[0].cos()),
    ("erf", |x, _| x[0].erf()),
    ("relu", |x, _| x[0].relu()),
    ("neg", |x, _| x[0].neg()),
    ("floor", |x, _| x[0].floor()),
    ("sign", |x, _| x[0].sign()),
    ("sqrt", |x, _| x[0].sqrt()),
    ("rsqrt", |x, _| x[0].rsqrt()),
    ("log", |x, _| x[0].log()),
    ("log1p", |x, _| x[0].log1p()),
    ("recip", |x, _| x[0].recip()),
    ("softplus", |x, _| x[0].softplus()),
    ("silu", |x, _| x[0].silu()),
    ("gelu", |x, _| x[0].gelu()),
    ("selu", |x, _| x[0].selu()),
    ("gelu_tanh", |x, _| x[0].gelu_tanh()),
    ("leaky_relu", |x, _| x[0].leaky_relu(0.3)),
    ("elu", |x, _| x[0].elu(0.7)),
    ("clamp", |x, _| x[0].clamp(-0.5, 1.5)),
    ("powf", |x, _| x[0].powf(2.5)),
    ("add", |x, _| x[0].add(&x[1])),
    ("sub", |x, _| x[0].sub(&x[1])),
    ("mul", |x, _| x[0].mul(&x[1])),
    ("div", |x, _| x[0].div(&x[1])),
    ("pow", |x, _| x[0].pow(&x[1])),
    ("maximum", |x, _| x[0].maximum(&x[1])),
    ("minimum", |x, _| x[0].minimum(&x[1])),
    ("sum", |x, how| x[0].sum(at(how, 0))),
    ("mean", |x, how| x[0].mean(at(how, 0))),
    ("max", |x, how| x[0].max(at(how, 0))),
    ("min", |x, how| x[0].min(at(how, 0))),
    ("prod", |x, how| x[0].prod(at(how, 0))),
    ("logsumexp", |x, how| x[0].logsumexp(at(how, 0))),
    ("norm", |x, how| x[0].norm(at(how, 0))),
    ("var", |x, how| x[0].var(at(how, 0), 0)),
    ("softmax", |x, how| x[0].softmax(at(how, 0))),
    ("log_softmax", |x, how| x[0].log_softmax(at(how, 0))),
    ("cumsum", |x, how| x[0].cumsum(at(how, 0))),
    ("cumprod", |x, how| x[0].cumprod(at(how, 0))),
    ("flip", |x, how| x[0].flip(at(how, 0))),
    ("sort", |x, how| Ok(x[0].sort(at(how, 0), false)?.0)),
    ("topk", |x, how| Ok(x[0].topk(1, at(how, 0))?.0)),
    ("matmul", |x, _| x[0].matmul(&x[1])),
    ("linear", |x, _| x[0].linear(&x[1], Some(&x[2]), false)),
    ("conv2d", |x, how| {
        let window = Window::default().stride(pair(how, 0)).padding(pair(how, 2)).dilation(pair(how, 4));
        x[0].conv2d(&x[1], Some(&x[2]), false, &window, at(how, 6))
    }),
    ("conv_transpose2d", |x, how| {
        let window = Window::default().stride(pair(how, 0));
        x[0].conv_transpose2d(&x[1], Some(&x[2]), &window, pair(how, 2), 1)
    }),
    ("max_pool2d", |x, how| x[0].max_pool2d(&pool(how))),
    ("avg_pool2d", |x, how| x[0].avg_pool2d(&pool(how))),
    ("layer_norm", |x, _| x[0].layer_norm(&x[1], &x[2], 1e-3)),
    ("rms_norm", |x, _| x[0].rms_norm(&x[1], 1e-3)?.add(&x[2])),
    ("group_norm", |x, how| x[0].group_norm(at(how, 0), &x[1], &x[2], 1e-3)),
    ("batch_norm", |x, _| Ok(x[0].batch_norm(&x[1], &x[2], 1e-3)?.0)),
    ("cross_entropy", |x, how| x[0].cross_entropy(&ids(how))?.mean(..)),
    ("index_select", |x, how| x[0].index_select(at(how, 0), &ids(&how[1..]).to_vec())),
    ("lookup", |x, how| x[0].lookup(&ids(how))),
    ("pad", |x, how| {
        let widths: Vec<_> = how.chunks(2).map(|pair| (at(pair, 0), at(pair, 1))).collect();
        x[0].pad(&widths, 0.5)
    }),
    ("cat", |x, how| Var::cat(&[&x[0], &x[1]], at(how, 0))),
    ("tril", |x, how| x[0].tril(how[0] as isize - 2)),
    ("triu", |x, how| x[0].triu(how[0] as isize - 2)),
    ("attention", |x, _| x[0].attention(&x[1], &x[2], None, &AttentionOptions::default())),
    ("attention_causal", |x, _| {
        x[0].attention(&x[1], &x[2], None, &AttentionOptions::default().causal(Causal::TopLeft))
    }),
    ("lstm", |x, _| {
        let vars = RecurrentVars {
            weight: &x[1],
            recurrent_weight: &x[2],
            bias: Some(&x[3]),
            hidden: None,
            cell: None,
        };
        x[0].recurrent(
            Recurrence::Lstm,
            vars,
            &RecurrentOptions { returns: Returns::Steps, ..Default::default() },
        )
    }),
    #[cfg(feature = "linalg")]
    ("det", |x, _| x[0].det()),
    #[cfg(feature = "linalg")]
    ("inverse", |x, _| x[0].inverse()),
    #[cfg(feature = "linalg")]
    ("cholesky", |x, _| x[0].cholesky()),
];

fn at(how: &[i64], i: usize) -> usize {
    how[i] as usize
}

fn pair(how: &[i64], i: usize) -> [usize; 2] {
    [at(how, i), at(how, i + 1)]
}

fn pool(how: &[i64]) -> Pool {
    Pool::sliding(pair(how, 0), Window::default().stride(pair(how, 2)))
}

fn ids(how: &[i64]) -> Tensor<u32> {
    Tensor::from_vec(how.iter().map(|&id| id as u32).collect(), [how.len()]).unwrap()
}

/// The largest difference of two tensors, as a share of the largest value of the second and of 1e-3.
fn deviation(got: &Tensor<f64>, want: &Tensor<f64>, what: &str) -> f64 {
    assert_eq!(got.shape(), want.shape(), "{what}");
    let scale = want.iter().fold(1e-3f64, |most, x| most.max(x.abs()));
    got.iter().zip(want.iter()).fold(0.0f64, |most, (a, b)| {
        // A NaN on one side alone is the largest deviation there is.
        if a.is_nan() && b.is_nan() || a == b { most } else { most.max(((a - b) / scale).abs().min(1e9)) }
    })
}

/// The same values, in memory in the order of the axes reversed.
fn turned(x: &Tensor<f64>) -> Tensor<f64> {
    let reversed: Vec<usize> = (0..x.rank()).rev().collect();
    let copy =
        Tensor::from_vec(x.permute(&reversed).unwrap().to_vec(), x.permute(&reversed).unwrap().shape())
            .unwrap();
    copy.permute(&reversed).unwrap()
}

fn compare(file: &mut NpzReader, name: &str, case: &str, count: usize, operation: Operation) -> f64 {
    let how = file.read::<i64>(&format!("{case}/how")).unwrap().to_vec();
    let mut read = |what: String| file.read::<f64>(&format!("{case}/{what}")).unwrap();
    let (y, g) = (read("y".into()), read("g".into()));
    let inputs: Vec<_> = (0..count).map(|i| (read(format!("x{i}")), read(format!("d{i}")))).collect();
    let mut most = 0.0f64;
    for order in [Tensor::clone, turned] {
        let vars: Vec<_> = inputs.iter().map(|(x, _)| Var::parameter(order(x))).collect();
        let found = operation(&vars, &how).unwrap_or_else(|error| panic!("{case}: {error}"));
        most = most.max(deviation(found.value(), &y, &format!("{case}: y")));
        let gradients = found.mul(&Var::constant(g.clone())).unwrap().sum(..).unwrap().backward().unwrap();
        for (i, (var, (_, want))) in vars.iter().zip(&inputs).enumerate() {
            let got = gradients.of(var).unwrap_or_else(|_| Tensor::zeros(want.shape()).unwrap());
            most = most.max(deviation(&got, want, &format!("{case}: gradient {i} of {name}")));
        }
    }
    most
}

#[test]
fn random_cases_equal_pytorch() {
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/differential.npz");
    let many = std::env::var_os("CAIRN_DIFFERENTIAL").map(PathBuf::from);
    for path in [Some(stored), many].into_iter().flatten() {
        let mut file = NpzReader::open(path).unwrap();
        // The cases of each operation, with the number of their inputs.
        let mut cases: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        for array in file.names() {
            let (case, what) = array.rsplit_once('/').unwrap();
            let of = cases.entry(case.split('/').next().unwrap().to_owned()).or_default();
            *of.entry(case.to_owned()).or_default() += usize::from(what.starts_with('x'));
        }
        let mut table = BTreeMap::new();
        for (name, operation) in OPERATIONS {
            let cases = &cases[*name];
            let deviations =
                cases.iter().map(|(case, &count)| compare(&mut file, name, case, count, *operation));
            table.insert(*name, (cases.len(), deviations.fold(0.0, f64::max)));
        }
        for (name, (cases, most)) in &table {
            println!("{name:<18} {cases:>6} cases, {most:.1e} at most");
        }
        let far: Vec<_> = table.iter().filter(|(_, (_, most))| *most > 1e-10).collect();
        assert!(far.is_empty(), "{far:?}");
    }
}
