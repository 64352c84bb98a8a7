//! The error of a setting that makes no sense, in one spelling for all crates.

use std::fmt::Display;

/// A setting that makes no sense: what it is, its value, and what it must be.
///
/// The crates above have a variant of their error that holds one, so that every refused setting reads alike.
///
/// ```
/// use cairn_tensor::Setting;
/// let rate = -0.5;
/// let error = Setting::check("the learning rate", rate, rate > 0.0, "above 0").unwrap_err();
/// assert_eq!(error.to_string(), "the learning rate is -0.5, which must be above 0");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {value}, which must be {must}")]
pub struct Setting {
    /// The setting's name.
    pub what: &'static str,
    /// Its value.
    pub value: String,
    /// What it must be.
    pub must: &'static str,
}

impl Setting {
    /// An error unless `ok`.
    ///
    /// # Errors
    /// This setting, when `ok` is false, as it should be for a NaN too: write `x > 0.0`, not `!(x <= 0.0)`.
    pub fn check(
        what: &'static str,
        value: impl Display,
        ok: bool,
        must: &'static str,
    ) -> Result<(), Setting> {
        if ok { Ok(()) } else { Err(Setting { what, value: value.to_string(), must }) }
    }
}
