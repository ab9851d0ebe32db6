//! What a refused request would have needed, as JSON: the same in answers and in explanations.

use serde_json::{Value, json};

use crate::authz::Needed;

/// What was needed, under the name of its kind.
pub fn to_json(needed: &Needed) -> Value {
    match needed {
        Needed::Permission(permission) => json!({ "permission": permission }),
        Needed::AnyPermission(permissions) => json!({ "any_permission": permissions }),
        Needed::Scope(scopes) => json!({ "scopes": scopes }),
        Needed::Org(org) => json!({ "org": org }),
        Needed::Workspace(workspace) => json!({ "workspace": workspace }),
        Needed::Rule { action, subject } => json!({ "action": action, "subject": subject }),
        Needed::Access { domain, level } => json!({ "domain": domain, "level": level.as_str() }),
        Needed::Project(project) => json!({ "project": project }),
        Needed::AllProjects => json!({ "project_scope": "all" }),
        Needed::Family(families) => {
            let families: Vec<&str> = families.iter().map(|family| family.as_str()).collect();
            json!({ "families": families })
        }
        Needed::TrustedIdentity => json!({ "trusted_identity": true }),
    }
}
