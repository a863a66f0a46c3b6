//! What is written beside the segments that nobody writes any more, so that the next open need not walk through them: their
//! indexes, their aborted transactions, and what was known of producers where the last of them ended.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Partition;
use crate::checkpoint::KnownSegment;
use crate::producers::snapshot;
use crate::segment::Segment;
use crate::storage::replace;
use crate::{Error, Result};

/// Snapshots that are kept: one may be lost.
const SNAPSHOTS: usize = 2;

impl Partition {
    /// Seals segments, and writes a snapshot of the producers at the log's end; the writer's lock is held, or nobody writes.
    pub(super) fn seal_up_to_here(&self, segments: &[Arc<Segment>]) -> Result<()> {
        self.seal(segments)?;
        self.write_snapshot(self.next_offset())
    }

    /// Writes what is beside segments that nobody writes any more.
    pub(super) fn seal(&self, segments: &[Arc<Segment>]) -> Result<()> {
        for segment in segments.iter().filter(|segment| segment.damage.read().is_empty()) {
            let next_offset = segment.next_offset.load(Ordering::Acquire);
            let aborted = self.producers.read().aborted.to_bytes(segment.base_offset, next_offset);
            segment.seal(&*self.storage, &aborted)?;
        }
        Ok(())
    }

    fn write_snapshot(&self, end: u64) -> Result<()> {
        let bytes = {
            let mut producers = self.producers.write();
            producers.expire(self.clock.now_ms(), self.log_start_offset());
            if producers.is_empty() {
                return Ok(());
            }
            snapshot::to_bytes(&producers)
        };
        let name = format!("{end:020}.snapshot");
        let io = || Error::io("write a snapshot", self.storage.describe(&format!("{}/{name}", self.folder)));
        replace(&*self.storage, &self.folder, &name, &bytes).map_err(io())?;
        *self.snapshot.lock() = Some((end, crc32c::crc32c(&bytes)));
        let mut names = self.storage.list(&self.folder).map_err(io())?;
        names.retain(|name| name.ends_with(".snapshot"));
        names.sort_unstable();
        for name in names.iter().rev().skip(SNAPSHOTS) {
            self.storage.remove_file(&format!("{}/{name}", self.folder)).map_err(io())?;
        }
        Ok(())
    }

    /// The segments from the start on that need not be walked through, as a checkpoint lists them.
    pub(super) fn known_segments(&self, end: Option<u64>) -> Vec<KnownSegment> {
        let segments = self.segments.read();
        let durable = self.durable_offset();
        // The last one grows, but for a clean close.
        let listed = if end.is_some() { segments.len() } else { segments.len().saturating_sub(1) };
        let known = segments[..listed].iter().map_while(|segment| segment.known());
        known.take_while(|known| known.next_offset <= durable).collect()
    }
}
