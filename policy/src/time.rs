//! Times as seconds since the epoch.

/// Seconds since the epoch of an RFC 3339 time in UTC, such as `2026-01-01T00:00:00Z`.
pub fn parse_time(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    seconds(numbers(date, '-')?, numbers(time, ':')?)
}

/// Seconds since the epoch of year, month, day and hour, minute, second.
pub(crate) fn seconds(
    [year, month, day]: [u64; 3],
    [hour, minute, second]: [u64; 3],
) -> Option<u64> {
    let in_range = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !in_range {
        return None;
    }
    // Years that start in March put the leap day at the end (civil calendar, proleptic Gregorian).
    let (shifted_year, shifted_month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let leap_days = shifted_year / 4 - shifted_year / 100 + shifted_year / 400;
    let days = shifted_year * 365 + leap_days + day_of_year - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let parts: Vec<u64> = text
        .split(separator)
        .map(|part| part.parse().ok())
        .collect::<Option<_>>()?;
    parts.try_into().ok()
}

/// The RFC 3339 text of a time.
pub(crate) fn to_text(seconds: u64) -> String {
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    // The way back of `seconds`: 400 years have 146,097 days.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let (month, carry) = match shifted_month {
        0..=9 => (shifted_month + 3, 0),
        _ => (shifted_month - 9, 1),
    };
    let year = era * 400 + year + carry;
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_from_the_epoch() {
        assert_eq!(parse_time("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse_time("2000-02-29T12:00:00Z"), Some(951_825_600));
        assert_eq!(parse_time("2026-01-01T00:00:00Z"), Some(1_767_225_600));
        assert_eq!(parse_time("2026-01-01"), None);
        assert_eq!(parse_time("2026-13-01T00:00:00Z"), None);
    }

    proptest::proptest! {
        #[test]
        fn goes_both_ways(seconds in 0_u64..253_402_300_800) {
            proptest::prop_assert_eq!(parse_time(&to_text(seconds)), Some(seconds));
        }
    }
}
