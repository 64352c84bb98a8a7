//! Where a window that slides over an image may stand: stride, padding, dilation, and the sizes that follow.
//!
//! Shared by convolution and pooling. Sizes are computed with overflow checks, so that an absurd setting is an error and
//! not a wrapped number.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How a window moves over the two axes of an image, height first.
///
/// ```
/// use cairn_tensor::Window;
/// let window = Window::default().stride([2, 2]).padding([1, 1]);
/// assert_eq!(window.output([3, 3], [28, 28])?, [14, 14]);
/// // Padding as Keras's "same": as many outputs as inputs, divided by the stride and rounded up.
/// let same = Window::default().stride([2, 2]).same([3, 3], [28, 28]);
/// assert_eq!(same.output([3, 3], [28, 28])?, [14, 14]);
/// assert_eq!(same.padding, [[0, 1], [0, 1]]);
/// # Ok::<(), cairn_tensor::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Window {
    /// Pixels between neighbouring windows. Default 1.
    pub stride: [usize; 2],
    /// Pixels that the image is extended by, before and after. Default 0.
    pub padding: [[usize; 2]; 2],
    /// Pixels between neighbouring taps of a window. Default 1.
    pub dilation: [usize; 2],
}

impl Default for Window {
    fn default() -> Self {
        Window { stride: [1; 2], padding: [[0; 2]; 2], dilation: [1; 2] }
    }
}

impl Window {
    /// With other strides.
    #[must_use]
    pub fn stride(self, stride: [usize; 2]) -> Self {
        Window { stride, ..self }
    }

    /// With as much padding after as before.
    #[must_use]
    pub fn padding(self, padding: [usize; 2]) -> Self {
        Window { padding: padding.map(|p| [p; 2]), ..self }
    }

    /// With other dilations.
    #[must_use]
    pub fn dilation(self, dilation: [usize; 2]) -> Self {
        Window { dilation, ..self }
    }

    /// With the padding of Keras's and TensorFlow's `"same"` for this window and image: the number of outputs is the
    /// number of inputs divided by the stride, rounded up; an odd pixel of padding goes after.
    #[must_use]
    pub fn same(self, size: [usize; 2], image: [usize; 2]) -> Self {
        let padding = std::array::from_fn(|i| {
            let stride = self.stride[i].max(1);
            let reach = size[i].saturating_sub(1).saturating_mul(self.dilation[i]).saturating_add(1);
            let last = image[i].div_ceil(stride).saturating_sub(1).saturating_mul(stride);
            let total = last.saturating_add(reach).saturating_sub(image[i]);
            [total / 2, total - total / 2]
        });
        Window { padding, ..self }
    }

    /// The number of positions of a window of this size on an image, along height and width.
    ///
    /// # Errors
    /// When a size, stride or dilation is 0, when the window is larger than the padded image, or when a size leaves the
    /// range of `usize`.
    pub fn output(&self, size: [usize; 2], image: [usize; 2]) -> Result<[usize; 2]> {
        let [rows, columns] = self.axes("window", size, image)?;
        Ok([rows.output, columns.output])
    }

    /// The image size that a transposed convolution makes of its input: the least whose windows are that many, plus
    /// `extra` pixels (below the stride).
    ///
    /// # Errors
    /// As [`output`](Self::output), and when the padding is more than there is, or `extra` not below the stride.
    pub fn transposed_output(
        &self,
        size: [usize; 2],
        windows: [usize; 2],
        extra: [usize; 2],
    ) -> Result<[usize; 2]> {
        let op = "conv_transpose2d";
        let mut image = [0; 2];
        for i in 0..2 {
            check(op, size[i], self.stride[i], self.dilation[i])?;
            if extra[i] >= self.stride[i] {
                let (value, must) = (extra[i] as f64, "below the stride");
                return Err(Error::bad_setting(op, "the extra output size", value, must));
            }
            let full = (windows[i].saturating_sub(1))
                .checked_mul(self.stride[i])
                .zip((size[i] - 1).checked_mul(self.dilation[i]))
                .and_then(|(a, b)| a.checked_add(b)?.checked_add(1)?.checked_add(extra[i]))
                .ok_or_else(|| too_large(op))?;
            let cut = self.padding[i][0].checked_add(self.padding[i][1]).ok_or_else(|| too_large(op))?;
            image[i] = full
                .checked_sub(cut)
                .filter(|&n| n > 0 && windows[i] > 0)
                .ok_or_else(|| Error::bad_shape(op, &windows, "the padding leaves nothing of the output"))?;
        }
        Ok(image)
    }

    /// The same along the second axis, and nothing along the first: for sequences as images of height 1.
    #[must_use]
    pub fn along_time(self) -> Self {
        let Window { stride: [_, stride], padding: [_, padding], dilation: [_, dilation] } = self;
        Window { stride: [1, stride], padding: [[0; 2], padding], dilation: [1, dilation] }
    }

    /// Both axes with everything that follows from a window's and an image's sizes.
    pub(crate) fn axes(&self, op: &'static str, size: [usize; 2], image: [usize; 2]) -> Result<[Axis; 2]> {
        let axis = |i: usize| Axis::new(op, size[i], image[i], self, i);
        Ok([axis(0)?, axis(1)?])
    }
}

fn check(op: &'static str, kernel: usize, stride: usize, dilation: usize) -> Result<()> {
    let named = [("the window's size", kernel), ("the stride", stride), ("the dilation", dilation)];
    match named.into_iter().find(|(_, value)| *value == 0) {
        Some((what, _)) => Err(Error::bad_setting(op, what, 0, "at least 1")),
        None => Ok(()),
    }
}

fn too_large(op: &'static str) -> Error {
    Error::bad_setting(op, "a size", f64::INFINITY, "within the range of usize")
}

/// One axis of an image with a window on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Axis {
    /// Pixels of the image.
    pub(crate) input: usize,
    /// Positions of the window.
    pub(crate) output: usize,
    /// Taps of the window.
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) dilation: usize,
    /// Padding before the first pixel.
    pub(crate) before: usize,
}

/// What a tap reads: the pixel `shift` after (or before) the position's base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tap {
    pub(crate) kernel: usize,
    pub(crate) shift: isize,
}

/// A position along one axis of what is written, and the base that its taps are counted from in what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) at: usize,
    pub(crate) base: usize,
}

/// Positions that read through the same taps. At the borders some taps fall outside; positions there form groups of
/// their own, so that nothing is padded and nothing multiplied by zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) taps: Vec<Tap>,
    pub(crate) positions: Vec<Position>,
}

impl Axis {
    fn new(op: &'static str, kernel: usize, input: usize, window: &Window, i: usize) -> Result<Self> {
        let (stride, dilation, [before, after]) = (window.stride[i], window.dilation[i], window.padding[i]);
        check(op, kernel, stride, dilation)?;
        let reach = (kernel - 1).checked_mul(dilation).and_then(|n| n.checked_add(1));
        let padded = input.checked_add(before).and_then(|n| n.checked_add(after));
        let (Some(reach), Some(padded)) = (reach, padded) else {
            return Err(too_large(op));
        };
        // Offsets are computed as signed numbers.
        if padded.max(reach).max(stride) > isize::MAX as usize / 2 {
            return Err(too_large(op));
        }
        if reach > padded {
            return Err(Error::ShapeMismatch {
                op,
                lhs: [padded].into(),
                rhs: [reach].into(),
                why: if i == 0 {
                    "the window (with its dilation) must not be higher than the padded image"
                } else {
                    "the window (with its dilation) must not be wider than the padded image"
                },
            });
        }
        Ok(Axis { input, output: (padded - reach) / stride + 1, kernel, stride, dilation, before })
    }

    /// The positions of the window at which a tap falls on the image.
    pub(crate) fn outputs_of(&self, tap: usize) -> std::ops::Range<usize> {
        // 0 <= at * stride + tap * dilation - before < input
        let ahead = tap * self.dilation;
        let start = self.before.saturating_sub(ahead).div_ceil(self.stride);
        let end = (self.input + self.before).saturating_sub(ahead).div_ceil(self.stride).min(self.output);
        start.min(end)..end
    }

    /// Groups of window positions, each with the taps that fall on the image: what a convolution reads.
    pub(crate) fn reading(&self) -> Vec<Group> {
        grouped((0..self.output).map(|at| {
            let base = at * self.stride;
            let taps = (0..self.kernel).filter_map(|kernel| {
                let shift = (kernel * self.dilation) as isize - self.before as isize;
                (0..self.input as isize).contains(&(base as isize + shift)).then_some(Tap { kernel, shift })
            });
            (taps.collect(), Position { at, base })
        }))
    }

    /// Groups of pixels, each with the taps through which some window reads it: what the gradient of a convolution's
    /// input collects.
    pub(crate) fn read_by(&self) -> Vec<Group> {
        let stride = self.stride as isize;
        grouped((0..self.input).map(|at| {
            let (base, rest) = (at / self.stride, (at % self.stride) as isize);
            let taps = (0..self.kernel).filter_map(|kernel| {
                let ahead = rest + self.before as isize - (kernel * self.dilation) as isize;
                let shift = ahead.div_euclid(stride);
                let inside = (0..self.output as isize).contains(&(base as isize + shift));
                (ahead.rem_euclid(stride) == 0 && inside).then_some(Tap { kernel, shift })
            });
            (taps.collect(), Position { at, base })
        }))
    }
}

/// Collects positions by their taps; groups in the order of their first position.
fn grouped(positions: impl Iterator<Item = (Vec<Tap>, Position)>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut by_taps = std::collections::HashMap::<Vec<Tap>, usize>::new();
    for (taps, position) in positions {
        match by_taps.get(&taps) {
            Some(&group) => groups[group].positions.push(position),
            None => {
                by_taps.insert(taps.clone(), groups.len());
                groups.push(Group { taps, positions: vec![position] });
            }
        }
    }
    groups
}
