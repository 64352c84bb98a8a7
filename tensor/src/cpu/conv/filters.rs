//! The gradient of a convolution's filter: `filter[tap, c, n] = Σ over pixels of image[pixel + tap, c] · gradient[pixel, n]`.
//!
//! A tile of the filter, a few rows (tap, channel) by a few registers of outputs, is summed in registers over the pixels
//! of some lines. Its rows are any consecutive ones, of several taps where the image has few channels. Taps that fall
//! outside the image at some border pixels have fewer pixels: the tile takes those that all its rows share, and each row
//! by itself the rest. Pixels are listed once for all tiles that take the same ones.
//!
//! Lines are taken in parts that stay in the second-level cache while all tiles pass over them; each part has sums of its
//! own, added in order at the end, so that the work can be cut along images and along the filter and gives the same bits
//! however many threads share it.

use std::ops::Range;

use super::{Choose, Geometry, Panels, pad_rows};
use crate::cpu::buffer::Buffer;
use crate::cpu::{Isa, Kernel, Vector, dispatch, threads};
use crate::{Float, Result};

/// Bytes of image and gradient in a part.
const PART_BYTES: usize = 3 << 17;
/// Bytes of image and gradient that tiles take turns on, within the first-level cache.
const NEAR_BYTES: usize = 1 << 15;
/// Pixels that a tile takes at least before it is put back, where there are that many.
const NEAR_PIXELS: usize = 48;
/// Bytes that the sums of all parts may take.
const SUMS_BYTES: usize = 1 << 24;
/// Multiply-adds of a task.
const TASK: usize = 1 << 21;

/// `out = ` the gradient of the filter, from the image and the gradient of the output.
pub(crate) fn filter_gradient<T: Float>(
    geometry: &Geometry,
    image: &[T],
    gradient: &[T],
    out: &mut [T],
) -> Result<()> {
    let g = geometry;
    assert_eq!(image.len(), g.batch * g.image_len(), "image of a convolution");
    assert_eq!(gradient.len(), g.batch * g.output_len(), "gradient of a convolution");
    assert_eq!(out.len(), g.taps() * (g.channels / g.groups) * g.outputs, "gradient of a filter");
    out.fill(T::ZERO);
    if out.is_empty() || image.is_empty() || gradient.is_empty() {
        return Ok(());
    }
    let depthwise = g.depthwise();
    // Where channels do not mix, a row of the filter is one tap and its columns are the channels.
    let (groups, depth, width) =
        if depthwise { (1, 1, g.channels) } else { (g.groups, g.channels / g.groups, g.outputs / g.groups) };
    let panels = dispatch(Choose::<T>::new(width, if depthwise { [1, 1] } else { [4, 2] }));
    let columns = panels.row * panels.count;
    let padded_gradient = pad_rows(gradient, width, columns)?;
    let padded_image = if depthwise { pad_rows(image, width, columns)? } else { None };
    let height = rows_of_a_tile(panels.registers, panels.all);
    let rows = g.taps() * depth;
    let blocks = rows.div_ceil(height);
    let tile_len = height * panels.row;
    let sums_len = groups * panels.count * blocks * tile_len;

    let lines = g.batch * g.rows.output;
    let line_bytes = (g.image_len() / g.rows.output + g.columns.output * g.outputs) * size_of::<T>();
    let parts = lines.div_ceil((PART_BYTES / line_bytes.max(1)).max(1));
    let parts = parts.min(SUMS_BYTES / (sums_len * size_of::<T>())).max(1);
    let near = (NEAR_BYTES / line_bytes.max(1)).max(NEAR_PIXELS.div_ceil(g.columns.output));
    let job = Job {
        geometry: g,
        image: padded_image.as_deref().unwrap_or(image),
        channels: if depthwise { columns } else { g.channels },
        gradient: padded_gradient.as_deref().unwrap_or(gradient),
        outputs: columns * groups,
        depth,
        rows,
        blocks,
        groups,
        width,
        height,
        depthwise,
        panels: &panels,
        lines: lines.div_ceil(parts),
        near,
    };
    let parts = lines.div_ceil(job.lines);
    let mut sums = Buffer::zeroed("conv2d_filter_gradient", parts * sums_len)?;
    let pixels = job.lines * g.columns.output;
    let run = (TASK / (pixels * tile_len).max(1)).clamp(1, blocks);
    threads::split_together(&mut sums, [], (run * tile_len, 0), |i, sums, []| {
        dispatch(Tiles { job: &job, first: i * run, sums });
    });
    collect(&job, &sums, out);
    Ok(())
}

/// Rows of a tile of a given width in registers, so that sums, a row of the gradient and an element of the image fit.
const fn rows_of_a_tile(registers: usize, all: usize) -> usize {
    match (registers, all >= 32) {
        (4, _) => 6,
        (3, _) => 8,
        (2, true) => 9,
        (2, false) => 6,
        _ => 9,
    }
}

/// Adds the parts' sums in order, and puts rows in their places.
fn collect<T: Float>(job: &Job<'_, T>, sums: &[T], out: &mut [T]) {
    let Panels { row: columns, count, .. } = *job.panels;
    let tile_len = job.height * columns;
    let part_len = job.groups * count * job.blocks * tile_len;
    let parts = sums.len() / part_len;
    let out_columns = job.groups * job.width;
    threads::split_units(out, out_columns, out_columns * parts, |first, out| {
        for (at, row) in out.chunks_exact_mut(out_columns).enumerate() {
            let (block, r) = ((first + at) / job.height, (first + at) % job.height);
            for strip in 0..job.groups * count {
                let (group, first) = (strip / count, strip % count * columns);
                let size = columns.min(job.width - first);
                let row = &mut row[group * job.width + first..][..size];
                for part in sums.chunks_exact(part_len) {
                    let tile = &part[(strip * job.blocks + block) * tile_len..][..tile_len];
                    row.iter_mut().zip(&tile[r * columns..]).for_each(|(o, &x)| *o += x);
                }
            }
        }
        false
    });
}

struct Job<'a, T> {
    geometry: &'a Geometry,
    image: &'a [T],
    /// Channels of the image with filler.
    channels: usize,
    gradient: &'a [T],
    /// Channels of the gradient with filler.
    outputs: usize,
    /// Channels of one group.
    depth: usize,
    /// Rows of the filter: taps times depth.
    rows: usize,
    /// Tiles below each other.
    blocks: usize,
    groups: usize,
    /// Columns of one group.
    width: usize,
    /// Rows of a tile.
    height: usize,
    depthwise: bool,
    panels: &'a Panels,
    /// Lines of the output in a part, counted over images.
    lines: usize,
    /// Lines that tiles take turns on.
    near: usize,
}

/// Consecutive tiles, counted over parts, groups, panels and blocks.
struct Tiles<'a, T> {
    job: &'a Job<'a, T>,
    first: usize,
    sums: &'a mut [T],
}

impl<T: Float> Kernel for Tiles<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        match (self.job.panels.registers, self.job.depthwise, S::REGISTERS >= 32) {
            (1, true, _) => self.run_shaped::<S, 9, 1, true>(),
            (1, false, _) => self.run_shaped::<S, 9, 1, false>(),
            (2, _, true) => self.run_shaped::<S, 9, 2, false>(),
            (2, _, false) => self.run_shaped::<S, 6, 2, false>(),
            (3, ..) => self.run_shaped::<S, 8, 3, false>(),
            _ => self.run_shaped::<S, 6, 4, false>(),
        }
    }
}

/// Positions of the window: lines, counted over images, whose place in the image is within `rows`, and `columns`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Positions {
    lines: Range<usize>,
    rows: Range<usize>,
    columns: Range<usize>,
}

/// Where the pixels at some positions stand, in elements.
#[derive(Debug, Default)]
struct Pixels {
    of: Positions,
    list: Vec<Pixel>,
}

#[derive(Debug, Clone, Copy)]
struct Pixel {
    /// In the image, before a tap's shift.
    image: usize,
    gradient: usize,
}

impl Pixels {
    /// Lists the pixels anew, unless they are the same as last time.
    fn list<T: Float>(&mut self, job: &Job<'_, T>, of: &Positions) {
        if self.of == *of {
            return;
        }
        self.of = of.clone();
        self.list.clear();
        let g = job.geometry;
        if of.rows.is_empty() || of.columns.is_empty() {
            return;
        }
        for line in of.lines.clone() {
            let (image, y) = (line / g.rows.output, line % g.rows.output);
            if !of.rows.contains(&y) {
                continue;
            }
            let start = (image * g.rows.input + y * g.rows.stride) * g.columns.input;
            self.list.extend(of.columns.clone().map(|x| Pixel {
                image: (start + x * g.columns.stride) * job.channels,
                gradient: (line * g.columns.output + x) * job.outputs,
            }));
        }
    }
}

impl<T: Float> Tiles<'_, T> {
    #[inline(always)]
    fn run_shaped<S: Isa, const R: usize, const N: usize, const DEPTHWISE: bool>(self) {
        let job = self.job;
        let tile_len = R * job.panels.row;
        let tiles = self.sums.len() / tile_len;
        let tiles_of_part = job.groups * job.panels.count * job.blocks;
        let all = job.geometry.batch * job.geometry.rows.output;
        let (mut pixels, mut own) = (Pixels::default(), Pixels::default());
        let mut tile = 0;
        // A run of tiles may go over the end of one part and into the next.
        while tile < tiles {
            let part = (self.first + tile) / tiles_of_part;
            let end = tiles.min((part + 1) * tiles_of_part - self.first);
            let last = all.min((part + 1) * job.lines);
            let lines = part * job.lines..last;
            let plans: Vec<Plan<R>> =
                (tile..end).map(|t| job.plan((self.first + t) % tiles_of_part)).collect();
            let sums = &mut self.sums[tile * tile_len..end * tile_len];
            for start in lines.clone().step_by(job.near) {
                let near = start..last.min(start + job.near);
                for (plan, sums) in plans.iter().zip(sums.chunks_exact_mut(tile_len)) {
                    pixels.list(job, &Positions { lines: near.clone(), ..plan.shared.clone() });
                    add_pixels::<T, S, R, N, DEPTHWISE>(job, &plan.shifts, plan.column, &pixels.list, sums);
                }
            }
            for (plan, sums) in plans.iter().zip(sums.chunks_exact_mut(tile_len)) {
                for (row, sums) in plan.rest.iter().zip(sums.chunks_exact_mut(job.panels.row)) {
                    for positions in rest(row, &plan.shared) {
                        own.list(job, &Positions { lines: lines.clone(), ..positions });
                        add_pixels::<T, S, 1, N, DEPTHWISE>(job, &[row.shift], plan.column, &own.list, sums);
                    }
                }
            }
            tile = end;
        }
    }
}

/// What a tile reads.
struct Plan<const R: usize> {
    /// The first column.
    column: usize,
    shifts: [isize; R],
    /// The positions that all rows take; no lines yet.
    shared: Positions,
    /// The rows, if some take more positions than they share.
    rest: Vec<Row>,
}

/// One row of a tile: where it reads, and the positions at which its tap falls on the image.
#[derive(Debug, Clone)]
struct Row {
    shift: isize,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl<T: Float> Job<'_, T> {
    /// The plan of a tile by its number within a part.
    fn plan<const R: usize>(&self, tile: usize) -> Plan<R> {
        let (strip, block) = (tile / self.blocks, tile % self.blocks);
        let real = R.min(self.rows - block * R);
        // Missing rows repeat the last one; nobody looks at their sums.
        let rows: [Row; R] = std::array::from_fn(|r| self.row(block * R + r.min(real - 1), strip));
        let shared = Positions {
            lines: 0..0,
            rows: rows.iter().fold(0..usize::MAX, |all, row| common(&all, &row.rows)),
            columns: rows.iter().fold(0..usize::MAX, |all, row| common(&all, &row.columns)),
        };
        let shifts = std::array::from_fn(|r| rows[r].shift);
        let even = rows.iter().all(|row| row.rows == shared.rows && row.columns == shared.columns);
        let rest = if even { Vec::new() } else { rows[..real].to_vec() };
        Plan { column: strip * self.panels.row, shifts, shared, rest }
    }

    /// One row of the filter.
    fn row(&self, at: usize, strip: usize) -> Row {
        let g = self.geometry;
        let (tap, channel) = (at / self.depth, at % self.depth);
        let (y, x) = (tap / g.columns.kernel, tap % g.columns.kernel);
        let down = (y * g.rows.dilation) as isize - g.rows.before as isize;
        let right = (x * g.columns.dilation) as isize - g.columns.before as isize;
        let shift = (down * g.columns.input as isize + right) * self.channels as isize;
        let start = if self.depthwise {
            strip * self.panels.row
        } else {
            strip / self.panels.count * self.depth + channel
        };
        Row { shift: shift + start as isize, rows: g.rows.outputs_of(y), columns: g.columns.outputs_of(x) }
    }
}

fn common(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    let start = a.start.max(b.start);
    start..a.end.min(b.end).max(start)
}

/// A row's positions outside those shared: above, below, left and right of them.
fn rest(row: &Row, shared: &Positions) -> [Positions; 4] {
    let at = |rows: Range<usize>, columns: Range<usize>| Positions { lines: 0..0, rows, columns };
    if shared.rows.is_empty() || shared.columns.is_empty() {
        return [at(row.rows.clone(), row.columns.clone()), at(0..0, 0..0), at(0..0, 0..0), at(0..0, 0..0)];
    }
    [
        at(row.rows.start..shared.rows.start, row.columns.clone()),
        at(shared.rows.end..row.rows.end, row.columns.clone()),
        at(shared.rows.clone(), row.columns.start..shared.columns.start),
        at(shared.rows.clone(), shared.columns.end..row.columns.end),
    ]
}

/// Adds `image[pixel + shift] · gradient[pixel]` to a tile's sums.
#[inline(always)]
fn add_pixels<T: Float, S: Isa, const R: usize, const N: usize, const DEPTHWISE: bool>(
    job: &Job<'_, T>,
    shifts: &[isize; R],
    column: usize,
    pixels: &[Pixel],
    sums: &mut [T],
) {
    let lanes = T::Vector::<S>::LANES;
    let width = N * lanes;
    let (Some(first), Some(last)) = (pixels.first(), pixels.last()) else {
        return;
    };
    // Pixels are listed in order, so the first and the last bound them all.
    let reach = if DEPTHWISE { width } else { 1 };
    for &shift in shifts {
        let (start, end) = (first.image as isize + shift, last.image as isize + shift + reach as isize);
        assert!(start >= 0 && end <= job.image.len() as isize, "a filter's gradient reads outside the image");
    }
    assert!(last.gradient + column + width <= job.gradient.len() && sums.len() == R * width);
    let mut from = [job.image.as_ptr(); R];
    for r in 0..R {
        from[r] = from[r].wrapping_offset(shifts[r]);
    }
    let gradient = job.gradient.as_ptr().wrapping_add(column);
    let mut tile = [[T::Vector::<S>::splat(T::ZERO); N]; R];
    for r in 0..R {
        for j in 0..N {
            // SAFETY: the length has been checked.
            tile[r][j] = unsafe { T::Vector::<S>::read(sums.as_ptr().add(r * width + j * lanes)) };
        }
    }
    for pixel in pixels {
        // SAFETY: what the pixels reach has been checked.
        unsafe {
            let gradient = gradient.wrapping_add(pixel.gradient);
            let mut w = [T::Vector::<S>::splat(T::ZERO); N];
            for j in 0..N {
                w[j] = T::Vector::<S>::read(gradient.add(j * lanes));
            }
            for r in 0..R {
                let x = from[r].wrapping_add(pixel.image);
                let x = if DEPTHWISE { T::Vector::<S>::read(x) } else { T::Vector::<S>::splat(*x) };
                for j in 0..N {
                    tile[r][j] = x.mul_add(w[j], tile[r][j]);
                }
            }
        }
    }
    for r in 0..R {
        for j in 0..N {
            // SAFETY: the length has been checked.
            unsafe { tile[r][j].write(sums.as_mut_ptr().add(r * width + j * lanes)) };
        }
    }
}
