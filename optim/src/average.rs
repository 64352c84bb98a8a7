//! The mean of the last few states of a model.

use std::collections::VecDeque;

use cairn_nn::Module;
use cairn_tensor::{Setting, Tensor};

use crate::ema::for_each_float;
use crate::{Error, Result, StateDict};

/// The name in a saved state.
const KIND: &str = "checkpoint average";

/// The mean of a model's parameters at its last checkpoints, say the ends of its last ten epochs, as transformers for translation
/// are evaluated (Vaswani et al. 2017, section 6.1): points around a minimum, the middle of which is nearer to it. Buffers are left
/// as they are. What is kept is as large as the model, for each checkpoint. As a callback of a [`Trainer`](crate::Trainer) it is the mean
/// of the last epochs.
///
/// ```
/// use cairn_nn::Linear;
/// use cairn_optim::CheckpointAverage;
/// use cairn_tensor::rng;
///
/// let model = Linear::new(4, 3, &mut rng(0))?;
/// let mut average = CheckpointAverage::new(10);
/// // after each epoch:
/// average.add(&model)?;
/// // to evaluate the mean of the last ten, or as many as there are:
/// average.swap(&model)?;
/// // … and to train on:
/// average.swap(&model)?;
/// # Ok::<(), cairn_optim::Error>(())
/// ```
#[doc(alias("average_checkpoints", "SWA", "AveragedModel"))]
#[derive(Debug, Clone)]
pub struct CheckpointAverage {
    count: usize,
    /// The oldest first; each has the parameters by their paths, in the order of the model.
    last: VecDeque<Vec<(String, Tensor)>>,
    /// The model's own parameters while it has the mean.
    own: Option<Vec<(String, Tensor)>>,
}

impl CheckpointAverage {
    /// Of the last `count` checkpoints.
    pub fn new(count: usize) -> Self {
        CheckpointAverage { count, last: VecDeque::new(), own: None }
    }

    /// Takes in the parameters as they are, and forgets the oldest where there are too many.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for a mean of none, and while the model has the mean in place of its own parameters;
    /// [`Error::OtherModel`] when the parameters are not those of earlier checkpoints.
    pub fn add(&mut self, model: &dyn Module) -> Result<()> {
        self.check_count()?;
        let swapped = usize::from(self.own.is_some());
        Setting::check("the number of means in the model", swapped, swapped == 0, "0: swap back first")?;
        let parameters = parameters(model);
        if let Some(before) = self.last.front() {
            check(before, &parameters)?;
        }
        self.last.push_back(parameters);
        if self.last.len() > self.count {
            self.last.pop_front();
        }
        Ok(())
    }

    /// Gives the model the mean of the checkpoints, and takes its own parameters; a second call gives them back. Nothing happens
    /// before the first checkpoint.
    ///
    /// # Errors
    /// [`Error::OtherModel`] when the parameters are not those of the checkpoints; when memory runs out.
    pub fn swap(&mut self, model: &dyn Module) -> Result<()> {
        let Some(first) = self.last.front() else { return Ok(()) };
        let now = parameters(model);
        check(first, &now)?;
        let (values, own) = match self.own.take() {
            Some(own) => (own, None),
            None => (self.mean()?, Some(now)),
        };
        let mut values = values.into_iter();
        for_each_float(model, &mut |_, parameter, _| {
            if let Some((_, value)) = values.next() {
                parameter.set(value);
            }
        });
        self.own = own;
        Ok(())
    }

    /// The number of checkpoints that the mean is of.
    pub fn len(&self) -> usize {
        self.last.len()
    }

    /// Whether there are none yet.
    pub fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    pub(crate) fn check_count(&self) -> Result<()> {
        Ok(Setting::check("the number of checkpoints", self.count, self.count > 0, "at least 1")?)
    }

    /// Forgets the checkpoints.
    pub(crate) fn forget(&mut self) {
        (self.last, self.own) = (VecDeque::new(), None);
    }

    /// The checkpoints, to be saved; whether the model has their mean is not part of it.
    pub fn state(&self) -> StateDict {
        let mut state = StateDict::new(KIND).with("checkpoints", self.last.len() as f64);
        for (number, checkpoint) in self.last.iter().enumerate() {
            let named = checkpoint.iter().map(|(path, value)| (name(number, path), value.clone().into()));
            state.tensors.extend(named);
        }
        state
    }

    /// Goes on from saved checkpoints of this model, the last of them where there are too many.
    ///
    /// # Errors
    /// [`Error::BadState`] when they are not of this model's parameters.
    pub fn load_state(&mut self, model: &dyn Module, state: &StateDict) -> Result<()> {
        state.require(KIND)?;
        let found = state.number("checkpoints")?;
        // Each has a tensor at least, so that no number makes a loop without end.
        let most = state.tensors.len() as f64;
        if !(0.0..=most).contains(&found) {
            return Err(Error::BadState(format!("`{KIND}` says that it has {found} checkpoints")));
        }
        let mut last = VecDeque::new();
        for number in (found as usize).saturating_sub(self.count)..found as usize {
            let mut checkpoint = parameters(model);
            for (path, value) in &mut checkpoint {
                let saved = state.tensor::<f32>(&name(number, path))?;
                if saved.shape() != value.shape() {
                    return Err(Error::BadState(format!("`{KIND}` has {path} in another shape")));
                }
                *value = saved.clone();
            }
            last.push_back(checkpoint);
        }
        (self.last, self.own) = (last, None);
        Ok(())
    }

    /// Sums in `f64`, the oldest first.
    fn mean(&self) -> Result<Vec<(String, Tensor)>> {
        let Some(first) = self.last.front() else { return Ok(Vec::new()) };
        let share = 1.0 / self.last.len() as f64;
        let mut means = Vec::with_capacity(first.len());
        for (i, (path, value)) in first.iter().enumerate() {
            let mut sum = Tensor::<f64>::zeros(value.dims())?;
            for checkpoint in &self.last {
                sum.add_assign(&checkpoint[i].1.cast()?)?;
            }
            means.push((path.clone(), sum.scale(share)?.cast()?));
        }
        Ok(means)
    }
}

/// What a parameter of a checkpoint is saved as.
fn name(number: usize, path: &str) -> String {
    format!("{number}.{path}")
}

fn parameters(model: &dyn Module) -> Vec<(String, Tensor)> {
    let mut all = Vec::new();
    for_each_float(model, &mut |path, _, value| all.push((path.to_owned(), value)));
    all
}

fn check(before: &[(String, Tensor)], now: &[(String, Tensor)]) -> Result<()> {
    let same = |(a, b): (&(String, Tensor), &(String, Tensor))| a.0 == b.0 && a.1.shape() == b.1.shape();
    match before.len() == now.len() && before.iter().zip(now).all(same) {
        true => Ok(()),
        false => Err(Error::OtherModel("its parameters are not those of the checkpoints".to_owned())),
    }
}
