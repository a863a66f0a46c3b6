//! The threads that work for a broker on their own: the syncer (durability `interval:MS`), the janitor (retention and
//! compaction), and one that aborts transactions which take too long.
//!
//! Each is started when the first topic, or transactional id, asks for it, which is refused if there is no thread to be had.
//! [`Threads::end`] wakes them from their sleep, lets a round that is under way finish, and returns when none is left: a closed
//! broker has no threads. A broker that is dropped without a close ends them too, but does not wait, for it may be one of them
//! that drops it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use crate::broker::Inner;
use crate::{Durability, Error, Result, Topic, TopicConfig};

const SYNCER: &str = "headwater-syncer";

/// How often retention and compaction are looked at.
const CLEANING_CHECK: Duration = Duration::from_secs(30);

/// How often transactions are looked at: so much later than its time-out one may be aborted.
const OVERDUE_CHECK: Duration = Duration::from_secs(1);

/// The threads of one broker.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    running: Mutex<Vec<(&'static str, JoinHandle<()>)>>,
    is_ending: Arc<AtomicBool>,
}

impl Threads {
    /// Ends them all, and returns when they have ended. None can be started afterwards.
    pub(crate) fn end(&self) {
        let running = {
            let mut running = self.running.lock();
            self.wake_to_end(&running);
            std::mem::take(&mut *running)
        };
        for (_, handle) in running {
            // A round that panicked has ended as well; its partition says what is wrong with it to whoever appends.
            let _ = handle.join();
        }
    }

    /// Whether a round under way should come to its end soon.
    pub(crate) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Acquire)
    }

    fn wake_to_end(&self, running: &[(&'static str, JoinHandle<()>)]) {
        self.is_ending.store(true, Ordering::Release);
        for (_, handle) in running {
            handle.thread().unpark();
        }
    }

    /// Runs `round` again and again in a thread of that name, sleeping as long as it says; does nothing if there is one.
    fn ensure(&self, name: &'static str, broker: &Arc<Inner>, round: fn(&Inner) -> Duration) -> Result<()> {
        let mut running = self.running.lock();
        if self.is_ending() || running.iter().any(|(other, _)| *other == name) {
            return Ok(());
        }
        let (broker, is_ending) = (Arc::downgrade(broker), Arc::clone(&self.is_ending));
        let spawned = std::thread::Builder::new().name(name.into()).spawn(move || repeat(&broker, &is_ending, round));
        running.push((name, spawned.map_err(|source| Error::NoThread { name, source: Arc::new(source) })?));
        Ok(())
    }

    /// Begins a round now.
    pub(crate) fn wake(&self) {
        self.running.lock().iter().for_each(|(_, handle)| handle.thread().unpark());
    }

    /// Lets the syncer look again at how long it may sleep.
    pub(crate) fn wake_syncer(&self) {
        let running = self.running.lock();
        running.iter().filter(|(name, _)| *name == SYNCER).for_each(|(_, handle)| handle.thread().unpark());
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let running = std::mem::take(self.running.get_mut());
        self.wake_to_end(&running);
    }
}

fn repeat(broker: &Weak<Inner>, is_ending: &AtomicBool, round: fn(&Inner) -> Duration) {
    while !is_ending.load(Ordering::Acquire) {
        let Some(inner) = broker.upgrade() else { return };
        let pause = round(&inner);
        drop(inner);
        // Whoever ends us sets the flag first: an `unpark` before this returns at once.
        std::thread::park_timeout(pause);
    }
}

/// What threads may be asked to do.
#[derive(Clone, Copy)]
pub(crate) enum Work {
    /// Sync in intervals.
    Syncing,
    /// Forget and compact.
    Cleaning,
    /// Abort what takes too long.
    Transactions,
}

/// Starts the thread for some work, unless there is one.
///
/// # Errors
/// `NoThread` if the machine has none left: without one a setting would promise what nobody does.
pub(crate) fn ensure_thread(inner: &Arc<Inner>, work: Work) -> Result<()> {
    match work {
        Work::Syncing => inner.threads.ensure(SYNCER, inner, sync_round),
        Work::Cleaning => inner.threads.ensure("headwater-janitor", inner, janitor_round),
        Work::Transactions => inner.threads.ensure("headwater-transactions", inner, transactions_round),
    }
}

/// Starts the threads that the topics and transactional ids of a broker ask for.
///
/// # Errors
/// Those of [`ensure_thread`].
pub(crate) fn ensure_threads(inner: &Arc<Inner>) -> Result<()> {
    let asked = [
        (Work::Syncing, shortest_interval(inner).is_some()),
        (Work::Cleaning, inner.needs_cleaning()),
        (Work::Transactions, inner.transactions.is_used()),
    ];
    asked.into_iter().filter(|(_, is_asked)| *is_asked).try_for_each(|(work, _)| ensure_thread(inner, work))
}

/// Starts the threads that a topic which is about to have these settings asks for.
///
/// # Errors
/// Those of [`ensure_thread`].
pub(crate) fn ensure_threads_for(inner: &Arc<Inner>, config: &TopicConfig) -> Result<()> {
    if matches!(config.durability(), Some(Durability::Interval(_))) {
        ensure_thread(inner, Work::Syncing)?;
    }
    if config.needs_cleaning() {
        ensure_thread(inner, Work::Cleaning)?;
    }
    Ok(())
}

/// Forgets what need not be kept; returns when to look again.
fn janitor_round(inner: &Inner) -> Duration {
    inner.clean_up();
    CLEANING_CHECK
}

/// Aborts what takes too long; returns when to look again.
fn transactions_round(inner: &Inner) -> Duration {
    inner.transactions.abort_overdue(&inner.offsets);
    OVERDUE_CHECK
}

/// Syncs every partition that asks for it; returns when to do it again.
fn sync_round(inner: &Inner) -> Duration {
    let topics: Vec<Arc<Topic>> = inner.topics.read().values().cloned().collect();
    for partition in topics.iter().flat_map(|topic| &topic.partitions) {
        if matches!(partition.durability(), Durability::Interval(_)) && partition.is_dirty() {
            // A failure poisons the partition: whoever appends next is told.
            let _ = partition.sync();
        }
    }
    shortest_interval(inner).unwrap_or(CLEANING_CHECK)
}

fn shortest_interval(inner: &Inner) -> Option<Duration> {
    let topics = inner.topics.read();
    let of_topics = topics.values().flat_map(|topic| &topic.partitions).map(|partition| partition.durability());
    let interval = |durability| match durability {
        Durability::Interval(ms) => Some(Duration::from_millis(ms)),
        Durability::Fsync | Durability::Os => None,
    };
    of_topics.chain([inner.options.durability]).filter_map(interval).min()
}
