//! Training a few values beside a frozen model: LoRA (low-rank adaptation, Hu et al. 2021).
//!
//! The weight of a dense layer stays as it is, in f32, in 16 bits or quantised, and the product of two narrow matrices is added to it.
//! Only those are trained, counted and saved: of a model of 135 million values half a million, whose gradients and averages of an
//! optimiser take no memory to speak of. Afterwards the product can be [merged](Adapter::merge) into the weight, and costs nothing.
//!
//! ```
//! use cairn_nn::adapters::Lora;
//! use cairn_nn::models::{self, Config, Network};
//! use cairn_nn::{Context, Module};
//! use cairn_tensor::{Tensor, rng};
//!
//! let config = Config::parse(r#"{"model_type": "gpt2", "vocab_size": 65, "n_embd": 32, "n_layer": 2, "n_head": 4}"#)?;
//! let Network::Causal(model) = models::new(&config, &mut rng(0))? else { panic!() };
//! let before = model.parameter_count();
//! let adapter = Lora::new(8).targets(["c_attn"]).attach_as(&model, &config, &mut rng(1))?;
//! assert_eq!(adapter.parameter_count(), 2 * (32 * 8 + 8 * 96));
//! assert_eq!((model.trainable_count(), model.parameter_count()), (adapter.parameter_count(), before + adapter.parameter_count()));
//! let scores = model.forward(&Tensor::from_vec(vec![1, 2, 3], [1, 3])?, &mut Context::train(0))?; // trained as any other model
//! # let folder = tempfile::tempdir().unwrap();
//! adapter.save(folder.path(), "gpt2")?; // as the library peft writes it
//! # Ok::<(), cairn_nn::Error>(())
//! ```
//!
//! Files are those of peft, both ways: see [`Adapter::load`] and [`Adapter::save`].

mod attached;
mod low_rank;
mod merged;
mod pattern;
mod peft;

use cairn_tensor::Rng;

pub use attached::Adapter;
pub use low_rank::LowRank;
pub(crate) use low_rank::Slot;
pub use merged::merge_files;

use crate::models::{Config, Modules};
use crate::{Module, Result};

/// How adapters are made: their rank, what they are multiplied by, the layers that get one.
///
/// Unless told otherwise their product is multiplied by 1 (α is the rank), nothing is dropped, and every dense layer gets one but that
/// over the vocabulary.
#[derive(Debug, Clone, PartialEq)]
#[doc(alias("LoraConfig", "low-rank adaptation", "PEFT", "QLoRA"))]
pub struct Lora {
    rank: usize,
    alpha: Option<f32>,
    dropout: f32,
    stabilized: bool,
    /// The layers that get one; all where nothing is said.
    targets: Option<Vec<String>>,
    /// The blocks that get any, by their number; all where nothing is said.
    layers: Option<Vec<usize>>,
}

impl Lora {
    /// With matrices of this rank.
    #[doc(alias = "r")]
    pub fn new(rank: usize) -> Self {
        Lora { rank, alpha: None, dropout: 0.0, stabilized: false, targets: None, layers: None }
    }

    /// Multiplies the product by `alpha` / rank.
    #[must_use]
    #[doc(alias = "lora_alpha")]
    pub fn alpha(self, alpha: f32) -> Self {
        Lora { alpha: Some(alpha), ..self }
    }

    /// Divides by the root of the rank in place of the rank, so that large ranks learn as fast (Kalajdzievski 2023).
    #[must_use]
    #[doc(alias("use_rslora", "rslora"))]
    pub fn rank_stabilized(self) -> Self {
        Lora { stabilized: true, ..self }
    }

    /// Drops what adapters are given in training with this probability, 0 to below 1.
    #[must_use]
    #[doc(alias = "lora_dropout")]
    pub fn dropout(self, rate: f32) -> Self {
        Lora { dropout: rate, ..self }
    }

    /// For the layers of these names: of a whole path, or the last parts of one, as `q_proj`.
    #[must_use]
    #[doc(alias = "target_modules")]
    pub fn targets<S: Into<String>>(self, names: impl IntoIterator<Item = S>) -> Self {
        Lora { targets: Some(names.into_iter().map(Into::into).collect()), ..self }
    }

    /// Only in the blocks of these numbers.
    #[must_use]
    #[doc(alias = "layers_to_transform")]
    pub fn layers(self, numbers: impl IntoIterator<Item = usize>) -> Self {
        Lora { layers: Some(numbers.into_iter().collect()), ..self }
    }

    /// Freezes a model and puts adapters beside its dense layers, which are called by their paths in it.
    ///
    /// # Errors
    /// [`Error::BadSetting`](crate::Error::BadSetting) for a rank of 0, an α that is not finite, and a dropout out of range;
    /// [`Error::Unsupported`](crate::Error::Unsupported) for a name that no layer has.
    pub fn attach(&self, module: &(impl Module + ?Sized), rng: &mut Rng) -> Result<Adapter> {
        Adapter::drawn(self, module, None, rng)
    }

    /// As [`attach`](Self::attach), to an open model, whose layers are called as transformers calls them.
    ///
    /// # Errors
    /// As [`attach`](Self::attach), and for settings of no known architecture.
    #[doc(alias = "get_peft_model")]
    pub fn attach_as(
        &self,
        module: &(impl Module + ?Sized),
        config: &Config,
        rng: &mut Rng,
    ) -> Result<Adapter> {
        Adapter::drawn(self, module, Some(Modules::of(config)?), rng)
    }

    /// What the product of matrices of a rank is multiplied by.
    fn scale(&self, rank: usize, alpha: f32) -> f32 {
        let rank = rank as f32;
        alpha / if self.stabilized { rank.sqrt() } else { rank }
    }

    fn alpha_or_rank(&self) -> f32 {
        self.alpha.unwrap_or(self.rank as f32)
    }

    fn check(&self) -> Result<()> {
        low_rank::check("the rank of adapters", self.rank as f64, self.rank > 0, "at least 1")?;
        let alpha = self.alpha_or_rank();
        low_rank::check("the α of adapters", alpha.into(), alpha.is_finite(), "finite")?;
        let fits = (0.0..1.0).contains(&self.dropout);
        low_rank::check("the dropout rate", self.dropout.into(), fits, "from 0 to below 1")
    }

    /// Whether the layer of this name gets one.
    fn chooses(&self, name: &str) -> bool {
        let named = match &self.targets {
            Some(targets) => targets.iter().any(|target| is_called(name, target)),
            None => name != "lm_head",
        };
        named && self.layers.as_ref().is_none_or(|layers| number(name).is_some_and(|at| layers.contains(&at)))
    }
}

/// Whether a path is this name or ends with it.
fn is_called(path: &str, name: &str) -> bool {
    path.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// The number of the block that a path leads through.
fn number(path: &str) -> Option<usize> {
    path.split('.').find_map(|part| part.parse().ok())
}
