//! Transactions: what they wrote counts together or not at all, for readers, after a crash anywhere, and against zombies.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "support/dying.rs"]
mod dying;
#[path = "support/workload.rs"]
mod workload;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use headwater_log::storage::{MemoryStorage, SimulatedStorage, Storage};
use headwater_log::{Broker, Clock, Kind, Options, Partition, TRANSACTIONS_TOPIC, TransactionalProducer};
use headwater_record::{BatchBuilder, Codec, ProducerFields};
use workload::{read_committed, values};

const TIMEOUT_MS: i32 = 60_000;

#[derive(Debug, Default)]
struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn broker_of(partitions: u32) -> (Broker, Vec<Arc<Partition>>) {
    let broker = workload::open(&Arc::new(MemoryStorage::default())).unwrap();
    let topic = broker.create_topic("t", partitions, workload::settings(&[])).unwrap();
    (broker, topic.partitions.clone())
}

fn send(producer: &TransactionalProducer, partition: &Arc<Partition>, value: &str) {
    producer.append(partition, values([value]), Codec::None).unwrap();
}

#[test]
fn records_count_when_the_transaction_is_committed_and_never_when_it_is_aborted() {
    let (broker, partitions) = broker_of(2);
    let producer = broker.transactional_producer("loader", TIMEOUT_MS).unwrap();
    producer.begin().unwrap();
    send(&producer, &partitions[0], "a");
    send(&producer, &partitions[1], "b");
    partitions[0].append(values(["plain"]).finish(Codec::None).unwrap()).unwrap();
    partitions[0].sync().unwrap();
    assert_eq!(partitions[0].last_stable_offset(), 0, "what lies behind an open transaction waits with it");
    assert!(read_committed(&partitions[0]).is_empty());
    producer.commit().unwrap();
    assert_eq!(read_committed(&partitions[0]), ["a", "plain"]);
    assert_eq!(read_committed(&partitions[1]), ["b"]);

    producer.begin().unwrap();
    send(&producer, &partitions[0], "never");
    producer.abort().unwrap();
    producer.begin().unwrap();
    send(&producer, &partitions[0], "c");
    producer.commit().unwrap();
    assert_eq!(read_committed(&partitions[0]), ["a", "plain", "c"]);
    assert_eq!(workload::read_around(&partitions[0], 0).len(), 4, "uncommitted readers see all records, no marker");
}

#[test]
fn a_step_out_of_order_is_refused() {
    let (broker, partitions) = broker_of(1);
    let producer = broker.transactional_producer("loader", TIMEOUT_MS).unwrap();
    for refused in [
        producer.commit().unwrap_err(),
        producer.abort().unwrap_err(),
        producer.append(&partitions[0], values(["a"]), Codec::None).unwrap_err(),
        producer.send_offsets("g", &[("t".into(), 0, 1, String::new())]).unwrap_err(),
    ] {
        assert_eq!(refused.kind(), Kind::Invalid, "{refused}");
    }
    producer.begin().unwrap();
    assert_eq!(producer.begin().unwrap_err().kind(), Kind::Invalid);
    producer.commit().unwrap(); // of nothing
    let batch = ProducerFields { id: 0, epoch: 1, base_sequence: 0, is_transactional: true };
    let refused = partitions[0].append(values(["a"]).finish_as(Codec::None, batch).unwrap()).unwrap_err();
    assert!(refused.to_string().contains("one of a transaction"), "{refused}");
}

#[test]
fn committed_offsets_wait_for_the_transaction_and_the_later_in_the_log_counts() {
    let storage = Arc::new(MemoryStorage::default());
    let broker = workload::open(&storage).unwrap();
    let committed = |broker: &Broker, partition| {
        broker.offsets().fetch("g").unwrap().get(&("t".to_owned(), partition)).map(|committed| committed.offset)
    };
    let producer = broker.transactional_producer("loader", TIMEOUT_MS).unwrap();
    producer.begin().unwrap();
    producer.send_offsets("g", &[("t".into(), 0, 7, String::new()), ("t".into(), 1, 8, String::new())]).unwrap();
    assert_eq!(committed(&broker, 0), None);
    broker.commit_offsets("g", &[("t".into(), 1, 99, String::new())]).unwrap();
    producer.commit().unwrap();
    assert_eq!((committed(&broker, 0), committed(&broker, 1)), (Some(7), Some(99)));
    producer.begin().unwrap();
    producer.send_offsets("g", &[("t".into(), 0, 50, String::new())]).unwrap();
    producer.abort().unwrap();
    assert_eq!(committed(&broker, 0), Some(7));
    broker.close().unwrap();
    let broker = workload::open(&storage).unwrap();
    assert_eq!((committed(&broker, 0), committed(&broker, 1)), (Some(7), Some(99)));
}

#[test]
fn a_newer_producer_fences_the_older_one_and_aborts_what_it_left() {
    let (broker, partitions) = broker_of(1);
    let zombie = broker.transactional_producer("loader", TIMEOUT_MS).unwrap();
    zombie.begin().unwrap();
    send(&zombie, &partitions[0], "of the zombie");
    let producer = broker.transactional_producer("loader", TIMEOUT_MS).unwrap();
    assert_eq!(partitions[0].last_stable_offset(), 2, "nothing is open any more");
    for refused in [
        zombie.append(&partitions[0], values(["x"]), Codec::None).unwrap_err(),
        zombie.commit().unwrap_err(),
        zombie.abort().unwrap_err(),
        zombie.begin().unwrap_err(),
    ] {
        assert_eq!(refused.kind(), Kind::Fenced, "{refused}");
    }
    producer.begin().unwrap();
    send(&producer, &partitions[0], "of the newer");
    producer.commit().unwrap();
    assert_eq!(read_committed(&partitions[0]), ["of the newer"]);
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted_and_its_producer_fenced() {
    let clock = Arc::new(SetClock::default());
    let options = Options { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Options::default() };
    let broker = Broker::open(Arc::new(MemoryStorage::default()), options).unwrap();
    let partition = Arc::clone(&broker.create_topic("t", 1, workload::settings(&[])).unwrap().partitions[0]);
    let producer = broker.transactional_producer("slow", 1_000).unwrap();
    producer.begin().unwrap();
    clock.0.store(500, Ordering::Relaxed);
    send(&producer, &partition, "a");
    clock.0.store(1_500, Ordering::Relaxed);
    broker.abort_overdue_transactions();
    assert_eq!(partition.last_stable_offset(), 0, "its time began with its first record");
    clock.0.store(1_501, Ordering::Relaxed);
    broker.abort_overdue_transactions();
    assert_eq!(partition.last_stable_offset(), 2);
    let fenced = producer.commit().unwrap_err();
    assert_eq!(fenced.kind(), Kind::Fenced);
    assert!(fenced.to_string().contains("took longer than its time-out of 1000 ms"), "{fenced}");
    assert!(read_committed(&partition).is_empty());
    assert_eq!(broker.transactions()[0].state, "CompleteAbort");
}

#[test]
fn an_overdue_transaction_is_ended_although_its_first_markers_failed() {
    let clock = Arc::new(SetClock::default());
    let options = Options { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Options::default() };
    for failing in 1.. {
        let storage = Arc::new(SimulatedStorage::default());
        let broker = Broker::open(Arc::clone(&storage) as Arc<dyn Storage>, options.clone()).unwrap();
        let topic = broker.create_topic("t", 2, workload::settings(&[("headwater.durability", "os")])).unwrap();
        let producer = broker.transactional_producer("slow", 1_000).unwrap();
        producer.begin().unwrap();
        clock.0.store(0, Ordering::Relaxed);
        topic.partitions.iter().for_each(|partition| send(&producer, partition, "a"));
        clock.0.store(2_000, Ordering::Relaxed);
        let before = storage.tried();
        dying::fail_once(&storage, failing);
        broker.abort_overdue_transactions();
        let is_past = storage.tried() - before < failing;
        broker.abort_overdue_transactions();
        if broker.sync().is_ok() {
            for partition in &topic.partitions {
                assert_eq!(partition.last_stable_offset(), partition.high_watermark(), "operation {failing}");
            }
            assert_eq!(producer.commit().unwrap_err().kind(), Kind::Fenced, "operation {failing}");
        } // else a sync has failed: nothing goes on until it is opened again
        if is_past {
            assert!(failing > 3, "{failing}");
            break;
        }
    }
}

#[test]
fn offsets_of_an_open_transaction_are_known_as_pending_until_it_ends() {
    let (broker, _) = broker_of(1);
    let producer = broker.transactional_producer("loader", TIMEOUT_MS).unwrap();
    for commits in [true, false] {
        producer.begin().unwrap();
        producer.send_offsets("g", &[("t".into(), 0, 1, String::new()), ("u".into(), 3, 1, String::new())]).unwrap();
        let pending: Vec<(String, u32)> = broker.offsets().pending("g").into_iter().collect();
        assert_eq!(pending, [("t".to_owned(), 0), ("u".to_owned(), 3)]);
        assert!(broker.offsets().pending("another").is_empty());
        if commits {
            producer.commit().unwrap()
        } else {
            producer.abort().unwrap()
        }
        assert!(broker.offsets().pending("g").is_empty());
    }
}

#[test]
fn a_failed_append_leaves_only_the_abort() {
    let storage = Arc::new(SimulatedStorage::default());
    let broker = workload::open(&storage).unwrap();
    let partition = Arc::clone(&broker.create_topic("t", 1, workload::settings(&[])).unwrap().partitions[0]);
    let producer = broker.transactional_producer("loader", TIMEOUT_MS).unwrap();
    producer.begin().unwrap();
    send(&producer, &partition, "a");
    dying::fail_once(&storage, 1);
    assert_eq!(producer.append(&partition, values(["b"]), Codec::None).unwrap_err().kind(), Kind::Io);
    let refused = producer.commit().unwrap_err();
    assert!(refused.to_string().contains("a part is missing"), "{refused}");
    producer.abort().unwrap();
    producer.begin().unwrap();
    send(&producer, &partition, "c");
    producer.commit().unwrap();
    assert_eq!(read_committed(&partition), ["c"]);
}

#[test]
fn a16_a_numbered_batch_is_written_once_also_across_a_restart() {
    let storage = Arc::new(MemoryStorage::default());
    let batch = |sequence, value: &str| {
        let producer = ProducerFields { id: 5, epoch: 0, base_sequence: sequence, is_transactional: false };
        values([value, "x"]).finish_as(Codec::None, producer).unwrap()
    };
    for round in 0..2 {
        let broker = workload::open(&storage).unwrap();
        if round == 0 {
            broker.create_topic("t", 1, workload::settings(&[])).unwrap();
        }
        let partition = broker.partition("t", 0).unwrap();
        for number in 0..3 {
            let appended = partition.append(batch(number * 2, "a")).unwrap();
            let base = number as u64 * 2;
            assert_eq!((appended.base_offset, appended.next_offset), (base, base + 2), "round {round}, {number}");
        }
        assert_eq!(partition.next_offset(), 6);
        let refused = partition.append(batch(9, "b")).unwrap_err();
        assert!(refused.to_string().starts_with("expected sequence number 6 of producer 5, got 9"), "{refused}");
        let two = [batch(6, "b"), batch(8, "c")].concat();
        assert_eq!(partition.append(two).unwrap_err().kind(), Kind::Invalid);
        if round == 1 {
            broker.close().unwrap();
        } // else it is killed
    }
}

#[test]
fn behind_the_last_epoch_a_transactional_id_gets_a_new_producer_id() {
    let storage = Arc::new(MemoryStorage::default());
    let broker = workload::open(&storage).unwrap();
    let partition = Arc::clone(&broker.create_topic("t", 1, workload::settings(&[])).unwrap().partitions[0]);
    // Every producer raises the epoch by one.
    for _ in 0..i16::MAX - 4 {
        broker.transactional_producer("worn", TIMEOUT_MS).unwrap();
    }
    let producer = broker.transactional_producer("worn", TIMEOUT_MS).unwrap();
    let described = || {
        let described = broker.transactions().remove(0);
        (described.producer_id, described.epoch)
    };
    assert_eq!(described(), (0, i16::MAX - 4));
    let (mut expected, mut ids) = (Vec::new(), std::collections::BTreeSet::new());
    for number in 0..8 {
        producer.begin().unwrap();
        send(&producer, &partition, &number.to_string());
        ids.insert(described().0);
        if number % 3 == 2 {
            producer.abort().unwrap();
        } else {
            producer.commit().unwrap();
            expected.push(number.to_string());
        }
    }
    assert_eq!(ids.into_iter().collect::<Vec<_>>(), [0, 1]);
    assert_eq!(read_committed(&partition), expected);
    drop(broker);
    let broker = workload::open(&storage).unwrap();
    assert_eq!(read_committed(&broker.partition("t", 0).unwrap()), expected);
}

#[test]
fn a_state_that_is_not_understood_decides_nothing_and_is_left_to_who_does() {
    let storage = Arc::new(MemoryStorage::default());
    let broker = workload::open(&storage).unwrap();
    let partition = Arc::clone(&broker.create_topic("t", 1, workload::settings(&[])).unwrap().partitions[0]);
    let producer = broker.transactional_producer("x", TIMEOUT_MS).unwrap();
    producer.begin().unwrap();
    send(&producer, &partition, "perhaps");
    // A release to come has decided, in a version of its own.
    let states = broker.topic(TRANSACTIONS_TOPIC).unwrap().partitions.clone();
    let log = states.iter().find(|log| log.next_offset() > 0).unwrap();
    let mut decision = BatchBuilder::new();
    decision.push(0, Some(b"\0\0\0\x01x"), Some(b"\0\x07decided"), b"");
    log.append(decision.finish(Codec::None).unwrap()).unwrap();
    log.sync().unwrap();
    let left = storage.contents();
    drop((producer, partition, states, broker));
    for _ in 0..2 {
        let storage = Arc::new(MemoryStorage::default());
        left.iter().filter(|(path, _)| *path != ".lock").for_each(|(path, file)| storage.put(path, file.clone()));
        let broker = workload::open(&storage).unwrap();
        assert!(broker.warnings().iter().any(|warning| warning.contains("left open")), "{:?}", broker.warnings());
        let refused = broker.transactional_producer("x", TIMEOUT_MS).unwrap_err().to_string();
        assert!(refused.contains("'x'") && refused.contains("the release that wrote it"), "{refused}");
        let partition = broker.partition("t", 0).unwrap();
        assert_eq!((partition.last_stable_offset(), partition.next_offset()), (0, 1), "it is open");
        broker.close().unwrap();
        let after = storage.contents();
        let logs = |files: &std::collections::BTreeMap<String, Vec<u8>>| -> Vec<_> {
            files
                .iter()
                .filter(|(path, _)| path.ends_with(".log"))
                .map(|(path, file)| (path.clone(), file.clone()))
                .collect()
        };
        assert_eq!(logs(&after), logs(&left), "nothing is decided at close either");
    }
}

#[test]
fn i05_i09_a_clock_before_1970_or_beyond_2106_is_a_clock() {
    let years = |years: i64| years * 365 * 86_400_000;
    for now in [years(-2), -1, 0, (1 << 31) * 1_000, (1 << 32) * 1_000, years(7_000)] {
        let clock = Arc::new(SetClock(AtomicI64::new(now)));
        let options = Options { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Options::default() };
        let storage = Arc::new(MemoryStorage::default());
        let broker = Broker::open(Arc::clone(&storage) as Arc<dyn Storage>, options.clone()).unwrap();
        let settings = workload::settings(&[("retention.ms", "86400000"), ("segment.ms", "1000")]);
        let partition = Arc::clone(&broker.create_topic("t", 1, settings).unwrap().partitions[0]);
        let producer = broker.transactional_producer("p", 1_000).unwrap();
        producer.begin().unwrap();
        let mut batch = BatchBuilder::new();
        batch.push(now, Some(b"k"), Some(b"counts"), b"");
        producer.append(&partition, batch, Codec::None).unwrap();
        producer.send_offsets("g", &[("t".into(), 0, 1, String::new())]).unwrap();
        producer.commit().unwrap();
        broker.apply_retention().unwrap();
        assert_eq!(read_committed(&partition), ["counts"], "{now}: as young as can be");
        assert_eq!(partition.offset_for_timestamp(now).unwrap(), Some((0, now)));
        producer.begin().unwrap();
        send(&producer, &partition, "too slow");
        clock.0.fetch_add(1_000, Ordering::Relaxed);
        broker.abort_overdue_transactions();
        assert_eq!(broker.transactions()[0].state, "Ongoing", "{now}: not yet");
        clock.0.fetch_add(1, Ordering::Relaxed);
        broker.abort_overdue_transactions();
        assert_eq!(producer.commit().unwrap_err().kind(), Kind::Fenced, "{now}");
        broker.close().unwrap();
        let broker = Broker::open(storage as Arc<dyn Storage>, options).unwrap();
        assert_eq!(read_committed(&broker.partition("t", 0).unwrap()), ["counts"], "{now}, opened again");
        assert_eq!(broker.offsets().fetch("g").unwrap()[&("t".to_owned(), 0)].offset, 1);
        assert!(broker.warnings().is_empty(), "{now}: {:?}", broker.warnings());
    }
}
