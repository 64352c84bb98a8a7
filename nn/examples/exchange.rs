//! One half of a check against live PyTorch and Keras; `check_exchange.py` is the other, and starts this one.
//!
//! ```text
//! cargo build -p cairn-nn --example exchange
//! python nn/examples/check_exchange.py target/debug/examples/exchange FOLDER
//! ```
//!
//! `exchange write FOLDER` writes the weights of the four reference models in PyTorch's and Keras's layouts, with an input and Cairn's
//! output; `exchange read FOLDER` loads what the libraries wrote and compares its own output with theirs.

use std::error::Error;
use std::path::{Path, PathBuf};

use cairn_nn::Activation::Relu;
use cairn_nn::exchange::{Dialect, Strictness, Weights};
use cairn_nn::{
    BatchNorm, Context, Conv2d, Dense, Embedding, Flatten, Lstm, MaxPool2d, Module, Sequential,
    SequentialBuilder, Value, layouts,
};
use cairn_tensor::{Shape, Tensor, rng};

const DIALECTS: [(&str, Dialect); 2] = [("torch", Dialect::Torch), ("keras", Dialect::Keras)];

const VOCABULARY: usize = 10_000;

fn models() -> [(&'static str, SequentialBuilder); 4] {
    let mlp = Sequential::new([784])
        .add(Dense::new(64).activation(Relu))
        .add(Dense::new(64).activation(Relu))
        .add(Dense::new(10));
    let cnn = Sequential::new([28, 28, 1])
        .add(Conv2d::new(8, 3).activation(Relu))
        .add(MaxPool2d::new(2))
        .add(Conv2d::new(16, 3).same().bias(false))
        .add(BatchNorm::new())
        .add(Relu)
        .add(Flatten)
        .add(Dense::new(10));
    let rnn = Sequential::new([10, 1])
        .add(Lstm::new(64).return_sequences(true))
        .add(Lstm::new(64).return_sequences(true))
        .add(Dense::new(10));
    let nlp =
        Sequential::new([100]).add(Embedding::new(VOCABULARY, 128)).add(Lstm::new(64)).add(Dense::new(10));
    [("mlp", mlp), ("cnn", cnn), ("rnn", rnn), ("nlp", nlp)]
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, what, folder] = &arguments[..] else { return Err("usage: exchange write|read FOLDER".into()) };
    let folder = PathBuf::from(folder);
    for (name, builder) in models() {
        for (library, dialect) in DIALECTS {
            let path = folder.join(format!("{name}_{library}"));
            let model = builder.clone().build(&mut rng(1))?;
            match what.as_str() {
                "write" => write(model, dialect, &path.with_extension("cairn.safetensors"))?,
                _ => read(model, dialect, &path.with_extension("theirs.safetensors"))?,
            }
        }
    }
    Ok(())
}

fn write(mut model: Sequential, dialect: Dialect, path: &Path) -> Result<(), Box<dyn Error>> {
    let mut state = model.state();
    for (i, (name, value)) in state.iter_mut().enumerate().filter(|(_, (_, value))| value.rank() == 1) {
        let low = if name.ends_with("running_var") { 0.5 } else { -0.5 };
        *value = Tensor::uniform(value.dims(), low, low + 1.0, &mut rng(i as u64))?;
    }
    model.load_state(&state)?;
    let shape: Shape = [5].iter().chain(model.input_shape().iter()).copied().collect();
    let mut input = Tensor::<f32>::uniform(shape, 0.0, 1.0, &mut rng(2))?;
    if takes_ids(&model) {
        // As numbers in the file, which hold them exactly.
        input = input.scale(VOCABULARY as f32)?.floor()?;
    }
    let mut weights = model.weights(dialect)?;
    weights.tensors.insert("output".into(), output(&model, &input)?);
    weights.tensors.insert("input".into(), there(&input, dialect)?);
    Ok(weights.write_safetensors(path)?)
}

fn read(mut model: Sequential, dialect: Dialect, path: &Path) -> Result<(), Box<dyn Error>> {
    let mut weights = Weights::read_safetensors(path)?;
    let mut take = |name: &str| weights.tensors.remove(name).ok_or(format!("no {name}"));
    let (input, output) = (take("input")?, take("output")?);
    model.load_weights(&weights, dialect, Strictness::Strict)?;
    let ours = self::output(&model, &here(&input, dialect)?)?;
    let apart = ours.sub(&output)?.abs()?.max(..)?.item()?;
    println!("{}: Cairn computes theirs, {apart:.1e} apart", path.display());
    if apart < 1e-5 { Ok(()) } else { Err("that is too far".into()) }
}

fn takes_ids(model: &Sequential) -> bool {
    model.layer("embedding").is_some()
}

fn output(model: &Sequential, input: &Tensor) -> cairn_nn::Result<Tensor> {
    let value: Value = if takes_ids(model) { input.cast::<u32>()?.into() } else { input.into() };
    Ok(model.run(value, &mut Context::eval())?.value().clone())
}

/// Images as the other library has them.
fn there(input: &Tensor, dialect: Dialect) -> cairn_nn::Result<Tensor> {
    match dialect {
        Dialect::Torch if input.rank() == 4 => layouts::torch::to_images(input),
        _ => Ok(input.clone()),
    }
}

fn here(input: &Tensor, dialect: Dialect) -> cairn_nn::Result<Tensor> {
    match dialect {
        Dialect::Torch if input.rank() == 4 => layouts::torch::images(input),
        _ => Ok(input.clone()),
    }
}
