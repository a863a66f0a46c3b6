//! The directories that a crash may leave, level by level.
//!
//! | level | what is there after the restart |
//! |---|---|
//! | `Killed` | everything: only the process died |
//! | `PowerLoss` | only what a sync covered |
//! | `Prefixes` | of every file and of every folder some first part of what was not synced, in any combination |
//! | `Torn` | one write in part: of its sectors some are old, zeros or noise; or it ends at any byte |
//! | `Reordered` | names that changed in another order than they did, with contents or without; cuts that did not happen |

use std::collections::BTreeMap;
use std::sync::Arc;

use super::disk::{Change, Contents, Disk, Image, Tree, apply, write};
use super::journal::{Inode, Place};

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The process was killed.
    Killed,
    /// Power failed, and nothing that no sync covered was written.
    PowerLoss,
    /// Power failed, and each file was written up to some point.
    Prefixes,
    /// Power failed within a write.
    Torn,
    /// Power failed, and the file system had written names in an order of its own.
    Reordered,
}

impl Level {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Killed, Self::PowerLoss, Self::Prefixes, Self::Torn, Self::Reordered];
}

/// Combinations of six unsynced operations are enumerated, of more they are drawn.
const FEW: usize = 64;
const SECTOR: usize = 512;

pub(super) fn images(disk: &Disk, level: Level, seed: u64, most: usize) -> Vec<Image> {
    let mut random = Random(seed);
    match level {
        Level::Killed => vec![disk.image(&disk.seen, |_, file| Arc::clone(&file.seen))],
        Level::PowerLoss => vec![disk.image(&disk.durable, |_, file| Arc::clone(&file.durable))],
        Level::Prefixes => prefixes(disk, &mut random, most),
        Level::Torn => torn(disk, &mut random, most),
        Level::Reordered => reordered(disk, &mut random, most),
    }
}

/// A small generator (splitmix64): the same seed draws the same images on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }

    /// Numbers below `count`: all of them if they are few or fewer than `most`, else `most` of them.
    fn some(&mut self, count: usize, most: usize) -> Vec<usize> {
        if count <= FEW.min(most.max(1)) {
            (0..count).collect()
        } else {
            (0..most).map(|_| self.below(count)).collect()
        }
    }
}

/// Folders with changes that are not durable, and how many.
fn folders(disk: &Disk) -> BTreeMap<Inode, usize> {
    let mut counts = BTreeMap::new();
    for place in &disk.pending {
        *counts.entry(place.folder()).or_insert(0) += 1;
    }
    counts
}

fn prefixes(disk: &Disk, random: &mut Random, most: usize) -> Vec<Image> {
    let folders: Vec<(Inode, usize)> = folders(disk).into_iter().collect();
    let files: Vec<(Inode, usize)> = disk.files.iter().map(|(inode, file)| (*inode, file.pending.len())).collect();
    let sizes = || folders.iter().map(|(_, count)| count + 1).chain(files.iter().map(|(_, count)| count + 1));
    let combinations = sizes().fold(1, usize::saturating_mul);
    let draw = |mut number: usize| {
        let mut digits = sizes().map(|size| {
            let digit = number % size;
            number /= size;
            digit
        });
        let mut left: BTreeMap<Inode, usize> =
            folders.iter().map(|(inode, _)| *inode).zip(digits.by_ref().take(folders.len())).collect();
        let counts: BTreeMap<Inode, usize> = files.iter().map(|(inode, _)| *inode).zip(digits).collect();
        let mut names = disk.durable.clone();
        for place in &disk.pending {
            let left = left.entry(place.folder()).or_insert(0);
            if *left > 0 {
                *left -= 1;
                apply(&mut names, place);
            }
        }
        disk.image(&names, |inode, file| file.with(counts[&inode]))
    };
    random.some(combinations, most).into_iter().map(draw).collect()
}

/// What the sectors of a write hold that did not reach the disk.
#[derive(Clone, Copy, Debug)]
enum Missing {
    Old,
    Zeros,
    Noise,
    /// It ends at some byte of the write; behind it everything is as it was.
    Behind(usize),
}

fn torn(disk: &Disk, random: &mut Random, most: usize) -> Vec<Image> {
    let mut tears = Vec::new();
    for (inode, file) in &disk.files {
        for (number, change) in file.pending.iter().enumerate() {
            let Change::Write { at, bytes } = change else { continue };
            let sectors = (*at as usize + bytes.len()).div_ceil(SECTOR) - *at as usize / SECTOR;
            let there =
                if sectors <= 3 { (0..(1 << sectors) - 1).collect() } else { random.some(1 << sectors.min(40), 6) };
            let fillings = [Missing::Old, Missing::Zeros, Missing::Noise];
            tears.extend(there.into_iter().flat_map(|there| fillings.map(|missing| (*inode, number, there, missing))));
            tears.push((*inode, number, 0, Missing::Behind(random.below(bytes.len()))));
        }
    }
    let chosen = random.some(tears.len(), most);
    let noise = random.below(256);
    let tear = |which: usize| {
        let (torn, number, there, missing) = tears[which];
        disk.image(&disk.seen, |inode, file| {
            if inode == torn { tear(file, number, there, missing, noise as u8) } else { file.with(file.pending.len()) }
        })
    };
    chosen.into_iter().map(tear).collect()
}

/// A file whose pending write `number` is the last to reach the disk, and in part: of the sectors that `there` has bits for.
fn tear(file: &Contents, number: usize, there: usize, missing: Missing, noise: u8) -> Arc<Vec<u8>> {
    let mut contents = (*file.with(number)).clone();
    let Change::Write { at, bytes } = &file.pending[number] else { return Arc::new(contents) };
    let (start, end) = (*at as usize, *at as usize + bytes.len());
    if let Missing::Behind(kept) = missing {
        write(&mut contents, start, &bytes[..kept]);
        return Arc::new(contents);
    }
    for (index, sector) in (start / SECTOR..end.div_ceil(SECTOR)).enumerate() {
        let (from, to) = (start.max(sector * SECTOR), end.min((sector + 1) * SECTOR));
        let new = &bytes[from - start..to - start];
        match missing {
            _ if there >> index & 1 == 1 => write(&mut contents, from, new),
            Missing::Old | Missing::Behind(_) => {}
            Missing::Zeros => write(&mut contents, from, &vec![0; new.len()]),
            Missing::Noise => {
                let noise: Vec<u8> = new.iter().map(|byte| byte.rotate_left(3) ^ noise).collect();
                write(&mut contents, from, &noise);
            }
        }
    }
    Arc::new(contents)
}

type Bytes = Arc<Vec<u8>>;

/// Names in any order, over contents that are all there, not there, or there with the cuts undone.
fn reordered(disk: &Disk, random: &mut Random, most: usize) -> Vec<Image> {
    let contents: [fn(Inode, &Contents) -> Bytes; 3] = [
        |_, file| Arc::clone(&file.durable),
        |_, file| file.with(file.pending.len()),
        |_, file| {
            let mut contents = (*file.durable).clone();
            file.pending
                .iter()
                .filter(|change| matches!(change, Change::Write { .. }))
                .for_each(|c| c.apply(&mut contents));
            Arc::new(contents)
        },
    ];
    let subsets = 1_usize << disk.pending.len().min(40);
    let draw = |number: usize| {
        let names = subset(&disk.durable, &disk.pending, number / contents.len());
        disk.image(&names, contents[number % contents.len()])
    };
    random.some(subsets * contents.len(), most).into_iter().map(draw).collect()
}

fn subset(durable: &Tree, pending: &[Place], which: usize) -> Tree {
    let mut names = durable.clone();
    pending.iter().enumerate().filter(|(bit, _)| which >> bit & 1 == 1).for_each(|(_, place)| apply(&mut names, place));
    names
}
