//! Access keys: which request each action is.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::args::{
    Action, CreateArgs, EndArgs, ListArgs, OneKey, OwnerArgs, Reach, Switch, UpdateArgs,
};
use super::{Answer, moment, show};
use crate::cli::client::{Call, Client};
use crate::cli::failure::Failure;

/// Does what is asked with access keys.
///
/// # Errors
/// The control plane cannot be reached, or it refuses.
pub async fn act(client: &Client, action: Action) -> Result<Answer, Failure> {
    match action {
        Action::Create(args) => create(client, args).await,
        Action::List(args) => list(client, args).await,
        Action::Get(OneKey { key, .. }) => {
            let found = call(client, Method::GET, Some(&key), None).await;
            found.map(shown)
        }
        Action::Update(args) => update(client, args).await,
        Action::Rotate(_) => Err(Failure::usage(
            "an access key has no second secret: create another key, and delete this one when nobody uses it",
        )),
        Action::Disable(EndArgs {
            key: OneKey { key, .. },
            ..
        }) => patch(client, &key, json!({"status": "disabled"})).await,
        Action::Revoke(EndArgs {
            key: OneKey { key, .. },
            ..
        }) => patch(client, &key, json!({"status": "revoked"})).await,
        Action::Delete(EndArgs {
            key: OneKey { key, .. },
            ..
        }) => call(client, Method::DELETE, Some(&key), None)
            .await
            .map(Answer::Gone),
    }
}

fn shown(key: Value) -> Answer {
    Answer::Key(&show::ACCESS, key)
}

async fn create(client: &Client, args: CreateArgs) -> Result<Answer, Failure> {
    let mut body = fields(args.reach, false);
    body.extend(given([
        ("name", args.name.map(Value::from)),
        ("owner", owner(args.owner)),
        ("expires_at", moment(args.expiry).map(Value::from)),
    ]));
    let made = call(client, Method::POST, None, Some(body.into())).await?;
    Ok(Answer::Secret(&show::ACCESS, made))
}

async fn list(client: &Client, args: ListArgs) -> Result<Answer, Failure> {
    if args.owner.owner_id.is_some() {
        return Err(Failure::usage(
            "access keys are not listed by the id of their owner: give --owner-type alone",
        ));
    }
    let query = [
        ("limit", args.limit.map(|limit| limit.to_string())),
        ("starting_after", args.after),
        ("project_id", args.project),
        ("status", args.status),
        ("search", args.search),
        ("owner_type", args.owner.owner_type),
        ("permission_mode", args.mode),
    ];
    let call = Call {
        method: Method::GET,
        path: &["v2", "api-keys"],
        query: query
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect(),
        body: None,
    };
    let list = client.call(call).await?;
    Ok(Answer::List(&show::ACCESS, list))
}

async fn update(client: &Client, args: UpdateArgs) -> Result<Answer, Failure> {
    if args.owner.owner_type.is_some() || args.owner.owner_id.is_some() {
        return Err(Failure::usage("the owner of an access key stays"));
    }
    let mut body = fields(args.reach, args.no_levels);
    let status = args.disabled.map(|disabled| match disabled {
        Switch::True => "disabled",
        Switch::False => "active",
    });
    body.extend(given([
        ("name", args.name.map(Value::from)),
        ("status", status.map(Value::from)),
        (
            "project_scope",
            args.all_projects.then(|| json!({"all": {}})),
        ),
        ("expires_at", moment(args.expiry).map(Value::from)),
        (
            "clear_expires_at",
            args.never_expires.then_some(true.into()),
        ),
    ]));
    if body.is_empty() {
        return Err(super::nothing_to_update());
    }
    patch(client, &args.key.key, body.into()).await
}

async fn patch(client: &Client, key: &str, body: Value) -> Result<Answer, Failure> {
    let patched = call(client, Method::PATCH, Some(key), Some(body)).await;
    patched.map(shown)
}

/// The fields that say how far a key reaches, of those that are given.
fn fields(reach: Reach, no_levels: bool) -> Map<String, Value> {
    let levels: Map<_, _> = reach
        .levels
        .into_iter()
        .map(|(domain, level)| (domain, level.into()))
        .collect();
    given([
        ("permission_mode", reach.mode.map(Value::from)),
        (
            "access",
            (no_levels || !levels.is_empty()).then(|| levels.into()),
        ),
        (
            "project_scope",
            reach
                .project
                .map(|id| json!({"single": {"project_id": id}})),
        ),
    ])
}

/// The fields that are given.
fn given<const N: usize>(fields: [(&str, Option<Value>); N]) -> Map<String, Value> {
    let fields = fields.into_iter();
    fields
        .filter_map(|(field, value)| Some((field.to_owned(), value?)))
        .collect()
}

fn owner(args: OwnerArgs) -> Option<Value> {
    let owner = given([
        ("type", args.owner_type.map(Value::from)),
        ("user_id", args.owner_id.map(Value::from)),
    ]);
    (!owner.is_empty()).then(|| owner.into())
}

/// A request without a query.
async fn call(
    client: &Client,
    method: Method,
    key: Option<&str>,
    body: Option<Value>,
) -> Result<Value, Failure> {
    let mut path = vec!["v2", "api-keys"];
    path.extend(key);
    let call = Call {
        method,
        path: &path,
        query: Vec::new(),
        body,
    };
    client.call(call).await
}
