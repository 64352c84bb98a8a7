//! Training that stops by itself when it has learnt enough, and that may be interrupted: started again it goes on where it
//! was, to the same bits. `load_and_predict` is another program, which uses the model that this one saves.
//!
//! `cargo run --release -p cairn-optim --example fit_and_resume -- digits.cairn`

use cairn_datasets::synthetic;
use cairn_nn::{Activation::Relu, Sequential, SparseCategoricalCrossentropy, spec::Dense};
use cairn_optim::{Adam, EarlyStopping, Fit, Goal, Result, Trainer, metrics::Accuracy};

pub(crate) fn train(path: &str) -> Result<()> {
    // Drawn digits, so that nothing is downloaded; `mnist::load(&DataDir::default())?` gives real ones.
    let (train, test) = (synthetic::digits(4000, 1)?.flatten(), synthetic::digits(1000, 2)?.flatten());
    let model = Sequential::new([784])
        .add(Dense::new(64).activation(Relu))
        .add(Dense::new(64).activation(Relu))
        .add(Dense::new(10))
        .build(&mut cairn_tensor::rng(42))?;
    let mut trainer = Trainer::new(Adam::default(), SparseCategoricalCrossentropy).metric(Accuracy);
    let fit = Fit::epochs(50)
        .validation_split(0.1)
        .callback(EarlyStopping::new(Goal::low("val_loss"), 3)) // ends with the weights of the best epoch
        .checkpoint(format!("{path}.run"), 50) // every 50 steps
        .resume(); // from there, if there is one
    println!("{}", trainer.fit(&model, &train, fit)?);
    println!("test: {}", trainer.evaluate(&model, &test)?);
    Ok(model.save(path)?) // layers and weights in one file
}

fn main() -> Result<()> {
    train(&std::env::args().nth(1).unwrap_or("digits.cairn".into()))
}
