//! Compaction of logs with transactions: aborted records go, committed ones count, markers outlive what they decide, and a
//! producer's last batch says what it said. Such logs are built as files: clients do not append markers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "support/compacted.rs"]
mod compacted;
#[path = "support/workload.rs"]
mod workload;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use compacted::{Entry, Model, SETTINGS, entry, partition, read};
use headwater_log::storage::MemoryStorage;
use headwater_log::{Broker, Isolation};
use headwater_record::{Batch, BatchBuilder, Codec, ControlType, Header, Marker, ProducerFields};
use proptest::prelude::*;

/// A log of batches in the making.
#[derive(Debug, Default)]
struct Files {
    segments: Vec<(u64, Vec<u8>)>,
    next_offset: u64,
    /// Offset, producer if the record is transactional, record.
    records: Vec<(u64, Option<i64>, Entry)>,
    sequences: BTreeMap<i64, i32>,
    /// First offset of the open transaction of each producer.
    open: BTreeMap<i64, u64>,
    aborted: BTreeSet<u64>,
}

impl Files {
    fn push(&mut self, mut bytes: Vec<u8>, count: u64, begins_segment: bool) {
        bytes[..8].copy_from_slice(&self.next_offset.to_be_bytes());
        if begins_segment || self.segments.is_empty() {
            self.segments.push((self.next_offset, Vec::new()));
        }
        self.segments.last_mut().unwrap().1.extend_from_slice(&bytes);
        self.next_offset += count;
    }

    fn data(&mut self, producer: Option<i64>, is_transactional: bool, entries: &[Entry], begins_segment: bool) {
        let mut builder = BatchBuilder::new();
        for entry in entries {
            builder.push(entry.timestamp, Some(&entry.key), entry.value.as_deref(), b"");
        }
        let owner = producer.filter(|_| is_transactional);
        self.records.extend((self.next_offset..).zip(entries).map(|(offset, entry)| (offset, owner, entry.clone())));
        if let Some(id) = owner {
            self.open.entry(id).or_insert(self.next_offset);
        }
        let count = entries.len() as i32;
        let fields = producer.map_or_else(ProducerFields::default, |id| {
            let sequence = self.sequences.entry(id).or_default();
            *sequence += count;
            ProducerFields { id, epoch: 1, base_sequence: *sequence - count, is_transactional }
        });
        self.push(builder.finish_as(Codec::Lz4, fields).unwrap(), count as u64, begins_segment);
    }

    fn marker(&mut self, id: i64, is_commit: bool, begins_segment: bool) {
        if !is_commit {
            self.abort(id);
        }
        if self.open.remove(&id).is_none() {
            return;
        }
        let kind = if is_commit { ControlType::Commit } else { ControlType::Abort };
        self.push(Marker { kind, coordinator_epoch: 0 }.to_batch(id, 1, 0), 1, begins_segment);
    }

    fn abort(&mut self, id: i64) {
        let Some(first) = self.open.get(&id) else { return };
        let of_transaction = |record: &&(u64, Option<i64>, Entry)| record.0 >= *first && record.1 == Some(id);
        self.aborted.extend(self.records.iter().filter(of_transaction).map(|(offset, _, _)| *offset));
    }

    /// The transactions that are open: whoever opens the log aborts them.
    fn abandoned(&self) -> BTreeSet<i64> {
        self.open.keys().copied().collect()
    }

    /// A directory with a compacted topic whose partition these files are.
    fn storage(&self) -> Arc<MemoryStorage> {
        let storage = Arc::new(MemoryStorage::default());
        let broker = workload::open(&storage).unwrap();
        broker.create_topic("t", 1, workload::settings(&SETTINGS)).unwrap();
        drop(broker);
        let image = MemoryStorage::default();
        for (path, bytes) in storage.contents().into_iter().filter(|(path, _)| !path.starts_with("t-0/")) {
            image.put(&path, bytes);
        }
        for (base, bytes) in &self.segments {
            image.put(&format!("t-0/{base:020}.log"), bytes.clone());
        }
        Arc::new(image)
    }

    /// What a reader of committed records sees after a compaction of everything.
    fn committed(&self) -> BTreeMap<u64, Entry> {
        let seen = self.records.iter().filter(|(at, _, _)| !self.aborted.contains(at));
        let last: BTreeMap<&[u8], u64> = seen.clone().map(|(at, _, entry)| (&entry.key[..], *at)).collect();
        seen.filter(|(at, _, entry)| last[&entry.key[..]] == *at).map(|(at, _, entry)| (*at, entry.clone())).collect()
    }
}

/// The batches that lie in the partition's files.
fn batches(storage: &MemoryStorage) -> Vec<Batch> {
    let mut found = Vec::new();
    for (path, bytes) in storage.contents() {
        if path.starts_with("t-0/") && path.ends_with(".log") {
            let mut rest = bytes.into();
            while let Ok((batch, tail)) = Batch::split(&rest) {
                batch.verify().unwrap();
                found.push(batch);
                rest = tail;
            }
        }
    }
    found
}

/// Up to which sequence number each producer came.
fn sequences(storage: &MemoryStorage) -> BTreeMap<i64, i32> {
    let of_producer = |header: &Header| header.producer_id >= 0 && !header.is_control();
    let headers = batches(storage).into_iter().map(|batch| batch.header).filter(of_producer);
    headers.map(|header| (header.producer_id, header.base_sequence + header.last_offset_delta as i32 + 1)).collect()
}

fn reopen(storage: &Arc<MemoryStorage>) -> (Arc<MemoryStorage>, Broker) {
    let image = MemoryStorage::default();
    storage.contents().into_iter().for_each(|(path, bytes)| image.put(&path, bytes));
    let image = Arc::new(image);
    let broker = workload::open(&image).unwrap();
    (image, broker)
}

#[derive(Clone, Debug)]
enum Step {
    Data { producer: i64, is_transactional: bool, entries: Vec<(u64, Option<u64>)>, begins_segment: bool },
    End { producer: i64, is_commit: bool, begins_segment: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let entries = proptest::collection::vec((0_u64..6, proptest::option::weighted(0.9, 0_u64..100)), 1..5);
    let begins = || proptest::bool::weighted(0.2);
    prop_oneof![
        3 => (-1_i64..4, any::<bool>(), entries, begins()).prop_map(|(producer, is_transactional, entries, begins_segment)| {
            Step::Data { producer, is_transactional, entries, begins_segment }
        }),
        1 => (0_i64..4, any::<bool>(), begins())
            .prop_map(|(producer, is_commit, begins_segment)| Step::End { producer, is_commit, begins_segment }),
    ]
}

fn build(steps: Vec<Step>) -> Files {
    let mut files = Files::default();
    for step in steps {
        match step {
            Step::Data { producer, is_transactional, entries, begins_segment } => {
                let entries: Vec<Entry> =
                    entries.iter().map(|(key, value)| entry(*key, *value, files.next_offset as i64)).collect();
                let producer = (producer >= 0).then_some(producer);
                // A producer is transactional or is not.
                let is_transactional = producer.is_some_and(|id| id % 2 == 0) && is_transactional;
                files.data(
                    producer,
                    is_transactional || producer.is_some_and(|id| id % 2 == 0),
                    &entries,
                    begins_segment,
                );
            }
            Step::End { producer, is_commit, begins_segment } => files.marker(producer, is_commit, begins_segment),
        }
    }
    files
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn committed_records_are_compacted_and_aborted_ones_go(steps in proptest::collection::vec(step(), 1..60)) {
        let mut files = build(steps);
        let abandoned = files.abandoned();
        abandoned.iter().for_each(|id| files.abort(*id));
        let expected = files.committed();
        let mut storage = files.storage();
        let mut broker = workload::open(&storage).unwrap();
        // A marker of a new epoch says more of a producer than its last batch does.
        let known = |sequences: &BTreeMap<i64, i32>| -> BTreeMap<i64, i32> {
            sequences.iter().filter(|(id, _)| !abandoned.contains(id)).map(|(id, next)| (*id, *next)).collect()
        };
        for now in [0, 500, 1_000, 2_000, 3_000, 4_000] {
            partition(&broker).unwrap().compact(now, true).unwrap();
            // In memory, and derived from the files anew.
            for is_anew in [false, true] {
                if is_anew {
                    (storage, broker) = reopen(&storage);
                    prop_assert!(broker.warnings().is_empty(), "{:?}", broker.warnings());
                }
                let log = partition(&broker).unwrap();
                prop_assert_eq!(log.last_stable_offset(), files.next_offset + abandoned.len() as u64);
                let is_kept = |entry: &Entry| entry.value.is_some() || now < 1_000;
                let expected: BTreeMap<u64, Entry> =
                    expected.iter().filter(|(_, entry)| is_kept(entry)).map(|(at, entry)| (*at, entry.clone())).collect();
                prop_assert_eq!(&read(&log, Isolation::Committed), &expected);
                prop_assert_eq!(&read(&log, Isolation::Uncommitted), &expected);
                prop_assert_eq!(known(&sequences(&storage)), known(&files.sequences));
            }
        }
        // In the end a marker is there because some of its transaction is, or to tell its producer's epoch.
        let mut in_transaction = BTreeSet::new();
        for header in batches(&storage).iter().map(|batch| batch.header) {
            if !header.is_control() {
                in_transaction.insert(header.producer_id);
                continue;
            }
            let is_newest = abandoned.contains(&header.producer_id) && header.producer_epoch == 2;
            prop_assert!(in_transaction.remove(&header.producer_id) || is_newest, "marker at {}", header.base_offset);
        }
    }
}

#[test]
fn nothing_behind_an_open_transaction_is_touched_or_counts() {
    for is_commit in [true, false] {
        let broker = workload::open(&Arc::new(MemoryStorage::default())).unwrap();
        let log = Arc::clone(&broker.create_topic("t", 1, workload::settings(&SETTINGS)).unwrap().partitions[0]);
        let mut model = Model::default();
        for n in 0..9 {
            model.append(&log, &[entry(n % 3, Some(n), 0)], Codec::None).unwrap();
        }
        let producer = broker.transactional_producer("loader", 60_000).unwrap();
        producer.begin().unwrap();
        let mut builder = BatchBuilder::new();
        let open = entry(0, Some(100), 0);
        builder.push(0, Some(&open.key), open.value.as_deref(), b"");
        producer.append(&log, builder, Codec::None).unwrap();
        let mut later = Model::default();
        later.append(&log, &[entry(1, Some(101), 0), entry(1, Some(102), 0)], Codec::None).unwrap();
        log.compact(0, true).unwrap();
        model.compact(0);
        assert_eq!(log.last_stable_offset(), 9);
        assert_eq!(read(&log, Isolation::Committed), model.records);
        model.records.insert(9, open);
        model.records.extend(later.records);
        assert_eq!(read(&log, Isolation::Uncommitted), model.records);
        if is_commit {
            producer.commit().unwrap();
        } else {
            producer.abort().unwrap();
            model.records.remove(&9);
        }
        log.compact(0, true).unwrap();
        model.compact(0);
        assert_eq!(read(&log, Isolation::Uncommitted), model.records);
    }
}

#[test]
fn a_marker_stays_until_readers_have_had_time_to_see_it() {
    let mut files = Files::default();
    files.data(Some(2), true, &[entry(1, Some(1), 0)], false);
    files.marker(2, false, false);
    files.data(Some(2), true, &[entry(1, Some(2), 0)], true);
    files.marker(2, true, false);
    let storage = files.storage();
    let broker = workload::open(&storage).unwrap();
    let log = partition(&broker).unwrap();
    let markers = || {
        let of = |batch: &Batch| batch.records().unwrap().marker().unwrap().kind;
        let found = batches(&storage).into_iter().filter(|batch| batch.header.is_control());
        found.map(|batch| (of(&batch), batch.header.delete_horizon())).collect::<Vec<_>>()
    };
    // The first pass drops the aborted record, the second sees that nothing is left of it, and a second later it may go.
    for (now, abort) in [(0, Some(None)), (100, Some(Some(1_100))), (1_099, Some(Some(1_100))), (1_100, None)] {
        log.compact(now, true).unwrap();
        let expected: Vec<_> = abort.map(|horizon| (ControlType::Abort, horizon)).into_iter().collect();
        assert_eq!(markers(), [expected, vec![(ControlType::Commit, None)]].concat(), "at {now}");
    }
}
