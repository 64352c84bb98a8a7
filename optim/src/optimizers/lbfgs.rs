//! L-BFGS: a quasi-Newton method for problems whose loss is computed over all data at once.

use std::collections::VecDeque;

use cairn_autograd::{Gradients, Var};
use cairn_nn::Module;
use cairn_tensor::Tensor;

use super::Optimizer;
use super::common::check_gradients;
use super::objective::{Closure, Objective};
use super::wolfe::{self, Point};
use crate::error::check;
use crate::{Error, Result, State};

/// The name in a saved state.
const KIND: &str = "lbfgs";

/// Limited-memory BFGS (Liu and Nocedal 1989): the last few changes of parameters and gradient stand for the curvature,
/// and a step goes where a quadratic of that curvature has its minimum.
///
/// A step needs the loss at several points, so it takes a closure in place of gradients; the loss must be the same
/// function each time (all data, no dropout). Defaults as in PyTorch: rate 1, at most 20 iterations and 25 evaluations a
/// step, 100 changes kept, no line search. With [`strong_wolfe`](Self::strong_wolfe) it finds its step sizes itself.
///
/// In a [`Trainer`](crate::Trainer) each step lowers the loss of its batch, or of all batches that
/// [`accumulate`](crate::Fit::accumulate) makes one of: computed again wherever the step looks, with the same random numbers.
/// One batch of all samples is where it is at home; small batches mislead it, since the change of the gradient from one to
/// the next says as much about the samples as about the curvature.
///
/// ```
/// use cairn_nn::{Linear, mse};
/// use cairn_optim::Lbfgs;
/// use cairn_tensor::{Tensor, rng};
///
/// let mut model = Linear::new(1, 1, &mut rng(0))?;
/// let x = Tensor::linspace(-1.0, 1.0, 20)?.reshape([20, 1])?;
/// let y = x.scale(3.0)?;
/// let mut lbfgs = Lbfgs::default().strong_wolfe(true);
/// lbfgs.step(&mut model, |model| mse(&model.forward(&x.clone().into())?, &y))?;
/// assert!((model.weight.item()? - 3.0).abs() < 1e-4);
/// # Ok::<(), cairn_optim::Error>(())
/// ```
///
/// ```
/// use cairn_datasets::{Dataset, synthetic};
/// use cairn_nn::{Dense, Sequential, SparseCategoricalCrossentropy};
/// use cairn_optim::{Fit, Lbfgs, Trainer};
///
/// let digits = synthetic::digits(200, 1)?.flatten();
/// let mut model = Sequential::new([784]).add(Dense::new(10)).build(&mut cairn_tensor::rng(0))?;
/// let mut trainer = Trainer::new(Lbfgs::default().strong_wolfe(true), SparseCategoricalCrossentropy);
/// trainer.fit(&mut model, &digits, Fit::epochs(2).batch_size(digits.len()).quiet())?;
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
    past: Past,
}

/// What is kept from iteration to iteration.
#[derive(Debug, Clone, Default)]
struct Past {
    changes: VecDeque<Change>,
    /// Scale of the curvature before any change is taken into account.
    scale: f64,
    last: Option<Last>,
}

/// The last iteration: its gradient, direction and step size.
#[derive(Debug, Clone)]
struct Last {
    gradient: Tensor,
    direction: Tensor,
    size: f64,
}

/// A change of the parameters and of the gradient with it. Tensors, so that a saved state shares them.
#[derive(Debug, Clone)]
struct Change {
    step: Tensor,
    gradient: Tensor,
    /// 1 / (step · gradient).
    rho: f64,
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
            past: Past::default(),
        }
    }

    /// With another limit on the iterations of a step; evaluations of the loss are limited to 5/4 of it.
    #[must_use]
    pub fn max_iterations(self, max_iterations: usize) -> Self {
        Lbfgs { max_iterations, ..self }
    }

    /// Keeps so many changes.
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

    /// Lowers `loss` by several iterations; returns the loss before the first.
    ///
    /// # Errors
    /// Those of `loss`, after which the model is as before and the curvature forgotten; [`Error::NoGradient`],
    /// [`Error::BadSetting`]; [`Error::OtherModel`] when the number of values has changed since the last step.
    pub fn step<M: Module>(
        &mut self,
        model: &mut M,
        loss: impl FnMut(&M) -> cairn_nn::Result<Var>,
    ) -> Result<f32> {
        Ok(self.lower(&mut Closure { model, loss })? as f32)
    }

    fn lower(&mut self, objective: &mut dyn Objective) -> Result<f64> {
        self.check()?;
        let (first, gradient) = evaluate(objective)?;
        self.check_size(gradient.len())?;
        let origin = values(objective.model());
        let result = self.iterate(objective, first, gradient);
        if result.is_err() {
            self.past = Past::default();
            write(objective.model(), &origin, &vec![0.0; origin.len()], 0.0)?;
        }
        result.map(|()| first)
    }

    /// The iterations of a step, from a point with this loss and gradient.
    fn iterate(&mut self, objective: &mut dyn Objective, first: f64, mut gradient: Vec<f32>) -> Result<()> {
        let (mut value, mut evaluations) = (first, 1);
        for iteration in 1..=self.max_iterations {
            if largest(&gradient) <= self.tolerance_gradient {
                break;
            }
            let (direction, start) = self.past.direction(&gradient, self.rate, self.history_size)?;
            let slope = dot(&gradient, &direction);
            if slope > -self.tolerance_change {
                self.past.last = Some(Last::new(gradient, direction, start)?);
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
            self.past.last = Some(Last::new(before.1, direction, size)?);
            let still = moved <= self.tolerance_change || (value - before.0).abs() < self.tolerance_change;
            if evaluations >= self.max_iterations * 5 / 4 || still {
                break;
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let rate = self.rate;
        check("the learning rate", rate, rate > 0.0 && rate.is_finite(), "finite and above 0")?;
        check("the history", self.history_size as f64, self.history_size > 0, "at least 1")?;
        check("the number of iterations", self.max_iterations as f64, self.max_iterations > 0, "at least 1")
    }

    fn check_size(&self, now: usize) -> Result<()> {
        match &self.past.last {
            Some(Last { gradient: was, .. }) if was.len() != now => {
                Err(Error::OtherModel(format!("it had {} trained values, now there are {now}", was.len())))
            }
            _ => Ok(()),
        }
    }
}

impl Optimizer for Lbfgs {
    /// Refuses: a step needs the loss in several places.
    fn step(&mut self, _: &mut dyn Module, _: &Gradients) -> Result<()> {
        Err(Error::NeedsLoss("L-BFGS"))
    }

    fn step_on(&mut self, objective: &mut dyn Objective) -> Result<()> {
        self.lower(objective).map(|_| ())
    }

    fn evaluates_again(&self) -> bool {
        true
    }

    fn learning_rate(&self) -> f64 {
        self.rate
    }

    fn set_learning_rate(&mut self, rate: f64) {
        self.rate = rate;
    }

    fn state(&self) -> State {
        self.past.write(State::new(KIND).with("learning_rate", self.rate))
    }

    fn load_state(&mut self, state: State) -> Result<()> {
        state.require(KIND)?;
        (self.rate, self.past) = (state.number("learning_rate")?, Past::read(&state)?);
        Ok(())
    }
}

impl Last {
    fn new(gradient: Vec<f32>, direction: Vec<f32>, size: f64) -> Result<Self> {
        Ok(Last { gradient: row(gradient)?, direction: row(direction)?, size })
    }
}

impl Past {
    /// Direction and first step size from a point with this gradient.
    fn direction(&mut self, gradient: &[f32], rate: f64, history: usize) -> Result<(Vec<f32>, f64)> {
        let Some(Last { gradient: last, direction, size }) = self.last.take() else {
            // Nothing is known of the scale: the first step changes the parameters by the rate in all, at most.
            let sum: f64 = gradient.iter().map(|g| f64::from(g.abs())).sum();
            self.scale = 1.0;
            return Ok((gradient.iter().map(|g| -g).collect(), rate * (1.0 / sum).min(1.0)));
        };
        let y: Vec<f32> = gradient.iter().zip(slice(&last)).map(|(now, was)| now - was).collect();
        let s: Vec<f32> = slice(&direction).iter().map(|d| d * size as f32).collect();
        let curvature = dot(&y, &s);
        // Only changes of positive curvature keep the direction one of descent.
        if curvature > 1e-10 {
            if self.changes.len() == history {
                self.changes.pop_front();
            }
            self.scale = curvature / dot(&y, &y);
            self.changes.push_back(Change { step: row(s)?, gradient: row(y)?, rho: 1.0 / curvature });
        }
        Ok((self.two_loops(gradient), rate))
    }

    /// -H · gradient, H being the inverse curvature by the kept changes (Nocedal and Wright, algorithm 7.4).
    fn two_loops(&self, gradient: &[f32]) -> Vec<f32> {
        let mut q: Vec<f32> = gradient.iter().map(|g| -g).collect();
        let mut taken = Vec::with_capacity(self.changes.len());
        for change in self.changes.iter().rev() {
            let alpha = change.rho * dot(slice(&change.step), &q);
            add_scaled(&mut q, -alpha, slice(&change.gradient));
            taken.push(alpha);
        }
        q.iter_mut().for_each(|q| *q *= self.scale as f32);
        for (change, alpha) in self.changes.iter().zip(taken.into_iter().rev()) {
            let beta = change.rho * dot(slice(&change.gradient), &q);
            add_scaled(&mut q, alpha - beta, slice(&change.step));
        }
        q
    }

    /// Into a state.
    fn write(&self, state: State) -> State {
        let mut state = state.with("scale", self.scale).with("changes", self.changes.len() as f64);
        for (i, change) in self.changes.iter().enumerate() {
            state = state.with(&format!("{i}/rho"), change.rho);
            state.tensors.insert(format!("{i}/step"), change.step.clone());
            state.tensors.insert(format!("{i}/gradient"), change.gradient.clone());
        }
        if let Some(last) = &self.last {
            state = state.with("last/size", last.size);
            state.tensors.insert("last/gradient".to_owned(), last.gradient.clone());
            state.tensors.insert("last/direction".to_owned(), last.direction.clone());
        }
        state
    }

    fn read(state: &State) -> Result<Self> {
        let mut sizes = state.tensors.values().map(Tensor::len);
        let first = sizes.next().unwrap_or(0);
        if sizes.any(|size| size != first) {
            return Err(Error::BadState(format!("the changes that `{KIND}` keeps are of several lengths")));
        }
        let tensor = |name: &str| match state.tensors.get(name) {
            Some(tensor) => Ok(tensor.contiguous()?),
            None => Err(Error::BadState(format!("`{KIND}` has no {name}"))),
        };
        let last = match state.numbers.get("last/size") {
            None => None,
            Some(&size) => {
                Some(Last { gradient: tensor("last/gradient")?, direction: tensor("last/direction")?, size })
            }
        };
        let count = state.number("changes")? as usize;
        let changes: Result<VecDeque<_>> = (0..count)
            .map(|i| {
                let (step, gradient) = (tensor(&format!("{i}/step"))?, tensor(&format!("{i}/gradient"))?);
                Ok(Change { step, gradient, rho: state.number(&format!("{i}/rho"))? })
            })
            .collect();
        Ok(Past { changes: changes?, scale: state.number("scale")?, last })
    }
}

/// Loss and gradient, all trained values in a row.
fn evaluate(objective: &mut dyn Objective) -> Result<(f64, Vec<f32>)> {
    let (value, gradients) = objective.evaluate()?;
    let model = &*objective.model();
    check_gradients(model, &gradients)?;
    let (mut flat, mut result) = (Vec::new(), Ok(()));
    model.for_each_parameter(&mut |_, var| {
        if let Some(gradient) = gradients.get(var).filter(|_| var.is_tracked()) {
            match gradient.to_dense() {
                Ok(gradient) => flat.extend(gradient.iter()),
                Err(error) => result = Err(error),
            }
        }
    });
    result?;
    Ok((value, flat))
}

fn row(values: Vec<f32>) -> Result<Tensor> {
    let len = values.len();
    Ok(Tensor::from_vec(values, [len])?)
}

/// The elements of a tensor that [`row`] made.
fn slice(row: &Tensor) -> &[f32] {
    row.as_slice().unwrap_or_default()
}

/// All trained values in a row.
fn values(model: &dyn Module) -> Vec<f32> {
    let mut flat = Vec::new();
    model.for_each_parameter(&mut |_, var| {
        if var.is_tracked() {
            flat.extend(var.value().iter());
        }
    });
    flat
}

/// Sets all trained values to origin + size · direction.
fn write(model: &mut dyn Module, origin: &[f32], direction: &[f32], size: f64) -> Result<()> {
    let (mut at, mut result) = (0, Ok(()));
    model.for_each_parameter_mut(&mut |_, var| {
        if !var.is_tracked() {
            return;
        }
        let part = at..at + var.value().len();
        at = part.end;
        let moved = origin[part.clone()].iter().zip(&direction[part]).map(|(x, d)| x + size as f32 * d);
        match Tensor::from_vec(moved.collect(), var.dims().clone()) {
            Ok(value) => var.set(value),
            Err(error) => result = Err(error),
        }
    });
    Ok(result?)
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn add_scaled(to: &mut [f32], factor: f64, from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += factor as f32 * from);
}

fn largest(values: &[f32]) -> f64 {
    values.iter().fold(0.0, |largest: f64, x| largest.max(f64::from(x.abs())))
}
