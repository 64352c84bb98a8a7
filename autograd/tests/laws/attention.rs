//! Attention's derivatives against central differences, for each of its options and over random sizes.

use cairn_autograd::{Var, gradcheck};
use cairn_tensor::{AttentionOptions, Causal, Tensor, rng};
use proptest::prelude::*;

/// What an option is called, and how it is set, given the numbers of queries, keys and heads.
type Choice = (&'static str, fn(AttentionOptions, [usize; 3]) -> AttentionOptions);

fn of_batch(lengths: [usize; 2]) -> Tensor<u32> {
    Tensor::from_vec(lengths.map(|n| n as u32).to_vec(), [2]).unwrap()
}

const OPTIONS: &[Choice] = &[
    ("none", |o, _| o),
    ("scale", |o, _| o.scale(0.7)),
    ("top left", |o, _| o.causal(Causal::TopLeft)),
    ("bottom right", |o, _| o.causal(Causal::BottomRight)),
    ("window", |o, _| o.window(2)),
    ("causal window", |o, _| o.causal(Causal::BottomRight).window(3)),
    ("lengths of keys", |o, [_, keys, _]| o.key_lengths(&of_batch([keys, keys / 2]))),
    ("lengths of queries", |o, [queries, ..]| o.query_lengths(&of_batch([queries / 2, queries]))),
    ("mask", |o, [queries, keys, _]| {
        let visible = (0..queries * keys).map(|i| i % 3 != 1).collect();
        o.visible(&Tensor::from_vec(visible, [queries, keys]).unwrap())
    }),
    ("soft cap", |o, _| o.soft_cap(0.8)),
    ("slopes", |o, [.., heads]| o.alibi(heads)),
    ("dropout", |o, _| o.dropout(0.4, 11)),
    ("all", |o, [queries, keys, heads]| {
        let o = o.scale(0.6).causal(Causal::BottomRight).window(keys).soft_cap(1.5).alibi(heads);
        o.dropout(0.2, 5).key_lengths(&of_batch([keys, keys])).query_lengths(&of_batch([queries, queries]))
    }),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3))]

    #[test]
    fn every_option_has_its_derivative(
        (queries, keys) in (1..5usize, 2..7usize),
        (key_heads, group) in (1..3usize, 1..3usize),
        (size, value_size) in (1..4usize, 1..4usize),
        seed: u64,
    ) {
        let heads = key_heads * group;
        let mut rng = rng(seed);
        let mut draw = |shape: &[usize]| Tensor::<f64>::normal(shape, 0.0, 1.0, &mut rng).unwrap();
        let operands = [
            draw(&[2, queries, heads, size]),
            draw(&[2, keys, key_heads, size]),
            draw(&[2, keys, key_heads, value_size]),
        ];
        let biases = [draw(&[2, heads, queries, keys]), draw(&[heads, 1, keys]), draw(&[queries, 1])];
        for (name, set) in OPTIONS {
            let options = set(AttentionOptions::default(), [queries, keys, heads]);
            for bias in std::iter::once(None).chain(biases.iter().map(Some)) {
                let inputs: Vec<Tensor<f64>> = operands.iter().chain(bias).cloned().collect();
                let attend = |x: &[Var<f64>]| x[0].attention(&x[1], &x[2], x.get(3), &options);
                gradcheck(&inputs, attend).unwrap_or_else(|error| panic!("{name}: {error}"));
            }
        }
    }
}

#[test]
fn parts_of_one_projection_are_attended_to_as_they_lie() {
    let all = Tensor::<f64>::normal([2, 6, 3, 2, 4], 0.0, 1.0, &mut rng(3)).unwrap();
    let options = AttentionOptions::default().causal(Causal::TopLeft);
    gradcheck(&[all], |x| {
        let [q, k, v] = [0, 1, 2].map(|part| x[0].index(2, part));
        q?.attention(&k?, &v?, None, &options)
    })
    .unwrap();
}
