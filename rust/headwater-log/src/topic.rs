//! A topic: its name, its settings by Kafka's names, and its partitions.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::{Error, Partition, Result, settings};

/// What an acknowledgement waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The `fdatasync` that covers it.
    #[default]
    Fsync,
    /// The write; a sync follows every so many milliseconds.
    Interval(u64),
    /// The write; the operating system decides.
    Os,
}

impl Durability {
    /// From `fsync`, `interval:MS` or `os`.
    pub fn parse(text: &str) -> Result<Self> {
        match text.split_once(':') {
            None if text == "fsync" => Ok(Self::Fsync),
            None if text == "os" => Ok(Self::Os),
            Some(("interval", ms)) if ms.parse::<u64>().is_ok_and(|ms| ms > 0) => {
                Ok(Self::Interval(ms.parse().expect("checked")))
            }
            _ => Err(Error::Invalid {
                message: format!("expected \"fsync\", \"interval:MS\" or \"os\", got {text:?} - at durability"),
            }),
        }
    }
}

/// A topic's settings, as text by Kafka's names; what this crate does not know it keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicConfig {
    settings: BTreeMap<String, String>,
}

impl TopicConfig {
    /// From names and values, all of which are checked.
    ///
    /// # Errors
    /// `Invalid` for a name that is neither Kafka's nor begins with `headwater.`, and for a value that means nothing.
    pub fn new(settings: BTreeMap<String, String>) -> Result<Self> {
        settings::check(&settings)?;
        Ok(Self { settings })
    }

    /// As a directory holds them: written by a release that may have known other names.
    pub(crate) fn stored(settings: BTreeMap<String, String>) -> Self {
        Self { settings }
    }

    /// All settings given.
    #[must_use]
    pub fn settings(&self) -> &BTreeMap<String, String> {
        &self.settings
    }

    fn number(&self, name: &str, default: u64) -> u64 {
        self.settings.get(name).and_then(|text| text.parse().ok()).unwrap_or(default)
    }

    /// Size at which a segment is sealed.
    pub(crate) fn segment_bytes(&self) -> u64 {
        self.number("segment.bytes", 1 << 30).min(i32::MAX as u64)
    }

    /// Span of record time at which a segment is sealed: early enough for compaction, which only sees sealed ones.
    pub(crate) fn segment_ms(&self) -> u64 {
        let lag = self.max_compaction_lag_ms().filter(|_| self.is_compacted()).and_then(|lag| lag.try_into().ok());
        self.number("segment.ms", u64::MAX).min(lag.unwrap_or(u64::MAX))
    }

    /// The largest batch that is taken; None is any, which is the default here.
    pub(crate) fn max_message_bytes(&self) -> Option<usize> {
        self.settings.get("max.message.bytes").and_then(|text| text.parse().ok())
    }

    /// Bytes of log between two index entries.
    pub(crate) fn index_interval_bytes(&self) -> u64 {
        self.number("index.interval.bytes", 4096)
    }

    /// Whether only the last record of each key is kept: offsets between batches may be missing then.
    pub(crate) fn is_compacted(&self) -> bool {
        self.settings.get("cleanup.policy").is_some_and(|policy| policy.split(',').any(|part| part.trim() == "compact"))
    }

    /// Whether there is something that may be forgotten some day.
    pub(crate) fn needs_cleaning(&self) -> bool {
        self.is_compacted() || self.retention_ms().is_some() || self.retention_bytes().is_some()
    }

    /// Whether old segments may be deleted.
    pub(crate) fn is_deleting(&self) -> bool {
        self.settings.get("cleanup.policy").is_none_or(|policy| policy.split(',').any(|part| part.trim() == "delete"))
    }

    /// The part of a log that must be dirty before it is compacted.
    pub(crate) fn min_cleanable_dirty_ratio(&self) -> f64 {
        self.settings.get("min.cleanable.dirty.ratio").and_then(|text| text.parse().ok()).unwrap_or(0.5)
    }

    /// How long compaction keeps tombstones that it has seen.
    pub(crate) fn delete_retention_ms(&self) -> i64 {
        self.duration("delete.retention.ms").unwrap_or(24 * 60 * 60 * 1_000)
    }

    /// Younger records are not compacted.
    pub(crate) fn min_compaction_lag_ms(&self) -> i64 {
        self.duration("min.compaction.lag.ms").unwrap_or(0)
    }

    /// Older ones are, however little is dirty.
    pub(crate) fn max_compaction_lag_ms(&self) -> Option<i64> {
        self.duration("max.compaction.lag.ms")
    }

    fn duration(&self, name: &str) -> Option<i64> {
        self.settings.get(name).and_then(|text| text.parse().ok())
    }

    /// How long records are kept; None is for ever, which is the default here.
    pub(crate) fn retention_ms(&self) -> Option<i64> {
        self.settings.get("retention.ms").and_then(|text| text.parse().ok()).filter(|age| *age >= 0)
    }

    /// How many bytes of a partition are kept; None is all, the default.
    pub(crate) fn retention_bytes(&self) -> Option<u64> {
        self.settings.get("retention.bytes").and_then(|text| text.parse().ok())
    }

    pub(crate) fn is_log_append_time(&self) -> bool {
        self.settings.get("message.timestamp.type").is_some_and(|kind| kind == "LogAppendTime")
    }

    /// The times that records may have now; None is any, which is the default here.
    pub(crate) fn times_around(&self, now: i64) -> Option<RangeInclusive<i64>> {
        let (before, after) =
            (self.duration("message.timestamp.before.max.ms"), self.duration("message.timestamp.after.max.ms"));
        if self.is_log_append_time() || (before, after) == (None, None) {
            return None;
        }
        let oldest = before.map_or(i64::MIN, |before| now.saturating_sub(before));
        Some(oldest..=after.map_or(i64::MAX, |after| now.saturating_add(after)))
    }

    pub(crate) fn durability(&self) -> Option<Durability> {
        self.settings.get("headwater.durability").and_then(|text| Durability::parse(text).ok())
    }
}

/// See the module.
#[derive(Debug)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its settings.
    pub config: TopicConfig,
    /// Its partitions, by number.
    pub partitions: Vec<Arc<Partition>>,
}
