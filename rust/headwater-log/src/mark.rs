//! The durable mark: up to where a partition's log is known to have been synced, written after every sync.
//!
//! The file `headwater.mark` has two slots of 32 bytes at 0 and 512, written in turn, so that a torn write leaves the other:
//!
//! ```text
//! magic "HWMK" | version u32 = 1 | sequence u64 | durable offset u64 | identity u32 | CRC-32C of the 28 bytes before u32
//! ```
//! The identity is the checksum field of the log's first batch (0: none yet): whose log this speaks of.
//! The mark itself is not synced but at its creation: it is written after what it speaks of, so whatever of it a crash leaves is true. Bytes
//! that fail their checks below it are damage; above it they may be a torn tail.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::storage::{File, Storage};
use crate::{Error, Result};

pub(crate) const NAME: &str = "headwater.mark";
const MAGIC: [u8; 8] = *b"HWMK\0\0\0\x01";
const SLOT_BYTES: usize = 32;
pub(crate) const SLOTS: [u64; 2] = [0, 512];

/// The file of a partition that is written. It is opened for each write: a sync costs a hundred times as much, and a
/// process may hold a thousand files only.
#[derive(Debug)]
pub(crate) struct Mark {
    storage: Arc<dyn Storage>,
    path: String,
    sequence: Mutex<u64>,
}

impl Mark {
    /// Makes the file of a new partition; synced, so that a crash leaves a partition with a mark.
    pub(crate) fn create(storage: &dyn Storage, folder: &str) -> Result<()> {
        let path = format!("{folder}/{NAME}");
        let first = encode(1, (0, 0));
        let written =
            storage.open(&path, true).and_then(|file| file.write_at(&first, SLOTS[1]).and_then(|()| file.sync()));
        written.map_err(Error::io("write", storage.describe(&path)))
    }

    /// Goes on where the file of a partition ends, making it if it is missing.
    pub(crate) fn open(storage: Arc<dyn Storage>, folder: &str) -> Result<Self> {
        let path = format!("{folder}/{NAME}");
        let file = storage.open(&path, true).map_err(Error::io("open", storage.describe(&path)))?;
        let sequence = Mutex::new(newest(&*file).map_or(0, |(sequence, _)| sequence));
        Ok(Self { storage, path, sequence })
    }

    /// The offset that a partition's file says was durable, and the log's identity; None if it says nothing.
    pub(crate) fn read(storage: &dyn Storage, folder: &str) -> Option<(u64, u32)> {
        Self::look(storage, folder).map(|(_, said)| said)
    }

    /// How often a partition's file was written, and what it says then.
    pub(crate) fn look(storage: &dyn Storage, folder: &str) -> Option<Slot> {
        let file = storage.open(&format!("{folder}/{NAME}"), false).ok()?;
        newest(&*file)
    }

    /// Writes down that everything below `durable` has been synced.
    pub(crate) fn write(&self, durable: u64, identity: u32) -> Result<()> {
        let mut sequence = self.sequence.lock();
        let next = *sequence + 1;
        let slot = encode(next, (durable, identity));
        let written =
            self.storage.open(&self.path, false).and_then(|file| file.write_at(&slot, SLOTS[(next % 2) as usize]));
        written.map_err(Error::io("write", self.storage.describe(&self.path)))?;
        // A write that failed may have torn its slot: the next one goes there again, not to the one that is whole.
        *sequence = next;
        Ok(())
    }
}

fn encode(sequence: u64, (durable, identity): (u64, u32)) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[..8].copy_from_slice(&MAGIC);
    slot[8..16].copy_from_slice(&sequence.to_be_bytes());
    slot[16..24].copy_from_slice(&durable.to_be_bytes());
    slot[24..28].copy_from_slice(&identity.to_be_bytes());
    let checksum = crc32c::crc32c(&slot[..28]);
    slot[28..].copy_from_slice(&checksum.to_be_bytes());
    slot
}

/// Sequence, durable offset and identity.
pub(crate) type Slot = (u64, (u64, u32));

/// Sequence of the newer slot that is whole, and what it says.
fn newest(file: &dyn File) -> Option<Slot> {
    SLOTS.into_iter().filter_map(|position| slot(file, position)).max()
}

/// The slot at a position, if it is whole.
pub(crate) fn slot(file: &dyn File, position: u64) -> Option<Slot> {
    let mut bytes = [0; SLOT_BYTES];
    let read = file.read_at(&mut bytes, position).ok()?;
    let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    let identity = u32::from_be_bytes(bytes[24..28].try_into().expect("four bytes"));
    let (sequence, said) = (number(8), (number(16), identity));
    (read == SLOT_BYTES && encode(sequence, said) == bytes).then_some((sequence, said))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;

    #[test]
    fn a_torn_slot_leaves_the_one_before() {
        let storage = Arc::new(MemoryStorage::default());
        let open = || Mark::open(Arc::clone(&storage) as Arc<dyn Storage>, "t-0").unwrap();
        assert_eq!(Mark::read(&*storage, "t-0"), None);
        let mark = open();
        for durable in [5, 9, 12] {
            mark.write(durable, 77).unwrap();
            assert_eq!(Mark::read(&*storage, "t-0"), Some((durable, 77)));
        }
        let file = storage.open("t-0/headwater.mark", false).unwrap();
        file.write_at(&[1], SLOTS[1] + 20).unwrap();
        assert_eq!(Mark::read(&*storage, "t-0"), Some((9, 77)));
        open().write(20, 1).unwrap();
        assert_eq!(Mark::read(&*storage, "t-0"), Some((20, 1)));
    }
}
