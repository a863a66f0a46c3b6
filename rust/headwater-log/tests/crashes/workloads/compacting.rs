//! Updates of a few keys in a compacted topic, which is compacted now and then, over two runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_log::storage::SimulatedStorage;
use headwater_log::{Broker, Isolation, Partition, Result};
use headwater_record::{BatchBuilder, Codec};

use super::{create, open};
use crate::enumeration::Workload;
use crate::oracle;
use crate::promises::{Acknowledged, History};

const KEYS: u8 = 5;

/// See the module.
pub(crate) struct Compacting;

/// One update of every key: its value says how many there were before.
fn updates(number: u64) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for key in 0..KEYS {
        builder.push(0, Some(&[key]), Some(&number.to_be_bytes()), b"");
    }
    builder.finish(Codec::None).unwrap()
}

/// The last value of each key.
fn table(partition: &Partition) -> BTreeMap<u8, u64> {
    let (mut offset, mut found) = (partition.log_start_offset(), BTreeMap::new());
    while offset < partition.high_watermark() {
        let fetched = partition.read(offset, 1 << 16, Isolation::Uncommitted).unwrap();
        for batch in &fetched.batches {
            for record in &batch.records().unwrap() {
                let record = record.unwrap();
                found.insert(record.key.unwrap()[0], u64::from_be_bytes(record.value.unwrap().try_into().unwrap()));
            }
        }
        assert!(fetched.next_offset > offset, "no progress at offset {offset}");
        offset = fetched.next_offset;
    }
    found
}

impl Workload for Compacting {
    fn name(&self) -> &'static str {
        "compacting"
    }

    fn run(&self, storage: &Arc<SimulatedStorage>, history: &History) -> Result<()> {
        let mut number = 0;
        for round in 0..2 {
            let broker = open(storage)?;
            if round == 0 {
                // The janitor is not to compact on its own: everything happens in this thread.
                let settings = [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "1")];
                create(&broker, history, "t", 1, &settings)?;
            }
            let partition = broker.partition("t", 0)?;
            for step in 0..14 {
                number += 1;
                history.note(|done| done.updates.sent = number);
                partition.append(updates(number))?;
                partition.sync()?;
                history.note(|done| done.updates.durable = number);
                if step % 6 == 5 {
                    partition.compact(i64::MAX, true)?;
                }
            }
            broker.close()?;
        }
        Ok(())
    }

    /// Every key has its last acknowledged value, or one that was sent since; all of them the same, as they were sent.
    fn check(&self, broker: &Broker, promised: &Acknowledged) {
        oracle::check_topics(broker, promised);
        let Ok(partition) = broker.partition("t", 0) else { return };
        let found = table(&partition);
        let newest = found.get(&0).copied().unwrap_or(0);
        assert!((promised.updates.durable..=promised.updates.sent).contains(&newest), "{newest}");
        let keys = if newest == 0 { 0 } else { KEYS };
        assert_eq!(found, (0..keys).map(|key| (key, newest)).collect());
        // And it goes on from there.
        partition.append(updates(newest + 1)).unwrap();
        partition.sync().unwrap();
        partition.compact(i64::MAX, true).unwrap();
        assert_eq!(table(&partition), (0..KEYS).map(|key| (key, newest + 1)).collect());
    }

    fn goes_on(&self) -> bool {
        false
    }
}
