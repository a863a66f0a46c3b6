//! Committed offsets of consumer groups, in the topic `__consumer_offsets` and in Kafka's own schema.
//!
//! A commit is one batch of one record per partition: all of it is there after a crash, or nothing. The key is {version 1,
//! group, topic, partition}, the value {version 3, offset, leader epoch, metadata, commit time}; a null value forgets.
//! A commit in a transaction is pending until the transaction ends. Of two commits for one partition the later in the log
//! counts, whenever it was decided.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use headwater_record::{BatchBuilder, Codec, RecordView};
use parking_lot::{Mutex, RwLock};

use self::schema::Key;
use crate::internal::fields::STRING_MAX;
use crate::internal::replay;
use crate::{Appended, Clock, Error, Partition, Result};

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

/// A commit and its place in the log, by topic and partition.
type Places = BTreeMap<(String, u32), (CommittedOffset, u64)>;

/// Topic, partition, next offset, metadata.
type Entry = (String, u32, u64, String);

/// A commit whose transaction is open.
#[derive(Debug)]
struct Pending {
    group: String,
    offsets: Vec<Entry>,
    /// Where it is in the log.
    at: u64,
}

/// See the module.
#[derive(Debug)]
pub struct OffsetStore {
    clock: Arc<dyn Clock>,
    /// The topic's partitions, made by the first commit (one of them, unless Kafka made the topic). Commits are in this
    /// lock's order.
    log: Mutex<Vec<Arc<Partition>>>,
    groups: RwLock<BTreeMap<String, Places>>,
    /// By producer id.
    pending: Mutex<HashMap<i64, Vec<Pending>>>,
    /// What of the log could not be read, and the groups that have committed since: only of those is anything known.
    doubt: RwLock<Option<(Error, BTreeSet<String>)>>,
}

impl OffsetStore {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            log: Mutex::default(),
            groups: RwLock::default(),
            pending: Mutex::default(),
            doubt: RwLock::default(),
        }
    }

    /// Reads everything that was committed. What cannot be read is passed over and remembered: a group whose last commit may
    /// lie there gets an error when it asks, rather than an older offset or none.
    pub(crate) fn load(&self, partitions: &[Arc<Partition>]) -> Result<()> {
        let mut groups = self.groups.write();
        for log in partitions {
            if let Some(damage) = replay(log, |record| see(record, &mut groups))? {
                *self.doubt.write() = Some((damage, BTreeSet::new()));
            }
        }
        groups.retain(|_, places| !places.is_empty());
        drop(groups);
        *self.log.lock() = partitions.to_vec();
        Ok(())
    }

    /// Reads everything again, for what another process has committed meanwhile. True if all of it could be read.
    pub(crate) fn reload(&self, partitions: &[Arc<Partition>]) -> Result<bool> {
        let fresh = Self::new(Arc::clone(&self.clock));
        fresh.load(partitions)?;
        let doubt = fresh.doubt.into_inner();
        let is_whole = doubt.is_none();
        *self.doubt.write() = doubt;
        *self.groups.write() = fresh.groups.into_inner();
        Ok(is_whole)
    }

    /// Commits (topic, partition, next offset, metadata) as one batch; as durable when it returns as the log promises.
    pub(crate) fn commit(
        &self,
        group: &str,
        offsets: &[Entry],
        make_log: impl FnOnce() -> Result<Vec<Arc<Partition>>>,
    ) -> Result<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        let builder = self.encode(group, offsets)?;
        // The view changes under the lock that orders the log: otherwise two commits of one group could end differently.
        let mut log = self.log.lock();
        let at = write(&mut log, group, builder, make_log)?;
        self.apply(group, offsets, at);
        Ok(())
    }

    /// Writes a commit that counts when its producer's transaction is committed; `append` writes a batch to a partition as a
    /// part of the transaction.
    pub(crate) fn commit_in_transaction(
        &self,
        producer_id: i64,
        group: &str,
        offsets: &[Entry],
        make_log: impl FnOnce() -> Result<Vec<Arc<Partition>>>,
        append: impl FnOnce(&Arc<Partition>, BatchBuilder) -> Result<Appended>,
    ) -> Result<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        let builder = self.encode(group, offsets)?;
        let mut log = self.log.lock();
        let at = append(home(&mut log, group, make_log)?, builder)?.base_offset;
        let pending = Pending { group: group.to_owned(), offsets: offsets.to_vec(), at };
        self.pending.lock().entry(producer_id).or_default().push(pending);
        Ok(())
    }

    /// A producer's transaction has ended: what it wrote counts now, or never will.
    pub(crate) fn complete(&self, producer_id: i64, is_committed: bool) {
        let _in_order = self.log.lock();
        for pending in self.pending.lock().remove(&producer_id).into_iter().flatten().filter(|_| is_committed) {
            self.apply(&pending.group, &pending.offsets, pending.at);
        }
    }

    fn encode(&self, group: &str, offsets: &[Entry]) -> Result<BatchBuilder> {
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
        Ok(builder)
    }

    /// Takes a commit into the view, but for partitions whose last one lies behind it in the log.
    fn apply(&self, group: &str, offsets: &[Entry], at: u64) {
        let mut groups = self.groups.write();
        let places = groups.entry(group.to_owned()).or_default();
        for (topic, partition, offset, metadata) in offsets {
            let place = (topic.clone(), *partition);
            if places.get(&place).is_none_or(|(_, known)| *known < at) {
                places.insert(place, (CommittedOffset { offset: *offset, metadata: metadata.clone() }, at));
            }
        }
        drop(groups);
        self.settle(group);
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
        // The doubt is let go of before the groups are asked: whoever commits takes the two the other way round.
        let doubt = self
            .doubt
            .read()
            .as_ref()
            .filter(|(_, settled)| !settled.contains(group))
            .map(|(damage, _)| damage.clone());
        doubt.map_or_else(|| Ok(self.known(group)), Err)
    }

    /// The partitions for which a group's offsets lie in an open transaction: what is committed for them is not the last word.
    /// Ask before [`fetch`](Self::fetch): what is not among them then has no older answer there.
    #[must_use]
    pub fn pending(&self, group: &str) -> BTreeSet<(String, u32)> {
        let _in_order = self.log.lock(); // whoever ends a transaction takes its offsets into the view under this lock
        let pending = self.pending.lock();
        let of_group = pending.values().flatten().filter(|pending| pending.group == group);
        of_group.flat_map(|pending| &pending.offsets).map(|(topic, number, ..)| (topic.clone(), *number)).collect()
    }

    fn known(&self, group: &str) -> BTreeMap<(String, u32), CommittedOffset> {
        let groups = self.groups.read();
        let places = groups.get(group).into_iter().flatten();
        places.map(|(place, (committed, _))| (place.clone(), committed.clone())).collect()
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
        self.forget(&mut log, group, &self.places(group).into_keys().collect())?;
        self.settle(group);
        Ok(())
    }

    /// Forgets a group's offsets of some partitions; returns those of them that it had.
    ///
    /// # Errors
    /// Those of [`fetch`](Self::fetch), of an append and of a sync.
    pub fn delete_offsets(&self, group: &str, places: &BTreeSet<(String, u32)>) -> Result<BTreeSet<(String, u32)>> {
        let mut log = self.log.lock();
        self.fetch(group)?;
        let found = self.places(group).into_keys().filter(|place| places.contains(place)).collect();
        self.forget(&mut log, group, &found)?;
        Ok(found)
    }

    /// Lets groups of consumers forget where they are in a topic that is gone. An application, whose offsets carry what its
    /// stores are at, has to look at the topic itself.
    ///
    /// # Errors
    /// Those of an append and a sync.
    pub(crate) fn forget_topic(&self, topic: &str) -> Result<()> {
        let mut log = self.log.lock();
        let pending = self.pending.lock().values().flatten().map(|pending| pending.group.clone()).collect::<Vec<_>>();
        let groups: BTreeSet<String> = self.groups().into_iter().chain(pending).collect();
        for group in groups {
            let places = self.places(&group);
            if places.values().all(String::is_empty) {
                let gone = places.into_keys().filter(|(name, _)| name == topic).collect();
                self.forget(&mut log, &group, &gone)?;
            }
        }
        Ok(())
    }

    /// Where a group has committed something, or has in an open transaction; with the metadata.
    fn places(&self, group: &str) -> BTreeMap<(String, u32), String> {
        let known = self.known(group).into_iter().map(|(place, committed)| (place, committed.metadata));
        let pending = self.pending.lock();
        let of_group = pending.values().flatten().filter(|pending| pending.group == group);
        let pending = of_group.flat_map(|pending| &pending.offsets);
        known.chain(pending.map(|(topic, number, _, metadata)| ((topic.clone(), *number), metadata.clone()))).collect()
    }

    fn forget(&self, log: &mut Vec<Arc<Partition>>, group: &str, places: &BTreeSet<(String, u32)>) -> Result<()> {
        if places.is_empty() {
            return Ok(());
        }
        let now = self.clock.now_ms();
        let mut builder = BatchBuilder::new();
        for (topic, partition) in places {
            builder.push(now, Some(&key(group, topic, *partition)?), None, &[]);
        }
        write(log, group, builder, || Ok(Vec::new()))?;
        let is_gone = |topic: &String, number: u32| places.contains(&(topic.clone(), number));
        for pending in self.pending.lock().values_mut().flatten().filter(|pending| pending.group == group) {
            pending.offsets.retain(|(topic, number, ..)| !is_gone(topic, *number));
        }
        let mut groups = self.groups.write();
        if let Some(known) = groups.get_mut(group) {
            known.retain(|place, _| !places.contains(place));
            if known.is_empty() {
                groups.remove(group);
            }
        }
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

/// The partition that a group's commits are in, of a log made now if there is none.
fn home<'a>(
    log: &'a mut Vec<Arc<Partition>>,
    group: &str,
    make_log: impl FnOnce() -> Result<Vec<Arc<Partition>>>,
) -> Result<&'a Arc<Partition>> {
    if log.is_empty() {
        *log = make_log()?;
    }
    Ok(&log[partition_of(group, log.len())])
}

/// Appends a commit, as durable when it returns as the log promises; returns where it is.
fn write(
    log: &mut Vec<Arc<Partition>>,
    group: &str,
    builder: BatchBuilder,
    make_log: impl FnOnce() -> Result<Vec<Arc<Partition>>>,
) -> Result<u64> {
    let partition = home(log, group, make_log)?;
    let appended = partition.append(builder.finish(Codec::None)?)?;
    partition.wait_durable(appended.next_offset)?;
    Ok(appended.base_offset)
}

/// Where Kafka looks for a group, or a transactional id: Java's hash of its name.
pub(crate) fn partition_of(group: &str, partitions: usize) -> usize {
    let hash = group.encode_utf16().fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)));
    (hash & 0x7fff_ffff) as usize % partitions
}

/// Takes in a record of the log.
fn see(record: RecordView<'_>, groups: &mut BTreeMap<String, Places>) {
    // Entries of other kinds (group metadata) and of versions yet to come are passed over.
    let Some(Key::Offset { group, topic, partition }) = record.key.and_then(schema::decode_key) else { return };
    let places = groups.entry(group).or_default();
    match record.value.map(schema::decode_value) {
        Some(Some(value)) => {
            let committed = CommittedOffset { offset: value.offset, metadata: value.metadata };
            places.insert((topic, partition), (committed, record.offset));
        }
        Some(None) => {}
        None => drop(places.remove(&(topic, partition))),
    }
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
