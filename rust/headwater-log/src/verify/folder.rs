//! One partition: which files its folder has, whether the segments follow each other, and whether our own small files
//! (`headwater.mark`, `headwater.checkpoint`) agree with them.

use std::sync::Arc;

use super::indexes::Indexes;
use super::producers::Producers;
use super::report::{Finding, Report, Severity};
use super::segment::{self, Walk};
use crate::TopicConfig;
use crate::checkpoint::{self, Checkpoint, KnownSegment};
use crate::mark::{self, Mark};
use crate::recovery::{OpenFile, is_ours};
use crate::segment::{base_of, stem};
use crate::storage::{Storage, read_all};
use crate::swap::settled_places;

/// What Kafka and we put into a partition's folder beside its segments.
const OTHERS: [&str; 4] = [checkpoint::NAME, mark::NAME, "leader-epoch-checkpoint", "partition.metadata"];
const ENDS: [&str; 5] = [".log", ".index", ".timeindex", ".txnindex", ".snapshot"];
const LEFTOVERS: [&str; 4] = ["tmp", "cleaned", "swap", "deleted"];

/// Enough of a folder to see that a process has changed it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct State {
    files: Vec<(String, u64)>,
    small: Vec<Option<Vec<u8>>>,
}

impl State {
    pub(super) fn of(storage: &dyn Storage, folder: &str) -> Self {
        let open = |name: &str| storage.open(&format!("{folder}/{name}"), false);
        let mut names = storage.list(folder).unwrap_or_default();
        names.sort_unstable();
        let small =
            [checkpoint::NAME, mark::NAME].map(|name| open(name).and_then(|file| read_all(&*file)).ok()).to_vec();
        let size = |name: &String| open(name).and_then(|file| file.size()).unwrap_or(u64::MAX);
        Self { files: names.into_iter().map(|name| (name.clone(), size(&name))).collect(), small }
    }
}

/// A partition under examination.
pub(super) struct Folder<'a> {
    storage: &'a dyn Storage,
    topic: &'a str,
    number: u32,
    folder: String,
    pub(super) report: Report,
}

impl Folder<'_> {
    fn describe(&self, name: &str) -> String {
        self.storage.describe(&format!("{}/{name}", self.folder))
    }

    pub(super) fn push(&mut self, finding: Finding) {
        let (topic, partition) = (Some(self.topic.to_owned()), Some(self.number));
        self.report.findings.push(Finding { topic, partition, ..finding });
    }

    fn say(&mut self, severity: Severity, name: &str, what: impl Into<String>, advice: &str) {
        let path = self.describe(name);
        self.push(Finding::of_file(severity, path, what.into(), advice));
    }
}

/// Reads a partition.
pub(super) fn verify(storage: &dyn Storage, topic: &str, number: u32, config: &TopicConfig) -> Report {
    let folder = format!("{topic}-{number}");
    let mut found = Folder { storage, topic, number, folder, report: Report::default() };
    found.report.totals.partitions = 1;
    let Ok(names) = storage.list(&found.folder) else {
        let path = storage.describe(&found.folder);
        let what = "expected the folder of a partition, got none".to_owned();
        found.push(Finding::of_file(
            Severity::Error,
            path,
            what,
            "restore it; opening the directory makes an empty one",
        ));
        return found.report;
    };
    // The small files first: what is durable when they are read is still there when the segments are.
    let checkpoint = Checkpoint::read(storage, &found.folder);
    let mark = Mark::read(storage, &found.folder);
    check_names(&mut found, &names, checkpoint.as_ref());
    check_small_files(&mut found, &names, checkpoint.is_some(), mark.is_some());
    let mut files: Vec<OpenFile> = Vec::new();
    let mut replaced: Vec<u64> = Vec::new();
    for (base, path) in segments(&mut found, checkpoint.as_ref(), &names) {
        if is_replaced(checkpoint.as_ref(), base) || path.ends_with(".swap") {
            replaced.push(base);
        }
        let name = format!("{base:020}.log");
        let opened = storage.open(&path, false);
        match opened.and_then(|file| Ok((base, Arc::clone(&file), file.size()?))) {
            Ok(file) => files.push(file),
            Err(error) => found.say(
                Severity::Error,
                &name,
                format!("expected a file that can be read, got {error}"),
                "fix what keeps it from being read",
            ),
        }
    }
    let is_ours = checkpoint.as_ref().is_some_and(|known| is_ours(known, mark, &files));
    if let Some(known) = checkpoint.as_ref().filter(|_| !is_ours) {
        let (start, first) = (known.log_start_offset, files.first().map_or(0, |(base, _, _)| *base));
        let (severity, advice) = if first > start {
            (Severity::Error, "restore the segments before; or nothing, if you put others in their place")
        } else {
            (Severity::Warning, "nothing, if you put others in their place: the next open takes them as they are")
        };
        let what =
            format!("expected the segments that headwater wrote, from offset {start} on, got others from {first} on");
        found.say(severity, "", what, advice);
    }
    let checkpoint = checkpoint.filter(|_| is_ours);
    let durable = mark.filter(|_| is_ours).map(|(durable, _)| durable);
    let recovery_point = checkpoint.as_ref().map_or(0, |known| known.recovery_point);
    let mut walk = Walk {
        has_gaps: config.is_compacted() || checkpoint.as_ref().is_none_or(|known| known.has_gaps),
        durable: durable.map(|durable| durable.max(recovery_point)),
        expected: files.first().map_or(0, |(base, _, _)| *base),
        alternative: None,
        producers: Producers::default(),
    };
    walk.producers = Producers::open(storage, &found.folder, &names, checkpoint.as_ref(), walk.expected);
    for (index, (base, file, size)) in files.iter().enumerate() {
        let next_base = files.get(index + 1).map(|(base, _, _)| *base);
        let path = storage.describe(&format!("{}.log", stem(&found.folder, *base)));
        found.report.totals.segments += 1;
        found.report.totals.bytes += size;
        let is_settled = !replaced.contains(base);
        let indexes = if is_settled {
            Indexes::open(storage, &found.folder, *base, checkpoint.as_ref())
        } else {
            Indexes::default()
        };
        if let Err(error) = segment::verify(&mut walk, &mut found, &path, *base, file, next_base, indexes) {
            let what = format!("expected a file that can be read, got {error}");
            let advice = "fix what keeps it from being read";
            found.push(Finding::of_file(Severity::Error, path, what, advice).at_offset(walk.expected));
            walk.producers.lose();
        }
        // The file of the last segment is written when it is sealed, or closed; and of others, when the checkpoint says so.
        let must_list = match &checkpoint {
            None => next_base.is_some(),
            Some(known) => known.segments.iter().any(|known| known.base_offset == *base && known.aborted_checksum != 0),
        };
        let path = format!("{}.txnindex", stem(&found.folder, *base));
        if is_settled {
            walk.producers.end_segment(storage, &path, next_base, must_list);
        } else {
            walk.producers.pass_over_segment();
        }
    }
    for finding in std::mem::take(&mut walk.producers).finish() {
        found.push(finding);
    }
    if let Some(checkpoint) = &checkpoint {
        check_ends(&mut found, &walk, checkpoint, &files);
    }
    found.report
}

/// The segments as the next open will see them: an interrupted compaction is finished by it, or undone.
fn segments(found: &mut Folder<'_>, checkpoint: Option<&Checkpoint>, names: &[String]) -> Vec<(u64, String)> {
    settled_places(found.storage, &found.folder, checkpoint, names).unwrap_or_else(|error| {
        found.say(
            Severity::Error,
            "",
            format!("expected files that can be read, got {error}"),
            "fix what keeps them from it",
        );
        Vec::new()
    })
}

/// Whether a compaction is in the middle of replacing the segment of this name: what lies beside it is that of the one before,
/// until whoever goes on removes it.
fn is_replaced(checkpoint: Option<&Checkpoint>, base: u64) -> bool {
    let swap = checkpoint.and_then(|known| known.replacing);
    swap.is_some_and(|swap| (swap.base..swap.until).contains(&base))
}

/// Looks at what each file is called.
fn check_names(found: &mut Folder<'_>, names: &[String], checkpoint: Option<&Checkpoint>) {
    let bases: Vec<u64> = names.iter().filter_map(|name| base_of(name, ".log")).collect();
    for name in names {
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        let base = ENDS.iter().find_map(|end| base_of(name, end));
        if LEFTOVERS.contains(&extension) {
            found.say(
                Severity::Note,
                name,
                format!("expected no unfinished work, got a .{extension} file"),
                "nothing: the next open finishes or removes it",
            );
        } else if let Some(base) = base {
            let is_alone = matches!(extension, "index" | "timeindex" | "txnindex") && !bases.contains(&base);
            if is_alone && !is_replaced(checkpoint, base) {
                found.say(
                    Severity::Warning,
                    name,
                    format!("expected a segment {base:020}.log beside its index, got none"),
                    "restore the segment if there was one, or delete the index",
                );
            }
        } else if extension == "log" {
            found.say(
                Severity::Warning,
                name,
                "expected a segment to be named by 20 digits, got another name",
                "give it its name back: the offset of its first record",
            );
        } else if !OTHERS.contains(&name.as_str()) {
            found.say(
                Severity::Note,
                name,
                "expected the files of a partition, got one of another kind",
                "nothing: headwater does not touch it",
            );
        }
    }
}

fn check_small_files(found: &mut Folder<'_>, names: &[String], has_checkpoint: bool, has_mark: bool) {
    let is_there = |name: &str| names.iter().any(|found| found == name);
    let advice =
        "nothing: the next open reads every segment and writes it anew; until then the end of the log is in doubt";
    let damaged = "expected the file as it was written, got bytes that fail their checksum";
    if is_there(checkpoint::NAME) && !has_checkpoint {
        found.say(Severity::Warning, checkpoint::NAME, damaged, advice);
    }
    if is_there(mark::NAME) && !has_mark {
        found.say(Severity::Warning, mark::NAME, damaged, advice);
    }
    if is_there(checkpoint::NAME) != is_there(mark::NAME) {
        let missing = if is_there(mark::NAME) { checkpoint::NAME } else { mark::NAME };
        found.say(Severity::Warning, missing, "expected a file beside the segments, got none", advice);
    }
}

/// Compares what was written down of the log's ends with what was read.
fn check_ends(found: &mut Folder<'_>, walk: &Walk, checkpoint: &Checkpoint, files: &[OpenFile]) {
    let restore = "restore the segments; without them the next open goes on behind the gap";
    let end = walk.expected;
    if let Some(durable) = walk.durable.filter(|durable| *durable > end) {
        let what = format!("expected records up to offset {durable}, which were durable once, got them up to {end}");
        let path = found.describe("");
        found.push(Finding::of_file(Severity::Error, path, what, restore).at_offset(end));
    }
    let start = checkpoint.log_start_offset;
    if let Some((first, _, _)) = files.first().filter(|(first, _, _)| *first > start) {
        let what = format!("expected records from offset {start} on, got them from {first} on");
        let path = found.describe("");
        found.push(Finding::of_file(Severity::Error, path, what, restore).at_offset(start));
    }
    if checkpoint.end.is_some() {
        check_clean(found, &checkpoint.segments, files);
    }
}

/// After a clean close nobody has written: exactly these files are there.
fn check_clean(found: &mut Folder<'_>, segments: &[KnownSegment], files: &[OpenFile]) {
    for known in segments {
        let name = format!("{:020}.log", known.base_offset);
        let size = files.iter().find(|(base, _, _)| *base == known.base_offset).map(|(_, _, size)| *size);
        if size != Some(known.size) {
            let got = size.map_or("none".to_owned(), |size| format!("one of {size}"));
            let what = format!("expected a segment of {} bytes, as the last close left it, got {got}", known.size);
            let path = found.describe(&name);
            found.push(Finding::of_file(Severity::Error, path, what, "restore the file").at_offset(known.base_offset));
        }
    }
    for (base, _, _) in files {
        if !segments.iter().any(|known| known.base_offset == *base) {
            let name = format!("{base:020}.log");
            found.say(
                Severity::Warning,
                &name,
                "expected the segments that the last close left, got one more",
                "nothing, if you put it there: the next open reads it",
            );
        }
    }
}
