//! What sets one optimiser apart from another: its update rule.
//!
//! A rule is asked once for each parameter of a step, and answers with a formula for one element (a
//! [`Rule`] of the tensor crate), which [`ParameterUpdate`] applies in one pass over memory. Everything around that, the walk
//! over the parameters and their running values, is the [`Core`](super::core::Core) that all optimisers share.

use cairn_autograd::Gradient;
use cairn_tensor::{Rule, Tensor};

use crate::{Error, Result, StateDict};

/// The part of an optimiser that is its own: its formula and its settings.
pub(super) trait UpdateRule: std::fmt::Debug {
    /// The name in a saved state.
    fn kind(&self) -> &'static str;

    /// An error for settings that make no sense.
    fn check(&self) -> Result<()>;

    /// Updates one parameter.
    fn apply(&self, parameter: ParameterUpdate<'_>, step: StepContext) -> Result<()>;

    /// Whether a parameter and its running values stay as they are where the gradient is 0.
    fn leaves_at_zero(&self, weight_decay: f64) -> bool {
        let _ = weight_decay;
        false
    }

    /// Whether an element's step depends on its own gradient and running values alone.
    fn is_elementwise(&self) -> bool {
        true
    }

    /// Brings state that the rule keeps for all parameters together up to date, after step number `step`.
    fn advance(&mut self, step: u64) {
        let _ = step;
    }

    /// Begins that state anew.
    fn reset(&mut self) {}

    /// The settings as text.
    fn settings(&self) -> String {
        format!("{self:?}")
    }

    /// Adds that state to a saved one.
    fn save(&self, state: &mut StateDict) {
        let _ = state;
    }

    /// Takes it over from a saved one; nothing changes if it is not there.
    fn load(&mut self, state: &StateDict) -> Result<()> {
        let _ = state;
        Ok(())
    }
}

/// What holds for one parameter in one step.
#[derive(Debug, Clone, Copy)]
pub(super) struct StepContext {
    /// The learning rate, that of the parameter's group.
    pub(super) rate: f64,
    /// The weight decay, that of the parameter's group.
    pub(super) weight_decay: f64,
    /// The number of the step, from 1.
    pub(super) number: u64,
}

/// One parameter in one step: its value, its gradient, and the running values kept for it.
pub(super) struct ParameterUpdate<'a> {
    pub(super) value: &'a mut Tensor,
    pub(super) gradient: &'a Gradient,
    pub(super) states: &'a mut Vec<Tensor>,
    /// Whether a gradient for some rows changes those rows only.
    pub(super) lazy: bool,
}

impl ParameterUpdate<'_> {
    /// Applies a formula, with running values that start at 0.
    pub(super) fn update<const N: usize>(self, rule: impl Rule<f32, N>) -> Result<()> {
        self.update_from([0.0; N], rule)
    }

    /// Applies a formula, with running values that start at `initial`.
    pub(super) fn update_from<const N: usize>(
        self,
        initial: [f32; N],
        rule: impl Rule<f32, N>,
    ) -> Result<()> {
        let ParameterUpdate { value, gradient, states, lazy } = self;
        let states = running(states, value, initial)?.each_mut();
        match gradient {
            Gradient::Dense(gradient) => value.update(gradient, states, rule)?,
            Gradient::Rows(rows) if lazy => value.update_rows(rows.rows(), rows.values(), states, rule)?,
            Gradient::Rows(rows) => value.update(&rows.to_dense()?, states, rule)?,
        }
        Ok(())
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
