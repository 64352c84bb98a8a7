//! The caller's ids and the dense indices that stand for them.
//!
//! Inside the crate users and items are rows and columns `0..n`. The two are different types ([`UserIdx`], [`ItemIdx`]),
//! so passing an item where a user is wanted does not compile; swapped matrices were the most common silent mistake in
//! libraries that use bare integers. Indices are given in order of first appearance and never change when data is
//! appended, so a model's row and the log's row stay the same thing.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What may serve as a user or item id: `u32`, `u64`, `String`, `Arc<str>`, a UUID, an enum of your own.
///
/// Implemented for every type that qualifies.
pub trait Id: Clone + Eq + Hash + Debug + Send + Sync + 'static {}
impl<T: Clone + Eq + Hash + Debug + Send + Sync + 'static> Id for T {}

/// A dense index, `0..n`: one of [`UserIdx`] and [`ItemIdx`]. Surprise calls them inner ids.
#[doc(alias = "Index")]
pub trait Idx: Copy + Ord + Hash + Debug + Send + Sync + 'static {
    /// `user` or `item`, for messages.
    const KIND: &'static str;
    /// Wraps a position.
    fn from_u32(value: u32) -> Self;
    /// The position.
    fn to_u32(self) -> u32;
    /// The position as a slice index.
    fn at(self) -> usize {
        self.to_u32() as usize
    }
}

macro_rules! index {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl Idx for $name {
            const KIND: &'static str = $kind;
            fn from_u32(value: u32) -> Self {
                Self(value)
            }
            fn to_u32(self) -> u32 {
                self.0
            }
        }
    };
}

index!(
    #[doc(alias = "inner_uid")]
    /// Row of a user: `0..n_users`. An item in its place does not compile:
    ///
    /// ```
    /// # use cairn_recsys::{Interactions, UserIdx};
    /// let seen = Interactions::from_ratings([("ann", "tea"), ("bob", "tea")])?.user_items();
    /// assert_eq!(seen.row_len(UserIdx(1)), 1);
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    /// ```compile_fail,E0308
    /// # use cairn_recsys::{Interactions, ItemIdx};
    /// let seen = Interactions::from_ratings([("ann", "tea"), ("bob", "tea")])?.user_items();
    /// assert_eq!(seen.row_len(ItemIdx(1)), 1);
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    UserIdx,
    "user"
);
index!(
    #[doc(alias = "inner_iid")]
    /// Column of an item: `0..n_items`.
    ItemIdx,
    "item"
);

/// FxHash (Firefox's hash): a multiply and a rotate for each word. Ids come from the caller's own data, millions at a time.
#[derive(Debug, Default, Clone)]
pub struct FxHasher(u64);

impl FxHasher {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for FxHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
        self.add(bytes.len() as u64);
    }
    fn write_u32(&mut self, value: u32) {
        self.add(u64::from(value));
    }
    fn write_u64(&mut self, value: u64) {
        self.add(value);
    }
    fn write_usize(&mut self, value: usize) {
        self.add(value as u64);
    }
    fn finish(&self) -> u64 {
        // The low bits pick the bucket: bring the well-mixed high ones down.
        self.0.rotate_left(26)
    }
}

/// The two-way map between ids of type `T` and indices `X`.
#[derive(Debug, Clone)]
pub struct IdMap<T, X> {
    ids: Vec<T>,
    index: HashMap<T, X, BuildHasherDefault<FxHasher>>,
}

impl<T, X> Default for IdMap<T, X> {
    fn default() -> Self {
        Self { ids: Vec::new(), index: HashMap::default() }
    }
}

impl<T: Id, X: Idx> IdMap<T, X> {
    /// The map in which the n-th id has index n.
    ///
    /// # Errors
    /// [`Error::DuplicateId`] if an id occurs twice.
    pub fn from_ids(ids: impl IntoIterator<Item = T>) -> Result<Self> {
        let mut map = Self::default();
        for id in ids {
            let before = map.len();
            map.insert(id.clone())?;
            if map.len() == before {
                return Err(Error::DuplicateId { kind: X::KIND, id: format!("{id:?}") });
            }
        }
        Ok(map)
    }

    /// The index of `id`, which is given the next free one if it is new.
    ///
    /// # Errors
    /// [`Error::TooMany`] when 32 bits are used up.
    pub fn insert(&mut self, id: T) -> Result<X> {
        if let Some(&known) = self.index.get(&id) {
            return Ok(known);
        }
        let next = u32::try_from(self.ids.len())
            .ok()
            .filter(|&n| n < u32::MAX)
            .ok_or(Error::TooMany { what: X::KIND, count: self.ids.len() })?;
        self.ids.push(id.clone());
        self.index.insert(id, X::from_u32(next));
        Ok(X::from_u32(next))
    }

    /// The index of `id`, if it is known.
    pub fn get<Q: Eq + Hash + ?Sized>(&self, id: &Q) -> Option<X>
    where
        T: Borrow<Q>,
    {
        self.index.get(id).copied()
    }

    /// The id at `index`.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len), as slices do.
    pub fn id(&self, index: X) -> &T {
        &self.ids[index.at()]
    }

    /// All ids in the order of their indices.
    pub fn ids(&self) -> &[T] {
        &self.ids
    }

    /// How many ids there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_follow_first_appearance() {
        let mut map = IdMap::<String, ItemIdx>::default();
        for id in ["b", "a", "b", "c"] {
            map.insert(id.to_owned()).unwrap();
        }
        assert_eq!(map.ids(), ["b", "a", "c"]);
        assert_eq!(map.get("a"), Some(ItemIdx(1)));
        assert_eq!(map.get("z"), None);
        assert_eq!(map.id(ItemIdx(2)), "c");
    }

    #[test]
    fn a_list_with_a_repeated_id_is_refused() {
        let error = IdMap::<u32, UserIdx>::from_ids([1, 2, 1]).unwrap_err();
        assert!(matches!(error, Error::DuplicateId { kind: "user", .. }), "{error}");
    }
}
