//! The circumstances of a forward pass: training or not, and the generator for what is random in it.
//!
//! Passed explicitly, so that a model has no hidden mode that was left on or off, one model can serve many threads, and
//! the randomness of dropout has a seed.

use cairn_tensor::{Rng, rng};

/// Whether a forward pass is part of training, and what it draws from.
#[derive(Debug, Clone)]
pub struct Context {
    training: bool,
    rng: Rng,
}

impl Context {
    /// A pass in training: dropout drops, drawing from a generator with this seed.
    pub fn train(seed: u64) -> Self {
        Context { training: true, rng: rng(seed) }
    }

    /// A pass in use: nothing is random.
    pub fn eval() -> Self {
        Context { training: false, rng: rng(0) }
    }

    /// Whether this is training.
    pub fn is_training(&self) -> bool {
        self.training
    }

    /// The generator.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }
}
