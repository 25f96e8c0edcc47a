//! Why a read has not given what it was asked for.

use std::fmt;
use std::io;

/// Why a [`Reader`](crate::Reader) has not given what it was asked for, with what was read.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The stream has ended first (asyncio's `IncompleteReadError`).
    Incomplete {
        /// What was there. It has been taken out of the buffer.
        partial: Vec<u8>,
        /// How many bytes were asked for; `None` if it was a separator.
        expected: Option<usize>,
    },
    /// There is more before the separator than the limit allows (asyncio's `LimitOverrunError`).
    LimitOverrun {
        /// The limit, in bytes.
        limit: usize,
        /// Where the separator ends, counted from the start of the buffer, if it is there.
        found: Option<usize>,
    },
    /// Receiving has failed.
    Io(io::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Incomplete { partial, expected: Some(expected) } => {
                write!(f, "the stream ended after {} of {expected} bytes", partial.len())
            }
            ReadError::Incomplete { partial, expected: None } => {
                write!(f, "the stream ended after {} bytes without a separator", partial.len())
            }
            ReadError::LimitOverrun { limit, found: Some(end) } => write!(
                f,
                "the separator ends at byte {end}, beyond the reader's limit of {limit} bytes; \
                 `Reader::with_limit` sets a larger one"
            ),
            ReadError::LimitOverrun { limit, found: None } => write!(
                f,
                "no separator within the reader's limit of {limit} bytes; `Reader::with_limit` sets a larger one"
            ),
            ReadError::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ReadError::Io(error) => error.source(),
            ReadError::Incomplete { .. } | ReadError::LimitOverrun { .. } => None,
        }
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> ReadError {
        ReadError::Io(error)
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> io::Error {
        match error {
            ReadError::Io(error) => error,
            ReadError::Incomplete { .. } => io::Error::new(io::ErrorKind::UnexpectedEof, error),
            ReadError::LimitOverrun { .. } => io::Error::new(io::ErrorKind::InvalidData, error),
        }
    }
}
