//! The aborted transactions of a partition, and Kafka's file of them: `<20 digits>.txnindex`, beside the segment that holds
//! the marker.
//!
//! ```text
//! version i16 = 0 | producer id i64 | first offset i64 | offset of the marker i64 | last stable offset then i64
//! ```

use std::collections::HashMap;

use headwater_record::Header;

const ENTRY_BYTES: usize = 34;

/// One of them: the producer's records from the first offset to the marker do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AbortedTransaction {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: u64,
    pub(crate) last_offset: u64,
    pub(crate) last_stable_offset: u64,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Aborted {
    /// By producer, in the log's order: so they ascend, and do not overlap.
    by_producer: HashMap<i64, Vec<AbortedTransaction>>,
}

impl Aborted {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_producer.is_empty()
    }

    pub(crate) fn push(&mut self, transaction: AbortedTransaction) {
        self.by_producer.entry(transaction.producer_id).or_default().push(transaction);
    }

    /// Whether a batch belongs to one of them.
    pub(crate) fn contains(&self, header: &Header) -> bool {
        let Some(transactions) = self.by_producer.get(&header.producer_id).filter(|_| header.is_transactional()) else {
            return false;
        };
        let at = transactions.partition_point(|transaction| transaction.last_offset < header.base_offset);
        transactions.get(at).is_some_and(|transaction| transaction.first_offset <= header.base_offset)
    }

    /// The transaction of a producer that the marker at this offset ended, if it is the last.
    pub(crate) fn ended_at(&self, producer_id: i64, last_offset: u64) -> Option<AbortedTransaction> {
        let last = self.by_producer.get(&producer_id)?.last().copied();
        last.filter(|transaction| transaction.last_offset == last_offset)
    }

    pub(crate) fn forget_below(&mut self, offset: u64) {
        for transactions in self.by_producer.values_mut() {
            transactions.retain(|transaction| transaction.last_offset >= offset);
        }
        self.by_producer.retain(|_, transactions| !transactions.is_empty());
    }

    /// The file of a segment: the transactions whose markers lie from `from` up to, not including, `until`.
    pub(crate) fn to_bytes(&self, from: u64, until: u64) -> Vec<u8> {
        let mut inside: Vec<&AbortedTransaction> = self.by_producer.values().flatten().collect();
        inside.retain(|transaction| (from..until).contains(&transaction.last_offset));
        inside.sort_unstable_by_key(|transaction| transaction.last_offset);
        let mut out = Vec::with_capacity(inside.len() * ENTRY_BYTES);
        for transaction in inside {
            out.extend_from_slice(&0_i16.to_be_bytes());
            out.extend_from_slice(&transaction.producer_id.to_be_bytes());
            for offset in [transaction.first_offset, transaction.last_offset, transaction.last_stable_offset] {
                out.extend_from_slice(&offset.to_be_bytes());
            }
        }
        out
    }

    /// The transactions in a file's bytes; None if it cannot be such a file.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Vec<AbortedTransaction>> {
        let (entries, rest) = bytes.as_chunks::<ENTRY_BYTES>();
        let entry = |entry: &[u8; ENTRY_BYTES]| {
            let word = |at: usize| i64::from_be_bytes(entry[at..at + 8].try_into().expect("eight bytes"));
            let offset = |at: usize| u64::try_from(word(at)).ok();
            let found = AbortedTransaction {
                producer_id: word(2),
                first_offset: offset(10)?,
                last_offset: offset(18)?,
                last_stable_offset: offset(26)?,
            };
            (entry[..2] == [0, 0] && found.first_offset <= found.last_offset).then_some(found)
        };
        let found: Vec<AbortedTransaction> = entries.iter().map(entry).collect::<Option<_>>()?;
        let is_ascending = found.windows(2).all(|pair| pair[0].last_offset < pair[1].last_offset);
        (rest.is_empty() && is_ascending).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_the_markers_of_its_segment() {
        let transaction = |producer_id, first_offset, last_offset| AbortedTransaction {
            producer_id,
            first_offset,
            last_offset,
            last_stable_offset: last_offset + 1,
        };
        let mut aborted = Aborted::default();
        let all = [transaction(1, 0, 4), transaction(2, 3, 9), transaction(1, 6, 12)];
        all.into_iter().for_each(|one| aborted.push(one));
        assert_eq!(Aborted::parse(&aborted.to_bytes(0, 10)), Some(all[..2].to_vec()));
        assert_eq!(Aborted::parse(&aborted.to_bytes(10, 20)), Some(all[2..].to_vec()));
        let mut bytes = aborted.to_bytes(0, 20);
        assert_eq!(bytes.len(), 3 * ENTRY_BYTES);
        assert_eq!(Aborted::parse(&bytes[1..]), None);
        bytes[0] = 1;
        assert_eq!(Aborted::parse(&bytes), None, "another version");
    }
}
