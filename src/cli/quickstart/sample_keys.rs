//! One live key of each family, made anew at every start; those of the former start are ended first.

use crate::app::clock;
use crate::authz::{KeyStatus, Owner, RawAccess, RawGrants, RawRule, Tenant, Value};
use crate::cli::failure::{Failure, chain};
use crate::control::{Caller, KeyName, KeySlug, Keys, NewKey, SAMPLE_OWNER_KIND};

use super::tour::SampleKeys;

/// Who the audit log says it was.
const CALLER: Caller = Caller::program("quickstart");
/// How long a sample key lives, if nobody starts the quickstart again.
const LIFETIME_SECONDS: i64 = 30 * 86_400;

/// Ends the former sample keys and makes new ones.
///
/// # Errors
/// The store failed, or the machine has no random numbers.
pub async fn refresh(keys: &Keys) -> Result<SampleKeys, Failure> {
    keys.retire_samples(CALLER)
        .await
        .map_err(|error| failed(&error))?;
    Ok(SampleKeys {
        org: create(keys, Tenant::Org("acme".to_owned()), org_grants()).await?,
        workspace: create(keys, Tenant::Workspace("w1".to_owned()), workspace_grants()).await?,
        access: create(keys, Tenant::Access, access_grants()).await?,
    })
}

/// Makes a key and gives the raw one.
async fn create(keys: &Keys, tenant: Tenant, grants: RawGrants) -> Result<String, Failure> {
    let made = keys.create_key(CALLER, sample(tenant, grants)?).await;
    made.map(|made| made.value.raw.expose().to_owned())
        .map_err(|error| failed(&error))
}

fn failed(error: &dyn std::error::Error) -> Failure {
    Failure::told(format!("the sample keys cannot be made: {}", chain(error)))
}

fn sample(tenant: Tenant, grants: RawGrants) -> Result<NewKey, Failure> {
    let now = clock::now();
    let slug = format!("quickstart-{}", now.as_millis());
    Ok(NewKey {
        slug: match tenant {
            Tenant::Org(_) => Some(KeySlug::parse(&slug).map_err(|error| failed(&error))?),
            Tenant::Workspace(_) | Tenant::Access => None,
        },
        name: KeyName::parse("Sample of the quickstart").map_err(|error| failed(&error))?,
        owner: Some(Owner {
            kind: SAMPLE_OWNER_KIND.to_owned(),
            id: "quickstart".to_owned(),
        }),
        status: KeyStatus::Active,
        expires_at: Some(now.plus_seconds(LIFETIME_SECONDS)),
        tenant,
        grants,
    })
}

/// May manage the keys of its organisation, and read agent `a1`.
fn org_grants() -> RawGrants {
    RawGrants::Org {
        permissions: vec![
            "orgs:apikeys:manage".to_owned(),
            "agent-factory:agents:read".to_owned(),
        ],
        scopes: vec!["agents:a1".to_owned()],
    }
}

/// May read page `p1`.
fn workspace_grants() -> RawGrants {
    let page = Value::Object(vec![("id".into(), Value::String("p1".into()))]);
    let rule = RawRule {
        action: vec!["read".to_owned()],
        subject: vec!["pages".to_owned()],
        conditions: Some(page),
        ..RawRule::default()
    };
    RawGrants::Workspace { rules: vec![rule] }
}

/// May read deployments.
fn access_grants() -> RawGrants {
    RawGrants::Access(RawAccess {
        permission_mode: "RESTRICTED".to_owned(),
        access: vec![("deployment".to_owned(), "read".to_owned())],
        project: None,
    })
}
