//! Training of word vectors: what is refused, and what leaves vectors alone.

use cairn_tensor::kernel::{NegativeSampling, SamplingPlan};
use cairn_tensor::{Error, Tensor, rng};

const PLAN: SamplingPlan =
    SamplingPlan { skip_gram: true, window: 2, negative: 3, exponent: 0.75, sample: 0.0, seed: 1 };

fn start() -> Tensor<f32> {
    Tensor::uniform([3, 5], -1.0, 1.0, &mut rng(1)).unwrap()
}

#[test]
fn plans_that_make_no_sense() {
    let new =
        |vectors: &Tensor<f32>, counts: &[u64], plan| NegativeSampling::new(vectors, counts, &plan).err();
    for shape in [&[3][..], &[0, 5], &[3, 0], &[1, 3, 5]] {
        let vectors = Tensor::zeros(shape).unwrap();
        assert!(matches!(new(&vectors, &[1, 1, 1], PLAN), Some(Error::BadShape { .. })), "{shape:?}");
    }
    assert!(matches!(new(&start(), &[1, 1], PLAN), Some(Error::WrongLength { .. })));
    assert!(matches!(new(&start(), &[0, 0, 0], PLAN), Some(Error::BadSetting { .. })));
    for plan in [
        SamplingPlan { window: 0, ..PLAN },
        SamplingPlan { window: usize::MAX, ..PLAN },
        SamplingPlan { negative: usize::MAX, ..PLAN },
        SamplingPlan { exponent: f64::NAN, ..PLAN },
        SamplingPlan { exponent: 1e9, ..PLAN },
        SamplingPlan { sample: -0.1, ..PLAN },
    ] {
        assert!(matches!(new(&start(), &[2, 2, 2], plan), Some(Error::BadSetting { .. })), "{plan:?}");
    }
}

#[test]
fn texts_that_make_no_sense() {
    let mut training = NegativeSampling::new(&start(), &[1, 1, 1], &PLAN).unwrap();
    let mut train = |words: &[u32], ends: &[usize], rate| training.train(words, ends, 0, rate);
    assert!(matches!(
        train(&[0, 3], &[2], 0.1),
        Err(Error::IndexOutOfRange { index: 3, position: 1, size: 3, .. })
    ));
    for ends in [&[][..], &[1], &[3], &[2, 1], &[3, 2]] {
        assert!(matches!(train(&[0, 1], ends, 0.1), Err(Error::BadSetting { .. })), "{ends:?}");
    }
    assert!(matches!(train(&[], &[0], 0.1), Err(Error::BadSetting { .. })));
    assert!(matches!(train(&[0, 1], &[2], f32::NAN), Err(Error::BadSetting { .. })));
    assert_eq!(training.vectors().unwrap(), start(), "nothing has changed");
}

#[test]
fn contexts_do_not_cross_sentences() {
    let mut training = NegativeSampling::new(&start(), &[2, 2, 2], &PLAN).unwrap();
    training.train(&[], &[], 0, 0.1).unwrap();
    training.train(&[0, 1, 2, 0], &[1, 2, 2, 3, 4], 1, 0.1).unwrap();
    assert_eq!(training.vectors().unwrap(), start());
    // As answers words begin with zeros, so it takes a second text to move them as contexts.
    (2..4).for_each(|i| training.train(&[0, 1], &[2], i, 0.1).unwrap());
    let (after, before) = (training.vectors().unwrap().to_vec(), start().to_vec());
    assert!(after[..5] != before[..5] && after[5..10] != before[5..10]);
    assert_eq!(after[10..], before[10..], "the third word stood nowhere");
}
