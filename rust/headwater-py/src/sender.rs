//! Records on their way into the log: a *lane* per partition collects them in a batch, one thread appends the batches.
//!
//! ```text
//! push -> Lane.open (a BatchBuilder) --full, lingered, or somebody waits--> ready (in order) --thread--> Partition
//! ```
//!
//! **Invariants**
//! 1. Batches of a lane enter `ready` in the order in which they were opened (a batch is sealed under its lane's lock),
//!    and leave it in order: within a partition, records lie in the order of their `push`.
//! 2. Every batch gets an outcome exactly once, after `append` (acks 1 and 0) or after the sync that covers it (all).
//! 3. `buffered` is what all batches without an outcome hold; `has_room` keeps it below `buffer_memory`.
//!
//! Locks: a lane's, then `queue`; never the other way round. The thread knows nothing of Python.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use headwater_log::{Appended, Error, Partition, TransactionalProducer};
use headwater_record::{BatchBuilder, Codec};
use parking_lot::{Condvar, Mutex};

use crate::clock::now;

/// Bytes appended between two syncs at most, so that a sync's wait stays bounded.
const ROUND_BYTES: usize = 8 << 20;

const THREAD: &str = "headwater-sender";

/// What an acknowledgement waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acks {
    /// Nothing: handles are done from the start.
    None,
    /// The append.
    Written,
    /// The sync that covers the append, as the topic's durability says.
    Durable,
}

/// A producer's settings.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) acks: Acks,
    pub(crate) linger: Duration,
    pub(crate) batch_size: usize,
    pub(crate) codec: Codec,
    pub(crate) buffer_memory: usize,
    /// What every batch is a part of, if any.
    pub(crate) transaction: Option<Arc<TransactionalProducer>>,
}

/// How a batch ended: where it is, or why it is not in the log.
pub(crate) type Outcome = Result<Appended, Arc<Error>>;

/// What the handles of a batch share.
pub(crate) struct Batch {
    pub(crate) lane: Arc<Lane>,
    outcome: OnceLock<Outcome>,
}

impl Batch {
    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        self.outcome.get()
    }
}

struct Open {
    builder: BatchBuilder,
    batch: Arc<Batch>,
    opened_at: Instant,
    bytes: usize,
}

struct Sealed {
    builder: BatchBuilder,
    batch: Arc<Batch>,
    bytes: usize,
    sequence: u64,
}

/// One partition as a producer sees it.
pub(crate) struct Lane {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: u32,
    log: Arc<Partition>,
    open: Mutex<Option<Open>>,
    /// The topic's sticky partition, moved on whenever the batch of that partition is sealed.
    sticky: Arc<AtomicU32>,
    /// How many lanes the topic has.
    lanes: AtomicU32,
    /// The largest batch that the topic takes.
    max_batch_bytes: AtomicUsize,
}

impl Lane {
    /// The lanes of a topic; those that are known go on, with what they hold, so that the order of a partition is kept.
    pub(crate) fn of_topic(
        topic: &Arc<str>,
        logs: &[Arc<Partition>],
        sticky: &Arc<AtomicU32>,
        known: &[Arc<Self>],
    ) -> Vec<Arc<Self>> {
        let lanes = u32::try_from(logs.len()).expect("partition counts are 32-bit");
        (0_u32..)
            .zip(logs)
            .map(|(partition, log)| {
                if let Some(lane) = known.get(partition as usize).filter(|lane| Arc::ptr_eq(&lane.log, log)) {
                    lane.lanes.store(lanes, Ordering::Relaxed);
                    lane.max_batch_bytes.store(log.max_batch_bytes(), Ordering::Relaxed);
                    return Arc::clone(lane);
                }
                Arc::new(Self {
                    topic: Arc::clone(topic),
                    partition,
                    log: Arc::clone(log),
                    open: Mutex::new(None),
                    sticky: Arc::clone(sticky),
                    lanes: AtomicU32::new(lanes),
                    max_batch_bytes: AtomicUsize::new(log.max_batch_bytes()),
                })
            })
            .collect()
    }
}

#[derive(Default)]
struct Queue {
    ready: VecDeque<Sealed>,
    /// Lanes with an open batch and when that was opened; an entry may be stale (its batch sealed since).
    opened: VecDeque<(Arc<Lane>, Instant)>,
    sealed: u64,
    completed: u64,
    failure: Option<Arc<Error>>,
    is_closing: bool,
    is_stopped: bool,
    /// Somebody waits for everything: linger is over.
    is_flushing: usize,
}

/// What a producer, its handles and its thread share.
pub(crate) struct Sender {
    pub(crate) settings: Settings,
    queue: Mutex<Queue>,
    /// The thread waits here for work, everybody else on `progress` for outcomes.
    work: Condvar,
    progress: Condvar,
    buffered: AtomicUsize,
}

impl Sender {
    /// Starts the thread; it ends after `close`.
    ///
    /// # Errors
    /// `NoThread` if the machine has none left.
    pub(crate) fn start(settings: Settings) -> Result<Arc<Self>, Error> {
        let sender = Arc::new(Self {
            settings,
            queue: Mutex::default(),
            work: Condvar::new(),
            progress: Condvar::new(),
            buffered: AtomicUsize::new(0),
        });
        let worker = Arc::clone(&sender);
        let spawned = std::thread::Builder::new().name(THREAD.into()).spawn(move || worker.run());
        spawned.map_err(|source| Error::NoThread { name: THREAD, source: Arc::new(source) })?;
        Ok(sender)
    }

    /// Whether a record of so many bytes may be pushed now. One larger than the whole memory goes alone.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        let buffered = self.buffered.load(Ordering::Relaxed);
        buffered == 0 || buffered + bytes <= self.settings.buffer_memory
    }

    /// Whether records wait for their outcome.
    pub(crate) fn is_unflushed(&self) -> bool {
        self.buffered.load(Ordering::Relaxed) > 0
    }

    /// Adds a record to its lane's batch; returns the batch and the record's place in it, or None after `close`.
    pub(crate) fn push(
        &self,
        lane: &Arc<Lane>,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[u8],
    ) -> Option<(Arc<Batch>, u32)> {
        let bytes = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + headers.len() + RECORD_OVERHEAD;
        let limit = lane.max_batch_bytes.load(Ordering::Relaxed);
        let is_full = |open: &Open, more: usize| open.builder.size_bytes() + more > limit;
        let mut slot = lane.open.lock();
        // What the topic will not take takes no other record with it.
        if let Some(full) = slot.take_if(|open| is_full(open, bytes + RECORD_OVERHEAD_MAX)) {
            self.seal(lane, full);
        }
        if slot.is_none() {
            *slot = Some(self.open_batch(lane)?);
        }
        let open = slot.as_mut().expect("opened above");
        open.builder.push(timestamp, key, value, headers);
        open.bytes += bytes;
        self.buffered.fetch_add(bytes, Ordering::Relaxed);
        let pushed = (Arc::clone(&open.batch), open.builder.len() as u32 - 1);
        if open.bytes >= self.settings.batch_size || is_full(open, RECORD_OVERHEAD_MAX) {
            let full = slot.take().expect("open");
            self.seal(lane, full);
        }
        Some(pushed)
    }

    /// Opens a batch, unless the thread ends or has ended: then nobody would send it. (A batch that is open when the thread
    /// is told to end is sent: the thread looks at everything opened before it goes.)
    fn open_batch(&self, lane: &Arc<Lane>) -> Option<Open> {
        let opened_at = now();
        let mut queue = self.queue.lock();
        if queue.is_closing || queue.is_stopped {
            return None;
        }
        queue.opened.push_back((Arc::clone(lane), opened_at));
        if queue.opened.len() == 1 {
            self.work.notify_one();
        }
        let batch = Arc::new(Batch { lane: Arc::clone(lane), outcome: OnceLock::new() });
        // Room for a full batch, so that the buffer is not copied while it grows.
        let builder = BatchBuilder::with_capacity(self.settings.batch_size.min(1 << 20) + 1024);
        Some(Open { builder, batch, opened_at, bytes: 0 })
    }

    /// Hands a batch to the thread; the caller holds the lane's lock.
    fn seal(&self, lane: &Lane, open: Open) {
        let next = (lane.partition + 1) % lane.lanes.load(Ordering::Relaxed);
        let _ = lane.sticky.compare_exchange(lane.partition, next, Ordering::Relaxed, Ordering::Relaxed);
        let mut queue = self.queue.lock();
        queue.sealed += 1;
        let sequence = queue.sealed;
        queue.ready.push_back(Sealed { builder: open.builder, batch: open.batch, bytes: open.bytes, sequence });
        self.work.notify_one();
    }

    /// Sends a lane's open batch now, if it is (still) the one asked for; None means whichever.
    pub(crate) fn seal_now(&self, lane: &Lane, wanted: Option<&Arc<Batch>>) {
        let mut slot = lane.open.lock();
        if slot.as_ref().is_some_and(|open| wanted.is_none_or(|wanted| Arc::ptr_eq(wanted, &open.batch))) {
            let open = slot.take().expect("checked");
            self.seal(lane, open);
        }
    }

    /// Sends every open batch now.
    pub(crate) fn seal_all(&self) {
        let lanes: Vec<Arc<Lane>> = self.queue.lock().opened.iter().map(|(lane, _)| Arc::clone(lane)).collect();
        for lane in lanes {
            self.seal_now(&lane, None);
        }
    }

    /// The sequence number that `is_completed` must reach for everything sealed so far.
    pub(crate) fn sealed(&self) -> u64 {
        self.queue.lock().sealed
    }

    /// Waits for all batches up to a sequence number; true when they have their outcomes.
    pub(crate) fn wait_completed(&self, sequence: u64, at_most: Duration) -> bool {
        let mut queue = self.queue.lock();
        if queue.completed < sequence && !queue.is_stopped {
            self.progress.wait_for(&mut queue, at_most);
        }
        queue.completed >= sequence || queue.is_stopped
    }

    /// Waits for some batch to complete, or until there is room for so many bytes.
    pub(crate) fn wait_for_room(&self, bytes: usize, at_most: Duration) -> bool {
        let mut queue = self.queue.lock();
        if !self.has_room(bytes) {
            queue.is_flushing += 1;
            self.work.notify_one();
            self.progress.wait_for(&mut queue, at_most);
            queue.is_flushing -= 1;
        }
        self.has_room(bytes) || queue.is_stopped
    }

    /// Waits for a batch's outcome; true when there is one, or will be none because the thread has ended.
    pub(crate) fn wait_outcome(&self, batch: &Batch, at_most: Duration) -> bool {
        if batch.outcome().is_some() {
            return true;
        }
        let mut queue = self.queue.lock();
        if batch.outcome().is_none() && !queue.is_stopped {
            self.progress.wait_for(&mut queue, at_most);
        }
        batch.outcome().is_some() || queue.is_stopped
    }

    /// The first failure since the last call: what `flush` raises.
    pub(crate) fn take_failure(&self) -> Option<Arc<Error>> {
        self.queue.lock().failure.take()
    }

    /// Lets the thread finish what is sealed and end.
    pub(crate) fn close(&self) {
        self.queue.lock().is_closing = true;
        self.work.notify_one();
    }

    // --- the thread ---------------------------------------------------------------------------------------------------

    fn run(&self) {
        let _stopping = Stopping(self);
        while let Some(work) = self.next_work() {
            match work {
                Work::Due(lanes) => self.seal_due(&lanes),
                Work::Ready(batches) => self.complete(batches),
            }
        }
    }

    fn next_work(&self) -> Option<Work> {
        let mut queue = self.queue.lock();
        loop {
            let linger = if queue.is_flushing > 0 || queue.is_closing { Duration::ZERO } else { self.settings.linger };
            let time = now();
            let mut due = Vec::new();
            while queue.opened.front().is_some_and(|(_, opened_at)| *opened_at + linger <= time) {
                due.extend(queue.opened.pop_front());
            }
            if !due.is_empty() {
                return Some(Work::Due(due));
            }
            if !queue.ready.is_empty() {
                let mut bytes = 0;
                let mut batches = Vec::new();
                while bytes < ROUND_BYTES {
                    let Some(sealed) = queue.ready.pop_front() else { break };
                    bytes += sealed.bytes;
                    batches.push(sealed);
                }
                return Some(Work::Ready(batches));
            }
            if queue.is_closing {
                return None;
            }
            match queue.opened.front().map(|(_, opened_at)| *opened_at + linger) {
                Some(deadline) => {
                    self.work.wait_until(&mut queue, deadline);
                }
                None => self.work.wait(&mut queue),
            }
        }
    }

    /// Seals the batches that were opened when these entries say; a younger batch of the lane has its own entry.
    fn seal_due(&self, lanes: &[(Arc<Lane>, Instant)]) {
        for (lane, opened_at) in lanes {
            let mut slot = lane.open.lock();
            if slot.as_ref().is_some_and(|open| open.opened_at <= *opened_at) {
                let open = slot.take().expect("checked");
                self.seal(lane, open);
            }
        }
    }

    /// Appends batches in order, syncs what must be durable, and gives every batch its outcome.
    fn complete(&self, batches: Vec<Sealed>) {
        let last = batches.last().map_or(0, |sealed| sealed.sequence);
        let bytes: usize = batches.iter().map(|sealed| sealed.bytes).sum();
        let mut outcomes: Vec<(Arc<Batch>, Outcome)> = Vec::with_capacity(batches.len());
        for sealed in batches {
            let transaction = self.settings.transaction.as_deref();
            let appended = crate::wal::append(&sealed.batch.lane.log, sealed.builder, self.settings.codec, transaction);
            outcomes.push((sealed.batch, appended.map_err(Arc::new)));
        }
        if self.settings.acks != Acks::Durable {
            // Acknowledged as written. Readers see records once they are synced, so that happens all the same.
            for (batch, outcome) in &outcomes {
                let _ = batch.outcome.set(outcome.clone());
            }
            drop(self.queue.lock());
            self.progress.notify_all();
        }
        if self.settings.transaction.is_none() {
            sync(&mut outcomes); // a transaction syncs when it is committed
        }
        let failure = outcomes.iter().find_map(|(_, outcome)| outcome.as_ref().err().cloned());
        for (batch, outcome) in outcomes {
            let _ = batch.outcome.set(outcome);
        }
        let mut queue = self.queue.lock();
        queue.completed = last;
        queue.failure = queue.failure.take().or(failure);
        self.buffered.fetch_sub(bytes, Ordering::Relaxed);
        self.progress.notify_all();
    }
}

/// Whatever ends the thread, even a bug: nobody must wait for it any more.
struct Stopping<'a>(&'a Sender);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.queue.lock().is_stopped = true;
        self.0.progress.notify_all();
    }
}

enum Work {
    Due(Vec<(Arc<Lane>, Instant)>),
    Ready(Vec<Sealed>),
}

/// What a record takes in a batch beside its bytes, at most.
pub(crate) const RECORD_OVERHEAD_MAX: usize = 36;

/// What a record takes in memory beside its bytes, about.
pub(crate) const RECORD_OVERHEAD: usize = 12;

/// Waits, partition by partition, until the last batch appended there is durable; a failed sync fails its batches.
fn sync(outcomes: &mut [(Arc<Batch>, Outcome)]) {
    let mut synced: Vec<(*const Lane, Option<Arc<Error>>)> = Vec::new();
    for index in (0..outcomes.len()).rev() {
        let (batch, Ok(appended)) = &outcomes[index] else { continue };
        let lane = Arc::as_ptr(&batch.lane);
        let failure = match synced.iter().find(|(seen, _)| *seen == lane) {
            Some((_, failure)) => failure.clone(),
            None => {
                let failure = batch.lane.log.wait_durable(appended.next_offset).err().map(Arc::new);
                synced.push((lane, failure.clone()));
                failure
            }
        };
        if let Some(error) = failure {
            outcomes[index].1 = Err(error);
        }
    }
}
