//! Transformer blocks against PyTorch's, of sequences longer than one block of keys: 1e-5 for what is computed, 1e-4 for gradients, each
//! of the largest element. `tests/golden/transformer_blocks.py` made the values, from weights and inputs by the same formula.

use std::collections::BTreeMap;
use std::path::Path;

use cairn_autograd::Var;
use cairn_nn::Activation::Gelu;
use cairn_nn::weights::Weights;
use cairn_nn::{Context, Module, Parameter, Result, SequenceMask, spec};
use cairn_tensor::{Tensor, rng};

const FEATURES: usize = 32;
const HEADS: usize = 4;
const HIDDEN: usize = 48;
/// Elements of a result that are there, at most.
const SAMPLES: usize = 24;

/// Numbers without a visible pattern.
fn formula(i: usize, phase: f64) -> f32 {
    let i = i as f64;
    (1.4 * (0.7 * i + 0.013 * (i * i) + phase).sin()) as f32
}

fn made(shape: &[usize], phase: f64) -> Tensor {
    let count: usize = shape.iter().product();
    Tensor::from_vec((0..count).map(|i| formula(i, phase)).collect(), shape).unwrap()
}

/// A case of PyTorch's values: of each result some elements, the sum of all by weights, the size of the largest.
struct Case {
    values: Weights,
    name: &'static str,
    /// Steps of the sequences.
    time: usize,
    /// Steps of those that are attended to, where there are such.
    memory: Option<usize>,
    lengths: Option<[u32; 2]>,
}

impl Case {
    fn open(name: &'static str, time: usize) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/torch_blocks.safetensors");
        let values = Weights::read_safetensors(path).unwrap();
        Case { values, name, time, memory: None, lengths: None }
    }

    fn memory(self, steps: usize) -> Self {
        Case { memory: Some(steps), ..self }
    }

    fn lengths(self, lengths: [u32; 2]) -> Self {
        Case { lengths: Some(lengths), ..self }
    }

    fn close(&self, name: &str, got: &Tensor, tolerance: f64) {
        let name = format!("{}/{name}", self.name);
        let want: Tensor = self.values.tensors[&name].clone().try_into().unwrap();
        let want: Vec<f64> = want.iter().map(f64::from).collect();
        let got: Vec<f64> = got.iter().map(f64::from).collect();
        let samples = got.len().min(SAMPLES);
        assert_eq!(want.len(), samples + 2, "{name}");
        let (sum, largest) = (want[samples], want[samples + 1]);
        let allowed = tolerance * largest;
        for (place, &want) in want[..samples].iter().enumerate() {
            let at = place * 104_729 % got.len();
            assert!(
                (got[at] - want).abs() <= allowed,
                "{name}: element {at} is {}, PyTorch's {want}",
                got[at]
            );
        }
        // Elements are off independently of each other.
        let allowed = allowed * (got.len() as f64).sqrt();
        let all: f64 = got.iter().enumerate().map(|(i, x)| x * f64::from(formula(i, 5.6))).sum();
        assert!((all - sum).abs() <= allowed, "{name}: weighted sum {all}, PyTorch's {sum}");
    }

    fn check(&self, block: &impl Module, run: impl FnOnce(&Var, Option<&Var>, &mut Context) -> Result<Var>) {
        let groups = by_their_names(block, self.memory.is_some());
        for (k, (name, parts)) in groups.iter().enumerate() {
            set(name, parts, 0.1 + 1.1 * k as f64);
        }
        let x = Var::parameter(made(&[2, self.time, FEATURES], 50.1));
        let memory = self.memory.map(|steps| Var::parameter(made(&[2, steps, FEATURES], 51.2)));
        let mut cx = Context::train(0);
        if let Some(lengths) = self.lengths {
            cx = cx.with_lengths(&Tensor::from_slice(&lengths, [2]).unwrap());
        }
        let mut y = run(&x, memory.as_ref(), &mut cx).unwrap();
        if let Some(lengths) = self.lengths {
            // Normalisation and biases fill the padding again; PyTorch's script zeroes it likewise.
            let steps = 0..self.time as u32;
            let valid = lengths.iter().flat_map(|&n| steps.clone().map(move |t| f32::from(u8::from(t < n))));
            let valid = Tensor::from_vec(valid.collect(), [2, self.time, 1]).unwrap();
            y = y.mul(&Var::constant(valid)).unwrap();
        }
        self.close("y", y.value(), 1e-5);
        let g = Var::constant(made(y.shape(), 52.3));
        let gradients = y.mul(&g).unwrap().sum(..).unwrap().backward().unwrap();
        self.close("grad/x", &gradients.of(&x).unwrap(), 1e-4);
        if let Some(memory) = memory {
            self.close("grad/memory", &gradients.of(&memory).unwrap(), 1e-4);
        }
        for (name, parts) in groups {
            let parts: Vec<Tensor> = parts.iter().map(|part| turned(&gradients.of(part).unwrap())).collect();
            let whole = Tensor::cat(&parts.iter().collect::<Vec<_>>(), 0).unwrap();
            self.close(&format!("grad/{name}"), &whole, 1e-4);
        }
    }
}

/// A matrix the other way round, as PyTorch has it; anything else as it is.
fn turned(x: &Tensor) -> Tensor {
    if x.rank() == 2 { x.t().unwrap() } else { x.clone() }
}

/// The parameters that are one of PyTorch's, side by side, by its names: queries, keys and values are in one matrix there, also where
/// they are of two sequences.
fn by_their_names(block: &impl Module, decoder: bool) -> BTreeMap<String, Vec<Parameter>> {
    let layers = [
        ("attention_norm", "norm1"),
        ("cross_attention_norm", "norm2"),
        ("feed_forward_norm", if decoder { "norm3" } else { "norm2" }),
        ("attention", "self_attn"),
        ("cross_attention", "multihead_attn"),
        ("feed_forward.up", "linear1"),
        ("feed_forward.down", "linear2"),
    ];
    let mut groups: BTreeMap<String, Vec<Parameter>> = BTreeMap::new();
    for (own, parameter) in block.parameters() {
        let found = layers
            .iter()
            .find_map(|(ours, theirs)| Some((theirs, own.strip_prefix(ours)?.strip_prefix('.')?)));
        let (layer, rest) = found.unwrap();
        let value = match rest {
            "projection.weight" | "memory.weight" => "in_proj_weight",
            "projection.bias" | "memory.bias" => "in_proj_bias",
            "output.weight" => "out_proj.weight",
            "output.bias" => "out_proj.bias",
            other => other,
        };
        groups.entry(format!("{layer}.{value}")).or_default().push(parameter);
    }
    groups
}

/// Sets one of PyTorch's parameters by the formula.
fn set(name: &str, parts: &[Parameter], phase: f64) {
    let shapes: Vec<Vec<usize>> = parts.iter().map(|part| part.shape().to_vec()).collect();
    let rows: Vec<usize> = shapes.iter().map(|shape| shape[shape.len() - 1]).collect();
    let mut shape = vec![rows.iter().sum::<usize>()];
    shape.extend(&shapes[0][..shapes[0].len() - 1]);
    let drawn = made(&shape, phase);
    let value = if name.contains("norm") && name.ends_with("weight") {
        drawn.scale(0.2).unwrap().add(&Tensor::scalar(1.0)).unwrap()
    } else {
        drawn.scale(0.18).unwrap()
    };
    let mut first = 0;
    for (part, rows) in parts.iter().zip(rows) {
        part.set(turned(&value.narrow(0, first, rows).unwrap()));
        first += rows;
    }
}

#[test]
fn encoder_blocks_are_pytorch_s() {
    let block = || spec::TransformerEncoderLayer::new(HEADS, HIDDEN).dropout(0.0);
    let check = |case: Case, block: spec::TransformerEncoderLayer| {
        let block = block.layer(FEATURES, &mut rng(0)).unwrap();
        case.check(&block, |x, _, cx| block.forward(x, cx));
    };
    check(Case::open("encoder", 70), block());
    check(Case::open("encoder_padded", 210).lengths([210, 33]), block().activation(Gelu));
    check(Case::open("encoder_causal", 210), block().causal(true).norm_first(true).activation(Gelu));
}

#[test]
fn decoder_blocks_are_pytorch_s() {
    let block = || spec::TransformerDecoderLayer::new(HEADS, HIDDEN).dropout(0.0);
    let check = |case: Case, block: spec::TransformerDecoderLayer, valid: Option<SequenceMask>| {
        let block = block.layer(FEATURES, &mut rng(0)).unwrap();
        case.check(&block, |x, memory, cx| block.forward(x, memory.unwrap(), valid.as_ref(), cx));
    };
    check(Case::open("decoder", 50).memory(230), block(), None);
    let valid = SequenceMask::of_lengths(&Tensor::from_vec(vec![195, 230], [2]).unwrap());
    let first = block().norm_first(true).activation(Gelu);
    check(Case::open("decoder_first_padded", 200).memory(230), first, Some(valid));
}
