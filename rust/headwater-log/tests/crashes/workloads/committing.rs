//! Two groups that commit what two partitions got, over two runs, so that commits are loaded and continued.

use std::sync::Arc;

use headwater_log::Result;
use headwater_log::storage::SimulatedStorage;
use headwater_record::Codec;

use super::{acknowledge, append, create, open};
use crate::enumeration::Workload;
use crate::promises::History;

/// See the module.
pub(crate) struct Committing;

impl Workload for Committing {
    fn name(&self) -> &'static str {
        "committing"
    }

    fn run(&self, storage: &Arc<SimulatedStorage>, history: &History) -> Result<()> {
        for round in 0..2 {
            let broker = open(storage)?;
            if round == 0 {
                create(&broker, history, "t", 2, &[])?;
            }
            for step in 0..6_u32 {
                let (number, group) = (step % 2, ["billing", "mail"][step as usize % 2]);
                let partition = broker.partition("t", number)?;
                append(&partition, history, 2, Codec::None)?;
                acknowledge(&partition, history)?;
                let offset = partition.next_offset() - u64::from(step / 4);
                history.note(|done| done.commit(group, "t", number).under_way = offset);
                broker.commit_offsets(group, &[("t".into(), number, offset, format!("round {round}"))])?;
                history.note(|done| done.commit(group, "t", number).done = offset);
            }
            if round == 0 {
                broker.close()?;
            }
        }
        Ok(())
    }
}
