//! A language model of letters: two LSTM layers whose states are carried from stretch to stretch of the text (truncated
//! backpropagation through time), the loss of a text under it, and text that it writes.

use cairn_autograd::{Var, no_grad};
use cairn_datasets::Loader;
use cairn_datasets::text::WindowDataset;
use cairn_nn::generate::Sampling;
use cairn_nn::{Context, Dropout, Embedding, Linear, Module, Recurrent, State, cross_entropy, spec::Lstm};
use cairn_tensor::{Rng, Tensor};

const DROPOUT: f32 = 0.2;
const WIDTH: usize = 64;
/// Readers side by side when a text is measured, so that registers are full, and how far each reads at once.
const READERS: usize = 16;
const TIME: usize = 64;

#[derive(Module)]
pub(crate) struct Writer {
    embedding: Embedding,
    lstm: Recurrent,
    head: Linear,
}

impl Writer {
    pub(crate) fn new(letters: usize, units: usize, rng: &mut Rng) -> cairn_nn::Result<Self> {
        Ok(Writer {
            embedding: Embedding::new(letters, WIDTH, rng)?,
            lstm: Lstm::new(units).layers(2).dropout(DROPOUT).layer(WIDTH, rng)?,
            head: Linear::new(units, letters, rng)?,
        })
    }

    /// Scores of the next letter at every step, and the states to go on from.
    pub(crate) fn forward(
        &self,
        ids: &Tensor<u32>,
        states: Option<&[State]>,
        cx: &mut Context,
    ) -> cairn_nn::Result<(Var, Vec<State>)> {
        let x = self.embedding.forward(ids)?;
        let (h, states) = self.lstm.forward_from(&x, states, cx)?;
        let h = Dropout::new(DROPOUT).forward(&h, cx)?;
        // No gradient flows from one stretch into the one before.
        Ok((self.head.forward(&h)?, states.iter().map(State::detach).collect()))
    }

    /// The mean loss of a text, in nats a letter. Each reader begins knowing nothing.
    pub(crate) fn loss_of(&self, ids: &[u32]) -> cairn_optim::Result<f64> {
        let windows = WindowDataset::in_rows(ids.to_vec(), READERS, TIME)?;
        let (mut states, mut sum, mut batches): (Option<Vec<State>>, _, _) = (None, 0.0, 0);
        for batch in Loader::new(&windows).batch_size(READERS).epoch(0)? {
            let (x, y) = batch?;
            let (loss, next) = no_grad(|| {
                let (scores, next) = self.forward(&x, states.as_deref(), &mut Context::eval())?;
                Ok::<_, cairn_nn::Error>((cross_entropy(&scores, &y)?.item()?, next))
            })?;
            sum += f64::from(loss);
            batches += 1;
            states = Some(next);
        }
        Ok(sum / f64::from(batches))
    }

    /// `begin` and `count` letters after it, drawn one at a time.
    pub(crate) fn write(
        &self,
        begin: &[u32],
        count: usize,
        sampling: &Sampling,
        rng: &mut Rng,
    ) -> cairn_optim::Result<Vec<u32>> {
        let (mut ids, mut states): (Vec<u32>, Option<Vec<State>>) = (begin.to_vec(), None);
        let mut written = ids.clone();
        for _ in 0..count {
            let x = Tensor::from_slice(&ids, [1, ids.len()])?;
            let (scores, next) = no_grad(|| self.forward(&x, states.as_deref(), &mut Context::eval()))?;
            let last = scores.value().index(1, ids.len() - 1)?.index(0, 0)?;
            ids = vec![sampling.draw(&last, rng)?];
            written.extend(&ids);
            states = Some(next);
        }
        Ok(written)
    }
}
