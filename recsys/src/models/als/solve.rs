//! Half a sweep of ALS: every vector of one side, the other side fixed.
//!
//! For one vector x with interactions of weight w: with rows z = √w y, targets √w and G = α₀ Σ y yᵀ over the whole other
//! side, minimise |Z x - √w|² + xᵀ G x + λ' |x|². Exactly and by conjugate gradients a vector at a time, by [`blocks`] a
//! block of dimensions of all vectors at a time. Vectors are independent, so any schedule gives the same bits.

mod blocks;

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;

use super::share::Share;
use super::{Als, AlsModel, AlsSolver};
use crate::data::ids::{Idx, ItemIdx};
use crate::data::sparse::{Csr, UserItems};
use crate::data::stored::StoredRows;
use crate::linalg::dense;
use crate::linalg::rows::{self, Scattered};
use crate::models::factors::{Factors, Vectors};
use crate::{Error, Result};

/// Rows that one task takes. Small, because popular items are a thousand times the work of rare ones.
pub(super) const ROWS: usize = 16;

/// α₀ Σ y yᵀ, row-major, padded to whole vectors with zeros.
pub(super) fn weighted_gram(vectors: &Vectors, weight: f32) -> Vec<f32> {
    let dim = vectors.dim();
    let width = rows::padded(dim);
    let columns = vectors.as_mat();
    let gram = gram_by_chunks(columns);
    let mut out = vec![0.0; width * width];
    for i in 0..dim {
        for j in 0..dim {
            // Mirror one triangle, so that the matrix is symmetric to the bit.
            out[i * width + j] = (f64::from(weight) * gram[(i.min(j), i.max(j))]) as f32;
        }
    }
    out
}

/// `Y Yᵀ` (dim x dim) in double precision from single-precision partial products of a few thousand vectors each.
fn gram_by_chunks(columns: faer::MatRef<'_, f32>) -> faer::Mat<f64> {
    const CHUNK: usize = 4096;
    let dim = columns.nrows();
    let partial: Vec<faer::Mat<f32>> = (0..columns.ncols().div_ceil(CHUNK))
        .into_par_iter()
        .map(|chunk| {
            let start = chunk * CHUNK;
            let part = columns.subcols(start, CHUNK.min(columns.ncols() - start));
            let mut out = faer::Mat::zeros(dim, dim);
            dense::mul_into(out.as_mut(), faer::Accum::Replace, part, part.transpose(), 1.0_f32);
            out
        })
        .collect();
    let mut sum = faer::Mat::<f64>::zeros(dim, dim);
    for part in &partial {
        for j in 0..dim {
            for i in 0..dim {
                sum[(i, j)] += f64::from(part[(i, j)]);
            }
        }
    }
    sum
}

/// The interactions as one side sees them: its own vectors in rows.
pub(super) struct Side<'a, R, C> {
    matrix: &'a Csr<R, C>,
    /// √w of every interaction, in the order of the matrix.
    roots: Vec<f32>,
    /// The position of each of them in the order of the other side, for solvers that ask.
    elsewhere: Option<Vec<u32>>,
}

impl<'a, R: Idx, C: Idx> Side<'a, R, C> {
    pub(super) fn new(settings: &Als, matrix: &'a Csr<R, C>, other: &Csr<C, R>) -> Self {
        let elsewhere = settings.block().and_then(|_| blocks::positions(matrix, other));
        Self { matrix, roots: settings.roots(matrix), elsewhere }
    }
}

/// Solves for all vectors of `side`, of many processes each for its share. `missing` belongs to the solver and is to be handed
/// from half sweep to half sweep, empty at first.
pub(super) fn half_sweep<R: Idx, C: Idx>(
    settings: &Als,
    solver: AlsSolver,
    side: &Side<'_, R, C>,
    fixed: &Vectors,
    solved: &mut Vectors,
    missing: &mut Vec<f32>,
    share: Option<&Share<'_>>,
) -> Result<()> {
    let block = block_width(settings, solver);
    let known = block.is_some() && blocks::carry(side, missing);
    let own = share.map_or(0..side.matrix.n_rows(), |share| share.own(side.matrix, settings.factors));
    let residual: &mut [f32] = if block.is_some() { missing } else { &mut [] };
    let mut tasks = tasks(settings, side, fixed, solved.as_mut_slice(), residual, &own);
    let prepared = Fixed::new(settings, fixed);
    let result = solve(solver, side.matrix, &prepared, block.map(|block| (block, known)), &mut tasks);
    match share {
        None => result,
        Some(share) => share.gather(result, side.matrix, solved, block.map(|_| missing)),
    }
}

/// The width of the blocks of dimensions that are solved for one after the other; `None` for a solver that takes all at a time.
fn block_width(settings: &Als, solver: AlsSolver) -> Option<usize> {
    let width = rows::padded(settings.factors);
    match solver {
        // Sizes are compared before they are padded: the largest there are would overflow.
        AlsSolver::Blocks { size } if size < width => Some(rows::padded(size)).filter(|&block| block < width),
        _ => None,
    }
}

/// The same where the rows are on disk: a part of them after the other. What interactions miss is measured in each part anew, since a
/// number for each of them would not fit in memory.
pub(super) fn half_sweep_stored<R: Idx, C: Idx>(
    settings: &Als,
    solver: AlsSolver,
    stored: &StoredRows<R, C>,
    fixed: &Vectors,
    solved: &mut Vectors,
) -> Result<()> {
    let (block, dim) = (block_width(settings, solver), settings.factors);
    let mut prepared = Fixed::new(settings, fixed);
    if let Some(block) = block {
        prepared.keep_panels(block);
    }
    for part in stored.parts(0..stored.n_rows(), ROWS) {
        let matrix = stored.read(part.clone())?;
        settings.check_weights(&matrix).map_err(|error| error.further_down(part.start as u32))?;
        let side = Side { matrix: &matrix, roots: settings.roots(&matrix), elsewhere: None };
        let vectors = &mut solved.as_mut_slice()[part.start * dim..part.end * dim];
        let mut missing = Vec::new();
        if block.is_some() {
            blocks::carry(&side, &mut missing);
        }
        let mut tasks = tasks(settings, &side, fixed, vectors, &mut missing, &(0..matrix.n_rows()));
        tasks.iter_mut().for_each(|task| task.named = part.start + task.first);
        solve(solver, &matrix, &prepared, block.map(|block| (block, false)), &mut tasks)?;
    }
    Ok(())
}

/// What a half sweep needs of the vectors that are fixed.
struct Fixed<'a> {
    vectors: &'a Vectors,
    /// Padded to whole registers.
    table: Cow<'a, [f32]>,
    width: usize,
    /// See [`weighted_gram`].
    gram: Vec<f32>,
    /// The columns of one block after the other, where they are kept: each is otherwise made when it is asked for.
    panels: Vec<Cow<'a, [f32]>>,
}

impl<'a> Fixed<'a> {
    fn new(settings: &Als, vectors: &'a Vectors) -> Self {
        let table = padded_columns(vectors, 0, settings.factors);
        let gram = weighted_gram(vectors, settings.unobserved_weight);
        Fixed { vectors, table, width: rows::padded(settings.factors), gram, panels: Vec::new() }
    }

    /// Makes the columns of all blocks now, for sweeps over many small matrices.
    fn keep_panels(&mut self, block: usize) {
        let starts = (0..self.width).step_by(block);
        self.panels =
            starts.map(|start| padded_columns(self.vectors, start, block.min(self.width - start))).collect();
    }

    /// The columns of a block, as a table of rows of `size`.
    fn panel(&self, number: usize, start: usize, size: usize) -> Cow<'_, [f32]> {
        match self.panels.get(number) {
            Some(panel) => Cow::Borrowed(panel),
            None => padded_columns(self.vectors, start, size),
        }
    }
}

/// Solves for the vectors of tasks. `blocks` is the width of blocks, if that is how, and whether what interactions miss is known.
fn solve<R: Idx, C: Idx>(
    solver: AlsSolver,
    matrix: &Csr<R, C>,
    fixed: &Fixed<'_>,
    blocks: Option<(usize, bool)>,
    tasks: &mut [Task<'_>],
) -> Result<()> {
    let Fixed { ref table, width, ref gram, .. } = *fixed;
    match (blocks, solver) {
        (Some((block, known)), _) => {
            if !known {
                blocks::measure(matrix, table, width, tasks)?;
            }
            blocks::sweep(matrix, fixed, block, tasks)
        }
        (_, AlsSolver::ConjugateGradient { steps }) => for_each_row(tasks, matrix, width, |work, row| {
            work.z.resize(row.columns.len() * width, 0.0);
            rows::gather(row.scattered(table, width), &mut work.z);
            work.load(row.vector);
            conjugate_gradient(work, row.roots, gram, row.lambda, steps);
            work.store(row.vector);
            Ok(())
        }),
        _ => for_each_row(tasks, matrix, width, |work, row| {
            work.normal_equations(table, row.columns, row.roots, gram, row.lambda);
            solve_or_refine(&mut work.h, &mut work.x, &mut work.copy)?;
            work.store(row.vector);
            Ok(())
        }),
    }
}

/// What a task works on: some rows of the matrix, their vectors, and room for a number at each of their interactions.
struct Task<'a> {
    first: usize,
    /// What its first row is called in an error.
    named: usize,
    vectors: &'a mut [f32],
    roots: &'a [f32],
    lambdas: Vec<f32>,
    residual: &'a mut [f32],
}

/// One row of a task.
struct Row<'a, C> {
    columns: &'a [C],
    roots: &'a [f32],
    lambda: f32,
    vector: &'a mut [f32],
    residual: &'a mut [f32],
}

impl<'a, C> Row<'a, C> {
    /// The vectors of the other side that this row has met, in a table of rows of `width`.
    fn scattered<'b>(&self, table: &'b [f32], width: usize) -> Scattered<'b, C>
    where
        'a: 'b,
    {
        Scattered { table, width, columns: self.columns, roots: self.roots }
    }
}

/// The tasks of some rows.
fn tasks<'a, R: Idx, C: Idx>(
    settings: &Als,
    side: &'a Side<'_, R, C>,
    fixed: &Vectors,
    solved: &'a mut [f32],
    mut residual: &'a mut [f32],
    own: &Range<usize>,
) -> Vec<Task<'a>> {
    let mut roots = &side.roots[..];
    let chunks = solved.chunks_mut(ROWS * settings.factors).enumerate();
    chunks
        .map(|(chunk, vectors)| {
            let first = chunk * ROWS;
            let rows = first..first + vectors.len() / settings.factors;
            let lengths = rows.map(|row| side.matrix.row_len(R::from_u32(row as u32)));
            let (interactions, rest) = roots.split_at(lengths.clone().sum());
            roots = rest;
            // None where the solver asks for none.
            let held = interactions.len().min(residual.len());
            let residual = residual.split_off_mut(..held).unwrap_or_default();
            let lambdas = lengths.map(|n| frequency_scaled(settings, n, fixed.len())).collect();
            Task { first, named: first, vectors, roots: interactions, lambdas, residual }
        })
        .filter(|task| own.contains(&task.first))
        .collect()
}

/// Calls `solve` for every row, in parallel over the tasks; an error names the row.
fn for_each_row<R: Idx, C: Idx>(
    tasks: &mut [Task<'_>],
    matrix: &Csr<R, C>,
    width: usize,
    solve: impl Fn(&mut Work, Row<'_, C>) -> Result<(), ()> + Sync,
) -> Result<()> {
    tasks.par_iter_mut().try_for_each_init(
        || Work::new(width),
        |work, task| {
            let mut at = 0;
            let dim = task.vectors.len() / task.lambdas.len();
            for (i, vector) in task.vectors.chunks_mut(dim).enumerate() {
                let (columns, _) = matrix.row(R::from_u32((task.first + i) as u32));
                let end = at + columns.len();
                let residual = task.residual.get_mut(at..end).unwrap_or_default();
                let row =
                    Row { columns, roots: &task.roots[at..end], lambda: task.lambdas[i], vector, residual };
                solve(work, row).map_err(|()| Error::Factorization {
                    what: "normal equations of ALS",
                    reason: format!(
                        "{} {} is not positive definite; raise the regularization",
                        R::KIND,
                        task.named + i
                    ),
                })?;
                at = end;
            }
            Ok(())
        },
    )
}

/// Columns `start..start + size` of all vectors as a table of their own, padded with zeros to whole registers.
fn padded_columns(vectors: &Vectors, start: usize, size: usize) -> Cow<'_, [f32]> {
    let (dim, width) = (vectors.dim(), rows::padded(size));
    if start == 0 && width == dim {
        return Cow::Borrowed(vectors.as_slice());
    }
    let mut table = vec![0.0; vectors.len() * width];
    for (row, vector) in table.chunks_exact_mut(width).zip(vectors.as_slice().chunks_exact(dim)) {
        let part = &vector[start..(start + size).min(dim)];
        row[..part.len()].copy_from_slice(part);
    }
    Cow::Owned(table)
}

/// λ (n + α₀ N)^ν.
fn frequency_scaled(settings: &Als, n: usize, all: usize) -> f32 {
    let frequency = n as f32 + settings.unobserved_weight * all as f32;
    settings.regularization * frequency.powf(settings.frequency_exponent)
}

/// Buffers of one thread.
struct Work {
    /// Gathered rows z.
    z: Vec<f32>,
    /// The vector solved for, padded with zeros.
    x: Vec<f32>,
    h: Vec<f32>,
    /// A block's right-hand side, then its step.
    step: Vec<f32>,
    copy: Vec<f32>,
}

impl Work {
    fn new(width: usize) -> Self {
        Self { z: Vec::new(), x: vec![0.0; width], h: Vec::new(), step: Vec::new(), copy: Vec::new() }
    }

    fn load(&mut self, x: &[f32]) {
        self.x[..x.len()].copy_from_slice(x);
    }

    fn store(&self, x: &mut [f32]) {
        x.copy_from_slice(&self.x[..x.len()]);
    }

    /// h = ZᵀZ + G + λ and x = Zᵀ√w. The rows are gathered a chunk at a time and need not outlive it.
    fn normal_equations<C: Idx>(
        &mut self,
        table: &[f32],
        columns: &[C],
        roots: &[f32],
        gram: &[f32],
        lambda: f32,
    ) {
        let width = self.x.len();
        self.h.clear();
        self.h.extend_from_slice(gram);
        for i in 0..width {
            self.h[i * width + i] += lambda;
        }
        self.x.fill(0.0);
        let chunk = rows::chunk_rows(width);
        for (columns, roots) in columns.chunks(chunk).zip(roots.chunks(chunk)) {
            self.z.resize(columns.len() * width, 0.0);
            rows::gather(Scattered { table, width, columns, roots }, &mut self.z);
            rows::add_gram(&self.z, roots, &mut self.h, &mut self.x);
        }
    }
}

/// Steps of conjugate gradients on the normal equations, from the x there is.
fn conjugate_gradient(work: &mut Work, targets: &[f32], gram: &[f32], lambda: f32, steps: usize) {
    let width = work.x.len();
    let mut r = vec![0.0; width];
    let mut hp = vec![0.0; width];
    // r = Zᵀ (√w - Z x) - G x - λ x.
    rows::normal_product(&work.z, &work.x, Some(targets), &mut r);
    rows::add_rows(gram, &work.x, &mut hp);
    rows::combine(-1.0, &hp, 1.0, &mut r);
    rows::combine(-lambda, &work.x, 1.0, &mut r);
    let mut p = r.clone();
    let mut norm = rows::dot(&r, &r);
    for _ in 0..steps {
        // Below this the step is noise, and the quotient could be 0 / 0.
        if norm < 1e-20 {
            break;
        }
        rows::normal_product(&work.z, &p, None, &mut hp);
        // G is symmetric: its rows are its columns.
        rows::add_rows(gram, &p, &mut hp);
        rows::combine(lambda, &p, 1.0, &mut hp);
        let step = norm / rows::dot(&p, &hp);
        rows::combine(step, &p, 1.0, &mut work.x);
        rows::combine(-step, &hp, 1.0, &mut r);
        let next = rows::dot(&r, &r);
        rows::combine(1.0, &r, next / norm, &mut p);
        norm = next;
    }
}

/// Cholesky in single precision; where that breaks down, which is hardly ever, once more in double. `copy` is room for what
/// a second attempt starts from.
fn solve_or_refine(h: &mut [f32], b: &mut [f32], copy: &mut Vec<f32>) -> Result<(), ()> {
    let n = b.len();
    copy.clear();
    copy.extend_from_slice(h);
    copy.extend_from_slice(b);
    let (copy, rhs) = copy.split_at(h.len());
    if rows::solve_positive_definite(h, b) && b.iter().all(|x| x.is_finite()) {
        return Ok(());
    }
    let mut a = faer::Mat::from_fn(n, n, |i, j| f64::from(copy[i.min(j) * n + i.max(j)]));
    let mut memory = dense::cholesky_memory::<f64>(n);
    dense::cholesky_in_place(a.as_mut(), &mut memory)?;
    let mut x = faer::Mat::from_fn(n, 1, |i, _| f64::from(rhs[i]));
    let seq = faer::Par::Seq;
    faer::linalg::triangular_solve::solve_lower_triangular_in_place(a.as_ref(), x.as_mut(), seq);
    faer::linalg::triangular_solve::solve_upper_triangular_in_place(a.transpose(), x.as_mut(), seq);
    for (i, b) in b.iter_mut().enumerate() {
        *b = x[(i, 0)] as f32;
    }
    if b.iter().all(|x| x.is_finite()) { Ok(()) } else { Err(()) }
}

/// The normal equations of a history.
fn equations(model: &AlsModel, items: &[ItemIdx], values: &[f32]) -> Result<Work> {
    let AlsModel { settings, factors, item_gram } = model;
    let mut work = Work::new(rows::padded(settings.factors));
    // Only the vectors that are needed, in a table of their own.
    let mut own = Vectors::zeros(items.len(), settings.factors)?;
    for (vector, item) in own.as_mut_slice().chunks_exact_mut(settings.factors).zip(items) {
        vector.copy_from_slice(factors.items.get(item.at()));
    }
    let table = padded_columns(&own, 0, settings.factors);
    let columns: Vec<ItemIdx> = (0..items.len() as u32).map(ItemIdx).collect();
    let roots: Vec<f32> = values.iter().map(|&value| settings.confidence.weight(value).sqrt()).collect();
    let lambda = frequency_scaled(settings, items.len(), factors.items.len());
    work.normal_equations(&table, &columns, &roots, item_gram, lambda);
    Ok(work)
}

fn failed() -> Error {
    Error::Factorization {
        what: "fold-in",
        reason: "the normal equations are not positive definite".to_owned(),
    }
}

pub(super) fn fold_in(model: &AlsModel, items: &[ItemIdx], values: &[f32]) -> Result<Vec<f32>> {
    let mut work = equations(model, items, values)?;
    solve_or_refine(&mut work.h, &mut work.x, &mut work.copy).map_err(|()| failed())?;
    work.x.truncate(model.settings.factors);
    Ok(work.x)
}

/// H⁻¹ b with the normal equations of a history.
pub(super) fn solve_for(model: &AlsModel, items: &[ItemIdx], values: &[f32], b: &[f32]) -> Result<Vec<f32>> {
    let mut work = equations(model, items, values)?;
    work.x.fill(0.0);
    work.load(b);
    solve_or_refine(&mut work.h, &mut work.x, &mut work.copy).map_err(|()| failed())?;
    work.x.truncate(b.len());
    Ok(work.x)
}

pub(super) fn loss(settings: &Als, matrix: &UserItems, factors: &Factors) -> Result<f64> {
    let Factors { users, items } = factors;
    let found = (users.len(), items.len(), users.dim(), items.dim());
    if found != (matrix.n_rows(), matrix.n_cols(), settings.factors, settings.factors) {
        return Err(Error::Shape {
            what: "factors and matrix",
            expected: format!("{} x {}, {} factors", matrix.n_rows(), matrix.n_cols(), settings.factors),
            found: format!("{} x {}, {} and {} factors", found.0, found.1, found.2, found.3),
        });
    }
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    let observed: Vec<f64> = (0..matrix.n_rows() as u32)
        .into_par_iter()
        .map(|u| {
            let (columns, values) = matrix.row(crate::UserIdx(u));
            let x = users.get(u as usize);
            let term = |(i, &v): (&ItemIdx, &f32)| {
                f64::from(settings.confidence.weight(v)) * (dot(x, items.get(i.at())) - 1.0).powi(2)
            };
            columns.iter().zip(values).map(term).sum()
        })
        .collect();
    let (gu, gi) = (gram_by_chunks(users.as_mat()), gram_by_chunks(items.as_mat()));
    let d = settings.factors;
    let all: f64 = (0..d).map(|i| (0..d).map(|j| gu[(i, j)] * gi[(i, j)]).sum::<f64>()).sum();
    let norms = |vectors: &Vectors, count: &dyn Fn(usize) -> usize, other: usize| -> f64 {
        (0..vectors.len())
            .map(|n| {
                f64::from(frequency_scaled(settings, count(n), other)) * dot(vectors.get(n), vectors.get(n))
            })
            .sum()
    };
    let transpose = matrix.transpose();
    let users_norm = norms(users, &|n| matrix.row_len(crate::UserIdx(n as u32)), items.len());
    let items_norm = norms(items, &|n| transpose.row_len(ItemIdx(n as u32)), users.len());
    Ok(observed.iter().sum::<f64>() + f64::from(settings.unobserved_weight) * all + users_norm + items_norm)
}
