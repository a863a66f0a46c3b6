//! The names that a topic's settings may have, what each may say, and the name that was meant when one is misspelt.
//!
//! The names are Kafka's, all of a release, so that the settings of a topic there are accepted here: those that mean
//! nothing on one node are kept and have no effect. Names that begin with `headwater.` are ours and those of other layers.
//! What a directory already holds is never refused: only who gives a setting is told that it is wrong.

use std::collections::BTreeMap;

use crate::topic::Durability;
use crate::{Error, Result};

/// What a setting may say.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A whole number of this or more.
    Number(i64),
    /// A number from 0 to 1.
    Ratio,
    /// One of these.
    Choice(&'static [&'static str]),
    /// Some of these, with commas between them.
    Choices(&'static [&'static str]),
    /// Anything.
    Text,
}

const FLAG: Kind = Kind::Choice(&["true", "false"]);

const KNOWN: [(&str, Kind); 35] = [
    ("cleanup.policy", Kind::Choices(&["delete", "compact"])),
    ("compression.gzip.level", Kind::Number(-1)),
    ("compression.lz4.level", Kind::Number(1)),
    ("compression.type", Kind::Choice(&["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"])),
    ("compression.zstd.level", Kind::Number(-131_072)),
    ("delete.retention.ms", Kind::Number(0)),
    ("file.delete.delay.ms", Kind::Number(0)),
    ("flush.messages", Kind::Number(1)),
    ("flush.ms", Kind::Number(0)),
    ("follower.replication.throttled.replicas", Kind::Text),
    ("index.interval.bytes", Kind::Number(0)),
    ("leader.replication.throttled.replicas", Kind::Text),
    ("local.retention.bytes", Kind::Number(-2)),
    ("local.retention.ms", Kind::Number(-2)),
    ("max.compaction.lag.ms", Kind::Number(1)),
    ("max.message.bytes", Kind::Number(0)),
    ("message.downconversion.enable", FLAG),
    ("message.timestamp.after.max.ms", Kind::Number(0)),
    ("message.timestamp.before.max.ms", Kind::Number(0)),
    ("message.timestamp.difference.max.ms", Kind::Number(0)),
    ("message.timestamp.type", Kind::Choice(&["CreateTime", "LogAppendTime"])),
    ("min.cleanable.dirty.ratio", Kind::Ratio),
    ("min.compaction.lag.ms", Kind::Number(0)),
    ("min.insync.replicas", Kind::Number(1)),
    ("preallocate", FLAG),
    ("remote.log.copy.disable", FLAG),
    ("remote.log.delete.on.disable", FLAG),
    ("remote.storage.enable", FLAG),
    ("retention.bytes", Kind::Number(-1)),
    ("retention.ms", Kind::Number(-1)),
    ("segment.bytes", Kind::Number(1 << 10)),
    ("segment.index.bytes", Kind::Number(4)),
    ("segment.jitter.ms", Kind::Number(0)),
    ("segment.ms", Kind::Number(1)),
    ("unclean.leader.election.enable", FLAG),
];

const OURS: &str = "headwater.";

/// Refuses a name that nobody knows and a value that means nothing.
pub(crate) fn check(settings: &BTreeMap<String, String>) -> Result<()> {
    settings.iter().try_for_each(|(name, text)| {
        if name == "headwater.durability" {
            return Durability::parse(text).map(drop);
        }
        if name.starts_with(OURS) {
            return Ok(());
        }
        let known = KNOWN.iter().find(|(known, _)| known == name);
        let (_, kind) = known.ok_or_else(|| Error::Invalid { message: unknown(name) })?;
        match expected(*kind, text) {
            None => Ok(()),
            Some(expected) => {
                Err(Error::Invalid { message: format!("expected {expected}, got {text:?} - at setting {name}") })
            }
        }
    })
}

/// What a value should have been; None if it is right.
fn expected(kind: Kind, text: &str) -> Option<String> {
    let is_right = match kind {
        Kind::Number(least) => text.parse::<i64>().is_ok_and(|number| number >= least),
        Kind::Ratio => text.parse::<f64>().is_ok_and(|number| (0.0..=1.0).contains(&number)),
        Kind::Choice(choices) => choices.contains(&text),
        Kind::Choices(choices) => text.split(',').all(|part| choices.contains(&part.trim())),
        Kind::Text => true,
    };
    if is_right {
        return None;
    }
    Some(match kind {
        Kind::Number(least) => format!("a number of {least} or more"),
        Kind::Ratio => "a number from 0 to 1".to_owned(),
        Kind::Choice(choices) => choices.join(" or "),
        Kind::Choices(choices) => format!("some of {}", choices.join(", ")),
        Kind::Text => "any text".to_owned(),
    })
}

fn unknown(name: &str) -> String {
    let nearest = KNOWN.iter().map(|(known, _)| *known).min_by_key(|known| distance(name, known));
    let meant = nearest.filter(|known| distance(name, known) <= known.len().max(name.len()) / 3);
    match meant {
        Some(meant) => format!("expected a setting by Kafka's name, got '{name}'; did you mean '{meant}'?"),
        None => format!("expected a setting by Kafka's name, or one that begins with {OURS}, got '{name}'"),
    }
}

/// How many letters must be put in, taken out or replaced to make one word of the other.
fn distance(left: &str, right: &str) -> usize {
    let same = |byte: u8| if matches!(byte, b'_' | b'-') { b'.' } else { byte.to_ascii_lowercase() };
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, a) in left.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (index, b) in right.bytes().enumerate() {
            let replaced = diagonal + usize::from(same(a) != same(b));
            diagonal = row[index + 1];
            row[index + 1] = replaced.min(diagonal + 1).min(row[index] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, text: &str) -> Option<String> {
        check(&BTreeMap::from([(name.to_owned(), text.to_owned())])).err().map(|error| error.to_string())
    }

    #[test]
    fn a_misspelt_name_is_told_what_was_meant() {
        for (given, meant) in [
            ("retention_ms", "retention.ms"),
            ("retntion.ms", "retention.ms"),
            ("clean.policy", "cleanup.policy"),
            ("segment.byte", "segment.bytes"),
            ("min.cleanable.ratio", "min.cleanable.dirty.ratio"),
            ("Retention.Bytes", "retention.bytes"),
        ] {
            let message = refused(given, "1").unwrap();
            assert!(message.ends_with(&format!("got '{given}'; did you mean '{meant}'?")), "{message}");
        }
        let message = refused("colour", "red").unwrap();
        assert!(!message.contains("did you mean"), "{message}");
    }

    #[test]
    fn values_are_checked_and_other_layers_have_names_of_their_own() {
        assert_eq!(refused("headwater.anything", "at all"), None);
        assert_eq!(refused("cleanup.policy", "compact, delete"), None);
        for (name, text, says) in [
            ("retention.ms", "7 days", "a number of -1 or more"),
            ("retention.ms", "-2", "a number of -1 or more"),
            ("min.cleanable.dirty.ratio", "1.5", "a number from 0 to 1"),
            ("min.cleanable.dirty.ratio", "NaN", "a number from 0 to 1"),
            ("cleanup.policy", "compact,erase", "some of delete, compact"),
            ("preallocate", "yes", "true or false"),
            ("message.timestamp.type", "EventTime", "CreateTime or LogAppendTime"),
        ] {
            assert_eq!(refused(name, text), Some(format!("expected {says}, got {text:?} - at setting {name}")));
        }
        assert!(refused("headwater.durability", "sometimes").is_some());
    }
}
