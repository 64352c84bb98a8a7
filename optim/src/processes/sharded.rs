//! The optimiser's running values in slices (ZeRO stage 1, Rajbhandari et al. 2020): each process has those of the rows it owns, steps
//! these, and gives the new values to all. Of N processes each holds an N-th of the running values between two checkpoints.
//!
//! To the optimiser a process's rows are a model of their own, whose parameters have the paths of the whole ones. One that owns
//! nothing of a parameter has no rows of it, so that all processes meet the same parameters.

use std::collections::BTreeMap;

use cairn_autograd::{Gradients, Parameter};
use cairn_nn::codec::{self, Kind};
use cairn_nn::{Module, Part, Visitor};
use cairn_processes::Group;
use cairn_processes::wire::{Reader, Writer};
use cairn_tensor::Tensor;

use super::partition::{Partition, Piece, rows};
use super::reduce::{flat, piece_of};
use crate::{Error, Optimizer, Result, StateDict};

/// The rows that one process owns.
#[derive(Debug)]
pub(crate) struct Sharded {
    slices: Vec<Slice>,
}

/// The rows of one parameter.
#[derive(Debug)]
struct Slice {
    paths: Vec<String>,
    whole: Parameter,
    own: Parameter,
    piece: Piece,
}

impl Module for Sharded {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        for slice in &self.slices {
            slice.paths.iter().for_each(|path| visitor.field(path, &slice.own));
        }
    }
}

impl Sharded {
    /// The rows of `rank`.
    pub(crate) fn new(model: &dyn Module, partition: &Partition, rank: usize) -> Result<Self> {
        let mut paths: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        model.visit(&mut Visitor::every_path(&mut |path, part| {
            if let Part::Parameter(parameter) = part {
                paths.entry(parameter.id()).or_default().push(path.to_owned());
            }
        }));
        let slice = |(parameter, whole): (usize, &Parameter)| {
            let found = partition.parts[rank].iter().find(|piece| piece.parameter == parameter);
            let piece = found.copied().unwrap_or(Piece { parameter, start: 0, end: 0 });
            let own = Parameter::new(rows_of(whole, piece)?);
            own.set_trainable(whole.is_trainable())?;
            let paths = paths.remove(&whole.id()).unwrap_or_default();
            Ok::<_, Error>(Slice { paths, whole: whole.clone(), own, piece })
        };
        let slices: Result<_> = partition.parameters.iter().enumerate().map(slice).collect();
        Ok(Sharded { slices: slices? })
    }

    /// One step of all parameters, each process making that of its rows.
    pub(crate) fn step(
        &self,
        optimizer: &mut dyn Optimizer,
        gradients: &Gradients,
        partition: &Partition,
        group: &Group<'_>,
        place: &str,
    ) -> Result<()> {
        let own = self.step_own(optimizer, gradients, &partition.parts[group.rank()]);
        let why = own.as_ref().err().map(ToString::to_string).unwrap_or_default();
        let all = group.meet(place, &[], own.as_ref().map(|bytes| &bytes[..]).map_err(|_| &why[..]));
        own?;
        let mut values: Vec<Vec<f32>> = vec![Vec::new(); self.slices.len()];
        for (bytes, pieces) in all?.iter().zip(&partition.parts) {
            let mut from = Reader::new(bytes);
            for piece in pieces.iter().filter(|piece| self.slices[piece.parameter].whole.is_trainable()) {
                values[piece.parameter].extend(from.f32s()?);
            }
        }
        for (slice, values) in self.slices.iter().zip(values) {
            if slice.whole.is_trainable() {
                slice.whole.set(Tensor::from_vec(values, slice.whole.shape())?);
            }
        }
        Ok(())
    }

    /// The new values of this process's rows.
    fn step_own(
        &self,
        optimizer: &mut dyn Optimizer,
        gradients: &Gradients,
        pieces: &[Piece],
    ) -> Result<Vec<u8>> {
        let mut own = Gradients::default();
        for slice in &self.slices {
            // Callbacks may have changed the model since.
            slice.own.set(rows_of(&slice.whole, slice.piece)?);
            if let Some(gradient) = gradients.get(&slice.whole) {
                own.set(&slice.own, piece_of(gradient, &slice.piece)?);
            }
        }
        optimizer.step(self, &own)?;
        let mut to = Writer::new();
        for slice in pieces
            .iter()
            .map(|piece| &self.slices[piece.parameter])
            .filter(|slice| slice.whole.is_trainable())
        {
            to.f32s(&flat(&slice.own.value()));
        }
        Ok(to.into_bytes())
    }

    /// The state of the whole optimiser from those of all processes.
    pub(crate) fn whole_state(&self, all: &[Vec<u8>]) -> Result<StateDict> {
        let read = |bytes: &Vec<u8>| codec::decode(Kind::Training, bytes).map_err(Error::BadState);
        let states: Result<Vec<StateDict>> = all.iter().map(read).collect();
        let states = states?;
        let mut whole = states[0].clone();
        for (name, value) in &mut whole.tensors {
            let Some(slice) = self.slice_of(name) else { continue };
            let parts: Result<Vec<&Tensor>> = states.iter().map(|state| state.tensor::<f32>(name)).collect();
            let joined = Tensor::cat(&parts?, 0)?;
            *value = joined.reshape(slice.whole.shape())?.into();
        }
        Ok(whole)
    }

    /// The part of a whole optimiser's state that belongs to this process.
    pub(crate) fn own_state(&self, mut state: StateDict) -> Result<StateDict> {
        for (name, value) in &mut state.tensors {
            if let Some(slice) = self.slice_of(name) {
                *value = cut(value.as_f32()?, slice.piece)?.into();
            }
        }
        Ok(state)
    }

    /// The parameter that a running value, known by path and number, belongs to.
    fn slice_of(&self, name: &str) -> Option<&Slice> {
        let (path, _) = name.rsplit_once('/')?;
        self.slices.iter().find(|slice| slice.paths.iter().any(|other| other == path))
    }
}

/// A state as bytes.
pub(crate) fn encode(state: &StateDict) -> Result<Vec<u8>> {
    codec::encode(Kind::Training, state).map_err(Error::BadState)
}

fn rows_of(parameter: &Parameter, piece: Piece) -> Result<Tensor> {
    cut(&parameter.value(), piece)
}

/// Rows of a tensor, as one of its own.
fn cut(values: &Tensor, Piece { start, end, .. }: Piece) -> Result<Tensor> {
    let (_, length) = rows(values.shape());
    let mut shape = values.shape().to_vec();
    match shape.first_mut() {
        Some(first) => *first = end - start,
        None => shape.push(end - start),
    }
    Ok(Tensor::from_slice(&flat(values)[start * length..end * length], shape)?)
}

#[cfg(test)]
mod tests {
    use cairn_nn::{Sequential, spec::Dense};

    use super::*;
    use crate::Adam;

    #[test]
    fn slices_of_a_state_are_a_part_each_and_together_the_whole() {
        let model = Sequential::new([30])
            .add(Dense::new(7))
            .add(Dense::new(1))
            .build(&mut cairn_tensor::rng(0))
            .unwrap();
        let mut adam = Adam::default();
        let x = Tensor::<f32>::ones([4, 30]).unwrap();
        let y = cairn_nn::Model::forward(&model, &x, &mut cairn_nn::Context::train(0)).unwrap();
        adam.step(&model, &y.square().unwrap().mean(..).unwrap().backward().unwrap()).unwrap();
        let state = adam.state();
        let values =
            |state: &StateDict| state.tensors.values().map(cairn_tensor::AnyTensor::len).sum::<usize>();
        for ranks in 1..5 {
            let partition = Partition::new(&model, ranks);
            let own = |rank| {
                let sharded = Sharded::new(&model, &partition, rank).unwrap();
                sharded.own_state(state.clone()).unwrap()
            };
            let all: Vec<StateDict> = (0..ranks).map(own).collect();
            assert!(
                all.iter().all(|own| values(own) <= values(&state).div_ceil(ranks) + 2 * 30),
                "{ranks} processes"
            );
            let bytes: Vec<Vec<u8>> = all.iter().map(|own| encode(own).unwrap()).collect();
            assert_eq!(Sharded::new(&model, &partition, 0).unwrap().whole_state(&bytes).unwrap(), state);
        }
    }
}
