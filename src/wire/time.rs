//! Moments as text: RFC 3339 in, UTC with milliseconds out.

use crate::authz::Timestamp;

/// Why a text is no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a date and time of RFC 3339, such as `2030-01-01T00:00:00Z`")]
pub struct InvalidTime(String);

/// Reads a date and time with its offset. What is finer than a millisecond is cut off.
///
/// # Errors
/// Any other form, the wider ones of ISO 8601 included, and a day or time that does not exist.
pub fn parse_rfc3339(text: &str) -> Result<Timestamp, InvalidTime> {
    let moment = has_rfc3339_shape(text.as_bytes())
        .then(|| text.parse::<jiff::Timestamp>().ok())
        .flatten()
        .ok_or_else(|| InvalidTime(text.escape_debug().to_string()))?;
    let millis = moment.as_nanosecond().div_euclid(1_000_000);
    // The range of dates is far within that of the milliseconds.
    Ok(Timestamp::from_millis(
        i64::try_from(millis).unwrap_or(i64::MAX),
    ))
}

/// Writes `2030-01-01T00:00:00.000Z`. A moment beyond the calendar is written as the calendar's end.
pub fn format_rfc3339(moment: Timestamp) -> String {
    let end = if moment.as_millis() < 0 {
        jiff::Timestamp::MIN
    } else {
        jiff::Timestamp::MAX
    };
    let moment = jiff::Timestamp::from_millisecond(moment.as_millis()).unwrap_or(end);
    format!("{moment:.3}")
}

/// `YYYY-MM-DDTHH:MM:SS`, up to nine digits of a second, and `Z` or an offset in hours and minutes.
///
/// jiff reads more than that, and what it takes for an annotation is no business of ours.
fn has_rfc3339_shape(text: &[u8]) -> bool {
    let Some((date_time, rest)) = text.split_at_checked(b"0000-00-00T00:00:00".len()) else {
        return false;
    };
    let zone = match rest {
        [b'.', digits @ ..] => {
            let fraction = digits
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            if fraction == 0 {
                return false;
            }
            digits.get(fraction..).unwrap_or_default()
        }
        _ => rest,
    };
    // RFC 3339 ends its hours at 23, in an offset too; jiff takes 25.
    let offset = matches_shape(zone, b"+00:00") || matches_shape(zone, b"-00:00");
    matches_shape(date_time, b"0000-00-00T00:00:00")
        && (matches_shape(zone, b"Z") || (offset && zone.get(1..3) <= Some(b"23")))
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
            "２030-01-01T00:00:00Z",
        ] {
            assert_eq!(millis(text), None, "{text}");
        }
    }

    #[test]
    fn moments_are_written_in_utc_with_milliseconds() {
        let written = |millis| format_rfc3339(Timestamp::from_millis(millis));
        assert_eq!(written(1_893_456_000_000), "2030-01-01T00:00:00.000Z");
        assert_eq!(written(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(written(7), "1970-01-01T00:00:00.007Z");
        assert!(written(i64::MAX).starts_with("9999-12-30T"));
        assert!(written(i64::MIN).starts_with('-'));
        assert_eq!(
            millis(&written(253_402_200_000_000)),
            Some(253_402_200_000_000)
        );
    }
}
