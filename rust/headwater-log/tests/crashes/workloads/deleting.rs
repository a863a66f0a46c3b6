//! Old records are forgotten, on demand and by retention, while new ones are appended.

use std::sync::Arc;

use headwater_log::Result;
use headwater_log::storage::SimulatedStorage;
use headwater_record::Codec;

use super::{acknowledge, append, create, open};
use crate::enumeration::Workload;
use crate::promises::History;

/// See the module.
pub(crate) struct Deleting;

impl Workload for Deleting {
    fn name(&self) -> &'static str {
        "deleting"
    }

    fn run(&self, storage: &Arc<SimulatedStorage>, history: &History) -> Result<()> {
        let broker = open(storage)?;
        create(&broker, history, "t", 1, &[])?;
        let partition = broker.partition("t", 0)?;
        for step in 0..18_u64 {
            append(&partition, history, 5, Codec::None)?;
            acknowledge(&partition, history)?;
            if step % 4 != 3 {
                continue;
            }
            // Sometimes within a batch, sometimes everything; the janitor's rounds are on demand here: no other thread.
            let (start, end) = (partition.log_start_offset(), partition.next_offset());
            let before = if step == 11 { end } else { start + (end - start) * 2 / 3 };
            history.note(|done| done.log("t", 0).start_max = before);
            partition.delete_records(before)?;
            history.note(|done| done.log("t", 0).start = before);
        }
        Ok(())
    }
}
