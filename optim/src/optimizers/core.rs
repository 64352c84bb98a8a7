//! What all optimisers share: walking over the parameters with their gradients and running values.
//!
//! Running values are kept by position in the model's order of parameters, with the path beside them, so a model that has
//! been cloned or loaded meets its state again, and another model is noticed. The core and the [`UpdateRule`] are two fields
//! of an optimiser, so a step borrows both; the code here is compiled once, whatever the rule.

use std::collections::BTreeMap;

use cairn_autograd::Gradients;
use cairn_nn::Module;
use cairn_tensor::Tensor;

use super::group::{Group, Groups};
use super::rule::{ParameterUpdate, StepContext, UpdateRule};
use crate::error::check;
use crate::{Error, Result, StateDict};

/// The settings and the state that every optimiser has.
#[derive(Debug, Clone)]
pub(super) struct Core {
    pub(super) rate: f64,
    pub(super) weight_decay: f64,
    pub(super) lazy: bool,
    groups: Groups,
    steps: u64,
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

impl Core {
    pub(super) fn new(rate: f64) -> Self {
        Core {
            rate,
            weight_decay: 0.0,
            lazy: true,
            groups: Groups::default(),
            steps: 0,
            slots: Vec::new(),
            loaded: BTreeMap::new(),
        }
    }

    pub(super) fn add_group(&mut self, pattern: String, group: Group) {
        self.groups.add(pattern, group);
    }

    /// Applies a rule to every parameter that is not frozen.
    pub(super) fn step(
        &mut self,
        rule: &mut dyn UpdateRule,
        model: &mut dyn Module,
        gradients: &Gradients,
    ) -> Result<()> {
        self.check()?;
        rule.check()?;
        check_gradients(model, gradients)?;
        if self.slots.is_empty() {
            self.check_groups(model)?;
        }
        let step = self.steps + 1;
        let (mut position, mut result) = (0, Ok(()));
        model.for_each_parameter_mut(&mut |path, var| {
            let slot = slot(&mut self.slots, &mut self.loaded, position, path, var.value());
            position += 1;
            let Some(gradient) = gradients.get(var).filter(|_| var.is_tracked()) else { return };
            if result.is_err() {
                return;
            }
            let (rate, weight_decay) = self.groups.settings(path, self.rate, self.weight_decay);
            result = slot.and_then(|states| {
                var.update(|value| {
                    let parameter = ParameterUpdate { value, gradient, states, lazy: self.lazy };
                    rule.apply(parameter, StepContext { rate, weight_decay, number: step })
                })
            });
        });
        result?;
        rule.advance(step);
        self.steps = step;
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

    pub(super) fn state(&self, rule: &dyn UpdateRule) -> StateDict {
        let mut state =
            StateDict::new(rule.kind()).with("learning_rate", self.rate).with("steps", self.steps as f64);
        let met = self.slots.iter().map(|slot| (&slot.path, &slot.values));
        for (path, values) in met.chain(&self.loaded) {
            for (i, value) in values.iter().enumerate() {
                state.tensors.insert(format!("{path}/{i}"), value.clone());
            }
        }
        rule.save(&mut state);
        state
    }

    pub(super) fn load_state(&mut self, rule: &mut dyn UpdateRule, state: &StateDict) -> Result<()> {
        state.require(rule.kind())?;
        let (rate, steps) = (state.number("learning_rate")?, state.number("steps")?);
        let mut loaded: BTreeMap<String, Vec<Tensor>> = BTreeMap::new();
        // Names sort by path and then number, of which there are fewer than ten.
        for (name, value) in &state.tensors {
            let (path, _) =
                name.rsplit_once('/').ok_or_else(|| Error::BadState(format!("`{name}` has no number")))?;
            loaded.entry(path.to_owned()).or_default().push(value.clone());
        }
        rule.load(&state)?;
        (self.rate, self.steps, self.loaded) = (rate, steps as u64, loaded);
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

/// The builder methods that all optimisers have, and [`Optimizer`](super::Optimizer). The type has two fields: `core`, a
/// [`Core`], and `rule`, an [`UpdateRule`].
macro_rules! optimizer {
    ($name:ident, $decay:literal) => {
        impl $name {
            #[doc = $decay]
            #[must_use]
            pub fn weight_decay(mut self, weight_decay: f64) -> Self {
                self.core.weight_decay = weight_decay;
                self
            }

            /// Gives the parameters whose paths fit a pattern other settings than the rest; `*` matches any characters. Where
            /// several patterns fit, the first counts. One that fits no parameter is an error of the first step.
            #[doc(alias = "param_groups")]
            #[must_use]
            pub fn group(mut self, pattern: impl Into<String>, group: $crate::Group) -> Self {
                self.core.add_group(pattern.into(), group);
                self
            }

            /// Whether a gradient for some rows changes those rows only, as is the default, or everything that a dense
            /// gradient with zeros elsewhere would change, which takes a pass over the whole parameter.
            #[doc(alias = "SparseAdam")]
            #[must_use]
            pub fn lazy(mut self, lazy: bool) -> Self {
                self.core.lazy = lazy;
                self
            }
        }

        impl $crate::Optimizer for $name {
            fn step(
                &mut self,
                model: &mut dyn ::cairn_nn::Module,
                gradients: &::cairn_autograd::Gradients,
            ) -> $crate::Result<()> {
                self.core.step(&mut self.rule, model, gradients)
            }

            fn learning_rate(&self) -> f64 {
                self.core.rate
            }

            fn set_learning_rate(&mut self, rate: f64) {
                self.core.rate = rate;
            }

            fn state(&self) -> $crate::StateDict {
                self.core.state(&self.rule)
            }

            fn load_state(&mut self, state: $crate::StateDict) -> $crate::Result<()> {
                self.core.load_state(&mut self.rule, &state)
            }
        }
    };
}
pub(super) use optimizer;
