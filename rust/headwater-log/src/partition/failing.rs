//! A partition whose files could not be read when the log was opened: it is listed, and says why to whoever asks for its
//! records. Nothing of its folder is touched until the directory is opened again, and all other partitions go on.

use super::{Partition, Setting};
use crate::recovery::Recovered;
use crate::{Error, Result};

impl Partition {
    /// Stands in for a partition that could not be opened; returns it and the warning that says so.
    pub(crate) fn failed(topic: &str, number: u32, setting: &Setting, cause: &Error) -> (Self, Vec<String>) {
        let mut partition = Self::of(topic, number, setting.clone(), Recovered::default(), None);
        partition.failure = Some(cause.to_string());
        let warnings = partition.check_usable().err().map(|failure| failure.to_string());
        (partition, warnings.into_iter().collect())
    }

    /// Whether it could be opened: bounds and sizes mean nothing otherwise.
    ///
    /// # Errors
    /// `Io` with what kept it from being opened.
    pub fn check_usable(&self) -> Result<()> {
        match &self.failure {
            None => Ok(()),
            Some(cause) => {
                Err(Error::Failed { topic: self.topic.clone(), partition: self.number, cause: cause.clone() })
            }
        }
    }
}
