//! Printing like NumPy: nested brackets, aligned columns, an ellipsis in long axes.

use std::fmt;

use crate::{Element, Tensor};

/// More elements than this are printed with an ellipsis.
const SUMMARISE: usize = 1000;
/// Entries shown at each end of an axis that is cut short.
const EDGE: usize = 3;

impl<T: Element> fmt::Display for Tensor<T> {
    /// Precision is the number of digits after the point, 4 unless given: `{x:.2}`. Very large or small numbers are
    /// written with exponents.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An empty tensor can have axes of any length; none is worth listing.
        let edge = if self.len() > SUMMARISE || self.is_empty() { EDGE } else { usize::MAX };
        let style = Style::of(self, edge, f.precision().unwrap_or(4));
        write_axis(f, self, &mut Vec::with_capacity(self.rank()), edge, &style)
    }
}

impl<T: Element> fmt::Debug for Tensor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor<{}>{} {self}", T::DTYPE, self.dims())
    }
}

/// How numbers are written: all alike, so that columns line up.
struct Style {
    float: bool,
    precision: usize,
    scientific: bool,
    width: usize,
}

impl Style {
    fn of<T: Element>(tensor: &Tensor<T>, edge: usize, precision: usize) -> Self {
        use crate::DType;
        let float = matches!(T::DTYPE, DType::F32 | DType::F64);
        let mut shown = Vec::new();
        for_each_shown(tensor, &mut Vec::new(), edge, &mut |x| shown.push(x));
        let magnitudes = || shown.iter().map(|x| x.to_f64().abs()).filter(|x| x.is_finite() && *x > 0.0);
        let (most, least) = (magnitudes().fold(0.0, f64::max), magnitudes().fold(f64::MAX, f64::min));
        let scientific = float && (most >= 1e8 || least < 0.1f64.powi(precision as i32) && least < 1e-4);
        let mut style = Style { float, precision, scientific, width: 0 };
        style.width = shown.iter().map(|&x| style.text(x).len()).max().unwrap_or(0);
        style
    }

    fn text<T: Element>(&self, x: T) -> String {
        match (self.float, self.scientific) {
            (false, _) => x.to_string(),
            (true, false) => format!("{:.*}", self.precision, x.to_f64()),
            (true, true) => format!("{:.*e}", self.precision, x.to_f64()),
        }
    }
}

/// The indices of an axis that are printed, and where the ellipsis stands.
fn shown_indices(size: usize, edge: usize) -> (Vec<usize>, Option<usize>) {
    if size > edge.saturating_mul(2) {
        ((0..edge).chain(size - edge..size).collect(), Some(edge))
    } else {
        ((0..size).collect(), None)
    }
}

fn for_each_shown<T: Element>(
    tensor: &Tensor<T>,
    index: &mut Vec<usize>,
    edge: usize,
    visit: &mut impl FnMut(T),
) {
    if index.len() == tensor.rank() {
        if let Ok(x) = tensor.get(index) {
            visit(x);
        }
        return;
    }
    for i in shown_indices(tensor.shape()[index.len()], edge).0 {
        index.push(i);
        for_each_shown(tensor, index, edge, visit);
        index.pop();
    }
}

fn write_axis<T: Element>(
    f: &mut fmt::Formatter<'_>,
    tensor: &Tensor<T>,
    index: &mut Vec<usize>,
    edge: usize,
    style: &Style,
) -> fmt::Result {
    let depth = index.len();
    if depth == tensor.rank() {
        let x = tensor.get(index).map_err(|_| fmt::Error)?;
        return write!(f, "{:>1$}", style.text(x), style.width);
    }
    let inner = tensor.rank() - depth - 1;
    let separator =
        if inner == 0 { ", ".into() } else { format!(",{}{}", "\n".repeat(inner), " ".repeat(depth + 1)) };
    let (indices, ellipsis) = shown_indices(tensor.shape()[depth], edge);
    write!(f, "[")?;
    for (n, &i) in indices.iter().enumerate() {
        if n > 0 {
            write!(f, "{separator}")?;
        }
        if ellipsis == Some(n) {
            write!(f, "...{separator}")?;
        }
        index.push(i);
        write_axis(f, tensor, index, edge, style)?;
        index.pop();
    }
    write!(f, "]")
}
