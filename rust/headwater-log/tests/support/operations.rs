//! Any bytes as operations on a log: what can be read after each is what the naive list of `compacted` says, also when the
//! storage fails or the process dies. The fuzz target and its stable twin share it.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part of it; a panic is what it looks for")]

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_log::storage::{Failure, Fault, Image, Kind, Level, SimulatedStorage, Storage};
use headwater_log::{Broker, Clock, Isolation, Options, Partition, Result, TopicConfig};
use headwater_record::Codec;

use crate::compacted::{Entry, Model, entry, partition, read};

/// Most operations of one run: a run is to be short, so that there are many.
const MOST: usize = 48;

/// The first instant there is: to the broker's own thread nothing is old enough to be compacted or forgotten, not even a
/// segment in which compaction has left nothing.
#[derive(Debug)]
struct Past;

impl Clock for Past {
    fn now_ms(&self) -> i64 {
        i64::MIN
    }
}

/// What was there before a step, and how the process dies if it fails.
struct Before {
    records: BTreeMap<u64, Entry>,
    start: u64,
    end: u64,
    crash: Level,
}

/// One step, two bytes.
#[derive(Clone, Copy, Debug)]
enum Step {
    Append {
        count: u8,
        seed: u8,
    },
    Compact,
    Forget {
        share: u8,
    },
    Retain {
        now: u8,
    },
    Close,
    Crash(Level),
    /// The next step's operation on the storage of this number fails.
    Fail {
        first: u8,
        failure: Failure,
    },
}

impl Step {
    fn of([which, argument]: [u8; 2]) -> Self {
        match which % 16 {
            0..=6 => Self::Append { count: 1 + which / 16 % 6, seed: argument },
            7..=8 => Self::Compact,
            9 => Self::Forget { share: argument },
            10 => Self::Retain { now: argument },
            11 => Self::Close,
            12 => Self::Crash(Level::Killed),
            13 => Self::Crash(Level::PowerLoss),
            _ => {
                let failures = [Failure::NoSpace, Failure::ShortWrite, Failure::Device];
                Self::Fail { first: 1 + argument / 3 % 40, failure: failures[usize::from(argument % 3)] }
            }
        }
    }
}

/// The log, and what must be in it.
struct Run {
    storage: Arc<SimulatedStorage>,
    broker: Broker,
    model: Model,
    start: u64,
}

/// See the module.
pub(crate) fn run(data: &[u8]) {
    let steps: Vec<Step> = data.as_chunks().0.iter().take(MOST).map(|bytes| Step::of(*bytes)).collect();
    let mut run = Run::new();
    let mut failing = None;
    for step in steps {
        if let Step::Fail { first, failure } = step {
            let fault = Fault::Change { kinds: Kind::ALL, failure, first: first.into(), is_lasting: false };
            run.storage.fail(Some(fault));
            failing = Some(first);
            continue;
        }
        run.take(step, failing);
        failing = None;
    }
    run.storage.fail(None);
    run.reopen(Level::PowerLoss);
    run.check(Step::Crash(Level::PowerLoss));
}

fn settings() -> TopicConfig {
    // Tombstones stay: when they may go is another test's.
    let pairs = [
        ("cleanup.policy", "compact,delete"),
        ("segment.bytes", "1024"),
        ("index.interval.bytes", "100"),
        ("delete.retention.ms", "1000000000000"),
        ("min.cleanable.dirty.ratio", "1"),
        ("retention.ms", "100"),
    ];
    TopicConfig::new(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()).unwrap()
}

fn open(storage: &Arc<SimulatedStorage>) -> Broker {
    let options = Options { clock: Arc::new(Past), ..Options::default() };
    Broker::open(Arc::clone(storage) as Arc<dyn Storage>, options).unwrap()
}

impl Run {
    fn new() -> Self {
        let storage = Arc::new(SimulatedStorage::default());
        let broker = open(&storage);
        broker.create_topic("t", 1, settings()).unwrap();
        Self { storage, broker, model: Model::default(), start: 0 }
    }

    fn log(&self) -> Arc<Partition> {
        partition(&self.broker).unwrap()
    }

    /// Does a step, of which an operation on the storage may fail, and looks at what is there.
    fn take(&mut self, step: Step, failing: Option<u8>) {
        let log = self.log();
        let before = Before {
            records: self.model.records.clone(),
            start: self.start,
            end: log.next_offset(),
            crash: if failing.is_some_and(|first| first % 2 == 0) { Level::PowerLoss } else { Level::Killed },
        };
        let outcome = self.try_to(step, &log);
        self.storage.fail(None);
        if let Err(error) = &outcome {
            assert!(failing.is_some(), "{step:?}: {error}");
            self.settle(step, &before);
        }
        self.check(step);
    }

    /// Does it, and to the model what it does if nothing fails.
    fn try_to(&mut self, step: Step, log: &Partition) -> Result<()> {
        match step {
            Step::Append { count, seed } => {
                let update = |n: u8| {
                    let (key, value) = (u64::from(seed.wrapping_add(n * 5) % 7), u64::from(seed));
                    entry(key, (seed % 9 != 8).then_some(value), log.next_offset() as i64)
                };
                let entries: Vec<Entry> = (0..count).map(update).collect();
                let codec = [Codec::None, Codec::Lz4, Codec::Zstd][usize::from(seed % 3)];
                self.model.append(log, &entries, codec)
            }
            Step::Compact => {
                self.model.compact(0);
                log.compact(0, true).map(drop)
            }
            Step::Forget { share } => {
                let (start, end) = (log.log_start_offset(), log.high_watermark());
                let before = start + (end - start) * u64::from(share) / 512;
                self.forget(before);
                log.delete_records(before).map(drop)
            }
            Step::Retain { now } => {
                let forgotten = log.apply_retention(i64::from(now))?;
                self.forget(forgotten);
                Ok(())
            }
            Step::Close => {
                self.broker.close()?;
                self.reopen(Level::Killed);
                assert!(self.broker.warnings().is_empty(), "{:?}", self.broker.warnings());
                Ok(())
            }
            Step::Crash(level) => {
                self.reopen(level);
                Ok(())
            }
            Step::Fail { .. } => Ok(()),
        }
    }

    fn forget(&mut self, before: u64) {
        self.start = self.start.max(before);
        self.model.records = self.model.records.split_off(&before);
    }

    fn reopen(&mut self, level: Level) {
        let image: Image = self.storage.image(level);
        self.storage = Arc::new(SimulatedStorage::new(&image));
        self.broker = open(&self.storage);
    }

    /// After a step that failed, and a crash: what is there lies between before and after the step, and is gone on from.
    fn settle(&mut self, step: Step, before: &Before) {
        self.reopen(before.crash);
        let log = self.log();
        let (found, start) = (read(&log, Isolation::Uncommitted), log.log_start_offset());
        let last_start = match step {
            Step::Forget { .. } => self.start,
            Step::Retain { .. } => before.end,
            _ => before.start,
        };
        assert!((before.start..=last_start).contains(&start), "{step:?}: start {start}, {}", before.start);
        let after = &self.model.records;
        for (offset, record) in &found {
            let sent = before.records.get(offset).or_else(|| after.get(offset));
            assert_eq!(sent, Some(record), "{step:?}: offset {offset}");
        }
        for (offset, record) in before.records.range(start..) {
            let is_superseded = matches!(step, Step::Compact) && !after.contains_key(offset);
            assert!(is_superseded || found.get(offset) == Some(record), "{step:?}: offset {offset} is missing");
        }
        (self.start, self.model.records) = (start, found);
    }

    fn check(&self, step: Step) {
        let log = self.log();
        assert_eq!(read(&log, Isolation::Uncommitted), self.model.records, "{step:?}");
        assert_eq!(log.log_start_offset(), self.start, "{step:?}");
    }
}
