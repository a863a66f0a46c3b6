//! What must hold for any bytes at all that are offered as a batch: fuzz targets and their stable twins share it.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part of it; a panic is what it looks for")]

use bytes::Bytes;
use headwater_record::{Batch, HEADER_BYTES, Header, Record};

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

/// A batch of some records of `data`, which the first nine bytes choose: a mask of those that stay, and a delete horizon or
/// none. What is left is those records as they were, in the same place.
pub(crate) fn filter(data: &[u8]) {
    let Some((choice, data)) = data.split_first_chunk::<9>() else { return };
    if data.len() < HEADER_BYTES {
        return;
    }
    let mask = u64::from_be_bytes(choice[..8].try_into().unwrap());
    let horizon = (choice[8] % 2 == 1).then_some(i64::from(choice[8]) << 33);
    let Ok((batch, _)) = Batch::split(&repaired(data).into()) else { return };
    let Ok(records) = batch.records_within(LIMIT) else { return };
    let all: Vec<_> = records.iter().collect();
    let mut number = 0;
    let rebuilt = records.rebuild(horizon, |_| {
        number += 1;
        mask >> ((number - 1) % 64) & 1 == 1
    });
    assert_eq!(rebuilt.is_ok(), all.iter().all(Result::is_ok), "{rebuilt:?}");
    let Ok(rebuilt) = rebuilt else { return };
    let chosen = |(number, record): (usize, _)| (mask >> (number % 64) & 1 == 1).then_some(record);
    let kept: Vec<Record> =
        all.into_iter().enumerate().filter_map(chosen).map(|record| records.own(record.unwrap())).collect();
    let (rebuilt, rest) = Batch::split(&rebuilt.into()).unwrap();
    rebuilt.verify().unwrap();
    assert!(rest.is_empty());
    let again = rebuilt.records_within(LIMIT).unwrap();
    assert_eq!(again.iter().map(|record| again.own(record.unwrap())).collect::<Vec<_>>(), kept);
    let place = |header: Header| (header.base_offset, header.last_offset(), header.leader_epoch);
    let sender = |header: Header| (header.producer_id, header.producer_epoch, header.base_sequence);
    let kind = |header: Header| (header.timestamp_type(), header.is_transactional(), header.is_control());
    let (old, new) = (batch.header, rebuilt.header);
    assert_eq!((place(new), sender(new), kind(new)), (place(old), sender(old), kind(old)));
    assert_eq!(new.records_count as usize, kept.len());
    if !kept.is_empty() {
        assert_eq!((new.codec(), new.delete_horizon()), (old.codec(), old.delete_horizon().or(horizon)));
        let largest = kept.iter().map(|record| record.timestamp).max();
        assert_eq!(Some(new.max_timestamp), largest);
    }
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
