//! Metrics of weighted samples that leave the weights out of account.

use cairn_nn::Weighted;
use cairn_tensor::Tensor;

use super::{Accumulator, Metric};
use crate::{Result, StateDict};

/// A metric of weighted samples that leaves the weights out of account: `Unweighted(Accuracy)`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unweighted<M>(pub M);

impl<Y: 'static, M: Metric<Y>> Metric<Weighted<Y>> for Unweighted<M> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn start(&self) -> Box<dyn Accumulator<Weighted<Y>>> {
        Box::new(OfTargets(self.0.start()))
    }
}

struct OfTargets<Y>(Box<dyn Accumulator<Y>>);

impl<Y> Accumulator<Weighted<Y>> for OfTargets<Y> {
    fn update(&mut self, prediction: &Tensor, target: &Weighted<Y>) -> Result<()> {
        self.0.update(prediction, &target.target)
    }

    fn value(&self) -> f64 {
        self.0.value()
    }

    fn state(&self) -> Result<StateDict> {
        self.0.state()
    }

    fn load_state(&mut self, state: &StateDict) -> Result<()> {
        self.0.load_state(state)
    }

    fn merge(&mut self, later: &StateDict) -> Result<()> {
        self.0.merge(later)
    }
}
