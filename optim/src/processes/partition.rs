//! Which process owns which part of a model's parameters.

use cairn_autograd::Parameter;
use cairn_nn::Module;

/// Every parameter's rows, in order, cut into as many parts of about equal size as there are processes. Cuts are between rows
/// (entries of axis 0), so that the gradient of an embedding, which is known for some rows, is cut like any other.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) parameters: Vec<Parameter>,
    /// The parts by rank.
    pub(crate) parts: Vec<Vec<Piece>>,
}

/// Some rows of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The place of the parameter in the model.
    pub(crate) parameter: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Partition {
    pub(crate) fn new(model: &dyn Module, ranks: usize) -> Self {
        let parameters: Vec<Parameter> =
            model.parameters().into_iter().map(|(_, parameter)| parameter).collect();
        let shapes = parameters.iter().map(|parameter| rows(&parameter.shape()));
        Partition { parts: cut(&shapes.collect::<Vec<_>>(), ranks), parameters }
    }
}

/// The number of rows and the length of one; a number is one row.
pub(crate) fn rows(shape: &[usize]) -> (usize, usize) {
    (shape.first().copied().unwrap_or(1), shape.iter().skip(1).product())
}

fn cut(shapes: &[(usize, usize)], ranks: usize) -> Vec<Vec<Piece>> {
    let total: usize = shapes.iter().map(|(rows, length)| rows * length).sum();
    let mut parts = vec![Vec::new(); ranks];
    let mut before = 0;
    for (parameter, &(rows, length)) in shapes.iter().enumerate() {
        // The first row of a rank: where its share of all values begins, at the row's start.
        let first = |rank: usize| {
            let share = (total as u128 * rank as u128 / ranks as u128) as usize;
            // Rows without values are all at the first.
            let without = if rank == 0 { 0 } else { rows };
            share.saturating_sub(before).checked_div(length).unwrap_or(without).min(rows)
        };
        for (rank, part) in parts.iter_mut().enumerate() {
            let (start, end) = (first(rank), if rank + 1 == ranks { rows } else { first(rank + 1) });
            // Something without values is there all the same, at one of them.
            if start < end || (rows == 0 && rank == 0) {
                part.push(Piece { parameter, start, end });
            }
        }
        before += rows * length;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_belongs_to_one_rank() {
        let shapes = [(3, 4), (5, 1), (1, 1), (0, 7), (2, 0), (1, 100), (64, 3)];
        for ranks in 1..9 {
            let parts = cut(&shapes, ranks);
            for (parameter, &(rows, _)) in shapes.iter().enumerate() {
                let of = |part: &Vec<Piece>| {
                    part.iter().copied().filter(|piece| piece.parameter == parameter).collect::<Vec<_>>()
                };
                let pieces: Vec<Piece> = parts.iter().flat_map(of).collect();
                let ends = pieces.iter().map(|piece| piece.end);
                let starts: Vec<usize> = std::iter::once(0).chain(ends).collect();
                assert!(pieces.iter().map(|piece| piece.start).eq(starts[..pieces.len()].iter().copied()));
                assert_eq!(starts.last(), Some(&rows), "{parameter} of {ranks}");
            }
        }
    }

    #[test]
    fn parts_are_about_equal() {
        let parts = cut(&[(1000, 10), (10, 1), (500, 10)], 4);
        for part in parts {
            let values: usize = part
                .iter()
                .map(|piece| (piece.end - piece.start) * if piece.parameter == 1 { 1 } else { 10 })
                .sum();
            assert!(values.abs_diff(15_010 / 4) <= 20, "{values}");
        }
    }
}
