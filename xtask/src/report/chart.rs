//! A line chart: how a quantity moves over epochs, steps or sizes.

use std::fmt::Write as _;

use maud::{Markup, Render, html};

use super::Block;
use crate::format::value;

/// The picture's own units; the page scales it to its column.
const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 42.0;
/// The page knows this many line colours; further lines begin again.
const COLOURS: usize = 6;
/// Lines with more points than this are drawn without a dot on each.
const DOTS: usize = 60;

/// Lines over a common axis, with ticks, a legend and values under the pointer.
#[derive(Clone, Debug)]
pub struct LineChart {
    x_label: String,
    y_label: String,
    lines: Vec<(String, Vec<(f64, f64)>)>,
    log: bool,
}

impl LineChart {
    /// An empty chart; the labels say what the axes are, with units where there are any.
    pub fn new(x_label: impl Into<String>, y_label: impl Into<String>) -> Self {
        Self { x_label: x_label.into(), y_label: y_label.into(), lines: Vec::new(), log: false }
    }

    /// Gives the y axis a logarithmic scale: for errors, which differ by powers of ten. Values of 0 and below are left out.
    #[must_use]
    pub fn log_scale(mut self) -> Self {
        self.log = true;
        self
    }

    /// Adds a line through these values at 1, 2, 3, …: one an epoch.
    #[must_use]
    pub fn epochs(self, name: impl Into<String>, values: impl IntoIterator<Item = f64>) -> Self {
        self.line(name, values.into_iter().enumerate().map(|(i, y)| ((i + 1) as f64, y)))
    }

    /// Adds a line through these points, in order of x. Points that are not finite, or too far out for the arithmetic of
    /// the axes (1e300), are left out.
    #[must_use]
    pub fn line(mut self, name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let points = points.into_iter().filter(|(x, y)| x.abs() < 1e300 && y.abs() < 1e300);
        self.lines.push((name.into(), points.collect()));
        self
    }

    /// The points of a line that are drawn, y as it is measured along the axis.
    fn drawn(&self, points: &[(f64, f64)]) -> Vec<(f64, f64)> {
        if self.log {
            points.iter().filter(|p| p.1 > 0.0).map(|&(x, y)| (x, y.log10())).collect()
        } else {
            points.to_vec()
        }
    }

    fn all(&self) -> impl Iterator<Item = (f64, f64)> {
        self.lines.iter().flat_map(|(_, points)| self.drawn(points))
    }
}

/// An axis: the range shown, and where its ticks are.
#[derive(Debug)]
struct Axis {
    low: f64,
    high: f64,
    step: f64,
}

impl Axis {
    /// Round ticks (1, 2 or 5 times a power of ten), about `wanted` of them. `snap` widens the range to whole ticks;
    /// `whole` allows only whole numbers.
    fn new(values: impl Iterator<Item = f64>, wanted: f64, snap: bool, whole: bool) -> Self {
        let (mut low, mut high) = values.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        let least = (low.abs().max(high.abs()) * 1e-9).max(1e-300);
        if high - low < least {
            let room = if whole { 1.0 } else { (low.abs() * 0.1).max(least * 2.0) };
            (low, high) = (low - room, high + room);
        }
        let rough = (high - low) / wanted;
        let power = 10f64.powf(rough.log10().floor());
        let mut step = [1.0, 2.0, 5.0, 10.0]
            .map(|m| m * power)
            .into_iter()
            .find(|s| *s >= rough * 0.999)
            .unwrap_or(rough);
        if whole {
            step = step.max(1.0).round();
        }
        if snap {
            (low, high) = ((low / step + 1e-9).floor() * step, (high / step - 1e-9).ceil() * step);
        }
        Self { low, high, step }
    }

    /// Where `v` falls between 0 (low) and 1 (high).
    fn share(&self, v: f64) -> f64 {
        (v - self.low) / (self.high - self.low)
    }

    /// The ticks, with their text.
    fn ticks(&self) -> Vec<(f64, String)> {
        let first = (self.low / self.step - 1e-9).ceil();
        let size = self.low.abs().max(self.high.abs());
        (0..50)
            .map(|i| (first + f64::from(i)) * self.step)
            .take_while(|t| *t <= self.high + self.step * 1e-6)
            .map(|t| (t, tick_text(t, self.step, size)))
            .collect()
    }
}

/// As many decimals as the step needs, powers of ten where the numbers are very large or small.
fn tick_text(t: f64, step: f64, size: f64) -> String {
    if !(1e-4..1e6).contains(&size) {
        return if t == 0.0 { "0".into() } else { format!("{t:.1e}") };
    }
    let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
    // `+ 0.0` turns a negative zero into zero.
    format!("{:.decimals$}", (t / step).round() * step + 0.0)
}

/// The tick `v` of a logarithmic axis, which is at a whole number.
fn power_of_ten(v: f64) -> String {
    if (-3.0..=5.0).contains(&v) { format!("{}", 10f64.powf(v)) } else { format!("1e{v:.0}") }
}

/// Maps values to the picture.
struct Frame {
    x: Axis,
    y: Axis,
}

impl Frame {
    fn x(&self, v: f64) -> f64 {
        LEFT + self.x.share(v) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, v: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.share(v) * (HEIGHT - TOP - BOTTOM)
    }

    fn path(&self, points: &[(f64, f64)]) -> String {
        let mut path = String::new();
        for &(x, y) in points {
            let _ = write!(path, "{:.1},{:.1} ", self.x(x), self.y(y));
        }
        path
    }

    fn axes(&self, chart: &LineChart) -> Markup {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        html! {
            @for (v, text) in self.y.ticks() {
                @let text = if chart.log { power_of_ten(v) } else { text };
                @let y = format!("{:.1}", self.y(v));
                line.grid x1=(LEFT) x2=(right) y1=(y) y2=(y) {}
                text x=(LEFT - 8.0) y=(y) dy="0.35em" text-anchor="end" { (text) }
            }
            line.axis x1=(LEFT) x2=(right) y1=(bottom) y2=(bottom) {}
            @for (v, text) in self.x.ticks() {
                text x=(format!("{:.1}", self.x(v))) y=(bottom + 17.0) text-anchor="middle" { (text) }
            }
            text transform={ "translate(12 " (f64::midpoint(TOP, bottom)) ") rotate(-90)" } text-anchor="middle" { (chart.y_label) }
            text x=(f64::midpoint(LEFT, right)) y=(HEIGHT - 5.0) text-anchor="middle" { (chart.x_label) }
        }
    }

    /// One band for each x: a rule and all values there, while the pointer is over it.
    fn columns(&self, chart: &LineChart) -> Markup {
        let mut xs: Vec<f64> = chart.all().map(|(x, _)| x).collect();
        xs.sort_by(f64::total_cmp);
        xs.dedup();
        let middle = |a: f64, b: f64| f64::midpoint(self.x(a), self.x(b));
        html! {
            @for (i, &x) in xs.iter().enumerate() {
                @let from = if i == 0 { LEFT } else { middle(xs[i - 1], x) };
                @let to = xs.get(i + 1).map_or(WIDTH - RIGHT, |&next| middle(x, next));
                @let at = format!("{:.1}", self.x(x));
                g.column {
                    rect x=(format!("{from:.1}")) y=(TOP) width=(format!("{:.1}", (to - from).max(0.0)))
                        height=(HEIGHT - TOP - BOTTOM) fill="transparent" {}
                    line.rule x1=(at) x2=(at) y1=(TOP) y2=(HEIGHT - BOTTOM) {}
                    title { (chart.values_at(x)) }
                }
            }
        }
    }
}

impl LineChart {
    /// `epoch 3`, then a line for each series that has a value there.
    fn values_at(&self, x: f64) -> String {
        let mut text = format!("{} {}", self.x_label, value(x));
        for (name, points) in &self.lines {
            if let Some((_, y)) = points.iter().find(|p| p.0 == x) {
                let _ = write!(text, "\n{name} {}", value(*y));
            }
        }
        text
    }
}

impl Render for LineChart {
    fn render(&self) -> Markup {
        let whole = self.all().all(|(x, _)| x.fract() == 0.0 && x.abs() < 1e9);
        let frame = Frame {
            x: Axis::new(self.all().map(|p| p.0), 6.0, false, whole),
            y: Axis::new(self.all().map(|p| p.1), 5.0, true, self.log),
        };
        html! {
            div.chart {
                div.legend {
                    @for (i, (name, _)) in self.lines.iter().enumerate() {
                        span class={ "c" (i % COLOURS) } { i {} (name) }
                    }
                }
                svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img"
                    aria-label={ (self.y_label) " by " (self.x_label) } {
                    (frame.axes(self))
                    @for (i, (_, points)) in self.lines.iter().enumerate() {
                        @let points = self.drawn(points);
                        g class={ "c" (i % COLOURS) } {
                            polyline.line points=(frame.path(&points)) {}
                            @if points.len() <= DOTS {
                                @for &(x, y) in &points {
                                    circle.dot cx=(format!("{:.1}", frame.x(x))) cy=(format!("{:.1}", frame.y(y))) r="3.2" {}
                                }
                            }
                        }
                    }
                    (frame.columns(self))
                }
            }
        }
    }
}

impl Block for LineChart {}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(values: &[f64], snap: bool, whole: bool) -> Vec<String> {
        let axis = Axis::new(values.iter().copied(), 5.0, snap, whole);
        axis.ticks().into_iter().map(|t| t.1).collect()
    }

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        assert_eq!(ticks(&[0.012, 0.31], true, false), ["0.0", "0.1", "0.2", "0.3", "0.4"]);
        assert_eq!(ticks(&[0.951, 0.987], true, false), ["0.95", "0.96", "0.97", "0.98", "0.99"]);
        assert_eq!(ticks(&[1.0, 5.0], false, true), ["1", "2", "3", "4", "5"]);
        assert_eq!(ticks(&[1.0, 2.0], false, true), ["1", "2"]);
        assert_eq!(ticks(&[1.0], false, true), ["0", "1", "2"]);
        assert_eq!(ticks(&[-2.0, 2.0], true, false), ["-2", "-1", "0", "1", "2"]);
    }

    #[test]
    fn odd_values_still_give_a_finite_picture() {
        let odd: [&[f64]; 7] = [
            &[],
            &[0.0],
            &[f64::NAN, 1.0],
            &[f64::MIN, f64::MAX],
            &[1e-300, 1e-299],
            &[5.0, 5.0],
            &[1e12, 1e12 + 1.0],
        ];
        for values in odd {
            let html = LineChart::new("epoch", "loss")
                .epochs("train", values.iter().copied())
                .render()
                .into_string();
            assert!(!html.contains("NaN") && !html.contains("inf"), "{values:?}: {html}");
        }
    }

    #[test]
    fn a_logarithmic_axis_has_powers_of_ten_and_leaves_out_zeros() {
        let html = LineChart::new("n", "error")
            .log_scale()
            .epochs("a", [1e-8, 0.0, 0.5, -1.0])
            .render()
            .into_string();
        assert!(html.contains(">1e-8<") && html.contains(">1<") && !html.contains("NaN"), "{html}");
        assert_eq!(html.matches("<circle").count(), 2);
    }

    #[test]
    fn points_are_inside_the_frame_and_carry_their_values() {
        let html = LineChart::new("epoch", "loss")
            .epochs("train", [0.5, 0.3])
            .line("test <1>", [(1.0, 0.4), (2.0, 0.35)])
            .render()
            .into_string();
        assert_eq!(html.matches("<circle").count(), 4);
        assert!(html.contains("epoch 2\ntrain 0.3000\ntest &lt;1&gt; 0.3500"), "{html}");
        for part in html.split("cx=\"").skip(1) {
            let x: f64 = part[..part.find('"').unwrap()].parse().unwrap();
            assert!((LEFT..=WIDTH - RIGHT).contains(&x), "{x}");
        }
        for part in html.split("cy=\"").skip(1) {
            let y: f64 = part[..part.find('"').unwrap()].parse().unwrap();
            assert!((TOP..=HEIGHT - BOTTOM).contains(&y), "{y}");
        }
    }
}
