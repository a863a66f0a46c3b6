//! Real files: few open handles for many of them, no bytes of a file that took another's place, nothing that is no file.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]
#![allow(clippy::print_stdout, reason = "what it takes to open belongs to what a run shows")]

#[path = "support/workload.rs"]
mod workload;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use headwater_log::storage::{DiskStorage, MemoryStorage, Storage};
use headwater_log::{Broker, Error, Isolation, Kind, Partition};
use headwater_record::Codec;

fn create(broker: &Broker, partitions: u32) -> Vec<Arc<Partition>> {
    let settings = workload::settings(&[("segment.bytes", "1024"), ("index.interval.bytes", "100")]);
    broker.create_topic("t", partitions, settings).unwrap().partitions.clone()
}

/// A closed directory of so many partitions, each of so many segments of the same few records.
fn filled(partitions: u32, segments: u64) -> (tempfile::TempDir, u64) {
    let memory = Arc::new(MemoryStorage::default());
    let broker = workload::open(&memory).unwrap();
    let mut records = 0;
    for partition in create(&broker, partitions) {
        while partition.segment_count() < segments as usize {
            partition.append(workload::batch(partition.next_offset(), 10, Codec::None)).unwrap();
        }
        partition.sync().unwrap();
        records = partition.next_offset();
    }
    broker.close().unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (path, bytes) in memory.contents() {
        let place = folder.path().join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, bytes).unwrap();
    }
    (folder, records)
}

/// Opens the directory and reads every record; returns the most files that were open.
fn read_everything(folder: &Path, limit: usize, records: u64) -> usize {
    let storage = Arc::new(DiskStorage::with_handles(folder, limit));
    let broker = workload::open(&storage).unwrap();
    assert!(broker.warnings().is_empty(), "{:?}", broker.warnings().first());
    let mut most = storage.open_files();
    for partition in &broker.topic("t").unwrap().partitions {
        assert_eq!(workload::read_all(partition).len() as u64, records);
        most = most.max(storage.open_files());
    }
    broker.close().unwrap();
    most
}

#[test]
fn c26_many_segments_are_served_through_few_handles() {
    let (folder, records) = filled(40, 6);
    let most = read_everything(folder.path(), 16, records);
    assert!((8..=17).contains(&most), "{most} files were open");
}

/// Resident memory in KiB.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "ten thousand partitions of ten segments on disk (make soak)"]
#[allow(clippy::disallowed_methods, reason = "it says how long opening takes")]
fn c26_a_hundred_thousand_segments_are_opened_in_bounded_memory() {
    const DIRECTORY: &str = "HEADWATER_TEST_DIRECTORY";
    const SEGMENTS: u64 = 100_000;
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        // In a process of its own, whose memory is that of the log alone.
        let (folder, _) = filled(10_000, SEGMENTS / 10_000);
        let mut alone = Command::new(std::env::current_exe().unwrap());
        let name = "c26_a_hundred_thousand_segments_are_opened_in_bounded_memory";
        alone.args(["--exact", name, "--include-ignored", "--nocapture"]).env(DIRECTORY, folder.path());
        assert!(alone.status().unwrap().success());
        return;
    };
    let (before, began) = (resident(), std::time::Instant::now());
    let storage = Arc::new(DiskStorage::with_handles(directory, 256));
    let broker = workload::open(&storage).unwrap();
    let (opened, grown) = (began.elapsed(), resident() - before);
    println!("{SEGMENTS} segments: opened in {opened:?}, {} files open, {grown} KiB more", storage.open_files());
    let partitions = broker.topic("t").unwrap().partitions.clone();
    assert_eq!(partitions.iter().map(|partition| partition.segment_count() as u64).sum::<u64>(), SEGMENTS);
    assert!(storage.open_files() <= 256 + 1, "{} files are open", storage.open_files());
    assert!(grown < 2 * SEGMENTS, "{grown} KiB, more than 2 a segment");
    for partition in partitions.iter().step_by(997) {
        assert_eq!(workload::read_all(partition).len() as u64, partition.next_offset());
    }
}

#[test]
fn a_closed_broker_has_no_file_open_whoever_holds_on_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Arc::new(DiskStorage::with_handles(folder.path(), 100));
    let broker = workload::open(&storage).unwrap();
    let partitions = create(&broker, 3);
    for partition in &partitions {
        let appended = partition.append(workload::batch(0, 3, Codec::None)).unwrap();
        partition.wait_durable(appended.next_offset).unwrap();
    }
    assert!(storage.open_files() >= 3);
    broker.close().unwrap();
    assert_eq!(storage.open_files(), 0);
    assert_eq!(partitions[0].read(0, 1, Isolation::Uncommitted).unwrap_err().kind(), Kind::Closed);
}

#[test]
fn many_writers_through_few_handles_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Arc::new(DiskStorage::with_handles(folder.path(), 4));
    let broker = workload::open(&storage).unwrap();
    let partitions = create(&broker, 12);
    std::thread::scope(|scope| {
        for part in partitions.chunks(4) {
            scope.spawn(move || {
                for _ in 0..30 {
                    for partition in part {
                        let batch = workload::batch(partition.next_offset(), 2, Codec::None);
                        let appended = partition.append(batch).unwrap();
                        partition.wait_durable(appended.next_offset).unwrap();
                    }
                }
            });
        }
    });
    assert!(storage.open_files() <= 4 + 3, "{} files are open", storage.open_files());
    broker.close().unwrap();
    let broker = workload::open(&storage).unwrap();
    assert!(broker.warnings().is_empty(), "{:?}", broker.warnings());
    for partition in &broker.topic("t").unwrap().partitions {
        let records = workload::read_all(partition);
        assert!(records.iter().enumerate().all(|(n, record)| *record == workload::value(n as u64).into_bytes()));
        assert_eq!(records.len(), 60);
    }
}

#[test]
fn a_reader_whose_file_is_taken_away_meanwhile_looks_again() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Arc::new(DiskStorage::with_handles(folder.path(), 1));
    let broker = workload::open(&storage).unwrap();
    let partition = create(&broker, 1).swap_remove(0);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = Over(&is_over);
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    let start = partition.log_start_offset();
                    match partition.read(start, 1 << 20, Isolation::Uncommitted) {
                        Err(error) => assert_eq!(error.kind(), Kind::OutOfRange, "read from {start}: {error}"),
                        Ok(fetched) => assert!(fetched.next_offset >= start),
                    }
                    partition.offset_for_timestamp(0).unwrap();
                }
            });
        }
        for round in 0..60_u64 {
            for _ in 0..6 {
                partition.append(workload::batch(partition.next_offset(), 10, Codec::None)).unwrap();
            }
            partition.sync().unwrap();
            partition.delete_records(round * 60 + 50).unwrap();
        }
        drop(over);
    });
}

/// Lets the other threads end, also when this one panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Ten files through two handles: those of the first are closed.
fn ten_files(storage: &DiskStorage) -> Vec<Arc<dyn headwater_log::storage::File>> {
    let file = |number: u8| {
        let file = storage.open(&format!("file{number}"), true).unwrap();
        file.write_at(&[number; 8], 0).unwrap();
        file
    };
    (0..10).map(file).collect()
}

#[test]
fn a_file_that_took_anothers_place_is_never_read_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let storage = DiskStorage::with_handles(folder.path(), 2);
    let files = ten_files(&storage);
    fs::write(folder.path().join("other"), [77; 8]).unwrap();
    fs::rename(folder.path().join("other"), folder.path().join("file0")).unwrap();
    let mut bytes = [0; 8];
    let refused = files[0].read_at(&mut bytes, 0).unwrap_err().to_string();
    assert!(refused.contains("got another in its place") && refused.contains("file0"), "{refused}");
    fs::remove_file(folder.path().join("file1")).unwrap();
    assert_eq!(files[1].read_at(&mut bytes, 0).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    assert_eq!(bytes, [0; 8]);
}

#[test]
fn a_closed_file_is_found_under_its_new_name() {
    let folder = tempfile::tempdir().unwrap();
    let storage = DiskStorage::with_handles(folder.path(), 2);
    let files = ten_files(&storage);
    storage.rename("file0", "renamed").unwrap();
    storage.rename("renamed", "file1").unwrap();
    let mut bytes = [0; 8];
    files[0].read_at(&mut bytes, 0).unwrap();
    assert_eq!(bytes, [0; 8]);
    files[0].sync().unwrap();
}

#[test]
fn a_removed_file_is_read_by_who_has_it_open() {
    let folder = tempfile::tempdir().unwrap();
    let storage = DiskStorage::with_handles(folder.path(), 2);
    let files = ten_files(&storage);
    storage.remove_file("file9").unwrap();
    // All others come and go.
    files[..9].iter().for_each(|file| file.sync().unwrap());
    let mut bytes = [0; 8];
    files[9].read_at(&mut bytes, 0).unwrap();
    assert_eq!(bytes, [9; 8]);
}

#[test]
fn c09_what_is_no_regular_file_is_refused_and_waited_for_by_nobody() {
    type Put = fn(&Path);
    let puts: [(&str, Put); 4] = [
        ("folder", |path| fs::create_dir(path).unwrap()),
        ("pipe", |path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success())),
        ("symbolic link", |path| std::os::unix::fs::symlink("/etc/passwd", path).unwrap()),
        ("symbolic link", |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap()),
    ];
    for (what, put) in puts {
        let (folder, _) = filled(1, 3);
        let path = folder.path().join("t-0/00000000000000000000.log");
        fs::remove_file(&path).unwrap();
        put(&path);
        let broker = workload::open(&Arc::new(DiskStorage::new(folder.path()))).unwrap();
        let refused = broker.partition("t", 0).unwrap().read(0, 1, Isolation::Uncommitted).unwrap_err();
        assert_eq!(refused.kind(), Kind::Io, "{refused}");
        let message = refused.to_string();
        assert!(message.contains("00000000000000000000.log"), "{message}");
        assert!(message.contains(what) || message.contains("directory"), "{message}");
    }
}

#[test]
fn c25_a_directory_that_is_replaced_while_open_takes_no_more_records() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    let broker = workload::open(&Arc::new(DiskStorage::new(&root))).unwrap();
    let partitions = create(&broker, 2);
    for partition in &partitions {
        let appended = partition.append(workload::batch(0, 3, Codec::None)).unwrap();
        partition.wait_durable(appended.next_offset).unwrap();
    }
    // One partition's folder alone, then the whole directory.
    fs::rename(root.join("t-0"), root.join("away")).unwrap();
    fs::create_dir(root.join("t-0")).unwrap();
    let fails = |partition: &Partition| {
        partition
            .append(workload::batch(3, 1, Codec::None))
            .and_then(|a| partition.wait_durable(a.next_offset))
            .is_err()
    };
    assert!(fails(&partitions[0]) && !fails(&partitions[1]));
    fs::rename(&root, folder.path().join("elsewhere")).unwrap();
    fs::create_dir_all(root.join("t-1")).unwrap();
    assert!(fails(&partitions[1]));
    assert!(broker.create_topic("u", 1, workload::settings(&[])).is_err());
    assert_eq!(fs::read_dir(&root).unwrap().count(), 1, "nothing is written into what took its place");
    // What was acknowledged is read on.
    assert_eq!(partitions[1].read(0, 1 << 20, Isolation::Uncommitted).unwrap().next_offset, 4);
}

/// Opens files until the process may open no more.
fn take_every_handle() -> Vec<fs::File> {
    let mut taken = Vec::new();
    while let Ok(file) = fs::File::open("/dev/null") {
        taken.push(file);
    }
    taken
}

/// The process that runs out of handles. Does nothing on its own.
#[test]
fn h4_child() {
    let Some(root) = std::env::var_os("HEADWATER_TEST_HANDLES") else { return };
    let root = Path::new(&root);
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit { current: Some(256), maximum: Some(256) },
    )
    .unwrap();
    let broker = workload::open(&Arc::new(DiskStorage::with_handles(root.join("data"), 64))).unwrap();
    let partitions = create(&broker, 3);
    let append = |partition: &Partition, count| {
        for _ in 0..count {
            let appended = partition.append(workload::batch(partition.next_offset(), 5, Codec::None))?;
            partition.wait_durable(appended.next_offset)?;
        }
        Ok::<_, headwater_log::Error>(())
    };
    partitions.iter().for_each(|partition| append(partition, 20).unwrap());
    // The rest of the program has taken what was left: ours are closed for those that are needed.
    let mut taken = take_every_handle();
    partitions.iter().for_each(|partition| append(partition, 20).unwrap());
    partitions.iter().for_each(|partition| assert_eq!(workload::read_all(partition).len(), 200));
    // It takes those, too: what cannot be opened is refused, and nothing else happens to it.
    broker.sync().unwrap();
    let mut refused = None;
    for _ in 0..100 {
        taken.extend(take_every_handle());
        if let Err(error) = partitions[0].read(0, 1, Isolation::Uncommitted) {
            refused = Some(error);
            break;
        }
        if let Err(error) = broker.create_topic("u", 1, workload::settings(&[])) {
            refused = Some(error);
            break;
        }
        broker.delete_topic("u").unwrap();
    }
    let refused = refused.expect("a process without handles is refused something");
    assert_eq!(refused.kind(), Kind::Io, "{refused}");
    let Error::Io { source, .. } = &refused else { panic!("{refused}") };
    assert_eq!(source.raw_os_error(), Some(libc::EMFILE), "{refused}");
    drop(taken);
    // With handles again it goes on where it was.
    partitions.iter().for_each(|partition| append(partition, 5).unwrap());
    broker.create_topic("v", 1, workload::settings(&[])).unwrap();
    broker.close().unwrap();
    let broker = workload::open(&Arc::new(DiskStorage::new(root.join("data")))).unwrap();
    assert!(broker.warnings().is_empty(), "{:?}", broker.warnings());
    for partition in &broker.topic("t").unwrap().partitions {
        assert_eq!(workload::read_all(partition).len(), 225);
    }
}

#[test]
fn h4_a_process_without_handles_closes_its_own_is_refused_clearly_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let done = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "h4_child", "--nocapture"])
        .env("HEADWATER_TEST_HANDLES", folder.path())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// The process that may not have large files. Does nothing on its own.
#[test]
fn h3_child() {
    let Some(root) = std::env::var_os("HEADWATER_TEST_SIZES") else { return };
    let limit = |current| {
        let limit = rustix::process::Rlimit { current, maximum: None };
        rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
    };
    let broker = workload::open(&Arc::new(DiskStorage::new(&root))).unwrap();
    let partition = Arc::clone(&broker.create_topic("t", 1, workload::settings(&[])).unwrap().partitions[0]);
    limit(Some(20_000));
    let error = loop {
        match partition.append(workload::batch(partition.next_offset(), 5, Codec::None)) {
            Ok(appended) => partition.wait_durable(appended.next_offset).unwrap(),
            Err(error) => break error,
        }
    };
    let Error::Io { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.raw_os_error(), Some(libc::EFBIG), "{error}");
    let acknowledged = partition.next_offset();
    assert!(acknowledged > 100);
    assert_eq!(workload::read_all(&partition).len() as u64, acknowledged);
    limit(None);
    let appended = partition.append(workload::batch(acknowledged, 5, Codec::None)).unwrap();
    partition.wait_durable(appended.next_offset).unwrap();
    broker.close().unwrap();
    let broker = workload::open(&Arc::new(DiskStorage::new(&root))).unwrap();
    assert_eq!(workload::read_all(&broker.partition("t", 0).unwrap()).len() as u64, acknowledged + 5);
}

#[test]
fn h3_a_file_that_may_not_grow_is_an_error_and_no_signal_ends_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let done = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "h3_child", "--nocapture"])
        .env("HEADWATER_TEST_SIZES", folder.path())
        .output()
        .unwrap();
    assert!(done.status.success(), "{:?} {}", done.status, String::from_utf8_lossy(&done.stderr));
}

#[test]
fn c24_a_directory_in_memory_is_opened_with_a_warning() {
    let is_tmpfs = |line: &str| line.split(' ').nth(1) == Some("/dev/shm") && line.split(' ').nth(2) == Some("tmpfs");
    if !fs::read_to_string("/proc/mounts").unwrap_or_default().lines().any(is_tmpfs) {
        return println!("skipped: /dev/shm is no tmpfs here");
    }
    let Ok(folder) = tempfile::tempdir_in("/dev/shm") else {
        return println!("skipped: nothing may be written to /dev/shm here");
    };
    for _ in 0..2 {
        let broker = workload::open(&Arc::new(DiskStorage::new(folder.path()))).unwrap();
        let [warning] = broker.warnings() else { panic!("{:?}", broker.warnings()) };
        assert!(warning.contains("tmpfs") && warning.contains("does not outlive"), "{warning}");
        assert!(warning.contains(folder.path().to_str().unwrap()), "{warning}");
        broker.close().unwrap();
    }
}
