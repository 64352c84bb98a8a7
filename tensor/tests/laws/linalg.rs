//! Linear algebra: what the factors make together, what they are by themselves, and what is refused.

use cairn_tensor::{Error, Field, Result, Tensor, rng};
use proptest::prelude::*;

fn normal<T: Field>(shape: &[usize], seed: u64) -> Tensor<T> {
    Tensor::normal(shape, 0.0, 1.0, &mut rng(seed)).unwrap()
}

/// The largest difference is a small multiple of the precision, the size of the numbers and of the matrix.
fn close<T: Field>(a: &Tensor<T>, b: &Tensor<T>, what: &str) -> Result<(), TestCaseError> {
    prop_assert_eq!(a.shape(), b.shape(), "{}", what);
    let size = b.iter().map(|x| Float64::of(x).abs()).fold(1.0, f64::max);
    let worst =
        a.iter().zip(b.iter()).map(|(a, b)| (Float64::of(a) - Float64::of(b)).abs()).fold(0.0, f64::max);
    prop_assert!(worst <= 1e3 * Float64::of(T::EPSILON) * size, "{} is off by {} of {}", what, worst, size);
    Ok(())
}

struct Float64;
impl Float64 {
    fn of<T: Field>(x: T) -> f64 {
        x.to_f64()
    }
}

fn eye<T: Field>(batch: &[usize], n: usize) -> Tensor<T> {
    Tensor::eye(n).unwrap().broadcast_to([batch, &[n, n]].concat()).unwrap()
}

/// A well-conditioned square matrix: random, within bounds, which normal numbers have none of, and with a heavy diagonal.
fn sound<T: Field>(batch: &[usize], n: usize, seed: u64) -> Tensor<T> {
    let noise = normal::<T>(&[batch, &[n, n]].concat(), seed);
    let noise = noise.clamp(T::from_f64(-2.0), T::from_f64(2.0)).unwrap();
    noise.add(&Tensor::eye(n).unwrap().scale(T::from_f64(3.0 + n as f64)).unwrap()).unwrap()
}

fn laws<T: Field>(batch: &[usize], m: usize, n: usize, seed: u64) -> Result<(), TestCaseError> {
    let a = sound::<T>(batch, n, seed);
    let b = normal::<T>(&[batch, &[n, m]].concat(), seed ^ 1);
    close(&a.matmul(&a.solve(&b)?)?, &b, "A (A \\ B)")?;
    close(&a.matmul(&a.inverse()?)?, &eye(batch, n), "A A⁻¹")?;
    // A view is as good as its copy.
    let turned = a.t()?;
    prop_assert_eq!(turned.inverse()?, turned.contiguous()?.inverse()?);

    let spd = a.matmul(&turned)?;
    let l = spd.cholesky()?;
    close(&l.matmul(&l.t()?)?, &spd, "L Lᵀ")?;
    prop_assert_eq!(&l, &l.tril(0)?);
    prop_assert!(l.diagonal(0)?.iter().all(|x| x > T::ZERO));

    let (values, vectors) = spd.eigh()?;
    close(&vectors.mul(&values.unsqueeze(-2)?)?.matmul(&vectors.t()?)?, &spd, "V diag(w) Vᵀ")?;
    close(&vectors.t()?.matmul(&vectors)?, &eye(batch, n), "Vᵀ V")?;
    for row in values.reshape([batch.iter().product(), n])?.to_vec().chunks(n.max(1)) {
        prop_assert!(row.is_sorted(), "{row:?}");
    }
    // The determinant is the product of the eigenvalues.
    let product = values.log()?.sum(-1)?;
    close(&spd.det()?.log()?, &product, "ln det")?;
    close(&a.matmul(&a)?.det()?.log()?, &a.det()?.square()?.log()?, "det of a square")?;

    let x = normal::<T>(&[batch, &[m, n]].concat(), seed ^ 2);
    let k = m.min(n);
    let (q, r) = x.qr()?;
    prop_assert_eq!((q.size(-1)?, r.size(-2)?), (k, k));
    close(&q.matmul(&r)?, &x, "Q R")?;
    close(&q.t()?.matmul(&q)?, &eye(batch, k), "Qᵀ Q")?;
    prop_assert_eq!(&r, &r.triu(0)?);
    prop_assert!(r.diagonal(0)?.iter().all(|x| x >= T::ZERO));

    let (u, s, vt) = x.svd()?;
    close(&u.mul(&s.unsqueeze(-2)?)?.matmul(&vt)?, &x, "U S Vᵀ")?;
    close(&u.t()?.matmul(&u)?, &eye(batch, k), "Uᵀ U")?;
    close(&vt.matmul(&vt.t()?)?, &eye(batch, k), "Vᵀ V")?;
    for row in s.reshape([batch.iter().product(), k])?.to_vec().chunks(k.max(1)) {
        prop_assert!(row.iter().rev().is_sorted() && row.iter().all(|&s| s >= T::ZERO), "{row:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn factors_make_the_matrix(batch in prop::collection::vec(1..3usize, 0..3), m in 1..8usize, n in 1..8usize, seed: u64) {
        laws::<f64>(&batch, m, n, seed)?;
        laws::<f32>(&batch, m, n, seed)?;
    }
}

#[test]
fn larger_matrices_too() {
    laws::<f64>(&[], 90, 70, 1).unwrap();
    laws::<f64>(&[3], 40, 60, 2).unwrap();
}

#[test]
fn no_rows_and_no_matrices() {
    for shape in [[0, 3, 3], [2, 0, 0], [0, 0, 0]] {
        let a = Tensor::<f64>::zeros(shape).unwrap();
        let (b, n) = (shape[0], shape[1]);
        assert_eq!(a.inverse().unwrap().shape(), shape);
        assert_eq!(a.cholesky().unwrap().shape(), shape);
        assert_eq!(a.det().unwrap().to_vec(), vec![1.0; b]);
        assert_eq!(a.solve(&Tensor::zeros([b, n, 2]).unwrap()).unwrap().shape(), [b, n, 2]);
        let (values, vectors) = a.eigh().unwrap();
        assert_eq!((values.shape(), vectors.shape()), (&[b, n][..], &shape[..]));
        let (q, r) = a.qr().unwrap();
        assert_eq!((q.shape(), r.shape()), (&shape[..], &shape[..]));
        let (u, s, vt) = a.svd().unwrap();
        assert_eq!((u.shape(), s.shape(), vt.shape()), (&shape[..], &[b, n][..], &shape[..]));
    }
    // Sizes that no memory holds, beside an axis of 0.
    let huge = Tensor::<f64>::zeros([usize::MAX, 0, usize::MAX]).unwrap();
    assert!(huge.qr().unwrap().1.is_empty() && huge.svd().unwrap().2.is_empty());
    assert!(Tensor::<f64>::zeros([usize::MAX, 0, 0]).unwrap().eigh().unwrap().0.is_empty());
    assert!(matches!(
        Tensor::<f64>::zeros([usize::MAX, 0, 0]).unwrap().det(),
        Err(Error::OutOfMemory { .. })
    ));
    let (u, s, vt) = Tensor::<f64>::zeros([2, 4, 0]).unwrap().svd().unwrap();
    assert_eq!((u.shape(), s.shape(), vt.shape()), (&[2, 4, 0][..], &[2, 0][..], &[2, 0, 0][..]));
}

#[test]
fn batches_broadcast_and_vectors_are_columns() {
    let a = sound::<f64>(&[3, 1], 4, 1);
    let b = normal::<f64>(&[2, 4, 2], 2);
    let x = a.solve(&b).unwrap();
    assert_eq!(x.shape(), [3, 2, 4, 2]);
    let one = a.index(0, 2).unwrap().index(0, 0).unwrap().solve(&b.index(0, 1).unwrap()).unwrap();
    assert_eq!(x.index(0, 2).unwrap().index(0, 1).unwrap(), one);
    let v = normal::<f64>(&[4], 3);
    assert_eq!(a.solve(&v).unwrap().shape(), [3, 1, 4]);
}

#[test]
fn known_values() {
    let a = Tensor::from_vec(vec![0.0f64, 2.0, 1.0, 3.0], [2, 2]).unwrap();
    assert_eq!(a.det().unwrap().item().unwrap(), -2.0);
    assert_eq!(a.inverse().unwrap().to_vec(), [-1.5, 1.0, 0.5, 0.0]);
    let (values, _) = Tensor::from_vec(vec![2.0f64, 1.0, 1.0, 2.0], [2, 2]).unwrap().eigh().unwrap();
    assert!(values.iter().zip([1.0, 3.0]).all(|(a, b)| (a - b).abs() < 1e-15));
    // The symmetric part counts.
    let lopsided = Tensor::from_vec(vec![4.0f64, 1.0, 3.0, 5.0], [2, 2]).unwrap();
    assert_eq!(lopsided.cholesky().unwrap().to_vec(), [2.0, 0.0, 1.0, 2.0]);
}

#[test]
fn what_cannot_be_done_is_said() {
    let message = |result: Result<Tensor<f64>>| result.unwrap_err().to_string();
    let eye = Tensor::<f64>::eye(2).unwrap();
    let singular = Tensor::stack(&[&eye, &Tensor::ones([2, 2]).unwrap()], 0).unwrap();
    for (op, result) in [("solve", singular.solve(&eye)), ("inverse", singular.inverse())] {
        assert!(matches!(result, Err(Error::BadMatrix { matrix: 1, .. })), "{op}");
        assert_eq!(message(result), format!("{op}: matrix 1 of the batch is singular: a pivot is zero"));
    }
    assert_eq!(singular.det().unwrap().to_vec(), [1.0, 0.0]);
    let indefinite = Tensor::from_vec(vec![1.0, 2.0, 2.0, 1.0], [2, 2]).unwrap();
    assert_eq!(message(indefinite.cholesky()), "cholesky: matrix 0 of the batch is not positive definite");
    for bad in [f64::NAN, f64::INFINITY] {
        let x =
            Tensor::stack(&[&eye, &eye.masked_fill(&eye.eq(&Tensor::scalar(1.0)).unwrap(), bad).unwrap()], 0)
                .unwrap();
        for (op, result) in [
            ("solve", x.solve(&eye)),
            ("solve", eye.solve(&x)),
            ("inverse", x.inverse()),
            ("det", x.det()),
            ("cholesky", x.cholesky()),
            ("qr", x.qr().map(|f| f.0)),
            ("svd", x.svd().map(|f| f.0)),
            ("eigh", x.eigh().map(|f| f.0)),
        ] {
            let expected = format!("{op}: matrix 1 of the batch has an element that is not finite");
            assert_eq!(message(result), expected);
        }
    }
    let wide = Tensor::<f64>::ones([2, 3]).unwrap();
    for (op, result) in [
        ("solve", wide.solve(&eye)),
        ("inverse", wide.inverse()),
        ("det", wide.det()),
        ("cholesky", wide.cholesky()),
        ("eigh", wide.eigh().map(|f| f.0)),
    ] {
        assert!(message(result).starts_with(&format!("{op}: cannot be done on shape [2, 3]")), "{op}");
    }
    let vector = Tensor::<f64>::ones([3]).unwrap();
    for result in
        [vector.inverse(), vector.qr().map(|f| f.0), vector.svd().map(|f| f.0), vector.solve(&vector)]
    {
        assert!(matches!(result, Err(Error::BadShape { .. })));
    }
    assert!(matches!(eye.solve(&vector), Err(Error::ShapeMismatch { .. })));
    let batches = (Tensor::<f64>::ones([2, 2, 2]).unwrap(), Tensor::<f64>::ones([3, 2, 1]).unwrap());
    assert!(matches!(batches.0.solve(&batches.1), Err(Error::ShapeMismatch { .. })));
}
