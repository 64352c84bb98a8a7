//! Assembling batches on another thread while the model computes.

use std::ops::ControlFlow;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use crate::Result;

/// Batches handed over together, unless they take longer than [`BUNDLE_TIME`] to assemble: waking a thread costs several
/// microseconds, which a small model would pay for every step.
const BUNDLE: usize = 8;
/// Large batches are handed over one by one, so that few of them wait in memory.
const BUNDLE_TIME: Duration = Duration::from_micros(500);
/// Bundles that may wait.
const BUNDLES_AHEAD: usize = 2;

/// Calls `step` with each batch and its number, in order, while another thread assembles the next ones: gathering shuffled
/// samples waits for memory, which takes a sixth of a small model's step. With one thread allowed everything is done on
/// this one. The first error ends the pass, as does a step that says not to go on.
pub(super) fn read_ahead<B: Send>(
    batches: impl Iterator<Item = B> + Send,
    step: impl FnMut(usize, B) -> Result<ControlFlow<()>>,
) -> Result<()> {
    if cairn_tensor::num_threads() == 1 {
        return each(batches, step);
    }
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(BUNDLES_AHEAD);
        scope.spawn(move || {
            let mut batches = batches;
            loop {
                let bundle = bundle(&mut batches);
                // Nobody listens any more if the pass ended early.
                if bundle.is_empty() || sender.send(bundle).is_err() {
                    break;
                }
            }
        });
        each(receiver.into_iter().flatten(), step)
    })
}

fn each<B>(
    batches: impl Iterator<Item = B>,
    mut step: impl FnMut(usize, B) -> Result<ControlFlow<()>>,
) -> Result<()> {
    for (number, batch) in batches.enumerate() {
        if step(number, batch)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// The next few batches; none at the end.
fn bundle<B>(batches: &mut impl Iterator<Item = B>) -> Vec<B> {
    let began = Instant::now();
    let mut bundle = Vec::with_capacity(BUNDLE);
    for batch in batches {
        bundle.push(batch);
        if bundle.len() == BUNDLE || began.elapsed() > BUNDLE_TIME {
            break;
        }
    }
    bundle
}
