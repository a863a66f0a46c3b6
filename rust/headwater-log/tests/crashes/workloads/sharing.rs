//! Group commit: threads that append to one partition and wait for the same syncs. What a thread was told is durable is.
//!
//! The threads decide the order among themselves, so a run of the same seed may look at other images.

use std::sync::Arc;

use headwater_log::storage::SimulatedStorage;
use headwater_log::{Broker, Result};
use headwater_record::Codec;

use super::{create, open};
use crate::enumeration::Workload;
use crate::oracle;
use crate::promises::{Acknowledged, History};
use crate::workload::{read_around, values};

const THREADS: usize = 3;
const RECORDS: u32 = 16;

/// See the module.
pub(crate) struct Sharing;

impl Workload for Sharing {
    fn name(&self) -> &'static str {
        "sharing"
    }

    fn run(&self, storage: &Arc<SimulatedStorage>, history: &History) -> Result<()> {
        let broker = open(storage)?;
        create(&broker, history, "t", 1, &[])?;
        let partition = broker.partition("t", 0)?;
        std::thread::scope(|scope| {
            let send = |thread: usize| -> Result<()> {
                for number in 0..RECORDS {
                    history.note(|done| done.threads[thread].1 = number + 1);
                    let batch = values([&*format!("{thread}:{number}")]).finish(Codec::None)?;
                    let appended = partition.append(batch)?;
                    partition.wait_durable(appended.next_offset)?;
                    history.note(|done| done.threads[thread].0 = number + 1);
                }
                Ok(())
            };
            let running: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || send(thread))).collect();
            running.into_iter().try_for_each(|thread| thread.join().expect("no thread panics"))
        })
    }

    /// Of every thread all that it was told, and no more than it sent, in order.
    fn check(&self, broker: &Broker, promised: &Acknowledged) {
        oracle::check_topics(broker, promised);
        let Ok(partition) = broker.partition("t", 0) else { return };
        // A sync that failed may leave a hole before what another thread had just appended: nobody was told of either.
        let found = read_around(&partition, 0).into_values().map(|value| String::from_utf8(value).unwrap());
        let found: Vec<String> = found.collect();
        for (thread, (acknowledged, sent)) in promised.threads.iter().enumerate() {
            let prefix = format!("{thread}:");
            let mine: Vec<&String> = found.iter().filter(|value| value.starts_with(&prefix)).collect();
            let count = mine.len() as u32;
            assert!((*acknowledged..=*sent).contains(&count), "thread {thread}: {count} of {acknowledged} to {sent}");
            assert!(
                mine.into_iter().eq((0..count).map(|number| format!("{thread}:{number}")).collect::<Vec<_>>().iter())
            );
        }
    }

    fn goes_on(&self) -> bool {
        false
    }
}
