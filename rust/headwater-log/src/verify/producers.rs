//! What lies beside segments about producers, followed along with the log: `.txnindex` must list the transactions whose abort
//! the segment holds, `.snapshot` must say how far each producer was at its offset. Both are derived, so what they should say
//! is built again from the batches. Where batches are gone (deleted, compacted, damaged) only what is left of them is judged.

use std::collections::{BTreeMap, BTreeSet};

use headwater_record::{Batch, ControlType};

use super::report::{Finding, Severity};
use crate::checkpoint::Checkpoint;
use crate::producers::aborted::{Aborted, AbortedTransaction};
use crate::producers::{ProducerState, snapshot};
use crate::segment::{base_of, stem};
use crate::storage::{Storage, read_all};

const ADVICE: &str =
    "nothing: it is derived, and read from the log when it is not believed; delete the file to be sure of it";

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Producers {
    state: ProducerState,
    /// The transactions whose abort the segment holds, by the marker's offset: producer, and, if its records are there, what
    /// the index should say.
    aborted: BTreeMap<u64, (i64, Option<AbortedTransaction>)>,
    /// Good snapshots that the log has not come to yet, by their offset.
    snapshots: BTreeMap<u64, (String, ProducerState)>,
    /// Where the log begins: of transactions that were open there only the rest is known.
    start: u64,
    /// The offset that comes next.
    expected: u64,
    /// Offsets or records were missing so far: compaction took them, and perhaps what an entry speaks of.
    has_gaps: bool,
    /// Something could not be read: nothing behind it can be judged.
    is_in_doubt: bool,
    findings: Vec<Finding>,
}

impl Producers {
    /// Reads the snapshots of a folder.
    pub(super) fn open(
        storage: &dyn Storage,
        folder: &str,
        names: &[String],
        checkpoint: Option<&Checkpoint>,
        start: u64,
    ) -> Self {
        let mut found = Self { start, expected: start, ..Self::default() };
        let offsets: BTreeSet<u64> = names.iter().filter_map(|name| base_of(name, ".snapshot")).collect();
        let known = checkpoint.filter(|known| known.has_producers).and_then(|known| known.snapshot);
        if let Some((offset, _)) = known.filter(|(offset, _)| !offsets.contains(offset)) {
            let path = storage.describe(&format!("{}.snapshot", stem(folder, offset)));
            found
                .say(path, "expected the snapshot of producers that the last segment was sealed with, got none".into());
        }
        for offset in offsets {
            let path = format!("{}.snapshot", stem(folder, offset));
            let Ok(bytes) = storage.open(&path, false).and_then(|file| read_all(&*file)) else { continue };
            let path = storage.describe(&path);
            let Some(state) = snapshot::parse(&bytes) else {
                found.say(
                    path,
                    "expected a snapshot of producers, got bytes that are none or fail their checksum".into(),
                );
                continue;
            };
            if known.is_some_and(|(end, checksum)| end == offset && checksum != crc32c::crc32c(&bytes)) {
                found.say(path, "expected the snapshot that the last segment was sealed with, got another".into());
                continue;
            }
            found.snapshots.insert(offset, (path, state));
        }
        found
    }

    fn say(&mut self, path: String, what: String) {
        self.findings.push(Finding::of_file(Severity::Warning, path, what, ADVICE));
    }

    /// Bytes of the log that cannot be read, or a batch that is not where it belongs.
    pub(super) fn lose(&mut self) {
        self.is_in_doubt = true;
    }

    /// The log's next batch.
    pub(super) fn follow(&mut self, batch: &Batch) {
        let header = &batch.header;
        self.has_gaps |= header.base_offset != self.expected
            || u64::from(header.records_count) != u64::from(header.last_offset_delta) + 1;
        self.compare_snapshots(header.base_offset);
        self.expected = header.next_offset();
        let marker = batch.header.is_control().then(|| batch.records().and_then(|records| records.marker()));
        self.state.see_batch(batch);
        if marker.is_some_and(|marker| marker.is_ok_and(|marker| marker.kind == ControlType::Abort)) {
            let offset = batch.header.base_offset;
            let of_log = self.state.aborted.ended_at(batch.header.producer_id, offset);
            self.aborted.insert(offset, (batch.header.producer_id, of_log));
        }
    }

    /// Snapshots up to an offset that all batches below were seen of.
    fn compare_snapshots(&mut self, end: u64) {
        while let Some(entry) = self.snapshots.first_entry().filter(|entry| *entry.key() <= end) {
            let (offset, (path, file)) = entry.remove_entry();
            if self.is_in_doubt || offset < self.start {
                continue;
            }
            if let Some(what) = snapshot::contradiction(&file, &self.state, self.start == 0 && !self.has_gaps) {
                let finding = Finding::of_file(Severity::Warning, path, what, ADVICE);
                self.findings.push(finding.at_offset(offset));
            }
        }
    }

    /// The end of a segment that is about to be another: what lies beside it is not its own.
    pub(super) fn pass_over_segment(&mut self) {
        self.compare_snapshots(self.expected);
        self.aborted.clear();
    }

    /// The end of a segment: what its index says against what was seen in it. `must_list`: all of that, and not less.
    pub(super) fn end_segment(&mut self, storage: &dyn Storage, path: &str, next_base: Option<u64>, must_list: bool) {
        self.has_gaps |= next_base.is_some_and(|next_base| next_base != self.expected);
        self.compare_snapshots(self.expected);
        let seen = std::mem::take(&mut self.aborted);
        let bytes = storage.open(path, false).and_then(|file| read_all(&*file)).ok();
        let path = storage.describe(path);
        let Some(listed) = bytes.as_deref().map_or(Some(Vec::new()), Aborted::parse) else {
            self.say(path, "expected ascending entries of 34 bytes, got others".into());
            return;
        };
        if self.is_in_doubt {
            return;
        }
        for entry in &listed {
            if let Some(what) = self.contradiction(entry, seen.get(&entry.last_offset)) {
                self.say(path.clone(), what);
            }
        }
        let is_listed = |offset: &u64| listed.iter().any(|entry| entry.last_offset == *offset);
        let missing = seen.iter().find(|(offset, (_, of_log))| of_log.is_some() && !is_listed(offset));
        if let Some((offset, (producer, _))) = missing.filter(|_| must_list) {
            let got = if bytes.is_some() { "no entry of it" } else { "no file" };
            self.say(
                path,
                format!("expected the aborted transaction of producer {producer} up to offset {offset}, got {got}"),
            );
        }
    }

    /// What of an entry is not as the log says.
    fn contradiction(
        &self,
        entry: &AbortedTransaction,
        seen: Option<&(i64, Option<AbortedTransaction>)>,
    ) -> Option<String> {
        let offset = entry.last_offset;
        let Some((producer, of_log)) = seen else {
            // Compaction drops markers that nothing depends on any more.
            return (!self.has_gaps).then(|| format!("expected aborts that the log holds, got one at offset {offset}"));
        };
        if entry.producer_id != *producer {
            let got = entry.producer_id;
            return Some(format!("expected the abort at offset {offset} to be of producer {producer}, got {got}"));
        }
        // Of what lies before the log's start, or was compacted, nothing is known but that it was there.
        let is_known = self.start == 0 && !self.has_gaps;
        let first = of_log.map_or(offset, |of_log| of_log.first_offset);
        let is_right = entry.first_offset == first
            || entry.first_offset < first && (self.has_gaps || entry.first_offset < self.start);
        if !is_right {
            let got = entry.first_offset;
            return Some(format!(
                "expected the transaction that ends at offset {offset} to begin at {first}, got {got}"
            ));
        }
        let stable = of_log.map(|of_log| of_log.last_stable_offset).filter(|_| is_known)?;
        (stable != entry.last_stable_offset).then(|| {
            let got = entry.last_stable_offset;
            format!("expected the last stable offset behind the abort at {offset} to be {stable}, got {got}")
        })
    }

    /// The log ends here.
    pub(super) fn finish(self) -> Vec<Finding> {
        self.findings
    }
}
