//! What the dense layers of a model are called elsewhere, and the order of their outputs there: for adapters, which are published apart
//! from the models that they belong to.

use cairn_tensor::Tensor;

use super::{Config, Format, Names, architecture};
use crate::Result;

/// Names and orders of a model's layers, by transformers' names of them.
#[derive(Debug, Clone)]
pub(crate) struct Modules {
    names: Names,
    causal: bool,
    /// Weights are `[inputs, outputs]` in transformers: GPT-2.
    fans_in_out: bool,
    /// The size of a head, where queries' and keys' rows are in another order here: see [`turned`](Self::turned).
    head: Option<usize>,
}

impl Modules {
    pub(crate) fn of(config: &Config) -> Result<Self> {
        Self::new(config, config.format())
    }

    /// With the order of outputs that GGUF has, whatever files the settings are of.
    #[cfg(feature = "language")]
    pub(crate) fn for_gguf(config: &Config) -> Result<Self> {
        Self::new(config, Format::Gguf)
    }

    fn new(config: &Config, format: Format) -> Result<Self> {
        let architecture = architecture(config)?;
        let kind = config.model_type()?;
        let reordered = format == Format::Gguf && matches!(kind, "llama" | "mistral");
        let head =
            || config.size_or("head_dim", config.size("hidden_size")? / config.size("num_attention_heads")?);
        Ok(Modules {
            names: (architecture.table)(config),
            causal: architecture.causal,
            fans_in_out: kind == "gpt2",
            head: reordered.then(head).transpose()?,
        })
    }

    /// The names of the layer at a path, without what stands before all of them; several where it is several side by side there.
    pub(crate) fn parts(&self, path: &str) -> Vec<String> {
        let weight = format!("{path}.weight");
        let parts = self.names.elsewhere(&weight, Format::HuggingFace).unwrap_or_default();
        parts.iter().filter_map(|name| Some(name.strip_suffix(".weight")?.to_owned())).collect()
    }

    /// The name in GGUF of the weight of a layer that is called so by transformers.
    pub(crate) fn in_gguf(&self, layer: &str) -> Option<String> {
        self.names.in_gguf(&format!("{layer}.weight"))
    }

    /// A name without what stands before all of them.
    pub(crate) fn bare<'a>(&self, name: &'a str) -> &'a str {
        self.names.prefixes.iter().fold(name, |name, prefix| name.strip_prefix(prefix).unwrap_or(name))
    }

    /// A name in the model with its head.
    pub(crate) fn whole(&self, name: &str) -> String {
        match self.names.prefixes.last() {
            Some(prefix) if self.causal && name != "lm_head" => format!("{prefix}{name}"),
            _ => name.to_owned(),
        }
    }

    /// What peft calls the use of such a model.
    pub(crate) fn task(&self) -> &'static str {
        if self.causal { "CAUSAL_LM" } else { "FEATURE_EXTRACTION" }
    }

    pub(crate) fn fans_in_out(&self) -> bool {
        self.fans_in_out
    }

    /// Rows of outputs in the order that they have here. The conversion to GGUF puts the halves of each of Llama's heads of queries and
    /// keys one into the other, so that neighbours are turned together.
    pub(crate) fn turned(&self, name: &str, rows: &Tensor) -> Result<Tensor> {
        self.reordered(name, rows, |size| [2, size / 2])
    }

    /// The inverse of [`turned`](Self::turned).
    pub(crate) fn turned_back(&self, name: &str, rows: &Tensor) -> Result<Tensor> {
        self.reordered(name, rows, |size| [size / 2, 2])
    }

    fn reordered(&self, name: &str, rows: &Tensor, sides: impl Fn(usize) -> [usize; 2]) -> Result<Tensor> {
        let (Some(size), &[outputs, columns]) = (self.head, rows.shape()) else { return Ok(rows.clone()) };
        let turns = name.ends_with("q_proj") || name.ends_with("k_proj");
        if !turns || size == 0 || !outputs.is_multiple_of(size) || !size.is_multiple_of(2) {
            return Ok(rows.clone());
        }
        let [first, second] = sides(size);
        let heads = rows.reshape([outputs / size, first, second, columns])?;
        Ok(heads.transpose(1, 2)?.contiguous()?.reshape([outputs, columns])?)
    }
}
