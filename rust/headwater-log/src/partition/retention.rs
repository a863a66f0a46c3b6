//! Forgetting the oldest records: on demand, by age, by size. Whole segments are removed; the active one never is.
//!
//! A crash in between leaves segments below the start offset that was written down first: they are removed at the next open.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Partition;
use crate::segment::{Segment, remove_segment};
use crate::{Error, Result};

impl Partition {
    /// Forgets the records below an offset; returns the first offset still kept.
    ///
    /// # Errors
    /// `OutOfRange` beyond what readers see; those of writing a checkpoint and removing files.
    pub fn delete_records(&self, before: u64) -> Result<u64> {
        let mut writer = self.writer.lock();
        self.check_open()?;
        self.check_writable()?;
        let (start, end) = (self.log_start_offset(), self.high_watermark());
        if before > end {
            let (topic, partition) = (self.topic.clone(), self.number);
            return Err(Error::OffsetOutOfRange { topic, partition, offset: before, start, end });
        }
        if before <= start {
            return Ok(start);
        }
        self.log_start.store(before, Ordering::Release);
        let gone = self.take_below(before);
        writer.is_marked_clean = false;
        self.checkpoint(None)?;
        self.write_mark()?;
        writer.unsynced.retain(|segment| !gone.iter().any(|old| Arc::ptr_eq(old, segment)));
        drop(writer);
        self.remove(&gone)?;
        Ok(before)
    }

    /// Forgets what the topic's `retention.ms` and `retention.bytes` no longer keep at the time `now`; returns the first
    /// offset still kept. Without these settings everything is kept, for ever.
    ///
    /// # Errors
    /// Those of [`delete_records`](Self::delete_records).
    pub fn apply_retention(&self, now: i64) -> Result<u64> {
        let config = self.config();
        let (age, size) = (config.retention_ms(), config.retention_bytes());
        let segments = self.segments.read().clone();
        let mut total: u64 = segments.iter().map(|segment| segment.size.load(Ordering::Relaxed)).sum();
        let mut before = self.log_start_offset();
        for pair in segments.windows(2) {
            let newest = pair[0].max_timestamp.load(Ordering::Relaxed);
            let is_old = age.is_some_and(|age| newest < now.saturating_sub(age));
            let is_too_much = size.is_some_and(|size| total > size);
            let is_visible = pair[1].base_offset <= self.high_watermark();
            if !(is_old || is_too_much) || !is_visible || !config.is_deleting() {
                break;
            }
            before = pair[1].base_offset;
            total -= pair[0].size.load(Ordering::Relaxed);
        }
        self.delete_records(before)
    }

    /// Takes segments that lie below an offset out of the log.
    pub(super) fn take_below(&self, offset: u64) -> Vec<Arc<Segment>> {
        let mut segments = self.segments.write();
        let keeps_from = segments.windows(2).take_while(|pair| pair[1].base_offset <= offset).count();
        segments.drain(..keeps_from).collect()
    }

    /// Removes the files of segments that were taken out of the log.
    pub(super) fn remove(&self, gone: &[Arc<Segment>]) -> Result<()> {
        for segment in gone {
            remove_segment(&*self.storage, &segment.stem)?;
        }
        if gone.is_empty() {
            return Ok(());
        }
        self.storage.sync_folder(&self.folder).map_err(Error::io("sync a folder", self.path()))
    }
}
