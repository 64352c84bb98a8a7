//! What settings of the Llama family say of the layers: their norms and windows, how heads are turned, and what scores are scaled by.

use cairn_tensor::{Pairs, RotaryScaling};
use serde_json::Value;

use super::rope::Rope;
use super::{Config, Format};
use crate::{Error, Init, Result, RmsNorm, RotaryPositions, spec};

/// What the blocks are made by.
pub(super) struct Settings<'a> {
    pub(super) config: &'a Config,
    pub(super) features: usize,
    pub(super) init: Init,
    pub(super) gemma: bool,
}

impl<'a> Settings<'a> {
    /// Of a config.json or a GGUF file, for weights that are drawn so.
    pub(super) fn of(config: &'a Config, init: Init) -> Result<Self> {
        let gemma = config.model_type()?.starts_with("gemma");
        // Gemma's encoder of sentences is called as the model that writes.
        if config.get("use_bidirectional_attention").is_some_and(|said| *said != Value::Bool(false)) {
            let what =
                "attention in both directions (`use_bidirectional_attention`), which writes no texts".into();
            return Err(Error::Unsupported { what });
        }
        Ok(Settings { config, features: config.size("hidden_size")?, init, gemma })
    }

    fn epsilon(&self) -> Result<f32> {
        Ok(self.config.number_or("rms_norm_eps", 1e-6)? as f32)
    }

    /// A norm of so many features.
    pub(super) fn norm(&self, features: usize) -> Result<RmsNorm> {
        RmsNorm::new(features)?.epsilon(self.epsilon()?)
    }

    /// How many features a head has.
    fn head_size(&self) -> Result<usize> {
        self.config.size_or("head_dim", self.features / self.config.size("num_attention_heads")?)
    }

    /// The window of a layer, if it has one.
    pub(super) fn window(&self, layer: usize) -> Result<Option<usize>> {
        let config = self.config;
        if config.get("sliding_window").is_none() {
            return Ok(None);
        }
        let slides = match config.text_at("layer_types", layer) {
            Some(kind) => kind == "sliding_attention",
            // Gemma 3's sixth layers look at everything, as every other of Gemma 2's.
            None if self.gemma => {
                let every = if config.model_type()? == "gemma2" { 2 } else { 6 };
                !(layer + 1).is_multiple_of(config.size_or("sliding_window_pattern", every)?)
            }
            None if config.model_type()?.starts_with("qwen") => {
                config.flag_or("use_sliding_window", false)
                    && layer >= config.size_or("max_window_layers", 28)?
            }
            None => true,
        };
        slides.then(|| config.size("sliding_window")).transpose()
    }

    /// How layers of a kind turn queries and keys.
    pub(super) fn rotary(&self, kind: &str) -> Result<RotaryPositions> {
        let config = self.config;
        let mut rope = Rope::read(config, kind)?;
        // Before settings were by kind of layer, Gemma 3's local layers had a base of their own, without scaling.
        if kind == "sliding_attention" && config.get("rope_local_base_freq").is_some() {
            let base = config.number_or("rope_local_base_freq", 1e4)?;
            rope = Rope { base, scaling: RotaryScaling::None };
        }
        // The conversion to GGUF changes the order of rows of Llama's queries and keys, so that neighbours are turned together.
        let neighbours =
            config.format() == Format::Gguf && matches!(config.model_type()?, "llama" | "mistral");
        let pairs = if neighbours { Pairs::Neighbours } else { Pairs::Halves };
        RotaryPositions::new(rope.rotary(self.head_size()?), pairs)
    }

    /// The attention of a layer with this window.
    pub(super) fn attention(&self, window: Option<usize>) -> Result<spec::MultiHeadAttention> {
        let (config, heads) = (self.config, self.config.size("num_attention_heads")?);
        let kind = config.model_type()?;
        let bias = config.flag_or("attention_bias", kind == "qwen2");
        let mut attention = spec::MultiHeadAttention::new(heads)
            .key_value_heads(config.size_or("num_key_value_heads", heads)?)
            .head_size(self.head_size()?)
            .bias(bias)
            .output_bias(bias && kind != "qwen2")
            .causal(true)
            .separate()
            .dropout(config.number_or("attention_dropout", 0.0)? as f32)
            .init(self.init);
        if let Some(window) = window {
            attention = attention.window(window);
        }
        if matches!(kind, "qwen3" | "gemma3" | "gemma3_text") {
            attention = attention.head_norm(self.epsilon()?);
        }
        if self.gemma {
            attention = attention.scale(config.number_or("query_pre_attn_scalar", 256.0)?.powf(-0.5));
            let cap = config.number_or("attn_logit_softcapping", 0.0)?;
            attention = if cap > 0.0 { attention.soft_cap(cap) } else { attention };
        }
        Ok(attention)
    }
}
