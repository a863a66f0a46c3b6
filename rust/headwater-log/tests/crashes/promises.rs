//! What a program may rely on after a crash, as it grows while a workload runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_log::storage::SimulatedStorage;
use parking_lot::Mutex;

/// What was acknowledged, and what was under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Acknowledged {
    pub(crate) topics: BTreeMap<String, Stage>,
    /// By topic and partition.
    pub(crate) logs: BTreeMap<(String, u32), Promised>,
    /// By group, topic and partition.
    pub(crate) commits: BTreeMap<(String, String, u32), Commit>,
    pub(crate) transactions: Decided,
    pub(crate) updates: Updates,
    /// Of threads that share a partition, how many records each was told are durable, and how many it has sent.
    pub(crate) threads: [(u32, u32); 3],
}

/// How far a topic's life is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// `create_topic` was called.
    Creating,
    /// It is there.
    There,
    /// `delete_topic` was called.
    Deleting,
    /// It is gone.
    Gone,
}

/// What a partition promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Promised {
    /// Records below are forgotten.
    pub(crate) start: u64,
    /// Records below may be forgotten: that was asked for.
    pub(crate) start_max: u64,
    /// Records below are acknowledged.
    pub(crate) durable: u64,
    /// Records below were sent.
    pub(crate) appended: u64,
}

/// What a group committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Commit {
    /// The offset that was acknowledged last.
    pub(crate) done: u64,
    /// The one under way.
    pub(crate) under_way: u64,
}

/// How far a producer of transactions is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Decided {
    /// Transactions below were committed or aborted; the one of this number is under way.
    pub(crate) decided: u32,
    /// Whether that was told to commit.
    pub(crate) is_committing: bool,
}

/// How often the keys of a compacted topic were updated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Updates {
    /// Acknowledged.
    pub(crate) durable: u64,
    /// Sent.
    pub(crate) sent: u64,
}

impl Acknowledged {
    pub(crate) fn stage(&mut self, topic: &str, stage: Stage) {
        self.topics.insert(topic.to_owned(), stage);
    }

    pub(crate) fn log(&mut self, topic: &str, partition: u32) -> &mut Promised {
        self.logs.entry((topic.to_owned(), partition)).or_default()
    }

    pub(crate) fn commit(&mut self, group: &str, topic: &str, partition: u32) -> &mut Commit {
        self.commits.entry((group.to_owned(), topic.to_owned(), partition)).or_default()
    }
}

/// The promises of a run, each with the number of operations that had happened when it was made.
#[derive(Debug)]
pub(crate) struct History {
    storage: Arc<SimulatedStorage>,
    moments: Mutex<Vec<(usize, Acknowledged)>>,
}

impl History {
    pub(crate) fn new(storage: &Arc<SimulatedStorage>) -> Self {
        Self { storage: Arc::clone(storage), moments: Mutex::new(vec![(0, Acknowledged::default())]) }
    }

    /// Something was acknowledged, or is about to be tried: from this moment on it counts.
    pub(crate) fn note(&self, change: impl FnOnce(&mut Acknowledged)) {
        let mut moments = self.moments.lock();
        let mut promised = moments.last().expect("it begins with one").1.clone();
        change(&mut promised);
        moments.push((self.storage.operations(), promised));
    }

    /// What was promised when so many operations had happened.
    pub(crate) fn at(&self, operations: usize) -> Acknowledged {
        let moments = self.moments.lock();
        let later = moments.partition_point(|(moment, _)| *moment <= operations);
        moments[later - 1].1.clone()
    }
}
