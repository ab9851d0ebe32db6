//! The implementation decides as the reference model does: same decision, same reason, same determining grant.
//!
//! `KEYWARD_CHECKS` says how many checks are made in all, `KEYWARD_SEED` from which seed on. A check that fails
//! prints its own seed: with that and `KEYWARD_CHECKS=100` it is the first one made.

use std::cell::RefCell;
use std::collections::BTreeMap;

use http::{HeaderMap, Method};
use keyward::authz::{
    Anonymous, Check, CheckOutcome, Host, KeyDigest, Path, PermissionSet, Query, RawGrants,
    RawRule, Reason, RequestFacts, RouteMatch, ScopeSet, Value, evaluate, validate_grants,
};

use crate::bridge::{self, judged};
use crate::generate::{Gen, grants, request, rule, world};
use crate::model;
use crate::model::condition::Placeholders;
use crate::model::credential::Kind;
use crate::model::decision::Decision;
use crate::model::requirement::{Families, Scope};
use crate::model::route::Choice;

const CHECKS: u64 = 100_000;
pub const SEED: u64 = 20_261_120;

pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Names the seed of the check under way when it panics.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to replay: KEYWARD_SEED={} KEYWARD_CHECKS=100", self.0);
        }
    }
}

/// Makes `share` of a hundred of all checks. A check says whether it was one that allows; a fifth must be, or the
/// comparison would say little. Tells how many checks were made.
fn check_all(what: &str, share: u64, check: impl Fn(&mut Gen) -> bool) -> u64 {
    let (seed, checks) = (
        setting("KEYWARD_SEED", SEED),
        setting("KEYWARD_CHECKS", CHECKS),
    );
    let count = (checks * share).div_ceil(100);
    let mut allowed = 0;
    for seed in (seed..).take(usize::try_from(count).unwrap()) {
        let replay = Replay(seed);
        allowed += u64::from(check(&mut Gen::new(seed)));
        drop(replay);
    }
    println!("{what}: {count} checks from seed {seed}, {allowed} of them allow");
    assert!(
        count < 500 || allowed * 5 >= count,
        "{what}: too few checks allow"
    );
    count
}

/// The implementation's outcome of grants against a check, in the model's words.
fn evaluated(raw: &RawGrants, families: &Families) -> model::requirement::Judgement {
    let CheckOutcome {
        reason,
        determined_by,
    } = evaluate(raw, &Check(bridge::families(families, &[])));
    reason.map_or(Ok(determined_by.clone()), |reason| {
        Err((reason, determined_by))
    })
}

fn by_model(raw: &RawGrants, families: &Families) -> model::requirement::Judgement {
    model::requirement::judge_grants(raw, families, &Scope::default(), &Placeholders::default())
}

#[test]
fn permissions_and_scopes() {
    check_all("permissions and scopes", 15, |g| {
        let wanted = grants::org_requirement(g);
        let (permissions, scopes) = grants::org_grants(g, &wanted);
        let good = permissions
            .iter()
            .all(|it| model::grants::is_permission_grant(it))
            && scopes.iter().all(|it| model::grants::is_scope_grant(it));
        let raw = RawGrants::Org {
            permissions,
            scopes,
        };
        let families = Families {
            org: Some(wanted),
            ..Families::default()
        };
        let outcome = evaluated(&raw, &families);
        assert_eq!(outcome, by_model(&raw, &families), "{raw:?} {families:?}");
        assert_eq!(validate_grants(&raw).is_ok(), good, "{raw:?}");
        outcome.is_ok()
    });
}

#[test]
fn delegation_of_permissions_and_scopes() {
    // A requirement that only a grant at least as wide as the one under test can cover.
    let probe = |grant: &str| match grant
        .strip_suffix('*')
        .or_else(|| grant.strip_suffix("manage"))
    {
        Some("") => "fresh:fresh".to_owned(),
        Some(above) if above.ends_with(':') => format!("{above}fresh"),
        _ => grant.to_owned(),
    };
    check_all("delegation", 3, |g| {
        let (mine, theirs) = (
            g.list(0, 3, grants::permission_grant),
            g.list(0, 2, grants::permission_grant),
        );
        let covered = |grant: &String| {
            !model::grants::is_permission_grant(grant)
                || model::grants::first(&mine, &probe(grant), model::grants::permission_covers)
                    .is_some()
        };
        let (my_set, their_set) = (
            PermissionSet::compile(&mine),
            PermissionSet::compile(&theirs),
        );
        assert_eq!(
            my_set.covers_all_of(&their_set),
            theirs.iter().all(covered),
            "{mine:?} {theirs:?}"
        );

        let (mine, theirs) = (
            g.list(0, 3, grants::scope_grant),
            g.list(0, 2, grants::scope_grant),
        );
        let probe = |grant: &str| {
            if grant.ends_with("*") {
                probe(grant)
            } else {
                grant.to_owned()
            }
        };
        let covered = |grant: &String| {
            !model::grants::is_scope_grant(grant)
                || model::grants::first(&mine, &probe(grant), model::grants::scope_covers).is_some()
        };
        let covers = ScopeSet::compile(&mine).covers_all_of(&ScopeSet::compile(&theirs));
        assert_eq!(covers, theirs.iter().all(covered), "{mine:?} {theirs:?}");
        covers
    });
}

#[test]
fn access_maps() {
    check_all("access maps", 4, |g| {
        let raw = RawGrants::Access(grants::access(g));
        let access = Some(grants::access_requirement(g));
        let families = Families {
            access,
            ..Families::default()
        };
        let outcome = evaluated(&raw, &families);
        assert_eq!(outcome, by_model(&raw, &families), "{raw:?} {families:?}");
        outcome.is_ok()
    });
}

#[test]
fn rules() {
    check_all("rules", 20, |g| {
        let check = rule::check(g);
        let mut rules = rule::rules(g, &check);
        if g.percent(30) {
            rules.insert(
                0,
                RawRule {
                    action: vec!["manage".to_owned()],
                    ..RawRule::default()
                },
            );
        }
        let placeholders = rule::placeholders(g);
        let verdict = judged(&rules, &check, &placeholders);
        let expected = model::rule::judge(&rules, &check, &placeholders);
        assert_eq!(verdict, expected, "{rules:#?} {check:#?} {placeholders:?}");
        let good = rules.iter().all(model::rule::is_good);
        let raw = RawGrants::Workspace { rules };
        assert_eq!(validate_grants(&raw).is_ok(), good, "{raw:#?}");
        verdict.0
    });
}

/// One allow with these conditions, on a resource of one attribute `it`.
fn one_condition(name: &str, operators: Value, it: Value) -> (Vec<RawRule>, model::rule::Check) {
    let rule = RawRule {
        action: vec!["read".to_owned()],
        conditions: Some(Value::Object(vec![(name.into(), operators)])),
        ..RawRule::default()
    };
    let check = model::rule::Check {
        action: "read".to_owned(),
        subject: "pages".to_owned(),
        resource: model::rule::Resource {
            attributes: vec![("it".to_owned(), Some(it))],
            complete: true,
        },
        field: None,
        any_field: false,
    };
    (vec![rule], check)
}

#[test]
fn patterns() {
    check_all("patterns", 5, |g| {
        let options = g.pick(&["", "", "i", "m", "s", "ms", "ims"]);
        let operators = vec![
            ("$regex".into(), rule::text(&rule::pattern(g))),
            ("$options".into(), rule::text(options)),
        ];
        let it = rule::text(&rule::pattern_text(g, options));
        let (rules, check) = one_condition("it", Value::Object(operators), it);
        let verdict = judged(&rules, &check, &Placeholders::default());
        let expected = model::rule::judge(&rules, &check, &Placeholders::default());
        assert_eq!(verdict, expected, "{rules:?} {check:?}");
        verdict.0
    });
}

#[test]
fn paths() {
    check_all("paths", 9, |g| {
        let raw = request::path(g);
        let expected = model::request::path(&raw);
        let shown = String::from_utf8_lossy(&raw);
        let Ok(path) = Path::parse(&raw) else {
            assert_eq!(expected, None, "{shown}");
            return false;
        };
        let segments = (0..path.len()).map(|at| path.segment(at).expect("segment").to_owned());
        let in_models_words = model::request::Path {
            canonical: path.canonical().to_owned(),
            segments: segments.collect(),
            trailing_slash: path.has_trailing_slash(),
            encoded_slash: path.has_encoded_slash(),
            matrix: path.has_matrix(),
        };
        assert_eq!(Some(&in_models_words), expected.as_ref(), "{shown}");
        let again = Path::parse(path.canonical().as_bytes()).expect("canonical");
        assert_eq!(
            again.canonical(),
            path.canonical(),
            "canonicalising twice is canonicalising once"
        );
        true
    });
}

#[test]
fn hosts_and_queries() {
    check_all("hosts and queries", 4, |g| {
        let raw = request::host(g);
        let host = Host::parse(&raw).ok().map(|host| host.as_str().to_owned());
        assert_eq!(
            host,
            model::request::host(&raw),
            "{}",
            String::from_utf8_lossy(&raw)
        );
        let query = request::query(g);
        for name in ["project_id", "org"] {
            let value = Query::parse(Some(query.as_bytes()))
                .expect("query")
                .value(name);
            let expected = model::request::query_value(&query, name);
            assert_eq!(
                value.ok().map(|it| it.map(Into::into)),
                expected.ok(),
                "{name} in {query}"
            );
        }
        host.is_some()
    });
}

#[test]
fn credentials() {
    check_all("credentials", 9, |g| {
        let rules = request::credential_rules(g);
        let keys = g.list(1, 2, request::api_key);
        let (lines, query) = request::shown(g, &keys);
        let expected = model::credential::shown(&rules, &lines, query.as_deref().unwrap_or(""));
        let headers = bridge::header_map(&lines);
        let query = Query::parse(query.as_deref().map(str::as_bytes)).expect("query");
        let shown = rules.extract(&headers, &query).map(|shown| {
            (
                shown.key.map(|key| (key.family(), key.digest(None))),
                shown.user_token,
            )
        });
        let expected = expected.map(|shown| {
            let family = |token: &[u8]| match model::credential::kind(token) {
                Some(Kind::Key(family)) => family,
                other => panic!("{other:?} is no key"),
            };
            (
                shown
                    .key
                    .map(|key| (family(&key), KeyDigest::of(&key, None))),
                shown.user_token,
            )
        });
        assert_eq!(shown, expected, "{rules:?} {lines:?} {query:?}");
        matches!(shown, Ok((Some(_), _)))
    });
}

#[test]
fn route_choice() {
    check_all("route choice", 10, |g| {
        let routes = world::matchers(g, 12);
        let table = bridge::route_table(routes.iter());
        let aim = g.one(&routes);
        let method = g.one(&aim.methods);
        let method = if g.percent(15) {
            "GET".to_owned()
        } else {
            method
        };
        let host = aim.hosts.first().map_or("api.example.com", String::as_str);
        let host = if g.percent(15) { "other.test" } else { host };
        let raw = world::path_for(g, &aim);
        let Some(path) = model::request::path(raw.as_bytes()) else {
            return false;
        };
        let expected = model::route::choose(routes.iter(), host, &path, &method);
        let (headers, verb) = (HeaderMap::new(), method.parse::<Method>().expect("method"));
        let facts =
            RequestFacts::new(&verb, host.as_bytes(), raw.as_bytes(), &headers).expect("facts");
        let found = match table.find(&facts) {
            RouteMatch::NotFound => Choice::Nothing,
            RouteMatch::MethodNotAllowed(methods) => {
                Choice::OtherMethods(methods.iter().map(ToString::to_string).collect())
            }
            RouteMatch::Found(id, captures) => {
                let names = table.spec(id).expect("spec").pattern.captures();
                let value = |at| captures.get(at, &facts.path).expect("capture").to_owned();
                let bound = names
                    .iter()
                    .enumerate()
                    .map(|(at, name)| ((*name).to_owned(), value(at)));
                Choice::Route(usize::try_from(id.0).unwrap(), bound.collect())
            }
        };
        assert_eq!(found, expected, "{method} {host} {raw} among {routes:#?}");
        matches!(found, Choice::Route(..))
    });
}

#[test]
fn heads() {
    check_all("heads", 3, |g| {
        let request = request::head(g);
        let accepted = model::request::accept(&request);
        let by_model = accepted.map(|(host, path, _)| (host, path.canonical));
        let of_facts = |facts: &RequestFacts<'_>| {
            (
                facts.host.as_str().to_owned(),
                facts.path.canonical().to_owned(),
            )
        };
        assert_eq!(
            bridge::with_facts(&request, of_facts),
            by_model,
            "{request:?}"
        );
        by_model.is_some()
    });
}

#[test]
fn whole_decisions() {
    let seen = RefCell::new(BTreeMap::new());
    let count = check_all("whole decisions", 8, |g| {
        let world = world::world(g);
        let request = world::request(g, &world);
        let decision = bridge::decide(&world, &bridge::rulebook(&world), &request);
        let expected = model::decision::decide(&world, &request);
        assert_eq!(decision, expected, "{world:#?} {request:#?}");
        let outcome = match &decision {
            Decision::Allow(pass) => pass.unjudged.map_or("judged", Anonymous::as_str),
            Decision::Deny { reason, .. } => reason.as_str(),
        };
        *seen.borrow_mut().entry(outcome).or_insert(0) += 1;
        matches!(decision, Decision::Allow(_))
    });
    let seen = seen.into_inner();
    println!("{seen:?}");
    let in_decisions = |reason: &&Reason| [400, 401, 403, 404, 405].contains(&reason.status());
    for reason in Reason::ALL.iter().filter(in_decisions) {
        assert!(
            count < 5000 || seen.contains_key(reason.as_str()),
            "{reason:?} was never decided"
        );
    }
}

// What must hold whatever the model says.

#[test]
fn nothing_granted_is_nothing_allowed() {
    check_all("default deny", 1, |g| {
        let org = Families {
            org: Some(grants::org_requirement(g)),
            ..Families::default()
        };
        let none = RawGrants::Org {
            permissions: Vec::new(),
            scopes: Vec::new(),
        };
        assert!(evaluated(&none, &org).is_err(), "{org:?}");
        let check = rule::check(g);
        assert_eq!(
            judged(&[], &check, &rule::placeholders(g)),
            (false, None),
            "{check:?}"
        );
        let access = Families {
            access: Some(grants::access_requirement(g)),
            ..Families::default()
        };
        let none = RawGrants::Access(keyward::authz::RawAccess {
            permission_mode: "RESTRICTED".to_owned(),
            ..Default::default()
        });
        assert!(evaluated(&none, &access).is_err(), "{access:?}");
        true
    });
}

#[test]
fn one_more_deny_allows_nothing_more() {
    check_all("one more deny", 4, |g| {
        let check = rule::check(g);
        let mut rules = rule::rules(g, &check);
        let placeholders = rule::placeholders(g);
        let before = judged(&rules, &check, &placeholders);
        let deny = RawRule {
            inverted: true,
            ..rule::rule(g, &check)
        };
        rules.insert(g.below(rules.len() + 1), deny);
        let after = judged(&rules, &check, &placeholders);
        assert!(before.0 || !after.0, "{rules:#?} {check:#?}");
        before.0
    });
}

#[test]
fn one_more_permission_denies_nothing_more() {
    check_all("one more permission", 3, |g| {
        let wanted = grants::org_requirement(g);
        let (mut permissions, scopes) = grants::org_grants(g, &wanted);
        let families = Families {
            org: Some(wanted),
            ..Families::default()
        };
        let raw = RawGrants::Org {
            permissions: permissions.clone(),
            scopes: scopes.clone(),
        };
        let before = evaluated(&raw, &families).is_ok();
        permissions.insert(g.below(permissions.len() + 1), grants::permission_grant(g));
        let after = evaluated(
            &RawGrants::Org {
                permissions,
                scopes,
            },
            &families,
        )
        .is_ok();
        assert!(!before || after, "{raw:?} {families:?}");
        before
    });
}

#[test]
fn order_of_permissions_decides_nothing() {
    check_all("order of permissions", 2, |g| {
        let wanted = grants::org_requirement(g);
        let (permissions, scopes) = grants::org_grants(g, &wanted);
        let families = Families {
            org: Some(wanted),
            ..Families::default()
        };
        let reason = |raw: &RawGrants| evaluated(raw, &families).err().map(|(reason, _)| reason);
        let shuffled = RawGrants::Org {
            permissions: g.shuffled(&permissions),
            scopes: g.shuffled(&scopes),
        };
        let written = reason(&RawGrants::Org {
            permissions,
            scopes,
        });
        assert_eq!(written, reason(&shuffled), "{shuffled:?} {families:?}");
        written.is_none()
    });
}
