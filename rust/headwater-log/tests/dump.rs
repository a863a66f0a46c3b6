//! A dump shows what lies in single files, good or bad, ours or Kafka's.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "../../headwater-record/tests/support/fixtures.rs"]
mod fixtures;
#[path = "support/workload.rs"]
mod workload;

use std::sync::Arc;

use headwater_log::dump::{self, Entry, OffsetsEntry};
use headwater_log::storage::MemoryStorage;
use headwater_record::{Codec, ControlType, Header, Marker};

const LOG: &str = "t-0/00000000000000000000.log";

fn put(topic: &str) -> MemoryStorage {
    let storage = MemoryStorage::default();
    for (file, contents) in fixtures::files(topic, "") {
        storage.put(&format!("t-0/{file}"), contents);
    }
    storage
}

fn every(storage: &MemoryStorage, path: &str) -> Vec<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    loop {
        let position = found.last().map_or(0, |entry| entry.end);
        let more = dump::log(storage, path, position, 3, true).unwrap();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

#[test]
fn logs_that_kafka_wrote_are_shown_record_by_record() {
    for topic in fixtures::TOPICS {
        let storage = put(topic);
        let mut records = Vec::new();
        for (file, contents) in fixtures::files(topic, ".log") {
            let entries = every(&storage, &format!("t-0/{file}"));
            assert_eq!(entries.last().map_or(0, |entry| entry.end), contents.len() as u64);
            assert!(entries.iter().all(|entry| entry.fault.is_none()), "{topic}");
            records.extend(
                entries.into_iter().filter(|entry| !entry.header.unwrap().is_control()).flat_map(|e| e.records),
            );
        }
        let sent = fixtures::sent(topic);
        assert_eq!(records.len(), sent.len());
        for (record, sent) in records.iter().zip(&sent) {
            assert_eq!((record.offset, record.value.as_deref()), (sent.offset, sent.value.as_deref()), "{topic}");
        }
    }
}

#[test]
fn markers_and_indexes_of_transactions_are_shown() {
    let storage = put("java-transactions");
    let files = fixtures::files("java-transactions", ".log");
    let entries: Vec<Entry> = files.iter().flat_map(|(file, _)| every(&storage, &format!("t-0/{file}"))).collect();
    let markers: Vec<_> = entries
        .iter()
        .filter(|entry| entry.header.unwrap().is_control())
        .map(|entry| {
            (
                entry.header.unwrap().producer_id,
                entry.header.unwrap().base_offset,
                Marker::parse(entry.records[0].key.as_deref(), entry.records[0].value.as_deref()).unwrap().kind
                    == ControlType::Commit,
            )
        })
        .collect();
    assert!(markers.iter().any(|marker| marker.2) && markers.iter().any(|marker| !marker.2), "{markers:?}");
    let (aborted, rest) = dump::aborted_transactions(&storage, "t-0/00000000000000000050.txnindex").unwrap();
    assert!(rest == 0 && !aborted.is_empty());
    for transaction in aborted {
        let marker = (transaction.producer_id, transaction.last_offset as u64, false);
        assert!(markers.contains(&marker), "{transaction:?} {markers:?}");
    }
}

#[test]
fn producers_of_a_snapshot_are_those_of_the_log() {
    let mut with_records = 0;
    for topic in fixtures::TOPICS {
        let storage = put(topic);
        let logs = fixtures::files(topic, ".log");
        let entries: Vec<Entry> = logs.iter().flat_map(|(file, _)| every(&storage, &format!("t-0/{file}"))).collect();
        // The last one speaks of the whole log.
        let Some((file, _)) = fixtures::files(topic, ".snapshot").pop() else { continue };
        let (producers, fault) = dump::snapshot(&storage, &format!("t-0/{file}")).unwrap();
        assert_eq!(fault, None, "{topic}");
        for producer in producers {
            let is_its = |header: &Header| header.producer_id == producer.producer_id && !header.is_control();
            let last = entries.iter().filter_map(|entry| entry.header).rfind(is_its).unwrap();
            assert!(last.producer_epoch <= producer.producer_epoch, "{topic}");
            if producer.last_offset >= 0 {
                with_records += 1;
                assert_eq!(last.last_offset() as i64, producer.last_offset, "{topic}");
                assert_eq!(last.base_sequence + last.last_offset_delta as i32, producer.last_sequence, "{topic}");
            }
        }
    }
    assert!(with_records > 0);
    let (storage, path) = (put("java-transactions"), "t-0/00000000000000000510.snapshot");
    let mut bytes = storage.contents()[path].clone();
    bytes[20] ^= 1;
    storage.put(path, bytes[..].to_vec());
    assert!(dump::snapshot(&storage, path).unwrap().1.unwrap().contains("checksum"));
    storage.put(path, vec![0; 3]);
    assert!(dump::snapshot(&storage, path).unwrap().1.is_some());
}

#[test]
fn bad_bytes_are_shown_and_the_dump_goes_on() {
    let storage = Arc::new(MemoryStorage::default());
    let broker = workload::open(&storage).unwrap();
    let partition = Arc::clone(&broker.create_topic("t", 1, workload::settings(&[])).unwrap().partitions[0]);
    for first in (0..20).step_by(5) {
        partition.append(workload::batch(first, 5, Codec::None)).unwrap();
    }
    broker.close().unwrap();
    let good = every(&storage, LOG);
    assert_eq!(good.len(), 4);
    let mut bytes = storage.contents()[LOG].clone();
    bytes[good[1].position as usize + 70] ^= 1; // its checksum is wrong
    bytes[good[2].position as usize + 16] = 9; // no batch at all
    storage.put(LOG, bytes);
    let found = every(&storage, LOG);
    let positions = |entries: &[Entry]| entries.iter().map(|entry| (entry.position, entry.end)).collect::<Vec<_>>();
    assert_eq!(positions(&found), positions(&good));
    assert!(found[1].header.is_some() && found[1].fault.as_ref().unwrap().contains("checksum"));
    assert!(found[2].header.is_none() && found[2].fault.as_ref().unwrap().contains("format 9"));
    assert!(found[0].fault.is_none() && found[3].fault.is_none());
}

#[test]
fn the_files_beside_a_log_are_shown_as_they_are() {
    let storage = Arc::new(MemoryStorage::default());
    let broker = workload::open(&storage).unwrap();
    let settings = workload::settings(&[("segment.bytes", "2000"), ("index.interval.bytes", "100")]);
    let partition = Arc::clone(&broker.create_topic("t", 1, settings).unwrap().partitions[0]);
    for first in (0..60).step_by(5) {
        partition.append(workload::batch(first, 5, Codec::None)).unwrap();
    }
    broker.close().unwrap();
    let segments = partition.describe().segments;
    let stem = format!("t-0/{:020}", segments[1].base_offset);
    let logged = every(&storage, &format!("{stem}.log"));
    let (offsets, rest) = dump::offset_index(&*storage, &format!("{stem}.index")).unwrap();
    assert!(rest == 0 && !offsets.is_empty());
    for (offset, position) in offsets {
        let entry = logged.iter().find(|entry| entry.position == u64::from(position)).unwrap();
        assert_eq!(entry.header.unwrap().last_offset(), offset);
    }
    let (times, _) = dump::time_index(&*storage, &format!("{stem}.timeindex")).unwrap();
    assert_eq!(times.last().map(|(timestamp, offset)| (*timestamp, *offset * 10)), {
        let last = segments[1].next_offset - 1;
        Some((last as i64 * 10, last * 10))
    });
    let newest = dump::mark(&*storage, "t-0/headwater.mark").unwrap().into_iter().max_by_key(|slot| slot.sequence);
    assert_eq!(newest.unwrap().durable, 60);
    storage.put("t-0/x.index", vec![0; 11]);
    assert_eq!(dump::offset_index(&*storage, "t-0/x.index").unwrap(), (vec![(0, 0)], 3));
    assert!(dump::log(&*storage, "t-0/y.log", 0, 1, false).is_err());
}

#[test]
fn commits_are_decoded() {
    let storage = Arc::new(MemoryStorage::default());
    let broker = workload::open(&storage).unwrap();
    broker.commit_offsets("g", &[("t".into(), 3, 42, "a note".into())]).unwrap();
    broker.offsets().delete("g").unwrap();
    let decoded: Vec<_> = every(&storage, "__consumer_offsets-0/00000000000000000000.log")
        .iter()
        .flat_map(|entry| &entry.records)
        .map(|record| dump::offsets_entry(record.key.as_ref().unwrap(), record.value.as_deref()).unwrap())
        .map(|entry| match entry {
            OffsetsEntry::Offset { group, topic, partition, committed } => {
                (group, topic, partition, committed.map(|found| found.unwrap()).map(|(offset, note, _)| (offset, note)))
            }
            OffsetsEntry::Other { .. } => panic!("{entry:?}"),
        })
        .collect();
    let place = || ("g".to_owned(), "t".to_owned(), 3);
    let expected = [Some((42, "a note".to_owned())), None].map(|found| (place().0, place().1, place().2, found));
    assert_eq!(decoded, expected);
    let other = dump::offsets_entry(b"\0\x02\0\x01g", Some(b"?"));
    assert_eq!(other, Some(OffsetsEntry::Other { version: 2, group: Some("g".into()) }));
    assert_eq!(dump::offsets_entry(b"\0", None), None);
}
