//! Averages of weights over the steps of training.

use cairn_autograd::Parameter;
use cairn_nn::Module;
use cairn_tensor::{AnyTensor, Isa, Rule, Setting, Tensor};

use crate::{Error, Result, StateDict};

/// The name in a saved state.
const KIND: &str = "ema";

/// The exponential moving average of a model's parameters (Polyak and Juditsky 1992): a ← decay · a + (1 - decay) · p
/// after each step. Evaluated in place of the parameters it is usually the better model. Buffers are left as they are. A
/// parameter that several layers share has one average.
///
/// ```
/// use cairn_nn::Linear;
/// use cairn_optim::Ema;
/// use cairn_tensor::rng;
///
/// let model = Linear::new(4, 3, &mut rng(0))?;
/// let mut ema = Ema::new(0.999);
/// // after each step of the optimiser:
/// ema.update(&model)?;
/// // to evaluate:
/// ema.swap(&model)?;
/// // … and to train on:
/// ema.swap(&model)?;
/// # Ok::<(), cairn_optim::Error>(())
/// ```
#[doc(alias = "AveragedModel")]
#[doc(alias = "ExponentialMovingAverage")]
#[derive(Debug, Clone)]
pub struct Ema {
    decay: f64,
    averages: Vec<(String, Tensor)>,
}

impl Ema {
    /// An average with this decay, from 0 to below 1; it starts at the parameters of the first update.
    pub fn new(decay: f64) -> Self {
        Ema { decay, averages: Vec::new() }
    }

    /// Takes in the parameters after a step, in one pass over memory.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for a decay outside its range; [`Error::OtherModel`] when the parameters are not those of
    /// earlier updates.
    pub fn update(&mut self, model: &dyn Module) -> Result<()> {
        Setting::check("the decay", self.decay, (0.0..1.0).contains(&self.decay), "from 0 to below 1")?;
        if self.averages.is_empty() {
            for_each_float(model, &mut |path, _, value| self.averages.push((path.to_owned(), value)));
            return Ok(());
        }
        self.check(model)?;
        let rule = Towards((1.0 - self.decay) as f32);
        let (mut averages, mut result) = (self.averages.iter_mut(), Ok(()));
        for_each_float(model, &mut |_, _, value| {
            if let (Some((_, average)), Ok(())) = (averages.next(), &result) {
                result = average.update(&value, [], rule);
            }
        });
        Ok(result?)
    }

    /// Exchanges the averages with the model's parameters. A second call restores both. Nothing happens before the first
    /// update.
    ///
    /// # Errors
    /// [`Error::OtherModel`] when the parameters are not those of earlier updates.
    pub fn swap(&mut self, model: &dyn Module) -> Result<()> {
        if self.averages.is_empty() {
            return Ok(());
        }
        self.check(model)?;
        let mut averages = self.averages.iter_mut();
        for_each_float(model, &mut |_, parameter, value| {
            if let Some((_, average)) = averages.next() {
                parameter.set(std::mem::replace(average, value));
            }
        });
        Ok(())
    }

    /// Forgets the averages.
    pub(crate) fn forget(&mut self) {
        self.averages.clear();
    }

    /// The averages, to be saved.
    pub fn state(&self) -> StateDict {
        let averages = self.averages.iter().map(|(path, average)| (path.clone(), average.clone().into()));
        StateDict { tensors: averages.collect(), ..StateDict::new(KIND) }
    }

    /// Goes on from saved averages of this model.
    ///
    /// # Errors
    /// [`Error::BadState`] when they are not the averages of this model's parameters.
    pub fn load_state(&mut self, model: &dyn Module, state: &StateDict) -> Result<()> {
        state.require(KIND)?;
        let (mut averages, mut missing) = (Vec::new(), None);
        for_each_float(model, &mut |path, _, value| match state.tensor::<f32>(path) {
            Ok(average) if average.shape() == value.shape() => {
                averages.push((path.to_owned(), average.clone()));
            }
            _ => missing = Some(path.to_owned()),
        });
        match missing {
            Some(path) if !state.tensors.is_empty() => {
                return Err(Error::BadState(format!("`{KIND}` has no average for {path}")));
            }
            // Saved before the first update.
            Some(_) => self.averages.clear(),
            None => self.averages = averages,
        }
        Ok(())
    }

    fn check(&self, model: &dyn Module) -> Result<()> {
        let (mut averages, mut other) = (self.averages.iter(), None);
        for_each_float(model, &mut |path, _, value| match averages.next() {
            Some((own, average)) if own == path && average.shape() == value.shape() => {}
            _ => other = Some(path.to_owned()),
        });
        match other.or_else(|| averages.next().map(|(path, _)| path.clone())) {
            None => Ok(()),
            Some(path) => Err(Error::OtherModel(format!("it has no average for {path}"))),
        }
    }
}

/// Calls `f` with each parameter and its value. Those stored in another type than `f32` are at inference only and are passed
/// over: no step changes them.
pub(crate) fn for_each_float(model: &dyn Module, f: &mut dyn FnMut(&str, &Parameter, Tensor)) {
    model.for_each_parameter(&mut |path, parameter| {
        if let AnyTensor::F32(value) = parameter.any() {
            f(path, parameter, value);
        }
    });
}

/// Moves an average towards the parameter, which takes the place of the gradient here.
#[derive(Clone, Copy)]
struct Towards(f32);

impl Rule<f32, 0> for Towards {
    #[inline(always)]
    fn update<S: Isa>(self, average: &mut f32, now: f32, []: [&mut f32; 0]) {
        *average += self.0 * (now - *average);
    }
}
