//! The segments that need not be walked through when a partition is opened: a checkpoint lists them, and their files are just
//! as it says. So what an open reads is what was written since the last segment was begun.

use std::sync::Arc;

use crate::checkpoint::Checkpoint;
use crate::producers::{ProducerState, snapshot};
use crate::recovery::OpenFile;
use crate::segment::{Segment, stem};
use crate::storage::{Storage, read_all};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// From the log's start on.
    pub(crate) segments: Vec<Arc<Segment>>,
    /// Where the last of them ends.
    pub(crate) next_offset: u64,
    /// What was known of producers there.
    pub(crate) producers: ProducerState,
}

impl Known {
    /// What of a folder's segments is as a checkpoint says.
    pub(crate) fn of(storage: &dyn Storage, folder: &str, checkpoint: &Checkpoint, files: &[OpenFile]) -> Self {
        let mut found = Self::default();
        for (known, (base, file, size)) in checkpoint.segments.iter().zip(files) {
            if (known.base_offset, known.size) != (*base, *size) {
                break;
            }
            let Some((segment, aborted)) = Segment::from_known(storage, folder, known, file) else { break };
            aborted.into_iter().for_each(|transaction| found.producers.aborted.push(transaction));
            found.next_offset = known.next_offset;
            found.segments.push(Arc::new(segment));
        }
        if checkpoint.has_producers && !found.segments.is_empty() {
            let path = format!("{}.snapshot", stem(folder, found.next_offset));
            let bytes = storage.open(&path, false).and_then(|file| read_all(&*file));
            // A good one, of another time or another partition, is not the one that was written here.
            let is_it = |bytes: &Vec<u8>| checkpoint.snapshot == Some((found.next_offset, crc32c::crc32c(bytes)));
            let Some(mut producers) = bytes.ok().filter(is_it).and_then(|bytes| snapshot::parse(&bytes)) else {
                return Self::default();
            };
            producers.aborted = found.producers.aborted;
            found.producers = producers;
        }
        found
    }
}
