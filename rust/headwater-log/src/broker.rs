//! A directory of topics: their settings in `headwater.json`, their partitions in folders, one process that writes.
//!
//! ```text
//! DIR/headwater.json   DIR/.lock   DIR/TOPIC-PARTITION/<20 digits>.log ...
//! ```
//! Making a topic, or more partitions of one, creates the folders first and then names them in `headwater.json` (replaced
//! atomically); deleting one goes the other way. A folder that the file does not name is one of two things: what an
//! interrupted creation or deletion of ours left behind (it has our checkpoint), which is removed when the name is used
//! again; or something else's, Kafka's say, which becomes a topic when the directory is opened.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};

use self::following::open_beside;
use crate::background::{Threads, Work, ensure_thread, ensure_threads, ensure_threads_for};
use crate::catalog::{self, find_foreign, is_leftover, read_topics, remove_partition};
use crate::growth::Growth;
use crate::offsets::{OFFSETS_TOPIC, OffsetStore};
use crate::partition::Setting;
use crate::storage::{Footing, Lock, Storage};
use crate::transactions::{Coordinator, TRANSACTIONS_TOPIC, TransactionDescription, TransactionalProducer};
use crate::{Clock, Durability, Error, Partition, Result, SystemClock, Topic, TopicConfig};

mod cleaning;
mod following;

const LOCK: &str = ".lock";
/// Only full segments are compacted, and all are read when the directory is opened: so much takes some tenths of a second.
const INTERNAL_SEGMENT_BYTES: &str = "16777216";

/// What a broker may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Everything; one process at a time.
    #[default]
    ReadWrite,
    /// Read what is durable, beside a process that writes; changes nothing, not even a torn tail.
    Read,
}

/// How a broker is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// What an acknowledgement waits for, where a topic does not say.
    pub durability: Durability,
    /// What it may do.
    pub mode: Mode,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self { durability: Durability::Fsync, mode: Mode::ReadWrite, clock: Arc::new(SystemClock) }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Broker {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    storage: Arc<dyn Storage>,
    pub(crate) options: Options,
    pub(crate) topics: RwLock<BTreeMap<String, Arc<Topic>>>,
    /// Held while topics are made, changed or deleted.
    changes: Mutex<()>,
    /// The list of topics that a log that is only read has last seen.
    followed: Mutex<following::Listed>,
    /// Up to where a log that is only read has read the commits, by partition.
    followed_commits: Mutex<Vec<u64>>,
    pub(crate) offsets: OffsetStore,
    pub(crate) transactions: Coordinator,
    warnings: Vec<String>,
    growth: Arc<Growth>,
    pub(crate) threads: Threads,
    is_closed: AtomicBool,
    lock: Mutex<Option<LockGuard>>,
}

struct LockGuard(#[allow(dead_code, reason = "held for its drop")] Lock);

impl std::fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LockGuard")
    }
}

impl Broker {
    /// Opens a directory, making it if it is missing, and recovers every partition.
    ///
    /// # Errors
    /// `Locked` if another process writes it; `Corrupt` if its format is newer or its topics cannot be read.
    pub fn open(storage: Arc<dyn Storage>, options: Options) -> Result<Self> {
        let is_writable = options.mode == Mode::ReadWrite;
        let root = storage.describe("");
        let mut lock = None;
        if is_writable {
            storage.create_folder("").map_err(Error::io("create a folder", root.clone()))?;
            match storage.lock(LOCK).map_err(Error::io("lock", root.clone()))? {
                Ok(held) => lock = Some(LockGuard(held)),
                Err(holder) => return Err(Error::Locked { path: root, holder }),
            }
        }
        let mut warnings = Vec::new();
        if is_writable {
            let footing = storage.footing().map_err(Error::io("look at the file system", root.clone()))?;
            warnings.extend(check_footing(footing, &root)?);
        }
        let fingerprint = catalog::fingerprint(&*storage);
        let described = read_topics(&*storage)?;
        let known = described.clone().unwrap_or_default();
        let followed = following::Listed::new(fingerprint, &known);
        let adopted = find_foreign(&*storage, &known, is_writable, &mut warnings)?;
        if described.is_none() && adopted.is_empty() && !is_writable {
            return Err(Error::Invalid {
                message: format!("expected a directory with a log, got none - at {root}; create it with mode=\"rw\""),
            });
        }
        let has_changed = described.is_none() || !adopted.is_empty();
        let growth = Arc::new(Growth::default());
        let mut topics = BTreeMap::new();
        for (name, count, config) in known.into_iter().chain(adopted) {
            let topic = open_topic(&storage, &options, &growth, &name, count, config, &mut warnings);
            topics.insert(name, Arc::new(topic));
        }
        let transactions = Coordinator::new(Arc::clone(&options.clock));
        if let Some(topic) = topics.get(TRANSACTIONS_TOPIC) {
            transactions.load(&topic.partitions)?;
            transactions.check_readable(topics.values().flat_map(|topic| &topic.partitions));
        }
        if is_writable {
            // Before committed offsets are read: some of them may be waiting for the end of a transaction.
            let all: Vec<Arc<Partition>> = topics.values().flat_map(|topic| topic.partitions.clone()).collect();
            transactions.recover(&all, &mut warnings);
        }
        let offsets = OffsetStore::new(Arc::clone(&options.clock));
        if let Some(topic) = topics.get(OFFSETS_TOPIC) {
            offsets.load(&topic.partitions)?;
        }
        let inner = Arc::new(Inner {
            storage,
            options,
            topics: RwLock::new(topics),
            changes: Mutex::new(()),
            followed: Mutex::new(followed),
            followed_commits: Mutex::default(),
            offsets,
            transactions,
            warnings,
            growth,
            threads: Threads::default(),
            is_closed: AtomicBool::new(false),
            lock: Mutex::new(lock),
        });
        if is_writable {
            if has_changed {
                inner.write_topics()?;
            }
            ensure_threads(&inner)?;
        }
        Ok(Self { inner })
    }

    /// What recovery found and did when this broker was opened.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.inner.warnings
    }

    /// What it may do.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.inner.options.mode
    }

    /// Where the directory is.
    #[must_use]
    pub fn path(&self) -> String {
        self.inner.storage.describe("")
    }

    /// Makes a topic.
    pub fn create_topic(&self, name: &str, partitions: u32, config: TopicConfig) -> Result<Arc<Topic>> {
        let inner = &self.inner;
        inner.check_writable()?;
        let _changing = inner.changes.lock();
        ensure_threads_for(inner, &config)?;
        inner.offsets.forget_topic(name)?; // of an earlier one, should the process have ended before that was done
        let topic = inner.create_topic(name, partitions, config)?;
        inner.threads.wake_syncer();
        Ok(topic)
    }

    /// Gives a topic more partitions, up to `total`. Handles of the old ones keep working; keys may move to new ones.
    ///
    /// # Errors
    /// `Invalid` for fewer than there are: records are never taken away like this.
    pub fn add_partitions(&self, name: &str, total: u32) -> Result<Arc<Topic>> {
        let inner = &self.inner;
        inner.check_writable()?;
        let _changing = inner.changes.lock();
        let topic = self.topic(name)?;
        inner.add_partitions(&topic, total)
    }

    /// Replaces a topic's settings; they hold at once.
    pub fn set_topic_config(&self, name: &str, config: TopicConfig) -> Result<()> {
        let inner = &self.inner;
        inner.check_writable()?;
        let _changing = inner.changes.lock();
        let old = self.topic(name)?;
        ensure_threads_for(inner, &config)?;
        let partitions = old.partitions.clone();
        inner.replace_topic(&old, Topic { name: name.to_owned(), config: config.clone(), partitions })?;
        old.partitions.iter().try_for_each(|partition| partition.set_config(config.clone()))?;
        inner.threads.wake();
        Ok(())
    }

    /// Deletes a topic and everything in it; its handles are closed.
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        let inner = &self.inner;
        inner.check_writable()?;
        let _changing = inner.changes.lock();
        inner.delete_topic(&self.topic(name)?)?;
        // A full disk does not keep a topic from being deleted: whoever makes one of this name does it then.
        let _ = inner.offsets.forget_topic(name);
        Ok(())
    }

    /// All topics, by name.
    #[must_use]
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        self.inner.topics.read().values().cloned().collect()
    }

    /// A topic.
    pub fn topic(&self, name: &str) -> Result<Arc<Topic>> {
        self.inner.topics.read().get(name).cloned().ok_or_else(|| Error::UnknownTopic { topic: name.to_owned() })
    }

    /// A partition of a topic.
    pub fn partition(&self, name: &str, partition: u32) -> Result<Arc<Partition>> {
        let topic = self.topic(name)?;
        topic.partitions.get(partition as usize).cloned().ok_or_else(|| Error::UnknownPartition {
            topic: name.to_owned(),
            partition,
            last: u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX).saturating_sub(1),
        })
    }

    /// Committed offsets.
    #[must_use]
    pub fn offsets(&self) -> &OffsetStore {
        &self.inner.offsets
    }

    /// Commits a group's offsets, as (topic, partition, next offset, metadata): one batch, durable when it returns.
    pub fn commit_offsets(&self, group: &str, offsets: &[(String, u32, u64, String)]) -> Result<()> {
        self.inner.check_writable()?;
        let mut is_first = false;
        self.inner.offsets.commit(group, offsets, || {
            is_first = true;
            self.inner.offsets_log()
        })?;
        if is_first {
            // For the topic that was made. Its janitor can wait for the next who asks; the commit is durable.
            let _ = ensure_thread(&self.inner, Work::Cleaning);
        }
        Ok(())
    }

    /// Makes a producer whose records count in transactions. A producer that has the transactional id already is fenced, and
    /// what it has left open is aborted. A transaction that takes longer than `timeout_ms` is aborted, too.
    ///
    /// # Errors
    /// `Corrupt` if a decision may lie in damaged bytes; those of writing.
    pub fn transactional_producer(&self, id: &str, timeout_ms: i32) -> Result<TransactionalProducer> {
        self.inner.check_writable()?;
        ensure_thread(&self.inner, Work::Transactions)?;
        ensure_thread(&self.inner, Work::Cleaning)?;
        TransactionalProducer::new(Arc::clone(&self.inner), id, timeout_ms)
    }

    /// Every transactional id, by name.
    #[must_use]
    pub fn transactions(&self) -> Vec<TransactionDescription> {
        self.inner.transactions.describe()
    }

    /// Aborts the transactions that have taken too long. A thread does it every second while there are transactional ids.
    pub fn abort_overdue_transactions(&self) {
        self.inner.transactions.abort_overdue(&self.inner.offsets);
    }

    /// How often some partition's readers have come to see more: for [`wait_for_growth`](Self::wait_for_growth).
    #[must_use]
    pub fn growth(&self) -> u64 {
        self.inner.growth.count()
    }

    /// Waits until some partition's readers can see more than when the count was `seen`, or the time is over; returns the
    /// count of now. Look at the partitions after taking the count and before waiting.
    #[must_use]
    pub fn wait_for_growth(&self, seen: u64, timeout: Duration) -> u64 {
        self.inner.growth.wait(seen, timeout)
    }

    /// Wakes everybody who is in [`wait_for_growth`](Self::wait_for_growth), as if something had grown.
    pub fn wake(&self) {
        self.inner.growth.announce();
    }

    /// Makes everything written so far durable.
    pub fn sync(&self) -> Result<()> {
        self.topics().iter().flat_map(|topic| &topic.partitions).try_for_each(|partition| partition.sync())
    }

    /// Ends the broker's threads, syncs, notes a clean close, and frees the lock. Closing twice does nothing.
    pub fn close(&self) -> Result<()> {
        if self.inner.is_closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.topics().iter().flat_map(|topic| &topic.partitions).for_each(|partition| partition.end_compaction());
        self.inner.threads.end();
        let mut outcome = Ok(());
        if self.inner.options.mode == Mode::ReadWrite {
            outcome = self.inner.transactions.abort_all(&self.inner.offsets);
        }
        for topic in self.topics() {
            for partition in &topic.partitions {
                outcome = outcome.and(partition.close());
            }
        }
        self.inner.storage.release();
        *self.inner.lock.lock() = None;
        self.inner.growth.announce();
        outcome
    }
}

impl Inner {
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.options.clock
    }

    /// The partitions of `__consumer_offsets`, made now if they are not there.
    pub(crate) fn offsets_log(&self) -> Result<Vec<Arc<Partition>>> {
        self.internal_topic(OFFSETS_TOPIC)
    }

    /// The partitions of `__transaction_state`, made now if they are not there.
    pub(crate) fn transactions_log(&self) -> Result<Vec<Arc<Partition>>> {
        self.internal_topic(TRANSACTIONS_TOPIC)
    }

    fn internal_topic(&self, name: &str) -> Result<Vec<Arc<Partition>>> {
        let settings = [("cleanup.policy", "compact"), ("segment.bytes", INTERNAL_SEGMENT_BYTES)];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let _changing = self.changes.lock();
        let topic = self.create_topic(name, 1, TopicConfig::new(settings)?)?;
        Ok(topic.partitions.clone())
    }

    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(Error::Closed { what: format!("the log at {}", self.storage.describe("")) });
        }
        if self.options.mode == Mode::Read {
            let path = self.storage.describe("");
            return Err(Error::Invalid {
                message: format!("expected a log opened for writing, got mode=\"r\" - at {path}"),
            });
        }
        Ok(())
    }

    fn create_topic(&self, name: &str, partitions: u32, config: TopicConfig) -> Result<Arc<Topic>> {
        let refused = |message: String| Err(Error::Invalid { message });
        let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty() || name.len() > 249 || matches!(name, "." | "..") || !name.chars().all(is_legal) {
            return refused(format!("expected a topic name of 1 to 249 characters a-z A-Z 0-9 . _ -, got '{name}'"));
        }
        if partitions == 0 {
            return refused(format!("expected 1 partition or more, got 0 - at topic '{name}'"));
        }
        if self.topics.read().contains_key(name) {
            return refused(format!("expected a new topic, got '{name}', which exists; delete it or use another name"));
        }
        self.create_folders(name, 0..partitions)?;
        let setting = setting(&self.storage, &self.options, &self.growth, &config);
        let opened = open_partitions(name, 0..partitions, &setting, &mut Vec::new())?;
        let topic = Arc::new(Topic { name: name.to_owned(), config, partitions: opened });
        self.topics.write().insert(name.to_owned(), Arc::clone(&topic));
        self.write_topics().inspect_err(|_| {
            self.topics.write().remove(name);
        })?;
        Ok(topic)
    }

    fn add_partitions(&self, topic: &Topic, total: u32) -> Result<Arc<Topic>> {
        let (name, count) = (&topic.name, u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX));
        if total <= count {
            return Err(Error::Invalid {
                message: format!(
                    "expected more than {count} partitions, got {total} - at topic '{name}', which has {count}; a topic \
                     never loses any: make a new one and copy the records"
                ),
            });
        }
        self.create_folders(name, count..total)?;
        let (mut partitions, config) = (topic.partitions.clone(), topic.config.clone());
        let setting = setting(&self.storage, &self.options, &self.growth, &config);
        partitions.extend(open_partitions(name, count..total, &setting, &mut Vec::new())?);
        self.replace_topic(topic, Topic { name: name.clone(), config, partitions })
    }

    /// Makes the folders of new partitions, in place of what an interrupted creation left.
    fn create_folders(&self, name: &str, numbers: Range<u32>) -> Result<()> {
        for number in numbers {
            let folder = format!("{name}-{number}");
            if self.storage.list(&folder).is_ok() {
                if !is_leftover(&*self.storage, &folder) {
                    let path = self.storage.describe(&folder);
                    return Err(Error::Invalid {
                        message: format!(
                            "expected no folder of a new partition of topic '{name}', got one that headwater did not make - \
                             at {path}; open the directory again to read it as a topic, or move it away"
                        ),
                    });
                }
                remove_partition(&*self.storage, &folder)?;
            }
            Partition::create(&*self.storage, &folder)?;
        }
        Ok(())
    }

    /// Puts a topic in the place of what it was, here and on disk, or nowhere.
    fn replace_topic(&self, old: &Topic, new: Topic) -> Result<Arc<Topic>> {
        let (name, new) = (old.name.clone(), Arc::new(new));
        let was = self.topics.write().insert(name.clone(), Arc::clone(&new));
        self.write_topics().inspect_err(|_| {
            if let Some(was) = was {
                self.topics.write().insert(name, was);
            }
        })?;
        Ok(new)
    }

    fn delete_topic(&self, topic: &Arc<Topic>) -> Result<()> {
        let name = &topic.name;
        self.topics.write().remove(name);
        self.write_topics().inspect_err(|_| {
            self.topics.write().insert(name.clone(), Arc::clone(topic));
        })?;
        for partition in &topic.partitions {
            partition.abandon();
            let folder = format!("{name}-{}", partition.number());
            remove_partition(&*self.storage, &folder)?;
        }
        self.storage.sync_folder("").map_err(Error::io("sync a folder", self.storage.describe("")))
    }

    fn write_topics(&self) -> Result<()> {
        let topics: BTreeMap<String, Value> = self
            .topics
            .read()
            .values()
            .map(|topic| {
                let value = json!({"partitions": topic.partitions.len(), "config": topic.config.settings()});
                (topic.name.clone(), value)
            })
            .collect();
        catalog::write(&*self.storage, &json!(topics))
    }
}

/// The warning that a file system's weakness is worth.
fn check_footing(footing: Footing, root: &str) -> Result<Option<String>> {
    let message =
        |name, what, todo| format!("expected a directory on a disk, got one on {name}: {what} - at {root}; {todo}");
    match footing {
        Footing::Firm => Ok(None),
        Footing::Weak { name, what } => Ok(Some(message(name, what, "keep what must last on a disk of this machine"))),
        Footing::Refused { name, what } => {
            Err(Error::Invalid { message: message(name, what, "mount it with locks, or name a directory on a disk") })
        }
    }
}

/// A topic that is there: what cannot be opened of it is failed, and no other partition with it.
fn open_topic(
    storage: &Arc<dyn Storage>,
    options: &Options,
    growth: &Arc<Growth>,
    name: &str,
    partitions: u32,
    config: TopicConfig,
    warnings: &mut Vec<String>,
) -> Topic {
    let setting = setting(storage, options, growth, &config);
    let open = |number| {
        let opened = open_partition(name, number, &setting);
        opened.unwrap_or_else(|cause| Partition::failed(name, number, &setting, &cause))
    };
    let opened = (0..partitions).map(|number| {
        let (partition, found) = open(number);
        warnings.extend(found);
        Arc::new(partition)
    });
    Topic { name: name.to_owned(), partitions: opened.collect(), config }
}

fn setting(storage: &Arc<dyn Storage>, options: &Options, growth: &Arc<Growth>, config: &TopicConfig) -> Setting {
    Setting {
        storage: Arc::clone(storage),
        clock: Arc::clone(&options.clock),
        durability: options.durability,
        config: config.clone(),
        is_writable: options.mode == Mode::ReadWrite,
        growth: Arc::clone(growth),
    }
}

fn open_partition(name: &str, number: u32, setting: &Setting) -> Result<(Partition, Vec<String>)> {
    if setting.is_writable { Partition::open(name, number, setting) } else { open_beside(name, number, setting) }
}

/// Partitions that are there, or none.
fn open_partitions(
    name: &str,
    numbers: Range<u32>,
    setting: &Setting,
    warnings: &mut Vec<String>,
) -> Result<Vec<Arc<Partition>>> {
    let mut opened = Vec::new();
    for number in numbers {
        let (partition, found) = open_partition(name, number, setting)?;
        warnings.extend(found);
        opened.push(Arc::new(partition));
    }
    Ok(opened)
}
