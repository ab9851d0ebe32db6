//! `keyward keys`: the control API from a terminal.
//!
//! Knows which request each action is. What a field may hold is the control plane's to say.

mod args;
mod client;
mod show;
mod span;

use std::io::Write;
use std::path::Path;

use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::app::{AdminSecret, NoAdminToken, admin_token, clock};
use crate::cli::failure::{Failure, chain};
use crate::wire::time::format_rfc3339;

pub use args::KeysArgs;
use args::{
    Action, CreateArgs, Expiry, ListArgs, OneKey, OwnerArgs, RotateArgs, Switch, UpdateArgs,
};
use client::{Call, Client};

/// What an answer is, which says how people are shown it.
enum Answer {
    Key(Value),
    Secret(Value),
    List(Value),
    Gone(Value),
}

/// Runs `keyward keys`.
///
/// # Errors
/// There is no token, the control plane cannot be reached, or it refuses.
pub fn run(args: KeysArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let client = Client::new(&args.control, token(&args.token_file)?)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::chain(&error))?;
    let answer = runtime.block_on(act(&client, args.action))?;
    print(out, answer, args.json)
}

fn token(file: &Path) -> Result<AdminSecret, Failure> {
    let given = std::env::var(admin_token::VARIABLE).ok();
    let secret = match given
        .as_deref()
        .and_then(|given| given.split_ascii_whitespace().next())
    {
        Some(given) => AdminSecret::new(given).map_err(NoAdminToken::Given),
        None => admin_token::read_file(file),
    };
    secret.map_err(|error| {
        let line = chain(&error);
        Failure::told(format!(
            "{line}: set {}, or name the file with --token-file",
            admin_token::VARIABLE
        ))
    })
}

async fn act(client: &Client, action: Action) -> Result<Answer, Failure> {
    match action {
        Action::Create(args) => create(client, args).await,
        Action::List(args) => list(client, args).await,
        Action::Get(key) => one(client, Method::GET, &key, &[], None)
            .await
            .map(Answer::Key),
        Action::Update(args) => update(client, args).await,
        Action::Rotate(args) => rotate(client, args).await,
        Action::Disable(key) => {
            let body = json!({ "disabled": true });
            one(client, Method::PATCH, &key, &[], Some(body))
                .await
                .map(Answer::Key)
        }
        Action::Revoke(key) | Action::Delete(key) => one(client, Method::DELETE, &key, &[], None)
            .await
            .map(Answer::Gone),
    }
}

async fn create(client: &Client, args: CreateArgs) -> Result<Answer, Failure> {
    let expires_at = moment(args.expiry).ok_or_else(|| {
        Failure::told(
            "an organisation key must expire: give --expires-at TIME or --expires-in SPAN",
        )
    })?;
    let mut body = owner(args.owner);
    body.insert(
        "name".to_owned(),
        args.name.unwrap_or_else(|| args.slug.clone()).into(),
    );
    body.insert("slug".to_owned(), args.slug.into());
    body.insert("expiresAt".to_owned(), expires_at.into());
    body.insert("permissions".to_owned(), args.permissions.into());
    body.insert("scopes".to_owned(), args.scopes.into());
    let call = Call {
        method: Method::POST,
        path: &["v2", "orgs", &args.org, "api-keys"],
        query: Vec::new(),
        body: Some(body.into()),
    };
    client.call(call).await.map(Answer::Secret)
}

async fn list(client: &Client, args: ListArgs) -> Result<Answer, Failure> {
    let query = [
        ("limit", args.limit.map(|limit| limit.to_string())),
        ("page", args.page.map(|page| page.to_string())),
        ("sort", args.sort),
        ("ownerType", args.owner.owner_type),
        ("ownerId", args.owner.owner_id),
    ];
    let call = Call {
        method: Method::GET,
        path: &["v2", "orgs", &args.org, "api-keys"],
        query: query
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect(),
        body: None,
    };
    client.call(call).await.map(Answer::List)
}

async fn update(client: &Client, args: UpdateArgs) -> Result<Answer, Failure> {
    let mut body = owner(args.owner);
    let mut set = |field: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(field.to_owned(), value);
        }
    };
    let list = |given: Vec<String>, none: bool| (none || !given.is_empty()).then(|| given.into());
    set("name", args.name.map(Value::from));
    set("permissions", list(args.permissions, args.no_permissions));
    set("scopes", list(args.scopes, args.no_scopes));
    set(
        "disabled",
        args.disabled
            .map(|switch| matches!(switch, Switch::True).into()),
    );
    set("expiresAt", moment(args.expiry).map(Value::from));
    if body.is_empty() {
        return Err(Failure::told(
            "nothing to update: give what is to be different (see --help)",
        ));
    }
    one(client, Method::PATCH, &args.key, &[], Some(body.into()))
        .await
        .map(Answer::Key)
}

async fn rotate(client: &Client, args: RotateArgs) -> Result<Answer, Failure> {
    let mut body = Map::new();
    if let Some(expires_at) = moment(args.expiry) {
        body.insert("expiresAt".to_owned(), expires_at.into());
    }
    if let Some(seconds) = args.grace_period {
        body.insert("gracePeriodSeconds".to_owned(), seconds.into());
    }
    one(
        client,
        Method::POST,
        &args.key,
        &["rotate"],
        Some(body.into()),
    )
    .await
    .map(Answer::Secret)
}

/// A request that concerns one key.
async fn one(
    client: &Client,
    method: Method,
    key: &OneKey,
    below: &[&str],
    body: Option<Value>,
) -> Result<Value, Failure> {
    let path = [&["v2", "orgs", &key.org, "api-keys", &key.key], below].concat();
    client
        .call(Call {
            method,
            path: &path,
            query: Vec::new(),
            body,
        })
        .await
}

fn owner(args: OwnerArgs) -> Map<String, Value> {
    let fields = [("ownerType", args.owner_type), ("ownerId", args.owner_id)];
    fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.into())))
        .collect()
}

fn moment(expiry: Expiry) -> Option<String> {
    let from_now = expiry
        .expires_in
        .map(|seconds| format_rfc3339(clock::now().plus_seconds(seconds)));
    expiry.expires_at.or(from_now)
}

fn print(out: &mut dyn Write, answer: Answer, as_json: bool) -> Result<(), Failure> {
    match (&answer, as_json) {
        (
            Answer::Key(body) | Answer::Secret(body) | Answer::List(body) | Answer::Gone(body),
            true,
        ) => {
            writeln!(out, "{body}")?;
        }
        (Answer::Key(body), false) => show::key(out, body)?,
        (Answer::Secret(body), false) => {
            show::key(out, body)?;
            show::secret(out, body)?;
        }
        (Answer::List(body), false) => show::table(out, body)?,
        (Answer::Gone(_), false) => writeln!(out, "deleted")?,
    }
    Ok(())
}
