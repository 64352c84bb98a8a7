//! mean + bᵤ + bᵢ + q·w as one inner product: user vectors (w, 1, mean + bᵤ), item vectors (q, bᵢ, 1).
//!
//! What biased factorisation and SVD++ become once they are trained; lists are then served as those of any factor model.

use serde::{Deserialize, Serialize};

use crate::data::ids::{Idx, ItemIdx, UserIdx};
use crate::linalg::dense;
use crate::models::factors::{Factors, Vectors};
use crate::{Error, Result};

/// The settings of a biased model trained by gradient steps, which differ in two defaults and a switch that one of them has.
macro_rules! sgd_settings {
    (
        $(#[$doc:meta])* $name:ident { factors: $factors:literal, learning_rate: $rate:literal }
        $($(#[$switch_doc:meta])* $switch:ident: $default:literal)?
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            factors: usize,
            epochs: usize,
            learning_rate: f32,
            regularization: f32,
            init_std_dev: f32,
            rating_scale: Option<(f32, f32)>,
            seed: u64,
            memory_limit: u64,
            $($switch: bool,)?
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    factors: $factors,
                    epochs: 20,
                    learning_rate: $rate,
                    regularization: 0.02,
                    init_std_dev: 0.1,
                    rating_scale: None,
                    seed: 0,
                    memory_limit: $crate::memory::LIMIT,
                    $($switch: $default,)?
                }
            }
        }

        impl $name {
            /// The defaults.
            #[must_use]
            pub fn new() -> Self {
                Self::default()
            }

            setters! {
                /// Length of the vectors, besides the biases.
                #[doc(alias = "n_factors")]
                factors(factors: usize);
                /// Passes over the ratings.
                #[doc(alias = "n_epochs")]
                epochs(epochs: usize);
                /// Step size.
                #[doc(alias = "lr_all")]
                learning_rate(rate: f32);
                /// Weight of the squares of all parameters, for each rating.
                #[doc(alias = "reg_all")]
                regularization(weight: f32);
                /// Standard deviation of the vectors' start.
                init_std_dev(deviation: f32);
            }

            $(setters! {
                $(#[$switch_doc])*
                $switch(with: bool);
            })?

            rating_scale_setter!();

            setters! {
                /// Seed of the start.
                #[doc(alias = "random_state")]
                seed(seed: u64);
                /// Most bytes that the vectors may take in training; default 8 GiB.
                memory_limit(bytes: u64);
            }

            fn check(&self, matrix: &$crate::UserItems) -> $crate::Result<()> {
                $crate::check::at_least_one("factors", self.factors)?;
                // Padded, by groups, in order again, and with their biases.
                $crate::memory::check_factors(matrix, self.factors, 4, self.memory_limit)?;
                super::check_steps(self.learning_rate, self.regularization)?;
                $crate::check::not_negative("init_std_dev", self.init_std_dev)
            }
        }
    };
}
pub(super) use sgd_settings;

/// Lanes of the kernels; tables are padded to a multiple of this.
pub(super) const LANES: usize = 8;

/// Vectors with the biases in their last two entries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Biased {
    pub(super) mean: f32,
    pub(super) factors: Factors,
}

impl Biased {
    /// `users` and `items` are tables of `width` floats a row, of which the first `dim` are kept. Rows where `known` says
    /// no are zero.
    pub(super) fn new(
        mean: f32,
        dim: usize,
        width: usize,
        users: (&[f32], &[f32], &dyn Fn(usize) -> bool),
        items: (&[f32], &[f32], &dyn Fn(usize) -> bool),
    ) -> Result<Self> {
        let table = |(rows, biases, known): (&[f32], &[f32], &dyn Fn(usize) -> bool),
                     user: bool|
         -> Result<Vectors> {
            let mut vectors = Vectors::zeros(biases.len(), dim + 2)?;
            let out = vectors.as_mut_slice().chunks_mut(dim + 2);
            for (n, ((out, row), &bias)) in out.zip(rows.chunks(width)).zip(biases).enumerate() {
                let bias = if known(n) { bias } else { 0.0 };
                if known(n) {
                    out[..dim].copy_from_slice(&row[..dim]);
                }
                (out[dim], out[dim + 1]) = if user { (1.0, mean + bias) } else { (bias, 1.0) };
            }
            Ok(vectors)
        };
        Ok(Self { mean, factors: Factors { users: table(users, true)?, items: table(items, false)? } })
    }

    /// For what comes from a file.
    pub(super) fn validate(&self) -> std::result::Result<(), String> {
        self.factors.validate()?;
        if self.factors.items.dim() > 2 && self.mean.is_finite() {
            Ok(())
        } else {
            Err("the vectors have no room for biases".to_owned())
        }
    }

    pub(super) fn dim(&self) -> usize {
        self.factors.items.dim() - 2
    }

    pub(super) fn expected(&self, user: Option<UserIdx>, item: Option<ItemIdx>) -> f32 {
        let dim = self.dim();
        match (user, item) {
            (Some(u), Some(i)) => self.factors.product(u, i),
            (Some(u), None) => self.factors.users.get(u.at())[dim + 1],
            (None, Some(i)) => self.mean + self.factors.items.get(i.at())[dim],
            (None, None) => self.mean,
        }
    }

    /// The vector of the user who minimises Σ (r - mean - bᵢ - b - q·(p + z))² + reg n (b² + |p|²): the
    /// objective that the steps of training descend on, solved to its end for one user. `implicit` is z; b is 0 without `own_bias`.
    pub(super) fn fold_in(
        &self,
        items: &[ItemIdx],
        values: &[f32],
        implicit: &[f32],
        regularization: f32,
        own_bias: bool,
    ) -> Result<Vec<f32>> {
        let dim = self.dim();
        // Unknowns (p, b); the item's row is (q, 1).
        let n = dim + usize::from(own_bias);
        let mut h = faer::Mat::<f64>::zeros(n, n);
        let mut rhs = faer::Mat::<f64>::zeros(n, 1);
        for (item, &value) in items.iter().zip(values) {
            let vector = self.factors.items.get(item.at());
            let row = |j: usize| f64::from(if j < dim { vector[j] } else { 1.0 });
            let known: f32 = vector[..dim].iter().zip(implicit).map(|(q, z)| q * z).sum();
            let target = f64::from(value - self.mean - vector[dim] - known);
            for j in 0..n {
                rhs[(j, 0)] += row(j) * target;
                for i in j..n {
                    h[(i, j)] += row(i) * row(j);
                }
            }
        }
        for j in 0..n {
            // A trace of regularisation keeps the matrix definite where the caller asked for none.
            h[(j, j)] += (f64::from(regularization) * items.len() as f64).max(1e-6);
        }
        let failed = |()| Error::Factorization {
            what: "fold-in",
            reason: "the normal equations are not positive definite".to_owned(),
        };
        let mut memory = dense::cholesky_memory::<f64>(n);
        dense::cholesky_in_place(h.as_mut(), &mut memory).map_err(failed)?;
        let seq = faer::Par::Seq;
        faer::linalg::triangular_solve::solve_lower_triangular_in_place(h.as_ref(), rhs.as_mut(), seq);
        faer::linalg::triangular_solve::solve_upper_triangular_in_place(h.transpose(), rhs.as_mut(), seq);
        let mut query: Vec<f32> = (0..dim).map(|j| rhs[(j, 0)] as f32).collect();
        query.iter_mut().zip(implicit).for_each(|(q, z)| *q += z);
        let bias = if own_bias { rhs[(dim, 0)] as f32 } else { 0.0 };
        query.extend([1.0, self.mean + bias]);
        Ok(query)
    }
}
