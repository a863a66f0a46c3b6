//! Making it durable: group commit, the mark and the checkpoint, and a clean close.
//!
//! Whoever needs a sync and finds none under way does it for everybody who has appended by then; the others wait. After a
//! sync that failed, what the disk holds is unknown: the partition is poisoned, and nothing more is acknowledged.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Partition;
use crate::checkpoint::Checkpoint;
use crate::mark::Mark;
use crate::segment::{Segment, first_checksum};
use crate::topic::Durability;
use crate::{Error, Result};

impl Partition {
    /// Makes what recovery found durable, whether that was much or nothing, and says so: first the mark, then whose it is.
    pub(super) fn sync_found(&self) -> Result<()> {
        let durable = self.sync_once()?;
        self.durable.store(durable, Ordering::Release);
        self.write_mark()?;
        self.checkpoint(None)
    }

    /// Makes everything durable and says so in the checkpoint, as recovery does.
    pub(crate) fn settle(&self) -> Result<()> {
        self.sync()?;
        let _appending = self.writer.lock();
        self.checkpoint(None)
    }

    /// Waits until everything below an offset is as durable as this partition promises.
    ///
    /// # Errors
    /// `Closed` (poisoned) if a sync failed.
    pub fn wait_durable(&self, next_offset: u64) -> Result<()> {
        if self.durability() == Durability::Fsync { self.sync_to(next_offset) } else { self.check_open() }
    }

    /// Makes everything written so far durable, whatever the durability.
    pub fn sync(&self) -> Result<()> {
        self.sync_to(self.next_offset())
    }

    /// Whether something is written and not synced.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.durable_offset() < self.next_offset()
    }

    fn sync_to(&self, next_offset: u64) -> Result<()> {
        let mut syncer = self.syncer.lock();
        loop {
            if self.durable_offset() >= next_offset {
                return Ok(());
            }
            self.check_open()?;
            if syncer.is_syncing {
                self.synced.wait(&mut syncer);
                continue;
            }
            syncer.is_syncing = true;
            drop(syncer);
            let outcome = self.sync_once();
            syncer = self.syncer.lock();
            syncer.is_syncing = false;
            match outcome {
                Ok(target) => {
                    self.durable.fetch_max(target, Ordering::AcqRel);
                    let _ = self.write_mark(); // what it says is true without it
                    if self.durability() == Durability::Fsync {
                        self.growth.announce();
                    }
                }
                Err(error) => {
                    self.synced.notify_all();
                    return Err(error);
                }
            }
            self.synced.notify_all();
        }
    }

    /// Says how far the log is durable, and whose it is, for whoever recovers it.
    pub(super) fn write_mark(&self) -> Result<()> {
        let write = |mark: &Mark| mark.write(self.durable_offset(), self.identity().unwrap_or(0));
        self.mark.as_ref().map_or(Ok(()), write)
    }

    /// Syncs what is written by now; returns the offset that this makes durable.
    fn sync_once(&self) -> Result<u64> {
        let (segments, target) = {
            let mut writer = self.writer.lock();
            self.unsynced_bytes.store(0, Ordering::Relaxed);
            (std::mem::take(&mut writer.unsynced), self.next_offset())
        };
        for segment in segments {
            self.sync_segment(&segment)?;
        }
        Ok(target)
    }

    /// Syncs a segment's bytes. One at a time, and none behind one that failed: the system reports what it could not write
    /// once, and says yes the next time, though the bytes are gone.
    pub(super) fn sync_segment(&self, segment: &Segment) -> Result<()> {
        let _alone = self.syncing.lock();
        self.check_poison()?;
        let synced = segment.file.sync().map_err(Error::io("sync", self.storage.describe(&segment.path())));
        synced.inspect_err(|error| {
            let _ = self.poison.set(error.to_string());
        })
    }

    /// The checksum field of the log's first batch, if it has one.
    pub(super) fn identity(&self) -> Option<u32> {
        identity_of(&self.segments.read().clone())
    }

    pub(super) fn checkpoint(&self, end: Option<u64>) -> Result<()> {
        self.to_checkpoint(end).write(&*self.storage, &self.folder)
    }

    /// What there is to write down of this partition now; `end` says that it is being closed there.
    pub(super) fn to_checkpoint(&self, end: Option<u64>) -> Checkpoint {
        let has_producers = !self.producers.read().is_empty();
        Checkpoint {
            folder: Some(self.folder.clone()),
            recovery_point: self.durable_offset(),
            log_start_offset: self.log_start_offset(),
            segments: self.known_segments(end),
            end,
            snapshot: *self.snapshot.lock(),
            has_producers,
            identity: self.identity(),
            has_gaps: self.has_gaps.load(Ordering::Acquire),
            cleaned_until: self.cleaner.cleaned_until.load(Ordering::Acquire),
            generation: self.cleaner.generation.load(Ordering::Acquire),
            replacing: self.cleaner.replacing(),
        }
    }

    /// Syncs, writes the indexes, and notes that this was a clean close.
    pub(crate) fn close(&self) -> Result<()> {
        if self.is_closed.load(Ordering::Acquire) {
            return Ok(());
        }
        if !self.is_writable || self.failure.is_some() {
            self.is_closed.store(true, Ordering::Release);
            return Ok(());
        }
        let is_settled = self.stop_compaction();
        let outcome = self.sync().and_then(|()| {
            let segments = self.segments.read().clone();
            let mut writer = self.writer.lock();
            self.cut_debris(&mut writer)?;
            if writer.is_marked_clean {
                return Ok(());
            }
            drop(writer);
            self.seal_up_to_here(&segments)?;
            self.storage
                .sync_folder(&self.folder)
                .map_err(Error::io("sync a folder", self.storage.describe(&self.folder)))?;
            if !is_settled || segments.iter().any(|segment| !segment.damage.read().is_empty()) {
                return self.checkpoint(None); // found again, and reported again, at the next open
            }
            self.checkpoint(Some(self.next_offset()))
        });
        self.is_closed.store(true, Ordering::Release);
        self.synced.notify_all();
        outcome
    }

    /// Refuses everything from now on, without touching a file (the topic was deleted).
    pub(crate) fn abandon(&self) {
        self.stop_compaction();
        self.is_closed.store(true, Ordering::Release);
        self.synced.notify_all();
    }
}

/// The checksum field of the first batch of some segments; compaction may leave none in the first of them.
pub(super) fn identity_of(segments: &[Arc<Segment>]) -> Option<u32> {
    segments.iter().find_map(|segment| first_checksum(&*segment.file))
}
