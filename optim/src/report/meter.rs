//! Measuring while a run goes on.
//!
//! Processor time and memory are read from Linux's `/proc/self`, which has them to a hundredth of a second and a page; elsewhere they are
//! not known.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use cairn_autograd::{FlopCounts, count_flops};
use cairn_nn::Module;
use serde::{Deserialize, Serialize};

use super::energy::{Counters, ROOT};
use super::{Energy, LayerFlops, Report, by_layer, peak};
use crate::Result;

/// How often counters of energy are read.
const NOW_AND_THEN: Duration = Duration::from_secs(1);

/// Ticks a second of processor time, the same on every Linux (`USER_HZ`).
const TICKS: f64 = 100.0;

/// A measurement that has begun.
#[derive(Debug)]
pub(crate) struct Meter {
    began: Instant,
    read: Instant,
    processor: Option<f64>,
    counters: Counters,
    training: FlopCounts,
    validation: FlopCounts,
    samples: u64,
    steps: u64,
}

/// What one of several processes has measured.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Share {
    layers: Vec<LayerFlops>,
    validation: u64,
    not_counted: BTreeSet<String>,
    samples: u64,
    processor_seconds: Option<f64>,
    peak: f64,
    peak_memory: Option<u64>,
    bytes_sent: u64,
}

/// Runs `f`, and counts what it computes where that is asked for.
pub(crate) fn metered<R>(meter: &mut Option<Meter>, f: impl FnOnce() -> R) -> R {
    match meter {
        None => f(),
        Some(meter) => meter.counted(f),
    }
}

impl Meter {
    pub(crate) fn start() -> Self {
        let now = Instant::now();
        Meter {
            began: now,
            read: now,
            processor: processor_seconds(),
            counters: Counters::start(Path::new(ROOT)),
            training: FlopCounts::default(),
            validation: FlopCounts::default(),
            samples: 0,
            steps: 0,
        }
    }

    /// A step of the optimiser was made.
    pub(crate) fn stepped(&mut self) {
        self.steps += 1;
    }

    /// Samples were computed.
    pub(crate) fn computed(&mut self, samples: usize) {
        self.samples += samples as u64;
        if self.read.elapsed() > NOW_AND_THEN {
            self.read_counters();
        }
    }

    /// Runs `f`, and counts what it computes.
    pub(crate) fn counted<R>(&mut self, f: impl FnOnce() -> R) -> R {
        let (result, counts) = count_flops(f);
        self.training.merge(counts);
        result
    }

    /// As [`counted`](Self::counted), of what is beside training.
    pub(crate) fn validated<R>(&mut self, f: impl FnOnce() -> R) -> R {
        let (result, counts) = count_flops(f);
        self.validation.merge(counts);
        self.computed(0);
        result
    }

    fn read_counters(&mut self) {
        let now = Instant::now();
        self.counters.read(now - self.read);
        self.read = now;
    }

    /// Ends the measurement: seconds, energy, and the share of this process, which has sent so many bytes.
    pub(crate) fn finish(mut self, model: &dyn Module, bytes_sent: u64) -> Result<Measured> {
        self.read_counters();
        let seconds = self.began.elapsed().as_secs_f64();
        let busy = processor_seconds().zip(self.processor).map(|(now, then)| now - then);
        let unknown = self.training.unknown.iter().chain(&self.validation.unknown);
        let share = Share {
            layers: by_layer(&self.training, model),
            validation: self.validation.total().total(),
            not_counted: unknown.map(ToString::to_string).collect(),
            samples: self.samples,
            processor_seconds: busy,
            peak: peak()?.flops_per_second,
            peak_memory: peak_memory(),
            bytes_sent,
        };
        Ok(Measured { seconds, steps: self.steps, energy: self.counters.energy(), share })
    }
}

/// What a process knows when a measurement has ended.
#[derive(Debug)]
pub(crate) struct Measured {
    seconds: f64,
    steps: u64,
    energy: Energy,
    pub(crate) share: Share,
}

impl Measured {
    /// The report on the shares of all processes, by rank; on this one's where it is alone.
    pub(crate) fn report(self, task: &str, parameters: usize, shares: Option<Vec<Share>>) -> Report {
        let shares = shares.unwrap_or_else(|| vec![self.share]);
        let mut layers: Vec<LayerFlops> = Vec::new();
        for layer in shares.iter().flat_map(|share| &share.layers) {
            match layers.iter_mut().find(|sum| sum.layer == layer.layer) {
                None => layers.push(layer.clone()),
                Some(sum) => {
                    sum.forward = sum.forward.saturating_add(layer.forward);
                    sum.backward = sum.backward.saturating_add(layer.backward);
                }
            }
        }
        let sum = |of: fn(&Share) -> u64| shares.iter().map(of).fold(0, u64::saturating_add);
        let validation_flops = sum(|share| share.validation);
        let of_layers = layers.iter().flat_map(|layer| [layer.forward, layer.backward]);
        let flops = of_layers.fold(validation_flops, u64::saturating_add);
        let peak_flops_per_second = shares.iter().map(|share| share.peak).sum();
        Report {
            task: task.to_owned(),
            parameters,
            samples: sum(|share| share.samples),
            steps: self.steps,
            processes: shares.len(),
            threads: cairn_tensor::num_threads(),
            instruction_set: cairn_tensor::instruction_set().to_owned(),
            seconds: self.seconds,
            processor_seconds: shares.iter().map(|share| share.processor_seconds).sum(),
            layers,
            validation_flops,
            flops,
            not_counted: shares.iter().flat_map(|share| share.not_counted.iter().cloned()).collect(),
            peak_flops_per_second,
            share_of_peak: flops as f64 / self.seconds / peak_flops_per_second,
            bytes_exchanged: sum(|share| share.bytes_sent),
            peak_memory: shares.iter().map(|share| share.peak_memory).max().flatten(),
            energy: self.energy,
            values: BTreeMap::new(),
        }
    }
}

/// Processor time of this process so far, of all its threads.
fn processor_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in brackets, may have anything in it; user and system time are the 14th and 15th of all.
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS)
}

/// The most memory that this process has had so far.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(1024 * line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn processor_time_and_memory_grow_as_they_are_used() {
        let (seconds, memory) = (processor_seconds().unwrap(), peak_memory().unwrap());
        let began = Instant::now();
        // Not zeros, for which the system keeps no memory until they are written to: the loop may have no turn where other tests take
        // the processor time.
        let mut bytes = vec![1u8; 64 << 20];
        while processor_seconds().unwrap() < seconds + 0.05 {
            bytes.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
            assert!(began.elapsed() < Duration::from_secs(60));
        }
        assert!(peak_memory().unwrap() >= memory.max(64 << 20));
    }
}
