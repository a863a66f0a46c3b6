//! A batch made anew from some of its records, as compaction leaves it.
//!
//! What others rely on stays: offsets (deltas have gaps then), the span of offsets, producer, sequence number, attributes and
//! codec. The largest timestamp is that of the records kept. A batch may end up without any record: it then still says up to
//! which sequence number its producer came.

use crate::batch::{DELETE_HORIZON, HEADER_BYTES, Header, TimestampType};
use crate::builder::{Fields, ProducerFields, finish, put_record, seal};
use crate::records::{RecordView, Records};
use crate::{Codec, Result};

/// Kafka's base timestamp of a batch without records.
const NO_TIMESTAMP: i64 = -1;

impl Records {
    /// The batch of the records for which `keep` says so. With a `delete_horizon` the batch says when its tombstones or its
    /// marker may go; one that it has already stays.
    ///
    /// # Errors
    /// Records that do not decode, or a codec that fails.
    pub fn rebuild(
        &self,
        delete_horizon: Option<i64>,
        mut keep: impl FnMut(&RecordView<'_>) -> bool,
    ) -> Result<Vec<u8>> {
        let header = self.header();
        let horizon = header.delete_horizon().or(delete_horizon);
        let mut out = vec![0; HEADER_BYTES];
        let (mut count, mut base_timestamp, mut max_timestamp) = (0, horizon, i64::MIN);
        for record in self {
            let record = record?;
            if !keep(&record) {
                continue;
            }
            let base = *base_timestamp.get_or_insert(record.timestamp);
            let deltas = (record.timestamp.wrapping_sub(base), (record.offset - header.base_offset) as i64);
            put_record(&mut out, deltas, record.key, record.value, record.headers);
            max_timestamp = max_timestamp.max(record.timestamp);
            count += 1;
        }
        let Some(base_timestamp) = base_timestamp.filter(|_| count > 0) else {
            return Ok(header.to_empty_batch());
        };
        if header.timestamp_type() == TimestampType::LogAppendTime {
            max_timestamp = header.max_timestamp;
        }
        let attributes = header.attributes | if horizon.is_some() { DELETE_HORIZON } else { 0 };
        let fields = Fields { attributes, base_timestamp, max_timestamp, count, ..header.fields() };
        let mut batch = finish(out, header.codec(), &fields)?;
        put_place(&mut batch, header);
        Ok(batch)
    }
}

impl Header {
    /// The batch without its records: it says where it was, and how far its producer came.
    #[must_use]
    pub fn to_empty_batch(&self) -> Vec<u8> {
        let mut out = vec![0; HEADER_BYTES];
        put_place(&mut out, self);
        let attributes = (self.attributes & !DELETE_HORIZON & !0x07) | Codec::None.id();
        seal(&mut out, &Fields { attributes, base_timestamp: NO_TIMESTAMP, count: 0, ..self.fields() });
        out
    }

    fn fields(&self) -> Fields {
        let producer = ProducerFields {
            id: self.producer_id,
            epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
            is_transactional: self.is_transactional(),
        };
        Fields {
            attributes: self.attributes,
            last_offset_delta: self.last_offset_delta,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer,
            count: self.records_count,
        }
    }
}

/// Writes what lies outside of the checksum.
fn put_place(batch: &mut [u8], header: &Header) {
    batch[..8].copy_from_slice(&header.base_offset.to_be_bytes());
    batch[12..16].copy_from_slice(&header.leader_epoch.to_be_bytes());
}
