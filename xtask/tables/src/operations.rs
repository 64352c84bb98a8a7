//! Single operations: elementwise, reductions, products, rows, indexing.

use cairn_tensor::{BlockFormat, Isa, QuantizedTensor, Rule, Tensor, rng};

use crate::{Bound, Operation, Run};

fn normal<const N: usize>(shape: [usize; N]) -> Tensor<f32> {
    Tensor::normal(shape, 0.0, 1.0, &mut rng(N as u64)).expect("inputs fit into memory")
}

/// The weights of a layer, as a product reads them.
fn quantized(format: BlockFormat, inputs: usize, outputs: usize) -> QuantizedTensor {
    let weights = QuantizedTensor::quantize(&normal([outputs, inputs]), format);
    weights.and_then(|weights| weights.packed()?.t()).expect("whole blocks")
}

/// Runs, and drops the result, or stops the timing with the error.
fn done<T>(result: cairn_tensor::Result<T>) {
    std::hint::black_box(result.expect("the operation works"));
}

type Unary = fn(&Tensor<f32>) -> cairn_tensor::Result<Tensor<f32>>;

/// Adam's update, as the optimisers write it.
#[derive(Clone, Copy)]
struct Adam;
impl Rule<f32, 2> for Adam {
    #[inline(always)]
    fn update<S: Isa>(self, parameter: &mut f32, gradient: f32, [mean, square]: [&mut f32; 2]) {
        *mean += 0.1 * (gradient - *mean);
        *square += 0.001 * (gradient * gradient - *square);
        *parameter -= 0.001 * *mean / (square.sqrt() + 1e-8);
    }
}

/// Single operations, in the order of the table.
pub fn operations() -> Vec<Operation> {
    let mut table = Vec::new();
    let mut add = |name: &str, bound: Bound, prepare: Box<dyn Fn() -> Run>| {
        table.push(Operation { name: name.to_owned(), bound, prepare });
    };
    macro_rules! row {
        ($name:expr, [$($input:ident = $value:expr),*], $run:expr) => {
            row!($name, Bound::Other, [$($input = $value),*], $run)
        };
        ($name:expr, $bound:expr, [$($input:ident = $value:expr),*], $run:expr) => {
            add(&$name, $bound, Box::new(move || {
                $(let $input = $value;)*
                Box::new(move || done($run))
            }))
        };
    }
    const M: usize = 1 << 20;
    // Bytes of so many million elements.
    let mega = |count: usize| Bound::Memory(4 * M * count);
    let product = |m: usize, k: usize, n: usize| Bound::Arithmetic(2 * m * k * n);

    row!("add/1M", mega(3), [x = normal([M]), y = normal([M])], x.add(&y));
    row!(
        "add_broadcast_row/1024x1024",
        mega(2),
        [m = normal([1024, 1024]), row = normal([1024])],
        m.add(&row)
    );
    row!("mul_scalar/1M", mega(2), [x = normal([M])], x.scale(1.5));
    row!(
        "add/1K",
        [x = normal([M]), y = normal([M])],
        x.narrow(0, 0, 1024).and_then(|x| x.add(&y.narrow(0, 0, 1024)?))
    );
    let unary: [(&str, Bound, Unary); 6] = [
        ("exp", Bound::Other, |x| x.exp()),
        ("tanh", Bound::Other, |x| x.tanh()),
        ("sigmoid", Bound::Other, |x| x.sigmoid()),
        ("relu", mega(2), |x| x.relu()),
        ("sqrt", Bound::Other, |x| x.sqrt()),
        ("log", Bound::Other, |x| x.log()),
    ];
    for (name, bound, f) in unary {
        row!(
            format!("{name}/1M"),
            bound,
            [x = normal([M]).abs().and_then(|x| x.add(&Tensor::scalar(0.1))).expect("inputs")],
            f(&x)
        );
    }
    row!("gelu/1M", [x = normal([M])], x.gelu());
    row!(
        "where/1M",
        [x = normal([M]), y = normal([M]), zero = Tensor::scalar(0.0)],
        x.gt(&zero).and_then(|c| c.select(&x, &y))
    );
    row!("sum/1M", mega(1), [x = normal([M])], x.sum(..));
    row!("sum_axis0/1024x1024", mega(1), [m = normal([1024, 1024])], m.sum(0));
    row!("sum_axis1/1024x1024", mega(1), [m = normal([1024, 1024])], m.sum(1));
    row!("max_axis1/1024x1024", mega(1), [m = normal([1024, 1024])], m.max(1));
    row!("argmax_axis1/1024x1024", [m = normal([1024, 1024])], m.argmax(1));
    row!("var_axis1/1024x1024", [m = normal([1024, 1024])], m.var(1, 1));
    row!("softmax/1024x1000", [s = normal([1024, 1000])], s.softmax(1));
    row!("logsumexp/1024x1000", [s = normal([1024, 1000])], s.logsumexp(1));
    row!("cumsum/1024x1024", [m = normal([1024, 1024])], m.cumsum(1));
    row!("transpose_copy/1024x1024", mega(2), [m = normal([1024, 1024])], m.t().and_then(|t| t.contiguous()));
    row!(
        "nchw_to_nhwc_copy/32x64x28x28",
        Bound::Memory(2 * 4 * 32 * 64 * 28 * 28),
        [x = normal([32, 64, 28, 28])],
        x.permute([0, 2, 3, 1]).and_then(|x| x.contiguous())
    );
    row!("cat_axis1/2x1024x1024", mega(4), [m = normal([1024, 1024])], Tensor::cat(&[&m, &m], 1));
    row!(
        "index_select/10000x128[3200]",
        Bound::Memory(2 * 4 * 3200 * 128),
        [
            table = normal([10_000, 128]),
            picks = (0..3200u32).map(|i| i.wrapping_mul(2_654_435_761) % 10_000).collect::<Vec<_>>()
        ],
        table.index_select(0, &picks)
    );
    row!("topk10/1000x26744", [x = normal([1000, 26_744])], x.topk(10, 1));
    row!("sort/1M", [x = normal([M])], x.sort(0, false));
    for n in [64, 256, 1024] {
        row!(
            format!("matmul/{n}x{n}x{n}"),
            product(n, n, n),
            [a = normal([n, n]), b = normal([n, n])],
            a.matmul(&b)
        );
    }
    for (m, k, n) in [(32, 784, 64), (128, 64, 256), (3872, 288, 64), (1, 784, 64)] {
        row!(
            format!("matmul/{m}x{k}x{n}"),
            product(m, k, n),
            [a = normal([m, k]), b = normal([k, n])],
            a.matmul(&b)
        );
    }
    // The matrices of a language model of 135 M weights: one token, and a prompt.
    for (format, k, n) in
        [(BlockFormat::Q4_1, 576, 1536), (BlockFormat::Q4_1, 1536, 576), (BlockFormat::Q8_0, 576, 49_152)]
    {
        for m in [1, 512] {
            if m * n > 1 << 20 {
                continue;
            }
            let bytes = format.bytes_of(k * n).expect("whole blocks");
            row!(
                format!("linear_{format}/{m}x{k}x{n}"),
                if m == 1 { Bound::Memory(bytes) } else { product(m, k, n) },
                [x = normal([m, k]), w = quantized(format, k, n)],
                x.linear_quantized(&w, None, false)
            );
        }
    }
    row!(
        "matmul_transposed_lhs/32x784x64",
        product(32, 784, 64),
        [a = normal([784, 32]).t().expect("a matrix"), b = normal([784, 64])],
        a.matmul(&b)
    );
    row!(
        "batched_matmul/64x128x64x128",
        product(64 * 128, 64, 128),
        [a = normal([64, 128, 64]), b = normal([64, 64, 128])],
        a.matmul(&b)
    );
    add(
        "adam_step/1.33M",
        // Four tensors are read, three of them written.
        Bound::Memory(7 * 4 * (10_000 * 128 + 256 * 192)),
        Box::new(|| {
            let mut parts: Vec<[Tensor<f32>; 4]> = [[10_000, 128], [256, 192]]
                .into_iter()
                .map(|shape| {
                    let zeros = Tensor::zeros(shape).expect("inputs");
                    [normal(shape), normal(shape), zeros.clone(), zeros]
                })
                .collect();
            Box::new(move || {
                for [parameter, gradient, mean, square] in &mut parts {
                    done(parameter.update(gradient, [mean, square], Adam));
                }
            })
        }),
    );
    table
}
