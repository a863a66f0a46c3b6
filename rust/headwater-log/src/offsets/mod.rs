//! Committed offsets of consumer groups, in the topic `__consumer_offsets` and in Kafka's own schema.
//!
//! A commit is one batch of one record per partition: all of it is there after a crash, or nothing. The key is {version 1,
//! group, topic, partition}, the value {version 3, offset, leader epoch, metadata, commit time}; a null value forgets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headwater_record::{BatchBuilder, Codec};
use parking_lot::{Mutex, RwLock};

use self::schema::{Key, STRING_MAX};
use crate::{Clock, Error, Isolation, Partition, Result};

pub(crate) mod schema;

/// The topic that commits are in.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// What a group committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: u64,
    /// The committer's own words.
    pub metadata: String,
}

type Places = BTreeMap<(String, u32), CommittedOffset>;

/// See the module.
#[derive(Debug)]
pub struct OffsetStore {
    clock: Arc<dyn Clock>,
    /// The topic's partitions, made by the first commit (one of them, unless Kafka made the topic). Commits are in this
    /// lock's order.
    log: Mutex<Vec<Arc<Partition>>>,
    groups: RwLock<BTreeMap<String, Places>>,
    /// What of the log could not be read, and the groups that have committed since: only of those is anything known.
    doubt: RwLock<Option<(Error, BTreeSet<String>)>>,
}

impl OffsetStore {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, log: Mutex::default(), groups: RwLock::default(), doubt: RwLock::default() }
    }

    /// Reads everything that was committed. What cannot be read is passed over and remembered: a group whose last commit may
    /// lie there gets an error when it asks, rather than an older offset or none.
    pub(crate) fn load(&self, partitions: &[Arc<Partition>]) -> Result<()> {
        let mut groups = self.groups.write();
        for log in partitions {
            if let Some(damage) = load(log, &mut groups)? {
                *self.doubt.write() = Some((damage, BTreeSet::new()));
            }
        }
        groups.retain(|_, places| !places.is_empty());
        drop(groups);
        *self.log.lock() = partitions.to_vec();
        Ok(())
    }

    /// Commits (topic, partition, next offset, metadata) as one batch; as durable when it returns as the log promises.
    pub(crate) fn commit(
        &self,
        group: &str,
        offsets: &[(String, u32, u64, String)],
        make_log: impl FnOnce() -> Result<Vec<Arc<Partition>>>,
    ) -> Result<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        let now = self.clock.now_ms();
        let mut builder = BatchBuilder::new();
        for (topic, partition, offset, metadata) in offsets {
            let value = schema::encode_value(*offset, metadata, now).ok_or_else(|| Error::Invalid {
                message: format!(
                    "expected an offset that fits 63 bits and metadata of at most {STRING_MAX} bytes, got offset {offset} and \
                     {} bytes - at group '{group}' topic '{topic}' partition {partition}",
                    metadata.len()
                ),
            })?;
            builder.push(now, Some(&key(group, topic, *partition)?), Some(&value), &[]);
        }
        // The view changes under the lock that orders the log: otherwise two commits of one group could end differently.
        let mut log = self.log.lock();
        write(&mut log, group, builder, make_log)?;
        let mut groups = self.groups.write();
        let places = groups.entry(group.to_owned()).or_default();
        for (topic, partition, offset, metadata) in offsets {
            let committed = CommittedOffset { offset: *offset, metadata: metadata.clone() };
            places.insert((topic.clone(), *partition), committed);
        }
        self.settle(group);
        Ok(())
    }

    /// Writes what is known once more and forgets the commits before it, so that the log does not grow for ever: at open,
    /// when old commits fill a segment of their own. Not while part of it cannot be read: that part is evidence.
    pub(crate) fn compact(&self) -> Result<()> {
        let log = self.log.lock();
        let [partition] = &log[..] else { return Ok(()) };
        if partition.segment_count() < 2 || self.doubt.read().is_some() {
            return Ok(());
        }
        let now = self.clock.now_ms();
        let mut builder = BatchBuilder::new();
        for (group, places) in &*self.groups.read() {
            for ((topic, number), committed) in places {
                // Kafka's newest schema can hold what ours cannot: such a log is kept as it is.
                let Some(value) = schema::encode_value(committed.offset, &committed.metadata, now) else {
                    return Ok(());
                };
                builder.push(now, Some(&key(group, topic, *number)?), Some(&value), &[]);
            }
        }
        let appended = if builder.is_empty() { None } else { Some(partition.append(builder.finish(Codec::None)?)?) };
        partition.sync()?;
        partition.delete_records(appended.map_or(partition.next_offset(), |appended| appended.base_offset)).map(drop)
    }

    fn settle(&self, group: &str) {
        if let Some((_, settled)) = &mut *self.doubt.write() {
            settled.insert(group.to_owned());
        }
    }

    /// What a group has committed.
    ///
    /// # Errors
    /// `Corrupt` if its last commit may lie in damaged bytes: restore the file, or commit (or delete the group) to go on.
    pub fn fetch(&self, group: &str) -> Result<BTreeMap<(String, u32), CommittedOffset>> {
        match &*self.doubt.read() {
            Some((damage, settled)) if !settled.contains(group) => Err(damage.clone()),
            _ => Ok(self.known(group)),
        }
    }

    fn known(&self, group: &str) -> Places {
        self.groups.read().get(group).cloned().unwrap_or_default()
    }

    /// The groups that have committed something.
    #[must_use]
    pub fn groups(&self) -> Vec<String> {
        self.groups.read().keys().cloned().collect()
    }

    /// Forgets a group.
    ///
    /// # Errors
    /// Those of an append and a sync.
    pub fn delete(&self, group: &str) -> Result<()> {
        let mut log = self.log.lock();
        let places: Vec<(String, u32)> = self.known(group).into_keys().collect();
        if places.is_empty() {
            self.settle(group);
            return Ok(());
        }
        let now = self.clock.now_ms();
        let mut builder = BatchBuilder::new();
        for (topic, partition) in &places {
            builder.push(now, Some(&key(group, topic, *partition)?), None, &[]);
        }
        write(&mut log, group, builder, || Ok(Vec::new()))?;
        self.groups.write().remove(group);
        self.settle(group);
        Ok(())
    }
}

fn key(group: &str, topic: &str, partition: u32) -> Result<Vec<u8>> {
    schema::encode_key(group, topic, partition).ok_or_else(|| Error::Invalid {
        message: format!(
            "expected a group and a topic of at most {STRING_MAX} bytes, got {} and {} - at partition {partition}",
            group.len(),
            topic.len()
        ),
    })
}

/// Appends a commit, to a log made now if there is none; as durable when it returns as the log promises.
fn write(
    log: &mut Vec<Arc<Partition>>,
    group: &str,
    builder: BatchBuilder,
    make_log: impl FnOnce() -> Result<Vec<Arc<Partition>>>,
) -> Result<()> {
    if log.is_empty() {
        *log = make_log()?;
    }
    let partition = &log[partition_of(group, log.len())];
    let appended = partition.append(builder.finish(Codec::None)?)?;
    partition.wait_durable(appended.next_offset)
}

/// Where Kafka looks for a group: Java's hash of its name.
fn partition_of(group: &str, partitions: usize) -> usize {
    let hash = group.encode_utf16().fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)));
    (hash & 0x7fff_ffff) as usize % partitions
}

/// Takes in the commits of a partition; returns the last damage found.
fn load(log: &Partition, groups: &mut BTreeMap<String, Places>) -> Result<Option<Error>> {
    let (mut offset, mut damage) = (log.log_start_offset(), None);
    while offset < log.high_watermark() {
        let fetched = match log.read(offset, 1 << 20, Isolation::Committed) {
            Err(Error::Corrupt { topic, partition, offset: at, next_offset, path, position, what }) => {
                offset = next_offset;
                damage = Some(Error::Corrupt { topic, partition, offset: at, next_offset, path, position, what });
                continue;
            }
            fetched => fetched?,
        };
        for batch in &fetched.batches {
            for record in &batch.records()? {
                let record = record?;
                // Entries of other kinds (group metadata) and of versions yet to come are passed over.
                let Some(Key::Offset { group, topic, partition }) = record.key.and_then(schema::decode_key) else {
                    continue;
                };
                let places = groups.entry(group).or_default();
                match record.value.map(schema::decode_value) {
                    Some(Some(value)) => {
                        let committed = CommittedOffset { offset: value.offset, metadata: value.metadata };
                        places.insert((topic, partition), committed);
                    }
                    Some(None) => {}
                    None => drop(places.remove(&(topic, partition))),
                }
            }
        }
        if fetched.next_offset == offset {
            break;
        }
        offset = fetched.next_offset;
    }
    Ok(damage)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_group_is_where_kafka_looks_for_it() {
        // "abc".hashCode() is 96354, "polygenelubricants".hashCode() the smallest int there is.
        assert_eq!(super::partition_of("abc", 50), 96_354 % 50);
        assert_eq!(super::partition_of("polygenelubricants", 50), 0);
        assert_eq!(super::partition_of("any", 1), 0);
    }
}
