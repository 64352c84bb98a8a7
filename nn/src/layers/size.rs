//! Sizes along height and width, and paddings, as one writes them.

use cairn_tensor::Window;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A size along height and width: `3` for both, or `[3, 5]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Size2(pub [usize; 2]);

impl From<usize> for Size2 {
    fn from(both: usize) -> Self {
        Size2([both; 2])
    }
}
impl From<[usize; 2]> for Size2 {
    fn from(sizes: [usize; 2]) -> Self {
        Size2(sizes)
    }
}
impl From<(usize, usize)> for Size2 {
    fn from((height, width): (usize, usize)) -> Self {
        Size2([height, width])
    }
}

/// How far an image is extended before a window slides over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Padding {
    /// Not at all: Keras's `"valid"`.
    #[default]
    Valid,
    /// So that there are as many outputs as inputs, divided by the stride: Keras's `"same"`.
    Same,
    /// Along time by as much as the window reaches back, before the first step only: no output sees a later step.
    Causal,
    /// By these pixels above and below, left and right.
    Pixels([[usize; 2]; 2]),
}

impl From<usize> for Padding {
    /// As many pixels on all sides, as PyTorch's `padding`.
    fn from(all: usize) -> Self {
        Padding::Pixels([[all; 2]; 2])
    }
}
impl From<[usize; 2]> for Padding {
    /// Pixels above and below, and left and right.
    fn from([rows, columns]: [usize; 2]) -> Self {
        Padding::Pixels([[rows; 2], [columns; 2]])
    }
}

/// Everything that decides where a window stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sliding {
    pub(super) size: Size2,
    pub(super) stride: Size2,
    pub(super) dilation: Size2,
    pub(super) padding: Padding,
}

impl Sliding {
    pub(super) fn new(size: impl Into<Size2>) -> Self {
        Sliding { size: size.into(), stride: 1.into(), dilation: 1.into(), padding: Padding::Valid }
    }

    /// The window on an image of this height and width.
    pub(super) fn window(&self, image: [usize; 2]) -> Window {
        let window = Window::default().stride(self.stride.0).dilation(self.dilation.0);
        match self.padding {
            Padding::Valid => window,
            Padding::Same => window.same(self.size.0, image),
            Padding::Causal => {
                let back = self.size.0[1].saturating_sub(1).saturating_mul(self.dilation.0[1]);
                Window { padding: [[0; 2], [back, 0]], ..window }
            }
            Padding::Pixels(padding) => Window { padding, ..window },
        }
    }

    /// Checks and counts the window's positions.
    pub(super) fn output(&self, image: [usize; 2]) -> Result<[usize; 2]> {
        Ok(self.window(image).output(self.size.0, image)?)
    }
}

/// Height, width and channels of one image.
pub(super) fn image(input: &[usize]) -> Result<[usize; 3]> {
    let &[height, width, channels] = input else {
        let why = "images [height, width, channels] are needed".into();
        return Err(Error::BadInput { input: input.into(), why });
    };
    Ok([height, width, channels])
}

/// Height and width of a batch of images.
pub(super) fn batch_sides(input: &[usize]) -> Result<[usize; 2]> {
    let &[_, height, width, _] = input else {
        let why = "images [batch, height, width, channels] are needed".into();
        return Err(Error::BadInput { input: input.into(), why });
    };
    Ok([height, width])
}

/// Steps and channels of one sequence.
pub(super) fn sequence(input: &[usize]) -> Result<[usize; 2]> {
    let &[steps, channels] = input else {
        let why = "sequences [steps, channels] are needed".into();
        return Err(Error::BadInput { input: input.into(), why });
    };
    Ok([steps, channels])
}
