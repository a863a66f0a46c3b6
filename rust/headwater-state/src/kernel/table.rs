//! Tables: a source's or an operator's updates put into a store, or passed on without one.

use bytes::Bytes;

use super::Run;
use crate::row::Row;
use crate::store::{Cell, Slot, StoreKey, Write};

/// Puts new values and forwards changes.
#[derive(Clone, Copy, Debug)]
pub struct TablePut {
    /// The store, if the table is materialised.
    pub store: Option<usize>,
    /// Whether a null key is dropped and counted (sources) or expected not to happen.
    pub drops_null_key: bool,
    /// Whether anything downstream wants the old value.
    pub sends_old: bool,
    /// Whether the old value is the row's own (a join's) instead of what the store held.
    pub keeps_old: bool,
    /// A filter's rule: new and old both null is neither put nor forwarded.
    pub suppresses_null: bool,
}

impl Run<'_> {
    pub(super) fn table_put(&mut self, node: usize, kernel: TablePut, row: &mut Row) {
        let Some(key) = &row.key else {
            self.nodes[node].dropped += u64::from(kernel.drops_null_key);
            return;
        };
        let Some(index) = kernel.store else {
            if !kernel.sends_old {
                row.old = None;
            }
            return self.forward(node, row);
        };
        let store = &mut self.stores.stores[index];
        let slot = row
            .value
            .as_ref()
            .map(|value| Slot { cell: Cell::Bytes(Bytes::copy_from_slice(value)), timestamp: row.timestamp });
        let at = StoreKey { key: key.clone(), start: 0, end: 0 };
        if kernel.suppresses_null && slot.is_none() && store.get(&at).is_none() {
            return;
        }
        let mut write = Write {
            store: index,
            order: &row.order,
            emission: self.emissions,
            timestamp: row.timestamp,
            headers: &row.headers,
            undo: &mut self.stores.undo,
        };
        let previous = store.put(&at, slot, &mut write);
        if store.is_cached {
            return;
        }
        if !kernel.sends_old {
            row.old = None;
        } else if !kernel.keeps_old {
            row.old = previous.map(|slot| store.visible(&slot.cell));
        }
        self.forward(node, row);
    }
}
