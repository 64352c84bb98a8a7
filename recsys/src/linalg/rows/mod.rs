//! Single-precision kernels on short rows of floats: what the normal equations of ALS are made of, one of its rows at a time.
//!
//! Rows are as wide as a multiple of [`PAD`]. They are gathered into `z`, as many at a time as stay in the cache for what
//! follows: the Gram matrix near the peak of the multiply-add units, products at the speed of the cache. Each kernel is
//! written once for registers of any length and chosen at run time, by `cairn_tensor`'s toolkit.

mod gather;
mod gram;
mod products;
mod solve;

pub(crate) use gather::{Scattered, add_gathered_products, gather};
pub(crate) use gram::add_gram;
pub(crate) use products::{add_row_products, add_rows, combine, dot, normal_product};
pub(crate) use solve::solve_positive_definite;

/// A register of single-precision floats.
type Register<S> = <S as cairn_tensor::kernel::Isa>::F32;

/// Vector widths are multiples of this many floats: a whole AVX-512 register.
pub(crate) const PAD: usize = 16;
/// Floats of `z` over which the tiles of the Gram matrix are kept in registers: they fit the first-level cache.
const CHUNK: usize = 8192;

/// Rows of `width` floats in a chunk.
pub(crate) fn chunk_rows(width: usize) -> usize {
    (CHUNK / width).max(PAD)
}

/// `width` rounded up to whole vectors.
pub(crate) fn padded(width: usize) -> usize {
    width.next_multiple_of(PAD)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::ids::{Idx, ItemIdx};

    fn close(a: f32, b: f64, scale: f64) -> bool {
        (f64::from(a) - b).abs() <= 1e-4 * (1.0 + scale)
    }

    proptest! {
        #[test]
        fn kernels_agree_with_loops(
            rows in 0_usize..150, blocks in 1_usize..7, seed in 1_u32..1000,
        ) {
            let size = blocks * PAD;
            let noise = |n: usize| ((n as u32).wrapping_mul(seed * 2 + 1).wrapping_mul(2_654_435_761) >> 16) as f32 / 65_536.0 - 0.5;
            let z: Vec<f32> = (0..rows * size).map(noise).collect();
            let x: Vec<f32> = (0..size).map(|n| noise(n + 7)).collect();
            let factors: Vec<f32> = (0..rows).map(|n| noise(n + 3)).collect();
            let at = |r: usize, c: usize| f64::from(z[r * size + c]);
            let combined = |c: usize| (0..rows).map(|r| f64::from(factors[r]) * at(r, c)).sum::<f64>();
            let (mut h, mut b) = (vec![1.0; size * size], vec![2.0; size]);
            add_gram(&z, &factors, &mut h, &mut b);
            for i in 0..size {
                for j in i..size {
                    let want: f64 = 1.0 + (0..rows).map(|r| at(r, i) * at(r, j)).sum::<f64>();
                    prop_assert!(close(h[i * size + j], want, rows as f64), "({i}, {j}): {} for {want}", h[i * size + j]);
                }
                prop_assert!(close(b[i], 2.0 + combined(i), rows as f64));
            }
            let zx: Vec<f64> = (0..rows).map(|r| (0..size).map(|c| at(r, c) * f64::from(x[c])).sum()).collect();
            let mut out = vec![1.0; rows];
            add_row_products(&z, &x, &mut out);
            prop_assert!(out.iter().zip(&zx).all(|(&a, &b)| close(a, 1.0 + b, 1.0)));
            let mut out = vec![9.0; size];
            normal_product(&z, &x, None, &mut out);
            for c in 0..size {
                let want: f64 = (0..rows).map(|r| zx[r] * at(r, c)).sum();
                prop_assert!(close(out[c], want, rows as f64));
            }
            let mut out = vec![0.0; size];
            add_rows(&z, &factors, &mut out);
            for c in 0..size {
                prop_assert!(close(out[c], combined(c), rows as f64));
            }
            // Z'Z + I is positive definite: solve and multiply back.
            for i in 0..size {
                h[i * size + i] += size as f32 + 1.0;
            }
            let full = |i: usize, j: usize| f64::from(h[i.min(j) * size + i.max(j)]);
            let want: Vec<f64> = (0..size).map(|i| (0..size).map(|j| full(i, j) * f64::from(x[j])).sum()).collect();
            let mut b: Vec<f32> = want.iter().map(|&x| x as f32).collect();
            prop_assert!(solve_positive_definite(&mut h.clone(), &mut b));
            prop_assert!(b.iter().zip(&x).all(|(&got, &want)| close(got, f64::from(want), 10.0)), "{b:?} {x:?}");
        }
    }

    #[test]
    fn scattered_rows_are_what_they_are_gathered() {
        for width in [16, 32, 48, 64, 112, 128] {
            let table: Vec<f32> = (0..20 * width).map(|n| (n % 13) as f32 - 6.0).collect();
            let columns: Vec<ItemIdx> = [19, 0, 7, 7, 3, 11].map(ItemIdx).to_vec();
            let roots = [1.0, 2.0, 0.5, 0.25, 0.0, 4.0];
            let rows = Scattered { table: &table, width, columns: &columns, roots: &roots };
            let mut z = vec![9.0; 6 * width];
            gather(rows, &mut z);
            for (r, row) in z.chunks(width).enumerate() {
                let source = &table[columns[r].at() * width..][..width];
                assert!(row.iter().zip(source).all(|(&got, y)| got == roots[r] * y));
            }
            // Small multiples of powers of two, whose sums are exact.
            let x: Vec<f32> = (0..width).map(|n| (n % 5) as f32 - 2.0).collect();
            let (mut got, mut want) = (vec![3.0; 6], vec![3.0; 6]);
            add_gathered_products(rows, &x, &mut got);
            add_row_products(&z, &x, &mut want);
            assert_eq!(got, want);
        }
    }

    #[test]
    fn an_indefinite_matrix_is_reported() {
        let mut h = vec![0.0; PAD * PAD];
        assert!(!solve_positive_definite(&mut h, &mut [1.0; PAD]));
        h.fill(f32::NAN);
        assert!(!solve_positive_definite(&mut h, &mut [1.0; PAD]));
    }
}
