//! What a hub says of a model's files, and which of them are wanted.

use std::collections::BTreeSet;
use std::fs;
use std::path::{MAIN_SEPARATOR, Path};

use serde::Deserialize;

use super::name::ModelName;
use crate::error::{Error, Result};
use crate::source::dir::is_below;

/// The file that a list is kept in.
pub(super) const LIST: &str = "hub.json";
/// Where sentence-transformers lists the parts of a model.
pub(super) const PARTS: &str = "modules.json";
/// Of several files in a repository, the one for those who do not choose: four bits with parts in six, as llama.cpp takes.
const USUAL: &str = "Q4_K_M";
/// Most names that an error lists.
const NAMED: usize = 12;

/// Whether a folder has settings, a tokenizer and all pieces of the weights, or is one of adapters.
pub(super) fn is_whole(files: &[&File]) -> bool {
    let has = |name: &str| files.iter().any(|file| file.name == name);
    let pieces: Vec<(u32, u32)> = files.iter().filter_map(|file| piece(&file.name)).collect();
    let all = |count: u32| (1..=count).all(|number| pieces.contains(&(number, count)));
    let model = has("model.safetensors") || pieces.first().is_some_and(|&(_, count)| all(count));
    has("config.json") && has("tokenizer.json") && model
        || has("adapter_config.json") && has("adapter_model.safetensors")
}

/// A part of a model of sentence-transformers.
struct Part {
    is_pooling: bool,
    /// The file of its settings, if it has some.
    settings: String,
}

/// The parts that `modules.json` of a folder names; none where it cannot be read.
fn parts(folder: &Path) -> Vec<Part> {
    #[derive(Deserialize)]
    struct Named {
        #[serde(rename = "type", default)]
        class: String,
        #[serde(default)]
        path: String,
    }
    let text = fs::read(folder.join(PARTS)).unwrap_or_default();
    let named: Vec<Named> = serde_json::from_slice(&text).unwrap_or_default();
    let part = |Named { class, path }: Named| {
        let steps = path.split('/').filter(|step| !matches!(*step, "" | "."));
        let settings = steps.chain(["config.json"]).collect::<Vec<_>>().join("/");
        Part { is_pooling: class.ends_with("Pooling"), settings }
    };
    named.into_iter().map(part).collect()
}

/// Whether a folder of a model, which other programs may have brought in part, says how the vector of a text is made, or need not: who
/// asked for the network alone has left that out, and an encoder would make other vectors without it.
pub(super) fn has_parts(folder: &Path, known_to_have_none: bool) -> bool {
    if folder.join(PARTS).is_file() {
        let mut poolings = parts(folder).into_iter().filter(|part| part.is_pooling);
        return poolings.all(|part| is_below(&part.settings) && folder.join(part.settings).is_file());
    }
    known_to_have_none || !is_encoder(folder)
}

/// Whether a model's settings are not those of one that writes.
fn is_encoder(folder: &Path) -> bool {
    #[derive(Default, Deserialize)]
    struct Settings {
        #[serde(default)]
        architectures: Vec<String>,
    }
    let text = fs::read(folder.join("config.json")).unwrap_or_default();
    let settings: Settings = serde_json::from_slice(&text).unwrap_or_default();
    let writes = ["ForCausalLM", "LMHeadModel", "ForConditionalGeneration"];
    !settings.architectures.iter().any(|name| writes.iter().any(|end| name.ends_with(end)))
}

/// The number of a piece of weights, and of how many: `model-00001-of-00003.safetensors`.
fn piece(name: &str) -> Option<(u32, u32)> {
    let (number, count) = name.strip_prefix("model-")?.strip_suffix(".safetensors")?.split_once("-of-")?;
    Some((number.parse().ok()?, count.parse().ok()?))
}

/// What the hub says of a model.
#[derive(Debug, Deserialize)]
pub(super) struct Listed {
    /// The commit.
    pub(super) sha: String,
    siblings: Vec<File>,
}

/// A file of a model.
#[derive(Debug, Deserialize)]
pub(super) struct File {
    #[serde(rename = "rfilename")]
    pub(super) name: String,
    pub(super) size: Option<u64>,
    pub(super) lfs: Option<Lfs>,
}

/// What is stated of large files alone.
#[derive(Debug, Deserialize)]
pub(super) struct Lfs {
    pub(super) sha256: String,
}

/// What of a repository is wanted.
pub(super) enum Chosen<'a> {
    Folder(Vec<&'a File>),
    /// One file, or the several that a model is cut into, the first first.
    File(Vec<&'a File>),
}

impl<'a> Chosen<'a> {
    pub(super) fn files(&self) -> &[&'a File] {
        let (Chosen::Folder(files) | Chosen::File(files)) = self;
        files
    }
}

impl Listed {
    /// What a folder has, and the folders in it.
    pub(super) fn of_folder(folder: &Path) -> Listed {
        let entries = |folder: &Path| {
            fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>()
        };
        let (folders, mut files): (Vec<_>, Vec<_>) =
            entries(folder).into_iter().partition(|path| path.is_dir());
        files.extend(folders.iter().flat_map(|inner| entries(inner)).filter(|path| path.is_file()));
        let names = files.iter().filter_map(|path| path.strip_prefix(folder).ok()?.to_str());
        let named = |name: &str| File { name: name.replace(MAIN_SEPARATOR, "/"), size: None, lfs: None };
        Listed { sha: String::new(), siblings: names.map(named).collect() }
    }

    pub(super) fn read(path: &Path) -> Result<Listed> {
        let text = fs::read(path).map_err(Error::io("read", path))?;
        let listed: Listed = serde_json::from_slice(&text)
            .map_err(|error| Error::format(path, format!("no list of a model's files: {error}")))?;
        let hexadecimal =
            |text: &str, length| text.len() == length && text.chars().all(|c| c.is_ascii_hexdigit());
        if !hexadecimal(&listed.sha, 40) {
            return Err(Error::format(path, format!("`{}` is no commit", listed.sha)));
        }
        let mut names = BTreeSet::new();
        for file in &listed.siblings {
            let sum = file.lfs.as_ref().is_none_or(|lfs| hexadecimal(&lfs.sha256, 64));
            if !is_below(&file.name) || !sum || !names.insert(&file.name) {
                return Err(Error::format(path, format!("`{}` is no file of a model", file.name)));
            }
        }
        Ok(listed)
    }

    /// The settings of a model's parts, in the folders that `modules.json` names, which must be there by now. A list that cannot be read is
    /// a matter for who loads the model.
    pub(super) fn of_parts(&self, folder: &Path) -> Vec<&File> {
        let parts = parts(folder);
        self.siblings.iter().filter(|file| parts.iter().any(|part| part.settings == file.name)).collect()
    }

    /// A file, with the others of the same model where it is cut into several.
    fn whole<'a>(&'a self, file: &'a File) -> Result<Vec<&'a File>, String> {
        let Some((stem, number, count)) = part(&file.name) else { return Ok(vec![file]) };
        let names = (1..=count).map(|number| format!("{stem}-{number:05}-of-{count:05}.gguf"));
        let find = |name: String| {
            let found = self.siblings.iter().find(|file| file.name == name);
            found
                .ok_or_else(|| format!("{} is one of {count} files, of which {name} is not there", file.name))
        };
        match number {
            1 => names.map(find).collect(),
            _ => Err(format!("{} is file {number} of {count} of a model; the first names it", file.name)),
        }
    }

    pub(super) fn choose(&self, name: &ModelName) -> Result<Chosen<'_>> {
        let wrong = |message: String| Error::argument("hub", format!("{name}: {message}"));
        let gguf = || self.siblings.iter().filter(|file| is_gguf(&file.name));
        let choice = match name.choice() {
            Some(choice) => choice,
            None => {
                let files: Vec<&File> =
                    self.siblings.iter().filter(|file| is_of_folder(&file.name)).collect();
                let settings =
                    files.iter().any(|file| matches!(&file.name[..], "config.json" | "adapter_config.json"));
                if settings && files.iter().any(|file| file.name.ends_with(".safetensors")) {
                    return Ok(Chosen::Folder(files));
                }
                match &gguf().collect::<Vec<_>>()[..] {
                    [] => {
                        return Err(wrong(
                            "there are neither safetensors with config.json nor GGUF files".into(),
                        ));
                    }
                    [only] => return self.whole(only).map(Chosen::File).map_err(wrong),
                    _ => USUAL,
                }
            }
        };
        let exact = self.siblings.iter().find(|file| file.name == choice);
        let found: Vec<&File> = match exact {
            Some(file) => vec![file],
            None => gguf().filter(|file| is_quantised_as(&file.name, choice)).collect(),
        };
        match &found[..] {
            [only] => self.whole(only).map(Chosen::File).map_err(wrong),
            [] => Err(wrong(format!("no file is `{choice}`; there are {}", names(gguf())))),
            several => {
                Err(wrong(format!("several files are `{choice}`: {}", names(several.iter().copied()))))
            }
        }
    }
}

/// How a model in several files names one of them: what all names begin with, the file's number from 1, and how many there are.
fn part(name: &str) -> Option<(&str, u32, u32)> {
    let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let digits = |text: &str| (text.len() == 5).then(|| text.parse().ok()).flatten();
    let (number, count) = (digits(number)?, digits(count)?);
    (1..=count).contains(&number).then_some((stem, number, count))
}

fn names<'a>(files: impl Iterator<Item = &'a File>) -> String {
    let mut names: Vec<&str> = files.map(|file| file.name.as_str()).collect();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    match (names.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (_, 0) => names.join(", "),
        _ => format!("{} and {more} more", names.join(", ")),
    }
}

/// A model, by its first file; the parts that see images lie beside it.
fn is_gguf(name: &str) -> bool {
    name.ends_with(".gguf")
        && !name.rsplit('/').next().unwrap_or(name).starts_with("mmproj")
        && part(name).is_none_or(|(_, number, _)| number == 1)
}

/// Whether a name ends with a quantisation, as in `model-Q8_0.gguf` and `model.q8_0.gguf`.
fn is_quantised_as(name: &str, quantisation: &str) -> bool {
    let stem = part(name).map_or(name.strip_suffix(".gguf").unwrap_or(name), |(stem, ..)| stem);
    let stem = stem.to_ascii_uppercase();
    let rest = stem.strip_suffix(&quantisation.to_ascii_uppercase());
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with(['-', '.', '/', '_']))
}

/// Whether a file is of a model as transformers and sentence-transformers read it: settings, tokenizer, weights as safetensors. Weights
/// in other formats, which may be beside them, are left.
fn is_of_folder(name: &str) -> bool {
    match name.split_once('/') {
        // `1_Pooling/config.json`, as nearly all have it; for those with other names see `of_parts`.
        Some((folder, file)) => folder.starts_with(|c: char| c.is_ascii_digit()) && file == "config.json",
        None => {
            name != LIST && (name.ends_with(".json") || name.ends_with(".jinja"))
                || matches!(
                    name,
                    "vocab.txt" | "merges.txt" | "model.safetensors" | "adapter_model.safetensors"
                )
                || piece(name).is_some()
        }
    }
}
