//! The embedding: a row of a table for each id. Its gradient holds just the rows that were looked up, and optimisers change
//! just those.

use cairn_autograd::{Parameter, Var};
use cairn_tensor::{Rng, Shape, Tensor};
use serde::{Deserialize, Serialize};

use super::config::{LayerConfig, Plan};
use super::{Layer, SequenceMask, Value};
use crate::weights::{Flow, Framework, Permutation, Rule};
use crate::{Context, Error, Init, Module, Result, Visitor};

/// A row of a table for each id: ids `[…]` give `[…, dim]`. A padding id, other initial values and the masking of padding are
/// set in the [description](crate::spec::Embedding), whose [`layer`](crate::spec::Embedding::layer) makes the same type.
///
/// The table may be stored in 16 bits, or quantised with its blocks along `dim`. It may be another layer's weight as well; a language model's output layer often is the table's transpose:
///
/// ```
/// use cairn_nn::Embedding;
/// use cairn_tensor::{rng, Tensor};
/// let embedding = Embedding::new(100, 8, &mut rng(0))?;
/// let states = embedding.forward(&Tensor::from_vec(vec![7, 0, 99], [3])?)?;
/// let logits = states.matmul(&embedding.weight.var().t()?)?;
/// assert_eq!(logits.shape(), [3, 100]);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone)]
#[doc(alias = "lookup")]
pub struct Embedding {
    /// `[vocabulary, dim]`
    pub weight: Parameter,
    padding: Option<u32>,
    masked: bool,
}

impl Embedding {
    /// A table for ids from 0 to below `vocabulary`, drawn uniformly within ±0.05, as in Keras.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for sizes of 0; when memory does not hold the table.
    pub fn new(vocabulary: usize, dim: usize, rng: &mut Rng) -> Result<Self> {
        spec::Embedding::new(vocabulary, dim).layer(rng)
    }

    /// An embedding of a given table `[vocabulary, dim]`, perhaps another layer's weight.
    pub fn with_parameters(weight: Parameter) -> Self {
        Embedding { weight, padding: None, masked: false }
    }

    /// The products of `x` `[…, dim]` with every row of the table, `[…, vocabulary]`: the output layer of a language model that shares
    /// the table.
    ///
    /// # Errors
    /// When the last axis of `x` is not the dimension.
    #[doc(alias("tie_weights", "lm_head"))]
    pub fn scores(&self, x: &Var) -> Result<Var> {
        Ok(match self.weight.stored() {
            Some(table) => x.linear_stored(&table.t()?, None, false)?,
            None => x.linear(&self.weight.var().t()?, None, false)?,
        })
    }

    /// A row for each id: `[…]` give `[…, dim]`.
    ///
    /// # Errors
    /// For an id beyond the vocabulary, with its position.
    pub fn forward(&self, ids: &Tensor<u32>) -> Result<Var> {
        if let Some(table) = self.weight.stored() {
            return Ok(Var::lookup_stored(&table, ids)?);
        }
        let table = self.weight.var();
        Ok(match self.padding {
            Some(id) => table.lookup_padded(ids, id)?,
            None => table.lookup(ids)?,
        })
    }
}

impl Module for Embedding {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.field("weight", &self.weight);
    }
}

impl Layer for Embedding {
    fn forward(&self, input: Value, cx: &mut Context) -> Result<Var> {
        match input {
            Value::Ids(ids) => {
                if let Some(padding) = self.padding.filter(|_| self.masked) {
                    cx.set_mask(Some(SequenceMask::of_ids(&ids, padding)?));
                }
                Embedding::forward(self, &ids)
            }
            Value::Floats(x) => Err(Error::BadInput {
                input: x.dims().clone(),
                why: "an embedding looks up ids (`Tensor<u32>`), these are floats".into(),
            }),
        }
    }
}

pub(super) mod spec {
    use super::*;

    /// Description of an [`Embedding`](crate::Embedding) of ids below `vocabulary` in `dim` floats each: ids `[…]` give
    /// `[…, dim]`.
    ///
    /// Values are drawn uniformly within ±0.05, as in Keras.
    ///
    /// ```
    /// use cairn_nn::spec::{Dense, Embedding, Lstm};
    /// use cairn_nn::{Model, Sequential};
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
        #[doc(alias = "embeddings_initializer")]
        pub fn init(self, init: Init) -> Self {
            Embedding { init, ..self }
        }

        /// With an id whose row is zero and stays so: it gets no gradient.
        #[must_use]
        #[doc(alias = "padding_idx")]
        pub fn padding(self, id: u32) -> Self {
            Embedding { padding: Some(id), ..self }
        }

        /// Layers after it in a [`Sequential`](crate::Sequential) pass over the [padding](Self::padding) before and after
        /// each sequence (Keras's `mask_zero`): recurrent layers neither change their state there nor take their last output
        /// from there, and [`GlobalAvgPool`](crate::GlobalAvgPool) leaves it out. See [`SequenceMask`] for which layers hand
        /// this on.
        ///
        /// ```
        /// use cairn_nn::spec::{Dense, Embedding, Lstm};
        /// use cairn_nn::{Model, Sequential};
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
        #[doc(alias = "mask_zero")]
        pub fn masked(self) -> Self {
            Embedding { masked: true, ..self }
        }

        /// The layer, with values drawn.
        ///
        /// # Errors
        /// [`Error::BadSetting`] for sizes of 0, or a padding id beyond the vocabulary; when memory does not hold the table.
        pub fn layer(&self, rng: &mut Rng) -> Result<super::Embedding> {
            self.plan(&Shape::from([]))?;
            let mut table = self.init.tensor([self.vocabulary, self.dim], rng)?;
            if let Some(id) = self.padding {
                table.as_mut_slice()?[id as usize * self.dim..][..self.dim].fill(0.0);
            }
            let weight = Parameter::new(table);
            Ok(super::Embedding { weight, padding: self.padding, masked: self.masked })
        }
    }

    impl LayerConfig for Embedding {
        const KIND: &'static str = "embedding";

        fn plan(&self, input: &Shape) -> Result<Plan> {
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
                let why = "the padding id of a masked embedding must be given".into();
                return Err(Error::BadInput { input: input.clone(), why });
            }
            let output = input.iter().copied().chain([self.dim]).collect();
            Ok(Plan { output, values: self.vocabulary.saturating_mul(self.dim) })
        }

        fn build(&self, _: &Shape, rng: &mut Rng) -> Result<Box<dyn Layer>> {
            Ok(Box::new(self.layer(rng)?))
        }

        fn keeps_steps(&self) -> bool {
            true
        }

        fn rules(&self, framework: Framework, flow: &mut Flow) -> Result<Vec<Rule>> {
            flow.steps_first = true;
            let name = if framework == Framework::Keras { "/embeddings" } else { ".weight" };
            Ok(vec![Rule::new("weight", name, Permutation::Same)])
        }
    }
}
