//! A directory in memory that counts operations, fails at one of them, and remembers what was durable: a crash.
//!
//! Contents are durable up to a file's last `sync`; a file's place (creation, rename, removal) as of its folder's last
//! `sync_folder`. After the operation number it was told to fail at, every operation fails: the process is dead. What a
//! restart finds is [`FaultyStorage::after_crash`]: only what was durable, or that and some of the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::memory::MemoryFile;
use super::{File, Lock, MemoryStorage, Storage};

/// What of the unsynced bytes a crash leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Nothing.
    LosesAll,
    /// Half of what was appended.
    Tears,
    /// All, but the second half as zeros: the size was written, the data was not.
    Zeros,
    /// Everything: only the process died.
    KeepsAll,
}

#[derive(Debug, Default)]
struct State {
    operations: u64,
    fail_at: Option<u64>,
    /// Fails once at `fail_at` instead of for ever (a full disk, not a crash).
    is_passing: bool,
    /// Durable contents, by file identity.
    synced: BTreeMap<usize, Vec<u8>>,
    /// Durable places.
    places: BTreeMap<String, Arc<MemoryFile>>,
    folders: BTreeSet<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct FaultyStorage {
    live: MemoryStorage,
    state: Arc<Mutex<State>>,
}

fn identity(file: &Arc<MemoryFile>) -> usize {
    Arc::as_ptr(file) as usize
}

impl FaultyStorage {
    /// A directory as a crash left it, in which operation number `fail_at` (from 1) is the first to fail.
    #[must_use]
    pub fn starting_from(image: MemoryStorage, fail_at: Option<u64>) -> Self {
        let mut state = State { fail_at, folders: image.folders(), ..State::default() };
        for path in image.contents().keys() {
            let file = image.file(path).expect("listed");
            state.synced.insert(identity(&file), file.0.read().clone());
            state.places.insert(path.clone(), file);
        }
        Self { live: image, state: Arc::new(Mutex::new(state)) }
    }

    /// Lets the operation `after` more from now fail, once.
    pub fn fail_once(&self, after: u64) {
        let mut state = self.state.lock();
        state.fail_at = Some(state.operations + after);
        state.is_passing = true;
    }

    /// Operations so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// The directory that a restart finds.
    #[must_use]
    pub fn after_crash(&self, crash: Crash) -> MemoryStorage {
        let state = self.state.lock();
        if crash == Crash::KeepsAll {
            return MemoryStorage::from_files(self.live.contents(), self.live.folders());
        }
        let contents = state.places.iter().map(|(path, file)| {
            let durable = state.synced.get(&identity(file)).cloned().unwrap_or_default();
            let written = file.0.read().clone();
            let mut left = durable.clone();
            if written.len() > durable.len() && written.starts_with(&durable) {
                let half = durable.len() + (written.len() - durable.len()) / 2;
                match crash {
                    Crash::Tears => left.extend_from_slice(&written[durable.len()..half]),
                    Crash::Zeros => {
                        left.extend_from_slice(&written[durable.len()..half]);
                        left.resize(written.len(), 0);
                    }
                    Crash::LosesAll | Crash::KeepsAll => {}
                }
            }
            (path.clone(), left)
        });
        MemoryStorage::from_files(contents.collect::<Vec<_>>(), state.folders.clone())
    }

    fn step(&self) -> io::Result<()> {
        step(&self.state)
    }
}

fn step(state: &Mutex<State>) -> io::Result<()> {
    let mut state = state.lock();
    state.operations += 1;
    let operations = state.operations;
    match state.fail_at {
        Some(fail_at) if state.is_passing && operations == fail_at => {
            state.fail_at = None;
            Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on device (injected)"))
        }
        Some(fail_at) if !state.is_passing && operations >= fail_at => Err(io::Error::other("crashed (injected)")),
        _ => Ok(()),
    }
}

impl Storage for FaultyStorage {
    fn describe(&self, path: &str) -> String {
        self.live.describe(path)
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        self.step()?;
        self.live.create_folder(path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.live.list(path)
    }

    fn open(&self, path: &str, create: bool) -> io::Result<Arc<dyn File>> {
        if create {
            self.step()?;
        }
        self.live.open(path, create)?;
        let inner = self.live.file(path).expect("opened");
        Ok(Arc::new(FaultyFile { inner, state: Arc::clone(&self.state) }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.step()?;
        self.live.rename(from, to)
    }

    fn remove_file(&self, path: &str) -> io::Result<()> {
        self.step()?;
        self.live.remove_file(path)
    }

    fn remove_folder(&self, path: &str) -> io::Result<()> {
        self.step()?;
        self.live.remove_folder(path)
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        self.step()?;
        let mut state = self.state.lock();
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let is_inside = |full: &str| full.strip_prefix(&prefix).is_some_and(|rest| !rest.contains('/'));
        state.places.retain(|full, _| !is_inside(full));
        for full in self.live.contents().keys().filter(|full| is_inside(full)) {
            state.places.insert(full.clone(), self.live.file(full).expect("listed"));
        }
        let live = self.live.folders();
        state.folders.retain(|folder| !is_inside(folder) || live.contains(folder));
        let gone: Vec<String> = state
            .places
            .keys()
            .filter(|full| full.rsplit_once('/').is_some_and(|(folder, _)| is_inside(folder) && !live.contains(folder)))
            .cloned()
            .collect();
        for full in gone {
            state.places.remove(&full);
        }
        state.folders.extend(live.into_iter().filter(|folder| is_inside(folder)));
        Ok(())
    }

    fn lock(&self, path: &str) -> io::Result<Result<Lock, String>> {
        self.live.lock(path)
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: Arc<MemoryFile>,
    state: Arc<Mutex<State>>,
}

impl File for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        if let Err(error) = step(&self.state) {
            // A failing write may have written some of it.
            self.inner.write_at(&bytes[..bytes.len() / 2], position)?;
            return Err(error);
        }
        self.inner.write_at(bytes, position)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        step(&self.state)?;
        self.inner.truncate(size)
    }

    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn sync(&self) -> io::Result<()> {
        step(&self.state)?;
        let contents = self.inner.0.read().clone();
        self.state.lock().synced.insert(identity(&self.inner), contents);
        Ok(())
    }
}
