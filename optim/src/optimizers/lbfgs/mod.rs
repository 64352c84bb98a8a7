//! L-BFGS: a quasi-Newton method for problems whose loss is computed over all data at once.

mod curvature;
mod wolfe;

use cairn_autograd::Parameter;
use cairn_nn::Module;
use cairn_tensor::{Setting, Tensor};

use self::curvature::{Curvature, Last, dot};
use self::wolfe::Point;
use super::closure::{ClosureOptimizer, Objective};
use super::core::check_finite;
use crate::{Error, Result, StateDict};

/// The name in a saved state.
const KIND: &str = "lbfgs";

/// Limited-memory BFGS (Liu and Nocedal 1989): the last few changes of parameters and gradient stand for the curvature,
/// and a step goes where a quadratic of that curvature has its minimum.
///
/// A step needs the loss at several points, so it takes a closure in place of gradients; the loss must be the same
/// function each time (all data, no dropout). Defaults as in PyTorch: rate 1, at most 20 iterations and 25 evaluations a
/// step, 100 changes saved, no line search. With [`strong_wolfe`](Self::strong_wolfe) it finds its step sizes itself.
///
/// In a [`Trainer`](crate::Trainer) each step lowers the loss of its batch, or of all batches that
/// [`accumulate`](crate::Fit::accumulate) makes one of: computed again wherever the step looks, with the same random numbers.
/// One batch of all samples is where it is at home; small batches mislead it, since the change of the gradient from one to
/// the next says as much about the samples as about the curvature.
///
/// ```
/// use cairn_nn::{Linear, mse};
/// use cairn_optim::{ClosureOptimizer, Lbfgs};
/// use cairn_tensor::{Tensor, rng};
///
/// let model = Linear::new(1, 1, &mut rng(0))?;
/// let x = Tensor::linspace(-1.0, 1.0, 20)?.reshape([20, 1])?;
/// let y = x.scale(3.0)?;
/// let mut lbfgs = Lbfgs::default().strong_wolfe(true);
/// lbfgs.minimize(&model, |model| mse(&model.forward(&x.clone().into())?, &y))?;
/// assert!((model.weight.value().item()? - 3.0).abs() < 1e-4);
/// # Ok::<(), cairn_optim::Error>(())
/// ```
///
/// ```
/// use cairn_datasets::{Dataset, synthetic};
/// use cairn_nn::{Sequential, SparseCategoricalCrossentropy, spec::Dense};
/// use cairn_optim::{Fit, Lbfgs, Trainer};
///
/// let digits = synthetic::digits(200, 1)?.flatten();
/// let model = Sequential::new([784]).add(Dense::new(10)).build(&mut cairn_tensor::rng(0))?;
/// let mut trainer = Trainer::new(Lbfgs::default().strong_wolfe(true), SparseCategoricalCrossentropy);
/// trainer.fit(&model, &digits, Fit::epochs(2).batch_size(digits.len()).quiet())?;
/// assert!(trainer.evaluate(&model, &digits)?.loss() < 0.01);
/// # Ok::<(), cairn_optim::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Lbfgs {
    rate: f64,
    max_iterations: usize,
    history_size: usize,
    tolerance_gradient: f64,
    tolerance_change: f64,
    strong_wolfe: bool,
    curvature: Curvature,
    /// The parameters that the curvature is of, where that is known.
    parameters: Vec<u64>,
}

impl Default for Lbfgs {
    fn default() -> Self {
        Lbfgs::new(1.0)
    }
}

impl Lbfgs {
    /// L-BFGS with this learning rate.
    pub fn new(rate: f64) -> Self {
        Lbfgs {
            rate,
            max_iterations: 20,
            history_size: 100,
            tolerance_gradient: 1e-7,
            tolerance_change: 1e-9,
            strong_wolfe: false,
            curvature: Curvature::default(),
            parameters: Vec::new(),
        }
    }

    /// With another limit on the iterations of a step; evaluations of the loss are limited to 5/4 of it.
    #[must_use]
    pub fn max_iterations(self, max_iterations: usize) -> Self {
        Lbfgs { max_iterations, ..self }
    }

    /// With another number of saved changes.
    #[must_use]
    pub fn history_size(self, history_size: usize) -> Self {
        Lbfgs { history_size, ..self }
    }

    /// Ends a step when no element of the gradient is above the first, or of a change above the second.
    #[must_use]
    pub fn tolerances(self, gradient: f64, change: f64) -> Self {
        Lbfgs { tolerance_gradient: gradient, tolerance_change: change, ..self }
    }

    /// Searches along each direction for a point that fulfils the strong Wolfe conditions.
    #[must_use]
    pub fn strong_wolfe(self, strong_wolfe: bool) -> Self {
        Lbfgs { strong_wolfe, ..self }
    }

    /// The iterations of a step, from a point with this loss and gradient.
    fn iterate(&mut self, objective: &mut dyn Objective, first: f64, mut gradient: Vec<f32>) -> Result<()> {
        let (mut value, mut evaluations) = (first, 1);
        for iteration in 1..=self.max_iterations {
            if largest(&gradient) <= self.tolerance_gradient {
                break;
            }
            let (direction, start) = self.curvature.direction(&gradient, self.rate, self.history_size)?;
            let slope = dot(&gradient, &direction);
            if slope > -self.tolerance_change {
                self.curvature.last = Some(Last::new(gradient, direction, start)?);
                break;
            }
            let before = (value, gradient.clone());
            let origin = values(objective.model());
            let size = if self.strong_wolfe {
                let here = Point { at: 0.0, value, slope, gradient: std::mem::take(&mut gradient) };
                let along = |at: f64| {
                    write(objective.model(), &origin, &direction, at)?;
                    evaluations += 1;
                    let (value, gradient) = evaluate(objective)?;
                    let slope = dot(&gradient, &direction);
                    Ok(Point { at, value, slope, gradient })
                };
                let found = wolfe::search(&here, start, largest(&direction), self.tolerance_change, along)?;
                write(objective.model(), &origin, &direction, found.at)?;
                (value, gradient) = (found.value, found.gradient);
                found.at
            } else {
                write(objective.model(), &origin, &direction, start)?;
                // The point that the step ends at is evaluated by the next one.
                if iteration < self.max_iterations {
                    (value, gradient) = evaluate(objective)?;
                    evaluations += 1;
                }
                start
            };
            let moved = largest(&direction) * size;
            self.curvature.last = Some(Last::new(before.1, direction, size)?);
            let still = moved <= self.tolerance_change || (value - before.0).abs() < self.tolerance_change;
            if evaluations >= self.max_iterations.saturating_mul(5) / 4 || still {
                break;
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let rate = self.rate;
        Setting::check("the learning rate", rate, rate > 0.0 && rate.is_finite(), "finite and above 0")?;
        Setting::check("the history", self.history_size, self.history_size > 0, "at least 1")?;
        Ok(Setting::check(
            "the number of iterations",
            self.max_iterations,
            self.max_iterations > 0,
            "at least 1",
        )?)
    }

    /// The curvature of one model says nothing about another, if it is of the same size.
    fn check_model(&mut self, model: &dyn Module) -> Result<()> {
        let now = parameters(model);
        if self.curvature.last.is_some() && !self.parameters.is_empty() && self.parameters != now {
            let other = "its curvature is of other parameters; take a new optimiser, or `reset`";
            return Err(Error::OtherModel(other.into()));
        }
        self.parameters = now;
        Ok(())
    }

    fn check_size(&self, now: usize) -> Result<()> {
        match &self.curvature.last {
            Some(Last { gradient: was, .. }) if was.len() != now => {
                Err(Error::OtherModel(format!("it had {} trained values, now there are {now}", was.len())))
            }
            _ => Ok(()),
        }
    }
}

impl ClosureOptimizer for Lbfgs {
    fn step(&mut self, objective: &mut dyn Objective) -> Result<f64> {
        self.check()?;
        self.check_model(objective.model())?;
        let (first, gradient) = evaluate(objective)?;
        self.check_size(gradient.len())?;
        let origin = values(objective.model());
        let result = self.iterate(objective, first, gradient);
        if result.is_err() {
            self.curvature = Curvature::default();
            write(objective.model(), &origin, &vec![0.0; origin.len()], 0.0)?;
        }
        result.map(|()| first)
    }

    fn learning_rate(&self) -> f64 {
        self.rate
    }

    fn set_learning_rate(&mut self, rate: f64) {
        self.rate = rate;
    }

    fn state(&self) -> StateDict {
        self.curvature.write(StateDict::new(KIND).with("learning_rate", self.rate))
    }

    fn load_state(&mut self, state: StateDict) -> Result<()> {
        state.require(KIND)?;
        (self.rate, self.curvature) = (state.number("learning_rate")?, Curvature::read(&state)?);
        self.parameters.clear();
        Ok(())
    }

    fn settings(&self) -> String {
        let Lbfgs {
            max_iterations, history_size, tolerance_gradient, tolerance_change, strong_wolfe, ..
        } = self;
        format!(
            "`{KIND}` with {max_iterations} iterations, history {history_size}, tolerances {tolerance_gradient} and \
             {tolerance_change}, strong Wolfe {strong_wolfe}"
        )
    }

    fn is_of(&self, model: &dyn Module) -> bool {
        self.parameters.is_empty() || self.parameters == parameters(model)
    }

    fn reset(&mut self) {
        self.curvature = Curvature::default();
        self.parameters.clear();
    }
}

/// The identities of what is trained, in order.
fn parameters(model: &dyn Module) -> Vec<u64> {
    let mut ids = Vec::new();
    for_each_trained(model, &mut |_, parameter| ids.push(parameter.id()));
    ids
}

/// Loss and gradient, all trained values in a row.
fn evaluate(objective: &mut dyn Objective) -> Result<(f64, Vec<f32>)> {
    let (value, gradients) = objective.evaluate()?;
    if !value.is_finite() {
        return Err(Error::NonFinite { what: "the loss".into(), value });
    }
    let (mut flat, mut paths, mut result) = (Vec::new(), Vec::new(), Ok(()));
    for_each_trained(objective.model(), &mut |path, parameter| match gradients.get(parameter) {
        None => paths.push(path.to_owned()),
        Some(gradient) => {
            let dense = check_finite(path, gradient).and_then(|()| Ok(gradient.to_dense()?));
            match dense {
                Ok(gradient) => flat.extend(gradient.iter()),
                Err(error) if result.is_ok() => result = Err(error),
                Err(_) => {}
            }
        }
    });
    result?;
    if paths.is_empty() { Ok((value, flat)) } else { Err(Error::NoGradient { paths }) }
}

/// All trained values in a row.
fn values(model: &dyn Module) -> Vec<f32> {
    let mut flat = Vec::new();
    for_each_trained(model, &mut |_, parameter| flat.extend(parameter.value().iter()));
    flat
}

/// Sets all trained values to origin + size · direction.
fn write(model: &dyn Module, origin: &[f32], direction: &[f32], size: f64) -> Result<()> {
    let (mut at, mut result) = (0, Ok(()));
    for_each_trained(model, &mut |_, parameter| {
        let part = at..at + parameter.len();
        at = part.end;
        let moved = origin[part.clone()].iter().zip(&direction[part]).map(|(x, d)| x + size as f32 * d);
        match Tensor::from_vec(moved.collect(), parameter.shape()) {
            Ok(value) => parameter.set(value),
            Err(error) => result = Err(error),
        }
    });
    Ok(result?)
}

fn for_each_trained(model: &dyn Module, f: &mut dyn FnMut(&str, &Parameter)) {
    model.for_each_parameter(&mut |path, parameter| {
        if parameter.is_trainable() {
            f(path, parameter);
        }
    });
}

fn largest(values: &[f32]) -> f64 {
    values.iter().fold(0.0, |largest: f64, x| largest.max(f64::from(x.abs())))
}
