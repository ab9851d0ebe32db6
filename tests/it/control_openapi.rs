//! The description of the control plane's API: committed, and true.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::control_support::Plane;

const COMMITTED: &str = "openapi/control-v1.json";

#[test]
fn the_committed_description_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(COMMITTED);
    let generated = keyward::control::openapi_json().unwrap() + "\n";
    if std::env::var_os("KEYWARD_REGENERATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &generated).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "{COMMITTED} is out of date: run `KEYWARD_REGENERATE=1 cargo nextest run control_openapi` and commit it"
    );
}

#[test]
fn the_description_is_served() {
    let plane = Plane::start();
    let served = plane.call("GET", "/openapi.json", &[], None);
    assert_eq!(served.status, 200);
    let generated: Value =
        serde_json::from_str(&keyward::control::openapi_json().unwrap()).unwrap();
    assert_eq!(served.body, generated);
}

#[test]
fn every_operation_has_its_published_name() {
    let description: Value =
        serde_json::from_str(&keyward::control::openapi_json().unwrap()).unwrap();
    let keys = "/v2/orgs/{orgSlug}/api-keys";
    let of_workspace = "/v2/workspaces/{workspaceId}/security/apikeys";
    for (path, method, operation) in [
        (keys.to_owned(), "post", "createOrgApiKey"),
        (keys.to_owned(), "get", "listOrgApiKeys"),
        (format!("{keys}/{{keyId}}"), "get", "getOrgApiKey"),
        (format!("{keys}/{{keyId}}"), "patch", "updateOrgApiKey"),
        (format!("{keys}/{{keyId}}"), "delete", "deleteOrgApiKey"),
        (
            format!("{keys}/{{keyId}}/rotate"),
            "post",
            "rotateOrgApiKey",
        ),
        (format!("{keys}/validate"), "post", "validateOrgApiKey"),
        (of_workspace.to_owned(), "get", "listApiKeys"),
        (of_workspace.to_owned(), "post", "createApiKey"),
        (format!("{of_workspace}/{{apiKey}}"), "get", "getApiKey"),
        (format!("{of_workspace}/{{apiKey}}"), "put", "updateApiKey"),
        (
            format!("{of_workspace}/{{apiKey}}"),
            "delete",
            "deleteApiKey",
        ),
    ] {
        let described = &description["paths"][&path][method];
        assert_eq!(
            described["operationId"],
            json!(operation),
            "{method} {path}"
        );
    }
    for (path, method, operation) in [
        ("/v2/api-keys", "post", "ApiKeyCreate"),
        ("/v2/api-keys", "get", "ApiKeyList"),
        ("/v2/api-keys/capabilities", "get", "ApiKeyListCapabilities"),
        ("/v2/api-keys/{api_key_id}", "get", "ApiKeyGet"),
        ("/v2/api-keys/{api_key_id}", "patch", "ApiKeyUpdate"),
        ("/v2/api-keys/{api_key_id}", "delete", "ApiKeyDelete"),
    ] {
        let described = &description["paths"][path][method];
        assert_eq!(
            described["operationId"],
            json!(operation),
            "{method} {path}"
        );
    }
    let validate = &description["paths"][format!("{keys}/validate")]["post"];
    assert_eq!(validate["security"], json!([{}]));
}
