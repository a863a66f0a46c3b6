//! A real process killed with SIGKILL, over and over, in the same directory: what it acknowledged is there.
//!
//! The child runs every worker of [`WORKERS`] in a thread of its own and says what was acknowledged, a line each; the parent
//! takes the lines in with [`Promises::hear`], kills, and checks. To do something else while it is killed: a worker, its words
//! in `hear`, and what they promise in `check`. `HEADWATER_SOAK=1000` makes it 1,000 kills instead of a few (`make soak`).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]
#![allow(clippy::print_stdout, reason = "which kill it was belongs to a failure")]

#[path = "support/workload.rs"]
mod workload;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use headwater_log::storage::{DiskStorage, File, Lock, MemoryStorage, Storage};
use headwater_log::{Broker, Error, Isolation, Partition};
use headwater_record::{BatchBuilder, Codec};

const DIRECTORY: &str = "HEADWATER_TEST_DIRECTORY";
const PARTITIONS: u32 = 2;
const KEYS: u64 = 8;

/// What goes on in the killed process, in a thread each and for ever.
const WORKERS: [fn(&Broker); 7] = [
    |broker| append_for_ever(broker, &broker.partition("t", 0).unwrap()),
    |broker| append_for_ever(broker, &broker.partition("t", 1).unwrap()),
    |broker| delete_for_ever(&broker.partition("t", 1).unwrap()),
    |broker| create_for_ever(broker),
    |broker| transact_for_ever(broker),
    |broker| update_for_ever(&broker.partition("compacted", 0).unwrap()),
    |broker| compact_for_ever(broker),
];

/// The killed process. Does nothing on its own.
#[test]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let broker = open_freed(&directory);
    let sizes = [("segment.bytes", "4096"), ("index.interval.bytes", "200")];
    let compacted = [sizes[0], sizes[1], ("cleanup.policy", "compact")];
    for (topic, settings) in [("t", &sizes[..]), ("transactions", &sizes[..]), ("compacted", &compacted[..])] {
        if broker.topic(topic).is_err() {
            broker.create_topic(topic, PARTITIONS, workload::settings(settings)).unwrap();
        }
    }
    std::thread::scope(|scope| {
        for worker in WORKERS {
            let broker = &broker;
            scope.spawn(move || worker(broker));
        }
    });
}

/// Opens what the parent may have dropped without a close: its threads end in their own time, and hold the lock until then.
fn open_freed(directory: &str) -> Broker {
    loop {
        match workload::open(&Arc::new(DiskStorage::new(directory))) {
            Err(Error::Locked { .. }) => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
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

/// A transaction after the other, over two partitions and a commit; every third one is aborted.
fn transact_for_ever(broker: &Broker) {
    let partitions = broker.topic("transactions").unwrap().partitions.clone();
    let producer = broker.transactional_producer("id", 60_000).unwrap();
    // Larger than that of any transaction before: each leaves a record and a marker.
    for number in partitions[0].next_offset().. {
        producer.begin().unwrap();
        for partition in &partitions {
            let values = [number.to_string()];
            producer.append(partition, workload::values(values.iter().map(String::as_str)), Codec::None).unwrap();
        }
        producer.send_offsets("transactions", &[("transactions".into(), 0, number, String::new())]).unwrap();
        if number % 3 == 2 {
            say(&format!("aborting 0 {number}"));
            producer.abort().unwrap();
        } else {
            producer.commit().unwrap();
            say(&format!("ended 0 {number}"));
        }
    }
}

/// Gives each key in turn a larger value.
fn update_for_ever(partition: &Partition) {
    for number in partition.next_offset().. {
        let key = number % KEYS;
        let mut builder = BatchBuilder::new();
        builder.push(0, Some(&key.to_be_bytes()), Some(&number.to_be_bytes()), b"");
        let appended = partition.append(builder.finish(Codec::None).unwrap()).unwrap();
        partition.wait_durable(appended.next_offset).unwrap();
        say(&format!("updated {key} {number}"));
    }
}

fn compact_for_ever(broker: &Broker) {
    loop {
        broker.compact(Some("compacted")).unwrap();
        // There must be something to compact again.
        std::thread::sleep(std::time::Duration::from_millis(5));
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

/// Everything that was promised.
#[derive(Debug, Default)]
struct Promises {
    logs: [Promised; PARTITIONS as usize],
    /// Transactions that were committed, and those that never will be.
    committed: BTreeSet<u64>,
    aborted: BTreeSet<u64>,
    /// The last value of each key.
    values: BTreeMap<u64, u64>,
}

impl Promises {
    /// Takes in a line; false if it is none of ours.
    fn hear(&mut self, line: &str) -> bool {
        let mut words = line.split(' ');
        let what = words.next();
        let numbers: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
        let [place, number] = numbers[..] else { return false };
        match what {
            Some("appended") => self.logs[place as usize].appended = number,
            Some("committed") => self.logs[place as usize].committed = number,
            Some("deleting") => self.logs[place as usize].deleting = number,
            Some("deleted") => self.logs[place as usize].deleted = number,
            Some("created") => {}
            Some("ended") => drop(self.committed.insert(number)),
            Some("aborting") => drop(self.aborted.insert(number)),
            Some("updated") => drop(self.values.insert(place, number)),
            _ => return false,
        }
        true
    }

    fn check(&self, broker: &Broker) {
        let partitions = |topic| broker.topic(topic).map_or(Vec::new(), |topic| topic.partitions.clone());
        for (promised, partition) in self.logs.iter().zip(partitions("t")) {
            promised.check(broker, &partition);
        }
        if let [one, other] = &partitions("transactions")[..] {
            self.check_transactions(broker, one, other);
        }
        if let Some(partition) = partitions("compacted").first() {
            self.check_values(partition);
        }
    }

    /// All of a transaction counts, its offsets too, or nothing.
    fn check_transactions(&self, broker: &Broker, one: &Partition, other: &Partition) {
        let counted = workload::read_committed(one);
        assert_eq!(counted, workload::read_committed(other));
        let numbers: BTreeSet<u64> = counted.iter().map(|number| number.parse().unwrap()).collect();
        assert_eq!(numbers.len(), counted.len(), "each of them once");
        let lost: Vec<_> = self.committed.difference(&numbers).collect();
        assert!(lost.is_empty(), "committed and lost: {lost:?}");
        assert!(numbers.is_disjoint(&self.aborted), "{:?}", numbers.intersection(&self.aborted));
        let offsets = broker.offsets().fetch("transactions").unwrap();
        let offset = offsets.get(&("transactions".to_owned(), 0)).map(|committed| committed.offset);
        assert_eq!(offset, numbers.last().copied());
    }

    /// The last value of each key that was acknowledged is there, or a later one.
    fn check_values(&self, partition: &Partition) {
        let (mut offset, mut found) = (partition.log_start_offset(), BTreeMap::new());
        while offset < partition.high_watermark() {
            let fetched = partition.read(offset, 1 << 20, Isolation::Uncommitted).unwrap();
            for batch in &fetched.batches {
                for record in &batch.records().unwrap() {
                    let record = record.unwrap();
                    let number = |bytes: Option<&[u8]>| u64::from_be_bytes(bytes.unwrap().try_into().unwrap());
                    found.insert(number(record.key), number(record.value));
                }
            }
            offset = fetched.next_offset;
        }
        for (key, value) in &self.values {
            assert!(found.get(key).is_some_and(|found| found >= value), "key {key}: {:?}, not {value}", found.get(key));
        }
    }
}

/// Runs the child until it has acknowledged so many times, kills it, and hears everything it still said.
fn kill_after(directory: &str, count: u64, promised: &mut Promises) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if !promised.hear(&line) {
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
    let mut promised = Promises::default();
    for kill in 0..kills {
        kill_after(directory, 1 + kill * 7 % 61, &mut promised);
        if kill % 3 == 1 {
            continue; // the next child recovers by itself
        }
        println!("kill {kill}: {:?}", promised.logs);
        let broker = workload::open(&Arc::new(DiskStorage::new(directory))).unwrap();
        promised.check(&broker);
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

/// A process id that is nobody's: that of a process which has ended.
fn dead_process() -> u32 {
    let mut child = Command::new(std::env::current_exe().unwrap()).arg("--list").stdout(Stdio::null()).spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

#[test]
fn c15_a_lock_that_a_dead_process_left_is_free_whoever_has_its_number_now() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().to_str().unwrap();
    // Left by a process that was killed while it held it.
    kill_after(directory, 3, &mut Promises::default());
    let lock = folder.path().join(".lock");
    assert!(std::fs::read_to_string(&lock).unwrap().starts_with("process "));
    // The number is free, or was given to a process that lives: this one, and the first of all.
    for named in [dead_process(), std::process::id(), 1] {
        std::fs::write(&lock, format!("process {named}")).unwrap();
        let broker = workload::open(&Arc::new(DiskStorage::new(directory))).unwrap();
        let said = std::fs::read_to_string(&lock).unwrap();
        assert_eq!(said, format!("process {}", std::process::id()), "the lock names who holds it now");
        broker.close().unwrap();
    }
    // And the other way round: what is held is held, whatever the file says.
    let broker = workload::open(&Arc::new(DiskStorage::new(directory))).unwrap();
    std::fs::write(&lock, format!("process {}", dead_process())).unwrap();
    let refused = workload::open(&Arc::new(DiskStorage::new(directory))).unwrap_err();
    assert_eq!(refused.kind(), headwater_log::Kind::Locked);
    broker.close().unwrap();
}

/// Where the process is killed, counted in operations that change something, from the beginning of what it does then.
const OPERATION: &str = "HEADWATER_TEST_OPERATION";

/// A directory on disk in which a process kills itself at one of its operations, as the system does when memory is short.
#[derive(Debug)]
struct Killing {
    disk: DiskStorage,
    countdown: Arc<AtomicI64>,
}

#[derive(Debug)]
struct KillingFile {
    file: Arc<dyn File>,
    countdown: Arc<AtomicI64>,
}

/// Counts an operation; at the last one the process is gone.
fn count(countdown: &AtomicI64) {
    if countdown.fetch_sub(1, Ordering::AcqRel) == 1 {
        let this = rustix::process::getpid();
        rustix::process::kill_process(this, rustix::process::Signal::KILL).unwrap();
        loop {
            std::thread::park();
        }
    }
}

impl Storage for Killing {
    fn describe(&self, path: &str) -> String {
        self.disk.describe(path)
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        count(&self.countdown);
        self.disk.create_folder(path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.disk.list(path)
    }

    fn open(&self, path: &str, create: bool) -> io::Result<Arc<dyn File>> {
        if create {
            count(&self.countdown);
        }
        Ok(Arc::new(KillingFile { file: self.disk.open(path, create)?, countdown: Arc::clone(&self.countdown) }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        count(&self.countdown);
        self.disk.rename(from, to)
    }

    fn remove_file(&self, path: &str) -> io::Result<()> {
        count(&self.countdown);
        self.disk.remove_file(path)
    }

    fn remove_folder(&self, path: &str) -> io::Result<()> {
        count(&self.countdown);
        self.disk.remove_folder(path)
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        count(&self.countdown);
        self.disk.sync_folder(path)
    }

    fn lock(&self, path: &str) -> io::Result<Result<Lock, String>> {
        self.disk.lock(path)
    }
}

impl File for KillingFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        count(&self.countdown);
        self.file.write_at(bytes, position)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        count(&self.countdown);
        self.file.truncate(size)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn sync(&self) -> io::Result<()> {
        count(&self.countdown);
        self.file.sync()
    }
}

/// The process that is killed in a commit or in a compaction. Does nothing on its own.
#[test]
fn h6_child() {
    let (Ok(directory), Ok(operation)) = (std::env::var(DIRECTORY), std::env::var(OPERATION)) else { return };
    let (what, operation) = operation.split_once(' ').unwrap();
    let countdown = Arc::new(AtomicI64::new(0));
    let storage = Killing { disk: DiskStorage::new(&directory), countdown: Arc::clone(&countdown) };
    let broker = workload::open(&Arc::new(storage)).unwrap();
    let (records, values) = (broker.partition("records", 0).unwrap(), broker.partition("values", 0).unwrap());
    let producer = broker.transactional_producer("id", 60_000).unwrap();
    let transact = |number: u64| {
        producer.begin().unwrap();
        producer.append(&records, workload::values([&*number.to_string()]), Codec::None).unwrap();
        producer.send_offsets("g", &[("records".into(), 0, number, String::new())]).unwrap();
        producer.commit().unwrap();
    };
    countdown.store(operation.parse().unwrap(), Ordering::Release);
    match what {
        "commit" => transact(2),
        _ => drop(values.compact(0, true).unwrap()),
    }
    say("survived");
}

/// A directory with values to compact, and a transaction that was committed: its files, and what they hold.
fn prepared() -> BTreeMap<String, Vec<u8>> {
    let storage = Arc::new(MemoryStorage::default());
    let broker = workload::open(&storage).unwrap();
    let small = [("segment.bytes", "1024"), ("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "1")];
    let records = broker.create_topic("records", 1, workload::settings(&[])).unwrap();
    let values = broker.create_topic("values", 1, workload::settings(&small)).unwrap();
    for number in 0..60_u64 {
        let mut builder = BatchBuilder::new();
        builder.push(0, Some(&(number % KEYS).to_be_bytes()), Some(&number.to_be_bytes()), b"");
        values.partitions[0].append(builder.finish(Codec::None).unwrap()).unwrap();
    }
    let producer = broker.transactional_producer("id", 60_000).unwrap();
    producer.begin().unwrap();
    producer.append(&records.partitions[0], workload::values(["1"]), Codec::None).unwrap();
    producer.send_offsets("g", &[("records".into(), 0, 1, String::new())]).unwrap();
    producer.commit().unwrap();
    broker.close().unwrap();
    storage.contents()
}

/// What is there after a kill at an operation: how many transactions. None if the process came to its end before.
fn killed_in(prepared: &BTreeMap<String, Vec<u8>>, what: &str, operation: u64) -> Option<usize> {
    let folder = tempfile::tempdir().unwrap();
    for (path, bytes) in prepared {
        let place = folder.path().join(path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, bytes).unwrap();
    }
    let directory = folder.path().to_str().unwrap();
    let done = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "h6_child", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(OPERATION, format!("{what} {operation}"))
        .output()
        .unwrap();
    let has_survived = String::from_utf8_lossy(&done.stdout).contains("survived");
    assert!(has_survived || done.status.signal() == Some(9), "{}", String::from_utf8_lossy(&done.stderr));
    let broker = workload::open(&Arc::new(DiskStorage::new(directory))).unwrap();
    // The last value of each key is there.
    let promised = Promises { values: (0..60).map(|number| (number % KEYS, number)).collect(), ..Promises::default() };
    promised.check_values(&broker.partition("values", 0).unwrap());
    // What was committed counts, its offset with it; the one under way does so as a whole or not at all.
    let counted = workload::read_committed(&broker.partition("records", 0).unwrap());
    assert!(counted == ["1"] || counted == ["1", "2"], "{what} {operation}: {counted:?}");
    let offsets = broker.offsets().fetch("g").unwrap();
    assert_eq!(offsets[&("records".to_owned(), 0)].offset, counted.len() as u64, "{what} {operation}");
    broker.close().unwrap();
    (!has_survived).then_some(counted.len())
}

#[test]
fn h6_a_process_that_is_killed_in_a_commit_or_a_compaction_has_lost_and_torn_nothing() {
    let prepared = prepared();
    let in_commit: Vec<usize> = (1..).map_while(|operation| killed_in(&prepared, "commit", operation)).collect();
    assert!(in_commit.contains(&1) && in_commit.contains(&2), "before the decision and after it: {in_commit:?}");
    assert!(in_commit.is_sorted(), "decided once, at one operation: {in_commit:?}");
    let in_compaction = (1..).map_while(|operation| killed_in(&prepared, "compaction", operation)).count();
    assert!(in_compaction > 10, "{in_compaction}");
}
