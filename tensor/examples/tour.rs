//! A tour: views, broadcasting, reductions, products, training a classifier by hand.
//!
//! ```text
//! cargo run --release -p cairn-tensor --example tour
//! ```

use cairn_tensor::{Isa, Result, Rule, Tensor, instruction_set, memory, num_threads, rng, s};

/// Gradient descent, for [`Tensor::update`]: compiled for the machine's vector instructions.
#[derive(Clone, Copy)]
struct Descent {
    rate: f32,
}

impl Rule<f32, 0> for Descent {
    #[inline(always)]
    fn update<S: Isa>(self, parameter: &mut f32, gradient: f32, []: [&mut f32; 0]) {
        *parameter -= self.rate * gradient;
    }
}

fn main() -> Result<()> {
    println!("{} threads, instruction set {}\n", num_threads(), instruction_set());

    let x = Tensor::arange(0.0f32, 12.0, 1.0)?.reshape([3, 4])?;
    println!("x =\n{x:.0}\n");
    println!("last column, a view: {:.0}", x.slice(s![.., -1])?);
    println!("every second row from the end:\n{:.0}", x.slice(s![..;-2])?);
    println!("columns with mean 0:\n{:.1}\n", &x - &x.mean(0)?);

    // Two clouds of points, told apart by logistic regression.
    let rng = &mut rng(1);
    let n = 1000;
    let labels = Tensor::build([n], |out: &mut [u32]| out.iter_mut().zip(0..).for_each(|(l, i)| *l = i % 2))?;
    let centres = Tensor::from_vec(vec![-1.0f32, 0.0, 1.0, 0.5], [2, 2])?;
    let points = centres.index_select(0, &labels.to_vec())?.add(&Tensor::normal([n, 2], 0.0, 0.6, rng)?)?;
    let (mut weight, mut bias) = (Tensor::zeros([2, 2])?, Tensor::zeros([2])?);
    let each = Tensor::full([n], 1.0 / n as f32)?;
    for step in 0..=100 {
        let logits = points.linear(&weight, Some(&bias), false)?;
        let (losses, probabilities) = logits.cross_entropy(&labels)?;
        if step % 25 == 0 {
            let right = logits.argmax(1)?.eq(&labels)?.count_true(..)?.item()?;
            println!("step {step:3}: loss {:.4}, {right} of {n} right", losses.mean(..)?.item()?);
        }
        let gradient = probabilities.cross_entropy_backward(&labels, &each)?;
        weight.update(&points.t()?.matmul(&gradient)?, [], Descent { rate: 1.0 })?;
        bias.update(&gradient.sum(0)?, [], Descent { rate: 1.0 })?;
    }
    println!("\n{:?}", memory());
    Ok(())
}
