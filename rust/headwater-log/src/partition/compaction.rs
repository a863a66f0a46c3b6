//! Compacting a partition: the files are read, copied and swapped here; what is kept of them says [`crate::cleaner`].
//!
//! Appends and readers go on meanwhile. Only the swap of a group of segments holds the writer's lock, so that nothing else
//! writes a checkpoint or removes segments in between; whoever reads a replaced segment keeps its open file.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use headwater_record::Batch;

use super::Partition;
use super::syncing::identity_of;
use crate::checkpoint::Checkpoint;
use crate::cleaner::{CHUNK_BYTES, Compaction, Copy, LastOffsets, LastSwap, Rules, Section, Verdict};
use crate::segment::{Next, Segment, first_checksum, remove_if_there, stem};
use crate::swap::{self, Swap, cleaned_path, swap_path};
use crate::{Error, Result};

impl Partition {
    /// Leaves the last record of each key, if the topic's `cleanup.policy` says so: when enough has been written since the
    /// last time (`min.cleanable.dirty.ratio`), or, with `force`, now and up to the last record there is.
    ///
    /// # Errors
    /// `Corrupt` if bytes turn out to be damaged: the next call leaves their segment alone. `Io` if a file cannot be written:
    /// nothing has changed for readers then.
    pub fn compact(&self, now: i64, force: bool) -> Result<Compaction> {
        self.check_writable()?;
        let _running = self.cleaner.running.lock();
        self.check_going()?;
        if !self.config().is_compacted() {
            return Ok(Compaction::default());
        }
        self.settle_swap()?;
        if force {
            self.seal_active()?;
            self.sync()?;
        }
        let section = self.section(now);
        if section.segments.is_empty() || !(force || section.is_due(&self.config(), now)) {
            return Ok(Compaction::default());
        }
        self.sync()?;
        let mut rules = self.rules(&section, now)?;
        let mut done = Compaction::default();
        for group in section.groups(self.config().segment_bytes()) {
            if group[0].base_offset < rules.until {
                done += self.compact_group(&group, &mut rules)?;
            }
        }
        let mut writer = self.writer.lock();
        self.check_going()?;
        self.cleaner.cleaned_until.store(rules.until, Ordering::Release);
        writer.is_marked_clean = false;
        self.checkpoint(None)?;
        Ok(done)
    }

    /// Lets a running compaction end soon, and none begin.
    pub(crate) fn end_compaction(&self) {
        self.cleaner.is_stopped.store(true, Ordering::Release);
    }

    /// Waits until no compaction runs any more; returns whether all files are in place.
    pub(super) fn stop_compaction(&self) -> bool {
        self.end_compaction();
        let _running = self.cleaner.running.lock();
        self.settle_swap().is_ok()
    }

    fn check_going(&self) -> Result<()> {
        self.check_open()?;
        if self.cleaner.is_stopped.load(Ordering::Acquire) {
            return Err(Error::Closed { what: format!("topic '{}' partition {}", self.topic, self.number) });
        }
        Ok(())
    }

    /// Begins a new segment, so that all records so far lie in sealed ones.
    fn seal_active(&self) -> Result<()> {
        let mut writer = self.writer.lock();
        self.check_going()?;
        let active = Arc::clone(self.segments.read().last().expect("a writable partition has a segment"));
        if active.size.load(Ordering::Relaxed) > 0 {
            if writer.is_marked_clean {
                self.checkpoint(None)?; // before there is one segment more than it says
                writer.is_marked_clean = false;
            }
            writer.first_timestamp = None;
            self.cut_debris(&mut writer)?;
            self.roll(&active)?;
        }
        Ok(())
    }

    fn section(&self, now: i64) -> Section {
        let segments = self.segments.read().clone();
        let seen = self.cleaner.cleaned_until.load(Ordering::Acquire);
        // Of a log that has lost its end nothing was seen.
        let seen = if seen > self.next_offset() { 0 } else { seen };
        Section::of(&segments, seen.max(self.log_start_offset()), self.last_stable_offset(), &self.config(), now)
    }

    /// Reads the dirty section and the headers of everything.
    fn rules(&self, section: &Section, now: i64) -> Result<Rules> {
        let producers = self.producers.read().clone();
        let (mut keys, mut until) = (LastOffsets::default(), section.until);
        let mut is_empty = true;
        for segment in section.dirty().filter(|segment| segment.damage.read().is_empty()) {
            self.each_batch(segment, |batch| {
                let header = &batch.header;
                if header.base_offset >= until {
                    return Ok(ControlFlow::Break(()));
                }
                if keys.is_full() && !is_empty {
                    until = header.base_offset;
                    return Ok(ControlFlow::Break(()));
                }
                is_empty = false;
                if header.last_offset() < section.dirty_from
                    || header.is_control()
                    || producers.aborted.contains(header)
                {
                    return Ok(ControlFlow::Continue(()));
                }
                // What cannot be decoded supersedes nothing.
                let records = batch.records().ok();
                for record in records.iter().flatten().map_while(std::result::Result::ok) {
                    if let Some(key) = record.key {
                        keys.see(key, record.offset);
                    }
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        let delete_horizon = now.saturating_add(self.config().delete_retention_ms());
        let (is_behind_damage, in_transaction) = (false, std::collections::HashSet::new());
        Ok(Rules { keys, until, producers, now, delete_horizon, is_behind_damage, in_transaction })
    }

    fn compact_group(&self, group: &[Arc<Segment>], rules: &mut Rules) -> Result<Compaction> {
        rules.is_behind_damage |= self.is_damaged_before(group[0].base_offset);
        let stem = &group[0].stem;
        let copied = self.copy_group(group, rules);
        let (copy, mut done) = match copied {
            Ok(Some(copied)) => copied,
            unchanged_or_failed => {
                remove_if_there(&*self.storage, &cleaned_path(stem))?;
                return unchanged_or_failed.map(|_| Compaction::default());
            }
        };
        let size = |segment: &Arc<Segment>| segment.size.load(Ordering::Relaxed);
        (done.segments_before, done.segments_after) = (group.len(), 1);
        (done.bytes_before, done.bytes_after) = (group.iter().map(size).sum(), size(&copy));
        swap::offer(&*self.storage, &self.folder, stem)?;
        if self.swap_in(group, copy)? { Ok(done) } else { Ok(Compaction::default()) }
    }

    fn is_damaged_before(&self, offset: u64) -> bool {
        let segments = self.segments.read();
        segments.iter().any(|segment| segment.base_offset < offset && !segment.damage.read().is_empty())
            || self.missing.iter().any(|(first, _)| *first < offset)
    }

    /// Writes and syncs what is kept of a group; None if that is the segment as it is.
    fn copy_group(&self, group: &[Arc<Segment>], rules: &mut Rules) -> Result<Option<(Arc<Segment>, Compaction)>> {
        let mut done = Compaction::default();
        let mut copy = Copy::create(&*self.storage, &group[0], self.config().index_interval_bytes())?;
        let mut is_changed = group.len() > 1;
        copy.is_writing = is_changed;
        for segment in group {
            self.each_batch(segment, |batch| {
                let records = |batch: &Batch| {
                    if batch.header.is_control() { 0 } else { u64::from(batch.header.records_count) }
                };
                done.records_before += records(batch);
                let verdict = rules.judge(batch);
                if !is_changed && verdict != Verdict::Keep {
                    is_changed = true;
                    copy.catch_up(segment)?;
                }
                match verdict {
                    Verdict::Keep => {
                        done.records_after += records(batch);
                        copy.push(batch.as_bytes())?;
                    }
                    Verdict::Replace(bytes) => {
                        let (batch, _) = Batch::split(&bytes.into())?;
                        done.records_after += records(&batch);
                        copy.push(batch.as_bytes())?;
                    }
                    Verdict::Drop => {}
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        if !is_changed {
            return Ok(None);
        }
        let next_offset = group.last().map_or(0, |last| last.next_offset.load(Ordering::Acquire));
        Ok(Some((copy.finish(next_offset)?, done)))
    }

    /// Commits a swap and puts its files in place; false if its segments have been deleted meanwhile.
    fn swap_in(&self, group: &[Arc<Segment>], copy: Arc<Segment>) -> Result<bool> {
        let waiting = swap_path(&copy.stem);
        let mut writer = self.writer.lock();
        let is_there = {
            let segments = self.segments.read();
            group.iter().all(|old| segments.iter().any(|segment| Arc::ptr_eq(segment, old)))
        };
        if !is_there || self.check_going().is_err() {
            remove_if_there(&*self.storage, &waiting)?;
            self.check_going()?;
            return Ok(false);
        }
        let mut segments = self.segments.read().clone();
        let at = segments.partition_point(|segment| segment.base_offset < copy.base_offset);
        segments.splice(at..at + group.len(), [Arc::clone(&copy)]);
        let until = copy.next_offset.load(Ordering::Acquire);
        let swap = Swap { base: copy.base_offset, until, identity: first_checksum(&*copy.file) };
        // Readers and whoever opens the log must know that there may be gaps before there are.
        self.has_gaps.store(true, Ordering::Release);
        self.cleaner.generation.fetch_add(1, Ordering::AcqRel);
        writer.is_marked_clean = false;
        *self.cleaner.last_swap.lock() = LastSwap::InDoubt(swap);
        Checkpoint { identity: identity_of(&segments), replacing: Some(swap), ..self.to_checkpoint(None) }
            .write(&*self.storage, &self.folder)?;
        *self.cleaner.last_swap.lock() = LastSwap::Committed(swap);
        *self.segments.write() = segments;
        self.finish_swap(&swap)?;
        self.seal(&[Arc::clone(&copy)])?;
        Ok(true)
    }

    /// Ends what the last swap left unfinished when a file could not be written.
    fn settle_swap(&self) -> Result<()> {
        let last = *self.cleaner.last_swap.lock();
        let _writer = self.writer.lock();
        match last {
            LastSwap::Settled => Ok(()),
            LastSwap::Committed(swap) => self.finish_swap(&swap),
            LastSwap::InDoubt(swap) => {
                self.checkpoint(None)?;
                remove_if_there(&*self.storage, &swap_path(&stem(&self.folder, swap.base)))?;
                *self.cleaner.last_swap.lock() = LastSwap::Settled;
                Ok(())
            }
        }
    }

    /// Puts the files of a committed swap in place and takes the intent back; the writer's lock is held.
    fn finish_swap(&self, swap: &Swap) -> Result<()> {
        swap::finish(&*self.storage, &self.folder, swap)?;
        self.write_mark()?;
        Checkpoint { replacing: None, ..self.to_checkpoint(None) }.write(&*self.storage, &self.folder)?;
        *self.cleaner.last_swap.lock() = LastSwap::Settled;
        Ok(())
    }

    /// Offers every batch of a segment, checked as for a reader; damage is noted, and an error.
    fn each_batch(&self, segment: &Segment, mut offer: impl FnMut(&Batch) -> Result<ControlFlow<()>>) -> Result<()> {
        let (mut position, mut next) = (0, Next::Begins(segment.base_offset));
        let end = segment.size.load(Ordering::Acquire);
        while position < end {
            self.check_going()?;
            let chunk = segment.batches_from(position, CHUNK_BYTES).map_err(self.read_failed(segment))?;
            for (at, batch) in &chunk.batches {
                if let Err(what) = self.check_place(segment, &batch.header, next) {
                    return Err(self.damaged(segment, *at, next, what));
                }
                next = Next::Begins(batch.header.next_offset());
                if offer(batch)?.is_break() {
                    return Ok(());
                }
            }
            if let Some(failure) = chunk.failure {
                return Err(self.damaged(segment, chunk.end, next, failure.to_string()));
            }
            if chunk.batches.is_empty() {
                return Err(self.damaged(segment, chunk.end, next, "bytes that end too early".into()));
            }
            position = chunk.end;
        }
        Ok(())
    }

    fn damaged(&self, segment: &Segment, position: u64, next: Next, what: String) -> Error {
        if let Err(error) = segment.note_damage(position, next.at_least(), what) {
            return self.read_failed(segment)(error);
        }
        match segment.damage_at(position) {
            Some(damage) => self.corrupt(segment, next.at_least(), &damage),
            None => self.read_failed(segment)(std::io::Error::other("the segment became shorter")),
        }
    }

    fn read_failed(&self, segment: &Segment) -> impl FnOnce(std::io::Error) -> Error + use<> {
        Error::io("read a segment", self.storage.describe(&segment.path()))
    }
}
