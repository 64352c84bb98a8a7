//! Numbers from outside, however absurd, are answered by a result or an error.

use cairn_datasets::{TensorDataset, synthetic};
use cairn_nn::spec::{Dense, Embedding, Lstm};
use cairn_nn::{MeanSquaredError, Sequential, SparseCategoricalCrossentropy};
use cairn_optim::metrics::{ConfusionMatrix, TopK};
use cairn_optim::{Adam, Fit, Lbfgs, Trainer};
use cairn_tensor::{Tensor, rng};

const HUGE: [usize; 2] = [usize::MAX, usize::MAX / 2 + 1];

fn line() -> TensorDataset<f32, f32> {
    let x = Tensor::linspace(-1.0, 1.0, 8).unwrap().reshape([8, 1]).unwrap();
    TensorDataset::new(x.clone(), x).unwrap()
}

fn model() -> Sequential {
    Sequential::new([1]).add(Dense::new(1)).build(&mut rng(0)).unwrap()
}

#[test]
fn absurd_settings_do_not_end_the_process() {
    for huge in HUGE {
        for fit in [Fit::epochs(1).batch_size(huge), Fit::epochs(1).accumulate(huge)] {
            Trainer::new(Adam::default(), MeanSquaredError).fit(&model(), &line(), fit.quiet()).unwrap();
        }
        let lbfgs = Lbfgs::default().max_iterations(huge).history_size(huge).strong_wolfe(true);
        Trainer::new(lbfgs, MeanSquaredError).fit(&model(), &line(), Fit::epochs(1).quiet()).unwrap();
        let folds = Trainer::new(Adam::default(), MeanSquaredError)
            .cross_validate(&line(), huge, 0, |_| Ok((model(), Fit::epochs(1).quiet())));
        assert!(folds.is_err());
        let matrix = ConfusionMatrix::new(huge);
        assert_eq!(matrix.count(huge - 1, 0), 0);
        assert!(matrix.to_tensor().is_err());
        assert!(
            ConfusionMatrix::new(huge)
                .update(&Tensor::zeros([1, 2]).unwrap(), &Tensor::zeros([1]).unwrap())
                .is_err()
        );
        let digits = synthetic::digits(20, 1).unwrap().flatten();
        let scores = Sequential::new([784]).add(Dense::new(10)).build(&mut rng(0)).unwrap();
        let trainer = Trainer::new(Adam::default(), SparseCategoricalCrossentropy).metric(TopK::new(huge));
        assert_eq!(trainer.evaluate(&scores, &digits).unwrap().values[1].1, 1.0);
        for layer in [Dense::new(huge).into(), Lstm::new(huge).into(), Lstm::new(1).layers(huge).into()] {
            let layer: cairn_nn::spec::LayerSpec = layer;
            assert!(Sequential::new([2, 2]).add(layer).build(&mut rng(0)).is_err());
        }
        assert!(Sequential::new([2]).add(Embedding::new(huge, 2)).build(&mut rng(0)).is_err());
    }
}

#[test]
fn a_sequence_of_nothing_but_padding_trains_with_the_others() {
    let ids = Tensor::from_vec([[3u32, 4]; 8].concat().into_iter().chain([0, 0]).collect(), [9, 2]).unwrap();
    let labels = Tensor::from_vec(vec![1u32, 1, 1, 1, 1, 1, 1, 1, 0], [9]).unwrap();
    let data = TensorDataset::new(ids.clone(), labels).unwrap();
    let model = Sequential::new([2])
        .add(Embedding::new(5, 4).padding(0).masked())
        .add(Lstm::new(3))
        .add(Dense::new(2))
        .build(&mut rng(0))
        .unwrap();
    let mut trainer = Trainer::new(Adam::new(0.1), SparseCategoricalCrossentropy);
    let history = trainer.fit(&model, &data, Fit::epochs(20).batch_size(4).quiet()).unwrap();
    assert!(history.last("loss").unwrap() < 0.1, "{history}");
}
