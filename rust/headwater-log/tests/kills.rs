//! A real process killed with SIGKILL, over and over, in the same directory: what it acknowledged is there.
//!
//! `HEADWATER_SOAK=500` makes it 500 kills instead of a few (`make soak`).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "support/workload.rs"]
mod workload;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use headwater_log::storage::DiskStorage;
use headwater_log::{Broker, Partition};
use headwater_record::Codec;

const DIRECTORY: &str = "HEADWATER_TEST_DIRECTORY";
const PARTITIONS: u32 = 2;

/// The killed process: appends in a thread per partition, commits, and says what was acknowledged. Does nothing on its own.
#[test]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let broker = workload::open(&Arc::new(DiskStorage::new(directory))).unwrap();
    if broker.topics().is_empty() {
        let settings = workload::settings(&[("segment.bytes", "4096"), ("index.interval.bytes", "200")]);
        broker.create_topic("t", PARTITIONS, settings).unwrap();
    }
    std::thread::scope(|scope| {
        for number in 0..PARTITIONS {
            let (broker, partition) = (&broker, broker.partition("t", number).unwrap());
            scope.spawn(move || append_for_ever(broker, &partition));
        }
    });
}

fn append_for_ever(broker: &Broker, partition: &Partition) {
    let group = format!("g{}", partition.number());
    let codecs = [Codec::None, Codec::Lz4, Codec::None, Codec::Zstd];
    for step in 0_u64.. {
        let first = partition.next_offset();
        let appended = partition.append(workload::batch(first, 1 + step % 7, codecs[step as usize % 4])).unwrap();
        if step % 5 != 4 {
            partition.wait_durable(appended.next_offset).unwrap();
            say(&format!("appended {} {}", partition.number(), appended.next_offset));
        }
        if step % 10 == 9 {
            let offset = partition.durable_offset();
            broker.commit_offsets(&group, &[("t".into(), partition.number(), offset, String::new())]).unwrap();
            say(&format!("committed {} {offset}", partition.number()));
        }
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{line}").and_then(|()| out.flush()).unwrap();
}

/// What a partition's log must hold: up to where, and what its group committed.
#[derive(Clone, Copy, Debug, Default)]
struct Promised {
    appended: u64,
    committed: u64,
}

/// Runs the child until it has acknowledged so many times, kills it, and hears everything it still said.
fn kill_after(directory: &str, count: u64, promised: &mut [Promised]) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let mut words = line.split(' ');
        let what = words.next();
        let numbers: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
        match (what, &numbers[..]) {
            (Some("appended"), [partition, offset]) => promised[*partition as usize].appended = *offset,
            (Some("committed"), [partition, offset]) => promised[*partition as usize].committed = *offset,
            _ => continue,
        }
        said += 1;
        if said == count {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(said >= count, "the child ended on its own");
}

#[test]
fn what_was_acknowledged_survives_every_kill() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().to_str().unwrap();
    let kills = std::env::var("HEADWATER_SOAK").ok().and_then(|count| count.parse().ok()).unwrap_or(25);
    let mut promised = [Promised::default(); PARTITIONS as usize];
    for kill in 0..kills {
        kill_after(directory, 1 + kill * 7 % 61, &mut promised);
        if kill % 3 == 1 {
            continue; // the next child recovers by itself
        }
        let broker = workload::open(&Arc::new(DiskStorage::new(directory))).unwrap();
        for (number, promised) in promised.iter().enumerate() {
            let Ok(partition) = broker.partition("t", number as u32) else { continue };
            let records = workload::read_all(&partition);
            assert!(records.len() as u64 >= promised.appended, "kill {kill}: {} of {promised:?}", records.len());
            for (offset, record) in records.iter().enumerate() {
                assert_eq!(*record, workload::value(offset as u64).into_bytes(), "kill {kill}");
            }
            let place = ("t".to_owned(), number as u32);
            let committed =
                broker.offsets().fetch(&format!("g{number}")).unwrap().get(&place).map_or(0, |place| place.offset);
            assert!(committed >= promised.committed, "kill {kill}: {committed} of {promised:?}");
        }
        if kill % 2 == 0 {
            broker.close().unwrap();
        }
    }
}

#[test]
fn a_second_process_is_told_who_holds_the_directory() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Arc::new(DiskStorage::new(folder.path()));
    let broker = workload::open(&storage).unwrap();
    let refused = workload::open(&storage).unwrap_err();
    assert_eq!(refused.kind(), headwater_log::Kind::Locked);
    assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
    broker.close().unwrap();
    workload::open(&storage).unwrap().close().unwrap();
}
