//! The file `<20 digits>.snapshot`: what is known of a partition's producers at an offset.

use super::{contents, field};
use crate::Result;
use crate::storage::Storage;

const HEADER_BYTES: usize = 10;

/// A producer, as a `.snapshot` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotEntry {
    /// The producer's id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// Sequence number of its last record; -1 without one.
    pub last_sequence: i32,
    /// Offset of its last record; -1 without one.
    pub last_offset: i64,
    /// How many records the last batch has behind its first.
    pub offset_delta: i32,
    /// Timestamp of its last batch.
    pub timestamp: i64,
    /// Epoch of the coordinator that last ended a transaction of it.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction; -1 without one.
    pub first_offset: i64,
}

/// The producers of a `.snapshot` file, and what is wrong with the file.
///
/// # Errors
/// `Io` if the file cannot be read.
pub fn snapshot(storage: &dyn Storage, path: &str) -> Result<(Vec<SnapshotEntry>, Option<String>)> {
    let bytes = contents(storage, path)?;
    let Some((head, body)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Ok((Vec::new(), Some(format!("expected {HEADER_BYTES} bytes or more, got {}", bytes.len()))));
    };
    let (version, checksum) = (i16::from_be_bytes(field(head, 0)), u32::from_be_bytes(field(head, 2)));
    let count = i32::from_be_bytes(field(head, 6));
    let (entries, rest) = body.as_chunks::<46>();
    let got = crc32c::crc32c(&bytes[6..]);
    let fault = if version != 1 {
        Some(format!("expected version 1, got {version}"))
    } else if got != checksum {
        Some(format!("expected checksum {checksum:#010x}, got {got:#010x}"))
    } else if usize::try_from(count) != Ok(entries.len()) || !rest.is_empty() {
        Some(format!("expected {count} entries, got {} and {} bytes", entries.len(), rest.len()))
    } else {
        None
    };
    let entry = |entry: &[u8; 46]| SnapshotEntry {
        producer_id: i64::from_be_bytes(field(entry, 0)),
        producer_epoch: i16::from_be_bytes(field(entry, 8)),
        last_sequence: i32::from_be_bytes(field(entry, 10)),
        last_offset: i64::from_be_bytes(field(entry, 14)),
        offset_delta: i32::from_be_bytes(field(entry, 22)),
        timestamp: i64::from_be_bytes(field(entry, 26)),
        coordinator_epoch: i32::from_be_bytes(field(entry, 34)),
        first_offset: i64::from_be_bytes(field(entry, 38)),
    };
    Ok((entries.iter().map(entry).collect(), fault))
}
