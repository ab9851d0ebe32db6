//! What is left to each of many senders, in bounded memory, for a limiter that knows what the figures mean.
//!
//! When there are too many, those that have not asked for longest are forgotten: they start anew with everything. So a
//! flood of senders costs others nothing, and none is ever turned away because of what it did not do. Shares of keys
//! and of client addresses are kept apart: addresses are to be had in any number, keys are not.

use std::array;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use governor::nanos::Nanos;
use governor::state::StateStore;

/// Parts of a memory that are locked apart.
const SHARDS: usize = 16;
/// Keys, or routes as a whole, whose shares are remembered: 18 MB when all are.
const KEYS_MAX: usize = 896_000;
/// Client addresses whose shares are remembered: 5 MB when all are.
const CLIENTS_MAX: usize = 224_000;

/// The name of a share: a keyed hash of whose it is. That two are the same is not to be expected of the number that is
/// remembered, and cannot be brought about from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Share {
    is_of_client: bool,
    name: u64,
}

/// All shares of a gateway. Whoever has a clone has the same ones.
#[derive(Clone)]
pub struct Shares(Arc<Kept>);

struct Kept {
    keys: Memory,
    clients: Memory,
    hasher: RandomState,
    limiters: AtomicU64,
}

impl Default for Shares {
    fn default() -> Self {
        Self(Arc::new(Kept {
            keys: Memory::of(KEYS_MAX),
            clients: Memory::of(CLIENTS_MAX),
            hasher: RandomState::new(),
            limiters: AtomicU64::new(0),
        }))
    }
}

impl fmt::Debug for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shares").finish_non_exhaustive()
    }
}

impl Shares {
    /// A number that no other limiter has. What is kept of a share means something only to the limiter that put it there.
    pub fn next_limiter(&self) -> u64 {
        self.0.limiters.fetch_add(1, Ordering::Relaxed)
    }

    /// The share of somebody.
    pub fn of(&self, is_of_client: bool, whose: &impl Hash) -> Share {
        Share {
            is_of_client,
            name: self.0.hasher.hash_one(whose),
        }
    }
}

impl StateStore for Shares {
    type Key = Share;

    fn measure_and_replace<T, F, E>(&self, share: &Share, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let memory = match share.is_of_client {
            true => &self.0.clients,
            false => &self.0.keys,
        };
        memory.replace(share.name, measure)
    }
}

/// Figures by name, of which those in use are remembered.
struct Memory {
    shards: [Mutex<Shard>; SHARDS],
    /// Names in one generation of one shard.
    most: usize,
}

/// Two generations: a full one takes the place of the one before it, which is forgotten.
#[derive(Default)]
struct Shard {
    recent: HashMap<u64, Nanos>,
    former: HashMap<u64, Nanos>,
}

impl Memory {
    fn of(most: usize) -> Self {
        Self {
            shards: array::from_fn(|_| Mutex::default()),
            most: most / (2 * SHARDS),
        }
    }

    fn replace<T, E>(
        &self,
        name: u64,
        measure: impl Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    ) -> Result<T, E> {
        let shards = SHARDS as u64;
        // The lower bits choose the bucket in the map.
        let shard = usize::try_from((name >> 32) % shards).unwrap_or(0);
        let Some(shard) = self.shards.get(shard) else {
            return measure(None).map(|(answer, _)| answer);
        };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let known = shard.get(name);
        match measure(known) {
            Ok((answer, next)) => {
                shard.put(name, next, self.most);
                Ok(answer)
            }
            Err(refused) => {
                // Whoever goes on asking is not forgotten for it.
                if let Some(known) = known {
                    shard.put(name, known, self.most);
                }
                Err(refused)
            }
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let shards = self.shards.iter().map(|shard| shard.lock().unwrap());
        shards
            .map(|shard| shard.recent.len() + shard.former.len())
            .sum()
    }
}

impl Shard {
    fn get(&self, name: u64) -> Option<Nanos> {
        let known = self.recent.get(&name).or_else(|| self.former.get(&name));
        known.copied()
    }

    fn put(&mut self, name: u64, figure: Nanos, most: usize) {
        if let Some(known) = self.recent.get_mut(&name) {
            *known = figure;
            return;
        }
        if self.recent.len() >= most {
            mem::swap(&mut self.recent, &mut self.former);
            // Keeps its room for the next generation.
            self.recent.clear();
        }
        self.recent.insert(name, figure);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts how often somebody asked; at most `limit` times.
    fn ask(memory: &Memory, name: u64, limit: u64) -> Result<u64, ()> {
        memory.replace(name, |known| {
            let asked = known.map_or(0, Nanos::as_u64) + 1;
            if asked > limit {
                return Err(());
            }
            Ok((asked, asked.into()))
        })
    }

    #[test]
    fn a_flood_of_others_grows_nothing_and_makes_nobody_forgotten_who_asks() {
        const MOST: usize = 3200;
        let memory = Memory::of(MOST);
        let hasher = RandomState::new();
        let stranger = |n: u64| hasher.hash_one(n);
        let owner = stranger(u64::MAX);
        for round in 0..200_u64 {
            let before = round.min(10);
            let answer = ask(&memory, owner, 10);
            let expected = if before < 10 { Ok(before + 1) } else { Err(()) };
            assert_eq!(answer, expected, "in round {round}");
            for n in 0..500 {
                assert_eq!(ask(&memory, stranger(round * 500 + n), 1), Ok(1));
            }
        }
        let remembered = memory.len();
        assert!((MOST / 2..=MOST).contains(&remembered), "{remembered}");
    }

    #[test]
    fn keys_and_clients_do_not_displace_each_other() {
        let shares = Shares::default();
        let key = shares.of(false, &"key");
        let fresh = |known: Option<Nanos>| match known {
            None => Ok(((), Nanos::from(1))),
            Some(_) => Err(()),
        };
        assert_eq!(shares.measure_and_replace(&key, fresh), Ok(()));
        for n in 0..2 * CLIENTS_MAX as u64 {
            let client = Share {
                is_of_client: true,
                name: n << 32,
            };
            assert_eq!(shares.measure_and_replace(&client, fresh), Ok(()));
        }
        assert!(shares.0.clients.len() <= CLIENTS_MAX);
        assert_eq!(shares.measure_and_replace(&key, fresh), Err(()));
    }
}
