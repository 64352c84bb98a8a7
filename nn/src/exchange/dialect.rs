//! A `Sequential`'s values as PyTorch and Keras name and lay them out: by layer, since neither names nor shapes alone say
//! which axes to turn.

use cairn_tensor::Tensor;

use super::{LoadReport, Strictness, Weights};
use crate::layers::Spec;
use crate::layouts::torch;
use crate::sequential::Named;
use crate::{Error, Layer, Part, Result, Sequential, Visitor};

/// Whose names and order of axes.
///
/// | | Cairn | PyTorch | Keras |
/// |---|---|---|---|
/// | name | `layer.value` | `layer.value` | `layer/value` |
/// | dense `weight` | `[inputs, outputs]` | `[outputs, inputs]` | `kernel`, as Cairn |
/// | convolution `weight` | `[height, width, channels, filters]` | `[filters, channels, height, width]` | `kernel`, as Cairn |
/// | transposed convolution `weight` | `[height, width, filters, channels]` | `[channels, filters, height, width]` | `kernel`, as Cairn |
/// | normalisation | `weight` `bias` `running_mean` `running_var` | as Cairn | `gamma` `beta` `moving_mean` `moving_variance` |
/// | after `Flatten` of an image | features by row, column, channel | by channel, row, column | as Cairn |
///
/// The layer is the model's name for it; Keras may put the models' names around it in front (`sequential/dense/kernel`).
/// PyTorch's own numbers become names by
/// [`name_numbered`](super::Weights::name_numbered), any others by [`rename`](super::Weights::rename). PyTorch's
/// `num_batches_tracked` is a counter, which reading leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dialect {
    /// Cairn's own.
    Cairn,
    /// `state_dict()` of a `torch.nn.Module` whose parts are called like the layers.
    Torch,
    /// `path` and value of each of a Keras model's `weights`, where layers are called the same: `dense/kernel`.
    Keras,
}

/// How a value is laid out elsewhere.
enum Turn {
    Same,
    Dense,
    /// Inputs in the order of an image's axes.
    DenseAfter([usize; 3]),
    Conv2d,
    Conv1d,
    /// One value for each number of an image.
    Features([usize; 3]),
}

impl Turn {
    fn inward(&self, x: &Tensor) -> Result<Tensor> {
        match *self {
            Turn::Same => Ok(x.clone()),
            Turn::Dense => torch::dense(x),
            Turn::DenseAfter(image) => torch::dense_after_flatten(x, image),
            Turn::Conv2d => torch::conv2d(x),
            Turn::Conv1d => torch::conv1d(x),
            Turn::Features([height, width, channels]) => {
                let apart = x.reshape([channels, height, width])?.permute([1, 2, 0])?.contiguous()?;
                Ok(apart.reshape([x.len()])?)
            }
        }
    }

    fn outward(&self, x: &Tensor) -> Result<Tensor> {
        match *self {
            Turn::Same => Ok(x.clone()),
            Turn::Dense => torch::dense(x),
            Turn::DenseAfter(image) => torch::to_dense_after_flatten(x, image),
            Turn::Conv2d => torch::to_conv2d(x),
            Turn::Conv1d => torch::to_conv1d(x),
            Turn::Features(image) => {
                Ok(x.reshape(image)?.permute([2, 0, 1])?.contiguous()?.reshape([x.len()])?)
            }
        }
    }
}

/// One value of a model: its name here and there, and how it is turned.
struct Rule {
    own: String,
    foreign: String,
    turn: Turn,
}

impl Sequential {
    /// The model's values in another library's names and layout; the table is at [`Dialect`].
    ///
    /// ```
    /// use cairn_nn::exchange::Dialect;
    /// use cairn_nn::{BatchNorm, Conv2d, Dense, Flatten, Sequential};
    /// use cairn_tensor::rng;
    /// let model = Sequential::new([8, 8, 3])
    ///     .add(Conv2d::new(16, 3))
    ///     .add(BatchNorm::new())
    ///     .add(Flatten)
    ///     .add(Dense::new(10))
    ///     .build(&mut rng(0))?;
    /// let torch = model.weights(Dialect::Torch)?.tensors;
    /// assert_eq!(torch["conv2d.weight"].shape(), [16, 3, 3, 3]);
    /// assert_eq!(torch["dense.weight"].shape(), [10, 6 * 6 * 16]);
    /// let keras = model.weights(Dialect::Keras)?.tensors;
    /// assert_eq!(keras["conv2d/kernel"].shape(), [3, 3, 3, 16]);
    /// assert!(keras.contains_key("batch_norm/moving_variance"));
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a layer that the other library lays out in a way there is no rule for.
    pub fn weights(&self, dialect: Dialect) -> Result<Weights> {
        let mut weights = Weights::of(self);
        let own = std::mem::take(&mut weights.tensors);
        for rule in self.rules(dialect)? {
            if let Some(tensor) = own.get(&rule.own) {
                weights.tensors.insert(rule.foreign, rule.turn.outward(tensor)?);
            }
        }
        Ok(weights)
    }

    /// Loads values in another library's names and layout. The report speaks of Cairn's names, and of shapes in Cairn's
    /// layout, but for what is unexpected.
    ///
    /// # Errors
    /// As [`weights`](Self::weights), and [`Error::StateMismatch`] when `strictness` is strict and anything does not fit;
    /// nothing has changed then.
    pub fn load_weights(
        &mut self,
        weights: &Weights,
        dialect: Dialect,
        strictness: Strictness,
    ) -> Result<LoadReport> {
        let mut given = weights.clone();
        let mut turned = Vec::new();
        for rule in self.rules(dialect)? {
            let name = given_name(&given, dialect, &rule.foreign);
            if let Some(tensor) = name.and_then(|name| given.tensors.remove(&name)) {
                // What cannot be turned has another shape, and is reported with it.
                turned.push((rule.own, rule.turn.inward(&tensor).unwrap_or(tensor)));
            }
        }
        given.tensors.extend(turned);
        given.load_into(self, strictness)
    }

    fn rules(&self, dialect: Dialect) -> Result<Vec<Rule>> {
        let mut rules = Vec::new();
        let mut flattened = None;
        let mut input = &self.input;
        for named in &self.layers {
            if matches!(named.spec, Spec::Flatten(_)) {
                flattened = match **input {
                    [height, width, channels] => Some([height, width, channels]),
                    [steps, channels] => Some([1, steps, channels]),
                    _ => flattened,
                };
            }
            layer_rules(named, dialect, flattened, &mut rules).map_err(|error| error.at(&named.name))?;
            if matches!(named.spec, Spec::Dense(_)) {
                flattened = None;
            }
            input = &named.output;
        }
        Ok(rules)
    }
}

/// What a file calls a value. Keras puts the names of the models around a layer in front.
fn given_name(given: &Weights, dialect: Dialect, foreign: &str) -> Option<String> {
    if dialect != Dialect::Keras || given.tensors.contains_key(foreign) {
        return Some(foreign.to_owned());
    }
    let end = format!("/{foreign}");
    let mut names = given.tensors.keys().filter(|name| name.ends_with(&end));
    names.next().filter(|_| names.next().is_none()).cloned()
}

fn layer_rules(
    named: &Named,
    dialect: Dialect,
    flattened: Option<[usize; 3]>,
    rules: &mut Vec<Rule>,
) -> Result<()> {
    for value in values(&*named.layer) {
        let layer = &named.name;
        let own = format!("{layer}.{value}");
        let (foreign, turn) = match dialect {
            Dialect::Cairn => (own.clone(), Turn::Same),
            Dialect::Torch => (own.clone(), torch_turn(&named.spec, &value, flattened)?),
            Dialect::Keras => (format!("{layer}/{}", keras_name(&named.spec, &value)?), Turn::Same),
        };
        rules.push(Rule { own, foreign, turn });
    }
    Ok(())
}

/// Names of a layer's values, without the layer's.
fn values(layer: &dyn Layer) -> Vec<String> {
    let mut names = Vec::new();
    layer.visit(&mut Visitor::new(&mut |name, _: Part<'_>| names.push(name.to_owned())));
    names
}

fn torch_turn(spec: &Spec, value: &str, flattened: Option<[usize; 3]>) -> Result<Turn> {
    Ok(match (spec, value, flattened) {
        (Spec::Dense(_), "weight", Some(image)) => Turn::DenseAfter(image),
        (Spec::Dense(_), "weight", None) => Turn::Dense,
        (Spec::Conv2d(_) | Spec::ConvTranspose2d(_), "weight", _) => Turn::Conv2d,
        (Spec::Conv1d(_), "weight", _) => Turn::Conv1d,
        (Spec::BatchNorm(_), _, Some(image)) => Turn::Features(image),
        // Its groups would be of other features.
        (Spec::GroupNorm(_), _, Some([_, _, channels])) if channels > 1 => {
            return Err(no_rule(spec, "PyTorch, behind a flattened image"));
        }
        (Spec::Dense(_) | Spec::Conv2d(_) | Spec::ConvTranspose2d(_) | Spec::Conv1d(_), "bias", _)
        | (Spec::BatchNorm(_) | Spec::GroupNorm(_), ..) => Turn::Same,
        _ => return Err(no_rule(spec, "PyTorch")),
    })
}

fn keras_name<'a>(spec: &Spec, value: &'a str) -> Result<&'a str> {
    Ok(match (spec, value) {
        (Spec::Dense(_) | Spec::Conv2d(_) | Spec::Conv1d(_) | Spec::ConvTranspose2d(_), "weight") => "kernel",
        (Spec::Dense(_) | Spec::Conv2d(_) | Spec::Conv1d(_) | Spec::ConvTranspose2d(_), "bias") => "bias",
        (Spec::BatchNorm(_) | Spec::GroupNorm(_), "weight") => "gamma",
        (Spec::BatchNorm(_) | Spec::GroupNorm(_), "bias") => "beta",
        (Spec::BatchNorm(_), "running_mean") => "moving_mean",
        (Spec::BatchNorm(_), "running_var") => "moving_variance",
        _ => return Err(no_rule(spec, "Keras")),
    })
}

fn no_rule(spec: &Spec, library: &str) -> Error {
    Error::Unsupported { what: format!("values of a {} layer in the layout of {library}", spec.kind()) }
}
