//! Counted and drawn tensors.

use cairn_tensor::{Error, Tensor, rng};
use proptest::prelude::*;

proptest! {
    #[test]
    fn arange_counts_exactly(start in -1000..1000i64, end in -1000..1000i64, step in -7..8i64) {
        let made = Tensor::arange(start, end, step);
        if step == 0 {
            let refused = matches!(made, Err(Error::BadSetting { op: "arange", .. }));
            prop_assert!(refused);
            return Ok(());
        }
        let mut want = vec![];
        let mut x = start;
        while if step > 0 { x < end } else { x > end } {
            want.push(x);
            x += step;
        }
        prop_assert_eq!(made.unwrap().to_vec(), want);
    }
}

#[test]
fn draws_follow_their_distribution() {
    let rng = &mut rng(3);
    let coin = Tensor::<f32>::bernoulli([20_000], 0.25, rng).unwrap();
    assert!(coin.iter().all(|x| x == 0.0 || x == 1.0));
    assert!((coin.mean(..).unwrap().item().unwrap() - 0.25).abs() < 0.02);
    assert_eq!(Tensor::<f32>::bernoulli([100], 1.0, rng).unwrap().sum(..).unwrap().item().unwrap(), 100.0);
    assert_eq!(Tensor::<f32>::bernoulli([100], 0.0, rng).unwrap().sum(..).unwrap().item().unwrap(), 0.0);
    assert!(matches!(
        Tensor::<f32>::bernoulli([1], 1.5, rng),
        Err(Error::BadSetting { op: "bernoulli", .. })
    ));
    assert!(Tensor::<f32>::bernoulli([1], f64::NAN, rng).is_err());

    let mut order = Tensor::permutation(1000, rng).unwrap().to_vec();
    assert_ne!(order, (0..1000).collect::<Vec<_>>());
    order.sort_unstable();
    assert_eq!(order, (0..1000).collect::<Vec<_>>());
    assert!(Tensor::permutation(0, rng).unwrap().is_empty());
    // Each number is equally often first.
    let mut firsts = [0; 4];
    for _ in 0..4000 {
        firsts[Tensor::permutation(4, rng).unwrap().get(&[0]).unwrap() as usize] += 1;
    }
    assert!(firsts.iter().all(|&n| (900..1100).contains(&n)), "{firsts:?}");

    let weights = Tensor::from_vec(vec![0.0f32, 3.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0], [2, 4]).unwrap();
    let drawn = weights.multinomial(4000, rng).unwrap();
    assert_eq!(drawn.shape(), [2, 4000]);
    let count = |row: usize, i: u32| drawn.index(0, row).unwrap().iter().filter(|&d| d == i).count();
    assert_eq!((count(0, 0), count(0, 2), count(1, 0)), (0, 0, 4000));
    assert!((2850..3150).contains(&count(0, 1)), "{}", count(0, 1));
    for bad in [vec![0.0, 0.0], vec![-1.0, 2.0], vec![f32::NAN, 1.0], vec![f32::INFINITY, 1.0]] {
        let bad = Tensor::from_vec(bad, [2]).unwrap();
        assert!(matches!(bad.multinomial(1, rng), Err(Error::BadSetting { op: "multinomial", .. })));
    }
    assert!(Tensor::<f32>::zeros([0]).unwrap().multinomial(1, rng).is_err());
}

#[test]
fn arange_at_the_edges() {
    assert_eq!(Tensor::arange(0i64, 10, 3).unwrap().to_vec(), [0, 3, 6, 9]);
    assert!(Tensor::arange(5u8, 0, 1).unwrap().is_empty());
    assert_eq!(Tensor::arange(250u8, 255, 2).unwrap().to_vec(), [250, 252, 254]);
    assert_eq!(Tensor::arange(i64::MAX - 3, i64::MAX, 2).unwrap().to_vec(), [i64::MAX - 3, i64::MAX - 1]);
    assert_eq!(Tensor::arange(i64::MIN, i64::MIN + 2, 1).unwrap().to_vec(), [i64::MIN, i64::MIN + 1]);
    assert_eq!(Tensor::arange(1.0f64, 0.0, -0.25).unwrap().to_vec(), [1.0, 0.75, 0.5, 0.25]);
    assert_eq!(Tensor::arange(0.0f32, 1.0, 0.25).unwrap().to_vec(), [0.0, 0.25, 0.5, 0.75]);
    for (a, b, c) in [(0.0, f64::NAN, 1.0), (0.0, 1.0, f64::NAN), (0.0, f64::INFINITY, 1.0), (0.0, 1.0, 0.0)]
    {
        assert!(
            matches!(Tensor::arange(a, b, c), Err(Error::BadSetting { op: "arange", .. })),
            "{a} {b} {c}"
        );
    }
    assert!(matches!(
        Tensor::arange(0.0f64, 1e300, 1e-300),
        Err(Error::BadSetting { .. } | Error::OutOfMemory { .. })
    ));
    assert!(matches!(Tensor::arange(i64::MIN, i64::MAX, 1), Err(Error::OutOfMemory { .. })));
    assert_eq!(Tensor::linspace(0.0f64, 1.0, 5).unwrap().to_vec(), [0.0, 0.25, 0.5, 0.75, 1.0]);
    assert_eq!(Tensor::linspace(2.0f64, 3.0, 1).unwrap().to_vec(), [2.0]);
    assert!(Tensor::linspace(2.0f64, 3.0, 0).unwrap().is_empty());
}
