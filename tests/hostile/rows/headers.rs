//! Header lines: names, values, folds, counts, what `Connection` may name, and what is one hop's own.

use crate::row::{Row, get, raw};

/// Lines that are none.
const MALFORMED: &[&str] = &[
    "a : b",
    "a\t: b",
    " a: b",
    "\ta: b",
    ": b",
    ":",
    "a",
    "a b: c",
    "a\u{b}: b",
    "a,b: c",
    "a;b: c",
    "a/b: c",
    "a(b): c",
    "a\"b: c",
    "a=b: c",
    "a@b: c",
    "a[b]: c",
    "a{b}: c",
    "a\\b: c",
    "a<b>: c",
    "a?b: c",
    "\u{e9}: b",
    "x: a\r\n b",
    "x: a\r\n\tb",
    "x: a\r\n  b: c",
    "x:\r\n b",
    "x: a\n b",
    "x: a\nb: c",
    "x: a\rb: c",
    "x: a\r\r\nb: c",
    "x: a\n",
    "x: a\r",
    "a\r: b",
    "a\n: b",
    "\r",
];

/// What `Connection` may not name: it would take from the upstream what it must see.
const NOMINATED: &[&str] = &[
    "x-keyward-key-id",
    "close, x-keyward-org",
    "X-Keyward-Owner",
    "x-prismeai-user-id",
    "keep-alive, x-prismeai-api-key",
    "authorization",
    "Authorization, close",
    "cookie",
    "host",
    "close, Host",
    "content-length",
    "transfer-encoding",
    "content-type",
    "x-forwarded-for",
    "X-Forwarded-Host",
    "x-forwarded-proto",
    "x-real-ip",
    "forwarded",
    "x-correlation-id",
    "traceparent",
    "upgrade, x-y",
    "te, trailer",
    "proxy-connection",
    "expect",
    "x",
    ":path",
    "\"close\"",
    "close;x",
    "close x",
    "close\u{b}",
    "",
    ",",
    "close,",
    ",close",
    "close,,te",
    "*",
    "\u{e9}",
];

/// What ends here.
const HOPS: &[&str] = &[
    "TE: trailers",
    "TE: gzip",
    "Keep-Alive: timeout=5",
    "Proxy-Authorization: Basic eDp5",
    "Proxy-Authenticate: Basic",
    "Proxy-Connection: keep-alive",
    "Proxy-Connection: close",
    "Upgrade: foo",
    "Upgrade: h2c",
    "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
    "Connection: keep-alive",
    "Connection: te",
    "Trailer: x",
    "Proxy: http://evil",
];

pub fn rows() -> Vec<Row> {
    let malformed = MALFORMED
        .iter()
        .map(|line| get("/open/x", &[line]).malformed());
    let nominated = NOMINATED.iter().map(|names| {
        let line = format!("Connection: {names}");
        get("/open/x", &[&line]).malformed()
    });
    let hops = HOPS
        .iter()
        .map(|line| get("/open/x", &[line]).passes("GET /open/x", &[], b""));
    let mut rows: Vec<Row> = malformed.chain(nominated).chain(hops).collect();
    rows.extend(bytes_of_values());
    rows.extend(bytes_of_names());
    rows.extend(amounts());
    rows.extend(seen());
    rows
}

/// Each byte in a value: text and what is above ASCII as it is, no control byte but the tabulator.
fn bytes_of_values() -> Vec<Row> {
    let of = |byte: u8| {
        raw([
            &b"GET /open/x HTTP/1.1\r\nHost: gw.test\r\nx: a"[..],
            &[byte],
            b"b\r\n\r\n",
        ]
        .concat())
    };
    let controls = (0..0x20_u8).chain([0x7f]).filter(|byte| *byte != b'\t');
    let refused = controls.map(|byte| of(byte).malformed());
    let above = [b'\t', 0x80, 0x85, 0xa0, 0xad, 0xc0, 0xe9, 0xfe, 0xff];
    let seen = above.map(|byte| {
        let line = format!("x: a{}b", char::from(byte));
        of(byte).passes("GET /open/x", &[&line], b"")
    });
    refused.chain(seen).collect()
}

/// Each byte in a name that is in no token.
fn bytes_of_names() -> Vec<Row> {
    let of = |byte: u8| {
        raw([
            &b"GET /open/x HTTP/1.1\r\nHost: gw.test\r\na"[..],
            &[byte],
            b"b: c\r\n\r\n",
        ]
        .concat())
    };
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let odd = (0..=255_u8).filter(|byte| !token(*byte) && !matches!(byte, b':' | b'\r' | b'\n'));
    let refused = odd
        .filter(|byte| *byte < 0x30 || *byte > 0x7a)
        .map(|byte| of(byte).malformed());
    let seen = b"!#$%&'*+^`|~".map(|byte| {
        let line = format!("a{}b: c", char::from(byte));
        of(byte).passes("GET /open/x", &[&line], b"")
    });
    refused
        .collect::<Vec<_>>()
        .into_iter()
        .chain(seen)
        .collect()
}

fn amounts() -> Vec<Row> {
    let many = |count: usize| {
        (0..count)
            .map(|index| format!("x{index}: y"))
            .collect::<Vec<_>>()
    };
    let with = |lines: &[String]| {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        get("/open/x", &lines)
    };
    let most = many(99);
    let seen: Vec<&str> = most.iter().map(String::as_str).collect();
    let long = "v".repeat(60_000);
    let long_line = format!("x: {long}");
    let cookies = vec!["Cookie: a=b".to_owned(); 120];
    let joined = format!("cookie: {}", vec!["a=b"; 120].join("; "));
    vec![
        with(&most).passes("GET /open/x", &seen, b""),
        with(&many(100)).refused(431, "headers_too_large"),
        with(&many(255)).refused(431, "headers_too_large"),
        with(&many(1000)).refused(431, "headers_too_large"),
        get("/open/x", &[&long_line]).passes("GET /open/x", &[&long_line], b""),
        get("/open/x", &[&format!("x: {}", "v".repeat(70_000))]).refused(431, "headers_too_large"),
        get("/open/x", &[&format!("{}: x", "n".repeat(70_000))]).refused(431, "headers_too_large"),
        raw(format!("GET /open/x HTTP/1.1\r\nx: {}", "v".repeat(70_000)))
            .refused(431, "headers_too_large"),
        with(&cookies).passes("GET /open/x", &[&joined], b""),
    ]
}

fn seen() -> Vec<Row> {
    let pairs: &[(&[&str], &[&str])] = &[
        (&["Accept: */*"], &["accept: */*"]),
        (&["Accept:*/*"], &["accept: */*"]),
        (&["Accept: \t */* \t "], &["accept: */*"]),
        (&["ACCEPT: a", "accept: b"], &["accept: a", "accept: b"]),
        (&["x: a  b"], &["x: a  b"]),
        (&["x: a\tb"], &["x: a\tb"]),
        (&["Cookie: a=b", "Cookie: c=d"], &["cookie: a=b; c=d"]),
        (
            &["Cookie: a=b; e=f", "x: y", "cookie: c=d"],
            &["cookie: a=b; e=f; c=d", "x: y"],
        ),
        (&["Cookie: \"a\"=b"], &["cookie: \"a\"=b"]),
        (&["Range: bytes=0-0,1-1"], &["range: bytes=0-0,1-1"]),
        (
            &["Authorization: Basic eDp5"],
            &["authorization: Basic eDp5"],
        ),
        (
            &["Authorization: Digest username=\"x\""],
            &["authorization: Digest username=\"x\""],
        ),
        (&["Connection: Keep-Alive, TE"], &[]),
        (&["x: =?utf-8?q?=0d=0a?="], &["x: =?utf-8?q?=0d=0a?="]),
        (&["x: %0d%0aHost: evil"], &["x: %0d%0aHost: evil"]),
        (&["x_y: z"], &["x_y: z"]),
        (&["X-Correlation-Id: mine-1"], &["x-correlation-id: mine-1"]),
    ];
    let mut rows: Vec<Row> = pairs
        .iter()
        .map(|(sent, seen)| get("/open/x", sent).passes("GET /open/x", seen, b""))
        .collect();
    rows.push(
        get("/open/x", &["Connection: close"])
            .passes("GET /open/x", &[], b"")
            .closes(),
    );
    rows.push(
        get("/open/x", &["Connection: CLOSE, te"])
            .passes("GET /open/x", &[], b"")
            .closes(),
    );
    rows.push(get("/open/x", &["x:"]).passes("GET /open/x", &["x: "], b""));
    rows
}
