//! Rows that do not depend on each other, divided among processes: each computes some, and tells the others what came of them.
//!
//! What is computed of a row is the same wherever that is, so the whole has the same bits at any number of processes. Blocks of rows are
//! cut where tasks of one process are, so that even a product of matrices has the same operands.

use std::ops::Range;

use cairn_processes::wire::{Reader, Writer};
use cairn_processes::{Communicator, Group};

use crate::Result;
use crate::data::ids::{Idx, ItemIdx};
use crate::data::sparse::Csr;
use crate::serve::top_k::ScoredItem;

/// What is computed of a row, as bytes and back.
pub(crate) trait Message: Sized {
    fn write(&self, to: &mut Writer);
    fn read(from: &mut Reader<'_>) -> Result<Self>;
}

impl<C: Idx> Message for Vec<(C, f32)> {
    fn write(&self, to: &mut Writer) {
        to.u32s(&self.iter().map(|(column, _)| column.at() as u32).collect::<Vec<_>>());
        to.f32s(&self.iter().map(|(_, value)| *value).collect::<Vec<_>>());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self> {
        let (columns, values) = (from.u32s()?, from.f32s()?);
        Ok(columns.into_iter().map(C::from_u32).zip(values).collect())
    }
}

impl Message for Vec<ScoredItem> {
    fn write(&self, to: &mut Writer) {
        self.iter().map(|entry| (entry.item, entry.score)).collect::<Vec<_>>().write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self> {
        let pairs = Vec::<(ItemIdx, f32)>::read(from)?;
        Ok(pairs.into_iter().map(|(item, score)| ScoredItem { item, score }).collect())
    }
}

/// With a number beside it.
impl<T: Message> Message for (T, f64) {
    fn write(&self, to: &mut Writer) {
        self.0.write(to);
        to.u64(self.1.to_bits());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self> {
        Ok((T::read(from)?, f64::from_bits(from.u64()?)))
    }
}

/// What `compute` makes of each of some rows, in order, of which every process computes a block that begins at a multiple of `unit`.
/// `facts` must be the same on all, and an error of one, in `rows` or in what is computed, is one of all.
pub(crate) fn by_rank<T: Message>(
    processes: &dyn Communicator,
    place: &str,
    facts: impl FnOnce() -> Vec<(&'static str, String)>,
    rows: Result<usize>,
    unit: usize,
    compute: impl FnOnce(Range<usize>) -> Result<Vec<T>>,
) -> Result<Vec<T>> {
    let (rank, size) = (processes.rank(), processes.size());
    if size == 1 {
        return compute(0..rows?);
    }
    let group = Group::new(processes);
    let mut all_facts = vec![
        ("the version of Cairn".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("the instruction set".to_owned(), cairn_tensor::instruction_set().to_owned()),
    ];
    all_facts.extend(facts().into_iter().map(|(name, value)| (name.to_owned(), value)));
    all_facts.extend(rows.as_ref().ok().map(|rows| ("the number of rows".to_owned(), rows.to_string())));
    let met =
        meet(&group, &format!("the beginning of {place}"), &all_facts, &rows.as_ref().map(|_| Vec::new()));
    let rows = rows?;
    met?;
    let cut = |rank: usize| match rank == size {
        true => rows,
        false => (rows as u128 * rank as u128 / size as u128) as usize / unit * unit,
    };
    let own = compute(cut(rank)..cut(rank + 1));
    let message = own.as_ref().map(|own| {
        let mut to = Writer::new();
        own.iter().for_each(|row| row.write(&mut to));
        to.into_bytes()
    });
    let all = meet(&group, place, &[], &message);
    own?;
    let mut found = Vec::with_capacity(rows);
    for (rank, bytes) in all?.iter().enumerate() {
        let mut from = Reader::new(bytes);
        for _ in cut(rank)..cut(rank + 1) {
            found.push(T::read(&mut from)?);
        }
    }
    Ok(found)
}

/// As [`Group::meet`], with what this process has or why it has nothing.
fn meet(
    group: &Group<'_>,
    place: &str,
    facts: &[(String, String)],
    own: &std::result::Result<Vec<u8>, &crate::Error>,
) -> Result<Vec<Vec<u8>>> {
    let why = own.as_ref().err().map(ToString::to_string).unwrap_or_default();
    Ok(group.meet(place, facts, own.as_deref().map_err(|_| &why[..]))?)
}

/// A matrix as a short text by which processes compare theirs.
pub(crate) fn sum_of<R: Idx, C: Idx>(matrix: &Csr<R, C>) -> String {
    let mut crc = crc32fast::Hasher::new();
    matrix.offsets().iter().for_each(|offset| crc.update(&(*offset as u64).to_le_bytes()));
    matrix.columns().iter().for_each(|column| crc.update(&(column.at() as u32).to_le_bytes()));
    matrix.values().iter().for_each(|value| crc.update(&value.to_le_bytes()));
    format!("{} x {}, sum {:08x}", matrix.n_rows(), matrix.n_cols(), crc.finalize())
}
