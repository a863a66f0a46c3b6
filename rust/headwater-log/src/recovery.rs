//! What a partition is made of when it is opened, and what is done about bytes that fail their checks.
//!
//! After a clean close the small file `headwater.checkpoint` says which segments there are and how long; if that is what
//! lies there, the indexes are read and nothing else. Otherwise every segment is walked batch by batch (header, checksum,
//! ascending offsets), and the indexes are built anew:
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
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use headwater_record::{Batch, Header};
use serde_json::{Value, json};

use crate::segment::{Damage, Indexes, Segment, stem};
use crate::storage::{Storage, read_all, replace};
use crate::transactions::Transactions;
use crate::{Error, Result};

const CHECKPOINT: &str = "headwater.checkpoint";
/// How much is read at a time.
const WALK_BYTES: usize = 4 << 20;

/// What was known of a partition when it was last written to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Everything below was synced.
    pub(crate) recovery_point: u64,
    pub(crate) log_start_offset: u64,
    /// After a clean close: base offset and size of each segment, and the next offset.
    pub(crate) clean: Option<(Vec<(u64, u64)>, u64)>,
    pub(crate) has_transactions: bool,
}

impl Checkpoint {
    fn read(storage: &dyn Storage, folder: &str) -> Option<Self> {
        let file = storage.open(&format!("{folder}/{CHECKPOINT}"), false).ok()?;
        let value: Value = serde_json::from_slice(&read_all(&*file).ok()?).ok()?;
        let pair = |entry: &Value| Some((entry.get(0)?.as_u64()?, entry.get(1)?.as_u64()?));
        let clean = value.get("segments").and_then(Value::as_array).and_then(|segments| {
            let segments = segments.iter().map(pair).collect::<Option<Vec<_>>>()?;
            Some((segments, value.get("next_offset")?.as_u64()?))
        });
        Some(Self {
            recovery_point: value.get("recovery_point")?.as_u64()?,
            log_start_offset: value.get("log_start_offset")?.as_u64()?,
            clean,
            has_transactions: value.get("has_transactions").and_then(Value::as_bool).unwrap_or(true),
        })
    }

    /// Replaces the file, durably.
    pub(crate) fn write(&self, storage: &dyn Storage, folder: &str) -> Result<()> {
        let mut value = json!({
            "recovery_point": self.recovery_point,
            "log_start_offset": self.log_start_offset,
            "has_transactions": self.has_transactions,
        });
        if let Some((segments, next_offset)) = &self.clean {
            value["segments"] = json!(segments);
            value["next_offset"] = json!(next_offset);
        }
        replace(storage, folder, CHECKPOINT, value.to_string().as_bytes())
            .map_err(Error::io("write a checkpoint", storage.describe(&format!("{folder}/{CHECKPOINT}"))))
    }
}

/// A partition as it was found.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) next_offset: u64,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) transactions: Transactions,
    pub(crate) warnings: Vec<String>,
    /// Whether the last segment may be appended to; after damage at its end a new one must be begun.
    pub(crate) is_last_intact: bool,
}

/// Opens what lies in a folder. With `is_writable`, leftovers are removed and a torn tail is cut.
pub(crate) fn recover(
    storage: &dyn Storage,
    folder: &str,
    place: &str,
    interval: u64,
    is_writable: bool,
) -> Result<Recovered> {
    let names = storage.list(folder).map_err(Error::io("list a folder", storage.describe(folder)))?;
    let known = Checkpoint::read(storage, folder);
    let mut bases: Vec<u64> = names.iter().filter_map(|name| name.strip_suffix(".log")?.parse().ok()).collect();
    bases.sort_unstable();
    if is_writable {
        for name in names.iter().filter(|name| name.ends_with(".tmp") || name.ends_with(".deleted")) {
            let path = format!("{folder}/{name}");
            storage.remove_file(&path).map_err(Error::io("remove a file", storage.describe(&path)))?;
        }
    }
    let mut files = Vec::new();
    for base in bases {
        let path = format!("{}.log", stem(folder, base));
        let file = storage.open(&path, false).map_err(Error::io("open a segment", storage.describe(&path)))?;
        let size = file.size().map_err(Error::io("open a segment", storage.describe(&path)))?;
        files.push((base, file, size));
    }
    let mut warnings = Vec::new();
    if let Some((segments, next_offset)) = known.as_ref().and_then(|known| known.clean.as_ref()) {
        let is_same = segments.iter().copied().eq(files.iter().map(|(base, _, size)| (*base, *size)));
        let known = known.as_ref().expect("just looked at");
        if is_same && !known.has_transactions {
            if let Some(segments) = from_indexes(storage, folder, &files, *next_offset) {
                return Ok(Recovered {
                    segments,
                    next_offset: *next_offset,
                    checkpoint: known.clone(),
                    transactions: Transactions::default(),
                    warnings,
                    is_last_intact: true,
                });
            }
        } else if !is_same {
            warnings.push(format!(
                "{place}: expected the segments that were there when the log was closed, got others - at {}; what is known \
                 of the partition is derived from its files anew",
                storage.describe(folder)
            ));
        }
    }
    // Files that something else put there know nothing of our recovery point.
    let is_foreign = !warnings.is_empty();
    let checkpoint = known.filter(|_| !is_foreign).unwrap_or_default();
    let mut walk = Walk {
        storage,
        place,
        interval,
        is_writable,
        recovery_point: checkpoint.recovery_point,
        expected: files.first().map_or(0, |(base, _, _)| *base),
        transactions: Transactions::default(),
        warnings,
        is_last_intact: true,
    };
    let mut segments = Vec::new();
    for index in 0..files.len() {
        let (base, file, size) = &files[index];
        let next_base = files.get(index + 1).map(|(base, _, _)| *base);
        segments.push(walk.segment(folder, *base, file, *size, next_base)?);
    }
    let mut next_offset = walk.expected;
    if next_offset < checkpoint.recovery_point {
        walk.warnings.push(format!(
            "{place}: expected records up to offset {}, which were durable once, got them up to {next_offset} - at {}; the \
             missing ones are not made up: the log goes on at {}",
            checkpoint.recovery_point,
            storage.describe(folder),
            checkpoint.recovery_point
        ));
        next_offset = checkpoint.recovery_point;
        walk.is_last_intact = false;
    }
    let log_start_offset = checkpoint.log_start_offset.max(segments.first().map_or(0, |segment| segment.base_offset));
    Ok(Recovered {
        segments,
        next_offset,
        checkpoint: Checkpoint { log_start_offset, ..checkpoint },
        transactions: walk.transactions,
        warnings: walk.warnings,
        is_last_intact: walk.is_last_intact,
    })
}

type OpenFile = (u64, Arc<dyn crate::storage::File>, u64);

/// Segments as their index files describe them; None if one of those is missing or wrong.
fn from_indexes(storage: &dyn Storage, folder: &str, files: &[OpenFile], end: u64) -> Option<Vec<Arc<Segment>>> {
    let mut segments = Vec::new();
    for (index, (base, file, size)) in files.iter().enumerate() {
        let stem = stem(folder, *base);
        let indexes = Segment::read_indexes(storage, &stem, *size)?;
        let largest = indexes.times.last().map(|(timestamp, _)| timestamp);
        if largest.is_none() && *size > 0 {
            return None;
        }
        let next_offset = files.get(index + 1).map_or(end, |(base, _, _)| *base);
        segments.push(Arc::new(Segment {
            base_offset: *base,
            stem,
            file: Arc::clone(file),
            size: AtomicU64::new(*size),
            next_offset: AtomicU64::new(next_offset),
            max_timestamp: AtomicI64::new(largest.unwrap_or(i64::MIN)),
            indexes: indexes.into(),
            damage: Vec::new(),
        }));
    }
    Some(segments)
}

struct Walk<'a> {
    storage: &'a dyn Storage,
    place: &'a str,
    interval: u64,
    is_writable: bool,
    recovery_point: u64,
    /// The offset that comes next.
    expected: u64,
    transactions: Transactions,
    warnings: Vec<String>,
    is_last_intact: bool,
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
        if base > self.expected {
            self.warnings.push(format!(
                "{}: expected a segment that begins at offset {}, got one at {base} - at {path}; the offsets between are \
                 missing",
                self.place, self.expected
            ));
        }
        self.expected = self.expected.max(base);
        let mut segment = Segment {
            base_offset: base,
            stem: stem(folder, base),
            file: Arc::clone(file),
            size: AtomicU64::new(size),
            next_offset: AtomicU64::new(base),
            max_timestamp: AtomicI64::new(i64::MIN),
            indexes: Indexes::default().into(),
            damage: Vec::new(),
        };
        let mut position = 0;
        while position < size {
            let chunk =
                segment.batches_from(position, WALK_BYTES).map_err(Error::io("read a segment", path.clone()))?;
            let mut failure = chunk.failure.map(|error| error.to_string());
            let mut end = chunk.end;
            for (at, batch) in &chunk.batches {
                if let Err(what) = self.check(&batch.header, base) {
                    (failure, end) = (Some(what), *at);
                    break;
                }
                self.see(&segment, *at, batch);
            }
            position = end;
            if let Some(what) = failure {
                match self.damaged(&mut segment, &path, position, size, next_base, what)? {
                    Some(next) => position = next,
                    None => break,
                }
            } else if chunk.batches.is_empty() {
                break;
            }
        }
        segment.next_offset = AtomicU64::new(self.expected);
        Ok(Arc::new(segment))
    }

    fn check(&self, header: &Header, base: u64) -> std::result::Result<(), String> {
        if header.base_offset < self.expected {
            return Err(format!("a batch of offset {} where {} comes next", header.base_offset, self.expected));
        }
        if header.last_offset() - base > u64::from(u32::MAX) {
            return Err(format!("a batch of offset {} in the segment of {base}", header.base_offset));
        }
        Ok(())
    }

    fn see(&mut self, segment: &Segment, position: u64, batch: &Batch) {
        segment.index(&batch.header, position, self.interval);
        let control = if batch.header.is_control() {
            batch.records().and_then(|records| records.control_type()).ok()
        } else {
            None
        };
        self.transactions.see(&batch.header, control);
        self.expected = batch.header.next_offset();
    }

    /// Decides about bad bytes at a position; returns where the next good batch is, if there is one in this segment.
    fn damaged(
        &mut self,
        segment: &mut Segment,
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
        let found = self.next_good(&rest, segment.base_offset);
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
        segment.damage.push(Damage { position, end, first_offset: self.expected, next_offset, what });
        self.is_last_intact = next.is_some();
        self.expected = next_offset;
        Ok(next.map(|(at, _)| at))
    }

    /// The first good batch behind the start of `bytes`: its place and offset.
    fn next_good(&self, bytes: &[u8], base: u64) -> Option<(usize, u64)> {
        (1..bytes.len().saturating_sub(headwater_record::HEADER_BYTES - 1)).find_map(|at| {
            if bytes[at + 16] != 2 {
                return None;
            }
            let header = Header::parse(&bytes[at..]).ok()?;
            let is_plausible = self.check(&header, base).is_ok() && header.records_count > 0;
            (is_plausible && header.verify(&bytes[at..]).is_ok()).then_some((at, header.base_offset))
        })
    }
}
