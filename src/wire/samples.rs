//! Records for tests: everything that a record may hold, small enough to shrink well.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::{Secret, SecretDigest, SecretEntry};
use crate::authz::{
    KeyDigest, KeyId, KeyRecord, KeyStatus, Owner, RawAccess, RawGrants, RawRule, Revision,
    Sha256Digest, Tenant, Timestamp, Value,
};

/// Any key with any secrets.
pub(crate) fn entry() -> impl Strategy<Value = SecretEntry> {
    let digest = prop_oneof![
        any::<[u8; 32]>().prop_map(|bytes| SecretDigest::Blake3(KeyDigest::from_bytes(bytes))),
        any::<[u8; 32]>().prop_map(|bytes| SecretDigest::Sha256(Sha256Digest(bytes))),
    ];
    let secret = (digest, option::of(any::<i64>())).prop_map(|(digest, retired_at)| Secret {
        digest,
        retired_at: retired_at.map(Timestamp::from_millis),
    });
    (record(), vec(secret, 0..3)).prop_map(|(record, secrets)| SecretEntry {
        record: Arc::new(record),
        secrets,
    })
}

/// Any record.
pub(crate) fn record() -> impl Strategy<Value = KeyRecord> {
    let owner = (text(), text()).prop_map(|(kind, id)| Owner { kind, id });
    let status = prop_oneof![
        Just(KeyStatus::Active),
        Just(KeyStatus::Disabled),
        Just(KeyStatus::Revoked)
    ];
    (
        (text(), tenant(), text(), option::of(owner)),
        (status, option::of(any::<i64>()), grants(), any::<u64>()),
    )
        .prop_map(
            |((id, tenant, name, owner), (status, expires_at, grants, revision))| KeyRecord {
                id: KeyId::new(id),
                tenant,
                name,
                owner,
                status,
                expires_at: expires_at.map(Timestamp::from_millis),
                grants,
                revision: Revision(revision),
            },
        )
}

fn tenant() -> impl Strategy<Value = Tenant> {
    prop_oneof![
        text().prop_map(Tenant::Org),
        text().prop_map(Tenant::Workspace),
        Just(Tenant::Access)
    ]
}

fn grants() -> impl Strategy<Value = RawGrants> {
    let access = (text(), vec((text(), text()), 0..3), option::of(text())).prop_map(
        |(permission_mode, access, project)| RawAccess {
            permission_mode,
            access,
            project,
        },
    );
    prop_oneof![
        (texts(), texts()).prop_map(|(permissions, scopes)| RawGrants::Org {
            permissions,
            scopes
        }),
        vec(rule(), 0..3).prop_map(|rules| RawGrants::Workspace { rules }),
        access.prop_map(RawGrants::Access),
    ]
}

fn rule() -> impl Strategy<Value = RawRule> {
    (
        (texts(), texts(), option::of(texts()), any::<bool>()),
        (option::of(text()), option::of(value()), option::of(texts())),
        (option::of(-1e9..1e9), option::of(text())),
    )
        .prop_map(
            |(
                (action, subject, role, inverted),
                (reason, conditions, fields),
                (priority, unreadable),
            )| RawRule {
                action,
                subject,
                role,
                inverted,
                reason,
                conditions,
                fields,
                priority,
                unreadable,
            },
        )
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-1e15..1e15).prop_map(Value::Number),
        text().prop_map(|text| Value::String(text.into())),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::Array),
            vec((text().prop_map(String::into_boxed_str), inner), 0..3).prop_map(Value::Object),
        ]
    })
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    vec(text(), 0..3)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-z:*é]{1,6}", "[a-z]{200}"]
}
