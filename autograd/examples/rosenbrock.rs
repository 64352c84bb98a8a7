//! Minimising Rosenbrock's banana-shaped valley, (1 - x)² + 100 (y - x²)², by gradient descent with momentum.
//!
//! `cargo run -p cairn-autograd --example rosenbrock`

use cairn_autograd::{Parameter, Result, Var};
use cairn_tensor::Tensor;

fn rosenbrock(p: &Var<f64>) -> Result<Var<f64>> {
    let (x, y) = (p.index(0, 0)?, p.index(0, 1)?);
    let across = (&y - &x.square()?).square()?;
    Ok((-x + 1.0).square()? + across * 100.0)
}

fn main() -> Result<()> {
    let p = Parameter::new(Tensor::from_vec(vec![-1.2, 1.0], [2])?);
    let mut velocity = Tensor::zeros([2])?;
    for step in 0..=4000 {
        let value = rosenbrock(&p.var())?;
        if step % 500 == 0 {
            println!("step {step:4}  value {:.6}  at {:.4}", value.item()?, p.value());
        }
        let gradient = value.backward()?.of(&p)?;
        velocity = velocity.scale(0.9)?.add(&gradient.scale(-2e-4)?)?;
        p.update(|p| p.add_assign(&velocity))?;
    }
    Ok(())
}
