//! From the head of a request to its route and its key without an allocation.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use keyward::authz::{
    CaseMatch, CredentialRules, MatchOptions, RequestFacts, RouteMatch, RoutePattern, RouteSpec,
    RouteTable,
};

const KEY: &str = "iak_acme_0b5e3b1c-7a0e-4b5f-9a53-0f2c9a1d2e3f";

fn table(case: CaseMatch) -> RouteTable {
    let route = |path: &str| RouteSpec {
        name: path.to_owned(),
        hosts: vec!["gw.example".to_owned()],
        pattern: RoutePattern::parse(path).unwrap(),
        methods: vec![Method::GET],
        options: MatchOptions {
            case,
            ..MatchOptions::default()
        },
    };
    let paths = [
        "/v2/orgs/{org}/api-keys/{key}",
        "/v2/orgs/{org}/files/{*rest}",
    ];
    RouteTable::build(paths.map(route).to_vec()).unwrap()
}

fn allocations(target: &str, case: CaseMatch) -> u64 {
    let (table, rules) = (table(case), CredentialRules::default());
    let mut headers = HeaderMap::new();
    let name = HeaderName::from_static("x-prismeai-api-key");
    headers.insert(name, HeaderValue::from_static(KEY));
    let counted = allocation_counter::measure(|| {
        let host = b"gw.example:8080";
        let facts = RequestFacts::new(&Method::GET, host, target.as_bytes(), &headers).unwrap();
        assert!(matches!(table.find(&facts), RouteMatch::Found(..)));
        let shown = rules.extract(facts.headers, &facts.query).unwrap();
        assert!(shown.key.is_some());
    });
    counted.count_total
}

#[test]
fn a_canonical_request_costs_none() {
    for case in [CaseMatch::Sensitive, CaseMatch::Insensitive] {
        for target in [
            "/v2/orgs/acme/api-keys/k1?page=2&q=%20",
            "/v2/orgs/acme/files/A/b/C.txt",
        ] {
            assert_eq!(allocations(target, case), 0, "{target} {case:?}");
        }
    }
}

#[test]
fn escapes_cost_one_decoded_copy_of_the_path() {
    let target = "/v2/orgs/slug%3Aacme/api-keys/%C3%A9";
    assert_eq!(allocations(target, CaseMatch::Sensitive), 1);
}
