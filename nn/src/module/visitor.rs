//! The walk over a module: dotted paths, and each cell once.

use std::collections::HashSet;
use std::fmt;

use cairn_autograd::Parameter;

use super::{Buffer, Module};
use crate::adapters::Slot;

/// A leaf of a module. Both kinds are cells: a clone is the same cell.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// A trained value.
    Parameter(&'a Parameter),
    /// A value that is kept but not trained, such as a running mean.
    Buffer(&'a Buffer),
}

impl Part<'_> {
    /// The identity of the cell, and whether it is a buffer.
    pub(super) fn identity(&self) -> (bool, u64) {
        match self {
            Part::Parameter(parameter) => (false, parameter.id()),
            Part::Buffer(buffer) => (true, buffer.id()),
        }
    }
}

/// Walks over a module, keeping the dotted path.
pub struct Visitor<'a> {
    path: String,
    /// The cells that were shown, or nothing where each of their paths is wanted.
    seen: Option<HashSet<(bool, u64)>>,
    f: Wanted<'a>,
}

/// What a walk is for.
enum Wanted<'a> {
    Parts(&'a mut dyn FnMut(&str, Part<'_>)),
    /// The layers that can have adapters.
    Slots(&'a mut dyn FnMut(&str, &Slot)),
}

impl fmt::Debug for Visitor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visitor").field("path", &self.path).finish_non_exhaustive()
    }
}

impl<'a> Visitor<'a> {
    /// A visitor that calls `f` with the path and each leaf: a cell that stands in several places once, under its first path.
    pub fn new(f: &'a mut dyn FnMut(&str, Part<'_>)) -> Self {
        Visitor { path: String::new(), seen: Some(HashSet::new()), f: Wanted::Parts(f) }
    }

    /// A visitor that calls `f` for every path, those of tied cells too.
    pub fn every_path(f: &'a mut dyn FnMut(&str, Part<'_>)) -> Self {
        Visitor { path: String::new(), seen: None, f: Wanted::Parts(f) }
    }

    /// A visitor that calls `f` with the places of adapters and the paths of the layers that have them.
    pub(crate) fn slots(f: &'a mut dyn FnMut(&str, &Slot)) -> Self {
        Visitor { path: String::new(), seen: None, f: Wanted::Slots(f) }
    }

    /// Visits a part under its name.
    pub fn field<M: Module + ?Sized>(&mut self, name: &str, module: &M) {
        let outer = self.path.len();
        if outer > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        module.visit(self);
        self.path.truncate(outer);
    }

    pub(super) fn leaf(&mut self, part: Part<'_>) {
        if let Wanted::Parts(f) = &mut self.f
            && self.seen.as_mut().is_none_or(|seen| seen.insert(part.identity()))
        {
            f(&self.path, part);
        }
    }

    /// Shows the place of a layer's adapters, or, to whoever wants parts, those of the adapters in it.
    pub(crate) fn slot(&mut self, slot: &Slot) {
        match &mut self.f {
            Wanted::Slots(f) => f(self.path.rsplit_once('.').map_or("", |(layer, _)| layer), slot),
            Wanted::Parts(_) => {
                if let Some(adapters) = slot.adapters() {
                    adapters.visit(self);
                }
            }
        }
    }
}
