//! A language model as it is published: network, tokenizer, template of conversations, and settings of sampling.

use std::path::Path;

use cairn_tensor::DType;
use serde_json::{Map, Value};

use crate::adapters::Adapter;
use crate::generate::{Generate, Sampling};
use crate::models::{CausalModel, Config, Network, Opened};
use crate::tokenizer::{ChatTemplate, Message, Tokenizer};
use crate::{Error, Module, Result};

use super::Text;

/// Tokens that end a turn of a conversation where the template writes them.
const TURNS: [&str; 5] = ["<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "</s>"];

/// A language model with its tokenizer.
///
/// ```no_run
/// use cairn_nn::generate::{Generate, Sampling};
/// use cairn_nn::language::{LanguageModel, user};
/// let model = LanguageModel::load("SmolLM2-135M-Instruct.Q4_1.gguf")?; // or a folder with config.json and safetensors
/// let settings = Generate::new(200).sampling(Sampling::new().temperature(0.8).top_p(0.95)).seed(7);
/// for piece in model.chat([user("Why is the sky blue?")], &settings)? {
///     print!("{}", piece?);
/// }
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug)]
#[doc(alias("AutoModelForCausalLM", "pipeline", "Llama"))]
pub struct LanguageModel {
    network: Box<dyn CausalModel>,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    /// The tokens that end a text.
    ends: Vec<u32>,
    suggested: Sampling,
    /// The settings of the network, where it was read.
    config: Option<Config>,
}

impl LanguageModel {
    /// Reads a folder as Hugging Face publishes models: config.json, one or several safetensors, tokenizer.json, and, where they are
    /// there, generation_config.json and the template of conversations; or a GGUF file, which has all of it.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::BadFile`] for what cannot be read, [`Error::Unsupported`] for an architecture that is not known
    /// here, and for one that writes no texts.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Self::read(path.as_ref(), None)
    }

    /// As [`load`](Self::load), with all matrices in this type: see [`models::load_as`](crate::models::load_as).
    ///
    /// # Errors
    /// As [`load`](Self::load), and for a type that weights cannot have.
    pub fn load_as(path: impl AsRef<Path>, dtype: DType) -> Result<Self> {
        Self::read(path.as_ref(), Some(dtype))
    }

    fn read(path: &Path, dtype: Option<DType>) -> Result<Self> {
        let opened = Opened::open(path)?;
        let (network, tokenizer, template) = opened.parts(path, dtype)?;
        let tokenizer = tokenizer.within_table(opened.config.size("vocab_size").unwrap_or(0));
        let suggested = opened.suggested(path)?;
        let mut ends = suggested.as_ref().map(|config| config.ids("eos_token_id")).unwrap_or_default();
        ends.extend(opened.config.ids("eos_token_id"));
        let sampling = suggested.map_or(Ok(Sampling::new()), |config| sampling(&config))?;
        if let Some(template) = &template {
            let turns = TURNS.iter().filter(|turn| template.writes(turn));
            ends.extend(turns.filter_map(|turn| tokenizer.id(turn)));
        }
        let config = Some(opened.config);
        match network {
            Network::Causal(network) => {
                let model = Self::new(network, tokenizer, template, ends).suggesting(sampling);
                Ok(LanguageModel { config, ..model })
            }
            Network::Encoder(_) => {
                Err(Error::Unsupported { what: "writing texts with an encoder; it embeds them".into() })
            }
        }
    }

    /// Of parts; `ends` are the tokens that end a text.
    pub fn new(
        network: Box<dyn CausalModel>,
        tokenizer: Tokenizer,
        template: Option<ChatTemplate>,
        mut ends: Vec<u32>,
    ) -> Self {
        ends.sort_unstable();
        ends.dedup();
        LanguageModel { network, tokenizer, template, ends, suggested: Sampling::new(), config: None }
    }

    /// The settings of the network, where it was read from a file.
    pub fn config(&self) -> Option<&Config> {
        self.config.as_ref()
    }

    /// Puts adapters beside the network's layers, as peft writes them into a folder: see [`Adapter::load`].
    ///
    /// ```no_run
    /// use cairn_nn::language::LanguageModel;
    /// let model = LanguageModel::load("SmolLM2-135M-Instruct.Q4_1.gguf")?;
    /// let adapter = model.load_adapter("my-adapter")?; // from here on texts are written with it
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Adapter::load`]; [`Error::Unsupported`] for a model that was not read from a file.
    pub fn load_adapter(&self, folder: impl AsRef<Path>) -> Result<Adapter> {
        let Some(config) = &self.config else {
            return Err(Error::Unsupported { what: "adapters of a network without settings".into() });
        };
        Adapter::load(folder, &*self.network, config)
    }

    fn suggesting(self, suggested: Sampling) -> Self {
        LanguageModel { suggested, ..self }
    }

    /// The network, to be trained or looked at.
    pub fn network(&self) -> &dyn CausalModel {
        &*self.network
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The tokens that end a text.
    #[doc(alias = "eos_token_id")]
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// How many tokens the network scores. Tables of some models have more rows than there are tokens.
    #[doc(alias = "vocab_size")]
    pub fn vocabulary(&self) -> usize {
        let table = self.config.as_ref().and_then(|config| config.size("vocab_size").ok());
        table.unwrap_or_else(|| self.tokenizer.len())
    }

    /// How conversations are written, if the model was trained with any.
    pub fn template(&self) -> Option<&ChatTemplate> {
        self.template.as_ref()
    }

    /// How the publisher suggests to draw tokens; from the model's own distribution where nothing is said.
    #[doc(alias = "generation_config")]
    pub fn suggested(&self) -> Sampling {
        self.suggested
    }

    /// How many tokens a text can have, the prompt included.
    pub fn context(&self) -> usize {
        self.network.context()
    }

    /// Continues a text. It ends before a token that ends texts, after as many tokens as the settings say, or at the end of the context.
    ///
    /// The same prompt and settings give the same text, whatever is written beside it.
    ///
    /// # Errors
    /// For a prompt without a token, and one that fills the context.
    pub fn generate(&self, prompt: &str, settings: &Generate) -> Result<Text<'_>> {
        self.continued(&self.tokenizer.encode(prompt)?, settings)
    }

    /// Answers the last message of a conversation.
    ///
    /// # Errors
    /// As [`generate`](Self::generate); [`Error::Unsupported`] for a model without a template of conversations, [`Error::BadFile`]
    /// with its line for messages that the template refuses.
    pub fn chat(&self, messages: impl AsRef<[Message]>, settings: &Generate) -> Result<Text<'_>> {
        self.continued(&self.prompt(messages)?, settings)
    }

    /// The tokens of a conversation up to the model's next answer.
    ///
    /// # Errors
    /// As [`chat`](Self::chat).
    #[doc(alias = "apply_chat_template")]
    pub fn prompt(&self, messages: impl AsRef<[Message]>) -> Result<Vec<u32>> {
        self.prompt_with(messages, &Map::new())
    }

    /// As [`prompt`](Self::prompt), with more values for the template: see [`ChatTemplate::render_with`].
    ///
    /// # Errors
    /// As [`chat`](Self::chat).
    pub fn prompt_with(
        &self,
        messages: impl AsRef<[Message]>,
        more: &Map<String, Value>,
    ) -> Result<Vec<u32>> {
        let Some(template) = &self.template else {
            let what = "conversations with a model that has no template of them; it continues texts".into();
            return Err(Error::Unsupported { what });
        };
        self.tokenizer.encode_bare(&template.render_with(messages.as_ref(), true, more)?)
    }

    /// Continues tokens.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn continued(&self, prompt: &[u32], settings: &Generate) -> Result<Text<'_>> {
        let room = self.room([prompt].into_iter(), settings)?;
        let cache = self.network.cache(1, prompt.len() + room)?;
        let settings = settings.clone().at_most(room).also_stop_at(&self.ends);
        Ok(Text::new(settings.stream(&self.network, cache, prompt), self.tokenizer.pieces()))
    }

    /// Continues several texts at a time, which is faster than one after the other; each is what [`generate`](Self::generate) gives.
    ///
    /// # Errors
    /// As [`generate`](Self::generate), for any of them.
    pub fn generate_batch<S: AsRef<str>>(&self, prompts: &[S], settings: &Generate) -> Result<Vec<String>> {
        let prompts = prompts.iter().map(|prompt| self.tokenizer.encode(prompt.as_ref()));
        let prompts = prompts.collect::<Result<Vec<_>>>()?;
        let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        let room = self.room(prompts.iter().copied(), settings)?;
        let longest = prompts.iter().map(|prompt| prompt.len()).max().unwrap_or(0);
        let cache = self.network.cache(prompts.len(), longest + room)?;
        let settings = settings.clone().at_most(room).also_stop_at(&self.ends);
        let written = settings.batch(&self.network, cache, &prompts)?;
        written.into_iter().map(|text| self.tokenizer.decode(&text.complete()?)).collect()
    }

    /// How many tokens may follow the longest of the prompts.
    fn room<'p>(&self, prompts: impl Iterator<Item = &'p [u32]>, settings: &Generate) -> Result<usize> {
        let longest = prompts.map(<[u32]>::len).max().unwrap_or(0);
        match self.context().saturating_sub(longest) {
            0 => Err(Error::BadSetting {
                what: "the number of tokens of the prompt",
                value: longest as f64,
                must: "below what the model can read",
            }),
            room => Ok(room.min(settings.most())),
        }
    }

    /// The number of parameter values.
    pub fn parameter_count(&self) -> usize {
        self.network.parameter_count()
    }
}

/// What a generation_config.json suggests.
fn sampling(config: &Config) -> Result<Sampling> {
    if config.get("do_sample").is_some() && !config.flag_or("do_sample", true) {
        return Ok(Sampling::greedy());
    }
    let k = config.number_or("top_k", 0.0)?;
    Ok(Sampling::new()
        .temperature(config.number_or("temperature", 1.0)?)
        .top_k(if k < 1.0 { usize::MAX } else { k as usize })
        .top_p(config.number_or("top_p", 1.0)?)
        .min_p(config.number_or("min_p", 0.0)?)
        .repetition_penalty(config.number_or("repetition_penalty", 1.0)?))
}
