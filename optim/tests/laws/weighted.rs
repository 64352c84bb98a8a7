//! Samples with weights, and metrics that leave them out of account.

use cairn_datasets::{Dataset, TensorDataset};
use cairn_nn::Weighted;
use cairn_optim::WeightedSamples;
use cairn_optim::metrics::{Accuracy, Metric, Unweighted};
use cairn_tensor::Tensor;

#[test]
fn weights_stay_with_their_samples_and_bad_ones_are_refused() {
    let numbers = Tensor::arange(0.0, 4.0, 1.0).unwrap().reshape([4, 1]).unwrap();
    let data = TensorDataset::new(numbers.clone(), numbers).unwrap();
    let weights = Tensor::from_vec(vec![0.0, 10.0, 20.0, 30.0], [4]).unwrap();
    let weighted = WeightedSamples::new(&data, weights).unwrap();
    let (_, batch) = weighted.batch(&[3, 1]).unwrap();
    assert_eq!((batch.target.to_vec(), batch.weights.to_vec()), (vec![3.0, 1.0], vec![30.0, 10.0]));
    assert!(weighted.batch(&[4]).is_err());
    for bad in [vec![1.0; 3], vec![1.0, 1.0, 1.0, -1.0], vec![1.0, 1.0, 1.0, f32::NAN]] {
        let length = bad.len();
        assert!(WeightedSamples::new(&data, Tensor::from_vec(bad, [length]).unwrap()).is_err());
    }
}

#[test]
fn a_metric_without_weights_counts_every_sample_alike() {
    let scores = Tensor::eye(3).unwrap();
    let target = Tensor::from_vec(vec![0, 2, 2], [3]).unwrap();
    let mut plain = Metric::<Tensor<u32>>::start(&Accuracy);
    plain.update(&scores, &target).unwrap();
    let weights = Tensor::from_vec(vec![9.0, 1.0, 1.0], [3]).unwrap();
    let metric: &dyn Metric<Weighted<Tensor<u32>>> = &Unweighted(Accuracy);
    let mut unweighted = metric.start();
    unweighted.update(&scores, &Weighted { target, weights }).unwrap();
    assert_eq!((metric.name(), unweighted.value()), ("accuracy", plain.value()));
    let mut again = metric.start();
    again.load_state(&unweighted.state().unwrap()).unwrap();
    assert_eq!(again.value(), plain.value());
}
