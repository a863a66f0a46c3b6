//! Committed offsets of consumer groups, in the topic `__consumer_offsets` and in Kafka's own schema.
//!
//! A commit is one batch of one record per partition: all of it is there after a crash, or nothing. The key is {version 1,
//! group, topic, partition}, the value {version 3, offset, leader epoch, metadata, commit time}; a null value forgets.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_record::{BatchBuilder, Codec};
use parking_lot::{Mutex, RwLock};

use crate::{Clock, Isolation, Partition, Result};

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
    /// The topic's only partition, made by the first commit. Commits are in this lock's order.
    log: Mutex<Option<Arc<Partition>>>,
    groups: RwLock<BTreeMap<String, Places>>,
}

impl OffsetStore {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, log: Mutex::default(), groups: RwLock::default() }
    }

    /// Reads everything that was committed.
    pub(crate) fn load(&self, log: Arc<Partition>) -> Result<()> {
        let mut offset = log.log_start_offset();
        let mut groups = self.groups.write();
        while offset < log.high_watermark() {
            let fetched = log.read(offset, 1 << 20, Isolation::Committed)?;
            for batch in &fetched.batches {
                for record in &batch.records()? {
                    let record = record?;
                    if let Some((group, topic, partition)) = record.key.and_then(parse_key) {
                        let places = groups.entry(group).or_default();
                        match record.value.and_then(parse_value) {
                            Some(committed) => places.insert((topic, partition), committed),
                            None => places.remove(&(topic, partition)),
                        };
                    }
                }
            }
            if fetched.next_offset == offset {
                break;
            }
            offset = fetched.next_offset;
        }
        groups.retain(|_, places| !places.is_empty());
        drop(groups);
        *self.log.lock() = Some(log);
        Ok(())
    }

    /// Commits (topic, partition, next offset, metadata) as one batch; as durable when it returns as the log promises.
    pub(crate) fn commit(
        &self,
        group: &str,
        offsets: &[(String, u32, u64, String)],
        make_log: impl FnOnce() -> Result<Arc<Partition>>,
    ) -> Result<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        let now = self.clock.now_ms();
        let mut builder = BatchBuilder::new();
        for (topic, partition, offset, metadata) in offsets {
            builder.push(now, Some(&key(group, topic, *partition)), Some(&value(*offset, metadata, now)), &[]);
        }
        self.write(builder, make_log)?;
        let mut groups = self.groups.write();
        let places = groups.entry(group.to_owned()).or_default();
        for (topic, partition, offset, metadata) in offsets {
            let committed = CommittedOffset { offset: *offset, metadata: metadata.clone() };
            places.insert((topic.clone(), *partition), committed);
        }
        Ok(())
    }

    fn write(&self, builder: BatchBuilder, make_log: impl FnOnce() -> Result<Arc<Partition>>) -> Result<()> {
        let mut log = self.log.lock();
        let partition = match &*log {
            Some(partition) => Arc::clone(partition),
            None => Arc::clone(log.insert(make_log()?)),
        };
        let appended = partition.append(builder.finish(Codec::None)?)?;
        partition.wait_durable(appended.next_offset)
    }

    /// What a group has committed.
    #[must_use]
    pub fn fetch(&self, group: &str) -> BTreeMap<(String, u32), CommittedOffset> {
        self.groups.read().get(group).cloned().unwrap_or_default()
    }

    /// The groups that have committed something.
    #[must_use]
    pub fn groups(&self) -> Vec<String> {
        self.groups.read().keys().cloned().collect()
    }

    /// Forgets a group.
    pub fn delete(&self, group: &str) -> Result<()> {
        let places: Vec<(String, u32)> = self.fetch(group).into_keys().collect();
        let Some(log) = self.log.lock().clone().filter(|_| !places.is_empty()) else { return Ok(()) };
        let now = self.clock.now_ms();
        let mut builder = BatchBuilder::new();
        for (topic, partition) in &places {
            builder.push(now, Some(&key(group, topic, *partition)), None, &[]);
        }
        self.write(builder, || Ok(log))?;
        self.groups.write().remove(group);
        Ok(())
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(&text.as_bytes()[..text.len().min(u16::MAX as usize)]);
}

fn key(group: &str, topic: &str, partition: u32) -> Vec<u8> {
    let mut out = vec![0, 1];
    put_text(&mut out, group);
    put_text(&mut out, topic);
    out.extend_from_slice(&partition.to_be_bytes());
    out
}

fn value(offset: u64, metadata: &str, now: i64) -> Vec<u8> {
    let mut out = vec![0, 3];
    out.extend_from_slice(&offset.to_be_bytes());
    out.extend_from_slice(&(-1_i32).to_be_bytes());
    put_text(&mut out, metadata);
    out.extend_from_slice(&now.to_be_bytes());
    out
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*taken)
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let length = usize::from(u16::from_be_bytes(take(rest)?));
    let (text, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    String::from_utf8(text.to_vec()).ok()
}

/// Group, topic and partition of a key of version 0 or 1; None for other records of the topic (group metadata).
fn parse_key(mut rest: &[u8]) -> Option<(String, String, u32)> {
    if u16::from_be_bytes(take(&mut rest)?) > 1 {
        return None;
    }
    Some((take_text(&mut rest)?, take_text(&mut rest)?, u32::from_be_bytes(take(&mut rest)?)))
}

/// A value of version 0 to 3.
fn parse_value(mut rest: &[u8]) -> Option<CommittedOffset> {
    let version = u16::from_be_bytes(take(&mut rest)?);
    let offset = u64::from_be_bytes(take(&mut rest)?);
    if version >= 3 {
        take::<4>(&mut rest)?;
    }
    Some(CommittedOffset { offset, metadata: take_text(&mut rest)? })
}
