//! Recurrent layers: RNN, LSTM and GRU over sequences `[batch, time, features]`, several layers deep, in one direction or
//! both.
//!
//! One implementation, [`Recurrent`], serves all kinds, since they differ in nothing but the formula of a step. [`Rnn`],
//! [`Lstm`] and [`Gru`] are it under the names people look for, with one layer in one direction. Defaults of values are Keras's
//! (Glorot's weights, orthogonal recurrent weights, a forget bias of 1); stacks and directions are PyTorch's: the layers of a
//! stack see the outputs of both directions side by side. As in the two libraries, a layer by itself returns the output of
//! every step, a described one in a `Sequential` that of the last.

use cairn_autograd::{Parameter, RecurrentVars, Var};
use cairn_tensor::{Recurrence, RecurrentOptions, Returns, Rng, Shape, Tensor};
use serde::{Deserialize, Serialize};

use super::config::{LayerConfig, Plan};
use super::{Dropout, Layer, Value};
use crate::weights::{Flow, Framework, Permutation, Rule, no_rule};
use crate::{Context, Error, Init, Module, Result, Visitor};

/// The parameters of one layer in one direction.
#[derive(Debug, Clone, cairn_nn_derive::Module)]
pub struct Direction {
    /// `[inputs, gates · units]`
    pub weight: Parameter,
    /// `[units, gates · units]`
    pub recurrent_weight: Parameter,
    /// `[biases · units]`
    pub bias: Parameter,
}

impl Direction {
    fn new(kind: Recurrence, inputs: usize, units: usize, rng: &mut Rng) -> Result<Self> {
        let width = kind.gates().saturating_mul(units);
        let weight = Init::GlorotUniform.tensor([inputs, width], rng)?;
        let recurrent = Init::Orthogonal(1.0).tensor([units, width], rng)?;
        let mut bias = Tensor::zeros([kind.biases().saturating_mul(units)])?;
        if kind == Recurrence::Lstm {
            // Remember at first (Gers et al. 2000; Jozefowicz et al. 2015).
            bias.as_mut_slice()?[units..2 * units].fill(1.0);
        }
        Ok(Direction {
            weight: Parameter::new(weight),
            recurrent_weight: Parameter::new(recurrent),
            bias: Parameter::new(bias),
        })
    }
}

/// One layer of a stack.
#[derive(Debug, Clone, cairn_nn_derive::Module)]
struct Level {
    forward: Direction,
    backward: Option<Direction>,
}

/// The states of one layer in one direction, `[batch, units]` each; c is the LSTM's alone.
#[derive(Debug, Clone)]
pub struct State {
    /// h
    pub hidden: Var,
    /// c
    pub cell: Option<Var>,
}

impl State {
    /// The same values, through which no gradient flows: how a state is carried from one stretch of a long text to the next
    /// (truncated backpropagation through time).
    #[must_use]
    pub fn detach(&self) -> Self {
        State { hidden: self.hidden.detach(), cell: self.cell.as_ref().map(Var::detach) }
    }
}

/// A recurrent layer of any kind, or a stack of them, made by [`spec::Lstm`](crate::spec::Lstm),
/// [`Gru`](crate::spec::Gru) or [`Rnn`](crate::spec::Rnn).
///
/// It works on the valid steps of the sequences where the context has a [mask](crate::SequenceMask).
///
/// ```
/// use cairn_nn::{Context, spec};
/// use cairn_tensor::{rng, Tensor};
/// let gru = spec::Gru::new(8).layers(2).bidirectional().layer(4, &mut rng(0))?;
/// let x = Tensor::ones([3, 6, 4])?.into();
/// let lengths = Tensor::from_vec(vec![6, 2, 4], [3])?;
/// let (steps, states) = gru.forward_from(&x, None, &mut Context::eval().with_lengths(&lengths))?;
/// assert_eq!(steps.shape(), [3, 6, 16]);
/// assert_eq!(states.len(), 4);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Recurrent {
    layers: Vec<Level>,
    config: spec::Recurrent,
}

impl Recurrent {
    /// The description it was built from.
    pub fn config(&self) -> &spec::Recurrent {
        &self.config
    }

    /// The parameters of a layer, in the forward direction and, if there is one, the other.
    pub fn directions(&self, layer: usize) -> Option<(&Direction, Option<&Direction>)> {
        self.layers.get(layer).map(|level| (&level.forward, level.backward.as_ref()))
    }

    /// Returns the output of every step, `[batch, time, units]`, or of each sequence's last valid one, `[batch, units]`.
    #[must_use]
    pub fn return_sequences(mut self, return_sequences: bool) -> Self {
        self.config.return_sequences = return_sequences;
        self
    }

    /// From the last step to the first; outputs keep their places in time.
    #[must_use]
    pub fn reverse(mut self) -> Self {
        self.config.reverse = true;
        self
    }

    /// The output of every step, `[batch, time, outputs]`, or of the last, `[batch, outputs]`, as it is set.
    ///
    /// # Errors
    /// When the input does not fit, or a length in the context is 0 or beyond the steps.
    pub fn forward(&self, x: &Var, cx: &mut Context) -> Result<Var> {
        let last = if self.config.return_sequences { Returns::Steps } else { Returns::Last };
        let mut x = x.clone();
        for (i, level) in self.layers.iter().enumerate() {
            let returns = if i + 1 == self.layers.len() { last } else { Returns::Steps };
            x = self.between(i, x, cx)?;
            let ahead = self.direction(&level.forward, &x, (self.config.reverse, returns), None, cx)?;
            x = match &level.backward {
                Some(backward) => {
                    let behind = self.direction(backward, &x, (true, returns), None, cx)?;
                    Var::cat(&[&ahead, &behind], -1)?
                }
                None => ahead,
            };
        }
        Ok(x)
    }

    /// From given first states (zeros where there are none): the output of every step, `[batch, time, outputs]`, and the
    /// states after each sequence's last. States come a layer after the other, the forward direction first.
    ///
    /// # Errors
    /// When input, states, or lengths in the context do not fit.
    pub fn forward_from(
        &self,
        x: &Var,
        states: Option<&[State]>,
        cx: &mut Context,
    ) -> Result<(Var, Vec<State>)> {
        let (units, kind) = (self.config.units, self.config.kind);
        let expected = self.layers.len() * self.config.directions();
        if let Some(states) = states.filter(|states| states.len() != expected) {
            let why = format!("{expected} states are needed, {} were given", states.len());
            return Err(Error::BadInput { input: x.dims().clone(), why });
        }
        let mut last = Vec::with_capacity(expected);
        let mut x = x.clone();
        for (i, level) in self.layers.iter().enumerate() {
            x = self.between(i, x, cx)?;
            let mut outputs = Vec::with_capacity(2);
            let directions = [(Some(&level.forward), self.config.reverse), (level.backward.as_ref(), true)];
            for (direction, reverse) in directions {
                let Some(direction) = direction else { continue };
                let first = states.map(|given| &given[last.len()]);
                let all = self.direction(direction, &x, (reverse, Returns::StepsAndStates), first, cx)?;
                let steps = all.shape()[1] - kind.states();
                let state = |k: usize| all.narrow(1, steps + k, 1)?.reshape([all.shape()[0], units]);
                let cell = (kind.states() == 2).then(|| state(1)).transpose()?;
                last.push(State { hidden: state(0)?, cell });
                outputs.push(all.narrow(1, 0, steps)?);
            }
            x = match &outputs[..] {
                [one] => one.clone(),
                all => Var::cat(&all.iter().collect::<Vec<_>>(), -1)?,
            };
        }
        Ok((x, last))
    }

    /// What goes into layer `i`: dropout is between layers.
    fn between(&self, i: usize, x: Var, cx: &mut Context) -> Result<Var> {
        if i == 0 { Ok(x) } else { Dropout::new(self.config.dropout).forward(&x, cx) }
    }

    fn direction(
        &self,
        direction: &Direction,
        x: &Var,
        (reverse, returns): (bool, Returns),
        first: Option<&State>,
        cx: &mut Context,
    ) -> Result<Var> {
        let batch = x.shape().first().copied().unwrap_or(0);
        let kept = Dropout::new(self.config.recurrent_dropout);
        let mask = kept.factors(&[batch, self.config.units].into(), cx)?;
        let (lengths, starts) = cx.mask().map_or((None, None), |m| (Some(m.ends.clone()), m.starts.clone()));
        let options = RecurrentOptions { reverse, returns, lengths, starts, mask };
        let Direction { weight, recurrent_weight, bias } = direction;
        let (weight, recurrent_weight, bias) = (weight.var(), recurrent_weight.var(), bias.var());
        let vars = RecurrentVars {
            weight: &weight,
            recurrent_weight: &recurrent_weight,
            bias: Some(&bias),
            hidden: first.map(|state| &state.hidden),
            cell: first.and_then(|state| state.cell.as_ref()),
        };
        Ok(x.recurrent(self.config.kind, vars, &options)?)
    }
}

impl Module for Recurrent {
    /// A single layer in one direction shows its parameters without levels between.
    fn visit(&self, visitor: &mut Visitor<'_>) {
        match &self.layers[..] {
            [Level { forward, backward: None }] => forward.visit(visitor),
            all => all.iter().enumerate().for_each(|(i, level)| visitor.field(&i.to_string(), level)),
        }
    }
}

impl Layer for Recurrent {
    fn forward(&self, input: Value, cx: &mut Context) -> Result<Var> {
        Recurrent::forward(self, &input.floats()?, cx)
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident { $($(#[$method:meta])* $new:ident = $kind:ident;)+ })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name(Recurrent);

        impl $name {
            $(
                $(#[$method])*
                ///
                /// # Errors
                /// [`Error::BadSetting`] for no units; when memory does not hold the weights.
                pub fn $new(inputs: usize, units: usize, rng: &mut Rng) -> Result<Self> {
                    let config = spec::Recurrent::new(Recurrence::$kind, units);
                    Ok($name(config.return_sequences(true).layer(inputs, rng)?))
                }
            )+

            /// Returns the output of every step, `[batch, time, units]` (the default), or of each sequence's last valid
            /// one, `[batch, units]`.
            #[must_use]
            pub fn return_sequences(self, return_sequences: bool) -> Self {
                $name(self.0.return_sequences(return_sequences))
            }

            /// From the last step to the first; outputs keep their places in time.
            #[must_use]
            pub fn reverse(self) -> Self {
                $name(self.0.reverse())
            }

            /// The weights.
            pub fn direction(&self) -> &Direction {
                &self.0.layers[0].forward
            }

            /// The output of every step of `x` `[batch, time, inputs]`, or of the last, as it is set.
            ///
            /// # Errors
            /// As [`Recurrent::forward`].
            pub fn forward(&self, x: &Var, cx: &mut Context) -> Result<Var> {
                self.0.forward(x, cx)
            }

            /// From a given first state (zeros where there is none): the output of every step, and the state after each
            /// sequence's last.
            ///
            /// # Errors
            /// As [`Recurrent::forward_from`].
            pub fn forward_from(&self, x: &Var, state: Option<&State>, cx: &mut Context) -> Result<(Var, State)> {
                let (steps, mut states) = self.0.forward_from(x, state.map(std::slice::from_ref), cx)?;
                Ok((steps, states.swap_remove(0)))
            }
        }

        impl Module for $name {
            fn visit(&self, visitor: &mut Visitor<'_>) {
                self.0.visit(visitor);
            }
        }
    )*};
}

kinds! {
    /// Long short-term memory: one layer in one direction, the formulas at [`Recurrence::Lstm`]. Stacks and both directions
    /// are described by [`spec::Lstm`](crate::spec::Lstm).
    ///
    /// ```
    /// use cairn_nn::{Context, Lstm};
    /// use cairn_tensor::{rng, Tensor};
    /// let lstm = Lstm::new(3, 8, &mut rng(0))?;
    /// let cx = &mut Context::eval();
    /// let (first, state) = lstm.forward_from(&Tensor::ones([2, 5, 3])?.into(), None, cx)?;
    /// let (second, _) = lstm.forward_from(&Tensor::ones([2, 4, 3])?.into(), Some(&state), cx)?; // goes on from there
    /// assert_eq!((first.shape(), second.shape()), (&[2, 5, 8][..], &[2, 4, 8][..]));
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    Lstm {
        /// From so many inputs to so many units.
        new = Lstm;
    }

    /// Gated recurrent unit: one layer in one direction, the formulas at [`Recurrence::Gru`]. Stacks and both directions are
    /// described by [`spec::Gru`](crate::spec::Gru).
    Gru {
        /// From so many inputs to so many units.
        new = Gru;
        /// With the reset gate before the recurrent product, as first published; Keras's `reset_after=False`.
        reset_before = GruResetBefore;
    }

    /// The simple recurrent network: one layer in one direction. Stacks and both directions are described by
    /// [`spec::Rnn`](crate::spec::Rnn).
    #[doc(alias = "SimpleRNN")]
    Rnn {
        /// From so many inputs to so many units, with tanh.
        new = Tanh;
        /// From so many inputs to so many units, with ReLU.
        relu = Relu;
    }
}

pub(super) mod spec;
