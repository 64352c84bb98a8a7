//! Metrics against scikit-learn, taken in batch by batch and resumed in between; plain references; what is refused.

use cairn_optim::metrics::{
    Accuracy, Average, AveragePrecision, ConfusionMatrix, F1, LogLoss, MeanAbsoluteError, MeanSquaredError,
    Metric, Perplexity, Precision, R2, Recall, RocAuc, TopK, edit_distance, spearman,
};
use cairn_optim::{Error, StateDict};
use cairn_tensor::{Element, Tensor};
use proptest::prelude::*;
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("../golden/metrics.json")).unwrap()
}

fn floats(golden: &Value, name: &str, columns: usize) -> Tensor {
    let values: Vec<f32> =
        golden[name].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect();
    let rows = values.len() / columns;
    Tensor::from_vec(values, if columns == 1 { vec![rows] } else { vec![rows, columns] }).unwrap()
}

fn labels(golden: &Value, name: &str) -> Tensor<u32> {
    floats(golden, name, 1).cast().unwrap()
}

/// The metric over uneven batches, going on from a saved state in between.
fn value<Y: Element>(metric: &dyn Metric<Tensor<Y>>, prediction: &Tensor, target: &Tensor<Y>) -> f64 {
    let mut accumulator = metric.start();
    assert!(accumulator.value().is_nan(), "{} of nothing", metric.name());
    let mut at = 0;
    for size in [7, 1, 20, 22] {
        let part = prediction.narrow(0, at, size).unwrap();
        accumulator.update(&part, &target.narrow(0, at, size).unwrap()).unwrap();
        at += size;
        let mut resumed = metric.start();
        resumed.load_state(&accumulator.state().unwrap()).unwrap();
        accumulator = resumed;
    }
    assert_eq!(at, target.shape()[0]);
    let (whole, merged) = (accumulator.value(), merged(metric, prediction, target));
    assert!(
        (whole - merged).abs() <= 1e-9 * whole.abs().max(1.0),
        "{}: {whole}, {merged} merged",
        metric.name()
    );
    whole
}

/// The metric from batches that were taken in alone, one of them empty.
fn merged<Y: Element>(metric: &dyn Metric<Tensor<Y>>, prediction: &Tensor, target: &Tensor<Y>) -> f64 {
    let mut accumulator = metric.start();
    accumulator.merge(&metric.start().state().unwrap()).unwrap();
    let mut at = 0;
    for size in [7, 1, 20, 22] {
        let mut alone = metric.start();
        let part = prediction.narrow(0, at, size).unwrap();
        alone.update(&part, &target.narrow(0, at, size).unwrap()).unwrap();
        accumulator.merge(&alone.state().unwrap()).unwrap();
        at += size;
    }
    assert!(accumulator.merge(&StateDict::new("another")).is_err());
    accumulator.value()
}

fn assert_near(name: &str, got: f64, want: &Value) {
    let want = want.as_f64().unwrap();
    assert!((got - want).abs() <= 1e-6 * want.abs().max(1.0), "{name}: {got} for {want}");
}

/// The name of a golden value, and the metric that should have it.
type Named<Y> = (&'static str, Box<dyn Metric<Tensor<Y>>>);

#[test]
fn values_are_those_of_scikit_learn() {
    let golden = golden();
    let (logits, classes) = (floats(&golden, "logits", 4), labels(&golden, "labels"));
    let (scores, yes) = (floats(&golden, "scores", 1), floats(&golden, "yes", 1));
    let (predictions, targets) = (floats(&golden, "predictions", 2), floats(&golden, "targets", 2));
    let of_classes: Vec<Named<u32>> = vec![
        ("accuracy", Box::new(Accuracy)),
        ("accuracy_ignoring_0", Box::new(Accuracy.ignore(0))),
        ("top_2", Box::new(TopK::new(2))),
        ("log_loss", Box::new(LogLoss::of_logits())),
        ("perplexity_ignoring_0", Box::new(Perplexity::new().ignore(0))),
    ];
    for (name, metric) in of_classes {
        assert_near(name, value(&*metric, &logits, &classes), &golden[name]);
    }
    let probabilities = logits.softmax(-1).unwrap();
    assert_near("log_loss", value(&LogLoss::new(), &probabilities, &classes), &golden["log_loss"]);
    for (name, average) in [
        ("macro", Average::Macro),
        ("micro", Average::Micro),
        ("weighted", Average::Weighted),
        ("class_1", Average::Class(1)),
    ] {
        let near = |metric: &str, got| assert_near(&format!("{metric} {name}"), got, &golden[metric][name]);
        near("precision", value(&Precision(average), &logits, &classes));
        near("recall", value(&Recall(average), &logits, &classes));
        near("f1", value(&F1(average), &logits, &classes));
    }
    let of_numbers: Vec<Named<f32>> = vec![
        ("mean_squared_error", Box::new(MeanSquaredError)),
        ("mean_absolute_error", Box::new(MeanAbsoluteError)),
        ("r2", Box::new(R2)),
    ];
    for (name, metric) in of_numbers {
        assert_near(name, value(&*metric, &predictions, &targets), &golden[name]);
    }
    // Scores of yes, and the same as scores of two classes.
    let two = Tensor::stack(&[&scores.scale(0.0).unwrap(), &scores], 1).unwrap();
    let labels = yes.cast::<u32>().unwrap();
    for (name, got) in [
        ("roc_auc", value(&RocAuc, &scores, &yes)),
        ("roc_auc", value(&RocAuc, &two, &labels)),
        ("average_precision", value(&AveragePrecision, &scores, &yes)),
        ("average_precision", value(&AveragePrecision, &two, &labels)),
    ] {
        assert_near(name, got, &golden[name]);
    }
    let doubles = |t: &Tensor| t.iter().map(f64::from).collect::<Vec<_>>();
    let of_labels = doubles(&classes.cast().unwrap());
    assert_near("spearman", spearman(&doubles(&scores), &of_labels), &golden["spearman"]);
}

#[test]
fn confusion_is_counted_by_label_and_prediction() {
    let golden = golden();
    let mut matrix = ConfusionMatrix::new(4);
    matrix.update(&floats(&golden, "logits", 4), &labels(&golden, "labels")).unwrap();
    let counts: Vec<u64> = (0..16).map(|i| matrix.count(i / 4, i % 4)).collect();
    let expected: Vec<u64> =
        golden["confusion"].as_array().unwrap().iter().map(|x| x.as_u64().unwrap()).collect();
    assert_eq!(counts, expected);
    assert_eq!(matrix.to_string().lines().count(), 5);
    assert_eq!((matrix.precision(3), matrix.recall(3), matrix.f1(3)), (0.0, 0.0, 0.0));
    assert_eq!(matrix.count(4, 0), 0);
    assert!(matrix.update(&Tensor::zeros([1, 3]).unwrap(), &Tensor::zeros([1]).unwrap()).is_err());
}

#[test]
fn a_confusion_matrix_is_saved_as_a_tensor_of_counts() {
    // More than `f32` counts exactly.
    let counts = Tensor::from_vec(vec![16_777_217, 2, 0, 3], [2, 2]).unwrap();
    let matrix = ConfusionMatrix::from_tensor(&counts).unwrap();
    assert_eq!((matrix.count(0, 0), matrix.count(0, 1), matrix.count(1, 1)), (16_777_217, 2, 3));
    assert_eq!(matrix.to_tensor().unwrap(), counts);
    for (values, shape) in
        [(vec![1, 2, 3, 4, 5, 6], vec![2, 3]), (vec![1, -1, 0, 0], vec![2, 2]), (vec![1], vec![1])]
    {
        let counts = Tensor::from_vec(values, &shape[..]).unwrap();
        assert!(matches!(ConfusionMatrix::from_tensor(&counts), Err(Error::BadState(_))), "{shape:?}");
    }

    let mut f1 = Metric::<Tensor<u32>>::start(&F1::default());
    assert!(f1.state().unwrap().tensors.is_empty());
    f1.update(&Tensor::eye(3).unwrap(), &Tensor::from_vec(vec![0, 1, 1], [3]).unwrap()).unwrap();
    let state = f1.state().unwrap();
    assert_eq!(state.tensor::<i64>("counts").unwrap().to_vec(), [1, 0, 0, 0, 1, 1, 0, 0, 0]);
    assert!(matches!(state.tensor::<f32>("counts"), Err(Error::BadState(_))));
    // The numbers that earlier versions saved are of another kind.
    let mut again = Metric::<Tensor<u32>>::start(&F1::default());
    assert!(again.load_state(&StateDict::new("classes").with("0", 1.0)).is_err());
    again.load_state(&state).unwrap();
    assert_eq!(again.value(), f1.value());
}

proptest! {
    #[test]
    fn the_area_is_the_share_of_pairs_in_order(samples in prop::collection::vec((0..6u8, any::<bool>()), 2..40)) {
        let (yes, no): (Vec<_>, Vec<_>) = samples.iter().partition(|(_, yes)| *yes);
        prop_assume!(!yes.is_empty() && !no.is_empty());
        let mut pairs = 0.0;
        for (a, _) in &yes {
            for (b, _) in &no {
                pairs += if a > b { 1.0 } else if a == b { 0.5 } else { 0.0 };
            }
        }
        let scores = Tensor::from_vec(samples.iter().map(|s| f32::from(s.0)).collect(), [samples.len()]).unwrap();
        let targets = Tensor::from_vec(samples.iter().map(|s| f32::from(u8::from(s.1))).collect(), [samples.len()]).unwrap();
        let metric: &dyn Metric<Tensor> = &RocAuc;
        let mut accumulator = metric.start();
        accumulator.update(&scores, &targets).unwrap();
        let expected = pairs / (yes.len() * no.len()) as f64;
        prop_assert!((accumulator.value() - expected).abs() < 1e-12);
    }

    #[test]
    fn edit_distance_is_that_of_the_recursion(a in prop::collection::vec(0..3u8, 0..6), b in prop::collection::vec(0..3u8, 0..6)) {
        fn plain(a: &[u8], b: &[u8]) -> usize {
            match (a, b) {
                ([], rest) | (rest, []) => rest.len(),
                ([x, a @ ..], [y, b @ ..]) if x == y => plain(a, b),
                ([_, a_rest @ ..], [_, b_rest @ ..]) => {
                    1 + plain(a_rest, b).min(plain(a, b_rest)).min(plain(a_rest, b_rest))
                }
            }
        }
        prop_assert_eq!(edit_distance(&a, &b), plain(&a, &b));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let (scores, labels) = (Tensor::zeros([2, 3]).unwrap(), Tensor::from_vec(vec![0, 5], [2]).unwrap());
    let metrics: Vec<Box<dyn Metric<Tensor<u32>>>> = vec![
        Box::new(TopK::new(1)),
        Box::new(F1::default()),
        Box::new(LogLoss::new()),
        Box::new(Perplexity::new()),
        Box::new(RocAuc),
    ];
    for metric in metrics {
        assert!(
            metric.start().update(&scores, &labels).is_err(),
            "{}: a label that is no class",
            metric.name()
        );
        let short = Tensor::zeros([1]).unwrap();
        assert!(metric.start().update(&scores, &short).is_err(), "{}: one label for two rows", metric.name());
        let state = StateDict::new("something else");
        assert!(metric.start().load_state(&state).is_err());
    }
    let metrics: Vec<Box<dyn Metric<Tensor>>> =
        vec![Box::new(R2), Box::new(MeanSquaredError), Box::new(AveragePrecision)];
    for metric in metrics {
        let (a, b) = (Tensor::zeros([3]).unwrap(), Tensor::zeros([3, 1]).unwrap());
        assert!(metric.start().update(&a, &b).is_err(), "{}", metric.name());
    }
    let scores = Tensor::from_vec(vec![f32::NAN], [1]).unwrap();
    let ranked: &dyn Metric<Tensor> = &RocAuc;
    assert!(ranked.start().update(&scores, &Tensor::ones([1]).unwrap()).is_err());
    assert!(spearman(&[1.0], &[1.0, 2.0]).is_nan());
    assert!(spearman(&[f64::NAN, 1.0], &[1.0, 2.0]).is_nan());
}

#[test]
fn what_is_no_class_or_no_number_is_not_counted() {
    let labels = |values: &[u32]| Tensor::from_slice(values, [values.len()]).unwrap();
    let all_first = Tensor::from_vec([1.0f32, 0.0, 0.0].repeat(3), [3, 3]).unwrap();
    let right = labels(&[0, 0, 1]);
    let one = |metric: &dyn Metric<Tensor<u32>>, scores: &Tensor, labels: &Tensor<u32>| {
        let mut accumulator = metric.start();
        accumulator.update(scores, labels).map(|()| accumulator.value())
    };
    let seventh = Average::Class(7);
    for metric in [&F1(seventh) as &dyn Metric<_>, &Precision(seventh), &Recall(seventh)] {
        let error = one(metric, &all_first, &right).unwrap_err().to_string();
        assert!(error.contains("the class is 7"), "{error}");
    }
    let error = one(&Accuracy, &all_first, &labels(&[0, 9, 1])).unwrap_err().to_string();
    assert!(error.contains("a label is 9"), "{error}");
    assert_eq!(one(&Accuracy.ignore(9), &all_first, &labels(&[0, 9, 1])).unwrap(), 0.5);
    let broken = Tensor::full([3, 3], f32::NAN).unwrap();
    let zeros = labels(&[0, 0, 0]);
    assert_eq!(one(&Accuracy, &broken, &zeros).unwrap(), 0.0);
    assert!(one(&F1::default(), &broken, &zeros).is_err());
    let mut matrix = ConfusionMatrix::new(3);
    assert!(matrix.update(&broken, &zeros).is_err());
    assert!(matrix.update(&all_first, &labels(&[0, 0, 9])).is_err());
    assert_eq!(matrix, ConfusionMatrix::new(3), "nothing was taken in");
}

#[test]
fn a_confusion_matrix_prints_with_its_classes() {
    let mut matrix = ConfusionMatrix::new(2);
    let scores = Tensor::from_vec(vec![0.9f32, 0.1, 0.2, 0.8, 0.7, 0.3], [3, 2]).unwrap();
    matrix.update(&scores, &Tensor::from_vec(vec![0, 1, 1], [3]).unwrap()).unwrap();
    assert_eq!(matrix.to_string(), "label | 0 1  predicted\n    0 | 1 0\n    1 | 1 1");
}
