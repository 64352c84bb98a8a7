//! Sums over gathered pixels: the convolution and the gradient of its input.
//!
//! Both are `out[at, n] = Σ over taps, c of source[base + shift, c] · filter[tap, c, n]`; they differ in which taps an
//! output pixel has ([`Axis::reading`](crate::ops::conv::window::Axis::reading), [`Axis::read_by`](crate::ops::conv::window::Axis::read_by)) and in how the filter is packed. The output is cut into pieces
//! of whole images, or of rows of one image, which stay in the second-level cache; within a piece pixels are listed class
//! by class, across images, so that tiles are full even where a class has one pixel an image.

use super::tile::{self, Finish, Panel, Pixel, Run};
use super::{Choose, Geometry, Panels, pad_rows};
use crate::cpu::buffer::Buffer;
use crate::cpu::{Isa, Kernel, dispatch, threads};
use crate::ops::conv::window::Group;
use crate::{Float, Result};

/// Bytes of packed filter that are summed over at a time: half of a small second-level cache.
const PANEL_BYTES: usize = 1 << 18;
/// Bytes of source and output that a piece may touch.
const PIECE_BYTES: usize = 1 << 19;
/// Pixels below which a piece is not worth its set-up.
const PIECE_PIXELS: usize = 96;

/// `out = source * filter + bias`, then max(·, 0) if `relu`.
pub(crate) fn convolve<T: Float>(
    geometry: &Geometry,
    source: &[T],
    filter: &[T],
    bias: Option<&[T]>,
    relu: bool,
    out: &mut [T],
) -> Result<()> {
    let g = geometry;
    assert_eq!(source.len(), g.batch * g.image_len(), "image of a convolution");
    assert_eq!(out.len(), g.batch * g.output_len(), "output of a convolution");
    let (depth, width) = (g.channels / g.groups, g.outputs / g.groups);
    assert_eq!(filter.len(), g.taps() * depth * g.outputs, "filter of a convolution");
    if out.is_empty() {
        return Ok(());
    }
    run(Job {
        source,
        out,
        groups: g.groups,
        depth,
        width,
        depthwise: g.depthwise(),
        from: Plane { rows: g.rows.input, columns: g.columns.input, channels: g.channels },
        to: Plane { rows: g.rows.output, columns: g.columns.output, channels: g.outputs },
        rows: g.rows.reading(),
        columns: g.columns.reading(),
        kernel: (g.rows.kernel, g.columns.kernel),
        // The filter's rows are the panel's rows.
        filter: Packing { filter, tap: depth * g.outputs, inner: g.outputs, outer: 1, group: width },
        bias,
        relu,
    })
}

/// `out = ` the gradient of a convolution's input, from that of its output.
pub(crate) fn input_gradient<T: Float>(
    geometry: &Geometry,
    gradient: &[T],
    filter: &[T],
    out: &mut [T],
) -> Result<()> {
    let g = geometry;
    assert_eq!(gradient.len(), g.batch * g.output_len(), "gradient of a convolution");
    assert_eq!(out.len(), g.batch * g.image_len(), "gradient of a convolution's input");
    let (depth, width) = (g.channels / g.groups, g.outputs / g.groups);
    assert_eq!(filter.len(), g.taps() * depth * g.outputs, "filter of a convolution");
    if out.is_empty() {
        return Ok(());
    }
    run(Job {
        source: gradient,
        out,
        groups: g.groups,
        depth: width,
        width: depth,
        depthwise: g.depthwise(),
        from: Plane { rows: g.rows.output, columns: g.columns.output, channels: g.outputs },
        to: Plane { rows: g.rows.input, columns: g.columns.input, channels: g.channels },
        rows: g.rows.read_by(),
        columns: g.columns.read_by(),
        kernel: (g.rows.kernel, g.columns.kernel),
        // Outputs are summed over, so they run along the panel's rows.
        filter: Packing { filter, tap: depth * g.outputs, inner: 1, outer: g.outputs, group: width },
        bias: None,
        relu: false,
    })
}

/// Sizes of an image.
#[derive(Debug, Clone, Copy)]
struct Plane {
    rows: usize,
    columns: usize,
    channels: usize,
}

impl Plane {
    fn len(&self) -> usize {
        self.rows * self.columns * self.channels
    }
}

/// Where element (group, tap, k, n) of the filter stands: the steps along each.
struct Packing<'a, T> {
    filter: &'a [T],
    tap: usize,
    /// Along what is summed over.
    inner: usize,
    /// Along what is written.
    outer: usize,
    group: usize,
}

struct Job<'a, T> {
    source: &'a [T],
    out: &'a mut [T],
    groups: usize,
    /// Channels summed over, for one group.
    depth: usize,
    /// Channels written, for one group.
    width: usize,
    depthwise: bool,
    from: Plane,
    to: Plane,
    rows: Vec<Group>,
    columns: Vec<Group>,
    kernel: (usize, usize),
    filter: Packing<'a, T>,
    bias: Option<&'a [T]>,
    relu: bool,
}

/// Packs the filter, cuts the output into pieces, and runs them.
fn run<T: Float>(mut job: Job<'_, T>) -> Result<()> {
    // Where channels do not mix, all groups together are one panel after the other, and each tap is one row.
    if job.depthwise {
        (job.groups, job.depth, job.width) = (1, 1, job.to.channels);
        job.filter = Packing { inner: 0, outer: 1, ..job.filter };
    }
    let depthwise = job.depthwise;
    let panels = dispatch(Choose::<T>::new(job.width, if depthwise { [2, 2] } else { tile::WIDEST }));
    let packed = pack(&job, &panels)?;
    let padded = panels.row * panels.count;
    let padded_bias = job.bias.map_or(Ok(None), |bias| pad_rows(bias, job.width, padded))?;
    // Depthwise tiles load whole registers of channels.
    let stride = if depthwise { padded } else { job.from.channels };
    let padded_source = if depthwise { pad_rows(job.source, job.from.channels, stride)? } else { None };
    let source = padded_source.as_deref().unwrap_or(job.source);
    let from = Plane { channels: stride, ..job.from };
    let bias = padded_bias.as_deref().or(job.bias);

    let out = std::mem::take(&mut job.out);
    let row = job.to.columns * job.to.channels;
    let rows = rows_in_a_piece(&job, out.len() / row);
    threads::split_together(out, [], (rows * row, 0), |piece, out, []| {
        let first = piece * rows;
        dispatch(Piece { job: &job, panels: &panels, source, from, packed: &packed, bias, first, out });
    });
    Ok(())
}

/// Rows of the output in a piece: a few pieces for each thread, whole images where they are small.
fn rows_in_a_piece<T>(job: &Job<'_, T>, rows: usize) -> usize {
    let bytes = (job.from.len() / job.to.rows + job.to.columns * job.to.channels) * size_of::<T>();
    let fair = rows.div_ceil(threads::num_threads() * 2);
    let enough = PIECE_PIXELS.div_ceil(job.to.columns);
    let size = fair.min(PIECE_BYTES / bytes.max(1)).max(enough);
    if size > job.to.rows { size.next_multiple_of(job.to.rows) } else { size }.min(rows)
}

/// The filter as `[group][panel][tap, depth][row of the panel]`.
fn pack<T: Float>(job: &Job<'_, T>, panels: &Panels) -> Result<Buffer<T>> {
    let taps = job.kernel.0 * job.kernel.1;
    let depth = taps * job.depth;
    let mut packed = Buffer::zeroed("conv2d", job.groups * panels.count * depth * panels.row)?;
    let Packing { filter, tap, inner, outer, group } = job.filter;
    let task = |i: usize, panel: &mut [T]| {
        let (g, first) = (i / panels.count, i % panels.count * panels.row);
        let columns = panels.row.min(job.width.saturating_sub(first));
        for (k, row) in panel.chunks_exact_mut(panels.row).enumerate() {
            let start = k / job.depth * tap + k % job.depth * inner + g * group + first * outer;
            for (n, x) in row[..columns].iter_mut().enumerate() {
                *x = filter[start + n * outer];
            }
        }
    };
    threads::split_units(&mut packed, depth * panels.row, depth * panels.row, |first, part| {
        part.chunks_exact_mut(depth * panels.row).enumerate().for_each(|(i, panel)| task(first + i, panel));
        false
    });
    Ok(packed)
}

/// Some rows of the output, of one or several images.
struct Piece<'a, T> {
    job: &'a Job<'a, T>,
    panels: &'a Panels,
    source: &'a [T],
    from: Plane,
    packed: &'a [T],
    bias: Option<&'a [T]>,
    /// The first row, counted over all images.
    first: usize,
    out: &'a mut [T],
}

impl<T: Float> Kernel for Piece<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        match (self.panels.registers, self.job.depthwise) {
            (1, false) => self.run_wide::<S, 1, false>(),
            (2, false) => self.run_wide::<S, 2, false>(),
            (3, false) => self.run_wide::<S, 3, false>(),
            (4, false) => self.run_wide::<S, 4, false>(),
            (1, true) => self.run_wide::<S, 1, true>(),
            _ => self.run_wide::<S, 2, true>(),
        }
    }
}

impl<T: Float> Piece<'_, T> {
    #[inline(always)]
    fn run_wide<S: Isa, const N: usize, const DEPTHWISE: bool>(self) {
        let (job, panels) = (self.job, self.panels);
        let panel_len = job.kernel.0 * job.kernel.1 * job.depth * panels.row;
        let (mut pixels, mut runs) = (Vec::new(), Vec::new());
        for rows in &job.rows {
            for columns in &job.columns {
                list_pixels(&self, rows, columns, &mut pixels);
                list_runs(&self, rows, columns, &mut runs);
                let blocks = blocks(&runs, panels.row * size_of::<T>());
                for index in 0..job.groups * panels.count {
                    let (group, first) = (index / panels.count, index % panels.count * panels.row);
                    let weights = &self.packed[index * panel_len..][..panel_len];
                    let source = check_reach(
                        self.source,
                        if DEPTHWISE { first } else { group * job.depth },
                        &pixels,
                        &runs,
                        if DEPTHWISE { panels.row } else { 0 },
                    );
                    let written = group * job.width + first;
                    for (block, &(start, end)) in blocks.iter().enumerate() {
                        let finish = Finish {
                            accumulate: block > 0,
                            bias: self.bias.map(|bias| &bias[index * panels.row..][..panels.row]),
                            relu: job.relu && block + 1 == blocks.len(),
                        };
                        let columns = panels.row.min(job.width - first);
                        let panel = Panel { weights, runs: &runs[start..end], finish, columns };
                        // SAFETY: `check_reach` has checked what is read of the source; runs lie within the panel,
                        // whose rows are numbered by taps and channels; the tile checks what it writes.
                        unsafe {
                            tile::sums::<T, S, N, DEPTHWISE>(
                                source,
                                &panel,
                                &pixels,
                                &mut self.out[written..],
                            );
                        }
                    }
                }
            }
        }
    }
}

/// The part of the source that starts with channel `first`, after a check that all pixels' runs lie within it.
fn check_reach<'a, T>(
    source: &'a [T],
    first: usize,
    pixels: &[Pixel],
    runs: &[Run],
    register: usize,
) -> &'a [T] {
    let source = &source[first.min(source.len())..];
    let ends = |f: fn(isize, isize) -> isize, start: isize| {
        pixels.iter().map(|pixel| pixel.from as isize).fold(start, f)
    };
    if let (false, Some(lowest)) = (pixels.is_empty(), runs.iter().map(|run| run.shift).min()) {
        let highest =
            runs.iter().map(|run| run.shift + run.len.max(register) as isize).max().unwrap_or(lowest);
        let (least, greatest) = (ends(isize::min, isize::MAX), ends(isize::max, 0));
        assert!(
            least + lowest >= 0 && greatest + highest <= source.len() as isize,
            "a convolution reads outside its image"
        );
    }
    source
}

/// Where the pixels of a class are that lie in a piece.
fn list_pixels<T: Float>(piece: &Piece<'_, T>, rows: &Group, columns: &Group, list: &mut Vec<Pixel>) {
    list.clear();
    let (from, to) = (piece.from, piece.job.to);
    let row = to.columns * to.channels;
    let last = piece.first + piece.out.len() / row;
    for image in piece.first / to.rows..last.div_ceil(to.rows) {
        for y in &rows.positions {
            let line = image * to.rows + y.at;
            if !(piece.first..last).contains(&line) {
                continue;
            }
            let start = image * from.len() + y.base * from.columns * from.channels;
            let end = (line - piece.first) * row;
            list.extend(
                columns
                    .positions
                    .iter()
                    .map(|x| Pixel { from: start + x.base * from.channels, to: end + x.at * to.channels }),
            );
        }
    }
}

/// What each pixel of a class reads; taps that follow each other in the image and in the filter become one run.
fn list_runs<T: Float>(piece: &Piece<'_, T>, rows: &Group, columns: &Group, list: &mut Vec<Run>) {
    list.clear();
    let (from, job) = (piece.from, piece.job);
    let longest = (PANEL_BYTES / (piece.panels.row * size_of::<T>())).max(1);
    for y in &rows.taps {
        for x in &columns.taps {
            let shift = (y.shift * from.columns as isize + x.shift) * from.channels as isize;
            let row = (y.kernel * job.kernel.1 + x.kernel) * job.depth;
            match list.last_mut() {
                Some(Run { shift: start, len, row: first })
                    if !job.depthwise
                        && *start + *len as isize == shift
                        && *first + *len == row
                        && *len + job.depth <= longest =>
                {
                    *len += job.depth;
                }
                _ => list.push(Run { shift, len: job.depth, row }),
            }
        }
    }
}

/// Ranges of runs whose part of the panel stays in the cache while pixels pass by; at least one, so that pixels without
/// taps get their bias.
fn blocks(runs: &[Run], row_bytes: usize) -> Vec<(usize, usize)> {
    let mut blocks = vec![(0, 0)];
    let mut bytes = 0;
    for (i, run) in runs.iter().enumerate() {
        bytes += run.len * row_bytes;
        match blocks.last_mut() {
            Some((start, end)) if bytes <= PANEL_BYTES || *start == i => *end = i + 1,
            _ => {
                blocks.push((i, i + 1));
                bytes = run.len * row_bytes;
            }
        }
    }
    blocks
}
