//! Gated activations of the feed-forward layers of language models (Shazeer 2020): an activation of one half of a projection times the
//! other half, in one pass over memory.

use crate::cpu::gated::{self as kernels, Rows};
use crate::{Error, Float, Result, Shape, Tensor};

/// The activation of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Gate {
    /// max(x, 0): ReGLU.
    Relu,
    /// The logistic function: the gated linear unit (Dauphin et al. 2017).
    Sigmoid,
    /// x · sigmoid(x): SwiGLU, of Llama and most since.
    Silu,
    /// x Φ(x), exact: GeGLU.
    Gelu,
    /// Its tanh approximation: GeGLU as Gemma has it.
    GeluTanh,
}

impl<T: Float> Tensor<T> {
    /// activation(gate) · up, element by element; this tensor is the gate.
    ///
    /// ```
    /// use cairn_tensor::{Gate, Tensor};
    /// let (gate, up) = (Tensor::<f32>::linspace(-2.0, 2.0, 6)?, Tensor::full([6], 3.0)?);
    /// let apart = gate.silu()?.mul(&up)?;
    /// assert!(gate.gated(Gate::Silu, &up)?.iter().zip(apart.iter()).all(|(a, b)| (a - b).abs() < 1e-6));
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when the two differ in shape.
    #[doc(alias("swiglu", "geglu", "glu"))]
    pub fn gated(&self, gate: Gate, up: &Self) -> Result<Self> {
        alike("gated", self, up)?;
        let (one, other) = (self.rows_side_by_side()?, up.rows_side_by_side()?);
        let len = one.len;
        Self::build(self.dims(), |out| kernels::forward(gate, [one.rows(), other.rows()], len, out))
    }

    /// The gradients of [`gated`](Self::gated)'s gate (this tensor) and `up`, from that of its result.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when the three differ in shape.
    pub fn gated_backward(&self, gate: Gate, up: &Self, gradient: &Self) -> Result<[Self; 2]> {
        let op = "gated_backward";
        alike(op, self, up)?;
        alike(op, self, gradient)?;
        let (one, other, g) = (self.rows_side_by_side()?, up.rows_side_by_side()?, gradient.row_major()?);
        let (g, len) = (&g[..], one.len);
        let mut of_up = Self::build(self.dims(), |_| ())?;
        let second = of_up.as_mut_slice()?;
        let of_gate = Self::build(self.dims(), |first| {
            kernels::backward(gate, [one.rows(), other.rows()], g, len, [first, second]);
        })?;
        Ok([of_gate, of_up])
    }

    /// As [`gated`](Self::gated), of one tensor `[…, 2 · features]`: the first half of each row is the gate, the second `up`.
    ///
    /// # Errors
    /// [`Error::BadShape`] unless the last axis is even.
    pub fn gated_halves(&self, gate: Gate) -> Result<Self> {
        let [one, other] = self.halves("gated_halves")?;
        one.gated(gate, &other)
    }

    /// The gradient of [`gated_halves`](Self::gated_halves)'s operand (this tensor), from that of its result.
    ///
    /// # Errors
    /// [`Error::BadShape`] unless the last axis is even; [`Error::ShapeMismatch`] unless the gradient has half of it.
    pub fn gated_halves_backward(&self, gate: Gate, gradient: &Self) -> Result<Self> {
        let op = "gated_halves_backward";
        let [one, other] = self.halves(op)?;
        alike(op, &one, gradient)?;
        let (one, other, g) = (one.rows_side_by_side()?, other.rows_side_by_side()?, gradient.row_major()?);
        let (g, len) = (&g[..], one.len);
        Self::build(self.dims(), |out| {
            kernels::backward_packed(gate, [one.rows(), other.rows()], g, len, out);
        })
    }

    fn halves(&self, op: &'static str) -> Result<[Self; 2]> {
        match self.shape().last() {
            Some(&both) if both.is_multiple_of(2) => {
                Ok([self.narrow(-1, 0, both / 2)?, self.narrow(-1, both / 2, both / 2)?])
            }
            _ => Err(Error::bad_shape(
                op,
                self.shape(),
                "the last axis must be even: gate and up side by side",
            )),
        }
    }

    /// The rows along the last axis, without a copy where they are evenly spaced and their elements side by side.
    fn rows_side_by_side(&self) -> Result<SideBySide<T>> {
        let len = self.shape().last().copied().unwrap_or(1);
        let count: usize = self.shape().iter().rev().skip(1).product();
        let layout = self.layout().reshape(&Shape::from([count, len]));
        match layout.filter(|layout| layout.strides[1] == 1 || len == 1) {
            Some(layout) => Ok(SideBySide { tensor: self.view(layout), len }),
            None => Ok(SideBySide { tensor: self.contiguous()?.reshape([count, len])?, len }),
        }
    }
}

/// A matrix whose rows have their elements side by side.
struct SideBySide<T: Float> {
    tensor: Tensor<T>,
    len: usize,
}

impl<T: Float> SideBySide<T> {
    fn rows(&self) -> Rows<'_, T> {
        let start = self.tensor.layout().offset;
        Rows { data: self.tensor.storage(), start, step: self.tensor.strides()[0] }
    }
}

fn alike<T: Float>(op: &'static str, a: &Tensor<T>, b: &Tensor<T>) -> Result<()> {
    if a.shape() == b.shape() {
        return Ok(());
    }
    Err(Error::mismatch(op, a.shape(), b.shape(), "gate, up and gradient must be alike"))
}
