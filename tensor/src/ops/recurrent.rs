//! Recurrent layers over whole sequences: RNN, LSTM, GRU.
//!
//! One call runs all steps of one layer in one direction, and one goes back over them; several layers and directions are
//! calls after and beside each other. Weights are laid out as Keras does it, `[inputs, gates · units]`; the order of the
//! gates is PyTorch's, which for the LSTM is also Keras's.

use crate::cpu::recurrent::{self as kernels, Geometry, Operands, Saved};
use crate::{Error, Float, Result, RowMajor, Shape, Tensor};

/// A kind of recurrence. x is the input at a step, h and c are states, σ is the logistic function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum Recurrence {
    /// h' = tanh(x W + h U + b) (Elman 1990).
    Tanh,
    /// h' = max(x W + h U + b, 0).
    Relu,
    /// Long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000). Gates i, f, g, o:
    /// c' = σ(f) c + σ(i) tanh(g), h' = σ(o) tanh(c').
    Lstm,
    /// Gated recurrent unit (Cho et al. 2014), with the reset gate after the product, as in cuDNN, PyTorch, and Keras by
    /// default. Gates r, z, n: n = tanh(x Wn + bn + σ(r) (h Un + bh)), h' = (1 - σ(z)) n + σ(z) h. The bias has a fourth block, bh.
    Gru,
    /// The same with the reset gate before the product, as first published and in Keras with `reset_after=False`:
    /// n = tanh(x Wn + bn + (σ(r) h) Un). The bias has three blocks.
    GruResetBefore,
}

impl Recurrence {
    /// Blocks of `units` columns in the weights.
    pub fn gates(self) -> usize {
        match self {
            Recurrence::Tanh | Recurrence::Relu => 1,
            Recurrence::Lstm => 4,
            Recurrence::Gru | Recurrence::GruResetBefore => 3,
        }
    }

    /// Blocks of `units` in the bias.
    pub fn biases(self) -> usize {
        if self == Recurrence::Gru { 4 } else { self.gates() }
    }

    /// States that a step hands to the next: h, and for the LSTM also c.
    pub fn states(self) -> usize {
        if self == Recurrence::Lstm { 2 } else { 1 }
    }
}

/// What a recurrent layer returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Returns {
    /// h after every step: `[batch, time, units]`.
    #[default]
    Steps,
    /// h after the last step (of each sequence's length): `[batch, units]`.
    Last,
    /// h after every step, then h and, for the LSTM, c after the last: `[batch, time + states, units]`.
    StepsAndStates,
}

/// How a recurrent layer runs.
#[derive(Debug, Clone, Default)]
pub struct RecurrentOptions<T: Float = f32> {
    /// From the last step to the first.
    pub reverse: bool,
    /// What is returned.
    pub returns: Returns,
    /// Steps of each sequence, `[batch]`, from 1 to all; the rest is padding: it does not change the state, its outputs are
    /// 0, and no gradient flows there. All steps where there are none.
    pub lengths: Option<Tensor<u32>>,
    /// The first step of each sequence, `[batch]`, below its length; what comes before is padding too. 0 where there are none.
    pub starts: Option<Tensor<u32>>,
    /// Factors of h within the recurrent product, `[batch, units]`, the same at all steps: recurrent dropout.
    pub mask: Option<Tensor<T>>,
}

/// The parameters of a recurrent layer, and its states before the first step (0 where there are none).
#[derive(Debug, Clone, Copy)]
pub struct RecurrentOperands<'a, T: Float = f32> {
    /// `[inputs, gates · units]`
    pub weight: &'a Tensor<T>,
    /// `[units, gates · units]`
    pub recurrent_weight: &'a Tensor<T>,
    /// `[biases · units]`, see [`Recurrence::biases`].
    pub bias: Option<&'a Tensor<T>>,
    /// `[batch, units]`
    pub hidden: Option<&'a Tensor<T>>,
    /// `[batch, units]`, of an LSTM only.
    pub cell: Option<&'a Tensor<T>>,
}

/// What the backward pass needs of the forward pass.
#[derive(Debug, Clone)]
pub struct RecurrentSaved<T: Float = f32> {
    gates: Tensor<T>,
    kept: Tensor<T>,
    before: Tensor<T>,
}

/// The gradients of a recurrent layer's operands, in the order x, weight, recurrent weight, bias, hidden, cell.
pub type RecurrentGradients<T> = [Option<Tensor<T>>; 6];

const OP: &str = "recurrent";

impl<T: Float> Tensor<T> {
    /// Runs a recurrence over sequences `[batch, time, inputs]` (this tensor).
    ///
    /// ```
    /// use cairn_tensor::{Recurrence, RecurrentOperands, RecurrentOptions, Tensor};
    /// let x = Tensor::<f32>::ones([2, 5, 3])?;
    /// let (weight, recurrent) = (Tensor::full([3, 16], 0.1)?, Tensor::full([4, 16], 0.1)?);
    /// let operands = RecurrentOperands {
    ///     weight: &weight, recurrent_weight: &recurrent, bias: None, hidden: None, cell: None,
    /// };
    /// let (h, _) = x.recurrent(Recurrence::Lstm, operands, &RecurrentOptions::default())?;
    /// assert_eq!(h.shape(), [2, 5, 4]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::BadShape`] and [`Error::ShapeMismatch`] when the sizes do not fit together, [`Error::BadLength`] for a length
    /// beyond the steps and [`Error::BadStart`] for a start beyond the length, naming the sequence. A sequence without steps,
    /// whose length is its start, keeps the state that it begins with.
    pub fn recurrent(
        &self,
        kind: Recurrence,
        operands: RecurrentOperands<'_, T>,
        options: &RecurrentOptions<T>,
    ) -> Result<(Self, RecurrentSaved<T>)> {
        let job = Job::new(kind, self, operands, options)?;
        let g = &job.geometry;
        let steps = Shape::from([g.batch, g.steps, g.units]);
        let width = kind.gates() * g.units;
        let kept = if kernels::saves_state(kind) { g.units } else { 0 };
        let mut saved = RecurrentSaved {
            gates: Tensor::build([g.batch, g.steps, width], |_| ())?,
            kept: Tensor::build([g.batch, g.steps, kept], |_| ())?,
            before: Tensor::build(steps, |_| ())?,
        };
        let views = Saved {
            gates: saved.gates.as_mut_slice()?,
            kept: saved.kept.as_mut_slice()?,
            before: saved.before.as_mut_slice()?,
        };
        let shape: Shape = match options.returns {
            Returns::Last => [g.batch, g.units].into(),
            _ => [g.batch, g.rows_of_output(), g.units].into(),
        };
        let out = Tensor::try_build(shape, |out| (T::kernels().recur)(kind, g, &job.operands(), views, out))?;
        Ok((out, saved))
    }

    /// The gradients of a recurrence's operands, each that is `wanted`, given what [`recurrent`](Self::recurrent) saved and the
    /// gradient of its output.
    ///
    /// # Errors
    /// As [`recurrent`](Self::recurrent).
    pub fn recurrent_backward(
        &self,
        kind: Recurrence,
        operands: RecurrentOperands<'_, T>,
        options: &RecurrentOptions<T>,
        saved: &RecurrentSaved<T>,
        gradient: &Self,
        wanted: [bool; 6],
    ) -> Result<RecurrentGradients<T>> {
        let job = Job::new(kind, self, operands, options)?;
        let g = &job.geometry;
        if gradient.len() != g.batch * g.output() || saved.before.shape() != [g.batch, g.steps, g.units] {
            let why = "the gradient must be like the output";
            return Err(Error::mismatch("recurrent_backward", gradient.shape(), saved.before.shape(), why));
        }
        let gradient = gradient.row_major()?;
        let states = [g.batch, g.units];
        let width = kind.gates() * g.units;
        let mut results: RecurrentGradients<T> = [const { None }; 6];
        let shapes: [Shape; 6] = [
            self.dims().clone(),
            [g.inputs, width].into(),
            [g.units, width].into(),
            [kind.biases() * g.units].into(),
            states.into(),
            states.into(),
        ];
        for ((result, shape), wanted) in results.iter_mut().zip(shapes).zip(wanted) {
            if wanted {
                *result = Some(Tensor::build(shape, |_| ())?);
            }
        }
        let mut slices = [const { None }; 6];
        for (slice, result) in slices.iter_mut().zip(&mut results) {
            if let Some(tensor) = result {
                *slice = Some(tensor.as_mut_slice()?);
            }
        }
        let [x, weight, recurrent, bias, hidden, cell] = slices;
        let [gates, kept, before] =
            [saved.gates.row_major()?, saved.kept.row_major()?, saved.before.row_major()?];
        let gradients = kernels::Gradients { x, weight, recurrent, bias, hidden, cell };
        (T::kernels().recur_backward)(
            kind,
            g,
            &job.operands(),
            &[&*gates, &*kept, &*before],
            &gradient,
            gradients,
        )?;
        Ok(results)
    }
}

/// Checked sizes and contiguous operands.
struct Job<'a, T: Float> {
    geometry: Geometry,
    /// x, weight, recurrent weight.
    arrays: [RowMajor<'a, T>; 3],
    /// Bias, hidden, cell, mask.
    optional: [Option<RowMajor<'a, T>>; 4],
    lengths: Option<RowMajor<'a, u32>>,
    starts: Option<RowMajor<'a, u32>>,
}

impl<'a, T: Float> Job<'a, T> {
    fn new(
        kind: Recurrence,
        x: &'a Tensor<T>,
        operands: RecurrentOperands<'a, T>,
        options: &'a RecurrentOptions<T>,
    ) -> Result<Self> {
        let (weight, recurrent) = (operands.weight, operands.recurrent_weight);
        let &[batch, steps, inputs] = x.shape() else {
            return Err(Error::bad_shape(OP, x.shape(), "[batch, time, inputs] is needed"));
        };
        let units = recurrent.shape().first().copied().unwrap_or(0);
        let width = kind.gates() * units;
        if recurrent.shape() != [units, width] {
            let why = "recurrent weights [units, gates · units] are needed";
            return Err(Error::bad_shape(OP, recurrent.shape(), why));
        }
        if weight.shape() != [inputs, width] {
            let why = "the weight must be [inputs, gates · units]";
            return Err(Error::mismatch(OP, x.shape(), weight.shape(), why));
        }
        if steps == 0 && options.returns != Returns::Steps {
            return Err(Error::bad_shape(OP, x.shape(), "no steps have no last one"));
        }
        let like = |tensor: Option<&'a Tensor<T>>, shape: &[usize], why| match tensor {
            Some(tensor) if tensor.shape() != shape => Err(Error::mismatch(OP, tensor.shape(), shape, why)),
            Some(tensor) => Ok(Some(tensor.row_major()?)),
            None => Ok(None),
        };
        let cell = operands.cell;
        if let Some(cell) = cell.filter(|_| kind.states() < 2) {
            return Err(Error::bad_shape(OP, cell.shape(), "only an LSTM has a state c"));
        }
        let state = "states and masks are [batch, units]";
        let optional = [
            like(operands.bias, &[kind.biases() * units], "the bias has other units")?,
            like(operands.hidden, &[batch, units], state)?,
            like(cell, &[batch, units], state)?,
            like(options.mask.as_ref(), &[batch, units], state)?,
        ];
        let lengths = check_lengths(options.lengths.as_ref(), batch, steps)?;
        let starts = check_starts(options.starts.as_ref(), lengths.as_deref(), batch, steps)?;
        let geometry = Geometry {
            batch,
            steps,
            inputs,
            units,
            reverse: options.reverse,
            every_step: options.returns != Returns::Last,
            states: match options.returns {
                Returns::Steps => 0,
                Returns::Last => 1,
                Returns::StepsAndStates => kind.states(),
            },
        };
        Ok(Job {
            geometry,
            arrays: [x.row_major()?, weight.row_major()?, recurrent.row_major()?],
            optional,
            lengths,
            starts,
        })
    }

    fn operands(&self) -> Operands<'_, T> {
        let [x, weight, recurrent] = self.arrays.each_ref().map(|array| &array[..]);
        let [bias, hidden, cell, mask] = self.optional.each_ref().map(Option::as_deref);
        let (lengths, starts) = (self.lengths.as_deref(), self.starts.as_deref());
        Operands { x, weight, recurrent, bias, hidden, cell, lengths, starts, mask }
    }
}

/// One length for each sequence, each at most the number of steps.
fn check_lengths(
    lengths: Option<&Tensor<u32>>,
    batch: usize,
    steps: usize,
) -> Result<Option<RowMajor<'_, u32>>> {
    let Some(lengths) = lengths else { return Ok(None) };
    if lengths.shape() != [batch] {
        return Err(Error::mismatch(
            OP,
            lengths.shape(),
            &[batch],
            "one length for each sequence of the batch",
        ));
    }
    let bad = lengths.iter().position(|length| length as usize > steps);
    if let Some(sequence) = bad {
        let length = lengths.get(&[sequence])? as usize;
        return Err(Error::BadLength { op: OP, sequence, length, steps });
    }
    Ok(Some(lengths.row_major()?))
}

/// One start for each sequence, none beyond its length.
fn check_starts<'a>(
    starts: Option<&'a Tensor<u32>>,
    lengths: Option<&[u32]>,
    batch: usize,
    steps: usize,
) -> Result<Option<RowMajor<'a, u32>>> {
    let Some(starts) = starts else { return Ok(None) };
    if starts.shape() != [batch] {
        let why = "one start for each sequence of the batch";
        return Err(Error::mismatch(OP, starts.shape(), &[batch], why));
    }
    for (sequence, start) in starts.iter().enumerate() {
        let length = match lengths {
            Some(lengths) => lengths[sequence] as usize,
            None => steps,
        };
        if start as usize > length {
            return Err(Error::BadStart { op: OP, sequence, start: start as usize, length });
        }
    }
    Ok(Some(starts.row_major()?))
}
