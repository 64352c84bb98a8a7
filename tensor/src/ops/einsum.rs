//! Products of tensors by named axes, and the two shortest of them.
//!
//! A contraction of two operands is one batched matrix product: axes that both have and that are still needed are the
//! batch, those that both have and that are not needed are summed, and the rest are rows and columns. More operands are
//! contracted from left to right.

use crate::{Error, Float, Result, Shape, Tensor};

/// A tensor whose axes are named.
struct Named<T: crate::Element> {
    tensor: Tensor<T>,
    axes: Vec<char>,
}

impl<T: Float> Tensor<T> {
    /// Einstein's summation: axes are named by letters, axes of one name are walked together, and those that the result
    /// does not name are summed. Without `->` the result has the names that occur once, in alphabetical order.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let a = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// assert_eq!(Tensor::einsum("ij,jk->ik", &[&a, &a])?, a.matmul(&a)?);
    /// assert_eq!(Tensor::einsum("ii", &[&a])?.item()?, 5.0);           // the trace
    /// assert_eq!(Tensor::einsum("ij->ji", &[&a])?, a.t()?);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::BadFormula`] for what is not of this form or does not fit the operands; [`Error::ShapeMismatch`] when axes
    /// of one name differ in length.
    pub fn einsum(formula: &str, operands: &[&Self]) -> Result<Self> {
        let bad = |why: &'static str| Error::BadFormula { op: "einsum", formula: formula.to_owned(), why };
        let plain: String = formula.chars().filter(|c| !c.is_whitespace()).collect();
        let (inputs, output) = match plain.split_once("->") {
            Some((inputs, output)) => (inputs, Some(output)),
            None => (plain.as_str(), None),
        };
        let inputs: Vec<Vec<char>> = inputs.split(',').map(|names| names.chars().collect()).collect();
        let all = || inputs.iter().flatten().copied();
        if !all().chain(output.unwrap_or_default().chars()).all(char::is_alphabetic) {
            return Err(bad("axes are named by letters"));
        }
        if inputs.len() != operands.len() || operands.is_empty() {
            return Err(bad("each operand needs its names"));
        }
        let output: Vec<char> = match output {
            Some(output) => output.chars().collect(),
            None => {
                let mut once: Vec<char> = all().filter(|&c| all().filter(|&d| c == d).count() == 1).collect();
                once.sort_unstable();
                once
            }
        };
        if output.iter().enumerate().any(|(i, c)| output[..i].contains(c) || !all().any(|d| d == *c)) {
            return Err(bad("the result names each axis once, and only axes of operands"));
        }
        let mut named = Vec::new();
        for (&tensor, axes) in operands.iter().zip(&inputs) {
            if tensor.rank() != axes.len() {
                return Err(bad("an operand has another number of axes than names"));
            }
            named.push(walk_together(tensor, axes)?);
        }
        let mut rest = named.into_iter();
        let mut result = rest.next().ok_or_else(|| bad("each operand needs its names"))?;
        for (i, next) in rest.enumerate() {
            // What the result or a later operand names is still needed.
            let needed = |c: char| output.contains(&c) || inputs[i + 2..].iter().flatten().any(|&d| c == d);
            result = contract(&result, &next, needed)?;
        }
        let summed: Vec<usize> =
            (0..result.axes.len()).filter(|&i| !output.contains(&result.axes[i])).collect();
        let kept: Vec<char> = result.axes.iter().copied().filter(|c| output.contains(c)).collect();
        let tensor = if summed.is_empty() { result.tensor } else { result.tensor.sum(summed.as_slice())? };
        Ok(ordered(&Named { tensor, axes: kept }, &output))
    }

    /// Sum of products of two vectors.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] unless both are vectors of one length.
    pub fn dot(&self, rhs: &Self) -> Result<Self> {
        if self.rank() != 1 || self.shape() != rhs.shape() {
            return Err(Error::mismatch(
                "dot",
                self.shape(),
                rhs.shape(),
                "two vectors of one length are needed",
            ));
        }
        self.matmul(rhs)
    }

    /// All products of an element of one vector with one of the other: a matrix.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] unless both are vectors.
    #[doc(alias = "ger")]
    pub fn outer(&self, rhs: &Self) -> Result<Self> {
        if self.rank() != 1 || rhs.rank() != 1 {
            return Err(Error::mismatch("outer", self.shape(), rhs.shape(), "two vectors are needed"));
        }
        self.unsqueeze(1)?.mul(rhs)
    }
}

/// A name that an operand has twice stands for a diagonal: the two axes become one whose step is the sum of theirs.
fn walk_together<T: Float>(tensor: &Tensor<T>, axes: &[char]) -> Result<Named<T>> {
    let mut layout = tensor.layout().clone();
    let mut names: Vec<char> = Vec::new();
    for &name in axes {
        let axis = names.len();
        match names.iter().position(|&other| other == name) {
            None => names.push(name),
            Some(first) if layout.shape[first] == layout.shape[axis] => {
                layout.strides[first] = layout.strides[first].saturating_add(layout.strides[axis]);
                layout = layout.remove_axis(axis);
            }
            Some(_) => {
                let why = "axes of one name must be equally long";
                return Err(Error::mismatch("einsum", tensor.shape(), tensor.shape(), why));
            }
        }
    }
    Ok(Named { tensor: tensor.view(layout), axes: names })
}

fn contract<T: Float>(a: &Named<T>, b: &Named<T>, needed: impl Fn(char) -> bool) -> Result<Named<T>> {
    for (i, name) in a.axes.iter().enumerate() {
        let other = b.axes.iter().position(|other| other == name);
        if other.is_some_and(|j| a.tensor.shape()[i] != b.tensor.shape()[j]) {
            let why = "axes of one name must be equally long";
            return Err(Error::mismatch("einsum", a.tensor.shape(), b.tensor.shape(), why));
        }
    }
    let pick = |from: &Named<T>, f: &dyn Fn(char) -> bool| {
        from.axes.iter().copied().filter(|&c| f(c)).collect::<Vec<_>>()
    };
    let (in_a, in_b) = (|c: char| a.axes.contains(&c), |c: char| b.axes.contains(&c));
    let batch = pick(a, &|c| in_b(c) && needed(c));
    let summed = pick(a, &|c| in_b(c) && !needed(c));
    let (rows, columns) = (pick(a, &|c| !in_b(c)), pick(b, &|c| !in_a(c)));
    let size = |from: &Named<T>, names: &[char]| -> Shape {
        names
            .iter()
            .filter_map(|c| from.axes.iter().position(|d| c == d))
            .map(|i| from.tensor.shape()[i])
            .collect()
    };
    let flat = |from: &Named<T>, order: [&[char]; 3]| {
        let shape: Shape = order.iter().map(|names| size(from, names).count()).collect();
        ordered(from, &order.concat()).reshape(shape)
    };
    let left = flat(a, [&batch, &rows, &summed])?;
    let right = flat(b, [&batch, &summed, &columns])?;
    let shape: Shape = [size(a, &batch), size(a, &rows), size(b, &columns)]
        .iter()
        .flat_map(|part| part.iter().copied())
        .collect();
    Ok(Named { tensor: left.matmul(&right)?.reshape(shape)?, axes: [batch, rows, columns].concat() })
}

/// The axes in another order; each name of `order` is one of an axis.
fn ordered<T: Float>(x: &Named<T>, order: &[char]) -> Tensor<T> {
    let places: Vec<usize> = order.iter().filter_map(|c| x.axes.iter().position(|d| c == d)).collect();
    x.tensor.view(x.tensor.layout().permute(&places))
}
