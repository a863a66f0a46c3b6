//! The bytes of a transactional id's state, as Kafka keeps it in `__transaction_state`.
//!
//! ```text
//! key    version i16 = 0 | transactional id string
//! value  version i16 = 0 | producer id i64 | epoch i16 | time-out ms i32 | status i8
//!        | [topic string | [partition i32]] or null | last update ms i64 | start ms i64
//! ```
//! Strings have an i16 length, arrays an i32 count. Values of version 1 (compact strings and arrays, tagged fields) are read
//! too. A null value is a transactional id that was forgotten.

use std::collections::BTreeMap;

use crate::internal::fields::{Reader, put_string};

/// Where a transactional id stands, with Kafka's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Empty = 0,
    Ongoing = 1,
    PrepareCommit = 2,
    PrepareAbort = 3,
    CompleteCommit = 4,
    CompleteAbort = 5,
}

/// Everything a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) timeout_ms: i32,
    pub(crate) status: Status,
    pub(crate) partitions: BTreeMap<String, Vec<u32>>,
    pub(crate) updated_ms: i64,
    pub(crate) started_ms: i64,
}

pub(crate) fn encode_key(id: &str) -> Option<Vec<u8>> {
    let mut out = vec![0, 0];
    put_string(&mut out, id)?;
    Some(out)
}

pub(crate) fn decode_key(bytes: &[u8]) -> Option<String> {
    let mut rest = Reader(bytes);
    (rest.i16()? == 0).then(|| rest.string()).flatten().filter(|_| rest.is_empty())
}

pub(crate) fn encode_value(state: &State) -> Option<Vec<u8>> {
    let mut out = vec![0, 0];
    out.extend_from_slice(&state.producer_id.to_be_bytes());
    out.extend_from_slice(&state.epoch.to_be_bytes());
    out.extend_from_slice(&state.timeout_ms.to_be_bytes());
    out.push(state.status as u8);
    out.extend_from_slice(&i32::try_from(state.partitions.len()).ok()?.to_be_bytes());
    for (topic, partitions) in &state.partitions {
        put_string(&mut out, topic)?;
        out.extend_from_slice(&i32::try_from(partitions.len()).ok()?.to_be_bytes());
        partitions.iter().for_each(|partition| out.extend_from_slice(&partition.to_be_bytes()));
    }
    out.extend_from_slice(&state.updated_ms.to_be_bytes());
    out.extend_from_slice(&state.started_ms.to_be_bytes());
    Some(out)
}

pub(crate) fn decode_value(bytes: &[u8]) -> Option<State> {
    let mut rest = Reader(bytes);
    let is_compact = match rest.i16()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let (producer_id, epoch, timeout_ms, status) = (rest.i64()?, rest.i16()?, rest.i32()?, rest.i8()?);
    let mut partitions = BTreeMap::new();
    // Nothing is allocated from a count: what is not there ends the loop.
    for _ in 0..count(&mut rest, is_compact)? {
        let topic = if is_compact { rest.compact_string()? } else { rest.string()? };
        let mut numbers = Vec::new();
        for _ in 0..count(&mut rest, is_compact)? {
            numbers.push(u32::try_from(rest.i32()?).ok()?);
        }
        if is_compact {
            rest.skip_tags()?;
        }
        partitions.insert(topic, numbers);
    }
    let (updated_ms, started_ms) = (rest.i64()?, rest.i64()?);
    let status = [
        Status::Empty,
        Status::Ongoing,
        Status::PrepareCommit,
        Status::PrepareAbort,
        Status::CompleteCommit,
        Status::CompleteAbort,
        Status::Empty,        // dead: about to be forgotten
        Status::PrepareAbort, // being fenced by a newer producer
    ]
    .get(usize::try_from(status).ok()?)?;
    let state = State { producer_id, epoch, timeout_ms, status: *status, partitions, updated_ms, started_ms };
    (is_compact || rest.is_empty()).then_some(state)
}

/// Entries of an array; a null one has none.
fn count(rest: &mut Reader<'_>, is_compact: bool) -> Option<u32> {
    if is_compact { Some(rest.varint()?.saturating_sub(1)) } else { Some(u32::try_from(rest.i32()?).unwrap_or(0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            producer_id: 5,
            epoch: 3,
            timeout_ms: 60_000,
            status: Status::PrepareCommit,
            partitions: BTreeMap::from([("rides".into(), vec![0, 7]), ("__consumer_offsets".into(), vec![0])]),
            updated_ms: 20,
            started_ms: 10,
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_no_cut_is() {
        let bytes = encode_value(&state()).unwrap();
        assert_eq!(decode_value(&bytes), Some(state()));
        for length in 0..bytes.len() {
            assert_eq!(decode_value(&bytes[..length]), None, "{length}");
        }
        assert_eq!(decode_key(&encode_key("loader").unwrap()).as_deref(), Some("loader"));
        assert_eq!(encode_key(&"x".repeat(40_000)), None);
    }

    #[test]
    fn kafka_s_compact_version_is_read() {
        let mut bytes = vec![0, 1];
        bytes.extend_from_slice(&5_i64.to_be_bytes());
        bytes.extend_from_slice(&[0, 3, 0, 0, 0xea, 0x60, 2]);
        bytes.extend_from_slice(&[2, 6]);
        bytes.extend_from_slice(b"rides");
        bytes.extend_from_slice(&[3, 0, 0, 0, 0, 0, 0, 0, 7, 0]);
        bytes.extend_from_slice(&20_i64.to_be_bytes());
        bytes.extend_from_slice(&10_i64.to_be_bytes());
        bytes.extend_from_slice(&[1, 2, 2, 0, 2]); // one tagged field: the client speaks version 2
        let partitions = BTreeMap::from([("rides".into(), vec![0, 7])]);
        assert_eq!(decode_value(&bytes), Some(State { partitions, ..state() }));
    }
}
