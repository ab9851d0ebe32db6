//! What the structural check says: sentences about one value each, with what to do.
//!
//! Values are not repeated where a secret may stand; a format's reader repeats what it could not read.

use serde_json::Value;

use super::later;
use super::node::{Content, Kind, Node, Scalar};
use super::scalar::{self, Size, Span, Timeout};

/// How alike two names must be for one to be suggested for the other; 1 is equal.
const LIKENESS_MIN: f64 = 0.75;

/// That a value is not of the right kind. `wanted`: what may stand there; `schema`: the one schema that asks, if one.
pub(super) fn expected(node: &Node, wanted: &[String], schema: &Value) -> String {
    let found = node.kind();
    let mut message = format!(
        "expected {}, found {}",
        in_words(wanted, "or"),
        found.described()
    );
    if let Some(hint) = hint(node, found, schema) {
        message.push_str("; ");
        message.push_str(hint);
    }
    message
}

fn hint(node: &Node, found: Kind, schema: &Value) -> Option<&'static str> {
    let wants = |name| schema.get("type").is_some_and(|t| t == name);
    let format = schema.get("format").and_then(Value::as_str);
    match found {
        Kind::Integer if format == Some(Span::FORMAT) || format == Some(Timeout::FORMAT) => {
            Some("a duration has a unit, for example 10s")
        }
        Kind::Integer | Kind::Number | Kind::Bool if wants("string") => Some("put it in quotes"),
        Kind::Map if wants("string") && is_flow_capture(node) => {
            Some("put text that begins with `{` in quotes")
        }
        Kind::Text if wants("integer") && is_quoted_number(node) => Some("write it without quotes"),
        Kind::Text if wants("array") => Some("write `[ … ]` around it"),
        Kind::Null
        | Kind::Bool
        | Kind::Integer
        | Kind::Number
        | Kind::Text
        | Kind::List
        | Kind::Map => None,
    }
}

/// `{name}` without quotes: a mapping of one key with nothing.
fn is_flow_capture(node: &Node) -> bool {
    match &node.content {
        Content::Map(entries) => {
            matches!(entries.as_slice(), [only] if only.value.kind() == Kind::Null)
        }
        Content::Scalar(_) | Content::List(_) | Content::Broken => false,
    }
}

fn is_quoted_number(node: &Node) -> bool {
    match &node.content {
        Content::Scalar(scalar) => !scalar.plain && scalar.text.parse::<i64>().is_ok(),
        Content::List(_) | Content::Map(_) | Content::Broken => false,
    }
}

/// What is wrong with a scalar of the right kind.
pub(super) fn scalar_fault(scalar: &Scalar, schema: &Value) -> Option<String> {
    let value = scalar.typed();
    if schema.get("const").is_some_and(|only| *only != value) {
        return Some(format!("`{value}` {}", later::MESSAGE));
    }
    let format = schema.get("format").and_then(Value::as_str);
    if let (Some(format), Value::String(text)) = (format, &value)
        && let Some(Err(message)) = scalar::check(format, text)
    {
        return Some(message);
    }
    let number = match (&value, format) {
        (Value::String(text), Some(Size::FORMAT)) => text.parse::<Size>().ok()?.0 as f64,
        (Value::Number(number), _) => number.as_f64()?,
        _ => return None,
    };
    let bound = |name| schema.get(name).and_then(Value::as_f64);
    if let Some(min) = bound("minimum").filter(|min| number < *min) {
        return Some(format!("must be at least {min}"));
    }
    let max = bound("maximum").filter(|max| number > *max)?;
    Some(format!("must be at most {max}"))
}

/// What is said of a word that is not among those to choose from; `None` where it is. `alternatives`: all that may
/// stand there, words or not.
pub(super) fn unknown_word(word: &str, words: &[&str], alternatives: &[String]) -> Option<String> {
    if words.contains(&word) {
        return None;
    }
    if later::is_later_word(word) {
        return Some(format!("`{word}` {}", later::MESSAGE));
    }
    let known = in_words(alternatives, "or");
    Some(match like(word, words.iter().copied()) {
        Some(meant) => format!("`{word}` is not {known}; did you mean `{meant}`?"),
        None => format!("`{word}` is not {known}"),
    })
}

/// What is said of a key that a section does not know.
pub(super) fn unknown_key<'k>(
    key: &str,
    known: impl Iterator<Item = &'k String> + Clone,
) -> String {
    match like(key, known.clone().map(String::as_str)) {
        Some(meant) => format!("unknown key `{key}`; did you mean `{meant}`?"),
        None => {
            let known: Vec<String> = known.map(|key| format!("`{key}`")).collect();
            format!("unknown key `{key}`; known here: {}", known.join(", "))
        }
    }
}

/// What is said of a name that refers to nothing.
pub(super) fn unknown_name<'k>(
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'k str> + Clone,
) -> String {
    match like(name, known) {
        Some(meant) => format!("there is no {what} `{name}`; did you mean `{meant}`?"),
        None => format!("there is no {what} `{name}`"),
    }
}

/// The one of `known` that `name` was most likely meant to be.
fn like<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let name = name.to_ascii_lowercase();
    known
        .map(|candidate| {
            (
                strsim::jaro_winkler(&name, &candidate.to_ascii_lowercase()),
                candidate,
            )
        })
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// `a, b or c`.
fn in_words(list: &[String], last: &str) -> String {
    match list {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [most @ .., end] => format!("{} {last} {end}", most.join(", ")),
    }
}
