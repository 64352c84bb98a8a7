//! Key figures: a few large numbers, each with a word or two.

use maud::{Markup, Render, html};

use super::Block;

/// A row of numbers with their labels.
#[derive(Clone, Debug, Default)]
pub struct KeyFigures(Vec<(String, String)>);

impl KeyFigures {
    /// An empty row.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a figure, written out, and what it is.
    #[must_use]
    pub fn figure(mut self, value: impl Into<String>, label: impl Into<String>) -> Self {
        self.0.push((value.into(), label.into()));
        self
    }
}

impl Render for KeyFigures {
    fn render(&self) -> Markup {
        html! {
            div.figures {
                @for (value, label) in &self.0 {
                    div { b { (value) } span { (label) } }
                }
            }
        }
    }
}

impl Block for KeyFigures {
    fn wide(&self) -> bool {
        true
    }
}
