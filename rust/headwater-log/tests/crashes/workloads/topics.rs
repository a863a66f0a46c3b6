//! Topics come and go, and come again by the same name.

use std::sync::Arc;

use headwater_log::Result;
use headwater_log::storage::SimulatedStorage;
use headwater_record::Codec;

use super::{acknowledge, append, create, open};
use crate::enumeration::Workload;
use crate::promises::{History, Stage};

/// See the module.
pub(crate) struct Topics;

impl Workload for Topics {
    fn name(&self) -> &'static str {
        "topics"
    }

    fn run(&self, storage: &Arc<SimulatedStorage>, history: &History) -> Result<()> {
        let broker = open(storage)?;
        create(&broker, history, "stays", 1, &[])?;
        for round in 0..2 {
            create(&broker, history, "goes", 2, &[])?;
            for (name, number) in [("stays", 0), ("goes", 1), ("goes", 0)] {
                let partition = broker.partition(name, number)?;
                append(&partition, history, 3 + round, Codec::None)?;
                acknowledge(&partition, history)?;
            }
            history.note(|done| done.stage("goes", Stage::Deleting));
            broker.delete_topic("goes")?;
            history.note(|done| {
                done.stage("goes", Stage::Gone);
                done.logs.retain(|(name, _), _| name != "goes");
            });
        }
        Ok(())
    }
}
