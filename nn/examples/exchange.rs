//! One half of a check against live PyTorch and Keras; `check_exchange.py` is the other, and starts this one.
//!
//! ```text
//! cargo build -p cairn-nn --example exchange
//! python nn/examples/check_exchange.py target/debug/examples/exchange FOLDER
//! ```
//!
//! `exchange write FOLDER` writes the weights of two models in PyTorch's and Keras's layouts, with an input and Cairn's
//! output; `exchange read FOLDER` loads what the libraries wrote and compares its own output with theirs.

use std::error::Error;
use std::path::{Path, PathBuf};

use cairn_nn::Activation::Relu;
use cairn_nn::exchange::{Dialect, Strictness, Weights};
use cairn_nn::{
    BatchNorm, Conv2d, Dense, Flatten, MaxPool2d, Model, Module, Sequential, SequentialBuilder, layouts,
};
use cairn_tensor::{Shape, Tensor, rng};

const DIALECTS: [(&str, Dialect); 2] = [("torch", Dialect::Torch), ("keras", Dialect::Keras)];

fn models() -> [(&'static str, SequentialBuilder); 2] {
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
    [("mlp", mlp), ("cnn", cnn)]
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
    let input = Tensor::<f32>::uniform(shape, 0.0, 1.0, &mut rng(2))?;
    let mut weights = model.weights(dialect)?;
    weights.tensors.insert("output".into(), model.predict_batch(&input)?);
    weights.tensors.insert("input".into(), there(&input, dialect)?);
    Ok(weights.write_safetensors(path)?)
}

fn read(mut model: Sequential, dialect: Dialect, path: &Path) -> Result<(), Box<dyn Error>> {
    let mut weights = Weights::read_safetensors(path)?;
    let mut take = |name: &str| weights.tensors.remove(name).ok_or(format!("no {name}"));
    let (input, output) = (take("input")?, take("output")?);
    model.load_weights(&weights, dialect, Strictness::Strict)?;
    let ours = model.predict_batch(&here(&input, dialect)?)?;
    let apart = ours.sub(&output)?.abs()?.max(..)?.item()?;
    println!("{}: Cairn computes theirs, {apart:.1e} apart", path.display());
    if apart < 1e-5 { Ok(()) } else { Err("that is too far".into()) }
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
