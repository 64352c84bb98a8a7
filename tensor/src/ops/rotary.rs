//! Rotary positions (Su et al. 2021): pairs of elements of queries and keys are turned by an angle that grows with the position, so that
//! their product depends on how far apart they are.
//!
//! Angles are computed in double precision and rounded once, into tables of cosines and sines that a layer makes once and keeps: in
//! single precision the angle of position 100,000 would be off by hundredths. What a table holds is plain cosines and sines, so
//! that other scalings than those here need only other tables.

use crate::cpu::rotary::{self as kernels, Heads, Positions, Tables};
use crate::{Error, Float, Result, Tensor};

const OP: &str = "rotary";

/// Which elements of a head are turned together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
pub enum Pairs {
    /// Element `j` and the one half of the turned elements further on, as Hugging Face's files have it (GPT-NeoX).
    #[default]
    Halves,
    /// Elements `2j` and `2j + 1`, as in the paper, Meta's own files and those of Llama in GGUF.
    Neighbours,
}

/// How angles are scaled for sequences longer than those of training.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum RotaryScaling {
    /// Not at all.
    #[default]
    None,
    /// All angles divided by a factor (position interpolation, Chen et al. 2023).
    Linear {
        /// The factor.
        factor: f64,
    },
    /// Slow turns divided by a factor, fast ones left as they are, those between interpolated (Llama 3.1).
    Llama3 {
        /// The factor.
        factor: f64,
        /// Turns that take longer than `original / low` positions are slow.
        low: f64,
        /// Turns that take less than `original / high` positions are fast.
        high: f64,
        /// The length of sequences in training.
        original: f64,
    },
}

/// The angles of rotary positions: pair `j` of `n` turns by base^(-j / n) from one position to the next.
///
/// ```
/// use cairn_tensor::{Pairs, Rotary, Tensor};
/// let tables = Rotary::new(4).base(100.0).tables::<f32>(8)?;
/// let x = Tensor::<f32>::ones([1, 3, 2, 4])?; // batch, time, heads, size
/// let y = x.rotary(&tables, Pairs::Halves, 5)?; // positions 5, 6, 7
/// let back = y.rotary_back(&tables, Pairs::Halves, 5)?;
/// assert!(back.iter().all(|x| (x - 1.0).abs() < 1e-6));
/// # Ok::<(), cairn_tensor::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Rotary {
    turned: usize,
    base: f64,
    scaling: RotaryScaling,
}

impl Rotary {
    /// Turns the first `turned` elements of each head, an even number: all of it, or a part (GPT-NeoX, Phi). The base is 10,000.
    pub fn new(turned: usize) -> Self {
        Rotary { turned, base: 10_000.0, scaling: RotaryScaling::None }
    }

    /// How many elements of a head are turned.
    pub fn turned(&self) -> usize {
        self.turned
    }

    /// The base of the angles, also called theta.
    #[must_use]
    #[doc(alias("theta", "rope_theta"))]
    pub fn base(self, base: f64) -> Self {
        Rotary { base, ..self }
    }

    /// For sequences longer than those of training.
    #[must_use]
    #[doc(alias = "rope_scaling")]
    pub fn scaling(self, scaling: RotaryScaling) -> Self {
        Rotary { scaling, ..self }
    }

    /// The angle between neighbouring positions of each pair.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn frequencies(&self) -> Result<Vec<f64>> {
        let turned = self.turned as f64;
        let frequencies = Tensor::build([self.turned / 2], |out: &mut [f64]| {
            for (j, out) in out.iter_mut().enumerate() {
                *out = self.scaling.scale(self.base.powf(-2.0 * j as f64 / turned));
            }
        })?;
        Ok(frequencies.into_vec())
    }

    /// The cosines and sines of positions 0 to `positions`.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for an odd number of elements, a base or factor that is not above 0, and bounds of Llama 3's scaling that are not in order;
    /// [`Error::OutOfMemory`].
    pub fn tables<T: Float>(&self, positions: usize) -> Result<RotaryTables<T>> {
        self.check()?;
        let frequencies = self.frequencies()?;
        let table = |f: fn(f64) -> f64| {
            Tensor::build([positions, frequencies.len()], |out| {
                let rows = out.chunks_exact_mut(frequencies.len().max(1));
                for (position, row) in rows.enumerate() {
                    for (out, frequency) in row.iter_mut().zip(&frequencies) {
                        *out = T::from_f64(f(position as f64 * frequency));
                    }
                }
            })
        };
        Ok(RotaryTables { cos: table(f64::cos)?, sin: table(f64::sin)? })
    }

    fn check(&self) -> Result<()> {
        let check = |what, value: f64, ok: bool, must| {
            if ok { Ok(()) } else { Err(Error::bad_setting(OP, what, value, must)) }
        };
        let above = |x: f64| x > 0.0 && x.is_finite();
        check("the number of turned elements", self.turned as f64, self.turned.is_multiple_of(2), "even")?;
        check("the base", self.base, above(self.base), "above 0")?;
        match self.scaling {
            RotaryScaling::None => Ok(()),
            RotaryScaling::Linear { factor } => check("the factor", factor, above(factor), "above 0"),
            RotaryScaling::Llama3 { factor, low, high, original } => {
                check("the factor", factor, above(factor), "above 0")?;
                check("the original length", original, above(original), "above 0")?;
                check("the lower bound", low, above(low) && low < high, "above 0 and below the higher one")
            }
        }
    }
}

impl RotaryScaling {
    fn scale(self, frequency: f64) -> f64 {
        match self {
            RotaryScaling::None => frequency,
            RotaryScaling::Linear { factor } => frequency / factor,
            RotaryScaling::Llama3 { factor, low, high, original } => {
                // How many turns the original length is; between `low` and `high` the share of the frequency that is kept.
                let turns = original * frequency / (2.0 * std::f64::consts::PI);
                let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                (1.0 - kept) * frequency / factor + kept * frequency
            }
        }
    }
}

/// Cosines and sines for [`rotary`](Tensor::rotary), `[positions, pairs]` each.
#[derive(Debug, Clone)]
pub struct RotaryTables<T: Float = f32> {
    /// Cosines of position times frequency.
    pub cos: Tensor<T>,
    /// Sines.
    pub sin: Tensor<T>,
}

impl<T: Float> Tensor<T> {
    /// Turns `[batch, time, heads, size]` by the angles of positions `start`, `start + 1`, … in one pass: of each head the pairs that
    /// the tables have angles for; further elements stay.
    ///
    /// # Errors
    /// [`Error::BadShape`] unless there are four axes and the pairs fit into a head, [`Error::ShapeMismatch`] when the tables are not alike,
    /// [`Error::IndexOutOfRange`] for a position that they do not have.
    #[doc(alias("rope", "apply_rotary_pos_emb"))]
    pub fn rotary(&self, tables: &RotaryTables<T>, pairs: Pairs, start: usize) -> Result<Self> {
        self.rotate(tables, pairs, At::Start(start), false)
    }

    /// As [`rotary`](Self::rotary), for a position of each sequence and time, `[batch, time]`.
    ///
    /// # Errors
    /// As [`rotary`](Self::rotary), and [`Error::ShapeMismatch`] unless there is one position for each.
    pub fn rotary_at(&self, tables: &RotaryTables<T>, pairs: Pairs, positions: &Tensor<u32>) -> Result<Self> {
        self.rotate(tables, pairs, At::Each(positions), false)
    }

    /// Turns back by the same angles: the inverse of [`rotary`](Self::rotary), and its derivative.
    ///
    /// # Errors
    /// As [`rotary`](Self::rotary).
    pub fn rotary_back(&self, tables: &RotaryTables<T>, pairs: Pairs, start: usize) -> Result<Self> {
        self.rotate(tables, pairs, At::Start(start), true)
    }

    /// Turns back by the same angles: the inverse of [`rotary_at`](Self::rotary_at), and its derivative.
    ///
    /// # Errors
    /// As [`rotary_at`](Self::rotary_at).
    pub fn rotary_at_back(
        &self,
        tables: &RotaryTables<T>,
        pairs: Pairs,
        positions: &Tensor<u32>,
    ) -> Result<Self> {
        self.rotate(tables, pairs, At::Each(positions), true)
    }

    fn rotate(&self, tables: &RotaryTables<T>, layout: Pairs, from: At<'_>, back: bool) -> Result<Self> {
        let RotaryTables { cos, sin } = tables;
        let (&[batch, time, heads, size], &[count, pairs]) = (self.shape(), cos.shape()) else {
            let why = "[batch, time, heads, size] and tables [positions, pairs] are needed";
            return Err(Error::bad_shape(OP, self.shape(), why));
        };
        if sin.shape() != cos.shape() {
            let why = "cosines and sines must be alike";
            return Err(Error::mismatch(OP, cos.shape(), sin.shape(), why));
        }
        if 2 * pairs > size {
            return Err(Error::bad_shape(OP, self.shape(), "a head has fewer elements than are turned"));
        }
        let outside = |index: usize, position: usize| {
            Err(Error::IndexOutOfRange { op: OP, index, position, size: count })
        };
        let each = match from {
            At::Start(start) => {
                let last = start.saturating_add(time);
                if time > 0 && last > count {
                    return outside(last - 1, time - 1);
                }
                None
            }
            At::Each(positions) if positions.shape() != [batch, time] => {
                let why = "one position for each sequence and time is needed";
                return Err(Error::mismatch(OP, self.shape(), positions.shape(), why));
            }
            At::Each(positions) => {
                if let Some((at, position)) = positions.iter().enumerate().find(|&(_, p)| p as usize >= count)
                {
                    return outside(position as usize, at);
                }
                Some(positions.row_major()?)
            }
        };
        let positions = match (&each, from) {
            (Some(list), _) => Positions::Each(list),
            (None, At::Start(start)) => Positions::From(start),
            (None, At::Each(_)) => Positions::From(0),
        };
        let (cos, sin) = (cos.row_major()?, sin.row_major()?);
        let mut strides = [0; 4];
        strides.copy_from_slice(self.strides());
        let (data, start) = (self.storage(), self.layout().offset);
        let x = Heads { data, start, strides, shape: [batch, time, heads, size] };
        let tables = Tables { cos: &cos, sin: &sin, pairs, layout };
        Self::build(self.dims(), |out| kernels::rotate(x, tables, positions, back, out))
    }
}

/// Where positions come from.
#[derive(Clone, Copy)]
enum At<'a> {
    Start(usize),
    Each(&'a Tensor<u32>),
}
