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
