//! Forward passes of one's own as ONNX files: what ONNX Runtime computes from them, and what is refused.
//!
//! The golden files are byte for byte what ONNX Runtime ran; to write them, run them and compare again:
//!
//! ```text
//! cargo test -p cairn-nn --test onnx_traced -- --ignored && python nn/tests/golden/run_onnx.py
//! cargo test -p cairn-nn --test onnx_traced
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cairn_autograd::op::{IdsOp, Op};
use cairn_autograd::{Var, no_grad};
use cairn_nn::onnx::{Onnx, trace, trace_ids};
use cairn_nn::spec::{BatchNorm, Conv2d, ConvTranspose2d, Embedding, GroupNorm, Gru, Lstm};
use cairn_nn::weights::Weights;
use cairn_nn::{
    Activation::Relu, Context, Linear, Model, Module, Parameter, Recurrent, Result, Sequential, State,
};
use cairn_tensor::{
    AnyTensor, AttentionOptions, Causal, DType, Gate, Pairs, Pool, Resize, Rotary, Shape, Tensor, rng, s,
};

fn scattered(shape: &Shape, low: f32, width: f32) -> Tensor {
    let at = |i: usize| low + width * ((i * 389 + 97) % 1000) as f32 / 1000.0;
    Tensor::from_vec((0..shape.count()).map(at).collect(), shape.clone()).unwrap()
}

/// With values that no generator has part in.
fn filled<M: Module>(module: M) -> M {
    let mut state = module.state();
    for (path, value) in &mut state {
        let low = if path.ends_with("running_var") { 0.5 } else { -0.5 };
        *value = scattered(value.dims(), low, 1.0).into();
    }
    module.load_state(&state).unwrap();
    module
}

/// Two convolutions that what comes in goes around.
#[derive(Module)]
struct Residual {
    first: cairn_nn::Conv2d,
    norm: cairn_nn::BatchNorm,
    second: cairn_nn::Conv2d,
    head: Linear,
}

impl Residual {
    fn new() -> Self {
        let rng = &mut rng(0);
        filled(Residual {
            first: Conv2d::new(3, 3).same().bias(false).layer(2, rng).unwrap(),
            norm: BatchNorm::new().layer(3).unwrap(),
            second: Conv2d::new(2, 3).padding(1).layer(3, rng).unwrap(),
            head: Linear::new(2, 3, rng).unwrap(),
        })
    }

    fn forward(&self, x: &Var, cx: &mut Context) -> Result<Var> {
        let inner = self.norm.forward(&self.first.forward(x)?, cx)?.relu()?;
        let y = x.add(&self.second.forward(&inner)?)?.relu()?;
        self.head.forward(&y.mean([1, 2])?)
    }
}

/// A block of a language model: causal attention with several heads, then a dense layer, each normalised before.
#[derive(Module)]
struct Block {
    query_key_value: Linear,
    out: Linear,
    up: Linear,
    down: Linear,
    scale: Parameter,
    shift: Parameter,
    heads: usize,
}

impl Block {
    fn new(width: usize, heads: usize) -> Self {
        let rng = &mut rng(0);
        filled(Block {
            query_key_value: Linear::new(width, 3 * width, rng).unwrap(),
            out: Linear::new(width, width, rng).unwrap(),
            up: Linear::new(width, 2 * width, rng).unwrap(),
            down: Linear::new(2 * width, width, rng).unwrap(),
            scale: Parameter::new(Tensor::ones([width]).unwrap()),
            shift: Parameter::new(Tensor::zeros([width]).unwrap()),
            heads,
        })
    }

    fn norm(&self, x: &Var) -> Result<Var> {
        let centred = x.sub(&x.mean_keepdim(-1)?)?;
        let variance = centred.square()?.mean_keepdim(-1)?;
        Ok((centred.mul(&(variance + 1e-5).rsqrt()?)?).mul(&self.scale.var())?.add(&self.shift.var())?)
    }

    fn attention(&self, x: &Var) -> Result<Var> {
        let &[batch, steps, width] = x.shape() else { panic!("sequences") };
        let each = width / self.heads;
        let all = self.query_key_value.forward(x)?.reshape([batch, steps, 3, self.heads, each])?;
        let all = all.permute([2, 0, 3, 1, 4])?; // [3, batch, heads, steps, each]
        let (query, key, value) = (all.index(0, 0)?, all.index(0, 1)?, all.index(0, 2)?);
        let scores = query.matmul(&key.t()?)?.scale(1.0 / (each as f32).sqrt())?;
        let later = Tensor::<f32>::ones([steps, steps])?.triu(1)?.gt(&Tensor::scalar(0.0))?;
        let weights = scores.masked_fill(&later, f32::NEG_INFINITY)?.softmax(-1)?;
        let mixed = weights.matmul(&value)?.permute([0, 2, 1, 3])?.reshape([batch, steps, width])?;
        self.out.forward(&mixed)
    }

    fn forward(&self, x: &Var) -> Result<Var> {
        let x = x.add(&self.attention(&self.norm(x)?)?)?;
        let inner = self.up.forward(&self.norm(&x)?)?.gelu()?;
        Ok(x.add(&self.down.forward(&inner)?)?)
    }
}

/// Words with their places through a GRU in both directions, of which outputs and last states are used.
#[derive(Module)]
struct Tagger {
    words: cairn_nn::Embedding,
    places: cairn_nn::Embedding,
    gru: Recurrent,
    head: Linear,
}

impl Tagger {
    fn new() -> Self {
        let rng = &mut rng(0);
        filled(Tagger {
            words: Embedding::new(11, 3).layer(rng).unwrap(),
            places: Embedding::new(6, 3).layer(rng).unwrap(),
            gru: Gru::new(4).bidirectional().layers(2).layer(3, rng).unwrap(),
            head: Linear::new(8, 2, rng).unwrap(),
        })
    }

    fn forward(&self, ids: &Tensor<u32>) -> Result<Var> {
        let places = Tensor::<u32>::arange(0, ids.shape()[1] as u32, 1)?;
        let x = self.words.forward(ids)?.add(&self.places.forward(&places)?)?;
        let (steps, states) = self.gru.forward_from(&x, None, &mut Context::eval())?;
        let last = Var::cat(&[&states[2].hidden, &states[3].hidden], -1)?;
        self.head.forward(&steps.add(&last.unsqueeze(1)?)?)
    }
}

/// An LSTM that starts from what another computed, and from a state of zeros.
#[derive(Module)]
struct Decoder {
    first: Linear,
    lstm: Recurrent,
}

impl Decoder {
    fn new() -> Self {
        let rng = &mut rng(0);
        filled(Decoder {
            first: Linear::new(2, 3, rng).unwrap().activation(Relu),
            lstm: Lstm::new(3).reverse().layer(2, rng).unwrap(),
        })
    }

    fn forward(&self, x: &Var) -> Result<Var> {
        let hidden = self.first.forward(&x.index(1, 0)?)?;
        let zeros = Var::constant(Tensor::zeros([x.shape()[0], 3])?);
        let states = [State { hidden, cell: Some(zeros) }];
        let (steps, last) = self.lstm.forward_from(x, Some(&states), &mut Context::eval())?;
        Ok(Var::cat(&[&steps, &last[0].cell.clone().unwrap().unsqueeze(1)?], 1)?)
    }
}

/// What a decoder of images is made of.
#[derive(Module)]
struct Images {
    grow: cairn_nn::ConvTranspose2d,
    norm: cairn_nn::GroupNorm,
    pooled: cairn_nn::Conv2d,
    model: Sequential,
}

impl Images {
    fn new() -> Self {
        let rng = &mut rng(0);
        let model = Sequential::new([6, 5, 2]).add(Conv2d::new(2, 2).activation(Relu));
        filled(Images {
            grow: ConvTranspose2d::new(4, 3).stride(2).layer(2, rng).unwrap(),
            norm: GroupNorm::new(2).layer(4).unwrap(),
            pooled: Conv2d::new(2, 3).layer(2, rng).unwrap(),
            model: model.build(rng).unwrap(),
        })
    }

    fn forward(&self, x: &Var) -> Result<Var> {
        let flat = |x: &Var| x.flatten(1);
        let grown = self.norm.forward(&self.grow.forward(x)?)?;
        let (weight, bias) = (self.pooled.weight.var(), self.pooled.bias.as_ref().map(Parameter::var));
        let window = cairn_tensor::Window::default();
        let fused = x.conv2d_max_pool2d(&weight, bias.as_ref(), true, (&window, 1), &Pool::new([2, 2]))?;
        Ok(Var::cat(
            &[
                &flat(&grown.max_pool2d(&Pool::new([3, 3]))?)?,
                &flat(&grown.avg_pool2d(&Pool::adaptive([2, 3]))?)?,
                &flat(&fused)?,
                &flat(&x.avg_pool2d(&Pool::new([2, 2]).count_padding())?)?,
                &flat(&x.resize2d([12, 10], Resize::Bilinear)?)?,
                &flat(&x.pad(&[(0, 0), (1, 0), (0, 2), (0, 0)], 0.5)?)?,
                &flat(&self.model.forward(x, &mut Context::eval())?)?,
            ],
            1,
        )?)
    }
}

/// A model of tensors, as a training loop takes it.
#[derive(Module)]
struct Flat(Linear);

impl Model<Tensor> for Flat {
    fn forward(&self, input: &Tensor, _: &mut Context) -> Result<Var> {
        let rows = input.reshape([input.shape()[0], 6])?;
        self.0.forward(&Var::from(rows))
    }
}

/// Every other operation that has a form in ONNX, side by side, on `[batch, 3, 4]`.
fn operations(x: &Var) -> Result<Var> {
    let above = x.square()? + 0.5;
    let half = Var::constant(Tensor::full([4], 0.5)?);
    let mask = Tensor::from_vec(vec![true, false, false, true], [4])?;
    let values = [
        x.add(&half)?,
        x.sub(&half)?,
        x.mul(&half)?,
        half.div(&above)?,
        above.pow(&half)?,
        x.maximum(&half)?,
        x.minimum(&half)?,
        x.neg()?.abs()?.recip()?,
        above.log()?.exp()?.sqrt()?,
        x.sin()?.add(&x.cos()?)?.erf()?,
        x.scale(10.0)?.floor()?.add(&x.scale(9.0)?.round()?)?.add(&x.sign()?)?,
        x.leaky_relu(0.2)?.elu(0.7)?.selu()?,
        x.gelu()?.gelu_tanh()?.silu()?.softplus()?,
        x.tanh()?.sigmoid()?,
        above.rsqrt()?.powf(3.0)?.clamp(0.1, 0.6)?,
        x.mean_keepdim([1, 2])?,
        x.max([1])?.unsqueeze(1)?,
        x.min(-1)?.unsqueeze(2)?,
        x.sum_keepdim(2)?,
        x.sum([1])?.unsqueeze(1)?,
        x.prod(1)?.unsqueeze(1)?,
        x.norm_keepdim([1, 2])?,
        x.logsumexp(1)?.unsqueeze(1)?,
        x.softmax(1)?.add(&x.log_softmax(2)?)?,
        x.cumsum(1)?,
        x.flip([1, 2])?,
        x.narrow(2, 1, 2)?,
        x.index(1, 2)?.unsqueeze(1)?,
        x.index_select(2, &[3, 0, 0])?,
        x.slice(s![.., 1.., ..;-2])?,
        x.slice(s![.., 0, 1])?.reshape([x.shape()[0], 1])?,
        Var::select(&mask, x, &half)?,
        x.masked_fill(&mask, -2.0)?,
        x.masked_scale(&mask, -2.0)?,
        x.tile(&[1, 2, 1])?,
        x.transpose(1, 2)?.matmul(x)?,
        x.unsqueeze(1)?.squeeze(1)?.broadcast_to([2, x.shape()[0], 3, 4])?.sum(0)?,
        Var::einsum("bij,bkj->bik", &[x, x])?,
        x.reshape([3 * x.shape()[0], 4])?
            .linear(&Var::constant(scattered(&[4, 2].into(), -1.0, 2.0)), None, true)?
            .reshape([x.shape()[0], 6])?,
        Var::constant(Tensor::full([x.shape()[0], 1, 2], 3.0)?),
    ];
    let flat: Vec<Var> = values.iter().map(|value| value.flatten(1)).collect::<Result<_, _>>()?;
    Ok(Var::cat(&flat.iter().collect::<Vec<_>>(), 1)?)
}

/// What transformers are made of, with every option that has a form in ONNX, on `[batch, 6, 16]`.
fn transformer(x: &Var) -> Result<Var> {
    let batch = x.shape()[0];
    let halves = Rotary::new(4).base(20.0).tables(10)?;
    let (q, k) = (x.reshape([batch, 6, 4, 4])?, x.narrow(2, 4, 8)?.reshape([batch, 6, 2, 4])?);
    let (q, k) = (q.rotary(&halves, Pairs::Halves, 3)?, k.rotary(&halves, Pairs::Neighbours, 0)?);
    let part = Rotary::new(2).tables(10)?;
    let v = x.narrow(2, 0, 10)?.reshape([batch, 6, 2, 5])?.rotary(&part, Pairs::Halves, 1)?;
    let bias = Var::constant(scattered(&[4, 1, 6].into(), -1.0, 2.0));
    let visible = Tensor::from_vec(vec![true, false, true, true, true, true], [6])?;
    let plain = AttentionOptions::default();
    let (last, keys) = (q.narrow(1, 2, 4)?, Causal::BottomRight);
    let values = [
        q.attention(&k, &v, None, &plain.clone().scale(0.3))?,
        q.attention(&k, &v, Some(&bias), &plain.clone().causal(Causal::TopLeft).visible(&visible))?,
        last.attention(&k, &v, None, &plain.clone().causal(keys).window(3).soft_cap(0.7))?,
        // The first queries attend to nothing.
        q.attention(&k.narrow(1, 0, 3)?, &v.narrow(1, 0, 3)?, None, &plain.clone().causal(keys).alibi(4))?,
        q.attention(&k, &v, None, &plain.window(2))?,
    ];
    let mut all: Vec<Var> = values.iter().map(|value| value.flatten(1)).collect::<Result<_, _>>()?;
    for gate in [Gate::Relu, Gate::Sigmoid, Gate::Silu, Gate::Gelu, Gate::GeluTanh] {
        all.push(x.gated_halves(gate)?.gated(gate, &x.narrow(2, 3, 8)?)?.flatten(1)?);
    }
    Ok(Var::cat(&all.iter().collect::<Vec<_>>(), 1)?)
}

/// A file, an input of five items (ids as numbers), and Cairn's output.
type Case = (&'static str, Onnx, Tensor, Tensor);

fn numbers(name: &'static str, item: impl Into<Shape>, forward: impl Fn(&Var) -> Result<Var>) -> Case {
    let item = item.into();
    let traced = trace(item.clone(), &forward).unwrap();
    let input = scattered(&[5].iter().chain(item.iter()).copied().collect(), -1.0, 2.0);
    let output = forward(&input.clone().into()).unwrap().value().clone();
    (name, traced, input, output)
}

fn cases() -> Vec<Case> {
    let (residual, block, decoder, images) =
        (Residual::new(), Block::new(8, 2), Decoder::new(), Images::new());
    let (tagger, flat) = (Tagger::new(), Flat(filled(Linear::new(6, 2, &mut rng(0)).unwrap())));
    let ids = scattered(&[5, 6].into(), 0.0, 11.0).floor().unwrap();
    let output = tagger.forward(&ids.cast().unwrap()).unwrap().value().clone();
    vec![
        numbers("residual", [6, 5, 2], |x| residual.forward(x, &mut Context::eval())),
        numbers("block", [5, 8], |x| block.forward(x)),
        ("tagger", trace_ids([6], 11, |ids| tagger.forward(ids)).unwrap(), ids, output),
        numbers("decoder", [4, 2], |x| decoder.forward(x)),
        numbers("images", [6, 5, 2], |x| images.forward(x)),
        numbers("operations", [3, 4], operations),
        numbers("transformer", [6, 16], transformer),
        numbers("flat", [2, 3], |x| flat.forward(x.value(), &mut Context::eval())),
    ]
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

#[test]
fn traced_passes_compute_the_same_in_onnx_runtime() {
    let theirs = Weights::read_safetensors(golden("onnx_traced_outputs.safetensors")).unwrap().tensors;
    for (name, traced, input, output) in cases() {
        let file = std::fs::read(golden(&format!("onnx_traced_{name}.onnx"))).unwrap();
        assert!(traced.into_bytes() == file, "{name}: the file has changed");
        assert_eq!(input, *theirs[&format!("{name}.input")].as_f32().unwrap());
        let expected = theirs[&format!("{name}.output")].as_f32().unwrap();
        assert_eq!(output.shape(), expected.shape(), "{name}");
        let apart = |(ours, theirs): (f32, f32)| (ours - theirs).abs() / theirs.abs().max(1.0);
        let worst = output
            .iter()
            .zip(expected.iter())
            .map(apart)
            .fold(0.0, |most: f32, x| if x > most || x.is_nan() { x } else { most });
        println!("{name}: {worst:.1e} apart");
        assert!(worst <= 1e-5, "{name}: {worst}");
    }
}

#[test]
#[ignore = "writes golden files"]
fn write_traced_passes() {
    let mut inputs = Weights::default();
    for (name, traced, input, _) in cases() {
        traced.write(golden(&format!("onnx_traced_{name}.onnx"))).unwrap();
        inputs.tensors.insert(format!("{name}.input"), input.into());
    }
    inputs.write_safetensors(golden("onnx_traced_outputs.safetensors")).unwrap();
}

fn refused(forward: impl Fn(&Var) -> Result<Var>) -> String {
    trace([4], forward).unwrap_err().to_string()
}

#[test]
fn what_has_no_form_is_named() {
    let sorted = refused(|x| Ok(x.sort(1, false)?.0));
    assert_eq!(sorted, "no rule for `sort` in ONNX");
    let own = refused(|x| Ok(Var::from_op("cube", x.value().powf(3.0)?, [x], |_, _| Ok([None]))));
    assert_eq!(own, "no rule for `cube` in ONNX");
    let weight = refused(|x| {
        let image = x.reshape([x.shape()[0], 2, 2, 1])?;
        let filter = x.index(0, 0)?.reshape([2, 2, 1, 1])?;
        Ok(image.conv2d(&filter, None, false, &cairn_tensor::Window::default(), 1)?.flatten(1)?)
    });
    assert_eq!(weight, "no rule for `conv2d` with weights that depend on the input in ONNX");
}

#[test]
fn what_the_graph_does_not_show_is_refused() {
    let outside = "of a value that was computed from the input, or for the batch, outside the graph";
    let taken = refused(|x| Ok(x.mul(&Var::constant(x.value().exp()?))?));
    assert_eq!(taken, format!("no rule for `mul` {outside}"));
    // What has no gradient is seen all the same.
    let recorded = |x: &Var| Ok(x.add(&no_grad(|| x.mean_keepdim(1))?)?);
    assert_eq!(trace([4], recorded).unwrap(), trace([4], |x| Ok(x.add(&x.mean_keepdim(1)?)?)).unwrap());
    let mask = refused(|x| Ok(x.masked_fill(&x.value().gt(&Tensor::scalar(0.0))?, 1.0)?));
    assert_eq!(
        mask,
        "no rule for `masked_fill` with a mask that was computed from the input, for the batch, or at random"
    );
    let other = refused(|x| if x.shape()[0] > 2 { Ok(x.exp()?) } else { Ok(x.log()?) });
    assert_eq!(other, "no rule for a forward pass that takes other ways for another batch");
    let longer = refused(|x| if x.shape()[0] > 2 { Ok(x.exp()?.log()?) } else { Ok(x.log()?) });
    assert_eq!(longer, other);
    let nothing = refused(|_| Ok(Var::constant(Tensor::ones([1])?)));
    assert_eq!(nothing, "no rule for an output that no recorded operation made of the input");
    let whole = refused(|x| Ok(x.mean(..)?));
    assert_eq!(whole, "no rule for an output of shape [], which is not [batch, …]");
    let table = Var::parameter(Tensor::ones([5, 2]).unwrap());
    let ids = trace_ids([3], 4, |ids| {
        let next = ids.iter().map(|id| id + 1).collect();
        Ok(table.lookup(&Tensor::from_vec(next, ids.dims().clone())?)?)
    });
    let expected = "no rule for `lookup` of ids that are neither the input's nor the same for all";
    assert_eq!(ids.unwrap_err().to_string(), expected);
    assert!(trace_ids([3], 0, |ids| Ok(table.lookup(ids)?)).is_err());
    // What fails for itself says so.
    assert!(refused(|x| Ok(x.reshape([7])?)).contains("reshape"));
}

#[test]
fn a_pass_that_does_nothing_gives_its_input() {
    let nothing = trace([4], |x| Ok(x.clone())).unwrap().into_bytes();
    assert_eq!(nothing, Sequential::new([4]).build(&mut rng(0)).unwrap().to_onnx().unwrap());
}

#[test]
fn what_is_random_in_training_is_refused() {
    let dropout = cairn_nn::Dropout::new(0.5);
    let dropped = refused(|x| dropout.forward(x, &mut Context::train(0)));
    assert!(
        dropped.contains("`masked_scale` with a mask that was computed") && dropped.contains("at random"),
        "{dropped}"
    );
}

#[test]
fn frozen_layers_and_weights_made_of_weights_are_constants() {
    let tagger = Tagger::new();
    let before = trace_ids([6], 11, |ids| tagger.forward(ids)).unwrap();
    tagger.freeze();
    assert_eq!(trace_ids([6], 11, |ids| tagger.forward(ids)).unwrap(), before);
    let weight = Var::parameter(scattered(&[4, 2].into(), -1.0, 2.0));
    let made = trace([4], |x| Ok(x.linear(&weight.div(&weight.norm_keepdim(0)?)?, None, false)?)).unwrap();
    let length = weight.value().norm_keepdim(0).unwrap();
    let given = Var::parameter(weight.value().div(&length).unwrap());
    assert_eq!(made, trace([4], |x| Ok(x.linear(&given, None, false)?)).unwrap());
}

/// Operations without a form in ONNX, each with the reason.
const REASONS: &[(&str, &str)] = &[
    ("batch_norm", "in training only"),
    ("cross_entropy", "a loss is no part of a model at inference"),
    ("linear_cross_entropy", "a loss is no part of a model at inference"),
    ("var", "no operator in this set; mean and square have one"),
    ("std", "no operator in this set; mean and square have one"),
    ("sum_to", "its axes follow from the operand: `sum` says them"),
    ("index_add", "a sum into rows: training of tables"),
    ("scatter_add", "a sum into elements: training of tables"),
    ("masked_select", "a result whose size depends on values"),
    ("repeat", "no operator in this set; `tile` and `reshape` have one"),
    ("diagonal", "no operator in this set"),
    ("cumprod", "no operator in this set"),
    ("sort", "the order of equal elements is not promised there"),
    ("topk", "the order of equal elements is not promised there"),
];

#[test]
fn every_operation_has_a_form_or_a_reason() {
    let (residual, decoder, images, tagger) = (Residual::new(), Decoder::new(), Images::new(), Tagger::new());
    let input = |shape: &[usize]| Var::constant(scattered(&shape.into(), -1.0, 2.0));
    let ids = scattered(&[2, 6].into(), 0.0, 11.0).floor().unwrap().cast().unwrap();
    let passes: [&dyn Fn() -> Result<Var>; 9] = [
        &|| residual.forward(&input(&[2, 6, 5, 2]), &mut Context::eval()),
        &|| decoder.forward(&input(&[2, 4, 2])),
        &|| images.forward(&input(&[2, 6, 5, 2])),
        &|| tagger.forward(&ids),
        &|| operations(&input(&[2, 3, 4])),
        &|| transformer(&input(&[2, 6, 16])),
        &|| rarer(&input(&[2, 3, 4])),
        &|| stored(&input(&[2, 3, 4])),
        &|| padded(&ids),
    ];
    let mut seen = BTreeSet::new();
    for pass in passes {
        let output = cairn_autograd::trace(pass).result.unwrap();
        seen.extend(output.graph().iter().filter_map(|var| Some(var.recorded()?.op.name())));
    }
    trace([3, 4], rarer).unwrap();
    trace([3, 4], stored).unwrap();
    trace_ids([6], 11, padded).unwrap();
    for (name, _) in REASONS {
        assert!(seen.insert(name), "{name} has a form");
    }
    // Linear algebra is behind a feature, and has no operators there.
    let linalg = ["solve", "inverse", "det", "cholesky", "qr", "eigh", "svd"];
    let all: BTreeSet<_> = Op::names().into_iter().filter(|name| !linalg.contains(name)).collect();
    assert_eq!(seen, all);
}

/// Those that the golden files do not have, on `[batch, 3, 4]`.
fn rarer(x: &Var) -> Result<Var> {
    let index = Tensor::from_vec(vec![1u32, 0, 2], [3])?;
    let gathered = x.sum(0)?.sum(0)?.gather(0, &index)?;
    let outer = gathered.outer(&x.sum([0, 2])?)?; // [3, 3]
    let some = x.expm1()?.add(&x.square()?.log1p()?)?;
    let some = outer.matmul(&some.tril(0)?.add(&some.triu(1)?)?)?; // [batch, 3, 4]
    let (scale, shift) = (Var::constant(Tensor::full([4], 0.5)?), Var::constant(Tensor::full([4], 0.25)?));
    Ok(some.layer_norm(&scale, &shift, 1e-5)?.rms_norm(&scale, 1e-6)?)
}

/// Which of ids `[batch, 6]` are within their sequences.
fn padded(ids: &Tensor<u32>) -> Result<Var> {
    let (starts, ends) = (IdsOp::Starts { padding: 0 }.apply(ids)?, IdsOp::Ends { padding: 0 }.apply(ids)?);
    Ok(Var::valid_steps(Some(&starts), &ends, ids.shape()[1])?)
}

/// Weights that are used as they are stored, on `[batch, 3, 4]`; they are written as floats.
fn stored(x: &Var) -> Result<Var> {
    let weight = AnyTensor::from(Tensor::full([4, 4], 0.5f32)?).cast(DType::BF16)?;
    let rows = Var::lookup_stored(&weight, &Tensor::from_vec(vec![1u32, 0, 2], [3])?)?; // [3, 4]
    Ok(x.add(&rows)?.linear_stored(&weight, None, false)?)
}
