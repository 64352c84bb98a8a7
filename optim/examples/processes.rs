//! Training on many processes: the file that this writes is the same to the byte at any number of them.
//!
//! ```text
//! cargo build --release -p cairn-optim --features mpi --example processes
//! mpirun -n 1 target/release/examples/processes one.cairn
//! mpirun -n 4 target/release/examples/processes four.cairn
//! cmp one.cairn four.cairn
//! ```
//!
//! Without `mpirun`, and without the feature `mpi`, it is one process. `docs/processes.md` says more.

use cairn_datasets::synthetic;
use cairn_nn::{
    Activation::Relu,
    Dropout, Sequential, SparseCategoricalCrossentropy,
    spec::{BatchNorm, Conv2d, Dense, Flatten},
};
use cairn_optim::{Adam, Fit, Result, Trainer, metrics::Accuracy, processes};

fn main() -> Result<()> {
    let path = std::env::args().nth(1).unwrap_or("digits.cairn".into());
    let world = processes::world()?; // what `mpirun` started, or this process alone
    let (train, test) = (synthetic::digits(2048, 1)?, synthetic::digits(512, 2)?);
    let model = Sequential::new([28, 28, 1])
        .add(Conv2d::new(16, 3).stride(2).activation(Relu))
        .add(BatchNorm::new())
        .add(Dropout::new(0.2))
        .add(Flatten)
        .add(Dense::new(10))
        .build(&mut cairn_tensor::rng(0))?;
    let mut trainer = Trainer::new(Adam::default(), SparseCategoricalCrossentropy).metric(Accuracy);
    // A step is 8 batches of 32, whatever the number of processes, which must be no more than 8.
    let fit = Fit::epochs(3).batch_size(32).accumulate(8).validate(&test).checkpoint(&path, 10).resume();
    let history = trainer.fit(&model, &train, fit.processes(&*world))?;
    if world.rank() == 0 {
        println!("{history}");
    }
    Ok(())
}
