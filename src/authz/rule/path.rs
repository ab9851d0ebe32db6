//! Dotted paths and how they walk through objects and arrays, step by step as CASL's do, without allocating.
//!
//! Where CASL would raise an error or fall into a property that JavaScript gives to every string and array, the
//! answer is *unknown*.

use smallvec::SmallVec;

use super::condition::{Document, Truth};
use crate::authz::value::{Attribute, Resource, Value, ValueRef};

/// A path into a document. Empty: the document itself. Nearly all are one name of an attribute.
#[derive(Debug, Clone, Default)]
pub(super) struct Path {
    segments: SmallVec<[Segment; 1]>,
}

/// One step of a path: its name on an object, and what it does on an array.
#[derive(Debug, Clone)]
struct Segment {
    name: Box<str>,
    on_array: OnArray,
}

#[derive(Debug, Clone, Copy)]
enum OnArray {
    /// The name is no number: it is taken from each item, and the results are one flat list.
    Spread,
    /// The name is this position.
    Item(usize),
    /// The name is a number for JavaScript, but no position that an array could have.
    Nothing,
}

impl Path {
    /// Splits at dots. Names may be empty, as in JavaScript.
    pub(super) fn parse(text: &str) -> Self {
        Self {
            segments: text.split('.').map(Segment::new).collect(),
        }
    }

    /// Whether it leads to the document itself.
    pub(super) fn is_itself(&self) -> bool {
        self.segments.is_empty()
    }

    /// The names, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().map(|segment| &*segment.name)
    }

    /// What the path leads to.
    #[inline]
    pub(super) fn look<'a>(&'a self, document: Document<'a>) -> Sight<'a> {
        match (document, &*self.segments) {
            (Document::Resource(resource), [name]) => attribute(resource, name),
            (document, path) => look(document, path),
        }
    }

    /// As [`Path::look`], for CASL's `$eq`: a name of something that is no object is missing and no error.
    pub(super) fn look_for_equal<'a>(&'a self, document: Document<'a>) -> Sight<'a> {
        match (&*self.segments, document) {
            ([_], Document::Value(value)) if !is_object(value) => Sight::Missing,
            _ => self.look(document),
        }
    }

    /// Asks `test` what holds the last name of the path; each item where that is an array and the name no number.
    pub(super) fn any_holder<'a>(
        &'a self,
        document: Document<'a>,
        mut test: impl FnMut(Own<'a>) -> Truth,
    ) -> Truth {
        let Some((last, parents)) = self.segments.split_last() else {
            return Truth::Unknown;
        };
        let holder = match (parents, document) {
            ([], Document::Resource(resource)) => return test(Own::of_resource(resource, last)),
            ([], Document::Value(value)) => Sight::Known(value),
            (parents, document) => look(document, parents),
        };
        match (holder, last.on_array) {
            (Sight::Unknown, _) => Truth::Unknown,
            (Sight::Missing, _) => test(Own::NoObject),
            (Sight::Known(ValueRef::Array(items)), OnArray::Spread) => {
                Truth::any(items, |item| test(Own::of_value(item.as_ref(), last)))
            }
            (Sight::Known(value), _) => test(Own::of_value(value, last)),
            (Sight::Flat(flat), OnArray::Spread) => {
                flat.any(|item| test(Own::of_value(item, last)))
            }
            (Sight::Flat(flat), OnArray::Item(index)) => match flat.item(index) {
                Sight::Known(value) => test(Own::Value(value)),
                Sight::Missing | Sight::Flat(_) => test(Own::Absent),
                Sight::Unknown => Truth::Unknown,
            },
            (Sight::Flat(_), OnArray::Nothing) => test(Own::Absent),
        }
    }
}

impl Segment {
    fn new(name: &str) -> Self {
        let on_array = if !is_number_for_javascript(name) {
            OnArray::Spread
        } else {
            match name.parse::<usize>() {
                // `01` and `+1` are numbers and no positions.
                Ok(index) if index.to_string() == name => OnArray::Item(index),
                Ok(_) | Err(_) => OnArray::Nothing,
            }
        };
        Self {
            name: name.into(),
            on_array,
        }
    }

    /// Whether JavaScript finds something under this name in every string and array.
    fn is_builtin_of_lists(&self) -> bool {
        *self.name == *"length" || matches!(self.on_array, OnArray::Item(_))
    }
}

/// What a path leads to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sight<'a> {
    /// A value.
    Known(ValueRef<'a>),
    /// What a name gave in each item of an array: an array itself.
    Flat(Flat<'a>),
    /// Nothing: `undefined`.
    Missing,
    /// It cannot be told.
    Unknown,
}

impl<'a> Sight<'a> {
    /// The test of the value, or of each item of an array; `missing` where there is neither.
    pub(super) fn any(self, missing: Truth, mut test: impl FnMut(ValueRef<'a>) -> Truth) -> Truth {
        match self {
            Self::Known(ValueRef::Array(items)) => Truth::any(items, |item| test(item.as_ref())),
            Self::Known(value) => test(value),
            Self::Flat(flat) => flat.any(test),
            Self::Missing => missing,
            Self::Unknown => Truth::Unknown,
        }
    }

    /// The test of each item of an array; false where there is none.
    pub(super) fn any_item(self, mut test: impl FnMut(ValueRef<'a>) -> Truth) -> Truth {
        match self {
            Self::Known(ValueRef::Array(items)) => Truth::any(items, |item| test(item.as_ref())),
            Self::Known(_) | Self::Missing => Truth::False,
            Self::Flat(flat) => flat.any(test),
            Self::Unknown => Truth::Unknown,
        }
    }

    /// Whether it is an array at all.
    pub(super) fn is_array(self) -> Truth {
        match self {
            Self::Known(ValueRef::Array(_)) => Truth::True,
            Self::Known(_) | Self::Missing => Truth::False,
            Self::Flat(flat) => flat.count().map_or(Truth::Unknown, |_| Truth::True),
            Self::Unknown => Truth::Unknown,
        }
    }

    fn step(self, path: &'a [Segment], position: usize) -> Self {
        let Some(segment) = path.get(position) else {
            return Self::Unknown;
        };
        match (self, segment.on_array) {
            (Self::Missing | Self::Unknown, _) => self,
            (Self::Known(ValueRef::Array(items)), OnArray::Spread) => {
                let names = path.get(position..=position).unwrap_or_default();
                Self::Flat(Flat { items, names })
            }
            (Self::Known(ValueRef::Array(items)), OnArray::Item(index)) => items
                .get(index)
                .map_or(Self::Missing, |item| Self::Known(item.as_ref())),
            (Self::Known(ValueRef::Array(_)) | Self::Flat(_), OnArray::Nothing) => Self::Missing,
            (Self::Known(ValueRef::Object(members)), _) => {
                member(members, &segment.name).map_or(Self::Missing, |v| Self::Known(v.as_ref()))
            }
            (Self::Known(_), _) => Self::Missing,
            (Self::Flat(flat), OnArray::Spread) => {
                // The names of a flat list are neighbours in the path: this one is the next.
                let first = position.saturating_sub(flat.names.len());
                let names = path.get(first..=position).unwrap_or_default();
                Self::Flat(Flat { names, ..flat })
            }
            (Self::Flat(flat), OnArray::Item(index)) => flat.item(index),
        }
    }
}

fn look<'a>(document: Document<'a>, path: &'a [Segment]) -> Sight<'a> {
    let (mut sight, first) = match (document, path) {
        (Document::Resource(resource), [segment, ..]) => (attribute(resource, segment), 1),
        (Document::Resource(_), []) => (Sight::Unknown, 0),
        (Document::Value(value), [segment, ..]) if raises_error(value, segment) => {
            (Sight::Unknown, 1)
        }
        (Document::Value(value), _) => (Sight::Known(value), 0),
    };
    for position in first..path.len() {
        sight = sight.step(path, position);
    }
    sight
}

#[inline]
fn attribute<'a>(resource: &Resource<'a>, segment: &Segment) -> Sight<'a> {
    match Own::of_resource(resource, segment) {
        Own::Value(value) => Sight::Known(value),
        Own::Absent | Own::AbsentFromList | Own::OfString | Own::NoObject => Sight::Missing,
        Own::Unknown => Sight::Unknown,
    }
}

/// Whether CASL raises an error, or finds what no JSON has, when asked for this name of an item of an array.
fn raises_error(item: ValueRef<'_>, segment: &Segment) -> bool {
    match item {
        ValueRef::Null | ValueRef::Bool(false) => true,
        ValueRef::Number(number) => number == 0.0,
        ValueRef::String(text) => text.is_empty() || segment.is_builtin_of_lists(),
        ValueRef::Bool(true) | ValueRef::Array(_) | ValueRef::Object(_) => false,
    }
}

/// An array that exists only as its making: in each item the first name, in each item of that the second, …
#[derive(Debug, Clone, Copy)]
pub(super) struct Flat<'a> {
    items: &'a [Value],
    names: &'a [Segment],
}

/// CASL would raise an error.
struct Unreadable;

impl<'a> Flat<'a> {
    fn any(self, mut test: impl FnMut(ValueRef<'a>) -> Truth) -> Truth {
        let mut truth = Truth::False;
        let end = self.each(&mut |item| truth = truth.or(test(item)));
        // An item that cannot be read spoils the whole list, whatever the others say.
        end.map_or(Truth::Unknown, |()| truth)
    }

    /// The number of items.
    pub(super) fn count(self) -> Option<usize> {
        let mut count = 0;
        self.each(&mut |_| count += 1).ok().map(|()| count)
    }

    fn item(self, index: usize) -> Sight<'a> {
        let (mut position, mut found) = (0, Sight::Missing);
        let end = self.each(&mut |item| {
            if position == index {
                found = Sight::Known(item);
            }
            position += 1;
        });
        end.map_or(Sight::Unknown, |()| found)
    }

    fn each<F: FnMut(ValueRef<'a>)>(self, visit: &mut F) -> Result<(), Unreadable> {
        let Some((segment, deeper)) = self.names.split_first() else {
            self.items.iter().for_each(|item| visit(item.as_ref()));
            return Ok(());
        };
        for item in self.items {
            let found = match item.as_ref() {
                ValueRef::Null => return Err(Unreadable),
                ValueRef::String(_) | ValueRef::Array(_) if segment.is_builtin_of_lists() => {
                    return Err(Unreadable);
                }
                ValueRef::Object(members) => member(members, &segment.name),
                ValueRef::Bool(_)
                | ValueRef::Number(_)
                | ValueRef::String(_)
                | ValueRef::Array(_) => None,
            };
            // An array that is found is spread too.
            let items = match found {
                None => &[],
                Some(Value::Array(items)) => items.as_slice(),
                Some(value) => std::slice::from_ref(value),
            };
            let names = deeper;
            Flat { items, names }.each(visit)?;
        }
        Ok(())
    }
}

/// What something holds under the last name of a path, in the sense of `hasOwn`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Own<'a> {
    /// It has a property of this name.
    Value(ValueRef<'a>),
    /// It is an object or array without it.
    Absent,
    /// It is an array, within an array, that has no such property itself.
    AbsentFromList,
    /// It is a string, and in JavaScript every string, or every one long enough, has this property.
    OfString,
    /// It is nothing that has properties.
    NoObject,
    /// It cannot be told.
    Unknown,
}

impl<'a> Own<'a> {
    #[inline]
    fn of_resource(resource: &Resource<'a>, segment: &Segment) -> Self {
        let mut stated = resource.attributes.iter();
        match stated.find(|(name, _)| **name == *segment.name) {
            Some((_, Attribute::Known(value))) => Self::Value(*value),
            Some((_, Attribute::Unknown)) => Self::Unknown,
            None if resource.complete => Self::Absent,
            None => Self::Unknown,
        }
    }

    fn of_value(holder: ValueRef<'a>, segment: &Segment) -> Self {
        match holder {
            ValueRef::Object(members) => {
                member(members, &segment.name).map_or(Self::Absent, |v| Self::Value(v.as_ref()))
            }
            ValueRef::Array(items) => match segment.on_array {
                OnArray::Item(index) => items
                    .get(index)
                    .map_or(Self::Absent, |v| Self::Value(v.as_ref())),
                OnArray::Spread if segment.is_builtin_of_lists() => Self::Unknown,
                OnArray::Spread => Self::AbsentFromList,
                OnArray::Nothing => Self::Absent,
            },
            ValueRef::String(_) if segment.is_builtin_of_lists() => Self::OfString,
            ValueRef::Null | ValueRef::Bool(_) | ValueRef::Number(_) | ValueRef::String(_) => {
                Self::NoObject
            }
        }
    }
}

fn member<'a>(members: &'a [(Box<str>, Value)], name: &str) -> Option<&'a Value> {
    members
        .iter()
        .find(|(own, _)| **own == *name)
        .map(|(_, value)| value)
}

fn is_object(value: ValueRef<'_>) -> bool {
    match value {
        ValueRef::Array(_) | ValueRef::Object(_) => true,
        ValueRef::Null | ValueRef::Bool(_) | ValueRef::Number(_) | ValueRef::String(_) => false,
    }
}

/// Whether `Number(text)` is anything but `NaN`. CASL takes such a name for a position in an array.
fn is_number_for_javascript(text: &str) -> bool {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    let digits_of = |prefixes: [&str; 2], radix| {
        let digits = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix));
        digits.is_some_and(|d| !d.is_empty() && d.chars().all(|c| c.is_digit(radix)))
    };
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let decimal = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
            && text.parse::<f64>().is_ok()
    };
    text.is_empty()
        || unsigned == "Infinity"
        || decimal(text)
        || digits_of(["0x", "0X"], 16)
        || digits_of(["0o", "0O"], 8)
        || digits_of(["0b", "0B"], 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_as_javascript_does() {
        for text in [
            "",
            " ",
            "0",
            "12",
            "-1",
            "+1",
            "1e3",
            ".5",
            "5.",
            "0x1F",
            "0b10",
            "0o7",
            "Infinity",
            "-Infinity",
            " 7\t",
            "01",
        ] {
            assert!(is_number_for_javascript(text), "{text:?}");
        }
        for text in [
            "a", "1a", "inf", "nan", "NaN", "infinity", "0x", "0xg", "-0x1", "1e", ".", "+",
            "1_000", "--1",
        ] {
            assert!(!is_number_for_javascript(text), "{text:?}");
        }
    }
}
