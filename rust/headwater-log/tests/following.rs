//! A reader beside a writer: it sees what has become durable, all of it and nothing else, and never writes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "support/workload.rs"]
mod workload;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use headwater_log::storage::{DiskStorage, MemoryStorage, Storage};
use headwater_log::{Broker, Error, Isolation, Kind, Mode, Options, Partition, Result};
use headwater_record::{BatchBuilder, Codec};

fn reader(storage: &Arc<impl Storage + 'static>) -> Broker {
    let options = Options { mode: Mode::Read, ..Options::default() };
    Broker::open(Arc::clone(storage) as Arc<dyn Storage>, options).unwrap()
}

fn append(partition: &Partition, count: u64) {
    partition.append(workload::batch(partition.next_offset(), count, Codec::None)).unwrap();
}

/// Start, end.
fn ends(reader: &Broker, topic: &str) -> Result<(u64, u64)> {
    reader.with_partition(topic, 0, |partition| Ok((partition.log_start_offset(), partition.high_watermark())))
}

/// Everything from an offset on, as offset and value; where the log begins later, from there on.
fn read_from(reader: &Broker, mut offset: u64) -> Vec<(u64, Vec<u8>)> {
    let mut found = Vec::new();
    loop {
        let read = reader.with_partition("t", 0, |partition| partition.read(offset, 1 << 12, Isolation::Uncommitted));
        let fetched = match read {
            Err(Error::OffsetOutOfRange { start, .. }) if start > offset => {
                offset = start;
                continue;
            }
            fetched => fetched.unwrap(),
        };
        for batch in &fetched.batches {
            for record in &batch.records().unwrap() {
                let record = record.unwrap();
                if record.offset >= offset {
                    found.push((record.offset, record.value.unwrap().to_vec()));
                }
            }
        }
        if fetched.next_offset == offset {
            return found;
        }
        offset = fetched.next_offset;
    }
}

#[test]
fn what_becomes_durable_is_seen_across_segments_and_nothing_else() {
    let storage = Arc::new(MemoryStorage::default());
    let writer = workload::open(&storage).unwrap();
    let settings = workload::settings(&[("segment.bytes", "1024"), ("index.interval.bytes", "100")]);
    let partition = Arc::clone(&writer.create_topic("t", 1, settings).unwrap().partitions[0]);
    append(&partition, 3);
    let reader = reader(&storage);
    assert_eq!(ends(&reader, "t").unwrap(), (0, 0), "written, not durable");
    for round in 1..40 {
        append(&partition, 1 + round % 4);
        let seen = ends(&reader, "t").unwrap().1;
        partition.sync().unwrap();
        append(&partition, 2);
        let before = storage.contents();
        assert_eq!(ends(&reader, "t").unwrap(), (0, partition.durable_offset()));
        assert!(partition.durable_offset() > seen && partition.next_offset() > partition.durable_offset());
        let found = read_from(&reader, 0);
        assert_eq!(found.len() as u64, partition.durable_offset());
        for (at, (offset, value)) in found.into_iter().enumerate() {
            assert_eq!((offset, value), (at as u64, workload::value(at as u64).into_bytes()));
        }
        assert_eq!(storage.contents(), before, "a reader never writes");
    }
    let described = reader.with_partition("t", 0, |partition| Ok(partition.describe())).unwrap();
    assert!(described.segments.len() > 3, "{described:?}");
    let last = partition.durable_offset() - 1;
    let found = reader.with_partition("t", 0, |partition| partition.offset_for_timestamp(last as i64 * 10)).unwrap();
    assert_eq!(found, Some((last, last as i64 * 10)));
    writer.close().unwrap();
    assert_eq!(ends(&reader, "t").unwrap().1, partition.next_offset());
    // The next process goes on.
    let writer = workload::open(&storage).unwrap();
    let partition = writer.partition("t", 0).unwrap();
    append(&partition, 5);
    partition.sync().unwrap();
    assert_eq!(read_from(&reader, 0).len() as u64, partition.next_offset());
}

#[test]
fn topics_come_change_and_go() {
    let storage = Arc::new(MemoryStorage::default());
    let writer = workload::open(&storage).unwrap();
    writer.create_topic("t", 1, workload::settings(&[])).unwrap();
    let reader = reader(&storage);
    assert!(!reader.refresh().unwrap());
    assert_eq!(ends(&reader, "u").unwrap_err().kind(), Kind::NotFound);
    let made = writer.create_topic("u", 1, workload::settings(&[])).unwrap();
    append(&made.partitions[0], 4);
    made.partitions[0].sync().unwrap();
    assert_eq!(ends(&reader, "u").unwrap(), (0, 4));
    writer.add_partitions("u", 3).unwrap();
    assert!(reader.with_partition("u", 2, |partition| Ok(partition.high_watermark())).is_ok());
    writer.set_topic_config("u", workload::settings(&[("retention.ms", "5")])).unwrap();
    assert!(reader.refresh().unwrap());
    assert_eq!(reader.topic("u").unwrap().config.settings()["retention.ms"], "5");

    writer.delete_topic("u").unwrap();
    assert_eq!(ends(&reader, "u").unwrap_err().kind(), Kind::NotFound);
    for count in [9, 2, 30] {
        let made = writer.create_topic("u", 1, workload::settings(&[])).unwrap();
        append(&made.partitions[0], count);
        made.partitions[0].sync().unwrap();
        assert_eq!(ends(&reader, "u").unwrap(), (0, count), "another topic of the same name");
        writer.delete_topic("u").unwrap();
    }
    assert!(reader.refresh().unwrap());
    assert_eq!(reader.topics().len(), 1);
}

#[test]
fn damage_is_damage_for_a_reader_too_and_what_lies_around_it_is_read() {
    let storage = Arc::new(MemoryStorage::default());
    let writer = workload::open(&storage).unwrap();
    let partition = Arc::clone(&writer.create_topic("t", 1, workload::settings(&[])).unwrap().partitions[0]);
    (0..4).for_each(|_| append(&partition, 3));
    partition.sync().unwrap();
    let log = "t-0/00000000000000000000.log";
    let mut bytes = storage.contents()[log].clone();
    let at = bytes.len() / 3;
    bytes[at] ^= 1;
    storage.put(log, bytes);
    let reader = reader(&storage);
    let read = |offset| reader.with_partition("t", 0, |log| log.read(offset, 1 << 12, Isolation::Uncommitted));
    assert_eq!(read(0).unwrap().next_offset, 3);
    let Err(Error::Corrupt { offset, next_offset, .. }) = read(3) else { panic!("expected damage") };
    assert_eq!((offset, next_offset), (3, 6));
    assert_eq!(read(6).unwrap().next_offset, 12);
}

#[test]
fn commits_of_another_process_are_seen() {
    let storage = Arc::new(MemoryStorage::default());
    let writer = workload::open(&storage).unwrap();
    writer.create_topic("t", 1, workload::settings(&[])).unwrap();
    let reader = reader(&storage);
    let committed = |group: &str| {
        let found = reader.committed_offsets().unwrap().fetch(group).unwrap();
        found.get(&("t".to_owned(), 0)).map(|committed| committed.offset)
    };
    assert_eq!(committed("g"), None);
    for offset in [3, 8, 5] {
        writer.commit_offsets("g", &[("t".into(), 0, offset, String::new())]).unwrap();
        writer.commit_offsets("h", &[("t".into(), 0, offset + 1, String::new())]).unwrap();
        assert_eq!((committed("g"), committed("h")), (Some(offset), Some(offset + 1)));
    }
    writer.offsets().delete("g").unwrap();
    assert_eq!((committed("g"), committed("h")), (None, Some(6)));
    assert_eq!(reader.committed_offsets().unwrap().groups(), ["h"]);
}

#[test]
fn records_that_are_deleted_are_forgotten() {
    let storage = Arc::new(MemoryStorage::default());
    let writer = workload::open(&storage).unwrap();
    let settings = workload::settings(&[("segment.bytes", "1024")]);
    let partition = Arc::clone(&writer.create_topic("t", 1, settings).unwrap().partitions[0]);
    (0..20).for_each(|_| append(&partition, 4));
    partition.sync().unwrap();
    let reader = reader(&storage);
    assert_eq!(ends(&reader, "t").unwrap(), (0, 80));
    partition.delete_records(50).unwrap();
    assert_eq!(ends(&reader, "t").unwrap(), (50, 80));
    assert_eq!(read_from(&reader, 0).len(), 30);
    append(&partition, 4);
    partition.sync().unwrap();
    partition.delete_records(84).unwrap();
    assert_eq!(ends(&reader, "t").unwrap(), (84, 84));
}

#[test]
fn a_tail_that_a_crash_tore_is_never_seen() {
    let storage = Arc::new(MemoryStorage::default());
    let writer = workload::open(&storage).unwrap();
    let partition = Arc::clone(&writer.create_topic("t", 1, workload::settings(&[])).unwrap().partitions[0]);
    append(&partition, 4);
    partition.sync().unwrap();
    append(&partition, 3); // never synced: the next process may find it, or not
    let killed = Arc::new(MemoryStorage::default());
    storage.contents().into_iter().for_each(|(path, bytes)| killed.put(&path, bytes));
    let log = "t-0/00000000000000000000.log";
    let torn = killed.contents()[log].len() - 5;
    killed.put(log, killed.contents()[log][..torn].to_vec());
    let reader = reader(&killed);
    assert!(reader.warnings().is_empty(), "{:?}", reader.warnings());
    assert_eq!(ends(&reader, "t").unwrap(), (0, 4));
    let writer = workload::open(&killed).unwrap();
    let partition = writer.partition("t", 0).unwrap();
    assert_eq!(partition.next_offset(), 4);
    append(&partition, 6);
    partition.sync().unwrap();
    let found = read_from(&reader, 0);
    assert_eq!(found.len(), 10);
    assert!(found.iter().all(|(offset, value)| *value == workload::value(*offset).into_bytes()));
}

#[test]
fn a_busy_writer_that_forgets_is_followed_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Arc::new(DiskStorage::new(folder.path()));
    let writer = workload::open(&storage).unwrap();
    let settings = [("segment.bytes", "4096"), ("retention.bytes", "40000"), ("index.interval.bytes", "100")];
    let partition = Arc::clone(&writer.create_topic("t", 1, workload::settings(&settings)).unwrap().partitions[0]);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..600 {
                append(&partition, 9);
                partition.sync().unwrap();
                partition.apply_retention(0).unwrap();
            }
            is_over.store(true, Ordering::Release);
        });
        let reader = reader(&storage);
        let mut next = 0;
        let mut rounds = 0;
        loop {
            let is_last = is_over.load(Ordering::Acquire);
            for (offset, value) in read_from(&reader, next) {
                // A jump is over what was forgotten, never over what is kept.
                assert!(
                    offset == next || (offset > next && next < partition.log_start_offset()),
                    "{offset} after {next}"
                );
                assert_eq!(value, workload::value(offset).into_bytes());
                next = offset + 1;
            }
            rounds += 1;
            if is_last {
                break;
            }
        }
        assert_eq!(next, 600 * 9);
        assert!(rounds > 1);
    });
}

#[test]
fn a_writer_that_compacts_is_followed_and_the_last_value_of_every_key_is_seen() {
    const KEYS: u64 = 7;
    let folder = tempfile::tempdir().unwrap();
    let storage = Arc::new(DiskStorage::new(folder.path()));
    let writer = workload::open(&storage).unwrap();
    let settings = [("cleanup.policy", "compact"), ("segment.bytes", "2048"), ("index.interval.bytes", "100")];
    let partition = Arc::clone(&writer.create_topic("t", 1, workload::settings(&settings)).unwrap().partitions[0]);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..300_u64 {
                let mut batch = BatchBuilder::new();
                for number in round * 5..round * 5 + 5 {
                    batch.push(number as i64, Some(&(number % KEYS).to_be_bytes()), Some(&number.to_be_bytes()), &[]);
                }
                partition.append(batch.finish(Codec::None).unwrap()).unwrap();
                partition.sync().unwrap();
                if round % 17 == 16 {
                    partition.compact(0, true).unwrap();
                }
            }
            is_over.store(true, Ordering::Release);
        });
        let reader = reader(&storage);
        let (mut next, mut latest) = (0, BTreeMap::new());
        loop {
            let is_last = is_over.load(Ordering::Acquire);
            for (offset, value) in read_from(&reader, next) {
                assert!(offset >= next && value == offset.to_be_bytes(), "{offset} after {next}");
                latest.insert(offset % KEYS, offset);
                next = offset + 1;
            }
            if is_last {
                break;
            }
        }
        let expected: BTreeMap<u64, u64> = (1500 - KEYS..1500).map(|number| (number % KEYS, number)).collect();
        assert_eq!(latest, expected);
        assert!(headwater_log::verify(&*storage).unwrap().findings.is_empty());
    });
}
