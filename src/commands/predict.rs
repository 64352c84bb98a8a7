//! `cairn predict`: what a saved network makes of inputs.

use std::io::BufRead;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::failure::Failure;
use super::network::Network;
use super::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A network that Cairn saved.
    model: PathBuf,
    /// Lists of numbers in JSON, each an input or a list of them; without any, each line of standard input is one.
    inputs: Vec<String>,
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result<(), Failure> {
    let network = Network::load(&args.model)?;
    let mut predict = |text: &str| {
        let input: Value = serde_json::from_str(text).map_err(|error| {
            Failure::new(format!("the input is no JSON: {error}")).hint("write it as [0.5, 1, …]")
        })?;
        let output = network.predict(&input)?;
        out.result(&json!({ "output": output }), || output.to_string())
    };
    if !args.inputs.is_empty() {
        return args.inputs.iter().try_for_each(|input| predict(input));
    }
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        if !line.trim().is_empty() {
            predict(&line)?;
        }
    }
    Ok(())
}
