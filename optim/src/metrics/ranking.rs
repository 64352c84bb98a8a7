//! Measures of the order that scores of a yes-or-no question put samples in.
//!
//! They take scores `[n]` or `[n, 1]` with targets of 0 and 1 of the same shape, or scores `[n, 2]` of two classes with
//! labels `[n]`. All scores are saved until the end of the pass: eight bytes a sample.

use cairn_tensor::{Setting, Tensor};

use super::{Accumulator, Metric, check_labels, mismatch};
use crate::{Error, Result, StateDict};

/// The area under the receiver operating characteristic: how probable it is that a sample of yes has a higher score than a
/// sample of no, equal scores counting half. NaN if either kind is missing.
#[doc(alias = "AUC")]
#[doc(alias = "roc_auc_score")]
#[derive(Debug, Clone, Copy, Default)]
pub struct RocAuc;

/// The mean of the precisions at each sample of yes, from the highest score down; of equal scores, the precision after all
/// of them. NaN if there is no yes.
#[doc(alias = "average_precision_score")]
#[derive(Debug, Clone, Copy, Default)]
pub struct AveragePrecision;

macro_rules! ranked {
    ($($metric:ident, $name:literal, $value:path;)*) => {$(
        impl Metric<Tensor> for $metric {
            fn name(&self) -> &str {
                $name
            }
            fn start(&self) -> Box<dyn Accumulator<Tensor>> {
                Box::new(Ranked { samples: Vec::new(), of: $value })
            }
        }
        impl Metric<Tensor<u32>> for $metric {
            fn name(&self) -> &str {
                $name
            }
            fn start(&self) -> Box<dyn Accumulator<Tensor<u32>>> {
                Box::new(Ranked { samples: Vec::new(), of: $value })
            }
        }
    )*};
}
ranked! {
    RocAuc, "roc_auc", roc_auc;
    AveragePrecision, "average_precision", average_precision;
}

struct Ranked {
    samples: Vec<(f32, bool)>,
    of: fn(&[Tied]) -> f64,
}

impl Ranked {
    fn push(&mut self, score: f32, yes: bool) -> Result<()> {
        Setting::check("a score", score, !score.is_nan(), "a number")?;
        self.samples.push((score, yes));
        Ok(())
    }

    fn value(&self) -> f64 {
        (self.of)(&ties(self.samples.clone()))
    }

    fn state(&self) -> Result<StateDict> {
        let (scores, targets): (Vec<f32>, Vec<bool>) = self.samples.iter().copied().unzip();
        let count = self.samples.len();
        let state = StateDict::new("ranked").with_tensor("scores", Tensor::from_vec(scores, [count])?);
        Ok(state.with_tensor("targets", Tensor::from_vec(targets, [count])?))
    }

    fn load_state(&mut self, state: &StateDict) -> Result<()> {
        state.require("ranked")?;
        let (scores, targets) = (state.tensor::<f32>("scores")?, state.tensor::<bool>("targets")?);
        if scores.len() != targets.len() {
            return Err(Error::BadState(format!("{} scores of {} targets", scores.len(), targets.len())));
        }
        self.samples = scores.iter().zip(targets.iter()).collect();
        Ok(())
    }

    fn merge(&mut self, later: &StateDict) -> Result<()> {
        let mut other = Ranked { samples: Vec::new(), of: self.of };
        other.load_state(later)?;
        self.samples.append(&mut other.samples);
        Ok(())
    }
}

impl Accumulator<Tensor> for Ranked {
    fn update(&mut self, prediction: &Tensor, target: &Tensor) -> Result<()> {
        if prediction.shape() != target.shape() {
            return Err(mismatch("ranking", prediction, target, "one score for each target"));
        }
        for (score, target) in prediction.iter().zip(target.iter()) {
            Setting::check("a target", target, target == 0.0 || target == 1.0, "0 or 1")?;
            self.push(score, target == 1.0)?;
        }
        Ok(())
    }

    fn value(&self) -> f64 {
        self.value()
    }

    fn state(&self) -> Result<StateDict> {
        self.state()
    }

    fn load_state(&mut self, state: &StateDict) -> Result<()> {
        self.load_state(state)
    }

    fn merge(&mut self, later: &StateDict) -> Result<()> {
        self.merge(later)
    }
}

impl Accumulator<Tensor<u32>> for Ranked {
    fn update(&mut self, prediction: &Tensor, target: &Tensor<u32>) -> Result<()> {
        let classes = check_labels("ranking", prediction, target)?;
        Setting::check("the number of classes", classes, classes == 2, "2 for a yes-or-no question")?;
        for (row, label) in prediction.to_vec().chunks_exact(2).zip(target.iter()) {
            Setting::check("a label", label, label <= 1, "0 or 1")?;
            self.push(row[1] - row[0], label == 1)?;
        }
        Ok(())
    }

    fn value(&self) -> f64 {
        self.value()
    }

    fn state(&self) -> Result<StateDict> {
        self.state()
    }

    fn load_state(&mut self, state: &StateDict) -> Result<()> {
        self.load_state(state)
    }

    fn merge(&mut self, later: &StateDict) -> Result<()> {
        self.merge(later)
    }
}

/// Samples of one score.
struct Tied {
    yes: u64,
    no: u64,
}

/// From the highest score down.
fn ties(mut samples: Vec<(f32, bool)>) -> Vec<Tied> {
    samples.sort_by(|a, b| b.0.total_cmp(&a.0));
    // `==`, so that the two zeros, which sort side by side, are one.
    let groups = samples.chunk_by(|a, b| a.0 == b.0);
    let count = |group: &[(f32, bool)], wanted| group.iter().filter(|(_, yes)| *yes == wanted).count() as u64;
    groups.map(|group| Tied { yes: count(group, true), no: count(group, false) }).collect()
}

fn roc_auc(groups: &[Tied]) -> f64 {
    let (mut above, mut pairs) = (0, 0.0);
    for group in groups {
        pairs += group.no as f64 * (above as f64 + group.yes as f64 / 2.0);
        above += group.yes;
    }
    let no: u64 = groups.iter().map(|group| group.no).sum();
    pairs / (above as f64 * no as f64)
}

fn average_precision(groups: &[Tied]) -> f64 {
    let (mut yes, mut seen, mut sum) = (0, 0, 0.0);
    for group in groups {
        yes += group.yes;
        seen += group.yes + group.no;
        sum += group.yes as f64 * yes as f64 / seen as f64;
    }
    sum / yes as f64
}
