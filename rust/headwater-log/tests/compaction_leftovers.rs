//! What an interrupted replacement of segments leaves in a folder is finished or discarded by rule, ours and Kafka's.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "support/compacted.rs"]
mod compacted;
#[path = "support/dying.rs"]
mod dying;
#[path = "support/workload.rs"]
mod workload;

use std::collections::BTreeMap;
use std::sync::Arc;

use compacted::{Entry, Model, SETTINGS, entry, partition, read};
use headwater_log::storage::{Level, MemoryStorage, SimulatedStorage, Storage};
use headwater_log::{Broker, Isolation, Mode, Options};
use headwater_record::Codec;

type Files = BTreeMap<String, Vec<u8>>;

/// A directory right after a swap of several segments was committed, and the records that it holds for sure.
struct Committed {
    files: Files,
    /// The segments that are replaced, the first of which gives the new one its name.
    replaced: Vec<u64>,
    last: BTreeMap<u64, Entry>,
}

/// Crashes a compaction at its operations until a checkpoint holds an intent.
fn committed() -> Committed {
    let storage = Arc::new(SimulatedStorage::default());
    let broker = workload::open(&storage).unwrap();
    let log = Arc::clone(&broker.create_topic("t", 1, workload::settings(&SETTINGS)).unwrap().partitions[0]);
    let mut model = Model::default();
    for first in (0..160).step_by(4) {
        let mut entries: Vec<Entry> = (first..first + 4).map(|n| entry(n * 7 % 5, Some(n), n as i64)).collect();
        if first % 24 == 0 {
            entries.push(entry(1_000 + first, Some(first), first as i64)); // there once, so that it must be kept
        }
        model.append(&log, &entries, Codec::None).unwrap();
    }
    // Many small segments, as passes leave them.
    log.compact(0, true).unwrap();
    for first in (160..200).step_by(4) {
        let entries: Vec<Entry> = (first..first + 4).map(|n| entry(n * 7 % 5, Some(n), n as i64)).collect();
        model.append(&log, &entries, Codec::None).unwrap();
    }
    broker.close().unwrap();
    let filled = storage.image(Level::Killed);
    for operation in 1.. {
        let storage = Arc::new(dying::from(&filled, Some(operation)));
        let is_over = workload::open(&storage).and_then(|broker| partition(&broker)?.compact(0, true)).is_ok();
        assert!(!is_over, "no crash came after an intent with two segments");
        let files = storage.image(Level::Killed).storage().contents();
        let checkpoint: serde_json::Value = serde_json::from_slice(&files["t-0/headwater.checkpoint"]).unwrap();
        let Some(swap) = checkpoint["body"]["replacing"].as_array() else { continue };
        let (base, until) = (swap[0].as_u64().unwrap(), swap[1].as_u64().unwrap());
        let replaced: Vec<u64> = logs(&files).into_iter().filter(|other| (base..until).contains(other)).collect();
        if replaced.len() >= 3 && files.contains_key(&format!("t-0/{base:020}.log.swap")) {
            model.compact(0);
            assert!(model.records.range(base..until).count() > 1);
            return Committed { files, replaced, last: model.records };
        }
    }
    unreachable!()
}

fn logs(files: &Files) -> Vec<u64> {
    files.keys().filter_map(|path| path.strip_prefix("t-0/")?.strip_suffix(".log")?.parse().ok()).collect()
}

fn open(files: &Files, mode: Mode) -> (Arc<MemoryStorage>, Broker) {
    let image = MemoryStorage::default();
    files.iter().for_each(|(path, bytes)| image.put(path, bytes.clone()));
    let image = Arc::new(image);
    let options = Options { mode, ..Options::default() };
    let broker = Broker::open(Arc::clone(&image) as Arc<dyn Storage>, options).unwrap();
    (image, broker)
}

/// A reader and a writer see the last record of each key; the writer leaves a folder without leftovers.
fn check(files: &Files, last: &BTreeMap<u64, Entry>, has_warnings: bool, what: &str) {
    for mode in [Mode::Read, Mode::ReadWrite, Mode::Read] {
        let (image, broker) = open(files, mode);
        assert_eq!(broker.warnings().is_empty(), !has_warnings, "{what} {mode:?}: {:?}", broker.warnings());
        let found = read(&partition(&broker).unwrap(), Isolation::Uncommitted);
        for (offset, entry) in last {
            assert_eq!(found.get(offset), Some(entry), "{what} {mode:?}: offset {offset}");
        }
        let keys: BTreeMap<&[u8], u64> = found.iter().map(|(offset, entry)| (&entry.key[..], *offset)).collect();
        assert!(keys.values().all(|offset| last.contains_key(offset)), "{what} {mode:?}: {keys:?}");
        let report = headwater_log::verify(&*image).unwrap();
        let is_error = |finding: &&headwater_log::Finding| finding.severity == headwater_log::Severity::Error;
        assert_eq!(report.findings.iter().find(is_error), None, "{what} {mode:?}");
        if mode == Mode::Read {
            assert_eq!(&image.contents(), files, "{what}: a reader changes nothing");
            continue;
        }
        let is_leftover = |path: &&String| path.ends_with(".swap") || path.ends_with(".cleaned");
        assert_eq!(image.contents().keys().find(is_leftover), None, "{what}");
        broker.close().unwrap();
        let (_, broker) = open(&image.contents(), Mode::ReadWrite);
        assert!(broker.warnings().is_empty(), "{what}: {:?}", broker.warnings());
        assert_eq!(read(&partition(&broker).unwrap(), Isolation::Uncommitted), found, "{what}");
    }
}

fn log(base: u64) -> String {
    format!("t-0/{base:020}.log")
}

fn swap(base: u64) -> String {
    format!("t-0/{base:020}.log.swap")
}

#[test]
fn a_committed_swap_is_finished_whatever_of_it_reached_the_disk() {
    let Committed { files, replaced, last } = committed();
    let base = replaced[0];
    // Each of these changes of the folder may have reached the disk, or not: the removals, and the rename.
    let gone: Vec<String> = replaced[1..].iter().map(|base| log(*base)).collect();
    for subset in 0..1_u32 << (gone.len() + 1).min(7) {
        let mut files = files.clone();
        for (bit, path) in gone.iter().enumerate().filter(|(bit, _)| subset & (2 << bit) != 0) {
            assert!(files.remove(path).is_some(), "{bit}");
        }
        if subset & 1 != 0 {
            let swapped = files.remove(&swap(base)).unwrap();
            files.insert(log(base), swapped);
        }
        check(&files, &last, false, &format!("changes {subset:b}"));
    }
}

#[test]
fn a_swap_that_was_not_committed_is_discarded() {
    let Committed { mut files, replaced, last } = committed();
    let swapped = files.remove(&swap(replaced[0])).unwrap();
    files.remove("t-0/headwater.checkpoint");
    let (image, broker) = open(&files, Mode::ReadWrite);
    drop(broker);
    // Now the checkpoint is one of ours that knows of no swap; what lies there may be anything.
    for (name, bytes) in [("swap", swapped), ("swap", vec![1, 2, 3]), ("cleaned", Vec::new())] {
        let mut files = image.contents();
        files.insert(format!("t-0/{:020}.log.{name}", replaced[0]), bytes);
        check(&files, &last, false, name);
    }
}

/// As Kafka's cleaner leaves it: none of our small files.
fn foreign(mut files: Files) -> Files {
    files.retain(|path, _| !path.starts_with("t-0/headwater."));
    files
}

#[test]
fn a_swap_of_kafka_takes_the_place_of_what_lies_within_it() {
    let Committed { files, replaced, last } = committed();
    // Kafka takes the old segments away one by one, in order, before it renames the new one.
    for removed in 0..=replaced.len() {
        let mut files = foreign(files.clone());
        for base in &replaced[..removed] {
            let bytes = files.remove(&log(*base)).unwrap();
            files.insert(format!("{}.deleted", log(*base)), bytes);
        }
        check(&files, &last, true, &format!("{removed} removed"));
    }
}

#[test]
fn a_swap_of_kafka_that_is_not_whole_is_discarded_while_the_segment_is_there() {
    let Committed { files, replaced, last } = committed();
    let mut torn = foreign(files.clone());
    torn.get_mut(&swap(replaced[0])).unwrap().pop();
    check(&torn, &last, true, "torn");
    // One that belongs to a swap of which a part is still being written.
    let mut unfinished = foreign(files);
    unfinished.insert(format!("{}.cleaned", log(replaced[0])), vec![9; 5]);
    check(&unfinished, &last, true, "unfinished");
}

#[test]
fn an_intent_of_ours_says_nothing_of_a_folder_that_is_not() {
    let Committed { files, replaced, .. } = committed();
    // The folder of another log in place of ours, of which the small files are still there.
    let storage = Arc::new(MemoryStorage::default());
    let broker = workload::open(&storage).unwrap();
    let other = Arc::clone(&broker.create_topic("t", 1, workload::settings(&SETTINGS)).unwrap().partitions[0]);
    let mut model = Model::default();
    for n in 0..200 {
        model.append(&other, &[entry(n, Some(1_000 + n), 0)], Codec::None).unwrap();
    }
    let mut mixed: Files =
        files.into_iter().filter(|(path, _)| !path.ends_with(".log") && !path.ends_with(".swap")).collect();
    mixed.extend(storage.contents().into_iter().filter(|(path, _)| path.ends_with(".log")));
    assert!(logs(&mixed).iter().any(|base| (replaced[0] + 1..200).contains(base)));
    let (_, broker) = open(&mixed, Mode::ReadWrite);
    assert!(broker.warnings().iter().any(|warning| warning.contains("derived")), "{:?}", broker.warnings());
    assert_eq!(read(&partition(&broker).unwrap(), Isolation::Uncommitted), model.records);
}
