//! Kafka's `RecordBatch` v2: the bytes of a batch, of its records, and nothing else. No I/O, no clock, no threads.
//!
//! ```
//! use headwater_record::{Batch, BatchBuilder, Codec};
//!
//! let mut builder = BatchBuilder::new();
//! builder.push(1_000, Some(b"key"), Some(b"value"), &[]);
//! let bytes = builder.finish(Codec::Lz4).unwrap();
//!
//! let (batch, rest) = Batch::split(&bytes.into()).unwrap();
//! batch.verify().unwrap();
//! let records = batch.records().unwrap();
//! assert_eq!(records.iter().next().unwrap().unwrap().value, Some(&b"value"[..]));
//! assert!(rest.is_empty());
//! ```
//!
//! It is not: a client (no protocol messages), and not a log (no files, no offsets of its own).
//!
//! *Layout*: [`BatchBuilder`] encodes, [`Batch`] and [`Header`] decode, [`Records::rebuild`] leaves records out, [`Marker`]
//! ends a transaction, [`Codec`] compresses, [`varint`] counts, [`partitioner`] says where a key belongs.

mod batch;
mod builder;
mod codec;
mod control;
mod error;
mod filter;
pub mod partitioner;
mod records;
pub mod varint;

pub use batch::{Batch, HEADER_BYTES, Header, TimestampType, checksum, sequence_after};
pub use builder::{BatchBuilder, ProducerFields};
pub use codec::{Codec, MAX_DECOMPRESSED_BYTES};
pub use control::{ControlType, Marker};
pub use error::{Error, Result};
pub use records::{Record, RecordIter, RecordView, Records};
