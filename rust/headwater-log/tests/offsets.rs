//! Committed offsets: the last commit counts, and what cannot be read is never made up.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "support/dying.rs"]
mod dying;
#[path = "support/workload.rs"]
mod workload;

use std::sync::Arc;

use headwater_log::storage::{Level, MemoryStorage, SimulatedStorage};
use headwater_log::{Broker, Kind, OFFSETS_TOPIC, Topic, TopicConfig};

fn commit(broker: &Broker, group: &str, offset: u64) {
    broker.commit_offsets(group, &[("t".into(), 0, offset, format!("at {offset}"))]).unwrap();
}

fn fetch(broker: &Broker, group: &str) -> Option<u64> {
    broker.offsets().fetch(group).unwrap().get(&("t".to_owned(), 0)).map(|committed| committed.offset)
}

#[test]
fn the_last_commit_counts_and_a_deleted_group_is_gone() {
    let storage = Arc::new(MemoryStorage::default());
    let broker = workload::open(&storage).unwrap();
    for (group, offset) in [("a", 1), ("b", 2), ("a", 5), ("c", 7)] {
        commit(&broker, group, offset);
    }
    broker.offsets().delete("b").unwrap();
    broker.close().unwrap();
    let broker = workload::open(&storage).unwrap();
    assert_eq!(["a", "b", "c"].map(|group| fetch(&broker, group)), [Some(5), None, Some(7)]);
    assert_eq!(broker.offsets().groups(), ["a", "c"]);
    assert_eq!(broker.offsets().fetch("a").unwrap()[&("t".to_owned(), 0)].metadata, "at 5");
}

#[test]
fn metadata_that_the_schema_cannot_hold_is_refused_whole() {
    let broker = workload::open(&Arc::new(MemoryStorage::default())).unwrap();
    commit(&broker, "g", 1);
    let entries = [("t".into(), 0, 2, String::new()), ("t".into(), 1, 2, "x".repeat(40_000))];
    let refused = broker.commit_offsets("g", &entries).unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid);
    assert!(refused.to_string().contains("40000"), "{refused}");
    assert_eq!(fetch(&broker, "g"), Some(1));
}

#[test]
fn a_group_whose_commit_may_be_damaged_gets_an_error_and_the_directory_opens() {
    let storage = Arc::new(MemoryStorage::default());
    let broker = workload::open(&storage).unwrap();
    broker.create_topic("t", 1, TopicConfig::default()).unwrap();
    for offset in 1..5 {
        commit(&broker, "g", offset);
    }
    broker.close().unwrap();
    let path = format!("{OFFSETS_TOPIC}-0/00000000000000000000.log");
    let mut bytes = storage.contents()[&path].clone();
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    storage.put(&path, bytes);
    let broker = workload::open(&storage).unwrap();
    assert!(broker.topic("t").is_ok());
    assert_eq!(broker.offsets().fetch("g").unwrap_err().kind(), Kind::Corrupt);
    // Whoever commits has decided.
    commit(&broker, "g", 3);
    assert_eq!(fetch(&broker, "g"), Some(3));
}

#[test]
fn commits_of_many_threads_end_in_memory_as_in_the_log() {
    let storage = Arc::new(MemoryStorage::default());
    let broker = workload::open(&storage).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let broker = &broker;
            scope.spawn(move || (0..100).for_each(|step| commit(broker, "g", thread * 1_000 + step)));
        }
    });
    let seen = fetch(&broker, "g");
    broker.close().unwrap();
    assert_eq!(fetch(&workload::open(&storage).unwrap(), "g"), seen);
}

#[test]
fn old_commits_are_compacted_and_no_group_notices() {
    let storage = Arc::new(MemoryStorage::default());
    let broker = workload::open(&storage).unwrap();
    let settings = workload::settings(&[
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1024"),
        ("delete.retention.ms", "0"),
        ("min.cleanable.dirty.ratio", "1"),
    ]);
    drop(broker.create_topic(OFFSETS_TOPIC, 1, settings).unwrap());
    broker.close().unwrap();
    for round in 0..5 {
        let broker = workload::open(&storage).unwrap();
        assert!(broker.warnings().is_empty(), "{:?}", broker.warnings());
        (0..40).for_each(|step| commit(&broker, ["a", "b"][step % 2], round * 100 + step as u64));
        commit(&broker, "gone", round);
        broker.offsets().delete("gone").unwrap();
        broker.compact(Some(OFFSETS_TOPIC)).unwrap();
        if round % 2 == 0 {
            broker.close().unwrap();
        }
    }
    let broker = workload::open(&storage).unwrap();
    assert_eq!(["a", "b", "gone"].map(|group| fetch(&broker, group)), [Some(438), Some(439), None]);
    // The tombstone goes with the pass after the one that saw it first.
    let done = broker.compact(Some(OFFSETS_TOPIC)).unwrap();
    assert_eq!((done.records_before, done.records_after), (3, 2));
    let broker = workload::open(&storage).unwrap();
    assert_eq!(["a", "b", "gone"].map(|group| fetch(&broker, group)), [Some(438), Some(439), None]);
}

#[test]
fn j04_no_group_is_anywhere_in_a_topic_that_was_made_anew_wherever_a_crash_comes() {
    let place = ("t".to_owned(), 0);
    let begin = Arc::new(SimulatedStorage::default());
    let broker = workload::open(&begin).unwrap();
    let append = |topic: &Arc<Topic>| {
        let appended = topic.partitions[0].append(workload::keyed(0, 5)).unwrap();
        topic.partitions[0].wait_durable(appended.next_offset).unwrap();
    };
    append(&broker.create_topic("t", 1, workload::settings(&[])).unwrap());
    broker.commit_offsets("g", &[("t".into(), 0, 5, String::new()), ("other".into(), 0, 1, String::new())]).unwrap();
    broker.commit_offsets("application", &[("t".into(), 0, 5, "its stores".into())]).unwrap();
    broker.close().unwrap();
    let begin = begin.image(Level::Killed);
    let again = |storage: &Arc<SimulatedStorage>| -> headwater_log::Result<()> {
        let broker = workload::open(storage)?;
        broker.delete_topic("t")?;
        broker.create_topic("t", 1, workload::settings(&[]))?;
        broker.close()
    };
    for operation in 1.. {
        let storage = Arc::new(dying::from(&begin, Some(operation)));
        let is_over = again(&storage).is_ok();
        for level in Level::ALL {
            let broker = workload::open(&Arc::new(storage.image(level).storage())).unwrap();
            let what = format!("operation {operation} {level:?}");
            let is_old = broker.topic("t").is_ok_and(|topic| topic.partitions[0].next_offset() == 5);
            if broker.topic("t").is_err() {
                broker.create_topic("t", 1, workload::settings(&[])).unwrap();
            }
            let found = broker.offsets().fetch("g").unwrap();
            assert!(is_old || !found.contains_key(&place), "{what}: {found:?}");
            assert!(found.contains_key(&("other".to_owned(), 0)), "{what}: {found:?}");
            assert!(broker.offsets().fetch("application").unwrap().contains_key(&place), "{what}");
            broker.close().unwrap();
        }
        if is_over {
            break;
        }
    }
}

#[test]
fn a_group_is_asked_while_it_commits_and_nobody_waits_for_ever() {
    let broker = workload::open(&Arc::new(MemoryStorage::default())).unwrap();
    std::thread::scope(|scope| {
        let broker = &broker;
        scope.spawn(move || (0..20_000).for_each(|offset| commit(broker, "g", offset)));
        for _ in 0..2 {
            scope.spawn(move || assert!((0..200_000).all(|_| fetch(broker, "g").is_none_or(|offset| offset < 20_000))));
        }
    });
    assert_eq!(fetch(&broker, "g"), Some(19_999));
}
