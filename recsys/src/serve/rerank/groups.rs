//! What items belong to: genres, providers, price ranges.

use std::collections::HashMap;

use super::ItemIdx;
use crate::Error;
use crate::Result;
use crate::data::ids::{Id, Idx};
use crate::data::interactions::Catalog;

/// The groups of each item of a catalogue; an item may be of none, of one or of several.
#[derive(Debug, Clone, PartialEq)]
#[doc(alias("categories", "genres", "tags"))]
pub struct ItemGroups {
    names: Vec<String>,
    /// Ascending and distinct for each item.
    of: Vec<Vec<u32>>,
}

impl ItemGroups {
    /// By a function that names an item's groups.
    pub fn new<U: Id, I: Id, N: IntoIterator<Item = String>>(
        catalog: &Catalog<U, I>,
        groups: impl Fn(&I) -> N,
    ) -> Self {
        let mut numbers: HashMap<String, u32> = HashMap::new();
        let mut names = Vec::new();
        let of = catalog.items.ids().iter().map(|id| {
            let mut own: Vec<u32> = Vec::new();
            for name in groups(id) {
                let number = *numbers.entry(name.clone()).or_insert(names.len() as u32);
                if number as usize == names.len() {
                    names.push(name);
                }
                own.push(number);
            }
            own.sort_unstable();
            own.dedup();
            own
        });
        let of = of.collect();
        Self { names, of }
    }

    /// The names of the groups, in order of first appearance.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The groups of an item by number, ascending; none for an item out of range.
    pub fn of(&self, item: ItemIdx) -> &[u32] {
        self.of.get(item.at()).map_or(&[], Vec::as_slice)
    }

    /// The number of a group.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.names.iter().position(|known| known == name).map(|at| at as u32)
    }

    pub(super) fn check(&self, n_items: usize) -> Result<()> {
        if self.of.len() == n_items {
            return Ok(());
        }
        Err(Error::Shape {
            what: "groups of items",
            expected: format!("those of {n_items} items"),
            found: self.of.len().to_string(),
        })
    }
}
