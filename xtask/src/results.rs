//! `results.json`: what the checks measured, for programs to read.
//!
//! A flat list with one entry a metric, so that two runs can be compared with nothing but `jq` or a spreadsheet. It is
//! written anew after every check, each time in one step, so that a run that is cut short leaves neither half a file nor an
//! old one.

use serde::{Deserialize, Serialize};

/// Where the data behind a metric came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A published data set.
    Real,
    /// Made up to stand in for a published data set that was not at hand.
    StandIn,
    /// Made by definition of the check, such as a random matrix; there is no published set.
    Generated,
    /// Nowhere: the published set is not at hand and nothing stands in for it, so nothing was measured.
    Absent,
}

impl Source {
    /// As in `results.json`.
    pub fn name(self) -> &'static str {
        match self {
            Source::Real => "real",
            Source::StandIn => "stand-in",
            Source::Generated => "generated",
            Source::Absent => "absent",
        }
    }
}

/// What a metric has to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bar {
    /// Passes from here upwards.
    AtLeast(f64),
    /// Passes from here downwards.
    AtMost(f64),
    /// Nothing: reported for information.
    None,
}

impl Bar {
    /// Whether `value` reaches the bar. NaN reaches no bar.
    pub fn holds(self, value: f64) -> bool {
        match self {
            Bar::AtLeast(bar) => value >= bar,
            Bar::AtMost(bar) => value <= bar,
            Bar::None => true,
        }
    }

    /// The number alone.
    pub fn number(self) -> Option<f64> {
        match self {
            Bar::AtLeast(bar) | Bar::AtMost(bar) => Some(bar),
            Bar::None => None,
        }
    }
}

impl std::fmt::Display for Bar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Bar::AtLeast(bar) => write!(f, "≥ {}", crate::format::value(bar)),
            Bar::AtMost(bar) => write!(f, "≤ {}", crate::format::value(bar)),
            Bar::None => Ok(()),
        }
    }
}

/// What came of a metric or of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Measured, and every bar reached.
    Passed,
    /// A bar missed, or an error.
    Failed,
    /// Not measured, because the data is not at hand. Neither passed nor failed.
    Skipped,
}

/// One metric of one check: one row of the table, one entry of `results.json`.
#[derive(Clone, Debug)]
pub struct Record {
    /// Name of the check, as `--only` takes it.
    pub check: &'static str,
    /// What was measured.
    pub metric: String,
    /// The measurement.
    pub value: f64,
    /// What it has to reach.
    pub bar: Bar,
    /// Seconds from the start of the check until this was measured.
    pub seconds: f64,
    /// Where the data came from.
    pub data: Source,
    /// Why the check could not finish, where it could not.
    pub error: Option<String>,
    /// Why nothing was measured, and what to do about it, where the check was skipped.
    pub skipped: Option<String>,
}

impl Record {
    /// Whether the bar is reached; never for a check that could not finish.
    pub fn verdict(&self) -> Verdict {
        if self.skipped.is_some() {
            Verdict::Skipped
        } else if self.error.is_none() && self.bar.holds(self.value) {
            Verdict::Passed
        } else {
            Verdict::Failed
        }
    }

    /// Whether there is a measured value.
    pub fn is_measured(&self) -> bool {
        self.error.is_none() && self.skipped.is_none()
    }
}

/// An entry as it stands in the file. `value` and `bar` are null where JSON has no number for them (NaN, no bar), and so is
/// `passed` of what was skipped.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    check: &'a str,
    metric: &'a str,
    value: Option<f64>,
    bar: Option<f64>,
    passed: Option<bool>,
    seconds: f64,
    data: Source,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<&'a str>,
}

/// The list as JSON, one entry a line.
///
/// # Errors
/// None in practice: the types are plain.
pub fn to_json(records: &[Record]) -> anyhow::Result<String> {
    let mut lines = Vec::with_capacity(records.len());
    for r in records {
        let entry = Entry {
            check: r.check,
            metric: &r.metric,
            value: r.value.is_finite().then_some(r.value),
            bar: r.bar.number(),
            passed: match r.verdict() {
                Verdict::Passed => Some(true),
                Verdict::Failed => Some(false),
                Verdict::Skipped => None,
            },
            seconds: (r.seconds * 1e3).round() / 1e3,
            data: r.data,
            error: r.error.as_deref(),
            skipped: r.skipped.as_deref(),
        };
        lines.push(format!("  {}", serde_json::to_string(&entry)?));
    }
    Ok(if lines.is_empty() { "[]\n".into() } else { format!("[\n{}\n]\n", lines.join(",\n")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: f64, bar: Bar) -> Record {
        Record {
            check: "mlp",
            metric: "test accuracy".into(),
            value,
            bar,
            seconds: 1.234_567,
            data: Source::StandIn,
            error: None,
            skipped: None,
        }
    }

    #[test]
    fn an_entry_has_the_keys_of_the_schema_and_no_others() {
        let json = to_json(&[record(0.98, Bar::AtLeast(0.97)), record(1e-9, Bar::None)]).unwrap();
        let list: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            list[0],
            serde_json::json!({"check": "mlp", "metric": "test accuracy", "value": 0.98, "bar": 0.97,
                               "passed": true, "seconds": 1.235, "data": "stand-in"})
        );
        assert!(list[1]["bar"].is_null());
        assert_eq!(list[1].as_object().unwrap().len(), 7);
    }

    #[test]
    fn no_records_are_an_empty_list() {
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&to_json(&[]).unwrap()).unwrap(),
            serde_json::json!([])
        );
    }

    #[test]
    fn a_bar_is_reached_at_its_own_value_and_never_by_nan() {
        assert_eq!(record(0.97, Bar::AtLeast(0.97)).verdict(), Verdict::Passed);
        assert_eq!(record(0.969, Bar::AtLeast(0.97)).verdict(), Verdict::Failed);
        assert_eq!(record(1e-9, Bar::AtMost(1e-9)).verdict(), Verdict::Passed);
        assert_eq!(record(2e-9, Bar::AtMost(1e-9)).verdict(), Verdict::Failed);
        assert_eq!(record(f64::NAN, Bar::AtLeast(0.0)).verdict(), Verdict::Failed);
        assert_eq!(record(f64::NAN, Bar::AtMost(0.0)).verdict(), Verdict::Failed);
        let json = to_json(&[record(f64::NAN, Bar::AtLeast(0.0))]).unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(&json).unwrap()[0]["value"].is_null());
    }

    #[test]
    fn an_error_fails_whatever_the_value_and_is_written_out() {
        let r = Record { error: Some("no \"such\" file".into()), ..record(1.0, Bar::None) };
        assert_eq!(r.verdict(), Verdict::Failed);
        let list: serde_json::Value = serde_json::from_str(&to_json(&[r]).unwrap()).unwrap();
        assert_eq!(list[0]["error"], "no \"such\" file");
        assert_eq!(list[0]["passed"], false);
    }

    #[test]
    fn what_was_skipped_neither_passed_nor_failed() {
        let reason = "movielens-1m is not there".to_owned();
        let r = Record { skipped: Some(reason.clone()), data: Source::Absent, ..record(f64::NAN, Bar::None) };
        assert_eq!(r.verdict(), Verdict::Skipped);
        let list: serde_json::Value = serde_json::from_str(&to_json(&[r]).unwrap()).unwrap();
        assert_eq!((&list[0]["skipped"], &list[0]["data"]), (&reason.into(), &"absent".into()));
        assert!(list[0]["passed"].is_null() && list[0]["value"].is_null());
    }
}
