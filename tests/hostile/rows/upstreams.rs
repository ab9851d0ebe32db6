//! Answers: what an upstream may say to a client through the gateway, and what is none of an answer.

use crate::row::{Got, Row, get, post, request};

const INVALID: Got = Got::Refused(502, "upstream_invalid");
const OK: Got = Got::Answer(200, &["content-length: 2"], b"ok");

/// No answers at all.
const NONE: &[&str] = &[
    "nonsense\r\n\r\n",
    "\r\n\r\n",
    "HTTP/1.1\r\n\r\n",
    "HTTP/1.1 \r\n\r\n",
    "HTTP/1.1 20 OK\r\n\r\n",
    "HTTP/1.1 2000 OK\r\n\r\n",
    "HTTP/1.1 abc OK\r\n\r\n",
    "HTTP/1.1 -20 OK\r\n\r\n",
    "HTTP/1.1 099 OK\r\n\r\n",
    "HTTP/1.1 000 OK\r\n\r\n",
    "HTTP/2.0 200 OK\r\n\r\n",
    "HTTP/0.9 200 OK\r\n\r\n",
    "HTTP/1.2 200 OK\r\n\r\n",
    "http/1.1 200 OK\r\n\r\n",
    "ICY 200 OK\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "HTTP/1.1 200 O\u{0}K\r\ncontent-length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\na: b\u{0}\r\ncontent-length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\na: b\u{1}\r\ncontent-length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\na: b\rc: d\r\ncontent-length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\na\r\ncontent-length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\n: b\r\ncontent-length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\na b: c\r\ncontent-length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\nok",
    "HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\ncontent-length: 2;\r\n\r\nok",
    "HTTP/1.1 200 OK\r\ncontent-length: 2, 3\r\n\r\nok",
    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\ncontent-length: 0x2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nok",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\nok",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\n\r\n",
];

/// Bodies in chunks that break off or are none.
const BROKEN: &[&str] = &[
    "2\r\nokX\r\n0\r\n\r\n",
    "2\r\nok\r\nzz\r\n",
    "-2\r\nok\r\n0\r\n\r\n",
    "0x2\r\nok\r\n0\r\n\r\n",
    "fffffffffffffffff\r\nok\r\n",
    "2\nok\r\n0\r\n\r\n",
    "2\r\nok\n0\r\n\r\n",
    "2\r\nok\r\n",
    "2\r\nok\r\n0\r\n",
    "5\r\nok",
    "",
];

pub fn rows() -> Vec<Row> {
    let none = NONE.iter().enumerate().map(|(index, answer)| {
        asked(&format!("none-{index}"))
            .answered(answer, INVALID)
            .and_closes()
    });
    let broken = BROKEN.iter().enumerate().map(|(index, body)| {
        let answer = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}");
        asked(&format!("broken-{index}"))
            .answered(answer, Got::Cut)
            .and_closes()
            .closes()
    });
    let mut rows: Vec<Row> = none.chain(broken).collect();
    rows.extend(framed());
    rows.extend(length_beside_chunks());
    rows.extend(informational());
    rows.extend(lines());
    rows.extend(early());
    rows
}

fn asked(name: &str) -> Row {
    let target = format!("/open/{name}");
    get(&target, &[]).passes(&format!("GET {target}"), &[], b"")
}

fn framed() -> Vec<Row> {
    let chunked: Got = Got::Answer(200, &["transfer-encoding: chunked"], b"ok");
    let head = |answer: &str, got: Got| {
        request("HEAD /open/x", &[], b"")
            .passes("HEAD /open/x", &[], b"")
            .answered(answer, got)
    };
    vec![
        asked("a").answered("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", OK),
        asked("b").answered("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", chunked.clone()),
        asked("c").answered("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2;x=y\r\nok\r\n0\r\nx-keyward-org: evil\r\n\r\n", chunked.clone()),
        asked("d").answered("HTTP/1.1 200 OK\r\n\r\nok", chunked.clone()).and_closes(),
        asked("e").answered("HTTP/1.0 200 OK\r\n\r\nok", chunked).and_closes(),
        asked("f").answered("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", OK),
        asked("g").answered("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok", Got::Cut).and_closes().closes(),
        asked("h").answered("HTTP/1.1 204 No Content\r\n\r\n", Got::Answer(204, &[], b"")),
        // It has no body, whatever it says.
        asked("h-0").answered("HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", Got::Answer(204, &[], b"")),
        asked("h-1").answered("HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok", Got::Answer(204, &[], b"")),
        asked("h-2").answered("HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Got::Answer(204, &[], b"")),
        asked("i").answered("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", Got::Answer(304, &["content-length: 5"], b"")),
        // More than was announced is nobody's answer: neither this client's nor the next one's.
        asked("j").answered("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison", OK),
        asked("k").answered("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison", Got::Answer(204, &[], b"")),
        asked("l").answered("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison", Got::Answer(200, &["transfer-encoding: chunked"], b"ok")),
        head("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", Got::Answer(200, &["content-length: 5"], b"")),
        head("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", Got::Answer(200, &["content-length: 5"], b"")),
        head("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", Got::Answer(200, &["transfer-encoding: chunked"], b"")),
        // The end of the connection instead of an answer.
        asked("m").answered("", INVALID).and_closes(),
        asked("n").answered("HTTP/1.1 200 OK\r\ncontent-le", INVALID).and_closes(),
        asked("o").answered("HTTP/1.1 200", INVALID).and_closes(),
    ]
}

/// A length beside chunks. Pingora drops the length before anyone can see it, as the specification lets it; so the chunks
/// alone say where the answer ends, to the client as well, and what is behind them is nobody's.
fn length_beside_chunks() -> Vec<Row> {
    let got = Got::Answer(200, &["transfer-encoding: chunked"], b"ok");
    let answers = [
        "content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 12\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "content-length: 0\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "content-length: 99\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
    ];
    let row = |(index, answer): (usize, &&str)| {
        let answer = format!("HTTP/1.1 200 OK\r\n{answer}");
        asked(&format!("both-{index}")).answered(answer, got.clone())
    };
    answers.iter().enumerate().map(row).collect()
}

fn informational() -> Vec<Row> {
    let flood = |count: usize| {
        let one = "HTTP/1.1 102 Processing\r\n\r\n".repeat(count);
        format!("{one}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    };
    vec![asked("flood").answered(flood(1000), INVALID).and_closes()]
}

fn lines() -> Vec<Row> {
    let with = |name: &str, lines: &str, got: Got| {
        let answer = format!("HTTP/1.1 200 OK\r\n{lines}content-length: 2\r\n\r\nok");
        asked(name).answered(answer, got)
    };
    let gone = [
        "x-keyward-org: evil",
        "X-Keyward-Key-Id: evil",
        "x_keyward_org: evil",
        "x.keyward.org: evil",
        "keep-alive: timeout=5",
        "proxy-connection: close",
        "proxy-authenticate: Basic",
        "te: trailers",
        "trailer: x",
        "upgrade: h2c",
        "connection: x-hop\r\nx-hop: 1",
        "connection: keep-alive",
    ];
    let mut rows: Vec<Row> = gone
        .iter()
        .enumerate()
        .map(|(index, line)| with(&format!("gone-{index}"), &format!("{line}\r\n"), OK))
        .collect();
    let kept: [&'static [&'static str]; 4] = [
        &["content-length: 2", "set-cookie: a=b", "set-cookie: c=d"],
        &[
            "content-length: 2",
            "www-authenticate: Basic realm=\"upstream\"",
        ],
        &["content-length: 2", "x-prismeai-anything: theirs"],
        &["content-length: 2", "location: http://elsewhere/"],
    ];
    for (index, lines) in kept.into_iter().enumerate() {
        let sent: String = lines
            .iter()
            .skip(1)
            .map(|line| format!("{line}\r\n"))
            .collect();
        rows.push(with(
            &format!("kept-{index}"),
            &sent,
            Got::Answer(200, lines, b"ok"),
        ));
    }
    let many = "a: b\r\n".repeat(300);
    rows.push(with("many", &many, INVALID).and_closes());
    let large = format!("a: {}\r\n", "b".repeat(2_000_000));
    rows.push(with("large", &large, INVALID).and_closes());
    rows
}

/// An answer before the body was read: the rest of the body is nobody's request.
fn early() -> Vec<Row> {
    let smuggled = "GET /open/smuggled HTTP/1.1\r\nHost: gw.test\r\n\r\n";
    let body = smuggled.repeat(400);
    let length = format!("Content-Length: {}", body.len());
    let seen = length.to_lowercase();
    let answer = |connection: &str| {
        format!("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n{connection}\r\nno")
    };
    let got = Got::Answer(403, &["content-length: 2"], b"no");
    let asked = || post(&[&length], &body).passes("POST /open/x", &[&seen], "");
    let half = body.split_at(body.len() / 2).0;
    vec![
        asked()
            .answered(answer("connection: close\r\n"), got.clone())
            .early()
            .and_closes()
            .either_way(),
        asked()
            .answered(answer(""), got.clone())
            .early()
            .either_way(),
        // The client's half of the body is all that there will be.
        post(&[&length], half)
            .passes("POST /open/x", &[&seen], "")
            .answered(answer("connection: close\r\n"), got)
            .early()
            .and_closes()
            .closes(),
    ]
}
