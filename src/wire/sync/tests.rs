//! What is said comes back as it was said; what was once said goes on being readable, byte by byte.

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::authz::{
    KeyDigest, KeyId, KeyRecord, KeyStatus, Owner, RawAccess, RawGrants, Revision, Sha256Digest,
    Tenant, Timestamp,
};
use crate::wire::{Change, Epoch, Secret, SecretDigest, SecretEntry, rule, samples};

fn message() -> impl Strategy<Value = Message> {
    let revision = || any::<u64>().prop_map(Revision);
    prop_oneof![
        (any::<u128>(), revision(), any::<u64>()).prop_map(|(epoch, revision, keys)| {
            let epoch = Epoch(epoch);
            Message::Begin {
                epoch,
                revision,
                keys,
            }
        }),
        vec(samples::entry(), 0..4).prop_map(Message::Put),
        vec("[a-z0-9]{0,30}", 0..4)
            .prop_map(|ids| Message::Removed(ids.into_iter().map(KeyId::new).collect())),
        any::<u64>().prop_map(|keys| Message::End { keys }),
        (revision(), revision())
            .prop_map(|(previous, revision)| Message::Apply { previous, revision }),
        (revision(), any::<u64>(), any::<u64>()).prop_map(|(revision, age, echo)| {
            let age = Duration::from_millis(age);
            Message::Heartbeat {
                revision,
                age,
                echo,
            }
        }),
        Just(Message::Resync),
    ]
}

proptest! {
    #[test]
    fn what_is_said_is_read(message in message()) {
        prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn nothing_may_follow_and_nothing_may_be_missing(message in message()) {
        let payload = message.encode();
        for end in 0..payload.len() {
            prop_assert_ne!(Message::decode(&payload[..end]), Ok(message.clone()));
        }
        let is_list = matches!(message, Message::Put(_) | Message::Removed(_));
        let mut longer = payload;
        longer.push(0xff);
        prop_assert!(is_list || Message::decode(&longer).is_err());
    }

    #[test]
    fn other_bytes_are_no_message_and_no_panic(payload: Vec<u8>) {
        let _ = Message::decode(&payload);
    }
}

proptest! {
    // Long enough for several payloads, which takes time.
    #![proptest_config(ProptestConfig::with_cases(3))]

    #[test]
    fn a_change_comes_back_whole_from_its_payloads(
        put in vec(samples::entry(), 0..400), removed in vec("[a-z]{90}", 0..900), previous: u64, revision: u64
    ) {
        let change = Change {
            previous: Revision(previous),
            revision: Revision(revision),
            put,
            removed: removed.into_iter().map(KeyId::new).collect(),
        };
        let mut assembly = Assembly::default();
        let mut whole = Vec::new();
        for payload in encode_change(&change) {
            match Message::decode(&payload).unwrap() {
                Message::Put(entries) => assembly.put(entries).unwrap(),
                Message::Removed(ids) => assembly.remove(ids).unwrap(),
                Message::Apply { previous, revision } => whole.push(assembly.finish(previous, revision)),
                other @ (Message::Begin { .. }
                | Message::End { .. }
                | Message::Heartbeat { .. }
                | Message::Resync) => panic!("{other:?}"),
            }
        }
        prop_assert_eq!(whole, [change]);
        prop_assert!(assembly.is_empty());
    }
}

#[test]
fn a_change_of_too_many_keys_is_refused() {
    let mut assembly = Assembly::default();
    let ids = |count| vec![KeyId::new("k"); count];
    assert_eq!(assembly.remove(ids(CHANGE_KEYS_MAX)), Ok(()));
    assert_eq!(assembly.remove(ids(1)), Err(TooManyKeys));
    assert_eq!(assembly.put(Vec::new()), Err(TooManyKeys));
}

#[test]
fn conditions_that_are_nested_without_end_are_no_key() {
    let nested = |depth: usize| {
        let mut record = record(
            Tenant::Workspace("w".to_owned()),
            RawGrants::Workspace { rules: Vec::new() },
        );
        let mut condition = crate::authz::Value::Null;
        for _ in 0..depth {
            condition = crate::authz::Value::Array(vec![condition]);
        }
        let rules = vec![crate::authz::RawRule {
            conditions: Some(condition),
            ..Default::default()
        }];
        record.grants = RawGrants::Workspace { rules };
        Message::Put(vec![SecretEntry {
            record: Arc::new(record),
            secrets: Vec::new(),
        }])
    };
    assert!(Message::decode(&nested(128).encode()).is_ok());
    assert!(Message::decode(&nested(200).encode()).is_err());
    // The bytes of an array in an array, and so on.
    let depths = nested(1).encode();
    let at = depths
        .windows(3)
        .position(|window| window == [5, 1, 0])
        .unwrap();
    let mut deep = depths[..at].to_vec();
    deep.extend([5, 1].repeat(1_000_000));
    assert!(Message::decode(&deep).is_err());
}

fn record(tenant: Tenant, grants: RawGrants) -> KeyRecord {
    KeyRecord {
        id: KeyId::new("k1"),
        tenant,
        name: "Zoë".to_owned(),
        owner: Some(Owner {
            kind: "user".to_owned(),
            id: "u1".to_owned(),
        }),
        status: KeyStatus::Disabled,
        expires_at: Some(Timestamp::from_millis(1_900_000_000_000)),
        grants,
        revision: Revision(300),
    }
}

fn keys_of_each_family() -> Vec<SecretEntry> {
    let org = RawGrants::Org {
        permissions: vec!["orgs:*".to_owned()],
        scopes: vec!["agents:a1".to_owned()],
    };
    let rules = vec![rule::read_rule(&serde_json::json!({
        "action": ["read"], "subject": ["pages"], "conditions": {"id": "p1", "n": [1, true, null]},
        "fields": ["name"], "inverted": true, "reason": "no", "priority": 2
    }))];
    let access = RawGrants::Access(RawAccess {
        permission_mode: "RESTRICTED".to_owned(),
        access: vec![("file".to_owned(), "read".to_owned())],
        project: Some("p".to_owned()),
    });
    let secrets = vec![
        Secret {
            digest: SecretDigest::Blake3(KeyDigest::from_bytes([7; 32])),
            retired_at: None,
        },
        Secret {
            digest: SecretDigest::Sha256(Sha256Digest([9; 32])),
            retired_at: Some(Timestamp::from_millis(-1)),
        },
    ];
    [
        (Tenant::Org("acme".to_owned()), org),
        (
            Tenant::Workspace("w1".to_owned()),
            RawGrants::Workspace { rules },
        ),
        (Tenant::Access, access),
    ]
    .into_iter()
    .map(|(tenant, grants)| SecretEntry {
        record: Arc::new(record(tenant, grants)),
        secrets: secrets.clone(),
    })
    .collect()
}

/// One stream with everything in it, as version 1 has it. Other programs and files on disk rely on these bytes: where
/// they change, it is another version.
#[test]
fn version_1_is_these_bytes() {
    let messages = [
        Message::Begin {
            epoch: Epoch(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
            revision: Revision(300),
            keys: 3,
        },
        Message::Put(keys_of_each_family()),
        Message::End { keys: 3 },
        Message::Removed(vec![KeyId::new("k1"), KeyId::new("k2")]),
        Message::Apply {
            previous: Revision(300),
            revision: Revision(302),
        },
        Message::Heartbeat {
            revision: Revision(302),
            age: Duration::from_millis(1500),
            echo: 12,
        },
        Message::Resync,
    ];
    let mut writer = FrameWriter::new(None);
    let mut bytes = Vec::new();
    for message in &messages {
        writer.frame(&message.encode(), &mut bytes).unwrap();
    }
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let lines: Vec<&str> = hex
        .as_bytes()
        .chunks(128)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    assert_eq!(lines.join("\n"), include_str!("golden.hex").trim_end());

    let mut reader = FrameReader::new(None);
    reader.push(&bytes);
    for message in messages {
        let payload = reader.next_payload().unwrap().unwrap();
        assert_eq!(Message::decode(payload), Ok(message));
    }
    assert!(reader.is_at_boundary());
}
