//! Joins: stream-stream pairs, and reading tables.
//!
//! Joiners are user code, so they are vector stages behind these kernels: a stream-stream join emits the pair of
//! values, a lookup adds what it found to the row. A lookup reads *as of* the row's order key, since the table's
//! writer may have run ahead of a reader on the far side of a vector stage.

use bytes::Bytes;

use super::Run;
use crate::row::{OrderKey, Row, descend};
use crate::store::{Dropped, Pair, Side, Store, StoreKey};

/// Emits (left, right) pairs in `value` and `other`.
#[derive(Clone, Copy, Debug)]
pub struct StreamJoin {
    /// Its buffer.
    pub join: usize,
}

/// Reads stores for a row.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// The stores to read.
    pub stores: Vec<usize>,
    /// Whether the key to look up lies in `other` instead of being the row's.
    pub uses_other: bool,
    /// Whether a null key is dropped and counted; otherwise it finds nothing.
    pub drops_null_key: bool,
    /// Whether a null value is dropped and counted.
    pub drops_null_value: bool,
}

pub(super) fn row_of(pair: Pair, order: OrderKey, key: Option<Bytes>, headers: Bytes) -> Row {
    Row {
        order,
        timestamp: pair.timestamp,
        key: pair.key.or(key),
        value: pair.left,
        other: pair.right,
        headers,
        ..Row::default()
    }
}

/// Serialised key bytes of a store key: the inverse of [`store_key`].
pub fn serialised_key(store: &Store, key: &StoreKey) -> Bytes {
    match store.key_suffix() {
        8 => super::aggregate::window_key(&key.key, key.start),
        16 => super::session::session_key(key),
        _ => key.key.clone(),
    }
}

/// The store key of serialised key bytes, which carry the window where the store has windows.
pub fn store_key(store: &Store, key: &Bytes) -> StoreKey {
    let number = |from: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&key[from..from + 8]);
        i64::from_be_bytes(word)
    };
    let length = key.len();
    match store.key_suffix() {
        8 if length >= 8 => StoreKey { key: key.slice(..length - 8), start: number(length - 8), end: 0 },
        16 if length >= 16 => {
            StoreKey { key: key.slice(..length - 16), start: number(length - 8), end: number(length - 16) }
        }
        _ => StoreKey { key: key.clone(), start: 0, end: 0 },
    }
}

impl Run<'_> {
    pub(super) fn stream_join(&mut self, node: usize, kernel: StreamJoin, input: u8, row: &Row) {
        let side = if input == 0 { Side::Left } else { Side::Right };
        let seq = row.seq();
        let stores = &mut *self.stores;
        let (joins, undo) = (&mut stores.joins, &mut stores.undo);
        let mut pairs = Vec::new();
        let dropped = joins[kernel.join].process(
            side,
            row.key.as_ref(),
            row.value.as_ref(),
            row.timestamp,
            &mut |entry| undo.push_join(seq, kernel.join, entry),
            &mut |pair| pairs.push(pair),
        );
        match dropped {
            Some(Dropped::Late) => self.drop_late(node, row),
            Some(Dropped::Null) => self.nodes[node].dropped += 1,
            None => {}
        }
        for pair in pairs {
            self.forward(node, &mut row_of(pair, row.order.clone(), row.key.clone(), row.headers.clone()));
        }
    }

    pub(super) fn lookup(&mut self, node: usize, kernel: &Lookup, row: &mut Row) {
        let key = if kernel.uses_other { row.other.take() } else { row.key.clone() };
        if (kernel.drops_null_value && row.value.is_none()) || (kernel.drops_null_key && key.is_none()) {
            self.nodes[node].dropped += 1;
            return;
        }
        // Writes that this row has made on its way here, in this very segment, are tagged with its emissions so far.
        let order = descend(&row.order, self.emissions);
        row.lookups = kernel
            .stores
            .iter()
            .map(|index| {
                let store = &self.stores.stores[*index];
                let slot = store.get_as_of(&store_key(store, key.as_ref()?), &order)?;
                Some((store.visible(&slot.cell), slot.timestamp))
            })
            .collect();
        self.forward(node, row);
    }
}
