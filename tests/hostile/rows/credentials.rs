//! Credentials: one key, in one place, of one form; and none of it goes upstream.

use crate::row::{Row, get, raw};
use crate::world::{KEY, OTHER_KEY, UNKNOWN_KEY, USER_TOKEN, WORKSPACE_KEY};

const AGENT: &str = "/v1/agents/a1";
const AMBIGUOUS: (u16, &str) = (400, "ambiguous_credential");
const MALFORMED: (u16, &str) = (401, "malformed_credential");
const MISSING: (u16, &str) = (401, "missing_credential");

pub fn rows() -> Vec<Row> {
    let mut rows = refused();
    rows.extend(passed());
    rows.extend(odd_bytes());
    rows.extend(stripped());
    rows.extend(other_families());
    rows
}

fn header(key: &str) -> String {
    format!("x-prismeai-api-key: {key}")
}

fn bearer(key: &str) -> String {
    format!("Authorization: Bearer {key}")
}

/// Lines and what they are refused for.
type Case = (Vec<String>, (u16, &'static str));

fn refused() -> Vec<Row> {
    let row = |(lines, (status, reason)): Case| {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        get(AGENT, &lines).refused_open(status, reason)
    };
    let mut rows: Vec<Row> = no_key().into_iter().chain(two_keys()).map(row).collect();
    // In a query a key is none, unless a configuration says so.
    rows.push(get(&format!("{AGENT}?api_key={KEY}"), &[]).refused_open(401, "missing_credential"));
    rows
}

/// No key, or nothing that could be one.
fn no_key() -> Vec<Case> {
    let long = "a".repeat(300);
    let huge = "a".repeat(60_000);
    vec![
        (vec![], MISSING),
        (vec!["Authorization: Basic eDp5".into()], MISSING),
        (vec!["Authorization: Negotiate x".into()], MISSING),
        (vec![format!("x_prismeai_api_key: {KEY}")], MISSING),
        (vec![format!("x.prismeai.api.key: {KEY}")], MISSING),
        (vec![format!("Cookie: x-prismeai-api-key={KEY}")], MISSING),
        (vec![format!("x-api-key: {KEY}")], MISSING),
        (vec![header("")], MALFORMED),
        (vec![header("nonsense")], MALFORMED),
        (vec![header(&long)], MALFORMED),
        (vec![header(&huge)], MALFORMED),
        (vec![header(&format!("{KEY}x"))], MALFORMED),
        (vec![header(&KEY.to_uppercase())], MALFORMED),
        (vec![header(&format!("Bearer {KEY}"))], MALFORMED),
        (vec![header(&format!("\"{KEY}\""))], MALFORMED),
        (vec![header(&format!("{KEY} x"))], MALFORMED),
        (vec![header(&format!("{KEY};"))], MALFORMED),
        (vec![header(&format!("{KEY}%00"))], MALFORMED),
        (vec![header(KEY.split_at(KEY.len() - 1).0)], MALFORMED),
        (vec![header("iak_")], MALFORMED),
        (
            vec![header("iak__0b8f2c1e-5a4d-4c3b-9e2f-1a2b3c4d5e6f")],
            MALFORMED,
        ),
        (vec![header("sk-orq-x")], MALFORMED),
        (vec![header(USER_TOKEN)], MALFORMED),
        (vec![format!("Authorization: {KEY}")], MALFORMED),
        (vec!["Authorization: Bearer".into()], MALFORMED),
        (vec!["Authorization: Bearer ".into()], MALFORMED),
        (vec![format!("Authorization: Bearer  {KEY}")], MALFORMED),
        (vec![format!("Authorization: Bearer\t{KEY}")], MALFORMED),
        (vec![format!("Authorization: Bearer={KEY}")], MALFORMED),
        (vec![format!("Authorization: Bearer:{KEY}")], MALFORMED),
        (vec![format!("Authorization: Bearer \"{KEY}\"")], MALFORMED),
        (vec![format!("Authorization: Bearer {KEY} x")], MALFORMED),
    ]
}

/// More than one, and keys that are not good for this.
fn two_keys() -> Vec<Case> {
    vec![
        (vec![header(&format!("{KEY},{KEY}"))], AMBIGUOUS),
        (vec![header(&format!("{KEY}, {OTHER_KEY}"))], AMBIGUOUS),
        (vec![header(&format!("{KEY},"))], AMBIGUOUS),
        (vec![header(&format!(",{KEY}"))], AMBIGUOUS),
        (vec![header(KEY), header(OTHER_KEY)], AMBIGUOUS),
        (vec![header(OTHER_KEY), header(KEY)], AMBIGUOUS),
        (vec![header(KEY), header(KEY)], AMBIGUOUS),
        (vec![header(KEY), header("")], AMBIGUOUS),
        (vec![header(""), header(KEY)], AMBIGUOUS),
        (vec![header(KEY), header("nonsense")], AMBIGUOUS),
        (
            vec![header(KEY), format!("X-PRISMEAI-API-KEY: {UNKNOWN_KEY}")],
            AMBIGUOUS,
        ),
        (vec![header(KEY), bearer(OTHER_KEY)], AMBIGUOUS),
        (vec![bearer(OTHER_KEY), header(KEY)], AMBIGUOUS),
        (vec![header(KEY), bearer(UNKNOWN_KEY)], AMBIGUOUS),
        (vec![header(UNKNOWN_KEY), bearer(KEY)], AMBIGUOUS),
        (vec![header(KEY), bearer(WORKSPACE_KEY)], AMBIGUOUS),
        (vec![bearer(KEY), bearer(KEY)], AMBIGUOUS),
        (vec![bearer(KEY), bearer(OTHER_KEY)], AMBIGUOUS),
        (
            vec![bearer(KEY), "Authorization: Basic eDp5".into()],
            AMBIGUOUS,
        ),
        (
            vec!["Authorization: Basic eDp5".into(), bearer(KEY)],
            AMBIGUOUS,
        ),
        (
            vec![format!("Authorization: Bearer {KEY},{OTHER_KEY}")],
            AMBIGUOUS,
        ),
        (
            vec![format!("Authorization: Bearer {KEY}, Bearer {OTHER_KEY}")],
            AMBIGUOUS,
        ),
        (
            vec![format!("Authorization: Basic eDp5, Bearer {KEY}")],
            AMBIGUOUS,
        ),
        (vec![header(UNKNOWN_KEY)], (401, "unknown_key")),
        (vec![bearer(UNKNOWN_KEY)], (401, "unknown_key")),
        (vec![bearer(USER_TOKEN)], (401, "user_token_rejected")),
        (vec![header(OTHER_KEY)], (403, "missing_permission")),
        (vec![header(WORKSPACE_KEY)], (403, "family_not_accepted")),
        (
            vec![bearer(USER_TOKEN), header(UNKNOWN_KEY)],
            (401, "unknown_key"),
        ),
    ]
}

fn passed() -> Vec<Row> {
    let line = format!("GET {AGENT}");
    let key = header(KEY);
    let user = bearer(USER_TOKEN);
    let user_seen = format!("authorization: Bearer {USER_TOKEN}");
    let pass = |lines: &[&str], seen: &[&str]| get(AGENT, lines).passes_known(&line, seen, b"");
    let mut rows: Vec<Row> = [
        format!("x-prismeai-api-key: {KEY}"),
        format!("X-PrismeAI-API-Key: {KEY}"),
        format!("x-prismeai-api-key:{KEY}"),
        format!("x-prismeai-api-key: \t{KEY} \t"),
        bearer(KEY),
        format!("authorization: bearer {KEY}"),
        format!("AUTHORIZATION: BEARER {KEY}"),
        format!("Authorization: bEaReR {KEY}"),
    ]
    .iter()
    .map(|line| pass(&[line], &[]))
    .collect();
    rows.extend([
        pass(&[&key, &bearer(KEY)], &[]),
        pass(&[&bearer(KEY), &key], &[]),
        pass(&[&key, &user], &[&user_seen]),
        pass(&[&user, &key], &[&user_seen]),
        pass(
            &[&key, "Authorization: Basic eDp5"],
            &["authorization: Basic eDp5"],
        ),
        pass(&[&key, &format!("x_prismeai_api_key: {OTHER_KEY}")], &[]),
        pass(&[&key, &format!("x.prismeai-api_key: {UNKNOWN_KEY}")], &[]),
        pass(&[&key, "Cookie: a=b"], &["cookie: a=b"]),
        get("/tokens/x", &[&user]).passes("GET /tokens/x", &[&user_seen], b""),
    ]);
    rows
}

/// Bytes that are in no key, in a key and in what a route reads.
fn odd_bytes() -> Vec<Row> {
    let mut rows = Vec::new();
    let with = |before: &[u8], byte: &[u8], target: &str| {
        let head = format!("GET {target} HTTP/1.1\r\nHost: gw.test\r\n");
        raw([head.as_bytes(), before, byte, b"\r\n\r\n"].concat())
    };
    let (status, reason) = MALFORMED;
    for byte in [&b"\x80"[..], b"\xc3\xa9", b"\xff", b"\xa0", b"\xef\xbb\xbf"] {
        rows.push(with(header(KEY).as_bytes(), byte, AGENT).refused_open(status, reason));
        rows.push(with(bearer(KEY).as_bytes(), byte, AGENT).refused_open(status, reason));
    }
    for byte in [b"\x00", b"\x01", b"\x0b", b"\x1f", b"\x7f"] {
        rows.push(with(header(KEY).as_bytes(), byte, AGENT).malformed());
        rows.push(with(bearer(KEY).as_bytes(), byte, AGENT).malformed());
    }
    // A header that the route reads: not text, or twice, is ambiguous, and never "the first wins".
    let reads = [header(KEY).as_bytes(), b"\r\nx-agent: a1"].concat();
    rows.push(with(&reads, b"", "/by-header").passes_known(
        "GET /by-header",
        &["x-agent: a1"],
        b"",
    ));
    for byte in [
        &b"\xff"[..],
        b"\xc3",
        b"\x80",
        b"\r\nx-agent: a1",
        b"\r\nX-Agent: a2",
    ] {
        rows.push(with(&reads, byte, "/by-header").refused_open(400, "ambiguous_request"));
    }
    for byte in [&b"x"[..], b",a2", b"\xc3\xa9", b":*"] {
        rows.push(with(&reads, byte, "/by-header").refused_open(403, "out_of_scope"));
    }
    rows
}

/// On an open route nobody judges a key, and still none goes upstream.
fn stripped() -> Vec<Row> {
    let lines = [
        header(KEY),
        header("nonsense"),
        header(&format!("{KEY},{OTHER_KEY}")),
        format!("X_PrismeAI_Api.Key: {KEY}"),
        bearer(KEY),
        bearer(&format!(" {KEY}")),
        format!("Authorization: {KEY}"),
        format!("Authorization: Basic eDp5, Bearer {KEY}"),
        format!("Authorization: bearer\t{KEY}"),
        format!("Authorization: Bearer={KEY}"),
    ];
    let mut rows: Vec<Row> = lines
        .iter()
        .map(|line| get("/open/x", &[line]).passes("GET /open/x", &[], b""))
        .collect();
    rows.push(get("/open/x", &[&header(KEY), &header(OTHER_KEY)]).passes("GET /open/x", &[], b""));
    let user = bearer(USER_TOKEN);
    let seen = format!("authorization: Bearer {USER_TOKEN}");
    rows.push(get("/open/x", &[&user]).passes("GET /open/x", &[&seen], b""));
    rows
}

fn other_families() -> Vec<Row> {
    let key = header(WORKSPACE_KEY);
    let seen = [
        "x-keyward-family: workspace",
        "x-keyward-key-id: {workspace_key_id}",
        "x-keyward-workspace: w1",
    ];
    vec![
        get("/v2/workspaces/w1/pages/p1", &[&key]).passes(
            "GET /v2/workspaces/w1/pages/p1",
            &seen,
            b"",
        ),
        get("/v2/workspaces/%771/pages/%701?%zz", &[&key]).passes(
            "GET /v2/workspaces/w1/pages/p1?%zz",
            &seen,
            b"",
        ),
        get("/v2/workspaces/w2/pages/p1", &[&key]).refused_open(403, "workspace_mismatch"),
        get("/v2/workspaces/w1/pages/p2", &[&key]).refused_open(403, "no_matching_rule"),
        get("/v2/workspaces/W1/pages/p1", &[&key]).refused_open(403, "workspace_mismatch"),
        get("/v2/workspaces/w1/pages/p1", &[&header(KEY)]).refused_open(403, "family_not_accepted"),
        get(
            "/v2/workspaces/w1/pages/p1",
            &[&header(&WORKSPACE_KEY.replace('-', ""))],
        )
        .refused_open(401, "malformed_credential"),
    ]
}
