//! What fitted when named values met a model.

use std::fmt;

use cairn_tensor::{DType, Shape};

use crate::module::{Matching, Misfit};
use crate::{Error, Result};

/// What to do about values that do not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// Everything must fit, or nothing is loaded.
    Strict,
    /// What fits is loaded; the report lists the rest.
    Lenient,
}

/// What was loaded and what did not fit, each by name in order. Printed, it is one line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadReport {
    /// Values taken over.
    pub loaded: Vec<String>,
    /// Values of the model that were not given.
    pub missing: Vec<String>,
    /// Given values that the model has not.
    pub unexpected: Vec<String>,
    /// Values given in another shape than the model's.
    pub misshapen: Vec<Misshapen>,
    /// Values given in another element type than the model's.
    pub mistyped: Vec<Mistyped>,
}

/// A value given in another element type than the model's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistyped {
    /// Its name.
    pub name: String,
    /// The type it was given in.
    pub given: DType,
    /// The model's.
    pub expected: DType,
}

/// A value given in another shape than the model's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misshapen {
    /// Its name.
    pub name: String,
    /// The shape it was given in.
    pub given: Shape,
    /// The model's.
    pub expected: Shape,
}

impl LoadReport {
    /// The report of a matching; some values are known to be misshapen, and are not in it.
    pub(super) fn new(matching: &Matching, mut misshapen: Vec<Misshapen>) -> Self {
        let known = |name: &String| misshapen.iter().any(|value| value.name == *name);
        let mut report = LoadReport {
            loaded: matching.fitting(),
            missing: matching.missing.iter().filter(|name| !known(name)).cloned().collect(),
            unexpected: matching.unexpected.clone(),
            ..LoadReport::default()
        };
        for (name, misfit) in &matching.misfits {
            let name = name.clone();
            match misfit.clone() {
                Misfit::Shape { given, expected } => misshapen.push(Misshapen { name, given, expected }),
                Misfit::Type { given, expected } => report.mistyped.push(Mistyped { name, given, expected }),
            }
        }
        misshapen.sort_by(|a, b| a.name.cmp(&b.name));
        LoadReport { misshapen, ..report }
    }

    /// Whether everything fitted.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
            && self.unexpected.is_empty()
            && self.misshapen.is_empty()
            && self.mistyped.is_empty()
    }

    pub(super) fn check(&self, strictness: Strictness) -> Result<()> {
        if strictness == Strictness::Strict && !self.is_complete() {
            return Err(Error::StateMismatch(self.to_string()));
        }
        Ok(())
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} loaded", self.loaded.len())?;
        for (what, names) in [("missing", &self.missing), ("unexpected", &self.unexpected)] {
            if !names.is_empty() {
                write!(f, "; {what}: {}", names.join(", "))?;
            }
        }
        for Misshapen { name, given, expected } in &self.misshapen {
            write!(f, "; {name} has shape {given}, the model's is {expected}")?;
        }
        for Mistyped { name, given, expected } in &self.mistyped {
            write!(f, "; {name} has elements of {given}, the model's are {expected}")?;
        }
        Ok(())
    }
}
