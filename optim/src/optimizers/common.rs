//! What all optimisers share: walking over the parameters with their gradients and running values.
//!
//! Running values are kept by position in the model's order of parameters, with the path beside them, so a model that has
//! been cloned or loaded meets its state again, and another model is noticed.

use std::collections::BTreeMap;

use cairn_autograd::{Gradient, Gradients};
use cairn_nn::Module;
use cairn_tensor::{Rule, Tensor};

use super::group::{Group, Groups};
use crate::error::check;
use crate::{Error, Result, State};

/// The settings and the state that every optimiser has.
#[derive(Debug, Clone)]
pub(super) struct Common {
    pub(super) rate: f64,
    pub(super) weight_decay: f64,
    pub(super) lazy: bool,
    groups: Groups,
    steps: u64,
    /// A product that some formulas carry from step to step.
    product: f64,
    slots: Vec<Slot>,
    /// Running values by path that were loaded and whose parameters have not come by yet.
    loaded: BTreeMap<String, Vec<Tensor>>,
}

/// The running values of one parameter.
#[derive(Debug, Clone)]
struct Slot {
    path: String,
    values: Vec<Tensor>,
}

/// What holds for one parameter in one step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) rate: f64,
    pub(super) decay: f64,
    /// From 1.
    pub(super) step: u64,
    /// The carried product of the step before, 1 at first.
    pub(super) product: f64,
}

/// The part of an optimiser that is its own.
pub(super) trait Formula {
    /// The name in a saved state.
    const KIND: &'static str;

    /// An error for settings that make no sense.
    fn check(&self) -> Result<()>;

    /// Updates one parameter.
    fn apply(&self, parameter: Parameter<'_>, now: Now) -> Result<()>;

    /// The product to be carried to the step after `now`.
    fn carry(&self, now: Now) -> f64 {
        now.product
    }
}

impl Common {
    pub(super) fn new(rate: f64) -> Self {
        Common {
            rate,
            weight_decay: 0.0,
            lazy: true,
            groups: Groups::default(),
            steps: 0,
            product: 1.0,
            slots: Vec::new(),
            loaded: BTreeMap::new(),
        }
    }

    pub(super) fn add_group(&mut self, pattern: String, group: Group) {
        self.groups.add(pattern, group);
    }

    /// Applies a formula to every parameter that is not frozen.
    pub(super) fn step(
        &mut self,
        model: &mut dyn Module,
        gradients: &Gradients,
        formula: &impl Formula,
    ) -> Result<()> {
        self.check()?;
        formula.check()?;
        check_gradients(model, gradients)?;
        if self.slots.is_empty() {
            self.check_groups(model)?;
        }
        let now =
            Now { rate: self.rate, decay: self.weight_decay, step: self.steps + 1, product: self.product };
        let (mut position, mut result) = (0, Ok(()));
        model.for_each_parameter_mut(&mut |path, var| {
            let slot = slot(&mut self.slots, &mut self.loaded, position, path, var.value());
            position += 1;
            let Some(gradient) = gradients.get(var).filter(|_| var.is_tracked()) else { return };
            if result.is_err() {
                return;
            }
            let (rate, decay) = self.groups.settings(path, now.rate, now.decay);
            result = slot.and_then(|states| {
                var.update(|value| {
                    let parameter = Parameter { value, gradient, states, lazy: self.lazy };
                    formula.apply(parameter, Now { rate, decay, ..now })
                })
            });
        });
        result?;
        self.product = formula.carry(now);
        self.steps += 1;
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let rate = self.rate;
        check("the learning rate", rate, rate >= 0.0 && rate.is_finite(), "finite and not negative")?;
        check("the weight decay", self.weight_decay, self.weight_decay >= 0.0, "not negative")?;
        self.groups.check()
    }

    fn check_groups(&self, model: &dyn Module) -> Result<()> {
        if self.groups.is_empty() {
            return Ok(());
        }
        let mut paths = Vec::new();
        model.for_each_parameter(&mut |path, _| paths.push(path.to_owned()));
        self.groups.check_paths(&paths)
    }

    pub(super) fn state(&self, kind: &str) -> State {
        let mut state = State::new(kind)
            .with("learning_rate", self.rate)
            .with("steps", self.steps as f64)
            .with("product", self.product);
        let met = self.slots.iter().map(|slot| (&slot.path, &slot.values));
        for (path, values) in met.chain(&self.loaded) {
            for (i, value) in values.iter().enumerate() {
                state.tensors.insert(format!("{path}/{i}"), value.clone());
            }
        }
        state
    }

    pub(super) fn load_state(&mut self, kind: &str, state: State) -> Result<()> {
        state.require(kind)?;
        let (rate, steps) = (state.number("learning_rate")?, state.number("steps")?);
        let product = state.number("product")?;
        let mut loaded: BTreeMap<String, Vec<Tensor>> = BTreeMap::new();
        // Names sort by path and then number, of which there are fewer than ten.
        for (name, value) in state.tensors {
            let (path, _) =
                name.rsplit_once('/').ok_or_else(|| Error::BadState(format!("`{name}` has no number")))?;
            loaded.entry(path.to_owned()).or_default().push(value);
        }
        (self.rate, self.steps, self.product, self.loaded) = (rate, steps as u64, product, loaded);
        self.slots.clear();
        Ok(())
    }
}

/// The running values of the parameter at a position, none at first.
fn slot<'a>(
    slots: &'a mut Vec<Slot>,
    loaded: &mut BTreeMap<String, Vec<Tensor>>,
    position: usize,
    path: &str,
    value: &Tensor,
) -> Result<&'a mut Vec<Tensor>> {
    if position == slots.len() {
        let values = loaded.remove(path).unwrap_or_default();
        slots.push(Slot { path: path.to_owned(), values });
    }
    let slot = &mut slots[position];
    if slot.path == path && slot.values.iter().all(|state| state.shape() == value.shape()) {
        return Ok(&mut slot.values);
    }
    let was = slot.values.first().map_or(String::new(), |state| format!(" of shape {}", state.dims()));
    Err(Error::OtherModel(format!(
        "parameter {position} was {}{was}, now is {path} of shape {}",
        slot.path,
        value.dims()
    )))
}

/// One parameter in one step.
pub(super) struct Parameter<'a> {
    pub(super) value: &'a mut Tensor,
    pub(super) gradient: &'a Gradient,
    pub(super) states: &'a mut Vec<Tensor>,
    lazy: bool,
}

impl Parameter<'_> {
    /// Applies a rule, with running values that start at 0.
    pub(super) fn update<const N: usize>(self, rule: impl Rule<f32, N>) -> Result<()> {
        self.update_from([0.0; N], rule)
    }

    /// Applies a rule, with running values that start at `initial`.
    pub(super) fn update_from<const N: usize>(
        self,
        initial: [f32; N],
        rule: impl Rule<f32, N>,
    ) -> Result<()> {
        let Parameter { value, gradient, states, lazy } = self;
        let states = running(states, value, initial)?.each_mut();
        match gradient {
            Gradient::Dense(gradient) => value.update(gradient, states, rule)?,
            Gradient::Rows(rows) if lazy => value.update_rows(rows.rows(), rows.values(), states, rule)?,
            Gradient::Rows(rows) => value.update(&rows.to_dense()?, states, rule)?,
        }
        Ok(())
    }

    /// Whether some rows only are updated.
    pub(super) fn is_lazy(&self) -> bool {
        self.lazy
    }
}

/// `N` running values like `value`; those that are missing are made.
pub(super) fn running<'a, const N: usize>(
    states: &'a mut Vec<Tensor>,
    value: &Tensor,
    initial: [f32; N],
) -> Result<&'a mut [Tensor; N]> {
    for &start in initial.iter().skip(states.len()) {
        states.push(Tensor::full(value.dims(), start)?);
    }
    let found = states.len();
    states.first_chunk_mut().ok_or_else(|| Error::BadState(format!("{found} running values, not {N}")))
}

/// Every parameter that is not frozen must have a gradient: one that silently stays as it was is a bug that trains.
pub(super) fn check_gradients(model: &dyn Module, gradients: &Gradients) -> Result<()> {
    let mut paths = Vec::new();
    model.for_each_parameter(&mut |path, var| {
        if var.is_tracked() && gradients.get(var).is_none() {
            paths.push(path.to_owned());
        }
    });
    if paths.is_empty() { Ok(()) } else { Err(Error::NoGradient { paths }) }
}

/// The builder methods that all optimisers have, and [`Optimizer`](super::Optimizer) by a [`Formula`]. The type has a field
/// `common`.
macro_rules! optimizer {
    ($name:ident, $decay:literal) => {
        impl $name {
            #[doc = $decay]
            #[must_use]
            pub fn weight_decay(mut self, weight_decay: f64) -> Self {
                self.common.weight_decay = weight_decay;
                self
            }

            /// Gives the parameters whose paths fit a pattern settings of their own; `*` stands for any characters. Where
            /// several patterns fit, the first counts. One that fits no parameter is an error of the first step.
            #[must_use]
            pub fn group(mut self, pattern: impl Into<String>, group: $crate::Group) -> Self {
                self.common.add_group(pattern.into(), group);
                self
            }

            /// Whether a gradient for some rows changes those rows only, as is the default, or everything that a dense
            /// gradient with zeros elsewhere would change, which takes a pass over the whole parameter.
            #[must_use]
            pub fn lazy(mut self, lazy: bool) -> Self {
                self.common.lazy = lazy;
                self
            }
        }

        impl $crate::Optimizer for $name {
            fn step(
                &mut self,
                model: &mut dyn ::cairn_nn::Module,
                gradients: &::cairn_autograd::Gradients,
            ) -> $crate::Result<()> {
                // Settings and state are borrowed apart; the state is put back whatever happens.
                let mut common = std::mem::replace(&mut self.common, super::common::Common::new(0.0));
                let result = common.step(model, gradients, self);
                self.common = common;
                result
            }

            fn learning_rate(&self) -> f64 {
                self.common.rate
            }

            fn set_learning_rate(&mut self, rate: f64) {
                self.common.rate = rate;
            }

            fn state(&self) -> $crate::State {
                self.common.state(<Self as super::common::Formula>::KIND)
            }

            fn load_state(&mut self, state: $crate::State) -> $crate::Result<()> {
                self.common.load_state(<Self as super::common::Formula>::KIND, state)
            }
        }
    };
}
pub(super) use optimizer;
