//! Attention and its gradients against plain loops over whole matrices of scores, and the laws that a row's result depends on nothing
//! but what it attends to.

use cairn_tensor::{AttentionOptions, AttentionRules, Causal, Error, Rng, Tensor, rng};
use proptest::prelude::*;
use rand::RngExt;

use crate::naive::{Naive, close, real, view};

fn normal(shape: [usize; 4], seed: u64) -> Tensor<f32> {
    Tensor::normal(shape, 0.0, 1.0, &mut rng(seed)).unwrap()
}

fn lengths(list: &[u32]) -> Option<Tensor<u32>> {
    Some(Tensor::from_slice(list, [list.len()]).unwrap())
}

fn bits(x: &Tensor<f32>) -> Vec<u32> {
    x.iter().map(f32::to_bits).collect()
}

/// Operands, options and a gradient drawn at random, every option among them.
struct Case {
    /// Batch, queries, keys, heads, key heads, size, value size.
    sizes: [usize; 7],
    q: (Tensor<f64>, Naive<f64>),
    k: (Tensor<f64>, Naive<f64>),
    v: (Tensor<f64>, Naive<f64>),
    g: (Tensor<f64>, Naive<f64>),
    bias: Option<(Tensor<f64>, Naive<f64>)>,
    visible: Option<Naive<bool>>,
    options: AttentionOptions,
}

/// A shape that can be broadcast to this one.
fn part(shape: [usize; 4], rng: &mut Rng) -> Vec<usize> {
    let drop = rng.random_range(0..3usize);
    shape[drop..].iter().map(|&size| if rng.random_bool(0.3) { 1 } else { size }).collect()
}

fn case(seed: u64) -> Case {
    let rng = &mut rng(seed);
    let (batch, key_heads, group) = (rng.random_range(1..3), rng.random_range(1..3), rng.random_range(1..3));
    // Half of them of few queries, and half of whole registers, for which there are ways of their own.
    let (few, whole) = (rng.random_bool(0.5), rng.random_bool(0.5));
    let queries = rng.random_range(0..if few { 4 } else { 70 });
    let keys = rng.random_range(0..if few { 450 } else { 250 });
    let (size, value_size) = if whole {
        (16 * rng.random_range(1..3usize), 16 * rng.random_range(1..4usize))
    } else {
        (rng.random_range(1..20), rng.random_range(1..36))
    };
    let heads = key_heads * group;
    let scores = [batch, heads, queries, keys];
    let mut options = AttentionOptions::default();
    let mut sometimes = |probability: f64| rng.random_bool(probability);
    let picks: [bool; 10] = std::array::from_fn(|_| sometimes(0.35));
    if picks[0] {
        options = options.scale(rng.random_range(0.1..1.0));
    }
    if picks[1] {
        options = options.causal(Causal::TopLeft);
    }
    if picks[2] {
        options = options.causal(Causal::BottomRight);
    }
    if picks[3] {
        options = options.window(rng.random_range(1..150));
    }
    if picks[4] {
        options = options.soft_cap(rng.random_range(0.5..5.0));
    }
    if picks[5] {
        let slopes: Vec<f64> = (0..heads).map(|_| rng.random_range(0.01..0.3)).collect();
        options = options.slopes(slopes);
    }
    let mut some = |most: usize| -> Option<Tensor<u32>> {
        let list: Vec<u32> = (0..batch).map(|_| rng.random_range(0..=most as u32)).collect();
        lengths(&list)
    };
    options.key_lengths = picks[6].then(|| some(keys)).flatten();
    options.query_lengths = picks[7].then(|| some(queries)).flatten();
    let bias = picks[8].then(|| view(&part(scores, rng), seed ^ 5, real));
    let visible = picks[9].then(|| view(&part(scores, rng), seed ^ 6, |rng: &mut Rng| rng.random_bool(0.6)));
    if let Some((mask, _)) = &visible {
        options = options.visible(mask);
    }
    Case {
        sizes: [batch, queries, keys, heads, key_heads, size, value_size],
        q: view(&[batch, queries, heads, size], seed ^ 1, real),
        k: view(&[batch, keys, key_heads, size], seed ^ 2, real),
        v: view(&[batch, keys, key_heads, value_size], seed ^ 3, real),
        g: view(&[batch, queries, heads, value_size], seed ^ 4, real),
        bias,
        visible: visible.map(|(_, naive)| naive),
        options,
    }
}

impl Case {
    fn length(lengths: &Option<Tensor<u32>>, b: usize, all: usize) -> usize {
        lengths.as_ref().map_or(all, |lengths| lengths.get(&[b]).unwrap() as usize)
    }

    /// Whether a query attends to a key, by the words of the documentation.
    fn sees(&self, [b, h, q, k]: [usize; 4]) -> bool {
        let [_, queries, keys, ..] = self.sizes;
        let rules = &self.options.rules;
        let real_keys = Self::length(&self.options.key_lengths, b, keys);
        let real_queries = Self::length(&self.options.query_lengths, b, queries);
        let at = self.position(b, q);
        let causal = rules.causal.is_none() || k as i64 <= at;
        let near = rules.window.is_none_or(|window| (k as i64 - at).abs() < window as i64);
        let visible = self.visible.as_ref().is_none_or(|mask| mask.at_broadcast(&[b, h, q, k]));
        k < real_keys && q < real_queries && causal && near && visible
    }

    fn position(&self, b: usize, q: usize) -> i64 {
        let [_, queries, keys, ..] = self.sizes;
        let real_keys = Self::length(&self.options.key_lengths, b, keys) as i64;
        let real_queries = Self::length(&self.options.query_lengths, b, queries) as i64;
        let last = self.options.rules.causal == Some(Causal::BottomRight);
        q as i64 + if last { real_keys - real_queries } else { 0 }
    }

    /// The scores of a row for the keys that it attends to, and the slopes of the soft cap there.
    fn scores(&self, [b, h, q]: [usize; 3]) -> Vec<(usize, f64, f64)> {
        let [_, _, keys, heads, key_heads, size, _] = self.sizes;
        let rules = &self.options.rules;
        let scale = rules.scale.unwrap_or(1.0 / (size as f64).sqrt());
        let head = h / (heads / key_heads);
        let mut row = Vec::new();
        for k in (0..keys).filter(|&k| self.sees([b, h, q, k])) {
            let dot: f64 =
                (0..size).map(|d| self.q.1.at(&[b, q, h, d]) * self.k.1.at(&[b, k, head, d])).sum();
            let (mut score, mut slope) = (scale * dot, 1.0);
            if let Some(cap) = rules.soft_cap {
                let t = (score / cap).tanh();
                (score, slope) = (cap * t, 1.0 - t * t);
            }
            if let Some((_, bias)) = &self.bias {
                score += bias.at_broadcast(&[b, h, q, k]);
            }
            if let Some(slopes) = &rules.slopes {
                score -= slopes[h] * (k as i64 - self.position(b, q)).abs() as f64;
            }
            row.push((k, score, slope));
        }
        row
    }

    /// The size of the largest score of all.
    fn largest_score(&self) -> f64 {
        let [batch, queries, _, heads, ..] = self.sizes;
        let rows =
            (0..batch).flat_map(|b| (0..heads).flat_map(move |h| (0..queries).map(move |q| [b, h, q])));
        rows.flat_map(|row| self.scores(row)).map(|(_, score, _)| score.abs()).fold(0.0, f64::max)
    }

    /// Output and the gradients of queries, keys, values and bias.
    fn reference(&self, factor: impl Fn([usize; 4]) -> f64) -> [Naive<f64>; 5] {
        let [batch, queries, _, heads, key_heads, size, value_size] = self.sizes;
        let scale = self.options.rules.scale.unwrap_or(1.0 / (size as f64).sqrt());
        let zeros = |like: &Naive<f64>| Naive { shape: like.shape.clone(), data: vec![0.0; like.data.len()] };
        let mut out = zeros(&self.g.1);
        let [mut dq, mut dk, mut dv] = [&self.q.1, &self.k.1, &self.v.1].map(zeros);
        let mut dbias = self.bias.as_ref().map_or(zeros(&self.g.1), |(_, bias)| zeros(bias));
        for (b, h, q) in
            (0..batch).flat_map(|b| (0..heads).flat_map(move |h| (0..queries).map(move |q| (b, h, q))))
        {
            let (row, head) = (self.scores([b, h, q]), h / (heads / key_heads));
            let most = row.iter().fold(f64::NEG_INFINITY, |most, entry| most.max(entry.1));
            let total: f64 = row.iter().map(|entry| (entry.1 - most).exp()).sum();
            let weights: Vec<f64> = row.iter().map(|entry| (entry.1 - most).exp() / total).collect();
            let dw: Vec<f64> = row
                .iter()
                .map(|&(k, ..)| {
                    let each = |e| self.g.1.at(&[b, q, h, e]) * self.v.1.at(&[b, k, head, e]);
                    factor([b, h, q, k]) * (0..value_size).map(each).sum::<f64>()
                })
                .collect();
            let mean: f64 = weights.iter().zip(&dw).map(|(w, d)| w * d).sum();
            for ((&(k, _, slope), &w), &d) in row.iter().zip(&weights).zip(&dw) {
                let dropped = w * factor([b, h, q, k]);
                for e in 0..value_size {
                    *at(&mut out, &[b, q, h, e]) += dropped * self.v.1.at(&[b, k, head, e]);
                    *at(&mut dv, &[b, k, head, e]) += dropped * self.g.1.at(&[b, q, h, e]);
                }
                let ds = w * (d - mean);
                if let Some((_, bias)) = &self.bias {
                    let index = &[b, h, q, k][4 - bias.shape.len()..];
                    let index: Vec<usize> =
                        index.iter().zip(&bias.shape).map(|(&i, &size)| i.min(size - 1)).collect();
                    *at(&mut dbias, &index) += ds;
                }
                for d in 0..size {
                    *at(&mut dq, &[b, q, h, d]) += ds * slope * scale * self.k.1.at(&[b, k, head, d]);
                    *at(&mut dk, &[b, k, head, d]) += ds * slope * scale * self.q.1.at(&[b, q, h, d]);
                }
            }
        }
        [out, dq, dk, dv, dbias]
    }

    fn check(&self, factor: impl Fn([usize; 4]) -> f64) {
        let [want, dq, dk, dv, dbias] = self.reference(factor);
        let (q, k, v, bias) = (&self.q.0, &self.k.0, &self.v.0, self.bias.as_ref().map(|bias| &bias.0));
        let (y, log_sums) = q.attention(k, v, bias, &self.options).unwrap();
        close(&y, &want, 1e-12);
        let results = [&y, &log_sums, &self.g.0];
        let wanted = [true, true, true, bias.is_some()];
        let got = q.attention_backward(k, v, bias, &self.options, results, wanted).unwrap();
        for (got, want) in got.iter().zip([dq, dk, dv, dbias]) {
            if let Some(got) = got {
                close(got, &want, 1e-10);
            }
        }
        assert_eq!(got.each_ref().map(Option::is_some), wanted);
        // A single one is the same as when all are asked for.
        for one in 0..4 {
            let alone = std::array::from_fn(|i| i == one && wanted[i]);
            let single = q.attention_backward(k, v, bias, &self.options, results, alone).unwrap();
            assert_eq!(single[one], got[one]);
            assert!(single.iter().enumerate().all(|(i, gradient)| i == one || gradient.is_none()));
        }
        // In single precision as far as it goes: scores are rounded by their size, and weights are off by as much of their own.
        let narrow = |x: &Tensor<f64>| x.cast::<f32>().unwrap();
        let bias = bias.map(narrow);
        let (y, _) = narrow(q).attention(&narrow(k), &narrow(v), bias.as_ref(), &self.options).unwrap();
        close(&y, &want, 2e-4 * (self.largest_score() / 64.0).max(1.0));
    }
}

fn at<'a>(x: &'a mut Naive<f64>, index: &[usize]) -> &'a mut f64 {
    let place = index.iter().zip(&x.shape).fold(0, |place, (&i, &size)| place * size + i);
    &mut x.data[place]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn values_and_gradients_are_those_of_plain_loops(seed: u64) {
        case(seed).check(|_| 1.0);
    }

    #[test]
    fn weights_are_dropped_alike_forward_and_backward(seed: u64, rate in 0.0..0.9f64) {
        let mut case = case(seed);
        // Values that are one for one key each show the weights.
        let keys = case.sizes[2].min(120);
        let shape = [case.sizes[0], keys, case.sizes[4], keys];
        let ones = Naive::from_fn(&shape, |i| if i[1] == i[3] { 1.0 } else { 0.0 });
        let [batch, queries, _, heads, ..] = case.sizes;
        case.sizes[2] = keys;
        case.options.rules = AttentionRules::default();
        case.options.key_lengths = None;
        case.visible = None;
        case.options.visible = None;
        case.bias = None;
        case.k = (case.k.0.narrow(1, 0, keys).unwrap(), case.k.1.narrow(1, 0, keys));
        let (values, naive) = (case.v.0.narrow(1, 0, keys).unwrap(), case.v.1.narrow(1, 0, keys));
        prop_assume!(keys > 0);
        let whole = case.q.0.attention(&case.k.0, &ones.tensor(), None, &case.options).unwrap().0;
        case.options = case.options.clone().dropout(rate, seed);
        let dropped = case.q.0.attention(&case.k.0, &ones.tensor(), None, &case.options).unwrap().0;
        case.v = (values, naive);
        let factor = |[b, h, q, k]: [usize; 4]| {
            let (dropped, whole) = (dropped.get(&[b, q, h, k]).unwrap(), whole.get(&[b, q, h, k]).unwrap());
            // A weight that is too small for a number shows nothing.
            (whole != 0.0).then(|| (dropped / whole * 1e9).round() / 1e9)
        };
        let keep = 1.0 / (1.0 - rate);
        let (mut zeros, mut all) = (0, 0);
        for b in 0..batch {
            let queries = Case::length(&case.options.query_lengths, b, queries);
            for (h, q, k) in (0..heads).flat_map(|h| (0..queries).flat_map(move |q| (0..keys).map(move |k| (h, q, k)))) {
                let Some(factor) = factor([b, h, q, k]) else { continue };
                prop_assert!(factor == 0.0 || (factor - keep).abs() < 1e-6, "{} for {}", factor, keep);
                zeros += usize::from(factor == 0.0);
                all += 1;
            }
        }
        // Six deviations of a binomial count, and six more, since a count of few is not as likely to be near its mean.
        let deviation = (all as f64 * rate * (1.0 - rate)).sqrt();
        prop_assert!((zeros as f64 - rate * all as f64).abs() <= 6.0 * deviation + 6.0, "{} of {} at {}", zeros, all, rate);
        case.check(|index| if factor(index) == Some(0.0) { 0.0 } else { keep });
    }

    #[test]
    fn a_row_has_the_same_bits_alone_and_among_others(seed: u64) {
        let rng = &mut rng(seed);
        let (keys, queries) = (rng.random_range(1..700usize), rng.random_range(1..120));
        let (size, value_size) = if rng.random_bool(0.5) { (24, 40) } else { (32, 48) };
        let (q, k) = (normal([2, queries, 4, size], seed), normal([2, keys, 2, size], seed ^ 1));
        let v = normal([2, keys, 2, value_size], seed ^ 2);
        let mut options = AttentionOptions::default().causal(Causal::BottomRight).alibi(4);
        if rng.random_bool(0.5) {
            options = options.window(rng.random_range(1..200));
        }
        let (all, sums) = q.attention(&k, &v, None, &options).unwrap();
        for _ in 0..6 {
            let (b, query) = (rng.random_range(0..2), rng.random_range(0..queries));
            // The keys so far, as a cache would hold them when this query came.
            let Some(so_far) = (query + 1 + keys).checked_sub(queries).filter(|&keys| keys > 0) else { continue };
            let one = |x: &Tensor, first: usize, len: usize| x.narrow(0, b, 1).unwrap().narrow(1, first, len).unwrap();
            let cached = [one(&k, 0, so_far), one(&v, 0, so_far)];
            let (alone, sum) = one(&q, query, 1).attention(&cached[0], &cached[1], None, &options).unwrap();
            prop_assert_eq!(bits(&alone), bits(&one(&all, query, 1)));
            prop_assert_eq!(bits(&sum), bits(&sums.narrow(0, b, 1).unwrap().narrow(2, query, 1).unwrap()));
        }
    }
}

#[test]
fn a_padded_batch_is_its_sequences_one_by_one() {
    let (queries, keys) = ([130, 0, 71], [200, 96, 33]);
    let poison = |x: &Tensor, lengths: [usize; 3]| {
        let mut x = x.clone();
        for (b, length) in lengths.into_iter().enumerate() {
            let row = x.shape()[1] * x.shape()[2] * x.shape()[3];
            let from = b * row + length * x.shape()[2] * x.shape()[3];
            x.as_mut_slice().unwrap()[from..(b + 1) * row].fill(f32::NAN);
        }
        x
    };
    let q = poison(&normal([3, 130, 4, 16], 1), queries);
    let g = poison(&normal([3, 130, 4, 16], 4), queries);
    let (k, v) = (poison(&normal([3, 200, 2, 16], 2), keys), poison(&normal([3, 200, 2, 16], 3), keys));
    for options in
        [AttentionOptions::default(), AttentionOptions::default().causal(Causal::BottomRight).window(50)]
    {
        let padded = options
            .clone()
            .query_lengths(&Tensor::from_vec(queries.map(|n| n as u32).to_vec(), [3]).unwrap())
            .key_lengths(&Tensor::from_vec(keys.map(|n| n as u32).to_vec(), [3]).unwrap());
        let (y, sums) = q.attention(&k, &v, None, &padded).unwrap();
        let wanted = [true, true, true, false];
        let gradients = q.attention_backward(&k, &v, None, &padded, [&y, &sums, &g], wanted).unwrap();
        for b in 0..3 {
            let one = |x: &Tensor, len: usize| x.narrow(0, b, 1).unwrap().narrow(1, 0, len).unwrap();
            let (q, k, v, g) = (one(&q, queries[b]), one(&k, keys[b]), one(&v, keys[b]), one(&g, queries[b]));
            let (alone, sums) = q.attention(&k, &v, None, &options).unwrap();
            let single = q.attention_backward(&k, &v, None, &options, [&alone, &sums, &g], wanted).unwrap();
            assert_eq!(bits(&one(&y, queries[b])), bits(&alone));
            for ((batch, single), len) in gradients.iter().zip(&single).zip([queries[b], keys[b], keys[b]]) {
                let (batch, single) = (batch.as_ref().unwrap(), single.as_ref().unwrap());
                assert_eq!(bits(&one(batch, len)), bits(single));
                let rest = batch.narrow(0, b, 1).unwrap().narrow(1, len, batch.shape()[1] - len).unwrap();
                assert!(rest.iter().all(|x| x == 0.0));
            }
            let rest = y.narrow(0, b, 1).unwrap().narrow(1, queries[b], 130 - queries[b]).unwrap();
            assert!(rest.iter().all(|x| x == 0.0));
        }
    }
}

#[test]
fn what_comes_later_is_not_looked_at() {
    let (q, k, v) = (normal([1, 150, 2, 16], 1), normal([1, 150, 2, 16], 2), normal([1, 150, 2, 16], 3));
    let later = |x: &Tensor| {
        let mut x = x.clone();
        x.as_mut_slice().unwrap()[100 * 32..].fill(f32::NAN);
        x
    };
    let options = AttentionOptions::default().causal(Causal::TopLeft);
    let (before, _) = q.attention(&k, &v, None, &options).unwrap();
    let (after, _) = q.attention(&later(&k), &later(&v), None, &options).unwrap();
    assert_eq!(bits(&before.narrow(1, 0, 100).unwrap()), bits(&after.narrow(1, 0, 100).unwrap()));
    assert!(after.narrow(1, 100, 50).unwrap().iter().all(f32::is_nan));
}

#[test]
fn a_row_that_attends_to_nothing_is_zero_and_has_no_gradient() {
    let (q, k, v, g) =
        (normal([2, 3, 2, 4], 1), normal([2, 5, 2, 4], 2), normal([2, 5, 2, 4], 3), normal([2, 3, 2, 4], 4));
    // The second query of each sequence sees nothing: by a mask, and by a bias of -∞.
    let hidden = Tensor::from_vec(vec![true, false, true], [3, 1]).unwrap();
    let bias = Tensor::from_vec(vec![0.0, f32::NEG_INFINITY, 0.0], [3, 1]).unwrap();
    let plain = AttentionOptions::default();
    for (options, bias) in [(plain.clone().visible(&hidden), None), (plain, Some(&bias))] {
        let (y, sums) = q.attention(&k, &v, bias, &options).unwrap();
        let wanted = [true, true, true, bias.is_some()];
        let gradients = q.attention_backward(&k, &v, bias, &options, [&y, &sums, &g], wanted).unwrap();
        for x in [&y, gradients[0].as_ref().unwrap()] {
            assert!(x.index(1, 1).unwrap().iter().all(|x| x == 0.0));
            assert!(x.index(1, 0).unwrap().iter().all(|x| x != 0.0 && x.is_finite()));
        }
        assert!(gradients.iter().flatten().all(|x| x.iter().all(f32::is_finite)));
        assert_eq!(sums.get(&[0, 0, 1]).unwrap(), f32::NEG_INFINITY);
    }
    // No keys at all.
    let none = Tensor::zeros([2, 0, 2, 4]).unwrap();
    let (y, sums) = q.attention(&none, &none, None, &AttentionOptions::default()).unwrap();
    assert!(y.iter().all(|x| x == 0.0));
    let wanted = [true, true, true, false];
    let gradients = q
        .attention_backward(&none, &none, None, &AttentionOptions::default(), [&y, &sums, &g], wanted)
        .unwrap();
    assert!(gradients[0].as_ref().unwrap().iter().all(|x| x == 0.0));
    assert_eq!(gradients[1].as_ref().unwrap().shape(), [2, 0, 2, 4]);
}

#[test]
fn not_a_number_stays_and_large_scores_do_not_overflow() {
    let (q, v) = (normal([1, 4, 1, 8], 1), normal([1, 100, 1, 8], 3));
    let mut k = normal([1, 100, 1, 8], 2);
    k.as_mut_slice().unwrap()[50 * 8] = f32::NAN;
    let (y, _) = q.attention(&k, &v, None, &AttentionOptions::default()).unwrap();
    assert!(y.iter().all(f32::is_nan));
    // In the middle of several blocks of keys, by many queries and by few.
    let (q, v) = (normal([1, 40, 1, 16], 1), normal([1, 700, 1, 16], 3));
    let mut k = normal([1, 700, 1, 16], 2);
    k.as_mut_slice().unwrap()[300 * 16] = f32::NAN;
    for q in [q.clone(), q.narrow(1, 0, 2).unwrap()] {
        let (y, sums) = q.attention(&k, &v, None, &AttentionOptions::default()).unwrap();
        assert!(y.iter().chain(sums.iter()).all(f32::is_nan));
    }
    let (q, v) = (normal([1, 4, 1, 8], 1), normal([1, 100, 1, 8], 3));
    let k = normal([1, 100, 1, 8], 2).scale(1e18).unwrap();
    let (y, _) = q.scale(1e18).unwrap().attention(&k, &v, None, &AttentionOptions::default()).unwrap();
    assert!(y.iter().all(f32::is_finite));
}

#[test]
fn slopes_of_the_paper() {
    let slopes = |heads| AttentionOptions::default().alibi(heads).rules.slopes.unwrap();
    assert_eq!(slopes(8), [0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125, 0.00390625]);
    // Twelve heads: those of eight, then the first, third, … of sixteen.
    let sixteen = slopes(16);
    assert_eq!(slopes(12)[8..], [sixteen[0], sixteen[2], sixteen[4], sixteen[6]]);
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let zeros = |shape: [usize; 4]| Tensor::<f32>::zeros(shape).unwrap();
    let (q, k) = (zeros([2, 3, 4, 8]), zeros([2, 5, 2, 8]));
    let plain = AttentionOptions::default();
    let attend = |k: &Tensor, v: &Tensor| q.attention(k, v, None, &plain).map(|(y, _)| y);
    assert_eq!(attend(&k, &zeros([2, 5, 2, 3])).unwrap().shape(), [2, 3, 4, 3]);
    for (k, v, why) in [
        (zeros([2, 5, 3, 8]), zeros([2, 5, 3, 8]), "the heads of the keys must divide those of the queries"),
        (zeros([1, 5, 2, 8]), zeros([1, 5, 2, 8]), "queries and keys must have one batch and head size"),
        (zeros([2, 5, 2, 7]), zeros([2, 5, 2, 8]), "queries and keys must have one batch and head size"),
        (
            zeros([2, 5, 2, 8]),
            zeros([2, 4, 2, 8]),
            "keys and values must have one batch, time and number of heads",
        ),
        (
            zeros([2, 5, 2, 8]),
            zeros([2, 5, 1, 8]),
            "keys and values must have one batch, time and number of heads",
        ),
    ] {
        let error = attend(&k, &v).unwrap_err();
        assert!(matches!(error, Error::ShapeMismatch { op: "attention", .. }));
        assert!(error.to_string().contains(why), "{error}");
    }
    for empty in [zeros([2, 5, 0, 8]), zeros([2, 5, 2, 0])] {
        assert!(matches!(attend(&empty, &empty), Err(Error::BadShape { op: "attention", .. })));
        assert!(matches!(empty.attention(&empty, &empty, None, &plain), Err(Error::BadShape { .. })));
    }
    assert!(matches!(attend(&Tensor::zeros([2, 5, 16]).unwrap(), &k), Err(Error::BadShape { .. })));
    let mismatched = |options: &AttentionOptions, bias: Option<&Tensor>| {
        let error = q.attention(&k, &k, bias, options).unwrap_err();
        assert!(matches!(error, Error::ShapeMismatch { op: "attention", .. }), "{error}");
    };
    mismatched(&plain, Some(&Tensor::zeros([3, 4]).unwrap()));
    mismatched(&plain, Some(&Tensor::zeros([1, 2, 4, 3, 5]).unwrap()));
    mismatched(&plain.clone().visible(&Tensor::full([2, 2, 3, 5], true).unwrap()), None);
    mismatched(&plain.clone().slopes([0.1; 2]), None);
    mismatched(&plain.clone().key_lengths(&Tensor::full([3], 1).unwrap()), None);
    let refused = |options: AttentionOptions| {
        let error = q.attention(&k, &k, None, &options).unwrap_err();
        assert!(matches!(error, Error::BadSetting { op: "attention", .. }), "{error}");
        error.to_string()
    };
    let lengths = Tensor::from_vec(vec![5, 6], [2]).unwrap();
    let message = refused(plain.clone().key_lengths(&lengths));
    assert_eq!(
        message,
        "attention: a length of keys is 6 (sequence 1, of 5 steps), which must be at most the time axis"
    );
    assert!(refused(plain.clone().query_lengths(&lengths)).contains("a length of queries"));
    assert!(refused(plain.clone().window(0)).contains("the window is 0"));
    assert!(refused(plain.clone().soft_cap(-1.0)).contains("the soft cap is -1"));
    // No numbers of f32.
    assert!(refused(plain.clone().soft_cap(f64::MAX)).contains("the soft cap is 1797"));
    assert!(refused(plain.clone().scale(1e39)).contains("the scale is 1"));
    // Its inverse is none.
    assert!(refused(plain.clone().soft_cap(1e-39)).contains("the soft cap is"));
    for slope in [f64::NAN, f64::INFINITY, 1e39, -1e38] {
        let heads = q.shape()[2];
        assert!(refused(plain.clone().slopes(vec![slope; heads])).contains("a slope is"));
    }
    mismatched(&plain.clone().alibi(usize::MAX), None);
    assert!(refused(plain.clone().dropout(1.0, 0)).contains("the dropout rate is 1"));
    assert!(refused(plain.clone().scale(f64::NAN)).contains("the scale is NaN"));
    let (y, sums) = q.attention(&k, &k, None, &plain).unwrap();
    let back = |results: [&Tensor; 3]| q.attention_backward(&k, &k, None, &plain, results, [true; 4]);
    assert!(back([&y, &sums, &y]).unwrap()[3].is_none());
    for results in [[&k, &sums, &y], [&y, &y, &y], [&y, &sums, &k]] {
        assert!(matches!(back(results), Err(Error::ShapeMismatch { op: "attention_backward", .. })));
    }
    // Nothing in, nothing out.
    let nothing = zeros([0, 3, 4, 8]);
    assert_eq!(nothing.attention(&nothing, &nothing, None, &plain).unwrap().0.shape(), [0, 3, 4, 8]);
}
