//! Many files through few open handles: those not used for a while are closed, and opened again when they are.
//!
//! A log may have a hundred thousand segments and a process a thousand handles. All directories of a process share one bound.
//! A handle that is opened again must lead to the same file (device and inode): if something else was put in its place, that
//! is an error and never somebody else's bytes. What was written through a handle is synced before it is closed, for the
//! system reports a write that failed later only to handles that were open then; a failure is kept for whoever syncs next.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Weak};

use parking_lot::{Mutex, RwLock};

/// Open handles of a process, at most, if its limit is large enough.
const HANDLES_MAX: usize = 512;
/// Whatever the limit is.
const HANDLES_MIN: usize = 16;

/// What the directories of this process share.
pub(super) static SHARED: LazyLock<Arc<Handles>> = LazyLock::new(|| Arc::new(Handles::new(default_limit())));

/// Half of what the process may open.
fn default_limit() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    // Where nothing says so it is 256 (macOS); "unlimited" is no number.
    let soft = line.map_or(Some(256), |line| line.split_whitespace().next()?.parse::<usize>().ok());
    soft.map_or(HANDLES_MAX, |soft| (soft / 2).clamp(HANDLES_MIN, HANDLES_MAX))
}

/// Device and inode: a file or folder, whatever it is called.
pub(super) type Identity = (u64, u64);

pub(super) fn identity(metadata: &fs::Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// Where something else may have been put.
pub(super) fn check_identity(path: &Path, expected: Identity) -> io::Result<()> {
    if identity(&fs::metadata(path)?) == expected {
        return Ok(());
    }
    let what = "expected the file or folder that was opened first, got another in its place";
    Err(io::Error::other(format!("{what} - at {}; close the log and open it again", path.display())))
}

/// Opens a regular file, and neither follows a link nor waits for whoever is at the other end of a pipe.
pub(super) fn open_regular(path: &Path, is_writable: bool, create: bool) -> io::Result<fs::File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(is_writable)
        .create(create)
        .truncate(false)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let refused = |what: &str| io::Error::other(format!("expected a regular file, got {what} - at {}", path.display()));
    let file = match options.open(path) {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => return Err(refused("a symbolic link")),
        opened => opened?,
    };
    let kind = file.metadata()?.file_type();
    match kind {
        _ if kind.is_file() => Ok(file),
        _ if kind.is_dir() => Err(refused("a folder")),
        _ if kind.is_fifo() => Err(refused("a pipe")),
        _ => Err(refused("a device or socket")),
    }
}

/// The handles that are open, the one opened longest ago first.
#[derive(Debug)]
pub(super) struct Handles {
    limit: usize,
    count: AtomicUsize,
    pool: Mutex<Pool>,
}

#[derive(Debug, Default)]
struct Pool {
    open: VecDeque<Weak<Pooled>>,
    /// Every file in use, open or not, to tell it its new name.
    files: HashMap<Identity, Vec<Weak<Pooled>>>,
    /// How many there were when the dead ones were last removed.
    swept: usize,
}

/// A file that is open if it was used lately.
#[derive(Debug)]
pub(super) struct Pooled {
    handles: Arc<Handles>,
    path: Mutex<PathBuf>,
    folder: Option<Identity>,
    identity: Identity,
    is_writable: bool,
    handle: RwLock<Option<fs::File>>,
    /// Since it was last looked at for closing.
    is_used: AtomicBool,
    /// Whether something is written and not synced.
    is_dirty: AtomicBool,
    /// The system's number of a failure to sync it, which nobody has heard of yet; 0 is none.
    failure: AtomicI32,
}

impl Handles {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, count: AtomicUsize::new(0), pool: Mutex::default() }
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Takes over a file that was just opened.
    pub(super) fn adopt(self: &Arc<Self>, path: PathBuf, file: fs::File, is_writable: bool) -> io::Result<Arc<Pooled>> {
        let identity = identity(&file.metadata()?);
        let pooled = Arc::new(Pooled {
            handles: Arc::clone(self),
            folder: path.parent().and_then(|folder| fs::metadata(folder).ok()).map(|folder| self::identity(&folder)),
            path: Mutex::new(path),
            identity,
            is_writable,
            handle: RwLock::new(Some(file)),
            is_used: AtomicBool::new(false),
            is_dirty: AtomicBool::new(false),
            failure: AtomicI32::new(0),
        });
        self.pool.lock().register(identity, &pooled);
        self.opened(&pooled);
        Ok(pooled)
    }

    /// Counts a handle, and closes others if they are too many.
    fn opened(&self, pooled: &Arc<Pooled>) {
        self.count.fetch_add(1, Ordering::AcqRel);
        let mut pool = self.pool.lock();
        pool.open.push_back(Arc::downgrade(pooled));
        // Files that are gone leave their entries behind.
        if pool.open.len() > 2 * self.limit + 64 {
            pool.open.retain(|file| file.strong_count() > 0);
        }
        // Kept until the lock is given back: the last of a file to be dropped must not be dropped here.
        let mut looked_at = Vec::new();
        let mut tries = 3 * pool.open.len();
        while self.count() > self.limit && tries > 0 {
            tries -= 1;
            let Some(oldest) = pool.open.pop_front() else { break };
            let Some(file) = oldest.upgrade() else { continue };
            // In the first round only what is neither used nor dirty, at last whatever can be closed.
            let is_clean = !file.is_dirty.load(Ordering::Acquire) || tries < pool.open.len();
            let is_idle = !file.is_used.swap(false, Ordering::AcqRel);
            if Arc::ptr_eq(&file, pooled) || !(is_idle && is_clean && file.close()) {
                pool.open.push_back(oldest);
            }
            looked_at.push(file);
        }
        drop(pool);
    }

    /// Closes what lies at such paths, unless it is in use right now.
    pub(super) fn release(&self, is_meant: impl Fn(&Path) -> bool) {
        let open: Vec<Arc<Pooled>> = self.pool.lock().open.iter().filter_map(Weak::upgrade).collect();
        for file in open.iter().filter(|file| is_meant(&file.path.lock())) {
            file.close();
        }
    }

    /// Opens something; where the rest of the program has left no handle, ours are closed first, and it is tried again.
    pub(super) fn with_spare<T>(&self, open: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match open() {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                self.release(|_| true);
                open()
            }
            opened => opened,
        }
    }

    /// A file got another name.
    pub(super) fn renamed(&self, identity: Identity, path: &Path) {
        let files = self.pool.lock().files.get(&identity).cloned().unwrap_or_default();
        for file in files.iter().filter_map(Weak::upgrade) {
            path.clone_into(&mut file.path.lock());
        }
    }
}

impl Pool {
    fn register(&mut self, identity: Identity, pooled: &Arc<Pooled>) {
        let same = self.files.entry(identity).or_default();
        same.retain(|file| file.strong_count() > 0);
        same.push(Arc::downgrade(pooled));
        if self.files.len() > 2 * self.swept + 1_024 {
            self.files.retain(|_, files| files.iter().any(|file| file.strong_count() > 0));
            self.swept = self.files.len();
        }
    }
}

impl Pooled {
    /// Does something with the open file, opening it if it is not.
    pub(super) fn with<T>(self: &Arc<Self>, act: impl FnOnce(&fs::File) -> io::Result<T>) -> io::Result<T> {
        self.is_used.store(true, Ordering::Release);
        loop {
            if let Some(file) = &*self.handle.read() {
                return act(file);
            }
            self.reopen()?;
        }
    }

    fn reopen(self: &Arc<Self>) -> io::Result<()> {
        let mut handle = self.handle.write();
        if handle.is_some() {
            return Ok(());
        }
        let path = self.path.lock().clone();
        let file = self.handles.with_spare(|| open_regular(&path, self.is_writable, false))?;
        if identity(&file.metadata()?) != self.identity {
            check_identity(&path, self.identity)?;
        }
        *handle = Some(file);
        drop(handle);
        self.handles.opened(self);
        Ok(())
    }

    /// Closes the handle, unless it is in use or could not be opened again.
    fn close(&self) -> bool {
        let Some(mut handle) = self.handle.try_write() else { return false };
        let Some(file) = &*handle else { return true };
        // A file that was removed or replaced is still read by whoever has it.
        if check_identity(&self.path.lock(), self.identity).is_err() {
            return false;
        }
        if self.is_dirty.swap(false, Ordering::AcqRel)
            && let Err(error) = file.sync_data()
        {
            self.failure.store(error.raw_os_error().unwrap_or(libc::EIO), Ordering::Release);
        }
        *handle = None;
        self.handles.count.fetch_sub(1, Ordering::AcqRel);
        true
    }

    /// Does something that a sync must cover.
    pub(super) fn change<T>(self: &Arc<Self>, act: impl FnOnce(&fs::File) -> io::Result<T>) -> io::Result<T> {
        self.with(|file| {
            self.is_dirty.store(true, Ordering::Release);
            act(file)
        })
    }

    /// Makes its contents durable, under the name that it has: in a folder that was replaced they would be lost.
    pub(super) fn sync(self: &Arc<Self>) -> io::Result<()> {
        self.with(|file| {
            self.is_dirty.store(false, Ordering::Release);
            file.sync_data().inspect_err(|_| self.is_dirty.store(true, Ordering::Release))
        })?;
        let failure = self.failure.load(Ordering::Acquire);
        if failure != 0 {
            return Err(io::Error::from_raw_os_error(failure));
        }
        let path = self.path.lock().clone();
        match (path.parent(), self.folder) {
            (Some(folder), Some(identity)) => check_identity(folder, identity),
            _ => Ok(()),
        }
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if self.handle.get_mut().is_some() {
            self.handles.count.fetch_sub(1, Ordering::AcqRel);
        }
    }
}
