//! Values and gradients against PyTorch's. `tests/golden/images.py` and its neighbours made them and say how.

use std::path::Path;

use cairn_autograd::{Result, Var};
use cairn_tensor::{
    AttentionOptions, Causal, LinearCrossEntropyOptions, NpzReader, Pool, Resize, Tensor, Window,
};

/// The arrays of the file, by the names of their cases.
struct Golden(NpzReader);

impl Golden {
    fn open(file: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
        Golden(NpzReader::open(path).unwrap())
    }

    /// The cases of an operation: `conv` has `conv/plain`, …
    fn cases(&self, operation: &str) -> Vec<String> {
        let prefix = format!("{operation}/");
        let names = self.0.names();
        let cases: Vec<String> = names
            .iter()
            .filter_map(|name| name.strip_suffix("/how").filter(|case| case.starts_with(&prefix)))
            .map(str::to_owned)
            .collect();
        assert!(!cases.is_empty(), "no cases of {operation}");
        cases
    }

    fn how(&mut self, case: &str) -> Vec<usize> {
        self.0.read::<i64>(&format!("{case}/how")).unwrap().iter().map(|n| n as usize).collect()
    }

    fn has(&self, case: &str, name: &str) -> bool {
        self.0.names().contains(&format!("{case}/{name}"))
    }

    fn array(&mut self, case: &str, name: &str) -> Tensor<f32> {
        self.0.read(&format!("{case}/{name}")).unwrap()
    }

    /// Holds an operation on a case's `inputs` against the case's output and gradients.
    fn check(&mut self, case: &str, inputs: &[&str], f: impl Fn(&[Var]) -> Result<Var>) {
        let vars: Vec<Var> = inputs.iter().map(|name| Var::parameter(self.array(case, name))).collect();
        let y = f(&vars).unwrap();
        close(y.value(), &self.array(case, "y"), &format!("{case}: output"));
        let g = Var::constant(self.array(case, "g"));
        let gradients = y.mul(&g).unwrap().sum(..).unwrap().backward().unwrap();
        for (name, var) in inputs.iter().zip(&vars) {
            let want = self.array(case, &format!("d{name}"));
            close(&gradients.of(var).unwrap(), &want, &format!("{case}: gradient of {name}"));
        }
    }
}

/// Within 1e-5 of the largest value: sums of many terms cancel, and are exact to a share of the terms, not of the sum.
fn close(got: &Tensor<f32>, want: &Tensor<f32>, what: &str) {
    assert_eq!(got.shape(), want.shape(), "{what}");
    let scale = want.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    for (i, (got, want)) in got.iter().zip(want.iter()).enumerate() {
        assert!((got - want).abs() <= 1e-5 * scale, "{what}: element {i} is {got}, PyTorch's {want}");
    }
}

#[test]
fn attention() {
    let mut golden = Golden::open("attention.npz");
    for case in golden.cases("attention") {
        let mut options = AttentionOptions::default();
        if golden.how(&case) == [1] {
            options = options.causal(Causal::TopLeft);
        }
        if golden.has(&case, "mask") {
            options = options.visible(&golden.0.read(&format!("{case}/mask")).unwrap());
        }
        let inputs = if golden.has(&case, "bias") { &["q", "k", "v", "bias"][..] } else { &["q", "k", "v"] };
        golden.check(&case, inputs, |x| x[0].attention(&x[1], &x[2], x.get(3), &options));
    }
}

#[test]
fn losses_over_a_vocabulary() {
    let mut golden = Golden::open("linear_cross_entropy.npz");
    for case in golden.cases("linear_cross_entropy") {
        let smoothing = golden.how(&case)[0] as f64 / 100.0;
        let labels = golden.0.read::<i64>(&format!("{case}/labels")).unwrap();
        let labels = Tensor::from_vec(labels.iter().map(|label| label as u32).collect(), [2, 5]).unwrap();
        // The label -1 of PyTorch.
        let mut options = LinearCrossEntropyOptions::default().smoothing(smoothing).ignored(u32::MAX);
        if golden.has(&case, "weights") {
            options = options.class_weights(&golden.array(&case, "weights"));
        }
        let mean = std::cell::Cell::new(0.0);
        golden.check(&case, &["x", "w", "b"], |x| {
            let (sum, weight) = x[0].linear_cross_entropy(&x[1], Some(&x[2]), &labels, &options)?;
            mean.set(sum.item()? / weight);
            Ok(sum)
        });
        close(&Tensor::scalar(mean.get()), &golden.array(&case, "mean"), &format!("{case}: mean"));
    }
}

#[test]
fn convolutions() {
    let mut golden = Golden::open("images.npz");
    for case in golden.cases("conv") {
        let how = golden.how(&case);
        let window =
            Window::default().stride([how[0], how[1]]).padding([how[2], how[3]]).dilation([how[4], how[5]]);
        golden.check(&case, &["x", "w", "b"], |x| x[0].conv2d(&x[1], Some(&x[2]), false, &window, how[6]));
    }
}

#[test]
fn transposed_convolutions() {
    let mut golden = Golden::open("images.npz");
    for case in golden.cases("transposed") {
        let how = golden.how(&case);
        let window =
            Window::default().stride([how[0], how[1]]).padding([how[2], how[3]]).dilation([how[4], how[5]]);
        let extra = [how[7], how[8]];
        golden.check(&case, &["x", "w", "b"], |x| {
            x[0].conv_transpose2d(&x[1], Some(&x[2]), &window, extra, how[6])
        });
    }
}

#[test]
fn pooling() {
    let mut golden = Golden::open("images.npz");
    for case in golden.cases("pool") {
        let how = golden.how(&case);
        if case.contains("adaptive") {
            golden.check(&case, &["x"], |x| x[0].avg_pool2d(&Pool::adaptive([how[0], how[1]])));
            continue;
        }
        let window = Window::default().stride([how[2], how[3]]).padding([how[4], how[5]]);
        let pool = Pool::sliding([how[0], how[1]], window);
        golden.check(&case, &["x"], |x| match &case {
            case if case.contains("/max/") => x[0].max_pool2d(&pool),
            case if case.contains("/mean/") => x[0].avg_pool2d(&pool),
            _ => x[0].avg_pool2d(&pool.count_padding()),
        });
    }
}

#[test]
fn resizing() {
    let mut golden = Golden::open("images.npz");
    for case in golden.cases("resize") {
        let how = golden.how(&case);
        let kind = if case.contains("nearest") { Resize::Nearest } else { Resize::Bilinear };
        golden.check(&case, &["x"], |x| x[0].resize2d([how[0], how[1]], kind));
    }
}

#[test]
fn normalisation() {
    let mut golden = Golden::open("images.npz");
    for case in golden.cases("batch_norm") {
        golden.check(&case, &["x", "w", "b"], |x| Ok(x[0].batch_norm(&x[1], &x[2], 1e-5)?.0));
    }
    for case in golden.cases("group_norm") {
        let how = golden.how(&case);
        golden.check(&case, &["x", "w", "b"], |x| x[0].group_norm(how[0], &x[1], &x[2], 1e-5));
    }
}
