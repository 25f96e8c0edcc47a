//! The error of a buffered read.

use std::fmt;
use std::io;

/// Why a [`Reader`](crate::Reader) could not return the requested bytes.
///
/// ```
/// use futures_lite::future::block_on;
/// use picot_net::{ReadError, Reader};
///
/// let mut reader = Reader::new(&b"too short"[..]);
/// match block_on(reader.read_exact(16)) {
///     Err(ReadError::Incomplete { partial, expected: Some(16) }) => {
///         assert_eq!(partial, b"too short");
///     }
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The stream ended first (asyncio's `IncompleteReadError`).
    Incomplete {
        /// The bytes before the end, which are no longer in the buffer.
        partial: Vec<u8>,
        /// The number of requested bytes; `None` if a separator was requested.
        expected: Option<usize>,
    },
    /// More bytes come before the separator than the limit allows (asyncio's `LimitOverrunError`).
    LimitOverrun {
        /// The limit, in bytes.
        limit: usize,
        /// Where the separator ends, counted from the start of the buffer; `None` if it was not
        /// received yet.
        found: Option<usize>,
    },
    /// The inner stream failed.
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
