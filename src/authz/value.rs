//! JSON values as rules see them, and the view of a resource that a rule is judged on.
//!
//! Conversions from serde's types live in `wire`.

/// A JSON value. Object members keep their order; names are unique (the parser at the border sees to it).
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// Any number, as JavaScript has it.
    Number(f64),
    /// A string.
    String(Box<str>),
    /// An array.
    Array(Vec<Value>),
    /// An object.
    Object(Vec<(Box<str>, Value)>),
}

impl Value {
    /// The same value, borrowed.
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Bool(b) => ValueRef::Bool(*b),
            Self::Number(n) => ValueRef::Number(*n),
            Self::String(s) => ValueRef::String(s),
            Self::Array(a) => ValueRef::Array(a),
            Self::Object(o) => ValueRef::Object(o),
        }
    }
}

/// A borrowed JSON value, so that an attribute taken from a request costs no allocation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueRef<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// Any number, as JavaScript has it.
    Number(f64),
    /// A string.
    String(&'a str),
    /// An array.
    Array(&'a [Value]),
    /// An object.
    Object(&'a [(Box<str>, Value)]),
}

/// What is known of one attribute of a resource.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Attribute<'a> {
    /// Its value.
    Known(ValueRef<'a>),
    /// The route names it, but this request gives it no value: neither equal nor different to anything.
    Unknown,
}

/// The resource that a rule is judged on: top-level attributes by name.
///
/// An attribute that is not listed is *unknown* unless the resource is `complete`; then it is missing
/// in CASL's sense.
#[derive(Debug, Clone, Copy, Default)]
pub struct Resource<'a> {
    /// Name and value of each attribute that the route states. Names are unique.
    pub attributes: &'a [(&'a str, Attribute<'a>)],
    /// Whether what is not listed is missing rather than unknown.
    pub complete: bool,
}
