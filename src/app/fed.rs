//! What a change of keys is handed to: the gateway's copy of them, then what is in flight under them.

use std::collections::HashSet;
use std::sync::Arc;

use crate::authz::KeyId;
use crate::proxy::Reaper;
use crate::replica::Replica;
use crate::wire::{Change, ChangeSink, Incomplete, KeySource, Settling};

/// A gateway as the embedded control plane feeds it.
pub struct Fed {
    /// Its copy of the keys.
    pub replica: Arc<Replica>,
    /// What ends the traffic of those that died.
    pub reaper: Reaper,
}

impl ChangeSink for Fed {
    fn load(&self, source: &mut dyn KeySource) -> Result<(), Incomplete> {
        self.replica.load(source)
    }

    fn apply(&self, change: &Change) {
        self.replica.apply(change);
    }

    fn settle<'a>(&'a self, change: &'a Change) -> Settling<'a> {
        let put = change.put.iter().map(|entry| &entry.record.id);
        let concerned: HashSet<&KeyId> = put.chain(&change.removed).collect();
        Box::pin(async move { self.reaper.end_dead_of(&concerned).await })
    }

    fn settle_all(&self) -> Settling<'_> {
        Box::pin(self.reaper.end_dead())
    }
}
