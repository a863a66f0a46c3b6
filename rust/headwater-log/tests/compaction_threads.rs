//! Compaction while others append, read, delete records, and close: nobody sees anything but the log.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "support/compacted.rs"]
mod compacted;
#[path = "support/workload.rs"]
mod workload;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use compacted::{Entry, Model, SETTINGS, entry, partition, read, read_from};
use headwater_log::storage::{DiskStorage, MemoryStorage};
use headwater_log::{Error, Isolation, Kind, Partition};
use headwater_record::Codec;

const KEYS: u64 = 20;

/// What the record of an offset is, so that every reader can check what it sees.
fn record(offset: u64) -> Entry {
    entry(offset * 7 % KEYS, Some(offset), offset as i64)
}

fn append(log: &Partition, batches: u64) {
    let mut model = Model::default();
    for _ in 0..batches {
        let first = log.next_offset();
        let entries: Vec<Entry> = (first..first + 3).map(record).collect();
        model.append(log, &entries, Codec::None).unwrap();
    }
}

fn check(found: &BTreeMap<u64, Entry>) {
    for (offset, entry) in found {
        assert_eq!(*entry, record(*offset));
    }
}

#[test]
fn appends_and_readers_go_on_while_segments_are_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let broker = workload::open(&Arc::new(DiskStorage::new(folder.path()))).unwrap();
    let log = Arc::clone(&broker.create_topic("t", 1, workload::settings(&SETTINGS)).unwrap().partitions[0]);
    append(&log, 20);
    let (is_over, passes) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let appending = scope.spawn(|| append(&log, 150));
        for reader in 0..2_u64 {
            let (log, is_over) = (&log, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    // From different places, so that replaced segments are read on from the middle.
                    let start = (log.high_watermark() - KEYS) * reader / 2;
                    let found = read_from(log, start, Isolation::Uncommitted, 512);
                    check(&found);
                    // Each key's last record before the read began is there, or one that came later.
                    let keys: std::collections::BTreeSet<&[u8]> = found.values().map(|entry| &entry.key[..]).collect();
                    assert_eq!(keys.len() as u64, KEYS, "{found:?}");
                }
            });
        }
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let done = log.compact(0, passes.load(Ordering::Relaxed) % 2 == 0).unwrap();
                assert!(done.bytes_after <= done.bytes_before);
                passes.fetch_add(1, Ordering::Relaxed);
            }
        });
        appending.join().unwrap();
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(passes.into_inner() > 1);
    log.compact(0, true).unwrap();
    let found = read(&log, Isolation::Uncommitted);
    check(&found);
    assert_eq!(found.len() as u64, KEYS);
    broker.close().unwrap();
    let broker = workload::open(&Arc::new(DiskStorage::new(folder.path()))).unwrap();
    assert!(broker.warnings().is_empty(), "{:?}", broker.warnings());
    assert_eq!(read(&partition(&broker).unwrap(), Isolation::Uncommitted), found);
}

#[test]
fn records_may_be_deleted_and_the_log_closed_while_it_is_compacted() {
    for round in 0..30_u64 {
        let storage = Arc::new(MemoryStorage::default());
        let broker = workload::open(&storage).unwrap();
        let log = Arc::clone(&broker.create_topic("t", 1, workload::settings(&SETTINGS)).unwrap().partitions[0]);
        append(&log, 100);
        std::thread::scope(|scope| {
            let compacting = scope.spawn(|| {
                loop {
                    match log.compact(0, true) {
                        Ok(_) => {}
                        Err(error) => return error,
                    }
                }
            });
            for before in (0..150 + round).step_by(11) {
                log.delete_records(before).unwrap();
                let found = read(&log, Isolation::Uncommitted);
                check(&found);
                assert!(found.keys().all(|offset| *offset >= before));
            }
            broker.close().unwrap();
            assert_eq!(compacting.join().unwrap().kind(), Kind::Closed);
        });
        let (start, end) = (log.log_start_offset(), log.next_offset());
        let broker = workload::open(&storage).unwrap();
        assert!(broker.warnings().is_empty(), "{:?}", broker.warnings());
        let log = partition(&broker).unwrap();
        assert_eq!((log.log_start_offset(), log.next_offset()), (start, end));
        let found = read(&log, Isolation::Uncommitted);
        check(&found);
        let keys: std::collections::BTreeSet<&[u8]> = found.values().map(|entry| &entry.key[..]).collect();
        assert_eq!(keys.len() as u64, KEYS);
    }
}

#[test]
fn a_topic_may_be_deleted_while_it_is_compacted() {
    for _ in 0..20 {
        let storage = Arc::new(MemoryStorage::default());
        let broker = workload::open(&storage).unwrap();
        let log = Arc::clone(&broker.create_topic("t", 1, workload::settings(&SETTINGS)).unwrap().partitions[0]);
        append(&log, 100);
        std::thread::scope(|scope| {
            let compacting = scope.spawn(|| log.compact(0, true));
            broker.delete_topic("t").unwrap();
            let outcome = compacting.join().unwrap();
            assert!(matches!(outcome, Ok(_) | Err(Error::Closed { .. })), "{outcome:?}");
        });
        assert!(!storage.contents().keys().any(|path| path.starts_with("t-0/")));
    }
}
