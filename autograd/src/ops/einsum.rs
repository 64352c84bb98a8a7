//! Products by named axes. The gradient of one operand is a product by named axes again: of the output's gradient and the
//! other operands.

use cairn_tensor::{Float, Tensor};

use crate::{Gradient, Result, Settings, Var};

impl<T: Float> Var<T> {
    /// Einstein's summation, by the rules of [`Tensor::einsum`].
    ///
    /// ```
    /// use cairn_autograd::Var;
    /// use cairn_tensor::Tensor;
    /// let a = Var::parameter(Tensor::<f32>::ones([2, 3])?);
    /// let b = Var::constant(Tensor::<f32>::ones([3, 4])?);
    /// let gradients = Var::einsum("ij,jk->ik", &[&a, &b])?.sum(..)?.backward()?;
    /// assert_eq!(gradients.of(&a)?.to_vec(), [4.0; 6]);
    /// # Ok::<(), cairn_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for tensors.
    pub fn einsum(formula: &str, operands: &[&Self]) -> Result<Self> {
        let values: Vec<Tensor<T>> = operands.iter().map(|var| var.value().clone()).collect();
        let value = Tensor::einsum(formula, &values.iter().collect::<Vec<_>>())?;
        let told = formula;
        let formula = Formula::read(formula);
        let wanted: Vec<bool> = operands.iter().map(|var| var.is_tracked()).collect();
        let parents = operands.iter().map(|&var| var.clone()).collect();
        let backward = move |g: &Tensor<T>| {
            (0..values.len())
                .map(|i| Ok(if wanted[i] { Some(formula.gradient(i, &values, g)?) } else { None }))
                .collect()
        };
        let result = Var::record("einsum", value, parents, Box::new(backward));
        Ok(result.told(|| Settings::Formula(told.to_owned())))
    }

    /// Sum of products of two vectors.
    ///
    /// # Errors
    /// Unless both are vectors of one length.
    pub fn dot(&self, rhs: &Self) -> Result<Self> {
        // Checked, and named, by the tensors.
        self.value().dot(rhs.value())?;
        self.matmul(rhs)
    }

    /// All products of an element of one vector with one of the other: a matrix.
    ///
    /// # Errors
    /// Unless both are vectors.
    pub fn outer(&self, rhs: &Self) -> Result<Self> {
        let (a, b) = (self.value().clone(), rhs.value().clone());
        Ok(Var::from_op("outer", a.outer(&b)?, [self, rhs], move |g, [left, right]| {
            Ok([super::when(left, || g.matmul(&b))?, super::when(right, || a.matmul(g))?])
        }))
    }
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
