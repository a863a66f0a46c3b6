//! What of a batch a compaction keeps. Batches must be offered in the log's order, from its first on.

use std::collections::HashSet;

use headwater_record::{Batch, ControlType, Header, Marker};

use super::LastOffsets;
use crate::producers::ProducerState;

/// What becomes of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It stays as it is.
    Keep,
    /// These bytes take its place.
    Replace(Vec<u8>),
    /// It goes.
    Drop,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) keys: LastOffsets,
    /// Up to where `keys` has seen everything: batches from there on stay as they are.
    pub(crate) until: u64,
    pub(crate) producers: ProducerState,
    pub(crate) now: i64,
    /// Until when the tombstones and markers that this pass sees first must stay.
    pub(crate) delete_horizon: i64,
    /// Whether something before cannot be read: a tombstone or a marker may be the answer to it.
    pub(crate) is_behind_damage: bool,
    /// Producers with a transactional batch since their last marker.
    pub(crate) in_transaction: HashSet<i64>,
}

impl Rules {
    /// What becomes of the next batch.
    pub(crate) fn judge(&mut self, batch: &Batch) -> Verdict {
        let header = &batch.header;
        if header.base_offset >= self.until {
            return Verdict::Keep;
        }
        if header.is_control() {
            return self.judge_marker(batch);
        }
        if header.is_transactional() {
            self.in_transaction.insert(header.producer_id);
        }
        if header.records_count == 0 || self.producers.aborted.contains(header) {
            return self.emptied(header);
        }
        // What cannot be decoded is no worse for being kept.
        self.judge_records(batch).unwrap_or(Verdict::Keep)
    }

    fn judge_records(&self, batch: &Batch) -> headwater_record::Result<Verdict> {
        let header = &batch.header;
        let may_go = self.may_go(header);
        let records = batch.records()?;
        let (mut keeps, mut has_tombstone) = (Vec::with_capacity(header.records_count as usize), false);
        for record in &records {
            let record = record?;
            let is_superseded = record.key.is_some_and(|key| self.keys.is_superseded(key, record.offset));
            let is_tombstone = record.key.is_some() && record.value.is_none();
            let is_kept = !(is_superseded || is_tombstone && may_go);
            has_tombstone |= is_kept && is_tombstone;
            keeps.push(is_kept);
        }
        if !keeps.contains(&true) {
            return Ok(self.emptied(header));
        }
        let horizon = (has_tombstone && header.delete_horizon().is_none()).then_some(self.delete_horizon);
        if horizon.is_none() && !keeps.contains(&false) {
            return Ok(Verdict::Keep);
        }
        let mut keeps = keeps.into_iter();
        records.rebuild(horizon, |_| keeps.next().unwrap_or(true)).map(Verdict::Replace)
    }

    /// A marker is needed as long as there is a batch of its transaction, and by readers for a while longer. One that is all
    /// that is left of its producer stays.
    fn judge_marker(&mut self, batch: &Batch) -> Verdict {
        let header = &batch.header;
        let Ok(records) = batch.records() else { return Verdict::Keep };
        let is_marker = matches!(records.marker(), Ok(Marker { kind: ControlType::Abort | ControlType::Commit, .. }))
            || header.records_count == 0;
        let has_batches = self.in_transaction.remove(&header.producer_id);
        if !is_marker || has_batches || self.producers.is_last(header) {
            return Verdict::Keep;
        }
        if header.records_count == 0 || self.may_go(header) {
            return if self.is_behind_damage { Verdict::Keep } else { Verdict::Drop };
        }
        match header.delete_horizon() {
            Some(_) => Verdict::Keep,
            None => records.rebuild(Some(self.delete_horizon), |_| true).map_or(Verdict::Keep, Verdict::Replace),
        }
    }

    /// Whether a batch's tombstones, or its marker, have been there for long enough.
    fn may_go(&self, header: &Header) -> bool {
        !self.is_behind_damage && header.delete_horizon().is_some_and(|horizon| self.now >= horizon)
    }

    /// A batch of which no record stays.
    fn emptied(&self, header: &Header) -> Verdict {
        match (self.producers.is_last(header), header.records_count) {
            (false, _) => Verdict::Drop,
            (true, 0) => Verdict::Keep,
            (true, _) => Verdict::Replace(header.to_empty_batch()),
        }
    }
}
