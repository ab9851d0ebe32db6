//! Raw keys and ids: how they are made, and the one type that holds a raw key on its way to its owner.
//!
//! It knows no store; what is kept of a raw key is its digest.

use std::fmt;

use ulid::Ulid;

use crate::authz::{KeyDigest, KeyId, Pepper, Tenant, Timestamp};

/// The system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("no random bytes from the system")]
pub struct NoRandomness(#[source] getrandom::Error);

/// A raw key: answered once, never stored, never printed.
pub struct RawKey(String);

impl RawKey {
    /// Random bytes in the secret of an access key.
    const ACCESS_SECRET_BYTES: usize = 32;

    /// A new key of a tenant: `iak_{orgSlug}_{uuid}`, a UUID for a workspace, else `sk-orq-{ULID}-{secret}`.
    ///
    /// # Errors
    /// The system gave no random bytes.
    pub fn of(tenant: &Tenant, now: Timestamp) -> Result<Self, NoRandomness> {
        match tenant {
            Tenant::Org(slug) => Ok(Self(format!("iak_{slug}_{}", random_uuid()?))),
            Tenant::Workspace(_) => random_uuid().map(Self),
            Tenant::Access => {
                let secret: [u8; Self::ACCESS_SECRET_BYTES] = random()?;
                let ulid = random_ulid(now)?;
                Ok(Self(format!("sk-orq-{ulid}-{}", lower_hex(&secret))))
            }
        }
    }

    /// The key itself, for the one answer that shows it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    pub fn digest(&self, pepper: Option<&Pepper>) -> KeyDigest {
        KeyDigest::of(self.0.as_bytes(), pepper)
    }
}

impl fmt::Debug for RawKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawKey(…)")
    }
}

/// A new id of a key: a ULID in lower case, so that ids sort by creation and never look like a raw key.
pub(super) fn new_id(now: Timestamp) -> Result<KeyId, NoRandomness> {
    Ok(KeyId::new(random_ulid(now)?.to_ascii_lowercase()))
}

/// Bytes that nobody can guess.
pub(super) fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(bytes)
}

fn random_uuid() -> Result<String, NoRandomness> {
    let uuid = uuid::Builder::from_random_bytes(random()?).into_uuid();
    Ok(uuid.hyphenated().to_string())
}

fn random_ulid(now: Timestamp) -> Result<String, NoRandomness> {
    let millis = u64::try_from(now.as_millis()).unwrap_or(0);
    Ok(Ulid::from_parts(millis, u128::from_ne_bytes(random()?)).to_string())
}

fn lower_hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0xf])
        .filter_map(|nibble| DIGITS.get(usize::from(nibble)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::PresentedKey;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    #[test]
    fn every_minted_key_has_the_form_of_its_family() {
        for tenant in [
            Tenant::Org("acme-corp".to_owned()),
            Tenant::Workspace("w1".to_owned()),
            Tenant::Access,
        ] {
            let key = RawKey::of(&tenant, NOW).unwrap();
            let presented = PresentedKey::parse(key.expose().as_bytes()).expect("a known form");
            assert_eq!(presented.family(), tenant.family());
        }
    }

    #[test]
    fn a_raw_key_is_never_printed() {
        let key = RawKey::of(&Tenant::Access, NOW).unwrap();
        assert!(!format!("{key:?}").contains(key.expose()));
    }

    #[test]
    fn no_two_ids_are_equal_and_they_sort_by_time() {
        let early = new_id(NOW).unwrap();
        let late = new_id(NOW.plus_seconds(1)).unwrap();
        assert_ne!(early, new_id(NOW).unwrap());
        assert!(early < late);
    }
}
