//! Keys of organisations: which request each action is.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::args::{
    Action, CreateArgs, EndArgs, ListArgs, OneKey, OwnerArgs, RotateArgs, Switch, UpdateArgs,
};
use super::{Answer, moment, show};
use crate::cli::client::{Call, Client};
use crate::cli::failure::Failure;

/// Does what is asked with the keys of an organisation.
///
/// # Errors
/// The control plane cannot be reached, or it refuses.
pub async fn act(client: &Client, org: &str, action: Action) -> Result<Answer, Failure> {
    let org = Org { client, org };
    match action {
        Action::Create(args) => org.create(args).await,
        Action::List(args) => org.list(args).await,
        Action::Get(OneKey { key, .. }) => org.one(Method::GET, &[&key], None).await.map(shown),
        Action::Update(args) => org.update(args).await,
        Action::Rotate(args) => org.rotate(args).await,
        Action::Disable(EndArgs {
            key: OneKey { key, .. },
            ..
        }) => {
            let body = json!({ "disabled": true });
            let disabled = org.one(Method::PATCH, &[&key], Some(body)).await;
            disabled.map(shown)
        }
        Action::Revoke(EndArgs {
            key: OneKey { key, .. },
            ..
        })
        | Action::Delete(EndArgs {
            key: OneKey { key, .. },
            ..
        }) => org
            .one(Method::DELETE, &[&key], None)
            .await
            .map(Answer::Gone),
    }
}

fn shown(key: Value) -> Answer {
    Answer::Key(&show::ORG, key)
}

/// An organisation at a control plane.
struct Org<'a> {
    client: &'a Client,
    org: &'a str,
}

impl Org<'_> {
    async fn create(&self, args: CreateArgs) -> Result<Answer, Failure> {
        let expires_at = moment(args.expiry).ok_or_else(|| {
            Failure::usage(
                "an organisation key must expire: give --expires-at TIME or --expires-in SPAN",
            )
        })?;
        let mut body = owner(args.owner);
        let name = args.name.or_else(|| args.slug.clone());
        body.insert("name".to_owned(), name.into());
        body.insert("slug".to_owned(), args.slug.into());
        body.insert("expiresAt".to_owned(), expires_at.into());
        body.insert("permissions".to_owned(), args.permissions.into());
        body.insert("scopes".to_owned(), args.scopes.into());
        let made = self.one(Method::POST, &[], Some(body.into())).await?;
        Ok(Answer::Secret(&show::ORG, made))
    }

    async fn list(&self, args: ListArgs) -> Result<Answer, Failure> {
        let query = [
            ("limit", args.limit.map(|limit| limit.to_string())),
            ("page", args.page.map(|page| page.to_string())),
            ("sort", args.sort),
            ("ownerType", args.owner.owner_type),
            ("ownerId", args.owner.owner_id),
        ];
        let call = Call {
            method: Method::GET,
            path: &["v2", "orgs", self.org, "api-keys"],
            query: query
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect(),
            body: None,
        };
        let list = self.client.call(call).await?;
        Ok(Answer::List(&show::ORG, list))
    }

    async fn update(&self, args: UpdateArgs) -> Result<Answer, Failure> {
        let mut body = owner(args.owner);
        let mut set = |field: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(field.to_owned(), value);
            }
        };
        let list =
            |given: Vec<String>, none: bool| (none || !given.is_empty()).then(|| given.into());
        set("name", args.name.map(Value::from));
        set("permissions", list(args.permissions, args.no_permissions));
        set("scopes", list(args.scopes, args.no_scopes));
        set("disabled", args.disabled.map(Switch::into));
        set("expiresAt", moment(args.expiry).map(Value::from));
        if body.is_empty() {
            return Err(super::nothing_to_update());
        }
        let key = args.key.key;
        let updated = self.one(Method::PATCH, &[&key], Some(body.into())).await;
        updated.map(shown)
    }

    async fn rotate(&self, args: RotateArgs) -> Result<Answer, Failure> {
        let mut body = Map::new();
        if let Some(expires_at) = moment(args.expiry) {
            body.insert("expiresAt".to_owned(), expires_at.into());
        }
        if let Some(seconds) = args.grace_period {
            body.insert("gracePeriodSeconds".to_owned(), seconds.into());
        }
        let below = [args.key.key.as_str(), "rotate"];
        let rotated = self.one(Method::POST, &below, Some(body.into())).await?;
        Ok(Answer::Secret(&show::ORG, rotated))
    }

    /// A request without a query.
    async fn one(
        &self,
        method: Method,
        below: &[&str],
        body: Option<Value>,
    ) -> Result<Value, Failure> {
        let path = [&["v2", "orgs", self.org, "api-keys"], below].concat();
        let call = Call {
            method,
            path: &path,
            query: Vec::new(),
            body,
        };
        self.client.call(call).await
    }
}

fn owner(args: OwnerArgs) -> Map<String, Value> {
    let fields = [("ownerType", args.owner_type), ("ownerId", args.owner_id)];
    fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.into())))
        .collect()
}
