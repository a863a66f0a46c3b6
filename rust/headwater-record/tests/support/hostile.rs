//! What must hold for any bytes at all that are offered as a batch: fuzz targets and their stable twins share it.
#![allow(dead_code, reason = "each test uses a part of it")]

use bytes::Bytes;
use headwater_record::{Batch, HEADER_BYTES};

/// Most that a test lets a batch decompress to.
const LIMIT: usize = 1 << 20;

/// Decodes `data` as it is, and once more with the length and checksum that its contents should have.
pub(crate) fn decode(data: &[u8]) {
    batches(Bytes::copy_from_slice(data));
    if data.len() >= HEADER_BYTES {
        batches(repaired(data).into());
    }
}

/// The same bytes behind a header that passes for one: what lies deeper is reached.
pub(crate) fn repaired(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    let length = (bytes.len() - 12) as u32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[16] = 2;
    let checksum = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

fn batches(mut rest: Bytes) {
    while let Ok((batch, tail)) = Batch::split(&rest) {
        assert_eq!(batch.header.size_bytes + tail.len(), rest.len());
        assert!(batch.header.size_bytes >= HEADER_BYTES);
        if batch.verify().is_ok() {
            records(&batch);
        }
        rest = tail;
    }
}

fn records(batch: &Batch) {
    let Ok(records) = batch.records_within(LIMIT) else { return };
    let (mut count, mut size) = (0_u64, 0);
    for record in &records {
        let Ok(view) = record else { break };
        assert!((batch.header.base_offset..=batch.header.last_offset()).contains(&view.offset));
        let record = records.own(view);
        assert_eq!(record.key.as_deref(), view.key);
        assert_eq!(record.value.as_deref(), view.value);
        size += view.key.map_or(0, <[u8]>::len) + view.value.map_or(0, <[u8]>::len) + view.headers.len();
        count += 1;
    }
    assert!(count <= u64::from(batch.header.records_count) && size <= LIMIT);
    let _ = records.marker();
}
