//! Conditions as a tree, and their evaluation in three values.

use std::cmp::Ordering;

use super::path::{Own, Path, Sight};
use super::pattern::Pattern;
use crate::authz::value::{Resource, Value, ValueRef};

/// What a condition comes to. The order is that of the connectives: *and* is the least, *or* the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Truth {
    False,
    Unknown,
    True,
}

impl From<bool> for Truth {
    fn from(truth: bool) -> Self {
        if truth { Self::True } else { Self::False }
    }
}

impl Truth {
    pub(super) fn or(self, other: Self) -> Self {
        self.max(other)
    }

    fn not(self) -> Self {
        match self {
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
            Self::True => Self::False,
        }
    }

    /// False beats unknown.
    fn all<T>(items: impl IntoIterator<Item = T>, mut test: impl FnMut(T) -> Self) -> Self {
        let mut truth = Self::True;
        for item in items {
            truth = truth.min(test(item));
            if truth == Self::False {
                break;
            }
        }
        truth
    }

    /// True beats unknown.
    pub(super) fn any<T>(
        items: impl IntoIterator<Item = T>,
        mut test: impl FnMut(T) -> Self,
    ) -> Self {
        let mut truth = Self::False;
        for item in items {
            truth = truth.or(test(item));
            if truth == Self::True {
                break;
            }
        }
        truth
    }
}

/// What conditions are evaluated on: the resource itself, or an item of one of its arrays.
#[derive(Debug, Clone, Copy)]
pub(super) enum Document<'a> {
    Resource(&'a Resource<'a>),
    Value(ValueRef<'a>),
}

/// Conditions that must all be true. None: always true.
#[derive(Debug, Clone, Default)]
pub(super) struct Conditions(pub(super) Vec<Condition>);

impl Conditions {
    pub(super) fn test(&self, document: Document<'_>) -> Truth {
        Truth::all(&self.0, |condition| condition.test(document))
    }
}

/// One operator on one attribute.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    /// Empty: the item itself, within `$elemMatch`.
    pub(super) path: Path,
    pub(super) operator: Operator,
}

#[derive(Debug, Clone)]
pub(super) enum Operator {
    Equal(Scalar),
    NotEqual(Scalar),
    Compare(Comparison, Bound),
    In(Box<[Scalar]>),
    NotIn(Box<[Scalar]>),
    All(Box<[Scalar]>),
    Size(usize),
    Match(Pattern),
    /// `$elemMatch`
    Item(Conditions),
    Exists(bool),
    /// One that holds a placeholder that does not resolve.
    Unknown,
}

/// What a value is equal to. Objects and arrays are equal to nothing, not even themselves.
#[derive(Debug, Clone)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Number(f64),
    String(Box<str>),
}

impl Scalar {
    fn equals(&self, value: ValueRef<'_>) -> bool {
        match (self, value) {
            (Self::Null, ValueRef::Null) => true,
            (Self::Bool(one), ValueRef::Bool(other)) => *one == other,
            #[expect(clippy::float_cmp, reason = "strict equality of JavaScript's numbers")]
            (Self::Number(one), ValueRef::Number(other)) => *one == other,
            (Self::String(one), ValueRef::String(other)) => **one == *other,
            (Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_), _) => false,
        }
    }

    fn is_among(&self, items: &[Value]) -> bool {
        items.iter().any(|item| self.equals(item.as_ref()))
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What a value is ordered against.
#[derive(Debug, Clone)]
pub(super) enum Bound {
    Number(f64),
    String(Box<str>),
}

impl Condition {
    fn test(&self, document: Document<'_>) -> Truth {
        match &self.operator {
            Operator::Equal(scalar) => self.equal(document, scalar),
            Operator::NotEqual(scalar) => self.equal(document, scalar).not(),
            Operator::Compare(comparison, bound) => self
                .path
                .look(document)
                .any(Truth::Unknown, |value| compare(value, *comparison, bound)),
            Operator::In(scalars) => self.is_in(document, scalars),
            Operator::NotIn(scalars) => self.is_in(document, scalars).not(),
            Operator::All(scalars) => {
                let sight = self.path.look(document);
                sight.is_array().min(Truth::all(scalars, |scalar| {
                    sight.any_item(|item| scalar.equals(item).into())
                }))
            }
            Operator::Size(size) => self.has_size(document, *size),
            Operator::Match(pattern) => {
                self.path
                    .look(document)
                    .any(Truth::False, |value| match value {
                        ValueRef::String(text) => pattern.test(text),
                        ValueRef::Null
                        | ValueRef::Bool(_)
                        | ValueRef::Number(_)
                        | ValueRef::Array(_)
                        | ValueRef::Object(_) => Truth::False,
                    })
            }
            Operator::Item(conditions) => self
                .path
                .look(document)
                .any_item(|item| conditions.test(Document::Value(item))),
            Operator::Exists(wanted) => self.path.any_holder(document, |own| match own {
                Own::Value(_) => (*wanted).into(),
                Own::Absent | Own::AbsentFromList | Own::NoObject => (!*wanted).into(),
                Own::OfString | Own::Unknown => Truth::Unknown,
            }),
            Operator::Unknown => Truth::Unknown,
        }
    }

    fn equal(&self, document: Document<'_>, scalar: &Scalar) -> Truth {
        if !matches!(scalar, Scalar::Null) {
            let sight = self.path.look_for_equal(document);
            return sight.any(Truth::False, |value| scalar.equals(value).into());
        }
        // In CASL 7 `null` equals what is missing from an object, but not what is missing with its object.
        self.path.any_holder(document, |own| match own {
            Own::Value(ValueRef::Array(items)) => Scalar::Null.is_among(items).into(),
            Own::Value(value) => Scalar::Null.equals(value).into(),
            Own::Absent | Own::AbsentFromList => Truth::True,
            Own::OfString | Own::NoObject => Truth::False,
            Own::Unknown => Truth::Unknown,
        })
    }

    fn is_in(&self, document: Document<'_>, scalars: &[Scalar]) -> Truth {
        let sight = self.path.look(document);
        sight.any(Truth::False, |value| {
            scalars.iter().any(|scalar| scalar.equals(value)).into()
        })
    }

    fn has_size(&self, document: Document<'_>, size: usize) -> Truth {
        if self.path.is_itself() {
            return size_of(self.path.look(document), size);
        }
        self.path.any_holder(document, |own| match own {
            Own::Value(value) => size_of(Sight::Known(value), size),
            Own::Absent | Own::OfString | Own::NoObject => Truth::False,
            // CASL counts what the name gives in the items of the inner array; nobody means that.
            Own::AbsentFromList | Own::Unknown => Truth::Unknown,
        })
    }
}

fn size_of(sight: Sight<'_>, size: usize) -> Truth {
    match sight {
        Sight::Known(ValueRef::Array(items)) => (items.len() == size).into(),
        Sight::Flat(flat) => flat
            .count()
            .map_or(Truth::Unknown, |count| (count == size).into()),
        Sight::Known(_) | Sight::Missing => Truth::False,
        Sight::Unknown => Truth::Unknown,
    }
}

/// Orders number with number and string with string; what is of another type is not comparable.
fn compare(value: ValueRef<'_>, comparison: Comparison, bound: &Bound) -> Truth {
    let ordering = match (value, bound) {
        (ValueRef::Number(value), Bound::Number(bound)) => value.partial_cmp(bound),
        // JavaScript compares the units of UTF-16, which are not in the order of the characters.
        (ValueRef::String(value), Bound::String(bound)) => {
            Some(value.encode_utf16().cmp(bound.encode_utf16()))
        }
        (_, Bound::Number(_) | Bound::String(_)) => None,
    };
    ordering.map_or(Truth::Unknown, |ordering| {
        match comparison {
            Comparison::Less => ordering == Ordering::Less,
            Comparison::LessOrEqual => ordering != Ordering::Greater,
            Comparison::Greater => ordering == Ordering::Greater,
            Comparison::GreaterOrEqual => ordering != Ordering::Less,
        }
        .into()
    })
}
