//! iALS++ (Rendle, Krichene, Zhang & Koren 2021): a Newton step, which for least squares is exact, in one block of dimensions
//! after the other.
//!
//! Block by block over all rows of the matrix, rather than row by row over all blocks: the columns of the fixed vectors
//! that one block reads are a narrow table, which stays in the second-level cache where the whole vectors would not, and
//! with it go the gathers that bound conjugate gradients. The price is one number for each interaction, what it misses so
//! far, kept up to date by a pass over the block after its step.

use rayon::prelude::*;

use super::{Task, for_each_row, padded_columns, solve_or_refine};
use crate::Result;
use crate::ids::Index;
use crate::linalg::kernels;
use crate::models::factors::Vectors;
use crate::sparse::Csr;

/// One pass over the blocks of `block` dimensions. `table` holds the fixed vectors padded, `gram` is G of as many columns.
pub(super) fn sweep<R: Index, C: Index>(
    matrix: &Csr<R, C>,
    fixed: &Vectors,
    table: &[f32],
    gram: &[f32],
    block: usize,
    tasks: &mut [Task<'_>],
) -> Result<()> {
    let width = kernels::padded(fixed.dim());
    tasks.par_iter_mut().for_each(|task| task.residual = vec![0.0; task.roots.len()]);
    // Z x - √w.
    for_each_row(tasks, matrix, width, |work, row| {
        work.load(row.vector);
        kernels::residuals(table, row.columns, row.roots, &work.x, row.residual);
        Ok(())
    })?;
    for start in (0..width).step_by(block) {
        let size = block.min(width - start);
        let panel = padded_columns(fixed, start, size);
        let gram_rows = &gram[start * width..(start + size) * width];
        for_each_row(tasks, matrix, width, |work, row| {
            work.load(row.vector);
            work.z.resize(row.columns.len() * size, 0.0);
            kernels::gather(&panel, size, row.columns, row.roots, &mut work.z);
            work.step.clear();
            work.step.extend(work.x[start..start + size].iter().map(|x| row.lambda * x));
            kernels::add_row_products(gram_rows, &work.x, &mut work.step);
            work.h.clear();
            for gram in gram_rows.chunks_exact(width) {
                work.h.extend_from_slice(&gram[start..start + size]);
            }
            for i in 0..size {
                work.h[i * size + i] += row.lambda;
            }
            kernels::add_gram(&work.z, row.residual, &mut work.h, &mut work.step);
            solve_or_refine(&mut work.h, &mut work.step)?;
            work.step.iter_mut().for_each(|step| *step = -*step);
            for (x, step) in row.vector[start..].iter_mut().zip(&work.step) {
                *x += step;
            }
            if start + size < width {
                kernels::add_row_products(&work.z, &work.step, row.residual);
            }
            Ok(())
        })?;
    }
    Ok(())
}
