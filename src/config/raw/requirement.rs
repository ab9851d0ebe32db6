//! Requirements: what a key must be allowed to do, family by family.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a route requires.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Require {
    /// The same of every key.
    Word(RequireWord),
    /// By the family of the key. A family for which nothing is stated is refused.
    Families(Box<Families>),
}

/// What is required of every key alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequireWord {
    /// Nothing: everyone passes, keys are ignored and removed.
    Anonymous,
    /// That it is live.
    Authenticated,
    /// More than any has: every key is refused. For what is not decided yet, or not for keys.
    Nobody,
    /// That a trusted peer names an identity, see `trusted_identity_from`. A key beside it must be live.
    TrustedIdentity,
}

/// What is required by family. Texts may hold `{capture}`, `{query:name}`, `{header:name}` and `{host}`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Families {
    /// The organisation that an organisation key must belong to.
    pub org: Option<String>,
    /// Permissions of which an organisation key must hold all.
    #[serde(default)]
    pub permissions: Vec<String>,
    /// Permissions of which an organisation key must hold one.
    #[serde(default)]
    pub any_permission: Vec<String>,
    /// Scopes of which an organisation key must hold one. Empty: keys are not limited by scopes.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// What an organisation key without any scope meets here.
    #[serde(default)]
    pub empty_scopes: EmptyScopes,
    /// The workspace that a workspace key must belong to.
    pub workspace: Option<String>,
    /// What the rules of a workspace key must allow.
    pub rule: Option<Rule>,
    /// What an access key must be able to reach.
    pub access: Option<Access>,
}

/// What a key without any scope meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EmptyScopes {
    /// It is refused.
    #[default]
    Deny,
    /// It is not limited.
    Allow,
}

/// What the rules of a workspace key must allow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The action.
    #[schemars(with = "String")]
    pub action: Option<String>,
    /// The subject.
    #[schemars(with = "String")]
    pub subject: Option<String>,
    /// The attributes of the resource that the request states. What is not named is unknown.
    #[serde(default)]
    pub resource: Map<String, Value>,
    /// Whether what is not named is missing rather than unknown.
    #[serde(default)]
    pub complete: bool,
    /// The field that is asked for; `null`: the whole.
    #[schemars(extend("nullable" = true))]
    pub field: Option<String>,
    /// Whether a check without a field is met by a rule with fields.
    #[serde(default)]
    pub any_field: bool,
}

/// What an access key must be able to reach.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// The domain.
    #[schemars(with = "String")]
    pub domain: Option<String>,
    /// The level on it.
    #[schemars(with = "Level")]
    pub level: Option<Level>,
    /// Where the request states its project, or `any` where it does not matter. Absent: keys of one project are refused.
    pub project: Option<String>,
}

/// A level of access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// List and view.
    Read,
    /// Everything.
    Write,
}
