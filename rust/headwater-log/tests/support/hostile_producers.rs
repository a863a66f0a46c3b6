//! What must hold for any bytes at all where a log keeps what it knows of transactions and of producers that number their
//! batches: fuzz targets and stable twins share it.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part of it; a panic is what it looks for")]

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use headwater_log::storage::{MemoryStorage, Storage};
use headwater_log::{Broker, Isolation, Options, Partition, TRANSACTIONS_TOPIC, TopicConfig, TransactionDescription};
use headwater_record::{BatchBuilder, Codec, ProducerFields};

pub(crate) type Files = BTreeMap<String, Vec<u8>>;

const TIMEOUT_MS: i32 = 60_000;

fn storage(files: &Files) -> Arc<MemoryStorage> {
    let storage = MemoryStorage::default();
    files.iter().for_each(|(path, bytes)| storage.put(path, bytes.clone()));
    Arc::new(storage)
}

fn open(storage: &Arc<MemoryStorage>) -> Broker {
    Broker::open(Arc::clone(storage) as Arc<dyn Storage>, Options::default()).unwrap()
}

fn small_segments() -> TopicConfig {
    let settings = [("segment.bytes", "1024"), ("index.interval.bytes", "100")];
    TopicConfig::new(settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into()).unwrap()
}

fn one(value: &[u8]) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    builder.push(0, None, Some(value), b"");
    builder
}

/// The values that count, in order.
fn committed(partition: &Partition) -> Vec<Vec<u8>> {
    let (mut offset, mut found) = (partition.log_start_offset(), Vec::new());
    while offset < partition.last_stable_offset() {
        let fetched = partition.read(offset, 1 << 16, Isolation::Committed).unwrap();
        for batch in &fetched.batches {
            found.extend(batch.records().unwrap().iter().map(|record| record.unwrap().value.unwrap().to_vec()));
        }
        assert!(fetched.next_offset > offset, "no progress at offset {offset}");
        offset = fetched.next_offset;
    }
    found
}

// --- transactions -----------------------------------------------------------------------------------------------------

/// A transactional id that is in the middle of a transaction, and what it has written.
const ID: &str = "decided";

/// A directory whose process was killed inside of a transaction, without the log of transactions.
fn undecided() -> &'static Files {
    static FILES: OnceLock<Files> = OnceLock::new();
    FILES.get_or_init(|| {
        let storage = Arc::new(MemoryStorage::default());
        let broker = open(&storage);
        let topic = broker.create_topic("t", 1, small_segments()).unwrap();
        let producer = broker.transactional_producer(ID, TIMEOUT_MS).unwrap();
        producer.begin().unwrap();
        producer.append(&topic.partitions[0], one(b"counts"), Codec::None).unwrap();
        topic.partitions[0].sync().unwrap();
        let mut files = storage.contents();
        files.retain(|path, _| !path.starts_with(TRANSACTIONS_TOPIC));
        let described = &broker.transactions()[0];
        assert_eq!((described.producer_id, described.epoch), (0, 0));
        files
    })
}

/// The record by which a transaction of producer 0 is committed, or aborted (see `transactions/schema.rs`).
pub(crate) fn decision(commits: bool) -> (Vec<u8>, Vec<u8>) {
    let text = |text: &str| [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat();
    let key = [&[0, 0][..], &text(ID)].concat();
    let mut value = vec![0, 0];
    value.extend_from_slice(&0_i64.to_be_bytes());
    value.extend_from_slice(&1_i16.to_be_bytes());
    value.extend_from_slice(&TIMEOUT_MS.to_be_bytes());
    value.push(if commits { 2 } else { 3 });
    value.extend_from_slice(&[0, 0, 0, 1]);
    value.extend_from_slice(&text("t"));
    value.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0]);
    value.extend_from_slice(&[0; 16]);
    (key, value)
}

/// Any bytes as records of `__transaction_state` (`key length, value length (255: null), key, value`, behind a byte whose
/// first bit says what comes after them): a decision. They are understood the same each time; the decision is neither lost nor
/// taken for another's, unless some state is not understood: then all is left open; ids that are given out afterwards are new.
pub(crate) fn load_transactions(data: &[u8]) {
    let Some((choice, mut rest)) = data.split_first() else { return };
    let commits = choice % 2 == 0;
    let mut batch = BatchBuilder::new();
    while let Some((sizes, tail)) = rest.split_first_chunk::<2>() {
        let value_length = if sizes[1] == 255 { 0 } else { usize::from(sizes[1]) };
        let Some((key, tail)) = tail.split_at_checked(usize::from(sizes[0])) else { break };
        let Some((value, tail)) = tail.split_at_checked(value_length) else { break };
        batch.push(0, Some(key), (sizes[1] != 255).then_some(value), b"");
        rest = tail;
    }
    let (key, value) = decision(commits);
    batch.push(0, Some(&key), Some(&value), b"");
    let mut files = undecided().clone();
    files.insert(format!("{TRANSACTIONS_TOPIC}-0/00000000000000000000.log"), batch.finish(Codec::None).unwrap());

    let once = storage(&files);
    let described = settled(&once, commits);
    assert_eq!(settled(&storage(&files), commits), described, "understood twice");
    assert_eq!(settled(&once, commits), described, "understood again, after a close");
    let broker = open(&once);
    let ids: Vec<i64> = described.iter().map(|described| described.producer_id).collect();
    // Behind the largest id there is none: that is refused.
    if let Ok(producer) = broker.transactional_producer("new", TIMEOUT_MS) {
        let is_new = described.iter().all(|described| described.id != "new");
        let id = broker.transactions().into_iter().find(|described| described.id == "new").unwrap().producer_id;
        assert!(id >= 0 && !(is_new && ids.contains(&id)), "producer id {id} is given out again: {ids:?}");
        let partition = broker.partition("t", 0).unwrap();
        producer.begin().unwrap();
        producer.append(&partition, one(b"more"), Codec::None).unwrap();
        producer.commit().unwrap();
        assert_eq!(committed(&partition).last().unwrap(), b"more");
    }
    for described in &described {
        drop(broker.transactional_producer(&described.id, TIMEOUT_MS));
    }
    broker.close().unwrap();
}

/// Opens, and checks the decision; every transactional id but for the times of its records.
fn settled(storage: &Arc<MemoryStorage>, commits: bool) -> Vec<TransactionDescription> {
    let broker = open(storage);
    let partition = broker.partition("t", 0).unwrap();
    let is_open = broker.warnings().iter().any(|warning| warning.contains("open ones are left open"));
    let expected: &[&[u8]] = if commits && !is_open { &[b"counts"] } else { &[] };
    assert_eq!(committed(&partition), expected, "commits: {commits}, {:?}", broker.transactions());
    assert_eq!(partition.last_stable_offset(), if is_open { 0 } else { partition.high_watermark() });
    let described = broker.transactions();
    broker.close().unwrap();
    described
}

// --- what lies beside segments ----------------------------------------------------------------------------------------

/// A log with transactions, some of them aborted, and a producer that numbers its batches, in many segments.
pub(crate) struct Numbered {
    pub(crate) files: Files,
    /// What counts.
    committed: Vec<Vec<u8>>,
    /// Its `.snapshot` and `.txnindex` files.
    pub(crate) beside: Vec<String>,
}

/// Closed, or killed.
pub(crate) fn numbered(is_closed: bool) -> &'static Numbered {
    static LOGS: [OnceLock<Numbered>; 2] = [OnceLock::new(), OnceLock::new()];
    LOGS[usize::from(is_closed)].get_or_init(|| {
        let storage = Arc::new(MemoryStorage::default());
        let broker = open(&storage);
        let partition = Arc::clone(&broker.create_topic("t", 1, small_segments()).unwrap().partitions[0]);
        let producer = broker.transactional_producer("p", TIMEOUT_MS).unwrap();
        for number in 0..BATCHES {
            producer.begin().unwrap();
            producer.append(&partition, one(&[number as u8; 40]), Codec::None).unwrap();
            if number % 3 == 0 {
                producer.abort().unwrap()
            } else {
                producer.commit().unwrap()
            }
            partition.append(batch(number)).unwrap();
        }
        partition.sync().unwrap();
        let committed = committed(&partition);
        if is_closed {
            broker.close().unwrap();
        }
        let files = storage.contents();
        let is_beside = |path: &&String| path.ends_with(".snapshot") || path.ends_with(".txnindex");
        let beside: Vec<String> =
            files.keys().filter(|path| path.starts_with("t-0/")).filter(is_beside).cloned().collect();
        assert!(beside.len() > 3, "{beside:?}");
        Numbered { files, committed, beside }
    })
}

const BATCHES: i32 = 24;

fn batch(sequence: i32) -> Vec<u8> {
    let producer = ProducerFields { id: 900, epoch: 0, base_sequence: sequence, is_transactional: false };
    one(format!("n{sequence}").as_bytes()).finish_as(Codec::None, producer).unwrap()
}

/// Any bytes in the place of a `.snapshot` or `.txnindex` beside a good log. Bytes: flags (closed or killed; whether the file
/// is replaced, or changed from a position on; whether the checksum inside is made right), which file, position, bytes.
/// Whatever they are, what is read and what is known of producers is what the log says.
pub(crate) fn load_producers(data: &[u8]) {
    let Some(([flags, which, position], bytes)) = data.split_first_chunk::<3>() else { return };
    let log = numbered(flags & 1 == 1);
    let path = &log.beside[usize::from(*which) % log.beside.len()];
    let mut files = log.files.clone();
    let file = files.get_mut(path).unwrap();
    if flags & 2 == 2 {
        *file = bytes.to_vec();
    } else {
        let start = usize::from(*position) % file.len();
        file.iter_mut().skip(start).zip(bytes).for_each(|(old, new)| *old ^= new);
    }
    if flags & 4 == 4 && path.ends_with(".snapshot") && file.len() > 6 {
        let checksum = crc32c::crc32c(&file[6..]);
        file[2..6].copy_from_slice(&checksum.to_be_bytes());
    }
    let storage = storage(&files);
    // Twice: what the first open leaves is as good.
    for _ in 0..2 {
        let broker = open(&storage);
        let partition = broker.partition("t", 0).unwrap();
        assert!(broker.warnings().is_empty(), "{:?}", broker.warnings());
        assert_eq!(committed(&partition), log.committed, "{path}");
        assert_eq!(partition.last_stable_offset(), partition.high_watermark(), "{path}");
        let end = partition.next_offset();
        assert!(partition.append(batch(BATCHES - 1)).unwrap().next_offset <= end, "{path}: known again");
        let gap = partition.append(batch(BATCHES + 9)).unwrap_err();
        assert_eq!(gap.kind(), headwater_log::Kind::Invalid, "{path}: {gap}");
        broker.close().unwrap();
    }
}
