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
use cairn_nn::spec::{BatchNorm, Conv2d, Dense, Embedding, Lstm};
use cairn_nn::weights::{Framework, Strictness, Weights};
use cairn_nn::{Context, Flatten, MaxPool2d, Module, Sequential, SequentialBuilder, Value, weights};
use cairn_tensor::{Shape, Tensor, rng};

const FRAMEWORKS: [(&str, Framework); 2] = [("torch", Framework::PyTorch), ("keras", Framework::Keras)];

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
        for (library, framework) in FRAMEWORKS {
            let path = folder.join(format!("{name}_{library}"));
            let model = builder.clone().build(&mut rng(1))?;
            match what.as_str() {
                "write" => write(&model, framework, &path.with_extension("cairn.safetensors"))?,
                _ => read(&model, framework, &path.with_extension("theirs.safetensors"))?,
            }
        }
    }
    Ok(())
}

fn write(model: &Sequential, framework: Framework, path: &Path) -> Result<(), Box<dyn Error>> {
    let mut state = model.state();
    for (i, (name, value)) in state.iter_mut().enumerate().filter(|(_, (_, value))| value.rank() == 1) {
        let low = if name.ends_with("running_var") { 0.5 } else { -0.5 };
        *value = Tensor::<f32>::uniform(value.dims(), low, low + 1.0, &mut rng(i as u64))?.into();
    }
    model.load_state(&state)?;
    let shape: Shape = [5].iter().chain(model.input_shape().iter()).copied().collect();
    let mut input = Tensor::<f32>::uniform(shape, 0.0, 1.0, &mut rng(2))?;
    if takes_ids(model) {
        // As numbers in the file, which hold them exactly.
        input = input.scale(VOCABULARY as f32)?.floor()?;
    }
    let mut weights = model.weights(framework)?;
    weights.tensors.insert("output".into(), output(model, &input)?.into());
    weights.tensors.insert("input".into(), there(&input, framework)?.into());
    Ok(weights.write_safetensors(path)?)
}

fn read(model: &Sequential, framework: Framework, path: &Path) -> Result<(), Box<dyn Error>> {
    let mut weights = Weights::read_safetensors(path)?;
    let mut take = |name: &str| -> Result<Tensor, Box<dyn Error>> {
        Ok(weights.tensors.remove(name).ok_or(format!("no {name}"))?.try_into()?)
    };
    let (input, output) = (take("input")?, take("output")?);
    model.load_weights(&weights, framework, Strictness::Strict)?;
    let ours = self::output(model, &here(&input, framework)?)?;
    let apart = ours.sub(&output)?.abs()?.max(..)?.item()?;
    println!("{}: Cairn computes theirs, {apart:.1e} apart", path.display());
    if apart < 1e-5 { Ok(()) } else { Err("that is too far".into()) }
}

fn takes_ids(model: &Sequential) -> bool {
    model.layer("embedding").is_some()
}

fn output(model: &Sequential, input: &Tensor) -> cairn_nn::Result<Tensor> {
    let value: Value = if takes_ids(model) { input.cast::<u32>()?.into() } else { input.into() };
    Ok(model.forward(value, &mut Context::eval())?.value().clone())
}

/// Images as the other library has them.
fn there(input: &Tensor, framework: Framework) -> cairn_nn::Result<Tensor> {
    match framework {
        Framework::PyTorch if input.rank() == 4 => weights::torch::to_images(input),
        _ => Ok(input.clone()),
    }
}

fn here(input: &Tensor, framework: Framework) -> cairn_nn::Result<Tensor> {
    match framework {
        Framework::PyTorch if input.rank() == 4 => weights::torch::images(input),
        _ => Ok(input.clone()),
    }
}
