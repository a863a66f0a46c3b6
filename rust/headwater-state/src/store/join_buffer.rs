//! Both sides of a stream-stream join: the records that may still find a partner, and those still without one.
//!
//! A side keeps its records in buckets by time, each a map from key to (timestamp, value) in order of timestamp, then
//! arrival; a bucket is dropped whole once no partner can come. `unmatched` is Kafka's outer-join store: ordered by
//! timestamp, right side before left, key bytes; one entry holds every value of its key, time and side.
//!
//! With `is_compatible` the join does what Kafka Streams 4.3 does, KAFKA-19536 and KAFKA-16123 included. Without, an
//! unmatched record waits until its window has closed, and a record whose window has closed is dropped as late.

use std::collections::BTreeMap;

use bytes::Bytes;
use hashbrown::HashMap;

/// A side of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The stream that `join` is called on.
    Left,
    /// Its argument.
    Right,
}

impl Side {
    fn index(self) -> usize {
        match self {
            Self::Left => 0,
            Self::Right => 1,
        }
    }

    /// The opposite side.
    pub fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }

    // Kafka orders the right side (0) before the left (1).
    fn rank(self) -> u8 {
        match self {
            Self::Right => 0,
            Self::Left => 1,
        }
    }
}

/// The parameters of a join; times in ms.
#[derive(Clone, Copy, Debug)]
pub struct JoinSettings {
    /// How far before a left record its partner may lie.
    pub before: i64,
    /// How far after.
    pub after: i64,
    /// How long a window stays open.
    pub grace: i64,
    /// Whether an unmatched left record is emitted.
    pub is_left_outer: bool,
    /// Whether an unmatched right record is emitted.
    pub is_right_outer: bool,
    /// Kafka's behaviour to the letter.
    pub is_compatible: bool,
}

impl JoinSettings {
    fn retention(&self) -> i64 {
        self.before + self.after + self.grace
    }

    // How far behind / ahead of a record of `side` its partners lie.
    fn reach(&self, side: Side) -> (i64, i64) {
        match side {
            Side::Left => (self.before, self.after),
            Side::Right => (self.after, self.before),
        }
    }

    fn may_be_unmatched(&self, side: Side) -> bool {
        match side {
            Side::Left => self.is_left_outer,
            Side::Right => self.is_right_outer,
        }
    }
}

type Records = HashMap<Bytes, Vec<(i64, Bytes)>>;
type UnmatchedKey = (i64, u8, Bytes);
/// Timestamp, side, key and values of unmatched records; `None` if there are none any more.
pub type UnmatchedChange = (i64, Side, Bytes, Option<Vec<Bytes>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Clocks {
    stream_time: i64,
    gate: i64,
    observed: [i64; 2],
}

/// What one write of a join buffer replaced.
#[derive(Debug)]
pub(crate) enum JoinUndo {
    Clocks { stream_time: i64, gate: i64, observed: [i64; 2] },
    Inserted { side: Side, key: Bytes, timestamp: i64 },
    Unmatched { key: UnmatchedKey, previous: Option<Vec<Bytes>> },
}

/// A result of a join: the two values, of which an unmatched one lacks its partner.
#[derive(Debug, PartialEq)]
pub struct Pair {
    /// Key of the result if it is not the arriving record's.
    pub key: Option<Bytes>,
    /// Left value.
    pub left: Option<Bytes>,
    /// Right value.
    pub right: Option<Bytes>,
    /// Event time of the result.
    pub timestamp: i64,
}

/// Why a record took no part in the join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Null key or value.
    Null,
    /// Its window had closed.
    Late,
}

/// The state of one join.
#[derive(Debug)]
pub struct JoinBuffer {
    /// Store names of the left and the right side, for the changelog.
    pub names: [String; 2],
    settings: JoinSettings,
    bucket_width: i64,
    sides: [BTreeMap<i64, Records>; 2],
    unmatched: BTreeMap<UnmatchedKey, Vec<Bytes>>,
    clocks: Clocks,
    /// Whether inserted records are remembered for the changelog.
    pub is_logged: bool,
    inserted: Vec<(Side, Bytes, i64, Bytes)>,
    unmatched_changes: HashMap<UnmatchedKey, ()>,
}

impl JoinBuffer {
    /// An empty buffer.
    pub fn new(names: [String; 2], settings: JoinSettings) -> Self {
        Self {
            names,
            settings,
            bucket_width: (settings.before + settings.after).max(1) + 1,
            sides: [BTreeMap::new(), BTreeMap::new()],
            unmatched: BTreeMap::new(),
            clocks: Clocks { stream_time: -1, gate: i64::MAX, observed: [-1, -1] },
            is_logged: false,
            inserted: Vec::new(),
            unmatched_changes: HashMap::new(),
        }
    }

    /// Number of records held.
    pub fn len(&self) -> usize {
        self.sides.iter().flat_map(BTreeMap::values).flat_map(HashMap::values).map(Vec::len).sum()
    }

    /// Whether no record is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes one record: stores it, emits what has become final and what it joins with, in Kafka Streams' order.
    pub(crate) fn process(
        &mut self,
        side: Side,
        key: Option<&Bytes>,
        value: Option<&Bytes>,
        timestamp: i64,
        undo: &mut dyn FnMut(JoinUndo),
        emit: &mut dyn FnMut(Pair),
    ) -> Option<Dropped> {
        let settings = self.settings;
        let (back, ahead) = settings.reach(side);
        let clocks_before = self.clocks;
        let mut dropped = None;
        let is_late = !settings.is_compatible
            && key.is_some()
            && value.is_some()
            && timestamp.saturating_add(ahead).saturating_add(settings.grace) < self.clocks.stream_time.max(timestamp);
        if let (Some(key), Some(value)) = (key, value)
            && !is_late
        {
            let observed = &mut self.clocks.observed[side.index()];
            *observed = (*observed).max(timestamp);
            if settings.is_compatible && self.is_expired(side, timestamp) {
                dropped = Some(Dropped::Late);
            } else {
                self.insert(side, key, timestamp, value, undo);
            }
        }
        self.clocks.stream_time = self.clocks.stream_time.max(timestamp);
        let stream_time = self.clocks.stream_time;
        let may_be_unmatched = settings.may_be_unmatched(side);
        let (Some(key), Some(value)) = (key, value) else {
            self.log_clocks(clocks_before, undo);
            if let Some(value) = value
                && may_be_unmatched
            {
                emit(pair(side, None, Some(value.clone()), None, timestamp));
                return None;
            }
            return Some(Dropped::Null);
        };
        if is_late {
            self.log_clocks(clocks_before, undo);
            return Some(Dropped::Late);
        }
        if (settings.is_left_outer || settings.is_right_outer) && timestamp == stream_time {
            self.emit_closed(ahead, undo, emit);
        }
        let found = self.emit_matches(side, key, value, timestamp, (back, ahead), undo, emit);
        if !found && may_be_unmatched {
            if settings.is_compatible && timestamp.saturating_add(ahead).max(0) < stream_time {
                emit(pair(side, None, Some(value.clone()), None, timestamp));
            } else {
                self.clocks.gate = self.clocks.gate.min(timestamp);
                let at = (timestamp, side.rank(), Bytes::copy_from_slice(key));
                let previous = self.unmatched.get(&at).cloned();
                self.unmatched.entry(at.clone()).or_default().push(Bytes::copy_from_slice(value));
                self.changed(&at);
                undo(JoinUndo::Unmatched { key: at, previous });
            }
        }
        self.log_clocks(clocks_before, undo);
        dropped
    }

    fn changed(&mut self, at: &UnmatchedKey) {
        if self.is_logged {
            self.unmatched_changes.insert(at.clone(), ());
        }
    }

    fn log_clocks(&self, before: Clocks, undo: &mut dyn FnMut(JoinUndo)) {
        if before != self.clocks {
            undo(JoinUndo::Clocks { stream_time: before.stream_time, gate: before.gate, observed: before.observed });
        }
    }

    // Kafka's segments: a put is refused when its whole segment has expired.
    fn is_expired(&self, side: Side, timestamp: i64) -> bool {
        let retention = self.settings.retention();
        let segment = (retention / 2).max(60_000);
        timestamp / segment < (self.clocks.observed[side.index()] - retention).max(0) / segment
    }

    fn insert(&mut self, side: Side, key: &Bytes, timestamp: i64, value: &Bytes, undo: &mut dyn FnMut(JoinUndo)) {
        let bucket = self.sides[side.index()].entry(timestamp.div_euclid(self.bucket_width)).or_default();
        let kept = Bytes::copy_from_slice(value);
        let key = match bucket.get_key_value(key) {
            Some((key, _)) => key.clone(),
            None => Bytes::copy_from_slice(key),
        };
        if self.is_logged {
            self.inserted.push((side, key.clone(), timestamp, kept.clone()));
        }
        let records = bucket.entry(key.clone()).or_default();
        let at = records.partition_point(|(time, _)| *time <= timestamp);
        records.insert(at, (timestamp, kept));
        undo(JoinUndo::Inserted { side, key, timestamp });
    }

    fn emit_matches(
        &mut self,
        side: Side,
        key: &Bytes,
        value: &Bytes,
        timestamp: i64,
        (back, ahead): (i64, i64),
        undo: &mut dyn FnMut(JoinUndo),
        emit: &mut dyn FnMut(Pair),
    ) -> bool {
        let other = side.other();
        let retention = self.settings.retention();
        let oldest = if self.settings.is_compatible {
            self.clocks.observed[other.index()] - retention + 1
        } else {
            self.clocks.stream_time - retention
        };
        let from = timestamp.saturating_sub(back).max(0).max(oldest);
        let to = timestamp.saturating_add(ahead).max(0);
        let mut found = false;
        if from > to {
            return found;
        }
        let buckets = from.div_euclid(self.bucket_width)..=to.div_euclid(self.bucket_width);
        for (_, bucket) in self.sides[other.index()].range(buckets) {
            let Some(records) = bucket.get(key) else { continue };
            let first = records.partition_point(|(time, _)| *time < from);
            for (time, partner) in &records[first..] {
                if *time > to {
                    break;
                }
                found = true;
                if !self.unmatched.is_empty() {
                    let at = (*time, other.rank(), key.clone());
                    if let Some(previous) = self.unmatched.remove(&at) {
                        if self.is_logged {
                            self.unmatched_changes.insert(at.clone(), ());
                        }
                        undo(JoinUndo::Unmatched { key: at, previous: Some(previous) });
                    }
                }
                emit(pair(side, None, Some(value.clone()), Some(partner.clone()), timestamp.max(*time)));
            }
        }
        found
    }

    // Emits unmatched records whose window has closed. Kafka's gate (the arriving side's `ahead`, from the timestamp
    // scanned last) can delay them; without compatibility every closed one leaves now.
    fn emit_closed(&mut self, ahead: i64, undo: &mut dyn FnMut(JoinUndo), emit: &mut dyn FnMut(Pair)) {
        let settings = self.settings;
        let stream_time = self.clocks.stream_time;
        if settings.is_compatible
            && self.clocks.gate.saturating_add(ahead).saturating_add(settings.grace) >= stream_time
        {
            return;
        }
        self.clocks.gate = i64::MAX;
        let mut closed = Vec::new();
        // A side that cannot be unmatched counts as seen, which Kafka's scan does not do.
        let mut is_open = match settings.is_compatible {
            true => [false, false],
            false => [!settings.is_left_outer, !settings.is_right_outer],
        };
        for at in self.unmatched.keys() {
            self.clocks.gate = at.0;
            if is_open == [true, true] {
                break;
            }
            let side = if at.1 == 1 { Side::Left } else { Side::Right };
            if at.0.saturating_add(settings.reach(side).1).saturating_add(settings.grace) >= stream_time {
                is_open[side.index()] = true;
            } else {
                closed.push((at.clone(), side));
            }
        }
        for (at, side) in closed {
            let Some(values) = self.unmatched.remove(&at) else { continue };
            for value in &values {
                emit(pair(side, Some(at.2.clone()), Some(value.clone()), None, at.0));
            }
            self.changed(&at);
            undo(JoinUndo::Unmatched { key: at, previous: Some(values) });
        }
    }

    /// Takes every record that still waits for a partner: the input is complete.
    pub(crate) fn close(&mut self) -> Vec<Pair> {
        let unmatched = std::mem::take(&mut self.unmatched);
        unmatched.keys().for_each(|at| self.changed(at));
        unmatched
            .into_iter()
            .flat_map(|((timestamp, rank, key), values)| {
                let side = if rank == 1 { Side::Left } else { Side::Right };
                values.into_iter().map(move |value| pair(side, Some(key.clone()), Some(value), None, timestamp))
            })
            .collect()
    }

    pub(crate) fn undo(&mut self, entry: JoinUndo) {
        match entry {
            JoinUndo::Clocks { stream_time, gate, observed } => self.clocks = Clocks { stream_time, gate, observed },
            JoinUndo::Inserted { side, key, timestamp } => {
                if self.is_logged {
                    self.inserted.pop();
                }
                let number = timestamp.div_euclid(self.bucket_width);
                if let Some(bucket) = self.sides[side.index()].get_mut(&number)
                    && let Some(records) = bucket.get_mut(&key)
                {
                    let end = records.partition_point(|(time, _)| *time <= timestamp);
                    records.remove(end - 1);
                    if records.is_empty() {
                        bucket.remove(&key);
                    }
                }
            }
            JoinUndo::Unmatched { key, previous } => {
                self.changed(&key);
                match previous {
                    Some(values) => self.unmatched.insert(key, values),
                    None => self.unmatched.remove(&key),
                };
            }
        }
    }

    pub(crate) fn end_batch(&mut self) {
        let retention = self.settings.retention();
        let clock = if self.settings.is_compatible { self.clocks.observed } else { [self.clocks.stream_time; 2] };
        for (side, clock) in self.sides.iter_mut().zip(clock) {
            let oldest = (clock - retention).div_euclid(self.bucket_width);
            while let Some(entry) = side.first_entry() {
                if *entry.key() >= oldest {
                    break;
                }
                entry.remove();
            }
        }
    }

    /// Lets the changelog get every record anew, so that what it held before need not be kept.
    pub fn mark_all_changed(&mut self) {
        self.inserted.clear();
        for (side, buckets) in [Side::Left, Side::Right].into_iter().zip(&self.sides) {
            for (key, records) in buckets.values().flatten() {
                let records = records.iter().map(|(time, value)| (side, key.clone(), *time, value.clone()));
                self.inserted.extend(records);
            }
        }
        self.unmatched_changes.extend(self.unmatched.keys().map(|at| (at.clone(), ())));
    }

    /// Takes the records inserted since the last call, for the changelog.
    pub fn take_inserted(&mut self) -> Vec<(Side, Bytes, i64, Bytes)> {
        std::mem::take(&mut self.inserted)
    }

    /// Takes what has changed among the unmatched records since the last call: (timestamp, side, key, values now).
    pub fn take_unmatched_changes(&mut self) -> Vec<UnmatchedChange> {
        std::mem::take(&mut self.unmatched_changes)
            .into_keys()
            .map(|at| {
                let values = self.unmatched.get(&at).cloned();
                let (timestamp, rank, key) = at;
                (timestamp, if rank == 1 { Side::Left } else { Side::Right }, key, values)
            })
            .collect()
    }

    /// Puts a restored record.
    pub fn restore(&mut self, side: Side, key: &Bytes, timestamp: i64, value: &Bytes) {
        let is_logged = std::mem::replace(&mut self.is_logged, false);
        self.insert(side, key, timestamp, value, &mut |_| {});
        self.is_logged = is_logged;
    }

    /// Puts the restored unmatched records of a key and timestamp; none deletes them.
    pub fn restore_unmatched(&mut self, side: Side, key: &Bytes, timestamp: i64, values: Vec<Bytes>) {
        let at = (timestamp, side.rank(), key.clone());
        if values.is_empty() {
            self.unmatched.remove(&at);
        } else {
            self.unmatched.insert(at, values);
        }
    }

    /// (stream time, gate, observed left, observed right), for the checkpoint.
    pub fn clocks(&self) -> [i64; 4] {
        [self.clocks.stream_time, self.clocks.gate, self.clocks.observed[0], self.clocks.observed[1]]
    }

    /// Sets restored clocks.
    pub fn set_clocks(&mut self, [stream_time, gate, left, right]: [i64; 4]) {
        self.clocks = Clocks { stream_time, gate, observed: [left, right] };
    }
}

fn pair(side: Side, key: Option<Bytes>, mine: Option<Bytes>, partner: Option<Bytes>, timestamp: i64) -> Pair {
    let (left, right) = match side {
        Side::Left => (mine, partner),
        Side::Right => (partner, mine),
    };
    Pair { key, left, right, timestamp }
}
