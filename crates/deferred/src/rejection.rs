//! Why a promise was rejected.

use std::any::{Any, type_name};
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use picot_context::Escaped;

/// Why a promise was rejected: by an error, or because nothing will ever settle it.
///
/// ```
/// use picot_deferred::{Deferred, Rejection};
///
/// # let (_host, _guard) = picot_deferred::ManualHost::installed();
/// let deferred = Deferred::<i32, String>::new();
/// let promise = deferred.promise();
/// drop(deferred);
/// assert_eq!(promise.outcome(), Some(Err(&Rejection::Abandoned)));
/// ```
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection<E> {
    /// It was rejected with this error. All observers of the promise share it, so an error need not
    /// be `Clone`; in an `Arc` and not an `Rc`, so that a rejection may go to another thread as an
    /// error of `std` does.
    Error(Arc<E>),
    /// The handler or future that would have settled it panicked. The panic itself was reported.
    Panicked,
    /// Its last deferred was dropped unsettled, or the host was closed.
    Abandoned,
    /// It was [cancelled](crate::Promise::cancel), or nothing waited for it any more.
    #[doc(alias = "CancelledError")]
    Cancelled,
    /// Its handler returned the promise itself, which would wait for itself for ever.
    Cycle,
}

impl<E> Rejection<E> {
    /// The error, if it was rejected with one.
    ///
    /// ```
    /// use picot_deferred::{Deferred, Rejection};
    ///
    /// # let (_host, _guard) = picot_deferred::ManualHost::installed();
    /// let deferred = Deferred::<i32, String>::new();
    /// deferred.promise().fail(|rejection| assert_eq!(rejection.error().unwrap(), "no"));
    /// deferred.reject("no".into());
    /// assert_eq!(Rejection::<String>::Cancelled.error(), None);
    /// ```
    pub fn error(&self) -> Option<&E> {
        match self {
            Rejection::Error(error) => Some(error),
            _ => None,
        }
    }

    /// The reason as text. `None` for an error, whose type need not have a text.
    fn text(&self) -> Option<&'static str> {
        match self {
            Rejection::Error(_) => None,
            Rejection::Panicked => Some("the handler of this promise panicked"),
            Rejection::Abandoned => Some("this promise was abandoned: its deferred was dropped unsettled"),
            Rejection::Cancelled => Some("this promise was cancelled"),
            Rejection::Cycle => Some("the handler of this promise returned the promise itself"),
        }
    }
}

impl<E: 'static> Rejection<E> {
    /// The reason for a report. An error need not implement `Display`: errors of common types are
    /// found by their type, and for others the report names the type.
    pub(crate) fn reason(&self) -> String {
        match self {
            Rejection::Error(error) => {
                text_of(&**error).unwrap_or_else(|| format!("with an error of the type `{}`", type_name::<E>()))
            }
            _ => self.text().unwrap_or_default().into(),
        }
    }
}

/// The text of an error of a common type. It is one line, and a panic of `Display` becomes a part
/// of it.
fn text_of(error: &dyn Any) -> Option<String> {
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

// Not derived: that would require `E: Clone`.
impl<E> Clone for Rejection<E> {
    fn clone(&self) -> Self {
        match self {
            Rejection::Error(error) => Rejection::Error(error.clone()),
            Rejection::Panicked => Rejection::Panicked,
            Rejection::Abandoned => Rejection::Abandoned,
            Rejection::Cancelled => Rejection::Cancelled,
            Rejection::Cycle => Rejection::Cycle,
        }
    }
}

/// A rejection with this error.
///
/// ```
/// use picot_deferred::{Promise, Rejection};
///
/// # let (_host, _guard) = picot_deferred::ManualHost::installed();
/// let promise = Promise::<i32, &str>::settled(Err("no".into()));
/// assert_eq!(promise.outcome(), Some(Err(&Rejection::from("no"))));
/// ```
impl<E> From<E> for Rejection<E> {
    fn from(error: E) -> Self {
        Rejection::Error(Arc::new(error))
    }
}

impl<E: fmt::Display> fmt::Display for Rejection<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejection::Error(error) => error.fmt(f),
            _ => f.write_str(self.text().unwrap_or_default()),
        }
    }
}

impl<E: Error + 'static> Error for Rejection<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error().map(|error| error as _)
    }
}
