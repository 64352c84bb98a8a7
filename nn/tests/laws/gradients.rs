//! Derivatives of attention layers and transformers, with each of their options, against differences in double precision.
//!
//! Layers compute in single precision, whose differences are good for three digits. So a forward pass is traced, and its operations
//! are evaluated again in double precision with values moved by a little: the differences are those of the graph that the layer leaves,
//! to nine digits, and the layer's own gradients are held against them as far as single precision goes.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use cairn_autograd::op::Operand;
use cairn_autograd::{Recorded, Source, Var, trace};
use cairn_nn::spec::{self, MultiHeadAttention};
use cairn_nn::{
    Activation, Context, Embedding, FeedForward, LayerNorm, Linear, Module, PositionEmbedding,
    RelativePositions, Result, RmsNorm, SequenceMask, TransformerDecoder, TransformerEncoder,
};
use cairn_tensor::{LinearCrossEntropyOptions, Pairs, Rotary, Tensor, rng};

/// Step of the differences: what it moves is far from the kinks of a ReLU.
const STEP: f64 = 1e-6;
/// Largest difference, as a share of the largest gradient of a value, or of a twentieth of the largest of all.
const TOLERANCE: f64 = 5e-5;
/// Elements of each value that are moved by themselves.
const SAMPLES: usize = 5;

/// A value that a pass depends on.
struct Leaf {
    name: String,
    id: u64,
    value: Tensor<f64>,
    gradient: Vec<f64>,
}

/// Unequal weights of an output's elements, so that an error in one cannot be hidden by another.
fn weights(count: usize) -> impl Iterator<Item = f64> {
    (0..count).map(|i| 0.5 + (i as f64 * 0.618_033_988_749_895).fract())
}

/// The weighted sum of what a traced graph computes, in double precision, with these values in place of its leaves'.
fn evaluate(graph: &[Var], leaves: &BTreeMap<u64, Tensor<f64>>) -> f64 {
    let mut values: BTreeMap<u64, Tensor<f64>> = BTreeMap::new();
    for var in graph {
        let value = match var.recorded() {
            Some(Recorded { op, operands, .. }) => {
                let operands: Vec<Operand<'_, f64>> = operands
                    .iter()
                    .map(|operand| match operand {
                        Source::Var(var) => Operand::Float(&values[&var.id()]),
                        Source::Ids(ids) => Operand::Ids(ids),
                        Source::Mask(mask) => Operand::Mask(mask),
                        Source::Stored(weights) => Operand::Stored(weights),
                    })
                    .collect();
                op.evaluate(&operands).unwrap()
            }
            None => match leaves.get(&var.id()) {
                Some(value) => value.clone(),
                None => var.value().cast().unwrap(),
            },
        };
        values.insert(var.id(), value);
    }
    let output = &values[&graph[graph.len() - 1].id()];
    output.iter().zip(weights(output.len())).map(|(y, weight)| y * weight).sum()
}

/// Holds the gradients of all parameters of a module and of these inputs against differences. `f` is the forward pass; it is to give
/// the same each time.
fn check(what: &str, module: &impl Module, inputs: &[Tensor], f: impl Fn(&[Var]) -> Result<Var>) {
    // Not where layers begin, at biases of 0 and scales of 1.
    for (k, (_, parameter)) in module.parameters().into_iter().enumerate() {
        let noise = Tensor::normal(parameter.shape(), 0.0, 0.3, &mut rng(1000 + k as u64)).unwrap();
        parameter.set(parameter.value().add(&noise).unwrap());
    }
    let inputs: Vec<Var> = inputs.iter().cloned().map(Var::parameter).collect();
    let graph = trace(|| f(&inputs)).result.unwrap().graph();
    let y = f(&inputs).unwrap();
    let by =
        Tensor::from_vec(weights(y.value().len()).map(|weight| weight as f32).collect(), y.dims()).unwrap();
    let gradients = y.mul(&Var::constant(by)).unwrap().sum(..).unwrap().backward().unwrap();
    let wide = |x: &Tensor| x.cast::<f64>().unwrap();
    let mut leaves = Vec::new();
    for (place, input) in inputs.iter().enumerate() {
        let gradient = wide(&gradients.of(input).unwrap()).to_vec();
        let name = format!("input {place}");
        leaves.push(Leaf { name, id: input.id(), value: wide(input.value()), gradient });
    }
    for (name, parameter) in module.parameters() {
        let gradient = gradients.of(&parameter).unwrap_or_else(|error| panic!("{what}: {name}: {error}"));
        let gradient = wide(&gradient).to_vec();
        leaves.push(Leaf { name, id: parameter.id(), value: wide(&parameter.value()), gradient });
    }
    let values: BTreeMap<u64, Tensor<f64>> =
        leaves.iter().map(|leaf| (leaf.id, leaf.value.clone())).collect();
    let largest = |gradient: &[f64]| gradient.iter().fold(0.0f64, |most, g| most.max(g.abs()));
    let of_all = leaves.iter().map(|leaf| largest(&leaf.gradient)).fold(0.0, f64::max);
    for leaf in &leaves {
        let allowed = TOLERANCE * largest(&leaf.gradient).max(0.05 * of_all);
        for place in (0..leaf.gradient.len().min(SAMPLES)).map(|k| k * 7919 % leaf.gradient.len()) {
            let moved = |step: f64| {
                let mut values = values.clone();
                values.get_mut(&leaf.id).unwrap().as_mut_slice().unwrap()[place] += step;
                evaluate(&graph, &values)
            };
            let numeric = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            let own = leaf.gradient[place];
            let name = &leaf.name;
            assert!((own - numeric).abs() <= allowed, "{what}: {name}, element {place}: {own} for {numeric}");
        }
    }
    // All elements of all values at once, each in a direction of its own.
    let direction = |i: usize| (1.0 + 2.4 * i as f64).sin();
    let moved = |step: f64| {
        let along = |(id, value): (&u64, &Tensor<f64>)| {
            let values = value.iter().enumerate().map(|(i, x)| x + step * direction(i)).collect();
            (*id, Tensor::from_vec(values, value.dims()).unwrap())
        };
        evaluate(&graph, &values.iter().map(along).collect())
    };
    let numeric = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
    let parts = leaves.iter().flat_map(|leaf| leaf.gradient.iter().enumerate());
    let parts: Vec<f64> = parts.map(|(i, g)| g * direction(i)).collect();
    let (own, size) = (parts.iter().sum::<f64>(), parts.iter().map(|part| part.abs()).sum::<f64>());
    assert!((own - numeric).abs() <= TOLERANCE * size, "{what}, along a direction: {own} for {numeric}");
}

fn normal(shape: &[usize], seed: u64) -> Tensor {
    Tensor::normal(shape, 0.0, 1.0, &mut rng(seed)).unwrap()
}

/// No mask; lengths; padding before the second of two sequences of so many steps.
fn masks(time: u32) -> [Option<SequenceMask>; 3] {
    let lengths = Tensor::from_vec(vec![time, time - 2], [2]).unwrap();
    let ids = (0..2 * time).map(|i| u32::from(i < time || i >= time + 2)).collect();
    let before = SequenceMask::of_ids(&Tensor::from_vec(ids, [2, time as usize]).unwrap(), 0).unwrap();
    [None, Some(SequenceMask::of_lengths(&lengths)), Some(before)]
}

/// A pass in training, whose draws are the same each time.
fn training(mask: Option<&SequenceMask>) -> Context {
    let mut cx = Context::train(7);
    cx.set_mask(mask.cloned());
    cx
}

#[test]
fn gradients_that_are_off_by_a_hundredth_are_found() {
    let linear = Linear::new(3, 2, &mut rng(0)).unwrap();
    let calls = Cell::new(0);
    let off = |x: &[Var]| -> Result<Var> {
        // The pass that is differentiated comes after the one that is traced.
        calls.set(calls.get() + 1);
        Ok(linear.forward(&x[0])?.scale(if calls.get() == 1 { 1.0 } else { 1.01 })?)
    };
    let found = catch_unwind(AssertUnwindSafe(|| check("off", &linear, &[normal(&[4, 3], 1)], off)));
    let message = found.unwrap_err();
    let message = message.downcast_ref::<String>().unwrap();
    assert!(message.starts_with("off: input 0"), "{message}");
}

#[test]
fn attention_of_a_sequence_to_itself() {
    let of = MultiHeadAttention::new;
    let rotary = |turned| Rotary::new(turned).base(10.0);
    let all: [(&str, MultiHeadAttention); 20] = [
        ("plain", of(2)),
        ("without biases", of(2).bias(false)),
        ("with a bias of the output alone", of(2).bias(false).output_bias(true)),
        ("grouped queries", of(4).key_value_heads(2)),
        ("one head of keys, of another size", of(4).key_value_heads(1).head_size(3)),
        ("scale", of(2).scale(0.9)),
        ("causal", of(2).causal(true)),
        ("window", of(2).window(2)),
        ("causal window", of(2).causal(true).window(2)),
        ("soft cap", of(2).soft_cap(0.8)),
        ("linear biases", of(2).alibi()),
        ("rotary halves", of(2).rotary(rotary(4), Pairs::Halves)),
        ("rotary neighbours", of(2).rotary(rotary(4), Pairs::Neighbours)),
        ("rotary, in part", of(2).rotary(rotary(2), Pairs::Halves)),
        ("norms of heads", of(2).head_norm(1e-6)),
        ("norms of heads, turned", of(2).head_norm(1e-3).rotary(rotary(4), Pairs::Neighbours)),
        ("separate projections", of(2).separate()),
        ("separate projections, grouped", of(4).key_value_heads(2).separate().bias(false).head_norm(1e-6)),
        ("dropout", of(2).dropout(0.3)),
        (
            "everything",
            of(4)
                .key_value_heads(2)
                .head_size(4)
                .causal(true)
                .window(3)
                .soft_cap(2.0)
                .alibi()
                .head_norm(1e-6)
                .rotary(rotary(4), Pairs::Halves)
                .dropout(0.2),
        ),
    ];
    for (what, attention) in all {
        for (kind, mask) in masks(5).iter().enumerate() {
            let layer = attention.layer(8, &mut rng(1)).unwrap();
            check(&format!("{what}, mask {kind}"), &layer, &[normal(&[2, 5, 8], 2)], |x| {
                layer.forward(&x[0], &mut training(mask.as_ref()))
            });
        }
    }
}

#[test]
fn attention_to_another_sequence() {
    let of = MultiHeadAttention::new;
    let all: [(&str, MultiHeadAttention); 5] = [
        ("plain", of(2)),
        ("without biases, of another size", of(2).bias(false).head_size(3)),
        ("grouped queries", of(4).key_value_heads(2)),
        ("scale and soft cap", of(2).scale(0.9).soft_cap(0.8)),
        ("dropout", of(2).dropout(0.3)),
    ];
    for (what, attention) in all {
        for (kind, mask) in masks(6).iter().enumerate() {
            let layer = attention.cross_layer(8, 5, &mut rng(1)).unwrap();
            let inputs = [normal(&[2, 4, 8], 2), normal(&[2, 6, 5], 3)];
            check(&format!("{what}, mask {kind}"), &layer, &inputs, |x| {
                layer.attend(&x[0], &x[1], mask.as_ref(), &mut training(None))
            });
        }
    }
}

#[test]
fn relative_positions() {
    for (back, mask) in [(false, 0), (true, 0), (false, 1), (true, 2)] {
        let table = RelativePositions::with_buckets(2, 8, 12, &mut rng(1)).unwrap();
        let table = if back { table.one_way() } else { table };
        let attention = MultiHeadAttention::new(2).bias(false).scale(1.0).causal(back);
        let layer = attention.layer(8, &mut rng(1)).unwrap().relative(&table).unwrap();
        let mask = masks(7)[mask].clone();
        check(&format!("back {back}, {mask:?}"), &layer, &[normal(&[2, 7, 8], 2)], |x| {
            layer.forward(&x[0], &mut training(mask.as_ref()))
        });
    }
}

#[test]
fn feed_forward_parts() {
    use Activation::{Gelu, GeluTanh, Relu, Sigmoid, Silu, Tanh};
    let x = [normal(&[2, 3, 5], 2)];
    for activation in [Relu, Sigmoid, Silu, Gelu, GeluTanh, Tanh] {
        let plain = FeedForward::new(5, 7, activation, &mut rng(1)).unwrap().dropout(0.2);
        check(&format!("{activation:?}"), &plain, &x, |x| plain.forward(&x[0], &mut training(None)));
        let gated = FeedForward::gated(5, 7, activation, &mut rng(1)).unwrap().dropout(0.2);
        check(&format!("gated {activation:?}"), &gated, &x, |x| gated.forward(&x[0], &mut training(None)));
        let linear = |inputs, outputs| Linear::new(inputs, outputs, &mut rng(inputs as u64)).unwrap();
        let apart = FeedForward::with_gate(linear(5, 7), linear(5, 7), linear(7, 5), activation);
        check(&format!("{activation:?} with a gate"), &apart, &x, |x| {
            apart.forward(&x[0], &mut training(None))
        });
    }
}

#[test]
fn encoder_blocks_and_stacks() {
    let block = || spec::TransformerEncoderLayer::new(2, 6);
    let grouped = MultiHeadAttention::new(2).key_value_heads(1).window(3);
    let all = [
        ("norm last", block()),
        ("norm first", block().norm_first(true).epsilon(1e-3)),
        ("causal, without dropout", block().causal(true).dropout(0.0).activation(Activation::Gelu)),
        ("grouped queries", block().attention(grouped).norm_first(true).activation(Activation::Tanh)),
    ];
    let x = [normal(&[2, 5, 8], 2)];
    for (what, block) in all {
        for (kind, mask) in masks(5).iter().enumerate() {
            let layer = block.layer(8, &mut rng(1)).unwrap();
            check(&format!("{what}, mask {kind}"), &layer, &x, |x| {
                layer.forward(&x[0], &mut training(mask.as_ref()))
            });
        }
        let stack = TransformerEncoder::new(2, &block, 8, &mut rng(1)).unwrap();
        let pass = |x: &[Var]| stack.forward(&x[0], &mut training(None));
        check(&format!("a stack, {what}"), &stack, &x, pass);
        let pass = |x: &[Var]| stack.forward(&x[0], &mut training(None).recomputing());
        check(&format!("a stack that is computed again, {what}"), &stack, &x, pass);
    }
}

#[test]
fn decoder_blocks_and_stacks() {
    let block = || spec::TransformerDecoderLayer::new(2, 6);
    let all = [
        ("norm last", block()),
        ("norm first", block().norm_first(true).epsilon(1e-3).activation(Activation::Gelu)),
    ];
    let inputs = [normal(&[2, 4, 8], 2), normal(&[2, 6, 8], 3)];
    for (what, block) in all {
        for (kind, mask) in masks(6).iter().enumerate() {
            let layer = block.layer(8, &mut rng(1)).unwrap();
            check(&format!("{what}, mask {kind}"), &layer, &inputs, |x| {
                layer.forward(&x[0], &x[1], mask.as_ref(), &mut training(None))
            });
        }
        let stack = TransformerDecoder::new(2, &block, 8, &mut rng(1)).unwrap();
        check(&format!("a stack, {what}"), &stack, &inputs, |x| {
            stack.forward(&x[0], &x[1], None, &mut training(masks(4)[1].as_ref()))
        });
    }
}

#[test]
fn whole_transformers() {
    let small = || spec::Transformer::new(9).features(8).heads(2).layers(1, 1).hidden(6);
    let source = Tensor::from_vec(vec![5, 6, 7, 2, 4, 2, 0, 0], [2, 4]).unwrap();
    let (read, write) =
        (Tensor::from_vec(vec![1, 5, 8, 1, 3, 4], [2, 3]).unwrap(), Tensor::full([2, 3], 3u32).unwrap());
    let mask = SequenceMask::of_lengths(&Tensor::from_vec(vec![4, 2], [2]).unwrap());
    for (what, description) in [
        ("one table", small()),
        ("norm first, learned positions", small().norm_first(true).learned_positions(6)),
        ("tables apart", small().target_vocabulary(10).tied_head(false).activation(Activation::Gelu)),
    ] {
        let model = description.layer(&mut rng(1)).unwrap();
        let states = || model.forward(&source, Some(&mask), &read, &mut Context::train(7));
        check(&format!("{what}: scores"), &model, &[], |_| model.scores(&states()?));
        // The loss and the embeddings it is tied to, each with its gradient of one table.
        let options = LinearCrossEntropyOptions::default().smoothing(0.1);
        check(&format!("{what}: loss"), &model, &[], |_| {
            Ok(states()?.linear_cross_entropy(&model.head.var(), None, &write, &options)?.0)
        });
    }
}

#[test]
fn the_loss_over_a_vocabulary_tied_to_an_embedding() {
    let words = Embedding::new(7, 4, &mut rng(1)).unwrap();
    let ids = Tensor::from_vec(vec![3, 1, 1, 6, 0, 2], [2, 3]).unwrap();
    let labels = Tensor::from_vec(vec![1, 1, 9, 0, 2, 6], [2, 3]).unwrap();
    let plain = LinearCrossEntropyOptions::default().ignored(9);
    let by_class = Tensor::linspace(0.5, 1.5, 7).unwrap();
    let by_row = Tensor::linspace(0.1, 2.0, 6).unwrap().reshape([2, 3]).unwrap();
    let all = plain.clone().smoothing(0.2).class_weights(&by_class).row_weights(&by_row);
    for (what, options) in [("plain", plain), ("everything", all)] {
        check(what, &words, &[normal(&[2, 3, 4], 2)], |x| {
            let states = words.forward(&ids)?.add(&x[0])?.tanh()?;
            Ok(states.linear_cross_entropy(&words.weight.var(), None, &labels, &options)?.0)
        });
    }
}

#[test]
fn positions_patches_and_norms() {
    let x = normal(&[2, 5, 4], 2);
    let positions = PositionEmbedding::new(7, 4, &mut rng(1)).unwrap();
    check("positions", &positions, std::slice::from_ref(&x), |x| positions.forward(&x[0]));
    for class_token in [false, true] {
        let patches = spec::PatchEmbedding::new(2, 6).class_token(class_token);
        let patches = patches.layer([4, 6, 3], &mut rng(1)).unwrap();
        check("patches", &patches, &[normal(&[2, 4, 6, 3], 2)], |x| patches.forward(&x[0]));
    }
    let both = [x.clone(), normal(&[2, 5, 4], 3)];
    for epsilon in [1e-6, 0.1] {
        let norm = LayerNorm::new(4).unwrap().epsilon(epsilon).unwrap();
        check("layer norm", &norm, &both[..1], |x| norm.forward(&x[0]));
        check("layer norm of a sum", &norm, &both, |x| {
            let (sum, normal) = norm.forward_sum(&x[0], &x[1])?;
            Ok(sum.mul(&normal)?)
        });
        let norm = RmsNorm::new(4).unwrap().epsilon(epsilon).unwrap();
        check("RMS norm", &norm, &both[..1], |x| norm.forward(&x[0]));
        check("RMS norm of a sum", &norm, &both, |x| {
            let (sum, normal) = norm.forward_sum(&x[0], &x[1])?;
            Ok(sum.mul(&normal)?)
        });
    }
    let scores = Embedding::new(7, 4, &mut rng(1)).unwrap();
    check("scores by an embedding", &scores, &[x], |x| scores.scores(&x[0]));
}
