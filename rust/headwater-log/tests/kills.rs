//! A real process killed with SIGKILL, over and over, in the same directory: what it acknowledged is there.
//!
//! The child runs every worker of [`WORKERS`] in a thread of its own and says what was acknowledged, a line each; the parent
//! takes the lines in with [`Promised::hear`], kills, and checks. To do something else while it is killed: a worker, its words
//! in `hear`, and what they promise in `check`. `HEADWATER_SOAK=1000` makes it 1,000 kills instead of a few (`make soak`).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]
#![allow(clippy::print_stdout, reason = "which kill it was belongs to a failure")]

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

/// What goes on in the killed process, in a thread each and for ever.
const WORKERS: [fn(&Broker); 4] = [
    |broker| append_for_ever(broker, &broker.partition("t", 0).unwrap()),
    |broker| append_for_ever(broker, &broker.partition("t", 1).unwrap()),
    |broker| delete_for_ever(&broker.partition("t", 1).unwrap()),
    |broker| create_for_ever(broker),
];

/// The killed process. Does nothing on its own.
#[test]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let broker = workload::open(&Arc::new(DiskStorage::new(directory))).unwrap();
    if broker.topic("t").is_err() {
        let settings = workload::settings(&[("segment.bytes", "4096"), ("index.interval.bytes", "200")]);
        broker.create_topic("t", PARTITIONS, settings).unwrap();
    }
    std::thread::scope(|scope| {
        for worker in WORKERS {
            let broker = &broker;
            scope.spawn(move || worker(broker));
        }
    });
}

/// Forgets old records whenever there are many.
fn delete_for_ever(partition: &Partition) {
    loop {
        let (start, end) = (partition.log_start_offset(), partition.high_watermark());
        if end - start < 400 {
            std::thread::yield_now();
            continue;
        }
        let before = end - 200;
        say(&format!("deleting {} {before}", partition.number()));
        partition.delete_records(before).unwrap();
        say(&format!("deleted {} {before}", partition.number()));
    }
}

/// Makes a topic, and deletes it.
fn create_for_ever(broker: &Broker) {
    if broker.topic("comes").is_ok() {
        broker.delete_topic("comes").unwrap();
    }
    loop {
        broker.create_topic("comes", 1, workload::settings(&[])).unwrap();
        say("created 0 0");
        broker.delete_topic("comes").unwrap();
        // Not too often: what the others do is of more interest.
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
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

/// What a partition's log must hold: from where, up to where, and what its group committed.
#[derive(Clone, Copy, Debug, Default)]
struct Promised {
    appended: u64,
    committed: u64,
    /// Records below are gone; those below `deleting` may be.
    deleted: u64,
    deleting: u64,
}

impl Promised {
    /// Takes in a line; false if it is none of ours.
    fn hear(all: &mut [Self], line: &str) -> bool {
        let mut words = line.split(' ');
        let what = words.next();
        let numbers: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
        let [partition, offset] = numbers[..] else { return false };
        let promised = &mut all[partition as usize];
        match what {
            Some("appended") => promised.appended = offset,
            Some("committed") => promised.committed = offset,
            Some("deleting") => promised.deleting = offset,
            Some("deleted") => promised.deleted = offset,
            Some("created") => {}
            _ => return false,
        }
        true
    }

    fn check(&self, broker: &Broker, partition: &Partition) {
        let (start, number) = (partition.log_start_offset(), partition.number());
        assert!((self.deleted..=self.deleting.max(self.deleted)).contains(&start), "begins at {start}, {self:?}");
        assert!(partition.next_offset() >= self.appended, "ends at {}, {self:?}", partition.next_offset());
        for (offset, record) in (start..).zip(workload::read_all(partition)) {
            assert_eq!(record, workload::value(offset).into_bytes());
        }
        let found = broker.offsets().fetch(&format!("g{number}")).unwrap();
        let committed = found.get(&("t".to_owned(), number)).map_or(0, |place| place.offset);
        assert!(committed >= self.committed && committed <= partition.next_offset(), "{committed}, {self:?}");
    }
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
        if !Promised::hear(promised, &line) {
            continue;
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
        println!("kill {kill}: {promised:?}");
        let broker = workload::open(&Arc::new(DiskStorage::new(directory))).unwrap();
        for (number, promised) in promised.iter().enumerate() {
            let Ok(partition) = broker.partition("t", number as u32) else { continue };
            promised.check(&broker, &partition);
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
