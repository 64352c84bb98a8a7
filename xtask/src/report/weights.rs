//! A table of weights from 0 to 1, darker where they are larger: which word attended to which.

use maud::{Markup, Render, html};

use super::Block;

/// Weights of rows over columns, both with names.
#[derive(Clone, Debug)]
pub struct Weights {
    rows: Vec<String>,
    columns: Vec<String>,
    /// Row by row.
    values: Vec<f32>,
}

impl Weights {
    /// A table of these rows and columns.
    ///
    /// # Panics
    /// If there is not one value for each cell.
    pub fn new(rows: Vec<String>, columns: Vec<String>, values: Vec<f32>) -> Self {
        assert_eq!(values.len(), rows.len() * columns.len(), "values of {} rows", rows.len());
        Self { rows, columns, values }
    }
}

impl Render for Weights {
    fn render(&self) -> Markup {
        let rows = self.rows.iter().zip(self.values.chunks(self.columns.len().max(1)));
        html! {
            div.scroll {
                table.cells {
                    thead { tr { td {} @for c in &self.columns { th scope="col" { (c) } } } }
                    tbody {
                        @for (name, values) in rows {
                            tr {
                                th scope="row" { (name) }
                                @for (column, v) in self.columns.iter().zip(values) {
                                    td.hit style={ "--v:" (format!("{:.2}", v.clamp(0.0, 1.0))) }
                                        title={ (name) " to " (column) ": " (format!("{:.0} %", 100.0 * v)) } {}
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Block for Weights {
    fn wide(&self) -> bool {
        self.columns.len() > 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_weight_is_a_cell_and_names_are_escaped() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let table = Weights::new(names(&["<s>", "b"]), names(&["x"]), vec![0.25, 1.0]);
        let html = table.render().into_string();
        assert!(html.contains("&lt;s&gt; to x: 25 %") && html.contains("--v:1.00"), "{html}");
        assert_eq!(html.matches("<td").count(), 1 + 2);
    }
}
