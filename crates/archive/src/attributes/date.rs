//! Dates as git writes them.

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The last second of the year 9999: beyond it git's own date is of no use.
const SECONDS_MAX: i64 = 253_402_300_799;

/// The form of a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `Thu Apr 7 22:13:13 2005 +0200`.
    Normal,
    /// `Thu, 7 Apr 2005 22:13:13 +0200`.
    Rfc2822,
    /// `2005-04-07 22:13:13 +0200`.
    Iso,
    /// `2005-04-07T22:13:13+02:00`.
    IsoStrict,
    /// `2005-04-07`.
    Short,
}

/// The local time at `seconds` since 1970 in a zone such as -130 for `-0130`.
pub(super) fn format(seconds: u64, zone: i32, form: Form) -> String {
    let (hours, minutes) = (zone / 100, zone % 100);
    let local = i64::try_from(seconds).unwrap_or(SECONDS_MAX).min(SECONDS_MAX);
    let local = local.saturating_add(i64::from(hours * 60 + minutes) * 60);
    let (days, second) = (local.div_euclid(86_400), local.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let weekday = DAYS[(days + 4).rem_euclid(7) as usize];
    let name = MONTHS[month as usize - 1];
    let sign = if zone < 0 { '-' } else { '+' };
    let zone = zone.unsigned_abs();
    let clock = format!("{hour:02}:{minute:02}:{second:02}");
    match form {
        Form::Normal => format!("{weekday} {name} {day} {clock} {year} {sign}{zone:04}"),
        Form::Rfc2822 => format!("{weekday}, {day} {name} {year} {clock} {sign}{zone:04}"),
        Form::Iso => format!("{year:04}-{month:02}-{day:02} {clock} {sign}{zone:04}"),
        Form::IsoStrict if zone == 0 => format!("{year:04}-{month:02}-{day:02}T{clock}Z"),
        Form::IsoStrict => {
            let (hours, minutes) = (zone / 100, zone % 100);
            format!("{year:04}-{month:02}-{day:02}T{clock}{sign}{hours:02}:{minutes:02}")
        }
        Form::Short => format!("{year:04}-{month:02}-{day:02}"),
    }
}

/// Year, month and day of the proleptic Gregorian calendar, from days since 1970-01-01: eras of 400 years, whose
/// years begin in March.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_found_in_the_calendar() {
        for (days, expected) in [
            (0, (1970, 1, 1)),
            (-1, (1969, 12, 31)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (789, (1972, 2, 29)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
            (2_932_896, (9999, 12, 31)),
        ] {
            assert_eq!(civil(days), expected, "{days}");
        }
    }

    #[test]
    fn no_date_is_too_far_away() {
        assert_eq!(format(u64::MAX, 1400, Form::Short), "10000-01-01");
        assert_eq!(format(0, i32::MIN / 2, Form::Short), "0745-01-30");
    }
}
