//! Saving and loading a model with its ids and history: one file is all a server needs.
//!
//! A file begins with the name of the model's format. [`Fitted::load`] wants one model and refuses every other by name;
//! [`Fitted::load_any`] looks the name up in the list of all models, so that a program can read a file without knowing what
//! is in it.

use std::path::Path;
use std::sync::Arc;

use cairn_files::container::{self, Format, Kind};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::data::ids::{Id, IdMap};
use crate::data::interactions::Catalog;
use crate::data::sparse::UserItems;
use crate::features::FeatureModel;
use crate::models::FORMATS;
use crate::recommender::Recommender;
use crate::serve::fitted::Fitted;
use crate::{Error, Result};

/// Raised with every change of what is written before the model. Version 1 was in a container of its own, which is refused by
/// that, and did not say of what types the ids are.
const FILE: Format = Kind::Recommender.version(2);

/// A model that can be kept in a file.
pub trait Saved: Recommender + Serialize + DeserializeOwned + 'static {
    /// Name of the format in the file; two models never share one, and a model whose fields change gets another.
    const FORMAT: &'static str;

    /// Whether the parts fit together, for what comes from a file; the text says what does not.
    ///
    /// # Errors
    /// What is wrong.
    fn validate(&self) -> std::result::Result<(), String>;

    /// The model as one that knows users and items by their features: `Some(self)` for such a model, by default nothing.
    fn as_feature_model(&self) -> Option<&dyn FeatureModel> {
        None
    }
}

/// A model whose type is known only when the program runs: every [`Saved`] model is one.
///
/// `Fitted<dyn AnyModel>` recommends, explains and is saved like a model whose type is known. It is a [`FeatureModel`], too, whose answers
/// are those of the model behind it, and [`Error::Unsupported`] where that takes no features.
pub trait AnyModel: Recommender {
    /// The name of its format, see [`Saved::FORMAT`].
    fn format(&self) -> &'static str;

    /// See [`Saved::as_feature_model`].
    fn by_features(&self) -> Option<&dyn FeatureModel>;

    /// Appends what [`Saved`] says of the model to the payload of a file.
    #[doc(hidden)]
    fn encode(&self, payload: &mut Vec<u8>) -> std::result::Result<(), String>;
}

impl<M: Saved> AnyModel for M {
    fn format(&self) -> &'static str {
        M::FORMAT
    }
    fn by_features(&self) -> Option<&dyn FeatureModel> {
        self.as_feature_model()
    }
    fn encode(&self, payload: &mut Vec<u8>) -> std::result::Result<(), String> {
        container::append(payload, self)
    }
}

/// Takes a model off the end of a payload.
type Take = fn(&mut &[u8]) -> std::result::Result<Arc<dyn AnyModel>, String>;

/// How the model of one format is read: an entry of the list that [`Fitted::load_any`] goes by.
#[derive(Debug, Clone, Copy)]
pub struct ModelFormat {
    name: &'static str,
    take: Take,
}

impl ModelFormat {
    /// The format of `M`.
    #[must_use]
    pub const fn of<M: Saved>() -> Self {
        Self { name: M::FORMAT, take: |payload| Ok(Arc::new(take_model::<M>(payload)?)) }
    }

    /// See [`Saved::FORMAT`].
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// The name of a type of ids without its path: ids of another type would decode from the same bytes, and be wrong.
pub(crate) fn id_type<T>() -> String {
    let name = std::any::type_name::<T>();
    // Every path within the name: `alloc::sync::Arc<str>` is `Arc<str>`.
    let mut short = String::new();
    for part in name.split_inclusive(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
        short.push_str(part.rsplit("::").next().unwrap_or(part));
    }
    short
}

/// What is between the name of the format and the model.
struct Head<U, I> {
    catalog: Catalog<U, I>,
    seen: UserItems,
}

impl<U: Id + DeserializeOwned, I: Id + DeserializeOwned> Head<U, I> {
    fn take(payload: &mut &[u8]) -> std::result::Result<Self, String> {
        let (users, items): (String, String) = container::take(payload)?;
        for (kind, found, wanted) in [("user", users, id_type::<U>()), ("item", items, id_type::<I>())] {
            if found != wanted {
                return Err(format!("the {kind} ids of the file are of type {found}, not {wanted}"));
            }
        }
        let users: Vec<U> = container::take(payload)?;
        let items: Vec<I> = container::take(payload)?;
        let seen: UserItems = container::take(payload)?;
        if !seen.is_consistent() {
            return Err("the history is not a valid sparse matrix".to_owned());
        }
        let catalog = Catalog {
            users: Arc::new(IdMap::from_ids(users).map_err(|e| e.to_string())?),
            items: Arc::new(IdMap::from_ids(items).map_err(|e| e.to_string())?),
        };
        // Nothing is trained on either, and models go through their users and items in rows of a width above 0.
        if catalog.users.is_empty() || catalog.items.is_empty() {
            return Err("the file has no users or no items".to_owned());
        }
        Ok(Self { catalog, seen })
    }
}

fn take_model<M: Saved>(payload: &mut &[u8]) -> std::result::Result<M, String> {
    let model: M = container::take(payload)?;
    if !payload.is_empty() {
        return Err(format!("{} bytes are left over after the model", payload.len()));
    }
    model.validate().map_err(|reason| format!("{}: {reason}", M::FORMAT))?;
    Ok(model)
}

impl<M: AnyModel + ?Sized, U: Id, I: Id> Fitted<M, U, I> {
    /// Writes model, ids and history into one file, in one step: a file of that name is replaced or left as it was. A link is
    /// replaced by the file, not followed.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::ModelFile`] if an id refuses to be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()>
    where
        U: Serialize,
        I: Serialize,
    {
        let path = path.as_ref();
        let (users, items) = (self.catalog().users.ids(), self.catalog().items.ids());
        let mut payload = Vec::new();
        let ids = (id_type::<U>(), id_type::<I>());
        container::append(&mut payload, &(self.model().format(), ids, users, items, self.seen()))
            .and_then(|()| self.model().encode(&mut payload))
            .map_err(|reason| Error::ModelFile { path: path.to_owned(), reason })?;
        Ok(container::save_payload(path, FILE, &payload)?)
    }
}

impl<M: Saved, U: Id + DeserializeOwned, I: Id + DeserializeOwned> Fitted<M, U, I> {
    /// Reads what [`save`](Self::save) wrote, with the same types of model and ids. Gives the same lists, to the bit.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::ModelFile`] for a file that is none, is damaged, has another version, holds another
    /// model or has ids of other types.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        read(path.as_ref(), |format, payload| {
            if format != M::FORMAT {
                return Err(format!("the file holds a model of format {format:?}, not {:?}", M::FORMAT));
            }
            let Head { catalog, seen } = Head::take(payload)?;
            Self::new(take_model(payload)?, catalog, seen).map_err(|e| e.to_string())
        })
    }
}

impl<U: Id + DeserializeOwned, I: Id + DeserializeOwned> Fitted<dyn AnyModel, U, I> {
    /// Reads a file that holds any of this crate's models, with the same types of ids as it was written.
    ///
    /// ```
    /// use cairn_recsys::{Als, AnyModel, Estimator, Filter, Fitted, Recommender, synthetic};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("films.rec");
    /// let log = synthetic::planted_groups(60, 40, 4, 8, 0.1, 0)?;
    /// Als::new().factors(8).fit(&log)?.save(&path)?;
    ///
    /// let model: Fitted<dyn AnyModel, u32, u32> = Fitted::load_any(&path)?;
    /// assert_eq!(model.model().name(), "iALS");
    /// assert_eq!(model.recommend(&7, 3, &Filter::unseen())?.len(), 3);
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::ModelFile`] for a file that is none, is damaged, has another version, or holds a model of a
    /// format that is not known, which the message names beside those that are, or ids of other types.
    pub fn load_any(path: impl AsRef<Path>) -> Result<Self> {
        Self::load_any_of(path, &[])
    }

    /// As [`load_any`](Self::load_any), where the model may be one of `own` too.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::ModelFile`] for a file that is none, is damaged, has another version, holds a model of a format
    /// that is not known, or ids of other types.
    pub fn load_any_of(path: impl AsRef<Path>, own: &[ModelFormat]) -> Result<Self> {
        read(path.as_ref(), |format, payload| {
            let all = || FORMATS.iter().chain(own);
            let Some(known) = all().find(|known| known.name == format) else {
                let names: Vec<&str> = all().map(|known| known.name).collect();
                return Err(format!(
                    "the file holds a model of format {format:?}, which is none of {}",
                    names.join(", ")
                ));
            };
            let Head { catalog, seen } = Head::take(payload)?;
            Self::shared((known.take)(payload)?, catalog, seen).map_err(|e| e.to_string())
        })
    }
}

/// What a model file holds, see [`inspect`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFile {
    /// The name of the model's format, see [`Saved::FORMAT`].
    pub format: String,
    /// The type of the user ids, such as `u32` or `String`.
    pub user_ids: String,
    /// The type of the item ids.
    pub item_ids: String,
}

/// Which model a file holds, and of what types its ids are: what a program has to know to load a file of anybody's.
///
/// ```
/// use cairn_recsys::{Estimator, TopPop, inspect, synthetic};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("films.rec");
/// TopPop::new().fit(&synthetic::planted_groups(60, 40, 4, 8, 0.1, 0)?)?.save(&path)?;
/// let file = inspect(&path)?;
/// assert_eq!((file.format.as_str(), file.user_ids.as_str()), ("top-pop", "u32"));
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
///
/// # Errors
/// [`Error::Io`]; [`Error::ModelFile`] for a file that is none, is damaged or has another version.
pub fn inspect(path: impl AsRef<Path>) -> Result<ModelFile> {
    read(path.as_ref(), |format, payload| {
        let (user_ids, item_ids) = container::take(payload)?;
        Ok(ModelFile { format: format.to_owned(), user_ids, item_ids })
    })
}

/// Reads a file by a function of its format's name and the rest of its payload.
fn read<T>(path: &Path, f: impl FnOnce(&str, &mut &[u8]) -> std::result::Result<T, String>) -> Result<T> {
    let bytes = container::load_payload(path, FILE)?;
    let mut payload = &bytes[..];
    container::take::<String>(&mut payload)
        .and_then(|format| f(&format, &mut payload))
        .map_err(|reason| Error::ModelFile { path: path.to_owned(), reason })
}
