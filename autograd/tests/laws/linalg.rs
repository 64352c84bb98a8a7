//! Derivatives of linear algebra against central differences, where they exist, and what happens where they do not.

use cairn_autograd::{Result, Var, gradcheck};
use cairn_tensor::{Tensor, rng};
use proptest::prelude::*;

fn normal(shape: &[usize], seed: u64) -> Tensor<f64> {
    Tensor::normal(shape, 0.0, 0.5, &mut rng(seed)).unwrap()
}

/// With singular values and eigenvalues well apart: random, and a rising diagonal.
fn apart(batch: &[usize], m: usize, n: usize, seed: u64) -> Tensor<f64> {
    let noise = normal(&[batch, &[m, n]].concat(), seed).scale(0.3).unwrap();
    let mut steps = Tensor::<f64>::zeros([m, n]).unwrap();
    let diagonal = Tensor::arange(2.0, 2.0 + 2.0 * m.min(n) as f64, 2.0).unwrap();
    steps.diagonal_assign(0, &diagonal).unwrap();
    noise.add(&steps).unwrap()
}

fn check(
    inputs: &[Tensor<f64>],
    name: &str,
    f: impl Fn(&[Var<f64>]) -> Result<Var<f64>>,
) -> Result<(), TestCaseError> {
    gradcheck(inputs, f)
        .map_err(|error| TestCaseError::fail(format!("{name} of {:?}: {error}", inputs[0].shape())))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn square_matrices(batch in prop::collection::vec(1..3usize, 0..2), n in 1..5usize, k in 1..3usize, seed: u64) {
        let a = apart(&batch, n, n, seed);
        let b = normal(&[&batch[..], &[n, k]].concat(), seed ^ 1);
        check(&[a.clone(), b], "solve", |x| x[0].solve(&x[1]))?;
        check(&[a.clone(), normal(&[n], seed ^ 2)], "solve a vector", |x| x[0].solve(&x[1]))?;
        check(&[a.clone(), normal(&[3, 1, n, 1], seed ^ 3)], "solve with broadcasting", |x| x[0].solve(&x[1]))?;
        let a = [a];
        check(&a, "inverse", |x| x[0].inverse())?;
        check(&a, "det", |x| x[0].det()?.log())?;
        let spd = [a[0].matmul(&a[0].t().unwrap()).unwrap()];
        check(&spd, "cholesky", |x| x[0].cholesky()?.square())?;
        // Eigenvectors have no sign of their own: their squares do.
        check(&a, "eigenvalues", |x| x[0].eigh().map(|(w, _)| w))?;
        check(&a, "eigenvectors", |x| x[0].eigh()?.1.square())?;
        check(&a, "both", |x| {
            let (w, v) = x[0].eigh()?;
            v.mul(&w.scale(0.2)?.exp()?.unsqueeze(-2)?)?.matmul(&v.t()?)
        })?;
    }

    #[test]
    fn matrices_of_any_shape(batch in prop::collection::vec(1..3usize, 0..2), m in 1..5usize, n in 1..5usize, seed: u64) {
        let a = [apart(&batch, m, n, seed)];
        check(&a, "q", |x| x[0].qr()?.0.square())?;
        check(&a, "r", |x| x[0].qr().map(|(_, r)| r))?;
        check(&a, "q and r", |x| { let (q, r) = x[0].qr()?; q.matmul(&r.square()?) })?;
        check(&a, "singular values", |x| x[0].svd().map(|(_, s, _)| s))?;
        check(&a, "u", |x| x[0].svd()?.0.square())?;
        check(&a, "vt", |x| x[0].svd()?.2.square())?;
        check(&a, "u s vt", |x| {
            let (u, s, vt) = x[0].svd()?;
            u.mul(&s.log()?.unsqueeze(-2)?)?.matmul(&vt)
        })?;
    }
}

#[test]
fn a_determinant_of_zero_has_its_derivative() {
    // Rank 1 of 2: the gradient is the matrix of cofactors.
    let a = Var::parameter(Tensor::from_vec(vec![1.0f64, 2.0, 2.0, 4.0], [2, 2]).unwrap());
    let gradient = a.det().unwrap().backward().unwrap().of(&a).unwrap();
    for (g, want) in gradient.iter().zip([4.0, -2.0, -2.0, 1.0]) {
        assert!((g - want).abs() < 1e-14, "{gradient:?}");
    }
}

#[test]
fn vectors_of_equal_values_have_none() {
    let a = Var::parameter(Tensor::<f64>::eye(3).unwrap());
    let (w, v) = a.eigh().unwrap();
    let of_w = w.sum(..).unwrap().backward().unwrap().of(&a).unwrap();
    assert!(of_w.sub(&Tensor::eye(3).unwrap()).unwrap().norm(..).unwrap().item().unwrap() < 1e-14);
    let of_v = v.narrow(1, 0, 1).unwrap().exp().unwrap().sum(..).unwrap().backward().unwrap().of(&a).unwrap();
    assert!(of_v.iter().any(|g| !g.is_finite()));
}

#[test]
fn errors_are_those_of_the_tensors() {
    let wide = Var::parameter(Tensor::<f64>::ones([2, 3]).unwrap());
    let singular = Var::parameter(Tensor::<f64>::ones([2, 2]).unwrap());
    let vector = Var::parameter(Tensor::<f64>::ones([2]).unwrap());
    for (op, result) in [
        ("solve", singular.solve(&vector)),
        ("inverse", singular.inverse()),
        ("inverse", wide.inverse()),
        ("det", wide.det()),
        ("cholesky", singular.neg().unwrap().cholesky()),
        ("qr", vector.qr().map(|f| f.0)),
        ("svd", vector.svd().map(|f| f.0)),
        ("eigh", wide.eigh().map(|f| f.0)),
    ] {
        let message = result.unwrap_err().to_string();
        assert!(message.starts_with(&format!("{op}: ")), "{op}: {message}");
    }
    // Q of a matrix without full rank has no derivative: that is said in the backward pass.
    let (q, _) = singular.qr().unwrap();
    let message = q.sum(..).unwrap().backward().map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("singular"), "{message}");
}
