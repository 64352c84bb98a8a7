//! Numbers and durations as people read them, the same on the terminal and in the report; and the terminal's tables.

use std::io::{self, IsTerminal as _};

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

/// `1234567` as `1,234,567`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A measured value with as many digits as are worth reading: `0.9731`, `1.2e-12`, `48,210`.
pub fn value(x: f64) -> String {
    let size = x.abs();
    if !x.is_finite() {
        return x.to_string();
    }
    if size == 0.0 {
        return "0".into();
    }
    if size < 1e-3 {
        return format!("{x:.1e}");
    }
    if (1000.0..1e15).contains(&size) {
        let sign = if x < 0.0 { "-" } else { "" };
        // Below 10^15 the rounded value is exact in a u64.
        return format!("{sign}{}", count(size.round() as u64));
    }
    if size >= 1e15 {
        return format!("{x:.3e}");
    }
    let digits = if size >= 100.0 { 1 } else { 4 };
    let text = format!("{x:.digits$}");
    // A whole number is a whole number: `10`, not `10.0000`.
    if x.fract() == 0.0 { format!("{x:.0}") } else { text }
}

/// A duration in seconds: `0.34 s`, `12.3 s`, `4 min 05 s`.
pub fn seconds(s: f64) -> String {
    if s < 10.0 {
        format!("{s:.2} s")
    } else if s < 99.95 {
        format!("{s:.1} s")
    } else {
        let whole = s.round() as u64;
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}

/// The width of a terminal that does not say how wide it is.
const NARROW: u16 = 80;

/// An empty table for the terminal, with these headings; `numbers` are the columns that stand to the right.
pub fn terminal_table<const N: usize>(headings: [&str; N], numbers: &[usize]) -> Table {
    let rule = LineStyle::none().fill('─').junction('─');
    let mut table = Table::new();
    // On a terminal, cells are broken rather than lines; what goes into a file stays one line a row.
    if io::stdout().is_terminal() {
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(columns.unwrap_or(NARROW));
    }
    table.load_style(TableStyle::new().top_border(rule).header_separator(rule).bottom_border(rule));
    table.set_header(headings);
    for &i in numbers {
        if let Some(column) = table.column_mut(i) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped_by_thousands() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1000), "1,000");
        assert_eq!(count(1_234_567), "1,234,567");
    }

    #[test]
    fn values_keep_the_digits_that_matter() {
        assert_eq!(value(0.973_14), "0.9731");
        assert_eq!(value(1.25e-12), "1.2e-12");
        assert_eq!(value(48_210.4), "48,210");
        assert_eq!(value(-2000.0), "-2,000");
        assert_eq!(value(10.0), "10");
        assert_eq!(value(0.0), "0");
        assert_eq!(value(123.45), "123.5");
        assert_eq!(value(f64::NAN), "NaN");
        assert_eq!(value(f64::INFINITY), "inf");
    }

    #[test]
    fn seconds_grow_into_minutes() {
        assert_eq!(seconds(0.337), "0.34 s");
        assert_eq!(seconds(12.34), "12.3 s");
        assert_eq!(seconds(245.0), "4 min 05 s");
        assert_eq!(seconds(99.99), "1 min 40 s");
    }
}
