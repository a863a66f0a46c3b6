//! What can be wrong with the bytes of a batch.

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes end before the batch does.
    #[error("expected {expected} bytes of a record batch, got {got}")]
    Short {
        /// Bytes needed.
        expected: usize,
        /// Bytes there.
        got: usize,
    },
    /// A format other than v2, or a header that no writer makes.
    #[error("expected a record batch of format 2, got {what}")]
    NotABatch {
        /// What is wrong.
        what: String,
    },
    /// The checksum does not match.
    #[error("expected a batch with checksum {expected:#010x}, got {got:#010x}")]
    Checksum {
        /// As written in the header.
        expected: u32,
        /// As computed.
        got: u32,
    },
    /// The records inside do not decode.
    #[error("expected well-formed records in a batch, got {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// Compressed data that does not decompress, or to too much.
    #[error("expected {codec} data of at most {limit} bytes, got {what}")]
    Compression {
        /// Name of the codec.
        codec: &'static str,
        /// The bound.
        limit: usize,
        /// What is wrong.
        what: String,
    },
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
