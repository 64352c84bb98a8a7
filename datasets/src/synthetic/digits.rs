//! Drawn digits: strokes bent, tilted, moved, thickened and spotted with noise, each time differently.

use cairn_tensor::Rng;

use crate::error::Result;
use crate::images::ImageDataset;
use crate::random::{self, between};
use crate::synthetic::room;

const SIDE: usize = 28;

type Point = (f64, f64);

/// The lines of each digit in a unit square, x to the right and y down.
const STROKES: [&[&[Point]]; 10] = [
    &[&[
        (0.50, 0.10),
        (0.66, 0.17),
        (0.75, 0.35),
        (0.75, 0.65),
        (0.66, 0.83),
        (0.50, 0.90),
        (0.34, 0.83),
        (0.25, 0.65),
        (0.25, 0.35),
        (0.34, 0.17),
        (0.50, 0.10),
    ]],
    &[&[(0.34, 0.28), (0.52, 0.10), (0.52, 0.90)]],
    &[&[
        (0.25, 0.30),
        (0.32, 0.15),
        (0.50, 0.10),
        (0.68, 0.16),
        (0.73, 0.31),
        (0.63, 0.49),
        (0.25, 0.90),
        (0.77, 0.90),
    ]],
    &[
        &[(0.26, 0.16), (0.50, 0.10), (0.71, 0.20), (0.68, 0.38), (0.45, 0.48)],
        &[(0.45, 0.48), (0.71, 0.58), (0.75, 0.76), (0.52, 0.90), (0.25, 0.84)],
    ],
    &[&[(0.63, 0.90), (0.63, 0.10), (0.22, 0.65), (0.80, 0.65)]],
    &[&[
        (0.73, 0.10),
        (0.33, 0.10),
        (0.29, 0.46),
        (0.55, 0.42),
        (0.74, 0.57),
        (0.71, 0.80),
        (0.48, 0.90),
        (0.25, 0.83),
    ]],
    &[&[
        (0.66, 0.10),
        (0.42, 0.28),
        (0.28, 0.58),
        (0.34, 0.83),
        (0.54, 0.90),
        (0.72, 0.77),
        (0.68, 0.57),
        (0.48, 0.51),
        (0.29, 0.66),
    ]],
    &[&[(0.22, 0.10), (0.77, 0.10), (0.43, 0.90)]],
    &[&[
        (0.50, 0.48),
        (0.30, 0.36),
        (0.32, 0.17),
        (0.50, 0.10),
        (0.68, 0.17),
        (0.70, 0.36),
        (0.50, 0.48),
        (0.27, 0.62),
        (0.28, 0.82),
        (0.50, 0.90),
        (0.72, 0.82),
        (0.73, 0.62),
        (0.50, 0.48),
    ]],
    &[&[
        (0.71, 0.34),
        (0.52, 0.49),
        (0.32, 0.43),
        (0.28, 0.23),
        (0.46, 0.10),
        (0.66, 0.17),
        (0.72, 0.42),
        (0.60, 0.72),
        (0.36, 0.90),
    ]],
];

/// Drawn digits in MNIST's form: grey images of 28 x 28 and labels 0 to 9, equally many of each (to within one), in random
/// order. For test data take another seed.
///
/// ```
/// use cairn_datasets::{synthetic, Dataset};
/// let digits = synthetic::digits(20, 1)?;
/// let (images, labels) = digits.batch(&[0, 1, 2])?;
/// assert_eq!(images.shape(), [3, 28, 28, 1]);
/// assert_eq!(labels.shape(), [3]);
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) for more than memory can hold.
pub fn digits(count: usize, seed: u64) -> Result<ImageDataset> {
    let mut pixels = room(count, SIDE * SIDE, "digits")?;
    let mut labels: Vec<u32> = room(count, 1, "digits")?;
    labels.extend((0..count).map(|i| (i % 10) as u32));
    random::shuffle(&mut labels, &mut random::stream(seed, 0));
    for (i, &label) in labels.iter().enumerate() {
        // A generator for each image, so that no image depends on how many numbers the ones before it drew.
        let mut rng = random::stream(seed, 1 + i as u64);
        pixels.extend(draw(label as usize, &mut rng));
    }
    ImageDataset::new([SIDE, SIDE, 1], pixels, labels, 10)
}

/// One image of a digit.
fn draw(digit: usize, rng: &mut Rng) -> [u8; SIDE * SIDE] {
    let hand = Hand::new(rng);
    let mut ink = [0f32; SIDE * SIDE];
    for stroke in STROKES[digit] {
        let points: Vec<Point> = stroke.iter().map(|&point| hand.place(point, rng)).collect();
        for line in points.windows(2) {
            hand.line(&mut ink, line[0], line[1]);
        }
    }
    let mut image = [0; SIDE * SIDE];
    for (to, &ink) in image.iter_mut().zip(&ink) {
        // Grain everywhere; the sum of two evens is near enough to a bell.
        let grain = between(rng, -28.0, 28.0) + between(rng, -28.0, 28.0);
        *to = (f64::from(ink) * hand.pressure + grain).clamp(0.0, 255.0) as u8;
    }
    image
}

/// How one digit is written: a linear map and a shift from the unit square to pixels, and the pen.
struct Hand {
    /// Rows of the matrix that takes (x, y), measured from the middle, to pixels.
    x: Point,
    y: Point,
    shift: Point,
    /// How far points stray, in parts of the square.
    tremble: f64,
    /// Half the width of a line in pixels.
    radius: f64,
    /// Brightness of a line's middle, up to 255.
    pressure: f64,
}

impl Hand {
    fn new(rng: &mut Rng) -> Self {
        let angle = between(rng, -0.35, 0.35);
        let slant = between(rng, -0.35, 0.35);
        let (width, height) = (between(rng, 15.0, 25.0), between(rng, 17.0, 25.0));
        let (sin, cos) = angle.sin_cos();
        Hand {
            x: (cos * width, (cos * slant - sin) * height),
            y: (sin * width, (sin * slant + cos) * height),
            shift: (between(rng, -3.0, 3.0), between(rng, -3.0, 3.0)),
            tremble: between(rng, 0.01, 0.06),
            radius: between(rng, 0.6, 2.0),
            pressure: between(rng, 130.0, 255.0),
        }
    }

    /// Where a point of the unit square comes to lie in the image, in pixels.
    fn place(&self, (x, y): Point, rng: &mut Rng) -> Point {
        let x = x - 0.5 + between(rng, -self.tremble, self.tremble);
        let y = y - 0.5 + between(rng, -self.tremble, self.tremble);
        let middle = (SIDE as f64 - 1.0) / 2.0;
        (
            middle + self.shift.0 + self.x.0 * x + self.x.1 * y,
            middle + self.shift.1 + self.y.0 * x + self.y.1 * y,
        )
    }

    /// Draws a line with round ends and an edge one pixel soft.
    fn line(&self, ink: &mut [f32; SIDE * SIDE], a: Point, b: Point) {
        let reach = self.radius + 0.5;
        // Only pixels that the pen can touch.
        let span = |p: f64, q: f64| {
            let low = (p.min(q) - reach).ceil().clamp(0.0, SIDE as f64) as usize;
            let high = (p.max(q) + reach).floor().clamp(-1.0, SIDE as f64 - 1.0) + 1.0;
            low..high as usize
        };
        for row in span(a.1, b.1) {
            for column in span(a.0, b.0) {
                let distance = distance_to_line((column as f64, row as f64), a, b);
                let cover = (reach - distance).clamp(0.0, 1.0) as f32;
                let pixel = &mut ink[row * SIDE + column];
                *pixel = pixel.max(cover);
            }
        }
    }
}

fn distance_to_line(p: Point, a: Point, b: Point) -> f64 {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let length2 = dx * dx + dy * dy;
    let along = if length2 > 0.0 { ((p.0 - a.0) * dx + (p.1 - a.1) * dy) / length2 } else { 0.0 };
    let along = along.clamp(0.0, 1.0);
    (p.0 - a.0 - along * dx).hypot(p.1 - a.1 - along * dy)
}
