//! Matrix products.

use cairn_tensor::{Float, Tensor, rng};
use proptest::prelude::*;

use crate::naive::{Naive, broadcasting, close, real, view};

/// The product by its definition, for operands of rank 2 and more.
pub(crate) fn product(a: &Naive<f64>, b: &Naive<f64>, batch: &[usize]) -> Naive<f64> {
    let (m, k) = (a.shape[a.shape.len() - 2], a.shape[a.shape.len() - 1]);
    let n = b.shape[b.shape.len() - 1];
    let wide_a = a.broadcast(&[batch, &[m, k]].concat());
    let wide_b = b.broadcast(&[batch, &[k, n]].concat());
    Naive::from_fn(&[batch, &[m, n]].concat(), |index| {
        let (at, ij) = index.split_at(batch.len());
        (0..k).map(|l| wide_a.at(&[at, &[ij[0], l]].concat()) * wide_b.at(&[at, &[l, ij[1]]].concat())).sum()
    })
}

pub(crate) fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![1 => Just(0), 3 => Just(1), 8 => 2..9usize, 3 => 9..40usize]
}

proptest! {
    #[test]
    fn batched_products_match_the_definition(
        (parts, batch) in broadcasting(2),
        (m, k, n) in (sizes(), sizes(), sizes()),
        seed: u64,
    ) {
        // The views have at most four axes: two for batches, two for matrices.
        let cut = |shape: &[usize]| shape[shape.len().saturating_sub(2)..].to_vec();
        let (parts, batch) = ([cut(&parts[0]), cut(&parts[1])], cut(&batch));
        let (a, na) = view(&[&parts[0][..], &[m, k]].concat(), seed, real);
        let (b, nb) = view(&[&parts[1][..], &[k, n]].concat(), seed ^ 1, real);
        let want = product(&na, &nb, &batch);
        close(&a.matmul(&b).unwrap(), &want, 1e-12);
        // (A B)ᵀ = Bᵀ Aᵀ, from transposed views.
        let turned = b.t().unwrap().matmul(&a.t().unwrap()).unwrap();
        close(&turned.t().unwrap(), &want, 1e-12);
        let narrow = a.cast::<f32>().unwrap().matmul(&b.cast::<f32>().unwrap()).unwrap();
        let (na, nb) = (na.map(|x| f64::from(x as f32)), nb.map(|x| f64::from(x as f32)));
        close(&narrow, &product(&na, &nb, &batch), 2e-5);
    }

    #[test]
    fn vectors_drop_their_axis((k, n) in (sizes(), sizes()), batch in 1..3usize, seed: u64) {
        let (v, nv) = view(&[k], seed, real);
        let (b, nb) = view(&[batch, k, n], seed ^ 1, real);
        let row = Naive { shape: vec![1, k], data: nv.data.clone() };
        let mut want = product(&row, &nb, &[batch]);
        want.shape.remove(1);
        close(&v.matmul(&b).unwrap(), &want, 1e-12);
        close(&b.t().unwrap().matmul(&v).unwrap(), &want, 1e-12);
        let dot: f64 = nv.data.iter().map(|x| x * x).sum();
        close(&v.matmul(&v).unwrap(), &Naive { shape: vec![], data: vec![dot] }, 1e-12);
    }

    #[test]
    fn accumulating_products_match((m, k, n) in (sizes(), sizes(), sizes()), seed: u64) {
        let (a, na) = view(&[m, k], seed, real);
        let (b, nb) = view(&[k, n], seed ^ 1, real);
        let (mut c, nc) = view(&[m, n], seed ^ 2, real);
        let kept = c.clone();
        c.add_matmul(&a, &b).unwrap();
        let product = product(&na, &nb, &[]);
        close(&c, &Naive::from_fn(&[m, n], |i| nc.at(i) + product.at(i)), 1e-12);
        close(&kept, &nc, 0.0);
    }
}

/// Sizes on both sides of every threshold of the kernels, against sums in f64.
#[test]
fn products_of_many_sizes() {
    fn check<T: Float>(tolerance: f64) {
        let make = |shape: [usize; 2], by: usize| {
            Tensor::<T>::build(shape, |out| {
                for (i, x) in out.iter_mut().enumerate() {
                    *x = T::from_f64(((i * by) % 31) as f64 / 8.0 - 2.0);
                }
            })
            .unwrap()
        };
        let sizes =
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 96, 100, 127, 129, 200, 257];
        for (turn, &m) in sizes.iter().enumerate() {
            for &n in &sizes {
                let k = sizes[(turn * 7 + n) % sizes.len()];
                for layout in 0..4 {
                    let a = if layout & 1 == 0 { make([m, k], 7) } else { make([k, m], 7).t().unwrap() };
                    let b = if layout & 2 == 0 { make([k, n], 11) } else { make([n, k], 11).t().unwrap() };
                    let c = a.matmul(&b).unwrap();
                    let (a, b) = (a.to_vec(), b.to_vec());
                    for i in (0..m).step_by(1 + m / 5).chain([m - 1]) {
                        for j in (0..n).step_by(1 + n / 5).chain([n - 1]) {
                            let want: f64 =
                                (0..k).map(|l| a[i * k + l].to_f64() * b[l * n + j].to_f64()).sum();
                            let got = c.get(&[i, j]).unwrap().to_f64();
                            assert!(
                                (got - want).abs() <= tolerance * want.abs().max(1.0),
                                "{m}x{k}x{n} layout {layout} at {i}, {j}: {got} for {want}"
                            );
                        }
                    }
                }
            }
        }
    }
    check::<f32>(3e-4);
    check::<f64>(1e-12);
}

/// Exact sums, so that the definition needs no tolerance: products by blocks with several chains of terms, rows and columns left over,
/// operands of every order, added to what is there.
#[test]
fn products_by_blocks_match_the_definition() {
    let number = |i: usize| ((i * 2_654_435_761) % 9) as f32 - 4.0;
    let make = |shape: [usize; 2], by: usize| {
        Tensor::from_vec((0..shape[0] * shape[1]).map(|i| number(i + by)).collect(), shape).unwrap()
    };
    for [m, k, n] in [[8, 1100, 16], [257, 40, 33], [40, 1100, 401], [300, 513, 130], [257, 261, 257]] {
        for layout in 0..5 {
            let a = match layout {
                0 | 1 => make([m, k], 1),
                2 | 3 => make([k, m], 1).t().unwrap(),
                _ => make([m, k], 1).flip([0, 1]).unwrap(),
            };
            let b = if layout % 2 == 0 { make([k, n], 5) } else { make([n, k], 5).t().unwrap() };
            let mut c = make([m, n], 7);
            let before = c.to_vec();
            c.add_matmul(&a, &b).unwrap();
            let (fresh, a, b) = (a.matmul(&b).unwrap().to_vec(), a.to_vec(), b.to_vec());
            for (at, &got) in c.to_vec().iter().enumerate() {
                let (i, j) = (at / n, at % n);
                let want: f32 = (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum();
                assert_eq!(
                    (fresh[at], got),
                    (want, before[at] + want),
                    "{m}x{k}x{n} layout {layout} at {i}, {j}"
                );
            }
        }
    }
}

#[test]
fn nan_and_infinity_pass_through() {
    let a = Tensor::from_vec(vec![f32::NAN, 1.0, 0.0, f32::INFINITY], [2, 2]).unwrap();
    let zero = Tensor::<f32>::zeros([2, 3]).unwrap();
    assert!(a.matmul(&zero).unwrap().iter().all(f32::is_nan), "0 · NaN and 0 · ∞ are NaN");
    // Old values of the output never leak in, NaN least of all.
    for _ in 0..4 {
        drop(Tensor::full([64, 64], f32::NAN).unwrap());
        let x = Tensor::<f32>::ones([64, 64]).unwrap();
        assert_eq!(x.matmul(&x).unwrap().to_vec(), [64.0; 64 * 64]);
        drop(Tensor::full([64, 64], f32::NAN).unwrap());
        assert_eq!(
            x.narrow(1, 0, 0).unwrap().matmul(&x.narrow(0, 0, 0).unwrap()).unwrap().to_vec(),
            [0.0; 64 * 64]
        );
    }
}

#[test]
fn products_of_reversed_matrices() {
    let a = Tensor::arange(0.0f64, 12.0, 1.0).unwrap().reshape([3, 4]).unwrap();
    let b = Tensor::arange(0.0f64, 20.0, 1.0).unwrap().reshape([4, 5]).unwrap();
    let plain = a.contiguous().unwrap().matmul(&b).unwrap();
    let (ra, rb) = (a.flip(1).unwrap(), b.flip(0).unwrap());
    assert_eq!(ra.matmul(&rb).unwrap(), plain, "reversing the inner axis of both changes nothing");
    assert_eq!(a.flip(0).unwrap().matmul(&b.flip(1).unwrap()).unwrap(), plain.flip([0, 1]).unwrap());
}

/// What a text generated alone and in a batch is equal by.
#[test]
fn a_row_has_the_same_bits_beside_any_others() {
    if cairn_tensor::instruction_set() == "baseline" && std::env::var_os("CAIRN_ISA").is_some() {
        return; // The engine does not know of the variable, and fuses multiply-adds all the same.
    }
    let sizes = [
        (3, 3),
        (16, 2),
        (17, 65),
        (64, 10),
        (96, 48),
        (384, 300),
        (512, 33),
        (513, 70),
        (514, 64),
        (1100, 129),
        (6000, 20),
    ];
    for (case, (k, n)) in sizes.into_iter().enumerate() {
        for transposed in [false, true] {
            let x = Tensor::<f32>::normal([130, k], 0.0, 1.0, &mut rng(case as u64)).unwrap();
            let weight =
                Tensor::normal(if transposed { [n, k] } else { [k, n] }, 0.0, 1.0, &mut rng(9)).unwrap();
            let weight = if transposed { weight.t().unwrap() } else { weight };
            let bias = Tensor::normal([n], 0.0, 1.0, &mut rng(8)).unwrap();
            for bias in [None, Some(&bias)] {
                let all = x.linear(&weight, bias, false).unwrap();
                for (start, len) in
                    [(0, 1), (129, 1), (5, 2), (40, 3), (7, 8), (2, 14), (0, 65), (3, 98), (1, 129)]
                {
                    let part = x.narrow(0, start, len).unwrap().linear(&weight, bias, false).unwrap();
                    assert_eq!(
                        part,
                        all.narrow(0, start, len).unwrap(),
                        "{k} x {n}, {transposed}, {start}, {len}"
                    );
                }
            }
        }
    }
}
