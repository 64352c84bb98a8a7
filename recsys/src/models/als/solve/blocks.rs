//! iALS++ (Rendle, Krichene, Zhang & Koren 2021): a Newton step, which for least squares is exact, in one block of dimensions
//! after the other.
//!
//! Block by block over all rows of the matrix, rather than row by row over all blocks: the columns of the fixed vectors
//! that one block reads are a narrow table, which stays in the second-level cache where the whole vectors would not, and
//! with it go the gathers that bound conjugate gradients. The price is one number for each interaction, what it misses so
//! far, kept up to date by a pass over the block after its step and carried from half sweep to half sweep, which is a gather
//! of single numbers where measuring anew is one of whole vectors. (Multiplying the panel's rows where they lie, without
//! bringing them together first, was slower: on 26 million interactions by a quarter.)

use rayon::prelude::*;

use super::{Fixed, Side, Task, for_each_row, solve_or_refine};
use crate::Result;
use crate::data::ids::Idx;
use crate::data::sparse::Csr;
use crate::linalg::rows;

/// Numbers moved by one task.
const PART: usize = 1 << 14;

/// The position of each entry of `matrix` in its transpose; `None` for more entries than 32 bits can number.
pub(super) fn positions<R: Idx, C: Idx>(matrix: &Csr<R, C>, transpose: &Csr<C, R>) -> Option<Vec<u32>> {
    u32::try_from(matrix.nnz()).ok()?;
    let mut next: Vec<u32> = transpose.offsets().iter().map(|&offset| offset as u32).collect();
    let position = |column: &C| {
        let position = next[column.at()];
        next[column.at()] += 1;
        position
    };
    Some(matrix.columns().iter().map(position).collect())
}

/// Brings what is `missing` from the order of the other side, solved before, into that of this one. `false` where it has to
/// be measured: at first.
pub(super) fn carry<R, C>(side: &Side<'_, R, C>, missing: &mut Vec<f32>) -> bool {
    let known = side.elsewhere.as_ref().filter(|_| !missing.is_empty());
    let Some(elsewhere) = known else {
        *missing = side.roots.iter().map(|root| -root).collect();
        return false;
    };
    let mut here = vec![0.0; missing.len()];
    here.par_chunks_mut(PART).zip(elsewhere.par_chunks(PART)).for_each(|(here, elsewhere)| {
        for (here, &position) in here.iter_mut().zip(elsewhere) {
            *here = missing[position as usize];
        }
    });
    *missing = here;
    true
}

/// What is missing at each interaction, √w (x·y - 1), from the -√w that is there.
pub(super) fn measure<R: Idx, C: Idx>(
    matrix: &Csr<R, C>,
    table: &[f32],
    width: usize,
    tasks: &mut [Task<'_>],
) -> Result<()> {
    for_each_row(tasks, matrix, width, |work, row| {
        work.load(row.vector);
        rows::add_gathered_products(row.scattered(table, width), &work.x, row.residual);
        Ok(())
    })
}

/// One pass over the blocks of `block` dimensions.
pub(super) fn sweep<R: Idx, C: Idx>(
    matrix: &Csr<R, C>,
    fixed: &Fixed<'_>,
    block: usize,
    tasks: &mut [Task<'_>],
) -> Result<()> {
    let Fixed { width, ref gram, .. } = *fixed;
    for (number, start) in (0..width).step_by(block).enumerate() {
        let size = block.min(width - start);
        let panel = fixed.panel(number, start, size);
        let gram_rows = &gram[start * width..(start + size) * width];
        let gram_block: Vec<f32> =
            gram_rows.chunks_exact(width).flat_map(|row| &row[start..start + size]).copied().collect();
        for_each_row(tasks, matrix, width, |work, row| {
            work.load(row.vector);
            work.z.resize(row.columns.len() * size, 0.0);
            rows::gather(row.scattered(&panel, size), &mut work.z);
            work.step.clear();
            work.step.extend(work.x[start..start + size].iter().map(|x| row.lambda * x));
            rows::add_row_products(gram_rows, &work.x, &mut work.step);
            work.h.clear();
            work.h.extend_from_slice(&gram_block);
            for i in 0..size {
                work.h[i * size + i] += row.lambda;
            }
            rows::add_gram(&work.z, row.residual, &mut work.h, &mut work.step);
            solve_or_refine(&mut work.h, &mut work.step, &mut work.copy)?;
            work.step.iter_mut().for_each(|step| *step = -*step);
            for (x, step) in row.vector[start..].iter_mut().zip(&work.step) {
                *x += step;
            }
            rows::add_row_products(&work.z, &work.step, row.residual);
            Ok(())
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::ids::{ItemIdx, UserIdx};

    #[test]
    fn every_entry_is_found_in_the_transpose() {
        let entries = (0..60_u32).map(|n| (UserIdx(n % 7), ItemIdx(n * 5 % 11), n as f32));
        let matrix = Csr::<UserIdx, ItemIdx>::from_entries(7, 11, entries).unwrap();
        let transpose = matrix.transpose();
        for (from, to) in [
            (
                matrix.values(),
                positions(&matrix, &transpose)
                    .unwrap()
                    .iter()
                    .map(|&at| transpose.values()[at as usize])
                    .collect::<Vec<_>>(),
            ),
            (
                transpose.values(),
                positions(&transpose, &matrix)
                    .unwrap()
                    .iter()
                    .map(|&at| matrix.values()[at as usize])
                    .collect(),
            ),
        ] {
            assert_eq!(from, to, "every value is there once");
        }
    }
}
