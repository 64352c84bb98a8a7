//! The likelihood of the labels under the model.

use cairn_tensor::Tensor;

use super::mean::Mean;
use super::{Accumulator, Metric, check_class, check_labels};
use crate::{Result, StateDict};

/// The mean of -ln p(label), for probabilities `[…, classes]` or their logits, and labels `[…]`.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogLoss {
    logits: bool,
}

impl LogLoss {
    /// Of probabilities; they are held within the precision of `f32` from 0 and 1, as in scikit-learn.
    pub fn new() -> Self {
        LogLoss::default()
    }

    /// Of logits.
    pub fn of_logits() -> Self {
        LogLoss { logits: true }
    }
}

impl Metric<Tensor<u32>> for LogLoss {
    fn name(&self) -> &str {
        "log_loss"
    }

    fn start(&self) -> Box<dyn Accumulator<Tensor<u32>>> {
        Box::new(Surprise { logits: self.logits, ignored: None, exponential: false, mean: Mean::default() })
    }
}

/// The exponential of the mean of -ln p(label), for logits `[…, classes]` and labels `[…]`: the number of equally
/// likely words that a language model wavers between.
#[derive(Debug, Clone, Copy, Default)]
pub struct Perplexity {
    ignored: Option<u32>,
}

impl Perplexity {
    /// Over all positions.
    pub fn new() -> Self {
        Perplexity::default()
    }

    /// Leaves out positions with this label, say that of padding.
    #[must_use]
    pub fn ignore(self, label: u32) -> Self {
        Perplexity { ignored: Some(label) }
    }
}

impl Metric<Tensor<u32>> for Perplexity {
    fn name(&self) -> &str {
        "perplexity"
    }

    fn start(&self) -> Box<dyn Accumulator<Tensor<u32>>> {
        Box::new(Surprise { logits: true, ignored: self.ignored, exponential: true, mean: Mean::default() })
    }
}

struct Surprise {
    logits: bool,
    ignored: Option<u32>,
    exponential: bool,
    mean: Mean,
}

impl Accumulator<Tensor<u32>> for Surprise {
    fn update(&mut self, prediction: &Tensor, target: &Tensor<u32>) -> Result<()> {
        let classes = check_labels("log_loss", prediction, target)?;
        let values = prediction.to_vec();
        for (row, label) in values.chunks_exact(classes).zip(target.iter()) {
            if Some(label) == self.ignored {
                continue;
            }
            let label = check_class(label, classes)?;
            self.mean.add(if self.logits { of_logits(row, label) } else { of_probability(row[label]) });
        }
        Ok(())
    }

    fn value(&self) -> f64 {
        if self.exponential { self.mean.value().exp() } else { self.mean.value() }
    }

    fn state(&self) -> Result<StateDict> {
        Ok(self.mean.state("log_loss"))
    }

    fn load_state(&mut self, state: &StateDict) -> Result<()> {
        self.mean.load_state("log_loss", state)
    }

    fn merge(&mut self, later: &StateDict) -> Result<()> {
        self.mean.merge("log_loss", later)
    }
}

fn of_probability(p: f32) -> f64 {
    let epsilon = f64::from(f32::EPSILON);
    -f64::from(p).max(epsilon).min(1.0 - epsilon).ln()
}

/// `ln Σ exp(x) - x[label]`, with the largest taken off first so that nothing overflows.
fn of_logits(row: &[f32], label: usize) -> f64 {
    let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = row.iter().map(|&x| (f64::from(x) - largest).exp()).sum();
    sum.ln() + largest - f64::from(row[label])
}
