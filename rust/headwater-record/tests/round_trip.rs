//! What is encoded is decoded, in every codec; what is damaged is refused, never a panic.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use bytes::Bytes;
use headwater_record::{Batch, BatchBuilder, Codec, ControlType, Error, Header, Marker, varint};
use proptest::prelude::*;

type Entry = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

fn raw_headers(headers: &[(Vec<u8>, Option<Vec<u8>>)]) -> Vec<u8> {
    let mut out = Vec::new();
    varint::put(&mut out, headers.len() as i64);
    for (name, value) in headers {
        varint::put(&mut out, name.len() as i64);
        out.extend_from_slice(name);
        match value {
            None => varint::put(&mut out, -1),
            Some(value) => {
                varint::put(&mut out, value.len() as i64);
                out.extend_from_slice(value);
            }
        }
    }
    out
}

fn build(entries: &[Entry], codec: Codec) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for (timestamp, key, value, headers) in entries {
        builder.push(*timestamp, key.as_deref(), value.as_deref(), &raw_headers(headers));
    }
    builder.finish(codec).unwrap()
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
    let headers = proptest::collection::vec((bytes(), proptest::option::of(bytes())), 0..3);
    let entry = (any::<i64>(), proptest::option::of(bytes()), proptest::option::of(bytes()), headers);
    proptest::collection::vec(entry, 1..30)
}

fn codecs() -> impl Strategy<Value = Codec> {
    prop_oneof![Just(Codec::None), Just(Codec::Gzip), Just(Codec::Snappy), Just(Codec::Lz4), Just(Codec::Zstd)]
}

proptest! {
    #[test]
    fn batches_round_trip(entries in entries(), codec in codecs()) {
        let bytes = Bytes::from(build(&entries, codec));
        let (batch, rest) = Batch::split(&bytes).unwrap();
        prop_assert!(rest.is_empty());
        batch.verify().unwrap();
        prop_assert_eq!(batch.header.records_count as usize, entries.len());
        prop_assert_eq!(batch.header.max_timestamp, entries.iter().map(|entry| entry.0).max().unwrap());
        let records = batch.records().unwrap();
        for (index, (found, (timestamp, key, value, headers))) in records.iter().zip(&entries).enumerate() {
            let found = records.own(found.unwrap());
            prop_assert_eq!(found.offset, index as u64);
            prop_assert_eq!(found.timestamp, *timestamp);
            prop_assert_eq!(found.key.as_deref(), key.as_deref());
            prop_assert_eq!(found.value.as_deref(), value.as_deref());
            prop_assert_eq!(&found.headers[..], &raw_headers(headers)[..]);
        }
        prop_assert_eq!(records.iter().count(), entries.len());
    }

    #[test]
    fn a_changed_byte_is_found(entries in entries(), codec in codecs(), at in any::<prop::sample::Index>(), bit in 0_u32..8) {
        let mut bytes = build(&entries, codec);
        let at = 12 + at.index(bytes.len() - 12);
        bytes[at] ^= 1_u8 << bit;
        if (12..16).contains(&at) {
            return Ok(()); // the leader epoch is nobody's checksum
        }
        let refused = Batch::split(&bytes.into()).and_then(|(batch, _)| batch.verify());
        prop_assert!(refused.is_err());
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if bytes.len() > 61 {
            bytes[16] = 2;
            let length = (bytes.len() - 12) as u32;
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            bytes[57..60].fill(0);
            bytes[23..26].fill(0);
        }
        if let Ok((batch, _)) = Batch::split(&bytes.into())
            && let Ok(records) = batch.records_within(1 << 16)
        {
            prop_assert!(records.iter().count() <= batch.header.records_count as usize + 1);
            let _ = records.marker();
        }
    }
}

#[test]
fn a_control_batch_says_what_it_is() {
    for kind in [ControlType::Abort, ControlType::Commit, ControlType::Other] {
        let marker = Marker { kind, coordinator_epoch: 9 };
        let (batch, _) = Batch::split(&marker.to_batch(7, 1, 5).into()).unwrap();
        batch.verify().unwrap();
        assert!(batch.header.is_control() && batch.header.is_transactional());
        assert_eq!((batch.header.producer_id, batch.header.producer_epoch, batch.header.base_sequence), (7, 1, -1));
        assert_eq!(batch.records().unwrap().marker(), Ok(marker));
    }
}

#[test]
fn the_base_offset_is_outside_of_the_checksum() {
    let mut bytes = build(&[(1, None, Some(b"x".to_vec()), vec![])], Codec::None);
    bytes[..8].copy_from_slice(&77_u64.to_be_bytes());
    let (batch, _) = Batch::split(&bytes.into()).unwrap();
    batch.verify().unwrap();
    assert_eq!(batch.records().unwrap().iter().next().unwrap().unwrap().offset, 77);
}

#[test]
fn a_short_buffer_says_what_it_needs() {
    let bytes = build(&[(1, None, Some(b"x".to_vec()), vec![])], Codec::None);
    assert_eq!(Header::parse(&bytes[..60]), Err(Error::Short { expected: 61, got: 60 }));
    let cut = Bytes::from(bytes[..bytes.len() - 1].to_vec());
    assert!(matches!(Batch::split(&cut), Err(Error::Short { .. })));
}
