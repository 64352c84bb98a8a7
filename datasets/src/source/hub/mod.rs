//! Published models by their names, from Hugging Face's hub or a server that speaks as it does.
//!
//! What was had once is used without asking anybody: the hub's list of a model's files is kept beside them, with the commit that it was
//! of, so that a download that was interrupted goes on with the same files, however the model has changed since. What the hub's own
//! programs have brought to their cache is used where it lies. Weights are compared with the SHA-256 that the hub states; of small files
//! it states the length alone.
//!
//! The `hf-hub` crate would bring an asynchronous client and a second way to download, without a time limit or a limit of size.

mod list;
mod name;

use std::env;
use std::fs;
use std::path::PathBuf;

use etcetera::BaseStrategy;

use self::list::{Chosen, File, LIST, Listed};
pub use self::name::ModelName;
use self::name::is_word;
use super::dir::DataDir;
use super::download::Downloader;
use crate::error::{Error, Result};
use crate::registry::{RemoteFile, Resource};

/// Where models are, unless said otherwise.
pub const HUGGING_FACE: &str = "https://huggingface.co";
/// Longest list in bytes: some repositories have thousands of files.
const LONGEST_LIST: u64 = 1 << 24;
/// Largest file: the weights of hundreds of billions of parameters are cut into pieces smaller than this.
const LARGEST_FILE: u64 = 1 << 39;

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
    /// tokenizer, that of adapters, or the GGUF file. Of a repository with both, the folder is taken unless the name says which file; of several GGUF files
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
            Chosen::Folder(_) => {
                self.fetch(name, &listed, &listed.of_parts(&folder), dir)?;
                folder
            }
            Chosen::File(files) => files.first().map_or(folder.clone(), |file| folder.join(&file.name)),
        })
    }

    fn fetch_list(&self, name: &ModelName, dir: &DataDir) -> Result<()> {
        let (path, title) = (format!("{}/{LIST}", name.place()), name.to_string());
        let urls = [format!(
            "{}/api/models/{}/revision/{}?blobs=true",
            self.server,
            name.repository(),
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
            let url = format!(
                "{}/{}/resolve/{}/{}",
                self.server,
                name.repository(),
                listed.sha,
                escaped(&file.name)
            );
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
        let home = self.cache.as_ref()?.join(format!("models--{}", name.repository().replace('/', "--")));
        let commit = fs::read_to_string(home.join("refs").join(name.revision()));
        let commit = commit.map_or_else(|_| name.revision().to_owned(), |commit| commit.trim().to_owned());
        let commit = Some(commit).filter(|commit| is_word(commit))?;
        let snapshot = home.join("snapshots").join(&commit);
        let listed = Listed::of_folder(&snapshot);
        match listed.choose(name).ok()? {
            Chosen::Folder(files) => {
                // Files that were asked for and are not there are noted so.
                let none = home.join(".no_exist").join(commit).join(list::PARTS).is_file();
                let whole = list::is_whole(&files) && list::has_parts(&snapshot, none);
                whole.then_some(snapshot.clone())
            }
            Chosen::File(files) => files.first().map(|file| snapshot.join(&file.name)),
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
