//! What a scope fails with: everything that went wrong in it, together.

use std::error::Error;
use std::fmt;

use picot_context::{Escaped, Payload, TaskInfo};

use crate::request::CancelRequest;

/// One of the things that went wrong in a scope.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure<E> {
    /// The scope's body has returned this error.
    Body(E),
    /// A child has returned this error.
    Child(TaskInfo, E),
    /// A child has panicked with this, while it was polled or dropped.
    Panic(TaskInfo, Payload),
}

impl<E> Failure<E> {
    /// The error, unless it is a panic.
    pub fn error(&self) -> Option<&E> {
        match self {
            Failure::Body(error) | Failure::Child(_, error) => Some(error),
            Failure::Panic(..) => None,
        }
    }

    /// The child; none if it is the body's.
    pub fn task(&self) -> Option<&TaskInfo> {
        match self {
            Failure::Body(_) => None,
            Failure::Child(task, _) | Failure::Panic(task, _) => Some(task),
        }
    }
}

/// One line: the error is [escaped](Escaped), as it may stand among others.
impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Body(error) => write!(f, "the scope's body: {}", Escaped(error)),
            Failure::Child(task, error) => write!(f, "{task}: {}", Escaped(error)),
            Failure::Panic(task, payload) => write!(f, "{task} panicked with {payload}"),
        }
    }
}

/// Why a scope gave no value: everything that failed in it, in the order in which it happened (asyncio's `ExceptionGroup`).
/// If nothing failed, it was [cancelled](crate::Scope::cancel).
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

    /// What failed; empty if the scope was only cancelled.
    pub fn failures(&self) -> &[Failure<E>] {
        &self.failures
    }

    /// What failed, by value.
    pub fn into_failures(self) -> Vec<Failure<E>> {
        self.failures
    }

    /// The first error, for those who want one. A panic that was first resumes.
    ///
    /// # Errors
    /// The error itself, if nothing failed: the scope was cancelled.
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

    /// The request to cancel, if somebody made one.
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

/// The scope has ended, and runs nothing any more. The future that was to be its child has been dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScopeEnded;

impl fmt::Display for ScopeEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "this scope has ended, and runs nothing any more; spawn its children from its body or from other children, or give \
             the task to the loop by `picot::spawn`",
        )
    }
}

impl Error for ScopeEnded {}
