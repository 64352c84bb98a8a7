//! Picking, adding and replacing by indices and masks.

use cairn_tensor::{Tensor, rng};
use proptest::prelude::*;
use rand::RngExt;

use crate::naive::{Naive, indices, same, shape_and_axis, shapes, small, view};

proptest! {
    #[test]
    fn gathering_and_scattering_match((shape, axis) in shape_and_axis(), len in 0..5usize, seed: u64) {
        let (x, n) = view(&shape, seed, small);
        let mut picked = shape.clone();
        picked[axis] = if shape[axis] == 0 { 0 } else { len };
        let (index, ni) = view(&picked, seed ^ 1, |rng| rng.random_range(0..shape[axis].max(1)) as u32);
        let source = |i: &[usize]| {
            let mut i = i.to_vec();
            i[axis] = ni.at(&i) as usize;
            i
        };
        same(&x.gather(axis, &index).unwrap(), &Naive::from_fn(&picked, |i| n.at(&source(i))));
        let (values, nv) = view(&picked, seed ^ 2, small);
        let mut sum = x.clone();
        sum.scatter_add(axis, &index, &values).unwrap();
        let mut want = n.clone();
        let all = indices(&shape);
        for i in indices(&picked) {
            let at = all.iter().position(|j| *j == source(&i)).unwrap();
            want.data[at] += nv.at(&i);
        }
        same(&sum, &want);
        same(&x, &n);
        let (labels, nl) = view(&shape, seed, |rng| rng.random_range(0..4));
        let hot = [&shape[..], &[4]].concat();
        same(&labels.one_hot::<u8>(4).unwrap(), &Naive::from_fn(&hot, |i| {
            let (&class, at) = i.split_last().unwrap();
            u8::from(nl.at(at) as usize == class)
        }));
    }

    #[test]
    fn index_select_and_add_match_the_reference(
        (shape, axis) in shape_and_axis(),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        seed: u64,
    ) {
        let (x, n) = view(&shape, seed, small);
        let picks: Vec<u32> = match shape[axis] {
            0 => vec![],
            size => picks.iter().map(|pick| pick.index(size) as u32).collect(),
        };
        let selected = x.index_select(axis, &picks).unwrap();
        let mut small_shape = shape.clone();
        small_shape[axis] = picks.len();
        let want = Naive::from_fn(&small_shape, |index| {
            let mut index = index.to_vec();
            index[axis] = picks[index[axis]] as usize;
            n.at(&index)
        });
        same(&selected, &want);

        // Its reverse, along axis 0.
        let (mut sum, mut wanted) = view(&shape, seed ^ 1, small);
        let mut rows_shape = shape.clone();
        let picks: Vec<u32> =
            if shape[0] == 0 { vec![] } else { picks.iter().map(|&i| i % shape[0] as u32).collect() };
        rows_shape[0] = picks.len();
        let (rows, rows_naive) = view(&rows_shape, seed ^ 2, small);
        let kept = sum.clone();
        let before = wanted.clone();
        sum.index_add(&picks, &rows).unwrap();
        for index in indices(&rows_shape) {
            let mut target = index.clone();
            target[0] = picks[index[0]] as usize;
            let position = indices(&shape).iter().position(|i| *i == target).unwrap();
            wanted.data[position] += rows_naive.at(&index);
        }
        same(&sum, &wanted);
        same(&kept, &before);
    }

    #[test]
    fn masks_select_fill_and_locate(shape in shapes(), seed: u64) {
        let (x, n) = view(&shape, seed, small);
        let (m, nm) = view(&shape, seed ^ 1, RngExt::random::<bool>);
        let kept: Vec<i64> = n.data.iter().zip(&nm.data).filter(|(_, m)| **m).map(|(x, _)| *x).collect();
        prop_assert_eq!(x.masked_select(&m).unwrap().to_vec(), kept.clone());
        same(&x.masked_fill(&m, 99).unwrap(), &Naive::from_fn(&shape, |i| if nm.at(i) { 99 } else { n.at(i) }));
        let scaled = Naive::from_fn(&shape, |i| if nm.at(i) { n.at(i) as f32 * 1.5 } else { 0.0 });
        same(&x.cast::<f32>().unwrap().masked_scale(&m, 1.5).unwrap(), &scaled);
        let places = m.nonzero().unwrap();
        prop_assert_eq!(places.shape(), &[kept.len(), shape.len()][..]);
        let found: Vec<i64> = (0..kept.len())
            .map(|row| n.at(&(0..shape.len()).map(|a| places.get(&[row, a]).unwrap() as usize).collect::<Vec<_>>()))
            .collect();
        prop_assert_eq!(found, kept);
    }

    #[test]
    fn rows_are_summed_in_order(
        rows in 1..30usize,
        width in 0..40usize,
        order in prop::collection::vec(0..1000u32, 0..200),
        cuts in prop::collection::vec(0..1000usize, 0..60),
        seed: u64,
    ) {
        let order: Vec<u32> = order.into_iter().map(|i| i % rows as u32).collect();
        let mut ends: Vec<u32> = cuts.into_iter().map(|cut| (cut % (order.len() + 1)) as u32).collect();
        ends.sort_unstable();
        let x = Tensor::<f64>::normal([rows, width], 0.0, 1.0, &mut rng(seed)).unwrap();
        let sums = x.sum_rows(&order, &ends).unwrap();
        prop_assert_eq!(sums.shape(), [ends.len(), width]);
        let mut begin = 0;
        for (k, &end) in ends.iter().enumerate() {
            let mut want = vec![0.0; width];
            for &i in &order[begin..end as usize] {
                for (j, o) in want.iter_mut().enumerate() {
                    *o += x.get(&[i as usize, j]).unwrap();
                }
            }
            for (j, &want) in want.iter().enumerate() {
                prop_assert_eq!(sums.get(&[k, j]).unwrap(), want);
            }
            begin = end as usize;
        }
    }
}

#[test]
fn bad_sums_of_rows_are_refused() {
    let x = Tensor::<f32>::ones([3, 2]).unwrap();
    assert!(x.sum_rows(&[0, 3], &[2]).unwrap_err().to_string().contains("index 3 at position 1"));
    assert!(x.sum_rows(&[0, 1], &[3]).is_err());
    assert!(x.sum_rows(&[0, 1], &[2, 1]).is_err());
    assert!(Tensor::<f32>::scalar(1.0).sum_rows(&[], &[]).is_err());
}
