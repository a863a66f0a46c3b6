//! A verification names the place of whatever is wrong, and nothing where nothing is.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "../../headwater-record/tests/support/fixtures.rs"]
mod fixtures;
#[path = "support/workload.rs"]
mod workload;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use headwater_log::storage::{DiskStorage, MemoryStorage};
use headwater_log::{Broker, Finding, Report, Severity, verify};
use headwater_record::{BatchBuilder, Codec, Header};

type Files = BTreeMap<String, Vec<u8>>;

fn fill(broker: &Broker) {
    let settings = workload::settings(&[("segment.bytes", "1024"), ("index.interval.bytes", "100")]);
    let partition = Arc::clone(&broker.create_topic("t", 1, settings).unwrap().partitions[0]);
    for codec in [Codec::None, Codec::Lz4, Codec::Zstd, Codec::Gzip, Codec::Snappy].iter().cycle().take(14) {
        let first = partition.next_offset();
        partition.append(workload::batch(first, 1 + first % 5, *codec)).unwrap();
        partition.sync().unwrap();
    }
}

/// Several segments of small batches; closed, or left as a killed process leaves it.
fn log(is_closed: bool) -> Files {
    let storage = Arc::new(MemoryStorage::default());
    let broker = workload::open(&storage).unwrap();
    fill(&broker);
    broker.commit_offsets("g", &[("t".to_owned(), 0, 5, String::new())]).unwrap();
    if is_closed {
        broker.close().unwrap();
    }
    storage.contents()
}

fn look(files: &Files) -> Report {
    let storage = MemoryStorage::default();
    files.iter().for_each(|(path, bytes)| storage.put(path, bytes.clone()));
    let report = verify(&storage).unwrap();
    assert_eq!(storage.contents(), *files, "nothing is changed");
    report
}

/// The findings that are not notes.
fn faults(report: &Report) -> Vec<&Finding> {
    report.findings.iter().filter(|finding| finding.severity != Severity::Note).collect()
}

/// Where the batches of a segment begin.
fn batches(bytes: &[u8]) -> Vec<usize> {
    let mut positions = vec![];
    let mut at = 0;
    while at < bytes.len() {
        positions.push(at);
        at += Header::parse(&bytes[at..]).unwrap().size_bytes;
    }
    positions
}

fn segments(files: &Files) -> Vec<&String> {
    files.keys().filter(|path| path.starts_with("t-0/") && path.ends_with(".log")).collect()
}

#[test]
fn a_good_directory_has_no_findings() {
    for is_closed in [true, false] {
        let files = log(is_closed);
        let report = look(&files);
        assert_eq!(report.findings, [], "closed: {is_closed}");
        let bytes: usize = files.iter().filter(|(path, _)| path.ends_with(".log")).map(|(_, bytes)| bytes.len()).sum();
        let totals = report.totals;
        assert_eq!((totals.topics, totals.partitions, totals.bytes), (2, 2, bytes as u64));
        assert_eq!((totals.segments, totals.batches), (segments(&files).len() as u64 + 1, 15));
        assert!(totals.records > 20, "{totals:?}");
    }
    assert!(verify(&MemoryStorage::default()).is_err());
}

#[test]
fn a_log_that_was_closed_empty_goes_on_with_indexes_that_are_believed() {
    let storage = Arc::new(MemoryStorage::default());
    let broker = workload::open(&storage).unwrap();
    broker.create_topic("t", 1, workload::settings(&[])).unwrap();
    broker.close().unwrap();
    for count in 0..4 {
        let broker = workload::open(&storage).unwrap();
        let partition = broker.partition("t", 0).unwrap();
        assert_eq!(partition.next_offset(), count);
        partition.append(workload::batch(count, 1, Codec::None)).unwrap();
        broker.close().unwrap();
        assert_eq!(look(&storage.contents()).findings, []);
    }
}

#[test]
fn folders_that_kafka_wrote_have_no_findings() {
    let storage = MemoryStorage::default();
    for topic in fixtures::TOPICS {
        for (file, contents) in fixtures::files(topic, "") {
            storage.put(&format!("{topic}-0/{file}"), contents);
        }
    }
    let report = verify(&storage).unwrap();
    assert_eq!(faults(&report), Vec::<&Finding>::new());
    assert_eq!(report.totals.partitions, fixtures::TOPICS.len() as u64);
    let sent: usize = fixtures::TOPICS.iter().map(|topic| fixtures::sent(topic).len()).sum();
    assert!(report.totals.records as usize >= sent, "control records are records too");
}

#[test]
fn every_changed_byte_of_a_log_is_found_at_its_batch() {
    for is_closed in [true, false] {
        let files = log(is_closed);
        for path in segments(&files) {
            let positions = batches(&files[path]);
            for at in 0..files[path].len() {
                let mut changed = files.clone();
                changed.get_mut(path).unwrap()[at] ^= 1 << (at % 8);
                let report = look(&changed);
                let start = positions.iter().rev().find(|start| **start <= at).unwrap();
                if (12..16).contains(&(at - start)) {
                    assert_eq!(report.findings, [], "the leader's epoch says nothing here");
                    continue;
                }
                let found = faults(&report);
                let is_named = found.iter().any(|finding| {
                    finding.severity == Severity::Error
                        && finding.path.ends_with(path.as_str())
                        && finding.position == Some(*start as u64)
                        && (finding.topic.as_deref(), finding.partition) == (Some("t"), Some(0))
                });
                assert!(is_named, "closed: {is_closed}, {path} byte {at}: {found:?}");
                assert!(!report.is_clean());
            }
        }
    }
}

#[test]
fn every_changed_byte_of_an_index_is_found_in_its_file() {
    for is_closed in [true, false] {
        let files = log(is_closed);
        for path in files.keys().filter(|path| path.ends_with("index") && !files[*path].is_empty()) {
            for at in 0..files[path].len() {
                let mut changed = files.clone();
                changed.get_mut(path).unwrap()[at] ^= 1 << (at % 8);
                let report = look(&changed);
                let found = faults(&report);
                assert!(!found.is_empty(), "closed: {is_closed}, {path} byte {at}");
                for finding in found {
                    assert_eq!(finding.severity, Severity::Warning, "{finding:?}");
                    assert!(finding.path.ends_with(path.as_str()), "{finding:?}");
                }
            }
        }
    }
}

#[test]
fn a_log_that_was_cut_is_found_wherever_it_was_cut() {
    for is_closed in [true, false] {
        let files = log(is_closed);
        for path in segments(&files) {
            for size in 0..files[path].len() {
                let mut changed = files.clone();
                changed.get_mut(path).unwrap().truncate(size);
                let report = look(&changed);
                let is_named = faults(&report).iter().any(|finding| {
                    finding.severity == Severity::Error && finding.path.contains("t-0") && finding.offset.is_some()
                });
                assert!(is_named, "closed: {is_closed}, {path} cut to {size}: {report:?}");
            }
        }
    }
}

#[test]
fn bytes_behind_the_durable_end_are_no_fault() {
    let mut files = log(false);
    let last = segments(&files).last().unwrap().to_string();
    let size = files[&last].len();
    files.get_mut(&last).unwrap().extend_from_slice(&[7; 90]);
    let report = look(&files);
    assert!(report.is_clean());
    let [note] = &report.findings[..] else { panic!("{report:?}") };
    assert_eq!((note.severity, note.position), (Severity::Note, Some(size as u64)));
}

#[test]
fn every_missing_file_is_named() {
    let files = log(true);
    for path in files.keys().filter(|path| path.starts_with("t-0/")) {
        let mut changed = files.clone();
        changed.remove(path);
        let report = look(&changed);
        let found = faults(&report);
        assert!(!found.is_empty(), "{path}");
        let worst = found.iter().map(|finding| finding.severity).max();
        let expected = if path.ends_with(".log") { Severity::Error } else { Severity::Warning };
        assert_eq!(worst, Some(expected), "{path}: {found:?}");
        let stem = path.rsplit_once('.').unwrap().0;
        assert!(found.iter().any(|finding| finding.path.contains(stem)), "{path}: {found:?}");
    }
    let mut changed = files.clone();
    changed.retain(|path, _| !path.starts_with("t-0/"));
    let report = look(&changed);
    assert!(faults(&report)[0].what.contains("expected the folder of a partition"), "{report:?}");
}

#[test]
fn leftovers_are_notes_and_a_damaged_list_of_topics_hides_nothing() {
    let mut files = log(true);
    for name in
        ["x.tmp", "00000000000000000000.log.cleaned", "00000000000000000007.log.swap", "a.log.deleted", "readme"]
    {
        files.insert(format!("t-0/{name}"), vec![1]);
    }
    files.insert("u-0/headwater.checkpoint".to_owned(), vec![]);
    let report = look(&files);
    assert!(report.is_clean());
    assert_eq!(report.findings.len(), 6, "{report:?}");

    let mut files = log(true);
    files.get_mut("headwater.json").unwrap()[40] ^= 1;
    let path = segments(&files)[1].clone();
    files.get_mut(&path).unwrap()[70] ^= 1;
    let report = look(&files);
    assert!(report.findings.iter().any(|finding| finding.path.ends_with("headwater.json")), "{report:?}");
    assert!(report.findings.iter().any(|finding| finding.path.ends_with(&path)), "{report:?}");
}

#[test]
fn a_writer_at_work_is_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Arc::new(DiskStorage::new(folder.path()));
    let broker = workload::open(&storage).unwrap();
    let settings = [("segment.bytes", "4096"), ("retention.bytes", "40000"), ("index.interval.bytes", "100")];
    let topic = broker.create_topic("t", 2, workload::settings(&settings)).unwrap();
    let compacted = [&settings[..], &[("cleanup.policy", "compact")]].concat();
    let compacted = broker.create_topic("c", 1, workload::settings(&compacted)).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for partition in &topic.partitions {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let first = partition.next_offset();
                    partition.append(workload::batch(first, 9, Codec::Lz4)).unwrap();
                    partition.sync().unwrap();
                    partition.apply_retention(0).unwrap();
                }
            });
        }
        scope.spawn(|| {
            let partition = &compacted.partitions[0];
            while !is_over.load(Ordering::Relaxed) {
                let mut batch = BatchBuilder::new();
                (0..90_u8).for_each(|number| batch.push(5, Some(&[number % 70]), Some(&[number; 40]), &[]));
                partition.append(batch.finish(Codec::None).unwrap()).unwrap();
                partition.sync().unwrap();
                partition.compact(0, true).unwrap();
            }
        });
        for _ in 0..40 {
            let report = verify(&*storage).unwrap();
            let is_clean = report.is_clean();
            is_over.store(!is_clean, Ordering::Relaxed);
            assert!(is_clean, "{:?}", report.findings);
        }
        is_over.store(true, Ordering::Relaxed);
    });
}
