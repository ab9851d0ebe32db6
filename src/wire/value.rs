//! JSON values: strict parsing of raw text, and serde's values to and from those of `authz`.
//!
//! An object with a name twice means different things to different readers, so it is none.

use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Number, Value as Json};

use crate::authz::{Value, ValueRef};

/// Why a text is no JSON value: where, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidJson(String);

/// Parses exactly one JSON value in which no object, at any depth, has a name twice.
///
/// Nesting is limited by serde_json to 128 levels.
///
/// # Errors
/// Text that is not JSON, a repeated name, anything behind the value; with line and column.
pub fn parse_json(text: &str) -> Result<Json, InvalidJson> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    StrictValue
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| InvalidJson(error.to_string()))
}

/// A JSON value in which no object, at any depth, has a name twice.
#[derive(Debug)]
pub struct StrictJson(pub Json);

impl<'de> Deserialize<'de> for StrictJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        StrictValue.deserialize(deserializer).map(Self)
    }
}

/// The value as rules see it.
pub fn to_authz(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(bool) => Value::Bool(*bool),
        // Without `arbitrary_precision` every number of serde_json is one of JavaScript.
        Json::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Value::String(text.as_str().into()),
        Json::Array(items) => Value::Array(items.iter().map(to_authz).collect()),
        Json::Object(members) => Value::Object(
            members
                .iter()
                .map(|(name, value)| (name.as_str().into(), to_authz(value)))
                .collect(),
        ),
    }
}

/// The value as serde writes it. Whole numbers are written without a fraction, as JavaScript does.
pub fn to_json(value: &Value) -> Json {
    match value.as_ref() {
        ValueRef::Null => Json::Null,
        ValueRef::Bool(bool) => Json::Bool(bool),
        ValueRef::Number(number) => number_to_json(number),
        ValueRef::String(text) => Json::String(text.to_owned()),
        ValueRef::Array(items) => Json::Array(items.iter().map(to_json).collect()),
        ValueRef::Object(members) => Json::Object(
            members
                .iter()
                .map(|(name, value)| (name.to_string(), to_json(value)))
                .collect(),
        ),
    }
}

/// A number as JSON; one that JSON has no form for is `null`.
pub fn number_to_json(number: f64) -> Json {
    /// Up to here every whole number is a number of JavaScript.
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= WHOLE_MAX {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
        let whole = number as i64;
        return Json::Number(whole.into());
    }
    Number::from_f64(number).map_or(Json::Null, Json::Number)
}

/// Builds a value as serde_json does, and refuses repeated names.
struct StrictValue;

impl<'de> DeserializeSeed<'de> for StrictValue {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictValue {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Json, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("number out of range"))?;
        Ok(Json::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(StrictValue)? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut members = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            if members.contains_key(&name) {
                let name = name.escape_debug();
                return Err(A::Error::custom(format!(
                    "the name `{name}` occurs twice in one object"
                )));
            }
            let value = access.next_value_seed(StrictValue)?;
            members.insert(name, value);
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_repeated_name_is_refused_at_any_depth() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"[{"x":{"a":1,"b":2,"a":3}}]"#,
        ] {
            let error = parse_json(text).unwrap_err().to_string();
            assert!(
                error.contains("`a` occurs twice") && error.contains("line 1"),
                "{error}"
            );
        }
        assert_eq!(
            parse_json(r#"{"a":{"a":1},"b":[{"a":1}]}"#).unwrap(),
            json!({"a":{"a":1},"b":[{"a":1}]})
        );
    }

    #[test]
    fn only_one_whole_value_is_taken() {
        for text in [
            "",
            "{",
            "1 2",
            "{}x",
            "nul",
            "[1,]",
            "\"\\ud800\"",
            "NaN",
            "1e999",
            "01",
        ] {
            assert!(parse_json(text).is_err(), "{text}");
        }
        let deep = "[".repeat(100_000);
        assert!(parse_json(&deep).is_err());
        assert_eq!(
            parse_json(" [1, -2, 0.5, null, true] ").unwrap(),
            json!([1, -2, 0.5, null, true])
        );
    }

    #[test]
    fn numbers_are_those_of_javascript() {
        assert_eq!(to_authz(&json!(1)), Value::Number(1.0));
        assert_eq!(to_authz(&json!(1.0)), Value::Number(1.0));
        assert_eq!(to_json(&Value::Number(1.0)), json!(1));
        assert_eq!(to_json(&Value::Number(-0.5)), json!(-0.5));
        assert_eq!(to_json(&Value::Number(1e300)), json!(1e300));
        assert_eq!(to_json(&Value::Number(f64::NAN)), Json::Null);
    }

    fn any_value() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::Bool),
            any::<i32>().prop_map(Json::from),
            (-1e9..1e9).prop_map(Json::from),
            ".{0,6}".prop_map(Json::String),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::Array),
                proptest::collection::vec((".{0,3}", inner), 0..4)
                    .prop_map(|members| Json::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn values_go_round(value in any_value()) {
            prop_assert_eq!(&parse_json(&value.to_string()).unwrap(), &value);
            let there = to_authz(&value);
            prop_assert_eq!(to_authz(&to_json(&there)), there);
        }

        #[test]
        fn parsing_never_panics(text in ".{0,64}") {
            let _ = parse_json(&text);
        }
    }
}
