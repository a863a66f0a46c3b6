//! A producer that commits and aborts in turn, over two runs: records in two partitions and a group's offset each time.

use std::sync::Arc;

use headwater_log::storage::SimulatedStorage;
use headwater_log::{Broker, Result};
use headwater_record::Codec;

use super::{create, open};
use crate::enumeration::Workload;
use crate::oracle;
use crate::promises::{Acknowledged, History};
use crate::workload::{read_committed, values};

/// See the module.
pub(crate) struct Transacting;

/// Every third transaction is aborted.
fn is_committed(number: u32) -> bool {
    number % 3 != 1
}

impl Workload for Transacting {
    fn name(&self) -> &'static str {
        "transacting"
    }

    fn run(&self, storage: &Arc<SimulatedStorage>, history: &History) -> Result<()> {
        let mut number = 0;
        for round in 0..2 {
            let broker = open(storage)?;
            if round == 0 {
                create(&broker, history, "t", 2, &[])?;
            }
            let partitions = broker.topic("t")?.partitions.clone();
            let producer = broker.transactional_producer("worker", 60_000)?;
            for _ in 0..2 {
                producer.begin()?;
                for step in 0..3_usize {
                    let partition = &partitions[(number as usize + step) % 2];
                    producer.append(partition, values([&*format!("{number}:{step}")]), Codec::None)?;
                }
                producer.send_offsets("g", &[("in".into(), 0, u64::from(number) + 1, String::new())])?;
                history.note(|done| done.transactions.is_committing = is_committed(number));
                if is_committed(number) {
                    producer.commit()?
                } else {
                    producer.abort()?
                }
                number += 1;
                history.note(|done| {
                    done.transactions.is_committing = false;
                    done.transactions.decided = number;
                });
            }
            broker.close()?;
        }
        Ok(())
    }

    /// All of a transaction is there, or nothing of it: its records in both partitions and its offset.
    fn check(&self, broker: &Broker, promised: &Acknowledged) {
        oracle::check_topics(broker, promised);
        let Ok(topic) = broker.topic("t") else { return };
        let mut found: Vec<String> = topic.partitions.iter().flat_map(|partition| read_committed(partition)).collect();
        found.sort();
        let records_of = |end: u32| {
            let committed = (0..end).filter(|number| is_committed(*number));
            let mut records: Vec<String> =
                committed.flat_map(|number| (0..3).map(move |step| format!("{number}:{step}"))).collect();
            records.sort();
            records
        };
        let decided = promised.transactions.decided;
        let is_with = found != records_of(decided);
        let may_be = promised.transactions.is_committing && found == records_of(decided + 1);
        assert!(!is_with || may_be, "{found:?}");
        let last = (0..decided + u32::from(is_with)).rev().find(|number| is_committed(*number));
        let offset = broker.offsets().fetch("g").unwrap().get(&("in".to_owned(), 0)).map(|committed| committed.offset);
        assert_eq!(offset, last.map(|number| u64::from(number) + 1), "the offset goes with the records");
        for partition in &topic.partitions {
            assert_eq!(partition.last_stable_offset(), partition.high_watermark(), "nothing stays open");
        }
        // And it goes on from there.
        let producer = broker.transactional_producer("worker", 60_000).unwrap();
        producer.begin().unwrap();
        producer.append(&topic.partitions[0], values(["on"]), Codec::None).unwrap();
        producer.commit().unwrap();
        assert_eq!(read_committed(&topic.partitions[0]).last().unwrap(), "on");
    }

    fn goes_on(&self) -> bool {
        false
    }
}
