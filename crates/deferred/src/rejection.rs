//! Why a promise was rejected.

use std::any::{Any, type_name};
use std::error::Error;
use std::fmt;

use picot_context::Escaped;

/// Why a promise was rejected: by an error of its own, or because nobody will ever settle it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection<E> {
    /// It was rejected with this.
    Error(E),
    /// The handler or future that was to give its value has panicked. The panic itself was
    /// reported.
    Panicked,
    /// Whoever was to settle it is gone, or the host was closed.
    Abandoned,
    /// It was [cancelled](crate::Promise::cancel), or nobody waited for it any more.
    #[doc(alias = "CancelledError")]
    Cancelled,
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

    /// The reason in words, or `None` for an error, which may have none.
    fn words(&self) -> Option<&'static str> {
        match self {
            Rejection::Error(_) => None,
            Rejection::Panicked => Some("the handler of this promise panicked"),
            Rejection::Abandoned => Some("this promise was abandoned: its deferred was dropped unsettled"),
            Rejection::Cancelled => Some("this promise was cancelled"),
            Rejection::Cycle => Some("this promise was to be settled by itself"),
        }
    }
}

impl<E: 'static> Rejection<E> {
    /// The reason for a report. An error need not have words; those of the usual types are found,
    /// and of others the type is named.
    pub(crate) fn reason(&self) -> String {
        match self {
            Rejection::Error(error) => {
                words_of(error).unwrap_or_else(|| format!("with an error of the type `{}`", type_name::<E>()))
            }
            _ => self.words().unwrap_or_default().into(),
        }
    }
}

/// Of the types that an error usually has: its text on one line, whatever its `Display` does.
fn words_of(error: &dyn Any) -> Option<String> {
    fn text(error: impl fmt::Display) -> String {
        Escaped(error).to_string()
    }
    error
        .downcast_ref::<&str>()
        .map(text)
        .or_else(|| error.downcast_ref::<String>().map(text))
        .or_else(|| error.downcast_ref::<std::io::Error>().map(text))
        .or_else(|| error.downcast_ref::<Box<dyn Error>>().map(text))
        .or_else(|| error.downcast_ref::<std::rc::Rc<dyn Error>>().map(text))
}

impl<E: fmt::Display> fmt::Display for Rejection<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejection::Error(error) => error.fmt(f),
            _ => f.write_str(self.words().unwrap_or_default()),
        }
    }
}

impl<E: Error + 'static> Error for Rejection<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error().map(|error| error as _)
    }
}
