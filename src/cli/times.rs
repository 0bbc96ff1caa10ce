//! Times and spans as people write them.

use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo};

use crate::clock::Clock;
use crate::model::Timestamp;

/// Reads `30m`, `1h`, `2h30m`, `1d`; a day has 24 hours.
pub(super) fn parse_span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a length of time: write 30m, 1h, 2h30m or 1d");
    let span: Span = text.parse().map_err(|_| wrong())?;
    let span = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    Duration::try_from(span).map_err(|_| wrong())
}

/// Reads RFC 3339, or a date with or without a time in the bastion's zone.
pub(super) fn parse_moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = Timestamp::parse(text) {
        return Ok(time);
    }
    let local = text.parse::<DateTime>().or_else(|_| text.parse::<Date>().map(DateTime::from));
    let zoned = local.and_then(|local| local.to_zoned(TimeZone::system()));
    let zoned = zoned.map_err(|_| {
        format!("`{text}` is not a time: write 2026-11-23T09:00:00+01:00, \"2026-11-23 09:00\" or 2026-11-23")
    })?;
    Ok(Timestamp::from_millis(zoned.timestamp().as_millisecond()))
}

/// Reads a moment, or a span that reaches back from now.
pub(super) fn parse_since(text: &str) -> Result<Timestamp, String> {
    let Ok(back) = parse_span(text) else {
        return parse_moment(text).map_err(|_| {
            format!(
                "`{text}` is no time: write 24h or 7d, 2026-11-23, \"2026-11-23 09:00\" or 2026-11-23T09:00:00+01:00"
            )
        });
    };
    Ok(ago(back))
}

/// The moment that lies so far back.
pub(super) fn ago(back: Duration) -> Timestamp {
    let back = i64::try_from(back.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(Clock::system().now().as_millis().saturating_sub(back))
}

/// A moment for a table: to the minute, in the bastion's zone.
pub(super) fn shown(time: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(time.as_millis()) {
        Ok(time) => time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string(),
        Err(_) => time.to_string(),
    }
}

/// The same, to the second.
pub(super) fn shown_to_the_second(time: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(time.as_millis()) {
        Ok(time) => time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => time.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_people_write_them() {
        assert_eq!(parse_span("2h30m").unwrap(), Duration::from_secs(9000));
        assert_eq!(parse_span("1d").unwrap(), Duration::from_secs(86_400));
        for bad in ["", "1", "h", "-1h", "1 fortnight", "99999999999999999h"] {
            assert!(parse_span(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn since_takes_a_moment_or_a_span_and_says_so() {
        assert!(parse_since("24h").unwrap() < Clock::system().now());
        assert_eq!(parse_since("2026-11-23").unwrap(), parse_moment("2026-11-23").unwrap());
        let told = parse_since("99").unwrap_err();
        assert!(told.contains("24h") && told.contains("2026-11-23"), "{told}");
    }

    #[test]
    fn moments_are_read_with_and_without_a_zone() {
        let exact = parse_moment("2026-11-23T09:00:00+01:00").unwrap();
        assert_eq!(exact.to_string(), "2026-11-23T08:00:00.000Z");
        assert!(parse_moment("2026-11-23 09:00").is_ok() && parse_moment("2026-11-23").is_ok());
        assert!(parse_moment("tomorrow").is_err());
    }
}
