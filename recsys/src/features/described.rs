//! Features with a vector each, kept with a model for rows that come later.

use serde::{Deserialize, Serialize};

use super::space::{FeatureIdx, FeatureSpace};
use super::table::FeatureRow;
use crate::data::ids::Idx;
use crate::models::factors::Vectors;
use crate::{Result, check};

/// The features of one side with their vectors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Described {
    pub(crate) space: FeatureSpace,
    vectors: Vectors,
}

impl Described {
    pub(crate) fn new(space: FeatureSpace, vectors: Vectors) -> Self {
        Self { space, vectors }
    }

    /// The sum of the vectors of a row's features.
    pub(crate) fn vector(&self, row: &FeatureRow) -> Result<Vec<f32>> {
        Ok(self.sum(self.space.encode(row)?))
    }

    /// The sum of the vectors of features with these weights.
    pub(crate) fn sum(&self, features: impl IntoIterator<Item = (FeatureIdx, f32)>) -> Vec<f32> {
        let mut sum = vec![0.0; self.vectors.dim()];
        self.each(features, |vector, x| sum.iter_mut().zip(vector).for_each(|(sum, v)| *sum += x * v));
        sum
    }

    /// Hands on the vector of each feature, with its weight.
    pub(crate) fn each(
        &self,
        features: impl IntoIterator<Item = (FeatureIdx, f32)>,
        mut f: impl FnMut(&[f32], f32),
    ) {
        for (feature, x) in features {
            f(self.vectors.get(feature.at()), x);
        }
    }

    /// For what comes from a file: vectors of this width, one for each feature, all finite. The text says of `what` they are if they are not.
    pub(crate) fn check(&self, what: &str, width: usize) -> Result<(), String> {
        let fits = self.space.is_consistent()
            && self.vectors.dim() == width
            && Some(self.vectors.as_slice().len()) == self.space.len().checked_mul(width);
        if !fits {
            return Err(format!("the features of {what} and their vectors do not fit"));
        }
        check::finite(format_args!("the vectors of the features of {what}"), self.vectors.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::FeatureTable;
    use super::*;

    #[test]
    fn vectors_that_are_not_one_for_each_feature_are_no_fit() {
        let rows =
            [("a", FeatureRow::new().category("kind", "x")), ("b", FeatureRow::new().category("kind", "y"))];
        let space =
            FeatureSpace::new(&FeatureTable::new(rows.map(|(id, row)| (id.to_owned(), row))).unwrap());
        let described = |n, dim| Described::new(space.clone(), Vectors::zeros(n, dim).unwrap());
        let fits = |described: Described, width| described.check("items", width).is_ok();
        assert!(fits(described(space.len(), 3), 3));
        assert!(!fits(described(space.len(), 3), 4));
        assert!(!fits(described(space.len() + 1, 3), 3));
        // A width that no number can hold as often as there are features.
        #[cfg(feature = "neural")]
        assert!(!fits(
            Described::new(space.clone(), Vectors::from_parts(usize::MAX, Vec::new())),
            usize::MAX
        ));
        let mut broken = described(space.len(), 3);
        broken.vectors.as_mut_slice()[2] = f32::NAN;
        assert!(broken.check("items", 3).unwrap_err().contains("vectors of the features of items"));
    }
}
