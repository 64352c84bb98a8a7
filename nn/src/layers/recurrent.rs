//! Recurrent layers: RNN, LSTM and GRU over sequences `[batch, time, features]`, several layers deep, in one direction or
//! both.
//!
//! One description, [`Recurrent`], serves all kinds, since they differ in nothing but the formula of a step; [`Rnn`], [`Lstm`]
//! and [`Gru`] are the names people look for, and make it. Names and defaults are Keras's (the output of the last step
//! unless [`return_sequences`](Recurrent::return_sequences) is set, Glorot's weights, orthogonal recurrent weights, a forget
//! bias of 1); stacks and directions are PyTorch's: the layers of a stack see the outputs of both directions side by side.

use cairn_autograd::{Parameter, RecurrentVars, Var};
use cairn_tensor::{Recurrence, RecurrentOptions, Returns, Rng, Shape, Tensor};
use serde::{Deserialize, Serialize};

use super::{Dropout, Layer, Plan, Spans, Value};
use crate::{Context, Error, Init, Module, Result, Visitor};

/// Long short-term memory: see [`Recurrent`] and, for the formulas, [`Recurrence::Lstm`].
#[derive(Debug, Clone, Copy)]
pub struct Lstm;

/// Gated recurrent unit: see [`Recurrent`] and [`Recurrence::Gru`].
#[derive(Debug, Clone, Copy)]
pub struct Gru;

/// The simple recurrent network, with tanh: see [`Recurrent`] and [`Recurrence::Tanh`].
#[derive(Debug, Clone, Copy)]
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
/// use cairn_nn::{Dense, Lstm, Model, Sequential};
/// use cairn_tensor::{rng, Tensor};
/// let model = Sequential::new([10, 1]) // 10 steps of one number
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
    reverse: bool,
    dropout: f32,
    recurrent_dropout: f32,
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

    pub(super) fn kind(&self) -> &'static str {
        match self.kind {
            Recurrence::Lstm => "lstm",
            Recurrence::Gru | Recurrence::GruResetBefore => "gru",
            _ => "rnn",
        }
    }

    /// The path of a layer's parameters, with a dot at its end, and whether they run from the last step to the first: for
    /// one direction or two.
    pub(crate) fn directions_of(&self, level: usize) -> Vec<(String, bool)> {
        match (self.layers, self.bidirectional) {
            (1, false) => vec![(String::new(), self.reverse)],
            (_, false) => vec![(format!("{level}.forward."), self.reverse)],
            _ => vec![(format!("{level}.forward."), self.reverse), (format!("{level}.backward."), true)],
        }
    }

    fn directions(&self) -> usize {
        1 + usize::from(self.bidirectional)
    }

    fn check(&self) -> Result<()> {
        for (what, value) in [("the number of units", self.units), ("the number of layers", self.layers)] {
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

    pub(super) fn plan(&self, input: &Shape) -> Result<Plan> {
        self.check()?;
        let &[steps, features] = &input[..] else {
            let why = "a recurrent layer needs [time, features]".into();
            return Err(Error::BadInput { input: input.clone(), why });
        };
        let outputs = self.units.saturating_mul(self.directions());
        let values = |inputs: usize| {
            let width = self.kind.gates().saturating_mul(self.units);
            let weights = inputs.saturating_add(self.units).saturating_mul(width);
            weights.saturating_add(self.kind.biases() * self.units).saturating_mul(self.directions())
        };
        let deeper = values(outputs).saturating_mul(self.layers - 1);
        let output = if self.return_sequences { [steps, outputs].into() } else { [outputs].into() };
        Ok(Plan { output, values: values(features).saturating_add(deeper) })
    }

    /// The layer for inputs `[batch, time, inputs]`, with parameters drawn.
    ///
    /// # Errors
    /// For a setting that makes no sense, or when memory does not hold the weights.
    pub fn layer(&self, inputs: usize, rng: &mut Rng) -> Result<RecurrentLayer> {
        self.check()?;
        let mut layers = Vec::with_capacity(self.layers);
        for i in 0..self.layers {
            let inputs = if i == 0 { inputs } else { self.units * self.directions() };
            let forward = Direction::new(self.kind, inputs, self.units, rng)?;
            let backward =
                self.bidirectional.then(|| Direction::new(self.kind, inputs, self.units, rng)).transpose()?;
            layers.push(Level { forward, backward });
        }
        Ok(RecurrentLayer { layers, description: self.clone() })
    }
}

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

/// What goes into a recurrent layer beside its input.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sequences<'a> {
    /// Steps of each sequence, `[batch]`, from 1 to all; the rest is padding. All steps where there are none.
    pub lengths: Option<&'a Tensor<u32>>,
    /// States to start from: a layer after the other, the forward direction first. Zeros where there are none.
    pub states: Option<&'a [State]>,
}

/// A recurrent layer, or a stack of them, as a module.
///
/// ```
/// use cairn_nn::{Context, Gru, Sequences};
/// use cairn_tensor::{rng, Tensor};
/// let gru = Gru::new(8).layers(2).bidirectional().layer(4, &mut rng(0))?;
/// let x = Tensor::ones([3, 6, 4])?.into();
/// let lengths = Tensor::from_vec(vec![6, 2, 4], [3])?;
/// let input = Sequences { lengths: Some(&lengths), ..Default::default() };
/// let (steps, states) = gru.run(&x, input, &mut Context::eval())?;
/// assert_eq!(steps.shape(), [3, 6, 16]);
/// assert_eq!(states.len(), 4);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct RecurrentLayer {
    layers: Vec<Level>,
    description: Recurrent,
}

impl RecurrentLayer {
    /// The description it was built from.
    pub fn description(&self) -> &Recurrent {
        &self.description
    }

    /// The parameters of a layer, in the forward direction and, if there is one, the other.
    pub fn directions(&self, layer: usize) -> Option<(&Direction, Option<&Direction>)> {
        self.layers.get(layer).map(|level| (&level.forward, level.backward.as_ref()))
    }

    /// As described: the output of every step, `[batch, time, outputs]`, or of the last, `[batch, outputs]`.
    ///
    /// # Errors
    /// When the input does not fit.
    pub fn forward(&self, x: &Var, cx: &mut Context) -> Result<Var> {
        self.output(x, None, cx)
    }

    /// As [`forward`](Self::forward), for sequences of these lengths, `[batch]`; the last output is that at a sequence's own
    /// last step.
    ///
    /// # Errors
    /// When the input does not fit, or a length is 0 or beyond the steps.
    pub fn forward_lengths(&self, x: &Var, lengths: &Tensor<u32>, cx: &mut Context) -> Result<Var> {
        self.output(x, Some(&Spans::of_lengths(lengths)), cx)
    }

    fn output(&self, x: &Var, spans: Option<&Spans>, cx: &mut Context) -> Result<Var> {
        let last = if self.description.return_sequences { Returns::Steps } else { Returns::Last };
        let mut x = x.clone();
        for (i, level) in self.layers.iter().enumerate() {
            let returns = if i + 1 == self.layers.len() { last } else { Returns::Steps };
            x = self.between(i, x, cx)?;
            let run = |direction, reverse, cx: &mut Context| {
                self.direction(direction, &x, (reverse, returns), spans, None, cx)
            };
            let ahead = run(&level.forward, self.description.reverse, cx)?;
            x = match &level.backward {
                Some(backward) => Var::cat(&[&ahead, &run(backward, true, cx)?], -1)?,
                None => ahead,
            };
        }
        Ok(x)
    }

    /// Runs with lengths and first states, and returns the output of every step, `[batch, time, outputs]`, and the states
    /// after each sequence's last: a layer after the other, the forward direction first.
    ///
    /// # Errors
    /// When input, lengths or states do not fit.
    pub fn run(&self, x: &Var, input: Sequences<'_>, cx: &mut Context) -> Result<(Var, Vec<State>)> {
        let (units, kind) = (self.description.units, self.description.kind);
        let expected = self.layers.len() * self.description.directions();
        if let Some(states) = input.states.filter(|states| states.len() != expected) {
            let why = format!("{expected} states are needed, {} were given", states.len());
            return Err(Error::BadInput { input: x.dims().clone(), why });
        }
        let spans = input.lengths.map(Spans::of_lengths);
        let mut states = Vec::with_capacity(expected);
        let mut x = x.clone();
        for (i, level) in self.layers.iter().enumerate() {
            x = self.between(i, x, cx)?;
            let mut outputs = Vec::with_capacity(2);
            let directions =
                [(Some(&level.forward), self.description.reverse), (level.backward.as_ref(), true)];
            for (direction, reverse) in directions {
                let Some(direction) = direction else { continue };
                let first = input.states.map(|given| &given[states.len()]);
                let how = (reverse, Returns::StepsAndStates);
                let all = self.direction(direction, &x, how, spans.as_ref(), first, cx)?;
                let steps = all.shape()[1] - kind.states();
                let state = |k: usize| all.narrow(1, steps + k, 1)?.reshape([all.shape()[0], units]);
                let cell = (kind.states() == 2).then(|| state(1)).transpose()?;
                states.push(State { hidden: state(0)?, cell });
                outputs.push(all.narrow(1, 0, steps)?);
            }
            x = match &outputs[..] {
                [one] => one.clone(),
                all => Var::cat(&all.iter().collect::<Vec<_>>(), -1)?,
            };
        }
        Ok((x, states))
    }

    /// What goes into layer `i`: dropout is between layers.
    fn between(&self, i: usize, x: Var, cx: &mut Context) -> Result<Var> {
        if i == 0 { Ok(x) } else { Dropout::new(self.description.dropout).apply(&x, cx) }
    }

    fn direction(
        &self,
        direction: &Direction,
        x: &Var,
        (reverse, returns): (bool, Returns),
        spans: Option<&Spans>,
        first: Option<&State>,
        cx: &mut Context,
    ) -> Result<Var> {
        let rate = self.description.recurrent_dropout;
        let mask = if cx.is_training() && rate > 0.0 {
            let batch = x.shape().first().copied().unwrap_or(0);
            let ones = Var::constant(Tensor::ones([batch, self.description.units])?);
            Some(Dropout::new(rate).apply(&ones, cx)?.value().clone())
        } else {
            None
        };
        let (lengths, starts) = (spans.map(|s| s.ends.clone()), spans.and_then(|s| s.starts.clone()));
        let options = RecurrentOptions { reverse, returns, lengths, starts, mask };
        let (weight, recurrent_weight, bias) =
            (direction.weight.var(), direction.recurrent_weight.var(), direction.bias.var());
        let vars = RecurrentVars {
            weight: &weight,
            recurrent_weight: &recurrent_weight,
            bias: Some(&bias),
            hidden: first.map(|state| &state.hidden),
            cell: first.and_then(|state| state.cell.as_ref()),
        };
        Ok(x.recurrent(self.description.kind, vars, &options)?)
    }
}

impl Module for RecurrentLayer {
    /// A single layer in one direction shows its parameters without levels between.
    fn visit(&self, visitor: &mut Visitor<'_>) {
        match &self.layers[..] {
            [Level { forward, backward: None }] => forward.visit(visitor),
            all => all.iter().enumerate().for_each(|(i, level)| visitor.field(&i.to_string(), level)),
        }
    }
}

impl Layer for RecurrentLayer {
    fn forward(&self, input: Value, cx: &mut Context) -> Result<Var> {
        RecurrentLayer::forward(self, &input.floats()?, cx)
    }

    fn forward_spans(&self, input: Value, spans: &Spans, cx: &mut Context) -> Result<Var> {
        self.output(&input.floats()?, Some(spans), cx)
    }

    fn spans(&self, _: &Value, spans: Option<Spans>) -> Result<Option<Spans>> {
        Ok(spans.filter(|_| self.description.return_sequences))
    }
}
