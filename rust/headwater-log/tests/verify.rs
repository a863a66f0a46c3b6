//! A verification names the place of whatever is wrong, and nothing where nothing is.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "../../headwater-record/tests/support/fixtures.rs"]
mod fixtures;
#[path = "support/workload.rs"]
mod workload;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use headwater_log::storage::{DiskStorage, File, Level, Lock, MemoryStorage, SimulatedStorage, Storage};
use headwater_log::{Broker, Finding, Report, Severity, verify};
use headwater_record::{BatchBuilder, Codec, Header, ProducerFields};

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

/// Transactions, every third of them aborted, and a producer that numbers its batches, in several segments.
fn transactions(is_closed: bool) -> Files {
    let storage = Arc::new(MemoryStorage::default());
    let broker = workload::open(&storage).unwrap();
    let settings = workload::settings(&[("segment.bytes", "1024")]);
    let partition = Arc::clone(&broker.create_topic("t", 1, settings).unwrap().partitions[0]);
    let producers = ["a", "b"].map(|id| broker.transactional_producer(id, 60_000).unwrap());
    for number in 0..24 {
        let producer = &producers[number % 2];
        producer.begin().unwrap();
        producer.append(&partition, workload::values([&*"x".repeat(40)]), Codec::None).unwrap();
        let numbered = ProducerFields { id: 900, epoch: 0, base_sequence: number as i32, is_transactional: false };
        partition.append(workload::values(["n"]).finish_as(Codec::None, numbered).unwrap()).unwrap();
        if number % 3 == 0 { producer.abort().unwrap() } else { producer.commit().unwrap() }
    }
    if is_closed {
        broker.close().unwrap();
    }
    storage.contents()
}

/// The snapshots and indexes of aborted transactions of the topic.
fn beside(files: &Files) -> Vec<&String> {
    let is_beside = |path: &&String| path.ends_with(".snapshot") || path.ends_with(".txnindex");
    let found: Vec<&String> = files.keys().filter(|path| path.starts_with("t-0/")).filter(is_beside).collect();
    assert!(found.len() > 3, "{found:?}");
    found
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

/// Changes the bytes of files that say again what the log says, one after the other: the log is good, and the file is named.
fn every_changed_byte_is_found<'a>(files: &Files, paths: impl IntoIterator<Item = &'a String>) {
    for path in paths {
        for at in 0..files[path].len() {
            let mut changed = files.clone();
            changed.get_mut(path).unwrap()[at] ^= 1 << (at % 8);
            let report = look(&changed);
            let found = faults(&report);
            assert!(!found.is_empty(), "{path} byte {at}");
            for finding in found {
                assert_eq!(finding.severity, Severity::Warning, "{finding:?}");
                assert!(finding.path.ends_with(path.as_str()), "{finding:?}");
            }
        }
    }
}

#[test]
fn every_changed_byte_of_an_index_is_found_in_its_file() {
    for is_closed in [true, false] {
        let files = log(is_closed);
        every_changed_byte_is_found(
            &files,
            files.keys().filter(|path| path.ends_with("index") && !files[*path].is_empty()),
        );
    }
}

#[test]
fn every_changed_byte_of_what_is_said_of_producers_is_found_in_its_file() {
    for is_closed in [true, false] {
        let files = transactions(is_closed);
        assert_eq!(look(&files).findings, [], "closed: {is_closed}");
        every_changed_byte_is_found(&files, beside(&files));
    }
}

#[test]
fn a_missing_index_of_aborted_transactions_is_named_and_so_is_the_last_snapshot() {
    for is_closed in [true, false] {
        let files = transactions(is_closed);
        let last = beside(&files).into_iter().rfind(|path| path.ends_with(".snapshot")).unwrap();
        for path in beside(&files) {
            let mut changed = files.clone();
            changed.remove(path);
            let report = look(&changed);
            let named: Vec<bool> =
                faults(&report).iter().map(|finding| finding.path.ends_with(path.as_str())).collect();
            let is_needed = path.ends_with(".txnindex") || path == last;
            assert_eq!(named, vec![true; usize::from(is_needed)], "closed: {is_closed}, {path}: {report:?}");
        }
    }
}

#[test]
fn what_contradicts_the_log_is_found_also_where_no_checksum_tells() {
    // Files alone, as in a folder of Kafka: what is wrong in them shows when the log is read.
    let mut files = transactions(true);
    files.retain(|path, _| path.starts_with("t-0/") && !path.contains("headwater."));
    assert_eq!(look(&files).findings, []);
    for path in beside(&files) {
        let is_snapshot = path.ends_with(".snapshot");
        for at in if is_snapshot { 10 } else { 0 }..files[path].len() {
            let mut changed = files.clone();
            let bytes = changed.get_mut(path).unwrap();
            bytes[at] ^= 1;
            if is_snapshot {
                let checksum = crc32c::crc32c(&bytes[6..]);
                bytes[2..6].copy_from_slice(&checksum.to_be_bytes());
            }
            let report = look(&changed);
            // Of a snapshot the size of the last batch, its timestamp and the coordinator say nothing about what counts.
            let is_harmless = is_snapshot && (22..38).contains(&((at - 10) % 46));
            let found = faults(&report);
            assert!(is_harmless || !found.is_empty(), "{path} byte {at}");
            assert!(found.iter().all(|finding| finding.path.ends_with(path.as_str())), "{path} byte {at}: {found:?}");
        }
    }
}

#[test]
fn what_says_more_or_less_than_there_is_left_is_no_fault_where_batches_are_gone() {
    for deleted in 1..70 {
        let files = transactions(false);
        let storage = Arc::new(MemoryStorage::default());
        files.iter().for_each(|(path, bytes)| storage.put(path, bytes.clone()));
        let broker = workload::open(&storage).unwrap();
        broker.partition("t", 0).unwrap().delete_records(deleted).unwrap();
        assert_eq!(look(&storage.contents()).findings, [], "deleted below {deleted}");
        broker.close().unwrap();
        assert_eq!(look(&storage.contents()).findings, [], "deleted below {deleted}, closed");
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
fn a_compaction_that_stands_still_anywhere_is_no_fault() {
    // As a process that is not given the processor for a while leaves it, or one that was killed, or a power cut.
    let storage = Arc::new(SimulatedStorage::default());
    let broker = workload::open(&storage).unwrap();
    let settings = [("segment.bytes", "4096"), ("index.interval.bytes", "100"), ("cleanup.policy", "compact")];
    let log = Arc::clone(&broker.create_topic("c", 1, workload::settings(&settings)).unwrap().partitions[0]);
    let producer = broker.transactional_producer("p", 60_000).unwrap();
    for number in 0..40_u8 {
        let mut batch = BatchBuilder::new();
        (0..9).for_each(|key| batch.push(i64::from(number), Some(&[key * (number % 5)]), Some(&[number; 40]), &[]));
        if number % 4 == 0 {
            producer.begin().unwrap();
            producer.append(&log, batch, Codec::None).unwrap();
            if number % 8 == 0 { producer.abort().unwrap() } else { producer.commit().unwrap() }
        } else {
            log.append(batch.finish(Codec::None).unwrap()).unwrap();
        }
    }
    broker.close().unwrap();
    let storage = Arc::new(SimulatedStorage::new(&storage.image(Level::Killed)));
    let broker = workload::open(&storage).unwrap();
    let log = broker.partition("c", 0).unwrap();
    log.compact(0, true).unwrap();
    broker.close().unwrap();
    let mut crashes = storage.crashes();
    let mut is_swapping = 0;
    loop {
        for level in [Level::Killed, Level::PowerLoss, Level::Reordered] {
            for image in crashes.images(level, 7, 12) {
                let image = image.storage();
                is_swapping += usize::from(image.contents().keys().any(|path| path.ends_with(".swap")));
                let report = verify(&image).unwrap();
                let at = (crashes.position(), level, crashes.last());
                assert!(report.is_clean(), "{at:?}: {:?}", report.findings);
            }
        }
        if !crashes.advance() {
            break;
        }
    }
    assert!(is_swapping > 10, "{is_swapping}");
}

/// A directory in which a process gets on with its work whenever the time index of a segment is about to be read.
struct Busy<'a> {
    inner: Arc<MemoryStorage>,
    work: Box<dyn Fn() + Send + Sync + 'a>,
}

impl std::fmt::Debug for Busy<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(formatter)
    }
}

impl Storage for Busy<'_> {
    fn describe(&self, path: &str) -> String {
        self.inner.describe(path)
    }
    fn create_folder(&self, path: &str) -> io::Result<()> {
        self.inner.create_folder(path)
    }
    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.inner.list(path)
    }
    fn open(&self, path: &str, create: bool) -> io::Result<Arc<dyn File>> {
        if path.ends_with("00000000000000000000.timeindex") {
            (self.work)();
        }
        self.inner.open(path, create)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn remove_file(&self, path: &str) -> io::Result<()> {
        self.inner.remove_file(path)
    }
    fn remove_folder(&self, path: &str) -> io::Result<()> {
        self.inner.remove_folder(path)
    }
    fn sync_folder(&self, path: &str) -> io::Result<()> {
        self.inner.sync_folder(path)
    }
    fn lock(&self, path: &str) -> io::Result<Result<Lock, String>> {
        self.inner.lock(path)
    }
}

#[test]
fn a_writer_that_replaces_what_is_read_every_time_is_no_fault_and_hides_none() {
    for is_damaged in [false, true] {
        let inner = Arc::new(MemoryStorage::default());
        let broker = workload::open(&inner).unwrap();
        let settings = [("segment.bytes", "16384"), ("index.interval.bytes", "100"), ("cleanup.policy", "compact")];
        let log = Arc::clone(&broker.create_topic("c", 1, workload::settings(&settings)).unwrap().partitions[0]);
        let round = AtomicU8::new(0);
        let work = || {
            let number = round.fetch_add(1, Ordering::Relaxed);
            for key in 0..20_u8 {
                let mut batch = BatchBuilder::new();
                let size = 20 + usize::from(number) * 3;
                batch.push(i64::from(number), Some(&[key + number % 3 * 9]), Some(&vec![number; size]), &[]);
                log.append(batch.finish(Codec::None).unwrap()).unwrap();
            }
            log.compact(0, true).unwrap();
        };
        work();
        if is_damaged {
            inner.put("c-0/7.log", vec![1]);
        }
        let report = verify(&Busy { inner: Arc::clone(&inner), work: Box::new(work) }).unwrap();
        assert!(round.load(Ordering::Relaxed) > 6, "it worked at every attempt");
        let named: Vec<bool> = faults(&report).iter().map(|finding| finding.path.ends_with("c-0/7.log")).collect();
        assert_eq!(named, vec![true; usize::from(is_damaged)], "{report:?}");
    }
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
