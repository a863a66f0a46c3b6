//! A partition folder that Kafka wrote, put in place of ours or beside ours, is read as it is.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "../../headwater-record/tests/support/fixtures.rs"]
mod fixtures;
#[path = "support/workload.rs"]
mod workload;

use std::sync::Arc;

use fixtures::TOPICS;
use headwater_log::storage::{MemoryStorage, Storage};
use headwater_log::{Broker, Isolation, Mode, OffsetIndex, Options, Partition, TimeIndex};
use headwater_record::{Codec, Record};

/// Puts Kafka's folder of a topic there, as it left it.
fn put(storage: &MemoryStorage, topic: &str, name: &str) {
    for (file, contents) in fixtures::files(topic, "") {
        storage.put(&format!("{name}-0/{file}"), contents);
    }
}

fn records(partition: &Partition, isolation: Isolation) -> Vec<Record> {
    let (mut found, mut offset) = (Vec::new(), partition.log_start_offset());
    while offset < partition.high_watermark() {
        let fetched = partition.read(offset, 1 << 14, isolation).unwrap();
        for batch in &fetched.batches {
            assert!(!batch.header.is_control());
            let records = batch.records().unwrap();
            found.extend(records.iter().map(|record| records.own(record.unwrap())));
        }
        assert!(fetched.next_offset > offset);
        offset = fetched.next_offset;
    }
    found
}

fn check(partition: &Partition, topic: &str) {
    let sent = fixtures::sent(topic);
    for isolation in [Isolation::Uncommitted, Isolation::Committed] {
        let expected: Vec<_> = match isolation {
            Isolation::Uncommitted => sent.iter().collect(),
            Isolation::Committed => sent.iter().filter(|record| !record.is_aborted).collect(),
        };
        let found = records(partition, isolation);
        assert_eq!(found.len(), expected.len(), "{topic} {isolation:?}");
        for (found, sent) in found.iter().zip(expected) {
            assert_eq!((found.offset, found.timestamp), (sent.offset, sent.timestamp), "{topic}");
            assert_eq!(found.key.as_deref(), sent.key.as_deref(), "{topic}");
            assert_eq!(found.value.as_deref(), sent.value.as_deref(), "{topic}");
        }
    }
    for record in sent.iter().step_by(61) {
        let first = sent.iter().find(|other| other.timestamp >= record.timestamp).unwrap();
        let found = partition.offset_for_timestamp(record.timestamp).unwrap().unwrap();
        assert_eq!(found, (first.offset, first.timestamp), "{topic}");
    }
    let latest = sent.iter().map(|record| record.timestamp).max().unwrap();
    assert_eq!(
        partition.offset_for_timestamp(latest + 1).unwrap().filter(|(_, found)| *found <= latest),
        None,
        "{topic}"
    );
}

#[test]
fn folders_in_a_directory_of_their_own_become_topics() {
    for topic in TOPICS {
        let storage = Arc::new(MemoryStorage::default());
        put(&storage, topic, topic);
        let broker = workload::open(&storage).unwrap();
        let partition = broker.partition(topic, 0).unwrap();
        assert!(!broker.warnings().is_empty());
        check(&partition, topic);
        // Ours goes on behind it.
        let next = partition.next_offset();
        let appended = partition.append(workload::batch(1, 3, Codec::Lz4)).unwrap();
        assert_eq!(appended.base_offset, next, "{topic}");
        broker.close().unwrap();
        for _ in 0..2 {
            let broker = workload::open(&storage).unwrap();
            assert!(broker.warnings().is_empty(), "{:?}", broker.warnings());
            let partition = broker.partition(topic, 0).unwrap();
            let found = records(&partition, Isolation::Uncommitted);
            assert_eq!(found.len(), fixtures::sent(topic).len() + 3, "{topic}");
            broker.close().unwrap();
        }
    }
}

#[test]
fn a_folder_in_place_of_ours_is_read_with_a_warning() {
    for topic in TOPICS {
        // Whether our own small files are still there or went with the folder: it is the segments that count.
        for keeps_ours in [false, true] {
            for is_closed in [false, true] {
                let storage = Arc::new(MemoryStorage::default());
                let broker = workload::open(&storage).unwrap();
                let made = broker.create_topic("rides", 1, workload::settings(&[])).unwrap();
                made.partitions[0].append(workload::batch(0, 900, Codec::None)).unwrap();
                made.partitions[0].sync().unwrap();
                if is_closed {
                    broker.close().unwrap();
                }
                drop((made, broker));
                let files = MemoryStorage::default();
                for (path, contents) in storage.contents() {
                    let is_kept = !path.starts_with("rides-0/") || (keeps_ours && path.contains("headwater."));
                    if is_kept {
                        files.put(&path, contents);
                    }
                }
                put(&files, topic, "rides");
                let files = Arc::new(files);
                let broker = workload::open(&files).unwrap();
                let what = format!("{topic}, ours kept: {keeps_ours}, closed: {is_closed}");
                assert!(broker.warnings().iter().any(|warning| warning.contains("derived")), "{what}");
                let partition = broker.partition("rides", 0).unwrap();
                check(&partition, topic);
            }
        }
    }
}

#[test]
fn a_reader_without_the_lock_changes_nothing() {
    let storage = Arc::new(MemoryStorage::default());
    for topic in TOPICS {
        put(&storage, topic, topic);
    }
    let before = storage.contents();
    let options = Options { mode: Mode::Read, ..Options::default() };
    let broker = Broker::open(Arc::clone(&storage) as Arc<dyn Storage>, options).unwrap();
    for topic in TOPICS {
        check(&broker.partition(topic, 0).unwrap(), topic);
    }
    broker.close().unwrap();
    assert_eq!(storage.contents(), before);
}

#[test]
fn indexes_that_we_rebuild_are_those_that_kafka_wrote() {
    let storage = Arc::new(MemoryStorage::default());
    for topic in TOPICS {
        put(&storage, topic, topic);
    }
    workload::open(&storage).unwrap().close().unwrap();
    let after = storage.contents();
    for topic in TOPICS {
        for (name, kafka) in fixtures::files(topic, ".index") {
            let ours = &after[&format!("{topic}-0/{name}")];
            assert_eq!(
                OffsetIndex::from_bytes(ours, u64::MAX),
                OffsetIndex::from_bytes(&kafka, u64::MAX),
                "{topic} {name}"
            );
        }
        for (name, kafka) in fixtures::files(topic, ".timeindex") {
            let ours = &after[&format!("{topic}-0/{name}")];
            assert_eq!(TimeIndex::from_bytes(ours), TimeIndex::from_bytes(&kafka), "{topic} {name}");
        }
    }
}

#[test]
fn a_new_topic_never_removes_what_something_else_wrote() {
    let storage = Arc::new(MemoryStorage::default());
    let broker = workload::open(&storage).unwrap();
    put(&storage, "java-none", "rides");
    let refused = broker.create_topic("rides", 1, workload::settings(&[])).unwrap_err();
    assert!(refused.to_string().contains("did not make"), "{refused}");
    broker.close().unwrap();
    let broker = workload::open(&storage).unwrap();
    check(&broker.partition("rides", 0).unwrap(), "java-none");
}

#[test]
fn a_folder_that_is_called_almost_like_a_partitions_is_none() {
    for name in ["t-00", "t-+0", "t-0.bak", "t0", "-0"] {
        let storage = Arc::new(MemoryStorage::default());
        for (file, contents) in fixtures::files(TOPICS[0], "") {
            storage.put(&format!("{name}/{file}"), contents);
        }
        let broker = Broker::open(Arc::clone(&storage) as Arc<dyn Storage>, Options::default()).unwrap();
        assert_eq!(broker.topics().len(), 0, "{name}: {:?}", broker.warnings());
        broker.close().unwrap();
    }
}
