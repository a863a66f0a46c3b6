//! A batch in the making: records are encoded as they come, the header is written at the end.
//!
//! The first 61 bytes of the buffer are kept free for the header, so that an uncompressed batch is finished in place.
//! Timestamps are deltas to the first record's, offsets to 0: the log rewrites the base offset, which lies outside the
//! checksum.

use crate::batch::{CRC_START, HEADER_BYTES};
use crate::{Codec, Result, varint};

/// The idempotent producer's fields of a batch; the default is a plain producer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerFields {
    /// Producer id, or -1.
    pub id: i64,
    /// Producer epoch, or -1.
    pub epoch: i16,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// Whether the batch belongs to a transaction.
    pub is_transactional: bool,
}

impl Default for ProducerFields {
    fn default() -> Self {
        Self { id: -1, epoch: -1, base_sequence: -1, is_transactional: false }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    buffer: Vec<u8>,
    count: u32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(1 << 10)
    }

    /// An empty batch with room for so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(bytes.max(HEADER_BYTES));
        buffer.resize(HEADER_BYTES, 0);
        Self { buffer, count: 0, base_timestamp: 0, max_timestamp: i64::MIN }
    }

    /// Adds a record. `raw_headers` is encoded: a varint count and the entries; empty means none.
    #[inline]
    pub fn push(&mut self, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>, raw_headers: &[u8]) {
        if self.count == 0 {
            self.base_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let deltas = (timestamp.wrapping_sub(self.base_timestamp), i64::from(self.count));
        put_record(&mut self.buffer, deltas, key, value, raw_headers);
        self.count += 1;
    }

    /// Records so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes so far, uncompressed, the header included.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The largest timestamp so far.
    #[must_use]
    pub fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    /// Finishes the batch of a plain producer, with base offset 0.
    pub fn finish(self, codec: Codec) -> Result<Vec<u8>> {
        self.finish_as(codec, ProducerFields::default())
    }

    /// Finishes the batch with an idempotent or transactional producer's fields.
    pub fn finish_as(self, codec: Codec, producer: ProducerFields) -> Result<Vec<u8>> {
        let attributes = codec.id() | if producer.is_transactional { 0x10 } else { 0 };
        self.finish_with(codec, attributes, producer)
    }

    /// Finishes a control batch: its records' keys say what it is.
    pub(crate) fn finish_control(self, producer: ProducerFields) -> Result<Vec<u8>> {
        self.finish_with(Codec::None, 0x20 | if producer.is_transactional { 0x10 } else { 0 }, producer)
    }

    fn finish_with(self, codec: Codec, attributes: i16, producer: ProducerFields) -> Result<Vec<u8>> {
        let Self { buffer, count, base_timestamp, max_timestamp } = self;
        assert!(count > 0, "a batch has at least one record");
        let last_offset_delta = count - 1;
        let fields = Fields { attributes, last_offset_delta, base_timestamp, max_timestamp, producer, count };
        finish(buffer, codec, &fields)
    }
}

/// What a header says beside the length and the checksum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields {
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: u32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer: ProducerFields,
    pub(crate) count: u32,
}

/// Appends a record; `deltas` are those of its timestamp and its offset.
#[inline]
pub(crate) fn put_record(
    out: &mut Vec<u8>,
    (timestamp_delta, offset_delta): (i64, i64),
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    raw_headers: &[u8],
) {
    let headers = if raw_headers.is_empty() { &[0][..] } else { raw_headers };
    let field = |field: Option<&[u8]>| match field {
        None => 1,
        Some(bytes) => varint::size(bytes.len() as i64) + bytes.len(),
    };
    let length =
        1 + varint::size(timestamp_delta) + varint::size(offset_delta) + field(key) + field(value) + headers.len();
    out.reserve(length + 10);
    varint::put(out, length as i64);
    out.push(0);
    varint::put(out, timestamp_delta);
    varint::put(out, offset_delta);
    for part in [key, value] {
        match part {
            None => out.push(1), // -1 in zigzag
            Some(bytes) => {
                varint::put(out, bytes.len() as i64);
                out.extend_from_slice(bytes);
            }
        }
    }
    out.extend_from_slice(headers);
}

/// Compresses what lies behind the 61 bytes kept free at the front of `buffer`, and writes the header there.
pub(crate) fn finish(buffer: Vec<u8>, codec: Codec, fields: &Fields) -> Result<Vec<u8>> {
    let mut out = match codec {
        Codec::None => buffer,
        _ => {
            let mut packed = Vec::with_capacity(buffer.len() / 2 + HEADER_BYTES);
            packed.resize(HEADER_BYTES, 0);
            codec.compress(&buffer[HEADER_BYTES..], &mut packed)?;
            packed
        }
    };
    seal(&mut out, fields);
    Ok(out)
}

/// Writes the header of a batch whose records are in place. Base offset and leader epoch are left as they are.
pub(crate) fn seal(out: &mut [u8], fields: &Fields) {
    let length = (out.len() - 12) as u32;
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(8, &length.to_be_bytes());
    put(16, &[2]);
    put(21, &fields.attributes.to_be_bytes());
    put(23, &fields.last_offset_delta.to_be_bytes());
    put(27, &fields.base_timestamp.to_be_bytes());
    put(35, &fields.max_timestamp.to_be_bytes());
    put(43, &fields.producer.id.to_be_bytes());
    put(51, &fields.producer.epoch.to_be_bytes());
    put(53, &fields.producer.base_sequence.to_be_bytes());
    put(57, &fields.count.to_be_bytes());
    let checksum = crc32c::crc32c(&out[CRC_START..]);
    out[17..21].copy_from_slice(&checksum.to_be_bytes());
}
