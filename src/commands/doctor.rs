//! `cairn doctor`: what this machine computes with.

use std::fs;
use std::hint::black_box;
use std::time::Instant;

use cairn::tensor;
use serde_json::json;

use super::failure::Failure;
use super::output::Output;

/// What is read to measure the memory: more than caches hold.
const BYTES: usize = 1 << 28;
/// How often.
const ROUNDS: usize = 4;

pub(crate) fn run(out: &mut Output) -> Result<(), Failure> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let (set, threads, caches, bandwidth) =
        (tensor::instruction_set(), tensor::num_threads(), caches(), bandwidth()?);
    let quantized = tensor::QuantizedTensor::kernel();
    let value = json!({
        "version": env!("CARGO_PKG_VERSION"), "processors": processors, "threads": threads, "instruction_set": set.to_string(),
        "quantized_products": quantized, "caches": caches, "memory_gigabytes_per_second": bandwidth,
    });
    out.result(&value, || {
        let mut lines = vec![
            format!("cairn {}", env!("CARGO_PKG_VERSION")),
            format!("instructions  {set} (CAIRN_ISA chooses lesser ones)"),
            format!("quantised     {quantized}"),
            format!("threads       {threads} on {processors} processors (--threads, RAYON_NUM_THREADS)"),
        ];
        if !caches.is_empty() {
            lines.push(format!("caches        {}", caches.join(", ")));
        }
        lines.push(format!("memory        {bandwidth:.1} GB/s read by all threads"));
        lines.join("\n")
    })
}

/// The first processor's caches, where the system tells.
fn caches() -> Vec<String> {
    let read = |index: usize, name: &str| {
        fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{name}"))
            .map(|text| text.trim().to_owned())
    };
    let cache = |index| {
        let kind = match read(index, "type").ok()?.as_str() {
            "Data" => "d",
            "Instruction" => "i",
            _ => "",
        };
        Some(format!("L{}{kind} {}", read(index, "level").ok()?, read(index, "size").ok()?))
    };
    (0..8).map_while(cache).collect()
}

/// How fast all threads together read memory, in GB/s: the best of a few rounds.
fn bandwidth() -> Result<f64, Failure> {
    let memory: Vec<u64> = (0..BYTES as u64 / 8).collect();
    let part = memory.len().div_ceil(tensor::num_threads().max(1));
    let round = || {
        let began = Instant::now();
        std::thread::scope(|scope| {
            for part in memory.chunks(part) {
                scope.spawn(|| black_box(part.iter().fold(0u64, |sum, x| sum.wrapping_add(*x))));
            }
        });
        BYTES as f64 / began.elapsed().as_secs_f64() / 1e9
    };
    Ok((0..ROUNDS).map(|_| round()).fold(0.0, f64::max))
}
