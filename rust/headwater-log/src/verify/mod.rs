//! Reads a whole directory and says what is wrong in it, and where, without changing a byte.
//!
//! Every batch's checksum is checked and every record decoded; offsets must go on from batch to batch and from file to
//! file; index entries must point at batches; our own small files must agree with the segments. It takes no lock: beside a
//! process that writes it checks what is durable. A partition in which something seems wrong is read again if its files
//! have changed meanwhile, so that what a writer was in the middle of is not taken for damage.
//!
//! *Layout*: `report` what comes out, `folder` a partition's files and what they say of each other, `segment` one `.log`,
//! `indexes` the two index files and `producers` what lies beside the segments about those, followed along with the log.

use std::collections::BTreeMap;

use crate::catalog::{self, Described};
use crate::storage::Storage;
use crate::{Error, Result, TopicConfig};

mod folder;
mod indexes;
mod producers;
mod report;
mod segment;

pub use report::{Finding, Report, Severity, Totals};

/// How often a partition that changes while it is read is read again.
const ATTEMPTS: usize = 6;

/// Reads everything in a directory.
///
/// # Errors
/// `Invalid` if there is no log; `Io` if the directory cannot be listed. Whatever else is wrong is in the report.
pub fn verify(storage: &dyn Storage) -> Result<Report> {
    let root = storage.describe("");
    let names = storage.list("").map_err(Error::io("list a folder", root.clone()))?;
    let mut report = Report::default();
    let described = match catalog::read_topics(storage) {
        Ok(described) => described,
        Err(error) => {
            report.findings.push(Finding::of_file(
                Severity::Error,
                storage.describe(catalog::TOPICS),
                error.to_string(),
                "restore the file; the partitions were read all the same",
            ));
            None
        }
    };
    let topics = topics(storage, &names, described.as_deref(), &mut report);
    if described.is_none() && topics.is_empty() && report.findings.is_empty() {
        return Err(Error::Invalid { message: format!("expected a directory with a log, got none - at {root}") });
    }
    for (topic, (count, config)) in &topics {
        report.totals.topics += 1;
        for number in 0..*count {
            report.add(partition(storage, topic, number, config));
        }
    }
    report.findings.sort_by(|left, right| left.order().cmp(&right.order()));
    Ok(report)
}

type Topics = BTreeMap<String, (u32, TopicConfig)>;

/// The topics that are named and those that are only there; folders that belong to none are findings, where it is known
/// which should.
fn topics(storage: &dyn Storage, names: &[String], described: Option<&[Described]>, report: &mut Report) -> Topics {
    let named = described.unwrap_or_default();
    let mut topics: Topics =
        named.iter().map(|(name, count, config)| (name.clone(), (*count, config.clone()))).collect();
    for name in names {
        let Some((topic, number)) = catalog::of_folder(name) else { continue };
        if topics.get(topic).is_some_and(|(count, _)| number < *count) || storage.list(name).is_err() {
            continue;
        }
        let is_named = named.iter().any(|(known, _, _)| known == topic);
        let is_leftover = is_named || (described.is_some() && catalog::is_leftover(storage, name));
        let has_segments = storage.list(name).is_ok_and(|files| files.iter().any(|file| catalog::is_segment(file)));
        if is_leftover {
            report.findings.push(Finding::of_file(
                Severity::Note,
                storage.describe(name),
                "expected a partition that headwater.json names, got a folder that it does not".to_owned(),
                "it is what an interrupted creation or deletion left; delete it, or let the next topic of that name do so",
            ));
        } else if has_segments {
            let (count, _) = topics.entry(topic.to_owned()).or_insert((0, TopicConfig::stored(BTreeMap::new())));
            *count = (*count).max(number + 1);
        }
    }
    topics
}

/// Whether a finding is one of before. How many records are lost where a process writes on is another number every time.
fn is_again(one: &Finding, before: &Finding) -> bool {
    one == before || one.severity == Severity::Error && (one.severity, &one.path) == (before.severity, &before.path)
}

/// Reads a partition, again if it changed under the reader and something seemed wrong.
fn partition(storage: &dyn Storage, topic: &str, number: u32, config: &TopicConfig) -> Report {
    let folder = format!("{topic}-{number}");
    let mut attempt = 0;
    let mut found_before: Option<Vec<Finding>> = None;
    loop {
        attempt += 1;
        let before = folder::State::of(storage, &folder);
        let mut report = folder::verify(storage, topic, number, config);
        if report.findings.is_empty() || before == folder::State::of(storage, &folder) {
            return report;
        }
        // A process writes it all the time: what it was in the middle of is something else every time, what is wrong is not.
        let findings = std::mem::take(&mut report.findings).into_iter();
        let again =
            |one: &Finding| found_before.as_ref().is_none_or(|before| before.iter().any(|other| is_again(one, other)));
        let findings: Vec<Finding> = findings.filter(again).collect();
        if attempt == ATTEMPTS {
            // What lies behind the durable end is none of ours.
            report.findings = findings.into_iter().filter(|finding| finding.severity != Severity::Note).collect();
            return report;
        }
        found_before = Some(findings);
        let is_gone = storage.list(&folder).is_err()
            && matches!(catalog::read_topics(storage), Ok(Some(topics)) if !topics.iter().any(|(name, _, _)| name == topic));
        if is_gone {
            return Report::default(); // deleted meanwhile
        }
    }
}
