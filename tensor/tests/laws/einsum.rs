//! Contractions against the sum that defines them.

use cairn_tensor::Tensor;
use proptest::prelude::*;

use crate::naive::{Naive, close, indices, real, view};

proptest! {
    /// Formulas of up to three operands over four names, with repeats, against the sum over all names.
    #[test]
    fn contractions_match_their_definition(
        sizes in prop::collection::vec(0..4usize, 4),
        operands in prop::collection::vec(prop::collection::vec(0..4usize, 0..4), 1..4),
        output in Just(vec![0usize, 1, 2, 3]).prop_shuffle(),
        len in 0..4usize,
        seed: u64,
    ) {
        let output: Vec<usize> = output.into_iter().filter(|o| operands.iter().flatten().any(|i| i == o)).take(len).collect();
        let letters = |names: &[usize]| names.iter().map(|&i| (b'i' + i as u8) as char).collect::<String>();
        let formula = format!("{} -> {}", operands.iter().map(|o| letters(o)).collect::<Vec<_>>().join(", "), letters(&output));
        let made: Vec<_> = operands
            .iter()
            .zip(0..)
            .map(|(names, k)| view(&names.iter().map(|&i| sizes[i]).collect::<Vec<_>>(), seed ^ k, real))
            .collect();
        let got = Tensor::einsum(&formula, &made.iter().map(|(x, _)| x).collect::<Vec<_>>()).unwrap();
        let used: Vec<usize> = (0..4).filter(|i| operands.iter().flatten().any(|o| o == i)).collect();
        let mut want = Naive::from_fn(&output.iter().map(|&i| sizes[i]).collect::<Vec<_>>(), |_| 0.0);
        let places = indices(&want.shape);
        for index in indices(&used.iter().map(|&i| sizes[i]).collect::<Vec<_>>()) {
            let of = |names: &[usize]| names.iter().map(|n| index[used.iter().position(|u| u == n).unwrap()]).collect::<Vec<_>>();
            let product: f64 = operands.iter().zip(&made).map(|(names, (_, n))| n.at(&of(names))).product();
            want.data[places.iter().position(|p| *p == of(&output)).unwrap()] += product;
        }
        close(&got, &want, 1e-10);
    }
}
