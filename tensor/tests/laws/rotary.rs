//! Rotary positions against the formula, pair by pair, and the law that products depend on distances alone.

use cairn_tensor::{Error, Pairs, Rotary, RotaryScaling, Tensor, rng};
use proptest::prelude::*;
use rand::RngExt;

use crate::naive::{Naive, close, real, view};

proptest! {
    #[test]
    fn pairs_are_turned_by_the_angle_of_their_position(seed: u64) {
        let rng = &mut rng(seed);
        let shape = [rng.random_range(0..3), rng.random_range(0..9), rng.random_range(1..4), rng.random_range(2..21usize)];
        let [batch, time, _, size] = shape;
        let turned = 2 * rng.random_range(0..=size / 2);
        let (x, naive) = view(&shape, seed, real);
        let tables = Rotary::new(turned).base(50.0).tables::<f64>(40).unwrap();
        let ids: Vec<u32> = (0..batch * time).map(|_| rng.random_range(0..40)).collect();
        let ids = Tensor::from_vec(ids, [batch, time]).unwrap();
        let start = rng.random_range(0..30);
        for pairs in [Pairs::Halves, Pairs::Neighbours] {
            for given in [false, true] {
                let want = Naive::from_fn(&shape, |index| {
                    let &[b, t, h, d] = index else { unreachable!() };
                    let position = if given { ids.get(&[b, t]).unwrap() as usize } else { start + t };
                    let at = |d| naive.at(&[b, t, h, d]);
                    if d >= turned {
                        return at(d);
                    }
                    let (j, first) = match pairs {
                        Pairs::Halves => (d % (turned / 2), d < turned / 2),
                        Pairs::Neighbours => (d / 2, d % 2 == 0),
                    };
                    let (one, other) = match pairs {
                        Pairs::Halves => (j, j + turned / 2),
                        Pairs::Neighbours => (2 * j, 2 * j + 1),
                    };
                    let angle = position as f64 * 50f64.powf(-2.0 * j as f64 / turned as f64);
                    if first { at(one) * angle.cos() - at(other) * angle.sin() } else { at(other) * angle.cos() + at(one) * angle.sin() }
                });
                let (y, back) = if given {
                    let y = x.rotary_at(&tables, pairs, &ids).unwrap();
                    let back = y.rotary_at_back(&tables, pairs, &ids).unwrap();
                    (y, back)
                } else {
                    let y = x.rotary(&tables, pairs, start).unwrap();
                    let back = y.rotary_back(&tables, pairs, start).unwrap();
                    (y, back)
                };
                close(&y, &want, 1e-12);
                close(&back, &naive, 1e-12);
            }
        }
    }
}

#[test]
fn products_depend_on_the_distance_alone() {
    let (q, k) = (
        Tensor::<f64>::normal([1, 1, 1, 8], 0.0, 1.0, &mut rng(1)).unwrap(),
        Tensor::normal([1, 1, 1, 8], 0.0, 1.0, &mut rng(2)).unwrap(),
    );
    let tables = Rotary::new(8).tables(200).unwrap();
    let product = |at: usize, other: usize| {
        let (q, k) =
            (q.rotary(&tables, Pairs::Halves, at).unwrap(), k.rotary(&tables, Pairs::Halves, other).unwrap());
        q.mul(&k).unwrap().sum(..).unwrap().item().unwrap()
    };
    assert!((product(7, 3) - product(154, 150)).abs() < 1e-12);
    assert!((product(7, 3) - product(8, 3)).abs() > 1e-3);
}

#[test]
fn scalings_are_those_of_their_papers() {
    let plain = Rotary::new(8).base(500_000.0).frequencies().unwrap();
    let linear =
        Rotary::new(8).base(500_000.0).scaling(RotaryScaling::Linear { factor: 4.0 }).frequencies().unwrap();
    assert!(plain.iter().zip(&linear).all(|(p, l)| (p / l - 4.0).abs() < 1e-12));
    let llama = RotaryScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192.0 };
    let scaled = Rotary::new(128).base(500_000.0).scaling(llama).frequencies().unwrap();
    let plain = Rotary::new(128).base(500_000.0).frequencies().unwrap();
    // Those of `_compute_llama3_parameters` of transformers for Llama 3.1.
    for (j, expected) in [
        (0, 1.0),
        (28, 3.211_445_994_8e-3),
        (29, 2.166_570_763_5e-3),
        (34, 1.785_078_127_7e-4),
        (35, 9.556_212_353_9e-5),
        (63, 3.068_925_988_9e-7),
    ] {
        let got = scaled[j];
        assert!((got / expected - 1.0).abs() < 1e-9, "pair {j}: {got:e} for {expected:e}");
    }
    assert!((scaled[63] - plain[63] / 8.0).abs() < 1e-20);
}

#[test]
fn tables_that_do_not_fit_are_refused() {
    let x = Tensor::<f32>::zeros([2, 3, 1, 4]).unwrap();
    let tables = Rotary::new(4).tables(5).unwrap();
    assert_eq!(x.rotary(&tables, Pairs::Halves, 2).unwrap(), x);
    assert_eq!(
        x.rotary(&tables, Pairs::Halves, 3).unwrap_err(),
        Error::IndexOutOfRange { op: "rotary", index: 5, position: 2, size: 5 }
    );
    let ids = Tensor::from_vec(vec![0, 1, 2, 3, 4, 5], [2, 3]).unwrap();
    assert!(matches!(
        x.rotary_at(&tables, Pairs::Halves, &ids),
        Err(Error::IndexOutOfRange { index: 5, position: 5, .. })
    ));
    assert!(matches!(
        x.rotary_at(&tables, Pairs::Halves, &ids.flatten(0).unwrap()),
        Err(Error::ShapeMismatch { .. })
    ));
    assert!(matches!(x.flatten(2).unwrap().rotary(&tables, Pairs::Halves, 0), Err(Error::BadShape { .. })));
    let wide = Rotary::new(6).tables(5).unwrap();
    assert!(matches!(x.rotary(&wide, Pairs::Halves, 0), Err(Error::BadShape { .. })));
    let mixed = cairn_tensor::RotaryTables { cos: tables.cos.clone(), sin: wide.sin.clone() };
    assert!(matches!(x.rotary(&mixed, Pairs::Halves, 0), Err(Error::ShapeMismatch { .. })));
    for (rotary, what) in [
        (Rotary::new(3), "the number of turned elements is 3"),
        (Rotary::new(4).base(0.0), "the base is 0"),
        (Rotary::new(4).scaling(RotaryScaling::Linear { factor: -1.0 }), "the factor is -1"),
        (
            Rotary::new(4).scaling(RotaryScaling::Llama3 {
                factor: 8.0,
                low: 4.0,
                high: 1.0,
                original: 10.0,
            }),
            "the lower bound is 4",
        ),
    ] {
        let error = rotary.tables::<f32>(2).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    }
}
