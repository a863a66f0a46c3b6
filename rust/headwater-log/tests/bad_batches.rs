//! Batches that must not get into a log: refused as a whole, with no offset used; the next good one is taken.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "support/workload.rs"]
mod workload;

use std::sync::Arc;

use headwater_log::storage::MemoryStorage;
use headwater_log::{Clock, Kind, Partition, SystemClock};
use headwater_record::{BatchBuilder, Codec, ControlType, Marker, ProducerFields};
use workload::values;

fn partition() -> (headwater_log::Broker, Arc<Partition>) {
    let broker = workload::open(&Arc::new(MemoryStorage::default())).unwrap();
    let topic = broker.create_topic("t", 1, workload::settings(&[])).unwrap();
    let partition = Arc::clone(&topic.partitions[0]);
    partition.append(workload::batch(0, 3, Codec::None)).unwrap();
    partition.sync().unwrap();
    (broker, partition)
}

fn refuses(partition: &Partition, bytes: Vec<u8>, what: &str) {
    let refused = partition.append(bytes).expect_err(what);
    assert_eq!(refused.kind(), Kind::Invalid, "{what}: {refused}");
    assert_eq!(partition.next_offset(), 3, "{what}");
}

/// Puts bytes into a batch, and the checksum right.
fn with(mut batch: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    let checksum = headwater_record::checksum(&batch);
    batch[17..21].copy_from_slice(&checksum.to_be_bytes());
    batch
}

#[test]
fn a14_a_batch_that_contradicts_itself_is_refused_and_uses_no_offset() {
    let (_broker, partition) = partition();
    let good = || workload::batch(3, 4, Codec::None);
    let mut changed = good();
    *changed.last_mut().unwrap() ^= 1;
    refuses(&partition, changed, "another checksum");
    for (what, at, bytes) in [
        ("no records", 57, &0_i32.to_be_bytes()[..]),
        ("a negative count", 57, &(-1_i32).to_be_bytes()),
        ("fewer records than offsets", 57, &3_i32.to_be_bytes()),
        ("more records than offsets", 57, &5_i32.to_be_bytes()),
        ("a last offset that does not fit", 23, &7_i32.to_be_bytes()),
        ("a negative last offset", 23, &(-1_i32).to_be_bytes()),
        ("format 0", 16, &[0]),
        ("format 1", 16, &[1]),
        ("format 3", 16, &[3]),
        ("a length below the header's", 8, &40_i32.to_be_bytes()),
        ("a length beyond the bytes", 8, &1_000_000_i32.to_be_bytes()),
        ("a negative length", 8, &(-5_i32).to_be_bytes()),
        ("a codec that nobody knows", 21, &7_i16.to_be_bytes()),
    ] {
        refuses(&partition, with(good(), at, bytes), what);
    }
    refuses(&partition, Vec::new(), "nothing");
    refuses(&partition, good()[..60].to_vec(), "half a header");
    refuses(&partition, [good(), vec![0; 10]].concat(), "bytes behind the batch");
    assert_eq!(partition.append(good()).unwrap().base_offset, 3);
    partition.sync().unwrap();
    assert_eq!(workload::read_all(&partition).len(), 7);
}

#[test]
fn a15_what_only_the_broker_may_write_is_refused() {
    let (broker, partition) = partition();
    let marker = Marker { kind: ControlType::Commit, coordinator_epoch: 0 };
    refuses(&partition, marker.to_batch(7, 0, 0), "a control batch");
    let producer = ProducerFields { id: 7, epoch: 0, base_sequence: 0, is_transactional: true };
    let transactional = values(["x"]).finish_as(Codec::None, producer).unwrap();
    refuses(&partition, transactional, "a batch of a transaction that nobody began");
    assert_eq!(partition.last_stable_offset(), 3);
    assert!(broker.transactions().is_empty());
}

#[test]
fn c18_offsets_end_at_the_largest_and_none_is_used_twice() {
    let last = i64::MAX as u64 - 4;
    let storage = Arc::new(MemoryStorage::default());
    let mut first = workload::batch(0, 1, Codec::None);
    first[..8].copy_from_slice(&last.to_be_bytes());
    storage.put(&format!("t-0/{last:020}.log"), first);
    let broker = workload::open(&storage).unwrap();
    let partition = broker.partition("t", 0).unwrap();
    assert_eq!((partition.log_start_offset(), partition.next_offset()), (last, last + 1));
    let refused = partition.append(workload::batch(0, 9, Codec::None));
    let next = partition.next_offset();
    assert!(refused.is_err() && next == last + 1, "{refused:?}, then {next}");
    let appended = partition.append(workload::batch(0, 2, Codec::None)).unwrap();
    assert_eq!((appended.base_offset, appended.next_offset), (last + 1, last + 3));
    partition.sync().unwrap();
    assert_eq!(workload::read_around(&partition, last).len(), 3);
}

#[test]
fn i03_a_time_that_is_too_far_away_is_refused_where_a_topic_says_how_far() {
    let broker = workload::open(&Arc::new(MemoryStorage::default())).unwrap();
    let now = SystemClock.now_ms();
    let year_2100 = 4_102_444_800_000;
    let of = |times: &[i64]| {
        let mut batch = BatchBuilder::new();
        times.iter().for_each(|time| batch.push(*time, Some(b"k"), Some(b"v"), b""));
        batch.finish(Codec::Lz4).unwrap()
    };
    for (name, value, taken, refused) in [
        ("message.timestamp.after.max.ms", "3600000", vec![-1, now, now + 3_000_000], vec![now, year_2100]),
        ("message.timestamp.before.max.ms", "3600000", vec![now, now - 3_000_000, year_2100], vec![now, 0, now]),
        ("message.timestamp.after.max.ms", "9223372036854775807", vec![i64::MAX, i64::MIN], vec![]),
    ] {
        let topic = broker.create_topic(&format!("{name}{value}"), 1, workload::settings(&[(name, value)])).unwrap();
        topic.partitions[0].append(of(&taken)).unwrap();
        if !refused.is_empty() {
            let error = topic.partitions[0].append(of(&refused)).unwrap_err();
            assert!(error.kind() == Kind::Invalid && error.to_string().contains(name), "{error}");
        }
        assert_eq!(topic.partitions[0].next_offset(), taken.len() as u64, "{name}");
    }
    let settings = [("message.timestamp.after.max.ms", "0"), ("message.timestamp.type", "LogAppendTime")];
    let stamped = broker.create_topic("stamped", 1, workload::settings(&settings)).unwrap();
    stamped.partitions[0].append(of(&[year_2100])).unwrap();
}
