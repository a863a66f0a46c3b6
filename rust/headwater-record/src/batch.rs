//! A batch as it lies in a log: 61 bytes of header, then its records, perhaps compressed.
//!
//! ```text
//! 0 base offset i64 | 8 length i32 | 12 leader epoch i32 | 16 magic i8 | 17 crc u32 | 21 attributes i16
//! 23 last offset delta i32 | 27 base timestamp i64 | 35 max timestamp i64 | 43 producer id i64 | 51 epoch i16
//! 53 base sequence i32 | 57 records count i32 | 61 records
//! ```
//! The checksum (CRC-32C) covers byte 21 to the end: base offset and leader epoch may be rewritten freely. Attributes: bits
//! 0-2 codec, 3 timestamp type, 4 transactional, 5 control, 6 delete horizon: the base timestamp then is the time from which
//! on compaction may drop the batch's tombstones or its marker (timestamp deltas refer to it all the same).

use bytes::Bytes;

use crate::records::Records;
use crate::{Codec, Error, MAX_DECOMPRESSED_BYTES, Result};

/// Size of a batch's header.
pub const HEADER_BYTES: usize = 61;
/// Where the checksummed part begins.
pub(crate) const CRC_START: usize = 21;
/// The attribute bit of a base timestamp that is a delete horizon.
pub(crate) const DELETE_HORIZON: i16 = 0x40;

/// Who set the timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer, record by record.
    CreateTime,
    /// The log, one for the batch.
    LogAppendTime,
}

/// The header of a batch, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Offset of the first record.
    pub base_offset: u64,
    /// Size of the whole batch, header included.
    pub size_bytes: usize,
    /// Epoch of the partition's leader when it was written; no checksum covers it.
    pub leader_epoch: i32,
    /// Checksum as written.
    pub checksum: u32,
    /// The attribute bits.
    pub attributes: i16,
    /// Offset of the last record minus `base_offset`.
    pub last_offset_delta: u32,
    /// Timestamp that the records' deltas refer to; the [`delete_horizon`](Self::delete_horizon) if there is one.
    pub base_timestamp: i64,
    /// The largest timestamp.
    pub max_timestamp: i64,
    /// Producer id, or -1.
    pub producer_id: i64,
    /// Producer epoch, or -1.
    pub producer_epoch: i16,
    /// First sequence number, or -1.
    pub base_sequence: i32,
    /// How many records; fewer than offsets after compaction.
    pub records_count: u32,
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the header's length was checked")
}

impl Header {
    /// Decodes the header at the front of `bytes`; does not look at the checksum.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() < HEADER_BYTES {
            return Err(Error::Short { expected: HEADER_BYTES, got: bytes.len() });
        }
        let refused = |what: String| Err(Error::NotABatch { what });
        let magic = bytes[16];
        if magic != 2 {
            return refused(format!("format {magic}"));
        }
        let length = i32::from_be_bytes(field(bytes, 8));
        let base_offset = i64::from_be_bytes(field(bytes, 0));
        let last_offset_delta = i32::from_be_bytes(field(bytes, 23));
        let records_count = i32::from_be_bytes(field(bytes, 57));
        let (Ok(length), Ok(base_offset), Ok(last_offset_delta), Ok(records_count)) = (
            usize::try_from(length),
            u64::try_from(base_offset),
            u32::try_from(last_offset_delta),
            u32::try_from(records_count),
        ) else {
            return refused("a negative length, offset or count".into());
        };
        if length + 12 < HEADER_BYTES {
            return refused(format!("a length of {length} bytes"));
        }
        if u64::from(records_count) > u64::from(last_offset_delta) + 1 {
            return refused(format!("{records_count} records in {} offsets", u64::from(last_offset_delta) + 1));
        }
        let attributes = i16::from_be_bytes(field(bytes, 21));
        Codec::from_attributes(attributes)?;
        Ok(Self {
            base_offset,
            size_bytes: length + 12,
            leader_epoch: i32::from_be_bytes(field(bytes, 12)),
            checksum: u32::from_be_bytes(field(bytes, 17)),
            attributes,
            last_offset_delta,
            base_timestamp: i64::from_be_bytes(field(bytes, 27)),
            max_timestamp: i64::from_be_bytes(field(bytes, 35)),
            producer_id: i64::from_be_bytes(field(bytes, 43)),
            producer_epoch: i16::from_be_bytes(field(bytes, 51)),
            base_sequence: i32::from_be_bytes(field(bytes, 53)),
            records_count,
        })
    }

    /// Offset of the last record.
    #[must_use]
    pub fn last_offset(&self) -> u64 {
        self.base_offset.saturating_add(u64::from(self.last_offset_delta))
    }

    /// The offset after the last.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.last_offset().saturating_add(1)
    }

    /// Sequence number of the last record; -1 if its producer does not number them.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        self.sequence_at(self.last_offset_delta)
    }

    /// Sequence number of the record so many offsets behind the first; -1 if its producer does not number them.
    #[must_use]
    pub fn sequence_at(&self, delta: u32) -> i32 {
        if self.base_sequence < 0 { -1 } else { sequence_after(self.base_sequence, delta) }
    }

    /// The codec of the records.
    #[must_use]
    pub fn codec(&self) -> Codec {
        Codec::from_attributes(self.attributes).expect("checked when parsed")
    }

    /// Who set the timestamps.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & 0x08 == 0 { TimestampType::CreateTime } else { TimestampType::LogAppendTime }
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    /// Whether it holds control records, which no consumer sees.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }

    /// From when on compaction may drop its tombstones or its marker; None until a compaction has seen them.
    #[must_use]
    pub fn delete_horizon(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }
}

/// A whole batch: its header and its bytes.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The header, decoded.
    pub header: Header,
    bytes: Bytes,
}

impl Batch {
    /// Takes the first batch off `bytes`, without copying; returns it and the rest. Does not look at the checksum.
    pub fn split(bytes: &Bytes) -> Result<(Self, Bytes)> {
        let header = Header::parse(bytes)?;
        if bytes.len() < header.size_bytes {
            return Err(Error::Short { expected: header.size_bytes, got: bytes.len() });
        }
        let batch = bytes.slice(..header.size_bytes);
        Ok((Self { header, bytes: batch }, bytes.slice(header.size_bytes..)))
    }

    /// The bytes of it all.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Checks the checksum.
    pub fn verify(&self) -> Result<()> {
        verify(&self.header, &self.bytes)
    }

    /// Its records, decompressed if need be, to at most [`MAX_DECOMPRESSED_BYTES`].
    pub fn records(&self) -> Result<Records> {
        self.records_within(MAX_DECOMPRESSED_BYTES)
    }

    /// Its records, decompressed to at most `limit` bytes.
    pub fn records_within(&self, limit: usize) -> Result<Records> {
        let packed = self.bytes.slice(HEADER_BYTES..);
        let bytes = match self.header.codec() {
            Codec::None => packed,
            codec => codec.decompress(&packed, limit)?.into(),
        };
        Ok(Records::new(self.header, bytes))
    }
}

/// The sequence number `count` behind another; they go on at 0 behind the largest.
#[must_use]
pub fn sequence_after(sequence: i32, count: u32) -> i32 {
    ((i64::from(sequence) + i64::from(count)) % (1 << 31)) as i32
}

/// The checksum of a whole batch as it should be, whatever its header says.
#[must_use]
pub fn checksum(batch: &[u8]) -> u32 {
    crc32c::crc32c(&batch[CRC_START..])
}

/// Checks the checksum of the batch in `bytes`, which `header` was parsed from.
pub(crate) fn verify(header: &Header, bytes: &[u8]) -> Result<()> {
    let got = crc32c::crc32c(&bytes[CRC_START..header.size_bytes]);
    if got == header.checksum { Ok(()) } else { Err(Error::Checksum { expected: header.checksum, got }) }
}

impl Header {
    /// Checks the checksum of the batch at the front of `bytes`, which this header was parsed from.
    pub fn verify(&self, bytes: &[u8]) -> Result<()> {
        if bytes.len() < self.size_bytes {
            return Err(Error::Short { expected: self.size_bytes, got: bytes.len() });
        }
        verify(self, bytes)
    }
}
