//! Which layers a value is for, as peft's settings say it: a regular expression of a layer's path, or of what comes after one of its points.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use crate::{Error, Result};

/// A key of `alpha_pattern`.
#[derive(Debug)]
enum Pattern {
    /// Of what names are made of, and points, which stand for any character.
    Plain(String),
    #[cfg(feature = "language")]
    Regular(fancy_regex::Regex),
}

impl Pattern {
    fn new(key: &str) -> Result<Self> {
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        if key.chars().all(plain) { Ok(Pattern::Plain(key.to_owned())) } else { Self::regular(key) }
    }

    #[cfg(feature = "language")]
    fn regular(key: &str) -> Result<Self> {
        // As peft has it, with its groups, to which the key may refer.
        let regular = fancy_regex::Regex::new(&format!(r"\A(.*\.)?({key})$"));
        regular
            .map(Pattern::Regular)
            .map_err(|error| Error::Unsupported { what: format!("`{key}`: {error}") })
    }

    #[cfg(not(feature = "language"))]
    fn regular(key: &str) -> Result<Self> {
        Err(Error::Unsupported { what: format!("`{key}` without the feature `language`") })
    }

    fn fits(&self, path: &str) -> bool {
        match self {
            Pattern::Plain(key) => {
                let before = path.chars().count().checked_sub(key.chars().count());
                before.is_some_and(|before| {
                    let same = |(own, theirs): (char, char)| own == '.' || own == theirs;
                    let begins = before == 0 || path.chars().nth(before - 1) == Some('.');
                    begins && key.chars().zip(path.chars().skip(before)).all(same)
                })
            }
            // One that goes astray for too long fits nothing.
            #[cfg(feature = "language")]
            Pattern::Regular(regular) => regular.is_match(path).unwrap_or(false),
        }
    }
}

/// Values by patterns, in the order of the file: a layer has that of the first that fits.
#[derive(Debug, Default)]
pub(super) struct Patterns(Vec<(Pattern, f32)>);

impl Patterns {
    /// The value of the layer at a path.
    pub(super) fn of(&self, path: &str) -> Option<f32> {
        self.0.iter().find(|(pattern, _)| pattern.fits(path)).map(|(_, value)| *value)
    }
}

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Patterns;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("numbers by patterns of layers")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Patterns, A::Error> {
                let mut all = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, f32>()? {
                    all.push((Pattern::new(&key).map_err(A::Error::custom)?, value));
                }
                Ok(Patterns(all))
            }
        }
        from.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(json: &str) -> Patterns {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn names_are_those_of_whole_paths_or_their_last_parts() {
        let fits = |key: &str, path: &str| Pattern::new(key).unwrap().fits(path);
        let path = "model.layers.1.self_attn.q_proj";
        for key in ["q_proj", "self_attn.q_proj", "layers.1.self_attn.q_proj", path] {
            assert!(fits(key, path), "{key}");
        }
        for key in [
            "proj",
            "k_proj",
            "layers.1.self_attn",
            "a.model.layers.1.self_attn.q_proj",
            "l.self_attn.q_proj",
        ] {
            assert!(!fits(key, path), "{key}");
        }
        // A point is any character, as in peft.
        assert!(fits("layers.1.self.attn.q_proj", path));
    }

    #[test]
    fn the_first_in_the_order_of_the_file_counts() {
        let both = patterns(r#"{"v_proj": 1, "layers.0.v_proj": 2}"#);
        assert_eq!((both.of("model.layers.0.v_proj"), both.of("model.layers.0.q_proj")), (Some(1.0), None));
        assert_eq!(patterns(r#"{"layers.0.v_proj": 2, "v_proj": 1}"#).of("model.layers.0.v_proj"), Some(2.0));
    }

    #[cfg(feature = "language")]
    #[test]
    fn keys_are_regular_expressions() {
        let of = |key: &str, path: &str| Pattern::new(key).unwrap().fits(path);
        assert!(of(r"layers\.[0-3]\..*_proj", "model.layers.3.mlp.up_proj"));
        assert!(!of(r"layers\.[0-3]\..*_proj", "model.layers.13.mlp.up_proj"));
        assert!(of("^model.layers.0.q_proj", "model.layers.0.q_proj"));
        assert!(!of("^layers.0.q_proj", "model.layers.0.q_proj"));
        assert!(of("q_proj|k_proj", "layers.0.k_proj"));
        assert!(serde_json::from_str::<Patterns>(r#"{"(q_proj": 1}"#).is_err());
    }
}
