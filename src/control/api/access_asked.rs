//! What requests about access keys may hold, in either of the two shapes that orq.ai publishes.

use std::fmt;

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::input::{nullable, object, present};
use crate::authz::ACCESS_DOMAINS_MAX;

/// What a new key is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateAccessKey)]
pub(super) struct CreateBody {
    /// Name for people.
    #[schema(min_length = 1, max_length = 128)]
    pub(super) name: String,
    /// Absent: a service account.
    #[serde(default, deserialize_with = "object")]
    #[schema(nullable = false)]
    pub(super) owner: Option<OwnerBody>,
    /// Absent: all projects.
    #[serde(default, deserialize_with = "object")]
    #[schema(nullable = false)]
    pub(super) project_scope: Option<ProjectScopeBody>,
    /// The former way to say `project_scope`: no project or `null` for all, or one.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Vec<String>>, max_items = 1)]
    pub(super) projects: Option<Option<Vec<String>>>,
    /// Absent: `all`.
    #[serde(default, deserialize_with = "present")]
    #[schema(
        nullable = false,
        pattern = "^((PERMISSION_MODE_)?(ALL|READ_ONLY|RESTRICTED)|all|read_only|restricted)$"
    )]
    pub(super) permission_mode: Option<String>,
    /// Levels by domain. Needed by a restricted key, of no effect on another.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false, value_type = Option<HashMap<String, String>>)]
    pub(super) access: Option<Levels>,
    /// In the future. Absent: never.
    #[serde(default, deserialize_with = "present")]
    #[schema(format = DateTime, nullable = false)]
    pub(super) expires_at: Option<String>,
    /// The same as `expires_at`, of which only one may be there.
    #[serde(default, deserialize_with = "present")]
    #[schema(format = DateTime, nullable = false)]
    pub(super) expiration: Option<String>,
    /// Another place of `expires_at`.
    #[serde(default, deserialize_with = "object")]
    #[schema(nullable = false)]
    pub(super) constraints: Option<ConstraintsBody>,
    /// Restrictions are refused, because nothing here enforces them.
    #[serde(default, deserialize_with = "object")]
    #[schema(nullable = false)]
    pub(super) mcp_access: Option<McpAccessBody>,
}

/// What is to be different; what is absent stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UpdateAccessKey)]
pub(super) struct PatchBody {
    /// Name for people.
    #[serde(default, deserialize_with = "present")]
    #[schema(min_length = 1, max_length = 128, nullable = false)]
    pub(super) name: Option<String>,
    /// A key that was revoked stays so.
    #[serde(default, deserialize_with = "present")]
    #[schema(
        nullable = false,
        pattern = "^((API_KEY_STATUS_)?(ACTIVE|DISABLED|REVOKED)|active|disabled|revoked)$"
    )]
    pub(super) status: Option<String>,
    /// The former way to say `status`, of which only one may be there.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    pub(super) active: Option<bool>,
    /// How far it reaches.
    #[serde(default, deserialize_with = "present")]
    #[schema(
        nullable = false,
        pattern = "^((PERMISSION_MODE_)?(ALL|READ_ONLY|RESTRICTED)|all|read_only|restricted)$"
    )]
    pub(super) permission_mode: Option<String>,
    /// Levels by domain, in place of all former ones. Needed by a key that becomes restricted, of no effect on one that
    /// is not.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false, value_type = Option<HashMap<String, String>>)]
    pub(super) access: Option<Levels>,
    /// Which projects it reaches.
    #[serde(default, deserialize_with = "object")]
    #[schema(nullable = false)]
    pub(super) project_scope: Option<ProjectScopeBody>,
    /// A moment in the past ends the key now.
    #[serde(default, deserialize_with = "present")]
    #[schema(format = DateTime, nullable = false)]
    pub(super) expires_at: Option<String>,
    /// Takes the expiry away; not together with a new one.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    pub(super) clear_expires_at: Option<bool>,
    /// Another place of `expires_at`.
    #[serde(default, deserialize_with = "object")]
    #[schema(nullable = false)]
    pub(super) constraints: Option<ConstraintsBody>,
    /// Restrictions are refused, because nothing here enforces them.
    #[serde(default, deserialize_with = "object")]
    #[schema(nullable = false)]
    pub(super) mcp_access: Option<McpAccessBody>,
}

/// Whom a key is for: `{"user":{"user_id":…}}`, `{"service_account":{}}`, or the same with `type`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AccessKeyOwner)]
pub(super) struct OwnerBody {
    /// A person.
    #[serde(default, deserialize_with = "object")]
    #[schema(nullable = false)]
    pub(super) user: Option<UserBody>,
    /// The workspace.
    #[serde(default, deserialize_with = "object")]
    #[schema(nullable = false)]
    pub(super) service_account: Option<EmptyBody>,
    /// `user` or `service_account`.
    #[serde(default, rename = "type", deserialize_with = "present")]
    #[schema(nullable = false)]
    pub(super) kind: Option<String>,
    /// With the type `user`.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    pub(super) user_id: Option<String>,
}

/// A person.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AccessKeyUser)]
pub(super) struct UserBody {
    /// The person's id.
    #[schema(min_length = 1, max_length = 256)]
    pub(super) user_id: String,
}

/// Nothing.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Empty)]
pub(super) struct EmptyBody {}

/// Which projects: `{"all":{}}`, `{"single":{"project_id":…}}`, or the same with `mode`.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AccessKeyProjectScope)]
pub(super) struct ProjectScopeBody {
    /// Every project.
    #[serde(
        default,
        deserialize_with = "object",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    all: Option<EmptyBody>,
    /// One project.
    #[serde(
        default,
        deserialize_with = "object",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    single: Option<ProjectBody>,
    /// `all` or `single`.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    mode: Option<String>,
    /// With the mode `single`.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    project_id: Option<String>,
}

/// One project.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AccessKeyProject)]
pub(super) struct ProjectBody {
    /// Its id.
    #[schema(min_length = 1, max_length = 256)]
    project_id: String,
}

/// Limits of a key.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AccessKeyConstraints)]
pub(super) struct ConstraintsBody {
    /// From then on it is refused.
    #[serde(default, deserialize_with = "present")]
    #[schema(format = DateTime, nullable = false)]
    pub(super) expires_at: Option<String>,
}

/// Which MCP gateways a key reaches. Only what restricts nothing is accepted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AccessKeyMcpAccess)]
pub(super) struct McpAccessBody {
    /// `false`.
    #[serde(default)]
    pub(super) deny_all: bool,
    /// Empty.
    #[serde(default)]
    pub(super) allowed_mcp_gateway_ids: Vec<String>,
    /// Empty.
    #[serde(default)]
    pub(super) toolset_ids: Vec<String>,
}

/// Levels by domain as written, each domain once.
#[derive(Debug)]
pub(super) struct Levels(pub(super) Vec<(String, String)>);

impl<'de> Deserialize<'de> for Levels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(LevelsVisitor)
    }
}

struct LevelsVisitor;

impl<'de> Visitor<'de> for LevelsVisitor {
    type Value = Levels;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of levels by domain")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Levels, A::Error> {
        let mut levels: Vec<(String, String)> = Vec::new();
        while let Some(domain) = members.next_key::<String>()? {
            if levels.len() == ACCESS_DOMAINS_MAX {
                let limit = format_args!("more than {ACCESS_DOMAINS_MAX} domains");
                return Err(A::Error::custom(limit));
            }
            if levels.iter().any(|(earlier, _)| *earlier == domain) {
                let twice = format_args!("the domain `{}` is there twice", domain.escape_debug());
                return Err(A::Error::custom(twice));
            }
            levels.push((domain, members.next_value()?));
        }
        Ok(Levels(levels))
    }
}

/// Which keys are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Keys a page; absent: 25.
    #[param(minimum = 1, maximum = 200)]
    #[serde(default, deserialize_with = "present")]
    pub(super) limit: Option<u32>,
    /// The id of the last key of the former page.
    pub(super) starting_after: Option<String>,
    /// The id of the first key of the later page.
    pub(super) ending_before: Option<String>,
    /// Only keys that are limited to this project.
    pub(super) project_id: Option<String>,
    /// Only keys of this status.
    #[param(pattern = "^((API_KEY_STATUS_)?(ACTIVE|DISABLED|REVOKED)|active|disabled|revoked)$")]
    pub(super) status: Option<String>,
    /// Only keys whose names hold this, in any case.
    pub(super) search: Option<String>,
    /// Only keys of these kinds of owner, `user` or `service_account`; also with commas between them.
    #[serde(default, alias = "owner_type[]")]
    #[param(required = false)]
    pub(super) owner_type: Vec<String>,
    /// Only keys of these modes; also with commas between them.
    #[serde(default, alias = "permission_mode[]")]
    #[param(required = false)]
    pub(super) permission_mode: Vec<String>,
    /// Only keys of this source. All keys are of `workspace`, none of `router`.
    pub(super) source: Option<String>,
    /// There are no budgets to include.
    #[serde(rename = "include_budget")]
    #[param(rename = "include_budget")]
    pub(super) _include_budget: Option<bool>,
}

/// How one key is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct GetQuery {
    /// There is no budget to include.
    #[serde(rename = "include_budget")]
    #[param(rename = "include_budget")]
    pub(super) _include_budget: Option<bool>,
}
