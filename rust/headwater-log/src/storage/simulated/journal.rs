//! What happened to a directory, one operation after the other.

use std::sync::Arc;

/// A file or folder, whatever it is called.
pub(super) type Inode = u32;

/// Something that changed a directory, or made a change durable.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Write {
        file: Inode,
        at: u64,
        bytes: Arc<[u8]>,
    },
    Truncate {
        file: Inode,
        size: u64,
    },
    Sync {
        file: Inode,
    },
    /// A sync that failed: what it should have made durable never will be.
    LostSync {
        file: Inode,
    },
    Place(Place),
    SyncFolder {
        folder: Inode,
    },
}

/// A name in a folder. A folder that is made again is another one: what is in it is not in the one before.
pub(super) type Entry = (Inode, String);

/// A change of names.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// A file or a folder was made.
    Made { at: Entry, node: Node },
    /// A file got another name, perhaps one that another file had.
    Moved { from: Entry, to: Entry, node: Node },
    /// A file or an empty folder was removed.
    Removed { at: Entry },
}

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Folder(Inode),
    File(Inode),
}

impl Place {
    /// The folder whose sync makes it durable.
    pub(super) fn folder(&self) -> Inode {
        let (Self::Made { at, .. } | Self::Moved { to: at, .. } | Self::Removed { at }) = self;
        at.0
    }
}
