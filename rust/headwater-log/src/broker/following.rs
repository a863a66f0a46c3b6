//! A log that is only read, beside the process that writes it: topics come and go, partitions grow and are replaced.
//!
//! Nothing here takes a lock or writes a byte. What is seen is durable. A file that vanishes while it is read (retention,
//! compaction, a topic deleted) is no error: the partition is opened anew and asked again.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::Arc;

use super::{Broker, Inner, Mode, open_partitions, open_topic, setting};
use crate::catalog::{self, Described, read_topics};
use crate::offsets::{OFFSETS_TOPIC, OffsetStore};
use crate::partition::{Followed, Setting};
use crate::{Error, Partition, Result, Topic};

/// How often a partition is opened anew before its error is believed.
const ATTEMPTS: usize = 5;

/// A list of topics, to tell what has come and gone since.
#[derive(Debug)]
pub(super) struct Listed {
    fingerprint: Option<u32>,
    names: BTreeSet<String>,
}

impl Listed {
    pub(super) fn new(fingerprint: Option<u32>, topics: &[Described]) -> Self {
        Self { fingerprint, names: topics.iter().map(|(name, _, _)| name.clone()).collect() }
    }
}

/// Opens a partition whose files may vanish while they are looked at.
pub(super) fn open_beside(name: &str, number: u32, setting: &Setting) -> Result<(Partition, Vec<String>)> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match Partition::open(name, number, setting) {
            Err(error) if attempt < ATTEMPTS && is_stale(&error) => {}
            opened => return opened,
        }
    }
}

impl Broker {
    /// Looks at which topics the process that writes has now; true if they are others. A log opened for writing knows.
    ///
    /// # Errors
    /// `Corrupt` if the list of topics cannot be read.
    pub fn refresh(&self) -> Result<bool> {
        if self.inner.options.mode == Mode::ReadWrite {
            return Ok(false);
        }
        self.inner.refresh()
    }

    /// Has a partition, as it is now, do something: `act` is called again with the partition opened anew if its files were
    /// replaced meanwhile.
    ///
    /// # Errors
    /// `NotFound` for a topic or partition that does not exist; those of `act`.
    pub fn with_partition<T>(&self, name: &str, number: u32, act: impl Fn(&Arc<Partition>) -> Result<T>) -> Result<T> {
        if self.inner.options.mode == Mode::ReadWrite {
            return act(&self.partition(name, number)?);
        }
        let mut attempt = 0;
        loop {
            attempt += 1;
            let found = self.fresh_partition(name, number).and_then(|partition| act(&partition));
            match found {
                // Bytes that are bad in the files of now are bad.
                Err(error) if is_stale(&error) && attempt < attempts(&error) => {
                    self.inner.refresh()?;
                    self.inner.reopen(name, number)?;
                }
                found => return found,
            }
        }
    }

    /// Committed offsets as they are now, whoever commits them.
    ///
    /// # Errors
    /// Those of reading the topic that they are in.
    pub fn committed_offsets(&self) -> Result<&OffsetStore> {
        let inner = &self.inner;
        if inner.options.mode == Mode::ReadWrite {
            return Ok(&inner.offsets);
        }
        inner.refresh()?;
        let Ok(topic) = self.topic(OFFSETS_TOPIC) else { return Ok(&inner.offsets) };
        let mut seen = inner.followed_commits.lock();
        for _ in 0..ATTEMPTS {
            let partitions: Vec<_> = (0_u32..)
                .zip(&topic.partitions)
                .map(|(number, _)| self.fresh_partition(OFFSETS_TOPIC, number))
                .collect::<Result<_>>()?;
            let ends: Vec<u64> = partitions.iter().map(|partition| partition.high_watermark()).collect();
            if *seen == ends || inner.offsets.reload(&partitions)? {
                *seen = ends;
                break;
            }
            // Damage, or files that were replaced while they were read.
            partitions.iter().try_for_each(|partition| inner.reopen(OFFSETS_TOPIC, partition.number()))?;
        }
        Ok(&inner.offsets)
    }

    fn fresh_partition(&self, name: &str, number: u32) -> Result<Arc<Partition>> {
        let known = match self.partition(name, number) {
            Err(Error::UnknownTopic { .. } | Error::UnknownPartition { .. }) if self.inner.refresh()? => {
                self.partition(name, number)?
            }
            known => known?,
        };
        if known.follow()? == Followed::Replaced {
            self.inner.reopen(name, number)?;
            return self.partition(name, number);
        }
        Ok(known)
    }
}

/// How often it is worth to try what fails like this.
fn attempts(error: &Error) -> usize {
    if matches!(error, Error::Corrupt { .. }) { 2 } else { ATTEMPTS }
}

/// Whether an error may come of files that are no longer those that were opened.
fn is_stale(error: &Error) -> bool {
    match error {
        Error::Io { source, .. } => source.kind() == ErrorKind::NotFound,
        Error::Corrupt { .. } => true,
        _ => false,
    }
}

impl Inner {
    fn refresh(&self) -> Result<bool> {
        let _changing = self.changes.lock();
        let seen = catalog::fingerprint(&*self.storage);
        if self.followed.lock().fingerprint == seen {
            return Ok(false);
        }
        let described = read_topics(&*self.storage)?.unwrap_or_default();
        for topic in &described {
            match self.refresh_topic(topic) {
                Err(error) if is_stale(&error) => {} // deleted again
                refreshed => refreshed?,
            }
        }
        let listed = Listed::new(seen, &described);
        let mut followed = self.followed.lock();
        // What something else put there is in no list, and stays.
        self.topics.write().retain(|name, _| listed.names.contains(name) || !followed.names.contains(name));
        *followed = listed;
        drop(followed);
        self.growth.announce();
        Ok(true)
    }

    fn refresh_topic(&self, (name, count, config): &Described) -> Result<()> {
        let known = self.topics.read().get(name).cloned();
        let topic = match known {
            None => open_topic(&self.storage, &self.options, &self.growth, name, *count, config.clone(), &mut vec![]),
            Some(known) => {
                let mut partitions = known.partitions.clone();
                partitions.truncate(*count as usize);
                partitions.iter().try_for_each(|partition| partition.set_config(config.clone()))?;
                let first = u32::try_from(partitions.len()).unwrap_or(*count);
                let setting = setting(&self.storage, &self.options, &self.growth, config);
                partitions.extend(open_partitions(name, first..*count, &setting, &mut vec![])?);
                Topic { name: name.clone(), config: config.clone(), partitions }
            }
        };
        self.topics.write().insert(name.clone(), Arc::new(topic));
        Ok(())
    }

    /// Opens a partition anew and puts it in its own place.
    fn reopen(&self, name: &str, number: u32) -> Result<()> {
        let _changing = self.changes.lock();
        let unknown = || Error::UnknownTopic { topic: name.to_owned() };
        let topic = self.topics.read().get(name).cloned().ok_or_else(unknown)?;
        let setting = setting(&self.storage, &self.options, &self.growth, &topic.config);
        let opened = match open_partitions(name, number..number + 1, &setting, &mut vec![]) {
            Err(error) if is_stale(&error) => return Ok(()), // tried again, or gone
            opened => opened?,
        };
        let mut partitions = topic.partitions.clone();
        for (place, partition) in partitions.iter_mut().skip(number as usize).zip(opened) {
            *place = partition;
        }
        let renewed = Topic { name: name.to_owned(), config: topic.config.clone(), partitions };
        self.topics.write().insert(name.to_owned(), Arc::new(renewed));
        self.growth.announce();
        Ok(())
    }
}
