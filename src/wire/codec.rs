//! Values as bytes, compactly: what crosses the wire between planes, what a gateway keeps on disk, and what its base of
//! keys is made of.
//!
//! Numbers are LEB128 (signed ones in zigzag), texts and lists have their length before them, choices begin with a byte.
//! What is read may be anything: nothing here panics, and nesting has a limit.

use std::sync::Arc;

use super::{Secret, SecretDigest, SecretEntry};
use crate::authz::{
    KeyDigest, KeyId, KeyRecord, KeyStatus, Owner, RawAccess, RawGrants, RawRule, Revision,
    Sha256Digest, Tenant, Timestamp, Value,
};

/// What a tenant begins with.
pub(crate) const TENANT_ORG: u8 = 0;
/// See [`TENANT_ORG`].
pub(crate) const TENANT_WORKSPACE: u8 = 1;
/// See [`TENANT_ORG`].
pub(crate) const TENANT_ACCESS: u8 = 2;
/// How deep conditions may be nested. JSON that is read from elsewhere is nested 128 deep at most.
const VALUE_DEPTH_MAX: usize = 160;

/// Appends values to bytes.
pub(crate) struct Writer<'b>(pub(crate) &'b mut Vec<u8>);

impl Writer<'_> {
    pub(crate) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// Seven bits a byte, the lowest first.
    pub(crate) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.byte(number.to_le_bytes()[0]);
    }

    pub(crate) fn signed(&mut self, number: i64) {
        self.number((number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned());
    }

    fn float(&mut self, number: f64) {
        self.array(&number.to_bits().to_le_bytes());
    }

    pub(crate) fn array<const N: usize>(&mut self, bytes: &[u8; N]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(crate) fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    pub(crate) fn list<T>(&mut self, values: &[T], write: impl Fn(&mut Self, &T)) {
        self.number(values.len() as u64);
        for value in values {
            write(self, value);
        }
    }

    pub(crate) fn texts(&mut self, texts: &[String]) {
        self.list(texts, |to, text| to.text(text));
    }

    pub(crate) fn tenant(&mut self, tenant: &Tenant) {
        match tenant {
            Tenant::Org(slug) => {
                self.byte(TENANT_ORG);
                self.text(slug);
            }
            Tenant::Workspace(id) => {
                self.byte(TENANT_WORKSPACE);
                self.text(id);
            }
            Tenant::Access => self.byte(TENANT_ACCESS),
        }
    }

    pub(crate) fn owner(&mut self, owner: Option<&Owner>) {
        self.optional(owner, |to, owner| {
            to.text(&owner.kind);
            to.text(&owner.id);
        });
    }

    pub(crate) fn grants(&mut self, grants: &RawGrants) {
        match grants {
            RawGrants::Org {
                permissions,
                scopes,
            } => {
                self.byte(0);
                self.texts(permissions);
                self.texts(scopes);
            }
            RawGrants::Workspace { rules } => {
                self.byte(1);
                self.list(rules, Self::rule);
            }
            RawGrants::Access(access) => {
                self.byte(2);
                self.text(&access.permission_mode);
                self.list(&access.access, |to, (domain, level)| {
                    to.text(domain);
                    to.text(level);
                });
                self.optional(access.project.as_deref(), Self::text);
            }
        }
    }

    pub(crate) fn status(&mut self, status: KeyStatus) {
        self.byte(match status {
            KeyStatus::Active => 0,
            KeyStatus::Disabled => 1,
            KeyStatus::Revoked => 2,
        });
    }

    pub(crate) fn moment(&mut self, moment: Timestamp) {
        self.signed(moment.as_millis());
    }

    pub(crate) fn digest(&mut self, digest: &SecretDigest) {
        let (kind, bytes) = match digest {
            SecretDigest::Blake3(digest) => (0, digest.as_bytes()),
            SecretDigest::Sha256(Sha256Digest(digest)) => (1, digest),
        };
        self.byte(kind);
        self.array(bytes);
    }

    /// A key with its secrets.
    pub(crate) fn entry(&mut self, entry: &SecretEntry) {
        let record = &entry.record;
        self.text(record.id.as_str());
        self.text(&record.name);
        self.status(record.status);
        self.optional(record.expires_at, Self::moment);
        self.number(record.revision.0);
        self.tenant(&record.tenant);
        self.owner(record.owner.as_ref());
        self.grants(&record.grants);
        self.list(&entry.secrets, |to, secret| {
            to.digest(&secret.digest);
            to.optional(secret.retired_at, Self::moment);
        });
    }

    fn rule(&mut self, rule: &RawRule) {
        self.texts(&rule.action);
        self.texts(&rule.subject);
        self.optional(rule.role.as_deref(), Self::texts);
        self.byte(u8::from(rule.inverted));
        self.optional(rule.reason.as_deref(), Self::text);
        self.optional(rule.conditions.as_ref(), Self::value);
        self.optional(rule.fields.as_deref(), Self::texts);
        self.optional(rule.priority, Self::float);
        self.optional(rule.unreadable.as_deref(), Self::text);
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.byte(0),
            Value::Bool(false) => self.byte(1),
            Value::Bool(true) => self.byte(2),
            Value::Number(number) => {
                self.byte(3);
                self.float(*number);
            }
            Value::String(text) => {
                self.byte(4);
                self.text(text);
            }
            Value::Array(items) => {
                self.byte(5);
                self.list(items, Self::value);
            }
            Value::Object(members) => {
                self.byte(6);
                self.list(members, |to, (name, value)| {
                    to.text(name);
                    to.value(value);
                });
            }
        }
    }
}

/// Reads what a [`Writer`] wrote, from the front. `None` where it is something else.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'b>(pub(crate) &'b [u8]);

impl<'b> Reader<'b> {
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    pub(crate) fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn float(&mut self) -> Option<f64> {
        self.array().map(u64::from_le_bytes).map(f64::from_bits)
    }

    pub(crate) fn bytes(&mut self) -> Option<&'b [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(crate) fn text(&mut self) -> Option<&'b str> {
        str::from_utf8(self.bytes()?).ok()
    }

    pub(crate) fn owned(&mut self) -> Option<String> {
        self.text().map(str::to_owned)
    }

    #[expect(
        clippy::option_option,
        reason = "absent, and not readable, are two things"
    )]
    pub(crate) fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.byte()? {
            0 => Some(None),
            1 => read(self).map(Some),
            _ => None,
        }
    }

    pub(crate) fn list<T>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let length = self.number()?;
        (0..length).map(|_| read(self)).collect()
    }

    pub(crate) fn texts(&mut self) -> Option<Vec<String>> {
        self.list(Self::owned)
    }

    pub(crate) fn tenant(&mut self) -> Option<Tenant> {
        match self.byte()? {
            TENANT_ORG => Some(Tenant::Org(self.owned()?)),
            TENANT_WORKSPACE => Some(Tenant::Workspace(self.owned()?)),
            TENANT_ACCESS => Some(Tenant::Access),
            _ => None,
        }
    }

    #[expect(
        clippy::option_option,
        reason = "absent, and not readable, are two things"
    )]
    pub(crate) fn owner(&mut self) -> Option<Option<Owner>> {
        self.optional(|from| {
            Some(Owner {
                kind: from.owned()?,
                id: from.owned()?,
            })
        })
    }

    pub(crate) fn grants(&mut self) -> Option<RawGrants> {
        match self.byte()? {
            0 => Some(RawGrants::Org {
                permissions: self.texts()?,
                scopes: self.texts()?,
            }),
            1 => Some(RawGrants::Workspace {
                rules: self.list(Self::rule)?,
            }),
            2 => Some(RawGrants::Access(RawAccess {
                permission_mode: self.owned()?,
                access: self.list(|from| Some((from.owned()?, from.owned()?)))?,
                project: self.optional(Self::owned)?,
            })),
            _ => None,
        }
    }

    pub(crate) fn status(&mut self) -> Option<KeyStatus> {
        match self.byte()? {
            0 => Some(KeyStatus::Active),
            1 => Some(KeyStatus::Disabled),
            2 => Some(KeyStatus::Revoked),
            _ => None,
        }
    }

    pub(crate) fn moment(&mut self) -> Option<Timestamp> {
        self.signed().map(Timestamp::from_millis)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    pub(crate) fn digest(&mut self) -> Option<SecretDigest> {
        match self.byte()? {
            0 => Some(SecretDigest::Blake3(KeyDigest::from_bytes(self.array()?))),
            1 => Some(SecretDigest::Sha256(Sha256Digest(self.array()?))),
            _ => None,
        }
    }

    /// A key with its secrets.
    pub(crate) fn entry(&mut self) -> Option<SecretEntry> {
        let id = KeyId::new(self.text()?);
        let name = self.owned()?;
        let status = self.status()?;
        let expires_at = self.optional(Self::moment)?;
        let revision = Revision(self.number()?);
        let record = KeyRecord {
            id,
            name,
            status,
            expires_at,
            revision,
            tenant: self.tenant()?,
            owner: self.owner()?,
            grants: self.grants()?,
        };
        let secrets = self.list(|from| {
            Some(Secret {
                digest: from.digest()?,
                retired_at: from.optional(Self::moment)?,
            })
        })?;
        Some(SecretEntry {
            record: Arc::new(record),
            secrets,
        })
    }

    /// As many as there are to the end.
    pub(crate) fn all<T>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut items = Vec::new();
        while !self.is_at_end() {
            items.push(read(self)?);
        }
        Some(items)
    }

    /// Whether all of it was read.
    pub(crate) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    fn rule(&mut self) -> Option<RawRule> {
        Some(RawRule {
            action: self.texts()?,
            subject: self.texts()?,
            role: self.optional(Self::texts)?,
            inverted: self.byte()? != 0,
            reason: self.optional(Self::owned)?,
            conditions: self.optional(|from| from.value(VALUE_DEPTH_MAX))?,
            fields: self.optional(Self::texts)?,
            priority: self.optional(Self::float)?,
            unreadable: self.optional(Self::owned)?,
        })
    }

    /// `None`, too, where it is nested deeper than `depth`.
    fn value(&mut self, depth: usize) -> Option<Value> {
        let deeper = depth.checked_sub(1)?;
        Some(match self.byte()? {
            0 => Value::Null,
            1 => Value::Bool(false),
            2 => Value::Bool(true),
            3 => Value::Number(self.float()?),
            4 => Value::String(self.text()?.into()),
            5 => Value::Array(self.list(|from| from.value(deeper))?),
            6 => Value::Object(self.list(|from| Some((from.text()?.into(), from.value(deeper)?)))?),
            _ => return None,
        })
    }
}
