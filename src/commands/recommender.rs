//! Saved recommenders for `recommend` and `serve`, whatever model is in the file and of whatever types its ids are: outside they are text
//! or numbers of JSON.

use std::fmt::{Debug, Display};
use std::path::Path;
use std::str::FromStr;

use cairn::recsys::{AnyModel, Filter, Fitted, Id, Scored, inspect};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::failure::Failure;
use super::output::number;

/// Most items that are asked for at a time.
const MOST: usize = 10_000;

/// What is asked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    /// For whom: a user of the training log.
    pub(crate) user: Option<Value>,
    /// What somebody has met, first met first: for one who is in no log.
    pub(crate) history: Vec<Value>,
    /// How many; 10 where nothing is said.
    #[serde(alias = "k", alias = "n")]
    pub(crate) count: Option<usize>,
    /// Items that the user has met may be listed, too.
    pub(crate) seen: bool,
    /// Items that are not to be listed.
    pub(crate) without: Vec<Value>,
    /// Says of what of the user's history a score comes.
    pub(crate) explain: bool,
}

/// An item of a list.
#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    pub(crate) item: Value,
    #[serde(serialize_with = "short")]
    pub(crate) score: f32,
    /// Items of the user's history with their shares of the score, largest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) because: Option<Vec<(Value, Value)>>,
}

fn short<S: serde::Serializer>(score: &f32, to: S) -> Result<S::Ok, S::Error> {
    number(*score).serialize(to)
}

/// A recommender of any model and ids.
pub(crate) trait Recommends: Debug + Send + Sync {
    fn recommend(&self, asked: &Asked) -> Result<Vec<Listed>, Failure>;

    /// What there is to say of it.
    #[cfg(feature = "serve")]
    fn about(&self) -> Value;
}

/// An id of a type that files name: read from text, and of JSON.
trait AnyId: Id + Display + FromStr + DeserializeOwned + Serialize {}
impl<T: Id + Display + FromStr + DeserializeOwned + Serialize> AnyId for T {}

/// Reads a file.
pub(crate) fn load(path: &Path) -> Result<Box<dyn Recommends>, Failure> {
    let file = inspect(path)?;
    match file.user_ids.as_str() {
        "u32" => with_users::<u32>(path, &file.item_ids),
        "u64" => with_users::<u64>(path, &file.item_ids),
        "i64" => with_users::<i64>(path, &file.item_ids),
        "String" => with_users::<String>(path, &file.item_ids),
        other => Err(unknown(path, "user", other)),
    }
}

fn with_users<U: AnyId>(path: &Path, items: &str) -> Result<Box<dyn Recommends>, Failure> {
    Ok(match items {
        "u32" => Box::new(Fitted::<dyn AnyModel, U, u32>::load_any(path)?),
        "u64" => Box::new(Fitted::<dyn AnyModel, U, u64>::load_any(path)?),
        "i64" => Box::new(Fitted::<dyn AnyModel, U, i64>::load_any(path)?),
        "String" => Box::new(Fitted::<dyn AnyModel, U, String>::load_any(path)?),
        other => return Err(unknown(path, "item", other)),
    })
}

fn unknown(path: &Path, whose: &str, kind: &str) -> Failure {
    Failure::new(format!(
        "{}: {whose} ids of type {kind}; the program reads u32, u64, i64 and String",
        path.display()
    ))
}

/// An id as JSON gives it: a text, or a number.
fn id<T: FromStr>(value: &Value, whose: &str) -> Result<T, Failure> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.parse().map_err(|_| Failure::new(format!("{text} is no {whose} of this recommender")))
}

impl<U: AnyId, I: AnyId> Recommends for Fitted<dyn AnyModel, U, I> {
    fn recommend(&self, asked: &Asked) -> Result<Vec<Listed>, Failure> {
        let count = asked.count.unwrap_or(10);
        if !(1..=MOST).contains(&count) {
            return Err(Failure::new(format!("{count} items are asked for; from 1 to {MOST} can be")));
        }
        let items =
            |list: &[Value]| list.iter().map(|item| id::<I>(item, "item")).collect::<Result<Vec<I>, _>>();
        let filter = if asked.seen { Filter::all() } else { Filter::unseen() };
        let filter = filter.without(items(&asked.without)?);
        match &asked.user {
            Some(user) if asked.history.is_empty() => {
                let user: U = id(user, "user")?;
                let list = self.recommend(&user, count, &filter)?;
                list.iter().map(|scored| listed(self, asked.explain.then_some(&user), scored)).collect()
            }
            None if !asked.history.is_empty() => {
                let list = self.recommend_session(&items(&asked.history)?, count, &filter)?;
                list.iter().map(|scored| listed(self, None, scored)).collect()
            }
            _ => Err(Failure::new("a list is for a user, or for a history of items: one of both is needed")),
        }
    }

    #[cfg(feature = "serve")]
    fn about(&self) -> Value {
        let (users, items) = (self.catalog().users.ids(), self.catalog().items.ids());
        let some = |count: usize| count.min(5);
        json!({
            "model": self.model().name(), "users": users.len(), "items": items.len(),
            "some_users": users[..some(users.len())], "some_items": items[..some(items.len())],
        })
    }
}

fn listed<U: AnyId, I: AnyId>(
    model: &Fitted<dyn AnyModel, U, I>,
    explained: Option<&U>,
    scored: &Scored<I>,
) -> Result<Listed, Failure> {
    let because = match explained {
        None => None,
        Some(user) => {
            let shares = model.explain(user, &scored.id)?;
            Some(shares.into_iter().take(5).map(|share| (json!(share.id), number(share.score))).collect())
        }
    };
    Ok(Listed { item: json!(scored.id), score: scored.score, because })
}
