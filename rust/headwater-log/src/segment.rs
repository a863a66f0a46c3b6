//! One file of batches and its indexes: `<20 digits>.log`, `.index`, `.timeindex`.
//!
//! The last segment of a partition grows; all others are sealed. The indexes live in memory; their files are written when
//! a segment is sealed or the log is closed, never on the way of an append.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bytes::Bytes;
use headwater_record::{Batch, HEADER_BYTES, Header};
use parking_lot::RwLock;

use crate::index::{OffsetIndex, TimeIndex};
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
}

/// The name of the segment that begins at an offset.
pub(crate) fn stem(folder: &str, base_offset: u64) -> String {
    format!("{folder}/{base_offset:020}")
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

    /// The contents of the two index files, the largest timestamp included.
    fn index_files(&self) -> [(&'static str, Vec<u8>); 2] {
        let mut indexes = self.indexes.write();
        let largest = self.max_timestamp.load(Ordering::Relaxed);
        if largest != i64::MIN {
            let offset = indexes.max_timestamp_offset;
            indexes.times.push(largest, offset);
        }
        [("index", indexes.offsets.to_bytes()), ("timeindex", indexes.times.to_bytes())]
    }

    /// Writes the index files. They are derived and nobody believes them after a crash, so nothing is synced.
    pub(crate) fn write_indexes(&self, storage: &dyn Storage) -> Result<()> {
        for (extension, bytes) in self.index_files() {
            self.write_index(storage, extension, &bytes)?;
        }
        Ok(())
    }

    /// Makes the index files say durably what the indexes say; returns their checksums.
    pub(crate) fn seal_indexes(&self, storage: &dyn Storage) -> Result<(u32, u32)> {
        let files = self.index_files();
        for (extension, bytes) in &files {
            let path = format!("{}.{extension}", self.stem);
            let failed = || Error::io("write an index", storage.describe(&path));
            let is_there = storage.open(&path, false).and_then(|file| read_all(&*file)).is_ok_and(|old| old == *bytes);
            if !is_there {
                self.write_index(storage, extension, bytes)?;
            }
            storage.open(&path, false).and_then(|file| file.sync()).map_err(failed())?;
        }
        Ok((crc32c::crc32c(&files[0].1), crc32c::crc32c(&files[1].1)))
    }

    fn write_index(&self, storage: &dyn Storage, extension: &str, bytes: &[u8]) -> Result<()> {
        let path = format!("{}.{extension}", self.stem);
        storage
            .open(&path, true)
            .and_then(|file| file.truncate(0).and_then(|()| file.write_at(bytes, 0)))
            .map_err(Error::io("write an index", storage.describe(&path)))
    }

    /// Reads the index files of a segment of so many bytes; None if they are missing or not what was written.
    pub(crate) fn read_indexes(storage: &dyn Storage, stem: &str, size: u64, checksums: (u32, u32)) -> Option<Indexes> {
        let bytes = |extension: &str, checksum: u32| {
            let bytes = storage.open(&format!("{stem}.{extension}"), false).and_then(|file| read_all(&*file)).ok()?;
            (crc32c::crc32c(&bytes) == checksum).then_some(bytes)
        };
        let times = TimeIndex::from_bytes(&bytes("timeindex", checksums.1)?)?;
        let max_timestamp_offset = times.last().map_or(0, |(_, offset)| offset);
        Some(Indexes {
            offsets: OffsetIndex::from_bytes(&bytes("index", checksums.0)?, size)?,
            times,
            // Unknown behind a batch: the next one gets an entry.
            since_entry: if size == 0 { 0 } else { u64::MAX / 2 },
            max_timestamp_offset,
        })
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
        loop {
            let mut buffer = vec![0; wanted];
            let read = self.file.read_at(&mut buffer, position)?;
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

/// The first good batch behind the start of `bytes`: its place and offset. A bad header's length cannot be trusted, so
/// every byte may be where it begins.
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
