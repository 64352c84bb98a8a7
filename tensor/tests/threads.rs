//! The same bits from any number of threads, for everything that runs in parallel. (A process of its own: there is one pool
//! of helpers, which other tests would keep busy.)

use cairn_tensor::{
    AnyTensor, AttentionOptions, BlockFormat, Causal, DType, Gate, Isa, LinearCrossEntropyOptions, Pairs,
    Pool, QuantizedTensor, Resize, Rotary, Rule, SummingRule, Tensor, Window, rng,
};

/// Runs `f` in pools of 1, 2 and 3 threads; what it returns must not differ in a bit.
#[track_caller]
fn same_bits(name: &str, f: impl Fn() -> Vec<u32> + Send + Sync) {
    let in_pool = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            assert_eq!(cairn_tensor::num_threads(), threads);
            f()
        })
    };
    let one = in_pool(1);
    for threads in [2, 3] {
        let more = in_pool(threads);
        assert!(one == more, "{name} differs between 1 and {threads} threads");
    }
}

fn bits(x: &Tensor<f32>) -> Vec<u32> {
    x.iter().map(f32::to_bits).collect()
}

fn normal<const N: usize>(shape: [usize; N], seed: u64) -> Tensor<f32> {
    Tensor::normal(shape, 0.0, 1.0, &mut rng(seed)).unwrap()
}

#[test]
fn elementwise_and_copies() {
    let (x, y) = (normal([301, 1007], 1), normal([301, 1007], 2));
    let row = normal([1007], 3);
    same_bits("add", || bits(&x.add(&y).unwrap()));
    same_bits("add row", || bits(&x.add(&row).unwrap()));
    same_bits("exp", || bits(&x.exp().unwrap()));
    same_bits("gelu", || bits(&x.gelu().unwrap()));
    same_bits("strided", || bits(&x.t().unwrap().tanh().unwrap()));
    same_bits("transpose", || bits(&x.t().unwrap().contiguous().unwrap()));
    let planes = x.narrow(1, 0, 1000).unwrap().reshape([7, 43, 10, 100]).unwrap();
    same_bits("planes", || bits(&planes.permute([0, 3, 1, 2]).unwrap().contiguous().unwrap()));
    same_bits("select", || bits(&x.gt(&y).unwrap().select(&x, &row).unwrap()));
    same_bits("select in one row", || bits(&x.gt(&y).unwrap().select(&x, &y).unwrap()));
    same_bits("waves", || bits(&x.sin().unwrap().pow(&y.cos().unwrap()).unwrap()));
    let square = normal([256, 512], 4);
    same_bits("transpose of a power of two", || bits(&square.t().unwrap().contiguous().unwrap()));
    same_bits("cat", || bits(&Tensor::cat(&[&x, &y], 1).unwrap()));
    let picks: Vec<u32> = (0..2000).map(|i| i * 7 % 301).collect();
    same_bits("index_select", || bits(&x.index_select(0, &picks).unwrap()));
    same_bits("add_assign", || {
        let mut z = x.clone();
        z.add_assign(&y).unwrap();
        bits(&z)
    });
}

#[test]
fn attention() {
    let (q, k) = (normal([2, 300, 4, 32], 1), normal([2, 300, 2, 32], 2));
    let (v, g) = (normal([2, 300, 2, 48], 3), normal([2, 300, 4, 48], 4));
    let bias = normal([1, 4, 1, 300], 5);
    let plain = AttentionOptions::default;
    let visible = Tensor::from_vec((0..300 * 300).map(|i| i % 11 < 8).collect(), [300, 300]).unwrap();
    let lengths = |of: [u32; 2]| Tensor::from_vec(of.to_vec(), [2]).unwrap();
    let bottom = plain().causal(Causal::BottomRight);
    for (name, options) in [
        ("plain", plain()),
        ("causal, dropout", plain().causal(Causal::TopLeft).dropout(0.1, 3)),
        ("bottom right", bottom.clone()),
        ("window", plain().window(70)),
        ("soft cap", plain().soft_cap(2.0)),
        ("linear biases", plain().alibi(4)),
        ("lengths", plain().key_lengths(&lengths([300, 130])).query_lengths(&lengths([251, 300]))),
        ("mask", plain().visible(&visible)),
        (
            "everything",
            bottom
                .window(200)
                .scale(0.3)
                .soft_cap(3.0)
                .alibi(4)
                .dropout(0.2, 5)
                .visible(&visible)
                .key_lengths(&lengths([300, 219]))
                .query_lengths(&lengths([300, 40])),
        ),
    ] {
        same_bits(name, || bits(&q.attention(&k, &v, Some(&bias), &options).unwrap().0));
        let (y, sums) = q.attention(&k, &v, Some(&bias), &options).unwrap();
        same_bits(name, || {
            let results = [&y, &sums, &g];
            let gradients = q.attention_backward(&k, &v, Some(&bias), &options, results, [true; 4]).unwrap();
            gradients.iter().flatten().flat_map(bits).collect()
        });
        // Few queries, whose keys are divided. They have no lengths or masks of so many queries.
        let few = q.narrow(1, 299, 1).unwrap();
        let mut options = options;
        (options.query_lengths, options.visible) = (None, None);
        same_bits(name, || bits(&few.attention(&k, &v, Some(&bias), &options).unwrap().0));
    }
}

#[test]
fn losses_over_a_vocabulary_and_what_goes_with_attention() {
    let (x, table, bias) = (normal([700, 40], 1), normal([3000, 40], 2), normal([3000], 3));
    let labels = Tensor::from_vec((0..700).map(|i| i * 4 % 3000).collect(), [700]).unwrap();
    let options = LinearCrossEntropyOptions::default().smoothing(0.1).ignored(8);
    same_bits("linear_cross_entropy", || {
        let result = x.linear_cross_entropy(&table, Some(&bias), &labels, &options, [true; 3]).unwrap();
        let gradients = result.gradients.iter().flatten().flat_map(bits);
        gradients.chain([result.loss.to_bits(), result.weight.to_bits()]).collect()
    });
    let tables = Rotary::new(32).tables(300).unwrap();
    let heads = normal([2, 300, 4, 40], 4);
    let positions = Tensor::from_vec((0..600).map(|i| i * 7 % 300).collect(), [2, 300]).unwrap();
    for pairs in [Pairs::Halves, Pairs::Neighbours] {
        same_bits("rotary", || bits(&heads.rotary(&tables, pairs, 0).unwrap()));
        same_bits("rotary_at", || bits(&heads.rotary_at(&tables, pairs, &positions).unwrap()));
        same_bits("rotary_back", || bits(&heads.rotary_back(&tables, pairs, 0).unwrap()));
        same_bits("rotary_at_back", || bits(&heads.rotary_at_back(&tables, pairs, &positions).unwrap()));
    }
    let both = normal([601, 1000], 5);
    same_bits("gated_halves", || bits(&both.gated_halves(Gate::Silu).unwrap()));
    let g = normal([601, 500], 6);
    same_bits("gated_halves_backward", || bits(&both.gated_halves_backward(Gate::Gelu, &g).unwrap()));
    let (gate, up) = (normal([601, 500], 7), normal([601, 500], 8));
    for kind in [Gate::Relu, Gate::Sigmoid, Gate::Silu, Gate::Gelu, Gate::GeluTanh] {
        same_bits("gated", || bits(&gate.gated(kind, &up).unwrap()));
        same_bits("gated_backward", || {
            gate.gated_backward(kind, &up, &g).unwrap().iter().flat_map(bits).collect()
        });
    }
}

#[test]
fn losses_over_a_vocabulary_in_parts_and_weighted() {
    // Over so many classes, 175 rows at a time.
    let (rows, classes) = (700, 20_000);
    let (x, table, bias) = (normal([rows, 16], 1), normal([classes, 16], 2), normal([classes], 3));
    let labels = Tensor::from_vec((0..rows as u32).map(|i| i * 77 % 20_000).collect(), [rows]).unwrap();
    let by_class = normal([classes], 4).abs().unwrap();
    let by_row = normal([rows], 5).abs().unwrap();
    let options = LinearCrossEntropyOptions::default().class_weights(&by_class).row_weights(&by_row);
    for options in [options.clone(), options.smoothing(0.1).ignored(77)] {
        same_bits("linear_cross_entropy in parts", || {
            let result = x.linear_cross_entropy(&table, Some(&bias), &labels, &options, [true; 3]).unwrap();
            let gradients = result.gradients.iter().flatten().flat_map(bits);
            gradients.chain([result.loss.to_bits(), result.weight.to_bits()]).collect()
        });
    }
}

#[test]
fn normalisation_of_rows() {
    // Few rows that are long, and many that are short.
    for (rows, features) in [(61, 5003), (4001, 67)] {
        let (x, y, g) =
            (normal([rows, features], 1), normal([rows, features], 2), normal([rows, features], 3));
        let (scale, shift) = (normal([features], 4), normal([features], 5));
        let all = |parts: &[&Tensor<f32>]| parts.iter().copied().flat_map(bits).collect::<Vec<u32>>();
        same_bits("layer_norm", || {
            let normal = x.layer_norm(&scale, &shift, 1e-5).unwrap();
            let [dx, dscale, dshift] =
                x.layer_norm_backward(&g, &normal.mean, &normal.inverse, &scale).unwrap();
            all(&[&normal.output, &normal.mean, &normal.inverse, &dx, &dscale, &dshift])
        });
        same_bits("add_layer_norm", || {
            let (sum, normal) = x.add_layer_norm(&y, &scale, &shift, 1e-5).unwrap();
            all(&[&sum, &normal.output, &normal.mean, &normal.inverse])
        });
        same_bits("rms_norm", || {
            let (output, inverse) = x.rms_norm(&scale, 1e-6).unwrap();
            let [dx, dscale] = x.rms_norm_backward(&g, &inverse, &scale).unwrap();
            all(&[&output, &inverse, &dx, &dscale])
        });
        same_bits("add_rms_norm", || {
            let [sum, output, inverse] = x.add_rms_norm(&y, &scale, 1e-6).unwrap();
            all(&[&sum, &output, &inverse])
        });
    }
}

#[test]
fn reductions_and_rows() {
    let x = normal([301, 1007], 1);
    let flat = normal([1 << 20], 4);
    let tall = normal([100_003, 3], 5);
    let batch = normal([9, 200, 77], 6);
    same_bits("sum of all", || bits(&flat.sum(..).unwrap()));
    same_bits("prod of all", || bits(&flat.scale(1.2).unwrap().prod(..).unwrap()));
    for (name, x) in [("wide", &x), ("tall", &tall), ("batch", &batch)] {
        for axis in 0..x.rank() {
            same_bits(name, || bits(&x.sum(axis).unwrap()));
            same_bits(name, || bits(&x.mean(axis).unwrap()));
            same_bits(name, || bits(&x.max(axis).unwrap()));
            same_bits(name, || x.argmin(axis).unwrap().to_vec());
            same_bits(name, || bits(&x.softmax(axis).unwrap()));
            same_bits(name, || bits(&x.log_softmax(axis).unwrap()));
            same_bits(name, || bits(&x.logsumexp(axis).unwrap()));
        }
        same_bits(name, || bits(&x.sum([0, -1]).unwrap()));
    }
    let labels = Tensor::build([301], |out: &mut [u32]| {
        for (i, l) in out.iter_mut().enumerate() {
            *l = (i * 31 % 1007) as u32;
        }
    })
    .unwrap();
    same_bits("cross entropy", || {
        let (losses, p) = x.cross_entropy(&labels).unwrap();
        let g = p.clone().cross_entropy_backward(&labels, &losses).unwrap();
        [bits(&losses), bits(&p), bits(&g), bits(&p.softmax_backward(&x).unwrap())].concat()
    });
}

#[test]
fn matrix_products_of_many_shapes() {
    let sizes = [
        1, 2, 3, 5, 7, 8, 9, 13, 16, 17, 24, 31, 32, 33, 47, 48, 49, 63, 64, 65, 95, 96, 97, 129, 192, 255,
        257, 384, 511,
    ];
    let mut state = 12345u64;
    let mut pick = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        sizes[(state >> 33) as usize % sizes.len()]
    };
    let mut shapes: Vec<[usize; 3]> = (0..80).map(|_| [pick(), pick(), pick()]).collect();
    // Skinny in each direction, and deep, all above the size where threads start.
    shapes.extend([
        [1, 784, 2000],
        [2000, 784, 1],
        [32, 784, 64],
        [784, 32, 64],
        [3872, 288, 64],
        [64, 9000, 64],
        [1, 100_000, 16],
        [16, 100_000, 1],
        [700, 1, 700],
        [5, 3000, 301],
        [301, 3000, 5],
        [511, 513, 515],
        [1000, 1000, 17],
        [17, 1000, 1000],
        [128, 64, 256],
        [1024, 300, 1030],
    ]);
    for [m, k, n] in shapes {
        for layout in 0..4 {
            let a = if layout & 1 == 0 { normal([m, k], 7) } else { normal([k, m], 7).t().unwrap() };
            let b = if layout & 2 == 0 { normal([k, n], 8) } else { normal([n, k], 8).t().unwrap() };
            same_bits(&format!("{m}x{k}x{n} layout {layout}"), || bits(&a.matmul(&b).unwrap()));
        }
        let (a, b) = (normal([m, k], 9), normal([k, n], 10));
        let bias = normal([n], 11);
        same_bits(&format!("linear {m}x{k}x{n}"), || bits(&a.linear(&b, Some(&bias), true).unwrap()));
        let g = normal([m, n], 4);
        same_bits(&format!("linear_gradients {m}x{k}x{n}"), || {
            a.linear_gradients(&g).unwrap().iter().flat_map(bits).collect()
        });
    }
    for (batch, m, k, n) in [(3, 65, 33, 17), (64, 128, 64, 128), (200, 5, 7, 3), (2, 300, 300, 300)] {
        let (a, b) = (normal([batch, m, k], 1), normal([batch, k, n], 2));
        same_bits("batched", || bits(&a.matmul(&b).unwrap()));
        same_bits("batched, right transposed", || {
            bits(&a.matmul(&b.t().unwrap().contiguous().unwrap().t().unwrap()).unwrap())
        });
    }
}

/// Blocks of every format, as files have them and packed, and floats of 16 bits; one row, which is what writing a token comes down to, and
/// more than are read at a time. More outputs than are whole panels, in more pieces than one thread makes of them.
#[test]
fn products_with_stored_weights() {
    let (w, bias) = (normal([1003, 512], 1), normal([1003], 2));
    let product = |name: &str, weights: &AnyTensor, rows: usize| {
        let x = normal([rows, 512], 3);
        same_bits(&format!("{rows} rows by {name}"), || {
            bits(&x.linear_stored(weights, Some(&bias), true).unwrap())
        });
    };
    for format in BlockFormat::ALL {
        let quantized = QuantizedTensor::quantize(&w, format).unwrap();
        let bytes = |q: &QuantizedTensor| -> Vec<u32> { q.to_bytes().iter().map(|&b| b.into()).collect() };
        same_bits(&format!("blocks of {format}"), || bytes(&QuantizedTensor::quantize(&w, format).unwrap()));
        same_bits(&format!("packed {format}"), || bytes(&quantized.packed().unwrap()));
        same_bits(&format!("floats of {format}"), || bits(&quantized.dequantize().unwrap()));
        let [plain, packed] = [quantized.clone(), quantized.packed().unwrap()]
            .map(|quantized| AnyTensor::from(quantized.t().unwrap()));
        for rows in [1, 5] {
            product(format.name(), &plain, rows);
            product(&format!("packed {format}"), &packed, rows);
        }
        product(&format!("packed {format}"), &packed, 133);
    }
    for dtype in [DType::BF16, DType::F16] {
        let weights = AnyTensor::from(w.clone()).cast(dtype).unwrap().t().unwrap();
        for rows in [1, 5, 133] {
            product(dtype.name(), &weights, rows);
        }
    }
}

#[derive(Clone, Copy)]
struct Decay;
impl Rule<f32, 1> for Decay {
    #[inline(always)]
    fn update<S: Isa>(self, parameter: &mut f32, gradient: f32, [mean]: [&mut f32; 1]) {
        *mean = 0.9 * *mean + 0.1 * gradient * gradient;
        *parameter -= 0.01 * gradient / (mean.sqrt() + 1e-8);
    }
}

impl SummingRule<f32, 1, 1> for Decay {
    #[inline(always)]
    fn update<S: Isa>(self, parameter: &mut f32, gradient: f32, [mean]: [&mut f32; 1]) -> [f32; 1] {
        Rule::update::<S>(self, parameter, gradient, [mean]);
        [*parameter]
    }
}

#[test]
fn updates() {
    let (p, g) = (normal([400_003], 1), normal([400_003], 2));
    same_bits("update", || {
        let (mut p, mut mean) = (p.clone(), Tensor::zeros(p.dims()).unwrap());
        p.update(&g, [&mut mean], Decay).unwrap();
        let [sum]: [f64; 1] = p.update_summing(&g, [&mut mean], Decay).unwrap();
        let sum = [sum.to_bits() as u32, (sum.to_bits() >> 32) as u32];
        [&bits(&p)[..], &bits(&mean), &sum].concat()
    });
}

#[test]
fn errors_do_not_depend_on_threads() {
    let mut values = vec![1i64; 500_000];
    values[400_000] = i64::MAX;
    let x = Tensor::from_vec(values, [500_000]).unwrap();
    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let text = pool.install(|| x.add(&x).unwrap_err().to_string());
        assert_eq!(text, "add: a result does not fit into i64, or a divisor is zero");
    }
}

#[test]
fn images() {
    let window = Window::default().padding([1, 1]).stride([1, 2]);
    for (name, [batch, height, width, channels], outputs, groups) in [
        ("many", [37, 14, 15, 12], 24, 1),
        ("one large", [1, 80, 90, 3], 40, 1),
        ("deep", [3, 9, 9, 160], 70, 1),
        ("grouped", [8, 20, 20, 12], 24, 4),
        ("depthwise", [8, 40, 40, 24], 24, 24),
    ] {
        let x = normal([batch, height, width, channels], 1);
        let w = normal([3, 3, channels / groups, outputs], 2);
        let y = x.conv2d(&w, None, true, &window, groups).unwrap();
        let g = normal([batch, y.shape()[1], y.shape()[2], outputs], 3);
        same_bits(name, || bits(&x.conv2d(&w, None, true, &window, groups).unwrap()));
        same_bits(name, || bits(&g.conv2d_input_gradient(&w, [height, width], &window, groups).unwrap()));
        same_bits(name, || bits(&x.conv2d_filter_gradient(&g, [3, 3], &window, groups).unwrap()));
        let pool = Pool::new([2, 2]);
        same_bits(name, || {
            let how = (&window, groups);
            let pooled = x.conv2d_max_pool2d(&w, None, true, how, &pool).unwrap();
            let g = &pooled.output;
            let gradients =
                x.conv2d_max_pool2d_backward(&w, &pooled, g, true, how, &pool, [true; 3]).unwrap();
            [g].into_iter().chain(gradients.iter().flatten()).flat_map(bits).collect()
        });
        let p = y.max_pool2d(&pool).unwrap();
        same_bits(name, || bits(&y.max_pool2d(&pool).unwrap()));
        same_bits(name, || bits(&y.max_pool2d_backward(&p, &p, &pool).unwrap()));
        same_bits(name, || bits(&y.avg_pool2d(&pool).unwrap()));
        same_bits(name, || bits(&p.avg_pool2d_backward(y.dims(), &pool).unwrap()));
        same_bits(name, || bits(&y.resize2d([31, 33], Resize::Bilinear).unwrap()));
        let (scale, shift) = (normal([outputs], 4), normal([outputs], 5));
        same_bits(name, || {
            let normal = y.batch_norm(&scale, &shift, 1e-3).unwrap();
            let gradients = y.batch_norm_backward(&g, &normal.mean, &normal.variance, &scale, 1e-3).unwrap();
            [&normal.output, &normal.mean, &normal.variance]
                .into_iter()
                .chain(&gradients)
                .flat_map(bits)
                .collect()
        });
        same_bits(name, || {
            let normal = y.group_norm(2, &scale, &shift, 1e-3).unwrap();
            let gradients = y.group_norm_backward(&g, &normal.mean, &normal.variance, &scale, 1e-3).unwrap();
            [&normal.output].into_iter().chain(&gradients).flat_map(bits).collect()
        });
    }
}
