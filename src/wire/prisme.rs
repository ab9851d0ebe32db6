//! What a Prisme.ai platform says of its keys: organisation keys, as it lists and validates them, and workspace keys.
//!
//! What stands for a key's identity, its being switched off or its end must be readable, or the whole answer is not
//! believed. Grants that cannot be read grant nothing. No error holds anything of an answer: raw keys are in them.

use serde_json::{Map, Value as Json};

use super::grants::{from_json, member_names};
use super::time::parse_rfc3339;
use super::value::parse_json;
use crate::authz::{
    Family, KeyDigest, KeyId, KeyRecord, KeyStatus, Owner, Pepper, Revision, Tenant, Timestamp,
};

/// Longest identifier, name or time that is taken, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// Why an answer is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidAnswer(&'static str);

/// One key as the platform has it.
#[derive(Debug, Clone, PartialEq)]
pub struct PlatformKey {
    /// Its facts; the revision is nobody's yet.
    pub record: KeyRecord,
    /// When the platform last changed it, in the platform's own words, which are only compared.
    pub updated_at: Option<Box<str>>,
    /// What it is looked up by, where the platform shows the key itself.
    pub digest: Option<KeyDigest>,
}

/// One page of a list of organisation keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The keys on it.
    pub keys: Vec<PlatformKey>,
    /// How many there are on all pages together, where the platform says so.
    pub total: Option<u64>,
}

/// Reads a page of the organisation keys of `org`.
///
/// # Errors
/// It is no such page.
pub fn read_org_page(body: &[u8], org: &str) -> Result<Page, InvalidAnswer> {
    let answer = parse(body)?;
    let Some(Json::Array(items)) = answer.get("results") else {
        return Err(InvalidAnswer("`results` is no list"));
    };
    let total = match answer.get("total") {
        None | Some(Json::Null) => None,
        Some(total) => Some(
            total
                .as_u64()
                .ok_or(InvalidAnswer("`total` is no whole number"))?,
        ),
    };
    let keys = items.iter().map(|item| org_key(item, org));
    Ok(Page {
        keys: keys.collect::<Result<_, _>>()?,
        total,
    })
}

/// Reads one organisation key of `org`, as it is validated.
///
/// # Errors
/// It is no such key.
pub fn read_org_key(body: &[u8], org: &str) -> Result<PlatformKey, InvalidAnswer> {
    org_key(&parse(body)?, org)
}

/// Reads the list of the keys of `workspace`, in which the keys themselves are, and hashes them.
///
/// # Errors
/// It is no such list, or one of another workspace.
pub fn read_workspace_keys(
    body: &[u8],
    workspace: &str,
    pepper: Option<&Pepper>,
) -> Result<Vec<PlatformKey>, InvalidAnswer> {
    let Json::Array(items) = parse(body)? else {
        return Err(InvalidAnswer("it is no list"));
    };
    let keys = items
        .iter()
        .map(|item| workspace_key(item, workspace, pepper));
    keys.collect()
}

fn parse(body: &[u8]) -> Result<Json, InvalidAnswer> {
    let text = std::str::from_utf8(body).map_err(|_| InvalidAnswer("it is no text"))?;
    parse_json(text).map_err(|_| InvalidAnswer("it is no JSON"))
}

fn org_key(json: &Json, org: &str) -> Result<PlatformKey, InvalidAnswer> {
    let members = Members::of(json)?;
    let id = members
        .text("id")?
        .filter(|id| !id.is_empty())
        .ok_or(InvalidAnswer("a key has no `id`"))?;
    let expires_at = members.text("expiresAt")?.map(parse_rfc3339).transpose();
    let name = match members.text("name")? {
        Some(name) => Some(name),
        None => members.text("slug")?,
    };
    let record = KeyRecord {
        id: KeyId::new(id),
        tenant: Tenant::Org(org.to_owned()),
        name: name.unwrap_or_default().to_owned(),
        owner: members.owner()?,
        status: members.status()?,
        expires_at: expires_at.map_err(|_| InvalidAnswer("`expiresAt` is no moment"))?,
        grants: members.grants(Family::Org),
        revision: Revision(0),
    };
    Ok(PlatformKey {
        record,
        updated_at: members.text("updatedAt")?.map(Into::into),
        digest: None,
    })
}

fn workspace_key(
    json: &Json,
    workspace: &str,
    pepper: Option<&Pepper>,
) -> Result<PlatformKey, InvalidAnswer> {
    let members = Members::of(json)?;
    if members.text("subjectType")? != Some("workspaces")
        || members.text("subjectId")? != Some(workspace)
    {
        return Err(InvalidAnswer("a key is of another workspace"));
    }
    let raw = members
        .text("apiKey")?
        .filter(|raw| !raw.is_empty())
        .ok_or(InvalidAnswer("a key has no `apiKey`"))?;
    let digest = KeyDigest::of(raw.as_bytes(), pepper);
    let record = KeyRecord {
        id: workspace_key_id(&digest),
        tenant: Tenant::Workspace(workspace.to_owned()),
        name: members.text("name")?.unwrap_or_default().to_owned(),
        owner: None,
        status: members.status()?,
        expires_at: None::<Timestamp>,
        grants: members.grants(Family::Workspace),
        revision: Revision(0),
    };
    Ok(PlatformKey {
        record,
        updated_at: None,
        digest: Some(digest),
    })
}

/// A public name for a key that has none but itself: it tells nothing of the key, nor of its digest.
fn workspace_key_id(digest: &KeyDigest) -> KeyId {
    const CONTEXT: &str = "keyward v1: public id of a Prisme.ai workspace key";
    let hash = blake3::Hash::from_bytes(blake3::derive_key(CONTEXT, digest.as_bytes()));
    let short: String = hash.to_hex().chars().take(32).collect();
    KeyId::new(format!("wk_{short}"))
}

/// The members of one key. Those that are `null` are not there.
struct Members<'j>(&'j Map<String, Json>);

impl<'j> Members<'j> {
    fn of(json: &'j Json) -> Result<Self, InvalidAnswer> {
        json.as_object()
            .map(Self)
            .ok_or(InvalidAnswer("a key is no object"))
    }

    fn get(&self, name: &str) -> Option<&'j Json> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Result<Option<&'j str>, InvalidAnswer> {
        let text = match self.get(name) {
            None => return Ok(None),
            Some(value) => value.as_str(),
        };
        match text {
            Some(text) if text.len() <= TEXT_BYTES_MAX => Ok(Some(text)),
            Some(_) => Err(InvalidAnswer("a text of a key is too long")),
            None => Err(InvalidAnswer("a member of a key is no text")),
        }
    }

    fn status(&self) -> Result<KeyStatus, InvalidAnswer> {
        match self.get("disabled") {
            None | Some(Json::Bool(false)) => Ok(KeyStatus::Active),
            Some(Json::Bool(true)) => Ok(KeyStatus::Disabled),
            Some(_) => Err(InvalidAnswer("`disabled` is neither true nor false")),
        }
    }

    fn owner(&self) -> Result<Option<Owner>, InvalidAnswer> {
        let (kind, id) = (self.text("ownerType")?, self.text("ownerId")?);
        let owner = |text: Option<&str>| text.unwrap_or_default().to_owned();
        Ok((kind.is_some() || id.is_some()).then(|| Owner {
            kind: owner(kind),
            id: owner(id),
        }))
    }

    fn grants(&self, family: Family) -> crate::authz::RawGrants {
        let stated = member_names(family)
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), self.get(name)?.clone())));
        from_json(family, &Json::Object(stated.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::RawGrants;

    const WORKSPACE_KEY: &str = "0b5e3b1c-7a0e-4b5f-9a53-0f2c9a1d2e3f";

    #[test]
    fn a_key_is_read_with_what_is_stated_and_nothing_else() {
        let key = read_org_key(
            br#"{"id":"r1","slug":"ci","name":"CI","permissions":["agents:*"],"scopes":["agents:a1"],
                "ownerType":"user","ownerId":"u1","expiresAt":"2030-01-01T00:00:00.000Z","disabled":true,
                "createdAt":"x","updatedAt":"2026-01-01","new":{"in":"a later version"}}"#,
            "acme",
        )
        .unwrap();
        assert_eq!(key.record.tenant, Tenant::Org("acme".to_owned()));
        assert_eq!(key.record.status, KeyStatus::Disabled);
        let expected = Some(Timestamp::from_millis(1_893_456_000_000));
        assert_eq!(key.record.expires_at, expected);
        assert_eq!(key.updated_at.as_deref(), Some("2026-01-01"));
        let least = read_org_key(br#"{"id":"r1","slug":"ci","expiresAt":null}"#, "acme").unwrap();
        assert_eq!((least.record.name.as_str(), least.updated_at), ("ci", None));
        let nothing = RawGrants::Org {
            permissions: Vec::new(),
            scopes: Vec::new(),
        };
        assert_eq!(least.record.grants, nothing);
    }

    #[test]
    fn an_answer_of_another_shape_is_not_believed() {
        for text in [
            "",
            "<html>",
            "[]",
            "{}",
            r#"{"results":{}}"#,
            r#"{"results":[1]}"#,
            r#"{"results":[{}]}"#,
            r#"{"results":[{"id":""}]}"#,
            r#"{"results":[{"id":7}]}"#,
            r#"{"results":[],"total":"1"}"#,
            r#"{"results":[],"results":[]}"#,
            r#"{"results":[{"id":"a","disabled":"no"}]}"#,
            r#"{"results":[{"id":"a","expiresAt":"soon"}]}"#,
            r#"{"results":[{"id":"a","updatedAt":1}]}"#,
            r#"{"results":[{"id":"a"}]"#,
        ] {
            assert!(read_org_page(text.as_bytes(), "acme").is_err(), "{text}");
        }
        let page = read_org_page(br#"{"results":[{"id":"a"}],"total":3}"#, "acme").unwrap();
        assert_eq!((page.keys.len(), page.total), (1, Some(3)));
    }

    #[test]
    fn grants_of_another_shape_grant_nothing() {
        let key = read_org_key(br#"{"id":"a","permissions":"*","scopes":[1]}"#, "acme").unwrap();
        let RawGrants::Org {
            permissions,
            scopes,
        } = key.record.grants
        else {
            panic!("another family");
        };
        assert_eq!(
            (permissions, scopes),
            (vec![String::new()], vec![String::new()])
        );
    }

    #[test]
    fn workspace_keys_are_hashed_and_belong_to_their_workspace() {
        let list = |subject: &str| {
            format!(
                r#"[{{"apiKey":"{WORKSPACE_KEY}","subjectType":"workspaces","subjectId":"{subject}",
                     "rules":[{{"action":"read","subject":"pages"}}],"name":"n"}}]"#
            )
        };
        let keys = read_workspace_keys(list("w1").as_bytes(), "w1", None).unwrap();
        let digest = KeyDigest::of(WORKSPACE_KEY.as_bytes(), None);
        assert_eq!(keys[0].digest, Some(digest));
        let id = keys[0].record.id.as_str();
        let told = id.strip_prefix("wk_").expect("a kind");
        let hex = blake3::hash(WORKSPACE_KEY.as_bytes()).to_hex();
        assert!(!WORKSPACE_KEY.contains(told) && !hex.contains(told), "{id}");
        assert!(read_workspace_keys(list("w2").as_bytes(), "w1", None).is_err());
        assert!(read_workspace_keys(br#"[{"apiKey":"x"}]"#, "w1", None).is_err());
        assert!(read_workspace_keys(br#"{"results":[]}"#, "w1", None).is_err());
        assert!(!format!("{keys:?}").contains(WORKSPACE_KEY));
    }
}
