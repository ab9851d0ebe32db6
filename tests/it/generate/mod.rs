//! What the generated checks are made of. Vocabularies are small, so that things meet; most of what is made is
//! well formed, so that much is allowed.

pub mod grants;
pub mod request;
pub mod rule;
pub mod world;

/// A source of choices that always makes the same ones for a seed (SplitMix64), or for some bytes.
#[derive(Debug)]
pub struct Gen {
    seed: u64,
    bytes: std::collections::VecDeque<u8>,
}

impl Gen {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            bytes: [].into(),
        }
    }

    /// A choice a byte for as long as they last, so that whoever changes a byte changes a choice.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self {
            seed: 0,
            bytes: bytes.iter().copied().collect(),
        }
    }

    fn next(&mut self) -> u64 {
        if let Some(byte) = self.bytes.pop_front() {
            return byte.into();
        }
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    /// One of `these`.
    pub fn pick<'a, T: ?Sized>(&mut self, these: &[&'a T]) -> &'a T {
        these[self.below(these.len())]
    }

    /// One of `these`, by value.
    pub fn one<T: Clone>(&mut self, these: &[T]) -> T {
        these[self.below(these.len())].clone()
    }

    /// `least` to `most` things.
    pub fn list<T>(
        &mut self,
        least: usize,
        most: usize,
        mut make: impl FnMut(&mut Self) -> T,
    ) -> Vec<T> {
        let length = least + self.below(most - least + 1);
        (0..length).map(|_| make(self)).collect()
    }

    /// Something in so many of a hundred cases.
    pub fn maybe<T>(&mut self, chance: usize, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.percent(chance).then(|| make(self))
    }

    /// The things in another order.
    pub fn shuffled<T: Clone>(&mut self, things: &[T]) -> Vec<T> {
        let mut rest = things.to_vec();
        (0..things.len())
            .map(|_| rest.swap_remove(self.below(rest.len())))
            .collect()
    }
}
