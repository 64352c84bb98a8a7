//! How good are the lists?
//!
//! Users are scored in parallel, results are kept for each user in order and added up in order, so the figures do not
//! depend on the number of threads. Where nothing but the lists is asked for they are made as lists that are served, which for
//! models of inner products never writes the scores out.

mod auc;
pub(crate) mod bootstrap;
pub mod metrics;
mod paired;
mod quality;
mod report;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use cairn_processes::{Alone, Communicator};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use rayon::prelude::*;

pub use metrics::RankingMetric;
pub use paired::{PairedDifference, PairedTest};
pub use quality::ListQuality;
use report::Outcome;
pub use report::{Protocol, RankingReport};

use crate::by_rank::by_rank;
use crate::data::filter::Filter;
use crate::data::ids::{FxHasher, Id, Idx, ItemIdx, UserIdx};
use crate::recommender::Recommender;
use crate::serve::fitted::Fitted;
use crate::serve::ranks::Ranks;
use crate::serve::rerank::Reranking;
use crate::serve::top_k::ScoredItem;
use crate::{Error, Interactions, Result};

/// Settings of an evaluation of lists; [`evaluate`](Self::evaluate) does it.
///
/// Full ranking unless asked otherwise: every item of the catalogue competes, items of the training log are left out. Ranking among a few
/// sampled items is cheaper and was once the custom, but can order models differently (Krichene & Rendle, KDD 2020); it is offered to
/// compare with published figures, and reports say so.
///
/// Predicted ratings are judged by [`rating::evaluate`](crate::rating::evaluate()).
///
/// ```
/// use cairn_recsys::{Estimator, Interactions, RankingEvaluator, Split, TopPop, metrics::Ndcg};
/// let log = Interactions::from_ratings((0..60_u32).map(|n| (n % 6, n * n % 11, 1.0, i64::from(n))))?;
/// let (train, test) = log.split(Split::leave_last_out())?;
/// let report = RankingEvaluator::at([5, 10]).evaluate(&TopPop::new().fit(&train)?, &test)?;
/// assert!((0.0..=1.0).contains(&report.mean(Ndcg, 10).unwrap()));
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[doc(alias = "ranking_metrics_at_k")]
#[doc(alias = "Evaluation")]
#[derive(Debug, Clone, PartialEq)]
pub struct RankingEvaluator {
    cutoffs: Vec<usize>,
    relevant_from: f32,
    keep_seen: bool,
    protocol: Protocol,
    auc: bool,
    quality: bool,
}

impl RankingEvaluator {
    /// Lists cut at each of `cutoffs`.
    #[must_use]
    pub fn at(cutoffs: impl Into<Vec<usize>>) -> Self {
        Self {
            cutoffs: cutoffs.into(),
            relevant_from: f32::NEG_INFINITY,
            keep_seen: false,
            protocol: Protocol::Full,
            auc: false,
            quality: false,
        }
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

    /// Rank the relevant items among `negatives` random others instead of the whole catalogue. The report is labelled.
    #[must_use]
    pub fn sampled(mut self, negatives: usize, seed: u64) -> Self {
        self.protocol = Protocol::Sampled { negatives, seed };
        self
    }

    /// Also compute the area under the ROC curve: the probability that a relevant item outranks another candidate.
    #[must_use]
    pub fn auc(mut self) -> Self {
        self.auc = true;
        self
    }

    /// Also compute coverage, Gini coefficient, novelty and diversity of the lists.
    #[must_use]
    pub fn list_quality(mut self) -> Self {
        self.quality = true;
        self
    }

    /// Ranks for every user with relevant test rows. Items of the test log that the model does not know count as relevant
    /// and missed.
    ///
    /// # Errors
    /// [`Error::Parameter`] without cut-offs or for one of 0, and for a test log whose relevant rows are all in the training log,
    /// without [`keep_seen`](Self::keep_seen): they are left out of every list; [`Error::UnknownUser`] if the model does not know
    /// a user of the test log; [`Error::Empty`] if nobody has a relevant row.
    pub fn evaluate<M: Recommender + ?Sized, U: Id, I: Id>(
        &self,
        model: &Fitted<M, U, I>,
        test: &Interactions<U, I>,
    ) -> Result<RankingReport> {
        self.evaluate_on(model, test, &Alone)
    }

    /// As [`evaluate`](Self::evaluate), together with other processes, which have the same model and the same test log: each ranks for some
    /// of the users. The report is the same on all, with the same bits at any number of them.
    ///
    /// ```
    /// use cairn_processes::Threads;
    /// use cairn_recsys::{Als, Estimator, RankingEvaluator, Split, metrics::Ndcg, synthetic};
    /// let log = synthetic::planted_groups(100, 60, 4, 10, 0.1, 0)?;
    /// let (train, test) = log.split(Split::per_user(0.3, 0))?;
    /// let (model, evaluator) = (Als::new().factors(8).fit(&train)?, RankingEvaluator::at([10]));
    /// let reports = Threads::run(2, |process| evaluator.evaluate_on(&model, &test, process).unwrap());
    /// assert_eq!(reports[1].mean(Ndcg, 10), evaluator.evaluate(&model, &test)?.mean(Ndcg, 10));
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    ///
    /// # Errors
    /// As there, of any process on all of them; [`Error::Processes`] says of which.
    pub fn evaluate_on<M: Recommender + ?Sized, U: Id, I: Id>(
        &self,
        model: &Fitted<M, U, I>,
        test: &Interactions<U, I>,
        processes: &dyn Communicator,
    ) -> Result<RankingReport> {
        let prepare = || {
            let k = self.largest_cutoff()?;
            let relevant = relevant_items(model, test, self.relevant_from)?;
            self.check_rows(model, &relevant)?;
            Ok((k, relevant))
        };
        let (k, relevant, rows) = match prepare() {
            Ok((k, relevant)) => {
                let rows = relevant.len();
                (k, relevant, Ok(rows))
            }
            Err(error) => (0, Vec::new(), Err(error)),
        };
        let users: Vec<UserIdx> = relevant.iter().map(|(user, _)| *user).collect();
        let by_lists = self.protocol == Protocol::Full && !self.auc;
        let unit = if by_lists { model.users_of_task() } else { model.users_scored_together() };
        let facts = || vec![("the settings", format!("{self:?}")), ("the model", model.fact())];
        let ranked = by_rank(processes, "evaluation", facts, rows, unit, |own| {
            if by_lists {
                let filter = if self.keep_seen { Filter::all() } else { Filter::unseen() };
                let lists = model.recommend_indices(&users[own], k, &filter)?;
                return Ok(lists.into_iter().map(|list| (list, f64::NAN)).collect());
            }
            model.rank_blocks(&users[own], |user, scores| {
                let seen = model.seen().row(user).0;
                self.rank((user, model.ranks()), scores, seen, of_user(&relevant, user), k)
            })
        })?;
        let (lists, auc): (Vec<_>, _) = ranked.into_iter().unzip();
        Ok(self.report(model, |user| !model.knows_user(user), &relevant, &lists, auc))
    }

    /// As [`evaluate`](Self::evaluate), where the relevant items of each user are ranked among candidates of the caller's: negatives
    /// drawn by somebody else, or what a first stage came up with. Candidates that the model does not know cannot be listed, and those
    /// of the user's training rows are left out without [`keep_seen`](Self::keep_seen). The report is labelled.
    ///
    /// ```
    /// use cairn_recsys::{Estimator, Interactions, RankingEvaluator, TopPop, metrics::HitRate};
    /// let train = Interactions::from_ratings([("ann", "tea"), ("bob", "tea"), ("bob", "milk"), ("cy", "rusk")])?;
    /// let test = Interactions::from_ratings([("ann", "milk")])?;
    /// let model = TopPop::new().fit(&train)?;
    /// let report = RankingEvaluator::at([1]).evaluate_among(&model, &test, |_| vec!["rusk"])?;
    /// assert_eq!(report.users().len(), 1);
    /// assert!(report.to_string().contains("GIVEN candidates"));
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    #[doc(alias("candidates", "negatives"))]
    pub fn evaluate_among<M: Recommender + ?Sized, U: Id, I: Id>(
        &self,
        model: &Fitted<M, U, I>,
        test: &Interactions<U, I>,
        candidates: impl Fn(&U) -> Vec<I> + Sync,
    ) -> Result<RankingReport> {
        let k = self.largest_cutoff()?;
        let relevant = relevant_items(model, test, self.relevant_from)?;
        self.check_rows(model, &relevant)?;
        let users: Vec<UserIdx> = relevant.iter().map(|(user, _)| *user).collect();
        let catalog = model.catalog();
        let whole = Self { protocol: Protocol::Given, ..self.clone() };
        let ranked = model.rank_blocks(&users, |user, scores| {
            let relevant = of_user(&relevant, user);
            let mut compete = vec![false; scores.len()];
            relevant.known.iter().for_each(|item| compete[item.at()] = true);
            let given = candidates(catalog.users.id(user));
            given.iter().filter_map(|id| catalog.items.get(id)).for_each(|item| compete[item.at()] = true);
            scores
                .iter_mut()
                .zip(compete)
                .filter(|(_, compete)| !compete)
                .for_each(|(score, _)| *score = f32::NAN);
            whole.rank((user, model.ranks()), scores, model.seen().row(user).0, relevant, k)
        })?;
        let (lists, auc): (Vec<_>, _) = ranked.into_iter().unzip();
        Ok(whole.report(model, |user| !model.knows_user(user), &relevant, &lists, auc))
    }

    /// As [`evaluate`](Self::evaluate) for lists that are made over: what a reranking costs is the difference of this report and that
    /// one, for which there is [`PairedTest`].
    ///
    /// ```
    /// use cairn_recsys::rerank::{Mmr, Reranking};
    /// use cairn_recsys::{Als, Estimator, PairedTest, RankingEvaluator, Split, metrics::Ndcg, synthetic};
    /// let log = synthetic::planted_groups(100, 60, 4, 10, 0.1, 0)?;
    /// let (train, test) = log.split(Split::per_user(0.3, 0))?;
    /// let model = Als::new().factors(8).fit(&train)?;
    /// let evaluator = RankingEvaluator::at([10]).list_quality();
    /// let varied = Reranking::from_best(40).then(Mmr::new(0.5, &model.model().factors().items));
    /// let (plain, varied) = (evaluator.evaluate(&model, &test)?, evaluator.evaluate_reranked(&model, &test, &varied)?);
    /// println!("{}", PairedTest::new().compare(&varied, &plain, Ndcg, 10)?);
    /// assert!(varied.list_quality(10) != plain.list_quality(10));
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate) and [`Fitted::recommend_reranked`]; [`Error::Parameter`] for settings that need the scores of all
    /// items: [`sampled`](Self::sampled) and [`auc`](Self::auc).
    pub fn evaluate_reranked<M: Recommender + ?Sized, U: Id, I: Id>(
        &self,
        model: &Fitted<M, U, I>,
        test: &Interactions<U, I>,
        reranking: &Reranking,
    ) -> Result<RankingReport> {
        let k = self.largest_cutoff()?;
        if self.auc || self.protocol != Protocol::Full {
            return Err(Error::parameter(
                "protocol",
                "sampled, or with AUC",
                "full ranking, for lists made over",
            ));
        }
        let relevant = relevant_items(model, test, self.relevant_from)?;
        self.check_rows(model, &relevant)?;
        let users: Vec<UserIdx> = relevant.iter().map(|(user, _)| *user).collect();
        let filter = if self.keep_seen { Filter::all() } else { Filter::unseen() };
        let lists = model.reranked_indices(&users, k, &filter, reranking)?;
        Ok(self.report(model, |user| !model.knows_user(user), &relevant, &lists, Vec::new()))
    }

    /// That not all relevant rows are left out of the lists.
    fn check_rows<M: Recommender + ?Sized, U: Id, I: Id>(
        &self,
        model: &Fitted<M, U, I>,
        relevant: &[(UserIdx, Relevant)],
    ) -> Result<()> {
        match trained_rows(model, relevant) {
            (trained, all) if trained == all && !self.keep_seen => Err(Error::parameter(
                "test log",
                format!("{all} relevant rows, all of them in the training log"),
                "rows that the model was not trained on, as those are left out of the lists; `keep_seen` lets them compete",
            )),
            _ => Ok(()),
        }
    }

    /// Strong generalisation: users the model was not trained on are folded in by their rows in `history` and ranked for
    /// their rows in `test`. Both logs must be over the model's catalogue, as [`Interactions::split_users`] makes them.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the model has no fold-in; [`Error::Shape`] if the catalogues differ; [`Error::Parameter`]
    /// without cut-offs or for one of 0; [`Error::Empty`] if nobody has a relevant row.
    pub fn evaluate_fold_in<M: Recommender + ?Sized, U: Id, I: Id>(
        &self,
        model: &Fitted<M, U, I>,
        history: &Interactions<U, I>,
        test: &Interactions<U, I>,
    ) -> Result<RankingReport> {
        let k = self.largest_cutoff()?;
        if !Arc::ptr_eq(&model.catalog().items, &history.catalog().items)
            || !Arc::ptr_eq(&model.catalog().users, &history.catalog().users)
        {
            return Err(Error::Shape {
                what: "fold-in evaluation",
                expected: "a history over the model's catalogue".to_owned(),
                found: "another catalogue".to_owned(),
            });
        }
        let relevant = relevant_items(model, test, self.relevant_from)?;
        let rows = history.user_items();
        let sequences = model.model().knows_order().then(|| history.sequences());
        let ranked = relevant
            .par_iter()
            .map(|(user, relevant)| {
                let (mut items, values) = rows.row(*user);
                let mut scores = match &sequences {
                    Some(sequences) => {
                        items = sequences.get(*user);
                        let value = |item: &ItemIdx| rows.get(*user, *item).unwrap_or(1.0);
                        model.ranked_history(items, &items.iter().map(value).collect::<Vec<f32>>())?
                    }
                    None => model.ranked_history(items, values)?,
                };
                Ok(self.rank((*user, model.ranks()), &mut scores, items, relevant, k))
            })
            .collect::<Result<Vec<_>>>()?;
        let (lists, auc): (Vec<_>, _) = ranked.into_iter().unzip();
        let says_nothing = |user: UserIdx| !rows.row(user).0.iter().any(|&item| model.reads_item(item));
        Ok(self.report(model, says_nothing, &relevant, &lists, auc))
    }

    fn largest_cutoff(&self) -> Result<usize> {
        match self.cutoffs.iter().copied().max() {
            Some(k) if !self.cutoffs.contains(&0) => Ok(k),
            _ => {
                let expected = "one or more, each at least 1";
                Err(Error::parameter("cutoffs", format!("{:?}", self.cutoffs), expected))
            }
        }
    }

    /// The list of one user, and the area under the curve if wanted.
    fn rank(
        &self,
        (user, ranks): (UserIdx, &Ranks),
        scores: &mut [f32],
        seen: &[ItemIdx],
        relevant: &Relevant,
        k: usize,
    ) -> (Vec<ScoredItem>, f64) {
        if !self.keep_seen {
            seen.iter().for_each(|item| scores[item.at()] = f32::NAN);
        }
        if let Protocol::Sampled { negatives, seed } = self.protocol {
            keep_sample(
                scores,
                relevant,
                negatives,
                seed ^ (u64::from(user.0) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            );
        }
        let auc = if self.auc { auc::auc(scores, &relevant.known) } else { f64::NAN };
        (ranks.top_k(scores, k), auc)
    }

    /// `unknown` says of whom the model knew nothing when their lists were made.
    fn report<M: Recommender + ?Sized, U: Id, I: Id>(
        &self,
        model: &Fitted<M, U, I>,
        unknown: impl Fn(UserIdx) -> bool,
        relevant: &[(UserIdx, Relevant)],
        lists: &[Vec<ScoredItem>],
        auc: Vec<f64>,
    ) -> RankingReport {
        let outcome = |((_, relevant), list): (&(UserIdx, Relevant), &Vec<ScoredItem>)| Outcome {
            hits: list.iter().map(|e| relevant.known.binary_search(&e.item).is_ok()).collect(),
            relevant: relevant.count,
        };
        let outcomes = relevant.par_iter().zip(lists).with_min_len(64).map(outcome).collect();
        let quality = if self.quality {
            let audiences = model.seen().transpose();
            self.cutoffs.iter().map(|&k| ListQuality::of(lists, k, model.seen(), &audiences)).collect()
        } else {
            Vec::new()
        };
        RankingReport {
            model: model.model().name(),
            name: None,
            protocol: self.protocol,
            cutoffs: self.cutoffs.clone(),
            users: relevant.iter().map(|(user, _)| *user).collect(),
            asked: asked(model, relevant),
            unknown: relevant.iter().filter(|(user, _)| unknown(*user)).count(),
            known_rows: trained_rows(model, relevant),
            outcomes,
            auc: if self.auc { auc } else { Vec::new() },
            quality,
        }
    }
}

/// Takes all candidates out but the relevant ones and `negatives` random others (all others if there are no more).
fn keep_sample(scores: &mut [f32], relevant: &Relevant, negatives: usize, seed: u64) {
    let mut others: Vec<usize> = (0..scores.len())
        .filter(|&i| scores[i].is_finite() && relevant.known.binary_search(&ItemIdx(i as u32)).is_err())
        .collect();
    let mut rng = Pcg64::seed_from_u64(seed);
    // The first steps of a Fisher-Yates shuffle choose the sample.
    let n = negatives.min(others.len());
    for at in 0..n {
        let other = rng.random_range(at..others.len());
        others.swap(at, other);
    }
    others[n..].iter().for_each(|&i| scores[i] = f32::NAN);
}

/// What one user should be shown.
pub(crate) struct Relevant {
    /// Items the model knows, ascending.
    pub(crate) known: Vec<ItemIdx>,
    /// All of them, known or not.
    pub(crate) count: usize,
    /// The sum of the hashes of their ids: the same in whatever order they come and however a catalogue numbers them.
    ids: u64,
}

/// A hash whose sums tell sets apart. That of [`FxHasher`] is nearly a multiple of a number: 1 and 4 would add up to what 2 and 3 do.
fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = FxHasher::default();
    value.hash(&mut hasher);
    // The last steps of MurmurHash3.
    let mixed = [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53]
        .into_iter()
        .fold(hasher.finish(), |x: u64, factor: u64| (x ^ (x >> 33)).wrapping_mul(factor));
    mixed ^ (mixed >> 33)
}

/// A number that is the same for reports on the same people in the same order with the same relevant rows. Indices do not say that:
/// another catalogue gives them to others.
fn asked<M: Recommender + ?Sized, U: Id, I: Id>(
    model: &Fitted<M, U, I>,
    relevant: &[(UserIdx, Relevant)],
) -> u64 {
    let mut hasher = FxHasher::default();
    for (user, relevant) in relevant {
        model.catalog().users.id(*user).hash(&mut hasher);
        (relevant.count, relevant.ids).hash(&mut hasher);
    }
    hasher.finish()
}

fn of_user(relevant: &[(UserIdx, Relevant)], user: UserIdx) -> &Relevant {
    let at = relevant.binary_search_by_key(&user, |(user, _)| *user);
    &relevant[at.expect("only users with relevant rows are scored")].1
}

/// How many relevant rows the model was trained on, of how many.
fn trained_rows<M: Recommender + ?Sized, U: Id, I: Id>(
    model: &Fitted<M, U, I>,
    relevant: &[(UserIdx, Relevant)],
) -> (usize, usize) {
    let trained = |(user, relevant): &(UserIdx, Relevant)| {
        let seen = model.seen().row(*user).0;
        relevant.known.iter().filter(|item| seen.binary_search(item).is_ok()).count()
    };
    (relevant.iter().map(trained).sum(), relevant.iter().map(|(_, relevant)| relevant.count).sum())
}

/// Users with relevant rows in the model's index order.
pub(crate) fn relevant_items<M: Recommender + ?Sized, U: Id, I: Id>(
    model: &Fitted<M, U, I>,
    test: &Interactions<U, I>,
    relevant_from: f32,
) -> Result<Vec<(UserIdx, Relevant)>> {
    let (ours, theirs) = (model.catalog(), test.catalog());
    let same = Arc::ptr_eq(&ours.users, &theirs.users) && Arc::ptr_eq(&ours.items, &theirs.items);
    let mut of_user: Vec<Relevant> =
        (0..model.seen().n_rows()).map(|_| Relevant { known: Vec::new(), count: 0, ids: 0 }).collect();
    for row in (0..test.len()).filter(|&row| test.values()[row] >= relevant_from) {
        let (user, item) = (test.users()[row], test.items()[row]);
        let id = hash_of(theirs.items.id(item));
        let (user, item) = if same {
            (user, Some(item))
        } else {
            (ours.user(theirs.users.id(user))?, ours.items.get(theirs.items.id(item)))
        };
        of_user[user.at()].known.extend(item);
        of_user[user.at()].count += 1;
        of_user[user.at()].ids = of_user[user.at()].ids.wrapping_add(id);
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
