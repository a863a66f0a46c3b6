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
//! Group commit: whoever needs a sync and finds none under way does it for everybody who has appended by then. An append that
//! finds [`UNSYNCED_MAX`] bytes waiting syncs first.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use headwater_record::{Batch, HEADER_BYTES, Header};
use parking_lot::{Condvar, Mutex, RwLock};

use crate::checkpoint::{Checkpoint, Clean, CleanSegment};
use crate::growth::Growth;
use crate::mark::Mark;
use crate::recovery::{Recovered, first_checksum, recover};
use crate::segment::Segment;
use crate::storage::Storage;
use crate::topic::{Durability, TopicConfig};
use crate::transactions::Transactions;
use crate::{Clock, Error, Result};

/// Bytes behind one sync, at most, with durability `fsync`: it bounds what an acknowledgement waits for.
const UNSYNCED_MAX: u64 = 8 << 20;

mod reading;
mod retention;

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
    config: TopicConfig,
    durability: Durability,
    is_writable: bool,
    segments: RwLock<Vec<Arc<Segment>>>,
    writer: Mutex<Writer>,
    syncer: Mutex<Syncer>,
    synced: Condvar,
    log_start: AtomicU64,
    next_offset: AtomicU64,
    durable: AtomicU64,
    unsynced_bytes: AtomicU64,
    transactions: RwLock<Transactions>,
    /// Up to where the log is durable, for whoever recovers it; None if it is only read.
    mark: Option<Mark>,
    growth: Arc<Growth>,
    /// Offsets that recovery found in no file.
    missing: Vec<(u64, u64)>,
    /// Whether offsets may be missing between batches.
    has_gaps: bool,
    is_closed: AtomicBool,
    poison: OnceLock<String>,
}

/// What a partition is opened with.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: TopicConfig,
    pub(crate) durability: Durability,
    pub(crate) is_writable: bool,
    pub(crate) growth: Arc<Growth>,
}

impl Partition {
    /// Makes the folder of a new partition.
    pub(crate) fn create(storage: &dyn Storage, folder: &str) -> Result<()> {
        storage.create_folder(folder).map_err(Error::io("create a folder", storage.describe(folder)))?;
        Segment::create(storage, folder, 0)?;
        Mark::create(storage, folder)?;
        Checkpoint::default().write(storage, folder)?;
        storage.sync_folder("").map_err(Error::io("sync a folder", storage.describe("")))
    }

    /// Opens a partition; returns it and what recovery has to say.
    pub(crate) fn open(topic: &str, number: u32, setting: &Setting) -> Result<(Self, Vec<String>)> {
        let Setting { storage, clock, config, durability, is_writable, growth } = setting.clone();
        let folder = format!("{topic}-{number}");
        let place = format!("topic '{topic}' partition {number}");
        let is_missing = matches!(storage.list(&folder), Err(error) if error.kind() == std::io::ErrorKind::NotFound);
        if is_missing && is_writable {
            Self::create(&*storage, &folder)?;
        }
        let recovered =
            recover(&*storage, &folder, &place, config.index_interval_bytes(), is_writable, config.is_compacted())?;
        let Recovered {
            mut segments,
            next_offset,
            checkpoint,
            transactions,
            mut warnings,
            is_last_intact,
            durable,
            missing,
            has_gaps,
        } = recovered;
        if is_missing {
            let path = storage.describe(&folder);
            warnings
                .push(format!("{place}: expected a folder, got none - at {path}; an empty one was made in its place"));
        }
        if is_writable && (segments.is_empty() || !is_last_intact) {
            segments.push(Segment::create(&*storage, &folder, next_offset)?);
        }
        let is_clean = checkpoint.clean.is_some();
        // What the walk found is written, but perhaps not synced: a first sync must cover it before it is promised.
        let unsynced = if is_clean || !is_writable { Vec::new() } else { segments.clone() };
        let mark = if is_writable { Some(Mark::open(Arc::clone(&storage), &folder)?) } else { None };
        let partition = Self {
            topic: topic.to_owned(),
            number,
            folder,
            storage,
            clock,
            config,
            durability,
            is_writable,
            segments: RwLock::new(segments),
            writer: Mutex::new(Writer { unsynced, first_timestamp: None, is_marked_clean: is_clean }),
            syncer: Mutex::default(),
            synced: Condvar::new(),
            log_start: AtomicU64::new(checkpoint.log_start_offset),
            next_offset: AtomicU64::new(next_offset),
            durable: AtomicU64::new(if is_clean || !is_writable { durable } else { 0 }),
            unsynced_bytes: AtomicU64::new(0),
            transactions: RwLock::new(transactions),
            mark,
            growth,
            missing,
            has_gaps,
            is_closed: AtomicBool::new(false),
            poison: OnceLock::new(),
        };
        if is_writable && !is_clean {
            partition.sync_found()?;
            partition.finish_deletion()?;
        }
        Ok((partition, warnings))
    }

    /// Makes what recovery found durable, whether that was much or nothing, and says so: first the mark, then whose it is.
    fn sync_found(&self) -> Result<()> {
        let durable = self.sync_once()?;
        self.durable.store(durable, Ordering::Release);
        if let Some(mark) = &self.mark {
            mark.write(durable, self.identity().unwrap_or(0))?;
        }
        self.checkpoint(None)
    }

    // --- what there is ------------------------------------------------------------------------------------------------

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
        self.durability
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
        if self.durability == Durability::Fsync || !self.is_writable {
            self.durable_offset()
        } else {
            self.next_offset()
        }
    }

    /// Readers that want only decided transactions see what lies below.
    #[must_use]
    pub fn last_stable_offset(&self) -> u64 {
        self.transactions.read().last_stable_offset(self.high_watermark())
    }

    pub(crate) fn segment_count(&self) -> usize {
        self.segments.read().len()
    }

    /// Bytes of its segments.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.segments.read().iter().map(|segment| segment.size.load(Ordering::Relaxed)).sum()
    }

    fn check_open(&self) -> Result<()> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(Error::Closed { what: format!("topic '{}' partition {}", self.topic, self.number) });
        }
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

    // --- writing ------------------------------------------------------------------------------------------------------

    /// Appends whole batches, rewriting their base offsets. Written when it returns, durable after `wait_durable`.
    ///
    /// # Errors
    /// `Invalid` for bytes that are no good batches; `Io` if the write fails: nothing was appended then.
    pub fn append(&self, mut batches: Vec<u8>) -> Result<Appended> {
        let headers = self.check_batches(&batches)?;
        if self.durability == Durability::Fsync && self.unsynced_bytes.load(Ordering::Relaxed) >= UNSYNCED_MAX {
            self.sync()?; // so that nobody ever waits for more than that
        }
        let mut writer = self.writer.lock();
        self.check_open()?;
        self.check_writable()?;
        if writer.is_marked_clean {
            self.checkpoint(None)?;
            writer.is_marked_clean = false;
        }
        let base_offset = self.next_offset();
        let log_append_time = self.config.is_log_append_time().then(|| self.clock.now_ms());
        let mut stamped = Vec::with_capacity(headers.len());
        let (mut at, mut next_offset) = (0, base_offset);
        for header in headers {
            let batch = &mut batches[at..at + header.size_bytes];
            batch[..8].copy_from_slice(&next_offset.to_be_bytes());
            batch[12..16].copy_from_slice(&0_u32.to_be_bytes());
            if let Some(time) = log_append_time {
                stamp(batch, time);
            }
            let header = Header::parse(batch)?;
            next_offset = header.next_offset();
            at += header.size_bytes;
            stamped.push(header);
        }
        let segment = self.active(&mut writer, &stamped, batches.len() as u64)?;
        let position = segment.size.load(Ordering::Relaxed);
        segment
            .file
            .write_at(&batches, position)
            .map_err(Error::io("write", self.storage.describe(&segment.path())))?;
        let mut at = position;
        for header in &stamped {
            segment.index(header, at, self.config.index_interval_bytes());
            if header.is_transactional() {
                self.transactions.write().see(header, None);
            }
            at += header.size_bytes as u64;
        }
        self.unsynced_bytes.fetch_add(batches.len() as u64, Ordering::Relaxed);
        segment.next_offset.store(next_offset, Ordering::Release);
        segment.size.store(at, Ordering::Release);
        if writer.unsynced.last().is_none_or(|last| !Arc::ptr_eq(last, &segment)) {
            writer.unsynced.push(segment);
        }
        self.next_offset.store(next_offset, Ordering::Release);
        drop(writer);
        if self.durability != Durability::Fsync {
            self.growth.announce();
        }
        Ok(Appended { base_offset, next_offset, log_append_time })
    }

    fn check_batches(&self, bytes: &[u8]) -> Result<Vec<Header>> {
        let refused = |what: String| Error::Invalid {
            message: format!(
                "expected whole record batches, got {what} - at topic '{}' partition {}",
                self.topic, self.number
            ),
        };
        let mut headers = Vec::with_capacity(1);
        let mut rest = bytes;
        while !rest.is_empty() {
            let header = Header::parse(rest).map_err(|error| refused(error.to_string()))?;
            header.verify(rest).map_err(|error| refused(error.to_string()))?;
            if header.is_control() || header.records_count != header.last_offset_delta + 1 {
                return Err(refused("a control batch, or one with gaps".into()));
            }
            rest = &rest[header.size_bytes..];
            headers.push(header);
        }
        if headers.is_empty() { Err(refused("no bytes".into())) } else { Ok(headers) }
    }

    /// The segment to append to; begins a new one if this one is full or too old.
    fn active(&self, writer: &mut Writer, headers: &[Header], incoming: u64) -> Result<Arc<Segment>> {
        let active = Arc::clone(self.segments.read().last().expect("a writable partition has a segment"));
        let size = active.size.load(Ordering::Relaxed);
        let newest = headers.iter().map(|header| header.max_timestamp).max().unwrap_or(i64::MIN);
        let first = *writer.first_timestamp.get_or_insert_with(|| self.first_timestamp(&active).unwrap_or(newest));
        let span = u64::try_from(newest.saturating_sub(first)).unwrap_or(0);
        let last_offset = headers.last().map_or(0, Header::last_offset);
        let is_full = size + incoming > self.config.segment_bytes()
            || span > self.config.segment_ms()
            || last_offset - active.base_offset > i32::MAX as u64;
        // An empty segment takes anything: there is nothing to gain from another.
        if size == 0 || !is_full {
            return Ok(active);
        }
        if self.durability == Durability::Fsync {
            // A crash then never loses the end of one segment and keeps the next.
            active.file.sync().map_err(Error::io("sync", self.storage.describe(&active.path()))).inspect_err(
                |error| {
                    let _ = self.poison.set(error.to_string());
                },
            )?;
        }
        active.write_indexes(&*self.storage)?;
        let next = Segment::create(&*self.storage, &self.folder, self.next_offset())?;
        self.segments.write().push(Arc::clone(&next));
        writer.first_timestamp = Some(newest);
        // Now and then, what is known to be durable is written down: recovery then knows damage from a torn tail.
        self.checkpoint(None)?;
        Ok(next)
    }

    fn first_timestamp(&self, segment: &Segment) -> Option<i64> {
        let mut bytes = [0; HEADER_BYTES];
        let read = segment.file.read_at(&mut bytes, 0).ok()?;
        Header::parse(&bytes[..read]).ok().map(|header| header.max_timestamp)
    }

    /// Waits until everything below an offset is as durable as this partition promises.
    ///
    /// # Errors
    /// `Closed` (poisoned) if a sync failed.
    pub fn wait_durable(&self, next_offset: u64) -> Result<()> {
        if self.durability == Durability::Fsync { self.sync_to(next_offset) } else { self.check_open() }
    }

    /// Makes everything written so far durable, whatever the durability.
    pub fn sync(&self) -> Result<()> {
        self.sync_to(self.next_offset())
    }

    /// Whether something is written and not synced.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.durable_offset() < self.next_offset()
    }

    fn sync_to(&self, next_offset: u64) -> Result<()> {
        let mut syncer = self.syncer.lock();
        loop {
            if self.durable_offset() >= next_offset {
                return Ok(());
            }
            self.check_open()?;
            if syncer.is_syncing {
                self.synced.wait(&mut syncer);
                continue;
            }
            syncer.is_syncing = true;
            drop(syncer);
            let outcome = self.sync_once();
            syncer = self.syncer.lock();
            syncer.is_syncing = false;
            match outcome {
                Ok(target) => {
                    self.durable.fetch_max(target, Ordering::AcqRel);
                    // What the mark says is true whether it is written or not: failing to write it fails nobody.
                    let _ = self.mark.as_ref().map(|mark| mark.write(target, self.identity().unwrap_or(0)));
                    if self.durability == Durability::Fsync {
                        self.growth.announce();
                    }
                }
                Err(error) => {
                    let _ = self.poison.set(error.to_string());
                    self.synced.notify_all();
                    return Err(error);
                }
            }
            self.synced.notify_all();
        }
    }

    /// Syncs what is written by now; returns the offset that this makes durable.
    fn sync_once(&self) -> Result<u64> {
        let (segments, target) = {
            let mut writer = self.writer.lock();
            self.unsynced_bytes.store(0, Ordering::Relaxed);
            (std::mem::take(&mut writer.unsynced), self.next_offset())
        };
        for segment in segments {
            segment.file.sync().map_err(Error::io("sync", self.storage.describe(&segment.path())))?;
        }
        Ok(target)
    }

    /// The checksum field of the log's first batch, if it has one.
    fn identity(&self) -> Option<u32> {
        let first = self.segments.read().first().cloned()?;
        first_checksum(&*first.file)
    }

    fn checkpoint(&self, clean: Option<Clean>) -> Result<()> {
        let has_transactions = self.transactions.read().is_used();
        Checkpoint {
            recovery_point: self.durable_offset(),
            log_start_offset: self.log_start_offset(),
            clean,
            has_transactions,
            identity: self.identity(),
            has_gaps: self.has_gaps,
        }
        .write(&*self.storage, &self.folder)
    }

    /// Syncs, writes the indexes, and notes that this was a clean close.
    pub(crate) fn close(&self) -> Result<()> {
        if self.is_closed.load(Ordering::Acquire) {
            return Ok(());
        }
        if !self.is_writable {
            self.is_closed.store(true, Ordering::Release);
            return Ok(());
        }
        let outcome = self.sync().and_then(|()| {
            let segments = self.segments.read().clone();
            if self.writer.lock().is_marked_clean {
                return Ok(());
            }
            let mut sealed = Vec::with_capacity(segments.len());
            for segment in &segments {
                let (index_checksum, time_checksum) = segment.seal_indexes(&*self.storage)?;
                let size = segment.size.load(Ordering::Relaxed);
                sealed.push(CleanSegment { base_offset: segment.base_offset, size, index_checksum, time_checksum });
            }
            self.storage
                .sync_folder(&self.folder)
                .map_err(Error::io("sync a folder", self.storage.describe(&self.folder)))?;
            if segments.iter().any(|segment| !segment.damage.read().is_empty()) {
                return self.checkpoint(None); // found again, and reported again, at the next open
            }
            self.checkpoint(Some(Clean { segments: sealed, next_offset: self.next_offset() }))
        });
        self.is_closed.store(true, Ordering::Release);
        self.synced.notify_all();
        outcome
    }

    /// Refuses everything from now on, without touching a file (the topic was deleted).
    pub(crate) fn abandon(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.synced.notify_all();
    }
}

/// Gives a batch the log's timestamp; the attribute and the maximum lie inside the checksum.
fn stamp(batch: &mut [u8], time: i64) {
    batch[22] |= 0x08;
    batch[35..43].copy_from_slice(&time.to_be_bytes());
    let checksum = headwater_record::checksum(batch);
    batch[17..21].copy_from_slice(&checksum.to_be_bytes());
}
