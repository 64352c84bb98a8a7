//! The files of peft: adapter_config.json with the settings, adapter_model.safetensors with the matrices.
//!
//! A matrix is called `base_model.model.` + the layer's path in transformers' model + `.lora_A.weight` (`[rank, inputs]`) or
//! `.lora_B.weight` (`[outputs, rank]`): the transposes of what is here. Which layers have adapters is read from these names, and not
//! from the patterns in the settings.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use cairn_tensor::{AnyTensor, DType, Tensor};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::attached::{Place, places};
use super::pattern::Patterns;
use super::{Adapter, Lora, LowRank};
use crate::models::{Config, Format, Modules};
use crate::weights::Weights;
use crate::{Error, Module, Result};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
const BEFORE: &str = "base_model.model.";

/// What is read of adapter_config.json; the defaults are peft's.
#[derive(Debug, Deserialize)]
struct Settings {
    peft_type: String,
    base_model_name_or_path: Option<String>,
    #[serde(default = "eight")]
    r: usize,
    #[serde(default = "eight_of")]
    lora_alpha: f32,
    #[serde(default)]
    lora_dropout: f32,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    target_modules: Option<Value>,
    layers_to_transform: Option<Value>,
    #[serde(default)]
    alpha_pattern: Patterns,
}

fn eight() -> usize {
    8
}

fn eight_of() -> f32 {
    8.0
}

impl Settings {
    fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(CONFIG);
        let text = fs::read_to_string(&path).map_err(Error::file(&path))?;
        let bad = |why: String| Error::BadFile { path: path.clone(), why };
        let settings: Settings = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        if settings.peft_type != "LORA" {
            return Err(Error::Unsupported { what: format!("adapters of type `{}`", settings.peft_type) });
        }
        if settings.use_dora {
            return Err(Error::Unsupported { what: "adapters that also change lengths (DoRA)".into() });
        }
        Ok(settings)
    }

    fn lora(&self) -> Lora {
        let strings = |value: &Value| match value {
            Value::Array(list) => list.iter().filter_map(|item| Some(item.as_str()?.to_owned())).collect(),
            Value::String(one) => vec![one.clone()],
            _ => Vec::new(),
        };
        let numbers = |value: &Value| match value {
            Value::Array(list) => list.iter().filter_map(|item| Some(item.as_u64()? as usize)).collect(),
            other => other.as_u64().into_iter().map(|at| at as usize).collect::<Vec<_>>(),
        };
        let targets = self.target_modules.as_ref().map(strings);
        Lora {
            rank: self.r,
            alpha: Some(self.lora_alpha),
            dropout: self.lora_dropout,
            stabilized: self.use_rslora,
            targets: targets.filter(|all| all != &["all-linear"]),
            layers: self.layers_to_transform.as_ref().map(numbers).filter(|all| !all.is_empty()),
        }
    }

    /// The α of the layer at a path in transformers' model. Its rank is that of its matrices.
    fn alpha(&self, path: &str) -> Result<f32> {
        Ok(self.alpha_pattern.of(path)?.unwrap_or(self.lora_alpha))
    }
}

impl Adapter {
    /// Freezes an open model and puts the adapters of a folder beside its layers, as peft writes them. They can be trained on.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::BadFile`] for what cannot be read; [`Error::StateMismatch`] for matrices of layers that the model has
    /// not, or of other sizes; [`Error::Unsupported`] for adapters of another kind than LoRA, of embeddings, and with more than
    /// matrices.
    #[doc(alias("from_pretrained", "load_adapter"))]
    pub fn load(folder: impl AsRef<Path>, module: &(impl Module + ?Sized), config: &Config) -> Result<Self> {
        let folder = folder.as_ref();
        let (settings, modules) = (Settings::read(folder)?, Modules::of(config)?);
        let lora = settings.lora();
        lora.check()?;
        let mut given = matrices(&folder.join(WEIGHTS), &modules)?;
        let mut found: Vec<(Place, LowRank)> = Vec::new();
        for place in places(module, Some(&modules))? {
            let Some(Pair { path, a, b }) = given.remove(&place.name) else { continue };
            let rank = a.shape()[0];
            if a.shape() != [rank, place.inputs] || b.shape() != [place.outputs.len(), rank] || rank == 0 {
                return Err(Error::StateMismatch(format!(
                    "{}: adapters of {:?} and {:?} for a layer of {} inputs and {} outputs",
                    place.name,
                    a.shape(),
                    b.shape(),
                    place.inputs,
                    place.outputs.len()
                )));
            }
            let scale = lora.scale(rank, settings.alpha(&path)?);
            let (a, b) = (a.t()?.contiguous()?, modules.turned(&place.name, &b)?.t()?.contiguous()?);
            let adapter = LowRank::with(a, b, place.outputs.clone(), scale, lora.dropout)?;
            found.push((place, adapter));
        }
        if let Some(name) = given.into_keys().next() {
            return Err(unknown(&name));
        }
        if found.is_empty() {
            return Err(Error::StateMismatch("there are no adapters in the file".into()));
        }
        module.freeze();
        let all = found.into_iter().map(|(place, adapter)| place.attach(adapter)).collect();
        Ok(Adapter { settings: lora, all, modules: Some(modules) })
    }

    /// Writes a folder as peft reads it, for a model that is called `base`: a name, or a path.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be written.
    #[doc(alias = "save_pretrained")]
    pub fn save(&self, folder: impl AsRef<Path>, base: &str) -> Result<()> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(Error::file(folder))?;
        let mut tensors = BTreeMap::new();
        for one in &self.all {
            let mut b = one.adapter.b.value().t()?;
            let mut path = one.name.clone();
            if let Some(modules) = &self.modules {
                b = modules.turned_back(&one.name, &b)?;
                path = modules.whole(&one.name);
            }
            let a = one.adapter.a.value().t()?.contiguous()?;
            tensors.insert(format!("{BEFORE}{path}.lora_A.weight"), a.into());
            tensors.insert(format!("{BEFORE}{path}.lora_B.weight"), b.contiguous()?.into());
        }
        let mut weights = Weights::from(tensors);
        weights.metadata.insert("format".into(), "pt".into());
        weights.write_safetensors(folder.join(WEIGHTS))?;
        let path = folder.join(CONFIG);
        let text = format!("{:#}\n", self.described(base));
        crate::codec::write_atomically(&path, text.as_bytes())
    }

    /// The name of the model that the adapters in a folder are for, as far as it is said.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::BadFile`] and [`Error::Unsupported`] as [`load`](Self::load).
    pub fn base_of(folder: impl AsRef<Path>) -> Result<Option<String>> {
        Ok(Settings::read(folder.as_ref())?.base_model_name_or_path)
    }

    /// adapter_config.json.
    fn described(&self, base: &str) -> Value {
        let settings = &self.settings;
        let last = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
        let mut targets: Vec<String> = match &settings.targets {
            Some(targets) => targets.clone(),
            None => self.all.iter().map(|one| last(&one.name)).collect(),
        };
        targets.sort();
        targets.dedup();
        let (mut ranks, mut alphas) = (Map::new(), Map::new());
        for one in &self.all {
            let rank = one.adapter.rank();
            if rank != settings.rank {
                ranks.insert(one.name.clone(), rank.into());
            }
            let expected = settings.scale(rank, settings.alpha_or_rank());
            if one.adapter.scale() != expected {
                let alpha = one.adapter.scale() / settings.scale(rank, 1.0);
                alphas.insert(one.name.clone(), f64::from(alpha).into());
            }
        }
        json!({
            "peft_type": "LORA",
            "task_type": self.modules.as_ref().map(Modules::task),
            "base_model_name_or_path": base,
            "r": settings.rank,
            "lora_alpha": settings.alpha_or_rank(),
            "lora_dropout": settings.dropout,
            "use_rslora": settings.stabilized,
            "use_dora": false,
            "target_modules": targets,
            "layers_to_transform": settings.layers,
            "rank_pattern": ranks,
            "alpha_pattern": alphas,
            "bias": "none",
            "fan_in_fan_out": self.modules.as_ref().is_some_and(Modules::fans_in_out),
            "init_lora_weights": true,
            "modules_to_save": null,
            "inference_mode": true,
        })
    }
}

/// The adapters in a folder, to be added to a model's file.
pub(super) struct Files {
    settings: Settings,
    modules: Modules,
    format: Format,
    /// By the names of the weights, as the file has them but for what stands before all.
    given: BTreeMap<String, (String, Pair)>,
}

impl Files {
    pub(super) fn read(folder: &Path, config: &Config) -> Result<Self> {
        let (settings, modules, format) = (Settings::read(folder)?, Modules::of(config)?, config.format());
        let mut given = BTreeMap::new();
        for (layer, pair) in matrices(&folder.join(WEIGHTS), &modules)? {
            let weight = match format {
                Format::HuggingFace => format!("{layer}.weight"),
                Format::Gguf => modules.in_gguf(&layer).ok_or_else(|| unknown(&layer))?,
            };
            given.insert(weight, (layer, pair));
        }
        Ok(Files { settings, modules, format, given })
    }

    /// What is added to a weight of the file, as it lies there.
    pub(super) fn take(&mut self, name: &str) -> Result<Option<Tensor>> {
        let Some((layer, pair)) = self.given.remove(self.modules.bare(name)) else { return Ok(None) };
        let Pair { path, a, b } = pair;
        let lora = self.settings.lora();
        lora.check()?;
        let rank = a.shape()[0];
        if b.shape()[1] != rank || rank == 0 {
            return Err(Error::StateMismatch(format!(
                "{layer}: matrices of {:?} and {:?}",
                a.shape(),
                b.shape()
            )));
        }
        let b = self.modules.turned(&layer, &b)?;
        let product = b.matmul(&a)?.scale(lora.scale(rank, self.settings.alpha(&path)?))?;
        let turned = self.modules.fans_in_out() && self.format == Format::HuggingFace;
        Ok(Some(if turned { product.t()?.contiguous()? } else { product }))
    }

    /// That all of them were taken.
    pub(super) fn check_used(&self) -> Result<()> {
        self.given.values().next().map_or(Ok(()), |(layer, _)| Err(unknown(layer)))
    }
}

fn unknown(layer: &str) -> Error {
    Error::StateMismatch(format!("{layer}: there is no such layer to be adapted"))
}

/// The matrices of a layer.
struct Pair {
    /// Where the layer is in transformers' model, with what stands before all names.
    path: String,
    a: Tensor,
    b: Tensor,
}

/// The pairs of matrices of a file, by the names of their layers.
fn matrices(path: &Path, modules: &Modules) -> Result<BTreeMap<String, Pair>> {
    let mut pairs: BTreeMap<String, (String, [Option<Tensor>; 2])> = BTreeMap::new();
    for (key, value) in Weights::read_safetensors(path)?.tensors {
        let bare = key.strip_prefix(BEFORE).unwrap_or(&key).replace(".default.weight", ".weight");
        let found = [".lora_A.weight", ".lora_B.weight"]
            .into_iter()
            .enumerate()
            .find_map(|(side, end)| Some((side, bare.strip_suffix(end)?)));
        let Some((side, layer)) = found else {
            return Err(Error::Unsupported { what: format!("`{key}` among adapters of dense layers") });
        };
        let value = value.cast(DType::F32)?;
        let value = AnyTensor::as_f32(&value)?.clone();
        if value.rank() != 2 {
            let why = format!("{key} is no matrix");
            return Err(Error::BadFile { path: path.to_owned(), why });
        }
        let (whole, pair) = pairs.entry(modules.bare(layer).to_owned()).or_default();
        layer.clone_into(whole);
        pair[side] = Some(value);
    }
    let whole = pairs.into_iter().map(|(name, (layer, pair))| match pair {
        [Some(a), Some(b)] => Ok((name, Pair { path: layer, a, b })),
        _ => {
            Err(Error::BadFile { path: path.to_owned(), why: format!("{name} has but one of two matrices") })
        }
    });
    whole.collect()
}
