//! Drawing from logits: the distributions that the settings promise, and each bad input.

use cairn_nn::{Error, generate::Sampling};

use cairn_tensor::{Tensor, rng};
use proptest::prelude::*;

fn logits(values: &[f32]) -> Tensor {
    Tensor::from_vec(values.to_vec(), [values.len()]).unwrap()
}

/// ln of these shares: 0.5, 0.25, 0.15, 0.1.
fn shares() -> Tensor {
    logits(&[0.15f32.ln(), 0.5f32.ln(), 0.1f32.ln(), 0.25f32.ln()])
}

fn close(got: &[(u32, f64)], expected: &[(u32, f64)]) {
    assert_eq!(got.len(), expected.len(), "{got:?}");
    for (g, e) in got.iter().zip(expected) {
        assert!(g.0 == e.0 && (g.1 - e.1).abs() < 1e-6, "{got:?} {expected:?}");
    }
}

#[test]
fn settings_shape_the_distribution() {
    let of = |sampling: Sampling| sampling.probabilities(&shares()).unwrap();
    close(&of(Sampling::new()), &[(1, 0.5), (3, 0.25), (0, 0.15), (2, 0.1)]);
    close(&of(Sampling::new().top_k(2)), &[(1, 2.0 / 3.0), (3, 1.0 / 3.0)]);
    close(&of(Sampling::new().top_p(0.7)), &[(1, 2.0 / 3.0), (3, 1.0 / 3.0)]);
    close(&of(Sampling::new().top_p(0.8)), &[(1, 0.5 / 0.9), (3, 0.25 / 0.9), (0, 0.15 / 0.9)]);
    close(&of(Sampling::new().top_p(1e-9)), &[(1, 1.0)]);
    // Of the three that are left the first holds 0.5 / 0.9 of what is left.
    close(&of(Sampling::new().top_k(3).top_p(0.55)), &[(1, 1.0)]);
    close(&of(Sampling::greedy()), &[(1, 1.0)]);
    // At a temperature of a half shares are squared.
    let total = 0.25 + 0.0625 + 0.0225 + 0.01;
    let squared = [(1, 0.25 / total), (3, 0.0625 / total), (0, 0.0225 / total), (2, 0.01 / total)];
    close(&of(Sampling::new().temperature(0.5)), &squared);
}

#[test]
fn of_equals_the_first_is_greedy() {
    assert_eq!(Sampling::greedy().draw(&logits(&[1.0, 3.0, 3.0]), &mut rng(0)).unwrap(), 1);
}

#[test]
fn draws_follow_the_distribution() {
    let (sampling, mut rng) = (Sampling::new().top_k(3), rng(5));
    let mut counts = [0.0; 4];
    for _ in 0..20_000 {
        counts[sampling.draw(&shares(), &mut rng).unwrap() as usize] += 1.0;
    }
    for (id, p) in sampling.probabilities(&shares()).unwrap() {
        // Five standard deviations.
        let allowed = 5.0 * (20_000.0 * p * (1.0 - p)).sqrt();
        assert!((counts[id as usize] - 20_000.0 * p).abs() < allowed, "{counts:?}");
    }
    assert!(counts[2] < 0.5, "the fourth is ruled out");
}

#[test]
fn bad_inputs() {
    let bad = |sampling: Sampling, values: &[f32]| {
        let error = sampling.draw(&logits(values), &mut rng(0)).unwrap_err();
        assert!(matches!(error, Error::BadSetting { .. }), "{error}");
    };
    for t in [-1.0, f64::NAN, f64::INFINITY] {
        bad(Sampling::new().temperature(t), &[0.0]);
    }
    bad(Sampling::new().top_k(0), &[0.0]);
    for p in [0.0, -0.1, 1.1, f64::NAN] {
        bad(Sampling::new().top_p(p), &[0.0]);
    }
    for values in [&[][..], &[0.0, f32::NAN], &[f32::INFINITY, 0.0], &[f32::NEG_INFINITY; 2]] {
        bad(Sampling::new(), values);
        bad(Sampling::greedy(), values);
    }
    let matrix = Tensor::zeros([1, 2]).unwrap();
    assert!(matches!(Sampling::new().draw(&matrix, &mut rng(0)), Err(Error::BadSetting { .. })));
}

proptest! {
    #[test]
    fn what_is_drawn_may_be_drawn(values in prop::collection::vec(-90f32..90.0, 1..40), k in 1usize..50, p in 0.01f64..1.0, t in 0.0f64..4.0, seed: u64) {
        let sampling = Sampling::new().temperature(t).top_k(k).top_p(p);
        let allowed = sampling.probabilities(&logits(&values)).unwrap();
        prop_assert!(allowed.len() <= k);
        prop_assert!((allowed.iter().map(|(_, p)| p).sum::<f64>() - 1.0).abs() < 1e-9);
        prop_assert!(allowed.is_sorted_by(|a, b| a.1 >= b.1));
        let id = sampling.draw(&logits(&values), &mut rng(seed)).unwrap();
        prop_assert!(allowed.iter().any(|&(other, _)| other == id));
        prop_assert_eq!(id, sampling.draw(&logits(&values), &mut rng(seed)).unwrap());
    }

    #[test]
    fn ruled_out_tokens_are_never_drawn(seed: u64, t in 0.0f64..3.0) {
        let values = [f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY, 1.0];
        let id = Sampling::new().temperature(t).draw(&logits(&values), &mut rng(seed)).unwrap();
        prop_assert!(id == 1 || id == 3);
    }
}

#[test]
fn what_was_written_is_made_less_likely_or_ruled_out() {
    let scores = logits(&[2.0, -1.0, 0.5, 0.0]);
    let of = |sampling: Sampling, written: &[u32]| sampling.probabilities_after(written, &scores).unwrap();
    // By hand: 2 / 2 = 1, -1 * 2 = -2; tokens that stand there twice count once, unknown ones not at all.
    let plain = Sampling::new().probabilities(&logits(&[1.0, -2.0, 0.5, 0.0])).unwrap();
    close(&of(Sampling::new().repetition_penalty(2.0), &[0, 1, 0, 99]), &plain);
    // 3 0 was written, and now 3 again: no 0.
    let left = of(Sampling::new().no_repeat_ngram(2), &[3, 0, 2, 3]);
    assert_eq!(left.iter().map(|&(id, _)| id).collect::<Vec<_>>(), [2, 3, 1]);
    // Runs of one: nothing twice. Runs longer than the text: all is open.
    assert_eq!(of(Sampling::new().no_repeat_ngram(1), &[0, 3, 2])[0].0, 1);
    assert_eq!(of(Sampling::new().no_repeat_ngram(5), &[0, 3, 2]).len(), 4);
    // A penalty that makes a score larger than any number leaves it the largest.
    for penalty in [1e-308, 1e-310, f64::MAX] {
        let small = Sampling::new().repetition_penalty(penalty);
        for sampling in [small, small.top_k(1), small.min_p(0.1)] {
            let likeliest = of(sampling, &[0, 1, 3])[0];
            assert!(
                likeliest.1 > 0.0 && likeliest.0 == if penalty < 1.0 { 0 } else { 2 },
                "{penalty}: {likeliest:?}"
            );
        }
    }
    let none = Sampling::new().no_repeat_ngram(1).draw_after(&[0, 1, 2, 3], &scores, &mut rng(0));
    assert!(matches!(none, Err(Error::BadSetting { .. })));
}

#[test]
fn min_p_is_a_share_of_the_likeliest() {
    let of = |sampling: Sampling| sampling.probabilities(&shares()).unwrap();
    close(&of(Sampling::new().min_p(0.5 - 1e-6)), &[(1, 2.0 / 3.0), (3, 1.0 / 3.0)]);
    close(&of(Sampling::new().min_p(1.0)), &[(1, 1.0)]);
    // After the temperature: at a half, shares relative to the best are squared: 1, 0.25, 0.09, 0.04.
    close(&of(Sampling::new().temperature(0.5).min_p(0.2)), &[(1, 0.8), (3, 0.2)]);
    for p in [-0.1, 1.1, f64::NAN] {
        assert!(Sampling::new().min_p(p).draw(&shares(), &mut rng(0)).is_err());
    }
    for penalty in [0.0, -1.0, f64::INFINITY] {
        assert!(Sampling::new().repetition_penalty(penalty).draw(&shares(), &mut rng(0)).is_err());
    }
}
