//! Which named values go into which cells of a module.
//!
//! A cell may stand under several paths. A file names it once, or, if another library wrote it, under each path; then all must
//! say the same.

use std::collections::{BTreeMap, HashMap, HashSet};

use cairn_autograd::Parameter;
use cairn_tensor::{AnyTensor, DType, Shape};

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

    fn value(&self) -> AnyTensor {
        match self {
            Cell::Parameter(parameter) => parameter.any(),
            Cell::Buffer(buffer) => buffer.any(),
        }
    }

    fn set(&self, value: AnyTensor) {
        match self {
            Cell::Parameter(parameter) => parameter.set_any(value),
            Cell::Buffer(buffer) => buffer.set(value),
        }
    }
}

/// Why a value cannot go where its name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// It has another shape than the model's.
    Shape { given: Shape, expected: Shape },
    /// It has another element type.
    Type { given: DType, expected: DType },
}

/// What is asked of the element types of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Types {
    /// They are those of the model.
    Same,
    /// They become those of the model's parameters and buffers.
    Adopted,
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Misfit::Shape { given, expected } => {
                write!(f, "has shape {given}, the model's is {expected}")
            }
            Misfit::Type { given, expected } => {
                write!(f, "has elements of {given}, the model's are {expected}")
            }
        }
    }
}

/// How named values meet a module.
#[derive(Debug, Default)]
pub(crate) struct Matching {
    fitting: Vec<(String, Cell, AnyTensor)>,
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
    pub(crate) fn new<M: Module + ?Sized>(
        module: &M,
        state: &BTreeMap<String, AnyTensor>,
        types: Types,
    ) -> Result<Self> {
        let mut matching = Matching::default();
        let (cells, paths) = cells(module);
        for (cell, paths) in cells.into_iter().zip(&paths) {
            let mut given = paths.iter().filter_map(|path| state.get_key_value(path));
            let Some((name, value)) = given.next() else {
                matching.missing.push(paths[0].clone());
                continue;
            };
            if let Some((other, _)) = given.find(|(_, other)| !other.bits_eq(value)) {
                let why = format!("{name} and {other} are one value in the model, but differ here");
                return Err(Error::StateMismatch(why));
            }
            let expected = cell.value();
            let name = paths[0].clone();
            if value.shape() != expected.shape() {
                let (given, expected) = (value.dims().clone(), expected.dims().clone());
                matching.misfits.push((name, Misfit::Shape { given, expected }));
            } else if types == Types::Same && value.dtype() != expected.dtype() {
                let (given, expected) = (value.dtype(), expected.dtype());
                matching.misfits.push((name, Misfit::Type { given, expected }));
            } else {
                matching.fitting.push((name, cell, value.clone()));
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
