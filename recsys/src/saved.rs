//! Saving and loading a model with its ids and history: one file is all a server needs.

use std::path::Path;
use std::sync::Arc;

use cairn_files::container::Kind;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::fitted::Fitted;
use crate::ids::{Id, IdMap};
use crate::interactions::Catalog;
use crate::recommender::Recommender;
use crate::sparse::UserItems;
use crate::{Error, Result, codec};

/// A model that can be kept in a file.
pub trait Saved: Recommender + Serialize + DeserializeOwned {
    /// Name of the format in the file; two models never share one.
    const FORMAT: &'static str;

    /// Whether the parts fit together, for what comes from a file; the text says what does not.
    ///
    /// # Errors
    /// What is wrong.
    fn validate(&self) -> std::result::Result<(), String>;
}

/// Written and read in this order: a wrong format is found before anything large is decoded.
#[derive(Serialize)]
struct Written<'a, M, U, I> {
    format: &'a str,
    users: &'a [U],
    items: &'a [I],
    seen: &'a UserItems,
    model: &'a M,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "M: Saved, U: Deserialize<'de>, I: Deserialize<'de>"))]
struct Read<M, U, I> {
    #[serde(rename = "format")]
    _format: Format<M>,
    users: Vec<U>,
    items: Vec<I>,
    seen: UserItems,
    model: M,
}

/// Decodes only as the format of `M`.
struct Format<M>(std::marker::PhantomData<M>);

impl<'de, M: Saved> Deserialize<'de> for Format<M> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let found = String::deserialize(deserializer)?;
        if found == M::FORMAT {
            Ok(Self(std::marker::PhantomData))
        } else {
            Err(serde::de::Error::custom(format!(
                "the file holds a model of format {found:?}, not {:?}",
                M::FORMAT
            )))
        }
    }
}

impl<M: Saved, U: Id, I: Id> Fitted<M, U, I> {
    /// Writes model, ids and history into one file, in one step: a file of that name is replaced or left as it was.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::ModelFile`] if an id refuses to be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()>
    where
        U: Serialize,
        I: Serialize,
    {
        let written = Written {
            format: M::FORMAT,
            users: self.catalog().users.ids(),
            items: self.catalog().items.ids(),
            seen: self.seen(),
            model: self.model(),
        };
        codec::save(path.as_ref(), Kind::Recommender, &written)
    }

    /// Reads what [`save`](Self::save) wrote, with the same types of model and ids. Gives the same lists, to the bit.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::ModelFile`] for a file that is none, is damaged, has another version or holds another model.
    pub fn load(path: impl AsRef<Path>) -> Result<Self>
    where
        U: DeserializeOwned,
        I: DeserializeOwned,
    {
        let path = path.as_ref();
        let broken = |reason: String| Error::ModelFile { path: path.to_owned(), reason };
        let read: Read<M, U, I> = codec::load(path, Kind::Recommender)?;
        if !read.seen.is_consistent() {
            return Err(broken("the history is not a valid sparse matrix".to_owned()));
        }
        read.model.validate().map_err(|reason| broken(format!("{}: {reason}", M::FORMAT)))?;
        let catalog = Catalog {
            users: Arc::new(IdMap::from_ids(read.users).map_err(|e| broken(e.to_string()))?),
            items: Arc::new(IdMap::from_ids(read.items).map_err(|e| broken(e.to_string()))?),
        };
        Self::new(read.model, catalog, read.seen).map_err(|e| broken(e.to_string()))
    }
}
