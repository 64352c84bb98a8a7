//! Attention layers, transformers and what they read as ONNX files: what ONNX Runtime computes from them, padding and masks included.
//!
//! The golden files are byte for byte what ONNX Runtime ran; to write them, run them and compare again:
//!
//! ```text
//! cargo test -p cairn-nn --test onnx_layers -- --ignored && python nn/tests/golden/run_onnx.py
//! cargo test -p cairn-nn --test onnx_layers
//! ```

use std::path::{Path, PathBuf};

use cairn_autograd::Var;
use cairn_nn::Activation::{Gelu, Silu};
use cairn_nn::graph::{Dim, Graph, Input};
use cairn_nn::onnx::Onnx;
use cairn_nn::spec::{
    self, Dense, Embedding, GlobalAvgPool, GlobalMaxPool, LayerNorm, Lstm, MultiHeadAttention,
    PatchEmbedding, TransformerDecoderLayer, TransformerEncoderLayer,
};
use cairn_nn::weights::Weights;
use cairn_nn::{
    AttentionMask, Context, Module, RelativePositions, Result, SequenceMask, Sequential, SequentialBuilder,
    TransformerDecoder, TransformerEncoder, Value,
};
use cairn_tensor::{AttentionOptions, Causal, Pairs, Rotary, Shape, Tensor, rng};

/// Values that no generator has part in, and that differ from one seed to the next.
fn scattered(shape: &Shape, low: f32, width: f32, seed: usize) -> Tensor {
    let at = |i: usize| low + width * ((i * 389 + 97 + 131 * seed) % 1000) as f32 / 1000.0;
    Tensor::from_vec((0..shape.count()).map(at).collect(), shape.clone()).unwrap()
}

fn filled<M: Module>(module: M) -> M {
    let mut state = module.state();
    for (seed, value) in state.values_mut().enumerate() {
        *value = scattered(value.dims(), -0.5, 1.0, seed).into();
    }
    module.load_state(&state).unwrap();
    module
}

struct Case {
    name: &'static str,
    graph: Graph,
    inputs: Vec<Value>,
    output: Tensor,
}

impl Case {
    fn new(
        name: &'static str,
        inputs: impl IntoIterator<Item = (Input, Value)>,
        forward: impl Fn(&[Value]) -> Result<Var>,
    ) -> Self {
        let (kinds, inputs): (Vec<Input>, Vec<Value>) = inputs.into_iter().unzip();
        let graph = Graph::trace(&kinds, &forward).unwrap();
        let output = forward(&inputs).unwrap().value().clone();
        Case { name, graph, inputs, output }
    }

    /// Of a model with one input.
    fn of(name: &'static str, builder: SequentialBuilder, input: Value) -> Self {
        let model = filled(builder.build(&mut rng(0)).unwrap());
        let output = model.forward(input.clone(), &mut Context::eval()).unwrap().value().clone();
        Case { name, graph: model.graph().unwrap(), inputs: vec![input], output }
    }

    fn onnx(&self) -> Onnx {
        self.graph.to_onnx().unwrap()
    }

    /// The inputs by their names in files, ids as numbers.
    fn numbers(&self) -> Vec<(String, Tensor)> {
        let name = |i: usize| match self.inputs.len() {
            1 => format!("{}.input", self.name),
            _ => format!("{}.input_{i}", self.name),
        };
        let number = |value: &Value| match value {
            Value::Floats(x) => x.value().clone(),
            Value::Ids(ids) => ids.cast::<f32>().unwrap(),
        };
        self.inputs.iter().enumerate().map(|(i, value)| (name(i), number(value))).collect()
    }
}

fn floats(item: &[usize], seed: usize) -> (Input, Value) {
    let shape: Shape = [3].iter().chain(item).copied().collect();
    (Input::floats(item), scattered(&shape, -1.0, 2.0, seed).into())
}

fn ids(of: Vec<u32>, time: usize, vocabulary: u32) -> (Input, Value) {
    let batch = of.len() / time;
    (Input::ids([time], vocabulary), Tensor::from_vec(of, [batch, time]).unwrap().into())
}

fn lengths(of: [u32; 3], most: usize) -> (Input, Value) {
    let lengths = Tensor::from_slice(&of, [3]).unwrap();
    (Input::lengths_of([Dim::BATCH], Dim::Fixed(most)), lengths.into())
}

fn var(value: &Value) -> Result<Var> {
    value.clone().floats()
}

fn mask(value: &Value) -> Result<SequenceMask> {
    Ok(SequenceMask::of_lengths(&value.clone().ids()?))
}

/// Texts with padding after them, before them, on both sides, and of nothing else.
fn texts() -> Value {
    let texts = [[3, 1, 4, 1, 5, 9], [2, 6, 5, 0, 0, 0], [0, 0, 3, 5, 8, 0], [0; 6]].concat();
    ids(texts, 6, 11).1
}

fn masked() -> SequentialBuilder {
    Sequential::new([6]).add(Embedding::new(11, 8).padding(0).masked())
}

fn attention() -> Vec<Case> {
    let of = MultiHeadAttention::new;
    let grouped = of(4).key_value_heads(2).rotary(Rotary::new(4), Pairs::Halves).soft_cap(2.0).causal(true);
    let grouped = filled(grouped.layer(16, &mut rng(0)).unwrap());
    let windowed = filled(of(2).value_size(3).window(2).separate().layer(8, &mut rng(0)).unwrap());
    let cross = filled(of(2).cross_layer(8, 6, &mut rng(0)).unwrap());
    let table = filled(RelativePositions::with_buckets(2, 8, 12, &mut rng(0)).unwrap());
    let relative = of(2).bias(false).scale(1.0).layer(8, &mut rng(0)).unwrap();
    let relative = filled(relative.relative(&table).unwrap());
    let scores = scattered(&[4, 4].into(), -1.0, 2.0, 5);
    // A key that none sees, and a query that sees nothing.
    let hidden = |i: usize| i % 4 == 1 || i / 4 == 2;
    let scores = scores.iter().enumerate().map(|(i, x)| if hidden(i) { f32::NEG_INFINITY } else { x });
    let pairs = AttentionMask::added(&Tensor::from_vec(scores.collect(), [4, 4]).unwrap()).unwrap();
    let plain = filled(of(2).layer(8, &mut rng(0)).unwrap());
    vec![
        Case::new("attention_grouped", [floats(&[5, 16], 0)], |x| {
            grouped.forward(&var(&x[0])?, &mut Context::eval())
        }),
        Case::new("attention_windowed", [floats(&[5, 8], 1), lengths([5, 1, 3], 5)], |x| {
            let mut cx = Context::eval();
            cx.set_mask(Some(mask(&x[1])?));
            windowed.forward(&var(&x[0])?, &mut cx)
        }),
        Case::new("attention_cross", [floats(&[4, 8], 2), floats(&[5, 6], 3), lengths([2, 5, 4], 5)], |x| {
            cross.attend(&var(&x[0])?, &var(&x[1])?, Some(&mask(&x[2])?), &mut Context::eval())
        }),
        Case::new("attention_relative", [floats(&[6, 8], 4)], |x| {
            relative.forward(&var(&x[0])?, &mut Context::eval())
        }),
        Case::new("attention_pairs", [floats(&[4, 8], 5)], |x| {
            let mut cx = Context::eval().with_attention_mask(pairs.clone());
            plain.forward(&var(&x[0])?, &mut cx)
        }),
    ]
}

fn transformers() -> Vec<Case> {
    let block = TransformerEncoderLayer::new(2, 12).activation(Silu).gated(true).bias(false).norm_first(true);
    let encoder = filled(TransformerEncoder::new(2, &block.causal(true), 8, &mut rng(0)).unwrap());
    let block = TransformerDecoderLayer::new(2, 12).activation(Gelu);
    let decoder = filled(TransformerDecoder::new(2, &block, 8, &mut rng(0)).unwrap());
    let whole = spec::Transformer::new(11).features(8).heads(2).layers(1, 2).hidden(12).last_norms(true);
    let whole = filled(whole.layer(&mut rng(0)).unwrap());
    let source = ids([[3, 1, 4, 1, 5], [9, 2, 0, 0, 0], [6, 5, 3, 0, 0]].concat(), 5, 11);
    let target = ids([[1, 7, 8, 2], [1, 9, 3, 4], [1, 2, 0, 0]].concat(), 4, 11);
    vec![
        Case::new("encoder", [floats(&[5, 8], 0), lengths([5, 2, 4], 5)], |x| {
            let mut cx = Context::eval();
            cx.set_mask(Some(mask(&x[1])?));
            encoder.forward(&var(&x[0])?, &mut cx)
        }),
        Case::new("decoder", [floats(&[4, 8], 1), floats(&[6, 8], 2), lengths([6, 1, 3], 6)], |x| {
            decoder.forward(&var(&x[0])?, &var(&x[1])?, Some(&mask(&x[2])?), &mut Context::eval())
        }),
        Case::new("transformer", [source, lengths([5, 2, 3], 5), target], |x| {
            let (source, target) = (x[0].clone().ids()?, x[2].clone().ids()?);
            let states = whole.forward(&source, Some(&mask(&x[1])?), &target, &mut Context::eval())?;
            whole.scores(&states)
        }),
    ]
}

fn models() -> Vec<Case> {
    let block = TransformerEncoderLayer::new(2, 12);
    let images = Sequential::new([8, 8, 1])
        .add(PatchEmbedding::new(4, 8).class_token(true))
        .add(block.clone().norm_first(true))
        .add(LayerNorm::new())
        .add(GlobalAvgPool)
        .add(Dense::new(3));
    let classifier = masked().add(spec::PositionEmbedding).add(block.clone()).add(block.clone().causal(true));
    vec![
        Case::of("patches", images, floats(&[8, 8, 1], 0).1),
        Case::of("masked_mean", classifier.clone().add(GlobalAvgPool).add(Dense::new(3)), texts()),
        Case::of("masked_max", classifier.add(GlobalMaxPool), texts()),
    ]
}

fn cases() -> Vec<Case> {
    attention().into_iter().chain(transformers()).chain(models()).collect()
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// How far apart two results are at most, relative to values above 1.
fn apart(ours: &Tensor, theirs: &Tensor) -> f32 {
    assert_eq!(ours.shape(), theirs.shape());
    let apart = |(ours, theirs): (f32, f32)| (ours - theirs).abs() / theirs.abs().max(1.0);
    let most = |most: f32, x: f32| if x > most || x.is_nan() { x } else { most };
    ours.iter().zip(theirs.iter()).map(apart).fold(0.0, most)
}

#[test]
fn layers_compute_the_same_in_onnx_runtime() {
    let theirs = Weights::read_safetensors(golden("onnx_layers_outputs.safetensors")).unwrap().tensors;
    for case in cases() {
        let name = case.name;
        let file = std::fs::read(golden(&format!("onnx_layers_{name}.onnx"))).unwrap();
        assert!(case.onnx().into_bytes() == file, "{name}: the file has changed");
        for (input, numbers) in case.numbers() {
            assert_eq!(numbers, *theirs[&input].as_f32().unwrap(), "{input}");
        }
        let worst = apart(&case.output, theirs[&format!("{name}.output")].as_f32().unwrap());
        println!("{name}: {worst:.1e} apart");
        assert!(worst <= 1e-5, "{name}: {worst}");
    }
}

#[test]
#[ignore = "writes golden files"]
fn write_layers() {
    let mut inputs = Weights::default();
    for case in cases() {
        case.onnx().write(golden(&format!("onnx_layers_{}.onnx", case.name))).unwrap();
        for (name, numbers) in case.numbers() {
            inputs.tensors.insert(name, numbers.into());
        }
    }
    inputs.write_safetensors(golden("onnx_layers_outputs.safetensors")).unwrap();
}

#[test]
fn final_forms_compute_the_same() {
    for case in cases() {
        let frozen = case.graph.frozen().unwrap();
        let answers = frozen.predict_all(case.inputs.iter().cloned()).unwrap();
        let worst = apart(&answers, &case.output);
        assert!(worst <= 1e-5, "{}: {worst}", case.name);
    }
}

#[test]
fn what_has_no_form_with_padding_is_named() {
    let recurrent = masked().add(Lstm::new(3)).build(&mut rng(0)).unwrap().to_onnx().unwrap_err().to_string();
    assert!(recurrent.contains("lstm") && recurrent.contains("`masked`"), "{recurrent}");
    // The last query of each sequence and its last key: of a cache, and of no layer's own.
    let inputs = [Input::floats([5, 2, 4]), Input::lengths_of([Dim::BATCH], Dim::Fixed(5))];
    let graph = Graph::trace(&inputs, |x| {
        let q = var(&x[0])?;
        let options = AttentionOptions::default().causal(Causal::BottomRight);
        Ok(q.attention(&q, &q, None, &options.key_lengths(&x[1].clone().ids()?))?)
    });
    assert_eq!(graph.unwrap().to_onnx().unwrap_err().to_string(), "no rule for `attention` in ONNX");
}
