//! A model of your own: a struct of layers with a derived `Module`, a residual connection, part of it frozen.
//!
//! `cargo run -p cairn-nn --example own_model`

use cairn_autograd::Var;
use cairn_nn::{Activation::Gelu, Context, Dropout, Linear, Module, Result, cross_entropy};
use cairn_tensor::{Tensor, rng};

#[derive(Module)]
struct Block {
    up: Linear,
    down: Linear,
    dropout: Dropout,
}

#[derive(Module)]
struct Network {
    blocks: Vec<Block>,
    head: Linear,
}

impl Network {
    fn forward(&self, x: &Var, cx: &mut Context) -> Result<Var> {
        let mut x = x.clone();
        for block in &self.blocks {
            let inner = block.down.forward(&block.up.forward(&x)?)?;
            x = x.add(&block.dropout.forward(&inner, cx)?)?;
        }
        self.head.forward(&x)
    }
}

fn main() -> Result<()> {
    let mut rng = rng(0);
    let mut blocks = Vec::new();
    for _ in 0..2 {
        blocks.push(Block {
            up: Linear::new(8, 32, &mut rng)?.activation(Gelu),
            down: Linear::new(32, 8, &mut rng)?,
            dropout: Dropout::new(0.1),
        });
    }
    let model = Network { blocks, head: Linear::new(8, 3, &mut rng)? };
    model.blocks[0].freeze();
    for (path, parameter) in model.parameters() {
        println!(
            "{path:22} {:10} {}",
            parameter.shape().to_string(),
            if parameter.is_trainable() { "" } else { "frozen" }
        );
    }
    println!("{} of {} values are trained", model.trainable_count(), model.parameter_count());

    let x = Var::from(Tensor::normal([16, 8], 0.0, 1.0, &mut rng)?);
    let labels = Tensor::from_vec((0..16).map(|i| i % 3).collect(), [16])?;
    let loss = cross_entropy(&model.forward(&x, &mut Context::train(1))?, &labels)?;
    println!("loss {:.4}, gradients for {} parameters", loss.item()?, loss.backward()?.len());
    Ok(())
}
