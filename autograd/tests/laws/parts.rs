//! Parts, indexing, statistics and products by named axes: derivatives against central differences, and what is refused.

use cairn_autograd::{Result, Var, gradcheck};
use cairn_tensor::{Tensor, rng, s};
use proptest::prelude::*;

fn uniform(shape: &[usize], low: f64, high: f64, seed: u64) -> Tensor<f64> {
    Tensor::uniform(shape, low, high, &mut rng(seed)).unwrap()
}

/// Distinct values, so that no two change places when one is moved a little; in random order.
fn distinct(shape: &[usize], seed: u64) -> Tensor<f64> {
    let count = shape.iter().product();
    let order = Tensor::permutation(count, &mut rng(seed)).unwrap();
    order.cast::<f64>().unwrap().scale(0.25).unwrap().reshape(shape).unwrap()
}

type Function<'a> = &'a dyn Fn(&Var<f64>) -> Result<Var<f64>>;

/// Checks each function of a table on one input.
fn check(x: &Tensor<f64>, table: &[(&str, Function<'_>)]) -> Result<(), TestCaseError> {
    for (name, f) in table {
        gradcheck(std::slice::from_ref(x), |x| f(&x[0]))
            .map_err(|error| TestCaseError::fail(format!("{name} of {:?}: {error}", x.shape())))?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn parts(rows in 1..4usize, columns in 1..5usize, batch in 1..3usize, offset in -2..3isize, seed: u64) {
        let x = uniform(&[batch, rows, columns], -1.0, 1.0, seed);
        check(&x, &[
            ("slice of every second", &|x| x.slice(s![.., .., ..;2])?.square()),
            ("slice backwards", &|x| x.slice(s![0, ..;-1, -1])),
            ("slice of nothing", &|x| x.slice(s![.., .., 0..0])?.sum(..)?.add(&x.sum(..)?)),
            ("flip", &|x| x.flip([0, -1])?.square()),
            ("split", &|x| {
                let parts = x.split(-1, &[1, columns - 1])?;
                parts[0].square()?.sum(..)?.add(&parts[1].exp()?.sum(..)?)
            }),
            ("chunk", &|x| Var::cat(&x.chunk(1, 2)?.iter().rev().collect::<Vec<_>>(), 1)?.square()),
            ("parts that overlap, and the whole", &|x| {
                let parts = x.narrow(2, 0, columns)?.mul(&x.index(2, columns - 1)?.unsqueeze(2)?)?;
                x.narrow(1, rows - 1, 1)?.square()?.add(&parts)?.mul(x)
            }),
            ("pad", &|x| x.pad(&[(0, 1), (2, 0), (1, 1)], 0.5)?.square()),
            ("tile", &|x| x.tile(&[2, 1, 3])?.square()),
            ("tile with a new axis", &|x| x.tile(&[2, 1, 2, 1])),
            ("repeat", &|x| x.repeat(1, 3)?.square()),
            ("repeat last", &|x| x.repeat(-1, 2)?.square()),
            ("diagonal", &|x| x.diagonal(offset)?.square()?.sum(..)?.add(&x.sum(..)?)),
            ("tril", &|x| x.tril(offset)?.square()),
            ("triu", &|x| x.triu(offset)?.square()),
            ("sum_to", &|x| x.sum_to([rows, 1])?.square()),
        ])?;
        check(&distinct(&[batch, rows, columns], seed), &[
            ("max_keepdim", &|x| x.max_keepdim(1)?.square()),
            ("min_keepdim", &|x| x.min_keepdim([0, 2])?.square()),
        ])?;
    }

    #[test]
    fn indexing(rows in 1..5usize, columns in 1..4usize, picks in prop::collection::vec(0..100u32, 1..6), seed: u64) {
        let x = uniform(&[rows, columns], -1.0, 1.0, seed);
        let down: Vec<u32> = picks.iter().map(|p| p % rows as u32).collect();
        let across: Vec<u32> = picks.iter().map(|p| p % columns as u32).collect();
        let index = Tensor::<f64>::uniform([picks.len(), columns], 0.0, rows as f64, &mut rng(seed)).unwrap();
        let index = index.cast::<u32>().unwrap();
        let mask = x.gt(&Tensor::scalar(0.0)).unwrap();
        let row_mask = mask.narrow(0, 0, 1).unwrap();
        check(&x, &[
            ("index_select 0", &|x| x.index_select(0, &down)?.square()),
            ("index_select 1", &|x| x.index_select(-1, &across)?.square()),
            ("gather", &|x| x.gather(0, &index)?.square()),
            ("masked_select", &|x| x.masked_select(&mask)?.square()?.sum(..)?.add(&x.sum(..)?)),
            ("masked_select of rows", &|x| x.masked_select(&row_mask)?.sum(..)?.add(&x.sum(..)?)),
            ("masked_fill", &|x| x.masked_fill(&row_mask, 3.0)?.square()),
            ("masked_scale", &|x| x.masked_scale(&mask, 1.25)?.square()),
            ("masked_scale of rows", &|x| x.masked_scale(&row_mask, 1.25)?.square()),
        ])?;
        let values = uniform(&[picks.len(), columns], -1.0, 1.0, seed ^ 1);
        let both = [x, values];
        gradcheck(&both, |x| x[0].scatter_add(0, &index, &x[1])?.square())?;
        gradcheck(&both, |x| x[0].index_add(&down, &x[1])?.square())?;
    }

    #[test]
    fn ranking(rows in 1..4usize, columns in 1..5usize, seed: u64) {
        let x = distinct(&[rows, columns], seed);
        check(&x, &[
            ("sort", &|x| x.sort(0, false)?.0.square()),
            ("sort descending", &|x| x.sort(-1, true)?.0.square()),
            ("topk", &|x| x.topk(columns.div_ceil(2), 1)?.0.square()),
        ])?;
    }

    #[test]
    fn statistics(shape in prop::collection::vec(2..4usize, 1..4), axis: prop::sample::Index, seed: u64) {
        let x = uniform(&shape, 0.5, 2.0, seed);
        let axis = axis.index(shape.len());
        check(&x, &[
            ("var", &|x| x.var(axis, 1)),
            ("var over all", &|x| x.var(.., 0)),
            ("var_keepdim", &|x| x.var_keepdim(axis, 0)),
            ("norm", &|x| x.norm(axis)),
            ("norm_keepdim", &|x| x.norm_keepdim(..)),
            ("prod_keepdim", &|x| x.prod_keepdim(axis)),
            ("cumsum", &|x| x.cumsum(axis)?.square()),
            ("cumprod", &|x| x.cumprod(axis)?.square()),
        ])?;
        // Where all elements are the same the deviation has a kink.
        check(&distinct(&shape, seed), &[
            ("std", &|x| x.std(axis, 1)),
            ("std_keepdim", &|x| x.std_keepdim(.., 0)),
        ])?;
        // Zeros among the factors.
        let zeros = x.gt(&Tensor::scalar(1.4)).unwrap();
        let x = x.masked_fill(&zeros, 0.0).unwrap();
        check(&x, &[("cumprod with zeros", &|x| x.cumprod(axis)), ("prod with zeros", &|x| x.prod(axis))])?;
    }

    #[test]
    fn products(m in 1..4usize, n in 1..4usize, k in 1..3usize, seed: u64) {
        let formulas: &[(&str, &[&[usize]])] = &[
            ("ij,jk->ik", &[&[m, n], &[n, k]]),
            ("ij,jk", &[&[m, n], &[n, k]]),
            ("ii", &[&[m, m]]),
            ("ii->i", &[&[m, m]]),
            ("iij->j", &[&[m, m, n]]),
            ("ij->", &[&[m, n]]),
            ("ij->ji", &[&[m, n]]),
            ("i,j->ij", &[&[m], &[n]]),
            ("bij,bjk->bik", &[&[k, m, n], &[k, n, 2]]),
            ("ij,kj,k->i", &[&[m, n], &[k, n], &[k]]),
            ("iij,jk,lk->i", &[&[m, m, n], &[n, k], &[2, k]]),
            ("i,i,i->i", &[&[m], &[m], &[m]]),
        ];
        for (formula, shapes) in formulas {
            let inputs: Vec<_> = shapes.iter().map(|shape| uniform(shape, -1.0, 1.0, seed)).collect();
            gradcheck(&inputs, |x| Var::einsum(formula, &x.iter().collect::<Vec<_>>())?.square())
                .map_err(|error| TestCaseError::fail(format!("{formula}: {error}")))?;
        }
        let vectors = [uniform(&[m], -1.0, 1.0, seed), uniform(&[m], -1.0, 1.0, seed ^ 1)];
        gradcheck(&vectors, |x| x[0].dot(&x[1]))?;
        let vectors = [uniform(&[m], -1.0, 1.0, seed), uniform(&[n], -1.0, 1.0, seed ^ 1)];
        gradcheck(&vectors, |x| x[0].outer(&x[1])?.square())?;
    }
}

#[test]
fn no_spread_and_no_length_have_no_gradient() {
    let x = Var::parameter(Tensor::<f64>::zeros([3]).unwrap());
    for y in [x.std(.., 0).unwrap(), x.norm(..).unwrap()] {
        assert_eq!(y.backward().unwrap().of(&x).unwrap().to_vec(), [0.0; 3]);
    }
}

#[test]
fn axes_of_zero_are_differentiated_too() {
    let x = Var::parameter(Tensor::<f64>::zeros([2, 0, 3]).unwrap());
    let index = Tensor::<u32>::zeros([2, 0, 3]).unwrap();
    let mask = Tensor::from_vec(vec![], [2, 0, 3]).unwrap();
    let results = [
        x.slice(s![.., .., ..;2]),
        x.flip(1),
        x.pad(&[(0, 0), (1, 0), (0, 0)], 1.0),
        x.tile(&[1, 2, 1]),
        x.repeat(1, 3),
        x.diagonal(0),
        x.tril(0),
        x.index_select(1, &[]),
        x.gather(0, &index),
        x.sort(1, false).map(|sorted| sorted.0),
        x.masked_select(&mask),
        x.cumsum(1),
        x.cumprod(1),
        x.var(0, 0),
        x.norm(2),
        Var::einsum("ijk->ik", &[&x]),
        x.sum_to([2, 1, 1]),
    ];
    for y in results {
        let y = y.unwrap();
        let gradients = y.sum(..).unwrap().backward().unwrap();
        assert_eq!(gradients.of(&x).unwrap().shape(), [2, 0, 3], "{y:?}");
    }
}

#[test]
fn errors_are_those_of_the_tensors() {
    let x = Var::parameter(Tensor::<f64>::ones([2, 3]).unwrap());
    let v = Var::parameter(Tensor::<f64>::ones([4]).unwrap());
    let far = Tensor::from_vec(vec![9u32, 0, 0], [1, 3]).unwrap();
    let mask = Tensor::from_vec(vec![true; 4], [4]).unwrap();
    let cases: [(&str, Result<Var<f64>>); 20] = [
        ("slice", x.slice(s![5])),
        ("flip", x.flip(2)),
        ("split", x.split(0, &[1, 2]).map(|mut parts| parts.remove(0))),
        ("chunk", x.chunk(0, 0).map(|mut parts| parts.remove(0))),
        ("pad", x.pad(&[(1, 1)], 0.0)),
        ("tile", x.tile(&[2])),
        ("repeat", x.repeat(2, 2)),
        ("diagonal", v.diagonal(0)),
        ("tril", v.tril(0)),
        ("index_select", x.index_select(0, &[2])),
        ("gather", x.gather(0, &far)),
        ("scatter_add", x.scatter_add(0, &far, &x)),
        ("index_add", x.index_add(&[0], &v)),
        ("masked_select", x.masked_select(&mask)),
        ("masked_fill", x.masked_fill(&mask, 0.0)),
        ("masked_scale", x.masked_scale(&mask, 2.0)),
        ("topk", x.topk(9, 0).map(|top| top.0)),
        ("cumprod", x.cumprod(2)),
        ("einsum", Var::einsum("ij,k->z", &[&x, &v])),
        ("outer", x.outer(&v)),
    ];
    for (name, result) in cases {
        let message = result.unwrap_err().to_string();
        assert!(message.starts_with(&format!("{name}: ")), "{name}: {message}");
    }
}
