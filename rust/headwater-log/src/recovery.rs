//! What a partition is made of when it is opened, and what is done about bytes that fail their checks.
//!
//! The small file `headwater.checkpoint` says which segments were sealed and how long they are, after a clean close all of
//! them; those that lie there just so are believed (`known`). The others are walked batch by batch (header, checksum,
//! ascending offsets), and their indexes are built anew:
//!
//! | the walk finds | what is done |
//! |---|---|
//! | only good batches | nothing |
//! | bad bytes at the end of the last segment, nothing good behind, all above the recovery point | cut, with a warning |
//! | bad bytes before good ones, or below the recovery point | kept, reported, refused to readers; nothing is cut |
//!
//! A bad header's length cannot be trusted: the next good batch is searched for byte by byte. The recovery point is an
//! offset below which everything was synced once; recovery never advances it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use headwater_record::{Batch, Header};

use crate::checkpoint::Checkpoint;
use crate::known::Known;
use crate::mark::Mark;
use crate::producers::ProducerState;
use crate::segment::{Damage, Segment, check, first_checksum, next_good, remove_segment, stem};
use crate::storage::Storage;
use crate::swap::open_settled;
use crate::{Error, Result};

/// How much is read at a time.
const WALK_BYTES: usize = 4 << 20;

/// A partition as it was found.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) next_offset: u64,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) producers: ProducerState,
    pub(crate) warnings: Vec<String>,
    /// Whether the last segment may be appended to; after damage at its end a new one must be begun.
    pub(crate) is_last_intact: bool,
    /// A reader without the lock sees what lies below.
    pub(crate) durable: u64,
    /// Offsets that no file holds and none should miss: from, to (exclusive).
    pub(crate) missing: Vec<(u64, u64)>,
    /// Whether offsets may be missing between batches.
    pub(crate) has_gaps: bool,
    /// Whether it is as a clean close left it.
    pub(crate) is_clean: bool,
}

/// Opens what lies in a folder. With `is_writable`, leftovers are removed and a torn tail is cut.
pub(crate) fn recover(
    storage: &dyn Storage,
    folder: &str,
    place: &str,
    interval: u64,
    is_writable: bool,
    is_compacted: bool,
) -> Result<Recovered> {
    // Before the files are looked at: another process may be writing, and what was durable then is in them.
    let mark = Mark::read(storage, folder);
    let (known, files) = open_settled(storage, folder, is_writable)?;
    let mut warnings = Vec::new();
    // A checkpoint that was copied here speaks of another log: nothing of it is believed.
    let is_of_another = |other: &String| other != folder;
    let elsewhere = known.as_ref().and_then(|known| known.folder.clone()).filter(is_of_another);
    let known = known.filter(|_| elsewhere.is_none());
    let mut believed =
        known.as_ref().map_or_else(Known::default, |checkpoint| Known::of(storage, folder, checkpoint, &files));
    if let Some(checkpoint) = known.as_ref().filter(|known| known.end == Some(believed.next_offset))
        && believed.segments.len() == files.len()
    {
        return Ok(Recovered {
            segments: believed.segments,
            next_offset: believed.next_offset,
            checkpoint: checkpoint.clone(),
            producers: believed.producers,
            warnings,
            is_last_intact: true,
            durable: believed.next_offset,
            missing: Vec::new(),
            has_gaps: is_compacted || checkpoint.has_gaps,
            is_clean: true,
        });
    }
    // Files that something else put there know nothing of our recovery point.
    let is_ours = known.as_ref().is_some_and(|known| is_ours(known, mark, &files));
    if let Some(other) = elsewhere {
        warnings.push(format!(
            "{place}: expected the files of '{folder}', got some of '{other}' - at {}; what is known of the partition is \
             derived from its files anew, move them away if they were copied by mistake",
            storage.describe(folder)
        ));
    } else if !is_ours && !files.is_empty() {
        warnings.push(format!(
            "{place}: expected the segments that headwater wrote, got others or no word about them - at {}; what is known \
             of the partition is derived from its files anew",
            storage.describe(folder)
        ));
    }
    if !is_ours {
        believed = Known::default();
    }
    let checkpoint = known.filter(|_| is_ours).unwrap_or_default();
    let mark = mark.filter(|_| is_ours).map(|(durable, _)| durable);
    if is_ours && mark.is_none() {
        warnings.push(format!(
            "{place}: expected the mark of what was durable, got none - at {}; a damaged end of the log may pass for one that \
             was not written to the end",
            storage.describe(folder)
        ));
    }
    let recovery_point = checkpoint.recovery_point.max(mark.unwrap_or(0));
    let mut walk = Walk {
        storage,
        place,
        interval,
        is_writable,
        has_gaps: is_compacted || !is_ours || checkpoint.has_gaps,
        recovery_point,
        limit: if is_writable || mark.is_none() { u64::MAX } else { recovery_point },
        expected: if believed.segments.is_empty() {
            files.first().map_or(0, |(base, _, _)| *base)
        } else {
            believed.next_offset
        },
        producers: believed.producers,
        warnings,
        is_last_intact: true,
        missing: Vec::new(),
    };
    let mut segments = believed.segments;
    for index in segments.len()..files.len() {
        let (base, file, size) = &files[index];
        if index > 0 && walk.expected >= walk.limit {
            break;
        }
        // The end of the segment before never reached the disk, and this one had only been begun: as if it had not.
        let is_last = index > 0 && index + 1 == files.len();
        if is_last && *size == 0 && walk.expected < *base && walk.expected >= walk.recovery_point && !walk.has_gaps {
            if is_writable {
                remove_segment(storage, &stem(folder, *base))?;
            }
            continue;
        }
        let next_base = files.get(index + 1).map(|(base, _, _)| *base);
        segments.push(walk.segment(folder, *base, file, *size, next_base)?);
    }
    let mut next_offset = walk.expected;
    if next_offset < recovery_point {
        walk.warnings.push(format!(
            "{place}: expected records up to offset {recovery_point}, which were durable once, got them up to {next_offset} \
             - at {}; the missing ones are not made up: the log goes on at {recovery_point}",
            storage.describe(folder),
        ));
        walk.missing.push((next_offset, recovery_point));
        next_offset = recovery_point;
        walk.is_last_intact = false;
    }
    // Who only reads sees what was durable: behind it another process may be writing.
    let durable = if is_writable || mark.is_none() { next_offset } else { recovery_point.min(next_offset) };
    let log_start_offset = checkpoint.log_start_offset.max(segments.first().map_or(0, |segment| segment.base_offset));
    Ok(Recovered {
        segments,
        next_offset,
        checkpoint: Checkpoint { log_start_offset, ..checkpoint },
        producers: walk.producers,
        warnings: walk.warnings,
        is_last_intact: walk.is_last_intact,
        durable,
        missing: walk.missing,
        has_gaps: walk.has_gaps,
        is_clean: false,
    })
}

/// A segment's base offset, its file and its size.
pub(crate) type OpenFile = (u64, Arc<dyn crate::storage::File>, u64);

/// Whether the files are those that our small files speak of, perhaps damaged: one of them begins with the same batch.
pub(crate) fn is_ours(known: &Checkpoint, mark: Option<(u64, u32)>, files: &[OpenFile]) -> bool {
    // The mark is not synced: after a deletion of records it may still speak of a batch that is gone.
    let of_mark = mark.map(|(_, identity)| identity).filter(|identity| *identity != 0);
    let said = [of_mark, known.identity];
    let is_said = |first: Option<u32>| first.is_none() || said.contains(&first);
    said == [None, None] || files.is_empty() || files.iter().any(|(_, file, _)| is_said(first_checksum(&**file)))
}

struct Walk<'a> {
    storage: &'a dyn Storage,
    place: &'a str,
    interval: u64,
    is_writable: bool,
    /// Whether offsets may be missing between batches, as compaction leaves it.
    has_gaps: bool,
    recovery_point: u64,
    /// Nothing from here on is looked at: it belongs to the process that writes.
    limit: u64,
    /// The offset that comes next.
    expected: u64,
    producers: ProducerState,
    warnings: Vec<String>,
    is_last_intact: bool,
    missing: Vec<(u64, u64)>,
}

impl Walk<'_> {
    fn segment(
        &mut self,
        folder: &str,
        base: u64,
        file: &Arc<dyn crate::storage::File>,
        size: u64,
        next_base: Option<u64>,
    ) -> Result<Arc<Segment>> {
        let path = self.storage.describe(&format!("{}.log", stem(folder, base)));
        if base > self.expected && !self.has_gaps {
            self.warnings.push(format!(
                "{}: expected a segment that begins at offset {}, got one at {base} - at {path}; the offsets between are \
                 missing",
                self.place, self.expected
            ));
            self.missing.push((self.expected, base));
        }
        self.expected = self.expected.max(base);
        self.is_last_intact = true;
        let segment = Segment::over(Arc::clone(file), base, stem(folder, base));
        segment.size.store(size, Ordering::Release);
        let mut position = 0;
        while position < size && self.expected < self.limit {
            let chunk =
                segment.batches_from(position, WALK_BYTES).map_err(Error::io("read a segment", path.clone()))?;
            let mut failure = chunk.failure.map(|error| error.to_string());
            let mut end = chunk.end;
            for (index, (at, batch)) in chunk.batches.iter().enumerate() {
                if self.expected >= self.limit {
                    (failure, end) = (None, *at);
                    break;
                }
                let is_cut_off = index + 1 == chunk.batches.len() && chunk.end < size && index > 0;
                if is_cut_off && batch.header.base_offset != self.expected {
                    end = *at; // its neighbour, which must be asked, comes with the next chunk
                    failure = None;
                    break;
                }
                let next = chunk.batches.get(index + 1).map(|(_, next)| next.header.base_offset);
                if let Err(what) = self.check(&batch.header, base, next, next_base, &path) {
                    (failure, end) = (Some(what), *at);
                    break;
                }
                self.see(&segment, *at, batch);
            }
            position = end;
            if let Some(what) = failure.filter(|_| self.expected < self.limit) {
                match self.damaged(&segment, &path, position, size, next_base, what)? {
                    Some(next) => position = next,
                    None => break,
                }
            } else if chunk.batches.is_empty() {
                break;
            }
        }
        if self.expected >= self.limit {
            segment.size.fetch_min(position, Ordering::AcqRel);
        }
        segment.next_offset.store(self.expected, Ordering::Release);
        Ok(Arc::new(segment))
    }

    /// Whether a good batch may stand where it stands. A file's checksums do not cover offsets: what stands in for them is
    /// that each batch begins where the one before ended.
    fn check(
        &mut self,
        header: &Header,
        base: u64,
        next: Option<u64>,
        next_base: Option<u64>,
        path: &str,
    ) -> std::result::Result<(), String> {
        check(header, self.expected, base)?;
        if next_base.is_some_and(|next_base| header.last_offset() >= next_base) {
            return Err(format!("a batch of offset {} that belongs to a later segment", header.base_offset));
        }
        if header.base_offset == self.expected {
            return Ok(());
        }
        // A batch of another place (a misdirected write), or the first after a loss? What comes behind it tells.
        let is_followed = match next.or(next_base) {
            Some(next) if self.has_gaps => next >= header.next_offset(),
            Some(next) => next == header.next_offset(),
            None if self.has_gaps => true,
            None => header.next_offset() <= self.recovery_point,
        };
        if !is_followed {
            return Err(format!("a batch of offset {} where {} comes next", header.base_offset, self.expected));
        }
        if self.has_gaps {
            return Ok(());
        }
        self.warnings.push(format!(
            "{}: expected a batch at offset {}, got one at {} - at {path}; the offsets between are missing",
            self.place, self.expected, header.base_offset
        ));
        self.missing.push((self.expected, header.base_offset));
        Ok(())
    }

    fn see(&mut self, segment: &Segment, position: u64, batch: &Batch) {
        segment.index(&batch.header, position, self.interval);
        self.producers.see_batch(batch);
        self.expected = batch.header.next_offset();
    }

    /// Decides about bad bytes at a position; returns where the next good batch is, if there is one in this segment.
    fn damaged(
        &mut self,
        segment: &Segment,
        path: &str,
        position: u64,
        size: u64,
        next_base: Option<u64>,
        what: String,
    ) -> Result<Option<u64>> {
        let length = usize::try_from(size - position).unwrap_or(usize::MAX);
        let mut rest = vec![0; length];
        let read = segment.file.read_at(&mut rest, position).map_err(Error::io("read a segment", path))?;
        rest.truncate(read);
        let found = next_good(&rest, self.expected, segment.base_offset, next_base.unwrap_or(self.limit));
        let is_below = self.expected < self.recovery_point;
        if found.is_none() && next_base.is_none() && !is_below {
            self.warnings.push(format!(
                "{}: expected a batch at offset {}, got {what} - at {path} byte {position}; the last {} bytes were not \
                 written to the end and {}",
                self.place,
                self.expected,
                size - position,
                if self.is_writable { "are cut off" } else { "are left out" },
            ));
            if self.is_writable {
                segment.file.truncate(position).map_err(Error::io("cut a segment", path))?;
                segment.file.sync().map_err(Error::io("sync a segment", path))?;
            }
            segment.size.store(position, Ordering::Release);
            return Ok(None);
        }
        let next = found.map(|(at, offset)| (position + at as u64, offset));
        let next_offset = match (next, next_base) {
            (Some((_, offset)), _) => offset,
            (None, Some(base)) => base,
            (None, None) => self.recovery_point,
        };
        let end = next.map_or(size, |(at, _)| at);
        self.warnings.push(format!(
            "{}: expected intact records, got damage ({what}): offsets {} to {} cannot be read - at {path} bytes {position} \
             to {end}; they are kept as they are, and everything around them is read; restore the file if you can",
            self.place,
            self.expected,
            next_offset.saturating_sub(1),
        ));
        segment.damage.write().push(Damage { position, end, first_offset: self.expected, next_offset, what });
        self.is_last_intact = next.is_some();
        self.expected = next_offset;
        Ok(next.map(|(at, _)| at))
    }
}
