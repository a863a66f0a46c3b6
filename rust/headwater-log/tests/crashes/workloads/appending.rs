//! Batches of all codecs, some acknowledged one by one and some several at once, over the ends of many segments.

use std::sync::Arc;

use headwater_log::storage::SimulatedStorage;
use headwater_log::{Broker, Result};
use headwater_record::Codec;

use super::{acknowledge, append, create, open};
use crate::enumeration::Workload;
use crate::promises::{Acknowledged, History};
use crate::{oracle, workload};

/// See the module. With durability `os` only what was synced on demand is promised, and what a power failure takes besides may
/// lie between what it leaves, for nothing orders one segment before the next.
pub(crate) struct Appending {
    pub(crate) durability: &'static str,
}

impl Workload for Appending {
    fn name(&self) -> &'static str {
        "appending"
    }

    fn run(&self, storage: &Arc<SimulatedStorage>, history: &History) -> Result<()> {
        let broker = open(storage)?;
        create(&broker, history, "t", 1, &[("headwater.durability", self.durability)])?;
        let partition = broker.partition("t", 0)?;
        for step in 0..16 {
            let codec = [Codec::None, Codec::Lz4, Codec::None, Codec::Zstd][step % 4];
            append(&partition, history, 1 + step as u64 % 5, codec)?;
            if step % 3 != 1 {
                acknowledge(&partition, history)?;
            }
        }
        Ok(())
    }

    fn check(&self, broker: &Broker, promised: &Acknowledged) {
        oracle::check_topics(broker, promised);
        let (Ok(partition), Some(log)) = (broker.partition("t", 0), promised.logs.get(&("t".into(), 0))) else {
            return;
        };
        if self.durability != "os" || broker.warnings().iter().all(|warning| warning.contains("cut off")) {
            oracle::check_log(&partition, log);
            oracle::check_lookups(&partition);
            return;
        }
        let found = workload::read_around(&partition, 0);
        assert!((0..log.durable).all(|offset| found.contains_key(&offset)), "{log:?}");
        assert!(found.iter().all(|(offset, value)| *value == workload::value(*offset).into_bytes()));
    }

    fn goes_on(&self) -> bool {
        self.durability != "os"
    }
}
