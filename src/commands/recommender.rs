//! Saved recommenders for `recommend` and `serve`, whatever model is in the file and of whatever types its ids are: outside they are text
//! or numbers of JSON, and what is known of somebody or something is columns of JSON.

use std::fmt::{Debug, Display};
use std::path::Path;
use std::str::FromStr;

use cairn::recsys::{AnyModel, Filter, Fitted, Id, Scored, inspect};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::columns::{self, Columns};
use super::failure::Failure;
use super::output::number;

/// Most items that are asked for, or about, at a time.
const MOST: usize = 10_000;

/// What is asked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    /// For whom: a user of the training log.
    pub(crate) user: Option<Value>,
    /// What somebody has just met, first met first: a user since training, or one of whom nothing else is known.
    pub(crate) history: Vec<Value>,
    /// What is known of somebody whom nobody has met.
    pub(crate) features: Option<Columns>,
    /// What is known of the request of a user.
    pub(crate) context: Option<Columns>,
    /// Items that nobody has met, by what is known of each: they are scored for a user, in place of a list.
    pub(crate) items: Option<Vec<Columns>>,
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

/// For whom something is asked, and by what.
#[derive(Debug, Clone, Copy)]
enum Question<'a> {
    /// The list of a user.
    User(&'a Value),
    /// That of a user after what they met since training.
    Next(&'a Value, &'a [Value]),
    /// That of a user in a context.
    In(&'a Value, &'a Columns),
    /// That of somebody known by a history alone.
    Session(&'a [Value]),
    /// That of somebody known by features, and by what they have just met, if anything.
    Described(&'a [Value], &'a Columns),
    /// The scores of new items for a user.
    NewItems(&'a Value, &'a [Columns]),
}

impl Asked {
    /// Which question it is. Of whom and by what it is not is refused, not passed over: the list would look like the one asked for.
    fn question(&self) -> Result<Question<'_>, Failure> {
        let history = (!self.history.is_empty()).then_some(&self.history[..]);
        let question = match (&self.user, history, &self.features, &self.context, &self.items) {
            (Some(user), None, None, None, None) => Question::User(user),
            (Some(user), Some(history), None, None, None) => Question::Next(user, history),
            (Some(user), None, None, Some(context), None) => Question::In(user, context),
            (Some(user), None, None, None, Some(items)) => Question::NewItems(user, items),
            (None, Some(history), None, None, None) => Question::Session(history),
            (None, _, Some(features), None, None) => Question::Described(&self.history, features),
            _ => {
                return Err(Failure::new(
                    "a list is for a user, alone, with a history since or in a context; for a history; or for the features of \
                     somebody new, alone or with a history; and new items are scored for a user: one of these is needed",
                ));
            }
        };
        let chooses = self.count.is_some() || self.seen || !self.without.is_empty();
        if chooses && matches!(question, Question::NewItems(..)) {
            return Err(Failure::new(
                "new items are scored each, and none is chosen: leave `count`, `seen` and `without` out",
            ));
        }
        if self.explain && !matches!(question, Question::User(_)) {
            return Err(Failure::new("reasons are known of a user's own list alone: leave `explain` out"));
        }
        Ok(question)
    }
}

/// An item of a list.
#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    /// Its id; of a new item, which has none, its columns.
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
        let user = |value: &Value| id::<U>(value, "user");
        let filter = if asked.seen { Filter::all() } else { Filter::unseen() };
        let filter = filter.without(items(&asked.without)?);
        let list = match asked.question()? {
            Question::NewItems(of, rows) => return scored(self, &user(of)?, rows),
            Question::User(of) => {
                let user = user(of)?;
                let list = self.recommend(&user, count, &filter)?;
                return list
                    .iter()
                    .map(|scored| listed(self, asked.explain.then_some(&user), scored))
                    .collect();
            }
            Question::Next(of, history) => {
                self.recommend_next(&user(of)?, &items(history)?, count, &filter)?
            }
            Question::In(of, context) => {
                self.recommend_in(&user(of)?, &columns::row(context)?, count, &filter)?
            }
            Question::Session(history) => self.recommend_session(&items(history)?, count, &filter)?,
            Question::Described(history, features) => {
                let (history, features) = (items(history)?, columns::row(features)?);
                self.recommend_session_described(&history, &features, count, &filter)?
            }
        };
        list.iter().map(|scored| listed(self, None, scored)).collect()
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

/// The scores of new items for a user, in the order in which they are asked for.
fn scored<U: AnyId, I: AnyId>(
    model: &Fitted<dyn AnyModel, U, I>,
    user: &U,
    items: &[Columns],
) -> Result<Vec<Listed>, Failure> {
    if items.len() > MOST {
        return Err(Failure::new(format!(
            "{} new items are asked about; at most {MOST} can be",
            items.len()
        )));
    }
    let rows = items.iter().map(columns::row).collect::<Result<Vec<_>, _>>()?;
    let scores = model.score_new_items(user, &rows)?;
    let listed = |(item, score): (&Columns, f32)| Listed { item: json!(item), score, because: None };
    Ok(items.iter().zip(scores).map(listed).collect())
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
