//! What a run can leave behind while it goes on: its values as CSV and for TensorBoard, and the best model.
//!
//! `cargo run --release -p cairn-optim --example callbacks -- FOLDER`, then `tensorboard --logdir FOLDER`.
//! `check_tensorboard.py FOLDER` reads the events with TensorBoard's own reader and compares them with the CSV file.

use std::path::PathBuf;

use cairn_datasets::synthetic;
use cairn_nn::{Activation::Relu, Sequential, SparseCategoricalCrossentropy, spec::Dense};
use cairn_optim::{
    Adam, CsvLog, Fit, Goal, ModelCheckpoint, ReduceOnPlateau, Result, TensorBoard, Trainer,
    metrics::Accuracy,
};

fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or("run".into()));
    let digits = synthetic::digits(4000, 1)?.flatten();
    let model = Sequential::new([784])
        .add(Dense::new(64).activation(Relu))
        .add(Dense::new(10))
        .build(&mut cairn_tensor::rng(42))?;
    let mut trainer = Trainer::new(Adam::default(), SparseCategoricalCrossentropy).metric(Accuracy);
    let fit = Fit::epochs(5)
        .validation_split(0.1)
        .callback(ModelCheckpoint::best(folder.join("best.cairn"), Goal::low("val_loss")))
        .callback(ReduceOnPlateau::new(Goal::low("val_loss")))
        .callback(CsvLog::new(folder.join("log.csv")))
        .callback(TensorBoard::new(folder.join("board")));
    println!("{}", trainer.fit(&model, &digits, fit)?);
    Ok(())
}
