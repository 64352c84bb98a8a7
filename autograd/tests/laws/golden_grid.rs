//! Attention and what goes with it in a transformer against PyTorch, over a grid of shapes and options: 1e-5 for what is computed, 1e-4
//! for gradients, each of the largest element. `tests/golden/attention_grid.py` and `transformer_parts.py` made the values, from inputs
//! by the same formula.

use std::path::Path;

use cairn_autograd::{Result, Var};
use cairn_tensor::{AttentionOptions, Causal, Gate, NpzReader, Pairs, Rotary, RotaryScaling, Tensor};

/// Elements of a result that are there, at most.
const SAMPLES: usize = 24;

/// Numbers without a visible pattern.
fn formula(i: usize, phase: f64) -> f32 {
    let i = i as f64;
    (1.4 * (0.7 * i + 0.013 * (i * i) + phase).sin()) as f32
}

fn made(shape: &[usize], phase: f64) -> Tensor {
    let count: usize = shape.iter().product();
    Tensor::from_vec((0..count).map(|i| formula(i, phase)).collect(), shape).unwrap()
}

/// What a script wrote: a row for each case, and the results of all of them one after the other.
struct Grid {
    cases: Vec<Vec<f64>>,
    values: Vec<f32>,
    /// How many of the values have been looked at.
    read: usize,
}

impl Grid {
    fn open(file: &str, prefix: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
        let mut arrays = NpzReader::open(path).unwrap();
        let how: Tensor<f64> = arrays.read(&format!("{prefix}how")).unwrap();
        let values: Tensor = arrays.read(&format!("{prefix}values")).unwrap();
        let cases = how.to_vec().chunks(how.shape()[1]).map(<[f64]>::to_vec).collect();
        Grid { cases, values: values.to_vec(), read: 0 }
    }

    /// Holds the output and the gradients of all inputs of the next case against PyTorch's.
    fn check(&mut self, case: &str, inputs: &[Var], f: impl FnOnce(&[Var]) -> Result<Var>) {
        let y = f(inputs).unwrap();
        self.close(y.value(), 1e-5, &format!("{case}: output"));
        let g = Var::constant(made(y.shape(), 4.5));
        let gradients = y.mul(&g).unwrap().sum(..).unwrap().backward().unwrap();
        for (place, input) in inputs.iter().enumerate() {
            self.close(&gradients.of(input).unwrap(), 1e-4, &format!("{case}: gradient of input {place}"));
        }
    }

    /// Holds a result against the next values: some elements, the sum of all by weights, the size of the largest.
    fn close(&mut self, got: &Tensor, tolerance: f64, what: &str) {
        let got: Vec<f64> = got.iter().map(f64::from).collect();
        let samples = got.len().min(SAMPLES);
        let want: Vec<f64> = self.values[self.read..][..samples + 2].iter().map(|&x| f64::from(x)).collect();
        self.read += samples + 2;
        let (sum, largest) = (want[samples], want[samples + 1]);
        let allowed = tolerance * largest.max(1e-2);
        for (place, &want) in want[..samples].iter().enumerate() {
            let at = place * 104_729 % got.len();
            assert!(
                (got[at] - want).abs() <= allowed,
                "{what}: element {at} is {}, PyTorch's {want}",
                got[at]
            );
        }
        // Elements are off independently of each other.
        let allowed = allowed * (got.len() as f64).sqrt();
        let all: f64 = got.iter().enumerate().map(|(i, x)| x * f64::from(formula(i, 5.6))).sum();
        assert!((all - sum).abs() <= allowed, "{what}: weighted sum {all}, PyTorch's {sum}");
    }

    /// Each case by its row, and that there are no values besides.
    fn each(mut self, mut check: impl FnMut(&mut Self, &str, &[f64])) {
        for case in std::mem::take(&mut self.cases) {
            check(&mut self, &format!("{case:?}"), &case);
        }
        assert_eq!(self.read, self.values.len(), "values that no case has looked at");
    }
}

/// Longer lengths for later sequences; of kind 2 the first is empty.
fn lengths(kind: usize, batch: usize, time: usize) -> Tensor<u32> {
    let of = |b: usize| if kind == 2 && b == 0 { 0 } else { time * (b + 1) / batch };
    Tensor::from_vec((0..batch).map(|b| of(b) as u32).collect(), [batch]).unwrap()
}

fn pattern(shape: &[usize]) -> Tensor<bool> {
    let count: usize = shape.iter().product();
    Tensor::from_vec((0..count).map(|i| (3 * i * i + i) % 7 < 5).collect(), shape).unwrap()
}

#[test]
fn attention() {
    Grid::open("attention_grid.npz", "").each(|grid, case, row| {
        let of = |i: usize| row[i] as usize;
        let [batch, queries, keys, heads, key_heads, size, value_size] = std::array::from_fn(of);
        let mut options = AttentionOptions::default();
        match of(7) {
            0 => {}
            1 => options = options.causal(Causal::TopLeft),
            _ => options = options.causal(Causal::BottomRight),
        }
        if of(8) > 0 {
            options = options.window(of(8));
        }
        if row[9] > 0.0 {
            options = options.scale(row[9]);
        }
        if row[10] > 0.0 {
            options = options.soft_cap(row[10]);
        }
        if of(11) > 0 {
            options = options.alibi(heads);
        }
        if of(13) > 0 {
            let shape = if of(13) == 1 { vec![queries, keys] } else { vec![batch, 1, 1, keys] };
            options = options.visible(&pattern(&shape));
        }
        if of(14) > 0 {
            options = options.key_lengths(&lengths(of(14), batch, keys));
        }
        if of(15) > 0 {
            options = options.query_lengths(&lengths(of(15), batch, queries));
        }
        let mut inputs = vec![
            made(&[batch, queries, heads, size], 0.1),
            made(&[batch, keys, key_heads, size], 1.2),
            made(&[batch, keys, key_heads, value_size], 2.3),
        ];
        match of(12) {
            0 => {}
            1 => inputs.push(made(&[heads, queries, keys], 3.4)),
            2 => inputs.push(made(&[batch, 1, 1, keys], 3.4)),
            _ => inputs.push(made(&[heads, 1, keys], 3.4)),
        }
        let inputs: Vec<Var> = inputs.into_iter().map(Var::parameter).collect();
        grid.check(case, &inputs, |x| x[0].attention(&x[1], &x[2], x.get(3), &options));
    });
}

#[test]
fn rotary_positions() {
    Grid::open("transformer_parts.npz", "rotary_").each(|grid, case, row| {
        let [neighbours, size, turned, start, given, scaling] = std::array::from_fn(|i| row[i] as usize);
        let rotary = Rotary::new(turned).base(500.0).scaling(match scaling {
            0 => RotaryScaling::None,
            1 => RotaryScaling::Linear { factor: 4.0 },
            _ => RotaryScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 64.0 },
        });
        let tables = rotary.tables(40).unwrap();
        let pairs = if neighbours == 1 { Pairs::Neighbours } else { Pairs::Halves };
        let positions = (0..2u32).flat_map(|b| (0..9).map(move |t| (5 * b + 7 * t) % 40)).collect();
        let positions = Tensor::from_vec(positions, [2, 9]).unwrap();
        let x = [Var::parameter(made(&[2, 9, 3, size], 0.1))];
        grid.check(case, &x, |x| match given {
            0 => x[0].rotary(&tables, pairs, start),
            _ => x[0].rotary_at(&tables, pairs, &positions),
        });
    });
}

const GATES: [Gate; 5] = [Gate::Relu, Gate::Sigmoid, Gate::Silu, Gate::Gelu, Gate::GeluTanh];

#[test]
fn gates() {
    // Of one operand, and of two that are its halves.
    for apart in [false, true] {
        Grid::open("transformer_parts.npz", "gates_").each(|grid, case, row| {
            let [kind, rows, features] = std::array::from_fn(|i| row[i] as usize);
            let x = [Var::parameter(made(&[3, rows, 2 * features], 0.1))];
            grid.check(case, &x, |x| match apart {
                false => x[0].gated_halves(GATES[kind]),
                true => {
                    let half = |first| x[0].narrow(-1, first, features);
                    half(0)?.gated(GATES[kind], &half(features)?)
                }
            });
        });
    }
}

#[test]
fn normalisation_of_rows() {
    Grid::open("transformer_parts.npz", "norms_").each(|grid, case, row| {
        let [rms, added, rows, features] = std::array::from_fn(|i| row[i] as usize);
        let epsilon = row[4];
        let rows = [2, rows, features];
        let mut inputs = vec![made(&rows, 0.1)];
        if added == 1 {
            inputs.push(made(&rows, 2.3));
        }
        inputs.push(made(&[features], 1.2));
        if rms == 0 {
            inputs.push(made(&[features], 3.4));
        }
        let inputs: Vec<Var> = inputs.into_iter().map(Var::parameter).collect();
        grid.check(case, &inputs, |x| {
            let (total, normal) = match (rms, added) {
                (0, 0) => return x[0].layer_norm(&x[1], &x[2], epsilon),
                (_, 0) => return x[0].rms_norm(&x[1], epsilon),
                (0, _) => x[0].add_layer_norm(&x[1], &x[2], &x[3], epsilon)?,
                (_, _) => x[0].add_rms_norm(&x[1], &x[2], epsilon)?,
            };
            Var::cat(&[&normal, &total], -1)
        });
    });
}
