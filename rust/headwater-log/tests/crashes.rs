//! A crash at every storage operation: what was acknowledged is there afterwards, in order, once.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "support/workload.rs"]
mod workload;

use std::sync::Arc;

use headwater_log::storage::{Crash, FaultyStorage, MemoryStorage};
use headwater_record::Codec;

const CRASHES: [Crash; 4] = [Crash::LosesAll, Crash::Tears, Crash::Zeros, Crash::KeepsAll];

/// What a program may rely on after a crash.
#[derive(Debug, Default)]
struct Acknowledged {
    /// Whether the topic was made.
    topic: bool,
    /// Records 0 to this were durable.
    records: u64,
    /// Records that were appended, durable or not.
    appended: u64,
    /// The group's offset, and one that was being committed.
    committed: u64,
    committing: u64,
}

/// Appends, rolls, commits, closes, opens again and appends on, until a storage operation fails.
fn work(storage: &Arc<FaultyStorage>, done: &mut Acknowledged) -> headwater_log::Result<()> {
    for round in 0..2 {
        let broker = workload::open(storage)?;
        if !done.topic {
            broker.create_topic(
                "t",
                1,
                workload::settings(&[("segment.bytes", "1024"), ("index.interval.bytes", "100")]),
            )?;
            done.topic = true;
        }
        let partition = broker.partition("t", 0)?;
        for step in 0..9_u64 {
            let count = 1 + step % 4;
            let codec = if step % 3 == 2 { Codec::Lz4 } else { Codec::None };
            let first = partition.next_offset();
            done.appended = first + count;
            let appended = partition.append(workload::batch(first, count, codec))?;
            assert_eq!((appended.base_offset, appended.next_offset), (first, first + count));
            if step % 3 != 1 {
                partition.wait_durable(appended.next_offset)?;
                done.records = appended.next_offset;
            }
            if step % 4 == 3 {
                done.committing = done.records;
                broker.commit_offsets("g", &[("t".into(), 0, done.records, format!("round {round}"))])?;
                done.committed = done.records;
            }
        }
        broker.close()?;
        done.records = done.appended;
    }
    Ok(())
}

/// Recovers, and checks everything that was promised.
fn check(image: MemoryStorage, done: &Acknowledged, what: &str) {
    let storage = Arc::new(image);
    let broker = workload::open(&storage).unwrap_or_else(|error| panic!("{what}: {error}"));
    if !done.topic {
        return;
    }
    let partition = broker.partition("t", 0).unwrap_or_else(|error| panic!("{what}: {error}"));
    let records = workload::read_all(&partition);
    assert!(records.len() as u64 >= done.records, "{what}: {} of {} records", records.len(), done.records);
    assert!(records.len() as u64 <= done.appended, "{what}: records that nobody wrote");
    for (number, record) in records.iter().enumerate() {
        assert_eq!(*record, workload::value(number as u64).into_bytes(), "{what}");
    }
    let committed =
        broker.offsets().fetch("g").unwrap().get(&("t".to_owned(), 0)).map_or(0, |committed| committed.offset);
    assert!(committed == done.committed || committed == done.committing, "{what}: {committed}, {done:?}");
    // And it goes on from there.
    let first = partition.next_offset();
    partition.append(workload::batch(first, 3, Codec::Zstd)).unwrap();
    broker.close().unwrap();
    let broker = workload::open(&storage).unwrap();
    assert!(broker.warnings().is_empty(), "{what}: {:?}", broker.warnings());
    let partition = broker.partition("t", 0).unwrap();
    assert_eq!(workload::read_all(&partition).len() as u64, first + 3, "{what}");
}

fn crashed_at(operation: u64) -> (Arc<FaultyStorage>, Acknowledged, bool) {
    let storage = Arc::new(FaultyStorage::starting_from(MemoryStorage::default(), Some(operation)));
    let mut done = Acknowledged::default();
    let is_over = work(&storage, &mut done).is_ok();
    (storage, done, is_over)
}

#[test]
fn nothing_acknowledged_is_lost_wherever_it_crashes() {
    let mut operations = 0;
    for operation in 1.. {
        let (storage, done, is_over) = crashed_at(operation);
        for crash in CRASHES {
            check(storage.after_crash(crash), &done, &format!("operation {operation}, {crash:?}"));
        }
        if is_over {
            break;
        }
        operations = operation;
    }
    assert!(operations > 100, "{operations} operations");
}

#[test]
fn a_crash_while_recovering_from_a_crash_loses_nothing_either() {
    for operation in (1..).step_by(3) {
        let (storage, done, is_over) = crashed_at(operation);
        if is_over {
            break;
        }
        for crash in [Crash::LosesAll, Crash::Tears, Crash::KeepsAll] {
            for second in 1.. {
                let recovering = Arc::new(FaultyStorage::starting_from(storage.after_crash(crash), Some(second)));
                let is_recovered = workload::open(&recovering).is_ok();
                for then in [Crash::LosesAll, Crash::KeepsAll] {
                    let what = format!("operation {operation} {crash:?}, then {second} {then:?}");
                    check(recovering.after_crash(then), &done, &what);
                }
                if is_recovered {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_full_disk_fails_the_append_and_nothing_else() {
    let storage = Arc::new(FaultyStorage::starting_from(MemoryStorage::default(), None));
    let broker = workload::open(&storage).unwrap();
    // Without syncs on the way: one that fails poisons, which is the next test.
    let settings = workload::settings(&[("segment.bytes", "1024"), ("headwater.durability", "os")]);
    let partition = Arc::clone(&broker.create_topic("t", 1, settings).unwrap().partitions[0]);
    let mut written = 0;
    for after in 1..40 {
        storage.fail_once(1 + after % 3);
        for _ in 0..3 {
            let appended = partition.append(workload::batch(written, 4, Codec::None));
            match appended {
                Ok(appended) => written = appended.next_offset,
                Err(error) => assert_eq!(error.kind(), headwater_log::Kind::Io, "{error}"),
            }
        }
    }
    partition.sync().unwrap();
    assert_eq!(workload::read_all(&partition).len() as u64, written);
    broker.close().unwrap();
    let broker = workload::open(&storage).unwrap();
    assert_eq!(workload::read_all(&broker.partition("t", 0).unwrap()).len() as u64, written);
}

#[test]
fn after_a_failed_sync_nothing_more_is_acknowledged() {
    let storage = Arc::new(FaultyStorage::starting_from(MemoryStorage::default(), None));
    let broker = workload::open(&storage).unwrap();
    let partition = Arc::clone(&broker.create_topic("t", 1, workload::settings(&[])).unwrap().partitions[0]);
    let appended = partition.append(workload::batch(0, 4, Codec::None)).unwrap();
    storage.fail_once(1);
    assert_eq!(partition.wait_durable(appended.next_offset).unwrap_err().kind(), headwater_log::Kind::Io);
    let refused = partition.wait_durable(appended.next_offset).unwrap_err();
    assert_eq!(refused.kind(), headwater_log::Kind::Closed, "{refused}");
    assert!(partition.append(workload::batch(4, 1, Codec::None)).is_err());
    assert_eq!(partition.high_watermark(), 0);
}
