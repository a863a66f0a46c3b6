//! A partitioned log in a directory, in Kafka's own files: segments of `RecordBatch` v2 with sparse indexes beside them.
//!
//! ```
//! use headwater_log::{Broker, Options, TopicConfig, storage::MemoryStorage};
//! use headwater_record::{BatchBuilder, Codec};
//! use std::sync::Arc;
//!
//! let broker = Broker::open(Arc::new(MemoryStorage::default()), Options::default()).unwrap();
//! broker.create_topic("rides", 1, TopicConfig::default()).unwrap();
//! let partition = broker.partition("rides", 0).unwrap();
//!
//! let mut batch = BatchBuilder::new();
//! batch.push(1_000, Some(b"74"), Some(b"a ride"), &[]);
//! let appended = partition.append(batch.finish(Codec::None).unwrap()).unwrap();
//! partition.wait_durable(appended.next_offset).unwrap();
//!
//! let fetched = partition.read(0, 1 << 20, headwater_log::Isolation::Uncommitted).unwrap();
//! assert_eq!(fetched.batches.len(), 1);
//! ```
//!
//! It is not: a server, a client of Kafka, or a place for state (that is `headwater-state`).
//!
//! *Layout*: [`Broker`] a directory of topics; [`Partition`] append, sync, read; `segment` one `.log` and its indexes;
//! `recovery` what a partition is made of when it is opened; `cleaner` compaction, `swap` how it replaces segments;
//! [`OffsetStore`] committed offsets; `producers` and [`TransactionalProducer`] idempotence and transactions; [`storage`]
//! the file system, the real one and two that are not.

mod background;
mod broker;
mod catalog;
mod checkpoint;
mod cleaner;
pub mod dump;
mod error;
mod growth;
mod index;
mod internal;
mod known;
mod mark;
mod offsets;
mod partition;
mod producers;
mod recovery;
mod scan;
mod sealed;
mod segment;
mod settings;
pub mod storage;
mod swap;
mod topic;
mod transactions;
mod verify;

pub use broker::{Broker, Mode, Options};
pub use cleaner::Compaction;
pub use error::{Error, Kind, Result};
pub use index::{OffsetIndex, TimeIndex};
pub use offsets::{CommittedOffset, OFFSETS_TOPIC, OffsetStore};
pub use partition::{Appended, Fetched, Isolation, Partition, PartitionDescription, SegmentDescription};
pub use topic::{Durability, Topic, TopicConfig};
pub use transactions::{TRANSACTIONS_TOPIC, TransactionDescription, TransactionalProducer};
pub use verify::{Finding, Report, Severity, Totals, verify};

/// Where the log gets the wall clock from: broker-assigned timestamps and commit timestamps.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Milliseconds since the epoch, UTC.
    fn now_ms(&self) -> i64;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the clock that everything else is given")]
    fn now_ms(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}
