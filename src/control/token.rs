//! Raw keys and ids: how they are made, and the one type that holds a raw key on its way to its owner.
//!
//! It knows no store; what is kept of a raw key is its digest.

use std::fmt;

use ulid::Ulid;

use super::command::InvalidInput;
use crate::authz::{
    Family, KeyDigest, KeyId, Pepper, PresentedKey, Sha256Digest, Tenant, Timestamp,
};
use crate::wire::SecretDigest;

/// The system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("no random bytes from the system")]
pub struct NoRandomness(#[source] getrandom::Error);

/// What access keys begin with, before the id of the key.
pub(super) const ACCESS_PREFIX: &str = "sk-orq-";

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
                let secret = lower_hex(&secret);
                Ok(Self(format!("{ACCESS_PREFIX}{ulid}-{secret}")))
            }
        }
    }

    /// A key of a tenant that was made elsewhere.
    ///
    /// # Errors
    /// It has not the form of the tenant's family, or names another organisation.
    pub(super) fn given(text: String, tenant: &Tenant) -> Result<Self, InvalidInput> {
        let presented = PresentedKey::parse(text.as_bytes());
        if presented.map(|key| key.family()) != Some(tenant.family()) {
            let problem = match tenant {
                Tenant::Org(_) => "is not of the form `iak_{org}_{uuid}`",
                Tenant::Workspace(_) => "is no UUID",
                Tenant::Access => "is not of the form `sk-orq-{ulid}-{secret}`",
            };
            return Err(InvalidInput::new("token", problem));
        }
        if let Tenant::Org(slug) = tenant
            && !text.starts_with(&format!("iak_{slug}_"))
        {
            return Err(InvalidInput::new("token", "names another organisation"));
        }
        Ok(Self(text))
    }

    /// The key itself, for the one answer that shows it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The id of its key: the one that it holds, where its family's keys hold one, else a new one.
    pub(super) fn id(&self, now: Timestamp) -> Result<KeyId, NoRandomness> {
        let held = self.0.strip_prefix(ACCESS_PREFIX);
        match held.and_then(|rest| rest.split('-').next()) {
            Some(ulid) => Ok(KeyId::new(ulid)),
            None => new_id(Family::Org, now),
        }
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

/// A secret that was made elsewhere, or what is known of it.
#[derive(Debug, Clone, Copy)]
pub enum GivenSecret<'a> {
    /// The raw key.
    Raw(&'a RawKey),
    /// Its BLAKE3, not keyed.
    Blake3([u8; 32]),
    /// Its SHA-256.
    Sha256([u8; 32]),
}

impl GivenSecret<'_> {
    /// Reads `blake3:HEX` or `sha256:HEX`.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(text: &str) -> Result<Self, InvalidInput> {
        let digest = text.split_once(':').and_then(|(kind, hex)| {
            let bytes = from_hex(hex)?;
            match kind {
                "blake3" => Some(Self::Blake3(bytes)),
                "sha256" => Some(Self::Sha256(bytes)),
                _ => None,
            }
        });
        digest.ok_or_else(|| {
            let problem = "is `blake3:` or `sha256:` and 64 hexadecimal digits";
            InvalidInput::new("digest", problem)
        })
    }

    /// What is stored of it.
    pub(super) fn digest(&self, pepper: Option<&Pepper>) -> SecretDigest {
        match self {
            Self::Raw(raw) => SecretDigest::Blake3(raw.digest(pepper)),
            Self::Blake3(hash) => SecretDigest::Blake3(KeyDigest::from_unkeyed(*hash, pepper)),
            Self::Sha256(hash) => SecretDigest::Sha256(Sha256Digest(*hash)),
        }
    }

    /// What else a key with this secret may be stored as.
    pub(super) fn other_digest(&self) -> Option<SecretDigest> {
        match self {
            Self::Raw(raw) => PresentedKey::parse(raw.expose().as_bytes())
                .map(|key| SecretDigest::Sha256(key.sha256())),
            Self::Blake3(_) | Self::Sha256(_) => None,
        }
    }

    /// The id of its key.
    pub(super) fn id(&self, tenant: &Tenant, now: Timestamp) -> Result<KeyId, NoRandomness> {
        match self {
            Self::Raw(raw) => raw.id(now),
            Self::Blake3(_) | Self::Sha256(_) => new_id(tenant.family(), now),
        }
    }
}

/// A new id of a key: a ULID, so that ids sort by creation. Those of access keys are in upper case, as in raw keys.
fn new_id(family: Family, now: Timestamp) -> Result<KeyId, NoRandomness> {
    let ulid = random_ulid(now)?;
    Ok(KeyId::new(match family {
        Family::Org | Family::Workspace => ulid.to_ascii_lowercase(),
        Family::Access => ulid,
    }))
}

/// Whether a text has the form of an id, in any case of its letters.
pub(super) fn is_key_id(text: &str) -> bool {
    Ulid::from_string(text).is_ok()
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

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| {
            digit
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        })
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = high << 4 | low;
    }
    Some(bytes)
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
        for family in [Family::Org, Family::Workspace, Family::Access] {
            let early = new_id(family, NOW).unwrap();
            assert!(is_key_id(early.as_str()));
            let late = new_id(family, NOW.plus_seconds(1)).unwrap();
            assert_ne!(early, new_id(family, NOW).unwrap());
            assert!(early < late);
        }
    }

    #[test]
    fn an_access_key_holds_its_id_and_no_other_does() {
        let key = RawKey::of(&Tenant::Access, NOW).unwrap();
        let id = key.id(NOW).unwrap();
        let prefix = format!("{ACCESS_PREFIX}{}-", id.as_str());
        assert!(key.expose().starts_with(&prefix), "{prefix}");
        assert_eq!(GivenSecret::Raw(&key).id(&Tenant::Access, NOW).unwrap(), id);
        let org = RawKey::of(&Tenant::Org("acme".to_owned()), NOW).unwrap();
        assert_ne!(org.id(NOW).unwrap(), org.id(NOW).unwrap());
    }

    #[test]
    fn digests_are_read_as_they_are_written_elsewhere() {
        let key = RawKey::of(&Tenant::Access, NOW).unwrap();
        let hex = lower_hex(blake3::hash(key.expose().as_bytes()).as_bytes());
        let pepper = Pepper::derive("salt and");
        for hex in [hex.clone(), hex.to_ascii_uppercase()] {
            let given = GivenSecret::parse(&format!("blake3:{hex}")).unwrap();
            assert_eq!(
                given.digest(pepper.as_ref()),
                GivenSecret::Raw(&key).digest(pepper.as_ref())
            );
        }
        let sha256 = GivenSecret::parse(&format!("sha256:{hex}")).unwrap();
        assert!(matches!(
            sha256.digest(pepper.as_ref()),
            SecretDigest::Sha256(_)
        ));
        for bad in [
            hex.clone(),
            format!("md5:{hex}"),
            format!("sha256:{hex}0"),
            "sha256:".to_owned(),
            format!("sha256:{}", hex.replacen(|_| true, "+", 1)),
            format!("sha256:{}", hex.replacen(|_| true, "é", 1)),
        ] {
            assert!(GivenSecret::parse(&bad).is_err(), "{bad}");
        }
    }
}
