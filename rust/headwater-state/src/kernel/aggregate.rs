//! Aggregates over a key, or over a key and a time window.
//!
//! [`AssignWindows`] makes one row of a record for every window that is still open, in ascending start; a window is
//! closed when `end <= stream time - grace`, and each closed one counts as a drop. [`AggregateUpdate`] folds the row
//! into its slot and forwards the change. A fold that is user code has run before, as a stage of its own: its results
//! arrive in the rows.

use bytes::{BufMut, Bytes, BytesMut};

use super::Run;
use crate::row::Row;
use crate::store::{Accumulators, Argument, Cell, Slot, StoreKey, Write};

/// Tumbling and hopping windows; times in ms.
#[derive(Clone, Copy, Debug)]
pub struct AssignWindows {
    /// The aggregate's store, whose clocks are the operator's.
    pub store: usize,
    /// Length of a window.
    pub size: i64,
    /// Distance between window starts.
    pub advance: i64,
    /// How long a window admits records after its end.
    pub grace: i64,
}

/// How an aggregate changes with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// One more.
    Count,
    /// On a grouped table: one less for an old value, one more for a new one.
    TableCount,
    /// The named aggregations of the store's spec; arguments lie packed in `other`.
    Columns,
    /// The result lies in `other`.
    External,
    /// The result of a grouped table's fold lies in `other`.
    TableExternal,
}

/// Puts the updated aggregate and forwards the change.
#[derive(Clone, Debug)]
pub struct AggregateUpdate {
    /// The aggregate's store.
    pub store: usize,
    /// How it folds.
    pub fold: Fold,
    /// Whether keys carry the row's window.
    pub is_windowed: bool,
    /// Whether anything downstream wants the old value.
    pub sends_old: bool,
    /// Old value of the first update: the initializer's, without a cache (Kafka's way).
    pub initial: Option<Bytes>,
}

/// A windowed key in Kafka's layout: key, start.
pub(super) fn window_key(key: &[u8], start: i64) -> Bytes {
    let mut out = BytesMut::with_capacity(key.len() + 8);
    out.put_slice(key);
    out.put_i64(start);
    out.freeze()
}

impl Run<'_> {
    pub(super) fn assign_windows(&mut self, node: usize, kernel: AssignWindows, row: &mut Row) {
        if row.key.is_none() {
            self.nodes[node].dropped += 1;
            return;
        }
        let stores = &mut *self.stores;
        let stream_time = stores.stores[kernel.store].advance(row.timestamp, kernel.store, row.seq(), &mut stores.undo);
        let close = stream_time.saturating_sub(kernel.grace);
        let earliest = row.timestamp.saturating_sub(kernel.size - kernel.advance).max(0);
        let mut upcoming = Some(earliest / kernel.advance * kernel.advance);
        while let Some(start) = upcoming.filter(|start| *start <= row.timestamp) {
            // Behind the last window of all there is no start that an i64 could hold.
            upcoming = start.checked_add(kernel.advance).filter(|next| *next <= row.timestamp);
            if start <= close.saturating_sub(kernel.size) {
                self.drop_late(node, row);
            } else if upcoming.is_none() {
                row.window_start = start;
                return self.forward(node, row);
            } else {
                self.forward(node, &mut Row { window_start: start, ..row.clone() });
            }
        }
    }

    pub(super) fn aggregate_update(&mut self, node: usize, kernel: &AggregateUpdate, row: &mut Row) {
        let Some(key) = row.key.take() else { return };
        let store = &mut self.stores.stores[kernel.store];
        let start = if kernel.is_windowed { row.window_start } else { 0 };
        let at = StoreKey { key, start, end: 0 };
        let (is_cached, spec) = (store.is_cached, store.spec.clone());
        let is_table = matches!(kernel.fold, Fold::TableCount | Fold::TableExternal);
        let carries_time = !is_table || row.old.is_some() || row.value.is_some();
        let (mut timestamp, mut new) = (row.timestamp, None);
        let fold = |held: Option<&Slot>| {
            let cell = match kernel.fold {
                Fold::Count => Cell::Int(count_of(held) + 1),
                Fold::TableCount => {
                    if held.is_none() && row.value.is_none() {
                        return None;
                    }
                    let less = i64::from(row.old.is_some() && held.is_some());
                    Cell::Int(count_of(held) - less + i64::from(row.value.is_some()))
                }
                Fold::Columns => {
                    let spec = spec.as_ref()?;
                    let mut state = match held {
                        Some(Slot { cell: Cell::Accumulators(state), .. }) => state.clone(),
                        _ => Box::new(Accumulators::new(spec)),
                    };
                    let packed = row.other.as_deref().unwrap_or_default();
                    state.add(spec, |index| Argument::unpack(packed, index), row.value.as_ref());
                    Cell::Accumulators(state)
                }
                Fold::External | Fold::TableExternal => {
                    row.other.as_ref().map(|bytes| Cell::Bytes(Bytes::copy_from_slice(bytes)))?
                }
            };
            Some(cell)
        };
        let make = |held: Option<&Slot>| {
            if let Some(held) = held.filter(|_| carries_time) {
                timestamp = timestamp.max(held.timestamp);
            }
            let cell = fold(held)?;
            if !is_cached {
                new = Some(cell.visible(spec.as_deref()));
            }
            Some(Slot { cell, timestamp })
        };
        let mut write = Write {
            store: kernel.store,
            order: &row.order,
            emission: self.emissions,
            // A cached deletion carries the time of the record, not of the aggregate.
            timestamp: row.timestamp,
            headers: &row.headers,
            undo: &mut self.stores.undo,
        };
        let previous = store.update(&at, make, &mut write);
        if is_cached {
            return;
        }
        row.old = match previous {
            Some(slot) if kernel.sends_old => Some(store.visible(&slot.cell)),
            None if kernel.sends_old => kernel.initial.clone(),
            _ => None,
        };
        row.key = Some(if kernel.is_windowed { window_key(&at.key, start) } else { at.key });
        row.value = new;
        row.other = None;
        row.timestamp = timestamp;
        self.forward(node, row);
    }
}

fn count_of(slot: Option<&Slot>) -> i64 {
    match slot {
        Some(Slot { cell: Cell::Int(count), .. }) => *count,
        _ => 0,
    }
}
