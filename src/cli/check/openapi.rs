//! An OpenAPI document as far as it says which requests an API takes: methods, paths, servers.
//!
//! Looks at no schema, no parameter and no other file, and knows nothing of routes.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use http::Method;
use saphyr::{LoadableYamlNode as _, Yaml};
use serde_json::{Map, Value};

/// Largest document. The largest that are published have a tenth of it.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Levels of a document that are looked at; what is deeper is schemas.
const DEPTH_MAX: usize = 16;

/// References from path item to path item that are followed.
const REFERENCES_MAX: usize = 8;

/// The members of a path item that are operations. `query` came with version 3.2.
const METHODS: [&str; 9] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace", "query",
];

/// What an API takes.
#[derive(Debug)]
pub struct Api {
    /// In the order of the document.
    pub operations: Vec<Operation>,
    /// Lower-cased hosts of its servers, without port.
    pub hosts: Vec<String>,
}

/// One operation below one of the base paths of its servers.
#[derive(Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its method.
    pub method: Method,
    /// Base path and path, with parameters in braces.
    pub path: String,
    /// What the document calls it.
    pub id: Option<String>,
}

/// Reads the document in a file, JSON or YAML.
///
/// # Errors
/// A sentence that names the file: it is not there, is no OpenAPI document, or says less than all of its operations.
pub fn read(path: &Path) -> Result<Api, String> {
    let named = |message: String| format!("{}: {message}", path.display());
    let mut text = String::new();
    let read =
        File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text));
    let bytes = read.map_err(|error| named(format!("cannot be read: {error}")))?;
    if bytes as u64 == FILE_BYTES_MAX {
        return Err(named(format!("is {FILE_BYTES_MAX} bytes or larger")));
    }
    parse(&text).map_err(named)
}

fn parse(text: &str) -> Result<Api, String> {
    let document = tree(text)?;
    let reader = Reader {
        document: &document,
        servers: servers(document.get("servers"))?,
    };
    reader.api()
}

/// The document as a tree. What begins as JSON is read as JSON, for clearer messages.
fn tree(text: &str) -> Result<Value, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with('{')
        && let Ok(value) = serde_json::from_str(text)
    {
        return Ok(value);
    }
    let mut documents =
        Yaml::load_from_str(text).map_err(|error| format!("is neither JSON nor YAML: {error}"))?;
    match (documents.pop(), documents.is_empty()) {
        (Some(document), true) => Ok(to_json(&document, DEPTH_MAX)),
        (Some(_), false) => Err("holds more than one document".to_owned()),
        (None, _) => Err("is empty".to_owned()),
    }
}

fn to_json(yaml: &Yaml<'_>, depth: usize) -> Value {
    let Some(below) = depth.checked_sub(1) else {
        return Value::Null;
    };
    if let Some(entries) = yaml.as_mapping() {
        let entry =
            |(key, value): (&Yaml<'_>, &Yaml<'_>)| Some((scalar(key)?, to_json(value, below)));
        return Value::Object(entries.iter().filter_map(entry).collect());
    }
    if let Some(items) = yaml.as_vec() {
        return items.iter().map(|item| to_json(item, below)).collect();
    }
    scalar(yaml).map_or(Value::Null, Value::String)
}

/// A scalar as text: the version may have been written as a number.
fn scalar(yaml: &Yaml<'_>) -> Option<String> {
    let text = yaml.as_str().map(str::to_owned);
    let number = || yaml.as_floating_point().map(|number| number.to_string());
    let whole = || yaml.as_integer().map(|number| number.to_string());
    text.or_else(whole).or_else(number)
}

struct Reader<'a> {
    document: &'a Value,
    /// Of the whole document.
    servers: Vec<Server>,
}

impl Reader<'_> {
    fn api(&self) -> Result<Api, String> {
        self.check_version()?;
        let paths = match self.document.get("paths") {
            Some(Value::Object(paths)) => paths,
            Some(_) => return Err("`paths` is no mapping".to_owned()),
            None => return Err("has no `paths`, so there is nothing to cover".to_owned()),
        };
        let mut operations = Vec::new();
        for (path, item) in paths.iter().filter(|(path, _)| !path.starts_with("x-")) {
            self.path_item(path, item, &mut operations)
                .map_err(|message| format!("paths.{path}: {message}"))?;
        }
        if operations.is_empty() {
            return Err("has no operations, so there is nothing to cover".to_owned());
        }
        let hosts = self.servers.iter();
        let hosts = hosts.filter_map(|server| server.host.clone()).collect();
        Ok(Api { operations, hosts })
    }

    fn check_version(&self) -> Result<(), String> {
        let Value::Object(root) = self.document else {
            return Err("is no OpenAPI document: it is not a mapping".to_owned());
        };
        let version = |key| {
            let version: &Value = root.get(key)?;
            Some(
                version
                    .as_str()
                    .map_or_else(|| version.to_string(), str::to_owned),
            )
        };
        match (version("openapi"), version("swagger")) {
            (Some(version), _) if version.starts_with("3.") => Ok(()),
            (Some(version), _) | (None, Some(version)) => Err(format!(
                "is a document of version {version}; convert it to OpenAPI 3"
            )),
            (None, None) => Err("is no OpenAPI document: it has no `openapi`".to_owned()),
        }
    }

    fn path_item(
        &self,
        path: &str,
        item: &Value,
        operations: &mut Vec<Operation>,
    ) -> Result<(), String> {
        if !path.starts_with('/') {
            return Err("does not begin with `/`".to_owned());
        }
        let item = self.resolved(item)?;
        let own = servers(item.get("servers"))?;
        for (method, operation) in members(item)? {
            let Value::Object(operation) = operation else {
                return Err(format!("`{method}` is no mapping"));
            };
            let nearest = servers(operation.get("servers"))?;
            let servers = [&nearest, &own, &self.servers];
            let servers = servers.into_iter().find(|servers| !servers.is_empty());
            let mut bases: Vec<&str> = servers
                .into_iter()
                .flatten()
                .map(|server| server.base.as_str())
                .collect();
            if bases.is_empty() {
                bases.push("");
            }
            bases.sort_unstable();
            bases.dedup();
            let id = operation.get("operationId").and_then(Value::as_str);
            operations.extend(bases.into_iter().map(|base| Operation {
                method: method.clone(),
                path: format!("{base}{path}"),
                id: id.map(str::to_owned),
            }));
        }
        Ok(())
    }

    /// The path item that is meant, through references within the document.
    fn resolved<'a>(&'a self, item: &'a Value) -> Result<&'a Map<String, Value>, String> {
        let mut item = item;
        for _ in 0..=REFERENCES_MAX {
            let Value::Object(members) = item else {
                return Err("is no mapping".to_owned());
            };
            let Some(reference) = members.get("$ref").and_then(Value::as_str) else {
                return Ok(members);
            };
            let inside = reference.strip_prefix('#').ok_or_else(|| {
                format!("refers to another file, `{reference}`; bundle the document first")
            })?;
            item = self
                .document
                .pointer(inside)
                .ok_or_else(|| format!("refers to `{reference}`, which is not there"))?;
        }
        Err("refers on and on".to_owned())
    }
}

/// The operations of a path item.
fn members(item: &Map<String, Value>) -> Result<Vec<(Method, &Value)>, String> {
    let method = |name: &str| {
        let name = name.to_ascii_uppercase();
        Method::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is no method"))
    };
    let known = item
        .iter()
        .filter(|(key, _)| METHODS.contains(&key.as_str()));
    let more = item.get("additionalOperations").and_then(Value::as_object);
    known
        .chain(more.into_iter().flatten())
        .map(|(name, operation)| Ok((method(name)?, operation)))
        .collect()
}

/// Where an API is served.
struct Server {
    host: Option<String>,
    /// Without a slash at its end.
    base: String,
}

fn servers(value: Option<&Value>) -> Result<Vec<Server>, String> {
    let servers = value.and_then(Value::as_array).into_iter().flatten();
    servers.map(server).collect()
}

fn server(value: &Value) -> Result<Server, String> {
    let mut url = value
        .get("url")
        .and_then(Value::as_str)
        .ok_or("a server has no `url`")?
        .to_owned();
    let variables = value.get("variables").and_then(Value::as_object);
    for (name, variable) in variables.into_iter().flatten() {
        let default = variable.get("default").and_then(Value::as_str);
        url = url.replace(&format!("{{{name}}}"), default.unwrap_or_default());
    }
    let (authority, path) = match url.split_once("://") {
        None => (None, url.as_str()),
        Some((_, rest)) => {
            let end = rest.find('/').unwrap_or(rest.len());
            let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
            (Some(authority), path)
        }
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let base = path.trim_end_matches('/').to_owned();
    if !base.is_empty() && !base.starts_with('/') {
        return Err(format!(
            "the server `{url}` is relative to an address that is not known; write a whole one"
        ));
    }
    let host = authority.map(|authority| {
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        let port = host
            .rsplit_once(':')
            .filter(|(_, port)| !port.ends_with(']'));
        port.map_or(host, |(host, _)| host).to_ascii_lowercase()
    });
    Ok(Server { host, base })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn listed(text: &str) -> Vec<String> {
        let api = parse(text).unwrap_or_else(|error| panic!("{error}"));
        let operations = api.operations.iter();
        operations
            .map(|operation| format!("{} {}", operation.method, operation.path))
            .collect()
    }

    #[test]
    fn json_and_yaml_are_read_alike() {
        let json = r#"{"openapi":"3.1.0","paths":{"/a/{b}:go":{"post":{"operationId":"go"},"parameters":[]}}}"#;
        let yaml = "openapi: 3.1\npaths:\n  /a/{b}:go:\n    parameters: []\n    post: { operationId: go }\n";
        for text in [json, yaml] {
            assert_eq!(listed(text), ["POST /a/{b}:go"], "{text}");
            assert_eq!(parse(text).unwrap().operations[0].id.as_deref(), Some("go"));
        }
    }

    #[test]
    fn base_paths_of_the_nearest_servers_count_once_each() {
        let text = "openapi: 3.0.3
servers:
  - { url: 'https://API.example.com:8443/v1/' }
  - { url: 'https://{name}.example.com/{base}', variables: { name: { default: b }, base: { default: v1 } } }
  - { url: /v2 }
paths:
  /a: { get: {} }
  /b: { servers: [ { url: '/' } ], get: {}, put: { servers: [ { url: https://c.example.com/v3 } ] } }
";
        assert_eq!(
            listed(text),
            ["GET /v1/a", "GET /v2/a", "GET /b", "PUT /v3/b"]
        );
        let hosts = parse(text).unwrap().hosts;
        assert_eq!(hosts, ["api.example.com", "b.example.com"]);
    }

    #[test]
    fn references_lead_to_path_items_of_the_document() {
        let text = "openapi: 3.1.0
paths:
  /a: { $ref: '#/components/pathItems/A' }
  /b: { additionalOperations: { LINK: {} }, query: {}, summary: x }
  x-more: 1
components: { pathItems: { A: { delete: {} }, B: { $ref: '#/components/pathItems/B' } } }
";
        assert_eq!(listed(text), ["DELETE /a", "QUERY /b", "LINK /b"]);
    }

    #[test]
    fn what_is_no_openapi_document_is_told_so() {
        for (text, part) in [
            ("", "empty"),
            ("[ 1 ]", "not a mapping"),
            ("{\"openapi\": ", "neither JSON nor YAML"),
            ("a: [", "neither JSON nor YAML"),
            ("a: 1\n---\nb: 2\n", "more than one document"),
            ("listen: []", "has no `openapi`"),
            ("swagger: '2.0'\npaths: {}", "version 2.0"),
            ("openapi: 4.0.0\npaths: {}", "version 4.0.0"),
            ("openapi: 3.1.0", "has no `paths`"),
            ("openapi: 3.1.0\npaths: []", "`paths` is no mapping"),
            ("openapi: 3.1.0\npaths: {}", "has no operations"),
            (
                "openapi: 3.1.0\npaths: { a: { get: {} } }",
                "paths.a: does not begin",
            ),
            (
                "openapi: 3.1.0\npaths: { /a: 1 }",
                "paths./a: is no mapping",
            ),
            (
                "openapi: 3.1.0\npaths: { /a: { get: 1 } }",
                "`GET` is no mapping",
            ),
            (
                "openapi: 3.1.0\npaths: { /a: { $ref: b.yaml } }",
                "another file",
            ),
            (
                "openapi: 3.1.0\npaths: { /a: { $ref: '#/b' } }",
                "not there",
            ),
            (
                "openapi: 3.1.0\npaths: { /a: { $ref: '#/paths/~1a' } }",
                "on and on",
            ),
            (
                "openapi: 3.1.0\nservers: [ {} ]\npaths: { /a: { get: {} } }",
                "no `url`",
            ),
            (
                "openapi: 3.1.0\nservers: [ { url: a } ]\npaths: { /a: { get: {} } }",
                "relative",
            ),
        ] {
            let said = parse(text).expect_err(text);
            assert!(said.contains(part), "{text:?}: {said}");
        }
    }
}
