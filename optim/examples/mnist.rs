//! The multilayer perceptron on MNIST, from the archive to a saved model: five epochs, about two seconds on two cores.
//!
//! `cargo run --release -p cairn-optim --example mnist -- model.cairn`
//!
//! The data are read from `CAIRN_DATA_DIR` or the user's cache; `cargo xtask download mnist` fetches them.

use cairn_datasets::{DataDir, mnist};
use cairn_nn::{Activation::Relu, Sequential, SparseCategoricalCrossentropy, spec::Dense};
use cairn_optim::{Adam, Fit, Trainer, metrics::Accuracy};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (train, test) = mnist::load(&DataDir::default())?;
    let (train, test) = (train.flatten(), test.flatten());
    let model = Sequential::new([784])
        .add(Dense::new(64).activation(Relu))
        .add(Dense::new(64).activation(Relu))
        .add(Dense::new(10))
        .build(&mut cairn_tensor::rng(42))?;
    println!("{}", model.summary());
    let mut trainer = Trainer::new(Adam::default(), SparseCategoricalCrossentropy).metric(Accuracy);
    let history = trainer.fit(&model, &train, Fit::epochs(5).validate(&test))?;
    println!("{history}");
    if let Some(path) = std::env::args().nth(1) {
        model.save(&path)?;
        println!("saved as {path}");
    }
    Ok(())
}
