//! The bytes of a committed offset, as Kafka keeps it in `__consumer_offsets`.
//!
//! ```text
//! key    version i16 = 1 | group string | topic string | partition i32          (version 0: the same layout)
//! value  version i16 = 3 | offset i64 | leader epoch i32 | metadata string | commit timestamp i64
//! ```
//! A string is an i16 length and UTF-8. Values of versions 0 (no epoch), 1 (an expiry behind the timestamp), 2 (no epoch)
//! and 4 (compact strings and tagged fields) are read too; a null value is a deleted offset. Keys of other versions belong to
//! other kinds of entry (groups, their members): they are not ours to read, and [`decode_key`] says so with [`Key::Other`].

use crate::internal::fields::{Reader, put_string};

/// Where a committed offset belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// An offset of a group.
    Offset {
        /// The group.
        group: String,
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
    },
    /// Another kind of entry.
    Other,
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value {
    /// The next offset to read.
    pub(crate) offset: u64,
    /// What the committer wrote beside it.
    pub(crate) metadata: String,
    /// When it was committed, ms.
    pub(crate) timestamp: i64,
}

/// Encodes a key; `None` when a name is longer than the schema can hold.
pub(crate) fn encode_key(group: &str, topic: &str, partition: u32) -> Option<Vec<u8>> {
    let mut out = vec![0, 1];
    put_string(&mut out, group)?;
    put_string(&mut out, topic)?;
    out.extend_from_slice(&i32::try_from(partition).ok()?.to_be_bytes());
    Some(out)
}

/// Encodes a value; `None` when the metadata is longer, or the offset larger, than the schema can hold.
pub(crate) fn encode_value(offset: u64, metadata: &str, timestamp: i64) -> Option<Vec<u8>> {
    let mut out = vec![0, 3];
    out.extend_from_slice(&i64::try_from(offset).ok()?.to_be_bytes());
    out.extend_from_slice(&(-1_i32).to_be_bytes());
    put_string(&mut out, metadata)?;
    out.extend_from_slice(&timestamp.to_be_bytes());
    Some(out)
}

/// Decodes a key; `None` if the bytes are not one.
pub(crate) fn decode_key(bytes: &[u8]) -> Option<Key> {
    let mut rest = Reader(bytes);
    if !matches!(rest.i16()?, 0 | 1) {
        return Some(Key::Other);
    }
    let (group, topic) = (rest.string()?, rest.string()?);
    let partition = u32::try_from(rest.i32()?).ok()?;
    rest.is_empty().then_some(Key::Offset { group, topic, partition })
}

/// Decodes a value; `None` if the bytes are not one.
pub(crate) fn decode_value(bytes: &[u8]) -> Option<Value> {
    let mut rest = Reader(bytes);
    let version = rest.i16()?;
    if !(0..=4).contains(&version) {
        return None;
    }
    let offset = u64::try_from(rest.i64()?).ok()?;
    if version >= 3 {
        rest.i32()?;
    }
    let metadata = if version == 4 { rest.compact_string()? } else { rest.string()? };
    let timestamp = rest.i64()?;
    // What follows is an expiry (version 1) or tagged fields (version 4): of no use to us.
    (version == 1 || version == 4 || rest.is_empty()).then_some(Value { offset, metadata, timestamp })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::internal::fields::STRING_MAX;

    #[test]
    fn keys_and_values_are_kafkas_bytes() {
        let key = encode_key("billing", "rides", 3).unwrap();
        assert_eq!(key, b"\0\x01\0\x07billing\0\x05rides\0\0\0\x03");
        let value = encode_value(42, "note", 7).unwrap();
        assert_eq!(value, b"\0\x03\0\0\0\0\0\0\0\x2a\xff\xff\xff\xff\0\x04note\0\0\0\0\0\0\0\x07");
    }

    #[test]
    fn what_is_encoded_is_decoded_and_no_prefix_of_it() {
        let key = encode_key("a group", "zürich", u32::MAX >> 1).unwrap();
        let expected = Key::Offset { group: "a group".into(), topic: "zürich".into(), partition: u32::MAX >> 1 };
        assert_eq!(decode_key(&key), Some(expected));
        let value = encode_value(u64::MAX >> 1, "{\"a\": 1}", -1).unwrap();
        let expected = Value { offset: u64::MAX >> 1, metadata: "{\"a\": 1}".into(), timestamp: -1 };
        assert_eq!(decode_value(&value), Some(expected));
        assert!((0..key.len()).all(|end| decode_key(&key[..end]).is_none()));
        assert!((0..value.len()).all(|end| decode_value(&value[..end]).is_none()));
    }

    #[test]
    fn other_versions_are_read() {
        let numbers = |version: u8, middle: &[u8], end: &[u8]| {
            [&[0, version], &9_i64.to_be_bytes()[..], middle, &5_i64.to_be_bytes()[..], end].concat()
        };
        let expected = Some(Value { offset: 9, metadata: "m".into(), timestamp: 5 });
        assert_eq!(decode_value(&numbers(0, b"\0\x01m", b"")), expected);
        assert_eq!(decode_value(&numbers(1, b"\0\x01m", &[0; 8])), expected);
        assert_eq!(decode_value(&numbers(4, b"\0\0\0\x01\x02m", b"\0")), expected);
        assert_eq!(decode_value(&numbers(5, b"\0\0\0\x01\x02m", b"\0")), None);
        assert_eq!(decode_key(b"\0\x02\0\x01g"), Some(Key::Other));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let long = "x".repeat(STRING_MAX + 1);
        assert_eq!(encode_key(&long, "t", 0), None);
        assert_eq!(encode_value(1, &long, 0), None);
        assert_eq!(encode_value(u64::MAX, "", 0), None);
        assert!(encode_value(1, &long[1..], 0).is_some());
    }
}
