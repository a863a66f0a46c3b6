//! A transactional producer: begin, append, commit or abort, one transaction after the other.

use std::sync::Arc;

use headwater_record::{BatchBuilder, Codec, ProducerFields, sequence_after};
use parking_lot::{Mutex, MutexGuard};

use super::coordinator::Entry;
use super::schema::Status;
use crate::broker::Inner;
use crate::{Appended, Error, Partition, Result};

/// See the module; made by [`Broker::transactional_producer`](crate::Broker::transactional_producer). Threads may share one.
#[derive(Debug)]
pub struct TransactionalProducer {
    inner: Arc<Inner>,
    entry: Arc<Mutex<Entry>>,
    /// Producer id and epoch: another one at the transactional id means that this producer is fenced.
    identity: Mutex<(i64, i16)>,
}

impl TransactionalProducer {
    pub(crate) fn new(inner: Arc<Inner>, id: &str, timeout_ms: i32) -> Result<Self> {
        let entry = inner.transactions.init(id, timeout_ms, &inner.offsets, || inner.transactions_log())?;
        let identity = identity(&entry.lock());
        Ok(Self { inner, entry, identity: Mutex::new(identity) })
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// `Invalid` inside of one; `Fenced` if a newer producer has the transactional id.
    pub fn begin(&self) -> Result<()> {
        let mut entry = self.entry()?;
        if matches!(entry.state.status, Status::Ongoing | Status::PrepareCommit | Status::PrepareAbort) {
            return Err(Error::Invalid {
                message: format!(
                    "expected no open transaction, got one - at transactional id '{}'; commit or abort it first",
                    entry.id
                ),
            });
        }
        entry.state.status = Status::Ongoing;
        entry.state.started_ms = -1; // its time begins with its first record
        entry.failure = None;
        Ok(())
    }

    /// Appends a batch as a part of the transaction: written when it returns.
    ///
    /// # Errors
    /// Those of [`Partition::append`]; after one the transaction can only be aborted. `Invalid` outside of a transaction,
    /// `Fenced` as for [`begin`](Self::begin).
    pub fn append(&self, partition: &Arc<Partition>, builder: BatchBuilder, codec: Codec) -> Result<Appended> {
        append(&mut *self.open()?, self.inner.clock().now_ms(), partition, builder, codec)
    }

    /// Commits a group's offsets, as (topic, partition, next offset, metadata), when the transaction is committed.
    ///
    /// # Errors
    /// As for [`append`](Self::append).
    pub fn send_offsets(&self, group: &str, offsets: &[(String, u32, u64, String)]) -> Result<()> {
        let mut entry = self.open()?;
        let producer_id = entry.state.producer_id;
        let now = self.inner.clock().now_ms();
        let append = |partition: &Arc<Partition>, builder| append(&mut entry, now, partition, builder, Codec::None);
        let make_log = || self.inner.offsets_log();
        self.inner.offsets.commit_in_transaction(producer_id, group, offsets, make_log, append)
    }

    /// Commits: everything of the transaction is durable, and readers of committed records see it, when this returns.
    ///
    /// # Errors
    /// `Invalid` without a transaction, or for one that a failed append has left incomplete (abort it); otherwise it may be
    /// tried again.
    pub fn commit(&self) -> Result<()> {
        self.end(true)
    }

    /// Aborts: nothing of the transaction will ever count.
    ///
    /// # Errors
    /// `Invalid` without a transaction; otherwise it may be tried again.
    pub fn abort(&self) -> Result<()> {
        self.end(false)
    }

    /// Whether a transaction is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open().is_ok()
    }

    fn end(&self, commits: bool) -> Result<()> {
        let mut entry = self.entry()?;
        let ended = self.inner.transactions.end(&mut entry, commits, &self.inner.offsets);
        *self.identity.lock() = identity(&entry);
        ended
    }

    fn open(&self) -> Result<MutexGuard<'_, Entry>> {
        let entry = self.entry()?;
        if entry.state.status == Status::Ongoing { Ok(entry) } else { Err(entry.refused("none", "begin one first")) }
    }

    fn entry(&self) -> Result<MutexGuard<'_, Entry>> {
        let entry = self.entry.lock();
        // Behind the lock: who closes the log aborts what is open, and nothing must begin after that.
        self.inner.check_writable()?;
        if *self.identity.lock() == identity(&entry) {
            return Ok(entry);
        }
        let why = if entry.is_overdue {
            format!("its transaction took longer than its time-out of {} ms and was aborted", entry.state.timeout_ms)
        } else {
            "another producer was made with the same transactional id".to_owned()
        };
        Err(Error::Fenced { producer: format!("transactional id '{}'", entry.id), why })
    }
}

fn identity(entry: &Entry) -> (i64, i16) {
    (entry.state.producer_id, entry.state.epoch)
}

fn append(
    entry: &mut Entry,
    now_ms: i64,
    partition: &Arc<Partition>,
    builder: BatchBuilder,
    codec: Codec,
) -> Result<Appended> {
    if entry.participants.is_empty() {
        entry.state.started_ms = now_ms;
    }
    let place = (partition.topic().to_owned(), partition.number());
    let (id, epoch) = identity(entry);
    let base_sequence = entry.sequences.get(&place).copied().unwrap_or(0);
    let count = u32::try_from(builder.len()).unwrap_or(u32::MAX);
    entry.participants.insert(place.clone(), Arc::clone(partition));
    let producer = ProducerFields { id, epoch, base_sequence, is_transactional: true };
    let appended = builder.finish_as(codec, producer).map_err(Error::from);
    let appended = appended.and_then(|batch| partition.append_in_transaction(batch));
    match &appended {
        Ok(_) => drop(entry.sequences.insert(place, sequence_after(base_sequence, count))),
        Err(error) => entry.failure = Some(error.to_string()),
    }
    appended
}
