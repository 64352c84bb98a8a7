//! What all optimisers share: meeting the parameters of a model, and walking over them with their gradients and running
//! values.
//!
//! A parameter is a cell with an identity, and its running values belong to it: the optimiser holds the cell beside them, so a
//! parameter that several layers of a model share is stepped once. In a saved state, which another process reads, running
//! values are known by the parameter's path.
//!
//! The core and the [`UpdateRule`] are two fields of an optimiser, so a step borrows both. The code here is compiled once,
//! whatever the rule.

use std::collections::{BTreeMap, HashMap};

use cairn_autograd::{Gradient, Gradients, Parameter};
use cairn_nn::{Module, Part, Visitor};
use cairn_tensor::{Setting, Tensor};

use super::group::{Group, Groups};
use super::rule::{ParameterUpdate, StepContext, UpdateRule};
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
    /// The slots of the model's parameters in its order, found anew for each step.
    order: Vec<usize>,
    /// Running values by path that were loaded and whose parameters have not come by yet.
    loaded: BTreeMap<String, Vec<Tensor>>,
}

/// A parameter, and what is saved of it from step to step.
#[derive(Debug, Clone)]
struct Slot {
    parameter: Parameter,
    /// All its paths in the model, the first of which is its name in a saved state.
    paths: Vec<String>,
    values: Vec<Tensor>,
}

impl Core {
    pub(super) fn new(rate: f64) -> Self {
        Core {
            rate,
            weight_decay: 0.0,
            lazy: false,
            groups: Groups::default(),
            steps: 0,
            slots: Vec::new(),
            order: Vec::new(),
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
        model: &dyn Module,
        gradients: &Gradients,
    ) -> Result<()> {
        self.check()?;
        rule.check()?;
        if !self.find(model) {
            self.meet(model)?;
            self.find(model);
        }
        self.check_gradients(gradients)?;
        self.check_finite(gradients)?;
        let number = self.steps + 1;
        let Core { slots, order, groups, lazy, .. } = self;
        for &at in &*order {
            let Slot { parameter, paths, values } = &mut slots[at];
            let Some(gradient) = gradients.get(parameter).filter(|_| parameter.is_trainable()) else {
                continue;
            };
            let (rate, weight_decay) = groups.settings(paths, self.rate, self.weight_decay);
            parameter.update(|value| {
                // Where the rest would stay as it is anyway, a pass over it is saved.
                let lazy = *lazy || rule.leaves_at_zero(weight_decay);
                let parameter = ParameterUpdate { value, gradient, states: values, lazy };
                rule.apply(parameter, StepContext { rate, weight_decay, number })
            })?;
        }
        rule.advance(number);
        self.steps = number;
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let rate = self.rate;
        Setting::check(
            "the learning rate",
            rate,
            rate >= 0.0 && rate.is_finite(),
            "finite and not negative",
        )?;
        Setting::check("the weight decay", self.weight_decay, self.weight_decay >= 0.0, "not negative")?;
        self.groups.check()
    }

    /// Finds the slots of a model's parameters; false if one has none. The order is that of the step before as a rule, so
    /// each is looked for after the one before it.
    fn find(&mut self, model: &dyn Module) -> bool {
        let Core { slots, order, .. } = self;
        order.clear();
        let (mut next, mut known) = (0, true);
        model.for_each_parameter(&mut |_, parameter| {
            let here = slots.get(next).is_some_and(|slot| slot.parameter.same(parameter));
            let found =
                if here { Some(next) } else { slots.iter().position(|slot| slot.parameter.same(parameter)) };
            match found {
                Some(at) => {
                    order.push(at);
                    next = at + 1;
                }
                None => known = false,
            }
        });
        known
    }

    /// Makes slots for the parameters that have none, with running values that were loaded under one of their paths.
    fn meet(&mut self, model: &dyn Module) -> Result<()> {
        let parameters = with_paths(model);
        if self.slots.is_empty() {
            self.groups.check_paths(&parameters.iter().flat_map(|(_, paths)| paths).collect::<Vec<_>>())?;
        }
        for (parameter, paths) in parameters {
            if self.slots.iter().any(|slot| slot.parameter.same(&parameter)) {
                continue;
            }
            self.replace(&parameter, &paths[0])?;
            let values = self.loaded_for(&parameter, &paths)?;
            self.slots.push(Slot { parameter, paths, values });
        }
        Ok(())
    }

    /// Takes the running values that were loaded for a parameter, if there are any.
    fn loaded_for(&mut self, parameter: &Parameter, paths: &[String]) -> Result<Vec<Tensor>> {
        let Some(path) = paths.iter().find(|path| self.loaded.contains_key(*path)) else {
            return Ok(Vec::new());
        };
        match self.loaded[path].iter().find(|value| value.shape() != &*parameter.shape()) {
            Some(value) => Err(other_model(path, value, parameter)),
            None => Ok(self.loaded.remove(path).unwrap_or_default()),
        }
    }

    /// Makes room for a new parameter at a path: running values of another one under that path must not get
    /// lost unnoticed.
    fn replace(&mut self, parameter: &Parameter, path: &str) -> Result<()> {
        match self.slots.iter().position(|slot| slot.paths[0] == path) {
            None => Ok(()),
            Some(at) => match self.slots[at].values.first() {
                Some(value) => Err(other_model(path, value, parameter)),
                None => {
                    self.slots.remove(at);
                    Ok(())
                }
            },
        }
    }

    /// Every parameter that is not frozen must have a gradient: one that silently stays as it was is a bug that trains.
    fn check_gradients(&self, gradients: &Gradients) -> Result<()> {
        let without =
            |slot: &&Slot| slot.parameter.is_trainable() && gradients.get(&slot.parameter).is_none();
        let slots = self.order.iter().map(|&at| &self.slots[at]);
        // Nothing is allocated where nothing is missing.
        let paths: Vec<String> = slots.filter(without).map(|slot| slot.paths[0].clone()).collect();
        if paths.is_empty() { Ok(()) } else { Err(Error::NoGradient { paths }) }
    }

    /// One NaN would make all of a parameter NaN, or of a running value, and leave no way back.
    fn check_finite(&self, gradients: &Gradients) -> Result<()> {
        for &at in &self.order {
            let Slot { parameter, paths, .. } = &self.slots[at];
            let Some(gradient) = gradients.get(parameter).filter(|_| parameter.is_trainable()) else {
                continue;
            };
            check_finite(&paths[0], gradient)?;
        }
        Ok(())
    }

    /// Whether the running values are a model's, as far as there are any.
    pub(super) fn is_of(&self, model: &dyn Module) -> bool {
        let mut known = self.slots.is_empty();
        model.for_each_parameter(&mut |_, parameter| {
            known |= self.slots.iter().any(|slot| slot.parameter.same(parameter));
        });
        known
    }

    pub(super) fn reset(&mut self, rule: &mut dyn UpdateRule) {
        self.slots.clear();
        self.loaded.clear();
        self.steps = 0;
        rule.reset();
    }

    pub(super) fn settings(&self, rule: &dyn UpdateRule) -> String {
        let Core { weight_decay, lazy, groups, .. } = self;
        let (kind, rule) = (rule.kind(), rule.settings());
        format!("`{kind}` with {rule}, weight decay {weight_decay}, lazy {lazy}, {groups:?}")
    }

    pub(super) fn state(&self, rule: &dyn UpdateRule) -> StateDict {
        let mut state =
            StateDict::new(rule.kind()).with("learning_rate", self.rate).with("steps", self.steps as f64);
        let met = self.slots.iter().map(|slot| (&slot.paths[0], &slot.values));
        for (path, values) in met.chain(&self.loaded) {
            for (i, value) in values.iter().enumerate() {
                state.tensors.insert(format!("{path}/{i}"), value.clone().into());
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
        for name in state.tensors.keys() {
            let (path, _) =
                name.rsplit_once('/').ok_or_else(|| Error::BadState(format!("`{name}` has no number")))?;
            loaded.entry(path.to_owned()).or_default().push(state.tensor(name)?.clone());
        }
        rule.load(state)?;
        (self.rate, self.steps, self.loaded) = (rate, steps as u64, loaded);
        self.slots.clear();
        Ok(())
    }
}

/// An error for a gradient that is NaN or infinite somewhere.
pub(super) fn check_finite(path: &str, gradient: &Gradient) -> Result<()> {
    let values = gradient.values();
    if values.all_finite()? {
        return Ok(());
    }
    let value = values.iter().find(|x| !x.is_finite()).map_or(f64::NAN, f64::from);
    Err(Error::NonFinite { what: format!("the gradient of {path}"), value })
}

/// The parameters of a model in order, each with all its paths.
fn with_paths(model: &dyn Module) -> Vec<(Parameter, Vec<String>)> {
    let mut parameters: Vec<(Parameter, Vec<String>)> = Vec::new();
    let mut positions = HashMap::new();
    model.visit(&mut Visitor::every_path(&mut |path, part| {
        if let Part::Parameter(parameter) = part {
            let at = *positions.entry(parameter.id()).or_insert(parameters.len());
            if at == parameters.len() {
                parameters.push((parameter.clone(), Vec::new()));
            }
            parameters[at].1.push(path.to_owned());
        }
    }));
    parameters
}

fn other_model(path: &str, value: &Tensor, parameter: &Parameter) -> Error {
    Error::OtherModel(format!(
        "{path} was a parameter of shape {}, now is another one, of shape {}; take a new optimiser, or `load_state`",
        value.dims(),
        parameter.shape()
    ))
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

            /// Whether a gradient for some rows, that of an embedding, changes those rows only. By default it does what a dense gradient with
            /// zeros elsewhere does, as in PyTorch and Keras: running values decay in all rows and move them on, which takes a pass over
            /// the whole table. `lazy(true)` is much faster for large tables, and another formula: PyTorch's `SparseAdam`.
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
                model: &dyn ::cairn_nn::Module,
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

            fn settings(&self) -> String {
                self.core.settings(&self.rule)
            }

            fn is_elementwise(&self) -> bool {
                $crate::optimizers::rule::UpdateRule::is_elementwise(&self.rule)
            }

            fn is_of(&self, model: &dyn ::cairn_nn::Module) -> bool {
                self.core.is_of(model)
            }

            fn reset(&mut self) {
                self.core.reset(&mut self.rule);
            }
        }
    };
}
pub(super) use optimizer;
