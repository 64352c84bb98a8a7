//! Attention layers, transformer blocks and their cache: against PyTorch, against themselves, and with what does not fit.

use std::path::Path;

use cairn_autograd::Var;
use cairn_nn::Activation::{Gelu, Relu};
use cairn_nn::spec::{self, MultiHeadAttention};
use cairn_nn::weights::{Framework, Strictness, Weights};
use cairn_nn::{
    Activation, Context, Error, FeedForward, KeyValueCache, Model, Module, RelativePositions, SequenceMask,
    Sequential, TransformerDecoder, TransformerEncoder, generate,
};
use cairn_tensor::{AnyTensor, Pairs, Rotary, Tensor, rng};
use proptest::prelude::*;

fn normal(shape: &[usize], seed: u64) -> Tensor {
    Tensor::normal(shape, 0.0, 1.0, &mut rng(seed)).unwrap()
}

fn apart(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.shape(), b.shape());
    a.sub(b).unwrap().abs().unwrap().max(..).unwrap().item().unwrap()
}

fn lengths(of: &[u32]) -> Tensor<u32> {
    Tensor::from_slice(of, [of.len()]).unwrap()
}

/// A case of PyTorch's values.
struct Case(Weights, &'static str);

impl Case {
    fn open(name: &'static str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/torch_transformers.safetensors");
        Case(Weights::read_safetensors(path).unwrap(), name)
    }

    fn get(&self, name: &str) -> Option<AnyTensor> {
        self.0.tensors.get(&format!("{}/{name}", self.1)).cloned()
    }

    fn floats(&self, name: &str) -> Tensor {
        self.get(name).unwrap_or_else(|| panic!("{name}")).try_into().unwrap()
    }

    fn lengths(&self, name: &str) -> Option<Tensor<u32>> {
        self.get(name).map(|tensor| tensor.try_into().unwrap())
    }

    /// PyTorch's value or gradient that is this one of ours, in our layout.
    fn foreign(&self, own: &str, prefix: &str) -> Tensor {
        let layers = [
            ("cross_attention_norm", if self.1.starts_with("decoder") { "norm2" } else { "" }),
            ("feed_forward_norm", if self.1.starts_with("decoder") { "norm3" } else { "norm2" }),
            ("attention_norm", "norm1"),
            ("cross_attention", "multihead_attn"),
            ("attention", "self_attn"),
            ("feed_forward.up", "linear1"),
            ("feed_forward.down", "linear2"),
        ];
        let (layer, rest) = layers
            .iter()
            .find_map(|(ours, theirs)| Some((*theirs, own.strip_prefix(ours)?.strip_prefix('.')?)))
            .unwrap();
        let cross = layer == "multihead_attn";
        let (name, rows) = match rest {
            "projection.weight" => ("in_proj_weight", if cross { 0..8 } else { 0..24 }),
            "projection.bias" => ("in_proj_bias", if cross { 0..8 } else { 0..24 }),
            "memory.weight" => ("in_proj_weight", 8..24),
            "memory.bias" => ("in_proj_bias", 8..24),
            "output.weight" => ("out_proj.weight", 0..8),
            "output.bias" => ("out_proj.bias", 0..8),
            other => (other, 0..usize::MAX),
        };
        let value = self.floats(&format!("{prefix}{layer}.{name}"));
        let value =
            if rows.end == usize::MAX { value } else { value.narrow(0, rows.start, rows.len()).unwrap() };
        if value.rank() == 2 { value.t().unwrap() } else { value }
    }

    fn check(
        &self,
        model: &impl Module,
        run: impl Fn(&Var, Option<&Var>, &mut Context) -> cairn_nn::Result<Var>,
    ) {
        for (name, parameter) in model.parameters() {
            parameter.set(self.foreign(&name, ""));
        }
        let x = Var::parameter(self.floats("x"));
        let memory = self.get("memory").map(|memory| Var::parameter(memory.try_into().unwrap()));
        let mut cx = Context::train(0);
        if let Some(lengths) = self.lengths("lengths") {
            cx = cx.with_lengths(&lengths);
        }
        let mut y = run(&x, memory.as_ref(), &mut cx).unwrap();
        if let Some(mask) = self.lengths("lengths") {
            // Normalisation and biases fill the padding again; PyTorch's script zeroes it likewise.
            let valid: Vec<f32> = mask
                .iter()
                .flat_map(|n| (0..x.shape()[1] as u32).map(move |t| f32::from(u8::from(t < n))))
                .collect();
            let valid = Tensor::from_vec(valid, [x.shape()[0], x.shape()[1], 1]).unwrap();
            y = y.mul(&Var::constant(valid)).unwrap();
        }
        assert!(apart(y.value(), &self.floats("y")) < 1e-5, "{}", self.1);
        let gradients = y.mul(&Var::constant(self.floats("g"))).unwrap().sum(..).unwrap().backward().unwrap();
        let close = |ours: &Tensor, theirs: &Tensor, name: &str| {
            assert!(apart(ours, theirs) < 1e-4, "{}: gradient of {name}: {}", self.1, apart(ours, theirs));
        };
        close(&gradients.of(&x).unwrap(), &self.floats("grad/x"), "x");
        if let Some(memory) = memory {
            close(&gradients.of(&memory).unwrap(), &self.floats("grad/memory"), "memory");
        }
        for (name, parameter) in model.parameters() {
            close(&gradients.of(&parameter).unwrap(), &self.foreign(&name, "grad/"), &name);
        }
    }
}

#[test]
fn encoder_blocks_are_pytorch_s() {
    let check = |case, block: spec::TransformerEncoderLayer| {
        let block = block.dropout(0.0).layer(8, &mut rng(0)).unwrap();
        Case::open(case).check(&block, |x, _, cx| block.forward(x, cx));
    };
    let block = || spec::TransformerEncoderLayer::new(2, 12);
    check("encoder", block());
    check("encoder_first_gelu", block().norm_first(true).activation(Gelu));
    check("encoder_padded", block());
    check("encoder_causal", block().causal(true).norm_first(true));
    check("encoder_causal_padded", block().causal(true));
}

#[test]
fn decoder_blocks_are_pytorch_s() {
    let check = |name, block: spec::TransformerDecoderLayer| {
        let block = block.dropout(0.0).layer(8, &mut rng(0)).unwrap();
        let case = Case::open(name);
        let mask = case.lengths("memory_lengths").map(|lengths| SequenceMask::of_lengths(&lengths));
        case.check(&block, |x, memory, cx| block.forward(x, memory.unwrap(), mask.as_ref(), cx));
    };
    check("decoder", spec::TransformerDecoderLayer::new(2, 12));
    check(
        "decoder_first_padded",
        spec::TransformerDecoderLayer::new(2, 12).norm_first(true).activation(Gelu),
    );
}

/// The values of `torch_transformer.safetensors`.
fn whole() -> Weights {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/torch_transformer.safetensors");
    Weights::read_safetensors(path).unwrap()
}

fn floats(weights: &mut Weights, name: &str) -> Tensor {
    weights.tensors.remove(name).unwrap().try_into().unwrap()
}

#[test]
fn a_whole_transformer_takes_and_gives_pytorch_s_weights() {
    #[derive(Module)]
    struct Both {
        encoder: TransformerEncoder,
        decoder: TransformerDecoder,
    }
    let mut weights = whole();
    let [x, memory, y, far, z] = ["x", "memory", "y", "far", "z"].map(|name| floats(&mut weights, name));
    weights.tensors.retain(|name, _| !name.contains('/'));
    let mut other = weights.clone();
    other.tensors.retain(|name, _| name.starts_with("other."));
    weights.tensors.retain(|name, _| !name.starts_with("other."));
    let (read, write) =
        (spec::TransformerEncoderLayer::new(2, 12), spec::TransformerDecoderLayer::new(2, 12));
    let mut both = Both {
        encoder: TransformerEncoder::new(2, &read, 8, &mut rng(0)).unwrap(),
        decoder: TransformerDecoder::new(2, &write, 8, &mut rng(0)).unwrap(),
    };
    both.encoder.norm = Some(spec::LayerNorm::new().layer(8).unwrap());
    both.decoder.norm = Some(spec::LayerNorm::new().layer(8).unwrap());
    let own = weights.clone().from_torch_transformer().unwrap();
    own.load_into(&both, Strictness::Strict).unwrap();
    let mut cx = Context::eval();
    let memory = both.encoder.forward(&memory.into(), &mut cx).unwrap();
    let got = both.decoder.forward(&x.clone().into(), &memory, None, &mut cx).unwrap();
    assert!(apart(got.value(), &y) < 1e-5);
    assert_eq!(own.to_torch_transformer().unwrap().tensors, weights.tensors);
    // Attention to a memory of other features has matrices of its own there; the rest of a block stands in for what is not of interest.
    let alone = |name: &str| weights.tensors[&format!("decoder.layers.0.{name}")].clone();
    for name in ["self_attn.in_proj_weight", "self_attn.out_proj.weight", "linear1.weight"] {
        other.tensors.insert(format!("other.{name}"), alone(name));
    }
    let own = other.clone().from_torch_transformer().unwrap();
    let cross = spec::MultiHeadAttention::new(2).cross_layer(8, 6, &mut rng(0)).unwrap();
    for (name, parameter) in cross.parameters() {
        parameter.set(own.tensors[&format!("other.cross_attention.{name}")].clone().try_into().unwrap());
    }
    let got = cross.attend(&x.into(), &far.into(), None, &mut cx).unwrap();
    assert!(apart(got.value(), &z) < 1e-5);
    assert_eq!(own.to_torch_transformer().unwrap().tensors, other.tensors);
    let none = Weights::default().from_torch_transformer().unwrap_err().to_string();
    assert!(none.contains("no transformer's block"), "{none}");
}

#[test]
fn blocks_that_pytorch_has_not_are_not_written_for_it() {
    let of = MultiHeadAttention::new;
    let stack = |attention: MultiHeadAttention| {
        let block = spec::TransformerEncoderLayer::new(2, 12).attention(attention);
        TransformerEncoder::new(1, &block, 8, &mut rng(0)).unwrap()
    };
    let written = |stack: &TransformerEncoder| Weights::of(stack).to_torch_transformer();
    assert!(written(&stack(of(2))).is_ok());
    let refused = |stack: &TransformerEncoder| {
        let told = written(stack).unwrap_err();
        assert!(
            matches!(told, Error::Unsupported { .. }) && told.to_string().contains("`layers.0`"),
            "{told}"
        );
    };
    // Matrices for queries, keys and values, each by itself, are joined.
    assert!(written(&stack(of(2).separate())).is_ok());
    let shared = of(2).key_value_heads(1);
    for attention in [shared.clone().separate(), shared, of(2).head_size(3), of(2).head_norm(1e-6)] {
        refused(&stack(attention));
    }
    // As wide together as two heads of 4: four of queries and one of keys and of values.
    refused(&stack(of(4).key_value_heads(1).head_size(4)));
    let mut gated = stack(of(2));
    gated.layers[0].feed_forward = FeedForward::gated(8, 12, Activation::Silu, &mut rng(0)).unwrap();
    refused(&gated);
    // A block for a memory, whose heads of keys are shared.
    let block = spec::TransformerDecoderLayer::new(2, 12);
    let mut decoder = TransformerDecoder::new(1, &block, 8, &mut rng(0)).unwrap();
    assert!(Weights::of(&decoder).to_torch_transformer().is_ok());
    let shared = of(2).key_value_heads(1);
    for cross in [
        shared.cross_layer(8, 8, &mut rng(0)),
        shared.cross_layer_apart(8, [6, 10], &mut rng(0)),
        of(2).value_size(3).cross_layer_apart(8, [6, 10], &mut rng(0)),
    ] {
        decoder.layers[0].cross_attention = cross.unwrap();
        assert!(matches!(Weights::of(&decoder).to_torch_transformer(), Err(Error::Unsupported { .. })));
    }
}

#[test]
fn relative_positions_are_t5_s() {
    for (case, back) in [("both", false), ("back", true)] {
        let mut weights = whole();
        let mut floats = |name: &str| floats(&mut weights, &format!("{case}/{name}"));
        let table = RelativePositions::with_buckets(2, 8, 12, &mut rng(0)).unwrap();
        let table = if back { table.one_way() } else { table };
        table.weight.set(floats("relative_attention_bias.weight"));
        let attention = spec::MultiHeadAttention::new(2).bias(false).scale(1.0).causal(back);
        let layer = attention.separate().layer(8, &mut rng(0)).unwrap().relative(&table).unwrap();
        let parts =
            [&layer.projection, layer.keys.as_ref().unwrap(), layer.values.as_ref().unwrap(), &layer.output];
        for (part, name) in parts.into_iter().zip(["q", "k", "v", "o"]) {
            part.weight.set(floats(&format!("{name}.weight")).t().unwrap());
        }
        let (x, y) = (floats("x"), floats("y"));
        let got = layer.forward(&x.clone().into(), &mut Context::eval()).unwrap();
        assert!(apart(got.value(), &y) < 1e-5, "{case}");
        let gradients = got_sum(&layer, &x).backward().unwrap();
        assert_eq!(gradients.of(&table.weight).unwrap().shape(), [8, 2]);
        if !back {
            continue;
        }
        // With a cache, the same bits, whatever the pieces.
        let mut cache = layer.cache(1, 2, 20).unwrap();
        let mut parts = Vec::new();
        for (first, count) in [(0, 4), (4, 1), (5, 10)] {
            cache.begin(&[count, count]).unwrap();
            let x = x.narrow(1, first, count).unwrap();
            parts.push(layer.forward_cached(&x.into(), &mut cache, 0).unwrap().value().clone());
            cache.end();
        }
        assert_eq!(&Tensor::cat(&parts.iter().collect::<Vec<_>>(), 1).unwrap(), got.value());
    }
    let table = RelativePositions::new(4, &mut rng(0)).unwrap();
    let layer = || spec::MultiHeadAttention::new(2).layer(8, &mut rng(0)).unwrap();
    assert!(matches!(layer().relative(&table), Err(Error::BadSetting { .. })));
    let cross = spec::MultiHeadAttention::new(4).cross_layer(8, 8, &mut rng(0)).unwrap();
    assert!(matches!(cross.relative(&table), Err(Error::Unsupported { .. })));
}

fn got_sum(layer: &cairn_nn::MultiHeadAttention, x: &Tensor) -> Var {
    layer.forward(&x.clone().into(), &mut Context::eval()).unwrap().sum(..).unwrap()
}

#[test]
fn a_sequential_of_blocks_takes_and_gives_pytorch_s_weights() {
    let case = Case::open("encoder");
    let block = spec::TransformerEncoderLayer::new(2, 12);
    let model = Sequential::new([5, 8]).add_named("block", block).build(&mut rng(0)).unwrap();
    let theirs = case.0.tensors.iter().filter_map(|(name, tensor)| {
        let name = name.strip_prefix("encoder/")?;
        let weight = name.contains('.') && !name.starts_with("grad/");
        weight.then(|| (format!("block.{name}"), tensor.clone()))
    });
    let theirs = Weights { tensors: theirs.collect(), ..Weights::default() };
    let report = model.load_weights(&theirs, Framework::PyTorch, Strictness::Strict).unwrap();
    assert_eq!(report.loaded.len(), 12);
    assert!(apart(&model.predict_batch(&case.floats("x")).unwrap(), &case.floats("y")) < 1e-5);
    assert_eq!(model.weights(Framework::PyTorch).unwrap().tensors, theirs.tensors);
    let file = tempfile::NamedTempFile::new().unwrap();
    model.save(file.path()).unwrap();
    let again = Sequential::load(file.path()).unwrap();
    assert_eq!(
        again.predict_batch(&case.floats("x")).unwrap(),
        model.predict_batch(&case.floats("x")).unwrap()
    );
}

fn decoder_only(seed: u64, attention: MultiHeadAttention, norm_first: bool) -> TransformerEncoder {
    let block =
        spec::TransformerEncoderLayer::new(4, 24).attention(attention.causal(true)).norm_first(norm_first);
    TransformerEncoder::new(2, &block, 16, &mut rng(seed)).unwrap()
}

fn kinds() -> [MultiHeadAttention; 4] {
    let of = MultiHeadAttention::new;
    [of(4), of(4).key_value_heads(2).head_size(6).bias(false), of(4).window(3).soft_cap(5.0), of(4).alibi()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_causal_stack_does_not_see_the_future(seed: u64, kind in 0..4usize, first: bool, cut in 1..9usize) {
        let stack = decoder_only(seed, kinds()[kind].clone(), first);
        let x = normal(&[2, 9, 16], seed);
        let whole = stack.forward(&x.clone().into(), &mut Context::eval()).unwrap();
        let part = stack.forward(&x.narrow(1, 0, cut).unwrap().into(), &mut Context::eval()).unwrap();
        prop_assert_eq!(&whole.value().narrow(1, 0, cut).unwrap(), part.value());
    }

    /// Rows of other lengths, each read in pieces of other sizes.
    #[test]
    fn with_a_cache_the_bits_are_the_same(seed: u64, kind in 0..4usize, first: bool, pieces in prop::collection::vec((0..4usize, 1..4usize), 1..5)) {
        let stack = decoder_only(seed, kinds()[kind].clone(), first);
        let totals = [pieces.iter().map(|p| p.0).sum::<usize>(), pieces.iter().map(|p| p.1).sum()];
        let x = normal(&[2, totals[0].max(totals[1]), 16], seed);
        let row = |row: usize, start: usize, len: usize| x.narrow(0, row, 1).unwrap().narrow(1, start, len).unwrap();
        let mut cache = stack.cache(2, 16).unwrap();
        let mut done = [0, 0];
        let mut got = [Vec::new(), Vec::new()];
        for &(a, b) in &pieces {
            let new = [a, b];
            let most = a.max(b);
            let padded: Vec<Tensor> = (0..2).map(|i| row(i, done[i], new[i]).pad(&[(0, 0), (0, most - new[i]), (0, 0)], 9.0).unwrap()).collect();
            cache.begin(&new).unwrap();
            let y = stack.forward_cached(&Tensor::cat(&[&padded[0], &padded[1]], 0).unwrap().into(), &mut cache).unwrap();
            cache.end();
            for i in 0..2 {
                got[i].extend(y.value().narrow(0, i, 1).unwrap().narrow(1, 0, new[i]).unwrap().to_vec());
                done[i] += new[i];
            }
        }
        for i in 0..2 {
            let alone = stack.forward(&row(i, 0, totals[i]).into(), &mut Context::eval()).unwrap();
            prop_assert_eq!(alone.value().to_vec(), got[i].clone());
        }
    }

    #[test]
    fn a_padded_batch_gives_what_single_sequences_do(seed: u64, a in 1u32..6, b in 1u32..6, first: bool, before: bool) {
        let block = spec::TransformerEncoderLayer::new(2, 12).norm_first(first);
        let stack = TransformerEncoder::new(2, &block, 8, &mut rng(seed)).unwrap();
        let x = normal(&[2, 6, 8], seed);
        let mut cx = Context::eval();
        let start = |length: u32| if before { 6 - length as usize } else { 0 };
        if before {
            let ids: Vec<u32> = [a, b].iter().flat_map(|&n| (0..6).map(move |t| u32::from(t >= 6 - n))).collect();
            cx.set_mask(Some(SequenceMask::of_ids(&Tensor::from_vec(ids, [2, 6]).unwrap(), 0).unwrap()));
        } else {
            cx = cx.with_lengths(&lengths(&[a, b]));
        }
        let together = stack.forward(&x.clone().into(), &mut cx).unwrap();
        for (i, length) in [a, b].into_iter().enumerate() {
            let part = |x: &Tensor| x.narrow(0, i, 1).unwrap().narrow(1, start(length), length as usize).unwrap();
            let alone = stack.forward(&part(&x).into(), &mut Context::eval()).unwrap();
            prop_assert!(apart(alone.value(), &part(together.value())) < 1e-6);
        }
    }
}

#[test]
fn a_decoder_with_a_cache_writes_the_same_bits() {
    let block = spec::TransformerDecoderLayer::new(2, 12).norm_first(true);
    let decoder = TransformerDecoder::new(2, &block, 8, &mut rng(0)).unwrap();
    let (x, source) = (normal(&[2, 5, 8], 1), normal(&[2, 7, 8], 2));
    let mask = SequenceMask::of_lengths(&lengths(&[7, 4]));
    let whole = decoder
        .forward(&x.clone().into(), &source.clone().into(), Some(&mask), &mut Context::eval())
        .unwrap();
    let mut memory = decoder.memory(&source.clone().into(), Some(&mask), 5).unwrap();
    // The rows change places on the way.
    let swapped = |x: &Tensor| x.index_select(0, &[1, 0]).unwrap();
    for t in 0..5 {
        let token = x.narrow(1, t, 1).unwrap();
        memory.cache.begin(&[1, 1]).unwrap();
        let y = decoder
            .forward_cached(&if t >= 2 { swapped(&token) } else { token }.into(), &mut memory)
            .unwrap();
        memory.cache.end();
        let y = if t >= 2 { swapped(y.value()) } else { y.value().clone() };
        assert_eq!(y, whole.value().narrow(1, t, 1).unwrap());
        if t == 1 {
            memory.pick(&[1, 0]).unwrap();
        }
    }
    assert_eq!(memory.cache.lengths(), [5, 5]);
    let full = memory.cache.begin(&[0, 1]).unwrap_err();
    assert!(full.to_string().contains("capacity"), "{full}");
    // What fewer blocks keep is no memory for more of them.
    let deeper = TransformerDecoder::new(3, &block, 8, &mut rng(0)).unwrap();
    let mut memory = decoder.memory(&source.into(), None, 5).unwrap();
    memory.cache.begin(&[1, 1]).unwrap();
    let refused = deeper.forward_cached(&x.narrow(1, 0, 1).unwrap().into(), &mut memory).unwrap_err();
    assert!(refused.to_string().contains("block"), "{refused}");
}

#[test]
fn a_sequence_of_nothing_but_padding_spoils_no_other() {
    let block = spec::TransformerEncoderLayer::new(2, 12).dropout(0.0).layer(8, &mut rng(0)).unwrap();
    let x = normal(&[2, 3, 8], 1);
    let run = |ids: &[u32]| {
        let mut cx = Context::train(0);
        cx.set_mask(Some(SequenceMask::of_ids(&Tensor::from_slice(ids, [2, 3]).unwrap(), 0).unwrap()));
        let x = Var::parameter(x.clone());
        let y = block.forward(&x, &mut cx).unwrap();
        let first = y.narrow(0, 0, 1).unwrap();
        let gradient = first.sum(..).unwrap().backward().unwrap().of(&x).unwrap();
        assert!(y.value().iter().chain(gradient.iter()).all(f32::is_finite), "{ids:?}");
        first.value().clone()
    };
    assert_eq!(run(&[0, 5, 5, 0, 0, 0]), run(&[0, 5, 5, 7, 7, 7]));
}

#[test]
fn dropout_is_of_the_seed_and_of_training() {
    let block = spec::TransformerEncoderLayer::new(2, 12).dropout(0.5).layer(8, &mut rng(0)).unwrap();
    let x: Var = normal(&[2, 5, 8], 1).into();
    let run = |mut cx: Context| block.forward(&x, &mut cx).unwrap().value().clone();
    assert_eq!(run(Context::train(3)), run(Context::train(3)));
    assert_ne!(run(Context::train(3)), run(Context::train(4)));
    assert_ne!(run(Context::train(3)), run(Context::eval()));
}

#[test]
fn gated_parts_multiply() {
    let layer = FeedForward::gated(2, 3, Activation::Silu, &mut rng(0)).unwrap();
    assert_eq!(layer.parameter_count(), 2 * 6 + 3 * 2);
    let x = normal(&[4, 2], 1);
    let (up, down) = (layer.up.weight.value(), layer.down.weight.value());
    let both = x.matmul(&up).unwrap();
    let (gate, value) = (both.narrow(1, 0, 3).unwrap(), both.narrow(1, 3, 3).unwrap());
    let gate = gate.mul(&gate.sigmoid().unwrap()).unwrap();
    let expected = gate.mul(&value).unwrap().matmul(&down).unwrap();
    let got = layer.forward(&x.into(), &mut Context::eval()).unwrap();
    assert!(apart(got.value(), &expected) < 1e-6);
    let relu = FeedForward::new(2, 3, Relu, &mut rng(0)).unwrap();
    assert_eq!(relu.parameter_count(), 2 * 3 + 3 + 3 * 2 + 2);
}

#[test]
fn what_does_not_fit_is_said() {
    let layer = |attention: MultiHeadAttention| attention.layer(8, &mut rng(0));
    let bad_setting = |attention| {
        let error = layer(attention).unwrap_err();
        assert!(matches!(error, Error::BadSetting { .. }), "{error}");
    };
    bad_setting(MultiHeadAttention::new(3));
    bad_setting(MultiHeadAttention::new(0));
    bad_setting(MultiHeadAttention::new(4).key_value_heads(3));
    bad_setting(MultiHeadAttention::new(4).key_value_heads(0));
    bad_setting(MultiHeadAttention::new(4).head_size(0));
    bad_setting(MultiHeadAttention::new(4).head_size(usize::MAX / 4));
    bad_setting(MultiHeadAttention::new(4).dropout(1.0));
    bad_setting(MultiHeadAttention::new(2).rotary(Rotary::new(6), Pairs::Halves));
    for (attention, what) in [
        (MultiHeadAttention::new(2).window(0), "the window"),
        (MultiHeadAttention::new(2).soft_cap(-1.0), "the soft cap"),
        (MultiHeadAttention::new(2).soft_cap(f64::NAN), "the soft cap"),
        (MultiHeadAttention::new(2).scale(f64::NAN), "the scale"),
    ] {
        let told = layer(attention.clone()).unwrap_err().to_string();
        assert!(told.contains(what), "{told}");
        assert!(Sequential::new([3, 8]).add(attention.clone()).build(&mut rng(0)).is_err(), "{what}");
        let block = spec::TransformerEncoderLayer::new(2, 12).attention(attention);
        assert!(block.layer(8, &mut rng(0)).is_err(), "{what}");
    }
    assert!(layer(MultiHeadAttention::new(2).rotary(Rotary::new(4), Pairs::Halves).window(1)).is_ok());
    let attention = layer(MultiHeadAttention::new(2)).unwrap();
    let run = |shape: &[usize], cx: &mut Context| attention.forward(&normal(shape, 0).into(), cx);
    assert!(run(&[2, 3, 7], &mut Context::eval()).is_err());
    assert!(matches!(run(&[3, 8], &mut Context::eval()), Err(Error::BadInput { .. })));
    let error = run(&[2, 3, 8], &mut Context::eval().with_lengths(&lengths(&[3, 4]))).unwrap_err();
    assert!(error.to_string().contains("sequence 1"), "{error}");
    assert!(run(&[2, 3, 8], &mut Context::eval().with_lengths(&lengths(&[3]))).is_err());
    let empty = run(&[2, 3, 8], &mut Context::eval().with_lengths(&lengths(&[3, 0]))).unwrap();
    assert!(empty.value().iter().all(f32::is_finite), "a sequence of no steps attends to nothing");
    let (x, memory): (Var, Var) = (normal(&[2, 3, 8], 0).into(), normal(&[2, 4, 5], 0).into());
    assert!(matches!(attention.attend(&x, &x, None, &mut Context::eval()), Err(Error::Unsupported { .. })));
    let cross = MultiHeadAttention::new(2).cross_layer(8, 5, &mut rng(0)).unwrap();
    assert_eq!(cross.attend(&x, &memory, None, &mut Context::eval()).unwrap().shape(), [2, 3, 8]);
    assert!(matches!(cross.forward(&x, &mut Context::eval()), Err(Error::Unsupported { .. })));
    assert!(cross.attend(&x, &x, None, &mut Context::eval()).is_err());
    for placed in [MultiHeadAttention::new(2).window(2), MultiHeadAttention::new(2).alibi()] {
        assert!(matches!(placed.cross_layer(8, 5, &mut rng(0)), Err(Error::Unsupported { .. })));
    }
    let (keys, values) = cross.keys_values(&memory).unwrap();
    let own = attention.attend_to(&x, &keys, &values, None, &mut Context::eval());
    assert!(matches!(own, Err(Error::Unsupported { .. })));
    let (mask, flat) = (
        SequenceMask::of_ids(&lengths(&[1, 0]).reshape([2, 1]).unwrap(), 0).unwrap(),
        normal(&[4], 0).into(),
    );
    assert!(cross.attend_to(&x, &flat, &values, Some(&mask), &mut Context::eval()).is_err());
    assert!(cairn_nn::sinusoids(4, 3).is_err());

    let mut cache = attention.cache(1, 2, 4).unwrap();
    assert!(
        cache.begin(&[1]).is_err() && cache.begin(&[1, 5]).is_err() && cache.begin(&[1, usize::MAX]).is_err()
    );
    assert!(cache.pick(&[2]).is_err());
    cache.begin(&[1, 3]).unwrap();
    let step = normal(&[2, 3, 8], 0).into();
    assert!(attention.forward_cached(&step, &mut cache, 1).is_err(), "one layer only");
    assert!(
        attention.forward_cached(&normal(&[2, 2, 8], 0).into(), &mut cache, 0).is_err(),
        "three were begun"
    );
    attention.forward_cached(&step, &mut cache, 0).unwrap();
    cache.end();
    assert_eq!(cache.lengths(), [1, 3]);
    assert!(attention.forward_cached(&step, &mut cache, 0).is_err(), "no step is begun");
    // Rows that are changed after a step began: it is given up.
    type Change = fn(&mut KeyValueCache) -> cairn_nn::Result<()>;
    let changes: [Change; 4] =
        [|c| c.copy_row(1, 0, 1), |c| c.truncate(1, 2), |c| c.pick(&[1, 0]), |c| c.grow(9)];
    for (change, lengths) in changes.into_iter().zip([[1, 3], [1, 2], [3, 1], [1, 3]]) {
        let mut cache = cache.clone();
        cache.begin(&[3, 1]).unwrap();
        change(&mut cache).unwrap();
        assert!(attention.forward_cached(&step, &mut cache, 0).is_err());
        cache.end();
        assert_eq!(cache.lengths(), lengths);
    }
    // Layers after the end of a packed step, or after its rows are others, have no step to be in.
    let mut cache = attention.cache(1, 2, 4).unwrap();
    let tokens: Var = normal(&[1, 3, 8], 0).into();
    cache.read_packed(&[(1, &[1, 2, 3])]).unwrap();
    attention.forward_cached(&tokens, &mut cache, 0).unwrap();
    cache.end();
    assert!(attention.forward_cached(&tokens, &mut cache, 0).is_err());
    cache.read_packed(&[(0, &[1, 2, 3])]).unwrap();
    cache.pick(&[1]).unwrap();
    assert!(cache.lengths() == [3]);
    assert!(attention.forward_cached(&tokens, &mut cache, 0).is_err());
    assert_eq!(cache.lengths(), [3]);
}

fn small(features: usize) -> spec::Transformer {
    spec::Transformer::new(11).features(features).heads(2).layers(2, 2).hidden(12)
}

#[test]
fn a_transformer_s_tables_are_one_unless_set_apart() {
    let count = |model: spec::Transformer| model.layer(&mut rng(0)).unwrap().parameter_count();
    let shared = count(small(8));
    assert_eq!(count(small(8).tied_head(false)), shared + 11 * 8);
    assert_eq!(count(small(8).target_vocabulary(7)), shared + 7 * 8);
    assert_eq!(count(small(8).target_vocabulary(7).tied_head(false)), shared + 2 * 7 * 8);
    assert_eq!(count(small(8).learned_positions(5)), shared + 5 * 8);
    // A last normalisation of each stack.
    assert_eq!(count(small(8).norm_first(true)), shared + 2 * 2 * 8);
}

#[test]
fn a_transformer_writes_the_same_bits_with_its_cache_and_in_a_batch() {
    for model in [small(8), small(8).norm_first(true).learned_positions(9)] {
        let model = model.layer(&mut rng(0)).unwrap();
        let source = Tensor::from_vec(vec![5, 6, 7, 8, 9, 4, 0, 0], [2, 4]).unwrap();
        let mask = SequenceMask::of_lengths(&lengths(&[4, 2]));
        let target = Tensor::from_vec(vec![1, 5, 9, 1, 3, 4], [2, 3]).unwrap();
        let states = model.forward(&source, Some(&mask), &target, &mut Context::eval()).unwrap();
        let scores = model.scores(&states).unwrap();
        let mut memory = model.read(&source, Some(&mask), 3).unwrap();
        for t in 0..3 {
            let tokens: Vec<u32> = target.narrow(1, t, 1).unwrap().to_vec();
            let rows: Vec<&[u32]> = tokens.chunks(1).collect();
            let next = generate::Decoder::next(&model, &rows, &mut memory).unwrap();
            assert_eq!(next, scores.value().index(1, t).unwrap());
        }
        assert!(generate::Decoder::next(&model, &[&[1], &[1]], &mut memory).is_err(), "the cache is full");
        // Alone the shorter source gives the same.
        let alone = model
            .forward(
                &source.narrow(0, 1, 1).unwrap().narrow(1, 0, 2).unwrap(),
                None,
                &target.narrow(0, 1, 1).unwrap(),
                &mut Context::eval(),
            )
            .unwrap();
        assert_eq!(alone.value(), &states.value().narrow(0, 1, 1).unwrap());
    }
}

/// Sines and cosines are kept as far as they were needed; a model that has read a long text gives what one that has not does.
#[test]
fn positions_are_the_same_however_far_they_were_needed_before() {
    let ids =
        |count: u32| Tensor::from_vec((0..count).map(|i| i % 11).collect(), [1, count as usize]).unwrap();
    let run = |model: &cairn_nn::Transformer, count: u32| {
        model.encode(&ids(count), &mut Context::eval()).unwrap().value().clone()
    };
    let (used, fresh) = (small(8).layer(&mut rng(0)).unwrap(), small(8).layer(&mut rng(0)).unwrap());
    let long = run(&used, 150);
    assert_eq!(run(&used, 3), run(&fresh, 3));
    assert_eq!(run(&used.clone(), 70), run(&fresh, 70));
    assert_eq!(run(&fresh, 150), long);
}

#[test]
fn beams_find_what_enumeration_finds() {
    let model =
        spec::Transformer::new(4).features(8).heads(2).layers(1, 1).hidden(8).layer(&mut rng(3)).unwrap();
    let source = Tensor::from_vec(vec![1, 3, 2, 3], [2, 2]).unwrap();
    let search = generate::BeamSearch::new(64, 3).stop_at([2]).early_stopping(false);
    let memory = model.read(&source, None, 4).unwrap();
    let found = search.search(&model, memory, &[&[1], &[1]]).unwrap();
    for (row, found) in found.iter().enumerate() {
        let source = source.narrow(0, row, 1).unwrap();
        // Every text that ends within three tokens, and every one that is cut after them, by its mean log-probability.
        let mut best = (f64::NEG_INFINITY, Vec::new());
        for length in 1..=3usize {
            for number in 0..3usize.pow(length as u32 - 1) {
                let body: Vec<u32> =
                    (0..length - 1).map(|i| [0, 1, 3][number / 3usize.pow(i as u32) % 3]).collect();
                let read = Tensor::from_vec([vec![1], body.clone()].concat(), [1, length]).unwrap();
                let states = model.forward(&source, None, &read, &mut Context::eval()).unwrap();
                let logs = model.scores(&states).unwrap().value().log_softmax(-1).unwrap();
                for last in if length == 3 { 0..4 } else { 2..3 } {
                    let written = [body.clone(), vec![last]].concat();
                    let log = |(t, &k): (usize, &u32)| f64::from(logs.get(&[0, t, k as usize]).unwrap());
                    let mean = written.iter().enumerate().map(log).sum::<f64>() / length as f64;
                    if mean > best.0 {
                        best = (mean, if last == 2 { body.clone() } else { written });
                    }
                }
            }
        }
        assert_eq!(found[0].tokens, best.1);
        assert!((found[0].score - best.0).abs() < 1e-6);
    }
}

#[test]
fn what_a_transformer_cannot_read_is_said() {
    assert!(small(7).layer(&mut rng(0)).is_err(), "an odd number of features has no sines and cosines");
    assert!(small(8).heads(3).layer(&mut rng(0)).is_err());
    assert!(spec::Transformer::new(0).layer(&mut rng(0)).is_err());
    for [read, write] in [[1 << 40, 1], [1, 1 << 40], [usize::MAX, 1]] {
        let told = small(8).layers(read, write).layer(&mut rng(0)).unwrap_err();
        assert!(matches!(told, Error::BadSetting { what: "the number of blocks", .. }), "{told}");
    }
    let model = small(8).learned_positions(3).layer(&mut rng(0)).unwrap();
    let ids = |of: &[u32]| Tensor::from_slice(of, [1, of.len()]).unwrap();
    let run = |source: &[u32], target: &[u32]| {
        model.forward(&ids(source), None, &ids(target), &mut Context::eval())
    };
    assert!(run(&[1, 2, 3], &[1]).is_ok());
    assert!(run(&[1, 2, 3, 4], &[1]).is_err(), "there are three positions");
    assert!(run(&[11], &[1]).is_err(), "no such token");
    let flat = Tensor::from_vec(vec![1], [1]).unwrap();
    assert!(matches!(model.encode(&flat, &mut Context::eval()), Err(Error::BadInput { .. })));
    let three = SequenceMask::of_lengths(&lengths(&[3]));
    assert!(model.forward(&ids(&[1, 2]), Some(&three), &ids(&[1]), &mut Context::eval()).is_err());
}
