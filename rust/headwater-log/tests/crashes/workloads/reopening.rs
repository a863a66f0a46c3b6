//! Clean closes, and opens that believe what a close has written down.

use std::sync::Arc;

use headwater_log::Result;
use headwater_log::storage::SimulatedStorage;
use headwater_record::Codec;

use super::{append, create, open};
use crate::enumeration::Workload;
use crate::promises::History;

/// See the module.
pub(crate) struct Reopening;

impl Workload for Reopening {
    fn name(&self) -> &'static str {
        "reopening"
    }

    fn run(&self, storage: &Arc<SimulatedStorage>, history: &History) -> Result<()> {
        for round in 0..4 {
            let broker = open(storage)?;
            if round == 0 {
                create(&broker, history, "t", 1, &[])?;
            }
            let partition = broker.partition("t", 0)?;
            // A round without records, too: what was clean stays clean.
            for step in 0..[3, 0, 8, 2][round] {
                append(&partition, history, 1 + step % 4, Codec::Lz4)?;
            }
            broker.close()?;
            let end = partition.next_offset();
            history.note(|done| done.log("t", 0).durable = end);
        }
        Ok(())
    }
}
