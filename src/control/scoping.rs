//! What keeps the rules of a workspace's key inside the workspace: a condition forced into each of them.
//!
//! Pure. It knows rules as written and the platform's names, no store and no request.

use super::command::{InvalidInput, WorkspaceId, check_grants};
use crate::authz::{RULES_MAX, RawGrants, RawRule, Value};
use crate::wire::grants;

/// Subjects that name the workspace they belong to by an attribute of their own.
const SCOPED: [(&str, &str); 3] = [
    ("automations", "runningWorkspaceId"),
    ("events", "source.workspaceId"),
    ("workspaces", "id"),
];
/// The attribute of every other subject.
const SCOPED_OTHERWISE: &str = "workspaceId";
/// The subject that stands for any.
const ANY_SUBJECT: &str = "all";
/// Most bytes of the rules of one key as they are stored.
const BYTES_MAX: usize = 1024 * 1024;

/// Rules as a key of this workspace holds them: one subject each, and the condition that this is the workspace.
/// A rule for `all` becomes one for each subject with an attribute of its own, and one for the rest. That last one
/// states the attribute of the rest already, and so stays what it is: rules that come back from an answer do not change.
///
/// # Errors
/// A rule that is refused on write, that has no subject, that states another workspace, or is one too many once
/// they are split.
pub(super) fn scoped(
    workspace: &WorkspaceId,
    written: Vec<RawRule>,
) -> Result<RawGrants, InvalidInput> {
    let written = RawGrants::Workspace { rules: written };
    check_grants(&written)?;
    let RawGrants::Workspace { rules: written } = written else {
        return Ok(written);
    };
    let mut rules = Vec::with_capacity(written.len());
    for (index, rule) in written.iter().enumerate() {
        if rule.subject.is_empty() {
            return Err(fault(index, "subject", "is missing"));
        }
        for subject in rule.subject.iter().flat_map(|name| subjects(name, rule)) {
            if rules.len() == RULES_MAX {
                let problem = format!("are more than {RULES_MAX} once each has one subject");
                return Err(InvalidInput::new("rules", problem));
            }
            rules.push(scoped_rule(workspace, index, rule, subject)?);
        }
    }
    let grants = RawGrants::Workspace { rules };
    check_grants(&grants)?;
    if grants::to_text(&grants).len() > BYTES_MAX {
        let problem = format!("take more than {BYTES_MAX} bytes once each has one subject");
        return Err(InvalidInput::new("rules", problem));
    }
    Ok(grants)
}

/// The subjects that a name stands for in a rule.
fn subjects<'n>(name: &'n str, rule: &RawRule) -> Vec<&'n str> {
    let own = SCOPED.iter().map(|(subject, _)| *subject);
    match name {
        ANY_SUBJECT if !states(rule, SCOPED_OTHERWISE) => own.chain([ANY_SUBJECT]).collect(),
        name => vec![name],
    }
}

/// Whether a rule has a condition on an attribute.
fn states(rule: &RawRule, attribute: &str) -> bool {
    match &rule.conditions {
        Some(Value::Object(members)) => members.iter().any(|(name, _)| **name == *attribute),
        Some(_) | None => false,
    }
}

/// The attribute of a subject that names its workspace.
fn attribute_of(subject: &str) -> &'static str {
    SCOPED
        .iter()
        .find(|(own, _)| *own == subject)
        .map_or(SCOPED_OTHERWISE, |(_, attribute)| attribute)
}

fn scoped_rule(
    workspace: &WorkspaceId,
    index: usize,
    rule: &RawRule,
    subject: &str,
) -> Result<RawRule, InvalidInput> {
    let attribute = attribute_of(subject);
    let mut conditions = match &rule.conditions {
        Some(Value::Object(members)) => members.clone(),
        Some(_) | None => Vec::new(),
    };
    match conditions.iter().find(|(name, _)| **name == *attribute) {
        None => {
            let here = Value::String(workspace.as_str().into());
            conditions.push((attribute.into(), here));
        }
        Some((_, stated)) if is(stated, workspace) => {}
        Some(_) => {
            let place = format!("conditions.{attribute}");
            let workspace = workspace.as_str();
            let problem = format!(
                "is `{workspace}` in a rule for `{subject}`, or absent: keys do not reach beyond their workspace"
            );
            return Err(fault(index, &place, problem));
        }
    }
    Ok(RawRule {
        subject: vec![subject.to_owned()],
        conditions: Some(Value::Object(conditions)),
        ..rule.clone()
    })
}

/// Whether a condition says that the attribute is this workspace, and nothing else.
fn is(stated: &Value, workspace: &WorkspaceId) -> bool {
    match stated {
        Value::String(id) => **id == *workspace.as_str(),
        Value::Object(operators) => match operators.as_slice() {
            [(operator, Value::String(id))] => **operator == *"$eq" && **id == *workspace.as_str(),
            _ => false,
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => false,
    }
}

fn fault(rule: usize, place: &str, problem: impl std::fmt::Display) -> InvalidInput {
    InvalidInput::new(format!("rules[{rule}].{place}"), problem)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::authz::{
        Attribute, PlaceholderValues, Resource, RuleCheck, RuleSet, RuleVerdict, ValueRef,
    };
    use crate::wire::rule::read_rule;

    fn written(rules: &Json) -> Result<Vec<RawRule>, InvalidInput> {
        let workspace = WorkspaceId::parse("w1").unwrap();
        let rules = rules.as_array().unwrap().iter().map(read_rule).collect();
        match scoped(&workspace, rules)? {
            RawGrants::Workspace { rules } => Ok(rules),
            RawGrants::Org { .. } | RawGrants::Access(_) => panic!("another family"),
        }
    }

    fn shown(rules: &Json) -> Json {
        let rules = written(rules).unwrap();
        grants::to_json(&RawGrants::Workspace { rules })["rules"].take()
    }

    fn field(rules: &Json) -> String {
        written(rules).unwrap_err().field
    }

    #[test]
    fn every_rule_has_one_subject_and_stays_in_the_workspace() {
        let rules = json!([{
            "action": "read", "subject": ["workspaces", "pages", "files", "apps", "events", "automations", "reports"],
            "conditions": {"slug": "s"}, "fields": ["a.*"], "priority": 3, "reason": "r", "inverted": true,
        }]);
        let shown = shown(&rules);
        let attributes = [
            ("workspaces", "id"),
            ("pages", "workspaceId"),
            ("files", "workspaceId"),
            ("apps", "workspaceId"),
            ("events", "source.workspaceId"),
            ("automations", "runningWorkspaceId"),
            ("reports", "workspaceId"),
        ];
        let expected: Vec<Json> = attributes
            .iter()
            .map(|(subject, attribute)| {
                json!({
                    "action": ["read"], "subject": subject, "conditions": {"slug": "s", *attribute: "w1"},
                    "fields": ["a.*"], "priority": 3, "reason": "r", "inverted": true,
                })
            })
            .collect();
        assert_eq!(shown, Json::from(expected));
    }

    #[test]
    fn what_is_answered_can_be_written_again_and_stays_the_same() {
        let once = shown(&json!([{"action": ["read", "update"], "subject": "all"}]));
        assert_eq!(once.as_array().unwrap().len(), 4);
        assert_eq!(shown(&once), once);
        let full = vec![json!({"action": "read", "subject": "all"}); 64];
        let once = shown(&Json::from(full));
        assert_eq!(once.as_array().unwrap().len(), RULES_MAX);
        assert_eq!(shown(&once), once);
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(rules in vec(some_rule(), 0..8)) {
            if let Ok(once) = written(&Json::from(rules)) {
                let rules = grants::to_json(&RawGrants::Workspace { rules: once })["rules"].take();
                prop_assert_eq!(shown(&rules), rules);
            }
        }
    }

    /// A rule, with as many conditions as one may have or fewer, and perhaps those that would be forced into it.
    fn some_rule() -> impl Strategy<Value = Json> {
        let names = [
            "all",
            "workspaces",
            "events",
            "automations",
            "pages",
            "files",
        ];
        let forced = [
            "workspaceId",
            "id",
            "source.workspaceId",
            "runningWorkspaceId",
        ];
        let stated = vec((select(forced.to_vec()), any::<bool>()), 0..4);
        let others = prop_oneof![0..4_usize, 60..=64_usize];
        let subjects = vec(select(names.to_vec()), 1..3);
        (subjects, stated, others, any::<bool>()).prop_map(|(subject, stated, others, inverted)| {
            let stated = stated.into_iter().map(|(name, operator)| {
                let here = if operator { json!({"$eq": "w1"}) } else { json!("w1") };
                (name.to_owned(), here)
            });
            let others = (0..others).map(|n| (format!("a{n}"), json!(n)));
            let conditions: serde_json::Map<_, _> = stated.chain(others).collect();
            json!({"action": "read", "subject": subject, "conditions": conditions, "inverted": inverted})
        })
    }

    #[test]
    fn the_workspace_may_be_stated_and_no_other() {
        for stated in [json!("w1"), json!({"$eq": "w1"})] {
            let rules = json!([{"action": "read", "subject": "pages", "conditions": {"workspaceId": stated}}]);
            assert_eq!(shown(&rules)[0]["conditions"]["workspaceId"], stated);
        }
        for other in [
            json!("w2"),
            json!(null),
            json!(1),
            json!("${user.id}"),
            json!({"$eq": "w2"}),
            json!({"$ne": "w2"}),
            json!({"$in": ["w1", "w2"]}),
            json!({"$eq": "w1", "$ne": "w2"}),
            json!({"$exists": true}),
        ] {
            for inverted in [false, true] {
                let rules = json!([
                    {"action": "read", "subject": "pages"},
                    {"action": "read", "subject": "pages", "conditions": {"workspaceId": other}, "inverted": inverted},
                ]);
                assert_eq!(field(&rules), "rules[1].conditions.workspaceId", "{other}");
            }
        }
        // Of another subject it is an attribute like any other.
        let rules =
            json!([{"action": "read", "subject": "events", "conditions": {"workspaceId": "w2"}}]);
        assert_eq!(written(&rules).unwrap().len(), 1);
    }

    #[test]
    fn what_is_refused_is_named_by_rule_and_place() {
        let one = |rule: Json| field(&json!([{"action": "read", "subject": "pages"}, rule]));
        let with = |conditions: Json| {
            one(json!({"action": "read", "subject": "pages", "conditions": conditions}))
        };
        assert_eq!(one(json!({"action": "read"})), "rules[1].subject");
        assert_eq!(one(json!({"action": [], "subject": "pages"})), "rules[1]");
        assert_eq!(
            with(json!({"$or": [{"id": "a"}]})),
            "rules[1].conditions.$or"
        );
        assert_eq!(
            with(json!({"id": {"$lt": null}})),
            "rules[1].conditions.id.$lt"
        );
        let many = vec![json!({"action": "read", "subject": ["pages", "files"]}); 129];
        assert_eq!(field(&Json::from(many)), "rules");
        let full: serde_json::Map<_, _> = (0..64).map(|n| (format!("a{n}"), json!(n))).collect();
        assert!(with(Json::from(full)).starts_with("rules[1].conditions."));
        let long = json!({"id": {"$in": vec!["x".repeat(1000); 100]}});
        let subjects: Vec<_> = (0..20).map(|n| format!("s{n}")).collect();
        let rules = json!([{"action": "read", "subject": subjects, "conditions": long}]);
        assert_eq!(field(&rules), "rules");
    }

    /// What the rules answer to one who reads something of this workspace.
    fn verdict(rules: &[RawRule], subject: &str, workspace: &str) -> RuleVerdict {
        let source = [("workspaceId".into(), Value::String(workspace.into()))];
        let id = Attribute::Known(ValueRef::String(workspace));
        let attributes = match attribute_of(subject) {
            "source.workspaceId" => ("source", Attribute::Known(ValueRef::Object(&source))),
            attribute => (attribute, id),
        };
        let resource = Resource {
            attributes: &[attributes],
            complete: false,
        };
        let check = RuleCheck {
            action: "read",
            subject,
            resource: &resource,
            field: None,
            any_field: false,
        };
        RuleSet::compile(rules, PlaceholderValues::default()).judge(&check)
    }

    #[test]
    fn all_is_everything_of_the_workspace_and_nothing_of_another() {
        let allow = written(&json!([{"action": "manage", "subject": "all"}])).unwrap();
        let denied = json!([
            {"action": "manage", "subject": "all"},
            {"action": "read", "subject": "all", "inverted": true},
        ]);
        let denied = written(&denied).unwrap();
        for subject in ["workspaces", "pages", "events", "automations", "reports"] {
            assert!(
                matches!(verdict(&allow, subject, "w1"), RuleVerdict::Allowed(_)),
                "{subject}"
            );
            assert_eq!(
                verdict(&allow, subject, "w2"),
                RuleVerdict::NoMatch,
                "{subject}"
            );
            assert!(
                matches!(verdict(&denied, subject, "w1"), RuleVerdict::Denied(_)),
                "{subject}"
            );
        }
    }
}
