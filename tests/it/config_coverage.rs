//! `keyward check --openapi`: which route takes each operation of an API, and what has none.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::e2e_support::{Ended, run};

/// A folder with a configuration around these routes, and a document.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new(routes: &str, spec: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = format!(
            "listen: [ {{ address: 127.0.0.1:0 }} ]\nkeys: {{ embedded: {{}} }}\n\
             upstreams: {{ app: {{ endpoints: [ 127.0.0.1:1 ] }} }}\nroutes:\n{routes}"
        );
        std::fs::write(folder.path().join("keyward.yaml"), config).expect("written");
        std::fs::write(folder.path().join("spec"), spec).expect("written");
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn check(&self, more: &[&str]) -> Ended {
        let (config, spec) = (self.path("keyward.yaml"), self.path("spec"));
        let fixed = ["check", "--config", &config, "--openapi", &spec];
        run(&[&fixed[..], more].concat(), "")
    }

    fn report(&self, more: &[&str]) -> Value {
        let ended = self.check(&[&["--json"], more].concat());
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
    }
}

fn route(name: &str, path: &str, more: &str) -> String {
    format!("  - {{ name: {name}, path: \"{path}\", upstream: app, {more} }}\n")
}

fn get(name: &str, path: &str) -> String {
    route(name, path, "methods: [ GET ], require: authenticated")
}

/// A document with a GET for each path.
fn spec(paths: &[&str]) -> String {
    let paths: Vec<String> = paths
        .iter()
        .map(|path| format!("  '{path}': {{ get: {{}} }}\n"))
        .collect();
    format!("openapi: 3.1.0\npaths:\n{}", paths.concat())
}

/// The routes or the gap of each operation.
fn taken(report: &Value) -> Vec<String> {
    let operations = report["openapi"]["operations"].as_array().expect("a list");
    operations
        .iter()
        .map(|operation| match operation["uncovered"].as_str() {
            Some(gap) => gap.to_owned(),
            None => {
                let routes = operation["routes"].as_array().expect("a list");
                let names = routes.iter().filter_map(|route| route["name"].as_str());
                names.collect::<Vec<_>>().join(" ")
            }
        })
        .collect()
}

#[test]
fn an_operation_is_covered_by_the_route_that_takes_all_of_its_requests() {
    let routes = [
        get("thing", "/things/{id}"),
        get("mine", "/things/mine"),
        get("cancel", "/things/{id}:cancel"),
        get("only-mine", "/others/mine"),
        get("a", "/split/_{rest}"),
        get("b", "/split/~{rest}"),
        get("c", "/some/_{rest}"),
        get("deep", "/deep/{*rest}"),
        get("hook", "/hooks/{slug}"),
        get("hook-below", "/hooks/{slug}/{*rest}"),
        get("half", "/half/{slug}"),
        get("unused", "/unused"),
    ];
    let paths = [
        ("/things/{thing}", "thing"),
        ("/things/mine", "mine"),
        ("/things/yours", "thing"),
        ("/things/{thing}:cancel", "cancel"),
        ("/things/{thing}:pause", "thing"),
        ("/others/{id}", "no_route"),
        ("/split/{id}", "split"),
        ("/some/{id}", "no_route"),
        ("/deep/{a}/{b}.json", "deep"),
        ("/hooks/{slug}*", "hook hook-below"),
        ("/half/{slug}/*", "no_route"),
        ("/things/{a}{", "not_canonical"),
        ("/things/a b", "not_canonical"),
        ("/nowhere", "no_route"),
    ];
    let files = Files::new(&routes.concat(), &spec(&paths.map(|(path, _)| path)));
    let report = files.report(&[]);
    assert_eq!(taken(&report), paths.map(|(_, route)| route));
    assert_eq!(
        (&report["ok"], &report["openapi"]["uncovered"]),
        (&json!(false), &json!(7))
    );
    let unused: Vec<&Value> = report["openapi"]["routes_without_operation"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|route| &route["name"])
        .collect();
    assert_eq!(unused, ["only-mine", "a", "b", "c", "half", "unused"]);
    let ended = files.check(&[]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("7 operations of"), "{}", ended.stderr);
}

#[test]
fn methods_base_paths_and_requirements_are_told() {
    let routes = [
        route(
            "pages",
            "/v1/pages/{id}",
            "methods: [ GET ], require: { org: acme, permissions: [ a:b ] }, user_tokens: forward",
        ),
        route(
            "write",
            "/v1/pages/{id}",
            "methods: [ PUT ], require: { access: { domain: page, level: write, project: any } }",
        ),
        route("open", "/v1/open", "methods: [ GET ], require: anonymous"),
        route("none", "/v1/none", "methods: [ GET ], require: nobody"),
    ];
    let spec = r#"{ "openapi": "3.0.3", "servers": [ { "url": "https://api.example.com/v1" } ], "paths": {
        "/pages/{id}": { "get": { "operationId": "readPage" }, "put": {}, "delete": {} },
        "/open": { "get": {} }, "/none": { "get": {} } } }"#;
    let files = Files::new(&routes.concat(), spec);
    let report = files.report(&[]);
    assert_eq!(
        taken(&report),
        ["pages", "write", "method_not_allowed", "open", "none"]
    );
    let first = &report["openapi"]["operations"][0];
    assert_eq!(
        (&first["method"], &first["path"]),
        (&json!("GET"), &json!("/v1/pages/{id}"))
    );
    assert_eq!(first["operation_id"], "readPage");
    assert_eq!(first["routes"][0]["require"]["permissions"], json!(["a:b"]));
    assert_eq!(
        first["routes"][0]["passes_without_key"],
        json!(["user_tokens"])
    );
    let table = files.check(&[]).stdout;
    for line in [
        "METHOD  OPERATION       ROUTE  REQUIRES",
        "GET     /v1/pages/{id}  pages  org acme; all of a:b (or a user token)",
        "PUT     /v1/pages/{id}  write  page: write, project any",
        "DELETE  /v1/pages/{id}  -      UNCOVERED: routes have this path for other methods only",
        "GET     /v1/open        open   anonymous",
        "GET     /v1/none        none   refused to every key",
    ] {
        assert!(table.lines().any(|found| found == line), "{line}\n{table}");
    }
}

/// A catch-all of one host must not stand for routes of another.
#[test]
fn routes_of_another_host_do_not_count() {
    let routes = [
        route(
            "console",
            "/{*rest}",
            "hosts: [ console.example.com ], methods: [ GET ], require: anonymous",
        ),
        get("a", "/a"),
        route(
            "b",
            "/b",
            "hosts: [ api.example.com ], methods: [ GET ], require: authenticated",
        ),
    ];
    let servers =
        "servers: [ { url: 'https://other.example.com' }, { url: 'https://API.example.com' } ]\n";
    let files = Files::new(&routes.concat(), &(spec(&["/a", "/b"]) + servers));
    assert_eq!(taken(&files.report(&[])), ["a", "b"]);
    let elsewhere = files.report(&["--host", "x.example.com"]);
    assert_eq!(taken(&elsewhere), ["a", "no_route"]);
    assert_eq!(
        taken(&files.report(&["--host", "console.example.com"])),
        ["console", "console"]
    );
    let hintless = Files::new(&routes.concat(), &spec(&["/a", "/b"]));
    let said = hintless.check(&[]);
    assert_eq!(said.code, Some(1));
    assert!(
        said.stderr.contains("--host names another"),
        "{}",
        said.stderr
    );
}

#[test]
fn what_is_no_document_is_one_line_and_exit_code_1() {
    let files = Files::new(&get("a", "/a"), "listen: []\n");
    let ended = files.check(&[]);
    assert_eq!((ended.code, ended.stderr.lines().count()), (Some(1), 1));
    assert!(
        ended.stderr.contains("has no `openapi`"),
        "{}",
        ended.stderr
    );
    let config = files.path("keyward.yaml");
    let missing = run(&["check", "--config", &config, "--openapi", "no-such"], "");
    assert!(missing.stderr.contains("no-such: cannot be read"));
    let usage = run(&["check", "--config", &config, "--host", "x"], "");
    assert_eq!(usage.code, Some(2));
}

#[test]
fn without_a_gap_it_passes_and_is_as_strict_as_asked() {
    let open = route("a", "/a", "methods: [ GET ], require: anonymous");
    let files = Files::new(&open, &spec(&["/a"]));
    assert_eq!(files.check(&[]).code, Some(0));
    assert_eq!(files.report(&[])["ok"], true);
    assert_eq!(files.check(&["--strict"]).code, Some(1));
}

/// The published documents are not part of the repository. Where they lie beside it, all of them is covered.
#[test]
fn the_shipped_configurations_cover_the_published_documents() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = |name: &str| -> PathBuf {
        here.with_file_name("shared")
            .join("reference/specs")
            .join(name)
    };
    for (config, document, operations) in [
        ("config/ingress.yaml", "prisme-openapi.yml", 158),
        ("config/orq.yaml", "orq-openapi.yaml", 279),
    ] {
        let document = beside(document);
        if !document.is_file() {
            continue;
        }
        let (config, document) = (
            here.join(config).display().to_string(),
            document.display().to_string(),
        );
        let ended = run(
            &[
                "check",
                "--config",
                &config,
                "--openapi",
                &document,
                "--json",
            ],
            "",
        );
        let report: Value = serde_json::from_str(&ended.stdout).expect("one JSON value");
        let gaps: Vec<&Value> = report["openapi"]["operations"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|operation| !operation["uncovered"].is_null())
            .collect();
        assert_eq!(
            (ended.code, gaps.len()),
            (Some(0), 0),
            "{config}: {gaps:#?}"
        );
        let found = report["openapi"]["operations"]
            .as_array()
            .map_or(0, Vec::len);
        assert!(found >= operations, "{found} operations");
    }
}
