//! Drawn shapes in colour, in the form of CIFAR-10.

use crate::error::Result;
use crate::images::ImageDataset;
use crate::random::{self, between};
use crate::synthetic::room;

const SIDE: usize = 32;

/// Whether a point of a shape's own square, both coordinates from -1 to 1, belongs to it.
type Shape = fn(f64, f64) -> bool;

const SHAPES: [Shape; 10] = [
    |x, y| x * x + y * y < 1.0,                         // disc
    |x, y| (0.3..1.0).contains(&(x * x + y * y)),       // ring
    |x, y| x.abs().max(y.abs()) < 0.85,                 // square
    |x, y| (0.45..0.9).contains(&x.abs().max(y.abs())), // frame
    |x, y| x.abs() + y.abs() < 1.0,                     // diamond
    |x, y| x.abs().min(y.abs()) < 0.25,                 // cross
    |x, y| y < 0.8 && x.abs() < (y + 1.0) / 2.0,        // triangle
    |x, y| y > -0.8 && x.abs() < (1.0 - y) / 2.0,       // the same upside down
    |_, y| ((y + 1.0) * 2.5) as i64 % 2 == 0,           // bars across
    |x, _| ((x + 1.0) * 2.5) as i64 % 2 == 0,           // bars upright
];

/// `count` images of 32 x 32 in colour, each with one of ten shapes: of any two colours, anywhere, of any size, with noise.
/// Only the form tells the class. Classes take turns.
///
/// ```
/// use cairn_datasets::{Dataset, synthetic};
/// let images = synthetic::shapes(20, 7)?;
/// assert_eq!((images.len(), images.size(), images.classes()), (20, [32, 32, 3], 10));
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) for more than memory can hold.
pub fn shapes(count: usize, seed: u64) -> Result<ImageDataset> {
    let mut pixels = room(count, SIDE * SIDE * 3, "shapes")?;
    let mut labels = room(count, 1, "shapes")?;
    for i in 0..count {
        let class = i % SHAPES.len();
        draw(SHAPES[class], &mut random::stream(seed, i as u64), &mut pixels);
        labels.push(class as u32);
    }
    ImageDataset::new([SIDE, SIDE, 3], pixels, labels, SHAPES.len())
}

fn draw(shape: Shape, rng: &mut cairn_tensor::Rng, pixels: &mut Vec<u8>) {
    let radius = between(rng, 7.0, 13.0);
    let middle = [(); 2].map(|()| between(rng, radius, SIDE as f64 - radius));
    let ground = [(); 3].map(|()| between(rng, 20.0, 235.0));
    // A contrast of at least 60 in one channel, whichever way there is room.
    let strong = random::below(rng, 3) as usize;
    let mut ink = [(); 3].map(|()| between(rng, 20.0, 235.0));
    let step = between(rng, 60.0, 110.0);
    ink[strong] = if ground[strong] < 127.5 { ground[strong] + step } else { ground[strong] - step };
    for i in 0..SIDE * SIDE {
        let (y, x) = ((i / SIDE) as f64 + 0.5, (i % SIDE) as f64 + 0.5);
        let (y, x) = ((y - middle[0]) / radius, (x - middle[1]) / radius);
        let colour = if x.abs().max(y.abs()) < 1.0 && shape(x, y) { ink } else { ground };
        pixels.extend(colour.map(|c| (c + between(rng, -12.0, 12.0)).clamp(0.0, 255.0) as u8));
    }
}
