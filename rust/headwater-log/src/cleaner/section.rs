//! Which part of a partition may be compacted, whether it is time to, and which segments are copied into one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::TopicConfig;
use crate::segment::{Segment, first_header};

/// See the module.
#[derive(Debug)]
pub(crate) struct Section {
    /// The segments up to `until`, from the log's first on.
    pub(crate) segments: Vec<Arc<Segment>>,
    /// Where the part that no pass has seen begins.
    pub(crate) dirty_from: u64,
    /// Where it ends: at the active segment, the last stable offset, or records that are too young.
    pub(crate) until: u64,
}

impl Section {
    /// What may be cleaned of all `segments` at a time.
    pub(crate) fn of(
        segments: &[Arc<Segment>],
        dirty_from: u64,
        stable_offset: u64,
        config: &TopicConfig,
        now: i64,
    ) -> Self {
        let Some((active, sealed)) = segments.split_last() else {
            return Self { segments: Vec::new(), dirty_from, until: dirty_from };
        };
        let youngest = now.saturating_sub(config.min_compaction_lag_ms());
        let is_too_young = |segment: &&Arc<Segment>| {
            config.min_compaction_lag_ms() > 0
                && end_of(segment) > dirty_from
                && segment.max_timestamp.load(Ordering::Relaxed) > youngest
        };
        let young_from = sealed.iter().find(is_too_young).map_or(u64::MAX, |segment| segment.base_offset);
        let until = active.base_offset.min(stable_offset).min(young_from);
        let count = sealed.partition_point(|segment| segment.base_offset < until);
        Self { segments: sealed[..count].to_vec(), dirty_from, until }
    }

    /// Segments with something that no pass has seen.
    pub(crate) fn dirty(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.segments.iter().filter(|segment| end_of(segment) > self.dirty_from)
    }

    /// Whether enough of it is dirty, or something has been for too long.
    pub(crate) fn is_due(&self, config: &TopicConfig, now: i64) -> bool {
        let Some(first) = self.dirty().next().filter(|_| self.until > self.dirty_from) else { return false };
        let bytes = |segment: &Arc<Segment>| segment.size.load(Ordering::Relaxed) as f64;
        let (all, dirty): (f64, f64) = (self.segments.iter().map(bytes).sum(), self.dirty().map(bytes).sum());
        let oldest = config.max_compaction_lag_ms().map(|lag| now.saturating_sub(lag));
        dirty > all * config.min_cleanable_dirty_ratio()
            || oldest.is_some_and(|oldest| first_header(&*first.file).is_some_and(|first| first.max_timestamp < oldest))
    }

    /// Neighbours that fit into one segment together; none with damage.
    pub(crate) fn groups(&self, segment_bytes: u64) -> Vec<Vec<Arc<Segment>>> {
        let mut groups: Vec<Vec<Arc<Segment>>> = Vec::new();
        let (mut bytes, mut may_join) = (0, false);
        for segment in &self.segments {
            let size = segment.size.load(Ordering::Relaxed);
            let is_whole = segment.damage.read().is_empty();
            let fits = |group: &Vec<Arc<Segment>>| {
                bytes + size <= segment_bytes && end_of(segment) - group[0].base_offset <= i32::MAX as u64
            };
            match groups.last_mut().filter(|group| is_whole && may_join && fits(group)) {
                Some(group) => {
                    group.push(Arc::clone(segment));
                    bytes += size;
                }
                None if is_whole => {
                    groups.push(vec![Arc::clone(segment)]);
                    bytes = size;
                }
                None => {}
            }
            may_join = is_whole;
        }
        groups
    }
}

/// The offset after a segment's last.
fn end_of(segment: &Segment) -> u64 {
    segment.next_offset.load(Ordering::Acquire)
}
