//! Which transactions of a partition are open and which were aborted: what `read_committed` needs to know.
//!
//! Derived from the log itself: a transactional batch opens its producer's transaction, a control batch ends it.

use std::collections::HashMap;

use headwater_record::{ControlType, Header};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transactions {
    /// First offset of each producer's open transaction.
    open: HashMap<i64, u64>,
    /// Producer, first offset, offset of the abort marker.
    aborted: Vec<(i64, u64, u64)>,
    is_ever_used: bool,
}

impl Transactions {
    /// Takes note of a batch, in the log's order.
    pub(crate) fn see(&mut self, header: &Header, control: Option<ControlType>) {
        if !header.is_transactional() {
            return;
        }
        self.is_ever_used = true;
        match control {
            None => {
                self.open.entry(header.producer_id).or_insert(header.base_offset);
            }
            Some(kind) => {
                if let (Some(first), ControlType::Abort) = (self.open.remove(&header.producer_id), kind) {
                    self.aborted.push((header.producer_id, first, header.base_offset));
                }
            }
        }
    }

    /// Whether the log holds any.
    pub(crate) fn is_used(&self) -> bool {
        self.is_ever_used
    }

    /// The end of what is decided: the first open transaction, or the end of the log.
    pub(crate) fn last_stable_offset(&self, end: u64) -> u64 {
        self.open.values().copied().min().map_or(end, |first| first.min(end))
    }

    /// Whether a batch belongs to an aborted transaction.
    pub(crate) fn is_aborted(&self, header: &Header) -> bool {
        header.is_transactional()
            && self.aborted.iter().any(|(producer, first, last)| {
                *producer == header.producer_id && (*first..=*last).contains(&header.base_offset)
            })
    }
}
