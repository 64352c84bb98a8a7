//! The date as templates of conversations ask for it: `strftime_now`, in the words of Python's `strftime`.
//!
//! A calendar of a few lines, in UTC: the standard library knows no other zone.

use std::time::{SystemTime, UNIX_EPOCH};

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The date and time now, as the format has it.
pub(super) fn now(format: &str) -> Result<String, String> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    written(since.as_secs() as i64, format)
}

/// Seconds since 1970 as a format has them.
pub(super) fn written(seconds: i64, format: &str) -> Result<String, String> {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let of_day = || if hour % 12 == 0 { 12 } else { hour % 12 };
    let weekday = (days + 4).rem_euclid(7) as usize;
    let (name, whole) = (MONTHS[month as usize - 1], DAYS[weekday]);
    let of_year = days - first_of_january(year) + 1;
    let (mut text, mut rest) = (String::new(), format.chars());
    while let Some(next) = rest.next() {
        if next != '%' {
            text.push(next);
            continue;
        }
        let mut directive = rest.next();
        // As in the C library: without the zeros before.
        let bare = directive == Some('-');
        if bare {
            directive = rest.next();
        }
        let number = |value: i64, width: usize| {
            if bare { value.to_string() } else { format!("{value:0width$}") }
        };
        text += &match directive {
            Some('a') => whole[..3].to_owned(),
            Some('A') => whole.to_owned(),
            Some('b' | 'h') => name[..3].to_owned(),
            Some('B') => name.to_owned(),
            Some('d') => number(day, 2),
            Some('e') => format!("{day:2}"),
            Some('D' | 'x') => format!("{month:02}/{day:02}/{:02}", year.rem_euclid(100)),
            Some('F') => format!("{year}-{month:02}-{day:02}"),
            Some('H') => number(hour, 2),
            Some('I') => number(of_day(), 2),
            Some('j') => number(of_year, 3),
            Some('m') => number(month, 2),
            Some('M') => number(minute, 2),
            Some('p') => ["AM", "PM"][usize::from(hour >= 12)].to_owned(),
            Some('R') => format!("{hour:02}:{minute:02}"),
            Some('S') => number(second, 2),
            Some('s') => seconds.to_string(),
            Some('T' | 'X') => format!("{hour:02}:{minute:02}:{second:02}"),
            Some('c') => {
                format!("{} {} {day:2} {hour:02}:{minute:02}:{second:02} {year}", &whole[..3], &name[..3])
            }
            Some('w') => weekday.to_string(),
            Some('y') => number(year.rem_euclid(100), 2),
            Some('Y') => year.to_string(),
            Some('z') => "+0000".to_owned(),
            Some('Z') => "UTC".to_owned(),
            Some('%') => "%".to_owned(),
            Some(other) => return Err(format!("`%{other}` of strftime_now is not known")),
            None => return Err("a format of strftime_now ends with `%`".to_owned()),
        };
    }
    Ok(text)
}

/// Year, month and day of a number of days since 1970, in the Gregorian calendar. Years begin in March, so that the leap day is their last;
/// four hundred of them are 146,097 days.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (age, of_age) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_age - of_age / 1460 + of_age / 36_524 - of_age / 146_096) / 365;
    let of_year = of_age - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (400 * age + year + next, month, day)
}

/// The day, since 1970, that a year begins with.
fn first_of_january(year: i64) -> i64 {
    let before = year - 1;
    365 * (year - 1970) + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400) - 477
}

#[cfg(test)]
mod tests {
    use super::written;

    /// Right values by `date -u -d @SECONDS +FORMAT`.
    #[test]
    fn dates_are_written_as_by_the_c_library() {
        for (seconds, format, expected) in [
            (0, "%d %b %Y", "01 Jan 1970"),
            (1_721_952_000, "%d %b %Y", "26 Jul 2024"),
            (1_721_952_000, "%A, %B %-d, %Y", "Friday, July 26, 2024"),
            (951_827_696, "%F %T %j %a", "2000-02-29 12:34:56 060 Tue"),
            (1_735_689_599, "%Y-%m-%dT%H:%M:%SZ %j", "2024-12-31T23:59:59Z 366"),
            (1_735_689_600, "%I:%M %p, %y%%", "12:00 AM, 25%"),
            (4_107_542_400, "%F %j", "2100-03-01 060"),
            (-86_400, "%F %A %j", "1969-12-31 Wednesday 365"),
        ] {
            assert_eq!(written(seconds, format).unwrap(), expected, "{seconds} {format}");
        }
    }

    #[test]
    fn what_is_no_format_is_told() {
        assert!(written(0, "%Q").unwrap_err().contains("`%Q`"));
        assert!(written(0, "100%").is_err());
    }
}
