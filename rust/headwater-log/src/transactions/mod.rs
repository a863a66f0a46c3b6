//! Transactions: records of several partitions, and committed offsets, that count together or not at all.
//!
//! A transactional id has one producer at a time: a newer one raises the id's epoch, and the older one is fenced. What it
//! writes opens a transaction in each partition (`producers`), which readers of committed records do not see. At the end:
//!
//! ```text
//! sync what was written -> decision into __transaction_state, synced -> a marker into every partition, synced -> "complete"
//! ```
//! The decision is the commit point. A crash before it aborts, a crash behind it commits: at the next open, every open
//! transaction gets the marker that its decision asks for, or an abort. As in Kafka since KIP-890, every transaction ends by
//! raising the epoch, so that the records of one are never taken for those of the next, and a late one is refused.
//!
//! A transaction syncs whatever the durability of its topics is: half of one must not survive a power cut.
//!
//! *Layout*: `coordinator` decides and finishes, `producer` is what a user holds, `schema` the bytes.

mod coordinator;
mod producer;
mod schema;

pub(crate) use coordinator::Coordinator;
pub use coordinator::TransactionDescription;
pub use producer::TransactionalProducer;

/// The topic that decisions are in.
pub const TRANSACTIONS_TOPIC: &str = "__transaction_state";
