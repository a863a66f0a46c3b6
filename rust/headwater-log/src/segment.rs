//! One file of batches and its indexes: `<20 digits>.log`, `.index`, `.timeindex`.
//!
//! The last segment of a partition grows; all others are sealed. The indexes live in memory; their files are written when
//! a segment is sealed or the log is closed, never on the way of an append.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bytes::Bytes;
use headwater_record::{Batch, HEADER_BYTES, Header};
use parking_lot::RwLock;

use crate::checkpoint::KnownSegment;
use crate::index::{OffsetIndex, TimeIndex};
use crate::producers::aborted::{Aborted, AbortedTransaction};
use crate::storage::{File, Storage, read_all};
use crate::{Error, Result};

/// What is known of the next batch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Next {
    /// Its first offset.
    Begins(u64),
    /// Its last offset, as the index has it.
    Ends(u64),
}

impl Next {
    /// An offset that it does not begin before, near enough to look for what lies behind it.
    pub(crate) fn at_least(self) -> u64 {
        match self {
            Self::Begins(offset) | Self::Ends(offset) => offset,
        }
    }
}

/// Bytes that fail their checks between good ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// From where to where in the file.
    pub(crate) position: u64,
    pub(crate) end: u64,
    /// The offsets that are missing.
    pub(crate) first_offset: u64,
    pub(crate) next_offset: u64,
    pub(crate) what: String,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Indexes {
    pub(crate) offsets: OffsetIndex,
    pub(crate) times: TimeIndex,
    /// Bytes behind the last entry.
    pub(crate) since_entry: u64,
    /// First offset of the largest timestamp so far, for the time index.
    pub(crate) max_timestamp_offset: u32,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base_offset: u64,
    /// `folder/<20 digits>`, without an extension.
    pub(crate) stem: String,
    pub(crate) file: Arc<dyn File>,
    /// Readers see so many bytes.
    pub(crate) size: AtomicU64,
    pub(crate) next_offset: AtomicU64,
    /// `i64::MIN` without records.
    pub(crate) max_timestamp: AtomicI64,
    pub(crate) indexes: RwLock<Indexes>,
    pub(crate) damage: RwLock<Vec<Damage>>,
    /// What its files say durably, since it was sealed.
    known: RwLock<Option<KnownSegment>>,
}

/// The name of the segment that begins at an offset.
pub(crate) fn stem(folder: &str, base_offset: u64) -> String {
    format!("{folder}/{base_offset:020}")
}

/// The offset in the name of a segment's file; None if it is not called `<20 digits>` and then `end`.
pub(crate) fn base_of(name: &str, end: &str) -> Option<u64> {
    let digits = name.strip_suffix(end)?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

impl Segment {
    /// A new, empty file.
    pub(crate) fn create(storage: &dyn Storage, folder: &str, base_offset: u64) -> Result<Arc<Self>> {
        let stem = stem(folder, base_offset);
        let path = format!("{stem}.log");
        let file = storage.open(&path, true).map_err(Error::io("create a segment", storage.describe(&path)))?;
        file.truncate(0).map_err(Error::io("create a segment", storage.describe(&path)))?;
        storage.sync_folder(folder).map_err(Error::io("sync a folder", storage.describe(folder)))?;
        Ok(Arc::new(Self::over(file, base_offset, stem)))
    }

    /// A file that another process writes; nothing of it is believed yet.
    pub(crate) fn open(storage: &dyn Storage, folder: &str, base_offset: u64) -> Result<Arc<Self>> {
        let stem = stem(folder, base_offset);
        let path = format!("{stem}.log");
        let file = storage.open(&path, false).map_err(Error::io("open a segment", storage.describe(&path)))?;
        Ok(Arc::new(Self::over(file, base_offset, stem)))
    }

    /// An empty file as a segment.
    pub(crate) fn over(file: Arc<dyn File>, base_offset: u64, stem: String) -> Self {
        Self {
            base_offset,
            stem,
            file,
            size: AtomicU64::new(0),
            next_offset: AtomicU64::new(base_offset),
            max_timestamp: AtomicI64::new(i64::MIN),
            indexes: RwLock::default(),
            damage: RwLock::default(),
            known: RwLock::default(),
        }
    }

    pub(crate) fn path(&self) -> String {
        format!("{}.log", self.stem)
    }

    fn relative(&self, offset: u64) -> u32 {
        u32::try_from(offset.saturating_sub(self.base_offset)).unwrap_or(u32::MAX)
    }

    /// Takes note of a batch at a position, as Kafka does: an index entry whenever enough bytes lie behind the last.
    pub(crate) fn index(&self, header: &Header, position: u64, interval: u64) {
        let last = self.relative(header.last_offset());
        let mut indexes = self.indexes.write();
        if header.max_timestamp > self.max_timestamp.load(Ordering::Relaxed) {
            self.max_timestamp.store(header.max_timestamp, Ordering::Relaxed);
            indexes.max_timestamp_offset = last;
        }
        if indexes.since_entry > interval {
            indexes.offsets.push(last, u32::try_from(position).unwrap_or(u32::MAX));
            let (timestamp, offset) = (self.max_timestamp.load(Ordering::Relaxed), indexes.max_timestamp_offset);
            indexes.times.push(timestamp, offset);
            indexes.since_entry = 0;
        }
        indexes.since_entry += header.size_bytes as u64;
    }

    /// Makes the files beside a segment that nobody writes any more say durably what is known of it. `aborted` is its
    /// `.txnindex`.
    pub(crate) fn seal(&self, storage: &dyn Storage, aborted: &[u8]) -> Result<()> {
        let (offsets, times) = self.index_files();
        self.write_beside(storage, "index", &offsets)?;
        self.write_beside(storage, "timeindex", &times)?;
        if aborted.is_empty() {
            // What is there is of markers that were lost with the log's end.
            remove_if_there(storage, &format!("{}.txnindex", self.stem))?;
        } else {
            self.write_beside(storage, "txnindex", aborted)?;
        }
        *self.known.write() = Some(KnownSegment {
            base_offset: self.base_offset,
            size: self.size.load(Ordering::Acquire),
            next_offset: self.next_offset.load(Ordering::Acquire),
            index_checksum: crc32c::crc32c(&offsets),
            time_checksum: crc32c::crc32c(&times),
            aborted_checksum: if aborted.is_empty() { 0 } else { crc32c::crc32c(aborted) },
        });
        Ok(())
    }

    /// The contents of the two index files, the largest timestamp included.
    fn index_files(&self) -> (Vec<u8>, Vec<u8>) {
        let mut indexes = self.indexes.write();
        let largest = self.max_timestamp.load(Ordering::Relaxed);
        if largest != i64::MIN {
            let offset = indexes.max_timestamp_offset;
            indexes.times.push(largest, offset);
        }
        (indexes.offsets.to_bytes(), indexes.times.to_bytes())
    }

    /// Writes and syncs a small file; one that says so already is only synced.
    fn write_beside(&self, storage: &dyn Storage, extension: &str, bytes: &[u8]) -> Result<()> {
        let path = format!("{}.{extension}", self.stem);
        let write = || {
            let file = storage.open(&path, true)?;
            if read_all(&*file)? != bytes {
                file.truncate(0)?;
                file.write_at(bytes, 0)?;
            }
            file.sync()
        };
        write().map_err(Error::io("write an index", storage.describe(&path)))
    }

    /// A segment as its files say, with its aborted transactions; None if they are not those that are known.
    pub(crate) fn from_known(
        storage: &dyn Storage,
        folder: &str,
        known: &KnownSegment,
        file: &Arc<dyn File>,
    ) -> Option<(Self, Vec<AbortedTransaction>)> {
        let stem = stem(folder, known.base_offset);
        let bytes = |extension: &str, checksum: u32| {
            let bytes = storage.open(&format!("{stem}.{extension}"), false).and_then(|file| read_all(&*file)).ok()?;
            (crc32c::crc32c(&bytes) == checksum).then_some(bytes)
        };
        let times = TimeIndex::from_bytes(&bytes("timeindex", known.time_checksum)?)?;
        let offsets = OffsetIndex::from_bytes(&bytes("index", known.index_checksum)?, known.size)?;
        let aborted = match known.aborted_checksum {
            0 => Vec::new(),
            checksum => Aborted::parse(&bytes("txnindex", checksum)?)?,
        };
        let largest = times.last();
        if largest.is_none() && known.size > 0 {
            return None;
        }
        let segment = Self {
            size: AtomicU64::new(known.size),
            next_offset: AtomicU64::new(known.next_offset),
            max_timestamp: AtomicI64::new(largest.map_or(i64::MIN, |(timestamp, _)| timestamp)),
            indexes: RwLock::new(Indexes {
                offsets,
                times,
                // Unknown behind a batch: the next one gets an entry.
                since_entry: if known.size == 0 { 0 } else { u64::MAX / 2 },
                max_timestamp_offset: largest.map_or(0, |(_, offset)| offset),
            }),
            known: RwLock::new(Some(*known)),
            ..Self::over(Arc::clone(file), known.base_offset, stem)
        };
        Some((segment, aborted))
    }

    /// What a checkpoint may say of it: nothing if it is not sealed, or damaged.
    pub(crate) fn known(&self) -> Option<KnownSegment> {
        (*self.known.read()).filter(|_| self.damage.read().is_empty())
    }

    /// Where to begin looking for an offset, and what is known of the batch there.
    pub(crate) fn find(&self, offset: u64) -> (u64, Next) {
        match self.indexes.read().offsets.lookup(self.relative(offset)) {
            Some((last, position)) => (u64::from(position), Next::Ends(self.base_offset + u64::from(last))),
            None => (0, Next::Begins(self.base_offset)),
        }
    }

    /// An offset at or before the first record not earlier than a timestamp.
    pub(crate) fn offset_before(&self, timestamp: i64) -> u64 {
        self.base_offset + u64::from(self.indexes.read().times.lookup(timestamp))
    }

    /// The damage that a position lies in.
    pub(crate) fn damage_at(&self, position: u64) -> Option<Damage> {
        self.damage.read().iter().find(|damage| (damage.position..damage.end).contains(&position)).cloned()
    }

    /// Takes note of bytes that failed their checks when they were read: from `position`, where `expected` should begin, to
    /// the next good batch.
    pub(crate) fn note_damage(&self, position: u64, expected: u64, what: String) -> std::io::Result<()> {
        let end = self.size.load(Ordering::Acquire);
        let mut rest = vec![0; usize::try_from(end.saturating_sub(position)).map_err(std::io::Error::other)?];
        let read = self.file.read_at(&mut rest, position)?;
        let found = next_good(&rest[..read], expected, self.base_offset, self.next_offset.load(Ordering::Acquire));
        let (end, next_offset) = match found {
            Some((at, offset)) => (position + at as u64, offset),
            None => (end, self.next_offset.load(Ordering::Acquire)),
        };
        let mut damage = self.damage.write();
        if !damage.iter().any(|known| known.position == position) {
            damage.push(Damage { position, end, first_offset: expected, next_offset, what });
        }
        Ok(())
    }

    /// Whole batches from a position on: at least one, else as many as fit in `max_bytes`. Stops at damage.
    pub(crate) fn batches_from(&self, position: u64, max_bytes: usize) -> std::io::Result<Chunk> {
        let end = self.size.load(Ordering::Acquire);
        let until = self.damage.read().iter().map(|damage| damage.position).filter(|start| *start >= position).min();
        let available = usize::try_from(until.unwrap_or(end).min(end).saturating_sub(position)).unwrap_or(usize::MAX);
        let mut wanted = max_bytes.max(HEADER_BYTES).min(available);
        let mut is_careful = false;
        loop {
            let mut buffer = vec![0; wanted];
            let read = match self.file.read_at(&mut buffer, position) {
                // Perhaps only what lies further on cannot be read: batch by batch then.
                Err(_) if !is_careful => {
                    (wanted, is_careful) = (HEADER_BYTES.min(available), true);
                    continue;
                }
                read => read?,
            };
            buffer.truncate(read);
            let mut rest = Bytes::from(buffer);
            let mut batches = Vec::new();
            let mut at = position;
            let failure = loop {
                if rest.is_empty() {
                    break None;
                }
                match Batch::split(&rest) {
                    Ok((batch, tail)) => {
                        if let Err(error) = batch.verify() {
                            break Some(error);
                        }
                        batches.push((at, batch));
                        at = position + (read - tail.len()) as u64;
                        rest = tail;
                    }
                    Err(error) => break Some(error),
                }
            };
            if batches.is_empty()
                && let Some(headwater_record::Error::Short { expected, .. }) = failure
                && expected > wanted
                && expected <= available
            {
                wanted = expected;
                continue;
            }
            // A batch cut off by the end of the buffer is the next read's first.
            let failure = failure.filter(|error| {
                !(matches!(error, headwater_record::Error::Short { .. }) && (!batches.is_empty() || read < wanted))
                    || read == available
            });
            return Ok(Chunk { batches, end: at, failure });
        }
    }
}

/// Removes a file that need not be there.
pub(crate) fn remove_if_there(storage: &dyn Storage, path: &str) -> Result<()> {
    match storage.remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(Error::io("remove a file", storage.describe(path))),
    }
}

/// Removes a segment and its indexes, the log last: an index without a log is nothing.
pub(crate) fn remove_segment(storage: &dyn Storage, stem: &str) -> Result<()> {
    let mut files =
        ["index", "timeindex", "txnindex", "snapshot", "log"].map(|end| format!("{stem}.{end}")).into_iter();
    files.try_for_each(|path| remove_if_there(storage, &path))
}

/// The header of a file's first batch; None if the file does not begin with one.
pub(crate) fn first_header(file: &dyn File) -> Option<Header> {
    let mut bytes = [0; HEADER_BYTES];
    let read = file.read_at(&mut bytes, 0).ok()?;
    Header::parse(&bytes[..read]).ok()
}

/// The checksum field of a file's first batch: tells one file from another of the same name.
pub(crate) fn first_checksum(file: &dyn File) -> Option<u32> {
    first_header(file).map(|header| header.checksum)
}

/// Whether a batch may stand where `expected` comes next, in the segment that begins at `base`.
pub(crate) fn check(header: &Header, expected: u64, base: u64) -> std::result::Result<(), String> {
    if header.base_offset < expected {
        return Err(format!("a batch of offset {} where {expected} comes next", header.base_offset));
    }
    if header.last_offset() - base > u64::from(u32::MAX) {
        return Err(format!("a batch of offset {} in the segment of {base}", header.base_offset));
    }
    Ok(())
}

/// The first good batch behind the start of `bytes` that ends before the offset `until`: its place and offset. A bad
/// header's length cannot be trusted, so every byte may be where it begins.
pub(crate) fn next_good(bytes: &[u8], expected: u64, base: u64, until: u64) -> Option<(usize, u64)> {
    (1..bytes.len().saturating_sub(HEADER_BYTES - 1)).find_map(|at| {
        if bytes[at + 16] != 2 {
            return None;
        }
        let header = Header::parse(&bytes[at..]).ok()?;
        let is_plausible =
            check(&header, expected, base).is_ok() && header.next_offset() <= until && header.records_count > 0;
        (is_plausible && header.verify(&bytes[at..]).is_ok()).then_some((at, header.base_offset))
    })
}

/// What [`Segment::batches_from`] found.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Batches and their positions.
    pub(crate) batches: Vec<(u64, Batch)>,
    /// The position after the last.
    pub(crate) end: u64,
    /// What is wrong with the bytes there, if they should be a batch.
    pub(crate) failure: Option<headwater_record::Error>,
}
