//! An open reads what was written since the last segment was begun, not the whole log, also after a crash.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "support/workload.rs"]
mod workload;

use std::sync::Arc;

use headwater_log::storage::{MemoryStorage, Storage};
use headwater_log::{Broker, Isolation, Kind};
use headwater_record::{Codec, ProducerFields};
use workload::{read_committed, values};

const SETTINGS: [(&str, &str); 2] = [("segment.bytes", "1024"), ("index.interval.bytes", "100")];

/// A directory as a killed process leaves it: plain records in segments of about ten batches.
fn killed(batches: u64) -> (Arc<MemoryStorage>, u64) {
    let storage = Arc::new(MemoryStorage::default());
    let broker = workload::open(&storage).unwrap();
    let topic = broker.create_topic("t", 1, workload::settings(&SETTINGS)).unwrap();
    for number in 0..batches {
        topic.partitions[0].append(workload::batch(number * 2, 2, Codec::None)).unwrap();
    }
    topic.partitions[0].sync().unwrap();
    (storage, batches * 2)
}

fn logs(storage: &MemoryStorage) -> Vec<String> {
    storage.contents().into_keys().filter(|path| path.starts_with("t-0/") && path.ends_with(".log")).collect()
}

#[test]
fn sealed_segments_are_not_walked_through_after_a_crash() {
    let (storage, records) = killed(40);
    let logs = logs(&storage);
    assert!(logs.len() > 4, "{logs:?}");
    // The bytes of a sealed segment are not looked at, so that damage in them shows when they are read.
    let damaged = logs[1].clone();
    let file = storage.open(&damaged, false).unwrap();
    file.write_at(&[0xff; 8], 200).unwrap();
    let broker = workload::open(&storage).unwrap();
    assert!(broker.warnings().is_empty(), "{:?}", broker.warnings());
    let partition = broker.partition("t", 0).unwrap();
    assert_eq!(partition.next_offset(), records);
    let found = workload::read_around(&partition, 0);
    assert!(found.len() < records as usize && found.len() + 4 >= records as usize, "{} records", found.len());
    // Noticed once, it is walked through and reported at every open from now on.
    broker.close().unwrap();
    let broker = workload::open(&storage).unwrap();
    assert!(broker.warnings().iter().any(|warning| warning.contains("damage")), "{:?}", broker.warnings());
}

#[test]
fn a_known_segment_whose_files_changed_is_walked_through() {
    for extension in ["index", "timeindex"] {
        let (storage, records) = killed(40);
        let stem = logs(&storage)[2].trim_end_matches(".log").to_owned();
        storage.put(&format!("{stem}.{extension}"), vec![1; 40]);
        let broker = workload::open(&storage).unwrap();
        let partition = broker.partition("t", 0).unwrap();
        assert_eq!(workload::read_all(&partition).len() as u64, records, "{extension}");
        assert!(broker.warnings().is_empty(), "{:?}", broker.warnings());
    }
}

/// Two producers: one commits and aborts in turn, in small segments; one numbers its batches without transactions.
fn with_producers(storage: &Arc<MemoryStorage>) -> (Broker, Vec<String>) {
    let broker = workload::open(storage).unwrap();
    let topic = broker.create_topic("t", 1, workload::settings(&SETTINGS)).unwrap();
    let partition = &topic.partitions[0];
    let producer = broker.transactional_producer("p", 60_000).unwrap();
    let mut committed = Vec::new();
    for number in 0..30 {
        producer.begin().unwrap();
        let value = format!("{number} {}", "x".repeat(40));
        producer.append(partition, values([&*value]), Codec::None).unwrap();
        if number % 3 == 0 {
            producer.abort().unwrap();
        } else {
            producer.commit().unwrap();
            committed.push(value);
        }
        partition.append(numbered(number)).unwrap();
        committed.push(format!("n{number}"));
    }
    (broker, committed)
}

fn numbered(sequence: i32) -> Vec<u8> {
    let producer = ProducerFields { id: 900, epoch: 0, base_sequence: sequence, is_transactional: false };
    values([&*format!("n{sequence}")]).finish_as(Codec::None, producer).unwrap()
}

fn check(storage: &Arc<MemoryStorage>, committed: &[String], what: &str) {
    let broker = workload::open(storage).unwrap();
    assert!(broker.warnings().is_empty(), "{what}: {:?}", broker.warnings());
    let partition = broker.partition("t", 0).unwrap();
    assert_eq!(read_committed(&partition), committed, "{what}");
    let end = partition.next_offset();
    assert!(partition.append(numbered(29)).unwrap().next_offset <= end, "{what}: the last batch is known again");
    assert_eq!(partition.append(numbered(40)).unwrap_err().kind(), Kind::Invalid, "{what}: a gap");
}

#[test]
fn transactions_and_sequence_numbers_are_known_without_a_walk() {
    for is_closed in [false, true] {
        let storage = Arc::new(MemoryStorage::default());
        let (broker, committed) = with_producers(&storage);
        if is_closed {
            broker.close().unwrap();
        }
        drop(broker);
        let names: Vec<String> = storage.contents().into_keys().filter(|path| path.starts_with("t-0/")).collect();
        let count = |end: &str| names.iter().filter(|name| name.ends_with(end)).count();
        assert!(count(".txnindex") > 2, "{names:?}");
        assert_eq!(count(".snapshot"), 2, "the last two are kept: {names:?}");
        check(&storage, &committed, &format!("closed: {is_closed}"));
        // Without the snapshots, or with a changed one, it is all in the log.
        for name in names.iter().filter(|name| name.ends_with(".snapshot") || name.ends_with(".txnindex")) {
            let files = MemoryStorage::default();
            for (path, mut bytes) in storage.contents() {
                if path == *name {
                    bytes[10] ^= 1;
                }
                files.put(&path, bytes);
            }
            check(&Arc::new(files), &committed, &format!("closed: {is_closed}, {name} changed"));
        }
    }
}

#[test]
fn aborted_transactions_of_deleted_segments_are_forgotten() {
    let storage = Arc::new(MemoryStorage::default());
    let (broker, _) = with_producers(&storage);
    let partition = broker.partition("t", 0).unwrap();
    let before = partition.next_offset() - 4;
    partition.delete_records(before).unwrap();
    broker.close().unwrap();
    let names: Vec<String> = storage.contents().into_keys().filter(|path| path.starts_with("t-0/")).collect();
    assert!(names.iter().filter(|name| name.ends_with(".log")).count() <= 2, "{names:?}");
    let broker = workload::open(&storage).unwrap();
    let partition = broker.partition("t", 0).unwrap();
    assert!(partition.read(before, 1 << 16, Isolation::Committed).is_ok());
    assert_eq!(partition.last_stable_offset(), partition.high_watermark());
}
