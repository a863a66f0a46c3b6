//! A partition as a reader of reports wants to see it: where it begins and ends, and the files that it lies in.

use std::sync::atomic::Ordering;

use super::Partition;
use crate::segment::{Segment, first_header};

/// A partition at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDescription {
    /// The first offset still kept.
    pub log_start_offset: u64,
    /// Readers of decided transactions see what lies below.
    pub last_stable_offset: u64,
    /// Readers see what lies below.
    pub high_watermark: u64,
    /// One past the last record written.
    pub next_offset: u64,
    /// Bytes of all segments.
    pub size_bytes: u64,
    /// Its folder.
    pub path: String,
    /// Its segments, oldest first.
    pub segments: Vec<SegmentDescription>,
}

/// One file of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentDescription {
    /// The first offset it may hold.
    pub base_offset: u64,
    /// The offset after the last it holds.
    pub next_offset: u64,
    /// Bytes of batches.
    pub size_bytes: u64,
    /// Timestamp of the first batch's first record; None without records.
    pub first_timestamp: Option<i64>,
    /// The largest timestamp; None without records.
    pub max_timestamp: Option<i64>,
    /// The file.
    pub path: String,
}

impl Partition {
    /// What there is of it now. Reads the first header of every segment.
    #[must_use]
    pub fn describe(&self) -> PartitionDescription {
        let segments = self.segments.read().clone();
        let segments: Vec<_> = segments.iter().map(|segment| self.describe_segment(segment)).collect();
        PartitionDescription {
            log_start_offset: self.log_start_offset(),
            last_stable_offset: self.last_stable_offset(),
            high_watermark: self.high_watermark(),
            next_offset: self.next_offset(),
            size_bytes: segments.iter().map(|segment| segment.size_bytes).sum(),
            path: self.path(),
            segments,
        }
    }

    fn describe_segment(&self, segment: &Segment) -> SegmentDescription {
        let newest = segment.max_timestamp.load(Ordering::Relaxed);
        SegmentDescription {
            base_offset: segment.base_offset,
            next_offset: segment.next_offset.load(Ordering::Acquire),
            size_bytes: segment.size.load(Ordering::Acquire),
            first_timestamp: first_header(&*segment.file).map(|header| header.base_timestamp),
            max_timestamp: (newest != i64::MIN).then_some(newest),
            path: self.storage.describe(&segment.path()),
        }
    }
}
