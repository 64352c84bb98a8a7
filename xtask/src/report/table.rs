//! Tables of text and numbers.

use maud::{Markup, Render, html};

use super::Block;

/// A table with one heading; columns of numbers stand to the right.
#[derive(Clone, Debug)]
pub struct Table {
    headings: Vec<String>,
    numeric: Vec<bool>,
    rows: Vec<Vec<String>>,
    wide: bool,
}

impl Table {
    /// An empty table with these headings.
    pub fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self {
            headings: headings.map(str::to_owned).to_vec(),
            numeric: vec![false; N],
            rows: Vec::new(),
            wide: false,
        }
    }

    /// Says that these columns (from 0) hold numbers.
    #[must_use]
    pub fn numbers<const N: usize>(mut self, columns: [usize; N]) -> Self {
        for (i, numeric) in self.numeric.iter_mut().enumerate() {
            *numeric |= columns.contains(&i);
        }
        self
    }

    /// Gives the table the full width of the page.
    #[must_use]
    pub fn full_width(mut self) -> Self {
        self.wide = true;
        self
    }

    /// Adds a row, one cell a heading; a short row is filled with empty cells.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut row: Vec<String> = cells.into_iter().take(self.headings.len()).collect();
        row.resize(self.headings.len(), String::new());
        self.rows.push(row);
    }
}

impl Render for Table {
    fn render(&self) -> Markup {
        let class = |i: usize| self.numeric[i].then_some("number");
        html! {
            div.scroll {
                table {
                    thead { tr { @for (i, h) in self.headings.iter().enumerate() { th class=[class(i)] scope="col" { (h) } } } }
                    tbody {
                        @for row in &self.rows {
                            tr { @for (i, cell) in row.iter().enumerate() { td class=[class(i)] { (cell) } } }
                        }
                    }
                }
            }
        }
    }
}

impl Block for Table {
    fn wide(&self) -> bool {
        self.wide
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_escaped_and_numbers_marked() {
        let mut table = Table::new(["film", "score"]).numbers([1]);
        table.row(["<b>Tom & Jerry</b>".to_owned(), "0.5".to_owned()]);
        table.row(["short".to_owned()]);
        let html = table.render().into_string();
        assert!(html.contains("&lt;b&gt;Tom &amp; Jerry&lt;/b&gt;"), "{html}");
        assert!(html.contains(r#"<td class="number">0.5</td>"#), "{html}");
        assert_eq!(html.matches("<td").count(), 4);
    }
}
