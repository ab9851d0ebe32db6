//! Keys with their secrets as JSON, one object a key: what a gateway keeps on disk of its copy.
//!
//! Whoever reads it must trust where it comes from; digests are in it, keys are not.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::grants;
use super::{Secret, SecretDigest, SecretEntry};
use crate::authz::{
    Family, KeyDigest, KeyId, KeyRecord, KeyStatus, Owner, Revision, Sha256Digest, Tenant,
    Timestamp,
};

/// Why an object is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot be read")]
pub struct InvalidEntry(&'static str);

/// A key with its secrets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    id: String,
    family: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    tenant: String,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<(String, String)>,
    status: String,
    /// Milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
    grants: Json,
    revision: u64,
    secrets: Vec<EntrySecret>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntrySecret {
    /// `blake3:` or `sha256:`, and 64 digits.
    digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retired_at: Option<i64>,
}

impl From<&SecretEntry> for Entry {
    fn from(entry: &SecretEntry) -> Self {
        let record = &entry.record;
        Self {
            id: record.id.as_str().to_owned(),
            family: record.family().as_str().to_owned(),
            tenant: match &record.tenant {
                Tenant::Org(tenant) | Tenant::Workspace(tenant) => tenant.clone(),
                Tenant::Access => String::new(),
            },
            name: record.name.clone(),
            owner: record.owner.clone().map(|owner| (owner.kind, owner.id)),
            status: match record.status {
                KeyStatus::Active => "active",
                KeyStatus::Disabled => "disabled",
                KeyStatus::Revoked => "revoked",
            }
            .to_owned(),
            expires_at: record.expires_at.map(Timestamp::as_millis),
            grants: grants::to_json(&record.grants),
            revision: record.revision.0,
            secrets: entry.secrets.iter().map(EntrySecret::from).collect(),
        }
    }
}

impl TryFrom<Entry> for SecretEntry {
    type Error = InvalidEntry;

    fn try_from(entry: Entry) -> Result<Self, InvalidEntry> {
        let (family, tenant) = match entry.family.as_str() {
            "org" => (Family::Org, Tenant::Org(entry.tenant)),
            "workspace" => (Family::Workspace, Tenant::Workspace(entry.tenant)),
            "access" => (Family::Access, Tenant::Access),
            _ => return Err(InvalidEntry("family")),
        };
        let status = match entry.status.as_str() {
            "active" => KeyStatus::Active,
            "disabled" => KeyStatus::Disabled,
            "revoked" => KeyStatus::Revoked,
            _ => return Err(InvalidEntry("status")),
        };
        let record = KeyRecord {
            id: KeyId::new(entry.id),
            tenant,
            name: entry.name,
            owner: entry.owner.map(|(kind, id)| Owner { kind, id }),
            status,
            expires_at: entry.expires_at.map(Timestamp::from_millis),
            grants: grants::from_json(family, &entry.grants),
            revision: Revision(entry.revision),
        };
        let secrets = entry.secrets.into_iter().map(Secret::try_from);
        Ok(Self {
            record: Arc::new(record),
            secrets: secrets.collect::<Result<_, _>>()?,
        })
    }
}

impl From<&Secret> for EntrySecret {
    fn from(secret: &Secret) -> Self {
        let (kind, bytes) = match &secret.digest {
            SecretDigest::Blake3(digest) => ("blake3", *digest.as_bytes()),
            SecretDigest::Sha256(Sha256Digest(digest)) => ("sha256", *digest),
        };
        let hex = blake3::Hash::from_bytes(bytes).to_hex();
        Self {
            digest: format!("{kind}:{hex}"),
            retired_at: secret.retired_at.map(Timestamp::as_millis),
        }
    }
}

impl TryFrom<EntrySecret> for Secret {
    type Error = InvalidEntry;

    fn try_from(secret: EntrySecret) -> Result<Self, InvalidEntry> {
        let invalid = InvalidEntry("digest");
        let (kind, hex) = secret.digest.split_once(':').ok_or(invalid)?;
        let bytes = *blake3::Hash::from_hex(hex).map_err(|_| invalid)?.as_bytes();
        let digest = match kind {
            "blake3" => SecretDigest::Blake3(KeyDigest::from_bytes(bytes)),
            "sha256" => SecretDigest::Sha256(Sha256Digest(bytes)),
            _ => return Err(invalid),
        };
        Ok(Self {
            digest,
            retired_at: secret.retired_at.map(Timestamp::from_millis),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::{RawAccess, RawGrants};

    fn sample(tenant: Tenant, grants: RawGrants) -> SecretEntry {
        SecretEntry {
            record: Arc::new(KeyRecord {
                id: KeyId::new("k1"),
                tenant,
                name: "Zoë".to_owned(),
                owner: Some(Owner {
                    kind: "user".to_owned(),
                    id: String::new(),
                }),
                status: KeyStatus::Disabled,
                expires_at: Some(Timestamp::from_millis(i64::MAX)),
                grants,
                revision: Revision(u64::MAX),
            }),
            secrets: vec![
                Secret {
                    digest: SecretDigest::Blake3(KeyDigest::from_bytes([7; 32])),
                    retired_at: None,
                },
                Secret {
                    digest: SecretDigest::Sha256(Sha256Digest([9; 32])),
                    retired_at: Some(Timestamp::from_millis(-1)),
                },
            ],
        }
    }

    #[test]
    fn a_key_of_each_family_comes_back_as_it_was() {
        let org = RawGrants::Org {
            permissions: vec!["a:b".to_owned(), String::new()],
            scopes: Vec::new(),
        };
        let rules = RawGrants::Workspace {
            rules: vec![super::super::rule::read_rule(&serde_json::json!({
                "action": ["read"], "subject": ["pages"], "conditions": {"id": "p1"}
            }))],
        };
        let access = RawGrants::Access(RawAccess {
            permission_mode: "RESTRICTED".to_owned(),
            access: vec![("file".to_owned(), "read".to_owned())],
            project: Some("p".to_owned()),
        });
        for entry in [
            sample(Tenant::Org("acme".to_owned()), org),
            sample(Tenant::Workspace("w1".to_owned()), rules),
            sample(Tenant::Access, access),
        ] {
            let text = serde_json::to_string(&Entry::from(&entry)).unwrap();
            let read: Entry = serde_json::from_str(&text).unwrap();
            let read = SecretEntry::try_from(read).unwrap();
            assert_eq!((read.record, read.secrets), (entry.record, entry.secrets));
        }
    }

    #[test]
    fn what_is_no_key_is_named() {
        let whole = Entry::from(&sample(
            Tenant::Access,
            RawGrants::Access(RawAccess::default()),
        ));
        let broken = |change: &dyn Fn(&mut Entry)| {
            let mut entry = whole.clone();
            change(&mut entry);
            SecretEntry::try_from(entry).map(drop)
        };
        assert_eq!(broken(&|_| {}), Ok(()));
        assert_eq!(
            broken(&|entry| entry.family.clear()),
            Err(InvalidEntry("family"))
        );
        assert_eq!(
            broken(&|entry| entry.status.clear()),
            Err(InvalidEntry("status"))
        );
        for digest in ["", "blake3", "blake3:00", "md5:00"] {
            let broken = broken(&|entry| entry.secrets[0].digest = digest.to_owned());
            assert_eq!(broken, Err(InvalidEntry("digest")), "{digest}");
        }
    }
}
