//! What is served: files of any kind that the program knows, each by the name of its file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn::nn::Error;
use cairn::nn::language::{Encoder, LanguageModel};
use serde_json::{Value, json};

use super::gate::Gate;
use super::refusal::Refusal;
use super::writer::{Sizes, Writer};
use crate::commands::failure::Failure;
use crate::commands::network::Network;
use crate::commands::recommender::{self, Recommends};

/// A model and its name.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// What all but writers wait at.
    pub(super) gate: Gate,
}

/// What a model does.
#[derive(Debug)]
pub(super) enum Kind {
    Writer(Arc<Writer>),
    Encoder(Arc<Encoder>),
    Network(Arc<Network>),
    Recommender(Arc<dyn Recommends>),
}

impl Model {
    /// Reads what lies at a path, to be called so.
    pub(super) fn load(path: &Path, name: String, sizes: Sizes) -> Result<Self, Failure> {
        Ok(Model { name, kind: Kind::load(path, sizes)?, gate: Gate::new(sizes.queue) })
    }

    /// What `/v1/models` says of it.
    pub(super) fn about(&self) -> Value {
        let mut about = json!({"id": self.name, "object": "model", "created": 0, "owned_by": "cairn"});
        let more = match &self.kind {
            Kind::Writer(writer) => {
                let kind = if writer.model.template().is_some() { "chat" } else { "completion" };
                json!({"kind": kind, "context": writer.capacity})
            }
            Kind::Encoder(_) => json!({"kind": "embedding"}),
            Kind::Network(network) => json!({
                "kind": "network", "input": network.input(), "output": network.output(), "ids": network.takes_ids(),
            }),
            Kind::Recommender(model) => json!({"kind": "recommender", "about": model.about()}),
        };
        if let (Value::Object(about), Value::Object(more)) = (&mut about, more) {
            about.extend(more);
        }
        about
    }
}

/// What the models at these paths are called: those of one name by longer ones. What lies at the same path twice has one name all the same.
pub(super) fn names_of(paths: &[PathBuf]) -> Vec<String> {
    let all: Vec<[String; 3]> = paths.iter().map(|path| all_names_of(path, path.is_dir())).collect();
    told_apart(&all)
}

/// Of names that become longer, the first for each that no other has.
fn told_apart(all: &[[String; 3]]) -> Vec<String> {
    let mut names: Vec<&String> = all.iter().map(|names| &names[0]).collect();
    for longer in 1..3 {
        let twice = |name: &String| names.iter().filter(|other| **other == name).count() > 1;
        let twice: Vec<bool> = names.iter().map(|name| twice(name)).collect();
        for ((name, all), twice) in names.iter_mut().zip(all).zip(twice) {
            if twice {
                *name = &all[longer];
            }
        }
    }
    names.into_iter().cloned().collect()
}

/// The name of a model, that with its organisation or the folder that it lies in, and that with its commit in the hub's cache.
fn all_names_of(path: &Path, is_folder: bool) -> [String; 3] {
    let own = |name: &std::ffi::OsStr| name.to_string_lossy().into_owned();
    let short = name_of(path, is_folder);
    if let Some(whole) = cached(path).filter(|_| is_folder) {
        let long = whole.replacen("--", "/", 1);
        let commit = path.file_name().map(own).unwrap_or_default();
        return [short, long.clone(), format!("{long}@{commit}")];
    }
    let above = path.parent().and_then(Path::file_name).map(own);
    let long = above.map_or_else(|| short.clone(), |above| format!("{above}/{short}"));
    [short, long.clone(), long]
}

/// `organisation--name` of a folder in the cache of the hub's own programs.
fn cached(path: &Path) -> Option<&str> {
    let snapshots =
        path.parent().filter(|above| above.file_name().is_some_and(|name| name == "snapshots"))?;
    snapshots.parent()?.file_name()?.to_str()?.strip_prefix("models--")
}

/// What a model at a path is called: as its file or folder. In the cache of the hub's own programs the folder is called as the commit,
/// `models--organisation--name/snapshots/COMMIT`; the model is called as there by the second.
fn name_of(path: &Path, is_folder: bool) -> String {
    let second = |whole: &str| whole.split_once("--").map_or(whole, |(_, name)| name).to_owned();
    let name = if is_folder { path.file_name() } else { path.file_stem() };
    let own = || name.map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
    cached(path).filter(|_| is_folder).map_or_else(own, second)
}

impl Kind {
    pub(super) fn writer(&self) -> Option<Arc<Writer>> {
        if let Kind::Writer(writer) = self { Some(writer.clone()) } else { None }
    }

    pub(super) fn encoder(&self) -> Option<Arc<Encoder>> {
        if let Kind::Encoder(encoder) = self { Some(encoder.clone()) } else { None }
    }

    pub(super) fn network(&self) -> Option<Arc<Network>> {
        if let Kind::Network(network) = self { Some(network.clone()) } else { None }
    }

    pub(super) fn recommender(&self) -> Option<Arc<dyn Recommends>> {
        if let Kind::Recommender(model) = self { Some(model.clone()) } else { None }
    }

    fn load(path: &Path, sizes: Sizes) -> Result<Self, Failure> {
        std::fs::metadata(path).map_err(|error| Failure::file(path, &error))?;
        if !path.is_dir() {
            if cairn::recsys::inspect(path).is_ok() {
                return Ok(Kind::Recommender(recommender::load(path)?.into()));
            }
            match Network::load(path) {
                Ok(network) => return Ok(Kind::Network(Arc::new(network))),
                Err(failure) if path.extension().is_some_and(|end| end == "cairn") => return Err(failure),
                Err(_) => {}
            }
        }
        match LanguageModel::load(path) {
            Ok(model) => Ok(Kind::Writer(Arc::new(Writer::start(model, sizes)?))),
            Err(error @ Error::Unsupported { .. }) => match Encoder::load(path) {
                Ok(encoder) => Ok(Kind::Encoder(Arc::new(encoder))),
                // Neither of the two knows what it is.
                Err(Error::Unsupported { .. }) => Err(error.into()),
                Err(other) => Err(other.into()),
            },
            Err(error) => Err(error.into()),
        }
    }
}

/// All models of a server.
#[derive(Debug)]
pub(super) struct Models(pub(super) Vec<Model>);

impl Models {
    /// The model of a name that is of a kind; without a name the only one of that kind, or the first.
    pub(super) fn find<T>(
        &self,
        name: Option<&str>,
        what: &str,
        of: impl Fn(&Kind) -> Option<T>,
    ) -> Result<(&Model, T), Refusal> {
        let mut fitting = self.0.iter().filter_map(|model| Some((model, of(&model.kind)?)));
        match name {
            None => fitting.next().ok_or_else(|| Refusal::no_model(format!("no model here {what}"))),
            Some(name) => fitting.find(|(model, _)| model.name == name).ok_or_else(|| {
                let known: Vec<&str> = self
                    .0
                    .iter()
                    .filter(|model| of(&model.kind).is_some())
                    .map(|model| &*model.name)
                    .collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                Refusal::no_model(format!("there is no model `{name}` that {what}; those that do: {known}"))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_called_as_their_files_and_in_the_hubs_cache_as_the_model() {
        let name = |path: &str, is_folder: bool| name_of(Path::new(path), is_folder);
        assert_eq!(
            (name("a/m.Q4_1.gguf", false), name("a/MiniLM-L6", true)),
            ("m.Q4_1".into(), "MiniLM-L6".into())
        );
        let snapshot = "hub/models--someone--letters/snapshots/0123456789abcdef";
        assert_eq!(name(snapshot, true), "letters");
        assert_eq!(name("hub/models--gpt2/snapshots/0123", true), "gpt2");
        assert_eq!(name(&format!("{snapshot}/m-Q8_0.gguf"), false), "m-Q8_0");
        // One's own snapshots.
        assert_eq!(name("training/snapshots/5", true), "5");
    }

    #[test]
    fn models_of_one_name_have_longer_ones() {
        let names = |paths: &[&str]| {
            let all: Vec<[String; 3]> =
                paths.iter().map(|path| all_names_of(Path::new(path), !path.ends_with("gguf"))).collect();
            told_apart(&all)
        };
        let cached = |whole: &str, commit: &str| format!("hub/models--{whole}/snapshots/{commit}");
        let [one, two, later] = [("one--m", "01"), ("two--m", "01"), ("one--m", "02")]
            .map(|(whole, commit)| cached(whole, commit));
        assert_eq!(names(&[&one, "a/other.gguf"]), ["m", "other"]);
        assert_eq!(names(&[&one, &two, "a/other.gguf"]), ["one/m", "two/m", "other"]);
        assert_eq!(names(&[&one, &two, &later]), ["one/m@01", "two/m", "one/m@02"]);
        assert_eq!(names(&["data/one/m", &two, "a/m.gguf"]), ["one/m", "two/m", "a/m"]);
        assert_eq!(names(&[&cached("gpt2", "01"), &cached("gpt2", "02")]), ["gpt2@01", "gpt2@02"]);
        // The same twice cannot be told apart.
        assert_eq!(names(&["a/m", "a/m"]), ["a/m", "a/m"]);
    }
}
