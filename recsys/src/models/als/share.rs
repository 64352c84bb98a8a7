//! ALS on many processes, of which each solves for a block of rows.
//!
//! With one side fixed the vectors of the other are independent, so that each process solves for some and all of them tell each
//! other what they found. Vectors are whole on all processes; what is computed of them is the same everywhere, and the model has the
//! same bits at any number of processes. Of N processes each sends its vectors to N - 1 others: in a sweep, together,
//! 4 (N - 1) (users + items) · factors bytes, and with iALS++ 8 (N - 1) more for each interaction, of which every process needs to
//! know what it misses so far.

use std::ops::Range;

use cairn_processes::wire::{Reader, Writer};
use cairn_processes::{Communicator, Group};

use super::Als;
use super::solve::ROWS;
use crate::by_rank::sum_of;
use crate::data::ids::Idx;
use crate::data::sparse::{Csr, UserItems};
use crate::models::factors::Vectors;
use crate::{Error, Result};

/// The processes that train a model together.
#[derive(Debug)]
pub(super) struct Share<'c>(Group<'c>);

impl<'c> Share<'c> {
    /// Nothing where there is one process.
    pub(super) fn new(processes: &'c dyn Communicator) -> Option<Self> {
        (processes.size() > 1).then(|| Share(Group::new(processes)))
    }

    /// An error on all unless all are about to train by the same settings on the same matrix, as far as there is no error in them.
    pub(super) fn agree(&self, settings: &Als, matrix: &UserItems, checked: Result<()>) -> Result<()> {
        let facts = [
            ("the version of Cairn", env!("CARGO_PKG_VERSION").to_owned()),
            ("the instruction set", cairn_tensor::instruction_set().to_owned()),
            ("the settings", format!("{settings:?}")),
            ("the matrix", sum_of(matrix)),
        ];
        let why = checked.as_ref().err().map(ToString::to_string).unwrap_or_default();
        let outcome = checked.as_ref().map(|()| &[][..]).map_err(|_| &why[..]);
        let met = self.0.meet(
            "the beginning of ALS",
            &facts.map(|(name, value)| (name.to_owned(), value)),
            outcome,
        );
        checked?;
        met?;
        Ok(())
    }

    /// The rows that this process solves for.
    pub(super) fn own<R: Idx, C: Idx>(&self, matrix: &Csr<R, C>, factors: usize) -> Range<usize> {
        let cuts = cuts(matrix, factors, self.0.size());
        cuts[self.0.rank()]..cuts[self.0.rank() + 1]
    }

    /// Takes over what the others found: vectors, and what interactions miss where that is asked for. `solved` is whether this
    /// process found its own.
    pub(super) fn gather<R: Idx, C: Idx>(
        &self,
        solved: Result<()>,
        matrix: &Csr<R, C>,
        vectors: &mut Vectors,
        missing: Option<&mut Vec<f32>>,
    ) -> Result<()> {
        let dim = vectors.dim();
        let cuts = cuts(matrix, dim, self.0.size());
        let part = |rank: usize, length: &dyn Fn(usize) -> usize| length(cuts[rank])..length(cuts[rank + 1]);
        let vector = |row: usize| row * dim;
        let interaction = |row: usize| matrix.offsets()[row];
        let mut to = Writer::new();
        to.f32s(&vectors.as_slice()[part(self.0.rank(), &vector)]);
        if let Some(missing) = &missing {
            to.f32s(&missing[part(self.0.rank(), &interaction)]);
        }
        let (bytes, why) =
            (to.into_bytes(), solved.as_ref().err().map(ToString::to_string).unwrap_or_default());
        let outcome = solved.as_ref().map(|()| &bytes[..]).map_err(|_| &why[..]);
        let all = self.0.meet("ALS", &[], outcome);
        solved?;
        let all = all?;
        let mut missing = missing;
        for (rank, bytes) in all.iter().enumerate().filter(|(rank, _)| *rank != self.0.rank()) {
            let mut from = Reader::new(bytes);
            take(&mut from, &mut vectors.as_mut_slice()[part(rank, &vector)])?;
            if let Some(missing) = &mut missing {
                take(&mut from, &mut missing[part(rank, &interaction)])?;
            }
        }
        Ok(())
    }

    /// The bytes that this process has sent.
    #[cfg(test)]
    pub(super) fn bytes_sent(&self) -> u64 {
        self.0.bytes_sent()
    }
}

fn take(from: &mut Reader<'_>, to: &mut [f32]) -> Result<()> {
    let values = from.f32s()?;
    if values.len() != to.len() {
        let (found, expected) = (values.len(), to.len());
        return Err(Error::Shape {
            what: "vectors of another process",
            expected: expected.to_string(),
            found: found.to_string(),
        });
    }
    to.copy_from_slice(&values);
    Ok(())
}

/// Where the rows of each process begin, and their end. Its share is one of the work: for a row its interactions, of which each adds a
/// product of vectors, and a third of the vector's length, for the factorisation. At whole tasks.
fn cuts<R: Idx, C: Idx>(matrix: &Csr<R, C>, factors: usize, size: usize) -> Vec<usize> {
    let (rows, each) = (matrix.n_rows(), factors / 3 + 1);
    let work = |row: usize| matrix.offsets()[row] + row * each;
    let cut = |rank: usize| {
        let share = (work(rows) as u128 * rank as u128 / size as u128) as usize;
        // The first row that so much work is before.
        let row = partition(rows, |row| work(row) < share);
        (row / ROWS * ROWS).min(rows)
    };
    (0..size).map(cut).chain([rows]).collect()
}

/// The first number below `count` for which this is false; `count` if there is none.
fn partition(count: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cairn_processes::Threads;

    use super::*;
    use crate::Estimator;
    use crate::data::ids::{ItemIdx, UserIdx};
    use crate::models::als::AlsSolver;

    /// About so many interactions, more of the first users.
    fn matrix(users: u32, items: u32, interactions: u32) -> UserItems {
        let mixed = |n: u32, by: u32| n.wrapping_mul(by) >> 7;
        let entry =
            |n: u32| (mixed(n, 2_654_435_769) % users % (1 + n % users), mixed(n, 2_246_822_519) % items);
        let positions: BTreeSet<(u32, u32)> = (0..interactions).map(entry).collect();
        let entries =
            positions.into_iter().map(|(u, i)| (UserIdx(u), ItemIdx(i), 1.0 + ((u + i) % 3) as f32));
        Csr::from_entries(users as usize, items as usize, entries).unwrap()
    }

    #[test]
    fn blocks_cover_all_rows_and_are_about_equal() {
        let matrix = matrix(997, 499, 20_000);
        for size in 1..9 {
            let cuts = cuts(&matrix, 8, size);
            assert!(cuts[0] == 0 && cuts[size] == 997 && cuts.is_sorted());
            let work = |row: usize| matrix.offsets()[row] + row * 3;
            for rank in 0..size {
                let own = work(cuts[rank + 1]) - work(cuts[rank]);
                assert!(own.abs_diff(work(997) / size) < 8000 / size + 2000, "{own} of {}", work(997));
            }
        }
        // Fewer rows than processes.
        assert_eq!(cuts(&self::matrix(3, 2, 5), 4, 4), [0, 0, 0, 0, 3]);
    }

    #[test]
    fn the_model_has_the_same_bits_at_any_number_of_processes() {
        // Blocks are narrower than the vectors; some users and items have no interaction.
        let matrix = matrix(211, 97, 1500);
        for solver in
            [AlsSolver::Cholesky, AlsSolver::ConjugateGradient { steps: 3 }, AlsSolver::Blocks { size: 8 }]
        {
            let settings = Als::new().factors(20).epochs(3).solver(solver);
            let alone = settings.fit_matrix(&matrix).unwrap();
            for size in [1, 2, 3, 4] {
                let models = Threads::run(size, |process| settings.fit_matrix_on(&matrix, process).unwrap());
                assert!(models.iter().all(|model| *model == alone), "{solver:?} on {size} processes");
            }
        }
    }

    #[test]
    fn the_bytes_sent_are_those_of_the_formula() {
        let (users, items, factors, epochs) = (300, 200, 6, 2);
        let matrix = matrix(users, items, 3000);
        for solver in
            [AlsSolver::Cholesky, AlsSolver::ConjugateGradient { steps: 2 }, AlsSolver::Blocks { size: 3 }]
        {
            let settings = Als::new().factors(factors).epochs(epochs).solver(solver);
            for size in [2, 4] {
                let sent = Threads::run(size, |process| {
                    let share = Share::new(process).unwrap();
                    settings.fit_share(&matrix, Some(&share)).unwrap();
                    share.bytes_sent()
                });
                let sweeps = epochs as u64;
                let vectors = u64::from(users + items) * sweeps + u64::from(users);
                let carried = settings.block().map_or(0, |_| 2 * sweeps * matrix.nnz() as u64);
                let formula = 4 * (size as u64 - 1) * (vectors * factors as u64 + carried);
                // A meeting has a head, and sums of settings are compared at first.
                let heads = size as u64 * (size as u64 - 1) * (600 + 2 * sweeps * 70 + 70);
                let found: u64 = sent.iter().sum();
                assert!(
                    found >= formula && found - formula < heads,
                    "{solver:?} {size}: {found} for {formula}"
                );
            }
        }
    }

    #[test]
    fn a_difference_or_an_error_on_one_is_one_on_all() {
        let run = |odd: Als, other: &UserItems| {
            let matrix = matrix(60, 40, 500);
            Threads::run(3, |process| {
                let (settings, matrix) =
                    if process.rank() == 1 { (&odd, other) } else { (&Als::new(), &matrix) };
                settings.fit_matrix_on(matrix, process).map(|_| ()).unwrap_err().to_string()
            })
        };
        for error in run(Als::new().epochs(3), &matrix(60, 40, 500)) {
            assert!(error.starts_with("the settings: ") && error.contains("on rank 1"), "{error}");
        }
        for error in run(Als::new(), &matrix(60, 40, 400)) {
            assert!(error.starts_with("the matrix: 60 x 40"), "{error}");
        }
        let errors = run(Als::new().factors(0), &matrix(60, 40, 500));
        assert!(errors[1].contains("factors") && errors[0] == format!("rank 1: {}", errors[1]), "{errors:?}");
    }
}
