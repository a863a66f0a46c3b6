//! Compaction keeps the last record of each key, where it was, and loses nothing else that anybody may want.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "support/compacted.rs"]
mod compacted;
#[path = "support/workload.rs"]
mod workload;

use std::collections::BTreeMap;
use std::sync::Arc;

use compacted::{Entry, Model, SETTINGS, entry, partition, read, read_from};
use headwater_log::storage::{MemoryStorage, Storage};
use headwater_log::{Broker, Clock, Compaction, Isolation, Kind, Mode, Options, Partition};
use headwater_record::{BatchBuilder, Codec};
use proptest::prelude::*;

/// After all records.
const NOW: i64 = 1_000_000;
const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

/// A clock before all records: to the broker's own thread they are too young to be compacted (`min.compaction.lag.ms`).
#[derive(Debug)]
struct Before;

impl Clock for Before {
    fn now_ms(&self) -> i64 {
        -1_000_000_000
    }
}

fn open(storage: &Arc<MemoryStorage>) -> Broker {
    let options = Options { clock: Arc::new(Before), ..Options::default() };
    Broker::open(Arc::clone(storage) as Arc<dyn Storage>, options).unwrap()
}

fn create(storage: &Arc<MemoryStorage>, more: &[(&str, &str)]) -> (Broker, Arc<Partition>) {
    let broker = open(storage);
    let settings = workload::settings(&[&SETTINGS, more].concat());
    let partition = Arc::clone(&broker.create_topic("t", 1, settings).unwrap().partitions[0]);
    (broker, partition)
}

/// `count` batches of three updates over `keys` keys, every seventh a tombstone.
fn fill(partition: &Partition, model: &mut Model, keys: u64, count: u64) {
    for step in 0..count {
        let first = partition.next_offset();
        let update = |n: u64| entry(n * 7 % keys, (n % 7 != 6).then_some(n), n as i64 * 10);
        let entries: Vec<Entry> = (first..first + 3).map(update).collect();
        model.append(partition, &entries, CODECS[step as usize % 5]).unwrap();
    }
}

fn segments(storage: &MemoryStorage) -> Vec<String> {
    storage.contents().into_keys().filter(|path| path.starts_with("t-0/") && path.ends_with(".log")).collect()
}

fn copy(storage: &MemoryStorage) -> Arc<MemoryStorage> {
    let image = MemoryStorage::default();
    storage.contents().into_iter().for_each(|(path, bytes)| image.put(&path, bytes));
    Arc::new(image)
}

#[derive(Clone, Debug)]
enum Step {
    Append { entries: Vec<(u64, Option<u64>)>, codec: usize },
    Compact { after: i64 },
    Close,
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    let entries = proptest::collection::vec((0_u64..6, proptest::option::weighted(0.8, 0_u64..1_000)), 1..8);
    prop_oneof![
        8 => (entries, 0_usize..5).prop_map(|(entries, codec)| Step::Append { entries, codec }),
        2 => (0_i64..1_500).prop_map(|after| Step::Compact { after }),
        1 => Just(Step::Close),
        1 => Just(Step::Kill),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn what_is_left_is_what_a_naive_list_would_keep(steps in proptest::collection::vec(step(), 1..60)) {
        let mut storage = Arc::new(MemoryStorage::default());
        let (mut broker, _) = create(&storage, &[]);
        let (mut model, mut now) = (Model::default(), 0);
        for step in steps {
            let log = partition(&broker).unwrap();
            match step {
                Step::Append { entries, codec } => {
                    let entries: Vec<Entry> =
                        entries.iter().map(|(key, value)| entry(*key, *value, now + *key as i64)).collect();
                    model.append(&log, &entries, CODECS[codec]).unwrap();
                }
                Step::Compact { after } => {
                    now += after;
                    log.compact(now, true).unwrap();
                    model.compact(now);
                }
                Step::Close | Step::Kill => {
                    if matches!(step, Step::Close) {
                        broker.close().unwrap();
                    }
                    let (start, end) = (log.log_start_offset(), log.next_offset());
                    storage = copy(&storage);
                    broker = workload::open(&storage).unwrap();
                    prop_assert!(broker.warnings().is_empty(), "{:?}", broker.warnings());
                    let again = partition(&broker).unwrap();
                    prop_assert_eq!((again.log_start_offset(), again.next_offset()), (start, end));
                }
            }
            let log = partition(&broker).unwrap();
            prop_assert_eq!(&read(&log, Isolation::Uncommitted), &model.records);
        }
    }
}

#[test]
fn reading_at_an_offset_or_a_time_that_is_gone_goes_on_at_the_next() {
    let storage = Arc::new(MemoryStorage::default());
    let (broker, log) = create(&storage, &[]);
    let mut model = Model::default();
    fill(&log, &mut model, 40, 150);
    let original = model.clone();
    log.compact(0, true).unwrap();
    model.compact(0);
    fill(&log, &mut model, 40, 4);
    assert!(model.records.len() < original.records.len() / 4);
    broker.close().unwrap();
    let again = workload::open(&storage).unwrap();
    for log in [log_of(&again), log_of(&workload::open(&copy(&storage)).unwrap())] {
        for offset in 0..log.next_offset() {
            let expected: BTreeMap<u64, Entry> =
                model.records.range(offset..).map(|(at, entry)| (*at, entry.clone())).collect();
            assert_eq!(read_from(&log, offset, Isolation::Uncommitted, 256), expected, "offset {offset}");
        }
        for timestamp in (0..original.records.len() as i64 * 10).step_by(7) {
            let expected = model.records.iter().find(|(_, entry)| entry.timestamp >= timestamp);
            let found = log.offset_for_timestamp(timestamp).unwrap();
            assert_eq!(found, expected.map(|(offset, entry)| (*offset, entry.timestamp)), "time {timestamp}");
        }
    }
}

fn log_of(broker: &Broker) -> Arc<Partition> {
    partition(broker).unwrap()
}

#[test]
fn small_segments_become_one_and_the_active_one_is_left_alone() {
    let storage = Arc::new(MemoryStorage::default());
    let (_broker, log) = create(&storage, &[("min.cleanable.dirty.ratio", "0.5"), ("min.compaction.lag.ms", "1")]);
    let mut model = Model::default();
    fill(&log, &mut model, 5, 150);
    let before = segments(&storage);
    let active = before.last().unwrap();
    let bytes = storage.contents()[active].clone();
    let done = log.compact(NOW, false).unwrap();
    assert_eq!(storage.contents()[active], bytes);
    assert_eq!(done.segments_before, before.len() - 1);
    assert!(done.bytes_after < done.bytes_before / 4 && done.records_after < done.records_before, "{done:?}");
    assert_eq!(read(&log, Isolation::Uncommitted).len() as u64, done.records_after + records_in(&bytes));
    // The next pass of all puts together what is small by now.
    log.compact(NOW, true).unwrap();
    model.compact(NOW);
    log.compact(NOW, true).unwrap();
    assert_eq!(segments(&storage).len(), 2);
    assert_eq!(read(&log, Isolation::Uncommitted), model.records);
    assert!(log.size_bytes() <= 1_024);
}

fn records_in(log: &[u8]) -> u64 {
    let (mut rest, mut count) = (bytes_of(log), 0);
    while !rest.is_empty() {
        let (batch, tail) = headwater_record::Batch::split(&rest).unwrap();
        (count, rest) = (count + u64::from(batch.header.records_count), tail);
    }
    count
}

fn bytes_of(log: &[u8]) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(log)
}

#[test]
fn it_is_done_when_enough_is_dirty_and_not_before() {
    let settings = [("min.cleanable.dirty.ratio", "0.5"), ("min.compaction.lag.ms", "1")];
    let storage = Arc::new(MemoryStorage::default());
    let (broker, log) = create(&storage, &settings);
    let mut model = Model::default();
    assert_eq!(log.compact(NOW, false).unwrap(), Compaction::default());
    fill(&log, &mut model, 100, 200);
    assert!(log.compact(NOW, false).unwrap().segments_before > 0);
    // A tenth of what is clean is not enough, nor after a restart.
    fill(&log, &mut model, 100, 20);
    for _ in 0..2 {
        assert_eq!(log.compact(NOW, false).unwrap(), Compaction::default());
    }
    broker.close().unwrap();
    let broker = open(&storage);
    let log = log_of(&broker);
    assert_eq!(log.compact(NOW, false).unwrap(), Compaction::default());
    fill(&log, &mut model, 100, 200);
    assert!(log.compact(NOW, false).unwrap().segments_before > 0);
}

#[test]
fn the_lags_say_what_is_too_young_and_what_has_waited_for_too_long() {
    for (lag, is_compacted) in [("min.compaction.lag.ms", false), ("max.compaction.lag.ms", true)] {
        let storage = Arc::new(MemoryStorage::default());
        let more = [(lag, "100000"), ("min.cleanable.dirty.ratio", if is_compacted { "1" } else { "0" })];
        let (_broker, log) = create(&storage, &more);
        fill(&log, &mut Model::default(), 5, 100);
        let now = if is_compacted { 100_100 } else { 100_000 };
        let done = log.compact(now, false).unwrap();
        assert_eq!(done.segments_before > 0, is_compacted, "{lag}: {done:?}");
    }
}

#[test]
fn a_record_without_a_key_is_refused_and_the_others_appended() {
    let storage = Arc::new(MemoryStorage::default());
    let (_broker, log) = create(&storage, &[]);
    for codec in CODECS {
        let mut builder = BatchBuilder::new();
        builder.push(0, Some(b"key"), Some(b"value"), b"");
        let good = builder.clone().finish(codec).unwrap();
        builder.push(0, None, Some(b"value"), b"");
        let refused = log.append(builder.finish(codec).unwrap()).unwrap_err();
        assert_eq!(refused.kind(), Kind::Invalid);
        assert!(refused.to_string().contains("record 1 of a batch without one - at topic 't'"), "{refused}");
        log.append(good).unwrap();
    }
    assert_eq!(log.next_offset(), CODECS.len() as u64);
}

#[test]
fn records_without_a_key_from_before_the_topic_was_compacted_stay() {
    let storage = Arc::new(MemoryStorage::default());
    let broker = workload::open(&storage).unwrap();
    let log = Arc::clone(&broker.create_topic("t", 1, workload::settings(&SETTINGS[1..])).unwrap().partitions[0]);
    for first in (0..60).step_by(5) {
        log.append(workload::batch(first, 5, Codec::Lz4)).unwrap();
    }
    broker.set_topic_config("t", workload::settings(&SETTINGS)).unwrap();
    broker.close().unwrap();
    let broker = workload::open(&storage).unwrap();
    log_of(&broker).compact(0, true).unwrap();
    assert_eq!(workload::read_all(&log_of(&broker)).len(), 60);
}

#[test]
fn a_topic_that_is_no_longer_compacted_still_knows_that_it_has_gaps() {
    let storage = Arc::new(MemoryStorage::default());
    let (broker, log) = create(&storage, &[]);
    let mut model = Model::default();
    fill(&log, &mut model, 5, 100);
    log.compact(0, true).unwrap();
    model.compact(0);
    broker.set_topic_config("t", workload::settings(&[("cleanup.policy", "delete")])).unwrap();
    broker.close().unwrap();
    for _ in 0..2 {
        let broker = workload::open(&copy(&storage)).unwrap();
        assert!(broker.warnings().is_empty(), "{:?}", broker.warnings());
        assert_eq!(read(&log_of(&broker), Isolation::Uncommitted), model.records);
        assert_eq!(log_of(&broker).compact(0, true).unwrap(), Compaction::default());
        // Without the clean close: every segment is walked.
        storage.put("t-0/00000000000000000000.index", vec![1]);
    }
}

#[test]
fn damage_is_left_as_it_is_and_nothing_that_answers_it_is_dropped() {
    let storage = Arc::new(MemoryStorage::default());
    let (broker, log) = create(&storage, &[]);
    let mut model = Model::default();
    model.append(&log, &[entry(7, Some(1), 0), entry(8, Some(2), 0)], Codec::None).unwrap();
    fill(&log, &mut model, 5, 60);
    model.append(&log, &[entry(7, None, 0)], Codec::None).unwrap();
    fill(&log, &mut model, 5, 60);
    broker.close().unwrap();
    let path = segments(&storage).swap_remove(0);
    let mut bytes = storage.contents()[&path].clone();
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    storage.put(&path, bytes.clone());
    for is_found_on_the_way in [true, false] {
        let storage = copy(&storage);
        if !is_found_on_the_way {
            storage.put("t-0/00000000000000000000.index", vec![1]);
        }
        let broker = workload::open(&storage).unwrap();
        let log = log_of(&broker);
        let tombstone = model.last()[&entry(7, None, 0).key];
        for now in [0, 2_000, 4_000] {
            match log.compact(now, true) {
                Err(error) => assert!(error.kind() == Kind::Corrupt && is_found_on_the_way && now == 0, "{error}"),
                Ok(done) => assert!(now > 0 || done.bytes_after < done.bytes_before),
            }
        }
        assert_eq!(storage.contents()[&path], bytes);
        let found = workload::read_around(&log, 0);
        assert!(found.contains_key(&0) && found.contains_key(&tombstone), "{found:?}");
        // Behind the damage each key is there once, or as a tombstone.
        let next_base = segments(&storage)[1].split('/').next_back().unwrap().trim_end_matches(".log").parse().unwrap();
        let last = model.last();
        let expected: Vec<u64> = last.values().copied().filter(|offset| *offset >= next_base).collect();
        let mut found: Vec<u64> = found.range(next_base..).map(|(offset, _)| *offset).collect();
        found.sort_unstable();
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}

#[test]
fn a_reader_beside_the_writer_sees_the_log_before_and_after() {
    let storage = Arc::new(MemoryStorage::default());
    let (_broker, log) = create(&storage, &[]);
    let mut model = Model::default();
    fill(&log, &mut model, 5, 100);
    let options = || Options { mode: Mode::Read, ..Options::default() };
    let reader = || Broker::open(Arc::clone(&storage) as Arc<dyn Storage>, options()).unwrap();
    let before = reader();
    let original = model.records.clone();
    log.compact(0, true).unwrap();
    model.compact(0);
    assert_eq!(read(&log_of(&before), Isolation::Uncommitted), original);
    assert_eq!(read(&log_of(&reader()), Isolation::Uncommitted), model.records);
}

#[test]
fn a_reader_who_follows_misses_nothing_that_was_compacted_into_a_segment_he_has() {
    let storage = Arc::new(MemoryStorage::default());
    let (broker, log) = create(&storage, &[]);
    let mut model = Model::default();
    fill(&log, &mut model, 3, 1);
    let options = Options { mode: Mode::Read, ..Options::default() };
    let reader = Broker::open(Arc::clone(&storage) as Arc<dyn Storage>, options).unwrap();
    let found = || reader.with_partition("t", 0, |log| Ok(read(log, Isolation::Uncommitted))).unwrap();
    assert_eq!(found(), model.records);
    let segments_of = |bytes: &str| {
        let settings = workload::settings(&[&SETTINGS[..], &[("segment.bytes", bytes)]].concat());
        broker.set_topic_config("t", settings).unwrap();
    };
    for round in 0..3 {
        // New keys each time, so that what is missed is missed for ever.
        for n in 0..30 {
            model.append(&log, &[entry(100 * (round + 1) + n, Some(n), 0)], Codec::None).unwrap();
        }
        assert!(log.describe().segments.len() > 2);
        segments_of("1000000");
        log.compact(0, true).unwrap();
        segments_of("1024");
        model.compact(0);
        assert_eq!(log.describe().segments.len(), 2);
        model.append(&log, &[entry(1, Some(round), 0)], Codec::None).unwrap();
        let found = found();
        for (offset, entry) in &model.records {
            assert_eq!(found.get(offset), Some(entry), "round {round}: offset {offset}");
        }
    }
}
