//! Moments as text: RFC 3339 in, UTC with milliseconds out.

use std::ops::RangeInclusive;

use jiff::SignedDuration;
use jiff::civil::DateTime;

use crate::authz::Timestamp;

/// Why a text is no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a date and time of RFC 3339, such as `2030-01-01T00:00:00Z`")]
pub struct InvalidTime(String);

/// The first and the last moment that can be written in UTC, in milliseconds: the whole years 0 to 9999.
const CALENDAR: RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

/// Reads a date and time with its offset. What is finer than a millisecond is cut off.
///
/// # Errors
/// Any other form, the wider ones of ISO 8601 included, a day or time that does not exist, and one that its offset takes
/// out of the years 0 to 9999.
pub fn parse_rfc3339(text: &str) -> Result<Timestamp, InvalidTime> {
    split_rfc3339(text)
        .and_then(|(date_time, offset)| {
            // Not as jiff's moment: those end a day before the calendar does.
            let local = date_time.parse::<DateTime>().ok()?.duration_since(EPOCH);
            let millis = i64::try_from(local.as_nanos().div_euclid(1_000_000)).ok()?;
            millis.checked_sub(offset_millis(offset)?)
        })
        .filter(|millis| CALENDAR.contains(millis))
        .map(Timestamp::from_millis)
        .ok_or_else(|| InvalidTime(text.escape_debug().to_string()))
}

/// Writes `2030-01-01T00:00:00.000Z`. A moment beyond the calendar is written as the calendar's end.
pub fn format_rfc3339(moment: Timestamp) -> String {
    let millis = moment.as_millis().clamp(*CALENDAR.start(), *CALENDAR.end());
    let written = EPOCH.saturating_add(SignedDuration::from_millis(millis));
    format!("{written:.3}Z")
}

/// When time begins, as a date and time.
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// Milliseconds of `Z` or `+00:00`.
fn offset_millis(offset: &str) -> Option<i64> {
    let Some((hours, minutes)) = offset.split_once(':') else {
        return Some(0);
    };
    let minutes: i64 = minutes.parse().ok()?;
    // The sign is that of the hours, also where these are none.
    let minutes = if hours.starts_with('-') {
        -minutes
    } else {
        minutes
    };
    Some((hours.parse::<i64>().ok()? * 60 + minutes) * 60_000)
}

/// `YYYY-MM-DDTHH:MM:SS` with up to nine digits of a second, and `Z` or an offset in hours and minutes.
///
/// jiff reads more than that, and what it takes for an annotation is no business of ours.
fn split_rfc3339(text: &str) -> Option<(&str, &str)> {
    let zone = text.rfind(['Z', 'z', '+', '-'])?;
    let (local, offset) = text.split_at_checked(zone)?;
    let (date_time, fraction) = local.split_at_checked("0000-00-00T00:00:00".len())?;
    let is_fraction = match fraction.as_bytes() {
        [] => true,
        [b'.', digits @ ..] => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let offset_bytes = offset.as_bytes();
    // RFC 3339 ends its hours at 23 and its minutes at 59, in an offset too.
    let is_offset = matches_shape(offset_bytes, b"Z")
        || ((matches_shape(offset_bytes, b"+00:00") || matches_shape(offset_bytes, b"-00:00"))
            && offset_bytes.get(1..3) <= Some(b"23")
            && offset_bytes.get(4..6) <= Some(b"59"));
    let is_whole = matches_shape(date_time.as_bytes(), b"0000-00-00T00:00:00");
    (is_whole && is_fraction && is_offset).then_some((local, offset))
}

/// Whether `text` has a digit wherever `shape` has `0`, and elsewhere the same letter in any case.
fn matches_shape(text: &[u8], shape: &[u8]) -> bool {
    text.len() == shape.len()
        && text
            .iter()
            .zip(shape)
            .all(|(byte, expected)| match expected {
                b'0' => byte.is_ascii_digit(),
                other => byte.eq_ignore_ascii_case(other),
            })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(text: &str) -> Option<i64> {
        parse_rfc3339(text).ok().map(Timestamp::as_millis)
    }

    #[test]
    fn every_offset_names_the_same_moment() {
        let expected = Some(1_893_456_000_000);
        for text in [
            "2030-01-01T00:00:00Z",
            "2030-01-01t00:00:00z",
            "2030-01-01T00:00:00.000Z",
            "2030-01-01T00:00:00.000999999Z",
            "2030-01-01T14:00:00+14:00",
            "2029-12-31T18:30:00-05:30",
            "2030-01-01T00:00:00+00:00",
        ] {
            assert_eq!(millis(text), expected, "{text}");
        }
        assert_eq!(millis("1969-12-31T23:59:59.9995Z"), Some(-1));
        assert_eq!(millis("1970-01-01T00:00:00.001Z"), Some(1));
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "2030-01-01",
            "2030-01-01T00:00:00",
            "2030-01-01 00:00:00Z",
            "20300101T000000Z",
            "2030-01-01T00:00Z",
            "2030-01-01T00:00:00+0000",
            "2030-01-01T00:00:00+00",
            "2030-01-01T00:00:00.Z",
            "2030-01-01T00:00:00.0000000001Z",
            "2030-01-01T00:00:00,5Z",
            "2030-01-01T00:00:00Z[UTC]",
            "2030-13-01T00:00:00Z",
            "2030-02-29T00:00:00Z",
            "2030-01-01T24:00:00Z",
            "2030-01-01T00:00:00+24:00",
            "2030-01-01T00:00:00+01:60",
            " 2030-01-01T00:00:00Z",
            "+2030-01-01T00:00:00Z",
            "2030-01-01T00:00:00Z ",
            "1893456000000",
            "9999-12-31T23:59:59-00:01",
            "0000-01-01T00:00:00+00:01",
            "２030-01-01T00:00:00Z",
        ] {
            assert_eq!(millis(text), None, "{text}");
        }
    }

    #[test]
    fn the_calendar_is_read_and_written_whole() {
        for text in [
            "9999-12-31T23:59:59.999Z",
            "9999-12-31T00:00:00.000Z",
            "0000-01-01T00:00:00.000Z",
            "0000-02-29T12:00:00.500Z",
            "1582-10-10T00:00:00.000Z",
        ] {
            assert_eq!(format_rfc3339(parse_rfc3339(text).unwrap()), text);
        }
        let shifted = [
            (
                "9999-12-31T23:59:59.999999999+00:01",
                "9999-12-31T23:58:59.999Z",
            ),
            ("0000-01-01T00:00:00-23:59", "0000-01-01T23:59:00.000Z"),
            ("2030-01-01T00:00:00-00:30", "2030-01-01T00:30:00.000Z"),
            ("2030-01-01T00:00:00+00:30", "2029-12-31T23:30:00.000Z"),
        ];
        for (text, written) in shifted {
            assert_eq!(format_rfc3339(parse_rfc3339(text).unwrap()), written);
        }
    }

    #[test]
    fn moments_are_written_in_utc_with_milliseconds() {
        let written = |millis| format_rfc3339(Timestamp::from_millis(millis));
        assert_eq!(written(1_893_456_000_000), "2030-01-01T00:00:00.000Z");
        assert_eq!(written(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(written(7), "1970-01-01T00:00:00.007Z");
        assert_eq!(written(i64::MAX), "9999-12-31T23:59:59.999Z");
        assert_eq!(written(i64::MIN), "0000-01-01T00:00:00.000Z");
        assert_eq!(
            millis(&written(253_402_200_000_000)),
            Some(253_402_200_000_000)
        );
    }
}
