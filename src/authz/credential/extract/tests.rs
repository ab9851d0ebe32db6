//! Tests of the credential rule: one key, wherever it is, and no guessing.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;
use crate::authz::{Family, KeyDigest};

const KEY: &str = "iak_acme_0b5e3b1c-7a0e-4b5f-9a53-0f2c9a1d2e3f";
const OTHER: &str = "0b5e3b1c-7a0e-4b5f-9a53-0f2c9a1d2e3f";
const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.e30.c2ln";

/// The key that is found and whether there is a user token.
type Shown = Result<(Option<String>, bool), Reason>;

fn extract(rules: &CredentialRules, lines: &[(&str, &str)], query: &str) -> Shown {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    let query = Query::parse(Some(query.as_bytes())).unwrap();
    let shown = rules.extract(&headers, &query)?;
    let key = shown.key.map(|key| {
        let known = [KEY, OTHER].map(|token| (token, KeyDigest::of(token.as_bytes(), None)));
        let found = known.iter().find(|(_, digest)| key.digest(None) == *digest);
        found.unwrap().0.to_owned()
    });
    Ok((key, shown.user_token))
}

fn by_default(lines: &[(&str, &str)]) -> Shown {
    extract(&CredentialRules::default(), lines, "")
}

fn key(token: &str) -> Shown {
    Ok((Some(token.to_owned()), false))
}

const NOTHING: Shown = Ok((None, false));
const AMBIGUOUS: Shown = Err(Reason::AmbiguousCredential);
const MALFORMED: Shown = Err(Reason::MalformedCredential);

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[test]
fn a_key_is_found_in_either_default_source() {
    assert_eq!(by_default(&[]), NOTHING);
    assert_eq!(by_default(&[("x-prismeai-api-key", KEY)]), key(KEY));
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let value = format!("{scheme} {OTHER}");
        assert_eq!(
            by_default(&[("authorization", &value)]),
            key(OTHER),
            "{scheme}"
        );
    }
    let both = [("x-prismeai-api-key", KEY), ("authorization", &bearer(KEY))];
    assert_eq!(by_default(&both), key(KEY));
    assert_eq!(by_default(&[("x_prismeai_api_key", KEY)]), NOTHING);
}

#[test]
fn two_keys_are_never_one() {
    for lines in [
        [
            ("x-prismeai-api-key", KEY),
            ("authorization", bearer(OTHER).as_str()),
        ]
        .as_slice(),
        &[("x-prismeai-api-key", KEY), ("x-prismeai-api-key", KEY)],
        &[("x-prismeai-api-key", KEY), ("x-prismeai-api-key", "junk")],
        &[("x-prismeai-api-key", "junk"), ("x-prismeai-api-key", KEY)],
        &[("x-prismeai-api-key", &format!("{KEY},{OTHER}"))],
        &[("x-prismeai-api-key", &format!("{KEY}, {KEY}"))],
        &[
            ("authorization", &bearer(KEY)),
            ("authorization", &bearer(KEY)),
        ],
        &[
            ("authorization", "Basic eDp5"),
            ("authorization", &bearer(KEY)),
        ],
        &[("authorization", &format!("Bearer {KEY}, Bearer {OTHER}"))],
        &[("authorization", &format!("Basic eDp5, bearer {KEY}"))],
    ] {
        assert_eq!(by_default(lines), AMBIGUOUS, "{lines:?}");
    }
}

/// A 400 stands before a 401, or a `shadow` route would turn the one into a pass that the other must not have.
#[test]
fn ambiguity_stands_before_bad_form_in_whatever_order() {
    let mut rules = CredentialRules::default();
    let twice = bearer(KEY);
    let lines = [
        ("x-prismeai-api-key", "junk"),
        ("authorization", twice.as_str()),
        ("authorization", &twice),
    ];
    assert_eq!(extract(&rules, &lines, ""), AMBIGUOUS);
    rules.sources.reverse();
    assert_eq!(extract(&rules, &lines, ""), AMBIGUOUS);
}

#[test]
fn what_has_no_form_is_malformed() {
    let long = format!("iak_acme_{}", "0".repeat(300));
    for value in [
        "",
        "junk",
        " ",
        &format!("{KEY} "),
        &format!("{KEY}\t"),
        JWT,
        "at:x",
        &long,
    ] {
        assert_eq!(
            by_default(&[("x-prismeai-api-key", value)]),
            MALFORMED,
            "{value}"
        );
    }
    for value in [
        "Bearer",
        "Bearer ",
        "Bearer junk",
        &format!("Bearer  {KEY}"),
        &format!("Bearer\t{KEY}"),
        &format!(" Bearer {KEY}"),
        &format!("Bearer {KEY} x"),
        &format!("Bearer:{KEY}"),
        KEY,
        OTHER,
        &bearer(&long),
    ] {
        assert_eq!(
            by_default(&[("authorization", value)]),
            MALFORMED,
            "{value}"
        );
    }
    let valid_and_junk = [
        ("x-prismeai-api-key", KEY),
        ("authorization", "Bearer junk"),
    ];
    assert_eq!(by_default(&valid_and_junk), MALFORMED);
    let mut headers = HeaderMap::new();
    headers.insert(
        "x-prismeai-api-key",
        HeaderValue::from_bytes(b"iak_\xff").unwrap(),
    );
    let shown = CredentialRules::default().extract(&headers, &Query::default());
    assert_eq!(shown.unwrap_err(), Reason::MalformedCredential);
}

#[test]
fn another_scheme_is_left_alone() {
    for value in [
        "",
        "Basic eDp5",
        "Bearers x",
        "Bearer-Token x",
        "Digest username=\"bearer\", realm=\"x\"",
        "Negotiate",
    ] {
        assert_eq!(by_default(&[("authorization", value)]), NOTHING, "{value}");
    }
}

#[test]
fn a_user_token_is_no_key_and_may_stand_beside_one() {
    let long = format!("eyJhbGciOiJSUzI1NiJ9.{}.c2ln", "a".repeat(2000));
    for token in [JWT, "at:0f", &long] {
        assert_eq!(
            by_default(&[("authorization", &bearer(token))]),
            Ok((None, true))
        );
        let both = [
            ("authorization", bearer(token)),
            ("x-prismeai-api-key", KEY.to_owned()),
        ];
        let both = both.each_ref().map(|(name, value)| (*name, value.as_str()));
        assert_eq!(by_default(&both), Ok((Some(KEY.to_owned()), true)));
    }
}

#[test]
fn user_tokens_come_only_from_their_sources() {
    let header = HeaderName::from_static("x-prismeai-api-key");
    let mut rules = CredentialRules {
        sources: vec![CredentialSource::Header(header.clone())],
        user_tokens_from: vec![
            UserTokenSource::Header(header),
            UserTokenSource::Header(HeaderName::from_static("x-prismeai-token")),
            UserTokenSource::Cookie("access-token".to_owned()),
            UserTokenSource::Bearer,
        ],
    };
    let token = Ok((None, true));
    let cookie = format!("a=b; access-token={JWT};c");
    for (name, value, expected) in [
        ("x-prismeai-api-key", JWT, &token),
        ("x-prismeai-token", "at:x", &token),
        ("cookie", &cookie, &token),
        ("authorization", &bearer(JWT), &token),
        ("x-prismeai-token", "junk", &NOTHING),
        ("cookie", "access-token=junk; xaccess-token=at:x", &NOTHING),
        ("authorization", "Bearer junk", &NOTHING),
        ("authorization", &bearer(KEY), &NOTHING),
    ] {
        assert_eq!(
            &extract(&rules, &[(name, value)], ""),
            expected,
            "{name}: {value}"
        );
    }
    let twice = [("x-prismeai-token", "at:x"), ("x-prismeai-token", "at:x")];
    assert_eq!(extract(&rules, &twice, ""), AMBIGUOUS);
    rules.user_tokens_from.clear();
    rules.sources.push(CredentialSource::Bearer);
    assert_eq!(
        extract(&rules, &[("authorization", &bearer(JWT))], ""),
        MALFORMED
    );
}

#[test]
fn a_query_parameter_is_a_source_when_opted_in() {
    let rules = CredentialRules {
        sources: vec![
            CredentialSource::Query("api_key".to_owned()),
            CredentialSource::Bearer,
        ],
        user_tokens_from: Vec::new(),
    };
    let in_query = |query: &str| extract(&rules, &[], query);
    assert_eq!(in_query(&format!("a=b&api_key={KEY}")), key(KEY));
    assert_eq!(in_query(&format!("api%5Fkey={KEY}")), key(KEY));
    assert_eq!(in_query("api_keys=x"), NOTHING);
    for query in [
        "api_key",
        "api_key=",
        "api_key=junk",
        &format!("api_key={}", KEY.replace('_', "%5F")),
    ] {
        assert_eq!(in_query(query), MALFORMED, "{query}");
    }
    for query in [
        format!("api_key={KEY}&api_key={KEY}"),
        format!("api_key={KEY}&api_key[]=x"),
        format!("api_key[]={KEY}"),
        format!("api_key={KEY},{OTHER}"),
    ] {
        assert_eq!(in_query(&query), AMBIGUOUS, "{query}");
    }
    let query = format!("api_key={KEY}");
    assert_eq!(
        extract(&rules, &[("authorization", &bearer(OTHER))], &query),
        AMBIGUOUS
    );
    let default = extract(&CredentialRules::default(), &[], &query);
    assert_eq!(default, NOTHING);
}

#[test]
fn a_websocket_protocol_is_a_source_when_opted_in() {
    let rules = CredentialRules {
        sources: vec![CredentialSource::WebSocketProtocol],
        user_tokens_from: Vec::new(),
    };
    let in_protocols = |value: &str| extract(&rules, &[("sec-websocket-protocol", value)], "");
    for value in [
        format!("bearer, {KEY}"),
        format!("chat,bearer,{KEY} , v2"),
        format!("Bearer,{KEY}"),
    ] {
        assert_eq!(in_protocols(&value), key(KEY), "{value}");
    }
    assert_eq!(in_protocols("chat, v2"), NOTHING);
    for value in [
        "bearer",
        "bearer,",
        "bearer, junk",
        &format!("bearer {KEY}, bearer"),
    ] {
        assert_eq!(in_protocols(value), MALFORMED, "{value}");
    }
    assert_eq!(
        in_protocols(&format!("bearer, {KEY}, bearer, {OTHER}")),
        AMBIGUOUS
    );
    let two_lines = [
        ("sec-websocket-protocol", "bearer"),
        ("sec-websocket-protocol", KEY),
    ];
    assert_eq!(extract(&rules, &two_lines, ""), AMBIGUOUS);
}

#[test]
fn families_are_told_by_form() {
    let mut headers = HeaderMap::new();
    headers.insert("x-prismeai-api-key", HeaderValue::from_static(OTHER));
    let shown = CredentialRules::default().extract(&headers, &Query::default());
    assert_eq!(shown.unwrap().key.unwrap().family(), Family::Workspace);
}

proptest! {
    /// Junk around a key never makes it another key, and nothing panics.
    #[test]
    fn a_key_is_found_whole_or_not_at_all(
        before in "[ -~]{0,3}",
        after in "[ -~]{0,3}",
        scheme in "(?i:bearer)|Basic|",
    ) {
        let value = format!("{scheme}{before}{KEY}{after}");
        for lines in [[("authorization", value.as_str())], [("x-prismeai-api-key", &value)]] {
            if let Ok((Some(found), _)) = by_default(&lines) {
                prop_assert_eq!(found, KEY);
                prop_assert!(value == KEY || value.eq_ignore_ascii_case(&bearer(KEY)));
            }
        }
    }

    #[test]
    fn what_is_found_is_stripped(token in "(iak_[a-z]{1,3}_|)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", protocol in "[a-z]{0,6}") {
        let header = HeaderName::from_static("x-key");
        let rules = CredentialRules {
            sources: vec![
                CredentialSource::Header(header.clone()),
                CredentialSource::Bearer,
                CredentialSource::WebSocketProtocol,
            ],
            user_tokens_from: vec![UserTokenSource::Header(header), UserTokenSource::Bearer],
        };
        for (name, value) in [
            ("x-key", token.clone()),
            ("authorization", format!("bEARER {token}")),
            ("sec-websocket-protocol", format!("{protocol}, bearer, {token}")),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(&value).unwrap());
            let shown = rules.extract(&headers, &Query::default()).unwrap();
            prop_assert!(shown.key.is_some());
            match rules.strip_header(name, value.as_bytes()) {
                crate::authz::Stripped::Keep => prop_assert!(false, "{} keeps its key", name),
                crate::authz::Stripped::Remove => {}
                crate::authz::Stripped::Replace(left) => {
                    prop_assert_eq!(left, protocol.clone().into_bytes());
                }
            }
        }
    }
}
