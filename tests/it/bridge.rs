//! From the model's plain data to the implementation's types, and its decisions back.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use keyward::authz::{
    AccessRequirement, Admission, Attribute, Decision, Denial, Determination, FamilyRequirements,
    ForwardKey, HeadView, KeyDigest, KeyLookup, OrgRequirement, PlaceholderValues, Policy,
    Principal, ProjectRequirement, RawRule, Reason, RequestFacts, Requirement, Resource,
    ResourceValue, RouteId, RoutePattern, RouteSpec, RouteTable, RuleCheck, RuleRequirement,
    RuleSet, RuleVerdict, Rulebook, Template, Timestamp, UserTokens, Value, WorkspaceRequirement,
    check_framing,
};

use crate::model::condition::Placeholders;
use crate::model::requirement::Stated;
use crate::model::{
    self,
    decision::{Allowed, Key, World},
    request::Request,
    route::Matcher,
};

/// The route table of these routes; the name of a route is its position.
pub fn route_table<'a>(matchers: impl Iterator<Item = &'a Matcher>) -> RouteTable {
    let specs = matchers.enumerate().map(|(index, matcher)| RouteSpec {
        name: index.to_string(),
        hosts: matcher.hosts.clone(),
        pattern: RoutePattern::parse(&matcher.path).expect("pattern"),
        methods: matcher
            .methods
            .iter()
            .map(|m| m.parse().expect("method"))
            .collect(),
        options: matcher.options,
    });
    RouteTable::build(specs.collect()).expect("routes that load together")
}

/// The rulebook of a world.
pub fn rulebook(world: &World) -> Rulebook {
    let routes = route_table(world.routes.iter().map(|route| &route.matcher));
    let policies = world.routes.iter().map(|route| {
        let pattern = RoutePattern::parse(&route.matcher.path).expect("pattern");
        Policy {
            requirement: requirement(&route.requirement, &pattern.captures()),
            optional: route.optional,
            user_tokens: if route.user_tokens_forward {
                UserTokens::Forward
            } else {
                UserTokens::Reject
            },
            shadow: route.shadow,
            forward: if route.forward_key {
                ForwardKey::Keep
            } else {
                ForwardKey::Strip
            },
            encoded_slash: route.encoded_slash,
            matrix: route.matrix,
        }
    });
    Rulebook::new(routes, policies.collect(), world.credentials.clone())
}

fn requirement(wanted: &model::requirement::Requirement, captures: &[&str]) -> Requirement {
    match wanted {
        model::requirement::Requirement::Anonymous => Requirement::Anonymous,
        model::requirement::Requirement::Authenticated => Requirement::Authenticated,
        model::requirement::Requirement::TrustedIdentity => Requirement::TrustedIdentity,
        model::requirement::Requirement::Families(wanted) => {
            Requirement::Families(families(wanted, captures))
        }
    }
}

/// The requirements of each family, their texts parsed as templates over `captures`.
pub fn families(wanted: &model::requirement::Families, captures: &[&str]) -> FamilyRequirements {
    let template = |text: &String| Template::parse(text, captures).expect("template");
    let templates = |texts: &Vec<String>| texts.iter().map(template).collect();
    FamilyRequirements {
        org: wanted.org.as_ref().map(|org| OrgRequirement {
            org: org.org.as_ref().map(template),
            permissions: templates(&org.permissions),
            any_permission: templates(&org.any_permission),
            scopes: templates(&org.scopes),
            empty_scopes_allow: org.empty_scopes_allow,
        }),
        workspace: wanted
            .workspace
            .as_ref()
            .map(|workspace| WorkspaceRequirement {
                workspace: workspace.workspace.as_ref().map(template),
                rule: workspace.rule.as_ref().map(|rule| RuleRequirement {
                    action: rule.action.clone(),
                    subject: rule.subject.clone(),
                    resource: rule
                        .resource
                        .iter()
                        .map(|(name, value)| {
                            let value = match value {
                                Stated::Template(text) => ResourceValue::Template(template(text)),
                                Stated::Literal(value) => ResourceValue::Literal(value.clone()),
                            };
                            (name.clone(), value)
                        })
                        .collect(),
                    complete: rule.complete,
                    field: rule.field.as_ref().map(template),
                    any_field: rule.any_field,
                }),
            }),
        access: wanted.access.as_ref().map(|access| AccessRequirement {
            domain: access.domain.as_str().into(),
            level: access.level,
            project: match &access.project {
                model::requirement::Project::Unstated => ProjectRequirement::Unstated,
                model::requirement::Project::Any => ProjectRequirement::Any,
                model::requirement::Project::At(text) => ProjectRequirement::At(template(text)),
            },
        }),
    }
}

/// The attributes of a resource as the implementation takes them.
pub fn attributes(of: &model::rule::Resource) -> Vec<(&str, Attribute<'_>)> {
    let mut attributes = Vec::new();
    for (name, value) in &of.attributes {
        let known = value.as_ref().map(Value::as_ref);
        attributes.push((
            name.as_str(),
            known.map_or(Attribute::Unknown, Attribute::Known),
        ));
    }
    attributes
}

/// What the implementation makes of rules, in the model's words.
pub fn judged(
    rules: &[RawRule],
    check: &model::rule::Check,
    placeholders: &Placeholders,
) -> (bool, Option<u16>) {
    let attributes = attributes(&check.resource);
    let resource = Resource {
        attributes: &attributes,
        complete: check.resource.complete,
    };
    let placeholders = PlaceholderValues {
        user_id: placeholders.user_id.as_deref(),
        session_id: None,
        subject_id: placeholders.subject_id.as_deref(),
    };
    let verdict = RuleSet::compile(rules, placeholders).judge(&RuleCheck {
        action: &check.action,
        subject: &check.subject,
        resource: &resource,
        field: check.field.as_deref(),
        any_field: check.any_field,
    });
    match verdict {
        RuleVerdict::Allowed(index) => (true, Some(index)),
        RuleVerdict::Denied(index) => (false, Some(index)),
        RuleVerdict::NoMatch => (false, None),
    }
}

pub fn header_map(headers: &[(String, Vec<u8>)]) -> HeaderMap {
    let line = |(name, value): &(String, Vec<u8>)| {
        let name: HeaderName = name.parse().expect("header name");
        (name, HeaderValue::from_bytes(value).expect("header value"))
    };
    headers.iter().map(line).collect()
}

/// What `then` makes of the facts of a request; `None` where it is no canonical request.
pub fn with_facts<T>(request: &Request, then: impl FnOnce(&RequestFacts<'_>) -> T) -> Option<T> {
    let lines: Vec<(&str, &[u8])> = request
        .headers
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_slice()))
        .collect();
    let head = HeadView {
        method: request.method.as_bytes(),
        target: &request.target,
        minor_version: request.minor_version,
        headers: &lines,
    };
    check_framing(&head).ok()?;
    let method: Method = request.method.parse().expect("method");
    let headers = header_map(&request.headers);
    let host = headers
        .get("host")
        .expect("a framed request has a host")
        .as_bytes();
    let facts = RequestFacts::new(&method, host, &request.target, &headers).ok()?;
    Some(then(&facts))
}

/// Decides by the implementation: the facts, both halves of the rulebook, a look-up by digest between.
pub fn decide(world: &World, rulebook: &Rulebook, request: &Request) -> model::decision::Decision {
    let now = Timestamp::from_millis(world.now);
    let decide = |facts: &RequestFacts<'_>| {
        let facts = &facts.clone().with_trusted_identity(world.trusted_identity);
        let decision = match rulebook.admit(facts) {
            Admission::Decided(decision) => decision,
            Admission::NeedsKey(pending) => {
                let found = look_up(world, pending.key.digest(None));
                rulebook.conclude(&pending, found, facts, now)
            }
        };
        in_models_words(decision, facts.path.canonical())
    };
    let malformed = || in_models_words(Decision::Deny(Denial::new(Reason::MalformedRequest)), "");
    with_facts(request, decide).unwrap_or_else(malformed)
}

fn look_up(world: &World, digest: KeyDigest) -> KeyLookup {
    let of = |key: &&Key| KeyDigest::of(key.token.as_bytes(), None) == digest;
    match world.keys.iter().find(of) {
        _ if !world.keys_available => KeyLookup::Unavailable,
        None => KeyLookup::Unknown,
        Some(key) => KeyLookup::Found {
            principal: Arc::new(Principal::compile(&key.record)),
            retired_at: key.retired_at.map(Timestamp::from_millis),
        },
    }
}

fn in_models_words(decision: Decision, path: &str) -> model::decision::Decision {
    let index = |route: RouteId| usize::try_from(route.0).expect("index");
    match decision {
        Decision::Allow(permit) => model::decision::Decision::Allow(Allowed {
            route: index(permit.route()),
            path: path.to_owned(),
            key: permit.principal().map(|principal| principal.id.to_string()),
            determined_by: permit.determined_by().clone(),
            unjudged: permit.unjudged(),
            shadowed: permit.shadowed().map(|denial| denial.reason),
            forwards_key: permit.forwards_key(),
        }),
        Decision::Deny(denial) => {
            let is_403 = denial.reason.status() == 403;
            assert_eq!(
                denial.needed.is_some(),
                is_403,
                "a 403, and nothing else, says what is needed: {denial:?}"
            );
            let mut allow: Vec<String> = denial.allow.iter().map(ToString::to_string).collect();
            allow.sort();
            allow.dedup();
            model::decision::Decision::Deny {
                reason: denial.reason,
                route: denial.route.map(index),
                key: denial.principal.map(|principal| principal.id.to_string()),
                determined_by: denial.determined_by.unwrap_or(Determination::Nothing),
                allow,
            }
        }
    }
}
