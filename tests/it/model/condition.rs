//! Section 6: conditions, in three values.

use keyward::authz::Value;

use super::pattern;

/// *and* is the least of its parts, *any* the greatest: false beats unknown in the one, true in the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Truth {
    False,
    Unknown,
    True,
}

use Truth::{False, True, Unknown};

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { True } else { False }
    }
}

impl std::ops::Not for Truth {
    type Output = Self;
    fn not(self) -> Self {
        match self {
            False => True,
            Unknown => Unknown,
            True => False,
        }
    }
}

fn all(parts: impl Iterator<Item = Truth>) -> Truth {
    parts.min().unwrap_or(True)
}

fn any(parts: impl Iterator<Item = Truth>) -> Truth {
    parts.max().unwrap_or(False)
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    Unknown,
    /// An object or array is there and has it not.
    Missing,
    /// Not even something that could have it.
    Nowhere,
    Known(Value),
}

/// What placeholders resolve from.
#[derive(Debug, Clone, Default)]
pub struct Placeholders {
    pub user_id: Option<String>,
    pub subject_id: Option<String>,
}

fn members(value: &Value) -> &[(Box<str>, Value)] {
    if let Value::Object(members) = value {
        members
    } else {
        &[]
    }
}

/// Whether a resource or an element meets the conditions; `top` is what it has under a name.
pub fn hold(conditions: &Value, top: &dyn Fn(&str) -> Item, placeholders: &Placeholders) -> Truth {
    all(members(conditions).iter().map(|(path, operand)| {
        let steps: Vec<&str> = path.split('.').collect();
        operand_holds(operand, &Place::at(&steps, top), placeholders)
    }))
}

/// Where a path leads, in the two ways in which CASL looks there.
struct Place {
    /// What is there; an array where the way goes through one.
    item: Item,
    /// What each holder of the last name has under it: a path that goes through an array has many.
    of_holders: Vec<Item>,
}

impl Place {
    fn itself(item: Item) -> Self {
        let of_holders = vec![item.clone()];
        Self { item, of_holders }
    }

    fn at(steps: &[&str], top: &dyn Fn(&str) -> Item) -> Self {
        let [way @ .., last] = steps else {
            return Self::itself(Item::Nowhere);
        };
        let [first, way @ ..] = way else {
            return Self::itself(top(last));
        };
        let holder = way.iter().fold(top(first), |at, name| step(&at, name));
        let mut place = Self::itself(step(&holder, last));
        if let Item::Known(Value::Array(holders)) = holder
            && !is_index(last)
        {
            let holders = holders.into_iter().map(Item::Known);
            place.of_holders = holders.map(|holder| step(&holder, last)).collect();
        }
        place
    }
}

fn member<'a>(value: &'a Value, wanted: &str) -> Option<&'a Value> {
    let named = |(name, _): &&(Box<str>, Value)| **name == *wanted;
    members(value).iter().find(named).map(|(_, value)| value)
}

fn is_index(step: &str) -> bool {
    step.bytes().all(|b| b.is_ascii_digit())
}

/// One step of a dotted path: into an object, by index into an array, else through the array into each element.
fn step(at: &Item, name: &str) -> Item {
    let known = |value: Option<&Value>| value.map_or(Item::Missing, |it| Item::Known(it.clone()));
    match at {
        Item::Unknown => Item::Unknown,
        Item::Known(Value::Array(elements)) if is_index(name) => known(
            name.parse()
                .ok()
                .and_then(|index: usize| elements.get(index)),
        ),
        Item::Known(Value::Array(elements)) => {
            let mut found = Vec::new();
            for value in elements.iter().filter_map(|element| member(element, name)) {
                if let Value::Array(inner) = value {
                    found.extend(inner.clone());
                } else {
                    found.push(value.clone());
                }
            }
            Item::Known(Value::Array(found))
        }
        Item::Known(value @ Value::Object(_)) => known(member(value, name)),
        Item::Known(_) | Item::Missing | Item::Nowhere => Item::Nowhere,
    }
}

fn operand_holds(operand: &Value, place: &Place, placeholders: &Placeholders) -> Truth {
    if !matches!(operand, Value::Object(_)) {
        return operator_holds("$eq", operand, "", place, placeholders);
    }
    let options = member(operand, "$options").map_or("", text_of);
    let operators = members(operand).iter();
    all(operators.map(|(name, value)| operator_holds(name, value, options, place, placeholders)))
}

fn operator_holds(
    name: &str,
    operand: &Value,
    options: &str,
    place: &Place,
    placeholders: &Placeholders,
) -> Truth {
    let item = &place.item;
    if name == "$elemMatch" {
        return in_array(item, |elements| {
            any(elements
                .iter()
                .map(|element| element_matches(operand, element, placeholders)))
        });
    }
    let Some(operand) = resolve(operand, placeholders) else {
        return Unknown;
    };
    let list = if let Value::Array(list) = &operand {
        list.as_slice()
    } else {
        &[]
    };
    match name {
        "$eq" => equals(place, &operand),
        "$ne" => !equals(place, &operand),
        "$in" => among(item, list),
        "$nin" => !among(item, list),
        "$lt" => ordered(item, &operand, |o| o.is_lt()),
        "$lte" => ordered(item, &operand, |o| o.is_le()),
        "$gt" => ordered(item, &operand, |o| o.is_gt()),
        "$gte" => ordered(item, &operand, |o| o.is_ge()),
        "$all" => in_array(item, |_| {
            all(list
                .iter()
                .map(|one| among(item, std::slice::from_ref(one))))
        }),
        "$size" => any(place.of_holders.iter().map(|item| {
            in_array(item, |elements| {
                (Value::Number(elements.len() as f64) == operand).into()
            })
        })),
        "$exists" => any(place.of_holders.iter().map(|item| match item {
            Item::Unknown => Unknown,
            Item::Missing | Item::Nowhere => (operand == Value::Bool(false)).into(),
            Item::Known(_) => (operand == Value::Bool(true)).into(),
        })),
        "$regex" => each_element(item, False, &|value| {
            let is_text = matches!(value, Value::String(_));
            let found = || pattern::regex(text_of(&operand), options, text_of(value));
            (is_text && found() == Some(true)).into()
        }),
        // `$options` says how its sibling is read.
        _ => True,
    }
}

/// The test of an array; anything else fails it.
fn in_array(item: &Item, test: impl FnOnce(&[Value]) -> Truth) -> Truth {
    match item {
        Item::Unknown => Unknown,
        Item::Known(Value::Array(elements)) => test(elements),
        Item::Missing | Item::Nowhere | Item::Known(_) => False,
    }
}

fn element_matches(operand: &Value, element: &Value, placeholders: &Placeholders) -> Truth {
    let item = Item::Known(element.clone());
    if members(operand)
        .iter()
        .any(|(name, _)| name.starts_with('$'))
    {
        return operand_holds(operand, &Place::itself(item), placeholders);
    }
    hold(operand, &|name| step(&item, name), placeholders)
}

/// What an object has not equals null; what has no object does not.
fn equals(place: &Place, operand: &Value) -> Truth {
    let is_null = |item: &Item| match item {
        Item::Missing => True,
        Item::Nowhere | Item::Unknown | Item::Known(_) => among(item, &[Value::Null]),
    };
    if *operand == Value::Null {
        return any(place.of_holders.iter().map(is_null));
    }
    among(&place.item, std::slice::from_ref(operand))
}

/// A test of the value, or of any element where it is an array.
fn each_element(item: &Item, missing: Truth, test: &dyn Fn(&Value) -> Truth) -> Truth {
    match item {
        Item::Unknown => Unknown,
        Item::Missing | Item::Nowhere => missing,
        Item::Known(Value::Array(elements)) => any(elements.iter().map(test)),
        Item::Known(value) => test(value),
    }
}

/// Strict equality with one of the list; arrays and objects equal nothing.
fn among(item: &Item, list: &[Value]) -> Truth {
    let is_list = |value: &Value| matches!(value, Value::Array(_) | Value::Object(_));
    each_element(item, False, &|value| {
        (!is_list(value) && list.contains(value)).into()
    })
}

/// Number with number, string with string (by UTF-16 units, as JavaScript does); all else is unknown.
fn ordered(item: &Item, operand: &Value, wanted: fn(std::cmp::Ordering) -> bool) -> Truth {
    each_element(item, Unknown, &|value| match (value, operand) {
        (Value::Number(a), Value::Number(b)) => a.partial_cmp(b).is_some_and(wanted).into(),
        (Value::String(a), Value::String(b)) => {
            wanted(a.encode_utf16().cmp(b.encode_utf16())).into()
        }
        _ => Unknown,
    })
}

fn text_of(value: &Value) -> &str {
    if let Value::String(text) = value {
        text
    } else {
        ""
    }
}

/// The operand with its placeholders filled in, `None` where one does not resolve.
fn resolve(operand: &Value, placeholders: &Placeholders) -> Option<Value> {
    match operand {
        Value::String(text) => fill(text, placeholders).map(|text| Value::String(text.into())),
        Value::Array(list) => {
            let list: Option<Vec<Value>> =
                list.iter().map(|one| resolve(one, placeholders)).collect();
            list.map(Value::Array)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Some(operand.clone()),
    }
}

fn fill(text: &str, placeholders: &Placeholders) -> Option<String> {
    let Some((before, (name, after))) = text
        .split_once("${")
        .and_then(|(a, b)| Some((a, b.split_once('}')?)))
    else {
        return Some(text.to_owned());
    };
    let value = match name {
        "user.id" => placeholders.user_id.as_deref()?,
        "subject.id" => placeholders.subject_id.as_deref()?,
        // A key has no session; any other name means nothing here.
        _ => return None,
    };
    Some(format!("{before}{value}{}", fill(after, placeholders)?))
}

/// Whether conditions would be taken on write.
pub fn are_good(conditions: &Value, level: usize) -> bool {
    let reserved = [
        "__defineGetter__",
        "__defineSetter__",
        "__lookupGetter__",
        "__lookupSetter__",
        "__proto__",
        "constructor",
        "hasOwnProperty",
        "isPrototypeOf",
        "propertyIsEnumerable",
        "prototype",
        "toLocaleString",
        "toString",
        "valueOf",
    ];
    level <= 8
        && matches!(conditions, Value::Object(_))
        && members(conditions).iter().all(|(path, operand)| {
            let path_is_good =
                !path.starts_with('$') && !path.split('.').any(|step| reserved.contains(&step));
            path_is_good && (is_scalar(operand) || operators_are_good(operand, level))
        })
}

fn operators_are_good(operators: &Value, level: usize) -> bool {
    let options = member(operators, "$options").map_or("", text_of);
    let has_pattern = matches!(member(operators, "$regex"), Some(Value::String(_)));
    !members(operators).is_empty()
        && members(operators)
            .iter()
            .all(|(name, operand)| match (&**name, operand) {
                ("$eq" | "$ne", operand) => is_scalar(operand),
                ("$lt" | "$lte" | "$gt" | "$gte", Value::Number(_) | Value::String(_)) => {
                    is_scalar(operand)
                }
                ("$in" | "$nin" | "$all", Value::Array(list)) => list.iter().all(is_scalar),
                ("$size", Value::Number(size)) => {
                    *size >= 0.0 && size.fract() == 0.0 && is_scalar(operand)
                }
                ("$exists", Value::Bool(_)) => true,
                ("$regex", Value::String(pattern)) => {
                    pattern::regex(pattern, options, "").is_some()
                }
                ("$options", Value::String(_)) => has_pattern,
                ("$elemMatch", Value::Object(inner)) => {
                    let operators = inner.iter().any(|(name, _)| name.starts_with('$'));
                    let good = if operators {
                        operators_are_good
                    } else {
                        are_good
                    };
                    !inner.is_empty() && good(operand, level + 1)
                }
                _ => false,
            })
}

/// A value that equality can tell: not an array or object, no integer beyond 2^53.
fn is_scalar(value: &Value) -> bool {
    match value {
        Value::Number(n) => n.fract() != 0.0 || n.abs() <= 9_007_199_254_740_992.0,
        Value::Array(_) | Value::Object(_) => false,
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}
