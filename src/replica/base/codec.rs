//! Key records with what is the same in many keys (tenant, owner, grants) apart, so that it is kept once.
//!
//! Values are encoded as everywhere; the places of the shared parts are this process's own affair.

use crate::authz::{Family, KeyId, KeyRecord, KeyStatus, Revision, Timestamp};
use crate::wire::codec::{Reader, TENANT_ACCESS, TENANT_ORG, TENANT_WORKSPACE, Writer};

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
        to.status(self.status);
        to.optional(self.expires_at, Writer::moment);
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
            status: from.status()?,
            expires_at: from.optional(Reader::moment)?,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{RecordView, Shared};
    use crate::wire::samples;

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
