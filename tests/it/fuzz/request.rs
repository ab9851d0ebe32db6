//! A request's head, its path, its host, its query: what is accepted is what the model accepts, and canonical.

use std::time::Duration;

use keyward::authz::{Host, Path, Query, RequestFacts};
use keyward::proxy::{Head, Limits, RouteLimits, Scan, scan};

use crate::bridge;
use crate::model::request::{self as model, Request};

const LIMITS: Limits = Limits {
    header_bytes: 8192,
    headers: 32,
    uri_bytes: 2048,
    header_timeout: Duration::from_secs(1),
    keep_alive: Duration::from_secs(1),
    connections: 1,
    connections_per_client: None,
    streams: 1,
    route: RouteLimits {
        body_bytes: 1024,
        body_timeout: Duration::from_secs(1),
        request_timeout: Duration::from_secs(300),
        total_timeout: None,
        min_rate: None,
        stream_idle: Duration::from_secs(1),
    },
};

pub fn request(data: &[u8]) {
    match data.split_first() {
        Some((b'p', path)) => one_path(path),
        Some((b'h', host)) => one_host(host),
        Some((b'q', query)) => one_query(query),
        Some(_) => whole(data),
        None => {}
    }
}

fn one_path(raw: &[u8]) {
    // A path ends where the query begins.
    let raw = raw.split(|byte| *byte == b'?').next().unwrap_or_default();
    let Ok(path) = Path::parse(raw) else {
        assert_eq!(model::path(raw), None);
        return;
    };
    let segments = (0..path.len()).map(|at| path.segment(at).expect("segment").to_owned());
    let in_models_words = model::Path {
        canonical: path.canonical().to_owned(),
        segments: segments.collect(),
        trailing_slash: path.has_trailing_slash(),
        encoded_slash: path.has_encoded_slash(),
        matrix: path.has_matrix(),
    };
    assert_eq!(Some(in_models_words), model::path(raw));
    let again = Path::parse(path.canonical().as_bytes()).expect("canonical");
    assert_eq!(again.canonical(), path.canonical());
}

fn one_host(raw: &[u8]) {
    let host = Host::parse(raw).ok().map(|host| host.as_str().to_owned());
    assert_eq!(host, model::host(raw));
    if let Some(host) = host {
        let again = Host::parse(host.as_bytes()).expect("a host as it is matched");
        assert_eq!(again.as_str(), host);
    }
}

fn one_query(raw: &[u8]) {
    let Ok(query) = Query::parse(Some(raw)) else {
        return;
    };
    let text = std::str::from_utf8(raw).expect("a query is text");
    for name in ["a", "org"] {
        let value = query.value(name).map(|value| value.map(String::from));
        assert_eq!(value.ok(), model::query_value(text, name).ok(), "{text:?}");
    }
}

/// A head as raw bytes. What the door takes is what was sent, to its last byte, and the model takes it too.
fn whole(data: &[u8]) {
    let Ok(Scan::Whole(head)) = scan(data, &LIMITS) else {
        return;
    };
    let bytes = &data[..head.bytes];
    assert_eq!(scan(bytes, &LIMITS), Ok(Scan::Whole(head.clone())));
    for end in [bytes.len() - 1, bytes.len() / 2, 1] {
        assert_eq!(
            scan(&bytes[..end], &LIMITS),
            Ok(Scan::Partial),
            "up to {end}"
        );
    }
    let request = read(bytes, &head);
    let by_model = model::accept(&request).map(|(host, path, query)| (host, path.canonical, query));
    let of_facts = |facts: &RequestFacts<'_>| {
        let query = facts.query.as_str().map(str::to_owned);
        let path = facts.path.canonical().to_owned();
        (facts.host.as_str().to_owned(), path, query)
    };
    let found = bridge::with_facts(&request, of_facts);
    assert_eq!(found, by_model, "{request:?}");
}

/// The head by splitting it at its line ends and first colons, as the simplest upstream would.
fn read(bytes: &[u8], head: &Head) -> Request {
    let text = |range: std::ops::Range<usize>| bytes[range].to_vec();
    let method = String::from_utf8(text(head.method.clone())).expect("a method is text");
    // Empty lines may stand before a request.
    let lines = bytes[head.method.start..bytes.len() - 4].split(|byte| *byte == b'\n');
    let mut lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next().expect("a request line");
    let target = text(head.target.clone());
    let version = if first.ends_with(b"1.1") { 1 } else { 0 };
    let expected = [method.as_bytes(), b" ", &target, b" HTTP/1."].concat();
    assert_eq!(first[..first.len() - 1], expected);
    let headers = lines.map(|line| {
        let colon = line.iter().position(|byte| *byte == b':').expect("a colon");
        let name = String::from_utf8(line[..colon].to_vec()).expect("a name is text");
        let spaces = |byte: &u8| matches!(byte, b' ' | b'\t');
        let value = &line[colon + 1..];
        let begin = value.iter().position(|byte| !spaces(byte));
        let end = value.iter().rposition(|byte| !spaces(byte));
        let value = begin.zip(end).map_or(&[][..], |(a, b)| &value[a..=b]);
        (name, value.to_vec())
    });
    Request {
        minor_version: version,
        headers: headers.collect(),
        method,
        target,
    }
}
