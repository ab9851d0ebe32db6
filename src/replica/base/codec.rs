//! Key records as bytes: what is the same in many keys (tenant, owner, grants) apart, so that it is kept once.
//!
//! The form is this process's own; nothing outside ever reads it.

use crate::authz::{
    Family, KeyId, KeyRecord, KeyStatus, Owner, RawAccess, RawGrants, RawRule, Revision, Tenant,
    Timestamp, Value,
};

const TENANT_ORG: u8 = 0;
const TENANT_WORKSPACE: u8 = 1;
const TENANT_ACCESS: u8 = 2;

/// A record whose shareable parts are still encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordView<'a> {
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) status: KeyStatus,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) revision: Revision,
    pub(super) shared: Shared<&'a [u8]>,
}

/// The parts that many keys have in common, encoded or as references to where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Shared<T> {
    pub(super) tenant: T,
    pub(super) owner: T,
    pub(super) grants: T,
}

impl Shared<Vec<u8>> {
    /// Encodes the parts of `record`, over whatever was here.
    pub(super) fn encode(&mut self, record: &KeyRecord) {
        self.tenant.clear();
        self.owner.clear();
        self.grants.clear();
        Writer(&mut self.tenant).tenant(&record.tenant);
        Writer(&mut self.owner).owner(record.owner.as_ref());
        Writer(&mut self.grants).grants(&record.grants);
    }

    pub(super) fn view<'a>(&'a self, record: &'a KeyRecord) -> RecordView<'a> {
        RecordView {
            id: record.id.as_str(),
            name: &record.name,
            status: record.status,
            expires_at: record.expires_at,
            revision: record.revision,
            shared: Shared {
                tenant: &self.tenant,
                owner: &self.owner,
                grants: &self.grants,
            },
        }
    }
}

impl<'a> RecordView<'a> {
    /// The record. `None` would mean that these are not the bytes of one.
    pub(super) fn decode(&self) -> Option<KeyRecord> {
        Some(KeyRecord {
            id: KeyId::new(self.id),
            tenant: Reader(self.shared.tenant).tenant()?,
            name: self.name.to_owned(),
            owner: Reader(self.shared.owner).owner()?,
            status: self.status,
            expires_at: self.expires_at,
            grants: Reader(self.shared.grants).grants()?,
            revision: self.revision,
        })
    }

    /// The family, which the tenant decides.
    pub(super) fn family(&self) -> Option<Family> {
        match Reader(self.shared.tenant).byte()? {
            TENANT_ORG => Some(Family::Org),
            TENANT_WORKSPACE => Some(Family::Workspace),
            TENANT_ACCESS => Some(Family::Access),
            _ => None,
        }
    }

    /// Appends everything but the shared parts, of which only the places are kept.
    pub(super) fn write(&self, places: Shared<u64>, bytes: &mut Vec<u8>) {
        let mut to = Writer(bytes);
        to.text(self.id);
        to.text(self.name);
        to.byte(match self.status {
            KeyStatus::Active => 0,
            KeyStatus::Disabled => 1,
            KeyStatus::Revoked => 2,
        });
        to.optional(self.expires_at, |to, at| to.signed(at.as_millis()));
        to.number(self.revision.0);
        to.number(places.tenant);
        to.number(places.owner);
        to.number(places.grants);
    }

    /// Reads what [`Self::write`] wrote; `at` finds the shared parts.
    pub(super) fn read(bytes: &'a [u8], at: impl Fn(u64) -> Option<&'a [u8]>) -> Option<Self> {
        let mut from = Reader(bytes);
        Some(Self {
            id: from.text()?,
            name: from.text()?,
            status: match from.byte()? {
                0 => KeyStatus::Active,
                1 => KeyStatus::Disabled,
                2 => KeyStatus::Revoked,
                _ => return None,
            },
            expires_at: from.optional(|from| Some(Timestamp::from_millis(from.signed()?)))?,
            revision: Revision(from.number()?),
            shared: Shared {
                tenant: at(from.number()?)?,
                owner: at(from.number()?)?,
                grants: at(from.number()?)?,
            },
        })
    }
}

/// Appends a part with its length before it.
pub(super) fn write_part(part: &[u8], bytes: &mut Vec<u8>) {
    let mut to = Writer(bytes);
    to.bytes(part);
}

/// Reads what [`write_part`] wrote at the beginning of `bytes`.
pub(super) fn read_part(bytes: &[u8]) -> Option<&[u8]> {
    Reader(bytes).bytes()
}

struct Writer<'b>(&'b mut Vec<u8>);

impl Writer<'_> {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// Seven bits a byte, the lowest first.
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.byte(number.to_le_bytes()[0]);
    }

    fn signed(&mut self, number: i64) {
        self.number((number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned());
    }

    fn float(&mut self, number: f64) {
        self.0.extend_from_slice(&number.to_bits().to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn list<T>(&mut self, values: &[T], write: impl Fn(&mut Self, &T)) {
        self.number(values.len() as u64);
        for value in values {
            write(self, value);
        }
    }

    fn texts(&mut self, texts: &[String]) {
        self.list(texts, |to, text| to.text(text));
    }

    fn tenant(&mut self, tenant: &Tenant) {
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

    fn owner(&mut self, owner: Option<&Owner>) {
        self.optional(owner, |to, owner| {
            to.text(&owner.kind);
            to.text(&owner.id);
        });
    }

    fn grants(&mut self, grants: &RawGrants) {
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
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn number(&mut self) -> Option<u64> {
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

    fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn float(&mut self) -> Option<f64> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(f64::from_bits(u64::from_le_bytes(*bytes)))
    }

    fn bytes(&mut self) -> Option<&'b [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<&'b str> {
        str::from_utf8(self.bytes()?).ok()
    }

    fn owned(&mut self) -> Option<String> {
        self.text().map(str::to_owned)
    }

    #[expect(
        clippy::option_option,
        reason = "absent, and not readable, are two things"
    )]
    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.byte()? {
            0 => Some(None),
            1 => read(self).map(Some),
            _ => None,
        }
    }

    fn list<T>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let length = self.number()?;
        (0..length).map(|_| read(self)).collect()
    }

    fn texts(&mut self) -> Option<Vec<String>> {
        self.list(Self::owned)
    }

    fn tenant(&mut self) -> Option<Tenant> {
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
    fn owner(&mut self) -> Option<Option<Owner>> {
        self.optional(|from| {
            Some(Owner {
                kind: from.owned()?,
                id: from.owned()?,
            })
        })
    }

    fn grants(&mut self) -> Option<RawGrants> {
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

    fn rule(&mut self) -> Option<RawRule> {
        Some(RawRule {
            action: self.texts()?,
            subject: self.texts()?,
            role: self.optional(Self::texts)?,
            inverted: self.byte()? != 0,
            reason: self.optional(Self::owned)?,
            conditions: self.optional(Self::value)?,
            fields: self.optional(Self::texts)?,
            priority: self.optional(Self::float)?,
            unreadable: self.optional(Self::owned)?,
        })
    }

    fn value(&mut self) -> Option<Value> {
        Some(match self.byte()? {
            0 => Value::Null,
            1 => Value::Bool(false),
            2 => Value::Bool(true),
            3 => Value::Number(self.float()?),
            4 => Value::String(self.text()?.into()),
            5 => Value::Array(self.list(Self::value)?),
            6 => Value::Object(self.list(|from| Some((from.text()?.into(), from.value()?)))?),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{RecordView, Shared};
    use crate::replica::samples;

    proptest! {
        #[test]
        fn what_was_written_is_read(record in samples::record()) {
            let mut encoded = Shared::default();
            encoded.encode(&record);
            let view = encoded.view(&record);
            let parts = [view.shared.tenant, view.shared.owner, view.shared.grants];
            let places = Shared { tenant: 0, owner: 1, grants: 2 };

            let mut bytes = Vec::new();
            view.write(places, &mut bytes);
            let at = |place: u64| parts.get(usize::try_from(place).ok()?).copied();
            prop_assert_eq!(RecordView::read(&bytes, at), Some(view));
            prop_assert_eq!(view.decode(), Some(record));
        }

        #[test]
        fn other_bytes_are_no_record_and_no_panic(bytes: Vec<u8>, part: Vec<u8>) {
            if let Some(view) = RecordView::read(&bytes, |_| Some(&part)) {
                let _ = view.decode();
            }
        }
    }
}
