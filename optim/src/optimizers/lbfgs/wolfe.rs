//! A line search for the strong Wolfe conditions (Nocedal and Wright 2006, algorithms 3.5 and 3.6): the loss falls by a
//! share of what the slope promises, and the slope is down to a share of what it was.
//!
//! First the step grows until a bracket holds such a point, then the bracket closes in on it by cubic interpolation.

use crate::Result;

/// The share of the promised decrease that must be reached.
const DECREASE: f64 = 1e-4;
/// The share of the first slope that may be left.
const CURVATURE: f64 = 0.9;
/// Trials of one search.
const TRIALS: usize = 25;

/// A point along the direction.
#[derive(Debug, Clone)]
pub(super) struct Point {
    pub(super) at: f64,
    pub(super) value: f64,
    /// The derivative along the direction.
    pub(super) slope: f64,
    pub(super) gradient: Vec<f32>,
}

/// The search from `start`, trying `first` first. `reach` is the largest element of the direction; a bracket that moves no
/// parameter by more than `tolerance` is not divided further.
pub(super) fn search(
    start: &Point,
    first: f64,
    reach: f64,
    tolerance: f64,
    mut evaluate: impl FnMut(f64) -> Result<Point>,
) -> Result<Point> {
    let enough = |point: &Point| point.value <= start.value + DECREASE * point.at * start.slope;
    let flat = |point: &Point| point.slope.abs() <= -CURVATURE * start.slope;
    let (mut last, mut point, mut trials) = (start.clone(), evaluate(first)?, 0);
    // The better end of the bracket comes first.
    let (mut low, mut high) = loop {
        if trials == TRIALS {
            break in_order(start.clone(), point);
        }
        if !enough(&point) || (trials > 1 && point.value >= last.value) {
            break in_order(last, point);
        }
        if flat(&point) {
            return Ok(point);
        }
        if point.slope >= 0.0 {
            break in_order(last, point);
        }
        let bounds = (point.at + 0.01 * (point.at - last.at), point.at * 10.0);
        let next = minimum_of_cubic(&last, &point, bounds);
        last = std::mem::replace(&mut point, evaluate(next)?);
        trials += 1;
    };
    let mut slow = false;
    while trials < TRIALS && (high.at - low.at).abs() * reach >= tolerance {
        let (left, right) = (low.at.min(high.at), low.at.max(high.at));
        let mut next = minimum_of_cubic(&low, &high, (left, right));
        // A trial near an end of the bracket may be right once; twice it makes no progress.
        let margin = 0.1 * (right - left);
        let near = (right - next).min(next - left) < margin;
        if near && (slow || next >= right || next <= left) {
            next = if (next - right).abs() < (next - left).abs() { right - margin } else { left + margin };
            slow = false;
        } else {
            slow = near;
        }
        let point = evaluate(next)?;
        trials += 1;
        if !enough(&point) || point.value >= low.value {
            (low, high) = in_order(low, point);
            continue;
        }
        if flat(&point) {
            return Ok(point);
        }
        let beyond = point.slope * (high.at - low.at) >= 0.0;
        let before = std::mem::replace(&mut low, point);
        if beyond {
            high = before;
        }
    }
    Ok(low)
}

/// The point of lower value first.
fn in_order(a: Point, b: Point) -> (Point, Point) {
    if a.value <= b.value { (a, b) } else { (b, a) }
}

/// The minimum, within bounds, of the cubic through two points with their slopes (Nocedal and Wright, equation 3.59); the
/// middle of the bounds where it has none.
fn minimum_of_cubic(a: &Point, b: &Point, bounds: (f64, f64)) -> f64 {
    let (a, b) = if a.at <= b.at { (a, b) } else { (b, a) };
    let middle = a.slope + b.slope - 3.0 * (a.value - b.value) / (a.at - b.at);
    let square = middle * middle - a.slope * b.slope;
    if square < 0.0 {
        return (bounds.0 + bounds.1) / 2.0;
    }
    let root = square.sqrt();
    let at = b.at - (b.at - a.at) * ((b.slope + root - middle) / (b.slope - a.slope + 2.0 * root));
    // As `clamp`, which would panic on a NaN bound of a loss that is not finite.
    at.max(bounds.0).min(bounds.1)
}
