//! A partition's producers at an offset, in Kafka's file `<20 digits>.snapshot`: whoever has it reads the log from there on.
//!
//! ```text
//! version i16 = 1 | CRC-32C of what follows u32 | count i32 | entries
//! entry: producer id i64 | epoch i16 | last sequence i32 | last offset i64 | offset delta i32 | timestamp i64
//!        | coordinator epoch i32 | first offset of the open transaction i64, or -1
//! ```
//! It holds the last batch of each producer only, so that after a clean close just that one is known again, as in Kafka.

use std::collections::{HashMap, VecDeque};

use headwater_record::sequence_after;

use super::{Producer, ProducerState, Sent};

const ENTRY_BYTES: usize = 46;
const HEADER_BYTES: usize = 10;
/// What an entry says for "none".
const NONE: i64 = -1;

/// The file's bytes.
pub(crate) fn to_bytes(state: &ProducerState) -> Vec<u8> {
    let mut ids: Vec<i64> = state.producers.keys().copied().collect();
    ids.sort_unstable();
    let mut body = (ids.len() as i32).to_be_bytes().to_vec();
    for id in ids {
        let producer = &state.producers[&id];
        let last = producer.sent.back();
        body.extend_from_slice(&id.to_be_bytes());
        body.extend_from_slice(&producer.epoch.to_be_bytes());
        body.extend_from_slice(&last.map_or(-1, |sent| sent.last_sequence).to_be_bytes());
        body.extend_from_slice(&last.map_or(NONE, |sent| sent.last_offset as i64).to_be_bytes());
        body.extend_from_slice(&last.map_or(0, |sent| (sent.last_offset - sent.base_offset) as i32).to_be_bytes());
        body.extend_from_slice(&last.map_or(NONE, |sent| sent.timestamp).to_be_bytes());
        body.extend_from_slice(&producer.coordinator_epoch.to_be_bytes());
        body.extend_from_slice(&producer.open.map_or(NONE, |first| first as i64).to_be_bytes());
    }
    let mut out = 1_i16.to_be_bytes().to_vec();
    out.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
    out.extend_from_slice(&body);
    out
}

/// From a file's bytes; None if it cannot be such a file.
#[must_use]
pub(crate) fn parse(bytes: &[u8]) -> Option<ProducerState> {
    let (version, checksum) = (bytes.get(..2)?, bytes.get(2..6)?);
    let body = &bytes[6..];
    if version != [0, 1] || checksum != crc32c::crc32c(body).to_be_bytes() {
        return None;
    }
    let count = i32::from_be_bytes(body.get(..4)?.try_into().ok()?);
    let (entries, rest) = bytes[HEADER_BYTES..].as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() || usize::try_from(count).ok()? != entries.len() {
        return None;
    }
    let producers = entries.iter().map(entry).collect::<Option<HashMap<_, _>>>()?;
    // Of a producer that is there twice, one is another's.
    (producers.len() == entries.len()).then_some(ProducerState { producers, ..ProducerState::default() })
}

fn entry(bytes: &[u8; ENTRY_BYTES]) -> Option<(i64, Producer)> {
    let long = |at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    let int = |at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let mut sent = VecDeque::new();
    if long(14) != NONE {
        let (last_sequence, last_offset) = (int(10), u64::try_from(long(14)).ok()?);
        let delta = u32::try_from(int(22)).ok()?;
        // Numbers go round behind the largest: so many back is all but one round forward.
        let first_sequence = sequence_after(last_sequence, 0x8000_0000 - delta);
        let base_offset = last_offset.checked_sub(delta.into())?;
        sent.push_back(Sent { first_sequence, last_sequence, base_offset, last_offset, timestamp: long(26) });
    } else if int(10) != -1 {
        return None; // a number of no batch
    }
    let open = if long(38) == NONE { None } else { Some(u64::try_from(long(38)).ok()?) };
    let producer = Producer {
        epoch: i16::from_be_bytes([bytes[8], bytes[9]]),
        sent,
        open,
        coordinator_epoch: int(34),
        seen_ms: None,
    };
    Some((long(0), producer))
}

/// What of a file is not as the log says up to its offset. A log that is not `complete` has lost batches: there a producer may
/// be unknown, or have come further than is left to see. One that the file lacks may have expired.
pub(crate) fn contradiction(file: &ProducerState, log: &ProducerState, is_complete: bool) -> Option<String> {
    let place = |producer: &Producer| {
        let last = producer.sent.back().map_or((-1, None), |sent| (sent.last_sequence, Some(sent.last_offset)));
        (producer.epoch, last, producer.open)
    };
    let say = |producer: &Producer| {
        let (epoch, (sequence, offset), open) = place(producer);
        let [offset, open] = [offset, open].map(|offset| offset.map_or("none".to_owned(), |offset| offset.to_string()));
        format!("epoch {epoch}, sequence number {sequence} at offset {offset}, a transaction open from offset {open}")
    };
    let mut ids: Vec<i64> = file.producers.keys().chain(log.producers.keys()).copied().collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter().find_map(|id| match (file.producers.get(&id), log.producers.get(&id)) {
        (Some(of_file), Some(of_log)) => {
            let is_later = place(of_file).1.1 > place(of_log).1.1;
            let is_right = place(of_file) == place(of_log) || !is_complete && (is_later || of_log.sent.is_empty());
            (!is_right).then(|| format!("expected of producer {id} {}; got {}", say(of_log), say(of_file)))
        }
        (Some(of_file), None) => {
            is_complete.then(|| format!("expected producers that the log holds, got {id}: {}", say(of_file)))
        }
        (None, of_log) => {
            let open = of_log.filter(|of_log| is_complete && of_log.open.is_some())?;
            Some(format!("expected of producer {id} {}; got nothing of it", say(open)))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_a_changed_byte_is_found() {
        let sent = |last_sequence, last_offset| Sent {
            first_sequence: last_sequence - 2,
            last_sequence,
            base_offset: last_offset - 2,
            last_offset,
            timestamp: 5,
        };
        let producer =
            |sent: Vec<Sent>, open| Producer { epoch: 3, sent: sent.into(), open, coordinator_epoch: 1, seen_ms: None };
        let producers = HashMap::from([(1, producer(vec![sent(9, 40)], Some(38))), (2, producer(vec![], None))]);
        let state = ProducerState { producers, ..ProducerState::default() };
        let bytes = to_bytes(&state);
        assert_eq!(parse(&bytes), Some(state));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert_eq!(parse(&changed), None, "byte {at}");
        }
        assert_eq!(parse(&bytes[..bytes.len() - 1]), None);
    }
}
