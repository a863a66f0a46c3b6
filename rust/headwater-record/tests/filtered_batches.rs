//! A batch rebuilt from some of its records: what is kept is as it was, at the same offsets, and the header says so.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use headwater_record::{Batch, BatchBuilder, Codec, HEADER_BYTES, ProducerFields, Record};
use proptest::prelude::*;

const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

type Entry = (i64, Option<Vec<u8>>, Option<Vec<u8>>, bool);

fn parse(bytes: Vec<u8>) -> Batch {
    let (batch, rest) = Batch::split(&bytes.into()).unwrap();
    batch.verify().unwrap();
    assert!(rest.is_empty());
    batch
}

fn decode(batch: &Batch) -> Vec<Record> {
    let records = batch.records().unwrap();
    records.iter().map(|record| records.own(record.unwrap())).collect()
}

fn build(entries: &[Entry], codec: Codec, base_offset: u64, is_append_time: bool) -> Batch {
    let mut builder = BatchBuilder::new();
    for (timestamp, key, value, _) in entries {
        builder.push(*timestamp, key.as_deref(), value.as_deref(), &[2, 2, b'h', 2, b'v']);
    }
    let producer = ProducerFields { id: 7, epoch: 2, base_sequence: 90, is_transactional: true };
    let mut bytes = builder.finish_as(codec, producer).unwrap();
    bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
    bytes[12..16].copy_from_slice(&5_i32.to_be_bytes());
    if is_append_time {
        bytes[22] |= 0x08;
        let checksum = headwater_record::checksum(&bytes);
        bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
    }
    parse(bytes)
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20));
    proptest::collection::vec((-1_000_000_i64..1 << 45, bytes(), bytes(), any::<bool>()), 1..30)
}

proptest! {
    #[test]
    fn what_is_kept_is_as_it_was(
        entries in entries(), codec in 0_usize..5, base in 0_u64..1 << 40, horizon in proptest::option::of(0_i64..1 << 45),
        is_append_time: bool,
    ) {
        let batch = build(&entries, CODECS[codec], base, is_append_time);
        let records = batch.records().unwrap();
        let rebuilt = parse(records.rebuild(horizon, |record| entries[(record.offset - base) as usize].3).unwrap());
        let expected: Vec<Record> =
            decode(&batch).into_iter().zip(&entries).filter_map(|(record, entry)| entry.3.then_some(record)).collect();
        prop_assert_eq!(&decode(&rebuilt), &expected);
        let (old, new) = (batch.header, rebuilt.header);
        prop_assert_eq!((new.base_offset, new.last_offset(), new.leader_epoch), (base, old.last_offset(), 5));
        prop_assert_eq!((new.producer_id, new.producer_epoch, new.base_sequence), (7, 2, 90));
        prop_assert_eq!(new.records_count as usize, expected.len());
        prop_assert!(new.is_transactional() && !new.is_control());
        prop_assert_eq!(new.timestamp_type(), old.timestamp_type());
        if expected.is_empty() {
            prop_assert_eq!(new.size_bytes, HEADER_BYTES);
            prop_assert_eq!((new.delete_horizon(), new.max_timestamp), (None, old.max_timestamp));
        } else {
            prop_assert_eq!(new.codec(), CODECS[codec]);
            prop_assert_eq!(new.delete_horizon(), horizon);
            prop_assert_eq!(Some(new.max_timestamp), expected.iter().map(|record| record.timestamp).max());
            // A horizon stays when the batch is rebuilt again, whatever is asked for.
            let again = parse(rebuilt.records().unwrap().rebuild(Some(1), |_| true).unwrap());
            prop_assert_eq!(again.header.delete_horizon(), horizon.or(Some(1)));
            prop_assert_eq!(&decode(&again), &expected);
        }
    }
}
