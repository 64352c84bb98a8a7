//! The area under the ROC curve of one user's scores.

use cairn_tensor::kernel::vectorize;

use crate::data::ids::{Idx, ItemIdx};

/// Area under the ROC curve: the share of pairs of a relevant and another candidate that are in the right order, ties
/// counting half. Relevant items that are no candidates count as last. 0.5 if there is nothing to compare.
pub(super) fn auc(scores: &[f32], relevant: &[ItemIdx]) -> f64 {
    // Relevant items are few and the others many: for each relevant one a pass over all scores in vectors is a tenth of the
    // time that sorting them takes. What is no other candidate is NaN, which no comparison holds for.
    let mut others: Vec<f32> = scores.iter().map(|&s| if s.is_finite() { s } else { f32::NAN }).collect();
    relevant.iter().for_each(|item| others[item.at()] = f32::NAN);
    let n = others.iter().filter(|s| !s.is_nan()).count();
    if n == 0 || relevant.is_empty() {
        return 0.5;
    }
    // A pair in the right order counts two, a tie one: sums of whole numbers are exact.
    let halves: u64 = relevant
        .iter()
        .map(|item| scores[item.at()])
        .filter(|score| score.is_finite())
        .map(|score| others.chunks(1 << 20).map(|others| u64::from(halves(others, score))).sum::<u64>())
        .sum();
    halves as f64 / (2.0 * relevant.len() as f64 * n as f64)
}

/// Two for each of `others` below `score` and one for each equal to it.
fn halves(others: &[f32], score: f32) -> u32 {
    let mut sum = 0;
    vectorize(
        #[inline(always)]
        || others.iter().for_each(|&other| sum += u32::from(other < score) + u32::from(other <= score)),
    );
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auc_counts_pairs() {
        let scores = [3.0, 1.0, f32::NAN, 2.0, 2.0];
        // Relevant: 0 (above all), 3 (ties with 4, above 1), 2 (no candidate). Others: 1 and 4.
        let got = auc(&scores, &[ItemIdx(0), ItemIdx(2), ItemIdx(3)]);
        assert_eq!(got, (2.0 + 0.0 + 1.5) / 6.0);
        assert_eq!(auc(&scores, &[]), 0.5);
    }

    #[test]
    fn auc_agrees_with_all_pairs() {
        let scores: Vec<f32> = (0..300_u32)
            .map(|n| if n % 17 == 3 { f32::NAN } else { (n.wrapping_mul(2_654_435_761) >> 27) as f32 })
            .collect();
        for step in [2, 7, 50] {
            let relevant: Vec<ItemIdx> = (0..300).step_by(step).map(|n| ItemIdx(n as u32)).collect();
            let (mut right, mut pairs) = (0.0, 0.0);
            for up in &relevant {
                for other in (0..300).filter(|n| n % step != 0 && scores[*n].is_finite()) {
                    let up = scores[up.at()];
                    right +=
                        if up > scores[other] { 1.0 } else { f64::from(u8::from(up == scores[other])) / 2.0 };
                    pairs += 1.0;
                }
            }
            assert!((auc(&scores, &relevant) - right / pairs).abs() < 1e-12);
        }
    }
}
