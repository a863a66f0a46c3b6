//! The record of a control batch, which no consumer sees: the end of a transaction.
//!
//! ```text
//! key    version i16 = 0 | type i16: 0 abort, 1 commit, others are not for readers of data
//! value  version i16 = 0 | epoch of the transaction coordinator i32
//! ```

use crate::records::Records;
use crate::{BatchBuilder, Error, ProducerFields, Result};

/// What a control record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlType {
    /// The transaction was aborted.
    Abort,
    /// The transaction was committed.
    Commit,
    /// Something that readers of data need not know.
    Other,
}

/// A control record, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// What it says.
    pub kind: ControlType,
    /// Epoch of the coordinator that wrote it; -1 if it does not say.
    pub coordinator_epoch: i32,
}

impl Marker {
    /// What key and value of a control record say; None without a type.
    #[must_use]
    pub fn parse(key: Option<&[u8]>, value: Option<&[u8]>) -> Option<Self> {
        let kind = match key?.get(2..4)? {
            [0, 0] => ControlType::Abort,
            [0, 1] => ControlType::Commit,
            _ => ControlType::Other,
        };
        let epoch = value.and_then(|value| value.get(2..6)?.try_into().ok());
        Some(Self { kind, coordinator_epoch: epoch.map_or(-1, i32::from_be_bytes) })
    }

    /// The control batch of one record that says this of a producer's transaction.
    #[must_use]
    pub fn to_batch(self, producer_id: i64, epoch: i16, timestamp: i64) -> Vec<u8> {
        let kind = match self.kind {
            ControlType::Abort => 0,
            ControlType::Commit => 1,
            ControlType::Other => u8::MAX,
        };
        let mut value = vec![0, 0];
        value.extend_from_slice(&self.coordinator_epoch.to_be_bytes());
        let mut builder = BatchBuilder::new();
        builder.push(timestamp, Some(&[0, 0, 0, kind]), Some(&value), &[]);
        let producer = ProducerFields { id: producer_id, epoch, base_sequence: -1, is_transactional: true };
        builder.finish_control(producer).expect("nothing is compressed")
    }
}

impl Records {
    /// What the first record of a control batch says.
    pub fn marker(&self) -> Result<Marker> {
        let first = self.iter().next().ok_or(Error::Malformed { what: "a control batch without a record" })??;
        Marker::parse(first.key, first.value).ok_or(Error::Malformed { what: "a control record without a type" })
    }
}
