//! What models attended to, and images and positions as transformers take them.

use cairn_nn::spec::{
    self, Dense, Embedding, GlobalAvgPool, LayerNorm, MultiHeadAttention, PatchEmbedding,
    TransformerEncoderLayer,
};
use cairn_nn::{
    Context, Error, Model, Module, PositionEmbedding, SequenceMask, Sequential, TransformerEncoder, explain,
};
use cairn_tensor::{Tensor, rng};
use proptest::prelude::*;

fn normal(shape: &[usize], seed: u64) -> Tensor {
    Tensor::normal(shape, 0.0, 1.0, &mut rng(seed)).unwrap()
}

fn apart(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.shape(), b.shape());
    a.sub(b).unwrap().abs().unwrap().max(..).unwrap().item().unwrap()
}

/// Weights of attention by the formula, from a layer's own projection.
fn expected(layer: &cairn_nn::MultiHeadAttention, x: &Tensor, causal: bool) -> Tensor {
    let all = layer.projection.forward(&x.clone().into()).unwrap().value().clone();
    let time = x.shape()[1];
    // Four heads of queries, two of keys, of size 4.
    let of = |first: usize, heads: usize| {
        let part = all.narrow(2, first, heads * 4).unwrap().contiguous().unwrap();
        part.reshape([time, heads, 4]).unwrap().permute([1, 0, 2]).unwrap().contiguous().unwrap()
    };
    let (q, k) = (of(0, 4), of(16, 2));
    let maps: Vec<Tensor> = (0..4)
        .map(|head| {
            let (q, k) = (q.index(0, head).unwrap(), k.index(0, head / 2).unwrap());
            let scores = q.matmul(&k.t().unwrap()).unwrap().scale(0.5).unwrap();
            let hidden = |i: usize, j: usize| if causal && j > i { f32::NEG_INFINITY } else { 0.0 };
            let mask = (0..time * time).map(|at| hidden(at / time, at % time)).collect();
            scores.add(&Tensor::from_vec(mask, [time, time]).unwrap()).unwrap().softmax(-1).unwrap()
        })
        .collect();
    Tensor::stack(&maps.iter().collect::<Vec<_>>(), 0).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn maps_are_the_weights(seed: u64, time in 1..7usize, causal: bool) {
        let layer = MultiHeadAttention::new(4).key_value_heads(2).causal(causal).layer(16, &mut rng(seed)).unwrap();
        let x = normal(&[1, time, 16], seed);
        let maps = explain::attention_maps(|| layer.forward(&x.clone().into(), &mut Context::eval())).unwrap();
        prop_assert_eq!(maps.len(), 1);
        prop_assert!(apart(&maps[0].index(0, 0).unwrap(), &expected(&layer, &x, causal)) < 1e-5);
    }

    /// Padding is neither attended to nor attends; a rollout's rows add up to 1 all the same.
    #[test]
    fn maps_and_rollouts_of_padded_sequences(seed: u64, lengths in prop::array::uniform2(0..5u32)) {
        let stack = TransformerEncoder::new(3, &TransformerEncoderLayer::new(2, 8), 8, &mut rng(seed)).unwrap();
        let x = normal(&[2, 4, 8], seed);
        let mut cx = Context::eval().with_lengths(&Tensor::from_slice(&lengths, [2]).unwrap());
        let maps = explain::attention_maps(|| stack.forward(&x.clone().into(), &mut cx)).unwrap();
        prop_assert_eq!(maps.len(), 3);
        for map in &maps {
            for (row, &length) in lengths.iter().enumerate() {
                let sums = map.index(0, row).unwrap().sum(-1).unwrap();
                let last = map.index(0, row).unwrap().narrow(2, length as usize, 4 - length as usize).unwrap();
                prop_assert!(last.iter().all(|w| w == 0.0));
                for step in 0..4 {
                    let sum = sums.get(&[0, step]).unwrap();
                    let expected = if (step as u32) < length { 1.0 } else { 0.0 };
                    prop_assert!((sum - expected).abs() < 1e-5, "{sum} of step {step} of {length}");
                }
            }
        }
        let rollout = explain::attention_rollout(&maps).unwrap();
        prop_assert!(rollout.sum(-1).unwrap().iter().all(|sum| (sum - 1.0).abs() < 1e-5));
    }

    /// A convolution whose stride is its kernel computes the same.
    #[test]
    fn patches_are_a_convolution(seed: u64, side in 1..4usize, rows in 1..4usize, columns in 1..4usize, token: bool) {
        let (height, width) = (side * rows, side * columns);
        let patches = PatchEmbedding::new(side, 5).class_token(token).layer([height, width, 2], &mut rng(seed)).unwrap();
        let x = normal(&[2, height, width, 2], seed);
        let got = patches.forward(&x.clone().into()).unwrap().value().sub(&patches.positions.value()).unwrap();
        let conv = spec::Conv2d::new(5, side).stride(side).layer(2, &mut rng(0)).unwrap();
        conv.weight.set(patches.projection.weight.value().reshape([side, side, 2, 5]).unwrap());
        let expected = conv.forward(&x.into()).unwrap().value().reshape([2, rows * columns, 5]).unwrap();
        let first = usize::from(token);
        prop_assert!(apart(&got.narrow(1, first, rows * columns).unwrap(), &expected) < 1e-4);
        if let Some(token) = &patches.class_token {
            let token = token.value().broadcast_to([2, 1, 5]).unwrap().contiguous().unwrap();
            prop_assert!(apart(&got.narrow(1, 0, 1).unwrap(), &token) < 1e-6);
        }
    }
}

#[test]
fn a_rollout_of_one_layer_is_half_its_mean() {
    let map = Tensor::from_vec(vec![1.0, 0.0, 0.25, 0.75, 0.0, 1.0, 0.75, 0.25], [1, 2, 2, 2]).unwrap();
    let rollout = explain::attention_rollout(std::slice::from_ref(&map)).unwrap();
    assert_eq!(rollout.to_vec(), [0.75, 0.25, 0.25, 0.75]);
    assert!(matches!(explain::attention_rollout(&[]), Err(Error::BadInput { .. })));
    let wide = Tensor::ones([1, 2, 2, 3]).unwrap();
    assert!(explain::attention_rollout(std::slice::from_ref(&wide)).is_err());
    assert!(explain::attention_rollout(&[map, Tensor::ones([1, 2, 3, 3]).unwrap()]).is_err());
    let without = Dense::new(2).layer(3, &mut rng(0)).unwrap();
    let x = Tensor::ones([1, 3]).unwrap();
    assert!(explain::attention_maps(|| without.forward(&x.into())).unwrap().is_empty());
}

/// Steps with a cache are recorded like others: of a packed one those of one new token together, the others row by row.
#[test]
fn maps_of_steps_with_a_cache_are_those_of_the_whole() {
    let block = TransformerEncoderLayer::new(2, 8).causal(true);
    let stack = TransformerEncoder::new(2, &block, 8, &mut rng(1)).unwrap();
    let (long, short) = (normal(&[1, 4, 8], 2), normal(&[1, 1, 8], 3));
    let whole = |x: &Tensor| {
        explain::attention_maps(|| stack.forward(&x.clone().into(), &mut Context::eval())).unwrap()
    };
    let (of_long, of_short) = (whole(&long), whole(&short));
    let mut cache = stack.cache(2, 4).unwrap();
    // Three tokens of the first row and all of the second; then the last of the first.
    let mut step = |rows: &[(usize, &[u32])], x: Tensor| {
        cache.read_packed(rows).unwrap();
        let maps = explain::attention_maps(|| stack.forward_cached(&x.into(), &mut cache)).unwrap();
        cache.end();
        maps
    };
    let first = Tensor::cat(&[&long.narrow(1, 0, 3).unwrap(), &short], 1).unwrap();
    let first = step(&[(0, &[1, 2, 3]), (1, &[4])], first);
    let second = step(&[(0, &[5])], long.narrow(1, 3, 1).unwrap());
    assert_eq!((first.len(), second.len()), (4, 2));
    for layer in 0..2 {
        assert!(apart(&first[2 * layer], &of_short[layer]) < 1e-6);
        let part = |from: usize, steps: usize, keys: usize| {
            of_long[layer].narrow(2, from, steps).unwrap().narrow(3, 0, keys).unwrap()
        };
        assert!(apart(&first[2 * layer + 1], &part(0, 3, 3)) < 1e-6);
        assert!(apart(&second[layer], &part(3, 1, 4)) < 1e-6);
    }
}

#[test]
fn a_translator_s_maps_are_of_both_sequences() {
    let model =
        spec::Transformer::new(9).features(8).heads(2).layers(2, 1).hidden(8).layer(&mut rng(0)).unwrap();
    let source = Tensor::from_vec(vec![3, 4, 5, 6], [1, 4]).unwrap();
    let target = Tensor::from_vec(vec![1, 7, 8], [1, 3]).unwrap();
    let maps =
        explain::attention_maps(|| model.forward(&source, None, &target, &mut Context::eval())).unwrap();
    let shapes: Vec<&[usize]> = maps.iter().map(Tensor::shape).collect();
    assert_eq!(shapes, [[1, 2, 4, 4], [1, 2, 4, 4], [1, 2, 3, 3], [1, 2, 3, 4]]);
}

#[test]
fn contributions_of_tokens_add_up_to_the_score() {
    let model = Sequential::new([5])
        .add_named("words", Embedding::new(10, 8).init(cairn_nn::Init::Normal(0.5)))
        .add(TransformerEncoderLayer::new(2, 16))
        .add(GlobalAvgPool)
        .add(Dense::new(3))
        .build(&mut rng(0))
        .unwrap();
    let text = Tensor::from_vec(vec![3, 1, 4, 1, 5, 9, 2, 6, 0, 0], [2, 5]).unwrap();
    let shares = explain::token_contributions(&model, "words", &text, 0, &[2, 1], 1000).unwrap();
    let scores = |text: &Tensor<u32>| model.predict_batch(text).unwrap();
    let change = scores(&text).sub(&scores(&Tensor::zeros([2, 5]).unwrap())).unwrap();
    for (row, class) in [(0, 2), (1, 1)] {
        let sum: f32 = shares.index(0, row).unwrap().iter().sum();
        let change = change.get(&[row, class]).unwrap();
        assert!((sum - change).abs() < 0.03 * change.abs().max(0.1), "{sum} for {change}");
    }
    // What is as in the baseline has no part.
    assert!(shares.get(&[1, 3]).unwrap() == 0.0 && shares.get(&[1, 4]).unwrap() == 0.0);
    let run =
        |layer: &str, classes: &[u32]| explain::token_contributions(&model, layer, &text, 0, classes, 2);
    assert!(matches!(run("letters", &[0, 0]), Err(Error::NoLayer { .. })));
    assert!(run("words", &[0, 3]).is_err() && run("words", &[0]).is_err());
    assert!(matches!(run("global_avg_pool", &[0, 0]), Err(Error::BadInput { .. })));
}

/// Padding that the layers pass over has no part, and the rest adds up to what the model makes of the text as it is.
#[test]
fn contributions_beside_padding_add_up_to_the_score() {
    let model = Sequential::new([5])
        .add_named("words", Embedding::new(10, 8).init(cairn_nn::Init::Normal(0.5)).padding(0).masked())
        // Without places a normed block says the same of any part of the way from nothing, and jumps at its beginning.
        .add(spec::PositionEmbedding)
        .add(TransformerEncoderLayer::new(2, 16))
        .add(GlobalAvgPool)
        .add(Dense::new(3))
        .build(&mut rng(0))
        .unwrap();
    let ids = |of: [u32; 10]| Tensor::from_vec(of.to_vec(), [2, 5]).unwrap();
    let text = ids([2, 6, 0, 0, 0, 0, 3, 1, 4, 1]);
    let scores = |text: &Tensor<u32>| model.predict_batch(text).unwrap();
    // Padding is zeros, and the text's lengths are its own.
    let zeros = Tensor::<f32>::zeros([2, 5, 8]).unwrap();
    let mut cx = Context::eval();
    cx.set_mask(Some(SequenceMask::of_ids(&text, 0).unwrap()));
    let of_padding = model.forward_after("words", zeros, &mut cx).unwrap().value().clone();
    for (baseline, expected) in [(7, scores(&ids([7, 7, 0, 0, 0, 0, 7, 7, 7, 7]))), (0, of_padding)] {
        let shares = explain::token_contributions(&model, "words", &text, baseline, &[2, 1], 1000).unwrap();
        let change = scores(&text).sub(&expected).unwrap();
        for (row, class) in [(0, 2), (1, 1)] {
            let sum: f32 = shares.index(0, row).unwrap().iter().sum();
            let change = change.get(&[row, class]).unwrap();
            assert!((sum - change).abs() < 0.03 * change.abs().max(0.1), "{baseline}: {sum} for {change}");
        }
        for (share, id) in shares.iter().zip(text.iter()) {
            assert_eq!(share == 0.0, id == 0, "{baseline}: {shares:?}");
        }
    }
}

#[test]
fn a_sequential_of_patches_is_saved_and_loaded() {
    let block = TransformerEncoderLayer::new(2, 16).norm_first(true);
    let model = Sequential::new([8, 8, 1])
        .add(PatchEmbedding::new(4, 8).class_token(true))
        .add(block)
        .add(LayerNorm::new())
        .add(GlobalAvgPool)
        .add(Dense::new(3))
        .build(&mut rng(0))
        .unwrap();
    assert_eq!(model.summary().parameters, model.parameter_count());
    let file = tempfile::NamedTempFile::new().unwrap();
    model.save(file.path()).unwrap();
    let images = normal(&[2, 8, 8, 1], 1);
    let again = Sequential::load(file.path()).unwrap();
    assert_eq!(again.predict_batch(&images).unwrap(), model.predict_batch(&images).unwrap());
    let texts = Sequential::new([6])
        .add(Embedding::new(9, 4).padding(0).masked())
        .add(spec::PositionEmbedding)
        .add(TransformerEncoderLayer::new(2, 8))
        .add(GlobalAvgPool)
        .build(&mut rng(0))
        .unwrap();
    texts.save(file.path()).unwrap();
    let ids = Tensor::from_vec(vec![1, 2, 3, 0, 0, 0], [1, 6]).unwrap();
    let again = Sequential::load(file.path()).unwrap();
    assert_eq!(again.predict_batch(&ids).unwrap(), texts.predict_batch(&ids).unwrap());
}

#[test]
fn images_and_positions_that_do_not_fit() {
    let layer =
        |side, features, image: [usize; 3]| PatchEmbedding::new(side, features).layer(image, &mut rng(0));
    assert!(matches!(layer(0, 8, [8, 8, 1]), Err(Error::BadSetting { .. })));
    assert!(matches!(layer(4, 0, [8, 8, 1]), Err(Error::BadSetting { .. })));
    assert!(matches!(layer(3, 8, [8, 8, 1]), Err(Error::BadInput { .. })));
    assert!(matches!(layer(4, 8, [8, 0, 1]), Err(Error::BadInput { .. })));
    assert!(Sequential::new([8, 8]).add(PatchEmbedding::new(4, 8)).build(&mut rng(0)).is_err());
    let patches = layer(4, 8, [8, 8, 1]).unwrap();
    let run = |shape: &[usize]| patches.forward(&normal(shape, 0).into());
    assert!(run(&[1, 8, 8, 1]).is_ok());
    // As many patches, otherwise side by side: the positions would be others'.
    for shape in
        [&[1, 4, 16, 1][..], &[1, 16, 4, 1], &[1, 8, 9, 1], &[1, 8, 12, 1], &[1, 8, 8, 2], &[8, 8, 1]]
    {
        assert!(run(shape).is_err(), "{shape:?}");
    }
    let positions = PositionEmbedding::new(3, 4, &mut rng(0)).unwrap();
    let run = |shape: &[usize]| positions.forward(&normal(shape, 0).into());
    assert_eq!(run(&[2, 2, 4]).unwrap().shape(), [2, 2, 4]);
    assert!(matches!(run(&[2, 4, 4]), Err(Error::BadInput { .. })));
    assert!(run(&[2, 3, 5]).is_err() && matches!(run(&[3, 4]), Err(Error::BadInput { .. })));
}
