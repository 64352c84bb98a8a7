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
    run([6000, 300, 2000]).map(drop)
}

/// The accuracies of the teacher, the student alone, and the student with the teacher, for as many pictures that the teacher and the students
/// learn and all are tested on.
pub(crate) fn run([many, few, tested]: [usize; 3]) -> Result<[f64; 3]> {
    // Drawn digits, so that nothing is downloaded: many for the teacher, few for the students.
    let (many, few, test) = (
        synthetic::digits(many, 1)?.flatten(),
        synthetic::digits(few, 2)?.flatten(),
        synthetic::digits(tested, 3)?.flatten(),
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
    let found = [accuracy(&teacher, &test)?, accuracy(&alone, &test)?, accuracy(&student, &test)?];
    println!("teacher {:.3}", found[0]);
    println!("student alone {:.3}, with the teacher {:.3}", found[1], found[2]);
    Ok(found)
}
