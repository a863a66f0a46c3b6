//! Files that were copied from elsewhere: they are recognised, and never taken for what they are not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "support/workload.rs"]
mod workload;

use std::sync::Arc;

use headwater_log::Broker;
use headwater_log::storage::MemoryStorage;
use headwater_record::Codec;

/// Two topics of two partitions, of which each holds another number of records.
fn filled(is_closed: bool) -> Arc<MemoryStorage> {
    let storage = Arc::new(MemoryStorage::default());
    let broker = workload::open(&storage).unwrap();
    for (topic, count) in [("t", 3), ("u", 5)] {
        let settings = workload::settings(&[("segment.bytes", "1024")]);
        for partition in &broker.create_topic(topic, 2, settings).unwrap().partitions {
            for _ in 0..count + u64::from(partition.number()) {
                // The first batch tells one log from another, so it must differ as real ones do.
                let number = partition.next_offset() + 10 * count + u64::from(partition.number());
                partition.append(workload::batch(number, 5, Codec::None)).unwrap();
            }
            partition.sync().unwrap();
        }
    }
    if is_closed {
        broker.close().unwrap();
    }
    storage
}

/// A directory in which one partition's files, of which some are `meant`, are those of another.
fn copied(is_closed: bool, from: &str, to: &str, is_meant: fn(&str) -> bool) -> Arc<MemoryStorage> {
    let (files, copied) = (filled(is_closed).contents(), MemoryStorage::default());
    for (path, bytes) in &files {
        let (folder, name) = path.split_once('/').unwrap_or(("", path));
        if folder != to || !is_meant(name) {
            copied.put(path, bytes.clone());
        }
        if folder == from && is_meant(name) {
            copied.put(&format!("{to}/{name}"), bytes.clone());
        }
    }
    Arc::new(copied)
}

fn names_both(broker: &Broker, from: &str, to: &str) -> bool {
    broker
        .warnings()
        .iter()
        .any(|warning| warning.contains(&format!("'{from}'")) && warning.contains(&format!("'{to}'")))
}

#[test]
fn c13_a_folder_copied_from_another_partition_is_named_with_its_own_name() {
    for is_closed in [false, true] {
        for (from, to) in [("u-0", "t-0"), ("t-1", "t-0"), ("u-1", "t-1")] {
            let storage = copied(is_closed, from, to, |_| true);
            let broker = workload::open(&storage).unwrap();
            assert!(names_both(&broker, from, to), "{from} to {to}: {:?}", broker.warnings());
            assert_eq!(broker.warnings().len(), 1, "the others are as they were: {:?}", broker.warnings());
            // It is whole, and says so until somebody writes to it under the name that it has now.
            let (topic, number) = to.split_once('-').unwrap();
            let partition = broker.partition(topic, number.parse().unwrap()).unwrap();
            let records = workload::read_all(&partition).len() as u64;
            partition.append(workload::batch(records, 1, Codec::None)).unwrap();
            broker.close().unwrap();
            let broker = workload::open(&storage).unwrap();
            assert!(broker.warnings().is_empty(), "{:?}", broker.warnings());
            assert_eq!(
                workload::read_all(&broker.partition(topic, number.parse().unwrap()).unwrap()).len() as u64,
                records + 1
            );
        }
        let broker = workload::open(&filled(is_closed)).unwrap();
        assert!(broker.warnings().is_empty(), "{:?}", broker.warnings());
    }
}

#[test]
fn c13_a_checkpoint_or_a_mark_of_another_partition_is_not_believed() {
    for is_closed in [false, true] {
        for is_meant in [
            (|name| name == "headwater.checkpoint") as fn(&str) -> bool,
            |name| name == "headwater.mark",
            |name| name.starts_with("headwater."),
        ] {
            for (from, to) in [("u-0", "t-0"), ("t-0", "u-1")] {
                let storage = copied(is_closed, from, to, is_meant);
                let broker = workload::open(&storage).unwrap();
                let (topic, number) = to.split_once('-').unwrap();
                let partition = broker.partition(topic, number.parse().unwrap()).unwrap();
                let count = 5 * (if topic == "t" { 3 } else { 5 } + u64::from(partition.number()));
                let found = workload::read_around(&partition, 0).len() as u64;
                assert_eq!(found, count, "{from} to {to}: {:?}", broker.warnings());
                // A mark is not synced and may speak of a batch that was deleted. If it says more than there is, offsets are
                // given up and reported, and no record with them.
                assert!(partition.next_offset() >= count);
                assert!(partition.next_offset() == count || !broker.warnings().is_empty(), "{from} to {to}");
            }
        }
    }
}

#[test]
fn c13_a_whole_directory_that_was_copied_is_the_same_log() {
    for is_closed in [false, true] {
        let files = filled(is_closed).contents();
        let copy = MemoryStorage::default();
        files.iter().for_each(|(path, bytes)| copy.put(path, bytes.clone()));
        let broker = workload::open(&Arc::new(copy)).unwrap();
        assert!(broker.warnings().is_empty(), "{:?}", broker.warnings());
        assert_eq!(workload::read_all(&broker.partition("u", 1).unwrap()).len(), 30);
    }
}
