//! Dates in text: what logs and tables write, as seconds since 1970.
//!
//! A calendar of twenty lines; a crate for time zones and formats would be of no more use here, as files say neither.

/// Seconds since 1970 of a date as ISO 8601 and databases write it: `2005-04-02`, `2005/04/02 23:53`,
/// `2005-04-02T23:53:47.5+02:00`. Without a zone it is taken for UTC, as only the order matters.
///
/// ```
/// use cairn_files::date;
/// assert_eq!(date::seconds("2005-04-03T01:53:47+02:00"), Some(1_112_486_027));
/// assert_eq!(date::seconds("2005-02-29"), None);
/// ```
pub fn seconds(text: &str) -> Option<i64> {
    let (day, clock) =
        text.split_once(['T', ' ']).map_or((text, None), |(day, clock)| (day, Some(clock.trim())));
    let mut parts = day.split(['-', '/']);
    let (year, month, day) =
        (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let length = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if parts.next().is_some() || !(1..=length).contains(&day) {
        return None;
    }
    Some(days(year, month, day) * 86_400 + clock.map_or(Some(0), of_day)?)
}

/// Days from 1970-01-01 in the Gregorian calendar. Years begin in March, so that the leap day is their last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719_468
}

/// Seconds of a time of day, with a fraction, which is dropped, and a zone, which is taken off.
fn of_day(text: &str) -> Option<i64> {
    let (text, offset) = zone(text)?;
    let mut parts = text.split(':');
    let (hour, minute) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let second = match parts.next() {
        None => 0,
        Some(second) => {
            let (whole, fraction) = second.split_once(['.', ',']).unwrap_or((second, "0"));
            fraction.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
            digits(whole, 2)?
        }
    };
    // 60 is a leap second.
    let valid = parts.next().is_none() && hour < 24 && minute < 60 && second <= 60;
    valid.then_some(hour * 3600 + minute * 60 + second - offset)
}

/// A time of day without its zone, and what the zone is ahead by, in seconds.
fn zone(text: &str) -> Option<(&str, i64)> {
    if let Some(utc) = text.strip_suffix(['Z', 'z']).or_else(|| text.strip_suffix("UTC")) {
        return Some((utc.trim_end(), 0));
    }
    let Some(at) = text.rfind(['+', '-']) else { return Some((text, 0)) };
    let (clock, zone) = text.split_at(at);
    let (hours, minutes) = match zone[1..].split_once(':') {
        Some(parts) => parts,
        None if zone.len() == 5 => zone[1..].split_at_checked(2)?,
        None => (&zone[1..], "0"),
    };
    let ahead = digits(hours, 2)? * 3600 + digits(minutes, 2)? * 60;
    Some((clock.trim_end(), if zone.starts_with('-') { -ahead } else { ahead }))
}

/// A number of at most so many digits.
fn digits(text: &str, most: usize) -> Option<i64> {
    let fits = !text.is_empty() && text.len() <= most && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::seconds;

    /// Right values by `date -u -d TEXT +%s`.
    #[test]
    fn dates_are_seconds_since_1970() {
        for (text, expected) in [
            ("1970-01-01", 0),
            ("2005-04-02 23:53:47", 1_112_486_027),
            ("2005-04-02T23:53:47Z", 1_112_486_027),
            ("2005-04-02T23:53:47.250Z", 1_112_486_027),
            ("2005-04-03T01:53:47+02:00", 1_112_486_027),
            ("2005-04-02T18:53:47-0500", 1_112_486_027),
            ("2005-04-03 01:53:47 +02", 1_112_486_027),
            ("2005/04/02 23:53", 1_112_485_980),
            ("2000-02-29", 951_782_400),
            ("2024-12-31 23:59:60", 1_735_689_600),
            ("1969-12-31", -86_400),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in
            ["", "yesterday", "2005-13-01", "2005-02-29", "2005-04-02 25:00", "2005-04", "04/02/2005", "-"]
        {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
