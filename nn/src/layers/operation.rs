//! What a built layer computes in use, in plain terms: the one table that the frozen form, export, and the counting of
//! operations read.
//!
//! A [`Spec`] has many settings; what is left of them once the input's size is known is few operations on tensors. A layer
//! becomes one or two of them (a dense layer with an activation is two), dropout none; layers of sequences are those of
//! images one pixel high. To give a new kind of layer all that rests on this table, name its operations in
//! [`operations`], or, where none of those there fits, add one to [`Operation`]: the compiler then asks for its meaning
//! wherever it is needed.

use std::collections::BTreeMap;

use cairn_autograd::Var;
use cairn_tensor::{
    Pool, Recurrence, RecurrentOperands, RecurrentOptions, Resize, Returns, Shape, Tensor, Window,
};

use super::conv::spec::Settings;
use super::conv::{Options, transposed_window};
use super::size::{image, sequence};
use super::spec::{LayerSpec as Spec, Recurrent};
use super::{AvgPool2d, MaxPool2d, SequenceMask};
use crate::sequential::Named;
use crate::{Activation, Error, Layer, Part, Result, Sequential, Visitor};

/// The parameters of a recurrent layer in one direction.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// `[inputs, gates · units]`
    pub(crate) weight: Tensor,
    /// `[units, gates · units]`
    pub(crate) recurrent_weight: Tensor,
    /// `[biases · units]`
    pub(crate) bias: Tensor,
    /// From the last step to the first.
    pub(crate) reverse: bool,
}

/// An operation on a batch. Images are `[batch, height, width, channels]`, the last axis is that of features.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    /// `x weight + bias` for `[…, inputs]`.
    Dense { weight: Tensor, bias: Option<Tensor> },
    /// Element by element, or softmax along the last axis.
    Activation(Activation),
    /// Each item in another shape.
    Reshape(Shape),
    /// Filters `[height, width, channels / groups, filters]`.
    Conv { weight: Tensor, bias: Option<Tensor>, window: Window, groups: usize },
    /// Filters `[height, width, filters / groups, channels]`; `extra` pixels below and right.
    ConvTranspose { weight: Tensor, bias: Option<Tensor>, window: Window, extra: [usize; 2], groups: usize },
    /// The maximum over windows.
    MaxPool { size: [usize; 2], window: Window },
    /// The mean over windows.
    AvgPool { size: [usize; 2], window: Window, count_padding: bool },
    /// The mean over so many windows of about the same size.
    AdaptiveAvgPool([usize; 2]),
    /// The mean over all axes between batch and channels.
    GlobalMean,
    /// The maximum over all axes between batch and channels.
    GlobalMax,
    /// `(x - mean) / sqrt(variance + epsilon) scale + shift` by channel.
    Normalize { mean: Tensor, variance: Tensor, scale: Tensor, shift: Tensor, epsilon: f32 },
    /// Groups of channels of an item brought to mean 0 and variance 1, then `scale` and `shift` by channel.
    GroupNorm { groups: usize, scale: Tensor, shift: Tensor, epsilon: f32 },
    /// Zeros above and below, left and right.
    Pad([[usize; 2]; 2]),
    /// Images enlarged by whole factors.
    Enlarge { factor: [usize; 2], how: Resize },
    /// A row of the table `[vocabulary, dim]` for each id. What it takes is ids, so it is the first of a model. The id whose
    /// steps later operations pass over, if there is one.
    Lookup { table: Tensor, mask: Option<u32> },
    /// One layer over all steps of `[time, inputs]`, in one direction or several side by side: every output, or the last.
    Recurrent { kind: Recurrence, runs: Vec<Run>, returns: Returns },
}

/// One operation of a model. Shapes are without the batch axis.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// The name of the layer that it is of.
    pub(crate) layer: String,
    pub(crate) operation: Operation,
    pub(crate) input: Shape,
    pub(crate) output: Shape,
}

impl Step {
    /// Floating-point operations for one item: two for each multiply-add of a dense layer or convolution, taps on padding
    /// included, as PyTorch's `FlopCounterMode` counts; nothing for what is not a product.
    pub(crate) fn flops(&self) -> u64 {
        let products = |positions: usize, each: &[usize]| {
            each.iter().fold(2 * positions as u64, |all, &n| all.saturating_mul(n as u64))
        };
        match &self.operation {
            Operation::Dense { weight, .. } => {
                let inputs = weight.shape()[0];
                products(self.output.count(), &[inputs])
            }
            Operation::Conv { weight, .. } => products(self.output.count(), &weight.shape()[..3]),
            // Each pixel that goes in is spread over a window of filters.
            Operation::ConvTranspose { weight, .. } => products(self.input.count(), &weight.shape()[..3]),
            Operation::Recurrent { runs, .. } => {
                let weights = runs.iter().map(|run| run.weight.len() + run.recurrent_weight.len()).sum();
                products(self.input.first().copied().unwrap_or(0), &[weights])
            }
            Operation::Activation(_)
            | Operation::Reshape(_)
            | Operation::MaxPool { .. }
            | Operation::AvgPool { .. }
            | Operation::AdaptiveAvgPool(_)
            | Operation::GlobalMean
            | Operation::GlobalMax
            | Operation::Normalize { .. }
            | Operation::GroupNorm { .. }
            | Operation::Pad(_)
            | Operation::Enlarge { .. }
            | Operation::Lookup { .. } => 0,
        }
    }
}

impl Sequential {
    /// What the model computes, operation by operation.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for an embedding that is not the first layer.
    pub(crate) fn steps(&self) -> Result<Vec<Step>> {
        let (mut steps, mut input) = (Vec::new(), self.input.clone());
        for (i, named) in self.layers.iter().enumerate() {
            if i > 0 && matches!(named.spec, Spec::Embedding(_)) {
                let what = "an embedding of what another layer computes".into();
                return Err(Error::Unsupported { what }.at(&named.name));
            }
            steps.extend(layer_steps(named, &input)?);
            input = named.output.clone();
        }
        Ok(steps)
    }
}

/// What one layer computes, on an input of this shape.
pub(crate) fn layer_steps(named: &Named, input: &Shape) -> Result<Vec<Step>> {
    let all = operations(&named.spec, input, &named.output, &mut Values::of(&*named.layer))
        .map_err(|error| error.at(&named.name))?;
    let mut input = input.clone();
    let step = |(operation, output): (Operation, Shape)| {
        let input = std::mem::replace(&mut input, output.clone());
        Step { layer: named.name.clone(), operation, input, output }
    };
    Ok(all.into_iter().map(step).collect())
}

/// A layer's values by name.
struct Values(BTreeMap<String, Tensor>);

impl Values {
    fn of(layer: &dyn Layer) -> Self {
        let mut values = BTreeMap::new();
        layer.visit(&mut Visitor::new(&mut |name, part| {
            let value = match part {
                Part::Parameter(parameter) => parameter.value(),
                Part::Buffer(buffer) => match buffer.value() {
                    Ok(value) => value,
                    // Without memory for it, it is missing below.
                    Err(_) => return,
                },
            };
            values.insert(name.to_owned(), value);
        }));
        Values(values)
    }

    fn optional(&mut self, name: &str) -> Option<Tensor> {
        self.0.remove(name)
    }

    fn take(&mut self, name: &str) -> Result<Tensor> {
        self.optional(name).ok_or_else(|| Error::StateMismatch(format!("{name} is missing")))
    }
}

/// The operations of a layer with their outputs' shapes.
fn operations(
    spec: &Spec,
    input: &Shape,
    output: &Shape,
    values: &mut Values,
) -> Result<Vec<(Operation, Shape)>> {
    let one = |operation| Ok(vec![(operation, output.clone())]);
    match spec {
        Spec::Dense(layer) => {
            let dense = Operation::Dense { weight: values.take("weight")?, bias: values.optional("bias") };
            Ok(then(vec![(dense, output.clone())], layer.activation))
        }
        Spec::Activation(activation) => one(Operation::Activation(*activation)),
        Spec::Dropout(_) | Spec::Dropout2d(_) => Ok(Vec::new()),
        Spec::Flatten(_) => one(Operation::Reshape(output.clone())),
        Spec::Conv2d(layer) => {
            let [height, width, _] = image(input)?;
            let conv = conv(&layer.settings, [height, width], values)?;
            Ok(then(vec![(conv, output.clone())], layer.settings.options.activation))
        }
        Spec::Conv1d(layer) => {
            let [steps, _] = sequence(input)?;
            let mut conv = conv(&layer.settings, [1, steps], values)?;
            if let Operation::Conv { weight, .. } = &mut conv {
                *weight = weight.unsqueeze(0)?;
            }
            Ok(then(one_pixel_high(conv, input, output), layer.settings.options.activation))
        }
        Spec::ConvTranspose2d(layer) => {
            let [height, width, _] = image(input)?;
            let Options { window, groups, activation } = &layer.settings.options;
            let (window, extra) = transposed_window(window, layer.extra, [height, width]);
            let (weight, bias) = (values.take("weight")?, values.optional("bias"));
            let conv = Operation::ConvTranspose { weight, bias, window, extra, groups: *groups };
            Ok(then(vec![(conv, output.clone())], *activation))
        }
        Spec::MaxPool2d(layer) => one(max_pool(layer, image(input)?)),
        Spec::AvgPool2d(layer) => one(avg_pool(layer, image(input)?)),
        Spec::MaxPool1d(layer) => {
            let [steps, channels] = sequence(input)?;
            Ok(one_pixel_high(max_pool(&layer.0, [1, steps, channels]), input, output))
        }
        Spec::AvgPool1d(layer) => {
            let [steps, channels] = sequence(input)?;
            Ok(one_pixel_high(avg_pool(&layer.0, [1, steps, channels]), input, output))
        }
        Spec::AdaptiveAvgPool2d(layer) => one(Operation::AdaptiveAvgPool(layer.0.0)),
        Spec::GlobalAvgPool(_) => one(Operation::GlobalMean),
        Spec::GlobalMaxPool(_) => one(Operation::GlobalMax),
        Spec::BatchNorm(layer) => one(Operation::Normalize {
            mean: values.take("running_mean")?,
            variance: values.take("running_var")?,
            scale: values.take("weight")?,
            shift: values.take("bias")?,
            epsilon: layer.epsilon,
        }),
        Spec::GroupNorm(layer) => one(Operation::GroupNorm {
            groups: layer.groups,
            scale: values.take("weight")?,
            shift: values.take("bias")?,
            epsilon: layer.epsilon,
        }),
        Spec::ZeroPad2d(layer) => one(Operation::Pad(layer.padding)),
        Spec::Upsample(layer) => one(Operation::Enlarge { factor: layer.factor.0, how: layer.how }),
        Spec::Embedding(layer) => {
            one(Operation::Lookup { table: values.take("weight")?, mask: layer.mask() })
        }
        Spec::Recurrent(layer) => recurrent(layer, input, output, values),
    }
}

/// With the activation after it, if there is one.
fn then(mut operations: Vec<(Operation, Shape)>, activation: Option<Activation>) -> Vec<(Operation, Shape)> {
    if let (Some(activation), Some((_, output))) = (activation, operations.last()) {
        operations.push((Operation::Activation(activation), output.clone()));
    }
    operations
}

/// An operation on images for sequences `[steps, channels]`.
fn one_pixel_high(operation: Operation, input: &Shape, output: &Shape) -> Vec<(Operation, Shape)> {
    let high = |shape: &Shape| -> Shape { [1].iter().chain(shape.iter()).copied().collect() };
    vec![
        (Operation::Reshape(high(input)), high(input)),
        (operation, high(output)),
        (Operation::Reshape(output.clone()), output.clone()),
    ]
}

fn conv(settings: &Settings, image: [usize; 2], values: &mut Values) -> Result<Operation> {
    Ok(Operation::Conv {
        weight: values.take("weight")?,
        bias: values.optional("bias"),
        window: settings.options.window.window(image),
        groups: settings.options.groups,
    })
}

/// An operation for each layer of a stack.
fn recurrent(
    layer: &Recurrent,
    input: &Shape,
    output: &Shape,
    values: &mut Values,
) -> Result<Vec<(Operation, Shape)>> {
    let (steps, outputs) = (input.first().copied(), output.last().copied());
    let every: Shape = [steps.unwrap_or(0), outputs.unwrap_or(0)].into();
    let mut operations = Vec::with_capacity(layer.layers);
    for level in 0..layer.layers {
        let (returns, output) = match level + 1 == layer.layers && !layer.return_sequences {
            true => (Returns::Last, output.clone()),
            false => (Returns::Steps, every.clone()),
        };
        let runs = layer.directions_of(level).into_iter().map(|(path, reverse)| {
            Ok(Run {
                weight: values.take(&format!("{path}weight"))?,
                recurrent_weight: values.take(&format!("{path}recurrent_weight"))?,
                bias: values.take(&format!("{path}bias"))?,
                reverse,
            })
        });
        let runs = runs.collect::<Result<_>>()?;
        operations.push((Operation::Recurrent { kind: layer.kind, runs, returns }, output));
    }
    Ok(operations)
}

fn max_pool(layer: &MaxPool2d, [height, width, _]: [usize; 3]) -> Operation {
    Operation::MaxPool { size: layer.window.size.0, window: layer.window.window([height, width]) }
}

fn avg_pool(layer: &AvgPool2d, [height, width, _]: [usize; 3]) -> Operation {
    let (size, window) = (layer.window.size.0, layer.window.window([height, width]));
    Operation::AvgPool { size, window, count_padding: layer.count_padding }
}

impl Operation {
    /// Whether each step of a sequence is worked on by itself, or the steps stay what they are.
    pub(crate) fn keeps_steps(&self) -> bool {
        let every_step = |returns: &Returns| *returns == Returns::Steps;
        match self {
            Operation::Dense { .. } | Operation::Activation(_) | Operation::Normalize { .. } => true,
            Operation::Recurrent { returns, .. } => every_step(returns),
            _ => false,
        }
    }

    /// The result for a batch, of sequences with these spans if any are known.
    pub(crate) fn apply(&self, x: &Tensor, spans: Option<&SequenceMask>) -> Result<Tensor> {
        Ok(match self {
            Operation::Dense { weight, bias } => x.linear(weight, bias.as_ref(), false)?,
            Operation::Activation(activation) => activation.forward(&constant(x))?.value().clone(),
            Operation::Reshape(shape) => {
                let batch = x.shape().first().copied().unwrap_or(1);
                x.reshape([batch].iter().chain(shape.iter()).copied().collect::<Shape>())?
            }
            Operation::Conv { weight, bias, window, groups } => {
                x.conv2d(weight, bias.as_ref(), false, window, *groups)?
            }
            Operation::ConvTranspose { weight, bias, window, extra, groups } => {
                x.conv_transpose2d(weight, bias.as_ref(), window, *extra, *groups)?
            }
            Operation::MaxPool { size, window } => x.max_pool2d(&Pool::sliding(*size, *window))?,
            Operation::AvgPool { size, window, count_padding } => {
                let pool = Pool::sliding(*size, *window);
                x.avg_pool2d(&if *count_padding { pool.count_padding() } else { pool })?
            }
            Operation::AdaptiveAvgPool(output) => x.avg_pool2d(&Pool::adaptive(*output))?,
            Operation::GlobalMean => match (spans, x.shape()) {
                (Some(spans), &[_, time, _]) => x.mul(&spans.weights(time)?)?.sum(1)?,
                _ => places(x)?.mean(1)?,
            },
            Operation::GlobalMax => places(x)?.max(1)?,
            Operation::Normalize { mean, variance, scale, shift, epsilon } => {
                x.normalize(mean, variance, scale, shift, (*epsilon).into())?
            }
            Operation::GroupNorm { groups, scale, shift, epsilon } => {
                let (scale, shift) = (constant(scale), constant(shift));
                constant(x).group_norm(*groups, &scale, &shift, (*epsilon).into())?.value().clone()
            }
            Operation::Pad([[above, below], [left, right]]) => {
                x.pad(&[(0, 0), (*above, *below), (*left, *right), (0, 0)], 0.0)?
            }
            Operation::Enlarge { factor, how } => {
                let &[_, height, width, _] = x.shape() else {
                    let why = "images [batch, height, width, channels] are needed".into();
                    return Err(Error::BadInput { input: x.dims().clone(), why });
                };
                x.resize2d([height * factor[0], width * factor[1]], *how)?
            }
            Operation::Lookup { .. } => {
                let why = "an embedding looks up ids (`Tensor<u32>`), these are numbers".into();
                return Err(Error::BadInput { input: x.dims().clone(), why });
            }
            Operation::Recurrent { kind, runs, returns } => {
                let outputs = runs.iter().map(|run| run.apply(*kind, *returns, x, spans));
                match outputs.collect::<Result<Vec<_>>>()? {
                    outputs if outputs.len() == 1 => outputs[0].clone(),
                    outputs => Tensor::cat(&outputs.iter().collect::<Vec<_>>(), -1)?,
                }
            }
        })
    }
}

impl Run {
    fn apply(
        &self,
        kind: Recurrence,
        returns: Returns,
        x: &Tensor,
        spans: Option<&SequenceMask>,
    ) -> Result<Tensor> {
        let operands = RecurrentOperands {
            weight: &self.weight,
            recurrent_weight: &self.recurrent_weight,
            bias: Some(&self.bias),
            hidden: None,
            cell: None,
        };
        let (lengths, starts) = (spans.map(|s| s.ends.clone()), spans.and_then(|s| s.starts.clone()));
        let options =
            RecurrentOptions { reverse: self.reverse, returns, lengths, starts, ..Default::default() };
        Ok(x.recurrent(kind, operands, &options)?.0)
    }
}

fn constant(x: &Tensor) -> Var {
    Var::constant(x.clone())
}

/// `[batch, places, channels]`
fn places(x: &Tensor) -> Result<Tensor> {
    let (batch, channels) = (x.shape().first().copied(), x.shape().last().copied());
    let places = x.shape().iter().skip(1).rev().skip(1).product();
    Ok(x.reshape([batch.unwrap_or(1), places, channels.unwrap_or(1)])?)
}
