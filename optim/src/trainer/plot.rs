//! The history as a picture: one SVG for a web page or an image viewer, without a plotting library.

use std::fmt::Write as _;

use super::History;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
/// Room for the axes: left, top, right, bottom.
const MARGIN: [f64; 4] = [64.0, 32.0, 16.0, 36.0];
const COLOURS: [&str; 6] = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf"];

impl History {
    /// Values over the epochs as lines in one SVG: `history.svg(&["loss", "val_loss"])`. Values that are unknown or not
    /// finite are left out.
    #[doc(alias = "plot")]
    pub fn svg(&self, names: &[&str]) -> String {
        let series: Vec<(&str, Vec<(f64, f64)>)> = names
            .iter()
            .map(|&name| (name, self.points(name)))
            .filter(|(_, points)| !points.is_empty())
            .collect();
        let all = || series.iter().flat_map(|(_, points)| points);
        let range = |of: fn(&(f64, f64)) -> f64| {
            let (low, high) = all().map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
            // One value, or none, still gets an axis.
            if low < high {
                (low, high)
            } else if low == high {
                (low - 0.5, high + 0.5)
            } else {
                (0.0, 1.0)
            }
        };
        let (xs, ys) = (range(|point| point.0), range(|point| point.1));
        let [left, top, right, bottom] = MARGIN;
        let x = |value: f64| left + (value - xs.0) / (xs.1 - xs.0) * (WIDTH - left - right);
        let y = |value: f64| HEIGHT - bottom - (value - ys.0) / (ys.1 - ys.0) * (HEIGHT - top - bottom);
        let mut svg = format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>"##
        );
        for i in 0..=4 {
            let value = ys.0 + (ys.1 - ys.0) * f64::from(i) / 4.0;
            let (at, end) = (y(value), WIDTH - right);
            let label = format_args!("{value:.3}");
            // Writing to a string does not fail.
            let _ = write!(
                svg,
                r##"<path d="M{left} {at:.1}H{end}" stroke="#ddd"/><text x="{:.1}" y="{:.1}" text-anchor="end">{label}</text>"##,
                left - 6.0,
                at + 4.0
            );
        }
        for (value, anchor) in [(xs.0, "start"), (xs.1, "end")] {
            let (at, base) = (x(value), HEIGHT - bottom + 18.0);
            let label = format_args!("epoch {value:.0}");
            let _ = write!(svg, r##"<text x="{at:.1}" y="{base}" text-anchor="{anchor}">{label}</text>"##);
        }
        for (i, (name, points)) in series.iter().enumerate() {
            let colour = COLOURS[i % COLOURS.len()];
            let path: Vec<String> = points.iter().map(|&(a, b)| format!("{:.1},{:.1}", x(a), y(b))).collect();
            let (path, at) = (path.join(" "), left + 120.0 * i as f64);
            let _ = write!(
                svg,
                r##"<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/><text x="{at}" y="20" fill="{colour}">{}</text>"##,
                escaped(name)
            );
        }
        svg + "</svg>"
    }

    fn points(&self, name: &str) -> Vec<(f64, f64)> {
        let value = |epoch: &super::Epoch| Some((epoch.epoch as f64, epoch.get(name)?));
        self.epochs().iter().filter_map(value).filter(|(_, value)| value.is_finite()).collect()
    }
}

/// Users' metrics may have any name.
fn escaped(name: &str) -> String {
    name.replace('&', "&amp;").replace('<', "&lt;")
}
