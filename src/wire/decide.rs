//! One line of `keyward decide`: grants and a check in, a decision out. Configuration and keys play no part.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json, json};

use super::grants::{member_names, parse};
use super::value::{parse_json, to_authz};
use crate::authz::{
    AccessLevel, AccessRequirement, Check, Determination, Family, FamilyRequirements,
    OrgRequirement, ProjectRequirement, RawGrants, RequiredPermission, RequiredScope,
    ResourceValue, RuleRequirement, Template, WorkspaceRequirement, evaluate, validate_grants,
};

/// Answers one line: `decision`, `reason` and `determined_by`; `refused` where such grants could not be written;
/// `error` where the line is nothing that could be judged. Never fails, and the answer holds no line end.
pub fn decide_line(line: &str) -> String {
    let answer = match read_line(line) {
        Err(message) => json!({"error": message}),
        Ok((family, grants, check)) => match readable(family, &grants) {
            Err(message) => json!({"refused": message}),
            Ok(grants) => decide(&grants, &check),
        },
    };
    answer.to_string()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    grants: Map<String, Json>,
    check: Map<String, Json>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OrgCheck {
    #[serde(default)]
    permissions: Vec<String>,
    #[serde(default)]
    any_permission: Vec<String>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    empty_scopes: EmptyScopes,
}

#[derive(Deserialize, Default, PartialEq)]
#[serde(rename_all = "lowercase")]
enum EmptyScopes {
    #[default]
    Deny,
    Allow,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleCheck {
    action: String,
    subject: String,
    #[serde(default)]
    resource: Map<String, Json>,
    #[serde(default)]
    complete: bool,
    #[serde(default)]
    field: Option<String>,
    #[serde(default)]
    any_field: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccessCheck {
    domain: String,
    level: String,
    /// Absent or `null`: the request states no project. Any text is the identifier of one.
    #[serde(default)]
    project: Option<String>,
}

fn read_line(line: &str) -> Result<(Family, Json, Check), String> {
    let line = parse_json(line).map_err(|error| error.to_string())?;
    // Serde would read a list of its members' values too.
    let Json::Object(_) = line else {
        return Err("the line is no object with `grants` and a `check`".to_owned());
    };
    let Line { grants, check } = serde_json::from_value(line).map_err(|error| error.to_string())?;
    let family = family_of(&check);
    let names = member_names(family);
    if let Some(name) = grants.keys().find(|name| !names.contains(&name.as_str())) {
        let name = name.escape_debug();
        return Err(format!(
            "grants: `{name}` does not go with a check of family {family}"
        ));
    }
    let requirement = match family {
        Family::Org => FamilyRequirements {
            org: Some(org_requirement(typed(check)?)?),
            ..FamilyRequirements::default()
        },
        Family::Workspace => FamilyRequirements {
            workspace: Some(workspace_requirement(typed(check)?)),
            ..FamilyRequirements::default()
        },
        Family::Access => FamilyRequirements {
            access: Some(access_requirement(typed(check)?)?),
            ..FamilyRequirements::default()
        },
    };
    Ok((family, Json::Object(grants), Check(requirement)))
}

/// The family that a check is for, told by what only that family is asked.
fn family_of(check: &Map<String, Json>) -> Family {
    if check.contains_key("domain") {
        Family::Access
    } else if check.contains_key("action") {
        Family::Workspace
    } else {
        Family::Org
    }
}

fn typed<T: DeserializeOwned>(check: Map<String, Json>) -> Result<T, String> {
    serde_json::from_value(Json::Object(check)).map_err(|error| format!("check: {error}"))
}

fn org_requirement(check: OrgCheck) -> Result<OrgRequirement, String> {
    let is_permission = |text: &str| RequiredPermission::parse(text).is_some();
    let is_scope = |text: &str| RequiredScope::parse(text).is_some();
    Ok(OrgRequirement {
        org: None,
        permissions: concrete(&check.permissions, is_permission)?,
        any_permission: concrete(&check.any_permission, is_permission)?,
        scopes: concrete(&check.scopes, is_scope)?,
        empty_scopes_allow: check.empty_scopes == EmptyScopes::Allow,
    })
}

fn concrete(texts: &[String], is_concrete: impl Fn(&str) -> bool) -> Result<Vec<Template>, String> {
    match texts.iter().find(|text| !is_concrete(text)) {
        None => Ok(texts.iter().map(|text| Template::literal(text)).collect()),
        Some(text) => Err(format!("check: `{}` is not concrete", text.escape_debug())),
    }
}

fn workspace_requirement(check: RuleCheck) -> WorkspaceRequirement {
    let attributes = check.resource.iter();
    WorkspaceRequirement {
        workspace: None,
        rule: Some(RuleRequirement {
            action: check.action,
            subject: check.subject,
            resource: attributes
                .map(|(name, value)| (name.clone(), ResourceValue::Literal(to_authz(value))))
                .collect(),
            complete: check.complete,
            field: check.field.as_deref().map(Template::literal),
            any_field: check.any_field,
        }),
    }
}

fn access_requirement(check: AccessCheck) -> Result<AccessRequirement, String> {
    let level = AccessLevel::parse(&check.level)
        .ok_or_else(|| format!("check: `{}` is no level", check.level.escape_debug()))?;
    Ok(AccessRequirement {
        domain: check.domain.into(),
        level,
        project: match check.project {
            None => ProjectRequirement::Unstated,
            Some(id) => ProjectRequirement::At(Template::literal(&id)),
        },
    })
}

/// The grants as they would be stored.
fn readable(family: Family, grants: &Json) -> Result<RawGrants, String> {
    let grants = parse(family, grants).map_err(|fault| fault.to_string())?;
    validate_grants(&grants).map_err(|fault| fault.to_string())?;
    Ok(grants)
}

fn decide(grants: &RawGrants, check: &Check) -> Json {
    let outcome = evaluate(grants, check);
    let decision = match outcome.reason {
        None => "allow",
        Some(_) => "deny",
    };
    json!({
        "decision": decision,
        "reason": outcome.reason.map(|reason| reason.as_str()),
        "determined_by": determined_by(grants, &outcome.determined_by),
    })
}

fn determined_by(grants: &RawGrants, determination: &Determination) -> Json {
    match determination {
        Determination::Nothing => Json::Null,
        Determination::Grants { permissions, .. } => {
            let written = match grants {
                RawGrants::Org { permissions, .. } => permissions.as_slice(),
                RawGrants::Workspace { .. } | RawGrants::Access(_) => &[],
            };
            let covering = permissions
                .iter()
                .filter_map(|index| written.get(usize::from(*index)));
            json!({"grants": covering.collect::<Vec<_>>()})
        }
        Determination::Rule(rule) => json!({"rule": rule}),
        Determination::Access { domain, level } => {
            json!({"domain": &**domain, "level": level.as_str()})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(line: &Json) -> Json {
        serde_json::from_str(&decide_line(&line.to_string())).unwrap()
    }

    fn decided(line: &Json) -> (String, Json, Json) {
        let answer = answer(line);
        let members = answer.as_object().unwrap();
        assert_eq!(
            members.keys().collect::<Vec<_>>(),
            ["decision", "reason", "determined_by"],
            "{answer}"
        );
        let decision = answer["decision"].as_str().unwrap().to_owned();
        (
            decision,
            answer["reason"].clone(),
            answer["determined_by"].clone(),
        )
    }

    fn allow(by: Json) -> (String, Json, Json) {
        ("allow".to_owned(), Json::Null, by)
    }

    fn deny(reason: &str, by: Json) -> (String, Json, Json) {
        ("deny".to_owned(), reason.into(), by)
    }

    #[test]
    fn an_answer_has_this_form() {
        let line = r#"{"grants":{"permissions":["orgs:*"],"scopes":["agents:a1"]},"check":{"permissions":["orgs:members:read"],"scopes":["agents:a1"]}}"#;
        assert_eq!(
            decide_line(line),
            r#"{"decision":"allow","reason":null,"determined_by":{"grants":["orgs:*"]}}"#
        );
        let line = r#"{"grants":{"rules":[{"action":"read","subject":"pages","conditions":{"id":"p1"}}]},"check":{"action":"read","subject":"pages","resource":{"id":"p1"},"complete":true,"field":null,"any_field":false}}"#;
        assert_eq!(
            decide_line(line),
            r#"{"decision":"allow","reason":null,"determined_by":{"rule":0}}"#
        );
        let line = r#"{"grants":{"permission_mode":"RESTRICTED","access":{"deployment":"write"},"project_scope":{"all":{}}},"check":{"domain":"deployment","level":"read","project":null}}"#;
        assert_eq!(
            decide_line(line),
            r#"{"decision":"allow","reason":null,"determined_by":{"domain":"deployment","level":"write"}}"#
        );
    }

    #[test]
    fn permissions_name_the_first_grant_for_each() {
        let decide =
            |grants: Json, check: Json| decided(&json!({"grants": grants, "check": check}));
        let grants = json!({"permissions": ["a:read", "a:*", "*"], "scopes": ["x:1"]});
        let check = json!({"permissions": ["a:write", "a:read", "b:c"], "scopes": ["x:2", "x:1"]});
        assert_eq!(
            decide(grants.clone(), check),
            allow(json!({"grants": ["a:*", "a:read", "*"]}))
        );
        let check = json!({"permissions": ["a:read"], "scopes": ["x:2"]});
        assert_eq!(
            decide(grants, check),
            deny("out_of_scope", json!({"grants": ["a:read"]}))
        );
        let check = json!({"permissions": ["a:read", "a:write"]});
        let held = json!({"permissions": ["a:read"]});
        assert_eq!(
            decide(held.clone(), check),
            deny("missing_permission", json!({"grants": ["a:read"]}))
        );
        let check = json!({"any_permission": ["b:c", "a:read"], "scopes": ["x:1"], "empty_scopes": "allow"});
        assert_eq!(decide(held, check), allow(json!({"grants": ["a:read"]})));
        assert_eq!(
            decide(json!({}), json!({"permissions": ["a:b"]})),
            deny("missing_permission", json!({"grants": []}))
        );
    }

    #[test]
    fn rules_name_the_one_that_decides() {
        let rules = json!({"rules": [
            {"action": "read", "subject": "pages", "inverted": true, "conditions": {"id": "p2"}},
            {"action": ["read"], "subject": ["pages"], "fields": ["title"]},
            {"action": "read", "subject": "files"},
        ]});
        let decide = |check: Json| decided(&json!({"grants": rules, "check": check}));
        let check = json!({"action": "read", "subject": "files"});
        assert_eq!(decide(check), allow(json!({"rule": 2})));
        let check = json!({"action": "read", "subject": "pages", "field": "title", "resource": {"id": "p1"}});
        assert_eq!(decide(check), allow(json!({"rule": 1})));
        let check = json!({"action": "read", "subject": "pages", "field": "title"});
        assert_eq!(decide(check), deny("rule_denied", json!({"rule": 0})));
        let check = json!({"action": "write", "subject": "pages"});
        assert_eq!(
            decide(check),
            deny("no_matching_rule", json!({"rule": null}))
        );
    }

    #[test]
    fn access_names_the_level_that_is_held() {
        let decide =
            |grants: Json, check: Json| decided(&json!({"grants": grants, "check": check}));
        let read = json!({"permission_mode": "PERMISSION_MODE_READ_ONLY"});
        let held = |level: &str| json!({"domain": "file", "level": level});
        let check = json!({"domain": "file", "level": "ACCESS_LEVEL_WRITE"});
        assert_eq!(
            decide(read, check),
            deny("insufficient_access", held("read"))
        );
        let pinned =
            json!({"permission_mode": "all", "project_scope": {"single": {"project_id": "p"}}});
        let check = |project: Json| json!({"domain": "file", "level": "read", "project": project});
        assert_eq!(
            decide(pinned.clone(), check(Json::Null)),
            deny("project_unknown", held("write"))
        );
        assert_eq!(
            decide(pinned.clone(), check("any".into())),
            deny("project_mismatch", held("write"))
        );
        assert_eq!(decide(pinned, check("p".into())), allow(held("write")));
    }

    #[test]
    fn grants_that_could_not_be_written_are_refused() {
        let org = json!({"permissions": ["a:b"]});
        let rule = json!({"action": "read", "subject": "pages"});
        let access = json!({"domain": "file", "level": "read"});
        for (grants, check, told) in [
            (json!({"permissions": ["a*"]}), &org, "`a*`"),
            (json!({"permissions": "a:b"}), &org, "permissions"),
            (json!({"scopes": ["a"]}), &org, "scope"),
            (
                json!({"rules": [{"action": "read", "x": 1}]}),
                &rule,
                "rule 0",
            ),
            (
                json!({"rules": [{"action": "read"}, {"action": "read", "conditions": {"$or": []}}]}),
                &rule,
                "rule 1: conditions.$or",
            ),
            (json!({"permission_mode": 2}), &access, "permission_mode"),
            (
                json!({"permission_mode": "RESTRICTED", "access": {"file": 1}}),
                &access,
                "access.file",
            ),
            (
                json!({"permission_mode": "ALL", "project_scope": "all"}),
                &access,
                "project_scope",
            ),
        ] {
            let answer = answer(&json!({"grants": grants, "check": check}));
            let refused = answer["refused"]
                .as_str()
                .unwrap_or_else(|| panic!("{answer}"));
            assert!(refused.contains(told), "{refused}");
        }
    }

    #[test]
    fn a_line_that_is_none_of_these_is_an_error() {
        for line in [
            "",
            "[]",
            "null",
            "{}",
            "x",
            r#"{"grants":{}}"#,
            r#"{"grants":{},"check":{},"more":1}"#,
            r#"{"grants":[],"check":{}}"#,
            r#"[{"permissions":["*"]},{"permissions":["a:b"]}]"#,
            r#"{"grants":{"permissions":[]},"check":{"permissions":["a:*"]}}"#,
            r#"{"grants":{"permissions":[]},"check":{"permissions":["a"]}}"#,
            r#"{"grants":{"permissions":[]},"check":{"scopes":["a:*"]}}"#,
            r#"{"grants":{"permissions":[]},"check":{"permission":["a:b"]}}"#,
            r#"{"grants":{"permissions":[]},"check":{"permissions":"a:b"}}"#,
            r#"{"grants":{"permissions":[]},"check":{"action":"read","subject":"pages"}}"#,
            r#"{"grants":{"rules":[],"permissions":[]},"check":{"action":"read","subject":"pages"}}"#,
            r#"{"grants":{"rules":[]},"check":{"action":"read"}}"#,
            r#"{"grants":{"rules":[]},"check":{"action":"read","subject":"pages","resource":[]}}"#,
            r#"{"grants":{"rules":[]},"check":{"action":"read","subject":"pages","complete":null}}"#,
            r#"{"grants":{"permission_mode":"ALL"},"check":{"domain":"file","level":"admin"}}"#,
            r#"{"grants":{"permission_mode":"ALL"},"check":{"domain":"file","level":1}}"#,
            r#"{"grants":{"permissions":[],"permissions":[]},"check":{"permissions":["a:b"]}}"#,
            r#"{"grants":{"permissions":[]},"check":{"permissions":["a:b"]}} {}"#,
        ] {
            let answer: Json = serde_json::from_str(&decide_line(line)).unwrap();
            assert!(
                answer["error"].is_string() && answer.as_object().unwrap().len() == 1,
                "{line} {answer}"
            );
        }
    }
}
