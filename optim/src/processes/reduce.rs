//! The gradient of a step from those of its micro-batches, wherever they were computed.

use std::borrow::Cow;

use cairn_autograd::{Gradient, Gradients, RowGradient};
use cairn_processes::wire::{Reader, Writer};
use cairn_processes::{Error as Malformed, Group};
use cairn_tensor::{Shape, Tensor};

use super::partition::{Partition, Piece, rows};
use crate::Result;
use crate::tree::{Node, Tree};

/// How a piece of a gradient is written.
const ABSENT: u8 = 0;
const DENSE: u8 = 1;
const ROWS: u8 = 2;

impl Partition {
    /// The sum of all leaves that members have in their trees, times `factor`, the same on all. `place` is where the run is.
    ///
    /// # Errors
    /// When memory runs out on a member; those of exchanges.
    pub(crate) fn sum(
        &self,
        group: &Group<'_>,
        tree: Tree<Gradients>,
        factor: f32,
        place: &str,
    ) -> Result<Gradients> {
        let nodes = tree.into_nodes();
        let parts: Result<Vec<_>> =
            self.parts.iter().map(|pieces| self.write_nodes(&nodes, pieces)).collect();
        drop(nodes);
        let (parts, error) = match parts {
            Ok(parts) => (parts, None),
            // The others wait for something: they learn of it in what follows.
            Err(error) => (vec![Vec::new(); group.size()], Some(error)),
        };
        let received = group.all_to_all(parts)?;
        let own = error.map_or_else(|| self.sum_own(group.rank(), &received, factor), Err);
        let why = own.as_ref().err().map(ToString::to_string).unwrap_or_default();
        let all = group.meet(place, &[], own.as_ref().map(|bytes| &bytes[..]).map_err(|_| &why[..]));
        own?;
        self.join(&all?)
    }

    /// The parts of sums that belong to the owner of some pieces.
    fn write_nodes(&self, nodes: &[Node<Gradients>], pieces: &[Piece]) -> Result<Vec<u8>> {
        let mut to = Writer::new();
        to.u64(nodes.len() as u64);
        for node in nodes {
            to.u64(node.level.into());
            to.u64(node.index);
            for piece in pieces {
                write(&mut to, node.sum.get(&self.parameters[piece.parameter]), piece)?;
            }
        }
        Ok(to.into_bytes())
    }

    /// The sum of this member's pieces, as bytes.
    fn sum_own(&self, rank: usize, received: &[Vec<u8>], factor: f32) -> Result<Vec<u8>> {
        let pieces = &self.parts[rank];
        let mut tree = Tree::default();
        for bytes in received.iter().filter(|bytes| !bytes.is_empty()) {
            let mut from = Reader::new(bytes);
            for _ in 0..from.u64()? {
                let (level, index) = (from.u64()? as u32, from.u64()?);
                let sum: Result<Vec<_>> = pieces.iter().map(|piece| self.read(&mut from, piece)).collect();
                tree.insert(Node { level, index, sum: sum? })?;
            }
        }
        let sums = tree.finish()?.unwrap_or_else(|| vec![None; pieces.len()]);
        let mut to = Writer::new();
        for sum in sums {
            let mean = sum.map(|sum| sum.map_values(|values| Ok(values.scale(factor)?))).transpose()?;
            write_whole(&mut to, mean.as_ref())?;
        }
        Ok(to.into_bytes())
    }

    /// The whole gradient from its pieces by rank.
    fn join(&self, all: &[Vec<u8>]) -> Result<Gradients> {
        let mut by_parameter: Vec<Vec<(Piece, Gradient)>> = vec![Vec::new(); self.parameters.len()];
        for (bytes, pieces) in all.iter().zip(&self.parts) {
            let mut from = Reader::new(bytes);
            for piece in pieces {
                if let Some(gradient) = self.read(&mut from, piece)? {
                    by_parameter[piece.parameter].push((*piece, gradient));
                }
            }
        }
        let mut gradients = Gradients::default();
        for (parameter, pieces) in self.parameters.iter().zip(by_parameter) {
            if !pieces.is_empty() {
                gradients.set(parameter, joined(&parameter.shape(), &pieces)?);
            }
        }
        Ok(gradients)
    }

    fn read(&self, from: &mut Reader<'_>, piece: &Piece) -> Result<Option<Gradient>> {
        read(from, &self.parameters[piece.parameter].shape(), piece)
    }
}

/// Reads what [`write`] wrote of a gradient of this shape.
fn read(from: &mut Reader<'_>, shape: &[usize], piece: &Piece) -> Result<Option<Gradient>> {
    let mut shape = shape.to_vec();
    let count = piece.end - piece.start;
    match shape.first_mut() {
        Some(first) => *first = count,
        None => shape.push(count),
    }
    Ok(match from.u8()? {
        ABSENT => None,
        DENSE => Some(Gradient::Dense(Tensor::from_vec(from.f32s()?, shape)?)),
        ROWS => {
            let (at, values) = (from.u32s()?, from.f32s()?);
            let whole = Shape::from(shape.clone());
            shape[0] = at.len();
            Some(Gradient::Rows(RowGradient::new(whole, at, Tensor::from_vec(values, shape)?)?))
        }
        other => return Err(Malformed::Malformed(format!("a gradient of kind {other}")).into()),
    })
}

/// The rows of a gradient that belong to a piece, as the gradient of these alone.
pub(super) fn piece_of(gradient: &Gradient, piece: &Piece) -> Result<Gradient> {
    let mut to = Writer::new();
    write(&mut to, Some(gradient), piece)?;
    let own = read(&mut Reader::new(&to.into_bytes()), gradient.shape(), piece)?;
    own.ok_or_else(|| Malformed::Malformed("a gradient without values".to_owned()).into())
}

/// Writes the rows of a gradient that belong to a piece.
fn write(to: &mut Writer, gradient: Option<&Gradient>, piece: &Piece) -> Result<()> {
    let Piece { start, end, .. } = *piece;
    match gradient {
        None => to.u8(ABSENT),
        Some(Gradient::Dense(values)) => {
            let (_, length) = rows(values.shape());
            to.u8(DENSE);
            to.f32s(&flat(values)[start * length..end * length]);
        }
        Some(Gradient::Rows(known)) => {
            let (_, length) = rows(known.shape());
            let before = |row: usize| known.rows().partition_point(|&known| (known as usize) < row);
            let (first, last) = (before(start), before(end));
            to.u8(ROWS);
            to.u32s(&known.rows()[first..last].iter().map(|row| row - start as u32).collect::<Vec<_>>());
            to.f32s(&flat(known.values())[first * length..last * length]);
        }
    }
    Ok(())
}

/// Writes a gradient that is a piece itself.
fn write_whole(to: &mut Writer, gradient: Option<&Gradient>) -> Result<()> {
    let end = gradient.map_or(0, |gradient| rows(gradient.shape()).0);
    write(to, gradient, &Piece { parameter: 0, start: 0, end })
}

pub(super) fn flat(values: &Tensor) -> Cow<'_, [f32]> {
    values.as_slice().map_or_else(|| Cow::Owned(values.to_vec()), Cow::Borrowed)
}

/// A gradient of this shape from its pieces in order: all dense, or all for some rows.
fn joined(shape: &Shape, pieces: &[(Piece, Gradient)]) -> Result<Gradient> {
    let (mut at, mut values) = (Vec::new(), Vec::new());
    let mut dense = true;
    for (piece, gradient) in pieces {
        values.extend_from_slice(&flat(gradient.values()));
        if let Gradient::Rows(known) = gradient {
            dense = false;
            at.extend(known.rows().iter().map(|row| row + piece.start as u32));
        }
    }
    if dense {
        return Ok(Gradient::Dense(Tensor::from_vec(values, shape.clone())?));
    }
    let mut some = shape.to_vec();
    some[0] = at.len();
    Ok(Gradient::Rows(RowGradient::new(shape.clone(), at, Tensor::from_vec(values, some)?)?))
}
