//! A directory in memory that remembers every change, in order, and so knows what a crash may leave at any moment.
//!
//! Reads see everything at once, as a page cache shows it. What would be on the medium is another matter: contents are durable
//! up to a file's last `sync`, names as of their folder's last `sync_folder`. [`SimulatedStorage::crashes`] walks through the
//! journal and makes, at every position and [`Level`], the directories that a restart may find; [`Fault`]s make operations
//! fail on the way.
//!
//! *Layout*: `journal` the operations; `disk` what is durable and what is not; `images` the levels; `faults`.

mod disk;
mod faults;
mod images;
mod journal;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use self::disk::{Disk, entry};
use self::faults::Faults;
use self::journal::{Inode, Node, Operation, Place};
use super::memory::MemoryFile;
use super::transfer::{read_full, write_full};
use super::{File, Lock, MemoryStorage, Storage};

pub use disk::Image;
pub use faults::{Failure, Fault, Hiccup, Kind};
pub use images::Level;

/// See the module.
#[derive(Debug)]
pub struct SimulatedStorage {
    live: MemoryStorage,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    journal: Vec<Operation>,
    faults: Faults,
    /// What paths lead to.
    nodes: BTreeMap<String, Node>,
    next_inode: Inode,
    /// What was there at the start, durably.
    start: Disk,
}

impl Default for SimulatedStorage {
    fn default() -> Self {
        Self::new(&Image::default())
    }
}

impl SimulatedStorage {
    /// A directory that begins as a crash (or a clean stop) left it.
    #[must_use]
    pub fn new(image: &Image) -> Self {
        let (start, nodes) = Disk::from_image(image);
        let (journal, faults, next_inode) = (Vec::new(), Faults::default(), nodes.len() as Inode);
        let state = State { journal, faults, nodes, next_inode, start };
        Self { live: image.storage(), state: Arc::new(Mutex::new(state)) }
    }

    /// How many operations have changed something so far.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.state.lock().journal.len()
    }

    /// Lets operations fail from now on; replaces what was said before. `None` lets them succeed again.
    pub fn fail(&self, fault: Option<Fault>) {
        self.state.lock().faults.set(fault);
    }

    /// How many operations of a kind have been tried since the last [`fail`](Self::fail).
    #[must_use]
    pub fn tried(&self) -> u64 {
        self.state.lock().faults.tried()
    }

    /// Every moment at which it may crash, from before the first operation to after the last.
    #[must_use]
    pub fn crashes(&self) -> Crashes {
        let state = self.state.lock();
        Crashes { disk: state.start.clone(), journal: state.journal.clone(), position: 0 }
    }

    /// What a restart may find if it crashes now, or has: one directory of the level.
    #[must_use]
    pub fn image(&self, level: Level) -> Image {
        let mut crashes = self.crashes();
        while crashes.advance() {}
        crashes.images(level, 1, 1).pop().unwrap_or_else(|| self.image(Level::Killed))
    }
}

/// The moments of a journal, one after the other.
#[derive(Debug)]
pub struct Crashes {
    disk: Disk,
    journal: Vec<Operation>,
    position: usize,
}

impl Crashes {
    /// How many operations have happened.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// The operation that happened last, for messages.
    #[must_use]
    pub fn last(&self) -> String {
        self.position.checked_sub(1).map_or("nothing".into(), |at| format!("{:?}", self.journal[at]))
    }

    /// Goes on by one operation; false at the end.
    pub fn advance(&mut self) -> bool {
        let Some(operation) = self.journal.get(self.position) else { return false };
        self.disk.happen(operation);
        self.position += 1;
        true
    }

    /// Directories that a restart may find here: all of the level where they are few, else about `most`, drawn by `seed`.
    #[must_use]
    pub fn images(&self, level: Level, seed: u64, most: usize) -> Vec<Image> {
        images::images(&self.disk, level, seed ^ self.position as u64, most)
    }
}

impl State {
    /// Whether an operation of this kind may happen now.
    fn attempt(&mut self, kind: Kind) -> Result<(), Failure> {
        self.faults.attempt(kind)
    }

    fn place(&mut self, place: Place) {
        self.journal.push(Operation::Place(place));
    }

    fn make(&mut self, path: &str, node: fn(Inode) -> Node) -> io::Result<()> {
        let at = entry(&self.nodes, path).ok_or_else(|| missing(path))?;
        self.attempt(Kind::Name)?;
        let node = node(self.next_inode);
        self.next_inode += 1;
        self.nodes.insert(path.to_owned(), node);
        self.place(Place::Made { at, node });
        Ok(())
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        let at = entry(&self.nodes, path).ok_or_else(|| missing(path))?;
        self.attempt(Kind::Name)?;
        self.nodes.remove(path);
        self.place(Place::Removed { at });
        Ok(())
    }
}

fn missing(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no such file or folder: {path}"))
}

impl Storage for SimulatedStorage {
    fn describe(&self, path: &str) -> String {
        self.live.describe(path)
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.nodes.contains_key(path) {
            return Ok(());
        }
        state.make(path, Node::Folder)?;
        self.live.create_folder(path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.live.list(path)
    }

    fn open(&self, path: &str, create: bool) -> io::Result<Arc<dyn File>> {
        let mut state = self.state.lock();
        if create && !state.nodes.contains_key(path) {
            state.make(path, Node::File)?;
        }
        let Some(Node::File(inode)) = state.nodes.get(path).copied() else { return Err(missing(path)) };
        self.live.open(path, create)?;
        let inner = self.live.file(path).expect("opened");
        Ok(Arc::new(SimulatedFile { path: path.to_owned(), inode, inner, state: Arc::clone(&self.state) }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        // Folders are not renamed by the log, and therefore not here.
        let node = state.nodes.get(from).copied().filter(|node| matches!(node, Node::File(_)));
        let (Some(node), Some(from_entry), Some(to_entry)) = (node, entry(&state.nodes, from), entry(&state.nodes, to))
        else {
            return Err(missing(from));
        };
        state.attempt(Kind::Name)?;
        self.live.rename(from, to)?;
        state.nodes.remove(from);
        state.nodes.insert(to.to_owned(), node);
        state.place(Place::Moved { from: from_entry, to: to_entry, node });
        Ok(())
    }

    fn remove_file(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        if matches!(state.nodes.get(path), Some(Node::File(_))) {
            state.remove(path)?;
        }
        self.live.remove_file(path)
    }

    /// One file after the other, then the folder: it may stop anywhere in between.
    fn remove_folder(&self, path: &str) -> io::Result<()> {
        for name in self.live.list(path)? {
            self.remove_file(&format!("{path}/{name}"))?;
        }
        self.state.lock().remove(path)?;
        self.live.remove_folder(path)
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.attempt(Kind::SyncFolder)?;
        if !state.faults.is_ignored(Kind::SyncFolder, path) {
            let Some(Node::Folder(folder)) = state.nodes.get(path).copied() else { return Err(missing(path)) };
            state.journal.push(Operation::SyncFolder { folder });
        }
        Ok(())
    }

    fn lock(&self, path: &str) -> io::Result<Result<Lock, String>> {
        self.live.lock(path)
    }
}

#[derive(Debug)]
struct SimulatedFile {
    path: String,
    inode: Inode,
    inner: Arc<MemoryFile>,
    state: Arc<Mutex<State>>,
}

impl SimulatedFile {
    /// What one system call does.
    fn write_some(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        let mut state = self.state.lock();
        let bytes = &bytes[..state.faults.call(bytes.len())?];
        let attempted = state.attempt(Kind::Write);
        let written = match &attempted {
            Ok(()) => bytes,
            Err(failure) => &bytes[..failure.written(bytes.len())],
        };
        if !written.is_empty() {
            self.inner.write_at(written, position)?;
            state.journal.push(Operation::Write { file: self.inode, at: position, bytes: written.into() });
        }
        attempted?;
        Ok(bytes.len())
    }
}

impl File for SimulatedFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.state.lock().faults.attempt_read(&self.path, position, buffer.len())?;
        read_full(buffer, position, |rest, at| {
            let length = self.state.lock().faults.call(rest.len())?;
            self.inner.read_at(&mut rest[..length], at)
        })
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        write_full(bytes, position, |rest, at| self.write_some(rest, at))
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.attempt(Kind::Truncate)?;
        self.inner.truncate(size)?;
        state.journal.push(Operation::Truncate { file: self.inode, size });
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        if let Err(failure) = state.attempt(Kind::Sync) {
            // What was to be written is given up, though reads go on showing it: a later sync succeeds without it.
            if failure != Failure::Dead {
                state.journal.push(Operation::LostSync { file: self.inode });
            }
            return Err(failure.into());
        }
        if !state.faults.is_ignored(Kind::Sync, &self.path) {
            state.journal.push(Operation::Sync { file: self.inode });
        }
        Ok(())
    }
}
