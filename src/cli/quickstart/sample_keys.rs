//! One live key of each family, made anew at every start; those of the former start are ended first.

use crate::app::clock;
use crate::authz::{KeyStatus, Owner, RawAccess, RawGrants, RawRule, Tenant, Value};
use crate::cli::failure::{Failure, chain};
use crate::control::{Caller, KeyName, KeySlug, Keys, NewKey, OrgSlug, RawKey};

use super::tour::SampleKeys;

/// The kind of owner by which the keys of a former start are found.
const OWNER: &str = "quickstart";
/// Who the audit log says it was.
const CALLER: Caller = Caller::program("quickstart");
/// How long a sample key lives, if nobody starts the quickstart again.
const LIFETIME_SECONDS: i64 = 30 * 86_400;

/// Ends the former sample keys and makes new ones.
///
/// # Errors
/// The store failed, or the machine has no random numbers.
pub async fn refresh(keys: &Keys) -> Result<SampleKeys, Failure> {
    keys.retire_keys_owned_by(CALLER, OWNER)
        .await
        .map_err(|error| failed(&error))?;
    let acme = OrgSlug::parse("acme").map_err(|error| failed(&error))?;
    let org = RawKey::org(&acme).map_err(|error| failed(&error))?;
    let workspace = RawKey::workspace().map_err(|error| failed(&error))?;
    let access = RawKey::access(clock::now()).map_err(|error| failed(&error))?;
    let samples = [
        (&org, acme.tenant(), org_grants()),
        (
            &workspace,
            Tenant::Workspace("w1".to_owned()),
            workspace_grants(),
        ),
        (&access, Tenant::Access, access_grants()),
    ];
    for (raw, tenant, grants) in samples {
        let key = sample(tenant, grants)?;
        keys.insert_key(CALLER, key, raw)
            .await
            .map_err(|error| failed(&error))?;
    }
    Ok(SampleKeys {
        org: org.expose().to_owned(),
        workspace: workspace.expose().to_owned(),
        access: access.expose().to_owned(),
    })
}

fn failed(error: &dyn std::error::Error) -> Failure {
    Failure::told(format!("the sample keys cannot be made: {}", chain(error)))
}

fn sample(tenant: Tenant, grants: RawGrants) -> Result<NewKey, Failure> {
    let now = clock::now();
    let slug = format!("quickstart-{}", now.as_millis());
    Ok(NewKey {
        slug: Some(KeySlug::parse(&slug).map_err(|error| failed(&error))?),
        name: KeyName::parse("Sample of the quickstart").map_err(|error| failed(&error))?,
        owner: Some(Owner {
            kind: OWNER.to_owned(),
            id: "sample".to_owned(),
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
