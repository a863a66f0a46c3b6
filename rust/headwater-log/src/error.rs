//! What can go wrong in a log, with the place it went wrong at, in a few kinds.

use std::sync::Arc;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Fix the call or the configuration.
    Invalid,
    /// Create it or fix the name.
    NotFound,
    /// An offset outside of the log.
    OutOfRange,
    /// Stored bytes fail their checks.
    Corrupt,
    /// The file system refused.
    Io,
    /// The handle is closed or poisoned.
    Closed,
    /// Another process holds the directory.
    Locked,
    /// A newer producer has taken this one's place.
    Fenced,
}

/// See the module.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A wrong argument or setting.
    #[error("{message}")]
    Invalid {
        /// Expected, got, where, what to do.
        message: String,
    },
    /// No such topic.
    #[error("expected an existing topic, got '{topic}'; create it or fix the name")]
    UnknownTopic {
        /// The name asked for.
        topic: String,
    },
    /// No such partition.
    #[error("expected a partition from 0 to {last}, got {partition} - at topic '{topic}'")]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The number asked for.
        partition: u32,
        /// The last there is.
        last: u32,
    },
    /// An offset that the log does not have.
    #[error("expected an offset from {start} to {end}, got {offset} - at topic '{topic}' partition {partition}")]
    OffsetOutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The offset asked for.
        offset: u64,
        /// The first offset.
        start: u64,
        /// The offset after the last.
        end: u64,
    },
    /// Damaged bytes.
    #[error(
        "expected intact records, got {what} - at topic '{topic}' partition {partition} offset {offset}, {path} byte \
         {position}; restore the file, or go on at offset {next_offset}"
    )]
    Corrupt {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The first offset that cannot be read.
        offset: u64,
        /// The next one that can.
        next_offset: u64,
        /// The file.
        path: String,
        /// Where in the file.
        position: u64,
        /// What is wrong.
        what: String,
    },
    /// The directory or one of its own files cannot be understood.
    #[error("{message}")]
    Unreadable {
        /// The file.
        path: String,
        /// Expected, got, where, what to do.
        message: String,
    },
    /// The file system refused.
    #[error("the file system refused to {action}: {source} - at {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: String,
        /// Its answer.
        source: Arc<std::io::Error>,
    },
    /// The system has no thread left for the log.
    #[error(
        "expected a thread for {name}, got none: {source}; end other threads or processes, or raise the limit of them, and \
             try again"
    )]
    NoThread {
        /// What it is called.
        name: &'static str,
        /// The system's answer.
        source: Arc<std::io::Error>,
    },
    /// The handle is closed.
    #[error("expected {what} to be open, got a closed one; open it again")]
    Closed {
        /// What is closed.
        what: String,
    },
    /// A sync failed: what is on disk is unknown, so nothing more is acknowledged.
    #[error(
        "expected topic '{topic}' partition {partition} to be usable, got one whose sync failed ({cause}); open the \
             directory again, which reads what is really on disk"
    )]
    Poisoned {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The first failure.
        cause: String,
    },
    /// A partition that could not be opened; all others go on.
    #[error(
        "expected topic '{topic}' partition {partition} to be readable when the directory was opened, got: {cause}; put that \
             right and open the directory again, nothing of the partition is touched until then"
    )]
    Failed {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// What kept it from being opened.
        cause: String,
    },
    /// Another process writes the directory.
    #[error(
        "expected a directory that no other process writes, got one held by {holder} - at {path}; stop that process, \
             or open it with mode=\"r\""
    )]
    Locked {
        /// The directory.
        path: String,
        /// What is known of the holder.
        holder: String,
    },
    /// A producer that another one has taken the place of.
    #[error("expected the newest producer of {producer}, got one that is fenced: {why}; make a new one to go on")]
    Fenced {
        /// Its transactional id, or its producer id and the partition.
        producer: String,
        /// What happened.
        why: String,
    },
    /// A numbered batch that does not follow the producer's last one: something before it is missing.
    #[error(
        "expected sequence number {expected} of producer {producer_id}, got {got} - at topic '{topic}' partition \
             {partition}; a batch before it is missing: send that one first"
    )]
    OutOfOrder {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The producer.
        producer_id: i64,
        /// The number that follows.
        expected: i32,
        /// The number of the batch.
        got: i32,
    },
    /// A batch cannot be encoded or is not acceptable.
    #[error(transparent)]
    Record(#[from] headwater_record::Error),
}

impl Error {
    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Invalid { .. } | Self::OutOfOrder { .. } | Self::Record(_) => Kind::Invalid,
            Self::UnknownTopic { .. } | Self::UnknownPartition { .. } => Kind::NotFound,
            Self::OffsetOutOfRange { .. } => Kind::OutOfRange,
            Self::Corrupt { .. } | Self::Unreadable { .. } => Kind::Corrupt,
            Self::Io { .. } | Self::NoThread { .. } | Self::Failed { .. } => Kind::Io,
            Self::Closed { .. } | Self::Poisoned { .. } => Kind::Closed,
            Self::Locked { .. } => Kind::Locked,
            Self::Fenced { .. } => Kind::Fenced,
        }
    }

    pub(crate) fn io(action: &'static str, path: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source: Arc::new(source) }
    }
}
