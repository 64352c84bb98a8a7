//! Which items may be recommended.

use std::collections::HashSet;
use std::fmt;

use crate::data::ids::{Id, IdMap, ItemIdx};

type Predicate<'a, I> = Box<dyn Fn(&I) -> bool + Send + Sync + 'a>;

/// Which items may be recommended: whether those the user has met are out, and any conditions of the caller's own.
///
/// ```
/// use cairn_recsys::Filter;
/// let in_stock = |item: &u32| item % 2 == 0;
/// let filter = Filter::unseen().only(in_stock).without([4, 6]);
/// # let _ = filter;
/// ```
pub struct Filter<'a, I = u32> {
    unseen: bool,
    predicates: Vec<Predicate<'a, I>>,
}

impl<I> fmt::Debug for Filter<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter")
            .field("unseen", &self.unseen)
            .field("predicates", &self.predicates.len())
            .finish()
    }
}

impl<'a, I: Id> Filter<'a, I> {
    /// Items that the user has no interaction with in the training log.
    #[must_use]
    pub fn unseen() -> Self {
        Self { unseen: true, predicates: Vec::new() }
    }

    /// All items, seen or not.
    #[must_use]
    pub fn all() -> Self {
        Self { unseen: false, predicates: Vec::new() }
    }

    /// Only items for which `allowed` holds, besides the conditions already set.
    #[must_use]
    pub fn only(mut self, allowed: impl Fn(&I) -> bool + Send + Sync + 'a) -> Self {
        self.predicates.push(Box::new(allowed));
        self
    }

    /// None of these items.
    #[must_use]
    pub fn without(self, items: impl IntoIterator<Item = I>) -> Self {
        let out: HashSet<I> = items.into_iter().collect();
        self.only(move |item| !out.contains(item))
    }

    /// Whether items the user has met are out.
    #[must_use]
    pub fn is_unseen(&self) -> bool {
        self.unseen
    }

    /// Whether the caller's conditions hold for an item.
    pub(crate) fn allows(&self, id: &I) -> bool {
        self.predicates.iter().all(|allowed| allowed(id))
    }

    /// The items barred by the caller's conditions; asked once for a whole batch of users.
    pub(crate) fn barred(&self, items: &IdMap<I, ItemIdx>) -> Vec<ItemIdx> {
        if self.predicates.is_empty() {
            return Vec::new();
        }
        (0..).zip(items.ids()).filter(|(_, id)| !self.allows(id)).map(|(n, _)| ItemIdx(n)).collect()
    }
}
