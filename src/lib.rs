//! Train, run and explain neural networks and recommenders on ordinary machines, in Rust: no Python, no C++ runtime, a short
//! dependency list, stable Rust.
//!
//! ```text
//! cargo add cairn-ml
//! ```
//!
//! This crate has no code of its own: it hands on the crates of Cairn under short names, and a [`prelude`] of what nearly every
//! program needs. Each of them can be had alone, too. Build with `--release`; without it training is tens of times slower.
//!
//! # A network, layer by layer
//!
//! ```no_run
//! use cairn::datasets::mnist;
//! use cairn::prelude::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (train, test) = mnist::load(&DataDir::default())?; // downloads once, verifies, caches
//! let (train, test) = (train.flatten(), test.flatten());
//! let model = Sequential::new([784])
//!     .add(Dense::new(64).activation(Relu))
//!     .add(Dense::new(64).activation(Relu))
//!     .add(Dense::new(10))
//!     .build(&mut rng(42))?; // shapes are checked here, layer by layer
//! println!("{}", model.summary());
//! let mut trainer = Trainer::new(Adam::default(), SparseCategoricalCrossentropy).metric(Accuracy);
//! let history = trainer.fit(&model, &train, Fit::epochs(5).validate(&test))?; // progress bar on a terminal
//! println!("{history}");
//! model.save("mnist.cairn")?; // architecture and weights in one file
//! # Ok(())
//! # }
//! ```
//!
//! # A struct of layers and a loop of your own
//!
//! ```
//! use cairn::prelude::*;
//!
//! #[derive(Module)]
//! struct Tagger {
//!     embed: Embedding,
//!     lstm: Lstm,
//!     head: Linear,
//! }
//!
//! impl Tagger {
//!     fn new(words: usize, tags: usize, rng: &mut Rng) -> cairn::nn::Result<Self> {
//!         Ok(Tagger {
//!             embed: Embedding::new(words, 16, rng)?,
//!             lstm: Lstm::new(16, 32, rng)?,
//!             head: Linear::new(32, tags, rng)?,
//!         })
//!     }
//!
//!     fn forward(&self, tokens: &Tensor<u32>, cx: &mut Context) -> cairn::nn::Result<Var> {
//!         self.head.forward(&self.lstm.forward(&self.embed.forward(tokens)?, cx)?)
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tagger = Tagger::new(100, 5, &mut rng(0))?;
//! let mut adam = Adam::default();
//! let tokens = Tensor::<u32>::from_vec(vec![4, 8, 15, 16, 23, 42], [2, 3])?; // (batch, time)
//! let tags = Tensor::from_vec(vec![0, 1, 2, 3, 4, 0], [2, 3])?;
//! for step in 0..3 {
//!     let scores = tagger.forward(&tokens, &mut Context::train(step))?; // (batch, time, tags)
//!     let loss = cross_entropy(&scores, &tags)?;
//!     adam.step(&tagger, &loss.backward()?)?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Recommendations
//!
//! ```
//! use cairn::prelude::*;
//!
//! // (user, item, value, timestamp), any hashable ids; `cairn::recsys::read` has readers of files.
//! let log = Interactions::from_ratings([
//!     ("ann", "tea", 5.0, 1), ("ann", "milk", 4.0, 2),
//!     ("bob", "tea", 4.0, 1), ("bob", "milk", 5.0, 2), ("bob", "rusk", 3.0, 3),
//!     ("cy", "nails", 5.0, 1), ("cy", "glue", 4.0, 2), ("cy", "wood", 4.0, 3),
//! ])?;
//! let model = Als::new().factors(2).regularization(0.01).fit(&log)?;
//! let best = model.recommend("ann", 1, &Filter::unseen())?; // items with scores, in your own ids
//! assert_eq!(best[0].id, "rusk");
//! # Ok::<(), cairn::recsys::Error>(())
//! ```
//!
//! # What is where
//!
//! | module | what | crate | feature |
//! |---|---|---|---|
//! | [`tensor`] | n-dimensional arrays and the CPU kernels | `cairn-tensor` | always |
//! | [`autograd`] | variables, gradients | `cairn-autograd` | `autograd` |
//! | [`nn`] | layers, losses, models, their files, ONNX | `cairn-nn` | `nn` |
//! | `nn::language` | open language models and encoders from text to text | `cairn-nn` | `language` |
//! | [`optim`] | optimisers, schedules, metrics, the training loop | `cairn-optim` | `optim`, on by default |
//! | [`datasets`] | data sets, downloads, batching, text, images | `cairn-datasets` | `datasets` |
//! | [`recsys`] | recommenders and their evaluation | `cairn-recsys` | `recsys`, on by default |
//!
//! A feature brings those it rests on: `optim` all above it and `datasets`. Further features: `download`, `xz` and `zip` (on by
//! default: fetching data sets, reading archives), `neural` (recommenders that are networks), `image-folder`, `bpe`, `parquet`, `arrow`, `npz`,
//! `linalg`, `faer`, `ndarray`, and `cli`, the program `cairn`, with `serve` for its server. A program
//! that only recommends: `cargo add cairn-ml --no-default-features --features recsys`.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

/// The programs in the README compile, and those that need no data run.
#[cfg(all(doctest, feature = "optim", feature = "download"))]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(feature = "autograd")]
pub use cairn_autograd as autograd;
#[cfg(feature = "datasets")]
pub use cairn_datasets as datasets;
#[cfg(feature = "optim")]
pub use cairn_optim as optim;
#[cfg(feature = "recsys")]
pub use cairn_recsys as recsys;
pub use cairn_tensor as tensor;

/// Layers, losses, models and their files: all of [`cairn_nn`].
#[cfg(feature = "nn")]
pub mod nn {
    pub use cairn_nn::*;
    // In place of the macro that comes with the line above, whose code names the crate `cairn_nn`: a program that has only
    // this one knows it as `cairn::nn`. The trait of the same name stays.
    pub use cairn_nn_derive::ModuleOfCairn as Module;
}

pub mod prelude;
