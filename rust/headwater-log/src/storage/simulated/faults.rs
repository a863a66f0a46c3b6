//! Operations that fail: which, how, and whether only once.

use std::io;
use std::ops::Range;

/// Kinds of operation that change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Writing to a file.
    Write,
    /// Cutting a file.
    Truncate,
    /// Making a file durable.
    Sync,
    /// Making the names in a folder durable.
    SyncFolder,
    /// Creating, renaming and removing files and folders.
    Name,
}

impl Kind {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Write, Self::Truncate, Self::Sync, Self::SyncFolder, Self::Name];
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No space: nothing is written.
    NoSpace,
    /// No space after half of it.
    ShortWrite,
    /// The user's share of the disk is used up: nothing is written.
    Quota,
    /// The file may not grow: nothing is written.
    TooLarge,
    /// The device fails; half of a write may have happened.
    Device,
    /// The process is dead: nothing happens.
    Dead,
}

impl Failure {
    /// How much of a failing write happens.
    pub(super) fn written(self, length: usize) -> usize {
        match self {
            Self::NoSpace | Self::Quota | Self::TooLarge | Self::Dead => 0,
            Self::ShortWrite | Self::Device => length / 2,
        }
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        // As the system numbers them, so that `errno` reaches the user.
        Self::from_raw_os_error(match failure {
            Failure::NoSpace | Failure::ShortWrite => libc::ENOSPC,
            Failure::Quota => libc::EDQUOT,
            Failure::TooLarge => libc::EFBIG,
            Failure::Device | Failure::Dead => libc::EIO,
        })
    }
}

/// How a system call does less than it was asked for, without a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hiccup {
    /// Half of the bytes.
    Short,
    /// Nothing: a signal came.
    Interrupted,
    /// Nothing yet.
    WouldBlock,
}

/// Operations that shall fail.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The operation number `first` (from 1) of those of some `kinds`; and all after it if `is_lasting`.
    Change {
        /// Which are counted.
        kinds: &'static [Kind],
        /// How it fails.
        failure: Failure,
        /// The first to fail.
        first: u64,
        /// Whether those behind it fail, too.
        is_lasting: bool,
    },
    /// Syncs of a file (or folder) are confirmed and do nothing.
    Ignored {
        /// Which kind of sync.
        kind: Kind,
        /// The end of its path.
        path: &'static str,
    },
    /// The system call number `first` (from 1) of those that read or write; and every second one after it if `is_lasting`.
    Call {
        /// What it does.
        hiccup: Hiccup,
        /// The first.
        first: u64,
        /// Whether others follow.
        is_lasting: bool,
    },
    /// Every read of a part of a file.
    Read {
        /// The end of the file's path.
        file: &'static str,
        /// Where in it.
        bytes: Range<u64>,
    },
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    fault: Option<Fault>,
    tried: u64,
}

impl Faults {
    pub(super) fn set(&mut self, fault: Option<Fault>) {
        (self.fault, self.tried) = (fault, 0);
    }

    pub(super) fn tried(&self) -> u64 {
        self.tried
    }

    pub(super) fn attempt(&mut self, kind: Kind) -> Result<(), Failure> {
        let Some(Fault::Change { kinds, failure, first, is_lasting }) = &self.fault else { return Ok(()) };
        if !kinds.contains(&kind) {
            return Ok(());
        }
        self.tried += 1;
        let is_failing = if *is_lasting { self.tried >= *first } else { self.tried == *first };
        if is_failing { Err(*failure) } else { Ok(()) }
    }

    /// Counts a system call; returns how many bytes of it shall be done.
    pub(super) fn call(&mut self, length: usize) -> io::Result<usize> {
        let Some(Fault::Call { hiccup, first, is_lasting }) = &self.fault else { return Ok(length) };
        self.tried += 1;
        let is_hit =
            self.tried == *first || (*is_lasting && self.tried > *first && (self.tried - first).is_multiple_of(2));
        match hiccup {
            _ if !is_hit => Ok(length),
            Hiccup::Short => Ok(length.div_ceil(2)),
            Hiccup::Interrupted => Err(io::ErrorKind::Interrupted.into()),
            Hiccup::WouldBlock => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    pub(super) fn is_ignored(&self, sync: Kind, of: &str) -> bool {
        matches!(&self.fault, Some(Fault::Ignored { kind, path }) if *kind == sync && of.ends_with(path))
    }

    pub(super) fn attempt_read(&self, path: &str, position: u64, length: usize) -> Result<(), Failure> {
        let Some(Fault::Read { file, bytes }) = &self.fault else { return Ok(()) };
        let is_hit = path.ends_with(file) && position < bytes.end && position + length as u64 > bytes.start;
        if is_hit { Err(Failure::Device) } else { Ok(()) }
    }
}
