//! HTTP/2: what is refused and seen over HTTP/1.1, and what only frames and pseudo-headers can say.

use super::{hosts, identity, targets};
use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, PRIORITY, PROTOCOL_ERROR,
    RST_STREAM, WINDOW_UPDATE, WITH_PRIORITY, ask, block, frame, request,
};
use crate::http2::{Row, STREAM, fields, get, literal, post, raw};
use crate::row::IDENTITY;
use crate::world::{KEY, OTHER_KEY, UNKNOWN_KEY};

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const HOST: (&str, &str) = (":authority", "gw.test");
const PATH: (&str, &str) = (":path", "/open/x");

/// Of RFC 9113, section 7.
const FRAME_SIZE_ERROR: u32 = 6;

const CHUNKED: &[&str] = &["transfer-encoding: chunked"];

pub fn rows() -> Vec<Row> {
    [
        paths(),
        authorities(),
        pseudo_headers(),
        hops(),
        names_and_values(),
        claims(),
        credentials(),
        cookies(),
        bodies(),
        trailers(),
        frames(),
    ]
    .concat()
}

/// What the library takes for no `:path`, or no URI: the stream ends before there is a request to answer.
fn is_no_uri(path: &str) -> bool {
    let (before, query) = path.split_once('?').unwrap_or((path, ""));
    let is_wild = |byte: u8| byte <= b' ' || byte == 0x7f;
    !path.starts_with(['/', '?', '#'])
        || before
            .bytes()
            .any(|byte| is_wild(byte) || b"`<>".contains(&byte))
        || query
            .bytes()
            .any(|byte| is_wild(byte) || b"\"<>".contains(&byte))
}

/// Paths with two readings, paths with one, and what is no path.
fn paths() -> Vec<Row> {
    let key = [("x-prismeai-api-key", KEY)];
    let refused = |path: &&str| {
        let row = get(path, &key);
        if is_no_uri(path) {
            row.reset(PROTOCOL_ERROR)
        } else {
            row.malformed()
        }
    };
    let confused = targets::CONFUSED.iter().chain(targets::NOT_EVEN_THERE);
    let mut rows: Vec<Row> = confused.map(refused).collect();
    for (path, seen) in targets::SEEN {
        let row = get(path, &[]);
        rows.push(if is_no_uri(path) {
            // Of these, HTTP/1.1 takes a query with quotes and angles.
            row.reset(PROTOCOL_ERROR)
        } else {
            row.passes(&format!("GET {seen}"), &[], b"")
        });
    }
    let no_paths = [
        "",
        "*",
        "open/x",
        "?open",
        "?/open/x",
        "http://gw.test/open/x",
        "//gw.test/open/x",
        "/open/x HTTP/1.1",
        "/open/x HTTP/1.1\r\nhost: evil\r\n\r\n",
        "/open/x\r\nx-keyward-org: evil",
        "/open/x\n",
        "/open/x\0",
        "/open/x\t",
        "/open/\u{e9}",
        "/open/\u{7f}",
    ];
    for path in no_paths {
        let row = get(path, &[]);
        let is_request = ["*", "?open", "?/open/x", "//gw.test/open/x", "/open/\u{e9}"];
        rows.push(if is_request.contains(&path) {
            row.malformed()
        } else {
            row.reset(PROTOCOL_ERROR)
        });
    }
    let long = format!("/open/{}", "x".repeat(9000));
    rows.push(get(&long, &[]).refused(414, "uri_too_long"));
    rows.push(get("/admin/x", &key).refused(403, "missing_permission"));
    rows.push(get("/%61dmin/x", &key).refused(403, "missing_permission"));
    rows.push(get("/PUBLIC/x", &key).refused(404, "no_route"));
    rows
}

/// `:authority`, `host`, and both.
fn authorities() -> Vec<Row> {
    let with = |authority: &str| fields(&[METHOD, SCHEME, (":authority", authority), PATH]);
    let refused = hosts::REFUSED
        .iter()
        .map(|authority| with(authority).any_refusal());
    let seen = hosts::SEEN.iter().map(|authority| {
        with(authority).passes("GET /open/x", &[&format!("host: {authority}")], b"")
    });
    let mut rows: Vec<Row> = refused.chain(seen).collect();
    let host = |host: &str| fields(&[METHOD, SCHEME, PATH, ("host", host)]);
    rows.extend([
        host("gw.test").passes("GET /open/x", &[], b""),
        host("").malformed(),
        host("a, b").malformed(),
        host("user@gw.test").malformed(),
        host("gw.test/admin").malformed(),
        get("/open/x", &[("host", "gw.test")]).passes("GET /open/x", &[], b""),
        get("/open/x", &[("host", "GW.TEST")]).passes("GET /open/x", &[], b""),
        get("/open/x", &[("host", "evil")]).malformed(),
        get("/open/x", &[("host", "gw.test:80")]).malformed(),
        get("/open/x", &[("host", "gw.test.")]).malformed(),
        get("/open/x", &[("host", "")]).malformed(),
        get("/open/x", &[("host", "gw.test"), ("host", "gw.test")]).malformed(),
        get("/open/x", &[("host", "gw.test"), ("host", "evil")]).malformed(),
        fields(&[METHOD, SCHEME, PATH]).malformed(),
        fields(&[METHOD, SCHEME, PATH, ("host", "a"), ("host", "b")]).malformed(),
        // Which host it is decides the route.
        get("/hosted/x", &[]).refused(404, "no_route"),
        get("/hosted/x", &[("x-forwarded-host", "api.gw.test")]).refused(404, "no_route"),
    ]);
    rows
}

fn pseudo_headers() -> Vec<Row> {
    let of = |more: &[(&str, &str)]| fields(&[&[METHOD, SCHEME, HOST, PATH], more].concat());
    let scheme = |scheme| fields(&[METHOD, (":scheme", scheme), HOST, PATH]);
    let method = |method| fields(&[(":method", method), SCHEME, HOST, PATH]);
    let mut rows: Vec<Row> = [
        // One is missing, or stands twice.
        fields(&[SCHEME, HOST, PATH]),
        fields(&[METHOD, HOST, PATH]),
        fields(&[METHOD, SCHEME, HOST]),
        of(&[METHOD]),
        of(&[(":method", "POST")]),
        of(&[SCHEME]),
        of(&[HOST]),
        of(&[(":authority", "evil")]),
        of(&[PATH]),
        of(&[(":path", "/admin/x")]),
        // After a field that is none, unknown, or of an answer.
        fields(&[METHOD, SCHEME, HOST, ("x-a", "1"), PATH]),
        fields(&[METHOD, SCHEME, PATH, ("x-a", "1"), HOST]),
        of(&[("x-a", "1"), (":path", "/admin/x")]),
        of(&[(":status", "200")]),
        of(&[(":protocol", "websocket")]),
        // Without a meaning, and with an odd one.
        scheme("http://gw.test/admin/x?"),
        scheme("http\r\n"),
        fields(&[(":method", "CONNECT"), SCHEME, HOST, PATH]),
        fields(&[(":method", "CONNECT"), HOST, PATH]),
        fields(&[
            (":method", "CONNECT"),
            SCHEME,
            HOST,
            PATH,
            (":protocol", "websocket"),
        ]),
    ]
    .map(|row| row.reset(PROTOCOL_ERROR))
    .to_vec();
    // What is no field at all, the library ends the connection for.
    let ended = [
        of(&[(":other", "x")]),
        of(&[(":", "x")]),
        of(&[(":Path", "/admin/x")]),
        method(""),
        method("GE T"),
        method("GET /admin/x HTTP/1.1\r\nx:"),
        method("GET\0"),
    ];
    rows.extend(ended.map(|row| row.ended(PROTOCOL_ERROR)));
    rows.extend([
        scheme("").malformed(),
        scheme("1http").malformed(),
        fields(&[(":method", "CONNECT"), HOST]).malformed(),
        fields(&[(":method", "OPTIONS"), SCHEME, HOST, (":path", "*")]).malformed(),
        scheme("ftp").malformed(),
        scheme("file").malformed(),
        scheme("https").passes("GET /open/x", &[], b""),
        scheme("HTTP").malformed(),
        method("get").refused(405, "method_not_allowed"),
        method("PURGE").refused(405, "method_not_allowed"),
        // In any order.
        fields(&[PATH, HOST, SCHEME, METHOD]).passes("GET /open/x", &[], b""),
    ]);
    rows
}

/// What is a hop's business in HTTP/1.1 is nothing here.
fn hops() -> Vec<Row> {
    let mut rows = Vec::new();
    for field in [
        ("connection", "close"),
        ("connection", "keep-alive"),
        ("connection", "x-keyward-org"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("transfer-encoding", ""),
        ("upgrade", "h2c"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
        ("te", "chunked"),
    ] {
        rows.push(get("/open/x", &[field]).reset(PROTOCOL_ERROR));
    }
    for field in [
        ("transfer_encoding", "chunked"),
        ("transfer.encoding", "chunked"),
        ("content_length", "5"),
        ("content.length", "5"),
    ] {
        rows.push(get("/open/x", &[field]).malformed());
    }
    rows.extend([
        get("/open/x", &[("te", "trailers")]).passes("GET /open/x", &[], b""),
        get("/open/x", &[("http2-settings", "AAMAAABk")]).passes("GET /open/x", &[], b""),
        get("/open/x", &[("expect", "200-ok")]).refused(417, "expectation_failed"),
    ]);
    rows
}

fn names_and_values() -> Vec<Row> {
    let field = |name: &[u8], value: &[u8]| {
        let start = block(&request("GET", "/open/x", &[]));
        let block = [start, literal(name, value)].concat();
        raw(frame(HEADERS, END_HEADERS | END_STREAM, STREAM, block))
    };
    let names: &[&[u8]] = &[
        b"Host",
        b"X-Upper",
        b"x-Keyward-org",
        b"Content-Length",
        b"",
        b" ",
        b"x a",
        b" x",
        b"x ",
        b"x:",
        b"x\r",
        b"x\n",
        b"x\0",
        b"x\r\ny",
        b"x\xe9",
        b"x\x7f",
        b"x(",
        b"x/y",
        b"x,y",
        b"x\"",
    ];
    let values: &[&[u8]] = &[
        b"1\r\nx-keyward-org: acme",
        b"1\nx-keyward-org: acme",
        b"1\rx-keyward-org: acme",
        b"1\r\n\r\nGET /admin/x HTTP/1.1\r\nhost: evil\r\n\r\n",
        b"\r",
        b"\n",
        b"\0",
        b"a\0b",
        b"a\x01b",
        b"a\x1fb",
        b"a\x7fb",
    ];
    let names = names.iter().map(|name| field(name, b"1"));
    let values = values.iter().map(|value| field(b"x-a", value));
    let large = block(&request("GET", "/open/x", &[("x-a", &"x".repeat(66_000))]));
    let (first, rest) = large.split_at(16_000);
    let mut pieces = rest.chunks(16_000).peekable();
    let mut large = raw(frame(HEADERS, END_STREAM, STREAM, first));
    while let Some(piece) = pieces.next() {
        let is_last = pieces.peek().is_none();
        let flags = if is_last { END_HEADERS } else { 0 };
        large = large.then(frame(CONTINUATION, flags, STREAM, piece));
    }
    let wild = names.chain(values).map(Row::any_refusal);
    let mut rows: Vec<Row> = wild.collect();
    rows.extend([
        field(b"x-a", b"\xc3\xa9 \xff").passes("GET /open/x", &["x-a: \u{c3}\u{a9} \u{ff}"], b""),
        field(b"x-a", b"a\tb").passes("GET /open/x", &["x-a: a\tb"], b""),
        field(b"x-a", b"").passes("GET /open/x", &["x-a: "], b""),
        get("/open/x", &[("x-a", "1"), ("x-a", "2")]).passes(
            "GET /open/x",
            &["x-a: 1", "x-a: 2"],
            b"",
        ),
        large.refused(431, "headers_too_large"),
        get("/open/x", &[("x-a", "1"); 101]).refused(431, "headers_too_large"),
    ]);
    rows
}

/// Identity and origin in every spelling, which is removed; and what only looks like them.
fn claims() -> Vec<Row> {
    let halves = |line: &'static str| line.split_once(": ").unwrap_or((line, ""));
    let key = ("x-prismeai-api-key", KEY);
    let mut rows = Vec::new();
    let mut done = std::collections::BTreeSet::new();
    for (name, value) in identity::CLAIMS.iter().map(|line| halves(line)) {
        let lower = name.to_ascii_lowercase();
        if lower != name {
            rows.push(get("/open/x", &[(name, value)]).ended(PROTOCOL_ERROR));
        }
        if done.insert((lower.clone(), value)) {
            let field = (lower.as_str(), value);
            rows.push(get("/public/x", &[field, key]).passes_known("GET /public/x", &[]));
            rows.push(get("/open/x", &[field]).passes("GET /open/x", &[], b""));
        }
    }
    for line in identity::OWN {
        rows.push(get("/open/x", &[halves(line)]).passes("GET /open/x", &[line], b""));
    }
    for name in ["x-http-method-override", "x-original-url", "x-rewrite-url"] {
        let row = get("/admin/x", &[(name, "/open/x"), key]);
        rows.push(row.refused(403, "missing_permission"));
    }
    rows
}

fn credentials() -> Vec<Row> {
    let name = "x-prismeai-api-key";
    let bearer = format!("Bearer {KEY}");
    let other = format!("Bearer {OTHER_KEY}");
    let both = format!("{KEY}, {OTHER_KEY}");
    let ambiguous = (400, "ambiguous_credential");
    let refused =
        |more: &[(&str, &str)], (status, reason)| get("/public/x", more).refused(status, reason);
    vec![
        refused(&[], (401, "missing_credential")),
        refused(&[(name, UNKNOWN_KEY)], (401, "unknown_key")),
        refused(&[(name, "nothing")], (401, "malformed_credential")),
        refused(&[(name, KEY), (name, KEY)], ambiguous),
        refused(&[(name, KEY), (name, OTHER_KEY)], ambiguous),
        refused(&[(name, &both)], ambiguous),
        refused(&[(name, KEY), ("authorization", &other)], ambiguous),
        get("/public/x", &[(name, KEY), ("authorization", &bearer)])
            .passes_known("GET /public/x", &[]),
        get("/public/x", &[("authorization", &bearer)]).passes_known("GET /public/x", &[]),
        get("/open/x", &[(name, KEY)]).passes("GET /open/x", &[], b""),
        get("/open/x", &[("x_prismeai_api_key", KEY)]).passes("GET /open/x", &[], b""),
        get("/open/x", &[("x.prismeai-api.key", KEY)]).passes("GET /open/x", &[], b""),
        get("/v1/agents/a1", &[(name, KEY)]).passes_known("GET /v1/agents/a1", &[]),
        get("/v1/agents/a2", &[(name, KEY)]).refused(403, "out_of_scope"),
        get("/by-query?agent=a1&agent=a2", &[(name, KEY)]).refused(400, "ambiguous_request"),
        get(
            "/by-header",
            &[(name, KEY), ("x-agent", "a1"), ("x-agent", "a2")],
        )
        .refused(400, "ambiguous_request"),
    ]
}

/// Split cookies are one line again.
fn cookies() -> Vec<Row> {
    let get = |crumbs: &[&str]| {
        let fields: Vec<(&str, &str)> = crumbs.iter().map(|crumb| ("cookie", *crumb)).collect();
        get("/open/x", &fields)
    };
    vec![
        get(&["a=1"]).passes("GET /open/x", &["cookie: a=1"], b""),
        get(&["a=1", "b=2"]).passes("GET /open/x", &["cookie: a=1; b=2"], b""),
        get(&["a=1", "b=2", "c=3; d=4"]).passes(
            "GET /open/x",
            &["cookie: a=1; b=2; c=3; d=4"],
            b"",
        ),
        get(&["a=1\r\nx-keyward-org: evil"]).any_refusal(),
    ]
}

/// What a body's length is said to be, and what it is.
fn bodies() -> Vec<Row> {
    let length = |value| ("content-length", value);
    let seen = "POST /open/x";
    vec![
        post(&[length("5")], &["hello"]).passes(seen, &["content-length: 5"], b"hello"),
        post(&[length("5")], &["he", "llo"]).passes(seen, &["content-length: 5"], b"hello"),
        post(&[length("5")], &["hello", ""]).passes(seen, &["content-length: 5"], b"hello"),
        post(&[], &["hello"]).passes(seen, CHUNKED, b"5\r\nhello\r\n0\r\n\r\n"),
        post(&[], &["GET /admin/x HTTP/1.1\r\n\r\n"]).passes(
            seen,
            CHUNKED,
            b"19\r\nGET /admin/x HTTP/1.1\r\n\r\n\r\n0\r\n\r\n",
        ),
        post(&[], &["0\r\n\r\n"]).passes(seen, CHUNKED, b"5\r\n0\r\n\r\n\r\n0\r\n\r\n"),
        post(&[length("0")], &[""]).passes(seen, &["content-length: 0"], b""),
        post(&[length("4")], &["hello"]).reset(PROTOCOL_ERROR),
        post(&[length("6")], &["hello"]).reset(PROTOCOL_ERROR),
        post(&[length("0")], &["hello"]).any_refusal(),
        get("/open/x", &[length("1")]).reset(PROTOCOL_ERROR),
        get("/open/x", &[length("0")]).passes("GET /open/x", &["content-length: 0"], b""),
        post(&[length("+5")], &["hello"]).any_refusal(),
        post(&[length("-5")], &["hello"]).any_refusal(),
        post(&[length("5 ")], &["hello"]).any_refusal(),
        post(&[length(" 5")], &["hello"]).any_refusal(),
        post(&[length("0x5")], &["hello"]).any_refusal(),
        post(&[length("5, 5")], &["hello"]).any_refusal(),
        post(&[length("")], &["hello"]).any_refusal(),
        post(&[length("5"), length("5")], &["hello"]).any_refusal(),
        post(&[length("5"), length("6")], &["hello"]).any_refusal(),
        post(&[length("18446744073709551621")], &["hello"]).any_refusal(),
        post(&[length("100001")], &[]).refused(413, "body_too_large"),
        post(&[("content_length", "5")], &["hello"]).malformed(),
        post(&[("expect", "100-continue")], &["hello"]).passes(
            seen,
            &["expect: 100-continue", "transfer-encoding: chunked"],
            b"5\r\nhello\r\n0\r\n\r\n",
        ),
    ]
}

/// Trailers stay outside, whatever they say; and are no second head.
fn trailers() -> Vec<Row> {
    let with = |fields: &[(&str, &str)], flags: u8| {
        let begun = frame(
            HEADERS,
            END_HEADERS,
            STREAM,
            block(&request("POST", "/open/x", &[])),
        );
        let body = frame(DATA, 0, STREAM, "hello");
        let trailers = frame(HEADERS, flags, STREAM, block(fields));
        raw([begun, body, trailers].concat())
    };
    let end = END_HEADERS | END_STREAM;
    let mut rows = Vec::new();
    for field in [
        ("x-keyward-org", "evil"),
        ("x_keyward_org", "evil"),
        ("x-prismeai-user-id", "evil"),
        ("x-prismeai-api-key", UNKNOWN_KEY),
        ("authorization", "Bearer evil"),
        ("x-forwarded-for", "1.2.3.4"),
        ("content-length", "6"),
        ("host", "evil"),
        ("cookie", "a=b"),
        ("x-a", "1"),
        // Malformed, strictly, but the library lets it be: it is read by nobody.
        (":path", "/admin/x"),
        (":status", "200"),
    ] {
        rows.push(with(&[field], end).passes("POST /open/x", CHUNKED, b"5\r\nhello\r\n0\r\n\r\n"));
    }
    for field in [
        ("X-Upper", "1"),
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("x-a", "1\r\nx-keyward-org: evil"),
    ] {
        rows.push(with(&[field], end).any_refusal());
    }
    rows.push(with(&[("x-a", "1")], END_HEADERS).any_refusal());
    rows
}

/// Frames of a request in another order, cut, padded, or of another stream.
fn frames() -> Vec<Row> {
    let head = block(&request("GET", "/open/x", &[]));
    let whole = ask(STREAM, &request("GET", "/open/x", &[]));
    let (first, second) = head.split_at(20);
    let begin = frame(HEADERS, END_STREAM, STREAM, first);
    let padded = [&[4][..], &head, &[0; 4]].concat();
    let over = [&[255][..], &head].concat();
    let priority = [&[0, 0, 0, 3, 9][..], &head].concat();
    let itself = [&[0, 0, 0, 1, 9][..], &head].concat();
    let end = END_HEADERS | END_STREAM;
    let passes = |row: Row| row.passes("GET /open/x", &[], b"");
    vec![
        passes(raw(&begin).then(frame(CONTINUATION, END_HEADERS, STREAM, second))),
        passes(raw(frame(HEADERS, end | PADDED, STREAM, padded))),
        passes(raw(frame(HEADERS, end | WITH_PRIORITY, STREAM, priority))),
        passes(raw(frame(PRIORITY, 0, STREAM, [0, 0, 0, 3, 9])).then(&whole)),
        passes(raw(frame(0xbb, 0xff, STREAM, "unknown")).then(&whole)),
        raw(frame(HEADERS, end | PADDED, STREAM, over)).ended(PROTOCOL_ERROR),
        raw(frame(HEADERS, end | WITH_PRIORITY, STREAM, itself)).any_refusal(),
        raw(&begin)
            .then(frame(CONTINUATION, END_HEADERS, 3, second))
            .ended(PROTOCOL_ERROR),
        raw(&begin)
            .then(frame(DATA, END_STREAM, STREAM, "x"))
            .ended(PROTOCOL_ERROR),
        raw(&begin).then(&whole).ended(PROTOCOL_ERROR),
        raw(frame(CONTINUATION, END_HEADERS, STREAM, &head)).ended(PROTOCOL_ERROR),
        raw(ask(2, &request("GET", "/open/x", &[]))).ended(PROTOCOL_ERROR),
        raw(ask(0, &request("GET", "/open/x", &[]))).ended(PROTOCOL_ERROR),
        raw(frame(DATA, END_STREAM, STREAM, "x")).ended(PROTOCOL_ERROR),
        raw(frame(RST_STREAM, 0, STREAM, [0; 4])).ended(PROTOCOL_ERROR),
        raw(frame(WINDOW_UPDATE, 0, STREAM, [0, 0, 0, 1])).ended(PROTOCOL_ERROR),
        raw(frame(0x5, END_HEADERS, STREAM, &head)).ended(PROTOCOL_ERROR),
        raw(frame(HEADERS, end, STREAM, vec![0; 16_385])).ended(FRAME_SIZE_ERROR),
        raw(frame(HEADERS, end, STREAM, [0xff, 0x80, 0x01])).ended(PROTOCOL_ERROR),
        raw(frame(HEADERS, end, STREAM, [0x80])).ended(PROTOCOL_ERROR),
        raw(frame(
            HEADERS,
            end,
            STREAM,
            [0x00, 0x83, 0xff, 0xff, 0xff, 0x00],
        ))
        .ended(PROTOCOL_ERROR),
        raw(&whole)
            .then(frame(DATA, END_STREAM, STREAM, "x"))
            .ended(PROTOCOL_ERROR),
        post(&[], &["hello"]).then(&whole).ended(PROTOCOL_ERROR),
        post(&[], &["hello"])
            .then(frame(DATA, END_STREAM, STREAM, "more"))
            .ended(PROTOCOL_ERROR),
        passes(fields(&request("GET", "/open/x", &[])).then(frame(
            PRIORITY,
            0,
            7,
            [0, 0, 0, 3, 9],
        ))),
        get(
            "/public/x",
            &[
                ("x-keyward-org", "a"),
                ("x-keyward-org", "b"),
                ("x-prismeai-api-key", KEY),
            ],
        )
        .passes("GET /public/x", IDENTITY, b""),
    ]
}
