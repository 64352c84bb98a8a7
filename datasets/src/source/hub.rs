//! Published models by their names, from Hugging Face's hub or a server that speaks as it does.
//!
//! What was had once is used without asking anybody: the hub's list of a model's files is kept beside them, with the commit that it was
//! of, so that a download that was interrupted goes on with the same files, however the model has changed since. What the hub's own
//! programs have brought to their cache is used where it lies. Weights are compared with the SHA-256 that the hub states; of small files
//! it states the length alone.
//!
//! The `hf-hub` crate would bring an asynchronous client and a second way to download, without a time limit or a limit of size.

use std::collections::BTreeSet;
use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use etcetera::BaseStrategy;
use serde::Deserialize;

use super::dir::{DataDir, is_below};
use super::download::Downloader;
use crate::error::{Error, Result};
use crate::registry::{RemoteFile, Resource};

/// Where models are, unless said otherwise.
pub const HUGGING_FACE: &str = "https://huggingface.co";
/// The file that a list is kept in.
const LIST: &str = "hub.json";
/// Longest list in bytes: some repositories have thousands of files.
const LONGEST_LIST: u64 = 1 << 24;
/// Largest file: the weights of hundreds of billions of parameters are cut into pieces smaller than this.
const LARGEST_FILE: u64 = 1 << 39;
/// Of several files in a repository, the one for those who do not choose: four bits with parts in six, as llama.cpp takes.
const USUAL: &str = "Q4_K_M";
/// Most names that an error lists.
const NAMED: usize = 12;

/// The name of a published model: `organisation/name`, then, where it is not the newest, `@revision`, and, of several files, `:` with a
/// file's name or with the quantisation at its end.
///
/// ```
/// use cairn_datasets::hub::ModelName;
/// let name: ModelName = "Qwen/Qwen2.5-0.5B-Instruct-GGUF:q8_0".parse()?;
/// assert_eq!(name.repository(), "Qwen/Qwen2.5-0.5B-Instruct-GGUF");
/// assert!("models/../secret".parse::<ModelName>().is_err());
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
#[doc(alias("repo_id", "hf_repo"))]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelName {
    repository: String,
    revision: Option<String>,
    choice: Option<String>,
}

impl ModelName {
    /// `organisation/name`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Where it lies below the data folder, with `/` between folders.
    fn place(&self) -> String {
        let revision = self.revision.as_ref().map_or_else(String::new, |revision| format!("@{revision}"));
        format!("models/{}{revision}", self.repository)
    }

    fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }
}

impl FromStr for ModelName {
    type Err = Error;

    /// # Errors
    /// [`Error::Argument`] for what is no such name.
    fn from_str(text: &str) -> Result<Self> {
        let (rest, choice) = match text.split_once(':') {
            Some((rest, choice)) => (rest, Some(choice)),
            None => (text, None),
        };
        let (repository, revision) = match rest.split_once('@') {
            Some((repository, revision)) => (repository, Some(revision)),
            None => (rest, None),
        };
        let parts: Vec<&str> = repository.split('/').collect();
        let sound = parts.len() == 2
            && parts.iter().all(|part| is_word(part))
            && revision.is_none_or(is_word)
            && choice.is_none_or(is_below);
        if !sound {
            let expected = "a model's name is `organisation/name`, with `@revision` and `:file` where needed";
            return Err(Error::argument("hub", format!("`{text}`: {expected}")));
        }
        let [revision, choice] = [revision, choice].map(|part| part.map(str::to_owned));
        Ok(ModelName { repository: repository.to_owned(), revision, choice })
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        self.revision.iter().try_for_each(|revision| write!(f, "@{revision}"))?;
        self.choice.iter().try_for_each(|choice| write!(f, ":{choice}"))
    }
}

/// What names on a hub are made of. None begins with a point, so that none leads out of a folder.
fn is_word(text: &str) -> bool {
    let first = text.chars().next();
    first.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
        && text.len() <= 96
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

/// A server of models.
///
/// ```no_run
/// use cairn_datasets::DataDir;
/// use cairn_datasets::hub::Hub;
/// // Downloads once; a folder with config.json, safetensors and tokenizer.json.
/// let folder = Hub::default().obtain(&"HuggingFaceTB/SmolLM2-135M-Instruct".parse()?, &DataDir::default())?;
/// // A single file, here the one in four bits.
/// let file = Hub::default().obtain(&"bartowski/SmolLM2-135M-Instruct-GGUF:Q4_K_M".parse()?, &DataDir::default())?;
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
#[doc(alias("snapshot_download", "from_pretrained", "HF_ENDPOINT"))]
#[derive(Debug, Clone)]
pub struct Hub {
    server: String,
    cache: Option<PathBuf>,
    downloader: Downloader,
}

impl Default for Hub {
    /// As the hub's own programs are told by the environment: the server `HF_ENDPOINT`, else [`HUGGING_FACE`]; the token `HF_TOKEN`, else
    /// the one that `hf auth login` has left; their cache of models in `HF_HUB_CACHE`, else below `HF_HOME`, else below the user's cache
    /// folder.
    fn default() -> Self {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let home = variable("HF_HOME").map(PathBuf::from).or_else(|| {
            etcetera::choose_base_strategy().ok().map(|places| places.cache_dir().join("huggingface"))
        });
        let cache = variable("HF_HUB_CACHE")
            .map(PathBuf::from)
            .or_else(|| home.as_ref().map(|home| home.join("hub")));
        let left = || fs::read_to_string(home.as_ref()?.join("token")).ok();
        let mut hub = Hub::new(variable("HF_ENDPOINT").as_deref().unwrap_or(HUGGING_FACE));
        if let Some(token) = variable("HF_TOKEN").or_else(left).filter(|token| !token.trim().is_empty()) {
            hub = hub.token(token.trim());
        }
        Hub { cache, ..hub }
    }
}

impl Hub {
    /// The server at an address, asked without a token; no cache of other programs.
    pub fn new(server: &str) -> Self {
        let server = server.trim_end_matches('/').to_owned();
        Hub { server, cache: None, downloader: Downloader::default().max_size(LARGEST_FILE) }
    }

    /// Says who asks, for models that are not for everybody.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.downloader = self.downloader.bearer_token(&self.server, token);
        self
    }

    /// Looks into the cache of the hub's own programs, too.
    #[must_use]
    pub fn cache(self, folder: impl Into<PathBuf>) -> Self {
        Hub { cache: Some(folder.into()), ..self }
    }

    /// How downloads go about it: time limits, attempts.
    #[must_use]
    pub fn downloader(mut self, change: impl FnOnce(Downloader) -> Downloader) -> Self {
        self.downloader = change(self.downloader);
        self
    }

    /// The server's address.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Where a model lies, downloaded to `models` in the data folder unless it was before: the folder of safetensors with settings and
    /// tokenizer, or the GGUF file. Of a repository with both, the folder is taken unless the name says which file; of several GGUF files
    /// the one named, else `Q4_K_M`. To have a model anew, remove its folder.
    ///
    /// # Errors
    /// [`Error::Missing`] for a model that is not there where downloads are forbidden; [`Error::UnknownModel`] when the server does not
    /// give it; [`Error::Argument`] where no file, or more than one, is of that name; otherwise as [`DataDir::obtain_all`].
    pub fn obtain(&self, name: &ModelName, dir: &DataDir) -> Result<PathBuf> {
        let list = dir.path().join(name.place()).join(LIST);
        if !list.is_file() {
            if let Some(found) = self.cached(name) {
                return Ok(found);
            }
            self.fetch_list(name, dir)?;
        }
        let listed = Listed::read(&list)?;
        let chosen = listed.choose(name)?;
        self.fetch(name, &listed, chosen.files(), dir)?;
        let folder = dir.path().join(name.place());
        Ok(match chosen {
            Chosen::Folder(_) => folder,
            Chosen::File(files) => files.first().map_or(folder.clone(), |file| folder.join(&file.name)),
        })
    }

    fn fetch_list(&self, name: &ModelName, dir: &DataDir) -> Result<()> {
        let (path, title) = (format!("{}/{LIST}", name.place()), name.to_string());
        let urls = [format!(
            "{}/api/models/{}/revision/{}?blobs=true",
            self.server,
            name.repository,
            name.revision()
        )];
        let urls = urls.each_ref().map(String::as_str);
        let file = [RemoteFile::new(&path, &urls)];
        if dir.is_offline() {
            return Err(dir.missing(&self.resource(&title, &file), &file[0]));
        }
        let downloader = self.downloader.clone().max_size(LONGEST_LIST);
        dir.fetch_with(&downloader, &file[0]).map_err(|error| self.explained(name, error))?;
        let list = dir.path().join(&path);
        // A list that cannot be read is not kept: the next time may go better.
        Listed::read(&list).map(drop).inspect_err(|_| drop(fs::remove_file(&list)))
    }

    fn fetch(&self, name: &ModelName, listed: &Listed, files: &[&File], dir: &DataDir) -> Result<()> {
        let title = name.to_string();
        for file in files {
            let path = format!("{}/{}", name.place(), file.name);
            let url =
                format!("{}/{}/resolve/{}/{}", self.server, name.repository, listed.sha, escaped(&file.name));
            let urls = [url.as_str()];
            let sha256 = file.lfs.as_ref().map(|lfs| lfs.sha256.as_str());
            let remote = RemoteFile { size: file.size, sha256, ..RemoteFile::new(&path, &urls) };
            if dir.path().join(&path).is_file() {
                continue;
            }
            if dir.is_offline() {
                return Err(dir.missing(&self.resource(&title, &[remote]), &remote));
            }
            dir.fetch_with(&self.downloader, &remote).map_err(|error| self.explained(name, error))?;
        }
        Ok(())
    }

    fn resource<'a>(&'a self, title: &'a str, files: &'a [RemoteFile<'a>]) -> Resource<'a> {
        Resource { name: title, title, files, licence: "its own", homepage: &self.server }
    }

    /// Says so where the server refuses.
    fn explained(&self, name: &ModelName, error: Error) -> Error {
        let refused = |error: &Error| match error {
            Error::Status { status: status @ (401 | 403 | 404), .. } => Some(*status),
            _ => None,
        };
        let status = match &error {
            Error::Download { attempts, .. } => attempts.iter().rev().find_map(refused),
            _ => None,
        };
        match status {
            Some(status) => {
                Error::UnknownModel { name: name.to_string(), server: self.server.clone(), status }
            }
            None => error,
        }
    }

    /// The model in the cache of the hub's own programs, if all of it is there.
    fn cached(&self, name: &ModelName) -> Option<PathBuf> {
        let home = self.cache.as_ref()?.join(format!("models--{}", name.repository.replace('/', "--")));
        let commit = fs::read_to_string(home.join("refs").join(name.revision()));
        let commit = commit.map_or_else(|_| name.revision().to_owned(), |commit| commit.trim().to_owned());
        let snapshot = home.join("snapshots").join(Some(commit).filter(|commit| is_word(commit))?);
        let listed = Listed { sha: String::new(), siblings: files_of(&snapshot) };
        match listed.choose(name).ok()? {
            Chosen::Folder(files) => is_whole(&files).then_some(snapshot.clone()),
            Chosen::File(files) => files.first().map(|file| snapshot.join(&file.name)),
        }
    }
}

/// The files of a folder and of the folders in it, with `/` between their names.
fn files_of(folder: &Path) -> Vec<File> {
    let entries =
        |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let inner =
        entries(folder).filter(|path| path.is_dir()).flat_map(|path| entries(&path).collect::<Vec<_>>());
    let files = entries(folder).chain(inner).filter(|path| path.is_file());
    let names = files.filter_map(|path| {
        let name = path.strip_prefix(folder).ok()?.to_str()?;
        Some(name.replace(std::path::MAIN_SEPARATOR, "/"))
    });
    names.map(|name| File { name, size: None, lfs: None }).collect()
}

/// Whether a folder has settings, a tokenizer and all pieces of the weights.
fn is_whole(files: &[&File]) -> bool {
    let has = |name: &str| files.iter().any(|file| file.name == name);
    let pieces: Vec<(u32, u32)> = files.iter().filter_map(|file| piece(&file.name)).collect();
    let all = |count: u32| (1..=count).all(|number| pieces.contains(&(number, count)));
    has("config.json")
        && has("tokenizer.json")
        && (has("model.safetensors") || pieces.first().is_some_and(|&(_, count)| all(count)))
}

/// The number of a piece of weights, and of how many: `model-00001-of-00003.safetensors`.
fn piece(name: &str) -> Option<(u32, u32)> {
    let (number, count) = name.strip_prefix("model-")?.strip_suffix(".safetensors")?.split_once("-of-")?;
    Some((number.parse().ok()?, count.parse().ok()?))
}

/// What the hub says of a model.
#[derive(Debug, Deserialize)]
struct Listed {
    /// The commit.
    sha: String,
    siblings: Vec<File>,
}

/// A file of a model.
#[derive(Debug, Deserialize)]
struct File {
    #[serde(rename = "rfilename")]
    name: String,
    size: Option<u64>,
    lfs: Option<Lfs>,
}

/// What is stated of large files alone.
#[derive(Debug, Deserialize)]
struct Lfs {
    sha256: String,
}

/// What of a repository is wanted.
enum Chosen<'a> {
    Folder(Vec<&'a File>),
    /// One file, or the several that a model is cut into, the first first.
    File(Vec<&'a File>),
}

impl<'a> Chosen<'a> {
    fn files(&self) -> &[&'a File] {
        let (Chosen::Folder(files) | Chosen::File(files)) = self;
        files
    }
}

impl Listed {
    fn read(path: &Path) -> Result<Listed> {
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

    fn choose(&self, name: &ModelName) -> Result<Chosen<'_>> {
        let wrong = |message: String| Error::argument("hub", format!("{name}: {message}"));
        let gguf = || self.siblings.iter().filter(|file| is_gguf(&file.name));
        let choice = match &name.choice {
            Some(choice) => choice.as_str(),
            None => {
                let files: Vec<&File> =
                    self.siblings.iter().filter(|file| is_of_folder(&file.name)).collect();
                let settings = files.iter().any(|file| file.name == "config.json");
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
        // `1_Pooling/config.json`
        Some((folder, file)) => folder.starts_with(|c: char| c.is_ascii_digit()) && file == "config.json",
        None => {
            name != LIST && (name.ends_with(".json") || name.ends_with(".jinja"))
                || matches!(name, "vocab.txt" | "merges.txt" | "model.safetensors")
                || piece(name).is_some()
        }
    }
}

/// A path as part of an address.
fn escaped(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
