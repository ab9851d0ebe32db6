//! Broken configurations: every mistake in one run, each at its place.

use std::path::Path;

use keyward::config::{self, Flags, Mistake, Resolved};

use crate::golden::assert_committed;

fn unset(_: &str) -> Option<String> {
    None
}

fn load(text: &str) -> Result<Resolved, config::Mistakes> {
    config::load_text("k.yaml", text, &unset, Flags::default())
}

#[track_caller]
fn mistakes(text: &str) -> Vec<Mistake> {
    load(text).expect_err("it is broken").list().to_vec()
}

/// A whole configuration around some routes.
fn with_routes(routes: &str) -> String {
    format!(
        "listen: [ {{ address: 127.0.0.1:0 }} ]\nkeys: {{ embedded: {{}} }}\n\
         upstreams: {{ app: {{ endpoints: [ 127.0.0.1:1 ] }} }}\nroutes:\n{routes}"
    )
}

/// One route with a path and some more keys.
fn route(name: &str, path: &str, more: &str) -> String {
    format!("  - {{ name: {name}, path: \"{path}\", upstream: app, {more} }}\n")
}

#[test]
fn one_run_reports_every_mistake_with_its_place() {
    let text = include_str!("../data/config/broken.yaml");
    let said = config::load_text("broken.yaml", text, &unset, Flags::default())
        .expect_err("it is broken")
        .to_string();
    assert_committed("tests/data/config/broken.expected", &(said + "\n"));
}

/// What `text` is refused for, as `line:column key`.
#[track_caller]
fn places(text: &str) -> Vec<String> {
    mistakes(text)
        .iter()
        .map(|mistake| {
            let mark = mistake.mark.expect("a place");
            format!("{}:{} {}", mark.line, mark.column, mistake.key)
        })
        .collect()
}

#[test]
fn a_file_that_is_not_there_or_not_text_is_one_mistake() {
    let missing = config::load(Path::new("/no/such.yaml"), &unset, Flags::default());
    let said = missing.expect_err("it is not there").to_string();
    assert!(said.contains("/no/such.yaml: cannot be read"), "{said}");

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("k.yaml");
    std::fs::write(&path, b"listen: \xff").expect("written");
    let said = config::load(&path, &unset, Flags::default())
        .expect_err("it is not UTF-8")
        .to_string();
    assert!(said.contains("not UTF-8 from byte 8 on"), "{said}");
}

#[test]
fn what_is_no_yaml_is_refused_where_it_stops() {
    assert_eq!(mistakes("")[0].message, "is empty");
    assert_eq!(mistakes("# only a comment\n")[0].message, "is empty");
    for (text, message) in [
        ("a: [ 1", "not valid YAML"),
        ("a: 1\n---\nb: 2\n", "a second document"),
        ("? [ a ]\n: 1\n", "a key must be text"),
        ("- 1\n", "expected a mapping, found a list"),
        ("\u{e024}: 1\n", "private character"),
    ] {
        let found = mistakes(text);
        assert!(
            found
                .iter()
                .any(|mistake| mistake.message.contains(message)),
            "{text:?}: {found:#?}"
        );
    }
}

#[test]
fn no_more_of_a_file_is_read_than_a_configuration_may_have() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    // More than any memory holds; the disk has none of it.
    file.as_file().set_len(1 << 40).expect("a hole");
    let said = config::load(file.path(), &unset, Flags::default())
        .expect_err("it is too large")
        .to_string();
    assert!(said.contains("larger than"), "{said}");
}

#[test]
fn limits_hold_against_what_no_configuration_is() {
    let deep = format!("a: {}", "[".repeat(40));
    assert!(mistakes(&deep)[0].message.contains("nested deeper than"));
    let long = " ".repeat(config_bytes_max() + 1);
    assert!(mistakes(&long)[0].message.contains("larger than"));
    let keys: String = (0..10_001).map(|n| format!("k{n}: 1\n")).collect();
    let found = mistakes(&keys);
    let refused = |mistake: &Mistake| mistake.message.contains("more than 10000 keys");
    assert!(found.iter().any(refused));
}

fn config_bytes_max() -> usize {
    16 * 1024 * 1024
}

#[test]
fn yaml_that_hides_what_is_meant_is_refused() {
    let text = with_routes(
        "  - &a { name: a, path: /a, upstream: app, require: authenticated }\n  - *a\n  - { <<: {}, name: !!str b, name: c, path: /b, upstream: app, require: authenticated }\n",
    );
    let said: Vec<String> = mistakes(&text).into_iter().map(|m| m.message).collect();
    for part in [
        "anchors",
        "aliases",
        "merge keys",
        "tags",
        "`name` is here twice",
    ] {
        assert!(said.iter().any(|s| s.contains(part)), "{part}: {said:#?}");
    }
}

#[test]
fn variables_are_replaced_wherever_a_string_is() {
    let variables = |name: &str| match name {
        "PORT" => Some("8088".to_owned()),
        "THREADS" => Some("3".to_owned()),
        "PEPPER" => Some("12345".to_owned()),
        "EVIL" => Some("x\nroutes: []".to_owned()),
        _ => None,
    };
    let text = "listen: [ { address: 127.0.0.1:${PORT} }, { address: unix:/run/${NAME:-{a}.sock} ]\n\
                server: { threads: ${THREADS}, graceful_shutdown: '${GRACE:-5}s' }\n\
                credentials: { pepper: ${PEPPER} }\n\
                keys: { embedded: { database: \"sqlite://${DATA:-d}/${EVIL}\" } }\n\
                upstreams: { app: { endpoints: [ ${APP:-a:1}, b:1 ] } }\n\
                routes: []\n";
    let resolved = config::load_text("k.yaml", text, &variables, Flags::default())
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(resolved.proxy.threads, 3);
    assert_eq!(resolved.proxy.graceful_shutdown.as_secs(), 5);
    assert_eq!(resolved.proxy.rules.upstreams[0].endpoints.len(), 2);
    let listeners = format!("{:?}", resolved.proxy.listeners);
    assert!(
        listeners.contains("8088") && listeners.contains("/run/{a.sock"),
        "{listeners}"
    );
    let database = resolved.control.expect("a control plane").database;
    assert_eq!(
        database, "sqlite://d/x\nroutes: []",
        "a value is not structure"
    );
    assert!(resolved.replica.pepper.is_some());
}

#[test]
fn a_number_from_a_variable_is_a_number_only_without_quotes() {
    let text = |threads: &str| {
        with_routes("").replace(
            "routes:\n",
            &format!("routes: []\nserver: {{ threads: {threads} }}\n"),
        )
    };
    assert_eq!(load(&text("${N:-2}")).expect("it loads").proxy.threads, 2);
    let said = mistakes(&text("\"${N:-2}\""));
    assert!(said[0].message.contains("without quotes"), "{said:#?}");
    let said = mistakes(&text("${N}"));
    assert_eq!(said.len(), 1, "an unset variable is one mistake: {said:#?}");
    assert!(said[0].message.contains("`N` is not set"), "{said:#?}");
}

#[test]
fn a_secret_is_not_repeated() {
    let text = with_routes("").replace(
        "routes:\n",
        "routes: []\ncredentials: { pepper: [ hush-hush ] }\n",
    );
    assert!(!format!("{:?}", mistakes(&text)).contains("hush"));
    let text = text.replace("[ hush-hush ]", "hush-hush");
    assert!(!format!("{:?}", load(&text).expect("it loads")).contains("hush"));
}

#[test]
fn a_requirement_that_would_open_too_much_does_not_load() {
    let rule = "require: { rule: { action: read, subject: pages } }";
    let opens = with_routes(&route("a", "/w/{workspaceId}/pages", rule));
    assert_eq!(places(&opens), ["5:80 routes[0].require.rule"]);

    let bound = rule.replace("{ rule", "{ workspace: \"{workspaceId}\", rule");
    assert!(load(&with_routes(&route("a", "/w/{workspaceId}/pages", &bound))).is_ok());
    // Without such a capture there is nothing to bind it to.
    assert!(load(&with_routes(&route("a", "/pages", rule))).is_ok());

    // A requirement that lost its value must not become a lesser one.
    for empty in [
        "{ org: , permissions: [ a:b ] }",
        "{ permissions: }",
        "{}",
        "{ rule: null, workspace: w }",
        "null",
    ] {
        let text = with_routes(&route("a", "/a", &format!("require: {empty}")));
        assert!(load(&text).is_err(), "{empty}");
    }
}

#[test]
fn names_of_later_versions_are_refused_as_such() {
    let whole = with_routes(&route("a", "/a", "require: authenticated"));
    for (from, to) in [
        ("address: 127.0.0.1:0", "address: 127.0.0.1:0, tls: {}"),
        (
            "address: 127.0.0.1:0",
            "address: 127.0.0.1:0, trusted_identity_from: [ client_certificate ]",
        ),
        ("endpoints: [ 127.0.0.1:1 ]", "endpoints: [ https://a:1 ]"),
        (
            "endpoints: [ 127.0.0.1:1 ]",
            "endpoints: [ 127.0.0.1:1 ], http2: true",
        ),
        (
            "require: authenticated",
            "require: authenticated, limits: { streams: 1 }",
        ),
        (
            "require: authenticated",
            "require: authenticated, user_tokens: verify",
        ),
    ] {
        let text = whole.replace(from, to);
        assert_ne!(text, whole);
        let said = mistakes(&text);
        let later = |m: &Mistake| m.message.contains("not available in this version");
        assert!(said.iter().any(later), "{to}: {said:#?}");
    }
    let off = whole.replace("[ 127.0.0.1:1 ]", "[ 127.0.0.1:1 ], http2: false");
    assert!(load(&off).is_ok());
}

#[test]
fn http_2_without_tls_is_for_ones_own_network() {
    let whole = with_routes(&route("a", "/a", "require: authenticated"));
    for (address, warned) in [
        ("127.0.0.1:0", false),
        ("unix:/run/k", false),
        ("0.0.0.0:0", true),
        ("10.0.0.1:80", true),
    ] {
        let listening = format!("address: \"{address}\", h2c: true");
        let resolved = load(&whole.replace("address: 127.0.0.1:0", &listening)).unwrap();
        assert!(resolved.proxy.listeners[0].h2c);
        let about = |warning: &Mistake| warning.key == "listen[0].h2c";
        assert_eq!(resolved.warnings.iter().any(about), warned, "{address}");
    }
}

#[test]
fn who_may_name_identities_must_be_able_to() {
    let whole = with_routes(&route("a", "/a", "require: trusted_identity"));
    assert_eq!(places(&whole), ["5:52 routes[0].require"]);
    let listening = |listener: &str| whole.replace("address: 127.0.0.1:0", listener);
    for good in [
        "address: 127.0.0.1:0, trusted_identity_from: [ 127.0.0.1, 10.0.0.0/8, '::1' ]",
        "address: unix:/run/k, trusted_identity_from: [ unix ]",
    ] {
        let resolved = load(&listening(good)).unwrap_or_else(|error| panic!("{error}"));
        let open = &resolved.routes[0].passes_without_key;
        assert_eq!(open, &[config::OpenWay::TrustedIdentity]);
    }
    for (bad, message) in [
        (
            "address: 127.0.0.1:0, trusted_identity_from: [ unix ]",
            "Unix socket",
        ),
        (
            "address: unix:/run/k, trusted_identity_from: [ 10.0.0.0/8 ]",
            "write unix",
        ),
        (
            "address: 127.0.0.1:0, trusted_identity_from: [ 10.0.0.1/8 ]",
            "10.0.0.0/8",
        ),
        (
            "address: 127.0.0.1:0, trusted_identity_from: [ '::1', '::1' ]",
            "twice",
        ),
        (
            "address: 127.0.0.1:0, trusted_identity_from: [ nobody ]",
            "no peer",
        ),
    ] {
        let said = mistakes(&listening(bad));
        assert!(said[0].message.contains(message), "{bad}: {said:#?}");
    }
    let all = "address: 127.0.0.1:0, trusted_identity_from: [ 0.0.0.0/0 ]";
    let warnings = load(&listening(all)).expect("it loads").warnings;
    let warned = |warning: &Mistake| warning.key == "listen[0].trusted_identity_from[0]";
    assert!(warnings.iter().any(warned), "{warnings:#?}");
}

#[test]
fn who_may_say_where_requests_come_from_must_be_able_to() {
    let whole = with_routes(&route("a", "/a", "require: authenticated"));
    let listening = |listener: &str| whole.replace("address: 127.0.0.1:0", listener);
    for good in [
        "address: 127.0.0.1:0, trusted_proxies: [ 127.0.0.1, 10.0.0.0/8, '::1' ]",
        "address: 127.0.0.1:0, trusted_proxies: [ 127.0.0.1 ], proxy_protocol: true",
        "address: unix:/run/k, trusted_proxies: [ unix, 10.0.0.0/8 ]",
        "address: unix:/run/k, trusted_proxies: [ unix ], proxy_protocol: true, trusted_identity_from: [ 10.0.0.0/8 ]",
    ] {
        load(&listening(good)).unwrap_or_else(|error| panic!("{good}: {error}"));
    }
    for (bad, key, message) in [
        (
            "127.0.0.1:0, proxy_protocol: true",
            "proxy_protocol",
            "trusted_proxies",
        ),
        (
            "127.0.0.1:0, trusted_proxies: [ unix ]",
            "trusted_proxies",
            "leave out unix",
        ),
        (
            "unix:/run/k, trusted_proxies: [ 10.0.0.0/8 ]",
            "trusted_proxies",
            "write unix too",
        ),
        (
            "127.0.0.1:0, trusted_proxies: [ 10.0.0.1/8 ]",
            "trusted_proxies[0]",
            "10.0.0.0/8",
        ),
        (
            "127.0.0.1:0, trusted_proxies: [ '::1', '::1' ]",
            "trusted_proxies[1]",
            "twice",
        ),
        (
            "127.0.0.1:0, trusted_proxies: [ nobody ]",
            "trusted_proxies[0]",
            "no peer",
        ),
        ("127.0.0.1:0, proxy_protocol: 2", "proxy_protocol", ""),
        (
            "unix:/run/k, trusted_proxies: [ unix ], proxy_protocol: true, trusted_identity_from: [ unix ]",
            "trusted_identity_from[0]",
            "write addresses",
        ),
    ] {
        let said = mistakes(&listening(&format!("address: {bad}")));
        assert_eq!(said[0].key, format!("listen[0].{key}"), "{bad}: {said:#?}");
        assert!(said[0].message.contains(message), "{bad}: {said:#?}");
    }
    let all = "address: 127.0.0.1:0, trusted_proxies: [ '::/0' ]";
    let warnings = load(&listening(all)).expect("it loads").warnings;
    let warned = |warning: &Mistake| warning.key == "listen[0].trusted_proxies[0]";
    assert!(warnings.iter().any(warned), "{warnings:#?}");
}

#[test]
fn a_route_takes_less_than_all_and_not_more() {
    let limits = |limits: &str| {
        let more = format!("require: authenticated, limits: {{ {limits} }}");
        with_routes(&route("a", "/a", &more))
    };
    let less = load(&limits("headers: 7, uri_bytes: 1KiB, connections: 10000"));
    let less = less.unwrap_or_else(|error| panic!("{error}"));
    let ceilings = &less.proxy.rules.routes[0].ceilings;
    assert_eq!(
        (ceilings.headers, ceilings.uri_bytes, ceilings.connections),
        (Some(7), Some(1024), None)
    );
    for more in ["headers: 101", "uri_bytes: 9KiB", "connections: 10001"] {
        let said = mistakes(&limits(more));
        assert!(
            said[0].message.contains("must not be more than"),
            "{said:#?}"
        );
    }
}

#[test]
fn there_is_one_source_of_keys_and_a_platform_is_named_whole() {
    let whole = with_routes("").replace("routes:\n", "routes: []\n");
    let with = |keys: &str| whole.replace("embedded: {}", keys);
    let prisme = "prisme: { url: https://h, token: t, orgs: [ acme ] }";
    assert!(load(&with(prisme)).is_ok());
    assert!(
        load(&with(
            "prisme: { url: https://h, token: t, workspaces: [ w1 ] }"
        ))
        .is_ok()
    );
    for (keys, place) in [
        ("", "keys"),
        (&*format!("embedded: {{}}, {prisme}"), "keys.prisme"),
        ("prisme: { token: t, orgs: [ acme ] }", "keys.prisme"),
        ("prisme: { url: https://h, orgs: [ acme ] }", "keys.prisme"),
        ("prisme: { url: https://h, token: t }", "keys.prisme"),
        (
            "prisme: { url: h, token: t, orgs: [ a ] }",
            "keys.prisme.url",
        ),
        (
            "prisme: { url: https://h, token: \"\", orgs: [ a ] }",
            "keys.prisme.token",
        ),
        (
            "prisme: { url: https://h, token: \"a\\nb\", orgs: [ a ] }",
            "keys.prisme.token",
        ),
        (
            "prisme: { url: https://h, token: t, orgs: [ A_b ] }",
            "keys.prisme.orgs[0]",
        ),
        (
            "prisme: { url: https://h, token: t, orgs: [ a, a ] }",
            "keys.prisme.orgs[1]",
        ),
        (
            "prisme: { url: https://h, token: t, workspaces: [ a/b ] }",
            "keys.prisme.workspaces[0]",
        ),
        (
            "prisme: { url: https://h, token: t, orgs: [ a ], poll: 0s }",
            "keys.prisme.poll",
        ),
        (
            "prisme: { url: https://h, token: t, orgs: [ a ], on_stale: guess }",
            "keys.prisme.on_stale",
        ),
        (
            "prisme: { url: https://h, token: t, orgs: [ a ], state: \"\" }",
            "keys.prisme.state",
        ),
    ] {
        let said = places(&with(keys));
        let told = said.iter().any(|said| said.ends_with(&format!(" {place}")));
        assert!(told && said.len() == 1, "{keys}: {said:?}");
    }
    let clear = load(&with("prisme: { url: http://h, token: t, orgs: [ a ] }")).unwrap();
    let warning = format!("{:?}", clear.warnings);
    assert!(warning.contains("keys.prisme.url"), "{warning}");
    let printed = format!(
        "{:?}",
        load(&with(&prisme.replace("token: t", "token: hush")))
    );
    assert!(!printed.contains("hush"), "{printed}");
}

#[test]
fn the_control_plane_leaves_loopback_only_when_told_to() {
    let text = with_routes("").replace("routes:\n", "routes: []\n");
    let text = text.replace("embedded: {}", "embedded: { listen: 0.0.0.0:8081 }");
    assert_eq!(places(&text), ["2:29 keys.embedded.listen"]);
    let flags = Flags { insecure: true };
    assert!(config::load_text("k.yaml", &text, &unset, flags).is_ok());
}

#[test]
fn warnings_name_what_is_open() {
    let text = with_routes(
        &[
            route("open", "/open", "require: anonymous"),
            route("opt", "/opt", "require: authenticated, optional: true"),
            route("shadow", "/shadow", "require: authenticated, shadow: true"),
            route(
                "user",
                "/user",
                "require: authenticated, user_tokens: forward",
            ),
            route(
                "wide",
                "/things/{id}",
                "require: { permissions: [ things:read ] }",
            ),
            route(
                "scoped",
                "/agents/{id}",
                "require: { permissions: [ a:r ], scopes: [ \"a:{id}\" ] }",
            ),
            route("bound", "/orgs/{org}", "require: { org: \"{org}\" }"),
            route("admin", "/admin", "require: { permissions: [ admin:all ] }"),
            route("rest", "/{*rest}", "require: authenticated"),
        ]
        .concat(),
    );
    let warnings = load(&text).expect("it loads").warnings;
    let about = |key: &str, part: &str| {
        let found = |w: &&Mistake| w.key == key && w.message.contains(part);
        assert!(
            warnings.iter().any(|w| found(&w)),
            "{key} {part}: {warnings:#?}"
        );
    };
    about("routes[0].require", "`open`: everyone");
    about("routes[1].optional", "`opt`");
    about("routes[2].shadow", "`shadow`");
    about("routes[3].user_tokens", "`user`");
    about("routes[4].require", "{id}");
    about("routes[7].path", "judged by route `rest`");
    let silent = ["routes[5].require", "routes[6].require"];
    assert!(
        !warnings.iter().any(|w| silent.contains(&w.key.as_str())),
        "{warnings:#?}"
    );
}

#[test]
fn a_reload_says_what_needs_a_restart() {
    let old = with_routes(&route("a", "/a", "require: authenticated"));
    let fixed = |text: &str| load(text).unwrap_or_else(|error| panic!("{error}")).fixed;
    let changes = |text: &str| fixed(&old).changes(&fixed(text));
    assert!(changes(&old).is_empty());
    assert!(
        changes(
            &old.replace("/a", "/b")
                .replace("127.0.0.1:1 ", "127.0.0.1:2 ")
        )
        .is_empty()
    );
    for (key, more) in [
        ("ops", "ops: { listen: 127.0.0.1:9901 }"),
        ("server.threads", "server: { threads: 1 }"),
        (
            "server.graceful_shutdown",
            "server: { graceful_shutdown: 1s }",
        ),
        ("credentials.pepper", "credentials: { pepper: p }"),
        ("cache", "cache: { principals: 1 }"),
    ] {
        assert_eq!(changes(&format!("{old}{more}\n")), [key]);
    }
    assert_eq!(
        changes(&old.replace("127.0.0.1:0", "127.0.0.1:5")),
        ["listen"]
    );
    assert_eq!(
        changes(&old.replace("{}", "{ listen: 127.0.0.1:5 }")),
        ["keys"]
    );
}

/// Found here, and not by a gateway that no control plane takes.
#[test]
fn a_gateway_has_a_name_that_control_planes_take() {
    let called = |name: &str| {
        let token = "a-gateway-token-of-the-tests-0123456789";
        format!(
            "listen: [ {{ address: 127.0.0.1:0 }} ]\nkeys:\n  remote: {{ url: https://c.test, token: {token}, name: \"{name}\" }}\n\
             upstreams: {{ app: {{ endpoints: [ 127.0.0.1:1 ] }} }}\nroutes:\n{}",
            route("a", "/a", "require: anonymous")
        )
    };
    assert!(load(&called(&"n".repeat(64))).is_ok());
    for name in ["", "a\\u0007", &"n".repeat(65)] {
        let found = mistakes(&called(name));
        assert_eq!(found[0].key, "keys.remote.name", "{found:?}");
    }
}

#[test]
fn a_rate_is_whole_and_within_bounds() {
    let with = |rate: &str| {
        let more = format!("require: authenticated, rate: {rate}");
        with_routes(&route("a", "/a", &more))
    };
    let resolved = load(&with("{ requests: 100, per: 60s, by: key }")).expect("it loads");
    let rate = resolved.proxy.rules.routes[0].rate.expect("a rate");
    assert_eq!(rate.to_string(), "100 requests per 60s for each key");
    for by in ["client", "route"] {
        assert!(load(&with(&format!("{{ requests: 1, per: 24h, by: {by} }}"))).is_ok());
    }
    for (bad, message) in [
        ("{ requests: 0, per: 60s, by: key }", "at least 1"),
        (
            "{ requests: 1000001, per: 60s, by: key }",
            "at most 1000000",
        ),
        ("{ requests: 1, per: 999ms, by: key }", "at least 1s"),
        ("{ requests: 1, per: 25h, by: key }", "longer than a day"),
        (
            "{ requests: 1, per: 60s, by: org }",
            "`key`, `client` or `route`",
        ),
        ("{ requests: 1, per: 60s }", "`by` is missing"),
        ("{ per: 60s, by: key }", "`requests` is missing"),
        ("{ requests: 1, by: key }", "`per` is missing"),
        (
            "{ requests: 1, per: 60s, by: key, burst: 2 }",
            "unknown key",
        ),
    ] {
        let said = mistakes(&with(bad));
        assert!(
            said.iter().any(|mistake| mistake.message.contains(message)),
            "{bad}: {said:#?}"
        );
    }
}
