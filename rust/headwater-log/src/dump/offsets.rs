//! What a record of `__consumer_offsets` says, for people.

use crate::offsets::schema::{self, Key};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OffsetsEntry {
    /// A committed offset.
    Offset {
        /// The group.
        group: String,
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// Next offset, metadata, commit time; None forgets, an error is bytes that are no such value.
        committed: Option<Result<(u64, String, i64), String>>,
    },
    /// Another kind of entry, of which only the beginning of the key is known: its version and a name.
    Other {
        /// The key's version: 2 is a group's state.
        version: i16,
        /// The group.
        group: Option<String>,
    },
}

/// Decodes a record; None if its key is none of this topic.
#[must_use]
pub fn offsets_entry(key: &[u8], value: Option<&[u8]>) -> Option<OffsetsEntry> {
    match schema::decode_key(key)? {
        Key::Offset { group, topic, partition } => {
            let decode = |bytes| {
                let value = schema::decode_value(bytes).ok_or("bytes that are no committed offset")?;
                Ok((value.offset, value.metadata, value.timestamp))
            };
            let committed = value.map(|bytes| decode(bytes).map_err(str::to_owned));
            Some(OffsetsEntry::Offset { group, topic, partition, committed })
        }
        Key::Other => {
            let version = i16::from_be_bytes(key.get(..2)?.try_into().ok()?);
            let length = key.get(2..4).and_then(|bytes| usize::try_from(i16::from_be_bytes([bytes[0], bytes[1]])).ok());
            let name = length.and_then(|length| key.get(4..4 + length));
            let group = name.and_then(|name| String::from_utf8(name.to_vec()).ok());
            Some(OffsetsEntry::Other { version, group })
        }
    }
}
