//! What is written down about a partition beside its segments, replaced as a whole and durably: `headwater.checkpoint`.
//!
//! It is written when a segment is begun, when the first record after a clean close is appended, when records are deleted,
//! when compaction replaces segments, and at a clean close. It lists the segments that nobody writes any more, with their
//! sizes and the checksums of the small files beside them: whoever finds exactly those may believe them, and need not walk
//! through the segment. At a clean close all segments are listed, and the log's end is said.

use serde_json::{Value, json};

use crate::storage::{Storage, read_all, replace};
use crate::swap::Swap;
use crate::{Error, Result, sealed};

pub(crate) const NAME: &str = "headwater.checkpoint";
const FORMAT: u64 = 1;

/// A segment, durable and whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KnownSegment {
    pub(crate) base_offset: u64,
    pub(crate) size: u64,
    pub(crate) next_offset: u64,
    /// CRC-32C of `.index`, of `.timeindex`, and of `.txnindex` (0: there need be none).
    pub(crate) index_checksum: u32,
    pub(crate) time_checksum: u32,
    pub(crate) aborted_checksum: u32,
}

/// What was known of a partition when it was last written to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Everything below was synced.
    pub(crate) recovery_point: u64,
    pub(crate) log_start_offset: u64,
    /// The segments from the log's start on that need not be walked through.
    pub(crate) segments: Vec<KnownSegment>,
    /// Where the log ended, at a clean close.
    pub(crate) end: Option<u64>,
    /// Where the last of these segments ends, and CRC-32C of the `.snapshot` of producers there.
    pub(crate) snapshot: Option<(u64, u32)>,
    /// Whether some producer numbers its batches, or transactions were aborted: what is known of them is in the log.
    pub(crate) has_producers: bool,
    /// Whether offsets may be missing between batches: the topic is compacted, or something else wrote it.
    pub(crate) has_gaps: bool,
    /// Checksum field of the log's first batch: tells our files from others of the same name.
    pub(crate) identity: Option<u32>,
    /// Below this offset compaction has seen everything.
    pub(crate) cleaned_until: u64,
    /// How often compaction has replaced segments.
    pub(crate) generation: u64,
    /// The folder that it was written for; None for one of an older release.
    pub(crate) folder: Option<String>,
    /// Segments that compaction is about to replace: whoever opens the partition finishes it.
    pub(crate) replacing: Option<Swap>,
}

impl Checkpoint {
    /// What the file says; None if it is missing, damaged or of another format.
    pub(crate) fn read(storage: &dyn Storage, folder: &str) -> Option<Self> {
        let file = storage.open(&format!("{folder}/{NAME}"), false).ok()?;
        Self::decode(&sealed::unseal(FORMAT, &read_all(&*file).ok()?).ok()?)
    }

    fn decode(body: &Value) -> Option<Self> {
        let segments = body.get("segments").and_then(Value::as_array);
        // Rows of another length are another release's: its segments are walked through.
        let segments = segments.and_then(|segments| segments.iter().map(known_segment).collect::<Option<Vec<_>>>());
        let identity = body.get("identity").and_then(|identity| identity.as_u64()?.try_into().ok());
        Some(Self {
            recovery_point: body.get("recovery_point")?.as_u64()?,
            log_start_offset: body.get("log_start_offset")?.as_u64()?,
            has_producers: body.get("has_transactions")?.as_bool()?,
            has_gaps: body.get("has_gaps")?.as_bool()?,
            end: segments.as_ref().and_then(|_| body.get("next_offset")?.as_u64()),
            segments: segments.unwrap_or_default(),
            identity,
            snapshot: body.get("snapshot").and_then(|row| Some((row.get(0)?.as_u64()?, number(row, 1)?))),
            cleaned_until: body.get("cleaned_until").and_then(Value::as_u64).unwrap_or(0),
            generation: body.get("generation").and_then(Value::as_u64).unwrap_or(0),
            folder: body.get("folder").and_then(Value::as_str).map(str::to_owned),
            replacing: body.get("replacing").and_then(swap),
        })
    }

    /// Replaces the file, durably.
    pub(crate) fn write(&self, storage: &dyn Storage, folder: &str) -> Result<()> {
        let mut body = json!({
            "recovery_point": self.recovery_point,
            "log_start_offset": self.log_start_offset,
            "has_transactions": self.has_producers,
            "has_gaps": self.has_gaps,
            "folder": folder,
        });
        if let Some(identity) = self.identity {
            body["identity"] = json!(identity);
        }
        if let Some((end, checksum)) = self.snapshot {
            body["snapshot"] = json!([end, checksum]);
        }
        if self.generation > 0 {
            body["generation"] = json!(self.generation);
        }
        if self.cleaned_until > 0 {
            body["cleaned_until"] = json!(self.cleaned_until);
        }
        if let Some(Swap { base, until, identity }) = self.replacing {
            body["replacing"] = json!([base, until, identity]);
        }
        let row = |s: &KnownSegment| {
            json!([s.base_offset, s.size, s.next_offset, s.index_checksum, s.time_checksum, s.aborted_checksum])
        };
        body["segments"] = self.segments.iter().map(row).collect();
        if let Some(end) = self.end {
            body["next_offset"] = json!(end);
        }
        replace(storage, folder, NAME, &sealed::seal(FORMAT, &body))
            .map_err(Error::io("write a checkpoint", storage.describe(&format!("{folder}/{NAME}"))))
    }
}

fn number(row: &Value, at: usize) -> Option<u32> {
    row.get(at)?.as_u64()?.try_into().ok()
}

fn swap(row: &Value) -> Option<Swap> {
    Some(Swap { base: row.get(0)?.as_u64()?, until: row.get(1)?.as_u64()?, identity: number(row, 2) })
}

fn known_segment(row: &Value) -> Option<KnownSegment> {
    Some(KnownSegment {
        base_offset: row.get(0)?.as_u64()?,
        size: row.get(1)?.as_u64()?,
        next_offset: row.get(2)?.as_u64()?,
        index_checksum: number(row, 3)?,
        time_checksum: number(row, 4)?,
        aborted_checksum: number(row, 5)?,
    })
}
