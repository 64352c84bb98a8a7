//! Every operation there is: its derivative against differences, its evaluation without variables against the recorded forward
//! pass, its count of FLOPs. The list of cases is held against [`Op::names`], so a new operation cannot be left out.

use std::collections::BTreeSet;

use cairn_autograd::op::{IdsOp, Op};
use cairn_autograd::{RecurrentVars, Result, Source, Var, gradcheck, trace};
use cairn_tensor::{
    AnyTensor, AttentionOptions, BlockFormat, Causal, Gate, LinearCrossEntropyOptions, Pairs, Pool,
    QuantizedTensor, Recurrence, RecurrentOptions, Resize, Returns, Rotary, Tensor, Window, bf16, rng, s,
};

/// Shapes of the inputs, drawn from 0.6 to 1.4, where no operation here has a kink, and what is computed from them.
type Case = (&'static [&'static [usize]], fn(&[Var<f64>]) -> Result<Var<f64>>);

fn ids(list: &[u32], shape: &[usize]) -> Tensor<u32> {
    Tensor::from_slice(list, shape).unwrap()
}

fn mask() -> Tensor<bool> {
    Tensor::from_slice(&[true, false, false, true, true, false], [2, 3]).unwrap()
}

/// Rows of one block, of weights from 0.6 to 1.4, so that no sum is near a kink.
fn quantized(rows: usize) -> Result<QuantizedTensor> {
    let weights = Tensor::uniform([rows, 32], 0.6, 1.4, &mut rng(5))?;
    Ok(QuantizedTensor::quantize(&weights, BlockFormat::Q8_0)?)
}

const MATRIX: &[&[usize]] = &[&[2, 3]];
const PAIR: &[&[usize]] = &[&[2, 3], &[3]];
const IMAGE: &[&[usize]] = &[&[2, 4, 6, 2]];

const CASES: &[Case] = &[
    (MATRIX, |x| x[0].relu()),
    (MATRIX, |x| x[0].exp()),
    (MATRIX, |x| x[0].expm1()),
    (MATRIX, |x| x[0].sqrt()),
    (MATRIX, |x| x[0].rsqrt()),
    (MATRIX, |x| x[0].recip()),
    (MATRIX, |x| x[0].tanh()),
    (MATRIX, |x| x[0].sigmoid()),
    (MATRIX, |x| x[0].abs()),
    (MATRIX, |x| x[0].square()),
    (MATRIX, |x| x[0].log()),
    (MATRIX, |x| x[0].log1p()),
    (MATRIX, |x| x[0].sin()),
    (MATRIX, |x| x[0].cos()),
    (MATRIX, |x| x[0].erf()),
    (MATRIX, |x| x[0].softplus()),
    (MATRIX, |x| x[0].silu()),
    (MATRIX, |x| x[0].gelu()),
    (MATRIX, |x| x[0].gelu_tanh()),
    (MATRIX, |x| x[0].selu()),
    (MATRIX, |x| x[0].neg()?.leaky_relu(0.3)),
    (MATRIX, |x| x[0].neg()?.elu(0.7)),
    (MATRIX, |x| x[0].clamp(0.5, 1.5)),
    (MATRIX, |x| x[0].powf(2.5)),
    (MATRIX, |x| x[0].scale(-1.5)),
    (MATRIX, |x| x[0].scale(0.5)?.floor()),
    (MATRIX, |x| x[0].scale(0.2)?.round()),
    (MATRIX, |x| x[0].sign()),
    (PAIR, |x| x[0].add(&x[1])),
    (PAIR, |x| x[0].sub(&x[1])),
    (PAIR, |x| x[0].mul(&x[1])),
    (PAIR, |x| x[0].div(&x[1])),
    (PAIR, |x| x[0].pow(&x[1])),
    (PAIR, |x| x[0].maximum(&x[1])),
    (PAIR, |x| x[0].minimum(&x[1])),
    (PAIR, |x| Var::select(&mask(), &x[0], &x[1])),
    (MATRIX, |x| x[0].sum(1)),
    (MATRIX, |x| x[0].mean_keepdim(0)),
    (MATRIX, |x| x[0].max(1)),
    (MATRIX, |x| x[0].min_keepdim(1)),
    (MATRIX, |x| x[0].prod(..)),
    (MATRIX, |x| x[0].logsumexp(1)),
    (MATRIX, |x| x[0].norm(1)),
    (MATRIX, |x| x[0].var(1, 1)),
    (MATRIX, |x| x[0].std_keepdim(1, 0)),
    (MATRIX, |x| x[0].sum_to([3])),
    (MATRIX, |x| x[0].softmax(0)),
    (MATRIX, |x| x[0].log_softmax(-1)),
    (MATRIX, |x| x[0].cross_entropy(&ids(&[2, 0], &[2]))),
    (&[&[2, 2, 3], &[3, 4]], |x| x[0].matmul(&x[1])),
    (&[&[3], &[4]], |x| x[0].outer(&x[1])),
    (&[&[2, 3], &[3, 4], &[4]], |x| Var::einsum("ij,jk,k->ik", &[&x[0], &x[1], &x[2]])),
    (&[&[2, 3], &[3, 4], &[4]], |x| x[0].linear(&x[1], Some(&x[2]), true)),
    (&[&[2, 2, 3], &[3, 4]], |x| x[0].linear(&x[1], None, false)),
    (&[&[2, 2, 32], &[3]], |x| x[0].linear_quantized(&quantized(3)?.t()?, Some(&x[1]), false)),
    (&[&[2, 32], &[3]], |x| x[0].linear_quantized(&quantized(3)?.t()?, Some(&x[1]), true)),
    (&[&[2, 3], &[4]], |x| {
        let halves = Tensor::<f32>::uniform([4, 3], 0.6, 1.4, &mut rng(5))?.cast::<bf16>()?;
        x[0].linear_stored(&AnyTensor::from(halves).t()?, Some(&x[1]), true)
    }),
    (&[&[2, 32]], |x| x[0].mul(&Var::lookup_quantized(&quantized(4)?, &ids(&[3, 1], &[2]))?)),
    (&[&[2, 2, 3], &[4, 3], &[4]], |x| {
        let options = LinearCrossEntropyOptions::default().ignored(9).smoothing(0.1);
        let options =
            options.class_weights(&Tensor::linspace(0.5, 1.5, 4)?).row_weights(&Tensor::full([2, 2], 0.7)?);
        Ok(x[0].linear_cross_entropy(&x[1], Some(&x[2]), &ids(&[2, 0, 9, 3], &[2, 2]), &options)?.0)
    }),
    (&[&[1, 4, 5, 2], &[3, 2, 1, 4], &[4]], |x| {
        x[0].conv2d(&x[1], Some(&x[2]), true, &Window::default().padding([1, 0]), 2)
    }),
    (&[&[1, 4, 5, 2], &[2, 2, 2, 3]], |x| {
        x[0].conv2d_max_pool2d(&x[1], None, false, (&Window::default(), 1), &Pool::new([1, 2]))
    }),
    (&[&[1, 2, 3, 2], &[2, 2, 3, 2], &[3]], |x| {
        x[0].conv_transpose2d(&x[1], Some(&x[2]), &Window::default().stride([2, 2]), [1, 0], 1)
    }),
    (IMAGE, |x| x[0].max_pool2d(&Pool::new([2, 3]))),
    (IMAGE, |x| x[0].avg_pool2d(&Pool::adaptive([3, 2]))),
    (IMAGE, |x| x[0].resize2d([5, 8], Resize::Bilinear)),
    (&[&[2, 3, 4], &[4], &[4]], |x| Ok(x[0].batch_norm(&x[1], &x[2], 1e-3)?.0)),
    (&[&[2, 3, 4], &[4], &[4]], |x| {
        let (mean, variance) = (Tensor::full([4], 0.9)?, Tensor::full([4], 1.7)?);
        x[0].normalize(&mean, &variance, &x[1], &x[2], 1e-3)
    }),
    (&[&[2, 3, 4], &[4], &[4]], |x| x[0].group_norm(2, &x[1], &x[2], 1e-3)),
    (&[&[2, 3, 4], &[4], &[4]], |x| x[0].layer_norm(&x[1], &x[2], 1e-3)),
    (&[&[2, 3, 4], &[4]], |x| x[0].rms_norm(&x[1], 1e-3)),
    (&[&[2, 3, 4], &[2, 3, 4], &[4], &[4]], |x| {
        let (sum, normal) = x[0].add_layer_norm(&x[1], &x[2], &x[3], 1e-3)?;
        sum.mul(&normal)
    }),
    (&[&[2, 3, 4], &[2, 3, 4], &[4]], |x| {
        let (sum, normal) = x[0].add_rms_norm(&x[1], &x[2], 1e-3)?;
        sum.mul(&normal)
    }),
    (&[&[2, 3, 2], &[2, 8], &[2, 8], &[8], &[2, 2], &[2, 2]], |x| {
        let vars = RecurrentVars {
            weight: &x[1],
            recurrent_weight: &x[2],
            bias: Some(&x[3]),
            hidden: Some(&x[4]),
            cell: Some(&x[5]),
        };
        let options = RecurrentOptions { returns: Returns::StepsAndStates, ..RecurrentOptions::default() };
        x[0].recurrent(Recurrence::Lstm, vars, &options)
    }),
    (&[&[2, 3, 2], &[2, 6], &[2, 6]], |x| {
        let vars =
            RecurrentVars { weight: &x[1], recurrent_weight: &x[2], bias: None, hidden: None, cell: None };
        let options = RecurrentOptions {
            reverse: true,
            returns: Returns::Last,
            lengths: Some(ids(&[2, 3], &[2])),
            starts: Some(ids(&[1, 0], &[2])),
            mask: Some(Tensor::full([2, 2], 0.5)?),
        };
        x[0].recurrent(Recurrence::Gru, vars, &options)
    }),
    (&[&[1, 3, 4, 2], &[1, 5, 2, 2], &[1, 5, 2, 3], &[4, 1, 5]], |x| {
        let visible = Tensor::from_slice(&[true, true, false, true, true], [5])?;
        let options = AttentionOptions::default().causal(Causal::BottomRight).visible(&visible);
        x[0].attention(&x[1], &x[2], Some(&x[3]), &options)
    }),
    (&[&[2, 3, 2, 5]], |x| x[0].rotary(&Rotary::new(4).base(10.0).tables(8)?, Pairs::Halves, 4)),
    (&[&[2, 3, 2, 4]], |x| {
        let positions = ids(&[0, 1, 2, 0, 0, 7], &[2, 3]);
        x[0].rotary_at(&Rotary::new(4).base(10.0).tables(8)?, Pairs::Neighbours, &positions)
    }),
    (&[&[2, 3], &[2, 3]], |x| x[0].gated(Gate::Silu, &x[1])),
    (&[&[2, 6]], |x| x[0].gated_halves(Gate::Gelu)),
    (MATRIX, |x| x[0].index_select(1, &[2, 0, 2])),
    (&[&[3, 2], &[4, 2]], |x| x[0].index_add(&[2, 0, 2, 1], &x[1])),
    (MATRIX, |x| x[0].gather(1, &ids(&[2, 0, 1, 1], &[2, 2]))),
    (&[&[2, 3], &[2, 2]], |x| x[0].scatter_add(1, &ids(&[2, 0, 1, 1], &[2, 2]), &x[1])),
    (MATRIX, |x| x[0].masked_select(&mask())),
    (MATRIX, |x| x[0].masked_fill(&mask(), -3.0)),
    (MATRIX, |x| x[0].masked_scale(&mask(), 1.25)),
    (&[&[4, 3]], |x| x[0].lookup_padded(&ids(&[3, 1, 1, 2], &[2, 2]), 0)),
    (MATRIX, |x| x[0].slice(s![1.., ..;-2])),
    (MATRIX, |x| x[0].flip(..)),
    (MATRIX, |x| x[0].pad(&[(1, 0), (0, 2)], 7.0)),
    (MATRIX, |x| x[0].tile(&[2, 1, 2])),
    (MATRIX, |x| x[0].repeat(-1, 2)),
    (&[&[2, 3, 3]], |x| x[0].diagonal(1)),
    (&[&[2, 3, 3]], |x| x[0].tril(0)),
    (&[&[2, 3, 3]], |x| x[0].triu(1)),
    (MATRIX, |x| x[0].reshape([3, 2])),
    (&[&[2, 3, 4]], |x| x[0].permute([2, 0, 1])),
    (MATRIX, |x| x[0].broadcast_to([2, 2, 3])),
    (MATRIX, |x| x[0].narrow(1, 1, 2)),
    (MATRIX, |x| x[0].index(0, 1)),
    (&[&[2, 3], &[2, 1]], |x| Var::cat(&[&x[0], &x[1]], 1)),
    (MATRIX, |x| x[0].cumsum(1)),
    (MATRIX, |x| x[0].cumprod(1)),
    (MATRIX, |x| Ok(x[0].sort(1, true)?.0)),
    (MATRIX, |x| Ok(x[0].topk(2, 1)?.0)),
    (&[&[2, 3, 2]], |x| {
        let ids = ids(&[0, 5, 7, 3, 0, 0], &[2, 3]);
        let (starts, ends) =
            (IdsOp::Starts { padding: 0 }.apply(&ids)?, IdsOp::Ends { padding: 0 }.apply(&ids)?);
        x[0].mul(&Var::valid_steps(Some(&starts), &ends, 3)?)?.sum(1)
    }),
    #[cfg(feature = "linalg")]
    (&[&[2, 3, 3], &[2, 3, 1]], |x| {
        let a = x[0].add(&Var::constant(Tensor::eye(3)?.scale(4.0)?))?;
        a.solve(&x[1])
    }),
    #[cfg(feature = "linalg")]
    (&[&[3, 3]], |x| x[0].add(&Var::constant(Tensor::eye(3)?.scale(4.0)?))?.inverse()),
    #[cfg(feature = "linalg")]
    (&[&[3, 3]], |x| x[0].det()),
    #[cfg(feature = "linalg")]
    (&[&[3, 3]], |x| x[0].matmul(&x[0].t()?)?.add(&Var::constant(Tensor::eye(3)?))?.cholesky()),
    #[cfg(feature = "linalg")]
    (&[&[4, 3]], |x| {
        let (q, r) = x[0].qr()?;
        q.matmul(&r.exp()?)
    }),
    #[cfg(feature = "linalg")]
    (&[&[3, 3]], |x| {
        let (values, vectors) = x[0].add(&x[0].t()?)?.eigh()?;
        // Signs of the vectors are free, their squares are not.
        values.mul(&vectors.square()?)
    }),
    #[cfg(feature = "linalg")]
    (&[&[4, 3]], |x| {
        let (u, s, vt) = x[0].svd()?;
        u.square()?.sum(0)?.add(&s.mul(&vt.square()?.sum(1)?)?)?.add(&u.index(0, 0)?.square()?)
    }),
];

#[test]
fn every_operation_has_its_derivative_its_evaluation_and_its_flops() {
    let mut seen = BTreeSet::new();
    for (number, (shapes, function)) in CASES.iter().enumerate() {
        let mut rng = rng(number as u64);
        let inputs: Vec<Tensor<f64>> =
            shapes.iter().map(|&shape| Tensor::uniform(shape, 0.6, 1.4, &mut rng).unwrap()).collect();
        let vars: Vec<Var<f64>> = inputs.iter().cloned().map(Var::parameter).collect();
        let output = trace(|| function(&vars)).result.unwrap();
        let mut last = "";
        for var in output.graph() {
            let Some(record) = var.recorded() else { continue };
            last = record.op.name();
            seen.insert(last);
            let again = record.evaluate().unwrap();
            assert_eq!(again.shape(), var.shape(), "{last}");
            assert!(
                again.iter().zip(var.value().iter()).all(|(a, b)| a.to_bits() == b.to_bits()),
                "{last}: the evaluation differs from the forward pass"
            );
            let shapes: Vec<Vec<usize>> = record
                .operands
                .iter()
                .map(|operand| match operand {
                    Source::Var(var) => var.shape().to_vec(),
                    Source::Ids(ids) => ids.shape().to_vec(),
                    Source::Mask(mask) => mask.shape().to_vec(),
                    Source::Stored(weights) => weights.shape().to_vec(),
                })
                .collect();
            let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
            let products = matches!(
                record.op,
                Op::Matmul(_) | Op::Linear(_) | Op::Conv(_) | Op::Recurrent(_) | Op::Attention(_)
            ) && last != "outer";
            assert_eq!(record.op.flops(&shapes, var.shape()) > 0, products, "{last}");
        }
        gradcheck(&inputs, function).unwrap_or_else(|error| panic!("case {number}, {last}: {error}"));
    }
    let all: BTreeSet<_> = Op::names().into_iter().collect();
    assert_eq!(seen, all, "each operation needs a case");
}

#[test]
fn flops_are_those_of_pytorch() {
    let count = |shapes: &[&[usize]], function: fn(&[Var<f32>]) -> Result<Var<f32>>| -> u64 {
        let vars: Vec<Var> =
            shapes.iter().map(|&shape| Var::constant(Tensor::ones(shape).unwrap())).collect();
        let output = trace(|| function(&vars)).result.unwrap();
        let record = output.recorded().unwrap();
        record.op.flops(shapes, output.shape())
    };
    // FlopCounterMode of torch.nn.functional.linear, conv2d (8 channels in 2 groups), conv_transpose2d, bmm.
    assert_eq!(count(&[&[5, 10], &[10, 3]], |x| x[0].linear(&x[1], None, true)), 300);
    assert_eq!(
        count(&[&[2, 9, 7, 8], &[3, 3, 4, 6]], |x| x[0].conv2d(&x[1], None, false, &Window::default(), 2)),
        2 * (2 * 7 * 5 * 6) * (3 * 3 * 4)
    );
    assert_eq!(
        count(&[&[2, 3, 3, 4], &[2, 2, 5, 4]], |x| {
            x[0].conv_transpose2d(&x[1], None, &Window::default().stride([2, 2]), [0, 0], 1)
        }),
        2 * (2 * 3 * 3 * 4) * (2 * 2 * 5)
    );
    assert_eq!(count(&[&[4, 2, 3], &[4, 3, 5]], |x| x[0].matmul(&x[1])), 2 * 4 * 2 * 3 * 5);
    // scaled_dot_product_attention, causal or not.
    assert_eq!(
        count(&[&[2, 3, 4, 8], &[2, 5, 2, 8], &[2, 5, 2, 6]], |x| {
            x[0].attention(&x[1], &x[2], None, &AttentionOptions::default())
        }),
        2 * (2 * 4 * 3 * 5) * (8 + 6)
    );
}
