//! The real file system.

mod file_system;
mod handles;

use std::fs::{self, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use self::handles::{Handles, Identity, Pooled, SHARED, check_identity, identity, open_regular};
use super::transfer::{read_full, write_full};
use super::{File, Footing, Lock, Storage};

/// A directory on disk.
#[derive(Debug)]
pub struct DiskStorage {
    root: PathBuf,
    /// The root when it was locked: what is put in its place later is not ours to write to.
    locked: OnceLock<Identity>,
    handles: Arc<Handles>,
}

impl DiskStorage {
    /// The directory at `root`, which need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), locked: OnceLock::new(), handles: Arc::clone(&SHARED) }
    }

    /// The same, with a bound of its own for the files that it keeps open at a time.
    pub fn with_handles(root: impl Into<PathBuf>, limit: usize) -> Self {
        Self { handles: Arc::new(Handles::new(limit)), ..Self::new(root) }
    }

    /// How many files it (and who shares its bound) has open.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.handles.count()
    }

    fn at(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }

    fn check_root(&self) -> io::Result<()> {
        self.locked.get().map_or(Ok(()), |locked| check_identity(&self.root, *locked))
    }
}

/// Whether the process may have a file of that size: where it may not, the system would end it with a signal (SIGXFSZ).
fn check_size(size: u64) -> io::Result<()> {
    match rustix::process::getrlimit(rustix::process::Resource::Fsize).current {
        Some(limit) if size > limit => Err(io::Error::from_raw_os_error(libc::EFBIG)),
        _ => Ok(()),
    }
}

/// Makes a folder's entries durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

impl Storage for DiskStorage {
    fn describe(&self, path: &str) -> String {
        self.at(path).display().to_string()
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        self.check_root()?;
        fs::create_dir_all(self.at(path))
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.handles
            .with_spare(|| fs::read_dir(self.at(path)))?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn open(&self, path: &str, create: bool) -> io::Result<Arc<dyn File>> {
        self.check_root()?;
        let place = self.at(path);
        let open = |is_writable, create| self.handles.with_spare(|| open_regular(&place, is_writable, create));
        let (file, is_writable) = match open(true, create) {
            Err(error) if !create && is_forbidden(&error) => (open(false, false)?, false),
            opened => (opened?, true),
        };
        Ok(Arc::new(DiskFile(self.handles.adopt(place, file, is_writable)?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.check_root()?;
        let (from, to) = (self.at(from), self.at(to));
        let moved = identity(&fs::symlink_metadata(&from)?);
        fs::rename(from, &to)?;
        self.handles.renamed(moved, &to);
        Ok(())
    }

    fn remove_file(&self, path: &str) -> io::Result<()> {
        self.check_root()?;
        fs::remove_file(self.at(path))
    }

    fn remove_folder(&self, path: &str) -> io::Result<()> {
        self.check_root()?;
        fs::remove_dir_all(self.at(path))
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        self.check_root()?;
        self.handles.with_spare(|| sync_folder(&self.at(path)))
    }

    fn release(&self) {
        self.handles.release(|path| path.starts_with(&self.root));
    }

    fn footing(&self) -> io::Result<Footing> {
        file_system::footing(&self.root)
    }

    fn lock(&self, path: &str) -> io::Result<Result<Lock, String>> {
        let mut file = self.handles.with_spare(|| open_regular(&self.at(path), true, true))?;
        match file.try_lock() {
            Ok(()) => {
                check_size(64)?; // of what is written into it
                file.set_len(0)?;
                write!(file, "process {}", std::process::id())?;
                let _ = self.locked.set(identity(&fs::metadata(&self.root)?));
                Ok(Ok(Box::new(Held { file, process: std::process::id() })))
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder)?;
                Ok(Err(if holder.is_empty() { "another process".into() } else { holder }))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// A lock that is given back when this is dropped. Closing the file would not do: a child that another thread is making by fork
/// has it, too, until it becomes another program.
#[derive(Debug)]
struct Held {
    file: fs::File,
    process: u32,
}

impl Drop for Held {
    fn drop(&mut self) {
        // The lock is its parent's, whatever a child made by fork drops.
        if self.process == std::process::id() {
            let _ = self.file.unlock();
        }
    }
}

fn is_forbidden(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

#[derive(Debug)]
struct DiskFile(Arc<Pooled>);

impl File for DiskFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.with(|file| read_full(buffer, position, |rest, at| file.read_at(rest, at)))
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        check_size(position + bytes.len() as u64)?;
        self.0.change(|file| write_full(bytes, position, |rest, at| file.write_at(rest, at)))
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        check_size(size)?;
        self.0.change(|file| file.set_len(size))
    }

    fn size(&self) -> io::Result<u64> {
        self.0.with(|file| Ok(file.metadata()?.len()))
    }

    /// `fdatasync`; on macOS the standard library asks for `F_FULLFSYNC`.
    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
}
