//! The files beside a log: entries as they are, also where no index would have them.

use super::{base_offset, contents, field, open};
use crate::Result;
use crate::mark::{self, SLOTS};
use crate::storage::Storage;

/// A transaction that was aborted, as a `.txnindex` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Version of the entry.
    pub version: i16,
    /// Whose it was.
    pub producer_id: i64,
    /// Its first record.
    pub first_offset: i64,
    /// Its last.
    pub last_offset: i64,
    /// The last stable offset when it was aborted.
    pub last_stable_offset: i64,
}

/// One of the two slots of a `headwater.mark`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkSlot {
    /// Where it begins.
    pub position: u64,
    /// The higher one counts.
    pub sequence: u64,
    /// Everything below was durable.
    pub durable: u64,
    /// Checksum field of the log's first batch.
    pub identity: u32,
}

/// Offsets and positions of an `.index` file, and how many bytes are left over behind the last entry.
///
/// # Errors
/// `Io` if the file cannot be read.
pub fn offset_index(storage: &dyn Storage, path: &str) -> Result<(Vec<(u64, u32)>, usize)> {
    let (bytes, base) = (contents(storage, path)?, base_offset(path).unwrap_or(0));
    let (entries, rest) = bytes.as_chunks::<8>();
    let entry =
        |entry: &[u8; 8]| (base + u64::from(u32::from_be_bytes(field(entry, 0))), u32::from_be_bytes(field(entry, 4)));
    Ok((entries.iter().map(entry).collect(), rest.len()))
}

/// Timestamps and offsets of a `.timeindex` file, and how many bytes are left over.
///
/// # Errors
/// `Io` if the file cannot be read.
pub fn time_index(storage: &dyn Storage, path: &str) -> Result<(Vec<(i64, u64)>, usize)> {
    let (bytes, base) = (contents(storage, path)?, base_offset(path).unwrap_or(0));
    let (entries, rest) = bytes.as_chunks::<12>();
    let entry =
        |entry: &[u8; 12]| (i64::from_be_bytes(field(entry, 0)), base + u64::from(u32::from_be_bytes(field(entry, 8))));
    Ok((entries.iter().map(entry).collect(), rest.len()))
}

/// Entries of a `.txnindex` file, and how many bytes are left over.
///
/// # Errors
/// `Io` if the file cannot be read.
pub fn aborted_transactions(storage: &dyn Storage, path: &str) -> Result<(Vec<AbortedTransaction>, usize)> {
    let bytes = contents(storage, path)?;
    let (entries, rest) = bytes.as_chunks::<34>();
    let entry = |entry: &[u8; 34]| AbortedTransaction {
        version: i16::from_be_bytes(field(entry, 0)),
        producer_id: i64::from_be_bytes(field(entry, 2)),
        first_offset: i64::from_be_bytes(field(entry, 10)),
        last_offset: i64::from_be_bytes(field(entry, 18)),
        last_stable_offset: i64::from_be_bytes(field(entry, 26)),
    };
    Ok((entries.iter().map(entry).collect(), rest.len()))
}

/// The whole slots of a `headwater.mark` file.
///
/// # Errors
/// `Io` if the file cannot be read.
pub fn mark(storage: &dyn Storage, path: &str) -> Result<Vec<MarkSlot>> {
    let file = open(storage, path)?;
    let slot = |position| {
        let (sequence, (durable, identity)) = mark::slot(&*file, position)?;
        Some(MarkSlot { position, sequence, durable, identity })
    };
    Ok(SLOTS.into_iter().filter_map(slot).collect())
}
