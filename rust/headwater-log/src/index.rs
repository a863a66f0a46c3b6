//! The two sparse indexes of a segment, in Kafka's formats: offset -> position, and timestamp -> offset.
//!
//! Both are derived: an entry is added whenever more than `index.interval.bytes` of batches lie behind the last one, and a
//! missing or damaged file is rebuilt from the log. Lookup is a binary search.
//!
//! **Invariants**
//! 1. Offset entries ascend in both columns; an entry is (a batch's last offset, the batch's position).
//! 2. Time entries ascend strictly in timestamp; an entry (t, o) says: no record up to offset o is later than t.

/// Offset (relative to the segment's base) to file position, 8 bytes an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetIndex {
    entries: Vec<(u32, u32)>,
}

impl OffsetIndex {
    /// Adds a batch.
    pub fn push(&mut self, last_offset: u32, position: u32) {
        self.entries.push((last_offset, position));
    }

    /// The last entry at or below an offset: the last offset of a batch, and its position.
    #[must_use]
    pub fn lookup(&self, offset: u32) -> Option<(u32, u32)> {
        let above = self.entries.partition_point(|(entry, _)| *entry <= offset);
        above.checked_sub(1).map(|index| self.entries[index])
    }

    /// Last offset of a batch and its position, in order.
    #[must_use]
    pub fn entries(&self) -> &[(u32, u32)] {
        &self.entries
    }

    /// The file's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.entries
            .iter()
            .flat_map(|(offset, position)| [offset.to_be_bytes(), position.to_be_bytes()].concat())
            .collect()
    }

    /// From a file's bytes; None if they cannot be an index of `size` bytes of log.
    #[must_use]
    pub fn from_bytes(bytes: &[u8], size: u64) -> Option<Self> {
        let (chunks, rest) = bytes.as_chunks::<8>();
        let word = |chunk: &[u8]| u32::from_be_bytes(chunk.try_into().expect("four bytes"));
        let entries: Vec<(u32, u32)> = chunks.iter().map(|c| (word(&c[..4]), word(&c[4..]))).collect();
        let is_ascending = entries.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1);
        let is_inside = entries.last().is_none_or(|(offset, position)| u64::from(*position) < size && *offset > 0);
        (rest.is_empty() && is_ascending && is_inside).then_some(Self { entries })
    }
}

/// Timestamp to offset (relative to the segment's base), 12 bytes an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeIndex {
    entries: Vec<(i64, u32)>,
}

impl TimeIndex {
    /// Adds the largest timestamp so far and the last offset it holds for, if it is larger than before.
    pub fn push(&mut self, timestamp: i64, offset: u32) {
        if self.entries.last().is_none_or(|(last, _)| timestamp > *last) {
            self.entries.push((timestamp, offset));
        }
    }

    /// An offset at or before the first record that is not earlier than a timestamp.
    #[must_use]
    pub fn lookup(&self, timestamp: i64) -> u32 {
        let above = self.entries.partition_point(|(entry, _)| *entry < timestamp);
        above.checked_sub(1).map_or(0, |index| self.entries[index].1)
    }

    /// Timestamps and the offsets up to which they are the largest, in order.
    #[must_use]
    pub fn entries(&self) -> &[(i64, u32)] {
        &self.entries
    }

    /// The largest timestamp, once the segment is sealed.
    #[must_use]
    pub fn last(&self) -> Option<(i64, u32)> {
        self.entries.last().copied()
    }

    /// The file's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let entry = |(timestamp, offset): &(i64, u32)| [&timestamp.to_be_bytes()[..], &offset.to_be_bytes()].concat();
        self.entries.iter().flat_map(entry).collect()
    }

    /// From a file's bytes; None if they cannot be a time index.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (chunks, rest) = bytes.as_chunks::<12>();
        let entries: Vec<(i64, u32)> = chunks
            .iter()
            .map(|chunk| {
                let timestamp = i64::from_be_bytes(chunk[..8].try_into().expect("eight bytes"));
                (timestamp, u32::from_be_bytes(chunk[8..].try_into().expect("four bytes")))
            })
            .collect();
        let is_ascending = entries.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        (rest.is_empty() && is_ascending).then_some(Self { entries })
    }
}
