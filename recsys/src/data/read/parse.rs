//! What a field says, as logs write it: ids, values and times.

use std::str::FromStr;

use cairn_files::date;

/// A field's text without surrounding blanks, or that there is none.
pub(super) fn text<'a>(fields: &[&'a str], at: usize, name: &str) -> Result<&'a str, String> {
    match fields.get(at).map(|text| text.trim()) {
        Some(text) if !text.is_empty() => Ok(text),
        Some(_) => Err(format!("the {name} is missing")),
        None => {
            let (n, row) = (fields.len(), fields.join(" "));
            let row = excerpt(&row);
            let s = if n == 1 { "" } else { "s" };
            // Files without these are as common as those with them.
            let cure = match name {
                "value" => "; `without_value` counts every row as 1",
                "time" => {
                    "; `without_time` goes by the order of the rows, and where the value is what is missing, `without_value().time(2)` says so"
                }
                _ => "",
            };
            Err(format!("the {name} is missing: column {} of a row of {n} field{s}, `{row}`{cure}", at + 1))
        }
    }
}

/// An id. Tables with a gap anywhere write whole numbers as `29.0`, which is the id 29 where ids are numbers.
pub(super) fn id<T: FromStr>(text: &str, name: &str) -> Result<T, String> {
    let whole =
        || text.split_once('.').filter(|(_, rest)| !rest.is_empty() && rest.bytes().all(|b| b == b'0'));
    let parsed = text.parse().ok().or_else(|| whole().and_then(|(whole, _)| whole.parse().ok()));
    // Without the path to the type.
    let kind = || std::any::type_name::<T>().rsplit("::").next().unwrap_or_default();
    parsed.ok_or_else(|| format!("{name} `{}` is no {}", excerpt(text), kind()))
}

/// A value.
pub(super) fn value(text: &str, decimal_comma: bool) -> Result<f32, String> {
    let parsed = if decimal_comma { text.replacen(',', ".", 1).parse() } else { text.parse() };
    parsed.map_err(|_| {
        let comma = text.replacen(',', ".", 1).parse::<f32>().is_ok();
        let cure = if comma && !decimal_comma {
            "; `decimal_comma` reads numbers so written"
        } else if date::seconds(text).is_some() {
            "; it is a date: for rows without values there is `without_value`, and `time` names the column of the time"
        } else {
            ""
        };
        format!("value `{}` does not read{cure}", excerpt(text))
    })
}

/// A time: a number, of which the whole part counts, or a date with or without a time of day, which become seconds since 1970.
pub(super) fn time(text: &str) -> Result<i64, String> {
    moment(text).ok_or_else(|| {
        let text = excerpt(text);
        format!("time `{text}` does not read: not a number, nor a date like `2005-04-02 23:53:47`; `without_time` goes by the order of the rows")
    })
}

/// As [`time`], if it is one.
pub(super) fn moment(text: &str) -> Option<i64> {
    let number = || {
        let number = text.parse::<f64>().ok()?.floor();
        // Of the ends of `i64` the lower is a float, and the upper the first number beyond it.
        (number >= i64::MIN as f64 && number < i64::MAX as f64).then_some(number as i64)
    };
    text.parse().ok().or_else(number).or_else(|| date::seconds(text))
}

/// The beginning of a text, for messages.
pub(super) fn excerpt(text: &str) -> &str {
    text.char_indices().nth(60).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_whole_seconds_or_dates() {
        for (text, expected) in [
            ("2005-04-02 23:53:47", 1_112_486_027),
            ("1112486027", 1_112_486_027),
            ("1112486027.0", 1_112_486_027),
            ("9.6e8", 960_000_000),
            ("-1.5", -2),
            ("9223372036854775807", i64::MAX),
        ] {
            assert_eq!(time(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_names_the_way_out() {
        for text in [
            "yesterday",
            "NaN",
            "inf",
            "1e300",
            "2005-13-01",
            "2005-02-29",
            "2005-04-02 25:00",
            "2005-04",
            "04/02/2005",
        ] {
            let why = time(text).unwrap_err();
            assert!(why.contains(text) && why.contains("without_time"), "{why}");
        }
    }
}
