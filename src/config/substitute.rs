//! `${NAME}` and `${NAME:-default}` in the strings of a configuration.
//!
//! Braces mean something to YAML, so a reference without quotes would be torn apart inside `[…]` and `{…}`. It is
//! therefore *masked* before YAML sees the text, character for character so that places stay what they are, and
//! *replaced* in the finished scalars, so that no value of a variable can change the structure of the file.
//! `$${` stands for `${` itself.

/// Characters of a reference are moved here, into a private area of Unicode, while YAML reads the text.
const MASK_BASE: u32 = 0xE000;
const MASK_END: u32 = MASK_BASE + 0x80;

/// Why a reference cannot be replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// No such variable, and no default.
    #[error("the environment variable `{0}` is not set; set it or write `${{{0}:-default}}`")]
    Unset(String),
    /// Not a reference.
    #[error(
        "`${{{0}` is no reference to a variable; write `${{NAME}}` or `${{NAME:-default}}`, or `$${{` for a literal `${{`"
    )]
    Malformed(String),
}

/// The character of a text that masking cannot tell from its own, if there is one.
pub(super) fn unmaskable(text: &str) -> Option<char> {
    text.chars()
        .find(|c| (MASK_BASE..MASK_END).contains(&u32::from(*c)))
}

/// Hides every reference from YAML. The number of characters before any place stays the same.
pub(super) fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        masked.push_str(before);
        match after.split_once('}') {
            Some((inside, tail)) if !inside.contains('\n') => {
                let reference = "${".chars().chain(inside.chars()).chain(['}']);
                masked.extend(reference.map(hide));
                rest = tail;
            }
            Some(_) | None => {
                masked.push_str("${");
                rest = after;
            }
        }
    }
    masked.push_str(rest);
    masked
}

/// Undoes [`mask`].
pub(super) fn unmask(text: &str) -> String {
    text.chars().map(show).collect()
}

/// Replaces every reference. `None`: there is none. A reference that cannot be replaced is pushed to `faults`.
pub(super) fn replace(
    text: &str,
    variables: &dyn Fn(&str) -> Option<String>,
    faults: &mut Vec<InvalidReference>,
) -> Option<String> {
    if !text.contains("${") {
        return None;
    }
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        rest = after;
        if let Some(literal) = before.strip_suffix('$') {
            replaced.push_str(literal);
            replaced.push_str("${");
            continue;
        }
        replaced.push_str(before);
        let (inside, tail) = after.split_once('}').unwrap_or((after, ""));
        match value_of(inside, variables) {
            Ok(value) => replaced.push_str(&value),
            Err(fault) => faults.push(fault),
        }
        rest = tail;
    }
    replaced.push_str(rest);
    Some(replaced)
}

/// As in a shell, `:-` also stands in for a variable that is set to nothing.
fn value_of(
    inside: &str,
    variables: &dyn Fn(&str) -> Option<String>,
) -> Result<String, InvalidReference> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if !is_name(name) {
        return Err(InvalidReference::Malformed(inside.to_owned()));
    }
    match (variables(name), default) {
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(InvalidReference::Unset(name.to_owned())),
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn hide(c: char) -> char {
    if c.is_ascii() {
        char::from_u32(MASK_BASE + u32::from(c)).unwrap_or(c)
    } else {
        c
    }
}

fn show(c: char) -> char {
    let code = u32::from(c);
    if (MASK_BASE..MASK_END).contains(&code) {
        char::from_u32(code - MASK_BASE).unwrap_or(c)
    } else {
        c
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("example.com".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[track_caller]
    fn replaced(text: &str) -> String {
        let mut faults = Vec::new();
        let replaced = replace(text, &variables, &mut faults).unwrap_or_else(|| text.to_owned());
        assert_eq!(faults, []);
        replaced
    }

    #[test]
    fn references_take_the_value_or_the_default() {
        assert_eq!(replaced("a ${HOST}:${PORT:-80} b"), "a example.com:80 b");
        assert_eq!(replaced("${EMPTY:-x}${EMPTY}${NONE:-}"), "x");
        assert_eq!(replaced("no reference $HOST {a}"), "no reference $HOST {a}");
        assert_eq!(replaced("$${HOST} ${HOST}"), "${HOST} example.com");
    }

    #[test]
    fn a_value_is_not_replaced_again() {
        let nested = |_: &str| Some("${OTHER}".to_owned());
        let mut faults = Vec::new();
        assert_eq!(
            replace("${A}", &nested, &mut faults).as_deref(),
            Some("${OTHER}")
        );
        assert_eq!(faults, []);
    }

    #[test]
    fn what_cannot_be_replaced_is_named() {
        let mut faults = Vec::new();
        replace("${NONE} ${1x} ${HOST", &variables, &mut faults);
        assert_eq!(
            faults,
            [
                InvalidReference::Unset("NONE".to_owned()),
                InvalidReference::Malformed("1x".to_owned()),
            ]
        );
    }

    #[test]
    fn masking_hides_references_only_and_moves_nothing() {
        let text = "a: [ ${X:-{é, } b ]\nc: ${\n}";
        let masked = mask(text);
        assert_eq!(masked.chars().count(), text.chars().count());
        assert!(!masked.contains("${X"));
        assert!(masked.contains("c: ${\n}"));
        assert_eq!(unmask(&masked), text);
    }
}
