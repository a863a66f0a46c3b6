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
//! `recovery` what a partition is made of when it is opened; [`OffsetStore`] committed offsets; [`storage`] the file
//! system, the real one and two that are not.

mod background;
mod broker;
mod catalog;
mod checkpoint;
mod error;
mod growth;
mod index;
mod mark;
mod offsets;
mod partition;
mod recovery;
mod sealed;
mod segment;
pub mod storage;
mod topic;
mod transactions;

pub use broker::{Broker, Mode, Options};
pub use error::{Error, Kind, Result};
pub use index::{OffsetIndex, TimeIndex};
pub use offsets::{CommittedOffset, OFFSETS_TOPIC, OffsetStore};
pub use partition::{Appended, Fetched, Isolation, Partition};
pub use topic::{Durability, Topic, TopicConfig};

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
