//! The program from outside: what it answers, what the end-to-end harness writes, that the steps of continuous
//! integration name only what is there, and that packages hold what is published with them.
//!
//! One program and not one for each file, because each would be linked with all crates anew.

mod ci;
mod cli;
mod e2e;
mod packages;
mod published;
mod workspace;
