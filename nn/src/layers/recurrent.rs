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
        let width = kind.gates() * units;
        let weight = Init::GlorotUniform.tensor([inputs, width], rng)?;
        let recurrent = Init::Orthogonal(1.0).tensor([units, width], rng)?;
        let mut bias = Tensor::zeros([kind.biases() * units])?;
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

pub(super) mod spec {
    use super::*;

    /// Long short-term memory: makes a [`Recurrent`].
    #[derive(Debug, Clone, Copy)]
    pub struct Lstm;

    /// Gated recurrent unit: makes a [`Recurrent`].
    #[derive(Debug, Clone, Copy)]
    pub struct Gru;

    /// The simple recurrent network: makes a [`Recurrent`].
    #[derive(Debug, Clone, Copy)]
    #[doc(alias = "SimpleRNN")]
    pub struct Rnn;

    impl Lstm {
        /// An LSTM with this many units.
        #[allow(clippy::new_ret_no_self)] // The names of Keras and PyTorch; what differs is one word in the description.
        pub fn new(units: usize) -> Recurrent {
            Recurrent::new(Recurrence::Lstm, units)
        }
    }

    impl Gru {
        /// A GRU with this many units.
        #[allow(clippy::new_ret_no_self)] // As for the LSTM.
        pub fn new(units: usize) -> Recurrent {
            Recurrent::new(Recurrence::Gru, units)
        }

        /// The same with the reset gate before the recurrent product, as first published; Keras's `reset_after=False`.
        pub fn reset_before(units: usize) -> Recurrent {
            Recurrent::new(Recurrence::GruResetBefore, units)
        }
    }

    impl Rnn {
        /// A simple recurrent network with this many units and tanh.
        #[allow(clippy::new_ret_no_self)] // As for the LSTM.
        pub fn new(units: usize) -> Recurrent {
            Recurrent::new(Recurrence::Tanh, units)
        }

        /// The same with ReLU.
        pub fn relu(units: usize) -> Recurrent {
            Recurrent::new(Recurrence::Relu, units)
        }
    }

    /// Description of a recurrent layer, or of a stack of them.
    ///
    /// ```
    /// use cairn_nn::spec::{Dense, Lstm};
    /// use cairn_nn::{Model, Sequential};
    /// use cairn_tensor::{rng, Tensor};
    /// let model = Sequential::new([10, 1]) // 10 steps of one feature
    ///     .add(Lstm::new(64).return_sequences(true))
    ///     .add(Lstm::new(64).return_sequences(true))
    ///     .add(Dense::new(10))
    ///     .build(&mut rng(0))?;
    /// assert_eq!(model.predict_batch(&Tensor::<f32>::ones([32, 10, 1])?)?.shape(), [32, 10, 10]);
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct Recurrent {
        pub(crate) kind: Recurrence,
        pub(crate) units: usize,
        pub(crate) layers: usize,
        bidirectional: bool,
        pub(crate) return_sequences: bool,
        pub(super) reverse: bool,
        pub(super) dropout: f32,
        pub(super) recurrent_dropout: f32,
    }

    impl Recurrent {
        /// One layer, forwards, that returns the last output.
        pub fn new(kind: Recurrence, units: usize) -> Self {
            Recurrent {
                kind,
                units,
                layers: 1,
                bidirectional: false,
                return_sequences: false,
                reverse: false,
                dropout: 0.0,
                recurrent_dropout: 0.0,
            }
        }

        /// Returns the output of every step, `[batch, time, units]`, instead of the last one's, `[batch, units]`.
        #[must_use]
        pub fn return_sequences(self, return_sequences: bool) -> Self {
            Recurrent { return_sequences, ..self }
        }

        /// This many layers, each on the outputs of all steps of the one before.
        #[must_use]
        #[doc(alias = "num_layers")]
        pub fn layers(self, layers: usize) -> Self {
            Recurrent { layers, ..self }
        }

        /// In both directions; outputs are side by side, the forward one first, so there are twice as many.
        #[must_use]
        pub fn bidirectional(self) -> Self {
            Recurrent { bidirectional: true, ..self }
        }

        /// From the last step to the first (Keras's `go_backwards`, but outputs keep their places in time).
        #[must_use]
        #[doc(alias = "go_backwards")]
        pub fn reverse(self) -> Self {
            Recurrent { reverse: true, ..self }
        }

        /// Dropout of what goes from one layer to the next, as in PyTorch; a stack of one has none.
        #[must_use]
        pub fn dropout(self, rate: f32) -> Self {
            Recurrent { dropout: rate, ..self }
        }

        /// Dropout of the state within the recurrent product, one mask for all steps of a sequence (Gal and Ghahramani 2016).
        #[must_use]
        pub fn recurrent_dropout(self, rate: f32) -> Self {
            Recurrent { recurrent_dropout: rate, ..self }
        }

        /// The path of a layer's parameters, with a dot at its end, and whether they run from the last step to the first:
        /// for one direction or two.
        pub(crate) fn directions_of(&self, level: usize) -> Vec<(String, bool)> {
            match (self.layers, self.bidirectional) {
                (1, false) => vec![(String::new(), self.reverse)],
                (_, false) => vec![(format!("{level}.forward."), self.reverse)],
                _ => vec![(format!("{level}.forward."), self.reverse), (format!("{level}.backward."), true)],
            }
        }

        pub(super) fn directions(&self) -> usize {
            1 + usize::from(self.bidirectional)
        }

        fn check(&self) -> Result<()> {
            for (what, value) in [("the number of units", self.units), ("the number of layers", self.layers)]
            {
                if value == 0 {
                    return Err(Error::BadSetting { what, value: 0.0, must: "at least 1" });
                }
            }
            for (what, rate) in
                [("the dropout rate", self.dropout), ("the recurrent dropout rate", self.recurrent_dropout)]
            {
                if !(0.0..1.0).contains(&rate) {
                    return Err(Error::BadSetting { what, value: rate.into(), must: "from 0 to below 1" });
                }
            }
            Ok(())
        }

        /// The layer for inputs `[batch, time, inputs]`, with parameters drawn.
        ///
        /// # Errors
        /// [`Error::BadSetting`] for no units or layers, or a rate of dropout outside 0 to below 1; when memory does not
        /// hold the weights.
        pub fn layer(&self, inputs: usize, rng: &mut Rng) -> Result<super::Recurrent> {
            self.check()?;
            let mut layers = Vec::with_capacity(self.layers);
            for i in 0..self.layers {
                let inputs = if i == 0 { inputs } else { self.units * self.directions() };
                let mut direction = || Direction::new(self.kind, inputs, self.units, rng);
                let forward = direction()?;
                layers.push(Level { forward, backward: self.bidirectional.then(direction).transpose()? });
            }
            Ok(super::Recurrent { layers, config: self.clone() })
        }
    }

    impl LayerConfig for Recurrent {
        const KIND: &'static str = "recurrent";

        fn name(&self) -> &'static str {
            match self.kind {
                Recurrence::Lstm => "lstm",
                Recurrence::Gru | Recurrence::GruResetBefore => "gru",
                _ => "rnn",
            }
        }

        fn plan(&self, input: &Shape) -> Result<Plan> {
            self.check()?;
            let &[steps, features] = &input[..] else {
                let why = "a recurrent layer needs [time, features]".into();
                return Err(Error::BadInput { input: input.clone(), why });
            };
            let outputs = self.units.saturating_mul(self.directions());
            let values = |inputs: usize| {
                let width = self.kind.gates().saturating_mul(self.units);
                let weights = inputs.saturating_add(self.units).saturating_mul(width);
                let biases = self.kind.biases().saturating_mul(self.units);
                weights.saturating_add(biases).saturating_mul(self.directions())
            };
            let deeper = values(outputs).saturating_mul(self.layers - 1);
            let output = if self.return_sequences { [steps, outputs].into() } else { [outputs].into() };
            Ok(Plan { output, values: values(features).saturating_add(deeper) })
        }

        fn build(&self, input: &Shape, rng: &mut Rng) -> Result<Box<dyn Layer>> {
            Ok(Box::new(self.layer(input.last().copied().unwrap_or(0), rng)?))
        }

        fn keeps_steps(&self) -> bool {
            self.return_sequences
        }

        fn rules(&self, framework: Framework, flow: &mut Flow) -> Result<Vec<Rule>> {
            flow.steps_first = true;
            let mut rules = Vec::new();
            for level in 0..self.layers {
                let directions = self.directions_of(level);
                let both = directions.len() > 1;
                for (i, (path, _)) in directions.into_iter().enumerate() {
                    let direction = both.then_some(["forward", "backward"][i]);
                    let values = match framework {
                        Framework::Keras => self.keras(level, direction)?,
                        _ => self.pytorch(level, direction)?,
                    };
                    let own = ["weight", "recurrent_weight", "bias"].map(|value| format!("{path}{value}"));
                    rules.extend(own.into_iter().zip(values).map(|(own, (foreign, permutation))| Rule {
                        own,
                        foreign,
                        permutation,
                    }));
                }
            }
            Ok(rules)
        }
    }

    /// Names and layouts of a weight, a recurrent weight and a bias.
    type Three = [(Vec<String>, Permutation); 3];

    impl Recurrent {
        /// `weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0` and `bias_hh_l0`, for the other direction with `_reverse`.
        fn pytorch(&self, level: usize, direction: Option<&str>) -> Result<Three> {
            if !matches!(self.kind, Recurrence::Tanh | Recurrence::Relu | Recurrence::Lstm | Recurrence::Gru)
            {
                return Err(no_rule(self.name(), self.variant(), "PyTorch"));
            }
            let end = if direction == Some("backward") { "_reverse" } else { "" };
            let name = |value: &str| format!(".{value}_l{level}{end}");
            let biases = Permutation::TwoBiases(self.kind, self.units);
            Ok([
                (vec![name("weight_ih")], Permutation::Transposed),
                (vec![name("weight_hh")], Permutation::Transposed),
                (vec![name("bias_ih"), name("bias_hh")], biases),
            ])
        }

        /// `lstm_cell/kernel`, `lstm_cell/recurrent_kernel` and `lstm_cell/bias`, in a stack under the layer's number, in two
        /// directions under `forward_lstm` and `backward_lstm`.
        fn keras(&self, level: usize, direction: Option<&str>) -> Result<Three> {
            let same = || [const { Permutation::Same }; 3];
            let gates = Permutation::SwapGates(self.units);
            let (kind, permutations) = match self.kind {
                Recurrence::Tanh | Recurrence::Relu => ("simple_rnn", same()),
                Recurrence::Lstm => ("lstm", same()),
                Recurrence::Gru => ("gru", [gates, gates, Permutation::SwapBiases(self.units)]),
                Recurrence::GruResetBefore => ("gru", [gates; 3]),
                _ => return Err(no_rule(self.name(), self.variant(), "Keras")),
            };
            let level = if self.layers > 1 { format!("/{level}") } else { String::new() };
            let direction = direction.map(|direction| format!("/{direction}_{kind}")).unwrap_or_default();
            let name = |value: &str| vec![format!("{level}{direction}/{kind}_cell/{value}")];
            let [weight, recurrent, bias] = permutations;
            Ok([(name("kernel"), weight), (name("recurrent_kernel"), recurrent), (name("bias"), bias)])
        }

        /// How the layer differs from others of its name, in the words of an error.
        fn variant(&self) -> &'static str {
            match self.kind {
                Recurrence::GruResetBefore => " that resets before the product",
                _ => "",
            }
        }
    }
}
