//! What a partition knows of the producers that number their batches: idempotence, and which transactions are open.
//!
//! All of it is derived from the log: a batch with a producer id carries its epoch and its first sequence number, a
//! transactional batch opens its producer's transaction, a control batch ends it. As in Kafka:
//!
//! | a batch | is |
//! |---|---|
//! | one of the producer's last five, by epoch and sequence numbers | a duplicate: not written, answered with its offset |
//! | of an older epoch | fenced |
//! | the next in sequence, or the first (0) of a newer epoch | appended |
//! | of a producer that is not known (its records were forgotten) | appended, whatever its number |
//! | any other | out of order: something before it is missing |
//!
//! *Layout*: `aborted` what `read_committed` leaves out, `snapshot` the file that spares a walk through the log.

use std::collections::{HashMap, VecDeque};

use headwater_record::{Batch, ControlType, Header, Marker, sequence_after};

use self::aborted::{Aborted, AbortedTransaction};

pub(crate) mod aborted;
pub(crate) mod snapshot;

/// Batches of a producer that are remembered, to know them again.
const REMEMBERED: usize = 5;
/// How long a producer that sends nothing is remembered.
const EXPIRATION_MS: i64 = 24 * 60 * 60 * 1000;

/// A batch that a producer has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: u64,
    last_offset: u64,
    timestamp: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    /// The last batches of this epoch, oldest first.
    sent: VecDeque<Sent>,
    /// First offset of its open transaction.
    open: Option<u64>,
    coordinator_epoch: i32,
    /// When it was last heard of, wall clock; None right after recovery.
    seen_ms: Option<i64>,
}

/// Whether a batch is to be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    New,
    Duplicate { base_offset: u64, next_offset: u64 },
}

/// Why a batch is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A newer producer of this id has written since.
    Fenced {
        epoch: i16,
    },
    OutOfOrder {
        expected: i32,
    },
}

/// An open transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenTransaction {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProducerState {
    producers: HashMap<i64, Producer>,
    pub(crate) aborted: Aborted,
}

impl ProducerState {
    /// Whether the log has ever held a numbered batch that is still remembered.
    pub(crate) fn is_empty(&self) -> bool {
        self.producers.is_empty() && self.aborted.is_empty()
    }

    /// What is to be done with a batch of data.
    pub(crate) fn check(&self, header: &Header) -> Result<Verdict, Refusal> {
        let Some(producer) = self.producers.get(&header.producer_id) else { return Ok(Verdict::New) };
        if header.producer_epoch < producer.epoch {
            return Err(Refusal::Fenced { epoch: producer.epoch });
        }
        let expected = match producer.sent.back() {
            Some(last) if header.producer_epoch == producer.epoch => sequence_after(last.last_sequence, 1),
            _ => 0,
        };
        if header.base_sequence == expected {
            return Ok(Verdict::New);
        }
        let last_sequence = sequence_after(header.base_sequence, header.last_offset_delta);
        let is_known =
            |sent: &&Sent| (sent.first_sequence, sent.last_sequence) == (header.base_sequence, last_sequence);
        match producer.sent.iter().find(is_known).filter(|_| header.producer_epoch == producer.epoch) {
            Some(sent) => Ok(Verdict::Duplicate { base_offset: sent.base_offset, next_offset: sent.last_offset + 1 }),
            None => Err(Refusal::OutOfOrder { expected }),
        }
    }

    /// Takes note of a batch that lies in the log.
    pub(crate) fn see_batch(&mut self, batch: &Batch) {
        // A marker without a record is what Kafka's compaction leaves of one that nobody needs any more.
        if !batch.header.is_control() {
            self.see(&batch.header, None, None);
        } else if let Ok(marker) = batch.records().and_then(|records| records.marker()) {
            self.see(&batch.header, Some(marker), None);
        }
    }

    /// Takes note of a batch, in the log's order; `marker` is what a control batch says.
    pub(crate) fn see(&mut self, header: &Header, marker: Option<Marker>, now_ms: Option<i64>) {
        if header.producer_id < 0 {
            return;
        }
        let producer = self.producers.entry(header.producer_id).or_insert_with(|| Producer {
            epoch: header.producer_epoch,
            sent: VecDeque::new(),
            open: None,
            coordinator_epoch: -1,
            seen_ms: now_ms,
        });
        producer.seen_ms = now_ms;
        if header.producer_epoch != producer.epoch {
            producer.epoch = header.producer_epoch;
            producer.sent.clear();
        }
        let Some(Marker { kind, coordinator_epoch }) = marker else {
            if producer.sent.len() == REMEMBERED {
                producer.sent.pop_front();
            }
            producer.sent.push_back(Sent {
                first_sequence: header.base_sequence,
                last_sequence: sequence_after(header.base_sequence, header.last_offset_delta),
                base_offset: header.base_offset,
                last_offset: header.last_offset(),
                timestamp: header.max_timestamp,
            });
            if header.is_transactional() {
                producer.open.get_or_insert(header.base_offset);
            }
            return;
        };
        producer.coordinator_epoch = coordinator_epoch;
        let Some(first_offset) = producer.open.take() else { return };
        if kind == ControlType::Abort {
            let last_offset = header.base_offset;
            let last_stable_offset = self.last_stable_offset(last_offset + 1);
            let producer_id = header.producer_id;
            self.aborted.push(AbortedTransaction { producer_id, first_offset, last_offset, last_stable_offset });
        }
    }

    /// The end of what is decided: the first open transaction, or the end of the log.
    pub(crate) fn last_stable_offset(&self, end: u64) -> u64 {
        self.producers.values().filter_map(|producer| producer.open).min().map_or(end, |first| first.min(end))
    }

    /// The open transactions, by producer id.
    pub(crate) fn open(&self) -> Vec<OpenTransaction> {
        let open = |(id, producer): (&i64, &Producer)| {
            producer.open.map(|_| OpenTransaction { producer_id: *id, epoch: producer.epoch })
        };
        let mut found: Vec<_> = self.producers.iter().filter_map(open).collect();
        found.sort_unstable_by_key(|open| open.producer_id);
        found
    }

    /// The largest producer id.
    pub(crate) fn largest_id(&self) -> Option<i64> {
        self.producers.keys().copied().max()
    }

    /// Whether a batch is all that the log says of a producer's epoch and sequence: compaction keeps it, if only its header.
    pub(crate) fn is_last(&self, header: &Header) -> bool {
        self.producers.get(&header.producer_id).is_some_and(|producer| match producer.sent.back() {
            Some(last) => !header.is_control() && last.last_offset == header.last_offset(),
            None => header.is_control() && producer.epoch == header.producer_epoch,
        })
    }

    /// Forgets producers that have sent nothing for a day, and transactions that lie below the log's start.
    pub(crate) fn expire(&mut self, now_ms: i64, log_start: u64) {
        self.producers.retain(|_, producer| {
            let seen_ms = *producer.seen_ms.get_or_insert(now_ms);
            producer.open.is_some() || now_ms.saturating_sub(seen_ms) < EXPIRATION_MS
        });
        self.aborted.forget_below(log_start);
    }
}

#[cfg(test)]
mod tests {
    use headwater_record::{BatchBuilder, Codec, ProducerFields};

    use super::*;

    fn header(offset: u64, epoch: i16, sequence: i32, count: usize) -> Header {
        let mut builder = BatchBuilder::new();
        (0..count).for_each(|_| builder.push(0, None, Some(b"v"), b""));
        let producer = ProducerFields { id: 7, epoch, base_sequence: sequence, is_transactional: true };
        let mut bytes = builder.finish_as(Codec::None, producer).unwrap();
        bytes[..8].copy_from_slice(&offset.to_be_bytes());
        Header::parse(&bytes).unwrap()
    }

    #[test]
    fn the_last_five_batches_are_known_again_and_a_gap_is_refused() {
        let mut state = ProducerState::default();
        for number in 0..7_u64 {
            let next = header(number * 2, 0, number as i32 * 2, 2);
            assert_eq!(state.check(&next), Ok(Verdict::New), "{number}");
            state.see(&next, None, None);
        }
        let duplicate = Verdict::Duplicate { base_offset: 4, next_offset: 6 };
        assert_eq!(state.check(&header(99, 0, 4, 2)), Ok(duplicate));
        assert_eq!(state.check(&header(99, 0, 2, 2)), Err(Refusal::OutOfOrder { expected: 14 }), "forgotten");
        assert_eq!(state.check(&header(99, 0, 16, 2)), Err(Refusal::OutOfOrder { expected: 14 }), "a gap");
        assert_eq!(state.check(&header(99, 0, 4, 1)), Err(Refusal::OutOfOrder { expected: 14 }), "half of one");
        assert_eq!(state.check(&header(99, -1, 0, 2)), Err(Refusal::Fenced { epoch: 0 }));
        assert_eq!(state.check(&header(99, 1, 3, 2)), Err(Refusal::OutOfOrder { expected: 0 }));
        assert_eq!(state.check(&header(99, 1, 0, 2)), Ok(Verdict::New));
    }

    #[test]
    fn sequence_numbers_go_on_at_zero_behind_the_largest() {
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(sequence_after(i32::MAX - 1, 3), 1);
        let mut state = ProducerState::default();
        state.see(&header(0, 0, i32::MAX - 1, 3), None, None);
        assert_eq!(state.check(&header(3, 0, 1, 1)), Ok(Verdict::New));
    }

    #[test]
    fn an_abort_is_remembered_with_its_range() {
        let mut state = ProducerState::default();
        state.see(&header(5, 0, 0, 2), None, None);
        assert_eq!(state.last_stable_offset(7), 5);
        state.see(&header(7, 1, -1, 1), Some(Marker { kind: ControlType::Abort, coordinator_epoch: 3 }), None);
        assert_eq!(state.last_stable_offset(8), 8);
        assert!(state.aborted.contains(&header(5, 0, 0, 2)));
        assert!(!state.aborted.contains(&header(8, 1, 0, 2)));
        assert_eq!(state.check(&header(8, 1, 0, 2)), Ok(Verdict::New), "a new epoch begins at 0");
    }

    #[test]
    fn who_is_silent_for_a_day_is_forgotten_but_for_an_open_transaction() {
        let mut state = ProducerState::default();
        state.see(&header(0, 0, 0, 1), None, Some(0));
        state.expire(EXPIRATION_MS * 2, 0);
        assert_eq!(state.open().len(), 1);
        state.see(&header(1, 1, -1, 1), Some(Marker { kind: ControlType::Commit, coordinator_epoch: 0 }), Some(0));
        state.expire(EXPIRATION_MS - 1, 0);
        assert!(!state.is_empty());
        state.expire(EXPIRATION_MS, 0);
        assert!(state.is_empty());
    }
}
