//! The schema against what is read by it, and `config/full.yaml` against the schema.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::node::{Content, Node};
use super::*;
use crate::{proxy, replica};

const FULL: &str = include_str!("../../config/full.yaml");

fn unset(_: &str) -> Option<String> {
    None
}

#[track_caller]
fn resolved(text: &str) -> Resolved {
    load_text("test.yaml", text, &unset, Flags::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// The full file with another source of keys, which stands there as a comment, and with a list of refused keys.
fn full_with(source: &str) -> String {
    let (before, rest) = FULL.split_once("  embedded:\n").expect("a source");
    let (_, rest) = rest
        .split_once(&format!("  # {source}:\n"))
        .expect("another");
    let (all, after) = rest.split_once("\n\n").expect("an end");
    let lines = all.lines().map_while(|line| line.strip_prefix("  #   "));
    let lines: String = lines.map(|line| format!("    {line}\n")).collect();
    let before = before.replace("# deny: /etc/keyward/denied", "deny: /dev/null");
    format!("{before}  {source}:\n{lines}\n{after}")
}

/// The full file with the TLS of the control plane, which stands there as a comment.
fn full_with_tls() -> String {
    let text = FULL.replace("\n    # tls: ", "\n    tls: ");
    ["certificate", "private_key", "client_ca"]
        .iter()
        .fold(text, |text, name| {
            text.replace(&format!("\n    #   {name}:"), &format!("\n      {name}:"))
        })
}

/// The least that loads.
fn least() -> Resolved {
    resolved(
        "listen: [ { address: 127.0.0.1:0 } ]\n\
         keys: { embedded: {} }\n\
         upstreams: { app: { endpoints: [ 127.0.0.1:1 ] } }\n\
         routes: [ { name: a, path: /a, require: authenticated, upstream: app } ]\n",
    )
}

#[test]
fn defaults_are_those_of_the_components() {
    let Resolved { proxy, replica, .. } = least();
    assert_eq!(proxy.rules.limits, proxy::Limits::default());
    assert_eq!(proxy.rules.identity, proxy::IdentityConfig::default());
    assert_eq!(proxy.rules.errors, proxy::ErrorStyle::default());
    assert_eq!(proxy.rules.upstreams[0].retries, proxy::Retries::default());
    assert_eq!(proxy.rules.routes[0].timeouts, proxy::Timeouts::default());
    assert_eq!(proxy.rules.routes[0].limits, proxy::RouteLimits::default());
    assert_eq!(
        proxy.rules.rulebook.credentials(),
        &crate::authz::CredentialRules::default()
    );
    let default = replica::Config::default();
    assert_eq!(replica.principals, default.principals);
    assert_eq!(replica.negative, default.negative);
    assert_eq!(replica.negative_ttl, default.negative_ttl);

    let full = resolved(FULL);
    let health = full.proxy.rules.upstreams[0].health.clone();
    assert_eq!(health, Some(proxy::HealthCheck::of("/healthz")));
}

#[test]
fn the_full_file_means_the_same_as_leaving_everything_out() {
    let (least, full) = (least().proxy, resolved(FULL).proxy);
    assert_eq!(full.ops, least.ops);
    assert_eq!(full.threads, least.threads);
    assert_eq!(full.graceful_shutdown, least.graceful_shutdown);
    assert_eq!(full.rules.limits, least.rules.limits);
    assert_eq!(full.rules.identity, least.rules.identity);
    assert_eq!(full.rules.routes[0].limits, least.rules.routes[0].limits);
    assert_eq!(
        full.rules.routes[0].timeouts,
        least.rules.routes[0].timeouts
    );
}

/// Every setting of the schema by its path, with its default where it has one. Lists are `[]`, names `*`.
fn settings(schema: &Value, root: &Value, path: &str, found: &mut BTreeMap<String, Option<Value>>) {
    let reference = schema.get("$ref").and_then(Value::as_str);
    if let Some(target) = reference.and_then(|r| root.pointer(r.trim_start_matches('#'))) {
        return settings(target, root, path, found);
    }
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = node::join(path, key);
        found.insert(path.clone(), property.get("default").cloned());
        settings(property, root, &path, found);
    }
    if let Some(items) = schema.get("items") {
        settings(items, root, &format!("{path}[]"), found);
    }
    if let Some(rest @ Value::Object(_)) = schema.get("additionalProperties") {
        settings(rest, root, &node::join(path, "*"), found);
    }
    for key in ["anyOf", "oneOf"] {
        for option in schema[key].as_array().into_iter().flatten() {
            settings(option, root, path, found);
        }
    }
}

/// Every value of a tree by the path of its setting.
fn values(node: &Node, path: &str, found: &mut BTreeMap<String, BTreeSet<String>>) {
    let written = node.to_json().to_string();
    found.entry(path.to_owned()).or_default().insert(written);
    match &node.content {
        Content::Scalar(_) | Content::Broken => {}
        Content::List(items) => {
            for item in items {
                values(item, &format!("{path}[]"), found);
            }
        }
        Content::Map(entries) => {
            for entry in entries {
                let key = if path == "upstreams" { "*" } else { &entry.key };
                values(&entry.value, &node::join(path, key), found);
            }
        }
    }
}

#[test]
fn the_full_file_names_every_setting_with_its_default() {
    let schema = schema();
    let root = schema.as_value();
    let mut settings_found = BTreeMap::new();
    settings(root, root, "", &mut settings_found);
    assert!(settings_found.len() > 80, "the walk finds settings");

    let mut written = BTreeMap::new();
    for text in [
        FULL,
        &full_with_tls(),
        &full_with("prisme"),
        &full_with("remote"),
    ] {
        let tree = parse::parse(text, &unset, &mut Vec::new()).expect("it is YAML");
        values(&tree, "", &mut written);
        resolved(text);
    }

    for (path, default) in settings_found {
        // Alternatives of which the file shows one; the others are in comments.
        let told_in_comment = ["query", "cookie"].map(|key| format!("credentials.sources[].{key}"));
        let user_tokens = path.starts_with("credentials.user_tokens_from[]");
        if told_in_comment.contains(&path) || user_tokens {
            continue;
        }
        let values = written
            .get(&path)
            .unwrap_or_else(|| panic!("config/full.yaml does not name `{path}`"));
        // An empty list is as good as none, and the sections are compared setting by setting.
        let says_something = |default: &Value| *default != json!([]) && !default.is_object();
        if let Some(default) = default.filter(says_something) {
            assert!(
                values.contains(&default.to_string()),
                "the default of `{path}` is {default}, and config/full.yaml has {values:?}"
            );
        }
    }
}

#[test]
fn every_setting_is_described() {
    fn describe(schema: &Value, path: &str) {
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = node::join(path, key);
            assert!(property["description"].is_string(), "{path}");
        }
    }
    let schema = schema();
    describe(schema.as_value(), "");
    for (name, definition) in schema.as_value()["$defs"].as_object().expect("definitions") {
        describe(definition, name);
    }
}

/// Whatever passes the check is read by the types: the two are made from one source, and this sees that they are.
#[test]
fn what_passes_the_check_can_be_read() {
    for (key, value) in [
        (
            "credentials",
            "{ sources: [ { query: k }, websocket_protocol ], user_tokens_from: [ { cookie: c } ] }",
        ),
        (
            "limits",
            "{ body_bytes: 16MiB, header_bytes: \"2 KiB\", uri_bytes: 512, stream_idle: 1h }",
        ),
        ("identity", "{ headers: { org: null }, strip: [] }"),
        ("match", "{}"),
        ("errors", "problem"),
        ("access_log", "off"),
        ("server", "{ threads: 0x10 }"),
    ] {
        let text = format!(
            "listen: [ {{ address: unix:/run/k }} ]\nkeys: {{ embedded: {{}} }}\n{key}: {value}\n\
             upstreams: {{ app: {{ endpoints: [ a:1 ], balance: least_request, retries: {{ on: [] }} }} }}\nroutes: []\n"
        );
        resolved(&text);
    }
}
