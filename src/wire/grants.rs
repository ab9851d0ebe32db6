//! Grants as JSON, for all three families: in requests and answers, in the store, in `keyward decide`.
//!
//! [`parse`] is for writing and names what it cannot read. [`from_json`] and [`from_text`] are for data that is
//! there already: total, and what cannot be read grants nothing.

use serde_json::{Map, Value as Json, json};

use super::rule::{read_rule, write_rule};
use super::value::parse_json;
use crate::authz::{AccessLevel, Family, RawAccess, RawGrants, RawRule};

/// Why a JSON value is not of the shape of grants. Rules keep their own faults, which `authz` refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct InvalidShape {
    place: String,
    message: String,
}

impl InvalidShape {
    fn expects(place: impl Into<String>, expected: &str) -> Self {
        Self {
            place: place.into(),
            message: format!("expects {expected}"),
        }
    }
}

/// Stands in for a text that is none: no permission, no scope, no mode, no level.
const UNREADABLE: &str = "";

/// The names of the members that grants of a family have.
pub const fn member_names(family: Family) -> &'static [&'static str] {
    match family {
        Family::Org => &["permissions", "scopes"],
        Family::Workspace => &["rules"],
        Family::Access => &["permission_mode", "access", "project_scope"],
    }
}

/// Reads grants strictly.
///
/// # Errors
/// The first member that is unknown or of a wrong type. What is within a rule is told by `validate_grants`.
pub fn parse(family: Family, json: &Json) -> Result<RawGrants, InvalidShape> {
    let (grants, fault) = read(family, json);
    fault.map_or(Ok(grants), Err)
}

/// Reads grants from data.
pub fn from_json(family: Family, json: &Json) -> RawGrants {
    read(family, json).0
}

/// Reads grants from stored text.
pub fn from_text(family: Family, text: &str) -> RawGrants {
    // Text that is no JSON is no object either.
    from_json(family, &parse_json(text).unwrap_or(Json::Null))
}

/// Grants as JSON, in the form that [`parse`] takes.
pub fn to_json(grants: &RawGrants) -> Json {
    match grants {
        RawGrants::Org {
            permissions,
            scopes,
        } => json!({"permissions": permissions, "scopes": scopes}),
        RawGrants::Workspace { rules } => {
            json!({"rules": rules.iter().map(write_rule).collect::<Vec<_>>()})
        }
        RawGrants::Access(access) => json!({
            "permission_mode": access.permission_mode,
            "access": write_access_map(&access.access),
            "project_scope": write_project_scope(access.project.as_deref()),
        }),
    }
}

/// Grants as text for the store.
pub fn to_text(grants: &RawGrants) -> String {
    to_json(grants).to_string()
}

/// The grants, and the first fault where there is one.
fn read(family: Family, json: &Json) -> (RawGrants, Option<InvalidShape>) {
    let Json::Object(members) = json else {
        let fault = InvalidShape::expects("grants", "an object");
        return (nothing(family), Some(fault));
    };
    let names = member_names(family);
    if let Some(unknown) = members.keys().find(|name| !names.contains(&name.as_str())) {
        // What it means is unknown: it may well be a restriction.
        let fault = InvalidShape {
            place: unknown.escape_debug().to_string(),
            message: format!("grants of family {family} have {}", names.join(", ")),
        };
        return (nothing(family), Some(fault));
    }
    let mut reader = Reader {
        members,
        fault: None,
    };
    let grants = match family {
        Family::Org => RawGrants::Org {
            permissions: reader.texts("permissions"),
            scopes: reader.texts("scopes"),
        },
        Family::Workspace => RawGrants::Workspace {
            rules: reader.rules(),
        },
        Family::Access => RawGrants::Access(reader.access()),
    };
    (grants, reader.fault)
}

/// Grants of which nothing could be read.
fn nothing(family: Family) -> RawGrants {
    match family {
        Family::Org => RawGrants::Org {
            permissions: vec![UNREADABLE.to_owned()],
            // Not empty: a key without scopes may be one without limits.
            scopes: vec![UNREADABLE.to_owned()],
        },
        Family::Workspace => RawGrants::Workspace {
            rules: vec![unreadable_rule()],
        },
        Family::Access => RawGrants::Access(RawAccess {
            permission_mode: UNREADABLE.to_owned(),
            ..RawAccess::default()
        }),
    }
}

/// In place of rules that cannot be read: it denies everything.
fn unreadable_rule() -> RawRule {
    read_rule(&Json::Null)
}

struct Reader<'a> {
    members: &'a Map<String, Json>,
    fault: Option<InvalidShape>,
}

impl Reader<'_> {
    fn fault(&mut self, place: impl Into<String>, expected: &str) {
        let fault = || InvalidShape::expects(place, expected);
        self.fault.get_or_insert_with(fault);
    }

    /// Texts in their places: one that is none is there as one that grants nothing.
    fn texts(&mut self, name: &str) -> Vec<String> {
        let Some(value) = self.members.get(name) else {
            return Vec::new();
        };
        let Json::Array(items) = value else {
            self.fault(name, "an array of strings");
            return vec![UNREADABLE.to_owned()];
        };
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            if !item.is_string() {
                self.fault(format!("{name}[{index}]"), "a string");
            }
            texts.push(item.as_str().unwrap_or(UNREADABLE).to_owned());
        }
        texts
    }

    fn rules(&mut self) -> Vec<RawRule> {
        match self.members.get("rules") {
            None => Vec::new(),
            Some(Json::Array(items)) => items.iter().map(read_rule).collect(),
            Some(_) => {
                self.fault("rules", "an array of rules");
                vec![unreadable_rule()]
            }
        }
    }

    fn access(&mut self) -> RawAccess {
        let mut access = RawAccess::default();
        match self.members.get("permission_mode").and_then(Json::as_str) {
            Some(mode) => mode.clone_into(&mut access.permission_mode),
            None => self.fault("permission_mode", "`ALL`, `READ_ONLY` or `RESTRICTED`"),
        }
        match self.members.get("access") {
            None => {}
            Some(Json::Object(levels)) => {
                for (domain, level) in levels {
                    if !level.is_string() {
                        let place = format!("access.{}", domain.escape_debug());
                        self.fault(place, "`none`, `read` or `write`");
                    }
                    let level = level.as_str().unwrap_or(UNREADABLE).to_owned();
                    access.access.push((domain.clone(), level));
                }
            }
            Some(_) => self.fault("access", "an object of levels by domain"),
        }
        match self
            .members
            .get("project_scope")
            .map_or(Some(None), read_project_scope)
        {
            Some(project) => access.project = project,
            None => {
                self.fault("project_scope", "all projects or a single one");
                // To which projects it is limited is unknown: it reaches none.
                UNREADABLE.clone_into(&mut access.permission_mode);
            }
        }
        access
    }
}

/// The project of `{"all":{}}`, `{"single":{"project_id":…}}`, `{"mode":"all"}`,
/// `{"mode":"single","project_id":…}`; `None`: none of these.
pub fn read_project_scope(value: &Json) -> Option<Option<String>> {
    let members = value.as_object()?;
    let project_id = |members: &Map<String, Json>| match members.get("project_id") {
        Some(Json::String(id)) if !id.is_empty() => Some(id.clone()),
        _ => None,
    };
    match (members.len(), members.iter().next()) {
        (1, Some((form, inner))) if form == "all" => inner.as_object()?.is_empty().then_some(None),
        (1, Some((form, inner))) if form == "single" => {
            let inner = inner.as_object().filter(|inner| inner.len() == 1)?;
            project_id(inner).map(Some)
        }
        (length, _) => match (length, members.get("mode")?.as_str()?) {
            (1, "all" | "ALL" | "PROJECT_SCOPE_MODE_ALL") => Some(None),
            (2, "single" | "SINGLE" | "PROJECT_SCOPE_MODE_SINGLE") => project_id(members).map(Some),
            _ => None,
        },
    }
}

fn write_project_scope(project: Option<&str>) -> Json {
    match project {
        None => json!({"all": {}}),
        Some(id) => json!({"single": {"project_id": id}}),
    }
}

fn write_access_map(access: &[(String, String)]) -> Json {
    let mut levels = Map::new();
    for (domain, level) in access {
        // A domain that is there twice holds the lesser of its levels, as it does when judged.
        let lesser = match levels.get(domain).and_then(Json::as_str) {
            Some(earlier) if AccessLevel::parse(earlier) < AccessLevel::parse(level) => earlier,
            Some(_) | None => level,
        };
        let lesser = Json::from(lesser);
        levels.insert(domain.clone(), lesser);
    }
    Json::Object(levels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::{AccessGrant, ProjectScope, ScopeSet, validate_grants};

    fn go_round(family: Family, json: &Json) -> RawGrants {
        let grants = parse(family, json).unwrap();
        assert_eq!(from_text(family, &to_text(&grants)), grants);
        assert_eq!(validate_grants(&grants), Ok(()));
        grants
    }

    #[test]
    fn grants_go_round() {
        go_round(
            Family::Org,
            &json!({"permissions": ["orgs:*", "*"], "scopes": ["agents:a1"]}),
        );
        go_round(Family::Org, &json!({}));
        go_round(
            Family::Workspace,
            &json!({"rules": [{"action": ["read"], "subject": "pages", "priority": 0.5}]}),
        );
        go_round(
            Family::Access,
            &json!({"permission_mode": "RESTRICTED", "access": {"deployment": "write"}}),
        );
    }

    #[test]
    fn a_project_scope_has_four_forms() {
        let project = |scope: Json| {
            let json = json!({"permission_mode": "ALL", "project_scope": scope});
            match go_round(Family::Access, &json) {
                RawGrants::Access(access) => access.project,
                RawGrants::Org { .. } | RawGrants::Workspace { .. } => panic!("another family"),
            }
        };
        assert_eq!(project(json!({"all": {}})), None);
        assert_eq!(project(json!({"mode": "all"})), None);
        assert_eq!(project(json!({"mode": "PROJECT_SCOPE_MODE_ALL"})), None);
        assert_eq!(
            project(json!({"single": {"project_id": "p"}})),
            Some("p".to_owned())
        );
        assert_eq!(
            project(json!({"mode": "single", "project_id": "p"})),
            Some("p".to_owned())
        );
    }

    #[test]
    fn another_shape_is_refused_and_grants_nothing() {
        for (family, json, place) in [
            (Family::Org, json!(null), "grants"),
            (Family::Org, json!({"permissions": "orgs:*"}), "permissions"),
            (
                Family::Org,
                json!({"permissions": ["orgs:*", 1]}),
                "permissions[1]",
            ),
            (Family::Org, json!({"scopes": null}), "scopes"),
            (Family::Org, json!({"rules": []}), "rules"),
            (Family::Workspace, json!({"rules": {}}), "rules"),
            (Family::Access, json!({}), "permission_mode"),
            (
                Family::Access,
                json!({"permission_mode": 1}),
                "permission_mode",
            ),
            (
                Family::Access,
                json!({"permission_mode": "ALL", "access": []}),
                "access",
            ),
            (
                Family::Access,
                json!({"permission_mode": "ALL", "access": {"a": 2}}),
                "access.a",
            ),
            (
                Family::Access,
                json!({"permission_mode": "ALL", "project": "p"}),
                "project",
            ),
        ] {
            let fault = parse(family, &json).unwrap_err();
            assert_eq!(fault.place, place, "{json}");
        }
        for scope in [
            json!(null),
            json!("all"),
            json!({}),
            json!({"all": {"x": 1}}),
            json!({"all": {}, "single": {"project_id": "p"}}),
            json!({"single": {}}),
            json!({"single": {"project_id": ""}}),
            json!({"single": {"project_id": 1}}),
            json!({"single": {"project_id": "p", "x": 1}}),
            json!({"mode": "all", "project_id": "p"}),
            json!({"mode": "single"}),
            json!({"mode": 1}),
            json!({"project_id": "p"}),
        ] {
            let json = json!({"permission_mode": "ALL", "project_scope": scope});
            assert_eq!(
                parse(Family::Access, &json).unwrap_err().place,
                "project_scope"
            );
            assert!(grants_nothing(&from_json(Family::Access, &json)), "{json}");
        }
    }

    fn grants_nothing(grants: &RawGrants) -> bool {
        match grants {
            RawGrants::Org {
                permissions,
                scopes,
            } => {
                permissions
                    .iter()
                    .chain(scopes)
                    .all(|text| text == UNREADABLE)
                    && !ScopeSet::compile(scopes).is_empty()
            }
            RawGrants::Workspace { rules } => {
                rules.iter().all(|r| r.inverted && r.unreadable.is_some())
            }
            RawGrants::Access(access) => {
                AccessGrant::compile(access).level("any") == AccessLevel::None
            }
        }
    }

    #[test]
    fn text_that_is_no_grants_grants_nothing() {
        for family in [Family::Org, Family::Workspace, Family::Access] {
            for text in [
                "",
                "null",
                "[]",
                "{",
                r#"{"more":1}"#,
                r#"{"rules":1,"rules":[]}"#,
            ] {
                let grants = from_text(family, text);
                assert!(grants_nothing(&grants), "{family} {text}");
                assert!(
                    grants_nothing(&from_text(family, &to_text(&grants))),
                    "{family} {text}"
                );
            }
        }
    }

    #[test]
    fn a_single_unreadable_entry_is_lost_alone() {
        let org = from_text(
            Family::Org,
            r#"{"permissions":[1,"a:b"],"scopes":[{"a":1},"a:*"]}"#,
        );
        let expected = RawGrants::Org {
            permissions: vec![String::new(), "a:b".to_owned()],
            scopes: vec![String::new(), "a:*".to_owned()],
        };
        assert_eq!(org, expected);
    }

    #[test]
    fn a_domain_that_is_there_twice_keeps_its_lesser_level() {
        let access = |first: &str, second: &str| {
            let entry = |level: &str| ("file".to_owned(), level.to_owned());
            let access = RawAccess {
                permission_mode: "RESTRICTED".to_owned(),
                access: vec![entry(first), entry(second)],
                project: None,
            };
            let before = AccessGrant::compile(&access).level("file");
            let RawGrants::Access(read) =
                from_text(Family::Access, &to_text(&RawGrants::Access(access)))
            else {
                panic!("another family");
            };
            let after = AccessGrant::compile(&read);
            assert_eq!(after.project(), &ProjectScope::All);
            assert_eq!(after.level("file"), before, "{first} {second}");
        };
        for levels in [
            ("read", "WRITE"),
            ("write", "read"),
            ("2", "write"),
            ("read", "2"),
            ("none", "read"),
        ] {
            access(levels.0, levels.1);
        }
    }
}
