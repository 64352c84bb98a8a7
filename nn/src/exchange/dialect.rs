//! A `Sequential`'s values as PyTorch and Keras name and lay them out: by layer, since neither names nor shapes alone say
//! which axes to turn.

use std::collections::BTreeMap;

use cairn_tensor::{Recurrence, Shape, Tensor};

use super::turn::Turn;
use super::{LoadReport, Misshapen, Strictness, Weights};
use crate::layers::Spec;
use crate::sequential::Named;
use crate::{Error, Layer, Part, Recurrent, Result, Sequential, Visitor};

/// Whose names and order of axes.
///
/// | | Cairn | PyTorch | Keras |
/// |---|---|---|---|
/// | name | `layer.value` | `layer.value` | `layer/value` |
/// | dense `weight` | `[inputs, outputs]` | `[outputs, inputs]` | `kernel`, as Cairn |
/// | convolution `weight` | `[height, width, channels, filters]` | `[filters, channels, height, width]` | `kernel`, as Cairn |
/// | transposed convolution `weight` | `[height, width, filters, channels]` | `[channels, filters, height, width]` | `kernel`, as Cairn |
/// | normalisation | `weight` `bias` `running_mean` `running_var` | as Cairn | `gamma` `beta` `moving_mean` `moving_variance` |
/// | embedding `weight` | `[vocabulary, dim]` | as Cairn | `embeddings`, as Cairn |
/// | recurrent `weight` | `[inputs, gates · units]` | `weight_ih_l0`, transposed | `lstm_cell/kernel` |
/// | recurrent `recurrent_weight` | `[units, gates · units]` | `weight_hh_l0`, transposed | `lstm_cell/recurrent_kernel` |
/// | recurrent `bias` | `[biases · units]` | `bias_ih_l0` and `bias_hh_l0` | `lstm_cell/bias` |
/// | in a stack, or both directions | `1.forward.…`, `1.backward.…` | `…_l1`, `…_l1_reverse` | `1/forward_lstm/…`, `1/backward_lstm/…` |
/// | after `Flatten` of an image | features by row, column, channel | by channel, row, column | as Cairn |
///
/// The layer is the model's name for it; Keras may put the models' names around it in front (`sequential/dense/kernel`).
/// PyTorch's own numbers become names by
/// [`name_numbered`](super::Weights::name_numbered), any others by [`rename`](super::Weights::rename). PyTorch's
/// `num_batches_tracked` is a counter, which reading leaves out.
///
/// The order of gates, and what becomes of two biases, is told in [`layouts::recurrent`](crate::layouts::recurrent). Keras's
/// cells are called `lstm_cell`, `gru_cell` and `simple_rnn_cell`. It has no stacks: a stack is a `keras.Sequential` of the
/// layer's name, whose layers are called `0`, `1` and so on. One in both directions is a `Bidirectional` of the layer's name
/// (or number) around a layer called `lstm`, `gru` or `simple_rnn`.
///
/// Sequences are by time, then features, where they come from an embedding or a recurrent layer (`batch_first=True` in
/// PyTorch), and by channel, then time, where they come from a convolution, pooling or normalisation; that decides how
/// `Flatten` takes them apart.
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

/// One value of a model: its name here, its name or names there, and how it is turned.
struct Rule {
    own: String,
    foreign: Vec<String>,
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
                weights.tensors.extend(rule.foreign.into_iter().zip(rule.turn.outward(tensor)?));
            }
        }
        Ok(weights)
    }

    /// Loads values in another library's names and layout. The report speaks of Cairn's names, and of shapes in Cairn's
    /// layout, but for what is unexpected, and for values of a shape that cannot be turned: both shapes are the library's
    /// then.
    ///
    /// # Errors
    /// As [`weights`](Self::weights), and [`Error::StateMismatch`] when `strictness` is strict and anything does not fit;
    /// nothing has changed then.
    pub fn load_weights(
        &self,
        weights: &Weights,
        dialect: Dialect,
        strictness: Strictness,
    ) -> Result<LoadReport> {
        let own = Weights::of(self).tensors;
        let mut given = weights.clone();
        let (mut turned, mut misshapen) = (Vec::new(), Vec::new());
        for rule in self.rules(dialect)? {
            let (Some(found), Some(value)) =
                (take_all(&mut given.tensors, dialect, &rule.foreign), own.get(&rule.own))
            else {
                continue;
            };
            match rule.turn.inward(&found) {
                Ok(tensor) => turned.push((rule.own, tensor)),
                Err(_) => misshapen.push(misfit(rule.own, &found, &rule.turn.outward(value)?)),
            }
        }
        given.tensors.extend(turned);
        given.load_beside(self, strictness, misshapen)
    }

    fn rules(&self, dialect: Dialect) -> Result<Vec<Rule>> {
        let mut rules = Vec::new();
        let mut flattened = None;
        let (mut input, mut channels_last) = (&self.input, false);
        for named in &self.layers {
            match named.spec {
                Spec::Flatten(_) => {
                    flattened = match **input {
                        [height, width, channels] => Some([height, width, channels]),
                        [steps, channels] if !channels_last => Some([1, steps, channels]),
                        [_, _] => None,
                        _ => flattened,
                    };
                }
                Spec::Embedding(_) | Spec::Recurrent(_) => channels_last = true,
                Spec::Conv1d(_)
                | Spec::MaxPool1d(_)
                | Spec::AvgPool1d(_)
                | Spec::BatchNorm(_)
                | Spec::GroupNorm(_) => channels_last = false,
                _ => {}
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

/// Takes the values of these names out of a file's, if all are there.
fn take_all(
    given: &mut BTreeMap<String, Tensor>,
    dialect: Dialect,
    foreign: &[String],
) -> Option<Vec<Tensor>> {
    let names: Option<Vec<String>> =
        foreign.iter().map(|foreign| given_name(given, dialect, foreign)).collect();
    names
        .filter(|names| names.iter().all(|name| given.contains_key(name)))?
        .iter()
        .map(|name| given.remove(name))
        .collect()
}

/// What a file calls a value. Keras puts the names of the models around a layer in front.
fn given_name(given: &BTreeMap<String, Tensor>, dialect: Dialect, foreign: &str) -> Option<String> {
    if dialect != Dialect::Keras || given.contains_key(foreign) {
        return Some(foreign.to_owned());
    }
    let end = format!("/{foreign}");
    let mut names = given.keys().filter(|name| name.ends_with(&end));
    names.next().filter(|_| names.next().is_none()).cloned()
}

/// The first of the values given for a name that has not the shape it has there.
fn misfit(name: String, given: &[Tensor], expected: &[Tensor]) -> Misshapen {
    let pairs = || given.iter().zip(expected).map(|(given, expected)| (given.dims(), expected.dims()));
    let scalar = Shape::from([]);
    let first = pairs().find(|(given, expected)| given != expected).or_else(|| pairs().next());
    let (given, expected) = first.unwrap_or((&scalar, &scalar));
    Misshapen { name, given: given.clone(), expected: expected.clone() }
}

fn layer_rules(
    named: &Named,
    dialect: Dialect,
    flattened: Option<[usize; 3]>,
    rules: &mut Vec<Rule>,
) -> Result<()> {
    if let (Spec::Recurrent(layer), true) = (&named.spec, dialect != Dialect::Cairn) {
        return recurrent_rules(&named.name, layer, dialect, rules);
    }
    for value in values(&*named.layer) {
        let layer = &named.name;
        let own = format!("{layer}.{value}");
        let (foreign, turn) = match dialect {
            Dialect::Cairn => (own.clone(), Turn::Same),
            Dialect::Torch => (own.clone(), torch_turn(&named.spec, &value, flattened)?),
            Dialect::Keras => (format!("{layer}/{}", keras_name(&named.spec, &value)?), Turn::Same),
        };
        rules.push(Rule { own, foreign: vec![foreign], turn });
    }
    Ok(())
}

/// The three values of each layer and direction.
fn recurrent_rules(name: &str, layer: &Recurrent, dialect: Dialect, rules: &mut Vec<Rule>) -> Result<()> {
    for level in 0..layer.layers {
        let directions = layer.directions_of(level);
        // In PyTorch's and in Keras's words.
        let (one, first, second) = (["", ""], ["", "forward_"], ["_reverse", "backward_"]);
        let ways = if directions.len() > 1 { vec![first, second] } else { vec![one] };
        for ((path, _), [torch, keras]) in directions.into_iter().zip(ways) {
            let values = match dialect {
                Dialect::Torch => torch_values(layer, level, torch),
                _ => keras_values(layer, level, keras),
            };
            let library = if dialect == Dialect::Torch { "PyTorch" } else { "Keras" };
            let values = values.ok_or_else(|| no_rule(&Spec::Recurrent(layer.clone()), library))?;
            let own = ["weight", "recurrent_weight", "bias"].map(|value| format!("{name}.{path}{value}"));
            let rule = |(own, (foreign, turn)): (String, (Vec<String>, Turn))| {
                let foreign = foreign.into_iter().map(|value| format!("{name}{value}")).collect();
                Rule { own, foreign, turn }
            };
            rules.extend(own.into_iter().zip(values).map(rule));
        }
    }
    Ok(())
}

/// What stands for a weight, a recurrent weight and a bias in another library: names behind the layer's, and the turn.
type Three = [(Vec<String>, Turn); 3];

fn torch_values(layer: &Recurrent, level: usize, way: &str) -> Option<Three> {
    let known =
        matches!(layer.kind, Recurrence::Tanh | Recurrence::Relu | Recurrence::Lstm | Recurrence::Gru);
    let name = |value: &str| format!(".{value}_l{level}{way}");
    let biases = Turn::TwoBiases(layer.kind, layer.units);
    known.then(|| {
        [
            (vec![name("weight_ih")], Turn::Dense),
            (vec![name("weight_hh")], Turn::Dense),
            (vec![name("bias_ih"), name("bias_hh")], biases),
        ]
    })
}

fn keras_values(layer: &Recurrent, level: usize, way: &str) -> Option<Three> {
    let units = layer.units;
    let (kind, [weight, recurrent, bias]) = match layer.kind {
        Recurrence::Tanh | Recurrence::Relu => ("simple_rnn", [const { Turn::Same }; 3]),
        Recurrence::Lstm => ("lstm", [const { Turn::Same }; 3]),
        Recurrence::Gru => ("gru", [Turn::SwapGates(units), Turn::SwapGates(units), Turn::SwapBiases(units)]),
        Recurrence::GruResetBefore => ("gru", std::array::from_fn(|_| Turn::SwapGates(units))),
        _ => return None,
    };
    let level = if layer.layers > 1 { format!("/{level}") } else { String::new() };
    let way = if way.is_empty() { String::new() } else { format!("/{way}{kind}") };
    let name = |value: &str| vec![format!("{level}{way}/{kind}_cell/{value}")];
    Some([(name("kernel"), weight), (name("recurrent_kernel"), recurrent), (name("bias"), bias)])
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
        | (Spec::BatchNorm(_) | Spec::GroupNorm(_) | Spec::Embedding(_), ..) => Turn::Same,
        _ => return Err(no_rule(spec, "PyTorch")),
    })
}

fn keras_name<'a>(spec: &Spec, value: &'a str) -> Result<&'a str> {
    Ok(match (spec, value) {
        (Spec::Dense(_) | Spec::Conv2d(_) | Spec::Conv1d(_) | Spec::ConvTranspose2d(_), "weight") => "kernel",
        (Spec::Dense(_) | Spec::Conv2d(_) | Spec::Conv1d(_) | Spec::ConvTranspose2d(_), "bias") => "bias",
        (Spec::BatchNorm(_) | Spec::GroupNorm(_), "weight") => "gamma",
        (Spec::BatchNorm(_) | Spec::GroupNorm(_), "bias") => "beta",
        (Spec::Embedding(_), "weight") => "embeddings",
        (Spec::BatchNorm(_), "running_mean") => "moving_mean",
        (Spec::BatchNorm(_), "running_var") => "moving_variance",
        _ => return Err(no_rule(spec, "Keras")),
    })
}

fn no_rule(spec: &Spec, library: &str) -> Error {
    let how = match spec {
        Spec::Recurrent(Recurrent { kind: Recurrence::GruResetBefore, .. }) => {
            " that resets before the product"
        }
        _ => "",
    };
    Error::Unsupported { what: format!("values of a {} layer{how} in the layout of {library}", spec.kind()) }
}
