//! What is known of every transactional id, and how a transaction ends.
//!
//! **Invariants**
//! 1. Nothing is marked as committed before the decision is durable, and the decision not before the records are.
//! 2. An epoch is durable before a record is written with it.
//! 3. A decision of commit is finished, by whoever comes next: the same producer, a newer one, or the next open.
//!
//! Locks: a transactional id's, then those of the offsets and of a partition; never two ids at once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use headwater_record::{BatchBuilder, Codec, ControlType, Marker};
use parking_lot::{Mutex, RwLock};

use super::schema::{self, State, Status};
use crate::internal::replay;
use crate::offsets::OffsetStore;
use crate::{Clock, Error, Partition, Result};

/// The largest epoch in use: behind it an id gets a new producer id, as one more is needed to fence.
const LAST_EPOCH: i16 = i16::MAX - 1;
/// We are the only coordinator that there ever is.
const COORDINATOR_EPOCH: i32 = 0;

/// A transactional id: its producer, and the transaction that it is in.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: String,
    /// `partitions` is filled in when it is written.
    pub(super) state: State,
    /// Where the transaction has written.
    pub(super) participants: BTreeMap<(String, u32), Arc<Partition>>,
    /// The next sequence number of each of them.
    pub(super) sequences: HashMap<(String, u32), i32>,
    /// Why the transaction can only be aborted.
    pub(super) failure: Option<String>,
    /// Whether its last transaction was aborted for taking too long.
    pub(super) is_overdue: bool,
    /// How many records of the log lie up to its last; 0 without one.
    order: u64,
}

/// A transactional id, for who looks after a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionDescription {
    /// The transactional id.
    pub id: String,
    /// Its producer's id.
    pub producer_id: i64,
    /// Its producer's epoch.
    pub epoch: i16,
    /// Kafka's word for where it stands: `Empty`, `Ongoing`, `PrepareCommit`, `CompleteAbort` ...
    pub state: String,
    /// After so many milliseconds its transaction is aborted.
    pub timeout_ms: i32,
    /// When the transaction began, ms; -1 without one.
    pub started_ms: i64,
    /// Topic and partition where it has written.
    pub partitions: Vec<(String, u32)>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Coordinator {
    clock: Arc<dyn Clock>,
    /// `__transaction_state`, made by the first transactional id (one partition, unless Kafka made the topic).
    log: Mutex<Vec<Arc<Partition>>>,
    entries: RwLock<HashMap<String, Arc<Mutex<Entry>>>>,
    next_id: AtomicI64,
    /// What of the log could not be read: a decision may lie there, so nothing is decided anew.
    doubt: RwLock<Option<Error>>,
}

impl Coordinator {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            log: Mutex::default(),
            entries: RwLock::default(),
            next_id: AtomicI64::new(0),
            doubt: RwLock::default(),
        }
    }

    // --- opening ------------------------------------------------------------------------------------------------------

    /// Reads what was decided.
    pub(crate) fn load(&self, log: &[Arc<Partition>]) -> Result<()> {
        let mut states: HashMap<String, (u64, State)> = HashMap::new();
        let mut records = 0;
        for partition in log {
            // Ids whose last word is not understood, and where it is: a decision may lie there.
            let mut riddles: BTreeMap<String, u64> = BTreeMap::new();
            let damage = replay(partition, |record| {
                records += 1;
                let Some(id) = record.key.and_then(schema::decode_key) else { return };
                riddles.remove(&id);
                match record.value.map(schema::decode_value) {
                    Some(Some(state)) => drop(states.insert(id, (records, state))),
                    Some(None) => drop(riddles.insert(id, record.offset)),
                    None => drop(states.remove(&id)),
                }
            })?;
            let riddle = riddles.into_iter().next().map(|(id, offset)| not_understood(partition, &id, offset));
            if let Some(doubt) = damage.or(riddle) {
                *self.doubt.write() = Some(doubt);
            }
        }
        self.pass_over(states.values().map(|(_, state)| state.producer_id).max());
        let mut entries = self.entries.write();
        for (id, (order, state)) in states {
            entries.insert(id.clone(), Arc::new(Mutex::new(Entry { order, ..Entry::new(id, state) })));
        }
        *self.log.lock() = log.to_vec();
        Ok(())
    }

    /// Decides nothing from now on if one of these partitions cannot be read: which transactions are open there is not known.
    pub(crate) fn check_readable<'a>(&self, mut partitions: impl Iterator<Item = &'a Arc<Partition>>) {
        if let Some(failure) = partitions.find_map(|partition| partition.check_usable().err()) {
            self.doubt.write().get_or_insert(failure);
        }
    }

    /// Ends the transactions that were open when the log was left: committed if that was decided, else aborted. What cannot
    /// be written now stays open, and is said.
    pub(crate) fn recover(&self, partitions: &[Arc<Partition>], warnings: &mut Vec<String>) {
        self.pass_over(partitions.iter().filter_map(|partition| partition.largest_producer_id()).max());
        if let Some(damage) = &*self.doubt.read() {
            warnings.push(format!("transactions: {damage}; open ones are left open: a decision may lie there"));
            return;
        }
        let mut entries = self.entries();
        // Of two that say they have the same producer, the later in the log has it.
        entries.sort_by_key(|entry| entry.lock().order);
        let by_id: HashMap<i64, &Arc<Mutex<Entry>>> =
            entries.iter().map(|entry| (entry.lock().state.producer_id, entry)).collect();
        let ends: Vec<u64> = partitions.iter().map(|partition| partition.next_offset()).collect();
        let mut orphans = Vec::new();
        for partition in partitions {
            for open in partition.open_transactions() {
                let Some(entry) = by_id.get(&open.producer_id) else {
                    orphans.push((Arc::clone(partition), open));
                    continue;
                };
                let mut entry = entry.lock();
                // The decision of a transaction is written with the epoch behind its records'.
                if entry.state.status != Status::PrepareCommit || open.epoch >= entry.state.epoch {
                    entry.state.status = Status::PrepareAbort;
                }
                entry.state.epoch = entry.state.epoch.max(open.epoch.saturating_add(1));
                entry.participants.insert((partition.topic().to_owned(), partition.number()), Arc::clone(partition));
            }
        }
        for entry in entries {
            let mut entry = entry.lock();
            if matches!(entry.state.status, Status::PrepareCommit | Status::PrepareAbort)
                && let Err(error) = self.complete(&mut entry, None)
            {
                warnings.push(format!("transactional id '{}': expected to end its transaction, got {error}", entry.id));
            }
        }
        for (partition, open) in orphans {
            let marker = Marker { kind: ControlType::Abort, coordinator_epoch: COORDINATOR_EPOCH };
            let ended = partition
                .append_marker(open.producer_id, open.epoch.saturating_add(1), marker)
                .and_then(|_| partition.sync());
            let (topic, number) = (partition.topic(), partition.number());
            warnings.push(match ended {
                Ok(()) => format!(
                    "topic '{topic}' partition {number}: a transaction of producer {} was open, whose coordinator is not \
                     here; it is aborted",
                    open.producer_id
                ),
                Err(error) => format!("topic '{topic}' partition {number}: expected to end a transaction, got {error}"),
            });
        }
        // So that the next open has nothing more to do; if that fails, it does it again.
        for (partition, _) in partitions.iter().zip(ends).filter(|(partition, end)| partition.next_offset() > *end) {
            let _ = partition.settle();
        }
    }

    // --- a producer's steps -------------------------------------------------------------------------------------------

    /// Gives a transactional id to a new producer: ends what the one before has left, and fences it.
    pub(super) fn init(
        &self,
        id: &str,
        timeout_ms: i32,
        offsets: &OffsetStore,
        make_log: impl FnOnce() -> Result<Vec<Arc<Partition>>>,
    ) -> Result<Arc<Mutex<Entry>>> {
        if let Some(damage) = &*self.doubt.read() {
            return Err(damage.clone());
        }
        {
            let mut log = self.log.lock();
            if log.is_empty() {
                *log = make_log()?;
            }
        }
        let found = self.entries.read().get(id).cloned();
        let entry = found.unwrap_or_else(|| {
            let state = State {
                producer_id: -1,
                epoch: LAST_EPOCH, // so that it gets an id
                timeout_ms,
                status: Status::Empty,
                partitions: BTreeMap::new(),
                updated_ms: 0,
                started_ms: -1,
            };
            let made = Arc::new(Mutex::new(Entry::new(id.to_owned(), state)));
            Arc::clone(self.entries.write().entry(id.to_owned()).or_insert(made))
        });
        {
            let mut entry = entry.lock();
            self.end_what_is_open(&mut entry, offsets)?;
            entry.state.timeout_ms = timeout_ms;
            entry.state.status = Status::Empty;
            entry.is_overdue = false;
            self.raise_epoch(&mut entry)?;
            self.write(&entry)?;
        }
        Ok(entry)
    }

    /// Ends the open transaction. An error of a commit leaves it either undecided (it may be tried again, or aborted) or
    /// decided and not finished (it can only be tried again).
    pub(super) fn end(&self, entry: &mut Entry, commits: bool, offsets: &OffsetStore) -> Result<()> {
        let wanted = if commits { Status::PrepareCommit } else { Status::PrepareAbort };
        match entry.state.status {
            Status::Ongoing => {
                if let Some(failure) = entry.failure.as_ref().filter(|_| commits) {
                    return Err(entry.refused(&format!("one of which a part is missing ({failure})"), "abort it"));
                }
                if entry.participants.is_empty() {
                    entry.state.status = if commits { Status::CompleteCommit } else { Status::CompleteAbort };
                    return Ok(());
                }
                if commits {
                    for partition in entry.participants.values() {
                        unless_deleted(partition.sync())?;
                    }
                }
                let before = (entry.state.status, entry.state.epoch);
                (entry.state.status, entry.state.epoch) = (wanted, entry.state.epoch + 1);
                if let Err(error) = self.write(entry) {
                    (entry.state.status, entry.state.epoch) = before;
                    return Err(error);
                }
            }
            status if status == wanted => {}
            Status::PrepareCommit => return Err(entry.refused("one that is committed", "commit it again to finish")),
            Status::PrepareAbort => return Err(entry.refused("one that is aborted", "abort it again to finish")),
            _ => return Err(entry.refused("none", "begin one first")),
        }
        self.complete(entry, Some(offsets))
    }

    /// Aborts what is undecided, and finishes what is decided.
    fn end_what_is_open(&self, entry: &mut Entry, offsets: &OffsetStore) -> Result<()> {
        match entry.state.status {
            Status::Ongoing => self.end(entry, false, offsets),
            Status::PrepareCommit | Status::PrepareAbort => self.complete(entry, Some(offsets)),
            Status::Empty | Status::CompleteCommit | Status::CompleteAbort => Ok(()),
        }
    }

    /// Does what was decided: a marker in every partition, then the offsets.
    fn complete(&self, entry: &mut Entry, offsets: Option<&OffsetStore>) -> Result<()> {
        let commits = entry.state.status == Status::PrepareCommit;
        let kind = if commits { ControlType::Commit } else { ControlType::Abort };
        let marker = Marker { kind, coordinator_epoch: COORDINATOR_EPOCH };
        for partition in entry.participants.values() {
            unless_deleted(partition.append_marker(entry.state.producer_id, entry.state.epoch, marker).map(drop))?;
        }
        for partition in entry.participants.values() {
            unless_deleted(partition.sync())?;
        }
        if let Some(offsets) = offsets {
            offsets.complete(entry.state.producer_id, commits);
        }
        entry.participants.clear();
        entry.sequences.clear();
        entry.state.status = if commits { Status::CompleteCommit } else { Status::CompleteAbort };
        if entry.state.epoch > LAST_EPOCH {
            self.raise_epoch(entry)?;
            return self.write(entry);
        }
        // This only spares the next open some work: the markers are there.
        let _ = self.append(entry);
        Ok(())
    }

    /// Aborts the transactions that have taken too long; their producers are fenced by the epoch that this raises.
    pub(crate) fn abort_overdue(&self, offsets: &OffsetStore) {
        let now = self.clock.now_ms();
        for entry in self.entries() {
            // Whoever holds it is in the middle of a step: it is looked at again next time.
            let Some(mut entry) = entry.try_lock() else { continue };
            let age = now.saturating_sub(entry.state.started_ms);
            let is_writing = entry.state.status == Status::Ongoing && !entry.participants.is_empty();
            entry.is_overdue |= is_writing && age > i64::from(entry.state.timeout_ms);
            // What fails, before the decision or behind it, is tried again.
            if entry.is_overdue && matches!(entry.state.status, Status::Ongoing | Status::PrepareAbort) {
                let _ = self.end(&mut entry, false, offsets);
            }
        }
    }

    /// Aborts whatever is open: the log is being closed.
    pub(crate) fn abort_all(&self, offsets: &OffsetStore) -> Result<()> {
        if self.doubt.read().is_some() {
            return Ok(()); // to where they have written was not looked up: a decision would pass for one that is done
        }
        let mut outcome = Ok(());
        for entry in self.entries() {
            outcome = outcome.and(self.end_what_is_open(&mut entry.lock(), offsets));
        }
        outcome
    }

    /// Whether some transaction is open: then somebody must look after its time.
    pub(crate) fn is_used(&self) -> bool {
        !self.entries.read().is_empty()
    }

    /// Every transactional id, by name.
    pub(crate) fn describe(&self) -> Vec<TransactionDescription> {
        let mut found: Vec<_> = self.entries().iter().map(|entry| entry.lock().describe()).collect();
        found.sort_by(|one, other| one.id.cmp(&other.id));
        found
    }

    /// Every transactional id; their locks are taken one by one, without that of the list.
    fn entries(&self) -> Vec<Arc<Mutex<Entry>>> {
        self.entries.read().values().cloned().collect()
    }

    fn raise_epoch(&self, entry: &mut Entry) -> Result<()> {
        if entry.state.epoch < LAST_EPOCH {
            entry.state.epoch += 1;
            return Ok(());
        }
        let next = |id: i64| id.checked_add(1);
        let given = self.next_id.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        entry.state.producer_id = given.map_err(|last| Error::Invalid {
            message: format!(
                "expected a producer id that nobody has, got {last}, the last there is - at transactional id '{}'; some \
                 record of this directory has it: delete its topic, or begin a new directory",
                entry.id
            ),
        })?;
        entry.state.epoch = 0;
        Ok(())
    }

    /// Gives out no producer id up to one that somebody has.
    fn pass_over(&self, largest: Option<i64>) {
        self.next_id.fetch_max(largest.unwrap_or(-1).saturating_add(1), Ordering::Relaxed);
    }

    // --- the log ------------------------------------------------------------------------------------------------------

    /// Writes an id's state down, durably.
    fn write(&self, entry: &Entry) -> Result<()> {
        self.append(entry)?.sync()
    }

    fn append(&self, entry: &Entry) -> Result<Arc<Partition>> {
        let now = self.clock.now_ms();
        let mut partitions: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for (topic, partition) in entry.participants.keys() {
            partitions.entry(topic.clone()).or_default().push(*partition);
        }
        let state = State { partitions, updated_ms: now, ..entry.state.clone() };
        let encoded = schema::encode_key(&entry.id).zip(schema::encode_value(&state));
        let (key, value) = encoded.ok_or_else(|| Error::Invalid {
            message: format!("expected a transactional id of at most {} bytes, got {}", i16::MAX, entry.id.len()),
        })?;
        let mut builder = BatchBuilder::new();
        builder.push(now, Some(&key), Some(&value), &[]);
        let log = self.log.lock();
        let partition = &log[crate::offsets::partition_of(&entry.id, log.len())];
        partition.append(builder.finish(Codec::None)?)?;
        Ok(Arc::clone(partition))
    }
}

fn not_understood(partition: &Partition, id: &str, offset: u64) -> Error {
    Error::Invalid {
        message: format!(
            "expected a state of transactional id '{id}' that this release knows, got another - at topic '{}' partition {} \
             offset {offset}; open the directory with the release that wrote it",
            partition.topic(),
            partition.number()
        ),
    }
}

/// A topic that was deleted in the middle of a transaction is no part of it any more.
fn unless_deleted(outcome: Result<()>) -> Result<()> {
    match outcome {
        Err(Error::Closed { .. }) => Ok(()),
        outcome => outcome,
    }
}

impl Entry {
    fn new(id: String, state: State) -> Self {
        Self {
            id,
            state,
            participants: BTreeMap::new(),
            sequences: HashMap::new(),
            failure: None,
            is_overdue: false,
            order: 0,
        }
    }

    pub(super) fn refused(&self, got: &str, action: &str) -> Error {
        Error::Invalid {
            message: format!("expected an open transaction, got {got} - at transactional id '{}'; {action}", self.id),
        }
    }

    fn describe(&self) -> TransactionDescription {
        TransactionDescription {
            id: self.id.clone(),
            producer_id: self.state.producer_id,
            epoch: self.state.epoch,
            state: format!("{:?}", self.state.status),
            timeout_ms: self.state.timeout_ms,
            started_ms: if self.state.status == Status::Ongoing { self.state.started_ms } else { -1 },
            partitions: self.participants.keys().cloned().collect(),
        }
    }
}
