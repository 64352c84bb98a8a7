//! Training on many processes: the same bits at any number of them.
//!
//! ```no_run
//! use cairn_datasets::synthetic;
//! use cairn_nn::{Sequential, SparseCategoricalCrossentropy, spec::Dense};
//! use cairn_optim::{Adam, Fit, Trainer, processes};
//!
//! let world = processes::world()?; // what `mpirun` started, or this process alone
//! let train = synthetic::digits(4096, 1)?.flatten();
//! let model = Sequential::new([784]).add(Dense::new(10)).build(&mut cairn_tensor::rng(0))?;
//! let fit = Fit::epochs(5).batch_size(32).accumulate(8).checkpoint("run.cairn", 100).resume();
//! Trainer::new(Adam::default(), SparseCategoricalCrossentropy).fit(&model, &train, fit.processes(&*world))?;
//! # Ok::<(), cairn_optim::Error>(())
//! ```
//!
//! The checkpoint of `mpirun -n 1 program` is that of `-n 2` and `-n 4`, to the byte, and a run goes on at another number.
//!
//! # How
//! The unit is the batch. A step is made by [`Fit::accumulate`](crate::Fit::accumulate) batches, whatever the number of processes; each
//! computes its share of them. Their gradients are the leaves of one binary tree, and are added in its order wherever they were
//! computed: each process adds what it can, every parameter's rows go to one owner, which adds the rest and gives the sum to all.
//! So 2 (N - 1) / N of a gradient's bytes leave each of N processes in a step, as with a ring; of an embedding only the rows that were
//! looked up. What is random is a function of seed, step and batch. Statistics of normalisation are those of each batch, from the
//! same running values, and these become the mean of the batches'. Losses and metrics are merged in the order of batches; gradients
//! are clipped after they were summed. Then all make the same step of the optimiser.
//!
//! Only rank 0 writes: checkpoints, progress, the files of callbacks (see [`Control::writes`](crate::Control::writes)).
//!
//! # Never a hang
//! Every exchange begins with where each process is in the run, what it depends on and whether it can go on. An error, NaN, or full
//! disk on one, other settings, another model, version or instruction set, is an error on all that says what and where.
//!
//! # What is asked of the program
//! All processes run the same program on the same data with the same seeds. Callbacks run on all of them and must do the same. A
//! metric of your own needs [`Accumulator::merge`](crate::metrics::Accumulator::merge). Optimisers that ask for the loss again, L-BFGS,
//! are for one process. The instruction set must be the same: other widths of registers give other bits (`CAIRN_ISA`).

mod partition;
mod reduce;
mod sharded;

#[cfg(feature = "mpi")]
pub use cairn_processes::Mpi;
pub use cairn_processes::{Alone, Communicator, Error, Group, Threads, world};

pub(crate) use partition::Partition;
pub(crate) use sharded::{Sharded, encode};
