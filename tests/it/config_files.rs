//! The configurations that are shipped, and the documents that are made from the configuration's types.

use std::path::Path;

use keyward::config::{self, Flags, OpenWay, Resolved};

use crate::golden::assert_committed;

fn unset(_: &str) -> Option<String> {
    None
}

fn in_repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[track_caller]
fn load(path: &str) -> Resolved {
    config::load(&in_repository(path), &unset, Flags::default())
        .unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_shipped_configuration_loads_in_an_empty_environment() {
    let folder = std::fs::read_dir(in_repository("config")).expect("the folder is there");
    let mut files = 0;
    for entry in folder {
        let name = entry.expect("readable").file_name();
        load(&format!("config/{}", name.to_string_lossy()));
        files += 1;
    }
    assert!(files >= 3);
}

#[test]
fn the_quickstart_takes_everything_from_its_variables() {
    let variables = |name: &str| {
        let value = match name {
            "KEYWARD_LISTEN" => "127.0.0.1:1001",
            "KEYWARD_OPS_LISTEN" => "127.0.0.1:1002",
            "KEYWARD_CONTROL_LISTEN" => "127.0.0.1:1003",
            "KEYWARD_SAMPLE_UPSTREAM" => "127.0.0.1:1004",
            "KEYWARD_DATA" => "/tmp/a folder: #1",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let path = in_repository("config/quickstart.yaml");
    let resolved = config::load(&path, &variables, Flags::default()).expect("it loads");
    let control = resolved.control.expect("it has a control plane");
    assert_eq!(control.listen.port(), 1003);
    assert_eq!(control.database, "sqlite:///tmp/a folder: #1/keyward.db");
    assert_eq!(resolved.proxy.ops.map(|ops| ops.port()), Some(1002));
    let proxy = format!("{:?}", resolved.proxy);
    assert!(proxy.contains("127.0.0.1:1001") && proxy.contains("1004"));
}

#[test]
fn the_quickstart_has_the_routes_that_the_tour_walks() {
    let resolved = load("config/quickstart.yaml");
    let routes: Vec<String> = resolved
        .routes
        .iter()
        .map(|route| format!("{} {}", route.methods.join(","), route.path))
        .collect();
    assert_eq!(
        routes,
        [
            "GET /v2/orgs/{orgSlug}/api-keys",
            "GET /v1/agents/{agentId}",
            "POST /v1/agents/{agentId}",
            "GET /v2/workspaces/{workspaceId}/pages/{pageId}",
            "POST /v2/deployments/invoke",
            "GET /public/ping",
        ]
    );
    let open: Vec<&str> = resolved
        .routes
        .iter()
        .filter(|route| !route.passes_without_key.is_empty())
        .map(|route| route.name.as_str())
        .collect();
    assert_eq!(open, ["ping"]);
}

/// The ingress may be open only where the platform is, and must not confuse what the platform does not tell apart.
#[test]
fn the_ingress_is_open_where_the_platform_is() {
    let resolved = load("config/ingress.yaml");
    let anonymous: Vec<&str> = resolved
        .routes
        .iter()
        .filter(|route| route.passes_without_key.contains(&OpenWay::Anonymous))
        .map(|route| route.name.as_str())
        .collect();
    assert_eq!(
        anonymous,
        [
            "preflight",
            "preflight-oidc",
            "preflight-sockets",
            "preflight-sockets-below",
            "service-account-token",
            "login",
            "login-below",
            "signup",
            "oidc",
            "health",
            "console",
            "console-start",
        ]
    );
    for route in &resolved.routes {
        let has_options = route.methods.iter().any(|method| method == "OPTIONS");
        let is_preflight = route.name.starts_with("preflight");
        assert_eq!(
            has_options, is_preflight,
            "{}: preflights carry no credentials",
            route.name
        );
        assert!(!route.passes_without_key.contains(&OpenWay::Shadow));
    }
    let confused: Vec<_> = resolved
        .warnings
        .iter()
        .filter(|warning| warning.message.contains("upstream that"))
        .collect();
    assert!(confused.is_empty(), "{confused:#?}");
}

#[test]
fn the_schema_is_committed() {
    let schema = serde_json::to_string_pretty(&config::schema()).expect("it is JSON");
    assert_committed("docs/config.schema.json", &(schema + "\n"));
}
