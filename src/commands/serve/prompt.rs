//! Prompts as clients send them: a text or its tokens, or several of either. They are counted while they are read: a list of lists of a few
//! bytes each would else take ten times the memory of its body before anybody looks at it.

use std::fmt;

use serde::Deserialize;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserializer, Error, SeqAccess, Unexpected, Visitor};

/// Most texts, or lists of tokens, in one request.
pub(super) const MOST: usize = 2048;

/// A text or its tokens, or several.
#[derive(Debug, PartialEq)]
pub(super) enum Prompt {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u32>),
    Lists(Vec<Vec<u32>>),
}

impl Prompt {
    pub(super) fn count(&self) -> usize {
        match self {
            Prompt::Text(_) | Prompt::Tokens(_) => 1,
            Prompt::Texts(texts) => texts.len(),
            Prompt::Lists(lists) => lists.len(),
        }
    }

    /// The tokens of each.
    pub(super) fn tokens<E>(self, encode: impl Fn(&str) -> Result<Vec<u32>, E>) -> Result<Vec<Vec<u32>>, E> {
        match self {
            Prompt::Text(text) => Ok(vec![encode(&text)?]),
            Prompt::Texts(texts) => texts.iter().map(|text| encode(text)).collect(),
            Prompt::Tokens(ids) => Ok(vec![ids]),
            Prompt::Lists(lists) => Ok(lists),
        }
    }
}

impl<'de> Deserialize<'de> for Prompt {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Prompt;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a list of tokens, or a list of texts or of such lists")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Prompt, E> {
                Ok(Prompt::Text(text.to_owned()))
            }
            fn visit_string<E: Error>(self, text: String) -> Result<Prompt, E> {
                Ok(Prompt::Text(text))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Prompt, A::Error> {
                match list.next_element()? {
                    None => Ok(Prompt::Texts(Vec::new())),
                    Some(Item::Text(first)) => all(first, list, MOST).map(Prompt::Texts),
                    // Each is two bytes of the body at least, and four here.
                    Some(Item::Token(first)) => all(first, list, usize::MAX).map(Prompt::Tokens),
                    Some(Item::List(first)) => all(first, list, MOST).map(Prompt::Lists),
                }
            }
        }
        from.deserialize_any(Any)
    }
}

/// The items of a list that has begun with one, if there are no more.
fn all<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(
    first: T,
    mut list: A,
    most: usize,
) -> Result<Vec<T>, A::Error> {
    let mut all = vec![first];
    while let Some(next) = list.next_element()? {
        if all.len() == most {
            return Err(A::Error::custom(format!("more than {most} texts or lists of tokens")));
        }
        all.push(next);
    }
    Ok(all)
}

/// The first of a list, which says what the others are.
enum Item {
    Text(String),
    Token(u32),
    List(Vec<u32>),
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Item;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a token, or a list of tokens")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Item, E> {
                Ok(Item::Text(text.to_owned()))
            }
            fn visit_string<E: Error>(self, text: String) -> Result<Item, E> {
                Ok(Item::Text(text))
            }
            fn visit_u64<E: Error>(self, id: u64) -> Result<Item, E> {
                let id32 = u32::try_from(id);
                id32.map(Item::Token).map_err(|_| E::invalid_value(Unexpected::Unsigned(id), &"a token"))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Item, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Item::List)
            }
        }
        from.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Prompt, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn prompts_are_of_four_kinds() {
        assert_eq!(read(r#""the \"rain\"""#).unwrap(), Prompt::Text("the \"rain\"".into()));
        assert_eq!(read(r#"["a", "b"]"#).unwrap(), Prompt::Texts(vec!["a".into(), "b".into()]));
        assert_eq!(read("[1, 2, 4294967295]").unwrap(), Prompt::Tokens(vec![1, 2, u32::MAX]));
        assert_eq!(read("[[1], [], [2, 3]]").unwrap(), Prompt::Lists(vec![vec![1], vec![], vec![2, 3]]));
        assert_eq!(read("[]").unwrap().count(), 0);
        for wrong in [
            "5",
            "null",
            "{}",
            "[1, \"a\"]",
            "[\"a\", [1]]",
            "[[\"a\"]]",
            "[-1]",
            "[4294967296]",
            "[0.5]",
            "[[1], 2]",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn they_are_counted_while_they_are_read() {
        let many = |one: &str, count: usize| read(&format!("[{}]", vec![one; count].join(",")));
        for one in ["[1]", "\"\"", "[]"] {
            assert_eq!(many(one, MOST).unwrap().count(), MOST);
            // It does not come to the end, where it is no JSON.
            let told =
                read(&format!("[{}, nonsense", vec![one; MOST + 1].join(","))).unwrap_err().to_string();
            assert!(told.contains("more than 2048"), "{told}");
        }
        assert_eq!(many("7", 5000).unwrap().count(), 1);
    }
}
