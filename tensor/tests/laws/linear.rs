//! A dense layer against its parts.

use cairn_tensor::Tensor;
use proptest::prelude::*;

use crate::matmul::{product, sizes};
use crate::naive::{Naive, close, real, view};

proptest! {
    #[test]
    fn linear_matches_its_parts(
        (rows, inputs, outputs) in (sizes(), sizes(), sizes()),
        batch in 0..3usize,
        seed: u64,
        relu: bool,
        bias: bool,
    ) {
        let (x, nx) = view(&[batch, rows, inputs], seed, real);
        let (w, nw) = view(&[inputs, outputs], seed ^ 1, real);
        let (b, nb) = view(&[outputs], seed ^ 2, real);
        let y = x.linear(&w, bias.then_some(&b), relu).unwrap();
        let product = product(&nx, &nw, &[batch]);
        let want = Naive::from_fn(&product.shape, |i| {
            let z = product.at(i) + if bias { nb.at(&[i[2]]) } else { 0.0 };
            if relu { z.max(0.0) } else { z }
        });
        close(&y, &want, 1e-12);
        let one = Tensor::ones(y.dims()).unwrap();
        let gate = y.relu_backward(&one).unwrap();
        close(&gate, &Naive { shape: want.shape.clone(), data: y.iter().map(|y| f64::from(u8::from(y > 0.0))).collect() }, 0.0);
    }
}

/// Sizes that are done by blocks and such that are not, with the last panel and the last rows cut off, and several chains of terms.
#[test]
fn gradients_of_weight_and_bias_match_their_parts() {
    for [rows, inputs, outputs] in [[0, 3, 2], [7, 5, 1], [100, 40, 51], [514, 17, 65], [1100, 260, 257]] {
        let number = |i: usize| ((i * 7919) % 31) as f64 / 8.0 - 2.0;
        let make = |shape: [usize; 2]| {
            Tensor::from_vec((0..shape[0] * shape[1]).map(number).collect(), shape).unwrap()
        };
        let (x, g) = (make([rows, inputs]), make([rows, outputs]));
        let [weight, bias] = x.linear_gradients(&g).unwrap();
        assert_eq!(weight, x.t().unwrap().matmul(&g).unwrap(), "{rows} x {inputs} x {outputs}");
        let want = g.sum(0).unwrap();
        let far = bias.iter().zip(want.iter()).any(|(a, b): (f64, f64)| (a - b).abs() > 1e-10);
        assert!(!far && bias.shape() == [outputs], "{rows} x {inputs} x {outputs}");
    }
    let (x, g) = (Tensor::<f32>::ones([4, 3]).unwrap(), Tensor::ones([5, 2]).unwrap());
    assert!(x.linear_gradients(&g).unwrap_err().to_string().contains("linear_gradients"));
    assert!(Tensor::<f32>::scalar(1.0).linear_gradients(&g).is_err());
}
