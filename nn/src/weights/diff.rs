//! How two sets of named values differ: two checkpoints, or a model and a file.

use std::collections::BTreeMap;
use std::fmt;

use cairn_tensor::{AnyTensor, DType, Shape, Tensor};

/// How two sets of values differ; print it with `{}`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Difference {
    /// Names that only the first has.
    pub only_in_first: Vec<String>,
    /// Names that only the second has.
    pub only_in_second: Vec<String>,
    /// Names of values that have another shape in the second, with both shapes.
    pub shapes: Vec<(String, Shape, Shape)>,
    /// Names of values that have another element type in the second, with both types.
    pub types: Vec<(String, DType, DType)>,
    /// Names that both have in the same shape and type, with how far their values are apart.
    pub values: Vec<Distance>,
}

/// How far apart two tensors of one shape are.
#[derive(Debug, Clone, PartialEq)]
pub struct Distance {
    /// Their name.
    pub name: String,
    /// The largest absolute difference of two elements; infinite where one is NaN and the other is not.
    pub largest: f64,
    /// The norm of the difference divided by that of the first; infinite when only the first is 0 everywhere.
    pub relative: f64,
}

/// Compares two sets of named values.
///
/// ```
/// use cairn_nn::weights::diff;
/// use cairn_nn::{Module, Sequential, spec::Dense};
/// use cairn_tensor::rng;
/// let model = |seed| Sequential::new([4]).add(Dense::new(2)).build(&mut rng(seed));
/// let (a, b) = (model(0)?, model(1)?);
/// assert!(diff(&a.state(), &a.state()).is_same());
/// let difference = diff(&a.state(), &b.state());
/// assert_eq!(difference.values[1].name, "dense.weight");
/// assert!(difference.values[1].relative > 0.1);
/// println!("{difference}");
/// # Ok::<(), cairn_nn::Error>(())
/// ```
pub fn diff(first: &BTreeMap<String, AnyTensor>, second: &BTreeMap<String, AnyTensor>) -> Difference {
    let only = |a: &BTreeMap<String, AnyTensor>, b: &BTreeMap<String, AnyTensor>| {
        a.keys().filter(|name| !b.contains_key(*name)).cloned().collect()
    };
    let mut difference = Difference {
        only_in_first: only(first, second),
        only_in_second: only(second, first),
        ..Difference::default()
    };
    for (name, a) in first {
        match second.get(name) {
            Some(b) if a.shape() == b.shape() && a.dtype() == b.dtype() => {
                difference.values.push(distance(name, a, b));
            }
            Some(b) if a.shape() == b.shape() => {
                difference.types.push((name.clone(), a.dtype(), b.dtype()));
            }
            Some(b) => difference.shapes.push((name.clone(), a.dims().clone(), b.dims().clone())),
            None => {}
        }
    }
    difference
}

fn distance(name: &str, a: &AnyTensor, b: &AnyTensor) -> Distance {
    let floats = |x: &AnyTensor| x.cast(DType::F64).and_then(Tensor::<f64>::try_from);
    let (mut largest, mut square, mut norm) = (0.0f64, 0.0f64, 0.0f64);
    let (Ok(a), Ok(b)) = (floats(a), floats(b)) else {
        // Memory does not hold them; nothing is known.
        return Distance { name: name.to_owned(), largest: f64::INFINITY, relative: f64::INFINITY };
    };
    for (a, b) in a.iter().zip(b.iter()) {
        // Equal infinities, and NaN in both, are no difference.
        let apart = if a == b || (a.is_nan() && b.is_nan()) { 0.0 } else { (a - b).abs() };
        let apart = if apart.is_nan() { f64::INFINITY } else { apart };
        largest = largest.max(apart);
        square += apart * apart;
        norm += a * a;
    }
    let relative = if square == 0.0 { 0.0 } else { (square / norm).sqrt() };
    Distance {
        name: name.to_owned(),
        largest,
        relative: if relative.is_nan() { f64::INFINITY } else { relative },
    }
}

impl Difference {
    /// Whether names, shapes, types and all values are the same.
    pub fn is_same(&self) -> bool {
        self.is_within(0.0)
    }

    /// Whether names, shapes and types are the same, and no two elements are further apart than this.
    pub fn is_within(&self, tolerance: f64) -> bool {
        self.only_in_first.is_empty()
            && self.only_in_second.is_empty()
            && self.shapes.is_empty()
            && self.types.is_empty()
            && self.values.iter().all(|distance| distance.largest <= tolerance)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.values.iter().map(|distance| distance.name.len()).chain([4]).max().unwrap_or(4);
        write!(f, "{:width$}  {:>12}  {:>12}", "Name", "Largest", "Relative")?;
        for Distance { name, largest, relative } in &self.values {
            write!(f, "\n{name:width$}  {largest:>12.3e}  {relative:>12.3e}")?;
        }
        for (name, first, second) in &self.shapes {
            write!(f, "\n{name}: shape {first} in the first, {second} in the second")?;
        }
        for (name, first, second) in &self.types {
            write!(f, "\n{name}: {first} in the first, {second} in the second")?;
        }
        for (which, names) in [("first", &self.only_in_first), ("second", &self.only_in_second)] {
            for name in names {
                write!(f, "\n{name}: only in the {which}")?;
            }
        }
        Ok(())
    }
}
