//! Rules, conditions, patterns and the resources that they are judged on.

use keyward::authz::{RawRule, Value};

use super::Gen;
use crate::model::condition::Placeholders;
use crate::model::rule::{Check, Resource};

const ACTIONS: &[&str] = &["read", "update", "manage"];
const SUBJECTS: &[&str] = &["pages", "files", "all"];
const TEXTS: &[&str] = &["p1", "p2", "w1", "u1", "a", "A", "ab-1", "10", "9", "é", ""];
const NUMBERS: &[f64] = &[0.0, 1.0, 2.0, 3.0, 10.0, -1.0, 1.5];
const FIELDS: &[&str] = &[
    "title",
    "street",
    "st",
    "a",
    "a.b",
    "a.b.c",
    "body.text",
    "x.name",
    "name",
];
const PATHS: &[&str] = &[
    "id",
    "workspaceId",
    "count",
    "tags",
    "tags.0",
    "tags.7",
    "items",
    "items.n",
    "items.tag",
    "items.tags",
    "items.0.n",
    "items.0",
    "meta.author.id",
    "meta.level",
    "meta.note",
    "meta",
    "absent",
    "meta.absent",
    "id.x",
    "items.absent",
];

pub fn text(text: &str) -> Value {
    Value::String(text.into())
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(
        members
            .into_iter()
            .map(|(name, value)| (name.into(), value))
            .collect(),
    )
}

fn scalar(g: &mut Gen) -> Value {
    match g.below(10) {
        0 => Value::Null,
        1 => Value::Bool(g.percent(50)),
        2..=4 => Value::Number(g.one(NUMBERS)),
        _ => text(g.pick(TEXTS)),
    }
}

/// A value of the attribute `name`, mostly of its own type.
fn attribute(g: &mut Gen, name: &str) -> Value {
    if g.percent(8) {
        let any = scalar(g);
        // JavaScript finds characters at the positions of a string.
        let has_positions = ["tags", "items"].contains(&name) && matches!(any, Value::String(_));
        return if has_positions { Value::Null } else { any };
    }
    match name {
        "count" => Value::Number(g.one(NUMBERS)),
        "tags" => Value::Array(g.list(0, 3, scalar)),
        "items" => Value::Array(g.list(0, 3, |g| {
            // Nothing that JavaScript takes for false: CASL would raise an error there.
            if g.percent(10) {
                return g.one(&[text("p1"), Value::Number(2.0), Value::Bool(true)]);
            }
            let mut members = Vec::new();
            for (name, value) in [
                ("n", Value::Number(g.one(NUMBERS))),
                ("tag", scalar(g)),
                ("tags", Value::Array(g.list(0, 2, scalar))),
            ] {
                members.extend(g.maybe(80, |_| (name.into(), value)));
            }
            Value::Object(members)
        })),
        "meta" => object([
            ("author", object([("id", text(g.pick(TEXTS)))])),
            ("level", Value::Number(g.one(NUMBERS))),
            ("note", Value::Null),
        ]),
        _ => text(g.pick(TEXTS)),
    }
}

/// A resource: some attributes, some of them stated without a value, complete or not.
pub fn resource(g: &mut Gen) -> Resource {
    let names = ["id", "workspaceId", "count", "tags", "items", "meta"];
    let mut attributes = Vec::new();
    for name in names {
        if g.percent(75) {
            let value = g.maybe(92, |g| attribute(g, name));
            attributes.push((name.to_owned(), value));
        }
    }
    Resource {
        attributes,
        complete: g.percent(50),
    }
}

/// What lies at a path, by the simplest reading.
fn at(resource: &Resource, path: &str) -> Option<Value> {
    let mut steps = path.split('.');
    let first = steps.next()?;
    let mut value = resource
        .attributes
        .iter()
        .find(|(name, _)| name == first)?
        .1
        .clone()?;
    for step in steps {
        value = match value {
            Value::Object(members) => members.into_iter().find(|(name, _)| **name == *step)?.1,
            Value::Array(elements) => elements.first()?.clone(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
        };
    }
    Some(value)
}

/// A scalar that lies at the path or in the array there, else any.
fn meant(g: &mut Gen, there: &Option<Value>) -> Value {
    match there {
        Some(Value::Array(elements)) if !elements.is_empty() && g.percent(70) => {
            let element = g.one(elements);
            if matches!(element, Value::Object(_) | Value::Array(_)) {
                scalar(g)
            } else {
                element
            }
        }
        Some(value @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)))
            if g.percent(70) =>
        {
            value.clone()
        }
        _ => scalar(g),
    }
}

/// Conditions that are often true of the resource, and rarely malformed.
pub fn conditions(g: &mut Gen, resource: &Resource) -> Value {
    let count = g.one(&[0, 1, 1, 1, 2, 2, 3]);
    let mut members: Vec<(Box<str>, Value)> = Vec::new();
    for path in g.shuffled(PATHS).into_iter().take(count) {
        let operand = operand(g, &at(resource, path));
        members.push((path.into(), operand));
    }
    if g.percent(2) {
        let bad = g.pick(&[
            "$or",
            "$and",
            "$nor",
            "$not",
            "meta.__proto__",
            "constructor",
            "a.prototype.b",
        ]);
        members.push((bad.into(), text("p1")));
    }
    Value::Object(members)
}

fn operand(g: &mut Gen, there: &Option<Value>) -> Value {
    if g.percent(25) {
        return meant(g, there);
    }
    if g.percent(3) {
        return malformed_operand(g);
    }
    let names = [
        "$eq",
        "$ne",
        "$lt",
        "$lte",
        "$gt",
        "$gte",
        "$in",
        "$nin",
        "$all",
        "$size",
        "$regex",
        "$elemMatch",
        "$exists",
    ];
    let mut members: Vec<(Box<str>, Value)> = Vec::new();
    for name in g.shuffled(&names).into_iter().take(g.one(&[1, 1, 1, 2])) {
        members.push((name.into(), operator(g, name, there)));
        if name == "$regex" && g.percent(40) {
            members.push(("$options".into(), text(g.pick(&["i", "m", "s", "im", ""]))));
        }
    }
    Value::Object(members)
}

fn operator(g: &mut Gen, name: &str, there: &Option<Value>) -> Value {
    match name {
        "$eq" | "$ne" if g.percent(10) => text(g.pick(&[
            "${user.id}",
            "${subject.id}",
            "${session.id}",
            "${other}",
            "a${user.id}",
        ])),
        "$eq" | "$ne" => meant(g, there),
        "$lt" | "$lte" | "$gt" | "$gte" => {
            let value = meant(g, there);
            let is_ordered = matches!(value, Value::Number(_) | Value::String(_));
            if is_ordered {
                value
            } else {
                Value::Number(g.one(NUMBERS))
            }
        }
        "$in" | "$nin" | "$all" => {
            let mut list = g.list(0, 2, scalar);
            list.extend(g.maybe(60, |g| meant(g, there)));
            list.extend(g.maybe(5, |g| text(g.pick(&["${user.id}", "${other}"]))));
            Value::Array(list)
        }
        "$size" => match there {
            Some(Value::Array(elements)) if g.percent(60) => Value::Number(elements.len() as f64),
            _ => Value::Number(g.below(3) as f64),
        },
        "$regex" => text(&pattern(g)),
        "$exists" => Value::Bool(g.percent(60)),
        _elem_match => element_match(g, there),
    }
}

fn element_match(g: &mut Gen, there: &Option<Value>) -> Value {
    let element = if let Some(Value::Array(elements)) = there {
        elements.first().cloned()
    } else {
        None
    };
    if !matches!(element, Some(Value::Object(_))) {
        let name = g.pick(&["$in", "$gt", "$lte", "$nin", "$regex"]);
        return Value::Object(vec![(name.into(), operator(g, name, &element))]);
    }
    let name = g.pick(&["n", "tag", "tags", "absent", "tags.0"]);
    let inner = element.and_then(|element| {
        at(
            &Resource {
                attributes: vec![("it".into(), Some(element))],
                complete: true,
            },
            &format!("it.{name}"),
        )
    });
    let condition = operand(g, &inner);
    Value::Object(vec![(name.into(), condition)])
}

fn malformed_operand(g: &mut Gen) -> Value {
    let list = || Value::Array(vec![text("p1")]);
    let (name, value) = g.one(&[
        ("$or", list()),
        ("$not", text("p1")),
        ("$where", text("p1")),
        ("$in", text("p1")),
        ("$nin", Value::Null),
        ("$all", text("p1")),
        ("$lt", Value::Bool(true)),
        ("$gte", Value::Null),
        ("$gt", list()),
        ("$size", text("1")),
        ("$exists", Value::Number(1.0)),
        ("$elemMatch", text("p1")),
        ("$options", text("i")),
        ("$regex", Value::Number(1.0)),
        ("$regex", text("(?=a)")),
        ("$regex", text("a(")),
        ("$regex", text("\\1")),
        ("$regex", text("a*?")),
        ("$regex", text("[[a]]")),
        ("$eq", Value::Number(9_007_199_254_740_994.0)),
    ]);
    object([(name, value)])
}

/// A pattern of the subset.
pub fn pattern(g: &mut Gen) -> String {
    let start = if g.percent(30) { "^" } else { "" };
    let end = if g.percent(30) { "$" } else { "" };
    format!("{start}{}{end}", alternatives(g, 2))
}

fn alternatives(g: &mut Gen, depth: usize) -> String {
    let count = g.one(&[1, 1, 1, 2]);
    let parts: Vec<String> = (0..count)
        .map(|_| g.list(1, 3, |g| piece(g, depth)).concat())
        .collect();
    parts.join("|")
}

fn piece(g: &mut Gen, depth: usize) -> String {
    let atom = match g.below(14) {
        0 => "\\d".to_owned(),
        1 => "\\w".to_owned(),
        2 => "\\s".to_owned(),
        3 => ".".to_owned(),
        4 => return "\\b".to_owned(),
        5 => g.pick(&["\\.", "\\-", "\\/", "\\{"]).to_owned(),
        6 => g
            .pick(&[
                "[a-c]", "[^a]", "[A-Z0-9]", "[\\w-]", "[\\s.]", "[^\\d]", "[+*]",
            ])
            .to_owned(),
        7 | 8 if depth > 0 => {
            let open = g.pick(&["(", "(?:"]);
            format!("{open}{})", alternatives(g, depth - 1))
        }
        _ => g
            .pick(&["a", "b", "p", "1", "A", "-", "\n", " "])
            .to_owned(),
    };
    let quantifier = g.pick(&["", "", "", "", "?", "*", "+", "{1,2}", "{0,2}"]);
    format!("{atom}{quantifier}")
}

/// A text of the letters that patterns are made of. With the option `m` only `\n` ends a line: for other ends the
/// engine has no word, and the implementation says *unknown*.
pub fn pattern_text(g: &mut Gen, options: &str) -> String {
    let letters = [
        "a", "b", "p", "1", "A", "B", "-", ".", " ", "\n", "\u{a0}", "\u{feff}", "é", "_", "$", "{",
    ];
    let other_ends = ["\r", "\u{2028}", "a\u{2029}"];
    g.list(0, 4, |g| {
        let any = !options.contains('m') && g.percent(15);
        g.pick(if any { &other_ends } else { letters.as_slice() })
    })
    .concat()
}

fn field_pattern(g: &mut Gen) -> String {
    let globs = [
        "*", "**", "a.*", "a.**", "st*", "*.name", "*name", "a.*.c", "**.c", "body.t*", "*t*",
    ];
    if g.percent(60) {
        g.pick(&globs).to_owned()
    } else {
        g.pick(FIELDS).to_owned()
    }
}

/// Rules that were made for the check, more or less.
pub fn rules(g: &mut Gen, check: &Check) -> Vec<RawRule> {
    g.list(0, 4, |g| rule(g, check))
}

/// One such rule.
pub fn rule(g: &mut Gen, check: &Check) -> RawRule {
    let named = |g: &mut Gen, asked: &str, all: &[&str]| {
        let mut names = g.list(0, 1, |g| g.pick(all).to_owned());
        if names.is_empty() || g.percent(70) {
            names.push(asked.to_owned());
        }
        names
    };
    RawRule {
        action: named(g, &check.action, ACTIONS),
        subject: if g.percent(10) {
            Vec::new()
        } else {
            named(g, &check.subject, SUBJECTS)
        },
        role: g.maybe(4, |_| vec!["editor".to_owned()]),
        inverted: g.percent(30),
        reason: None,
        conditions: g.maybe(60, |g| conditions(g, &check.resource)),
        fields: g.maybe(20, |g| {
            if g.percent(5) {
                Vec::new()
            } else {
                g.list(1, 2, field_pattern)
            }
        }),
        priority: g.maybe(30, |g| g.below(4) as f64),
        unreadable: g.maybe(1, |_| "a field of the wrong type".to_owned()),
    }
}

/// A check with literal values.
pub fn check(g: &mut Gen) -> Check {
    let field = g.maybe(30, |g| g.pick(FIELDS).to_owned());
    Check {
        action: g.pick(ACTIONS).to_owned(),
        subject: g.pick(SUBJECTS).to_owned(),
        resource: resource(g),
        any_field: field.is_none() && g.percent(20),
        field,
    }
}

/// What placeholders of rules resolve from.
pub fn placeholders(g: &mut Gen) -> Placeholders {
    Placeholders {
        user_id: g.maybe(60, |_| "u1".to_owned()),
        subject_id: g.maybe(60, |_| "w1".to_owned()),
    }
}
