//! One totally ordered log: append at the end, sync in groups, read from anywhere.
//!
//! One writer at a time appends under the `writer` lock; readers never wait for it. What they may see ends at the high
//! watermark: the end of what is durable with `fsync`, the end of what is written otherwise.
//!
//! **Invariants**
//! 1. `log_start <= durable <= next_offset`, and none of them goes back.
//! 2. A batch is visible in full or not at all: a segment's `size` is raised after the write.
//! 3. After a failed sync nothing more is acknowledged (the partition is poisoned): what the disk holds is unknown.
//!
//! *Layout*: `appending`, `sealing`, `syncing` (group commit, close), `reading`, `retention`, `compaction`, `describing`,
//! `following` (only reading, beside the process that writes), `failing` (files that cannot be read).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use headwater_record::Batch;
use parking_lot::{Condvar, Mutex, RwLock};

use crate::checkpoint::Checkpoint;
use crate::cleaner::Cleaner;
use crate::growth::Growth;
use crate::mark::{Mark, Slot};
use crate::producers::{OpenTransaction, ProducerState};
use crate::recovery::{Recovered, recover};
use crate::segment::Segment;
use crate::storage::Storage;
use crate::topic::{Durability, TopicConfig};
use crate::{Clock, Error, Result};

mod appending;
mod compaction;
mod describing;
mod failing;
mod following;
mod reading;
mod retention;
mod sealing;
mod syncing;

pub use describing::{PartitionDescription, SegmentDescription};
pub(crate) use following::Followed;

/// What a reader wants to see of transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Everything below the high watermark.
    #[default]
    Uncommitted,
    /// Nothing of aborted transactions, and nothing behind the first open one.
    Committed,
}

/// Where an append went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record.
    pub base_offset: u64,
    /// The offset after the last record.
    pub next_offset: u64,
    /// The timestamp that the log gave the records, if it gives them (`LogAppendTime`).
    pub log_append_time: Option<i64>,
}

/// What a read brings: whole, verified batches, without control batches.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Batches in order; the first may begin below the offset asked for.
    pub batches: Vec<Batch>,
    /// Where to go on.
    pub next_offset: u64,
    /// The end of what could be seen.
    pub high_watermark: u64,
}

#[derive(Debug)]
struct Writer {
    /// Segments with bytes that no sync has covered.
    unsynced: Vec<Arc<Segment>>,
    /// Timestamp of the active segment's first batch.
    first_timestamp: Option<i64>,
    /// Whether the checkpoint on disk says "clean", which the first append must take back.
    is_marked_clean: bool,
    /// Whether a write failed and may have left a part of itself behind the last batch.
    has_debris: bool,
}

#[derive(Debug, Default)]
struct Syncer {
    is_syncing: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Partition {
    topic: String,
    number: u32,
    folder: String,
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    /// The topic's settings, replaced as a whole while everything goes on.
    config: RwLock<Arc<TopicConfig>>,
    /// What an acknowledgement waits for where the settings do not say.
    default_durability: Durability,
    is_writable: bool,
    segments: RwLock<Vec<Arc<Segment>>>,
    writer: Mutex<Writer>,
    syncer: Mutex<Syncer>,
    /// Held while bytes are synced.
    syncing: Mutex<()>,
    synced: Condvar,
    log_start: AtomicU64,
    next_offset: AtomicU64,
    durable: AtomicU64,
    unsynced_bytes: AtomicU64,
    producers: RwLock<ProducerState>,
    /// Where the last snapshot of them was taken, and its checksum.
    snapshot: Mutex<Option<(u64, u32)>>,
    /// Up to where the log is durable, for whoever recovers it; None if it is only read.
    mark: Option<Mark>,
    growth: Arc<Growth>,
    /// The mark that a log that is only read has last followed.
    followed: Mutex<Option<Slot>>,
    /// Offsets that recovery found in no file.
    missing: Vec<(u64, u64)>,
    /// Whether offsets may be missing between batches.
    has_gaps: AtomicBool,
    cleaner: Cleaner,
    is_closed: AtomicBool,
    /// Why it could not be opened.
    failure: Option<String>,
    poison: OnceLock<String>,
}

/// What a partition is opened with.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: TopicConfig,
    /// What an acknowledgement waits for where `config` does not say.
    pub(crate) durability: Durability,
    pub(crate) is_writable: bool,
    pub(crate) growth: Arc<Growth>,
}

impl Partition {
    /// Makes the folder of a new partition. The checkpoint comes first: a folder with segments and without it is somebody
    /// else's, and a crash shall not make ours look like that.
    pub(crate) fn create(storage: &dyn Storage, folder: &str) -> Result<()> {
        storage.create_folder(folder).map_err(Error::io("create a folder", storage.describe(folder)))?;
        Checkpoint::default().write(storage, folder)?;
        Mark::create(storage, folder)?;
        Segment::create(storage, folder, 0)?;
        storage.sync_folder("").map_err(Error::io("sync a folder", storage.describe("")))
    }

    /// Opens a partition; returns it and what recovery has to say.
    pub(crate) fn open(topic: &str, number: u32, setting: &Setting) -> Result<(Self, Vec<String>)> {
        let Setting { storage, config, is_writable, .. } = setting;
        let is_writable = *is_writable;
        let folder = format!("{topic}-{number}");
        let place = format!("topic '{topic}' partition {number}");
        let is_missing = matches!(storage.list(&folder), Err(error) if error.kind() == std::io::ErrorKind::NotFound);
        if is_missing && is_writable {
            Self::create(&**storage, &folder)?;
        }
        let mut recovered =
            recover(&**storage, &folder, &place, config.index_interval_bytes(), is_writable, config.is_compacted())?;
        if is_missing {
            let path = storage.describe(&folder);
            recovered
                .warnings
                .push(format!("{place}: expected a folder, got none - at {path}; an empty one was made in its place"));
        }
        if is_writable && (recovered.segments.is_empty() || !recovered.is_last_intact) {
            recovered.segments.push(Segment::create(&**storage, &folder, recovered.next_offset)?);
        }
        let mark = if is_writable { Some(Mark::open(Arc::clone(storage), &folder)?) } else { None };
        let (is_clean, warnings) = (recovered.is_clean, std::mem::take(&mut recovered.warnings));
        let partition = Self::of(topic, number, setting.clone(), recovered, mark);
        if is_writable && !is_clean {
            // What an interrupted deletion left is not what the log begins with, and goes when that is written down.
            let gone = partition.take_below(partition.log_start_offset());
            partition.sync_found()?;
            partition.remove(&gone)?;
        }
        Ok((partition, warnings))
    }

    /// What was found, as a partition.
    fn of(topic: &str, number: u32, setting: Setting, found: Recovered, mark: Option<Mark>) -> Self {
        let Setting { storage, clock, config, durability, is_writable, growth } = setting;
        let Recovered { segments, next_offset, checkpoint, producers, durable, missing, has_gaps, is_clean, .. } =
            found;
        // What the walk found is written, but perhaps not synced: a first sync must cover it before it is promised.
        let unsynced = if is_clean || !is_writable { Vec::new() } else { segments.clone() };
        Self {
            topic: topic.to_owned(),
            number,
            folder: format!("{topic}-{number}"),
            storage,
            clock,
            config: RwLock::new(Arc::new(config)),
            default_durability: durability,
            is_writable,
            segments: RwLock::new(segments),
            writer: Mutex::new(Writer {
                unsynced,
                first_timestamp: None,
                is_marked_clean: is_clean,
                has_debris: false,
            }),
            syncer: Mutex::default(),
            syncing: Mutex::default(),
            synced: Condvar::new(),
            log_start: AtomicU64::new(checkpoint.log_start_offset),
            next_offset: AtomicU64::new(next_offset),
            durable: AtomicU64::new(if is_clean || !is_writable { durable } else { 0 }),
            unsynced_bytes: AtomicU64::new(0),
            producers: RwLock::new(producers),
            snapshot: Mutex::new(checkpoint.snapshot),
            mark,
            growth,
            followed: Mutex::default(),
            missing,
            has_gaps: AtomicBool::new(has_gaps),
            cleaner: Cleaner::new(checkpoint.cleaned_until, checkpoint.generation),
            is_closed: AtomicBool::new(false),
            failure: None,
            poison: OnceLock::new(),
        }
    }

    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The partition's number.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Where its files are.
    #[must_use]
    pub fn path(&self) -> String {
        self.storage.describe(&self.folder)
    }

    /// What an acknowledgement waits for.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.config.read().durability().unwrap_or(self.default_durability)
    }

    /// The largest batch that is taken now, in bytes.
    #[must_use]
    pub fn max_batch_bytes(&self) -> usize {
        self.config.read().max_message_bytes().unwrap_or(usize::MAX)
    }

    /// The topic's settings as they are now.
    pub(crate) fn config(&self) -> Arc<TopicConfig> {
        Arc::clone(&self.config.read())
    }

    /// Replaces the settings, at once. What was visible when only a write was waited for is made durable, so that it stays
    /// visible when a sync is.
    pub(crate) fn set_config(&self, config: TopicConfig) -> Result<()> {
        let was = self.durability();
        *self.config.write() = Arc::new(config);
        if was != Durability::Fsync && self.durability() == Durability::Fsync && self.is_writable {
            self.sync()?;
        }
        Ok(())
    }

    /// The first offset still kept.
    #[must_use]
    pub fn log_start_offset(&self) -> u64 {
        self.log_start.load(Ordering::Acquire)
    }

    /// One past the last record written.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.next_offset.load(Ordering::Acquire)
    }

    /// Everything below is durable.
    #[must_use]
    pub fn durable_offset(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Readers see what lies below.
    #[must_use]
    pub fn high_watermark(&self) -> u64 {
        // Who only reads has no say in durability: he sees what is known to be durable.
        if self.durability() == Durability::Fsync || !self.is_writable {
            self.durable_offset()
        } else {
            self.next_offset()
        }
    }

    /// Readers that want only decided transactions see what lies below.
    #[must_use]
    pub fn last_stable_offset(&self) -> u64 {
        self.producers.read().last_stable_offset(self.high_watermark()).max(self.log_start_offset())
    }

    /// The transactions that are open here.
    pub(crate) fn open_transactions(&self) -> Vec<OpenTransaction> {
        self.producers.read().open()
    }

    /// The largest producer id that has written here.
    pub(crate) fn largest_producer_id(&self) -> Option<i64> {
        self.producers.read().largest_id()
    }

    /// How many segments it has.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.segments.read().len()
    }

    /// Bytes of its segments.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.segments.read().iter().map(|segment| segment.size.load(Ordering::Relaxed)).sum()
    }

    fn has_gaps(&self) -> bool {
        self.has_gaps.load(Ordering::Acquire)
    }

    fn check_open(&self) -> Result<()> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(Error::Closed { what: format!("topic '{}' partition {}", self.topic, self.number) });
        }
        self.check_usable()?;
        self.check_poison()
    }

    fn check_poison(&self) -> Result<()> {
        if let Some(cause) = self.poison.get() {
            let cause = cause.clone();
            return Err(Error::Poisoned { topic: self.topic.clone(), partition: self.number, cause });
        }
        Ok(())
    }

    fn check_writable(&self) -> Result<()> {
        if self.is_writable {
            return Ok(());
        }
        Err(Error::Invalid {
            message: format!("expected a log opened for writing, got mode=\"r\" - at {}", self.path()),
        })
    }
}
