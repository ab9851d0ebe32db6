//! Keys of workspaces: which requests each action is.
//!
//! The API changes a key only as a whole and shows no single one, so what is to stay is read from the list first.

use std::io::Read as _;
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use super::args::{Action, CreateArgs, OneKey, Rules, UpdateArgs};
use super::client::{Call, Client};
use super::{Answer, show};
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
        Action::Get(OneKey { key, .. }) => workspace.find(&key).await.map(shown),
        Action::Update(args) => workspace.update(args).await,
        Action::Rotate(_) => Err(Failure::told(
            "a key of a workspace has no second secret: create another key, and delete this one when nobody uses it",
        )),
        Action::Disable(OneKey { key, .. }) => {
            let mut found = workspace.find(&key).await?;
            replace(&mut found, "disabled", true.into());
            workspace.put(&key, &found).await
        }
        Action::Revoke(OneKey { key, .. }) | Action::Delete(OneKey { key, .. }) => workspace
            .call(Method::DELETE, Some(&key), None)
            .await
            .map(Answer::Gone),
    }
}

fn shown(key: Value) -> Answer {
    Answer::Key(&show::WORKSPACE, key)
}

fn replace(key: &mut Value, field: &str, value: Value) {
    if let Some(found) = key.get_mut(field) {
        *found = value;
    }
}

/// A workspace at a control plane.
struct Workspace<'a> {
    client: &'a Client,
    workspace: &'a str,
}

impl Workspace<'_> {
    async fn create(&self, args: CreateArgs) -> Result<Answer, Failure> {
        let rules = read(args.rules)?.ok_or_else(|| {
            Failure::told(
                "a key of a workspace may do what its rules say: give --rule JSON or --rules FILE",
            )
        })?;
        let body = json!({ "name": args.name, "rules": rules });
        let made = self.call(Method::POST, None, Some(body)).await?;
        Ok(Answer::Secret(&show::WORKSPACE, made))
    }

    async fn update(&self, args: UpdateArgs) -> Result<Answer, Failure> {
        let changes = [
            ("name", args.name.map(Value::from)),
            ("rules", read(args.rules)?),
            ("disabled", args.disabled.map(Into::into)),
        ];
        if changes.iter().all(|(_, value)| value.is_none()) {
            return Err(super::nothing_to_update());
        }
        let key = args.key.key;
        let mut found = self.find(&key).await?;
        for (field, value) in changes {
            if let Some(value) = value {
                replace(&mut found, field, value);
            }
        }
        self.put(&key, &found).await
    }

    /// The key with this id.
    async fn find(&self, id: &str) -> Result<Value, Failure> {
        let Value::Array(keys) = self.call(Method::GET, None, None).await? else {
            return Err(Failure::told(
                "the control plane's answer is no list of keys",
            ));
        };
        let mut keys = keys.into_iter();
        keys.find(|key| key.get("apiKey").and_then(Value::as_str) == Some(id))
            .ok_or_else(|| {
                Failure::told("no such API key: `keyward keys list` shows the keys that there are")
            })
    }

    /// Makes a key what `key` says.
    async fn put(&self, id: &str, key: &Value) -> Result<Answer, Failure> {
        let body = json!({
            "name": key.get("name"),
            "rules": key.get("rules"),
            "disabled": key.get("disabled"),
        });
        let put = self.call(Method::PUT, Some(id), Some(body)).await;
        put.map(shown)
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
    let text = read_text(&file).map_err(|error| told(&error))?;
    parse_json(&text).map(Some).map_err(|error| told(&error))
}

fn read_text(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    if file == Path::new("-") {
        let input = std::io::stdin().lock();
        input.take(RULES_BYTES_MAX).read_to_string(&mut text)?;
    } else {
        let input = std::fs::File::open(file)?;
        input.take(RULES_BYTES_MAX).read_to_string(&mut text)?;
    }
    Ok(text)
}
