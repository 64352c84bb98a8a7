//! How often the label has the largest score, or one of the largest.

use cairn_tensor::{Setting, Tensor};

use super::mean::Mean;
use super::{Accumulator, Metric, check_class, check_labels};
use crate::{Result, StateDict};

/// The share of predictions whose largest score is at the label: scores `[…, classes]`, labels `[…]`. A row with a score that is NaN
/// predicts nothing and is not right; a label that is no class is an error.
#[doc(alias = "SparseCategoricalAccuracy")]
#[doc(alias = "accuracy_score")]
#[derive(Debug, Clone, Copy, Default)]
pub struct Accuracy;

impl Accuracy {
    /// Leaves out positions with this label, say that of padding.
    #[must_use]
    pub fn ignore(self, label: u32) -> AccuracyIgnoring {
        AccuracyIgnoring { label }
    }
}

impl Metric<Tensor<u32>> for Accuracy {
    fn name(&self) -> &str {
        "accuracy"
    }

    fn start(&self) -> Box<dyn Accumulator<Tensor<u32>>> {
        Box::new(Hits { ignored: None, share: Mean::default() })
    }
}

/// [`Accuracy`] without the positions of one label; made by [`Accuracy::ignore`].
#[derive(Debug, Clone, Copy)]
pub struct AccuracyIgnoring {
    label: u32,
}

impl Metric<Tensor<u32>> for AccuracyIgnoring {
    fn name(&self) -> &str {
        "accuracy"
    }

    fn start(&self) -> Box<dyn Accumulator<Tensor<u32>>> {
        Box::new(Hits { ignored: Some(self.label), share: Mean::default() })
    }
}

struct Hits {
    ignored: Option<u32>,
    share: Mean,
}

impl Accumulator<Tensor<u32>> for Hits {
    fn update(&mut self, prediction: &Tensor, target: &Tensor<u32>) -> Result<()> {
        let classes = check_labels("accuracy", prediction, target)?;
        let predicted = prediction.argmax(-1)?;
        // The largest score is NaN if any is: a prediction of nothing.
        let largest = prediction.max(-1)?;
        let (mut hits, mut count) = (0u64, 0);
        for ((label, predicted), score) in target.iter().zip(predicted.iter()).zip(largest.iter()) {
            if Some(label) != self.ignored {
                check_class(label, classes)?;
                hits += u64::from(label == predicted && !score.is_nan());
                count += 1;
            }
        }
        self.share.sum += hits as f64;
        self.share.count += count;
        Ok(())
    }

    fn value(&self) -> f64 {
        self.share.value()
    }

    fn state(&self) -> Result<StateDict> {
        Ok(self.share.state("accuracy"))
    }

    fn load_state(&mut self, state: &StateDict) -> Result<()> {
        self.share.load_state("accuracy", state)
    }

    fn merge(&mut self, later: &StateDict) -> Result<()> {
        self.share.merge("accuracy", later)
    }
}

/// The share of predictions with the label among the `k` largest scores. Of equal scores, those of lower classes count as
/// larger.
#[doc(alias = "TopKCategoricalAccuracy")]
#[derive(Debug, Clone)]
pub struct TopK {
    k: usize,
    name: String,
}

impl TopK {
    /// Among the `k` largest; reported as `top_5` for 5.
    pub fn new(k: usize) -> Self {
        TopK { k, name: format!("top_{k}") }
    }
}

impl Metric<Tensor<u32>> for TopK {
    fn name(&self) -> &str {
        &self.name
    }

    fn start(&self) -> Box<dyn Accumulator<Tensor<u32>>> {
        Box::new(Among { k: self.k, share: Mean::default() })
    }
}

struct Among {
    k: usize,
    share: Mean,
}

impl Accumulator<Tensor<u32>> for Among {
    fn update(&mut self, prediction: &Tensor, target: &Tensor<u32>) -> Result<()> {
        Setting::check("k", self.k, self.k > 0, "at least 1")?;
        let classes = check_labels("top_k", prediction, target)?;
        let scores = prediction.to_vec();
        for (row, label) in scores.chunks_exact(classes).zip(target.iter()) {
            let label = check_class(label, classes)?;
            let before =
                |(class, &score): (usize, &f32)| score > row[label] || (score == row[label] && class < label);
            let rank = row.iter().enumerate().filter(|&entry| before(entry)).count();
            // A score that is NaN is among nothing.
            self.share.add(if rank < self.k && !row[label].is_nan() { 1.0 } else { 0.0 });
        }
        Ok(())
    }

    fn value(&self) -> f64 {
        self.share.value()
    }

    fn state(&self) -> Result<StateDict> {
        Ok(self.share.state("top_k"))
    }

    fn load_state(&mut self, state: &StateDict) -> Result<()> {
        self.share.load_state("top_k", state)
    }

    fn merge(&mut self, later: &StateDict) -> Result<()> {
        self.share.merge("top_k", later)
    }
}
