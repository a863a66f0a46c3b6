//! Aggregates over sessions.
//!
//! A record merges every session within the gap, in order of end; each merged session that is not the result itself
//! is removed, with a tombstone at its own end, before the result is put. A record is late only if the *merged*
//! session has closed. Reading ([`find`]) and writing ([`write`]) are apart, so that a fold that is user code can run
//! between them.

use bytes::{BufMut, Bytes, BytesMut};

use super::Run;
use super::aggregate::Fold;
use crate::row::Row;
use crate::store::{Accumulators, Argument, Cell, Slot, StoreKey, Stores, Write};

/// A session aggregate whose fold is Rust's.
#[derive(Clone, Copy, Debug)]
pub struct SessionUpdate {
    /// The aggregate's store and windows.
    pub window: SessionWindow,
    /// `Count` or `Columns`.
    pub fold: Fold,
    /// Whether anything downstream wants the old value.
    pub sends_old: bool,
}

/// Session windows over a store; times in ms.
#[derive(Clone, Copy, Debug)]
pub struct SessionWindow {
    /// The store.
    pub store: usize,
    /// Largest distance inside a session.
    pub gap: i64,
    /// How long a session admits records.
    pub grace: i64,
}

/// The sessions that a record merges, and the bounds of the result.
#[derive(Debug)]
pub struct Merged {
    /// The sessions, by end.
    pub sessions: Vec<(StoreKey, Slot)>,
    /// First instant of the result.
    pub start: i64,
    /// Last instant.
    pub end: i64,
}

/// A session key in Kafka's layout: key, end, start.
pub(super) fn session_key(key: &StoreKey) -> Bytes {
    let mut out = BytesMut::with_capacity(key.key.len() + 16);
    out.put_slice(&key.key);
    out.put_i64(key.end);
    out.put_i64(key.start);
    out.freeze()
}

/// Finds what a record merges; `None` if the result would be late. The key must not be null.
pub fn find(stores: &mut Stores, window: SessionWindow, row: &Row) -> Option<Merged> {
    let store = &mut stores.stores[window.store];
    let stream_time = store.advance(row.timestamp, window.store, row.seq(), &mut stores.undo);
    let key = row.key.as_deref().unwrap_or_default();
    let sessions =
        store.sessions(key, row.timestamp.saturating_sub(window.gap), row.timestamp.saturating_add(window.gap));
    let start = sessions.iter().map(|(key, _)| key.start).min().map_or(row.timestamp, |s| s.min(row.timestamp));
    let end = sessions.iter().map(|(key, _)| key.end).max().map_or(row.timestamp, |e| e.max(row.timestamp));
    (end >= stream_time.saturating_sub(window.grace).saturating_sub(window.gap)).then_some(Merged {
        sessions,
        start,
        end,
    })
}

/// Writes a merged session and gives the rows to forward, without their ports' order keys.
pub fn write(
    stores: &mut Stores,
    window: SessionWindow,
    row: &Row,
    emission: u32,
    merged: &Merged,
    new: Option<Cell>,
    sends_old: bool,
) -> Vec<Row> {
    let store = &mut stores.stores[window.store];
    let mut rows = Vec::new();
    let result = StoreKey { key: row.key.clone().unwrap_or_default(), start: merged.start, end: merged.end };
    let mut forward = |key: &StoreKey, value: Option<Bytes>, old: Option<Bytes>| {
        rows.push(Row {
            order: row.order.clone(),
            timestamp: key.end,
            key: Some(session_key(key)),
            value,
            old,
            ..Row::default()
        });
    };
    // A macro, not a closure: between the puts the store is read, and each put borrows store and undo log apart.
    macro_rules! put {
        ($key:expr, $slot:expr, $time:expr) => {
            store.put(
                $key,
                $slot,
                &mut Write {
                    store: window.store,
                    order: &row.order,
                    emission,
                    timestamp: $time,
                    headers: &row.headers,
                    undo: &mut stores.undo,
                },
            )
        };
    }
    if (merged.start, merged.end) != (row.timestamp, row.timestamp) {
        for (key, slot) in &merged.sessions {
            put!(key, None, key.end);
            if !store.is_cached {
                let old = sends_old.then(|| store.visible(&slot.cell));
                forward(key, None, old);
            }
        }
    }
    let slot = new.map(|cell| Slot { cell, timestamp: merged.end });
    let value = slot.as_ref().map(|slot| store.visible(&slot.cell));
    put!(&result, slot, merged.end);
    if !store.is_cached {
        forward(&result, value, None);
    }
    rows
}

impl Run<'_> {
    pub(super) fn session_update(&mut self, node: usize, kernel: SessionUpdate, row: &mut Row) {
        if row.key.is_none() {
            self.nodes[node].dropped += 1;
            return;
        }
        let Some(merged) = find(self.stores, kernel.window, row) else {
            return self.drop_late(node, row);
        };
        let cells = merged.sessions.iter().map(|(_, slot)| &slot.cell);
        let cell = match (kernel.fold, self.stores.stores[kernel.window.store].spec.clone()) {
            (Fold::Columns, Some(spec)) => {
                let mut state = Box::new(Accumulators::new(&spec));
                for cell in cells {
                    if let Cell::Accumulators(session) = cell {
                        state.merge(&spec, session);
                    }
                }
                let packed = row.other.take().unwrap_or_default();
                state.add(&spec, |index| Argument::unpack(&packed, index), row.value.as_ref());
                Cell::Accumulators(state)
            }
            _ => Cell::Int(cells.map(|cell| if let Cell::Int(count) = cell { *count } else { 0 }).sum::<i64>() + 1),
        };
        let written = write(self.stores, kernel.window, row, self.emissions, &merged, Some(cell), kernel.sends_old);
        for mut row in written {
            self.forward(node, &mut row);
        }
    }
}

/// The rows of a flush of a cached session store, for a caller that runs the fold itself.
pub fn flush(stores: &mut Stores, store: usize, order: &[u32], sends_old: bool) -> Vec<Row> {
    let seq = order.first().map_or(0, |head| head >> 2);
    let flushed = &mut stores.stores[store];
    flushed
        .take_dirty(store, seq, &mut stores.undo)
        .into_iter()
        .filter_map(|(key, dirty)| flushed.flushed(key, dirty))
        .enumerate()
        .map(|(index, change)| Row {
            order: order.iter().copied().chain([index as u32]).collect(),
            timestamp: change.timestamp,
            key: Some(session_key(&change.key)),
            value: change.new,
            old: change.old.filter(|_| sends_old),
            headers: change.headers,
            ..Row::default()
        })
        .collect()
}
