//! The file system as the log needs it: positional reads and writes, syncs of files and of folders, and a lock.
//!
//! Paths are relative to the log's directory, with `/`. [`DiskStorage`] is the real one, [`MemoryStorage`] forgets, and
//! [`SimulatedStorage`] knows what a crash leaves at any moment, and fails where it is told to.

mod disk;
mod memory;
mod simulated;
mod transfer;

use std::any::Any;
use std::io;
use std::sync::Arc;

pub use disk::DiskStorage;
pub use memory::MemoryStorage;
pub use simulated::{Crashes, Failure, Fault, Hiccup, Image, Kind, Level, SimulatedStorage};

/// Held as long as the directory is locked.
pub type Lock = Box<dyn Any + Send + Sync>;

/// What a directory's file system makes of our promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Footing {
    /// It keeps what it confirms, and locks.
    Firm,
    /// It promises less.
    Weak {
        /// What it is called.
        name: &'static str,
        /// What is lost.
        what: &'static str,
    },
    /// It does not do what must be done.
    Refused {
        /// What it is called.
        name: &'static str,
        /// What is missing.
        what: &'static str,
    },
}

/// A directory.
pub trait Storage: Send + Sync + std::fmt::Debug {
    /// Where it is, for messages.
    fn describe(&self, path: &str) -> String;
    /// Makes a folder and those above it.
    fn create_folder(&self, path: &str) -> io::Result<()>;
    /// Names in a folder, in no order; `NotFound` if it is missing.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;
    /// Opens a file, making it if `create`.
    fn open(&self, path: &str, create: bool) -> io::Result<Arc<dyn File>>;
    /// Puts a file or folder in another's place, atomically.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &str) -> io::Result<()>;
    /// Removes a folder and what is in it.
    fn remove_folder(&self, path: &str) -> io::Result<()>;
    /// Makes what was created, renamed and removed in a folder durable.
    fn sync_folder(&self, path: &str) -> io::Result<()>;
    /// Gives back what is kept open to be quick; whoever uses it again opens it again.
    fn release(&self) {}
    /// What stands below the directory.
    fn footing(&self) -> io::Result<Footing> {
        Ok(Footing::Firm)
    }
    /// Locks the directory for this process; `Err(Some(holder))` if another has it.
    fn lock(&self, path: &str) -> io::Result<Result<Lock, String>>;
}

/// An open file.
pub trait File: Send + Sync + std::fmt::Debug {
    /// Reads at a position until the buffer is full or the file ends; returns how much.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes all bytes at a position.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;
    /// Cuts the file.
    fn truncate(&self, size: u64) -> io::Result<()>;
    /// Its size.
    fn size(&self) -> io::Result<u64>;
    /// Makes its contents durable.
    fn sync(&self) -> io::Result<()>;
}

/// Reads a whole file.
pub(crate) fn read_all(file: &dyn File) -> io::Result<Vec<u8>> {
    let size = usize::try_from(file.size()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; size];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Writes a whole file so that a crash leaves the old one or the new one.
pub(crate) fn replace(storage: &dyn Storage, folder: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let place = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    let draft = place(&format!("{name}.tmp"));
    let file = storage.open(&draft, true)?;
    file.truncate(0)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    storage.rename(&draft, &place(name))?;
    storage.sync_folder(folder)
}
