//! What all optimisers share: walking over the parameters with their gradients and running values.
//!
//! An optimiser is a formula for one element (a [`Rule`]) and a few settings. Running values are kept by position in the
//! model's order of parameters, with the path beside them, so a model that has been cloned or loaded meets its state again,
//! and another model is noticed.
//!
//! # Sparse gradients
//! For a parameter whose gradient has some rows only (an embedding), just those rows and their running values are updated:
//! the *lazy* rule, also that of PyTorch's `SparseAdam`. Rows that were not looked up keep their moments; momentum and
//! weight decay act on a row when it is touched.

use cairn_autograd::{Gradient, Gradients};
use cairn_nn::Module;
use cairn_tensor::{Rule, Tensor};

use crate::{Error, Result};

/// Changes a model's parameters by their gradients.
pub trait Optimizer {
    /// One step: every parameter that is not frozen, in one pass over memory.
    ///
    /// # Errors
    /// [`Error::NoGradient`] naming parameters that the loss does not depend on (nothing is changed then);
    /// [`Error::BadSetting`]; [`Error::OtherModel`] when the model is not the one of earlier steps.
    fn step(&mut self, model: &mut dyn Module, gradients: &Gradients) -> Result<()>;

    /// The learning rate.
    fn learning_rate(&self) -> f64;

    /// Sets the learning rate for the steps to come.
    fn set_learning_rate(&mut self, rate: f64);
}

/// `N` running values for each parameter.
#[derive(Debug, Clone)]
pub(crate) struct Slots<const N: usize> {
    slots: Vec<Slot<N>>,
}

#[derive(Debug, Clone)]
struct Slot<const N: usize> {
    path: String,
    values: [Tensor; N],
}

impl<const N: usize> Default for Slots<N> {
    fn default() -> Self {
        Slots { slots: Vec::new() }
    }
}

impl<const N: usize> Slots<N> {
    /// Applies a rule to every parameter that is not frozen.
    pub(crate) fn step(
        &mut self,
        model: &mut dyn Module,
        gradients: &Gradients,
        rule: impl Rule<f32, N>,
    ) -> Result<()> {
        check_gradients(model, gradients)?;
        let (slots, mut position, mut result) = (&mut self.slots, 0, Ok(()));
        model.for_each_parameter_mut(&mut |path, var| {
            let slot = slot(slots, position, path, var.value());
            position += 1;
            let Some(gradient) = gradients.get(var).filter(|_| var.is_tracked()) else { return };
            if result.is_ok() {
                result = slot.and_then(|slot| {
                    var.update(|value| {
                        let states = slot.values.each_mut();
                        match gradient {
                            Gradient::Dense(gradient) => value.update(gradient, states, rule),
                            Gradient::Rows(rows) => {
                                value.update_rows(rows.rows(), rows.values(), states, rule)
                            }
                        }
                    })
                    .map_err(Error::from)
                });
            }
        });
        result
    }
}

/// The running values of the parameter at a position, zeros at first.
fn slot<'a, const N: usize>(
    slots: &'a mut Vec<Slot<N>>,
    position: usize,
    path: &str,
    value: &Tensor,
) -> Result<&'a mut Slot<N>> {
    if position == slots.len() {
        let mut values = Vec::with_capacity(N);
        for _ in 0..N {
            values.push(Tensor::zeros(value.dims())?);
        }
        // `values` holds N tensors by the loop above.
        let values = values.try_into().map_err(|_| Error::OtherModel("no room".into()))?;
        slots.push(Slot { path: path.to_owned(), values });
    }
    let slot = &mut slots[position];
    let same = slot.path == path && slot.values.iter().all(|state| state.shape() == value.shape());
    if same {
        return Ok(slot);
    }
    let was = slot.values.first().map_or(String::new(), |state| format!(" of shape {}", state.dims()));
    Err(Error::OtherModel(format!(
        "parameter {position} was {}{was}, now is {path} of shape {}",
        slot.path,
        value.dims()
    )))
}

/// Every parameter that is not frozen must have a gradient: one that silently stays as it was is a bug that trains.
fn check_gradients(model: &dyn Module, gradients: &Gradients) -> Result<()> {
    let mut paths = Vec::new();
    model.for_each_parameter(&mut |path, var| {
        if var.is_tracked() && gradients.get(var).is_none() {
            paths.push(path.to_owned());
        }
    });
    if paths.is_empty() { Ok(()) } else { Err(Error::NoGradient { paths }) }
}
