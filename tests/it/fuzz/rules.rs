//! Rules: those made of the bytes are judged as the model judges them, and those read from them as JSON do no harm.

use keyward::authz::{Family, RawGrants, RawRule, Value, validate_grants};
use keyward::wire::grants;

use crate::bridge::judged;
use crate::generate::{Gen, rule};
use crate::model::condition::Placeholders;
use crate::model::rule::{Check, Resource, is_good, judge};

pub fn rules(data: &[u8]) {
    match data.split_first() {
        Some((b'{', _)) => from_json(data),
        Some((_, choices)) => made(choices),
        None => {}
    }
}

fn made(choices: &[u8]) {
    let g = &mut Gen::of_bytes(choices);
    let check = rule::check(g);
    let rules = rule::rules(g, &check);
    let placeholders = rule::placeholders(g);
    let verdict = judged(&rules, &check, &placeholders);
    let expected = judge(&rules, &check, &placeholders);
    assert_eq!(verdict, expected, "{rules:#?} {check:#?} {placeholders:?}");
    let good = rules.iter().all(is_good);
    let raw = RawGrants::Workspace { rules };
    assert_eq!(validate_grants(&raw).is_ok(), good, "{raw:#?}");
}

/// A resource with something of every type.
fn check(complete: bool) -> Check {
    let text = |text: &str| Value::String(text.into());
    let attributes = [
        ("id", Some(text("p1"))),
        ("count", Some(Value::Number(2.0))),
        ("tags", Some(Value::Array(vec![text("a"), Value::Null]))),
        (
            "meta",
            Some(Value::Object(vec![("id".into(), Value::Bool(true))])),
        ),
        ("none", None),
    ];
    Check {
        action: "read".to_owned(),
        subject: "pages".to_owned(),
        resource: Resource {
            attributes: attributes
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
            complete,
        },
        field: None,
        any_field: false,
    }
}

/// A rule that would be refused on write allows nothing, whatever it says.
fn from_json(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let grants = grants::from_text(Family::Workspace, text);
    let RawGrants::Workspace { rules } = &grants else {
        panic!("of another family: {grants:?}");
    };
    if validate_grants(&grants).is_ok() {
        let again = grants::from_text(Family::Workspace, &grants::to_text(&grants));
        assert_eq!(again, grants);
    }
    for complete in [false, true] {
        let check = check(complete);
        let judge = |rules: &[RawRule]| judged(rules, &check, &Placeholders::default());
        judge(rules);
        for rule in rules.iter().take(32) {
            let rules = vec![rule.clone()];
            let (allows, _) = judge(&rules);
            let is_valid = validate_grants(&RawGrants::Workspace { rules }).is_ok();
            assert!(!allows || (is_valid && !rule.inverted), "{rule:#?}");
        }
    }
}
