//! The adapter of a dense layer: a product of two narrow matrices that is added to the layer's own, and where layers keep it.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use cairn_autograd::{Parameter, Var};
use cairn_tensor::{Rng, Tensor};

use crate::{Context, Dropout, Error, Init, Module, Result, Visitor};

/// Two narrow matrices whose product is added to a dense layer's weight: `y + scale · (x a) b`.
#[derive(Debug, Clone, Module)]
pub struct LowRank {
    /// `[inputs, rank]`
    pub a: Parameter,
    /// `[rank, outputs]`
    pub b: Parameter,
    scale: f32,
    #[module(skip)]
    dropout: Dropout,
    /// Of the layer's outputs, those that it adds to: parts of what some models have side by side in one layer.
    #[module(skip)]
    outputs: Range<usize>,
}

impl LowRank {
    /// For so many inputs, and these of a layer's outputs. `a` is drawn uniformly, as PyTorch's layers are, and `b` is 0: nothing
    /// changes before it is trained.
    pub(super) fn new(
        inputs: usize,
        outputs: Range<usize>,
        rank: usize,
        scale: f32,
        dropout: f32,
        rng: &mut Rng,
    ) -> Result<Self> {
        // Kaiming's rule with √5 for a slope, which is peft's too.
        let limit = (1.0 / inputs.max(1) as f32).sqrt();
        let a = Init::Uniform(limit).tensor([inputs, rank], rng)?;
        Self::with(a, Tensor::zeros([rank, outputs.len()])?, outputs, scale, dropout)
    }

    /// Of given matrices.
    pub(super) fn with(
        a: Tensor,
        b: Tensor,
        outputs: Range<usize>,
        scale: f32,
        dropout: f32,
    ) -> Result<Self> {
        let dropout = Dropout::new(dropout);
        dropout.check()?;
        Ok(LowRank { a: Parameter::new(a), b: Parameter::new(b), scale, dropout, outputs })
    }

    /// The number of columns of `a`.
    pub fn rank(&self) -> usize {
        self.b.shape()[0]
    }

    /// What the product is multiplied by.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// Whether both have the same matrices.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.a.same(&other.a)
    }

    /// What is added to the weight, `[inputs, outputs]` of the layer's `outputs`.
    pub(super) fn added_to(&self, weight: &Tensor) -> Result<Tensor> {
        let outputs = weight.shape()[1];
        let product = self.a.value().matmul(&self.b.value())?.scale(self.scale)?;
        let sides = [(0, 0), (self.outputs.start, outputs - self.outputs.end)];
        Ok(weight.add(&product.pad(&sides, 0.0)?)?)
    }

    /// A layer's outputs `y` for `x` with what its adapters add.
    pub(crate) fn added(all: &[Self], x: &Var, y: &Var, cx: &mut Context) -> Result<Var> {
        let width = y.shape().last().copied().unwrap_or(0);
        let mut sum = y.clone();
        for one in all {
            let narrow = one.dropout.forward(x, cx)?.linear(&one.a.var(), None, false)?.scale(one.scale)?;
            let mut part = narrow.linear(&one.b.var(), None, false)?;
            if one.outputs.len() < width {
                let mut sides = vec![(0, 0); part.shape().len()];
                if let Some(last) = sides.last_mut() {
                    *last = (one.outputs.start, width - one.outputs.end);
                }
                part = part.pad(&sides, 0.0)?;
            }
            sum = sum.add(&part)?;
        }
        Ok(sum)
    }
}

/// Where a dense layer keeps its adapters. A clone is the same place, as a clone of a layer has the same parameters.
#[derive(Clone, Default)]
pub(crate) struct Slot(Arc<RwLock<Option<Arc<Vec<LowRank>>>>>);

impl Slot {
    /// The adapters, if there are any.
    pub(crate) fn adapters(&self) -> Option<Arc<Vec<LowRank>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds one.
    pub(super) fn push(&self, adapter: LowRank) {
        self.change(|all| all.push(adapter));
    }

    /// Takes one out, if it is there.
    pub(super) fn remove(&self, adapter: &LowRank) {
        self.change(|all| all.retain(|other| !other.same(adapter)));
    }

    fn change(&self, change: impl FnOnce(&mut Vec<LowRank>)) {
        let mut slot = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut all = slot.as_deref().cloned().unwrap_or_default();
        change(&mut all);
        *slot = (!all.is_empty()).then(|| Arc::new(all));
    }
}

impl Module for Slot {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.slot(self);
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.adapters().iter().flat_map(|all| all.iter())).finish()
    }
}

/// That a setting is within what it may be.
pub(super) fn check(what: &'static str, value: f64, fits: bool, must: &'static str) -> Result<()> {
    if fits { Ok(()) } else { Err(Error::BadSetting { what, value, must }) }
}
