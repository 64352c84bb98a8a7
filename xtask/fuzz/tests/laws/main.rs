//! Laws over the whole public surface: no file and no number from outside ends the process.

mod damage;
mod settings;

/// Counts what is allocated, to hold readers to their limit.
#[global_allocator]
static PEAK: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;
