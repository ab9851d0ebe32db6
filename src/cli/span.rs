//! Spans of time as people type them: `90d`, `12h`, `30m`, `45s`.

/// Seconds of a span.
///
/// # Errors
/// What is wrong with it, for a usage message.
pub fn parse_seconds(text: &str) -> Result<i64, String> {
    let unit = text.chars().last().unwrap_or_default();
    let seconds = match unit {
        'd' => 86_400,
        'h' => 3_600,
        'm' => 60,
        's' => 1,
        _ => return Err("a number and one of d, h, m, s is needed, e.g. 90d".to_owned()),
    };
    let number = text.trim_end_matches(unit);
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("a whole number is needed before the unit, e.g. 90d".to_owned());
    }
    let too_long = || "that is too long".to_owned();
    let number: i64 = number.parse().map_err(|_| too_long())?;
    number.checked_mul(seconds).ok_or_else(too_long)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_number_and_a_unit() {
        assert_eq!(parse_seconds("90d"), Ok(7_776_000));
        assert_eq!(parse_seconds("12h"), Ok(43_200));
        assert_eq!(parse_seconds("30m"), Ok(1_800));
        assert_eq!(parse_seconds("0s"), Ok(0));
        for bad in [
            "",
            "d",
            "90",
            "-1d",
            "1.5h",
            "1dd ",
            "9223372036854775807d",
            "90 d",
        ] {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
    }
}
