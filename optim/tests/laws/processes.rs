//! Training on many processes, here threads of this one: checkpoints are the same to the byte at any number of them, also of runs
//! that go on at another number, and what goes wrong on one is an error on all. With MPI: `tests/mpi.rs`.

use std::fs;
use std::time::{Duration, Instant};

use cairn_autograd::Var;
use cairn_datasets::{TensorDataset, synthetic};
use cairn_nn::Activation::Relu;
use cairn_nn::{Buffer, Context, Model, Module, Sequential, SparseCategoricalCrossentropy, spec::Dense};
use cairn_optim::metrics::{Accumulator, Metric};
use cairn_optim::processes::{Communicator, Threads};
use cairn_optim::{
    Adam, AnyOptimizer, Batch, Callback, Control, CsvLog, Error, Fit, Group, Lamb, Lbfgs, ModelCheckpoint,
    NAdam, Result, Sgd, StateDict, Trainer,
};
use cairn_tensor::{Tensor, rng};

use crate::networks::{Labels, Net, train};

/// Ends a run after so many batches, on every process.
struct Interrupt(usize);

impl Callback for Interrupt {
    fn on_batch(&mut self, _: &Batch, _: &mut Control<'_>) -> Result<()> {
        self.0 -= 1;
        if self.0 == 0 { Err(Error::BadState("interrupted".into())) } else { Ok(()) }
    }
}

/// The checkpoint of runs one after another, each on so many processes and ended after so many batches.
fn checkpoint(net: Net, runs: &[(usize, usize)]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.cairn");
    for &(size, batches) in runs {
        let results = Threads::run(size, |process| train(net, process, &path, 5, &mut Interrupt(batches)));
        for result in results {
            assert_eq!(result.is_err(), batches < 100, "{result:?}");
        }
    }
    fs::read(path).unwrap()
}

fn same_at_any_number(net: Net) {
    let alone = checkpoint(net, &[(1, 100)]);
    for size in [2, 3, 4] {
        assert!(checkpoint(net, &[(size, 100)]) == alone, "{net:?} on {size} processes");
    }
    // Ended in the middle of a step of the first epoch, in the middle of the second epoch, and gone on with at other numbers.
    assert!(checkpoint(net, &[(2, 7), (4, 9), (1, 100)]) == alone, "{net:?} resumed");
    assert!(checkpoint(net, &[(1, 14), (4, 100)]) == alone, "{net:?} resumed");
}

#[test]
fn a_perceptron_has_the_same_bits_at_any_number_of_processes() {
    same_at_any_number(Net::Mlp);
}

#[test]
fn a_convolutional_network_with_batch_normalisation_and_dropout_too() {
    same_at_any_number(Net::Cnn);
}

#[test]
fn an_lstm_over_a_sparse_embedding_too() {
    same_at_any_number(Net::Lstm);
}

#[test]
fn a_small_gpt_with_a_tied_embedding_too() {
    same_at_any_number(Net::Gpt);
}

/// The checkpoint of runs with the optimiser in slices, or whole.
fn sharded(optimizer: fn() -> AnyOptimizer, slices: bool, runs: &[(usize, usize)]) -> (Vec<u8>, StateDict) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.cairn");
    let mut states = Vec::new();
    for &(size, batches) in runs {
        states = Threads::run(size, |process| {
            let model = Sequential::new([784]).add(Dense::new(7).activation(Relu)).add(Dense::new(10));
            let model = model.build(&mut rng(1)).unwrap();
            let data = synthetic::digits(60, 1).unwrap().flatten();
            let mut trainer = Trainer::new(optimizer(), SparseCategoricalCrossentropy);
            let fit = Fit::epochs(2).batch_size(5).accumulate(4).clip_norm(0.7).quiet().processes(process);
            let fit = fit.checkpoint(&path, 1).resume().callback(Interrupt(batches));
            let fit = if slices { fit.shard_optimizer() } else { fit };
            assert_eq!(trainer.fit(&model, &data, fit).is_err(), batches < 100);
            trainer.optimizer().state()
        });
    }
    (fs::read(path).unwrap(), states.swap_remove(0))
}

#[test]
fn an_optimiser_in_slices_has_the_same_bits_as_a_whole_one() {
    let optimizers: [fn() -> AnyOptimizer; 3] = [
        || Adam::new(0.01).into(),
        || NAdam::new(0.01).weight_decay(0.1).into(),
        || Sgd::new(0.1).momentum(0.9).group("*.bias", Group::new().rate_factor(2.0)).into(),
    ];
    for optimizer in optimizers {
        let alone = sharded(optimizer, false, &[(1, 100)]);
        assert!(sharded(optimizer, true, &[(1, 100)]) == alone);
        assert!(sharded(optimizer, true, &[(2, 100)]) == alone);
        assert!(sharded(optimizer, true, &[(3, 100)]) == alone);
        assert!(sharded(optimizer, true, &[(4, 7), (2, 9), (3, 100)]) == alone, "resumed");
    }
    let whole = said(|process| {
        let data = synthetic::digits(40, 1).unwrap().flatten();
        let mut trainer = Trainer::new(Lamb::new(0.1), SparseCategoricalCrossentropy);
        trainer.fit(&model(), &data, fit(process).shard_optimizer()).map(|_| ())
    });
    assert!(whole.iter().all(|said| said.contains("need whole parameters")), "{whole:?}");
}

/// One layer, on data with a label for each of 40 samples.
fn model() -> Sequential {
    Sequential::new([784]).add(Dense::new(10)).build(&mut rng(0)).unwrap()
}

fn fit(process: &Threads) -> Fit<'_, Tensor, Labels> {
    Fit::epochs(2).batch_size(5).accumulate(4).quiet().processes(process)
}

fn trainer() -> Trainer<Labels> {
    Trainer::new(Sgd::new(0.1), SparseCategoricalCrossentropy)
}

/// What each of three processes says of a run; none may wait.
fn said(run: impl Fn(&Threads) -> Result<()> + Sync) -> Vec<String> {
    let began = Instant::now();
    let results = Threads::run(3, |process| {
        run(process).map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    });
    // Far from what they take, for a busy machine: waiting would have no end.
    assert!(began.elapsed() < Duration::from_secs(120));
    results
}

#[test]
fn not_a_number_on_one_process_ends_all_with_the_cause() {
    let all = said(|process| {
        let (model, data, mut seen) = (model(), synthetic::digits(40, 1).unwrap().flatten(), 0);
        let result = trainer().fit_with(&model, &data, fit(process), |model, x, labels, cx| {
            seen += 1;
            let output = model.forward(x, cx)?;
            let bad = process.rank() == 1 && seen == 2;
            let loss = cairn_nn::cross_entropy(&output, labels)?.scale(if bad { f32::NAN } else { 1.0 })?;
            Ok((loss, output))
        });
        // The model is as before the step on all of them.
        assert!(model.state().values().all(|value| value.as_f32().unwrap().all_finite().unwrap()));
        result.map(|_| ())
    });
    assert!(all[1].starts_with("the loss is NaN in epoch 1, step 6"), "{}", all[1]);
    for rank in [0, 2] {
        assert_eq!(all[rank], format!("rank 1: {}", all[1]));
    }
}

#[test]
fn a_checkpoint_that_the_first_cannot_write_ends_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing").join("run.cairn");
    let all = said(|process| {
        let data = synthetic::digits(40, 1).unwrap().flatten();
        trainer().fit(&model(), &data, fit(process).checkpoint(&path, 1)).map(|_| ())
    });
    assert!(all[0].contains("run.cairn"), "{}", all[0]);
    assert_eq!(all[1], format!("rank 0: {}", all[0]));
    assert_eq!(all[2], all[1]);
}

#[test]
fn a_difference_is_named_with_its_rank() {
    let differs =
        |change: fn(Fit<'_, Tensor, Labels>) -> Fit<'_, Tensor, Labels>, seed: u64, samples: usize| {
            said(|process| {
                let odd = process.rank() == 2;
                let data = synthetic::digits(if odd { samples } else { 40 }, 1).unwrap().flatten();
                let model = Sequential::new([784])
                    .add(Dense::new(10))
                    .build(&mut rng(if odd { seed } else { 0 }))
                    .unwrap();
                let fit = if odd { change(fit(process)) } else { fit(process) };
                trainer().fit(&model, &data, fit).map(|_| ())
            })
        };
    for (all, what) in [
        (differs(|fit| fit.batch_size(4), 0, 40), "batch_size: 5 on rank 0, 4 on rank 2"),
        (differs(|fit| fit.seed(1), 0, 40), "seed: 0 on rank 0, 1 on rank 2"),
        (differs(|fit| fit, 1, 40), "the values of the model: "),
        (differs(|fit| fit, 0, 41), "samples: 40 on rank 0, 41 on rank 2"),
        (differs(|fit| fit.accumulate(8), 0, 40), "accumulate: 4 on rank 0, 8 on rank 2"),
    ] {
        assert!(all.iter().all(|said| said.starts_with(what)), "{all:?}");
    }
}

#[test]
fn a_process_that_stops_alone_ends_all() {
    struct Stop(bool);
    impl Callback for Stop {
        fn on_batch(&mut self, batch: &Batch, control: &mut Control<'_>) -> Result<()> {
            if self.0 && batch.step == 1 {
                control.stop();
            }
            Ok(())
        }
    }
    let all = said(|process| {
        let data = synthetic::digits(40, 1).unwrap().flatten();
        trainer().fit(&model(), &data, fit(process).callback(Stop(process.rank() == 1))).map(|_| ())
    });
    assert!(
        all.iter().all(|said| said.starts_with("the place in the run: epoch 1, batch 8 on rank 0")),
        "{all:?}"
    );
}

#[test]
fn only_the_first_writes_files() {
    let folder = tempfile::tempdir().unwrap();
    let all = said(|process| {
        let own = folder.path().join(process.rank().to_string());
        fs::create_dir_all(&own).unwrap();
        let data = synthetic::digits(40, 1).unwrap().flatten();
        let fit = fit(process)
            .checkpoint(own.join("run.cairn"), 1)
            .callback(CsvLog::new(own.join("log.csv")))
            .callback(ModelCheckpoint::every(own.join("model.cairn"), 1));
        trainer().fit(&model(), &data, fit).map(|_| ())
    });
    assert_eq!(all, ["fine"; 3]);
    let files = |rank: &str| fs::read_dir(folder.path().join(rank)).unwrap().count();
    assert_eq!([files("0"), files("1"), files("2")], [3, 0, 0]);
}

#[test]
fn what_many_processes_cannot_do_is_refused() {
    let data = || synthetic::digits(40, 1).unwrap().flatten();
    let all = said(|process| trainer().fit(&model(), &data(), fit(process).accumulate(2)).map(|_| ()));
    assert!(
        all.iter().all(|said| said.contains("batches in a step") && said.contains("processes")),
        "{all:?}"
    );
    let all = said(|process| {
        let mut trainer = Trainer::new(Lbfgs::default(), SparseCategoricalCrossentropy);
        trainer.fit(&model(), &data(), fit(process)).map(|_| ())
    });
    assert!(all.iter().all(|said| said.contains("ask for the loss again")), "{all:?}");
    /// A metric of a user, without `merge`.
    struct Count;
    impl Metric<Labels> for Count {
        fn name(&self) -> &str {
            "count"
        }
        fn start(&self) -> Box<dyn Accumulator<Labels>> {
            Box::new(Counted(0.0))
        }
    }
    struct Counted(f64);
    impl Accumulator<Labels> for Counted {
        fn update(&mut self, _: &Tensor, _: &Labels) -> Result<()> {
            self.0 += 1.0;
            Ok(())
        }
        fn value(&self) -> f64 {
            self.0
        }
    }
    let all = said(|process| trainer().metric(Count).fit(&model(), &data(), fit(process)).map(|_| ()));
    assert!(all.iter().all(|said| said.contains("`count`") && said.contains("merge")), "{all:?}");
    // One process needs none of it.
    let alone = Fit::epochs(1).batch_size(5).accumulate(4).quiet();
    let history = trainer().metric(Count).fit(&model(), &data(), alone).unwrap();
    assert_eq!(history.last("count"), Some(8.0));
}

/// Counts its passes and keeps their mean.
#[derive(Module)]
struct Watched {
    layer: cairn_nn::Linear,
    seen: Buffer,
    mean: Buffer,
    constant: Buffer,
}

impl Model<Tensor> for Watched {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> cairn_nn::Result<Var> {
        if cx.is_training() {
            let seen = self.seen.any().downcast_ref::<u32>()?.item()?;
            self.seen.set(Tensor::full([], seen + 1)?);
            self.mean.set(x.mean(..)?);
        }
        self.layer.forward(&x.clone().into())
    }
}

#[test]
fn buffers_become_the_mean_of_what_batches_make_of_them() {
    let x = Tensor::from_vec((0..6).map(|i| i as f32).collect(), [6, 1]).unwrap();
    let data = TensorDataset::new(x, Tensor::<f32>::zeros([6, 1]).unwrap()).unwrap();
    let model = Watched {
        layer: cairn_nn::Linear::new(1, 1, &mut rng(0)).unwrap(),
        seen: Buffer::new(Tensor::full([], 7u32).unwrap()),
        mean: Buffer::new(Tensor::full([], 9.0f32).unwrap()),
        constant: Buffer::new(Tensor::full([3], 0.1f32).unwrap()),
    };
    let fit = Fit::epochs(1).batch_size(2).accumulate(3).shuffle(false).quiet();
    Trainer::new(Sgd::new(0.0), cairn_nn::MeanSquaredError).fit(&model, &data, fit).unwrap();
    // Batches have means .5, 2.5 and 4.5, and each is the eighth pass to the step.
    assert_eq!(model.mean.value().unwrap().item().unwrap(), 2.5);
    assert_eq!(model.seen.value().unwrap().item().unwrap(), 8.0);
    assert_eq!(model.constant.value().unwrap().to_vec(), [0.1; 3]);
}
