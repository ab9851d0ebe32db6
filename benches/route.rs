//! What a request costs before its key is looked up: canonical facts, route, credential.
//!
//! `cargo bench --no-default-features --bench route`. The routes are of the shapes that the platforms have; how many
//! there are should not matter.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot be set up has nothing to measure"
)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method, header};
use keyward::authz::{
    CredentialRules, HeadView, MatchOptions, Query, RequestFacts, RouteMatch, RoutePattern,
    RouteSpec, RouteTable, check_framing,
};

const HOST: &[u8] = b"api.example.com";
const TARGET: &[u8] = b"/v2/orgs/acme-corp/api-keys/0b5e3b1c7a0e?page=2";
const ESCAPED: &[u8] = b"/v2/orgs/slug%3Aacme-corp/api-keys/0b5e3b1c7a0e?page=2";
const KEY: &str = "iak_acme-corp_0b5e3b1c-7a0e-4b5f-9a53-0f2c9a1d2e3f";

/// As many headers as a client library sends.
fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (header::HOST, "api.example.com"),
        (header::USER_AGENT, "client/4.17"),
        (header::ACCEPT, "application/json"),
        (header::ACCEPT_ENCODING, "gzip, br"),
        (header::CONNECTION, "keep-alive"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("x-prismeai-api-key", HeaderValue::from_static(KEY));
    headers
}

fn table(services: usize) -> RouteTable {
    let shapes = [
        "/{org}/api-keys",
        "/{org}/api-keys/{key}",
        "/{org}/api-keys/{key}:rotate",
        "/{org}/members/{*rest}",
    ];
    let service = |n: usize| {
        if n == 0 {
            "orgs".to_owned()
        } else {
            format!("service-{n}")
        }
    };
    let specs = (0..services).flat_map(|n| shapes.map(|shape| (n, shape)));
    let specs = specs.map(|(n, shape)| {
        let path = format!("/v2/{}{shape}", service(n));
        RouteSpec {
            pattern: RoutePattern::parse(&path).unwrap(),
            name: path,
            hosts: Vec::new(),
            methods: vec![Method::GET, Method::POST],
            options: MatchOptions::default(),
        }
    });
    RouteTable::build(specs.collect()).unwrap()
}

fn facts<'a>(headers: &'a HeaderMap, target: &'a [u8]) -> RequestFacts<'a> {
    RequestFacts::new(&Method::GET, HOST, target, headers).unwrap()
}

fn framing(criterion: &mut Criterion) {
    let headers: [(&str, &[u8]); 6] = [
        ("Host", HOST),
        ("User-Agent", b"client/4.17"),
        ("Accept", b"application/json"),
        ("Accept-Encoding", b"gzip, br"),
        ("Connection", b"keep-alive"),
        ("X-PrismeAI-API-Key", KEY.as_bytes()),
    ];
    let head = HeadView {
        method: b"GET",
        target: TARGET,
        minor_version: 1,
        headers: &headers,
    };
    criterion.bench_function("framing", |bencher| {
        bencher.iter(|| check_framing(black_box(&head)));
    });
}

fn canonicalise(criterion: &mut Criterion) {
    let headers = headers();
    let mut group = criterion.benchmark_group("canonicalise");
    for (name, target) in [("plain", TARGET), ("escaped", ESCAPED)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| facts(&headers, black_box(target)));
        });
    }
    group.finish();
}

fn route(criterion: &mut Criterion) {
    let headers = headers();
    let facts = facts(&headers, TARGET);
    let mut group = criterion.benchmark_group("route");
    for services in [3, 250, 2500] {
        let table = table(services);
        let routes = table.specs().len();
        group.bench_function(BenchmarkId::from_parameter(routes), |bencher| {
            bencher.iter(|| table.find(black_box(&facts)));
        });
    }
    group.finish();
}

fn extract(criterion: &mut Criterion) {
    let headers = headers();
    let rules = CredentialRules::default();
    let query = Query::parse(Some(b"page=2")).unwrap();
    criterion.bench_function("extract", |bencher| {
        bencher.iter(|| rules.extract(black_box(&headers), &query));
    });
}

/// The three together, as they come before the look-up of a key.
fn whole(criterion: &mut Criterion) {
    let headers = headers();
    let (table, rules) = (table(250), CredentialRules::default());
    criterion.bench_function("canonicalise-route-extract/1000", |bencher| {
        bencher.iter(|| {
            let facts = facts(&headers, black_box(TARGET));
            let found = table.find(&facts);
            assert!(matches!(found, RouteMatch::Found(..)));
            rules
                .extract(facts.headers, &facts.query)
                .map(|shown| shown.key.is_some())
        });
    });
}

criterion_group!(benches, framing, canonicalise, route, extract, whole);
criterion_main!(benches);
