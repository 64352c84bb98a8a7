//! Matrix factorisation for implicit feedback by alternating least squares
//! (Hu, Koren & Volinsky, ICDM 2008; iALS++: Rendle, Krichene, Zhang & Koren 2021).
//!
//! What is minimised stands at [`Als`]. With one side fixed, each vector of the other is a small least-squares problem of
//! its own; the sum over all pairs enters through one Gram matrix.

mod share;
mod solve;

use cairn_processes::Communicator;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use crate::data::ids::{Id, Idx, ItemIdx};
use crate::data::sparse::{Csr, UserItems};
use crate::data::stored::StoredInteractions;
use crate::estimator::{Estimator, fitted};
use crate::linalg::rows;
use crate::models::als::share::Share;
use crate::models::als::solve::Side;
use crate::models::factors::{FactorModel, Factors, Vectors, dot};
use crate::serve::file::Saved;
use crate::update::{self, Update};
use crate::{Error, Fitted, Interactions, Result, check, memory};

/// How a vector's least-squares problem is solved in each sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum AlsSolver {
    /// Exactly, by the Cholesky factor of the normal equations.
    Cholesky,
    /// That many steps of conjugate gradients from the vector of the sweep before (implicit takes 3).
    ConjugateGradient {
        /// Steps for each vector and sweep.
        steps: usize,
    },
    /// iALS++: exactly in one block of dimensions after the other. Near the exact solver's progress at a fraction of its
    /// cost for large models.
    Blocks {
        /// Dimensions in a block.
        size: usize,
    },
}

/// How a value becomes the weight of an interaction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Confidence {
    /// Every interaction weighs the same.
    Constant(f32),
    /// Factor times value: play counts, ratings.
    Linear(f32),
    /// Factor times ln(1 + value): counts of very different size.
    Log(f32),
}

impl Confidence {
    /// Values must be finite and not negative even where their weight does not depend on them.
    fn accepts(self, value: f32) -> bool {
        let weight = self.weight(value);
        check::is_not_negative(value) && check::is_not_negative(weight)
    }

    fn weight(self, value: f32) -> f32 {
        match self {
            Self::Constant(factor) => factor,
            Self::Linear(factor) => factor * value,
            Self::Log(factor) => factor * value.ln_1p(),
        }
    }
}

/// Settings of implicit ALS. Defaults: 64 factors, 16 epochs, λ = 0.01, α₀ = 0.3, ν = 1, iALS++ with blocks of 16, seed 0.
///
/// Minimised over user vectors x and item vectors y is
///
/// ```text
/// Σ over interactions of w (x·y - 1)²  +  α₀ Σ over all pairs of (x·y)²
///   +  λ Σ over users of (|I(u)| + α₀ |I|)^ν |x|²  +  λ Σ over items of (|U(i)| + α₀ |U|)^ν |y|²
/// ```
///
/// where w is an interaction's weight, its [`confidence`](Self::confidence), I(u) are the items that a user met, of all items I, and U(i)
/// the users who met an item, of all users U. λ is [`regularization`](Self::regularization), α₀
/// [`unobserved_weight`](Self::unobserved_weight), ν [`frequency_exponent`](Self::frequency_exponent). The regularisation grows with how
/// often a user or item occurs, which is what makes the same λ right for rare and for frequent ones (Rendle et al., "Revisiting the
/// performance of iALS on item recommendation benchmarks").
///
/// After the last sweep the users are solved once more, exactly. So a user's vector is a function of their history and the item vectors
/// alone: folding in a history gives the very bits that training gave.
///
/// ```
/// use cairn_recsys::{Als, Estimator, Filter, Interactions};
/// let log = Interactions::from_ratings([("ann", "tea"), ("ann", "milk"), ("bob", "tea"), ("bob", "milk"), ("bob", "rusk"), ("cy", "nails"), ("cy", "glue")])?;
/// let model = Als::new().factors(4).fit(&log)?;
/// assert_eq!(model.recommend("ann", 1, &Filter::unseen())?[0].id, "rusk");
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[doc(alias = "AlternatingLeastSquares")]
#[doc(alias = "iALS")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Als {
    factors: usize,
    epochs: usize,
    regularization: f32,
    unobserved_weight: f32,
    frequency_exponent: f32,
    confidence: Confidence,
    init_scale: f32,
    solver: AlsSolver,
    seed: u64,
    /// No part of a model.
    #[serde(skip, default = "memory::limit")]
    memory_limit: u64,
}

impl Default for Als {
    fn default() -> Self {
        Self {
            factors: 64,
            epochs: 16,
            regularization: 0.01,
            unobserved_weight: 0.3,
            frequency_exponent: 1.0,
            confidence: Confidence::Constant(1.0),
            init_scale: 0.1,
            solver: AlsSolver::Blocks { size: 16 },
            seed: 0,
            memory_limit: memory::LIMIT,
        }
    }
}

impl Als {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// Length of the vectors.
        factors(factors: usize);
        /// Sweeps over users and items.
        #[doc(alias = "iterations")]
        epochs(epochs: usize);
        /// λ, the weight of the squared norms.
        regularization(lambda: f32);
        #[doc(alias = "alpha")]
        /// α₀, the weight of pairs without interaction relative to those with.
        unobserved_weight(alpha: f32);
        /// ν, how far regularisation follows frequency: 1 fully, 0 not at all.
        frequency_exponent(nu: f32);
        /// Weights of interactions.
        confidence(confidence: Confidence);
        /// Vectors start normal with deviation `scale / sqrt(factors)`; default 0.1.
        init_scale(scale: f32);
        /// Solver of each sweep.
        solver(solver: AlsSolver);
        /// Seed of the start.
        #[doc(alias = "random_state")]
        seed(seed: u64);
        /// Most bytes that the vectors may take in training; default 8 GiB.
        memory_limit(bytes: u64);
    }

    fn check_settings(&self) -> Result<()> {
        // Before values are looked at: no value makes a weight of a factor that is none.
        let (Confidence::Constant(factor) | Confidence::Linear(factor) | Confidence::Log(factor)) =
            self.confidence;
        check::weight("confidence", factor)?;
        if self.factors == 0 {
            return Err(Error::parameter("factors", 0, "at least 1"));
        }
        for (name, value, zero_allowed) in [
            ("regularization", self.regularization, false),
            ("unobserved_weight", self.unobserved_weight, true),
            ("init_scale", self.init_scale, false),
        ] {
            if !(value.is_finite() && (value > 0.0 || (zero_allowed && value == 0.0))) {
                return Err(Error::parameter(
                    name,
                    value,
                    if zero_allowed { "0 or more" } else { "above 0" },
                ));
            }
        }
        if !self.frequency_exponent.is_finite() {
            return Err(Error::parameter("frequency_exponent", self.frequency_exponent, "finite"));
        }
        match self.solver {
            AlsSolver::Blocks { size: 0 } => return Err(Error::parameter("block size", 0, "at least 1")),
            AlsSolver::ConjugateGradient { steps: 0 } => {
                return Err(Error::parameter("steps", 0, "at least 1"));
            }
            _ => {}
        }
        Ok(())
    }

    fn check(&self, matrix: &UserItems) -> Result<()> {
        self.check_settings()?;
        check::not_empty(matrix)?;
        memory::check_factors(matrix, self.factors, 2, self.memory_limit)?;
        self.check_weights(matrix)
    }

    fn check_weights<R: Idx, C: Idx>(&self, matrix: &Csr<R, C>) -> Result<()> {
        matrix.check_values("implicit ALS", check::NOT_NEGATIVE, |v| self.confidence.accepts(v))
    }

    /// The root of the weight of each entry.
    fn roots<R: Idx, C: Idx>(&self, matrix: &Csr<R, C>) -> Vec<f32> {
        matrix.values().iter().map(|&value| self.confidence.weight(value).sqrt()).collect()
    }

    /// Width of the blocks of iALS++, where that is the solver and they are narrower than the vectors.
    fn block(&self) -> Option<usize> {
        match self.solver {
            AlsSolver::Blocks { size } => {
                Some(rows::padded(size.min(self.factors))).filter(|&block| block < rows::padded(self.factors))
            }
            _ => None,
        }
    }

    /// What is minimised, by the formula of [`Als`], for given vectors and in double precision.
    ///
    /// # Errors
    /// [`Error::Shape`] if vectors and matrix do not fit.
    pub fn loss(&self, matrix: &UserItems, factors: &Factors) -> Result<f64> {
        solve::loss(self, matrix, factors)
    }

    fn initial(&self, n: usize, stream: u128) -> Result<Vectors> {
        let mut rng = Pcg64::seed_from_u64(self.seed);
        rng.advance(stream << 64);
        let scale = self.init_scale / (self.factors as f32).sqrt();
        let mut vectors = Vectors::zeros(n, self.factors)?;
        for x in vectors.as_mut_slice() {
            let z: f32 = rng.sample(StandardNormal);
            *x = scale * z;
        }
        Ok(vectors)
    }
}

/// A trained factorisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlsModel {
    settings: Als,
    factors: Factors,
    /// α₀ Σ y yᵀ over all items, for fold-in: row-major, padded.
    item_gram: Vec<f32>,
}

impl AlsModel {
    /// The vectors.
    pub fn factors(&self) -> &Factors {
        &self.factors
    }

    /// Items alone, to solve for users by.
    pub(crate) fn of_one_side(settings: &Als, items: &Vectors) -> Result<Self> {
        let item_gram = solve::weighted_gram(items, settings.unobserved_weight);
        let factors = Factors { users: Vectors::zeros(0, items.dim())?, items: items.clone() };
        Ok(Self { settings: settings.clone(), factors, item_gram })
    }

    /// The settings it was trained with.
    pub fn settings(&self) -> &Als {
        &self.settings
    }
}

impl Estimator for Als {
    type Model = AlsModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<AlsModel> {
        self.fit_share(matrix, None)
    }
}

impl Als {
    /// As [`fit`](Estimator::fit), together with other processes, which have the same settings and the same log. Each solves for its
    /// share of the vectors; the model is the same on all, with the same bits at any number of them.
    ///
    /// ```
    /// use cairn_processes::Threads;
    /// use cairn_recsys::{Als, Interactions};
    /// let models = Threads::run(2, |process| {
    ///     let log = Interactions::from_ratings([("ann", "tea"), ("ann", "milk"), ("bob", "tea"), ("cy", "nails")]).unwrap();
    ///     Als::new().factors(4).fit_on(&log, process).unwrap().model().clone()
    /// });
    /// assert!(models[0] == models[1]);
    /// ```
    ///
    /// # Errors
    /// As [`fit`](Estimator::fit), of any process on all of them; [`Error::Processes`] says of which.
    pub fn fit_on<U: Id, I: Id>(
        &self,
        log: &Interactions<U, I>,
        processes: &dyn Communicator,
    ) -> Result<Fitted<AlsModel, U, I>> {
        fitted(log, |matrix| self.fit_matrix_on(matrix, processes))
    }

    /// As [`fit_on`](Self::fit_on), on a matrix of users by items.
    ///
    /// # Errors
    /// As there.
    pub fn fit_matrix_on(&self, matrix: &UserItems, processes: &dyn Communicator) -> Result<AlsModel> {
        self.fit_share(matrix, Share::new(processes).as_ref())
    }

    /// As [`fit`](Estimator::fit), on a log on disk: its rows are read once for each half of a sweep, a part after the other. By
    /// [`AlsSolver::Cholesky`] and [`AlsSolver::ConjugateGradient`] the model has the bits of one that was trained in memory; by iALS++,
    /// the default, it is equal but for rounding: in memory a number for each interaction is kept up to date, which is here measured
    /// anew for each part.
    ///
    /// # Errors
    /// As [`fit`](Estimator::fit); [`Error::Io`] and [`Error::ModelFile`] for a log that cannot be read
    /// or is damaged.
    pub fn fit_stored<U: Id, I: Id>(&self, log: &StoredInteractions<U, I>) -> Result<AlsModel> {
        self.check_settings()?;
        memory::check_vectors(log.n_users() + log.n_items(), self.factors, 2, self.memory_limit)?;
        let (mut users, mut items) = (self.initial(log.n_users(), 1)?, self.initial(log.n_items(), 2)?);
        let mut sweeps = || {
            for _ in 0..self.epochs {
                solve::half_sweep_stored(self, self.solver, &log.by_user, &items, &mut users)?;
                solve::half_sweep_stored(self, self.solver, &log.by_item, &users, &mut items)?;
            }
            solve::half_sweep_stored(self, AlsSolver::Cholesky, &log.by_user, &items, &mut users)
        };
        sweeps().map_err(|error| log.catalog().named(error))?;
        let item_gram = solve::weighted_gram(&items, self.unobserved_weight);
        Ok(AlsModel { settings: self.clone(), factors: Factors { users, items }, item_gram })
    }

    fn fit_share(&self, matrix: &UserItems, share: Option<&Share<'_>>) -> Result<AlsModel> {
        let checked = self.check(matrix);
        match share {
            None => checked?,
            Some(share) => share.agree(self, matrix, checked)?,
        }
        let users = self.initial(matrix.n_rows(), 1)?;
        let items = self.initial(matrix.n_cols(), 2)?;
        self.sweeps(matrix, users, items, self.epochs, share)
    }
}

/// Sweeps of an update.
const UPDATE_SWEEPS: usize = 3;

impl Update for Als {
    /// Three sweeps from the old vectors, those of new users and items drawn as for a training anew. The loss is then within 1 % of
    /// that of a training anew, which comes as near to the minimum by more sweeps.
    fn update_matrix(&self, model: &AlsModel, before: &UserItems, after: &UserItems) -> Result<AlsModel> {
        self.check(after)?;
        let Factors { users, items } = &model.factors;
        update::check_model((users.len(), items.len()), before)?;
        update::grown(before, after)?;
        if items.dim() != self.factors {
            let trained = format!("{}, as the model was trained with", items.dim());
            return Err(Error::parameter("factors", self.factors, trained));
        }
        let grow = |old: &Vectors, n: usize, stream| {
            let mut new = self.initial(n, stream)?;
            new.as_mut_slice()[..old.as_slice().len()].copy_from_slice(old.as_slice());
            Ok::<_, Error>(new)
        };
        let (users, items) = (grow(users, after.n_rows(), 1)?, grow(items, after.n_cols(), 2)?);
        self.sweeps(after, users, items, UPDATE_SWEEPS, None)
    }
}

impl Als {
    /// So many sweeps from these vectors, and users solved exactly at the end.
    fn sweeps(
        &self,
        matrix: &UserItems,
        mut users: Vectors,
        mut items: Vectors,
        epochs: usize,
        share: Option<&Share<'_>>,
    ) -> Result<AlsModel> {
        let transpose = matrix.transpose();
        let user_side = Side::new(self, matrix, &transpose);
        let item_side = Side::new(self, &transpose, matrix);
        let mut missing = Vec::new();
        for _ in 0..epochs {
            solve::half_sweep(self, self.solver, &user_side, &items, &mut users, &mut missing, share)?;
            solve::half_sweep(self, self.solver, &item_side, &users, &mut items, &mut missing, share)?;
        }
        drop(item_side);
        solve::half_sweep(self, AlsSolver::Cholesky, &user_side, &items, &mut users, &mut missing, share)?;
        let item_gram = solve::weighted_gram(&items, self.unobserved_weight);
        Ok(AlsModel { settings: self.clone(), factors: Factors { users, items }, item_gram })
    }
}

impl FactorModel for AlsModel {
    const NAME: &'static str = "iALS";

    fn factors(&self) -> &Factors {
        &self.factors
    }
    fn user_vector(&self, items: &[ItemIdx], values: &[f32]) -> Result<Vec<f32>> {
        self.fold_in(items, values)
    }
    fn explain(&self, items: &[ItemIdx], values: &[f32], item: ItemIdx) -> Result<Vec<f32>> {
        // A score is yᵀ H⁻¹ Σ w z: solve for the item's side once, then every z has its share.
        let side = solve::solve_for(self, items, values, self.factors.items.get(item.at()))?;
        let share = |(i, &value): (&ItemIdx, &f32)| {
            self.settings.confidence.weight(value) * dot(self.factors.items.get(i.at()), &side)
        };
        Ok(items.iter().zip(values).map(share).collect())
    }
}

impl AlsModel {
    /// The vector of a user known by a history, by the exact solver.
    ///
    /// # Errors
    /// [`Error::UnknownItem`] for an index out of range, [`Error::Shape`] for values that are not one for each item,
    /// [`Error::InvalidValue`] for a negative value.
    pub fn fold_in(&self, items: &[ItemIdx], values: &[f32]) -> Result<Vec<f32>> {
        check::history(items, values, self.factors.items.len())?;
        if let Some(at) = values.iter().position(|&v| !self.settings.confidence.accepts(v)) {
            return Err(check::entry(items, values, at));
        }
        solve::fold_in(self, items, values)
    }
}

impl Saved for AlsModel {
    const FORMAT: &'static str = "ials";

    fn validate(&self) -> std::result::Result<(), String> {
        self.factors.validate()?;
        let dim = self.factors.items.dim();
        // A table without vectors can claim any width.
        let gram = dim.checked_next_multiple_of(rows::PAD).and_then(|width| width.checked_mul(width));
        if self.settings.factors != dim || gram != Some(self.item_gram.len()) {
            return Err("settings and vectors do not fit".to_owned());
        }
        check::finite("the products of the items", &self.item_gram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic;

    #[test]
    fn widths_whose_square_cannot_be_counted_are_refused() {
        let log = synthetic::planted_groups(20, 12, 2, 4, 0.1, 0).unwrap();
        let model = Als::new().factors(4).epochs(1).fit(&log).unwrap().model().clone();
        assert!(model.validate().is_ok());
        for factors in [1 << 33, 1 << 62, usize::MAX] {
            let empty = || Vectors::zeros(0, factors).unwrap();
            let model = AlsModel {
                settings: Als { factors, ..model.settings.clone() },
                factors: Factors { users: empty(), items: empty() },
                item_gram: Vec::new(),
            };
            assert!(model.validate().is_err(), "{factors}");
        }
    }
}
