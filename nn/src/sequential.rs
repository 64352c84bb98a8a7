//! A model as a list of layers.
//!
//! Written as [descriptions](crate::spec), whose input sizes are inferred when it is built; what comes out is ordinary layers,
//! run one after the other. A mistake in the sizes is found by `build`, and named by the layer.

use std::collections::HashMap;
use std::ops::Range;

use cairn_autograd::{Var, scope};
use cairn_tensor::{Rng, Shape, Tensor};

use crate::graph::{Graph, Input};
use crate::layers::{Conv2d, Layer, Value};
use crate::spec::{LayerSpec, Plan};
use crate::{Context, Error, Model, Module, Result, SequenceMask, Visitor};

/// A stack of layers.
///
/// ```
/// use cairn_nn::{Activation::Relu, Model, Sequential, spec::Dense};
/// use cairn_tensor::{rng, Tensor};
/// let model = Sequential::new([784])
///     .add(Dense::new(64).activation(Relu))
///     .add(Dense::new(64).activation(Relu))
///     .add(Dense::new(10))
///     .build(&mut rng(0))?;
/// println!("{}", model.summary());
/// let scores = model.predict_batch(&Tensor::<f32>::zeros([32, 784])?)?;
/// assert_eq!(scores.shape(), [32, 10]);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug)]
pub struct Sequential {
    pub(crate) input: Shape,
    pub(crate) layers: Vec<Named>,
}

/// A layer of a model.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) spec: LayerSpec,
    pub(crate) layer: Box<dyn Layer>,
    /// The layer and the pooling after it as one, where both are faster at once: the same parameters.
    pooled: Option<Conv2d>,
    /// Without the batch axis.
    pub(crate) output: Shape,
}

impl Named {
    /// Whether the layer has parameters or buffers.
    pub(crate) fn has_values(&self) -> bool {
        let mut any = false;
        self.layer.visit(&mut Visitor::new(&mut |_, _| any = true));
        any
    }
}

/// The description of a [`Sequential`].
#[derive(Debug, Clone)]
pub struct SequentialBuilder {
    input: Shape,
    layers: Vec<(Option<String>, LayerSpec)>,
}

impl Sequential {
    /// Starts the description of a model for inputs of this shape, without the batch axis: `[784]`, `[28, 28, 1]`.
    #[allow(clippy::new_ret_no_self)] // One starts with `Sequential`, as in Keras, and ends with `build`.
    pub fn new(input: impl Into<Shape>) -> SequentialBuilder {
        SequentialBuilder { input: input.into(), layers: Vec::new() }
    }

    /// The output for a batch of inputs, floats or ids.
    ///
    /// # Errors
    /// [`Error::BadInput`] when the input is not `[batch, …]` with the shape the model was built for; an error in a
    /// layer names it.
    pub fn forward(&self, input: impl Into<Value>, cx: &mut Context) -> Result<Var> {
        let value = input.into();
        self.check_input(&value)?;
        self.forward_layers(0..self.layers.len(), value, cx)
    }

    /// An error unless this is a batch of what the model takes.
    pub(crate) fn check_input(&self, value: &Value) -> Result<()> {
        if value.shape().split_first().map(|(_, sample)| sample) == Some(&*self.input) {
            return Ok(());
        }
        let hint = self.hint(value.shape());
        let why = format!("the model takes batches of {}{hint}", self.input);
        Err(Error::BadInput { input: value.shape().into(), why })
    }

    /// What is wrong with an input, where it is one of the usual things.
    fn hint(&self, given: &[usize]) -> &'static str {
        if *given == *self.input {
            return "; this is one without the batch axis: `unsqueeze(0)` adds it";
        }
        let Some((_, sample)) = given.split_first() else { return "" };
        match (sample, &self.input[..]) {
            (&[channels, height, width], wanted) if wanted == [height, width, channels] => {
                "; these have their channels first: `permute([0, 2, 3, 1])` puts them last"
            }
            (sample, &[wanted]) if sample.len() > 1 && sample.iter().product::<usize>() == wanted => {
                "; `flatten(1)`, or a `Flatten` in the model, makes one axis of these"
            }
            (sample, wanted) if sample.iter().chain(&[1]).eq(wanted) => "; `unsqueeze(-1)` adds the channel",
            _ => "",
        }
    }

    /// Runs some of the layers. The mask that the context came with is that of the input, and is what it leaves with.
    pub(crate) fn forward_layers(&self, range: Range<usize>, value: Value, cx: &mut Context) -> Result<Var> {
        Ok(self.forward_masked(range, value, cx)?.0)
    }

    /// As [`forward_layers`](Self::forward_layers), with the mask that the layers after these are given.
    pub(crate) fn forward_masked(
        &self,
        range: Range<usize>,
        value: Value,
        cx: &mut Context,
    ) -> Result<(Var, Option<SequenceMask>)> {
        let before = cx.mask().cloned();
        let output = chain(&self.layers[range], value, cx);
        let after = cx.mask().cloned();
        cx.set_mask(before);
        Ok((output?, after))
    }

    /// What the model computes at inference, as a graph with the batch left open: for freezing, export and the counting of FLOPs.
    ///
    /// # Errors
    /// Those of a forward pass, and of [`Graph::trace`].
    pub fn graph(&self) -> Result<Graph> {
        let input = match self.layers.first() {
            Some(Named { spec: LayerSpec::Embedding(_), layer, .. }) => {
                let vocabulary = layer.state().get("weight").and_then(|table| table.shape().first().copied());
                Input::ids(self.input.clone(), vocabulary.unwrap_or(0) as u32)
            }
            _ => Input::floats(self.input.clone()),
        };
        Graph::trace(&[input], |inputs| self.forward(inputs[0].clone(), &mut Context::eval()))
    }

    /// The shape of one input.
    pub fn input_shape(&self) -> &Shape {
        &self.input
    }

    /// The shape of the output for one input.
    pub fn output_shape(&self) -> &Shape {
        self.layers.last().map_or(&self.input, |named| &named.output)
    }

    /// The names of the layers, in order.
    pub fn layer_names(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().map(|named| named.name.as_str())
    }

    /// A layer by name, say to look at its parameters, or to freeze it.
    pub fn layer(&self, name: &str) -> Option<&dyn Layer> {
        self.layers.iter().find(|named| named.name == name).map(|named| &*named.layer)
    }
}

/// One layer after the other, as far as the mask goes with it.
fn chain(layers: &[Named], mut value: Value, cx: &mut Context) -> Result<Var> {
    let mut layers = layers.iter().peekable();
    while let Some(named) = layers.next() {
        let at = |error: Error| error.at(&named.name);
        let output = match (&named.pooled, value, layers.peek()) {
            (Some(pooled), Value::Floats(x), Some(_)) => {
                layers.next();
                scope(&named.name, || pooled.forward(&x))
            }
            (_, value, _) => scope(&named.name, || named.layer.forward(value, cx)),
        };
        value = Value::Floats(output.map_err(at)?);
        if !named.spec.keeps_steps() {
            cx.set_mask(None);
        }
    }
    value.floats()
}

impl SequentialBuilder {
    /// Adds a layer, named after its kind: `dense`, `dense_1`, …
    #[must_use]
    #[allow(clippy::should_implement_trait)] // Keras's word for it; nobody adds models with `+`.
    pub fn add(mut self, layer: impl Into<LayerSpec>) -> Self {
        self.layers.push((None, layer.into()));
        self
    }

    /// Adds a layer under a name of its own.
    #[must_use]
    pub fn add_named(mut self, name: impl Into<String>, layer: impl Into<LayerSpec>) -> Self {
        self.layers.push((Some(name.into()), layer.into()));
        self
    }

    /// Infers the sizes and draws the initial parameters, in the order of the layers.
    ///
    /// # Errors
    /// What is wrong with a layer, under its name; two layers of one name; an empty input.
    pub fn build(self, rng: &mut Rng) -> Result<Sequential> {
        let plans = self.plan()?;
        let mut input = self.input.clone();
        let mut layers = Vec::with_capacity(plans.len());
        let mut specs = self.layers.into_iter().map(|(_, spec)| spec).peekable();
        for (name, Plan { output, .. }) in plans {
            let Some(spec) = specs.next() else { break };
            let (layer, pooled) =
                build_layer(&spec, specs.peek(), &input, rng).map_err(|error| error.at(&name))?;
            input = output.clone();
            layers.push(Named { name, spec, layer, pooled, output });
        }
        Ok(Sequential { input: self.input, layers })
    }

    /// Names and sizes of all layers, without taking memory for them.
    pub(crate) fn plan(&self) -> Result<Vec<(String, Plan)>> {
        if self.input.contains(&0) {
            return Err(Error::BadInput {
                input: self.input.clone(),
                why: "every axis must be at least 1".into(),
            });
        }
        let mut input = self.input.clone();
        let mut counts: HashMap<&'static str, usize> = HashMap::new();
        let mut plans: Vec<(String, Plan)> = Vec::with_capacity(self.layers.len());
        for (name, spec) in &self.layers {
            let count = counts.entry(spec.kind()).or_default();
            let name = name.clone().unwrap_or_else(|| match *count {
                0 => spec.kind().to_owned(),
                n => format!("{}_{n}", spec.kind()),
            });
            *count += 1;
            if name.is_empty() || name.contains('.') || plans.iter().any(|(other, _)| *other == name) {
                return Err(Error::BadName { name });
            }
            let plan = spec.plan(&input).map_err(|error| error.at(&name))?;
            input = plan.output.clone();
            plans.push((name, plan));
        }
        Ok(plans)
    }
}

/// The layer, and the convolution with the pooling after it where that is next: computed at once there is no pass over the
/// whole convolved image.
fn build_layer(
    spec: &LayerSpec,
    next: Option<&LayerSpec>,
    input: &Shape,
    rng: &mut Rng,
) -> Result<(Box<dyn Layer>, Option<Conv2d>)> {
    match (spec, next, input.last()) {
        (LayerSpec::Conv2d(conv), Some(LayerSpec::MaxPool2d(pool)), Some(&channels)) => {
            let layer = conv.layer(channels, rng)?;
            let pooled = layer.clone().max_pool(*pool);
            Ok((Box::new(layer), Some(pooled)))
        }
        _ => Ok((spec.build(input, rng)?, None)),
    }
}

impl Module for Sequential {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        for named in &self.layers {
            visitor.field(&named.name, &named.layer);
        }
    }
}

impl Model<Tensor> for Sequential {
    fn forward(&self, input: &Tensor, cx: &mut Context) -> Result<Var> {
        Sequential::forward(self, input, cx)
    }
}

impl Model<Tensor<u32>> for Sequential {
    fn forward(&self, input: &Tensor<u32>, cx: &mut Context) -> Result<Var> {
        Sequential::forward(self, input, cx)
    }
}
