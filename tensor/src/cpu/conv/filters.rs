//! The gradient of a convolution's filter: `filter[tap, c, n] = Σ over pixels of image[pixel + tap, c] · gradient[pixel, n]`.
//!
//! A tile of the filter, a few rows (tap, channel) by a few registers of outputs, is summed in registers over all pixels
//! of a few images. Its rows are any consecutive ones, of several taps where the image has few channels. Taps that fall
//! outside the image at some border pixels have fewer pixels: the tile takes those that all its rows share, and each row
//! by itself the rest.
//!
//! Images are taken in parts that stay in the second-level cache while all tiles pass over them; each part has sums of its
//! own, added in order at the end, so that the work can be cut along images and along the filter and gives the same bits
//! however it is cut.

use std::ops::Range;

use super::{Geometry, pad_rows, widths};
use crate::Float;
use crate::cpu::{Isa, Kernel, Vector, dispatch, threads};

/// Bytes of image and gradient in a part.
const PART_BYTES: usize = 3 << 17;
/// Bytes of image and gradient that a run of tiles takes turns on, within the first-level cache.
const NEAR_BYTES: usize = 1 << 15;
/// Bytes that the sums of all parts may take.
const SUMS_BYTES: usize = 1 << 24;
/// Multiply-adds of a task.
const TASK: usize = 1 << 21;

/// `out = ` the gradient of the filter, from the image and the gradient of the output.
pub(crate) fn filter_gradient<T: Float>(geometry: &Geometry, image: &[T], gradient: &[T], out: &mut [T]) {
    let g = geometry;
    assert_eq!(image.len(), g.batch * g.image_len(), "image of a convolution");
    assert_eq!(gradient.len(), g.batch * g.output_len(), "gradient of a convolution");
    assert_eq!(out.len(), g.taps() * (g.channels / g.groups) * g.outputs, "gradient of a filter");
    out.fill(T::ZERO);
    if out.is_empty() || image.is_empty() || gradient.is_empty() {
        return;
    }
    let depthwise = g.depthwise();
    // Where channels do not mix, a row of the filter is one tap and its columns are the channels.
    let (groups, depth, width) =
        if depthwise { (1, 1, g.channels) } else { (g.groups, g.channels / g.groups, g.outputs / g.groups) };
    let tile = dispatch(Choose::<T> { columns: width, depthwise, element: std::marker::PhantomData });
    let columns = tile.columns * tile.panels;
    let padded_gradient = (columns != width).then(|| pad_rows(gradient, width, columns));
    let padded_image = (depthwise && columns != width).then(|| pad_rows(image, width, columns));
    let bytes = (g.image_len() + g.output_len()) * size_of::<T>();
    let rows = g.taps() * depth;
    let blocks = rows.div_ceil(tile.rows);
    let tile_len = tile.rows * tile.columns;
    let sums_len = groups * tile.panels * blocks * tile_len;
    let parts = g.batch.div_ceil((PART_BYTES / bytes.max(1)).max(1));
    let parts = parts.min(SUMS_BYTES / (sums_len * size_of::<T>())).max(1);
    let images = g.batch.div_ceil(parts);
    let parts = g.batch.div_ceil(images);

    let job = Job {
        geometry: g,
        image: padded_image.as_deref().unwrap_or(image),
        channels: if depthwise { columns } else { g.channels },
        gradient: padded_gradient.as_deref().unwrap_or(gradient),
        outputs: columns * groups,
        depthwise,
        depth,
        rows,
        blocks,
        tile: &tile,
        images,
        near: (NEAR_BYTES / bytes.max(1)).max(1),
    };
    let mut sums = vec![T::ZERO; parts * sums_len];
    let pixels = images * g.rows.output * g.columns.output;
    let run = (TASK / (pixels * tile_len).max(1)).clamp(1, blocks);
    threads::split_together(&mut sums, [], (run * tile_len, 0), |i, sums, []| {
        dispatch(Tiles { job: &job, first: i * run, sums });
    });
    collect(&job, groups, width, &sums, out);
}

/// Adds the parts' sums in order, and puts tiles in their places.
fn collect<T: Float>(job: &Job<'_, T>, groups: usize, width: usize, sums: &[T], out: &mut [T]) {
    let Tile { rows, columns, panels } = *job.tile;
    let tile_len = rows * columns;
    let per_part = groups * panels * job.blocks * tile_len;
    let out_columns = groups * width;
    for part in sums.chunks_exact(per_part) {
        for (i, tile) in part.chunks_exact(tile_len).enumerate() {
            let (strip, block) = (i / job.blocks, i % job.blocks);
            let (group, first) = (strip / panels, strip % panels * columns);
            let size = columns.min(width - first);
            for (r, row) in tile.chunks_exact(columns).enumerate() {
                let at = block * rows + r;
                if at < job.rows {
                    let start = at * out_columns + group * width + first;
                    out[start..start + size].iter_mut().zip(row).for_each(|(o, &x)| *o += x);
                }
            }
        }
    }
}

/// The shape of a tile on the machine at hand.
struct Tile {
    rows: usize,
    columns: usize,
    /// Tiles beside each other for one group.
    panels: usize,
}

struct Choose<T> {
    columns: usize,
    depthwise: bool,
    element: std::marker::PhantomData<T>,
}

impl<T: Float> Kernel for Choose<T> {
    type Output = Tile;
    #[inline(always)]
    fn run<S: Isa>(self) -> Tile {
        let most = match (self.depthwise, S::REGISTERS >= 32) {
            (true, _) => 1,
            (_, true) => 4,
            _ => 2,
        };
        let (registers, panels) = widths::<T, S>(self.columns, most);
        let rows = rows_for(registers, S::REGISTERS);
        Tile { rows, columns: registers * T::Vector::<S>::LANES, panels }
    }
}

/// Rows of a tile so many registers wide, so that sums, a row of the gradient and one of the image fit.
const fn rows_for(registers: usize, all: usize) -> usize {
    match (registers, all >= 32) {
        (4, _) => 6,
        (3, _) => 8,
        (2, true) => 12,
        (2, false) => 6,
        _ => 9,
    }
}

struct Job<'a, T> {
    geometry: &'a Geometry,
    image: &'a [T],
    /// Channels of the image with filler.
    channels: usize,
    gradient: &'a [T],
    /// Channels of the gradient with filler.
    outputs: usize,
    depthwise: bool,
    /// Channels of one group.
    depth: usize,
    /// Rows of the filter: taps times depth.
    rows: usize,
    /// Tiles below each other.
    blocks: usize,
    tile: &'a Tile,
    /// Images in a part.
    images: usize,
    /// Images that tiles take turns on.
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
        let registers = self.job.tile.columns / T::Vector::<S>::LANES;
        match (registers, self.job.depthwise, S::REGISTERS >= 32) {
            (1, true, _) => self.run_shaped::<S, 9, 1, true>(),
            (1, false, _) => self.run_shaped::<S, 9, 1, false>(),
            (2, _, true) => self.run_shaped::<S, 12, 2, false>(),
            (2, _, false) => self.run_shaped::<S, 6, 2, false>(),
            (3, ..) => self.run_shaped::<S, 8, 3, false>(),
            _ => self.run_shaped::<S, 6, 4, false>(),
        }
    }
}

/// One row of a tile: where it reads, and the positions at which its tap falls on the image.
#[derive(Clone)]
struct Row {
    shift: isize,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl<T: Float> Tiles<'_, T> {
    #[inline(always)]
    fn run_shaped<S: Isa, const R: usize, const N: usize, const DEPTHWISE: bool>(self) {
        let job = self.job;
        let tile_len = R * job.tile.columns;
        let tiles = self.sums.len() / tile_len;
        let strips = job.sums_len() / tile_len;
        let batch = job.geometry.batch;
        let mut tile = 0;
        // A run of tiles may go over the end of one part and into the next.
        while tile < tiles {
            let part = (self.first + tile) / strips;
            let end = tiles.min((part + 1) * strips - self.first);
            let last = batch.min((part + 1) * job.images);
            let mut image = part * job.images;
            while image < last {
                let images = image..last.min(image + job.near);
                for t in tile..end {
                    let sums = &mut self.sums[t * tile_len..(t + 1) * tile_len];
                    one_tile::<T, S, R, N, DEPTHWISE>(job, (self.first + t) % strips, images.clone(), sums);
                }
                image = images.end;
            }
            tile = end;
        }
    }
}

impl<T: Float> Job<'_, T> {
    /// Elements in the sums of one part.
    fn sums_len(&self) -> usize {
        let groups = self.outputs / (self.tile.columns * self.tile.panels);
        groups * self.tile.panels * self.blocks * self.tile.rows * self.tile.columns
    }

    /// Row `at` of the filter of a group.
    fn row(&self, at: usize, group: usize) -> Row {
        let g = self.geometry;
        let (tap, channel) = (at / self.depth, at % self.depth);
        let (y, x) = (tap / g.columns.kernel, tap % g.columns.kernel);
        let down = (y * g.rows.dilation) as isize - g.rows.before as isize;
        let right = (x * g.columns.dilation) as isize - g.columns.before as isize;
        let shift = (down * g.columns.input as isize + right) * self.channels as isize;
        Row {
            shift: shift + (group * self.depth + channel) as isize,
            rows: g.rows.outputs_of(y),
            columns: g.columns.outputs_of(x),
        }
    }
}

/// Adds what some images contribute to a tile.
#[inline(always)]
fn one_tile<T: Float, S: Isa, const R: usize, const N: usize, const DEPTHWISE: bool>(
    job: &Job<'_, T>,
    index: usize,
    images: Range<usize>,
    sums: &mut [T],
) {
    let (strip, block) = (index / job.blocks, index % job.blocks);
    let group = strip / job.tile.panels;
    let column = strip * job.tile.columns;
    let count = R.min(job.rows - block * R);
    // Missing rows repeat the last one; their sums are not looked at.
    let rows: [Row; R] = std::array::from_fn(|r| {
        let mut row = job.row(block * R + r.min(count - 1), group);
        row.shift += if DEPTHWISE { column as isize } else { 0 };
        row
    });
    let shared = Row {
        shift: 0,
        rows: rows.iter().fold(0..usize::MAX, |all, row| common(&all, &row.rows)),
        columns: rows.iter().fold(0..usize::MAX, |all, row| common(&all, &row.columns)),
    };
    let mut shifts = [0; R];
    for r in 0..R {
        shifts[r] = rows[r].shift;
    }
    // SAFETY: at every position of `shared` each row's tap falls on the image (`outputs_of`), whose rows hold `channels`
    // elements; the gradient's rows hold the tile's columns.
    unsafe {
        add_pixels::<T, S, R, N, DEPTHWISE>(job, &shifts, column, images.clone(), &shared.rows, &shared.columns, sums);
    }
    for (r, row) in rows[..count].iter().enumerate() {
        let sums = &mut sums[r * job.tile.columns..(r + 1) * job.tile.columns];
        for (down, right) in rest(row, &shared) {
            // SAFETY: as above, for this row's own positions.
            unsafe {
                add_pixels::<T, S, 1, N, DEPTHWISE>(job, &[row.shift], column, images.clone(), &down, &right, sums);
            }
        }
    }
}

fn common(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    let start = a.start.max(b.start);
    start..a.end.min(b.end).max(start)
}

/// A row's positions outside those shared: above, below, left and right of them.
fn rest(row: &Row, shared: &Row) -> [(Range<usize>, Range<usize>); 4] {
    if shared.rows.is_empty() || shared.columns.is_empty() {
        return [(row.rows.clone(), row.columns.clone()), (0..0, 0..0), (0..0, 0..0), (0..0, 0..0)];
    }
    [
        (row.rows.start..shared.rows.start, row.columns.clone()),
        (shared.rows.end..row.rows.end, row.columns.clone()),
        (shared.rows.clone(), row.columns.start..shared.columns.start),
        (shared.rows.clone(), shared.columns.end..row.columns.end),
    ]
}

/// Adds `image[position + shift] · gradient[position]` over positions of some images to a tile's sums.
///
/// # Safety
/// For every position and shift the image has the element (depthwise: a register from it on).
#[inline(always)]
unsafe fn add_pixels<T: Float, S: Isa, const R: usize, const N: usize, const DEPTHWISE: bool>(
    job: &Job<'_, T>,
    shifts: &[isize; R],
    column: usize,
    images: Range<usize>,
    rows: &Range<usize>,
    columns: &Range<usize>,
    sums: &mut [T],
) {
    if rows.is_empty() || columns.is_empty() {
        return;
    }
    let g = job.geometry;
    let lanes = T::Vector::<S>::LANES;
    let width = N * lanes;
    assert!(sums.len() == R * width && column + width <= job.outputs);
    let mut tile = [[T::Vector::<S>::splat(T::ZERO); N]; R];
    for r in 0..R {
        for j in 0..N {
            // SAFETY: the length has been checked.
            tile[r][j] = unsafe { T::Vector::<S>::load(sums.as_ptr().add(r * width + j * lanes)) };
        }
    }
    let step = g.columns.stride * job.channels;
    for image in images {
        for y in rows.clone() {
            let pixel = (image * g.rows.input + y * g.rows.stride) * g.columns.input
                + columns.start * g.columns.stride;
            let mut from = [job.image.as_ptr(); R];
            for r in 0..R {
                from[r] = from[r].wrapping_add(pixel * job.channels).wrapping_offset(shifts[r]);
            }
            let position = (image * g.rows.output + y) * g.columns.output + columns.start;
            let gradient = &job.gradient[position * job.outputs..][..columns.len() * job.outputs];
            let mut gradient = gradient.as_ptr().wrapping_add(column);
            let mut ahead = 0;
            for _ in columns.clone() {
                // SAFETY: the gradient's row holds the tile's columns; the caller promises the image's elements.
                unsafe {
                    let mut w = [T::Vector::<S>::splat(T::ZERO); N];
                    for j in 0..N {
                        w[j] = T::Vector::<S>::load(gradient.add(j * lanes));
                    }
                    for r in 0..R {
                        let x = if DEPTHWISE {
                            T::Vector::<S>::load(from[r].wrapping_add(ahead))
                        } else {
                            T::Vector::<S>::splat(*from[r].wrapping_add(ahead))
                        };
                        for j in 0..N {
                            tile[r][j] = x.mul_add(w[j], tile[r][j]);
                        }
                    }
                }
                gradient = gradient.wrapping_add(job.outputs);
                ahead += step;
            }
        }
    }
    for r in 0..R {
        for j in 0..N {
            // SAFETY: the length has been checked.
            unsafe { tile[r][j].store(sums.as_mut_ptr().add(r * width + j * lanes)) };
        }
    }
}
