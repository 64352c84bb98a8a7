//! How good are the lists? Full ranking: every item of the catalogue competes, items of the training log are left out.
//!
//! Users are scored in parallel, results are kept for each user in order and added up in order, so the figures do not
//! depend on the number of threads.

mod metrics;

use std::fmt;
use std::sync::Arc;

pub use metrics::Metric;

use crate::filter::Filter;
use crate::fitted::Fitted;
use crate::ids::{Id, Index, ItemIdx, UserIdx};
use crate::recommender::Recommender;
use crate::{Error, Interactions, Result};

/// Settings of an evaluation; [`run`](Self::run) does it.
///
/// ```
/// use cairn_recsys::{Evaluation, Fit, Interactions, Metric, Split, TopPop};
/// let log = Interactions::from_ratings((0..60_u32).map(|n| (n % 6, n * n % 11, 1.0, i64::from(n))))?;
/// let (train, test) = log.split(Split::leave_last_out())?;
/// let report = Evaluation::at([5, 10]).run(&TopPop::new().fit(&train)?, &test)?;
/// assert!((0.0..=1.0).contains(&report.mean(Metric::Ndcg, 10).unwrap()));
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    cutoffs: Vec<usize>,
    relevant_from: f32,
    keep_seen: bool,
}

impl Evaluation {
    /// Lists cut at each of `cutoffs`.
    #[must_use]
    pub fn at(cutoffs: impl Into<Vec<usize>>) -> Self {
        Self { cutoffs: cutoffs.into(), relevant_from: f32::NEG_INFINITY, keep_seen: false }
    }

    /// Test rows count as relevant from this value on; by default all do.
    #[must_use]
    pub fn relevant_from(mut self, value: f32) -> Self {
        self.relevant_from = value;
        self
    }

    /// Let items of the training log compete too. For logs in which the same item is met again and again.
    #[must_use]
    pub fn keep_seen(mut self) -> Self {
        self.keep_seen = true;
        self
    }

    /// Ranks for every user with relevant test rows. Items of the test log that the model does not know count as relevant
    /// and missed.
    ///
    /// # Errors
    /// [`Error::Parameter`] without cut-offs or for one of 0; [`Error::UnknownUser`] if the model does not know a user of
    /// the test log; [`Error::Empty`] if nobody has a relevant row.
    pub fn run<M: Recommender, U: Id, I: Id>(
        &self,
        model: &Fitted<M, U, I>,
        test: &Interactions<U, I>,
    ) -> Result<Report> {
        let k = self.cutoffs.iter().copied().max().unwrap_or(0);
        if k == 0 || self.cutoffs.contains(&0) {
            return Err(Error::parameter(
                "cutoffs",
                format!("{:?}", self.cutoffs),
                "one or more, each at least 1",
            ));
        }
        let relevant = relevant_items(model, test, self.relevant_from)?;
        let users: Vec<UserIdx> = relevant.iter().map(|(user, _)| *user).collect();
        let filter = if self.keep_seen { Filter::all() } else { Filter::unseen() };
        let lists = model.recommend_indices(&users, k, &filter)?;
        let mut values = Vec::with_capacity(users.len() * Metric::ALL.len() * self.cutoffs.len());
        for ((_, relevant), list) in relevant.iter().zip(&lists) {
            let hits: Vec<bool> =
                list.iter().map(|e| relevant.known.binary_search(&e.item).is_ok()).collect();
            for metric in Metric::ALL {
                values.extend(self.cutoffs.iter().map(|&k| metric.of(&hits, relevant.count, k)));
            }
        }
        Ok(Report { model: model.model().name(), cutoffs: self.cutoffs.clone(), users, values })
    }
}

/// What one user should be shown.
pub(crate) struct Relevant {
    /// Items the model knows, ascending.
    pub(crate) known: Vec<ItemIdx>,
    /// All of them, known or not.
    pub(crate) count: usize,
}

/// Users with relevant rows in the model's index order.
pub(crate) fn relevant_items<M: Recommender, U: Id, I: Id>(
    model: &Fitted<M, U, I>,
    test: &Interactions<U, I>,
    relevant_from: f32,
) -> Result<Vec<(UserIdx, Relevant)>> {
    let (ours, theirs) = (model.catalog(), test.catalog());
    let same = Arc::ptr_eq(&ours.users, &theirs.users) && Arc::ptr_eq(&ours.items, &theirs.items);
    let mut of_user: Vec<Relevant> =
        (0..model.seen().n_rows()).map(|_| Relevant { known: Vec::new(), count: 0 }).collect();
    for row in (0..test.len()).filter(|&row| test.values()[row] >= relevant_from) {
        let (user, item) = (test.users()[row], test.items()[row]);
        let (user, item) = if same {
            (user, Some(item))
        } else {
            (ours.user(theirs.users.id(user))?, ours.items.get(theirs.items.id(item)))
        };
        of_user[user.at()].known.extend(item);
        of_user[user.at()].count += 1;
    }
    let relevant: Vec<_> = (0..)
        .map(UserIdx)
        .zip(of_user)
        .filter(|(_, relevant)| relevant.count > 0)
        .map(|(user, mut relevant)| {
            relevant.known.sort_unstable();
            (user, relevant)
        })
        .collect();
    if relevant.is_empty() {
        Err(Error::Empty { what: "the set of users with relevant test rows" })
    } else {
        Ok(relevant)
    }
}

/// Results of an evaluation: each metric at each cut-off for each user, and their means.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    model: &'static str,
    cutoffs: Vec<usize>,
    users: Vec<UserIdx>,
    /// users x metrics x cut-offs.
    values: Vec<f64>,
}

impl Report {
    /// Name of the model.
    pub fn model(&self) -> &'static str {
        self.model
    }

    /// The users evaluated, in index order.
    pub fn users(&self) -> &[UserIdx] {
        &self.users
    }

    /// The cut-offs.
    pub fn cutoffs(&self) -> &[usize] {
        &self.cutoffs
    }

    /// A metric for each user, in the order of [`users`](Self::users); `None` for a cut-off that was not asked for.
    pub fn per_user(&self, metric: Metric, k: usize) -> Option<Vec<f64>> {
        let cutoff = self.cutoffs.iter().position(|&c| c == k)?;
        let metric = Metric::ALL.iter().position(|&m| m == metric)?;
        let width = Metric::ALL.len() * self.cutoffs.len();
        let at = metric * self.cutoffs.len() + cutoff;
        Some(self.values.chunks(width).map(|row| row[at]).collect())
    }

    /// The mean over users; `None` for a cut-off that was not asked for.
    pub fn mean(&self, metric: Metric, k: usize) -> Option<f64> {
        let values = self.per_user(metric, k)?;
        Some(values.iter().sum::<f64>() / values.len() as f64)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} users):", self.model, self.users.len())?;
        for &k in &self.cutoffs {
            for metric in Metric::ALL {
                write!(f, " {}@{k} {:.4}", metric.name(), self.mean(metric, k).unwrap_or(f64::NAN))?;
            }
        }
        Ok(())
    }
}
