//! Descriptions of recurrent layers, stacks and both directions among them, and what other libraries call their values.

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

    /// The layer for inputs `[batch, time, inputs]`, with parameters drawn.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for no units or layers, or a rate of dropout outside 0 to below 1; when memory does not
    /// hold the weights.
    pub fn layer(&self, inputs: usize, rng: &mut Rng) -> Result<super::Recurrent> {
        self.check()?;
        let mut layers = Vec::new();
        if layers.try_reserve_exact(self.layers).is_err() {
            let (what, value) = ("the number of layers", self.layers as f64);
            return Err(Error::BadSetting { what, value, must: "one that memory holds" });
        }
        for i in 0..self.layers {
            let inputs = if i == 0 { inputs } else { self.units.saturating_mul(self.directions()) };
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
        if !matches!(self.kind, Recurrence::Tanh | Recurrence::Relu | Recurrence::Lstm | Recurrence::Gru) {
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
