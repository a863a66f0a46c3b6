//! Single files as they are, for people: what Kafka's DumpLogSegments prints, as data.
//!
//! Nothing is recovered and nothing believed: a batch with a wrong checksum is shown and said to be wrong, bytes that are no
//! batch are shown as such, and the dump goes on at the next good one. Files of Kafka and of headwater are alike.
//!
//! *Layout*: here `.log` files; `indexes` and `snapshot` the files beside them; `offsets` what records of `__consumer_offsets` say.

use std::sync::Arc;

use bytes::Bytes;
use headwater_record::{Batch, Header, Record};

use crate::scan::Scan;
use crate::storage::{File, Storage, read_all};
use crate::{Error, Result};

mod indexes;
mod offsets;
mod snapshot;

pub use indexes::{AbortedTransaction, MarkSlot, aborted_transactions, mark, offset_index, time_index};
pub use offsets::{OffsetsEntry, offsets_entry};
pub use snapshot::{SnapshotEntry, snapshot};

/// What lies at a position of a log file.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where it begins.
    pub position: u64,
    /// Where the next thing begins.
    pub end: u64,
    /// The batch's header; None for bytes that are no batch.
    pub header: Option<Header>,
    /// What is wrong with it.
    pub fault: Option<String>,
    /// Its records, if they were asked for and can be read.
    pub records: Vec<Record>,
}

/// Reads a `.log` file from a position on: at most `limit` entries, none at the end.
///
/// # Errors
/// `Io` if the file cannot be read; whatever is wrong with its bytes is in the entries.
pub fn log(storage: &dyn Storage, path: &str, position: u64, limit: usize, has_records: bool) -> Result<Vec<Entry>> {
    let failed = || Error::io("read", storage.describe(path));
    let mut scan = Scan::new(open(storage, path)?, position).map_err(failed())?;
    let base = base_offset(path).unwrap_or(0);
    let mut entries = Vec::new();
    while entries.len() < limit {
        let Some((position, read)) = scan.next().map_err(failed())? else { break };
        entries.push(match read {
            Ok(batch) => entry(position, &batch, has_records),
            Err(error) => {
                scan.skip(position, base, base).map_err(failed())?;
                let (end, fault) = (scan.position(), Some(error.to_string()));
                Entry { position, end, header: None, fault, records: Vec::new() }
            }
        });
    }
    Ok(entries)
}

fn entry(position: u64, batch: &Batch, has_records: bool) -> Entry {
    let mut fault = batch.verify().err().map(|error| error.to_string());
    let mut found = Vec::new();
    if has_records {
        match batch.records() {
            Ok(records) => {
                for record in &records {
                    match record {
                        Ok(record) => found.push(records.own(record)),
                        Err(error) => fault = fault.or_else(|| Some(error.to_string())),
                    }
                }
            }
            Err(error) => fault = fault.or_else(|| Some(error.to_string())),
        }
    }
    let end = position + batch.header.size_bytes as u64;
    Entry { position, end, header: Some(batch.header), fault, records: found }
}

fn open(storage: &dyn Storage, path: &str) -> Result<Arc<dyn File>> {
    storage.open(path, false).map_err(Error::io("open", storage.describe(path)))
}

fn contents(storage: &dyn Storage, path: &str) -> Result<Bytes> {
    let file = open(storage, path)?;
    read_all(&*file).map(Bytes::from).map_err(Error::io("read", storage.describe(path)))
}

/// Big-endian bytes of a field of an entry.
fn field<const N: usize>(entry: &[u8], at: usize) -> [u8; N] {
    entry[at..at + N].try_into().expect("entries are whole")
}

/// The offset in a file's name.
fn base_offset(path: &str) -> Option<u64> {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    name.get(..20)?.parse().ok()
}
