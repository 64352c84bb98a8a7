//! Saving a run, and going on with it.

use cairn_nn::{Model, Module};

use super::checkpoint::{Plan, Saved};
use super::evaluation::Running;
use super::fit::Shuffle;
use super::progress::Progress;
use super::run::Run;
use crate::{Error, Result, StateDict};

impl<X: Send, Y: Send> Run<'_, '_, X, Y> {
    /// What must not change when the run is gone on with.
    pub(super) fn plan(&self, samples: usize) -> Plan {
        let fit = &self.fit;
        let text = |name: &str, value: &dyn std::fmt::Debug| (name.to_owned(), format!("{value:?}"));
        let shuffle = match fit.shuffle {
            Shuffle::No => "false".to_owned(),
            Shuffle::All => "true".to_owned(),
            Shuffle::Blocks { block, together } => format!("blocks of {block}, {together} together"),
        };
        let batches = match (&fit.lengths, fit.max_tokens) {
            (_, Some(tokens)) => format!("{tokens} tokens"),
            (Some(_), None) => format!("{} of like length", fit.batch_size),
            (None, None) => fit.batch_size.to_string(),
        };
        let settings = vec![
            text("samples", &samples),
            ("batch_size".to_owned(), batches),
            ("shuffle".to_owned(), shuffle),
            text("seed", &fit.seed),
            text("accumulate", &fit.accumulate),
            text("clip", &fit.clip),
            ("optimizer".to_owned(), self.optimizer.settings()),
        ];
        let rates = fit.schedule.as_ref().map(|(unit, schedule)| {
            // A schedule is a function; these places tell it from another.
            let places = std::iter::once(0).chain((0..20).map(|power| 1 << power));
            (format!("{unit:?}"), places.map(|step| schedule.factor(step)).collect())
        });
        Plan { settings, rates, rate: self.start_rate, epochs: fit.epochs }
    }

    /// Writes the checkpoint, if there is to be one.
    pub(super) fn save(
        &mut self,
        model: &impl Module,
        samples: usize,
        running: Option<&Running<'_, Y>>,
    ) -> Result<()> {
        let Some(checkpoint) = &self.fit.checkpoint else { return Ok(()) };
        let optimizer = match &self.shared {
            None => self.optimizer.state(),
            Some(shared) => shared.state(self.optimizer)?,
        };
        if !self.writes() {
            return Ok(());
        }
        checkpoint.write(&Saved {
            plan: self.plan(samples),
            position: self.position,
            stopped: self.over,
            rate: self.rate,
            model: model.state(),
            optimizer,
            running: running.map_or(Ok(Vec::new()), Running::state)?,
            callbacks: self.fit.callbacks.iter().map(|callback| callback.state()).collect(),
            history: self.history.without_times(),
        })
    }

    /// Takes over what the checkpoint holds, if there is one; returns the state of the epoch that has begun.
    pub(super) fn resume<M: Model<X>>(&mut self, model: &M, samples: usize) -> Result<Vec<StateDict>> {
        let Some(checkpoint) = self.fit.checkpoint.as_ref().filter(|_| self.fit.resume) else {
            return Ok(Vec::new());
        };
        let bytes = match &self.shared {
            None => checkpoint.bytes()?,
            // Of many processes one may have it: where they share no files.
            Some(shared) => {
                let known = if shared.is_first() { checkpoint.bytes() } else { Ok(Vec::new()) };
                shared.of_first("the checkpoint", known)?
            }
        };
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        let saved = checkpoint.decode(&bytes, &self.plan(samples))?;
        let (found, needed) = (saved.callbacks.len(), self.fit.callbacks.len());
        if found != needed {
            let kinds: Vec<&str> = saved.callbacks.iter().map(|state| state.kind.as_str()).collect();
            return Err(Error::BadState(format!(
                "the checkpoint is of a run with {found} callbacks {kinds:?}, this one has {needed}: give it the same, in the \
                 same order, or begin anew with another file"
            )));
        }
        model.load_state(&saved.model)?;
        self.optimizer.load_state(saved.optimizer)?;
        for (callback, state) in self.fit.callbacks.iter_mut().zip(&saved.callbacks) {
            callback.load_state(state, model)?;
        }
        (self.position, self.rate, self.start_rate) = (saved.position, saved.rate, saved.plan.rate);
        self.history = saved.history;
        // A callback's word holds until more epochs are asked for than it ended.
        self.over = saved.stopped && self.fit.epochs <= saved.plan.epochs;
        self.stop = self.over;
        self.say_where(&checkpoint.path.display().to_string(), saved.plan.epochs);
        Ok(saved.running)
    }

    /// Says where the run goes on, or why it does not.
    fn say_where(&self, path: &str, asked: usize) {
        let (epoch, batches) = (self.position.epoch, self.position.batches);
        let done = epoch - 1;
        let text = if self.over {
            format!(
                "resumed from {path}: a callback ended this run after epoch {done}; ask for more than {asked} epochs to go on"
            )
        } else if done >= self.fit.epochs {
            format!("resumed from {path}: all {done} epochs are done; ask for more to go on")
        } else if batches > 0 {
            format!("resumed from {path}: epoch {epoch}, after batch {batches}")
        } else {
            format!("resumed from {path}: epoch {epoch}")
        };
        Progress::note(self.fit.quiet, &text);
    }
}
