//! Text as it came: a model's summary, a generated passage.

use maud::{Markup, Render, html};

use super::Block;

/// Text shown with its own line breaks and columns.
#[derive(Clone, Debug)]
pub struct Sample(String);

impl Sample {
    /// The text to show.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl Render for Sample {
    fn render(&self) -> Markup {
        html! { pre { (self.0) } }
    }
}

/// Columns that were made for a terminal do not fit into half a page.
impl Block for Sample {
    fn wide(&self) -> bool {
        true
    }
}
