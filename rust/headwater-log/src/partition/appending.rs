//! Appending: batches get their offsets and go to the end of the last segment with one write; full segments are sealed.
//!
//! One writer at a time. A write that fails leaves everything as it was: the next one begins at the same place.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use headwater_record::{Batch, Header, Marker};

use super::{Appended, Partition, Writer};
use crate::producers::{Refusal, Verdict};
use crate::segment::{Segment, first_header};
use crate::topic::Durability;
use crate::{Error, Result, TopicConfig};

/// Bytes behind one sync, at most, with durability `fsync`: it bounds what an acknowledgement waits for.
const UNSYNCED_MAX: u64 = 8 << 20;

/// Offsets have 63 bits; the one behind the last record is one, too.
const OFFSET_MAX: u64 = i64::MAX as u64 - 1;

impl Partition {
    /// Appends whole batches, rewriting their base offsets. Written when it returns, durable after `wait_durable`. A batch
    /// that its producer has sent before is not written again: it is answered with the offsets that it has.
    ///
    /// # Errors
    /// `Invalid` for bytes that are no good batches, and for a numbered batch that does not follow its producer's last;
    /// `Fenced` for one of an older epoch; `Io` if the write fails: nothing was appended then.
    pub fn append(&self, batches: Vec<u8>) -> Result<Appended> {
        let headers = self.check_batches(&batches)?;
        if let Some(header) = headers.iter().find(|header| header.is_transactional()) {
            return Err(self.refused(&format!("one of a transaction of producer {}", header.producer_id)));
        }
        self.write(batches, headers, None)
    }

    /// Appends a batch of a transaction that its coordinator knows to be open.
    pub(crate) fn append_in_transaction(&self, batch: Vec<u8>) -> Result<Appended> {
        let headers = self.check_batches(&batch)?;
        self.write(batch, headers, None)
    }

    /// Ends a producer's transaction here: from now on its records count, or do not.
    pub(crate) fn append_marker(&self, producer_id: i64, epoch: i16, marker: Marker) -> Result<Appended> {
        if self.failure.is_some() {
            // Nothing that was opened since can be here: as if the topic was deleted, its transactions end without it.
            return Err(Error::Closed { what: format!("topic '{}' partition {}", self.topic, self.number) });
        }
        let batch = marker.to_batch(producer_id, epoch, self.clock.now_ms());
        let header = Header::parse(&batch)?;
        self.write(batch, vec![header], Some(marker))
    }

    fn write(&self, mut batches: Vec<u8>, headers: Vec<Header>, marker: Option<Marker>) -> Result<Appended> {
        if self.durability() == Durability::Fsync && self.unsynced_bytes.load(Ordering::Relaxed) >= UNSYNCED_MAX {
            self.sync()?; // so that nobody ever waits for more than that
        }
        let mut writer = self.writer.lock();
        self.check_open()?;
        self.check_writable()?;
        if marker.is_none()
            && let Some(known) = self.check_sequence(&headers)?
        {
            return Ok(known);
        }
        if writer.is_marked_clean {
            self.checkpoint(None)?;
            writer.is_marked_clean = false;
        }
        self.cut_debris(&mut writer)?;
        let base_offset = self.next_offset();
        let config = self.config();
        if let Some(limit) = config.max_message_bytes().filter(|_| marker.is_none())
            && let Some(header) = headers.iter().find(|header| header.size_bytes > limit)
        {
            return Err(self.too_large(header.size_bytes, limit));
        }
        let log_append_time = config.is_log_append_time().then(|| self.clock.now_ms());
        let mut stamped = Vec::with_capacity(headers.len());
        let (mut at, mut next_offset) = (0, base_offset);
        for header in headers {
            let batch = &mut batches[at..at + header.size_bytes];
            batch[..8].copy_from_slice(&next_offset.to_be_bytes());
            batch[12..16].copy_from_slice(&0_u32.to_be_bytes());
            if let Some(time) = log_append_time {
                stamp(batch, time);
            }
            let header = Header::parse(batch)?;
            next_offset = header.next_offset();
            if header.last_offset() > OFFSET_MAX {
                return Err(self
                    .refused(&format!("one that ends at offset {}, beyond the last there is", header.last_offset())));
            }
            at += header.size_bytes;
            stamped.push(header);
        }
        let segment = self.active(&mut writer, &config, &stamped, batches.len() as u64)?;
        let position = segment.size.load(Ordering::Relaxed);
        if let Err(error) = segment.file.write_at(&batches, position) {
            writer.has_debris = true;
            let _ = self.cut_debris(&mut writer); // else before the next append
            return Err(Error::io("write", self.storage.describe(&segment.path()))(error));
        }
        let mut at = position;
        for header in &stamped {
            segment.index(header, at, config.index_interval_bytes());
            if header.producer_id >= 0 {
                self.producers.write().see(header, marker, Some(self.clock.now_ms()));
            }
            at += header.size_bytes as u64;
        }
        self.unsynced_bytes.fetch_add(batches.len() as u64, Ordering::Relaxed);
        segment.next_offset.store(next_offset, Ordering::Release);
        segment.size.store(at, Ordering::Release);
        if writer.unsynced.last().is_none_or(|last| !Arc::ptr_eq(last, &segment)) {
            writer.unsynced.push(segment);
        }
        self.next_offset.store(next_offset, Ordering::Release);
        drop(writer);
        if self.durability() != Durability::Fsync {
            self.growth.announce();
        }
        Ok(Appended { base_offset, next_offset, log_append_time })
    }

    fn too_large(&self, size: usize, limit: usize) -> Error {
        Error::Invalid {
            message: format!(
                "expected a batch of at most {limit} bytes, got {size} - at topic '{}' partition {}; raise max.message.bytes, \
                 or send smaller records",
                self.topic, self.number
            ),
        }
    }

    /// Cuts off what a write that failed may have left behind the last batch: nothing is ever appended after garbage.
    pub(super) fn cut_debris(&self, writer: &mut Writer) -> Result<()> {
        if !writer.has_debris {
            return Ok(());
        }
        let active = Arc::clone(self.segments.read().last().expect("a writable partition has a segment"));
        let size = active.size.load(Ordering::Relaxed);
        active.file.truncate(size).map_err(Error::io("cut a segment", self.storage.describe(&active.path())))?;
        writer.has_debris = false;
        Ok(())
    }

    /// Where a batch is that its producer has sent before; None if it is new.
    fn check_sequence(&self, headers: &[Header]) -> Result<Option<Appended>> {
        let [header] = headers else { return Ok(None) };
        if header.producer_id < 0 {
            return Ok(None);
        }
        match self.producers.read().check(header) {
            Ok(Verdict::New) => Ok(None),
            Ok(Verdict::Duplicate { base_offset, next_offset }) => {
                Ok(Some(Appended { base_offset, next_offset, log_append_time: None }))
            }
            Err(Refusal::Fenced { epoch }) => Err(Error::Fenced {
                producer: format!("id {}", header.producer_id),
                why: format!(
                    "epoch {epoch} has written since, its own is {} - at topic '{}' partition {}",
                    header.producer_epoch, self.topic, self.number
                ),
            }),
            Err(Refusal::OutOfOrder { expected }) => Err(Error::OutOfOrder {
                topic: self.topic.clone(),
                partition: self.number,
                producer_id: header.producer_id,
                expected,
                got: header.base_sequence,
            }),
        }
    }

    fn refused(&self, what: &str) -> Error {
        Error::Invalid {
            message: format!(
                "expected whole record batches, got {what} - at topic '{}' partition {}",
                self.topic, self.number
            ),
        }
    }

    fn check_batches(&self, bytes: &[u8]) -> Result<Vec<Header>> {
        let refused = |what: String| self.refused(&what);
        let config = self.config();
        let times = config.times_around(self.clock.now_ms());
        let mut headers = Vec::with_capacity(1);
        let mut rest = bytes;
        while !rest.is_empty() {
            let header = Header::parse(rest).map_err(|error| refused(error.to_string()))?;
            header.verify(rest).map_err(|error| refused(error.to_string()))?;
            if header.is_control() || header.records_count != header.last_offset_delta + 1 {
                return Err(refused("a control batch, or one with gaps".into()));
            }
            if config.is_compacted() || times.is_some() {
                self.check_records(&rest[..header.size_bytes], &config, times.as_ref())?;
            }
            rest = &rest[header.size_bytes..];
            headers.push(header);
        }
        let is_numbered = |header: &Header| header.producer_id >= 0;
        match headers.len() {
            0 => Err(refused("no bytes".into())),
            1 => Ok(headers),
            // So that each has an answer of its own: it may be a duplicate.
            count if headers.iter().any(is_numbered) => Err(refused(format!("{count} at once that are numbered"))),
            _ => Ok(headers),
        }
    }

    /// Compaction keeps the last record of each key: one without a key would have no meaning there. And times may have bounds.
    fn check_records(&self, batch: &[u8], config: &TopicConfig, times: Option<&RangeInclusive<i64>>) -> Result<()> {
        let place = || format!("topic '{}' partition {}", self.topic, self.number);
        let (batch, _) = Batch::split(&Bytes::copy_from_slice(batch))?;
        for record in &batch.records()? {
            let record = record?;
            let number = record.offset - batch.header.base_offset;
            let message = if record.key.is_none() && config.is_compacted() {
                format!(
                    "expected a key on every record of a compacted topic, got record {number} of a batch without one - at \
                     {}; give every record a key",
                    place()
                )
            } else if let Some(times) = times.filter(|times| !times.contains(&record.timestamp)) {
                format!(
                    "expected times from {} to {}, got {} of record {number} of a batch - at {}; send milliseconds, or change \
                     message.timestamp.before.max.ms and message.timestamp.after.max.ms",
                    times.start(),
                    times.end(),
                    record.timestamp,
                    place()
                )
            } else {
                continue;
            };
            return Err(Error::Invalid { message });
        }
        Ok(())
    }

    /// The segment to append to; begins a new one if this one is full or too old.
    fn active(
        &self,
        writer: &mut Writer,
        config: &TopicConfig,
        headers: &[Header],
        incoming: u64,
    ) -> Result<Arc<Segment>> {
        let active = Arc::clone(self.segments.read().last().expect("a writable partition has a segment"));
        let size = active.size.load(Ordering::Relaxed);
        let newest = headers.iter().map(|header| header.max_timestamp).max().unwrap_or(i64::MIN);
        let oldest = || first_header(&*active.file).map_or(newest, |header| header.max_timestamp);
        let first = *writer.first_timestamp.get_or_insert_with(oldest);
        let span = u64::try_from(newest.saturating_sub(first)).unwrap_or(0);
        let last_offset = headers.last().map_or(0, Header::last_offset);
        let is_full = size + incoming > config.segment_bytes()
            || span > config.segment_ms()
            || last_offset - active.base_offset > i32::MAX as u64;
        // An empty segment takes anything: there is nothing to gain from another.
        if size == 0 || !is_full {
            return Ok(active);
        }
        let next = self.roll(&active)?;
        writer.first_timestamp = Some(newest);
        Ok(next)
    }

    /// Seals a segment and begins the next; the writer's lock is held.
    pub(super) fn roll(&self, active: &Segment) -> Result<Arc<Segment>> {
        if self.durability() != Durability::Os {
            // A crash then never loses the end of one segment and keeps the next: what is lost is the end of the log.
            self.sync_segment(active)?;
            // Every segment before was synced when it was full.
            self.durable.fetch_max(self.next_offset(), Ordering::AcqRel);
            let _ = self.write_mark(); // what it says is true without it
        }
        let unsealed: Vec<Arc<Segment>> = {
            let segments = self.segments.read();
            let is_unsealed = |segment: &&Arc<Segment>| segment.known().is_none() || std::ptr::eq(&***segment, active);
            segments.iter().filter(is_unsealed).cloned().collect()
        };
        self.seal_up_to_here(&unsealed)?;
        let next = Segment::create(&*self.storage, &self.folder, self.next_offset())?;
        self.segments.write().push(Arc::clone(&next));
        // Now and then, what is known to be durable is written down: recovery then knows damage from a torn tail.
        self.checkpoint(None)?;
        Ok(next)
    }
}

/// Gives a batch the log's timestamp; the attribute and the maximum lie inside the checksum.
fn stamp(batch: &mut [u8], time: i64) {
    batch[22] |= 0x08;
    batch[35..43].copy_from_slice(&time.to_be_bytes());
    let checksum = headwater_record::checksum(batch);
    batch[17..21].copy_from_slice(&checksum.to_be_bytes());
}
