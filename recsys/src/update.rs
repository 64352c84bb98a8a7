//! Going on from a trained model when rows, users and items have come: [`Update`].

use crate::data::ids::{Id, Idx};
use crate::data::sparse::{Csr, UserItems};
use crate::estimator::Estimator;
use crate::{Error, Fitted, Interactions, Result};

/// Settings of a model that can go on from where it was; they are to be those that it was trained with.
///
/// A log that is [appended](crate::Interactions::append) to keeps its indices, so what a model has learned stays where it is. How far an
/// updated model may be from one trained anew is held by a test of each model:
///
/// | model | how | against a training anew |
/// |---|---|---|
/// | `TopPop` | counted | the same bits |
/// | `ItemKnn`, `UserKnn` | the neighbours of what changed and of what met it, for the plain cosine; else anew | the same bits |
/// | `Ease` | the inverse by Woodbury's identity, of the rank of the users that changed | weights within 1e-3 of the largest |
/// | `Als` | three sweeps from the old vectors, in place of `epochs` | loss within 1 % |
/// | `Bpr` | a fifth of the epochs from the old vectors | NDCG within 0.05 on planted tastes: samples differ |
pub trait Update: Estimator {
    /// The model for `after`, from the one for `before`: of the same users and items and perhaps more of both.
    ///
    /// # Errors
    /// Those of training; [`Error::Shape`] where model and matrices do not fit; [`Error::Parameter`] for a model that was trained with
    /// other settings, where that matters.
    fn update_matrix(
        &self,
        model: &Self::Model,
        before: &UserItems,
        after: &UserItems,
    ) -> Result<Self::Model>;

    /// The model for a log that rows were appended to since it was trained. An index is to be made anew.
    ///
    /// ```
    /// use cairn_recsys::{Als, Duplicates, Estimator, Filter, Update, synthetic};
    /// let mut log = synthetic::planted_groups(60, 40, 4, 8, 0.1, 0)?;
    /// let settings = Als::new().factors(8);
    /// let model = settings.fit(&log)?;
    /// log.append([(1000, 3, 1.0), (1000, 7, 1.0), (5, 4000, 1.0)], Duplicates::Last)?; // a new user, a new item
    /// let model = settings.update(&model, &log)?;
    /// assert_eq!(model.recommend(&1000, 3, &Filter::unseen())?.len(), 3);
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for a log whose catalogue does not begin with the model's, and those of
    /// [`update_matrix`](Self::update_matrix).
    #[doc(alias("partial_fit", "incremental", "warm_start"))]
    fn update<U: Id, I: Id>(
        &self,
        model: &Fitted<Self::Model, U, I>,
        log: &Interactions<U, I>,
    ) -> Result<Fitted<Self::Model, U, I>> {
        let (old, new) = (model.catalog(), log.catalog());
        let goes_on =
            new.users.ids().starts_with(old.users.ids()) && new.items.ids().starts_with(old.items.ids());
        if !goes_on {
            return Err(Error::Shape {
                what: "an update",
                expected: "the log that the model was trained on, with rows appended".to_owned(),
                found: "users and items in another order".to_owned(),
            });
        }
        let after = log.user_items();
        let updated = self.update_matrix(model.model(), model.seen(), &after)?;
        Fitted::new(updated, new.clone(), after)
    }
}

/// `before` with the rows and columns of `after`, those that are new without entries.
///
/// # Errors
/// [`Error::Shape`] where it has more.
pub(crate) fn grown<R: Idx, C: Idx>(before: &Csr<R, C>, after: &Csr<R, C>) -> Result<Csr<R, C>> {
    if before.n_rows() > after.n_rows() || before.n_cols() > after.n_cols() {
        return Err(Error::Shape {
            what: "an update",
            expected: format!("at least {} x {}", before.n_rows(), before.n_cols()),
            found: format!("{} x {}", after.n_rows(), after.n_cols()),
        });
    }
    let mut offsets = before.offsets().to_vec();
    offsets.resize(after.n_rows() + 1, before.nnz());
    Ok(Csr::from_parts(after.n_cols(), offsets, before.columns().to_vec(), before.values().to_vec()))
}

/// The rows that differ.
pub(crate) fn changed<R: Idx, C: Idx>(before: &Csr<R, C>, after: &Csr<R, C>) -> Vec<bool> {
    after.row_indices().map(|row| before.row(row) != after.row(row)).collect()
}

/// That a model is the one that was trained on a matrix.
pub(crate) fn check_model(model: (usize, usize), before: &UserItems) -> Result<()> {
    let found = (before.n_rows(), before.n_cols());
    if model == found {
        return Ok(());
    }
    Err(Error::Shape {
        what: "an update: the matrix that the model was trained on",
        expected: format!("{model:?}"),
        found: format!("{found:?}"),
    })
}
