//! One CASL rule as JSON. Reading is total: what cannot be read makes the rule unreadable, which `authz` refuses on
//! write and takes for nothing granted, or for a denial, in data.

use serde_json::{Map, Value as Json};

use super::value::{number_to_json, to_authz, to_json};
use crate::authz::RawRule;

/// The greatest whole number up to which JavaScript tells all of them apart.
const WHOLE_MAX: u64 = 1 << 53;

/// A rule as it is written in requests, answers and the store.
pub fn read_rule(json: &Json) -> RawRule {
    let Json::Object(members) = json else {
        // Whether it would allow or deny is unknown, and so is its priority.
        return RawRule {
            inverted: true,
            priority: Some(f64::INFINITY),
            unreadable: Some("expects an object".to_owned()),
            ..RawRule::default()
        };
    };
    let mut rule = RawRule::default();
    for (name, value) in members {
        if let Err(expected) = read_member(&mut rule, name, value) {
            let fault = || match expected {
                Some(expected) => format!("`{}` expects {expected}", name.escape_debug()),
                None => format!("unknown member `{}`", name.escape_debug()),
            };
            rule.unreadable.get_or_insert_with(fault);
        }
    }
    rule
}

/// What a member was expected to be; `None`: there is no such member.
type Expected = Option<&'static str>;

/// Reads one member. Where it cannot be read, what is left behind is the widest that a denial could have meant.
fn read_member(rule: &mut RawRule, name: &str, value: &Json) -> Result<(), Expected> {
    match name {
        "action" => rule.action = names(value)?,
        "subject" => rule.subject = names(value)?,
        "role" => rule.role = Some(names(value)?),
        "inverted" => {
            rule.inverted = true;
            rule.inverted = value.as_bool().ok_or(Some("`true` or `false`"))?;
        }
        "reason" => rule.reason = Some(value.as_str().ok_or(Some("a string"))?.to_owned()),
        "conditions" => {
            rule.conditions = Some(to_authz(value));
            if !value.is_object() {
                return Err(Some("an object"));
            }
            if has_inexact_number(value) {
                return Err(Some("whole numbers within 2^53"));
            }
        }
        "fields" => rule.fields = Some(strings(value).ok_or(Some("an array of strings"))?),
        "priority" => {
            rule.priority = Some(f64::INFINITY);
            rule.priority = Some(value.as_f64().ok_or(Some("a number"))?);
        }
        _ => return Err(None),
    }
    Ok(())
}

/// A string, or strings of which there is at least one.
fn names(value: &Json) -> Result<Vec<String>, Expected> {
    let names = match value.as_str() {
        Some(name) => Some(vec![name.to_owned()]),
        None => strings(value).filter(|names| !names.is_empty()),
    };
    names.ok_or(Some("a string or a non-empty array of strings"))
}

fn strings(value: &Json) -> Option<Vec<String>> {
    let text = |item: &Json| item.as_str().map(str::to_owned);
    value.as_array()?.iter().map(text).collect()
}

/// Whether a whole number in it would become another one on the way. After it, nobody could tell.
fn has_inexact_number(value: &Json) -> bool {
    match value {
        Json::Number(number) => {
            let whole = number.as_i64().map(i64::unsigned_abs).or(number.as_u64());
            whole.is_some_and(|whole| whole > WHOLE_MAX)
        }
        Json::Array(items) => items.iter().any(has_inexact_number),
        Json::Object(members) => members.values().any(has_inexact_number),
        Json::Null | Json::Bool(_) | Json::String(_) => false,
    }
}

/// The rule with its actions as an array, and so its subjects where it has several. One that was unreadable stays so.
pub fn write_rule(rule: &RawRule) -> Json {
    let mut members = Map::new();
    let mut put = |name: &str, value| {
        members.insert(name.to_owned(), value);
    };
    put("action", rule.action.as_slice().into());
    match rule.subject.as_slice() {
        [] => {}
        [subject] => put("subject", subject.as_str().into()),
        subjects => put("subject", subjects.into()),
    }
    if let Some(role) = &rule.role {
        put("role", role.as_slice().into());
    }
    if rule.inverted {
        put("inverted", true.into());
    }
    if let Some(reason) = &rule.reason {
        put("reason", reason.as_str().into());
    }
    if let Some(conditions) = &rule.conditions {
        put("conditions", to_json(conditions));
    }
    if let Some(fields) = &rule.fields {
        put("fields", fields.as_slice().into());
    }
    if let Some(priority) = rule.priority {
        // One that is no number is written as `null`, which is none either.
        put("priority", number_to_json(priority));
    }
    if let Some(fault) = &rule.unreadable {
        // No rule has such a member, so that it is unreadable again.
        put("unreadable", fault.as_str().into());
    }
    Json::Object(members)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::authz::{PlaceholderValues, Resource, RuleCheck, RuleSet, RuleVerdict};

    #[test]
    fn a_rule_is_read_as_it_is_written() {
        let rule = read_rule(&json!({
            "action": "read", "subject": ["pages", "files"], "role": "editor", "inverted": true, "reason": "no",
            "conditions": {"id": {"$in": [1, "a"]}}, "fields": ["a.*"], "priority": 3
        }));
        assert_eq!(rule.unreadable, None);
        assert_eq!(rule.action, ["read"]);
        assert_eq!(rule.subject, ["pages", "files"]);
        assert_eq!(rule.role, Some(vec!["editor".to_owned()]));
        assert!(rule.inverted);
        assert_eq!(rule.priority, Some(3.0));
        assert_eq!(read_rule(&write_rule(&rule)), rule);
        let least = read_rule(&json!({"action": "read"}));
        assert_eq!((least.unreadable.as_ref(), least.subject.len()), (None, 0));
        assert_eq!(write_rule(&least), json!({"action": ["read"]}));
    }

    #[test]
    fn what_cannot_be_read_is_named_and_refused() {
        for (rule, fault) in [
            (json!(5), "expects an object"),
            (json!({"action": 5}), "`action` expects"),
            (json!({"action": []}), "`action` expects"),
            (json!({"action": "a", "subject": []}), "`subject` expects"),
            (json!({"action": "a", "subject": null}), "`subject` expects"),
            (json!({"action": "a", "role": ["x", 1]}), "`role` expects"),
            (json!({"action": "a", "inverted": 1}), "`inverted` expects"),
            (json!({"action": "a", "reason": {}}), "`reason` expects"),
            (
                json!({"action": "a", "conditions": []}),
                "`conditions` expects",
            ),
            (
                json!({"action": "a", "conditions": {"a": [9_007_199_254_740_993_u64]}}),
                "`conditions` expects",
            ),
            (json!({"action": "a", "fields": "x"}), "`fields` expects"),
            (
                json!({"action": "a", "priority": "1"}),
                "`priority` expects",
            ),
            (
                json!({"action": "a", "priority": null}),
                "`priority` expects",
            ),
            (
                json!({"action": "a", "allow": true}),
                "unknown member `allow`",
            ),
        ] {
            let read = read_rule(&rule);
            let told = read.unreadable.clone().unwrap();
            assert!(told.starts_with(fault), "{told}");
            assert!(RuleSet::validate(std::slice::from_ref(&read)).is_err());
            let again = read_rule(&write_rule(&read));
            assert!(again.unreadable.is_some(), "{rule}");
            assert_eq!(denies(&again), denies(&read), "{rule}");
        }
        let exact =
            read_rule(&json!({"action": "a", "conditions": {"a": 9_007_199_254_740_992_u64}}));
        assert_eq!(RuleSet::validate(&[exact]), Ok(()));
    }

    /// Whether the rule denies to read pages, whatever else allows it.
    fn denies(rule: &RawRule) -> bool {
        let allow = RawRule {
            action: vec!["manage".into()],
            priority: Some(1e9),
            ..RawRule::default()
        };
        let resource = Resource {
            attributes: &[],
            complete: true,
        };
        let check = RuleCheck {
            action: "read",
            subject: "pages",
            resource: &resource,
            field: None,
            any_field: false,
        };
        let rules = [rule.clone(), allow];
        let verdict = RuleSet::compile(&rules, PlaceholderValues::default()).judge(&check);
        verdict == RuleVerdict::Denied(0)
    }

    #[test]
    fn an_unreadable_denial_means_the_widest_that_it_could() {
        for rule in [
            json!(null),
            json!({"action": 1, "subject": "pages", "inverted": true, "priority": 1e10}),
            json!({"action": 1, "subject": 1, "inverted": true, "priority": 1e10}),
            json!({"action": "read", "subject": 1, "inverted": true, "priority": 1e10}),
            json!({"action": "read", "subject": "pages", "inverted": "no", "priority": 1e10}),
            json!({"action": "read", "subject": "pages", "inverted": true, "priority": "low"}),
            json!({"action": "read", "subject": "pages", "inverted": true, "role": 1, "priority": 1e10}),
            json!({"action": "read", "subject": "pages", "inverted": true, "unknown": 1, "priority": 1e10}),
        ] {
            assert!(denies(&read_rule(&rule)), "{rule}");
        }
        assert!(!denies(&read_rule(
            &json!({"action": "write", "inverted": true, "x": 1, "priority": 1e10})
        )));
    }
}
