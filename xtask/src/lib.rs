//! The tasks of Cairn's repository, run as `cargo xtask NAME`.
//!
//! | task | what it does |
//! |---|---|
//! | `e2e` | trains and checks each system on real data; writes `results.json` and `report.html` |
//! | `bench` | measures the machine's f32 peak, then single operations and each reference model against it |
//! | `download` | fetches data sets ahead of time |
//! | `ci` | formatting, lints, documentation, tests and the quick end-to-end checks, in turn |
//!
//! A plain Rust program rather than scripts: it needs nothing but the toolchain, works the same on every system, and
//! uses the crates just as a user would, so that a change which makes them awkward is felt here first.
//!
//! To add an end-to-end check: one file in [`mod@checks`] and one line in [`checks::ALL`]. To add a benchmark: one file in
//! [`mod@bench`] and one line in [`bench::ALL`]. Something new to look at in the report is one file in [`report`].
#![forbid(unsafe_code)]

mod alone;
pub mod bench;
pub mod check;
pub mod checks;
pub mod ci;
pub mod cli;
pub mod download;
pub mod e2e;
pub mod format;
pub mod kept;
pub mod memory;
pub mod models;
pub mod output;
pub mod report;
pub mod results;
