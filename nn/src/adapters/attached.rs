//! The adapters of a model together: put beside its layers, merged into them, taken away.

use std::collections::HashMap;

use cairn_autograd::Parameter;
use cairn_tensor::{Rng, Tensor};

use super::{Lora, LowRank, Slot};
use crate::models::Modules;
use crate::{Error, Module, Part, Result, Visitor};

/// The adapters of a model, as [`Lora::attach`] and [`Adapter::load`] put them beside its layers. As a module it is their values alone:
/// what is trained, counted and saved.
#[derive(Debug)]
#[doc(alias = "PeftModel")]
pub struct Adapter {
    pub(super) settings: Lora,
    pub(super) all: Vec<Attached>,
    pub(super) modules: Option<Modules>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) name: String,
    pub(super) adapter: LowRank,
    place: Place,
}

/// A part of a dense layer that can have an adapter.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) name: String,
    slot: Slot,
    weight: Parameter,
    pub(super) inputs: usize,
    pub(super) outputs: std::ops::Range<usize>,
}

impl Place {
    pub(super) fn attach(self, adapter: LowRank) -> Attached {
        self.slot.push(adapter.clone());
        Attached { name: self.name.clone(), adapter, place: self }
    }
}

/// The places in a model, by transformers' names or its own.
pub(super) fn places(module: &(impl Module + ?Sized), modules: Option<&Modules>) -> Result<Vec<Place>> {
    let mut weights: HashMap<String, Parameter> = HashMap::new();
    module.visit(&mut Visitor::every_path(&mut |path, part| {
        if let (Part::Parameter(parameter), Some(layer)) = (part, path.strip_suffix("weight")) {
            weights.insert(layer.trim_end_matches('.').to_owned(), parameter.clone());
        }
    }));
    let mut places = Vec::new();
    let mut result = Ok(());
    module.visit(&mut Visitor::slots(&mut |path, slot| {
        let Some(weight) = weights.get(path) else { return };
        let names = modules.map_or_else(|| vec![path.to_owned()], |modules| modules.parts(path));
        let (shape, parts) = (weight.shape(), names.len().max(1));
        let &[inputs, outputs] = &shape[..] else { return };
        if !outputs.is_multiple_of(parts) {
            let what = format!("adapters of the {parts} parts of `{path}`, whose sizes differ");
            result = Err(Error::Unsupported { what });
            return;
        }
        let width = outputs / parts;
        places.extend(names.into_iter().enumerate().map(|(at, name)| Place {
            name,
            slot: slot.clone(),
            weight: weight.clone(),
            inputs,
            outputs: at * width..(at + 1) * width,
        }));
    }));
    result.map(|()| places)
}

impl Adapter {
    pub(super) fn drawn(
        settings: &Lora,
        module: &(impl Module + ?Sized),
        modules: Option<Modules>,
        rng: &mut Rng,
    ) -> Result<Self> {
        settings.check()?;
        let places = places(module, modules.as_ref())?;
        for target in settings.targets.iter().flatten() {
            if !places.iter().any(|place| super::is_called(&place.name, target)) {
                return Err(unknown(target, &places));
            }
        }
        let scale = settings.scale(settings.rank, settings.alpha_or_rank());
        let chosen = places.into_iter().filter(|place| settings.chooses(&place.name));
        let drawn = chosen.map(|place| {
            let outputs = place.outputs.clone();
            let adapter = LowRank::new(place.inputs, outputs, settings.rank, scale, settings.dropout, rng)?;
            Ok((place, adapter))
        });
        let drawn: Vec<(Place, LowRank)> = drawn.collect::<Result<_>>()?;
        if drawn.is_empty() {
            return Err(Error::Unsupported { what: "adapters without a layer to be put beside".into() });
        }
        module.freeze();
        let all = drawn.into_iter().map(|(place, adapter)| place.attach(adapter)).collect();
        Ok(Adapter { settings: settings.clone(), all, modules })
    }

    /// How they were made.
    pub fn settings(&self) -> &Lora {
        &self.settings
    }

    /// The layers that have one, and theirs.
    pub fn layers(&self) -> impl Iterator<Item = (&str, &LowRank)> {
        self.all.iter().map(|one| (one.name.as_str(), &one.adapter))
    }

    /// Adds the products to the weights, which become f32, and takes the adapters away: the model computes the same without them. To
    /// weights that several layers share they are added once for each.
    ///
    /// # Errors
    /// When memory does not hold the weights as f32; nothing has changed then.
    #[doc(alias = "merge_and_unload")]
    pub fn merge(self) -> Result<()> {
        let mut merged: Vec<(&Parameter, Tensor)> = Vec::new();
        for one in &self.all {
            let weight = &one.place.weight;
            match merged.iter_mut().find(|(other, _)| other.same(weight)) {
                Some((_, value)) => *value = one.adapter.added_to(value)?,
                None => merged.push((weight, one.adapter.added_to(&weight.value())?)),
            }
        }
        merged.into_iter().for_each(|(weight, value)| weight.set(value));
        self.detach();
        Ok(())
    }

    /// Takes the adapters away: the model is what it was before, but frozen.
    #[doc(alias = "unload")]
    pub fn detach(self) {
        for one in &self.all {
            one.place.slot.remove(&one.adapter);
        }
    }
}

impl Module for Adapter {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        for one in &self.all {
            visitor.field(&one.name, &one.adapter);
        }
    }
}

/// That no layer has this name, and what names there are.
fn unknown(target: &str, places: &[Place]) -> Error {
    let mut names: Vec<&str> =
        places.iter().map(|place| place.name.rsplit('.').next().unwrap_or_default()).collect();
    names.sort_unstable();
    names.dedup();
    Error::Unsupported {
        what: format!("adapters of `{target}`: dense layers are called {}", names.join(", ")),
    }
}
