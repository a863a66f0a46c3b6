//! Compaction: of records with the same key only the last is kept, as Kafka's log cleaner does it.
//!
//! A pass reads the *dirty section* (what no pass has seen, up to the active segment and the last stable offset) and notes
//! the last offset of each key; then it copies every segment up to there, leaving out what a later record supersedes, and
//! swaps the copies in ([`crate::swap`]). Batches keep their offsets, so a compacted log has gaps.
//!
//! | what | stays |
//! |---|---|
//! | a record that no later one of its key supersedes, or that has no key | for ever |
//! | a tombstone (no value) | `delete.retention.ms` longer than the first pass that saw it, so that every reader can |
//! | a record of an aborted transaction | until the first pass |
//! | a transaction's marker | as long as a tombstone, from the first pass on that sees none of its batches |
//! | a producer's last batch | without its records, so that its sequence numbers go on |
//! | segments with damage | as they are: they are evidence. Nothing that may answer something in them is dropped behind them |
//!
//! *Layout*: `section` what may be cleaned and when, `keys` the last offset of each key, `rules` what of a batch is kept,
//! `copy` the file that it goes to. `partition/compaction.rs` reads the segments and puts the copies in their place.

mod copy;
mod keys;
mod rules;
mod section;

use std::sync::atomic::{AtomicBool, AtomicU64};

use parking_lot::Mutex;

use crate::swap::Swap;

pub(crate) use copy::{CHUNK_BYTES, Copy};
pub(crate) use keys::LastOffsets;
pub(crate) use rules::{Rules, Verdict};
pub(crate) use section::Section;

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compaction {
    /// Segments that were replaced.
    pub segments_before: usize,
    /// Segments in their place.
    pub segments_after: usize,
    /// Bytes of the segments that were replaced.
    pub bytes_before: u64,
    /// Bytes of those in their place.
    pub bytes_after: u64,
    /// Records of the segments that were replaced, without markers.
    pub records_before: u64,
    /// Records of those in their place.
    pub records_after: u64,
}

impl std::ops::AddAssign for Compaction {
    fn add_assign(&mut self, other: Self) {
        self.segments_before += other.segments_before;
        self.segments_after += other.segments_after;
        self.bytes_before += other.bytes_before;
        self.bytes_after += other.bytes_after;
        self.records_before += other.records_before;
        self.records_after += other.records_after;
    }
}

/// How the last swap ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LastSwap {
    /// Wholly, or it never began.
    #[default]
    Settled,
    /// Whether the checkpoint with its intent is on the disk is unknown: the segments of before are in use, and the `.swap`
    /// must stay until another checkpoint has been written.
    InDoubt(Swap),
    /// It is committed, and putting the files in place failed: it is done by the next pass, or by recovery.
    Committed(Swap),
}

/// What a partition knows of its compactions.
#[derive(Debug, Default)]
pub(crate) struct Cleaner {
    /// Held by the one compaction that runs.
    pub(crate) running: Mutex<()>,
    /// Set when the partition is closed: a running compaction ends, none begins.
    pub(crate) is_stopped: AtomicBool,
    /// Below this offset a pass has seen everything. Losing it costs work, nothing else.
    pub(crate) cleaned_until: AtomicU64,
    /// How many swaps there were: it tells who reads beside us that the files have changed.
    pub(crate) generation: AtomicU64,
    pub(crate) last_swap: Mutex<LastSwap>,
}

impl Cleaner {
    pub(crate) fn new(cleaned_until: u64, generation: u64) -> Self {
        Self { cleaned_until: cleaned_until.into(), generation: generation.into(), ..Self::default() }
    }

    /// The swap that is committed and not done.
    pub(crate) fn replacing(&self) -> Option<Swap> {
        match *self.last_swap.lock() {
            LastSwap::Committed(swap) => Some(swap),
            LastSwap::Settled | LastSwap::InDoubt(_) => None,
        }
    }
}
