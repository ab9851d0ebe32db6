//! A platform of the shape of Prisme.ai's published API, with its keys in memory and faults on demand.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::upstream::{Received, receive};

/// What the platform takes for authorised to read lists.
pub const TOKEN: &str = "the-token-of-a-user";

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// It is answered.
    None,
    /// It waits until the fault is another.
    Slow,
    /// The connection closes without an answer, as while the platform restarts.
    Down,
    /// This status, with these lines of headers and this body.
    Status(u16, &'static str, &'static str),
    /// The answer breaks off.
    Truncated,
    /// 200 with this body.
    Body(String),
}

/// What the platform has.
#[derive(Debug, Default)]
struct Keys {
    /// Organisation keys: the organisation, the key itself, its record.
    org: Vec<(String, String, Value)>,
    /// Workspace keys by workspace.
    workspaces: BTreeMap<String, Vec<Value>>,
    /// Whether a change moves `updatedAt`.
    moves: bool,
    changes: u64,
}

/// What came in.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Lists asked for.
    pub lists: usize,
    /// Validations asked for.
    pub validates: usize,
    /// Validations under way, by key.
    under_way: BTreeMap<String, usize>,
    /// Most of them at a time for one key.
    pub at_once: usize,
}

struct State {
    keys: Mutex<Keys>,
    faults: watch::Sender<(Fault, Fault)>,
    seen: watch::Sender<Seen>,
    page: usize,
}

/// The platform.
pub struct Platform {
    pub address: SocketAddr,
    state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Platform {
    pub async fn start() -> Self {
        Self::with_pages_of(100).await
    }

    /// One whose pages never have more keys than this.
    pub async fn with_pages_of(page: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let keys = Keys {
            moves: true,
            ..Keys::default()
        };
        let state = Arc::new(State {
            keys: Mutex::new(keys),
            faults: watch::Sender::new((Fault::None, Fault::None)),
            seen: watch::Sender::new(Seen::default()),
            page,
        });
        let serving = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&serving)));
            }
        });
        Self {
            address,
            state,
            task,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes an organisation key that may read agents, within `a1`. Gives the key itself.
    pub fn make(&self, org: &str, slug: &str) -> String {
        let mut keys = self.state.keys.lock().unwrap();
        keys.changes += 1;
        let key = raw(org, keys.changes);
        let record = json!({
            "id": format!("role-{org}-{slug}"), "slug": slug, "name": slug,
            "permissions": ["agents:*"], "scopes": ["agents:a1"],
            "expiresAt": "2099-01-01T00:00:00.000Z", "disabled": false,
            "createdAt": "2026-01-01T00:00:00.000Z", "updatedAt": format!("u{}", keys.changes),
        });
        keys.org.push((org.to_owned(), key.clone(), record));
        key
    }

    /// Changes members of a key's record.
    pub fn patch(&self, slug: &str, patch: Value) {
        self.change(slug, |_, record| {
            let patch = patch.as_object().unwrap().clone();
            record.as_object_mut().unwrap().extend(patch);
        });
    }

    /// Gives a key another secret.
    pub fn rotate(&self, org: &str, slug: &str) -> String {
        let number = self.state.keys.lock().unwrap().changes + 1;
        let key = raw(org, number);
        self.change(slug, |raw, _| raw.clone_from(&key));
        key
    }

    /// Whether changes move `updatedAt` from now on, which is not documented.
    pub fn moves_updates(&self, moves: bool) {
        self.state.keys.lock().unwrap().moves = moves;
    }

    fn change(&self, slug: &str, change: impl FnOnce(&mut String, &mut Value)) {
        let mut keys = self.state.keys.lock().unwrap();
        keys.changes += 1;
        let (moves, number) = (keys.moves, keys.changes);
        let found = keys.org.iter_mut().find(|(_, _, r)| r["slug"] == slug);
        let (_, raw, record) = found.expect("a key of this slug");
        change(raw, record);
        if moves {
            record["updatedAt"] = json!(format!("u{number}"));
        }
    }

    pub fn delete(&self, slug: &str) {
        let mut keys = self.state.keys.lock().unwrap();
        keys.org.retain(|(_, _, record)| record["slug"] != slug);
    }

    /// The record of a key, as it is listed.
    pub fn record(&self, slug: &str) -> Value {
        let keys = self.state.keys.lock().unwrap();
        let found = keys.org.iter().find(|(_, _, r)| r["slug"] == slug);
        found.expect("a key of this slug").2.clone()
    }

    /// Sets the keys of a workspace: each with whether it is disabled.
    pub fn set_workspace(&self, workspace: &str, of: &[(&str, bool)]) {
        let keys = of.iter().map(|(key, disabled)| {
            json!({
                "apiKey": key, "subjectType": "workspaces", "subjectId": workspace, "name": "w",
                "disabled": disabled, "rules": [{"action": ["read"], "subject": "pages"}],
            })
        });
        let mut state = self.state.keys.lock().unwrap();
        state
            .workspaces
            .insert(workspace.to_owned(), keys.collect());
    }

    /// What becomes of lists and of validations from now on.
    pub fn fail(&self, lists: Fault, validates: Fault) {
        self.state.faults.send_replace((lists, validates));
    }

    /// The same for both.
    pub fn fail_all(&self, fault: Fault) {
        self.fail(fault.clone(), fault);
    }

    pub fn heal(&self) {
        self.fail_all(Fault::None);
    }

    pub fn seen(&self) -> Seen {
        self.state.seen.borrow().clone()
    }

    /// Waits until what came in is so.
    pub async fn wait(&self, until: impl FnMut(&Seen) -> bool) -> Seen {
        let mut seen = self.state.seen.subscribe();
        seen.wait_for(until).await.unwrap().clone()
    }
}

/// The key itself, other ones for other numbers.
fn raw(org: &str, number: u64) -> String {
    format!("iak_{org}_00000000-0000-4000-8000-{number:012}")
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let mut buffer = Vec::new();
    while let Some(request) = receive(&mut stream, &mut buffer).await {
        let validated = validated(&request);
        begin(&state, validated.as_deref());
        let answer = answer(&state, &request, validated.is_some()).await;
        if let Some(key) = &validated {
            state.seen.send_modify(|seen| {
                *seen.under_way.get_mut(key).unwrap() -= 1;
            });
        }
        let Some((bytes, whole)) = answer else {
            return;
        };
        if stream.write_all(&bytes).await.is_err() || !whole {
            return;
        }
    }
}

fn begin(state: &State, validated: Option<&str>) {
    state.seen.send_modify(|seen| match validated {
        None => seen.lists += 1,
        Some(key) => {
            seen.validates += 1;
            let under_way = seen.under_way.entry(key.to_owned()).or_default();
            *under_way += 1;
            seen.at_once = seen.at_once.max(*under_way);
        }
    });
}

/// The key that a request has validated.
fn validated(request: &Received) -> Option<String> {
    let line = request.request_line();
    if !(line.starts_with("POST /v2/orgs/") && line.contains("/api-keys/validate ")) {
        return None;
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let in_header = request.headers("x-prismeai-api-key").first().copied();
    let in_body = body["apiKey"].as_str();
    assert!(
        in_header.is_none() || in_body.is_none() || in_header == in_body,
        "the two are one key"
    );
    Some(in_header.or(in_body).unwrap_or_default().to_owned())
}

/// The bytes of an answer, and whether the connection goes on. `None`: it closes at once.
async fn answer(state: &State, request: &Received, validates: bool) -> Option<(Vec<u8>, bool)> {
    let mut faults = state.faults.subscribe();
    let of = |faults: &(Fault, Fault)| match validates {
        true => faults.1.clone(),
        false => faults.0.clone(),
    };
    let fault = {
        let settled = faults.wait_for(|faults| of(faults) != Fault::Slow).await;
        of(&settled.unwrap())
    };
    let (status, body) = keys(state, request);
    let whole = |status: u16, more: &str, body: &str| {
        let length = body.len();
        format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{more}\r\n{body}"
        )
    };
    match fault {
        Fault::Slow | Fault::Down => None,
        Fault::None => Some((whole(status, "", &body.to_string()).into_bytes(), true)),
        Fault::Status(status, more, body) => Some((whole(status, more, body).into_bytes(), true)),
        Fault::Body(body) => Some((whole(200, "", &body).into_bytes(), true)),
        Fault::Truncated => {
            let mut bytes = whole(status, "", &body.to_string()).into_bytes();
            bytes.truncate(bytes.len() - 7);
            Some((bytes, false))
        }
    }
}

/// What the API says without any fault.
fn keys(state: &State, request: &Received) -> (u16, Value) {
    let target = request.request_line().split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let keys = state.keys.lock().unwrap();
    let unauthenticated = json!({"error": "AuthenticationError", "message": "Unauthenticated"});
    if let ["v2", "orgs", org, "api-keys", "validate"] = *segments {
        let shown = validated(request).unwrap_or_default();
        let mut all = keys.org.iter();
        return match all.find(|(of, raw, _)| of == org && *raw == shown) {
            Some((_, _, record)) if record["disabled"] == json!(false) => (200, record.clone()),
            Some(_) | None => (401, unauthenticated),
        };
    }
    if request.headers("authorization") != [format!("Bearer {TOKEN}")] {
        return (401, unauthenticated);
    }
    match *segments {
        ["v2", "orgs", org, "api-keys"] => {
            let number = |name: &str| {
                let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
                let mut found = pairs.filter(|(key, _)| *key == name);
                found.next().and_then(|(_, value)| value.parse().ok())
            };
            let limit: usize = number("limit").unwrap_or(50).min(state.page);
            let page: usize = number("page").unwrap_or(1);
            let all: Vec<&Value> = keys
                .org
                .iter()
                .filter(|k| k.0 == org)
                .map(|k| &k.2)
                .collect();
            let results: Vec<&&Value> = all.iter().skip((page - 1) * limit).take(limit).collect();
            (200, json!({"results": results, "total": all.len()}))
        }
        ["v2", "workspaces", workspace, "security", "apikeys"] => {
            match keys.workspaces.get(workspace) {
                Some(keys) => (200, json!(keys)),
                None => (404, json!({"error": "ObjectNotFound", "message": "no"})),
            }
        }
        _ => (404, json!({"error": "ObjectNotFound", "message": path})),
    }
}
