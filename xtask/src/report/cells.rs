//! A confusion matrix: what was taken for what.

use maud::{Markup, Render, html};

use super::Block;
use crate::format::count;

/// Counts of (true class, predicted class).
///
/// Right answers and errors are coloured on scales of their own, errors against the commonest error: on one scale the
/// diagonal of a good model would leave every error the same pale shade.
#[derive(Clone, Debug)]
pub struct Confusion {
    labels: Vec<String>,
    counts: Vec<u64>,
}

impl Confusion {
    /// An empty matrix over these classes.
    pub fn new(labels: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let labels: Vec<String> = labels.into_iter().map(Into::into).collect();
        let counts = vec![0; labels.len() * labels.len()];
        Self { labels, counts }
    }

    /// Counts one example. Classes out of range are ignored.
    pub fn add(&mut self, truth: usize, predicted: usize) {
        let n = self.labels.len();
        if truth < n && predicted < n {
            self.counts[truth * n + predicted] += 1;
        }
    }

    fn row(&self, truth: usize) -> &[u64] {
        let n = self.labels.len();
        &self.counts[truth * n..(truth + 1) * n]
    }

    fn commonest_error(&self) -> u64 {
        let n = self.labels.len();
        let errors = self.counts.iter().enumerate().filter(|(i, _)| i / n != i % n);
        errors.map(|(_, &c)| c).max().unwrap_or(0)
    }

    fn cell(&self, truth: usize, predicted: usize, total: u64, worst: u64) -> Markup {
        let (c, hit) = (self.row(truth)[predicted], truth == predicted);
        let strength = c as f64 / if hit { total } else { worst }.max(1) as f64;
        let kind = if c == 0 {
            "none"
        } else if hit {
            "hit"
        } else {
            "miss"
        };
        html! {
            td class={ (kind) @if strength > 0.6 { " full" } }
                style={ "--v:" (format!("{strength:.2}")) }
                title={ (self.labels[truth]) " taken for " (self.labels[predicted]) ": " (count(c)) " of " (count(total)) }
                { (count(c)) }
        }
    }
}

impl Render for Confusion {
    fn render(&self) -> Markup {
        let n = self.labels.len();
        let worst = self.commonest_error();
        html! {
            div.scroll {
                table.cells {
                    thead {
                        tr { td {} th colspan=(n) scope="colgroup" { "predicted" } td {} }
                        tr { th scope="col" { "true" } @for l in &self.labels { th scope="col" { (l) } } th scope="col" { "right" } }
                    }
                    tbody {
                        @for truth in 0..n {
                            @let total: u64 = self.row(truth).iter().sum();
                            tr {
                                th scope="row" { (self.labels[truth]) }
                                @for predicted in 0..n { (self.cell(truth, predicted, total, worst)) }
                                td.side {
                                    @if total > 0 {
                                        (format!("{:.1} %", 100.0 * self.row(truth)[truth] as f64 / total as f64))
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Block for Confusion {
    fn wide(&self) -> bool {
        self.labels.len() > 6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_is_there_with_its_share() {
        let mut m = Confusion::new(["<cat>", "dog"]);
        for (truth, predicted) in [(0, 0), (0, 0), (0, 0), (0, 1), (1, 1), (7, 0), (0, 7)] {
            m.add(truth, predicted);
        }
        let html = m.render().into_string();
        assert!(html.contains("&lt;cat&gt; taken for dog: 1 of 4"), "{html}");
        assert!(html.contains("75.0 %") && html.contains("100.0 %"), "{html}");
        assert_eq!(html.matches("<td").count(), 6 + 2);
    }

    #[test]
    fn no_examples_and_no_classes_render_too() {
        assert!(!Confusion::new(["a", "b"]).render().into_string().contains('%'));
        assert!(Confusion::new(Vec::<String>::new()).render().into_string().contains("table"));
    }
}
