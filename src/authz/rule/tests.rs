//! What rules mean, case by case.

use super::*;
use crate::authz::value::{Attribute, Value};

/// A small reader of JSON-like literals, so that the cases read as rules are written.
macro_rules! value {
    (null) => { Value::Null };
    ([$($item:tt),*]) => { Value::Array(vec![$(value!($item)),*]) };
    ({$($name:tt : $item:tt),*}) => { Value::Object(vec![$(($name.into(), value!($item))),*]) };
    ($other:expr) => { Value::from_literal($other) };
}

trait FromLiteral<T> {
    fn from_literal(literal: T) -> Value;
}

impl FromLiteral<bool> for Value {
    fn from_literal(literal: bool) -> Value {
        Value::Bool(literal)
    }
}

impl FromLiteral<f64> for Value {
    fn from_literal(literal: f64) -> Value {
        Value::Number(literal)
    }
}

impl FromLiteral<i32> for Value {
    fn from_literal(literal: i32) -> Value {
        Value::Number(literal.into())
    }
}

impl FromLiteral<&str> for Value {
    fn from_literal(literal: &str) -> Value {
        Value::String(literal.into())
    }
}

fn allow(action: &str, subject: &str) -> RawRule {
    RawRule {
        action: vec![action.to_owned()],
        subject: vec![subject.to_owned()],
        ..RawRule::default()
    }
}

fn deny(action: &str, subject: &str) -> RawRule {
    RawRule {
        inverted: true,
        ..allow(action, subject)
    }
}

fn when(rule: RawRule, conditions: Value) -> RawRule {
    RawRule {
        conditions: Some(conditions),
        ..rule
    }
}

fn fields(rule: RawRule, fields: &[&str]) -> RawRule {
    RawRule {
        fields: Some(fields.iter().map(|field| (*field).to_owned()).collect()),
        ..rule
    }
}

fn stated(value: &Value) -> Vec<(&str, Attribute<'_>)> {
    let Value::Object(members) = value else {
        panic!("a resource is an object");
    };
    let members = members.iter();
    members
        .map(|(name, value)| (&**name, Attribute::Known(value.as_ref())))
        .collect()
}

fn check<'a>(resource: &'a Resource<'a>, field: Option<&'a str>) -> RuleCheck<'a> {
    RuleCheck {
        action: "read",
        subject: "pages",
        resource,
        field,
        any_field: false,
    }
}

fn judge(rules: &[RawRule], attributes: &Value, complete: bool) -> RuleVerdict {
    let stated = stated(attributes);
    let resource = Resource {
        attributes: &stated,
        complete,
    };
    RuleSet::compile(rules, PlaceholderValues::default()).judge(&check(&resource, None))
}

/// What one condition comes to, told by an allow and a deny: true, false or (`None`) unknown.
fn truth(conditions: &Value, attributes: &Value, complete: bool) -> Option<bool> {
    let verdict = |rule| judge(&[when(rule, conditions.clone())], attributes, complete);
    let allowed = verdict(allow("read", "pages")) == RuleVerdict::Allowed(0);
    let denied = verdict(deny("read", "pages")) == RuleVerdict::Denied(0);
    match (allowed, denied) {
        (true, true) => Some(true),
        (false, false) => Some(false),
        (false, true) => None,
        (true, false) => panic!("allowed where not denied: {conditions:?}"),
    }
}

#[test]
fn a_rule_concerns_its_actions_and_subjects() {
    let nothing = value!({});
    for (action, subject, expected) in [
        ("read", "pages", true),
        ("manage", "pages", true),
        ("read", "all", true),
        ("manage", "all", true),
        ("write", "pages", false),
        ("read", "page", false),
        ("read", "pages:x", false),
        ("Read", "pages", false),
    ] {
        let allowed = judge(&[allow(action, subject)], &nothing, true) == RuleVerdict::Allowed(0);
        assert_eq!(allowed, expected, "{action} {subject}");
    }
    let no_subject = RawRule {
        subject: vec![],
        ..allow("read", "")
    };
    assert_eq!(
        judge(&[no_subject], &nothing, true),
        RuleVerdict::Allowed(0)
    );
    assert_eq!(judge(&[], &nothing, true), RuleVerdict::NoMatch);
}

#[test]
fn asking_for_manage_or_all_consults_only_rules_for_them() {
    let resource = Resource {
        complete: true,
        ..Resource::default()
    };
    let ask = |rules: &[RawRule], action, subject| {
        let check = RuleCheck {
            action,
            subject,
            ..check(&resource, None)
        };
        RuleSet::compile(rules, PlaceholderValues::default()).judge(&check)
    };
    assert_eq!(
        ask(&[allow("read", "all")], "manage", "all"),
        RuleVerdict::NoMatch
    );
    assert_eq!(
        ask(&[allow("manage", "pages")], "read", "all"),
        RuleVerdict::NoMatch
    );
    let rules = [allow("manage", "all"), deny("delete", "all")];
    assert_eq!(ask(&rules, "manage", "all"), RuleVerdict::Allowed(0));
}

#[test]
fn the_last_rule_that_applies_decides() {
    let with_priority = |rule, priority| RawRule {
        priority: Some(priority),
        ..rule
    };
    let nothing = value!({});
    let verdict = |rules: &[RawRule]| judge(rules, &nothing, true);
    let (yes, no) = (|| allow("read", "pages"), || deny("read", "pages"));
    // Without priority, a deny beats an allow in any order.
    assert_eq!(verdict(&[no(), yes()]), RuleVerdict::Denied(0));
    assert_eq!(verdict(&[yes(), no()]), RuleVerdict::Denied(1));
    // Of equals the last decides.
    assert_eq!(verdict(&[yes(), yes()]), RuleVerdict::Allowed(1));
    assert_eq!(verdict(&[no(), no(), yes()]), RuleVerdict::Denied(1));
    // Any priority beats none, a higher one a lower one, and of equal ones the last decides.
    assert_eq!(
        verdict(&[with_priority(yes(), -1.0), no()]),
        RuleVerdict::Allowed(0)
    );
    assert_eq!(
        verdict(&[with_priority(yes(), 2.0), with_priority(no(), 1.0)]),
        RuleVerdict::Allowed(0)
    );
    assert_eq!(
        verdict(&[with_priority(no(), 1.0), with_priority(yes(), 1.0)]),
        RuleVerdict::Allowed(1)
    );
    assert_eq!(
        verdict(&[with_priority(yes(), 0.0), with_priority(no(), -0.0)]),
        RuleVerdict::Denied(1)
    );
}

#[test]
fn a_rule_for_roles_is_none_for_keys() {
    let for_role = |rule| RawRule {
        role: Some(vec!["editor".to_owned()]),
        ..rule
    };
    let nothing = value!({});
    assert_eq!(
        judge(&[for_role(allow("read", "pages"))], &nothing, true),
        RuleVerdict::NoMatch
    );
    let rules = [allow("read", "pages"), for_role(deny("read", "pages"))];
    assert_eq!(judge(&rules, &nothing, true), RuleVerdict::Allowed(0));
    assert_eq!(RuleSet::validate(&rules), Ok(()));
}

#[test]
fn what_is_not_stated_is_unknown_unless_the_resource_is_complete() {
    let condition = value!({"id": "p1"});
    assert_eq!(truth(&condition, &value!({"id": "p1"}), false), Some(true));
    assert_eq!(truth(&condition, &value!({"id": "p2"}), false), Some(false));
    assert_eq!(truth(&condition, &value!({}), false), None);
    assert_eq!(truth(&condition, &value!({}), true), Some(false));
    for operator in [
        value!({"$ne": 1}),
        value!({"$nin": [1]}),
        value!({"$exists": false}),
        value!({"$exists": true}),
    ] {
        let condition = Value::Object(vec![("a".into(), operator)]);
        assert_eq!(truth(&condition, &value!({}), false), None, "{condition:?}");
        assert!(
            truth(&condition, &value!({}), true).is_some(),
            "{condition:?}"
        );
    }
    let unknown = [("id", Attribute::Unknown)];
    let stated = Resource {
        attributes: &unknown,
        complete: true,
    };
    let rules = [when(
        deny("read", "pages"),
        value!({"id": {"$exists": true}}),
    )];
    let set = RuleSet::compile(&rules, PlaceholderValues::default());
    assert_eq!(set.judge(&check(&stated, None)), RuleVerdict::Denied(0));
}

#[test]
fn false_beats_unknown_and_true_beats_unknown() {
    assert_eq!(
        truth(&value!({"a": 1, "b": 2}), &value!({"b": 3}), false),
        Some(false)
    );
    assert_eq!(
        truth(&value!({"a": 1, "b": 2}), &value!({"b": 2}), false),
        None
    );
    assert_eq!(
        truth(&value!({"a": {"$gt": 1}}), &value!({"a": ["x", 2]}), false),
        Some(true)
    );
    assert_eq!(
        truth(&value!({"a": {"$gt": 1}}), &value!({"a": ["x", 0]}), false),
        None
    );
}

/// What the cases below are evaluated on, as a complete resource.
fn sample() -> Value {
    value!({
        "n": 5, "s": "abc", "z": null, "t": true,
        "list": [1, 2, 3], "empty": [], "nested": {"x": {"y": 1}, "z": null},
        "items": [{"a": 1, "tags": ["x"]}, {"a": 2, "tags": []}, {"b": null}],
        "holes": [null, {"a": 1}], "words": ["ab", "cd"], "deep": [[1, 2], [3]], "pairs": [[{"x": 1}]]
    })
}

fn agree(cases: &[(Value, Option<bool>)]) {
    for (conditions, expected) in cases {
        assert_eq!(
            truth(conditions, &sample(), true),
            *expected,
            "{conditions:?}"
        );
    }
}

#[test]
fn equality_is_strict_and_ordering_keeps_to_its_type() {
    agree(&[
        (value!({}), Some(true)),
        (value!({"n": 5}), Some(true)),
        (value!({"n": "5"}), Some(false)),
        (value!({"t": 1}), Some(false)),
        (value!({"n": {"$eq": 5, "$ne": 6}}), Some(true)),
        (value!({"list": 2}), Some(true)),
        (value!({"list": {"$ne": 2}}), Some(false)),
        (value!({"z": null}), Some(true)),
        (value!({"missing": null}), Some(true)),
        (value!({"nested.z": null}), Some(true)),
        (value!({"nested.q": null}), Some(true)),
        (value!({"missing.q": null}), Some(false)),
        (value!({"n.q": null}), Some(false)),
        (value!({"missing": {"$ne": null}}), Some(false)),
        (value!({"items.b": null}), Some(true)),
        (value!({"missing": {"$ne": 1}}), Some(true)),
        (value!({"n": {"$lt": 6}}), Some(true)),
        (value!({"n": {"$lte": 5, "$gte": 5}}), Some(true)),
        (value!({"n": {"$gt": 5}}), Some(false)),
        (value!({"n": {"$lt": "6"}}), None),
        (value!({"s": {"$lt": 5}}), None),
        (value!({"missing": {"$lt": 5}}), None),
        (value!({"z": {"$gt": 5}}), None),
        (value!({"t": {"$gt": 0}}), None),
        (value!({"empty": {"$gt": 0}}), Some(false)),
        (value!({"list": {"$gt": 2, "$lt": 2}}), Some(true)),
        (value!({"s": {"$gt": "abb"}}), Some(true)),
    ]);
}

#[test]
fn lists_sizes_and_patterns() {
    agree(&[
        (value!({"n": {"$in": [4, 5]}}), Some(true)),
        (value!({"n": {"$in": []}}), Some(false)),
        (value!({"list": {"$in": [9, 3]}}), Some(true)),
        (value!({"missing": {"$in": [null]}}), Some(false)),
        (value!({"z": {"$in": [null]}}), Some(true)),
        (value!({"missing": {"$nin": [1]}}), Some(true)),
        (value!({"list": {"$nin": [1]}}), Some(false)),
        (value!({"list": {"$all": [1, 3]}}), Some(true)),
        (value!({"list": {"$all": [1, 4]}}), Some(false)),
        (value!({"list": {"$all": []}}), Some(true)),
        (value!({"n": {"$all": []}}), Some(false)),
        (value!({"missing": {"$all": []}}), Some(false)),
        (value!({"list": {"$size": 3}}), Some(true)),
        (value!({"n": {"$size": 1}}), Some(false)),
        (value!({"items.tags": {"$size": 0}}), Some(true)),
        (value!({"items.tags": {"$size": 2}}), Some(false)),
        (value!({"s": {"$regex": "^a.c$"}}), Some(true)),
        (value!({"s": {"$regex": "B", "$options": "i"}}), Some(true)),
        (value!({"n": {"$regex": "5"}}), Some(false)),
        (value!({"missing": {"$regex": "a"}}), Some(false)),
        (value!({"words": {"$regex": "^c"}}), Some(true)),
    ]);
}

#[test]
fn paths_walk_objects_and_arrays() {
    agree(&[
        (value!({"z": {"$exists": true}}), Some(true)),
        (value!({"missing": {"$exists": false}}), Some(true)),
        (value!({"missing.x": {"$exists": false}}), Some(true)),
        (value!({"n.x": {"$exists": false}}), Some(true)),
        (value!({"s.0": {"$size": 1}}), Some(false)),
        (value!({"s.0": null}), Some(false)),
        (value!({"s.0": "a"}), Some(false)),
        (value!({"list.1": {"$exists": true}}), Some(true)),
        (value!({"list.3": {"$exists": true}}), Some(false)),
        (value!({"items.b": {"$exists": true}}), Some(true)),
        (value!({"nested.x.y": 1}), Some(true)),
        (value!({"items.a": 2}), Some(true)),
        (value!({"items.1.a": 2}), Some(true)),
        (value!({"items.9.a": 2}), Some(false)),
        (value!({"items.tags": "x"}), Some(true)),
        (value!({"items.tags.0": "x"}), Some(true)),
        (value!({"items.tags.1": "x"}), Some(false)),
        (value!({"list": {"$elemMatch": {"$gt": 3}}}), Some(false)),
        (value!({"empty": {"$elemMatch": {"a": 1}}}), Some(false)),
        (value!({"holes": {"$elemMatch": {"a": 1}}}), Some(true)),
        (value!({"holes": {"$elemMatch": {"a": {"$in": [2]}}}}), None),
        (value!({"deep": {"$elemMatch": {"$size": 2}}}), Some(true)),
        (value!({"deep.0.1": 2}), Some(true)),
        (value!({"deep": 1}), Some(false)),
    ]);
}

#[test]
fn what_casl_has_no_answer_for_is_unknown() {
    // CASL raises an error, or JavaScript has a property that JSON has not.
    agree(&[
        (value!({"holes.a": 1}), None),
        (value!({"words.length": 2}), None),
        (value!({"s.0": {"$exists": true}}), None),
        (value!({"s.length": {"$exists": false}}), None),
        (value!({"pairs.x": {"$size": 1}}), None),
        (value!({"words.length": {"$exists": true}}), None),
    ]);
}

#[test]
fn strings_are_ordered_as_javascript_orders_them() {
    // U+FF5E comes before U+1F600 among characters and behind it among the units of UTF-16.
    let condition = value!({"s": {"$lt": "\u{ff5e}"}});
    assert_eq!(
        truth(&condition, &value!({"s": "\u{1f600}"}), true),
        Some(true)
    );
}

#[test]
fn fields_limit_a_rule() {
    let resource = Resource {
        complete: true,
        ..Resource::default()
    };
    let verdict = |rules: &[RawRule], field, any_field| {
        let check = RuleCheck {
            any_field,
            ..check(&resource, field)
        };
        RuleSet::compile(rules, PlaceholderValues::default()).judge(&check)
    };
    let some = [fields(allow("read", "pages"), &["title", "meta.*"])];
    let whole = [fields(allow("read", "pages"), &["title", "**"])];
    let hidden = [
        allow("read", "pages"),
        fields(deny("read", "pages"), &["secret"]),
    ];
    assert_eq!(
        verdict(&some, Some("title"), false),
        RuleVerdict::Allowed(0)
    );
    assert_eq!(
        verdict(&some, Some("meta.x"), false),
        RuleVerdict::Allowed(0)
    );
    assert_eq!(verdict(&some, Some("body"), false), RuleVerdict::NoMatch);
    assert_eq!(verdict(&some, None, false), RuleVerdict::NoMatch);
    assert_eq!(verdict(&some, Some(""), false), RuleVerdict::NoMatch);
    assert_eq!(verdict(&some, None, true), RuleVerdict::Allowed(0));
    assert_eq!(verdict(&whole, None, false), RuleVerdict::Allowed(0));
    assert_eq!(
        verdict(&hidden, Some("title"), false),
        RuleVerdict::Allowed(0)
    );
    assert_eq!(
        verdict(&hidden, Some("secret"), false),
        RuleVerdict::Denied(1)
    );
    assert_eq!(verdict(&hidden, None, false), RuleVerdict::Denied(1));
    assert_eq!(verdict(&hidden, None, true), RuleVerdict::Allowed(0));
    let long = "a".repeat(FIELD_BYTES_MAX + 1);
    assert_eq!(verdict(&whole, Some(&long), false), RuleVerdict::NoMatch);
    assert_eq!(verdict(&hidden, Some(&long), false), RuleVerdict::Denied(1));
}

#[test]
fn placeholders_resolve_or_leave_the_condition_unknown() {
    let attributes = value!({"owner": "u.1", "tags": ["u.1"], "path": "/home/u.1/x"});
    let stated = stated(&attributes);
    let resource = Resource {
        attributes: &stated,
        complete: true,
    };
    let verdicts = |conditions: &Value, placeholders| {
        [allow("read", "pages"), deny("read", "pages")].map(|rule| {
            let rules = [when(rule, conditions.clone())];
            RuleSet::compile(&rules, placeholders).judge(&check(&resource, None))
                != RuleVerdict::NoMatch
        })
    };
    let known = PlaceholderValues {
        user_id: Some("u.1"),
        ..PlaceholderValues::default()
    };
    let other = PlaceholderValues {
        user_id: Some("ux1"),
        ..PlaceholderValues::default()
    };
    let (yes, no, unknown) = ([true, true], [false, false], [false, true]);
    for conditions in [
        value!({"owner": "${user.id}"}),
        value!({"owner": "{{user.id}}"}),
        value!({"owner": {"$in": ["x", "${user.id}"]}}),
        value!({"tags": {"$elemMatch": {"$eq": "${user.id}"}}}),
        value!({"path": "/home/${user.id}/x"}),
        value!({"path": {"$regex": "^/home/${user.id}/[a-z]$"}}),
    ] {
        assert_eq!(verdicts(&conditions, known), yes, "{conditions:?}");
        assert_eq!(verdicts(&conditions, other), no, "{conditions:?}");
        assert_eq!(
            verdicts(&conditions, PlaceholderValues::default()),
            unknown,
            "{conditions:?}"
        );
        assert_eq!(
            RuleSet::validate(&[when(deny("read", "pages"), conditions)]),
            Ok(())
        );
    }
    for conditions in [
        value!({"owner": "${user.name}"}),
        value!({"owner": "${}"}),
        value!({"owner": {"$ne": "${session.id}"}}),
        value!({"owner": {"$nin": ["u.1", "${subject.id}"]}}),
        value!({"by.${user.id}": {"$ne": 1, "$exists": false}}),
    ] {
        assert_eq!(verdicts(&conditions, known), unknown, "{conditions:?}");
    }
    assert_eq!(
        verdicts(&value!({"owner": {"$ne": "${user.id"}}), known),
        yes
    );
}

/// Refused on write with this place; met in data, an allow grants nothing and a deny applies.
fn refuse(conditions: &Value, place: &str) {
    let rules = [
        allow("read", "pages"),
        when(allow("read", "pages"), conditions.clone()),
    ];
    let fault = RuleSet::validate(&rules).unwrap_err();
    assert_eq!((fault.rule, &*fault.place), (1, place), "{conditions:?}");
    let judged = truth(conditions, &value!({"a": 1}), true);
    assert_eq!(judged, None, "{conditions:?}");
}

#[test]
fn an_operand_of_a_wrong_type_is_refused() {
    for (operators, name) in [
        (value!({"$ne": {}}), "$ne"),
        (value!({"$eq": [1]}), "$eq"),
        (value!({"$in": [[1]]}), "$in"),
        (value!({"$in": "x"}), "$in"),
        (value!({"$in": [(-1e300)]}), "$in"),
        (value!({"$nin": null}), "$nin"),
        (value!({"$all": {}}), "$all"),
        (value!({"$gt": true}), "$gt"),
        (value!({"$lte": null}), "$lte"),
        (value!({"$lt": [1]}), "$lt"),
        (value!({"$size": 1.5}), "$size"),
        (value!({"$size": "1"}), "$size"),
        (value!({"$exists": 1}), "$exists"),
        (value!({"$regex": 1}), "$regex"),
        (value!({"$regex": "(?=a)"}), "$regex"),
        (value!({"$regex": "a", "$options": "g"}), "$regex"),
        (value!({"$regex": "a", "$options": 1}), "$regex"),
        (value!({"$options": "i"}), "$options"),
        (value!({"$elemMatch": [1]}), "$elemMatch"),
        (value!({"$elemMatch": {}}), "$elemMatch"),
    ] {
        let conditions = Value::Object(vec![("a".into(), operators)]);
        refuse(&conditions, &format!("conditions.a.{name}"));
    }
}

#[test]
fn what_casl_takes_for_something_else_is_refused() {
    refuse(&value!({"$or": [{"a": 1}]}), "conditions.$or");
    refuse(&value!({"a": {"$not": {"$eq": 1}}}), "conditions.a.$not");
    refuse(&value!({"a": {"$mod": [2, 0]}}), "conditions.a.$mod");
    refuse(&value!({"a": {"$eq": 1, "b": 2}}), "conditions.a.b");
    refuse(&value!({"a": {}}), "conditions.a");
    refuse(&value!({"a": {"b": 1}}), "conditions.a");
    refuse(&value!({"a": [1]}), "conditions.a");
    let inner = |operators| {
        let item = Value::Object(vec![("$elemMatch".into(), operators)]);
        Value::Object(vec![("a".into(), item)])
    };
    let place = "conditions.a.$elemMatch";
    refuse(&inner(value!({"$or": []})), &format!("{place}.$or"));
    refuse(&inner(value!({"b": {"$x": 1}})), &format!("{place}.b.$x"));
    refuse(&inner(value!({"$gt": 1, "b": 1})), &format!("{place}.b"));
    refuse(
        &inner(value!({"$exists": true})),
        &format!("{place}.$exists"),
    );
    refuse(&inner(value!({"$ne": null})), &format!("{place}.$ne"));
    refuse(&value!({"__proto__": 1}), "conditions.__proto__");
    refuse(
        &value!({"a.constructor.b": 1}),
        "conditions.a.constructor.b",
    );
    refuse(&value!({"a.prototype": 1}), "conditions.a.prototype");
    refuse(&value!({"a": 9007199254740994.0}), "conditions.a");
    refuse(&value!(1), "conditions");
    refuse(&value!(null), "conditions");
    let exact = when(allow("a", "b"), value!({"a": 9007199254740992.0}));
    assert_eq!(RuleSet::validate(&[exact]), Ok(()));
}

fn malformed(rule: RawRule) -> RawRule {
    let unreadable = Some("unknown field".to_owned());
    RawRule { unreadable, ..rule }
}

/// The verdict on a rule that is refused on write, behind an allow.
fn behind_an_allow(rule: RawRule) -> RuleVerdict {
    assert!(
        RuleSet::validate(std::slice::from_ref(&rule)).is_err(),
        "{rule:?}"
    );
    judge(&[allow("read", "pages"), rule], &value!({}), true)
}

#[test]
#[rustfmt::skip]
fn a_malformed_deny_applies_to_what_it_concerns() {
    for rule in [
        malformed(deny("read", "pages")),
        malformed(RawRule { action: vec![], ..deny("", "pages") }),
        malformed(RawRule { role: Some(vec!["editor".into()]), ..deny("read", "pages") }),
        RawRule { action: vec![], ..deny("", "pages") },
        fields(deny("read", "pages"), &[]),
        fields(deny("read", "pages"), &[""]),
        RawRule { priority: Some(f64::NAN), ..deny("read", "pages") },
    ] {
        assert_eq!(behind_an_allow(rule), RuleVerdict::Denied(1));
    }
    for rule in [malformed(deny("write", "pages")), malformed(deny("read", "files"))] {
        assert_eq!(behind_an_allow(rule), RuleVerdict::Allowed(0));
    }
    // A priority that cannot be read may be the highest.
    let unreadable = RawRule { priority: Some(f64::NAN), ..deny("read", "pages") };
    let high = RawRule { priority: Some(7.0), ..allow("read", "pages") };
    assert_eq!(judge(&[unreadable, high], &value!({}), true), RuleVerdict::Denied(0));
}

#[test]
#[rustfmt::skip]
fn a_malformed_allow_grants_nothing() {
    for rule in [
        malformed(allow("read", "pages")),
        RawRule { action: vec![], ..allow("", "pages") },
        fields(allow("read", "pages"), &[]),
        RawRule { priority: Some(f64::INFINITY), ..allow("read", "pages") },
    ] {
        assert_eq!(behind_an_allow(rule), RuleVerdict::Allowed(0));
    }
}

#[test]
fn limits_are_refused_and_trusted_no_further_in_data() {
    let nothing = value!({});
    let many = vec![allow("read", "pages"); RULES_MAX + 1];
    assert!(RuleSet::validate(&many).is_err());
    assert_eq!(RuleSet::validate(&many[1..]), Ok(()));
    assert_eq!(judge(&many, &nothing, true), RuleVerdict::NoMatch);
    assert_eq!(judge(&many[1..], &nothing, true), RuleVerdict::Allowed(255));

    let attributes = |count: usize| {
        let members = (0..count).map(|n| (format!("a{n}").into(), Value::Null));
        [when(
            allow("read", "pages"),
            Value::Object(members.collect()),
        )]
    };
    assert_eq!(RuleSet::validate(&attributes(CONDITIONS_MAX)), Ok(()));
    assert!(RuleSet::validate(&attributes(CONDITIONS_MAX + 1)).is_err());

    let nested = |levels: usize| {
        let mut conditions = value!({"a": 1});
        for _ in 1..levels {
            let inner = Value::Object(vec![("$elemMatch".into(), conditions)]);
            conditions = Value::Object(vec![("a".into(), inner)]);
        }
        [when(allow("read", "pages"), conditions)]
    };
    assert_eq!(RuleSet::validate(&nested(LEVELS_MAX)), Ok(()));
    assert!(RuleSet::validate(&nested(LEVELS_MAX + 1)).is_err());

    let path = |names: usize| {
        let path = vec!["a"; names].join(".");
        [when(
            allow("read", "pages"),
            Value::Object(vec![(path.into(), Value::Null)]),
        )]
    };
    assert_eq!(RuleSet::validate(&path(PATH_SEGMENTS_MAX)), Ok(()));
    assert!(RuleSet::validate(&path(PATH_SEGMENTS_MAX + 1)).is_err());

    let pattern = when(allow("read", "pages"), value!({"a": {"$regex": "a"}}));
    assert_eq!(
        RuleSet::validate(&vec![pattern.clone(); PATTERNS_MAX]),
        Ok(())
    );
    assert!(RuleSet::validate(&vec![pattern; PATTERNS_MAX + 1]).is_err());
}

#[test]
fn judging_allocates_nothing() {
    let rules = [
        when(
            allow("read", "pages"),
            value!({"id": {"$in": ["p1", "p2"]}, "items.a": {"$gt": 1}}),
        ),
        when(
            fields(deny("read", "pages"), &["a.*.b", "c**"]),
            value!({"name": {"$regex": "^x\\d+$"}}),
        ),
        when(
            deny("read", "pages"),
            value!({"items": {"$elemMatch": {"a": {"$gte": "z"}, "b": 1}}}),
        ),
    ];
    assert_eq!(RuleSet::validate(&rules), Ok(()));
    let set = RuleSet::compile(&rules, PlaceholderValues::default());
    let attributes = value!({"id": "p2", "name": "y12", "items": [{"a": 1}, {"a": 2, "b": 2}]});
    let stated = stated(&attributes);
    let resource = Resource {
        attributes: &stated,
        complete: true,
    };
    let check = check(&resource, Some("a.x.b"));
    // The engine makes room for itself at the first use.
    assert_eq!(set.judge(&check), RuleVerdict::Allowed(0));
    let counted = allocation_counter::measure(|| {
        std::hint::black_box(set.judge(std::hint::black_box(&check)));
    });
    assert_eq!(counted.count_total, 0);
}
