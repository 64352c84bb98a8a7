//! The embedding: a row of a table for each id. Its gradient holds just the rows that were looked up, and optimisers change
//! just those.

use cairn_autograd::{Parameter, Var};
use cairn_tensor::{Rng, Shape, Tensor};
use serde::{Deserialize, Serialize};

use super::{Layer, Plan, Spans, Value};
use crate::{Context, Error, Init, Module, Result};

/// Description of an embedding of ids below `vocabulary` in `dim` numbers each: ids `[…]` give `[…, dim]`.
///
/// Values are drawn uniformly within ±0.05, as in Keras.
///
/// ```
/// use cairn_nn::{Dense, Embedding, Lstm, Model, Sequential};
/// use cairn_tensor::{rng, Tensor};
/// let model = Sequential::new([100])
///     .add(Embedding::new(10_000, 128))
///     .add(Lstm::new(64))
///     .add(Dense::new(10))
///     .build(&mut rng(0))?;
/// let tokens = Tensor::<u32>::zeros([2, 100])?;
/// assert_eq!(model.predict_batch(&tokens)?.shape(), [2, 10]);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Embedding {
    vocabulary: usize,
    dim: usize,
    init: Init,
    padding: Option<u32>,
    masked: bool,
}

impl Embedding {
    /// An embedding of ids from 0 to below `vocabulary`.
    pub fn new(vocabulary: usize, dim: usize) -> Self {
        Embedding { vocabulary, dim, init: Init::Uniform(0.05), padding: None, masked: false }
    }

    /// With other initial values.
    #[must_use]
    pub fn init(self, init: Init) -> Self {
        Embedding { init, ..self }
    }

    /// With an id whose row is zero and stays so: it gets no gradient.
    #[must_use]
    pub fn padding(self, id: u32) -> Self {
        Embedding { padding: Some(id), ..self }
    }

    /// Layers after it in a [`Sequential`](crate::Sequential) pass over the [padding](Self::padding) before and after each
    /// sequence (Keras's `mask_zero`): recurrent layers neither change their state there nor take their last output from
    /// there, and [`GlobalAvgPool`](crate::GlobalAvgPool) leaves it out. See [`Spans`] for which layers hand this on.
    ///
    /// ```
    /// use cairn_nn::{Dense, Embedding, Lstm, Model, Sequential};
    /// use cairn_tensor::{rng, Tensor};
    /// let model = Sequential::new([5])
    ///     .add(Embedding::new(100, 8).padding(0).masked())
    ///     .add(Lstm::new(16))
    ///     .add(Dense::new(2))
    ///     .build(&mut rng(0))?;
    /// let padded = [[7, 3, 9, 0, 0], [0, 0, 7, 3, 9]].concat();
    /// let scores = model.predict_batch(&Tensor::from_vec(padded, [2, 5])?)?;
    /// assert_eq!(scores.index(0, 0)?, scores.index(0, 1)?);
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    #[must_use]
    pub fn masked(self) -> Self {
        Embedding { masked: true, ..self }
    }

    /// The id whose steps are passed over.
    pub(super) fn mask(&self) -> Option<u32> {
        self.padding.filter(|_| self.masked)
    }

    pub(super) fn plan(&self, input: &Shape) -> Result<Plan> {
        for (what, value) in [("the vocabulary", self.vocabulary), ("the dimension", self.dim)] {
            if value == 0 {
                return Err(Error::BadSetting { what, value: 0.0, must: "at least 1" });
            }
        }
        if let Some(id) = self.padding.filter(|&id| id as usize >= self.vocabulary) {
            let (what, must) = ("the padding id", "below the size of the vocabulary");
            return Err(Error::BadSetting { what, value: id.into(), must });
        }
        if self.masked && self.padding.is_none() {
            let (what, must) = ("the padding id of a masked embedding", "given");
            return Err(Error::BadSetting { what, value: f64::NAN, must });
        }
        let output = input.iter().copied().chain([self.dim]).collect();
        Ok(Plan { output, values: self.vocabulary.saturating_mul(self.dim) })
    }

    /// The layer, with values drawn.
    ///
    /// # Errors
    /// For sizes of 0, a padding id beyond the vocabulary, or when memory does not hold the table.
    pub fn layer(&self, rng: &mut Rng) -> Result<EmbeddingLayer> {
        self.plan(&Shape::from([]))?;
        let mut table = self.init.tensor([self.vocabulary, self.dim], rng)?;
        if let Some(id) = self.padding {
            table.as_mut_slice()?[id as usize * self.dim..][..self.dim].fill(0.0);
        }
        Ok(EmbeddingLayer { weight: Parameter::new(table), padding: self.padding, mask: self.mask() })
    }
}

/// An embedding as a module.
#[derive(Debug, Clone)]
pub struct EmbeddingLayer {
    /// `[vocabulary, dim]`
    pub weight: Parameter,
    padding: Option<u32>,
    mask: Option<u32>,
}

impl EmbeddingLayer {
    /// A row for each id: `[…]` give `[…, dim]`.
    ///
    /// # Errors
    /// For an id beyond the vocabulary, with its place.
    pub fn forward(&self, ids: &Tensor<u32>) -> Result<Var> {
        Ok(match self.padding {
            Some(id) => self.weight.var().lookup_padded(ids, id)?,
            None => self.weight.var().lookup(ids)?,
        })
    }
}

impl Module for EmbeddingLayer {
    fn visit(&self, visitor: &mut crate::Visitor<'_>) {
        visitor.field("weight", &self.weight);
    }
}

impl Layer for EmbeddingLayer {
    fn forward(&self, input: Value, _: &mut Context) -> Result<Var> {
        match input {
            Value::Ids(ids) => EmbeddingLayer::forward(self, &ids),
            Value::Floats(x) => Err(Error::BadInput {
                input: x.dims().clone(),
                why: "an embedding looks up ids (`Tensor<u32>`), these are numbers".into(),
            }),
        }
    }

    fn spans(&self, input: &Value, _: Option<Spans>) -> Result<Option<Spans>> {
        match (self.mask, input) {
            (Some(padding), Value::Ids(ids)) => Spans::of_ids(ids, padding).map(Some),
            _ => Ok(None),
        }
    }
}
