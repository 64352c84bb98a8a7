//! Which named values go into which cells of a module.
//!
//! A cell may stand under several paths. A file names it once, or, if another library wrote it, under each path; then all must
//! say the same.

use std::collections::{BTreeMap, HashMap, HashSet};

use cairn_autograd::Parameter;
use cairn_tensor::{Shape, Tensor};

use super::{Buffer, Module, Part, Visitor};
use crate::{Error, Result};

/// A leaf of a module that is held on to.
#[derive(Debug, Clone)]
enum Cell {
    Parameter(Parameter),
    Buffer(Buffer),
}

impl Cell {
    fn of(part: Part<'_>) -> Self {
        match part {
            Part::Parameter(parameter) => Cell::Parameter(parameter.clone()),
            Part::Buffer(buffer) => Cell::Buffer(buffer.clone()),
        }
    }

    fn value(&self) -> Tensor {
        match self {
            Cell::Parameter(parameter) => parameter.value(),
            Cell::Buffer(buffer) => buffer.value(),
        }
    }

    fn set(&self, value: Tensor) {
        match self {
            Cell::Parameter(parameter) => parameter.set(value),
            Cell::Buffer(buffer) => buffer.set(value),
        }
    }
}

/// Why a value cannot go where its name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// It has another shape than the model's.
    Shape { given: Shape, expected: Shape },
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Misfit::Shape { given, expected } => {
                write!(f, "has shape {given}, the model's is {expected}")
            }
        }
    }
}

/// How named values meet a module.
#[derive(Debug, Default)]
pub(crate) struct Matching {
    fitting: Vec<(String, Cell, Tensor)>,
    /// Paths of the module that no value is given for; of a tied cell the first.
    pub(crate) missing: Vec<String>,
    /// Given names that the module has not.
    pub(crate) unexpected: Vec<String>,
    /// Paths whose values do not fit.
    pub(crate) misfits: Vec<(String, Misfit)>,
}

impl Matching {
    /// Finds the cells for the values.
    ///
    /// # Errors
    /// [`Error::StateMismatch`] when two paths of one cell are given different values.
    pub(crate) fn new<M: Module + ?Sized>(module: &M, state: &BTreeMap<String, Tensor>) -> Result<Self> {
        let mut matching = Matching::default();
        let (cells, paths) = cells(module);
        for (cell, paths) in cells.into_iter().zip(&paths) {
            let mut given = paths.iter().filter_map(|path| state.get_key_value(path));
            let Some((name, value)) = given.next() else {
                matching.missing.push(paths[0].clone());
                continue;
            };
            if let Some((other, _)) = given.find(|(_, other)| *other != value) {
                let why = format!("{name} and {other} are one value in the model, but differ here");
                return Err(Error::StateMismatch(why));
            }
            let expected = cell.value();
            if value.shape() == expected.shape() {
                matching.fitting.push((paths[0].clone(), cell, value.clone()));
            } else {
                let (given, expected) = (value.dims().clone(), expected.dims().clone());
                matching.misfits.push((paths[0].clone(), Misfit::Shape { given, expected }));
            }
        }
        let known: HashSet<&String> = paths.iter().flatten().collect();
        matching.unexpected = state.keys().filter(|name| !known.contains(name)).cloned().collect();
        matching.missing.sort();
        matching.misfits.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(matching)
    }

    /// The paths of the cells that get a value, sorted.
    pub(crate) fn fitting(&self) -> Vec<String> {
        let mut names: Vec<String> = self.fitting.iter().map(|(name, ..)| name.clone()).collect();
        names.sort();
        names
    }

    /// An error naming everything that does not fit, if anything does not.
    pub(crate) fn check(&self) -> Result<()> {
        let missing = self.missing.iter().map(|name| format!("{name} is missing"));
        let misfits = self.misfits.iter().map(|(name, why)| format!("{name} {why}"));
        let unexpected = self.unexpected.iter().map(|name| format!("{name} is not expected"));
        let problems: Vec<String> = missing.chain(misfits).chain(unexpected).collect();
        if problems.is_empty() { Ok(()) } else { Err(Error::StateMismatch(problems.join("; "))) }
    }

    /// Puts what fits in its place.
    pub(crate) fn apply(self) {
        for (_, cell, value) in self.fitting {
            cell.set(value);
        }
    }
}

/// The cells of a module in order, and the paths of each.
fn cells<M: Module + ?Sized>(module: &M) -> (Vec<Cell>, Vec<Vec<String>>) {
    let (mut cells, mut paths) = (Vec::new(), Vec::<Vec<String>>::new());
    let mut positions: HashMap<(bool, u64), usize> = HashMap::new();
    module.visit(&mut Visitor::every_path(&mut |path, part| {
        let at = *positions.entry(part.identity()).or_insert_with(|| {
            cells.push(Cell::of(part));
            paths.push(Vec::new());
            cells.len() - 1
        });
        paths[at].push(path.to_owned());
    }));
    (cells, paths)
}
