//! The two index files of a segment, followed along with its log: every offset entry must point at a batch, every time
//! entry must say the largest timestamp so far. They may say less than there is (they are written when a segment is full).

use headwater_record::Header;

use super::report::{Finding, Severity};
use crate::checkpoint::Checkpoint;
use crate::index::{OffsetIndex, TimeIndex};
use crate::segment::stem;
use crate::storage::{Storage, read_all};

const ADVICE: &str =
    "nothing: an index is derived, and built again when it is not believed; delete the file to be sure of it";

/// Both index files and how far the log has been followed in them.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    base: u64,
    offsets: Vec<(u32, u32)>,
    times: Vec<(i64, u32)>,
    offsets_path: String,
    times_path: String,
    next_offset: usize,
    next_time: usize,
    max_timestamp: Option<i64>,
    /// Whether bytes were passed over: time entries cannot be checked from there on.
    has_skipped: bool,
    findings: Vec<Finding>,
}

impl Indexes {
    /// Reads the files; one that is missing or is no index has nothing to be followed.
    pub(super) fn open(storage: &dyn Storage, folder: &str, base: u64, checkpoint: Option<&Checkpoint>) -> Self {
        let stem = stem(folder, base);
        let path = |extension: &str| format!("{stem}.{extension}");
        let bytes = |extension: &str| storage.open(&path(extension), false).and_then(|file| read_all(&*file)).ok();
        let mut found = Self {
            base,
            offsets_path: storage.describe(&path("index")),
            times_path: storage.describe(&path("timeindex")),
            ..Self::default()
        };
        // Beside a process that writes, what the checkpoint lists may have been replaced or deleted meanwhile.
        let closed = checkpoint.filter(|known| known.end.is_some());
        let known = closed.and_then(|known| known.segments.iter().find(|known| known.base_offset == base));
        let (offsets, times) = (bytes("index"), bytes("timeindex"));
        for (bytes, checksum, path) in [
            (&offsets, known.map(|known| known.index_checksum), &found.offsets_path),
            (&times, known.map(|known| known.time_checksum), &found.times_path),
        ] {
            let got = bytes.as_deref().map(crc32c::crc32c);
            if checksum.is_some() && got != checksum {
                let got = if got.is_none() { "none" } else { "another" };
                let what = format!("expected the index that the last close left, got {got}");
                found.findings.push(Finding::of_file(Severity::Warning, path.clone(), what, ADVICE));
            }
        }
        match offsets.map(|bytes| OffsetIndex::from_bytes(&bytes, u64::MAX)) {
            Some(Some(index)) => found.offsets = index.entries().to_vec(),
            Some(None) => found.say(true, 0, "expected ascending entries of 8 bytes, got others".to_owned()),
            None => {}
        }
        match times.map(|bytes| TimeIndex::from_bytes(&bytes)) {
            Some(Some(index)) => found.times = index.entries().to_vec(),
            Some(None) => found.say(false, 0, "expected ascending entries of 12 bytes, got others".to_owned()),
            None => {}
        }
        found
    }

    fn say(&mut self, is_offset: bool, entry: usize, what: String) {
        let (path, size) = if is_offset { (&self.offsets_path, 8) } else { (&self.times_path, 12) };
        let mut finding = Finding::of_file(Severity::Warning, path.clone(), what, ADVICE);
        finding.position = Some(entry as u64 * size);
        self.findings.push(finding);
    }

    /// Bytes of the log that cannot be read: entries that point into them are not to be judged.
    pub(super) fn skip_to(&mut self, position: u64) {
        self.has_skipped = true;
        while self.offsets.get(self.next_offset).is_some_and(|(_, at)| u64::from(*at) < position) {
            self.next_offset += 1;
        }
    }

    /// The log's next batch.
    pub(super) fn follow(&mut self, header: &Header, position: u64, has_gaps: bool) {
        let relative = |offset: u64| u32::try_from(offset.saturating_sub(self.base)).unwrap_or(u32::MAX);
        let (first, last) = (relative(header.base_offset), relative(header.last_offset()));
        while let Some((offset, at)) = self.offsets.get(self.next_offset).copied() {
            let entry = self.next_offset;
            if u64::from(at) > position {
                break;
            }
            self.next_offset += 1;
            if u64::from(at) < position {
                self.say(true, entry, format!("expected an entry for the beginning of a batch, got byte {at}"));
            } else if offset != last {
                self.say(
                    true,
                    entry,
                    format!("expected the entry of byte {at} to say offset {last}, got {offset} (relative)"),
                );
            }
        }
        // Before this batch: only where offsets are missing can an entry speak of one that is in no batch.
        self.times_up_to(first, true, has_gaps);
        self.max_timestamp = self.max_timestamp.max(Some(header.max_timestamp));
        self.times_up_to(last.saturating_add(1), false, has_gaps);
    }

    fn times_up_to(&mut self, end: u32, is_between: bool, has_gaps: bool) {
        while let Some((timestamp, offset)) =
            self.times.get(self.next_time).copied().filter(|(_, offset)| *offset < end)
        {
            let entry = self.next_time;
            self.next_time += 1;
            let largest = self.max_timestamp.unwrap_or(timestamp);
            let is_right = if is_between {
                has_gaps && timestamp >= largest
            } else {
                timestamp == largest || has_gaps && timestamp > largest
            };
            if !is_right && !self.has_skipped {
                self.say(
                    false,
                    entry,
                    format!("expected the entry of offset {offset} (relative) to say {largest}, the largest timestamp up to there, got {timestamp}"),
                );
            }
        }
    }

    /// The log ends here.
    pub(super) fn finish(mut self, size: u64) -> Vec<Finding> {
        if let Some((_, at)) = self.offsets.get(self.next_offset).copied() {
            let entry = self.next_offset;
            self.say(true, entry, format!("expected entries within the log's {size} bytes, got one for byte {at}"));
        }
        if let Some((_, offset)) = self.times.get(self.next_time).copied().filter(|_| !self.has_skipped) {
            let entry = self.next_time;
            self.say(false, entry, format!("expected entries within the log, got one for offset {offset} (relative)"));
        }
        self.findings
    }
}
