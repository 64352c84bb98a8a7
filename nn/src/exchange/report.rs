//! What fitted when named values met a model.

use std::collections::BTreeMap;
use std::fmt;

use cairn_tensor::{Shape, Tensor};

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
    /// Sorts the names of a model and of what is given into the four lists.
    pub(super) fn compare(own: &BTreeMap<String, Tensor>, given: &BTreeMap<String, Tensor>) -> Self {
        let mut report = LoadReport::default();
        for (name, tensor) in own {
            match given.get(name) {
                None => report.missing.push(name.clone()),
                Some(new) if new.shape() == tensor.shape() => report.loaded.push(name.clone()),
                Some(new) => report.misshapen.push(Misshapen {
                    name: name.clone(),
                    given: new.dims().clone(),
                    expected: tensor.dims().clone(),
                }),
            }
        }
        report.unexpected = given.keys().filter(|name| !own.contains_key(*name)).cloned().collect();
        report
    }

    /// Whether everything fitted.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshapen.is_empty()
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
        Ok(())
    }
}
