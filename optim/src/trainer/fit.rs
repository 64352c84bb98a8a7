//! The options of a run.

use std::fmt;
use std::path::{Path, PathBuf};

use cairn_datasets::Dataset;

use super::Callback;
use super::checkpoint::Checkpoint;
use cairn_tensor::Setting;

use crate::Result;
use crate::processes::Communicator;
use crate::schedules::Schedule;

/// How to fit: number of epochs, batches, validation, the learning rate, and what else happens. The arguments of Keras's `fit`.
///
/// Defaults as in Keras: batches of 32, shuffled in each epoch. The seed, 0 unless given, fixes the order of samples and
/// whatever is random in the model, so that the same call gives the same bits.
pub struct Fit<'a, X, Y> {
    pub(super) epochs: usize,
    pub(super) batch_size: usize,
    pub(super) lengths: Option<Vec<usize>>,
    pub(super) max_tokens: Option<usize>,
    pub(super) shuffle: Shuffle,
    pub(super) seed: u64,
    pub(super) accumulate: usize,
    pub(super) clip: Vec<Clip>,
    pub(super) quiet: bool,
    pub(super) validation: Option<&'a dyn Dataset<Input = X, Target = Y>>,
    pub(super) validation_split: Option<f64>,
    pub(super) schedule: Option<(Unit, Box<dyn Schedule + 'a>)>,
    pub(super) callbacks: Vec<Box<dyn Callback + 'a>>,
    pub(super) checkpoint: Option<Checkpoint>,
    pub(super) resume: bool,
    pub(super) processes: Option<&'a dyn Communicator>,
    pub(super) shard_optimizer: bool,
    pub(super) report: Option<PathBuf>,
}

/// In which order samples come.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shuffle {
    /// Their own.
    No,
    /// Any.
    All,
    /// Blocks of so many samples in any order, samples among so many blocks.
    Blocks { block: usize, together: usize },
}

/// A limit on gradients.
#[derive(Debug, Clone, Copy)]
pub(super) enum Clip {
    GlobalNorm(f32),
    Norm(f32),
    Value(f32),
}

/// What a schedule counts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unit {
    Step,
    Epoch,
}

impl<X, Y> fmt::Debug for Fit<'_, X, Y> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fit")
            .field("epochs", &self.epochs)
            .field("batch_size", &self.batch_size)
            .field("shuffle", &self.shuffle)
            .field("seed", &self.seed)
            .field("accumulate", &self.accumulate)
            .field("clip", &self.clip)
            .field("validates", &(self.validation.is_some() || self.validation_split.is_some()))
            .field("callbacks", &self.callbacks.len())
            .field("checkpoint", &self.checkpoint)
            .finish_non_exhaustive()
    }
}

impl<'a, X, Y> Fit<'a, X, Y> {
    /// This many passes over the data.
    pub fn epochs(epochs: usize) -> Self {
        Fit {
            epochs,
            batch_size: 32,
            lengths: None,
            max_tokens: None,
            shuffle: Shuffle::All,
            seed: 0,
            accumulate: 1,
            clip: Vec::new(),
            quiet: false,
            validation: None,
            validation_split: None,
            schedule: None,
            callbacks: Vec::new(),
            checkpoint: None,
            resume: false,
            processes: None,
            shard_optimizer: false,
            report: None,
        }
    }

    /// Samples in a batch.
    #[must_use]
    pub fn batch_size(self, batch_size: usize) -> Self {
        Fit { batch_size, ..self }
    }

    /// Puts samples of like length into the same batch, so that little is padded: `lengths` has one for each sample, see
    /// [`Loader::group_by_length`](cairn_datasets::Loader::group_by_length).
    #[must_use]
    pub fn group_by_length(self, lengths: Vec<usize>) -> Self {
        Fit { lengths: Some(lengths), ..self }
    }

    /// Fills batches by a budget of tokens, padding counted, in place of a number of samples, as translators are trained: see
    /// [`Loader::max_tokens`](cairn_datasets::Loader::max_tokens). `lengths` has one for each sample.
    ///
    /// ```
    /// use cairn_datasets::text::{Padded, Padding, SequenceDataset};
    /// use cairn_nn::{Model, SparseCategoricalCrossentropy};
    /// use cairn_optim::{Adam, Fit, Trainer};
    ///
    /// fn train(model: &impl Model<Padded>, sentences: Vec<Vec<u32>>, labels: Vec<u32>) -> cairn_optim::Result<()> {
    ///     let data = SequenceDataset::new(sentences, labels, Padding::new())?;
    ///     let fit = Fit::epochs(10).max_tokens(4096, data.lengths());
    ///     Trainer::new(Adam::default(), SparseCategoricalCrossentropy).fit(model, &data, fit)?;
    ///     Ok(())
    /// }
    /// ```
    #[doc(alias = "token budget")]
    #[must_use]
    pub fn max_tokens(self, tokens: usize, lengths: Vec<usize>) -> Self {
        Fit { max_tokens: Some(tokens), lengths: Some(lengths), ..self }
    }

    /// Whether samples come in a new random order in each epoch.
    #[must_use]
    pub fn shuffle(self, shuffle: bool) -> Self {
        Fit { shuffle: if shuffle { Shuffle::All } else { Shuffle::No }, ..self }
    }

    /// Samples come in a new random order in each epoch that is kind to slow disks: blocks of `block` neighbours in any order, and samples
    /// shuffled among every `together` blocks, see [`Loader::shuffle_blocks`](cairn_datasets::Loader::shuffle_blocks). For data sets
    /// that are read as they are trained on, [`NpyDataset`](cairn_datasets::NpyDataset) say; where reading from anywhere costs the
    /// same, as on a solid-state disk with samples of some kilobytes, [`shuffle`](Self::shuffle) does as well.
    ///
    /// ```
    /// # use cairn_datasets::NpyDataset;
    /// # use cairn_nn::{Sequential, SparseCategoricalCrossentropy, spec::Dense};
    /// # use cairn_optim::{Adam, Fit, Trainer};
    /// # fn train() -> cairn_optim::Result<()> {
    /// let train = NpyDataset::<f32, u32>::open("inputs.npy", "labels.npy")?; // 100 GB, say
    /// let model = Sequential::new([784]).add(Dense::new(10)).build(&mut cairn_tensor::rng(0))?;
    /// let fit = Fit::epochs(3).shuffle_blocks(1024, 64).checkpoint("run.cairn", 1000).resume();
    /// Trainer::new(Adam::default(), SparseCategoricalCrossentropy).fit(&model, &train, fit)?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "shuffle_buffer")]
    #[must_use]
    pub fn shuffle_blocks(self, block: usize, together: usize) -> Self {
        Fit { shuffle: Shuffle::Blocks { block, together }, ..self }
    }

    /// The seed of everything random.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Fit { seed, ..self }
    }

    /// Makes one step for `batches` batches, by the gradient of the mean loss over all of them. The last step of an epoch may
    /// have fewer. Batches count by their samples, or what they weigh, so the loss needs no scaling; nor does it for precision, since
    /// losses and gradients are `f32` throughout. Normalisation takes its statistics of each batch; the running ones become the mean of
    /// what the batches make of them.
    #[doc(alias = "gradient_accumulation_steps")]
    #[doc(alias = "accumulate_grad_batches")]
    #[must_use]
    pub fn accumulate(self, batches: usize) -> Self {
        Fit { accumulate: batches, ..self }
    }

    /// Scales gradients down together to this global norm where they exceed it.
    #[doc(alias = "clip_grad_norm_")]
    #[doc(alias = "global_clipnorm")]
    #[must_use]
    pub fn clip_norm(mut self, limit: f32) -> Self {
        self.clip.push(Clip::GlobalNorm(limit));
        self
    }

    /// Scales each parameter's gradient down to this norm where it exceeds it.
    #[doc(alias = "clipnorm")]
    #[must_use]
    pub fn clip_norm_by_layer(mut self, limit: f32) -> Self {
        self.clip.push(Clip::Norm(limit));
        self
    }

    /// Holds each element of gradients within ± this.
    #[doc(alias = "clip_grad_value_")]
    #[doc(alias = "clipvalue")]
    #[must_use]
    pub fn clip_value(mut self, limit: f32) -> Self {
        self.clip.push(Clip::Value(limit));
        self
    }

    /// Evaluates on these data after each epoch; results are reported with `val_` before their names.
    #[doc(alias = "validation_data")]
    #[must_use]
    pub fn validate<D: Dataset<Input = X, Target = Y>>(self, data: &'a D) -> Self {
        Fit { validation: Some(data), ..self }
    }

    /// Keeps the last `share` of the samples back, before any are shuffled, and evaluates on them after each epoch, as
    /// Keras's `validation_split` does. Takes the place of [`validate`](Self::validate).
    #[must_use]
    pub fn validation_split(self, share: f64) -> Self {
        Fit { validation_split: Some(share), ..self }
    }

    /// Multiplies the base learning rate, that of the optimiser, by a factor for each step.
    #[doc(alias = "lr_scheduler")]
    #[doc(alias = "LearningRateScheduler")]
    #[must_use]
    pub fn schedule(self, schedule: impl Schedule + 'a) -> Self {
        Fit { schedule: Some((Unit::Step, Box::new(schedule))), ..self }
    }

    /// Multiplies the base learning rate by a factor for each epoch, the first of which is 0 to the schedule.
    #[must_use]
    pub fn schedule_epochs(self, schedule: impl Schedule + 'a) -> Self {
        Fit { schedule: Some((Unit::Epoch, Box::new(schedule))), ..self }
    }

    /// Also does this after batches and epochs. Pass `&mut callback` to look at it afterwards.
    #[must_use]
    pub fn callback(mut self, callback: impl Callback + 'a) -> Self {
        self.callbacks.push(Box::new(callback));
        self
    }

    /// Writes everything that is needed to go on into a file, after every `steps` steps and every epoch. The file is
    /// replaced in one step, so whenever the program ends there is a whole one. A file that cannot be written ends
    /// training with an error, and the one before stays.
    #[doc(alias = "BackupAndRestore")]
    #[must_use]
    pub fn checkpoint(self, path: impl AsRef<Path>, steps: u64) -> Self {
        Fit { checkpoint: Some(Checkpoint { path: path.as_ref().into(), steps }), ..self }
    }

    /// Goes on from the [checkpoint](Self::checkpoint), if there is one: the model ends with the same bits as if the run had
    /// not been interrupted. Model, data, optimiser, callbacks and settings must be the same; only the number of epochs may
    /// differ.
    #[must_use]
    pub fn resume(self) -> Self {
        Fit { resume: true, ..self }
    }

    /// Trains together with other processes, which run the same program on the same data: see [`processes`](crate::processes). Each
    /// computes its share of a step's [batches](Self::accumulate), of which there must be at least as many as processes. The result has
    /// the same bits at any number of them.
    ///
    /// ```
    /// use cairn_datasets::synthetic;
    /// use cairn_nn::{Module, Sequential, SparseCategoricalCrossentropy, spec::Dense};
    /// use cairn_optim::{Adam, Fit, Trainer, processes::Threads};
    ///
    /// let train = |size| {
    ///     Threads::run(size, |process| {
    ///         let data = synthetic::digits(64, 1).unwrap().flatten();
    ///         let model = Sequential::new([784]).add(Dense::new(10)).build(&mut cairn_tensor::rng(0)).unwrap();
    ///         let fit = Fit::epochs(1).batch_size(8).accumulate(4).quiet().processes(process);
    ///         Trainer::new(Adam::default(), SparseCategoricalCrossentropy).fit(&model, &data, fit).unwrap();
    ///         model.state()
    ///     })
    /// };
    /// let alone = train(1);
    /// assert!(train(4).iter().all(|state| *state == alone[0]));
    /// ```
    #[doc(alias = "DistributedDataParallel")]
    #[doc(alias = "MirroredStrategy")]
    #[must_use]
    pub fn processes(self, processes: &'a dyn Communicator) -> Self {
        Fit { processes: Some(processes), ..self }
    }

    /// With many [processes](Self::processes) each keeps the running values of an N-th of the parameters only, steps these, and gives
    /// the others the new values: half as many bytes again are exchanged in a step, and of Adam's two values for each weight
    /// 2 / N are held. The result, and the checkpoint, have the same bits as without. For all optimisers but
    /// [`Lamb`](crate::Lamb), whose step depends on whole parameters.
    #[doc(alias = "ZeroRedundancyOptimizer")]
    #[doc(alias = "ZeRO")]
    #[must_use]
    pub fn shard_optimizer(self) -> Self {
        Fit { shard_optimizer: true, ..self }
    }

    /// Writes what the run has cost, when it ends: seconds, exact floating-point operations by layer, the share of the processors' measured
    /// peak, memory, bytes between processes, and energy where the system tells it, with the last loss and metrics beside. A page
    /// for people and JSON for programs, of the same name with the endings `html` and `json`; see [`Report`](crate::report::Report).
    /// A run that goes on from a checkpoint reports on its own part.
    ///
    /// ```no_run
    /// # use cairn_datasets::synthetic;
    /// # use cairn_nn::{Sequential, SparseCategoricalCrossentropy, spec::Dense};
    /// # use cairn_optim::{Adam, Fit, Trainer, metrics::Accuracy};
    /// # let data = synthetic::digits(100, 1)?.flatten();
    /// # let model = Sequential::new([784]).add(Dense::new(10)).build(&mut cairn_tensor::rng(0))?;
    /// let mut trainer = Trainer::new(Adam::default(), SparseCategoricalCrossentropy).metric(Accuracy);
    /// trainer.fit(&model, &data, Fit::epochs(5).report("training.html"))?;
    /// trainer.evaluate_with_report(&model, &data, "answering.html")?;
    /// # Ok::<(), cairn_optim::Error>(())
    /// ```
    #[doc(alias = "FlopCounterMode")]
    #[doc(alias = "codecarbon")]
    #[must_use]
    pub fn report(self, path: impl AsRef<Path>) -> Self {
        Fit { report: Some(path.as_ref().into()), ..self }
    }

    /// Prints nothing.
    #[doc(alias = "verbose")]
    #[must_use]
    pub fn quiet(self) -> Self {
        Fit { quiet: true, ..self }
    }

    pub(super) fn check(&self) -> Result<()> {
        Setting::check("the number of epochs", self.epochs, self.epochs > 0, "at least 1")?;
        Setting::check(
            "the number of batches in a step",
            self.accumulate,
            self.accumulate > 0,
            "at least 1",
        )?;
        if let Shuffle::Blocks { block, together } = self.shuffle {
            Setting::check("the number of samples in a block", block, block > 0, "at least 1")?;
            Setting::check("the number of blocks shuffled together", together, together > 0, "at least 1")?;
        }
        if let Some(share) = self.validation_split {
            Setting::check(
                "the share of validation",
                share,
                share > 0.0 && share < 1.0,
                "above 0 and below 1",
            )?;
        }
        let steps = self.checkpoint.as_ref().map_or(1, |checkpoint| checkpoint.steps);
        Setting::check("the number of steps between checkpoints", steps, steps > 0, "at least 1")?;
        let possible = !self.resume || self.checkpoint.is_some();
        Ok(Setting::check(
            "the number of checkpoints to resume from",
            0,
            possible,
            "one: say which with `checkpoint`",
        )?)
    }
}
