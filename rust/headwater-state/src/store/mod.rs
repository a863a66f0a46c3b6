//! State stores: what a task remembers between records, kept in memory, changelogged and restored.
//!
//! A store holds *slots* (a cell and a timestamp) under a [`StoreKey`]: a key alone, a key and a window start, or a key
//! and a session's bounds. Whatever its shape, a store offers the same four services around each write:
//!
//! * **undo**: the previous slot goes to the batch's undo log, so that a failure at seq *i* rolls back to it;
//! * **as-of reads**: where a reader sits on the far side of a vector stage, writes of the running batch are kept with
//!   their order keys and a read names the order key it reads at;
//! * **cache**: with caching on, a write only marks the key dirty; the flush emits one change per key, in order of last
//!   update, from the value before the first write to the last;
//! * **changelog**: keys written (with a cache: flushed) since the last commit are remembered, and their latest slots are what
//!   the changelog gets.
//!
//! **Invariants**
//! 1. Keys and values in a store own their bytes: a slice of a read buffer is copied before it is kept.
//! 2. All of an operator's memory, clocks included, is in its store, so undo and checkpoint see all of it.

mod cell;
mod join_buffer;
mod shape;

pub use cell::{Accumulators, AggColumn, AggSpec, Argument, Cell, FoldKind, split_rows};
pub use join_buffer::{Dropped, JoinBuffer, JoinSettings, Pair, Side, UnmatchedChange};
pub use shape::{Shape, StoreKey};

use bytes::Bytes;
use hashbrown::HashMap;

use crate::row::{OrderKey, descend};

/// A stored value and the event time it carries.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// The value.
    pub cell: Cell,
    /// Event time, ms.
    pub timestamp: i64,
}

/// A cached write that has not been forwarded yet.
#[derive(Clone, Debug)]
pub(crate) struct Dirty {
    /// What the store held before the first unflushed write.
    before: Option<Slot>,
    timestamp: i64,
    headers: Bytes,
    /// Rank of the last update.
    tick: u64,
}

/// One entry of the undo log.
#[derive(Debug)]
pub(crate) enum Undo {
    Slot { store: usize, key: StoreKey, previous: Option<Slot> },
    Dirty { store: usize, key: StoreKey, previous: Option<Dirty> },
    Flush { store: usize, dirty: Vec<(StoreKey, Dirty)>, flushed: i64 },
    // The two clocks of a store belong to different steps, which run at different levels: each has its own past.
    StreamTime { store: usize, previous: i64 },
    Observed { store: usize, previous: i64 },
    Join { store: usize, entry: join_buffer::JoinUndo },
}

/// The clocks of an operator; -1 is "unset".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// The operator's stream time: the largest timestamp it has seen.
    pub stream_time: i64,
    /// The store's own clock: the largest window start (session end) ever put.
    pub observed: i64,
}

impl Default for Clocks {
    fn default() -> Self {
        Self { stream_time: -1, observed: -1 }
    }
}

/// The undo log of the running batch: what each write replaced, with the order key of the write.
#[derive(Debug, Default)]
pub struct UndoLog {
    entries: Vec<(u32, Undo)>,
    /// Nothing that runs after a store's writes can fail: nothing will ever be rolled back.
    pub is_off: bool,
}

impl UndoLog {
    pub(crate) fn push(&mut self, seq: u32, entry: Undo) {
        if !self.is_off {
            self.entries.push((seq, entry));
        }
    }

    pub(crate) fn push_join(&mut self, seq: u32, store: usize, entry: join_buffer::JoinUndo) {
        self.push(seq, Undo::Join { store, entry });
    }
}

/// A change that a cache flush forwards.
#[derive(Debug)]
pub struct Flushed {
    /// What changed.
    pub key: StoreKey,
    /// The value after the last write.
    pub new: Option<Bytes>,
    /// The value before the first one.
    pub old: Option<Bytes>,
    /// Event time of the last write (of the value, where there is one).
    pub timestamp: i64,
    /// Headers of the record that wrote last.
    pub headers: Bytes,
}

/// A named state store.
#[derive(Debug)]
pub struct Store {
    /// Its name, as in the topology.
    pub name: String,
    shape: Shape,
    /// How cells become visible values.
    pub spec: Option<std::sync::Arc<AggSpec>>,
    /// Visible part of a windowed store: start (end) > observed - retention. `None` = everything.
    pub retention: Option<i64>,
    /// How much further back than `retention` a cached session store sees, 0 without a cache: one more than the gap.
    /// A cache still finds what its store hides, and a late record may merge it with an open session.
    pub reach: i64,
    /// Whether writes are forwarded by flushes instead of at once.
    pub is_cached: bool,
    /// Whether a reader needs to see the store as of an order key.
    pub keeps_history: bool,
    /// Whether written keys are remembered for the changelog.
    pub is_logged: bool,
    /// Clocks of the operator that owns the store.
    pub clocks: Clocks,
    dirty: HashMap<StoreKey, Dirty>,
    tick: u64,
    // The store's own clock without what is still in the cache.
    flushed: i64,
    history: HashMap<StoreKey, Vec<(OrderKey, Option<Slot>)>>,
    changed: HashMap<StoreKey, ()>,
}

/// Where and when a write happens: what undo, history and cache need to know of the row that causes it.
pub struct Write<'a> {
    /// Index of the store in its task.
    pub store: usize,
    /// Order key of the row.
    pub order: &'a OrderKey,
    /// Which emission of the row comes next: behind its order key, it is that of the write.
    pub emission: u32,
    /// The row's own timestamp.
    pub timestamp: i64,
    /// Headers of the row.
    pub headers: &'a Bytes,
    /// The batch's undo log.
    pub undo: &'a mut UndoLog,
}

impl Store {
    /// An empty store.
    pub fn new(name: &str, shape: Shape) -> Self {
        Self {
            name: name.to_owned(),
            shape,
            spec: None,
            retention: None,
            reach: 0,
            flushed: -1,
            is_cached: false,
            keeps_history: false,
            is_logged: false,
            clocks: Clocks::default(),
            dirty: HashMap::new(),
            tick: 0,
            history: HashMap::new(),
            changed: HashMap::new(),
        }
    }

    /// Whether a window start (session end) is still visible.
    pub fn is_visible(&self, time: i64) -> bool {
        self.retention
            .is_none_or(|retention| time > self.clocks.observed.saturating_sub(retention).saturating_sub(self.reach))
    }

    /// The current slot.
    pub fn get(&self, key: &StoreKey) -> Option<&Slot> {
        if !matches!(self.shape, Shape::KeyValue(_)) && !self.is_visible(self.shape.time_of(key)) {
            return None;
        }
        self.shape.get(key)
    }

    /// The slot as rows at `order` see it.
    pub fn get_as_of(&self, key: &StoreKey, order: &OrderKey) -> Option<&Slot> {
        if let Some(versions) = self.history.get(key)
            && let Some((_, previous)) = versions.iter().find(|(written, _)| written > order)
        {
            return previous.as_ref();
        }
        self.get(key)
    }

    /// Puts or deletes (`None`) a slot; returns what was there. Marks the key dirty if the store is cached.
    pub fn put(&mut self, key: &StoreKey, slot: Option<Slot>, write: &mut Write<'_>) -> Option<Slot> {
        self.update(key, |_| slot, write)
    }

    /// Puts or deletes (`None`) what `make` makes of the current slot; otherwise as [`put`](Self::put).
    pub fn update(
        &mut self,
        key: &StoreKey,
        make: impl FnOnce(Option<&Slot>) -> Option<Slot>,
        write: &mut Write<'_>,
    ) -> Option<Slot> {
        let is_visible = !self.is_windowed() || self.is_visible(self.shape.time_of(key));
        let seq = seq_of(write.order);
        if self.is_windowed() {
            let time = self.shape.time_of(key);
            if time > self.clocks.observed {
                write.undo.push(seq, Undo::Observed { store: write.store, previous: self.clocks.observed });
                self.clocks.observed = time;
            }
        }
        let previous = self.shape.update(key, |held| make(held.filter(|_| is_visible)));
        if self.keeps_history {
            let order = descend(write.order, write.emission);
            self.history.entry(key.clone()).or_default().push((order, previous.clone()));
        }
        if self.is_cached {
            self.mark_dirty(key, previous.as_ref(), seq, write); // the flush will log it
        } else if self.is_logged && !self.changed.contains_key(key) {
            self.changed.insert(StoreKey::owned(&key.key, key.start, key.end), ());
        }
        if !write.undo.is_off {
            write.undo.push(seq, Undo::Slot { store: write.store, key: key.clone(), previous: previous.clone() });
        }
        previous
    }

    fn mark_dirty(&mut self, key: &StoreKey, previous: Option<&Slot>, seq: u32, write: &mut Write<'_>) {
        self.tick += 1;
        if !write.undo.is_off {
            let held = self.dirty.get(key).cloned();
            write.undo.push(seq, Undo::Dirty { store: write.store, key: key.clone(), previous: held });
        }
        let (timestamp, headers, tick) = (write.timestamp, write.headers.clone(), self.tick);
        if let Some(dirty) = self.dirty.get_mut(key) {
            (dirty.timestamp, dirty.headers, dirty.tick) = (timestamp, headers, tick);
        } else {
            let entry = Dirty { before: previous.cloned(), timestamp, headers, tick };
            self.dirty.insert(StoreKey::owned(&key.key, key.start, key.end), entry);
        }
    }

    /// Moves the operator's stream time forward; returns the new one.
    pub fn advance(&mut self, timestamp: i64, store: usize, seq: u32, undo: &mut UndoLog) -> i64 {
        if timestamp > self.clocks.stream_time {
            undo.push(seq, Undo::StreamTime { store, previous: self.clocks.stream_time });
            self.clocks.stream_time = timestamp;
        }
        self.clocks.stream_time
    }

    /// Sessions of `key` with `end >= earliest_end` and `start <= latest_start`, by (end, start).
    pub fn sessions(&self, key: &[u8], earliest_end: i64, latest_start: i64) -> Vec<(StoreKey, Slot)> {
        let mut found = self.shape.sessions(key, earliest_end, latest_start);
        if self.reach == 0 {
            found.retain(|(key, _)| self.is_visible(key.end));
        }
        found
    }

    /// Takes the dirty keys, in order of last update: what a flush makes [changes](Self::flushed) of.
    pub(crate) fn take_dirty(&mut self, store: usize, seq: u32, undo: &mut UndoLog) -> Vec<(StoreKey, Dirty)> {
        let mut dirty: Vec<(StoreKey, Dirty)> = self.dirty.drain().collect();
        dirty.sort_by_cached_key(|(_, entry)| entry.tick);
        if !undo.is_off && !dirty.is_empty() {
            undo.push(seq, Undo::Flush { store, dirty: dirty.clone(), flushed: self.flushed });
        }
        if self.is_logged {
            self.changed.extend(dirty.iter().map(|(key, _)| (key.clone(), ())));
        }
        dirty
    }

    /// The change that a dirty key's flush forwards, if any.
    pub(crate) fn flushed(&mut self, key: StoreKey, entry: Dirty) -> Option<Flushed> {
        let now = self.shape.get(&key);
        let new = now.map(|slot| self.visible(&slot.cell));
        let time = self.shape.time_of(&key);
        let hides_old = self.is_windowed() && self.retention.is_some_and(|keeps| time <= self.flushed - keeps);
        let old = entry.before.as_ref().filter(|_| !hides_old).map(|slot| self.visible(&slot.cell));
        let timestamp = now.map_or(entry.timestamp, |slot| slot.timestamp);
        self.flushed = self.flushed.max(time);
        (new.is_some() || old.is_some()).then_some(Flushed { key, new, old, timestamp, headers: entry.headers })
    }

    /// The bytes that the topology sees of a cell.
    pub fn visible(&self, cell: &Cell) -> Bytes {
        cell.visible(self.spec.as_deref())
    }

    /// How many bytes of window stand behind the key in serialised keys: none, a start, or an end and a start.
    pub fn key_suffix(&self) -> usize {
        match self.shape {
            Shape::KeyValue(_) => 0,
            Shape::Window(_) => 8,
            Shape::Session(_) => 16,
        }
    }

    /// Whether keys carry a window.
    pub fn is_windowed(&self) -> bool {
        !matches!(self.shape, Shape::KeyValue(_))
    }

    /// Ends the batch: forgets history and drops what has expired. While something waits for a flush nothing is dropped:
    /// a window may open, close and expire between two flushes, and its result has yet to be forwarded.
    pub fn end_batch(&mut self) {
        self.history.clear();
        if let Some(retention) = self.retention.filter(|_| self.dirty.is_empty()) {
            self.shape.expire(self.clocks.observed.saturating_sub(retention).saturating_sub(self.reach), self.reach);
        }
    }

    /// Every visible slot, by (key bytes, start, end).
    pub fn entries(&self) -> Vec<(StoreKey, Slot)> {
        let mut all = self.shape.entries();
        if self.is_windowed() {
            all.retain(|(key, _)| self.is_visible(self.shape.time_of(key)));
        }
        all.sort_unstable_by(|(a, _), (b, _)| (&a.key, a.start, a.end).cmp(&(&b.key, b.start, b.end)));
        all
    }

    /// Takes the keys written since the last call with their present slots, for the changelog.
    pub fn take_changed(&mut self) -> Vec<(StoreKey, Option<Slot>)> {
        let with_slot = |(key, ())| {
            let slot = self.shape.get(&key).cloned();
            (key, slot)
        };
        self.changed.drain().map(with_slot).collect()
    }

    /// Lets the changelog get every slot anew, so that what it held before need not be kept.
    pub fn mark_all_changed(&mut self) {
        for (key, _) in self.shape.entries() {
            self.changed.insert(key, ());
        }
    }

    /// Sets restored clocks; a commit has flushed whatever was in the cache.
    pub fn restore_clocks(&mut self, clocks: Clocks) {
        self.clocks = clocks;
        self.flushed = clocks.observed;
    }

    /// Puts a restored slot: no undo, no cache, no changelog.
    pub fn restore(&mut self, key: StoreKey, slot: Option<Slot>) {
        self.shape.update(&key, |_| slot);
    }

    /// Number of slots.
    pub fn len(&self) -> usize {
        self.shape.len()
    }

    /// Whether there is no slot.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn undo(&mut self, entry: Undo) {
        match entry {
            Undo::Slot { key, previous, .. } => {
                if self.is_logged {
                    self.changed.insert(key.clone(), ());
                }
                self.shape.update(&key, |_| previous);
            }
            Undo::Dirty { key, previous, .. } => {
                match previous {
                    Some(dirty) => self.dirty.insert(key, dirty),
                    None => self.dirty.remove(&key),
                };
            }
            Undo::Flush { dirty, flushed, .. } => {
                self.dirty = dirty.into_iter().collect();
                self.flushed = flushed;
            }
            Undo::StreamTime { previous, .. } => self.clocks.stream_time = previous,
            Undo::Observed { previous, .. } => self.clocks.observed = previous,
            Undo::Join { .. } => {}
        }
    }
}

/// The stores of one task: named ones and join buffers.
#[derive(Debug, Default)]
pub struct Stores {
    /// Key-value, window and session stores.
    pub stores: Vec<Store>,
    /// Buffers of stream-stream joins.
    pub joins: Vec<JoinBuffer>,
    /// What the running batch has replaced.
    pub undo: UndoLog,
}

impl Stores {
    /// Rolls back every write of rows with `seq >= limit`.
    pub fn roll_back(&mut self, limit: u32) {
        let entries = std::mem::take(&mut self.undo.entries);
        let mut kept = Vec::new();
        for (seq, entry) in entries.into_iter().rev() {
            if seq < limit {
                kept.push((seq, entry));
                continue;
            }
            match entry {
                Undo::Join { store, entry } => self.joins[store].undo(entry),
                Undo::Slot { store, .. }
                | Undo::Dirty { store, .. }
                | Undo::Flush { store, .. }
                | Undo::StreamTime { store, .. }
                | Undo::Observed { store, .. } => {
                    self.stores[store].undo(entry);
                }
            }
        }
        kept.reverse();
        self.undo.entries = kept;
    }

    /// Ends the batch: its writes can no longer be rolled back.
    pub fn end_batch(&mut self) {
        self.undo.entries.clear();
        for store in &mut self.stores {
            store.end_batch();
        }
        for join in &mut self.joins {
            join.end_batch();
        }
    }
}

pub(crate) fn seq_of(order: &OrderKey) -> u32 {
    order.first().map_or(0, |head| head >> 2)
}
