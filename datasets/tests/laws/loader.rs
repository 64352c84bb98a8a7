//! Batching, shuffling and splitting, against what they promise.

use std::collections::BTreeSet;

use cairn_datasets::{Dataset, Error, ImageDataset, Loader, Tensor, TensorDataset, synthetic};
use proptest::prelude::*;

/// Sample `i` has the input `[i, 10 * i]` and the target `i`.
fn counting(len: usize) -> TensorDataset<f32, u32> {
    let x = (0..len).flat_map(|i| [i as f32, 10.0 * i as f32]).collect();
    let y = (0..len as u32).collect();
    TensorDataset::new(Tensor::from_vec(x, [len, 2]).unwrap(), Tensor::from_vec(y, [len]).unwrap()).unwrap()
}

/// The targets of an epoch, batch by batch.
fn epoch<D: Dataset<Target = Tensor<u32>>>(loader: &Loader<D>, number: u64) -> Vec<Vec<u32>> {
    loader.epoch(number).unwrap().map(|batch| batch.unwrap().1.to_vec()).collect()
}

#[test]
fn without_shuffling_the_order_is_the_data_sets() {
    let data = counting(70);
    let batches = epoch(&Loader::new(&data), 3);
    assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [32, 32, 6]);
    assert_eq!(batches.concat(), (0..70).collect::<Vec<_>>());
}

#[test]
fn the_order_is_fixed_for_good() {
    // These numbers are what the definition gives; a change of them would break resumed training.
    let data = counting(12);
    let loader = Loader::new(&data).batch_size(12).shuffle(42);
    assert_eq!(epoch(&loader, 0).concat(), EPOCH_0);
    assert_eq!(epoch(&loader, 1).concat(), EPOCH_1);
}

const EPOCH_0: [u32; 12] = [4, 8, 5, 11, 9, 1, 6, 2, 0, 7, 10, 3];
const EPOCH_1: [u32; 12] = [9, 3, 4, 11, 5, 7, 1, 8, 2, 0, 6, 10];

#[test]
fn empty_data_and_batches_are_errors() {
    let none = counting(0);
    assert!(matches!(Loader::new(&none).epoch(0), Err(Error::Empty { .. })));
    let some = counting(3);
    let loader = Loader::new(&some).batch_size(0);
    assert_eq!(loader.batches(), 0);
    assert!(matches!(loader.epoch(0), Err(Error::Argument { .. })));
    let error = Loader::new(&some).drop_last(true).epoch(0).unwrap_err();
    assert!(error.to_string().contains("3 samples in batches of 32"), "{error}");
    assert!(matches!((&some).split(0.1, 0), Err(Error::Empty { .. })));
    assert!(matches!((&some).split(1.0, 0), Err(Error::Empty { .. })));
}

#[test]
fn samples_beyond_the_end_are_errors() {
    fn beyond<D: Dataset>(data: &D) {
        let len = data.len();
        match data.batch(&[0, len, 1]).err().unwrap() {
            Error::IndexOutOfRange { index, len: n } => assert_eq!((index, n), (len, len)),
            other => panic!("{other}"),
        }
    }
    let data = counting(5);
    beyond(&data);
    beyond(&(&data).subset(vec![4, 2]).unwrap());
    beyond(&synthetic::digits(5, 1).unwrap());
    assert!(matches!((&data).subset(vec![0, 5]), Err(Error::IndexOutOfRange { index: 5, len: 5 })));
}

#[test]
fn fractions_outside_0_to_1_are_errors() {
    for fraction in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        assert!(matches!(counting(10).split(fraction, 0), Err(Error::Argument { .. })), "{fraction}");
    }
}

#[test]
fn tensors_of_different_length_are_not_a_data_set() {
    let (x, y) = (Tensor::<f32>::zeros([3, 2]).unwrap(), Tensor::<u32>::zeros([2]).unwrap());
    let error = TensorDataset::new(x.clone(), y).unwrap_err().to_string();
    assert!(error.contains("[3, 2]") && error.contains("[2]"), "{error}");
    assert!(TensorDataset::new(x, Tensor::<u32>::scalar(1)).is_err());
}

#[test]
fn views_are_batched_by_their_own_order() {
    let x = Tensor::from_vec((0..6).map(|i| i as f32).collect(), [2, 3]).unwrap().t().unwrap();
    let y = Tensor::from_vec(vec![0u32, 1, 2], [3]).unwrap();
    let (x, _) = TensorDataset::new(x, y).unwrap().batch(&[2, 0]).unwrap();
    assert_eq!(x.to_vec(), [2.0, 5.0, 0.0, 3.0]);
}

#[test]
fn image_errors() {
    for (size, pixels, labels, what) in [
        ([2, 2, 1], 8, vec![0], "1 labels"),
        ([0, 2, 1], 0, vec![], "size"),
        ([usize::MAX, 2, 1], 0, vec![], "size"),
        ([1, 1, 1], 2, vec![0, 2], "label 2 of image 1"),
    ] {
        let error = ImageDataset::new(size, vec![0; pixels], labels, 2).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn taking_the_first_images() {
    let digits = synthetic::digits(10, 1).unwrap();
    let few = digits.take(3);
    assert_eq!((few.len(), few.labels(), few.pixels(2)), (3, &digits.labels()[..3], digits.pixels(2)));
    assert_eq!(digits.take(99).len(), 10);
}

proptest! {
    /// Each sample once an epoch, the same for the same seed and epoch, in batches of the right size, with inputs that
    /// belong to their targets.
    #[test]
    fn epochs(len in 1usize..200, size in 1usize..70, seed in any::<u64>(), number in any::<u64>(), drop in any::<bool>()) {
        let data = counting(len);
        let loader = Loader::new(&data).batch_size(size).shuffle(seed).drop_last(drop);
        if drop && len < size {
            prop_assert!(loader.epoch(number).is_err());
            return Ok(());
        }
        let batches = epoch(&loader, number);
        prop_assert_eq!(&batches, &epoch(&loader.clone(), number));
        prop_assert_eq!(batches.len(), loader.batches());
        prop_assert_eq!(loader.epoch(number).unwrap().len(), batches.len());
        let (last, full) = batches.split_last().unwrap();
        prop_assert!(full.iter().all(|b| b.len() == size));
        prop_assert!(last.len() == size || (!drop && last.len() == len % size));
        let seen = batches.concat();
        let distinct: BTreeSet<u32> = seen.iter().copied().collect();
        prop_assert_eq!(distinct.len(), seen.len());
        prop_assert_eq!(seen.len(), if drop { len - len % size } else { len });
        for batch in loader.epoch(number).unwrap() {
            let (x, y) = batch.unwrap();
            let expected: Vec<f32> = y.to_vec().iter().flat_map(|&i| [i as f32, 10.0 * i as f32]).collect();
            prop_assert_eq!(x.to_vec(), expected);
        }
        if len >= 20 {
            prop_assert_ne!(&seen, &epoch(&loader, number.wrapping_add(1)).concat());
            prop_assert_ne!(&seen, &epoch(&loader.clone().shuffle(seed ^ 1), number).concat());
        }
    }

    #[test]
    fn splits(len in 2usize..200, fraction in 0.0f64..=1.0, seed in any::<u64>()) {
        let data = counting(len);
        let first = (fraction * len as f64).round() as usize;
        match (&data).split(fraction, seed) {
            Err(_) => prop_assert!(first == 0 || first == len),
            Ok((a, b)) => {
                prop_assert_eq!((a.len(), b.len()), (first, len - first));
                let mut all = [a.indices(), b.indices()].concat();
                all.sort_unstable();
                prop_assert_eq!(all, (0..len).collect::<Vec<_>>());
                let (x, y) = b.batch(&[0]).unwrap();
                prop_assert_eq!(y.to_vec(), [b.indices()[0] as u32]);
                prop_assert_eq!(x.shape(), [1, 2]);
            }
        }
    }

    /// Each sample is held out once, and each time the others are all of the rest.
    #[test]
    fn folds_divide_the_samples(len in 2usize..60, folds in 0usize..70, seed in any::<u64>()) {
        let data = counting(len);
        let Ok(pairs) = (&data).folds(folds, seed) else {
            prop_assert!(folds < 2 || folds > len);
            return Ok(());
        };
        prop_assert_eq!(pairs.len(), folds);
        let mut held_out = Vec::new();
        for (train, test) in &pairs {
            prop_assert!(test.len() == len / folds || test.len() == len.div_ceil(folds));
            let mut all = [train.indices(), test.indices()].concat();
            all.sort_unstable();
            prop_assert!(all.into_iter().eq(0..len));
            held_out.extend_from_slice(test.indices());
        }
        held_out.sort_unstable();
        prop_assert!(held_out.into_iter().eq(0..len));
        let again = (&data).folds(folds, seed).unwrap();
        prop_assert!(pairs.iter().zip(&again).all(|(a, b)| a.1.indices() == b.1.indices()));
    }
}

proptest! {
    /// Each sample once, the same for the same seed and epoch, and among every so many samples those of few blocks. With one sample to a
    /// block, or one block for all, any order can come.
    #[test]
    fn shuffling_in_blocks(len in 1usize..200, block in 1usize..40, together in 1usize..6, seed in any::<u64>(), number in any::<u64>()) {
        let data = counting(len);
        let loader = Loader::new(&data).shuffle_blocks(seed, block, together);
        let order = loader.epoch(number).unwrap().into_order();
        prop_assert_eq!(&order, &loader.epoch(number).unwrap().into_order());
        let mut sorted = order.clone();
        sorted.sort_unstable();
        prop_assert!(sorted.into_iter().eq(0..len));
        // Blocks in the order in which they come up first: each window's are read to their end before another begins.
        let mut blocks = Vec::new();
        for sample in &order {
            if !blocks.contains(&(sample / block)) {
                blocks.push(sample / block);
            }
        }
        let mut rest = &order[..];
        for window in blocks.chunks(together) {
            let count: usize = window.iter().map(|b| block.min(len - b * block)).sum();
            let (own, after) = rest.split_at(count);
            prop_assert!(own.iter().all(|sample| window.contains(&(sample / block))));
            rest = after;
        }
        let other = loader.epoch(number ^ 1).unwrap().into_order();
        prop_assert!(other != order || len < 20 || (len.div_ceil(block) < 20 && block.min(len) < 20));
    }
}

#[test]
fn blocks_of_nothing_are_errors() {
    let data = counting(10);
    for (block, together) in [(0, 1), (1, 0)] {
        let loader = Loader::new(&data).shuffle_blocks(1, block, together);
        assert!(matches!(loader.epoch(0), Err(Error::Argument { .. })));
    }
    let whole = Loader::new(&data).shuffle_blocks(1, usize::MAX, usize::MAX);
    assert_eq!(whole.epoch(0).unwrap().order().len(), 10);
}
