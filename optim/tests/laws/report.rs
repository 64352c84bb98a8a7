//! What a run has cost: floating-point operations are those that one counts by hand, however the samples are cut into batches and
//! whoever computes them, and the bits of a run do not depend on whether it is measured.

use std::collections::BTreeMap;
use std::path::Path;

use cairn_autograd::Var;
use cairn_datasets::{Dataset, TensorDataset, synthetic};
use cairn_nn::Activation::{Gelu, Relu};
use cairn_nn::{
    Context, Embedding, Linear, Model, Module, Sequential, SparseCategoricalCrossentropy, TransformerEncoder,
    spec::{self, Conv2d, Dense, Flatten, Lstm, MaxPool2d},
};
use cairn_optim::metrics::Accuracy;
use cairn_optim::processes::Threads;
use cairn_optim::{Adam, Fit, Sgd, Trainer};
use cairn_tensor::{Tensor, rng};
use serde_json::Value;

type Labels = Tensor<u32>;

fn read(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path.with_extension("json")).unwrap()).unwrap()
}

/// Forward and backward by layer.
fn layers(report: &Value) -> BTreeMap<String, (u64, u64)> {
    let layer = |layer: &Value| {
        let count = |name: &str| layer[name].as_u64().unwrap();
        (layer["layer"].as_str().unwrap().to_owned(), (count("forward"), count("backward")))
    };
    report["layers"].as_array().unwrap().iter().map(layer).collect()
}

/// The report of two epochs on these data, which are validated on too.
fn report<M, D>(model: &M, data: &D) -> Value
where
    M: Model<D::Input>,
    D: Dataset<Target = Labels> + Sync,
    D::Input: Send,
{
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.html");
    let fit = Fit::epochs(2).batch_size(4).validate(data).report(&path).quiet();
    Trainer::new(Adam::new(0.001), SparseCategoricalCrossentropy).fit(model, data, fit).unwrap();
    read(&path)
}

/// For products of these multiply-adds a sample, forward, and of so many factors of each that have gradients.
fn check(report: &Value, samples: u64, expected: &[(&str, u64, u64)]) {
    let found = layers(report);
    let product = |&(name, multiply_adds, factors): &(&str, u64, u64)| {
        // Two epochs.
        let forward = 2 * 2 * samples * multiply_adds;
        (name.to_owned(), (forward, factors * forward))
    };
    assert_eq!(found, expected.iter().map(product).collect(), "{report:#}");
    let forward: u64 = found.values().map(|layer| layer.0).sum();
    let all: u64 = found.values().map(|layer| layer.0 + layer.1).sum();
    assert_eq!(report["validation_flops"].as_u64(), Some(forward), "as many samples");
    assert_eq!(report["flops"].as_u64(), Some(all + forward));
    assert_eq!(report["samples"].as_u64(), Some(2 * samples));
    assert_eq!(report["steps"].as_u64(), Some(2 * samples.div_ceil(4)));
    assert!(report["not_counted"].as_array().unwrap().is_empty());
}

#[test]
fn a_perceptron() {
    let model = Sequential::new([784])
        .add(Dense::new(64).activation(Relu))
        .add(Dense::new(64).activation(Relu))
        .add(Dense::new(10));
    let report = report(&model.build(&mut rng(0)).unwrap(), &synthetic::digits(10, 1).unwrap().flatten());
    // Of the first layer's inputs, which are data, there is no gradient.
    check(&report, 10, &[("dense", 784 * 64, 1), ("dense_1", 64 * 64, 2), ("dense_2", 64 * 10, 2)]);
}

#[test]
fn a_convolutional_network() {
    let model = Sequential::new([28, 28, 1])
        .add(Conv2d::new(4, 3).activation(Relu))
        .add(MaxPool2d::new(2))
        .add(Conv2d::new(8, 3).activation(Relu))
        .add(MaxPool2d::new(2))
        .add(Flatten)
        .add(Dense::new(10));
    let report = report(&model.build(&mut rng(0)).unwrap(), &synthetic::digits(6, 1).unwrap());
    let expected = [
        ("conv2d", 26 * 26 * 3 * 3 * 4, 1),
        ("conv2d_1", 11 * 11 * 3 * 3 * 4 * 8, 2),
        ("dense", 5 * 5 * 8 * 10, 2),
    ];
    check(&report, 6, &expected);
}

#[test]
fn an_lstm_over_floats() {
    // The rows of an image are the steps. Back through time h has a gradient, x, which are data, has none.
    let model = Sequential::new([28, 28]).add(Lstm::new(6)).add(Dense::new(10)).build(&mut rng(0)).unwrap();
    let (x, y) = synthetic::digits(5, 1).unwrap().batch(&[0, 1, 2, 3, 4]).unwrap();
    let data = TensorDataset::new(x.reshape([5, 28, 28]).unwrap(), y).unwrap();
    let found = layers(&report(&model, &data));
    let (of_x, of_h) = (2 * 2 * 5 * 28 * 28 * 4 * 6, 2 * 2 * 5 * 28 * 6 * 4 * 6);
    assert_eq!(found["lstm"], (of_x + of_h, of_x + 2 * of_h));
    assert_eq!(found["dense"], (2 * 2 * 5 * 60, 2 * 2 * 2 * 5 * 60));
}

/// Ids `[count, 6]`, with a label each or one for each id.
fn texts(count: usize, each: bool) -> TensorDataset<u32, u32> {
    let ids = |n: usize| (0..n).map(|i| (i * 7 % 10) as u32).collect::<Vec<u32>>();
    let labels = if each {
        Tensor::from_vec(ids(count * 6), [count, 6])
    } else {
        Tensor::from_vec(ids(count).iter().map(|id| id % 3).collect(), [count])
    };
    TensorDataset::new(Tensor::from_vec(ids(count * 6), [count, 6]).unwrap(), labels.unwrap()).unwrap()
}

#[test]
fn an_lstm_over_an_embedding() {
    let model = Sequential::new([6]).add(spec::Embedding::new(40, 5)).add(Lstm::new(4)).add(Dense::new(3));
    let report = report(&model.build(&mut rng(0)).unwrap(), &texts(7, false));
    // Looking up is no product; what was looked up has a gradient.
    check(&report, 7, &[("lstm", 6 * (5 + 4) * 4 * 4, 2), ("dense", 4 * 3, 2)]);
}

#[derive(Module)]
struct Gpt {
    tokens: Embedding,
    blocks: TransformerEncoder,
    head: Linear,
}

impl Model<Tensor<u32>> for Gpt {
    fn forward(&self, ids: &Tensor<u32>, cx: &mut Context) -> cairn_nn::Result<Var> {
        self.head.forward(&self.blocks.forward(&self.tokens.forward(ids)?, cx)?)
    }
}

#[test]
fn a_transformer() {
    let (mut rng, block) = (rng(0), spec::TransformerEncoderLayer::new(2, 16).causal(true).norm_first(true));
    let model = Gpt {
        tokens: spec::Embedding::new(10, 8).layer(&mut rng).unwrap(),
        blocks: TransformerEncoder::new(2, &block.activation(Gelu), 8, &mut rng).unwrap(),
        head: Linear::new(8, 10, &mut rng).unwrap(),
    };
    let report = report(&model, &texts(9, true));
    let found = layers(&report);
    let forward: u64 = found.values().map(|layer| layer.0).sum();
    // Two blocks: four projections and two of the feed-forward layer for each of 6 tokens, queries by keys and weights by values for each
    // pair of tokens; the head.
    let block = 6 * (4 * 8 * 8 + 2 * 8 * 16) + 2 * 6 * 6 * 8;
    assert_eq!(forward, 2 * 2 * 9 * (2 * block + 6 * 8 * 10), "{report:#}");
    // Both factors of every product have gradients.
    assert!(found.iter().all(|(_, &(forward, backward))| backward == 2 * forward), "{report:#}");
    assert_eq!(found["head"].0, 2 * 2 * 9 * 6 * 8 * 10);
    assert_eq!(found["[attention]"].0, 2 * 2 * 9 * 2 * 2 * 6 * 6 * 8);
    // Computed again, each block's forward pass counts again.
    let ids = texts(1, true).batch(&[0]).unwrap().0;
    let (gradients, counts) = cairn_autograd::count_flops(|| {
        let output = model.forward(&ids, &mut Context::train(0).recomputing())?;
        Ok::<_, cairn_nn::Error>(output.sum(..)?.backward()?)
    });
    gradients.unwrap();
    assert_eq!(counts.total().forward, 2 * (2 * 2 * block + 6 * 8 * 10));
    assert_eq!(counts.total().backward, 2 * 2 * (2 * block + 6 * 8 * 10));
}

#[test]
fn many_processes_have_one_report_and_as_many_operations_as_one() {
    let data = synthetic::digits(50, 1).unwrap().flatten();
    let run = |size: usize, measured: bool| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.html");
        let mut states = Threads::run(size, |process| {
            let model = Sequential::new([784]).add(Dense::new(7).activation(Relu)).add(Dense::new(10));
            let model = model.build(&mut rng(1)).unwrap();
            let fit = Fit::epochs(1).batch_size(5).accumulate(4).quiet().processes(process);
            let fit = if measured { fit.report(&path) } else { fit };
            let mut trainer = Trainer::new(Sgd::new(0.1), SparseCategoricalCrossentropy).metric(Accuracy);
            trainer.fit(&model, &data, fit).unwrap();
            model.state()
        });
        (states.swap_remove(0), measured.then(|| read(&path)))
    };
    let (state, _) = run(1, false);
    for size in [1, 2, 3] {
        let (own, report) = run(size, true);
        assert!(own == state);
        let report = report.unwrap();
        let expected = [("dense", 784 * 7), ("dense_1", 7 * 10)].map(|(name, products)| {
            let forward = 2 * 50 * products;
            (name.to_owned(), (forward, forward * if name == "dense" { 1 } else { 2 }))
        });
        assert_eq!(layers(&report), BTreeMap::from(expected));
        assert_eq!(report["processes"].as_u64(), Some(size as u64));
        assert_eq!(report["samples"].as_u64(), Some(50));
        assert_eq!(report["steps"].as_u64(), Some(3));
        // Of gradients alone, of three steps, in the last of which a process may have no batch.
        let least = 3 * (size as u64 - 1) * 4 * (784 * 7 + 7 + 70 + 10);
        assert!(
            (least..6 * least + 10_000 * size as u64).contains(&report["bytes_exchanged"].as_u64().unwrap()),
            "{report:#}"
        );
        assert!(report["values"]["accuracy"].as_f64().is_some());
    }
}

#[test]
fn a_page_and_numbers_for_answering() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("answers");
    let data = synthetic::digits(300, 1).unwrap().flatten();
    let model = Sequential::new([784]).add(Dense::new(10)).build(&mut rng(1)).unwrap();
    let trainer = Trainer::new(Sgd::new(0.1), SparseCategoricalCrossentropy).metric(Accuracy);
    let (evaluation, report) = trainer.evaluate_with_report(&model, &data, &path).unwrap();
    assert_eq!(evaluation, trainer.evaluate(&model, &data).unwrap());
    assert_eq!((report.samples, report.steps, report.flops), (300, 0, 2 * 300 * 784 * 10));
    assert!(report.seconds > 0.0 && report.share_of_peak > 0.0);
    assert_eq!(report.values["accuracy"], evaluation.get("accuracy").unwrap());
    // What is not known is said, not guessed.
    let json = read(&path);
    assert_eq!(json["energy"]["joules"].as_f64(), report.energy.joules);
    let source = json["energy"]["source"].as_str().unwrap();
    assert!(source.starts_with(if report.energy.joules.is_some() { "RAPL" } else { "not measurable here" }));
    let page = std::fs::read_to_string(path.with_extension("html")).unwrap();
    for text in ["What answering has cost", "dense", "4.70 MFLOP", "Share of the measured peak", "accuracy"] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!page.contains("<script") && !page.contains("http"));
    let nowhere = trainer.evaluate_with_report(&model, &data, folder.path().join("none/answers"));
    assert!(nowhere.unwrap_err().to_string().contains("none"));
}
