//! Whole layers, each forward, with constants, and `fwd+bwd`, with a gradient of ones.
//!
//! Shapes in the names are those of other libraries' times, channels first: `batch x channels x height x width`.

use cairn_autograd::{Gradient, RecurrentVars, Result, Var};
use cairn_tensor::{AttentionOptions, Causal, Pool, Recurrence, RecurrentOptions, Tensor, Window, rng};

use crate::{Bound, Operation, Run};

fn normal<const N: usize>(shape: [usize; N]) -> Tensor {
    Tensor::normal(shape, 0.0, 1.0, &mut rng(N as u64)).expect("inputs fit into memory")
}

/// Two rows: of the forward pass with `flops` operations, if `forward`, and of both passes.
fn rows(
    table: &mut Vec<Operation>,
    name: &str,
    flops: usize,
    forward: bool,
    inputs: impl Fn() -> Vec<Tensor> + Copy + 'static,
    layer: impl Fn(&[Var]) -> Result<Var> + Copy + 'static,
) {
    let bound = |passes: usize| if flops > 0 { Bound::Arithmetic(passes * flops) } else { Bound::Other };
    if forward {
        let prepare = move || -> Run {
            let inputs: Vec<Var> = inputs().into_iter().map(Var::constant).collect();
            Box::new(move || {
                std::hint::black_box(layer(&inputs).expect("the layer works"));
            })
        };
        table.push(Operation { name: name.to_owned(), bound: bound(1), prepare: Box::new(prepare) });
    }
    let prepare = move || -> Run {
        let inputs: Vec<Var> = inputs().into_iter().map(Var::parameter).collect();
        let ones = Tensor::ones(layer(&inputs).expect("the layer works").shape()).expect("inputs");
        Box::new(move || {
            let y = layer(&inputs).expect("the layer works");
            // A last step whose gradient is the ones, so that nothing is timed but the layer.
            let ones = ones.clone();
            let end = Var::from_op("end", Tensor::scalar(0.0), [&y], move |_, [_]| {
                Ok([Some(Gradient::Dense(ones.clone()))])
            });
            std::hint::black_box(end.backward().expect("the layer works"));
        })
    };
    table.push(Operation { name: format!("{name} fwd+bwd"), bound: bound(3), prepare: Box::new(prepare) });
}

/// All layers, in the order of the table.
pub fn layers() -> Vec<Operation> {
    let mut table = Vec::new();
    for (name, [batch, channels, height, width], outputs, kernel, stride, padding, groups) in [
        ("32x1x28x28_k3_o32", [32, 1, 28, 28], 32, 3, 1, 0, 1),
        ("32x32x13x13_k3_o64", [32, 32, 13, 13], 64, 3, 1, 0, 1),
        ("8x64x56x56_k3p1_o64", [8, 64, 56, 56], 64, 3, 1, 1, 1),
        ("8x64x56x56_k1_o128", [8, 64, 56, 56], 128, 1, 1, 0, 1),
        ("8x64x56x56_depthwise_k3p1", [8, 64, 56, 56], 64, 3, 1, 1, 64),
        ("8x64x56x56_k3s2p1_o128", [8, 64, 56, 56], 128, 3, 2, 1, 1),
    ] {
        let window = Window::default().stride([stride; 2]).padding([padding; 2]);
        let [rows_out, columns_out] = window.output([kernel; 2], [height, width]).expect("the window fits");
        let pixels = batch * rows_out * columns_out;
        let flops = 2 * pixels * outputs * kernel * kernel * (channels / groups);
        let inputs = move || {
            vec![
                normal([batch, height, width, channels]),
                normal([kernel, kernel, channels / groups, outputs]),
                normal([outputs]),
            ]
        };
        rows(&mut table, &format!("conv2d/{name}"), flops, true, inputs, move |x| {
            x[0].conv2d(&x[1], Some(&x[2]), false, &window, groups)
        });
    }
    let images = || vec![normal([32, 26, 26, 32])];
    rows(&mut table, "maxpool2/32x32x26x26", 0, true, images, |x| x[0].max_pool2d(&Pool::new([2, 2])));
    let images = || vec![normal([32, 28, 28, 64])];
    rows(&mut table, "batch_norm/32x64x28x28", 0, false, images, |x| {
        let (scale, shift) = (Var::constant(Tensor::ones([64])?), Var::constant(Tensor::zeros([64])?));
        Ok(x[0].batch_norm(&scale, &shift, 1e-5)?.0)
    });
    let table_of_words = || vec![normal([10_000, 128])];
    rows(&mut table, "embedding/10000x128[32x100]", 0, false, table_of_words, |x| {
        let ids = (0..3200).map(|i: u32| i.wrapping_mul(2_654_435_761) % 10_000).collect();
        x[0].lookup(&Tensor::from_vec(ids, [32, 100])?)
    });
    for (kind, name, forward, [batch, steps, features, units]) in [
        (Recurrence::Lstm, "lstm/32x100x128_h64", true, [32, 100, 128, 64]),
        (Recurrence::Lstm, "lstm/32x10x1_h64", true, [32, 10, 1, 64]),
        (Recurrence::Lstm, "lstm/64x35x256_h256", true, [64, 35, 256, 256]),
        (Recurrence::Gru, "gru/32x100x128_h64", false, [32, 100, 128, 64]),
    ] {
        let width = kind.gates() * units;
        let flops = 2 * batch * steps * (features + units) * width;
        let inputs = move || {
            vec![
                normal([batch, steps, features]),
                normal([features, width]).scale(0.1).expect("inputs"),
                normal([units, width]).scale(0.1).expect("inputs"),
                normal([kind.biases() * units]),
            ]
        };
        rows(&mut table, name, flops, forward, inputs, move |x| {
            let vars = RecurrentVars {
                weight: &x[1],
                recurrent_weight: &x[2],
                bias: Some(&x[3]),
                hidden: None,
                cell: None,
            };
            x[0].recurrent(kind, vars, &RecurrentOptions::default())
        });
    }
    for [batch, heads, steps, size] in [[8, 8, 128, 32], [4, 8, 512, 64], [1, 12, 2048, 64]] {
        for causal in [false, true] {
            let name =
                format!("attention/{batch}x{heads}x{steps}x{size}{}", if causal { " causal" } else { "" });
            let flops = 4 * batch * heads * steps * steps * size / if causal { 2 } else { 1 };
            let inputs = move || vec![normal([batch, steps, heads, size]); 3];
            rows(&mut table, &name, flops, true, inputs, move |x| {
                let options = AttentionOptions::default();
                let options = if causal { options.causal(Causal::TopLeft) } else { options };
                x[0].attention(&x[1], &x[2], None, &options)
            });
        }
    }
    table
}
