//! Masks of pairs, blocks without biases, with gates and with other attention, and attention by itself: against PyTorch and Keras, in files,
//! and with what does not fit.

use std::path::Path;

use cairn_autograd::Var;
use cairn_nn::Activation::{Gelu, Silu};
use cairn_nn::spec::{self, MultiHeadAttention, TransformerDecoderLayer, TransformerEncoderLayer};
use cairn_nn::weights::{Framework, Strictness, Weights};
use cairn_nn::{
    AttentionMask, Context, Error, Model, Module, Sequential, TransformerDecoder, TransformerEncoder,
};
use cairn_tensor::{AnyTensor, Pairs, Rotary, Tensor, rng};

fn golden(file: &str) -> Weights {
    Weights::read_safetensors(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)).unwrap()
}

fn normal(shape: &[usize], seed: u64) -> Tensor {
    Tensor::normal(shape, 0.0, 1.0, &mut rng(seed)).unwrap()
}

fn apart(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.shape(), b.shape());
    a.sub(b).unwrap().abs().unwrap().max(..).unwrap().item().unwrap()
}

/// A case of PyTorch's values.
struct Case(&'static str, Weights);

impl Case {
    fn open(name: &'static str) -> Self {
        let mut all = golden("torch_transformer_options.safetensors");
        let own = |(path, value): (String, AnyTensor)| {
            Some((path.strip_prefix(&format!("{name}/"))?.to_owned(), value))
        };
        all.tensors = all.tensors.into_iter().filter_map(own).collect();
        assert!(!all.tensors.is_empty(), "{name}");
        Case(name, all)
    }

    fn floats(&self, name: &str) -> Tensor {
        self.1.tensors[name].clone().try_into().unwrap()
    }

    fn truth(&self, name: &str) -> Tensor<bool> {
        self.1.tensors[name].clone().try_into().unwrap()
    }

    /// What stands under this prefix with the names and in the layout that blocks have here.
    fn own(&self, prefix: &str) -> Weights {
        let named = |(path, value): (&String, &AnyTensor)| {
            let path = path.strip_prefix(prefix).filter(|path| !path.starts_with("grad/"))?;
            path.contains('.').then(|| (path.to_owned(), value.clone()))
        };
        let tensors = self.1.tensors.iter().filter_map(named).collect();
        let weights = Weights { tensors, ..Weights::default() };
        if weights.tensors.keys().any(|name| name.contains("self_attn.")) {
            return weights.from_torch_transformer().unwrap();
        }
        weights
    }

    /// Output and gradients of a module that takes the case's weights.
    fn check(&self, module: &impl Module, run: impl Fn(&Var) -> cairn_nn::Result<Var>) {
        self.own("").load_into(module, Strictness::Strict).unwrap();
        let x = Var::parameter(self.floats("x"));
        let y = run(&x).unwrap();
        assert!(apart(y.value(), &self.floats("y")) < 1e-5, "{}", self.0);
        let gradients = y.mul(&Var::constant(self.floats("g"))).unwrap().sum(..).unwrap().backward().unwrap();
        let of_x = apart(&gradients.of(&x).unwrap(), &self.floats("grad/x"));
        assert!(of_x < 1e-4, "{}: gradient of x: {of_x}", self.0);
        let theirs = self.own("grad/");
        for (name, parameter) in module.parameters() {
            let theirs: Tensor = theirs.tensors[&name].clone().try_into().unwrap();
            let apart = apart(&gradients.of(&parameter).unwrap(), &theirs);
            assert!(apart < 1e-4, "{}: gradient of {name}: {apart}", self.0);
        }
    }
}

fn encoder() -> TransformerEncoderLayer {
    TransformerEncoderLayer::new(2, 12).dropout(0.0)
}

fn decoder(heads: usize) -> TransformerDecoderLayer {
    TransformerDecoderLayer::new(heads, 12).dropout(0.0)
}

#[test]
fn masks_of_pairs_are_pytorch_s() {
    let block = encoder().layer(8, &mut rng(0)).unwrap();
    for name in ["hidden", "added", "by_head"] {
        let case = Case::open(name);
        let mask = match name {
            "added" => AttentionMask::added(&case.floats("mask")),
            _ => AttentionMask::hidden(&case.truth("mask")),
        };
        let cx = Context::eval().with_attention_mask(mask.unwrap());
        case.check(&block, |x| block.forward(x, &mut cx.clone()));
    }
    let case = Case::open("padded");
    let lengths: Tensor<u32> = case.1.tensors["lengths"].clone().try_into().unwrap();
    let mask = AttentionMask::visible(&case.truth("mask").not().unwrap()).unwrap();
    let cx = Context::eval().with_attention_mask(mask).with_lengths(&lengths);
    let valid = Var::valid_steps(None, &lengths, 5).unwrap();
    case.check(&block, |x| Ok(block.forward(x, &mut cx.clone())?.mul(&valid)?));

    let case = Case::open("decoder");
    let block = decoder(2).causal(false).layer(8, &mut rng(0)).unwrap();
    let cx = Context::eval()
        .with_attention_mask(AttentionMask::hidden(&case.truth("mask")).unwrap())
        .with_memory_mask(AttentionMask::added(&case.floats("memory_mask")).unwrap());
    let memory = Var::constant(case.floats("memory"));
    case.check(&block, |x| block.forward(x, &memory, None, &mut cx.clone()));
}

#[test]
fn blocks_without_biases_are_pytorch_s() {
    let block = encoder().bias(false).norm_first(true).activation(Gelu).layer(8, &mut rng(0)).unwrap();
    Case::open("encoder_no_bias").check(&block, |x| block.forward(x, &mut Context::eval()));
    let case = Case::open("decoder_no_bias");
    let block = decoder(2).causal(false).bias(false).layer(8, &mut rng(0)).unwrap();
    let memory = Var::constant(case.floats("memory"));
    case.check(&block, |x| block.forward(x, &memory, None, &mut Context::eval()));
    // Attention's own setting of biases does not come back with another description of it.
    let block = encoder().bias(false).attention(MultiHeadAttention::new(2).output_bias(true));
    assert!(block.layer(8, &mut rng(0)).unwrap().parameters().iter().all(|(name, _)| !name.contains("bias")));
}

#[test]
fn gated_blocks_with_shared_heads_are_what_the_formula_says() {
    let block = encoder().gated(true).activation(Silu).layer(8, &mut rng(0)).unwrap();
    Case::open("encoder_gated").check(&block, |x| block.forward(x, &mut Context::eval()));
    let case = Case::open("decoder_gated");
    let attention = MultiHeadAttention::new(4).key_value_heads(2).window(3).soft_cap(2.0);
    let block = decoder(4).attention(attention).gated(true).activation(Gelu).bias(false).norm_first(true);
    let block = block.layer(8, &mut rng(0)).unwrap();
    let memory = Var::constant(case.floats("memory"));
    case.check(&block, |x| block.forward(x, &memory, None, &mut Context::eval()));
}

/// The parts of a transformer that a `torch.nn.Transformer` has.
#[derive(Module)]
struct Both {
    encoder: TransformerEncoder,
    decoder: TransformerDecoder,
}

#[test]
fn a_whole_transformer_ends_its_stacks_as_pytorch_s_if_told() {
    let of = |layers, last: Option<bool>, norm_first| {
        let whole = spec::Transformer::new(3).features(8).heads(2).hidden(12).dropout(0.0);
        let whole = whole.layers(layers, layers).norm_first(norm_first);
        last.map_or(whole.clone(), |last| whole.last_norms(last))
    };
    let both = |whole: spec::Transformer| {
        let whole = whole.layer(&mut rng(0)).unwrap();
        Both { encoder: whole.encoder, decoder: whole.decoder }
    };
    let case = Case::open("whole_no_bias");
    let model = both(of(1, Some(true), false).bias(false));
    let source = Var::constant(case.floats("source"));
    case.check(&model, |x| {
        let memory = model.encoder.forward(&source, &mut Context::eval())?;
        model.decoder.forward(x, &memory, None, &mut Context::eval())
    });
    let mut weights = golden("torch_transformer.safetensors");
    let [x, source, y] =
        ["x", "memory", "y"].map(|name| Tensor::try_from(weights.tensors[name].clone()).unwrap());
    weights.tensors.retain(|name, _| name.starts_with("encoder.") || name.starts_with("decoder."));
    let model = both(of(2, Some(true), false));
    weights.from_torch_transformer().unwrap().load_into(&model, Strictness::Strict).unwrap();
    let memory = model.encoder.forward(&source.into(), &mut Context::eval()).unwrap();
    let got = model.decoder.forward(&x.into(), &memory, None, &mut Context::eval()).unwrap();
    assert!(apart(got.value(), &y) < 1e-5);
    // Unless told, where blocks normalise first.
    for norm_first in [false, true] {
        for (last, expected) in [(None, norm_first), (Some(false), false), (Some(true), true)] {
            let model = both(of(1, last, norm_first));
            assert_eq!([model.encoder.norm.is_some(), model.decoder.norm.is_some()], [expected; 2]);
        }
    }
}

#[test]
fn attention_by_itself_takes_and_gives_pytorch_s_weights() {
    for name in ["own", "cross", "far", "apart"] {
        for bias in [true, false] {
            let path = format!("attention_{name}{}", if bias { "" } else { "_no_bias" });
            let case = Case::open(path.leak());
            let [x, keys, values] = ["x", "keys", "values"].map(|name| Var::constant(case.floats(name)));
            let description = MultiHeadAttention::new(2).bias(bias);
            let cross = |memory| description.cross_layer(8, memory, &mut rng(0));
            // Projections of their own compute the same; PyTorch keeps no others.
            let layers = match name {
                "own" => vec![
                    description.layer(8, &mut rng(0)),
                    description.clone().separate().layer(8, &mut rng(0)),
                ],
                "cross" => vec![cross(8), description.cross_layer_apart(8, [8, 8], &mut rng(0))],
                "far" => vec![cross(6), description.cross_layer_apart(8, [6, 6], &mut rng(0))],
                _ => vec![description.cross_layer_apart(8, [6, 10], &mut rng(0))],
            };
            let mut weights = case.1.clone();
            weights.tensors.retain(|name, _| name.contains("proj"));
            for layer in layers {
                let layer = layer.unwrap();
                let report = layer.load_weights(&weights, Framework::PyTorch, Strictness::Strict).unwrap();
                assert_eq!(report.loaded.len(), layer.parameters().len());
                let cx = &mut Context::eval();
                let y = match name {
                    "own" => layer.forward(&x, cx),
                    "apart" => {
                        let (keys, values) = layer.keys_values_apart(&keys, &values).unwrap();
                        layer.attend_to(&x, &keys, &values, None, cx)
                    }
                    _ => layer.attend(&x, &keys, None, cx),
                };
                assert!(apart(y.unwrap().value(), &case.floats("y")) < 1e-5, "{}", case.0);
                assert_eq!(layer.weights(Framework::PyTorch).unwrap().tensors, weights.tensors, "{}", case.0);
            }
        }
    }
}

#[test]
fn attention_within_blocks_keeps_keys_and_values_of_two_sequences_apart() {
    let case = Case::open("attention_apart");
    let mut theirs = case.1.clone();
    theirs.tensors.retain(|name, _| name.contains("proj"));
    let mut theirs = theirs.rename(&[("", "multihead_attn")]).unwrap();
    // The rest of a block stands in for what is not of interest.
    for (name, shape) in [("self_attn.in_proj_weight", [24, 8]), ("self_attn.out_proj.weight", [8, 8])] {
        theirs.tensors.insert(name.into(), normal(&shape, 0).into());
    }
    let own = theirs.clone().from_torch_transformer().unwrap();
    let layer = MultiHeadAttention::new(2).cross_layer_apart(8, [6, 10], &mut rng(0)).unwrap();
    for (name, parameter) in layer.parameters() {
        parameter.set(own.tensors[&format!("cross_attention.{name}")].clone().try_into().unwrap());
    }
    let [x, keys, values] = ["x", "keys", "values"].map(|name| Var::constant(case.floats(name)));
    let (keys, values) = layer.keys_values_apart(&keys, &values).unwrap();
    let y = layer.attend_to(&x, &keys, &values, None, &mut Context::eval()).unwrap();
    assert!(apart(y.value(), &case.floats("y")) < 1e-5);
    assert_eq!(own.to_torch_transformer().unwrap().tensors, theirs.tensors);
    // Self-attention whose projections are apart is one matrix there.
    let block = encoder().attention(MultiHeadAttention::new(2).separate()).layer(8, &mut rng(0)).unwrap();
    let weights = Weights::of(&block).to_torch_transformer().unwrap();
    assert_eq!(weights.tensors["self_attn.in_proj_weight"].shape(), [24, 8]);
    let plain = encoder().layer(8, &mut rng(1)).unwrap();
    weights.from_torch_transformer().unwrap().load_into(&plain, Strictness::Strict).unwrap();
    let x: Var = normal(&[2, 3, 8], 1).into();
    let [a, b] = [&block, &plain].map(|block| block.forward(&x, &mut Context::eval()).unwrap());
    assert!(apart(a.value(), b.value()) < 1e-6);
}

#[test]
fn attention_to_another_sequence_and_whole_blocks_come_from_keras() {
    let golden = golden("keras_transformers.safetensors");
    let floats = |name: &str| Tensor::<f32>::try_from(golden.tensors[name].clone()).unwrap();
    let of = |case: &str| {
        let mut weights = golden.clone();
        weights.tensors.retain(|name, _| name.starts_with(&format!("{case}:")) && name.contains('/'));
        let named =
            weights.tensors.into_iter().map(|(name, value)| (name[case.len() + 1..].to_owned(), value));
        Weights { tensors: named.collect(), ..Weights::default() }
    };
    let (x, memory) = (Var::constant(floats("x")), Var::constant(floats("memory")));
    let heads = MultiHeadAttention::new;
    for (case, description) in [
        ("cross", heads(2)),
        ("cross_no_bias", heads(2).head_size(3).bias(false)),
        ("cross_values", heads(2).value_size(5)),
        ("cross_grouped", heads(4).key_value_heads(2).head_size(4)),
    ] {
        let layer = description.cross_layer(8, 6, &mut rng(0)).unwrap();
        let theirs = of(case).rename(&[("attention", "")]).unwrap();
        layer.load_weights(&theirs, Framework::Keras, Strictness::Strict).unwrap();
        let y = layer.attend(&x, &memory, None, &mut Context::eval()).unwrap();
        assert!(apart(y.value(), &floats(&format!("{case}:output"))) < 1e-5, "{case}");
        assert_eq!(layer.weights(Framework::Keras).unwrap().tensors, theirs.tensors, "{case}");
    }
    // Where a model is a list of layers they are told by the layers' names.
    for (case, layer) in [
        ("own_values", spec::LayerSpec::from(heads(2).value_size(5))),
        ("encoder", TransformerEncoderLayer::new(2, 12).into()),
        ("encoder_first", TransformerEncoderLayer::new(2, 12).norm_first(true).activation(Gelu).into()),
    ] {
        let model = Sequential::new([4, 8]).add_named("attention", layer).build(&mut rng(0)).unwrap();
        let theirs = of(case);
        model.load_weights(&theirs, Framework::Keras, Strictness::Strict).unwrap();
        let y = model.predict_batch(x.value()).unwrap();
        assert!(apart(&y, &floats(&format!("{case}:output"))) < 1e-5, "{case}");
        assert_eq!(model.weights(Framework::Keras).unwrap().tensors, theirs.tensors, "{case}");
    }
}

#[test]
fn what_other_libraries_have_not_is_refused() {
    let refused_of = |layer: cairn_nn::MultiHeadAttention, framework, word: &str| {
        let errors = [
            layer.weights(framework).unwrap_err(),
            layer.load_weights(&Weights::default(), framework, Strictness::Lenient).unwrap_err(),
        ];
        for error in errors {
            assert!(
                matches!(error, Error::Unsupported { .. }) && error.to_string().contains(word),
                "{error}"
            );
        }
    };
    let refused = |description: MultiHeadAttention, framework, word: &str| {
        refused_of(description.layer(8, &mut rng(0)).unwrap(), framework, word);
    };
    let of = MultiHeadAttention::new;
    for framework in [Framework::PyTorch, Framework::Keras] {
        refused(of(2).alibi(), framework, "positions of its own");
        refused(of(2).rotary(Rotary::new(4), Pairs::Halves), framework, "positions of its own");
        let table = cairn_nn::RelativePositions::new(2, &mut rng(0)).unwrap();
        let layer = of(2).layer(8, &mut rng(0)).unwrap().relative(&table).unwrap();
        refused_of(layer, framework, "positions of its own");
    }
    refused(of(4).key_value_heads(2), Framework::PyTorch, "shared heads");
    refused(of(2).value_size(3), Framework::PyTorch, "values of another size");
    refused(of(2).head_size(3), Framework::PyTorch, "another size of heads");
    refused(of(2).head_norm(1e-6), Framework::Keras, "norms of heads");
    refused(of(2).output_bias(false), Framework::Keras, "biases in some");
    // Keys and values that the layer makes of one sequence are not taken from two.
    let two = of(2).cross_layer_apart(8, [6, 10], &mut rng(0)).unwrap();
    let one = of(2).cross_layer(8, 6, &mut rng(0)).unwrap();
    let weights = two.weights(Framework::PyTorch).unwrap();
    let error = one.load_weights(&weights, Framework::PyTorch, Strictness::Lenient).unwrap_err();
    assert!(error.to_string().contains("other features"), "{error}");
    let report =
        two.load_weights(&one.weights(Framework::PyTorch).unwrap(), Framework::PyTorch, Strictness::Lenient);
    assert_eq!(report.unwrap().misshapen[0].name, "values.weight");
    let gated = Sequential::new([3, 8]).add(encoder().gated(true)).build(&mut rng(0)).unwrap();
    for framework in [Framework::PyTorch, Framework::Keras] {
        assert!(gated.weights(framework).unwrap_err().to_string().contains("gate"));
    }
}

#[test]
fn masks_that_do_not_fit_are_said() {
    let mask = |shape: &[usize]| Tensor::from_vec(vec![true; shape.iter().product()], shape).unwrap();
    for shape in [&[3][..], &[2, 3, 3], &[1, 1, 1, 3, 3]] {
        assert!(matches!(AttentionMask::visible(&mask(shape)), Err(Error::BadInput { .. })), "{shape:?}");
        assert!(AttentionMask::hidden(&mask(shape)).is_err(), "{shape:?}");
        assert!(AttentionMask::added(&normal(shape, 0)).is_err(), "{shape:?}");
    }
    let own = MultiHeadAttention::new(2).layer(8, &mut rng(0)).unwrap();
    let cross = MultiHeadAttention::new(2).cross_layer(8, 8, &mut rng(0)).unwrap();
    let (x, memory): (Var, Var) = (normal(&[2, 3, 8], 0).into(), normal(&[2, 4, 8], 1).into());
    let fits = |shape: &[usize]| {
        let visible = AttentionMask::visible(&mask(shape)).unwrap();
        let added = AttentionMask::added(&Tensor::zeros(shape).unwrap()).unwrap();
        let run = |mask: AttentionMask| {
            let mut within = Context::eval().with_attention_mask(mask.clone());
            let mut between = Context::eval().with_memory_mask(mask);
            // The mask of one is none of the other.
            assert!(own.forward(&x, &mut between).is_ok());
            assert!(cross.attend(&x, &memory, None, &mut within).is_ok());
            [own.forward(&x, &mut within).is_ok(), cross.attend(&x, &memory, None, &mut between).is_ok()]
        };
        let [of_truth, of_numbers] = [run(visible), run(added)];
        assert_eq!(of_truth, of_numbers, "{shape:?}");
        of_truth
    };
    assert_eq!(fits(&[3, 3]), [true, false]);
    assert_eq!(fits(&[3, 4]), [false, true]);
    assert_eq!(fits(&[2, 1, 3, 3]), [true, false]);
    assert_eq!(fits(&[1, 2, 3, 4]), [false, true]);
    assert_eq!(fits(&[2, 3, 3, 3]), [false, false]);
    assert_eq!(fits(&[3, 1, 3, 3]), [false, false]);
    // A query that sees nothing gets zeros, and spoils no other.
    let mut hidden = vec![false; 9];
    hidden[3..6].fill(true);
    let hidden = AttentionMask::hidden(&Tensor::from_vec(hidden, [3, 3]).unwrap()).unwrap();
    let y = own.forward(&x, &mut Context::eval().with_attention_mask(hidden)).unwrap();
    let bias = own.output.bias.as_ref().unwrap().value();
    assert_eq!(y.value().index(0, 0).unwrap().index(0, 1).unwrap(), bias);
    assert!(y.value().iter().all(f32::is_finite));
}

#[test]
fn a_transformer_s_own_mask_is_that_of_its_target() {
    let model =
        spec::Transformer::new(9).features(8).heads(2).layers(1, 1).hidden(12).layer(&mut rng(0)).unwrap();
    let source = Tensor::from_vec(vec![3, 4, 5, 6], [1, 4]).unwrap();
    let target = Tensor::from_vec(vec![1, 7, 8], [1, 3]).unwrap();
    let mask =
        Tensor::from_vec(vec![true, true, true, false, true, true, false, false, true], [3, 3]).unwrap();
    let mask = AttentionMask::visible(&mask).unwrap();
    let mut cx = Context::eval().with_attention_mask(mask);
    let masked = model.forward(&source, None, &target, &mut cx).unwrap();
    assert!(cx.attention_mask().is_some());
    let memory = model.encode(&source, &mut Context::eval()).unwrap();
    assert_eq!(model.decode(&target, &memory, None, &mut cx).unwrap().value(), masked.value());
    // The last step sees itself alone.
    let plain = model.forward(&source, None, &target, &mut Context::eval()).unwrap();
    assert_eq!(masked.value().narrow(1, 0, 1).unwrap(), plain.value().narrow(1, 0, 1).unwrap());
    assert_ne!(masked.value().narrow(1, 2, 1).unwrap(), plain.value().narrow(1, 2, 1).unwrap());
}

#[test]
fn recomputed_blocks_have_the_mask_again() {
    let stack = TransformerEncoder::new(2, &encoder(), 8, &mut rng(0)).unwrap();
    let mask = Tensor::<f32>::ones([4, 4]).unwrap().tril(0).unwrap().gt(&Tensor::scalar(0.0)).unwrap();
    let cx = || Context::train(0).with_attention_mask(AttentionMask::visible(&mask).unwrap());
    let run = |mut cx: Context| {
        let x = Var::parameter(normal(&[2, 4, 8], 1));
        let y = stack.forward(&x, &mut cx).unwrap();
        let gradients = y.square().unwrap().sum(..).unwrap().backward().unwrap();
        (y.value().clone(), gradients.of(&x).unwrap())
    };
    assert_eq!(run(cx()), run(cx().recomputing()));
    assert_ne!(run(cx()).0, run(Context::train(0)).0);
}

#[test]
fn a_decoder_of_any_description_writes_the_same_bits_with_its_cache() {
    let of = MultiHeadAttention::new;
    for attention in [
        of(4).key_value_heads(2).rotary(Rotary::new(4), Pairs::Halves),
        of(4).window(2).soft_cap(3.0).value_size(3),
        of(4).separate().head_norm(1e-6).alibi(),
    ] {
        let block = decoder(4).attention(attention).gated(true).activation(Silu).bias(false).norm_first(true);
        let decoder = TransformerDecoder::new(2, &block, 16, &mut rng(0)).unwrap();
        let (x, source): (Tensor, Var) = (normal(&[2, 5, 16], 1), normal(&[2, 7, 16], 2).into());
        let whole = decoder.forward(&x.clone().into(), &source, None, &mut Context::eval()).unwrap();
        let mut memory = decoder.memory(&source, None, 5).unwrap();
        for (first, count) in [(0, 2), (2, 1), (3, 2)] {
            memory.cache.begin(&[count, count]).unwrap();
            let y = decoder.forward_cached(&x.narrow(1, first, count).unwrap().into(), &mut memory).unwrap();
            memory.cache.end();
            assert_eq!(y.value(), &whole.value().narrow(1, first, count).unwrap());
        }
    }
}

#[test]
fn files_of_the_first_form_stay_and_others_bring_all_settings() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let first = serde_json::to_string(&spec::LayerSpec::from(encoder())).unwrap();
    assert!(first.starts_with("[\"transformer_encoder_layer\",{") && !first.contains("further"), "{first}");
    let attention = || MultiHeadAttention::new(2).value_size(3);
    let layers: [(&str, spec::LayerSpec); 6] = [
        ("multi_head_attention", MultiHeadAttention::new(2).window(3).into()),
        ("multi_head_attention_2", attention().into()),
        ("multi_head_attention_2", MultiHeadAttention::new(2).pytorch_init().into()),
        ("transformer_encoder_layer_2", encoder().bias(false).into()),
        ("transformer_encoder_layer_2", encoder().gated(true).activation(Silu).causal(true).into()),
        ("transformer_encoder_layer_2", encoder().attention(attention()).into()),
    ];
    for (form, layer) in layers {
        let text = serde_json::to_string(&layer).unwrap();
        assert!(text.starts_with(&format!("[\"{form}\",")), "{text}");
        assert_eq!(serde_json::from_str::<spec::LayerSpec>(&text).unwrap(), layer);
        let model = Sequential::new([4, 8]).add(layer).build(&mut rng(3)).unwrap();
        assert_eq!(model.summary().parameters, model.parameter_count(), "{form}");
        model.save(file.path()).unwrap();
        let x = normal(&[2, 4, 8], 1);
        let again = Sequential::load(file.path()).unwrap();
        assert_eq!(again.predict_batch(&x).unwrap(), model.predict_batch(&x).unwrap(), "{form}");
    }
    let encoder = "[\"transformer_encoder_layer_2\",[{\"heads\":2},{}]]";
    assert!(serde_json::from_str::<spec::LayerSpec>(encoder).is_err());
}

#[test]
fn initial_values_are_pytorch_s_if_told() {
    let largest = |x: &Tensor| x.abs().unwrap().max(..).unwrap().item().unwrap();
    // Of so many values the largest comes near the limit, which is rounded to f32.
    let within = |x: &Tensor, limit: f64, what: &str| {
        let most = f64::from(largest(x));
        assert!(most <= limit * (1.0 + 1e-6) && most > 0.8 * limit, "{what}: {most} of {limit}");
    };
    let (e, h) = (64.0f64, 256.0f64);
    let block = TransformerDecoderLayer::new(4, 256).pytorch_init().layer(64, &mut rng(0)).unwrap();
    let glorot = (6.0 / (e + 3.0 * e)).sqrt();
    within(&block.attention.projection.weight.value(), glorot, "self-attention");
    within(&block.cross_attention.projection.weight.value(), glorot, "queries");
    within(&block.cross_attention.memory.as_ref().unwrap().weight.value(), glorot, "keys and values");
    for attention in [&block.attention, &block.cross_attention] {
        within(&attention.output.weight.value(), 1.0 / e.sqrt(), "joined heads");
        assert_eq!(largest(&attention.output.bias.as_ref().unwrap().value()), 0.0);
        assert_eq!(largest(&attention.projection.bias.as_ref().unwrap().value()), 0.0);
    }
    for (layer, inputs) in [(&block.feed_forward.up, e), (&block.feed_forward.down, h)] {
        within(&layer.weight.value(), 1.0 / inputs.sqrt(), "feed-forward weights");
        within(&layer.bias.as_ref().unwrap().value(), 1.0 / inputs.sqrt(), "feed-forward biases");
    }
    // A memory of other features has a matrix for each.
    let far = MultiHeadAttention::new(4).pytorch_init().cross_layer(64, 32, &mut rng(0)).unwrap();
    within(&far.projection.weight.value(), (6.0 / (e + e)).sqrt(), "queries alone");
    within(&far.memory.unwrap().weight.value(), (6.0 / (e / 2.0 + e)).sqrt(), "keys and values each");
    // Without a word it is Glorot's rule, with biases of 0.
    let plain = TransformerDecoderLayer::new(4, 256).layer(64, &mut rng(0)).unwrap();
    within(&plain.attention.output.weight.value(), (6.0 / (e + e)).sqrt(), "joined heads by Glorot's rule");
    assert_eq!(largest(&plain.feed_forward.up.bias.as_ref().unwrap().value()), 0.0);
}
