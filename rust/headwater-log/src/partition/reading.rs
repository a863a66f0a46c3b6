//! Reading a partition: whole batches from an offset on, verified, and the offset of a timestamp.
//!
//! Every batch is checked when it is read: its checksum, and that it stands where it belongs. What fails is noted as damage
//! of its segment; offsets in it are refused with an error that says where reading can go on, all others are served.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use headwater_record::Header;

use super::{Fetched, Isolation, Partition};
use crate::segment::{Damage, Next, Segment};
use crate::{Error, Result};

impl Partition {
    /// Whole batches from the one that holds `offset` on: about `max_bytes` of them, at least one if there is one.
    ///
    /// # Errors
    /// `OutOfRange` for an offset before the first or beyond the end; `Corrupt` if the offset lies in damaged bytes.
    pub fn read(&self, offset: u64, max_bytes: usize, isolation: Isolation) -> Result<Fetched> {
        self.check_usable()?;
        loop {
            if self.is_closed.load(Ordering::Acquire) {
                self.check_open()?;
            }
            // In this order: the segments reach up to the limit, and begin where the log begins or before.
            let high_watermark = self.high_watermark();
            let limit = match isolation {
                Isolation::Uncommitted => high_watermark,
                Isolation::Committed => self.last_stable_offset(),
            };
            let segments = self.segments.read().clone();
            let nothing = Fetched { batches: Vec::new(), next_offset: offset, high_watermark };
            match self.read_in(&segments, limit, max_bytes, isolation, nothing) {
                // A file that retention or compaction has taken away meanwhile: what there is now answers.
                Err(Error::Io { .. }) if self.has_lost(&segments) || self.is_closed.load(Ordering::Acquire) => {}
                read => return read,
            }
        }
    }

    /// Whether some of these segments are no longer in the log.
    fn has_lost(&self, segments: &[Arc<Segment>]) -> bool {
        let now = self.segments.read();
        segments.iter().any(|segment| !now.iter().any(|kept| Arc::ptr_eq(kept, segment)))
    }

    /// Reads from where nothing is fetched yet on.
    fn read_in(
        &self,
        segments: &[Arc<Segment>],
        limit: u64,
        max_bytes: usize,
        isolation: Isolation,
        mut fetched: Fetched,
    ) -> Result<Fetched> {
        let offset = fetched.next_offset;
        let (start, end) = (self.log_start_offset(), self.next_offset());
        if offset < start || offset > end {
            let (topic, partition) = (self.topic.clone(), self.number);
            return Err(Error::OffsetOutOfRange { topic, partition, offset, start, end });
        }
        let first = segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1);
        if let Some((_, next_offset)) = self.missing.iter().find(|(first, next)| (*first..*next).contains(&offset)) {
            return Err(self.ends_early(&segments[first], offset, *next_offset));
        }
        for segment in &segments[first..] {
            if fetched.next_offset >= limit || !fetched.batches.is_empty() {
                break;
            }
            if fetched.next_offset < segment.base_offset && !self.has_gaps() {
                break;
            }
            // Compaction leaves no batch at the end of some segments.
            fetched.next_offset = fetched.next_offset.max(segment.base_offset.min(limit));
            self.read_segment(segment, limit, max_bytes, isolation, &mut fetched)?;
        }
        if fetched.next_offset == offset && offset < limit {
            if !self.has_gaps() {
                return Err(self.ends_early(&segments[first], offset, limit));
            }
            fetched.next_offset = limit;
        }
        Ok(fetched)
    }

    fn read_segment(
        &self,
        segment: &Segment,
        limit: u64,
        max_bytes: usize,
        isolation: Isolation,
        fetched: &mut Fetched,
    ) -> Result<()> {
        let io = || Error::io("read", self.storage.describe(&segment.path()));
        let (mut position, mut next) = segment.find(fetched.next_offset);
        while fetched.batches.is_empty() && fetched.next_offset < limit {
            if let Some(damage) = segment.damage_at(position) {
                if fetched.next_offset < damage.next_offset {
                    return Err(self.corrupt(segment, fetched.next_offset, &damage));
                }
                (position, next) = (damage.end, Next::Begins(damage.next_offset));
                continue;
            }
            let chunk = segment.batches_from(position, max_bytes).map_err(io())?;
            let is_end = chunk.batches.is_empty();
            position = chunk.end;
            for (at, batch) in chunk.batches {
                if let Err(what) = self.check_place(segment, &batch.header, next) {
                    segment.note_damage(at, next.at_least(), what).map_err(io())?;
                    position = at;
                    break;
                }
                if batch.header.base_offset >= limit {
                    return Ok(());
                }
                next = Next::Begins(batch.header.next_offset());
                if batch.header.last_offset() < fetched.next_offset {
                    continue;
                }
                fetched.next_offset = batch.header.next_offset();
                let is_hidden = batch.header.is_control()
                    || (isolation == Isolation::Committed && self.producers.read().aborted.contains(&batch.header));
                if !is_hidden {
                    fetched.batches.push(batch);
                }
            }
            if is_end && segment.damage_at(position).is_none() {
                let Some(failure) = chunk.failure else { return Ok(()) };
                // Bytes that went bad since they were written: whoever asks for what lies behind them still gets it.
                segment.note_damage(position, next.at_least(), failure.to_string()).map_err(io())?;
            }
        }
        Ok(())
    }

    /// Whether a batch lies where it belongs. Checksums do not cover offsets: their sequence stands in for it.
    pub(super) fn check_place(
        &self,
        segment: &Segment,
        header: &Header,
        next: Next,
    ) -> std::result::Result<(), String> {
        let is_right = match next {
            Next::Ends(last) => header.last_offset() == last,
            Next::Begins(expected) => {
                let is_gap = || self.has_gaps() || self.missing.contains(&(expected, header.base_offset));
                header.base_offset == expected || (header.base_offset > expected && is_gap())
            }
        };
        if is_right && header.last_offset() < segment.next_offset.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(format!("a batch of offset {} where {} comes next", header.base_offset, next.at_least()))
    }

    /// A segment that does not hold what it should.
    fn ends_early(&self, segment: &Segment, offset: u64, next_offset: u64) -> Error {
        let position = segment.size.load(Ordering::Relaxed);
        let what = "no file that holds them".to_owned();
        self.corrupt(segment, offset, &Damage { position, end: position, first_offset: offset, next_offset, what })
    }

    pub(super) fn corrupt(&self, segment: &Segment, offset: u64, damage: &Damage) -> Error {
        Error::Corrupt {
            topic: self.topic.clone(),
            partition: self.number,
            offset,
            next_offset: damage.next_offset,
            path: self.storage.describe(&segment.path()),
            position: damage.position,
            what: damage.what.clone(),
        }
    }

    /// The first record whose timestamp is at or after a timestamp: its offset and its timestamp.
    pub fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<(u64, i64)>> {
        self.check_usable()?;
        let high_watermark = self.high_watermark();
        let segments = self.segments.read().clone();
        for segment in segments.iter().filter(|s| s.max_timestamp.load(Ordering::Relaxed) >= timestamp) {
            let mut offset = segment.offset_before(timestamp).max(self.log_start_offset());
            while offset < high_watermark && offset < segment.next_offset.load(Ordering::Acquire) {
                let fetched = match self.read(offset, 1 << 20, Isolation::Uncommitted) {
                    // The records there were forgotten meanwhile.
                    Err(Error::OffsetOutOfRange { start, .. }) if offset < start => {
                        offset = start;
                        continue;
                    }
                    fetched => fetched?,
                };
                for batch in fetched.batches.iter().filter(|batch| batch.header.max_timestamp >= timestamp) {
                    for record in &batch.records()? {
                        let record = record?;
                        if record.timestamp >= timestamp && record.offset >= self.log_start_offset() {
                            return Ok(Some((record.offset, record.timestamp)));
                        }
                    }
                }
                if fetched.next_offset == offset {
                    break;
                }
                offset = fetched.next_offset;
            }
        }
        Ok(None)
    }
}
