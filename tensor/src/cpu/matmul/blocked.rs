//! Products of middling and large size, by blocks that the caches hold (Goto and van de Geijn 2008, "Anatomy of high-performance
//! matrix multiplication").
//!
//! A tile of sums stays in registers for some terms, whose part of the right operand, packed as wide as a tile, stays in the nearest
//! cache for a whole block of tiles below each other; between one part and the next the sums wait in a few kilobytes. The left operand
//! is read an element at a time, where it lies if its rows are in order, and packed if not. What follows on a product in a dense layer
//! (a bias, max(·, 0)) is applied to a tile before it is written.
//!
//! While a tile is computed, the lines that the next ones will need are asked for: of the next part of the right operand, of the rows
//! below where they are met for the first time, and of the result, which is about to be written. Memory answers some hundred cycles
//! later, a tile takes thousands; without this products of middling size, whose panels are used for a few tiles each, waited up to an eighth
//! of their time.
//!
//! The right operand is packed part by part as it is needed, which costs a fortieth of the products with it, or, where many blocks of
//! rows need it, and for one whose columns are in order and not its rows, once for all threads.
//!
//! The sums are those that [`matmul`](super) promises: a chain of fused multiply-adds for each [`DEPTH`](super::DEPTH) terms, from 0 on,
//! added to what is there.

use std::marker::PhantomData;

use super::{Mat, Out, PIECE, depths};
use crate::cpu::buffer::Buffer;
use crate::cpu::threads::{self, Pieces};
use crate::cpu::transpose::{self, TILE};
use crate::cpu::{Isa, Kernel, Vector, dispatch};
use crate::{Float, Result};

/// Multiply-adds below which packing is not worth it: a dense layer of 64 units over 784 inputs is a seventh slower by blocks, for 128 rows.
const LEAST: usize = 1 << 24;
/// Rows and columns from which on packing the left operand is worth it.
const OFTEN: usize = 256;
/// Elements of a right operand that is read from memory, and not from a cache.
const VAST: usize = 1 << 20;
/// Tiles, one below the other, that make a block of rows, at most: with 512 terms under half a megabyte. Many, so that a part of the
/// right operand is used often once it is there.
const TALL: usize = 24;
/// Pieces for each thread that a product is cut into, if they are large enough: many, so that they come out even.
const PIECES: usize = 8;
/// Terms for which sums stay in registers: as many rows of the widest panel fill half of the nearest cache.
const TERMS: usize = 160;
/// Terms between one that is packed and the one that is asked for meanwhile.
const AHEAD: usize = 16;
/// Elements of the tiles of a block, and of a part of a panel, at most: tiles of 8 rows and 3 registers of 16.
const SUMS: usize = TALL * 8 * 3 * 16;
const PART: usize = TERMS * 3 * 16;
/// Bytes of a right operand that lie near enough for several blocks of rows to pack it, each for itself.
const NEAR: usize = 1 << 19;

/// What is done to a product besides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finish<'a, T> {
    /// Whether the product is added to what is there.
    pub(crate) accumulate: bool,
    /// Added to each row.
    pub(crate) bias: Option<&'a [T]>,
    /// Whether max(·, 0) follows.
    pub(crate) relu: bool,
}

/// The shape of a tile: rows, registers side by side, and elements of a register.
#[derive(Debug, Clone, Copy)]
struct Shape {
    rows: usize,
    registers: usize,
    lanes: usize,
    fused: bool,
}

/// The tile of an instruction set.
fn shape<T: Float>() -> Shape {
    struct Of<T>(PhantomData<T>);
    impl<T: Float> Kernel for Of<T> {
        type Output = Shape;
        #[inline(always)]
        fn run<S: Isa>(self) -> Shape {
            let (rows, registers) = if S::REGISTERS >= 32 { (8, 3) } else { (6, 2) };
            Shape { rows, registers, lanes: T::Vector::<S>::LANES, fused: S::FMA }
        }
    }
    dispatch(Of(PhantomData::<T>))
}

/// The panels of a right operand: of as many registers as a tile, or one less, so that they come out even.
#[derive(Debug, Clone, Copy)]
struct Panels {
    columns: usize,
    lanes: usize,
    /// Registers across all columns, the last of which may reach beyond them.
    registers: usize,
    count: usize,
}

impl Panels {
    fn new(columns: usize, shape: Shape) -> Self {
        let registers = columns.div_ceil(shape.lanes);
        Panels { columns, lanes: shape.lanes, registers, count: registers.div_ceil(shape.registers) }
    }

    /// The first register of panel `i`; of the one past the last, how many there are.
    fn start(self, i: usize) -> usize {
        i * (self.registers / self.count) + i.min(self.registers % self.count)
    }

    /// The registers of panel `i`.
    fn width(self, i: usize) -> usize {
        self.start(i + 1) - self.start(i)
    }
}

/// `out (+)= a b`, finished; `a` is m x k, `b` is k x n, the sums of whose columns are taken on the way if they are asked for. False if the product is not one for blocks, or there is no memory for them:
/// then nothing has been done.
pub(super) fn product<T: Float>(
    sizes: (usize, usize, usize),
    a: Mat<'_, T>,
    b: Mat<'_, T>,
    out: &mut [T],
    finish: Finish<'_, T>,
    column_sums: Option<&mut [T]>,
) -> bool {
    let (m, k, n) = sizes;
    let shape = shape::<T>();
    let work = m.saturating_mul(k).saturating_mul(n);
    // Without fused multiply-adds the sums would not be those of the other engine, which has them.
    if !shape.fused || m < shape.rows || n < shape.lanes || k < 3 || work < LEAST {
        return false;
    }
    // What is packed has to be used often: measured, the other engine is faster below, as it reads operands where they lie.
    let packs_left = a.column_step != 1 || a.row_step < 0;
    if packs_left && m.min(n) < OFTEN || k.saturating_mul(n) >= VAST && m < OFTEN {
        return false;
    }
    blocks((sizes, work), a, b, out, (shape, finish), column_sums).is_ok()
}

fn blocks<T: Float>(
    ((m, k, n), work): ((usize, usize, usize), usize),
    a: Mat<'_, T>,
    b: Mat<'_, T>,
    out: &mut [T],
    (shape, finish): (Shape, Finish<'_, T>),
    column_sums: Option<&mut [T]>,
) -> Result<()> {
    let panels = Panels::new(n, shape);
    let deepest = depths(k).map(|(_, len)| len).max().unwrap_or(0);
    let direct = a.column_step == 1 && a.row_step >= 0;
    let groups = m.div_ceil(shape.rows);
    // Blocks of rows, all but the last of one size, each with some of the panels.
    let tall = groups.div_ceil(groups.div_ceil(TALL));
    let blocks = groups.div_ceil(tall);
    let whole = panels.registers * panels.lanes * deepest;
    let most = if b.column_step != 1 { 1 } else { 2 + 6 * usize::from(whole * size_of::<T>() <= NEAR) };
    let in_parts = blocks <= most;
    let mut right = Buffer::unspecified("matmul", if in_parts { 0 } else { whole })?;
    let mut left = Buffer::unspecified("matmul", if direct { 0 } else { groups * shape.rows * deepest })?;
    let most = (work / PIECE * 4).clamp(1, PIECES * rayon::current_num_threads());
    let parts = (most / blocks).clamp(1, panels.count);
    let each = |count: usize, task: &(dyn Fn(usize) + Sync)| {
        if most < 8 { (0..count).for_each(task) } else { threads::each(count, task) }
    };
    let out = Out { start: out.as_mut_ptr(), row_step: n };
    let column_sums = column_sums.map(|sums| {
        sums.fill(T::ZERO);
        Pieces::new(sums, 1)
    });
    for (first, len) in depths(k) {
        let shifted = |mat: Mat<'_, T>, step: isize| mat.offset.wrapping_add_signed(first as isize * step);
        let a = Mat { offset: shifted(a, a.column_step), ..a };
        let b = Mat { offset: shifted(b, b.row_step), ..b };
        let (to_right, to_left) = (Pieces::new(&mut right, 1), Pieces::new(&mut left, 1));
        let (left_blocks, right_panels) =
            (if direct { 0 } else { blocks }, if in_parts { 0 } else { panels.count });
        each(left_blocks + right_panels, &|i| {
            if let Some(panel) = i.checked_sub(left_blocks) {
                let (start, width) = (panels.start(panel) * panels.lanes, panels.width(panel) * panels.lanes);
                // SAFETY: panels do not overlap, and each is asked for once.
                let out = unsafe { to_right.part(start * len, width * len) };
                let columns = width.min(panels.columns - start);
                dispatch(PackRight { b, first: start, columns, width, out });
            } else {
                let size = tall * shape.rows;
                let rows = size.min(m - i * size);
                // SAFETY: blocks of rows do not overlap, and each is asked for once.
                let out = unsafe { to_left.part(i * size * len, rows.next_multiple_of(shape.rows) * len) };
                dispatch(PackLeft { a, len, first: i * size, rows, out });
            }
        });
        let last = first + len == k;
        let (right, left) = (&right[..], &left[..]);
        // The longer side is divided among threads, whose caches then keep what is theirs.
        let by_rows = m >= n;
        each(blocks * parts, &|i| {
            let (block, part) = if by_rows { (i / parts, i % parts) } else { (i % blocks, i / blocks) };
            let of_part = |part: usize| part * panels.count / parts;
            dispatch(Block {
                left: if direct { Left::Rows(a) } else { Left::Packed(left) },
                right: if in_parts { Right::Parts(b) } else { Right::Packed(right) },
                column_sums: column_sums.as_ref().filter(|_| block == 0),
                len,
                rows: block * tall * shape.rows..m.min((block + 1) * tall * shape.rows),
                panels,
                some: of_part(part)..of_part(part + 1),
                out,
                finish: Finish {
                    accumulate: finish.accumulate || first > 0,
                    bias: finish.bias.filter(|_| first == 0),
                    relu: finish.relu && last,
                },
            });
        });
    }
    Ok(())
}

/// Packs a panel of the right operand, or a part of one: `columns` columns from `first` on, term by term, each padded with zeros to
/// `width`, as many terms as there is room for.
struct PackRight<'a, T> {
    b: Mat<'a, T>,
    first: usize,
    columns: usize,
    width: usize,
    out: &'a mut [T],
}

impl<T: Float> Kernel for PackRight<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let PackRight { b, first, columns, width, out } = self;
        let (b, len) = (b.beginning_at(first), out.len() / width);
        let at = |term: usize, column: usize| {
            b.offset.wrapping_add_signed(term as isize * b.row_step + column as isize * b.column_step)
        };
        if b.column_step == 1 {
            for (term, out) in out.chunks_exact_mut(width).enumerate() {
                // The next panel's, which lies far from the term before.
                fetch::<T, false>(b.data.as_ptr().wrapping_add(at(term, columns)), columns);
                let from = &b.data[at(term, 0)..][..columns];
                let (from, rest) = T::Vector::<S>::chunks(from);
                let (out, out_rest) = T::Vector::<S>::chunks_mut(out);
                for (from, out) in from.iter().zip(&mut *out) {
                    T::Vector::<S>::load(from).store(out);
                }
                debug_assert!(out_rest.is_empty(), "panels are whole registers");
                if from.len() < out.len() {
                    let last = out[from.len()].as_mut();
                    let (real, padding) = last.split_at_mut(rest.len());
                    real.copy_from_slice(rest);
                    padding.fill(T::ZERO);
                }
            }
            return;
        }
        let in_tiles = |size: usize| if b.row_step == 1 { size / TILE * TILE } else { 0 };
        let (terms, tiled) = (in_tiles(len), in_tiles(columns));
        for column in (0..tiled).step_by(TILE) {
            for term in (0..terms).step_by(TILE) {
                let out = &mut out[term * width + column..];
                transpose::tile::<S, T>(b.data, at(term, column), b.column_step, out, width);
            }
        }
        for (term, out) in out.chunks_exact_mut(width).enumerate() {
            let done = if term < terms { tiled } else { 0 };
            for (column, out) in out.iter_mut().enumerate().skip(done) {
                *out = if column < columns { b.data[at(term, column)] } else { T::ZERO };
            }
        }
    }
}

/// Calls for elements that will soon be read, or written. Only a hint.
#[inline(always)]
fn fetch<T, const WRITTEN: bool>(from: *const T, len: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..len).step_by(64 / size_of::<T>()) {
        use std::arch::x86_64::{_MM_HINT_ET0, _MM_HINT_T1, _mm_prefetch};
        let at = from.wrapping_add(line).cast();
        // SAFETY: an address that is only hinted at may be any.
        unsafe { if WRITTEN { _mm_prefetch::<_MM_HINT_ET0>(at) } else { _mm_prefetch::<_MM_HINT_T1>(at) } };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, len);
}

/// Adds the sums of a packed panel's columns to those there are.
#[inline(always)]
fn add_columns<S: Isa, T: Float>(panel: &[T], width: usize, sums: &mut [T]) {
    let lanes = T::Vector::<S>::LANES;
    for (j, sums) in sums.chunks_mut(lanes).enumerate() {
        let read = |row: &[T]| T::Vector::<S>::load(&T::Vector::<S>::chunks(row).0[j]);
        // Four chains, which do not wait for each other.
        let [mut a, mut b, mut c, mut d] = [T::Vector::<S>::splat(T::ZERO); 4];
        let fours = panel.chunks_exact(4 * width);
        for row in fours.remainder().chunks_exact(width) {
            a = a.add(read(row));
        }
        for rows in fours {
            a = a.add(read(rows));
            b = b.add(read(&rows[width..]));
            c = c.add(read(&rows[2 * width..]));
            d = d.add(read(&rows[3 * width..]));
        }
        let total = a.add(b).add(c.add(d)).to_array();
        sums.iter_mut().zip(total.as_ref()).for_each(|(sum, &more)| *sum += more);
    }
}

/// Packs a block of rows of the left operand: as many rows as a tile has, side by side, term by term. Rows that there are not are left
/// as they are, and nobody looks at them.
struct PackLeft<'a, T> {
    a: Mat<'a, T>,
    len: usize,
    first: usize,
    rows: usize,
    out: &'a mut [T],
}

impl<T: Float> Kernel for PackLeft<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        if S::REGISTERS >= 32 { self.pack::<8>() } else { self.pack::<6>() }
    }
}

impl<T: Float> PackLeft<'_, T> {
    #[inline(always)]
    fn pack<const M: usize>(self) {
        let PackLeft { a, len, first, rows, out } = self;
        let at = |row: usize, term: usize| {
            let row = (first + row) as isize;
            a.offset.wrapping_add_signed(row * a.row_step + term as isize * a.column_step)
        };
        let whole = if a.row_step == 1 { rows / M * M } else { 0 };
        // Two groups at a time, whose elements of a term share cache lines. All of a term at a time would write to places that are
        // powers of two apart.
        for (group, out) in out.chunks_mut(2 * M * len).enumerate() {
            let first = group * 2 * M;
            let (left, right) = out.split_at_mut(out.len().min(M * len));
            for (first, out) in [(first, left), (first + M, right)] {
                if first + M > whole {
                    for row in first..rows.min(first + M) {
                        for term in 0..len {
                            out[term * M + row - first] = a.data[at(row, term)];
                        }
                    }
                }
            }
            if first + 2 * M <= whole {
                let (left, right) = out.split_at_mut(M * len);
                let pairs = left.as_chunks_mut::<M>().0.iter_mut().zip(right.as_chunks_mut::<M>().0);
                for (term, (left, right)) in pairs.enumerate() {
                    fetch::<T, false>(a.data.as_ptr().wrapping_add(at(first, term + AHEAD)), 2 * M);
                    let from = &a.data[at(first, term)..][..2 * M];
                    left.copy_from_slice(&from[..M]);
                    right.copy_from_slice(&from[M..]);
                }
            } else if first + M <= whole {
                for (term, out) in out.as_chunks_mut::<M>().0.iter_mut().take(len).enumerate() {
                    out.copy_from_slice(&a.data[at(first, term)..][..M]);
                }
            }
        }
    }
}

/// Where the left operand is.
#[derive(Clone, Copy)]
enum Left<'a, T> {
    /// In rows, whose elements are side by side.
    Rows(Mat<'a, T>),
    /// Packed by [`PackLeft`], all blocks one after the other.
    Packed(&'a [T]),
}

/// Where the right operand is.
#[derive(Clone, Copy)]
enum Right<'a, T> {
    /// As it was given, to be packed in parts.
    Parts(Mat<'a, T>),
    /// Packed by [`PackRight`], all panels one after the other.
    Packed(&'a [T]),
}

/// Some rows of the left operand times some panels of the right one, over one chain of terms.
struct Block<'a, T> {
    left: Left<'a, T>,
    right: Right<'a, T>,
    /// Where the sums of the right operand's columns are added, by the one block that does.
    column_sums: Option<&'a Pieces<'a, T>>,
    len: usize,
    rows: std::ops::Range<usize>,
    panels: Panels,
    some: std::ops::Range<usize>,
    out: Out<T>,
    finish: Finish<'a, T>,
}

impl<T: Float> Kernel for Block<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        // A few kilobytes, recycled: where there are none, nothing else would run either.
        let mut scratch = Buffer::unspecified("matmul", SUMS + PART).expect("memory for a block");
        let scratch = scratch.split_at_mut(SUMS);
        let scratch = &mut Scratch { sums: scratch.0, part: scratch.1 };
        for panel in self.some.clone() {
            match (S::REGISTERS >= 32, self.panels.width(panel)) {
                (true, 3) => self.panel::<S, 8, 3>(panel, scratch),
                (true, 2) => self.panel::<S, 8, 2>(panel, scratch),
                (true, _) => self.panel::<S, 8, 1>(panel, scratch),
                (false, 2) => self.panel::<S, 6, 2>(panel, scratch),
                (false, _) => self.panel::<S, 6, 1>(panel, scratch),
            }
        }
    }
}

/// What a block keeps in the nearest caches.
struct Scratch<'a, T> {
    /// Sums of the tiles of a panel, between one part of the terms and the next.
    sums: &'a mut [T],
    /// A part of a panel.
    part: &'a mut [T],
}

impl<T: Float> Block<'_, T> {
    /// All rows of the block times a panel of `N` registers, `M` rows at a time.
    #[inline(always)]
    fn panel<S: Isa, const M: usize, const N: usize>(&self, panel: usize, scratch: &mut Scratch<'_, T>) {
        let (lanes, len) = (T::Vector::<S>::LANES, self.len);
        let (width, first) = (N * lanes, self.panels.start(panel) * lanes);
        let columns = width.min(self.panels.columns - first);
        let bias = self.finish.bias.map(|bias| &bias[first..][..columns]);
        // Parts of one size, or nearly.
        let size = len.div_ceil(len.div_ceil(TERMS));
        for start in (0..len).step_by(size) {
            let terms = size.min(len - start);
            let last = start + terms == len;
            let right = match self.right {
                Right::Packed(right) => &right[first * len + start * width..][..terms * width],
                Right::Parts(b) => {
                    let offset = b.offset.wrapping_add_signed(start as isize * b.row_step);
                    let out = &mut scratch.part[..terms * width];
                    PackRight { b: Mat { offset, ..b }, first, columns, width, out }.run::<S>();
                    &*out
                }
            };
            if let Some(sums) = self.column_sums {
                // SAFETY: one block has these columns' sums, and one panel is theirs.
                add_columns::<S, T>(right, width, unsafe { sums.part(first, columns) });
            }
            let ahead = match self.right {
                // Parts and panels lie in the order in which they are used.
                Right::Packed(all) => {
                    let next = first * len + (start + terms) * width;
                    &all[next.min(all.len())..(next + size * width).min(all.len())]
                }
                Right::Parts(_) => &[],
            };
            let tiles = self.rows.len().div_ceil(M);
            for (number, row) in self.rows.clone().step_by(M).enumerate() {
                let rows = M.min(self.rows.end - row);
                // The nearest cache holds a part; what comes next is fetched while there is work on this one, a share at each tile.
                let share = ahead.len() * number / tiles..ahead.len() * (number + 1) / tiles;
                fetch::<T, false>(ahead[share.clone()].as_ptr(), share.len());
                if panel == self.some.start && self.some.len() > 2 {
                    self.fetch_left::<M>(row + M, start, terms);
                }
                if last {
                    for r in 0..rows {
                        let place = self.out.start.wrapping_add((row + r) * self.out.row_step + first);
                        fetch::<T, true>(place, columns);
                    }
                }
                let (left, row_step, step) = match self.left {
                    Left::Rows(a) => {
                        let (at, row_step) = (a.offset + row * a.row_step as usize, a.row_step as usize);
                        (&a.data[at + start..][..(rows - 1) * row_step + terms], row_step, 1)
                    }
                    Left::Packed(data) => (&data[row / M * M * len + start * M..][..M * terms], 1, M),
                };
                let kept = &mut scratch.sums[number * M * width..][..M * width];
                let mut sums = [[T::Vector::<S>::splat(T::ZERO); N]; M];
                if start > 0 {
                    for r in 0..M {
                        for j in 0..N {
                            // SAFETY: `kept` has `M` rows of `N` registers.
                            sums[r][j] = unsafe { Vector::read(kept.as_ptr().add(r * width + j * lanes)) };
                        }
                    }
                }
                let steps = [rows, row_step, step];
                // SAFETY: the left slice holds `terms` terms of `rows` rows, `row_step` and `step` apart, the right one as many of
                // `N` registers.
                let sums = unsafe { tile::<S, T, M, N>(sums, left.as_ptr(), steps, right.as_ptr(), terms) };
                if last {
                    let out = self.out.at(row * self.out.row_step + first);
                    // SAFETY: these rows and columns of the result are this block's alone, and there are as many.
                    unsafe { self.write::<S, M, N>(&sums, out, [rows, columns], bias) };
                    continue;
                }
                for r in 0..M {
                    for j in 0..N {
                        // SAFETY: as above.
                        unsafe { sums[r][j].write(kept.as_mut_ptr().add(r * width + j * lanes)) };
                    }
                }
            }
        }
    }

    /// Calls for some terms of a tile's rows.
    #[inline(always)]
    fn fetch_left<const M: usize>(&self, row: usize, start: usize, terms: usize) {
        let rows = M.min(self.rows.end.saturating_sub(row));
        match self.left {
            Left::Rows(a) => {
                for row in row..row + rows {
                    let place = a.offset + row * a.row_step as usize + start;
                    fetch::<T, false>(a.data.as_ptr().wrapping_add(place), terms);
                }
            }
            Left::Packed(data) => {
                let place = row * self.len + start * M;
                fetch::<T, false>(data.as_ptr().wrapping_add(place), rows * terms);
            }
        }
    }

    /// Writes a tile of sums, finished.
    ///
    /// # Safety
    /// `out` has so many rows and columns, and nobody else uses them.
    #[inline(always)]
    unsafe fn write<S: Isa, const M: usize, const N: usize>(
        &self,
        sums: &[[T::Vector<S>; N]; M],
        out: Out<T>,
        [rows, columns]: [usize; 2],
        bias: Option<&[T]>,
    ) {
        let lanes = T::Vector::<S>::LANES;
        let Finish { accumulate, relu, .. } = self.finish;
        if rows == M && columns == N * lanes {
            // Constant bounds, so that the sums stay in registers.
            for r in 0..M {
                for j in 0..N {
                    let place = out.start.wrapping_add(r * out.row_step + j * lanes);
                    let mut sum = sums[r][j];
                    if let Some(bias) = bias {
                        // SAFETY: the bias has an element for each column.
                        sum = unsafe { T::Vector::<S>::read(bias.as_ptr().add(j * lanes)) }.add(sum);
                    }
                    if accumulate {
                        // SAFETY: the caller promises these columns.
                        sum = unsafe { T::Vector::<S>::read(place) }.add(sum);
                    }
                    let sum = if relu { sum.relu() } else { sum };
                    // SAFETY: as above.
                    unsafe { sum.write(place) };
                }
            }
            return;
        }
        let mut all = [[<T::Vector<S> as Vector<T>>::Array::default(); N]; M];
        for r in 0..M {
            for j in 0..N {
                sums[r][j].store(&mut all[r][j]);
            }
        }
        for (r, sums) in all.iter().enumerate().take(rows) {
            // SAFETY: the caller promises as many columns of each of the rows.
            let out = unsafe { std::slice::from_raw_parts_mut(out.start.add(r * out.row_step), columns) };
            for (j, (out, sums)) in out.chunks_mut(lanes).zip(sums).enumerate() {
                let bias = bias.map(|bias| &bias[j * lanes..]);
                for (c, (out, &sum)) in out.iter_mut().zip(sums.as_ref()).enumerate() {
                    let sum = bias.map_or(sum, |bias| bias[c] + sum);
                    let sum = if accumulate { *out + sum } else { sum };
                    *out = if relu && sum < T::ZERO { T::ZERO } else { sum };
                }
            }
        }
    }
}

/// Goes on with the sums of `M` rows and `N` registers of columns, in registers. Rows beyond `rows` repeat the last one.
///
/// # Safety
/// `left` holds `len` terms of `rows` rows, at least one, `row_step` and `step` apart, and `right` as many of `N` registers.
#[inline(always)]
unsafe fn tile<S: Isa, T: Float, const M: usize, const N: usize>(
    mut sums: [[T::Vector<S>; N]; M],
    left: *const T,
    [rows, row_step, step]: [usize; 3],
    right: *const T,
    len: usize,
) -> [[T::Vector<S>; N]; M] {
    let lanes = T::Vector::<S>::LANES;
    let mut rows_of_left = [left; M];
    for (r, place) in rows_of_left.iter_mut().enumerate() {
        *place = left.wrapping_add(r.min(rows - 1) * row_step);
    }
    let (mut right, mut at) = (right, 0);
    for _ in 0..len {
        let mut b = [T::Vector::<S>::splat(T::ZERO); N];
        for (j, b) in b.iter_mut().enumerate() {
            // SAFETY: the caller promises `len` rows of `N` registers.
            *b = unsafe { T::Vector::<S>::read(right.add(j * lanes)) };
        }
        for r in 0..M {
            // SAFETY: the caller promises `len` terms of each row.
            let a = T::Vector::<S>::splat(unsafe { *rows_of_left[r].add(at) });
            for j in 0..N {
                sums[r][j] = a.mul_add(b[j], sums[r][j]);
            }
        }
        right = right.wrapping_add(N * lanes);
        at += step;
    }
    sums
}
