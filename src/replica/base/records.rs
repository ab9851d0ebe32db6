//! Key records, encoded one after another, with what many have in common kept once; found by number and by id.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::codec::{self, RecordView, Shared};
use super::table::{Row, index};

/// See the head of this file. Keys are numbered in the order in which they came.
#[derive(Default)]
pub(super) struct Records {
    /// Where in `bytes` each record is.
    offsets: Vec<u64>,
    /// Records, and the parts that they share, each part with its length before it.
    bytes: Vec<u8>,
    /// Numbers of the keys.
    by_id: HashTable<u32>,
    hashing: RandomState,
}

/// Where the shared parts are, by what they are. Needed only while records are added.
#[derive(Default)]
pub(super) struct Parts {
    places: HashTable<u64>,
}

impl Records {
    pub(super) fn with_capacity(keys: usize) -> Self {
        Self {
            offsets: Vec::with_capacity(keys),
            by_id: HashTable::with_capacity(keys),
            ..Self::default()
        }
    }

    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Adds a record and gives its number. `None`: its id is there already, or no number is left.
    pub(super) fn push(&mut self, view: &RecordView<'_>, parts: &mut Parts) -> Option<u32> {
        let number = u32::try_from(self.offsets.len())
            .ok()
            .filter(|number| *number != Row::LAST)?;
        let Self {
            offsets,
            bytes,
            by_id,
            hashing,
        } = self;
        let id_of = |number: &u32| read(offsets, bytes, *number).map_or("", |view| view.id);
        let entry = by_id.entry(
            hashing.hash_one(view.id),
            |other| id_of(other) == view.id,
            |other| hashing.hash_one(id_of(other)),
        );
        let Entry::Vacant(vacant) = entry else {
            return None;
        };
        vacant.insert(number);
        let places = Shared {
            tenant: parts.place(view.shared.tenant, bytes, hashing),
            owner: parts.place(view.shared.owner, bytes, hashing),
            grants: parts.place(view.shared.grants, bytes, hashing),
        };
        offsets.push(bytes.len() as u64);
        view.write(places, bytes);
        Some(number)
    }

    /// Gives back what was held for more records.
    pub(super) fn shrink(&mut self) {
        self.offsets.shrink_to_fit();
        self.bytes.shrink_to_fit();
    }

    /// The record of a number.
    pub(super) fn view(&self, number: u32) -> Option<RecordView<'_>> {
        read(&self.offsets, &self.bytes, number)
    }

    /// The number of an id.
    pub(super) fn number(&self, id: &str) -> Option<u32> {
        self.by_id
            .find(self.hashing.hash_one(id), |number| {
                self.view(*number).is_some_and(|view| view.id == id)
            })
            .copied()
    }

    /// Bytes of memory that they take.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.offsets) + self.bytes.len() + self.by_id.allocation_size()
    }
}

fn read<'b>(offsets: &[u64], bytes: &'b [u8], number: u32) -> Option<RecordView<'b>> {
    let from = |offset: u64| bytes.get(usize::try_from(offset).ok()?..);
    RecordView::read(from(*offsets.get(index(number))?)?, |place| {
        codec::read_part(from(place)?)
    })
}

impl Parts {
    /// The place of a part, which is added where it is new.
    fn place(&mut self, part: &[u8], bytes: &mut Vec<u8>, hashing: &RandomState) -> u64 {
        let at = |place: &u64| {
            let from = usize::try_from(*place)
                .ok()
                .and_then(|place| bytes.get(place..));
            from.and_then(codec::read_part).unwrap_or_default()
        };
        let entry = self.places.entry(
            hashing.hash_one(part),
            |place| at(place) == part,
            |place| hashing.hash_one(at(place)),
        );
        match entry {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                let place = bytes.len() as u64;
                new.insert(place);
                codec::write_part(part, bytes);
                place
            }
        }
    }
}
