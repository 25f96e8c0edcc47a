//! Why a promise was rejected.

use std::fmt;

/// Why a promise was rejected: by an error of its own, or because nobody will ever settle it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection<E> {
    /// It was rejected with this.
    Error(E),
    /// The handler that was to give its value has panicked. The panic itself was reported.
    Panicked,
    /// Whoever was to settle it is gone, or the host was closed.
    Abandoned,
    /// It was to be settled by itself.
    Cycle,
}

impl<E> Rejection<E> {
    /// The error, where there is one.
    pub fn error(&self) -> Option<&E> {
        match self {
            Rejection::Error(error) => Some(error),
            _ => None,
        }
    }
}

impl<E: fmt::Display> fmt::Display for Rejection<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejection::Error(error) => error.fmt(f),
            Rejection::Panicked => f.write_str("the handler of this promise panicked"),
            Rejection::Abandoned => f.write_str("this promise was abandoned: its deferred was dropped unsettled"),
            Rejection::Cycle => f.write_str("this promise was to be settled by itself"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for Rejection<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error().map(|error| error as _)
    }
}
