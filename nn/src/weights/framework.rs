//! A `Sequential`'s values as PyTorch and Keras name and lay them out: by layer, since neither names nor shapes alone say
//! which axes to permute. Each layer says its own names, in its file ([`LayerConfig::rules`](crate::spec::LayerConfig::rules)).

use std::collections::BTreeMap;

use cairn_tensor::{AnyTensor, Shape};

use super::permutation::Permutation;
use super::{LoadReport, Misshapen, Strictness, Weights};
use crate::layers::Layer;
use crate::{Error, Result, Sequential, Visitor};

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
/// | attention `projection.weight` | `[features, heads · size]`, queries, keys, values | `in_proj_weight`, transposed | `query/kernel`, `key/…`, `value/…`, `[features, heads, size]` |
/// | attention `output.weight` | `[heads · size, features]` | `out_proj.weight`, transposed | `attention_output/kernel`, `[heads, size, features]` |
/// | encoder block | `attention` `attention_norm` `feed_forward.up` `feed_forward.down` `feed_forward_norm` | `self_attn` `norm1` `linear1` `linear2` `norm2` | keras_hub's `self_attention_layer` `self_attention_layer_norm` `feedforward_intermediate_dense` `feedforward_output_dense` `feedforward_layer_norm` |
/// | after `Flatten` of an image | features by row, column, channel | by channel, row, column | as Cairn |
///
/// The layer is the model's name for it; Keras may put the models' names around it in front (`sequential/dense/kernel`).
/// PyTorch's own numbers become names by
/// [`name_numbered`](super::Weights::name_numbered), any others by [`rename`](super::Weights::rename). PyTorch's
/// `num_batches_tracked` is a counter, which loading leaves out.
///
/// Attention that is in no `Sequential`, to another sequence or with projections of its own, is [loaded by itself](crate::MultiHeadAttention::load_weights);
/// blocks of PyTorch's transformers wherever they are by [`from_torch_transformer`](super::Weights::from_torch_transformer).
///
/// The order of gates, and what becomes of two biases, is said in [`weights::recurrent`](crate::weights::recurrent). Keras's
/// cells are called `lstm_cell`, `gru_cell` and `simple_rnn_cell`. It has no stacks: a stack is a `keras.Sequential` of the
/// layer's name, whose layers are called `0`, `1` and so on. One in both directions is a `Bidirectional` of the layer's name
/// (or number) around a layer called `lstm`, `gru` or `simple_rnn`.
///
/// Sequences are by time, then features, where they come from an embedding or a recurrent layer (`batch_first=True` in
/// PyTorch), and by channel, then time, where they come from a convolution, pooling or normalisation; that decides how
/// `Flatten` takes them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Framework {
    /// Cairn's own.
    Cairn,
    /// `state_dict()` of a `torch.nn.Module` whose parts are called like the layers.
    #[doc(alias = "torch")]
    PyTorch,
    /// `path` and value of each of a Keras model's `weights`, where layers are called the same: `dense/kernel`.
    #[doc(alias = "TensorFlow")]
    Keras,
}

impl Framework {
    /// A value's name behind that of its layer.
    pub(crate) fn value(self, name: &str) -> String {
        let separator = if self == Framework::Keras { '/' } else { '.' };
        format!("{separator}{name}")
    }
}

/// One value of a layer: its name here, its name or names elsewhere, and its layout there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The path within the layer.
    pub own: String,
    /// What follows the layer's name, with the separator: `.weight`, `/kernel`.
    pub foreign: Vec<String>,
    /// How the value is laid out there.
    pub permutation: Permutation,
}

impl Rule {
    /// A value that has one name elsewhere.
    pub fn new(own: impl Into<String>, foreign: impl Into<String>, permutation: Permutation) -> Self {
        Rule { own: own.into(), foreign: vec![foreign.into()], permutation }
    }
}

/// What decides the layout of a layer's values elsewhere, from the layers before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// The shape of the layer's input, without the batch axis.
    pub input: Shape,
    /// Whether sequences are by time, then features, in PyTorch too, as an embedding or a recurrent layer gives them;
    /// convolutions, pooling and normalisation want channels first there.
    pub steps_first: bool,
    /// Height, width and channels of the image whose features come one after the other, until a dense layer mixes them.
    pub flattened: Option<[usize; 3]>,
}

/// An error for values that the other library has no place for.
pub(crate) fn no_rule(kind: &str, variant: &str, library: &str) -> Error {
    Error::Unsupported { what: format!("values of a {kind} layer{variant} in the layout of {library}") }
}

impl Sequential {
    /// The model's values in another library's names and layout; the table is at [`Framework`].
    ///
    /// ```
    /// use cairn_nn::Sequential;
    /// use cairn_nn::spec::{BatchNorm, Conv2d, Dense, Flatten};
    /// use cairn_nn::weights::Framework;
    /// use cairn_tensor::rng;
    /// let model = Sequential::new([8, 8, 3])
    ///     .add(Conv2d::new(16, 3))
    ///     .add(BatchNorm::new())
    ///     .add(Flatten)
    ///     .add(Dense::new(10))
    ///     .build(&mut rng(0))?;
    /// let torch = model.weights(Framework::PyTorch)?.tensors;
    /// assert_eq!(torch["conv2d.weight"].shape(), [16, 3, 3, 3]);
    /// assert_eq!(torch["dense.weight"].shape(), [10, 6 * 6 * 16]);
    /// let keras = model.weights(Framework::Keras)?.tensors;
    /// assert_eq!(keras["conv2d/kernel"].shape(), [3, 3, 3, 16]);
    /// assert!(keras.contains_key("batch_norm/moving_variance"));
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a layer that the other library lays out in a way there is no rule for.
    pub fn weights(&self, framework: Framework) -> Result<Weights> {
        let mut weights = Weights::of(self);
        let own = std::mem::take(&mut weights.tensors);
        for rule in self.rules(framework)? {
            if let Some(tensor) = own.get(&rule.own) {
                weights.tensors.extend(rule.foreign.into_iter().zip(rule.permutation.export(tensor)?));
            }
        }
        Ok(weights)
    }

    /// Loads values in another library's names and layout, its floats converted to `f32`. The report speaks of Cairn's names,
    /// and of shapes in Cairn's layout, but for what is unexpected, and for values of a shape that cannot be permuted: both
    /// shapes are the library's then.
    ///
    /// # Errors
    /// As [`weights`](Self::weights), and [`Error::StateMismatch`] when `strictness` is strict and anything does not fit;
    /// nothing has changed then.
    pub fn load_weights(
        &self,
        weights: &Weights,
        framework: Framework,
        strictness: Strictness,
    ) -> Result<LoadReport> {
        if framework == Framework::Cairn {
            return weights.load_into(self, strictness);
        }
        let own = Weights::of(self).tensors;
        let mut given = weights.clone();
        if framework == Framework::PyTorch {
            // The counters of batch normalisation, which nothing here needs.
            given.tensors.retain(|name, _| !name.ends_with(".num_batches_tracked"));
        }
        let (mut imported, mut misshapen) = (Vec::new(), Vec::new());
        for rule in self.rules(framework)? {
            let (Some(found), Some(value)) =
                (take_all(&mut given.tensors, framework, &rule.foreign), own.get(&rule.own))
            else {
                continue;
            };
            match rule.permutation.import(&found) {
                Ok(tensor) => imported.push((rule.own, tensor)),
                Err(_) => misshapen.push(misfit(rule.own, &found, &rule.permutation.export(value)?)),
            }
        }
        given.tensors.extend(imported);
        given.load_beside(self, strictness, misshapen)
    }

    /// The rules for all values, with full names.
    fn rules(&self, framework: Framework) -> Result<Vec<Rule>> {
        let mut flow = Flow { input: self.input.clone(), steps_first: false, flattened: None };
        let mut all = Vec::new();
        for named in &self.layers {
            let at = |error: Error| error.at(&named.name);
            let values = value_names(&*named.layer);
            let rules = match framework {
                Framework::Cairn => {
                    values.iter().map(|v| Rule::new(v, framework.value(v), Permutation::Same)).collect()
                }
                _ => named.spec.rules(framework, &mut flow).map_err(at)?,
            };
            if rules.iter().map(|rule| &rule.own).ne(&values) {
                return Err(at(no_rule(named.spec.kind(), "", &format!("{framework:?}"))));
            }
            all.extend(rules.into_iter().map(|rule| Rule {
                own: format!("{}.{}", named.name, rule.own),
                foreign: rule.foreign.iter().map(|value| format!("{}{value}", named.name)).collect(),
                permutation: rule.permutation,
            }));
            flow.input = named.output.clone();
        }
        Ok(all)
    }
}

/// Names of a layer's values, without the layer's.
fn value_names(layer: &dyn Layer) -> Vec<String> {
    let mut names = Vec::new();
    layer.visit(&mut Visitor::new(&mut |name, _| names.push(name.to_owned())));
    names
}

/// Takes the values of these names out of a file's, if all are there.
fn take_all(
    given: &mut BTreeMap<String, AnyTensor>,
    framework: Framework,
    foreign: &[String],
) -> Option<Vec<AnyTensor>> {
    let names: Option<Vec<String>> =
        foreign.iter().map(|foreign| given_name(given, framework, foreign)).collect();
    names
        .filter(|names| names.iter().all(|name| given.contains_key(name)))?
        .iter()
        .map(|name| given.remove(name))
        .collect()
}

/// What a file calls a value. Keras puts the names of the models around a layer in front.
fn given_name(given: &BTreeMap<String, AnyTensor>, framework: Framework, foreign: &str) -> Option<String> {
    if framework != Framework::Keras || given.contains_key(foreign) {
        return Some(foreign.to_owned());
    }
    let end = format!("/{foreign}");
    let mut names = given.keys().filter(|name| name.ends_with(&end));
    names.next().filter(|_| names.next().is_none()).cloned()
}

/// The first of the values given for a name that has not the shape it has there.
fn misfit(name: String, given: &[AnyTensor], expected: &[AnyTensor]) -> Misshapen {
    let pairs = || given.iter().zip(expected).map(|(given, expected)| (given.dims(), expected.dims()));
    let scalar = Shape::from([]);
    let first = pairs().find(|(given, expected)| given != expected).or_else(|| pairs().next());
    let (given, expected) = first.unwrap_or((&scalar, &scalar));
    Misshapen { name, given: given.clone(), expected: expected.clone() }
}
