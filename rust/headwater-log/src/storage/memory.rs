//! A directory in memory, for tests and throw-away brokers.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::{File, Lock, Storage};

/// See the module.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    tree: Mutex<Tree>,
}

#[derive(Debug, Default)]
struct Tree {
    files: BTreeMap<String, Arc<MemoryFile>>,
    folders: BTreeSet<String>,
}

impl MemoryStorage {
    pub(super) fn from_files(
        files: impl IntoIterator<Item = (String, Arc<Vec<u8>>)>,
        folders: BTreeSet<String>,
    ) -> Self {
        let files = files.into_iter().map(|(path, bytes)| (path, Arc::new(MemoryFile(RwLock::new(bytes))))).collect();
        Self { tree: Mutex::new(Tree { files, folders }) }
    }

    /// Every file and its contents.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        self.tree.lock().files.iter().map(|(path, file)| (path.clone(), file.0.read().to_vec())).collect()
    }

    /// Puts a file there, as something else might.
    pub fn put(&self, path: &str, bytes: Vec<u8>) {
        let mut tree = self.tree.lock();
        if let Some((folder, _)) = path.rsplit_once('/') {
            tree.folders.insert(folder.to_owned());
        }
        tree.files.insert(path.to_owned(), Arc::new(MemoryFile(RwLock::new(Arc::new(bytes)))));
    }

    pub(super) fn file(&self, path: &str) -> Option<Arc<MemoryFile>> {
        self.tree.lock().files.get(path).cloned()
    }
}

fn missing(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no such file: {path}"))
}

impl Storage for MemoryStorage {
    fn describe(&self, path: &str) -> String {
        format!("memory:{path}")
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        self.tree.lock().folders.insert(path.to_owned());
        Ok(())
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let tree = self.tree.lock();
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        if !path.is_empty() && !tree.folders.contains(path) {
            return Err(missing(path));
        }
        let is_inside = |full: &&String| full.starts_with(&prefix);
        let files = tree.files.range(prefix.clone()..).map(|(full, _)| full).take_while(is_inside);
        let folders = tree.folders.range(prefix.clone()..).take_while(is_inside);
        let rest = files.chain(folders).map(|full| &full[prefix.len()..]);
        let names: BTreeSet<String> =
            rest.filter(|n| !n.is_empty()).map(|n| n.split('/').next().unwrap_or(n).to_owned()).collect();
        Ok(names.into_iter().collect())
    }

    fn open(&self, path: &str, create: bool) -> io::Result<Arc<dyn File>> {
        let mut tree = self.tree.lock();
        if !create && !tree.files.contains_key(path) {
            return Err(missing(path));
        }
        Ok(Arc::clone(tree.files.entry(path.to_owned()).or_default()) as Arc<dyn File>)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut tree = self.tree.lock();
        if let Some(file) = tree.files.remove(from) {
            tree.files.insert(to.to_owned(), file);
            return Ok(());
        }
        if !tree.folders.remove(from) {
            return Err(missing(from));
        }
        tree.folders.insert(to.to_owned());
        let prefix = format!("{from}/");
        let moved: Vec<String> = tree.files.keys().filter(|path| path.starts_with(&prefix)).cloned().collect();
        for path in moved {
            if let Some(file) = tree.files.remove(&path) {
                tree.files.insert(format!("{to}/{}", &path[prefix.len()..]), file);
            }
        }
        Ok(())
    }

    fn remove_file(&self, path: &str) -> io::Result<()> {
        self.tree.lock().files.remove(path).map(drop).ok_or_else(|| missing(path))
    }

    fn remove_folder(&self, path: &str) -> io::Result<()> {
        let mut tree = self.tree.lock();
        let prefix = format!("{path}/");
        tree.files.retain(|file, _| !file.starts_with(&prefix));
        tree.folders.retain(|folder| folder != path && !folder.starts_with(&prefix));
        Ok(())
    }

    fn sync_folder(&self, _path: &str) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _path: &str) -> io::Result<Result<Lock, String>> {
        Ok(Ok(Box::new(())))
    }
}

/// Contents that are copied when they are written to while something else has them, too.
#[derive(Debug, Default)]
pub(super) struct MemoryFile(RwLock<Arc<Vec<u8>>>);

fn place(position: u64) -> io::Result<usize> {
    usize::try_from(position).map_err(io::Error::other)
}

impl File for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let bytes = self.0.read();
        let rest = bytes.get(place(position)?..).unwrap_or(&[]);
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, new: &[u8], position: u64) -> io::Result<()> {
        let mut bytes = self.0.write();
        let bytes = Arc::make_mut(&mut bytes);
        let start = place(position)?;
        let end = start + new.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[start..end].copy_from_slice(new);
        Ok(())
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        Arc::make_mut(&mut self.0.write()).resize(place(size)?, 0);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.read().len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
