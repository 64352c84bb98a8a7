//! Joining, splitting, padding and repeating.

use cairn_tensor::Tensor;
use proptest::prelude::*;

use crate::naive::{Naive, same, shape_and_axis, shapes, small, view};

proptest! {
    #[test]
    fn parts_join_again((shape, axis) in shape_and_axis(), seed: u64, count in 1..5usize) {
        let (x, n) = view(&shape, seed, small);
        let parts = x.chunk(axis, count).unwrap();
        prop_assert_eq!(parts.len(), count);
        let sizes: Vec<usize> = parts.iter().map(|part| part.shape()[axis]).collect();
        prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
        same(&Tensor::cat(&parts.iter().collect::<Vec<_>>(), axis).unwrap(), &n);
        let split = x.split(axis, &sizes).unwrap();
        prop_assert!(split == parts);
    }

    #[test]
    fn padding_and_repeating_match(shape in shapes(), seed: u64, widths in prop::collection::vec((0..3usize, 0..3usize), 4), counts in prop::collection::vec(0..3usize, 4)) {
        let (x, n) = view(&shape, seed, small);
        let widths = &widths[..shape.len()];
        let padded: Vec<usize> = shape.iter().zip(widths).map(|(s, (a, b))| s + a + b).collect();
        same(&x.pad(widths, 7).unwrap(), &Naive::from_fn(&padded, |i| {
            let inside = (0..i.len()).all(|a| i[a] >= widths[a].0 && i[a] < widths[a].0 + shape[a]);
            if inside { n.at(&i.iter().zip(widths).map(|(i, w)| i - w.0).collect::<Vec<_>>()) } else { 7 }
        }));
        let counts = &counts[..shape.len()];
        let tiled: Vec<usize> = shape.iter().zip(counts).map(|(s, c)| s * c).collect();
        same(&x.tile(counts).unwrap(), &Naive::from_fn(&tiled, |i| n.at(&i.iter().zip(&shape).map(|(i, s)| i % s).collect::<Vec<_>>())));
        for (axis, &times) in counts.iter().enumerate() {
            let mut repeated = shape.clone();
            repeated[axis] *= times;
            same(&x.repeat(axis, times).unwrap(), &Naive::from_fn(&repeated, |i| {
                let mut i = i.to_vec();
                i[axis] /= times;
                n.at(&i)
            }));
        }
    }

    #[test]
    fn cat_matches_the_reference(
        (shape, axis) in shape_and_axis(),
        sizes in prop::collection::vec(0..4usize, 1..4),
        seed: u64,
    ) {
        let parts: Vec<_> = sizes
            .iter()
            .enumerate()
            .map(|(i, &size)| {
                let mut shape = shape.clone();
                shape[axis] = size;
                view(&shape, seed.wrapping_add(i as u64), small)
            })
            .collect();
        let joined = Tensor::cat(&parts.iter().map(|(x, _)| x).collect::<Vec<_>>(), axis).unwrap();
        let mut whole = shape.clone();
        whole[axis] = sizes.iter().sum();
        same(&joined, &Naive::from_fn(&whole, |index| {
            let mut index = index.to_vec();
            for (_, part) in &parts {
                if index[axis] < part.shape[axis] {
                    return part.at(&index);
                }
                index[axis] -= part.shape[axis];
            }
            unreachable!()
        }));
        // Narrowing takes the parts out again.
        let mut start = 0;
        for (_, part) in &parts {
            same(&joined.narrow(axis, start, part.shape[axis]).unwrap(), part);
            start += part.shape[axis];
        }
    }

    #[test]
    fn stack_matches_the_reference(shape in shapes(), axis in any::<prop::sample::Index>(), count in 1..4usize, seed: u64) {
        let axis = axis.index(shape.len() + 1);
        let parts: Vec<_> = (0..count).map(|i| view(&shape, seed.wrapping_add(i as u64), small)).collect();
        let references: Vec<_> = parts.iter().map(|(x, _)| x).collect();
        let stacked = Tensor::stack(&references, axis).unwrap();
        prop_assert_eq!(stacked.rank(), shape.len() + 1);
        for (i, (_, part)) in parts.iter().enumerate() {
            same(&stacked.index(axis, i).unwrap(), part);
        }
        let from_the_end = Tensor::stack(&references, axis as isize - shape.len() as isize - 1).unwrap();
        prop_assert_eq!(from_the_end, stacked);
    }
}
