//! The cases of `tests/corpus/authz`, put to the implementation and to the reference model.

mod case;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use keyward::authz::{Check, CheckOutcome, Determination, RawGrants, Reason, evaluate};
use keyward::wire::decide::decide_line;
use keyward::wire::grants::from_json;
use serde_json::{Value as Json, json};

use crate::bridge;
use crate::model;
use crate::model::condition::Placeholders;
use crate::model::decision::{Decision, World};
use crate::model::requirement::{Judgement, Scope};
use case::{Case, File};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/authz");

fn files() -> Vec<(String, File)> {
    let entries = fs::read_dir(DIRECTORY)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|it| it == "json"))
        .collect();
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> (String, File) {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let file = serde_json::from_str(&fs::read_to_string(path).unwrap());
    (
        name.clone(),
        file.unwrap_or_else(|error| panic!("{name}: {error}")),
    )
}

#[test]
fn every_case_has_its_outcome() {
    let mut count = 0;
    for (name, file) in files() {
        let mut names = BTreeSet::new();
        for case in &file.cases {
            let place = format!("{name}: {}", case.name);
            assert!(names.insert(&case.name), "{place}: the name is taken");
            match (&case.check, &case.request) {
                (Some(check), None) => put_check(&place, case, check),
                (None, Some(lines)) => put_request(&place, case, &file.world_for(case), lines),
                _ => panic!("{place}: has either a check or a request"),
            }
            count += 1;
        }
    }
    assert!(count >= 150, "{count} cases are left");
}

#[test]
fn every_reason_of_a_decision_has_a_case() {
    let cases: Vec<Case> = files()
        .into_iter()
        .flat_map(|(_, file)| file.cases)
        .collect();
    let refused: BTreeSet<&str> = cases
        .iter()
        .filter_map(|case| case.outcome.deny.as_deref())
        .collect();
    // What is refused before or after a decision is the data plane's.
    let status = |reason: &Reason| [400, 401, 403, 404, 405].contains(&reason.status());
    for reason in Reason::ALL.iter().filter(|reason| status(reason)) {
        assert!(
            refused.contains(reason.as_str()),
            "no case is refused for {}",
            reason.as_str()
        );
    }
}

/// Through `keyward decide`, and what may not be written through the code that meets it in data.
fn put_check(place: &str, case: &Case, check: &Json) {
    let grants = Json::Object(
        case.grants
            .clone()
            .unwrap_or_else(|| panic!("{place}: no grants")),
    );
    let (family, families) = case::requirement_of(check);
    let raw = from_json(family, &grants);
    let by_model = model::requirement::judge_grants(
        &raw,
        &families,
        &Scope::default(),
        &Placeholders::default(),
    );
    assert_eq!(
        judged(&raw, &families),
        by_model,
        "{place}: model and implementation differ"
    );

    let answer = decide_line(&json!({"grants": grants, "check": check}).to_string());
    let answer: Json = serde_json::from_str(&answer).unwrap();
    assert_eq!(
        answer.get("refused").is_some(),
        case.refused,
        "{place}: {answer}"
    );
    if !case.refused {
        let expected = json!({
            "decision": if case.outcome.deny.is_some() { "deny" } else { "allow" },
            "reason": case.outcome.deny,
            "determined_by": case.outcome.allow.as_ref().or(case.outcome.by.as_ref()),
        });
        assert_eq!(answer, expected, "{place}");
    } else if let Some(in_data) = &case.in_data {
        let (reason, by) = match &by_model {
            Ok(by) => (None, by),
            Err((reason, by)) => (Some(reason.as_str()), by),
        };
        assert_eq!(reason, in_data.deny.as_deref(), "{place}");
        let mut by = determined_by(&raw, by);
        // As in an answer of `keyward decide`.
        by.as_object_mut().unwrap().remove("scope");
        assert_eq!(
            Some(&by),
            in_data.allow.as_ref().or(in_data.by.as_ref()),
            "{place}"
        );
    }
}

fn judged(raw: &RawGrants, families: &model::requirement::Families) -> Judgement {
    let CheckOutcome {
        reason,
        determined_by,
    } = evaluate(raw, &Check(bridge::families(families, &[])));
    reason.map_or(Ok(determined_by.clone()), |reason| {
        Err((reason, determined_by))
    })
}

fn put_request(place: &str, case: &Case, world: &World, lines: &[String]) {
    let request = case::request_of(lines);
    let by_model = model::decision::decide(world, &request);
    let by_keyward = bridge::decide(world, &bridge::rulebook(world), &request);
    assert_eq!(
        by_keyward, by_model,
        "{place}: implementation and model differ"
    );
    let actual = described(world, &by_model);
    let mut expected = vec![("deny", case.outcome.deny.clone().map(Json::from))];
    expected.push(("by", case.outcome.by.clone()));
    expected.push(("methods", case.outcome.methods.clone().map(Json::from)));
    for (name, value) in expected {
        if let Some(value) = value {
            assert_eq!(actual[name], value, "{place}: {name} of {actual}");
        }
    }
    let allow = case.outcome.allow.as_ref();
    assert_eq!(
        actual["deny"].is_null(),
        allow.is_some(),
        "{place}: {actual}"
    );
    for (name, value) in allow.and_then(Json::as_object).into_iter().flatten() {
        assert_eq!(&actual[name.as_str()], value, "{place}: {name} of {actual}");
    }
}

/// A decision in the words of the corpus.
fn described(world: &World, decision: &Decision) -> Json {
    let by = |key: &Option<String>, by: &Determination| {
        let key = world
            .keys
            .iter()
            .find(|it| Some(it.record.id.as_str()) == key.as_deref())?;
        Some(determined_by(&key.record.grants, by))
    };
    match decision {
        Decision::Deny {
            reason,
            key,
            determined_by,
            allow,
            route: _,
        } => json!({
            "deny": reason.as_str(),
            "by": by(key, determined_by),
            "methods": allow,
        }),
        Decision::Allow(pass) => json!({
            "deny": null,
            "route": world.routes[pass.route].name,
            "path": pass.path,
            "key": pass.key,
            "by": by(&pass.key, &pass.determined_by),
            "unjudged": pass.unjudged.map(|why| why.as_str()),
            "shadowed": pass.shadowed.map(|reason| reason.as_str()),
            "forwards_key": pass.forwards_key,
        }),
    }
}

/// What determined a decision, as `keyward decide` writes it, and the scope where one was needed.
fn determined_by(grants: &RawGrants, by: &Determination) -> Json {
    match (by, grants) {
        (
            Determination::Grants {
                permissions: found,
                scope,
            },
            RawGrants::Org {
                permissions,
                scopes,
            },
        ) => {
            let found = found.iter().map(|index| &permissions[usize::from(*index)]);
            let mut by = json!({"grants": found.collect::<Vec<_>>()});
            if let Some(scope) = scope {
                by["scope"] = scopes[usize::from(*scope)].as_str().into();
            }
            by
        }
        (Determination::Rule(index), _) => json!({"rule": index}),
        (Determination::Access { domain, level }, _) => {
            json!({"domain": &**domain, "level": level.as_str()})
        }
        (Determination::Nothing | Determination::Grants { .. }, _) => Json::Null,
    }
}
