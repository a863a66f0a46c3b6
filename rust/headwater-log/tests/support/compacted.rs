//! A compacted topic as a naive list: what must be readable after every step.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_log::{Isolation, Partition, Result};
use headwater_record::{BatchBuilder, Codec};

/// How long tombstones stay, by the settings of these tests.
pub(crate) const DELETE_RETENTION_MS: i64 = 1_000;

/// Settings of a compacted topic with small segments, which nothing compacts but the test itself.
pub(crate) const SETTINGS: [(&str, &str); 5] = [
    ("cleanup.policy", "compact"),
    ("segment.bytes", "1024"),
    ("index.interval.bytes", "100"),
    ("delete.retention.ms", "1000"),
    ("min.cleanable.dirty.ratio", "1"),
];

/// A record: key, value, timestamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) timestamp: i64,
}

/// Every record there should be, by offset.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) records: BTreeMap<u64, Entry>,
    /// When a tombstone may go.
    pub(crate) horizons: BTreeMap<u64, i64>,
}

impl Model {
    pub(crate) fn append(&mut self, partition: &Partition, entries: &[Entry], codec: Codec) -> Result<()> {
        let mut builder = BatchBuilder::new();
        for entry in entries {
            builder.push(entry.timestamp, Some(&entry.key), entry.value.as_deref(), b"");
        }
        let appended = partition.append(builder.finish(codec).unwrap())?;
        self.records.extend((appended.base_offset..).zip(entries.iter().cloned()));
        partition.wait_durable(appended.next_offset)
    }

    /// What a compaction of everything leaves.
    pub(crate) fn compact(&mut self, now: i64) {
        let last = self.last();
        self.records.retain(|offset, entry| last[&entry.key] == *offset);
        let horizons = &mut self.horizons;
        self.records
            .retain(|offset, entry| entry.value.is_some() || horizons.get(offset).is_none_or(|horizon| now < *horizon));
        for (offset, _) in self.records.iter().filter(|(_, entry)| entry.value.is_none()) {
            horizons.entry(*offset).or_insert(now + DELETE_RETENTION_MS);
        }
    }

    /// The offset of the last record of each key.
    pub(crate) fn last(&self) -> BTreeMap<Vec<u8>, u64> {
        self.records.iter().map(|(offset, entry)| (entry.key.clone(), *offset)).collect()
    }

    /// The value of each key that has one.
    pub(crate) fn table(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut table = BTreeMap::new();
        for entry in self.records.values() {
            match &entry.value {
                Some(value) => drop(table.insert(entry.key.clone(), value.clone())),
                None => drop(table.remove(&entry.key)),
            }
        }
        table
    }
}

/// Every record that can be read, by offset; reading must get on.
pub(crate) fn read(partition: &Partition, isolation: Isolation) -> BTreeMap<u64, Entry> {
    read_from(partition, partition.log_start_offset(), isolation, 1 << 14)
}

pub(crate) fn read_from(
    partition: &Partition,
    mut offset: u64,
    isolation: Isolation,
    max_bytes: usize,
) -> BTreeMap<u64, Entry> {
    let (mut found, first) = (BTreeMap::new(), offset);
    // Asked again and again: a record may be superseded by one that was not there yet when reading began.
    let end = || match isolation {
        Isolation::Committed => partition.last_stable_offset(),
        Isolation::Uncommitted => partition.high_watermark(),
    };
    while offset < end() {
        let fetched = partition.read(offset, max_bytes, isolation).unwrap();
        for batch in &fetched.batches {
            for record in &batch.records().unwrap() {
                let record = record.unwrap();
                let entry = Entry {
                    key: record.key.unwrap_or_default().to_vec(),
                    value: record.value.map(<[u8]>::to_vec),
                    timestamp: record.timestamp,
                };
                if record.offset >= first {
                    assert!(found.last_key_value().is_none_or(|(last, _)| *last < record.offset), "order");
                    found.insert(record.offset, entry);
                }
            }
        }
        assert!(fetched.next_offset > offset, "no progress at offset {offset}");
        offset = fetched.next_offset;
    }
    found
}

/// Key number so-and-so gets a value, or none.
pub(crate) fn entry(key: u64, value: Option<u64>, timestamp: i64) -> Entry {
    let value = value.map(|value| format!("value {value} {}", "x".repeat(value as usize % 40)).into_bytes());
    Entry { key: format!("key {key}").into_bytes(), value, timestamp }
}

/// A partition of an open broker.
pub(crate) fn partition(broker: &headwater_log::Broker) -> Result<Arc<Partition>> {
    broker.partition("t", 0)
}
