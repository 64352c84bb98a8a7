//! Distillation (Hinton et al. 2015): a small network learns digits from few labels, by itself and from what a larger one thinks of each
//! picture.
//!
//! `cargo run --release -p cairn-optim --example distill`

use cairn_datasets::{Dataset, synthetic};
use cairn_nn::{
    Activation::Relu, Distillation, Loss, Model, Sequential, SparseCategoricalCrossentropy, spec::Dense,
};
use cairn_optim::{Adam, Fit, Result, Trainer, metrics::Accuracy};
use cairn_tensor::{Tensor, rng};

fn network(width: usize, seed: u64) -> Result<Sequential> {
    Ok(Sequential::new([784])
        .add(Dense::new(width).activation(Relu))
        .add(Dense::new(10))
        .build(&mut rng(seed))?)
}

fn accuracy(model: &Sequential, test: &impl Dataset<Input = Tensor, Target = Tensor<u32>>) -> Result<f64> {
    let found = Trainer::new(Adam::default(), SparseCategoricalCrossentropy)
        .metric(Accuracy)
        .evaluate(model, test)?;
    Ok(found.values.iter().find(|(name, _)| name == "accuracy").map_or(0.0, |(_, value)| *value))
}

fn main() -> Result<()> {
    // Drawn digits, so that nothing is downloaded: many for the teacher, 300 for the students.
    let (many, few, test) = (
        synthetic::digits(6000, 1)?.flatten(),
        synthetic::digits(300, 2)?.flatten(),
        synthetic::digits(2000, 3)?.flatten(),
    );
    let teacher = network(256, 0)?;
    Trainer::new(Adam::default(), SparseCategoricalCrossentropy).fit(
        &teacher,
        &many,
        Fit::epochs(6).quiet(),
    )?;

    let alone = network(12, 1)?;
    Trainer::new(Adam::default(), SparseCategoricalCrossentropy).fit(
        &alone,
        &few,
        Fit::epochs(60).quiet(),
    )?;

    // The same network, pictures and labels, and beside them the teacher's scores.
    let student = network(12, 1)?;
    let loss = Distillation::new().temperature(4.0).alpha(0.9);
    let mut trainer = Trainer::new(Adam::default(), SparseCategoricalCrossentropy);
    trainer.fit_with(&student, &few, Fit::epochs(60).quiet(), |student, x: &Tensor, labels, cx| {
        let scores = student.forward(x, cx)?;
        let thought = teacher.predict_batch(x)?;
        Ok((loss.loss(&scores, &(thought, labels.clone()))?, scores))
    })?;
    println!("teacher {:.3}", accuracy(&teacher, &test)?);
    println!(
        "student alone {:.3}, with the teacher {:.3}",
        accuracy(&alone, &test)?,
        accuracy(&student, &test)?
    );
    Ok(())
}
