//! A text whose words are coloured by a number each: what speaks for something and what against it.

use maud::{Markup, Render, html};

use super::Block;

/// Texts of words with a value from -1 to 1 each: positive ones in the colour of right answers, negative ones in that of mistakes.
#[derive(Clone, Debug, Default)]
pub struct ColouredWords {
    texts: Vec<(String, Vec<(String, f32)>)>,
}

impl ColouredWords {
    /// No texts yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a text under a heading, its values scaled so that the largest magnitude is 1.
    pub fn text(&mut self, heading: impl Into<String>, words: impl IntoIterator<Item = (String, f32)>) {
        let mut words: Vec<(String, f32)> = words.into_iter().collect();
        let most = words.iter().fold(f32::MIN_POSITIVE, |most, (_, value)| most.max(value.abs()));
        words.iter_mut().for_each(|(_, value)| *value /= most);
        self.texts.push((heading.into(), words));
    }
}

impl Render for ColouredWords {
    fn render(&self) -> Markup {
        let colour = |v: f32| {
            let name = if v < 0.0 { "miss" } else { "hit" };
            format!("background:color-mix(in srgb, var(--{name}) {:.0}%, transparent)", 55.0 * v.abs())
        };
        html! {
            @for (heading, words) in &self.texts {
                p {
                    strong { (heading) } " "
                    @for (word, v) in words { span style=(colour(*v)) title=(format!("{v:+.2}")) { (word) } " " }
                }
            }
        }
    }
}

impl Block for ColouredWords {
    fn wide(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_escaped_and_scaled() {
        let mut words = ColouredWords::new();
        words.text("good", [("<br>".to_owned(), 0.5), ("bad".to_owned(), -2.0)]);
        words.text("none", []);
        let html = words.render().into_string();
        assert!(html.contains("&lt;br&gt;") && html.contains("+0.25") && html.contains("-1.00"), "{html}");
        assert!(html.contains("var(--miss) 55%"), "{html}");
    }
}
