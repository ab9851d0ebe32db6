//! Keys of workspaces: which requests each action is.
//!
//! The API states name and rules of a key at every change, so the one that is to stay is read first. What is optional is
//! left out, so that a change that somebody else makes of it meanwhile stays.

use std::io::Read as _;
use std::path::Path;

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::args::{Action, CreateArgs, EndArgs, OneKey, Rules, UpdateArgs};
use super::{Answer, show};
use crate::cli::client::{Call, Client};
use crate::cli::failure::Failure;
use crate::wire::value::parse_json;

/// Most bytes of a file of rules: a larger body is refused anyway.
const RULES_BYTES_MAX: u64 = 1024 * 1024;

/// Does what is asked with the keys of a workspace.
///
/// # Errors
/// The control plane cannot be reached, or it refuses; there is no such key; or the rules cannot be read.
pub async fn act(client: &Client, workspace: &str, action: Action) -> Result<Answer, Failure> {
    let workspace = Workspace { client, workspace };
    match action {
        Action::Create(args) => workspace.create(args).await,
        Action::List(_) => {
            let list = workspace.call(Method::GET, None, None).await?;
            Ok(Answer::List(&show::WORKSPACE, list))
        }
        Action::Get(OneKey { key, .. }) => workspace
            .call(Method::GET, Some(&key), None)
            .await
            .map(shown),
        Action::Update(args) => workspace.update(args).await,
        Action::Rotate(_) => Err(Failure::usage(
            "a key of a workspace has no second secret: create another key, and delete this one when nobody uses it",
        )),
        Action::Disable(EndArgs {
            key: OneKey { key, .. },
            ..
        }) => {
            let change = Map::from_iter([("disabled".to_owned(), true.into())]);
            workspace.change(&key, change).await
        }
        Action::Revoke(EndArgs {
            key: OneKey { key, .. },
            ..
        })
        | Action::Delete(EndArgs {
            key: OneKey { key, .. },
            ..
        }) => workspace
            .call(Method::DELETE, Some(&key), None)
            .await
            .map(Answer::Gone),
    }
}

fn shown(key: Value) -> Answer {
    Answer::Key(&show::WORKSPACE, key)
}

/// A workspace at a control plane.
struct Workspace<'a> {
    client: &'a Client,
    workspace: &'a str,
}

impl Workspace<'_> {
    async fn create(&self, args: CreateArgs) -> Result<Answer, Failure> {
        let rules = read(args.rules)?.ok_or_else(|| {
            Failure::usage(
                "a key of a workspace may do what its rules say: give --rule JSON or --rules FILE",
            )
        })?;
        let body = json!({ "name": args.name, "rules": rules });
        let made = self.call(Method::POST, None, Some(body)).await?;
        Ok(Answer::Secret(&show::WORKSPACE, made))
    }

    async fn update(&self, args: UpdateArgs) -> Result<Answer, Failure> {
        let fields = [
            ("name", args.name.map(Value::from)),
            ("rules", read(args.rules)?),
            ("disabled", args.disabled.map(Into::into)),
        ];
        let fields = fields.into_iter();
        let change: Map<_, _> = fields
            .filter_map(|(field, value)| Some((field.to_owned(), value?)))
            .collect();
        if change.is_empty() {
            return Err(super::nothing_to_update());
        }
        self.change(&args.key.key, change).await
    }

    /// Makes a key, named by its id or its secret, what `change` says.
    async fn change(&self, key: &str, mut change: Map<String, Value>) -> Result<Answer, Failure> {
        let stated = ["name", "rules"];
        if !stated.iter().all(|field| change.contains_key(*field)) {
            let found = self.call(Method::GET, Some(key), None).await?;
            for field in stated {
                let value = found.get(field).cloned().unwrap_or_default();
                change.entry(field).or_insert(value);
            }
        }
        let put = self.call(Method::PUT, Some(key), Some(change.into()));
        put.await.map(shown)
    }

    async fn call(
        &self,
        method: Method,
        key: Option<&str>,
        body: Option<Value>,
    ) -> Result<Value, Failure> {
        let mut path = vec!["v2", "workspaces", self.workspace, "security", "apikeys"];
        path.extend(key);
        let call = Call {
            method,
            path: &path,
            query: Vec::new(),
            body,
        };
        self.client.call(call).await
    }
}

/// The rules that were given; `None`: none were.
fn read(rules: Rules) -> Result<Option<Value>, Failure> {
    let Some(file) = rules.file else {
        return Ok(Some(rules.rules)
            .filter(|rules| !rules.is_empty())
            .map(Value::from));
    };
    let told = |why: &dyn std::fmt::Display| {
        Failure::told(format!(
            "the rules in {} cannot be read: {why}",
            file.display()
        ))
    };
    let bytes = read_bytes(&file).map_err(|error| told(&error))?;
    if bytes.len() as u64 > RULES_BYTES_MAX {
        return Err(told(&"they are longer than 1 MiB, which is the limit"));
    }
    let text = String::from_utf8(bytes).map_err(|error| told(&error))?;
    parse_json(&text).map(Some).map_err(|error| told(&error))
}

/// A file up to its limit, and a byte more where it goes on.
fn read_bytes(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        let input = std::io::stdin().lock();
        input.take(RULES_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    } else {
        let input = std::fs::File::open(file)?;
        input.take(RULES_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
