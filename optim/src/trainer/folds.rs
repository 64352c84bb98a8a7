//! Cross-validation: the quality of a kind of model, and its spread over the samples that the models were trained on.

use std::fmt;

use cairn_datasets::Dataset;
use cairn_nn::Model;

use super::{Evaluation, Fit, Trainer};
use crate::Result;

impl<Y> Trainer<Y> {
    /// Trains a fresh model on all but one of `folds` parts of the data and evaluates it on that one, for each part in turn.
    /// The seed divides the samples; `make` gets the number of the fold, from 0, and gives the model and how to
    /// fit it.
    /// Each run starts with the optimiser's settings and no running values, and the optimiser is left as it was. Where samples are
    /// varied at random in training, the part for the evaluation is not.
    ///
    /// The part is for the evaluation alone: callbacks that stop or choose by validation should have their own share of the
    /// training samples, by [`validation_split`](Fit::validation_split).
    ///
    /// ```
    /// use cairn_datasets::synthetic;
    /// use cairn_nn::{Sequential, SparseCategoricalCrossentropy, spec::Dense};
    /// use cairn_optim::{Adam, Fit, Trainer, metrics::Accuracy};
    /// use cairn_tensor::rng;
    ///
    /// let digits = synthetic::digits(600, 1)?.flatten();
    /// let mut trainer = Trainer::new(Adam::new(0.01), SparseCategoricalCrossentropy).metric(Accuracy);
    /// let result = trainer.cross_validate(&digits, 3, 0, |fold| {
    ///     let model = Sequential::new([784]).add(Dense::new(10)).build(&mut rng(fold as u64))?;
    ///     Ok((model, Fit::epochs(10).quiet()))
    /// })?;
    /// println!("{result}"); // loss … ± …  accuracy … ± …
    /// assert!(result.mean("accuracy").unwrap() > 0.3);
    /// # Ok::<(), cairn_optim::Error>(())
    /// ```
    ///
    /// # Errors
    /// For fewer than 2 folds or more than there are samples; those of `make`, [`fit`](Self::fit) and
    /// [`evaluate`](Self::evaluate).
    #[doc(alias = "cross_val_score")]
    #[doc(alias = "KFold")]
    pub fn cross_validate<'f, M, D>(
        &mut self,
        data: &D,
        folds: usize,
        seed: u64,
        mut make: impl FnMut(usize) -> Result<(M, Fit<'f, D::Input, Y>)>,
    ) -> Result<CrossValidation>
    where
        M: Model<D::Input>,
        D: Dataset<Target = Y> + Sync,
        D::Input: Send + 'f,
        Y: Send + 'f,
    {
        let (before, rate) = (self.optimizer.state(), self.optimizer.learning_rate());
        let mut results = Vec::new();
        for (fold, (train, test)) in data.folds(folds, seed)?.iter().enumerate() {
            let mut run = |trainer: &mut Self| {
                trainer.optimizer.reset();
                trainer.optimizer.set_learning_rate(rate);
                let (model, fit) = make(fold)?;
                trainer.fit(&model, train, fit)?;
                trainer.evaluate(&model, test)
            };
            let result = run(self);
            self.optimizer.load_state(before.clone())?;
            results.push(result?);
        }
        Ok(CrossValidation { folds: results })
    }
}

/// Loss and metrics of each fold.
#[derive(Debug, Clone, PartialEq)]
pub struct CrossValidation {
    /// Of each fold in turn.
    pub folds: Vec<Evaluation>,
}

impl CrossValidation {
    /// The values of a metric, or of `"loss"`, by fold.
    pub fn values(&self, name: &str) -> Vec<f64> {
        self.folds.iter().filter_map(|fold| fold.get(name)).collect()
    }

    /// The mean over folds, each by its size: of the loss by its sum of weights, of a metric by its samples. So the loss is that over all
    /// samples, each evaluated once.
    pub fn mean(&self, name: &str) -> Option<f64> {
        let weight = |fold: &Evaluation| if name == "loss" { fold.weight } else { fold.samples as f64 };
        let (mut sum, mut weights) = (0.0, 0.0);
        for fold in &self.folds {
            if let Some(value) = fold.get(name) {
                (sum, weights) = (sum + value * weight(fold), weights + weight(fold));
            }
        }
        (weights > 0.0).then(|| sum / weights)
    }

    /// The standard deviation between folds, that of a sample: the sum of squares is divided by one less than the number of
    /// folds, which count alike here.
    pub fn std(&self, name: &str) -> Option<f64> {
        let values = self.values(name);
        if values.is_empty() {
            return None;
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some((squares / (values.len() as f64 - 1.0)).sqrt())
    }
}

impl fmt::Display for CrossValidation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.folds.first().map_or(&[][..], |fold| &fold.values);
        for (i, (name, _)) in names.iter().enumerate() {
            let (mean, std) = (self.mean(name).unwrap_or(f64::NAN), self.std(name).unwrap_or(f64::NAN));
            write!(f, "{}{name} {mean:.4} ± {std:.4}", if i == 0 { "" } else { "  " })?;
        }
        Ok(())
    }
}
