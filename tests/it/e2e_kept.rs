//! A gateway that follows control planes, of which none answers: what it has kept serves, and can be explained.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use keyward::authz::{
    KeyDigest, KeyId, KeyRecord, KeyStatus, RawGrants, Revision, Tenant, Timestamp,
};
use keyward::replica::remote::disk::Disk;
use keyward::replica::{Config, Replica};
use keyward::wire::{ChangeSink as _, Epoch, KeySource, Secret, SecretDigest, SecretEntry};
use serde_json::{Value, json};

use crate::e2e_support::{Collected, finish, keyward, run, send, signal};

const TOKEN: &str = "the-token-of-a-gateway-of-the-tests";
const KEY: &str = "iak_acme_0b5e3b1c-7a0e-4b5f-9a53-0f2c9a1d2e3f";

/// One key of an organisation.
struct OneKey;

impl KeySource for OneKey {
    fn epoch(&self) -> Epoch {
        Epoch(7)
    }

    fn revision(&self) -> Revision {
        Revision(3)
    }

    fn entries(&mut self) -> Box<dyn Iterator<Item = SecretEntry> + '_> {
        Box::new(std::iter::once(SecretEntry {
            record: Arc::new(KeyRecord {
                id: KeyId::new("kept"),
                tenant: Tenant::Org("acme".to_owned()),
                name: "kept".to_owned(),
                owner: None,
                status: KeyStatus::Active,
                expires_at: None,
                grants: RawGrants::Org {
                    permissions: vec!["pages:read".to_owned()],
                    scopes: Vec::new(),
                },
                revision: Revision(3),
            }),
            secrets: vec![Secret {
                digest: SecretDigest::Blake3(KeyDigest::of(KEY.as_bytes(), None)),
                retired_at: None,
            }],
        }))
    }
}

/// Keeps the one key in `state`, as a gateway does.
fn keep(state: &Path) {
    let replica = Replica::new(Config::default());
    let disk = Disk::open(Some(state), &[TOKEN.to_owned()], &replica).unwrap();
    assert_eq!(disk.restore(&*replica), None);
    replica.load(&mut OneKey).unwrap();
    disk.loaded(None, Timestamp::from_millis(0));
    disk.end();
}

/// A configuration of which the control plane and the upstream are nowhere.
fn configuration(directory: &Path, more: &str) -> String {
    let file = directory.join("keyward.yaml");
    let text = format!(
        "listen: [ {{ address: 127.0.0.1:0 }} ]
ops: {{ listen: 127.0.0.1:0 }}
server: {{ threads: 1 }}
keys: {{ remote: {{ url: http://127.0.0.1:1, token: {TOKEN}, state: {}{more} }} }}
upstreams: {{ nobody: {{ endpoints: [ 127.0.0.1:1 ] }} }}
routes:
  - {{ name: pages, path: /pages, require: {{ permissions: [ pages:read ] }}, upstream: nobody }}
",
        directory.join("state").display()
    );
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

/// What a gateway of this configuration answers and says of itself, and how it ends.
fn served(file: &str) -> (String, u16, Value) {
    let mut child = keyward()
        .args(["run", "--config", file])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = Collected::from(child.stderr.take().unwrap());
    let ready = stderr.event(&mut child, |message| message == "ready");
    let base = |which: &str| format!("http://{}", ready[which].as_str().unwrap());
    let shown = [("x-prismeai-api-key", KEY)];
    let answer = send(&base("gateway"), "GET", "/pages", &shown, "");
    let readyz = send(&base("ops"), "GET", "/readyz", &[], "").status;
    let status = send(&base("ops"), "GET", "/status", &[], "").json();
    signal(child.id(), "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    (answer.reason().unwrap(), readyz, status)
}

#[test]
fn what_was_kept_serves_without_a_control_plane() {
    let directory = tempfile::tempdir().unwrap();
    let file = configuration(directory.path(), "");
    let (reason, readyz, status) = served(&file);
    assert_eq!((&*reason, readyz), ("keys_unavailable", 503), "{status}");
    keep(&directory.path().join("state"));
    let (reason, readyz, status) = served(&file);
    // The key passes; only there is nobody behind.
    assert_eq!(
        (&*reason, readyz),
        ("upstream_unreachable", 200),
        "{status}"
    );
    assert_eq!(
        (&status["revision"], &status["keys"]),
        (&json!(3), &json!(1))
    );
    assert_eq!(status["source"], "stale", "nobody knows how old it is");
    let (reason, readyz, _) = served(&configuration(directory.path(), ", on_stale: deny"));
    assert_eq!((&*reason, readyz), ("keys_unavailable", 503));
}

#[test]
fn what_was_kept_can_be_explained() {
    let directory = tempfile::tempdir().unwrap();
    let file = configuration(directory.path(), "");
    let explain = || {
        let args = [
            "explain", "--config", &file, "--json", "--key", "-", "GET", "/pages",
        ];
        finish(keyward().args(args), KEY)
    };
    let without = explain();
    assert_eq!(without.code, Some(1), "{without:?}");
    assert!(without.stderr.contains("keys.remote.state"), "{without:?}");
    keep(&directory.path().join("state"));
    let said = explain();
    let said: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"));
    assert_eq!(
        (&said["decision"], &said["key_id"]),
        (&json!("allow"), &json!("kept"))
    );
}

#[test]
fn what_is_wrong_with_the_source_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = configuration(directory.path(), "");
    assert_eq!(run(&["check", "--config", &file], "").code, Some(0));
    let text = std::fs::read_to_string(&file).unwrap();
    for (from, to, place) in [
        ("http://127.0.0.1:1,", "ftp://h,", "keys.remote.url"),
        ("http://127.0.0.1:1,", "[],", "keys.remote.url"),
        (
            "http://127.0.0.1:1,",
            "[ http://h, http://h ],",
            "keys.remote.url[1]",
        ),
        (TOKEN, "short", "keys.remote.token"),
        (TOKEN, "\"\"", "keys.remote.token"),
        (
            "state:",
            "max_staleness: 8d, state:",
            "keys.remote.max_staleness",
        ),
        (
            "state:",
            "client_key: k.pem, state:",
            "keys.remote.client_key",
        ),
        ("state:", "ca: \"\", state:", "keys.remote.ca"),
        ("keys: {", "keys: { embedded: {},", "keys.remote"),
    ] {
        std::fs::write(&file, text.replace(from, to)).unwrap();
        let checked = run(&["check", "--config", &file], "");
        assert_eq!(checked.code, Some(1), "{to}");
        assert!(
            checked.stderr.contains(&format!(" {place}: ")),
            "{to}: {}",
            checked.stderr
        );
    }
}
