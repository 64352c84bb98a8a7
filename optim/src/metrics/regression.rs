//! Errors of predicted values.

use cairn_tensor::{Setting, Tensor};

use super::mean::Mean;
use super::{Accumulator, Metric, mismatch};
use crate::{Error, Result, StateDict};

/// The mean of |prediction - target| over all elements. The loss of this name is [`cairn_nn::MeanAbsoluteError`].
#[doc(alias = "MAE")]
#[derive(Debug, Clone, Copy, Default)]
pub struct MeanAbsoluteError;

/// The mean of (prediction - target)² over all elements. The loss of this name is [`cairn_nn::MeanSquaredError`].
#[doc(alias = "MSE")]
#[derive(Debug, Clone, Copy, Default)]
pub struct MeanSquaredError;

impl Metric<Tensor> for MeanAbsoluteError {
    fn name(&self) -> &str {
        "mean_absolute_error"
    }
    fn start(&self) -> Box<dyn Accumulator<Tensor>> {
        Box::new(MeanOf { of: f64::abs, name: "mean_absolute_error", mean: Mean::default() })
    }
}

impl Metric<Tensor> for MeanSquaredError {
    fn name(&self) -> &str {
        "mean_squared_error"
    }
    fn start(&self) -> Box<dyn Accumulator<Tensor>> {
        Box::new(MeanOf { of: |d| d * d, name: "mean_squared_error", mean: Mean::default() })
    }
}

/// A mean over elements of a function of their differences.
struct MeanOf {
    of: fn(f64) -> f64,
    name: &'static str,
    mean: Mean,
}

impl Accumulator<Tensor> for MeanOf {
    fn update(&mut self, prediction: &Tensor, target: &Tensor) -> Result<()> {
        check_shapes(self.name, prediction, target)?;
        let differences = prediction.iter().zip(target.iter()).map(|(a, b)| f64::from(a - b));
        self.mean.sum += differences.map(self.of).sum::<f64>();
        self.mean.count += target.len() as u64;
        Ok(())
    }

    fn value(&self) -> f64 {
        self.mean.value()
    }

    fn state(&self) -> Result<StateDict> {
        Ok(self.mean.state(self.name))
    }

    fn load_state(&mut self, state: &StateDict) -> Result<()> {
        self.mean.load_state(self.name, state)
    }

    fn merge(&mut self, later: &StateDict) -> Result<()> {
        self.mean.merge(self.name, later)
    }
}

/// The coefficient of determination: 1 minus the squared errors over the squared deviations of the targets from their
/// mean. Of targets `[n, …]` each column has its own, and the mean of them is reported. Where the targets do not vary it is
/// 1 for exact predictions and 0 otherwise.
#[doc(alias = "r2_score")]
#[derive(Debug, Clone, Copy, Default)]
pub struct R2;

impl Metric<Tensor> for R2 {
    fn name(&self) -> &str {
        "r2"
    }
    fn start(&self) -> Box<dyn Accumulator<Tensor>> {
        Box::new(Columns::default())
    }
}

#[derive(Default)]
struct Columns {
    columns: Vec<Column>,
    rows: u64,
}

/// Running sums of one column.
#[derive(Debug, Clone, Copy, Default)]
struct Column {
    /// Of the targets, and Σ (target - mean)², updated as in Welford 1962: sums of squares would cancel.
    mean: f64,
    deviations: f64,
    errors: f64,
}

impl Column {
    fn value(&self) -> f64 {
        match (self.errors == 0.0, self.deviations == 0.0) {
            (true, true) => 1.0,
            (false, true) => 0.0,
            _ => 1.0 - self.errors / self.deviations,
        }
    }
}

impl Accumulator<Tensor> for Columns {
    fn update(&mut self, prediction: &Tensor, target: &Tensor) -> Result<()> {
        check_shapes("r2", prediction, target)?;
        let columns = target.shape().iter().skip(1).product::<usize>();
        if self.columns.is_empty() {
            self.columns.resize(columns, Column::default());
        }
        let fits = columns == self.columns.len();
        Setting::check("the number of columns", columns, fits, "that of earlier batches")?;
        let (p, t) = (prediction.to_vec(), target.to_vec());
        for (p, t) in p.chunks_exact(columns.max(1)).zip(t.chunks_exact(columns.max(1))) {
            self.rows += 1;
            for ((column, &p), &t) in self.columns.iter_mut().zip(p).zip(t) {
                let (p, t) = (f64::from(p), f64::from(t));
                let before = t - column.mean;
                column.mean += before / self.rows as f64;
                column.deviations += before * (t - column.mean);
                column.errors += (t - p).powi(2);
            }
        }
        Ok(())
    }

    fn value(&self) -> f64 {
        if self.rows < 2 {
            return f64::NAN;
        }
        self.columns.iter().map(Column::value).sum::<f64>() / self.columns.len() as f64
    }

    fn state(&self) -> Result<StateDict> {
        let of = |value: fn(&Column) -> f64| {
            Tensor::from_vec(self.columns.iter().map(value).collect(), [self.columns.len()])
        };
        Ok(StateDict::new("r2")
            .with("rows", self.rows as f64)
            .with_tensor("mean", of(|column| column.mean)?)
            .with_tensor("deviations", of(|column| column.deviations)?)
            .with_tensor("errors", of(|column| column.errors)?))
    }

    fn load_state(&mut self, state: &StateDict) -> Result<()> {
        state.require("r2")?;
        let of = |name| Ok::<_, Error>(state.tensor::<f64>(name)?.to_vec());
        let (means, deviations, errors) = (of("mean")?, of("deviations")?, of("errors")?);
        if means.len() != deviations.len() || means.len() != errors.len() {
            return Err(Error::BadState("the columns of `r2` differ in number".into()));
        }
        self.rows = state.number("rows")? as u64;
        let columns = means.into_iter().zip(deviations).zip(errors);
        self.columns =
            columns.map(|((mean, deviations), errors)| Column { mean, deviations, errors }).collect();
        Ok(())
    }

    /// By Chan, Golub and LeVeque (1979): of two parts, the squared distance of their means counts too.
    fn merge(&mut self, later: &StateDict) -> Result<()> {
        let mut other = Columns::default();
        other.load_state(later)?;
        if self.rows == 0 || other.rows == 0 {
            if self.rows == 0 {
                *self = other;
            }
            return Ok(());
        }
        let (found, columns) = (other.columns.len(), self.columns.len());
        Setting::check("the number of columns", found, found == columns, "that of earlier batches")?;
        let (here, there) = (self.rows as f64, other.rows as f64);
        for (column, other) in self.columns.iter_mut().zip(&other.columns) {
            let apart = other.mean - column.mean;
            column.deviations += other.deviations + apart * apart * (here * there / (here + there));
            column.mean += apart * (there / (here + there));
            column.errors += other.errors;
        }
        self.rows += other.rows;
        Ok(())
    }
}

fn check_shapes(op: &'static str, prediction: &Tensor, target: &Tensor) -> Result<()> {
    if prediction.shape() == target.shape() {
        return Ok(());
    }
    Err(mismatch(op, prediction, target, "predictions and targets must have one shape"))
}
