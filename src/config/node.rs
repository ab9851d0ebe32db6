//! A YAML document as a tree in which every node knows its place and its key path.
//!
//! Knows YAML's scalars, and nothing of configurations.

use serde_json::Value;

use super::mistake::{Mark, Mistake};

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it begins.
    pub mark: Mark,
    /// For example `routes[3].require.org`; empty for the whole.
    pub path: String,
    /// What it is.
    pub content: Content,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Text, number, truth value or nothing.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A mapping; its keys are unique.
    Map(Vec<Entry>),
    /// Something that was reported already and cannot be used.
    Broken,
}

/// One key of a mapping with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key is.
    pub mark: Mark,
    /// The value.
    pub value: Node,
}

/// A scalar as it was written, variables already replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// The text.
    pub text: String,
    /// Whether it was written without quotes, so that it may be other than text.
    pub plain: bool,
    /// Whether a variable was replaced in it.
    pub substituted: bool,
}

/// What kind of value a node is, for messages and for the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing, `null` or `~`.
    Null,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Integer,
    /// Another number.
    Number,
    /// Text.
    Text,
    /// A list.
    List,
    /// A mapping.
    Map,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Text,
        Self::Bool,
        Self::Integer,
        Self::Number,
        Self::List,
        Self::Map,
        Self::Null,
    ];

    /// With its article, for messages.
    pub const fn described(self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool => "true or false",
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::Text => "text",
            Self::List => "a list",
            Self::Map => "a mapping",
        }
    }

    /// The name of the type in JSON Schema.
    pub const fn schema_name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Text => "string",
            Self::List => "array",
            Self::Map => "object",
        }
    }
}

impl Scalar {
    /// The value by the core schema of YAML 1.2; what is quoted is text.
    pub fn typed(&self) -> Value {
        if !self.plain {
            return Value::String(self.text.clone());
        }
        match self.text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => Value::Null,
            "true" | "True" | "TRUE" => Value::Bool(true),
            "false" | "False" | "FALSE" => Value::Bool(false),
            text => number(text).unwrap_or_else(|| Value::String(text.to_owned())),
        }
    }
}

fn number(text: &str) -> Option<Value> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return None;
    }
    let radix = |prefix: &str, radix: u32| {
        let digits = text.strip_prefix(prefix)?;
        (!digits.starts_with('+')).then(|| i64::from_str_radix(digits, radix).ok())?
    };
    if let Some(whole) = radix("0o", 8).or_else(|| radix("0x", 16)) {
        return Some(whole.into());
    }
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.into());
    }
    // Not `inf` and `nan`, which Rust reads and JSON cannot hold.
    let float: f64 = text.parse().ok()?;
    serde_json::Number::from_f64(float).map(Value::Number)
}

impl Node {
    /// What kind of value it is.
    pub fn kind(&self) -> Kind {
        match &self.content {
            Content::Broken => Kind::Null,
            Content::List(_) => Kind::List,
            Content::Map(_) => Kind::Map,
            Content::Scalar(scalar) => match scalar.typed() {
                Value::Null => Kind::Null,
                Value::Bool(_) => Kind::Bool,
                Value::Number(n) if n.is_i64() || n.is_u64() => Kind::Integer,
                Value::Number(_) => Kind::Number,
                Value::String(_) | Value::Array(_) | Value::Object(_) => Kind::Text,
            },
        }
    }

    /// The value under `key`, where this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.content {
            Content::Map(entries) => entries.iter().find(|e| e.key == key).map(|e| &e.value),
            Content::Scalar(_) | Content::List(_) | Content::Broken => None,
        }
    }

    /// The element at `index`, where this is a list that has it.
    pub fn at(&self, index: usize) -> Option<&Node> {
        match &self.content {
            Content::List(items) => items.get(index),
            Content::Scalar(_) | Content::Map(_) | Content::Broken => None,
        }
    }

    /// The same value without places.
    pub fn to_json(&self) -> Value {
        match &self.content {
            Content::Broken => Value::Null,
            Content::Scalar(scalar) => scalar.typed(),
            Content::List(items) => items.iter().map(Self::to_json).collect(),
            Content::Map(entries) => entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.value.to_json()))
                .collect(),
        }
    }
}

/// A place in the tree to speak about, there or not: where a key is absent, its nearest ancestor is the place.
#[derive(Debug, Clone)]
pub struct Spot<'t> {
    node: Option<&'t Node>,
    mark: Mark,
    path: String,
}

impl<'t> Spot<'t> {
    /// The whole document.
    pub fn root(node: &'t Node) -> Self {
        Self::of(node)
    }

    /// The place of `key` below this one.
    pub fn key(&self, key: &str) -> Self {
        self.below(self.node.and_then(|node| node.get(key)), || {
            join(&self.path, key)
        })
    }

    /// The place of the element at `index` below this one.
    pub fn index(&self, index: usize) -> Self {
        self.below(self.node.and_then(|node| node.at(index)), || {
            format!("{}[{index}]", self.path)
        })
    }

    /// The key path, for example `routes[3].require.org`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// A fault here.
    pub fn mistake(&self, message: impl Into<String>) -> Mistake {
        Mistake::at(self.mark, &self.path, message)
    }

    fn of(node: &'t Node) -> Self {
        Self {
            node: Some(node),
            mark: node.mark,
            path: node.path.clone(),
        }
    }

    fn below(&self, node: Option<&'t Node>, path: impl FnOnce() -> String) -> Self {
        node.map_or_else(
            || Self {
                node: None,
                mark: self.mark,
                path: path(),
            },
            Self::of,
        )
    }
}

/// `path` with `key` below it.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Value {
        Scalar {
            text: text.to_owned(),
            plain: true,
            substituted: false,
        }
        .typed()
    }

    #[test]
    fn plain_scalars_are_typed_by_the_core_schema() {
        for (text, value) in [
            ("", Value::Null),
            ("~", Value::Null),
            ("true", true.into()),
            ("-7", (-7).into()),
            ("0x1f", 31.into()),
            ("0o17", 15.into()),
            ("1.5", 1.5.into()),
            ("1e3", 1000.0.into()),
            ("10s", "10s".into()),
            ("127.0.0.1:80", "127.0.0.1:80".into()),
            ("infinity", "infinity".into()),
            ("yes", "yes".into()),
            ("-", "-".into()),
        ] {
            assert_eq!(typed(text), value, "{text}");
        }
    }
}
