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
    pub(crate) damage: Vec<Damage>,
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
        Ok(Arc::new(Self {
            base_offset,
            stem,
            file,
            size: AtomicU64::new(0),
            next_offset: AtomicU64::new(base_offset),
            max_timestamp: AtomicI64::new(i64::MIN),
            indexes: RwLock::default(),
            damage: Vec::new(),
        }))
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

    /// Writes the index files. They are derived, so nothing is synced.
    pub(crate) fn write_indexes(&self, storage: &dyn Storage) -> Result<()> {
        let mut indexes = self.indexes.write();
        let largest = self.max_timestamp.load(Ordering::Relaxed);
        if largest != i64::MIN {
            let offset = indexes.max_timestamp_offset;
            indexes.times.push(largest, offset);
        }
        for (extension, bytes) in [("index", indexes.offsets.to_bytes()), ("timeindex", indexes.times.to_bytes())] {
            let path = format!("{}.{extension}", self.stem);
            storage
                .open(&path, true)
                .and_then(|file| file.truncate(0).and_then(|()| file.write_at(&bytes, 0)))
                .map_err(Error::io("write an index", storage.describe(&path)))?;
        }
        Ok(())
    }

    /// Reads the index files of a segment of so many bytes; None if they are missing or cannot be right.
    pub(crate) fn read_indexes(storage: &dyn Storage, stem: &str, size: u64) -> Option<Indexes> {
        let bytes = |extension: &str| {
            storage.open(&format!("{stem}.{extension}"), false).and_then(|file| read_all(&*file)).ok()
        };
        let times = TimeIndex::from_bytes(&bytes("timeindex")?)?;
        let max_timestamp_offset = times.last().map_or(0, |(_, offset)| offset);
        Some(Indexes {
            offsets: OffsetIndex::from_bytes(&bytes("index")?, size)?,
            times,
            since_entry: u64::MAX / 2, // unknown: the next batch gets an entry
            max_timestamp_offset,
        })
    }

    /// Where to begin looking for an offset.
    pub(crate) fn position_of(&self, offset: u64) -> u64 {
        self.indexes.read().offsets.lookup(self.relative(offset))
    }

    /// An offset at or before the first record not earlier than a timestamp.
    pub(crate) fn offset_before(&self, timestamp: i64) -> u64 {
        self.base_offset + u64::from(self.indexes.read().times.lookup(timestamp))
    }

    /// The damage that a position lies in.
    pub(crate) fn damage_at(&self, position: u64) -> Option<&Damage> {
        self.damage.iter().find(|damage| (damage.position..damage.end).contains(&position))
    }

    /// Whole batches from a position on: at least one, else as many as fit in `max_bytes`. Stops at damage.
    pub(crate) fn batches_from(&self, position: u64, max_bytes: usize) -> std::io::Result<Chunk> {
        let end = self.size.load(Ordering::Acquire);
        let until = self.damage.iter().map(|damage| damage.position).filter(|start| *start >= position).min();
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
            if batches.is_empty() {
                if let Some(headwater_record::Error::Short { expected, .. }) = failure {
                    if expected > wanted && expected <= available {
                        wanted = expected;
                        continue;
                    }
                }
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
