//! One `.log` file: every batch's checksum and place, and every record of it.

use std::io;
use std::sync::Arc;

use headwater_record::{Batch, Header};

use super::folder::Folder;
use super::indexes::Indexes;
use super::producers::Producers;
use super::report::{Finding, Severity};
use crate::scan::Scan;
use crate::storage::File;

/// What is known of a partition from segment to segment.
#[derive(Debug)]
pub(super) struct Walk {
    /// Whether offsets may be missing between batches and in them.
    pub(super) has_gaps: bool,
    /// Everything below was durable once; None if nobody said.
    pub(super) durable: Option<u64>,
    /// The offset that comes next.
    pub(super) expected: u64,
    /// The one that came next if the last batch's offset, which no checksum covers, is the one that is wrong.
    pub(super) alternative: Option<u64>,
    /// What lies beside the segments about producers.
    pub(super) producers: Producers,
}

/// Reads a segment and follows it in its indexes.
pub(super) fn verify(
    walk: &mut Walk,
    found: &mut Folder<'_>,
    path: &str,
    base: u64,
    file: &Arc<dyn File>,
    next_base: Option<u64>,
    mut indexes: Indexes,
) -> io::Result<()> {
    let error = |what: String, advice: &str| Finding::of_file(Severity::Error, path.to_owned(), what, advice);
    if base != walk.expected {
        if base < walk.expected || !walk.has_gaps {
            let what = format!("expected a segment that begins at offset {}, got one at {base}", walk.expected);
            found.push(error(what, "restore the segments of the offsets between").at(walk.expected.min(base), 0));
        }
        walk.expected = base;
    }
    walk.alternative = None;
    let mut scan = Scan::new(Arc::clone(file), 0)?;
    while let Some((position, read)) = scan.next()? {
        let checked = read.and_then(|batch| batch.verify().map(|()| batch));
        let batch = match checked {
            Ok(batch) => batch,
            Err(failure) => {
                let from = walk.expected;
                walk.producers.lose();
                let next = scan.skip(position, from, base)?;
                indexes.skip_to(scan.position());
                let is_torn =
                    next.is_none() && next_base.is_none() && walk.durable.is_some_and(|durable| from >= durable);
                if is_torn {
                    found.push(torn(&scan, path, position, from));
                } else {
                    let next = next.or(next_base).or(walk.durable.filter(|durable| *durable > from));
                    found.push(damaged(path, position, from, next, &failure));
                    walk.expected = next.unwrap_or(from);
                }
                walk.alternative = None;
                continue;
            }
        };
        check_place(walk, &batch.header, base, next_base).unwrap_or_else(|(what, advice)| {
            walk.producers.lose();
            found.push(error(what, advice).at(batch.header.base_offset, position));
        });
        if let Err(what) = check_records(&batch, walk.has_gaps) {
            let what = format!("expected the records that the batch's header promises, got {what}");
            let advice = "please report this: the batch is as it was written";
            found.push(error(what, advice).at(batch.header.base_offset, position));
        }
        walk.producers.follow(&batch);
        indexes.follow(&batch.header, position, walk.has_gaps);
        found.report.totals.batches += 1;
        found.report.totals.records += u64::from(batch.header.records_count);
    }
    for finding in indexes.finish(scan.size()) {
        found.push(finding);
    }
    Ok(())
}

/// Bytes at the end that nobody was told are there.
fn torn(scan: &Scan, path: &str, position: u64, offset: u64) -> Finding {
    let what = format!(
        "expected whole batches, got {} bytes at the end that were not written to the end",
        scan.size() - position
    );
    let advice =
        "nothing: no acknowledged record is in them; the next open cuts them off, or a process is writing them";
    Finding::of_file(Severity::Note, path.to_owned(), what, advice).at(offset, position)
}

fn damaged(path: &str, position: u64, offset: u64, next: Option<u64>, failure: &headwater_record::Error) -> Finding {
    let (range, advice) = match next {
        Some(next) if next > offset => (
            format!("offsets {offset} to {} cannot be read", next - 1),
            format!("restore the file, or go on reading at offset {next}"),
        ),
        Some(_) => ("no offset is missing".to_owned(), "restore the file".to_owned()),
        None => (format!("nothing from offset {offset} on can be read"), "restore the file".to_owned()),
    };
    let what = format!("expected intact records, got {failure}: {range}");
    Finding::of_file(Severity::Error, path.to_owned(), what, &advice).at(offset, position)
}

type Wrong = (String, &'static str);

/// Whether a good batch lies where it belongs; what comes next is known afterwards.
fn check_place(walk: &mut Walk, header: &Header, base: u64, next_base: Option<u64>) -> Result<(), Wrong> {
    let (got, count) = (header.base_offset, u64::from(header.last_offset_delta) + 1);
    let (expected, alternative) = (walk.expected, walk.alternative.take());
    let advice = "restore the file: a batch lies where another belongs, or one is missing";
    let is_next = got == expected || alternative == Some(got);
    let is_legal = is_next || (walk.has_gaps && got > expected);
    if is_legal && got >= base && next_base.is_none_or(|next_base| header.last_offset() < next_base) {
        walk.expected = header.next_offset();
        return Ok(());
    }
    walk.alternative = Some(expected.saturating_add(count));
    if is_legal {
        walk.expected = next_base.unwrap_or(expected);
        return Err((format!("expected offsets below the next segment's, got a batch of offset {got}"), advice));
    }
    walk.expected = header.next_offset();
    Err((format!("expected a batch at offset {expected}, got one of offset {got}"), advice))
}

/// Whether every record decodes, and they are as many and at the offsets that the header says.
fn check_records(batch: &Batch, has_gaps: bool) -> Result<(), String> {
    let header = &batch.header;
    let records = batch.records().map_err(|error| error.to_string())?;
    let mut next = header.base_offset;
    for record in &records {
        let record = record.map_err(|error| error.to_string())?;
        if record.offset < next || (record.offset > next && !has_gaps) {
            return Err(format!("a record of offset {} where {next} comes next", record.offset));
        }
        next = record.offset + 1;
    }
    if next != header.next_offset() && !has_gaps {
        return Err(format!("the last one at offset {}", next.saturating_sub(1)));
    }
    Ok(())
}
