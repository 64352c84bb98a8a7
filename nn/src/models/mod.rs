//! Open models by the names of their architectures: built from their settings, filled with published weights, trained like any
//! other.
//!
//! | file | architectures |
//! |---|---|
//! | `llama` | Llama 2 and 3, SmolLM2, Mistral, Qwen 2, 2.5 and 3, Gemma 2 and 3 |
//! | `gpt2` | GPT-2 |
//! | `bert` | BERT, MiniLM, RoBERTa, DistilBERT |
//!
//! ```no_run
//! use cairn_nn::Context;
//! use cairn_nn::models::{self, Network};
//! use cairn_tensor::Tensor;
//!
//! // A folder with config.json and safetensors, or a GGUF file.
//! let Network::Causal(model) = models::load("Qwen3-0.6B")? else { panic!("this model encodes texts") };
//! let tokens = Tensor::from_vec(vec![9707, 11, 1879], [1, 3])?;
//! let scores = model.forward(&tokens, &mut Context::eval())?; // [1, 3, vocabulary]
//! # Ok::<(), cairn_nn::Error>(())
//! ```
//!
//! To add one: a file here with a struct of layers, what it reads from the settings and the table of its names, and its line in
//! `ALL`.

mod bert;
mod classifier;
mod config;
mod defaults;
mod files;
mod gguf;
mod gpt2;
mod llama;
mod llama_settings;
mod loss;
mod modules;
mod names;
mod parts;
mod rewrite;
mod rope;
#[cfg(feature = "language")]
mod to_gguf;

use std::fmt::Debug;
use std::path::Path;

use cairn_autograd::{Var, no_grad};
use cairn_tensor::{DType, Rng, Tensor, rng};

pub use bert::Bert;
pub use classifier::SequenceClassifier;
pub use config::{Config, Format};
pub(crate) use files::{Opened, weights_of};
pub use gpt2::Gpt2;
pub use llama::{Llama, LlamaBlock};
pub use loss::{IGNORED, next_token_loss};
pub(crate) use modules::Modules;
use names::{Layout, Name, Names};
pub(crate) use parts::{POOLING, Part};
pub(crate) use rewrite::{Changed, like};
pub use rewrite::{holds_weights, save_like};
#[cfg(feature = "language")]
pub use to_gguf::{GgufParts, to_gguf};

use crate::generate::Decoder;
use crate::{Context, Error, Init, KeyValueCache, Module, Result};

/// The registry.
const ALL: &[Architecture] = &[llama::ARCHITECTURE, gpt2::ARCHITECTURE, bert::ARCHITECTURE];

/// What is known of a family of models.
struct Architecture {
    /// What it is called under `model_type` in config.json and `general.architecture` in GGUF.
    names: &'static [&'static str],
    /// The model of these settings, with weights drawn.
    build: fn(&Config, Init, &mut Rng) -> Result<Network>,
    /// Whether they score the token that follows.
    causal: bool,
    /// The names of its layers in files.
    table: fn(&Config) -> Names,
}

/// A model, by what it is for.
#[derive(Debug)]
pub enum Network {
    /// Scores the token that follows.
    Causal(Box<dyn CausalModel>),
    /// Describes each token within its text.
    Encoder(Box<dyn EncoderModel>),
}

/// A model that scores the token after each: what texts are written with.
pub trait CausalModel: Module + Debug + Send + Sync {
    /// What the model makes of ids `[batch, time]`, before they are scored: `[batch, time, features]`.
    ///
    /// # Errors
    /// For ids beyond the vocabulary and sequences that are too long.
    fn states(&self, tokens: &Tensor<u32>, cx: &mut Context) -> Result<Var>;

    /// As [`states`](Self::states), for the tokens after those in a cache, in a step that it has begun; `positions` are theirs.
    ///
    /// # Errors
    /// As [`states`](Self::states), and for a cache of another model.
    fn states_cached(
        &self,
        tokens: &Tensor<u32>,
        positions: &Tensor<u32>,
        cache: &mut KeyValueCache,
    ) -> Result<Var>;

    /// Scores (logits) of all tokens, from states `[…, features]`: `[…, vocabulary]`.
    ///
    /// # Errors
    /// When the features do not fit.
    fn scores(&self, states: &Var) -> Result<Var>;

    /// An empty cache for `rows` texts of at most `capacity` tokens.
    ///
    /// # Errors
    /// When memory does not hold it.
    fn cache(&self, rows: usize, capacity: usize) -> Result<KeyValueCache>;

    /// How many tokens a text can have.
    #[doc(alias("max_position_embeddings", "n_ctx"))]
    fn context(&self) -> usize;

    /// The scores of the token after each, `[batch, time, vocabulary]`, of ids `[batch, time]`.
    ///
    /// # Errors
    /// As [`states`](Self::states).
    fn forward(&self, tokens: &Tensor<u32>, cx: &mut Context) -> Result<Var> {
        self.scores(&self.states(tokens, cx)?)
    }
}

impl Decoder for Box<dyn CausalModel> {
    type State = KeyValueCache;

    fn next(&self, tokens: &[&[u32]], cache: &mut KeyValueCache) -> Result<Tensor> {
        let (ids, positions) = cache.read(tokens)?;
        no_grad(|| {
            let states = self.states_cached(&ids, &positions, cache)?;
            Ok(self.scores(&cache.last(&states)?)?.value().clone())
        })
    }

    fn pick(&self, cache: &mut KeyValueCache, rows: &[usize]) -> Result<()> {
        cache.pick(rows)
    }
}

/// A model that describes each token by the text around it.
pub trait EncoderModel: Module + Debug + Send + Sync {
    /// `[batch, time, features]` for ids `[batch, time]`. The context says how many of each text are no padding
    /// ([`Context::with_lengths`]).
    ///
    /// # Errors
    /// For ids beyond the vocabulary and texts that are too long.
    fn forward(&self, tokens: &Tensor<u32>, cx: &mut Context) -> Result<Var>;

    /// How many tokens a text can have.
    #[doc(alias("max_position_embeddings", "max_seq_length"))]
    fn context(&self) -> usize;
}

/// The model in a folder with config.json and safetensors, or in a GGUF file. Its matrices are in the type that they have there, f32,
/// bf16, f16 or quantised, and layers compute with them so; only those of f32 can be trained, which [`load_as`] makes of any.
///
/// Beside the weights themselves this takes no memory to speak of.
///
/// # Errors
/// [`Error::File`] and [`Error::BadFile`] for what cannot be read, [`Error::Unsupported`] for an architecture that is not known here,
/// [`Error::StateMismatch`] for weights that are not those of the settings.
#[doc(alias = "from_pretrained")]
pub fn load(path: impl AsRef<Path>) -> Result<Network> {
    let opened = Opened::open(path.as_ref())?;
    let weights = opened.weights()?;
    filled(opened.config, weights, None)
}

/// As [`load`], with all matrices in this type: [`DType::F32`] to train them, 16 bits or blocks of a few to run them in less memory.
/// Matrices whose rows are no whole blocks are f32 then.
///
/// # Errors
/// As [`load`]; [`Error::Unsupported`] for a type that is none of f32, f16, bf16 and the [block formats](cairn_tensor::BlockFormat).
#[doc(alias("torch_dtype", "load_in_4bit", "load_in_8bit"))]
pub fn load_as(path: impl AsRef<Path>, dtype: DType) -> Result<Network> {
    let opened = Opened::open(path.as_ref())?;
    let weights = opened.weights()?;
    filled(opened.config, weights, Some(dtype))
}

/// The settings of the model at a path, as [`load`] reads them.
///
/// # Errors
/// [`Error::File`] and [`Error::BadFile`] for what cannot be read.
pub fn config(path: impl AsRef<Path>) -> Result<Config> {
    Opened::config(path.as_ref())
}

/// The weights at a path, as its files have them: a folder's safetensors, one or several, or a GGUF file's.
///
/// # Errors
/// [`Error::File`] and [`Error::BadFile`] for what cannot be read.
pub fn weights(path: impl AsRef<Path>) -> Result<crate::weights::Weights> {
    let path = path.as_ref();
    if path.is_dir() {
        return crate::weights::Weights::read_safetensors(weights_of(path)?);
    }
    crate::weights::gguf::Gguf::open(path)?.weights()
}

/// A model of these settings, with its weights drawn from a normal distribution of the width that they say (0.02), to be trained from
/// the beginning.
///
/// ```
/// use cairn_nn::Module;
/// use cairn_nn::models::{self, Config, Network};
/// let settings = r#"{"model_type": "gpt2", "vocab_size": 65, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}"#;
/// let Network::Causal(model) = models::new(&Config::parse(settings)?, &mut cairn_tensor::rng(0))? else { panic!() };
/// assert_eq!(model.parameter_count(), 65 * 32 + 64 * 32 + 2 * (12 * 32 * 32 + 13 * 32) + 2 * 32);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
///
/// # Errors
/// [`Error::Unsupported`] for an architecture that is not known here, [`Error::BadFile`] for settings that are missing or make no sense.
pub fn new(config: &Config, rng: &mut Rng) -> Result<Network> {
    let spread = config.number_or("initializer_range", 0.02)?;
    (architecture(config)?.build)(config, Init::Normal(spread as f32), rng)
}

/// The model of these settings with these weights, their matrices in the type that is wanted, if any is.
pub(crate) fn filled(
    mut config: Config,
    weights: crate::weights::Weights,
    wanted: Option<DType>,
) -> Result<Network> {
    if let Some(dtype) = wanted
        && !matches!(dtype, DType::F32 | DType::F16 | DType::BF16 | DType::Quantized(_))
    {
        return Err(Error::Unsupported { what: format!("models with weights of {dtype}") });
    }
    let architecture = architecture(&config)?;
    let mut names = weights.tensors.keys().chain(&weights.left_out);
    let has_head = names.any(|name| name.ends_with("lm_head.weight") || name == "output.weight");
    if !has_head {
        config.set("tie_word_embeddings", true);
    }
    check_sizes(&config, &weights)?;
    let network = (architecture.build)(&config, Init::Deferred, &mut rng(0))?;
    let module: &dyn Module = match &network {
        Network::Causal(model) => model,
        Network::Encoder(model) => model,
    };
    (architecture.table)(&config).load(module, weights, config.format(), wanted)?;
    // What was copied on the way from the file's layout to the model's is not kept for tensors to come.
    cairn_tensor::trim_memory();
    Ok(network)
}

/// A file cannot ask for more layers, a larger table of tokens, or wider layers, than it brings: norms and biases are made before weights are
/// put in their places.
fn check_sizes(config: &Config, weights: &crate::weights::Weights) -> Result<()> {
    let first = |keys: [&str; 3]| keys.into_iter().find_map(|key| config.size(key).ok());
    let layers = first(["num_hidden_layers", "n_layer", "n_layers"]).unwrap_or(0);
    if layers > weights.tensors.len() {
        return Err(config.bad("more layers than there are weights".into()));
    }
    let lengths = || weights.tensors.values().map(cairn_tensor::AnyTensor::len);
    let largest = lengths().max().unwrap_or(0);
    // What a layer has at least as many values as.
    let mut widest = 0;
    for key in SIZES {
        let Ok(size) = config.size(key) else { continue };
        if size > largest {
            return Err(config.bad(format!("`{key}` is more than any weight has values")));
        }
        widest = if key == "vocab_size" { widest } else { widest.max(size) };
    }
    let heads = first(["num_attention_heads", "n_head", "n_heads"]).unwrap_or(0);
    let together = heads.saturating_mul(config.size("head_dim").unwrap_or(0));
    if together > largest {
        return Err(config.bad("its heads together are wider than any weight has values".into()));
    }
    if layers.saturating_mul(widest.max(together)) > lengths().fold(0, usize::saturating_add) {
        return Err(config.bad("its layers have more values than the weights".into()));
    }
    Ok(())
}

/// The sizes of which a model has a weight with at least as many values.
const SIZES: [&str; 9] = [
    "vocab_size",
    "hidden_size",
    "n_embd",
    "dim",
    "intermediate_size",
    "n_inner",
    "hidden_dim",
    "head_dim",
    "num_attention_heads",
];

fn architecture(config: &Config) -> Result<&'static Architecture> {
    let name = config.model_type()?;
    ALL.iter().find(|architecture| architecture.names.contains(&name)).ok_or_else(|| {
        let known: Vec<&str> = ALL.iter().flat_map(|architecture| architecture.names).copied().collect();
        Error::Unsupported { what: format!("the architecture `{name}`; there are {}", known.join(", ")) }
    })
}
