//! Callbacks, and what else a fit can be told.

use std::collections::HashMap;
use std::fs;

use cairn_datasets::{Dataset, ImageDataset, TensorDataset, synthetic};
use cairn_nn::{Module, Sequential, SparseCategoricalCrossentropy, cross_entropy, load_weights, spec::Dense};
use cairn_optim::schedules::{Exponential, Step};
use cairn_optim::{
    Batch, Callback, CheckpointAverage, Control, CsvLog, EarlyStopping, Ema, Epoch, Error, Fit, Goal,
    ModelCheckpoint, ReduceOnPlateau, Result, Sgd, TensorBoard, Trainer, metrics::Accuracy,
};
use cairn_tensor::{Tensor, rng};

fn data() -> ImageDataset {
    synthetic::digits(120, 3).unwrap().flatten()
}

fn model() -> Sequential {
    Sequential::new([784]).add(Dense::new(10)).build(&mut rng(5)).unwrap()
}

fn trainer() -> Trainer<Tensor<u32>> {
    Trainer::new(Sgd::new(0.1), SparseCategoricalCrossentropy).metric(Accuracy)
}

/// Keeps what it is told.
#[derive(Default)]
struct Seen {
    batches: Vec<Batch>,
    epochs: Vec<Epoch>,
    rates: Vec<f64>,
}

impl Callback for Seen {
    fn on_batch(&mut self, batch: &Batch, _: &mut Control<'_>) -> Result<()> {
        self.batches.push(*batch);
        Ok(())
    }
    fn on_epoch(&mut self, epoch: &Epoch, control: &mut Control<'_>) -> Result<()> {
        self.rates.push(control.learning_rate());
        self.epochs.push(epoch.clone());
        Ok(())
    }
}

#[test]
fn callbacks_see_each_batch_and_epoch_and_schedules_move_the_rate() {
    let mut seen = Seen::default();
    let fit = Fit::epochs(2).batch_size(50).schedule(Exponential::new(0.5)).callback(&mut seen).quiet();
    let mut trainer = trainer();
    let history = trainer.fit(&model(), &data(), fit).unwrap();
    assert_eq!(seen.epochs, history.epochs());
    let rates: Vec<f64> = seen.batches.iter().map(|batch| batch.learning_rate).collect();
    assert_eq!(rates, [0.1, 0.05, 0.025, 0.0125, 0.00625, 0.003125]);
    let places: Vec<_> = seen.batches.iter().map(|batch| (batch.epoch, batch.batch, batch.step)).collect();
    assert_eq!(places, [(1, 1, 1), (1, 2, 2), (1, 3, 3), (2, 1, 4), (2, 2, 5), (2, 3, 6)]);
    assert_eq!(trainer.optimizer().learning_rate(), 0.1, "the schedule was for that run");

    let mut seen = Seen::default();
    let fit = Fit::epochs(3).batch_size(60).schedule_epochs(Step::new(2)).callback(&mut seen).quiet();
    trainer.fit(&model(), &data(), fit).unwrap();
    let rates: Vec<f64> = seen.batches.iter().map(|batch| batch.learning_rate).collect();
    assert_eq!(rates, [0.1, 0.1, 0.1, 0.1, 0.1 * 0.1, 0.1 * 0.1]);
}

#[test]
fn accumulated_batches_make_the_step_of_a_large_one() {
    let run = |batch: usize, accumulate: usize| {
        let (model, mut seen) = (model(), Seen::default());
        let fit = Fit::epochs(1).batch_size(batch).accumulate(accumulate).callback(&mut seen).quiet();
        trainer().fit(&model, &data(), fit).unwrap();
        (model.state()["dense.weight"].clone(), seen.batches.last().unwrap().step)
    };
    // 120 samples: three steps of 50, 50 and 20 either way.
    let ((one, a), (other, b)) = (run(50, 1), run(10, 5));
    assert_eq!((a, b), (3, 3));
    let (one, other) = (one.as_f32().unwrap(), other.as_f32().unwrap());
    let furthest = one.sub(other).unwrap().abs().unwrap().max(..).unwrap().item().unwrap();
    assert!(furthest < 1e-5, "{furthest}");
}

/// Gives the values of `series` in turn as a metric would.
fn fed(series: &[f64], callback: &mut dyn Callback) -> (usize, Vec<f64>) {
    struct Feed<'a>(&'a [f64], &'a mut dyn Callback, Vec<f64>);
    impl Callback for Feed<'_> {
        fn on_epoch(&mut self, epoch: &Epoch, control: &mut Control<'_>) -> Result<()> {
            let values = vec![("watched".to_owned(), self.0[epoch.epoch - 1])];
            self.1.on_epoch(&Epoch { values, ..epoch.clone() }, control)?;
            self.2.push(control.learning_rate());
            Ok(())
        }
        fn on_end(&mut self, control: &mut Control<'_>) -> Result<()> {
            self.1.on_end(control)
        }
    }
    let data = TensorDataset::new(Tensor::<f32>::zeros([1, 1]).unwrap(), Tensor::<u32>::zeros([1]).unwrap());
    let model = Sequential::new([1]).add(Dense::new(2)).build(&mut rng(0)).unwrap();
    let mut feed = Feed(series, callback, Vec::new());
    let fit = Fit::epochs(series.len()).callback(&mut feed).quiet();
    let mut trainer = Trainer::new(Sgd::new(1.0), SparseCategoricalCrossentropy);
    let history = trainer.fit(&model, &data.unwrap(), fit).unwrap();
    (history.epochs().len(), feed.2)
}

#[test]
fn rates_fall_on_a_plateau_as_in_pytorch() {
    let golden: HashMap<String, Vec<f64>> =
        serde_json::from_str(include_str!("../golden/schedules.json")).unwrap();
    // That of `golden/schedules.py`.
    let losses = [
        1.0, 0.9, 0.95, 0.9, 0.91, 0.92, 0.8, 0.80001, 0.79999, 0.8, 0.81, 0.7, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9,
    ];
    let low = || ReduceOnPlateau::new(Goal::low("watched"));
    for (name, mut plateau) in [
        ("plateau", low().factor(0.5).patience(2)),
        ("plateau_settings", low().patience(1).cooldown(2).threshold(0.05).min_rate(0.005)),
    ] {
        let (_, rates) = fed(&losses, &mut plateau);
        for (epoch, (got, want)) in rates.iter().zip(&golden[name]).enumerate() {
            assert!((got - want).abs() < 1e-12, "{name}, epoch {epoch}: {rates:?}");
        }
    }
}

#[test]
fn training_stops_early_with_the_best_weights() {
    let series = [0.5, 0.8, 0.7, 0.79, 0.805, 0.9];
    assert_eq!(fed(&series, &mut EarlyStopping::new(Goal::high("watched"), 2)).0, 4);
    assert_eq!(fed(&series, &mut EarlyStopping::new(Goal::high("watched"), 3)).0, 6);
    assert_eq!(fed(&series, &mut EarlyStopping::new(Goal::high("watched"), 3).min_delta(0.01)).0, 5);
    assert_eq!(fed(&series, &mut EarlyStopping::new(Goal::low("watched"), 2)).0, 3);

    // A rate that grows until it ruins the model: the best epoch's weights are put back.
    let (train, test) = data().split(0.5, 1).unwrap();
    let (model, mut trainer) = (model(), trainer());
    let fit = Fit::epochs(40)
        .schedule_epochs(Exponential::new(2.0))
        .validate(&test)
        .callback(EarlyStopping::new(Goal::low("val_loss"), 2))
        .quiet();
    let history = trainer.fit(&model, &train, fit).unwrap();
    assert!(history.epochs().len() < 40);
    let best = history.values("val_loss").into_iter().fold(f64::INFINITY, f64::min);
    assert!(history.last("val_loss").unwrap() > best);
    assert_eq!(trainer.evaluate(&model, &test).unwrap().loss(), best);

    let fit = Fit::epochs(2).callback(EarlyStopping::new(Goal::low("val_loss"), 2)).quiet();
    let error = trainer.fit(&model, &train, fit).unwrap_err();
    assert!(matches!(error, Error::NoSuchValue { .. }), "{error}");
    assert!(error.to_string().contains("loss, accuracy"), "{error}");
}

/// Makes the third epoch's loss infinite.
struct Ruin;

impl Callback for Ruin {
    fn on_epoch(&mut self, epoch: &Epoch, control: &mut Control<'_>) -> Result<()> {
        if epoch.epoch == 2 {
            control.set_learning_rate(1e38);
        }
        Ok(())
    }
}

#[test]
fn best_weights_and_history_survive_an_error() {
    let (train, test) = data().split(0.5, 1).unwrap();
    let fit = || Fit::epochs(9).batch_size(20).validate(&test).callback(Ruin).quiet();
    let (lost, mut trainer) = (model(), trainer());
    trainer.fit(&lost, &train, fit()).unwrap_err();
    let (model, mut trainer) = (model(), self::trainer());
    assert!(trainer.history().epochs().is_empty());
    let stopping = EarlyStopping::new(Goal::low("val_loss"), 5);
    let error = trainer.fit(&model, &train, fit().callback(stopping)).unwrap_err();
    let history = trainer.history().clone();
    assert_eq!(history.epochs().len(), 2, "{error}");
    let best = history.values("val_loss").into_iter().fold(f64::INFINITY, f64::min);
    assert_eq!(trainer.evaluate(&model, &test).unwrap().loss(), best);
    assert_ne!(lost.state(), model.state(), "without it the model is as before the step");
    // The next run's epochs take their place.
    trainer.optimizer().set_learning_rate(0.1);
    trainer.fit(&model, &train, Fit::epochs(1).quiet()).unwrap();
    assert_eq!(trainer.history().epochs().len(), 1);
}

#[test]
fn models_and_values_are_written_as_training_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (model, mut trainer) = (model(), trainer());
    let fit = Fit::epochs(4)
        .validation_split(0.25)
        .callback(ModelCheckpoint::best(path("best.cairn"), Goal::low("val_loss")))
        .callback(ModelCheckpoint::every(path("{epoch}.cairn"), 2))
        .callback(CsvLog::new(path("log.csv")))
        .callback(TensorBoard::new(path("board")))
        .quiet();
    let history = trainer.fit(&model, &data(), fit).unwrap();
    assert_eq!(history.epochs()[0].samples, 90);
    let names: Vec<&str> = history.names().collect();
    assert_eq!(names, ["loss", "accuracy", "val_loss", "val_accuracy"]);

    let again = self::model();
    load_weights(&again, path("4.cairn")).unwrap();
    assert_eq!(again.state(), model.state());
    assert!(path("2.cairn").exists() && !path("1.cairn").exists() && !path("3.cairn").exists());
    load_weights(&again, path("best.cairn")).unwrap();
    let held = data().subset((90..120).collect()).unwrap();
    let best = history.values("val_loss").into_iter().fold(f64::INFINITY, f64::min);
    assert_eq!(trainer.evaluate(&again, &held).unwrap().loss(), best);

    let text = fs::read_to_string(path("log.csv")).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows[0], ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds"]);
    assert_eq!(rows.len(), 5);
    for (row, epoch) in rows[1..].iter().zip(history.epochs()) {
        assert_eq!(row[0], epoch.epoch.to_string());
        assert_eq!(row[3].parse::<f64>().ok(), epoch.get("val_loss"));
    }

    let svg = history.svg(&["loss", "val_loss", "no such value"]);
    assert_eq!(svg.matches("<polyline").count(), 2);
    assert_eq!(svg.matches(',').count(), 8, "a point for each epoch of both");
    assert!(!svg.contains("NaN") && svg.ends_with("</svg>"));

    let events: Vec<_> = fs::read_dir(path("board")).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(events.len(), 1);
    assert!(events[0].file_name().to_string_lossy().contains("tfevents"));
    let scalars = scalars(&fs::read(events[0].path()).unwrap());
    for epoch in history.epochs() {
        let expected: Vec<(String, f32)> = epoch.values.iter().map(|(n, v)| (n.clone(), *v as f32)).collect();
        assert_eq!(scalars[epoch.epoch][..4], expected);
        assert_eq!(scalars[epoch.epoch][4], ("learning_rate".to_owned(), 0.1));
    }
}

/// Tags and values of each record of an event file whose messages are shorter than 128 bytes or 16384: enough of a reader
/// to check the writer by. The checksum is computed bit by bit.
fn scalars(mut file: &[u8]) -> Vec<Vec<(String, f32)>> {
    let checked = |content: &[u8], sum: &[u8]| {
        let mut crc = !0u32;
        for byte in content {
            crc ^= u32::from(*byte);
            (0..8).for_each(|_| crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 });
        }
        let masked = (!crc).rotate_right(15).wrapping_add(0xa282_ead8);
        assert_eq!(masked.to_le_bytes(), sum);
    };
    let mut records = Vec::new();
    while !file.is_empty() {
        let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        checked(&file[..8], &file[8..12]);
        let content = &file[12..12 + length];
        checked(content, &file[12 + length..16 + length]);
        file = &file[16 + length..];
        // Wall time and step take nine and two bytes; then a tag, a length of one or two bytes, and the summary.
        assert_eq!((content[0], content[9], content[10]), (0x09, 0x10, records.len() as u8));
        let (field, mut summary) = (content[11], &content[if content[12] < 128 { 13 } else { 14 }..]);
        let mut values = Vec::new();
        while field == 0x2a && !summary.is_empty() {
            let name = summary[3] as usize;
            let tag = String::from_utf8(summary[4..4 + name].to_vec()).unwrap();
            assert_eq!((summary[0], summary[2], summary[4 + name]), (0x0a, 0x0a, 0x15));
            values.push((tag, f32::from_le_bytes(summary[5 + name..9 + name].try_into().unwrap())));
            summary = &summary[9 + name..];
        }
        records.push(values);
    }
    records
}

#[test]
fn steps_of_your_own_train_the_same_way() {
    let (a, b) = (model(), model());
    let usual = trainer().fit(&a, &data(), Fit::epochs(2).quiet()).unwrap();
    let own = trainer()
        .fit_with(&b, &data(), Fit::epochs(2).quiet(), |model, x, labels, cx| {
            let scores = model.forward(x, cx)?;
            Ok((cross_entropy(&scores, labels)?, scores))
        })
        .unwrap();
    assert_eq!(a.state(), b.state());
    assert_eq!(usual.values("loss"), own.values("loss"));
}

#[test]
fn the_average_of_weights_is_left_in_the_model() {
    let (model, plain) = (model(), model());
    let mut average = Ema::new(0.9);
    trainer().fit(&model, &data(), Fit::epochs(2).callback(&mut average).quiet()).unwrap();
    trainer().fit(&plain, &data(), Fit::epochs(2).quiet()).unwrap();
    assert_ne!(model.state(), plain.state());
    average.swap(&model).unwrap();
    assert_eq!(model.state(), plain.state());
}

#[test]
fn the_mean_of_the_last_epochs_is_left_in_the_model_and_survives_an_interruption() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("training.cairn");
    let fit = |epochs| Fit::epochs(epochs).checkpoint(&path, 1000).resume().quiet();
    let (interrupted, whole) = (model(), model());
    let mut average = CheckpointAverage::new(2);
    trainer().fit(&whole, &data(), Fit::epochs(4).callback(&mut average).quiet()).unwrap();
    assert_eq!(average.len(), 2);
    trainer().fit(&interrupted, &data(), fit(3).callback(CheckpointAverage::new(2))).unwrap();
    trainer().fit(&interrupted, &data(), fit(4).callback(CheckpointAverage::new(2))).unwrap();
    assert_eq!(interrupted.state(), whole.state());
    let last = whole.state();
    average.swap(&whole).unwrap();
    assert_ne!(whole.state(), last);
}

#[test]
fn what_makes_no_sense_is_refused() {
    for fit in [
        Fit::epochs(1).accumulate(0),
        Fit::epochs(1).validation_split(0.0),
        Fit::epochs(1).validation_split(1.0),
        Fit::epochs(1).validation_split(0.999),
        Fit::epochs(1).clip_norm_by_layer(0.0),
        Fit::epochs(1).clip_value(-1.0),
        Fit::epochs(1).checkpoint("nowhere", 0),
        Fit::epochs(1).schedule(|_| -1.0),
        Fit::epochs(1).schedule(|_| f64::NAN),
        Fit::epochs(1).callback(CsvLog::new("/no/such/folder/log.csv")),
    ] {
        let what = format!("{fit:?}");
        assert!(trainer().fit(&model(), &data(), fit.quiet()).is_err(), "{what}");
    }
}
