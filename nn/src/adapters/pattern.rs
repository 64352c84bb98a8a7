//! Which layers a value is for, as peft's settings say it: a regular expression of a layer's path, or of what comes after one of its points.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use crate::{Error, Result};

/// Most expressions of a file, and most bytes of all of them together. Names are no expressions, and there may be any number.
const MOST: usize = 256;
const LONGEST: usize = 1 << 14;
/// Most `steps` of all of them together. The library bounds neither what takes no step back nor how large the parts of an expression
/// with groups that it refers to become.
const STEPS: usize = 1 << 16;
/// Most bytes that another expression may become, and most steps back in a path.
#[cfg(feature = "language")]
const SIZE: usize = 1 << 18;
#[cfg(feature = "language")]
const BACK: usize = 10_000;

/// A key of `alpha_pattern`.
#[derive(Debug)]
enum Pattern {
    /// Of what names are made of, and points, which stand for any character.
    Plain(String),
    #[cfg(feature = "language")]
    Regular(fancy_regex::Regex),
}

impl Pattern {
    /// Takes what it needs of the steps that are left.
    fn new(key: &str, left: &mut usize) -> Result<Self> {
        if is_plain(key) { Ok(Pattern::Plain(key.to_owned())) } else { Self::regular(key, left) }
    }

    #[cfg(feature = "language")]
    fn regular(key: &str, left: &mut usize) -> Result<Self> {
        // As peft has it, with its groups, to which the key may refer.
        let whole = format!(r"\A(.*\.)?({key})$");
        let bad = |why: String| Error::Unsupported { what: format!("`{key}`: {why}") };
        let tree = fancy_regex::Expr::parse_tree(&whole).map_err(|error| bad(error.to_string()))?;
        let rest = left.checked_sub(steps(&tree.expr));
        *left = rest.ok_or_else(|| bad("what repeats repetitions so often".into()))?;
        let mut builder = fancy_regex::RegexBuilder::new(&whole);
        let built = builder.delegate_size_limit(SIZE).backtrack_limit(BACK).build();
        built.map(Pattern::Regular).map_err(|error| bad(error.to_string()))
    }

    #[cfg(not(feature = "language"))]
    fn regular(key: &str, _: &mut usize) -> Result<Self> {
        Err(Error::Unsupported { what: format!("`{key}` without the feature `language`") })
    }

    /// Whether a path fits; an error where an expression takes too long to say so.
    fn fits(&self, path: &str) -> Result<bool> {
        match self {
            Pattern::Plain(key) => {
                let before = path.chars().count().checked_sub(key.chars().count());
                Ok(before.is_some_and(|before| {
                    let same = |(own, theirs): (char, char)| own == '.' || own == theirs;
                    let begins = before == 0 || path.chars().nth(before - 1) == Some('.');
                    begins && key.chars().zip(path.chars().skip(before)).all(same)
                }))
            }
            #[cfg(feature = "language")]
            Pattern::Regular(regular) => regular.is_match(path).map_err(|error| Error::Unsupported {
                what: format!("`{}` for `{path}`: {error}", regular.as_str()),
            }),
        }
    }
}

fn is_plain(key: &str) -> bool {
    key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// About how many steps an expression takes without one back, where what is repeated without end is so some times, as paths have few parts.
#[cfg(feature = "language")]
fn steps(part: &fancy_regex::Expr) -> usize {
    use fancy_regex::Expr;
    match part {
        Expr::Repeat { child, lo, hi, .. } => {
            let times = if *hi == usize::MAX { (*lo).max(16) } else { (*hi).max(1) };
            steps(child).saturating_mul(times)
        }
        Expr::Concat(all) | Expr::Alt(all) => all.iter().map(steps).fold(0, usize::saturating_add),
        Expr::Group(child) | Expr::LookAround(child, _) | Expr::AtomicGroup(child) => steps(child),
        Expr::Conditional { condition, true_branch, false_branch } => {
            let all = [condition, true_branch, false_branch];
            all.iter().map(|part| steps(part)).fold(0, usize::saturating_add)
        }
        _ => 1,
    }
}

/// Values by patterns, in the order of the file: a layer has that of the first that fits.
#[derive(Debug, Default)]
pub(super) struct Patterns(Vec<(Pattern, f32)>);

impl Patterns {
    /// The value of the layer at a path.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for an expression that takes too long.
    pub(super) fn of(&self, path: &str) -> Result<Option<f32>> {
        for (pattern, value) in &self.0 {
            if pattern.fits(path)? {
                return Ok(Some(*value));
            }
        }
        Ok(None)
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
                let (mut count, mut length, mut left) = (0, 0, STEPS);
                while let Some((key, value)) = map.next_entry::<String, f32>()? {
                    if !is_plain(&key) {
                        (count, length) = (count + 1, length + key.len());
                    }
                    if count > MOST || length > LONGEST {
                        let why = format!("more than {MOST} expressions, or {LONGEST} bytes of them");
                        return Err(A::Error::custom(why));
                    }
                    all.push((Pattern::new(&key, &mut left).map_err(A::Error::custom)?, value));
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
        let fits = |key: &str, path: &str| Pattern::new(key, &mut { STEPS }).unwrap().fits(path).unwrap();
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
        let of = |path: &str| both.of(path).unwrap();
        assert_eq!((of("model.layers.0.v_proj"), of("model.layers.0.q_proj")), (Some(1.0), None));
        let turned = patterns(r#"{"layers.0.v_proj": 2, "v_proj": 1}"#);
        assert_eq!(turned.of("model.layers.0.v_proj").unwrap(), Some(2.0));
    }

    #[cfg(feature = "language")]
    #[test]
    fn keys_are_regular_expressions() {
        let of = |key: &str, path: &str| Pattern::new(key, &mut { STEPS }).unwrap().fits(path).unwrap();
        assert!(of(r"layers\.[0-3]\..*_proj", "model.layers.3.mlp.up_proj"));
        assert!(!of(r"layers\.[0-3]\..*_proj", "model.layers.13.mlp.up_proj"));
        assert!(of("^model.layers.0.q_proj", "model.layers.0.q_proj"));
        assert!(!of("^layers.0.q_proj", "model.layers.0.q_proj"));
        assert!(of("q_proj|k_proj", "layers.0.k_proj"));
        assert!(serde_json::from_str::<Patterns>(r#"{"(q_proj": 1}"#).is_err());
    }

    #[cfg(feature = "language")]
    #[test]
    fn expressions_are_bounded() {
        let read = |keys: &mut dyn Iterator<Item = String>| {
            let all: serde_json::Map<String, serde_json::Value> = keys.map(|key| (key, 1.into())).collect();
            serde_json::from_value::<Patterns>(all.into())
        };
        assert!(read(&mut (0..256).map(|at| format!("(a|b){at}"))).is_ok());
        assert!(read(&mut (0..257).map(|at| format!("(a|b){at}"))).is_err());
        assert!(read(&mut (0..1000).map(|at| format!("layers.{at}"))).is_ok(), "names are none");
        let long = format!("(a|b){}", "c".repeat(1 << 14));
        assert!(read(&mut [long].into_iter()).is_err());
        // Of many bytes when it is made, and of many steps.
        for key in [r"(\w{100}){100}", "((((a?){99}){99}){99}){99}", "(?=(?=(?=(a+)+)+)+)+b"] {
            assert!(read(&mut [key.to_owned()].into_iter()).is_err(), "{key}");
        }
        // One is small, and all of them are not.
        let part = |at: usize| format!(r"{at}(a{{900}})\3");
        assert!(read(&mut (0..2).map(part)).is_ok());
        assert!(read(&mut (0..100).map(part)).is_err());
    }

    #[cfg(feature = "language")]
    #[test]
    fn an_expression_that_goes_astray_is_an_error() {
        // The first two groups are those around it.
        let astray = patterns(r#"{"(a|aa)+\\3b": 1}"#);
        assert_eq!(astray.of("aab").unwrap(), Some(1.0));
        assert!(matches!(astray.of(&"a".repeat(60)), Err(Error::Unsupported { .. })));
    }
}
