//! Groups: some parameters, by the pattern of their paths, with other settings than the rest.

use cairn_tensor::Setting;

use crate::{Error, Result};

/// Settings of the parameters of one group, where they differ from the optimiser's.
///
/// The learning rate is a factor of the optimiser's, so a schedule moves all groups together.
///
/// ```
/// use cairn_optim::{AdamW, Group};
/// let adam = AdamW::new(1e-3)
///     .group("*.bias", Group::new().weight_decay(0.0))
///     .group("encoder.*", Group::new().rate_factor(0.1));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Group {
    rate_factor: Option<f64>,
    weight_decay: Option<f64>,
}

impl Group {
    /// The optimiser's own settings.
    pub fn new() -> Self {
        Group::default()
    }

    /// Steps at this many times the optimiser's learning rate; 0 leaves the parameters as they are.
    #[must_use]
    pub fn rate_factor(self, factor: f64) -> Self {
        Group { rate_factor: Some(factor), ..self }
    }

    /// Another weight decay.
    #[must_use]
    pub fn weight_decay(self, weight_decay: f64) -> Self {
        Group { weight_decay: Some(weight_decay), ..self }
    }
}

/// The groups of an optimiser, each with its pattern.
#[derive(Debug, Clone, Default)]
pub(super) struct Groups(Vec<(String, Group)>);

impl Groups {
    pub(super) fn add(&mut self, pattern: String, group: Group) {
        self.0.push((pattern, group));
    }

    /// Rate and weight decay of a parameter: those of the first group whose pattern fits one of its paths.
    pub(super) fn settings(&self, paths: &[String], rate: f64, decay: f64) -> (f64, f64) {
        match self.0.iter().find(|(pattern, _)| paths.iter().any(|path| fits(pattern, path))) {
            None => (rate, decay),
            Some((_, group)) => {
                (rate * group.rate_factor.unwrap_or(1.0), group.weight_decay.unwrap_or(decay))
            }
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        for (_, group) in &self.0 {
            let factor = group.rate_factor.unwrap_or(1.0);
            Setting::check(
                "a group's rate factor",
                factor,
                factor >= 0.0 && factor.is_finite(),
                "not negative",
            )?;
            let decay = group.weight_decay.unwrap_or(0.0);
            Setting::check("a group's weight decay", decay, decay >= 0.0, "not negative")?;
        }
        Ok(())
    }

    /// Every pattern must fit some parameter: a misspelt one would train with other settings than were meant.
    pub(super) fn check_paths(&self, paths: &[&String]) -> Result<()> {
        let unused = |(pattern, _): &&(String, Group)| !paths.iter().any(|path| fits(pattern, path));
        match self.0.iter().find(unused) {
            None => Ok(()),
            Some((pattern, _)) => Err(Error::NoSuchParameter { pattern: pattern.clone() }),
        }
    }
}

/// Whether a path fits a pattern in which `*` stands for any characters, dots included.
///
/// Greedy, as is enough for one kind of wildcard: if the rest does not fit, the last `*` takes one character more.
fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, path) = (pattern.as_bytes(), path.as_bytes());
    let (mut p, mut at) = (0, 0);
    let mut last_star = None;
    while at < path.len() {
        if pattern.get(p) == Some(&b'*') {
            last_star = Some((p, at));
            p += 1;
        } else if pattern.get(p) == Some(&path[at]) {
            (p, at) = (p + 1, at + 1);
        } else if let Some((star, taken)) = last_star {
            last_star = Some((star, taken + 1));
            (p, at) = (star + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, path, expected) in [
            ("*.bias", "dense.bias", true),
            ("*.bias", "encoder.1.dense.bias", true),
            ("*.bias", "bias", false),
            ("*bias", "bias", true),
            ("*.bias", "dense.bias_1", false),
            ("encoder.*", "encoder.0.weight", true),
            ("encoder.*", "decoder.encoder.weight", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*b*c", "a.b.b.c", true),
            ("a*b*c", "a.c.b", false),
            ("*aab*", "aaaab", true),
            ("dense.weight", "dense.weight", true),
            ("dense.weight", "dense.weights", false),
        ] {
            assert_eq!(fits(pattern, path), expected, "{pattern} and {path}");
        }
    }
}
