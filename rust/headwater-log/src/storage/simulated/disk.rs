//! The medium behind a simulated directory: what of it is durable, and what may or may not be after a crash.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::journal::{Entry, Inode, Node, Operation, Place};
use crate::storage::MemoryStorage;

/// A directory as a restart finds it. Contents are shared with other images until they are written to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Image {
    /// Every file and its contents.
    pub files: BTreeMap<String, Arc<Vec<u8>>>,
    /// Every folder but the root.
    pub folders: BTreeSet<String>,
}

impl Image {
    /// A directory to open.
    #[must_use]
    pub fn storage(&self) -> MemoryStorage {
        MemoryStorage::from_files(self.files.clone(), self.folders.clone())
    }

    /// What such a directory holds now.
    #[must_use]
    pub fn of(storage: &MemoryStorage) -> Self {
        let files: BTreeMap<_, _> =
            storage.contents().into_iter().map(|(path, bytes)| (path, Arc::new(bytes))).collect();
        let folders = files.keys().filter_map(|path| Some(path.rsplit_once('/')?.0.to_owned())).collect();
        Self { files, folders }
    }

    /// A number that two images share only if they are the same (or once in 10^19).
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// The root's.
pub(super) const ROOT: Inode = 0;

/// Names and what they lead to.
pub(super) type Tree = BTreeMap<Entry, Node>;

/// A change of a file's contents.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write { at: u64, bytes: Arc<[u8]> },
    Truncate { size: u64 },
}

impl Change {
    pub(super) fn apply(&self, contents: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => write(contents, *at as usize, bytes),
            Self::Truncate { size } => contents.resize(*size as usize, 0),
        }
    }
}

pub(super) fn write(contents: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if contents.len() < end {
        contents.resize(end, 0);
    }
    contents[at..end].copy_from_slice(bytes);
}

/// A file: what is durable of it, what is not yet, and what reads see.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    pub(super) durable: Arc<Vec<u8>>,
    pub(super) pending: Vec<Change>,
    pub(super) seen: Arc<Vec<u8>>,
}

impl Contents {
    /// With the first so many of the pending changes.
    pub(super) fn with(&self, count: usize) -> Arc<Vec<u8>> {
        if count == 0 {
            return Arc::clone(&self.durable);
        }
        let mut contents = (*self.durable).clone();
        self.pending[..count].iter().for_each(|change| change.apply(&mut contents));
        Arc::new(contents)
    }

    fn change(&mut self, change: Change) {
        change.apply(Arc::make_mut(&mut self.seen));
        self.pending.push(change);
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub(super) files: BTreeMap<Inode, Contents>,
    /// Names as they are durably, as they are seen, and the changes from the one to the other.
    pub(super) durable: Tree,
    pub(super) seen: Tree,
    pub(super) pending: Vec<Place>,
}

impl Disk {
    /// A directory of which all is durable, and the inodes of its paths.
    pub(super) fn from_image(image: &Image) -> (Self, BTreeMap<String, Node>) {
        let mut disk = Self::default();
        let mut nodes = BTreeMap::from([(String::new(), Node::Folder(ROOT))]);
        let folders = image.folders.iter().map(|path| (path, None));
        for (path, bytes) in folders.chain(image.files.iter().map(|(path, bytes)| (path, Some(bytes)))) {
            let inode = nodes.len() as Inode;
            let node = bytes.map_or(Node::Folder(inode), |_| Node::File(inode));
            if let Some(bytes) = bytes {
                let contents = Contents { durable: Arc::clone(bytes), seen: Arc::clone(bytes), pending: Vec::new() };
                disk.files.insert(inode, contents);
            }
            disk.durable.insert(entry(&nodes, path).expect("a folder comes before what is in it"), node);
            nodes.insert(path.clone(), node);
        }
        disk.seen = disk.durable.clone();
        (disk, nodes)
    }

    pub(super) fn happen(&mut self, operation: &Operation) {
        match operation {
            Operation::Write { file, at, bytes } => {
                self.file(*file).change(Change::Write { at: *at, bytes: Arc::clone(bytes) });
            }
            Operation::Truncate { file, size } => self.file(*file).change(Change::Truncate { size: *size }),
            Operation::Sync { file } => {
                let contents = self.file(*file);
                contents.durable = contents.with(contents.pending.len());
                contents.pending.clear();
            }
            Operation::LostSync { file } => self.file(*file).pending.clear(),
            Operation::Place(place) => {
                apply(&mut self.seen, place);
                self.pending.push(place.clone());
            }
            Operation::SyncFolder { folder } => {
                let (now, later) = std::mem::take(&mut self.pending).into_iter().partition(|p| p.folder() == *folder);
                self.pending = later;
                let now: Vec<Place> = now;
                now.iter().for_each(|place| apply(&mut self.durable, place));
            }
        }
    }

    fn file(&mut self, inode: Inode) -> &mut Contents {
        self.files.entry(inode).or_default()
    }

    /// A directory of these names, in which files hold what `contents` says.
    pub(super) fn image(&self, names: &Tree, contents: impl Fn(Inode, &Contents) -> Arc<Vec<u8>>) -> Image {
        let mut image = Image::default();
        let mut folders = vec![(ROOT, String::new())];
        while let Some((folder, prefix)) = folders.pop() {
            for ((_, name), node) in names.range((folder, String::new())..(folder + 1, String::new())) {
                let path = format!("{prefix}{name}");
                match node {
                    Node::Folder(inode) => {
                        folders.push((*inode, format!("{path}/")));
                        image.folders.insert(path);
                    }
                    Node::File(inode) => {
                        let contents = self.files.get(inode).map(|file| contents(*inode, file)).unwrap_or_default();
                        image.files.insert(path, contents);
                    }
                }
            }
        }
        image
    }
}

/// Where a path's name stands; None if its folder is missing.
pub(super) fn entry(nodes: &BTreeMap<String, Node>, path: &str) -> Option<Entry> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    match nodes.get(folder) {
        Some(Node::Folder(inode)) => Some((*inode, name.to_owned())),
        _ => None,
    }
}

/// Changes names; of several changes, each may happen without those before it.
pub(super) fn apply(names: &mut Tree, place: &Place) {
    match place {
        Place::Made { at, node } => drop(names.insert(at.clone(), *node)),
        Place::Moved { from, to, node } => {
            if names.get(from) == Some(node) {
                names.remove(from);
            }
            names.insert(to.clone(), *node);
        }
        Place::Removed { at } => drop(names.remove(at)),
    }
}
