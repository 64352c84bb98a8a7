//! A model in its final form, for answering.
//!
//! Training needs variables, generators, running statistics that move; answering needs none of that. Freezing takes the
//! model's [operations](crate::layers::Operation) and leaves out what does nothing (dropout), folds batch normalisation
//! into the dense layer or convolution before it, and joins ReLU and maximum pooling to it. What is left never changes, so
//! any number of threads may use it at once; copies share the weights.
//!
//! A model of dense layers answers a single sample in memory that is kept from one answer to the next ([`Scratch`]). A
//! model that begins with an embedding takes ids, any other numbers.

use std::sync::Arc;

use cairn_autograd::Var;
use cairn_tensor::{Pool, Shape, Tensor};

use crate::layers::{Operation, SequenceMask as Spans, Step};
use crate::{Activation, Error, Result, Sequential, Value};

/// A model that only answers, made by [`Sequential::frozen`].
///
/// ```
/// use cairn_nn::{Activation::Relu, Sequential, spec::Dense};
/// use cairn_tensor::{Tensor, rng};
/// let model = Sequential::new([784]).add(Dense::new(64).activation(Relu)).add(Dense::new(10)).build(&mut rng(0))?;
/// let frozen = model.frozen()?;
///
/// // One sample: no memory is taken after the first.
/// let mut scratch = frozen.scratch();
/// let scores = frozen.predict(&[0.5; 784], &mut scratch)?;
/// assert_eq!(scores.len(), 10);
///
/// // Batches, on several threads that share the weights.
/// std::thread::scope(|scope| {
///     for _ in 0..2 {
///         let frozen = frozen.clone();
///         scope.spawn(move || frozen.predict_batch(Tensor::<f32>::zeros([32, 784])?));
///     }
/// });
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Frozen {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    input: Shape,
    output: Shape,
    stages: Vec<Stage>,
    /// Whether a single sample can be answered row by row.
    rows: bool,
}

/// An operation and what is joined to it.
#[derive(Debug)]
struct Stage {
    layer: String,
    operation: Operation,
    relu: bool,
    pool: Option<Pool>,
    /// Numbers in the output for one item.
    count: usize,
}

/// The memory that [`Frozen::predict`] works in, for one thread.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    input: Vec<f32>,
    output: Vec<f32>,
}

impl Sequential {
    /// The model as it is now in its final form: later changes of this one do not reach it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a layer that has no final form yet.
    pub fn frozen(&self) -> Result<Frozen> {
        let mut stages: Vec<Stage> = Vec::new();
        for step in self.steps()? {
            let joined = match stages.last_mut() {
                Some(last) => join(last, &step).map_err(|error| error.at(&step.layer))?,
                None => false,
            };
            if !joined {
                let Step { layer, operation, output, .. } = step;
                stages.push(Stage { layer, operation, relu: false, pool: None, count: output.count() });
            }
        }
        let row = |stage: &Stage| match &stage.operation {
            // Of an image's rows there are many; this is for one row a sample.
            Operation::Dense { weight, .. } => weight.shape()[1] == stage.count,
            Operation::Activation(_) | Operation::Reshape(_) => true,
            _ => false,
        };
        let rows = stages.iter().all(row);
        let (input, output) = (self.input_shape().clone(), self.output_shape().clone());
        Ok(Frozen { shared: Arc::new(Shared { input, output, stages, rows }) })
    }
}

impl Frozen {
    /// The shape of one input.
    pub fn input_shape(&self) -> &Shape {
        &self.shared.input
    }

    /// The shape of the output for one input.
    pub fn output_shape(&self) -> &Shape {
        &self.shared.output
    }

    /// The output for a batch, `[batch, …]`: of ids for a model that begins with an embedding, else of numbers.
    ///
    /// # Errors
    /// [`Error::BadInput`] when the input is not of the shape the model was built for, or ids and not numbers, or the other
    /// way around; for an id beyond the vocabulary; when memory runs out.
    pub fn predict_batch(&self, input: impl Into<Value>) -> Result<Tensor> {
        let (shared, input) = (&*self.shared, input.into());
        if input.shape().split_first().map(|(_, sample)| sample) != Some(&*shared.input) {
            return Err(self.bad_input(&input.shape().into()));
        }
        let (mut x, mut spans, stages) = match (input, &shared.stages[..]) {
            (
                Value::Ids(ids),
                [Stage { layer, operation: Operation::Lookup { table, mask }, .. }, rest @ ..],
            ) => {
                let spans = mask.map(|padding| Spans::of_ids(&ids, padding)).transpose();
                let rows = Var::constant(table.clone()).lookup(&ids);
                let rows = rows.map_err(|error| Error::from(error).at(layer))?.value().clone();
                (rows, spans.map_err(|error| error.at(layer))?, rest)
            }
            (input, stages) => (input.floats()?.value().clone(), None, stages),
        };
        for stage in stages {
            x = stage.run(&x, spans.as_ref()).map_err(|error| error.at(&stage.layer))?;
            spans = spans.filter(|_| stage.operation.keeps_steps());
        }
        Ok(x)
    }

    /// Memory for [`predict`](Self::predict); it grows to what is needed with the first answer.
    pub fn scratch(&self) -> Scratch {
        Scratch::default()
    }

    /// The output for one sample, its numbers in order.
    ///
    /// A model of dense layers with ReLU takes no memory for it beyond `scratch`; other activations take a little, other
    /// layers as much as a batch of one.
    ///
    /// # Errors
    /// [`Error::BadInput`] when there are not as many numbers as the model takes.
    pub fn predict<'a>(&self, sample: &[f32], scratch: &'a mut Scratch) -> Result<&'a [f32]> {
        let shared = &*self.shared;
        if sample.len() != shared.input.count() {
            return Err(self.bad_input(&[sample.len()].into()));
        }
        if shared.rows {
            scratch.run(&shared.stages, sample)?;
        } else {
            scratch.keep(&self.predict_batch(Tensor::from_slice(sample, self.batch_of_one())?)?);
        }
        Ok(&scratch.output)
    }

    /// As [`predict`](Self::predict), for a sample of ids.
    ///
    /// ```
    /// use cairn_nn::{Sequential, spec::{Dense, Embedding, Lstm}};
    /// use cairn_tensor::rng;
    /// let builder = Sequential::new([4]).add(Embedding::new(100, 8)).add(Lstm::new(16)).add(Dense::new(2));
    /// let frozen = builder.build(&mut rng(0))?.frozen()?;
    /// assert_eq!(frozen.predict_ids(&[7, 0, 99, 3], &mut frozen.scratch())?.len(), 2);
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`predict_batch`](Self::predict_batch).
    pub fn predict_ids<'a>(&self, sample: &[u32], scratch: &'a mut Scratch) -> Result<&'a [f32]> {
        if sample.len() != self.shared.input.count() {
            return Err(self.bad_input(&[sample.len()].into()));
        }
        scratch.keep(&self.predict_batch(Tensor::from_slice(sample, self.batch_of_one())?)?);
        Ok(&scratch.output)
    }

    fn batch_of_one(&self) -> Shape {
        [1].iter().chain(self.shared.input.iter()).copied().collect()
    }

    fn bad_input(&self, input: &Shape) -> Error {
        let why = format!("the model takes samples of {}", self.shared.input);
        Error::BadInput { input: input.clone(), why }
    }
}

impl Scratch {
    fn keep(&mut self, output: &Tensor) {
        self.output.clear();
        self.output.extend(output.iter());
    }

    /// Runs stages that work on single rows; the result is in `output`.
    fn run(&mut self, stages: &[Stage], sample: &[f32]) -> Result<()> {
        // The first layer reads the sample itself.
        let mut fresh = true;
        for stage in stages {
            if matches!(stage.operation, Operation::Reshape(_)) {
                continue;
            }
            let input = if fresh {
                sample
            } else {
                std::mem::swap(&mut self.input, &mut self.output);
                &self.input
            };
            self.output.resize(stage.count, 0.0);
            stage.run_row(input, &mut self.output).map_err(|error| error.at(&stage.layer))?;
            fresh = false;
        }
        if fresh {
            self.output.clear();
            self.output.extend_from_slice(sample);
        }
        Ok(())
    }
}

impl Stage {
    fn run(&self, x: &Tensor, spans: Option<&Spans>) -> Result<Tensor> {
        let relu = self.relu;
        Ok(match (&self.operation, &self.pool) {
            (Operation::Dense { weight, bias }, _) => x.linear(weight, bias.as_ref(), relu)?,
            (Operation::Conv { weight, bias, window, groups }, Some(pool)) => {
                x.conv2d_max_pool2d(weight, bias.as_ref(), relu, (window, *groups), pool)?.output
            }
            (Operation::Conv { weight, bias, window, groups }, None) => {
                x.conv2d(weight, bias.as_ref(), relu, window, *groups)?
            }
            (operation, _) => operation.apply(x, spans)?,
        })
    }

    fn run_row(&self, x: &[f32], out: &mut [f32]) -> Result<()> {
        if let Operation::Dense { weight, bias } = &self.operation {
            return Ok(weight.linear_row(x, bias.as_ref(), self.relu, out)?);
        }
        let y = self.run(&Tensor::from_slice(x, [1, x.len()])?, None)?;
        out.iter_mut().zip(y.iter()).for_each(|(out, y)| *out = y);
        Ok(())
    }
}

/// Makes a step part of the stage before it, if it can be.
fn join(last: &mut Stage, step: &Step) -> Result<bool> {
    let product = matches!(last.operation, Operation::Dense { .. } | Operation::Conv { .. });
    match &step.operation {
        Operation::Activation(Activation::Relu) if product && last.pool.is_none() => last.relu = true,
        Operation::MaxPool { size, window }
            if last.pool.is_none() && matches!(last.operation, Operation::Conv { .. }) =>
        {
            let pool = Pool::sliding(*size, *window);
            if !pool.is_apart() {
                return Ok(false);
            }
            last.pool = Some(pool);
        }
        Operation::Normalize { mean, variance, scale, shift, epsilon }
            if !last.relu && last.pool.is_none() =>
        {
            let factor = variance.add(&Tensor::scalar(*epsilon))?.rsqrt()?.mul(scale)?;
            return fold(&mut last.operation, &factor, mean, shift);
        }
        _ => return Ok(false),
    }
    last.count = step.output.count();
    Ok(true)
}

/// `factor (y - mean) + shift` folded into the weights and the bias that make `y`: factor w, and factor (b - mean) + shift.
fn fold(operation: &mut Operation, factor: &Tensor, mean: &Tensor, shift: &Tensor) -> Result<bool> {
    let (weight, bias, turned) = match operation {
        Operation::Dense { weight, bias } | Operation::Conv { weight, bias, .. } => {
            (weight, bias, factor.clone())
        }
        // Its outputs are the filter's third axis, but for groups.
        Operation::ConvTranspose { weight, bias, groups: 1, .. } => {
            (weight, bias, factor.reshape([factor.len(), 1])?)
        }
        _ => return Ok(false),
    };
    let centred = match bias {
        Some(bias) => bias.sub(mean)?,
        None => mean.neg()?,
    };
    *bias = Some(centred.mul(factor)?.add(shift)?);
    *weight = weight.mul(&turned)?;
    Ok(true)
}
