//! Many threads on one partition: one order, one sync for many, nobody waits for ever.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "support/workload.rs"]
mod workload;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use headwater_log::storage::{DiskStorage, MemoryStorage, SimulatedStorage};
use headwater_log::{Isolation, TopicConfig};
use headwater_record::{BatchBuilder, Codec};

#[test]
fn every_append_gets_offsets_of_its_own_and_readers_see_only_whole_durable_batches() {
    let folder = tempfile::tempdir().unwrap();
    let broker = workload::open(&Arc::new(DiskStorage::new(folder.path()))).unwrap();
    let settings = workload::settings(&[("segment.bytes", "20000")]);
    let partition = Arc::clone(&broker.create_topic("t", 1, settings).unwrap().partitions[0]);
    let (writers, appends) = (4_u64, 150_u64);
    let seen = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let partition = &partition;
            scope.spawn(move || {
                for append in 0..appends {
                    let mut batch = BatchBuilder::new();
                    for record in 0..3_u64 {
                        batch.push(0, Some(&writer.to_be_bytes()), Some(&(append * 3 + record).to_be_bytes()), b"");
                    }
                    let appended = partition.append(batch.finish(Codec::None).unwrap()).unwrap();
                    assert_eq!(appended.next_offset - appended.base_offset, 3);
                    partition.wait_durable(appended.next_offset).unwrap();
                    assert!(partition.durable_offset() >= appended.next_offset);
                }
            });
        }
        scope.spawn(|| {
            let mut next = vec![0_u64; writers as usize];
            let mut offset = 0;
            while offset < writers * appends * 3 {
                let growth = broker.growth();
                let fetched = partition.read(offset, 1 << 12, Isolation::Uncommitted).unwrap();
                assert!(fetched.next_offset <= partition.durable_offset());
                for batch in &fetched.batches {
                    for record in &batch.records().unwrap() {
                        let record = record.unwrap();
                        let number = |bytes: Option<&[u8]>| u64::from_be_bytes(bytes.unwrap().try_into().unwrap());
                        let writer = number(record.key) as usize;
                        assert_eq!(number(record.value), next[writer], "each writer's records are in its order");
                        next[writer] += 1;
                        seen.fetch_add(1, Ordering::Relaxed);
                    }
                }
                if fetched.next_offset == offset {
                    let _ = broker.wait_for_growth(growth, Duration::from_secs(10));
                }
                offset = fetched.next_offset;
            }
        });
    });
    assert_eq!(seen.into_inner(), writers * appends * 3);
}

#[test]
fn one_sync_answers_everybody_who_waited() {
    let storage = Arc::new(SimulatedStorage::default());
    let broker = workload::open(&storage).unwrap();
    let partition = Arc::clone(&broker.create_topic("t", 1, TopicConfig::default()).unwrap().partitions[0]);
    for number in 0..100 {
        partition.append(workload::batch(number, 1, Codec::None)).unwrap();
    }
    let before = storage.operations();
    for next_offset in 1..=100 {
        partition.wait_durable(next_offset).unwrap();
    }
    // A sync and the mark.
    assert_eq!(storage.operations() - before, 2);
    assert_eq!(partition.high_watermark(), 100);
}

#[test]
fn waiting_for_growth_ends_when_the_broker_is_closed() {
    let broker = workload::open(&Arc::new(MemoryStorage::default())).unwrap();
    let seen = broker.growth();
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(broker.wait_for_growth(seen, Duration::from_secs(60)) > seen));
        broker.close().unwrap();
    });
}

#[test]
fn an_interval_of_one_topic_is_kept_in_a_broker_of_another_durability() {
    let broker = workload::open(&Arc::new(MemoryStorage::default())).unwrap();
    let settings = workload::settings(&[("headwater.durability", "interval:1")]);
    let partition = Arc::clone(&broker.create_topic("t", 1, settings).unwrap().partitions[0]);
    let appended = partition.append(workload::batch(0, 2, Codec::None)).unwrap();
    assert_eq!(partition.high_watermark(), 2);
    while partition.durable_offset() < appended.next_offset {
        std::thread::yield_now();
    }
}

#[test]
fn an_interval_shorter_than_all_before_it_is_kept_at_once() {
    let settings = |interval| workload::settings(&[("headwater.durability", interval)]);
    let broker = workload::open(&Arc::new(MemoryStorage::default())).unwrap();
    broker.create_topic("slow", 1, settings("interval:3600000")).unwrap();
    std::thread::sleep(Duration::from_millis(20)); // the syncer should sleep by now; if it does not, this shows less
    let partition = Arc::clone(&broker.create_topic("t", 1, settings("interval:1")).unwrap().partitions[0]);
    let changed = Arc::clone(&broker.create_topic("changed", 1, settings("os")).unwrap().partitions[0]);
    for partition in [&partition, &changed] {
        let appended = partition.append(workload::batch(0, 2, Codec::None)).unwrap();
        while partition.durable_offset() < appended.next_offset {
            std::thread::yield_now();
        }
        broker.set_topic_config("t", TopicConfig::default()).unwrap();
        broker.set_topic_config("changed", settings("interval:1")).unwrap();
    }
}

/// Threads of this process by the names that the log gives its own.
#[cfg(target_os = "linux")]
fn threads_of_the_log() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::io::Result<std::fs::DirEntry>| std::fs::read_to_string(task.unwrap().path().join("comm"));
    // A thread that ends while we look has no name any more.
    tasks.filter_map(|task| name(task).ok()).filter(|name| name.starts_with("headwater-")).count()
}

#[cfg(target_os = "linux")]
fn await_threads(count: usize) {
    let is_there = (0..10_000).any(|_| {
        std::thread::sleep(Duration::from_millis(1));
        threads_of_the_log() == count
    });
    assert!(is_there, "expected {count} threads, got {}", threads_of_the_log());
}

#[cfg(target_os = "linux")]
#[test]
fn the_threads_of_a_closed_or_dropped_broker_end() {
    // In a process of its own: other tests have brokers, too.
    if std::env::var_os("HEADWATER_TEST_ALONE").is_none() {
        let name = "the_threads_of_a_closed_or_dropped_broker_end";
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        let done = alone.args(["--exact", name]).env("HEADWATER_TEST_ALONE", "1").output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
        return;
    }
    for is_closed in [true, false] {
        let broker = workload::open(&Arc::new(MemoryStorage::default())).unwrap();
        // An hour between rounds: only being woken ends the syncer in time.
        let settings = [("headwater.durability", "interval:3600000"), ("retention.ms", "1000")];
        broker.create_topic("t", 1, workload::settings(&settings)).unwrap();
        await_threads(2);
        if is_closed {
            broker.close().unwrap();
            await_threads(0); // the kernel lists a thread for a moment after it was joined
        }
        drop(broker);
        await_threads(0);
    }
}
