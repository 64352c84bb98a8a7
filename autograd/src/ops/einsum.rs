//! Products by named axes. The gradient of one operand is a product by named axes again: of the output's gradient and the
//! other operands.

use cairn_tensor::{Float, Tensor};

use super::multiply_adds;
use crate::op::{Backward, Ran, Wanted};
use crate::{Gradient, Result};

pub(super) fn run<T: Float>(formula: &str, operands: &[&Tensor<T>], wanted: Wanted<'_>) -> Result<Ran<T>> {
    let value = Tensor::einsum(formula, operands)?;
    let backward = wanted.any().then(|| -> Backward<T> {
        let formula = Formula::read(formula);
        let values: Vec<Tensor<T>> = operands.iter().map(|&x| x.clone()).collect();
        let wanted = wanted.0.to_vec();
        Box::new(move |g| {
            let gradient = |i| Ok(if wanted[i] { Some(formula.gradient(i, &values, g)?) } else { None });
            (0..values.len()).map(gradient).collect()
        })
    });
    Ok(Ran { value, backward })
}

/// Two for each combination of all named axes: what a single contraction over all of them takes.
pub(super) fn flops(formula: &str, operands: &[&[usize]]) -> u64 {
    let formula = Formula::read(formula);
    let mut sizes = std::collections::BTreeMap::new();
    for (names, shape) in formula.inputs.iter().zip(operands) {
        sizes.extend(names.iter().zip(shape.iter()));
    }
    if operands.len() < 2 { 0 } else { multiply_adds(sizes.into_values()) }
}

/// A formula that [`Tensor::einsum`] has accepted.
struct Formula {
    inputs: Vec<Vec<char>>,
    output: Vec<char>,
}

impl Formula {
    fn read(formula: &str) -> Self {
        let plain: String = formula.chars().filter(|c| !c.is_whitespace()).collect();
        let (inputs, output) = plain.split_once("->").map_or((plain.as_str(), None), |(i, o)| (i, Some(o)));
        let inputs: Vec<Vec<char>> = inputs.split(',').map(|names| names.chars().collect()).collect();
        let output = output.map_or_else(
            || {
                let all = || inputs.iter().flatten().copied();
                let mut once: Vec<char> = all().filter(|&c| all().filter(|&d| c == d).count() == 1).collect();
                once.sort_unstable();
                once
            },
            |names| names.chars().collect(),
        );
        Formula { inputs, output }
    }

    /// The gradient of operand `i`: a product of the output's gradient, of the other operands, and of
    ///
    /// - ones along each of its axes that nobody else names, along which it was summed alone;
    /// - an identity matrix for each of its axes that repeats a name, since only the diagonal had a part in the output.
    fn gradient<T: Float>(&self, i: usize, values: &[Tensor<T>], g: &Tensor<T>) -> Result<Gradient<T>> {
        let mut names = vec![self.output.clone()];
        let mut operands = vec![g.clone()];
        for (j, value) in values.iter().enumerate().filter(|&(j, _)| j != i) {
            names.push(self.inputs[j].clone());
            operands.push(value.clone());
        }
        let mut unused = ('a'..='z').chain('A'..='Z').chain('α'..='ω');
        let mut target: Vec<char> = Vec::new();
        for (&name, &size) in self.inputs[i].iter().zip(values[i].shape()) {
            if target.contains(&name) {
                let taken = |c: &char| !self.inputs.iter().flatten().any(|d| c == d);
                let Some(other) = unused.find(taken) else {
                    return Err(cairn_tensor::Error::BadFormula {
                        op: "einsum",
                        formula: self.inputs[i].iter().collect(),
                        why: "its derivative needs more names of axes than there are letters",
                    }
                    .into());
                };
                names.push(vec![name, other]);
                operands.push(Tensor::eye(size)?);
                target.push(other);
                continue;
            }
            if !names.iter().flatten().any(|&c| c == name) {
                names.push(vec![name]);
                operands.push(Tensor::ones(size)?);
            }
            target.push(name);
        }
        let names: Vec<String> = names.iter().map(|names| names.iter().collect()).collect();
        let formula = format!("{}->{}", names.join(","), target.iter().collect::<String>());
        Ok(Gradient::Dense(Tensor::einsum(&formula, &operands.iter().collect::<Vec<_>>())?))
    }
}
