//! Raw paths, hosts, queries, heads and credentials.

use http::HeaderName;
use keyward::authz::{CredentialRules, CredentialSource, UserTokenSource};

use super::Gen;
use crate::model::request::Request;

pub const UUIDS: &[&str] = &[
    "3f0a1b2c-0d4e-4f56-8a7b-9c0d1e2f3a4b",
    "00000000-0000-4000-8000-00000000000A",
];
const ULID: &str = "01J9Z3K4M5N6P7Q8R9S0T1V2W3";
const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ1MSJ9.c2lnbmF0dXJl";

/// The raw bytes of a path, canonical more often than not.
pub fn path(g: &mut Gen) -> Vec<u8> {
    let mut path = Vec::new();
    for _ in 0..g.below(5) {
        path.extend(b"/");
        for _ in 0..=g.below(3) {
            path.extend(path_piece(g));
        }
    }
    if path.is_empty() || g.percent(20) {
        path.push(b'/');
    }
    if g.percent(2) && path.len() > 1 {
        path.remove(0);
    }
    path
}

fn path_piece(g: &mut Gen) -> Vec<u8> {
    match g.below(60) {
        0 => g
            .one(&["%2F", "%2f", ";", "%3B", "%3b", ";v=1", "a%2Fb", "%2F.."])
            .into(),
        1 => g
            .one(&[
                "%5C",
                "%00",
                "%1f",
                "%7F",
                "%252e",
                "%2525",
                "%25%32%65",
                "%25",
            ])
            .into(),
        2 => g
            .one(&["%", "%4", "%zz", "%ff", "%C3", "%E2%82", "%ED%A0%80"])
            .into(),
        3 => g
            .one(&[".", "..", "%2e", "%2E%2e", ".%2e", "...", "/", "a..b"])
            .into(),
        4 => g
            .one(&[
                " ", "\"", "<", "\\", "^", "`", "{", "|", "}", "#", "é", "\u{7f}", "\t",
            ])
            .into(),
        5..=9 => g
            .one(&[
                "%41",
                "%7e",
                "%2d",
                "%C3%A9",
                "%c3%a9",
                "%20",
                "%3F",
                "%e2%82%ac",
                "%25zz",
            ])
            .into(),
        _ => g
            .one(&[
                "a",
                "B",
                "v1",
                "orgs",
                "x-y",
                "_",
                "~",
                "0",
                ":",
                "@",
                "!$&'()*+,=",
                ".",
            ])
            .into(),
    }
}

/// A `Host` value, good more often than not.
pub fn host(g: &mut Gen) -> Vec<u8> {
    let name = match g.below(12) {
        0 => g.one(&[
            "127.0.0.1",
            "10.0.0.255",
            "256.1.1.1",
            "1.2.3",
            "a.1",
            "0x7f.1",
        ]),
        1 | 2 => g.one(&[
            "[::1]",
            "[2001:DB8::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::1",
            "[::g]",
            "[]",
            "[::1%25lo]",
        ]),
        3 => g.one(&[
            "",
            ".",
            "a..b",
            "api.example.com.",
            "a b",
            "a_b",
            "é",
            "a,b",
            "u@a",
            "*",
            "a/b",
        ]),
        _ => g.one(&[
            "api.example.com",
            "API.Example.com",
            "localhost",
            "xn--e-zga.test",
            "a-b.c",
        ]),
    };
    let port = match g.below(10) {
        0..=5 => "",
        6 => g.one(&[":", ":0", ":65536", ":-1", ":+1", ":8a", ":80:80", ": 80"]),
        _ => g.one(&[":80", ":8080", ":1", ":65535"]),
    };
    format!("{name}{port}").into_bytes()
}

/// A query over few names.
pub fn query(g: &mut Gen) -> String {
    g.list(0, 4, |g| {
        let name = g.one(&[
            "project_id",
            "project_id",
            "org",
            "x",
            "project%5Fid",
            "project_id[]",
            "projectid",
            "%zz",
            "",
        ]);
        let value = g.one(&[
            "proj-1", "proj-1", "proj-2", "a1", "a+b", "a%2Bb", "%C3%A9", "%ff", "%4", "a=b", "",
        ]);
        if g.percent(10) {
            name.to_owned()
        } else {
            format!("{name}={value}")
        }
    })
    .join("&")
}

/// Lines of a head that frame its message; good more often than not.
fn framing_lines(g: &mut Gen) -> Vec<(String, Vec<u8>)> {
    let good_length = ["0", "5", "9223372036854775807"];
    let bad_length = ["+5", "-1", "5, 5", "0x5", "", "18446744073709551616"];
    let bad_coding = ["gzip", "gzip, chunked", "identity", "chunked, chunked", ""];
    let good_nomination = ["close", "Keep-Alive, TE", "te", "upgrade"];
    let bad_nomination = ["close, x-prismeai-api-key", "authorization", "host"];
    let mut lines = Vec::new();
    for (chance, name, values) in [
        (20, "Content-Length", good_length.as_slice()),
        (5, "content-length", &bad_length),
        (10, "Transfer-Encoding", &["chunked"]),
        (5, "transfer-encoding", &bad_coding),
        (30, "Connection", &good_nomination),
        (5, "connection", &bad_nomination),
    ] {
        lines.extend(g.maybe(chance, |g| {
            (name.to_owned(), g.pick(values).as_bytes().to_vec())
        }));
    }
    lines
}

/// A whole head whose every part may be wrong.
pub fn head(g: &mut Gen) -> Request {
    let host = if g.percent(40) {
        host(g)
    } else {
        b"api.example.com:8080".to_vec()
    };
    let mut target = match g.below(30) {
        0 => b"*".to_vec(),
        1 => b"api.example.com:443".to_vec(),
        2 | 3 => [b"http://".to_vec(), host.clone(), path(g)].concat(),
        4 => [b"HTTPS://other.test".to_vec(), path(g)].concat(),
        _ => path(g),
    };
    if g.percent(40) {
        target.extend(format!("?{}", query(g)).into_bytes());
        target.extend(g.maybe(4, |g| g.one(&[b' ', b'#', 0x7f, 0x01, b'\t'])));
    }
    let mut headers = vec![("Host".to_owned(), host)];
    headers.extend(g.maybe(2, |_| ("host".to_owned(), b"other.test".to_vec())));
    if g.percent(2) {
        headers.clear();
    }
    headers.extend(framing_lines(g));
    let odd_method = g.maybe(10, |g| g.pick(&["OPTIONS", "CONNECT", "PURGE"]));
    Request {
        method: odd_method.unwrap_or("GET").to_owned(),
        target,
        minor_version: u8::from(!g.percent(10)),
        headers: g.shuffled(&headers),
    }
}

/// An API key of any family.
pub fn api_key(g: &mut Gen) -> String {
    let uuid = g.pick(UUIDS);
    match g.below(3) {
        0 => format!("iak_{}_{uuid}", g.pick(&["acme", "globex", "a-b"])),
        1 => format!("sk-orq-{ULID}-{}", g.pick(&["s3cret", "another-1_secret"])),
        _ => uuid.to_owned(),
    }
}

/// A token of some form or of none.
fn token(g: &mut Gen, keys: &[String]) -> String {
    match g.below(20) {
        0 => g.pick(UUIDS).to_ascii_uppercase(),
        1 => format!("iak_acme_{}", "1".repeat(36)),
        2 => format!("iak__{}", UUIDS[0]),
        3 => format!("sk-orq-{}-s", ULID.replace('J', "I")),
        4 => g
            .one(&[
                "x", "secret", "12345", "iak_acme", "sk-orq-", "at:", "a.b.c", "eyJ.a",
            ])
            .into(),
        5 => format!("{},{}", g.one(keys), g.one(keys)),
        6 => format!("iak_{}_{}", "a".repeat(256), UUIDS[0]),
        7 => JWT.to_owned(),
        8 => "at:0f1e2d3c".to_owned(),
        9 => api_key(g),
        _ => g.one(keys),
    }
}

/// Where credentials may be: the default more often than not.
pub fn credential_rules(g: &mut Gen) -> CredentialRules {
    if g.percent(60) {
        return CredentialRules::default();
    }
    let sources = [
        CredentialSource::Header(HeaderName::from_static("x-prismeai-api-key")),
        CredentialSource::Header(HeaderName::from_static("x-api-key")),
        CredentialSource::Bearer,
        CredentialSource::Query("api_key".into()),
        CredentialSource::WebSocketProtocol,
    ];
    let user_sources = [
        UserTokenSource::Bearer,
        UserTokenSource::Cookie("access-token".into()),
        UserTokenSource::Header(HeaderName::from_static("x-prismeai-token")),
    ];
    let mut rules = CredentialRules {
        sources: g.shuffled(&sources),
        user_tokens_from: g.shuffled(&user_sources),
    };
    rules.sources.truncate(1 + g.below(sources.len()));
    rules
        .user_tokens_from
        .truncate(g.below(user_sources.len() + 1));
    rules
}

/// Header lines and a query that show credentials, in any of the places, known to the rules or not.
pub fn shown(g: &mut Gen, keys: &[String]) -> (Vec<(String, Vec<u8>)>, Option<String>) {
    let same = g.one(keys);
    let any = |g: &mut Gen| {
        if g.percent(60) {
            same.clone()
        } else {
            token(g, keys)
        }
    };
    let mut lines: Vec<(String, String)> = Vec::new();
    for (chance, name) in [
        (45, "x-prismeai-api-key"),
        (15, "x-api-key"),
        (3, "X-PrismeAI-API-Key"),
    ] {
        lines.extend(g.maybe(chance, |g| (name.to_owned(), any(g))));
    }
    if g.percent(35) {
        let value = match g.below(10) {
            0 => "Basic dXNlcjpwYXNz".to_owned(),
            1 => format!("bearer {}", any(g)),
            2 | 3 => format!("Bearer {JWT}"),
            4 => "Bearer at:0f1e2d3c".to_owned(),
            _ => format!("Bearer {}", any(g)),
        };
        lines.push(("authorization".to_owned(), value));
    }
    lines.extend(g.maybe(2, |g| {
        ("Authorization".to_owned(), format!("Bearer {}", any(g)))
    }));
    lines.extend(g.maybe(10, |g| {
        let other = token(g, keys);
        let offer = g.one(&[
            "graphql-ws".to_owned(),
            format!("bearer, {same}"),
            format!("bearer,{other}"),
        ]);
        ("sec-websocket-protocol".to_owned(), offer)
    }));
    lines.extend(g.maybe(10, |g| {
        let cookie = g.one(&[
            format!("access-token={JWT}"),
            format!("a=b; access-token={JWT}; c=d"),
            "a=b".into(),
        ]);
        ("cookie".to_owned(), cookie)
    }));
    lines.extend(g.maybe(5, |_| ("x-prismeai-token".to_owned(), JWT.to_owned())));
    let query = g.maybe(20, |g| {
        let value = any(g);
        g.one(&[
            format!("api_key={value}"),
            format!("x=1&api_key={value}"),
            "x=1".into(),
        ])
    });
    let lines = g
        .shuffled(&lines)
        .into_iter()
        .map(|(name, value)| (name, value.into_bytes()));
    (lines.collect(), query)
}
