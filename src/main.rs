//! The program `cairn`: open language models and encoders at the command line. `cairn help` says what there is.

#![forbid(unsafe_code)]

mod commands;

fn main() -> std::process::ExitCode {
    commands::main()
}
