//! Supervised scopes: as scopes, but one child's failure stays its own.

use std::convert::Infallible;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use picot_context::TaskInfo;
use pin_project_lite::pin_project;

use crate::child::Child;
use crate::contained::Mapped;
use crate::error::ScopeEnded;
use crate::scope::{Inner, ScopeRun, open};

/// Runs `body`, which gets a [`Supervisor`] to spawn children in, and waits until both it and all children have ended. As
/// in [`scope`](crate::scope()) they may borrow; but whatever one of them gives or does ends nobody else (Kotlin's
/// `supervisorScope`). An error is an output as any other. An error
/// or a panic that no wait takes goes to the loop's error hook.
///
/// # Panics
/// If this thread has no loop. If the body panics: its panic resumes here, when the children have been dropped. If it is
/// nested too deep, as in [`scope`](crate::scope()).
///
/// # If dropped
/// The body is dropped, and then the children, the youngest first.
///
/// ```
/// use picot_tasks::supervised;
///
/// picot_loop::run(async {
///     let names = vec!["ada".to_string(), "grace".to_string()];
///     let lengths = supervised(async |s| {
///         let children: Vec<_> = names.iter().map(|name| s.spawn(async move { name.len() })).collect();
///         picot_tasks::gather(children).await
///     });
///     assert_eq!(lengths.await.unwrap(), [3, 5]);
/// });
/// ```
#[doc(alias = "supervisorScope")]
#[track_caller]
pub fn supervised<'env, T, F, Fut>(body: F) -> Supervised<'env, T, impl Future<Output = Result<T, Infallible>>>
where
    F: FnOnce(Supervisor<'env>) -> Fut,
    Fut: Future<Output = T>,
{
    let inner = Inner::new(Location::caller(), true);
    let body = body(Supervisor { inner: inner.clone() });
    Supervised { scope: ScopeRun::new(inner, Mapped::new(body, Ok)) }
}

/// A supervised scope as its body and its children have it: spawns children. Clones speak of the same scope.
#[derive(Clone)]
pub struct Supervisor<'env> {
    inner: Rc<Inner<'env, Infallible>>,
}

impl<'env> Supervisor<'env> {
    /// Makes `future` a child of this scope. It is first polled at a later step.
    ///
    /// # Panics
    /// If the scope has ended; see [`try_spawn`](Supervisor::try_spawn). The future is dropped.
    #[track_caller]
    pub fn spawn<F: Future<Output: 'env> + 'env>(&self, future: F) -> Child<F::Output> {
        open(self.spawn_at(Location::caller(), None, future))
    }

    /// [`spawn`](Supervisor::spawn) with a name for reports.
    ///
    /// # Panics
    /// If the scope has ended. The future is dropped.
    #[track_caller]
    pub fn spawn_named<F: Future<Output: 'env> + 'env>(&self, name: &str, future: F) -> Child<F::Output> {
        open(self.spawn_at(Location::caller(), Some(name), future))
    }

    /// [`spawn`](Supervisor::spawn) for those who may be later than the scope's end.
    ///
    /// # Errors
    /// [`ScopeEnded`] if the scope has ended. The future is dropped.
    #[track_caller]
    pub fn try_spawn<F: Future<Output: 'env> + 'env>(&self, future: F) -> Result<Child<F::Output>, ScopeEnded> {
        self.spawn_at(Location::caller(), None, future)
    }

    fn spawn_at<F: Future<Output: 'env> + 'env>(
        &self,
        place: picot_context::Place,
        name: Option<&str>,
        future: F,
    ) -> Result<Child<F::Output>, ScopeEnded> {
        self.inner.spawn(place, name, false, Mapped::new(future, Ok))
    }

    /// How many children have not ended.
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// Whether all children have ended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The children that have not ended, in the order in which they were spawned.
    pub fn children(&self) -> Vec<TaskInfo> {
        self.inner.children()
    }
}

impl fmt::Debug for Supervisor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("children", &self.len()).finish_non_exhaustive()
    }
}

pin_project! {
    /// A supervised scope that runs; made by [`supervised`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Supervised<'env, T, Fut> {
        #[pin]
        scope: ScopeRun<'env, T, Infallible, Fut>,
    }
}

impl<T, Fut: Future<Output = Result<T, Infallible>>> Future for Supervised<'_, T, Fut> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.project().scope.poll(cx).map(|result| match result {
            Ok(value) => value,
            Err(_) => unreachable!("nothing fails or cancels a supervised scope"),
        })
    }
}
