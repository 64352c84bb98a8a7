//! What was known when somebody met something: the device, the weather, where they were.

use std::collections::HashMap;
use std::fmt;

use super::space::{FeatureIdx, FeatureSpace};
use super::table::FeatureTable;
use crate::Result;
use crate::data::ids::{Id, IdMap, UserIdx};

/// The features of events, by user and time, for models that take the context of a request. An event without a row has none.
/// [`EventReader`](crate::read::EventReader) reads tables of them.
///
/// ```
/// use cairn_recsys::features::{EventFeatures, FeatureRow, FeatureTable};
/// use cairn_recsys::Interactions;
/// let log = Interactions::from_ratings([("ann", "tea", 1.0, 8), ("ann", "beer", 1.0, 20)])?;
/// let rows = [8, 20].map(|hour| (("ann", hour), FeatureRow::new().category("day", if hour < 12 { "morning" } else { "evening" })));
/// let context = EventFeatures::new(&FeatureTable::new(rows)?, &log.catalog().users)?;
/// assert_eq!(context.space().names(), ["day evening", "day morning"]);
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[derive(Clone, PartialEq)]
#[doc(alias("context", "request features"))]
pub struct EventFeatures {
    space: FeatureSpace,
    rows: HashMap<(UserIdx, i64), Vec<(FeatureIdx, f32)>>,
}

/// Its size, as of a [`FeatureMatrix`](super::FeatureMatrix).
impl fmt::Debug for EventFeatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, features) = (self.rows.len(), self.space.len());
        f.debug_struct("EventFeatures")
            .field("rows", &rows)
            .field("features", &features)
            .finish_non_exhaustive()
    }
}

impl EventFeatures {
    /// The rows of a table by the users of a catalogue; those of others do no harm.
    ///
    /// # Errors
    /// None for a table as it is made.
    pub fn new<U: Id>(table: &FeatureTable<(U, i64)>, users: &IdMap<U, UserIdx>) -> Result<Self> {
        let space = FeatureSpace::new(table);
        let mut rows = HashMap::new();
        for ((user, time), row) in table.rows() {
            if let Some(user) = users.get(user) {
                rows.insert((user, *time), space.encode(row)?);
            }
        }
        Ok(Self { space, rows })
    }

    /// What the features are.
    pub fn space(&self) -> &FeatureSpace {
        &self.space
    }

    /// The most features that an event has.
    #[cfg(feature = "neural")]
    pub(crate) fn longest(&self) -> u64 {
        self.rows.values().map(Vec::len).max().unwrap_or(0) as u64
    }

    /// The features of an event.
    #[cfg(feature = "neural")]
    pub(crate) fn get(&self, user: UserIdx, time: i64) -> &[(FeatureIdx, f32)] {
        self.rows.get(&(user, time)).map_or(&[], Vec::as_slice)
    }
}
