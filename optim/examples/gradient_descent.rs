//! Learning by plain gradient descent: a line through noisy points, by hand and without a training loop.
//!
//! The loss is a function of two numbers, slope and offset. Its gradient points uphill; a small step the other way lowers
//! it. That is all there is to it, and everything else in this crate is this with more parameters.
//!
//! `cargo run -p cairn-optim --example gradient_descent`

use cairn_autograd::{Parameter, Var};
use cairn_nn::mse;
use cairn_tensor::{Tensor, rng};

fn main() -> cairn_nn::Result<()> {
    let mut rng = rng(1);
    let x = Tensor::uniform([50], -1.0, 1.0, &mut rng)?;
    let noise = Tensor::normal([50], 0.0, 0.1, &mut rng)?;
    let y = x.scale(1.5)?.add(&Tensor::scalar(0.7))?.add(&noise)?; // the truth: y = 1.5 x + 0.7

    let slope = Parameter::new(Tensor::scalar(0.0));
    let offset = Parameter::new(Tensor::scalar(0.0));
    let rate = 0.1;
    for step in 0..=100 {
        let prediction = &slope.var() * &Var::from(x.clone()) + &offset.var();
        let loss = mse(&prediction, &y)?;
        if step % 20 == 0 {
            println!(
                "step {step:3}  loss {:.4}  y = {:.3} x + {:.3}",
                loss.item()?,
                slope.value().item()?,
                offset.value().item()?
            );
        }
        let gradients = loss.backward()?;
        for parameter in [&slope, &offset] {
            let step = gradients.of(parameter)?.scale(-rate)?;
            parameter.update(|value| value.add_assign(&step))?;
        }
    }
    Ok(())
}
