//! A row: one record on its way through a topology, with its place in Kafka Streams' order.
//!
//! Keys and values stay serialised bytes: what a stage does not read is never decoded, and what a store keeps is what
//! its changelog says. The **order key** `[seq << 2 | phase, path...]` sorts rows of one micro-batch as a
//! record-at-a-time, depth-first engine would have met them: `seq` is the source record's position in the batch, phase
//! 0 the record itself, 1 a stream-time punctuation, 2 a cache flush; `path` says which emission of which step a row
//! descends from. A prefix sorts before what descends from it, so a store write tagged with an order key is visible to
//! exactly the rows that compare greater.

use bytes::Bytes;
use smallvec::SmallVec;

/// A row's place in a micro-batch; compares lexicographically.
pub type OrderKey = SmallVec<[u32; 4]>;

/// Phase of a row that stems from a source record.
pub const PHASE_RECORD: u32 = 0;
/// Phase of a row that stems from a cache flush.
pub const PHASE_FLUSH: u32 = 2;

/// First component of an order key.
pub fn order_head(seq: u32, phase: u32) -> u32 {
    seq << 2 | phase
}

/// What a lookup found in one store: the value and its timestamp.
pub type Found = Option<(Bytes, i64)>;

/// One record between two steps of a topology.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Place in the batch.
    pub order: OrderKey,
    /// Event time, ms.
    pub timestamp: i64,
    /// Serialised key.
    pub key: Option<Bytes>,
    /// Serialised value; on a table's edge the new value, on a join's the left one.
    pub value: Option<Bytes>,
    /// Old value on a table's edge, if anything downstream asked for it.
    pub old: Option<Bytes>,
    /// A second value: a join's right side, a fold's result, packed arguments of an aggregation, a mapped key.
    pub other: Option<Bytes>,
    /// Start of the window the row was assigned to.
    pub window_start: i64,
    /// The encoded headers of the record (count and entries); empty means none.
    pub headers: Bytes,
    /// What lookups found, one entry a store.
    pub lookups: Vec<Found>,
}

impl Row {
    /// Position of the source record this row descends from.
    pub fn seq(&self) -> u32 {
        self.order.first().map_or(0, |head| head >> 2)
    }
}

/// Appends one component to an order key.
pub fn descend(order: &OrderKey, component: u32) -> OrderKey {
    let mut longer = order.clone();
    longer.push(component);
    longer
}
