//! Forgetting what need not be kept: retention and compaction of every topic, on demand and in a thread of its own.

use std::sync::Arc;

use super::{Broker, Inner};
use crate::cleaner::Compaction;
use crate::{Error, Partition, Result, Topic};

impl Broker {
    /// Forgets what the topics' retention settings no longer keep. A thread does it every half minute where such settings
    /// are; this is for who cannot wait.
    ///
    /// # Errors
    /// The first of a partition; the others have been done all the same.
    pub fn apply_retention(&self) -> Result<()> {
        self.inner.check_writable()?;
        let now = self.inner.clock().now_ms();
        first_error(self.inner.partitions().iter().map(|partition| partition.apply_retention(now).map(drop)))
    }

    /// Leaves the last record of each key, in a compacted topic or in all of them, and up to the last record there is. A thread
    /// does it for what is sealed when enough of it is new; this is for who cannot wait.
    ///
    /// # Errors
    /// `Invalid` for a topic that is not compacted; otherwise the first of a partition, the others have been done all the same.
    pub fn compact(&self, topic: Option<&str>) -> Result<Compaction> {
        self.inner.check_writable()?;
        let topics: Vec<Arc<Topic>> = match topic {
            Some(name) => vec![self.topic(name)?],
            None => self.topics().into_iter().filter(|topic| topic.config.is_compacted()).collect(),
        };
        if let Some(topic) = topics.iter().find(|topic| !topic.config.is_compacted()) {
            return Err(Error::Invalid {
                message: format!(
                    "expected a topic whose cleanup.policy is compact, got '{}', whose is not; change the setting first",
                    topic.name
                ),
            });
        }
        let (now, mut done) = (self.inner.clock().now_ms(), Compaction::default());
        let partitions = topics.iter().flat_map(|topic| &topic.partitions);
        first_error(partitions.map(|partition| partition.compact(now, true).map(|compaction| done += compaction)))?;
        Ok(done)
    }
}

impl Inner {
    /// What the janitor does every time. What fails is tried again; a partition that cannot be written says so to whoever
    /// appends.
    pub(crate) fn clean_up(&self) {
        let now = self.clock().now_ms();
        for partition in self.partitions() {
            if self.threads.is_ending() {
                return;
            }
            let _ = partition.apply_retention(now);
            let _ = partition.compact(now, false);
        }
    }

    /// Whether some topic's settings give the janitor something to do.
    pub(crate) fn needs_cleaning(&self) -> bool {
        self.topics.read().values().any(|topic| topic.config.needs_cleaning())
    }

    fn partitions(&self) -> Vec<Arc<Partition>> {
        self.topics.read().values().flat_map(|topic| topic.partitions.clone()).collect()
    }
}

/// Does all, whatever happens.
fn first_error(outcomes: impl Iterator<Item = Result<()>>) -> Result<()> {
    outcomes.fold(Ok(()), Result::and)
}
