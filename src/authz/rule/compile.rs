//! From a rule as written to what is evaluated; everything that is refused on write is refused here.

use super::Body;
use super::condition::{Bound, Comparison, Condition, Conditions, Operator, Scalar};
use super::field::{FIELD_BYTES_MAX, Fields};
use super::path::Path;
use super::pattern::Pattern;
use super::placeholder::{PlaceholderValues, has_placeholder};
use crate::authz::record::RawRule;
use crate::authz::value::{Value, ValueRef};

/// Rules a key, at most.
pub const RULES_MAX: usize = 256;
/// Conditions a rule, at most: every operator on every attribute counts.
pub const CONDITIONS_MAX: usize = 64;
/// Levels of conditions, at most: the rule's own are the first, each `$elemMatch` opens another.
pub const LEVELS_MAX: usize = 8;
/// Actions a rule, subjects a rule, roles a rule, at most.
pub const NAMES_MAX: usize = 64;
/// Field patterns a rule, at most.
pub const FIELDS_MAX: usize = 64;
/// Values in the list of an operator, at most.
pub const OPERANDS_MAX: usize = 1024;
/// Names in a dotted path, at most.
pub const PATH_SEGMENTS_MAX: usize = 32;
/// Patterns (`$regex`) a key, at most: each takes memory of its own.
pub const PATTERNS_MAX: usize = 32;

/// Names that reach into JavaScript itself: CASL finds in every object what is under them, or fails.
const RESERVED: [&str; 13] = [
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
/// The greatest whole number up to which JavaScript tells all of them apart.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// What is wrong with a rule, and where in it.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) place: String,
    pub(super) message: String,
}

impl Fault {
    fn new(place: &str, message: impl Into<String>) -> Self {
        Self {
            place: place.to_owned(),
            message: message.into(),
        }
    }
}

/// Compiles the rules of one key.
pub(super) struct Compiler<'p> {
    placeholders: PlaceholderValues<'p>,
    /// Of the rule at hand.
    conditions: usize,
    /// Of all rules.
    patterns: usize,
}

type Members = [(Box<str>, Value)];

impl<'p> Compiler<'p> {
    pub(super) fn new(placeholders: PlaceholderValues<'p>) -> Self {
        Self {
            placeholders,
            conditions: 0,
            patterns: 0,
        }
    }

    pub(super) fn rule(&mut self, raw: &RawRule) -> Result<Body, Fault> {
        if let Some(message) = &raw.unreadable {
            return Err(Fault::new("rule", message.as_str()));
        }
        names("action", &raw.action, 1)?;
        names("subject", &raw.subject, 0)?;
        names("role", raw.role.as_deref().unwrap_or_default(), 0)?;
        if raw.priority.is_some_and(|priority| !priority.is_finite()) {
            return Err(Fault::new("priority", "expects a number"));
        }
        let fields = raw.fields.as_deref().map(fields).transpose()?;
        self.conditions = 0;
        let conditions = match raw.conditions.as_ref().map(Value::as_ref) {
            None => Conditions::default(),
            Some(ValueRef::Object(members)) => self.document(members, "conditions", 1)?,
            Some(_) => return Err(Fault::new("conditions", "expects an object")),
        };
        Ok(Body::When { fields, conditions })
    }

    /// Conditions on the attributes of a resource or of an item.
    fn document(
        &mut self,
        members: &Members,
        place: &str,
        level: usize,
    ) -> Result<Conditions, Fault> {
        if level > LEVELS_MAX {
            return Err(Fault::new(place, format!("more than {LEVELS_MAX} levels")));
        }
        let mut conditions = Vec::with_capacity(members.len());
        for (name, operand) in members {
            let place = format!("{place}.{name}");
            let path = path(name, &place)?;
            let first = conditions.len();
            if let Value::Object(operators) = operand {
                self.operators(&path, operators, &place, level, &mut conditions)?;
            } else {
                let operator = self.operator("$eq", operand, &[], &place, level)?;
                conditions.push(Condition { path, operator });
            }
            if has_placeholder(name) {
                // Which attribute they are about cannot be told.
                let about_it = conditions.iter_mut().skip(first);
                about_it.for_each(|condition| condition.operator = Operator::Unknown);
            }
        }
        Ok(Conditions(conditions))
    }

    /// The operators on one attribute, or on an item itself.
    fn operators(
        &mut self,
        path: &Path,
        operators: &Members,
        place: &str,
        level: usize,
        conditions: &mut Vec<Condition>,
    ) -> Result<(), Fault> {
        if !operators.iter().any(|(name, _)| is_operator(name)) {
            return Err(Fault::new(
                place,
                "no value equals an object; write operators or dotted paths",
            ));
        }
        for (name, operand) in operators {
            let place = format!("{place}.{name}");
            if **name == *"$options" {
                // Read with its `$regex`; of its own it would make the condition true of everything.
                if !operators.iter().any(|(other, _)| **other == *"$regex") {
                    return Err(Fault::new(&place, "needs a `$regex` beside it"));
                }
                continue;
            }
            if path.is_itself() {
                check_on_item(name, operand, &place)?;
            }
            let operator = self.operator(name, operand, operators, &place, level)?;
            let path = path.clone();
            conditions.push(Condition { path, operator });
        }
        Ok(())
    }

    fn operator(
        &mut self,
        name: &str,
        operand: &Value,
        siblings: &Members,
        place: &str,
        level: usize,
    ) -> Result<Operator, Fault> {
        self.conditions += 1;
        if self.conditions > CONDITIONS_MAX {
            return Err(Fault::new(
                place,
                format!("more than {CONDITIONS_MAX} conditions"),
            ));
        }
        let operator = match name {
            "$eq" => self.scalar(operand, place)?.map(Operator::Equal),
            "$ne" => self.scalar(operand, place)?.map(Operator::NotEqual),
            "$lt" => self.bound(operand, Comparison::Less, place)?,
            "$lte" => self.bound(operand, Comparison::LessOrEqual, place)?,
            "$gt" => self.bound(operand, Comparison::Greater, place)?,
            "$gte" => self.bound(operand, Comparison::GreaterOrEqual, place)?,
            "$in" => self.list(operand, place)?.map(Operator::In),
            "$nin" => self.list(operand, place)?.map(Operator::NotIn),
            "$all" => self.list(operand, place)?.map(Operator::All),
            "$size" => Some(Operator::Size(size(operand, place)?)),
            "$exists" => Some(Operator::Exists(flag(operand, place)?)),
            "$regex" => self.pattern(operand, siblings, place)?,
            "$elemMatch" => Some(self.item(operand, place, level)?),
            _ => return Err(Fault::new(place, unknown_operator(name))),
        };
        Ok(operator.unwrap_or(Operator::Unknown))
    }

    /// `None`: a placeholder does not resolve.
    fn scalar(&self, operand: &Value, place: &str) -> Result<Option<Scalar>, Fault> {
        Ok(match operand.as_ref() {
            ValueRef::Null => Some(Scalar::Null),
            ValueRef::Bool(bool) => Some(Scalar::Bool(bool)),
            ValueRef::Number(number) => Some(Scalar::Number(exact(number, place)?)),
            ValueRef::String(text) => self
                .placeholders
                .expand(text)
                .map(|text| Scalar::String(text.into())),
            ValueRef::Array(_) | ValueRef::Object(_) => {
                let message =
                    "no value equals an array or object; use `$in`, `$all` or dotted paths";
                return Err(Fault::new(place, message));
            }
        })
    }

    fn list(&self, operand: &Value, place: &str) -> Result<Option<Box<[Scalar]>>, Fault> {
        let Value::Array(items) = operand else {
            return Err(Fault::new(place, "expects an array"));
        };
        if items.len() > OPERANDS_MAX {
            return Err(Fault::new(
                place,
                format!("more than {OPERANDS_MAX} values"),
            ));
        }
        // Every item is looked at, so that a fault is found behind a placeholder too.
        let scalars: Vec<_> = items
            .iter()
            .map(|item| self.scalar(item, place))
            .collect::<Result<_, _>>()?;
        Ok(scalars.into_iter().collect())
    }

    fn bound(
        &self,
        operand: &Value,
        comparison: Comparison,
        place: &str,
    ) -> Result<Option<Operator>, Fault> {
        let bound = match self.scalar(operand, place)? {
            Some(Scalar::Number(number)) => Bound::Number(number),
            Some(Scalar::String(text)) => Bound::String(text),
            Some(Scalar::Null | Scalar::Bool(_)) => {
                return Err(Fault::new(place, "expects a number or a string"));
            }
            None => return Ok(None),
        };
        Ok(Some(Operator::Compare(comparison, bound)))
    }

    fn pattern(
        &mut self,
        operand: &Value,
        siblings: &Members,
        place: &str,
    ) -> Result<Option<Operator>, Fault> {
        let Value::String(pattern) = operand else {
            return Err(Fault::new(place, "expects a string"));
        };
        let options = siblings.iter().find(|(name, _)| **name == *"$options");
        let options = match options.map(|(_, value)| value) {
            None => "",
            Some(Value::String(options)) => options,
            Some(_) => return Err(Fault::new(place, "`$options` expects a string")),
        };
        self.patterns += 1;
        if self.patterns > PATTERNS_MAX {
            return Err(Fault::new(
                place,
                format!("more than {PATTERNS_MAX} patterns in all rules"),
            ));
        }
        let (pattern, resolved) = self.placeholders.expand_pattern(pattern);
        let compiled =
            Pattern::compile(&pattern, options).map_err(|fault| Fault::new(place, fault))?;
        Ok(resolved.then_some(Operator::Match(compiled)))
    }

    /// `$elemMatch`: operators on the item itself, or conditions on its attributes.
    fn item(&mut self, operand: &Value, place: &str, level: usize) -> Result<Operator, Fault> {
        let Value::Object(members) = operand else {
            return Err(Fault::new(place, "expects an object"));
        };
        if members.is_empty() {
            return Err(Fault::new(place, "must not be empty"));
        }
        let on_itself = members.iter().any(|(name, _)| is_operator(name));
        if !on_itself {
            return self.document(members, place, level + 1).map(Operator::Item);
        }
        if level >= LEVELS_MAX {
            return Err(Fault::new(place, format!("more than {LEVELS_MAX} levels")));
        }
        let mut conditions = Vec::with_capacity(members.len());
        self.operators(&Path::default(), members, place, level + 1, &mut conditions)?;
        Ok(Operator::Item(Conditions(conditions)))
    }
}

/// Refuses two operators that mean something else on an item itself in CASL, by accident.
fn check_on_item(name: &str, operand: &Value, place: &str) -> Result<(), Fault> {
    let message = match (name, operand) {
        ("$exists", _) => "an item always exists",
        ("$eq" | "$ne", Value::Null) => "an item is compared with `null` by `$in` or `$nin`",
        _ => return Ok(()),
    };
    Err(Fault::new(place, message))
}

/// Whether a name is that of an operator, known or not. A placeholder begins with `$` too.
fn is_operator(name: &str) -> bool {
    name.starts_with('$') && !name.starts_with("${")
}

fn unknown_operator(name: &str) -> String {
    match name {
        "$or" | "$and" | "$nor" | "$not" => "logical operators are not supported".to_owned(),
        _ if is_operator(name) => "unknown operator".to_owned(),
        _ => "stands among operators and is none".to_owned(),
    }
}

fn path(name: &str, place: &str) -> Result<Path, Fault> {
    if is_operator(name) {
        return Err(Fault::new(place, unknown_operator(name)));
    }
    let path = Path::parse(name);
    if let Some(reserved) = path.names().find(|name| RESERVED.contains(name)) {
        return Err(Fault::new(place, format!("`{reserved}` is no attribute")));
    }
    match path.names().count() {
        0..=PATH_SEGMENTS_MAX => Ok(path),
        _ => Err(Fault::new(
            place,
            format!("more than {PATH_SEGMENTS_MAX} names in a path"),
        )),
    }
}

/// A number that JavaScript has no other number for.
fn exact(number: f64, place: &str) -> Result<f64, Fault> {
    if !number.is_finite() {
        return Err(Fault::new(place, "expects a finite number"));
    }
    if number.fract() == 0.0 && number.abs() > WHOLE_MAX {
        return Err(Fault::new(place, "whole numbers beyond 2^53 are not exact"));
    }
    Ok(number)
}

fn size(operand: &Value, place: &str) -> Result<usize, Fault> {
    if let Value::Number(number) = operand
        && number.fract() == 0.0
        && (0.0..=WHOLE_MAX).contains(number)
    {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole, not negative, and within 2^53"
        )]
        let size = *number as usize;
        return Ok(size);
    }
    Err(Fault::new(
        place,
        "expects a whole number that is not negative",
    ))
}

fn flag(operand: &Value, place: &str) -> Result<bool, Fault> {
    let Value::Bool(flag) = operand else {
        return Err(Fault::new(place, "expects `true` or `false`"));
    };
    Ok(*flag)
}

fn names(place: &str, names: &[String], least: usize) -> Result<(), Fault> {
    if names.len() < least {
        return Err(Fault::new(place, "must not be empty"));
    }
    if names.len() > NAMES_MAX {
        return Err(Fault::new(place, format!("more than {NAMES_MAX} names")));
    }
    match names.iter().any(String::is_empty) {
        true => Err(Fault::new(place, "a name must not be empty")),
        false => Ok(()),
    }
}

fn fields(written: &[String]) -> Result<Fields, Fault> {
    let message = match written.len() {
        0 => "must not be empty".to_owned(),
        1..=FIELDS_MAX => match written
            .iter()
            .find(|text| !(1..=FIELD_BYTES_MAX).contains(&text.len()))
        {
            None => return Ok(Fields::new(written)),
            Some(_) => format!("a field has 1 to {FIELD_BYTES_MAX} bytes"),
        },
        _ => format!("more than {FIELDS_MAX} fields"),
    };
    Err(Fault::new("fields", message))
}
