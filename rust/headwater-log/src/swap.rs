//! Putting one file in the place of several segments, so that a crash at any point leaves the old ones or the new one.
//!
//! 1. The copy is written as `<base>.log.cleaned`, synced, renamed to `<base>.log.swap`, and the folder synced.
//! 2. The checkpoint is replaced by one that holds the *intent* ([`Swap`]): **the swap is committed**.
//! 3. The later segments that it replaces and the stale indexes are removed, `.swap` is renamed to `.log`, the folder synced.
//! 4. The checkpoint is replaced by one without the intent.
//!
//! Whoever opens the folder finishes step 3 if the checkpoint says so, as often as it takes, and removes the leftovers of
//! step 1 if not. Who only reads sees the folder as it would be then. Kafka names its files the same, without an intent:
//! in a folder that is not ours, a `.swap` of whole batches takes the place of the segments that lie within it.

use std::sync::Arc;

use bytes::Bytes;
use headwater_record::{Batch, HEADER_BYTES, Header};

use crate::checkpoint::Checkpoint;
use crate::mark::Mark;
use crate::recovery::{OpenFile, is_ours};
use crate::segment::{base_of, first_checksum, remove_if_there, remove_segment, stem};
use crate::storage::{Storage, read_all};
use crate::{Error, Result};

/// How often who only reads looks again when files change while he opens them.
const ATTEMPTS: usize = 100;

/// A swap that is committed: the file of `base` holds all that lies below `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Swap {
    pub(crate) base: u64,
    pub(crate) until: u64,
    /// Checksum field of the new file's first batch, if it has one: tells it from others of the same name.
    pub(crate) identity: Option<u32>,
}

/// Where the copy is written.
pub(crate) fn cleaned_path(stem: &str) -> String {
    format!("{stem}.log.cleaned")
}

/// Where it waits to be put in place.
pub(crate) fn swap_path(stem: &str) -> String {
    format!("{stem}.log.swap")
}

/// Makes a finished, synced copy the one that an intent may speak of (the end of step 1).
pub(crate) fn offer(storage: &dyn Storage, folder: &str, stem: &str) -> Result<()> {
    let swap = swap_path(stem);
    storage.rename(&cleaned_path(stem), &swap).map_err(Error::io("rename", storage.describe(&swap)))?;
    storage.sync_folder(folder).map_err(Error::io("sync a folder", storage.describe(folder)))
}

/// Puts the files of a committed swap in place (step 3); whatever of it was done before, and whatever of that was lost.
pub(crate) fn finish(storage: &dyn Storage, folder: &str, swap: &Swap) -> Result<()> {
    let names = list(storage, folder)?;
    for base in bases(&names, ".log").filter(|base| (swap.base + 1..swap.until).contains(base)) {
        remove_segment(storage, &stem(folder, base))?;
    }
    let stem = stem(folder, swap.base);
    for extension in ["index", "timeindex", "txnindex"] {
        remove_if_there(storage, &format!("{stem}.{extension}"))?;
    }
    if bases(&names, ".log.swap").any(|base| base == swap.base) {
        let path = format!("{stem}.log");
        storage.rename(&swap_path(&stem), &path).map_err(Error::io("rename", storage.describe(&path)))?;
    }
    storage.sync_folder(folder).map_err(Error::io("sync a folder", storage.describe(folder)))
}

/// What is known of a folder, and its segments, ascending. With `is_writable` what a crash interrupted is finished or undone,
/// otherwise it is looked at as if it were.
pub(crate) fn open_settled(
    storage: &dyn Storage,
    folder: &str,
    is_writable: bool,
) -> Result<(Option<Checkpoint>, Vec<OpenFile>)> {
    if is_writable {
        let (known, names) = settle(storage, folder)?;
        return Ok((known, open(storage, folder, &names, &[])?));
    }
    let mut attempt = 0;
    loop {
        attempt += 1;
        let known = Checkpoint::read(storage, folder);
        let names = list(storage, folder)?;
        let swaps = swaps(storage, folder, known.as_ref(), &names);
        let files = swaps.and_then(|swaps| open(storage, folder, &names, &swaps));
        // Another process may be writing: what it replaced or removed meanwhile shows in its checkpoint.
        if attempt == ATTEMPTS || (files.is_ok() && Checkpoint::read(storage, folder) == known) {
            return Ok((known, files?));
        }
    }
}

/// Finishes or undoes what a crash interrupted; returns what is known then, and the names of the files.
fn settle(storage: &dyn Storage, folder: &str) -> Result<(Option<Checkpoint>, Vec<String>)> {
    let (mut known, mut names) = (Checkpoint::read(storage, folder), list(storage, folder)?);
    let swaps = swaps(storage, folder, known.as_ref(), &names)?;
    for swap in &swaps {
        finish(storage, folder, swap)?;
    }
    if let Some(known) = known.as_mut().filter(|known| known.replacing.is_some()) {
        known.replacing = None;
        known.write(storage, folder)?;
    }
    if !swaps.is_empty() {
        names = list(storage, folder)?;
    }
    let is_leftover = |name: &&String| [".tmp", ".deleted", ".cleaned", ".swap"].iter().any(|end| name.ends_with(end));
    for name in names.iter().filter(is_leftover) {
        remove_if_there(storage, &format!("{folder}/{name}"))?;
    }
    Ok((known, names))
}

/// The swaps that are committed and perhaps not done.
fn swaps(storage: &dyn Storage, folder: &str, known: Option<&Checkpoint>, names: &[String]) -> Result<Vec<Swap>> {
    let begins = |path: &str| storage.open(path, false).ok().map(|file| first_checksum(&*file));
    if let Some(swap) = known.and_then(|known| known.replacing) {
        let stem = stem(folder, swap.base);
        let found = begins(&swap_path(&stem)).or_else(|| begins(&format!("{stem}.log")));
        if found == Some(swap.identity) {
            return Ok(vec![swap]);
        }
    }
    if !names.iter().any(|name| name.ends_with(".log.swap")) {
        return Ok(Vec::new());
    }
    // Ours, without an intent: not committed.
    if let Some(known) = known
        && is_ours(known, Mark::read(storage, folder), &open(storage, folder, names, &[])?)
    {
        return Ok(Vec::new());
    }
    let unfinished = bases(names, ".log.cleaned").min().unwrap_or(u64::MAX);
    let mut found = Vec::new();
    for base in bases(names, ".log.swap").filter(|base| *base < unfinished) {
        let is_alone = !bases(names, ".log").any(|other| other == base);
        let path = swap_path(&stem(folder, base));
        let file = storage.open(&path, false).and_then(|file| read_all(&*file));
        let bytes = Bytes::from(file.map_err(Error::io("read a segment", storage.describe(&path)))?);
        let identity = Header::parse(&bytes).ok().map(|header| header.checksum);
        match end_of(bytes) {
            Some(until) => found.push(Swap { base, until: until.max(base + 1), identity }),
            None if is_alone => found.push(Swap { base, until: base + 1, identity }),
            None => {}
        }
    }
    Ok(found)
}

/// The offset after the last of a file of whole batches; None if they are not.
fn end_of(mut bytes: Bytes) -> Option<u64> {
    let mut end = 0;
    while bytes.len() >= HEADER_BYTES {
        let (batch, rest) = Batch::split(&bytes).ok()?;
        batch.verify().ok()?;
        (end, bytes) = (batch.header.next_offset(), rest);
    }
    bytes.is_empty().then_some(end)
}

/// The segments as they are once the swaps are done.
fn open(storage: &dyn Storage, folder: &str, names: &[String], swaps: &[Swap]) -> Result<Vec<OpenFile>> {
    let mut files = Vec::new();
    for (base, path) in places(folder, names, swaps) {
        let failed = || Error::io("open a segment", storage.describe(&path));
        let file: Arc<dyn crate::storage::File> = storage.open(&path, false).map_err(failed())?;
        let size = file.size().map_err(failed())?;
        files.push((base, file, size));
    }
    Ok(files)
}

/// Base offsets and files of the segments as they are once the swaps are done.
fn places(folder: &str, names: &[String], swaps: &[Swap]) -> Vec<(u64, String)> {
    let is_replaced = |base: &u64| swaps.iter().any(|swap| (swap.base + 1..swap.until).contains(base));
    let waiting: Vec<u64> =
        bases(names, ".log.swap").filter(|base| swaps.iter().any(|swap| swap.base == *base)).collect();
    let mut found: Vec<u64> = bases(names, ".log").filter(|base| !is_replaced(base)).chain(waiting.clone()).collect();
    found.sort_unstable();
    found.dedup();
    let place = |base: u64| {
        let stem = stem(folder, base);
        if waiting.contains(&base) { swap_path(&stem) } else { format!("{stem}.log") }
    };
    found.into_iter().map(|base| (base, place(base))).collect()
}

/// Base offsets and files of the segments as whoever opens a folder next will see them.
pub(crate) fn settled_places(
    storage: &dyn Storage,
    folder: &str,
    known: Option<&Checkpoint>,
    names: &[String],
) -> Result<Vec<(u64, String)>> {
    Ok(places(folder, names, &swaps(storage, folder, known, names)?))
}

fn list(storage: &dyn Storage, folder: &str) -> Result<Vec<String>> {
    storage.list(folder).map_err(Error::io("list a folder", storage.describe(folder)))
}

/// The base offsets of the files whose names end so.
fn bases<'a>(names: &'a [String], end: &'a str) -> impl Iterator<Item = u64> + 'a {
    names.iter().filter_map(move |name| base_of(name, end))
}
