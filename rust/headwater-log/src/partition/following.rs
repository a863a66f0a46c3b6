//! Only reading, beside the process that writes: what it has made durable since is taken in, what it has deleted forgotten.
//!
//! The mark is what is followed: everything below it lies in the files, whole and synced, and nothing behind it is looked
//! at. New batches are checked as recovery checks them. Whenever the files are not what they were (compacted, deleted and
//! made again, a crash repaired), the partition says so and is opened anew by the broker: nothing is patched up here.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Partition;
use crate::checkpoint::Checkpoint;
use crate::mark::Mark;
use crate::scan::Scan;
use crate::segment::{Segment, base_of};
use crate::{Error, Result};

/// What became of a partition that another process writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Followed {
    /// Nothing.
    Same,
    /// There is more, or less, of the same log.
    Moved,
    /// These are other files: open it anew.
    Replaced,
}

impl Partition {
    /// Takes in what has become durable and forgets what was deleted.
    pub(crate) fn follow(&self) -> Result<Followed> {
        if self.failure.is_some() {
            return Ok(Followed::Replaced); // perhaps it can be read by now
        }
        let mut followed = self.followed.lock();
        let Some(found) = Mark::look(&*self.storage, &self.folder) else {
            // Something else's folder, or none any more.
            self.storage.list(&self.folder).map_err(Error::io("list a folder", self.path()))?;
            return Ok(Followed::Same);
        };
        if *followed == Some(found) {
            return Ok(Followed::Same);
        }
        let (sequence, (durable, _)) = found;
        let is_older = followed.is_some_and(|(known, _)| sequence <= known);
        if is_older || durable < self.durable_offset() || !self.take_in(durable)? {
            return Ok(Followed::Replaced);
        }
        self.forget();
        *followed = Some(found);
        self.growth.announce();
        Ok(Followed::Moved)
    }

    /// Reads on from where it ends up to an offset; false if that is not how the log goes on.
    fn take_in(&self, durable: u64) -> Result<bool> {
        let interval = self.config().index_interval_bytes();
        let mut has_begun = false;
        while self.next_offset() < durable {
            let last = self.segments.read().last().cloned();
            let is_grown = match &last {
                Some(segment) => self.extend(segment, durable, interval)?,
                None => false,
            };
            if !is_grown {
                if !self.begin_next(last.as_deref())? {
                    return Ok(false);
                }
                has_begun = true;
            }
        }
        // What came next may have been compacted into an earlier segment, of which we hold the file of before.
        if has_begun && self.is_compacted_since() {
            return Ok(false);
        }
        self.durable.fetch_max(durable, Ordering::AcqRel);
        Ok(true)
    }

    /// Whether segments have been replaced since this was opened.
    fn is_compacted_since(&self) -> bool {
        let known = self.cleaner.generation.load(Ordering::Acquire);
        Checkpoint::read(&*self.storage, &self.folder).is_none_or(|found| found.generation != known)
    }

    /// Takes in the batches behind the known end of a segment; false if there is none that belongs there.
    fn extend(&self, segment: &Arc<Segment>, durable: u64, interval: u64) -> Result<bool> {
        let failed = || Error::io("read", self.storage.describe(&segment.path()));
        let known = segment.size.load(Ordering::Acquire);
        let mut scan = Scan::new(Arc::clone(&segment.file), known).map_err(failed())?;
        while self.next_offset() < durable {
            let Some((position, Ok(batch))) = scan.next().map_err(failed())? else { break };
            let (expected, first) = (self.next_offset(), batch.header.base_offset);
            let is_next = first == expected || (first > expected && self.has_gaps());
            if !is_next || batch.verify().is_err() {
                break;
            }
            self.producers.write().see_batch(&batch);
            segment.index(&batch.header, position, interval);
            segment.next_offset.store(batch.header.next_offset(), Ordering::Release);
            segment.size.store(scan.position(), Ordering::Release);
            self.next_offset.store(batch.header.next_offset(), Ordering::Release);
        }
        Ok(segment.size.load(Ordering::Acquire) > known)
    }

    /// Opens the segment behind the last one; false if there is none where the log goes on.
    fn begin_next(&self, last: Option<&Segment>) -> Result<bool> {
        let names = self.storage.list(&self.folder).map_err(Error::io("list a folder", self.path()))?;
        let bases = names.iter().filter_map(|name| base_of(name, ".log"));
        let Some(next) = bases.filter(|base| last.is_none_or(|last| *base > last.base_offset)).min() else {
            return Ok(false);
        };
        if next != self.next_offset() && !(self.has_gaps() && next > self.next_offset()) {
            return Ok(false);
        }
        let segment = Segment::open(&*self.storage, &self.folder, next)?;
        self.segments.write().push(segment);
        Ok(true)
    }

    /// Forgets the segments that lie below where the log begins now.
    fn forget(&self) {
        let Some(checkpoint) = Checkpoint::read(&*self.storage, &self.folder) else { return };
        self.log_start.fetch_max(checkpoint.log_start_offset, Ordering::AcqRel);
        drop(self.take_below(self.log_start_offset()));
    }
}
