//! The errors of scopes: everything that failed in one, together.

use std::error::Error;
use std::fmt;

use picot_context::{Escaped, Payload, TaskInfo};

use crate::request::CancelRequest;

/// One failure in a scope.
///
/// ```
/// use picot_tasks::{Failure, Scope, scope};
///
/// picot_loop::run(async {
///     let result = scope(async |_: Scope<'_, &str>| Err::<(), _>("disk full")).await;
///     assert!(matches!(result.unwrap_err().failures(), [Failure::Body("disk full")]));
/// });
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure<E> {
    /// The scope's body returned this error.
    Body(E),
    /// A child returned this error.
    Child(TaskInfo, E),
    /// A child panicked with this payload, while it was polled or dropped.
    Panic(TaskInfo, Payload),
}

impl<E> Failure<E> {
    /// Returns the error; `None` for a panic.
    ///
    /// ```
    /// use picot_tasks::{Scope, scope};
    ///
    /// picot_loop::run(async {
    ///     let error = scope(async |_: Scope<'_, u8>| Err::<(), _>(7)).await.unwrap_err();
    ///     assert_eq!(error.failures()[0].error(), Some(&7));
    /// });
    /// ```
    pub fn error(&self) -> Option<&E> {
        match self {
            Failure::Body(error) | Failure::Child(_, error) => Some(error),
            Failure::Panic(..) => None,
        }
    }

    /// Returns the child that failed; `None` for the body.
    ///
    /// ```
    /// use picot_tasks::{Scope, scope};
    ///
    /// picot_loop::run(async {
    ///     let result = scope(async |s: Scope<'_, u8>| {
    ///         drop(s.spawn_named("reader", async { Err::<(), _>(7) }));
    ///         Ok(())
    ///     });
    ///     let error = result.await.unwrap_err();
    ///     assert_eq!(error.failures()[0].task().unwrap().given_name(), Some("reader"));
    /// });
    /// ```
    pub fn task(&self) -> Option<&TaskInfo> {
        match self {
            Failure::Body(_) => None,
            Failure::Child(task, _) | Failure::Panic(task, _) => Some(task),
        }
    }
}

/// Writes one line; the error is [escaped](Escaped), so that a list of failures has one line for
/// each.
impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Body(error) => write!(f, "the scope's body: {}", Escaped(error)),
            Failure::Child(task, error) => write!(f, "{task}: {}", Escaped(error)),
            Failure::Panic(task, payload) => write!(f, "{task} panicked with {payload}"),
        }
    }
}

/// Why a scope returned no value: everything that failed in it, in the order of the failures
/// (asyncio's `ExceptionGroup`).
///
/// Without failures, the scope was [cancelled](crate::Scope::cancel). A `ScopeError` turns into an
/// `io::Error` by `?`.
///
/// ```
/// use picot_tasks::{Scope, scope};
///
/// async fn work() -> std::io::Result<()> {
///     scope(async |s: Scope<'_, std::io::Error>| {
///         drop(s.spawn(async { Err::<(), _>(std::io::Error::other("disk full")) }));
///         Ok(())
///     })
///     .await?;
///     Ok(())
/// }
///
/// picot_loop::run(async {
///     assert!(work().await.unwrap_err().to_string().ends_with("disk full"));
/// });
/// ```
#[doc(alias = "ExceptionGroup")]
#[derive(Debug)]
pub struct ScopeError<E> {
    failures: Vec<Failure<E>>,
    request: Option<CancelRequest>,
}

impl<E> ScopeError<E> {
    pub(crate) fn new(failures: Vec<Failure<E>>, request: Option<CancelRequest>) -> ScopeError<E> {
        ScopeError { failures, request }
    }

    /// Returns the failures; empty if the scope was only cancelled.
    ///
    /// ```
    /// use picot_tasks::{Scope, scope};
    ///
    /// picot_loop::run(async {
    ///     let result = scope(async |s: Scope<'_, ()>| {
    ///         s.cancel("enough");
    ///         std::future::pending::<Result<(), ()>>().await
    ///     });
    ///     assert!(result.await.unwrap_err().failures().is_empty());
    /// });
    /// ```
    pub fn failures(&self) -> &[Failure<E>] {
        &self.failures
    }

    /// Returns the failures by value.
    ///
    /// ```
    /// use picot_tasks::{Scope, scope};
    ///
    /// picot_loop::run(async {
    ///     let error = scope(async |_: Scope<'_, u8>| Err::<(), _>(7)).await.unwrap_err();
    ///     assert_eq!(error.into_failures().len(), 1);
    /// });
    /// ```
    pub fn into_failures(self) -> Vec<Failure<E>> {
        self.failures
    }

    /// Returns the first error. If the first failure is a panic, the panic resumes here.
    ///
    /// ```
    /// use picot_tasks::{Scope, scope};
    ///
    /// picot_loop::run(async {
    ///     let error = scope(async |_: Scope<'_, u8>| Err::<(), _>(7)).await.unwrap_err();
    ///     assert_eq!(error.into_first().unwrap(), 7);
    /// });
    /// ```
    ///
    /// # Errors
    /// Returns this error itself if nothing failed: the scope was cancelled.
    pub fn into_first(mut self) -> Result<E, ScopeError<E>> {
        if self.failures.is_empty() {
            return Err(self);
        }
        match self.failures.swap_remove(0) {
            Failure::Body(error) | Failure::Child(_, error) => Ok(error),
            Failure::Panic(task, payload) => match payload.take() {
                Some(payload) => std::panic::resume_unwind(payload),
                None => panic!("{task} panicked, and its payload was taken elsewhere"),
            },
        }
    }

    /// Returns the request that cancelled the scope, if there was one.
    ///
    /// ```
    /// use picot_tasks::{Scope, scope};
    ///
    /// picot_loop::run(async {
    ///     let result = scope(async |s: Scope<'_, ()>| {
    ///         s.cancel("enough");
    ///         std::future::pending::<Result<(), ()>>().await
    ///     });
    ///     assert_eq!(result.await.unwrap_err().request().unwrap().reason().as_str(), "enough");
    /// });
    /// ```
    pub fn request(&self) -> Option<&CancelRequest> {
        self.request.as_ref()
    }
}

impl<E: fmt::Display> fmt::Display for ScopeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&*self.failures, &self.request) {
            ([], None) => f.write_str("the scope was cancelled"),
            ([], Some(request)) => write!(f, "the scope was cancelled: {request}"),
            ([one], _) => one.fmt(f),
            (several, _) => {
                write!(f, "{} failed", several.len())?;
                several.iter().try_for_each(|failure| write!(f, "; {failure}"))
            }
        }
    }
}

impl<E: Error + 'static> Error for ScopeError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.failures.first()?.error().map(|error| error as _)
    }
}

impl<E: Error + Send + Sync + 'static> From<ScopeError<E>> for std::io::Error {
    fn from(error: ScopeError<E>) -> std::io::Error {
        std::io::Error::other(error)
    }
}

/// The error of a spawn into a scope that has ended. The future was dropped.
///
/// ```
/// use picot_tasks::{Scope, scope};
///
/// picot_loop::run(async {
///     let mut late = None;
///     scope(async |s: Scope<'_, ()>| Ok(late = Some(s))).await.unwrap();
///     assert!(late.unwrap().try_spawn(async {}).is_err());
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScopeEnded;

impl fmt::Display for ScopeEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "this scope has ended and runs no more children; spawn from its body or from other children, or spawn a task of the \
             loop by `picot::spawn`",
        )
    }
}

impl Error for ScopeEnded {}
