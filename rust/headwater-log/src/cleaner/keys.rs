//! The last offset of each key in a stretch of the log, in bounded memory.
//!
//! Keys are kept as they are, not hashed: no collision can ever drop a record. When the map is full the stretch ends there,
//! and the next pass goes on.

use std::collections::HashMap;

/// Memory that the keys of one pass may take.
const BUDGET_BYTES: usize = 64 << 20;
/// What an entry takes beside its key's bytes: the map's slot at its load, and the allocation.
const ENTRY_BYTES: usize = 64;

/// See the module.
#[derive(Debug)]
pub(crate) struct LastOffsets {
    offsets: HashMap<Box<[u8]>, u64>,
    bytes: usize,
    budget: usize,
}

impl Default for LastOffsets {
    fn default() -> Self {
        Self::within(BUDGET_BYTES)
    }
}

impl LastOffsets {
    fn within(budget: usize) -> Self {
        Self { offsets: HashMap::new(), bytes: 0, budget }
    }

    /// Whether no more batches should be taken in. A first batch always is, so that every pass gets on.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= self.budget
    }

    /// Takes in a record, in the log's order.
    pub(crate) fn see(&mut self, key: &[u8], offset: u64) {
        if let Some(last) = self.offsets.get_mut(key) {
            *last = offset;
        } else {
            self.bytes += key.len() + ENTRY_BYTES;
            self.offsets.insert(key.into(), offset);
        }
    }

    /// Whether there is a later record of a key.
    pub(crate) fn is_superseded(&self, key: &[u8], offset: u64) -> bool {
        self.offsets.get(key).is_some_and(|last| *last > offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_of_a_key_counts_and_new_keys_fill_the_map() {
        let mut keys = LastOffsets::within(3 * (ENTRY_BYTES + 1));
        for (offset, key) in [b"a", b"b", b"a", b"a", b"b"].into_iter().enumerate() {
            assert!(!keys.is_full());
            keys.see(key, offset as u64);
        }
        assert_eq!([0, 2, 3].map(|offset| keys.is_superseded(b"a", offset)), [true, true, false]);
        assert!(!keys.is_superseded(b"unknown", 0));
        keys.see(b"c", 5);
        assert!(keys.is_full());
    }
}
