//! What nearly every program needs: `use cairn::prelude::*;`.
//!
//! Types and traits with names that are theirs alone. Errors and results stay in their crates, of which each has its own, and
//! so do data sets (`cairn::datasets::mnist`), schedules, files of other frameworks and whatever is needed once.

#[cfg(feature = "autograd")]
pub use cairn_autograd::{Parameter, Var, no_grad};
#[cfg(feature = "datasets")]
pub use cairn_datasets::{DataDir, Dataset, ImageDataset, Loader, TensorDataset};
#[cfg(feature = "nn")]
pub use cairn_nn::{
    Activation::{self, Gelu, LeakyRelu, Relu, Sigmoid, Silu, Softmax, Tanh},
    AvgPool2d, BatchNorm, BinaryCrossentropy, CategoricalCrossentropy, Context, Conv1d, Conv2d, Dropout,
    Embedding, Flatten, Frozen, GlobalAvgPool, GlobalMaxPool, GroupNorm, Gru, Huber, Linear, Loss, Lstm,
    MaxPool2d, MeanAbsoluteError, MeanSquaredError, Model, Rnn, Sequential, SparseCategoricalCrossentropy,
    binary_cross_entropy, cross_entropy, mse, spec,
    spec::Dense,
};
#[cfg(feature = "optim")]
pub use cairn_optim::metrics::{self, Accuracy};
#[cfg(feature = "optim")]
pub use cairn_optim::{Adam, AdamW, EarlyStopping, Fit, ModelCheckpoint, Optimizer, RmsProp, Sgd, Trainer};
#[cfg(feature = "recsys")]
pub use cairn_recsys::{
    Als, Bpr, Ease, Estimator, Filter, Fitted, Interactions, ItemKnn, PureSvd, Recommender, Split, TopPop,
};
pub use cairn_tensor::{Rng, Tensor, rng, s};

#[cfg(feature = "nn")]
pub use crate::nn::Module;
