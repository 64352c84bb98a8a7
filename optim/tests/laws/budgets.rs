//! Batches of samples of like length, and of so many tokens, in a run of the trainer.

use std::collections::BTreeMap;

use cairn_datasets::{Dataset, Loader, TensorDataset};
use cairn_nn::{Module, Sequential, SparseCategoricalCrossentropy, spec};
use cairn_optim::{Adam, Batch, Callback, Control, Error, Fit, Result, Trainer};
use cairn_tensor::{AnyTensor, Tensor, rng};

const SAMPLES: usize = 90;
const TOKENS: usize = 40;

fn data() -> TensorDataset<f32, u32> {
    let x = Tensor::linspace(-1.0, 1.0, 3 * SAMPLES).unwrap().reshape([SAMPLES, 3]).unwrap();
    let y = (0..SAMPLES).map(|i| (i % 2) as u32).collect();
    TensorDataset::new(x, Tensor::from_vec(y, [SAMPLES]).unwrap()).unwrap()
}

fn lengths() -> Vec<usize> {
    (0..SAMPLES).map(|i| 1 + i * i % 13).collect()
}

/// Stops a run after so many batches, and counts them.
struct Count {
    seen: usize,
    stop: usize,
}

impl Callback for Count {
    fn on_batch(&mut self, _: &Batch, control: &mut Control<'_>) -> Result<()> {
        self.seen += 1;
        if self.seen == self.stop {
            control.stop();
        }
        Ok(())
    }
}

fn train(fit: Fit<'_, Tensor<f32>, Tensor<u32>>) -> Result<BTreeMap<String, AnyTensor>> {
    let model = Sequential::new([3]).add(spec::Dense::new(2)).build(&mut rng(1)).unwrap();
    Trainer::new(Adam::new(0.01), SparseCategoricalCrossentropy).fit(&model, &data(), fit.quiet())?;
    Ok(model.state())
}

#[test]
fn steps_are_those_of_the_loader_and_an_interrupted_run_ends_alike() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.cairn");
    let data = data();
    let loader = Loader::new(&data).group_by_length(lengths()).unwrap().max_tokens(TOKENS);
    let fit = || Fit::epochs(2).seed(3).max_tokens(TOKENS, lengths());
    let mut all = Count { seen: 0, stop: usize::MAX };
    let whole = train(fit().callback(&mut all)).unwrap();
    assert_eq!(all.seen, 2 * loader.batches());
    assert!(
        loader.batches() > SAMPLES * 7 / TOKENS && loader.batches() < SAMPLES / 2,
        "{}",
        loader.batches()
    );
    // In the middle of the second epoch, where batches are of other sizes than in the first.
    let stop = loader.batches() + 5;
    train(fit().checkpoint(&path, 1000).callback(Count { seen: 0, stop })).unwrap();
    let go_on = |fit: Fit<'static, _, _>| {
        train(fit.checkpoint(&path, 1000).resume().callback(Count { seen: 0, stop: usize::MAX }))
    };
    let other = go_on(fit().max_tokens(TOKENS + 1, lengths())).unwrap_err();
    assert!(other.to_string().contains("batch_size"), "{other}");
    let resumed = go_on(fit()).unwrap();
    assert!(whole == resumed);
    assert!(whole != train(Fit::epochs(2).seed(3).group_by_length(lengths())).unwrap());
}

#[test]
fn samples_that_are_held_back_are_of_no_batch() {
    let mut all = Count { seen: 0, stop: usize::MAX };
    train(Fit::epochs(1).max_tokens(TOKENS, lengths()).validation_split(0.5).callback(&mut all)).unwrap();
    let half = data().subset((0..SAMPLES / 2).collect()).unwrap();
    let loader = Loader::new(&half).group_by_length(lengths()[..SAMPLES / 2].to_vec()).unwrap();
    assert_eq!(all.seen, loader.max_tokens(TOKENS).batches());
}

#[test]
fn lengths_that_are_not_one_for_each_sample_are_refused_and_so_is_no_budget() {
    let error = train(Fit::epochs(1).max_tokens(TOKENS, vec![1; 7])).unwrap_err();
    assert!(matches!(error, Error::BadSetting(_)), "{error:?}");
    assert!(error.to_string().contains("7 for 90 samples"), "{error}");
    assert!(train(Fit::epochs(1).max_tokens(0, lengths())).is_err());
}
