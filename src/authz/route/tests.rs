//! Tests of route choice: precedence, backtracking over host, path and method, options, conflicts, scale.

use http::HeaderMap;
use proptest::prelude::*;

use super::*;

/// `[name=]METHOD[,METHOD…] [host]/path [flags]`; flags: `i` insensitive to case, `s` ignores a trailing slash.
fn spec(text: &str) -> RouteSpec {
    let mut words = text.split(' ');
    let methods = words.next().unwrap();
    let place = words.next().unwrap();
    let flags = words.next().unwrap_or_default();
    let (host, path) = place.split_at(place.find('/').unwrap());
    RouteSpec {
        name: text.to_owned(),
        hosts: host
            .split(',')
            .filter(|host| !host.is_empty())
            .map(str::to_owned)
            .collect(),
        pattern: RoutePattern::parse(path).unwrap(),
        methods: methods
            .split(',')
            .map(|name| name.parse().unwrap())
            .collect(),
        options: MatchOptions {
            case: if flags.contains('i') {
                CaseMatch::Insensitive
            } else {
                CaseMatch::Sensitive
            },
            trailing_slash: if flags.contains('s') {
                TrailingSlash::Ignored
            } else {
                TrailingSlash::Significant
            },
        },
    }
}

pub(super) fn table(routes: &[&str]) -> RouteTable {
    RouteTable::build(routes.iter().map(|text| spec(text)).collect()).unwrap()
}

fn find(table: &RouteTable, request: &str) -> RouteMatch {
    let (method, place) = request.split_once(' ').unwrap();
    let (host, target) = place.split_at(place.find('/').unwrap());
    let host = if host.is_empty() { "any.example" } else { host };
    let (method, headers) = (method.parse().unwrap(), HeaderMap::new());
    let facts = RequestFacts::new(&method, host.as_bytes(), target.as_bytes(), &headers).unwrap();
    table.find(&facts)
}

/// The name of the route that is found, `-`, or `405` and the methods.
fn found(table: &RouteTable, request: &str) -> String {
    match find(table, request) {
        RouteMatch::Found(id, _) => table.spec(id).unwrap().name.clone(),
        RouteMatch::MethodNotAllowed(methods) => {
            let methods: Vec<&str> = methods.iter().map(Method::as_str).collect();
            format!("405 {}", methods.join(","))
        }
        RouteMatch::NotFound => "-".to_owned(),
    }
}

fn captured(table: &RouteTable, target: &str) -> Vec<String> {
    let path = Path::parse(target.as_bytes()).unwrap();
    let RouteMatch::Found(id, captures) = table.find_parts("h", &path, &Method::GET) else {
        panic!("{target} has no route");
    };
    let names = table.spec(id).unwrap().pattern.captures().len();
    assert_eq!(captures.get(names, &path), None);
    (0..names)
        .map(|index| captures.get(index, &path).unwrap().to_owned())
        .collect()
}

#[test]
fn the_better_shape_wins_from_the_left() {
    let table = table(&[
        "GET /{*rest}",
        "GET /{a}",
        "GET /{a}:cancel",
        "GET /v{a}:cancel",
        "GET /v{a}",
        "GET /v1:cancel",
        "GET /",
        "GET /x/{b}/c",
        "GET /{a}/y/c",
        "GET /{a}/{*rest}",
    ]);
    for (request, expected) in [
        ("GET /", "GET /"),
        ("GET /a", "GET /{a}"),
        ("GET /a:cancel", "GET /{a}:cancel"),
        ("GET /v2:cancel", "GET /v{a}:cancel"),
        ("GET /v1:cancel", "GET /v1:cancel"),
        ("GET /v%31%3Acancel", "GET /v1:cancel"),
        ("GET /v2", "GET /v{a}"),
        ("GET /v", "GET /{a}"),
        ("GET /:cancel", "GET /{a}"),
        ("GET /v:cancel", "GET /{a}:cancel"),
        ("GET /x/y/c", "GET /x/{b}/c"),
        ("GET /z/y/c", "GET /{a}/y/c"),
        ("GET /x/y/d", "GET /{a}/{*rest}"),
        ("GET /a/", "GET /{*rest}"),
    ] {
        assert_eq!(found(&table, request), expected, "{request}");
    }
}

#[test]
fn a_route_without_the_method_hides_no_other() {
    let table = table(&[
        "POST h/a/b",
        "PUT /a/b",
        "DELETE /a/{x}",
        "PATCH,GET /{x}/b",
        "OPTIONS /{*rest}",
    ]);
    for (request, expected) in [
        ("POST h/a/b", "POST h/a/b"),
        ("PUT h/a/b", "PUT /a/b"),
        ("DELETE h/a/b", "DELETE /a/{x}"),
        ("GET h/a/b", "PATCH,GET /{x}/b"),
        ("OPTIONS h/a/b", "OPTIONS /{*rest}"),
        ("HEAD h/a/b", "405 POST,PUT,DELETE,PATCH,GET,OPTIONS"),
        ("HEAD other/a/b", "405 PUT,DELETE,PATCH,GET,OPTIONS"),
        ("POST other/a/b", "405 PUT,DELETE,PATCH,GET,OPTIONS"),
        ("get h/a/b", "405 POST,PUT,DELETE,PATCH,GET,OPTIONS"),
        ("GET h/", "-"),
    ] {
        assert_eq!(found(&table, request), expected, "{request}");
    }
}

#[test]
fn an_exact_host_beats_none_before_any_shape() {
    let table = table(&["GET a.example,[::1]/{x}", "GET /x", "GET b.example/y"]);
    for (request, expected) in [
        ("GET a.example/x", "GET a.example,[::1]/{x}"),
        ("GET A.Example:8080/x", "GET a.example,[::1]/{x}"),
        ("GET [0::1]/x", "GET a.example,[::1]/{x}"),
        ("GET b.example/x", "GET /x"),
        ("GET c.example/y", "-"),
        ("GET x.a.example/y", "-"),
    ] {
        assert_eq!(found(&table, request), expected, "{request}");
    }
}

#[test]
fn captures_are_decoded_and_keep_their_slashes() {
    let table = table(&["GET /v{version}/{id}:cancel/{*rest}", "GET /o/{org}"]);
    assert_eq!(
        captured(&table, "/v2/a%20b%3acancel/c%2Fd/e%3F/"),
        ["2", "a b", "c/d/e?"]
    );
    assert_eq!(captured(&table, "/o/slug%3Aacme"), ["slug:acme"]);
    assert_eq!(captured(&table, "/o/a*@$&'()"), ["a*@$&'()"]);
    assert_eq!(captured(&table, "/o/a%2Fb"), ["a/b"]);
}

#[test]
fn trailing_slashes_are_told_apart_unless_ignored() {
    let significant = table(&["GET /a", "GET /a/", "GET /b", "GET /c/{*rest}"]);
    for (request, expected) in [
        ("GET /a", "GET /a"),
        ("GET /a/", "GET /a/"),
        ("GET /b/", "-"),
        ("GET /c/d/", "GET /c/{*rest}"),
        ("GET /c/", "-"),
    ] {
        assert_eq!(found(&significant, request), expected, "{request}");
    }
    let ignored = table(&["GET /a s", "GET /b/ s", "POST /a/", "GET / s"]);
    for (request, expected) in [
        ("GET /a/", "GET /a s"),
        ("GET /b", "GET /b/ s"),
        ("POST /a", "405 GET"),
        ("POST /a/", "POST /a/"),
        ("GET /", "GET / s"),
    ] {
        assert_eq!(found(&ignored, request), expected, "{request}");
    }
}

#[test]
fn case_is_told_apart_unless_ignored_route_by_route() {
    let table = table(&[
        "GET /Admin/{id}:Stop i",
        "GET /admin/x",
        "GET /ADMIN/x",
        "GET /V{n}/A",
        "GET /{a}/{b}",
    ]);
    for (request, expected) in [
        ("GET /aDMIN/1:sTOP", "GET /Admin/{id}:Stop i"),
        ("GET /admin/x", "GET /admin/x"),
        ("GET /ADMIN/x", "GET /ADMIN/x"),
        ("GET /Admin/x", "GET /{a}/{b}"),
        ("GET /V1/A", "GET /V{n}/A"),
        ("GET /v1/A", "GET /{a}/{b}"),
        ("GET /V1/a", "GET /{a}/{b}"),
    ] {
        assert_eq!(found(&table, request), expected, "{request}");
    }
    assert_eq!(captured(&table, "/ADMIN/Ab:STOP"), ["Ab"]);
}

fn errors(routes: &[&str]) -> Vec<(u32, String)> {
    RouteTable::build(routes.iter().map(|text| spec(text)).collect())
        .unwrap_err()
        .into_iter()
        .map(|error| (error.route.unwrap().0, error.message))
        .collect()
}

#[test]
fn every_conflict_is_reported_in_one_go() {
    let conflicts = errors(&[
        "GET,PUT /a/{x}",
        "PUT,GET /a/{y}",
        "GET h,i/b",
        "POST,GET i,h,i/b",
        "GET /c",
        "GET /c/ s",
        "GET /D i",
        "GET /d",
        "GET /e/{*x}",
        "GET /e/{*y}",
        "GET /v{x}:a",
        "GET /v{y}:a",
        "GET /%66",
        "GET /f",
    ]);
    let places: Vec<u32> = conflicts.iter().map(|(route, _)| *route).collect();
    assert_eq!(places, [1, 3, 5, 7, 9, 11, 13]);
    assert!(
        conflicts[0].1.contains("`GET,PUT /a/{x}` (PUT, GET)"),
        "{}",
        conflicts[0].1
    );
}

#[test]
fn what_differs_in_host_shape_or_method_loads() {
    table(&[
        "GET /a",
        "POST /a",
        "GET h/a",
        "GET /A",
        "GET /a/",
        "GET /{x}",
        "GET /{x}:a",
        "GET /{x}:b",
        "GET /a{x}",
        "GET /{*x}",
    ]);
}

#[test]
fn names_hosts_and_methods_are_checked() {
    let mut twice = spec("GET /b");
    twice.name = "GET /a".to_owned();
    let mut mute = spec("GET /c");
    mute.methods.clear();
    let mut hosts = spec("GET /d");
    hosts.hosts = ["ok", "Upper", "h:80", "", "*.h", "[0::1]"]
        .map(str::to_owned)
        .to_vec();
    let specs = vec![spec("GET /a"), twice, mute, hosts];
    let errors = RouteTable::build(specs).unwrap_err();
    let places: Vec<u32> = errors.iter().map(|error| error.route.unwrap().0).collect();
    assert_eq!(places, [1, 2, 3, 3, 3, 3, 3]);
}

/// What the norm says, in the plainest words: all routes that match, sorted.
fn plainly(table: &RouteTable, host: &str, path: &Path<'_>, method: &Method) -> Option<RouteId> {
    use pattern::Segment;
    type Rank = (bool, Vec<(u8, std::cmp::Reverse<(usize, usize)>)>);
    let rank = |spec: &RouteSpec| -> Option<Rank> {
        let host_rank = match spec.hosts.as_slice() {
            [] => true,
            hosts if hosts.iter().any(|it| it == host) => false,
            _ => return None,
        };
        let fold = |text: &str| match spec.options.case {
            CaseMatch::Sensitive => text.to_owned(),
            CaseMatch::Insensitive => text.to_ascii_lowercase(),
        };
        let segments = &spec.pattern.segments;
        let open = spec.pattern.ends_in_rest();
        if path.len() < segments.len() || (path.len() > segments.len() && !open) {
            return None;
        }
        let slash = spec.pattern.trailing_slash == path.has_trailing_slash();
        if !slash && !open && spec.options.trailing_slash == TrailingSlash::Significant {
            return None;
        }
        let mut ranks = Vec::new();
        for (index, segment) in segments.iter().enumerate() {
            let actual = fold(path.segment(index).unwrap());
            let none = std::cmp::Reverse((0, 0));
            ranks.push(match segment {
                Segment::Literal(text) if fold(text) == actual => (0, none),
                Segment::Literal(_) => return None,
                Segment::Capture { prefix, suffix, .. } => {
                    let rest = actual
                        .strip_prefix(&fold(prefix))?
                        .strip_suffix(&fold(suffix))?;
                    if rest.is_empty() {
                        return None;
                    }
                    let affixes = prefix.len() + suffix.len();
                    match affixes {
                        0 => (2, none),
                        _ => (1, std::cmp::Reverse((affixes, prefix.len()))),
                    }
                }
                Segment::Rest { .. } => (3, none),
            });
        }
        Some((host_rank, ranks))
    };
    ids(table.specs())
        .filter(|(_, spec)| spec.methods.contains(method))
        .filter_map(|(id, spec)| Some((rank(spec)?, id)))
        .min()
        .map(|(_, id)| id)
}

fn any_spec() -> impl Strategy<Value = RouteSpec> {
    let segment = prop_oneof![
        5 => "[aAbB]{1,2}",
        2 => Just("{N}".to_owned()),
        1 => "[aA]{0,1}\\{N\\}[:bB]{0,2}",
    ];
    let path = (proptest::collection::vec(segment, 0..4), 0..3_u8);
    let hosts = proptest::sample::subsequence(vec!["h", "i"], 0..2);
    let methods = proptest::sample::subsequence(vec![Method::GET, Method::POST], 1..=2);
    (path, hosts, methods, any::<(bool, bool)>()).prop_map(
        |((segments, end), hosts, methods, (insensitive, ignored))| {
            let mut text: String = segments
                .iter()
                .enumerate()
                .map(|(index, segment)| {
                    "/".to_owned() + &segment.replace('N', &format!("c{index}"))
                })
                .collect();
            text.push_str(match end {
                0 if !text.is_empty() => "",
                1 => "/{*rest}",
                _ => "/",
            });
            RouteSpec {
                name: String::new(),
                hosts: hosts.into_iter().map(str::to_owned).collect(),
                pattern: RoutePattern::parse(&text).unwrap(),
                methods,
                options: MatchOptions {
                    case: [CaseMatch::Sensitive, CaseMatch::Insensitive][usize::from(insensitive)],
                    trailing_slash: [TrailingSlash::Significant, TrailingSlash::Ignored]
                        [usize::from(ignored)],
                },
            }
        },
    )
}

/// The routes that load beside those before them.
fn loadable(specs: Vec<RouteSpec>) -> RouteTable {
    let mut kept: Vec<RouteSpec> = Vec::new();
    for (index, mut spec) in specs.into_iter().enumerate() {
        spec.name = index.to_string();
        kept.push(spec);
        if RouteTable::build(kept.clone()).is_err() {
            kept.pop();
        }
    }
    RouteTable::build(kept).unwrap()
}

proptest! {
    #[test]
    fn the_index_finds_what_the_norm_says(
        specs in proptest::collection::vec(any_spec(), 1..12),
        paths in proptest::collection::vec("(/[aAbB:]{1,3}){0,4}/?", 1..12),
    ) {
        let table = loadable(specs);
        for text in paths.iter().filter(|text| text.starts_with('/')) {
            let path = Path::parse(text.as_bytes()).unwrap();
            for host in ["h", "i", "j"] {
                for method in [Method::GET, Method::POST] {
                    let found = match table.find_parts(host, &path, &method) {
                        RouteMatch::Found(id, _) => Some(id),
                        RouteMatch::MethodNotAllowed(_) | RouteMatch::NotFound => None,
                    };
                    prop_assert_eq!(found, plainly(&table, host, &path, &method), "{} {}", host, text);
                }
            }
        }
    }
}

/// Counts the nodes that a look-up meets, by the routes that it is shown.
#[test]
fn thousands_of_routes_are_not_looked_through() {
    let mut routes: Vec<String> = (0..5000)
        .map(|n| format!("GET /svc{n}/{{id}}:verb{n}"))
        .collect();
    routes.extend((0..2000).map(|n| format!("GET /same/{{id}}:verb{n}")));
    routes.push("GET /{a}/{b}".to_owned());
    let table = RouteTable::build(routes.iter().map(|text| spec(text)).collect()).unwrap();
    let path = Path::parse(b"/same/7:verb1999").unwrap();
    let mut shown = Vec::new();
    let _all: ControlFlow<()> = table.walk("h", &path, &mut |_, spec| {
        shown.push(spec.name.clone());
        ControlFlow::Continue(())
    });
    assert_eq!(shown, ["GET /same/{id}:verb1999", "GET /{a}/{b}"]);
    assert_eq!(
        found(&table, "GET /svc4999/x:verb4999"),
        "GET /svc4999/{id}:verb4999"
    );
}
