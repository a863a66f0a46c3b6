//! What is written down about a partition beside its segments, replaced as a whole and durably: `headwater.checkpoint`.
//!
//! It is written when a segment is begun, when the first record after a clean close is appended, when records are deleted,
//! when compaction replaces segments, and at a clean close. Only the last says "clean": then it lists the segments with their sizes and the checksums of their
//! index files, and whoever finds exactly those may believe the indexes.

use serde_json::{Value, json};

use crate::storage::{Storage, read_all, replace};
use crate::swap::Swap;
use crate::{Error, Result, sealed};

pub(crate) const NAME: &str = "headwater.checkpoint";
const FORMAT: u64 = 1;

/// A segment as a clean close left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CleanSegment {
    pub(crate) base_offset: u64,
    pub(crate) size: u64,
    /// CRC-32C of `.index` and of `.timeindex`.
    pub(crate) index_checksum: u32,
    pub(crate) time_checksum: u32,
}

/// All segments, as a clean close left them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clean {
    pub(crate) segments: Vec<CleanSegment>,
    pub(crate) next_offset: u64,
}

/// What was known of a partition when it was last written to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Everything below was synced.
    pub(crate) recovery_point: u64,
    pub(crate) log_start_offset: u64,
    pub(crate) clean: Option<Clean>,
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
        let clean = match body.get("segments").and_then(Value::as_array) {
            None => None,
            Some(segments) => Some(Clean {
                segments: segments.iter().map(clean_segment).collect::<Option<_>>()?,
                next_offset: body.get("next_offset")?.as_u64()?,
            }),
        };
        let identity = body.get("identity").and_then(|identity| identity.as_u64()?.try_into().ok());
        Some(Self {
            recovery_point: body.get("recovery_point")?.as_u64()?,
            log_start_offset: body.get("log_start_offset")?.as_u64()?,
            has_producers: body.get("has_transactions")?.as_bool()?,
            has_gaps: body.get("has_gaps")?.as_bool()?,
            clean,
            identity,
            cleaned_until: body.get("cleaned_until").and_then(Value::as_u64).unwrap_or(0),
            generation: body.get("generation").and_then(Value::as_u64).unwrap_or(0),
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
        });
        if let Some(identity) = self.identity {
            body["identity"] = json!(identity);
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
        if let Some(Clean { segments, next_offset }) = &self.clean {
            let row = |s: &CleanSegment| json!([s.base_offset, s.size, s.index_checksum, s.time_checksum]);
            body["segments"] = segments.iter().map(row).collect();
            body["next_offset"] = json!(next_offset);
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

fn clean_segment(row: &Value) -> Option<CleanSegment> {
    Some(CleanSegment {
        base_offset: row.get(0)?.as_u64()?,
        size: row.get(1)?.as_u64()?,
        index_checksum: number(row, 2)?,
        time_checksum: number(row, 3)?,
    })
}
