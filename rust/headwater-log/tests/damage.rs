//! Bytes that change on disk: what is read is right or refused, what lies around it is still read, nothing is cut silently.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "support/workload.rs"]
mod workload;

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_log::storage::{DiskStorage, MemoryStorage, Storage};
use headwater_log::{Broker, Isolation, Kind, Mode, Options};
use headwater_record::Codec;

type Files = BTreeMap<String, Vec<u8>>;

/// Three segments of small batches in every codec; closed, or left as a killed process leaves it.
fn log(is_closed: bool) -> Files {
    let storage = Arc::new(MemoryStorage::default());
    let broker = workload::open(&storage).unwrap();
    let settings = workload::settings(&[("segment.bytes", "1024"), ("index.interval.bytes", "100")]);
    let partition = Arc::clone(&broker.create_topic("t", 1, settings).unwrap().partitions[0]);
    for (step, codec) in
        [Codec::None, Codec::Lz4, Codec::Zstd, Codec::Gzip, Codec::Snappy].iter().cycle().take(14).enumerate()
    {
        let first = partition.next_offset();
        partition.append(workload::batch(first, 1 + step as u64 % 5, *codec)).unwrap();
        partition.sync().unwrap();
    }
    if is_closed {
        broker.close().unwrap();
    }
    storage.contents()
}

fn with(files: &Files) -> Arc<MemoryStorage> {
    let storage = MemoryStorage::default();
    for (path, bytes) in files {
        storage.put(path, bytes.clone());
    }
    Arc::new(storage)
}

fn records() -> u64 {
    (0..14).map(|step| 1 + step % 5).sum()
}

/// Opens, reads everything that can be read, and checks that nothing of it is wrong. Returns how much was read.
fn read(storage: &Arc<MemoryStorage>, what: &str) -> (u64, Broker) {
    let broker = workload::open(storage).unwrap_or_else(|error| panic!("{what}: {error}"));
    let partition = broker.partition("t", 0).unwrap();
    let found = workload::read_around(&partition, partition.log_start_offset());
    for (offset, value) in &found {
        assert_eq!(*value, workload::value(*offset).into_bytes(), "{what}");
    }
    for timestamp in [0, 55, 120, 10_000] {
        if let Ok(Some((offset, found))) = partition.offset_for_timestamp(timestamp) {
            assert_eq!(found, offset as i64 * 10, "{what}");
            assert!(found >= timestamp, "{what}");
        }
    }
    (found.len() as u64, broker)
}

/// One bit of each byte, or with `HEADWATER_SOAK` every one.
fn bits(bytes: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let is_soak = std::env::var_os("HEADWATER_SOAK").is_some();
    (0..bytes.len()).flat_map(move |at| (0..8).filter(move |bit| is_soak || *bit == at % 8).map(move |bit| (at, bit)))
}

#[test]
fn c02_any_bit_of_any_file_of_a_closed_log_may_change() {
    let files = log(true);
    for (path, bytes) in files.iter().filter(|(path, _)| path.starts_with("t-0/")) {
        for (at, bit) in bits(bytes) {
            let mut files = files.clone();
            files.get_mut(path).unwrap()[at] ^= 1 << bit;
            let what = format!("{path} byte {at} bit {bit}");
            let (found, _) = read(&with(&files), &what);
            // One batch is lost at most: five records.
            assert!(found + 5 >= records(), "{what}: {found} records");
            if !path.ends_with(".log") {
                assert_eq!(found, records(), "{what}");
            }
        }
    }
}

#[test]
fn c02_any_bit_of_a_killed_log_may_change_and_nothing_durable_is_cut() {
    let files = log(false);
    let last = files.keys().filter(|path| path.ends_with(".log")).max().unwrap();
    for (path, bytes) in files.iter().filter(|(path, _)| path.ends_with(".log")) {
        for (at, bit) in bits(bytes) {
            let mut changed = files.clone();
            changed.get_mut(path).unwrap()[at] ^= 1 << bit;
            let what = format!("{path} byte {at} bit {bit}");
            let storage = with(&changed);
            let (found, broker) = read(&storage, &what);
            assert!(found + 5 >= records(), "{what}: {found} records");
            // The epoch of a batch's leader is nobody's checksum; anything else is noticed: at the open in the segment that
            // was being written, when it is read in those that were sealed.
            assert!(found == records() || path != last || !broker.warnings().is_empty(), "{what}");
            assert_eq!(storage.contents()[path].len(), bytes.len(), "{what}: a file was cut");
            let partition = broker.partition("t", 0).unwrap();
            assert_eq!(partition.next_offset(), records(), "{what}");
            // It goes on, and what was damaged is reported again.
            partition.append(workload::batch(records(), 2, Codec::None)).unwrap();
            broker.close().unwrap();
            let (again, _) = read(&storage, &what);
            assert_eq!(again, found + 2, "{what}");
        }
    }
}

#[test]
fn c01_c14_a_log_cut_anywhere_below_its_mark_says_what_is_missing() {
    for is_closed in [false, true] {
        let files = log(is_closed);
        for (path, bytes) in files.iter().filter(|(path, _)| path.ends_with(".log")) {
            for keep in 0..bytes.len() {
                let mut changed = files.clone();
                changed.get_mut(path).unwrap().truncate(keep);
                let what = format!("{path} cut to {keep} bytes, closed: {is_closed}");
                let storage = with(&changed);
                let (found, broker) = read(&storage, &what);
                assert!(found < records() && !broker.warnings().is_empty(), "{what}");
                let partition = broker.partition("t", 0).unwrap();
                assert_eq!(partition.next_offset(), records(), "{what}: offsets may not be given out twice");
                let refused =
                    (0..records()).filter(|offset| partition.read(*offset, 1, Isolation::Uncommitted).is_err());
                assert_eq!(refused.count() as u64, records() - found, "{what}");
                assert_eq!(storage.contents()[path].len(), keep, "{what}");
            }
        }
    }
}

#[test]
fn c03_a_tail_that_was_never_acknowledged_is_cut_with_a_warning() {
    let files = log(false);
    let path = files.keys().rfind(|path| path.ends_with(".log")).unwrap().clone();
    let whole = files[&path].clone();
    let more = workload::batch(records(), 4, Codec::None);
    let old = whole[..80.min(whole.len())].to_vec();
    for tail in [more[..more.len() - 1].to_vec(), more[..20].to_vec(), vec![0; 4096], vec![0xff; 100], old] {
        let mut files = files.clone();
        files.get_mut(&path).unwrap().extend_from_slice(&tail);
        let storage = with(&files);
        let (found, broker) = read(&storage, "tail");
        assert_eq!(found, records());
        assert_eq!(broker.warnings().len(), 1, "{:?}", broker.warnings());
        assert!(broker.warnings()[0].contains("cut off"), "{:?}", broker.warnings());
        assert_eq!(storage.contents()[&path], whole);
    }
}

#[test]
fn c04_a_batch_of_another_place_is_not_taken_for_one_of_this() {
    let files = log(false);
    let names: Vec<&String> = files.keys().filter(|path| path.ends_with(".log")).collect();
    let bytes = &files[names[1]];
    let size = |at: usize| 12 + u32::from_be_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
    let (first, second) = (size(0), size(size(0)));
    // The second batch, its offsets changed (no checksum covers them), or the first one again.
    let mut misplaced = bytes.clone();
    misplaced[first..first + 8].copy_from_slice(&4_000_u64.to_be_bytes());
    let mut doubled = bytes[..first].to_vec();
    doubled.extend_from_slice(bytes);
    for (changed, lost) in [(misplaced, true), (doubled, false)] {
        let mut files = files.clone();
        files.insert(names[1].clone(), changed);
        let (found, broker) = read(&with(&files), "misplaced");
        assert!(!broker.warnings().is_empty());
        assert_eq!(found < records(), lost, "{found} of {} records, {second}", records());
    }
}

#[test]
fn c07_c12_indexes_and_small_files_are_derived() {
    let files = log(true);
    for ending in [".index", ".timeindex", "headwater.checkpoint", "headwater.mark"] {
        let mut files = files.clone();
        files.retain(|path, _| !path.ends_with(ending));
        let (found, _) = read(&with(&files), ending);
        assert_eq!(found, records(), "{ending}");
    }
}

#[test]
fn c05_a_sector_that_is_stale_costs_the_batches_in_it() {
    // One segment that was written twice: what a lost write leaves is a sector of the older contents.
    let (files, mut older) = (log(false), log(false));
    let path = files.keys().find(|path| path.ends_with(".log")).unwrap().clone();
    older.get_mut(&path).unwrap().rotate_left(300);
    for sector in 0..files[&path].len() / 256 {
        let mut changed = files.clone();
        let place = sector * 256..(sector + 1) * 256;
        changed.get_mut(&path).unwrap()[place.clone()].copy_from_slice(&older[&path][place]);
        let storage = with(&changed);
        let (found, _) = read(&storage, &format!("sector {sector}"));
        assert!(found < records() && found + 20 > records(), "sector {sector}: {found} records");
        assert_eq!(storage.contents()[&path].len(), files[&path].len(), "nothing is cut");
    }
}

#[test]
fn c19_a_tail_of_space_that_was_only_allocated_is_cut_and_costs_nothing() {
    for is_closed in [false, true] {
        let files = log(is_closed);
        let path = files.keys().rfind(|path| path.ends_with(".log")).unwrap().clone();
        // Less than a header, a block, and more than is read at a time.
        for more in [1, 60, 4_096, 5 << 20] {
            let what = format!("{more} bytes more, closed: {is_closed}");
            let storage = with(&files);
            let whole = files[&path].len() as u64;
            storage.open(&path, false).unwrap().truncate(whole + more).unwrap();
            let (found, broker) = read(&storage, &what);
            assert_eq!(found, records(), "{what}");
            assert_eq!(broker.warnings().len(), 1, "{what}: {:?}", broker.warnings());
            assert!(broker.warnings()[0].contains("cut off"), "{what}: {:?}", broker.warnings());
            assert_eq!(storage.contents()[&path], files[&path], "{what}");
            let partition = broker.partition("t", 0).unwrap();
            let appended = partition.append(workload::batch(records(), 2, Codec::None)).unwrap();
            assert_eq!(appended.base_offset, records(), "{what}");
        }
    }
}

#[test]
fn c19_a_hole_is_damage_below_the_mark_and_a_torn_tail_above_it() {
    let files = log(false);
    let path = files.keys().rfind(|path| path.ends_with(".log")).unwrap().clone();
    // What no sync covered: behind it nothing but a hole.
    let unsynced = with(&files);
    let tail = workload::batch(records(), 4, Codec::None);
    let whole = files[&path].len();
    unsynced.open(&path, false).unwrap().write_at(&tail, whole as u64).unwrap();
    let block = 100;
    for at in (0..whole + tail.len()).step_by(block) {
        let mut changed = unsynced.contents();
        let bytes = changed.get_mut(&path).unwrap();
        let end = (at + block).min(bytes.len());
        bytes[at..end].fill(0);
        let (what, is_durable, length) = (format!("a hole at byte {at}"), at < whole, bytes.len());
        let storage = with(&changed);
        let (found, broker) = read(&storage, &what);
        let partition = broker.partition("t", 0).unwrap();
        assert!(!broker.warnings().is_empty(), "{what}");
        if is_durable {
            assert!(found < records() + 4 && found + 20 > records(), "{what}: {found} records");
            assert!(storage.contents()[&path].len() >= whole, "{what}: nothing durable is cut");
            assert!(partition.next_offset() >= records(), "{what}");
        } else {
            assert_eq!((found, partition.next_offset()), (records(), records()), "{what}");
            assert_eq!(storage.contents()[&path].len(), whole, "{what}, of {length} bytes");
        }
    }
}

#[test]
fn c19_a_sparse_file_is_read_from_disk_as_the_zeros_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let files = log(false);
    for (path, bytes) in &files {
        let place = folder.path().join(path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, bytes).unwrap();
    }
    let path = files.keys().rfind(|path| path.ends_with(".log")).unwrap();
    let log = std::fs::OpenOptions::new().write(true).open(folder.path().join(path)).unwrap();
    log.set_len(64 << 20).unwrap();
    let broker = workload::open(&Arc::new(DiskStorage::new(folder.path()))).unwrap();
    assert_eq!(workload::read_all(&broker.partition("t", 0).unwrap()).len() as u64, records());
    assert_eq!(log.metadata().unwrap().len(), files[path].len() as u64, "the hole is cut off");
}

#[test]
fn c06_a_missing_segment_is_a_gap_that_says_so() {
    let files = log(false);
    let path = files.keys().filter(|path| path.ends_with(".log")).nth(1).unwrap().clone();
    let mut changed = files;
    changed.remove(&path);
    let (found, broker) = read(&with(&changed), "missing");
    assert!(found < records());
    assert!(broker.warnings().iter().any(|warning| warning.contains("missing")), "{:?}", broker.warnings());
    let partition = broker.partition("t", 0).unwrap();
    let lost: u64 = path[4..24].parse().unwrap();
    let refused = partition.read(lost, 1, Isolation::Uncommitted).unwrap_err();
    assert_eq!(refused.kind(), Kind::Corrupt, "{refused}");
}

#[test]
fn a_file_that_is_called_almost_like_a_segment_is_none() {
    for name in ["7.log", "+0000000000000000007.log", "000000000000000000007.log", "7.log.swap", "7.log.cleaned"] {
        for mut files in [log(true), log(false)] {
            files.insert(format!("t-0/{name}"), b"not a segment".to_vec());
            let storage = with(&files);
            let (found, broker) = read(&storage, name);
            assert_eq!(found, records(), "{name}");
            broker.close().unwrap();
            let (found, _) = read(&storage, name);
            assert_eq!(found, records(), "{name}, opened again");
        }
    }
}

#[test]
fn c11_a_newer_format_is_refused_untouched() {
    let mut files = log(true);
    let text = String::from_utf8(files["headwater.json"].clone()).unwrap();
    files.insert("headwater.json".into(), text.replace("\"format\": 1", "\"format\": 2").into_bytes());
    let storage = with(&files);
    let refused = workload::open(&storage).unwrap_err();
    assert_eq!(refused.kind(), Kind::Corrupt);
    assert!(refused.to_string().contains("newer headwater"), "{refused}");
    let left: Files = storage.contents().into_iter().filter(|(path, _)| path != ".lock").collect();
    assert_eq!(left, files);
}

#[test]
fn a_changed_list_of_topics_is_refused() {
    let files = log(true);
    for at in 0..files["headwater.json"].len() {
        let mut changed = files.clone();
        changed.get_mut("headwater.json").unwrap()[at] ^= 2;
        if let Ok(broker) = workload::open(&with(&changed)) {
            assert_eq!(broker.topics().len(), 1, "byte {at}");
            assert_eq!(broker.topic("t").unwrap().config.settings()["segment.bytes"], "1024");
        }
    }
}

#[test]
fn a_reader_without_the_lock_sees_what_is_durable() {
    let storage = Arc::new(MemoryStorage::default());
    let writer = workload::open(&storage).unwrap();
    let partition = Arc::clone(&writer.create_topic("t", 1, workload::settings(&[])).unwrap().partitions[0]);
    partition.append(workload::batch(0, 5, Codec::None)).unwrap();
    partition.sync().unwrap();
    partition.append(workload::batch(5, 5, Codec::None)).unwrap();
    let options = Options { mode: Mode::Read, ..Options::default() };
    let reader = Broker::open(Arc::clone(&storage) as Arc<dyn Storage>, options).unwrap();
    let seen = reader.partition("t", 0).unwrap();
    assert_eq!(seen.high_watermark(), 5);
    assert_eq!(workload::read_all(&seen).len(), 5);
    assert!(reader.create_topic("u", 1, workload::settings(&[])).is_err());
    assert!(seen.append(workload::batch(10, 1, Codec::None)).is_err());
    reader.close().unwrap();
    writer.close().unwrap();
}
