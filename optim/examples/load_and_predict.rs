//! The other program: reads the model that `fit_and_resume` saved, and uses it. It need not know how the model was made.
//!
//! `cargo run --release -p cairn-optim --example load_and_predict -- digits.cairn`

use cairn_datasets::{Dataset, synthetic};
use cairn_nn::{Model, Sequential};

pub(crate) fn classify(path: &str) -> cairn_optim::Result<[Vec<u32>; 2]> {
    let model = Sequential::load(path)?;
    let (images, labels) = synthetic::digits(20, 3)?.flatten().batch(&[0, 1, 2, 3, 4, 5, 6, 7])?;
    Ok([labels.to_vec(), model.predict_batch(&images)?.argmax(-1)?.to_vec()])
}

fn main() -> cairn_optim::Result<()> {
    let [drawn, read] = classify(&std::env::args().nth(1).unwrap_or("digits.cairn".into()))?;
    println!("drawn {drawn:?}\nread  {read:?}");
    Ok(())
}
